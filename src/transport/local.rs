//! An in-memory pair of channels: what one end sends the other receives, in order.
//!
//! For replicas in the same process, and for tests. Bounded in both directions; closing an end wakes whoever waits at
//! either, and loses nothing that was sent before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::pump::Pump;
use super::{Channel, Received, Transport};
use crate::error::{Error, Result};
use crate::memory::{self, NoMemory};
use crate::sys::thread::Threads;
use crate::wire::message::check_message_len;

/// How a pair behaves.
#[derive(Clone, Copy, Debug)]
pub struct LocalOptions {
    /// How many bytes one end may have sent that the other has not received. A single message may be larger.
    pub queue_bytes_max: usize,
    /// How long a send waits for room before it gives up.
    pub write_timeout: Duration,
}

/// The messages that travel in one direction.
#[derive(Debug, Default)]
struct Direction {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// How much a message counts against the limit. An empty message counts, too, or there could be any number of them.
fn weight(len: usize) -> usize {
    len.max(1)
}

impl Direction {
    fn push(&mut self, message: &[u8]) -> Result<(), NoMemory> {
        let mut copy = Vec::new();
        memory::reserve(&mut copy, message.len())?;
        copy.extend_from_slice(message);
        memory::reserve_queue(&mut self.messages, 1)?;
        self.messages.push_back(copy);
        self.bytes += weight(message.len());
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    /// Indexed by the end that receives.
    towards: [Direction; 2],
    closed: [bool; 2],
}

#[derive(Debug)]
struct Pair {
    state: Mutex<State>,
    changed: Condvar,
    options: LocalOptions,
}

/// One end. Any thread.
#[derive(Debug)]
pub struct LocalChannel {
    pair: Arc<Pair>,
    end: usize,
}

/// Two ends, connected.
pub fn local_pair(options: LocalOptions) -> (LocalChannel, LocalChannel) {
    let pair = Arc::new(Pair { state: Mutex::default(), changed: Condvar::new(), options });
    (LocalChannel { pair: Arc::clone(&pair), end: 0 }, LocalChannel { pair, end: 1 })
}

impl Channel for LocalChannel {
    fn send(&self, message: &[u8]) -> Result<()> {
        check_message_len(message.len())?;
        let Pair { state, changed, options } = &*self.pair;
        let deadline = Instant::now() + options.write_timeout;
        let mut state = state.lock();
        loop {
            if state.closed != [false, false] {
                return Err(Error::ChannelClosed);
            }
            let towards = &mut state.towards[1 - self.end];
            if towards.bytes == 0 || towards.bytes + weight(message.len()) <= options.queue_bytes_max {
                towards.push(message).map_err(|none| Error::no_memory(none, "a message", None, None))?;
                changed.notify_all();
                return Ok(());
            }
            let queued = towards.bytes;
            if changed.wait_until(&mut state, deadline).timed_out() {
                return Err(Error::QueueFull { queued, max: options.queue_bytes_max });
            }
        }
    }

    fn receive(&self, into: &mut [u8], deadline: Option<Instant>) -> Result<Received> {
        let Pair { state, changed, .. } = &*self.pair;
        let mut state = state.lock();
        loop {
            if state.closed[self.end] {
                return Ok(Received::Closed);
            }
            let towards = &mut state.towards[self.end];
            if let Some(message) = towards.messages.front() {
                let len = message.len();
                let Some(room) = into.get_mut(..len) else {
                    return Err(Error::BufferTooSmall { capacity: into.len(), needed: len });
                };
                room.copy_from_slice(message);
                towards.bytes -= weight(len);
                towards.messages.pop_front();
                changed.notify_all();
                return Ok(Received::Message(len));
            }
            if state.closed[1 - self.end] {
                return Ok(Received::Closed);
            }
            let timed_out = match deadline {
                Some(deadline) => changed.wait_until(&mut state, deadline).timed_out(),
                None => {
                    changed.wait(&mut state);
                    false
                }
            };
            if timed_out && state.towards[self.end].messages.is_empty() && state.closed == [false, false] {
                return Ok(Received::Again);
            }
        }
    }

    fn close(&self) {
        self.pair.state.lock().closed[self.end] = true;
        self.pair.changed.notify_all();
    }

    fn is_open(&self) -> bool {
        self.pair.state.lock().closed == [false, false]
    }

    fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        Pump::start(self, threads)
    }
}

impl Drop for LocalChannel {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (LocalChannel, LocalChannel) {
        local_pair(LocalOptions { queue_bytes_max: 100, write_timeout: Duration::from_secs(60) })
    }

    fn receive(channel: &LocalChannel) -> Result<Vec<u8>, Received> {
        let mut buffer = [0; 1000];
        match channel.receive(&mut buffer, Some(Instant::now() + Duration::from_secs(60))).unwrap() {
            Received::Message(len) => Ok(buffer[..len].to_vec()),
            other => Err(other),
        }
    }

    #[test]
    fn what_one_end_sends_the_other_receives_in_order() {
        let (a, b) = pair();
        for (from, to) in [(&a, &b), (&b, &a)] {
            for message in [&b"one"[..], b"", b"three"] {
                from.send(message).unwrap();
            }
            assert_eq!([receive(to), receive(to), receive(to)].map(Result::unwrap), [&b"one"[..], b"", b"three"]);
        }
        assert_eq!(b.receive(&mut [0; 9], Some(Instant::now())), Ok(Received::Again));
    }

    #[test]
    fn closing_ends_both_sides_and_loses_nothing_that_was_sent_before() {
        let (a, b) = pair();
        a.send(b"before").unwrap();
        assert!(a.is_open() && b.is_open());
        a.close();
        assert!(!a.is_open() && !b.is_open());
        assert_eq!(b.send(b"x"), Err(Error::ChannelClosed), "the peer has closed");
        assert_eq!(a.send(b"x"), Err(Error::ChannelClosed));
        assert_eq!(receive(&b).unwrap(), b"before");
        assert_eq!(receive(&b), Err(Received::Closed));
        assert_eq!(receive(&a), Err(Received::Closed));
    }

    #[test]
    fn closing_either_end_wakes_both_at_once() {
        for closing in [0, 1] {
            let (a, b) = pair();
            let ends = [a, b];
            std::thread::scope(|scope| {
                let waiting = ends.each_ref().map(|end| scope.spawn(|| receive(end)));
                ends[closing].close();
                for waiting in waiting {
                    assert_eq!(waiting.join().unwrap(), Err(Received::Closed));
                }
            });
        }
    }

    #[test]
    fn a_full_pair_makes_send_wait_and_then_says_so() {
        let (a, b) = local_pair(LocalOptions { queue_bytes_max: 100, write_timeout: Duration::from_millis(1) });
        a.send(&[0; 200]).unwrap();
        assert_eq!(a.send(&[1]), Err(Error::QueueFull { queued: 200, max: 100 }));
        assert_eq!(receive(&b).unwrap().len(), 200);
        a.send(&[1]).unwrap();
        let (a, b) = pair();
        a.send(&[0; 100]).unwrap();
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| a.send(&[7]));
            assert_eq!(receive(&b).unwrap().len(), 100);
            assert_eq!(receive(&b).unwrap(), [7]);
            sending.join().unwrap().unwrap();
        });
    }

    #[test]
    fn messages_without_a_byte_are_bounded_too() {
        let (a, b) = local_pair(LocalOptions { queue_bytes_max: 3, write_timeout: Duration::from_millis(1) });
        for _ in 0..3 {
            a.send(b"").unwrap();
        }
        assert_eq!(a.send(b""), Err(Error::QueueFull { queued: 3, max: 3 }));
        assert_eq!(receive(&b).unwrap(), b"");
        a.send(b"").unwrap();
        for _ in 0..3 {
            assert_eq!(receive(&b).unwrap(), b"");
        }
    }

    #[test]
    fn a_buffer_too_small_leaves_the_message() {
        let (a, b) = pair();
        a.send(b"message").unwrap();
        let error = b.receive(&mut [0; 3], None).unwrap_err();
        assert_eq!(error, Error::BufferTooSmall { capacity: 3, needed: 7 });
        assert_eq!(receive(&b).unwrap(), b"message");
    }
}
