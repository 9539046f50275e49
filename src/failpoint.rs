//! Places where a test can make the library panic, or can run code of its own, as another thread might just then. There
//! is no other way to test either: known panics are repaired, and another thread comes between two given instructions
//! once in a million times.
//!
//! The panics exist only with the feature `failpoints`, which is for `c-tests/tests/panic.c`. No build of the package
//! has that feature, so no package has the places or the export. Only this crate's unit tests can run code of their
//! own.

/// A place with a name. Nothing happens there unless a test has asked for it.
#[inline(always)]
pub(crate) fn failpoint(name: &str) {
    #[cfg(test)]
    hooks::reach(name);
    #[cfg(feature = "failpoints")]
    armed::reach(name);
    #[cfg(not(any(test, feature = "failpoints")))]
    let _ = name;
}

#[cfg(test)]
pub(crate) mod hooks {
    use std::cell::RefCell;

    type Hook = (&'static str, Box<dyn FnOnce()>);

    thread_local! {
        static NEXT: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Runs `hook` once, when this thread comes to the failpoint of this name.
    pub(crate) fn run_at(name: &'static str, hook: impl FnOnce() + 'static) {
        NEXT.set(Some((name, Box::new(hook))));
    }

    /// Whether a hook is still to run.
    pub(crate) fn is_to_come() -> bool {
        NEXT.with_borrow(Option::is_some)
    }

    pub(super) fn reach(name: &str) {
        let hook = NEXT.with_borrow_mut(|next| next.take_if(|(at, _)| *at == name));
        if let Some((_, hook)) = hook {
            hook();
        }
    }
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::ffi::{CStr, c_char};

    use parking_lot::Mutex;

    static NEXT: Mutex<Option<String>> = Mutex::new(None);

    /// Panics once, if a test has asked for it.
    pub(super) fn reach(name: &str) {
        let asked = NEXT.lock().take_if(|next| next == name).is_some();
        assert!(!asked, "forced at the failpoint {name}");
    }

    /// Makes the next call that comes to the failpoint of this name panic there. NULL: no call.
    ///
    /// # Safety
    /// `name` is NULL or a string.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn nxf_fail_at(name: *const c_char) {
        // SAFETY: promised by the caller.
        let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
        *NEXT.lock() = name;
    }

    /// Whether the panic that a test has asked for is still to come.
    #[unsafe(no_mangle)]
    pub(super) extern "C" fn nxf_fail_is_to_come() -> bool {
        NEXT.lock().is_some()
    }
}
