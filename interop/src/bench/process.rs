//! What the system knows of this process: CPU time, memory, sleeps, bytes read. And the monotonic clock.

use std::fs;
use std::time::Duration;

use crate::{Error, Result};

/// CPU time of this process, of all its threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// In its own code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl Cpu {
    /// Of this process, so far.
    pub fn now() -> Self {
        Self::of(libc::RUSAGE_SELF)
    }

    /// Of the processes that this one has started and that have ended.
    pub fn of_children() -> Self {
        Self::of(libc::RUSAGE_CHILDREN)
    }

    fn of(whom: libc::c_int) -> Self {
        // SAFETY: all-zero bytes are a valid rusage.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is valid for writing during the call, which cannot fail for these two.
        unsafe { libc::getrusage(whom, &raw mut usage) };
        Self { user: duration(usage.ru_utime), system: duration(usage.ru_stime) }
    }

    /// Since an earlier time.
    pub fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }

    /// Both together, in seconds.
    pub fn seconds(self) -> f64 {
        (self.user + self.system).as_secs_f64()
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// CPU time of this process to the nanosecond, in seconds.
pub fn cpu_seconds() -> f64 {
    clock_seconds(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The same of the thread that asks alone.
pub fn thread_cpu_seconds() -> f64 {
    clock_seconds(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_seconds(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing during the call, and every system with this clock lets it be read.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Lets this process have as many descriptors as the system allows it.
pub fn raise_descriptor_limit() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing during the call.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for reading during the call.
    if known && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
        return Ok(());
    }
    Err(Error::new(std::io::Error::last_os_error()))
}

/// How many threads this process has.
pub fn threads() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/task").map_err(Error::new)?.count())
}

/// How many descriptors this process has open.
pub fn descriptors() -> Result<usize> {
    // One is that of this look.
    Ok(fs::read_dir("/proc/self/fd").map_err(Error::new)?.count().saturating_sub(1))
}

/// CPU time that all processes of the machine have used since it was started, in seconds; nothing where the system
/// does not say.
pub fn machine_cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    // User, nice and system; what interrupts take is nobody's.
    let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(3);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Bytes of memory that this process has resident.
pub fn resident_bytes() -> Result<u64> {
    Ok(field("/proc/self/status", "VmRSS:")? * 1024)
}

/// Bytes that this process has asked to be read, from the page cache or not.
pub fn read_bytes() -> Result<u64> {
    field("/proc/self/io", "rchar:")
}

/// How often the threads of this process have gone to sleep.
pub fn sleeps() -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").map_err(Error::new)? {
        let path = task.map_err(Error::new)?.path().join("status");
        sum += field(&path.to_string_lossy(), "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(|e| Error::new(format_args!("{path}: {e}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error::new(format_args!("{path} has no {name}")))
}
