//! Contexts: the pointers that the host gives together with its functions.

use std::ffi::c_void;

use crate::ffi::status::nxf_drop_callback;

/// A context of the host's. It is dropped once, after its last use.
pub(crate) struct Context {
    pointer: *mut c_void,
    drop: nxf_drop_callback,
}

impl Context {
    pub(crate) fn new(pointer: *mut c_void, drop: nxf_drop_callback) -> Context {
        Context { pointer, drop }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

// SAFETY: the header asks the host for contexts that may be used from the library's threads.
unsafe impl Send for Context {}
// SAFETY: as above; the header says which functions are called at the same time with one context.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: the host gave the function for this pointer, and it is called once.
            unsafe { drop(self.pointer) };
        }
    }
}
