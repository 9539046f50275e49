//! What must come out of a log that changes no more: the rules of the specification, written down a second time, in
//! the plainest way, over whole files in memory.
//!
//! It shares no code with the reader under test, and has none of its difficulties: no windows, no clock, no state
//! that is carried from one look to the next. Given the disk, where to begin and what is expected, it says which
//! entries are delivered, and whether the end is silence, a stall or which error.

use std::collections::BTreeMap;

use noxu_feeder::Error;
use noxu_feeder::error::EntryFault;
use noxu_feeder::log::format::{FLAG_INVISIBLE, FLAG_REPLICATED, FLAG_VLSN, Lsn, MAX_ITEM_SIZE};

use crate::disk::State;

/// The errors, as far as the oracle tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Directory,
    Read,
    Header,
    Hole,
    Torn,
    Oversize,
    Checksum,
    Chain,
    EndsEarly,
    Gap,
    Truncated,
    Rewritten,
    Gone,
    History,
    Ahead,
    Other,
}

/// An error: what it is, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) file: Option<u32>,
    pub(crate) offset: Option<u64>,
    /// The VLSN that could not be delivered, where the error says it.
    pub(crate) expected: Option<u64>,
}

impl Failure {
    pub(crate) fn of(error: &Error) -> Failure {
        let (kind, expected) = match error {
            Error::LogDirectory { .. } => (Kind::Directory, None),
            Error::LogRead { .. } => (Kind::Read, None),
            Error::LogFileHeader { .. } => (Kind::Header, None),
            Error::LogDamaged { fault, expected_vlsn, .. } => {
                let kind = match fault {
                    EntryFault::Hole => Kind::Hole,
                    EntryFault::Torn { .. } => Kind::Torn,
                    EntryFault::Oversize(_) => Kind::Oversize,
                    EntryFault::Checksum { .. } => Kind::Checksum,
                    EntryFault::BrokenChain { .. } => Kind::Chain,
                    EntryFault::EndsEarly(_) => Kind::EndsEarly,
                };
                (kind, *expected_vlsn)
            }
            Error::LogGap { expected, .. } => (Kind::Gap, Some(*expected)),
            Error::LogTruncated { .. } => (Kind::Truncated, None),
            Error::LogRewritten { .. } => (Kind::Rewritten, None),
            Error::LogFileGone { expected_vlsn, .. } => (Kind::Gone, *expected_vlsn),
            Error::HistoryChanged { vlsn, .. } => (Kind::History, Some(*vlsn)),
            Error::AheadOfLog { start, .. } => (Kind::Ahead, Some(*start)),
            _ => (Kind::Other, None),
        };
        let offset = match kind {
            Kind::Header | Kind::Gone | Kind::Directory | Kind::Ahead => None,
            _ => error.offset(),
        };
        Failure { kind, file: error.file(), offset, expected }
    }

    /// Whether they are the same, as far as both say.
    pub(crate) fn agrees(&self, other: &Failure) -> bool {
        // A VLSN that is missing is called a gap or a missing file, and another one is named as found; which of
        // them depends on the way there.
        let gaps = [Kind::Gap, Kind::Gone];
        if gaps.contains(&self.kind) && gaps.contains(&other.kind) {
            return self.expected == other.expected;
        }
        let same = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind
            && self.file == other.file
            && same(self.offset, other.offset)
            && same(self.expected, other.expected)
    }
}

/// Where a reader ends up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It has all there is.
    Quiet,
    /// It waits at something that will not go on by itself, and says so.
    Stalled,
    Failed(Failure),
}

/// What must come out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// VLSN and position of each entry, in order.
    pub(crate) delivered: Vec<(u64, u64)>,
    pub(crate) verdict: Verdict,
    /// The largest distance, and the most bytes, that entries were held back over.
    pub(crate) used: (u64, u64),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Where reading begins; `None` for the first entry there is.
    pub(crate) position: Option<u64>,
    /// The VLSN to begin with; 0 for the lowest without a hole.
    pub(crate) from: u64,
    /// Entries met already, in the order of the disk.
    pub(crate) met: Vec<Met>,
    /// Contents of what was returned already, by VLSN.
    pub(crate) returned: BTreeMap<u64, u64>,
    pub(crate) send_limit: u64,
    pub(crate) entries_max: u64,
    pub(crate) bytes_max: u64,
}

/// A replicated, visible entry that the reader has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met {
    pub(crate) vlsn: u64,
    pub(crate) position: u64,
    pub(crate) len: u64,
    pub(crate) content: u64,
}

/// What tells the contents of entries apart.
pub(crate) fn content(entry_type: u8, payload: &[u8]) -> u64 {
    u64::from(entry_type) << 32 | u64::from(crc32fast::hash(payload))
}

/// What a file begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    Good { first: u64, names: u64 },
    Short,
    Bad,
}

pub(crate) fn header(bytes: &[u8], number: u32) -> Header {
    let be = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes.len() < 32 {
        return Header::Short;
    }
    if &bytes[..8] != b"NOXUDB\0\0" || !(2..=3).contains(&be(8)) {
        return Header::Bad;
    }
    let first = if be(8) == 2 { 32 } else { 36 };
    if bytes.len() < first {
        return Header::Short;
    }
    if first == 36 && be(32) != crc32fast::hash(&bytes[..32]) {
        return Header::Bad;
    }
    if bytes[12] != 0 || be(24) != number {
        return Header::Bad;
    }
    Header::Good { first: first as u64, names: u64::from(be(28)) }
}

/// What stands at an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Entry {
        len: u64,
        prev: u64,
        /// The VLSN of a replicated, visible entry.
        vlsn: Option<u64>,
        /// Tells contents apart.
        content: u64,
    },
    Zero,
    Torn,
    Oversize,
    BadChecksum,
}

pub(crate) fn see(bytes: &[u8], offset: u64) -> Seen {
    let bytes = &bytes[bytes.len().min(offset as usize)..];
    let le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if bytes.len() < 14 {
        return Seen::Torn;
    }
    if bytes[4] == 0 {
        return Seen::Zero;
    }
    let size = le(10);
    if size > MAX_ITEM_SIZE {
        return Seen::Oversize;
    }
    let has_vlsn = bytes[5] & (FLAG_VLSN | FLAG_REPLICATED) != 0;
    let header_len = if has_vlsn { 22 } else { 14 };
    let len = header_len + size as usize;
    if bytes.len() < len {
        return Seen::Torn;
    }
    let mut covered = bytes[4..len].to_vec();
    covered[1] &= !FLAG_INVISIBLE;
    if crc32fast::hash(&covered) != le(0) {
        return Seen::BadChecksum;
    }
    let vlsn = has_vlsn
        .then(|| i64::from_le_bytes(bytes[14..22].try_into().expect("eight bytes")))
        .and_then(|vlsn| u64::try_from(vlsn).ok())
        .filter(|&vlsn| vlsn > 0 && bytes[5] & FLAG_INVISIBLE == 0);
    let content = content(bytes[4], &bytes[header_len..len]);
    Seen::Entry { len: len as u64, prev: u64::from(le(6)), vlsn, content }
}

/// How many bytes what stands at `offset` says it has.
pub(crate) fn len_at(bytes: &[u8], offset: u64) -> u64 {
    let bytes = &bytes[bytes.len().min(offset as usize)..];
    if bytes.len() < 14 {
        return bytes.len() as u64;
    }
    22 + u64::from(u32::from_le_bytes(bytes[10..14].try_into().expect("four bytes")))
}

/// Where the entries from `first` on end, and where the last of them begins (0 if there is none): the writer's
/// recovery.
pub(crate) fn parse_to_end(bytes: &[u8], first: u64) -> (u64, u64) {
    let (mut at, mut last) = (first, 0);
    while at < bytes.len() as u64
        && let Seen::Entry { len, .. } = see(bytes, at)
    {
        last = at;
        at += len;
    }
    (at, last)
}

/// The first whole entry at or behind `from` with nothing but zeros before it.
pub(crate) fn behind_zeros(bytes: &[u8], from: u64) -> Option<u64> {
    for at in from..bytes.len() as u64 {
        if let Seen::Entry { .. } = see(bytes, at) {
            return Some(at);
        }
        if bytes[at as usize] != 0 {
            return None;
        }
    }
    None
}

/// What is known of the entry before.
#[derive(Clone, Copy)]
enum Last {
    None,
    Unknown,
    At {
        offset: u64,
        /// By which offset the next entry names it, if that can be told: an entry in the middle of a file that names
        /// none begins another count.
        name: Option<u64>,
    },
}

impl Last {
    fn is_named_by(self, prev: u64) -> bool {
        match self {
            Last::None => prev == 0,
            Last::Unknown | Last::At { name: None, .. } => true,
            Last::At { name: Some(name), .. } => prev == name || prev == 0,
        }
    }

    /// What is known of the next entry's predecessor when this was its own.
    fn then(self, prev: u64, offset: u64) -> Last {
        let name = match self {
            Last::None => Some(offset),
            Last::Unknown => None,
            Last::At { .. } if prev == 0 => None,
            Last::At { offset: before, .. } => Some(prev + (offset - before)),
        };
        Last::At { offset, name }
    }
}

struct Walk<'a> {
    files: Vec<(u32, &'a [u8])>,
    question: &'a Question,
    /// `None` while only looking what there is.
    expected: Option<u64>,
    held: BTreeMap<u64, (u64, u64, u64)>,
    held_bytes: u64,
    contents: BTreeMap<u64, u64>,
    missing_file: Option<u32>,
    /// The highest VLSN in the log.
    highest: u64,
    outcome: Outcome,
    /// Entries met while it is not known yet with which to begin.
    seen: Vec<Met>,
}

/// The highest VLSN among the entries that stand one behind the other from a file's beginning, of all files: also of one
/// that is whole by accident, before all of it was written.
fn highest_in(state: &State) -> u64 {
    let mut highest = 0;
    for (&number, &inode) in &state.names {
        let bytes = &state.inodes[inode].bytes[..];
        let Header::Good { first: mut at, .. } = header(bytes, number) else { continue };
        while let Seen::Entry { len, vlsn, .. } = see(bytes, at) {
            highest = vlsn.unwrap_or(0).max(highest);
            at += len;
        }
    }
    highest
}

/// See the module's comment.
pub(crate) fn outcome(state: &State, question: &Question) -> Outcome {
    if question.from > 0 {
        return Walk::new(state, question, Some(question.from)).run();
    }
    let mut walk = Walk::new(state, question, None);
    let mut verdict = walk.walk();
    if walk.expected.is_none() && !walk.seen.is_empty() {
        walk.begin();
        if verdict == Verdict::Quiet {
            verdict = walk.at_end();
        }
    }
    walk.outcome.verdict = verdict;
    walk.outcome
}

impl<'a> Walk<'a> {
    fn new(state: &'a State, question: &'a Question, expected: Option<u64>) -> Walk<'a> {
        let files = state.names.iter().map(|(&number, &inode)| (number, &state.inodes[inode].bytes[..])).collect();
        Walk {
            files,
            question,
            expected,
            held: BTreeMap::new(),
            held_bytes: 0,
            contents: question.returned.clone(),
            missing_file: None,
            highest: state.highest_vlsn().max(highest_in(state)),
            outcome: Outcome { delivered: Vec::new(), verdict: Verdict::Quiet, used: (0, 0) },
            seen: Vec::new(),
        }
    }

    fn run(mut self) -> Outcome {
        for met in &self.question.met {
            self.held.insert(met.vlsn, (met.position, met.len, met.content));
        }
        self.held_bytes = self.held.values().map(|&(_, len, _)| len).sum();
        self.drain();
        self.outcome.verdict = self.walk();
        self.outcome
    }

    fn fail(&self, kind: Kind, at: usize, offset: u64) -> Verdict {
        Verdict::Failed(Failure {
            kind,
            file: Some(self.files[at].0),
            offset: (kind != Kind::Header).then_some(offset),
            expected: if kind == Kind::Header { None } else { self.expected },
        })
    }

    fn walk(&mut self) -> Verdict {
        let wanted = self.question.position.unwrap_or(0) >> 32;
        let Some(mut at) = self.files.iter().position(|&(number, _)| u64::from(number) >= wanted) else {
            return Verdict::Stalled;
        };
        let first = match header(self.files[at].1, self.files[at].0) {
            Header::Good { first, .. } => first,
            Header::Short if at + 1 == self.files.len() => return Verdict::Quiet,
            Header::Short | Header::Bad => return self.fail(Kind::Header, at, 0),
        };
        let (mut offset, mut last) = (first, Last::None);
        if let Some(position) = self.question.position
            && u64::from(self.files[at].0) == wanted
            && position & 0xffff_ffff > first
        {
            (offset, last) = (position & 0xffff_ffff, Last::Unknown);
        }
        loop {
            let (number, bytes) = self.files[at];
            let is_newest = at + 1 == self.files.len();
            let len = bytes.len() as u64;
            if offset > len {
                return self.fail(Kind::Truncated, at, len);
            }
            if offset == len {
                match self.leave(at, offset) {
                    Ok(first) => (at, offset, last) = (at + 1, first, Last::None),
                    Err(verdict) => return verdict,
                }
                continue;
            }
            let position = u64::from(number) << 32 | offset;
            match see(bytes, offset) {
                Seen::Entry { len, prev, vlsn, content } => {
                    if !last.is_named_by(prev) {
                        return self.fail(Kind::Chain, at, offset);
                    }
                    if position >= self.question.send_limit {
                        return Verdict::Quiet;
                    }
                    if let Some(vlsn) = vlsn
                        && let Err(verdict) = self.meet(vlsn, position, len, content)
                    {
                        return verdict;
                    }
                    last = last.then(prev, offset);
                    offset += len;
                }
                Seen::Zero => match self.behind_hole(at, offset) {
                    Some((beyond, next)) => {
                        last = if beyond == at { Last::Unknown } else { Last::None };
                        (at, offset) = (beyond, next);
                    }
                    None if is_newest => return Verdict::Stalled,
                    None => return self.fail(Kind::Hole, at, offset),
                },
                Seen::Torn if is_newest => return Verdict::Stalled,
                Seen::Torn => return self.fail(Kind::Torn, at, offset),
                Seen::Oversize => return self.fail(Kind::Oversize, at, offset),
                Seen::BadChecksum => return self.fail(Kind::Checksum, at, offset),
            }
        }
    }

    /// From the end of a file: the offset to go on at in the next one, or what the end is.
    fn leave(&mut self, at: usize, offset: u64) -> Result<u64, Verdict> {
        let Some(&(next, bytes)) = self.files.get(at + 1) else {
            return Err(self.at_end());
        };
        let is_newest = at + 2 == self.files.len();
        let (first, names) = match header(bytes, next) {
            Header::Good { first, names } => (first, names),
            Header::Short if is_newest => return Err(self.at_end()),
            Header::Short | Header::Bad => return Err(self.fail(Kind::Header, at + 1, 0)),
        };
        if is_newest && behind_zeros(bytes, first).is_none() {
            if bytes.len() as u64 == first {
                return Err(self.at_end());
            }
            // Nothing whole in it to go there for; but what stands there is not passed over in silence.
            return Err(match see(bytes, first) {
                Seen::Zero | Seen::Torn => Verdict::Stalled,
                Seen::Oversize => self.fail(Kind::Oversize, at + 1, first),
                _ => self.fail(Kind::Checksum, at + 1, first),
            });
        }
        let number = self.files[at].0;
        let is_adjacent = number + 1 == next;
        if is_adjacent && names != 0 && names >= offset {
            return Err(self.fail(Kind::EndsEarly, at, offset));
        }
        self.missing_file = (!is_adjacent).then_some(number + 1);
        Ok(first)
    }

    /// Begins with the lowest VLSN from which on none is missing; 1 has none below it that could be missed.
    fn begin(&mut self) {
        let mut seen = std::mem::take(&mut self.seen);
        seen.sort_by_key(|met| met.vlsn);
        let mut first = seen[0].vlsn;
        for pair in seen.windows(2) {
            if pair[1].vlsn > pair[0].vlsn + 1 && seen[0].vlsn != 1 {
                first = pair[1].vlsn;
            }
        }
        self.expected = Some(first);
        for met in seen.iter().filter(|met| met.vlsn >= first) {
            self.held.insert(met.vlsn, (met.position, met.len, met.content));
        }
        self.held_bytes = self.held.values().map(|&(_, len, _)| len).sum();
        self.drain();
    }

    /// The log ends, and what is missing now will not come.
    fn at_end(&self) -> Verdict {
        match self.held.first_key_value() {
            Some((_, &(position, ..))) if self.expected.is_some() => self.gap(position),
            None if self.is_ahead() => {
                Verdict::Failed(Failure { kind: Kind::Ahead, file: None, offset: None, expected: self.expected })
            }
            _ => Verdict::Quiet,
        }
    }

    /// Whether the log ends below what it is to begin with.
    fn is_ahead(&self) -> bool {
        let is_beginning = self.outcome.delivered.is_empty() && self.question.returned.is_empty();
        is_beginning && self.expected.is_some_and(|expected| expected > self.highest + 1)
    }

    fn gap(&self, found_at: u64) -> Verdict {
        let found_at = Lsn(found_at);
        Verdict::Failed(match self.missing_file {
            Some(file) => Failure { kind: Kind::Gone, file: Some(file), offset: None, expected: self.expected },
            None => Failure {
                kind: Kind::Gap,
                file: Some(found_at.file()),
                offset: Some(u64::from(found_at.offset())),
                expected: self.expected,
            },
        })
    }

    /// A replicated, visible entry.
    fn meet(&mut self, vlsn: u64, position: u64, len: u64, content: u64) -> Result<(), Verdict> {
        let Some(expected) = self.expected else {
            self.seen.push(Met { vlsn, position, len, content });
            if vlsn == 1 {
                self.begin();
            }
            return Ok(());
        };
        if vlsn < expected {
            if self.contents.get(&vlsn).is_some_and(|&was| was != content) {
                return Err(Verdict::Failed(Failure {
                    kind: Kind::History,
                    file: Some((position >> 32) as u32),
                    offset: Some(position & 0xffff_ffff),
                    expected: Some(vlsn),
                }));
            }
            return Ok(());
        }
        if vlsn > expected {
            let ahead = vlsn - expected;
            // A second entry of one VLSN takes the place of the first.
            let replaced = self.held.get(&vlsn).map_or(0, |&(_, len, _)| len);
            if ahead >= self.question.entries_max || self.held_bytes - replaced + len > self.question.bytes_max {
                return Err(self.gap(position));
            }
        }
        if let Some((_, old_len, _)) = self.held.insert(vlsn, (position, len, content)) {
            self.held_bytes -= old_len;
        }
        self.held_bytes += len;
        if vlsn > expected {
            let (distance, bytes) = self.outcome.used;
            self.outcome.used = (distance.max(vlsn - expected), bytes.max(self.held_bytes));
        }
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(expected) = self.expected
            && let Some((position, len, content)) = self.held.remove(&expected)
        {
            self.held_bytes -= len;
            self.contents.insert(expected, content);
            self.outcome.delivered.push((expected, position));
            self.expected = Some(expected + 1);
        }
    }

    /// Where to go on behind the hole at `offset`, if it is proven that it hides nothing that comes next.
    fn behind_hole(&self, at: usize, offset: u64) -> Option<(usize, u64)> {
        match behind_zeros(self.files[at].1, offset) {
            Some(next) => self.is_at_or_behind(at, next).then_some((at, next)),
            None => {
                let is_zero = self.files[at].1[offset as usize..].iter().all(|&b| b == 0);
                let &(number, bytes) = self.files.get(at + 1).filter(|_| is_zero)?;
                let Header::Good { first, .. } = header(bytes, number) else {
                    return None;
                };
                self.is_at_or_behind(at + 1, first).then_some((at + 1, first))
            }
        }
    }

    /// Whether the expected VLSN, or any entry if none is expected, stands at or behind a place, with nothing unreadable
    /// before it.
    fn is_at_or_behind(&self, mut at: usize, mut offset: u64) -> bool {
        let is_proof = |vlsn: Option<u64>| self.expected.is_none_or(|expected| vlsn == Some(expected));
        let mut has_entries = false;
        loop {
            let bytes = self.files[at].1;
            if offset >= bytes.len() as u64 {
                at += 1;
                has_entries = false;
                match self.files.get(at).map(|&(number, b)| header(b, number)) {
                    Some(Header::Good { first, .. }) => offset = first,
                    _ => return false,
                }
                continue;
            }
            match see(bytes, offset) {
                Seen::Entry { vlsn, .. } if is_proof(vlsn) => return true,
                Seen::Entry { len, .. } => (offset, has_entries) = (offset + len, true),
                Seen::Zero | Seen::Torn => match behind_zeros(bytes, offset) {
                    Some(next) => offset = next,
                    // A file of zeros alone is not passed over.
                    None if has_entries && bytes[offset as usize..].iter().all(|&byte| byte == 0) => {
                        offset = bytes.len() as u64;
                    }
                    None => return false,
                },
                _ => return false,
            }
        }
    }
}
