//! The reader under test, with a witness at its side: every answer is held against what the writer really did.
//!
//! Checked at each answer: VLSNs are dense and in order from the first asked for; an entry was on disk, whole and
//! visible, since the reader last found nothing; it lies below the send limit; an error comes again until the cut
//! that clears it; nothing comes after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noxu_feeder::error::{EntryFault, Error, Result};
use noxu_feeder::log::{Next, Now, Scanner, ScannerOptions, Wait};
use noxu_feeder::lsn::Lsn;
use noxu_feeder::source::{Source, SourceProgress};

use crate::disk::{Disk, State};
use crate::oracle::{self, Failure, Met, Question, Seen};
use crate::patience::Patience;
use crate::situations::Situation;
use crate::witness::Witness;

/// See the module's comment.
pub(crate) struct Subject {
    disk: Disk,
    base: Instant,
    scanner: Scanner,
    options: ScannerOptions,
    /// What a turn may read.
    budget: u64,
    /// How many answers in a row were that it is busy.
    busy: u64,
    /// The VLSN asked for at first; 0 for the lowest.
    pub(crate) from: u64,
    /// The VLSN that has to come next, if that is known.
    pub(crate) next: Option<u64>,
    pub(crate) send_limit: u64,
    /// Contents of what was returned.
    pub(crate) returned: BTreeMap<u64, u64>,
    /// Frames to come out of a stream, oldest first: VLSN and content.
    pub(crate) yielded: Vec<(u64, u8, Arc<[u8]>)>,
    pub(crate) keeps_yielded: bool,
    /// What was on disk at this tick or later may be returned.
    pub(crate) fresh_since: u64,
    /// How many calls had failed when it was opened.
    pub(crate) failed_calls: u64,
    pub(crate) failed: Option<Error>,
    /// The writer has cut the log at the place of the error: the error has to go.
    pub(crate) must_clear: bool,
    pub(crate) pause: Option<Wait>,
    /// Whether it was asked later than it wanted to be by so much that it takes itself for frozen.
    pub(crate) is_late: bool,
    /// Of which state of the disk `pause` was said.
    pub(crate) paused_at: u64,
    /// Which VLSN it says is missing, and since when it has been saying so.
    pub(crate) missing: Option<(u64, Duration)>,
    witness: Witness,
    patience: Patience,
    /// What it did wrong.
    pub(crate) wrong: Option<String>,
}

impl Subject {
    pub(crate) fn new(
        disk: &Disk,
        base: Instant,
        start: Lsn,
        from: u64,
        options: ScannerOptions,
        budget: u64,
    ) -> Subject {
        let tick = disk.state().tick;
        let mut witness = Witness::default();
        let (now, failed_calls) = {
            let state = disk.state();
            (state.now, state.failed_calls)
        };
        witness.begins(disk, start, from, &options);
        Subject {
            disk: disk.clone(),
            base,
            scanner: Scanner::new(Arc::new(disk.clone()), start, options),
            options,
            budget,
            busy: 0,
            from,
            next: (from > 0).then_some(from),
            send_limit: u64::MAX,
            returned: BTreeMap::new(),
            yielded: Vec::new(),
            keeps_yielded: false,
            fresh_since: tick,
            failed_calls,
            failed: None,
            must_clear: false,
            pause: None,
            is_late: false,
            paused_at: 0,
            missing: None,
            witness,
            patience: Patience::new(&options, now),
            wrong: None,
        }
    }

    /// The clock that readers are given.
    pub(crate) fn now(&self) -> Instant {
        self.base + self.disk.state().now
    }

    /// When the reader wants to be asked again.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        self.pause?.look_again.map(|at| at - self.base)
    }

    /// Who is asked later by no more than this does not take itself for frozen.
    pub(crate) fn slack(&self) -> Duration {
        (self.options.tail.settle / 4).max(Duration::from_millis(100))
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.pause.is_some_and(|pause| pause.stalled)
    }

    /// Where it reads.
    pub(crate) fn position(&self) -> Option<u64> {
        Some(self.scanner.tail().position()).filter(|&lsn| lsn != Lsn::NULL).map(|lsn| lsn.0)
    }

    /// Has noted what its last answer led to.
    pub(crate) fn look_at_it(&mut self) {
        self.witness.look_at(&self.scanner, &mut self.disk.state(), self.next, &self.options);
    }

    /// Asks for one entry. False: nothing, or an error.
    pub(crate) fn ask(&mut self) -> bool {
        let from = self.next.unwrap_or(self.from);
        let now = self.now();
        loop {
            self.allow(0);
            let answer = self.next(from, &now.into());
            let (is_busy, is_entry) = (matches!(answer, Ok(Next::Busy)), matches!(answer, Ok(Next::Entry(_))));
            if !is_busy || self.wrong.is_some() {
                return is_entry;
            }
        }
    }

    /// Asks for at most `most` entries; returns how many came.
    pub(crate) fn drain(&mut self, most: u64) -> u64 {
        let mut count = 0;
        while count < most && self.wrong.is_none() && self.ask() {
            count += 1;
        }
        count
    }

    /// The question to the oracle that has this reader's place and knowledge, as far as they can be seen.
    pub(crate) fn question(&self) -> Question {
        let state = self.disk.state();
        let position = self.position();
        let mut met: Vec<Met> = Vec::new();
        if let (Some(next), Some(here)) = (self.next, position) {
            for (id, record) in state.truth.at_or_above(next) {
                if record.is_there()
                    && let Some(position) = state.position(id)
                    && position < here
                    && position < self.send_limit
                {
                    met.push(Met {
                        vlsn: record.vlsn.unwrap_or(0),
                        position,
                        len: record.len,
                        content: oracle::content(record.entry_type, &record.payload),
                    });
                }
            }
        }
        met.sort_unstable_by_key(|met| met.position);
        Question {
            position,
            from: self.next.unwrap_or(self.from),
            met,
            returned: self.returned.clone(),
            send_limit: self.send_limit,
            entries_max: self.options.window.entries_max as u64,
            bytes_max: self.options.window.bytes_max,
        }
    }

    /// The highest VLSN that it has read, as far as can be seen.
    pub(crate) fn highest_held(&self, state: &State) -> u64 {
        let here = self.position().unwrap_or(0);
        let held = state
            .truth
            .at_or_above(self.next.unwrap_or(u64::MAX))
            .filter(|(id, record)| record.is_there() && state.position(*id).is_some_and(|position| position < here));
        held.filter_map(|(_, record)| record.vlsn).max().unwrap_or(0)
    }

    /// Whether the place of the error is still what it was.
    fn is_still_broken(&self) -> bool {
        let Some(Error::LogDamaged { at, .. }) = self.failed else {
            return true;
        };
        let state = self.disk.state();
        let Some(bytes) = state.bytes(at.file()) else {
            return true;
        };
        let offset = u64::from(at.offset());
        offset > bytes.len() as u64
            || offset < bytes.len() as u64 && !matches!(oracle::see(bytes, offset), Seen::Entry { .. })
    }
}

/// Whether an error is about what stands in one place, and nothing else.
fn is_about_bytes(error: &Error) -> bool {
    let Error::LogDamaged { fault, .. } = error else { return false };
    !matches!(fault, EntryFault::EndsEarly(_) | EntryFault::BrokenChain { .. })
}

/// Whether a gap is one because the window is full. `missing`: what has been missing, and since when.
fn is_full(
    error: &Error,
    missing: Option<(u64, Duration)>,
    options: &ScannerOptions,
    now: Duration,
) -> Option<Situation> {
    let Error::LogGap { expected, found, .. } = error else { return None };
    let window = options.window;
    let is_at_once = missing.is_none_or(|(_, since)| now < since + options.tail.settle);
    if *found >= expected + window.entries_max as u64 {
        Some(Situation::FullByEntries)
    } else {
        (is_at_once && window.bytes_max < 10_000).then_some(Situation::FullByBytes)
    }
}

/// A search that ends has not so many steps.
const BUSY_MAX: u64 = 100_000;

impl Source for Subject {
    fn allow(&mut self, _: u64) {
        self.scanner.allow(self.budget);
    }

    fn next(&mut self, from_vlsn: u64, now: &Now) -> Result<Next<'_>> {
        self.look_at_it();
        let tick = self.disk.state().tick;
        if let Some(pause) = self.pause.take() {
            self.fresh_since = tick;
            self.is_late = pause.look_again.is_some_and(|at| now.get() > at + self.slack());
        }
        let was_broken = self.is_still_broken();
        let answer = self.scanner.next(from_vlsn, Lsn(self.send_limit), now);
        let mut state = self.disk.state();
        let mut wrong = |text: String| {
            if self.wrong.is_none() {
                self.wrong = Some(text);
            }
        };
        match (&answer, self.failed.take()) {
            (Err(error @ Error::NoMemory { .. }), before) => {
                state.note(format!("reader: {error}"));
                if before.is_some() {
                    wrong("there is no memory, and the error is gone".into());
                }
                return answer;
            }
            (Err(error), Some(before)) => {
                // Where it stood may have been completed, or cut off with more than that.
                let is_cut = matches!(error, Error::LogTruncated { .. } | Error::LogRewritten { .. });
                if *error != before && was_broken && !is_cut {
                    wrong(format!("the error was `{before}` and is now `{error}`: it must stay"));
                }
                if *error == before && !was_broken && state.tick == tick && is_about_bytes(error) {
                    wrong(format!("what stands there has been written, and the error stays: {error}"));
                }
                // What was cut off may be half-written anew by now.
                if *error == before && self.must_clear && !was_broken {
                    wrong(format!("the writer has cut the log there, and the error stays: {error}"));
                }
                self.failed = Some(error.clone());
                return answer;
            }
            (Ok(_), Some(before)) if was_broken && !self.must_clear => {
                wrong(format!("after the error `{before}` it goes on"));
            }
            (Ok(_), Some(before)) => {
                let cut = self.must_clear;
                state.seen.note(if cut { Situation::ErrorCut } else { Situation::ErrorCompleted });
                state.note(format!("the error `{before}` is gone"));
            }
            (Err(error), None) => {
                state.note(format!("reader: ERROR {error}"));
                let is_full = is_full(error, self.missing, &self.options, state.now);
                self.witness.failed(&mut state, &Failure::of(error), is_full);
                let has_returned = !self.returned.is_empty();
                if let Some(text) = self.patience.failed(&state, error, self.next, has_returned) {
                    wrong(text);
                }
                self.failed = Some(error.clone());
                return answer;
            }
            _ => {}
        }
        self.must_clear = false;
        self.busy = if matches!(answer, Ok(Next::Busy)) { self.busy + 1 } else { 0 };
        match &answer {
            Ok(Next::Busy) if self.busy > BUSY_MAX => wrong(format!("it is busy {} times in a row", self.busy)),
            Ok(Next::Busy) => state.seen.note(Situation::Busy),
            Ok(Next::Entry(entry)) => {
                self.witness.entry(&mut state, entry, self.missing, &self.options);
                state.trace.returned(entry.vlsn);
                if let Some(next) = self.next
                    && entry.vlsn != next
                {
                    wrong(format!("VLSN {} came where {next} had to", entry.vlsn));
                }
                if entry.vlsn < from_vlsn || entry.vlsn == 0 {
                    wrong(format!("VLSN {} is below the one asked for", entry.vlsn));
                }
                if entry.lsn.0 >= self.send_limit {
                    wrong(format!("the entry at {} is not below the send limit", entry.lsn));
                }
                if entry.payload_crc != crc32fast::hash(entry.payload) {
                    wrong(format!("VLSN {} has a wrong payload checksum", entry.vlsn));
                }
                // The end of an entry can be zeros: then it is whole before the writer has written it all, and again where it
                // was cut off and a hole took its place.
                let content = oracle::content(entry.entry_type, entry.payload);
                let is_this = |seen| {
                    matches!(seen, Seen::Entry { vlsn, content: stands, .. }
                        if vlsn == Some(entry.vlsn) && stands == content)
                };
                if !state.truth.was_there(entry.vlsn, entry.entry_type, entry.payload, self.fresh_since)
                    && !state.seen_at(entry.lsn).any(is_this)
                {
                    wrong(format!(
                        "VLSN {} at {} was not in the log, whole and visible, at any time since tick {}",
                        entry.vlsn, entry.lsn, self.fresh_since
                    ));
                }
                self.returned.insert(entry.vlsn, content);
                if self.keeps_yielded {
                    self.yielded.push((entry.vlsn, entry.entry_type, entry.payload.into()));
                }
                self.next = Some(entry.vlsn + 1);
                self.patience.returned(state.now);
                self.missing = None;
            }
            Ok(Next::Nothing(pause)) => {
                let now = now.get();
                state.note(format!(
                    "reader: nothing, {:?} at {}{}{}{}",
                    pause.reason,
                    pause.at,
                    if pause.stalled { ", stalled" } else { "" },
                    pause.missing_vlsn.map(|vlsn| format!(", waits for VLSN {vlsn}")).unwrap_or_default(),
                    pause
                        .look_again
                        .map(|at| format!(", until {} ms", (at - self.base).as_millis()))
                        .unwrap_or_default(),
                ));
                if pause.look_again.is_some_and(|at| at <= now) {
                    wrong("it wants to be asked again at once: a busy loop".into());
                }
                if self.missing.map(|(vlsn, _)| vlsn) != pause.missing_vlsn {
                    self.missing = pause.missing_vlsn.map(|vlsn| (vlsn, now - self.base));
                }
                self.witness.nothing(&mut state, pause);
                let look_again = pause.look_again.map(|at| at - self.base);
                if let Some(text) = self.patience.nothing(&state, pause, look_again, self.is_late, self.next) {
                    wrong(text);
                }
                self.pause = Some(*pause);
                self.paused_at = if state.tick == tick { tick } else { 0 };
            }
            Err(_) => {}
        }
        answer
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress::default()
    }
}
