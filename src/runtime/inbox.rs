//! The inbox: other threads hand tasks over to a loop that runs.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::driver::Key;
use super::task::Task;
use crate::sync::Mutex;
use crate::sys::waker::{Waker, Wakeups};

/// Why something was not taken: it comes back.
pub enum Refused {
    /// The inbox is full. It has room again when the loop has come round.
    Full(Box<dyn Task>),
    /// The loop takes nothing more.
    Closed(Box<dyn Task>),
}

/// What a loop and those who hand over share.
pub(super) struct Inbox {
    waker: Waker,
    contents: Mutex<Contents>,
}

struct Contents {
    tasks: VecDeque<Box<dyn Task>>,
    /// How many it takes from other threads.
    room: usize,
    is_open: bool,
}

impl Inbox {
    /// A closed one.
    pub(super) fn new(wakeups: &Arc<Wakeups>) -> Arc<Inbox> {
        let contents = Contents { tasks: VecDeque::new(), room: 0, is_open: false };
        let inbox = Inbox { waker: wakeups.waker(), contents: Mutex::new(contents) };
        inbox.waker.introduce(Key::Inbox.to_bits());
        Arc::new(inbox)
    }

    /// From now on `room` tasks may wait in it.
    pub(super) fn open(&self, room: usize) {
        let mut contents = self.contents.lock();
        contents.room = room.max(1);
        contents.is_open = true;
    }

    /// Puts in what the loop's owner has, whatever the room.
    pub(super) fn put(&self, task: Box<dyn Task>) {
        self.contents.lock().tasks.push_back(task);
        self.waker.wake();
    }

    /// Takes out all that is there.
    pub(super) fn take(&self) -> VecDeque<Box<dyn Task>> {
        self.waker.hear();
        std::mem::take(&mut self.contents.lock().tasks)
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.contents.lock().is_open = false;
        self.waker.wake();
    }

    /// Whether there is nothing in it, and there never will be.
    pub(super) fn is_done(&self) -> bool {
        let contents = self.contents.lock();
        !contents.is_open && contents.tasks.is_empty()
    }
}

/// Hands tasks over to one loop. Any thread, also the loop's own, inside a function of the host.
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox>,
    wakeups: Arc<Wakeups>,
}

impl Handle {
    pub(super) fn new(inbox: &Arc<Inbox>, wakeups: &Arc<Wakeups>) -> Handle {
        Handle { inbox: Arc::clone(inbox), wakeups: Arc::clone(wakeups) }
    }

    /// A waker for a task of this loop.
    pub fn waker(&self) -> Waker {
        self.wakeups.waker()
    }

    /// The descriptor that wakes the loop, for a forked child to close.
    pub fn inherited_fd(&self) -> RawFd {
        self.wakeups.inherited_fd()
    }

    /// Hands over. Never blocks.
    pub fn add(&self, task: Box<dyn Task>) -> Result<(), Refused> {
        let mut contents = self.inbox.contents.lock();
        if !contents.is_open {
            return Err(Refused::Closed(task));
        }
        if contents.tasks.len() >= contents.room {
            return Err(Refused::Full(task));
        }
        contents.tasks.push_back(task);
        drop(contents);
        self.inbox.waker.wake();
        Ok(())
    }

    /// The loop takes nothing more, and ends with its last task.
    pub fn close(&self) {
        self.inbox.close();
    }
}
