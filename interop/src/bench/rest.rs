//! A sender with nothing to do, and one whose replica is slow: wake-ups, CPU time, memory.

use std::ffi::{c_char, c_void};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use noxu_rep::net::channel::TcpChannel;
use noxu_rep::stream::feeder::FeederRunner;

use super::interface::Library;
use super::process::{cpu_seconds, resident_bytes, sleeps};
use super::{Figures, Peer};
use crate::original_feed::{Home, seven};
use crate::{Error, Result};

/// Lets a sender rest
#[derive(Debug, Clone, Args)]
pub struct Rest {
    /// Who rests
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
    /// For how long
    #[arg(long, value_name = "S")]
    pub seconds: f64,
    /// The library
    #[arg(long, value_name = "FILE")]
    pub library: PathBuf,
    /// Feed so many replicas at once, which are slow, and measure memory
    #[arg(long, value_name = "N")]
    pub slow: Option<usize>,
    /// Set an option of the library
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

impl Rest {
    /// Measures.
    pub fn run(&self) -> Result<Figures> {
        match (self.peer, self.slow) {
            (Peer::Ours, None) => self.idle_ours(),
            (Peer::Original, None) => self.idle_original(),
            (Peer::Ours, Some(replicas)) => self.slow_ours(replicas),
            (Peer::Original, Some(replicas)) => self.slow_original(replicas),
            (other, _) => Err(Error::new(format_args!("{} does not rest", other.name()))),
        }
    }

    fn idle_ours(&self) -> Result<Figures> {
        let library = Library::load(&self.library)?;
        let options = library.options(self.options.iter().filter_map(|option| option.split_once('=')))?;
        let acks = AtomicU64::new(0);
        let mut runner = library.runner(&self.connect, &options)?;
        runner.set_ack_callback(acked, &acks)?;
        let log = library.log(&self.dir, &options)?;
        runner.start(log.scanner()?)?;
        runner.wait_acked(self.last, 60_000)?;
        let figures = self.idle();
        drop(runner);
        figures
    }

    fn idle_original(&self) -> Result<Figures> {
        let (stream, sender, acked) = self.original()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while acked.load(Ordering::Acquire) < self.last {
            if Instant::now() > deadline {
                return Err(Error::new("the last entry was not acked in 60 s"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let figures = self.idle();
        stream.shutdown(Shutdown::Both).map_err(Error::new)?;
        let _ = sender.join();
        figures
    }

    fn original(&self) -> Result<(TcpStream, thread::JoinHandle<()>, Arc<AtomicU64>)> {
        let stream = TcpStream::connect(&self.connect).map_err(Error::new)?;
        let home = Home::new()?;
        let mut scanner = seven::open_scanner(&self.dir, &home)?;
        let channel = Arc::new(TcpChannel::new(stream.try_clone().map_err(Error::new)?));
        let acked = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&acked);
        let sink = Arc::new(move |_: &str, vlsn| seen.store(vlsn, Ordering::Release));
        let feeder = FeederRunner::new_with_ack_sink(channel, 1, "replica".into(), sink);
        let sender = thread::spawn(move || {
            let _home = home;
            // How it takes the end of the connection is not of interest.
            let _ = feeder.run(&mut scanner);
        });
        Ok((stream, sender, acked))
    }

    fn idle(&self) -> Result<Figures> {
        thread::sleep(Duration::from_millis(300));
        let (slept, cpu, begun) = (sleeps()?, cpu_seconds(), Instant::now());
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let took = begun.elapsed().as_secs_f64();
        let (cpu, slept) = (cpu_seconds() - cpu, sleeps()? - slept);
        let mut figures = Figures::default();
        // One sleep is this function's own.
        figures.set("wakeups", slept.saturating_sub(1) as f64 / took);
        figures.set("cpu_ms", cpu * 1e3 / took);
        Ok(figures)
    }

    fn slow_ours(&self, replicas: usize) -> Result<Figures> {
        let library = Library::load(&self.library)?;
        let options = library.options(self.options.iter().filter_map(|option| option.split_once('=')))?;
        let log = library.log(&self.dir, &options)?;
        let before = resident_bytes()?;
        let mut runners = Vec::new();
        for _ in 0..replicas {
            let mut runner = library.runner(&self.connect, &options)?;
            runner.start(log.scanner()?)?;
            runners.push(runner);
        }
        let figures = self.watch_memory(before, replicas);
        drop(runners);
        figures
    }

    fn slow_original(&self, replicas: usize) -> Result<Figures> {
        let before = resident_bytes()?;
        let senders: Result<Vec<_>> = (0..replicas).map(|_| self.original()).collect();
        let figures = self.watch_memory(before, replicas);
        for (stream, sender, _) in senders? {
            stream.shutdown(Shutdown::Both).map_err(Error::new)?;
            let _ = sender.join();
        }
        figures
    }

    /// The most that was ever seen.
    fn watch_memory(&self, before: u64, replicas: usize) -> Result<Figures> {
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut most = 0;
        while Instant::now() < end {
            most = most.max(resident_bytes()?.saturating_sub(before));
            thread::sleep(Duration::from_millis(5));
        }
        let mut figures = Figures::default();
        figures.set("resident", most as f64 / replicas as f64);
        Ok(figures)
    }
}

unsafe extern "C" fn acked(context: *mut c_void, _: *const c_char, _: u64) {
    // SAFETY: the context that was registered, which outlives the runner.
    unsafe { &*context.cast::<AtomicU64>() }.fetch_add(1, Ordering::Relaxed);
}
