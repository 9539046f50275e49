//! The bytes of the protocol: for hosts that write the other end, and for tests.

use super::border::{given, guard, items, null};
use super::error::nxf_error;
use super::scanner::nxf_entry;
use super::status::{NXF_OK, nxf_status};
use crate::error::Error;
use crate::wire::ack::ack_vlsn;
use crate::wire::frame::{FRAME_HEADER_LEN, Frame, frame_prefix};
use crate::wire::message::MESSAGE_PREFIX_LEN;

/// Length in bytes of a frame without its payload.
pub const NXF_FRAME_HEADER_LEN: usize = 17;
/// Length in bytes of an acknowledgement.
pub const NXF_ACK_LEN: usize = 8;

const _: () = assert!(NXF_FRAME_HEADER_LEN == FRAME_HEADER_LEN);

/// Writes the frame of an entry to buf, and its length to *len: NXF_FRAME_HEADER_LEN bytes and the payload. Reads vlsn,
/// entry_type and payload of the entry. The frame is the message that nxf_channel_send() takes; on a byte stream the
/// message's length goes before it, 4 bytes, little-endian. NXF_E_BUFFER_TOO_SMALL: *len says how many bytes are
/// needed; buf may be NULL if capacity is 0. NXF_E_ENTRY_TOO_LARGE: no frame can hold the entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_frame_encode(
    entry: *const nxf_entry,
    buf: *mut u8,
    capacity: usize,
    len: *mut usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(entry: reference, buf[capacity]: buffer, len: out, err: optional_out);
    guard(err, || {
        let place = len?;
        let entry = entry.ok_or(null("entry"))?;
        if entry.vlsn == 0 {
            return Err(Error::invalid("entry", "has VLSN 0, which means none"));
        }
        // SAFETY: an entry has as many bytes of payload as it says, and its caller has lent it for this call.
        let payload = unsafe { items(entry.payload, entry.payload_len, "payload")? };
        let prefix = frame_prefix(entry.vlsn, entry.entry_type, payload.len(), crc32fast::hash(payload))?;
        let header = &prefix[MESSAGE_PREFIX_LEN..];
        let needed = header.len() + payload.len();
        let into = buf?;
        place.write(needed);
        let Some(room) = into.get_mut(..needed) else {
            return Err(Error::BufferTooSmall { capacity, needed });
        };
        room[..header.len()].copy_from_slice(header);
        room[header.len()..].copy_from_slice(payload);
        Ok(NXF_OK)
    })
}

/// Takes a frame apart and checks its lengths and its checksum. The payload of *entry points into the message, and is
/// valid for as long as the message; the entry's lsn is 0. NXF_E_PROTOCOL: the message is no frame, and the error's
/// text says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_frame_decode(
    message: *const u8,
    len: usize,
    entry: *mut nxf_entry,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(message[len]: items, entry: out, err: optional_out);
    guard(err, || {
        let place = entry?;
        let frame = Frame::decode(message?)?;
        place.write(nxf_entry {
            vlsn: frame.vlsn,
            lsn: 0,
            payload: frame.payload.as_ptr(),
            payload_len: frame.payload.len(),
            entry_type: frame.entry_type,
        });
        Ok(NXF_OK)
    })
}

/// Writes the acknowledgement of a VLSN to buf: NXF_ACK_LEN bytes. NXF_E_BUFFER_TOO_SMALL: capacity is less.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_ack_encode(
    vlsn: u64,
    buf: *mut u8,
    capacity: usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(buf[capacity]: buffer, err: optional_out);
    guard(err, || {
        let Some(room) = buf?.first_chunk_mut::<NXF_ACK_LEN>() else {
            return Err(Error::BufferTooSmall { capacity, needed: NXF_ACK_LEN });
        };
        *room = vlsn.to_le_bytes();
        Ok(NXF_OK)
    })
}

/// Reads the VLSN of an acknowledgement. Bytes behind the first NXF_ACK_LEN are ignored. NXF_E_PROTOCOL: the message is
/// shorter. The protocol says that such a message is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_ack_decode(
    message: *const u8,
    len: usize,
    vlsn: *mut u64,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(message[len]: items, vlsn: out, err: optional_out);
    guard(err, || {
        let place = vlsn?;
        let reason = || format!("{len} bytes, fewer than {NXF_ACK_LEN}");
        place.write(ack_vlsn(message?).ok_or_else(|| Error::Malformed { what: "ack", reason: reason() })?);
        Ok(NXF_OK)
    })
}
