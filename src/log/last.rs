//! Finds the highest VLSN in a log: it need not be the last.
//!
//! It stands near the end, but for the disorder that concurrent commits leave, and for a stretch of history that the log
//! holds a second time. So the files are read from the highest down, as far as a search is allowed to, and of what is
//! below those that end with another history than the next file begins with.

use std::sync::Arc;

use super::budget::{Budget, Searched};
use super::files::Files;
use super::seek::{Seek, Stretch, Walked};
use crate::error::Result;

/// A search. What the [budget](super::budget) interrupts goes on where it was.
pub struct LastVlsn {
    seek: Seek,
    /// The lowest file that was looked at, and its first VLSN or that of the nearest above.
    number: Option<u32>,
    first_vlsn: u64,
    stretch: Option<Stretch>,
    bytes_left: u64,
    highest: u64,
    /// Whether bytes that are no entry may hide what stands behind them.
    is_obscured: bool,
}

impl LastVlsn {
    /// A search in the files that are there now, which reads about `bytes_max` in any case.
    pub fn new(files: Arc<dyn Files>, read_bytes: usize, bytes_max: u64, budget: Budget) -> Result<LastVlsn> {
        let seek = Seek::new(files, read_bytes, budget)?;
        Ok(LastVlsn {
            seek,
            number: None,
            first_vlsn: 0,
            stretch: None,
            bytes_left: bytes_max,
            highest: 0,
            is_obscured: false,
        })
    }

    /// The highest VLSN, 0 in a log without any; or one that is `enough`. `None`: that cannot be told.
    pub fn search(&mut self, enough: u64) -> Searched<Option<u64>> {
        while self.highest < enough {
            let Some(stretch) = &mut self.stretch else {
                if !self.next_file()? {
                    return Ok((!self.is_obscured).then_some(self.highest));
                }
                continue;
            };
            let (began, highest) = (stretch.position(), &mut self.highest);
            let walked = self.seek.each_entry(stretch, |_, entry| {
                *highest = entry.vlsn_to_send().unwrap_or(0).max(*highest);
            });
            self.bytes_left = self.bytes_left.saturating_sub(stretch.position() - began);
            self.is_obscured |= walked? != Walked::Whole;
            self.stretch = None;
        }
        Ok(Some(self.highest))
    }

    /// Goes down to the next file to be read. False: there is none.
    fn next_file(&mut self) -> Searched<bool> {
        while let Some(number) = self.seek.file_below_or_last(self.number) {
            let first_vlsn = self.seek.first_vlsn(number)?;
            let is_turned = first_vlsn.is_some_and(|first| first > self.first_vlsn);
            let is_read = self.bytes_left > 0 || is_turned;
            self.number = Some(number);
            self.first_vlsn = first_vlsn.unwrap_or(self.first_vlsn);
            if is_read {
                self.stretch = self.seek.whole(number)?;
                if self.stretch.is_some() {
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

    /// The highest VLSN, however little is read in one go.
    fn last_of(files: Vec<Written>, bytes_max: u64, enough: u64) -> Option<u64> {
        let disk = MemoryDisk::default();
        for (number, written) in (0..).zip(files) {
            disk.put(number, u64::from(number) + 1, written.bytes);
        }
        let budget = Budget::default();
        let mut search = LastVlsn::new(Arc::new(disk), 4096, bytes_max, budget.clone()).unwrap();
        for _ in 0..1000 {
            budget.renew(1);
            match search.search(enough) {
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
