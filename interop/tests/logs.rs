//! The logs that the tool writes: as upstream's own reader sees them, after crashes, and out of order.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use common::{Scratch, newest_file};
use noxu_feeder_interop::reader::{LogReader, log_files};
use noxu_feeder_interop::summary::Summary;
use noxu_log::{FileManager, LogFileReader};

/// An entry's file, offset, type and payload.
type Read = (u32, u64, u8, Vec<u8>);

/// Every entry as upstream's strict reader gives it.
fn as_upstream_reads(dir: &Path) -> Result<Vec<Read>, String> {
    let files = Arc::new(FileManager::new(dir, true, u64::MAX, 8).map_err(|e| e.to_string())?);
    let mut entries = Vec::new();
    for file in log_files(dir).unwrap() {
        let mut reader = LogFileReader::open(Arc::clone(&files), file.number).map_err(|e| e.to_string())?;
        while let Some((lsn, kind, payload)) = reader.read_next_strict().map_err(|e| e.to_string())? {
            entries.push((file.number, u64::from(lsn.file_offset()), kind.type_num(), payload));
        }
    }
    Ok(entries)
}

fn as_we_read(dir: &Path) -> Vec<Read> {
    let mut reader = LogReader::open(dir).unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        entries.push((entry.file, entry.offset, entry.entry_type, entry.payload.to_vec()));
    }
    entries
}

#[test]
fn upstreams_reader_and_ours_agree_on_a_log_of_several_files() {
    let scratch = Scratch::new();
    for format in [7, 6] {
        let line =
            format!("make-log --dir @log{format} --entries 3000 --payload 20..3000 --file-max 256K --format {format}");
        assert!(scratch.must(&line).starts_with("made entries=3000 files="));
        let dir = scratch.path(&format!("log{format}"));
        let ours = as_we_read(&dir);
        assert!(log_files(&dir).unwrap().len() > 5);
        assert_eq!(ours.len(), 3300);
        assert!(ours == as_upstream_reads(&dir).unwrap());
    }
    scratch.must("compare --master @log7 --replica @log6");
}

#[test]
fn a_made_log_starts_where_it_is_told_to() {
    let scratch = Scratch::new();
    let line = "make-log --dir @log --entries 10 --payload 64 --first-vlsn 50";
    assert!(scratch.must(line).ends_with("first=50 last=59"));
    let summary = Summary::of_log(&scratch.path("log")).unwrap();
    assert_eq!((summary.entries, summary.first, summary.last), (10, 50, 59));
}

#[test]
fn a_second_log_in_the_same_directory_is_refused() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 1");
    let again = scratch.run("make-log --dir @log --entries 1");
    assert!(!again.ok);
    assert!(again.err.contains("holds a log already"), "{}", again.err);
    assert_eq!(again.err.lines().count(), 1);
}

#[test]
fn appending_goes_on_behind_the_last_whole_entry() {
    let scratch = Scratch::new();
    for format in [7, 6] {
        let log = format!("log{format}");
        let mix = format!("--payload 300 --file-max 64K --format {format}");
        scratch.must(&format!("make-log --dir @{log} --entries 1000 --untagged-every 0 {mix}"));
        let newest = newest_file(&scratch.path(&log));
        let length = fs::metadata(&newest).unwrap().len();
        OpenOptions::new().write(true).open(&newest).unwrap().set_len(length - 1).unwrap();

        let said = scratch.run(&format!("append --dir @{log} --entries 5 --untagged-every 0 {mix}"));
        assert!(said.out.starts_with("opened last=999 cut="), "{}{}", said.out, said.err);
        assert!(said.last_line().ends_with("first=1000 last=1004"), "{}", said.out);
        scratch.must(&format!("make-log --dir @whole{format} --entries 1004 --untagged-every 0 {mix}"));
        scratch.must(&format!("compare --master @whole{format} --replica @{log}"));
    }
}

#[test]
fn a_file_without_a_whole_header_is_no_obstacle() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 10");
    let dir = scratch.path("log");
    for length in [0, 6, 32, 35] {
        let newest = log_files(&dir).unwrap().pop().unwrap();
        let head = &fs::read(&newest.path).unwrap()[..length];
        fs::write(dir.join(format!("{:08x}.ndb", newest.number + 1)), head).unwrap();
        scratch.must("append --dir @log --entries 1");
    }
    assert_eq!(Summary::of_log(&dir).unwrap().last, 14);
}

#[test]
fn a_writer_killed_again_and_again_leaves_one_history() {
    let scratch = Scratch::new();
    let mix = "--payload 100..2000";
    for round in 0..30_u64 {
        let mut writer = scratch.start(&format!("append --dir @log --file-max 512K --flush-every 7 {mix}"));
        let opened = writer.line();
        assert!(opened.starts_with("opened last="), "round {round}: {opened}");
        // Not a wait for anything: the moment of death is what varies.
        thread::sleep(Duration::from_micros(round * 701 % 9000));
        writer.kill();
    }
    let last = Summary::last_vlsn(&scratch.path("log")).unwrap() + 100;
    scratch.must(&format!("append --dir @log --until-vlsn {last} {mix}"));
    scratch.must(&format!("make-log --dir @whole --entries {last} --file-max 1G {mix}"));
    let equal = scratch.must("compare --master @whole --replica @log");
    assert_eq!(equal, format!("replica holds {last} entries, equal"));
}

#[test]
fn commits_from_several_threads_leave_vlsns_out_of_order() {
    let scratch = Scratch::new();
    scratch.must("commit --dir @log --threads 4 --commits 80000");
    let dir = scratch.path("log");
    let summary = Summary::of_log(&dir).unwrap();
    assert_eq!((summary.entries, summary.first, summary.last), (80_000, 1, 80_000));
    assert!(summary.out_of_order > 0);
    let mut reader = LogReader::open(&dir).unwrap();
    let mut vlsns = BTreeSet::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        vlsns.extend(entry.vlsn);
    }
    assert_eq!(vlsns.len(), 80_000);
}

#[test]
fn a_backup_under_writers_leaves_zeros_that_our_reader_crosses() {
    let scratch = Scratch::new();
    let said = scratch.run("commit --dir @log --threads 4 --commits 40000 --backup-after 20000");
    assert!(said.out.contains("backup last_file=00000000"), "{}{}", said.out, said.err);
    assert_eq!(Summary::of_log(&scratch.path("log")).unwrap().entries, 40_000);
}

#[test]
fn upstreams_recovery_throws_away_the_file_that_follows_a_backup() {
    let scratch = Scratch::new();
    scratch.must("commit --dir @log --threads 2 --commits 40000 --backup-after 20000");
    // Closed in good order and opened again: 40 001 commits would be right.
    scratch.must("commit --dir @log --threads 1 --commits 1");
    assert!(Summary::of_log(&scratch.path("log")).unwrap().entries < 40_000);
}

#[test]
fn rolled_back_entries_are_invisible_and_written_anew() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 200 --payload 100");
    assert_eq!(scratch.must("roll-back --dir @log --to-vlsn 150"), "rolled back entries=50");
    assert!(scratch.must("append --dir @log --entries 70 --seed 2").ends_with("first=151 last=220"));
    let mut reader = LogReader::open(&scratch.path("log")).unwrap();
    let mut invisible = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        invisible += u64::from(!entry.visible);
    }
    assert_eq!(invisible, 50);
    // Upstream's recovery knows the bit; this reader of it takes such an entry for a damaged one.
    let refused = as_upstream_reads(&scratch.path("log")).unwrap_err();
    assert!(refused.to_lowercase().contains("checksum"), "{refused}");
}

#[test]
fn a_comparison_names_the_first_difference() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 100 --payload 100");
    scratch.must("make-log --dir @short --entries 90 --payload 100");
    scratch.must("make-log --dir @other --entries 100 --payload 100 --seed 2");
    scratch.must("make-log --dir @types --entries 100 --payload 100 --commit-every 0");
    let compare = |replica: &str| {
        let said = scratch.run(&format!("compare --master @log --replica {replica}"));
        assert!(!said.ok);
        said.err
    };
    assert_eq!(compare("@short"), "nxf-interop: VLSN 91: the replica lacks it\n");
    assert_eq!(compare("@other"), "nxf-interop: VLSN 1: the payloads differ\n");
    assert_eq!(compare("@types"), "nxf-interop: VLSN 1: type 13 became 11\n");
    let prefix = scratch.must("compare --master @log --replica @short --prefix");
    assert_eq!(prefix, "replica holds 90 entries, equal");
}

#[test]
fn damage_below_the_newest_file_is_an_error_that_names_the_place() {
    let scratch = Scratch::new();
    scratch.must("make-log --dir @log --entries 1000 --payload 300 --file-max 64K");
    let lowest = &log_files(&scratch.path("log")).unwrap()[0].path;
    let mut bytes = fs::read(lowest).unwrap();
    bytes[1000] ^= 1;
    fs::write(lowest, bytes).unwrap();
    let said = scratch.run("compare --master @log --replica @log");
    assert!(said.err.contains("00000000.ndb: has an entry whose CRC is wrong"), "{}", said.err);
}
