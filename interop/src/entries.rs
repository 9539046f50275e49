//! What goes into a made log: entries that follow from a seed and a VLSN alone.
//!
//! The same seed gives the same entry at the same VLSN, so a writer that was killed goes on with the same
//! history, and one with another seed writes a different one. Records are well-formed for the real
//! replica: transactional and plain inserts, updates and deletes, and commits whose DTVLSN is their own
//! VLSN, which is what the real master writes.

use bytes::BytesMut;
use clap::Args;
use noxu_log::LogEntryType;
use noxu_log::entry::{LnLogEntry, TxnEndEntry};
use noxu_recovery::{CheckpointEnd, CheckpointStart};
use noxu_util::{NULL_LSN, NULL_VLSN, vlsn::Vlsn};

use crate::sizes::PayloadSize;

/// The database that all records belong to: the first one that a real environment creates.
pub const DATABASE_ID: u64 = 1;

/// The size from which a payload is a decodable record; a smaller one is plain bytes.
const SMALLEST_RECORD: usize = RECORD_FRAME + KEY_LEN;
/// Flags, database, transaction, and the lengths of data and key.
const RECORD_FRAME: usize = 1 + 8 + 8 + 4 + 4;
const KEY_LEN: usize = 8;
/// Entries without a VLSN vary in size, so that skipping one is not always the same step.
const PLAIN_SIZE: PayloadSize = PayloadSize::between(16, 255);
/// 2026-01-01, so that commit times do not make two runs differ.
const FIRST_COMMIT_MS: u64 = 1_767_225_600_000;

/// The mix of entries in a made log.
#[derive(Debug, Clone, Args)]
pub struct EntryMix {
    /// Payload of a replicated record: bytes, or a range such as 100..2000
    #[arg(long, default_value = "256", value_name = "BYTES")]
    pub payload: PayloadSize,
    /// Write one entry that has no VLSN after every K replicated ones; 0: none
    #[arg(long, default_value_t = 10, value_name = "K")]
    pub untagged_every: u64,
    /// Make every K-th replicated entry a commit (37 bytes of payload); 0: none
    #[arg(long, default_value_t = 16, value_name = "K")]
    pub commit_every: u64,
    /// Seed of the entries' content
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
}

/// One entry, ready to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeEntry {
    /// Its type.
    pub entry_type: LogEntryType,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl EntryMix {
    /// The replicated entry at this VLSN.
    pub fn replicated(&self, vlsn: u64) -> MadeEntry {
        let mut random = Random::new(self.seed, vlsn);
        match vlsn.checked_rem(self.commit_every) {
            Some(0) => commit(vlsn, self.transaction_of(vlsn)),
            _ => self.record(vlsn, &mut random),
        }
    }

    /// The entry without a VLSN that follows this VLSN, if one does.
    pub fn untagged_after(&self, vlsn: u64) -> Option<MadeEntry> {
        if vlsn.checked_rem(self.untagged_every) != Some(0) {
            return None;
        }
        let turn = vlsn / self.untagged_every;
        let mut random = Random::new(!self.seed, vlsn);
        Some(match turn % 5 {
            0 => plain(LogEntryType::Trace, &mut random),
            1 => plain(LogEntryType::BIN, &mut random),
            2 => checkpoint_start(turn),
            3 => plain(LogEntryType::IN, &mut random),
            _ => checkpoint_end(turn),
        })
    }

    /// A transaction is all the records up to and including the next commit.
    fn transaction_of(&self, vlsn: u64) -> i64 {
        let number = vlsn.checked_sub(1).and_then(|before| before.checked_div(self.commit_every));
        i64::try_from(number.unwrap_or(0)).unwrap_or(i64::MAX - 1) + 1
    }

    fn record(&self, vlsn: u64, random: &mut Random) -> MadeEntry {
        let size = self.payload.pick(random.next());
        // Without commits, a transaction would never end.
        let kinds = if self.commit_every == 0 { &PLAIN[..] } else { &ALL[..] };
        let entry_type = pick(kinds, vlsn);
        if size < SMALLEST_RECORD {
            return MadeEntry { entry_type, payload: random.bytes(size) };
        }
        let transaction = entry_type.is_transactional().then(|| self.transaction_of(vlsn));
        let frame = if transaction.is_some() { RECORD_FRAME } else { RECORD_FRAME - 8 };
        let (key, data) = match entry_type {
            // A delete has no data: the key takes all the room.
            LogEntryType::DeleteLN | LogEntryType::DeleteLNTxn => (random.bytes(size - frame), None),
            _ => (vlsn.to_be_bytes().to_vec(), Some(random.bytes(size - frame - KEY_LEN))),
        };
        MadeEntry { entry_type, payload: record_payload(transaction, key, data) }
    }
}

const PLAIN: [LogEntryType; 3] = [LogEntryType::InsertLN, LogEntryType::UpdateLN, LogEntryType::DeleteLN];
const ALL: [LogEntryType; 7] = [
    LogEntryType::InsertLNTxn,
    LogEntryType::InsertLNTxn,
    LogEntryType::UpdateLNTxn,
    LogEntryType::DeleteLNTxn,
    LogEntryType::InsertLN,
    LogEntryType::UpdateLN,
    LogEntryType::DeleteLN,
];

fn pick(kinds: &[LogEntryType], turn: u64) -> LogEntryType {
    let index = usize::try_from(turn % kinds.len() as u64).expect("less than a length");
    kinds[index]
}

/// The payload of a record of [`DATABASE_ID`]: one that is put, or, without data, one that is deleted.
pub fn record_payload(transaction: Option<i64>, key: Vec<u8>, data: Option<Vec<u8>>) -> Vec<u8> {
    let record = LnLogEntry::new(
        DATABASE_ID,
        transaction,
        NULL_LSN,
        false,
        None,
        None,
        NULL_VLSN,
        0,
        false,
        key,
        data,
        0,
        NULL_VLSN,
    );
    let mut payload = BytesMut::with_capacity(record.log_size());
    record.write_to_log(&mut payload);
    payload.into()
}

/// The commit of a transaction, at this VLSN.
pub fn commit(vlsn: u64, transaction: i64) -> MadeEntry {
    let time = FIRST_COMMIT_MS + vlsn;
    let commit = TxnEndEntry::new_commit(transaction, NULL_LSN, time, 0, Vlsn::new(vlsn.cast_signed()));
    let mut payload = BytesMut::with_capacity(commit.log_size());
    commit.write_to_log(&mut payload);
    MadeEntry { entry_type: LogEntryType::TxnCommit, payload: payload.into() }
}

fn plain(entry_type: LogEntryType, random: &mut Random) -> MadeEntry {
    let size = PLAIN_SIZE.pick(random.next());
    MadeEntry { entry_type, payload: random.bytes(size) }
}

fn checkpoint_start(id: u64) -> MadeEntry {
    let mut payload = Vec::new();
    CheckpointStart::new(id, "made").write_to_log(&mut payload).expect("a vector takes all writes");
    MadeEntry { entry_type: LogEntryType::CkptStart, payload }
}

fn checkpoint_end(id: u64) -> MadeEntry {
    let end = CheckpointEnd::new(id, "made", NULL_LSN, None, NULL_LSN, 0, 0, 0, 0, 0, 0, false);
    let mut payload = Vec::new();
    end.write_to_log(&mut payload).expect("a vector takes all writes");
    MadeEntry { entry_type: LogEntryType::CkptEnd, payload }
}

/// A small, fast generator (splitmix64): content that differs everywhere, not secrecy.
struct Random(u64);

impl Random {
    fn new(seed: u64, position: u64) -> Self {
        let mut mixed = Self(seed ^ position.wrapping_mul(0xD134_2543_DE82_EF95));
        mixed.next();
        mixed
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut chunks = bytes.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        let rest = chunks.into_remainder();
        let last = self.next().to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(payload: &str, commit_every: u64) -> EntryMix {
        EntryMix { payload: payload.parse().unwrap(), untagged_every: 3, commit_every, seed: 7 }
    }

    #[test]
    fn payloads_have_the_size_that_was_asked_for() {
        for size in [0, 1, 32, 33, 100, 1024] {
            let mix = mix(&size.to_string(), 0);
            for vlsn in 1..20 {
                assert_eq!(mix.replicated(vlsn).payload.len(), size, "vlsn {vlsn}");
            }
        }
        let mixed = mix("100..200", 0);
        assert!((1..500).all(|vlsn| (100..=200).contains(&mixed.replicated(vlsn).payload.len())));
    }

    #[test]
    fn records_are_what_the_real_crate_reads_back() {
        let mix = mix("100", 16);
        for vlsn in (1..100).filter(|vlsn| vlsn % 16 != 0) {
            let made = mix.replicated(vlsn);
            let read = LnLogEntry::parse_from_slice(&made.payload, made.entry_type.is_transactional());
            assert_eq!(read.unwrap().db_id, DATABASE_ID);
        }
        let commit = mix.replicated(32);
        assert_eq!(commit.entry_type, LogEntryType::TxnCommit);
        let read = TxnEndEntry::read_from_log(&commit.payload).unwrap();
        assert_eq!((read.txn_id, read.dtvlsn), (2, Vlsn::new(32)));
    }

    #[test]
    fn content_follows_from_seed_and_vlsn() {
        let one = mix("100", 16);
        let other = EntryMix { seed: 8, ..one.clone() };
        assert_eq!(one.replicated(5), one.replicated(5));
        assert_ne!(one.replicated(5), one.replicated(6));
        assert_ne!(one.replicated(5).payload, other.replicated(5).payload);
    }
}
