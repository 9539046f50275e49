//! Places where a test can have the library panic, to see what becomes of it. There is no other way: what is known to
//! panic is repaired.
//!
//! Only with the feature `failpoints`, which is for `c-tests/tests/panic.c`: no build of the package has it, and so
//! neither the places nor the export.

#[cfg(feature = "failpoints")]
pub(crate) use armed::failpoint;

/// Does nothing: the feature is off.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn failpoint(_: &str) {}

#[cfg(feature = "failpoints")]
mod armed {
    use std::ffi::{CStr, c_char};

    use parking_lot::Mutex;

    static NEXT: Mutex<Option<String>> = Mutex::new(None);

    /// Panics if a test has asked for it, once.
    pub(crate) fn failpoint(name: &str) {
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
