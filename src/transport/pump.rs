//! A transport over a channel whose calls may block: a thread for each direction.
//!
//! So a blocking channel can neither stall the loop nor deadlock with its own other direction. What the channel is
//! given counts as sent from the moment its `send` is called, because from then on the peer may answer; and no bytes
//! are received while such a call is still to be told, so that an answer is never seen before what it answers.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{Channel, Closing, Received, Transfer, Transport};
use crate::chunk::frame::MESSAGE_PREFIX_LEN;
use crate::error::{Error, Result};
use crate::memory::{self, NoMemory};
use crate::sys::poll::Interest;
use crate::sys::signal_fd::SignalFd;
use crate::sys::thread::{Threads, panic_text, spawn_quiet, while_inside};

/// How many bytes are taken at once for the sending thread; a single message may be larger.
const OUTGOING_BYTES: usize = 256 * 1024;
/// The receiving thread goes no further ahead than this.
const INCOMING_BYTES_MAX: usize = 256 * 1024;
/// A channel that says that it has no room, instead of waiting for some, is asked again after so long.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(10);
/// A `receive` that does not heed a close is asked to return this often.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Default)]
struct State {
    /// Whole messages with their lengths, for the sending thread.
    outgoing: VecDeque<Vec<u8>>,
    /// Bytes of messages taken from the stream whose sending it was not told of yet.
    untold: usize,
    /// Of these, the bytes of messages that the channel was given.
    begun: usize,
    /// Messages with their lengths, for the stream.
    incoming: VecDeque<u8>,
    /// How the channel ended.
    ended: Option<Transfer>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Up while the loop has something to do here.
    signal: SignalFd,
    channel: Box<dyn Channel>,
}

/// See the module's comment.
pub struct Pump {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Pump {
    /// A transport over `channel`, whose calls may block; they are made on two such threads.
    pub fn start(channel: Box<dyn Channel>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        if !channel.is_open() {
            return Err(Error::ChannelClosed);
        }
        let signal = SignalFd::new().map_err(|error| Error::os("make", "a wake-up descriptor", error))?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), signal, channel });
        let mut pump = Pump { shared, threads: Vec::with_capacity(2) };
        for (name, body) in [("nxf-send", send_loop as fn(&Shared)), ("nxf-receive", receive_loop)] {
            let shared = Arc::clone(&pump.shared);
            let body = move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| while_inside(threads.inside, || body(&shared)))) {
                    shared.end(Transfer::Failed(Error::Panicked(panic_text(&*panic))));
                }
            };
            let thread =
                spawn_quiet(name, threads.stack_bytes, body).map_err(|error| Error::os("start", "a thread", error))?;
            pump.threads.push(thread);
        }
        Ok((Box::new(pump), Vec::new()))
    }
}

impl State {
    fn is_signalled(&self) -> bool {
        self.begun > 0 || !self.incoming.is_empty() || self.ended.is_some()
    }

    /// A message that was received, as it would have come over a byte stream.
    fn take_in(&mut self, message: &[u8]) -> Result<(), NoMemory> {
        memory::reserve_queue(&mut self.incoming, MESSAGE_PREFIX_LEN + message.len())?;
        self.incoming.extend((message.len() as u32).to_le_bytes());
        self.incoming.extend(message);
        Ok(())
    }
}

impl Shared {
    /// Changes the state, and makes the descriptor and those who wait notice.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.is_signalled();
        let result = change(&mut state);
        // Under the lock, because two threads that found different truths could otherwise signal in the wrong order;
        // neither call can block.
        match (before, state.is_signalled()) {
            (false, true) => self.signal.raise(),
            (true, false) => self.signal.lower(),
            _ => {}
        }
        drop(state);
        self.changed.notify_all();
        result
    }

    fn end(&self, how: Transfer) {
        self.change(|state| {
            state.ended.get_or_insert(how);
        });
    }
}

fn send_loop(shared: &Shared) {
    loop {
        let message = {
            let mut state = shared.state.lock();
            loop {
                if state.stopping || state.ended.is_some() {
                    return;
                }
                if let Some(message) = state.outgoing.pop_front() {
                    break message;
                }
                shared.changed.wait(&mut state);
            }
        };
        shared.change(|state| state.begun += message.len());
        loop {
            match shared.channel.send(&message[MESSAGE_PREFIX_LEN..]) {
                Ok(()) => break,
                // It has no room: the loop's own write timeout decides how long that may last.
                Err(Error::QueueFull { .. }) => {
                    let mut state = shared.state.lock();
                    if state.stopping {
                        return;
                    }
                    shared.changed.wait_for(&mut state, NO_ROOM_PAUSE);
                }
                Err(error) => return shared.end(ending_of(&error)),
            }
        }
    }
}

fn receive_loop(shared: &Shared) {
    let mut buffer = vec![0; 4096].into_boxed_slice();
    loop {
        if shared.state.lock().stopping {
            return;
        }
        match shared.channel.receive(&mut buffer, Instant::now().checked_add(RECEIVE_TIMEOUT)) {
            Ok(Received::Message(len)) => {
                let mut state = shared.state.lock();
                while state.incoming.len() > INCOMING_BYTES_MAX && !state.stopping {
                    shared.changed.wait(&mut state);
                }
                drop(state);
                if let Err(none) = shared.change(|state| state.take_in(&buffer[..len])) {
                    return shared.end(Transfer::Failed(no_memory(none)));
                }
            }
            Ok(Received::Again) => {}
            Ok(Received::Closed) => return shared.end(Transfer::Closed(Closing::Finished)),
            Err(Error::BufferTooSmall { needed, .. }) if needed > buffer.len() => {
                match super::check_message_len(needed).and_then(|_| memory::zeros(needed).map_err(no_memory)) {
                    Ok(larger) => buffer = larger,
                    Err(error) => return shared.end(ending_of(&error)),
                }
            }
            Err(error) => return shared.end(ending_of(&error)),
        }
    }
}

fn no_memory(none: NoMemory) -> Error {
    Error::no_memory(none, "a message", None, None)
}

fn ending_of(error: &Error) -> Transfer {
    match error {
        Error::ChannelClosed => Transfer::Closed(Closing::Finished),
        error => Transfer::Failed(error.clone()),
    }
}

impl Transport for Pump {
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        self.shared.change(|state| {
            if let Some(ended) = &state.ended {
                return ended.clone();
            }
            if state.untold == 0 {
                match take_messages(pieces, &mut state.outgoing) {
                    Ok(taken) => state.untold = taken,
                    Err(none) => return Transfer::Failed(no_memory(none)),
                }
            }
            Transfer::Again
        })
    }

    fn told(&mut self) -> usize {
        self.shared.change(|state| {
            let told = std::mem::take(&mut state.begun);
            state.untold -= told;
            told
        })
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        self.shared.change(|state| {
            if state.begun > 0 {
                return Transfer::Again;
            }
            let count = into.len().min(state.incoming.len());
            if count > 0 {
                for (place, byte) in into.iter_mut().zip(state.incoming.drain(..count)) {
                    *place = byte;
                }
                return Transfer::Moved(count);
            }
            state.ended.clone().unwrap_or(Transfer::Again)
        })
    }

    fn wait_on(&self, _: Interest) -> (RawFd, Interest) {
        (self.shared.signal.as_fd().as_raw_fd(), Interest { read: true, write: false })
    }

    fn finish(&mut self) {
        // A channel of messages has no half of a close. What was not begun is not sent any more.
        self.shared.change(|state| state.outgoing.clear());
    }
}

/// What is left of some pieces.
struct Rest<'a> {
    first: &'a [u8],
    others: std::slice::Iter<'a, IoSlice<'a>>,
}

impl Rest<'_> {
    /// Appends the next `len` bytes, or as many as there are, to `message`, which has room for them.
    fn append(&mut self, mut len: usize, message: &mut Vec<u8>) {
        while len > 0 {
            if self.first.is_empty() {
                let Some(next) = self.others.next() else { return };
                self.first = next;
            }
            let (now, later) = self.first.split_at(self.first.len().min(len));
            message.extend_from_slice(now);
            self.first = later;
            len -= now.len();
        }
    }
}

/// Copies whole messages from the front of `pieces`, as many as serve; returns their bytes. What follows an incomplete
/// message comes again, and so does one that there is no memory for: an error if that is the first.
fn take_messages(pieces: &[IoSlice<'_>], into: &mut VecDeque<Vec<u8>>) -> Result<usize, NoMemory> {
    let all: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut rest = Rest { first: &[], others: pieces.iter() };
    let mut taken = 0;
    while taken < OUTGOING_BYTES {
        match take_message(&mut rest, all - taken, into) {
            Ok(Some(len)) => taken += len,
            Ok(None) => break,
            Err(none) if taken == 0 => return Err(none),
            Err(_) => break,
        }
    }
    Ok(taken)
}

/// The next message, if it is among the `left` bytes that there are.
fn take_message(rest: &mut Rest<'_>, left: usize, into: &mut VecDeque<Vec<u8>>) -> Result<Option<usize>, NoMemory> {
    let mut message = Vec::new();
    memory::reserve(&mut message, MESSAGE_PREFIX_LEN)?;
    rest.append(MESSAGE_PREFIX_LEN, &mut message);
    let Some(prefix) = message.first_chunk::<MESSAGE_PREFIX_LEN>() else { return Ok(None) };
    let len = u32::from_le_bytes(*prefix) as usize;
    if left - MESSAGE_PREFIX_LEN < len {
        return Ok(None);
    }
    memory::reserve(&mut message, len)?;
    memory::reserve_queue(into, 1)?;
    rest.append(len, &mut message);
    into.push_back(message);
    Ok(Some(MESSAGE_PREFIX_LEN + len))
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopping = true);
        self.shared.channel.close();
        for thread in self.threads.drain(..) {
            // A panic in the host's function has been reported as the channel's end, or has nobody left to be told.
            let _ = thread.join();
        }
    }
}
