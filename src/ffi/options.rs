//! Options.

use std::ffi::c_char;

use parking_lot::Mutex;

use super::border::{Handle, Opaque, free, give, guard, opaque, out, string, with};
use super::error::nxf_error;
use super::status::{NXF_OK, nxf_status};
use crate::error::Result;
use crate::options::Options;

/// A set of options, as keys and values. Whoever is given options copies them: they can be changed and freed at any
/// time. Where options are asked for, NULL means the defaults. docs/options.md has every key.
pub struct nxf_options(Handle<Mutex<Options>>);
opaque!(nxf_options, "options", Mutex<Options>);

/// The options behind the pointer, or the defaults.
///
/// # Safety
/// `options` is NULL or a live handle.
pub(crate) unsafe fn copied(options: *const nxf_options) -> Result<Options> {
    // SAFETY: promised by the caller.
    match unsafe { options.as_ref() } {
        Some(options) => Ok(options.handle().check()?.lock().clone()),
        None => Ok(Options::default()),
    }
}

/// Makes a set of options, all at their defaults. To be released with nxf_options_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_new(options: *mut *mut nxf_options, err: *mut *mut nxf_error) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        guard(err, || {
            out(options, "options")?.write(give(nxf_options(Handle::new(Mutex::new(Options::default())))));
            Ok(NXF_OK)
        })
    }
}

/// Sets the option of this key. NXF_E_INVALID_OPTION, with the allowed keys or values in the message and nothing
/// changed, if there is no such option or it does not take this value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_set(
    options: *mut nxf_options,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says.
    unsafe {
        with(options, err, |options| {
            options.lock().set(string(key, "key")?, string(value, "value")?)?;
            Ok(NXF_OK)
        })
    }
}

/// Releases a set of options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_options_free(options: *mut nxf_options) {
    // SAFETY: NULL or a handle that belongs to the caller.
    unsafe { free(options, |options| options.0) };
}
