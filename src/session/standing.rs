//! How a replica stands: whether it has what the log has, and whether the log itself goes on.
//!
//! A replica has caught up when it has acknowledged all that had been sent at a moment at which the log had no more. One
//! that has caught up stays so while entries are appended, until something has waited for too long: a frame for its ack, or
//! the session to send all that there is. Then it is behind, until it has caught up again and nothing has waited for more
//! than half as long. So neither a single entry nor a replica at the limit makes it go back and forth.
//!
//! There is no clock here, and nothing is told: the session says what it finds at the end of a turn, and learns whether
//! the standing is another one by that.

use std::time::{Duration, Instant};

use crate::log::tail::WaitReason;
use crate::log::{Lsn, Wait};

/// Whether a replica has what the log has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// It has not caught up since the session began.
    #[default]
    CatchingUp,
    /// It has what the log has, up to what has just been appended.
    CaughtUp,
    /// It had caught up, and something has waited for too long since.
    Behind,
}

/// Where the log does not go on, for as long as its settle time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stall {
    /// What is waited for.
    pub reason: WaitReason,
    /// Where.
    pub at: Lsn,
    /// A VLSN that has not been found although later ones have.
    pub missing_vlsn: Option<u64>,
}

impl Stall {
    /// What is stalled, if a source that waits for this is.
    pub fn of(wait: &Wait) -> Option<Stall> {
        let Wait { reason, at, missing_vlsn, stalled, .. } = *wait;
        stalled.then_some(Stall { reason, at, missing_vlsn })
    }
}

/// How a replica stands. At first it is catching up with a log that is not stalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Whether it has what the log has.
    pub place: Place,
    /// Whether the log is stalled. Then it may have all that can be read, and not caught up.
    pub stalled: Option<Stall>,
}

/// What a session finds at the end of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Whether all that the source has was sent.
    pub(super) is_all_sent: bool,
    /// Where the source is stalled.
    pub(super) stalled: Option<Stall>,
    /// The highest VLSN sent, and the highest that the replica is known to have.
    pub(super) sent_vlsn: u64,
    pub(super) acked_vlsn: u64,
    /// When the oldest frame was sent that is not acknowledged.
    pub(super) unacked_since: Option<Instant>,
    /// Since when this side has been awake: what was to be done before that has waited for nobody.
    pub(super) awake_since: Instant,
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Observer {
    /// What has waited for so long has waited for too long. None: a replica never falls behind, and no time is asked for.
    behind_after: Option<Duration>,
    standing: Standing,
    /// The last VLSN of what had been sent at a moment at which the log had no more, while the replica has to catch up.
    goal: Option<u64>,
    /// Since when there has been something to send.
    unsent_since: Option<Instant>,
    /// Since when something has been waiting: to be sent, or for its ack.
    waiting_since: Option<Instant>,
}

impl Observer {
    /// Of a session that begins.
    pub(super) fn new(behind_after: Option<Duration>) -> Observer {
        let standing = Standing::default();
        Observer { behind_after, standing, goal: None, unsent_since: None, waiting_since: None }
    }

    /// How the replica stands, as of the last turn.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// A turn is over. The standing, if it has become another one.
    pub(super) fn note(&mut self, found: &Found, now: Instant) -> Option<Standing> {
        if found.is_all_sent {
            self.unsent_since = None;
        } else {
            self.unsent_since.get_or_insert(now);
        }
        let waiting_since = [self.unsent_since, found.unacked_since].into_iter().flatten().min();
        self.waiting_since = waiting_since.map(|since| since.max(found.awake_since));
        let standing = Standing { place: self.place(found, now), stalled: found.stalled };
        let before = std::mem::replace(&mut self.standing, standing);
        (standing != before).then_some(standing)
    }

    fn place(&mut self, found: &Found, now: Instant) -> Place {
        if self.standing.place == Place::CaughtUp {
            let is_behind = self.deadline().is_some_and(|at| now >= at);
            return if is_behind { Place::Behind } else { Place::CaughtUp };
        }
        if found.is_all_sent && found.stalled.is_none() {
            self.goal.get_or_insert(found.sent_vlsn);
        }
        let is_at_goal = self.goal.is_some_and(|vlsn| found.acked_vlsn >= vlsn);
        let waits_long = |limit: Duration| self.waiting_since.is_some_and(|since| now >= since + limit / 2);
        if !is_at_goal || self.behind_after.is_some_and(waits_long) {
            return self.standing.place;
        }
        self.goal = None;
        Place::CaughtUp
    }

    /// When time alone will change the standing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.standing.place != Place::CaughtUp {
            return None;
        }
        Some(self.waiting_since? + self.behind_after?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    const STALL: Stall = Stall { reason: WaitReason::Torn, at: Lsn::NULL, missing_vlsn: None };

    /// A session that is looked at second by second.
    struct Played {
        observer: Observer,
        begin: Instant,
    }

    impl Played {
        fn new(behind_after: Option<Duration>) -> Played {
            Played { observer: Observer::new(behind_after), begin: Instant::now() }
        }

        fn at(&self, second: u64) -> Instant {
            self.begin + Duration::from_secs(second)
        }

        /// At that second: what was sent and acknowledged, since when the oldest frame waits, and whether there is more.
        fn note(&mut self, second: u64, sent: u64, acked: u64, unacked_since: Option<u64>, more: bool) -> Place {
            let found = Found {
                is_all_sent: !more,
                stalled: None,
                sent_vlsn: sent,
                acked_vlsn: acked,
                unacked_since: unacked_since.map(|second| self.at(second)),
                awake_since: self.begin,
            };
            let before = self.observer.standing();
            let told = self.observer.note(&found, self.at(second));
            let now = self.observer.standing();
            assert_eq!(told, (now != before).then_some(now), "a change is told, and nothing else");
            now.place
        }

        fn deadline(&self) -> Option<u64> {
            self.observer.deadline().map(|at| (at - self.begin).as_secs())
        }
    }

    use Place::{Behind, CatchingUp, CaughtUp};

    #[test]
    fn a_replica_catches_up_falls_behind_and_catches_up_again() {
        let mut played = Played::new(Some(LIMIT));
        for (second, sent, acked, unacked_since, more, place, deadline, why) in [
            (0, 50, 0, Some(0), true, CatchingUp, None, "there is more to send"),
            (30, 90, 80, Some(29), true, CatchingUp, None, "however long it takes"),
            (31, 99, 80, Some(29), false, CatchingUp, None, "the log's end was sent, and not acknowledged"),
            (32, 120, 98, Some(31), true, CatchingUp, None, "a VLSN is missing of what the log had"),
            (33, 150, 99, Some(32), true, CaughtUp, Some(42), "it has what the log had, whatever came since"),
            (34, 150, 150, None, false, CaughtUp, None, "nothing waits"),
            (1000, 151, 150, Some(1000), false, CaughtUp, Some(1010), "a single entry"),
            (1009, 152, 150, Some(1000), false, CaughtUp, Some(1010), "it may take a while"),
            (1010, 152, 150, Some(1000), false, Behind, None, "and not longer"),
            (1011, 152, 151, Some(1002), false, Behind, None, "an ack that is not all"),
            (1012, 160, 152, Some(1006), true, Behind, None, "all, and what came since has waited for more than half"),
            (1013, 160, 152, Some(1009), true, CaughtUp, Some(1019), "less than half"),
            (1014, 160, 160, None, false, CaughtUp, None, "nothing waits"),
        ] {
            assert_eq!(played.note(second, sent, acked, unacked_since, more), place, "{second} s: {why}");
            assert_eq!(played.deadline(), deadline, "{second} s: {why}");
        }
    }

    #[test]
    fn what_is_not_sent_for_long_is_behind_however_fast_its_acks_come() {
        let mut played = Played::new(Some(LIMIT));
        for (second, unacked_since, more, place, deadline) in [
            (0, None, false, CaughtUp, None),
            (5, None, true, CaughtUp, Some(15)),
            (14, Some(14), true, CaughtUp, Some(15)),
            (15, None, true, Behind, None),
            (100, None, true, Behind, None),
            (101, None, false, CaughtUp, None),
            (200, None, true, CaughtUp, Some(210)),
            (209, None, false, CaughtUp, None),
            (215, None, true, CaughtUp, Some(225)),
        ] {
            assert_eq!(played.note(second, 7, 7, unacked_since, more), place, "{second} s");
            assert_eq!(played.deadline(), deadline, "{second} s");
        }
    }

    #[test]
    fn without_a_limit_nobody_falls_behind_and_no_time_is_asked_for() {
        let mut played = Played::new(None);
        for (second, acked, more, place) in [
            (0, 0, false, CatchingUp),
            (10_000, 7, true, CaughtUp),
            (20_000, 7, true, CaughtUp),
            (30_000, 8, false, CaughtUp),
        ] {
            assert_eq!(played.note(second, 7, acked, Some(0), more), place);
            assert_eq!(played.deadline(), None);
        }
    }

    #[test]
    fn a_stalled_log_is_told_of_and_has_no_end_to_catch_up_with() {
        let (mut observer, now) = (Observer::new(Some(LIMIT)), Instant::now());
        let found = Found {
            is_all_sent: true,
            stalled: Some(STALL),
            sent_vlsn: 7,
            acked_vlsn: 7,
            unacked_since: None,
            awake_since: now,
        };
        let stalled = Standing { place: CatchingUp, stalled: Some(STALL) };
        assert_eq!(observer.note(&found, now), Some(stalled));
        assert_eq!(observer.note(&found, now), None);
        let later = now + LIMIT * 10;
        let caught_up = Standing { place: CaughtUp, stalled: None };
        assert_eq!(observer.note(&Found { stalled: None, ..found }, later), Some(caught_up));
        assert_eq!(observer.note(&found, later), Some(Standing { stalled: Some(STALL), ..caught_up }));
        assert_eq!(observer.note(&found, later + LIMIT * 10), None, "nothing waits that could be sent");
    }

    #[test]
    fn time_in_which_this_side_was_frozen_makes_nobody_behind() {
        let mut played = Played::new(Some(LIMIT));
        assert_eq!(played.note(0, 0, 0, None, false), CaughtUp);
        let found = Found {
            is_all_sent: true,
            stalled: None,
            sent_vlsn: 1,
            acked_vlsn: 0,
            unacked_since: Some(played.begin),
            awake_since: played.at(100),
        };
        let at = played.at(101);
        assert_eq!(played.observer.note(&found, at), None);
        assert_eq!(played.deadline(), Some(110));
    }
}
