//! A replica on a machine that is gone without a word: two network namespaces, and the link between them goes down. Where
//! there are none to be had, each test says so by name, and passes.

#![cfg(target_os = "linux")]

mod common;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use common::LogDir;
use noxu_feeder::acks::{Deadline, End, Waited};
use noxu_feeder::error::Error;
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::LogSource;
use noxu_feeder::transport::SocketChannel;

/// Far less than the time after which the system gives a connection up by itself.
const PATIENCE: Duration = Duration::from_secs(120);

const OURS: Ipv4Addr = Ipv4Addr::new(10, 111, 7, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 111, 7, 2);

fn generous() -> Deadline {
    Deadline::At(Instant::now() + PATIENCE)
}

/// A thread in a network namespace of its own, which runs there the functions that it is given. The namespace goes with
/// it, and with the sockets that were made there.
struct Machine {
    tid: libc::pid_t,
    tell: Sender<Box<dyn FnOnce() + Send>>,
}

impl Machine {
    fn new() -> io::Result<Machine> {
        let (tell, told) = channel::<Box<dyn FnOnce() + Send>>();
        let (say, said) = channel();
        std::thread::spawn(move || {
            // SAFETY: no pointers. It changes where this thread makes its sockets, and nothing else.
            let made = match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
                // SAFETY: no pointers; it cannot fail.
                0 => Ok(unsafe { libc::gettid() }),
                _ => Err(io::Error::last_os_error()),
            };
            say.send(made).unwrap();
            told.into_iter().for_each(|work| work());
        });
        let tid = said.recv().unwrap()?;
        Ok(Machine { tid, tell })
    }

    /// Does something on this machine.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, said) = channel();
        self.tell.send(Box::new(move || say.send(work()).unwrap())).unwrap();
        said.recv().expect("it did not panic")
    }

    /// Calls `ip` on this machine.
    fn ip(&self, arguments: &str) -> io::Result<()> {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        let output = self.run(move || command.output())?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}

/// Two machines with a cable between them.
fn two_machines() -> io::Result<(Machine, Machine)> {
    let (ours, theirs) = (Machine::new()?, Machine::new()?);
    let elsewhere = format!("/proc/{}/task/{}/ns/net", std::process::id(), theirs.tid);
    ours.ip(&format!("link add near type veth peer name far netns {elsewhere}"))?;
    for (machine, link, address) in [(&ours, "near", OURS), (&theirs, "far", THEIRS)] {
        machine.ip(&format!("address add {address}/24 dev {link}"))?;
        machine.ip(&format!("link set {link} up"))?;
    }
    Ok((ours, theirs))
}

/// A replica on another machine.
struct Setup {
    runner: Runner,
    replica: TcpStream,
    machine: Machine,
    log: LogDir,
}

/// A run that has sent three entries, of which the replica has acknowledged the last. `None`, with the reason told, where
/// that cannot be had.
fn set_up(test: &str, set: &[(&str, &str)]) -> Option<Setup> {
    let (ours, machine) = match two_machines() {
        Ok(machines) => machines,
        Err(error) => {
            // Not by a macro, whose output the harness keeps to itself.
            let told = format!("LEFT OUT: {test}: no network namespaces: {error}\n");
            io::stderr().write_all(told.as_bytes()).unwrap();
            return None;
        }
    };
    let mut options = Options::default();
    for (key, value) in set {
        options.set(key, value).unwrap();
    }
    let (listener, port) = machine.run(|| {
        let listener = TcpListener::bind((THEIRS, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    });
    let socket = OwnedFd::from(ours.run(move || TcpStream::connect((THEIRS, port)).unwrap()));
    let (replica, _) = listener.accept().unwrap();
    replica.set_read_timeout(Some(PATIENCE)).unwrap();
    options.socket().prepare(socket.as_fd()).unwrap();
    let channel = Box::new(SocketChannel::new(socket, options.socket()));
    let runner = Runner::new(channel, c"replica-1".to_owned(), 1, options.clone()).map_err(|(_, error)| error).unwrap();
    let log = LogDir::with(1..=3);
    let shared = Log::open(log.path(), options.scanner(), None).unwrap();
    runner.start(Box::new(LogSource::new(Arc::clone(&shared), Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    let mut setup = Setup { runner, replica, machine, log };
    setup.expect(3);
    setup.replica.write_all(&[&8u32.to_le_bytes()[..], &3u64.to_le_bytes()].concat()).unwrap();
    assert_eq!(setup.runner.wait_acked(3, generous()), Ok(Waited::Acked));
    Some(setup)
}

impl Setup {
    fn expect(&mut self, frames: usize) {
        for _ in 0..frames {
            let mut len = [0; 4];
            self.replica.read_exact(&mut len).unwrap();
            self.replica.read_exact(&mut vec![0; u32::from_le_bytes(len) as usize]).unwrap();
        }
    }

    /// Neither side hears of the other any more, nor that it is so.
    fn cut(&self) {
        self.machine.ip("link set far down").unwrap();
    }

    fn expect_time_out(&self) {
        assert!(self.runner.acks().wait_finished(generous()), "{:?}", self.runner.snapshot());
        let end = self.runner.acks().ended().unwrap();
        let End::Failed(Error::Connection { os }) = &end else { panic!("{end:?}") };
        assert_eq!(os.errno, libc::ETIMEDOUT, "{end:?}");
    }
}

#[test]
fn a_replica_that_vanishes_while_frames_are_unacknowledged_is_noticed() {
    let name = "a_replica_that_vanishes_while_frames_are_unacknowledged_is_noticed";
    let Some(mut setup) = set_up(name, &[("channel.keepalive_ms", "4000")]) else { return };
    setup.cut();
    setup.log.append(4);
    setup.expect_time_out();
    assert_eq!(setup.runner.snapshot().sent_vlsn, 4);
}

#[test]
fn a_replica_that_vanishes_from_an_idle_connection_is_noticed() {
    let name = "a_replica_that_vanishes_from_an_idle_connection_is_noticed";
    let Some(setup) = set_up(name, &[("channel.keepalive_ms", "4000")]) else { return };
    setup.cut();
    setup.expect_time_out();
}

/// Its system is there and says each time that it has no room.
#[test]
fn a_replica_that_takes_nothing_for_long_is_not_given_up_for_that() {
    let name = "a_replica_that_takes_nothing_for_long_is_not_given_up_for_that";
    let set = [("channel.keepalive_ms", "4000"), ("runner.write_timeout_ms", "86400000")];
    let Some(mut setup) = set_up(name, &set) else { return };
    setup.log.append_all(4..=10_000);
    let thrice = Deadline::At(Instant::now() + Duration::from_secs(12));
    assert!(!setup.runner.acks().wait_finished(thrice), "{:?}", setup.runner.acks().ended());
    setup.expect(10_000 - 3);
    setup.replica.write_all(&[&8u32.to_le_bytes()[..], &10_000u64.to_le_bytes()].concat()).unwrap();
    assert_eq!(setup.runner.wait_acked(10_000, generous()), Ok(Waited::Acked));
}
