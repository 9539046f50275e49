//! The library under measurement, loaded by path and used through its C interface, as a host would.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};

use crate::{Error, Result};

const OK: i32 = 0;
const AGAIN: i32 = 1;
/// Where to start for "at the first entry that the log has".
const LSN_FIRST: u64 = u64::MAX;

/// `nxf_ack_callback`.
pub type AckCallback = unsafe extern "C" fn(context: *mut c_void, replica_name: *const c_char, vlsn: u64);

/// `nxf_entry`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct RawEntry {
    /// Its VLSN.
    pub vlsn: u64,
    /// Its position.
    pub lsn: u64,
    /// Its payload, valid until the next call.
    pub payload: *const u8,
    /// The payload's length.
    pub payload_len: usize,
    /// Its type.
    pub entry_type: u8,
}

/// The first fields of `nxf_runner_stats_t`: the library writes only as much as it is told there is room for.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RawStats {
    struct_size: usize,
    run_state: u32,
    log_state: u32,
    log_state_lsn: u64,
    is_stalled: bool,
    is_notified: bool,
    missing_vlsn: u64,
    start_vlsn: u64,
    read_vlsn: u64,
    /// The highest VLSN wholly handed to the system.
    pub sent_vlsn: u64,
}

/// Declares the functions that are used, and loads them by name.
macro_rules! functions {
    ($($name:ident($($arg:ty),*) $(-> $result:ty)?;)*) => {
        /// The library's functions, without their prefix.
        #[derive(Debug, Clone, Copy)]
        struct Functions {
            $($name: unsafe extern "C" fn($($arg),*) $(-> $result)?,)*
        }

        impl Functions {
            fn load(path: &Path) -> Result<Self> {
                let library = open(path)?;
                Ok(Self {
                    // SAFETY: these are the declarations of the header.
                    $($name: unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) $(-> $result)?>(
                            symbol(library, concat!("nxf_", stringify!($name)))?,
                        )
                    },)*
                })
            }
        }
    };
}

type Pointer = *mut c_void;
type ErrorPlace = *mut *mut c_void;

functions! {
    version() -> *const c_char;
    error_message(Pointer) -> *const c_char;
    error_free(Pointer);
    log_open(*const c_char, Pointer, *mut Pointer, ErrorPlace) -> i32;
    log_notify(Pointer) -> i32;
    log_free(Pointer);
    options_new(*mut Pointer, ErrorPlace) -> i32;
    options_set(Pointer, *const c_char, *const c_char, ErrorPlace) -> i32;
    options_free(Pointer);
    channel_tcp_connect(*const c_char, u16, Pointer, *mut Pointer, ErrorPlace) -> i32;
    scanner_from_log(Pointer, u64, *mut Pointer, ErrorPlace) -> i32;
    scanner_next(Pointer, u64, *mut RawEntry, ErrorPlace) -> i32;
    scanner_free(Pointer);
    runner_new(Pointer, *const c_char, u64, Pointer, *mut Pointer, ErrorPlace) -> i32;
    runner_set_ack_callback(Pointer, AckCallback, Pointer, *const c_void, ErrorPlace) -> i32;
    runner_start(Pointer, Pointer, ErrorPlace) -> i32;
    runner_run(Pointer, Pointer, ErrorPlace) -> i32;
    runner_wait_acked(Pointer, u64, c_int, ErrorPlace) -> i32;
    runner_stats(Pointer, *mut RawStats, ErrorPlace) -> i32;
    runner_stop(Pointer, c_int, ErrorPlace) -> i32;
    runner_free(Pointer) -> i32;
}

fn open(path: &Path) -> Result<Pointer> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(Error::new)?;
    // SAFETY: the name is a string that lives during the call; this library's initialisers do nothing harmful.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() { Err(Error::at(path, "cannot be loaded")) } else { Ok(library) }
}

fn symbol(library: Pointer, name: &str) -> Result<Pointer> {
    let name = CString::new(name).map_err(Error::new)?;
    // SAFETY: the library is open, and the name lives during the call.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    if found.is_null() {
        return Err(Error::new(format_args!("the library has no {}", name.to_string_lossy())));
    }
    Ok(found)
}

/// The library, loaded for good.
#[derive(Debug, Clone, Copy)]
pub struct Library(Functions);

impl Library {
    /// Loads it.
    pub fn load(path: &Path) -> Result<Self> {
        Functions::load(path).map(Self)
    }

    /// Its version.
    pub fn version(&self) -> String {
        // SAFETY: it takes nothing and returns a string that lives as long as the library.
        unsafe { CStr::from_ptr((self.0.version)()) }.to_string_lossy().into_owned()
    }

    /// Turns what a call returned and said into a result.
    fn check(&self, call: &str, status: i32, error: Pointer) -> Result<()> {
        if status == OK {
            return Ok(());
        }
        // SAFETY: NULL or an error that was just handed out, which is released once.
        let text = unsafe {
            let text = CStr::from_ptr((self.0.error_message)(error)).to_string_lossy().into_owned();
            (self.0.error_free)(error);
            text
        };
        Err(Error::new(format_args!("nxf_{call}: status {status} {text}")))
    }

    /// Calls something that hands out a handle.
    fn make(&self, call: &str, make: impl FnOnce(*mut Pointer, ErrorPlace) -> i32) -> Result<Pointer> {
        let (mut made, mut error) = (null_mut(), null_mut());
        let status = make(&raw mut made, &raw mut error);
        self.check(call, status, error)?;
        Ok(made)
    }

    fn call(&self, call: &str, function: impl FnOnce(ErrorPlace) -> i32) -> Result<()> {
        let mut error = null_mut();
        let status = function(&raw mut error);
        self.check(call, status, error)
    }

    /// `nxf_options_new` and `nxf_options_set`.
    pub fn options<'a>(&self, options: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Options> {
        // SAFETY: every handle is a live one that was handed out before, and strings and places for results live
        // during the call; here and below.
        let set = self.make("options_new", |set, error| unsafe { (self.0.options_new)(set, error) })?;
        let set = Options { library: *self, set };
        for (key, value) in options {
            let (key, value) = (CString::new(key).map_err(Error::new)?, CString::new(value).map_err(Error::new)?);
            // SAFETY: as above.
            let set_one = |error| unsafe { (self.0.options_set)(set.set, key.as_ptr(), value.as_ptr(), error) };
            self.call("options_set", set_one)?;
        }
        Ok(set)
    }

    /// `nxf_log_open`.
    pub fn log(&self, dir: &Path, options: &Options) -> Result<Log> {
        let dir = CString::new(dir.as_os_str().as_bytes()).map_err(Error::new)?;
        // SAFETY: as in `options`.
        let log =
            self.make("log_open", |log, error| unsafe { (self.0.log_open)(dir.as_ptr(), options.set, log, error) })?;
        Ok(Log { library: *self, log })
    }

    /// `nxf_channel_tcp_connect` and `nxf_runner_new`.
    pub fn runner(&self, address: &str, options: &Options) -> Result<Runner> {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| Error::new("an address is HOST:PORT"))?;
        let port: u16 = port.parse().map_err(Error::new)?;
        let host = CString::new(host).map_err(Error::new)?;
        // SAFETY: as in `options`.
        let channel = self.make("channel_tcp_connect", |channel, error| unsafe {
            (self.0.channel_tcp_connect)(host.as_ptr(), port, options.set, channel, error)
        })?;
        // SAFETY: as in `options`.
        let runner = self.make("runner_new", |runner, error| unsafe {
            (self.0.runner_new)(channel, c"replica".as_ptr(), 1, options.set, runner, error)
        })?;
        Ok(Runner { library: *self, runner })
    }
}

/// `nxf_options`.
pub struct Options {
    library: Library,
    set: Pointer,
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: a live handle, which is not used afterwards; everybody has copied what they need.
        unsafe { (self.library.0.options_free)(self.set) };
    }
}

/// `nxf_log`.
pub struct Log {
    library: Library,
    log: Pointer,
}

// SAFETY: the header lets any number of threads use a log for everything done with it here.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// `nxf_scanner_from_log`, from the first entry on.
    pub fn scanner(&self) -> Result<Scanner> {
        let functions = &self.library.0;
        // SAFETY: a live log, and places for the results.
        let scanner = self.library.make("scanner_from_log", |scanner, error| unsafe {
            (functions.scanner_from_log)(self.log, LSN_FIRST, scanner, error)
        })?;
        Ok(Scanner { library: self.library, scanner })
    }

    /// `nxf_log_notify`.
    pub fn notify(&self) {
        // SAFETY: a live log.
        unsafe { (self.library.0.log_notify)(self.log) };
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // SAFETY: a live log, which is not used afterwards.
        unsafe { (self.library.0.log_free)(self.log) };
    }
}

/// `nxf_scanner`.
pub struct Scanner {
    library: Library,
    scanner: Pointer,
}

impl Scanner {
    /// `nxf_scanner_next`.
    #[inline]
    pub fn next(&mut self, from_vlsn: u64) -> Result<Option<RawEntry>> {
        let mut entry = RawEntry { vlsn: 0, lsn: 0, payload: null(), payload_len: 0, entry_type: 0 };
        let mut error = null_mut();
        // SAFETY: a live scanner, used by one thread, and places for the results.
        let status = unsafe { (self.library.0.scanner_next)(self.scanner, from_vlsn, &raw mut entry, &raw mut error) };
        match status {
            OK => Ok(Some(entry)),
            AGAIN => Ok(None),
            _ => self.library.check("scanner_next", status, error).map(|()| None),
        }
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        // SAFETY: a live scanner that no runner has taken over, or NULL.
        unsafe { (self.library.0.scanner_free)(self.scanner) };
    }
}

/// `nxf_runner`.
pub struct Runner {
    library: Library,
    runner: Pointer,
}

// SAFETY: the header lets any number of threads use a runner for everything that takes `&self` here.
unsafe impl Sync for Runner {}

impl Runner {
    /// `nxf_runner_set_ack_callback`. The context has to live, and to be fit for another thread, until the runner is
    /// dropped.
    pub fn set_ack_callback<T: Sync>(&mut self, callback: AckCallback, context: &T) -> Result<()> {
        let context = std::ptr::from_ref(context).cast_mut().cast();
        // SAFETY: a live runner; callback and context belong together, as the caller has seen to.
        self.library.call("runner_set_ack_callback", |error| unsafe {
            (self.library.0.runner_set_ack_callback)(self.runner, callback, context, null(), error)
        })
    }

    /// `nxf_runner_start`.
    pub fn start(&mut self, mut scanner: Scanner) -> Result<()> {
        // SAFETY: live handles; the scanner is the runner's afterwards.
        self.library.call("runner_start", |error| unsafe {
            (self.library.0.runner_start)(self.runner, scanner.scanner, error)
        })?;
        scanner.scanner = null_mut();
        Ok(())
    }

    /// `nxf_runner_run`.
    pub fn run(&self, mut scanner: Scanner) -> Result<()> {
        let taken = std::mem::replace(&mut scanner.scanner, null_mut());
        // SAFETY: live handles; the scanner is the runner's from here on.
        self.library.call("runner_run", |error| unsafe { (self.library.0.runner_run)(self.runner, taken, error) })
    }

    /// `nxf_runner_wait_acked`.
    pub fn wait_acked(&self, vlsn: u64, timeout_ms: c_int) -> Result<()> {
        // SAFETY: a live runner.
        self.library.call("runner_wait_acked", |error| unsafe {
            (self.library.0.runner_wait_acked)(self.runner, vlsn, timeout_ms, error)
        })
    }

    /// `nxf_runner_stats`: the highest VLSN wholly handed to the system.
    pub fn sent_vlsn(&self) -> u64 {
        let mut stats = RawStats { struct_size: size_of::<RawStats>(), ..RawStats::default() };
        // SAFETY: a live runner and a place of the size that it names.
        unsafe { (self.library.0.runner_stats)(self.runner, &raw mut stats, null_mut()) };
        stats.sent_vlsn
    }

    /// `nxf_runner_stop` without waiting; from inside the callback, too.
    pub fn begin_stop(&self) {
        // SAFETY: a live runner.
        unsafe { (self.library.0.runner_stop)(self.runner, 0, null_mut()) };
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // SAFETY: a live runner, which is not used afterwards.
        unsafe { (self.library.0.runner_free)(self.runner) };
    }
}
