//! A connected stream socket, as a channel of messages and as a transport of bytes.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Channel, Closing, Received, Transfer, Transport, classify};
use crate::error::{Error, Result};
use crate::sys::poll::{Interest, wait_for};
use crate::sys::socket::{self, Answers};
use crate::sys::thread::Threads;
use crate::wire::message::{MessageBuffer, check_message_len, message_prefix};

/// How a socket is used.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// A send that moves no byte for so long has failed.
    pub write_timeout: Duration,
    /// A peer that is gone without a word is noticed after about so long; none leaves the socket as it is.
    pub keepalive: Option<Duration>,
    /// The kernel's send buffer in bytes; 0 leaves it to the kernel.
    pub send_buffer_bytes: usize,
    /// What arrives is confirmed to the peer's system at once while only that is waited for.
    pub quick_acks: bool,
}

/// See the module's comment. Any thread; one may send while another receives.
#[derive(Debug)]
pub struct SocketChannel {
    socket: OwnedFd,
    options: SocketOptions,
    closed: AtomicBool,
    /// Closed by this side: what had arrived is not received any more, either.
    closed_here: AtomicBool,
    /// Held while a message is sent, so that two senders do not mix theirs.
    sending: Mutex<()>,
    receiving: Mutex<MessageBuffer>,
}

impl SocketOptions {
    /// Prepares a connected stream socket, TCP or of the Unix domain, for a [`SocketChannel`].
    pub fn prepare(&self, socket: BorrowedFd<'_>) -> Result<()> {
        socket::prepare(socket, self.keepalive)
            .and_then(|()| socket::set_send_buffer(socket, self.send_buffer_bytes))
            .map_err(|error| Error::os("prepare", "the socket", error))
    }
}

impl SocketChannel {
    /// A channel over a socket that the options have prepared. It is the channel's from now on.
    pub fn new(socket: OwnedFd, options: SocketOptions) -> SocketChannel {
        SocketChannel {
            socket,
            options,
            closed: AtomicBool::new(false),
            closed_here: AtomicBool::new(false),
            sending: Mutex::new(()),
            receiving: Mutex::new(MessageBuffer::default()),
        }
    }

    fn note_closed(&self) -> Error {
        self.closed.store(true, Ordering::Release);
        Error::ChannelClosed
    }

    fn send_all(&self, mut pieces: &mut [IoSlice<'_>]) -> Result<()> {
        let mut left: usize = pieces.iter().map(|piece| piece.len()).sum();
        while left > 0 {
            if !self.is_open() {
                return Err(Error::ChannelClosed);
            }
            match socket::send(self.socket.as_fd(), pieces) {
                Ok(sent) => {
                    left -= sent;
                    IoSlice::advance_slices(&mut pieces, sent);
                }
                Err(error) => match classify(error) {
                    Transfer::Closed(_) => return Err(self.note_closed()),
                    Transfer::Failed(error) => return Err(error),
                    Transfer::Again | Transfer::Moved(_) => self.wait_until_writable()?,
                },
            }
        }
        Ok(())
    }

    fn wait_until_writable(&self) -> Result<()> {
        let timeout = self.options.write_timeout;
        let write = Interest { read: false, write: true };
        match wait_for(self.socket.as_raw_fd(), write, Instant::now().checked_add(timeout)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                // Part of a message is under way: nothing that follows could be understood.
                self.close();
                let waited_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                Err(Error::WriteTimeout { waited_ms })
            }
            Err(error) => Err(Error::os("wait for", "the connection", error)),
        }
    }
}

impl Channel for SocketChannel {
    fn send(&self, message: &[u8]) -> Result<()> {
        check_message_len(message.len())?;
        let _one_at_a_time = self.sending.lock();
        self.send_all(&mut [IoSlice::new(&message_prefix(message.len())), IoSlice::new(message)])
    }

    fn receive(&self, into: &mut [u8], deadline: Option<Instant>) -> Result<Received> {
        let mut buffer = self.receiving.lock();
        let mut piece = [0; 16 * 1024];
        loop {
            if self.closed_here.load(Ordering::Acquire) {
                return Ok(Received::Closed);
            }
            if let Some(message) = buffer.peek().inspect_err(|_| self.close())? {
                let Some(room) = into.get_mut(..message.len()) else {
                    return Err(Error::BufferTooSmall { capacity: into.len(), needed: message.len() });
                };
                room.copy_from_slice(message);
                let len = message.len();
                buffer.take();
                return Ok(Received::Message(len));
            }
            if self.closed.load(Ordering::Acquire) {
                return Ok(Received::Closed);
            }
            buffer.make_room(piece.len()).map_err(|none| Error::no_memory(none, "a message", None, None))?;
            match socket::receive(self.socket.as_fd(), &mut piece) {
                Ok(0) => {
                    self.note_closed();
                    return Ok(Received::Closed);
                }
                Ok(read) => buffer.push(&piece[..read]),
                Err(error) => match classify(error) {
                    Transfer::Closed(_) => {
                        self.note_closed();
                        return Ok(Received::Closed);
                    }
                    Transfer::Failed(error) => return Err(error),
                    Transfer::Again | Transfer::Moved(_) => {
                        if self.options.quick_acks && !buffer.is_empty() {
                            // The rest of the message may wait for that. What cannot be told needs no telling.
                            let _ = socket::confirm_received(self.socket.as_fd(), false);
                        }
                        let read = Interest { read: true, write: false };
                        let ready = wait_for(self.socket.as_raw_fd(), read, deadline)
                            .map_err(|error| Error::os("wait for", "the connection", error))?;
                        if !ready {
                            return Ok(Received::Again);
                        }
                    }
                },
            }
        }
    }

    fn close(&self) {
        self.closed_here.store(true, Ordering::Release);
        self.closed.store(true, Ordering::Release);
        socket::shutdown_both(self.socket.as_fd());
    }

    fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    fn inherited_fd(&self) -> Option<RawFd> {
        Some(self.socket.as_raw_fd())
    }

    fn into_transport(self: Box<Self>, _: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        if !self.is_open() {
            return Err(Error::ChannelClosed);
        }
        let SocketChannel { socket, receiving, options, .. } = *self;
        Ok((transport(socket, options), receiving.into_inner().into_rest()))
    }
}

/// A transport over a socket that the options have prepared.
pub fn transport(socket: OwnedFd, options: SocketOptions) -> Box<dyn Transport> {
    let silence = options.keepalive.map(Silence::new);
    Box::new(SocketTransport { socket, quick_acks: options.quick_acks, silence })
}

/// A socket that a loop drives.
#[derive(Debug)]
struct SocketTransport {
    socket: OwnedFd,
    /// As in the options, until the system refuses: a socket of the Unix domain needs none of this.
    quick_acks: bool,
    /// None where it is not to be known.
    silence: Option<Silence>,
}

/// How long a peer's system has not answered although an answer was due. Keepalive does not run while something is under
/// way: that is sent again and again instead, for a quarter of an hour. And TCP_USER_TIMEOUT, which would end that, also
/// ends a connection to a peer that answers, and has had no room for a while.
#[derive(Debug)]
struct Silence {
    limit: Duration,
    /// When the peer was looked at last.
    looked: Option<Instant>,
    /// Since when answers have been due and none has come.
    since: Option<Instant>,
}

impl Silence {
    fn new(keepalive: Duration) -> Silence {
        Silence { limit: keepalive.max(socket::KEEPALIVE_MIN), looked: None, since: None }
    }

    /// How long it may be until the next look.
    fn pause(&self) -> Duration {
        (self.limit / 8).min(Duration::from_secs(5))
    }

    /// True: it has been silent for too long.
    fn is_too_long(&mut self, now: Instant, answers: Answers) -> bool {
        // Nobody has looked for long: this process may have been stopped, or the whole machine, and the peer not been asked.
        let is_regular = self.looked.is_some_and(|looked| now < looked + self.pause() * 4);
        self.looked = Some(now);
        if !answers.are_due {
            self.since = None;
            return false;
        }
        let answered = now.checked_sub(answers.last);
        let since = self.since.filter(|_| is_regular).unwrap_or(now);
        let since = answered.map_or(since, |answered| since.max(answered));
        self.since = Some(since);
        now.duration_since(since) >= self.limit
    }
}

impl Transport for SocketTransport {
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        socket::send(self.socket.as_fd(), pieces).map_or_else(classify, Transfer::Moved)
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        match socket::receive(self.socket.as_fd(), into) {
            Ok(0) => Transfer::Closed(Closing::Finished),
            Ok(read) => Transfer::Moved(read),
            Err(error) => classify(error),
        }
    }

    fn hasten_answers(&mut self, from_now_on: bool) -> bool {
        self.quick_acks = self.quick_acks && socket::confirm_received(self.socket.as_fd(), from_now_on).is_ok();
        self.quick_acks
    }

    fn check_peer(&mut self, now: Instant, anew: bool) -> Result<Option<Instant>> {
        let Some(silence) = &mut self.silence else { return Ok(None) };
        let Ok(answers) = socket::answers(self.socket.as_fd()) else {
            self.silence = None;
            return Ok(None);
        };
        if anew {
            silence.since = None;
        }
        if silence.is_too_long(now, answers) {
            return Err(Error::Connection { os: std::io::Error::from_raw_os_error(libc::ETIMEDOUT).into() });
        }
        Ok(Some(now + silence.pause()))
    }

    fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        (self.socket.as_raw_fd(), interest)
    }

    fn finish(&mut self) {
        socket::shutdown_write(self.socket.as_fd());
    }

    fn inherited_fd(&self) -> Option<RawFd> {
        Some(self.socket.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::options::Options;

    fn options(set: &[(&str, &str)]) -> SocketOptions {
        let mut options = Options::default();
        set.iter().for_each(|(key, value)| options.set(key, value).unwrap());
        options.socket()
    }

    fn tcp_pair() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (OwnedFd::from(ours), listener.accept().unwrap().0)
    }

    fn channel(socket: OwnedFd, set: &[(&str, &str)]) -> SocketChannel {
        let options = options(set);
        options.prepare(socket.as_fd()).unwrap();
        SocketChannel::new(socket, options)
    }

    fn generous() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn messages_come_whole_in_whatever_pieces_they_arrive() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = channel(ours.into(), &[]);
        let mut into = [0; 8];
        theirs.write_all(&[3, 0]).unwrap();
        assert_eq!(channel.receive(&mut into, Some(Instant::now())), Ok(Received::Again));
        theirs.write_all(&[0, 0, b'a', b'b']).unwrap();
        assert_eq!(channel.receive(&mut into, Some(Instant::now())), Ok(Received::Again));
        theirs.write_all(b"c\0\0\0\0").unwrap();
        assert_eq!(channel.receive(&mut into, Some(generous())), Ok(Received::Message(3)));
        assert_eq!(&into[..3], b"abc");
        assert_eq!(channel.receive(&mut into, Some(generous())), Ok(Received::Message(0)));
        channel.send(b"xy").unwrap();
        let mut sent = [0; 6];
        theirs.read_exact(&mut sent).unwrap();
        assert_eq!(&sent, b"\x02\0\0\0xy");
    }

    #[test]
    fn a_message_that_does_not_fit_stays_and_says_what_it_needs() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = channel(ours.into(), &[]);
        theirs.write_all(b"\x03\0\0\0abc").unwrap();
        let small = channel.receive(&mut [0; 2], Some(generous()));
        assert_eq!(small, Err(Error::BufferTooSmall { capacity: 2, needed: 3 }));
        assert_eq!(channel.receive(&mut [0; 3], Some(generous())), Ok(Received::Message(3)));
    }

    #[test]
    fn what_had_arrived_before_a_close_is_received_and_goes_with_the_channel() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = Box::new(channel(ours.into(), &[]));
        theirs.write_all(b"\x01\0\0\0a\x01\0\0\0b\x09").unwrap();
        assert_eq!(channel.receive(&mut [0; 1], Some(generous())), Ok(Received::Message(1)));
        drop(theirs);
        let (mut transport, arrived) = channel.into_transport(Options::default().threads(0)).unwrap();
        assert_eq!(arrived, b"\x01\0\0\0b\x09");
        assert_eq!(transport.receive(&mut [0; 8]), Transfer::Closed(Closing::Finished));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up_and_the_channel_closed() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let channel = channel(ours.into(), &[("channel.write_timeout_ms", "20")]);
        let message = vec![0; 16 << 20];
        assert_eq!(channel.send(&message), Err(Error::WriteTimeout { waited_ms: 20 }));
        assert!(!channel.is_open());
        assert_eq!(channel.send(b"a"), Err(Error::ChannelClosed));
    }

    #[test]
    fn a_close_ends_a_wait_in_another_thread() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let channel = std::sync::Arc::new(channel(ours.into(), &[]));
        let waiting = std::sync::Arc::clone(&channel);
        let thread = std::thread::spawn(move || waiting.receive(&mut [0; 1], Some(generous())));
        channel.close();
        assert_eq!(thread.join().unwrap(), Ok(Received::Closed));
    }

    /// Two senders at once: each message whole, and each sender's in its order.
    #[test]
    fn senders_do_not_mix() {
        const EACH: u32 = 200;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let channel = channel(ours.into(), &[("channel.send_buffer_bytes", "4608")]);
        std::thread::scope(|scope| {
            for sender in 0..2u8 {
                let channel = &channel;
                scope.spawn(move || {
                    for at in 0..EACH {
                        // Longer than the socket takes at once.
                        let mut message = vec![sender; 10_000];
                        message.extend(at.to_le_bytes());
                        channel.send(&message).unwrap();
                    }
                });
            }
            let mut next = [0u32, 0];
            for _ in 0..2 * EACH {
                let mut message = [0; 4 + 10_000 + 4];
                theirs.read_exact(&mut message).unwrap();
                assert_eq!(message[..4], 10_004u32.to_le_bytes());
                let sender = message[4];
                assert!(message[4..10_004].iter().all(|byte| *byte == sender));
                assert_eq!(message[10_004..], next[usize::from(sender)].to_le_bytes());
                next[usize::from(sender)] += 1;
            }
        });
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn answers_are_hastened_over_tcp_unless_the_options_say_never() {
        for (option, hastens) in [("tail", true), ("never", false)] {
            let (ours, _theirs) = tcp_pair();
            let fd = ours.as_raw_fd();
            let channel = Box::new(channel(ours, &[("channel.quick_acks", option)]));
            let (mut transport, _) = channel.into_transport(Options::default().threads(0)).unwrap();
            // SAFETY: the transport owns the descriptor, and lives.
            let socket = unsafe { BorrowedFd::borrow_raw(fd) };
            socket::confirm_later(socket).unwrap();
            assert!(!socket::confirms_at_once(socket).unwrap());
            assert_eq!(transport.hasten_answers(true), hastens);
            assert_eq!(socket::confirms_at_once(socket).unwrap(), hastens);
        }
    }

    #[test]
    fn there_is_nothing_to_hasten_over_a_unix_socket() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (mut transport, _) =
            Box::new(channel(ours.into(), &[])).into_transport(Options::default().threads(0)).unwrap();
        assert!(!transport.hasten_answers(true));
        assert!(!transport.hasten_answers(true));
    }

    #[test]
    fn a_peer_is_gone_when_answers_were_due_for_too_long_and_none_has_come() {
        const LIMIT: Duration = Duration::from_secs(60);
        const LAST: Duration = Duration::from_secs(3600);
        let mut silence = Silence::new(LIMIT);
        let (begin, pause) = (Instant::now() + LAST, silence.pause());
        let due = |last| Answers { are_due: true, last };
        // An hour's silence in which nothing was due is none. From the first look on it counts.
        assert!(!silence.is_too_long(begin, Answers { are_due: false, last: LAST }));
        let looks = u32::try_from(LIMIT.as_millis() / pause.as_millis()).unwrap();
        for look in 1..=looks {
            assert!(!silence.is_too_long(begin + pause * look, due(LAST)), "{look}");
        }
        assert!(silence.is_too_long(begin + pause * (looks + 1), due(LAST)));
        // An answer, and then silence.
        let begin = begin + pause * (looks + 2);
        assert!(!silence.is_too_long(begin, due(Duration::ZERO)));
        for look in 1..looks {
            assert!(!silence.is_too_long(begin + pause * look, due(pause * look)));
        }
        assert!(silence.is_too_long(begin + LIMIT, due(LIMIT)));
        // Answers that come are not too few, however long more of them are due.
        let begin = begin + LIMIT;
        for look in 1..100 {
            assert!(!silence.is_too_long(begin + pause * look, due(pause)));
        }
    }

    #[test]
    fn a_peer_is_not_gone_because_this_side_was_stopped() {
        let mut silence = Silence::new(Duration::from_secs(60));
        let begin = Instant::now();
        assert!(!silence.is_too_long(begin, Answers { are_due: true, last: Duration::ZERO }));
        let late = Duration::from_secs(3600);
        assert!(!silence.is_too_long(begin + late, Answers { are_due: true, last: late }));
    }
}
