//! What is waited for, since when, and when it has taken too long. There is no clock here but the `now` of each call.

use std::time::{Duration, Instant};

use super::ScannerOptions;
use crate::now::Now;

/// See the module's comment.
pub(super) struct Patience {
    settle: Duration,
    /// How long a VLSN may be missing at the live end of the log.
    gap: Duration,
    /// How long the log may end below the VLSN to begin with; none: without end.
    ahead: Option<Duration>,
    awaited: Option<Awaited>,
    /// Since when it is waited elsewhere than at the end of the log.
    elsewhere_since: Option<Instant>,
    /// When the beginnings of what was passed were last looked at although nothing is missing.
    looked_back: Option<Instant>,
    /// When what is missing was last looked for everywhere.
    looked_everywhere: Option<Instant>,
}

/// A VLSN that is waited for, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaits {
    /// Later ones are there.
    Missing(u64),
    /// The log does not reach up to it.
    Log(u64),
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    what: Awaits,
    since: Instant,
    /// Whether people were told.
    is_stalled: bool,
    /// Since when it is waited for at the end of the log, with the time spent elsewhere left out.
    counted_since: Instant,
}

/// What a wait means by now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waited {
    /// It has lasted too long.
    pub(super) is_over: bool,
    /// What is missing is to be looked for everywhere now.
    pub(super) is_sought: bool,
    /// When somebody should know; `None`: now.
    pub(super) stalled_at: Option<Instant>,
    /// When time alone will change something else.
    pub(super) look_again: Option<Instant>,
}

impl Awaited {
    fn new(what: Awaits, now: Instant) -> Awaited {
        Awaited { what, since: now, is_stalled: false, counted_since: now }
    }
}

impl Patience {
    pub(super) fn new(options: &ScannerOptions) -> Patience {
        Patience {
            settle: options.tail.settle,
            gap: options.gap_patience,
            ahead: (!options.waits_when_ahead).then_some(options.gap_patience),
            awaited: None,
            elsewhere_since: None,
            looked_back: None,
            looked_everywhere: None,
        }
    }

    /// The reader slept longer than it had meant to: what was not told yet is waited for anew.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.elsewhere_since = None;
        if let Some(awaited) = &mut self.awaited {
            awaited.counted_since = now;
            if !awaited.is_stalled {
                awaited.since = now;
            }
        }
    }

    /// An entry was held back: `vlsn` is missing from now on.
    #[inline]
    pub(super) fn note_missing(&mut self, vlsn: u64, now: &Now) {
        let what = Awaits::Missing(vlsn);
        if self.awaited.is_none_or(|awaited| awaited.what != what) {
            self.awaited = Some(Awaited::new(what, now.get()));
        }
    }

    /// Nothing is waited for.
    pub(super) fn forget(&mut self) {
        (self.awaited, self.elsewhere_since) = (None, None);
    }

    /// Whether it is time to look at what was passed although nothing is missing. If so, it is noted as done.
    pub(super) fn looks_back(&mut self, now: Instant) -> bool {
        let is_due = self.looked_back.is_none_or(|last| now >= last + self.settle);
        if is_due {
            self.looked_back = Some(now);
        }
        is_due
    }

    /// `vlsn` is missing, and nothing was found at `now`, at the end of the log or elsewhere. `is_sealed`: nobody can be
    /// just writing it. `is_seeking`: a look for it everywhere was interrupted.
    pub(super) fn miss(
        &mut self,
        vlsn: u64,
        is_at_end: bool,
        is_sealed: bool,
        is_seeking: bool,
        now: Instant,
    ) -> Waited {
        let Awaited { since, is_stalled, counted_since, .. } = self.wait(Awaits::Missing(vlsn), is_at_end, now);
        let over_at = counted_since + if is_sealed { self.settle } else { self.gap };
        let is_over = is_at_end && now >= over_at;
        // Not at every wake-up: the writer may be busy, and there may be much to read.
        let seek_at = self.looked_everywhere.map_or(since, |last| last.max(since)) + self.settle;
        let is_sought = is_over || now >= seek_at || is_seeking;
        if is_sought {
            self.looked_everywhere = Some(now);
        }
        let seek_at = if is_sought { now + self.settle } else { seek_at };
        // Elsewhere it is looked for when something changes.
        let look_again = is_at_end.then_some(seek_at.min(over_at));
        let stalled_at = (!(is_at_end && is_stalled)).then_some(since + self.settle);
        Waited { is_over, is_sought, stalled_at, look_again }
    }

    /// The log seems to end below `start`, the VLSN to begin with. `None`: that cannot be told from where it is waited.
    pub(super) fn be_ahead(&mut self, start: u64, is_at_end: bool, now: Instant) -> Option<Waited> {
        // Who waits elsewhere than at the end has not seen yet where that is.
        if !is_at_end && !self.awaited.is_some_and(|awaited| matches!(awaited.what, Awaits::Log(_))) {
            self.forget();
            return None;
        }
        let Awaited { since, is_stalled, counted_since, .. } = self.wait(Awaits::Log(start), is_at_end, now);
        let over_at = self.ahead.map(|patience| counted_since + patience);
        is_at_end.then_some(Waited {
            is_over: over_at.is_some_and(|over_at| now >= over_at),
            is_sought: false,
            stalled_at: (!is_stalled).then_some(since + self.settle),
            look_again: over_at.map(|over_at| over_at.min(now + self.settle)),
        })
    }

    /// `what` is waited for as it was before, or from now on.
    fn wait(&mut self, what: Awaits, is_at_end: bool, now: Instant) -> Awaited {
        let before = self.awaited.filter(|before| before.what == what);
        let mut awaited = before.unwrap_or(Awaited::new(what, now));
        // What is waited for may stand behind the place that is waited at: patience begins when all was read.
        if let Some(elsewhere_since) = self.elsewhere_since {
            awaited.counted_since += now - elsewhere_since.max(awaited.since);
        }
        self.elsewhere_since = (!is_at_end).then_some(now);
        awaited.is_stalled |= is_at_end && now >= awaited.since + self.settle;
        *self.awaited.insert(awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PATIENCE, SETTLE, options};
    use super::*;

    const SEVEN: Awaits = Awaits::Missing(7);

    #[test]
    fn the_time_spent_elsewhere_than_at_the_end_does_not_count() {
        let (mut patience, now) = (Patience::new(&options()), Instant::now());
        patience.wait(SEVEN, true, now);
        let later = patience.wait(SEVEN, true, now + SETTLE);
        assert_eq!((later.since, later.is_stalled, later.counted_since), (now, true, now));
        // From here on elsewhere, for a while.
        patience.wait(SEVEN, false, now + SETTLE);
        let back = patience.wait(SEVEN, true, now + 5 * SETTLE);
        assert_eq!((back.since, back.counted_since), (now, now + 4 * SETTLE));
        let other = patience.wait(Awaits::Missing(8), true, now + 6 * SETTLE);
        assert_eq!((other.since, other.is_stalled), (now + 6 * SETTLE, false));
    }

    #[test]
    fn what_was_frozen_is_waited_for_anew_and_what_was_told_stays_told() {
        let (mut patience, now) = (Patience::new(&options()), Instant::now());
        patience.wait(SEVEN, true, now);
        patience.begin_anew(now + SETTLE);
        let anew = patience.wait(SEVEN, true, now + 2 * SETTLE);
        assert_eq!((anew.since, anew.counted_since, anew.is_stalled), (now + SETTLE, now + SETTLE, true));
        patience.begin_anew(now + 3 * SETTLE);
        let told = patience.wait(SEVEN, true, now + 3 * SETTLE);
        assert_eq!((told.since, told.counted_since, told.is_stalled), (now + SETTLE, now + 3 * SETTLE, true));
    }

    #[test]
    fn what_is_missing_is_sought_each_settle_time_and_when_the_patience_is_over() {
        let (mut patience, begin) = (Patience::new(&options()), Instant::now());
        patience.note_missing(7, &begin.into());
        let mut miss = |after| patience.miss(7, true, false, false, begin + after);
        let at = |after| Some(begin + after);
        let waits = Waited { is_over: false, is_sought: false, stalled_at: at(SETTLE), look_again: at(SETTLE) };
        assert_eq!(miss(SETTLE / 2), waits);
        let sought = Waited { is_sought: true, stalled_at: None, look_again: at(2 * SETTLE), ..waits };
        assert_eq!(miss(SETTLE), sought);
        assert!(!miss(SETTLE + SETTLE / 2).is_sought);
        assert!(miss(PATIENCE).is_over);
        assert!(patience.miss(8, true, true, false, begin + PATIENCE).look_again < Some(begin + 2 * PATIENCE));
        assert!(patience.miss(8, true, true, false, begin + PATIENCE + SETTLE).is_over, "of what nobody writes");
    }

    #[test]
    fn a_log_below_the_start_is_seen_at_its_end_only() {
        let (mut patience, now) = (Patience::new(&options()), Instant::now());
        assert_eq!(patience.be_ahead(7, false, now), None);
        let below = patience.be_ahead(7, true, now).expect("it is seen");
        assert_eq!(
            (below.is_over, below.stalled_at, below.look_again),
            (false, Some(now + SETTLE), Some(now + SETTLE))
        );
        assert_eq!(patience.be_ahead(7, false, now + SETTLE), None);
        // The time since then was spent elsewhere.
        assert!(!patience.be_ahead(7, true, now + PATIENCE).expect("it is seen").is_over);
        assert!(patience.be_ahead(7, true, now + 2 * PATIENCE).expect("it is seen").is_over);
    }
}
