//! Whether the reader was awake: only then does time count as patience.
//!
//! A host and the writer can be frozen together: a virtual machine that is paused, a lid that is closed, a signal that
//! stops both. For the clock hours pass, and for the writer nothing does. So whoever waits says when the next look is to
//! be, and a look that comes much later shows that somebody slept who had not meant to: then all waits begin anew.
//!
//! There is no clock here, and no opinion on what is waited for.

use std::time::{Duration, Instant};

/// How many looks there are in the settle time: as much of it as one of them can pass in a sleep that nobody notices.
const LOOKS_IN_SETTLE: u32 = 4;

/// A loop under load is late by so much without having slept.
const SLACK_MIN: Duration = Duration::from_millis(100);

/// See the module's comment.
#[derive(Debug)]
pub struct Attention {
    step: Duration,
    /// When the next look is to be, if anything is waited for.
    asked_for: Option<Instant>,
    /// Whether the last look came too late.
    was_late: bool,
}

impl Attention {
    /// For waits that end when nothing has changed for `settle`.
    pub fn new(settle: Duration) -> Attention {
        Attention { step: settle / LOOKS_IN_SETTLE, asked_for: None, was_late: false }
    }

    /// When to look next for something that is to be judged at `judged_at`.
    pub fn next_look(&self, now: Instant, judged_at: Instant) -> Instant {
        judged_at.min(now + self.step)
    }

    /// A look is over: nothing is done before another one is asked for, or something changes. `None` if nothing is
    /// waited for that time alone would end.
    pub fn sleeps(&mut self, until: Option<Instant>) {
        self.asked_for = until;
    }

    /// A look begins. True: it comes so late that all waits begin anew.
    ///
    /// Who is late twice in a row is not frozen: that is a host which looks seldom, and for it everything would be new
    /// for ever.
    pub fn wakes(&mut self, now: Instant) -> bool {
        let is_late = self.asked_for.take().is_some_and(|asked_for| now > asked_for + self.step.max(SLACK_MIN));
        !std::mem::replace(&mut self.was_late, is_late) && is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(4);
    const STEP: Duration = Duration::from_secs(1);

    #[test]
    fn looks_are_asked_for_in_steps_up_to_the_judgement() {
        let (attention, now) = (Attention::new(SETTLE), Instant::now());
        assert_eq!(attention.next_look(now, now + SETTLE), now + STEP);
        assert_eq!(attention.next_look(now, now + STEP / 2), now + STEP / 2);
    }

    #[test]
    fn a_look_is_late_when_one_was_asked_for_and_the_slack_is_over() {
        let (mut attention, now) = (Attention::new(SETTLE), Instant::now());
        assert!(!attention.wakes(now), "nothing was asked for yet");
        attention.sleeps(None);
        assert!(!attention.wakes(now + 100 * SETTLE), "nothing was waited for");
        attention.sleeps(Some(now));
        assert!(!attention.wakes(now + STEP), "as late as load makes it");
        attention.sleeps(Some(now));
        assert!(attention.wakes(now + STEP + Duration::from_nanos(1)));
        assert!(!attention.wakes(now + 100 * SETTLE), "the same look");
        let mut hasty = Attention::new(Duration::from_millis(4));
        hasty.sleeps(Some(now));
        assert!(!hasty.wakes(now + SLACK_MIN), "whatever the settle time is");
    }

    #[test]
    fn who_is_always_late_is_not_frozen_until_it_was_in_time_again() {
        let (mut attention, mut now) = (Attention::new(SETTLE), Instant::now());
        let mut look = |late: Duration| {
            attention.sleeps(Some(now));
            now += late;
            attention.wakes(now)
        };
        assert!(look(2 * STEP));
        assert!(!look(2 * STEP));
        assert!(!look(2 * STEP));
        assert!(!look(STEP));
        assert!(look(2 * STEP));
    }
}
