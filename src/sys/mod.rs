//! Every quirk of the operating system, in one place: waiting, waking, watching directories, sockets, forking.
//!
//! Descriptors made here are close-on-exec. Nothing here knows of logs, frames or replicas.

pub mod bell;
pub mod fork;
pub mod poll;
pub mod signal_fd;
pub mod socket;
pub mod thread;
pub mod watch;

use std::io;

/// The result of a system call that reports failure as -1.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
