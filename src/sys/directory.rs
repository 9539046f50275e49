//! A directory that is held open: what is in it is found by this very directory, wherever its path leads by then and
//! whatever the process's working directory is.

use std::ffi::CStr;
use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

/// What a name in a directory stands for.
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
    /// What only this system has.
    Other,
}

/// What the system says of a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// The number of the device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many bytes it has.
    pub len: u64,
    /// When its content last changed, in nanoseconds since the epoch. Can be set to any time by programs.
    pub modified_ns: i128,
    /// When it last changed in any way. Cannot be set.
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

    // Where a file's length or number may need 64 bits and the plain calls have 32, there are others.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    use libc::{fstatat, openat, readdir, stat};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use libc::{fstatat64 as fstatat, openat64 as openat, readdir64 as readdir, stat64 as stat};

    /// See the module's comment.
    #[derive(Debug)]
    pub struct HeldDirectory {
        /// Its descriptor, which is the stream's.
        fd: ManuallyDrop<File>,
        /// To list it takes no descriptor that there might be none of then.
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
            // It belongs to the stream from now on, which closes it.
            Ok(HeldDirectory { fd: ManuallyDrop::new(file), stream: Mutex::new(Stream(stream)) })
        }

        /// The descriptor that a forked child has inherited.
        pub fn inherited_fd(&self) -> Option<RawFd> {
            Some(self.fd.as_raw_fd())
        }

        /// What the system says of the directory itself.
        pub fn status(&self) -> io::Result<Status> {
            Ok(Status::from(&self.fd.metadata()?))
        }

        /// What it says of the file of that name: of what a link leads to, with `follow`, else of the link.
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

        /// Opens the file of that name for reading, whatever it is. Does not wait for anybody who may write to it.
        pub fn open_file(&self, name: &CStr) -> io::Result<File> {
            let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
            // SAFETY: the name is NUL-terminated, and nothing is created, so no mode is read.
            let fd = retry(|| check(unsafe { openat(self.fd.as_raw_fd(), name.as_ptr(), flags) }))?;
            // SAFETY: the descriptor was just made and nobody else owns it.
            Ok(File::from(off_standard(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })?))
        }

        /// Calls `each` with every name there is, in no order. An error if the directory was deleted. One thread at a
        /// time does.
        pub fn each_name(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
            let mut stream = self.stream.lock();
            stream.rewind();
            let mut is_empty = true;
            while let Some(name) = stream.next()? {
                is_empty = false;
                each(name.to_bytes());
            }
            // Of a deleted one, C libraries say that it is empty.
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
        /// The next name is the first again, of those there are now.
        fn rewind(&mut self) {
            // SAFETY: the stream is open, and nobody else uses it.
            unsafe { libc::rewinddir(self.0) };
        }

        fn next(&mut self) -> io::Result<Option<&CStr>> {
            // The end and a failure differ in the error number only.
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
            // type says, or the entry shorter: so it is only pointed to.
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

/// Miri knows no calls that begin at a directory. There, paths have to do.
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

        /// There is none.
        pub fn inherited_fd(&self) -> Option<std::os::fd::RawFd> {
            None
        }

        /// What the system says of the directory itself.
        pub fn status(&self) -> io::Result<Status> {
            Ok(Status::from(&std::fs::metadata(&self.0)?))
        }

        /// What it says of the file of that name: of what a link leads to, with `follow`, else of the link.
        pub fn status_of(&self, name: &CStr, follow: bool) -> io::Result<Status> {
            let path = self.path_of(name);
            let found = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
            Ok(Status::from(&found?))
        }

        /// Opens the file of that name for reading.
        pub fn open_file(&self, name: &CStr) -> io::Result<File> {
            File::open(self.path_of(name))
        }

        /// Calls `each` with every name there is, in no order.
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
        // Nobody writes to it, and nobody is waited for.
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
