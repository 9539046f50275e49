//! A connection of a server, as others than its own loop see it: who it is, what it does, and how to end it.

use std::ffi::{CStr, CString};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::dialing::Dialing;
use super::refusal::Refusal;
use crate::session::link::Link;
use crate::session::service::restore::Progress;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sys::fork::{Inherited, close_inherited};
use crate::sys::waker::Waker;

/// The other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its address; none for what is not of the internet.
    pub address: Option<SocketAddr>,
    /// The address as text: `192.0.2.1:1000`, `[2001:db8::1]:1000`, or `local`.
    pub text: CString,
}

impl Peer {
    /// The peer at this address.
    pub fn new(address: Option<SocketAddr>) -> Peer {
        // An IPv4 address is the same one whichever way it came.
        let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        let text = address.map_or_else(|| "local".to_owned(), |address| address.to_string());
        Peer { address, text: CString::new(text).unwrap_or_default() }
    }

    #[cfg(test)]
    pub(super) fn of_tests(address: &str) -> Peer {
        Peer::new(Some(address.parse().expect("an address")))
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// It has not said so yet.
    Unknown,
    /// To be fed.
    Stream,
    /// To find a common point.
    Syncup,
    /// To fetch all files, as a message.
    Restore,
    /// To fetch all files, without messages.
    RawRestore,
    /// An election.
    Election,
}

/// What of a connection changes while it lasts.
#[derive(Clone)]
struct Changing {
    purpose: Purpose,
    restored: Progress,
    /// Why it is to end, if somebody else than itself says so.
    ends: Option<Refusal>,
}

/// See the module's comment. Any thread.
pub struct Connection {
    /// Its number, which no other of this server has or had.
    pub id: u64,
    /// Who is at the other end.
    pub peer: Peer,
    /// Which of the server's loops has it.
    pub(super) at_loop: usize,
    /// When it was made.
    pub since: Instant,
    /// How it is made again, if it was made by this side.
    pub(super) dialing: Option<Arc<Dialing>>,
    name: OnceLock<CString>,
    link: OnceLock<Arc<Link>>,
    waker: OnceLock<Arc<Waker>>,
    /// Its socket, until the stream has it.
    pub(super) socket: Inherited,
    changing: Mutex<Changing>,
    is_ending: AtomicBool,
    is_over: AtomicBool,
    /// The highest VLSN acknowledged.
    acked: AtomicU64,
    /// Whether the host has still to be told of that.
    ack_waits: AtomicBool,
}

impl Connection {
    /// One made by the other side.
    pub(super) fn new(id: u64, peer: Peer, at_loop: usize, since: Instant) -> Connection {
        let changing = Changing { purpose: Purpose::Unknown, restored: Progress::default(), ends: None };
        Connection {
            id,
            peer,
            at_loop,
            since,
            dialing: None,
            name: OnceLock::new(),
            link: OnceLock::new(),
            waker: OnceLock::new(),
            socket: Inherited::default(),
            changing: Mutex::new(changing),
            is_ending: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            ack_waits: AtomicBool::new(false),
        }
    }

    /// One made by this side, to be fed.
    pub(super) fn dialled(id: u64, peer: Peer, at_loop: usize, since: Instant, dialing: Arc<Dialing>) -> Connection {
        let connection = Connection::new(id, peer, at_loop, since);
        connection.set_name(dialing.name.clone());
        connection.set_purpose(Purpose::Stream);
        Connection { dialing: Some(dialing), ..connection }
    }

    /// The replica's name; its address while it has no other.
    pub fn name(&self) -> &CStr {
        self.name.get().unwrap_or(&self.peer.text)
    }

    pub(super) fn set_name(&self, name: CString) {
        let _ = self.name.set(name);
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.changing.lock().purpose
    }

    pub(super) fn set_purpose(&self, purpose: Purpose) {
        self.changing.lock().purpose = purpose;
    }

    /// How far the files were fetched.
    pub fn restored(&self) -> Progress {
        self.changing.lock().restored
    }

    pub(super) fn note_restored(&self, progress: Progress) {
        self.changing.lock().restored = progress;
    }

    /// What a stream shares with its loop, once there is one.
    pub fn link(&self) -> Option<&Arc<Link>> {
        self.link.get()
    }

    pub(super) fn set_link(&self, link: Arc<Link>) {
        // With the lock, so that who ends the connection at this moment either finds the link or is found.
        let changing = self.changing.lock();
        let stop = self.is_ending().then(|| Arc::clone(&link));
        let _ = self.link.set(link);
        drop(changing);
        if let Some(link) = stop {
            link.stop();
        }
    }

    pub(super) fn set_waker(&self, waker: Arc<Waker>) {
        let _ = self.waker.set(waker);
    }

    /// Ends it, for that reason, if there is one to tell. The first reason counts.
    pub(super) fn end(&self, why: Option<Refusal>) {
        let mut changing = self.changing.lock();
        if changing.ends.is_none() {
            changing.ends = why;
        }
        self.is_ending.store(true, Ordering::Release);
        let link = self.link.get();
        drop(changing);
        match link {
            Some(link) => link.stop(),
            None => self.wake(),
        }
    }

    /// In a forked child: closes the descriptor that the child has of it, and takes no lock.
    pub(super) fn close_in_child(&self) {
        close_inherited([self.socket.fd()]);
        if let Some(link) = self.link() {
            link.close_in_child();
        }
    }

    /// Has its loop give it a turn.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// Whether somebody wants it to end.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// It has ended.
    pub(super) fn note_over(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Why somebody wants it to end.
    pub(super) fn ends_for(&self) -> Option<Refusal> {
        self.changing.lock().ends.clone()
    }

    /// The highest VLSN acknowledged on this connection; 0 for none.
    pub fn acked_vlsn(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn note_acked(&self, vlsn: u64) {
        self.acked.fetch_max(vlsn, Ordering::AcqRel);
    }

    /// True: the host has to be told of an ack, and nobody is about to do it.
    #[inline]
    pub(super) fn note_ack_waits(&self) -> bool {
        !self.ack_waits.swap(true, Ordering::AcqRel)
    }

    /// Up to where it has acknowledged, for the host to be told. What comes now is told anew.
    pub(super) fn take_ack(&self) -> u64 {
        self.ack_waits.swap(false, Ordering::AcqRel);
        self.acked_vlsn()
    }
}
