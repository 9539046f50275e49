//! A bell: wakes a loop that sleeps in the kernel. To ring it costs one atomic operation while the loop is awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::signal_fd::SignalFd;
use crate::failpoint::failpoint;
use crate::sync::atomic::{AtomicU32, Ordering};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const RUNG: u32 = 2;

/// Any number of threads ring a bell; one loop sleeps on it.
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

    /// Rings the bell: the loop wakes, or does not go to sleep. Any thread, never blocks.
    pub fn ring(&self) {
        // The ring and the announcement of a sleep change the same word, so the later of them sees the earlier: either
        // the ring finds the loop asleep, or the loop finds that it was rung. A loop that hears the ring also sees what
        // was written before it.
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            failpoint("ring");
            self.signal.raise();
        }
    }

    /// Whether it was rung since the loop has woken up last. For a loop that is awake.
    #[inline]
    pub fn is_rung(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNG
    }

    /// Announces that the loop is about to sleep. False: the bell was rung, and the loop must look again first.
    pub fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Announces that the loop is awake and will look at everything. `is_readable`: the loop found the descriptor
    /// readable. True: the bell was rung.
    pub fn wake_up(&self, is_readable: bool) -> bool {
        // A readable descriptor means that the bell was rung, whatever the state says. Whoever rings changes the state
        // first and then raises the descriptor, and the loop may have woken for another reason in between. If it is not
        // lowered here, it ends every sleep from now on.
        let rung = self.state.swap(AWAKE, Ordering::SeqCst) == RUNG || is_readable;
        if rung {
            self.signal.lower();
        }
        rung
    }

    /// The descriptor to poll for reading while asleep.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::failpoint::hooks;
    use crate::sys::poll::{Interest, wait_for};

    fn is_readable(bell: &Bell) -> bool {
        let read = Interest { read: true, write: false };
        wait_for(bell.fd().as_raw_fd(), read, Some(Instant::now())).unwrap()
    }

    #[test]
    fn a_ring_keeps_a_loop_that_is_awake_from_sleeping_and_costs_no_system_call() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert!(!is_readable(&bell));
        assert!(bell.is_rung() && !bell.fall_asleep(), "it has to look first");
        assert!(bell.wake_up(false));
        assert!(!bell.is_rung());
        assert!(bell.fall_asleep());
        assert!(!bell.wake_up(false), "nobody has rung since");
    }

    #[test]
    fn a_ring_wakes_a_loop_that_sleeps_once() {
        let bell = Bell::new().unwrap();
        for _ in 0..3 {
            assert!(bell.fall_asleep());
            assert!(!is_readable(&bell));
            bell.ring();
            bell.ring();
            assert!(is_readable(&bell));
            assert!(bell.wake_up(true));
            assert!(!is_readable(&bell), "what was heard rings no more");
        }
    }

    /// The loop wakes for another reason while somebody is about to raise the descriptor.
    #[test]
    fn a_descriptor_that_is_raised_late_is_a_ring_and_is_lowered() {
        let bell = Arc::new(Bell::new().unwrap());
        assert!(bell.fall_asleep());
        let looping = Arc::clone(&bell);
        hooks::run_at("ring", move || {
            assert!(looping.wake_up(false), "the state says so already");
            assert!(looping.fall_asleep());
        });
        bell.ring();
        assert!(!hooks::is_to_come());
        assert!(is_readable(&bell));
        assert!(bell.wake_up(true));
        assert!(!is_readable(&bell));
        assert!(bell.fall_asleep());
        bell.ring();
        assert!(is_readable(&bell), "the next ring is heard like any other");
    }

    /// Each ring stands for something that was written before it. After the ring, the loop must look once more.
    #[test]
    fn no_ring_is_slept_through() {
        const RINGS: u32 = 20_000;
        let bell = Arc::new(Bell::new().unwrap());
        let written = Arc::new(AtomicU32::new(0));
        let ringing = {
            let (bell, written) = (Arc::clone(&bell), Arc::clone(&written));
            std::thread::spawn(move || {
                for _ in 0..RINGS {
                    written.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                }
            })
        };
        let read = Interest { read: true, write: false };
        let mut seen = 0;
        while seen < RINGS {
            if bell.fall_asleep() {
                seen = written.load(Ordering::Relaxed);
                if seen < RINGS {
                    let patience = Some(Instant::now() + Duration::from_secs(60));
                    assert!(wait_for(bell.fd().as_raw_fd(), read, patience).unwrap(), "asleep at {seen} of {RINGS}");
                    bell.wake_up(true);
                }
            } else {
                bell.wake_up(false);
            }
        }
        ringing.join().unwrap();
    }
}
