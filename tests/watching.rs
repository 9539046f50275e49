//! How a run learns of changes, and what it says where it cannot: links to files elsewhere, watches that are used up, a
//! path that leads elsewhere by then.

#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{LogDir, RECORD};
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::LogSource;
use noxu_feeder::transport::SocketChannel;
use noxu_feeder::wire::frame::Frame;

const PATIENCE: Duration = Duration::from_secs(120);

/// A safety look that does not come in the course of a test.
const NEVER_MS: &str = "86400000";

/// Keeps the log callback's messages.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl log::Log for Told {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(format!("{}: {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

impl Told {
    /// The messages with these words in them.
    fn with(&self, words: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(words)).cloned().collect()
    }
}

/// A run over a log, and its replica.
struct Run {
    runner: Runner,
    replica: UnixStream,
    told: Arc<Told>,
}

impl Run {
    fn over(log: &LogDir, safety_look_ms: &str) -> Run {
        let mut options = Options::default();
        options.set("runner.safety_look_ms", safety_look_ms).unwrap();
        options.set("runner.linger_ms", "0").unwrap();
        let (ours, replica) = UnixStream::pair().unwrap();
        replica.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = OwnedFd::from(ours);
        options.socket().prepare(socket.as_fd()).unwrap();
        let channel = Box::new(SocketChannel::new(socket, options.socket()));
        let runner = Runner::new(channel, c"replica-1".to_owned(), 1, options.clone());
        let runner = runner.map_err(|(_, error)| error).unwrap();
        let told = Arc::new(Told::default());
        let log = Log::open(log.path(), options.scanner(), Some(Arc::clone(&told) as _)).unwrap();
        runner.start(Box::new(LogSource::new(log, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
        Run { runner, replica, told }
    }

    fn expect(&mut self, vlsns: impl IntoIterator<Item = u64>) {
        for vlsn in vlsns {
            let mut len = [0; 4];
            self.replica.read_exact(&mut len).unwrap();
            let mut message = vec![0; u32::from_le_bytes(len) as usize];
            self.replica.read_exact(&mut message).unwrap();
            assert_eq!(Frame::decode(&message).unwrap().vlsn, vlsn);
        }
    }

    /// Waits until it has slept so often since, having read all there is.
    fn wait_for_sleeps(&self, sleeps: u64) {
        let before = self.runner.snapshot().sleeps;
        self.wait_until(|now| now.pause.is_some() && now.sleeps >= before + sleeps);
    }

    fn wait_until(&self, is_so: impl Fn(&noxu_feeder::session::link::Snapshot) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.runner.snapshot()) {
            assert!(Instant::now() < deadline, "{:?}", self.runner.snapshot());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Moves a file of the log elsewhere, and leaves a link to it.
fn link_elsewhere(log: &LogDir, number: u32, elsewhere: &std::path::Path) {
    let target = elsewhere.join(format!("file-{number}"));
    fs::rename(log.file_path(number), &target).unwrap();
    symlink(&target, log.file_path(number)).unwrap();
}

#[test]
fn what_is_appended_behind_a_link_is_found_without_a_notification() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut log = LogDir::with(1..=3);
    link_elsewhere(&log, 0, elsewhere.path());
    let mut run = Run::over(&log, NEVER_MS);
    run.expect(1..=3);
    run.wait_for_sleeps(1);
    run.wait_until(|now| !now.is_notified);
    log.append(4);
    run.expect([4]);
    // The next file is not a link, and from then on the notification suffices.
    log.begin_file(1);
    log.append(5);
    run.expect([5]);
    run.wait_until(|now| now.is_notified);
    log.append(6);
    run.expect([6]);
}

#[test]
fn the_same_in_a_next_file_that_has_no_entry_yet() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut log = LogDir::with(1..=3);
    log.begin_file(1);
    link_elsewhere(&log, 1, elsewhere.path());
    let mut run = Run::over(&log, NEVER_MS);
    run.expect(1..=3);
    run.wait_for_sleeps(1);
    log.append(4);
    run.expect([4]);
    assert!(!run.runner.snapshot().is_notified);
}

#[test]
fn a_path_that_leads_elsewhere_is_told_of_once_and_the_log_is_read_on() {
    let mut log = LogDir::with(1..=3);
    let mut run = Run::over(&log, "10");
    run.expect(1..=3);
    run.wait_for_sleeps(3);
    assert_eq!(run.told.with("leads to another directory"), [""; 0]);
    // The same by a path that is switched: another directory has its name.
    let moved = log.path().with_extension("moved");
    fs::rename(log.path(), &moved).unwrap();
    fs::create_dir(log.path()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while run.told.with("leads to another directory").is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    run.wait_for_sleeps(5);
    let told = run.told.with("leads to another directory");
    assert!(told.len() == 1 && told[0].starts_with("WARN: "), "{told:?}");
    assert!(told[0].contains(log.path().to_str().unwrap()), "{told:?}");
    let (lsn, entry) = log.next_entry(RECORD, 0, Some(4), b"where it was moved to");
    let file = moved.join(log.file_path(lsn.file()).file_name().unwrap());
    OpenOptions::new().append(true).open(file).unwrap().write_all(&entry).unwrap();
    run.expect([4]);
    drop(run);
    fs::remove_dir_all(&moved).unwrap();
}

/// The limits are those of a user namespace, so this is another process in one: the test calls itself.
#[test]
fn watches_that_are_used_up_are_told_of_once_and_the_log_is_looked_at() {
    const LIMIT: &str = "NOXU_FEEDER_TEST_LIMIT";
    const TEST: &str = "watches_that_are_used_up_are_told_of_once_and_the_log_is_looked_at";
    /// The child's message if it cannot do that.
    const NONE: &str = "no limit can be set";
    let Some(limit) = std::env::var_os(LIMIT) else {
        for limit in ["max_inotify_watches", "max_inotify_instances"] {
            let mut itself = Command::new("unshare");
            itself.arg("-Ur").arg(std::env::current_exe().unwrap()).args(["--exact", TEST, "--nocapture"]);
            let reason = match itself.env(LIMIT, limit).output() {
                Ok(output) if output.status.success() => continue,
                Ok(output) => {
                    let said = [output.stdout, output.stderr].concat();
                    let said = String::from_utf8_lossy(&said);
                    assert!(said.contains(NONE) || !said.contains("running 1 test"), "{said}");
                    said.trim().to_owned()
                }
                Err(error) => error.to_string(),
            };
            // Not by a macro, whose output the harness keeps to itself.
            let told = format!("LEFT OUT: {TEST}: no user namespace to set {limit} in: {reason}\n");
            io::stderr().write_all(told.as_bytes()).unwrap();
        }
        return;
    };
    let limit = std::path::Path::new("/proc/sys/user").join(limit);
    fs::write(&limit, "0").unwrap_or_else(|error| panic!("{NONE}: {error}"));
    let mut log = LogDir::with(1..=3);
    let mut run = Run::over(&log, NEVER_MS);
    run.expect(1..=3);
    run.wait_for_sleeps(2);
    log.append(4);
    run.expect([4]);
    run.wait_for_sleeps(2);
    assert!(!run.runner.snapshot().is_notified);
    let told = run.told.with("cannot watch");
    assert!(told.len() == 1 && told[0].starts_with("WARN: ") && told[0].contains("used up"), "{told:?}");
    // Some are left again.
    fs::write(&limit, "1000").unwrap();
    run.wait_until(|now| now.is_notified);
    log.append(5);
    run.expect([5]);
    assert_eq!(run.told.with("cannot watch").len(), 1);
}
