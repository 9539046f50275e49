//! Calls: what an export does its work in. No panic leaves it, and an error becomes a status.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::args::{Out, null};
use super::handle::Opaque;
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::ffi::error::nxf_error;
use crate::ffi::status::{NXF_OK, nxf_status};
use crate::sys::thread::{HoldOff, in_library, panic_text};

/// Where a call puts its error, if the caller wants it.
pub(crate) type ErrorPlace<'a> = Option<Out<'a, *mut nxf_error>>;

/// Runs the body of an export that has no handle.
pub(crate) fn guard(err: ErrorPlace<'_>, body: impl FnOnce() -> Result<nxf_status>) -> nxf_status {
    guard_about(|| None, err, body)
}

/// As [`guard`], for an export that concerns a replica. Its errors name the replica.
pub(crate) fn guard_about(
    replica_name: impl FnOnce() -> Option<CString>,
    err: ErrorPlace<'_>,
    body: impl FnOnce() -> Result<nxf_status>,
) -> nxf_status {
    let result = in_library(HoldOff::AtOnce, || {
        catch_unwind(AssertUnwindSafe(|| {
            failpoint("call");
            body()
        }))
    });
    report(err, result.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(&*panic)))), replica_name)
}

/// Runs the body of an export on a handle. A panic makes the handle unusable.
pub(crate) fn with<T: Opaque>(
    opaque: Option<&T>,
    err: ErrorPlace<'_>,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    with_hold_off(HoldOff::AtOnce, opaque, err, body)
}

/// As [`with`], with `hold_off` to say when the thread's cancellation is held off.
#[inline]
pub(crate) fn with_hold_off<T: Opaque>(
    hold_off: HoldOff,
    opaque: Option<&T>,
    err: ErrorPlace<'_>,
    body: impl FnOnce(&T::Value) -> Result<nxf_status>,
) -> nxf_status {
    let Some(opaque) = opaque else {
        return report(err, Err(null(T::NAME).into()), || None);
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
    report(err, result, || T::replica_name(handle.value()))
}

/// Asks a handle something that no error can come of: for NULL, after a fork and after a panic, the answer is
/// `otherwise`.
pub(crate) fn ask<T: Opaque, R>(opaque: Option<&T>, otherwise: R, question: impl FnOnce(&T::Value) -> R) -> R {
    let mut answer = otherwise;
    with(opaque, None, |value| {
        answer = question(value);
        Ok(NXF_OK)
    });
    answer
}

fn report(
    err: ErrorPlace<'_>,
    result: Result<nxf_status>,
    replica_name: impl FnOnce() -> Option<CString>,
) -> nxf_status {
    match result {
        Ok(status) => status,
        Err(error) => {
            let code = error.status();
            // A positive status is no error: there is nothing to describe.
            if code < NXF_OK
                && let Some(place) = err
            {
                // In a forked child, the lock that guards the name may be held for ever.
                let replica_name = if error == Error::Forked { None } else { replica_name() };
                place.write(nxf_error::boxed(error, replica_name));
            }
            code
        }
    }
}
