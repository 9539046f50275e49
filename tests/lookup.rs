//! What a look into the log costs, and what a replica's walk down its sync points costs that asks for each.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Instant;

use common::{CountingDisk, Counts, RECORD};
use noxu_feeder::log::Log;
use noxu_feeder::log::budget::{Halt, Searched};
use noxu_feeder::log::format::{FileHeader, encode_entry};
use noxu_feeder::log::lookup::{Known, Lookup, LookupOptions};
use noxu_feeder::lsn::FileName;
use noxu_feeder::options::Options;
use noxu_feeder::session::service::{StepLimit, Syncup, Turn};
use noxu_feeder::wire::service::syncup::Message;
use tempfile::TempDir;

/// How much a loop allows in one turn.
const BUDGET: u64 = 4 * 1024 * 1024;

/// A log of `files` files with `per_file` entries each of `len` bytes of payload; every `commit_every`-th is a commit.
fn log_of(files: u32, per_file: u64, len: usize, commit_every: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut vlsn = 0;
    for number in 0..files {
        let mut bytes = FileHeader { version: 3, file_number: number, last_entry_in_previous: 0 }.encode();
        let mut before = 0;
        for _ in 0..per_file {
            vlsn += 1;
            let at = bytes.len() as u32;
            let entry_type = if vlsn % commit_every == 0 { 30 } else { RECORD };
            encode_entry(&mut bytes, entry_type, 0, before, Some(vlsn as i64), &vec![vlsn as u8; len]);
            before = at;
        }
        let mut file = BufWriter::new(File::create(dir.path().join(FileName(number).to_string())).unwrap());
        file.write_all(&bytes).unwrap();
    }
    dir
}

fn open(dir: &TempDir) -> (Arc<Log>, Arc<Counts>) {
    let disk = CountingDisk::over(dir.path());
    let counts = Arc::clone(&disk.counts);
    (Log::over(Arc::new(disk), Options::default().scanner(), None), counts)
}

fn lookup(log: &Arc<Log>) -> Lookup {
    Lookup::new(Arc::clone(log), LookupOptions::from(log.scanner_options()))
}

/// The answer, and in how many turns.
fn ask<T>(lookup: &mut Lookup, mut ask: impl FnMut(&mut Lookup) -> Searched<Known<T>>) -> (T, u32) {
    for turn in 1.. {
        lookup.allow(BUDGET);
        match ask(lookup) {
            Ok(Known::Yes(found)) => return (found, turn),
            Err(Halt::Busy) => {}
            Ok(Known::NotYet { .. }) => panic!("nothing is missing"),
            Err(Halt::Failed(error)) => panic!("{error}"),
        }
    }
    unreachable!()
}

/// Of a thousand files, a dozen are looked into to find the place, and those around it are read; a question for what was
/// read costs nothing.
#[test]
fn a_question_to_a_log_of_a_thousand_files_reads_what_is_around_it_and_no_more() {
    let dir = log_of(1000, 200, 100, 4);
    let (log, counts) = open(&dir);
    let (mut lookup, now) = (lookup(&log), Instant::now());
    counts.take();
    let (range, turns) = ask(&mut lookup, |lookup| lookup.range(now));
    let (listings, opens, reads, bytes) = counts.take();
    assert_eq!(range, Some((1, 200_000)));
    // The end is 16 384 VLSNs, in 82 files.
    assert!(turns <= 2 && listings <= 3, "{turns} turns, {listings} listings");
    assert!(opens < 110 && reads < 500 && bytes < 5 << 20, "{opens} opens, {reads} reads, {bytes} bytes");

    for vlsn in [100_000, 60_000, 140_000] {
        let (found, turns) = ask(&mut lookup, |lookup| lookup.record(vlsn, now));
        let (listings, opens, reads, bytes) = counts.take();
        assert_eq!(found.map(|record| (record.vlsn, record.entry_type)), Some((vlsn, 30)));
        // A stretch has as many, and another so many above it are looked through for late ones.
        assert!(turns <= 3 && listings == 0, "{turns} turns, {listings} listings");
        assert!(opens < 190 && reads < 900 && bytes < 9 << 20, "{opens} opens, {reads} reads, {bytes} bytes");
        for below in 1..10_000 {
            assert!(ask(&mut lookup, |lookup| lookup.record(vlsn - below, now)).0.is_some());
        }
        assert_eq!(counts.take(), (0, 0, 0, 0), "what was read serves for those below");
    }
    let (point, _) = ask(&mut lookup, |lookup| lookup.last_sync(now));
    assert_eq!(point.map(|record| record.vlsn), Some(200_000));
    assert_eq!(counts.take(), (0, 0, 0, 0));
    let (none, _) = ask(&mut lookup, |lookup| lookup.record(200_001, now));
    let (listings, _, reads, _) = counts.take();
    assert!(none.is_none() && reads == 0 && listings == 1, "it has not grown: {listings} listings, {reads} reads");
}

/// A restarted replica, or one of another history, asks for each of its sync points: here all are held, and it asks on.
#[test]
fn a_walk_down_all_sync_points_reads_each_stretch_once() {
    for (files, per_file, commits) in [(1, 30_007, 8_007), (100, 10_000, 8_007)] {
        let dir = log_of(files, per_file, 100, 3);
        let (log, counts) = open(&dir);
        let last = u64::from(files) * per_file / 3 * 3;
        let (mut machine, mut lookup) = (Syncup::new(StepLimit::default(), Vec::new(), Instant::now()), lookup(&log));
        counts.take();
        let (mut turns, mut held, mut longest) = (0, 0, 0);
        for step in 0..commits {
            let mut question = Vec::new();
            Message::EntryRequest { vlsn: (last - step * 3) as i64 }.append_to(&mut question);
            machine.exchange().receive(&question).unwrap();
            let asked = turns;
            loop {
                turns += 1;
                lookup.allow(BUDGET);
                match machine.turn(&mut lookup, Instant::now()).unwrap() {
                    Turn::Busy => {}
                    Turn::Waits => break,
                    other => panic!("{other:?}"),
                }
            }
            longest = longest.max(turns - asked);
            let len = machine.exchange().output().len();
            held += u64::from(len == 30);
            machine.exchange().note_sent(len, Instant::now());
        }
        let (.., bytes) = counts.take();
        assert_eq!(held, commits);
        assert!(longest <= 2, "{longest} turns for one question");
        // Of entries of 122 bytes the walk passes 3 MB; each stretch is read with what may be late for it.
        assert!(bytes < 12 << 20, "{bytes} bytes");
    }
}
