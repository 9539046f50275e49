//! Looks elsewhere than at the cursor: behind a hole, into the next file, at a place that was passed.
//!
//! A probe keeps no opinion between two looks: each begins with bytes read just then. What can take long says how far it
//! has got when the [budget](super::budget) is spent, and goes on from there.

use super::budget::{Budget, Searched};
use super::files::NumberedFile;
use super::format::{ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, EntryHeader, Lsn, ParsedEntryHeader};
use super::window::{Look, Sighted, Window};
use crate::error::Result;

/// Size of its window: what is looked for stands mostly near.
const PROBE_BYTES: usize = 64 * 1024;

/// See the module's comment.
#[derive(Debug)]
pub struct Probe {
    window: Window,
    budget: Budget,
}

/// What a look behind zeros found, or what ended a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A whole entry; of a walk also where it was to end.
    Entry,
    /// Something that is no entry.
    NoEntry,
    /// The end of the file.
    End,
}

/// How many zeros a search reads at least, however little of the budget is left: each turn is to get on.
const ZEROS_AT_LEAST: u64 = 1024 * 1024;

impl Probe {
    /// A probe that reads out of `budget`.
    pub fn new(budget: Budget) -> Probe {
        Probe { window: Window::new(PROBE_BYTES, budget.clone()), budget }
    }

    /// What it reads out of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What stands at `offset` now.
    pub fn look(&mut self, file: &NumberedFile, offset: u64) -> Result<Look> {
        self.window.forget();
        self.window.look_reading(file, offset, 0)
    }

    /// So many bytes at `offset`, or as many as the file has: those of the last look, if it has read as many.
    pub fn bytes(&mut self, file: &NumberedFile, offset: u64, len: usize) -> Result<&[u8]> {
        if self.window.from(offset).len() < len {
            self.window.read(file, offset, len)?;
        }
        let bytes = self.window.from(offset);
        Ok(&bytes[..bytes.len().min(len)])
    }

    /// The whole entry that stands at `offset` now, if there is one.
    pub fn entry(&mut self, file: &NumberedFile, offset: u64) -> Result<Option<Sighted>> {
        Ok(match self.look(file, offset)? {
            Look::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// Calls `each` with the entries from `offset` on and where they stand, until it is satisfied or what comes is no
    /// entry; returns where it stopped.
    pub fn walk(
        &mut self,
        file: &NumberedFile,
        offset: u64,
        mut each: impl FnMut(u64, &Sighted) -> bool,
    ) -> Result<u64> {
        self.window.forget();
        let mut offset = offset;
        while let Look::Entry(entry) = self.window.look_reading(file, offset, 0)? {
            if each(offset, &entry) {
                break;
            }
            offset += entry.header.entry_len() as u64;
        }
        Ok(offset)
    }

    /// Looks for the beginning of an entry with a VLSN to send, from `from` on in `len` bytes read there: its offset, and
    /// the VLSN. Believed is what is followed by an entry that names it by its offset, both with a checksum that holds.
    pub fn sample(&mut self, file: &NumberedFile, from: u64, len: usize) -> Result<Option<(u64, u64)>> {
        self.window.read(file, from, ENTRY_HEADER_LEN)?;
        let bytes = self.window.from(from);
        let bytes = &bytes[..bytes.len().min(len)];
        let chain = (0..bytes.len()).find_map(|at| {
            let ParsedEntryHeader::Header(header) = EntryHeader::parse(&bytes[at..]) else { return None };
            let next = at + header.entry_len();
            let ParsedEntryHeader::Header(behind) = EntryHeader::parse(bytes.get(next..)?) else { return None };
            let offset = from + at as u64;
            let is_named = u64::from(behind.prev_offset) == offset;
            let is_entry = |offset| matches!(self.window.look(offset), Look::Entry(_));
            (is_named && is_entry(offset) && is_entry(from + next as u64)).then_some(offset)
        });
        let mut offset = chain;
        while let Some(at) = offset {
            let Look::Entry(entry) = self.window.look(at) else { break };
            if let Some(vlsn) = entry.vlsn_to_send() {
                return Ok(Some((at, vlsn)));
            }
            offset = Some(at + entry.header.entry_len() as u64);
        }
        Ok(None)
    }

    /// What stands at `from` behind zeros, or behind none. `from` goes on to where an entry can begin at the earliest, also
    /// when the budget is spent.
    pub fn behind_zeros(&mut self, file: &NumberedFile, from: &mut u64) -> Searched<Stop> {
        let began = *from;
        loop {
            self.window.read(file, *from, ENTRY_HEADER_LEN_VLSN)?;
            let bytes = self.window.from(*from);
            let Some(zeros) = first_non_zero(bytes) else {
                // An entry begins with its checksum, any byte of which may be zero; its type, behind it, is not.
                if bytes.len() <= CHECKSUM_LEN {
                    return Ok(Stop::End);
                }
                *from += (bytes.len() - CHECKSUM_LEN) as u64;
                if *from - began >= ZEROS_AT_LEAST {
                    self.budget.check()?;
                }
                continue;
            };
            let last = *from + zeros as u64;
            for candidate in (*from + zeros.saturating_sub(CHECKSUM_LEN) as u64)..=last {
                if matches!(self.window.look_reading(file, candidate, 0)?, Look::Entry(_)) {
                    *from = candidate;
                    return Ok(Stop::Entry);
                }
            }
            return Ok(Stop::NoEntry);
        }
    }
}

/// The entries of a file up to an offset, over zeros, and how far they have been looked at.
pub struct Walk {
    /// Of which file.
    pub file: NumberedFile,
    /// Where it goes on.
    pub next: u64,
    /// Entries that begin here or further on are not looked at.
    pub until: u64,
}

impl Walk {
    /// Calls `is_enough` with each whole entry, up to what is no entry, or until it says so: then the walk ends at that
    /// entry, as it does where it was to end.
    pub fn each_entry(
        &mut self,
        probe: &mut Probe,
        mut is_enough: impl FnMut(Lsn, &Sighted) -> bool,
    ) -> Searched<Stop> {
        let Walk { file, next, until } = self;
        let budget = probe.budget().clone();
        while *next < *until {
            let behind = probe.behind_zeros(file, next)?;
            if behind != Stop::Entry {
                return Ok(behind);
            }
            let (began, mut was_enough) = (*next, *next >= *until);
            *next = probe.walk(file, began, |offset, entry| {
                let is_interrupted = offset >= *until || offset > began && budget.is_spent();
                was_enough |= !is_interrupted && is_enough(Lsn::new(file.number, offset as u32), entry);
                is_interrupted || was_enough
            })?;
            if was_enough {
                break;
            }
            budget.check()?;
        }
        Ok(Stop::Entry)
    }
}

/// How many bytes of an entry stand before its type.
const CHECKSUM_LEN: usize = 4;

/// Where the first byte that is not zero stands. There may be much to look through.
fn first_non_zero(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 64;
    let is_zero = |stride: &&[u8]| stride.iter().fold(0, |any, byte| any | byte) == 0;
    let zero = bytes.chunks_exact(STRIDE).take_while(is_zero).count() * STRIDE;
    bytes[zero..].iter().position(|&byte| byte != 0).map(|at| zero + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::test_disk::{MemoryDisk, MemoryFile, Written};

    fn probe() -> Probe {
        Probe::new(Budget::default())
    }

    #[test]
    fn each_look_sees_what_stands_there_now() {
        let disk = MemoryDisk::default();
        disk.put(0, 1, Written::file(0).entries([1]).bytes);
        let file = NumberedFile::open(&disk, 0).unwrap().unwrap();
        let mut probe = probe();
        assert!(probe.entry(&file, 36).unwrap().is_some());
        disk.write_at(0, 60, b"!");
        assert!(matches!(probe.look(&file, 36).unwrap(), Look::Checksum { .. }));
        assert_eq!(probe.bytes(&file, 60, 1).unwrap(), b"!");
    }

    #[test]
    fn a_walk_ends_where_who_asks_is_satisfied_or_no_entry_stands() {
        let written = Written::file(0).entries([1, 2, 3]).zeros(100).entries([4]);
        let file = MemoryFile::of(written.bytes);
        let mut probe = probe();
        let mut seen = Vec::new();
        let end = probe.walk(&file, 36, |_, entry| {
            seen.extend(entry.header.vlsn);
            seen.len() == 2
        });
        assert_eq!((end.unwrap(), seen), (written.at[1], vec![1, 2]));
        let end = probe.walk(&file, 36, |_, _| false).unwrap();
        assert_eq!(end, written.at[3] - 100);
    }

    /// Also where its checksum, which it begins with, begins with zeros itself.
    #[test]
    fn an_entry_behind_zeros_is_found_where_it_begins() {
        let entry = |n: u32| Written::file(0).entry(Some(1), &n.to_le_bytes()).bytes[36..].to_vec();
        let zeros_of = |n: u32| entry(n).iter().take_while(|&&byte| byte == 0).count();
        for zeros in [0, 1] {
            let n = (0..10_000).find(|&n| zeros_of(n) == zeros).expect("one in 256 has one");
            let hole = Written::file(0).zeros(70_000).bytes;
            let (at, mut from) = (hole.len() as u64, 36);
            let file = MemoryFile::of([hole, entry(n)].concat());
            assert_eq!(probe().behind_zeros(&file, &mut from).unwrap(), Stop::Entry, "{zeros} zeros");
            assert_eq!(from, at);
        }
    }

    #[test]
    fn behind_zeros_can_be_the_end_or_what_is_no_entry() {
        let mut from = 36;
        let zeros = MemoryFile::of(Written::file(0).zeros(200_000).bytes);
        assert_eq!(probe().behind_zeros(&zeros, &mut from).unwrap(), Stop::End);
        let (mut from, mut bytes) = (36, Written::file(0).zeros(200).bytes);
        bytes.extend(b"no entry, but long enough for one");
        assert_eq!(probe().behind_zeros(&MemoryFile::of(bytes), &mut from).unwrap(), Stop::NoEntry);
        let mut from = 36;
        let entry = MemoryFile::of(Written::file(0).entries([1]).bytes);
        assert_eq!(probe().behind_zeros(&entry, &mut from).unwrap(), Stop::Entry, "behind none");
    }

    #[test]
    #[cfg_attr(miri, ignore = "some megabytes of zeros")]
    fn a_search_over_zeros_goes_on_where_the_budget_ended() {
        let written = Written::file(0).zeros(3_000_000).entries([1]);
        let (at, file) = (written.at[0], MemoryFile::of(written.bytes));
        let budget = Budget::default();
        let (mut probe, mut from, mut turns) = (Probe::new(budget.clone()), 36, 0);
        let found = loop {
            budget.renew(1);
            let before = from;
            match probe.behind_zeros(&file, &mut from) {
                Err(crate::log::budget::Halt::Busy) => assert!(from > before, "each turn gets on"),
                found => break found,
            }
            turns += 1;
        };
        assert_eq!((found.unwrap(), from, turns), (Stop::Entry, at, 2));
    }

    /// An entry inside an entry's payload, as whole as any, is no beginning: no entry behind names it by its place.
    #[test]
    fn a_sample_believes_only_what_the_entry_behind_names() {
        let inner = Written::file(0).entries([70, 71, 72]).bytes;
        let written = Written::file(0).entry(Some(1), &inner[36..]).entries([2, 3, 4]);
        let (at, file) = (written.at.clone(), MemoryFile::of(written.bytes));
        for from in [37, 58, 60, at[1] - 50] {
            let sampled = probe().sample(&file, from, 10_000).unwrap();
            assert_eq!(sampled, Some((at[1], 2)), "from {from}");
        }
        assert_eq!(probe().sample(&file, at[3], 10_000).unwrap(), None, "nothing behind names the last");
        assert_eq!(probe().sample(&file, at[1] + 1, 70).unwrap(), None, "in so few bytes");
    }
}
