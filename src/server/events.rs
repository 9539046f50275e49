//! What a server tells its host: events in their order, and acks, of which only the last of each replica counts.
//!
//! A host polls, or has a thread of the server's call it; either way what waits is here. It has a bound: acks are about as
//! many as there are replicas, and of anything else the number is limited. What finds no room is counted, and an event says how much
//! was lost, in the place where it was: then the host asks for the listing, and knows all again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use super::connection::Connection;
use super::refusal::Refusal;
use crate::acks::{Deadline, End};
use crate::error::Error;
use crate::session::standing::Stall;
use crate::sync::{Condvar, Mutex};
use crate::sys::fork::close_inherited;
use crate::sys::signal_fd::SignalFd;

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A replica is fed from now on, from this VLSN on.
    Joined(u64),
    /// It has acknowledged up to this VLSN, which is the last that is known.
    Acked(u64),
    /// It has acknowledged all that the log had.
    CaughtUp,
    /// It had caught up, and something has waited for too long since.
    FellBehind,
    /// The log does not go on where it is read for this replica.
    Stalled(Stall),
    /// It goes on.
    GoesOn,
    /// It was told that it has to restore: it asked for what the log has no more.
    NeedsRestore,
    /// It fetches the files of the log.
    Restoring,
    /// It has all files, so many bytes.
    Restored(u64),
    /// A connection came to nothing.
    Refused(Refusal),
    /// A replica is fed no longer; and why it was ended, where the server did that.
    Ended(End, Option<Refusal>),
    /// The log cannot be read on: nobody can be fed beyond that place.
    LogBroken(Error),
    /// So many events found no room here. The listing says how things are now.
    Lost(u64),
}

/// Something that has happened, and to whom.
#[derive(Clone)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// Whose connection it is about, if it is about one.
    pub connection: Option<Arc<Connection>>,
}

enum Waiting {
    Event(Event),
    /// That replica has acknowledged something.
    Ack(Arc<Connection>),
}

struct Inner {
    waiting: VecDeque<Waiting>,
    /// How many of these are events, and how many acks.
    events: usize,
    acks: usize,
    /// How many have found no room since the last that did, and in all.
    lost: u64,
    lost_in_all: u64,
    is_closed: bool,
    /// Made when somebody first asks for it.
    signal: Option<SignalFd>,
}

impl Inner {
    fn is_signalled(&self) -> bool {
        !self.waiting.is_empty() || self.lost > 0 || self.is_closed
    }

    /// Replicas come, acknowledge and go while the host takes nothing. What one has acknowledged that has ended is told with
    /// its end, or counted as lost with that.
    fn forget_acks_of_ended(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| !matches!(waiting, Waiting::Ack(connection) if connection.is_over()));
        self.acks -= before - self.waiting.len();
    }

    /// Makes the descriptor say what is true. Under the lock, so that two threads cannot do it in the wrong order.
    fn signal(&self, before: bool) {
        if let Some(signal) = &self.signal {
            match (before, self.is_signalled()) {
                (false, true) => signal.raise(),
                (true, false) => signal.lower(),
                _ => {}
            }
        }
    }
}

/// Whoever may take events for the host.
pub(super) trait Taker: Send + Sync {
    /// There is one.
    fn note_event(&self);
}

/// See the module's comment. Any thread.
pub struct Events {
    max: usize,
    /// With how many acks those of connections are forgotten that have ended.
    acks_max: usize,
    /// Who takes the events, if not the host.
    taker: Option<Arc<dyn Taker>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// What a poll found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// So many events.
    Events(usize),
    /// None in time.
    TimedOut,
    /// The server has ended, and all were taken.
    Ended,
}

impl Events {
    /// None so far. At most `max` wait at once, acks not counted; of these twice as many as there may be `connections`.
    /// `taker` is told of each.
    pub(super) fn new(max: usize, connections: usize, taker: Option<Arc<dyn Taker>>) -> Events {
        let inner = Inner {
            waiting: VecDeque::new(),
            events: 0,
            acks: 0,
            lost: 0,
            lost_in_all: 0,
            is_closed: false,
            signal: None,
        };
        Events {
            max: max.max(1),
            acks_max: connections.saturating_mul(2).max(1),
            taker,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }

    /// Something has happened.
    pub(super) fn push(&self, kind: Kind, connection: Option<&Arc<Connection>>) {
        self.put(|inner, max| {
            if inner.events >= max {
                inner.lost += 1;
                inner.lost_in_all += 1;
                return;
            }
            if inner.lost > 0 {
                let lost = std::mem::take(&mut inner.lost);
                inner.waiting.push_back(Waiting::Event(Event { kind: Kind::Lost(lost), connection: None }));
                inner.events += 1;
            }
            inner.waiting.push_back(Waiting::Event(Event { kind, connection: connection.cloned() }));
            inner.events += 1;
        });
    }

    /// A replica has acknowledged something. Cheap where that was told and is not taken yet.
    #[inline]
    pub(super) fn push_ack(&self, connection: &Arc<Connection>) {
        if connection.note_ack_waits() {
            self.put(|inner, _| {
                if inner.acks >= self.acks_max {
                    inner.forget_acks_of_ended();
                }
                inner.waiting.push_back(Waiting::Ack(Arc::clone(connection)));
                inner.acks += 1;
            });
        }
    }

    fn put(&self, change: impl FnOnce(&mut Inner, usize)) {
        let mut inner = self.inner.lock();
        let before = inner.is_signalled();
        change(&mut inner, self.max);
        inner.signal(before);
        drop(inner);
        self.changed.notify_all();
        if let Some(taker) = &self.taker {
            taker.note_event();
        }
    }

    /// How many events have found no room so far.
    pub fn lost_in_all(&self) -> u64 {
        self.inner.lock().lost_in_all
    }

    /// Nothing more happens.
    pub(super) fn close(&self) {
        self.put(|inner, _| inner.is_closed = true);
    }

    /// Appends up to `most` events to `into`; waits for the first until `deadline`.
    pub fn poll(&self, into: &mut Vec<Event>, most: usize, deadline: Deadline) -> Polled {
        let mut inner = self.inner.lock();
        loop {
            let before = inner.is_signalled();
            let count = take(&mut inner, into, most);
            inner.signal(before);
            if count > 0 {
                return Polled::Events(count);
            }
            if inner.is_closed && inner.waiting.is_empty() {
                return Polled::Ended;
            }
            let timed_out = match deadline {
                Deadline::Never => {
                    self.changed.wait(&mut inner);
                    false
                }
                Deadline::At(at) => self.changed.wait_until(&mut inner, at).timed_out(),
            };
            if timed_out && !inner.is_signalled() {
                return Polled::TimedOut;
            }
        }
    }

    /// In a forked child: closes the descriptor that the child has of these, unless they were being changed at the fork.
    pub(super) fn close_in_child(&self) {
        let inner = self.inner.try_lock();
        let signal = inner.as_ref().and_then(|inner| inner.signal.as_ref());
        close_inherited(signal.map(|signal| signal.as_fd().as_raw_fd()));
    }

    /// A descriptor that is readable while events wait, or the server has ended.
    pub fn event_fd(&self) -> io::Result<RawFd> {
        let mut inner = self.inner.lock();
        if inner.signal.is_none() {
            let signal = SignalFd::new()?;
            if inner.is_signalled() {
                signal.raise();
            }
            inner.signal = Some(signal);
        }
        Ok(inner.signal.as_ref().map_or(-1, |signal| signal.as_fd().as_raw_fd()))
    }
}

fn take(inner: &mut Inner, into: &mut Vec<Event>, most: usize) -> usize {
    let before = into.len();
    while into.len() - before < most {
        let event = match inner.waiting.pop_front() {
            Some(Waiting::Event(event)) => {
                inner.events -= 1;
                event
            }
            // What is acknowledged from here on is told anew.
            Some(Waiting::Ack(connection)) => {
                inner.acks -= 1;
                let vlsn = connection.take_ack();
                Event { kind: Kind::Acked(vlsn), connection: Some(connection) }
            }
            None if inner.lost > 0 => Event { kind: Kind::Lost(std::mem::take(&mut inner.lost)), connection: None },
            None => break,
        };
        into.push(event);
    }
    into.len() - before
}

#[cfg(test)]
mod tests {
    use super::super::connection::Peer;
    use super::*;
    use std::time::Instant;

    fn connection() -> Arc<Connection> {
        Arc::new(Connection::new(1, Peer::of_tests("192.0.2.1:1000"), 0, Instant::now()))
    }

    fn polled(events: &Events, most: usize) -> (Vec<Kind>, Polled) {
        let mut into = Vec::new();
        let polled = events.poll(&mut into, most, Deadline::At(Instant::now()));
        (into.into_iter().map(|event| event.kind).collect(), polled)
    }

    #[test]
    fn events_come_in_order_and_of_acks_the_last_of_each_replica() {
        let (events, [a, b]) = (Events::new(10, 10, None), [connection(), connection()]);
        events.push(Kind::Joined(1), Some(&a));
        a.note_acked(3);
        events.push_ack(&a);
        b.note_acked(8);
        events.push_ack(&b);
        a.note_acked(5);
        events.push_ack(&a);
        events.push(Kind::NeedsRestore, Some(&b));
        assert_eq!(polled(&events, 2), (vec![Kind::Joined(1), Kind::Acked(5)], Polled::Events(2)));
        a.note_acked(6);
        events.push_ack(&a);
        let rest = vec![Kind::Acked(8), Kind::NeedsRestore, Kind::Acked(6)];
        assert_eq!(polled(&events, 10), (rest, Polled::Events(3)));
        assert_eq!(polled(&events, 10), (vec![], Polled::TimedOut));
        events.close();
        assert_eq!(polled(&events, 10), (vec![], Polled::Ended));
    }

    #[test]
    fn what_finds_no_room_is_counted_where_it_was() {
        let events = Events::new(2, 2, None);
        (1..=5).for_each(|vlsn| events.push(Kind::Joined(vlsn), None));
        assert_eq!(polled(&events, 2).0, [Kind::Joined(1), Kind::Joined(2)]);
        events.push(Kind::Joined(6), None);
        assert_eq!(polled(&events, 9).0, [Kind::Lost(3), Kind::Joined(6)]);
        (1..=3).for_each(|vlsn| events.push(Kind::Joined(vlsn), None));
        assert_eq!(polled(&events, 9).0, [Kind::Joined(1), Kind::Joined(2), Kind::Lost(1)]);
        assert_eq!(polled(&events, 9), (vec![], Polled::TimedOut));
    }

    #[test]
    fn acks_of_those_who_have_gone_do_not_pile_up() {
        let (events, stays) = (Events::new(4, 3, None), connection());
        stays.note_acked(7);
        events.push_ack(&stays);
        for _ in 0..1000 {
            let gone = connection();
            gone.note_acked(5);
            events.push_ack(&gone);
            gone.note_over();
            assert!(events.inner.lock().waiting.len() <= 6);
        }
        let (kinds, _) = polled(&events, 10);
        assert_eq!(kinds[0], Kind::Acked(7), "of one that is there it is told");
        assert_eq!(polled(&events, 10).1, Polled::TimedOut);
    }

    #[cfg(not(miri))]
    #[test]
    fn the_descriptor_is_readable_while_there_is_something() {
        use crate::sys::poll::{Interest, wait_for};
        let (events, a) = (Events::new(2, 2, None), connection());
        let fd = events.event_fd().unwrap();
        let is_readable = || wait_for(fd, Interest { read: true, write: false }, Some(Instant::now())).unwrap();
        assert!(!is_readable());
        events.push_ack(&a);
        assert!(is_readable());
        polled(&events, 1);
        assert!(!is_readable());
        (0..3).for_each(|_| events.push(Kind::NeedsRestore, None));
        polled(&events, 2);
        assert!(is_readable(), "that one was lost is still to be told");
        polled(&events, 1);
        assert!(!is_readable());
        events.close();
        assert!(is_readable());
    }
}
