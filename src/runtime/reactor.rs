//! The reactor: one loop that drives tasks, and sleeps in the kernel when none of them can go on. Most are sessions.
//!
//! It waits for everything at once: sockets, the logs' notifications, the bell that other threads ring, the next deadline.
//! A task gets a turn when there is something for it: its descriptor is ready, its deadline has come, its log has news,
//! or somebody has called for it. So a wake costs what is ready, and not all that there is.
//!
//! Before the loop sleeps on a log it arms the notification, and those who had nothing look once more, so that what was
//! appended between the two looks is not slept through. While nothing happens it wakes only for a safety look every few
//! seconds, which makes good a notification that got lost. Each log's state is its own: see [`watched`](super::watched).

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::driver::{Driver, Key};
use super::inbox::{Handle, Inbox};
use super::slots::{SlotKey, Slots};
use super::task::{Reads, Step, Task};
use super::timers::Timers;
use super::watched::Watched;
use crate::acks::End;
use crate::error::Error;
use crate::session::{Scratch, Wants};
use crate::sys::poll::Interest;
use crate::sys::waker::Wakeups;

/// How a loop sleeps.
#[derive(Clone, Copy, Debug)]
pub struct ReactorOptions {
    /// A log is looked at after so long, whether or not anything was noticed.
    pub safety_look: Duration,
    /// The same where the system cannot notify.
    pub unnotified_look: Duration,
}

impl ReactorOptions {
    /// When a log that rests from now on is looked at for safety.
    fn next_look(&self, now: Instant, is_notified: bool) -> Instant {
        now + if is_notified { self.safety_look } else { self.unnotified_look }
    }
}

const READ: Interest = Interest { read: true, write: false };

/// While no task rests, nobody would notice what comes for others, or the log's notification. So it is looked for
/// after so many rounds.
const BUSY_ROUNDS_MAX: u32 = 64;

/// A task, and what the loop knows of it.
struct Member {
    task: Box<dyn Task>,
    /// What it reads.
    log: Option<SlotKey>,
    /// What the driver waits for on its behalf.
    waited_for: Option<(RawFd, Interest)>,
    /// Whether it is in the queue for a turn.
    is_queued: bool,
    /// Whether it is in its log's list of those who had nothing.
    is_listed: bool,
    /// Whether what it reads had nothing when it was asked last, and has given nothing since.
    had_nothing: bool,
    /// Of how much of its log's news it has been told.
    heard: u64,
    /// Whether it was asked, since it has read something, whether the notification tells of what it waits for: that
    /// asks the file system.
    is_notice_known: bool,
}

/// Whom there is something for.
#[derive(Default)]
struct Due {
    /// The tasks that get a turn, in this order.
    turns: VecDeque<SlotKey>,
    /// Logs of which a task has run dry in this round: they may want to be armed.
    dry: Vec<SlotKey>,
    /// Logs that were armed, and are being looked at once more in this round.
    armed: Vec<SlotKey>,
    /// Logs that have events which nobody has taken yet.
    eventful: Vec<SlotKey>,
}

/// Memory that is used again and again.
#[derive(Default)]
struct Spare {
    scratch: Scratch,
    ready: Vec<Key>,
    tokens: Vec<u64>,
    tasks: Vec<SlotKey>,
    logs: Vec<SlotKey>,
}

/// See the module's comment.
pub struct Reactor {
    driver: Box<dyn Driver>,
    wakeups: Arc<Wakeups>,
    options: ReactorOptions,
    tasks: Slots<Member>,
    logs: Slots<Watched>,
    /// When each task wants a turn, and each log a safety look.
    deadlines: Timers,
    safety_looks: Timers,
    due: Due,
    /// Rounds in a row without a look at what is ready.
    busy_rounds: u32,
    /// Whether the driver waits for the bell.
    hears: bool,
    inbox: Arc<Inbox>,
    spare: Spare,
}

impl Reactor {
    /// A loop without tasks, that those who have a waker of `wakeups` wake.
    pub fn new(driver: Box<dyn Driver>, wakeups: Arc<Wakeups>, options: ReactorOptions) -> Reactor {
        Reactor {
            driver,
            inbox: Inbox::new(&wakeups),
            wakeups,
            options,
            tasks: Slots::default(),
            logs: Slots::default(),
            deadlines: Timers::default(),
            safety_looks: Timers::default(),
            due: Due::default(),
            busy_rounds: 0,
            hears: false,
            spare: Spare::default(),
        }
    }

    /// Adds what the loop's own thread has, before it runs.
    pub fn add(&mut self, task: Box<dyn Task>) {
        self.inbox.put(task);
    }

    /// From now on other threads hand tasks over by the handle, of which `room` may wait to be taken in; and the loop runs on
    /// while it has none, until the handle is closed.
    pub fn open(&mut self, room: usize) -> Handle {
        self.inbox.open(room);
        Handle::new(&self.inbox, &self.wakeups)
    }

    /// Drives all tasks until the last has ended and there will be no other.
    pub fn run(&mut self) {
        while self.step() {}
    }

    /// Gives those a turn for whom there is something, or sleeps until there is. False: there is nobody left.
    fn step(&mut self) -> bool {
        if self.wakeups.bell().is_rung() {
            self.wakeups.bell().wake_up(false);
            self.hear(false);
        }
        if self.tasks.is_empty() && self.inbox.is_done() {
            return false;
        }
        if self.due.turns.is_empty() {
            self.sleep()
        } else {
            self.round()
        }
        true
    }

    /// One turn for each who is in the queue now. Then the logs are armed whose readers have run dry.
    fn round(&mut self) {
        for _ in 0..self.due.turns.len() {
            if let Some(key) = self.due.turns.pop_front() {
                self.turn(key);
            }
        }
        self.rest_logs();
        self.arm_logs();
        if self.due.turns.is_empty() {
            return;
        }
        self.busy_rounds += 1;
        if self.due.turns.len() < self.tasks.len() || self.busy_rounds >= BUSY_ROUNDS_MAX {
            self.look();
        }
    }

    // --- tasks ------------------------------------------------------------------------------------------------

    /// Takes in what was handed over.
    fn take_in(&mut self) {
        for task in self.inbox.take() {
            self.begin(task);
        }
    }

    /// A task joins.
    fn begin(&mut self, task: Box<dyn Task>) {
        let log = self.join(&*task);
        let heard = log.and_then(|log| self.logs.get(log)).map_or(0, |log| log.watch.news());
        let key = self.tasks.insert(Member {
            task,
            log,
            waited_for: None,
            is_queued: false,
            is_listed: false,
            had_nothing: false,
            heard,
            is_notice_known: false,
        });
        if let Some(member) = self.tasks.get(key) {
            member.task.waker().introduce(Key::Task(key).to_bits());
        }
        self.queue(key, false);
    }

    /// Puts a task in the queue for a turn; `nothing_came`: its descriptor has just been found not to be ready.
    fn queue(&mut self, key: SlotKey, nothing_came: bool) {
        let Some(member) = self.tasks.get_mut(key) else { return };
        if !std::mem::replace(&mut member.is_queued, true) {
            self.due.turns.push_back(key);
            if nothing_came {
                member.task.note_nothing_came();
            }
        }
    }

    fn turn(&mut self, key: SlotKey) {
        let now = self.driver.now();
        let Some(member) = self.tasks.get_mut(key) else { return };
        member.is_queued = false;
        let log = member.log;
        if log.and_then(|log| self.logs.get(log)).is_some_and(|log| !log.watch.is_quiet()) {
            member.task.look_again();
        }
        let before = member.task.read_so_far();
        let step = member.task.turn(now, &mut self.spare.scratch);
        if member.task.read_so_far() > before {
            member.is_notice_known = false;
            if std::mem::take(&mut member.had_nothing)
                && let Some(log) = log
            {
                self.note_found(log);
            }
        }
        self.publish(key);
        match step {
            Step::Progress => self.queue(key, false),
            Step::Blocked(wants) => self.block(key, wants, now),
            Step::Becomes(task) => {
                // What the two have in common, like a descriptor, is let go of before the next begins with it.
                drop(self.take_out(key));
                self.begin(task);
            }
            Step::Ended(end) => self.finish(key, end, now),
        }
    }

    /// Nothing can move in it: notes what it waits for.
    fn block(&mut self, key: SlotKey, wants: Wants, now: Instant) {
        let Some(member) = self.tasks.get_mut(key) else { return };
        self.deadlines.set(key.index(), wants.deadline);
        let wait = member.task.wait_on(wants.interest);
        if member.waited_for != wait {
            let waited = match wait {
                Some((fd, interest)) => self.driver.wait_on(Key::Task(key), fd, interest),
                None => {
                    self.driver.forget(Key::Task(key));
                    Ok(())
                }
            };
            if let Err(error) = waited {
                return self.finish(key, End::Failed(Error::os("wait for", "the replica", error)), now);
            }
            member.waited_for = wait;
        }
        if member.task.is_dry() {
            self.run_dry(key, now);
        }
    }

    /// What it reads has nothing, and it waits for more.
    fn run_dry(&mut self, key: SlotKey, now: Instant) {
        let Some(member) = self.tasks.get_mut(key) else { return };
        let Some(log_key) = member.log else { return };
        let Some(log) = self.logs.get_mut(log_key) else { return };
        member.had_nothing = true;
        if member.is_listed {
            return;
        }
        if !log.watch.note_dry(key, member.heard) {
            member.heard = log.watch.news();
            member.task.distrust();
            member.task.look_again();
            return self.queue(key, false);
        }
        member.is_listed = true;
        if log.watch.wants_arming() {
            self.due.dry.push(log_key);
        } else if log.watch.is_notified()
            && !std::mem::replace(&mut member.is_notice_known, true)
            && !member.task.is_notified()
        {
            log.watch.note_unnotified();
            self.safety_looks.set(log_key.index(), Some(self.options.next_look(now, false)));
        }
    }

    fn publish(&self, key: SlotKey) {
        let Some(member) = self.tasks.get(key) else { return };
        let is_notified = member.log.and_then(|log| self.logs.get(log)).is_some_and(|log| log.watch.is_notified());
        member.task.publish(is_notified);
    }

    /// It is no task of this loop any more.
    fn take_out(&mut self, key: SlotKey) -> Option<Box<dyn Task>> {
        let Member { task, log, waited_for, .. } = self.tasks.remove(key)?;
        self.deadlines.set(key.index(), None);
        if waited_for.is_some() {
            self.driver.forget(Key::Task(key));
        }
        if let Some(log) = log {
            self.leave(log);
        }
        task.waker().retire();
        Some(task)
    }

    /// A task has ended.
    fn finish(&mut self, key: SlotKey, end: End, now: Instant) {
        if let Some(task) = self.take_out(key) {
            task.end(end, now);
        }
    }

    /// The loop cannot go on: all end with that.
    fn fail_all(&mut self, error: &Error) {
        self.inbox.close();
        self.take_in();
        let now = self.driver.now();
        let all: Vec<SlotKey> = self.tasks.iter().map(|(key, _)| key).collect();
        for key in all {
            self.finish(key, End::Failed(error.clone()), now);
        }
    }

    // --- logs -------------------------------------------------------------------------------------------------

    /// Another task reads: what, if that is for the loop to look after.
    fn join(&mut self, task: &dyn Task) -> Option<SlotKey> {
        let origin = match task.reads() {
            Reads::Nothing => return None,
            Reads::Own => None,
            Reads::From(origin) => Some(origin),
        };
        let is_it = |log: &Watched| log.origin.as_ref().zip(origin.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        let known = self.logs.iter().find(|(_, log)| is_it(log)).map(|(key, _)| key);
        let key = known.unwrap_or_else(|| {
            let waker = Arc::new(self.wakeups.waker());
            if let Some(origin) = &origin {
                origin.register(&waker);
            }
            let key = self.logs.insert(Watched::new(origin, Arc::clone(&waker)));
            waker.introduce(Key::Log(key).to_bits());
            key
        });
        if let Some(log) = self.logs.get_mut(key) {
            log.readers += 1;
        }
        Some(key)
    }

    /// A task that has read from there is gone.
    fn leave(&mut self, key: SlotKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.readers -= 1;
        if log.readers == 0 {
            log.waker.retire();
            if log.is_waited_for {
                self.driver.forget(Key::Log(key));
            }
            self.safety_looks.set(key.index(), None);
            self.logs.remove(key);
        }
    }

    /// Those who had nothing in that log look again; `nothing_came`: and what is ready was just told of.
    fn wake_dry(&mut self, key: SlotKey, nothing_came: bool) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let mut dry = std::mem::take(&mut self.spare.tasks);
        log.watch.take_dry(&mut dry);
        self.safety_looks.set(key.index(), None);
        for key in dry.drain(..) {
            if let Some(member) = self.tasks.get_mut(key) {
                member.is_listed = false;
                member.task.look_again();
                self.queue(key, nothing_came);
            }
        }
        self.spare.tasks = dry;
    }

    /// Those who had nothing in that log look whether a notification got lost. They are told before that: nothing is
    /// under way that would have to be sent first, and a second look would cost another wake-up.
    fn look_for_safety(&mut self, key: SlotKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.watch.note_news();
        let news = log.watch.news();
        for &key in log.watch.dry() {
            if let Some(member) = self.tasks.get_mut(key) {
                member.heard = news;
                member.task.distrust();
            }
        }
        self.wake_dry(key, true);
    }

    /// Somebody says that a log has changed.
    fn note_news(&mut self, key: SlotKey, nothing_came: bool) {
        if let Some(log) = self.logs.get_mut(key) {
            log.watch.note_news();
            self.wake_dry(key, nothing_came);
        }
    }

    /// A task has found something where it had nothing. Others who rest will look, too, when the log is armed.
    fn note_found(&mut self, key: SlotKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        log.watch.note_found();
        self.safety_looks.set(key.index(), None);
        self.due.dry.push(key);
        if log.watch.has_events() {
            self.note_eventful(key);
        }
    }

    /// A log's notification can be read. What was just committed is sent before its events are taken.
    fn note_readable(&mut self, key: SlotKey) {
        if let Some(log) = self.logs.get_mut(key)
            && log.watch.note_readable()
        {
            if let Some(origin) = &log.origin {
                origin.note_readable();
            }
            self.note_eventful(key);
            self.wake_dry(key, true);
        }
    }

    fn note_eventful(&mut self, key: SlotKey) {
        if let Some(log) = self.logs.get_mut(key)
            && !std::mem::replace(&mut log.is_eventful, true)
        {
            self.due.eventful.push(key);
        }
    }

    /// The logs that were armed in the round before this one have been looked at once more.
    fn rest_logs(&mut self) {
        if self.due.armed.is_empty() {
            return;
        }
        let now = self.driver.now();
        for key in self.due.armed.drain(..) {
            if let Some(log) = self.logs.get_mut(key)
                && log.watch.note_looked()
            {
                let next_look = self.options.next_look(now, log.watch.is_notified());
                self.safety_looks.set(key.index(), Some(next_look));
            }
        }
    }

    /// Arms the logs of which a task has run dry.
    fn arm_logs(&mut self) {
        let mut logs = std::mem::replace(&mut self.due.dry, std::mem::take(&mut self.spare.logs));
        logs.drain(..).for_each(|key| self.arm(key));
        self.spare.logs = logs;
    }

    fn arm(&mut self, key: SlotKey) {
        let Some(log) = self.logs.get_mut(key).filter(|log| log.watch.wants_arming()) else { return };
        let mut dry = std::mem::take(&mut self.spare.tasks);
        log.watch.take_dry(&mut dry);
        // One that has found something since it was listed does not wait for the log.
        dry.retain(|&key| {
            let Some(member) = self.tasks.get_mut(key) else { return false };
            member.is_listed = false;
            member.task.is_dry()
        });
        if !dry.is_empty() {
            let is_armed = log.arm();
            let mut is_notified = is_armed;
            for &key in &dry {
                let Some(member) = self.tasks.get_mut(key) else { continue };
                // For the look that is to come: what was appended is under way already.
                if std::mem::replace(&mut member.heard, log.watch.news()) != log.watch.news() {
                    member.task.distrust();
                }
                is_notified &= member.task.is_notified();
                member.is_notice_known = true;
                member.task.look_again();
            }
            log.watch.note_armed(is_notified);
            self.due.armed.push(key);
            self.wait_on_log(key);
        }
        for key in dry.drain(..) {
            self.queue(key, false);
        }
        self.spare.tasks = dry;
    }

    /// Waits for a log's notification, when it was armed for the first time.
    fn wait_on_log(&mut self, key: SlotKey) {
        let Some(log) = self.logs.get_mut(key).filter(|log| !log.is_waited_for) else { return };
        let Some(fd) = log.origin.as_ref().and_then(|origin| origin.watch_fd()) else { return };
        match self.driver.wait_on(Key::Log(key), fd, READ) {
            Ok(()) => log.is_waited_for = true,
            // It is looked at as if the system had no notification to give, and tried again the next time.
            Err(_) => log.watch.note_unnotified(),
        }
    }

    /// Before a sleep: takes events that nobody has taken, because all who read the log wait for their replicas. They would
    /// end it at once.
    fn take_events(&mut self) {
        for key in self.due.eventful.drain(..) {
            if let Some(log) = self.logs.get_mut(key) {
                log.is_eventful = false;
                log.take_events();
            }
        }
    }

    // --- waiting ----------------------------------------------------------------------------------------------

    /// Sleeps until there is something for somebody.
    fn sleep(&mut self) {
        self.take_events();
        if !self.wakeups.bell().fall_asleep() {
            return;
        }
        let deadline = [self.deadlines.next(), self.safety_looks.next()].into_iter().flatten().min();
        self.wakeups.note_sleep();
        self.wait(|driver, ready| driver.sleep(deadline, ready));
    }

    /// Looks whether there is something for those who rest, while others do not.
    fn look(&mut self) {
        self.wait(|driver, ready| driver.look(ready));
    }

    fn wait(&mut self, wait: impl FnOnce(&mut dyn Driver, &mut Vec<Key>) -> std::io::Result<()>) {
        self.busy_rounds = 0;
        let mut ready = std::mem::take(&mut self.spare.ready);
        let waited = self.wait_on_bell().and_then(|()| wait(&mut *self.driver, &mut ready));
        if let Err(error) = waited {
            self.fail_all(&Error::os("wait for", "the replica and the log", error));
        }
        // First those whose descriptors are ready: nothing came for the others.
        for key in &ready {
            if let Key::Task(key) = key {
                self.queue(*key, false);
            }
        }
        for key in &ready {
            if let Key::Log(key) = key {
                self.note_readable(*key);
            }
        }
        if self.wakeups.bell().wake_up(ready.contains(&Key::Bell)) {
            self.hear(true);
        }
        self.expire();
        ready.clear();
        self.spare.ready = ready;
    }

    fn wait_on_bell(&mut self) -> std::io::Result<()> {
        if !self.hears {
            self.driver.wait_on(Key::Bell, self.wakeups.inherited_fd(), READ)?;
            self.hears = true;
        }
        Ok(())
    }

    /// Hears what the bell was rung for.
    fn hear(&mut self, nothing_came: bool) {
        let mut tokens = std::mem::take(&mut self.spare.tokens);
        self.wakeups.take(&mut tokens);
        for token in tokens.drain(..) {
            match Key::from_bits(token) {
                Key::Log(key) => {
                    if let Some(log) = self.logs.get(key) {
                        log.waker.hear();
                        self.note_news(key, nothing_came);
                    }
                }
                Key::Task(key) => {
                    let Some(member) = self.tasks.get(key) else { continue };
                    let log = member.log;
                    member.task.waker().hear();
                    self.queue(key, nothing_came);
                    // Of a source of the host's own nobody else tells that there is more.
                    if let Some(log) = log
                        && self.logs.get(log).is_some_and(|log| log.origin.is_none())
                    {
                        self.note_news(log, nothing_came);
                    }
                }
                Key::Inbox => self.take_in(),
                Key::Bell => {}
            }
        }
        self.spare.tokens = tokens;
    }

    /// Sees to whatever has become due.
    fn expire(&mut self) {
        let now = self.driver.now();
        while let Some(index) = self.deadlines.take_due(now) {
            if let Some(key) = self.tasks.key_at(index) {
                self.queue(key, true);
            }
        }
        while let Some(index) = self.safety_looks.take_due(now) {
            let Some(key) = self.logs.key_at(index) else { continue };
            if let Some(origin) = self.logs.get(key).and_then(|log| log.origin.as_ref()) {
                origin.check();
            }
            self.look_for_safety(key);
        }
    }
}

/// A loop that is dropped has ended, or has panicked. Those who still hand over are told, and nobody waits forever for what
/// was handed over.
impl Drop for Reactor {
    fn drop(&mut self) {
        self.inbox.close();
        let error = Error::Panicked("the loop has ended".into());
        for task in self.inbox.take() {
            task.end(End::Failed(error.clone()), self.driver.now());
        }
    }
}

#[cfg(test)]
mod crowd;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::{OwnedFd, RawFd};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::super::inbox::Refused;
    use super::super::system;
    use super::super::task::Stillborn;
    use super::*;
    use crate::acks::Deadline;
    use crate::failpoint::hooks;
    use crate::feed::OwnFeed;
    use crate::log::format::{FileHeader, encode_entry};
    use crate::log::{Log, Lsn};
    use crate::lsn::FileName;
    use crate::options::Options;
    use crate::session::Session;
    use crate::session::link::{Callbacks, Link};
    use crate::source::{LogSource, Origin, Source};
    use crate::stream::Stream;
    use crate::sys::poll::wait_for;
    use crate::sys::waker::Waker;
    use crate::transport::{Channel, SocketChannel};
    use crate::wire::frame::Frame;

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

    /// A session that `waker` is for, its link and its replica.
    fn session(waker: Waker, source: Box<dyn Source>) -> (Session, Arc<Link>, UnixStream) {
        let options = Options::default();
        let (ours, replica) = UnixStream::pair().unwrap();
        replica.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let channel = Box::new(SocketChannel::new(OwnedFd::from(ours), options.socket()));
        let (transport, _) = channel.into_transport(options.threads(0)).unwrap();
        let link = Arc::new(Link::new(waker, c"r".to_owned(), 1000, 1, None));
        let stream = Stream::new(1, options.stream());
        let (callbacks, now) = (Arc::new(Nobody), Instant::now());
        let feed = Box::new(OwnFeed::new(source, options.chunks()));
        let session = Session::new(stream, transport, feed, Arc::clone(&link), callbacks, options.session(), now);
        (session, link, replica)
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

        fn over_source(source: Box<dyn Source>, safety_look: Duration) -> Stepped {
            let wakeups = Wakeups::new().unwrap();
            let options = ReactorOptions { safety_look, ..Options::default().reactor() };
            let mut reactor = Reactor::new(system::for_few(), wakeups, options);
            let (session, link, replica) = session(reactor.wakeups.waker(), source);
            reactor.begin(Box::new(session));
            Stepped { reactor, link, replica }
        }

        /// Somebody says that there is more.
        fn ring(&self) {
            self.reactor.logs.iter().for_each(|(_, log)| log.waker.wake());
        }

        /// Whether the next step would sleep: nothing is left to do, and no descriptor ends the sleep before it begins.
        fn would_sleep(&self) -> bool {
            let Reactor { tasks, logs, due, wakeups, .. } = &self.reactor;
            let is_readable = |fd: RawFd| wait_for(fd, READ, Some(Instant::now())).unwrap();
            due.turns.is_empty()
                && !wakeups.bell().is_rung()
                && !is_readable(wakeups.inherited_fd())
                && !tasks.iter().any(|(_, member)| member.task.wait_on(READ).is_some_and(|(fd, _)| is_readable(fd)))
                && !logs.iter().filter_map(|(_, log)| log.origin.as_ref()?.watch_fd()).any(is_readable)
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
            receive(&mut self.replica, vlsns);
        }
    }

    /// Receives the frames of these VLSNs.
    fn receive(replica: &mut UnixStream, vlsns: impl IntoIterator<Item = u64>) {
        for vlsn in vlsns {
            let mut len = [0; 4];
            replica.read_exact(&mut len).unwrap();
            let mut message = vec![0; u32::from_le_bytes(len) as usize];
            replica.read_exact(&mut message).unwrap();
            assert_eq!(Frame::decode(&message).unwrap().vlsn, vlsn);
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
            run.ring();
            assert!(run.go_to_sleep() <= 1, "a ring");
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

    impl Source for Doubting {
        fn next(&mut self, from_vlsn: u64, now: &crate::log::Now) -> crate::error::Result<crate::log::Next<'_>> {
            self.log.next(from_vlsn, now)
        }

        fn distrust(&mut self) {
            self.doubts.fetch_add(1, Ordering::Relaxed);
        }

        fn origin(&self) -> Option<Arc<dyn Origin>> {
            self.log.origin()
        }

        fn progress(&self) -> crate::source::SourceProgress {
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
        run.ring();
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
        let wakeups = Arc::clone(&run.borrow().reactor.wakeups);
        assert!(wakeups.bell().fall_asleep());
        let (written, woken) = (Rc::clone(&log), Rc::clone(&run));
        hooks::run_at("ring", move || {
            written.borrow_mut().append();
            assert_eq!(woken.borrow_mut().go_to_sleep(), 1);
            woken.borrow_mut().expect(1..=2);
        });
        wakeups.bell().ring();
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
        assert!(two.borrow().reactor.wakeups.bell().fall_asleep());
        log.append();
        let woken = Rc::clone(&two);
        hooks::run_at("ring", move || {
            let mut two = woken.borrow_mut();
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

    impl Source for Dozing {
        fn next(&mut self, _: u64, now: &crate::log::Now) -> crate::error::Result<crate::log::Next<'_>> {
            self.asked.lock().push(now.get());
            let look_again = Some(now.get() + self.pause);
            let reason = crate::log::tail::WaitReason::End;
            let wait = crate::log::tail::Wait::new(reason, Lsn::NULL, look_again);
            Ok(crate::log::Next::Nothing(wait))
        }

        fn origin(&self) -> Option<Arc<dyn Origin>> {
            Some(Arc::clone(&self.log) as Arc<dyn Origin>)
        }

        fn progress(&self) -> crate::source::SourceProgress {
            crate::source::SourceProgress::default()
        }
    }

    /// What is looked at for safety is looked at in one go. A few looks are spent on finding out what the directory's time
    /// stamps are worth.
    #[test]
    fn a_safety_look_is_one_wake_up() {
        let log = LogDir::with(3);
        let mut run = Stepped::over(&log.open(), Duration::from_millis(20));
        run.go_to_sleep();
        run.expect(1..=3);
        for _ in 0..30 {
            run.reactor.step();
            run.go_to_sleep();
            assert_eq!(run.reactor.deadlines.next(), None, "a wake-up is asked for, and nothing is waited for");
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
                let next_look = run.reactor.safety_looks.next().unwrap();
                assert!(next_look < before[before.len() - 1] + safety_look + LATE / 2, "{next_look:?}");
                run.reactor.step();
                assert_eq!(asked.lock().len(), 0, "not before the sleep");
                run.reactor.step();
                let waited = asked.lock()[0] - before[before.len() - 1];
                assert!((SOON..LATE / 2).contains(&waited), "{waited:?}");
            }
            assert_eq!(run.link.snapshot().sleeps, 5);
        }
    }

    fn a_loop(driver: Box<dyn Driver>) -> Reactor {
        Reactor::new(driver, Wakeups::new().unwrap(), Options::default().reactor())
    }

    fn generous() -> Deadline {
        Deadline::from_millis(60_000)
    }

    #[test]
    fn sessions_are_handed_over_to_a_loop_that_runs_and_it_stays_until_it_is_told() {
        for driver in [system::for_few(), system::for_many().unwrap()] {
            let mut logs = [LogDir::with(3), LogDir::with(3)];
            let opened = [logs[0].open(), logs[1].open()];
            let mut reactor = a_loop(driver);
            let handle = reactor.open(3);
            let running = std::thread::spawn(move || reactor.run());
            let mut links = Vec::new();
            for at in 0..20 {
                let source = Box::new(LogSource::new(Arc::clone(&opened[at % 2]), Lsn::NULL));
                let (session, link, mut replica) = session(handle.waker(), source);
                let mut arrival: Box<dyn Task> = Box::new(session);
                while let Err(refused) = handle.add(arrival) {
                    let Refused::Full(back) = refused else { panic!("it is open") };
                    arrival = back;
                    std::thread::yield_now();
                }
                receive(&mut replica, 1..=3);
                links.push((link, replica));
            }
            logs[1].append();
            links.iter_mut().skip(1).step_by(2).for_each(|(_, replica)| receive(replica, [4]));
            logs[0].append();
            links.iter_mut().step_by(2).for_each(|(_, replica)| receive(replica, [4]));
            for (link, replica) in links.drain(5..) {
                link.stop();
                drop(replica);
                assert!(link.acks.wait_finished(generous()));
            }
            logs[0].append();
            receive(&mut links[0].1, [5]);
            for (link, replica) in links.drain(..) {
                drop(replica);
                assert!(link.acks.wait_finished(generous()));
            }
            assert!(!running.is_finished(), "it stays");
            handle.close();
            running.join().unwrap();
            let (late, ..) = session(handle.waker(), Box::new(LogSource::new(Arc::clone(&opened[0]), Lsn::NULL)));
            let refused = handle.add(Box::new(late));
            assert!(matches!(refused, Err(Refused::Closed(_))));
        }
    }

    #[test]
    fn what_is_handed_over_has_a_bound_and_is_not_lost_with_the_loop() {
        let directory = LogDir::with(1);
        let log = directory.open();
        let mut reactor = a_loop(system::for_few());
        let handle = reactor.open(2);
        let links: Vec<_> = (0..3)
            .map(|at| {
                let source = Box::new(LogSource::new(Arc::clone(&log), Lsn::NULL));
                let (session, link, _) = session(handle.waker(), source);
                let added = handle.add(Box::new(session));
                assert_eq!(matches!(added, Err(Refused::Full(_))), at == 2);
                link
            })
            .collect();
        drop(reactor);
        for (at, link) in links.iter().enumerate() {
            assert_eq!(link.acks.ended().is_some(), at < 2);
            assert_eq!(link.acks.wait_finished(Deadline::from_millis(0)), at < 2, "nobody waits for it");
        }
    }

    /// Waits for its waker alone, and becomes a session when it has been used.
    struct Waiting {
        waker: Waker,
        is_over: Arc<AtomicBool>,
        next: Option<Session>,
    }

    impl Task for Waiting {
        fn waker(&self) -> &Waker {
            &self.waker
        }

        fn turn(&mut self, _: Instant, _: &mut Scratch) -> Step {
            match self.next.take_if(|_| self.is_over.load(Ordering::Acquire)) {
                Some(session) => Step::Becomes(Box::new(session)),
                None => {
                    let interest = Interest { read: false, write: false };
                    Step::Blocked(Wants { interest, deadline: None })
                }
            }
        }

        fn wait_on(&self, _: Interest) -> Option<(RawFd, Interest)> {
            None
        }

        fn end(self: Box<Self>, _: End, _: Instant) {
            panic!("it has become something else");
        }
    }

    #[test]
    fn a_task_waits_for_its_waker_and_becomes_a_session() {
        let log = LogDir::with(3);
        let opened = log.open();
        let mut stepped = Stepped::over(&opened, Duration::from_secs(3600));
        stepped.go_to_sleep();
        stepped.expect(1..=3);
        let (waker, is_over) = (stepped.reactor.wakeups.waker(), Arc::new(AtomicBool::new(false)));
        let source = Box::new(LogSource::new(opened, Lsn::NULL));
        let (next, link, mut replica) = session(stepped.reactor.wakeups.waker(), source);
        let waiting = Waiting { waker, is_over: Arc::clone(&is_over), next: Some(next) };
        stepped.reactor.begin(Box::new(waiting));
        stepped.go_to_sleep();
        assert_eq!((stepped.reactor.tasks.len(), stepped.reactor.logs.len()), (2, 1));
        is_over.store(true, Ordering::Release);
        let found = stepped.reactor.tasks.iter().find_map(|(_, member)| member.log.is_none().then_some(&member.task));
        found.expect("it reads nothing").waker().wake();
        stepped.go_to_sleep();
        receive(&mut replica, 1..=3);
        assert_eq!(stepped.reactor.tasks.len(), 2);
        assert!(stepped.reactor.tasks.iter().all(|(_, member)| member.log.is_some()), "both read the log");
        link.stop();
        stepped.link.stop();
        while stepped.reactor.step() {}
    }

    /// Hands another session over when its own has ended.
    struct Successor(std::sync::Mutex<Option<(Handle, Session)>>);

    impl Callbacks for Successor {
        fn takes_acks(&self) -> bool {
            false
        }

        fn acked(&self, _: u64) {}

        fn ended(&self, _: &End) {
            if let Some((handle, session)) = self.0.lock().unwrap().take() {
                assert!(handle.add(Box::new(session)).is_ok());
                handle.close();
            }
        }
    }

    #[test]
    fn a_function_of_the_host_hands_over_to_the_loop_that_calls_it() {
        let directory = LogDir::with(2);
        let log = directory.open();
        let mut reactor = a_loop(system::for_few());
        let handle = reactor.open(1);
        let source = || Box::new(LogSource::new(Arc::clone(&log), Lsn::NULL));
        let (next, link, mut replica) = session(handle.waker(), source());
        let first = Arc::new(Link::new(handle.waker(), c"r".to_owned(), 1000, 1, None));
        let successor = Arc::new(Successor(std::sync::Mutex::new(Some((handle, next)))));
        reactor.add(Box::new(Stillborn { link: Arc::clone(&first), callbacks: successor, end: End::Stopped }));
        let running = std::thread::spawn(move || reactor.run());
        receive(&mut replica, 1..=2);
        drop(replica);
        running.join().unwrap();
        assert_eq!((first.acks.ended(), link.acks.ended().is_some()), (Some(End::Stopped), true));
    }
}
