//! How long a replica may keep a session waiting: for room to send, and for its acks.
//!
//! Time in which this side was frozen is nobody's fault, and the replica may have been frozen with it: after that both
//! waits begin anew. There is no clock here, and no judgement: who asks has looked before whether what is waited for has
//! come.

use std::time::{Duration, Instant};

use crate::log::attention::Attention;

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Patience {
    write_limit: Duration,
    ack_limit: Option<Duration>,
    /// When the transport last took a byte, or had nothing to take.
    taken_last: Instant,
    /// When this side was last found to have been frozen; when the run began, before that.
    awake_since: Instant,
    attention: Attention,
}

impl Patience {
    /// Of a run that begins. Without a limit for acks they are waited for as long as it takes.
    pub(super) fn new(write_limit: Duration, ack_limit: Option<Duration>, now: Instant) -> Patience {
        let shortest = ack_limit.map_or(write_limit, |limit| limit.min(write_limit));
        let attention = Attention::new(shortest);
        Patience { write_limit, ack_limit, taken_last: now, awake_since: now, attention }
    }

    /// A turn begins.
    pub(super) fn wakes(&mut self, now: Instant) {
        if self.attention.wakes(now) {
            self.awake_since = now;
        }
    }

    /// A turn is over, and the next one is to begin at `next`, if time alone is a reason for it.
    pub(super) fn sleeps(&mut self, next: Option<Instant>) {
        self.attention.sleeps(next);
    }

    /// The transport takes bytes, or there were none for it until now.
    pub(super) fn note_taken(&mut self, now: Instant) {
        self.taken_last = now;
    }

    /// When this side was last found to have been frozen; when the run began, before that.
    pub(super) fn awake_since(&self) -> Instant {
        self.awake_since
    }

    /// When a replica that takes nothing has failed.
    pub(super) fn write_deadline(&self) -> Instant {
        self.taken_last.max(self.awake_since) + self.write_limit
    }

    /// When a replica has failed that has owed an ack since then, and sent none.
    pub(super) fn ack_deadline(&self, owed_since: Option<Instant>) -> Option<Instant> {
        Some(owed_since?.max(self.awake_since) + self.ack_limit?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Duration = Duration::from_secs(40);
    const ACK: Duration = Duration::from_secs(20);
    /// A turn that comes so much too late comes to one who was frozen: a quarter of the shorter limit.
    const SLACK: Duration = Duration::from_secs(5);

    #[test]
    fn a_wait_counts_from_what_came_last() {
        let begin = Instant::now();
        let mut patience = Patience::new(WRITE, Some(ACK), begin);
        assert_eq!(patience.write_deadline(), begin + WRITE);
        assert_eq!(patience.ack_deadline(None), None, "no ack is owed");
        let later = begin + ACK * 100;
        assert_eq!(patience.ack_deadline(Some(later)), Some(later + ACK));
        patience.note_taken(later);
        assert_eq!(patience.write_deadline(), later + WRITE);
        assert_eq!(Patience::new(WRITE, None, begin).ack_deadline(Some(later)), None, "there is no limit");
    }

    #[test]
    fn both_waits_begin_anew_behind_a_turn_that_comes_much_too_late() {
        let begin = Instant::now();
        for (next, comes, was_frozen) in [
            (Some(begin + ACK), begin + ACK, false),
            (Some(begin + ACK), begin + ACK + SLACK, false),
            (Some(begin + ACK), begin + ACK + SLACK + Duration::from_nanos(1), true),
            (Some(begin), begin + SLACK * 2, true),
            (None, begin + ACK * 1000, false),
        ] {
            let mut patience = Patience::new(WRITE, Some(ACK), begin);
            patience.sleeps(next);
            patience.wakes(comes);
            let from = if was_frozen { comes } else { begin };
            assert_eq!(patience.write_deadline(), from + WRITE, "{next:?} {comes:?}");
            assert_eq!(patience.ack_deadline(Some(begin)), Some(from + ACK), "{next:?} {comes:?}");
        }
    }
}
