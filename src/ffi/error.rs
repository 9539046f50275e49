//! Errors: what went wrong, in words and in facts.

use std::ffi::{CString, c_char};

use super::border::{Out, Owned, give, given};
use super::status::{NXF_OK, nxf_status};
use crate::diagnostics::Replica;
use crate::error::Error;

/// An error: what went wrong. The function that failed makes it, and nothing changes it afterwards, so any number of
/// threads may read it. It belongs to the caller, until nxf_error_free(). The error that an end callback is given
/// belongs to the library, and is valid during the callback. An error does not depend on the handle that the function
/// was called with.
pub struct nxf_error {
    error: Error,
    message: CString,
    replica: CString,
}

impl nxf_error {
    /// Makes the error of a failed call. `replica` is the name of the replica that the call concerned, if any.
    pub(crate) fn new(error: Error, replica: Option<CString>) -> nxf_error {
        let text = match &replica {
            Some(name) => format!("{}: {error}", Replica(&name.to_string_lossy())),
            None => error.to_string(),
        };
        // A NUL can only come from a name that a caller gave.
        let message = CString::new(text.replace('\0', " ")).unwrap_or_default();
        nxf_error { error, message, replica: replica.unwrap_or_default() }
    }

    pub(crate) fn boxed(error: Error, replica: Option<CString>) -> *mut nxf_error {
        give(nxf_error::new(error, replica))
    }

    pub(crate) fn status(&self) -> nxf_status {
        self.error.status()
    }
}

/// The status that the function returned: negative. NXF_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_status(err: *const nxf_error) -> nxf_status {
    given!(err: reference);
    err.map_or(NXF_OK, nxf_error::status)
}

/// What happened, in words, with every fact that is known; one line, never NULL. Valid until the error is freed. ""
/// for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_message(err: *const nxf_error) -> *const c_char {
    given!(err: reference);
    err.map_or(c"".as_ptr(), |err| err.message.as_ptr())
}

/// The name of the replica concerned: that of the runner or tracker that the failed function was called with, or was to
/// make, or that the event with this error is about. Valid until the error is freed. "" if the error concerns no
/// replica, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_replica(err: *const nxf_error) -> *const c_char {
    given!(err: reference);
    err.map_or(c"".as_ptr(), |err| err.replica.as_ptr())
}

/// The operating system's error number (an errno). 0 if there is no such number, and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_errno(err: *const nxf_error) -> i32 {
    given!(err: reference);
    err.and_then(|err| err.error.errno()).unwrap_or(0)
}

/// Writes the number of the log file concerned to *file. False, and nothing written, if the error concerns no file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_file(err: *const nxf_error, file: *mut u32) -> bool {
    given!(err: reference, file: optional_out);
    write_fact(err.and_then(|err| err.error.file()), file)
}

/// Writes the offset in that file, in bytes, to *offset. False, and nothing written, if the error concerns no place in
/// a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_offset(err: *const nxf_error, offset: *mut u64) -> bool {
    given!(err: reference, offset: optional_out);
    write_fact(err.and_then(|err| err.error.offset()), offset)
}

/// Writes the VLSN that is missing, damaged, too large or acknowledged to *vlsn. False, and nothing written, if the
/// error concerns no VLSN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_vlsn(err: *const nxf_error, vlsn: *mut u64) -> bool {
    given!(err: reference, vlsn: optional_out);
    write_fact(err.and_then(|err| err.error.vlsn()), vlsn)
}

/// Whether another attempt may succeed although nothing is repaired, as after a network failure. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_is_retriable(err: *const nxf_error) -> bool {
    given!(err: reference);
    err.is_some_and(|err| err.error.is_retriable())
}

/// Whether only a network restore can help the replica, because the log does not have what it needs next. False for
/// NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_needs_restore(err: *const nxf_error) -> bool {
    given!(err: reference);
    err.is_some_and(|err| err.error.needs_restore())
}

/// Releases an error, and its message with it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_error_free(err: *mut nxf_error) {
    given!(err: owned);
    drop(err.map(Owned::take));
}

/// Writes a fact that is known to its place, if there is one. Returns whether it is known.
fn write_fact<T>(fact: Option<T>, place: Option<Out<'_, T>>) -> bool {
    let is_known = fact.is_some();
    if let (Some(fact), Some(place)) = (fact, place) {
        place.write(fact);
    }
    is_known
}
