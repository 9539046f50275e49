//! How much a reader reads before it answers: acks, a stop and every other connection of a loop wait for that long. Judged
//! by the bytes that the disk was asked for, never by the time that passed.

mod common;

use std::fs::OpenOptions;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{CountingDisk, Counts, LogDir, PATIENCE, RECORD, SETTLE, options};
use noxu_feeder::error::{Error, Result};
use noxu_feeder::log::range::Range;
use noxu_feeder::log::{Log, Lsn, Next, Scanner, Wait};

const MIB: u64 = 1024 * 1024;

/// How many bytes a turn may read.
const ALLOWED: u64 = 4 * MIB;

/// How many bytes a turn may have read in the end. It stops after the read that spends the rest, and small looks come
/// before.
const TURN_MAX: u64 = ALLOWED + 4 * MIB;

/// A reader that is given a little at a time.
struct Turns {
    scanner: Scanner,
    counts: Arc<Counts>,
    now: Instant,
    /// How many turns ended without an answer.
    busy: u64,
}

impl Turns {
    fn over(log: &LogDir) -> Turns {
        let disk = CountingDisk::over(log.path());
        let counts = Arc::clone(&disk.counts);
        let scanner = Scanner::new(Arc::new(disk), Lsn::NULL, options());
        Turns { scanner, counts, now: Instant::now(), busy: 0 }
    }

    /// The answer, after as many turns as it takes.
    fn next(&mut self, from_vlsn: u64) -> Result<std::result::Result<u64, Wait>> {
        loop {
            self.counts.take();
            self.scanner.allow(ALLOWED);
            let answer = self.scanner.next(from_vlsn, Lsn::NULL, &self.now.into());
            let (_, _, _, bytes) = self.counts.take();
            assert!(bytes <= TURN_MAX, "{bytes} bytes in one turn: {answer:?}");
            match answer? {
                Next::Busy => self.busy += 1,
                Next::Entry(entry) => return Ok(Ok(entry.vlsn)),
                Next::Nothing(pause) => return Ok(Err(pause)),
            }
        }
    }

    /// The VLSNs from `from_vlsn` on, and why there are no more.
    fn read(&mut self, from_vlsn: u64) -> Result<(Vec<u64>, Wait)> {
        let (mut vlsns, mut from) = (Vec::new(), from_vlsn);
        loop {
            match self.next(from)? {
                Ok(vlsn) => {
                    vlsns.push(vlsn);
                    from = vlsn + 1;
                }
                Err(pause) => return Ok((vlsns, pause)),
            }
        }
    }

    /// Looks when it asks for it, until it fails or `time` has passed.
    fn wait(&mut self, time: Duration) -> Result<Vec<u64>> {
        let until = self.now + time;
        let mut all = Vec::new();
        loop {
            let (vlsns, pause) = self.read(0)?;
            all.extend(vlsns);
            match pause.look_again.filter(|&at| at < until) {
                Some(at) => self.now = at,
                None => return Ok(all),
            }
        }
    }
}

fn append_untagged(log: &mut LogDir, bytes: u64) {
    let payload = vec![7; 60_000];
    for _ in 0..bytes / 60_000 {
        log.append_untagged(&payload);
    }
}

/// Lengthens a file by zeros that take no room on the disk.
fn append_zeros(log: &LogDir, number: u32, bytes: u64) {
    let file = OpenOptions::new().write(true).open(log.file_path(number)).unwrap();
    file.set_len(file.metadata().unwrap().len() + bytes).unwrap();
}

#[test]
fn what_is_for_no_replica_is_passed_over_in_turns() {
    let mut log = LogDir::with([1]);
    append_untagged(&mut log, 64 * MIB);
    log.append(2);
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2]);
    assert!(turns.busy >= 10, "{}", turns.busy);
}

#[test]
fn zeros_are_looked_through_in_turns_and_then_left_alone() {
    let log = LogDir::with(1..=3);
    append_zeros(&log, 0, 160 * MIB);
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2, 3]);
    assert_eq!(turns.wait(SETTLE + Duration::from_secs(1)).unwrap(), [0_u64; 0]);
    assert!(turns.busy >= 20, "{}", turns.busy);
    let (_, pause) = turns.read(0).unwrap();
    assert!(pause.stalled, "{pause:?}");
    // Somebody writes elsewhere in the directory, and the loop looks a hundred times.
    let before = turns.busy;
    for _ in 0..100 {
        turns.now += Duration::from_millis(30);
        turns.read(0).unwrap();
    }
    assert_eq!(turns.busy, before, "nothing was looked through again");
    // In five minutes they are looked through now and then: ten seconds later for 160 MiB.
    turns.wait(Duration::from_secs(300)).unwrap();
    // Each turn also reads a MiB at the cursor.
    let looks = (turns.busy - before) * (ALLOWED - MIB) / (160 * MIB);
    assert!((1..=300 / 10).contains(&looks), "{looks}");
}

#[test]
fn the_proof_behind_zeros_is_found_in_turns() {
    let mut log = LogDir::with(1..=3);
    let _ = log.next_entry(common::TRACE, 0, None, &vec![1; 48 * MIB as usize]);
    for _ in 0..400 {
        let (at, bytes) = log.next_entry(common::TRACE, 0, None, &vec![2; 60_000]);
        log.write_at(at, &bytes);
    }
    let (at, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.write_at(at, &bytes);
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2, 3]);
    assert_eq!(turns.wait(2 * SETTLE).unwrap(), [4]);
    assert!(turns.busy >= 15, "{}", turns.busy);
}

#[test]
fn a_file_that_begins_with_zeros_is_entered_in_turns() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    let _ = log.next_entry(common::TRACE, 0, None, &vec![1; 48 * MIB as usize]);
    let (at, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.write_at(at, &bytes);
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2, 3]);
    assert_eq!(turns.wait(2 * SETTLE).unwrap(), [4]);
    assert!(turns.busy >= 10, "{}", turns.busy);
}

#[test]
fn what_stands_before_a_start_is_looked_at_in_turns() {
    let mut log = LogDir::with(1..=10);
    append_untagged(&mut log, 32 * MIB);
    log.append_all(11..=1000);
    // VLSN 1001 stands far before the place where a reader of it begins.
    log.append_all([1002, 1001]);
    log.append_all(1003..=3000);
    append_untagged(&mut log, 32 * MIB);
    log.append_all(3002..=6000);
    let mut turns = Turns::over(&log);
    let (vlsns, pause) = turns.read(3001).unwrap();
    assert_eq!((vlsns, pause.missing_vlsn), (vec![], Some(3001)));
    let error = turns.wait(2 * PATIENCE).unwrap_err();
    assert!(matches!(error, Error::LogGap { expected: 3001, found: 3002, .. }), "{error}");
    assert!(turns.busy >= 10, "{}", turns.busy);
}

#[test]
fn files_without_a_vlsn_are_passed_in_turns_by_a_seek() {
    let mut log = LogDir::with(1..=10);
    for number in 1..20 {
        log.begin_file(number);
        append_untagged(&mut log, 5 * MIB);
    }
    log.begin_file(20);
    log.append_all(11..=100);
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(50).unwrap().0, (50..=100).collect::<Vec<_>>());
    assert!(turns.busy >= 10, "{}", turns.busy);
}

#[test]
fn zeros_that_were_passed_are_looked_through_in_turns_before_a_gap() {
    let mut log = LogDir::with(1..=3);
    let _ = log.next_entry(common::TRACE, 0, None, &vec![1; 48 * MIB as usize]);
    for vlsn in [4, 6] {
        let (at, bytes) = log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn));
        log.write_at(at, &bytes);
    }
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2, 3]);
    assert_eq!(turns.wait(2 * SETTLE).unwrap(), [4]);
    let before = turns.busy;
    let error = turns.wait(2 * PATIENCE).unwrap_err();
    assert!(matches!(error, Error::LogGap { expected: 5, found: 6, .. }), "{error}");
    assert!(turns.busy - before >= 10, "{}", turns.busy);
}

#[test]
fn an_entry_that_comes_late_far_inside_passed_zeros_is_found_in_turns() {
    let mut log = LogDir::with(1..=3);
    let _ = log.next_entry(common::TRACE, 0, None, &vec![1; 32 * MIB as usize]);
    let (late_at, late) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    let _ = log.next_entry(common::TRACE, 0, None, &vec![1; 32 * MIB as usize]);
    for vlsn in [4, 6] {
        let (at, bytes) = log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn));
        log.write_at(at, &bytes);
    }
    let mut turns = Turns::over(&log);
    assert_eq!(turns.read(1).unwrap().0, [1, 2, 3]);
    assert_eq!(turns.wait(2 * SETTLE).unwrap(), [4]);
    log.write_at(late_at, &late);
    assert_eq!(turns.wait(3 * SETTLE).unwrap(), [5, 6]);
}

#[test]
fn a_range_is_found_in_turns() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    append_untagged(&mut log, 32 * MIB);
    log.append_all(5..=20);
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let mut range = Range::new(Arc::new(disk), options(), Lsn::NULL);
    let mut turns = 0;
    let found = loop {
        counts.take();
        let searched = range.search(ALLOWED);
        assert!(counts.take().3 <= TURN_MAX);
        turns += 1;
        match searched {
            Ok(found) => break found,
            Err(halt) => assert_eq!(halt, noxu_feeder::log::budget::Halt::Busy),
        }
    };
    assert_eq!(found, Some((5, 20)));
    assert!(turns >= 5, "{turns}");
}

#[test]
fn the_range_of_a_large_last_file_is_found_at_its_beginning_and_its_end() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    for vlsn in 1..=60_000_i64 {
        log.append_entry(RECORD, 0, Some(vlsn), &[7; 1000]);
    }
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let found = Range::new(Arc::new(disk), options(), Lsn::NULL).search(u64::MAX).unwrap();
    assert_eq!(found, Some((1, 60_000)));
    let (_, _, _, bytes) = counts.take();
    assert!(bytes < 30 * MIB, "{bytes} of 61 MB, most of them for 16 Ki VLSNs of disorder");
}

#[test]
fn a_range_below_a_send_limit_ends_there() {
    let mut log = LogDir::with(1..=100);
    let limit = log.append(101);
    log.begin_file(1);
    log.append_all(102..=20_000);
    let shared = Log::open(log.path(), options(), None).unwrap();
    assert_eq!(shared.vlsn_range().unwrap(), Some((1, 20_000)));
    shared.set_send_limit(limit);
    assert_eq!(shared.vlsn_range().unwrap(), Some((1, 100)));
}

#[test]
fn a_range_never_ends_before_it_begins_whatever_the_log_says() {
    // A linear congruential generator: the same logs at each run.
    let mut state = 1_u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for case in 0..1000 {
        let mut log = LogDir::empty();
        for number in 0..=u32::try_from(below(4)).unwrap() {
            log.begin_file(number);
            let begin = 1 + below(60) as i64;
            for vlsn in begin..begin + below(12) as i64 {
                match below(8) {
                    0 => log.append_untagged(b"untagged"),
                    1 => log.append(1 + below(80) as i64),
                    _ => log.append(vlsn),
                };
            }
        }
        let range = Log::open(log.path(), options(), None).unwrap().vlsn_range();
        if let Ok(Some((first, last))) = range {
            assert!(first <= last, "case {case}: {first} to {last}");
        }
    }
}
