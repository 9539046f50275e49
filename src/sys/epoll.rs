//! Sleeping until one of many descriptors is ready, at a price that does not depend on how many there are. Linux only.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Instant;

use super::poll::{Interest, timeout_ms};
use super::{check, off_standard};

/// So many are told of at once; more, the next time.
const EVENTS_MAX: usize = 256;

/// The descriptors that are waited for, each with a token.
pub struct EpollSet {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS_MAX]>,
    ready: usize,
}

impl std::fmt::Debug for EpollSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpollSet").field("epoll", &self.epoll).field("ready", &self.ready).finish()
    }
}

impl EpollSet {
    /// Nothing is waited for.
    pub fn new() -> io::Result<EpollSet> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let epoll = off_standard(unsafe { OwnedFd::from_raw_fd(fd) })?;
        let events = Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX]);
        Ok(EpollSet { epoll, events, ready: 0 })
    }

    /// Waits for `fd`, too. An error where the system has no room for it.
    pub fn add(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Waits for something else on `fd`.
    pub fn change(&mut self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Does not wait for `fd` any more. To be called before it is closed: as long as another process holds what it stands
    /// for, the system would go on telling of it.
    pub fn remove(&mut self, fd: RawFd) {
        // What is not there any more need not be removed.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::default());
    }

    /// Its own descriptor, for a forked child to close.
    pub fn inherited_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    fn control(&mut self, what: libc::c_int, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        let mut events = 0;
        if interest.read {
            events |= libc::EPOLLIN;
        }
        if interest.write {
            events |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: token };
        // SAFETY: the event is valid during the call, which only reads it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &raw mut event) }).map(drop)
    }

    /// Sleeps until something is ready or `deadline` has come. A signal ends the sleep early, as if the deadline had come.
    pub fn sleep_until(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.ready = 0;
        let (events, timeout) = (self.events.as_mut_ptr(), timeout_ms(deadline));
        // SAFETY: there is room for so many events, and nobody else uses them meanwhile.
        let ready = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events, EVENTS_MAX as libc::c_int, timeout) };
        match check(ready) {
            Ok(ready) => self.ready = usize::try_from(ready).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The tokens of what the last sleep found ready.
    pub fn ready(&self) -> impl Iterator<Item = u64> {
        self.events[..self.ready].iter().map(|event| event.u64)
    }
}
