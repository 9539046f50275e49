//! Models: each runs a few steps of the real code on two or three threads, in every order in which they can happen, and in
//! every way in which the memory model lets one thread see what another wrote. Loom does it; `sync.rs` and `signal_fd.rs` give
//! the library loom's locks, atomics and signals. A thread that sleeps and is never woken is a deadlock, which loom reports.
//!
//! `docs/testing.md` says which bugs were planted to see these models fail.
#![allow(missing_docs, reason = "tests")]

mod acks;
mod bell;
mod inbox;
mod pump;
mod runner;
mod sharing;
mod waker;

/// Runs `model` in every order of its threads' steps. `preemptions`: leaves out the orders in which more often than that a
/// thread is interrupted that could go on; the number `NXF_MODEL_PREEMPTIONS` takes its place.
fn in_every_order(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let told = std::env::var("NXF_MODEL_PREEMPTIONS").ok().map(|number| number.parse().expect("a number"));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = told.or(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}
