//! Acks on their way to the host: the watermark, and what is told of it, by the queue, the descriptor and to the waiters.
//!
//! One loop delivers; any number of host threads read, poll and wait. Poll and callback are two deliveries of one
//! stream of acks: with a callback, acks go there, and without, they queue. A host that never polls costs a bounded
//! amount of memory: when the queue is full, or there is no memory for more of it, acks are merged into one that carries
//! their maximum.

mod queue;
mod watermark;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};
use crate::sys::signal_fd::SignalFd;
use crate::transport::Closing;
pub use queue::Ack;
use queue::AckQueue;
pub use watermark::Watermark;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The host stopped it.
    Stopped,
    /// The replica closed the connection.
    ClosedByPeer(Closing),
    /// It failed.
    Failed(Error),
}

impl End {
    /// OK for a close by either side, else the error.
    pub fn result(&self) -> Result<()> {
        match self {
            End::Stopped | End::ClosedByPeer(_) => Ok(()),
            End::Failed(error) => Err(error.clone()),
        }
    }
}

/// What a poll found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// So many acks.
    Acks(usize),
    /// None in time.
    TimedOut,
    /// The run has ended and every ack was taken.
    Ended,
}

/// What a wait for an ack found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waited {
    /// The replica has acknowledged that far.
    Acked,
    /// Not in time.
    TimedOut,
    /// It never will: the run has ended.
    Ended(End),
}

#[derive(Debug)]
struct Inner {
    queue: AckQueue,
    end: Option<End>,
    /// The end has been told to the host, and nothing is called any more.
    finished: bool,
    /// Made when somebody first asks for it.
    signal: Option<SignalFd>,
}

impl Inner {
    fn is_signalled(&self) -> bool {
        !self.queue.is_empty() || self.end.is_some()
    }

    /// Makes the descriptor say what is true. It is done under the lock, because two threads that found different
    /// truths could otherwise raise and lower in the wrong order; neither call can block.
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

/// See the module's comment.
#[derive(Debug)]
pub struct Acks {
    watermark: Watermark,
    merged: AtomicU64,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Threads that wait for `changed`.
    waiters: AtomicUsize,
}

impl Acks {
    /// No acks so far. The queue holds at most `queue_max` of them, and at least one.
    pub fn new(queue_max: usize) -> Acks {
        let inner = Inner { queue: AckQueue::new(queue_max), end: None, finished: false, signal: None };
        Acks {
            watermark: Watermark::default(),
            merged: AtomicU64::new(0),
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            waiters: AtomicUsize::new(0),
        }
    }

    /// The highest VLSN acknowledged so far; 0 at first. Never falls.
    pub fn known_vlsn(&self) -> u64 {
        self.watermark.vlsn()
    }

    /// How many acks were merged into others because nobody polled.
    pub fn merged(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    /// Raises the watermark. Only the loop calls this. Those who wait hear of it by [`announce`](Self::announce).
    #[inline]
    pub fn raise(&self, vlsn: u64) {
        self.watermark.raise(vlsn);
    }

    /// Queues acks in the order received, for who polls.
    pub fn queue(&self, acks: &[u64]) {
        let mut inner = self.inner.lock();
        let before = inner.is_signalled();
        for &vlsn in acks {
            if inner.queue.push(vlsn) {
                self.merged.fetch_add(1, Ordering::Relaxed);
            }
        }
        inner.signal(before);
    }

    /// Wakes those who wait for acks, if anybody does.
    pub fn announce(&self) {
        // Pairs with the fence of a waiter: either it sees the new watermark, or we see it waiting.
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            // Taking the lock keeps the wake-up from falling between a waiter's look and its sleep.
            drop(self.inner.lock());
            self.changed.notify_all();
        }
    }

    /// The run has ended: nothing follows.
    pub fn end(&self, end: End) {
        let mut inner = self.inner.lock();
        let before = inner.is_signalled();
        inner.end.get_or_insert(end);
        inner.signal(before);
        drop(inner);
        self.changed.notify_all();
    }

    /// The host has been told of the end; nothing is called any more.
    pub fn finish(&self) {
        self.inner.lock().finished = true;
        self.changed.notify_all();
    }

    /// Waits until nothing is called any more; false if that is not so in time.
    pub fn wait_finished(&self, deadline: Deadline) -> bool {
        self.wait(deadline, |_, inner| inner.finished.then_some(())).is_some()
    }

    /// How the run ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.inner.lock().end.clone()
    }

    /// Takes up to `into.len()` acks out of the queue; waits for the first until `deadline`.
    pub fn poll(&self, into: &mut [Ack], deadline: Deadline) -> Polled {
        self.wait(deadline, |_, inner| {
            let before = inner.is_signalled();
            let count = inner.queue.take(into);
            inner.signal(before);
            if count > 0 {
                Some(Polled::Acks(count))
            } else {
                (inner.queue.is_empty() && inner.end.is_some()).then_some(Polled::Ended)
            }
        })
        .unwrap_or(Polled::TimedOut)
    }

    /// Waits until the replica has acknowledged `vlsn` or more.
    pub fn wait_acked(&self, vlsn: u64, deadline: Deadline) -> Waited {
        if self.known_vlsn() >= vlsn {
            return Waited::Acked;
        }
        self.wait(deadline, |acks, inner| {
            if acks.known_vlsn() >= vlsn { Some(Waited::Acked) } else { inner.end.clone().map(Waited::Ended) }
        })
        .unwrap_or(Waited::TimedOut)
    }

    /// Looks with `look` until it finds something or `deadline` has come.
    fn wait<T>(&self, deadline: Deadline, mut look: impl FnMut(&Acks, &mut Inner) -> Option<T>) -> Option<T> {
        let mut inner = self.inner.lock();
        self.waiters.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence of `announce`.
        fence(Ordering::SeqCst);
        let found = loop {
            if let Some(found) = look(self, &mut inner) {
                break Some(found);
            }
            failpoint("wait for acks");
            let timed_out = match deadline {
                Deadline::Never => {
                    self.changed.wait(&mut inner);
                    false
                }
                Deadline::At(at) => self.changed.wait_until(&mut inner, at).timed_out(),
            };
            if timed_out {
                break look(self, &mut inner);
            }
        };
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// A descriptor that is readable while acks are queued or the run has ended.
    pub fn event_fd(&self) -> io::Result<RawFd> {
        let mut inner = self.inner.lock();
        if inner.signal.is_none() {
            let signal = SignalFd::new()?;
            if inner.is_signalled() {
                signal.raise();
            }
            inner.signal = Some(signal);
        }
        use std::os::fd::AsFd;
        Ok(inner.signal.as_ref().map_or(-1, |signal| signal.as_fd().as_raw_fd()))
    }
}

/// Until when to wait.
#[derive(Clone, Copy, Debug)]
pub enum Deadline {
    /// As long as it takes.
    Never,
    /// Until then.
    At(Instant),
}

impl Deadline {
    /// From a timeout as C gives it: milliseconds, 0 to try, negative to wait as long as it takes.
    pub fn from_millis(timeout_ms: i32) -> Deadline {
        u64::try_from(timeout_ms)
            .map_or(Deadline::Never, |millis| Deadline::At(Instant::now() + Duration::from_millis(millis)))
    }

    /// The instant, if there is one.
    pub fn instant(self) -> Option<Instant> {
        match self {
            Deadline::Never => None,
            Deadline::At(at) => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failpoint::hooks;
    use crate::sys::poll::{Interest, wait_for};
    use std::sync::Arc;

    fn generous() -> Deadline {
        Deadline::from_millis(60_000)
    }

    fn now() -> Deadline {
        Deadline::from_millis(0)
    }

    fn take_all(acks: &Acks) -> Vec<Ack> {
        let mut out = [Ack { vlsn: 0, merged: 0 }; 16];
        match acks.poll(&mut out, now()) {
            Polled::Acks(count) => out[..count].to_vec(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn acks_queue_in_order_and_are_merged_when_nobody_polls() {
        let acks = Acks::new(3);
        acks.queue(&[5, 3, 9, 7, 12]);
        acks.queue(&[11]);
        let ack = |vlsn, merged| Ack { vlsn, merged };
        assert_eq!(take_all(&acks), [ack(5, 0), ack(3, 0), ack(12, 3)]);
        assert_eq!(acks.merged(), 3);
        assert_eq!(acks.poll(&mut [ack(0, 0)], now()), Polled::TimedOut);
    }

    #[test]
    fn what_was_queued_can_be_taken_after_the_end() {
        let acks = Acks::new(3);
        acks.queue(&[5]);
        acks.end(End::Stopped);
        acks.end(End::ClosedByPeer(Closing::Finished));
        assert_eq!(take_all(&acks).len(), 1);
        assert_eq!(acks.poll(&mut [Ack { vlsn: 0, merged: 0 }], generous()), Polled::Ended);
        assert_eq!(acks.ended(), Some(End::Stopped), "the first end counts");
    }

    #[test]
    fn those_who_wait_are_woken_by_acks_and_by_the_end() {
        let acks = Arc::new(Acks::new(3));
        let wait = |vlsn| {
            let acks = Arc::clone(&acks);
            std::thread::spawn(move || acks.wait_acked(vlsn, generous()))
        };
        let (soon, never) = (wait(7), wait(8));
        let poller = {
            let acks = Arc::clone(&acks);
            std::thread::spawn(move || acks.poll(&mut [Ack { vlsn: 0, merged: 0 }], generous()))
        };
        acks.raise(7);
        acks.queue(&[7]);
        acks.announce();
        assert_eq!(soon.join().unwrap(), Waited::Acked);
        assert_eq!(poller.join().unwrap(), Polled::Acks(1));
        acks.end(End::Stopped);
        assert_eq!(never.join().unwrap(), Waited::Ended(End::Stopped));
        assert_eq!(acks.wait_acked(7, now()), Waited::Acked, "the watermark outlives the run");
        assert_eq!(acks.wait_acked(8, generous()), Waited::Ended(End::Stopped));
    }

    /// An ack comes when a waiter has looked and does not sleep yet.
    #[test]
    fn no_ack_falls_between_a_waiters_look_and_its_sleep() {
        let acks = Arc::new(Acks::new(3));
        let (told, is_told) = std::sync::mpsc::channel();
        let waiting = {
            let acks = Arc::clone(&acks);
            std::thread::spawn(move || {
                let announcing = Arc::clone(&acks);
                hooks::run_at("wait for acks", move || {
                    announcing.raise(7);
                    let (done, is_done) = std::sync::mpsc::channel();
                    std::thread::spawn(move || {
                        announcing.announce();
                        // Nobody listens any more when it had to wait, as it should.
                        let _ = done.send(());
                    });
                    // Not to be waited for: it ends when this thread sleeps. One that does not heed that has ended by then.
                    let _ = is_done.recv_timeout(Duration::from_millis(200));
                });
                told.send(acks.wait_acked(7, Deadline::Never)).unwrap();
            })
        };
        assert_eq!(is_told.recv_timeout(Duration::from_secs(60)), Ok(Waited::Acked), "it sleeps, and nobody wakes it");
        waiting.join().unwrap();
    }

    #[test]
    fn a_timeout_of_any_size_is_a_deadline_or_none() {
        assert!(Deadline::from_millis(i32::MAX).instant().is_some_and(|at| at > Instant::now()));
        assert!(Deadline::from_millis(0).instant().is_some_and(|at| at <= Instant::now()));
        for never in [-1, i32::MIN] {
            assert_eq!(Deadline::from_millis(never).instant(), None);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no poll")]
    fn the_descriptor_is_readable_while_acks_wait_or_the_run_has_ended() {
        let acks = Acks::new(3);
        acks.queue(&[1]);
        let fd = acks.event_fd().unwrap();
        let is_readable = || wait_for(fd, Interest { read: true, write: false }, Some(Instant::now())).unwrap();
        assert!(is_readable(), "an ack was there before the descriptor");
        assert_eq!(acks.event_fd().unwrap(), fd);
        take_all(&acks);
        assert!(!is_readable());
        acks.queue(&[2, 3]);
        assert!(is_readable());
        acks.poll(&mut [Ack { vlsn: 0, merged: 0 }], now());
        assert!(is_readable(), "one is left");
        take_all(&acks);
        assert!(!is_readable());
        acks.end(End::Stopped);
        take_all(&acks);
        assert!(is_readable());
    }
}
