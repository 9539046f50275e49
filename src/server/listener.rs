//! A listening socket: takes in whoever connects, and ends for no error.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Peer};
use super::conversation::take_in;
use super::dialing::doubled;
use super::shared::{Other, Shared};
use crate::acks::End;
use crate::diagnostics::Level;
use crate::error::{Error, Result};
use crate::runtime::task::{Step, Task};
use crate::session::{Scratch, Wants};
use crate::sync::atomic::Ordering;
use crate::sys::off_standard;
use crate::sys::poll::Interest;
use crate::sys::waker::Waker;
use crate::transport::connect::address_text;

/// How many connections it takes in a turn.
const ACCEPTS_PER_TURN: usize = 64;

/// How long nobody is taken in after the system had no descriptor or no memory for one: at first, and at last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Listens at an address of this machine, a name or an address and a port; 0 for any.
pub(super) fn bind(host: &str, port: u16) -> Result<(TcpListener, SocketAddr)> {
    let failed = |error: io::Error| Error::os("listen at", address_text(host, port), error);
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
    let listener = TcpListener::from(off_standard(OwnedFd::from(listener)).map_err(failed)?);
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// See the module's comment.
pub(super) struct Listener {
    shared: Arc<Shared>,
    listener: TcpListener,
    other: Arc<Other>,
    /// How long the last pause was, and until when it lasts.
    pause: Option<(Duration, Instant)>,
}

impl Listener {
    pub(super) fn new(shared: &Arc<Shared>, listener: TcpListener, other: Arc<Other>) -> Listener {
        other.descriptor.set(Some(listener.as_raw_fd()));
        Listener { shared: Arc::clone(shared), listener, other, pause: None }
    }

    /// Takes in one. False: there is nobody, or nobody can be taken in now.
    fn accept(&mut self, now: Instant) -> bool {
        match self.listener.accept() {
            Ok((stream, address)) => {
                self.pause = None;
                let socket = match off_standard(OwnedFd::from(stream)) {
                    Ok(socket) => socket,
                    Err(error) => return self.rest(&error, now),
                };
                if let Err((_, refusal)) = take_in(&self.shared, socket, Peer::new(Some(address)), now) {
                    let nobody = Connection::new(0, Peer::new(Some(address)), 0, now);
                    self.shared.note_refused(refusal, &Arc::new(nobody));
                }
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => false,
                // Whoever that was has gone again.
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => true,
                _ => self.rest(&error, now),
            },
        }
    }

    /// The system has no more of something. Who connects meanwhile waits in its queue.
    fn rest(&mut self, error: &io::Error, now: Instant) -> bool {
        let pause = self.pause.map_or(PAUSES.0, |(pause, _)| doubled(pause, PAUSES.1));
        if self.pause.is_none() {
            let text = format_args!("nobody can be taken in for now, and it is tried again and again: {error}");
            self.shared.say(Level::Error, text);
        }
        self.shared.figures.accept_errors.fetch_add(1, Ordering::Relaxed);
        self.pause = Some((pause, now + pause));
        false
    }
}

impl Task for Listener {
    fn waker(&self) -> &Waker {
        &self.other.waker
    }

    fn turn(&mut self, now: Instant, _: &mut Scratch) -> Step {
        if self.shared.is_stopping() {
            return Step::Ended(End::Stopped);
        }
        let pause = self.pause.filter(|(_, until)| now < *until);
        if let Some((_, until)) = pause {
            let interest = Interest { read: false, write: false };
            return Step::Blocked(Wants { interest, deadline: Some(until) });
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.accept(now) {
                let (read, deadline) = match self.pause {
                    Some((_, until)) => (false, Some(until)),
                    None => (true, None),
                };
                return Step::Blocked(Wants { interest: Interest { read, write: false }, deadline });
            }
        }
        Step::Progress
    }

    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)> {
        interest.read.then(|| (self.listener.as_raw_fd(), interest))
    }

    fn end(self: Box<Self>, end: End, _: Instant) {
        self.shared.forget_other(&self.other);
        if let End::Failed(error) = end {
            self.shared.say(Level::Error, format_args!("nobody is listened for any more: {error}"));
        }
    }
}
