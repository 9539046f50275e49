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
    WaitsForAFileStalled, 120, "waits: no file, stalled";
    WaitsAtEnd, 11200, "waits: end";
    WaitsAtEndStalled, 1900, "waits: end, with a VLSN missing, stalled";
    WaitsForAHeader, 1400, "waits: unfinished header";
    WaitsAtAHole, 2400, "waits: hole";
    WaitsAtAHoleStalled, 310, "waits: hole, stalled";
    WaitsAtATornEntry, 1900, "waits: torn";
    WaitsAtATornEntryStalled, 200, "waits: torn, stalled";
    WaitsAtAnUnreadableEntry, 1700, "waits: unreadable";
    WaitsForTheNextFilesEntry, 6700, "waits: the next file is empty";
    WaitsForALastEntry, 110, "waits: the last entry that the next file names";
    WaitsAtTheLimit, 1400, "waits: the send limit, at the cursor";
    WaitsAtTheLimitHeld, 8, "waits: the send limit, at an entry held back";
    GoesOnAtTheLimit, 1000, "the send limit is raised, and what stood at it comes";
    LimitBehindReader, 1100, "the send limit is set behind the reader";

    HoleCrossed, 1500, "a hole is crossed";
    LateInCrossedHoleFirst, 0, "an entry comes late at the beginning of a crossed hole, and is read";
    LateInCrossedHoleMiddle, 0, "an entry comes late in the middle of a crossed hole, and is read";
    LowerFileCompleted, 9, "a file is completed after it was left, and is read";
    TenDetours, 0, "ten detours between two looks that find nothing";
    ManyDetours, 0, "more than a thousand detours of one reader";

    RecoveryCuts, 600, "a recovery cuts a file";
    RecoveryCutsRead, 160, "a recovery cuts what was read";
    RecoveryDeletes, 450, "a recovery deletes a file";
    RecoveryDeletesCurrent, 32, "a recovery deletes the file being read";
    FileMadeAnew, 400, "a file is made anew under its name";
    ReadFromAFileMadeAnew, 300, "an entry is read from a file made anew";
    RollbackOfHeld, 100, "a rollback takes back what is held";
    RollbackOfReturned, 700, "a rollback takes back what was returned";
    CleanerTakesCurrent, 350, "the cleaner deletes the file being read";
    CleanerTakesLower, 1000, "the cleaner deletes a file that was left";
    CleanerTakesNeeded, 490, "the cleaner deletes what is still to come";
    Repeat, 900, "a repeat is left out";

    SeeksIntoAFile, 170, "reading begins in the middle of a file";
    LooksBehindInVain, 2200, "a look before the beginning finds nothing";
    LooksBehindAndFinds, 160, "a look before the beginning finds what comes next";

    FullByEntries, 900, "the window is full by entries, and that is a gap";
    FullByBytes, 230, "the window is full by bytes, and that is a gap";
    FullAndFound, 0, "the window is full, and what is missing is found looking back";
    ThousandHeld, 4, "more than a thousand entries are held back";
    TenThousandHeld, 1, "more than ten thousand entries are held back";

    Gap, 5000, "a gap is declared";
    GapAvoided, 0, "what is missing is found when its patience is over";
    PatienceUsedThenAnother, 0, "one VLSN after the other is missing, together for longer than the patience";
    UnreadableHealed, 80, "what was unreadable is written";
    TornHealed, 900, "what was torn is written, or cut";
    ErrorCut, 0, "an error goes because its place was cut";
    ErrorCompleted, 0, "an error goes because its place was completed";

    FailsAtAHole, 900, "error: a hole";
    FailsAtATornEntry, 370, "error: torn";
    FailsAtASize, 190, "error: a size that cannot be";
    FailsAtAChecksum, 1100, "error: checksum";
    FailsAtAChain, 340, "error: broken chain";
    FailsAtAnEarlyEnd, 25, "error: the file ends early";
    FailsAtAHeader, 900, "error: file header";
    FailsWithAFileGone, 600, "error: file gone";
    FailsTruncated, 220, "error: truncated";
    FailsRewritten, 60, "error: rewritten";
    FailsWithAnotherHistory, 460, "error: history changed";

    ListingFails, 390, "a listing fails";
    OpeningFails, 390, "an opening fails";
    ReadingFails, 400, "a read fails";
    ReadsShort, 0, "a read brings less than there is";
    Busy, 7400, "a turn ends busy";
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
