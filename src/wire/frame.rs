//! Frames: a replicated entry, on its way to the replica. A frame is one message:
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | VLSN |
//! | 8 | 1 | entry type |
//! | 9 | 4 | payload length |
//! | 13 | 4 | CRC-32 of the payload alone |
//! | 17 | n | payload, as on disk |

use super::message::{MESSAGE_LEN_MAX, MESSAGE_PREFIX_LEN, message_prefix};
use crate::error::{Error, Result};

/// Length of a frame without its payload.
pub const FRAME_HEADER_LEN: usize = 17;
/// Length of a frame without its payload, plus the message's length field.
pub const FRAME_PREFIX_LEN: usize = MESSAGE_PREFIX_LEN + FRAME_HEADER_LEN;
/// The largest payload that a frame can carry.
pub const FRAME_PAYLOAD_MAX: usize = MESSAGE_LEN_MAX - FRAME_HEADER_LEN;

const _: () = assert!(FRAME_PREFIX_LEN == 21);

/// The bytes before a payload on a byte stream: the message's length and the frame's header. An error if the payload is
/// too large for a message.
#[inline]
pub fn frame_prefix(vlsn: u64, entry_type: u8, payload_len: usize, payload_crc: u32) -> Result<[u8; FRAME_PREFIX_LEN]> {
    if payload_len > FRAME_PAYLOAD_MAX {
        return Err(Error::EntryTooLarge { vlsn, len: payload_len as u64 });
    }
    let len = payload_len as u32;
    let mut prefix = [0; FRAME_PREFIX_LEN];
    prefix[0..4].copy_from_slice(&message_prefix(FRAME_HEADER_LEN + payload_len));
    prefix[4..12].copy_from_slice(&vlsn.to_le_bytes());
    prefix[12] = entry_type;
    prefix[13..17].copy_from_slice(&len.to_le_bytes());
    prefix[17..21].copy_from_slice(&payload_crc.to_le_bytes());
    Ok(prefix)
}

/// A frame, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Its VLSN.
    pub vlsn: u64,
    /// Entry type.
    pub entry_type: u8,
    /// The entry's payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a message (without its length) apart, and checks its lengths and checksum.
    pub fn decode(message: &'a [u8]) -> Result<Frame<'a>> {
        let malformed = |reason: String| Error::Malformed { what: "frame", reason };
        let Some((header, payload)) = message.split_first_chunk::<FRAME_HEADER_LEN>() else {
            return Err(malformed(format!("{} bytes, fewer than its header's {FRAME_HEADER_LEN}", message.len())));
        };
        let [v0, v1, v2, v3, v4, v5, v6, v7, entry_type, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let vlsn = u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]);
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        if len as usize != payload.len() {
            return Err(malformed(format!("VLSN {vlsn} announces {len} bytes of payload and has {}", payload.len())));
        }
        let (stored, computed) = (u32::from_le_bytes([c0, c1, c2, c3]), crc32fast::hash(payload));
        if stored != computed {
            return Err(malformed(format!(
                "the checksum of VLSN {vlsn} fails: stored {stored:08x}, computed {computed:08x}"
            )));
        }
        Ok(Frame { vlsn, entry_type, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_these_bytes() {
        let prefix = frame_prefix(0x0102_0304_0506_0708, 13, 3, 0xaabb_ccdd).unwrap();
        let expected = [20, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 13, 3, 0, 0, 0, 0xdd, 0xcc, 0xbb, 0xaa];
        assert_eq!(prefix, expected);
    }

    #[test]
    fn a_frame_is_read_back_and_every_fault_is_named() {
        let payload = b"payload";
        let mut message = frame_prefix(42, 11, payload.len(), crc32fast::hash(payload)).unwrap()[4..].to_vec();
        message.extend_from_slice(payload);
        assert_eq!(Frame::decode(&message), Ok(Frame { vlsn: 42, entry_type: 11, payload }));
        let text = |message: &[u8]| Frame::decode(message).unwrap_err().to_string();
        assert!(text(&message[..16]).contains("16 bytes"));
        assert!(text(&message[..message.len() - 1]).contains("announces 7 bytes of payload and has 6"));
        message[20] ^= 1;
        assert!(text(&message).contains("the checksum of VLSN 42 fails"));
    }

    #[test]
    fn a_payload_that_no_message_can_carry_is_refused_by_its_vlsn() {
        assert!(frame_prefix(7, 13, FRAME_PAYLOAD_MAX, 0).is_ok());
        let error = frame_prefix(7, 13, FRAME_PAYLOAD_MAX + 1, 0).unwrap_err();
        assert_eq!(error, Error::EntryTooLarge { vlsn: 7, len: FRAME_PAYLOAD_MAX as u64 + 1 });
    }
}
