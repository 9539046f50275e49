//! REP_SYNCUP: where the histories of a replica and its master agree. One message for each step, of one byte that says
//! its kind, and a body. Bytes behind the body are ignored.
//!
//! | kind | direction | body | meaning |
//! | ---: | --- | --- | --- |
//! | 1 | replica to feeder | VLSN (i64) | do you have this entry? |
//! | 2 | feeder to replica | record | yes, this |
//! | 3 | feeder to replica | | it is not held |
//! | 4 | feeder to replica | record | it is not held; this is my last sync point |
//! | 5 | replica to feeder | VLSN (i64) | agreed; the end |
//! | 6 | replica to feeder | VLSN (i64) | there is no common point |
//! | 7 | feeder to replica | | seen; the end |
//!
//! A record is `[VLSN: i64][LSN: u64][fingerprint: u64][is a sync point: u8]`.

use super::Fault;
use super::request::{append_message, number};

/// Length of a record.
pub const RECORD_LEN: usize = 25;

/// What one side says of an entry that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its VLSN.
    pub vlsn: i64,
    /// Where it stands in the log of the side that says it. It means nothing to the other.
    pub lsn: u64,
    /// See [`fingerprint`].
    pub fingerprint: u64,
    /// See [`is_sync_point`].
    pub is_sync_point: bool,
}

/// By what two entries of one VLSN are held to be the same: the CRC-32 of the payload, and the type.
pub const fn fingerprint(payload_crc: u32, entry_type: u8) -> u64 {
    payload_crc as u64 ^ entry_type as u64
}

/// Whether two histories can be cut behind an entry of this type: a commit, an abort, a matchpoint.
pub const fn is_sync_point(entry_type: u8) -> bool {
    matches!(entry_type, 30 | 31 | 61)
}

/// A step of the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Do you have this entry?
    EntryRequest {
        /// Whatever the replica sends: 0 and below are no entry's.
        vlsn: i64,
    },
    /// Yes, this.
    Entry(Record),
    /// It is not held.
    EntryNotFound,
    /// It is not held, and this is the last sync point.
    AlternateMatchpoint(Record),
    /// Agreed: the stream is to begin here.
    StartStream {
        /// The VLSN after the point that is common.
        vlsn: i64,
    },
    /// There is no common point.
    RestoreRequest {
        /// Where the search ended; real replicas send -1.
        vlsn: i64,
    },
    /// The request to restore was seen.
    RestoreResponse,
}

const ENTRY_REQUEST: u8 = 1;
const ENTRY: u8 = 2;
const ENTRY_NOT_FOUND: u8 = 3;
const ALTERNATE_MATCHPOINT: u8 = 4;
const START_STREAM: u8 = 5;
const RESTORE_REQUEST: u8 = 6;
const RESTORE_RESPONSE: u8 = 7;

impl Message {
    /// Takes a message (without its length) apart, whichever direction it belongs to.
    pub fn decode(message: &[u8]) -> Result<Message, Fault> {
        let Some((&kind, body)) = message.split_first() else { return Err(Fault::Empty("a kind of message")) };
        let vlsn = |name| number(name, body).map(i64::from_le_bytes);
        Ok(match kind {
            ENTRY_REQUEST => Message::EntryRequest { vlsn: vlsn("EntryRequest")? },
            ENTRY => Message::Entry(Record::decode("Entry", body)?),
            ENTRY_NOT_FOUND => Message::EntryNotFound,
            ALTERNATE_MATCHPOINT => Message::AlternateMatchpoint(Record::decode("AlternateMatchpoint", body)?),
            START_STREAM => Message::StartStream { vlsn: vlsn("StartStream")? },
            RESTORE_REQUEST => Message::RestoreRequest { vlsn: vlsn("RestoreRequest")? },
            RESTORE_RESPONSE => Message::RestoreResponse,
            kind => return Err(Fault::Kind { kind, expected: "1 to 7" }),
        })
    }

    /// Appends the message, with its length.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; 1 + RECORD_LEN];
        let (kind, body) = bytes.split_at_mut(1);
        kind[0] = self.kind();
        let len = match self {
            Message::EntryRequest { vlsn } | Message::StartStream { vlsn } | Message::RestoreRequest { vlsn } => {
                body[..8].copy_from_slice(&vlsn.to_le_bytes());
                8
            }
            Message::Entry(record) | Message::AlternateMatchpoint(record) => {
                body.copy_from_slice(&record.encode());
                RECORD_LEN
            }
            Message::EntryNotFound | Message::RestoreResponse => 0,
        };
        append_message(out, &bytes[..1 + len]);
    }

    /// The byte that says which message it is.
    pub const fn kind(&self) -> u8 {
        match self {
            Message::EntryRequest { .. } => ENTRY_REQUEST,
            Message::Entry(_) => ENTRY,
            Message::EntryNotFound => ENTRY_NOT_FOUND,
            Message::AlternateMatchpoint(_) => ALTERNATE_MATCHPOINT,
            Message::StartStream { .. } => START_STREAM,
            Message::RestoreRequest { .. } => RESTORE_REQUEST,
            Message::RestoreResponse => RESTORE_RESPONSE,
        }
    }
}

impl Record {
    fn encode(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..8].copy_from_slice(&self.vlsn.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes[24] = u8::from(self.is_sync_point);
        bytes
    }

    fn decode(message: &'static str, body: &[u8]) -> Result<Record, Fault> {
        let short = Fault::Short { message, len: body.len(), needed: RECORD_LEN };
        let bytes = body.first_chunk::<RECORD_LEN>().ok_or(short)?;
        Ok(Record {
            vlsn: i64::from_le_bytes(number(message, &bytes[..8])?),
            lsn: u64::from_le_bytes(number(message, &bytes[8..])?),
            fingerprint: u64::from_le_bytes(number(message, &bytes[16..])?),
            is_sync_point: bytes[24] != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record =
        Record { vlsn: 0x0102, lsn: 0x0a0b_0000_0024, fingerprint: 0xaabb_ccdd, is_sync_point: true };

    #[test]
    fn each_message_has_these_bytes_and_is_read_back() {
        let record = [2, 1, 0, 0, 0, 0, 0, 0, 0x24, 0, 0, 0, 0x0b, 0x0a, 0, 0, 0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0, 1];
        let minus_one = [0xff; 8];
        let cases: [(Message, u8, &[u8]); 7] = [
            (Message::EntryRequest { vlsn: 7 }, 1, &[7, 0, 0, 0, 0, 0, 0, 0]),
            (Message::Entry(RECORD), 2, &record),
            (Message::EntryNotFound, 3, &[]),
            (Message::AlternateMatchpoint(RECORD), 4, &record),
            (Message::StartStream { vlsn: 258 }, 5, &[2, 1, 0, 0, 0, 0, 0, 0]),
            (Message::RestoreRequest { vlsn: -1 }, 6, &minus_one),
            (Message::RestoreResponse, 7, &[]),
        ];
        for (message, kind, body) in cases {
            let mut out = Vec::new();
            message.append_to(&mut out);
            let expected = [&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat();
            assert_eq!(out, expected, "{message:?}");
            assert_eq!(message.kind(), kind);
            assert_eq!(Message::decode(&out[4..]), Ok(message));
            assert_eq!(Message::decode(&[&out[4..], b"what is too much is ignored"].concat()), Ok(message));
            for short in 1..=body.len() {
                let fault = Message::decode(&out[4..4 + short]).unwrap_err();
                assert!(matches!(fault, Fault::Short { len, .. } if len == short - 1), "{message:?}: {fault}");
            }
        }
    }

    #[test]
    fn what_is_no_message_is_a_fault_that_names_it() {
        assert_eq!(Message::decode(&[]), Err(Fault::Empty("a kind of message")));
        for kind in (0..=u8::MAX).filter(|kind| !(1..=7).contains(kind)) {
            assert_eq!(Message::decode(&[kind; 26]), Err(Fault::Kind { kind, expected: "1 to 7" }));
        }
    }

    #[test]
    fn a_fingerprint_is_of_payload_and_type_and_three_types_are_sync_points() {
        assert_eq!(fingerprint(0xffff_ff00, 13), 0xffff_ff0d);
        let points: Vec<u8> = (0..=u8::MAX).filter(|&entry_type| is_sync_point(entry_type)).collect();
        assert_eq!(points, [30, 31, 61]);
    }
}
