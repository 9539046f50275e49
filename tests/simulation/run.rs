//! One run: a writer and a reader take turns, things go wrong as the plan says, and in the end the log stands still
//! and everybody is asked what there is.
//!
//! Every error has to be justified at the moment it comes: by the oracle, for the disk as it is and having stood
//! still for long enough, or by an accident that the run itself brought about. Every silence has to be, too.

use std::time::{Duration, Instant};

use noxu_feeder::lsn::Lsn;

use crate::disk::{Disk, Fault, Op, State};
use crate::oracle::{self, Failure, Kind, Outcome, Question, Seen, Verdict};
use crate::plan::{Ending, Plan};
use crate::replica::Link;
use crate::rng::Rng;
use crate::situations::{Situation, Tally};
use crate::subject::Subject;
use crate::writer::{Writer, encode};

/// Errors that mean that the replica needs a network restore, since something is missing or another history.
const MISSING: [Kind; 4] = [Kind::Gap, Kind::Gone, Kind::History, Kind::Ahead];

/// The same, where what was read is not there any more.
const CUT: [Kind; 2] = [Kind::Truncated, Kind::Rewritten];

/// Errors about bytes that are no entry.
const DAMAGE: [Kind; 7] =
    [Kind::Hole, Kind::Torn, Kind::Oversize, Kind::Checksum, Kind::Chain, Kind::EndsEarly, Kind::Header];

struct Run {
    rng: Rng,
    plan: Plan,
    disk: Disk,
    writer: Writer,
    base: Instant,
    subject: Subject,
    link: Option<Link>,
    /// Errors that what happened to the log since the reader was opened excuses.
    permitted: Vec<Permit>,
    /// Those that damage excuses, for every reader.
    damages: Vec<Permit>,
}

/// Errors that are right, where they are.
#[derive(Clone, Debug)]
struct Permit {
    kinds: &'static [Kind],
    /// The positions, first and last.
    places: (u64, u64),
}

impl Permit {
    fn anywhere(kinds: &'static [Kind]) -> Permit {
        Permit { kinds, places: (0, u64::MAX) }
    }

    /// In this file, from an offset on.
    fn in_file(kinds: &'static [Kind], file: u32, from: u64) -> Permit {
        let begin = u64::from(file) << 32;
        Permit { kinds, places: (begin | from, begin | 0xffff_ffff) }
    }

    fn allows(&self, failure: &Failure) -> bool {
        let (first, last) = self.places;
        // One without an offset may be anywhere in its file.
        let (low, high) = match (failure.file, failure.offset) {
            (Some(file), Some(offset)) => (u64::from(file) << 32 | offset, u64::from(file) << 32 | offset),
            (Some(file), None) => (u64::from(file) << 32, u64::from(file) << 32 | 0xffff_ffff),
            (None, _) => (0, u64::MAX),
        };
        self.kinds.contains(&failure.kind) && low <= last && high >= first
    }
}

/// See the module's comment. The error says what went wrong, and what happened before.
pub(crate) fn run(seed: u64) -> Result<Tally, String> {
    let mut rng = Rng::new(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ seed);
    let plan = Plan::draw(&mut rng);
    let disk = Disk::new(plan.stamps, rng.fork());
    let writer = {
        let mut state = disk.state();
        let mut writer = Writer::new(plan.writer.clone(), &mut state, rng.fork(), plan.first_vlsn);
        // Some readers are there before the log is.
        for _ in 0..rng.below(3) * plan.commits_max {
            writer.commit(&mut state);
        }
        writer
    };
    // What the offsets of the clock are added to; no run looks at it.
    let base = Instant::now();
    let start = plan.start(writer.first_file);
    let subject = Subject::new(&disk, base, start, plan.from, plan.options, plan.budget);
    let link = plan.is_streamed.then(|| Link::new(plan.from, rng.fork()));
    let mut run = Run { rng, plan, disk, writer, base, subject, link, permitted: Vec::new(), damages: Vec::new() };
    run.subject.keeps_yielded = run.link.is_some();
    run.disk.state().short_read_odds = run.plan.short_read_odds;
    let result = run.play();
    run.subject.look_at_it();
    let mut state = run.disk.state();
    match result {
        Ok(()) => Ok(std::mem::take(&mut state.seen)),
        Err(text) => Err(format!("{text}\n{:?}\n{}", run.plan, state.trace.text())),
    }
}

impl Run {
    fn play(&mut self) -> Result<(), String> {
        for step in 0..self.plan.steps {
            self.step().map_err(|text| format!("step {step}: {text}"))?;
            if self.rng.one_in(self.plan.freeze_odds) {
                self.freeze().map_err(|text| format!("step {step}, after a freeze: {text}"))?;
            }
        }
        if self.plan.alternating > 0 {
            self.alternate().map_err(|text| format!("by turns: {text}"))?;
        }
        self.end().map_err(|text| format!("at the end: {text}"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.disk.state()
    }

    fn step(&mut self) -> Result<(), String> {
        self.state().catch_up();
        self.writer.meanwhile = self.rng.one_in(self.plan.meanwhile_odds);
        match self.rng.below(10) {
            0..=2 => {
                if !self.writer.is_crashed {
                    let mut state = self.disk.state();
                    for _ in 0..self.rng.within(1, self.plan.commits_max) {
                        self.writer.commit(&mut state);
                    }
                }
            }
            3..=4 => {
                let mut state = self.disk.state();
                for _ in 0..self.rng.within(1, 4) {
                    self.writer.flush_one(&mut state);
                }
            }
            5..=7 => self.poll()?,
            8 => {
                let most = self.plan.options.tail.settle.as_millis() as u64 / 2;
                let ms = self.rng.within(0, most);
                self.pass(Duration::from_millis(ms))?;
            }
            _ => {
                if self.rng.one_in(self.plan.long_wait_odds) {
                    let ms = self.rng.within(0, self.plan.long_wait.as_millis() as u64);
                    self.pass(Duration::from_millis(ms))?;
                }
            }
        }
        self.accidents();
        self.writer.meanwhile = false;
        Ok(())
    }

    /// Time passes. An attentive reader is asked when it wants to be.
    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = self.state().now + time;
        while let (Some(late), Some(at)) = (self.plan.attentive, self.subject.look_again()) {
            let late = Duration::from_millis(self.rng.within(0, late.as_millis() as u64));
            if at + late > until {
                break;
            }
            let now = self.state().now;
            self.let_pass((at + late).saturating_sub(now));
            self.poll()?;
        }
        let now = self.state().now;
        self.let_pass(until - now);
        Ok(())
    }

    /// Reader and writer are frozen. What there is to judge afterwards is no older than before.
    fn freeze(&mut self) -> Result<(), String> {
        let Some(asked_for) = self.subject.look_again().filter(|_| !self.subject.is_late) else {
            return Ok(());
        };
        if self.plan.attentive.is_none() {
            return Ok(());
        }
        let asleep = asked_for.saturating_sub(self.state().now);
        // Who sleeps for hardly longer than it meant to does not notice.
        let time = asleep + self.subject.slack() + self.plan.options.tail.settle * self.rng.within(1, 100) as u32;
        {
            let disk = self.disk.clone();
            let mut state = disk.state();
            state.note(format!("FROZEN for {} ms", time.as_millis()));
            state.now += time;
            state.thawed = state.now;
            state.seen.note(Situation::Frozen);
            self.writer.was_frozen(time);
        }
        self.poll()
    }

    /// Two places that were passed are written by turns: each entry comes at once.
    fn alternate(&mut self) -> Result<(), String> {
        if self.subject.failed.is_some() {
            return Ok(());
        }
        self.subject.drain(u64::MAX);
        // An error is held against the log that it comes from, before the writer goes on.
        self.check_wrong()?;
        if !self.is_full_meanwhile() {
            self.check_error(false)?;
        }
        let pairs = self.plan.alternating;
        let is_reversed = pairs < 10;
        // Otherwise nothing shows that any is missing, and it is looked for now and then.
        let is_topped = is_reversed || pairs > 100 || self.rng.one_in(2);
        let settle = self.plan.options.tail.settle;
        let vlsns = {
            let disk = self.disk.clone();
            self.writer.alternate(&mut disk.state(), pairs, is_reversed, is_topped)
        };
        self.poll()?;
        self.pass(settle * 3)?;
        self.poll()?;
        if self.plan.is_crowded {
            return self.crowd(&vlsns);
        }
        for (at, vlsn) in vlsns.into_iter().enumerate() {
            {
                let disk = self.disk.clone();
                self.writer.write_vlsn(&mut disk.state(), vlsn);
            }
            if is_reversed {
                self.pass(settle * 5 / 4)?;
                self.poll()?;
                continue;
            }
            if !is_topped {
                self.let_pass(settle);
            }
            let was_failed = self.subject.failed.is_some();
            let is_next = self.subject.next == Some(vlsn) && !was_failed;
            let came = self.subject.ask();
            if pairs > 100 && at % 16 == 0 {
                self.subject.drain(u64::MAX);
            }
            self.check_wrong()?;
            if !was_failed {
                self.check_error(false)?;
            }
            if is_next && !came {
                return Err(format!("VLSN {vlsn} was written where reading has been, and does not come at once"));
            }
        }
        Ok(())
    }

    /// What comes late is written, and at once so much more that the window is full before it is looked for.
    fn crowd(&mut self, late: &[u64]) -> Result<(), String> {
        let was_failed = self.subject.failed.is_some();
        let is_waited_for = !was_failed && self.subject.next == late.first().copied();
        {
            let disk = self.disk.clone();
            let mut state = disk.state();
            for &vlsn in late {
                self.writer.write_vlsn(&mut state, vlsn);
            }
            for _ in 0..40 {
                self.writer.commit(&mut state);
            }
            self.writer.flush_all(&mut state);
        }
        self.subject.drain(u64::MAX);
        self.check_wrong()?;
        match &self.subject.failed {
            Some(error) if is_waited_for => Err(format!("it fails with `{error}`, and everything is there")),
            _ if was_failed => Ok(()),
            _ => self.check_error(false),
        }
    }

    /// Time passes, and the writer keeps its deadlines meanwhile.
    fn let_pass(&mut self, time: Duration) {
        let mut state = self.disk.state();
        state.catch_up();
        let meanwhile = std::mem::take(&mut self.writer.meanwhile);
        let until = state.now + time;
        self.writer.keep_deadlines(&mut state, until);
        self.writer.meanwhile = meanwhile;
        state.now = until;
    }

    fn accidents(&mut self) {
        let plan = &self.plan;
        let mut happens = |odds| self.rng.one_in(odds);
        let (backup, crash, power, cleaner, rollback, repeat, limit, fault, damage) = (
            happens(plan.backup_odds),
            happens(plan.crash_odds),
            happens(plan.power_odds),
            happens(plan.cleaner_odds),
            happens(plan.rollback_odds),
            happens(plan.repeat_odds),
            happens(plan.limit_odds),
            happens(plan.fault_odds),
            happens(plan.damage_odds),
        );
        if self.writer.is_crashed {
            if self.rng.one_in(self.plan.recover_odds) {
                self.recover();
            }
            return;
        }
        let disk = self.disk.clone();
        let mut state = disk.state();
        if backup {
            self.writer.backup(&mut state);
        }
        if rollback && self.writer.next_vlsn > self.plan.first_vlsn + 1 {
            let most = (self.writer.next_vlsn - self.plan.first_vlsn - 1).min(20);
            let (next, held) = (self.subject.next.unwrap_or(0), self.subject.highest_held(&state));
            let stays = self.writer.roll_back(&mut state, most);
            if held > stays.max(next) {
                state.seen.note(Situation::RollbackOfHeld);
            }
            if next > stays + 1 {
                state.seen.note(Situation::RollbackOfReturned);
            }
        }
        if repeat {
            self.writer.repeat(&mut state);
        }
        if fault {
            let fault = self.rng.pick(&[Fault::List, Fault::Open, Fault::Read, Fault::Memory, Fault::Memory]);
            state.fault = Some(fault);
        }
        if limit {
            self.move_limit(&mut state);
        }
        drop(state);
        if cleaner {
            self.clean();
        }
        if damage {
            self.break_something();
        }
        if power || crash {
            let mut state = disk.state();
            if self.plan.crash_is_clean && crash {
                self.writer.append_late(&mut state);
                self.writer.flush_all(&mut state);
            }
            if power {
                let newest = state.names.keys().next_back().copied().unwrap_or(0);
                self.writer.lose_power(&mut state);
                self.permitted.push(Permit::anywhere(&MISSING));
                self.permitted.push(Permit { kinds: &CUT, places: (u64::from(newest) << 32, u64::MAX) });
                self.permitted.push(Permit { kinds: &DAMAGE, places: (u64::from(newest) << 32, u64::MAX) });
            } else {
                self.writer.crash(&mut state);
            }
        }
    }

    fn recover(&mut self) {
        let disk = self.disk.clone();
        let mut state = disk.state();
        let was = self.subject.failed.clone();
        let current = self.subject.position().map(|here| (here >> 32) as u32);
        let lens: Vec<(u32, usize)> =
            state.names.iter().map(|(&file, &inode)| (file, state.inodes[inode].bytes.len())).collect();
        let cut = self.writer.recover(&mut state);
        for (file, len) in lens {
            let is_read = current == Some(file);
            let now = state.bytes(file).map(<[u8]>::len);
            for situation in match now {
                None if is_read => [Some(Situation::RecoveryDeletes), Some(Situation::RecoveryDeletesCurrent)],
                None => [Some(Situation::RecoveryDeletes), None],
                Some(now) if now < len => [Some(Situation::RecoveryCuts), None],
                Some(_) => [None, None],
            }
            .into_iter()
            .flatten()
            {
                state.seen.note(situation);
            }
        }
        if self.subject.position().is_some_and(|here| here > cut) {
            // It read what recovery took away again.
            state.seen.note(Situation::RecoveryCutsRead);
            self.permitted.push(Permit::anywhere(&MISSING));
            self.permitted.push(Permit { kinds: &CUT, places: (cut >> 32 << 32, u64::MAX) });
            self.permitted.push(Permit { kinds: &DAMAGE, places: (cut >> 32 << 32, u64::MAX) });
        }
        // What proves a hole harmless that has long settled may stand in what recovery takes away, and comes again later.
        if let Some(here) = self.subject.position().filter(|&here| here < cut && cut & 0xffff_ffff <= 36) {
            self.permitted.push(Permit { kinds: &[Kind::Hole], places: (here, here) });
        }
        if let Some(noxu_feeder::Error::LogDamaged { at, .. }) = was
            && at.0 == cut
        {
            self.subject.must_clear = true;
        }
    }

    fn clean(&mut self) {
        let disk = self.disk.clone();
        let mut state = disk.state();
        let meanwhile = std::mem::take(&mut self.writer.meanwhile);
        state.catch_up();
        let inodes = state.names.clone();
        if let Some(file) = self.writer.clean(&mut state) {
            let next = self.subject.next.unwrap_or(0);
            let inode = inodes[&file];
            let is_needed = state.inodes[inode].records.iter().any(|&id| {
                let record = &state.truth.records[id];
                // Also one that was taken back: its place may be remembered.
                record.vlsn.is_some_and(|vlsn| vlsn >= next)
            });
            if self.subject.position().is_some_and(|here| here >> 32 == u64::from(file)) {
                self.permitted.push(Permit::in_file(&[Kind::Hole, Kind::Torn, Kind::EndsEarly], file, 0));
                state.seen.note(Situation::CleanerTakesCurrent);
            } else if self.subject.position().is_some_and(|here| here >> 32 > u64::from(file)) {
                state.seen.note(Situation::CleanerTakesLower);
            }
            if is_needed {
                state.seen.note(Situation::CleanerTakesNeeded);
                // Whatever it finds at the end of a file that has no name any more.
                self.permitted.push(Permit::anywhere(&[Kind::Gone, Kind::Gap]));
                self.permitted.push(Permit::in_file(&[Kind::Hole, Kind::Torn], file, 0));
            }
        }
        self.writer.meanwhile = meanwhile;
    }

    fn move_limit(&mut self, state: &mut State) {
        let count = state.truth.records.len();
        if count == 0 {
            return;
        }
        let from = count.saturating_sub(40);
        let id = from + self.rng.index(count - from);
        let limit = if self.rng.one_in(4) {
            u64::MAX
        } else {
            // Also where something is held back that may not be sent any more.
            let here = self.subject.position().unwrap_or(0);
            let held = self.subject.next.and_then(|next| {
                let mut held = state.truth.at_or_above(next + 1).filter_map(|(id, _)| state.position(id));
                held.find(|&position| position < here)
            });
            match held.filter(|_| self.rng.one_in(3)).or(state.position(id)) {
                Some(position) => position,
                None => return,
            }
        };
        let is_lower = self.subject.send_limit != u64::MAX && limit < self.subject.send_limit;
        if !is_lower {
            self.subject.send_limit = limit;
            self.subject.paused_at = 0;
            if self.subject.position().is_some_and(|here| limit < here) {
                // It knows already what it may not send; that it is wrong to send it stays.
                self.permitted.push(Permit::anywhere(&MISSING));
                self.permitted.push(Permit::anywhere(&CUT));
                state.seen.note(Situation::LimitBehindReader);
            }
        }
    }

    fn break_something(&mut self) {
        let mut state = self.disk.state();
        state.catch_up();
        if let Some((file, from)) = damage(&mut self.rng, &mut state) {
            self.damages.push(Permit::anywhere(&MISSING));
            self.damages.push(Permit::in_file(&CUT, file, 0));
            self.damages.push(Permit::in_file(&DAMAGE, file, from));
            if from == 0
                && let Some(before) = file.checked_sub(1)
            {
                // Its header may name another entry as the last of the file before.
                self.damages.push(Permit::in_file(&[Kind::EndsEarly], before, 0));
            }
            self.permitted.extend_from_slice(&self.damages);
        }
    }

    /// The reader is asked, directly or through a stream.
    fn poll(&mut self) -> Result<(), String> {
        let was_failed = self.subject.failed.is_some();
        match &mut self.link {
            Some(link) => {
                link.pump(&mut self.subject)?;
            }
            None => {
                let most = if self.rng.one_in(3) { self.rng.within(1, 20) } else { u64::MAX };
                self.subject.drain(most);
            }
        }
        self.check_wrong()?;
        if !was_failed && !self.is_full_meanwhile() {
            self.check_error(false)?;
        }
        if self.link.as_ref().is_some_and(|link| link.is_closed) {
            self.reconnect(None);
        } else if self.subject.failed.is_some() {
            self.after_error()?;
        } else if self.rng.one_in(self.plan.reconnect_odds) {
            self.reconnect(None);
        }
        self.check_at_once()
    }

    fn check_wrong(&mut self) -> Result<(), String> {
        self.subject.wrong.take().map_or(Ok(()), Err)
    }

    /// What is on disk comes at once when nothing is open.
    fn check_at_once(&mut self) -> Result<(), String> {
        if !self.plan.is_calm()
            || self.subject.pause.is_none()
            || self.subject.paused_at != self.state().tick
            || !self.permitted.is_empty()
            || self.writer.is_crashed
            || !self.writer.is_flushed()
        {
            return Ok(());
        }
        let question = self.subject.question();
        let expected = oracle::outcome(&self.state(), &question);
        match expected.delivered.first() {
            Some((vlsn, position)) => {
                Err(format!("nothing is open, and VLSN {vlsn} at {} does not come", Lsn(*position)))
            }
            None => Ok(()),
        }
    }

    /// Whether an entry stands there that is of a VLSN returned before, with another content: also one that is whole by
    /// accident, before all of it was written.
    fn is_other_history(&self, failure: &Failure) -> bool {
        let (Kind::History, Some(file), Some(offset), Some(vlsn)) =
            (failure.kind, failure.file, failure.offset, failure.expected)
        else {
            return false;
        };
        let is_other = |content| self.subject.returned.get(&vlsn).is_some_and(|&was| was != content);
        self.state().seen_at(Lsn::new(file, offset as u32)).any(|seen| {
            matches!(seen, Seen::Entry { vlsn: Some(stands), content, .. } if stands == vlsn && is_other(content))
        })
    }

    /// Whether the error that the reader is in is right. To be asked when it comes: it stays when the log has gone on.
    fn check_error(&self, is_ended: bool) -> Result<(), String> {
        let Some(error) = &self.subject.failed else {
            return Ok(());
        };
        let failure = Failure::of(error);
        if matches!(failure.kind, Kind::Directory | Kind::Read) && self.state().failed_calls > self.subject.failed_calls
        {
            return Ok(());
        }
        if self.permitted.iter().any(|permit| permit.allows(&failure))
            || self.is_history_changed(&failure)
            || self.is_other_history(&failure)
            || self.is_named_missing(&failure)
        {
            return Ok(());
        }
        let question = self.subject.question();
        let state = self.state();
        let expected = oracle::outcome(&state, &question);
        let gaps = [Kind::Gap, Kind::Gone];
        let is_right = match expected.verdict {
            Verdict::Failed(right) if expected.delivered.is_empty() && right.agrees(&failure) => true,
            _ if is_in_a_deleted_file(&state, &failure) => true,
            Verdict::Failed(_) if expected.delivered.is_empty() => false,
            // A crash left a hole in a file that it had left already. It may not look behind that for what is there,
            // since what the hole should have held is missing anyway.
            Verdict::Failed(right) => {
                let is_met = |&(vlsn, _): &(u64, u64)| question.met.iter().any(|met| met.vlsn == vlsn);
                (self.plan.crash_odds > 0 || self.plan.ending != Ending::Whole)
                    && gaps.contains(&failure.kind)
                    && gaps.contains(&right.kind)
                    && expected.delivered.iter().all(is_met)
            }
            _ => false,
        };
        if !is_right {
            return Err(format!("it fails with `{error}`, and should not: {expected:?} for {}", brief(&question)));
        }
        // Nothing that is still to be written is written later than within half of the gap patience. At its beginning a
        // log does not say whether a number is late or was never there.
        if let Some(vlsn) = failure.expected
            && gaps.contains(&failure.kind)
            && !is_ended
            && !self.subject.returned.is_empty()
            && question.entries_max > 1000
            && question.bytes_max > 10_000
            && self.writer.is_coming(&state, vlsn)
            && !self.is_late_beside_a_missing_file(&failure, state.now)
            && !is_in_a_deleted_file(&state, &failure)
        {
            return Err(format!("it fails with `{error}`, and VLSN {vlsn} is still to come"));
        }
        let settle = self.plan.options.tail.settle;
        if let (true, Some(file), Some(offset)) = (DAMAGE[..6].contains(&failure.kind), failure.file, failure.offset)
            && state.names.contains_key(&file)
        {
            let len = match failure.kind {
                Kind::Hole | Kind::Oversize => 14,
                Kind::EndsEarly => 0,
                Kind::Torn => u64::MAX,
                _ => oracle::len_at(state.bytes(file).unwrap_or_default(), offset),
            };
            let changed = state.changed_at(Lsn::new(file, offset as u32), len).max(state.thawed);
            if state.now < changed + settle {
                return Err(format!(
                    "it fails with `{error}` {} ms after something changed there, or after it was frozen",
                    (state.now - changed).as_millis()
                ));
            }
        }
        Ok(())
    }

    /// Where a file that can have held the VLSN is gone, nobody is waited for longer than it takes to settle.
    fn is_late_beside_a_missing_file(&self, failure: &Failure, now: Duration) -> bool {
        failure.kind == Kind::Gone
            && matches!(self.subject.missing, Some((vlsn, since))
                if Some(vlsn) == failure.expected && now >= since + self.plan.options.tail.settle)
    }

    /// Whether the next file names an entry that this one does not have, though it may have lost its own since.
    fn is_named_missing(&self, failure: &Failure) -> bool {
        let (Kind::EndsEarly, Some(file), Some(offset)) = (failure.kind, failure.file, failure.offset) else {
            return false;
        };
        let state = self.state();
        let len = state.bytes(file).map(<[u8]>::len);
        let next = state.bytes(file + 1).map(|bytes| oracle::header(bytes, file + 1));
        len == Some(offset as usize) && matches!(next, Some(oracle::Header::Good { names, .. }) if names >= offset)
    }

    /// Whether the window was full while the disk changed: nobody can say now what was missing when
    /// it was read.
    fn is_full_meanwhile(&self) -> bool {
        let gaps = [Kind::Gap, Kind::Gone];
        let window = self.plan.options.window;
        let is_small = window.entries_max < 1000 || window.bytes_max < 10_000;
        // Where a small window is chosen a beginning from, it forgets what is too far ahead.
        let is_unsure = self.state().tick != self.subject.fresh_since || self.subject.from == 0;
        is_small && is_unsure && self.subject.failed.as_ref().is_some_and(|e| gaps.contains(&Failure::of(e).kind))
    }

    /// Whether an entry was there that differs from the one of its VLSN that was returned.
    fn is_history_changed(&self, failure: &Failure) -> bool {
        let (Kind::History, Some(vlsn)) = (failure.kind, failure.expected) else {
            return false;
        };
        let state = self.state();
        let was = self.subject.returned.get(&vlsn);
        state.truth.of_vlsn(vlsn).any(|record| {
            record.appeared.is_some()
                && Some(record.offset) == failure.offset
                && was.is_some_and(|&was| was != oracle::content(record.entry_type, &record.payload))
        })
    }

    /// The reader is in an error that is right. It has to stay in it, for as long as nobody opens another.
    fn after_error(&mut self) -> Result<(), String> {
        // A stream ends with its error.
        let count = if self.link.is_some() { 0 } else { self.rng.below(3) };
        for _ in 0..count {
            let before = self.subject.failed.clone();
            let delivered = self.subject.drain(1);
            self.check_wrong()?;
            if before.is_some() && self.subject.failed.is_some() && delivered > 0 {
                return Err("an entry came after an error".into());
            }
        }
        if self.subject.failed.is_some() && self.rng.one_in(3) {
            let next = self.subject.next.unwrap_or(self.subject.from);
            let from = match self.rng.below(3) {
                0 => next,
                1 => self.rng.within(1, self.writer.next_vlsn),
                _ => 0,
            };
            self.reconnect(Some(from));
        }
        Ok(())
    }

    /// Another reader takes over.
    fn reconnect(&mut self, from: Option<u64>) {
        let from = from.unwrap_or_else(|| match &self.link {
            Some(link) if link.received > 0 => link.last + 1,
            Some(_) => self.subject.from,
            None => self.subject.next.unwrap_or(self.subject.from),
        });
        self.state().note(format!("RECONNECT from VLSN {from}"));
        self.subject.look_at_it();
        let limit = self.subject.send_limit;
        let start = self.plan.start(self.writer.first_file);
        self.subject = Subject::new(&self.disk, self.base, start, from, self.plan.options, self.plan.budget);
        self.subject.send_limit = limit;
        self.permitted.clear();
        self.permitted.extend_from_slice(&self.damages);
        if self.link.is_some() {
            self.link = Some(Link::new(from, self.rng.fork()));
            self.subject.keeps_yielded = true;
        }
    }

    fn end(&mut self) -> Result<(), String> {
        {
            let disk = self.disk.clone();
            let mut state = disk.state();
            state.catch_up();
            state.fault = None;
            self.writer.meanwhile = false;
            if self.writer.is_crashed && self.plan.ending != Ending::Crashed {
                drop(state);
                self.recover();
            }
        }
        if !self.writer.is_crashed {
            let disk = self.disk.clone();
            let mut state = disk.state();
            match self.plan.ending {
                Ending::Unflushed => {
                    for _ in 0..self.rng.below(6) {
                        self.writer.flush_one(&mut state);
                    }
                }
                Ending::NeverAppended => self.writer.flush_all(&mut state),
                Ending::Crashed => self.writer.crash(&mut state),
                Ending::Whole | Ending::Damaged => {
                    self.writer.append_late(&mut state);
                    self.writer.flush_all(&mut state);
                }
            }
        }
        if !self.rng.one_in(8) {
            self.subject.send_limit = u64::MAX;
        }
        if self.plan.ending == Ending::Damaged {
            for _ in 0..self.rng.within(1, 2) {
                self.break_something();
            }
        }
        self.quiesce()?;
        self.judge()?;
        for _ in 0..4 {
            self.ask_afresh()?;
        }
        Ok(())
    }

    /// The log stands still; the reader gets all the time that it asks for, and then much more.
    fn quiesce(&mut self) -> Result<(), String> {
        let (mut is_last, mut stalled_looks, mut look_before) = (false, 0, Duration::ZERO);
        let mut has_put_off = false;
        for _ in 0..2000 {
            let (front, next) = (self.subject.position(), self.subject.next);
            let returned = self.subject.returned.len();
            let before = self.subject.failed.is_some();
            match &mut self.link {
                Some(link) => {
                    let mut idle = 0;
                    while idle < 24 && self.subject.wrong.is_none() && !link.is_closed {
                        idle = if link.pump(&mut self.subject)? { 0 } else { idle + 1 };
                    }
                }
                None => {
                    self.subject.drain(u64::MAX);
                }
            }
            self.check_wrong()?;
            if !before && !self.is_full_meanwhile() {
                self.check_error(true)?;
            }
            if self.link.as_ref().is_some_and(|link| link.is_closed) {
                self.reconnect(None);
                continue;
            }
            let is_changed = self.subject.returned.len() != returned || before != self.subject.failed.is_some();
            if is_last && is_changed && !has_put_off && self.is_put_off(front, next) {
                // It is found by whoever looks once more, and all there is is found then.
                (is_last, has_put_off) = (false, true);
            }
            if is_last && is_changed {
                return Err("time alone changed the answer, and it had not said so".into());
            }
            if self.subject.failed.is_some() || is_last {
                if let Some(link) = &mut self.link {
                    link.finish()?;
                    if self.subject.next.is_some_and(|next| next != link.last + 1 && !self.subject.returned.is_empty())
                    {
                        return Err("the replica does not hold what was read".into());
                    }
                }
                return Ok(());
            }
            let mut state = self.disk.state();
            // It may look every now and then whether what proves a hole harmless has come, and whether what is missing
            // was written where it has been: twice within the time that it takes to settle.
            let is_stalled = self.subject.is_stalled();
            stalled_looks = if is_stalled && !is_changed { stalled_looks + 1 } else { 0 };
            match self.subject.look_again().filter(|_| stalled_looks < 30) {
                Some(at) if is_stalled && stalled_looks > 3 => {
                    if at < look_before + self.plan.options.tail.settle {
                        return Err("it looks again and again at what is stalled".into());
                    }
                    look_before = state.now;
                    state.now = state.now.max(at);
                }
                Some(at) => state.now = state.now.max(at),
                None => {
                    is_last = true;
                    state.now += Duration::from_secs(100_000);
                }
            }
        }
        Err("it never comes to rest".into())
    }

    /// Whether VLSN `next`, which came now, stands where reading had been before it got to `front`. What is written there late
    /// is looked for once in a settle time, whenever somebody looks, and no look is asked for.
    fn is_put_off(&self, front: Option<u64>, next: Option<u64>) -> bool {
        let Some(next) = next else { return false };
        // One whose file is gone, and the next not there, stands behind all that it has read.
        let front = front.unwrap_or(u64::MAX);
        let state = self.state();
        let is_before = |id| state.position(id).is_some_and(|position| position < front);
        self.subject.failed.is_none()
            && state.truth.at_or_above(next).any(|(id, record)| record.vlsn == Some(next) && is_before(id))
    }

    /// Where the reader ended, held against what the oracle says.
    fn judge(&mut self) -> Result<(), String> {
        let question = self.subject.question();
        let state = self.state();
        let expected = oracle::outcome(&state, &question);
        let is_stalled = self.subject.is_stalled();
        if self.subject.failed.is_some() {
            return Ok(());
        }
        if !self.permitted.is_empty() {
            return self.check_nothing_is_missing(&state, is_stalled);
        }
        self.check_history(&state)?;
        // Where it reads from the limit on, what stands there does not concern it.
        let is_beyond_limit = question.position.is_some_and(|position| position >= question.send_limit);
        let is_right = expected.delivered.is_empty()
            && match expected.verdict {
                _ if is_beyond_limit => true,
                Verdict::Quiet => !is_stalled || question.send_limit != u64::MAX,
                Verdict::Stalled => is_stalled,
                // What it has seen, and what was taken back since, counts.
                Verdict::Failed(Failure { kind: Kind::Ahead, expected: Some(start), .. }) => {
                    // And what cannot be read somewhere else may hide that the log reaches up to there.
                    let whole = Question { position: None, met: Vec::new(), ..question.clone() };
                    state.truth.highest_vlsn(|_, record| record.appeared.is_some()) + 1 >= start
                        || oracle::outcome(&state, &whole).verdict != expected.verdict
                }
                Verdict::Failed(_) => false,
            };
        if !is_right {
            return Err(format!(
                "the reader rests {}, and should not: {expected:?} for {}",
                if is_stalled { "stalled" } else { "quietly" },
                brief(&question)
            ));
        }
        Ok(())
    }

    /// What was returned is still what the log says, as far as the reader has read it.
    fn check_history(&self, state: &State) -> Result<(), String> {
        let Some(here) = self.subject.position() else {
            return Ok(());
        };
        let Some((&first, _)) = self.subject.returned.first_key_value() else {
            return Ok(());
        };
        for (id, record) in state.truth.at_or_above(first) {
            let vlsn = record.vlsn.unwrap_or(0);
            if let Some(&was) = self.subject.returned.get(&vlsn)
                && record.is_there()
                && state.position(id).is_some_and(|position| position < here)
                && oracle::content(record.entry_type, &record.payload) != was
            {
                return Err(format!("VLSN {vlsn} stands in the log with another content, and nobody said so"));
            }
        }
        Ok(())
    }

    /// However bad things went: a reader that is quiet has all there is.
    fn check_nothing_is_missing(&self, state: &State, is_stalled: bool) -> Result<(), String> {
        if is_stalled || self.subject.send_limit != u64::MAX {
            return Ok(());
        }
        let Some(next) = self.subject.next else {
            return Ok(());
        };
        let missed =
            state.truth.at_or_above(next).find(|(id, record)| record.is_there() && state.position(*id).is_some());
        match missed {
            Some((id, record)) => Err(format!(
                "it is quiet, next is VLSN {next}, and VLSN {:?} stands at {}",
                record.vlsn,
                Lsn(state.position(id).unwrap_or(0))
            )),
            None => Ok(()),
        }
    }

    /// Another reader, from anywhere, over the log as it stands: exactly what the oracle says has to come.
    fn ask_afresh(&mut self) -> Result<(), String> {
        let mut options = self.plan.options;
        options.tail.read_bytes = self.rng.pick(&[64, 200, 1000, 4096, 65_536]);
        let from = match self.rng.below(6) {
            0 => 0,
            1 => 1,
            2 => self.plan.first_vlsn,
            3 => self.writer.next_vlsn + self.rng.below(3),
            _ => self.rng.within(self.plan.first_vlsn, self.writer.next_vlsn),
        };
        let position = if self.rng.one_in(4) {
            let state = self.state();
            let ids: Vec<usize> = (0..state.truth.records.len())
                .filter(|&id| state.truth.records[id].is_there() && state.position(id).is_some())
                .collect();
            drop(state);
            (!ids.is_empty()).then(|| ids[self.rng.index(ids.len())])
        } else {
            None
        };
        let position = position.and_then(|id| self.state().position(id));
        let send_limit = self.subject.send_limit;
        let question = Question {
            position,
            from,
            met: Vec::new(),
            returned: Default::default(),
            send_limit,
            entries_max: options.window.entries_max as u64,
            bytes_max: options.window.bytes_max,
        };
        let expected = oracle::outcome(&self.state(), &question);
        if from == 0 && self.is_beyond_look_ahead(&question) {
            return Ok(());
        }
        self.state().note(format!(
            "AFRESH from VLSN {from}, position {:?}, read_bytes {}",
            position.map(Lsn),
            options.tail.read_bytes
        ));
        // From the beginning everything is determined; from nowhere in particular the reader seeks.
        let beginning = Lsn::new(self.writer.first_file, 1);
        let start = match position {
            Some(position) => Lsn(position),
            None if self.rng.one_in(2) => beginning,
            None => self.plan.start(self.writer.first_file),
        };
        let opened = self.state().now;
        let mut fresh = Subject::new(&self.disk, self.base, start, from, options, self.plan.budget);
        fresh.send_limit = send_limit;
        std::mem::swap(&mut self.subject, &mut fresh);
        let (permitted, link) = (std::mem::take(&mut self.permitted), self.link.take());
        // Its errors are held against the same oracle below.
        self.permitted.extend([&MISSING[..], &CUT[..], &DAMAGE[..]].map(Permit::anywhere));
        let result = self.quiesce();
        self.permitted = permitted;
        self.link = link;
        std::mem::swap(&mut self.subject, &mut fresh);
        result.map_err(|text| format!("afresh from {from}: {text}"))?;
        fresh.look_at_it();
        let took = self.state().now - opened;
        if start == Lsn::NULL && from > 0 {
            return self.compare_sought(&fresh, &expected, &question, took);
        }
        self.compare(&fresh, &expected, &question, took)
    }

    /// A reader that may begin anywhere need not see what is wrong before that. But what it wants it has to find,
    /// wherever that stands: if nothing is wrong it comes out as from the beginning, and otherwise it is at least not
    /// quiet about an entry that can be found in its file.
    fn compare_sought(
        &self,
        fresh: &Subject,
        expected: &Outcome,
        question: &Question,
        took: Duration,
    ) -> Result<(), String> {
        let compared = self.compare(fresh, expected, question, took);
        let is_broken = match expected.verdict {
            Verdict::Failed(Failure { kind, .. }) => DAMAGE.contains(&kind),
            Verdict::Stalled => true,
            Verdict::Quiet => false,
        };
        if compared.is_ok() || !is_broken || fresh.failed.is_some() {
            return if is_broken { Ok(()) } else { compared };
        }
        let next = fresh.next.unwrap_or(question.from);
        let state = self.state();
        let records = state.truth.at_or_above(next).take_while(|(_, record)| record.vlsn == Some(next));
        let places = records.filter(|(_, record)| record.is_there()).filter_map(|(id, _)| state.position(id));
        let is_missed = places.filter(|&at| at < question.send_limit).any(|at| {
            let in_its_file = Question { position: Some(at >> 32 << 32), from: next, ..question.clone() };
            !oracle::outcome(&state, &in_its_file).delivered.is_empty()
        });
        if is_missed { compared } else { Ok(()) }
    }

    /// A beginning is chosen from half a window; the oracle sees it all.
    fn is_beyond_look_ahead(&self, question: &Question) -> bool {
        let state = self.state();
        let (mut count, mut bytes) = (0, 0);
        for (_, record) in state.truth.at_or_above(1) {
            if record.is_there() {
                count += 1;
                bytes += record.len;
            }
        }
        2 * count + 2 >= question.entries_max || 2 * bytes + 5000 >= question.bytes_max
    }

    fn compare(&self, fresh: &Subject, expected: &Outcome, question: &Question, took: Duration) -> Result<(), String> {
        let got: Vec<u64> = fresh.returned.keys().copied().collect();
        let wanted: Vec<u64> = expected.delivered.iter().map(|&(vlsn, _)| vlsn).collect();
        let verdict = match (&fresh.failed, fresh.is_stalled()) {
            (Some(error), _) => Verdict::Failed(Failure::of(error)),
            (None, true) => Verdict::Stalled,
            (None, false) => Verdict::Quiet,
        };
        let is_same = match (&verdict, &expected.verdict) {
            (Verdict::Failed(is), Verdict::Failed(right)) => right.agrees(is),
            (Verdict::Stalled, Verdict::Quiet) => question.send_limit != u64::MAX,
            // What cannot be read somewhere else may hide that the log reaches up to there.
            (Verdict::Quiet, Verdict::Failed(Failure { kind: Kind::Ahead, .. })) => {
                oracle::outcome(&self.state(), &Question { position: None, ..question.clone() }).verdict
                    != expected.verdict
            }
            (is, right) => is == right,
        };
        if got != wanted || !is_same {
            return Err(format!(
                "afresh for {}: VLSNs {}, {verdict:?} ({}), and it should be VLSNs {}, {:?}",
                brief(question),
                span(&got),
                fresh.failed.as_ref().map(ToString::to_string).unwrap_or_default(),
                span(&wanted),
                expected.verdict
            ));
        }
        let settle = self.plan.options.tail.settle;
        if let Verdict::Failed(Failure { kind, .. }) = verdict
            && DAMAGE[..6].contains(&kind)
            && took < settle
        {
            return Err(format!(
                "afresh for {}: {kind:?} after {} ms, before it could have settled",
                brief(question),
                took.as_millis()
            ));
        }
        Ok(())
    }
}

/// Whether what it fails at stands in a file that was deleted while it was read. The oracle does not see that any more.
fn is_in_a_deleted_file(state: &State, failure: &Failure) -> bool {
    let Some(file) = failure.file else { return false };
    if failure.kind == Kind::Gone {
        return state.names.range(file..).next().is_none();
    }
    let Some(offset) = failure.offset else { return false };
    DAMAGE.contains(&failure.kind)
        && !state.names.contains_key(&file)
        && state.inodes.iter().filter(|inode| inode.was_named == Some(file)).any(|inode| {
            offset <= inode.bytes.len() as u64 && !matches!(oracle::see(&inode.bytes, offset), Seen::Entry { .. })
        })
}

fn brief(question: &Question) -> String {
    let met: Vec<u64> = question.met.iter().take(8).map(|met| met.vlsn).collect();
    format!(
        "VLSN {} at {:?} with {} met {met:?}, limit {:?}",
        question.from,
        question.position.map(Lsn),
        question.met.len(),
        Some(question.send_limit).filter(|&limit| limit != u64::MAX).map(Lsn),
    )
}

/// A list of VLSNs, short.
fn span(vlsns: &[u64]) -> String {
    match vlsns {
        [] => "none".into(),
        [first, .., last] if last - first + 1 == vlsns.len() as u64 => format!("{first}..={last}"),
        _ => format!("{vlsns:?}"),
    }
}

/// Breaks something in what is on disk: in which file, from where on that can be seen. `None`: there is nothing to break.
fn damage(rng: &mut Rng, state: &mut State) -> Option<(u32, u64)> {
    let files: Vec<(u32, usize)> = state.names.iter().map(|(&n, &i)| (n, i)).collect();
    if files.is_empty() {
        return None;
    }
    let (file, inode) = rng.pick(&files);
    let len = state.inodes[inode].bytes.len() as u64;
    let records: Vec<usize> =
        state.inodes[inode].records.iter().copied().filter(|&id| state.truth.records[id].is_there()).collect();
    let record = (!records.is_empty()).then(|| {
        let id = rng.pick(&records);
        state.truth.records[id].clone()
    });
    let overwrite = |state: &mut State, offset: u64, bytes: Vec<u8>| {
        state.apply(Op::Damage { spoils: true, inode, offset, bytes });
    };
    match (rng.below(9), record) {
        (0..=2, Some(record)) => {
            // Not the invisible bit: nobody can tell that from a rollback.
            let at = record.offset + rng.below(record.len);
            let allowed = if at == record.offset + 5 { 0xef } else { 0xff };
            let flip = (1 << rng.below(8)) & allowed;
            if flip == 0 {
                return None;
            }
            let byte = state.inodes[inode].bytes[at as usize] ^ flip;
            overwrite(state, at, vec![byte]);
            Some((file, record.offset))
        }
        (3, Some(record)) => {
            let size = rng.pick(&[100 * 1024 * 1024 + 1, u32::MAX, 100 * 1024 * 1024, 1000]);
            if u64::from(size) == record.payload.len() as u64 {
                return None;
            }
            overwrite(state, record.offset + 10, size.to_le_bytes().to_vec());
            Some((file, record.offset))
        }
        (4, Some(record)) => {
            // A whole entry, with a good checksum, that does not belong there.
            let vlsn = record.vlsn.map(|vlsn| vlsn as i64);
            if record.len != record.payload.len() as u64 + if vlsn.is_some() { 22 } else { 14 } {
                return None;
            }
            let prev = record.offset as u32 + 1;
            let bytes = encode(record.entry_type, record.flags, prev, vlsn, &record.payload);
            state.apply(Op::Damage { spoils: false, inode, offset: record.offset, bytes });
            Some((file, record.offset))
        }
        (5, _) if len > 0 => {
            let len = rng.below(len);
            let is_cut = |&&id: &&usize| {
                let record = &state.truth.records[id];
                record.offset + record.len > len
            };
            let first =
                state.inodes[inode].records.iter().filter(is_cut).map(|&id| state.truth.records[id].offset).min();
            state.apply(Op::Truncate { inode, len });
            Some((file, first.unwrap_or(0).min(len)))
        }
        (6, _) => {
            state.apply(Op::Unlink { file });
            Some((file, 0))
        }
        (7, _) if len >= 32 => {
            overwrite(state, 8, vec![0, 0, 0, 4]);
            Some((file, 0))
        }
        (8, _) if len >= 32 => {
            let at = rng.below(len.min(36));
            let byte = state.inodes[inode].bytes[at as usize] ^ (1 << rng.below(8));
            // The reserved bytes and the creation time are checked by version 3 only.
            overwrite(state, at, vec![byte]);
            Some((file, 0))
        }
        _ => None,
    }
}
