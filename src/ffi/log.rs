//! Logs: the directories that are read.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::sync::Arc;

use super::border::{Given, Handle, free, give, given, guard, opaque, with};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::status::{NXF_AGAIN, NXF_OK, nxf_status};
use crate::error::Result;
use crate::log::{Log, Lsn};

/// A log directory, open for reading: nothing in it is created, written or locked. Any number of scanners and runners
/// share a log that was opened once. They keep what they need of it when it is freed.
pub struct nxf_log(Handle<Arc<Log>>);
opaque!(nxf_log, "log", Arc<Log>);

/// Opens the log directory `env_dir`.
pub(crate) fn open(env_dir: Given<&CStr>, options: Option<&nxf_options>) -> Result<Arc<Log>> {
    use std::os::unix::ffi::OsStrExt;
    let (env_dir, options) = (env_dir?, copied(options)?);
    let path = Path::new(std::ffi::OsStr::from_bytes(env_dir.to_bytes()));
    Log::open(path, options.scanner(), options.logger)
}

/// Opens the log in the directory env_dir, the environment of a Noxu database. The directory must exist, and may be
/// empty: files are looked for when something is read. A path is bytes, and need not be UTF-8. Reads the options log.*.
/// The log belongs to the caller, who releases it with nxf_log_free().
///
/// NXF_E_LOG_IO: the directory does not exist, or cannot be opened.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_log_open(
    env_dir: *const c_char,
    options: *const nxf_options,
    log: *mut *mut nxf_log,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(env_dir: c_string, options: reference, log: out, err: optional_out);
    guard(err, || {
        let place = log?;
        place.write(give(nxf_log(Handle::new(open(env_dir, options)?))));
        Ok(NXF_OK)
    })
}

/// Tells the runners of this log that the host has appended to it: they look again. Where the system notifies of
/// changes in directories, this call is never needed: it only makes them look some microseconds sooner. Any thread,
/// cheap, never blocks. Fails only for NULL and after a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_log_notify(log: *const nxf_log) -> nxf_status {
    given!(log: reference);
    with(log, None, |log| {
        log.notify();
        Ok(NXF_OK)
    })
}

/// From now on, every scanner and runner of this log reads only entries that begin below this LSN. This is for a host
/// that wants replicas to have only what is durable on the master. UINT64_MAX lifts the limit, and is the default.
/// Entries that were read already are not called back. Any thread, cheap, never blocks. Fails only for NULL and after a
/// fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_log_set_send_limit(log: *const nxf_log, lsn: u64) -> nxf_status {
    given!(log: reference);
    with(log, None, |log| {
        log.set_send_limit(Lsn(lsn));
        Ok(NXF_OK)
    })
}

/// Writes the lowest VLSN that the log holds without a hole behind it, and the highest VLSN up to which the log is
/// complete. Both are of this moment: the log grows. From then on the statistics of this log's runners count the lag up
/// to that highest VLSN. Reads files at the beginning and at the end of the log, and nothing in between. Any thread.
///
/// NXF_OK: both are written. NXF_AGAIN, and nothing written: the log has no replicated entry yet. An error: the one
/// that a scanner would find there, such as NXF_E_LOG_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_log_vlsn_range(
    log: *const nxf_log,
    first: *mut u64,
    last: *mut u64,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(log: reference, first: out, last: out, err: optional_out);
    with(log, err, |log| {
        let (place_first, place_last) = (first?, last?);
        let Some((first, last)) = log.vlsn_range()? else {
            return Ok(NXF_AGAIN);
        };
        log.note_vlsn(last);
        place_first.write(first);
        place_last.write(last);
        Ok(NXF_OK)
    })
}

/// Releases a log. No other thread may be using it. Scanners and runners that read it go on. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_log_free(log: *mut nxf_log) {
    given!(log: owned);
    free(log, |log| log.0, |log| log.inherited_fds());
}
