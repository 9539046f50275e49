//! Which VLSNs a log holds: its beginning and its end are read, and nothing between.

use std::sync::Arc;
use std::time::Instant;

use super::budget::{Budget, Halt, Searched};
use super::files::Files;
use super::scanner::{Next, Scanner, ScannerOptions};
use super::seek::Seek;
use super::tail::WaitReason;
use crate::error::Error;
use crate::lsn::Lsn;

/// How far below a VLSN near the log's end reading begins at first, in VLSNs: what is missing there may stand before it.
const BELOW_END: u64 = 16 * 1024;

/// By how much further below it begins each time nothing is found from there on.
const FURTHER: u64 = 16;

/// A search for the range. It can be interrupted by the [budget](super::budget), and goes on where it was.
pub struct Range {
    files: Arc<dyn Files>,
    options: ScannerOptions,
    send_limit: Lsn,
    now: Instant,
    stage: Stage,
}

enum Stage {
    /// Reads the beginning.
    First(Box<Scanner>),
    /// Looks for a VLSN near the end.
    NearEnd { first: u64, seek: Box<Seek> },
    /// Reads the end, from `below` VLSNs below the one found there.
    Last { first: u64, near_end: u64, below: u64, end: Box<End> },
}

/// Reading from a VLSN on to the end.
struct End {
    scanner: Scanner,
    from: u64,
    next: u64,
    /// The time that the reader is told: a hole that is proven harmless is crossed at once, since nobody waits here for it
    /// to stand still.
    assumed: Instant,
}

impl Range {
    /// A search in `files`, below `send_limit`.
    pub fn new(files: Arc<dyn Files>, options: ScannerOptions, send_limit: Lsn) -> Range {
        let scanner = Box::new(Scanner::new(Arc::clone(&files), Lsn::NULL, options));
        Range { files, options, send_limit, now: Instant::now(), stage: Stage::First(scanner) }
    }

    /// The lowest VLSN that the log holds without a hole behind it, and the highest up to which it is complete; `None`
    /// while it has no replicated entry. Busy when about `bytes` were read.
    pub fn search(&mut self, bytes: u64) -> Searched<Option<(u64, u64)>> {
        let Range { files, options, send_limit, now, stage } = self;
        let (send_limit, now) = (*send_limit, *now);
        let last = |first, near_end, below| Stage::last(files, *options, now, first, near_end, below);
        loop {
            *stage = match stage {
                Stage::First(scanner) => {
                    scanner.allow(bytes);
                    let Some(first) = first_of(scanner, send_limit, now)? else { return Ok(None) };
                    let budget = Budget::default();
                    let seek = Seek::new(Arc::clone(files), options.tail.read_bytes, budget)?;
                    Stage::NearEnd { first, seek: Box::new(seek) }
                }
                Stage::NearEnd { first, seek } => {
                    seek.allow(bytes);
                    let near_end = seek.vlsn_near_end(send_limit)?.map_or(*first, |vlsn| vlsn.max(*first));
                    last(*first, near_end, BELOW_END)
                }
                Stage::Last { first, near_end, below, end } => {
                    let (first, near_end, below) = (*first, *near_end, *below);
                    end.scanner.allow(bytes);
                    end.read_on(send_limit, now)?;
                    if end.next > end.from {
                        return Ok(Some((first, end.next - 1)));
                    }
                    if end.from == first {
                        // A log that contradicts itself: it was read, and is not found.
                        return Ok(Some((first, first)));
                    }
                    last(first, near_end, below.saturating_mul(FURTHER))
                }
            };
        }
    }
}

impl Stage {
    fn last(
        files: &Arc<dyn Files>,
        options: ScannerOptions,
        now: Instant,
        first: u64,
        near_end: u64,
        below: u64,
    ) -> Stage {
        let from = near_end.saturating_sub(below).max(first);
        let scanner = Scanner::new(Arc::clone(files), Lsn::NULL, options);
        let end = Box::new(End { scanner, from, next: from, assumed: now });
        Stage::Last { first, near_end, below, end }
    }
}

fn first_of(scanner: &mut Scanner, send_limit: Lsn, now: Instant) -> Searched<Option<u64>> {
    loop {
        match scanner.next(0, send_limit, &now.into())? {
            Next::Entry(entry) => return Ok(Some(entry.vlsn)),
            Next::Busy => return Err(Halt::Busy),
            Next::Nothing(_) => {}
        }
        if !scanner.begin_with_what_is_there()? {
            return Ok(None);
        }
    }
}

impl End {
    fn read_on(&mut self, send_limit: Lsn, now: Instant) -> Searched<()> {
        loop {
            match self.scanner.next(self.next, send_limit, &self.assumed.into()) {
                Ok(Next::Entry(entry)) => self.next = entry.vlsn + 1,
                Ok(Next::Busy) => return Err(Halt::Busy),
                Ok(Next::Nothing(pause)) => match pause.look_again {
                    Some(later) if pause.wait.reason == WaitReason::Hole && !pause.stalled => self.assumed = later,
                    _ => return Ok(()),
                },
                Err(none @ Error::NoMemory { .. }) => return Err(none.into()),
                // Judged before its time: for a scanner that waits it may still become an entry.
                Err(_) if self.assumed > now => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
