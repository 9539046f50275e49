//! The seam to the file system: what the log reader asks of a directory of log files, and the directory itself.
//!
//! Everything above this module reaches files through [`Files`] and [`LogFile`] and gets the time as a parameter,
//! so a test can be the disk and the clock. The real implementation, [`Directory`], opens read-only, takes no lock,
//! and never creates, truncates or writes anything.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::format::FileName;
use crate::sys::off_standard;

/// Which file this is, whatever its name: a file deleted and born again under its name has another identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Birth or change-of-inode discriminator where the file system has none of its own; 0 otherwise.
    pub generation: u64,
}

/// A log file, open for reading.
#[allow(clippy::len_without_is_empty, reason = "a file has a length; whether it is 0 is of no interest")]
pub trait LogFile: Send + Sync {
    /// Reads at most `into.len()` bytes at `offset`. Fewer are returned only at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_some_at(into, offset, usize::MAX)
    }
    /// The same, but fewer are also returned when there are `least`: so no call has to find out that the file ends there.
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize>;
    /// The file's length in bytes, now.
    fn len(&self) -> io::Result<u64>;
    /// The identity of the open file.
    fn identity(&self) -> io::Result<FileIdentity>;
    /// Whether it still has a name, as far as the system tells: one that was deleted has none.
    fn has_name(&self) -> io::Result<bool>;
}

/// A state of a directory that can be compared with a later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryStamp {
    /// When the directory last changed, nanoseconds since the epoch.
    pub changed_ns: i128,
    /// Whether `changed_ns` is so long ago that a change after it would carry another time.
    pub distinct: bool,
}

/// A directory of log files.
pub trait Files: Send + Sync {
    /// The numbers of the log files, ascending.
    fn list(&self) -> io::Result<Vec<u32>>;
    /// A stamp of the directory, cheap to get.
    fn stamp(&self) -> io::Result<DirectoryStamp>;
    /// Opens a file for reading.
    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>>;
    /// The identity of the file that has this name now, `None` if there is no such file.
    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>>;
    /// The directory's path, to be watched and named in messages; `None` when there is none to watch.
    fn path(&self) -> Option<&Path>;
}

/// A directory of the real file system.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

/// Two changes of a directory within this time may carry the same time stamp (kernels take it from a coarse clock
/// that ticks every 1 to 10 ms, network file systems round to more).
const STAMP_GRANULARITY: Duration = Duration::from_millis(100);

impl Directory {
    /// The directory at `path`. An error if it cannot be listed now.
    pub fn open(path: &Path) -> io::Result<Directory> {
        let directory = Directory { path: path.to_path_buf() };
        directory.list()?;
        Ok(directory)
    }

    fn file_path(&self, number: u32) -> PathBuf {
        self.path.join(FileName(number).to_string())
    }

    /// A file named with uppercase digits is found by looking for it; the writer itself writes lowercase.
    fn spelled_otherwise(&self, number: u32) -> io::Result<Option<PathBuf>> {
        use std::os::unix::ffi::OsStrExt;
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if FileName::parse(name.as_bytes()) == Some(FileName(number)) {
                return Ok(Some(self.path.join(name)));
            }
        }
        Ok(None)
    }

    /// Runs `action` on the path of file `number`, in whichever case its name is written.
    fn on_file<T>(&self, number: u32, action: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        match action(&self.file_path(number)) {
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => match self.spelled_otherwise(number)? {
                Some(path) => action(&path),
                None => Err(absent),
            },
            found => found,
        }
    }
}

fn identity_of(metadata: &std::fs::Metadata) -> FileIdentity {
    FileIdentity { device: metadata.dev(), inode: metadata.ino(), generation: 0 }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<u32>> {
        use std::os::unix::ffi::OsStrExt;
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Some(FileName(number)) = FileName::parse(entry?.file_name().as_bytes()) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        // The wall clock is read first: read last, a change between the two could look older than it is.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let metadata = std::fs::metadata(&self.path)?;
        let changed_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        let age_ns = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - changed_ns;
        let granularity_ns = i128::try_from(STAMP_GRANULARITY.as_nanos()).unwrap_or(i128::MAX);
        Ok(DirectoryStamp { changed_ns, distinct: age_ns > granularity_ns })
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        let file = self.on_file(number, |path| File::open(path))?;
        Ok(Arc::new(File::from(off_standard(file.into())?)))
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        match self.on_file(number, |path| std::fs::metadata(path)) {
            Ok(metadata) => Ok(Some(identity_of(&metadata))),
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

impl LogFile for File {
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len().min(least) {
            match FileExt::read_at(self, &mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(identity_of(&self.metadata()?))
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() > 0)
    }
}

/// The file numbers of a directory, listed anew only when the directory changed.
#[derive(Debug, Default)]
pub struct Listing {
    numbers: Vec<u32>,
    stamp: Option<DirectoryStamp>,
    listings: u64,
    epoch: u64,
}

impl Listing {
    /// Brings the listing up to date.
    pub fn refresh(&mut self, files: &dyn Files) -> io::Result<()> {
        let stamp = files.stamp()?;
        if self.stamp == Some(stamp) && stamp.distinct {
            return Ok(());
        }
        let numbers = files.list()?;
        self.listings += 1;
        self.stamp = Some(stamp);
        if numbers != self.numbers {
            self.numbers = numbers;
            self.epoch += 1;
        }
        Ok(())
    }

    /// How often the directory was listed: grows with its changes, not with the entries read.
    pub fn listings(&self) -> u64 {
        self.listings
    }

    /// Another number whenever the set of files has changed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Forgets the stamp, so that the next refresh lists whatever the stamp says.
    pub fn distrust(&mut self) {
        self.stamp = None;
    }

    /// The lowest file there is.
    pub fn first(&self) -> Option<u32> {
        self.numbers.first().copied()
    }

    /// The highest file there is: the live one.
    pub fn newest(&self) -> Option<u32> {
        self.numbers.last().copied()
    }

    /// Whether file `number` is there.
    pub fn contains(&self, number: u32) -> bool {
        self.numbers.binary_search(&number).is_ok()
    }

    /// The lowest file at or above `number`.
    pub fn at_or_above(&self, number: u32) -> Option<u32> {
        let at = self.numbers.partition_point(|&n| n < number);
        self.numbers.get(at).copied()
    }

    /// The lowest file above `number`.
    pub fn above(&self, number: u32) -> Option<u32> {
        number.checked_add(1).and_then(|next| self.at_or_above(next))
    }

    /// All numbers, ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_log_files_are_listed_in_ascending_order_whatever_case_their_names_have() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0000002A.ndb", "00000003.ndb", "noxu.lck", "vlsn.idx", "00000004.tmp"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let files = Directory::open(dir.path()).unwrap();
        assert_eq!(files.list().unwrap(), [3, 42]);
        assert_eq!(files.open(42).unwrap().len().unwrap(), 12);
        assert_eq!(files.identity(42).unwrap(), Some(files.open(42).unwrap().identity().unwrap()));
        assert_eq!(files.identity(7).unwrap(), None);
        assert_eq!(files.open(7).err().unwrap().kind(), io::ErrorKind::NotFound);
        let open = files.open(3).unwrap();
        assert!(open.has_name().unwrap());
        std::fs::remove_file(dir.path().join("00000003.ndb")).unwrap();
        assert!(!open.has_name().unwrap());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Directory::open(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn a_quiet_directory_is_not_listed_again_and_a_changed_one_is() {
        struct Shared(std::sync::Mutex<(i128, bool)>);
        impl Files for Shared {
            fn list(&self) -> io::Result<Vec<u32>> {
                Ok(vec![1, 5])
            }
            fn stamp(&self) -> io::Result<DirectoryStamp> {
                let (changed_ns, distinct) = *self.0.lock().unwrap();
                Ok(DirectoryStamp { changed_ns, distinct })
            }
            fn open(&self, _: u32) -> io::Result<Arc<dyn LogFile>> {
                Err(io::ErrorKind::NotFound.into())
            }
            fn identity(&self, _: u32) -> io::Result<Option<FileIdentity>> {
                Ok(None)
            }
            fn path(&self) -> Option<&Path> {
                None
            }
        }
        let files = Shared(std::sync::Mutex::new((10, false)));
        let mut listing = Listing::default();
        let mut listings_after_refresh = || {
            listing.refresh(&files).unwrap();
            listing.listings()
        };
        assert_eq!(listings_after_refresh(), 1);
        assert_eq!(listings_after_refresh(), 2, "a stamp so young may hide a change");
        *files.0.lock().unwrap() = (10, true);
        assert_eq!(listings_after_refresh(), 3, "the one before was taken while the stamp was young");
        assert_eq!(listings_after_refresh(), 3);
        listing.distrust();
        listing.refresh(&files).unwrap();
        assert_eq!((listing.listings(), listing.epoch()), (4, 1));
        assert_eq!((listing.first(), listing.newest()), (Some(1), Some(5)));
        assert_eq!((listing.above(1), listing.above(5), listing.at_or_above(2)), (Some(5), None, Some(5)));
        assert_eq!(listing.above(u32::MAX), None);
    }
}
