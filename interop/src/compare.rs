//! `compare`: whether a replica holds what its master's log holds.
//!
//! Every replicated, visible entry must be there with the same VLSN, type and payload, in any order on
//! disk. The entries' positions, flags and CRCs may differ, and so may what has no VLSN. Both logs are read
//! as streams; what is kept is a hash per entry of the master.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::reader::{Entry, LogReader};
use crate::{Error, Result};

/// Compares a replica's log with its master's
#[derive(Debug, Clone, Args)]
pub struct Compare {
    /// The master's directory
    #[arg(long)]
    pub master: PathBuf,
    /// The replica's directory; a 6.2.0 replica's VLSNs are taken from its vlsn.idx
    #[arg(long)]
    pub replica: PathBuf,
    /// The replica may hold less, as long as it ends at some VLSN and lacks none below
    #[arg(long)]
    pub prefix: bool,
}

/// The outcome of a comparison that found no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equal {
    /// Different VLSNs held by the replica.
    pub entries: u64,
}

impl Display for Equal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica holds {} entries, equal", self.entries)
    }
}

impl Compare {
    /// Compares; the first difference, by VLSN, is the error.
    pub fn run(&self) -> Result<Equal> {
        let master = Held::by_master(&self.master)?;
        let replica = Held::by_replica(&self.replica)?;
        master.must_equal(&replica, self.prefix)?;
        Ok(Equal { entries: replica.count() })
    }
}

/// The type and the hash of one entry's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    entry_type: u8,
    hash: u64,
}

impl Print {
    fn of(entry: &Entry<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(entry.payload);
        Self { entry_type: entry.entry_type, hash: hasher.finish() }
    }
}

/// What one log holds, by VLSN. VLSNs are dense, so a slot per number from the lowest on is small.
struct Held {
    first: u64,
    prints: Vec<Option<Print>>,
}

impl Held {
    fn by_master(dir: &Path) -> Result<Self> {
        let mut reader = LogReader::open(dir)?;
        let mut held = Self { first: 0, prints: Vec::new() };
        while let Some(entry) = reader.next_entry()? {
            if let Some(vlsn) = entry.vlsn.filter(|_| entry.visible) {
                held.add(dir, vlsn, &entry)?;
            }
        }
        Ok(held)
    }

    /// As for a master, unless the log has a VLSN index and no entry with a VLSN: then it is a 6.2.0 one.
    fn by_replica(dir: &Path) -> Result<Self> {
        let held = Self::by_master(dir)?;
        match noxu_rep_6::vlsn::load_from_disk(dir).map_err(|e| Error::at(dir, e))? {
            Some(index) if held.prints.is_empty() => Self::by_index(dir, &index),
            _ => Ok(held),
        }
    }

    fn by_index(dir: &Path, index: &noxu_rep_6::vlsn::VlsnIndex) -> Result<Self> {
        let positions: HashMap<(u32, u64), u64> = index
            .snapshot_entries()
            .into_iter()
            .map(|(vlsn, file, offset)| ((file, u64::from(offset)), vlsn))
            .collect();
        let mut reader = LogReader::open(dir)?;
        let mut held = Self { first: 0, prints: Vec::new() };
        let mut next = None;
        while let Some(entry) = reader.next_entry()? {
            // An entry that the index leaves out follows its predecessor.
            if let Some(vlsn) = positions.get(&(entry.file, entry.offset)).copied().or(next) {
                held.add(dir, vlsn, &entry)?;
                next = Some(vlsn + 1);
            }
        }
        Ok(held)
    }

    fn add(&mut self, dir: &Path, vlsn: u64, entry: &Entry<'_>) -> Result<()> {
        let print = Print::of(entry);
        match self.slot(dir, vlsn)? {
            slot @ None => *slot = Some(print),
            Some(known) if *known == print => {}
            Some(_) => {
                let at = format_args!("file {:08x} offset {}", entry.file, entry.offset).to_string();
                let text = format_args!("VLSN {vlsn} is there twice, and differs ({at})").to_string();
                return Err(Error::at(dir, text));
            }
        }
        Ok(())
    }

    fn slot(&mut self, dir: &Path, vlsn: u64) -> Result<&mut Option<Print>> {
        if self.prints.is_empty() {
            self.first = vlsn;
        }
        if vlsn < self.first {
            let missing = self.index(dir, self.first - vlsn)?;
            self.prints.splice(..0, std::iter::repeat_n(None, missing));
            self.first = vlsn;
        }
        let index = self.index(dir, vlsn - self.first)?;
        if index >= self.prints.len() {
            self.prints.resize(index + 1, None);
        }
        Ok(&mut self.prints[index])
    }

    /// Keeps a wild VLSN from claiming all memory: a log's numbers lie close together.
    fn index(&self, dir: &Path, distance: u64) -> Result<usize> {
        const FAR: u64 = 1 << 24;
        match usize::try_from(distance) {
            Ok(index) if distance < self.prints.len() as u64 + FAR => Ok(index),
            _ => Err(Error::at(dir, format_args!("a VLSN is {distance} away from VLSN {}", self.first))),
        }
    }

    fn count(&self) -> u64 {
        self.prints.iter().flatten().count() as u64
    }

    fn get(&self, vlsn: u64) -> Option<Print> {
        let index = usize::try_from(vlsn.checked_sub(self.first)?).ok()?;
        self.prints.get(index).copied().flatten()
    }

    fn end(&self) -> u64 {
        self.first + self.prints.len() as u64
    }

    /// Fails with the lowest VLSN at which `replica` differs from this master.
    fn must_equal(&self, replica: &Self, prefix: bool) -> Result<()> {
        let sides = [self, replica].into_iter().filter(|side| !side.prints.is_empty());
        let (first, end) = sides.fold((u64::MAX, 0), |(first, end), side| (first.min(side.first), end.max(side.end())));
        let end = if prefix { replica.end() } else { end };
        for vlsn in first..end {
            match (self.get(vlsn), replica.get(vlsn)) {
                (master, copy) if master == copy => {}
                (Some(_), None) => return Err(differs(vlsn, "the replica lacks it")),
                (None, _) => return Err(differs(vlsn, "only the replica has it")),
                (Some(master), Some(copy)) if master.entry_type != copy.entry_type => {
                    let types = format!("type {} became {}", master.entry_type, copy.entry_type);
                    return Err(differs(vlsn, &types));
                }
                _ => return Err(differs(vlsn, "the payloads differ")),
            }
        }
        Ok(())
    }
}

fn differs(vlsn: u64, how: &str) -> Error {
    Error::new(format_args!("VLSN {vlsn}: {how}"))
}
