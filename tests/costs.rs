//! The cost of an entry and an ack in memory: nothing is allocated for either, once a run is on its way.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::log_of;
use noxu_feeder::acks::{Ack, Acks, Deadline, Polled, Waited};
use noxu_feeder::chunk::fill::Filled;
use noxu_feeder::feed::{Feed, OwnFeed};
use noxu_feeder::log::{Log, Lsn, Next, Now};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::{LogSource, Source};
use noxu_feeder::stream::Stream;
use noxu_feeder::transport::SocketChannel;
use tempfile::TempDir;

/// The system's allocator, which counts the requests of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: promised by the caller.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of this thread so far.
fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn open(dir: &TempDir, options: &Options) -> Arc<Log> {
    Log::open(dir.path(), options.scanner(), None).unwrap()
}

/// Lets a quarter of the entries pass, and returns how much was allocated for the rest.
fn allocated_by_scan(entries: u64, len: usize, swapped: Option<u64>) -> u64 {
    let dir = log_of(entries, len, swapped);
    let mut source = LogSource::new(open(&dir, &Options::default()), Lsn::NULL);
    let now = Now::default();
    let mut before = 0;
    for vlsn in 1..=entries {
        if vlsn == entries / 4 {
            before = allocations();
        }
        assert!(matches!(source.next(vlsn, &now), Ok(Next::Entry(entry)) if entry.vlsn == vlsn), "VLSN {vlsn}");
    }
    allocations() - before
}

#[test]
fn reading_allocates_nothing_per_entry() {
    assert_eq!(allocated_by_scan(100_000, 100, None), 0);
    assert_eq!(allocated_by_scan(2000, 16 * 1024, None), 0);
}

#[test]
fn reading_out_of_order_allocates_less_than_once_for_each_time_it_is_so() {
    let entries = 100_000;
    assert!(allocated_by_scan(entries, 100, Some(1000)) <= 2 * entries / 1000);
}

/// Has a log pass through chunks and a stream whose transport takes `taken` bytes at once, and says what was allocated
/// between the first and the third quarter: neither by the beginning nor by finding out that there is no more.
fn allocated_by_sending(entries: u64, len: usize, taken: u64) -> u64 {
    let dir = log_of(entries, len, None);
    let options = Options::default();
    let source = LogSource::new(open(&dir, &options), Lsn::NULL);
    let mut feed = OwnFeed::new(Box::new(source), options.chunks());
    let mut stream = Stream::new(1, options.stream());
    let now = Instant::now();
    let (mut before, mut after) = (None, None);
    let mut is_dry = false;
    while !is_dry || stream.has_output() {
        while !is_dry && stream.wants_chunk() {
            let (portion, filled) = feed.next(stream.next_vlsn(), now);
            is_dry = matches!(filled, Filled::Dry(_));
            assert!(!matches!(filled, Filled::Failed(_)), "{filled:?}");
            portion.into_iter().for_each(|portion| stream.push(portion));
        }
        let offered: u64 = stream.with_output(|pieces| pieces.iter().map(|piece| piece.len() as u64).sum());
        stream.sent(offered.min(taken), |chunk| feed.take_back(chunk));
        if stream.sent_vlsn() >= entries / 4 {
            before.get_or_insert_with(allocations);
        }
        if stream.sent_vlsn() >= entries / 4 * 3 {
            after.get_or_insert_with(allocations);
        }
    }
    assert_eq!(stream.counts().frames, entries);
    after.unwrap() - before.unwrap()
}

#[test]
fn sending_allocates_nothing_per_entry_and_nothing_per_chunk() {
    // Packed payloads, and such that are sent from where they were read.
    for (entries, len) in [(100_000, 100), (4000, 16 * 1024)] {
        for taken in [u64::MAX, 200_000, 10_007] {
            assert_eq!(allocated_by_sending(entries, len, taken), 0, "{len} bytes, {taken} at once");
        }
    }
}

fn ack_messages(vlsns: impl Iterator<Item = u64>) -> Vec<u8> {
    vlsns.flat_map(|vlsn| [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()).collect()
}

#[test]
fn acks_allocate_nothing() {
    let mut options = Options::default();
    options.set("ack.beyond_sent", "accept").unwrap();
    let mut stream = Stream::new(1, options.stream());
    let acks = Acks::new(64 * 1024);
    let mut taken = [Ack { vlsn: 0, merged: 0 }; 1024];
    let mut queued = Vec::with_capacity(1000);
    for round in 0..100 {
        let messages = ack_messages(round * 1000..(round + 1) * 1000);
        let made = allocations();
        queued.clear();
        // In pieces that end within messages.
        for piece in messages.chunks(4099) {
            stream.received(piece, |vlsn| acks.raise(vlsn), |vlsn| queued.push(vlsn)).unwrap();
        }
        acks.queue(&queued);
        acks.announce();
        assert_eq!(acks.poll(&mut taken, Deadline::from_millis(0)), Polled::Acks(1000));
        if round > 0 {
            assert_eq!(allocations() - made, 0);
        }
    }
    assert_eq!(stream.counts().acks, 100_000);
}

/// Reads frames and acks each, without ever waiting for its acks to be read.
fn replicate(mut socket: UnixStream, last: u64) {
    let mut buffer = vec![0; 64 * 1024];
    let (mut have, mut acks, mut vlsn) = (0, Vec::new(), 0);
    while vlsn < last {
        let read = socket.read(&mut buffer[have..]).unwrap();
        assert!(read > 0, "closed behind VLSN {vlsn}");
        have += read;
        let mut at = 0;
        while have - at >= 12 {
            let len = 4 + u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap()) as usize;
            if have - at < len {
                break;
            }
            vlsn = u64::from_le_bytes(buffer[at + 4..at + 12].try_into().unwrap());
            acks.extend_from_slice(&8u32.to_le_bytes());
            acks.extend_from_slice(&vlsn.to_le_bytes());
            at += len;
        }
        buffer.copy_within(at..have, 0);
        have -= at;
        socket.write_all(&acks).unwrap();
        acks.clear();
    }
    // Until the feeder has every entry that was written.
    let _ = socket.shutdown(std::net::Shutdown::Write);
    while !matches!(socket.read(&mut buffer), Ok(0)) {}
}

/// A chunk that is made while a run is on its way grows by doubling, some thirty steps for its bytes and its marks.
const A_FEW_CHUNKS_MORE: u64 = 3 * 32;

#[test]
fn a_whole_run_allocates_nothing_per_entry_and_per_ack() {
    for (entries, len) in [(200_000_u64, 100), (4000, 16 * 1024)] {
        let dir = log_of(entries, len, None);
        let options = Options::default();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let socket = OwnedFd::from(ours);
        options.socket().prepare(socket.as_fd()).unwrap();
        let channel = Box::new(SocketChannel::new(socket, options.socket()));
        let runner = Runner::new(channel, c"replica".to_owned(), 1, options.clone()).map_err(|(_, e)| e).unwrap();
        // How much the runner's thread has allocated by the last ack of the first quarter, and of the third.
        let counted = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let counts = Arc::clone(&counted);
        let note = move |vlsn| {
            if vlsn == entries / 4 {
                counts[0].store(allocations(), Ordering::Relaxed);
            } else if vlsn == entries / 4 * 3 {
                counts[1].store(allocations(), Ordering::Relaxed);
            }
        };
        runner.set_ack_function(Box::new(move |_, vlsn| note(vlsn))).unwrap();
        let source = Box::new(LogSource::new(open(&dir, &options), Lsn::NULL));
        let replica = thread::spawn(move || replicate(theirs, entries));
        runner.start(source).map_err(|(_, e)| e).unwrap();
        let patience = Deadline::At(Instant::now() + Duration::from_secs(60));
        assert_eq!(runner.wait_acked(entries, patience).unwrap(), Waited::Acked);
        runner.dispose().unwrap();
        replica.join().unwrap();
        let [first, last] = [&counted[0], &counted[1]].map(|count| count.load(Ordering::Relaxed));
        // How many chunks are in use at once depends on the replica: some more, and their growing, are all that may come.
        assert!(last - first <= A_FEW_CHUNKS_MORE, "{} for {entries} entries of {len} bytes", last - first);
    }
}

#[test]
fn the_counting_counts() {
    let before = allocations();
    drop(std::hint::black_box(vec![0_u8; 100]));
    assert_eq!(allocations() - before, 1);
}
