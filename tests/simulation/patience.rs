//! How soon a reader may judge, and how late it may: nothing before it has stood still for long enough while reader and
//! writer were awake, and nothing much later than that.

use std::time::Duration;

use noxu_feeder::Error;
use noxu_feeder::log::tail::WaitReason;
use noxu_feeder::log::{Lsn, ScannerOptions, Wait};

use crate::disk::State;

/// What stands still between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Scene {
    reason: WaitReason,
    at: u64,
    missing: Option<u64>,
    /// Of the disk.
    tick: u64,
}

/// See the module's comment.
#[derive(Debug)]
pub(crate) struct Patience {
    settle: Duration,
    gap: Duration,
    /// Whether early entries are held back until the patience is over, and not for want of room less long.
    has_room: bool,
    /// Since when the next VLSN is the next.
    next_since: Duration,
    /// What it waits for, where, and since when.
    waits: Option<(WaitReason, u64, Duration)>,
    still: Option<(Scene, Duration)>,
    /// Whether it has stood still for a settle time too long: once, as it may.
    has_begun_anew: bool,
    /// What it was stalled at: that it stays, also when it was frozen, and as to what is missing until that is found.
    stalled_at: Option<u64>,
    stalled_for: Option<u64>,
    /// Since when the log has ended below the start, whatever it grew by, and whether that was told as a stall.
    ahead: Option<(Duration, bool)>,
}

impl Patience {
    pub(crate) fn new(options: &ScannerOptions, now: Duration) -> Patience {
        Patience {
            settle: options.tail.settle,
            gap: options.gap_patience,
            has_room: options.window.entries_max > 1000 && options.window.bytes_max > 10_000,
            next_since: now,
            waits: None,
            still: None,
            has_begun_anew: false,
            stalled_at: None,
            stalled_for: None,
            ahead: None,
        }
    }

    pub(crate) fn returned(&mut self, now: Duration) {
        self.next_since = now;
        self.still = None;
    }

    /// What is wrong with there being nothing. `is_late`: the reader was asked so late that it begins to wait anew.
    pub(crate) fn nothing(
        &mut self,
        state: &State,
        pause: &Wait,
        look_again: Option<Duration>,
        is_late: bool,
        next: Option<u64>,
    ) -> Option<String> {
        let now = state.now;
        let reason = pause.reason;
        let scene = Scene { reason, at: pause.at.0, missing: pause.missing_vlsn, tick: state.tick };
        let since = match self.still {
            Some((same, since)) if same == scene && !is_late => since,
            _ => now,
        };
        self.still = Some((scene, since));
        // What is no entry yet is waited for until it has settled; what is missing, wherever the log ends.
        let settles = matches!(
            reason,
            WaitReason::Hole
                | WaitReason::Torn
                | WaitReason::Unreadable
                | WaitReason::LastEntryMissing
                | WaitReason::NoFile
        );
        let is_ahead = reason == WaitReason::AheadOfLog;
        let is_missing = pause.missing_vlsn.is_some() && reason == WaitReason::End || is_ahead;
        if (settles && !pause.stalled || is_missing) && look_again.is_none_or(|at| at > now + self.settle) {
            return Some(format!("it waits, and looks again at {look_again:?} only, more than the settle time later"));
        }
        // How much it reads at its first look can differ from what it reads later: it begins to wait with the second.
        let (settle, gap) = (self.settle * 3 / 2, self.gap + self.settle / 2);
        let stands_still = (settles || is_missing) && !pause.stalled && now >= since + settle;
        if stands_still && !self.has_begun_anew && now < since + settle + self.settle {
            // It may begin anew once, before what may hide what is missing, and then waits there once more.
            self.has_begun_anew = true;
            self.still = Some((scene, now));
        } else if stands_still {
            return Some(format!("it has stood still since {} ms, and is not stalled", since.as_millis()));
        }
        if is_missing && now >= since + gap {
            return Some(format!("it has been missing since {} ms, and that is no gap", since.as_millis()));
        }
        if is_ahead {
            let (since, was_stalled) = self.ahead.unwrap_or((now, false));
            self.ahead = Some((since, pause.stalled));
            let is_early = pause.stalled && !was_stalled && now < since.max(state.thawed) + self.settle;
            return is_early
                .then(|| format!("it is stalled, and ahead of the log since {} ms only", since.as_millis()));
        }
        let seen_since = if is_missing {
            self.missing_since(state, next?)
        } else if pause.missing_vlsn.is_some() && reason == WaitReason::NextFileEmpty {
            // That is as good as the end.
            self.missing_since(state, next?).min(self.waits_since(reason, scene.at, now))
        } else {
            // It may have seen that before, while it returned what it had read.
            let stands_since = match reason {
                WaitReason::Hole => state.written_at(Lsn(scene.at), 14),
                WaitReason::Torn | WaitReason::Unreadable => state.changed_at(Lsn(scene.at), u64::MAX),
                _ => now,
            };
            self.waits_since(reason, scene.at, now).min(stands_since).max(state.thawed)
        };
        let is_told = matches!(reason, WaitReason::End | WaitReason::NextFileEmpty) && pause.missing_vlsn.is_some();
        let was_stalled = if is_told {
            pause.stalled && std::mem::replace(&mut self.stalled_for, scene.missing) == scene.missing
        } else {
            let at = pause.stalled.then_some(scene.at);
            std::mem::replace(&mut self.stalled_at, at) == at
        };
        let is_early = pause.stalled && !was_stalled && now < seen_since + self.settle;
        is_early.then(|| format!("it is stalled, and {} ms ago something changed", (now - seen_since).as_millis()))
    }

    /// Since when it has been waiting there. What is judged with the file before was waited for there.
    fn waits_since(&mut self, reason: WaitReason, at: u64, now: Duration) -> Duration {
        let (was, was_at, since) = self.waits.unwrap_or((reason, at, now));
        let since = match was {
            WaitReason::NextFileEmpty => since,
            _ if (was, was_at) == (reason, at) => since,
            _ => now,
        };
        self.waits = Some((reason, at, since));
        since
    }

    /// Since when `next` can have been missing at the earliest.
    fn missing_since(&self, state: &State, next: u64) -> Duration {
        let later = state.truth.at_or_above(next + 1).filter_map(|(_, record)| record.appeared_at).min();
        self.next_since.max(later.unwrap_or_default()).max(state.thawed)
    }

    /// What is wrong with that error as to the time at which it comes. `has_returned`: anything was.
    pub(crate) fn failed(&self, state: &State, error: &Error, next: Option<u64>, has_returned: bool) -> Option<String> {
        let (expected, is_sealed) = match error {
            Error::LogGap { expected, .. } => (*expected, !has_returned),
            Error::LogFileGone { expected_vlsn: Some(expected), found_vlsn: Some(_), .. } => (*expected, true),
            Error::AheadOfLog { .. } => {
                let since = self.ahead.map_or(state.now, |(since, _)| since.max(state.thawed));
                return (state.now < since + self.gap).then(|| format!("it fails with `{error}` too soon"));
            }
            _ => return None,
        };
        if !self.has_room || next.is_some_and(|next| next != expected) {
            return None;
        }
        let since = self.missing_since(state, expected);
        let patience = if is_sealed { self.settle } else { self.gap };
        let missing = state.now - since.min(state.now);
        (missing < patience).then(|| {
            format!(
                "it fails with `{error}` when VLSN {expected} has been missing for {} ms at most",
                missing.as_millis()
            )
        })
    }
}
