//! Notes which [`Situation`]s a reader gets into, from its answers and from the disk.
//!
//! An answer lends from the reader, so where it stands is asked before the next call.

use std::sync::Arc;
use std::time::Duration;

use noxu_feeder::log::budget::Budget;
use noxu_feeder::log::scanner::ScannerCounts;
use noxu_feeder::log::seek::Seek;
use noxu_feeder::log::{Entry, Scanner, ScannerOptions, Wait, WaitReason};
use noxu_feeder::lsn::Lsn;

use crate::disk::{Disk, State};
use crate::oracle::{self, Failure, Kind};
use crate::situations::Situation;

/// A hole, by the file that it is in.
#[derive(Clone, Copy, Debug)]
struct Hole {
    inode: usize,
    begin: u64,
    end: u64,
}

/// What the last answer was.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Entry { lsn: Lsn, len: u64 },
    Nothing(Wait),
}

/// See the module's comment.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    answer: Option<Answer>,
    /// The place to begin at, where that was sought.
    began: Option<u64>,
    has_answered: bool,
    /// The hole that was waited at last.
    hole: Option<Hole>,
    crossed: Vec<Hole>,
    holes_crossed: u64,
    /// The place that was waited at last, and what for.
    waited: Option<(u64, WaitReason)>,
    /// How far reading got.
    highest: u64,
    /// Where looking back had got to.
    looked_back_to: u64,
    detours_of_look: u64,
    detours: u64,
    /// Since when something has been missing, without a break.
    missing_since: Option<Duration>,
    repeats: u64,
}

impl Witness {
    /// Before the first call: where it is going to begin.
    pub(crate) fn begins(&mut self, disk: &Disk, start: Lsn, from: u64, options: &ScannerOptions) {
        if start != Lsn::NULL || from == 0 {
            return;
        }
        let place = disk.undisturbed(|files| {
            let mut seek = Seek::new(Arc::new(files.clone()), options.tail.read_bytes, Budget::default()).ok()?;
            seek.place_for(from).ok()?
        });
        if let Some(place) = place {
            self.began = Some(place.at.0);
            if place.at.offset() > 0 {
                disk.state().seen.note(Situation::SeeksIntoAFile);
            }
        }
    }

    /// Where the reader stands since its last answer.
    pub(crate) fn look_at(
        &mut self,
        scanner: &Scanner,
        state: &mut State,
        next: Option<u64>,
        options: &ScannerOptions,
    ) {
        let Some(answer) = self.answer.take() else { return };
        let tail = scanner.tail();
        let at = tail.position();
        if tail.holes_crossed() > self.holes_crossed {
            self.holes_crossed = tail.holes_crossed();
            state.seen.note(Situation::HoleCrossed);
            self.crossed.extend(self.hole);
        }
        let ScannerCounts { repeats, .. } = scanner.counts();
        if repeats > self.repeats {
            self.repeats = repeats;
            state.seen.note(Situation::Repeat);
        }
        match scanner.order().held() {
            10_001.. => {
                state.seen.note(Situation::ThousandHeld);
                state.seen.note(Situation::TenThousandHeld);
            }
            1001.. => state.seen.note(Situation::ThousandHeld),
            _ => {}
        }
        match answer {
            Answer::Entry { lsn, len } if tail.is_looking_back() => {
                if at.0 == lsn.0 + len {
                    self.was_found_looking_back(state, lsn, next, options);
                    self.looked_back_to = at.0;
                }
            }
            Answer::Entry { .. } => self.highest = self.highest.max(at.0),
            Answer::Nothing(wait) => {
                self.detours_of_look = 0;
                if at != Lsn::NULL {
                    self.highest = self.highest.max(at.0);
                }
                if wait.reason == WaitReason::SendLimit {
                    let is_at_cursor = wait.at == at;
                    state.seen.note(if is_at_cursor {
                        Situation::WaitsAtTheLimit
                    } else {
                        Situation::WaitsAtTheLimitHeld
                    });
                }
            }
        }
        if let Some((place, reason)) = self.waited
            && at.0 > place
            && at.0 >> 32 == place >> 32
        {
            match reason {
                WaitReason::Unreadable => state.seen.note(Situation::UnreadableHealed),
                WaitReason::Torn => state.seen.note(Situation::TornHealed),
                _ => {}
            }
            self.waited = None;
        }
    }

    fn was_found_looking_back(&mut self, state: &mut State, lsn: Lsn, next: Option<u64>, options: &ScannerOptions) {
        if self.looked_back_to != lsn.0 {
            self.detours_of_look += 1;
            self.detours += 1;
            if self.detours_of_look == 10 {
                state.seen.note(Situation::TenDetours);
            }
            if self.detours == 1001 {
                state.seen.note(Situation::ManyDetours);
            }
        }
        let offset = u64::from(lsn.offset());
        let inode = state.names.get(&lsn.file()).copied();
        let hole =
            self.crossed.iter().find(|hole| Some(hole.inode) == inode && (hole.begin..hole.end).contains(&offset));
        match hole {
            Some(hole) if !is_zero(state, hole) => state.seen.note(Situation::LateInCrossedHoleFirst),
            Some(_) => state.seen.note(Situation::LateInCrossedHoleMiddle),
            None if u64::from(lsn.file()) < self.highest >> 32 => state.seen.note(Situation::LowerFileCompleted),
            None => {}
        }
        let window = options.window;
        if (window.entries_max < 1000 || window.bytes_max < 10_000)
            && let Some(next) = next
            && self.is_full(state, next, options)
        {
            state.seen.note(Situation::FullAndFound);
        }
    }

    /// Whether what stands from where reading had got to on is more than the window holds while `next` is missing.
    fn is_full(&self, state: &State, next: u64, options: &ScannerOptions) -> bool {
        let (mut bytes, mut furthest) = (0, 0);
        for (id, record) in state.truth.at_or_above(next) {
            if record.is_there() && state.position(id).is_some_and(|position| position >= self.highest) {
                bytes += record.len;
                furthest = record.vlsn.unwrap_or(0);
            }
        }
        furthest >= next + options.window.entries_max as u64 || bytes > options.window.bytes_max
    }

    /// `missing`: the VLSN that has been missing up to now, and since when.
    pub(crate) fn entry(
        &mut self,
        state: &mut State,
        entry: &Entry<'_>,
        missing: Option<(u64, Duration)>,
        options: &ScannerOptions,
    ) {
        if let Some((_, since)) = missing.filter(|&(vlsn, _)| vlsn == entry.vlsn) {
            if state.now >= since + options.gap_patience {
                state.seen.note(Situation::GapAvoided);
            }
            let all_since = self.missing_since.unwrap_or(since);
            if all_since < since && state.now >= all_since + options.gap_patience {
                state.seen.note(Situation::PatienceUsedThenAnother);
            }
        }
        let lsn = entry.lsn;
        let len = entry.payload.len() as u64 + 22;
        self.answered(state);
        self.answer = Some(Answer::Entry { lsn, len });
        if self.began.is_some_and(|began| lsn.0 < began) {
            state.seen.note(Situation::LooksBehindAndFinds);
        }
        if state.made_anew.contains(&lsn.file()) {
            state.seen.note(Situation::ReadFromAFileMadeAnew);
        }
        if let Some((place, WaitReason::SendLimit)) = self.waited
            && place == lsn.0
        {
            state.seen.note(Situation::GoesOnAtTheLimit);
        }
    }

    pub(crate) fn nothing(&mut self, state: &mut State, pause: &Wait) {
        if self.answered(state) {
            state.seen.note(Situation::LooksBehindInVain);
        }
        let Wait { reason, at, .. } = *pause;
        self.answer = Some(Answer::Nothing(*pause));
        let (waits, stalled) = match reason {
            WaitReason::NoFile => (Some(Situation::WaitsForAFile), Some(Situation::WaitsForAFileStalled)),
            WaitReason::End => (Some(Situation::WaitsAtEnd), Some(Situation::WaitsAtEndStalled)),
            WaitReason::UnfinishedHeader => (Some(Situation::WaitsForAHeader), None),
            WaitReason::Hole => (Some(Situation::WaitsAtAHole), Some(Situation::WaitsAtAHoleStalled)),
            WaitReason::Torn => (Some(Situation::WaitsAtATornEntry), Some(Situation::WaitsAtATornEntryStalled)),
            WaitReason::Unreadable => (Some(Situation::WaitsAtAnUnreadableEntry), None),
            WaitReason::NextFileEmpty => (Some(Situation::WaitsForTheNextFilesEntry), None),
            WaitReason::LastEntryMissing => (Some(Situation::WaitsForALastEntry), None),
            WaitReason::AheadOfLog => (Some(Situation::WaitsAheadOfTheLog), None),
            // At the cursor or at what is held: that is seen later.
            WaitReason::SendLimit => (None, None),
        };
        let noted = if pause.stalled { [waits, stalled] } else { [waits, None] };
        for situation in noted.into_iter().flatten() {
            state.seen.note(situation);
        }
        self.waited = Some((at.0, reason));
        if reason == WaitReason::Hole {
            self.hole = state.names.get(&at.file()).map(|&inode| {
                let begin = u64::from(at.offset());
                let bytes = &state.inodes[inode].bytes;
                let end = oracle::behind_zeros(bytes, begin).unwrap_or(bytes.len() as u64);
                Hole { inode, begin, end }
            });
        }
        match pause.missing_vlsn {
            None => self.missing_since = None,
            Some(_) => {
                self.missing_since.get_or_insert(state.now);
            }
        }
    }

    pub(crate) fn failed(&mut self, state: &mut State, failure: &Failure, is_full: Option<Situation>) {
        self.answered(state);
        for situation in [of_failure(failure.kind), is_full].into_iter().flatten() {
            state.seen.note(situation);
        }
    }

    /// True: before the beginning was looked at for this answer.
    fn answered(&mut self, state: &mut State) -> bool {
        let has_answered = std::mem::replace(&mut self.has_answered, true);
        let lowest_read = state.lowest_read.take();
        // The first answer has read there to find the beginning.
        has_answered && self.began.zip(lowest_read).is_some_and(|(began, read)| read < began)
    }
}

/// Whether nothing stands at the hole's beginning yet.
fn is_zero(state: &State, hole: &Hole) -> bool {
    oracle::see(&state.inodes[hole.inode].bytes, hole.begin) == oracle::Seen::Zero
}

fn of_failure(kind: Kind) -> Option<Situation> {
    Some(match kind {
        Kind::Hole => Situation::FailsAtAHole,
        Kind::Torn => Situation::FailsAtATornEntry,
        Kind::Oversize => Situation::FailsAtASize,
        Kind::Checksum => Situation::FailsAtAChecksum,
        Kind::Chain => Situation::FailsAtAChain,
        Kind::EndsEarly => Situation::FailsAtAnEarlyEnd,
        Kind::Header => Situation::FailsAtAHeader,
        Kind::Gap => Situation::Gap,
        Kind::Gone => Situation::FailsWithAFileGone,
        Kind::Truncated => Situation::FailsTruncated,
        Kind::Rewritten => Situation::FailsRewritten,
        Kind::History => Situation::FailsWithAnotherHistory,
        Kind::Ahead => Situation::FailsAheadOfTheLog,
        Kind::Directory | Kind::Read | Kind::Other => return None,
    })
}
