//! Real logs of the real writers, checked in: every entry in them comes out. `scripts/fixtures.sh` made them;
//! `expected.txt` in each lists the entries that an independent reader of the format found.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Got, Reader, SETTLE, options};
use noxu_feeder::log::files::Directory;
use noxu_feeder::log::{Log, Lsn};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Lines of VLSN, entry type and CRC-32 of the payload.
fn expected(name: &str) -> Vec<String> {
    let text = fs::read_to_string(fixture(name).join("expected.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The same as the scanner finds them, from `from` on.
fn found(name: &str, from: u64) -> (Vec<String>, Reader) {
    let files = Arc::new(Directory::open(&fixture(name)).unwrap());
    let mut reader = Reader::over(files, Lsn::NULL, options());
    let mut lines = Vec::new();
    let mut from = from;
    let mut rests = 0;
    loop {
        match reader.next(from).unwrap_or_else(|error| panic!("{name}: {error}")) {
            Got::Entry(vlsn, entry_type, payload) => {
                lines.push(format!("{vlsn} {entry_type} {:08x}", crc32fast::hash(&payload)));
                from = vlsn + 1;
            }
            Got::Nothing(_) if rests == 2 => return (lines, reader),
            Got::Nothing(_) => {
                rests += 1;
                reader.now += SETTLE;
            }
        }
    }
}

fn assert_as_expected(name: &str) -> Reader {
    let (lines, reader) = found(name, 0);
    let expected = expected(name);
    assert!(expected.len() >= 60, "{name} is there");
    assert_eq!(lines, expected, "{name}");
    for skip in [1, 7, expected.len() / 2, expected.len() - 1] {
        let from = expected[skip].split(' ').next().unwrap().parse().unwrap();
        assert_eq!(found(name, from).0, expected[skip..], "{name} from {from}");
    }
    let number = |line: &String| line.split(' ').next().unwrap().parse::<u64>().unwrap();
    let range = Log::open(&fixture(name), options(), None).unwrap().vlsn_range().unwrap();
    assert_eq!(range, expected.first().map(number).zip(expected.last().map(number)), "{name}");
    reader
}

#[test]
fn a_log_of_several_files_with_untagged_entries_by_both_writers() {
    for name in ["mixed-7.11.2", "mixed-6.2.0"] {
        let reader = assert_as_expected(name);
        assert!(reader.scanner.counts().untagged > 10, "{name}");
    }
}

#[test]
fn a_log_that_does_not_begin_at_1() {
    assert_as_expected("begins-at-50");
}

#[test]
fn a_log_with_a_rollback_in_it() {
    let reader = assert_as_expected("rolled-back");
    assert_eq!(reader.scanner.counts().invisible, 40);
}

#[test]
fn a_log_whose_vlsns_stand_out_of_order() {
    let reader = assert_as_expected("out-of-order");
    assert!(reader.scanner.counts().early > 0, "the fixture is out of order");
}

#[test]
fn a_log_in_which_a_backup_was_taken() {
    let reader = assert_as_expected("backup");
    assert_eq!(reader.scanner.tail().holes_crossed(), 1);
}
