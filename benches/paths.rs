//! What an entry and an ack pass through, step by step, without a system call but the reads of the log.

// Made by criterion's macros.
#![allow(missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use common::{RECORD, log_of};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use noxu_feeder::acks::Acks;
use noxu_feeder::chunk::fill::Filled;
use noxu_feeder::chunk::{Chunk, ChunkLimits};
use noxu_feeder::feed::{Feed, OwnFeed};
use noxu_feeder::log::checksum::Checksummer;
use noxu_feeder::log::format::{ENTRY_HEADER_LEN_VLSN, encode_entry};
use noxu_feeder::log::order::{Order, WindowLimits};
use noxu_feeder::log::{Entry, Log, Lsn, Next, Now};
use noxu_feeder::options::Options;
use noxu_feeder::source::{LogSource, Source};
use noxu_feeder::stream::Stream;

const SIZES: [usize; 4] = [100, 256, 1024, 16 * 1024];
/// Of a log that stays in a core's cache, and of one that does not.
const LOG_BYTES: usize = 32 << 20;

/// Both checksums of an entry: the one in its header, and the one that the frame carries.
fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksums");
    let checksummer = Checksummer::default();
    for len in SIZES {
        let mut entry = Vec::new();
        encode_entry(&mut entry, RECORD, 0, 0, Some(1), &vec![7; len]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| checksummer.of(black_box(&entry), ENTRY_HEADER_LEN_VLSN));
        });
    }
    group.finish();
}

/// What a read costs into memory at a page's beginning, where blocks put it, and 16 bytes behind one, where an allocator's
/// large blocks begin.
fn pread(criterion: &mut Criterion) {
    const READ_BYTES: usize = 1 << 20;
    let dir = log_of(LOG_BYTES as u64 / 1046, 1024, None);
    let file = File::open(dir.path().join("00000000.ndb")).expect("the log that was just made");
    let mut memory = vec![0; READ_BYTES + 2 * 4096];
    let page = memory.as_ptr().align_offset(4096);
    let mut group = criterion.benchmark_group("pread");
    group.throughput(Throughput::Bytes(LOG_BYTES as u64 / 2));
    for behind in [0, 16] {
        let into = &mut memory[page + behind..][..READ_BYTES];
        group.bench_function(BenchmarkId::new("bytes behind a page", behind), |bencher| {
            bencher.iter(|| {
                for offset in (0..LOG_BYTES / 2).step_by(READ_BYTES) {
                    file.read_exact_at(into, offset as u64).expect("half of the log");
                }
            });
        });
    }
    group.finish();
}

/// A whole log, from the first entry to the last.
fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for len in SIZES {
        let entries = (LOG_BYTES / (len + ENTRY_HEADER_LEN_VLSN)) as u64;
        let dir = log_of(entries, len, None);
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| {
                let mut source = source(dir.path());
                let now = Now::default();
                for vlsn in 1..=entries {
                    assert!(matches!(source.next(vlsn, &now), Ok(Next::Entry(_))));
                }
            });
        });
    }
    group.finish();
}

/// The same, put into chunks, and these through a stream whose transport takes everything at once.
fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send");
    let options = Options::default();
    for len in SIZES {
        let entries = (LOG_BYTES / (len + ENTRY_HEADER_LEN_VLSN)) as u64;
        let dir = log_of(entries, len, None);
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            bencher.iter(|| {
                let mut feed = OwnFeed::new(Box::new(source(dir.path())), options.chunks());
                let mut stream = Stream::new(1, options.stream());
                let now = Instant::now();
                while stream.sent_vlsn() < entries {
                    let (portion, filled) = feed.next(stream.next_vlsn(), now);
                    assert!(!matches!(filled, Filled::Failed(_)));
                    portion.into_iter().for_each(|portion| stream.push(portion));
                    let offered = stream.with_output(|pieces| pieces.iter().map(|piece| piece.len() as u64).sum());
                    stream.sent(offered, |chunk| feed.take_back(chunk));
                }
            });
        });
    }
    group.finish();
}

fn source(dir: &std::path::Path) -> LogSource {
    LogSource::new(Log::open(dir, Options::default().scanner(), None).expect("a log"), Lsn::NULL)
}

/// A chunk of small frames, without reading.
fn pack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pack");
    let limits = ChunkLimits::default();
    for len in [100, 1024] {
        let payload = vec![7; len];
        let frames = limits.bytes / (len + 21);
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
            let mut chunk = Chunk::default();
            bencher.iter(|| {
                chunk.clear(&limits);
                for vlsn in 1..=frames as u64 {
                    let lsn = Lsn::new(0, 36);
                    let entry = Entry { vlsn, lsn, entry_type: RECORD, payload: &payload, payload_crc: 1, block: None };
                    chunk.push(black_box(&entry), &limits).expect("a small entry");
                }
            });
        });
    }
    group.finish();
}

/// The order of VLSNs, where it is the log's, and where every hundredth pair is swapped.
fn order(criterion: &mut Criterion) {
    const ENTRIES: u64 = 10_000;
    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(ENTRIES));
    for (name, every) in [("in order", u64::MAX), ("swapped", 100)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut order = Order::new(1, WindowLimits { entries_max: 1 << 18, bytes_max: 1 << 30 });
                for place in 1..=ENTRIES {
                    let vlsn = match place % every {
                        1 if place > 1 => place + 1,
                        2 if place > 2 => place - 1,
                        _ => place,
                    };
                    let _ = black_box(order.place(vlsn, Lsn(place), 122, 7));
                    while order.next() == vlsn || order.ready().is_some() {
                        order.returned(7);
                    }
                }
            });
        });
    }
    group.finish();
}

/// Acks as one large receive brings them, up to the host's function.
fn acks(criterion: &mut Criterion) {
    const ACKS: u64 = 5000;
    let mut group = criterion.benchmark_group("acks");
    group.throughput(Throughput::Elements(ACKS));
    let messages: Vec<u8> =
        (1..=ACKS).flat_map(|vlsn| [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()).collect();
    let mut options = Options::default();
    options.set("ack.beyond_sent", "accept").expect("an option");
    let acks = Acks::new(1);
    group.bench_function("to a function", |bencher| {
        let mut stream = Stream::new(1, options.stream());
        bencher.iter(|| {
            stream.received(&messages, |vlsn| acks.raise(vlsn), |vlsn| _ = black_box(vlsn)).expect("good acks");
            acks.announce();
        });
    });
    group.finish();
}

criterion_group!(paths, pread, checksums, scan, send, pack, order, acks);
criterion_main!(paths);
