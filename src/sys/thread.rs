//! Threads of the library: no signals of the host's are delivered to them, and their panics print nothing.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Once;
use std::thread::JoinHandle;

thread_local! {
    /// How many calls of the library are on this thread's stack.
    static QUIET: Cell<u32> = const { Cell::new(0) };
    /// The loops that this thread is inside of, each as the address of what it shares with the host. More than one where
    /// the host runs one from a function that another has called.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// What the threads of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// The loop that they belong to, so that what the host calls on them is known for a call from inside it.
    pub inside: usize,
    /// How large the stack of each may grow.
    pub stack_bytes: usize,
}

/// Starts a thread with all signals blocked, so that the host's handlers run on the host's own threads.
pub fn spawn_quiet(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let blocked = SignalsBlocked::new();
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes);
    let thread = builder.spawn(move || without_output(body));
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

/// Runs `body`; a panic in it prints nothing, as a library must not write to the host's standard error. The panics
/// of others are reported as before.
pub fn without_output<T>(body: impl FnOnce() -> T) -> T {
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

/// Runs `body`, which is part of a loop or calls the host for it, with calls from inside it recognisable as such.
pub fn while_inside<T>(link: usize, body: impl FnOnce() -> T) -> T {
    // Where the host calls while its thread ends, what the thread had is gone already.
    let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(link));
    let _guard = Finally(|| {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
    });
    body()
}

/// Whether this is called from inside that loop.
pub fn is_inside(link: usize) -> bool {
    INSIDE.try_with(|inside| inside.borrow().contains(&link)).unwrap_or(false)
}

/// Does something at the end, also when a panic passes.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a panic said.
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
        let panicked = std::panic::catch_unwind(|| while_inside(3, || without_output(|| panic!("inside"))));
        assert!(panicked.is_err() && !is_inside(3) && !is_inside(1));
    }
}
