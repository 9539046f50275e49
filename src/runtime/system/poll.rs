//! The system's clock, and `poll`: each sleep hands all descriptors to the system.

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use crate::runtime::driver::{Driver, Key};
use crate::sys::poll::{Interest, PollSet};

/// See the module's comment.
#[derive(Debug, Default)]
pub struct Poll {
    set: PollSet,
    /// Whose each descriptor is, in the set's order.
    keys: Vec<Key>,
}

impl Poll {
    fn place(&self, key: Key) -> Option<usize> {
        self.keys.iter().position(|&known| known == key)
    }
}

impl Driver for Poll {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn wait_on(&mut self, key: Key, fd: RawFd, interest: Interest) -> io::Result<()> {
        match self.place(key) {
            Some(place) => self.set.change(place, fd, interest),
            None => {
                self.keys.push(key);
                self.set.add(fd, interest);
            }
        }
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        if let Some(place) = self.place(key) {
            self.keys.swap_remove(place);
            self.set.swap_remove(place);
        }
    }

    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()> {
        let now = Instant::now();
        self.sleep(Some(now), ready)
    }

    fn sleep(&mut self, deadline: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()> {
        if self.set.sleep_until(deadline)? {
            let found = (0..).zip(&self.keys).filter(|&(place, _)| self.set.is_ready(place));
            ready.extend(found.map(|(_, &key)| key));
        }
        Ok(())
    }
}
