//! Threads of the library: no signals of the host's are delivered to them, and their panics print nothing.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::sync::Once;
use std::thread::JoinHandle;

thread_local! {
    /// How many calls of the library are on this thread's stack.
    static QUIET: Cell<u32> = const { Cell::new(0) };
    /// The loop that runs on this thread, as the address of what it shares with the host; 0 for none.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Starts a thread with all signals blocked, so that the host's handlers run on the host's own threads.
pub fn spawn_quiet(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let blocked = SignalsBlocked::new();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || without_output(body));
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
    let _guard = Restore { cell: &QUIET, before: QUIET.replace(QUIET.get() + 1) };
    body()
}

/// Runs a loop's `body`, with calls from inside it recognisable as such.
pub fn while_inside<T>(link: usize, body: impl FnOnce() -> T) -> T {
    let _guard = Restore { cell: &INSIDE, before: INSIDE.replace(link) };
    body()
}

/// Whether this is called from inside that loop.
pub fn is_inside(link: usize) -> bool {
    INSIDE.get() == link
}

/// Sets a thread's cell back, also when a panic passes.
struct Restore<T: Copy + 'static> {
    cell: &'static std::thread::LocalKey<Cell<T>>,
    before: T,
}

impl<T: Copy + 'static> Drop for Restore<T> {
    fn drop(&mut self) {
        self.cell.set(self.before);
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
