//! Locks, condition variables, atomics and threads, for the code that synchronises threads with each other.
//!
//! In the models (`tests/models/`) another file takes the place of this one: loom's, which tries every order in which the
//! threads can run. Code whose order matters takes these from here, so that it can be modelled.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::atomic;
pub(crate) use std::{thread, thread_local};
