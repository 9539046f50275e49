//! Looks elsewhere than at the cursor: behind a hole, into the next file, at a place that was passed.
//!
//! A probe keeps no opinion between two looks: each begins with bytes read just then.

use std::io;

use super::files::LogFile;
use super::format::{ENTRY_HEADER_LEN, ENTRY_HEADER_LEN_VLSN, EntryHeader, ParsedEntryHeader};
use super::window::{Look, Sighted, Window};

/// Size of its window: what is looked for stands mostly near.
const PROBE_BYTES: usize = 64 * 1024;

/// See the module's comment.
#[derive(Debug)]
pub struct Probe {
    window: Window,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe { window: Window::new(PROBE_BYTES) }
    }
}

/// What a search for the expected VLSN behind a hole found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It stands there: the hole does not hide it.
    Found,
    /// It does not, up to the file's end.
    NotInFile,
    /// It was not found as far as the search went.
    NotFound,
}

impl Probe {
    /// What stands at `offset` now.
    pub fn look(&mut self, file: &dyn LogFile, offset: u64) -> io::Result<Look> {
        self.window.forget();
        self.look_on(file, offset)
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
        let mut look = self.window.look(offset);
        // Once for the header, and once more for an entry larger than the window.
        for _ in 0..2 {
            let Look::Short { needed } = look else { break };
            self.window.read(file, offset, needed)?;
            look = self.window.look(offset);
        }
        Ok(look)
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

    /// The first offset at or behind `from` where a whole entry stands with nothing but zeros before it.
    pub fn entry_behind_zeros(&mut self, file: &dyn LogFile, from: u64) -> io::Result<Option<u64>> {
        let mut offset = from;
        loop {
            self.window.read(file, offset, ENTRY_HEADER_LEN_VLSN)?;
            let bytes = self.window.from(offset);
            if bytes.is_empty() {
                return Ok(None);
            }
            let Some(zeros) = bytes.iter().position(|&byte| byte != 0) else {
                offset += bytes.len() as u64;
                continue;
            };
            let non_zero = offset + zeros as u64;
            // An entry begins with its checksum, any byte of which may be zero; its type, behind it, is not.
            for candidate in (non_zero.saturating_sub(4).max(from))..=non_zero {
                if matches!(self.look_on(file, candidate)?, Look::Entry(_)) {
                    return Ok(Some(candidate));
                }
            }
            return Ok(None);
        }
    }

    /// Looks for the expected VLSN from the entry at `from` on, over further holes, for at most `limit` bytes. Without
    /// an expectation any entry is proof: nothing that was promised can be missing.
    pub fn proof(
        &mut self,
        file: &dyn LogFile,
        from: u64,
        expected_vlsn: Option<u64>,
        limit: u64,
    ) -> io::Result<Proof> {
        let Some(expected) = expected_vlsn else { return Ok(Proof::Found) };
        let mut offset = from;
        while offset - from < limit {
            let mut found = false;
            offset = self.walk(file, offset, |at, entry| {
                let vlsn = entry.header.vlsn.filter(|_| !entry.header.is_invisible());
                found = vlsn.is_some_and(|vlsn| u64::try_from(vlsn) == Ok(expected));
                found || at - from >= limit
            })?;
            if found {
                return Ok(Proof::Found);
            }
            match self.entry_behind_zeros(file, offset)? {
                Some(behind) if behind > offset => offset = behind,
                Some(_) => {}
                None if self.is_zero_to_the_end(file, offset)? => return Ok(Proof::NotInFile),
                None => return Ok(Proof::NotFound),
            }
        }
        Ok(Proof::NotFound)
    }

    /// Whether nothing but zeros, or nothing at all, stands from `offset` on.
    pub fn is_zero_to_the_end(&mut self, file: &dyn LogFile, offset: u64) -> io::Result<bool> {
        let mut offset = offset;
        loop {
            self.window.read(file, offset, ENTRY_HEADER_LEN)?;
            let bytes = self.window.from(offset);
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            offset += bytes.len() as u64;
        }
    }
}
