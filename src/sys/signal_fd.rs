//! A descriptor that is readable while a signal is up: an eventfd on Linux, a pipe elsewhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{check, off_standard};

/// See the module's comment.
#[derive(Debug)]
pub struct SignalFd {
    read: OwnedFd,
    /// The pipe's other end. An eventfd has no other end.
    write: Option<OwnedFd>,
}

impl SignalFd {
    /// A signal that is down.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn new() -> io::Result<SignalFd> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let read = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(SignalFd { read: off_standard(read)?, write: None })
    }

    /// A signal that is down.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub fn new() -> io::Result<SignalFd> {
        let mut fds = [0; 2];
        // SAFETY: the array has room for the two descriptors that the call writes.
        check(unsafe { libc::pipe(fds.as_mut_ptr()) })?;
        // SAFETY: both descriptors were just made and nobody else owns them.
        let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
        for end in [&read, &write] {
            super::socket::set_nonblocking(end.as_fd())?;
            super::socket::set_close_on_exec(end.as_fd())?;
        }
        Ok(SignalFd { read: off_standard(read)?, write: Some(off_standard(write)?) })
    }

    /// Makes the descriptor readable. Never blocks: a full counter or pipe is readable already.
    pub fn raise(&self) {
        let one = 1u64.to_ne_bytes();
        let fd = self.write.as_ref().unwrap_or(&self.read).as_raw_fd();
        loop {
            // SAFETY: `one` is valid for its length during the call.
            let written = unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
            if written >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }

    /// Makes the descriptor unreadable.
    pub fn lower(&self) {
        let mut sink = [0u8; 512];
        loop {
            // SAFETY: `sink` is valid for its length during the call, and the descriptor does not block.
            let read = unsafe { libc::read(self.read.as_raw_fd(), sink.as_mut_ptr().cast(), sink.len()) };
            let interrupted = read < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            // An eventfd is emptied by one read; a pipe, when a read does not fill the buffer.
            if !interrupted && read < 512 {
                return;
            }
        }
    }

    /// Takes the descriptors out.
    pub fn into_fds(self) -> (OwnedFd, Option<OwnedFd>) {
        (self.read, self.write)
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sys::poll::{Interest, wait_for};

    fn is_readable(signal: &SignalFd) -> bool {
        wait_for(signal.as_fd().as_raw_fd(), Interest { read: true, write: false }, Some(Instant::now())).unwrap()
    }

    #[test]
    fn the_descriptor_is_readable_from_the_first_raise_to_the_next_lower() {
        let signal = SignalFd::new().unwrap();
        assert!(!is_readable(&signal));
        signal.lower();
        assert!(!is_readable(&signal), "to lower what is down neither blocks nor does anything");
        // More than a pipe holds, and more than one read takes.
        for raises in [1, 2, 64, 65, 20_000] {
            (0..raises).for_each(|_| signal.raise());
            assert!(is_readable(&signal), "{raises}");
            signal.lower();
            assert!(!is_readable(&signal), "one lower takes back {raises} raises");
        }
    }

    #[test]
    fn the_descriptors_are_for_this_process_alone() {
        let (read, write) = SignalFd::new().unwrap().into_fds();
        for fd in [Some(read), write].into_iter().flatten() {
            // SAFETY: no pointers; the descriptor is open.
            let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
            assert!(fd.as_raw_fd() > libc::STDERR_FILENO);
        }
    }
}
