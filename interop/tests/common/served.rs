//! A server at work in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use noxu_feeder::acks::Deadline;
use noxu_feeder::log::Log;
use noxu_feeder::options::Options;
use noxu_feeder::server::Server;
use noxu_feeder::server::connection::{Connection, Purpose};
use noxu_feeder::server::events::{Event, Kind, Polled};

/// Long enough for a busy machine; no test passes because of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where nobody writes to the log: what is missing will not come.
pub(crate) const QUIET: (&str, &str) = ("log.settle_ms", "100");

/// A server over a log, and the events that were taken and not looked at.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    seen: Vec<Event>,
}

impl Served {
    pub(crate) fn over(log: &Path, set: &[(&str, &str)]) -> Served {
        Served::with(log, set, |_| ())
    }

    /// One that is prepared before it begins.
    pub(crate) fn with(log: &Path, set: &[(&str, &str)], prepare: impl FnOnce(&Server)) -> Served {
        let mut options = Options::default();
        for (key, value) in set {
            options.set(key, value).unwrap();
        }
        let log = Log::open(log, options.scanner(), None).expect("the log is there");
        let server = Server::new(log, options.server());
        prepare(&server);
        let address = server.listen("127.0.0.1", 0).unwrap();
        Served { server, address, seen: Vec::new() }
    }

    /// Takes events until something is true.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_true: impl FnMut(&Server) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_true(&self.server) {
            self.take_events(what, deadline);
        }
    }

    /// Waits for the first event that `wanted` finds something in, and takes it out.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for at in 0..self.seen.len() {
                if let Some(found) = wanted(&self.seen[at]) {
                    self.seen.remove(at);
                    return found;
                }
            }
            self.take_events(what, deadline);
        }
    }

    /// Tries something again and again until it has had its effect, where nothing tells that it was in vain.
    pub(crate) fn try_until(&mut self, what: &str, attempt: impl Fn(), mut is_true: impl FnMut(&Server) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_true(&self.server) {
            assert!(Instant::now() < deadline, "{what} is tried in vain");
            attempt();
            let soon = Deadline::At(Instant::now() + Duration::from_millis(100));
            self.server.events().poll(&mut self.seen, 1000, soon);
        }
    }

    fn take_events(&mut self, what: &str, deadline: Instant) {
        let polled = self.server.events().poll(&mut self.seen, 1000, Deadline::At(deadline));
        if !matches!(polled, Polled::Events(_)) {
            let kinds: Vec<_> = self.seen.iter().map(|event| &event.kind).collect();
            let acked: Vec<_> = self.streams().iter().map(|stream| stream.acked_vlsn()).collect();
            panic!("waiting for {what}: {polled:?}, there were {kinds:?}, and the acks are at {acked:?}");
        }
    }

    /// Who is fed.
    pub(crate) fn streams(&self) -> Vec<Arc<Connection>> {
        streams(&self.server)
    }

    /// Waits until so many are fed, and all have acknowledged `vlsn`.
    pub(crate) fn wait_acked(&mut self, count: usize, vlsn: u64) {
        self.wait_until(&format!("{count} acks of {vlsn}"), |server| {
            let streams = streams(server);
            streams.len() == count && streams.iter().all(|stream| stream.acked_vlsn() >= vlsn)
        });
    }

    /// Waits until somebody is fed; gives where it begins.
    pub(crate) fn wait_joined(&mut self) -> u64 {
        self.wait_for("who is fed", |event| match event.kind {
            Kind::Joined(start) => Some(start),
            _ => None,
        })
    }

    /// Waits until a connection came to nothing; says why.
    pub(crate) fn wait_refused(&mut self) -> String {
        self.wait_for("who is refused", |event| match &event.kind {
            Kind::Refused(refusal) => Some(refusal.to_string()),
            _ => None,
        })
    }

    /// What a client says that is fed as far as `vlsn`.
    pub(crate) fn feed<T: Send>(&mut self, vlsn: u64, client: impl FnOnce(SocketAddr) -> T + Send) -> T {
        let address = self.address;
        thread::scope(|scope| {
            let client = scope.spawn(move || client(address));
            self.end_stream_at(vlsn);
            client.join().unwrap()
        })
    }

    /// Ends a stream that has acknowledged `vlsn`, and waits for its end.
    pub(crate) fn end_stream_at(&mut self, vlsn: u64) {
        let mut found = None;
        self.wait_until(&format!("an ack of {vlsn}"), |server| {
            found = streams(server).into_iter().find(|stream| stream.acked_vlsn() >= vlsn);
            found.is_some()
        });
        self.end_stream(&found.expect("it was found"));
    }

    /// Ends a stream, and waits for its end.
    pub(crate) fn end_stream(&mut self, stream: &Connection) {
        assert!(self.server.disconnect(stream.name()), "{:?} is fed", stream.name());
        self.wait_until("the end of a stream", |server| streams(server).iter().all(|other| other.id != stream.id));
    }

    /// How many connections came to nothing.
    pub(crate) fn refused(&self) -> u64 {
        self.server.figures().refused()
    }

    pub(crate) fn end(self) {
        self.server.dispose().unwrap();
    }
}

fn streams(server: &Server) -> Vec<Arc<Connection>> {
    let mut connections = server.connections();
    connections.retain(|connection| connection.purpose() == Purpose::Stream && connection.link().is_some());
    connections
}
