//! The system's clock, and `epoll`: the system keeps what is waited for, and says what of it is ready.

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use crate::runtime::driver::{Driver, Key};
use crate::sys::epoll::EpollSet;
use crate::sys::poll::Interest;

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Epoll {
    set: EpollSet,
    /// Which descriptor is waited for in whose name.
    known: HashMap<u64, RawFd>,
}

impl Epoll {
    /// One that waits for nothing yet.
    pub(super) fn new() -> io::Result<Epoll> {
        Ok(Epoll { set: EpollSet::new()?, known: HashMap::new() })
    }
}

impl Driver for Epoll {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn wait_on(&mut self, key: Key, fd: RawFd, interest: Interest) -> io::Result<()> {
        let token = key.to_bits();
        if self.known.contains_key(&token) {
            return self.set.change(fd, token, interest);
        }
        self.set.add(fd, token, interest)?;
        self.known.insert(token, fd);
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        if let Some(fd) = self.known.remove(&key.to_bits()) {
            self.set.remove(fd);
        }
    }

    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()> {
        let now = Instant::now();
        self.sleep(Some(now), ready)
    }

    fn sleep(&mut self, deadline: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()> {
        self.set.sleep_until(deadline)?;
        ready.extend(self.set.ready().map(Key::from_bits));
        Ok(())
    }

    fn inherited_fd(&self) -> Option<RawFd> {
        Some(self.set.inherited_fd())
    }
}
