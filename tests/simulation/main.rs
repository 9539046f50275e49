//! The simulation: the log reader and the stream against a model of the real writer, its disk and a replica, without
//! threads, sleeps or chance but what a seed determines. An independent [`oracle`] says what must come out.
//!
//! ```sh
//! cargo test --test simulation                             # some thousands of seeds
//! NXF_SIM_SEED=123 cargo test --test simulation            # this one
//! NXF_SIM_SEEDS=1000000 cargo test --test simulation       # seeds 0 to 999 999
//! NXF_SIM_FROM=1000000 NXF_SIM_SEEDS=1000 cargo test ...  # 1 000 000 to 1 000 999
//! NXF_SIM_TRACE=500 NXF_SIM_SEED=123 cargo test ...       # with more of what happened before
//! NXF_SIM_ALL=1 cargo test --test simulation               # does not stop at the first failure, and lists them
//! cargo test --test simulation -- --nocapture              # says how many seeds brought about which situation
//! ```
//!
//! A failure names the seed and the last events before it.
#![allow(
    clippy::cast_possible_truncation,
    reason = "the model's files are small, and its VLSNs are far from any limit"
)]

mod disk;
mod oracle;
mod patience;
mod plan;
mod replica;
mod rng;
mod run;
mod situations;
mod subject;
mod trace;
mod truth;
mod witness;
mod writer;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use situations::Tally;

/// How many failures are listed.
const LISTED_MAX: usize = 200;

/// How many seeds are run when nobody says otherwise.
const SEEDS: u64 = 20_000;

/// Runs one seed; what went wrong, if anything.
fn outcome_of(seed: u64) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(|| run::run(seed))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_default();
        Err(format!("it panicked: {text}"))
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

#[expect(clippy::print_stdout, reason = "for people; without --nocapture nobody sees it")]
fn show(table: &str) {
    println!("{table}");
}

#[test]
fn every_seed_comes_out_as_it_must() {
    if let Some(seed) = number("NXF_SIM_SEED") {
        if let Err(text) = outcome_of(seed) {
            panic!("seed {seed}: {text}");
        }
        return;
    }
    let from = number("NXF_SIM_FROM").unwrap_or(0);
    let seeds = number("NXF_SIM_SEEDS").unwrap_or(SEEDS);
    let goes_on = number("NXF_SIM_ALL").is_some();
    let next = AtomicU64::new(from);
    let failed: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let tally: Mutex<Tally> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = || failed.lock().is_ok_and(|failed| !failed.is_empty());
                    if seed >= from + seeds || !goes_on && is_over() {
                        break;
                    }
                    match outcome_of(seed) {
                        Ok(seen) => tally.lock().expect("nobody panics with it").add_seed(&seen),
                        Err(text) => {
                            failed.lock().expect("nobody panics with it").insert(seed, text);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    let Some((seed, text)) = failed.first_key_value() else {
        let tally = tally.into_inner().expect("nobody panics with it");
        let table = tally.table(seeds);
        show(&table);
        let seldom = tally.too_seldom(seeds);
        // Few seeds are run to have a look, or because each takes long.
        assert!(seeds < situations::PER || seldom.is_empty(), "too seldom to prove anything: {seldom:#?}\n{table}");
        return;
    };
    let mut others = String::new();
    for (seed, text) in failed.iter().skip(1).take(LISTED_MAX) {
        let line = text.lines().next().unwrap_or_default();
        others.push_str(&format!("seed {seed}: {line}\n"));
    }
    panic!(
        "{} of {seeds} seeds failed, the first: seed {seed}: {text}\n\
         again: NXF_SIM_SEED={seed} cargo test --test simulation\n{others}",
        failed.len()
    );
}
