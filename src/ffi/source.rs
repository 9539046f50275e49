//! Sources of the host's own: entries that do not come from a log, by callbacks.

use std::ffi::c_void;

use super::border::{Context, Growing, given, guard, items, null};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::scanner::{nxf_entry, nxf_scanner};
use super::status::{NXF_AGAIN, NXF_OK, described, nxf_drop_callback, nxf_status};
use crate::error::{Error, Result};
use crate::source::host::{Supplied, SuppliedSource, Supply};
use crate::sys::thread::hold_off_cancelling;

/// A source of the host's own, which returns entries. All functions get the context, and are called one at a time, on
/// the thread that drives the runner or calls nxf_scanner_next(). They must neither wait nor throw. They may call the
/// library, but must not free the scanner. A call that would wait for the scanner's runner is refused with
/// NXF_E_INSIDE_CALLBACK. The scanner is in use meanwhile, and a call with it is NXF_E_WRONG_STATE. Zero the struct
/// before you fill it: members may be added at its end.
#[repr(C)]
pub struct nxf_source_vtable {
    /// sizeof(nxf_source_vtable).
    pub struct_size: usize,
    /// Needed. Writes the next entry whose VLSN is at least from_vlsn to *entry and returns NXF_OK; from_vlsn 0 asks
    /// for the lowest there is. Returns NXF_AGAIN if there is no such entry yet; the host then calls
    /// nxf_runner_notify() when there is one. Any other status ends the run with NXF_E_CALLBACK. The payload must stay
    /// valid until release is called or, if release is NULL, until the next call.
    pub next: Option<unsafe extern "C" fn(context: *mut c_void, from_vlsn: u64, entry: *mut nxf_entry) -> nxf_status>,
    /// May be NULL. Says that the entry's payload is not used any more. Called once for every entry, before the next
    /// entry is asked for or the source is dropped.
    pub release: Option<unsafe extern "C" fn(context: *mut c_void, entry: *const nxf_entry)>,
    /// May be NULL. Releases the context, after the last call.
    pub drop: nxf_drop_callback,
}

// SAFETY: a struct as C has them, of functions that may be NULL, behind its size.
unsafe impl Growing for nxf_source_vtable {
    const LEAST: usize = std::mem::offset_of!(nxf_source_vtable, release);
}

struct HostSource {
    vtable: nxf_source_vtable,
    /// The entry that the host has lent and was not given back yet.
    lent: Option<nxf_entry>,
    context: Context,
}

// SAFETY: the header asks the host for a context and payloads that may be used from the library's thread.
unsafe impl Send for HostSource {}

impl HostSource {
    fn release(&mut self) {
        if let (Some(entry), Some(release)) = (self.lent.take(), self.vtable.release) {
            // SAFETY: the host gave the function for this context, and lent this entry.
            unsafe { release(self.context.pointer(), &raw const entry) };
        }
    }
}

impl Supply for HostSource {
    fn supply(&mut self, from_vlsn: u64) -> Result<Option<Supplied<'_>>> {
        hold_off_cancelling();
        self.release();
        let next = self.vtable.next.ok_or(null("vtable"))?;
        let mut entry = nxf_entry { vlsn: 0, lsn: 0, payload: std::ptr::null(), payload_len: 0, entry_type: 0 };
        // SAFETY: the host gave the function for this context, and the entry is valid for writing.
        match unsafe { next(self.context.pointer(), from_vlsn, &raw mut entry) } {
            NXF_OK => {}
            NXF_AGAIN => return Ok(None),
            status => return Err(Error::Callback { function: "next", answer: described(status) }),
        }
        let entry = self.lent.insert(entry);
        // SAFETY: the header asks the host for a payload that stays valid until it is released.
        let payload = unsafe { items(entry.payload, entry.payload_len, "payload")? };
        Ok(Some(Supplied { vlsn: entry.vlsn, lsn: entry.lsn, entry_type: entry.entry_type, payload }))
    }
}

impl Drop for HostSource {
    fn drop(&mut self) {
        self.release();
    }
}

/// Makes a scanner over a source of the host's own. Each VLSN must be one more than the one before, as in a log, unless
/// the option source.order says "rising". A VLSN that is missing is NXF_E_LOG_GAP, and a VLSN below the one asked for
/// is NXF_E_CALLBACK. Reads the options source.*. The vtable is copied. On NXF_OK the context belongs to the scanner,
/// until drop; on an error it stays the caller's. The scanner belongs to the caller, who releases it with
/// nxf_scanner_free() or gives it to a runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_from_callbacks(
    vtable: *const nxf_source_vtable,
    context: *mut c_void,
    options: *const nxf_options,
    scanner: *mut *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(vtable: sized, options: reference, scanner: out, err: optional_out);
    guard(err, || {
        let place = scanner?;
        let vtable = vtable?;
        if vtable.next.is_none() {
            return Err(Error::invalid("vtable", "its member next is NULL"));
        }
        let is_dense = copied(options)?.source_is_dense();
        let context = Context::new(context, vtable.drop);
        let source = SuppliedSource::new(HostSource { vtable, lent: None, context }, is_dense);
        place.write(nxf_scanner::give(Box::new(source)));
        Ok(NXF_OK)
    })
}
