//! Notices a fork. The child must not use objects that the parent made, because their threads do not exist in the
//! child.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

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
pub fn close_inherited(fds: impl IntoIterator<Item = std::os::fd::RawFd>) {
    for fd in fds.into_iter().filter(|&fd| fd >= 0) {
        // SAFETY: no pointers. The objects that own these descriptors are only ever leaked in this process.
        unsafe { libc::close(fd) };
    }
}
