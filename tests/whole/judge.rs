//! What runs have met. A simulation in which nothing interesting happens finds nothing: a default run fails when one of
//! these happened too seldom.

use std::fmt::Write;

/// Something that is worth meeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    NotificationLost,
    NotificationLate,
    NotificationForNothing,
    UnwatchedLog,
    OneByteTaken,
    ConnectionFull,
    FullBothWays,
    AckSplit,
    AckLower,
    AckShort,
    AckLong,
    AckCallback,
    AckPolled,
    AcksMerged,
    StoppedWhileSending,
    StoppedWhileIdle,
    FinishedByReplica,
    ResetByReplica,
    Lingered,
    Froze,
    TornEntry,
    OutOfOrder,
    FileBegun,
    SafetyLook,
    Meanwhile,
    CaughtUp,
    LargeEntry,
    HostRang,
    ManySessions,
    Joined,
    InboxFull,
    EndedAmongOthers,
    Shared,
    AckTimeout,
    Paused,
    Limited,
    FellBehind,
}

/// Each with how often a run of 5000 seeds must meet it.
const WANTED: &[(Met, u64)] = &[
    (Met::NotificationLost, 500),
    (Met::NotificationLate, 500),
    (Met::NotificationForNothing, 500),
    (Met::UnwatchedLog, 100),
    (Met::OneByteTaken, 5000),
    (Met::ConnectionFull, 5000),
    (Met::FullBothWays, 200),
    (Met::AckSplit, 5000),
    (Met::AckLower, 500),
    (Met::AckShort, 500),
    (Met::AckLong, 500),
    (Met::AckCallback, 5000),
    (Met::AckPolled, 5000),
    (Met::AcksMerged, 500),
    (Met::StoppedWhileSending, 100),
    (Met::StoppedWhileIdle, 500),
    (Met::FinishedByReplica, 50),
    (Met::ResetByReplica, 50),
    (Met::Lingered, 10),
    (Met::Froze, 100),
    (Met::TornEntry, 500),
    (Met::OutOfOrder, 500),
    (Met::FileBegun, 500),
    (Met::SafetyLook, 500),
    (Met::Meanwhile, 5000),
    (Met::CaughtUp, 1000),
    (Met::LargeEntry, 500),
    (Met::HostRang, 500),
    (Met::ManySessions, 1000),
    (Met::Joined, 1000),
    (Met::InboxFull, 100),
    (Met::EndedAmongOthers, 1000),
    (Met::Shared, 200),
    (Met::AckTimeout, 50),
    (Met::Paused, 200),
    (Met::Limited, 200),
    (Met::FellBehind, 50),
];

/// How often each was met.
#[derive(Clone, Debug)]
pub(crate) struct Seen([u64; WANTED.len()]);

impl Default for Seen {
    fn default() -> Seen {
        Seen([0; WANTED.len()])
    }
}

impl Seen {
    pub(crate) fn note(&mut self, met: Met) {
        self.0[met as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Seen) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// A line for each that was met less often than `seeds` runs should, where the minimum is that of `of` runs. Short
    /// runs are not judged.
    pub(crate) fn too_seldom(&self, seeds: u64, of: u64) -> String {
        let mut lines = String::new();
        for &(met, minimum) in WANTED {
            let (count, wanted) = (self.0[met as usize], minimum * seeds / of);
            if seeds >= of && count < wanted {
                let _ = writeln!(lines, "{met:?}: {count}, at least {wanted} wanted");
            }
        }
        lines
    }
}

#[test]
fn the_table_has_each_in_its_place() {
    for (at, (met, _)) in WANTED.iter().enumerate() {
        assert_eq!(*met as usize, at, "{met:?}");
    }
}
