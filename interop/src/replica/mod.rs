//! `replica`: the real receiving side behind a listening socket.
//!
//! A feeder connects, and both ends then speak the replication stream at once, with no service name before
//! it; or the replica dials in, and asks for the stream by its service, behind what it holds. Upstream's own receiver reads the frames, upstream's own log writer stores them, and both are from
//! the generation asked for. The run ends when the wanted VLSN is held, the feeder closes, or time is up.

mod blocking;
mod progress;
mod real;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, value_parser};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::generation::Generation;
use crate::sizes::parse_bytes;
use crate::watchdog::Watchdog;
use crate::{Error, Result};
use progress::Progress;

/// How long the feeder may take to close after the replica has all it wanted.
const LINGER: Duration = Duration::from_secs(2);

/// Receives a stream as the real replica does, into a real log
#[derive(Debug, Clone, Args)]
pub struct Replica {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Dial in there, by the service PEER_FEEDER, instead of listening
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["listen", "port_file"])]
    pub dial: Option<SocketAddr>,
    /// The port that is listened on is written here, whole, once it is
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Where the replica's log goes, or goes on
    #[arg(long)]
    pub dir: PathBuf,
    /// End once this VLSN is held; a feeder that closes before is an error
    #[arg(long, value_name = "N")]
    pub expect_vlsn: Option<u64>,
    /// Give up after this long in all
    #[arg(long, default_value_t = 60, value_name = "S")]
    pub timeout_seconds: u64,
    /// real; blocking: hand-written, made to deadlock with a feeder that does not read acks while it sends;
    /// none-until-N: real, but silent below VLSN N; none
    #[arg(long, default_value = "real")]
    pub ack: AckMode,
    /// Length of a blocking receiver's acks; a feeder ignores what is past 8
    #[arg(long, default_value_t = 1024, value_name = "BYTES", value_parser = value_parser!(u32).range(8..=65536))]
    pub ack_bytes: u32,
    /// Whose receiver
    #[arg(long, default_value = "7")]
    pub version: Generation,
    /// Also apply the entries to a live environment, which checks the commits' DTVLSNs (version 7)
    #[arg(long)]
    pub apply: bool,
    /// Size from which the replica's log starts another file
    #[arg(long, default_value = "10M", value_name = "BYTES", value_parser = parse_bytes)]
    pub file_max: u64,
    /// Print a line with the VLSN held now and then
    #[arg(long)]
    pub progress: bool,
}

/// How a replica answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// The real receiver, which acks every frame from the thread that reads.
    Real,
    /// Our own loop, which reads nothing while an ack waits for room in a tiny socket buffer.
    Blocking,
    /// The real receiver, whose acks below this VLSN are dropped.
    NoneUntil(u64),
}

impl FromStr for AckMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let vlsn = |digits: &str| digits.parse().ok();
        match text {
            "real" => Some(Self::Real),
            "blocking" => Some(Self::Blocking),
            "none" => Some(Self::NoneUntil(u64::MAX)),
            _ => text.strip_prefix("none-until-").and_then(vlsn).map(Self::NoneUntil),
        }
        .ok_or_else(|| Error::new(format_args!("'{text}' is not one of real, blocking, none, none-until-N")))
    }
}

/// What a replica holds at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// Replicated entries in its log, from earlier runs too.
    pub entries: u64,
    /// The VLSN of the last one received; 0 if there is none.
    pub last: u64,
}

impl Replica {
    /// Listens and tells `listening` the port, or dials in; receives from one feeder, and gives what is then held, durably.
    pub fn run(&self, listening: impl FnOnce(u16)) -> Result<Holds> {
        self.check()?;
        fs::create_dir_all(&self.dir).map_err(|e| Error::at(&self.dir, e))?;
        let deadline = Instant::now() + Duration::from_secs(self.timeout_seconds);
        let store = real::open(self)?;
        let progress = Arc::new(Progress::new(store.held(), self.expect_vlsn, self.progress));
        let stream = match self.dial {
            Some(address) => dial_in(address, store.held().last, deadline)?,
            None => self.accept(&self.listen(listening)?, deadline)?,
        };
        let watchdog = Watchdog::start(&stream, deadline)?;
        let ended = store.receive(&stream, self, &progress)?;
        hang_up(&stream);
        let timed_out = watchdog.stop();
        self.judge(ended, &progress, timed_out)
    }

    fn check(&self) -> Result<()> {
        if self.apply && self.version == Generation::Six {
            return Err(Error::new("--apply needs --version 7"));
        }
        Ok(())
    }

    fn listen(&self, listening: impl FnOnce(u16)) -> Result<TcpListener> {
        let refused = |e| Error::new(format_args!("--listen {}: {e}", self.listen));
        let listener = TcpListener::bind(self.listen).map_err(refused)?;
        if self.ack == AckMode::Blocking {
            blocking::shrink(&listener)?;
        }
        let port = listener.local_addr().map_err(refused)?.port();
        if let Some(path) = &self.port_file {
            publish_port(path, port)?;
        }
        listening(port);
        Ok(listener)
    }

    fn accept(&self, listener: &TcpListener, deadline: Instant) -> Result<TcpStream> {
        await_feeder(listener, deadline)?;
        let (stream, _) = listener.accept().map_err(|e| Error::new(format_args!("--listen {}: {e}", self.listen)))?;
        Ok(stream)
    }

    fn judge(&self, ended: Result<()>, progress: &Progress, timed_out: bool) -> Result<Holds> {
        let holds = progress.holds();
        if progress.complete() {
            return Ok(holds);
        }
        let last = holds.last;
        if timed_out {
            let limit = self.timeout_seconds;
            return Err(Error::new(format_args!("still at VLSN {last} after --timeout-seconds {limit}")));
        }
        ended.map_err(|e| Error::new(format_args!("at VLSN {last}: {e}")))?;
        match self.expect_vlsn {
            Some(wanted) => Err(Error::new(format_args!("the feeder closed at VLSN {last}, before {wanted}"))),
            None => Ok(holds),
        }
    }
}

/// Waits for a connection until the deadline.
fn await_feeder(listener: &TcpListener, deadline: Instant) -> Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| Error::new("--timeout-seconds is too long"))?;
    let mut waiting = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut waiting, Some(&left)).map_err(Error::new)? {
        0 => Err(Error::new("no feeder connected in time")),
        _ => Ok(()),
    }
}

/// Connects to a master's side and asks it for what comes behind `held`; 0 for all. Tries again until the deadline while
/// nobody listens there.
fn dial_in(address: SocketAddr, held: u64, deadline: Instant) -> Result<TcpStream> {
    let refused = |e| Error::new(format_args!("--dial {address}: {e}"));
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(e) if Instant::now() >= deadline => return Err(refused(e)),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let start = if held == 0 { 0 } else { held + 1 };
    let name = b"PEER_FEEDER";
    let request = [&11u32.to_le_bytes()[..], name, &8u32.to_le_bytes(), &u64::to_le_bytes(start)].concat();
    stream.write_all(&request).map_err(refused)?;
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(deadline.saturating_duration_since(Instant::now()))).map_err(refused)?;
    stream.read_exact(&mut answer).map_err(refused)?;
    stream.set_read_timeout(None).map_err(refused)?;
    match answer {
        [1, 0, 0, 0, 0] => Ok(stream),
        [1, 0, 0, 0, 1] => Err(Error::new(format_args!("--dial {address}: VLSN {start} needs a restore"))),
        other => Err(Error::new(format_args!("--dial {address}: the answer is {other:?}"))),
    }
}

/// Writes the port so that whoever sees the file sees all of it.
fn publish_port(path: &Path, port: u16) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    fs::write(&unfinished, format!("{port}\n")).map_err(|e| Error::at(&unfinished, e))?;
    fs::rename(&unfinished, path).map_err(|e| Error::at(path, e))
}

/// Ends the replica's side and lets the feeder end its own: to close at once with frames unread would reset
/// the connection, and the last acks could be lost with it.
fn hang_up(mut stream: &TcpStream) {
    let until = Instant::now() + LINGER;
    // A failure here means that the connection is gone already, which is what is wanted.
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut unread = [0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut unread) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
