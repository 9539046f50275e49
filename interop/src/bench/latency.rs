//! From an append to the ack that comes back for it: a real writer, a sender and the sink, at a pace or back to back.

use std::ffi::{c_char, c_void};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use noxu_rep::net::channel::TcpChannel;
use noxu_rep::stream::feeder::FeederRunner;
use tempfile::TempDir;

use super::interface::Library;
use super::{Figures, Peer};
use crate::entries::EntryMix;
use crate::generation::Generation;
use crate::original_feed::{Home, seven};
use crate::sizes::PayloadSize;
use crate::writer::Writer;
use crate::{Error, Result};

/// A frame with 100 bytes of payload, and an ack, each with its length.
const PING: usize = 121;
const PONG: usize = 12;
/// What a log begins with, and what is not counted after that.
pub(super) const BEFORE: u64 = 100;
pub(super) const WARM: usize = 20;
/// No more than so many samples are taken.
pub(super) const SAMPLES_MAX: usize = 50_000;
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const FILE_MAX: u64 = 64 << 20;
const APART: Duration = Duration::from_millis(20);

/// When the next append comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// 1 to 10 ms after the one before.
    Spaced,
    /// 20 ms after the one before.
    Apart,
    /// As soon as the one before was acked.
    Close,
}

impl Pace {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Pace::Spaced => "spaced",
            Pace::Apart => "apart",
            Pace::Close => "close",
        }
    }

    fn pause(self, random: &mut Random) -> Option<Duration> {
        match self {
            Pace::Spaced => Some(random.pause()),
            Pace::Apart => Some(APART),
            Pace::Close => None,
        }
    }
}

/// Appends, and measures when the acks come
#[derive(Debug, Clone, Args)]
pub struct Latency {
    /// Who feeds
    #[arg(long)]
    pub peer: Peer,
    /// When the next append comes
    #[arg(long)]
    pub pace: Pace,
    /// Where a directory for the log can be made
    #[arg(long)]
    pub dir: PathBuf,
    /// Where the sink listens
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: String,
    /// For how long
    #[arg(long, value_name = "S")]
    pub seconds: f64,
    /// The library
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
}

/// When each entry was appended, readable, and acked.
struct Times {
    start: Instant,
    acked: Vec<AtomicU64>,
    last_acked: AtomicU64,
    writer: Thread,
}

impl Times {
    fn new() -> Arc<Self> {
        let acked = (0..SAMPLES_MAX + 2).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { start: Instant::now(), acked, last_acked: AtomicU64::new(0), writer: thread::current() })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn note_ack(&self, vlsn: u64) {
        let now = self.now();
        let at = vlsn.checked_sub(BEFORE + 1).and_then(|at| usize::try_from(at).ok());
        if let Some(acked) = at.and_then(|at| self.acked.get(at)) {
            acked.store(now, Ordering::Release);
        }
        self.last_acked.store(vlsn, Ordering::Release);
        self.writer.unpark();
    }

    fn wait_for(&self, vlsn: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.last_acked.load(Ordering::Acquire) < vlsn {
            if Instant::now() >= deadline {
                return Err(Error::new(format_args!("VLSN {vlsn} was not acked in {} s", PATIENCE.as_secs())));
            }
            thread::park_timeout(PATIENCE);
        }
        Ok(())
    }
}

impl Latency {
    /// Measures.
    pub fn run(&self) -> Result<Figures> {
        match self.peer {
            Peer::Ours | Peer::Told | Peer::Patient => self.run_ours(),
            Peer::Original | Peer::Nodelay => self.run_original(),
            Peer::Limit => self.run_limit(),
            other => Err(Error::new(format_args!("{} has a benchmark of its own", other.name()))),
        }
    }

    fn run_ours(&self) -> Result<Figures> {
        let library = Library::load(&self.library)?;
        let (place, writer, mix) = begin(&self.dir)?;
        let times = Times::new();
        let options = library.options(self.peer.options().iter().copied())?;
        let mut runner = library.runner(&self.connect, &options)?;
        runner.set_ack_callback(acked, &*times)?;
        let log = library.log(place.path(), &options)?;
        runner.start(log.scanner()?)?;
        times.wait_for(BEFORE)?;
        let tell = || {
            if self.peer == Peer::Told {
                log.notify()
            }
        };
        let figures = self.append(&writer, &mix, &times, tell);
        drop(runner);
        figures
    }

    fn run_original(&self) -> Result<Figures> {
        let (place, writer, mix) = begin(&self.dir)?;
        let stream = TcpStream::connect(&self.connect).map_err(Error::new)?;
        stream.set_nodelay(self.peer == Peer::Nodelay).map_err(Error::new)?;
        let times = Times::new();
        let home = Home::new()?;
        let mut scanner = seven::open_scanner(place.path(), &home)?;
        let channel = Arc::new(TcpChannel::new(stream.try_clone().map_err(Error::new)?));
        let seen = Arc::clone(&times);
        let sink = Arc::new(move |_: &str, vlsn| seen.note_ack(vlsn));
        let feeder = FeederRunner::new_with_ack_sink(channel, 1, "replica".into(), sink);
        let sender = thread::spawn(move || feeder.run(&mut scanner).map_err(Error::new));
        times.wait_for(BEFORE)?;
        let figures = self.append(&writer, &mix, &times, || ());
        stream.shutdown(Shutdown::Both).map_err(Error::new)?;
        // How it takes the broken connection is not of interest.
        let _ = sender.join();
        figures
    }

    fn append(&self, writer: &Writer, mix: &EntryMix, times: &Times, tell: impl Fn()) -> Result<Figures> {
        let mut random = Random(1);
        let (mut begun, mut readable) = (Vec::new(), Vec::new());
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        while Instant::now() < end && begun.len() < SAMPLES_MAX {
            if let Some(pause) = self.pace.pause(&mut random) {
                thread::sleep(pause);
            }
            let vlsn = BEFORE + 1 + begun.len() as u64;
            begun.push(times.now());
            append(writer, mix, vlsn)?;
            writer.flush()?;
            readable.push(times.now());
            tell();
            if self.pace == Pace::Close {
                times.wait_for(vlsn)?;
            }
        }
        times.wait_for(BEFORE + begun.len() as u64)?;
        let acked: Vec<u64> = times.acked.iter().map(|at| at.load(Ordering::Acquire)).collect();
        let since = |from: &[u64]| -> Vec<u64> {
            acked.iter().zip(from).skip(WARM).map(|(acked, from)| acked.saturating_sub(*from)).collect()
        };
        let mut figures = Figures::default();
        percentiles(&mut figures, "", since(&begun))?;
        percentiles(&mut figures, "readable_", since(&readable))?;
        Ok(figures)
    }

    /// Two threads over loopback.
    fn run_limit(&self) -> Result<Figures> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::new)?;
        let mut near = TcpStream::connect(listener.local_addr().map_err(Error::new)?).map_err(Error::new)?;
        let (mut far, _) = listener.accept().map_err(Error::new)?;
        near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).map_err(Error::new)?;
        let tid = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&tid);
        let other = thread::spawn(move || {
            // SAFETY: it takes nothing and cannot fail.
            known.store(u64::try_from(unsafe { libc::gettid() }).unwrap_or(0), Ordering::Release);
            let mut ping = [0; PING];
            while far.read_exact(&mut ping).is_ok() && far.write_all(&ping[..PONG]).is_ok() {}
        });
        let mut figures = Figures::default();
        percentiles(&mut figures, "", self.play(&mut near)?)?;
        // Where the system lets both run on one core, neither wakes the other from sleep: once more on two.
        if pin(0, 0) && pin(libc::pid_t::try_from(tid.load(Ordering::Acquire)).unwrap_or(0), 1) {
            percentiles(&mut figures, "apart_", self.play(&mut near)?)?;
        }
        drop(near);
        let _ = other.join();
        Ok(figures)
    }

    fn play(&self, near: &mut TcpStream) -> Result<Vec<u64>> {
        let mut random = Random(1);
        let mut took = Vec::new();
        let end = Instant::now() + Duration::from_secs_f64(self.seconds / 2.0);
        while Instant::now() < end && took.len() < SAMPLES_MAX {
            if let Some(pause) = self.pace.pause(&mut random) {
                thread::sleep(pause);
            }
            let begun = Instant::now();
            near.write_all(&[0; PING]).map_err(Error::new)?;
            near.read_exact(&mut [0; PONG]).map_err(Error::new)?;
            took.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        Ok(took.split_off(WARM.min(took.len())))
    }
}

/// Keeps a thread, 0 for this one, on one core. False: it cannot be kept there.
fn pin(thread: libc::pid_t, core: usize) -> bool {
    // SAFETY: all-zero bytes are a valid set of cores, and the set is as large as it says.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const cores) == 0
    }
}

/// A log with some entries in a new directory below `dir`, and its writer.
pub(super) fn begin(dir: &Path) -> Result<(TempDir, Writer, EntryMix)> {
    let place = TempDir::new_in(dir).map_err(|e| Error::at(dir, e))?;
    let writer = Writer::open(place.path(), Generation::Seven, FILE_MAX)?;
    let mix = EntryMix { payload: PayloadSize::between(100, 100), untagged_every: 0, commit_every: 0, seed: 1 };
    for vlsn in 1..=BEFORE {
        append(&writer, &mix, vlsn)?;
    }
    writer.flush()?;
    Ok((place, writer, mix))
}

/// Appends an entry. Others see it with the next flush.
pub(super) fn append(writer: &Writer, mix: &EntryMix, vlsn: u64) -> Result<()> {
    let made = mix.replicated(vlsn);
    writer.append(Some(vlsn), made.entry_type.type_num(), &made.payload)
}

unsafe extern "C" fn acked(context: *mut c_void, _: *const c_char, vlsn: u64) {
    // SAFETY: the context that was registered, which outlives the runner.
    unsafe { &*context.cast::<Times>() }.note_ack(vlsn);
}

/// The figures of so many samples, in microseconds.
pub(super) fn percentiles(figures: &mut Figures, prefix: &str, mut nanos: Vec<u64>) -> Result<()> {
    nanos.sort_unstable();
    let last = nanos.len().checked_sub(1).ok_or_else(|| Error::new("no time for a single sample"))?;
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        let at = (last as f64 * share).round() as usize;
        figures.set(&format!("{prefix}{name}"), nanos[at] as f64 / 1e3);
    }
    figures.set(&format!("{prefix}samples"), nanos.len() as f64);
    Ok(())
}

/// Pauses that are the same in every run.
struct Random(u64);

impl Random {
    fn pause(&mut self) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros(1000 + (self.0 >> 33) % 9000)
    }
}
