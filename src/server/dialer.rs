//! Dials out to a replica that listens: until there is a connection, and again when its stream has ended.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Peer};
use super::dialing::Dialing;
use super::events::Kind;
use super::feeding;
use super::refusal::Refusal;
use super::shared::{Other, Shared};
use crate::acks::End;
use crate::diagnostics::{Level, Replica};
use crate::error::Error;
use crate::runtime::inbox::Handle;
use crate::runtime::task::{Step, Task};
use crate::session::{Scratch, Wants};
use crate::sys::poll::Interest;
use crate::sys::socket;
use crate::sys::waker::Waker;
use crate::transport::socket::transport;

enum Stage {
    /// Until then. The socket of the last attempt stays open until the loop does not wait for it any more.
    Waiting {
        until: Instant,
        last: Option<OwnedFd>,
    },
    Connecting {
        socket: OwnedFd,
        address: SocketAddr,
        until: Instant,
    },
    /// There is a connection, and the stream has it.
    Fed,
}

/// See the module's comment.
pub(super) struct Dialer {
    shared: Arc<Shared>,
    dialing: Arc<Dialing>,
    at_loop: usize,
    other: Arc<Other>,
    stage: Stage,
    /// Whether people were told that it cannot be reached.
    is_told: bool,
}

impl Dialer {
    /// Begins to dial, in that loop.
    pub(super) fn start(shared: &Arc<Shared>, dialing: Arc<Dialing>, at_loop: usize, handle: &Handle) {
        let (other, now) = (shared.other(handle), Instant::now());
        dialing.set_waker(Arc::clone(&other.waker));
        let stage = Stage::Waiting { until: now, last: None };
        let dialer = Dialer { shared: Arc::clone(shared), dialing, at_loop, other, stage, is_told: false };
        shared.hand_over(handle, Box::new(dialer), now);
    }

    /// Goes on; a connection, once there is one.
    fn move_on(&mut self, now: Instant) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.stage, Stage::Fed) {
            Stage::Waiting { until, last } if now < until => self.stage = Stage::Waiting { until, last },
            Stage::Waiting { .. } => {
                let address = self.dialing.take_next();
                match socket::begin_connect(&address) {
                    Ok(socket) => {
                        let until = now + self.shared.options.connect_timeout;
                        self.stage = Stage::Connecting { socket, address, until };
                    }
                    Err(error) => self.note_failed(address, error, None, now),
                }
            }
            Stage::Connecting { socket, address, until } => match socket::is_connected_yet(socket.as_fd()) {
                Ok(true) => return Some(socket),
                Ok(false) if now < until => self.stage = Stage::Connecting { socket, address, until },
                Ok(false) => self.note_failed(address, io::ErrorKind::TimedOut.into(), Some(socket), now),
                Err(error) => self.note_failed(address, error, Some(socket), now),
            },
            Stage::Fed => {
                if !self.dialing.is_fed() {
                    self.is_told = false;
                    let until = now + self.dialing.take_first_pause(self.shared.options.redial);
                    self.stage = Stage::Waiting { until, last: None };
                }
            }
        }
        None
    }

    fn rest(&mut self, last: Option<OwnedFd>, now: Instant) {
        let until = now + self.dialing.take_pause(self.shared.options.redial);
        self.stage = Stage::Waiting { until, last };
    }

    fn note_failed(&mut self, address: SocketAddr, error: io::Error, last: Option<OwnedFd>, now: Instant) {
        let name = self.dialing.name.to_string_lossy();
        if !std::mem::replace(&mut self.is_told, true) {
            let text = format_args!(
                "{} at {address} cannot be reached, and is dialled again and again: {error}",
                Replica(&name)
            );
            self.shared.say(Level::Warn, text);
            let error = Error::Connect { address: address.to_string(), os: error.into() };
            let connection =
                Connection::dialled(0, Peer::new(Some(address)), self.at_loop, now, Arc::clone(&self.dialing));
            self.shared.events.push(Kind::Refused(Refusal::Failed(error)), Some(&Arc::new(connection)));
        }
        self.rest(last, now);
    }

    fn feed(&mut self, socket: OwnedFd, now: Instant) {
        let (shared, peer) = (&self.shared, Peer::new(socket::peer_address(socket.as_fd())));
        if let Err(error) = shared.options.socket.prepare(socket.as_fd()) {
            return self.put_off(&Refusal::Failed(error), socket, now);
        }
        let connection = match shared.register.admit_dialled(peer, self.at_loop, now, &self.dialing) {
            Ok(connection) => connection,
            Err(refusal) => return self.put_off(&refusal, socket, now),
        };
        if let Err(refusal) = shared.register.join(&connection) {
            shared.register.leave(&connection);
            return self.put_off(&refusal, socket, now);
        }
        let Some(handle) = shared.loops.get().and_then(|loops| loops.get(self.at_loop)) else { return };
        let (start, transport) = (self.dialing.note_fed(), transport(socket, shared.options.socket));
        let session = feeding::session(shared, &connection, transport, start, now);
        // It begins when this turn is over, and the socket is not waited for in this task's name any more.
        shared.hand_over(handle, Box::new(session), now);
    }

    fn put_off(&mut self, refusal: &Refusal, socket: OwnedFd, now: Instant) {
        let name = self.dialing.name.to_string_lossy();
        self.shared.say(Level::Warn, format_args!("{} is not fed for now: {refusal}", Replica(&name)));
        self.rest(Some(socket), now);
    }
}

impl Task for Dialer {
    fn waker(&self) -> &Waker {
        &self.other.waker
    }

    fn turn(&mut self, now: Instant, _: &mut Scratch) -> Step {
        if self.shared.is_stopping() || self.dialing.is_cancelled() {
            return Step::Ended(End::Stopped);
        }
        // Before it is closed, or another's.
        self.other.descriptor.set(None);
        if let Some(socket) = self.move_on(now) {
            self.feed(socket, now);
        }
        if let Stage::Connecting { socket, .. } = &self.stage {
            self.other.descriptor.set(Some(socket.as_raw_fd()));
        }
        let (write, deadline) = match &self.stage {
            Stage::Waiting { until, .. } => (false, Some(*until)),
            Stage::Connecting { until, .. } => (true, Some(*until)),
            Stage::Fed => (false, None),
        };
        Step::Blocked(Wants { interest: Interest { read: false, write }, deadline })
    }

    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)> {
        match &self.stage {
            Stage::Connecting { socket, .. } => Some((socket.as_raw_fd(), interest)),
            _ => None,
        }
    }

    fn end(self: Box<Self>, _: End, _: Instant) {
        self.shared.forget_other(&self.other);
    }
}
