//! Which VLSNs a log holds: its beginning and its end are read, and nothing between.

use std::sync::Arc;
use std::time::Instant;

use super::budget::{Halt, Searched};
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
    /// Reads at the beginning, and then at the end.
    scanner: Scanner,
    /// The lowest, once it was found.
    first: Option<u64>,
    /// Looks for a VLSN near the end.
    seek: Option<Seek>,
    near_end: u64,
    /// How far below that reading begins, in VLSNs; where; and how far it has got.
    below: u64,
    from: u64,
    next: u64,
    /// The time that the reader is told: a hole that is proven harmless is crossed at once, since nobody waits here for it
    /// to stand still.
    assumed: Instant,
}

impl Range {
    /// A search in `files`, below `send_limit`.
    pub fn new(files: Arc<dyn Files>, options: ScannerOptions, send_limit: Lsn) -> Range {
        let (scanner, now) = (Scanner::new(Arc::clone(&files), Lsn::NULL, options), Instant::now());
        let (first, seek, near_end, below, from, next) = (None, None, 0, BELOW_END, 0, 0);
        Range { files, options, send_limit, now, scanner, first, seek, near_end, below, from, next, assumed: now }
    }

    /// The lowest VLSN that the log holds without a hole behind it, and the highest up to which it is complete; `None`
    /// while it has no replicated entry. Busy when about `bytes` were read.
    pub fn search(&mut self, bytes: u64) -> Searched<Option<(u64, u64)>> {
        self.scanner.allow(bytes);
        let first = match self.first {
            Some(first) => first,
            None => {
                let Some(first) = self.lowest()? else { return Ok(None) };
                let budget = self.scanner.tail().budget().clone();
                self.seek = Some(Seek::new(Arc::clone(&self.files), self.options.tail.read_bytes, budget)?);
                *self.first.insert(first)
            }
        };
        if let Some(seek) = &mut self.seek {
            self.near_end = seek.vlsn_near_end(self.send_limit)?.map_or(first, |vlsn| vlsn.max(first));
            self.seek = None;
            self.begin_below(first, bytes);
        }
        loop {
            self.read_on()?;
            if self.next > self.from {
                return Ok(Some((first, self.next - 1)));
            }
            if self.from == first {
                // A log that contradicts itself: it was read, and is not found.
                return Ok(Some((first, first)));
            }
            self.below = self.below.saturating_mul(FURTHER);
            self.begin_below(first, bytes);
        }
    }

    /// Reading begins below the end, but not below `first`.
    fn begin_below(&mut self, first: u64, bytes: u64) {
        self.scanner = Scanner::new(Arc::clone(&self.files), Lsn::NULL, self.options);
        self.scanner.allow(bytes);
        self.from = self.near_end.saturating_sub(self.below).max(first);
        (self.next, self.assumed) = (self.from, self.now);
    }

    fn lowest(&mut self) -> Searched<Option<u64>> {
        loop {
            match self.scanner.next(0, self.send_limit, &self.now.into())? {
                Next::Entry(entry) => return Ok(Some(entry.vlsn)),
                Next::Busy => return Err(Halt::Busy),
                Next::Nothing(_) => {}
            }
            if !self.scanner.begin_with_what_is_there()? {
                return Ok(None);
            }
        }
    }

    fn read_on(&mut self) -> Searched<()> {
        loop {
            match self.scanner.next(self.next, self.send_limit, &self.assumed.into()) {
                Ok(Next::Entry(entry)) => self.next = entry.vlsn + 1,
                Ok(Next::Busy) => return Err(Halt::Busy),
                Ok(Next::Nothing(pause)) => match pause.look_again {
                    Some(later) if pause.reason == WaitReason::Hole && !pause.stalled => self.assumed = later,
                    _ => return Ok(()),
                },
                Err(none @ Error::NoMemory { .. }) => return Err(none.into()),
                // Judged before its time: for a scanner that waits it may still become an entry.
                Err(_) if self.assumed > self.now => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
