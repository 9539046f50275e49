//! The library's services behind a listening socket, each connection driven by a small loop that blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use noxu_feeder::acks::Deadline;
use noxu_feeder::log::copy::Copy;
use noxu_feeder::log::lookup::{Lookup, LookupOptions};
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::session::service::greeting::{Greeted, NAME_LIMIT};
use noxu_feeder::session::service::{
    Election, Exchange, Greeting, Offers, PeerFeeder, Restore, ServiceError, StepLimit, Syncup, Turn,
};
use noxu_feeder::source::LogSource;
use noxu_feeder::transport::SocketChannel;
use noxu_feeder::wire::service::Service;

/// A master's side, until the process ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// How connections ended before their time.
    pub(crate) errors: Arc<Mutex<Vec<ServiceError>>>,
}

/// How a server behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// A stream ends when this VLSN is acknowledged.
    pub(crate) streams_to: u64,
    pub(crate) rate: Option<NonZeroU64>,
}

impl Server {
    pub(crate) fn start(log: &Path, manner: Manner) -> Server {
        let mut options = Options::default();
        // Nobody writes to these logs: what is missing will not come.
        options.set("log.settle_ms", "100").unwrap();
        let log = Log::open(log, options.scanner(), None).expect("the log is there");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let errors = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&errors);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, told, options) = (Arc::clone(&log), Arc::clone(&told), options.clone());
                thread::spawn(move || {
                    if let Err(error) = serve(stream.unwrap(), &log, manner, &options) {
                        told.lock().unwrap().push(error);
                    }
                });
            }
        });
        Server { address, errors }
    }
}

impl Server {
    /// Waits until a connection has ended before its time; says why.
    pub(crate) fn first_error(&self) -> String {
        for _ in 0..6000 {
            if let Some(error) = self.errors.lock().unwrap().first() {
                return error.to_string();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("all connections ended well");
    }
}

/// A machine, together with what it asks.
trait Machine {
    fn exchange(&mut self) -> &mut Exchange;
    fn turn(&mut self, now: Instant) -> Result<Turn, ServiceError>;
    fn deadline(&self) -> Option<Instant>;
    fn closed(&self) -> Result<(), ServiceError>;
}

/// Much less than a loop would allow, so that machines are busy.
const BUDGET: u64 = 200_000;

macro_rules! machine {
    ($machine:ident, $log:ident) => {
        impl Machine for ($machine, $log) {
            fn exchange(&mut self) -> &mut Exchange {
                self.0.exchange()
            }

            fn turn(&mut self, now: Instant) -> Result<Turn, ServiceError> {
                self.1.allow(BUDGET);
                self.0.turn(&mut self.1, now)
            }

            fn deadline(&self) -> Option<Instant> {
                self.0.deadline()
            }

            fn closed(&self) -> Result<(), ServiceError> {
                self.0.closed()
            }
        }
    };
}

machine!(PeerFeeder, Lookup);
machine!(Syncup, Lookup);
machine!(Restore, Copy);

impl Machine for (Election, u64) {
    fn exchange(&mut self) -> &mut Exchange {
        self.0.exchange()
    }

    fn turn(&mut self, now: Instant) -> Result<Turn, ServiceError> {
        self.0.turn(self.1, now)
    }

    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }

    fn closed(&self) -> Result<(), ServiceError> {
        self.0.closed()
    }
}

fn serve(mut stream: TcpStream, log: &Arc<Log>, manner: Manner, options: &Options) -> Result<(), ServiceError> {
    let mut greeting = Greeting::new(Offers { election: true, ..Offers::default() }, NAME_LIMIT, Instant::now());
    let greeted = loop {
        let Some(bytes) = receive(&mut stream, Some(greeting.deadline())) else { return greeting.closed() };
        if let Some(greeted) = greeting.turn(&bytes, Instant::now())? {
            break greeted;
        }
    };
    let (arrived, limit, now) = (greeting.into_rest(), StepLimit::default(), Instant::now());
    let lookup = || Lookup::new(Arc::clone(log), LookupOptions::from(log.scanner_options()));
    let copy = || Copy::new(Arc::clone(log));
    match greeted {
        Greeted::Service(Service::PeerFeeder) => {
            let mut machine = (PeerFeeder::new(limit, arrived, now), lookup());
            if let Some(start) = drive(&mut stream, &mut machine)? {
                stream_from(stream, log, start, manner, options);
            }
        }
        Greeted::Service(Service::RepSyncup) => {
            drive(&mut stream, &mut (Syncup::new(limit, arrived, now), lookup()))?;
        }
        Greeted::Service(Service::Restore) => {
            drive(&mut stream, &mut (Restore::framed(limit, manner.rate, arrived, now), copy()))?;
        }
        Greeted::Service(Service::Election) => {
            drive(&mut stream, &mut (Election::new(limit, "the-feeder", arrived, now), 100))?;
        }
        Greeted::RawRestore => {
            drive(&mut stream, &mut (Restore::raw(limit, manner.rate), copy()))?;
        }
    }
    Ok(())
}

/// Drives a machine to its end; some: the stream follows from there.
fn drive(stream: &mut TcpStream, machine: &mut impl Machine) -> Result<Option<u64>, ServiceError> {
    loop {
        let turn = machine.turn(Instant::now())?;
        let output = machine.exchange().output().to_vec();
        if !output.is_empty() {
            if stream.write_all(&output).is_err() {
                return machine.closed().map(|()| None);
            }
            machine.exchange().note_sent(output.len(), Instant::now());
        }
        match turn {
            Turn::Streams(start) => return Ok(Some(start)),
            Turn::Ends => {
                let _ = stream.shutdown(Shutdown::Write);
                return Ok(None);
            }
            Turn::Waits if output.is_empty() && machine.exchange().wants_bytes() => {
                let Some(bytes) = receive(stream, machine.deadline()) else { return machine.closed().map(|()| None) };
                machine.exchange().receive(&bytes)?;
            }
            Turn::Waits if output.is_empty() => {
                let deadline = machine.deadline().expect("it waits for something");
                thread::sleep(deadline.saturating_duration_since(Instant::now()));
            }
            Turn::Busy | Turn::Waits => {}
        }
    }
}

/// What arrives until the deadline; none: the peer has closed, or broken the connection.
fn receive(stream: &mut TcpStream, deadline: Option<Instant>) -> Option<Vec<u8>> {
    let wait =
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
    stream.set_read_timeout(wait).unwrap();
    // An odd size, so that requests come in pieces.
    let mut bytes = [0; 7];
    match stream.read(&mut bytes) {
        Ok(0) => None,
        Ok(read) => Some(bytes[..read].to_vec()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Some(Vec::new()),
        Err(_) => None,
    }
}

/// Feeds the replica until it has acknowledged all that it is to get.
fn stream_from(stream: TcpStream, log: &Arc<Log>, start: u64, manner: Manner, options: &Options) {
    let socket_options = options.socket();
    let socket = OwnedFd::from(stream);
    socket_options.prepare(std::os::fd::AsFd::as_fd(&socket)).unwrap();
    let channel = Box::new(SocketChannel::new(socket, socket_options));
    let runner =
        Runner::new(channel, c"replica".to_owned(), start, options.clone()).map_err(|(_, error)| error).unwrap();
    runner.start(Box::new(LogSource::new(Arc::clone(log), Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    let _ = runner.wait_acked(manner.streams_to, Deadline::from_millis(60_000));
    let _ = runner.dispose();
}
