//! Sleeping until one of several descriptors is ready.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// The event to wait for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// Until something can be read.
    pub read: bool,
    /// Until something can be written.
    pub write: bool,
}

/// Descriptors that are waited for. Kept, so that sleeping allocates nothing.
#[derive(Debug, Default)]
pub struct PollSet {
    entries: Vec<libc::pollfd>,
}

fn entry(fd: RawFd, interest: Interest) -> libc::pollfd {
    let mut events = 0;
    if interest.read {
        events |= libc::POLLIN;
    }
    if interest.write {
        events |= libc::POLLOUT;
    }
    libc::pollfd { fd, events, revents: 0 }
}

impl PollSet {
    /// Adds a descriptor, as the last.
    pub fn add(&mut self, fd: RawFd, interest: Interest) {
        self.entries.push(entry(fd, interest));
    }

    /// Waits for something else in place of number `at`.
    pub fn change(&mut self, at: usize, fd: RawFd, interest: Interest) {
        self.entries[at] = entry(fd, interest);
    }

    /// Removes number `at`; the last takes its place.
    pub fn swap_remove(&mut self, at: usize) {
        self.entries.swap_remove(at);
    }

    /// Sleeps until a descriptor is ready or `deadline` has come; says whether one is ready. A signal ends the
    /// sleep early, as if the deadline had come.
    pub fn sleep_until(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let count = self.entries.len() as libc::nfds_t;
        // SAFETY: the pointer and the count describe the vector, which lives and is not otherwise used meanwhile.
        let ready = unsafe { libc::poll(self.entries.as_mut_ptr(), count, timeout_ms(deadline)) };
        if ready >= 0 {
            return Ok(ready > 0);
        }
        let error = io::Error::last_os_error();
        for entry in &mut self.entries {
            entry.revents = 0;
        }
        if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
    }

    /// Whether descriptor number `at` was found ready. An error or a hang-up counts as ready for both, so that the
    /// call that follows finds out.
    pub fn is_ready(&self, at: usize) -> bool {
        self.entries.get(at).is_some_and(|entry| entry.revents != 0)
    }
}

/// The time until `deadline` as the system's calls take it: -1 for no end.
pub(super) fn timeout_ms(deadline: Option<Instant>) -> libc::c_int {
    deadline.map_or(-1, |deadline| millis_ceil(deadline.saturating_duration_since(Instant::now())))
}

/// Milliseconds as poll takes them, rounded up: a sleep that is too short would spin.
fn millis_ceil(duration: Duration) -> libc::c_int {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX)
}

/// Sleeps until `fd` is ready or `deadline` has come; says whether it is ready.
pub fn wait_for(fd: RawFd, interest: Interest, deadline: Option<Instant>) -> io::Result<bool> {
    let mut set = PollSet::default();
    set.add(fd, interest);
    loop {
        if set.sleep_until(deadline)? {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_rounded_up_and_never_overflows() {
        assert_eq!(millis_ceil(Duration::ZERO), 0);
        assert_eq!(millis_ceil(Duration::from_nanos(1)), 1);
        assert_eq!(millis_ceil(Duration::from_millis(5)), 5);
        assert_eq!(millis_ceil(Duration::MAX), libc::c_int::MAX);
    }
}
