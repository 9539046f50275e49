use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::log::files::Files;
use crate::log::format::{FLAG_INVISIBLE, FileHeader, encode_entry};
use crate::log::test_disk::{MemoryDisk, RECORD};
use crate::options::Options;

const COMMIT: u8 = 30;
const UNTAGGED: u8 = 60;

/// What a generated log is made of.
#[derive(Clone, Debug)]
enum Part {
    /// The next VLSN, of a type that is a sync point or not.
    Next(bool),
    /// The next two, in the wrong order.
    Swapped,
    /// One of those before, again, with other content.
    Repeat(u64),
    /// The next VLSN, rolled back, so it comes again.
    Invisible,
    /// VLSNs that are nowhere.
    Gap(u64),
    Untagged,
    NewFile,
    /// The file so far is not there, and another is begun.
    LostFile,
}

fn part(with_gaps: bool) -> impl Strategy<Value = Part> {
    let gap = if with_gaps { 1 } else { 0 };
    prop_oneof![
        20 => any::<bool>().prop_map(Part::Next),
        5 => Just(Part::Swapped),
        2 => (1u64..4).prop_map(Part::Repeat),
        2 => Just(Part::Invisible),
        gap => (1u64..40).prop_map(Part::Gap),
        3 => Just(Part::Untagged),
        2 => Just(Part::NewFile),
        1 => Just(Part::LostFile),
    ]
}

/// A log, and what a reading of all of it says.
struct Generated {
    disk: Arc<MemoryDisk>,
    held: BTreeMap<u64, Record>,
}

impl Generated {
    fn of(parts: &[Part], loses_files: bool) -> Generated {
        let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
        let mut file = Writer::new(0);
        let mut next = 1;
        for (at, part) in parts.iter().enumerate() {
            let salt = at as u8;
            match part {
                Part::Next(is_sync) => {
                    file.put(next, if *is_sync { COMMIT } else { RECORD }, 0, salt);
                    next += 1;
                }
                Part::Swapped => {
                    file.put(next + 1, RECORD, 0, salt);
                    file.put(next, COMMIT, 0, salt);
                    next += 2;
                }
                Part::Repeat(back) if *back < next => file.put(next - back, RECORD, 0, salt),
                Part::Invisible => file.put(next, COMMIT, FLAG_INVISIBLE, salt),
                Part::Gap(vlsns) => next += vlsns,
                Part::Untagged => file.put(0, UNTAGGED, 0, salt),
                Part::NewFile => file = generated.close(file),
                Part::LostFile if loses_files => file = Writer::new(file.number + 1),
                Part::Repeat(_) | Part::LostFile => {}
            }
        }
        generated.close(file);
        generated
    }

    fn close(&mut self, file: Writer) -> Writer {
        let next = Writer::new(file.number + 1);
        self.disk.put(file.number, u64::from(file.number) + 1, file.bytes);
        self.held.extend(file.records.into_iter().map(|record| (record.vlsn, record)));
        next
    }

    fn log(&self) -> Arc<Log> {
        Log::over(Arc::clone(&self.disk) as Arc<dyn Files>, Options::default().scanner(), None)
    }

    /// The lowest VLSN of the uppermost run, and the highest.
    fn range(&self) -> Option<(u64, u64)> {
        let (&last, _) = self.held.last_key_value()?;
        let first = (1..=last).rev().take_while(|vlsn| self.held.contains_key(vlsn)).last()?;
        Some((first, last))
    }

    fn last_sync(&self) -> Option<Record> {
        self.held.values().rev().find(|record| record.is_sync_point()).copied()
    }

    /// What the log answers to a question for this VLSN.
    fn record(&self, vlsn: u64) -> Option<Record> {
        self.held.get(&vlsn).copied().filter(|_| self.range().is_some_and(|(first, _)| vlsn >= first))
    }
}

struct Writer {
    number: u32,
    bytes: Vec<u8>,
    before: u32,
    records: Vec<Record>,
}

impl Writer {
    fn new(number: u32) -> Writer {
        let bytes = FileHeader { version: 3, file_number: number, last_entry_in_previous: 0 }.encode();
        Writer { number, bytes, before: 0, records: Vec::new() }
    }

    fn put(&mut self, vlsn: u64, entry_type: u8, flags: u8, salt: u8) {
        let payload = [salt; 30];
        let lsn = Lsn::new(self.number, self.bytes.len() as u32);
        let tag = Some(vlsn as i64).filter(|_| vlsn > 0);
        encode_entry(&mut self.bytes, entry_type, flags, self.before, tag, &payload);
        self.before = lsn.offset();
        if vlsn > 0 && flags == 0 {
            self.records.push(Record { vlsn, lsn, entry_type, payload_crc: crc32fast::hash(&payload) });
        }
    }
}

/// A lookup, asked with a small budget, for as long as it takes.
struct Asked {
    lookup: Lookup,
    now: Instant,
}

impl Asked {
    fn new(log: Arc<Log>, bounds: Bounds) -> Asked {
        let options = LookupOptions::from(log.scanner_options());
        Asked { lookup: Lookup { bounds, ..Lookup::new(log, options) }, now: Instant::now() }
    }

    fn ask<T>(&mut self, mut ask: impl FnMut(&mut Lookup, Instant) -> Searched<Known<T>>) -> T {
        for turn in 0..10_000 {
            // With the least there is, it gets on by an entry at a time.
            self.lookup.allow(if turn % 8 == 0 { 1 } else { 200_000 });
            match ask(&mut self.lookup, self.now) {
                Ok(Known::Yes(found)) => return found,
                Ok(Known::NotYet { look_again }) => {
                    assert!(look_again > self.now);
                    self.now = look_again;
                }
                Err(Halt::Busy) => {}
                Err(Halt::Failed(error)) => panic!("{error}"),
            }
        }
        panic!("it does not get on");
    }

    fn range(&mut self) -> Option<(u64, u64)> {
        self.ask(Lookup::range)
    }

    fn record(&mut self, vlsn: u64) -> Option<Record> {
        self.ask(|lookup, now| lookup.record(vlsn, now))
    }

    fn last_sync(&mut self) -> Option<Record> {
        self.ask(Lookup::last_sync)
    }
}

/// So small that generated logs are large.
const TINY: Bounds = Bounds {
    small_bytes: 0,
    disorder: 16,
    disorder_max: 64,
    stretch: 24,
    records_max: 48,
    beginning: 40,
    sync_search: 1024 * 1024,
    end_bytes: u64::MAX,
    least: 8,
};

/// The same, with entries so large that less is looked at.
const LARGE_ENTRIES: Bounds = Bounds { end_bytes: 2000, sync_search: 1 << 40, ..TINY };

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "much to hash")]
    fn a_small_log_is_known_exactly(
        parts in prop::collection::vec(part(true), 0..200),
        questions in prop::collection::vec(0u64..300, 1..20),
        sync_first in any::<bool>(),
    ) {
        let generated = Generated::of(&parts, true);
        let mut asked = Asked::new(generated.log(), BOUNDS);
        if sync_first {
            prop_assert_eq!(asked.last_sync(), generated.last_sync());
        }
        for vlsn in questions {
            prop_assert_eq!(asked.record(vlsn), generated.record(vlsn), "VLSN {}", vlsn);
        }
        prop_assert_eq!(asked.range(), generated.range());
        prop_assert_eq!(asked.last_sync(), generated.last_sync());
    }

    /// However the questions jump, and though only stretches of it are known at any time.
    #[test]
    #[cfg_attr(miri, ignore = "much to hash")]
    fn a_large_log_with_lost_files_is_known_by_position(
        parts in prop::collection::vec(part(false), 100..800),
        questions in prop::collection::vec(0u64..900, 1..20),
        range_first in any::<bool>(),
        are_large in any::<bool>(),
    ) {
        let generated = Generated::of(&parts, true);
        let mut asked = Asked::new(generated.log(), if are_large { LARGE_ENTRIES } else { TINY });
        if range_first {
            prop_assert_eq!(asked.range(), generated.range());
        }
        for vlsn in questions {
            prop_assert_eq!(asked.record(vlsn), generated.record(vlsn), "VLSN {}", vlsn);
        }
        prop_assert_eq!(asked.range(), generated.range());
        prop_assert_eq!(asked.last_sync(), generated.last_sync());
    }

    /// A VLSN that is missing within a file, far from the end, is noticed when it is looked at: until then what is below
    /// may be said to be held, and it is.
    #[test]
    #[cfg_attr(miri, ignore = "much to hash")]
    fn no_answer_is_false_where_a_hole_is_not_seen(
        parts in prop::collection::vec(part(true), 100..800),
        questions in prop::collection::vec(0u64..900, 1..20),
    ) {
        let generated = Generated::of(&parts, false);
        let mut asked = Asked::new(generated.log(), TINY);
        for vlsn in questions {
            let (found, held) = (asked.record(vlsn), generated.held.get(&vlsn).copied());
            prop_assert!(found == held || found.is_none() && generated.record(vlsn).is_none(), "VLSN {}", vlsn);
        }
        let (found, whole) = (asked.range(), generated.range());
        prop_assert!(found.map(|range| range.1) == whole.map(|range| range.1));
        prop_assert!(found.map(|range| range.0) <= whole.map(|range| range.0));
    }
}

fn whole(generated: &mut Generated, entries: impl IntoIterator<Item = u64>, number: u32) {
    let mut file = Writer::new(number);
    entries.into_iter().for_each(|vlsn| file.put(vlsn, RECORD, 0, vlsn as u8));
    generated.close(file);
}

#[test]
fn an_empty_log_has_no_range_until_it_has_an_entry() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    let mut asked = Asked::new(generated.log(), BOUNDS);
    assert_eq!((asked.range(), asked.record(1), asked.last_sync()), (None, None, None));
    whole(&mut generated, [], 0);
    assert_eq!((asked.range(), asked.record(1)), (None, None));
    whole(&mut generated, [1, 2, 3], 0);
    assert_eq!(asked.range(), Some((1, 3)));
    assert_eq!(asked.record(3), generated.record(3));
    assert_eq!(asked.record(4), None);
    whole(&mut generated, [4], 1);
    assert_eq!(asked.record(4), generated.record(4), "the log has grown");
    assert_eq!(asked.range(), Some((1, 4)));
}

/// A VLSN that is taken and not written yet is no hole, however often another is; one that does not come is.
#[test]
fn what_is_missing_at_the_live_end_is_waited_for_once() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, [1, 2, 4], 0);
    let log = generated.log();
    let mut asked = Asked::new(Arc::clone(&log), BOUNDS);
    let again = asked.lookup.record(2, asked.now).unwrap();
    assert!(matches!(again, Known::NotYet { look_again } if look_again > asked.now));
    whole(&mut generated, [1, 2, 4, 3, 6], 0);
    assert_eq!(
        asked.lookup.record(2, asked.now),
        Ok(Known::Yes(generated.record(2).or(generated.held.get(&2).copied())))
    );
    assert_eq!(asked.lookup.range(asked.now), Ok(Known::Yes(Some((1, 4)))), "it is live: 5 is just being written");
    assert_eq!(log.last_vlsn(), 4);
    whole(&mut generated, [1, 2, 4, 3, 6, 5], 0);
    assert_eq!(asked.lookup.range(asked.now), Ok(Known::Yes(Some((1, 6)))));

    whole(&mut generated, [1, 2, 4, 3, 6], 0);
    let mut asked = Asked::new(generated.log(), BOUNDS);
    let began = asked.now;
    assert_eq!(asked.range(), Some((6, 6)));
    assert!(
        asked.now - began >= asked.lookup.options.patience && asked.now - began < asked.lookup.options.patience * 2
    );
}

/// Of a newborn log VLSN 1 may be the one that comes late. A log whose first file is gone has its own beginning.
#[test]
fn a_newborn_log_without_vlsn_1_is_waited_for_and_does_not_begin_above_it() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, [2, 3], 0);
    let mut asked = Asked::new(generated.log(), BOUNDS);
    let again = asked.lookup.range(asked.now).unwrap();
    assert!(matches!(again, Known::NotYet { look_again } if look_again > asked.now));
    whole(&mut generated, [2, 3, 1, 5], 0);
    assert_eq!(asked.lookup.range(asked.now), Ok(Known::Yes(Some((1, 3)))));

    whole(&mut generated, [50, 51], 0);
    let mut asked = Asked::new(generated.log(), BOUNDS);
    let began = asked.now;
    assert_eq!(asked.range(), Some((50, 51)), "it does not come");
    assert!(asked.now - began >= asked.lookup.options.patience);

    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, [50, 51], 3);
    let mut asked = Asked::new(generated.log(), BOUNDS);
    assert_eq!(asked.lookup.range(asked.now), Ok(Known::Yes(Some((50, 51)))));
}

/// What comes late may stand in a later file than what is above it: no file is missing between the two.
#[test]
fn a_vlsn_between_two_that_changed_places_over_files_is_waited_for() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, [1, 2, 5], 0);
    whole(&mut generated, [3], 1);
    let mut asked = Asked::new(generated.log(), BOUNDS);
    assert!(matches!(asked.lookup.range(asked.now), Ok(Known::NotYet { .. })));
    whole(&mut generated, [3, 4], 1);
    assert_eq!(asked.lookup.range(asked.now), Ok(Known::Yes(Some((1, 5)))));
}

#[test]
fn nothing_at_or_behind_the_send_limit_is_held() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, 1..=10, 0);
    whole(&mut generated, 11..=20, 1);
    for bounds in [BOUNDS, TINY, LARGE_ENTRIES] {
        let log = generated.log();
        let mut asked = Asked::new(Arc::clone(&log), bounds);
        for (limit, last) in [(generated.held[&15].lsn, 14), (generated.held[&11].lsn, 10), (Lsn::new(1, 0), 10)] {
            log.set_send_limit(limit);
            assert_eq!(asked.range(), Some((1, last)));
            assert_eq!((asked.record(last + 1), asked.record(last)), (None, generated.record(last)));
        }
        log.set_send_limit(Lsn::new(0, 0));
        assert_eq!(asked.range(), None);
        log.set_send_limit(Lsn::NULL);
        assert_eq!(asked.range(), Some((1, 20)));
    }
}

/// What is torn or damaged is no entry; what is behind it in other files is.
#[test]
fn what_cannot_be_read_is_not_held() {
    let mut generated = Generated { disk: Arc::default(), held: BTreeMap::new() };
    whole(&mut generated, 1..=10, 0);
    whole(&mut generated, 11..=20, 1);
    generated.disk.write_at(0, u64::from(generated.held[&10].lsn.offset()) + 30, b"!");
    let mut asked = Asked::new(generated.log(), BOUNDS);
    assert_eq!(asked.range(), Some((11, 20)));
    assert_eq!((asked.record(10), asked.record(9), asked.record(11)), (None, None, generated.record(11)));
}
