//! Calls: what an export does its work in. No panic leaves it, and an error becomes a status.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::args::null;
use super::handle::Opaque;
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::ffi::error::nxf_error;
use crate::ffi::status::{NXF_OK, nxf_status};
use crate::sys::thread::{HoldOff, in_library, panic_text};

/// Runs the body of an export that has no handle.
///
/// # Safety
/// `err` is NULL or valid for writing.
pub(crate) unsafe fn guard(err: *mut *mut nxf_error, body: impl FnOnce() -> Result<nxf_status>) -> nxf_status {
    // SAFETY: promised by the caller.
    unsafe { guard_about(|| None, err, body) }
}

/// As [`guard`], for an export that concerns a replica. Its errors name the replica.
///
/// # Safety
/// As for [`guard`].
pub(crate) unsafe fn guard_about(
    replica_name: impl FnOnce() -> Option<CString>,
    err: *mut *mut nxf_error,
    body: impl FnOnce() -> Result<nxf_status>,
) -> nxf_status {
    let result = in_library(HoldOff::AtOnce, || {
        catch_unwind(AssertUnwindSafe(|| {
            failpoint("call");
            body()
        }))
    });
    let result = result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic))));
    // SAFETY: promised by the caller.
    unsafe { report(err, result, replica_name) }
}

/// Runs the body of an export on a handle. A panic makes the handle unusable.
///
/// # Safety
/// `pointer` is NULL or a live handle of its type, and stays so during the call; `err` is NULL or valid for writing.
pub(crate) unsafe fn with<T: Opaque>(
    pointer: *const T,
    err: *mut *mut nxf_error,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    // SAFETY: promised by the caller.
    unsafe { with_hold_off(HoldOff::AtOnce, pointer, err, body) }
}

/// As [`with`], with `hold_off` to say when the thread's cancellation is held off.
///
/// # Safety
/// As for [`with`].
#[inline]
pub(crate) unsafe fn with_hold_off<T: Opaque>(
    hold_off: HoldOff,
    pointer: *const T,
    err: *mut *mut nxf_error,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    // SAFETY: promised by the caller.
    let Some(opaque) = (unsafe { pointer.as_ref() }) else {
        // SAFETY: promised by the caller.
        return unsafe { report(err, Err(null(T::NAME)), || None) };
    };
    let handle = opaque.handle();
    let result = match handle.check() {
        Ok(value) => in_library(hold_off, || {
            handle.watch(|| {
                failpoint(T::NAME);
                body(value)
            })
        })
        .unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic)))),
        Err(error) => Err(error),
    };
    // SAFETY: promised by the caller. The handle is used again only to describe an error, and a body that frees the
    // handle returns no error.
    unsafe { report(err, result, || T::replica_name(handle.value())) }
}

/// # Safety
/// `err` is NULL or valid for writing.
unsafe fn report(
    err: *mut *mut nxf_error,
    result: Result<nxf_status>,
    replica_name: impl FnOnce() -> Option<CString>,
) -> nxf_status {
    match result {
        Ok(status) => status,
        Err(error) => {
            let code = error.status();
            // A positive status is no error: there is nothing to describe.
            if code < NXF_OK && !err.is_null() {
                // In a forked child, the lock that guards the name may be held for ever.
                let replica_name = if error == Error::Forked { None } else { replica_name() };
                // SAFETY: not NULL, and so valid for writing.
                unsafe { err.write(nxf_error::boxed(error, replica_name)) };
            }
            code
        }
    }
}
