//! The directory itself, held open: a log is found by the descriptor, not by the path, so it stays the one that was
//! opened when the process changes its working directory, or a link on the path is switched.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{DirectoryStamp, FileIdentity, Files, LogFile, NotRegular, Notification, if_there};
use crate::lsn::FileName;
use crate::sys::directory::{HeldDirectory, Kind, Status};
use crate::sys::thread::hold_off_cancelling;
use crate::sys::watch::Watch;

/// Length of a log file's name.
const NAME_LEN: usize = "00000000.ndb".len();

/// A directory of the real file system.
#[derive(Debug)]
pub struct Directory {
    held: Arc<HeldDirectory>,
    /// Absolute, and as it was when the directory was opened.
    path: PathBuf,
    /// Files whose names are not written as the writer writes them, as of the last listing. As a rule there are none.
    spelled_otherwise: RwLock<BTreeMap<u32, CString>>,
}

impl Directory {
    /// The directory at `path`. An error if it cannot be listed now.
    pub fn open(path: &Path) -> io::Result<Directory> {
        let held = Arc::new(HeldDirectory::open(path)?);
        let path = std::path::absolute(path)?;
        let directory = Directory { held, path, spelled_otherwise: RwLock::default() };
        directory.list()?;
        Ok(directory)
    }

    /// Runs `action` on the name of file `number`, in whichever case it is written.
    fn on_file<T>(&self, number: u32, action: impl Fn(&CStr) -> io::Result<T>) -> io::Result<T> {
        hold_off_cancelling();
        let mut name = [0; NAME_LEN + 1];
        write!(&mut name[..NAME_LEN], "{}", FileName(number))?;
        match action(CStr::from_bytes_with_nul(&name).expect("a name fills its place")) {
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                match self.spelled_otherwise.read().get(&number) {
                    Some(name) => action(name),
                    None => Err(absent),
                }
            }
            found => found,
        }
    }

    /// What the system says of the file that has this name now, `None` if there is no such file.
    fn status_of(&self, number: u32) -> io::Result<Option<Status>> {
        if_there(self.on_file(number, |name| self.held.status_of(name, true)))
    }
}

fn expect_regular(found: &Status) -> io::Result<()> {
    let what = match found.kind {
        Kind::File => return Ok(()),
        Kind::Directory => "a directory",
        Kind::Link => "a link",
        Kind::Fifo => "a FIFO",
        Kind::Socket => "a socket",
        Kind::Device => "a device",
        Kind::Other => "something else",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular { what }))
}

fn identity_of(status: &Status) -> FileIdentity {
    FileIdentity { device: status.device, inode: status.inode }
}

impl Files for Directory {
    fn list(&self) -> io::Result<Vec<u32>> {
        hold_off_cancelling();
        let mut numbers = Vec::new();
        let mut spelled_otherwise = BTreeMap::new();
        self.held.each_name(|name| {
            let Some(FileName(number)) = FileName::parse(name) else { return };
            numbers.push(number);
            if name.iter().any(u8::is_ascii_uppercase) {
                spelled_otherwise.insert(number, CString::new(name).expect("a name has no NUL inside"));
            }
        })?;
        numbers.sort_unstable();
        numbers.dedup();
        *self.spelled_otherwise.write() = spelled_otherwise;
        Ok(numbers)
    }

    fn stamp(&self) -> io::Result<DirectoryStamp> {
        hold_off_cancelling();
        let Status { modified_ns, changed_ns, .. } = self.held.status()?;
        Ok(DirectoryStamp { modified_ns, changed_ns })
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn LogFile>> {
        let file = self.on_file(number, |name| {
            // Not opened to see what it is: a device may take that for a command.
            expect_regular(&self.held.status_of(name, true)?)?;
            self.held.open_file(name)
        })?;
        // It may have been another one by then.
        expect_regular(&Status::from(&file.metadata()?))?;
        Ok(Arc::new(file))
    }

    fn identity(&self, number: u32) -> io::Result<Option<FileIdentity>> {
        Ok(self.status_of(number)?.as_ref().map(identity_of))
    }

    fn len_of(&self, number: u32) -> io::Result<Option<u64>> {
        Ok(self.status_of(number)?.map(|found| found.len))
    }

    fn is_link(&self, number: u32) -> io::Result<bool> {
        let found = if_there(self.on_file(number, |name| self.held.status_of(name, false)))?;
        Ok(found.is_some_and(|found| found.kind == Kind::Link))
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn has_lost_its_path(&self) -> bool {
        hold_off_cancelling();
        use std::os::unix::fs::MetadataExt;
        match (std::fs::metadata(&self.path), self.held.status()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) != (here.device, here.inode),
            (Err(error), _) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
            (_, Err(_)) => false,
        }
    }

    fn inherited_fd(&self) -> Option<RawFd> {
        self.held.inherited_fd()
    }

    fn watch(&self) -> io::Result<Box<dyn Notification>> {
        Ok(Box::new(Watched { watch: Watch::new()?, held: Arc::clone(&self.held) }))
    }
}

/// A watch on the directory that is held, whatever its path leads to by then.
struct Watched {
    watch: Watch,
    held: Arc<HeldDirectory>,
}

impl Notification for Watched {
    fn arm(&self) -> io::Result<()> {
        self.watch.arm(&self.held)
    }

    fn take(&self) -> bool {
        self.watch.take()
    }

    fn fd(&self) -> RawFd {
        self.watch.fd().as_raw_fd()
    }
}

impl LogFile for File {
    fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> io::Result<usize> {
        hold_off_cancelling();
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
        hold_off_cancelling();
        Ok(self.metadata()?.len())
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        hold_off_cancelling();
        Ok(identity_of(&Status::from(&self.metadata()?)))
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
        std::fs::rename(dir.path().join("0000002A.ndb"), dir.path().join("0000002a.ndb")).unwrap();
        assert_eq!(files.open(42).unwrap().len().unwrap(), 12);
        assert_eq!(files.list().unwrap(), [3, 42]);
        std::fs::remove_file(dir.path().join("0000002a.ndb")).unwrap();
        assert_eq!(files.identity(42).unwrap(), None);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Directory::open(path).unwrap_err().raw_os_error();
        assert_eq!(refused(&dir.path().join("absent")), Some(libc::ENOENT));
        assert_eq!(refused(Path::new("")), Some(libc::ENOENT));
    }

    #[test]
    fn a_stamp_changes_with_a_file_and_with_a_time_that_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let files = Directory::open(dir.path()).unwrap();
        let then = std::time::SystemTime::UNIX_EPOCH;
        let set_back = || File::open(dir.path()).unwrap().set_modified(then).unwrap();
        set_back();
        let before = files.stamp().unwrap();
        assert_eq!(before.modified_ns, 0);
        // The system's clock for such times ticks, slowly perhaps.
        let is_told_apart = || {
            std::fs::write(dir.path().join("00000000.ndb"), "x").unwrap();
            std::fs::remove_file(dir.path().join("00000000.ndb")).unwrap();
            set_back();
            files.stamp().unwrap() != before
        };
        while !is_told_apart() {}
    }
}
