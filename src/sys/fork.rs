//! Notices a fork. The child must not use objects that the parent made, because their threads do not exist in the
//! child.

use std::os::fd::RawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTERED: Once = Once::new();

/// The number of forks between the first process that used this library and this one.
pub fn generation() -> u32 {
    REGISTERED.call_once(|| {
        // Miri has neither forks nor this function.
        if cfg!(miri) {
            return;
        }
        // SAFETY: the handler only adds to an atomic, which is safe in a forked child; the library is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// For a forked child: closes descriptors of the parent's objects, which the child will never touch again. Negative
/// numbers are passed over.
pub fn close_inherited(fds: impl IntoIterator<Item = RawFd>) {
    for fd in fds.into_iter().filter(|&fd| fd >= 0) {
        // SAFETY: no pointers. The objects that own these descriptors are only ever leaked in this process.
        unsafe { libc::close(fd) };
    }
}

/// A descriptor that a forked child of this process has, too, and closes. It is noted while it is open, and taken back
/// before it is closed, so that no child closes what has its number by then.
#[derive(Debug)]
pub struct Inherited(AtomicI32);

impl Default for Inherited {
    fn default() -> Inherited {
        Inherited(AtomicI32::new(-1))
    }
}

impl Inherited {
    /// Notes it; `None` takes it back.
    pub fn set(&self, fd: Option<RawFd>) {
        self.0.store(fd.unwrap_or(-1), Ordering::Release);
    }

    /// What was noted, for a child; negative for nothing.
    pub fn fd(&self) -> RawFd {
        self.0.load(Ordering::Acquire)
    }
}
