//! The seam to the file system: what the log reader asks of a directory of log files, and the directory itself.
//!
//! Everything above this module reaches files through [`Files`] and [`LogFile`] and gets the time as a parameter,
//! so a test can be the disk and the clock. The real implementation, [`Directory`], opens read-only, takes no lock,
//! and never creates, truncates or writes anything. A [`Listing`] knows which files there are, and lists no more often
//! than it has to.

mod directory;
mod listing;
mod numbered;

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
pub use crate::error::NotRegular;
pub use directory::Directory;
pub use listing::Listing;
pub use numbered::NumberedFile;

/// Which file this is, whatever its name: a file deleted and born again under its name has another identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
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
    /// The identity of the open file. Whether it is still part of the log, the directory knows: by its name.
    fn identity(&self) -> io::Result<FileIdentity>;
}

/// What a directory shows of its changes: another stamp is a change. The same one is no proof that there was none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryStamp {
    /// When its content last changed, as it says: in nanoseconds since the epoch, by whichever clock.
    pub modified_ns: i128,
    /// The same for anything about it.
    pub changed_ns: i128,
}

/// A directory of log files.
pub trait Files: Send + Sync {
    /// The numbers of the log files, ascending.
    fn list(&self) -> io::Result<Vec<u32>>;
    /// A stamp of the directory, cheap to get.
    fn stamp(&self) -> io::Result<DirectoryStamp>;
    /// Opens a file for reading, without waiting. If it is no regular file, the error carries a [`NotRegular`].
    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>>;
    /// The identity of the file that has this name now, `None` if there is no such file. Cheap to get.
    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>>;
    /// The length of the file that has this name now, `None` if there is no such file.
    fn len_of(&self, number: u32) -> io::Result<Option<u64>> {
        if_there(self.open(number))?.map(|file| file.len()).transpose()
    }
    /// Whether a file's name is a link: what it leads to may be written to unnoticed by who watches the directory.
    fn is_link(&self, number: u32) -> io::Result<bool> {
        let _ = number;
        Ok(false)
    }
    /// The directory's path, to be named in messages; `None` when it has none.
    fn path(&self) -> Option<&Path>;
    /// Whether the path leads to another directory by now, or to none.
    fn has_lost_its_path(&self) -> bool {
        false
    }
    /// The descriptor that holds the directory, to be closed in a forked child.
    fn inherited_fd(&self) -> Option<RawFd> {
        None
    }
    /// A notification of its changes. An error where there is none to be had, or none left to give.
    fn watch(&self) -> io::Result<Box<dyn Notification>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// `None` if there is no such file.
pub fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// Why a directory's files cannot be listed.
pub fn list_error(files: &dyn Files, error: io::Error) -> Error {
    Error::LogDirectory { path: files.path().map(Path::to_path_buf).unwrap_or_default(), os: error.into() }
}

/// Tells a sleeper that something in a directory has changed. It is armed for one change at a time. Any thread.
pub trait Notification: Send + Sync {
    /// Has the next change make the descriptor readable. To arm it twice is the same as once.
    fn arm(&self) -> io::Result<()>;
    /// Takes what it has to tell; says whether that was anything.
    fn take(&self) -> bool;
    /// What to poll for reading.
    fn fd(&self) -> RawFd;
}
