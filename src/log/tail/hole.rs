//! The proof that a hole hides nothing that comes next: the expected VLSN behind it. It is looked for from the hole on, over
//! all that is whole, into the files behind, and not at every wake-up.

use std::time::{Duration, Instant};

use super::ask::Ask;
use super::disk::{Disk, Opened};
use super::place::OpenFile;
use crate::log::budget::{Halt, Searched};
use crate::log::format::Lsn;
use crate::log::probe::{Stop, Walk};

/// Of so many zeros, and more, is remembered that they were looked through.
pub(super) const ZEROS_AT_EACH_LOOK: u64 = 4 * 1024 * 1024;

/// How many zeros are looked through once more for each second that has passed.
const ZEROS_PER_SECOND: u64 = 16 * 1024 * 1024;

/// After how long zeros are looked through again that were `passed` bytes: the more, the later, so that they do not cost a
/// core while nothing happens to them.
pub(super) fn again_after(passed: u64, settle: Duration) -> Duration {
    settle + Duration::from_secs(1) * u32::try_from(passed / ZEROS_PER_SECOND).unwrap_or(u32::MAX)
}

/// What is known of a proof.
#[derive(Default)]
pub(super) enum Proof {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// It is being looked for.
    Sought(Search),
    /// It was not found.
    NotFound { of: Hole, began: Instant, again_at: Instant },
}

/// A hole, and the VLSN that has to stand behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    at: Lsn,
    expected_vlsn: Option<u64>,
}

/// That nothing is missing behind a hole, which ends here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HoleEnd {
    /// At this offset of its file.
    At(u64),
    /// With its file.
    WithFile,
}

/// How far the search for a proof has got.
pub(super) struct Search {
    of: Hole,
    began: Instant,
    walk: Walk,
    end: HoleEnd,
    /// Whether the file is longer than its header and no entry was found in it. Nothing is passed over that is all zeros.
    is_blank: bool,
    /// How many bytes it has passed, and how many of them were entries.
    passed: u64,
    passed_entries: u64,
    /// Whether it took more than one turn, and whether that was so with one before it.
    was_interrupted: bool,
    is_second: bool,
}

impl Proof {
    /// Looks for the proof for the hole at the cursor of `file`; `None`: there is none. A search that began before
    /// `asked_since` does not count; `None` where any will do.
    pub(super) fn find(
        &mut self,
        file: &OpenFile,
        asked_since: Option<Instant>,
        ask: &Ask<'_>,
        disk: &mut Disk,
    ) -> Searched<Option<HoleEnd>> {
        let now = ask.now.get();
        let of = Hole { at: file.place.lsn(), expected_vlsn: ask.expected_vlsn };
        let is_new_enough = |began: Instant| asked_since.is_none_or(|since| began >= since);
        let mut search = match std::mem::replace(self, Proof::Unknown) {
            Proof::Sought(search) if search.of == of && is_new_enough(search.began) => search,
            Proof::NotFound { of: same, began, again_at } if same == of && is_new_enough(began) && now < again_at => {
                *self = Proof::NotFound { of, began, again_at };
                return Ok(None);
            }
            _ => Search::new(of, file, now),
        };
        loop {
            match search.run(disk) {
                Err(Halt::Busy) => {
                    search.was_interrupted = true;
                    *self = Proof::Sought(search);
                    return Err(Halt::Busy);
                }
                Err(halt) => return Err(halt),
                Ok(true) => return Ok(Some(search.end)),
                // What it had passed may have been written anew between its turns.
                Ok(false) if asked_since.is_some() && search.was_interrupted && !search.is_second => {
                    search = Search { is_second: true, ..Search::new(of, file, now) };
                }
                Ok(false) => {
                    let again_at = now + again_after(search.passed, disk.options.settle);
                    *self = Proof::NotFound { of, began: search.began, again_at };
                    return Ok(None);
                }
            }
        }
    }
}

impl Search {
    fn new(of: Hole, file: &OpenFile, now: Instant) -> Search {
        Search {
            of,
            began: now,
            walk: Walk { file: file.file.clone(), next: file.place.cursor, until: u64::MAX },
            end: HoleEnd::WithFile,
            is_blank: false,
            passed: 0,
            passed_entries: 0,
            was_interrupted: false,
            is_second: false,
        }
    }

    /// Looks for the expected VLSN, from the hole on: over zeros and whole entries, into the files behind. Bytes that are no
    /// entry are not passed over because what is looked for stands behind them. Without an expectation any entry is
    /// proof: nothing that was promised can be missing.
    fn run(&mut self, disk: &mut Disk) -> Searched<bool> {
        loop {
            let Search { of, walk, end, is_blank, passed_entries, .. } = self;
            let (from, mut is_found) = (walk.next, false);
            let walked = walk.each_entry(&mut disk.probe, |at, entry| {
                *is_blank = false;
                if at.file() == of.at.file() && *end == HoleEnd::WithFile {
                    *end = HoleEnd::At(u64::from(at.offset()));
                }
                is_found = of.expected_vlsn.is_none_or(|expected| entry.vlsn_to_send() == Some(expected));
                let is_enough = is_found || *passed_entries >= disk.options.proof_bytes_max;
                *passed_entries += entry.header.entry_len() as u64;
                is_enough
            });
            self.passed += walk.next - from;
            match walked? {
                Stop::Entry => return Ok(is_found),
                Stop::NoEntry => return Ok(false),
                Stop::End if self.is_blank => return Ok(false),
                Stop::End => {}
            }
            let Some(next) = disk.listing.above(walk.file.number) else { return Ok(false) };
            let Some(Opened { file, header: Ok(header) }) = disk.open(next)? else { return Ok(false) };
            self.is_blank = file.len()? > header.first_entry();
            *walk = Walk { file, next: header.first_entry(), until: u64::MAX };
            disk.probe.budget().check()?;
        }
    }
}
