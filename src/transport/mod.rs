//! How bytes and messages move between this process and a replica.
//!
//! A [`Transport`] moves bytes, never blocks, and says when it cannot. A [`Channel`] moves whole messages for a
//! caller who can wait. What a channel was before a runner takes it over, its transport is afterwards, with every
//! byte that had already arrived.

pub mod connect;
pub mod local;
pub mod pump;
pub mod socket;

use std::io::IoSlice;
use std::os::fd::RawFd;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::sys::poll::Interest;
use crate::sys::thread::Threads;
pub use socket::SocketChannel;

/// What became of an attempt to move bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// So many were moved.
    Moved(usize),
    /// None can be moved now.
    Again,
    /// The connection is closed.
    Closed(Closing),
    /// The connection failed.
    Failed(Error),
}

/// How far a transport has come by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Driven {
    /// How many bytes of earlier sends count as sent only now.
    pub sent: usize,
    /// Whether nothing is left that it would have to pass on before it is let go of.
    pub is_flushed: bool,
}

impl Default for Driven {
    /// Of a transport that keeps nothing back.
    fn default() -> Driven {
        Driven { sent: 0, is_flushed: true }
    }
}

/// How a connection was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// The peer has finished sending: it closed in order.
    Finished,
    /// The peer broke the connection off.
    Reset,
}

/// Bytes to and from a replica. One thread at a time.
pub trait Transport: Send {
    /// Sends as many of the bytes as can be sent without waiting.
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer;
    /// Whether it takes whole messages only, and nothing of what is less than one.
    fn takes_whole_messages(&self) -> bool {
        false
    }
    /// Receives what is there.
    fn receive(&mut self, into: &mut [u8]) -> Transfer;
    /// Moves on what the transport has of its own to move: bytes that it has taken and not passed on, or those of its close.
    /// Every turn begins with it, before anything is received, since the answer to what now counts as sent may be among that.
    /// What goes wrong is told by the next send or receive.
    fn drive(&mut self) -> Driven {
        Driven::default()
    }
    /// Says that the peer's answers are all that is waited for, so that the next of them may come sooner; `from_now_on`:
    /// those that follow, too. False: that is no use here.
    fn hasten_answers(&mut self, from_now_on: bool) -> bool {
        let _ = from_now_on;
        false
    }
    /// Looks whether the peer's machine is still there, while something is under way to it: an error if it is not.
    /// `anew`: there was nothing under way for a while since it was asked last. To be asked again then; `None`: there is no
    /// use in it.
    fn check_peer(&mut self, now: Instant, anew: bool) -> Result<Option<Instant>> {
        let _ = (now, anew);
        Ok(None)
    }
    /// What to poll, and for what, to be woken when there is something for that interest, or for the transport itself to
    /// [`drive`](Self::drive).
    fn wait_on(&self, interest: Interest) -> (RawFd, Interest);
    /// Says that nothing more will be sent; what is being sent is finished, and receiving goes on.
    fn finish(&mut self);
    /// A descriptor to be closed in a forked child, so that the peer sees the end of it when the parent closes it.
    fn inherited_fd(&self) -> Option<RawFd> {
        None
    }
}

/// What a receive brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// A message of this length is in the buffer.
    Message(usize),
    /// Nothing came in time.
    Again,
    /// The peer closed, and every message that it had sent was received.
    Closed,
}

/// Whole messages to and from a peer. Any thread; one may send while another receives.
pub trait Channel: Send + Sync {
    /// Sends a message; waits while the peer does not read, at most for the channel's write timeout.
    fn send(&self, message: &[u8]) -> Result<()>;
    /// Receives a message into `into`, or waits for one until `deadline`. With a buffer that is too small: an error
    /// that says what is needed, and the message stays to be received.
    fn receive(&self, into: &mut [u8], deadline: Option<Instant>) -> Result<Received>;
    /// Closes the channel: calls that wait, in any thread, end.
    fn close(&self);
    /// Whether neither side has closed it, as far as is known.
    fn is_open(&self) -> bool;
    /// A descriptor to be closed in a forked child, so that the peer sees the end of it when the parent closes it.
    fn inherited_fd(&self) -> Option<RawFd> {
        None
    }
    /// Gives up the channel for its transport, and for the bytes that arrived and were not received. Where it takes
    /// threads, they are of those.
    fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)>;
}

/// What an operating system's error on a connection means.
pub(crate) fn classify(error: std::io::Error) -> Transfer {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, WouldBlock};
    match error.kind() {
        WouldBlock => Transfer::Again,
        BrokenPipe | ConnectionReset | ConnectionAborted | NotConnected => Transfer::Closed(Closing::Reset),
        _ => Transfer::Failed(Error::Connection { os: error.into() }),
    }
}
