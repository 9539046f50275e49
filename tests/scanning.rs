//! Reading a log: order, files, following, gaps, repeats, rollbacks, the send limit, seeking.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::{CountingDisk, Got, LogDir, PATIENCE, RECORD, Reader, SETTLE, options, write_file};
use noxu_feeder::error::Error;
use noxu_feeder::log::files::Directory;
use noxu_feeder::log::format::{FLAG_INVISIBLE, encode_entry};
use noxu_feeder::log::tail::WaitReason;
use noxu_feeder::log::{Lsn, ScannerOptions};

fn range(vlsns: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    vlsns.collect()
}

#[test]
fn entries_come_in_vlsn_order_and_those_without_a_vlsn_are_passed_over() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    for vlsn in 1..=50 {
        log.append(vlsn);
        log.append_untagged(&vec![7; usize::try_from(vlsn).unwrap() * 100]);
    }
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=50));
    let counts = reader.scanner.counts();
    assert_eq!((counts.returned, counts.untagged), (50, 50));
    assert_eq!(reader.pause().reason, WaitReason::End);
}

#[test]
fn an_empty_directory_is_followed_from_the_file_that_will_be_its_first() {
    let mut log = LogDir::empty();
    let mut reader = log.reader();
    assert_eq!(reader.pause().reason, WaitReason::NoFile);
    log.begin_file(0);
    log.append_all(1..=3);
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
}

#[test]
fn a_directory_without_the_file_to_begin_in_is_stalled_until_it_comes() {
    let mut empty = LogDir::empty();
    let mut other = LogDir::with(1..=3);
    let starts =
        [(empty.reader(), 0), (empty.reader_from(Lsn::new(2, 36)), 2), (other.reader_from(Lsn::new(2, 36)), 2)];
    for (case, (mut reader, wanted)) in starts.into_iter().enumerate() {
        let log = if case == 2 { &mut other } else { &mut empty };
        let opened = reader.now;
        let pause = reader.pause();
        assert_eq!((pause.reason, pause.at, pause.stalled), (WaitReason::NoFile, Lsn::new(wanted, 0), false));
        assert!(pause.look_again.unwrap() <= opened + SETTLE, "case {case}: somebody has to be told by then");
        assert!(reader.wait(SETTLE).unwrap().is_empty());
        let pause = reader.pause();
        assert_eq!((pause.reason, pause.stalled, pause.look_again), (WaitReason::NoFile, true, None));
        log.begin_file(2);
        let pause = reader.pause();
        assert_eq!((pause.reason, pause.stalled), (WaitReason::End, false), "case {case}");
        log.append(1);
        assert_eq!(reader.read(1).unwrap(), [1], "case {case}");
        log.delete(2);
    }
}

#[test]
fn anything_else_in_the_directory_is_no_log_file() {
    let log = LogDir::with(1..=3);
    for name in ["noxu.lck", "vlsn.idx", "00000001.tmp", "1.ndb"] {
        write_file(&log.path().join(name), b"something else");
    }
    std::fs::rename(log.file_path(0), log.path().join("00000000.ndb")).unwrap();
    assert_eq!(log.reader().read(1).unwrap(), [1, 2, 3]);
}

#[test]
fn both_file_header_versions_are_read_in_one_directory() {
    let mut log = LogDir::empty();
    log.begin_file_of(2, 0);
    log.append_all(1..=3);
    log.begin_file_of(3, 1);
    log.append_all(4..=6);
    log.begin_file_of(2, 2);
    log.append_all(7..=9);
    assert_eq!(log.reader().read(1).unwrap(), range(1..=9));
}

#[test]
fn a_start_lsn_is_where_reading_begins() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let at = log.append_all(1..=5);
    log.begin_file(1);
    log.append_all(6..=8);
    assert_eq!(log.reader_from(at[2]).read(0).unwrap(), range(3..=8));
    assert_eq!(log.reader_from(at[2]).read(4).unwrap(), range(4..=8));
    assert_eq!(log.reader_from(Lsn::new(1, 0)).read(6).unwrap(), range(6..=8));
    assert_eq!(log.reader_from(Lsn(0)).read(1).unwrap(), range(1..=8));
    assert_eq!(log.reader_from(Lsn::NULL).read(1).unwrap(), range(1..=8));
}

#[test]
fn a_start_lsn_in_a_file_to_come_is_legal_and_yields_nothing_until_it_comes() {
    let mut log = LogDir::with(1..=3);
    let mut reader = log.reader_from(Lsn::new(2, 36));
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    assert_eq!(reader.pause().reason, WaitReason::NoFile);
    log.begin_file(1);
    log.append_all(4..=6);
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    log.begin_file(2);
    log.append_all(7..=9);
    assert_eq!(reader.wait(SETTLE).unwrap(), range(7..=9));
}

#[test]
fn being_asked_twice_never_yields_an_entry_twice() {
    let log = LogDir::with(1..=9);
    let mut reader = log.reader();
    let vlsn = |got| match got {
        Got::Entry(vlsn, ..) => vlsn,
        Got::Nothing(pause) => panic!("{pause:?}"),
    };
    assert_eq!(vlsn(reader.next(3).unwrap()), 3);
    assert_eq!(vlsn(reader.next(3).unwrap()), 4);
    assert_eq!(vlsn(reader.next(1).unwrap()), 5);
    assert_eq!(vlsn(reader.next(8).unwrap()), 8, "what is skipped was not asked for");
    assert_eq!(vlsn(reader.next(6).unwrap()), 9);
    assert!(matches!(reader.next(6).unwrap(), Got::Nothing(_)));
}

#[test]
fn a_growing_log_is_followed_from_file_to_file() {
    let mut log = LogDir::with(1..=3);
    let mut reader = log.reader();
    let mut next = 4;
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    for number in 1..12 {
        for _ in 0..5 {
            log.append(next);
            assert_eq!(reader.read(0).unwrap(), [u64::try_from(next).unwrap()]);
            next += 1;
        }
        log.begin_file(number);
        assert_eq!(reader.read(0).unwrap(), [0; 0], "a file with a header only");
    }
}

#[test]
fn file_numbers_may_have_holes_where_nothing_replicated_was_deleted() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(5);
    log.append_all(4..=6);
    log.begin_file(0x2a);
    log.append_all(7..=9);
    assert_eq!(log.reader().read(1).unwrap(), range(1..=9));
}

// --- what is missing ----------------------------------------------------------------------------------------

#[test]
fn asked_from_10_a_log_that_begins_at_50_is_a_gap() {
    let log = LogDir::with(50..=60);
    let mut reader = log.reader();
    let error = reader.wait_from(10, SETTLE).unwrap_err();
    assert_eq!(error, Error::LogGap { expected: 10, found: 50, at: Lsn::new(0, 36) });
    assert_eq!(reader.next(10).unwrap_err(), error, "it stays");
    assert_eq!(log.reader().read(0).unwrap(), range(50..=60), "0 asks for the lowest there is");
}

#[test]
fn a_deleted_file_ahead_is_named_and_nothing_behind_it_is_returned() {
    let mut log = LogDir::with(1..=15);
    log.begin_file(1);
    log.append_all(16..=18);
    log.begin_file(2);
    log.append_all(19..=30);
    log.begin_file(3);
    log.append_all(31..=40);
    log.delete(1);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=15));
    let error = reader.wait(SETTLE).unwrap_err();
    assert_eq!(error, Error::LogFileGone { file: 1, expected_vlsn: Some(16), found_vlsn: Some(19) });
    assert!(error.needs_restore());
}

#[test]
fn a_vlsn_missing_at_the_live_end_is_waited_for_and_seen_to_be() {
    let mut log = LogDir::with([1, 2, 4, 5]);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2]);
    let pause = reader.pause();
    assert_eq!((pause.missing_vlsn, pause.stalled), (Some(3), false));
    reader.now += SETTLE;
    assert!(reader.pause().stalled);
    log.append_all([6, 3]);
    assert_eq!(reader.read(0).unwrap(), range(3..=6));
    assert_eq!(reader.pause().missing_vlsn, None);
}

#[test]
fn patience_with_a_missing_vlsn_ends() {
    let log = LogDir::with([1, 2, 4, 5]);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2]);
    let error = reader.wait(PATIENCE + SETTLE).unwrap_err();
    assert!(matches!(error, Error::LogGap { expected: 3, found: 4, .. }), "{error}");
}

/// The reason of a wait, a log that brings it about, for how long it lasts, and how reading goes on.
type Wait = (&'static str, LogDir, Duration, fn(&mut LogDir));

fn waits() -> Vec<Wait> {
    let mut missing = LogDir::with([1, 2, 4]);
    missing.append_untagged(b"whatever");
    let mut damaged = LogDir::with([1, 2]);
    let at = damaged.append(3);
    damaged.write_at(Lsn::new(0, at.offset() + 25), b"??");
    let mut hole = LogDir::with([1, 2]);
    let (at_hole, _) = hole.next_entry(RECORD, 0, Some(3), &LogDir::payload(3));
    hole.begin_file(1);
    hole.append(4);
    hole.write_at(Lsn::new(0, at_hole.offset() + 30), &[0; 20]);
    let header = LogDir::with([1, 2]);
    let good = header.bytes(0);
    header.write_at(Lsn::new(0, 20), &[1]);
    std::fs::write(header.path().join("good"), good).unwrap();
    vec![
        ("a VLSN is missing", missing, PATIENCE, |log| {
            log.append(3);
        }),
        ("unreadable", damaged, SETTLE, |log| {
            let entries = LogDir::with(1..=4).bytes(0);
            common::write_file(&log.file_path(0), &entries);
        }),
        ("a hole in a lower file", hole, SETTLE, |log| {
            let entries = LogDir::with(1..=3).bytes(0);
            common::write_file(&log.file_path(0), &entries);
        }),
        ("a half-written header", header, SETTLE, |log| {
            let good = std::fs::read(log.path().join("good")).unwrap();
            common::write_file(&log.file_path(0), &good);
            log.append_all([3, 4]);
        }),
    ]
}

/// Reader and writer are frozen together at any time of the wait, for any time: it begins anew, and then ends as always.
#[test]
fn frozen_time_is_no_patience() {
    for case in 0..waits().len() {
        for looks_before in 0..4 {
            for frozen in [PATIENCE, 10_000 * PATIENCE] {
                let goes_on = looks_before % 2 == 0;
                let (name, mut log, patience, go_on) = waits().remove(case);
                let mut reader = log.reader();
                let mut read = reader.read(1).unwrap();
                for _ in 0..looks_before {
                    reader.now = reader.pause().look_again.unwrap();
                    read.extend(reader.read(0).unwrap_or_else(|error| panic!("{name}: too soon: {error}")));
                }
                reader.now += frozen;
                read.extend(reader.read(0).unwrap_or_else(|error| panic!("{name}: after the thaw: {error}")));
                let almost = patience - SETTLE / 2;
                read.extend(reader.wait(almost).unwrap_or_else(|error| panic!("{name}: since the thaw: {error}")));
                if goes_on {
                    go_on(&mut log);
                    read.extend(reader.wait(SETTLE).unwrap_or_else(|error| panic!("{name}: it went on: {error}")));
                    assert_eq!(read, [1, 2, 3, 4], "{name}");
                } else {
                    reader.wait(SETTLE).expect_err(name);
                }
            }
        }
    }
}

#[test]
fn what_is_shown_as_stalled_stays_so_over_frozen_time() {
    let mut missing = LogDir::with([1, 2, 4]);
    missing.append_untagged(b"whatever");
    let mut hole = LogDir::with([1, 2]);
    hole.append_untagged_behind_a_hole();
    for log in [missing, hole, LogDir::empty()] {
        let mut reader = log.reader();
        reader.wait_from(1, 2 * SETTLE).unwrap();
        assert!(reader.pause().stalled);
        reader.now += 100 * PATIENCE;
        assert!(reader.pause().stalled);
    }
}

/// A host with its own rhythm is no frozen one.
#[test]
fn a_host_that_looks_seldom_gets_the_error_all_the_same() {
    for case in 0..waits().len() {
        let (name, log, ..) = waits().remove(case);
        let mut reader = log.reader();
        reader.read(1).unwrap();
        let mut looks = 0;
        while reader.next(0).is_ok() {
            reader.now += 2 * PATIENCE;
            looks += 1;
            assert!(looks < 4, "{name}");
        }
    }
}

/// The missing VLSN may stand behind the place where the reader is held up.
#[test]
fn patience_with_a_missing_vlsn_does_not_pass_where_it_cannot_be_seen() {
    let mut log = LogDir::with([1, 2, 4]);
    let (torn_at, torn) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    log.write_at(torn_at, &torn[..30]);
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 5 * PATIENCE).unwrap(), [1, 2]);
    assert_eq!(reader.pause().reason, WaitReason::Torn);
    log.write_at(torn_at, &torn);
    assert_eq!(reader.wait(PATIENCE - SETTLE).unwrap(), [0; 0]);
    log.append(3);
    assert_eq!(reader.read(0).unwrap(), [3, 4, 5]);
}

#[test]
fn a_vlsn_100_000_entries_late_is_delivered_in_its_place() {
    let late = 100_000;
    let log = LogDir::with((2..=late).chain([1]).chain(late + 1..=late + 10));
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=u64::try_from(late).unwrap() + 10));
    assert_eq!(reader.scanner.order().held(), 0);
}

#[test]
fn a_full_window_is_a_gap() {
    let log = LogDir::with([1, 2].into_iter().chain(4..=200));
    let mut small = options();
    small.window.entries_max = 100;
    let mut reader = Reader::over(Arc::new(Directory::open(log.path()).unwrap()), Lsn::NULL, small);
    let error = reader.read(1).unwrap_err();
    assert!(matches!(error, Error::LogGap { expected: 3, found: 103, .. }), "{error}");
    assert_eq!(reader.scanner.counts().returned, 2);
}

#[test]
fn a_log_that_begins_in_disorder_is_read_from_its_lowest_vlsn_without_a_hole() {
    let log = LogDir::with([47, 52, 50, 51, 53, 54]);
    assert_eq!(log.reader().read(0).unwrap(), range(50..=54));
    let log = LogDir::with([3, 1, 2, 4]);
    assert_eq!(log.reader().read(0).unwrap(), range(1..=4));
}

/// One VLSN after the other is late by nearly the whole patience.
#[test]
fn patience_is_for_each_missing_vlsn_anew() {
    let mut log = LogDir::with([1, 2]);
    let mut reader = log.reader();
    let mut read = reader.read(1).unwrap();
    for late in [3, 5, 7] {
        log.append(late + 1);
        read.extend(reader.wait(PATIENCE - SETTLE).unwrap());
        log.append(late);
        read.extend(reader.read(0).unwrap());
    }
    assert_eq!(read, range(1..=8));
    // Also where another is missing at once when one has come.
    log.append_all([10, 12]);
    assert_eq!(reader.wait(PATIENCE - SETTLE).unwrap(), [0; 0]);
    log.append(9);
    assert_eq!(reader.read(0).unwrap(), [9, 10]);
    assert_eq!(reader.wait(PATIENCE - SETTLE).unwrap(), [0; 0]);
    log.append(11);
    assert_eq!(reader.read(0).unwrap(), [11, 12]);
}

#[test]
fn a_large_entry_that_was_rolled_back_is_no_damage() {
    let mut log = LogDir::with(1..=2);
    let at = log.append_entry(RECORD, 0, Some(3), &vec![7; 1_200_000]);
    log.make_invisible(at);
    log.append(3);
    assert_eq!(log.reader().read(1).unwrap(), [1, 2, 3]);
}

// --- a start above the log ----------------------------------------------------------------------------------

/// A log of some files, up to VLSN 1000.
fn log_up_to_1000() -> LogDir {
    let mut log = LogDir::with(1..=900);
    log.begin_file(1);
    log.append_all(901..=1000);
    log.append_untagged(b"whatever");
    log
}

#[test]
fn a_replica_that_is_ahead_of_the_log_is_shown_then_stalled_then_an_error() {
    let mut header_only = LogDir::empty();
    header_only.begin_file(0);
    for (log, start, last) in [(log_up_to_1000(), 5001, 1000), (log_up_to_1000(), 1002, 1000), (header_only, 5, 0)] {
        // Sought, and from an entry's position, behind which there is little or nothing.
        let file = if last == 0 { 0 } else { 1 };
        for mut reader in [log.reader(), log.reader_from(Lsn::new(file, 36)), log.reader_from(log.end())] {
            assert_eq!(reader.read(start).unwrap(), [0; 0]);
            let pause = reader.pause();
            assert_eq!((pause.reason, pause.missing_vlsn), (WaitReason::AheadOfLog, None));
            assert!(!pause.stalled && pause.look_again.unwrap() <= reader.now + SETTLE);
            assert_eq!(reader.wait(SETTLE).unwrap(), [0; 0]);
            assert!(reader.pause().stalled);
            assert_eq!(reader.wait(PATIENCE - 2 * SETTLE).unwrap(), [0; 0]);
            let error = reader.wait(SETTLE).unwrap_err();
            assert_eq!(error, Error::AheadOfLog { start, last });
            assert!(error.needs_restore());
            assert_eq!(reader.next(start).unwrap_err(), error);
        }
    }
}

/// After a failover the new master's log is shorter, and grows: its new entries are another history.
#[test]
fn a_log_that_grows_does_not_make_good_for_a_replica_that_is_ahead() {
    let mut log = log_up_to_1000();
    let mut reader = log.reader();
    assert_eq!(reader.read(5001).unwrap(), [0; 0]);
    for vlsn in 1001..=1010 {
        log.append(vlsn);
        assert_eq!(reader.wait(PATIENCE / 11).unwrap(), [0; 0]);
        assert_eq!(reader.pause().reason, WaitReason::AheadOfLog);
    }
    let error = reader.wait(PATIENCE / 11 + SETTLE).unwrap_err();
    assert_eq!(error, Error::AheadOfLog { start: 5001, last: 1010 });
    log.append_all(1011..=5010);
    assert_eq!(reader.next(5001).unwrap_err(), error, "it stays");
}

#[test]
fn a_log_that_reaches_the_start_in_time_is_read() {
    let mut log = log_up_to_1000();
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1003, PATIENCE / 2).unwrap(), [0; 0]);
    assert!(reader.pause().stalled);
    log.append_all([1002, 1001]);
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.stalled), (WaitReason::End, false));
    assert_eq!(reader.wait(3 * PATIENCE).unwrap(), [0; 0]);
    log.append(1003);
    assert_eq!(reader.read(1003).unwrap(), [1003]);
}

#[test]
fn a_host_can_have_a_log_waited_for_that_the_replica_is_ahead_of() {
    let mut log = log_up_to_1000();
    let waits = ScannerOptions { waits_when_ahead: true, ..options() };
    let mut reader = Reader::over(Arc::new(Directory::open(log.path()).unwrap()), Lsn::NULL, waits);
    assert_eq!(reader.wait_from(1003, 100 * PATIENCE).unwrap(), [0; 0]);
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.stalled, pause.look_again), (WaitReason::AheadOfLog, true, None));
    log.append_all(1001..=1004);
    assert_eq!(reader.read(1003).unwrap(), [1003, 1004]);
}

/// The last VLSN stands early, in a file before the one that is read from.
#[test]
fn the_last_vlsn_is_found_wherever_it_stands() {
    let mut log = LogDir::with((1..=100).chain([1000]));
    log.begin_file(1);
    log.append_all(101..=999);
    let invisible = log.append_entry(RECORD, 0, Some(1001), b"rolled back");
    log.make_invisible(invisible);
    for start in [Lsn::NULL, Lsn::new(1, 36), log.end()] {
        let mut reader = log.reader_from(start);
        assert_eq!(reader.wait_from(1001, 3 * PATIENCE).unwrap(), [0; 0], "from {start}");
        assert_eq!(reader.pause().reason, WaitReason::End, "from {start}");
        let mut reader = log.reader_from(start);
        let error = reader.wait_from(1002, 3 * PATIENCE).unwrap_err();
        assert_eq!(error, Error::AheadOfLog { start: 1002, last: 1000 }, "from {start}");
    }
}

/// Who asks for another VLSN later is as far ahead.
#[test]
fn a_vlsn_asked_for_later_can_be_above_the_log_too() {
    let log = log_up_to_1000();
    let mut reader = log.reader();
    assert_eq!(reader.read(990).unwrap(), range(990..=1000));
    assert_eq!(reader.read(1001).unwrap(), [0; 0]);
    assert_eq!(reader.pause().reason, WaitReason::End);
    let error = reader.wait_from(1002, 2 * PATIENCE).unwrap_err();
    assert_eq!(error, Error::AheadOfLog { start: 1002, last: 1000 });
}

#[test]
fn frozen_time_is_no_patience_with_a_log_that_the_replica_is_ahead_of() {
    let mut log = log_up_to_1000();
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1003, PATIENCE / 2).unwrap(), [0; 0]);
    reader.now += 1000 * PATIENCE;
    assert_eq!(reader.wait(PATIENCE - SETTLE).unwrap(), [0; 0]);
    assert!(reader.pause().stalled);
    log.append_all(1001..=1003);
    assert_eq!(reader.read(1003).unwrap(), [1003]);
}

// --- rollbacks and repeats ----------------------------------------------------------------------------------

#[test]
fn invisible_entries_are_never_sent_and_what_replaced_them_is() {
    let mut log = LogDir::with(1..=3);
    log.append_entry(RECORD, FLAG_INVISIBLE, Some(4), b"rolled back");
    log.append_entry(RECORD, FLAG_INVISIBLE, Some(5), b"rolled back");
    log.append_all(4..=6);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=6));
    assert_eq!(reader.scanner.counts().invisible, 2);
}

#[test]
fn an_entry_rolled_back_while_it_was_held_back_is_not_sent() {
    let mut log = LogDir::with([1, 2]);
    let (_, early) = log.next_entry(RECORD, 0, Some(4), b"to be rolled back");
    log.write_at(Lsn::new(0, log.end().offset() - u32::try_from(early.len()).unwrap()), &early);
    let at = Lsn::new(0, log.end().offset() - u32::try_from(early.len()).unwrap());
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2]);
    log.make_invisible(at);
    log.append_all([3, 4, 5]);
    assert_eq!(reader.read(0).unwrap(), [3, 4, 5]);
}

#[test]
fn a_stretch_of_history_that_the_log_holds_twice_is_sent_once() {
    let log = LogDir::with((1..=20).chain(11..=20).chain(21..=25));
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=25));
    assert_eq!(reader.scanner.counts().repeats, 10);
}

#[test]
fn new_history_below_what_was_sent_is_an_error() {
    let mut log = LogDir::with(1..=10);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), range(1..=10));
    let at = log.append_entry(RECORD, 0, Some(8), b"another history");
    log.append_all(9..=12);
    let error = reader.read(0).unwrap_err();
    assert_eq!(error, Error::HistoryChanged { vlsn: 8, at });
    assert_eq!(reader.next(0).unwrap_err(), error);
}

#[test]
fn a_vlsn_field_of_zero_or_less_counts_as_none() {
    let mut log = LogDir::with([1]);
    log.append_entry(RECORD, 0, Some(0), b"none");
    log.append_entry(RECORD, 0, Some(-1), b"null");
    log.append(2);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2]);
    assert_eq!(reader.scanner.counts().bad_vlsns, 2);
}

// --- the send limit -----------------------------------------------------------------------------------------

#[test]
fn nothing_at_or_past_the_send_limit_is_returned() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let at = log.append_all(1..=5);
    log.begin_file(1);
    log.append_all(6..=7);
    let mut reader = log.reader();
    reader.send_limit = at[3];
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.at), (WaitReason::SendLimit, at[3]));
    assert_eq!(reader.wait(2 * PATIENCE).unwrap(), [0; 0], "that is no stall");
    reader.send_limit = Lsn::new(1, 0);
    assert_eq!(reader.read(0).unwrap(), [4, 5]);
    reader.send_limit = Lsn::NULL;
    assert_eq!(reader.read(0).unwrap(), [6, 7]);
}

#[test]
fn what_the_log_holds_twice_is_sent_from_below_the_limit() {
    let mut log = LogDir::with(1..=20);
    log.begin_file(1);
    log.append_all(12..=18);
    log.begin_file(2);
    log.append_all(17..=25);
    let mut reader = log.reader();
    reader.send_limit = Lsn::new(1, 0);
    assert_eq!(reader.read(17).unwrap(), [17, 18, 19, 20]);
    assert_eq!(reader.pause().reason, WaitReason::SendLimit);
    reader.send_limit = Lsn::NULL;
    assert_eq!(reader.read(0).unwrap(), range(21..=25));
}

#[test]
fn damage_behind_the_limit_is_no_error_for_who_begins_there() {
    let mut log = LogDir::with(1..=20);
    log.begin_file(1);
    let at = log.append_all(21..=30)[0];
    log.begin_file(2);
    log.append(31);
    // The entry is whole, but names an entry before it that does not exist.
    let mut misplaced = Vec::new();
    encode_entry(&mut misplaced, RECORD, 0, 33, Some(21), &LogDir::payload(21));
    log.write_at(at, &misplaced);
    let mut reader = log.reader();
    reader.send_limit = Lsn::new(0, 50);
    assert_eq!(reader.wait_from(25, 2 * PATIENCE).unwrap(), [0; 0]);
    let mut reader = log.reader();
    assert!(matches!(reader.wait_from(25, 2 * PATIENCE), Err(Error::LogDamaged { at: place, .. }) if place == at));
}

// --- what it costs ------------------------------------------------------------------------------------------

#[test]
fn reading_lists_and_opens_per_file_and_reads_per_megabyte_not_per_entry() {
    let mut log = LogDir::empty();
    let mut vlsn = 0;
    for number in 0..20 {
        log.begin_file(number);
        let mut bytes = Vec::new();
        let at = log.end();
        for _ in 0..5000 {
            vlsn += 1;
            bytes.extend(log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn)).1);
        }
        log.write_at(at, &bytes);
    }
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let mut reader = Reader::over(Arc::new(disk), Lsn::new(0, 36), options());
    assert_eq!(reader.read(1).unwrap().len(), 100_000);
    let (listings, opens, reads, bytes) = counts.take();
    let (log_bytes, files) = (8_500_000, 20);
    assert!(listings <= 2 * files, "{listings} listings");
    assert!(opens <= 2 * files, "{opens} opens");
    assert!(reads <= 12 * files, "{reads} reads");
    assert!(bytes < 2 * log_bytes, "{bytes} bytes");
}

/// The descriptors of this process for files in `directory`, and how many of them are of deleted files.
#[cfg(target_os = "linux")]
fn open_files(directory: &std::path::Path) -> (usize, usize) {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    let files: Vec<_> = links.filter(|path| path.starts_with(directory) && path != directory).collect();
    let deleted = files.iter().filter(|path| path.to_string_lossy().ends_with(" (deleted)")).count();
    (files.len(), deleted)
}

/// Some entries stand early, so they are held back and read again. Meanwhile the cleaner deletes files that were read.
#[cfg(target_os = "linux")]
#[test]
fn few_files_are_open_at_once_and_no_deleted_one_while_the_log_is_quiet() {
    let mut log = LogDir::empty();
    for number in 0..60 {
        log.begin_file(number);
        let first = i64::from(number) * 10 + 1;
        log.append_all([first + 1, first, first + 2, first + 3, first + 10, first + 5]);
        log.append_all((first + 4..first + 10).filter(|&vlsn| vlsn != first + 5));
        if number % 7 == 0 {
            log.append_untagged_behind_a_hole();
        }
    }
    let directory = log.path().canonicalize().unwrap();
    let mut options = options();
    options.tail.read_bytes = 64 * 1024;
    let mut reader = Reader::over(Arc::new(Directory::open(log.path()).unwrap()), Lsn::NULL, options);
    let (mut from, mut deleted) = (1, 0);
    let until = reader.now + PATIENCE;
    while from <= 601 {
        match reader.next(from).unwrap() {
            Got::Entry(vlsn, ..) => from = vlsn + 1,
            Got::Nothing(pause) => {
                assert!(reader.now < until, "VLSN {from} does not come: {pause:?}");
                reader.now = pause.look_again.unwrap();
            }
        }
        let (open, _) = open_files(&directory);
        assert!(open <= 3, "{open} files are open after VLSN {}", from - 1);
        let file = u32::try_from(from / 10).unwrap().saturating_sub(2);
        while deleted < file {
            log.delete(deleted);
            deleted += 1;
        }
    }
    while deleted < 59 {
        log.delete(deleted);
        deleted += 1;
    }
    reader.pause();
    let (open, gone) = open_files(&directory);
    assert!(open <= 2 && gone == 0, "{open} files are open, {gone} of them deleted");
}

/// 40 files of 2 MiB and more: the last VLSN is found without reading more than a file or two.
#[test]
fn a_vlsn_is_sought_by_bisecting_files_not_by_reading_the_log() {
    let mut log = LogDir::empty();
    let mut vlsn = 0;
    for number in 0..40 {
        log.begin_file(number);
        let mut bytes = Vec::new();
        let at = log.end();
        bytes.extend(log.next_entry(common::TRACE, 0, None, b"no VLSN").1);
        // Some files have none at all.
        for _ in 0..(if number % 7 == 3 { 0 } else { 20_000 }) {
            vlsn += 1;
            bytes.extend(log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn)).1);
        }
        log.write_at(at, &bytes);
    }
    let last = u64::try_from(vlsn).unwrap();
    let file_bytes = log.bytes(39).len() as u64;
    for (from, most_files) in [(last, 3), (last - 3, 3), (last / 2, 23), (1, 41)] {
        let disk = CountingDisk::over(log.path());
        let counts = Arc::clone(&disk.counts);
        let mut reader = Reader::over(Arc::new(disk), Lsn::NULL, options());
        for vlsn in from..=last {
            assert!(matches!(reader.next(vlsn), Ok(Got::Entry(found, ..)) if found == vlsn));
        }
        let (.., bytes) = counts.take();
        assert!(bytes < most_files * file_bytes, "from {from}: {bytes} bytes, a file has {file_bytes}");
    }
    let range = noxu_feeder::log::Log::open(log.path(), options(), None).unwrap().vlsn_range().unwrap();
    assert_eq!(range, Some((1, last)));
}

/// How many bytes are read for the VLSNs from `from` to `last` in the log at `path`; with none, to find that out.
fn bytes_to_read(path: &std::path::Path, from: u64, last: u64) -> u64 {
    let disk = CountingDisk::over(path);
    let counts = Arc::clone(&disk.counts);
    let mut reader = Reader::over(Arc::new(disk), Lsn::NULL, options());
    for vlsn in from..=last {
        assert!(matches!(reader.next(vlsn), Ok(Got::Entry(found, ..)) if found == vlsn), "from {from}: VLSN {vlsn}");
    }
    if from > last {
        assert!(matches!(reader.next(from), Ok(Got::Nothing(_))));
    }
    let (.., bytes) = counts.take();
    bytes
}

#[test]
fn a_vlsn_is_sought_within_a_file_too_wherever_it_is_in_it() {
    let entries = 100_000;
    let log = common::log_of(entries, 1000, None);
    let log_bytes = entries * 1022;
    for from in [1, 1000, entries / 3, entries - 30_000, entries] {
        let behind = (entries + 1 - from) * 1022;
        let beside = bytes_to_read(log.path(), from, entries).saturating_sub(behind);
        assert!(beside < log_bytes / 4, "from {from}: {beside} bytes beside the {behind} from there on");
    }
}

#[test]
fn a_replica_that_has_all_does_not_have_the_log_read_to_find_that_out() {
    let mut log = LogDir::empty();
    let mut vlsn = 0;
    for number in 0..4 {
        log.begin_file(number);
        let (at, mut bytes) = (log.end(), Vec::new());
        for _ in 0..20_000 {
            vlsn += 1;
            bytes.extend(log.next_entry(RECORD, 0, Some(vlsn), &[7; 300]).1);
        }
        log.write_at(at, &bytes);
    }
    let last = u64::try_from(vlsn).unwrap();
    let bytes = bytes_to_read(log.path(), last + 1, last);
    let file_bytes = log.bytes(3).len() as u64;
    assert!(bytes < 2 * file_bytes, "{bytes} bytes, a file has {file_bytes}");
}

/// A payload that is a copy of a log is not taken for entries, also if a search begins in its middle.
#[test]
fn copies_of_a_log_in_payloads_are_no_entries() {
    // Short entries, each naming the one before: a search could take them for the log.
    let mut inner = LogDir::empty();
    inner.begin_file(0);
    let copy: Vec<u8> = (1..=300).flat_map(|vlsn| inner.next_entry(RECORD, 0, Some(vlsn), b"copied").1).collect();
    let mut log = LogDir::empty();
    log.begin_file(0);
    // Cut off in the middle of an entry, each at another place.
    let payload = |vlsn: u64| &copy[..copy.len() - (vlsn * 379 % 3000) as usize];
    let (at, mut bytes) = (log.end(), Vec::new());
    for vlsn in 1_u64..=400 {
        bytes.extend(log.next_entry(RECORD, 0, Some(vlsn.cast_signed()), payload(vlsn)).1);
    }
    log.write_at(at, &bytes);
    for from in [2, 100, 250, 299, 399, 400] {
        let mut reader = log.reader();
        for vlsn in from..=400 {
            assert_eq!(reader.next(vlsn), Ok(Got::Entry(vlsn, RECORD, payload(vlsn).to_vec())), "from {from}");
        }
    }
}

/// VLSN 15 000 stands early, behind an entry that is damaged; reading begins far behind both.
#[test]
fn what_is_hidden_by_damage_before_the_place_sought_is_not_called_missing() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let (begin, mut bytes, mut damaged) = (log.end(), Vec::new(), Lsn::NULL);
    for vlsn in (1..=2000).chain([15_000]).chain(2001..15_000).chain(15_001..=20_000) {
        let (lsn, entry) = log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn));
        bytes.extend(entry);
        if vlsn == 1000 {
            damaged = lsn;
        }
    }
    log.write_at(begin, &bytes);
    let mut reader = log.reader();
    assert_eq!(reader.read(15_000).unwrap(), range(15_000..=20_000));
    log.write_at(Lsn::new(0, damaged.offset() + 30), b"damaged");
    let mut reader = log.reader();
    let error = reader.wait_from(15_000, 2 * PATIENCE).unwrap_err();
    assert!(matches!(error, Error::LogDamaged { at, .. } if at == damaged), "{error}");
    // A reader that does not need the hidden entry does not see the damage.
    assert_eq!(log.reader().read(15_001).unwrap(), range(15_001..=20_000));
}

#[test]
fn what_stands_early_in_a_file_before_the_one_sought_is_found_there() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let mut first = Vec::new();
    let at = log.end();
    // Far more disorder than usual: 90 000 stands 60 000 entries early, at the end of file 0.
    for vlsn in (1..=30_000).chain([90_000]) {
        first.extend(log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn)).1);
    }
    log.write_at(at, &first);
    log.begin_file(1);
    let mut second = Vec::new();
    let at = log.end();
    for vlsn in (30_001..90_000).chain(90_001..=90_010) {
        second.extend(log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn)).1);
    }
    log.write_at(at, &second);
    for from in [90_000, 89_999, 70_000] {
        let mut reader = log.reader();
        let mut got = reader.read(from).unwrap();
        got.extend(reader.wait(SETTLE).unwrap());
        assert_eq!(got, range(from..=90_010), "from {from}");
    }
}

#[test]
fn a_file_before_the_one_sought_that_is_completed_late_is_looked_at_again() {
    let mut log = LogDir::with(1..=40);
    let (late_at, late) = log.next_entry(RECORD, 0, Some(20_002), &LogDir::payload(20_002));
    log.begin_file(1);
    log.append_all((41..=20_001).chain([20_003]));
    let mut reader = log.reader();
    assert_eq!(reader.read(20_000).unwrap(), [20_000, 20_001]);
    assert!(reader.scanner.counts().below < 19_960, "it began in file 1");
    assert_eq!(reader.pause().missing_vlsn, Some(20_002));
    log.write_at(late_at, &late);
    assert_eq!(reader.wait(SETTLE).unwrap(), [20_002, 20_003], "long before it is called a gap");
}

#[test]
fn a_caught_up_replica_waits_for_the_next_vlsn() {
    let mut log = LogDir::with(1..=20);
    let mut reader = log.reader();
    assert_eq!(reader.read(21).unwrap(), [0; 0]);
    reader.now += 2 * PATIENCE;
    assert_eq!(reader.pause().reason, WaitReason::End);
    log.append_all(21..=23);
    assert_eq!(reader.read(21).unwrap(), [21, 22, 23]);
}

#[test]
fn a_range_is_known_while_there_is_anything_in_the_log() {
    let open = |log: &LogDir| noxu_feeder::log::Log::open(log.path(), options(), None).unwrap();
    let mut log = LogDir::empty();
    assert_eq!(open(&log).vlsn_range().unwrap(), None);
    log.begin_file(0);
    log.append_untagged(b"nothing replicated");
    assert_eq!(open(&log).vlsn_range().unwrap(), None);
    log.append_all([8, 7, 9, 11]);
    assert_eq!(open(&log).vlsn_range().unwrap(), Some((11, 11)), "10 is missing for good, as far as one can tell");
    log.append(10);
    assert_eq!(open(&log).vlsn_range().unwrap(), Some((7, 11)));
}

#[test]
fn a_long_quiet_log_is_not_listed_again() {
    let log = LogDir::with(1..=3);
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let mut reader = Reader::over(Arc::new(disk), Lsn::NULL, options());
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    // The directory's time stamp becomes proof by being looked at, twice, with the longest tick between.
    for _ in 0..3 {
        reader.pause();
        reader.now += SETTLE;
    }
    counts.take();
    reader.pause();
    reader.pause();
    assert_eq!(counts.take().0, 0, "still listed at every look");
}

#[test]
fn disorder_behind_a_numbering_gap_is_disorder_and_no_missing_file() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(5);
    log.append_all([4, 5, 7]);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(reader.wait(PATIENCE / 2).unwrap(), [0; 0], "as patient as anywhere at the live end");
    log.append(6);
    assert_eq!(reader.read(0).unwrap(), [6, 7]);
}

#[test]
fn a_new_log_whose_first_commit_is_late_is_waited_for() {
    let mut log = LogDir::with([2, 3]);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [0; 0]);
    assert_eq!(reader.wait(PATIENCE / 2).unwrap(), [0; 0]);
    log.append(1);
    assert_eq!(reader.read(0).unwrap(), [1, 2, 3]);
}

#[test]
fn the_lowest_vlsn_is_found_under_a_send_limit_and_before_a_torn_end() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let at = log.append_all(50..=60);
    let mut reader = log.reader();
    reader.send_limit = at[4];
    assert_eq!(reader.read(0).unwrap(), [50, 51, 52, 53]);
    let shared = noxu_feeder::log::Log::open(log.path(), options(), None).unwrap();
    shared.set_send_limit(at[4]);
    assert_eq!(shared.vlsn_range().unwrap(), Some((50, 53)));
    shared.set_send_limit(Lsn::NULL);
    log.truncate(0, u64::from(log.end().offset()) - 1);
    assert_eq!(shared.vlsn_range().unwrap(), Some((50, 59)));
}

#[test]
fn a_link_to_the_log_that_is_switched_does_not_switch_the_log() {
    let mut log = LogDir::with(1..=3);
    let other = LogDir::with(1..=30);
    let place = tempfile::tempdir().unwrap();
    let link = place.path().join("current");
    symlink(log.path(), &link).unwrap();
    let mut reader = Reader::over(Arc::new(Directory::open(&link).unwrap()), Lsn::NULL, options());
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    fs::remove_file(&link).unwrap();
    symlink(other.path(), &link).unwrap();
    log.append(4);
    assert_eq!(reader.wait(SETTLE).unwrap(), [4]);
    log.begin_file(1);
    log.append_all(5..=6);
    assert_eq!(reader.wait(SETTLE).unwrap(), [5, 6]);
}

/// The working directory is the whole process's, so this is another one: the test calls itself.
#[test]
fn a_relative_path_is_resolved_once() {
    const OTHER: &str = "NOXU_FEEDER_TEST_GOES_TO";
    let Some(other) = std::env::var_os(OTHER) else {
        let (log, other) = (LogDir::with(1..=3), LogDir::with(11..=30));
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", "a_relative_path_is_resolved_once"]);
        itself.current_dir(log.path().parent().unwrap()).env(OTHER, other.path());
        itself.env("NOXU_FEEDER_TEST_LOG", log.path().file_name().unwrap());
        let output = itself.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    };
    let name = std::env::var_os("NOXU_FEEDER_TEST_LOG").unwrap();
    let files = Arc::new(Directory::open(Path::new(&name)).unwrap());
    let mut reader = Reader::over(files, Lsn::NULL, options());
    // There, too, is a log of that name.
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(other, elsewhere.path().join(&name)).unwrap();
    std::env::set_current_dir(elsewhere.path()).unwrap();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
}

#[test]
fn reads_may_bring_no_more_than_they_have_to() {
    let mut log = LogDir::with([2, 4, 3, 1, 6]);
    log.append_entry(RECORD, 0, Some(8), &LogDir::payload(8));
    log.append_all([7, 5]);
    let mut disk = CountingDisk::over(log.path());
    disk.is_stingy = true;
    let disk = Arc::new(disk);
    for start in [1, 0, 6] {
        let mut reader = Reader::over(Arc::clone(&disk) as _, Lsn::NULL, options());
        assert_eq!(reader.read(start).unwrap(), range(start.max(1)..=8), "from {start}");
    }
}
