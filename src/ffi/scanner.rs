//! Scanners: the entries of a log, in order.

use std::ffi::c_char;

use parking_lot::Mutex;

use super::border::{Handle, Opaque, Owned, free, give, given, guard, null, opaque, with, with_hold_off};
use super::error::nxf_error;
use super::log::{nxf_log, open};
use super::options::nxf_options;
use super::status::{NXF_AGAIN, NXF_OK, nxf_status};
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::log::{Lsn, Next, Now};
use crate::source::{LogSource, Source};
use crate::sys::thread::HoldOff;

/// The LSN to start at for "the first entry that the log has". 0 means the same.
pub const NXF_LSN_FIRST: u64 = u64::MAX;

/// An entry of the log. This struct is final: it never grows.
#[repr(C)]
pub struct nxf_entry {
    /// Its VLSN, 1 or above.
    pub vlsn: u64,
    /// Its position: the file number in the high 32 bits, the offset in bytes in the low 32.
    pub lsn: u64,
    /// Its payload, as it stands on disk. The function that hands out the entry says how long the payload is valid.
    /// NULL only if empty.
    pub payload: *const u8,
    /// The payload's length in bytes.
    pub payload_len: usize,
    /// Its type, as it stands on disk.
    pub entry_type: u8,
}

/// A scanner reads the replicated entries of a log in VLSN order: each once, none left out, all checked. Use it
/// directly with nxf_scanner_next(), or give it to a runner, which takes it over. One thread at a time.
pub struct nxf_scanner(Handle<Mutex<Option<Box<dyn Source>>>>);
opaque!(nxf_scanner, "scanner", Mutex<Option<Box<dyn Source>>>);

impl nxf_scanner {
    pub(crate) fn give(source: Box<dyn Source>) -> *mut nxf_scanner {
        give(nxf_scanner(Handle::new(Mutex::new(Some(source)))))
    }
}

/// Lends the source of a scanner to `body`, which gives it back on failure. On success the scanner is freed.
pub(crate) fn hand_over<T>(
    scanner: Option<Owned<nxf_scanner>>,
    body: impl FnOnce(Box<dyn Source>) -> Result<T, (Box<dyn Source>, Error)>,
) -> Result<T> {
    let scanner = scanner.ok_or(null("scanner"))?;
    let handle = scanner.handle();
    // No run ends with this status, so it tells the caller that the scanner is still the caller's.
    let dead = || Error::WrongState { call: "scanner", reason: "an earlier call failed inside the library" };
    let cell = handle.check().map_err(|error| if error == Error::Forked { error } else { dead() })?;
    let lent = handle.watch(|| {
        failpoint(nxf_scanner::NAME);
        // The lock is not held during the call, which asks a channel of the host's own whether it is open.
        let source = cell.try_lock().ok_or_else(busy)?.take().ok_or_else(busy)?;
        body(source).map_err(|(source, error)| {
            *cell.lock() = Some(source);
            error
        })
    });
    let done = lent.unwrap_or_else(|_| Err(dead()))?;
    drop(scanner.take());
    Ok(done)
}

// A function and not a constant: otherwise the many calls that do not fail would make the error and drop it.
fn busy() -> Error {
    Error::WrongState { call: "scanner", reason: "it is in use" }
}

/// Opens a scanner over the log in env_dir, from the entry at start_lsn on. NXF_LSN_FIRST or 0 means the first entry
/// there is. If the file of start_lsn does not exist yet, the scanner waits for it; if the log has only later files,
/// reading begins with the first of these. nxf_scanner_next() looks at the files, not this function. Reads the options
/// log.*.
///
/// The scanner belongs to the caller, who releases it with nxf_scanner_free() or gives it to a runner. Several scanners
/// over one log share more if nxf_scanner_from_log() makes them. Fails as nxf_log_open() does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_open(
    env_dir: *const c_char,
    start_lsn: u64,
    options: *const nxf_options,
    scanner: *mut *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(env_dir: c_string, options: reference, scanner: out, err: optional_out);
    guard(err, || {
        let place = scanner?;
        place.write(nxf_scanner::give(Box::new(LogSource::new(open(env_dir, options)?, Lsn(start_lsn)))));
        Ok(NXF_OK)
    })
}

/// As nxf_scanner_open(), over a log that is open already, with the options that the log was opened with. The log may
/// be freed before the scanner. Any number of threads may make scanners of one log at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_from_log(
    log: *mut nxf_log,
    start_lsn: u64,
    scanner: *mut *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(log: reference, scanner: out, err: optional_out);
    with(log, err, |log| {
        let place = scanner?;
        let source = LogSource::new(std::sync::Arc::clone(log), Lsn(start_lsn));
        place.write(nxf_scanner::give(Box::new(source)));
        Ok(NXF_OK)
    })
}

/// Returns the next entry whose VLSN is at least from_vlsn, and which this scanner has not returned before. If
/// from_vlsn is 0, the first call returns the lowest VLSN that the log holds without a hole behind it, and later calls
/// the next.
///
/// Reads files, and never waits for the writer: a host that follows the log by itself asks again after a while.
///
/// NXF_OK: *entry is written; its payload is valid until the next call on this scanner. NXF_AGAIN: there is no such
/// entry yet. An error (NXF_E_LOG_...) stays: every further call returns the same, and no entry behind the place it
/// names is returned. The one exception is damage at the log's end that the writer's recovery has cut off since: then
/// reading goes on. NXF_E_NO_MEMORY does not stay: the next call tries again, and nothing is left out.
/// NXF_E_WRONG_STATE: another thread is in this function with this scanner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_next(
    scanner: *mut nxf_scanner,
    from_vlsn: u64,
    entry: *mut nxf_entry,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(scanner: reference, entry: out, err: optional_out);
    // Most entries are in memory already, and then this call does nothing during which the thread could be cancelled.
    with_hold_off(HoldOff::WhenNeeded, scanner, err, |cell| {
        let place = entry?;
        // Held while a source of the host's own is asked. Nobody waits for this lock: all callers only try to take it.
        let mut cell = cell.try_lock().ok_or_else(busy)?;
        let source = cell.as_mut().ok_or_else(busy)?;
        match source.next(from_vlsn, &Now::default())? {
            // Only a source with a budget is ever busy, and this call has given it none.
            Next::Nothing(_) | Next::Busy => Ok(NXF_AGAIN),
            Next::Entry(found) => {
                place.write(nxf_entry {
                    vlsn: found.vlsn,
                    lsn: found.lsn.0,
                    payload: found.payload.as_ptr(),
                    payload_len: found.payload.len(),
                    entry_type: found.entry_type,
                });
                Ok(NXF_OK)
            }
        }
    })
}

/// Releases a scanner that no runner has taken over. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_free(scanner: *mut nxf_scanner) {
    given!(scanner: owned);
    free(scanner, |scanner| scanner.0, |_| None);
}
