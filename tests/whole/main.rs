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

#[allow(dead_code, reason = "tests/served asks more of it")]
mod disk;
mod driver;
mod holding;
mod judge;
mod link;
mod many;
mod seeds;
mod world;

/// How many seeds are run when nobody says otherwise.
const SEEDS: u64 = 5_000;

#[test]
#[cfg_attr(miri, ignore = "Miri has no poll")]
fn every_seed_comes_out_as_it_must() {
    seeds::run("whole", "NXF_WHOLE", SEEDS);
}
