//! The thread that calls the host's functions. There is one, so a function that takes its time delays others, and no replica:
//! what is to be told waits in the [events](super::events), and who is to be named waits for its name.

use std::collections::VecDeque;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::connection::{Connection, Peer, Purpose};
use super::events::{Event, Events, Polled, Taker};
use crate::acks::Deadline;
use crate::sync::{Condvar, Mutex};

/// Says which replica it is that wants this from there; `None` refuses it.
pub type IdentifyFunction = Box<dyn Fn(&Peer, Purpose) -> Option<CString> + Send + Sync>;
/// Is told of each event.
pub type EventFunction = Box<dyn Fn(&Event) + Send + Sync>;

/// The host's functions.
#[derive(Default)]
pub struct Functions {
    /// Names replicas. Without it a replica's name is its address.
    pub identify: Option<IdentifyFunction>,
    /// Takes the events. Without it they are polled.
    pub event: Option<EventFunction>,
}

/// A connection that waits for its name.
pub(super) struct Inquiry {
    connection: Arc<Connection>,
    purpose: Purpose,
    answer: Mutex<Option<Option<CString>>>,
}

impl Inquiry {
    /// The host's answer, once there is one.
    pub(super) fn take_answer(&self) -> Option<Option<CString>> {
        self.answer.lock().take()
    }
}

#[derive(Default)]
struct Inner {
    inquiries: VecDeque<Arc<Inquiry>>,
    has_events: bool,
    is_closed: bool,
}

/// See the module's comment.
#[derive(Default)]
pub struct Dispatcher {
    /// Set when the server begins.
    functions: OnceLock<Functions>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// How many events are taken out at once.
const BATCH: usize = 64;

impl Dispatcher {
    /// From now on these are the host's functions, unless there are some already. True: there is something to run for.
    pub(super) fn set_functions(&self, functions: Functions) -> bool {
        let _ = self.functions.set(functions);
        self.identifies() || self.takes_events()
    }

    /// Whether the host names replicas.
    pub(super) fn identifies(&self) -> bool {
        self.functions.get().is_some_and(|functions| functions.identify.is_some())
    }

    /// Whether it takes the events.
    pub(super) fn takes_events(&self) -> bool {
        self.functions.get().is_some_and(|functions| functions.event.is_some())
    }

    /// Asks the host who that is. The connection gets a turn when there is an answer.
    pub(super) fn ask(&self, connection: &Arc<Connection>, purpose: Purpose) -> Arc<Inquiry> {
        let inquiry = Inquiry { connection: Arc::clone(connection), purpose, answer: Mutex::new(None) };
        let inquiry = Arc::new(inquiry);
        self.inner.lock().inquiries.push_back(Arc::clone(&inquiry));
        self.changed.notify_all();
        inquiry
    }

    /// Nobody asks any more. It ends when it has told the last event.
    pub(super) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Calls the host until all is closed and told.
    pub(super) fn run(&self, events: &Events) {
        let mut taken = Vec::new();
        while self.call(events, &mut taken, Deadline::Never) {}
    }

    /// Calls the host for what there is now: to name one replica, and of some events. Waits for the first of that until
    /// `deadline`. False: all is closed and told. `taken` is memory that is used again.
    pub(super) fn call(&self, events: &Events, taken: &mut Vec<Event>, deadline: Deadline) -> bool {
        let mut inner = self.inner.lock();
        while inner.inquiries.is_empty() && !inner.has_events && !inner.is_closed {
            match deadline {
                Deadline::Never => self.changed.wait(&mut inner),
                Deadline::At(at) => {
                    if self.changed.wait_until(&mut inner, at).timed_out() {
                        return true;
                    }
                }
            }
        }
        let inquiry = inner.inquiries.pop_front();
        let (has_events, is_closed) = (std::mem::take(&mut inner.has_events), inner.is_closed);
        drop(inner);
        if let Some(inquiry) = inquiry {
            self.identify(&inquiry);
        }
        if !self.takes_events() {
            return !is_closed;
        }
        if has_events || is_closed {
            taken.clear();
            let polled = events.poll(taken, BATCH, Deadline::At(Instant::now()));
            taken.iter().for_each(|event| self.tell(event));
            match polled {
                Polled::Events(_) => self.note_event(),
                Polled::TimedOut => {}
                Polled::Ended => return false,
            }
        }
        true
    }

    fn identify(&self, inquiry: &Inquiry) {
        let Inquiry { connection, purpose, answer } = inquiry;
        let Some(identify) = self.functions.get().and_then(|functions| functions.identify.as_ref()) else { return };
        // A panic of the host's function is a refusal.
        let name = catch_unwind(AssertUnwindSafe(|| identify(&connection.peer, *purpose))).unwrap_or(None);
        *answer.lock() = Some(name);
        connection.wake();
    }

    fn tell(&self, event: &Event) {
        if let Some(tell) = self.functions.get().and_then(|functions| functions.event.as_ref()) {
            let _ = catch_unwind(AssertUnwindSafe(|| tell(event)));
        }
    }
}

impl Taker for Dispatcher {
    fn note_event(&self) {
        if self.takes_events() && !std::mem::replace(&mut self.inner.lock().has_events, true) {
            self.changed.notify_all();
        }
    }
}
