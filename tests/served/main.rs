//! A server under virtual time: its loop, what it does with whoever comes, what it reads of the log and what its host hears,
//! as they are, over a disk, connections, peers and a host that a seed determines. One thread, no sleep, no chance.
//!
//! ```sh
//! cargo test --test served                                   # some thousands of seeds
//! NXF_SERVED_SEED=123 cargo test --test served               # this one, with what happened
//! NXF_SERVED_SEEDS=1000000 cargo test --test served          # seeds 0 to 999 999; NXF_SERVED_FROM=N: from N on
//! ```
//!
//! Replicas, restorers, those who look for a common point, probes, the silent, the confused, and those who stop reading come
//! at any moment, and say what they say in pieces of any size. The host names them at once, later or not, turns some away,
//! disconnects others, and stops the server at any moment. What a log, a connection and a loop's sleep can do is that of
//! `tests/whole`.
#![allow(clippy::cast_possible_truncation, reason = "all sizes in the model are small")]

#[path = "../simulation/rng.rs"]
#[allow(dead_code, reason = "the simulations use different parts of it")]
mod rng;

#[path = "../whole/disk.rs"]
mod disk;
#[path = "../whole/driver.rs"]
mod driver;
mod host;
mod judge;
mod peer;
mod pipe;
#[path = "../whole/seeds.rs"]
mod seeds;
mod world;

/// How many seeds are run when nobody says otherwise.
const SEEDS: u64 = 3_000;

#[test]
#[cfg_attr(miri, ignore = "Miri has no poll")]
fn every_seed_comes_out_as_it_must() {
    seeds::run("served", "NXF_SERVED", SEEDS);
}
