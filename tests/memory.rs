//! No memory to be had: whatever a file, a peer or an option made large is refused with an error, nothing is left out
//! because of it, and all goes on once there is memory again.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{LogDir, RECORD};
use noxu_feeder::acks::{Ack, Acks, Deadline, End, Polled};
use noxu_feeder::error::Error;
use noxu_feeder::ffi::status::NXF_E_NO_MEMORY;
use noxu_feeder::log::{Log, Lsn, Next, Now};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::{LogSource, Source};
use noxu_feeder::stream::tracker::Tracker;
use noxu_feeder::transport::local::{LocalOptions, local_pair};
use noxu_feeder::transport::{Channel, Received, SocketChannel};
use noxu_feeder::wire::frame::Frame;

/// The system's allocator, which refuses requests if the test says so.
struct Refusing;

/// Larger requests than this are refused, also in threads that the library makes.
static REFUSED_ABOVE: AtomicUsize = AtomicUsize::new(usize::MAX);
/// How many larger requests are still granted before the others are refused.
static STILL_GRANTED: AtomicU64 = AtomicU64::new(0);
/// How many were refused since that was set.
static REFUSED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether nothing is refused to this thread, because it runs the test's own code.
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

/// One test at a time, because requests are refused to all threads.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|failed_before| failed_before.into_inner())
}

/// Refuses requests of more than this many bytes, until it is dropped.
struct Refusal;

impl Refusal {
    fn above(bytes: usize) -> Refusal {
        Refusal::after(0, bytes)
    }

    /// The same, after it has granted the first `granted` of them.
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

/// Runs the test's own code, to which nothing is refused.
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
        assert_eq!(error.status(), NXF_E_NO_MEMORY, "{error}");
        assert_eq!((error.file(), error.offset(), error.vlsn()), (Some(0), Some(u64::from(at.offset())), Some(4)));
        assert!(error.is_retriable() && !error.needs_restore());
        let text = error.to_string();
        assert!(["00000000.ndb", "VLSN 4", "629227"].iter().all(|fact| text.contains(fact)), "{text}");
    }
    drop(refusal);
    assert_eq!(next(&mut source, 4), Ok(Some((4, 60 * MIB))));
    assert!(matches!(next(&mut source, 5), Ok(Some((5, _)))));
}

/// The library has to do without larger pieces than this; see the limits in docs/architecture.md.
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
                assert_eq!(error.status(), NXF_E_NO_MEMORY, "{error}");
                assert!(refusal.as_ref().is_some_and(Refusal::happened), "{error}");
                failures += 1;
                // The error comes again as long as there is no memory, and is over when there is.
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

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_no_memory(result: &Result<impl std::fmt::Debug, Error>) -> bool {
    matches!(result, Err(Error::NoMemory { .. }))
}

/// A replica that acknowledges every frame, and stops reading when the stream ends: the VLSNs that it got.
fn replica(mut stream: UnixStream) -> JoinHandle<Vec<u64>> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::spawn(move || {
        IS_EXEMPT.set(true);
        let mut got = Vec::new();
        let mut len = [0; 4];
        while stream.read_exact(&mut len).is_ok() {
            let mut message = vec![0; u32::from_le_bytes(len) as usize];
            if stream.read_exact(&mut message).is_err() {
                break;
            }
            let frame = Frame::decode(&message).expect("a good frame");
            assert!(is_as_written(frame.vlsn, frame.payload), "VLSN {}", frame.vlsn);
            got.push(frame.vlsn);
            let ack = [&8u32.to_le_bytes()[..], &frame.vlsn.to_le_bytes()].concat();
            if stream.write_all(&ack).is_err() {
                break;
            }
        }
        got
    })
}

fn socket_channel(socket: UnixStream, options: &Options) -> SocketChannel {
    let socket = std::os::fd::OwnedFd::from(socket);
    options.socket().prepare(std::os::fd::AsFd::as_fd(&socket)).unwrap();
    SocketChannel::new(socket, options.socket())
}

/// Feeds a replica on this thread until it has all entries or the run fails. Returns the entries that it got, and the
/// error.
fn feed(log: &LogDir, from_vlsn: u64) -> (Vec<u64>, Option<Error>) {
    let (ours, theirs) = exempt(|| UnixStream::pair().unwrap());
    let replica = exempt(|| replica(theirs));
    let options = Options::default();
    let channel = Box::new(socket_channel(ours, &options));
    let runner = Runner::new(channel, c"replica-1".to_owned(), from_vlsn, options).map_err(|(_, error)| error).unwrap();
    let source = Box::new(source_of(log));
    let last = u64::try_from(LAST_OF_ALL_KINDS).unwrap();
    let end = thread::scope(|scope| {
        let stopping = exempt(|| {
            scope.spawn(|| {
                IS_EXEMPT.set(true);
                runner.acks().wait_acked(last, Deadline::At(Instant::now() + PATIENCE));
                runner.stop(Deadline::Never).unwrap();
            })
        });
        let end = runner.run(source).map_err(|(_, error)| error).unwrap();
        stopping.join().unwrap();
        end
    });
    drop(runner);
    let got = exempt(|| replica.join().unwrap());
    match end {
        End::Failed(error) => (got, Some(error)),
        _ => (got, None),
    }
}

#[test]
fn whichever_memory_cannot_be_had_a_run_sends_what_was_read_before_and_a_new_one_goes_on() {
    let _alone = alone();
    let log = log_of_all_kinds();
    let last = u64::try_from(LAST_OF_ALL_KINDS).unwrap();
    let mut granted = 0;
    loop {
        let refusal = Refusal::after(granted, SMALL);
        let (got, error) = feed(&log, 100);
        let was_refused = refusal.happened();
        drop(refusal);
        let next = got.last().map_or(100, |&vlsn| vlsn + 1);
        assert!(got.iter().copied().eq(100..next), "with {granted} granted");
        let Some(error) = error else {
            // Two things work without memory: a block is held on to, and acks are merged.
            assert_eq!(next, last + 1);
            if was_refused {
                granted += 1;
                continue;
            }
            break;
        };
        assert!(was_refused && error.status() == NXF_E_NO_MEMORY && error.is_retriable(), "{error}");
        let (rest, error) = feed(&log, next);
        assert_eq!(error, None);
        assert!(rest.into_iter().eq(next..=last), "after {got:?}");
        granted += 1;
    }
    assert!((5..500).contains(&granted), "{granted} large pieces of memory");
}

/// Receives, and the message's length if it is one.
fn received(channel: &dyn Channel, into: &mut [u8]) -> Result<Received, Error> {
    channel.receive(into, Some(Instant::now() + PATIENCE))
}

#[test]
fn a_message_that_there_is_no_memory_for_is_received_when_there_is() {
    let _alone = alone();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let channel = socket_channel(ours, &Options::default());
    let message: Vec<u8> = (0..20 * MIB).map(|at| (at % 251) as u8).collect();
    let expected = message.clone();
    let sending = thread::spawn(move || {
        IS_EXEMPT.set(true);
        let mut theirs = theirs;
        theirs.write_all(&u32::try_from(message.len()).unwrap().to_le_bytes()).unwrap();
        theirs.write_all(&message).unwrap();
        theirs
    });
    let mut buffer = vec![0; expected.len()];
    let refusal = Refusal::above(8 * MIB);
    for _ in 0..3 {
        assert!(is_no_memory(&received(&channel, &mut buffer)));
    }
    drop(refusal);
    assert_eq!(received(&channel, &mut buffer), Ok(Received::Message(expected.len())));
    assert!(buffer == expected, "not a byte is lost");
    sending.join().unwrap();
}

#[test]
fn a_message_that_there_is_no_memory_for_is_not_queued_in_a_pair_and_the_next_is() {
    let _alone = alone();
    let options = LocalOptions { queue_bytes_max: 64 * MIB, write_timeout: PATIENCE };
    let (a, b) = local_pair(options);
    let message = vec![7; 20 * MIB];
    let mut buffer = vec![0; message.len()];
    a.send(b"before").unwrap();
    let refusal = Refusal::above(8 * MIB);
    assert!(is_no_memory(&a.send(&message)));
    a.send(b"behind").unwrap();
    drop(refusal);
    a.send(&message).unwrap();
    for expected in [&b"before"[..], b"behind", &message] {
        assert_eq!(received(&b, &mut buffer), Ok(Received::Message(expected.len())));
        assert!(&buffer[..expected.len()] == expected);
    }
}

/// A run over a channel of messages, whose frames are copied for the thread that sends them: how it ended, and how far
/// the replica was known to be.
fn run_over_a_pair(log: &LogDir, granted: u64, action: impl FnOnce(&dyn Channel)) -> (End, u64) {
    let local = LocalOptions { queue_bytes_max: 128 * MIB, write_timeout: PATIENCE };
    let (ours, theirs) = local_pair(local);
    let mut options = Options::default();
    options.set("runner.linger_ms", "60000").unwrap();
    let runner = Runner::new(Box::new(ours), c"replica-1".to_owned(), 1, options);
    let runner = runner.map_err(|(_, error)| error).unwrap();
    let _refusal = Refusal::after(granted, 8 * MIB);
    runner.start(Box::new(source_of(log))).map_err(|(_, error)| error).unwrap();
    exempt(|| action(&theirs));
    assert!(runner.acks().wait_finished(Deadline::At(Instant::now() + PATIENCE)));
    (runner.acks().ended().unwrap(), runner.acks().known_vlsn())
}

fn wait_for_a_refusal() {
    let deadline = Instant::now() + PATIENCE;
    while REFUSED.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < deadline, "nothing is refused");
        thread::yield_now();
    }
}

/// The VLSN of the next frame; `None` after the last.
fn frame_over(channel: &dyn Channel) -> Option<u64> {
    let mut buffer = vec![0; 32 * MIB];
    match received(channel, &mut buffer).unwrap() {
        Received::Message(len) => Some(Frame::decode(&buffer[..len]).unwrap().vlsn),
        Received::Closed => None,
        Received::Again => panic!("no frame comes"),
    }
}

#[test]
fn a_frame_that_cannot_be_copied_for_a_channel_ends_the_run_behind_what_was_sent() {
    let _alone = alone();
    let mut log = LogDir::with(1..=3);
    log.append_entry(RECORD, 0, Some(4), &vec![7; 20 * MIB]);
    log.append(5);
    // First the block that it is read into, then the copy, and then the message in the pair.
    for (granted, last) in [(0, 3), (1, 3), (2, 3), (3, 5)] {
        let (end, known) = run_over_a_pair(&log, granted, |channel| {
            for vlsn in 1..=last {
                assert_eq!(frame_over(channel), Some(vlsn), "{granted} granted");
            }
            if last < 5 {
                wait_for_a_refusal();
            }
            // A pair that failed to hold a message has ended the run by now.
            let acked = channel.send(&u64::to_le_bytes(last));
            assert!(acked.is_ok() || granted == 2, "{granted} granted");
            if last < 5 {
                assert_eq!(frame_over(channel), None, "{granted} granted");
            }
            channel.close();
        });
        assert!(known == last || granted == 2, "{known} instead of {last}: what was sent is waited for");
        match end {
            End::Failed(error) => {
                assert!(last < 5 && error.status() == NXF_E_NO_MEMORY && error.is_retriable(), "{error}");
            }
            other => assert!(last == 5 && matches!(other, End::ClosedByPeer(_)), "{other:?}"),
        }
    }
}

#[test]
fn a_message_from_a_replica_that_there_is_no_memory_for_ends_the_run() {
    let _alone = alone();
    let log = LogDir::with(1..=3);
    let mut long_ack = vec![7; 20 * MIB];
    long_ack[..8].copy_from_slice(&2u64.to_le_bytes());
    // The buffer that it is received into, and the bytes that are handed to the loop out of it.
    for granted in [0, 1] {
        let (end, _) = run_over_a_pair(&log, granted, |channel| {
            for vlsn in 1..=3 {
                assert_eq!(frame_over(channel), Some(vlsn));
            }
            channel.send(&long_ack).unwrap();
            assert_eq!(frame_over(channel), None, "the run has ended");
        });
        assert!(matches!(&end, End::Failed(Error::NoMemory { .. })), "{end:?}");
    }
}

#[test]
fn acks_that_there_is_no_memory_to_queue_are_merged() {
    let _alone = alone();
    let acks = Acks::new(1000);
    let refusal = Refusal::above(500);
    acks.queue(&exempt(|| (1..=100).collect::<Vec<u64>>()));
    assert!(refusal.happened());
    drop(refusal);
    acks.queue(&[101]);
    let mut taken = [Ack { vlsn: 0, merged: 0 }; 200];
    let Polled::Acks(count) = acks.poll(&mut taken, Deadline::At(Instant::now())) else { panic!("no acks") };
    let taken = &taken[..count];
    assert!(count < 40 && taken.is_sorted_by_key(|ack| ack.vlsn), "{taken:?}");
    assert_eq!(taken.iter().map(|ack| 1 + ack.merged).sum::<u64>(), 101, "none is lost");
    assert_eq!(acks.merged(), 101 - count as u64);
    assert_eq!(taken[count - 1], Ack { vlsn: 101, merged: 0 });
    assert_eq!(taken[count - 2].vlsn, 100);
}

#[test]
fn a_message_that_there_is_no_memory_for_is_not_queued_in_a_tracker() {
    let _alone = alone();
    let now = Instant::now();
    let mut tracker = Tracker::new("replica-1", 64 * MIB, now);
    let data = vec![7; 20 * MIB];
    let refusal = Refusal::above(8 * MIB);
    let error = tracker.queue_entry(5, RECORD, &data, now).unwrap_err();
    assert_eq!((error.status(), error.vlsn()), (NXF_E_NO_MEMORY, Some(5)));
    assert_eq!((tracker.queued(), tracker.current_vlsn()), (0, 0));
    drop(refusal);
    tracker.queue_entry(5, RECORD, &data, now).unwrap();
    assert_eq!(tracker.dequeue().map(|message| message.len()), Some(9 + data.len()));
}

#[test]
fn a_length_that_is_only_announced_takes_no_memory() {
    let _alone = alone();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let channel = socket_channel(ours, &Options::default());
    theirs.write_all(&u32::try_from(64 * MIB).unwrap().to_le_bytes()).unwrap();
    theirs.write_all(&[7; 1000]).unwrap();
    let refusal = Refusal::above(SMALL);
    assert_eq!(channel.receive(&mut [0; 10], Some(Instant::now())), Ok(Received::Again));
    assert!(!refusal.happened());
}
