//! `original-feed`: upstream's own sender, for comparison and to show what it gets wrong.
//!
//! Its scanner takes nothing but the home directory from the environment that it wants. So the environment
//! is opened on an empty directory, which then gives way to a link to the log: the log is neither recovered
//! nor written to, and may be one that no environment would open.

use std::fmt::{self, Display};
use std::fs;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::TempDir;

use crate::generation::Generation;
use crate::watchdog::Watchdog;
use crate::{Error, Result};

/// Feeds a replica with upstream's own sender
#[derive(Debug, Clone, Args)]
pub struct OriginalFeed {
    /// The master's log
    #[arg(long)]
    pub dir: PathBuf,
    /// Where the replica listens
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: String,
    /// The first VLSN to send
    #[arg(long, default_value_t = 1, value_name = "V")]
    pub start_vlsn: u64,
    /// End when the replica has acked this VLSN; otherwise the replica ends the stream
    #[arg(long, value_name = "V", conflicts_with = "until_sent")]
    pub until_acked: Option<u64>,
    /// End when this VLSN has been sent, acked or not
    #[arg(long, value_name = "V")]
    pub until_sent: Option<u64>,
    /// Give up when K looks at the log in a row, some 6 ms apart, have brought nothing, and no ack came either
    #[arg(long, value_name = "K")]
    pub idle_looks: Option<u64>,
    /// Give up after this long in all
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub timeout_seconds: u64,
    /// Set TCP_NODELAY, which upstream does not
    #[arg(long)]
    pub nodelay: bool,
    /// Whose sender
    #[arg(long, default_value = "7")]
    pub version: Generation,
}

/// What was sent, and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fed {
    /// Entries sent.
    pub entries: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// From the start to the end of the last send.
    pub took: Duration,
    /// The highest VLSN acked; 0 if none was.
    pub acked: u64,
}

impl Display for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, bytes, took, acked } = self;
        let seconds = took.as_secs_f64();
        let rate = *entries as f64 / seconds.max(f64::EPSILON);
        write!(f, "fed entries={entries} bytes={bytes} seconds={seconds:.3} per_second={rate:.0} acked={acked}")
    }
}

impl OriginalFeed {
    /// Feeds until the stream ends; gives what was sent, and how the stream ended.
    pub fn run(&self) -> Result<(Fed, Result<()>)> {
        let stream = self.connect()?;
        let home = Home::new()?;
        let tally = Arc::new(Tally::new(&stream, self)?);
        let deadline = Instant::now() + Duration::from_secs(self.timeout_seconds);
        let watchdog = Watchdog::start(&stream, deadline)?;
        let ended = match self.version {
            Generation::Seven => seven::feed(self, &stream, &home, &tally),
            Generation::Six => six::feed(self, &stream, &home, &tally),
        };
        let timed_out = watchdog.stop();
        Ok((tally.fed(), self.judge(ended, &tally, timed_out)))
    }

    fn connect(&self) -> Result<TcpStream> {
        let failed = |e| Error::new(format_args!("--connect {}: {e}", self.connect));
        let mut addresses = self.connect.to_socket_addrs().map_err(failed)?;
        let address = addresses.next().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let limit = Duration::from_secs(self.timeout_seconds.max(1));
        let stream = TcpStream::connect_timeout(&address, limit).map_err(failed)?;
        stream.set_nodelay(self.nodelay).map_err(failed)?;
        Ok(stream)
    }

    fn judge(&self, ended: Result<()>, tally: &Tally, timed_out: bool) -> Result<()> {
        if tally.complete() {
            return Ok(());
        }
        if timed_out {
            let (sent, acked) = (tally.last_sent(), tally.acked());
            let limit = self.timeout_seconds;
            let text = format_args!("sent up to VLSN {sent}, acked {acked}, after --timeout-seconds {limit}");
            return Err(Error::new(text));
        }
        if tally.idle() {
            let (sent, acked) = (tally.last_sent(), tally.acked());
            let looks = tally.idle_looks_max;
            let text = format_args!("sent up to VLSN {sent}, acked {acked}, then nothing for --idle-looks {looks}");
            return Err(Error::new(text));
        }
        ended
    }
}

/// What the sender did so far; it ends the stream when that is enough.
struct Tally {
    stream: TcpStream,
    until_acked: u64,
    until_sent: u64,
    idle_looks_max: u64,
    start: Instant,
    entries: AtomicU64,
    bytes: AtomicU64,
    last_sent: AtomicU64,
    nanos: AtomicU64,
    acked: AtomicU64,
    idle_looks: AtomicU64,
}

impl Tally {
    fn new(stream: &TcpStream, options: &OriginalFeed) -> Result<Self> {
        Ok(Self {
            stream: stream.try_clone().map_err(Error::new)?,
            until_acked: options.until_acked.unwrap_or(u64::MAX),
            until_sent: options.until_sent.unwrap_or(u64::MAX),
            idle_looks_max: options.idle_looks.unwrap_or(u64::MAX),
            start: Instant::now(),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_sent: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            idle_looks: AtomicU64::new(0),
        })
    }

    /// The scanner has an entry.
    fn found(&self) {
        self.idle_looks.store(0, Ordering::Release);
    }

    /// The scanner has nothing for now.
    fn found_nothing(&self) {
        self.idle_looks.fetch_add(1, Ordering::AcqRel);
        if self.idle() {
            self.end_stream();
        }
    }

    fn sent(&self, vlsn: u64, bytes: usize) {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Ordering::Release);
        self.entries.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes as u64, Ordering::AcqRel);
        self.last_sent.store(vlsn, Ordering::Release);
        if vlsn >= self.until_sent {
            self.end_stream();
        }
    }

    fn got_ack(&self, vlsn: u64) {
        if !self.idle() {
            self.idle_looks.store(0, Ordering::Release);
        }
        let highest = self.acked.fetch_max(vlsn, Ordering::AcqRel).max(vlsn);
        if highest >= self.until_acked {
            self.end_stream();
        }
    }

    /// The replica reads to the end and closes, if it has not closed already.
    fn end_stream(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    fn last_sent(&self) -> u64 {
        self.last_sent.load(Ordering::Acquire)
    }

    fn idle(&self) -> bool {
        self.idle_looks.load(Ordering::Acquire) >= self.idle_looks_max
    }

    fn complete(&self) -> bool {
        self.acked() >= self.until_acked || self.last_sent() >= self.until_sent
    }

    fn fed(&self) -> Fed {
        Fed {
            entries: self.entries.load(Ordering::Acquire),
            bytes: self.bytes.load(Ordering::Acquire),
            took: Duration::from_nanos(self.nanos.load(Ordering::Acquire)),
            acked: self.acked(),
        }
    }
}

/// The place that an environment is opened on before it becomes a link to the log.
pub(crate) struct Home {
    place: TempDir,
}

impl Home {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { place: TempDir::new().map_err(Error::new)? })
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("home")
    }

    fn create(&self) -> Result<()> {
        let home = self.path();
        fs::create_dir(&home).map_err(|e| Error::at(&home, e))
    }

    fn become_link_to(&self, log: &Path) -> Result<()> {
        let home = self.path();
        let log = fs::canonicalize(log).map_err(|e| Error::at(log, e))?;
        fs::remove_dir_all(&home).map_err(|e| Error::at(&home, e))?;
        symlink(log, &home).map_err(|e| Error::at(&home, e))
    }
}

// The generations have the same types by the same names, but each its own; only 7.11.2's scanner can tell
// why it stopped.
macro_rules! sending_side {
    ($generation:ident, $rep:ident, $dbi:ident, { $($scan_error:item)? }) => {
        pub(crate) mod $generation {
            use std::net::TcpStream;
            use std::path::Path;
            use std::sync::Arc;

            use $dbi::EnvironmentImpl;
            use $rep::net::channel::TcpChannel;
            use $rep::stream::feeder::{EnvironmentLogScanner, FeederRunner, LogScanner};

            use super::{Error, Home, OriginalFeed, Result, Tally};

            /// The real scanner, counting each entry once the sender comes back for the next.
            struct Counted {
                scanner: EnvironmentLogScanner,
                tally: Arc<Tally>,
                sending: Option<(u64, usize)>,
            }

            impl LogScanner for Counted {
                fn next_entry(&mut self, from_vlsn: u64) -> Option<(u64, u8, Vec<u8>)> {
                    if let Some((vlsn, bytes)) = self.sending.take() {
                        self.tally.sent(vlsn, bytes);
                    }
                    let Some(entry) = self.scanner.next_entry(from_vlsn) else {
                        self.tally.found_nothing();
                        return None;
                    };
                    self.tally.found();
                    self.sending = Some((entry.0, entry.2.len()));
                    Some(entry)
                }

                $($scan_error)?
            }

            pub(super) fn feed(
                options: &OriginalFeed,
                stream: &TcpStream,
                home: &Home,
                tally: &Arc<Tally>,
            ) -> Result<()> {
                let scanner = open_scanner(&options.dir, home)?;
                let mut scanner = Counted { scanner, tally: Arc::clone(tally), sending: None };
                let channel = Arc::new(TcpChannel::new(stream.try_clone().map_err(Error::new)?));
                let acks = Arc::clone(tally);
                let sink = Arc::new(move |_: &str, vlsn| acks.got_ack(vlsn));
                let replica = options.connect.clone();
                FeederRunner::new_with_ack_sink(channel, options.start_vlsn, replica, sink)
                    .run(&mut scanner)
                    .map_err(Error::new)
            }

            /// The real scanner at the beginning of the log in `log`.
            pub(crate) fn open_scanner(log: &Path, home: &Home) -> Result<EnvironmentLogScanner> {
                home.create()?;
                let environment =
                    EnvironmentImpl::new(home.path(), true, true).map_err(|e| Error::at(&home.path(), e))?;
                home.become_link_to(log)?;
                EnvironmentLogScanner::new(&environment, None)
                    .ok_or_else(|| Error::at(log, "upstream's scanner does not open this log"))
            }
        }
    };
}

sending_side!(seven, noxu_rep, noxu_dbi, {
    fn take_scan_error(&mut self) -> Option<noxu_rep::RepError> {
        self.scanner.take_scan_error()
    }
});
sending_side!(six, noxu_rep_6, noxu_dbi_6, {});
