//! One sender feeding one sink a whole log, timed from before the log is opened to the last ack.

use std::ffi::{c_char, c_void};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use noxu_rep::net::channel::TcpChannel;
use noxu_rep::stream::feeder::{EnvironmentLogScanner, FeederRunner, LogScanner};

use super::interface::{Library, Runner};
use super::pages::Pages;
use super::process::Cpu;
use super::{Figures, Peer};
use crate::original_feed::{Home, seven};
use crate::reader::log_files;
use crate::{Error, Result};

/// How much of a file the limit reads and writes at once.
const LIMIT_BYTES: usize = 1 << 20;

/// Feeds a sink a whole log
#[derive(Debug, Clone, Args)]
pub struct Feed {
    /// Who feeds
    #[arg(long)]
    pub peer: Peer,
    /// The log
    #[arg(long)]
    pub dir: PathBuf,
    /// The last VLSN in it
    #[arg(long, value_name = "V")]
    pub last: u64,
    /// Where the sink listens
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: String,
    /// The library
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
    /// Set an option of the library
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// What is noted while acks come in.
struct Watch {
    start: Instant,
    last: u64,
    /// Every so many acks the sender is asked how far it has sent.
    stride: u64,
    acks: AtomicU64,
    sent_ns: AtomicU64,
    done_ns: AtomicU64,
}

impl Watch {
    fn new(last: u64) -> Self {
        Self {
            start: Instant::now(),
            last,
            stride: (last / 2048).max(1),
            acks: AtomicU64::new(0),
            sent_ns: AtomicU64::new(0),
            done_ns: AtomicU64::new(0),
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn note_sent(&self) {
        if self.sent_ns.load(Ordering::Relaxed) == 0 {
            self.sent_ns.store(self.nanos(), Ordering::Relaxed);
        }
    }

    /// True: that was the last.
    #[inline]
    fn note_ack(&self, vlsn: u64, sent_vlsn: impl FnOnce() -> u64) -> bool {
        let acks = self.acks.load(Ordering::Relaxed) + 1;
        self.acks.store(acks, Ordering::Relaxed);
        let is_last = vlsn >= self.last;
        if is_last {
            self.done_ns.store(self.nanos(), Ordering::Relaxed);
        }
        if (is_last || acks.is_multiple_of(self.stride)) && sent_vlsn() >= self.last {
            self.note_sent();
        }
        is_last
    }

    fn figures(&self, cpu: Cpu) -> Result<Figures> {
        let done_ns = self.done_ns.load(Ordering::Relaxed);
        let acks = self.acks.load(Ordering::Relaxed);
        if done_ns == 0 || acks != self.last {
            return Err(Error::new(format_args!("{acks} acks of {}", self.last)));
        }
        let sent_ns = match self.sent_ns.load(Ordering::Relaxed) {
            0 => done_ns,
            sent_ns => sent_ns,
        };
        let mut figures = Figures::default();
        figures.set("entries", self.last as f64);
        figures.set("seconds", done_ns as f64 / 1e9);
        figures.set("sent_seconds", sent_ns as f64 / 1e9);
        figures.set("cpu_user", cpu.user.as_secs_f64());
        figures.set("cpu_system", cpu.system.as_secs_f64());
        Ok(figures)
    }
}

impl Feed {
    /// Feeds until the last ack.
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
        let given = self.options.iter().filter_map(|option| option.split_once('='));
        let options = library.options(self.peer.options().iter().copied().chain(given))?;
        let runner = library.runner(&self.connect, &options)?;
        let before = Cpu::now();
        let mut context = Context { runner, watch: Watch::new(self.last) };
        context.register()?;
        let log = library.log(&self.dir, &options)?;
        context.runner.run(log.scanner()?)?;
        let Context { runner, watch } = context;
        drop(runner);
        watch.figures(Cpu::now().since(before))
    }

    fn run_original(&self) -> Result<Figures> {
        let stream = TcpStream::connect(&self.connect).map_err(Error::new)?;
        stream.set_nodelay(self.peer == Peer::Nodelay).map_err(Error::new)?;
        let home = Home::new()?;
        let before = Cpu::now();
        let watch = Arc::new(Watch::new(self.last));
        let mut scanner = Counted { scanner: seven::open_scanner(&self.dir, &home)?, watch: Arc::clone(&watch) };
        let channel = Arc::new(TcpChannel::new(stream.try_clone().map_err(Error::new)?));
        let seen = Arc::clone(&watch);
        let sink = Arc::new(move |_: &str, vlsn| {
            if seen.note_ack(vlsn, || 0) {
                // The sink reads to the end and closes, and that ends the run.
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
        let ended = FeederRunner::new_with_ack_sink(channel, 1, "replica".into(), sink).run(&mut scanner);
        let figures = watch.figures(Cpu::now().since(before));
        if figures.is_err() {
            ended.map_err(Error::new)?;
        }
        figures
    }

    fn run_limit(&self) -> Result<Figures> {
        let mut stream = TcpStream::connect(&self.connect).map_err(Error::new)?;
        stream.set_nodelay(true).map_err(Error::new)?;
        let before = Cpu::now();
        let watch = Watch::new(self.last);
        let mut buffer = Pages::new(LIMIT_BYTES);
        for file in log_files(&self.dir)? {
            let file = File::open(&file.path).map_err(|e| Error::at(&file.path, e))?;
            let mut at = 0;
            loop {
                let read = file.read_at(&mut buffer, at).map_err(Error::new)?;
                if read == 0 {
                    break;
                }
                at += read as u64;
                stream.write_all(&buffer[..read]).map_err(Error::new)?;
            }
        }
        watch.note_sent();
        stream.shutdown(Shutdown::Write).map_err(Error::new)?;
        stream.read_exact(&mut [0]).map_err(Error::new)?;
        watch.done_ns.store(watch.nanos(), Ordering::Relaxed);
        watch.acks.store(self.last, Ordering::Relaxed);
        watch.figures(Cpu::now().since(before))
    }
}

struct Context {
    runner: Runner,
    watch: Watch,
}

impl Context {
    fn register(&mut self) -> Result<()> {
        let context = &raw const *self;
        // SAFETY: `self` stays where it is until the run has ended.
        self.runner.set_ack_callback(acked, unsafe { &*context })
    }
}

unsafe extern "C" fn acked(context: *mut c_void, _: *const c_char, vlsn: u64) {
    // SAFETY: the context that was registered, which outlives the run.
    let context = unsafe { &*context.cast::<Context>() };
    if context.watch.note_ack(vlsn, || context.runner.sent_vlsn()) {
        context.runner.begin_stop();
    }
}

/// The real scanner; it notes when the sender comes back behind the last entry.
struct Counted {
    scanner: EnvironmentLogScanner,
    watch: Arc<Watch>,
}

impl LogScanner for Counted {
    fn next_entry(&mut self, from_vlsn: u64) -> Option<(u64, u8, Vec<u8>)> {
        if from_vlsn > self.watch.last {
            self.watch.note_sent();
        }
        self.scanner.next_entry(from_vlsn)
    }

    fn take_scan_error(&mut self) -> Option<noxu_rep::RepError> {
        self.scanner.take_scan_error()
    }
}
