//! What a log holds, looked at once for all who ask at about the same time.
//!
//! To know the range of a large log takes the reading of some 30 MiB of it. When many replicas dial in at once, as they do
//! when a master has begun, each of them would read as much. Here the first who asks begins, whoever asks next goes on where
//! that one was interrupted, and what was found serves all.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::peer_feeder::LogRange;
use crate::log::budget::Searched;
use crate::log::lookup::Known;

/// How long what was found serves those who begin within it or right behind it. What is deleted from the log meanwhile is
/// noticed when it is read. For whoever begins elsewhere, the log is looked at anew: it may have grown.
const SERVES_FOR: Duration = Duration::from_millis(100);

/// When to ask again while another loop looks.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

type Found = Option<((u64, u64), Instant)>;

/// See the module's comment. One thread at a time; others have their own, which shares what is known.
#[derive(Debug)]
pub struct SharedRange<L> {
    found: Arc<Mutex<Found>>,
    log: Arc<Mutex<L>>,
}

/// What is known of a range, for those who will ask. It keeps what was found, and of the log nothing while nobody asks.
#[derive(Debug)]
pub struct KnownRange<L> {
    found: Arc<Mutex<Found>>,
    log: Weak<Mutex<L>>,
}

impl<L> KnownRange<L> {
    /// For one more who asks. If nobody does at the moment, `make` makes who looks into the log.
    pub fn share(&mut self, make: impl FnOnce() -> L) -> SharedRange<L> {
        let log = self.log.upgrade().unwrap_or_else(|| Arc::new(Mutex::new(make())));
        self.log = Arc::downgrade(&log);
        SharedRange { found: Arc::clone(&self.found), log }
    }
}

impl<L> Default for KnownRange<L> {
    fn default() -> KnownRange<L> {
        KnownRange { found: Arc::default(), log: Weak::new() }
    }
}

impl<L: LogRange> LogRange for SharedRange<L> {
    fn allow(&mut self, bytes: u64) {
        // Who looks at the moment has been allowed something already.
        if let Some(mut log) = self.log.try_lock() {
            log.allow(bytes);
        }
    }

    fn range(&mut self, start: u64, now: Instant) -> Searched<Known<Option<(u64, u64)>>> {
        let found = *self.found.lock();
        if let Some((found, at)) = found
            && now.saturating_duration_since(at) < SERVES_FOR
            && (found.0..=found.1.saturating_add(1)).contains(&start)
        {
            return Ok(Known::Yes(Some(found)));
        }
        // Nobody waits for a disk that another loop waits for.
        let Some(mut log) = self.log.try_lock() else { return Ok(Known::NotYet { look_again: now + LOOK_AGAIN }) };
        let range = log.range(start, now)?;
        if let Known::Yes(range) = range {
            *self.found.lock() = range.map(|range| (range, now));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::log::budget::Halt;

    /// A log from 5 on that has one more entry each time it is looked at, and the first time takes two looks.
    #[derive(Clone, Default)]
    struct Growing(Arc<AtomicU32>);

    impl LogRange for Growing {
        fn allow(&mut self, _: u64) {}

        fn range(&mut self, _: u64, _: Instant) -> Searched<Known<Option<(u64, u64)>>> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(Halt::Busy),
                looks => Ok(Known::Yes(Some((5, 10 + u64::from(looks))))),
            }
        }
    }

    #[test]
    fn one_looks_for_all_and_again_for_who_begins_above_what_was_found_or_comes_later() {
        let (log, now) = (Growing::default(), Instant::now());
        let mut known = KnownRange::default();
        let mut each = [(); 3].map(|()| known.share(|| log.clone()));
        assert_eq!(each[0].range(5, now), Err(Halt::Busy));
        let found = |last| Ok(Known::Yes(Some((5, last))));
        assert_eq!(each[1].range(5, now), found(11), "it goes on for the first");
        assert_eq!(each[0].range(5, now), found(11));
        assert_eq!(each[2].range(12, now + SERVES_FOR / 2), found(11), "it waits for what comes next");
        assert_eq!(log.0.load(Ordering::Relaxed), 2);
        assert_eq!(each[2].range(13, now), found(12), "that may have come meanwhile");
        assert_eq!(each[2].range(4, now), found(13), "that may have been found to be there");
        assert_eq!(each[0].range(5, now), found(13));
        drop(each);
        let mut next = known.share(|| log.clone());
        assert_eq!(next.range(5, now), found(13), "it is remembered when nobody asks");
        assert_eq!(next.range(5, now + SERVES_FOR), found(14));
    }

    #[test]
    fn nobody_waits_for_another_who_looks() {
        let (mut known, now) = (KnownRange::default(), Instant::now());
        let [mut range, other] = [(); 2].map(|()| known.share(Growing::default));
        let looks = other.log.lock();
        range.allow(1);
        assert_eq!(range.range(1, now), Ok(Known::NotYet { look_again: now + LOOK_AGAIN }));
        drop(looks);
        assert_eq!(range.range(1, now), Err(Halt::Busy));
    }
}
