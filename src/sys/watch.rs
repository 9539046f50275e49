//! Notices changes in a directory: by inotify on Linux.
//!
//! A watch is armed for one event only, by a reader that is about to sleep. So a writer pays only for the notification
//! of its first write after a reader fell asleep.

use std::io;
use std::os::fd::BorrowedFd;

use super::directory::HeldDirectory;

// Miri has no inotify, and ends a program that asks for it. It reads logs unnotified.

/// A watch on one directory, for any number of sleepers.
#[derive(Debug)]
pub struct Watch {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    inotify: std::os::fd::OwnedFd,
}

/// What the user can do about a watch that was refused, where the system's own words mislead.
pub fn advice(refused: &io::Error) -> &'static str {
    match refused.raw_os_error() {
        Some(libc::ENOSPC) => " (this user's inotify watches are used up: fs.inotify.max_user_watches)",
        Some(libc::EMFILE) => " (this user's inotify instances are used up, or this process's descriptors)",
        _ => "",
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
impl Watch {
    /// A watch on no directory yet. An error where the system has none left to give.
    pub fn new() -> io::Result<Watch> {
        use std::os::fd::FromRawFd;
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = super::check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let inotify = super::off_standard(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })?;
        Ok(Watch { inotify })
    }

    /// Arms the watch: the next change in the directory makes the descriptor ready. Arming twice is the same as arming
    /// once. An error if the system has no watch left to give, or does not let this directory be watched.
    pub fn arm(&self, directory: &HeldDirectory) -> io::Result<()> {
        use std::io::Write;
        use std::os::fd::{AsFd, AsRawFd};
        const CHANGES: u32 = libc::IN_MODIFY
            | libc::IN_CREATE
            | libc::IN_DELETE
            | libc::IN_MOVED_FROM
            | libc::IN_MOVED_TO
            | libc::IN_ATTRIB
            | libc::IN_DELETE_SELF
            | libc::IN_MOVE_SELF;
        let mask = CHANGES | libc::IN_ONESHOT | libc::IN_ONLYDIR;
        // A watch is asked for by path, and the directory's own path may lead elsewhere by now. So the path goes
        // through the descriptor.
        let mut path = [0; 32];
        write!(&mut path[..31], "/proc/self/fd/{}", directory.as_fd().as_raw_fd())?;
        // SAFETY: the path is NUL-terminated, since its last byte was not written to, and outlives the call.
        super::check(unsafe { libc::inotify_add_watch(self.inotify.as_raw_fd(), path.as_ptr().cast(), mask) })?;
        Ok(())
    }

    /// Takes the events that have come. Says whether there were any. A watch that is armed for one event makes two, and
    /// there is room for more. Events that are left over make the descriptor ready again.
    pub fn take(&self) -> bool {
        use std::os::fd::AsRawFd;
        let mut events = [0u8; 4096];
        let read = super::retry(|| {
            // SAFETY: the buffer is valid for its length during the call, and the descriptor does not block.
            let read = unsafe { libc::read(self.inotify.as_raw_fd(), events.as_mut_ptr().cast(), events.len()) };
            usize::try_from(read).map_err(|_| io::Error::last_os_error())
        });
        read.is_ok_and(|read| read > 0)
    }

    /// The descriptor to poll for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.inotify.as_fd()
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
impl Watch {
    /// This system has no watches.
    pub fn new() -> io::Result<Watch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called: there is no watch.
    pub fn arm(&self, _: &HeldDirectory) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called: there is no watch.
    pub fn take(&self) -> bool {
        false
    }

    /// Never called: there is no watch.
    pub fn fd(&self) -> BorrowedFd<'_> {
        unreachable!("a watch cannot be made on this system")
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android"), not(miri)))]
mod tests {
    use super::*;
    use crate::sys::poll::{Interest, wait_for};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    fn is_ready(watch: &Watch, patience: Duration) -> bool {
        let read = Interest { read: true, write: false };
        wait_for(watch.fd().as_raw_fd(), read, Some(Instant::now() + patience)).unwrap()
    }

    #[test]
    fn an_armed_watch_notices_one_change_and_then_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(dir.path().join("00000000.ndb")).unwrap();
        let held = HeldDirectory::open(dir.path()).unwrap();
        let watch = Watch::new().unwrap();
        watch.arm(&held).unwrap();
        file.write_all(b"x").unwrap();
        assert!(is_ready(&watch, Duration::from_secs(10)));
        assert!(watch.take());
        file.write_all(b"y").unwrap();
        assert!(!is_ready(&watch, Duration::ZERO), "one event disarms it");
        watch.arm(&held).unwrap();
        std::fs::File::create(dir.path().join("00000001.ndb")).unwrap();
        assert!(is_ready(&watch, Duration::from_secs(10)));
    }

    #[test]
    fn it_watches_the_directory_that_is_held_and_not_what_its_path_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("moved"));
        std::fs::create_dir(&path).unwrap();
        let held = HeldDirectory::open(&path).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        std::fs::create_dir(&path).unwrap();
        let watch = Watch::new().unwrap();
        watch.arm(&held).unwrap();
        std::fs::File::create(path.join("00000000.ndb")).unwrap();
        assert!(!is_ready(&watch, Duration::ZERO));
        std::fs::File::create(moved.join("00000000.ndb")).unwrap();
        assert!(is_ready(&watch, Duration::from_secs(10)));
    }
}
