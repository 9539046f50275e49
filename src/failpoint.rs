//! Places where a test can have the library panic, to see what becomes of it, or have code of its own run, to see what
//! becomes of what another thread does just then. There is no other way: what is known to panic is repaired, and what
//! happens between two instructions happens once in a million times.
//!
//! The panics are only there with the feature `failpoints`, which is for `c-tests/tests/panic.c`: no build of the package
//! has it, and so neither the places nor the export. Code of their own is for this crate's unit tests.

/// A place with a name. Nothing happens there, unless a test has asked for it.
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

    /// Has `hook` run when this thread comes to the failpoint of this name, once.
    pub(crate) fn run_at(name: &'static str, hook: impl FnOnce() + 'static) {
        NEXT.set(Some((name, Box::new(hook))));
    }

    /// Whether what was to run at a failpoint is still to come.
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

    /// Panics if a test has asked for it, once.
    pub(super) fn reach(name: &str) {
        let asked = NEXT.lock().take_if(|next| next == name).is_some();
        assert!(!asked, "forced at the failpoint {name}");
    }

    /// Has the next call that comes to the failpoint of this name panic there; NULL: none.
    ///
    /// # Safety
    /// `name` is NULL or a string.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn nxf_fail_at(name: *const c_char) {
        // SAFETY: promised by the caller.
        let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
        *NEXT.lock() = name;
    }

    /// Whether the panic that was asked for is still to come.
    #[unsafe(no_mangle)]
    pub(super) extern "C" fn nxf_fail_is_to_come() -> bool {
        NEXT.lock().is_some()
    }
}
