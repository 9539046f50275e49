//! No memory to be had: whatever a file, a peer or an option made large is refused with an error, nothing is left out
//! because of it, and all goes on once there is memory again.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use common::{LogDir, RECORD};
use noxu_feeder::error::{Error, status};
use noxu_feeder::log::{Log, LogSource, Lsn, Next, Now, Source};
use noxu_feeder::options::Options;

/// The system's allocator, which refuses what the test wants refused.
struct Refusing;

/// What is larger than this is refused; also in threads that the library makes.
static REFUSED_ABOVE: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Of what is larger than that, so many are granted yet before the others are refused.
static STILL_GRANTED: AtomicU64 = AtomicU64::new(0);
/// How many were refused since that was set.
static REFUSED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread has as much as it likes: what the tests themselves do.
    static IS_EXEMPT: Cell<bool> = const { Cell::new(false) };
}

fn refuses(size: usize) -> bool {
    if size <= REFUSED_ABOVE.load(Ordering::Relaxed) || IS_EXEMPT.get() {
        return false;
    }
    let one_less = |granted: u64| granted.checked_sub(1);
    let is_granted = STILL_GRANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
    REFUSED.fetch_add(u64::from(!is_granted), Ordering::Relaxed);
    !is_granted
}

// SAFETY: everything is passed on to the system's allocator as it came, or answered as one without memory answers.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        if refuses(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        if refuses(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: promised by the caller.
        if refuses(size) { std::ptr::null_mut() } else { unsafe { System.realloc(place, layout, size) } }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// One test at a time: what is refused is refused to all threads.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|failed_before| failed_before.into_inner())
}

/// Refuses, until it is dropped, what is larger than so many bytes.
struct Refusal;

impl Refusal {
    fn above(bytes: usize) -> Refusal {
        Refusal::after(0, bytes)
    }

    /// The same, after so many that are granted.
    fn after(granted: u64, bytes: usize) -> Refusal {
        REFUSED.store(0, Ordering::Relaxed);
        STILL_GRANTED.store(granted, Ordering::Relaxed);
        REFUSED_ABOVE.store(bytes, Ordering::Relaxed);
        Refusal
    }

    fn happened(&self) -> bool {
        REFUSED.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        REFUSED_ABOVE.store(usize::MAX, Ordering::Relaxed);
    }
}

/// Does what is the test's own, and not to be refused.
fn exempt<T>(action: impl FnOnce() -> T) -> T {
    let before = IS_EXEMPT.replace(true);
    let done = action();
    IS_EXEMPT.set(before);
    done
}

const MIB: usize = 1024 * 1024;

/// A log with VLSNs 1 to 5, of which the fourth is 60 MiB long; and where that stands.
fn log_with_a_large_entry() -> (LogDir, Lsn) {
    let mut log = LogDir::with(1..=3);
    let at = log.append_entry(RECORD, 0, Some(4), &vec![7; 60 * MIB]);
    log.append(5);
    (log, at)
}

fn source_of(log: &LogDir) -> LogSource {
    LogSource::new(Log::open(log.path(), Options::default().scanner(), None).unwrap(), Lsn::NULL)
}

/// The VLSN and the payload's length of the next entry.
fn next(source: &mut dyn Source, vlsn: u64) -> Result<Option<(u64, usize)>, Error> {
    match source.next(vlsn, &Now::default())? {
        Next::Entry(entry) => Ok(Some((entry.vlsn, entry.payload.len()))),
        Next::Nothing(_) | Next::Busy => Ok(None),
    }
}

#[test]
fn an_entry_that_no_memory_can_be_had_for_is_an_error_that_names_it_and_that_passes() {
    let _alone = alone();
    let (log, at) = log_with_a_large_entry();
    let mut source = source_of(&log);
    let refusal = Refusal::above(32 * MIB);
    for vlsn in 1..=3 {
        assert!(matches!(next(&mut source, vlsn), Ok(Some((found, _))) if found == vlsn));
    }
    for _ in 0..3 {
        let error = next(&mut source, 4).unwrap_err();
        assert_eq!(error.status(), status::E_NO_MEMORY, "{error}");
        assert_eq!((error.file(), error.offset(), error.vlsn()), (Some(0), Some(u64::from(at.offset())), Some(4)));
        assert!(error.is_retriable() && !error.needs_restore());
        let text = error.to_string();
        assert!(["00000000.ndb", "VLSN 4", "629227"].iter().all(|fact| text.contains(fact)), "{text}");
    }
    drop(refusal);
    assert_eq!(next(&mut source, 4), Ok(Some((4, 60 * MIB))));
    assert!(matches!(next(&mut source, 5), Ok(Some((5, _)))));
}

/// What is larger than this the library has to do without; see the limits in docs/architecture.md.
const SMALL: usize = 64 * 1024;

/// A log of four files with VLSNs from 100 on: thousands out of order, some large, one late by a file, and a straggler
/// from before the beginning.
fn log_of_all_kinds() -> LogDir {
    let mut log = LogDir::empty();
    log.begin_file(0);
    log.append_all([7, 100]);
    log.append_all(102..=6000);
    log.append_entry(RECORD, 0, Some(6001), &vec![1; 2 * MIB]);
    log.append(101);
    log.begin_file(1);
    log.append_all(6003..=12_000);
    log.append_entry(RECORD, 0, Some(12_001), &vec![2; 3 * MIB]);
    log.append(6002);
    log.begin_file(2);
    log.append_all(12_003..=15_000);
    log.begin_file(3);
    log.append(12_002);
    log.append_all(15_001..=LAST_OF_ALL_KINDS);
    log
}

const LAST_OF_ALL_KINDS: i64 = 16_000;

fn is_as_written(vlsn: u64, payload: &[u8]) -> bool {
    match vlsn {
        6001 => payload.len() == 2 * MIB && payload.iter().all(|&byte| byte == 1),
        12_001 => payload.len() == 3 * MIB && payload.iter().all(|&byte| byte == 2),
        _ => exempt(|| payload == LogDir::payload(i64::try_from(vlsn).unwrap())),
    }
}

/// Reads all from `from_vlsn` on, where of the large pieces of memory none is to be had after so many, until that was
/// noticed. False: so many were not needed.
fn reads_all_when_refused_after(granted: u64, log: &LogDir, from_vlsn: u64) -> bool {
    let mut source = source_of(log);
    let mut refusal = Some(Refusal::after(granted, SMALL));
    let (mut next, mut failures) = (from_vlsn, 0);
    let last = u64::try_from(LAST_OF_ALL_KINDS).unwrap();
    while next <= last {
        match source.next(next, &Now::default()) {
            Ok(Next::Entry(entry)) => {
                assert!(next == 0 && entry.vlsn == 100 || entry.vlsn == next, "{} after {next}", entry.vlsn);
                assert!(is_as_written(entry.vlsn, entry.payload), "VLSN {}", entry.vlsn);
                next = entry.vlsn + 1;
            }
            Ok(Next::Busy) => {}
            Ok(Next::Nothing(pause)) => panic!("nothing at VLSN {next}, {granted} granted: {pause:?}"),
            Err(error) => {
                assert_eq!(error.status(), status::E_NO_MEMORY, "{error}");
                assert!(refusal.as_ref().is_some_and(Refusal::happened), "{error}");
                failures += 1;
                // It comes again as long as there is none, and is over when there is.
                if failures == 3 {
                    refusal = None;
                }
            }
        }
    }
    failures > 0
}

#[test]
fn whichever_memory_cannot_be_had_a_scanner_leaves_nothing_out_and_goes_on() {
    let _alone = alone();
    let log = log_of_all_kinds();
    for from_vlsn in [0, 100, 6500, 14_000] {
        let mut granted = 0;
        while reads_all_when_refused_after(granted, &log, from_vlsn) {
            granted += 1;
        }
        assert!((5..500).contains(&granted), "from VLSN {from_vlsn} {granted} large pieces of memory");
    }
}
