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
use std::time::{Duration, Instant};

use super::{Channel, Closing, Driven, Received, Transfer, Transport};
use crate::error::{Error, Result};
use crate::memory::{self, NoMemory};
use crate::sync::thread::JoinHandle;
use crate::sync::{Condvar, Mutex};
use crate::sys::poll::Interest;
use crate::sys::signal_fd::SignalFd;
use crate::sys::thread::{Threads, panic_text, spawn_quiet, while_inside};
use crate::wire::message::{MESSAGE_PREFIX_LEN, check_message_len, message_len, message_prefix};

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
        self.incoming.extend(message_prefix(message.len()));
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
                match check_message_len(needed).and_then(|_| memory::zeros(needed).map_err(no_memory)) {
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

    fn takes_whole_messages(&self) -> bool {
        true
    }

    /// What the channel was given counts as sent; what it does with that is its own.
    fn drive(&mut self) -> Driven {
        self.shared.change(|state| {
            let sent = std::mem::take(&mut state.begun);
            state.untold -= sent;
            Driven { sent, is_flushed: true }
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
    let len = message_len(*prefix);
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sys::poll::wait_for;
    use crate::transport::local::{LocalChannel, LocalOptions, local_pair};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn threads() -> Threads {
        Threads { inside: 0, stack_bytes: 1024 * 1024 }
    }

    fn pump(channel: impl Channel + 'static) -> Box<dyn Transport> {
        Pump::start(Box::new(channel), threads()).unwrap().0
    }

    fn pair() -> (Box<dyn Transport>, LocalChannel) {
        let (ours, theirs) = local_pair(LocalOptions { queue_bytes_max: 1000, write_timeout: PATIENCE });
        (pump(ours), theirs)
    }

    /// As it stands in a stream: with its length.
    fn framed(message: &[u8]) -> Vec<u8> {
        [&message_prefix(message.len())[..], message].concat()
    }

    fn received(channel: &LocalChannel) -> Vec<u8> {
        let mut buffer = vec![0; 100_000];
        match channel.receive(&mut buffer, Some(Instant::now() + PATIENCE)).unwrap() {
            Received::Message(len) => buffer[..len].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn is_signalled(pump: &dyn Transport, patience: Duration) -> bool {
        let (fd, interest) = pump.wait_on(Interest { read: true, write: true });
        wait_for(fd, interest, Some(Instant::now() + patience)).unwrap()
    }

    /// Sends what is in `bytes`, in pieces of `step`, and is told of each message, as a loop would be.
    fn send_all(pump: &mut dyn Transport, mut bytes: &[u8], step: usize) {
        while !bytes.is_empty() {
            let pieces: Vec<IoSlice<'_>> = bytes.chunks(step).map(IoSlice::new).collect();
            assert_eq!(pump.send(&pieces), Transfer::Again);
            assert!(is_signalled(pump, PATIENCE), "nobody takes {} bytes", bytes.len());
            bytes = &bytes[pump.drive().sent..];
        }
    }

    /// What it brings next, waiting for it.
    fn brought(pump: &mut dyn Transport, into: &mut [u8]) -> Transfer {
        assert!(is_signalled(pump, PATIENCE), "nothing comes");
        pump.receive(into)
    }

    #[test]
    fn messages_are_sent_whole_and_once_however_they_lie_in_pieces() {
        for step in [1, 2, 5, 7, 1000] {
            let (mut pump, peer) = pair();
            let messages = [&b"one"[..], b"", b"a longer one", b"4"];
            let stream: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            // The peer stays until all is told of: a channel that is closed takes nothing more.
            let receiving = std::thread::spawn(move || ([(); 4].map(|()| received(&peer)), peer));
            send_all(&mut *pump, &stream, step);
            assert_eq!(receiving.join().unwrap().0, messages, "in pieces of {step}");
        }
    }

    #[test]
    fn only_whole_messages_are_taken_and_no_more_than_serve() {
        let mut taken = VecDeque::new();
        let cut = [&framed(b"whole")[..], &framed(b"cut")[..6]].concat();
        assert_eq!(take_messages(&[IoSlice::new(&cut)], &mut taken), Ok(9));
        assert_eq!(take_messages(&[IoSlice::new(&cut[9..])], &mut taken), Ok(0));
        assert_eq!(take_messages(&[IoSlice::new(&cut[9..12])], &mut taken), Ok(0), "not even its length");
        assert_eq!(take_messages(&[], &mut taken), Ok(0));
        assert_eq!(taken, [framed(b"whole")]);
        let many = framed(&[7; 100_000]).repeat(9);
        assert_eq!(take_messages(&[IoSlice::new(&many)], &mut taken), Ok(3 * 100_004));
    }

    /// A channel that answers each message as soon as it has it.
    #[derive(Default)]
    struct Answering {
        answers: Mutex<VecDeque<Vec<u8>>>,
        changed: Condvar,
        is_closed: Mutex<bool>,
    }

    impl Channel for Arc<Answering> {
        fn send(&self, message: &[u8]) -> Result<()> {
            self.answers.lock().push_back(message.to_vec());
            self.changed.notify_all();
            Ok(())
        }

        fn receive(&self, into: &mut [u8], deadline: Option<Instant>) -> Result<Received> {
            let mut answers = self.answers.lock();
            let Some(answer) = answers.pop_front() else {
                if *self.is_closed.lock() {
                    return Ok(Received::Closed);
                }
                let deadline = deadline.unwrap_or(Instant::now() + PATIENCE).min(Instant::now() + NO_ROOM_PAUSE);
                self.changed.wait_until(&mut answers, deadline);
                return Ok(Received::Again);
            };
            into[..answer.len()].copy_from_slice(&answer);
            Ok(Received::Message(answer.len()))
        }

        fn close(&self) {
            *self.is_closed.lock() = true;
        }

        fn is_open(&self) -> bool {
            !*self.is_closed.lock()
        }

        fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
            Pump::start(self, threads)
        }
    }

    #[test]
    fn an_answer_is_not_seen_before_it_is_told_that_what_it_answers_was_sent() {
        let mut pump = pump(Arc::<Answering>::default());
        let mut into = [0; 100];
        for round in 0..100u8 {
            let message = framed(&[round]);
            assert_eq!(pump.send(&[IoSlice::new(&message)]), Transfer::Again);
            assert_eq!(pump.send(&[IoSlice::new(&message)]), Transfer::Again, "it is under way, and not taken again");
            assert!(is_signalled(&*pump, PATIENCE));
            // The answer may be there by now, or not.
            assert_eq!(pump.receive(&mut into), Transfer::Again);
            assert_eq!(pump.drive().sent, message.len());
            assert_eq!(pump.drive().sent, 0);
            assert_eq!(brought(&mut *pump, &mut into), Transfer::Moved(message.len()));
            assert_eq!(into[..message.len()], message);
            assert!(!is_signalled(&*pump, Duration::ZERO), "there is nothing left to do");
        }
    }

    /// A channel that brings messages for as long as somebody takes them.
    struct Endless {
        brought: Arc<AtomicUsize>,
        is_closed: Mutex<bool>,
    }

    const ENDLESS_LEN: usize = 4000;

    impl Channel for Endless {
        fn send(&self, _: &[u8]) -> Result<()> {
            panic!("on purpose")
        }

        fn receive(&self, into: &mut [u8], _: Option<Instant>) -> Result<Received> {
            if *self.is_closed.lock() {
                return Ok(Received::Closed);
            }
            let number = self.brought.fetch_add(1, Ordering::Relaxed);
            into[..ENDLESS_LEN].fill((number % 251) as u8);
            Ok(Received::Message(ENDLESS_LEN))
        }

        fn close(&self) {
            *self.is_closed.lock() = true;
        }

        fn is_open(&self) -> bool {
            !*self.is_closed.lock()
        }

        fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
            Pump::start(self, threads)
        }
    }

    fn endless() -> (Box<dyn Transport>, Arc<AtomicUsize>) {
        let brought = Arc::new(AtomicUsize::new(0));
        (pump(Endless { brought: Arc::clone(&brought), is_closed: Mutex::new(false) }), brought)
    }

    #[test]
    fn no_more_is_received_than_somebody_takes_and_all_of_it_in_order() {
        let (mut pump, brought) = endless();
        // One that is still let in, and one that waits to be.
        let bound = INCOMING_BYTES_MAX / (MESSAGE_PREFIX_LEN + ENDLESS_LEN) + 2;
        let deadline = Instant::now() + PATIENCE;
        while brought.load(Ordering::Relaxed) < bound {
            assert!(Instant::now() < deadline, "only {brought:?} came");
            std::thread::yield_now();
        }
        // What does not happen can only be watched for a while. Unbounded, thousands come in it.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(brought.load(Ordering::Relaxed), bound);
        let mut into = vec![0; 3 * (MESSAGE_PREFIX_LEN + ENDLESS_LEN)];
        let mut stream = Vec::new();
        while stream.len() < 3 * INCOMING_BYTES_MAX {
            match self::brought(&mut *pump, &mut into) {
                Transfer::Moved(count) => stream.extend_from_slice(&into[..count]),
                other => assert_eq!(other, Transfer::Again),
            }
        }
        for (number, message) in stream.chunks_exact(MESSAGE_PREFIX_LEN + ENDLESS_LEN).enumerate() {
            assert!(message == framed(&[(number % 251) as u8; ENDLESS_LEN]), "message {number}");
        }
    }

    #[test]
    fn a_panic_in_the_channel_is_how_it_ends() {
        let (mut pump, _) = endless();
        let message = framed(b"x");
        pump.send(&[IoSlice::new(&message)]);
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            match pump.send(&[IoSlice::new(&message)]) {
                Transfer::Again => assert!(Instant::now() < deadline, "nothing is said of it"),
                ended => break ended,
            }
        };
        assert!(matches!(&ended, Transfer::Failed(Error::Panicked(text)) if text.contains("on purpose")), "{ended:?}");
    }

    #[test]
    fn what_came_before_the_peer_closed_is_brought_first() {
        let (mut pump, peer) = pair();
        peer.send(b"last").unwrap();
        peer.close();
        let mut into = [0; 100];
        assert_eq!(brought(&mut *pump, &mut into), Transfer::Moved(8));
        assert_eq!(into[..8], framed(b"last"));
        for _ in 0..2 {
            assert_eq!(brought(&mut *pump, &mut into), Transfer::Closed(Closing::Finished));
            assert_eq!(pump.send(&[IoSlice::new(&framed(b"x"))]), Transfer::Closed(Closing::Finished));
        }
    }

    #[test]
    fn a_channel_without_room_is_asked_again_until_it_has_some() {
        let (ours, peer) = local_pair(LocalOptions { queue_bytes_max: 10, write_timeout: Duration::ZERO });
        ours.send(&[1; 10]).unwrap();
        let mut pump = pump(ours);
        let message = framed(&[2; 10]);
        pump.send(&[IoSlice::new(&message)]);
        assert!(is_signalled(&*pump, PATIENCE));
        assert_eq!(pump.drive().sent, message.len(), "from when it was tried the peer may have it");
        assert_eq!(received(&peer), [1; 10]);
        assert_eq!(received(&peer), [2; 10]);
        assert_eq!(peer.receive(&mut [0; 10], Some(Instant::now())), Ok(Received::Again), "and once only");
    }

    #[test]
    fn what_was_not_begun_when_nothing_more_is_to_be_sent_is_not_sent() {
        let (ours, peer) = local_pair(LocalOptions { queue_bytes_max: 10, write_timeout: PATIENCE });
        let mut pump = pump(ours);
        let messages = [framed(&[1; 10]), framed(&[2; 10]), framed(&[3; 10])].concat();
        pump.send(&[IoSlice::new(&messages)]);
        let mut told = 0;
        // The first is in the pair, and the second waits for its room.
        while told < 2 * 14 {
            assert!(is_signalled(&*pump, PATIENCE));
            told += pump.drive().sent;
        }
        pump.finish();
        assert_eq!([received(&peer), received(&peer)], [[1; 10], [2; 10]]);
        drop(pump);
        assert_eq!(peer.receive(&mut [0; 10], Some(Instant::now() + PATIENCE)), Ok(Received::Closed));
        assert_eq!(told, 2 * 14);
    }

    #[test]
    fn a_closed_channel_makes_no_transport() {
        let (ours, peer) = local_pair(LocalOptions { queue_bytes_max: 10, write_timeout: PATIENCE });
        peer.close();
        assert_eq!(Pump::start(Box::new(ours), threads()).err(), Some(Error::ChannelClosed));
    }
}
