//! A server over real sockets: who comes, what they meet, and what the host hears of it.

mod common;

use std::ffi::CString;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{LogDir, RECORD};
use noxu_feeder::acks::{Deadline, End};
use noxu_feeder::error::Error;
use noxu_feeder::log::Log;
use noxu_feeder::options::Options;
use noxu_feeder::runtime::system;
use noxu_feeder::server::Server;
use noxu_feeder::server::connection::{Peer, Purpose};
use noxu_feeder::server::events::{Event, Kind, Polled};
use noxu_feeder::server::metrics::Format;
use noxu_feeder::server::refusal::Refusal;
use noxu_feeder::session::service::ServiceError;
use noxu_feeder::transport::socket::transport;
use noxu_feeder::wire::frame::Frame;
use noxu_feeder::wire::service::syncup::Message;

const PATIENCE: Duration = Duration::from_secs(60);

fn generous() -> Deadline {
    Deadline::At(Instant::now() + PATIENCE)
}

/// A server over a log, its address, and the events that have been taken and not looked at.
struct Served {
    server: Server,
    address: SocketAddr,
    seen: Vec<Event>,
}

impl Served {
    fn over(log: &LogDir, set: &[(&str, &str)]) -> Served {
        Served::with(log, set, |_| ())
    }

    fn with(log: &LogDir, set: &[(&str, &str)], prepare: impl FnOnce(&Server)) -> Served {
        let mut options = Options::default();
        for (key, value) in set {
            options.set(key, value).unwrap();
        }
        let log = Log::open(log.path(), options.scanner(), None).unwrap();
        let server = Server::new(log, options.server());
        prepare(&server);
        let address = server.listen("127.0.0.1", 0).unwrap();
        Served { server, address, seen: Vec::new() }
    }

    fn dial(&self) -> Replica {
        Replica::over(TcpStream::connect(self.address).unwrap())
    }

    /// Somebody who wants to be fed.
    fn replica(&self, start: u64) -> Replica {
        let mut replica = self.dial();
        replica.say(b"PEER_FEEDER");
        replica.say(&start.to_le_bytes());
        replica
    }

    /// Waits for the first event that `wanted` finds something in, and takes it out.
    fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            for at in 0..self.seen.len() {
                if let Some(found) = wanted(&self.seen[at]) {
                    self.seen.remove(at);
                    return found;
                }
            }
            let polled = self.server.events().poll(&mut self.seen, 100, generous());
            let kinds: Vec<_> = self.seen.iter().map(|event| &event.kind).collect();
            assert!(matches!(polled, Polled::Events(_)), "waiting for {what}: {polled:?}, and there were {kinds:?}");
        }
    }

    fn wait_acked(&mut self, name: &str, vlsn: u64) {
        self.wait_for(&format!("ack {vlsn} of {name}"), |event| {
            (name_of(event) == name && matches!(event.kind, Kind::Acked(acked) if acked >= vlsn)).then_some(())
        });
    }

    fn wait_ended(&mut self, name: &str) -> (End, Option<Refusal>) {
        self.wait_for(&format!("the end of {name}"), |event| match &event.kind {
            Kind::Ended(end, why) if name_of(event) == name => Some((end.clone(), why.clone())),
            _ => None,
        })
    }

    fn wait_refused(&mut self) -> Refusal {
        self.wait_for("a refusal", |event| match &event.kind {
            Kind::Refused(refusal) => Some(refusal.clone()),
            _ => None,
        })
    }
}

fn name_of(event: &Event) -> String {
    event.connection.as_ref().map(|connection| connection.name().to_str().unwrap().to_owned()).unwrap_or_default()
}

/// The other end of a connection, driven by the test.
struct Replica<S = TcpStream>(S);

impl Replica {
    fn over(stream: TcpStream) -> Replica {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Replica(stream)
    }

    fn name(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// Whether the other side closes, or has closed, without another byte.
    fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "waiting for a close");
                true
            }
        }
    }
}

impl<S: Read + Write> Replica<S> {
    fn say(&mut self, message: &[u8]) {
        let len = u32::try_from(message.len()).unwrap();
        self.0.write_all(&[&len.to_le_bytes(), message].concat()).unwrap();
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).unwrap();
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut message).unwrap();
        message
    }

    fn expect(&mut self, vlsns: impl IntoIterator<Item = u64>) {
        for vlsn in vlsns {
            let message = self.hear();
            let frame = Frame::decode(&message).expect("a good frame");
            let payload = LogDir::payload(i64::try_from(vlsn).unwrap());
            assert_eq!((frame.vlsn, frame.entry_type, frame.payload), (vlsn, RECORD, &payload[..]));
        }
    }

    fn ack(&mut self, vlsn: u64) {
        self.say(&vlsn.to_le_bytes());
    }
}

#[test]
fn a_replica_dials_in_and_is_fed_and_the_host_hears_of_it() {
    let mut log = LogDir::with(1..=100);
    let mut served = Served::over(&log, &[]);
    let mut replica = served.replica(0);
    assert_eq!(replica.hear(), [0]);
    replica.expect(1..=100);
    let name = replica.name();
    let start = served.wait_for("joined", |event| match event.kind {
        Kind::Joined(start) => Some(start),
        _ => None,
    });
    assert_eq!(start, 1);
    replica.ack(100);
    served.wait_acked(&name, 100);
    log.append(101);
    replica.expect([101]);
    replica.ack(101);
    served.wait_acked(&name, 101);
    let connection = served.server.replica(&CString::new(name.clone()).unwrap()).expect("it is connected");
    assert_eq!((connection.purpose(), connection.acked_vlsn()), (Purpose::Stream, 101));
    assert_eq!(connection.link().unwrap().snapshot().stream.frames, 101);
    drop(replica);
    assert!(matches!(served.wait_ended(&name), (End::ClosedByPeer(_), None)));
    assert!(served.server.connections().is_empty());
    served.server.dispose().unwrap();
}

#[test]
fn who_asks_for_what_is_not_there_is_told_so() {
    let log = LogDir::with(50..=100);
    let mut served = Served::over(&log, &[("log.settle_ms", "50")]);
    let mut below = served.replica(10);
    assert_eq!(below.hear(), [1]);
    assert!(below.is_closed());
    served.wait_for("needs restore", |event| matches!(event.kind, Kind::NeedsRestore).then_some(()));
    let mut above = served.replica(500);
    assert!(above.is_closed());
    let refusal = served.wait_refused();
    assert_eq!(refusal, Refusal::Service(ServiceError::AheadOfLog { start: 500, last: 100 }));
    let mut next = served.replica(101);
    assert_eq!(next.hear(), [0], "it is served, and waits");
    served.server.dispose().unwrap();
}

#[test]
fn an_empty_log_is_served_and_never_asks_for_a_restore() {
    let mut log = LogDir::empty();
    let served = Served::over(&log, &[("log.settle_ms", "50")]);
    let mut replica = served.replica(0);
    assert_eq!(replica.hear(), [0]);
    log.begin_file(0);
    log.append_all(1..=3);
    replica.expect(1..=3);
    served.server.dispose().unwrap();
}

/// Names all who come after the number of their turn.
fn name_each(server: &Server, name: impl Fn(usize, Purpose) -> Option<CString> + Send + Sync + 'static) {
    let count = AtomicUsize::new(0);
    let identify = Box::new(move |_: &_, purpose| Ok(name(count.fetch_add(1, Ordering::Relaxed), purpose)));
    server.set_functions("test", |functions| functions.identify = Some(identify)).unwrap();
}

#[test]
fn the_host_names_replicas_and_the_newer_of_one_name_takes_the_place_of_the_older() {
    let log = LogDir::with(1..=10);
    let mut served = Served::with(&log, &[], |server| {
        name_each(server, |at, purpose| (at != 2 && purpose == Purpose::Stream).then(|| c"r".to_owned()));
    });
    let mut first = served.replica(0);
    assert_eq!(first.hear(), [0]);
    first.expect(1..=10);
    let mut second = served.replica(0);
    assert_eq!(second.hear(), [0]);
    second.expect(1..=10);
    assert!(first.is_closed());
    assert_eq!(served.wait_ended("r"), (End::Stopped, Some(Refusal::Replaced)));
    second.ack(10);
    served.wait_acked("r", 10);
    let mut third = served.replica(0);
    assert!(third.is_closed(), "the host refuses it");
    assert_eq!(served.wait_refused(), Refusal::ByHost);
    let mut syncup = served.dial();
    syncup.say(b"REP_SYNCUP");
    assert!(syncup.is_closed(), "and whoever asks for anything else");
    assert_eq!(served.server.connections().len(), 1);
    served.server.dispose().unwrap();

    let refusing = [("server.same_name", "refused")];
    let mut served = Served::with(&log, &refusing, |server| name_each(server, |_, _| Some(c"r".to_owned())));
    let mut first = served.replica(0);
    assert_eq!(first.hear(), [0]);
    let mut second = served.replica(0);
    assert_eq!(served.wait_refused(), Refusal::NameTaken);
    assert!(second.is_closed());
    first.expect(1..=10);
    served.server.dispose().unwrap();
}

#[test]
fn a_slow_function_of_the_host_delays_no_replica() {
    let log = LogDir::with(1..=10);
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let served = Served::with(&log, &[], |server| {
        let (gate, told) = (Arc::clone(&gate), Arc::clone(&told));
        let event = Box::new(move |event: &Event| {
            drop(gate.lock().unwrap());
            if let Kind::Acked(vlsn) = event.kind {
                told.fetch_max(usize::try_from(vlsn).unwrap(), Ordering::Relaxed);
            }
        });
        server.set_functions("test", |functions| functions.event = Some(event)).unwrap();
    });
    let mut replicas: Vec<_> = (0..3).map(|_| served.replica(0)).collect();
    for replica in &mut replicas {
        assert_eq!(replica.hear(), [0]);
        replica.expect(1..=10);
        replica.ack(10);
    }
    assert_eq!(told.load(Ordering::Relaxed), 0);
    drop(held);
    let deadline = Instant::now() + PATIENCE;
    while told.load(Ordering::Relaxed) < 10 {
        assert!(Instant::now() < deadline, "the acks are told");
        std::thread::yield_now();
    }
    served.server.dispose().unwrap();
}

#[test]
fn whoever_says_something_wrong_is_refused_and_nobody_else_notices() {
    let mut log = LogDir::with(1..=10);
    let set = [("server.name_timeout_ms", "200"), ("server.step_timeout_ms", "200")];
    let mut served = Served::over(&log, &set);
    let mut good = served.replica(0);
    assert_eq!(good.hear(), [0]);
    good.expect(1..=10);
    let wrong: [&[u8]; 7] = [
        b"",
        b"\x0b\0\0\0PEER_FEEDEX",
        b"\xff\xff\xff\xffx",
        b"\0\0\0\0",
        b"\x0b\0\0\0PEER_FEEDER\xff\xff\xff\x7f",
        b"\x0b\0\0\0PEER_FEEDER\x08\0\0\0\x01",
        b"\x08\0\0\0ELECTION",
    ];
    for bytes in wrong {
        let mut bad = served.dial();
        bad.0.write_all(bytes).unwrap();
        assert!(bad.is_closed(), "{bytes:?}");
        served.wait_refused();
    }
    log.append(11);
    good.expect([11]);
    good.ack(11);
    served.wait_acked(&good.name(), 11);
    assert_eq!(served.server.figures().refused(), wrong.len() as u64);
    served.server.dispose().unwrap();
}

/// Each handshake, cut off or spoiled at every byte: the connection ends, and nothing else does.
#[test]
fn a_handshake_may_break_off_or_be_wrong_at_every_byte() {
    let mut log = LogDir::with(1..=10);
    let set = [("log.settle_ms", "50"), ("server.step_timeout_ms", "500"), ("server.name_timeout_ms", "500")];
    let mut served = Served::over(&log, &set);
    let mut good = served.replica(0);
    assert_eq!(good.hear(), [0]);
    good.expect(1..=10);
    let message = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
    let magic = 0x4E52_5354u32.to_le_bytes();
    let handshakes = [
        [message(b"PEER_FEEDER"), message(&0u64.to_le_bytes())].concat(),
        [message(b"REP_SYNCUP"), message(&[&[1][..], &5i64.to_le_bytes()].concat())].concat(),
        [message(b"RESTORE"), message(&magic)].concat(),
        magic.to_vec(),
    ];
    for handshake in &handshakes {
        for at in 0..handshake.len() {
            let mut cut = served.dial();
            cut.0.write_all(&handshake[..at]).unwrap();
            drop(cut);
            let mut spoiled = served.dial();
            let mut bytes = handshake.clone();
            bytes[at] ^= 0x80;
            spoiled.0.write_all(&bytes).unwrap();
            spoiled.0.shutdown(Shutdown::Write).unwrap();
            // Whatever is answered, if anything is, has an end.
            let mut answer = Vec::new();
            let _ = spoiled.0.read_to_end(&mut answer);
        }
    }
    log.append(11);
    good.expect([11]);
    good.ack(11);
    served.wait_acked(&good.name(), 11);
    let deadline = Instant::now() + PATIENCE;
    while served.server.connections().len() > 1 {
        assert!(Instant::now() < deadline, "only the good one is left");
        std::thread::yield_now();
    }
    served.server.dispose().unwrap();
}

#[test]
fn who_acknowledges_the_future_or_takes_nothing_ends_alone() {
    let mut log = LogDir::empty();
    log.begin_file(0);
    let large = vec![7; 1 << 20];
    for vlsn in 1..=40 {
        log.append_entry(RECORD, 0, Some(vlsn), &large);
    }
    let set = [("runner.write_timeout_ms", "1000"), ("channel.send_buffer_bytes", "65536")];
    let mut served = Served::over(&log, &set);
    let mut good = served.replica(41);
    assert_eq!(good.hear(), [0]);
    let mut liar = served.replica(40);
    assert_eq!(liar.hear(), [0]);
    assert_eq!(Frame::decode(&liar.hear()).unwrap().vlsn, 40);
    liar.ack(41);
    let (end, _) = served.wait_ended(&liar.name());
    assert_eq!(end, End::Failed(Error::AckBeyondSent { acked: 41, sent: 40 }));
    // Takes nothing: 40 MiB do not fit into any buffer.
    let stuffed = served.replica(0);
    let (end, _) = served.wait_ended(&stuffed.name());
    assert!(matches!(end, End::Failed(Error::WriteTimeout { .. })), "{end:?}");
    log.append(41);
    good.expect([41]);
    good.ack(41);
    served.wait_acked(&good.name(), 41);
    served.server.dispose().unwrap();
}

/// What asks much and reads no answer is not read on, and ends.
#[test]
fn who_asks_without_reading_the_answers_costs_little_and_ends() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("server.step_timeout_ms", "300")]);
    let mut greedy = served.dial();
    greedy.say(b"REP_SYNCUP");
    let question = [&[1][..], &5i64.to_le_bytes()].concat();
    let many: Vec<u8> = (0..1000).flat_map(|_| [&9u32.to_le_bytes()[..], &question].concat()).collect();
    greedy.0.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    // Until the other side takes no more.
    while greedy.0.write_all(&many).is_ok() {}
    let refusal = served.wait_refused();
    let is_it = matches!(refusal, Refusal::Service(ServiceError::NotTaken { .. }));
    assert!(is_it, "{refusal}");
    served.server.dispose().unwrap();
}

#[test]
fn what_was_answered_before_something_wrong_is_sent() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("log.settle_ms", "50")]);
    let mut bad = served.dial();
    bad.say(b"REP_SYNCUP");
    let mut bytes = Vec::new();
    Message::EntryRequest { vlsn: 7 }.append_to(&mut bytes);
    Message::RestoreResponse.append_to(&mut bytes);
    bad.0.write_all(&bytes).unwrap();
    let answer = Message::decode(&bad.hear()).unwrap();
    assert!(matches!(answer, Message::Entry(record) if record.vlsn == 7), "{answer:?}");
    assert!(bad.is_closed());
    assert!(matches!(served.wait_refused(), Refusal::Service(ServiceError::Fault { .. })));
    served.server.dispose().unwrap();
}

#[test]
fn a_flood_of_the_silent_keeps_nobody_out() {
    let log = LogDir::with(1..=10);
    let set = [("server.greetings_max", "8"), ("server.connections_max", "20")];
    let mut served = Served::over(&log, &set);
    let silent: Vec<_> = (0..50).map(|_| served.dial()).collect();
    let mut good = served.replica(0);
    assert_eq!(good.hear(), [0]);
    good.expect(1..=10);
    assert_eq!(served.wait_refused(), Refusal::Crowded);
    drop(silent);
    served.server.dispose().unwrap();
}

#[test]
fn sockets_of_the_hosts_are_taken_in_and_those_it_cannot_take_stay_the_hosts() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("server.connections_max", "1")]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    served.server.adopt(OwnedFd::from(ours)).unwrap();
    let mut replica = Replica(theirs);
    replica.say(b"PEER_FEEDER");
    replica.say(&5u64.to_le_bytes());
    assert_eq!(replica.hear(), [0]);
    replica.expect(5..=10);
    replica.ack(10);
    served.wait_acked("local-1", 10);
    let (ours, _) = UnixStream::pair().unwrap();
    let (_, error) = served.server.adopt(OwnedFd::from(ours)).unwrap_err();
    assert_eq!(error.to_string(), "there are 1 connections, as many as there may be");
    let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let (_, error) = served.server.adopt(listener).unwrap_err();
    assert_eq!(error.to_string(), "parameter `fd`: it is no connected stream socket");
    served.server.dispose().unwrap();
}

#[test]
fn a_host_runs_the_loop_and_has_its_functions_called_on_threads_of_its_own() {
    let (log, options) = (LogDir::with(1..=10), Options::default());
    let log = Log::open(log.path(), options.scanner(), None).unwrap();
    let server = Server::new(log, options.server());
    name_each(&server, |_, _| Some(c"r".to_owned()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = Arc::clone(&told);
    let tell = Box::new(move |event: &Event| tells.lock().unwrap().push(event.kind.clone()));
    server.set_functions("test", |functions| functions.event = Some(tell)).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ours = transport(OwnedFd::from(ours), options.server().socket);
            let adopt = || assert!(server.adopt_transport(ours, Peer::new(None), Instant::now()).is_ok());
            server.run_over(system::for_many().unwrap(), adopt).unwrap();
        });
        scope.spawn(|| while server.call_functions(generous()) {});
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut replica = Replica(theirs);
        replica.say(b"PEER_FEEDER");
        replica.say(&1_u64.to_le_bytes());
        assert_eq!(replica.hear(), [0]);
        replica.expect(1..=10);
        replica.ack(10);
        let connection = server.replica(c"r").expect("it is connected");
        while connection.acked_vlsn() < 10 {
            std::thread::yield_now();
        }
        assert_eq!(server.stop(generous()), Ok(true));
    });
    let told = told.lock().unwrap();
    // Whether it has caught up is found out in its next turn, which the stop may come before.
    let told: Vec<&Kind> = told.iter().filter(|kind| **kind != Kind::CaughtUp).collect();
    assert_eq!(told, [&Kind::Joined(1), &Kind::Acked(10), &Kind::Ended(End::Stopped, Some(Refusal::Stopped))]);
    let again = server.run_over(system::for_many().unwrap(), || panic!("it has been stopped"));
    assert!(matches!(again, Err(Error::WrongState { .. })), "{again:?}");
}

#[test]
fn a_replica_that_listens_is_dialled_until_it_answers_and_fed_on_behind_what_it_acknowledged() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("server.redial_min_ms", "10")]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    served.server.dial("127.0.0.1", address.port(), c"far", 3).unwrap();
    assert!(matches!(served.wait_refused(), Refusal::Failed(_)), "nobody listens yet");
    let listener = TcpListener::bind(address).unwrap();
    let mut replica = Replica::over(listener.accept().unwrap().0);
    replica.expect(3..=10);
    replica.ack(7);
    served.wait_acked("far", 7);
    drop(replica);
    served.wait_ended("far");
    let mut replica = Replica::over(listener.accept().unwrap().0);
    replica.expect(8..=10);
    assert!(served.server.disconnect(c"far"));
    assert!(replica.is_closed());
    assert_eq!(served.wait_ended("far"), (End::Stopped, Some(Refusal::ByHost)));
    assert!(!served.server.disconnect(c"far"));
    served.server.dispose().unwrap();
}

#[test]
fn all_replicas_linger_at_the_same_time() {
    let log = LogDir::with(1..=10);
    let served = Served::over(&log, &[("runner.linger_ms", "400")]);
    let mut replicas: Vec<_> = (0..16).map(|_| served.replica(0)).collect();
    for replica in &mut replicas {
        assert_eq!(replica.hear(), [0]);
        replica.expect(1..=10);
    }
    let silent = served.dial();
    let before = Instant::now();
    served.server.dispose().unwrap();
    assert!(before.elapsed() < Duration::from_millis(400 * 8), "one after the other they would take 16 times as long");
    drop(silent);
    assert!(TcpStream::connect(served.address).is_err(), "nobody listens");
    let (ours, _) = UnixStream::pair().unwrap();
    assert!(served.server.adopt(OwnedFd::from(ours)).is_err());
}

#[test]
fn the_files_are_fetched_with_and_without_messages() {
    let mut log = LogDir::with(1..=1000);
    log.begin_file(1);
    log.append_all(1001..=2000);
    let mut served = Served::over(&log, &[("log.settle_ms", "50")]);
    let magic = 0x4E52_5354u32.to_le_bytes();
    let mut framed = served.dial();
    framed.say(b"RESTORE");
    framed.say(&magic);
    let message = framed.hear();
    let mut raw = served.dial();
    raw.0.write_all(&magic).unwrap();
    let mut bytes = Vec::new();
    raw.0.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, message);
    let (files, rest) = noxu_feeder::wire::service::restore::decode(&message).unwrap();
    assert_eq!((files.len(), rest), (2, 0));
    for purpose in [Purpose::Restore, Purpose::RawRestore] {
        served.wait_for("restored", |event| {
            let is_it = event.connection.as_ref().is_some_and(|connection| connection.purpose() == purpose);
            (is_it && matches!(event.kind, Kind::Restored(bytes) if bytes > 0)).then_some(())
        });
    }
    served.server.dispose().unwrap();
}

#[test]
fn who_closes_before_saying_anything_is_no_refusal() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[]);
    for _ in 0..3 {
        let probe = served.dial();
        probe.0.shutdown(Shutdown::Both).unwrap();
    }
    let mut good = served.replica(0);
    assert_eq!(good.hear(), [0]);
    good.expect(1..=10);
    good.ack(10);
    served.wait_acked(&good.name(), 10);
    assert_eq!(served.server.figures().refused(), 0);
    served.server.dispose().unwrap();
}

#[test]
fn the_figures_are_told_as_text() {
    let log = LogDir::with(1..=10);
    let mut served = Served::with(&log, &[], |server| name_each(server, |_, _| Some(c"a \"b\"".to_owned())));
    let mut replica = served.replica(0);
    assert_eq!(replica.hear(), [0]);
    replica.expect(1..=10);
    replica.ack(7);
    served.wait_acked("a \"b\"", 7);
    let of_replica = format!("{{replica=\"a \\\"b\\\"\",peer=\"{}\"}}", replica.name());
    let text = served.server.metrics(Format::Prometheus);
    for line in [
        "noxu_feeder_connections 1".to_owned(),
        "noxu_feeder_joined_total 1".to_owned(),
        "# TYPE noxu_feeder_replica_acked_vlsn gauge".to_owned(),
        format!("noxu_feeder_replica_acked_vlsn{of_replica} 7"),
        format!("noxu_feeder_replica_sent_vlsn{of_replica} 10"),
        format!("noxu_feeder_replica_lag_entries{of_replica} 3"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let text = served.server.metrics(Format::Json);
    assert!(text.starts_with("{\"connections\":1,\"streams\":1,\"joined_total\":1,"), "{text}");
    let begins =
        format!("\"replicas\":[{{\"name\":\"a \\\"b\\\"\",\"peer\":\"{}\",\"service\":\"stream\"", replica.name());
    assert!(text.contains(&begins) && text.contains("\"acked_vlsn\":7,") && text.ends_with("}]}\n"), "{text}");
    served.server.dispose().unwrap();
}

#[test]
fn the_host_hears_how_a_replica_stands_and_can_hold_it_back() {
    let mut log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("server.behind_ms", "200"), ("server.ack_timeout_ms", "1500")]);
    let mut replica = served.replica(0);
    assert_eq!(replica.hear(), [0]);
    replica.expect(1..=10);
    replica.ack(10);
    let is = |wanted: Kind| move |event: &Event| (event.kind == wanted).then_some(());
    served.wait_for("caught up", is(Kind::CaughtUp));
    let name = CString::new(replica.name()).unwrap();
    assert!(served.server.pause(&name));
    log.append(11);
    served.wait_for("fell behind", is(Kind::FellBehind));
    assert!(served.server.resume(&name));
    replica.expect([11]);
    replica.ack(11);
    served.wait_for("caught up again", is(Kind::CaughtUp));
    // So slow that 40 entries take longer than the rest of this test may.
    assert!(served.server.set_rate(&name, NonZeroU64::new(1)));
    log.append_all(12..=1000);
    replica.expect([12]);
    assert!(served.server.set_rate(&name, None));
    replica.expect(13..=1000);
    // It owes acks, and sends none.
    let (end, _) = served.wait_ended(name.to_str().unwrap());
    assert!(matches!(end, End::Failed(Error::AckTimeout { .. })), "{end:?}");
    assert!(!served.server.pause(&name));
    served.server.dispose().unwrap();
}

#[test]
fn the_host_hears_of_those_for_whom_there_is_no_room() {
    let log = LogDir::with(1..=10);
    let mut served = Served::over(&log, &[("server.connections_max", "1")]);
    let mut good = served.replica(0);
    assert_eq!(good.hear(), [0]);
    let mut late = served.dial();
    assert!(late.is_closed());
    assert_eq!(served.wait_refused(), Refusal::TooMany);
    good.expect(1..=10);
    served.server.dispose().unwrap();
}
