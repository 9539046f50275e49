//! What a run has to be good for: the situations that a reader gets into. A run that never gets there proves nothing, so
//! each is counted where it really came about, and a default run fails when one came about in too few seeds.
//!
//! They are observed from the side of the writer and the disk, and from what the reader says.

use std::fmt::Write;

macro_rules! situations {
    ($($name:ident, $minimum:literal, $text:literal;)*) => {
        /// See the module's comment.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Situation { $($name,)* }

        /// Each with what it is, and the least number of seeds in [`PER`] that bring it about.
        const ALL: &[(Situation, &str, u64)] = &[$((Situation::$name, $text, $minimum),)*];
    };
}

/// The number of seeds that the minimums are for.
pub(crate) const PER: u64 = 20_000;

situations! {
    WaitsForAFile, 7700, "waits: no file";
    WaitsForAFileStalled, 340, "waits: no file, stalled";
    WaitsAtEnd, 11200, "waits: end";
    WaitsAtEndStalled, 3000, "waits: end, with a VLSN missing, stalled";
    WaitsForAHeader, 1300, "waits: unfinished header";
    WaitsAtAHole, 2800, "waits: hole";
    WaitsAtAHoleStalled, 410, "waits: hole, stalled";
    WaitsAtATornEntry, 2000, "waits: torn";
    WaitsAtATornEntryStalled, 250, "waits: torn, stalled";
    WaitsAtAnUnreadableEntry, 1500, "waits: unreadable";
    WaitsForTheNextFilesEntry, 6400, "waits: the next file is empty";
    WaitsForALastEntry, 110, "waits: the last entry that the next file names";
    WaitsAtTheLimit, 1100, "waits: the send limit, at the cursor";
    WaitsAtTheLimitHeld, 14, "waits: the send limit, at an entry held back";
    GoesOnAtTheLimit, 800, "the send limit is raised, and what stood at it comes";
    LimitBehindReader, 900, "the send limit is set behind the reader";

    HoleCrossed, 1600, "a hole is crossed";
    LateInCrossedHoleFirst, 330, "an entry comes late at the beginning of a crossed hole, and is read";
    LateInCrossedHoleMiddle, 29, "an entry comes late in the middle of a crossed hole, and is read";
    LowerFileCompleted, 350, "a file is completed after it was left, and is read";
    TenDetours, 100, "ten detours between two looks that find nothing";
    ManyDetours, 27, "more than a thousand detours of one reader";

    RecoveryCuts, 600, "a recovery cuts a file";
    RecoveryCutsRead, 160, "a recovery cuts what was read";
    RecoveryDeletes, 410, "a recovery deletes a file";
    RecoveryDeletesCurrent, 50, "a recovery deletes the file being read";
    FileMadeAnew, 350, "a file is made anew under its name";
    ReadFromAFileMadeAnew, 260, "an entry is read from a file made anew";
    RollbackOfHeld, 80, "a rollback takes back what is held";
    RollbackOfReturned, 600, "a rollback takes back what was returned";
    CleanerTakesCurrent, 300, "the cleaner deletes the file being read";
    CleanerTakesLower, 800, "the cleaner deletes a file that was left";
    CleanerTakesNeeded, 410, "the cleaner deletes what is still to come";
    Repeat, 700, "a repeat is left out";

    SeeksIntoAFile, 240, "reading begins in the middle of a file";
    LooksBehindInVain, 2400, "a look before the beginning finds nothing";
    LooksBehindAndFinds, 260, "a look before the beginning finds what comes next";

    FullByEntries, 800, "the window is full by entries, and that is a gap";
    FullByBytes, 260, "the window is full by bytes, and that is a gap";
    FullAndFound, 140, "the window is full, and what is missing is found looking back";
    ThousandHeld, 33, "more than a thousand entries are held back";
    TenThousandHeld, 1, "more than ten thousand entries are held back";

    Gap, 5200, "a gap is declared";
    GapAvoided, 250, "what is missing is found when its patience is over";
    PatienceUsedThenAnother, 230, "one VLSN after the other is missing, together for longer than the patience";
    UnreadableHealed, 180, "what was unreadable is written";
    TornHealed, 1000, "what was torn is written, or cut";
    ErrorCut, 1, "an error goes because its place was cut";
    ErrorCompleted, 20, "an error goes because its place was completed";

    FailsAtAHole, 800, "error: a hole";
    FailsAtATornEntry, 330, "error: torn";
    FailsAtASize, 150, "error: a size that cannot be";
    FailsAtAChecksum, 900, "error: checksum";
    FailsAtAChain, 260, "error: broken chain";
    FailsAtAnEarlyEnd, 31, "error: the file ends early";
    FailsAtAHeader, 800, "error: file header";
    FailsWithAFileGone, 450, "error: file gone";
    FailsTruncated, 190, "error: truncated";
    FailsRewritten, 60, "error: rewritten";
    FailsWithAnotherHistory, 370, "error: history changed";
    WaitsAheadOfTheLog, 4200, "the log ends below the start";
    FailsAheadOfTheLog, 3500, "error: ahead of the log";

    ListingFails, 210, "a listing fails";
    OpeningFails, 220, "an opening fails";
    ReadingFails, 230, "a read fails";
    NoMemory, 360, "there is no memory for a read";
    ReadsShort, 5900, "a read brings less than there is";
    Frozen, 1000, "reader and writer are frozen while something is waited for";
    BornInOneTick, 4000, "a file is made in the tick of the change that was listed before";
    Busy, 7600, "a turn ends busy";
}

/// How often what happened.
#[derive(Clone, Debug)]
pub(crate) struct Tally([u64; ALL.len()]);

impl Default for Tally {
    fn default() -> Tally {
        Tally([0; ALL.len()])
    }
}

impl Tally {
    pub(crate) fn note(&mut self, situation: Situation) {
        self.0[situation as usize] += 1;
    }

    /// Adds a seed: what happened in it counts once, however often it did.
    pub(crate) fn add_seed(&mut self, seed: &Tally) {
        for (count, &happened) in self.0.iter_mut().zip(&seed.0) {
            *count += u64::from(happened > 0);
        }
    }

    /// The table: in how many of `seeds` seeds each came about.
    pub(crate) fn table(&self, seeds: u64) -> String {
        let mut text = String::new();
        for &(situation, name, minimum) in ALL {
            let least = minimum * seeds / PER;
            let _ = writeln!(text, "{:>9} (at least {least:>6})  {name}", self.0[situation as usize]);
        }
        text
    }

    /// What came about in too few of `seeds` seeds.
    pub(crate) fn too_seldom(&self, seeds: u64) -> Vec<&'static str> {
        let is_seldom =
            |&&(situation, _, minimum): &&(Situation, _, u64)| self.0[situation as usize] < minimum * seeds / PER;
        ALL.iter().filter(is_seldom).map(|&(_, name, _)| name).collect()
    }
}
