//! Whether a start is above all of the log: its highest VLSN, which need not be the last.
//!
//! It stands near the end, but for the disorder that concurrent commits leave, and for a stretch of history that the log
//! holds a second time. So the files are read from the highest down, as far as a search is allowed to, and of what is
//! below those that end with another history than the next file begins with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ScannerOptions;
use crate::error::Result;
use crate::log::budget::{Budget, Searched};
use crate::log::files::Files;
use crate::log::probe::{Stop, Walk};
use crate::log::seek::Seek;

/// After how long it is looked again at the latest, where it is in doubt: that reads many bytes. What is just being written
/// is whole by then, and what is still in doubt waits for a change of the log.
const DOUBT_MAX: Duration = Duration::from_secs(60);

/// A search for a VLSN just below a start, or above. What the [budget](super::super::budget) interrupts goes on where it
/// was; what was found is known.
pub(super) struct Ahead {
    /// The VLSN to begin with.
    pub(super) start: u64,
    /// Since when that is looked for, and when to look anew where it was in doubt.
    pub(super) since: Instant,
    pub(super) again_at: Option<Instant>,
    settle: Duration,
    seek: Seek,
    /// The lowest file that was looked at, and its first VLSN or that of the nearest above.
    number: Option<u32>,
    first_vlsn: u64,
    walk: Option<Walk>,
    bytes_left: u64,
    highest: u64,
    /// Whether bytes that are no entry may hide what stands behind them.
    is_obscured: bool,
}

impl Ahead {
    /// A search in the files that are there now, which reads about `options.tail.proof_bytes_max` in any case.
    pub(super) fn new(
        start: u64,
        since: Instant,
        files: &Arc<dyn Files>,
        options: &ScannerOptions,
        budget: Budget,
    ) -> Result<Ahead> {
        Ok(Ahead {
            start,
            since,
            again_at: None,
            settle: options.tail.settle,
            seek: Seek::new(Arc::clone(files), options.tail.read_bytes, budget)?,
            number: None,
            first_vlsn: 0,
            walk: None,
            bytes_left: options.tail.proof_bytes_max,
            highest: 0,
            is_obscured: false,
        })
    }

    /// The highest VLSN below the start, 0 in a log without any; one just below it also where the log reaches further up.
    /// `None`: something that cannot be read, or is just being written, may hide it.
    #[cold]
    pub(super) fn search(&mut self, now: Instant) -> Searched<Option<u64>> {
        let enough = self.start - 1;
        while self.highest < enough {
            let Some(walk) = &mut self.walk else {
                if self.next_file()? {
                    continue;
                }
                if !self.is_obscured {
                    return Ok(Some(self.highest));
                }
                // What is being written is whole soon. What is damaged stays so.
                self.again_at.get_or_insert(now + (now - self.since).clamp(self.settle, self.longest()));
                return Ok(None);
            };
            let (began, highest) = (walk.next, &mut self.highest);
            let walked = self.seek.each_entry(walk, |_, entry| {
                *highest = entry.vlsn_to_send().unwrap_or(0).max(*highest);
            });
            self.bytes_left = self.bytes_left.saturating_sub(walk.next - began);
            self.is_obscured |= walked? != Stop::Entry;
            self.walk = None;
        }
        Ok(Some(enough))
    }

    /// When time alone may end the doubt.
    pub(super) fn look_again(&self) -> Option<Instant> {
        self.again_at.filter(|&at| at <= self.since + 2 * self.longest())
    }

    fn longest(&self) -> Duration {
        DOUBT_MAX.max(self.settle)
    }

    /// Goes down to the next file to be read. False: there is none.
    fn next_file(&mut self) -> Searched<bool> {
        while let Some(number) = self.seek.file_below(self.number) {
            let first_vlsn = self.seek.first_vlsn(number)?;
            let is_turned = first_vlsn.is_some_and(|first| first > self.first_vlsn);
            let is_read = self.bytes_left > 0 || is_turned;
            self.number = Some(number);
            self.first_vlsn = first_vlsn.unwrap_or(self.first_vlsn);
            if is_read {
                self.walk = self.seek.entries(number, u64::MAX)?;
                if let Some(walk) = &mut self.walk {
                    walk.until = walk.file.len()?;
                    return Ok(true);
                }
                self.is_obscured |= self.seek.can_have_entries(number)?;
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::budget::Halt;
    use crate::log::test_disk::{MemoryDisk, Written};
    use crate::options::Options;

    /// The highest VLSN up to `enough`, however little is read in one go.
    fn last_of(files: Vec<Written>, bytes_max: u64, enough: u64) -> Option<u64> {
        let disk = MemoryDisk::default();
        for (number, written) in (0..).zip(files) {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        let budget = Budget::default();
        let mut options = Options::default().scanner();
        (options.tail.read_bytes, options.tail.proof_bytes_max) = (4096, bytes_max);
        let disk: Arc<dyn Files> = Arc::new(disk);
        let mut ahead = Ahead::new(enough + 1, Instant::now(), &disk, &options, budget.clone()).unwrap();
        for _ in 0..1000 {
            budget.renew(1);
            match ahead.search(Instant::now()) {
                Err(Halt::Busy) => {}
                found => return found.unwrap(),
            }
        }
        panic!("it does not get on");
    }

    #[test]
    fn the_highest_vlsn_need_not_be_the_last() {
        let file = |number, vlsns: &[i64]| Written::file(number).entries(vlsns.iter().copied());
        assert_eq!(last_of(vec![], 1000, 9), Some(0));
        assert_eq!(last_of(vec![Written::file(0).entry(None, b"no VLSN")], 1000, 9), Some(0));
        assert_eq!(last_of(vec![file(0, &[1, 2, 9, 3]), file(1, &[4, 5])], 10_000, 99), Some(9));
        // Far from the end, but followed by what is lower: history that stands a second time.
        let twice = || vec![file(0, &[1, 2]), file(1, &[3, 4, 5]), file(2, &[1, 2]), file(3, &[2, 3])];
        assert_eq!(last_of(twice(), 1, 99), Some(5));
        assert_eq!(last_of(twice(), 1, 3), Some(3), "that is enough");
    }

    #[test]
    fn what_cannot_be_read_may_hide_a_higher_one() {
        let mut damaged = Written::file(0).entries([1, 2]);
        damaged.bytes.extend(b"no entry");
        let newborn = Written { bytes: vec![0; 20], at: Vec::new() };
        assert_eq!(last_of(vec![damaged, Written::file(1).entries([3])], 10_000, 99), None);
        assert_eq!(last_of(vec![Written::file(0).entries([3]), newborn], 10_000, 99), Some(3));
        let foreign = Written { bytes: vec![1; 200], at: Vec::new() };
        assert_eq!(last_of(vec![foreign, Written::file(1).entries([3])], 10_000, 99), None);
    }
}
