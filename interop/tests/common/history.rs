//! What an environment's transactions leave in its log, and what its keys hold then.
//!
//! What stands at a VLSN, and so what all keys hold behind it, follows from the VLSN alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use noxu_dbi::EnvironmentImpl;
use noxu_feeder_interop::entries::{commit, record_payload};
use noxu_feeder_interop::environment::{open_environment, records};
use noxu_feeder_interop::generation::Generation;
use noxu_feeder_interop::writer::Writer;
use noxu_log::LogEntryType;

/// How many entries a transaction has, together with those outside of it that stand between them.
const ROUND: u64 = 15;

/// A trace: an entry without a VLSN, which no replica gets.
const TRACE: u8 = 60;

/// What keys hold.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an entry does.
enum Change {
    Put { key: u64, data: Vec<u8> },
    Delete { key: u64 },
    Commit,
}

/// What stands at a VLSN, and whether it is part of a transaction.
fn change_at(vlsn: u64) -> (Change, bool) {
    let (round, at) = ((vlsn - 1) / ROUND, (vlsn - 1) % ROUND);
    // A key of the round before, which that round has put.
    let before = |at: u64| (round - 1) * ROUND + 1 + at;
    let put = |key: u64| Change::Put { key, data: format!("{vlsn} {}", "x".repeat((vlsn % 200) as usize)).into() };
    match at {
        0..=9 => (put(vlsn), true),
        10 => (put(vlsn), false),
        14 => (Change::Commit, true),
        _ if round == 0 => (put(vlsn), true),
        11 => (put(before(0)), true),
        12 => (Change::Delete { key: before(1) }, true),
        _ => (Change::Delete { key: before(2) }, false),
    }
}

fn key_bytes(key: u64) -> Vec<u8> {
    key.to_be_bytes().to_vec()
}

/// A log that a real environment has begun, with the one database that there is.
pub(crate) fn begin(dir: &Path, file_max: u64) -> Writer {
    let environment = open_environment(dir, file_max).unwrap();
    environment.close().unwrap();
    drop(environment);
    Writer::open(dir, Generation::Seven, file_max).unwrap()
}

/// Appends the entry at `vlsn`; behind some of them, one without a VLSN.
pub(crate) fn append(writer: &Writer, vlsn: u64) {
    let (change, in_transaction) = change_at(vlsn);
    let transaction = i64::try_from((vlsn - 1) / ROUND + 1).unwrap();
    let record = |key, data| record_payload(in_transaction.then_some(transaction), key_bytes(key), data);
    let (kind, payload) = match change {
        Change::Commit => (LogEntryType::TxnCommit, commit(vlsn, transaction).payload),
        Change::Put { key, data } => {
            let kind = match (key == vlsn, in_transaction) {
                (true, true) => LogEntryType::InsertLNTxn,
                (true, false) => LogEntryType::InsertLN,
                (false, _) => LogEntryType::UpdateLNTxn,
            };
            (kind, record(key, Some(data)))
        }
        Change::Delete { key } => {
            let kind = if in_transaction { LogEntryType::DeleteLNTxn } else { LogEntryType::DeleteLN };
            (kind, record(key, None))
        }
    };
    writer.append(Some(vlsn), kind.type_num(), &payload).unwrap();
    if vlsn.is_multiple_of(6) {
        writer.append(None, TRACE, format!("behind {vlsn}").as_bytes()).unwrap();
    }
}

/// Appends these, and has readers see them.
pub(crate) fn append_all(writer: &Writer, vlsns: impl IntoIterator<Item = u64>) {
    vlsns.into_iter().for_each(|vlsn| append(writer, vlsn));
    writer.flush().unwrap();
}

/// The first VLSN from `vlsn` on that is a commit.
pub(crate) fn commit_from(vlsn: u64) -> u64 {
    vlsn.div_ceil(ROUND) * ROUND
}

/// What all keys hold behind `last`, and the keys that the transaction has touched that is open then.
pub(crate) fn contents(last: u64) -> (Contents, BTreeSet<Vec<u8>>) {
    let (mut contents, mut open) = (Contents::new(), Vec::new());
    let change = |contents: &mut Contents, change: Change| match change {
        Change::Put { key, data } => {
            contents.insert(key_bytes(key), data);
        }
        Change::Delete { key } => {
            contents.remove(&key_bytes(key));
        }
        Change::Commit => {}
    };
    for vlsn in 1..=last {
        match change_at(vlsn) {
            (Change::Commit, _) => open.drain(..).for_each(|ours| change(&mut contents, ours)),
            (ours, true) => open.push(ours),
            (ours, false) => change(&mut contents, ours),
        }
    }
    let touched = open.iter().filter_map(|ours| match ours {
        Change::Put { key, .. } | Change::Delete { key } => Some(key_bytes(*key)),
        Change::Commit => None,
    });
    (contents, touched.collect())
}

/// The environment holds what there is behind `last`; how many keys that is.
#[track_caller]
pub(crate) fn assert_holds(environment: &EnvironmentImpl, last: u64) -> usize {
    let (mut expected, open) = contents(last);
    let mut found = records(environment).unwrap();
    // These records do not say what they have replaced, so what a recovery makes of them is not known.
    for key in &open {
        expected.remove(key);
        found.remove(key);
    }
    let differs = expected.iter().find(|(key, data)| found.get(*key) != Some(data)).map(|(key, _)| key);
    assert_eq!(differs, None, "of {} keys {} were found, and this one is wrong", expected.len(), found.len());
    assert_eq!(found.len(), expected.len(), "there are keys that should not be there");
    found.len()
}
