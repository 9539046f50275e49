//! One log, many replicas: a server, a runner for each of them, and a loop that sends the same bytes from memory.

use std::ffi::CString;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use noxu_feeder::acks::Deadline;
use noxu_feeder::feed::shared::SharedCounts;
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::server::Server;
use noxu_feeder::server::dispatcher::Functions;
use noxu_feeder::server::events::{Event, Kind};
use noxu_feeder::source::LogSource;
use noxu_feeder::transport::SocketChannel;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::latency::{BEFORE, PATIENCE, SAMPLES_MAX, WARM, append, begin, percentiles};
use super::pages::Pages;
use super::process::{
    Cpu, cpu_seconds, descriptors, raise_descriptor_limit, read_bytes, resident_bytes, sleeps, thread_cpu_seconds,
    threads,
};
use super::{Figures, Peer};
use crate::writer::log_bytes;
use crate::{Error, Result};

/// What is done for many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// They are sent a whole log.
    CatchUp,
    /// They have all, and an entry after the other is appended, each when all have acknowledged the one before.
    Live,
    /// They have all, and nothing happens.
    Rest,
}

impl Work {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Work::CatchUp => "catch-up",
            Work::Live => "live",
            Work::Rest => "rest",
        }
    }
}

/// Feeds many replicas from one log
#[derive(Debug, Clone, Args)]
pub struct Fanout {
    /// Who feeds
    #[arg(long)]
    pub peer: Peer,
    /// What is done
    #[arg(long)]
    pub work: Work,
    /// The log; to append, where a directory for one can be made
    #[arg(long)]
    pub dir: PathBuf,
    /// The last VLSN in it
    #[arg(long, default_value_t = BEFORE, value_name = "V")]
    pub last: u64,
    /// How long a frame is, with its length before it
    #[arg(long, value_name = "BYTES")]
    pub frame_bytes: u64,
    /// How many replicas there are
    #[arg(long, value_name = "N")]
    pub replicas: usize,
    /// How many connections there are besides that say nothing
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub silent: usize,
    /// Where the sink listens
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: String,
    /// For how long
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    pub seconds: f64,
    /// Set an option of the library
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

/// What has been acknowledged, by how many.
struct Heard {
    start: Instant,
    /// What each replica has acknowledged.
    seen: Vec<AtomicU64>,
    /// What is waited for, and how many have still to acknowledge that.
    wanted: AtomicU64,
    left: AtomicUsize,
    done_ns: AtomicU64,
    waiter: Thread,
}

impl Heard {
    /// Nothing yet. The thread that makes it is the one that waits.
    fn of(connections: usize) -> Arc<Heard> {
        Arc::new(Heard {
            start: Instant::now(),
            seen: (0..connections).map(|_| AtomicU64::new(0)).collect(),
            wanted: AtomicU64::new(u64::MAX),
            left: AtomicUsize::new(0),
            done_ns: AtomicU64::new(0),
            waiter: thread::current(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From now on it is waited until so many replicas have acknowledged this VLSN. None of them has.
    fn expect(&self, vlsn: u64, replicas: usize) {
        self.left.store(replicas, Ordering::Relaxed);
        self.wanted.store(vlsn, Ordering::Release);
    }

    /// A replica has acknowledged. Of one replica, one thread at a time.
    fn note(&self, replica: u64, vlsn: u64) {
        let at = usize::try_from(replica).unwrap_or(usize::MAX) % self.seen.len();
        let before = self.seen[at].fetch_max(vlsn, Ordering::Relaxed);
        let wanted = self.wanted.load(Ordering::Acquire);
        if before < wanted && vlsn >= wanted && self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done_ns.store(self.now(), Ordering::Release);
            self.waiter.unpark();
        }
    }

    /// When the last did, in nanoseconds.
    fn wait(&self) -> Result<u64> {
        let deadline = Instant::now() + PATIENCE;
        while self.left.load(Ordering::Acquire) > 0 || self.done_ns.load(Ordering::Acquire) == 0 {
            if Instant::now() >= deadline {
                let (left, wanted) = (self.left.load(Ordering::Relaxed), self.wanted.load(Ordering::Relaxed));
                return Err(Error::new(format_args!("{left} replicas have not acknowledged {wanted} in time")));
            }
            thread::park_timeout(PATIENCE);
        }
        Ok(self.done_ns.swap(0, Ordering::AcqRel))
    }
}

enum Feeding {
    Server(Server),
    Runners(Vec<Arc<Runner>>),
}

impl Feeding {
    /// What was read for all, where that is counted.
    fn counts(&self) -> Option<SharedCounts> {
        match self {
            Feeding::Server(server) => Some(server.read_counts()),
            Feeding::Runners(_) => None,
        }
    }

    fn end(self) -> Result<()> {
        match self {
            Feeding::Server(server) => server.dispose().map_err(Error::new),
            Feeding::Runners(runners) => {
                Runner::stop_all(&runners, Deadline::Never).map_err(|(_, error)| Error::new(error))?;
                runners.iter().try_for_each(|runner| runner.dispose()).map_err(Error::new)
            }
        }
    }
}

impl Fanout {
    /// Measures.
    pub fn run(&self) -> Result<Figures> {
        raise_descriptor_limit()?;
        match (self.work, self.peer) {
            (Work::CatchUp, Peer::Limit) => self.limit(),
            (_, Peer::Server | Peer::Runners | Peer::Alone) => match self.work {
                Work::CatchUp => self.catch_up(),
                Work::Live => self.live(),
                Work::Rest => self.rest(),
            },
            (_, other) => Err(Error::new(format_args!("{} does not feed many", other.name()))),
        }
    }

    fn options(&self) -> Result<Options> {
        let mut options = Options::default();
        // Who is silent is not sent away, and makes room for nobody.
        let limits = ["server.connections_max=16384", "server.greetings_max=16384", "server.name_timeout_ms=600000"];
        for option in limits.into_iter().chain(self.options.iter().map(String::as_str)) {
            let (key, value) = option.split_once('=').ok_or_else(|| Error::new("an option is KEY=VALUE"))?;
            options.set(key, value).map_err(Error::new)?;
        }
        Ok(options)
    }

    fn connect(&self) -> Result<TcpStream> {
        TcpStream::connect(&self.connect).map_err(Error::new)
    }

    fn heard(&self) -> Arc<Heard> {
        // A server numbers its connections from 0 or 1 on.
        Heard::of(self.replicas + self.silent + 1)
    }

    /// Has the replicas at the sink fed from the log in `dir`.
    fn feed(&self, dir: &Path, heard: &Arc<Heard>) -> Result<Feeding> {
        let options = self.options()?;
        let sockets: Vec<TcpStream> =
            (0..self.replicas + self.silent).map(|_| self.connect()).collect::<Result<_>>()?;
        let log = Log::open(dir, options.scanner(), None).map_err(Error::new)?;
        if self.peer == Peer::Runners {
            self.run_each(&log, sockets, &options, heard)
        } else {
            serve(log, sockets, &options, heard)
        }
    }

    fn run_each(
        &self,
        log: &Arc<Log>,
        sockets: Vec<TcpStream>,
        options: &Options,
        heard: &Arc<Heard>,
    ) -> Result<Feeding> {
        let mut runners = Vec::new();
        for (number, socket) in (0..).zip(sockets) {
            let socket_options = options.socket();
            socket_options.prepare(socket.as_fd()).map_err(Error::new)?;
            let channel = Box::new(SocketChannel::new(OwnedFd::from(socket), socket_options));
            let name = CString::new(format!("replica-{number}")).map_err(Error::new)?;
            let runner = Runner::new(channel, name, 1, options.clone()).map_err(|(_, error)| Error::new(error))?;
            let heard = Arc::clone(heard);
            runner.set_ack_function(Box::new(move |_, vlsn| heard.note(number, vlsn))).map_err(Error::new)?;
            runners.push(Arc::new(runner));
        }
        for runner in &runners {
            let source = Box::new(LogSource::new(Arc::clone(log), Lsn::NULL));
            runner.start(source).map_err(|(_, error)| Error::new(error))?;
        }
        Ok(Feeding::Runners(runners))
    }

    fn catch_up(&self) -> Result<Figures> {
        let heard = self.heard();
        heard.expect(self.last, self.replicas);
        let (cpu, read, begun) = (Cpu::now(), read_bytes()?, heard.now());
        let feeding = self.feed(&self.dir, &heard)?;
        let took = heard.wait()? - begun;
        let (cpu, read) = (Cpu::now().since(cpu), read_bytes()? - read);
        let mut figures = self.sent(took as f64 / 1e9, cpu);
        figures.set("times_read", read as f64 / log_bytes(&self.dir)? as f64);
        note_counts(&mut figures, feeding.counts().as_ref(), self.last);
        feeding.end()?;
        Ok(figures)
    }

    /// What of a whole log that all replicas have.
    fn sent(&self, seconds: f64, cpu: Cpu) -> Figures {
        let entries = self.last * self.replicas as u64;
        let mut figures = Figures::default();
        figures.set("entries", entries as f64);
        figures.set("bytes", (entries * self.frame_bytes) as f64);
        figures.set("seconds", seconds);
        figures.set("cpu_user", cpu.user.as_secs_f64());
        figures.set("cpu_system", cpu.system.as_secs_f64());
        figures
    }

    fn live(&self) -> Result<Figures> {
        let (place, writer, mix) = begin(&self.dir)?;
        let heard = self.heard();
        heard.expect(BEFORE, self.replicas);
        let feeding = self.feed(place.path(), &heard)?;
        heard.wait()?;
        let mut vlsn = BEFORE;
        let mut append_one = || -> Result<(u64, f64)> {
            vlsn += 1;
            heard.expect(vlsn, self.replicas);
            let (begun, cpu) = (heard.now(), thread_cpu_seconds());
            append(&writer, &mix, vlsn)?;
            writer.flush()?;
            let cpu = thread_cpu_seconds() - cpu;
            Ok((heard.wait()? - begun, cpu))
        };
        for _ in 0..WARM {
            append_one()?;
        }
        let (log, read, counts) = (log_bytes(place.path())?, read_bytes()?, feeding.counts());
        let (mut took, mut own) = (Vec::new(), 0.0);
        let before = cpu_seconds();
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        while Instant::now() < end && took.len() < SAMPLES_MAX {
            let (nanos, cpu) = append_one()?;
            took.push(nanos);
            own += cpu;
        }
        let cpu = cpu_seconds() - before - own;
        let (log, read, appends) = (log_bytes(place.path())? - log, read_bytes()? - read, took.len() as f64);
        let mut figures = Figures::default();
        figures.set("entries", ((BEFORE + (WARM + took.len()) as u64) * self.replicas as u64) as f64);
        figures.set("cpu", cpu / appends * 1e6);
        figures.set("append_cpu", own / appends * 1e6);
        figures.set("times_read", read as f64 / log as f64);
        if let (Some(before), Some(mut now)) = (counts, feeding.counts()) {
            now.frames -= before.frames;
            now.looks -= before.looks;
            now.readings -= before.readings;
            note_counts(&mut figures, Some(&now), took.len() as u64);
        }
        percentiles(&mut figures, "", took)?;
        feeding.end()?;
        Ok(figures)
    }

    fn rest(&self) -> Result<Figures> {
        let heard = self.heard();
        heard.expect(self.last, self.replicas);
        let before = (resident_bytes()?, threads()?, descriptors()?);
        let feeding = self.feed(&self.dir, &heard)?;
        heard.wait()?;
        thread::sleep(Duration::from_millis(500));
        let (slept, cpu, begun) = (sleeps()?, cpu_seconds(), Instant::now());
        thread::sleep(Duration::from_secs_f64(self.seconds));
        let took = begun.elapsed().as_secs_f64();
        let (cpu, slept) = (cpu_seconds() - cpu, sleeps()? - slept);
        let mut figures = Figures::default();
        figures.set("entries", (self.last * self.replicas as u64) as f64);
        // One sleep is this function's own.
        figures.set("wakeups", slept.saturating_sub(1) as f64 / took);
        figures.set("cpu_ms", cpu * 1e3 / took);
        figures.set("resident", resident_bytes()?.saturating_sub(before.0) as f64);
        figures.set("threads", (threads()? - before.1) as f64);
        figures.set("descriptors", (descriptors()? - before.2) as f64);
        feeding.end()?;
        Ok(figures)
    }

    fn limit(&self) -> Result<Figures> {
        let sockets: Vec<TcpStream> = (0..self.replicas).map(|_| self.connect()).collect::<Result<_>>()?;
        let len = usize::try_from(self.last * self.frame_bytes).map_err(Error::new)?;
        let mut bytes = Pages::new(len);
        // Pages of its own, and not the one of zeros for all.
        bytes.fill(1);
        let (cpu, begun) = (Cpu::now(), Instant::now());
        thread::scope(|scope| -> Result<()> {
            let bytes = &bytes[..];
            let shares = sockets.chunks(self.replicas.div_ceil(LIMIT_THREADS));
            let loops: Vec<_> = shares.map(|share| scope.spawn(move || send_to_each(share, bytes))).collect();
            loops.into_iter().try_for_each(|one| one.join().map_err(|_| Error::new("a panic"))?)
        })?;
        Ok(self.sent(begun.elapsed().as_secs_f64(), Cpu::now().since(cpu)))
    }
}

/// As many as a server has loops.
const LIMIT_THREADS: usize = 2;
const LIMIT_BYTES: usize = 1 << 20;

fn note_counts(figures: &mut Figures, counts: Option<&SharedCounts>, entries: u64) {
    if let Some(SharedCounts { readings, looks, frames, .. }) = counts {
        figures.set("readings", *readings as f64);
        figures.set("looks", *looks as f64);
        figures.set("times_laid_out", *frames as f64 / entries as f64);
    }
}

fn serve(log: Arc<Log>, sockets: Vec<TcpStream>, options: &Options, heard: &Arc<Heard>) -> Result<Feeding> {
    let server = Server::new(log, options.server());
    let heard = Arc::clone(heard);
    let event = move |event: &Event| {
        if let (Kind::Acked(vlsn), Some(connection)) = (&event.kind, &event.connection) {
            heard.note(connection.id, *vlsn);
        }
    };
    // All of them have the address of the sink.
    let named = AtomicUsize::new(0);
    let identify = move |_: &_, _| Ok(CString::new(format!("replica-{}", named.fetch_add(1, Ordering::Relaxed))).ok());
    let set = |functions: &mut Functions| {
        functions.identify = Some(Box::new(identify));
        functions.event = Some(Box::new(event));
    };
    server.set_functions("bench", set).map_err(Error::new)?;
    for socket in sockets {
        server.adopt(OwnedFd::from(socket)).map_err(|(_, error)| Error::new(error))?;
    }
    Ok(Feeding::Server(server))
}

/// Sends all of `bytes` to each socket, until the other sides have closed.
fn send_to_each(sockets: &[TcpStream], bytes: &[u8]) -> Result<()> {
    use epoll::{EventData, EventFlags};
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::new)?;
    for (at, socket) in (0..).zip(sockets) {
        let both = EventFlags::IN | EventFlags::OUT;
        epoll::add(&epoll, socket, EventData::new_u64(at), both).map_err(Error::new)?;
    }
    let mut sent = vec![0; sockets.len()];
    let mut acks = [0; 4096];
    let mut events = Vec::with_capacity(sockets.len());
    let mut left = sockets.len();
    while left > 0 {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::new(error)),
        }
        for event in events.drain(..) {
            let (data, flags) = (event.data, event.flags);
            let Ok(at) = usize::try_from(data.u64()) else { continue };
            let socket = &sockets[at];
            if flags.contains(EventFlags::OUT) && sent[at] < bytes.len() {
                let piece = &bytes[sent[at]..bytes.len().min(sent[at] + LIMIT_BYTES)];
                match send(socket, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Ok(taken) => sent[at] += taken,
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Err(Error::new(error)),
                }
                if sent[at] == bytes.len() {
                    socket.shutdown(Shutdown::Write).map_err(Error::new)?;
                    epoll::modify(&epoll, socket, data, EventFlags::IN).map_err(Error::new)?;
                }
            }
            if flags.contains(EventFlags::IN) && matches!(recv(socket, &mut acks, RecvFlags::DONTWAIT), Ok((0, _))) {
                epoll::delete(&epoll, socket).map_err(Error::new)?;
                left -= 1;
            }
        }
    }
    Ok(())
}
