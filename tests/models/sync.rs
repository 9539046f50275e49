//! Takes the place of `src/sync.rs` in the models: the same names over loom, which tries every order in which the threads
//! can run. It finds a wake-up that is lost as a deadlock.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

pub(crate) use loom::sync::atomic;
pub(crate) use loom::thread;

/// As the standard library's: loom's does not know `const`. Loom's threads are one of the system's, and so need their own.
macro_rules! modelled_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $init:expr };) => {
        loom::thread_local! {
            $(#[$attribute])*
            static $name: $type = $init;
        }
    };
}
pub(crate) use modelled_thread_local as thread_local;

/// Like parking_lot's: no poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { lock: &self.0, held: Some(self.0.lock().expect("no model goes on after a panic")) }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(MutexGuard { lock: &self.0, held: Some(self.0.try_lock().ok()?) })
    }
}

pub(crate) struct MutexGuard<'a, T> {
    lock: &'a loom::sync::Mutex<T>,
    /// `None` only while it waits.
    held: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held but while it waits")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held but while it waits")
    }
}

/// Like parking_lot's. Time is not modelled: a wait with a deadline lets the other threads run, and its deadline has come.
#[derive(Debug, Default)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("held but while it waits");
        guard.held = Some(self.0.wait(held).expect("no model goes on after a panic"));
    }

    pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> WaitTimeoutResult {
        guard.held = None;
        thread::yield_now();
        guard.held = Some(guard.lock.lock().expect("no model goes on after a panic"));
        WaitTimeoutResult
    }

    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) -> WaitTimeoutResult {
        self.wait_until(guard, Instant::now())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// The deadline has come.
pub(crate) struct WaitTimeoutResult;

impl WaitTimeoutResult {
    pub(crate) fn timed_out(&self) -> bool {
        true
    }
}
