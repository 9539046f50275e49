//! What a loop needs of its surroundings: the time, and a way to wait. The system has both; a simulation has its own.

use std::io;
use std::time::Instant;

use crate::sys::poll::PollSet;

/// A clock, and a sleep. One thread at a time.
pub trait Driver: Send {
    /// The time. Never goes back.
    fn now(&mut self) -> Instant;

    /// Sleeps until one of the descriptors in `set` is ready or `deadline` has come, and notes which are ready. It may end
    /// early, with none.
    fn sleep(&mut self, set: &mut PollSet, deadline: Option<Instant>) -> io::Result<()>;
}

/// The system's clock and its poll.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Driver for System {
    #[inline]
    fn now(&mut self) -> Instant {
        Instant::now()
    }

    fn sleep(&mut self, set: &mut PollSet, deadline: Option<Instant>) -> io::Result<()> {
        set.sleep_until(deadline).map(drop)
    }
}
