//! The thread that calls the host's functions. There is one, so a function that takes its time delays others, and no replica:
//! what is to be told waits in the [events](super::events), and who is to be named waits for its name.

use std::collections::VecDeque;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Peer, Purpose};
use super::events::{Event, Events, Polled, Taker};
use crate::acks::Deadline;
use crate::error::Result;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// Says which replica it is that wants this from there. `None` refuses it, and so does an error, which is told.
pub type IdentifyFunction = Box<dyn Fn(&Peer, Purpose) -> Result<Option<CString>> + Send + Sync>;
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
    answer: Mutex<Option<Result<Option<CString>>>>,
}

impl Inquiry {
    /// Whether the connection still waits for it: then somebody has it besides the dispatcher.
    fn is_waited_for(self: &Arc<Inquiry>) -> bool {
        Arc::strong_count(self) > 1
    }

    /// The host's answer, once there is one.
    pub(super) fn take_answer(&self) -> Option<Result<Option<CString>>> {
        self.answer.lock().take()
    }
}

#[derive(Default)]
struct Inner {
    /// At most twice as many as are waited for, and some.
    inquiries: VecDeque<Arc<Inquiry>>,
    /// With how many those are forgotten next for which nobody waits any more.
    forgets_at: usize,
    has_events: bool,
    is_closed: bool,
}

/// See the module's comment.
#[derive(Default)]
pub struct Dispatcher {
    identifies: AtomicBool,
    takes_events: AtomicBool,
    /// There from when the server begins until there is nothing more to tell.
    functions: Mutex<Option<Arc<Functions>>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// How many events are taken out at once.
const BATCH: usize = 64;

impl Dispatcher {
    /// Notes which functions there will be.
    pub(super) fn note_functions(&self, functions: &Functions) {
        self.identifies.store(functions.identify.is_some(), Ordering::Release);
        self.takes_events.store(functions.event.is_some(), Ordering::Release);
    }

    /// Whether there is something to run for.
    pub(super) fn has_any(&self) -> bool {
        self.identifies() || self.takes_events()
    }

    /// From now on these are the host's functions.
    pub(super) fn set_functions(&self, functions: Functions) {
        *self.functions.lock() = Some(Arc::new(functions));
    }

    /// Lets go of them.
    pub(super) fn drop_functions(&self) {
        // Dropping them calls the host, and so no lock is held.
        let last = self.functions.lock().take();
        drop(last);
    }

    /// Whether the host names replicas.
    pub(super) fn identifies(&self) -> bool {
        self.identifies.load(Ordering::Acquire)
    }

    /// Whether it takes the events.
    pub(super) fn takes_events(&self) -> bool {
        self.takes_events.load(Ordering::Acquire)
    }

    /// Asks the host who that is. The connection gets a turn when there is an answer.
    pub(super) fn ask(&self, connection: &Arc<Connection>, purpose: Purpose) -> Arc<Inquiry> {
        let inquiry = Inquiry { connection: Arc::clone(connection), purpose, answer: Mutex::new(None) };
        let inquiry = Arc::new(inquiry);
        let mut inner = self.inner.lock();
        if inner.inquiries.len() >= inner.forgets_at {
            // Connections come and go while the host thinks about one of them.
            inner.inquiries.retain(|inquiry| inquiry.is_waited_for());
            inner.forgets_at = BATCH.max(2 * inner.inquiries.len());
        }
        inner.inquiries.push_back(Arc::clone(&inquiry));
        drop(inner);
        self.changed.notify_all();
        inquiry
    }

    /// Nobody asks any more. It ends when it has told the last event.
    pub(super) fn close(&self) {
        self.inner.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Calls the host until all is closed and told. Then its functions are gone.
    pub(super) fn run(&self, events: &Events) {
        let mut taken = Vec::new();
        while self.call(events, &mut taken, Deadline::Never) {}
        self.drop_functions();
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
        let Some(functions) = self.functions.lock().clone() else { return !is_closed };
        if let Some(inquiry) = inquiry.filter(|inquiry| inquiry.is_waited_for()) {
            identify(&functions, &inquiry);
        }
        if !self.takes_events() {
            return !is_closed;
        }
        if has_events || is_closed {
            taken.clear();
            let polled = events.poll(taken, BATCH, Deadline::At(Instant::now()));
            taken.iter().for_each(|event| tell(&functions, event));
            match polled {
                Polled::Events(_) => self.note_event(),
                Polled::TimedOut => {}
                Polled::Ended => return false,
            }
        }
        true
    }
}

fn identify(functions: &Functions, inquiry: &Inquiry) {
    let Inquiry { connection, purpose, answer } = inquiry;
    let Some(identify) = &functions.identify else { return };
    // A panic of the host's function is a refusal.
    let name = catch_unwind(AssertUnwindSafe(|| identify(&connection.peer, *purpose))).unwrap_or(Ok(None));
    *answer.lock() = Some(name);
    connection.wake();
}

fn tell(functions: &Functions, event: &Event) {
    if let Some(tell) = &functions.event {
        let _ = catch_unwind(AssertUnwindSafe(|| tell(event)));
    }
}

impl Taker for Dispatcher {
    fn note_event(&self) {
        if self.takes_events() && !std::mem::replace(&mut self.inner.lock().has_events, true) {
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::atomic::AtomicUsize;

    #[test]
    fn those_who_have_gone_are_not_named_and_not_kept() {
        let (dispatcher, asked) = (Dispatcher::default(), Arc::new(AtomicUsize::new(0)));
        let counts = Arc::clone(&asked);
        let identify: IdentifyFunction = Box::new(move |_, _| {
            counts.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        });
        let functions = Functions { identify: Some(identify), event: None };
        dispatcher.note_functions(&functions);
        dispatcher.set_functions(functions);
        let connection = || Arc::new(Connection::new(1, Peer::of_tests("192.0.2.1:1000"), 0, Instant::now()));
        let stays = dispatcher.ask(&connection(), Purpose::Stream);
        for _ in 0..10_000 {
            drop(dispatcher.ask(&connection(), Purpose::Stream));
            assert!(dispatcher.inner.lock().inquiries.len() <= BATCH);
        }
        let events = Events::new(1, 1, None);
        while !dispatcher.inner.lock().inquiries.is_empty() {
            assert!(dispatcher.call(&events, &mut Vec::new(), Deadline::At(Instant::now())));
        }
        assert_eq!((asked.load(Ordering::Relaxed), stays.take_answer()), (1, Some(Ok(None))));
    }
}
