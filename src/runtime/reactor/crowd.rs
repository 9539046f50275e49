//! Tests with many sessions: who gets a turn, and who does not. Connections, logs and the time are the test's own.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::error::Result;
use crate::feed::OwnFeed;
use crate::log::{Entry, Lsn, Next, Now, Wait, WaitReason};
use crate::options::Options;
use crate::session::Session;
use crate::session::link::{Callbacks, Link};
use crate::source::{Origin, Source, SourceProgress};
use crate::stream::Stream;
use crate::sys::waker::Waker;
use crate::transport::{Closing, Driven, Transfer, Transport};

const SAFETY_LOOK: Duration = Duration::from_secs(5);

/// A connection whose replica takes all there is room for.
#[derive(Default)]
struct Line {
    incoming: Mutex<Vec<u8>>,
    is_closed: AtomicBool,
    is_full: AtomicBool,
    frames: AtomicU64,
    /// How many turns its session got.
    turns: AtomicU64,
}

impl Transport for Arc<Line> {
    /// Every turn begins with it.
    fn drive(&mut self) -> Driven {
        self.turns.fetch_add(1, Ordering::Relaxed);
        Driven::default()
    }

    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        if self.is_full.load(Ordering::Relaxed) {
            return Transfer::Again;
        }
        self.frames.fetch_add(1, Ordering::Relaxed);
        Transfer::Moved(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        let bytes = std::mem::take(&mut *self.incoming.lock().unwrap());
        into[..bytes.len()].copy_from_slice(&bytes);
        match bytes.len() {
            0 if self.is_closed.load(Ordering::Relaxed) => Transfer::Closed(Closing::Finished),
            0 => Transfer::Again,
            count => Transfer::Moved(count),
        }
    }

    fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        (7, interest)
    }

    fn finish(&mut self) {}
}

/// A log of entries that are all alike.
#[derive(Default)]
struct Shelf {
    last: AtomicU64,
    wakers: Mutex<Vec<std::sync::Weak<Waker>>>,
    is_armed: AtomicBool,
    has_event: AtomicBool,
    arms: AtomicU64,
    checks: AtomicU64,
    /// How often any source was asked.
    asked: AtomicU64,
    /// How often any source was asked whether it is notified of what it waits for, and whether it is.
    notices: AtomicU64,
    is_linked: AtomicBool,
}

impl Shelf {
    fn append(&self) {
        self.last.fetch_add(1, Ordering::Relaxed);
        if self.is_armed.swap(false, Ordering::Relaxed) {
            self.has_event.store(true, Ordering::Relaxed);
        }
    }
}

impl Origin for Shelf {
    fn register(&self, waker: &Arc<Waker>) {
        self.wakers.lock().unwrap().push(Arc::downgrade(waker));
    }

    fn notify(&self) {
        self.wakers.lock().unwrap().iter().filter_map(std::sync::Weak::upgrade).for_each(|waker| waker.wake());
    }

    fn arm(&self) -> bool {
        self.is_armed.store(true, Ordering::Relaxed);
        self.arms.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn watch_fd(&self) -> Option<RawFd> {
        Some(8)
    }

    fn take_events(&self, _: &Waker) {
        self.has_event.store(false, Ordering::Relaxed);
    }

    fn check(&self) {
        self.checks.fetch_add(1, Ordering::Relaxed);
    }

    fn last_vlsn(&self) -> u64 {
        0
    }

    fn bytes_from(&self, _: Lsn) -> u64 {
        0
    }
}

struct Reader(Arc<Shelf>);

impl Source for Reader {
    fn next(&mut self, from_vlsn: u64, _: &Now) -> Result<Next<'_>> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        if from_vlsn <= self.0.last.load(Ordering::Relaxed) {
            let (lsn, payload) = (Lsn::NULL, &[7; 100]);
            let entry = Entry { vlsn: from_vlsn, lsn, entry_type: 13, payload, payload_crc: 0, block: None };
            return Ok(Next::Entry(entry));
        }
        let wait = Wait::new(WaitReason::End, Lsn::NULL, None);
        Ok(Next::Nothing(wait))
    }

    fn is_notified(&self) -> bool {
        self.0.notices.fetch_add(1, Ordering::Relaxed);
        !self.0.is_linked.load(Ordering::Relaxed)
    }

    fn origin(&self) -> Option<Arc<dyn Origin>> {
        Some(Arc::clone(&self.0) as Arc<dyn Origin>)
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress::default()
    }
}

struct Nobody;

impl Callbacks for Nobody {
    fn takes_acks(&self) -> bool {
        true
    }

    fn acked(&self, _: u64) {}

    fn ended(&self, _: &End) {}
}

/// What the test and the loop's driver have in common.
struct Surroundings {
    now: Instant,
    /// Who is waited for, and what for.
    waits: Vec<(Key, Interest)>,
    changes: u64,
    lines: Vec<(Key, Arc<Line>)>,
    logs: Vec<(Key, Arc<Shelf>)>,
    sleeps: u64,
}

struct Played(Arc<Mutex<Surroundings>>);

impl Driver for Played {
    fn now(&mut self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn wait_on(&mut self, key: Key, _: RawFd, interest: Interest) -> io::Result<()> {
        let mut around = self.0.lock().unwrap();
        around.changes += 1;
        around.waits.retain(|(known, _)| *known != key);
        around.waits.push((key, interest));
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        self.0.lock().unwrap().waits.retain(|(known, _)| *known != key);
    }

    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()> {
        let around = self.0.lock().unwrap();
        let is_ready = |(key, interest): &(Key, Interest)| {
            let line = around.lines.iter().find(|(known, _)| known == key);
            let log = around.logs.iter().find(|(known, _)| known == key);
            let can_read =
                |line: &Line| !line.incoming.lock().unwrap().is_empty() || line.is_closed.load(Ordering::Relaxed);
            line.is_some_and(|(_, line)| {
                interest.read && can_read(line) || interest.write && !line.is_full.load(Ordering::Relaxed)
            }) || log.is_some_and(|(_, log)| log.has_event.load(Ordering::Relaxed))
        };
        ready.extend(around.waits.iter().filter(|wait| is_ready(wait)).map(|(key, _)| *key));
        Ok(())
    }

    /// The test lets the time pass: it ends at once, and nothing is ready but what is.
    fn sleep(&mut self, _: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()> {
        self.0.lock().unwrap().sleeps += 1;
        self.look(ready)
    }
}

/// A loop with sessions that read logs.
struct Crowd {
    reactor: Reactor,
    around: Arc<Mutex<Surroundings>>,
    links: Vec<Arc<Link>>,
    lines: Vec<Arc<Line>>,
}

impl Crowd {
    fn new() -> Crowd {
        let (waits, lines, logs) = (Vec::new(), Vec::new(), Vec::new());
        let around = Surroundings { now: Instant::now(), waits, changes: 0, lines, logs, sleeps: 0 };
        let around = Arc::new(Mutex::new(around));
        let options = ReactorOptions { safety_look: SAFETY_LOOK, ..Options::default().reactor() };
        let driver = Box::new(Played(Arc::clone(&around)));
        let reactor = Reactor::new(driver, Wakeups::new().unwrap(), options);
        Crowd { reactor, around, links: Vec::new(), lines: Vec::new() }
    }

    /// Has `count` more sessions read that log.
    fn join(&mut self, log: &Arc<Shelf>, count: usize) {
        for _ in 0..count {
            let options = Options::default();
            let line = Arc::<Line>::default();
            let link = Arc::new(Link::new(self.reactor.wakeups.waker(), c"r".to_owned(), 1000, 1, None));
            let stream = Stream::new(1, options.stream());
            let feed = Box::new(OwnFeed::new(Box::new(Reader(Arc::clone(log))), options.chunks()));
            let transport = Box::new(Arc::clone(&line));
            let now = self.around.lock().unwrap().now;
            let session =
                Session::new(stream, transport, feed, Arc::clone(&link), Arc::new(Nobody), options.session(), now);
            self.reactor.begin(Box::new(session));
            self.links.push(link);
            self.lines.push(line);
        }
        let mut around = self.around.lock().unwrap();
        around.lines = self
            .reactor
            .tasks
            .iter()
            .map(|(key, member)| {
                let at = self.links.iter().position(|link| std::ptr::eq(&link.waker, member.task.waker())).unwrap();
                (Key::Task(key), Arc::clone(&self.lines[at]))
            })
            .collect();
        let (key, _) = self.reactor.logs.iter().last().unwrap();
        if !around.logs.iter().any(|(_, known)| Arc::ptr_eq(known, log)) {
            around.logs.push((Key::Log(key), Arc::clone(log)));
        }
    }

    /// Goes on until it has slept and nothing woke it.
    fn settle(&mut self) {
        for _ in 0..100 {
            let before = self.around.lock().unwrap().sleeps;
            self.reactor.step();
            let has_slept = self.around.lock().unwrap().sleeps > before;
            if self.reactor.tasks.is_empty() || has_slept && self.reactor.due.turns.is_empty() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn let_pass(&mut self, time: Duration) {
        self.around.lock().unwrap().now += time;
        self.settle();
    }

    /// How many turns each session got since this was asked last.
    fn turns(&self) -> Vec<u64> {
        self.lines.iter().map(|line| line.turns.swap(0, Ordering::Relaxed)).collect()
    }

    /// Which sessions got any.
    fn who(&self) -> Vec<usize> {
        self.turns().into_iter().enumerate().filter(|(_, turns)| *turns > 0).map(|(at, _)| at).collect()
    }

    fn sent(&self, at: usize) -> u64 {
        self.links[at].snapshot().sent_vlsn
    }
}

fn ack(vlsn: u64) -> Vec<u8> {
    [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()
}

#[test]
fn of_a_thousand_only_the_one_that_is_active_gets_turns() {
    let log = Arc::<Shelf>::default();
    log.append();
    let mut crowd = Crowd::new();
    crowd.join(&log, 1000);
    crowd.settle();
    assert_eq!(crowd.who().len(), 1000, "each begins");
    let changes = crowd.around.lock().unwrap().changes;
    let asked = log.asked.load(Ordering::Relaxed);
    for _ in 0..100 {
        crowd.lines[500].incoming.lock().unwrap().extend(ack(1));
        crowd.settle();
        assert_eq!(crowd.who(), [500]);
    }
    assert_eq!(crowd.around.lock().unwrap().changes, changes, "what is waited for stays the same");
    assert_eq!(log.asked.load(Ordering::Relaxed), asked, "an ack is no reason to look at the log");
    // One that never rests, neither: the others are not even asked.
    crowd.lines[3].is_full.store(true, Ordering::Relaxed);
    log.append();
    crowd.settle();
    assert_eq!(crowd.who().len(), 1000, "there is something for all");
    crowd.lines[3].is_full.store(false, Ordering::Relaxed);
    crowd.settle();
    assert_eq!((crowd.who(), crowd.sent(3)), (vec![3], 2));
}

#[test]
fn one_that_is_stopped_or_closed_gives_no_other_a_turn() {
    let log = Arc::<Shelf>::default();
    let mut crowd = Crowd::new();
    crowd.join(&log, 100);
    crowd.settle();
    crowd.turns();
    crowd.links[42].stop();
    crowd.settle();
    assert_eq!((crowd.who(), crowd.links[42].acks.ended()), (vec![42], Some(End::Stopped)));
    crowd.lines[43].is_closed.store(true, Ordering::Relaxed);
    crowd.settle();
    let end = Some(End::ClosedByPeer(Closing::Finished));
    assert_eq!((crowd.who(), crowd.links[43].acks.ended()), (vec![43], end));
    crowd.links[42].stop();
    crowd.links[43].stop();
    let sleeps = crowd.around.lock().unwrap().sleeps;
    crowd.settle();
    assert_eq!(crowd.around.lock().unwrap().sleeps, sleeps + 1);
    assert_eq!(crowd.who(), [0usize; 0], "of those that are gone nobody hears");
    assert_eq!(crowd.reactor.tasks.len(), 98);
}

#[test]
fn each_log_is_watched_apart() {
    let [a, b] = [(); 2].map(|()| Arc::<Shelf>::default());
    let mut crowd = Crowd::new();
    crowd.join(&a, 2);
    crowd.join(&b, 2);
    crowd.settle();
    crowd.turns();
    let counts = |log: &Shelf| (log.arms.load(Ordering::Relaxed), log.asked.load(Ordering::Relaxed));
    let before = counts(&b);
    a.append();
    crowd.settle();
    assert_eq!((crowd.who(), crowd.sent(0), crowd.sent(1)), (vec![0, 1], 1, 1), "the notification");
    a.notify();
    crowd.settle();
    assert_eq!(crowd.who(), [0, 1], "a call");
    crowd.let_pass(SAFETY_LOOK / 2);
    b.append();
    crowd.settle();
    assert_eq!(crowd.who(), [2, 3]);
    let before_b = counts(&b);
    assert!(before < before_b);
    crowd.let_pass(SAFETY_LOOK / 2);
    assert_eq!((crowd.who(), a.checks.load(Ordering::Relaxed)), (vec![0, 1], 1), "the safety look");
    assert_eq!((counts(&b), b.checks.load(Ordering::Relaxed)), (before_b, 0));
    crowd.let_pass(SAFETY_LOOK / 2);
    assert_eq!(crowd.who(), [2, 3]);
    // A log of which nobody is left is not looked at any more.
    crowd.lines[..2].iter().for_each(|line| line.is_closed.store(true, Ordering::Relaxed));
    crowd.settle();
    assert_eq!((crowd.who(), crowd.reactor.logs.len()), (vec![0, 1], 1));
    a.append();
    crowd.let_pass(SAFETY_LOOK);
    assert_eq!((crowd.who(), a.checks.load(Ordering::Relaxed)), (vec![2, 3], 1));
}

#[test]
fn one_that_has_far_to_go_keeps_no_other_from_resting_or_from_waking() {
    let log = Arc::<Shelf>::default();
    let mut crowd = Crowd::new();
    crowd.join(&log, 1);
    crowd.settle();
    log.last.store(100_000, Ordering::Relaxed);
    log.is_armed.store(true, Ordering::Relaxed);
    let other = Arc::<Shelf>::default();
    crowd.join(&other, 1);
    crowd.turns();
    log.notify();
    // Its session reads and sends, round for round.
    for _ in 0..10 {
        crowd.reactor.step();
    }
    let [busy, idle] = crowd.turns()[..] else { panic!() };
    assert!(busy >= 9 && idle <= 3, "{busy} {idle}");
    assert_eq!(other.arms.load(Ordering::Relaxed), 1, "it is armed although the loop does not sleep");
    other.append();
    crowd.reactor.step();
    crowd.reactor.step();
    assert_eq!((crowd.sent(1), crowd.reactor.wakeups.sleeps()), (1, 1));
    assert!(crowd.sent(0) < 100_000);
}

#[test]
fn a_session_that_joins_while_its_log_rests_leaves_the_others_alone() {
    let log = Arc::<Shelf>::default();
    log.append();
    let mut crowd = Crowd::new();
    crowd.join(&log, 50);
    crowd.settle();
    crowd.turns();
    let arms = log.arms.load(Ordering::Relaxed);
    crowd.join(&log, 1);
    crowd.settle();
    assert_eq!((crowd.who(), crowd.sent(50)), (vec![50], 1));
    assert_eq!(log.arms.load(Ordering::Relaxed), arms, "the notification is armed for all");
    log.append();
    crowd.settle();
    assert_eq!((crowd.who().len(), crowd.sent(50)), (51, 2));
}

/// A source asks the file system for that.
#[test]
fn a_source_is_asked_once_a_sleep_whether_it_is_notified_and_an_ack_asks_nothing() {
    let log = Arc::<Shelf>::default();
    let mut crowd = Crowd::new();
    crowd.join(&log, 1);
    crowd.settle();
    let notices = || log.notices.swap(0, Ordering::Relaxed);
    assert_eq!((notices(), crowd.links[0].snapshot().is_notified), (1, true));
    for vlsn in 1..10 {
        log.append();
        crowd.settle();
        assert_eq!((notices(), crowd.sent(0)), (1, vlsn));
        crowd.lines[0].incoming.lock().unwrap().extend(ack(vlsn));
        crowd.settle();
        assert_eq!(notices(), 0);
    }
    // What is found although nobody has said so may be in a file of which nothing is told.
    log.is_linked.store(true, Ordering::Relaxed);
    log.append();
    crowd.settle();
    assert_eq!((notices(), crowd.links[0].snapshot().is_notified), (1, false));
    crowd.turns();
    crowd.let_pass(Options::default().reactor().unnotified_look);
    assert_eq!(crowd.who(), [0], "it is looked at more often");
}

#[test]
fn one_that_comes_to_rest_on_a_quiet_log_and_is_not_notified_has_it_looked_at_more_often() {
    let log = Arc::<Shelf>::default();
    log.append();
    let mut crowd = Crowd::new();
    crowd.join(&log, 1);
    crowd.settle();
    log.is_linked.store(true, Ordering::Relaxed);
    crowd.join(&log, 1);
    crowd.settle();
    assert_eq!(crowd.sent(1), 1);
    crowd.turns();
    crowd.let_pass(Options::default().reactor().unnotified_look);
    assert_eq!(crowd.who(), [0, 1]);
}
