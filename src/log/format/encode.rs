//! Writes what the rest of this folder reads: for tests and tools that make logs.

use super::file::FileHeader;
use super::layout::{FILE_HEADER_LEN_V3, FLAG_VLSN, MAGIC};
use crate::log::checksum::Checksummer;

impl FileHeader {
    /// The header's bytes, as a writer would put them down (creation time 0).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER_LEN_V3);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&self.file_number.to_be_bytes());
        out.extend_from_slice(&self.last_entry_in_previous.to_be_bytes());
        if self.version == 3 {
            let crc = crc32fast::hash(&out);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        out
    }
}

/// Appends a whole entry to `out`.
pub fn encode_entry(out: &mut Vec<u8>, entry_type: u8, flags: u8, prev_offset: u32, vlsn: Option<i64>, payload: &[u8]) {
    let begin = out.len();
    let flags = if vlsn.is_some() { flags | FLAG_VLSN } else { flags };
    let item_size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[entry_type, flags]);
    out.extend_from_slice(&prev_offset.to_le_bytes());
    out.extend_from_slice(&item_size.to_le_bytes());
    if let Some(vlsn) = vlsn {
        out.extend_from_slice(&vlsn.to_le_bytes());
    }
    let header_len = out.len() - begin;
    out.extend_from_slice(payload);
    let crc = Checksummer::default().of(&out[begin..], header_len).entry;
    out[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
}
