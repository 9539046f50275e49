//! Sources of the host's own: entries from elsewhere than a log, by callbacks.

use std::ffi::c_void;

use super::border::{Context, bytes, guard, null, out, sized};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::scanner::{nxf_entry, nxf_scanner};
use super::status::{NXF_AGAIN, NXF_OK, nxf_drop_callback, nxf_status};
use crate::error::{Error, Result};
use crate::log::supplied::{Supplied, SuppliedSource, Supply};
use crate::sys::thread::hold_off_cancelling;

/// A source of entries of the host's own. All functions get the context, and are called one at a time, on the thread
/// that drives the runner or calls nxf_scanner_next(). They must neither wait nor throw. They may call back in, but not
/// free the scanner: what would wait for the runner that has it is refused with NXF_E_INSIDE_CALLBACK, and the scanner
/// is in use, which is NXF_E_WRONG_STATE. To be zeroed before it is filled, as members may be added at its end.
#[repr(C)]
pub struct nxf_source_vtable {
    /// sizeof(nxf_source_vtable).
    pub struct_size: usize,
    /// Needed. Writes the next entry whose VLSN is at least from_vlsn to *entry (from_vlsn 0: the lowest there is) and
    /// returns NXF_OK; or NXF_AGAIN: none yet, and nxf_runner_notify() will be called when there is. Any other status
    /// ends the run with NXF_E_CALLBACK. The payload must stay valid until release, or, without one, until the next
    /// call.
    pub next: Option<unsafe extern "C" fn(context: *mut c_void, from_vlsn: u64, entry: *mut nxf_entry) -> nxf_status>,
    /// May be NULL. The entry's payload is not used any more. Called once for every entry, before the next one is
    /// asked for or the source is dropped.
    pub release: Option<unsafe extern "C" fn(context: *mut c_void, entry: *const nxf_entry)>,
    /// May be NULL. Releases the context, after the last call.
    pub drop: nxf_drop_callback,
}

struct HostSource {
    vtable: nxf_source_vtable,
    /// What the host has lent and not been given back.
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
        let next = self.vtable.next.ok_or_else(|| null("vtable"))?;
        let mut entry = nxf_entry { vlsn: 0, lsn: 0, payload: std::ptr::null(), payload_len: 0, entry_type: 0 };
        // SAFETY: the host gave the function for this context, and the entry is valid for writing.
        match unsafe { next(self.context.pointer(), from_vlsn, &raw mut entry) } {
            NXF_OK => {}
            NXF_AGAIN => return Ok(None),
            status => return Err(Error::Callback { function: "next", status }),
        }
        let entry = self.lent.insert(entry);
        // SAFETY: the header asks the host for a payload that stays valid until it is released.
        let payload = unsafe { bytes(entry.payload, entry.payload_len, "payload")? };
        Ok(Some(Supplied { vlsn: entry.vlsn, lsn: entry.lsn, entry_type: entry.entry_type, payload }))
    }
}

impl Drop for HostSource {
    fn drop(&mut self) {
        self.release();
    }
}

/// Makes a scanner over a source of the host's own. Its VLSNs are held to the same rule as a log's, that each is one
/// more than the one before, unless the option source.order says "rising": one that is missing is NXF_E_LOG_GAP, and
/// one below what was asked for NXF_E_CALLBACK. Reads the options source.*. The vtable is copied. On NXF_OK the
/// context is the scanner's, until drop; on an error it stays the caller's. To be released with nxf_scanner_free(), or
/// to be given to a runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_scanner_from_callbacks(
    vtable: *const nxf_source_vtable,
    context: *mut c_void,
    options: *const nxf_options,
    scanner: *mut *mut nxf_scanner,
    err: *mut *mut nxf_error,
) -> nxf_status {
    // SAFETY: the pointers are NULL or valid, as the header says; zeros are valid for all that the vtable has.
    unsafe {
        guard(err, || {
            let place = out(scanner, "scanner")?;
            let least = std::mem::offset_of!(nxf_source_vtable, release);
            let vtable = sized(vtable, "vtable", least)?;
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
}
