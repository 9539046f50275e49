//! The hand-over between the loop and the two threads of a blocking channel.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use loom::sync::{Condvar, Mutex};
use noxu_feeder_models::error::{Error, Result};
use noxu_feeder_models::sys::poll::Interest;
use noxu_feeder_models::sys::signal_fd::{is_readable, sleep_on};
use noxu_feeder_models::sys::thread::Threads;
use noxu_feeder_models::transport::pump::Pump;
use noxu_feeder_models::transport::{Channel, Closing, Received, Transfer, Transport};

use super::in_every_order;

/// A replica that answers each message with an ack as soon as it has it, and closes after `closes_after` of them.
#[derive(Default)]
struct Replica {
    state: Mutex<State>,
    changed: Condvar,
    closes_after: Option<usize>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Vec<u8>>,
    received: usize,
    is_closed: bool,
}

struct Connection(Arc<Replica>);

impl Channel for Connection {
    fn send(&self, message: &[u8]) -> Result<()> {
        let mut state = self.0.state.lock().unwrap();
        if state.is_closed {
            return Err(Error::ChannelClosed);
        }
        state.answers.push_back(message.to_vec());
        state.received += 1;
        state.is_closed = Some(state.received) == self.0.closes_after;
        self.0.changed.notify_all();
        Ok(())
    }

    fn receive(&self, into: &mut [u8], _: Option<Instant>) -> Result<Received> {
        let mut state = self.0.state.lock().unwrap();
        loop {
            if let Some(answer) = state.answers.pop_front() {
                into[..answer.len()].copy_from_slice(&answer);
                return Ok(Received::Message(answer.len()));
            }
            if state.is_closed {
                return Ok(Received::Closed);
            }
            state = self.0.changed.wait(state).unwrap();
        }
    }

    fn close(&self) {
        self.0.state.lock().unwrap().is_closed = true;
        self.0.changed.notify_all();
    }

    fn is_open(&self) -> bool {
        true
    }

    fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        Pump::start(self, threads)
    }
}

fn pump(replica: &Arc<Replica>) -> Box<dyn Transport> {
    let threads = Threads { inside: 0, stack_bytes: 64 * 1024 };
    Box::new(Connection(Arc::clone(replica))).into_transport(threads).unwrap().0
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_le_bytes()[..], message].concat()
}

/// What a loop does in one turn: sends what is left of `stream`, and receives. Returns how the connection ended.
fn turn(pump: &mut dyn Transport, stream: &mut &[u8], received: &mut Vec<u8>) -> Option<Transfer> {
    *stream = &stream[pump.drive().sent..];
    let mut into = [0; 64];
    loop {
        match pump.receive(&mut into) {
            Transfer::Moved(count) => received.extend_from_slice(&into[..count]),
            Transfer::Again => break,
            ended => return Some(ended),
        }
    }
    if !stream.is_empty() {
        match pump.send(&[IoSlice::new(stream)]) {
            Transfer::Again => {}
            ended => return Some(ended),
        }
    }
    None
}

fn sleep(pump: &dyn Transport) {
    sleep_on(pump.wait_on(Interest { read: true, write: true }).0);
}

#[test]
fn a_message_is_told_before_its_answer_and_nothing_waits_for_ever() {
    in_every_order(Some(2), || {
        let replica = Arc::new(Replica::default());
        let mut pump = pump(&replica);
        let stream = framed(b"one");
        let (mut left, mut received) = (&stream[..], Vec::new());
        for turns in 1.. {
            assert_eq!(turn(&mut *pump, &mut left, &mut received), None);
            assert!(received.is_empty() || left.is_empty(), "the answer came before what it answers was told");
            if received == stream {
                break;
            }
            // After its first turn the loop was woken for another reason.
            if turns > 1 {
                sleep(&*pump);
            }
        }
        assert!(!is_readable(pump.wait_on(Interest { read: true, write: true }).0), "it would never sleep again");
    });
}

#[test]
fn messages_that_arrive_one_after_the_other_are_all_received() {
    in_every_order(Some(3), || {
        let replica = Arc::new(Replica::default());
        replica.state.lock().unwrap().answers.extend([b"one".to_vec(), b"two".to_vec()]);
        let mut pump = pump(&replica);
        let mut received = Vec::new();
        while received.len() < 2 * framed(b"one").len() {
            sleep(&*pump);
            assert_eq!(turn(&mut *pump, &mut &[][..], &mut received), None);
        }
        assert_eq!(received, [framed(b"one"), framed(b"two")].concat());
        assert!(!is_readable(pump.wait_on(Interest { read: true, write: true }).0), "it would never sleep again");
    });
}

#[test]
fn an_answer_before_a_close_is_received_before_it() {
    in_every_order(Some(2), || {
        let replica = Arc::new(Replica { closes_after: Some(1), ..Replica::default() });
        let mut pump = pump(&replica);
        let stream = framed(b"one");
        let (mut left, mut received) = (&stream[..], Vec::new());
        let ended = loop {
            if let Some(ended) = turn(&mut *pump, &mut left, &mut received) {
                break ended;
            }
            sleep(&*pump);
        };
        assert_eq!(ended, Transfer::Closed(Closing::Finished));
        assert_eq!(received, stream);
    });
}

#[test]
fn letting_go_of_it_ends_both_threads_whatever_they_do() {
    in_every_order(Some(2), || {
        let replica = Arc::new(Replica::default());
        let mut pump = pump(&replica);
        assert_eq!(pump.send(&[IoSlice::new(&framed(b"one"))]), Transfer::Again);
    });
}
