//! What a run is made of: each seed switches habits and accidents on and off and sets every size, so that some runs
//! are calm, some have one kind of trouble, and some have all of them at once.

use std::time::Duration;

use noxu_feeder::log::ScannerOptions;
use noxu_feeder::log::order::WindowLimits;
use noxu_feeder::log::tail::TailOptions;
use noxu_feeder::lsn::Lsn;

use crate::disk::Stamps;
use crate::rng::Rng;
use crate::writer::WriterPlan;

/// How a run ends, before the reader is given all the time it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Everything is written.
    Whole,
    /// Buffers that are never flushed.
    Unflushed,
    /// A VLSN that was taken and is never written.
    NeverAppended,
    /// The writer is dead.
    Crashed,
    /// Something is broken.
    Damaged,
}

/// See the module's comment. Odds are "once in so many steps", 0 for never.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) steps: u64,
    pub(crate) commits_max: u64,
    pub(crate) writer: WriterPlan,
    pub(crate) options: ScannerOptions,
    /// How many bytes the reader may read before it says that it is busy.
    pub(crate) budget: u64,
    pub(crate) stamps: Stamps,
    pub(crate) first_vlsn: u64,
    pub(crate) from: u64,
    pub(crate) is_streamed: bool,
    pub(crate) meanwhile_odds: u64,
    pub(crate) long_wait_odds: u64,
    pub(crate) backup_odds: u64,
    pub(crate) crash_odds: u64,
    /// A crash loses no VLSN that was taken.
    pub(crate) crash_is_clean: bool,
    pub(crate) power_odds: u64,
    pub(crate) cleaner_odds: u64,
    pub(crate) rollback_odds: u64,
    pub(crate) repeat_odds: u64,
    pub(crate) limit_odds: u64,
    pub(crate) fault_odds: u64,
    pub(crate) damage_odds: u64,
    pub(crate) reconnect_odds: u64,
    pub(crate) short_read_odds: u64,
    /// The reader is asked when it wanted to be, also while nothing happens, and later by no more than this.
    pub(crate) attentive: Option<Duration>,
    /// How long nothing happens at most when it is long.
    pub(crate) long_wait: Duration,
    /// Writer and reader are frozen together.
    pub(crate) freeze_odds: u64,
    /// So many VLSNs come late in each of two places that were passed, and take turns.
    pub(crate) alternating: u64,
    /// They come all at once, with more behind them than the window has room for.
    pub(crate) is_crowded: bool,
    /// A recovery comes once in so many steps.
    pub(crate) recover_odds: u64,
    pub(crate) ending: Ending,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Plan {
        let settle = Duration::from_millis(rng.pick(&[200, 1000, 3000]));
        let gap_patience = settle * rng.pick(&[10, 20]);
        // Some of the habits, with some frequency.
        let mut some = |one_in: u64, odds: &[u64]| {
            if rng.one_in(one_in) { rng.pick(odds) } else { 0 }
        };
        let mut writer = WriterPlan {
            file_bytes_max: 0,
            chunk_bytes_max: 0,
            late_odds: some(2, &[3, 10, 40]),
            late_appends_max: 30,
            untagged_odds: some(2, &[2, 5, 20]),
            bad_vlsn_odds: some(6, &[4]),
            large_odds: some(3, &[5, 30]),
            large_bytes_max: 3000,
            v2_odds: some(3, &[1, 2, 4]),
            nameless_odds: some(3, &[2, 6]),
            disorder_odds: some(2, &[2, 5]),
            split_odds: some(3, &[2, 5]),
            flush_within: settle * 6 / 10,
            complete_within: settle * 6 / 10,
            append_within: gap_patience * 4 / 10,
        };
        let meanwhile_odds = some(2, &[2, 4]);
        let long_wait_odds = some(3, &[5, 20]);
        let backup_odds = some(5, &[20, 40]);
        let crash_odds = some(5, &[20, 60]);
        let power_odds = some(20, &[40]);
        let cleaner_odds = some(6, &[10, 30]);
        let rollback_odds = some(6, &[20, 50]);
        let repeat_odds = some(8, &[15]);
        let limit_odds = some(6, &[5]);
        let fault_odds = some(12, &[25]);
        let damage_odds = some(15, &[60]);
        let reconnect_odds = some(6, &[25]);
        writer.file_bytes_max = rng.pick(&[80, 200, 500, 2000, 20_000]);
        writer.chunk_bytes_max = rng.pick(&[1, 60, 200, 1000, 5000]);
        // Holes that stay for longer than a reader waits before it looks for a way across.
        if rng.one_in(4) {
            writer.flush_within = settle * 25 / 10;
        }
        let first_vlsn = if rng.one_in(4) { 1 + rng.below(2000) } else { 1 };
        let from = match rng.below(8) {
            0 => 0,
            1 => 1,
            2 => first_vlsn + rng.below(60),
            _ => first_vlsn,
        };
        let mut plan = Plan {
            steps: rng.within(10, 120),
            commits_max: rng.pick(&[1, 4, 10]),
            writer,
            options: ScannerOptions {
                tail: TailOptions {
                    settle,
                    read_bytes: rng.pick(&[64, 200, 1000, 4096, 65_536]),
                    proof_bytes_max: 64 * 1024 * 1024,
                },
                window: WindowLimits {
                    entries_max: if rng.one_in(5) { rng.pick(&[8, 50]) } else { 256 * 1024 },
                    bytes_max: if rng.one_in(10) { 1000 } else { 1 << 30 },
                },
                gap_patience,
                waits_when_ahead: false,
            },
            budget: u64::MAX,
            stamps: rng.pick(&[
                Stamps::Ticking(1),
                Stamps::Ticking(100),
                Stamps::Ticking(1000),
                Stamps::Ticking(2000),
                Stamps::Useless,
            ]),
            first_vlsn,
            from,
            is_streamed: rng.one_in(3),
            meanwhile_odds,
            long_wait_odds,
            backup_odds,
            crash_odds,
            crash_is_clean: rng.one_in(2),
            power_odds,
            cleaner_odds,
            rollback_odds,
            repeat_odds,
            limit_odds,
            fault_odds,
            damage_odds,
            reconnect_odds,
            short_read_odds: if rng.one_in(2) { 3 } else { 0 },
            attentive: None,
            long_wait: settle * 3,
            freeze_odds: 0,
            alternating: 0,
            is_crowded: false,
            recover_odds: 3,
            ending: match rng.below(16) {
                0 => Ending::Unflushed,
                1 => Ending::NeverAppended,
                2 => Ending::Crashed,
                3..=6 => Ending::Damaged,
                _ => Ending::Whole,
            },
        };
        plan.budget = [u64::MAX, 1, 2000][(plan.steps % 3) as usize];
        if rng.one_in(3) {
            // Later by more would be late.
            plan.attentive = Some(rng.pick(&[Duration::ZERO, settle / 4]));
            plan.freeze_odds = if rng.one_in(3) { 10 } else { 0 };
        }
        match rng.below(1500) {
            0..=1 => plan.draw_deep(rng),
            2..=60 => plan.draw_holes(rng),
            61..=120 => plan.draw_left_files(rng),
            121..=180 => plan.draw_slow(rng),
            181..=240 => plan.draw_dawdling(rng),
            241..=270 => plan.draw_alternating(rng),
            271..=290 => plan.draw_crowded(rng),
            _ => {}
        }
        plan
    }

    /// Nothing happens but what writers do every day, and the reader is asked when it wants to be.
    fn draw_quiet(&mut self, rng: &mut Rng) {
        self.attentive = Some(rng.pick(&[Duration::ZERO, self.options.tail.settle / 4]));
        for odds in [
            &mut self.backup_odds,
            &mut self.crash_odds,
            &mut self.power_odds,
            &mut self.cleaner_odds,
            &mut self.rollback_odds,
            &mut self.repeat_odds,
            &mut self.limit_odds,
            &mut self.fault_odds,
            &mut self.damage_odds,
        ] {
            *odds = 0;
        }
        self.options.window = WindowLimits { entries_max: 256 * 1024, bytes_max: 1 << 30 };
        self.from = self.first_vlsn;
        self.steps = rng.within(60, 160);
        self.long_wait_odds = 1;
        self.ending = Ending::Whole;
    }

    /// Holes that stand until they are crossed, with what comes next behind them.
    fn draw_holes(&mut self, rng: &mut Rng) {
        self.draw_quiet(rng);
        self.writer.flush_within = self.options.tail.settle * 25 / 10;
        self.writer.late_odds = 3;
        self.writer.late_appends_max = 6;
        self.writer.large_odds = 0;
        self.writer.disorder_odds = 2;
        self.writer.chunk_bytes_max = rng.pick(&[1, 60, 150]);
        self.writer.file_bytes_max = 20_000;
    }

    /// Files that are left before they are complete, as nothing says how long they are.
    fn draw_left_files(&mut self, rng: &mut Rng) {
        self.draw_quiet(rng);
        self.writer.nameless_odds = 1;
        self.writer.late_odds = rng.pick(&[0, 3]);
        self.writer.late_appends_max = 6;
        self.writer.disorder_odds = 2;
        self.writer.chunk_bytes_max = rng.pick(&[1, 60]);
        self.writer.file_bytes_max = rng.pick(&[80, 200, 500]);
        if rng.one_in(3) {
            self.options.window = WindowLimits { entries_max: 256 * 1024, bytes_max: 400 };
        }
    }

    /// Buffers that are written so slowly that it looks like damage.
    fn draw_slow(&mut self, rng: &mut Rng) {
        self.draw_quiet(rng);
        let settle = self.options.tail.settle;
        self.writer.flush_within = settle * 25 / 10;
        self.writer.complete_within = settle * 25 / 10;
        self.writer.split_odds = 2;
        self.writer.disorder_odds = 2;
        self.writer.chunk_bytes_max = rng.pick(&[60, 200, 1000]);
        self.writer.file_bytes_max = rng.pick(&[200, 2000]);
        self.writer.append_within = settle;
        self.options.gap_patience = settle * 20;
        self.crash_odds = rng.pick(&[0, 8]);
        self.recover_odds = 15;
    }

    /// VLSNs that are taken, and appended nearly as late as a reader waits.
    fn draw_dawdling(&mut self, rng: &mut Rng) {
        self.draw_quiet(rng);
        let patience = self.options.gap_patience;
        self.writer.late_odds = 4;
        self.writer.late_appends_max = 1_000_000;
        self.writer.flush_within = self.options.tail.settle / 4;
        self.writer.append_within = patience - self.options.tail.settle * 3 / 10;
        self.writer.disorder_odds = 0;
        self.writer.split_odds = 0;
        self.long_wait = patience / 3;
    }

    /// See [`alternating`](Plan::alternating).
    fn draw_alternating(&mut self, rng: &mut Rng) {
        self.draw_quiet(rng);
        self.alternating = rng.pick(&[1, 2, 12, 12, 520]);
        self.writer.large_odds = 0;
        self.is_streamed = false;
        self.reconnect_odds = 0;
        self.meanwhile_odds = 0;
        self.freeze_odds = 0;
        self.steps = rng.within(5, 30);
    }

    /// See [`is_crowded`](Plan::is_crowded).
    fn draw_crowded(&mut self, rng: &mut Rng) {
        self.draw_alternating(rng);
        self.alternating = rng.within(1, 3);
        self.is_crowded = true;
        self.writer.late_odds = 0;
        self.writer.disorder_odds = 0;
        self.options.window = rng.pick(&[
            WindowLimits { entries_max: 256 * 1024, bytes_max: 400 },
            WindowLimits { entries_max: 8, bytes_max: 1 << 30 },
        ]);
    }

    /// Disorder as deep as it has been seen, and ten times that.
    fn draw_deep(&mut self, rng: &mut Rng) {
        self.steps = 40;
        self.budget = u64::MAX;
        self.writer.late_odds = 300;
        self.writer.late_appends_max = if rng.one_in(8) { 100_000 } else { 10_000 };
        self.commits_max = self.writer.late_appends_max / 8;
        self.writer.large_odds = 0;
        self.writer.untagged_odds = 20;
        self.writer.file_bytes_max = 300_000;
        self.writer.chunk_bytes_max = 20_000;
        self.writer.split_odds = 0;
        self.options.tail.read_bytes = 65_536;
        self.options.window = WindowLimits { entries_max: 256 * 1024, bytes_max: 1 << 30 };
        self.rollback_odds = 0;
        self.repeat_odds = 0;
        self.is_streamed = false;
        self.reconnect_odds = 0;
        self.fault_odds = 0;
    }

    /// Where readers begin. From nowhere in particular they seek, into the middle of the log: then a small window can
    /// be too small for what is in good order, so with one they begin at the beginning.
    pub(crate) fn start(&self, first_file: u32) -> Lsn {
        let window = self.options.window;
        let is_small = window.entries_max < 1000 || window.bytes_max < 10_000;
        if is_small { Lsn::new(first_file, 1) } else { Lsn::NULL }
    }

    /// Whether nothing in it needs time to be understood: what is on disk has to come at once.
    pub(crate) fn is_calm(&self) -> bool {
        self.writer.disorder_odds == 0
            && self.alternating == 0
            && self.backup_odds == 0
            && self.crash_odds == 0
            && self.power_odds == 0
            && self.cleaner_odds == 0
            && self.damage_odds == 0
            // A repeat can mislead who seeks; that is found out when things stand still.
            && self.repeat_odds == 0
            && self.from > 0
    }
}
