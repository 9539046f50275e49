//! The tracker: what a master remembers of one replica. Plain arithmetic; it believes what it is told.
//!
//! It is for hosts that move the bytes themselves. It does not judge whether an ack can be true. Only a
//! [`Stream`](super::Stream) can, because it knows what was sent.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::memory;

/// Where the exchange with a replica stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// Nothing has begun.
    #[default]
    Idle,
    /// Agreeing where to start.
    Handshaking,
    /// Frames and acks flow.
    Streaming,
    /// It has ended.
    Shutdown,
}

/// See the module's comment. One thread at a time.
pub struct Tracker {
    replica_name: String,
    state: State,
    current_vlsn: u64,
    acked_vlsn: u64,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    queue_bytes_max: usize,
    last_activity: Instant,
}

impl Tracker {
    /// A tracker in state Idle, with nothing queued and nothing acknowledged. Its queue holds at most
    /// `queue_bytes_max` bytes.
    pub fn new(replica_name: impl Into<String>, queue_bytes_max: usize, now: Instant) -> Tracker {
        Tracker {
            replica_name: replica_name.into(),
            state: State::Idle,
            current_vlsn: 0,
            acked_vlsn: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queue_bytes_max,
            last_activity: now,
        }
    }

    /// The replica's name.
    pub fn replica_name(&self) -> &str {
        &self.replica_name
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Sets the state: any from any, without counting as activity.
    pub fn set_state(&mut self, state: State) {
        self.state = state;
    }

    /// The next VLSN to send; 0 at first.
    pub fn current_vlsn(&self) -> u64 {
        self.current_vlsn
    }

    /// The highest VLSN acknowledged; 0 at first.
    pub fn acked_vlsn(&self) -> u64 {
        self.acked_vlsn
    }

    /// How far the replica is behind: current minus acknowledged, never below 0.
    pub fn lag(&self) -> u64 {
        self.current_vlsn.saturating_sub(self.acked_vlsn)
    }

    /// Queues the message `[vlsn u64 LE][type u8][data]`. An error, and nothing queued, if the queue has no room, or no
    /// memory can be had.
    pub fn queue_entry(&mut self, vlsn: u64, entry_type: u8, data: &[u8], now: Instant) -> Result<()> {
        let len = 9 + data.len();
        if self.queued_bytes + len > self.queue_bytes_max {
            return Err(Error::QueueFull { queued: self.queued_bytes, max: self.queue_bytes_max });
        }
        let mut message = Vec::new();
        memory::reserve(&mut message, len)
            .and_then(|()| memory::reserve_queue(&mut self.queue, 1))
            .map_err(|none| Error::no_memory(none, "a queued message", None, Some(vlsn)))?;
        message.extend_from_slice(&vlsn.to_le_bytes());
        message.push(entry_type);
        message.extend_from_slice(data);
        self.queue.push_back(message);
        self.queued_bytes += len;
        if vlsn >= self.current_vlsn {
            self.current_vlsn = vlsn.saturating_add(1);
        }
        self.last_activity = now;
        Ok(())
    }

    /// Takes the oldest message out of the queue.
    pub fn dequeue(&mut self) -> Option<Vec<u8>> {
        let message = self.queue.pop_front()?;
        self.queued_bytes -= message.len();
        Some(message)
    }

    /// How many messages are queued.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Notes an ack. A lower one than before is activity, and nothing else.
    pub fn record_ack(&mut self, vlsn: u64, now: Instant) {
        self.acked_vlsn = self.acked_vlsn.max(vlsn);
        self.last_activity = now;
    }

    /// Notes activity of another kind.
    pub fn touch(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// Whether more than `timeout` has passed since the last activity. Always, if it is zero.
    pub fn is_timed_out(&self, timeout: Duration, now: Instant) -> bool {
        timeout.is_zero() || now.saturating_duration_since(self.last_activity) > timeout
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeder")
            .field("replica_name", &self.replica_name)
            .field("state", &self.state)
            .field("current_vlsn", &self.current_vlsn)
            .field("acked_vlsn", &self.acked_vlsn)
            .field("lag", &self.lag())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker() -> (Tracker, Instant) {
        let now = Instant::now();
        (Tracker::new("replica-1", 1000, now), now)
    }

    #[test]
    fn it_begins_idle_and_any_state_may_follow_any() {
        let (mut tracker, now) = tracker();
        assert_eq!(tracker.state(), State::Idle);
        assert_eq!(tracker.replica_name(), "replica-1");
        assert_eq!((tracker.current_vlsn(), tracker.acked_vlsn(), tracker.lag()), (0, 0, 0));
        let all = [State::Idle, State::Handshaking, State::Streaming, State::Shutdown];
        for from in all {
            for to in all {
                tracker.set_state(from);
                tracker.set_state(to);
                assert_eq!(tracker.state(), to);
            }
        }
        assert!(tracker.is_timed_out(Duration::from_secs(1), now + Duration::from_secs(2)), "no activity so far");
    }

    #[test]
    fn lag_is_current_minus_acknowledged() {
        let (mut tracker, now) = tracker();
        for vlsn in 1..=3 {
            tracker.queue_entry(vlsn, 13, b"", now).unwrap();
        }
        assert_eq!((tracker.current_vlsn(), tracker.lag()), (4, 4));
        tracker.record_ack(2, now);
        assert_eq!(tracker.lag(), 2);
        tracker.record_ack(1, now);
        assert_eq!((tracker.acked_vlsn(), tracker.lag()), (2, 2), "acks only rise");
        tracker.record_ack(4, now);
        assert_eq!(tracker.lag(), 0);
        tracker.record_ack(400, now);
        assert_eq!((tracker.acked_vlsn(), tracker.lag()), (400, 0), "it believes what it is told");
    }

    #[test]
    fn the_queue_keeps_its_order_older_vlsns_too_and_drains_whole() {
        let (mut tracker, now) = tracker();
        tracker.queue_entry(0x0102, 13, b"new", now).unwrap();
        tracker.queue_entry(5, 10, b"old", now).unwrap();
        assert_eq!(tracker.current_vlsn(), 0x0103);
        let drained: Vec<_> = std::iter::from_fn(|| tracker.dequeue()).collect();
        assert_eq!(drained, [b"\x02\x01\0\0\0\0\0\0\x0dnew".to_vec(), b"\x05\0\0\0\0\0\0\0\x0aold".to_vec()]);
        assert_eq!(tracker.queued(), 0);
    }

    #[test]
    fn the_queue_is_bounded_and_says_so() {
        let (mut tracker, now) = tracker();
        tracker.queue_entry(1, 13, &[0; 900], now).unwrap();
        let error = tracker.queue_entry(2, 13, &[0; 100], now).unwrap_err();
        assert_eq!(error, Error::QueueFull { queued: 909, max: 1000 });
        assert_eq!(tracker.current_vlsn(), 2, "what was not queued does not count");
        tracker.dequeue();
        tracker.queue_entry(2, 13, &[0; 100], now).unwrap();
    }

    #[test]
    fn queueing_acks_and_touches_are_activity_and_states_are_not() {
        let (mut tracker, begin) = tracker();
        let second = Duration::from_secs(1);
        assert!(!tracker.is_timed_out(60 * second, begin));
        assert!(tracker.is_timed_out(Duration::ZERO, begin));
        type Act = fn(&mut Tracker, Instant);
        let acts: [(Act, bool); 5] = [
            (|t, now| t.queue_entry(9, 13, b"", now).unwrap(), true),
            (|t, now| t.record_ack(9, now), true),
            (|t, now| t.record_ack(1, now), true),
            (|t, now| t.touch(now), true),
            (|t, _| t.set_state(State::Streaming), false),
        ];
        let mut now = begin;
        for (at, (act, is_activity)) in acts.into_iter().enumerate() {
            now += 10 * second;
            act(&mut tracker, now);
            assert_eq!(tracker.is_timed_out(5 * second, now + second), !is_activity, "act {at}");
        }
    }

    #[test]
    fn the_debug_text_has_all_five_facts() {
        let (mut tracker, now) = tracker();
        tracker.queue_entry(7, 13, b"", now).unwrap();
        tracker.record_ack(3, now);
        tracker.set_state(State::Handshaking);
        let text = format!("{tracker:?}");
        for fact in ["replica-1", "Handshaking", "current_vlsn: 8", "acked_vlsn: 3", "lag: 5"] {
            assert!(text.contains(fact), "{fact} is missing from {text}");
        }
    }
}
