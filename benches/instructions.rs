//! The paths of an entry and of an ack, for `scripts/instructions.sh`, which has callgrind count their instructions.
//!
//! `instructions scan|send|ack ENTRIES` prepares everything and then calls a function of the path's name, in which
//! alone callgrind counts.

// It says how many entries have passed.
#![allow(clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::log_of;
use noxu_feeder::acks::Acks;
use noxu_feeder::chunk::fill::Filled;
use noxu_feeder::feed::{Feed, OwnFeed};
use noxu_feeder::log::{Log, Lsn, Next, Now};
use noxu_feeder::options::Options;
use noxu_feeder::source::{LogSource, Source};
use noxu_feeder::stream::Stream;

const PAYLOAD_LEN: usize = 100;
/// A receive brings so many acks.
const ACKS: u64 = 2000;

/// Reads up to VLSN `last`.
#[unsafe(no_mangle)]
#[inline(never)]
fn measured_scan(source: &mut LogSource, last: u64) -> u64 {
    let now = Now::default();
    let mut vlsn = 0;
    while vlsn < last {
        match source.next(vlsn + 1, &now) {
            Ok(Next::Entry(entry)) => vlsn = black_box(&entry).vlsn,
            other => panic!("{other:?}"),
        }
    }
    vlsn
}

/// Reads and frames up to VLSN `last` and beyond, and has all of it taken.
#[unsafe(no_mangle)]
#[inline(never)]
fn measured_send(feed: &mut OwnFeed, stream: &mut Stream, last: u64) -> u64 {
    let now = Now::default();
    while stream.sent_vlsn() < last {
        let (portion, filled) = feed.next(stream.next_vlsn(), now.get());
        assert!(!matches!(filled, Filled::Failed(_)), "{filled:?}");
        portion.into_iter().for_each(|portion| stream.push(portion));
        let offered: u64 = stream.with_output(|pieces| pieces.iter().map(|piece| piece.len() as u64).sum());
        stream.sent(offered, |chunk| feed.take_back(chunk));
    }
    stream.sent_vlsn()
}

/// Takes the acks in `messages`.
#[unsafe(no_mangle)]
#[inline(never)]
fn measured_ack(stream: &mut Stream, acks: &Acks, messages: &[Vec<u8>]) -> u64 {
    for message in messages {
        let result = stream.received(message, |vlsn| acks.raise(vlsn), |vlsn| _ = black_box(vlsn));
        acks.announce();
        result.expect("good acks");
    }
    stream.counts().acks
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // As a benchmark among others it is called with options, and has nothing to say.
    let [_, path, entries] = &arguments[..] else { return };
    let Ok(entries) = entries.parse::<u64>() else { return };
    let mut options = Options::default();
    options.set("ack.beyond_sent", "accept").expect("an option");
    let mut stream = Stream::new(1, options.stream());
    let passed = match path.as_str() {
        "ack" => {
            let message = |vlsn: u64| [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat();
            let all: Vec<u64> = (1..=entries).collect();
            let messages: Vec<Vec<u8>> =
                all.chunks(ACKS as usize).map(|vlsns| vlsns.iter().flat_map(|&vlsn| message(vlsn)).collect()).collect();
            measured_ack(&mut stream, &Acks::new(1), &messages)
        }
        path => {
            // More than is read: what happens at the end of a log is another matter.
            let dir = log_of(entries + 20_000, PAYLOAD_LEN, None);
            let log = Log::open(dir.path(), options.scanner(), None).expect("a log");
            let mut source = LogSource::new(log, Lsn::NULL);
            if path == "scan" {
                measured_scan(&mut source, entries)
            } else {
                measured_send(&mut OwnFeed::new(Box::new(source), options.chunks()), &mut stream, entries)
            }
        }
    };
    println!("{passed}");
}
