//! How much of a log stands behind a position: asked for now and then, by whoever wants to know how far behind a reader
//! is. What does not change any more is asked of the file system once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::time::Instant;

use parking_lot::Mutex;

use super::files::{Files, Listing};
use crate::lsn::Lsn;

/// See the module's comment. Any thread.
#[derive(Debug, Default)]
pub struct Extent {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    listing: Listing,
    /// Lengths of files by number, but of the newest; for this state of the listing.
    lens: BTreeMap<u32, u64>,
    epoch: u64,
}

/// How many files, from the newest on, may still grow: the live one, and the one before, which a writer may have left
/// unfinished.
const LIVE: usize = 2;

impl Extent {
    /// How many bytes the log's files have from `position` on.
    pub fn bytes_from(&self, files: &dyn Files, position: Lsn) -> io::Result<u64> {
        // No lock is held while the file system is asked: who comes meanwhile finds nothing known, and asks by itself.
        let mut known = std::mem::take(&mut *self.known.lock());
        let bytes = known.bytes_from(files, position, Instant::now());
        *self.known.lock() = known;
        bytes
    }
}

impl Known {
    fn bytes_from(&mut self, files: &dyn Files, position: Lsn, now: Instant) -> io::Result<u64> {
        let Known { listing, lens, epoch } = self;
        listing.refresh(files, now)?;
        let numbers = listing.numbers();
        let sealed = &numbers[..numbers.len().saturating_sub(LIVE)];
        if std::mem::replace(epoch, listing.epoch()) != listing.epoch() {
            lens.retain(|number, _| sealed.binary_search(number).is_ok());
        }
        let mut bytes = 0;
        for (at, &number) in numbers.iter().enumerate().skip_while(|&(_, &number)| number < position.file()) {
            let ask = || files.len_of(number).map(|len| len.unwrap_or(0));
            let len = match lens.entry(number) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(place) if at < sealed.len() => *place.insert(ask()?),
                Entry::Vacant(_) => ask()?,
            };
            // Of the file of the position only what is behind it.
            let before = if number == position.file() { u64::from(position.offset()) } else { 0 };
            bytes += len.saturating_sub(before);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Directory;
    use crate::lsn::FileName;

    fn write(dir: &std::path::Path, number: u32, len: usize) {
        std::fs::write(dir.join(FileName(number).to_string()), vec![0; len]).unwrap();
    }

    #[test]
    fn the_bytes_behind_a_position_are_those_of_all_files_from_there_on() {
        let dir = tempfile::tempdir().unwrap();
        let (files, extent) = (Directory::open(dir.path()).unwrap(), Extent::default());
        let behind = |position| extent.bytes_from(&files, position).unwrap();
        assert_eq!(behind(Lsn::new(0, 36)), 0, "no file");
        for (number, len) in [(0, 1000), (1, 200), (3, 30), (7, 4)] {
            write(dir.path(), number, len);
        }
        assert_eq!(behind(Lsn::new(7, 0)), 4);
        assert_eq!(behind(Lsn::new(0, 900)), 334);
        assert_eq!(behind(Lsn::new(1, 0)), 234, "from further on, what is known already");
        assert_eq!(behind(Lsn::new(0, 0)), 1234);
        assert_eq!(behind(Lsn::new(3, 10)), 24);
        assert_eq!(behind(Lsn::new(2, 10)), 34, "in a file that is not there");
        assert_eq!((behind(Lsn::new(7, 4)), behind(Lsn::new(7, 9)), behind(Lsn::new(8, 0))), (0, 0, 0));
        write(dir.path(), 7, 5);
        write(dir.path(), 3, 31);
        assert_eq!(behind(Lsn::new(0, 0)), 1236, "files that may still grow");
        write(dir.path(), 8, 60_000);
        write(dir.path(), 7, 6);
        std::fs::remove_file(dir.path().join(FileName(0).to_string())).unwrap();
        assert_eq!(behind(Lsn::new(0, 900)), 60_237, "one is new, and one is gone");
        std::fs::remove_file(dir.path().join(FileName(8).to_string())).unwrap();
        std::fs::remove_file(dir.path().join(FileName(7).to_string())).unwrap();
        write(dir.path(), 3, 7);
        assert_eq!(behind(Lsn::new(0, 900)), 207, "cut off");
    }
}
