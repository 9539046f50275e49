//! A runner over a socket: what leaves, what acks do, how it sleeps, wakes and ends.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{LogDir, NOT_REGULAR, RECORD};
use noxu_feeder::acks::{Ack, Deadline, End, Polled, Waited};
use noxu_feeder::error::Error;
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::source::LogSource;
use noxu_feeder::sys::waker::Wakeups;
use noxu_feeder::transport::{Closing, SocketChannel};
use noxu_feeder::wire::frame::Frame;

const PATIENCE: Duration = Duration::from_secs(60);

fn generous() -> Deadline {
    Deadline::At(Instant::now() + PATIENCE)
}

/// The other end of a stream, driven by the test.
struct Replica(UnixStream);

impl Replica {
    /// The next frame: VLSN and payload. `None` when the feeder has finished.
    fn frame(&mut self) -> Option<(u64, Vec<u8>)> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len).ok()?;
        let mut message = vec![0; u32::from_le_bytes(len) as usize];
        self.0.read_exact(&mut message).ok()?;
        let frame = Frame::decode(&message).expect("a good frame");
        assert_eq!(frame.entry_type, RECORD);
        Some((frame.vlsn, frame.payload.to_vec()))
    }

    fn expect(&mut self, vlsns: impl IntoIterator<Item = u64>) {
        for vlsn in vlsns {
            let expected = (vlsn, LogDir::payload(i64::try_from(vlsn).unwrap()));
            assert_eq!(self.frame(), Some(expected));
        }
    }

    fn send(&mut self, message: &[u8]) {
        let len = u32::try_from(message.len()).unwrap();
        self.0.write_all(&[&len.to_le_bytes(), message].concat()).unwrap();
    }

    fn ack(&mut self, vlsn: u64) {
        self.send(&vlsn.to_le_bytes());
    }
}

struct Setup {
    options: Options,
    runner: Runner,
    replica: Replica,
}

fn set_up(start_vlsn: u64, set: &[(&str, &str)]) -> Setup {
    let mut options = Options::default();
    for (key, value) in set {
        options.set(key, value).unwrap();
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.set_write_timeout(Some(PATIENCE)).unwrap();
    let socket = std::os::fd::OwnedFd::from(ours);
    options.socket().prepare(std::os::fd::AsFd::as_fd(&socket)).unwrap();
    let channel = Box::new(SocketChannel::new(socket, options.socket()));
    let runner = Runner::new(channel, c"replica-1".to_owned(), start_vlsn, options.clone());
    let runner = runner.map_err(|(_, error)| error).unwrap();
    Setup { options, runner, replica: Replica(theirs) }
}

impl Setup {
    fn start(&self, log: &LogDir) -> Arc<Log> {
        let log = Log::open(log.path(), self.options.scanner(), None).unwrap();
        let source = Box::new(LogSource::new(Arc::clone(&log), Lsn::NULL));
        self.runner.start(source).map_err(|(_, error)| error).unwrap();
        log
    }

    fn end(&self) -> End {
        assert!(self.runner.acks().wait_finished(generous()), "{:?}", self.runner.snapshot());
        self.runner.acks().ended().unwrap()
    }

    /// Waits until the runner sleeps and has seen all of the log; the number of sleeps so far.
    fn wait_asleep(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.runner.snapshot();
            if now.pause.is_some() && now.sleeps > 0 {
                return now.sleeps;
            }
            assert!(Instant::now() < deadline, "{now:?}");
            std::thread::yield_now();
        }
    }
}

/// Fails unless these runs, which have nothing to do, stay asleep. That nothing happens can only be watched for a
/// while: a loop that never sleeps comes round thousands of times in it, and one that does a few times at most.
fn expect_rest(runs: &[&Setup]) {
    let before: Vec<u64> = runs.iter().map(|run| run.wait_asleep()).collect();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        for (run, before) in runs.iter().zip(&before) {
            let now = run.runner.snapshot();
            assert!(now.sleeps - before <= 5, "{} sleeps: {now:?}", now.sleeps - before);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The acks that the callback was told, in order.
fn record_acks(runner: &Runner) -> Receiver<(String, u64)> {
    let (told, heard): (Sender<_>, _) = channel();
    let told = parking_lot::Mutex::new(told);
    runner
        .set_ack_function(Box::new(move |name, vlsn| {
            told.lock().send((name.to_str().unwrap().to_owned(), vlsn)).unwrap();
        }))
        .unwrap();
    heard
}

#[test]
fn every_ack_reaches_the_callback_in_order_and_the_known_vlsn_has_risen_before() {
    let mut log = LogDir::with(1..=50);
    let mut setup = set_up(1, &[]);
    let heard = record_acks(&setup.runner);
    setup.start(&log);
    setup.replica.expect(1..=50);
    for vlsn in [42, 10, 42, 50] {
        setup.replica.ack(vlsn);
    }
    let names_and_vlsns: Vec<_> = (0..4).map(|_| heard.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(names_and_vlsns.iter().map(|(_, vlsn)| *vlsn).collect::<Vec<_>>(), [42, 10, 42, 50]);
    assert!(names_and_vlsns.iter().all(|(name, _)| name == "replica-1"));
    assert_eq!(setup.runner.acks().known_vlsn(), 50);
    // And the stream goes on.
    log.append_all(51..=52);
    setup.replica.expect(51..=52);
    assert!(setup.runner.stop(generous()).unwrap());
    assert_eq!(setup.end(), End::Stopped);
}

#[test]
fn a_short_ack_changes_nothing_and_the_stream_goes_on() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[]);
    let heard = record_acks(&setup.runner);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.send(&[9, 9, 9]);
    setup.replica.send(&[]);
    setup.replica.send(&[&2u64.to_le_bytes()[..], b"and more"].concat());
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap().1, 2);
    assert_eq!(setup.runner.acks().known_vlsn(), 2);
    drop(setup.replica);
    assert!(heard.recv().is_err());
}

#[test]
fn an_ack_for_what_was_never_sent_ends_the_run_and_is_not_delivered() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[]);
    let heard = record_acks(&setup.runner);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.ack(3);
    setup.replica.ack(4);
    assert_eq!(setup.end(), End::Failed(Error::AckBeyondSent { acked: 4, sent: 3 }));
    assert_eq!(heard.iter().map(|(_, vlsn)| vlsn).collect::<Vec<_>>(), [3]);
    assert_eq!(setup.runner.acks().known_vlsn(), 3);
}

#[test]
fn acks_for_what_others_sent_count_if_the_host_says_so() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("ack.beyond_sent", "accept")]);
    setup.start(&log);
    setup.replica.ack(42);
    assert_eq!(setup.runner.wait_acked(42, generous()), Ok(Waited::Acked));
}

#[test]
fn a_later_start_resumes_there_and_sends_nothing_below() {
    let log = LogDir::with(1..=30);
    let mut setup = set_up(20, &[]);
    setup.start(&log);
    setup.replica.ack(19);
    setup.replica.expect(20..=30);
    assert!(setup.runner.wait_acked(19, generous()).is_err(), "below the start");
    setup.replica.ack(30);
    assert_eq!(setup.runner.wait_acked(30, generous()), Ok(Waited::Acked));
}

#[test]
fn acks_queue_for_who_polls_and_are_merged_for_who_does_not() {
    let log = LogDir::with(1..=100);
    let mut setup = set_up(1, &[("ack.queue_max", "10")]);
    setup.start(&log);
    setup.replica.expect(1..=100);
    for vlsn in 1..=100 {
        setup.replica.ack(vlsn);
    }
    assert_eq!(setup.runner.wait_acked(100, generous()), Ok(Waited::Acked));
    assert!(setup.runner.stop(generous()).unwrap());
    let mut acks = [Ack { vlsn: 0, merged: 0 }; 100];
    assert_eq!(setup.runner.acks().poll(&mut acks, generous()), Polled::Acks(10));
    assert_eq!(acks[..9].iter().map(|ack| ack.vlsn).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert_eq!(acks[9], Ack { vlsn: 100, merged: 90 });
    assert_eq!(setup.runner.acks().poll(&mut acks, generous()), Polled::Ended);
}

/// Both sides' buffers are small, and the replica writes each ack before it reads on. The original deadlocks.
#[test]
fn a_replica_that_acks_every_frame_before_it_reads_on_is_fed_to_the_end() {
    const ENTRIES: u64 = 40_000;
    let log = LogDir::with(1..=i64::try_from(ENTRIES).unwrap());
    let setup = set_up(1, &[("channel.send_buffer_bytes", "4608")]);
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let count_ack = move |_: &std::ffi::CStr, _: u64| {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    setup.runner.set_ack_function(Box::new(count_ack)).unwrap();
    setup.start(&log);
    let Setup { runner, mut replica, .. } = setup;
    let echo: JoinHandle<()> = std::thread::spawn(move || {
        for vlsn in 1..=ENTRIES {
            replica.expect([vlsn]);
            replica.ack(vlsn);
        }
        while replica.frame().is_some() {}
    });
    assert_eq!(runner.wait_acked(ENTRIES, generous()), Ok(Waited::Acked));
    runner.dispose().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), ENTRIES);
    echo.join().unwrap();
}

#[test]
fn the_run_is_over_when_the_replica_closes() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.ack(3);
    drop(setup.replica);
    assert!(setup.runner.acks().wait_finished(generous()));
    assert_eq!(setup.runner.acks().ended(), Some(End::ClosedByPeer(Closing::Finished)));
    assert_eq!(setup.runner.acks().known_vlsn(), 3, "what it acknowledged before counts");
}

#[test]
fn a_close_that_is_noticed_while_sending_is_a_close_too() {
    let log = LogDir::with(1..=50_000);
    let mut setup = set_up(1, &[]);
    setup.start(&log);
    setup.replica.expect(1..=10);
    drop(setup.replica);
    assert!(setup.runner.acks().wait_finished(generous()));
    assert!(matches!(setup.runner.acks().ended(), Some(End::ClosedByPeer(_))));
}

#[test]
fn what_was_read_before_the_log_failed_is_sent_before_the_run_ends() {
    let mut log = LogDir::with(1..=3);
    let (at, _) = log.next_entry(RECORD, 0, Some(4), b"damaged");
    log.begin_file(1);
    log.append(5);
    log.write_at(at, b"not an entry but long enough to look like one");
    let mut setup = set_up(1, &[("log.settle_ms", "20")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.ack(3);
    assert_eq!(setup.replica.frame(), None, "nothing behind the damage");
    drop(setup.replica);
    assert!(setup.runner.acks().wait_finished(generous()));
    let end = setup.runner.acks().ended().unwrap();
    assert!(matches!(end, End::Failed(Error::LogDamaged { .. })), "{end:?}");
    assert_eq!(setup.runner.acks().known_vlsn(), 3);
}

#[test]
fn an_entry_too_large_for_a_frame_is_named_by_its_vlsn() {
    let mut log = LogDir::with(1..=2);
    log.append_entry(RECORD, 0, Some(3), &vec![1; 64 * 1024 * 1024]);
    log.append(4);
    let mut setup = set_up(1, &[]);
    setup.start(&log);
    setup.replica.expect(1..=2);
    assert_eq!(setup.replica.frame(), None);
    drop(setup.replica);
    assert!(setup.runner.acks().wait_finished(generous()));
    let end = setup.runner.acks().ended().unwrap();
    assert_eq!(end, End::Failed(Error::EntryTooLarge { vlsn: 3, len: 64 * 1024 * 1024 }));
}

#[test]
fn a_replica_that_takes_nothing_is_given_up_after_the_write_timeout() {
    let log = LogDir::with(1..=100_000);
    let setup = set_up(1, &[("runner.write_timeout_ms", "50"), ("runner.linger_ms", "10")]);
    setup.start(&log);
    assert_eq!(setup.end(), End::Failed(Error::WriteTimeout { waited_ms: 50 }));
}

#[test]
fn a_replica_that_acknowledges_nothing_is_given_up_after_the_ack_timeout() {
    let log = LogDir::with(1..=3);
    let setup = set_up(1, &[("runner.ack_timeout_ms", "50")]);
    setup.start(&log);
    assert_eq!(setup.end(), End::Failed(Error::AckTimeout { waited_ms: 50, unacked: 3 }));
}

/// For a replica that reads nothing, a bounded number of bytes is read and queued, however large the log is.
#[test]
fn a_slow_replica_makes_nothing_grow() {
    let log = LogDir::with(1..=200_000);
    let setup = set_up(1, &[]);
    setup.start(&log);
    let deadline = Instant::now() + PATIENCE;
    let queued = loop {
        let now = setup.runner.snapshot();
        if now.sleeps > 0 {
            break now.queued_bytes;
        }
        assert!(Instant::now() < deadline, "{now:?}");
        std::thread::yield_now();
    };
    assert!(queued > 0 && queued < 1024 * 1024, "{queued} bytes queued");
}

// --- sleeping and waking ------------------------------------------------------------------------------------

#[test]
fn an_append_wakes_a_sleeping_run_by_the_systems_notification() {
    let mut log = LogDir::with(1..=3);
    // The safety look would come long after this test's patience.
    let mut setup = set_up(1, &[("runner.safety_look_ms", "86400000")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    for vlsn in 4..30 {
        setup.wait_asleep();
        if vlsn % 5 == 0 {
            log.begin_file(u32::try_from(vlsn / 5).unwrap());
        }
        log.append(vlsn);
        setup.replica.expect([u64::try_from(vlsn).unwrap()]);
    }
    assert!(setup.runner.snapshot().is_notified);
}

#[test]
fn two_runs_that_share_a_log_are_both_woken() {
    let mut log = LogDir::with(1..=3);
    let never = [("runner.safety_look_ms", "86400000")];
    let (mut one, mut two) = (set_up(1, &never), set_up(1, &never));
    let shared = one.start(&log);
    two.runner.start(Box::new(LogSource::new(shared, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    for vlsn in 4..200 {
        log.append(vlsn);
        if vlsn % 10 == 0 {
            let upto = u64::try_from(vlsn).unwrap();
            let from = if upto == 10 { 1 } else { upto - 9 };
            one.replica.expect(from..=upto);
            two.replica.expect(from..=upto);
        }
    }
}

#[test]
fn a_lost_notification_is_made_good_by_the_safety_look() {
    let mut log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("runner.safety_look_ms", "10")]);
    let shared = setup.start(&log);
    setup.replica.expect(1..=3);
    setup.wait_asleep();
    // Somebody else takes the event that would have woken it.
    log.append(4);
    shared.take_events(&Wakeups::new().unwrap().waker());
    setup.replica.expect([4]);
}

#[test]
fn an_idle_run_sleeps_until_something_happens() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("runner.safety_look_ms", "86400000")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.wait_asleep();
    let before = setup.runner.snapshot().sleeps;
    // Twenty acks wake it at most twenty times, and nothing else does.
    for _ in 0..20 {
        setup.replica.ack(3);
    }
    assert_eq!(setup.runner.wait_acked(3, generous()), Ok(Waited::Acked));
    while setup.runner.snapshot().stream.acks < 20 {
        std::thread::yield_now();
    }
    let sleeps = setup.runner.snapshot().sleeps - before;
    assert!(sleeps <= 22, "{sleeps} sleeps");
}

#[test]
fn after_an_append_and_after_a_notification_a_run_sleeps_again() {
    let mut log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("runner.safety_look_ms", "86400000")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    for vlsn in 4..10 {
        expect_rest(&[&setup]);
        log.append(vlsn);
        setup.replica.expect([u64::try_from(vlsn).unwrap()]);
        expect_rest(&[&setup]);
        setup.runner.notify();
    }
}

/// Whichever of them takes the notification tells the other, again and again at every moment of its way to sleep.
#[test]
fn runs_that_share_a_log_sleep_again_and_their_host_says_nothing() {
    let mut log = LogDir::with(1..=3);
    let never = [("runner.safety_look_ms", "86400000")];
    let (mut one, mut two) = (set_up(1, &never), set_up(1, &never));
    let shared = one.start(&log);
    two.runner.start(Box::new(LogSource::new(shared, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    one.replica.expect(1..=3);
    two.replica.expect(1..=3);
    for vlsn in 4..400 {
        log.append(vlsn);
        one.replica.expect([u64::try_from(vlsn).unwrap()]);
        two.replica.expect([u64::try_from(vlsn).unwrap()]);
        if vlsn % 50 == 0 {
            expect_rest(&[&one, &two]);
        }
    }
}

#[test]
fn stopping_ends_a_sleeping_run_at_once_and_closes_the_connection_in_order() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("runner.linger_ms", "86400000")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.wait_asleep();
    assert!(!setup.runner.stop(Deadline::At(Instant::now())).unwrap(), "it lingers for the replica's last acks");
    assert_eq!(setup.replica.frame(), None, "the replica sees an orderly end");
    setup.replica.ack(3);
    drop(setup.replica);
    assert!(setup.runner.stop(generous()).unwrap());
    assert_eq!(setup.runner.acks().known_vlsn(), 3, "an ack that came while it was ending");
    assert_eq!(setup.runner.acks().ended(), Some(End::Stopped));
}

#[test]
fn a_run_on_the_callers_thread_ends_with_the_replica() {
    let log = LogDir::with(1..=3);
    let Setup { options, runner, mut replica } = set_up(1, &[]);
    let reader = std::thread::spawn(move || {
        replica.expect(1..=3);
        replica.ack(3);
    });
    let log = Log::open(log.path(), options.scanner(), None).unwrap();
    let end = runner.run(Box::new(LogSource::new(log, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    assert_eq!(end, End::ClosedByPeer(Closing::Finished));
    reader.join().unwrap();
}

#[test]
fn a_panic_in_a_callback_ends_the_run_as_an_error() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[]);
    setup.runner.set_ack_function(Box::new(|_, _| panic!("on purpose"))).unwrap();
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.ack(1);
    assert_eq!(setup.end(), End::Failed(Error::Panicked("on purpose".into())));
    let last = setup.runner.snapshot();
    assert!(last.ended.is_some() && last.pause.is_none() && !last.is_notified, "{last:?}");
}

/// A replica that never stops sending must neither keep a run alive nor the log's news from it.
#[test]
fn a_flood_of_acks_starves_neither_the_log_nor_the_stop() {
    let mut log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[("runner.linger_ms", "50"), ("runner.safety_look_ms", "86400000")]);
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.wait_asleep();
    let mut flooding = Replica(setup.replica.0.try_clone().unwrap());
    let flood = std::thread::spawn(move || {
        let acks = [&8u32.to_le_bytes()[..], &3u64.to_le_bytes()].concat().repeat(10_000);
        while flooding.0.write_all(&acks).is_ok() {}
    });
    while setup.runner.snapshot().stream.acks < 100_000 {
        std::thread::yield_now();
    }
    log.append_all(4..=6);
    setup.replica.expect(4..=6);
    assert!(setup.runner.stop(generous()).unwrap());
    assert_eq!(setup.end(), End::Stopped);
    flood.join().unwrap();
}

#[test]
fn a_runner_stopped_before_its_start_has_ended_for_all_who_wait() {
    let log = LogDir::with(1..=3);
    let setup = set_up(1, &[]);
    assert!(setup.runner.stop(generous()).unwrap());
    assert_eq!(setup.runner.wait_acked(1, Deadline::Never), Ok(Waited::Ended(End::Stopped)));
    let mut acks = [Ack { vlsn: 0, merged: 0 }];
    assert_eq!(setup.runner.acks().poll(&mut acks, Deadline::Never), Polled::Ended);
    let log = Log::open(log.path(), setup.options.scanner(), None).unwrap();
    let refused = setup.runner.start(Box::new(LogSource::new(log, Lsn::NULL)));
    assert!(matches!(refused, Err((_, Error::WrongState { .. }))));
}

#[test]
fn the_host_is_told_of_the_end_once_also_when_a_callback_panicked() {
    let log = LogDir::with(1..=3);
    let mut setup = set_up(1, &[]);
    let (told, heard) = channel();
    let told = parking_lot::Mutex::new(told);
    setup.runner.set_ack_function(Box::new(|_, _| panic!("on purpose"))).unwrap();
    setup.runner.set_end_function(Box::new(move |_, end| told.lock().send(end.clone()).unwrap())).unwrap();
    setup.start(&log);
    setup.replica.expect(1..=3);
    setup.replica.ack(1);
    let ends: Vec<End> = heard.iter().collect();
    assert_eq!(ends, [End::Failed(Error::Panicked("on purpose".into()))]);
}

/// A channel of whole messages, whose calls may block: the same stream, and the same rules for acks.
#[test]
fn a_local_pair_carries_a_stream_and_its_acks() {
    use noxu_feeder::transport::local::local_pair;
    use noxu_feeder::transport::{Channel, Received};
    const ENTRIES: u64 = 20_000;
    let log = LogDir::with(1..=i64::try_from(ENTRIES).unwrap());
    let mut options = Options::default();
    // So small that each side has to wait for the other again and again.
    options.set("channel.local_queue_bytes_max", "300").unwrap();
    let (ours, theirs) = local_pair(options.local());
    let runner = Runner::new(Box::new(ours), c"local".to_owned(), 1, options.clone()).map_err(|(_, e)| e).unwrap();
    let shared = Log::open(log.path(), options.scanner(), None).unwrap();
    runner.start(Box::new(LogSource::new(shared, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
    let replica = std::thread::spawn(move || {
        let mut buffer = vec![0; 100_000];
        for vlsn in 1..=ENTRIES {
            let Received::Message(len) = theirs.receive(&mut buffer, generous().instant()).unwrap() else { panic!() };
            let frame = Frame::decode(&buffer[..len]).unwrap();
            assert_eq!(frame.vlsn, vlsn);
            assert_eq!(frame.payload, LogDir::payload(i64::try_from(vlsn).unwrap()));
            theirs.send(&vlsn.to_le_bytes()).unwrap();
        }
        theirs.send(&(ENTRIES + 1).to_le_bytes()).unwrap();
        assert_eq!(theirs.receive(&mut buffer, generous().instant()), Ok(Received::Closed));
    });
    assert_eq!(runner.wait_acked(ENTRIES, generous()), Ok(Waited::Acked));
    assert!(runner.acks().wait_finished(generous()));
    let beyond = Error::AckBeyondSent { acked: ENTRIES + 1, sent: ENTRIES };
    assert_eq!(runner.acks().ended(), Some(End::Failed(beyond)));
    replica.join().unwrap();
}

#[test]
fn a_run_over_a_local_pair_ends_with_either_side() {
    use noxu_feeder::transport::local::local_pair;
    use noxu_feeder::transport::{Channel, Received};
    for stopped_by_host in [true, false] {
        let log = LogDir::with(1..=3);
        let options = Options::default();
        let (ours, theirs) = local_pair(options.local());
        let runner = Runner::new(Box::new(ours), c"local".to_owned(), 1, options.clone()).map_err(|(_, e)| e).unwrap();
        let shared = Log::open(log.path(), options.scanner(), None).unwrap();
        runner.start(Box::new(LogSource::new(shared, Lsn::NULL))).map_err(|(_, error)| error).unwrap();
        let mut buffer = [0; 1000];
        for _ in 0..3 {
            assert!(matches!(theirs.receive(&mut buffer, generous().instant()), Ok(Received::Message(_))));
        }
        if stopped_by_host {
            assert!(runner.stop(generous()).unwrap());
            assert_eq!(theirs.receive(&mut buffer, generous().instant()), Ok(Received::Closed));
            assert_eq!(runner.acks().ended(), Some(End::Stopped));
        } else {
            theirs.close();
            assert!(runner.acks().wait_finished(generous()));
            assert_eq!(runner.acks().ended(), Some(End::ClosedByPeer(Closing::Finished)));
        }
        runner.dispose().unwrap();
    }
}

#[test]
fn what_is_no_regular_file_ends_a_run_and_holds_up_neither_stop_nor_free() {
    for (make, what) in NOT_REGULAR {
        let log = LogDir::with(1..=3);
        make(&log.file_path(1));
        let mut setup = set_up(1, &[("runner.linger_ms", "0")]);
        setup.start(&log);
        setup.replica.expect(1..=3);
        let Setup { runner, .. } = setup;
        let (say, said) = channel();
        std::thread::spawn(move || {
            let waited = runner.acks().wait_finished(generous());
            let end = runner.acks().ended();
            runner.stop(generous()).unwrap();
            drop(runner);
            say.send((waited, end)).unwrap();
        });
        let (waited, end) = said.recv_timeout(2 * PATIENCE).expect("nobody was held up");
        assert!(waited);
        assert_eq!(end, Some(End::Failed(Error::LogNotRegular { file: 1, what })));
    }
}
