//! Every quirk of the operating system, in one place: waiting, waking, directories and watching them, sockets, forking.
//!
//! Descriptors made here are close-on-exec. No module here knows of logs, frames or replicas.

pub mod bell;
pub mod directory;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
pub mod epoll;
pub mod fork;
pub mod poll;
#[cfg_attr(loom, path = "../../tests/models/signal_fd.rs")]
pub mod signal_fd;
pub mod socket;
pub mod thread;
pub mod waker;
pub mod watch;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Moves a descriptor that was just made away from the numbers of standard input, output and error. If the host has
/// closed one of these, the system gives its number to the next descriptor, and text that somebody prints would end up
/// there: in the stream to a replica, for example.
pub fn off_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    // SAFETY: no pointers; the descriptor is owned and so open.
    let moved = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(moved) })
}

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
