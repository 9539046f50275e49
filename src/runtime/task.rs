//! What a loop drives: things that move in turns, and say between two of them what they wait for. Most are sessions.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use crate::acks::End;
use crate::diagnostics::Level;
use crate::session::link::{Callbacks, Link, Snapshot};
use crate::session::{Scratch, Session, Turn, Wants};
use crate::source::Origin;
use crate::sys::poll::Interest;
use crate::sys::waker::Waker;

/// What a task did in its turn, and what it wants next.
pub enum Step {
    /// Something moved: another turn may move more.
    Progress,
    /// Nothing can move now.
    Blocked(Wants),
    /// It is over, and another task goes on in its place, perhaps with its descriptor.
    Becomes(Box<dyn Task>),
    /// It has ended.
    Ended(End),
}

/// What a task reads. The loop sees to it that it hears when there is more.
pub enum Reads {
    /// Nothing whose changes the loop would have to look after.
    Nothing,
    /// A source of its own, of which it is told by its waker.
    Own,
    /// A log, or what else tells of its changes.
    From(Arc<dyn Origin>),
}

/// See the module's comment. All is called on the loop's thread.
pub trait Task: Send {
    /// What others wake the loop by for it. The same for as long as it lives.
    fn waker(&self) -> &Waker;

    /// Moves what can be moved without waiting.
    fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Step;

    /// What to poll for what it wants; none for what waits for its waker and its deadline alone.
    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)>;

    /// Its descriptor has just been found not to be ready.
    fn note_nothing_came(&mut self) {}

    /// Puts its figures down for others to see, after each turn. `is_notified`: of whether what it reads is.
    fn publish(&self, is_notified: bool) {
        let _ = is_notified;
    }

    /// It has ended, and says so to whom it concerns, as the last thing that is heard of it.
    fn end(self: Box<Self>, end: End, now: Instant);

    /// What it reads.
    fn reads(&self) -> Reads {
        Reads::Nothing
    }

    /// How much it has read: a number that rises when it has found something.
    fn read_so_far(&self) -> u64 {
        0
    }

    /// Whether what it reads had nothing when it was asked last.
    fn is_dry(&self) -> bool {
        false
    }

    /// What it reads may be asked again: there may be more.
    fn look_again(&mut self) {}

    /// Something is said to have changed in what it reads.
    fn distrust(&mut self) {}

    /// Whether the notification tells of every change that it waits for. May ask the file system.
    fn is_notified(&self) -> bool {
        true
    }
}

impl Task for Session {
    #[inline]
    fn waker(&self) -> &Waker {
        &self.link().waker
    }

    fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Step {
        match Session::turn(self, now, scratch) {
            Turn::Progress => Step::Progress,
            Turn::Blocked(wants) => Step::Blocked(wants),
            Turn::Ended(end) => Step::Ended(end),
        }
    }

    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)> {
        Some(Session::wait_on(self, interest))
    }

    fn note_nothing_came(&mut self) {
        Session::note_nothing_came(self);
    }

    fn publish(&self, is_notified: bool) {
        self.link().publish(Snapshot { is_notified, ..self.snapshot() });
    }

    fn end(self: Box<Self>, end: End, now: Instant) {
        let link = Arc::clone(self.link());
        link.publish(self.snapshot());
        link.note_ended(now);
        tell(&link, &**self.callbacks(), &end);
        link.set_inherited_fd(None);
        // With the session goes this loop's hold on the host's functions and on the channel.
        drop(self);
        link.acks.finish();
    }

    fn reads(&self) -> Reads {
        self.origin().map_or(Reads::Own, Reads::From)
    }

    #[inline]
    fn read_so_far(&self) -> u64 {
        self.next_vlsn()
    }

    #[inline]
    fn is_dry(&self) -> bool {
        Session::is_dry(self)
    }

    fn look_again(&mut self) {
        Session::look_again(self);
    }

    fn distrust(&mut self) {
        Session::distrust(self);
    }

    fn is_notified(&self) -> bool {
        Session::is_notified(self)
    }
}

/// A run that has come to nothing before it had a session. Its host is told by the loop, as of any other.
pub struct Stillborn {
    /// What its host has of it.
    pub link: Arc<Link>,
    /// The host's functions.
    pub callbacks: Arc<dyn Callbacks>,
    /// What became of it.
    pub end: End,
}

impl Task for Stillborn {
    fn waker(&self) -> &Waker {
        &self.link.waker
    }

    fn turn(&mut self, _: Instant, _: &mut Scratch) -> Step {
        Step::Ended(self.end.clone())
    }

    fn wait_on(&self, _: Interest) -> Option<(RawFd, Interest)> {
        None
    }

    fn end(self: Box<Self>, end: End, _: Instant) {
        let Stillborn { link, callbacks, .. } = *self;
        tell(&link, &*callbacks, &end);
        drop(callbacks);
        link.set_inherited_fd(None);
        link.acks.finish();
    }
}

fn tell(link: &Link, callbacks: &dyn Callbacks, end: &End) {
    match end {
        End::Failed(error) => link.say(Level::Error, format_args!("the run failed: {error}")),
        end => link.say(Level::Info, format_args!("the run ended: {}", end.state())),
    }
    link.acks.end(end.clone());
    callbacks.ended(end);
}
