//! `roll-back`: entries made invisible as the real replica's rollback makes them.
//!
//! Upstream flips the invisible bit of each entry in place and leaves the CRC alone. What is appended
//! afterwards is the new history, at the same VLSNs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::reader::LogReader;
use crate::{Error, Result};

/// Makes the entries above a VLSN invisible, with upstream's own code
#[derive(Debug, Clone, Args)]
pub struct RollBack {
    /// Where the log is
    #[arg(long)]
    pub dir: PathBuf,
    /// The last VLSN that stays
    #[arg(long, value_name = "V")]
    pub to_vlsn: u64,
}

impl RollBack {
    /// Rolls back, durably; gives how many entries became invisible.
    pub fn run(&self) -> Result<u64> {
        // Neither the size of a new file nor the number of open ones matters here.
        let files = noxu_log::FileManager::new(&self.dir, false, u64::MAX, 1);
        let files = files.map_err(|e| Error::at(&self.dir, e))?;
        let above = self.entries_above()?;
        for (&file, offsets) in &above {
            files.make_invisible(file, offsets).map_err(|e| Error::at(&self.dir, e))?;
        }
        let touched: Vec<u32> = above.keys().copied().collect();
        files.force(&touched).map_err(|e| Error::at(&self.dir, e))?;
        Ok(above.values().map(|offsets| offsets.len() as u64).sum())
    }

    /// The offsets to flip, by file.
    fn entries_above(&self) -> Result<BTreeMap<u32, Vec<u32>>> {
        let mut reader = LogReader::open(&self.dir)?;
        let mut above: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        while let Some(entry) = reader.next_entry()? {
            if entry.visible && entry.vlsn.is_some_and(|vlsn| vlsn > self.to_vlsn) {
                let offset = u32::try_from(entry.offset).map_err(|e| Error::at(&self.dir, e))?;
                above.entry(entry.file).or_default().push(offset);
            }
        }
        Ok(above)
    }
}
