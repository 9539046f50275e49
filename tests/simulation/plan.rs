//! What a run is made of: each seed switches habits and accidents on and off and sets every size, so that some runs
//! are calm, some have one kind of trouble, and some have all of them at once.

use std::time::Duration;

use noxu_feeder::log::ScannerOptions;
use noxu_feeder::log::format::Lsn;
use noxu_feeder::log::order::WindowLimits;
use noxu_feeder::log::tail::TailOptions;

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
            },
            budget: u64::MAX,
            stamps: rng.pick(&[Stamps::Ticking(1), Stamps::Ticking(100), Stamps::Ticking(2000), Stamps::Useless]),
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
            short_read_odds: 0,
            ending: match rng.below(16) {
                0 => Ending::Unflushed,
                1 => Ending::NeverAppended,
                2 => Ending::Crashed,
                3..=6 => Ending::Damaged,
                _ => Ending::Whole,
            },
        };
        plan.budget = [u64::MAX, 1, 2000][(plan.steps % 3) as usize];
        if rng.one_in(1500) {
            plan.draw_deep(rng);
        }
        plan
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
