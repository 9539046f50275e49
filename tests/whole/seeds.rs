//! Runs a simulation seed by seed, on as many threads as there are processors: says which fails first, and what was met too
//! seldom.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::judge::Seen;
use crate::world;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {value}")))
}

fn outcome_of(seed: u64) -> Result<Seen, String> {
    catch_unwind(AssertUnwindSafe(|| world::run(seed))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_default();
        Err(format!("it panicked: {text}"))
    })
}

/// Runs `count` seeds of the test `name`, or what the variables that begin with `prefix` say.
pub(crate) fn run(name: &str, prefix: &str, count: u64) {
    if let Some(seed) = number(&format!("{prefix}_SEED")) {
        if let Err(text) = outcome_of(seed) {
            panic!("seed {seed}: {text}");
        }
        return;
    }
    let from = number(&format!("{prefix}_FROM")).unwrap_or(0);
    let seeds = number(&format!("{prefix}_SEEDS")).unwrap_or(count);
    let next = AtomicU64::new(from);
    let failed: Mutex<Option<(u64, String)>> = Mutex::default();
    let seen: Mutex<Seen> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut mine = Seen::default();
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
        panic!("seed {seed}: {text}\nagain: {prefix}_SEED={seed} cargo test --test {name}");
    }
    let seen = seen.into_inner().expect("nobody panics with it");
    let too_seldom = seen.too_seldom(seeds, count);
    assert!(too_seldom.is_empty(), "too seldom in {seeds} runs:\n{too_seldom}");
}
