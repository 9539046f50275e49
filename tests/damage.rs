//! Damage in the log: each kind is waited for, then named, and nothing at or behind it is returned.

mod common;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{CountingDisk, Got, LogDir, NOT_REGULAR, PATIENCE, RECORD, Reader, SETTLE, options, write_file};
use noxu_feeder::error::{EntryFault, Error};
use noxu_feeder::log::files::{Directory, DirectoryStamp, FileIdentity, Files, LogFile};
use noxu_feeder::log::format::{FileHeader, HeaderFault, MAX_ITEM_SIZE, encode_entry};
use noxu_feeder::log::order::WindowLimits;
use noxu_feeder::log::tail::WaitReason;
use noxu_feeder::log::{Log, Lsn};

/// Reads all there is, then lets the settle time pass; the VLSNs and the error.
fn read_to_the_error(reader: &mut Reader) -> (Vec<u64>, Error) {
    let mut vlsns = reader.read(1).unwrap_or_else(|error| panic!("too soon: {error}"));
    let error = loop {
        match reader.wait(SETTLE) {
            Ok(more) => vlsns.extend(more),
            Err(error) => break error,
        }
        assert!(vlsns.len() < 1000);
    };
    let again = reader.next(0).unwrap_err();
    assert_eq!(again, error, "it stays");
    (vlsns, error)
}

/// Three entries, of which the middle one can be damaged; sealed: a file with more behind.
fn three_entries(sealed: bool) -> (LogDir, Vec<Lsn>) {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let mut at = log.append_all(1..=3);
    at.push(log.end());
    if sealed {
        log.begin_file(1);
        log.append_all(4..=6);
    }
    (log, at)
}

/// Every single bit of an entry, header and payload. All but the invisible bit, which does not count.
#[test]
fn a_flipped_bit_anywhere_in_an_entry_is_found_and_nothing_behind_it_is_sent() {
    for sealed in [false, true] {
        let (log, at) = three_entries(sealed);
        let good = log.bytes(0);
        for byte in at[1].offset()..at[2].offset() {
            for bit in 0..8 {
                let mask = 1 << bit;
                let place = byte as usize;
                let is_invisible_bit = byte == at[1].offset() + 5 && mask == 0x10;
                if is_invisible_bit || (!byte.is_multiple_of(3) && bit % 3 != 0) {
                    continue;
                }
                log.write_at(Lsn::new(0, byte), &[good[place] ^ mask]);
                let mut reader = log.reader();
                let case = format!("sealed {sealed}, byte {}, bit {bit}", byte - at[1].offset());
                assert_eq!(reader.read(1).unwrap(), [1], "{case}");
                assert_eq!(reader.wait(SETTLE - SETTLE / 4).unwrap(), [0; 0], "{case}");
                let result = reader.wait(2 * SETTLE);
                match &result {
                    Err(Error::LogDamaged { at: place, expected_vlsn, .. }) => {
                        assert_eq!((*place, *expected_vlsn), (at[1], Some(2)), "{case}");
                    }
                    // A type of 0 is a hole, a larger size a torn end: in the live file that is a stall.
                    Ok(none) if !sealed => {
                        assert!(none.is_empty() && reader.pause().stalled, "{case}: {none:?}");
                    }
                    other => panic!("{case}: {other:?}"),
                }
                log.write_at(Lsn::new(0, byte), &good[place..=place]);
            }
        }
        let whole = log.reader().read(1).unwrap();
        assert_eq!(whole.len(), if sealed { 6 } else { 3 }, "the log is as it was");
    }
}

#[test]
fn a_failing_checksum_names_file_offset_vlsn_and_both_checksums() {
    let (log, at) = three_entries(true);
    let payload = at[1].offset() + 22;
    let byte = log.bytes(0)[payload as usize];
    log.write_at(Lsn::new(0, payload), &[byte ^ 1]);
    let (vlsns, error) = read_to_the_error(&mut log.reader());
    assert_eq!(vlsns, [1]);
    let stored = u32::from_le_bytes(log.bytes(0)[at[1].offset() as usize..][..4].try_into().unwrap());
    let Error::LogDamaged { fault: EntryFault::Checksum { stored: in_error, computed }, vlsn, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((in_error, vlsn), (stored, Some(2)));
    assert_ne!(computed, stored);
    assert_eq!((error.file(), error.offset(), error.vlsn()), (Some(0), Some(u64::from(at[1].offset())), Some(2)));
}

#[test]
fn a_size_that_no_entry_has_allocates_nothing_and_is_named() {
    for size in [MAX_ITEM_SIZE + 1, 0x8000_0000, u32::MAX] {
        let (log, at) = three_entries(true);
        log.write_at(Lsn::new(0, at[1].offset() + 10), &size.to_le_bytes());
        let (vlsns, error) = read_to_the_error(&mut log.reader());
        assert_eq!(vlsns, [1]);
        assert!(
            matches!(error, Error::LogDamaged { fault: EntryFault::Oversize(found), .. } if found == size),
            "{error}"
        );
    }
}

#[test]
fn an_entry_that_runs_past_its_file_is_a_stall_in_the_live_file_and_an_error_in_a_sealed_one() {
    for sealed in [false, true] {
        let (mut log, at) = three_entries(sealed);
        let len = at[3].offset() - 1;
        log.truncate(0, u64::from(len));
        let mut reader = log.reader();
        if sealed {
            let (vlsns, error) = read_to_the_error(&mut reader);
            assert_eq!(vlsns, [1, 2]);
            let present = u64::from(len - at[2].offset());
            let torn = EntryFault::Torn { needed: present + 1, present };
            assert!(
                matches!(&error, Error::LogDamaged { at: place, fault, .. }
                if *place == at[2] && *fault == torn),
                "{error}"
            );
        } else {
            assert_eq!(reader.wait_from(1, 10 * PATIENCE).unwrap(), [1, 2]);
            let pause = reader.pause();
            assert_eq!((pause.reason, pause.at, pause.stalled), (WaitReason::Torn, at[2], true));
            // The writer's recovery cuts the torn end and goes on.
            log.truncate(0, u64::from(at[2].offset()));
            assert_eq!(reader.pause().reason, WaitReason::End);
        }
    }
}

#[test]
fn a_cut_back_to_the_cursor_clears_what_the_torn_bytes_caused() {
    let (mut log, at) = three_entries(false);
    log.write_at(Lsn::new(0, at[2].offset() + 22), b"XX");
    let mut reader = log.reader();
    let (vlsns, error) = read_to_the_error(&mut reader);
    assert_eq!(vlsns, [1, 2]);
    assert!(matches!(error, Error::LogDamaged { .. }), "{error}");
    log.truncate(0, u64::from(at[2].offset()));
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    let mut rewritten = Vec::new();
    noxu_feeder::log::format::encode_entry(&mut rewritten, RECORD, 0, at[1].offset(), Some(3), &LogDir::payload(3));
    log.write_at(at[2], &rewritten);
    assert_eq!(reader.read(0).unwrap(), [3]);
}

#[test]
fn zeros_in_a_file_are_waited_for_and_never_taken_for_an_end() {
    let mut log = LogDir::with(1..=3);
    let (hole, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    let (behind, more) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    log.write_at(behind, &more);
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 10 * PATIENCE).unwrap(), [1, 2, 3]);
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.at, pause.stalled), (WaitReason::Hole, hole, true));
    log.write_at(hole, &bytes);
    assert_eq!(reader.read(0).unwrap(), [4, 5]);
}

#[test]
fn a_hole_is_crossed_when_what_is_behind_it_proves_that_nothing_is_missing() {
    let mut log = LogDir::with(1..=3);
    let (_, hole) = log.next_entry(common::TRACE, 0, None, &[1; 1000]);
    let (behind, more) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    log.write_at(behind, &more);
    log.write_at(log.end(), &[]);
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3]);
    assert!(reader.pause().stalled, "5 is behind it, and 4 could be in it");
    log.append(4);
    assert_eq!(reader.wait(SETTLE).unwrap(), [4, 5]);
    assert_eq!(reader.scanner.tail().holes_crossed(), 1);
    drop(hole);
}

#[test]
fn a_hole_that_fills_after_it_was_crossed_is_looked_at_again_before_a_gap_is_declared() {
    let mut log = LogDir::with(1..=3);
    let (hole, in_it) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    let (behind, four) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    let (_, six) = log.next_entry(RECORD, 0, Some(6), &LogDir::payload(6));
    log.write_at(behind, &[four, six].concat());
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3, 4]);
    assert_eq!(reader.pause().missing_vlsn, Some(5));
    log.write_at(hole, &in_it);
    assert_eq!(reader.wait(PATIENCE).unwrap(), [5, 6]);
}

#[test]
fn an_entry_written_late_in_the_middle_of_a_hole_that_was_crossed_is_found() {
    for is_live in [true, false] {
        let mut log = LogDir::with(1..=3);
        // A backup's hole, that stays, and an entry that is not written yet.
        let _ = log.next_entry(common::TRACE, 0, None, &[1; 1000]);
        let (late_at, late) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
        let (behind, four) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        let (_, six) = log.next_entry(RECORD, 0, Some(6), &LogDir::payload(6));
        log.write_at(behind, &[four, six].concat());
        let mut reader = log.reader();
        assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3, 4]);
        assert_eq!(reader.pause().missing_vlsn, Some(5));
        log.write_at(late_at, &late);
        if is_live {
            assert_eq!(reader.wait(SETTLE).unwrap(), [5, 6], "long before it is called a gap");
        } else {
            // A hole in a sealed file. The missing VLSN does not stand behind it.
            log.begin_file(1);
            let _ = log.next_entry(common::TRACE, 0, None, &[1; 1000]);
            let (behind, seven) = log.next_entry(RECORD, 0, Some(7), &LogDir::payload(7));
            log.write_at(behind, &seven);
            log.begin_file(2);
            log.append(8);
            assert_eq!(reader.wait(3 * SETTLE).unwrap(), [5, 6, 7, 8]);
        }
    }
}

#[test]
fn an_entry_written_late_in_the_file_left_last_is_sent_although_nothing_comes_behind_it() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    // An entry without a VLSN behind a backup's hole: the file is entered, and no entry in it shows which VLSN is
    // missing.
    log.append_untagged_behind_a_hole();
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::Hole);
    log.truncate(1, 36);
    assert_eq!(reader.pause().reason, WaitReason::End);
    log.append_to(0, 4);
    assert_eq!(reader.read(0).unwrap(), [4]);
}

#[test]
fn the_newest_entry_of_all_is_sent_when_it_comes_late_where_reading_has_passed() {
    let mut log = LogDir::with(1..=3);
    let (late_at, late) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    let (behind, four) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.write_at(behind, &four);
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3, 4]);
    // Nothing is missing, and nothing shows that there is more.
    assert_eq!(reader.pause().reason, WaitReason::End);
    log.write_at(late_at, &late);
    reader.now += SETTLE;
    assert_eq!(reader.read(0).unwrap(), [5]);
    // The same at the end of a file that was left.
    log.begin_file(1);
    log.append(6);
    assert_eq!(reader.read(0).unwrap(), [6]);
    log.append_to(0, 7);
    reader.now += SETTLE;
    assert_eq!(reader.read(0).unwrap(), [7]);
}

#[test]
fn a_file_is_looked_back_at_however_many_were_read_since_in_one_go() {
    let mut log = LogDir::with(1..=3);
    for number in 1..=200 {
        log.begin_file(number);
        log.append(4 + i64::from(number));
    }
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.append_to(0, 4);
    assert_eq!(reader.read(0).unwrap(), (4..=204).collect::<Vec<u64>>());
}

#[test]
fn zeros_that_were_cut_away_do_not_count_as_having_stood() {
    let mut log = LogDir::with(1..=3);
    let end = log.end();
    log.append_untagged_behind_a_hole();
    let mut reader = log.reader();
    assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3]);
    assert!(reader.pause().stalled);
    log.truncate(0, u64::from(end.offset()));
    assert_eq!(reader.pause().reason, WaitReason::End);
    log.append_untagged_behind_a_hole();
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.stalled), (WaitReason::Hole, false), "{pause:?}");
}

/// Two entries come late in one hole, the second of them first. The zeros before it and behind it are still looked at.
#[test]
fn entries_come_late_in_a_hole_that_was_crossed_in_any_order() {
    for order in [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0]] {
        let mut log = LogDir::with(1..=3);
        let mut late = Vec::new();
        // Where they stand does not tell in which order they come.
        for place in 0..3 {
            let _ = log.next_entry(common::TRACE, 0, None, &[1; 1000]);
            let vlsn = 5 + order.iter().position(|&other| other == place).unwrap() as i64;
            late.push(log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn)));
        }
        let _ = log.next_entry(common::TRACE, 0, None, &[1; 1000]);
        let (behind, four) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        let (_, eight) = log.next_entry(RECORD, 0, Some(8), &LogDir::payload(8));
        log.write_at(behind, &[four, eight].concat());
        let mut reader = log.reader();
        assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3, 4]);
        for (vlsn, place) in (5..).zip(order) {
            let (at, bytes) = &late[place];
            log.write_at(*at, bytes);
            let expected = if vlsn == 7 { vec![7, 8] } else { vec![vlsn] };
            assert_eq!(reader.wait(2 * SETTLE).unwrap(), expected, "in the order {order:?}");
        }
    }
}

/// More of them than a reader goes back for at one look.
#[test]
fn a_file_that_was_left_is_gone_back_to_as_often_as_it_grows() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    log.append_untagged_behind_a_hole();
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::Hole);
    log.truncate(1, 36);
    let _ = reader.pause();
    for vlsn in 4..1200 {
        log.append_to(0, vlsn);
        reader.now += SETTLE;
        assert_eq!(reader.read(0).unwrap(), [vlsn as u64]);
    }
}

/// Whatever it waits for: somebody looks again before it is judged, and in good time.
#[test]
fn a_look_is_asked_for_within_the_settle_time_while_anything_is_waited_for() {
    let torn = |log: &mut LogDir| {
        let (at, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        log.write_at(at, &bytes[..30]);
    };
    let unreadable = |log: &mut LogDir| {
        let (at, _) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        log.write_at(at, &[0x10; 40]);
    };
    let hole = |log: &mut LogDir| log.append_untagged_behind_a_hole();
    let missing = |log: &mut LogDir| drop(log.append_all([5, 6]));
    let empty_next = |log: &mut LogDir| log.begin_file(1);
    let named = |log: &mut LogDir| {
        let _ = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        log.begin_file(1);
        log.append(5);
    };
    type Write = fn(&mut LogDir);
    let cases: [(&str, Write); 6] = [
        ("torn", torn),
        ("unreadable", unreadable),
        ("hole", hole),
        ("missing", missing),
        ("next file empty", empty_next),
        ("last entry missing", named),
    ];
    for (name, write) in cases {
        let mut log = LogDir::with(1..=3);
        write(&mut log);
        let mut reader = log.reader();
        assert_eq!(reader.read(1).unwrap(), [1, 2, 3], "{name}");
        let until = reader.now + SETTLE;
        let mut looks = 0;
        while reader.now < until {
            let Ok(common::Got::Nothing(pause)) = reader.next(0) else { panic!("{name}: it does not wait") };
            let look_again = pause.look_again.unwrap_or_else(|| panic!("{name}: no look is asked for: {pause:?}"));
            assert!(look_again > reader.now && look_again <= until, "{name}: {pause:?}");
            reader.now = look_again;
            looks += 1;
        }
        assert!(looks < 10, "{name}: {looks} looks");
    }
}

/// In the live file and in a lower one.
#[test]
fn an_error_goes_when_its_place_is_completed() {
    for is_sealed in [false, true] {
        let mut log = LogDir::with(1..=3);
        let (at, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        // The part of it that is there is not an entry.
        log.write_at(at, &bytes[..30]);
        if is_sealed {
            log.begin_file(1);
        } else {
            log.write_at(Lsn::new(0, at.offset() + 30), &vec![1; bytes.len() - 30]);
        }
        log.append(5);
        let mut reader = log.reader();
        assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
        let error = reader.wait(3 * SETTLE).unwrap_err();
        assert_eq!(reader.next(0).unwrap_err(), error);
        log.write_at(Lsn::new(at.file(), at.offset() + 30), &bytes[30..]);
        assert_eq!(reader.read(0).unwrap(), [4, 5]);
    }
}

/// A reader whose window is full after some entries.
fn reader_with_a_small_window(log: &LogDir, entries_max: usize, bytes_max: u64) -> Reader {
    let mut options = common::options();
    options.window = WindowLimits { entries_max, bytes_max };
    Reader::over(Arc::new(Directory::open(log.path()).unwrap()), Lsn::NULL, options)
}

#[test]
fn what_was_written_late_in_a_file_that_was_left_is_taken_although_the_window_is_full() {
    for is_full_at_once in [true, false] {
        let mut log = LogDir::with(1..=3);
        log.begin_file(1);
        log.append_all([7, 8]);
        let mut reader = reader_with_a_small_window(&log, 1000, if is_full_at_once { 300 } else { 400 });
        assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
        // The first of them are early themselves.
        for vlsn in [6, 5, 4] {
            log.append_to(0, vlsn);
        }
        log.append_all(9..=20);
        let expected: Vec<u64> = (4..=20).collect();
        assert_eq!(reader.read(0).unwrap(), expected, "full at once: {is_full_at_once}");
    }
}

#[test]
fn what_was_written_late_in_a_hole_that_was_crossed_is_taken_although_the_window_is_full() {
    let mut log = LogDir::with(1..=3);
    let (in_hole, six) = log.next_entry(RECORD, 0, Some(6), &LogDir::payload(6));
    let (_, five) = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    let (behind, four) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.write_at(behind, &four);
    let mut reader = reader_with_a_small_window(&log, 1000, 300);
    assert_eq!(reader.wait_from(1, 2 * SETTLE).unwrap(), [1, 2, 3, 4]);
    log.write_at(in_hole, &[six, five].concat());
    log.append_all(7..=20);
    let expected: Vec<u64> = (5..=20).collect();
    assert_eq!(reader.read(0).unwrap(), expected);
}

#[test]
fn what_is_too_far_ahead_at_a_passed_place_is_found_there_again_when_it_is_needed() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    log.append_all([6, 7]);
    let mut reader = reader_with_a_small_window(&log, 8, 1_000_000);
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    for vlsn in [13, 5, 12, 4] {
        log.append_to(0, vlsn);
    }
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6, 7]);
    log.append_all((8..=11).chain(14..=19));
    let expected: Vec<u64> = (8..=19).collect();
    assert_eq!(reader.read(0).unwrap(), expected);
}

#[test]
fn what_is_too_far_ahead_at_a_passed_place_is_not_read_again_and_again() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    log.append_all([6, 7]);
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let mut options = common::options();
    options.window.entries_max = 8;
    let mut reader = Reader::over(Arc::new(disk), Lsn::NULL, options);
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.append_to(0, 13);
    counts.take();
    assert_eq!(reader.pause().missing_vlsn, Some(4));
    let (.., reads, _) = counts.take();
    assert!(reads < 20, "{reads}");
    let gap = Error::LogGap { expected: 4, found: 6, at: Lsn::new(1, 36) };
    assert_eq!(reader.wait(PATIENCE).unwrap_err(), gap);
}

/// Reading began behind the damage, and its window is full of entries that stand too early there. Before the damage
/// stands an early entry, too, which is held back already.
#[test]
fn damage_that_hides_what_is_missing_is_named_although_the_window_is_full() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let (begin, mut bytes, mut damaged) = (log.end(), Vec::new(), Lsn::NULL);
    for vlsn in (1..=500).chain([15_001]).chain(501..=2000).chain([15_000]).chain(2001..15_000).chain(15_002..=20_000) {
        let (lsn, entry) = log.next_entry(RECORD, 0, Some(vlsn), &LogDir::payload(vlsn));
        bytes.extend(entry);
        if vlsn == 1000 {
            damaged = lsn;
        }
    }
    log.write_at(begin, &bytes);
    log.write_at(Lsn::new(0, damaged.offset() + 30), b"damaged");
    let mut reader = reader_with_a_small_window(&log, 1 << 18, 10_000);
    let error = reader.wait_from(15_000, 2 * PATIENCE).unwrap_err();
    assert!(matches!(error, Error::LogDamaged { at, .. } if at == damaged), "{error}");
}

#[test]
fn what_does_not_follow_on_a_passed_place_is_not_gone_back_to_again_and_again() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    log.append(5);
    let disk = CountingDisk::over(log.path());
    let counts = Arc::clone(&disk.counts);
    let mut reader = Reader::over(Arc::new(disk), Lsn::NULL, common::options());
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    let mut bytes = Vec::new();
    encode_entry(&mut bytes, RECORD, 0, 7, Some(4), &LogDir::payload(4));
    log.write_at(Lsn::new(0, u32::try_from(log.bytes(0).len()).unwrap()), &bytes);
    counts.take();
    assert_eq!(reader.pause().missing_vlsn, Some(4));
    let (.., reads, _) = counts.take();
    assert!(reads < 20, "{reads}");
    let gap = Error::LogGap { expected: 4, found: 5, at: Lsn::new(1, 36) };
    assert_eq!(reader.wait(PATIENCE).unwrap_err(), gap);
}

#[test]
fn a_hole_in_a_sealed_file_without_proof_is_an_error() {
    let (log, at) = three_entries(true);
    log.write_at(at[1], &vec![0; (at[2].offset() - at[1].offset()) as usize]);
    let (vlsns, error) = read_to_the_error(&mut log.reader());
    assert_eq!(vlsns, [1]);
    assert!(matches!(&error, Error::LogDamaged { at: place, fault: EntryFault::Hole, .. } if *place == at[1]));
}

#[test]
fn a_file_that_lacks_the_entry_that_the_next_one_names_is_waited_for_then_an_error() {
    let mut log = LogDir::with(1..=3);
    let (missing, bytes) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.begin_file(1);
    log.append_all(5..=6);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::LastEntryMissing);
    let (_, error) = read_to_the_error(&mut log.reader());
    let named = EntryFault::EndsEarly(missing.offset());
    assert!(matches!(&error, Error::LogDamaged { fault, .. } if *fault == named), "{error}");
    log.write_at(missing, &bytes);
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6], "it came late");
}

#[test]
fn a_lower_file_that_is_completed_after_the_next_has_entries_is_read_to_its_end() {
    let mut log = LogDir::with(1..=3);
    let lower = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.begin_file(1);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::NextFileEmpty);
    log.append_all(5..=6);
    log.write_at(lower.0, &lower.1);
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6]);
}

// --- files --------------------------------------------------------------------------------------------------

#[test]
fn each_fault_of_a_file_header_is_named() {
    let good = FileHeader { version: 3, file_number: 1, last_entry_in_previous: 0 }.encode();
    let change = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let v2 = FileHeader { version: 2, file_number: 1, last_entry_in_previous: 0 }.encode();
    let mut v2_order = v2.clone();
    v2_order[12] = 1;
    let mut v2_number = v2.clone();
    v2_number[27] = 9;
    type Expected = fn(&HeaderFault) -> bool;
    let cases: [(Vec<u8>, Expected); 8] = [
        (change(11, 4), |fault| *fault == HeaderFault::Version(4)),
        (change(11, 1), |fault| *fault == HeaderFault::Version(1)),
        (change(0, b'X'), |fault| *fault == HeaderFault::Magic),
        (change(20, 1), |fault| matches!(fault, HeaderFault::Checksum { .. })),
        (v2_order, |fault| *fault == HeaderFault::ByteOrder(1)),
        (v2_number, |fault| *fault == HeaderFault::FileNumber(9)),
        (b"garbage".repeat(100), |fault| *fault == HeaderFault::Magic),
        (Vec::new(), |fault| *fault == HeaderFault::Short(0)),
    ];
    for (case, (header, expected)) in cases.into_iter().enumerate() {
        // Sealed: a good file is behind it.
        let mut log = LogDir::with(1..=3);
        log.begin_file(1);
        log.append_all(4..=6);
        log.begin_file(2);
        log.append_all(7..=9);
        let behind = log.bytes(1)[36..].to_vec();
        let is_short = header.len() < 32;
        write_file(&log.file_path(1), &if is_short { header } else { [header, behind].concat() });
        let mut reader = log.reader();
        assert_eq!(reader.read(1).unwrap_or_default().len() % 3, 0);
        let error = reader.wait(2 * SETTLE).unwrap_err();
        let Error::LogFileHeader { file: 1, fault } = &error else { panic!("case {case}: {error}") };
        assert!(expected(fault), "case {case}: {error}");
        assert_eq!(reader.scanner.counts().returned, 3, "case {case}");
    }
}

#[test]
fn a_newest_file_shorter_than_its_header_is_being_born() {
    let header = FileHeader { version: 3, file_number: 1, last_entry_in_previous: 0 }.encode();
    for len in [0, 1, 31, 32, 35] {
        let mut log = LogDir::with(1..=3);
        write_file(&log.file_path(1), &header[..len]);
        let mut reader = log.reader();
        assert_eq!(reader.wait_from(1, 10 * PATIENCE).unwrap(), [1, 2, 3], "{len} bytes");
        assert!(!reader.pause().stalled);
        log.begin_file(1);
        log.append_all(4..=5);
        assert_eq!(reader.read(0).unwrap(), [4, 5], "{len} bytes");
        // The same where reading begins.
        let mut log = LogDir::empty();
        write_file(
            &log.file_path(0),
            &FileHeader { version: 3, file_number: 0, last_entry_in_previous: 0 }.encode()[..len],
        );
        let mut reader = log.reader();
        assert_eq!(reader.wait(10 * PATIENCE).unwrap(), [0; 0]);
        log.begin_file(0);
        log.append(1);
        assert_eq!(reader.read(1).unwrap(), [1]);
    }
}

#[test]
fn files_deleted_behind_the_cursor_are_not_missed() {
    let mut log = LogDir::with(1..=3);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.begin_file(1);
    log.append_all(4..=6);
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6]);
    log.delete(0);
    log.append_all(7..=9);
    assert_eq!(reader.read(0).unwrap(), [7, 8, 9]);
}

#[test]
fn a_file_deleted_at_the_cursor_is_read_to_its_end() {
    let mut log = LogDir::with(1..=3);
    let mut reader = log.reader();
    assert!(matches!(reader.next(1), Ok(common::Got::Entry(1, ..))));
    log.begin_file(1);
    log.append_all(4..=6);
    log.delete(0);
    assert_eq!(reader.read(0).unwrap(), [2, 3, 4, 5, 6]);
}

#[test]
fn the_newest_file_deleted_at_the_cursor_is_an_error_once_something_was_read_from_it() {
    let log = LogDir::with(1..=3);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.delete(0);
    let error = reader.read(0).unwrap_err();
    assert_eq!(error, Error::LogFileGone { file: 0, expected_vlsn: Some(4), found_vlsn: None });
}

#[test]
fn a_file_that_vanishes_unread_and_is_born_again_is_read() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    let mut reader = log.reader_from(Lsn::new(1, 0));
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    log.delete(1);
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    log.begin_file(1);
    log.append_all(4..=6);
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6]);
}

#[test]
fn a_file_made_anew_while_the_next_one_exists_is_read() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [0; 0]);
    log.begin_file(1);
    assert_eq!(reader.pause().reason, WaitReason::NextFileEmpty);
    log.delete(1);
    log.delete(0);
    log.begin_file(0);
    log.append_all(1..=3);
    log.begin_file(1);
    assert_eq!(reader.read(0).unwrap(), [1, 2, 3]);
    log.delete(1);
    log.delete(0);
    log.begin_file(0);
    log.append_all(1..=5);
    log.begin_file(1);
    let gone = Error::LogFileGone { file: 0, expected_vlsn: Some(4), found_vlsn: None };
    assert_eq!(reader.read(0).unwrap_err(), gone, "what was read from it before");
}

#[test]
fn after_a_recovery_the_file_that_is_written_on_is_read_on() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.append(4);
    log.begin_file(2);
    assert_eq!(reader.read(0).unwrap(), [4]);
    log.append_untagged_behind_a_hole();
    assert_eq!(reader.pause().reason, WaitReason::Hole, "nothing of file 2 was read");
    log.delete(1);
    log.delete(2);
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    // The cleaner took file 1, and a recovery file 2.
    log.append_to(0, 5);
    assert_eq!(reader.read(0).unwrap(), [5]);
}

#[test]
fn a_log_made_anew_below_a_file_that_vanished_unread_is_an_error() {
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    log.append_untagged_behind_a_hole();
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::Hole);
    log.delete(1);
    log.delete(0);
    assert_eq!(reader.pause().reason, WaitReason::NoFile);
    log.begin_file(0);
    log.append_all(1..=5);
    let gone = Error::LogFileGone { file: 0, expected_vlsn: Some(4), found_vlsn: None };
    assert_eq!(reader.read(0).unwrap_err(), gone);
}

#[test]
fn what_a_recovery_deleted_before_it_was_looked_at_is_not_sent() {
    let mut log = LogDir::with(1..=3);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.append(4);
    log.delete(0);
    let gone = Error::LogFileGone { file: 0, expected_vlsn: Some(4), found_vlsn: None };
    assert_eq!(reader.read(0).unwrap_err(), gone);
}

#[test]
fn what_was_known_of_a_next_file_is_forgotten_with_it() {
    let mut log = LogDir::with(1..=3);
    let _ = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.begin_file(1);
    log.append(5);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    assert_eq!(reader.pause().reason, WaitReason::LastEntryMissing);
    // A recovery deletes it, and the writer begins it anew, with the same name for the entry to come.
    let header = log.bytes(1)[..36].to_vec();
    log.delete(1);
    write_file(&log.file_path(1), &header);
    assert_eq!(reader.pause().reason, WaitReason::NextFileEmpty);
    assert_eq!(reader.wait(2 * SETTLE).unwrap(), [0; 0]);
    // The same, cut and not deleted.
    let mut log = LogDir::with(1..=3);
    let _ = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
    log.begin_file(1);
    log.append(5);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.truncate(1, 36);
    assert_eq!(reader.wait(2 * SETTLE).unwrap(), [0; 0]);
}

#[test]
fn a_log_cut_below_what_was_read_is_an_error() {
    let (mut log, at) = three_entries(false);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.truncate(0, u64::from(at[2].offset()));
    let error = reader.read(0).unwrap_err();
    let (len, read) = (u64::from(at[2].offset()), u64::from(at[3].offset()));
    assert_eq!(error, Error::LogTruncated { file: 0, len, read });
}

#[test]
fn a_log_cut_and_written_anew_below_what_was_read_is_an_error() {
    let (mut log, at) = three_entries(false);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    log.truncate(0, u64::from(at[2].offset()));
    for _ in 0..5 {
        log.append_entry(RECORD, 0, Some(3), b"another history, and longer");
    }
    assert_eq!(reader.read(0).unwrap_err(), Error::LogRewritten { at: at[2] });
}

#[test]
fn nothing_is_returned_from_a_file_that_has_a_name_elsewhere_only() {
    type Removal = fn(&Path, &Path);
    let deleted_with_another_link: Removal = |file, elsewhere| {
        fs::hard_link(file, elsewhere).unwrap();
        fs::remove_file(file).unwrap();
    };
    let moved_aside: Removal = |file, elsewhere| fs::rename(file, elsewhere).unwrap();
    let replaced: Removal = |file, elsewhere| {
        fs::rename(file, elsewhere).unwrap();
        fs::copy(elsewhere, file).unwrap();
    };
    let renamed_in_the_directory: Removal = |file, _| fs::rename(file, file.with_extension("bak")).unwrap();
    for (at, remove) in [deleted_with_another_link, moved_aside, replaced, renamed_in_the_directory].iter().enumerate()
    {
        let mut log = LogDir::with(1..=3);
        let elsewhere = tempfile::tempdir().unwrap();
        let mut reader = log.reader();
        assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
        let handle = fs::OpenOptions::new().append(true).open(log.file_path(0)).unwrap();
        remove(&log.file_path(0), &elsewhere.path().join("snapshot"));
        // Whoever still has it open may write to it.
        let (_, entry) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        (&handle).write_all(&entry).unwrap();
        let gone = Error::LogFileGone { file: 0, expected_vlsn: Some(4), found_vlsn: None };
        assert_eq!(reader.read(0), Err(gone), "case {at}");
    }
}

/// Runs something that must not wait for anybody.
fn promptly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || say.send(work()));
    said.recv_timeout(PATIENCE).expect("it came back")
}

#[test]
fn what_is_no_regular_file_is_named_and_holds_nobody_up() {
    for ((make, what), vlsn) in NOT_REGULAR.into_iter().flat_map(|kind| [0, 1, 2].map(|vlsn| (kind, vlsn))) {
        for number in 0..3 {
            let mut log = LogDir::empty();
            let mut read = Vec::new();
            for file in 0..3 {
                if file == number {
                    make(&log.file_path(file));
                } else {
                    log.begin_file(file);
                    log.append(i64::from(file) + 1);
                    read.extend((file < number && u64::from(file) + 1 >= vlsn).then_some(u64::from(file) + 1));
                }
            }
            let expected = Error::LogNotRegular { file: number, what };
            assert!(expected.to_string().contains(what) && expected.file() == Some(number));
            let open = Log::open(log.path(), options(), None).unwrap();
            // In the middle of the log, it does not have to be looked at for that.
            match promptly(move || open.vlsn_range()) {
                Ok(_) => assert_eq!(number, 1),
                Err(error) => assert_eq!(error, expected),
            }
            let mut reader = log.reader();
            let (vlsns, error) = promptly(move || {
                let mut vlsns = Vec::new();
                loop {
                    match reader.next(vlsns.last().map_or(vlsn, |last| last + 1)) {
                        Ok(Got::Entry(vlsn, ..)) => vlsns.push(vlsn),
                        Ok(Got::Nothing(pause)) => reader.now = pause.look_again.unwrap_or(reader.now + SETTLE),
                        Err(error) => return (vlsns, error),
                    }
                }
            });
            assert_eq!(error, expected, "from VLSN {vlsn}");
            assert_eq!(vlsns, read, "from VLSN {vlsn} with {what} as file {number}");
        }
    }
}

#[test]
fn a_link_to_a_regular_file_is_a_log_file() {
    let (log, elsewhere) = (LogDir::with(1..=3), tempfile::tempdir().unwrap());
    fs::rename(log.file_path(0), elsewhere.path().join("file")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("file"), log.file_path(0)).unwrap();
    assert_eq!(log.reader().read(1).unwrap(), [1, 2, 3]);
}

#[test]
fn a_directory_or_file_that_cannot_be_read_is_an_error_of_the_system() {
    // Root reads everything: then only the directory's removal can be tested.
    let log = LogDir::with(1..=3);
    let mut reader = log.reader();
    fs::set_permissions(log.file_path(0), fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = fs::read(log.file_path(0)).is_ok();
    if !is_root {
        let error = reader.read(1).unwrap_err();
        assert_eq!((error.file(), error.errno()), (Some(0), Some(libc::EACCES)));
    }
    fs::set_permissions(log.file_path(0), fs::Permissions::from_mode(0o600)).unwrap();
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
    fs::remove_dir_all(log.path()).unwrap();
    let error = reader.read(0).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOENT));
    assert!(error.to_string().contains(log.path().to_str().unwrap()), "{error}");
    fs::create_dir(log.path()).unwrap();
}

#[test]
fn the_largest_entry_is_read_and_the_largest_that_a_frame_carries_is_the_streams_concern() {
    let mut log = LogDir::with([1]);
    let payload = vec![5; MAX_ITEM_SIZE as usize];
    log.append_entry(RECORD, 0, Some(2), &payload);
    log.append(3);
    let mut reader = log.reader();
    assert!(matches!(reader.next(1), Ok(common::Got::Entry(1, ..))));
    match reader.next(0).unwrap() {
        common::Got::Entry(2, RECORD, found) => assert!(found == payload),
        got => panic!("{:?}", std::mem::discriminant(&got)),
    }
    assert_eq!(reader.read(0).unwrap(), [3]);
}

#[test]
fn a_newest_file_whose_first_entry_is_no_entry_is_a_stall_or_an_error_and_never_silence() {
    let second_file = |damage: &dyn Fn(&mut LogDir, Lsn)| {
        let mut log = LogDir::with(1..=3);
        log.begin_file(1);
        let at = log.append(4);
        log.append(5);
        damage(&mut log, at);
        log
    };
    let flipped = second_file(&|log, at| log.write_at(Lsn::new(1, at.offset() + 22), b"X"));
    let (vlsns, error) = read_to_the_error(&mut flipped.reader());
    assert_eq!(vlsns, [1, 2, 3]);
    assert!(matches!(error, Error::LogDamaged { at, fault: EntryFault::Checksum { .. }, .. }
        if at == Lsn::new(1, 36)));
    let torn = second_file(&|log, at| log.truncate(1, u64::from(at.offset()) + 30));
    let mut reader = torn.reader();
    assert_eq!(reader.wait_from(1, PATIENCE).unwrap(), [1, 2, 3]);
    let pause = reader.pause();
    assert_eq!((pause.reason, pause.at, pause.stalled), (WaitReason::Torn, Lsn::new(1, 36), true));
}

/// The held entry's place was looked at while it was still a hole.
#[test]
fn a_held_entry_is_read_anew_and_not_from_bytes_of_before_it_was_written() {
    let mut log = LogDir::with([1]);
    let early = log.next_entry(RECORD, 0, Some(3), &LogDir::payload(3));
    let late = log.next_entry(RECORD, 0, Some(5), &LogDir::payload(5));
    let two = log.next_entry(RECORD, 0, Some(2), &LogDir::payload(2));
    // A block so small that the tail has forgotten its bytes when the entry's turn comes.
    log.write_at(early.0, &early.1);
    let filler = log.next_entry(common::TRACE, 0, None, &vec![1; 2_000_000]);
    let mut reader = log.reader();
    assert_eq!(reader.read(1).unwrap(), [1]);
    log.write_at(late.0, &late.1);
    assert_eq!(reader.read(0).unwrap(), [0; 0]);
    log.write_at(two.0, &two.1);
    assert_eq!(reader.read(0).unwrap(), [2, 3]);
    log.write_at(filler.0, &filler.1);
    log.append_all([6, 4]);
    assert_eq!(reader.read(0).unwrap(), [4, 5, 6]);
}

/// An entry that is being written is not judged while its bytes change, however long that takes.
#[test]
fn bytes_that_change_begin_the_settle_time_anew_wherever_they_stand() {
    // In the live file, in the next one, in the next one's header, and in that of the first: how much can be read, and
    // where the bytes are.
    for (name, entries, at) in [
        ("live file", 3, LogDir::with(1..=3).end()),
        ("next file", 3, Lsn::new(1, 36)),
        ("next file's header", 3, Lsn::new(1, 13)),
        ("first file's header", 0, Lsn::new(0, 13)),
    ] {
        let mut log = LogDir::with(1..=3);
        if at.file() == 1 {
            log.begin_file(1);
        }
        // Zeros at first: a hole, or a header that is not right yet.
        log.write_at(at, &[0; 60]);
        let mut reader = log.reader();
        assert_eq!(reader.read(1).unwrap().len(), entries, "{name}");
        if name.ends_with("file") {
            assert!(reader.wait(2 * SETTLE).unwrap().is_empty(), "{name}");
            assert!(reader.pause().stalled, "{name}");
        }
        for byte in 0x10..0x1a {
            log.write_at(at, &[byte; 30]);
            reader.wait(SETTLE - SETTLE / 8).unwrap_or_else(|error| panic!("{name}, change {byte}: {error}"));
        }
        let error = reader.wait(SETTLE).unwrap_err();
        assert!(matches!(error, Error::LogDamaged { .. } | Error::LogFileHeader { .. }), "{name}: {error}");
    }
}

/// A directory of which many reads in a row bring no more than they have to, and many all there is.
struct ShortReads(Directory, Arc<AtomicU64>);

struct ShortlyRead(Arc<dyn LogFile>, Arc<AtomicU64>);

impl Files for ShortReads {
    fn list(&self) -> io::Result<Vec<u32>> {
        self.0.list()
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        self.0.stamp()
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(ShortlyRead(self.0.open(number)?, Arc::clone(&self.1))))
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        self.0.identity(number)
    }

    fn path(&self) -> Option<&Path> {
        self.0.path()
    }
}

impl LogFile for ShortlyRead {
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize> {
        let is_short = self.1.fetch_add(1, Ordering::Relaxed) % 13 < 8;
        let most = if is_short { into.len().min(least) } else { into.len() };
        self.0.read_some_at(&mut into[..most], offset, most)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.0.identity()
    }
}

#[test]
fn what_is_no_entry_settles_however_much_a_read_brings() {
    for is_next_file in [false, true] {
        let mut log = LogDir::with(1..=3);
        if is_next_file {
            log.begin_file(1);
        }
        let (at, mut damaged) = log.next_entry(RECORD, 0, Some(4), &LogDir::payload(4));
        damaged[0] ^= 1;
        log.write_at(at, &damaged);
        log.append_all(5..=40);
        let files = ShortReads(Directory::open(log.path()).unwrap(), Arc::default());
        let mut reader = Reader::over(Arc::new(files), Lsn::NULL, options());
        assert_eq!(reader.read(1).unwrap(), [1, 2, 3]);
        let error = reader.wait(SETTLE * 2).unwrap_err();
        assert!(matches!(error, Error::LogDamaged { at: place, .. } if place == at), "{error}");
    }
}
