//! A server to which the system gives no more descriptors. In a process of its own, whose limit is lowered.
#![cfg(target_os = "linux")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::LogDir;
use noxu_feeder::acks::Deadline;
use noxu_feeder::log::Log;
use noxu_feeder::options::Options;
use noxu_feeder::server::Server;
use noxu_feeder::server::events::{Event, Kind, Polled};

const PATIENCE: Duration = Duration::from_secs(60);

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

fn allow_descriptors(count: u64) {
    // SAFETY: zeros are a valid rlimit, and the struct is valid for writing and reading during the calls.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = count.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn is_served(stream: &mut TcpStream) {
    stream.write_all(b"\x0b\0\0\0PEER_FEEDER\x08\0\0\0\0\0\0\0\0\0\0\0").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [1, 0, 0, 0, 0]);
}

fn kinds(events: &[Event]) -> Vec<&Kind> {
    events.iter().map(|event| &event.kind).collect()
}

fn accept_errors(server: &Server) -> u64 {
    server.figures().accept_errors()
}

/// Without descriptors nobody is taken in; those who wait are when there are some again, and those who were fed are fed on.
#[test]
fn no_descriptor_for_a_connection_ends_nothing() {
    let log = LogDir::with(1..=3);
    let options = Options::default();
    let opened = Log::open(log.path(), options.scanner(), None).unwrap();
    let server = Server::new(opened, options.server());
    let address = server.listen("127.0.0.1", 0).unwrap();
    let mut first = dial(address);
    is_served(&mut first);
    let mut frames = Vec::new();
    while !frames.ends_with(&LogDir::payload(3)) {
        let mut piece = [0; 4096];
        let count = first.read(&mut piece).unwrap();
        frames.extend_from_slice(&piece[..count]);
    }
    // What the test's own ends need, and none for the server's.
    let mut waiting: Vec<TcpStream> = Vec::new();
    allow_descriptors(open_descriptors() + 2);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => waiting.push(stream),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                break;
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    while accept_errors(&server) == 0 {
        assert!(Instant::now() < deadline, "the system refuses");
        std::thread::yield_now();
    }
    first.write_all(b"\x08\0\0\0\x03\0\0\0\0\0\0\0").unwrap();
    let mut events = Vec::new();
    while !events.iter().any(|event: &Event| event.kind == Kind::Acked(3)) {
        let polled = server.events().poll(&mut events, 10, Deadline::At(deadline));
        assert!(matches!(polled, Polled::Events(_)), "who is fed is still heard: {polled:?}, {:?}", kinds(&events));
    }
    allow_descriptors(1000);
    for stream in &mut waiting {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        is_served(stream);
    }
    is_served(&mut dial(address));
    server.dispose().unwrap();
}
