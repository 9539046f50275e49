//! Threads of the library: the host's signals are not delivered to them, and their panics print nothing.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Once;

use crate::sync::thread::{Builder, JoinHandle};

thread_local! {
    /// How many calls of the library are on this thread's stack.
    static QUIET: Cell<u32> = const { Cell::new(0) };
    /// Whether this thread could be cancelled before cancellation was held off. `None` while it is not held off.
    static CANCEL_STATE: Cell<Option<libc::c_int>> = const { Cell::new(None) };
}

crate::sync::thread_local! {
    /// The loops that this thread is inside of, each as the address of the object that it shares with the host. There
    /// are several if the host runs a loop from a function that another loop has called.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The properties that the threads of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// The loop that they belong to. A call that the host makes on one of them counts as a call from inside this loop.
    pub inside: usize,
    /// How many bytes the stack of each may grow to.
    pub stack_bytes: usize,
}

/// Starts a thread with all signals blocked, so that the host's handlers run on the host's own threads.
pub fn spawn_quiet(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let blocked = SignalsBlocked::new();
    let builder = Builder::new().name(name.to_owned()).stack_size(stack_bytes);
    let thread = builder.spawn(move || in_library(HoldOff::AtOnce, body));
    drop(blocked);
    thread
}

/// Blocks all signals on this thread while it lives; a thread inherits the mask of the one that makes it.
struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    fn new() -> SignalsBlocked {
        // SAFETY: all-zero bytes are a valid sigset_t, and both sets are valid for writing during the calls.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            SignalsBlocked { before }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the mask is the one that the thread had before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Runs `body`. A panic in it prints nothing, because a library must not write to the host's standard error. Panics
/// elsewhere are reported as before.
fn without_output<T>(body: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() == 0 {
                before(info);
            }
        }));
    });
    QUIET.set(QUIET.get() + 1);
    let _guard = Finally(|| QUIET.set(QUIET.get() - 1));
    body()
}

/// When cancellation of a thread that is in the library is held off. The system unwinds the stack of a thread that is
/// cancelled, and to unwind frames of Rust is an abort. The cancellation stays pending, and takes effect when the
/// host's own code comes to a cancellation point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldOff {
    /// At once.
    AtOnce,
    /// Later, by [`hold_off_cancelling`] before a cancellation point. This is for a call that mostly comes to no such
    /// point: to hold off costs some 25 ns.
    WhenNeeded,
}

/// Runs the body of a call of the host's, or of a thread of the library's: quietly, as [`without_output`] says, and
/// without being cancelled. Within another such call, both hold already.
#[inline]
pub fn in_library<T>(hold_off: HoldOff, body: impl FnOnce() -> T) -> T {
    let is_outermost = QUIET.get() == 0;
    let _guard = Finally(|| {
        if is_outermost && let Some(before) = CANCEL_STATE.take() {
            set_cancel_state(before);
        }
    });
    without_output(|| {
        if hold_off == HoldOff::AtOnce {
            hold_off_cancelling();
        }
        body()
    })
}

/// Holds off cancellation of this thread until it leaves the library, if it is in a call of the host's. To be called
/// before every system call that is a cancellation point, and before every call of the host's functions, which may come
/// to one.
#[inline]
pub fn hold_off_cancelling() {
    if CANCEL_STATE.get().is_none() && QUIET.get() > 0 {
        CANCEL_STATE.set(Some(set_cancel_state(CANCEL_DISABLE)));
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
const CANCEL_DISABLE: libc::c_int = 1;

/// Sets whether this thread can be cancelled. Returns whether it could be before.
#[cfg(all(target_os = "linux", not(miri)))]
fn set_cancel_state(state: libc::c_int) -> libc::c_int {
    // The crate libc does not declare it.
    unsafe extern "C" {
        fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
    }
    let mut before = CANCEL_DISABLE;
    // SAFETY: the signature is that of the C library, and the place is valid for writing. It fails only for numbers
    // that are not a state, and is called with none of these.
    unsafe { pthread_setcancelstate(state, &raw mut before) };
    before
}

/// On other systems, a host must not cancel a thread that is in the library.
#[cfg(not(all(target_os = "linux", not(miri))))]
const CANCEL_DISABLE: libc::c_int = 0;

#[cfg(not(all(target_os = "linux", not(miri))))]
fn set_cancel_state(state: libc::c_int) -> libc::c_int {
    state
}

/// Runs `body`, which is part of a loop or calls the host for it. [`is_inside`] recognises calls that are made from
/// `body`.
pub fn while_inside<T>(link: usize, body: impl FnOnce() -> T) -> T {
    // If the host calls while its thread ends, the thread's own variables are gone already.
    let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(link));
    let _guard = Finally(|| {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
    });
    body()
}

/// Whether the caller is inside that loop.
pub fn is_inside(link: usize) -> bool {
    INSIDE.try_with(|inside| inside.borrow().contains(&link)).unwrap_or(false)
}

/// Does something at the end of a scope, also when a panic passes.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_every_loop_that_is_on_its_stack() {
        assert!(!is_inside(1));
        while_inside(1, || {
            while_inside(2, || assert!(is_inside(1) && is_inside(2)));
            assert!(is_inside(1) && !is_inside(2));
            std::thread::scope(|scope| scope.spawn(|| assert!(!is_inside(1))).join().unwrap());
        });
        let panicked =
            std::panic::catch_unwind(|| while_inside(3, || in_library(HoldOff::AtOnce, || panic!("inside"))));
        assert!(panicked.is_err() && !is_inside(3) && !is_inside(1));
    }
}
