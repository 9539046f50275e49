//! The logs that are measured on: made once by the real crates, and used again by every run.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::commit::Commit;
use crate::entries::EntryMix;
use crate::generation::Generation;
use crate::make_log::MakeLog;
use crate::reader::{LogReader, log_files};
use crate::sizes::PayloadSize;
use crate::writer::{Writer, log_bytes};
use crate::{Error, Result};

/// What is in a log.
#[derive(Debug, Clone, Copy)]
pub enum Content {
    /// Records of one size, and nothing else.
    Records(usize),
    /// Records of these sizes, commits, and entries without a VLSN.
    Mixed(usize, usize),
    /// Commits of a real environment, by so many threads at once.
    Commits(u64),
    /// The entries of another log, in the order of their VLSNs.
    Sorted(&'static str),
}

/// A log that is measured on.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its directory's name.
    pub name: &'static str,
    /// What is in it.
    pub content: Content,
    /// How many replicated entries.
    pub entries: u64,
    /// Size from which the writer starts another file.
    pub file_max: u64,
}

const ONE_FILE: u64 = 3 << 30;

const fn spec(name: &'static str, content: Content, entries: u64, file_max: u64) -> Spec {
    Spec { name, content, entries, file_max }
}

/// All logs, some 7 GiB. The `-short` ones have the first entries of the others: the original would take minutes.
pub const SPECS: &[Spec] = &[
    spec("100", Content::Records(100), 4_000_000, ONE_FILE),
    spec("100-short", Content::Records(100), 60_000, ONE_FILE),
    spec("1k", Content::Records(1024), 900_000, ONE_FILE),
    spec("1k-short", Content::Records(1024), 50_000, ONE_FILE),
    spec("1k-many", Content::Records(1024), 100_000, ONE_FILE),
    spec("1k-files", Content::Records(1024), 900_000, 9_000 * 1046 + 100),
    spec("1k-files-short", Content::Records(1024), 20_000, 200 * 1046 + 100),
    spec("16k", Content::Records(16 << 10), 131_072, 4_096 * 16_406 + 100),
    spec("16k-short", Content::Records(16 << 10), 10_000, ONE_FILE),
    spec("1m", Content::Records(1 << 20), 1_200, ONE_FILE),
    spec("1m-short", Content::Records(1 << 20), 250, ONE_FILE),
    spec("256", Content::Records(256), 200_000, ONE_FILE),
    spec("mixed", Content::Mixed(50, 4000), 400_000, 10 << 20),
    spec("mixed-short", Content::Mixed(50, 4000), 40_000, 10 << 20),
    spec("disorder", Content::Commits(8), 3_000_000, 1 << 30),
    spec("order", Content::Sorted("disorder"), 3_000_000, 1 << 30),
];

/// The log of this name.
pub fn named(name: &str) -> &'static Spec {
    SPECS.iter().find(|spec| spec.name == name).expect("the names are all in this program")
}

/// How much is read at once to have it in memory.
const WARM_BYTES: usize = 1 << 20;

/// Written last, with what the log was made from.
const MARK: &str = "made";

impl Spec {
    /// Where it is below the directory of all logs.
    pub fn dir(&self, logs: &Path) -> PathBuf {
        logs.join(self.name)
    }

    /// Its length in bytes.
    pub fn bytes(&self, logs: &Path) -> Result<u64> {
        log_bytes(&self.dir(logs))
    }

    /// The length of its longest file in bytes.
    pub fn longest_file(&self, logs: &Path) -> Result<u64> {
        let mut longest = 0;
        for file in log_files(&self.dir(logs))? {
            longest = longest.max(fs::metadata(&file.path).map_err(|e| Error::at(&file.path, e))?.len());
        }
        Ok(longest)
    }

    /// Makes it, unless it is there. True: it was made.
    pub fn make(&self, logs: &Path) -> Result<bool> {
        let dir = self.dir(logs);
        let mark = logs.join(format!("{}.{MARK}", self.name));
        let wanted = format!("{:?}\n", (self.content, self.entries, self.file_max));
        if fs::read_to_string(&mark).is_ok_and(|made| made == wanted) {
            return Ok(false);
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(|e| Error::at(&dir, e))?;
        }
        fs::create_dir_all(&dir).map_err(|e| Error::at(&dir, e))?;
        self.write(logs, &dir)?;
        fs::write(&mark, wanted).map_err(|e| Error::at(&mark, e))?;
        Ok(true)
    }

    fn write(&self, logs: &Path, dir: &Path) -> Result<()> {
        let make = |min, max, untagged_every, commit_every| {
            let mix = EntryMix { payload: PayloadSize::between(min, max), untagged_every, commit_every, seed: 1 };
            let (dir, entries, file_max) = (dir.to_path_buf(), self.entries, self.file_max);
            MakeLog { dir, entries, first_vlsn: 1, file_max, format: Generation::Seven, mix }.run().map(drop)
        };
        match self.content {
            Content::Records(size) => make(size, size, 0, 0),
            Content::Mixed(min, max) => make(min, max, 10, 16),
            Content::Commits(threads) => {
                let (dir, commits, file_max) = (dir.to_path_buf(), self.entries, self.file_max);
                Commit { dir, threads, commits, file_max, no_flush: false, backup_after: None }.run().map(drop)
            }
            Content::Sorted(other) => sort(&named(other).dir(logs), dir, self.file_max),
        }
    }

    /// Has the system keep it in memory.
    pub fn warm(&self, logs: &Path) -> Result<()> {
        let mut buffer = vec![0; WARM_BYTES];
        for file in log_files(&self.dir(logs))? {
            let mut open = fs::File::open(&file.path).map_err(|e| Error::at(&file.path, e))?;
            while open.read(&mut buffer).map_err(|e| Error::at(&file.path, e))? > 0 {}
        }
        Ok(())
    }
}

fn sort(from: &Path, to: &Path, file_max: u64) -> Result<()> {
    let mut entries = Vec::new();
    let mut reader = LogReader::open(from)?;
    while let Some(entry) = reader.next_entry()? {
        if let Some(vlsn) = entry.vlsn.filter(|_| entry.visible) {
            entries.push((vlsn, entry.entry_type, entry.payload.to_vec()));
        }
    }
    entries.sort_unstable_by_key(|&(vlsn, ..)| vlsn);
    let writer = Writer::open(to, Generation::Seven, file_max)?;
    for (vlsn, entry_type, payload) in &entries {
        writer.append(Some(*vlsn), *entry_type, payload)?;
    }
    writer.close()
}
