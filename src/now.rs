//! The time of a call, looked at when it is first needed.
//!
//! Only what the log lacks is a matter of time. Whoever asks for entries one by one gets nearly all of them from bytes
//! that were read before, and to look at a clock costs a fifth of that.

use std::cell::Cell;
use std::time::Instant;

/// See the module's comment. Once looked at, it stands still.
#[derive(Debug, Default)]
pub struct Now(Cell<Option<Instant>>);

impl Now {
    /// The time, as of the first call.
    #[inline]
    pub fn get(&self) -> Instant {
        self.0.get().unwrap_or_else(|| {
            let now = Instant::now();
            self.0.set(Some(now));
            now
        })
    }
}

impl From<Instant> for Now {
    fn from(now: Instant) -> Now {
        Now(Cell::new(Some(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_the_time_of_the_first_look_or_the_one_given() {
        let before = Instant::now();
        let now = Now::default();
        let seen = now.get();
        assert!(seen >= before && now.get() == seen);
        let given = before + Duration::from_secs(1);
        assert_eq!(Now::from(given).get(), given);
    }
}
