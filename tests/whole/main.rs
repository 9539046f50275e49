//! The whole under virtual time: log, scanner, chunks, stream, session, reactor, acks and runner as they are, over a disk,
//! a connection, a replica and a host that a seed determines. One thread, no sleep, no chance.
//!
//! ```sh
//! cargo test --test whole                                  # some thousands of seeds
//! NXF_WHOLE_SEED=123 cargo test --test whole               # this one, with what happened
//! NXF_WHOLE_SEEDS=1000000 cargo test --test whole          # seeds 0 to 999 999; NXF_WHOLE_FROM=N: from N on
//! ```
//!
//! What the log's own simulation (`tests/simulation`) does to a reader is not done here again. Here it is about what
//! surrounds it: notifications that are lost, late or for nothing; a socket that takes one byte, and one that is full both
//! ways; acks in any pieces; connections that end in any way; a host that stops, asks and rings at any moment; a machine
//! that stands still for a while. One seed in three has up to six sessions over up to three logs in one loop, which come and
//! go at any moment: each is judged by itself, and none may get turns for which there is no reason. In half of these seeds
//! the sessions of a log share what is read of it. Some hosts pause sessions, and limit how fast they send. In one seed of
//! three no replica may owe an ack for long.
#![allow(clippy::cast_possible_truncation, reason = "all sizes in the model are small")]

#[path = "../simulation/rng.rs"]
#[allow(dead_code, reason = "the two simulations use different parts of it")]
mod rng;

mod disk;
mod driver;
mod holding;
mod judge;
mod link;
mod many;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many seeds are run when nobody says otherwise.
const SEEDS: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

fn outcome_of(seed: u64) -> Result<judge::Seen, String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_default();
        Err(format!("it panicked: {text}"))
    })
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no poll")]
fn every_seed_comes_out_as_it_must() {
    if let Some(seed) = number("NXF_WHOLE_SEED") {
        if let Err(text) = outcome_of(seed) {
            panic!("seed {seed}: {text}");
        }
        return;
    }
    let from = number("NXF_WHOLE_FROM").unwrap_or(0);
    let seeds = number("NXF_WHOLE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(from);
    let failed: Mutex<Option<(u64, String)>> = Mutex::default();
    let seen: Mutex<judge::Seen> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut mine = judge::Seen::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = failed.lock().is_ok_and(|failed| failed.is_some());
                    if seed >= from + seeds || is_over {
                        break;
                    }
                    match outcome_of(seed) {
                        Ok(one) => mine.add(&one),
                        Err(text) => {
                            let mut failed = failed.lock().expect("nobody panics with it");
                            if failed.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                                *failed = Some((seed, text));
                            }
                        }
                    }
                }
                seen.lock().expect("nobody panics with it").add(&mine);
            });
        }
    });
    if let Some((seed, text)) = failed.into_inner().expect("nobody panics with it") {
        panic!("seed {seed}: {text}\nagain: NXF_WHOLE_SEED={seed} cargo test --test whole");
    }
    let seen = seen.into_inner().expect("nobody panics with it");
    let too_seldom = seen.too_seldom(seeds, SEEDS);
    assert!(too_seldom.is_empty(), "too seldom in {seeds} runs:\n{too_seldom}");
}
