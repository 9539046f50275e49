//! `list`: what a log should yield, a line an entry, as the independent reader sees it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use crate::Result;
use crate::reader::LogReader;

/// Lists VLSN, type and CRC-32 of the payload of every replicated, visible entry, in VLSN order
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Where the log is
    #[arg(long)]
    pub dir: PathBuf,
}

impl List {
    /// The lines; of a VLSN that stands in the log more than once, the first.
    pub fn run(&self) -> Result<String> {
        let mut reader = LogReader::open(&self.dir)?;
        let mut entries = BTreeMap::new();
        while let Some(entry) = reader.next_entry()? {
            if let Some(vlsn) = entry.vlsn.filter(|_| entry.visible) {
                entries.entry(vlsn).or_insert((entry.entry_type, crc32fast::hash(entry.payload)));
            }
        }
        let mut lines = String::new();
        for (vlsn, (entry_type, crc)) in entries {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{vlsn} {entry_type} {crc:08x}");
        }
        Ok(lines)
    }
}
