//! A replica that is dialled: where, from where on it is fed, and how long to wait before the next attempt.

use std::ffi::CString;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::acks::End;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sys::waker::Waker;

/// A replica that is dialled for as long as the server lives, or the host wants it.
pub(super) struct Dialing {
    /// Its name.
    pub(super) name: CString,
    addresses: Vec<SocketAddr>,
    is_cancelled: AtomicBool,
    progress: Mutex<Progress>,
    /// Who dials.
    waker: OnceLock<Arc<Waker>>,
}

#[derive(Clone, Copy)]
struct Progress {
    /// Where the next stream begins.
    start: u64,
    /// How long to wait before the next attempt.
    pause: Duration,
    /// Which of the addresses is tried next.
    next: usize,
    /// Whether there is a stream.
    is_fed: bool,
}

impl Dialing {
    pub(super) fn new(name: CString, addresses: Vec<SocketAddr>, start: u64) -> Dialing {
        let progress = Progress { start, pause: Duration::ZERO, next: 0, is_fed: false };
        let (is_cancelled, progress) = (AtomicBool::new(false), Mutex::new(progress));
        Dialing { name, addresses, is_cancelled, progress, waker: OnceLock::new() }
    }

    /// Who dials is woken by that.
    pub(super) fn set_waker(&self, waker: Arc<Waker>) {
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// From now on it is not dialled any more.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.wake();
    }

    /// There is a stream: where it begins.
    pub(super) fn note_fed(&self) -> u64 {
        let mut progress = self.progress.lock();
        progress.is_fed = true;
        progress.start
    }

    /// Whether there is a stream.
    pub(super) fn is_fed(&self) -> bool {
        self.progress.lock().is_fed
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    /// The stream has ended, of which so much was acknowledged: the next one begins behind that.
    pub(super) fn note_ended(&self, acked: u64, end: &End) {
        let mut progress = self.progress.lock();
        progress.is_fed = false;
        if acked > 0 {
            progress.start = progress.start.max(acked.saturating_add(1));
            // It was of use: the next attempt does not have to wait for long.
            progress.pause = Duration::ZERO;
        }
        if matches!(end, End::Failed(error) if error.needs_restore()) {
            // Nothing changes that by itself.
            progress.pause = Duration::MAX;
        }
        drop(progress);
        self.wake();
    }

    /// The address to try now; the next time it is another, if there are several.
    pub(super) fn take_next(&self) -> SocketAddr {
        let mut progress = self.progress.lock();
        let at = progress.next % self.addresses.len();
        progress.next = at + 1;
        self.addresses[at]
    }

    /// How long to wait now, between these; the next time it is twice that.
    pub(super) fn take_pause(&self, (least, most): (Duration, Duration)) -> Duration {
        let mut progress = self.progress.lock();
        let pause = progress.pause.max(least).min(most);
        progress.pause = doubled(pause, most);
        pause
    }

    /// The same before the first attempt, and after a stream: not at all, if that was of use.
    pub(super) fn take_first_pause(&self, between: (Duration, Duration)) -> Duration {
        if self.progress.lock().pause.is_zero() { Duration::ZERO } else { self.take_pause(between) }
    }
}

/// How long to wait before a thing that failed is tried again.
pub(super) fn doubled(pause: Duration, most: Duration) -> Duration {
    pause.saturating_mul(2).min(most)
}
