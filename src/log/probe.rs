//! Looks elsewhere than at the cursor: behind a hole, into the next file, at a place that was passed.
//!
//! A probe keeps no opinion between two looks: each begins with bytes read just then. What can take long says how far it
//! has got when the [budget](super::budget) is spent, and goes on from there.

use std::io;

use super::budget::{Budget, Searched};
use super::files::LogFile;
use super::format::{ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, EntryHeader, ParsedEntryHeader};
use super::window::{Look, Sighted, Window};

/// Size of its window: what is looked for stands mostly near.
const PROBE_BYTES: usize = 64 * 1024;

/// See the module's comment.
#[derive(Debug)]
pub struct Probe {
    window: Window,
    budget: Budget,
}

/// What stands behind zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// A whole entry, at this offset.
    Entry(u64),
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
    pub fn look(&mut self, file: &dyn LogFile, offset: u64) -> io::Result<Look> {
        self.window.forget();
        self.look_on(file, offset)
    }

    /// The bytes at `offset` that the last look has read.
    pub fn bytes(&self, offset: u64) -> &[u8] {
        self.window.from(offset)
    }

    /// The whole entry that stands at `offset` now, if there is one.
    pub fn entry(&mut self, file: &dyn LogFile, offset: u64) -> io::Result<Option<Sighted>> {
        Ok(match self.look(file, offset)? {
            Look::Entry(entry) => Some(entry),
            _ => None,
        })
    }

    /// What stands at `offset`, from bytes of the same search if they reach.
    fn look_on(&mut self, file: &dyn LogFile, offset: u64) -> io::Result<Look> {
        self.window.look_reading(file, offset, 0)
    }

    /// Calls `each` with the entries from `offset` on and where they stand, until it is satisfied or what comes is no
    /// entry; returns where it stopped.
    pub fn walk(
        &mut self,
        file: &dyn LogFile,
        offset: u64,
        mut each: impl FnMut(u64, &Sighted) -> bool,
    ) -> io::Result<u64> {
        self.window.forget();
        let mut offset = offset;
        while let Look::Entry(entry) = self.look_on(file, offset)? {
            if each(offset, &entry) {
                break;
            }
            offset += entry.header.entry_len() as u64;
        }
        Ok(offset)
    }

    /// Looks for the beginning of an entry with a VLSN to send, from `from` on in `len` bytes read there: its offset, and
    /// the VLSN. Believed is what is followed by an entry that names it by its offset, both with a checksum that holds.
    pub fn sample(&mut self, file: &dyn LogFile, from: u64, len: usize) -> io::Result<Option<(u64, u64)>> {
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
    pub fn behind_zeros(&mut self, file: &dyn LogFile, from: &mut u64) -> Searched<Behind, io::Error> {
        let began = *from;
        loop {
            self.window.read(file, *from, ENTRY_HEADER_LEN_VLSN)?;
            let bytes = self.window.from(*from);
            let Some(zeros) = first_non_zero(bytes) else {
                // An entry begins with its checksum, any byte of which may be zero; its type, behind it, is not.
                if bytes.len() <= CHECKSUM_LEN {
                    return Ok(Behind::End);
                }
                *from += (bytes.len() - CHECKSUM_LEN) as u64;
                if *from - began >= ZEROS_AT_LEAST {
                    self.budget.check()?;
                }
                continue;
            };
            let last = *from + zeros as u64;
            for candidate in (*from + zeros.saturating_sub(CHECKSUM_LEN) as u64)..=last {
                if matches!(self.look_on(file, candidate)?, Look::Entry(_)) {
                    *from = candidate;
                    return Ok(Behind::Entry(candidate));
                }
            }
            return Ok(Behind::NoEntry);
        }
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
