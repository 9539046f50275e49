//! A directory that is held open. Its files are found through the open directory, wherever its path leads meanwhile and
//! whatever the process's working directory is.

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// The kind of thing that a name in a directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe with a name.
    Fifo,
    /// A socket.
    Socket,
    /// A device of either kind.
    Device,
    /// Something else that only this system has.
    Other,
}

/// The facts that the system has about a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its kind.
    pub kind: Kind,
    /// The number of its device.
    pub device: u64,
    /// Its inode number on that device.
    pub inode: u64,
    /// Its length in bytes.
    pub len: u64,
    /// When its content last changed, in nanoseconds since the epoch. Programs can set it to any time.
    pub modified_ns: i128,
    /// When it last changed in any way, in nanoseconds since the epoch. Programs cannot set it.
    pub changed_ns: i128,
}

impl From<&Metadata> for Status {
    fn from(found: &Metadata) -> Status {
        use std::os::unix::fs::MetadataExt;
        Status {
            kind: Kind::of(found.mode() as libc::mode_t),
            device: found.dev(),
            inode: found.ino(),
            len: found.size(),
            modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
            changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Kind {
    fn of(mode: libc::mode_t) -> Kind {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Link,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR | libc::S_IFBLK => Kind::Device,
            _ => Kind::Other,
        }
    }
}

fn nanoseconds(seconds: impl Into<i128>, more: impl Into<i128>) -> i128 {
    seconds.into() * 1_000_000_000 + more.into()
}

pub use held::HeldDirectory;

#[cfg(not(miri))]
mod held {
    use std::mem::ManuallyDrop;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    use parking_lot::Mutex;

    use super::*;
    use crate::sys::{check, off_standard, retry};

    // Where the plain calls have 32 bits for a file's length or number, other calls have 64.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    use libc::{fstatat, openat, readdir, stat};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use libc::{fstatat64 as fstatat, openat64 as openat, readdir64 as readdir, stat64 as stat};

    /// See the module's comment.
    #[derive(Debug)]
    pub struct HeldDirectory {
        /// The directory's descriptor, which belongs to the stream.
        fd: ManuallyDrop<File>,
        /// Open from the beginning, so that listing needs no descriptor. There might be none left then.
        stream: Mutex<Stream>,
    }

    impl HeldDirectory {
        /// Opens the directory at `path`.
        pub fn open(path: &Path) -> io::Result<HeldDirectory> {
            let file = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
            let file = File::from(off_standard(file.into())?);
            // SAFETY: the descriptor is open.
            let stream = unsafe { libc::fdopendir(file.as_raw_fd()) };
            if stream.is_null() {
                return Err(io::Error::last_os_error());
            }
            // From now on the descriptor belongs to the stream, which closes it.
            Ok(HeldDirectory { fd: ManuallyDrop::new(file), stream: Mutex::new(Stream(stream)) })
        }

        /// The descriptor that a forked child has inherited.
        pub fn inherited_fd(&self) -> Option<RawFd> {
            Some(self.fd.as_raw_fd())
        }

        /// The facts about the directory itself.
        pub fn status(&self) -> io::Result<Status> {
            Ok(Status::from(&self.fd.metadata()?))
        }

        /// The facts about the file of that name. If it is a link: about its target with `follow`, else about the link.
        pub fn status_of(&self, name: &CStr, follow: bool) -> io::Result<Status> {
            let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
            let mut found = std::mem::MaybeUninit::<stat>::uninit();
            // SAFETY: the name is NUL-terminated, and `found` is valid for writing during the call.
            check(unsafe { fstatat(self.fd.as_raw_fd(), name.as_ptr(), found.as_mut_ptr(), flags) })?;
            // SAFETY: the call succeeded, and so wrote it.
            let found = unsafe { found.assume_init() };
            Ok(Status {
                kind: Kind::of(found.st_mode),
                #[allow(clippy::unnecessary_cast, reason = "other systems have other types")]
                device: found.st_dev as u64,
                inode: found.st_ino,
                len: u64::try_from(found.st_size).unwrap_or(0),
                modified_ns: nanoseconds(found.st_mtime, found.st_mtime_nsec),
                changed_ns: nanoseconds(found.st_ctime, found.st_ctime_nsec),
            })
        }

        /// Opens the file of that name for reading, whatever its kind. Does not wait for a writer, as opening a FIFO
        /// would.
        pub fn open_file(&self, name: &CStr) -> io::Result<File> {
            let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
            // SAFETY: the name is NUL-terminated, and nothing is created, so no mode is read.
            let fd = retry(|| check(unsafe { openat(self.fd.as_raw_fd(), name.as_ptr(), flags) }))?;
            // SAFETY: the descriptor was just made and nobody else owns it.
            Ok(File::from(off_standard(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })?))
        }

        /// Calls `each` with every name in the directory, in no order. An error if the directory was deleted. One
        /// thread at a time lists.
        pub fn each_name(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
            let mut stream = self.stream.lock();
            stream.rewind();
            let mut is_empty = true;
            while let Some(name) = stream.next()? {
                is_empty = false;
                each(name.to_bytes());
            }
            // C libraries say that a deleted directory is empty.
            if is_empty && self.fd.metadata()?.nlink() == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            }
            Ok(())
        }
    }

    impl AsFd for HeldDirectory {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }

    /// A directory being listed.
    #[derive(Debug)]
    struct Stream(*mut libc::DIR);

    // SAFETY: a stream is not bound to a thread; it must only not be used by two at once.
    unsafe impl Send for Stream {}

    impl Stream {
        /// Goes back to the first of the names there are now.
        fn rewind(&mut self) {
            // SAFETY: the stream is open, and nobody else uses it.
            unsafe { libc::rewinddir(self.0) };
        }

        fn next(&mut self) -> io::Result<Option<&CStr>> {
            // The end and a failure differ only in the error number.
            clear_errno();
            // SAFETY: the stream is open, and nobody else uses it.
            let entry = unsafe { readdir(self.0) };
            if entry.is_null() {
                return match io::Error::last_os_error() {
                    end if end.raw_os_error() == Some(0) => Ok(None),
                    error => Err(error),
                };
            }
            // SAFETY: it is valid until the next call, and its name is NUL-terminated. The name may be longer than its
            // type says, or the entry shorter, so no reference to the entry is made.
            Ok(Some(unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) }))
        }
    }

    impl Drop for Stream {
        fn drop(&mut self) {
            // SAFETY: it is open, and not used any more.
            unsafe { libc::closedir(self.0) };
        }
    }

    fn clear_errno() {
        #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
        use libc::__errno as place;
        #[cfg(target_os = "linux")]
        use libc::__errno_location as place;
        #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
        use libc::__error as place;
        // SAFETY: the place is this thread's, and always there.
        unsafe { *place() = 0 };
    }
}

/// Miri does not know the calls that begin at an open directory. In Miri, paths are used instead.
#[cfg(miri)]
mod held {
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    use super::*;

    /// See the module's comment.
    #[derive(Debug)]
    pub struct HeldDirectory(PathBuf);

    impl HeldDirectory {
        /// Opens the directory at `path`.
        pub fn open(path: &Path) -> io::Result<HeldDirectory> {
            std::fs::read_dir(path).map(|_| HeldDirectory(path.to_path_buf()))
        }

        fn path_of(&self, name: &CStr) -> PathBuf {
            self.0.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
        }

        /// Miri has no descriptor here.
        pub fn inherited_fd(&self) -> Option<std::os::fd::RawFd> {
            None
        }

        /// The facts about the directory itself.
        pub fn status(&self) -> io::Result<Status> {
            Ok(Status::from(&std::fs::metadata(&self.0)?))
        }

        /// The facts about the file of that name. If it is a link: about its target with `follow`, else about the link.
        pub fn status_of(&self, name: &CStr, follow: bool) -> io::Result<Status> {
            let path = self.path_of(name);
            let found = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
            Ok(Status::from(&found?))
        }

        /// Opens the file of that name for reading.
        pub fn open_file(&self, name: &CStr) -> io::Result<File> {
            File::open(self.path_of(name))
        }

        /// Calls `each` with every name in the directory, in no order.
        pub fn each_name(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
            for entry in std::fs::read_dir(&self.0)? {
                each(entry?.file_name().as_bytes());
            }
            Ok(())
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &HeldDirectory) -> Vec<String> {
        let mut names = Vec::new();
        directory.each_name(|name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }

    #[test]
    fn it_is_the_directory_that_was_opened_wherever_its_path_leads() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (directory, content) in [("one", "1"), ("two", "22")] {
            std::fs::create_dir(at(directory)).unwrap();
            std::fs::write(at(directory).join("file"), content).unwrap();
        }
        symlink(at("one"), at("current")).unwrap();
        let held = HeldDirectory::open(&at("current")).unwrap();
        std::fs::remove_file(at("current")).unwrap();
        symlink(at("two"), at("current")).unwrap();
        std::fs::write(at("one").join("more"), "").unwrap();
        assert_eq!(names(&held), ["file", "more"]);
        assert_eq!(names(&held), ["file", "more"], "from the beginning again");
        assert_eq!(held.open_file(c"file").unwrap().metadata().unwrap().len(), 1);
        assert_eq!(held.status().unwrap().inode, Status::from(&std::fs::metadata(at("one")).unwrap()).inode);
        assert_eq!(held.status_of(c"none", true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(held.as_fd().as_raw_fd() > libc::STDERR_FILENO);
    }

    #[test]
    fn what_is_no_file_is_told_apart_and_opened_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let held = HeldDirectory::open(dir.path()).unwrap();
        let kind = |name| held.status_of(name, true).unwrap().kind;
        let fifo = std::ffi::CString::new(dir.path().join("fifo").to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        symlink("/dev/null", dir.path().join("device")).unwrap();
        assert_eq!((kind(c"fifo"), kind(c"socket"), kind(c"directory")), (Kind::Fifo, Kind::Socket, Kind::Directory));
        assert_eq!((kind(c"file"), kind(c"link"), kind(c"device")), (Kind::File, Kind::File, Kind::Device));
        assert_eq!(held.status_of(c"link", false).unwrap().kind, Kind::Link);
        // Nobody writes to the FIFO, and the call does not wait for anybody.
        held.open_file(c"fifo").unwrap();
    }

    #[test]
    fn a_deleted_directory_is_not_empty_but_gone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let held = HeldDirectory::open(&dir.path().join("log")).unwrap();
        assert_eq!(names(&held), [""; 0]);
        std::fs::remove_dir(dir.path().join("log")).unwrap();
        assert_eq!(held.each_name(|_| {}).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_directory_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let refused = HeldDirectory::open(&dir.path().join("file")).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOTDIR));
    }
}
