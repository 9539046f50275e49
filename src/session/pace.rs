//! How fast a session sends, where that is limited: a bucket of tokens, one for each byte.
//!
//! It sends in pieces, and only when there are tokens for a whole piece or for all that there is. Otherwise each wake-up,
//! such as for an ack, would send the few bytes for which there is a token by then. There is no clock here.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The bucket holds what comes in so small a part of a second.
const PIECES_PER_SECOND: u64 = 8;

/// It holds as many tokens in any case.
const PIECE_MIN: u64 = 4 * 1024;

/// See the module's comment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rate: NonZeroU64,
    /// The bucket has what has come since then. If this is still to come, more was spent than there was.
    since: Instant,
}

impl Pace {
    /// So many bytes a second, with a full bucket to begin with.
    pub(super) fn new(rate: NonZeroU64, now: Instant) -> Pace {
        let mut pace = Pace { rate, since: now };
        pace.since = before(now, pace.time_for(pace.piece()));
        pace
    }

    /// How many bytes a second.
    pub(super) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Another rate from now on. What is in the bucket stays there, and so does what is owed: who changes the rate often
    /// neither stops the stream nor speeds it up.
    pub(super) fn change(&mut self, rate: NonZeroU64, now: Instant) {
        let before_now = now.saturating_duration_since(self.since);
        let behind_now = self.since.saturating_duration_since(now);
        let (has, owes) = (self.bytes_in(before_now).min(self.piece()), self.bytes_in(behind_now));
        self.rate = rate;
        let has = has.min(self.piece());
        self.since = if owes > 0 { now + self.time_for(owes) } else { before(now, self.time_for(has)) };
    }

    /// How many bytes of the `wanted`, or of more, may be sent now; or when some will.
    pub(super) fn allows(&self, wanted: u64, now: Instant) -> Result<u64, Instant> {
        let piece = self.piece();
        let needed = wanted.min(piece);
        let has = self.bytes_in(now.saturating_duration_since(self.since)).min(piece);
        if self.since <= now && has >= needed { Ok(has) } else { Err(self.since + self.time_for(needed)) }
    }

    /// So many bytes were sent.
    pub(super) fn spend(&mut self, bytes: u64, now: Instant) {
        let full = before(now, self.time_for(self.piece()));
        self.since = self.since.max(full) + self.time_for(bytes);
    }

    /// How many bytes are sent at once, at most.
    fn piece(&self) -> u64 {
        (self.rate.get() / PIECES_PER_SECOND).max(PIECE_MIN)
    }

    fn bytes_in(&self, time: Duration) -> u64 {
        let bytes = time.as_nanos().saturating_mul(self.rate.get().into()) / NANOS;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The shortest time in which there are so many.
    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * NANOS).div_ceil(self.rate.get().into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(LONGEST)
    }
}

const NANOS: u128 = 1_000_000_000;

/// No clock counts further than this ahead.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

fn before(now: Instant, time: Duration) -> Instant {
    // A clock that has just begun has not run for that long.
    now.checked_sub(time).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: u64 = 1024;

    fn rate(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).unwrap()
    }

    /// A moment with time before it.
    fn some_time() -> Instant {
        Instant::now() + Duration::from_secs(1_000_000)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_allows_a_piece_at_once_and_then_as_many_as_come() {
        for (each_second, piece) in [(800 * KIB, 100 * KIB), (32 * KIB, 4 * KIB), (8 * KIB, 4 * KIB), (1, 4 * KIB)] {
            let now = some_time();
            let mut pace = Pace::new(rate(each_second), now);
            assert_eq!(pace.allows(u64::MAX, now), Ok(piece), "a piece at {each_second} bytes a second");
            pace.spend(piece, now);
            let next = now + Duration::from_nanos((piece * 1_000_000_000).div_ceil(each_second));
            assert_eq!(pace.allows(u64::MAX, now), Err(next));
            assert_eq!(pace.allows(u64::MAX, next - Duration::from_nanos(1)), Err(next));
            assert_eq!(pace.allows(u64::MAX, next), Ok(piece));
            let rested = next + Duration::from_secs(100_000);
            assert_eq!(pace.allows(u64::MAX, rested), Ok(piece), "time that was not used is not made up for");
        }
    }

    #[test]
    fn less_than_a_piece_waits_for_no_more_than_its_own_tokens() {
        let now = some_time();
        let mut pace = Pace::new(rate(8000), now);
        assert_eq!(pace.allows(100, now), Ok(4 * KIB));
        pace.spend(4 * KIB, now);
        assert_eq!(pace.allows(80, now), Err(now + ms(10)));
        assert_eq!(pace.allows(80, now + ms(10)), Ok(80));
        assert_eq!(pace.allows(0, now), Ok(0));
    }

    #[test]
    fn what_was_spent_beyond_what_there_was_is_owed() {
        let now = some_time();
        let mut pace = Pace::new(rate(8000), now);
        pace.spend(4 * KIB + 8000, now);
        assert_eq!(pace.allows(800, now), Err(now + ms(1100)));
        pace.change(rate(4000), now);
        assert_eq!(pace.allows(800, now), Err(now + ms(2200)), "also at another rate");
    }

    #[test]
    fn a_bucket_keeps_what_it_has_when_the_rate_changes_if_it_has_room() {
        let now = some_time();
        let mut pace = Pace::new(rate(80_000), now);
        pace.change(rate(8_000_000), now);
        assert_eq!(pace.allows(1000, now), Ok(10_000));
        pace.change(rate(1000), now);
        assert_eq!(pace.allows(1000, now), Ok(4 * KIB));
        let mut enormous = Pace::new(NonZeroU64::MAX, now);
        enormous.spend(u64::MAX, now);
        enormous.change(rate(1), now);
        assert!(enormous.allows(1, now).is_err());
        enormous.spend(u64::MAX, now);
    }

    proptest! {
        /// In no stretch of time is more sent than the rate gives in it and a piece; and it goes on whenever it says.
        #[test]
        fn no_more_is_sent_than_a_piece_and_what_the_rate_gives(
            each_second in prop_oneof![1u64..1000, 1000u64..10_000_000],
            steps in prop::collection::vec((0u64..300, 1u64..1_000_000), 1..200),
        ) {
            let begin = some_time();
            let mut pace = Pace::new(rate(each_second), begin);
            let (mut now, mut sent) = (begin, 0u128);
            for (pause, wanted) in steps {
                now += ms(pause);
                let allowed = match pace.allows(wanted, now) {
                    Ok(allowed) => allowed,
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        pace.allows(wanted, now).unwrap()
                    }
                };
                prop_assert!(allowed >= wanted.min(pace.piece()));
                let taken = wanted.min(allowed);
                pace.spend(taken, now);
                sent += u128::from(taken);
                let given = (now - begin).as_nanos() * u128::from(each_second) / NANOS;
                prop_assert!(sent <= given + u128::from(pace.piece()));
            }
        }
    }
}
