//! The bell: its state and its descriptor.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use noxu_feeder_models::sys::bell::Bell;
use noxu_feeder_models::sys::signal_fd::{is_readable, sleep_on};

use super::in_every_order;

fn fd_of(bell: &Bell) -> RawFd {
    bell.fd().as_raw_fd()
}

/// Sleeps as a loop does, unless the bell was rung.
fn sleep(bell: &Bell) {
    if bell.fall_asleep() {
        sleep_on(fd_of(bell));
        assert!(bell.wake_up(true));
    } else {
        assert!(bell.wake_up(false));
    }
}

fn rings(bell: &Arc<Bell>, written: &Arc<AtomicU32>, times: u32) -> thread::JoinHandle<()> {
    let (bell, written) = (Arc::clone(bell), Arc::clone(written));
    thread::spawn(move || {
        for _ in 0..times {
            written.fetch_add(1, Ordering::Relaxed);
            bell.ring();
        }
    })
}

/// Each ring stands for something that was written before it: the loop sees it, and never sleeps on.
fn every_ring_is_heard(preemptions: Option<usize>, ringers: &'static [u32]) {
    in_every_order(preemptions, || {
        let bell = Arc::new(Bell::new().unwrap());
        let written = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = ringers.iter().map(|&times| rings(&bell, &written, times)).collect();
        let all = ringers.iter().sum();
        while written.load(Ordering::Relaxed) < all {
            sleep(&bell);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn every_ring_of_one_thread_is_heard() {
    every_ring_is_heard(None, &[2]);
}

#[test]
fn every_ring_of_two_threads_is_heard() {
    every_ring_is_heard(Some(3), &[1, 1]);
}

/// A loop that wakes for another reason, while somebody rings, finds every later sleep as long as any.
#[test]
fn a_ring_ends_one_sleep_at_most_after_the_loop_woke_for_another_reason() {
    in_every_order(None, || {
        let bell = Arc::new(Bell::new().unwrap());
        let ringing = rings(&bell, &Arc::new(AtomicU32::new(0)), 1);
        let mut heard = 0;
        for _ in 0..2 {
            let is_asleep = bell.fall_asleep();
            heard += u32::from(bell.wake_up(is_asleep && is_readable(fd_of(&bell))));
        }
        ringing.join().unwrap();
        while !bell.fall_asleep() || is_readable(fd_of(&bell)) {
            heard += u32::from(bell.wake_up(is_readable(fd_of(&bell))));
            assert!(heard <= 2, "it is heard by its state, and once more by its descriptor if that is raised later");
        }
        assert!(heard >= 1, "the ring is lost");
    });
}
