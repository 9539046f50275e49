//! The reactor: one loop that drives sessions, and sleeps in the kernel when none of them can go on.
//!
//! It waits for everything at once: sockets, the log's notification, the bell that host threads ring, the next
//! deadline. Before it sleeps on a log it arms the notification and looks once more, so that what was appended
//! between the two looks is not slept through. While nothing happens it wakes only for a safety look every few
//! seconds, which makes good a notification that got lost.

pub mod driver;
pub mod link;
pub mod session;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acks::End;
use crate::diagnostics::Level;
use crate::error::Error;
use crate::log::Log;
use crate::sys::bell::Bell;
use crate::sys::poll::{Interest, PollSet};
use driver::{Driver, System};
use link::{Callbacks, Link};
use session::{Scratch, Session, Turn};

/// How a loop sleeps.
#[derive(Clone, Copy, Debug)]
pub struct ReactorOptions {
    /// The log is looked at after so long, whether or not anything was noticed.
    pub safety_look: Duration,
    /// The same where the system cannot notify.
    pub unnotified_look: Duration,
}

/// What is known about the logs of sessions that have read all there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Watching {
    /// They may have more: ask.
    Unknown,
    /// The notification is armed: ask once more.
    Armed,
    /// They had nothing after the notification was armed, and nothing was noticed since: do not ask.
    Quiet,
}

/// What ends a sleep besides what happens.
#[derive(Clone, Copy, Default)]
struct Wakes {
    /// When everything is looked at again.
    look_at: Option<Instant>,
    /// When the sessions are given a turn, and a quiet log stays quiet.
    turn_at: Option<Instant>,
}

/// While sessions only send and take acks, a quiet log is taken to stay quiet; for at most so many turns.
const BUSY_TURNS_MAX: u32 = 64;

/// See the module's comment.
pub struct Reactor {
    driver: Box<dyn Driver>,
    bell: Arc<Bell>,
    options: ReactorOptions,
    sessions: Vec<Session>,
    /// Sessions that ended before they began.
    ended: Vec<(Arc<Link>, Arc<dyn Callbacks>, End)>,
    /// Of all sessions, each once.
    logs: Vec<Arc<Log>>,
    scratch: Scratch,
    poll: PollSet,
    /// What is polled in the current sleep for logs that can be watched.
    watches: Vec<usize>,
    /// Whether a log's notification may have events that are still to be taken: what was just committed is sent first.
    has_events: bool,
    /// Whether something has said that the logs have changed: a notification, whoever rang, or the safety look, which
    /// believes nothing.
    has_news: bool,
    watching: Watching,
    is_notified: bool,
    /// Turns in a row without a sleep, in which nobody would have noticed the log's notification.
    busy_turns: u32,
    next_look: Option<Instant>,
}

impl Reactor {
    /// A loop without sessions, that sleeps on `bell`.
    pub fn new(bell: Arc<Bell>, options: ReactorOptions) -> Reactor {
        Reactor::over(Box::new(System), bell, options)
    }

    /// The same, with a clock and a sleep of its own.
    pub fn over(driver: Box<dyn Driver>, bell: Arc<Bell>, options: ReactorOptions) -> Reactor {
        Reactor {
            driver,
            bell,
            options,
            sessions: Vec::new(),
            ended: Vec::new(),
            logs: Vec::new(),
            scratch: Scratch::default(),
            poll: PollSet::default(),
            watches: Vec::new(),
            has_events: false,
            has_news: false,
            watching: Watching::Unknown,
            is_notified: false,
            busy_turns: 0,
            next_look: None,
        }
    }

    /// Adds a session. `arrived`: bytes that its replica has sent already.
    pub fn add(&mut self, mut session: Session, arrived: Vec<u8>) {
        if let Some(log) = session.log()
            && !self.logs.iter().any(|known| Arc::ptr_eq(known, log))
        {
            log.register(&self.bell);
            self.logs.push(Arc::clone(log));
        }
        session.arrived(arrived);
        self.sessions.push(session);
    }

    /// Has a session that ended before it began told to the host when the loop runs.
    pub fn add_ended(&mut self, link: Arc<Link>, callbacks: Arc<dyn Callbacks>, end: End) {
        self.ended.push((link, callbacks, end));
    }

    /// Drives all sessions until the last has ended.
    pub fn run(&mut self) {
        for (link, callbacks, end) in self.ended.drain(..) {
            tell(&link, &*callbacks, &end);
            drop(callbacks);
            link.acks.finish();
        }
        while !self.sessions.is_empty() {
            self.step();
        }
    }

    /// Gives every session a turn, and goes one step towards a sleep if none has moved.
    fn step(&mut self) {
        let now = self.driver.now();
        if self.watching != Watching::Quiet {
            self.sessions.iter_mut().for_each(Session::look_again);
        }
        let (progress, wakes) = self.turn_all(now);
        if self.sessions.is_empty() {
            return;
        }
        if progress {
            self.busy_turns += 1;
            if self.watching == Watching::Armed || self.busy_turns == BUSY_TURNS_MAX {
                self.has_events |= self.watching == Watching::Armed;
                self.wake_up(false);
                self.busy_turns = 0;
            }
            return;
        }
        self.busy_turns = 0;
        match self.watching {
            Watching::Unknown if self.sessions.iter().any(Session::is_dry) => self.arm(),
            // All wait for their replicas, none for the log: its writer must not pay for notifications.
            Watching::Unknown => {
                if self.bell.fall_asleep() {
                    self.next_look = None;
                    self.sleep(wakes, false);
                } else {
                    self.wake_up(false);
                }
            }
            Watching::Armed => {
                self.watching = Watching::Quiet;
                let patience = if self.is_notified { self.options.safety_look } else { self.options.unnotified_look };
                self.next_look = Some(now + patience);
            }
            Watching::Quiet => self.sleep(wakes, true),
        }
    }

    /// From now on the loop looks at everything there is; `is_rung`: the bell's descriptor was found readable.
    fn wake_up(&mut self, is_rung: bool) {
        self.bell.wake_up(is_rung);
        self.watching = Watching::Unknown;
    }

    /// Gives every session a turn; says whether any moved, and when time alone will let one go on.
    fn turn_all(&mut self, now: Instant) -> (bool, Wakes) {
        let mut progress = false;
        let mut wakes = Wakes::default();
        let mut at = 0;
        self.poll.clear();
        while let Some(session) = self.sessions.get_mut(at) {
            let turn = session.turn(now, &mut self.scratch);
            session.link().publish(link::Snapshot { is_notified: self.is_notified, ..session.snapshot() });
            match turn {
                Turn::Progress => progress = true,
                Turn::Blocked(wants) => {
                    let (fd, interest) = session.wait_on(wants.interest);
                    self.poll.add(fd, interest);
                    wakes.look_at = wakes.look_at.into_iter().chain(wants.wake_at).min();
                    wakes.turn_at = wakes.turn_at.into_iter().chain(wants.turn_at).min();
                }
                Turn::Ended(end) => {
                    let ended = self.sessions.swap_remove(at);
                    finish(ended, end, now);
                    continue;
                }
            }
            at += 1;
        }
        (progress, wakes)
    }

    /// Arms the notification of every log that was read to its end.
    fn arm(&mut self) {
        if std::mem::take(&mut self.has_events) {
            self.logs.iter().for_each(|log| log.take_events(&self.bell));
            self.has_news = true;
        }
        // For the look that is to come: what was appended is under way already.
        if std::mem::take(&mut self.has_news) {
            self.sessions.iter_mut().for_each(Session::distrust);
        }
        // All of them, also behind one that cannot be armed.
        let armed = self.logs.iter().filter(|log| log.arm()).count();
        self.is_notified = armed == self.logs.len() && self.sessions.iter().all(Session::is_notified);
        if self.bell.fall_asleep() {
            self.watching = Watching::Armed;
        } else {
            self.wake_up(false);
        }
    }

    /// Sleeps until a session can go on, the bell rings or, with `watched`, a log changes.
    fn sleep(&mut self, wakes: Wakes, watched: bool) {
        let read = Interest { read: true, write: false };
        let bell = self.poll.add(self.bell.fd().as_raw_fd(), read);
        self.watches.clear();
        let logs = if watched { &self.logs[..] } else { &[] };
        for fd in logs.iter().filter_map(|log| log.watch_fd()) {
            self.watches.push(self.poll.add(fd, read));
        }
        let look_at = wakes.look_at.into_iter().chain(self.next_look).min();
        let deadline = wakes.turn_at.into_iter().chain(look_at).min();
        self.sessions.iter().for_each(|session| session.link().note_sleep());
        if let Err(error) = self.driver.sleep(&mut self.poll, deadline) {
            self.fail_all(&Error::os("wait for", "the replica and the log", error));
            return;
        }
        let is_rung = self.poll.is_ready(bell);
        let has_changed = self.watches.iter().any(|&watch| self.poll.is_ready(watch));
        self.has_events |= has_changed;
        // All sessions were blocked, so each was polled for, in their order.
        for (at, session) in self.sessions.iter_mut().enumerate() {
            session.was_polled(self.poll.is_ready(at));
        }
        let now = self.driver.now();
        let is_time = look_at.is_some_and(|look_at| now >= look_at);
        let is_safety_look = self.next_look.is_some_and(|look_at| now >= look_at);
        if is_safety_look {
            self.logs.iter().for_each(|log| log.check_path());
        }
        self.has_news |= is_rung || is_safety_look;
        if is_rung || has_changed || is_time || !watched {
            self.wake_up(is_rung);
        }
    }

    fn fail_all(&mut self, error: &Error) {
        let now = self.driver.now();
        for session in self.sessions.drain(..) {
            finish(session, End::Failed(error.clone()), now);
        }
    }
}

/// Tells the host that a session has ended, as the last thing it hears of it.
fn finish(session: Session, end: End, now: Instant) {
    let link = Arc::clone(session.link());
    link.publish(session.snapshot());
    link.note_ended(now);
    tell(&link, &**session.callbacks(), &end);
    link.set_inherited_fd(None);
    // With the session goes this loop's hold on the host's functions and on the channel.
    drop(session);
    link.acks.finish();
}

fn tell(link: &Link, callbacks: &dyn Callbacks, end: &End) {
    match end {
        End::Failed(error) => link.say(Level::Error, format_args!("the run failed: {error}")),
        end => link.say(Level::Info, format_args!("the run ended: {}", end.state())),
    }
    link.acks.end(end.clone());
    callbacks.ended(end);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::{OwnedFd, RawFd};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::chunk::frame::Frame;
    use crate::failpoint::hooks;
    use crate::log::format::{FileHeader, FileName, encode_entry};
    use crate::log::{LogSource, Lsn};
    use crate::options::Options;
    use crate::stream::Stream;
    use crate::sys::poll::wait_for;
    use crate::transport::{Channel, SocketChannel};

    /// So many steps, and the loop does not sleep: it never will.
    const STEPS_MAX: usize = 100;

    /// A log in a directory of its own, to which entries of no particular content are appended.
    struct LogDir {
        dir: tempfile::TempDir,
        last: i64,
    }

    impl LogDir {
        fn with(entries: i64) -> LogDir {
            let mut log = LogDir { dir: tempfile::tempdir().unwrap(), last: 0 };
            let header = FileHeader { version: 3, file_number: 0, last_entry_in_previous: 0 }.encode();
            File::create(log.file()).unwrap().write_all(&header).unwrap();
            (0..entries).for_each(|_| log.append());
            log
        }

        fn file(&self) -> std::path::PathBuf {
            self.dir.path().join(FileName(0).to_string())
        }

        fn append(&mut self) {
            self.last += 1;
            let mut entry = Vec::new();
            encode_entry(&mut entry, 13, 0, 0, Some(self.last), b"anything");
            OpenOptions::new().append(true).open(self.file()).unwrap().write_all(&entry).unwrap();
        }

        fn open(&self) -> Arc<Log> {
            Log::open(self.dir.path(), Options::default().scanner(), None).unwrap()
        }
    }

    struct Nobody;

    impl Callbacks for Nobody {
        fn takes_acks(&self) -> bool {
            false
        }

        fn acked(&self, _: u64) {}

        fn ended(&self, _: &End) {}
    }

    /// A loop that the test takes step by step, with one session.
    struct Stepped {
        reactor: Reactor,
        link: Arc<Link>,
        replica: UnixStream,
    }

    impl Stepped {
        fn over(log: &Arc<Log>, safety_look: Duration) -> Stepped {
            Stepped::over_source(Box::new(LogSource::new(Arc::clone(log), Lsn::NULL)), safety_look)
        }

        fn over_source(source: Box<dyn crate::log::Source>, safety_look: Duration) -> Stepped {
            let options = Options::default();
            let (ours, replica) = UnixStream::pair().unwrap();
            replica.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            let channel = Box::new(SocketChannel::new(OwnedFd::from(ours), options.socket()));
            let (transport, arrived) = channel.into_transport(options.threads(0)).unwrap();
            let bell = Arc::new(Bell::new().unwrap());
            let link = Arc::new(Link::new(Arc::clone(&bell), c"r".to_owned(), 1000, 1, None));
            let stream = Stream::new(1, options.stream());
            let (callbacks, now) = (Arc::new(Nobody), Instant::now());
            let session = Session::new(stream, transport, source, Arc::clone(&link), callbacks, options.session(), now);
            let mut reactor = Reactor::new(bell, ReactorOptions { safety_look, ..options.reactor() });
            reactor.add(session, arrived);
            Stepped { reactor, link, replica }
        }

        /// Whether the next step would sleep: nothing is left to do, and no descriptor ends the sleep before it begins.
        fn would_sleep(&self) -> bool {
            let Reactor { bell, sessions, logs, watching, .. } = &self.reactor;
            let read = Interest { read: true, write: false };
            let is_readable = |fd: RawFd| wait_for(fd, read, Some(Instant::now())).unwrap();
            *watching == Watching::Quiet
                && !is_readable(bell.fd().as_raw_fd())
                && !sessions.iter().any(|session| is_readable(session.wait_on(read).0))
                && !logs.iter().filter_map(|log| log.watch_fd()).any(is_readable)
        }

        /// Goes on until it would sleep; says how many sleeps ended at once before that.
        fn go_to_sleep(&mut self) -> u64 {
            let before = self.link.snapshot().sleeps;
            for _ in 0..STEPS_MAX {
                if self.would_sleep() {
                    return self.link.snapshot().sleeps - before;
                }
                self.reactor.step();
            }
            panic!("no sleep in {STEPS_MAX} steps: {:?}", self.link.snapshot());
        }

        /// Receives the frames of these VLSNs.
        fn expect(&mut self, vlsns: impl IntoIterator<Item = u64>) {
            for vlsn in vlsns {
                let mut len = [0; 4];
                self.replica.read_exact(&mut len).unwrap();
                let mut message = vec![0; u32::from_le_bytes(len) as usize];
                self.replica.read_exact(&mut message).unwrap();
                assert_eq!(Frame::decode(&message).unwrap().vlsn, vlsn);
            }
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn an_append_a_ring_and_an_ack_end_one_sleep_each() {
        let mut log = LogDir::with(3);
        let mut run = Stepped::over(&log.open(), DAY);
        assert_eq!(run.go_to_sleep(), 0);
        run.expect(1..=3);
        for vlsn in 4..10 {
            log.append();
            assert_eq!(run.go_to_sleep(), 1, "an append");
            run.expect([vlsn]);
            run.reactor.bell.ring();
            assert_eq!(run.go_to_sleep(), 1, "a ring");
            run.replica.write_all(&[&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()).unwrap();
            assert!(run.go_to_sleep() <= 1, "an ack");
            assert_eq!(run.link.acks.known_vlsn(), vlsn);
        }
    }

    /// A log that counts how often it is told to believe nothing.
    struct Doubting {
        log: LogSource,
        doubts: Arc<AtomicU32>,
    }

    impl crate::log::Source for Doubting {
        fn next(&mut self, from_vlsn: u64, now: &crate::log::Now) -> crate::error::Result<crate::log::Next<'_>> {
            self.log.next(from_vlsn, now)
        }

        fn distrust(&mut self) {
            self.doubts.fetch_add(1, Ordering::Relaxed);
        }

        fn log(&self) -> Option<&Arc<Log>> {
            self.log.log()
        }

        fn progress(&self) -> crate::log::SourceProgress {
            self.log.progress()
        }
    }

    #[test]
    fn the_notification_a_ring_and_the_safety_look_have_nothing_believed_and_an_ack_has_not() {
        let mut log = LogDir::with(3);
        let doubts = Arc::new(AtomicU32::new(0));
        let over = |log: &LogDir, safety_look| {
            let log = LogSource::new(log.open(), Lsn::NULL);
            Stepped::over_source(Box::new(Doubting { log, doubts: Arc::clone(&doubts) }), safety_look)
        };
        let doubted = || doubts.swap(0, Ordering::Relaxed);
        let mut run = over(&log, DAY);
        run.go_to_sleep();
        run.expect(1..=3);
        assert_eq!(doubted(), 0);
        log.append();
        run.go_to_sleep();
        assert_eq!(doubted(), 1, "the notification");
        run.expect([4]);
        run.reactor.bell.ring();
        run.go_to_sleep();
        assert_eq!(doubted(), 1, "a ring");
        run.replica.write_all(&[&8u32.to_le_bytes()[..], &4u64.to_le_bytes()].concat()).unwrap();
        while run.link.acks.known_vlsn() < 4 {
            run.reactor.step();
        }
        run.go_to_sleep();
        assert_eq!(doubted(), 0, "an ack");
        let mut run = over(&log, Duration::from_millis(1));
        for _ in 0..STEPS_MAX {
            run.reactor.step();
        }
        assert!(doubted() > 0, "the safety look");
    }

    /// Who rings has changed the bell's state and not yet raised its descriptor, when the loop wakes for an append.
    #[test]
    fn a_ring_while_the_loop_wakes_for_something_else_ends_one_sleep_more_and_not_every_one() {
        let log = Rc::new(RefCell::new(LogDir::with(1)));
        let run = Rc::new(RefCell::new(Stepped::over(&log.borrow().open(), DAY)));
        run.borrow_mut().go_to_sleep();
        let bell = Arc::clone(&run.borrow().reactor.bell);
        let (written, woken) = (Rc::clone(&log), Rc::clone(&run));
        hooks::run_at("ring", move || {
            written.borrow_mut().append();
            assert_eq!(woken.borrow_mut().go_to_sleep(), 1);
            woken.borrow_mut().expect(1..=2);
        });
        bell.ring();
        assert!(!hooks::is_to_come());
        assert!(!run.borrow().would_sleep(), "the ring is not forgotten");
        assert_eq!(run.borrow_mut().go_to_sleep(), 1);
    }

    /// The same between two loops on one log, of which one takes the notification and rings the other, who wakes for its
    /// safety look just then. No host says anything.
    #[test]
    fn two_loops_on_one_log_wake_each_other_once() {
        let mut log = LogDir::with(1);
        let shared = log.open();
        let mut one = Stepped::over(&shared, DAY);
        let two = Rc::new(RefCell::new(Stepped::over(&shared, Duration::from_millis(1))));
        one.go_to_sleep();
        two.borrow_mut().go_to_sleep();
        log.append();
        let woken = Rc::clone(&two);
        hooks::run_at("ring", move || {
            let mut two = woken.borrow_mut();
            // It sleeps until its safety look.
            while two.reactor.watching == Watching::Quiet {
                two.reactor.step();
            }
            two.go_to_sleep();
            two.expect(1..=2);
        });
        assert_eq!(one.go_to_sleep(), 1);
        one.expect(1..=2);
        assert!(!hooks::is_to_come(), "one has rung two");
        assert_eq!(two.borrow_mut().go_to_sleep(), 1);
        assert_eq!(one.go_to_sleep(), 0, "and has heard nothing of it itself");
    }

    /// Has nothing, and wants to be asked again after a while.
    struct Dozing {
        log: Arc<Log>,
        pause: Duration,
        asked: Arc<parking_lot::Mutex<Vec<Instant>>>,
    }

    impl crate::log::Source for Dozing {
        fn next(&mut self, _: u64, now: &crate::log::Now) -> crate::error::Result<crate::log::Next<'_>> {
            self.asked.lock().push(now.get());
            let look_again = Some(now.get() + self.pause);
            let reason = crate::log::tail::WaitReason::End;
            let wait = crate::log::tail::Wait { reason, at: Lsn::NULL, stalled: false, look_again };
            Ok(crate::log::Next::Nothing(crate::log::Pause { wait, missing_vlsn: None, look_again, stalled: false }))
        }

        fn log(&self) -> Option<&Arc<Log>> {
            Some(&self.log)
        }

        fn progress(&self) -> crate::log::SourceProgress {
            crate::log::SourceProgress::default()
        }
    }

    /// The first that is due: what the source has asked for, or the safety look. The other would come after this test's
    /// patience.
    #[test]
    fn a_quiet_source_is_asked_again_when_it_has_asked_for_it_or_for_safety() {
        const SOON: Duration = Duration::from_millis(5);
        const LATE: Duration = Duration::from_secs(120);
        for (pause, safety_look) in [(SOON, LATE), (LATE, SOON)] {
            let directory = LogDir::with(0);
            let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
            let source = Dozing { log: directory.open(), pause, asked: Arc::clone(&asked) };
            let mut run = Stepped::over_source(Box::new(source), safety_look);
            for _ in 0..5 {
                run.go_to_sleep();
                let before = std::mem::take(&mut *asked.lock());
                assert_eq!(run.reactor.next_look, Some(before[before.len() - 1] + safety_look));
                run.reactor.step();
                assert_eq!(asked.lock().len(), 0, "not before the sleep");
                run.reactor.step();
                let waited = asked.lock()[0] - before[before.len() - 1];
                assert!((SOON..LATE / 2).contains(&waited), "{waited:?}");
            }
            assert_eq!(run.link.snapshot().sleeps, 5);
        }
    }
}
