//! The reactor: one loop that drives sessions, and sleeps in the kernel when none of them can go on.
//!
//! It waits for everything at once: sockets, the log's notification, the bell that host threads ring, the next
//! deadline. Before it sleeps on a log it arms the notification and looks once more, so that what was appended
//! between the two looks is not slept through. While nothing happens it wakes only for a safety look every few
//! seconds, which makes good a notification that got lost.

pub mod link;
pub mod session;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acks::End;
use crate::diagnostics::{Level, say};
use crate::error::Error;
use crate::log::Log;
use crate::sys::bell::Bell;
use crate::sys::poll::{Interest, PollSet};
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

/// While sessions only send and take acks, a quiet log is taken to stay quiet; for at most so many turns.
const BUSY_TURNS_MAX: u32 = 64;

/// See the module's comment.
pub struct Reactor {
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
    watching: Watching,
    is_notified: bool,
    /// Turns in a row without a sleep, in which nobody would have noticed the log's notification.
    busy_turns: u32,
    next_look: Option<Instant>,
}

impl Reactor {
    /// A loop without sessions, that sleeps on `bell`.
    pub fn new(bell: Arc<Bell>, options: ReactorOptions) -> Reactor {
        Reactor {
            bell,
            options,
            sessions: Vec::new(),
            ended: Vec::new(),
            logs: Vec::new(),
            scratch: Scratch::default(),
            poll: PollSet::default(),
            watches: Vec::new(),
            has_events: false,
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
            let now = Instant::now();
            if self.watching != Watching::Quiet {
                self.sessions.iter_mut().for_each(Session::look_again);
            }
            let (progress, wake_at) = self.turn_all(now);
            if self.sessions.is_empty() {
                break;
            }
            if progress {
                self.busy_turns += 1;
                if self.watching == Watching::Armed || self.busy_turns == BUSY_TURNS_MAX {
                    self.has_events |= self.watching == Watching::Armed;
                    self.bell.wake_up();
                    self.watching = Watching::Unknown;
                    self.busy_turns = 0;
                }
                continue;
            }
            self.busy_turns = 0;
            match self.watching {
                Watching::Unknown if self.sessions.iter().any(Session::is_dry) => self.arm(),
                // All wait for their replicas, none for the log: its writer must not pay for notifications.
                Watching::Unknown => {
                    if self.bell.fall_asleep() {
                        self.next_look = None;
                        self.sleep(wake_at, false);
                    }
                    self.bell.wake_up();
                }
                Watching::Armed => {
                    self.watching = Watching::Quiet;
                    let patience =
                        if self.is_notified { self.options.safety_look } else { self.options.unnotified_look };
                    self.next_look = Some(now + patience);
                }
                Watching::Quiet => self.sleep(wake_at, true),
            }
        }
    }

    /// Gives every session a turn; says whether any moved, and when time alone will let one go on.
    fn turn_all(&mut self, now: Instant) -> (bool, Option<Instant>) {
        let mut progress = false;
        let mut wake_at: Option<Instant> = None;
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
                    wake_at = wake_at.into_iter().chain(wants.wake_at).min();
                }
                Turn::Ended(end) => {
                    let ended = self.sessions.swap_remove(at);
                    finish(ended, end);
                    continue;
                }
            }
            at += 1;
        }
        (progress, wake_at)
    }

    /// Arms the notification of every log that was read to its end.
    fn arm(&mut self) {
        if std::mem::take(&mut self.has_events) {
            self.logs.iter().for_each(|log| log.take_events(&self.bell));
        }
        // All of them, also behind one that cannot be armed.
        let armed = self.logs.iter().filter(|log| log.arm()).count();
        self.is_notified = armed == self.logs.len();
        if self.bell.fall_asleep() {
            self.watching = Watching::Armed;
        } else {
            self.bell.wake_up();
        }
    }

    /// Sleeps until a session can go on, the bell rings or, with `watched`, a log changes.
    fn sleep(&mut self, wake_at: Option<Instant>, watched: bool) {
        let read = Interest { read: true, write: false };
        let bell = self.poll.add(self.bell.fd().as_raw_fd(), read);
        self.watches.clear();
        let logs = if watched { &self.logs[..] } else { &[] };
        for fd in logs.iter().filter_map(|log| log.watch_fd()) {
            self.watches.push(self.poll.add(fd, read));
        }
        let deadline = wake_at.into_iter().chain(self.next_look).min();
        self.sessions.iter().for_each(|session| session.link().note_sleep());
        if let Err(error) = self.poll.sleep_until(deadline) {
            self.fail_all(&Error::os("wait for", "the replica and the log", error));
            return;
        }
        let mut may_have_more = self.poll.is_ready(bell) && self.bell.wake_up();
        if self.watches.iter().any(|&watch| self.poll.is_ready(watch)) {
            self.has_events = true;
            may_have_more = true;
        }
        // All sessions were blocked, so each was polled for, in their order.
        for (at, session) in self.sessions.iter_mut().enumerate() {
            session.was_polled(self.poll.is_ready(at));
        }
        let now = Instant::now();
        if may_have_more || deadline.is_some_and(|deadline| now >= deadline) {
            self.bell.wake_up();
            self.watching = Watching::Unknown;
        }
    }

    fn fail_all(&mut self, error: &Error) {
        for session in self.sessions.drain(..) {
            finish(session, End::Failed(error.clone()));
        }
    }
}

/// Tells the host that a session has ended, as the last thing it hears of it.
fn finish(session: Session, end: End) {
    let link = Arc::clone(session.link());
    link.publish(link::Snapshot { pause: None, is_notified: false, ..session.snapshot() });
    tell(&link, &**session.callbacks(), &end);
    link.set_inherited_fd(None);
    // With the session goes this loop's hold on the host's functions and on the channel.
    drop(session);
    link.acks.finish();
}

fn tell(link: &Link, callbacks: &dyn Callbacks, end: &End) {
    match end {
        End::Failed(error) => {
            say(&link.logger, Level::Error, "noxu_feeder::runner", format_args!("the run failed: {error}"))
        }
        end => say(&link.logger, Level::Info, "noxu_feeder::runner", format_args!("the run ended: {end:?}")),
    }
    link.acks.end(end.clone());
    callbacks.ended(end);
}
