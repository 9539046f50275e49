//! What a log holds, in numbers.

use std::fmt::{self, Display};
use std::path::Path;

use crate::Result;
use crate::reader::{LogReader, log_files};
use crate::writer::log_bytes;

/// More than the numbers that eight committing threads were seen to leave an entry behind: some 14 000.
const FURTHEST_BACK: u64 = 1 << 15;

/// What the visible, replicated entries of a log amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many there are, repeats included.
    pub entries: u64,
    /// The lowest VLSN; 0 without entries.
    pub first: u64,
    /// The highest VLSN; 0 without entries.
    pub last: u64,
    /// How many stand behind a higher VLSN.
    pub out_of_order: u64,
    /// The furthest that one of them stands behind the highest before it, in VLSNs.
    pub furthest_back: u64,
}

impl Summary {
    /// Reads the whole log in `dir`.
    pub fn of_log(dir: &Path) -> Result<Self> {
        Self::of(LogReader::open(dir)?)
    }

    fn of(mut reader: LogReader) -> Result<Self> {
        let mut summary = Self::default();
        while let Some(entry) = reader.next_entry()? {
            if let Some(vlsn) = entry.vlsn.filter(|_| entry.visible) {
                summary.count(vlsn);
            }
        }
        Ok(summary)
    }

    /// The highest visible VLSN in the log in `dir`, found from its end; 0 if there is none.
    ///
    /// Reads back until the files are older than any entry that could stand out of order.
    pub fn last_vlsn(dir: &Path) -> Result<u64> {
        let mut last = 0;
        for file in log_files(dir)?.into_iter().rev() {
            let in_file = Self::of(LogReader::of_files(vec![file]))?;
            last = in_file.last.max(last);
            if in_file.entries > 0 && in_file.last + FURTHEST_BACK < last {
                break;
            }
        }
        Ok(last)
    }

    fn count(&mut self, vlsn: u64) {
        if vlsn < self.last {
            self.out_of_order += 1;
            self.furthest_back = self.furthest_back.max(self.last - vlsn);
        }
        self.entries += 1;
        self.first = if self.entries == 1 { vlsn } else { self.first.min(vlsn) };
        self.last = self.last.max(vlsn);
    }
}

/// The last line of every subcommand that writes a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Replicated entries written.
    pub entries: u64,
    /// Log files in the directory.
    pub files: usize,
    /// Their length.
    pub bytes: u64,
    /// The lowest VLSN written; 0 if none was.
    pub first: u64,
    /// The highest.
    pub last: u64,
}

impl Made {
    /// For entries written to the log in `dir`.
    pub fn in_log(dir: &Path, entries: u64, first: u64, last: u64) -> Result<Self> {
        let (first, last) = if entries == 0 { (0, 0) } else { (first, last) };
        Ok(Self { entries, files: log_files(dir)?.len(), bytes: log_bytes(dir)?, first, last })
    }
}

impl Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, files, bytes, first, last } = self;
        write!(f, "made entries={entries} files={files} bytes={bytes} first={first} last={last}")
    }
}
