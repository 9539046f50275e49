//! Takes the place of `src/sys/signal_fd.rs` in the models: a signal for which a thread waits without the system.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, PoisonError};

use crate::sync::{Condvar, Mutex};

/// The signals that live, by descriptor. No model waits for this lock, which is held for no step of a model.
static SIGNALS: std::sync::Mutex<BTreeMap<RawFd, Arc<State>>> = std::sync::Mutex::new(BTreeMap::new());

/// Like the kernel's, its operations happen one after the other.
#[derive(Debug, Default)]
struct State {
    is_up: Mutex<bool>,
    changed: Condvar,
}

/// As the real one.
#[derive(Debug)]
pub struct SignalFd {
    state: Arc<State>,
    /// Only its number is used: it stands for the signal.
    descriptor: OwnedFd,
}

impl SignalFd {
    /// A signal that is down.
    pub fn new() -> io::Result<SignalFd> {
        let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
        let state = Arc::new(State::default());
        let mut signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
        signals.insert(descriptor.as_raw_fd(), Arc::clone(&state));
        Ok(SignalFd { state, descriptor })
    }

    /// Makes the descriptor readable.
    pub fn raise(&self) {
        *self.state.is_up.lock() = true;
        self.state.changed.notify_all();
    }

    /// Makes the descriptor unreadable.
    pub fn lower(&self) {
        *self.state.is_up.lock() = false;
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        let mut signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
        signals.remove(&self.descriptor.as_raw_fd());
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn state_of(fd: RawFd) -> Arc<State> {
    let signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(signals.get(&fd).expect("the descriptor of a signal"))
}

/// What `poll` does: sleeps until the descriptor is readable.
pub fn sleep_on(fd: RawFd) {
    let state = state_of(fd);
    let mut is_up = state.is_up.lock();
    while !*is_up {
        state.changed.wait(&mut is_up);
    }
}

/// Whether the descriptor is readable.
pub fn is_readable(fd: RawFd) -> bool {
    *state_of(fd).is_up.lock()
}
