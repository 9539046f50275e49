//! A connected stream socket, as a channel of messages and as a transport of bytes.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::message::MessageBuffer;
use super::{Channel, Closing, Received, Transfer, Transport, check_message_len, classify};
use crate::error::{Error, Result};
use crate::sys::poll::{Interest, wait_for};
use crate::sys::socket;
use crate::sys::thread::Threads;

/// How a socket is used.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// A send that moves no byte for so long has failed.
    pub write_timeout: Duration,
    /// A peer that is gone without a word is noticed after about so long; none leaves the socket as it is.
    pub keepalive: Option<Duration>,
    /// The kernel's send buffer in bytes; 0 leaves it to the kernel.
    pub send_buffer_bytes: usize,
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
        let len = check_message_len(message.len())?;
        let _one_at_a_time = self.sending.lock();
        self.send_all(&mut [IoSlice::new(&len.to_le_bytes()), IoSlice::new(message)])
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
        let SocketChannel { socket, receiving, .. } = *self;
        Ok((Box::new(SocketTransport { socket }), receiving.into_inner().into_rest()))
    }
}

/// A socket that a loop drives.
#[derive(Debug)]
struct SocketTransport {
    socket: OwnedFd,
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
