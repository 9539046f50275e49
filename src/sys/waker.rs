//! Wakers: a bell that many ring, and whose loop knows who has.
//!
//! Each waker stands for one thing that the loop may have to look at: a session, a log, its inbox. To wake the loop for one
//! of a thousand gives none of the others anything to do.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use super::bell::Bell;
use crate::failpoint::failpoint;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a loop and its wakers share: the bell, and for what it was rung.
#[derive(Debug)]
pub struct Wakeups {
    bell: Bell,
    /// The tokens of wakers that were used and not heard yet, each once.
    called: Mutex<Vec<u64>>,
    /// How often the loop went to sleep.
    sleeps: AtomicU64,
}

/// No token: the loop does not know this waker.
const UNKNOWN: u64 = u64::MAX;

/// Wakes one loop for one thing. Any number of threads.
#[derive(Debug)]
pub struct Waker {
    wakeups: Arc<Wakeups>,
    /// Whether the loop has still to hear of the last use.
    is_called: AtomicBool,
    /// What it stands for. Changed with the list locked.
    token: AtomicU64,
}

impl Wakeups {
    /// Nobody has called yet.
    pub fn new() -> io::Result<Arc<Wakeups>> {
        let bell = Bell::new()?;
        Ok(Arc::new(Wakeups { bell, called: Mutex::default(), sleeps: AtomicU64::new(0) }))
    }

    /// A waker that the loop does not know yet. What it is used for until then is heard when the loop does.
    pub fn waker(self: &Arc<Wakeups>) -> Waker {
        Waker { wakeups: Arc::clone(self), is_called: AtomicBool::new(false), token: AtomicU64::new(UNKNOWN) }
    }

    /// Puts the tokens of those who have called into `tokens`, which is empty. For each of them the loop says
    /// [`Waker::hear`], and looks only then at what it stands for.
    pub fn take(&self, tokens: &mut Vec<u64>) {
        debug_assert!(tokens.is_empty(), "what was taken before must have been heard");
        std::mem::swap(&mut *self.called.lock(), tokens);
    }

    /// The bell, for the loop.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The bell's descriptor, to be closed in a forked child.
    pub fn inherited_fd(&self) -> RawFd {
        self.bell.fd().as_raw_fd()
    }

    /// Notes that the loop goes to sleep.
    pub fn note_sleep(&self) {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the loop went to sleep.
    pub fn sleeps(&self) -> u64 {
        self.sleeps.load(Ordering::Relaxed)
    }
}

impl Waker {
    /// Has the loop look at what this stands for. Never blocks for longer than the loop takes to swap a list, and makes no
    /// system call while the loop is awake or has not heard the last call yet.
    pub fn wake(&self) {
        // What was written before a call is seen by the loop that hears it: a call that finds another unheard is part of that.
        if self.is_called.swap(true, Ordering::AcqRel) {
            return;
        }
        failpoint("wake");
        let mut called = self.wakeups.called.lock();
        let token = self.token.load(Ordering::Relaxed);
        if token == UNKNOWN {
            return;
        }
        called.push(token);
        drop(called);
        self.wakeups.bell.ring();
    }

    /// From now on the loop knows this waker by `token`, and hears what it was used for before.
    pub fn introduce(&self, token: u64) {
        debug_assert_ne!(token, UNKNOWN);
        let mut called = self.wakeups.called.lock();
        self.token.store(token, Ordering::Relaxed);
        // Who calls just now, and has yet to lock the list, finds the token: that is heard twice.
        if self.is_called.load(Ordering::Acquire) {
            called.push(token);
            drop(called);
            self.wakeups.bell.ring();
        }
    }

    /// The loop hears the call: the next one is another.
    pub fn hear(&self) {
        self.is_called.swap(false, Ordering::AcqRel);
    }

    /// The loop is done with what this stands for, and is not woken for it any more.
    pub fn retire(&self) {
        let _called = self.wakeups.called.lock();
        self.token.store(UNKNOWN, Ordering::Relaxed);
    }

    /// What it has in common with the loop's other wakers.
    pub fn wakeups(&self) -> &Arc<Wakeups> {
        &self.wakeups
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::failpoint::hooks;
    use crate::sys::poll::{Interest, wait_for};

    fn introduced(wakeups: &Arc<Wakeups>, token: u64) -> Waker {
        let waker = wakeups.waker();
        waker.introduce(token);
        waker
    }

    /// What was called for since this was asked last.
    fn taken(wakeups: &Wakeups) -> Vec<u64> {
        wakeups.bell.wake_up(false);
        let mut tokens = Vec::new();
        wakeups.take(&mut tokens);
        tokens
    }

    fn is_readable(wakeups: &Wakeups) -> bool {
        let read = Interest { read: true, write: false };
        wait_for(wakeups.inherited_fd(), read, Some(Instant::now())).unwrap()
    }

    #[test]
    fn a_loop_hears_who_has_called_and_of_each_once() {
        let wakeups = Wakeups::new().unwrap();
        let [one, two, three] = [1, 2, 3].map(|token| introduced(&wakeups, token));
        assert_eq!(taken(&wakeups), [0_u64; 0]);
        two.wake();
        one.wake();
        two.wake();
        assert!(!wakeups.bell.fall_asleep(), "it has to look first");
        assert_eq!(taken(&wakeups), [2, 1]);
        two.hear();
        for waker in [&one, &two, &three] {
            waker.wake();
        }
        assert_eq!(taken(&wakeups), [2, 3], "what was not heard yet is not called for again");
    }

    #[test]
    fn a_sleeping_loop_is_woken_by_the_first_call_that_it_has_not_heard() {
        let wakeups = Wakeups::new().unwrap();
        let waker = introduced(&wakeups, 7);
        for _ in 0..3 {
            assert!(wakeups.bell.fall_asleep());
            waker.wake();
            assert!(is_readable(&wakeups));
            assert!(wakeups.bell.wake_up(true));
            waker.wake();
            assert!(wakeups.bell.fall_asleep() && !is_readable(&wakeups), "it is in the list already");
            assert_eq!(taken(&wakeups), [7]);
            waker.hear();
        }
    }

    #[test]
    fn what_was_called_for_before_the_loop_knew_it_is_heard_and_afterwards_nothing_is() {
        let wakeups = Wakeups::new().unwrap();
        let waker = wakeups.waker();
        waker.wake();
        waker.wake();
        assert_eq!(taken(&wakeups), [0_u64; 0]);
        waker.introduce(5);
        assert!(!wakeups.bell.fall_asleep());
        assert_eq!(taken(&wakeups), [5]);
        waker.hear();
        waker.retire();
        waker.wake();
        assert!(wakeups.bell.fall_asleep());
        assert_eq!(taken(&wakeups), [0_u64; 0]);
    }

    /// The loop comes to know it between a caller's two steps.
    #[test]
    fn a_call_while_the_loop_comes_to_know_it_is_heard() {
        let wakeups = Wakeups::new().unwrap();
        let waker = Arc::new(wakeups.waker());
        let known = Arc::clone(&waker);
        hooks::run_at("wake", move || known.introduce(5));
        waker.wake();
        assert!(!hooks::is_to_come());
        assert!(!wakeups.bell.fall_asleep());
        assert!(taken(&wakeups).contains(&5));
    }

    /// Each call stands for something that was written before it: of many threads' calls none is lost, although most of
    /// them find another that was not heard yet.
    #[test]
    fn no_call_is_lost() {
        const CALLS: u32 = 10_000;
        let wakeups = Wakeups::new().unwrap();
        let wakers = [0, 1].map(|token| Arc::new(introduced(&wakeups, token)));
        let written = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let calling: Vec<_> = [0, 0, 1, 1]
            .map(|at: usize| {
                let (waker, written) = (Arc::clone(&wakers[at]), Arc::clone(&written));
                std::thread::spawn(move || {
                    for _ in 0..CALLS {
                        written[at].fetch_add(1, Ordering::Relaxed);
                        waker.wake();
                    }
                })
            })
            .into();
        let read = Interest { read: true, write: false };
        let (mut seen, mut tokens) = ([0, 0], Vec::new());
        while seen != [2 * CALLS; 2] {
            if wakeups.bell.fall_asleep() {
                let patience = Some(Instant::now() + Duration::from_secs(60));
                assert!(wait_for(wakeups.inherited_fd(), read, patience).unwrap(), "asleep at {seen:?}");
                wakeups.bell.wake_up(true);
            } else {
                wakeups.bell.wake_up(false);
            }
            wakeups.take(&mut tokens);
            for token in tokens.drain(..) {
                let at = usize::try_from(token).unwrap();
                wakers[at].hear();
                seen[at] = written[at].load(Ordering::Relaxed);
            }
        }
        calling.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
