//! noxu-feeder at work in this process.

use std::net::TcpStream;
use std::path::Path;

use noxu_feeder::acks::{Deadline, Waited};
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::LogSource;
use noxu_feeder::transport::SocketChannel;

/// Long enough for a busy machine; no test passes because of it.
const PATIENCE_MS: i32 = 300_000;

/// A feeder at work in this process.
pub(crate) struct Feeder {
    pub(crate) runner: Runner,
}

impl Feeder {
    pub(crate) fn start(log: &Path, address: &str, start_vlsn: u64) -> Feeder {
        Feeder::start_with(log, address, start_vlsn, &Options::default())
    }

    pub(crate) fn start_with(log: &Path, address: &str, start_vlsn: u64, options: &Options) -> Feeder {
        let log = Log::open(log, options.scanner(), None).expect("the log is there");
        let socket = TcpStream::connect(address).expect("the replica listens");
        let socket = std::os::fd::OwnedFd::from(socket);
        let socket_options = options.socket();
        socket_options.prepare(std::os::fd::AsFd::as_fd(&socket)).unwrap();
        let channel = Box::new(SocketChannel::new(socket, socket_options));
        let name = c"replica".to_owned();
        let runner = Runner::new(channel, name, start_vlsn, options.clone());
        let runner = runner.map_err(|(_, error)| error).unwrap();
        let source = Box::new(LogSource::new(log, Lsn::NULL));
        runner.start(source).map_err(|(_, error)| error).unwrap();
        Feeder { runner }
    }

    /// Waits until the replica has acknowledged `vlsn`.
    pub(crate) fn wait_acked(&self, vlsn: u64) {
        let waited = self.runner.wait_acked(vlsn, Deadline::from_millis(PATIENCE_MS)).unwrap();
        assert_eq!(waited, Waited::Acked, "VLSN {vlsn}: {:?}", self.runner.snapshot());
    }

    /// Stops, and says how many frames were sent. A replica that has what it wants may have closed before.
    pub(crate) fn stop(self) -> u64 {
        self.runner.dispose().unwrap();
        let end = self.runner.acks().ended().unwrap();
        assert!(end.result().is_ok(), "{end:?}");
        self.runner.snapshot().stream.frames
    }
}
