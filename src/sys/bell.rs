//! A bell: wakes a loop that sleeps in the kernel, and costs one atomic operation while the loop is awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::signal_fd::SignalFd;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const RUNG: u32 = 2;

/// Any number of threads ring it; one loop sleeps on it.
#[derive(Debug)]
pub struct Bell {
    state: AtomicU32,
    signal: SignalFd,
}

impl Bell {
    /// A bell that was not rung.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell { state: AtomicU32::new(AWAKE), signal: SignalFd::new()? })
    }

    /// Rings: the loop will not go to sleep, or wakes. Any thread, never blocks.
    pub fn ring(&self) {
        // SeqCst, so that what was written before the ring is seen by a loop that found the bell silent, and the
        // other way round: the loop announces its sleep before it looks a last time.
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            self.signal.raise();
        }
    }

    /// Announces that the loop is about to sleep. False: it was rung, and must look again first.
    pub fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Announces that the loop is awake and will look at everything there is. True if it was rung.
    pub fn wake_up(&self) -> bool {
        let rung = self.state.swap(AWAKE, Ordering::SeqCst) == RUNG;
        if rung {
            self.signal.lower();
        }
        rung
    }

    /// What to poll for reading while asleep.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }

    /// Takes the descriptors out, for a process that must close them without touching anything else.
    pub fn into_fds(self) -> (OwnedFd, Option<OwnedFd>) {
        self.signal.into_fds()
    }
}
