//! `make-log`: a real log of a wanted size and mix, in an empty directory.

use std::path::PathBuf;

use clap::Args;

use crate::entries::EntryMix;
use crate::generation::Generation;
use crate::reader::log_files;
use crate::sizes::parse_bytes;
use crate::summary::Made;
use crate::writer::{Writer, check_fits};
use crate::{Error, Result};

/// Makes a real log with upstream's log manager
#[derive(Debug, Clone, Args)]
pub struct MakeLog {
    /// Where the log goes; must not hold one yet
    #[arg(long)]
    pub dir: PathBuf,
    /// How many replicated entries
    #[arg(long, value_name = "N")]
    pub entries: u64,
    /// VLSN of the first one
    #[arg(long, default_value_t = 1, value_name = "V")]
    pub first_vlsn: u64,
    /// Size from which the writer starts another file
    #[arg(long, default_value = "10M", value_name = "BYTES", value_parser = parse_bytes)]
    pub file_max: u64,
    /// Whose log manager writes
    #[arg(long, default_value = "7")]
    pub format: Generation,
    /// What the entries are
    #[command(flatten)]
    pub mix: EntryMix,
}

impl MakeLog {
    /// Makes the log, durable when this returns.
    pub fn run(&self) -> Result<Made> {
        self.check()?;
        let writer = Writer::open(&self.dir, self.format, self.file_max)?;
        let last = self.first_vlsn + self.entries - 1;
        for vlsn in self.first_vlsn..=last {
            append_entry(&writer, &self.mix, vlsn)?;
        }
        writer.close()?;
        Made::in_log(&self.dir, self.entries, self.first_vlsn, last)
    }

    fn check(&self) -> Result<()> {
        if self.entries == 0 {
            return Err(Error::new("--entries must be at least 1"));
        }
        if self.first_vlsn == 0 || self.first_vlsn.checked_add(self.entries).is_none_or(|end| end > MAX_VLSN) {
            return Err(Error::new("--first-vlsn and --entries leave the VLSNs, which run from 1 to 2^63 - 1"));
        }
        if self.dir.exists() && !log_files(&self.dir)?.is_empty() {
            return Err(Error::at(&self.dir, "holds a log already; append continues one"));
        }
        check_fits(self.mix.payload.max(), self.file_max)
    }
}

/// VLSNs are signed on disk.
const MAX_VLSN: u64 = i64::MAX as u64;

/// Appends the replicated entry at `vlsn`, and the one without a VLSN that follows it, if one does.
pub(crate) fn append_entry(writer: &Writer, mix: &EntryMix, vlsn: u64) -> Result<()> {
    let made = mix.replicated(vlsn);
    writer.append(Some(vlsn), made.entry_type.type_num(), &made.payload)?;
    match mix.untagged_after(vlsn) {
        Some(made) => writer.append(None, made.entry_type.type_num(), &made.payload),
        None => Ok(()),
    }
}
