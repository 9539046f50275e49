//! `append`: a writer process that opens a log as the real one does after a restart, and goes on.
//!
//! It may be killed at any moment and started again. With the same seed it writes the same history
//! again where its predecessor's end was lost; with another, a different one.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::Result;
use crate::entries::EntryMix;
use crate::generation::Generation;
use crate::make_log::append_entry;
use crate::sizes::parse_bytes;
use crate::summary::{Made, Summary};
use crate::writer::{Writer, check_fits};

/// Opens a log, new or left by a crash, through upstream's recovery, and appends to it
#[derive(Debug, Clone, Args)]
pub struct Append {
    /// Where the log is, or will be
    #[arg(long)]
    pub dir: PathBuf,
    /// How many replicated entries to append; without this and --until-vlsn: until killed
    #[arg(long, value_name = "N", conflicts_with = "until_vlsn")]
    pub entries: Option<u64>,
    /// Append until the log holds this VLSN
    #[arg(long, value_name = "V")]
    pub until_vlsn: Option<u64>,
    /// Size from which the writer starts another file
    #[arg(long, default_value = "10M", value_name = "BYTES", value_parser = parse_bytes)]
    pub file_max: u64,
    /// Replicated entries a second; 0: as fast as possible
    #[arg(long, default_value_t = 0, value_name = "R")]
    pub per_second: u32,
    /// Show readers what was written after every K entries, and before every pause
    #[arg(long, default_value_t = 100, value_name = "K")]
    pub flush_every: u64,
    /// Make every flush durable, too
    #[arg(long)]
    pub sync: bool,
    /// Whose log manager writes
    #[arg(long, default_value = "7")]
    pub format: Generation,
    /// What the entries are
    #[command(flatten)]
    pub mix: EntryMix,
}

impl Append {
    /// Opens the log, tells `opened` where it stands, and appends; durable when this returns.
    pub fn run(&self, opened: impl FnOnce(&Opened)) -> Result<Made> {
        check_fits(self.mix.payload.max(), self.file_max)?;
        let writer = Writer::open(&self.dir, self.format, self.file_max)?;
        let before = Summary::last_vlsn(&self.dir)?;
        opened(&Opened { last: before, cut: writer.cut() });
        let first = before + 1;
        let last = self.write(&writer, first)?;
        writer.close()?;
        Made::in_log(&self.dir, last + 1 - first, first, last)
    }

    /// Writes from `first` on, and gives the last VLSN written.
    fn write(&self, writer: &Writer, first: u64) -> Result<u64> {
        let last = self.last_vlsn(first);
        let pace = Pace::new(self.per_second);
        for vlsn in first..=last {
            let written = vlsn - first;
            if let Some(pause) = pace.pause_before(written) {
                self.flush(writer)?;
                thread::sleep(pause);
            }
            append_entry(writer, &self.mix, vlsn)?;
            if (written + 1).checked_rem(self.flush_every) == Some(0) {
                self.flush(writer)?;
            }
        }
        Ok(last)
    }

    fn last_vlsn(&self, first: u64) -> u64 {
        match (self.entries, self.until_vlsn) {
            (Some(entries), _) => (first - 1).saturating_add(entries),
            (None, Some(until)) => until.max(first - 1),
            (None, None) => i64::MAX.cast_unsigned(),
        }
    }

    fn flush(&self, writer: &Writer) -> Result<()> {
        if self.sync { writer.sync() } else { writer.flush() }
    }
}

/// Where a log stood when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The highest VLSN in it; 0 if it holds none.
    pub last: u64,
    /// The bytes that recovery cut away.
    pub cut: u64,
}

/// An even rate of entries.
struct Pace {
    start: Instant,
    between: Option<Duration>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        let between = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Self { start: Instant::now(), between }
    }

    /// How long to wait before the entry of this index, if at all.
    fn pause_before(&self, index: u64) -> Option<Duration> {
        let due = self.between?.as_secs_f64() * index as f64;
        let now = self.start.elapsed().as_secs_f64();
        (due > now).then(|| Duration::from_secs_f64(due - now))
    }
}
