use std::sync::Arc;

use super::*;
use crate::log::budget::Halt;
use crate::log::files::Files;
use crate::log::test_disk::{MemoryDisk, Written};
use crate::options::Options;

/// Files by their numbers.
type Contents = Vec<(u32, Vec<u8>)>;
type Lens = Vec<(u32, u64)>;

fn log(disk: &Arc<MemoryDisk>) -> Arc<Log> {
    Log::over(Arc::clone(disk) as Arc<dyn Files>, Options::default().scanner(), None)
}

fn disk(files: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::default();
    files.into_iter().for_each(|(number, bytes)| _ = disk.put(number, u64::from(number) + 1, bytes));
    Arc::new(disk)
}

/// A file of these VLSNs.
fn file(number: u32, vlsns: std::ops::RangeInclusive<i64>) -> Vec<u8> {
    Written::file(number).entries(vlsns).bytes
}

/// What the plan says at a time, with as small a budget as there is.
fn look(copy: &mut Copy, now: Instant) -> Result<Known<Vec<(u32, u64)>>> {
    for _ in 0..10_000 {
        copy.allow(1);
        match copy.files(now) {
            Ok(Known::Yes(files)) => return Ok(Known::Yes(files.iter().map(|file| (file.number, file.len)).collect())),
            Ok(Known::NotYet { look_again }) => return Ok(Known::NotYet { look_again }),
            Err(Halt::Busy) => {}
            Err(Halt::Failed(error)) => return Err(error),
        }
    }
    panic!("it does not get on");
}

/// The plan, and how long it took.
fn plan(copy: &mut Copy) -> (Vec<(u32, u64)>, Duration) {
    let began = Instant::now();
    let mut now = began;
    loop {
        match look(copy, now).unwrap() {
            Known::Yes(files) => return (files, now - began),
            Known::NotYet { look_again } => now = look_again,
        }
    }
}

/// All files as they are read, in pieces of at most `most` bytes.
fn read(copy: &mut Copy, most: usize) -> Result<Contents> {
    let mut files = Vec::new();
    loop {
        let (file, mut bytes) = (copy.file(), Vec::new());
        loop {
            match copy.read(&mut bytes, most)? {
                Piece::Bytes(read) => assert!((1..=most).contains(&read)),
                Piece::FileEnds(crc) => {
                    assert_eq!(crc, crc32fast::hash(&bytes));
                    break;
                }
                Piece::End => return Ok(files),
            }
        }
        let file = file.expect("it was read");
        assert_eq!(bytes.len() as u64, file.len);
        files.push((file.number, bytes));
    }
}

/// What may stand at the end, and where the copy ends then: a file and a length, or none.
#[test]
fn a_copy_ends_behind_the_last_whole_entry_before_anything_else() {
    let whole = file(3, 1..=5);
    let len = whole.len() as u64;
    let torn = || file(3, 1..=6)[..whole.len() + 20].to_vec();
    let damaged = || [&file(3, 1..=6)[..whole.len() + 30], b"!", &file(3, 1..=6)[whole.len() + 31..]].concat();
    let hole = || Written::file(3).entries(1..=5).zeros(500).entries([6, 7]).bytes;
    let newborn = |len: usize| Written::file(4).bytes[..len].to_vec();
    let behind_zeros = || Written::file(4).zeros(600).entries([6]).bytes;
    let two = |newest: Vec<u8>| vec![(3, whole.clone()), (4, newest)];
    let cases: [(&str, Contents, Lens); 12] = [
        ("nothing", vec![], vec![]),
        ("a header", vec![(3, Written::file(3).bytes)], vec![]),
        ("whole", vec![(3, whole.clone())], vec![(3, len)]),
        ("torn", vec![(3, torn())], vec![(3, len)]),
        ("damaged", vec![(3, damaged())], vec![(3, len)]),
        ("zeros", vec![(3, Written::file(3).entries(1..=5).zeros(70_000).bytes)], vec![(3, len)]),
        ("a hole", vec![(3, hole())], vec![(3, len)]),
        ("an empty file", two(vec![]), vec![(3, len)]),
        ("a file being born", two(newborn(20)), vec![(3, len)]),
        ("a newest file with a header", two(newborn(36)), vec![(3, len)]),
        ("a newest file that begins with zeros", two(behind_zeros()), vec![(3, len)]),
        ("another file", two(file(4, 6..=6)), vec![(3, len), (4, file(4, 6..=6).len() as u64)]),
    ];
    for (what, files, expected) in cases {
        let mut copy = Copy::new(log(&disk(files.clone())));
        assert_eq!(plan(&mut copy), (expected.clone(), Duration::ZERO), "{what}");
        let of = |number: u32| &files.iter().find(|file| file.0 == number).unwrap().1;
        let expected: Vec<_> =
            expected.iter().map(|&(number, len)| (number, of(number)[..len as usize].to_vec())).collect();
        assert_eq!(read(&mut copy, 1000), Ok(expected), "{what}");
        assert_eq!(copy.read(&mut Vec::new(), 1000), Ok(Piece::End));
    }
}

#[test]
fn a_lower_file_that_is_not_whole_is_waited_for_and_copied_as_it_is_when_it_stands_still() {
    let incomplete = Written::file(0).entries(1..=3).zeros(62).entries([5]);
    let hole = incomplete.at[3] - 62;
    let disk = disk([(0, incomplete.bytes), (1, file(1, 6..=9))]);
    let settle = Options::default().scanner().tail.settle;

    let mut copy = Copy::new(log(&disk));
    let (files, took) = plan(&mut copy);
    assert_eq!(files.len(), 2);
    assert!(took >= settle && took < settle + Duration::from_secs(1), "{took:?}");

    let mut copy = Copy::new(log(&disk));
    let now = Instant::now();
    assert!(matches!(look(&mut copy, now), Ok(Known::NotYet { look_again }) if look_again > now));
    let entry = Written::file(0).entries(1..=4);
    disk.write_at(0, hole, &entry.bytes[entry.at[3] as usize..]);
    assert!(matches!(look(&mut copy, now), Ok(Known::Yes(files)) if files.len() == 2), "it is whole now");
}

/// A recovery has cut the log while the copy waited.
#[test]
fn a_file_that_is_born_again_while_it_is_waited_for_is_looked_at_anew() {
    let disk = disk([(0, Written::file(0).entries(1..=3).zeros(62).bytes), (1, file(1, 6..=9))]);
    let mut copy = Copy::new(log(&disk));
    let now = Instant::now();
    assert!(matches!(look(&mut copy, now), Ok(Known::NotYet { .. })));
    disk.put(0, 99, file(0, 1..=3));
    disk.remove(1);
    let len = file(0, 1..=3).len() as u64;
    assert_eq!(look(&mut copy, now), Ok(Known::Yes(vec![(0, len)])));
}

#[test]
fn a_lower_file_is_not_whole_without_the_entry_that_the_next_one_names() {
    let below = Written::file(0).entries(1..=3);
    let named = below.at[2] as u32;
    let mut above = FileHeader { version: 3, file_number: 1, last_entry_in_previous: named }.encode();
    above.extend(&file(1, 4..=6)[36..]);
    let disk = disk([(0, below.bytes[..below.at[2] as usize].to_vec()), (1, above)]);
    let mut copy = Copy::new(log(&disk));
    let now = Instant::now();
    assert!(matches!(look(&mut copy, now), Ok(Known::NotYet { .. })));
    // It grows, and that takes its time.
    let whole = below.bytes.len() as u64;
    disk.write_at(0, below.at[2], &below.bytes[below.at[2] as usize..whole as usize - 5]);
    let later = now + Options::default().scanner().tail.settle - Duration::from_millis(1);
    assert!(matches!(look(&mut copy, later), Ok(Known::NotYet { .. })));
    assert!(
        matches!(look(&mut copy, later + Duration::from_secs(2)), Ok(Known::NotYet { .. })),
        "it has changed since"
    );
    disk.write_at(0, whole - 5, &below.bytes[whole as usize - 5..]);
    let files = look(&mut copy, later + Duration::from_secs(2)).unwrap();
    assert!(matches!(files, Known::Yes(files) if files[0] == (0, whole)));
    assert_eq!(read(&mut copy, 64).unwrap()[0].1, below.bytes);
}

#[test]
fn a_log_that_grows_while_it_is_copied_is_copied_as_it_was() {
    let disk = disk([(0, file(0, 1..=100)), (1, file(1, 101..=110))]);
    let mut copy = Copy::new(log(&disk));
    let (files, _) = plan(&mut copy);
    let before = file(1, 101..=110);
    disk.write_at(1, 0, &file(1, 101..=150));
    disk.put(2, 9, file(2, 151..=160));
    disk.write_at(0, file(0, 1..=100).len() as u64, b"more of what nobody asked for");
    let copied = read(&mut copy, 333).unwrap();
    assert_eq!(files.len(), 2);
    assert_eq!(copied, [(0, file(0, 1..=100)), (1, before)]);
}

#[test]
fn files_that_vanish_are_left_out_before_the_plan_and_read_to_their_end_behind_it() {
    let many = FILES_OPEN_MAX as u32 + 2;
    let fresh = || disk((0..many).map(|number| (number, file(number, i64::from(number)..=i64::from(number) + 1))));
    let files = fresh();
    files.remove(7);
    let mut copy = Copy::new(log(&files));
    assert_eq!(plan(&mut copy).0.len(), many as usize - 1);
    for number in [0, 1, 64] {
        files.remove(number);
    }
    assert_eq!(read(&mut copy, 4096).unwrap().len(), many as usize - 1);

    let files = fresh();
    let mut copy = Copy::new(log(&files));
    plan(&mut copy);
    files.remove(many - 1);
    let error = read(&mut copy, 4096).unwrap_err();
    assert_eq!(error, Error::LogFileGone { file: many - 1, expected_vlsn: None, found_vlsn: None });
}

#[test]
fn a_file_that_is_cut_while_it_is_copied_ends_the_copy() {
    let disk = disk([(0, file(0, 1..=100))]);
    let mut copy = Copy::new(log(&disk));
    let len = plan(&mut copy).0[0].1;
    disk.cut(0, 1000);
    let error = read(&mut copy, 600).unwrap_err();
    assert_eq!(error, Error::LogTruncated { file: 0, len: 1000, read: len });
}

#[test]
fn nothing_at_or_behind_the_send_limit_is_copied() {
    let (below, above) = (Written::file(0).entries(1..=5), Written::file(1).entries(6..=9));
    let disk = disk([(0, below.bytes.clone()), (1, above.bytes.clone())]);
    let log = log(&disk);
    for (limit, expected) in [
        (Lsn::new(1, above.at[2] as u32), vec![(0, below.bytes.len() as u64), (1, above.at[2])]),
        (Lsn::new(1, above.at[0] as u32), vec![(0, below.bytes.len() as u64)]),
        (Lsn::new(0, below.at[3] as u32), vec![(0, below.at[3])]),
        (Lsn::new(0, 0), vec![]),
        (Lsn::NULL, vec![(0, below.bytes.len() as u64), (1, above.bytes.len() as u64)]),
    ] {
        log.set_send_limit(limit);
        assert_eq!(plan(&mut Copy::new(Arc::clone(&log))).0, expected, "below {limit}");
    }
}

#[test]
fn a_file_without_a_header_that_is_needed_is_an_error_that_names_it() {
    let disk = disk([(0, vec![7; 100]), (1, file(1, 1..=3))]);
    let error = look(&mut Copy::new(log(&disk)), Instant::now()).unwrap_err();
    assert!(matches!(error, Error::LogFileHeader { file: 0, .. }), "{error}");
}
