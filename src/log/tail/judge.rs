//! What it means that no entry can be read: from evidence to verdict, and nothing else. No file, no clock, no memory.
//!
//! What cannot be read is first taken as being written; only what has stood still for the settle time is judged:
//!
//! | at the cursor | in the newest file | in a lower file |
//! | --- | --- | --- |
//! | end of the file | wait | leave for the next file, by the rule below |
//! | zeros below the file's length (a hole) | wait; settled: cross with proof, else stalled | wait; settled: cross with proof, else error |
//! | an entry that runs past the end (torn) | wait; settled: stalled | wait; settled: error |
//! | anything else that is no entry | wait; settled: error | wait; settled: error |
//! | cursor beyond the file's length | error: truncated | error: truncated |
//! | file gone | nothing read from it: wait for its name; else error: gone | read on in the open file |
//! | another file has its name | nothing read from it: read that one; else error: gone | the same |
//!
//! *Leaving a file.* File N is left only when the next file holds a whole entry, N was read to its end after that
//! was seen, and N has the entry that the next file's header names as N's last.
//!
//! *Proof.* VLSNs are dense. So when the expected VLSN stands behind a hole, what the hole hides cannot be the next
//! thing to send. For a hole to be crossed it is enough that its own zeros have stood for the settle time: a backup
//! leaves such a hole for good, and the writer goes on behind it without a pause.

use super::wait::WaitReason;
use crate::error::EntryFault;
use crate::log::format::HeaderFault;
use crate::log::window::Look;

/// What the name of an open file stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    /// For this file.
    Its,
    /// For another file, born later.
    Anothers,
    /// For none.
    Free,
}

/// Whether an open file is a part of the log, or deleted by the cleaner: then it is read to its end. A file that lost its
/// name and is not the highest was deleted by the cleaner. But a name is given twice only by a recovery: what has it now
/// is the log.
pub(super) fn judge_name(name: Name, is_highest: bool) -> bool {
    match name {
        Name::Its => true,
        Name::Anothers => false,
        Name::Free => !is_highest,
    }
}

/// What stands at the cursor, where that is no entry that could follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// The end of the file.
    End,
    /// The file has more than the look has read.
    Grown,
    /// Zeros.
    Hole,
    /// An entry that runs past the end.
    Torn,
    /// Anything else.
    NoEntry,
    /// The file ends before the cursor.
    Truncated,
}

impl Sight {
    /// Of a look at `cursor` in a file that has `len` bytes.
    pub(super) fn of(look: &Look, cursor: u64, len: u64) -> Sight {
        let Some(present) = len.checked_sub(cursor) else { return Sight::Truncated };
        match look {
            Look::Short { needed } if *needed as u64 <= present => Sight::Grown,
            _ if present == 0 => Sight::End,
            Look::Zero => Sight::Hole,
            Look::Short { .. } => Sight::Torn,
            Look::Oversize(_) | Look::Checksum { .. } | Look::Entry(_) => Sight::NoEntry,
        }
    }
}

/// What a look that is no entry is waited for as, and what it is if nothing comes, where `present` bytes are. `expected` is
/// what an entry has to name as the one before it.
pub(super) fn describe(look: &Look, sight: Sight, present: u64, expected: Option<u32>) -> (WaitReason, EntryFault) {
    let reason = match sight {
        Sight::End => WaitReason::End,
        Sight::Hole => WaitReason::Hole,
        Sight::Torn => WaitReason::Torn,
        _ => WaitReason::Unreadable,
    };
    let fault = match *look {
        Look::Zero => EntryFault::Hole,
        Look::Short { needed } => EntryFault::Torn { needed: needed as u64, present },
        Look::Oversize(size) => EntryFault::Oversize(size),
        Look::Checksum { stored, computed, .. } => EntryFault::Checksum { stored, computed },
        Look::Entry(ref entry) => {
            EntryFault::BrokenChain { expected: expected.unwrap_or(0), found: entry.header.prev_offset }
        }
    };
    (reason, fault)
}

/// What to do where no entry can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Something has changed: look again.
    LookAgain,
    /// Wait, for a change or until it has settled.
    Wait,
    /// Wait, and say that somebody may want to know.
    Stalled,
    /// Cross the hole if there is proof; what to do if there is none.
    Cross { is_else_damaged: bool },
    /// Leave the file if the next one allows it.
    Leave,
    /// An error: the log is damaged here.
    Damaged,
    /// An error: the file was cut below what was read.
    Truncated,
}

/// The table. `has_settled`: all that is seen has stood still for the settle time; `have_zeros`: the zeros have.
pub(super) fn judge(sight: Sight, is_newest: bool, has_settled: bool, have_zeros: bool) -> Verdict {
    match sight {
        Sight::Grown => Verdict::LookAgain,
        Sight::Truncated => Verdict::Truncated,
        Sight::End if is_newest => Verdict::Wait,
        Sight::End => Verdict::Leave,
        Sight::Hole if have_zeros => Verdict::Cross { is_else_damaged: has_settled && !is_newest },
        Sight::Hole => Verdict::Wait,
        Sight::Torn | Sight::NoEntry if !has_settled => Verdict::Wait,
        Sight::Torn if is_newest => Verdict::Stalled,
        Sight::Torn | Sight::NoEntry => Verdict::Damaged,
    }
}

/// What the next file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// A header with this fault.
    NoHeader(HeaderFault),
    /// An entry; whether it was there at the look before, too.
    Entry { was_seen: bool },
    /// No entry, and this where its first belongs.
    NoEntry(Sight),
}

/// Whether to go on to the next file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Onward {
    /// Read this file to its end once more: what was written before that entry may have come after the look.
    ReadOn,
    /// The next file has nothing that could be read.
    AwaitEntry,
    /// The same, and nothing but a change will end that.
    Rest,
    /// The same, since something there is not written to its end.
    Stalled,
    /// This file lacks its last entry.
    AwaitLast,
    /// Go.
    Enter,
    /// An error: this file ends early.
    EndsEarly,
    /// An error: the file has a bad header.
    BadHeader(HeaderFault),
    /// An error: the next file is damaged where its first entry belongs.
    Damaged,
}

/// What to do about a header with this fault.
pub(super) fn judge_header(fault: HeaderFault, is_newest: bool, has_settled: bool) -> Onward {
    if !fault.may_be_unfinished() {
        Onward::BadHeader(fault)
    } else if !has_settled {
        Onward::AwaitEntry
    } else if is_newest && matches!(fault, HeaderFault::Short(_)) {
        // The newest file may stay shorter than its header for as long as it likes.
        Onward::Rest
    } else {
        Onward::BadHeader(fault)
    }
}

/// The rule for leaving a file. A next file without an entry is entered only if it is not the newest, and has stood still:
/// what it holds is judged like any lower file's content. `names_more`: its header names an entry as this file's last
/// that this file does not have.
pub(super) fn judge_next(content: Content, is_newest: bool, names_more: bool, has_settled: bool) -> Onward {
    match content {
        Content::NoHeader(fault) => return judge_header(fault, is_newest, has_settled),
        Content::NoEntry(_) if !has_settled => return Onward::AwaitEntry,
        Content::NoEntry(sight) if is_newest => {
            return match sight {
                Sight::End | Sight::Truncated => Onward::Rest,
                Sight::Hole | Sight::Torn => Onward::Stalled,
                Sight::Grown => Onward::ReadOn,
                Sight::NoEntry => Onward::Damaged,
            };
        }
        Content::Entry { was_seen: false } => return Onward::ReadOn,
        Content::NoEntry(_) | Content::Entry { was_seen: true } => {}
    }
    match (names_more, has_settled) {
        (false, _) => Onward::Enter,
        (true, false) => Onward::AwaitLast,
        (true, true) => Onward::EndsEarly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table at the head of this file, cell by cell: in the newest file and in a lower one, while it is changing,
    /// when the zeros have settled, and when all has.
    #[test]
    fn the_table() {
        use Verdict::{Damaged, Leave, LookAgain, Stalled, Truncated, Wait};
        let cross = |is_else_damaged| Verdict::Cross { is_else_damaged };
        let table = [
            (Sight::End, [Wait, Wait, Wait], [Leave, Leave, Leave]),
            (Sight::Grown, [LookAgain; 3], [LookAgain; 3]),
            (Sight::Hole, [Wait, cross(false), cross(false)], [Wait, cross(false), cross(true)]),
            (Sight::Torn, [Wait, Wait, Stalled], [Wait, Wait, Damaged]),
            (Sight::NoEntry, [Wait, Wait, Damaged], [Wait, Wait, Damaged]),
            (Sight::Truncated, [Truncated; 3], [Truncated; 3]),
        ];
        for (sight, newest, lower) in table {
            for (verdicts, is_newest) in [(newest, true), (lower, false)] {
                let stood = [(false, false), (false, true), (true, true)];
                let judged = stood.map(|(all, zeros)| judge(sight, is_newest, all, zeros));
                assert_eq!(judged, verdicts, "{sight:?}, newest: {is_newest}");
            }
        }
    }

    #[test]
    fn what_a_name_says() {
        // In the highest file and in a lower one.
        let table = [(Name::Its, [true, true]), (Name::Free, [false, true]), (Name::Anothers, [false, false])];
        for (name, is_part) in table {
            assert_eq!([true, false].map(|is_highest| judge_name(name, is_highest)), is_part, "{name:?}");
        }
    }

    #[test]
    fn what_stands_at_the_cursor() {
        let bad = Look::Checksum { stored: 1, computed: 2, vlsn: None };
        let table = [
            (Look::Zero, 99, Sight::Truncated),
            (Look::Short { needed: 14 }, 100, Sight::End),
            (Look::Short { needed: 14 }, 113, Sight::Torn),
            (Look::Short { needed: 14 }, 114, Sight::Grown),
            (Look::Zero, 101, Sight::Hole),
            (Look::Oversize(u32::MAX), 200, Sight::NoEntry),
            (bad, 200, Sight::NoEntry),
        ];
        for (look, len, sight) in table {
            assert_eq!(Sight::of(&look, 100, len), sight, "{look:?}, {len}");
        }
    }

    const SHORT: HeaderFault = HeaderFault::Short(7);
    const UNWRITTEN: HeaderFault = HeaderFault::Magic;
    const FOREIGN: HeaderFault = HeaderFault::Version(99);

    /// The newest file while it is changing and when it has settled, and a lower one.
    #[test]
    fn what_a_header_says() {
        use Onward::{AwaitEntry as Wait, BadHeader, Rest};
        let table = [
            (SHORT, [Wait, Rest, Wait, BadHeader(SHORT)]),
            (UNWRITTEN, [Wait, BadHeader(UNWRITTEN), Wait, BadHeader(UNWRITTEN)]),
            (FOREIGN, [BadHeader(FOREIGN); 4]),
        ];
        let states = [(true, false), (true, true), (false, false), (false, true)];
        for (fault, verdicts) in table {
            assert_eq!(states.map(|(newest, settled)| judge_header(fault, newest, settled)), verdicts, "{fault:?}");
        }
    }

    /// The same states; where this file has all that the next one names, and where it lacks the last.
    #[test]
    fn the_rule_for_leaving() {
        use Onward::{AwaitEntry, AwaitLast, BadHeader, Damaged, EndsEarly, Enter, ReadOn, Rest, Stalled};
        let table = [
            (
                Content::NoHeader(SHORT),
                [AwaitEntry, Rest, AwaitEntry, BadHeader(SHORT)],
                [AwaitEntry, Rest, AwaitEntry, BadHeader(SHORT)],
            ),
            (Content::NoHeader(FOREIGN), [BadHeader(FOREIGN); 4], [BadHeader(FOREIGN); 4]),
            (Content::Entry { was_seen: false }, [ReadOn; 4], [ReadOn; 4]),
            (Content::Entry { was_seen: true }, [Enter; 4], [AwaitLast, EndsEarly, AwaitLast, EndsEarly]),
            (
                Content::NoEntry(Sight::End),
                [AwaitEntry, Rest, AwaitEntry, Enter],
                [AwaitEntry, Rest, AwaitEntry, EndsEarly],
            ),
            (
                Content::NoEntry(Sight::Hole),
                [AwaitEntry, Stalled, AwaitEntry, Enter],
                [AwaitEntry, Stalled, AwaitEntry, EndsEarly],
            ),
            (
                Content::NoEntry(Sight::Torn),
                [AwaitEntry, Stalled, AwaitEntry, Enter],
                [AwaitEntry, Stalled, AwaitEntry, EndsEarly],
            ),
            (
                Content::NoEntry(Sight::NoEntry),
                [AwaitEntry, Damaged, AwaitEntry, Enter],
                [AwaitEntry, Damaged, AwaitEntry, EndsEarly],
            ),
            (
                Content::NoEntry(Sight::Grown),
                [AwaitEntry, ReadOn, AwaitEntry, Enter],
                [AwaitEntry, ReadOn, AwaitEntry, EndsEarly],
            ),
        ];
        let states = [(true, false), (true, true), (false, false), (false, true)];
        for (content, complete, lacking) in table {
            for (onward, names_more) in [(complete, false), (lacking, true)] {
                let judged = states.map(|(newest, settled)| judge_next(content, newest, names_more, settled));
                assert_eq!(judged, onward, "{content:?}, names more: {names_more}");
            }
        }
    }
}
