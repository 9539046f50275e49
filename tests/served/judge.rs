//! What runs have met. A simulation in which nothing interesting happens finds nothing: a default run fails when one of
//! these happened too seldom.

use std::fmt::Write;

/// Something that is worth meeting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    NotificationLost,
    NotificationLate,
    NotificationForNothing,
    OutOfOrder,
    FileBegun,
    LargeEntry,
    TornEntry,
    SafetyLook,
    Froze,
    Meanwhile,
    ConnectionFull,
    ResetByServer,
    FinishedByPeer,
    ResetByPeer,
    Served,
    CaughtUp,
    FellBehind,
    Stalled,
    AckTimeout,
    Liar,
    NeedsRestore,
    Ahead,
    AheadOfEmpty,
    RestoredFramed,
    RestoredRaw,
    RestoredWhileWritten,
    Found,
    NotFound,
    Alternate,
    SyncupEnded,
    Elected,
    Probed,
    Named,
    NamedAtOnce,
    NotNamed,
    TurnedAwayByHost,
    Replaced,
    NameTaken,
    Disconnected,
    TooMany,
    Crowded,
    Garbage,
    NotOffered,
    SilentInName,
    SilentInStep,
    NotTaken,
    WriteTimeout,
    ClosedInStep,
    EventsLost,
    EventsCalled,
    EventsPolledAtTheEnd,
    AcksTold,
    StoppedAmongMany,
    StoppedInGreeting,
    StoppedWhileStreaming,
    CameAfterStop,
}

/// Each with how often a run of 3000 seeds must meet it.
const WANTED: &[(Met, u64)] = &[
    (Met::NotificationLost, 100),
    (Met::NotificationLate, 100),
    (Met::NotificationForNothing, 100),
    (Met::OutOfOrder, 100),
    (Met::FileBegun, 100),
    (Met::LargeEntry, 100),
    (Met::TornEntry, 100),
    (Met::SafetyLook, 100),
    (Met::Froze, 100),
    (Met::Meanwhile, 1000),
    (Met::ConnectionFull, 1000),
    (Met::ResetByServer, 50),
    (Met::FinishedByPeer, 50),
    (Met::ResetByPeer, 50),
    (Met::Served, 1000),
    (Met::CaughtUp, 500),
    (Met::FellBehind, 20),
    (Met::Stalled, 5),
    (Met::AckTimeout, 20),
    (Met::Liar, 20),
    (Met::NeedsRestore, 50),
    (Met::Ahead, 20),
    (Met::AheadOfEmpty, 5),
    (Met::RestoredFramed, 50),
    (Met::RestoredRaw, 50),
    (Met::RestoredWhileWritten, 20),
    (Met::Found, 100),
    (Met::NotFound, 100),
    (Met::Alternate, 20),
    (Met::SyncupEnded, 50),
    (Met::Elected, 20),
    (Met::Probed, 20),
    (Met::Named, 500),
    (Met::NamedAtOnce, 500),
    (Met::NotNamed, 10),
    (Met::TurnedAwayByHost, 50),
    (Met::Replaced, 20),
    (Met::NameTaken, 10),
    (Met::Disconnected, 20),
    (Met::TooMany, 50),
    (Met::Crowded, 50),
    (Met::Garbage, 50),
    (Met::NotOffered, 20),
    (Met::SilentInName, 50),
    (Met::SilentInStep, 20),
    (Met::NotTaken, 10),
    (Met::WriteTimeout, 5),
    (Met::ClosedInStep, 20),
    (Met::EventsLost, 10),
    (Met::EventsCalled, 500),
    (Met::EventsPolledAtTheEnd, 100),
    (Met::AcksTold, 1000),
    (Met::StoppedAmongMany, 100),
    (Met::StoppedInGreeting, 50),
    (Met::StoppedWhileStreaming, 50),
    (Met::CameAfterStop, 50),
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
