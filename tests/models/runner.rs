//! A whole run, with its loop on a thread of the model's and its host on others: the hand-over between them. Connection,
//! source and clock are the model's. No deadline ever comes, so a wake-up that is lost is not made good by a later look.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;
use noxu_feeder_models::acks::{Deadline, End, Waited};
use noxu_feeder_models::error::Result;
use noxu_feeder_models::options::Options;
use noxu_feeder_models::runner::Runner;
use noxu_feeder_models::runtime::driver::{Driver, Key};
use noxu_feeder_models::source::host::{Supplied, SuppliedSource, Supply};
use noxu_feeder_models::sys::poll::Interest;
use noxu_feeder_models::sys::signal_fd::{is_readable, sleep_on};
use noxu_feeder_models::sys::thread::Threads;
use noxu_feeder_models::transport::{Channel, Received, Transfer, Transport};

use super::in_every_order;

/// The connection's descriptor, which only the driver knows.
const CONNECTION: RawFd = 1_000_000;

/// A connection whose replica acknowledges VLSN 1 with the first bytes that it is sent.
#[derive(Default)]
struct Line {
    incoming: Vec<u8>,
    has_answered: bool,
}

impl Transport for Line {
    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        if !std::mem::replace(&mut self.has_answered, true) {
            self.incoming.extend(8u32.to_le_bytes());
            self.incoming.extend(1u64.to_le_bytes());
        }
        Transfer::Moved(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        let count = self.incoming.len();
        if count == 0 {
            return Transfer::Again;
        }
        into[..count].copy_from_slice(&self.incoming);
        self.incoming.clear();
        Transfer::Moved(count)
    }

    fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        (CONNECTION, interest)
    }

    fn finish(&mut self) {}
}

struct Connection;

impl Channel for Connection {
    fn send(&self, _: &[u8]) -> Result<()> {
        unreachable!("a run uses the transport")
    }

    fn receive(&self, _: &mut [u8], _: Option<Instant>) -> Result<Received> {
        unreachable!("a run uses the transport")
    }

    fn close(&self) {}

    fn is_open(&self) -> bool {
        true
    }

    fn into_transport(self: Box<Self>, _: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        Ok((Box::new(Line::default()), Vec::new()))
    }
}

/// Sleeps on the bell. The answer that is there after a send is received in the next turn, so the connection is said to be
/// ready once after each sleep was asked for.
pub(super) struct Sleeper {
    now: Instant,
    bell: Option<RawFd>,
    session: Option<Key>,
    looked: bool,
}

impl Sleeper {
    pub(super) fn new() -> Sleeper {
        Sleeper { now: Instant::now(), bell: None, session: None, looked: false }
    }
}

impl Driver for Sleeper {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn wait_on(&mut self, key: Key, fd: RawFd, _: Interest) -> io::Result<()> {
        if fd == CONNECTION {
            self.session = Some(key)
        } else {
            self.bell = Some(fd)
        }
        Ok(())
    }

    fn forget(&mut self, _: Key) {
        self.session = None;
    }

    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()> {
        if self.bell.is_some_and(is_readable) {
            ready.push(Key::Bell);
        }
        Ok(())
    }

    fn sleep(&mut self, deadline: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()> {
        self.looked = !self.looked;
        if self.looked {
            ready.extend(self.session);
        } else if deadline.is_none_or(|at| at > self.now) {
            sleep_on(self.bell.expect("a loop waits for its bell"));
        }
        self.look(ready)
    }
}

/// Has as many entries as it is told.
struct Shelf(Arc<AtomicU64>);

impl Supply for Shelf {
    fn supply(&mut self, from_vlsn: u64) -> Result<Option<Supplied<'_>>> {
        let is_there = from_vlsn <= self.0.load(Ordering::Relaxed);
        Ok(is_there.then_some(Supplied { vlsn: from_vlsn, lsn: 0, entry_type: 13, payload: b"entry" }))
    }
}

struct Run {
    runner: Arc<Runner>,
    appended: Arc<AtomicU64>,
    /// Whether the host was told of the end.
    has_ended: Arc<AtomicBool>,
}

impl Run {
    fn new() -> Run {
        let mut options = Options::default();
        options.set("runner.linger_ms", "0").unwrap();
        let runner = Runner::new(Box::new(Connection), c"replica".to_owned(), 1, options);
        let runner = Arc::new(runner.map_err(|(_, error)| error).unwrap());
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        runner.set_end_function(Box::new(move |_, _| ended.store(true, Ordering::Relaxed))).unwrap();
        Run { runner, appended: Arc::new(AtomicU64::new(0)), has_ended }
    }

    /// Runs it on a thread; how it ended, if it began.
    fn start(&self) -> thread::JoinHandle<Option<End>> {
        let (runner, appended) = (Arc::clone(&self.runner), Arc::clone(&self.appended));
        thread::spawn(move || {
            let source = Box::new(SuppliedSource::new(Shelf(appended), true));
            runner.run_over(source, Box::new(Sleeper::new())).ok()
        })
    }
}

#[test]
fn a_stop_ends_the_run_at_any_moment_and_returns_when_the_host_was_told() {
    in_every_order(Some(4), || {
        let run = Run::new();
        let running = run.start();
        assert_eq!(run.runner.stop(Deadline::Never), Ok(true));
        let has_ended = run.has_ended.load(Ordering::Relaxed);
        let ended = running.join().unwrap();
        assert!(ended.is_none() || ended == Some(End::Stopped), "{ended:?}");
        assert_eq!(has_ended, ended.is_some(), "a run that has begun tells its end before a stop returns");
    });
}

#[test]
fn a_stop_ends_the_waiting_of_others() {
    in_every_order(Some(2), || {
        let run = Run::new();
        let running = run.start();
        let runner = Arc::clone(&run.runner);
        let waiting = thread::spawn(move || runner.wait_acked(1, Deadline::Never));
        assert_eq!(run.runner.stop(Deadline::Never), Ok(true));
        assert_eq!(waiting.join().unwrap(), Ok(Waited::Ended(End::Stopped)));
        running.join().unwrap();
    });
}

#[test]
fn an_entry_appended_before_a_notify_is_sent_and_its_ack_ends_a_wait() {
    in_every_order(Some(2), || {
        let run = Run::new();
        let running = run.start();
        run.appended.store(1, Ordering::Relaxed);
        run.runner.notify();
        assert_eq!(run.runner.wait_acked(1, Deadline::Never), Ok(Waited::Acked));
        assert_eq!(run.runner.stop(Deadline::Never), Ok(true));
        assert_eq!(running.join().unwrap(), Some(End::Stopped));
    });
}
