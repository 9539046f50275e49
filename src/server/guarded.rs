//! A task whose panic ends it, and nothing else: one replica's misfortune is not that of all others in its loop.

use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::acks::End;
use crate::error::Error;
use crate::runtime::task::{Reads, Step, Task};
use crate::session::Scratch;
use crate::sys::poll::Interest;
use crate::sys::thread::panic_text;
use crate::sys::waker::Waker;

/// See the module's comment.
pub(super) struct Guarded {
    task: Box<dyn Task>,
}

impl Guarded {
    pub(super) fn new(task: Box<dyn Task>) -> Guarded {
        Guarded { task }
    }
}

impl Task for Guarded {
    #[inline]
    fn waker(&self) -> &Waker {
        self.task.waker()
    }

    fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Step {
        match catch_unwind(AssertUnwindSafe(|| self.task.turn(now, scratch))) {
            Ok(Step::Becomes(next)) => Step::Becomes(Box::new(Guarded::new(next))),
            Ok(step) => step,
            // What it has may be half-changed: it is only told to whom it concerns, and let go of.
            Err(panic) => Step::Ended(End::Failed(Error::Panicked(panic_text(&*panic)))),
        }
    }

    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)> {
        self.task.wait_on(interest)
    }

    fn note_nothing_came(&mut self) {
        self.task.note_nothing_came();
    }

    fn publish(&self, is_notified: bool) {
        self.task.publish(is_notified);
    }

    fn end(self: Box<Self>, end: End, now: Instant) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.task.end(end, now)));
    }

    fn reads(&self) -> Reads {
        self.task.reads()
    }

    fn read_so_far(&self) -> u64 {
        self.task.read_so_far()
    }

    fn is_dry(&self) -> bool {
        self.task.is_dry()
    }

    fn look_again(&mut self) {
        self.task.look_again();
    }

    fn distrust(&mut self) {
        self.task.distrust();
    }

    fn is_notified(&self) -> bool {
        self.task.is_notified()
    }
}
