//! What all parts of a server have in common.

use std::fmt::Arguments;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::connection::Connection;
use super::dialing::Dialing;
use super::dispatcher::Dispatcher;
use super::events::{Events, Kind, Taker};
use super::figures::Figures;
use super::guarded::Guarded;
use super::options::ServerOptions;
use super::refusal::Refusal;
use super::register::Register;
use crate::acks::End;
use crate::diagnostics::{Level, Replica, say};
use crate::error::Error;
use crate::feed::shared::SharedFeeds;
use crate::log::Log;
use crate::log::lookup::{Lookup, LookupOptions};
use crate::runtime::inbox::Handle;
use crate::runtime::task::Task;
use crate::session::service::shared_range::KnownRange;
use crate::session::service::{Offers, SharedRange};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sys::fork::{Inherited, close_inherited};
use crate::sys::waker::Waker;

/// Something in a loop that is no connection, and is to be woken for the end: a listener, or who dials.
pub(super) struct Other {
    /// Wakes it.
    pub(super) waker: Arc<Waker>,
    /// What it listens or connects with.
    pub(super) descriptor: Inherited,
}

/// See the module's comment.
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    pub(super) options: ServerOptions,
    /// What is read for one replica serves all that want the same.
    pub(super) feeds: Arc<SharedFeeds>,
    /// How far the log goes, as those know who ask, or asked a moment ago.
    range: Mutex<KnownRange<Lookup>>,
    pub(super) register: Register,
    pub(super) events: Events,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) figures: Figures,
    /// The name that elections are answered with; without one they are not.
    pub(super) master_name: OnceLock<String>,
    /// The loops, once they run.
    pub(super) loops: OnceLock<Vec<Handle>>,
    /// The descriptors that these have of their own.
    pub(super) drivers: OnceLock<Vec<Inherited>>,
    /// Which loop the next connection goes to.
    next_loop: AtomicUsize,
    /// Who is dialled.
    pub(super) dialings: Mutex<Vec<Arc<Dialing>>>,
    others: Mutex<Vec<Arc<Other>>>,
    is_stopping: AtomicBool,
    /// What the log cannot be read beyond, as far as the host was told.
    broken: Mutex<Option<Error>>,
}

impl Shared {
    pub(super) fn new(log: Arc<Log>, options: ServerOptions) -> Shared {
        let dispatcher = Arc::new(Dispatcher::default());
        let taker = Arc::clone(&dispatcher) as Arc<dyn Taker>;
        Shared {
            feeds: SharedFeeds::over(&log, options.chunks, options.shared_bytes_max),
            log,
            range: Mutex::default(),
            register: Register::new(options.limits, options.same_name),
            events: Events::new(options.events_max, options.limits.connections, Some(taker)),
            dispatcher,
            options,
            figures: Figures::default(),
            master_name: OnceLock::new(),
            loops: OnceLock::new(),
            drivers: OnceLock::new(),
            next_loop: AtomicUsize::new(0),
            dialings: Mutex::default(),
            others: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            broken: Mutex::default(),
        }
    }

    /// The services offered.
    pub(super) fn offers(&self) -> Offers {
        Offers { election: self.master_name.get().is_some(), ..self.options.offers }
    }

    /// Who looks into the log, and has seen nothing yet.
    pub(super) fn lookup(&self) -> Lookup {
        Lookup::new(Arc::clone(&self.log), LookupOptions::from(self.log.scanner_options()))
    }

    /// How far the log goes, for one more who asks.
    pub(super) fn range(&self) -> SharedRange<Lookup> {
        self.range.lock().share(|| self.lookup())
    }

    /// The name that elections are answered with.
    pub(super) fn master_name(&self) -> String {
        self.master_name.get().cloned().unwrap_or_default()
    }

    /// Whether the server is being stopped.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Has all end.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.register.close();
        self.others.lock().iter().for_each(|other| other.waker.wake());
        self.loops.get().into_iter().flatten().for_each(Handle::close);
    }

    /// A loop, each in its turn, and its number.
    pub(super) fn some_loop(&self) -> Option<(usize, &Handle)> {
        let loops = self.loops.get()?;
        let at = self.next_loop.fetch_add(1, Ordering::Relaxed) % loops.len();
        Some((at, &loops[at]))
    }

    /// Hands a task over to a loop. It has room, and has closed only if the server is being stopped.
    pub(super) fn hand_over(&self, handle: &Handle, task: Box<dyn Task>, now: Instant) {
        use crate::runtime::inbox::Refused;
        if let Err(Refused::Full(task) | Refused::Closed(task)) = handle.add(Box::new(Guarded::new(task))) {
            task.end(End::Stopped, now);
        }
    }

    /// For something that is no connection: it is woken when the server is stopped.
    pub(super) fn other(&self, handle: &Handle) -> Arc<Other> {
        let other = Arc::new(Other { waker: Arc::new(handle.waker()), descriptor: Inherited::default() });
        self.others.lock().push(Arc::clone(&other));
        // Who stops the server at this moment may have missed it.
        if self.is_stopping() {
            other.waker.wake();
        }
        other
    }

    /// Such a thing is over.
    pub(super) fn forget_other(&self, over: &Arc<Other>) {
        self.others.lock().retain(|other| !Arc::ptr_eq(other, over));
    }

    /// In a forked child: closes the descriptors that the child has of this server. A lock that was held at the fork is held
    /// for ever: what it guards stays open.
    pub(super) fn close_in_child(&self) {
        self.register.close_in_child();
        self.events.close_in_child();
        let others = self.others.try_lock();
        close_inherited(others.iter().flat_map(|others| others.iter()).map(|other| other.descriptor.fd()));
        close_inherited(self.drivers.get().into_iter().flatten().map(Inherited::fd));
        close_inherited(self.loops.get().into_iter().flatten().map(Handle::inherited_fd));
    }

    /// Something has happened to a replica.
    pub(super) fn tell(&self, kind: Kind, connection: &Arc<Connection>) {
        let name = connection.name().to_string_lossy();
        let (name, peer) = (Replica(&name), connection.peer.text.to_string_lossy());
        match &kind {
            Kind::Joined(start) => self.say(Level::Info, format_args!("{name} at {peer} is fed from VLSN {start} on")),
            Kind::NeedsRestore => self.say(
                Level::Warn,
                format_args!(
                    "{name} at {peer} asked for what the log has no more, and was told that it needs a restore"
                ),
            ),
            Kind::Restoring => {
                let progress = connection.restored();
                let (files, bytes) = (progress.files, progress.bytes);
                self.say(Level::Info, format_args!("{name} at {peer} fetches {files} files of {bytes} bytes"));
            }
            Kind::Restored(bytes) => {
                self.say(Level::Info, format_args!("{name} at {peer} has fetched all files, of {bytes} bytes"));
            }
            _ => {}
        }
        self.events.push(kind, Some(connection));
    }

    /// A connection came to nothing.
    pub(super) fn note_refused(&self, refusal: Refusal, connection: &Arc<Connection>) {
        self.figures.refused.fetch_add(1, Ordering::Relaxed);
        let peer = connection.peer.text.to_string_lossy();
        self.say(Level::Warn, format_args!("the connection from {peer} came to nothing: {refusal}"));
        self.events.push(Kind::Refused(refusal), Some(connection));
    }

    /// Says something to people.
    pub(super) fn say(&self, level: Level, text: Arguments<'_>) {
        say(&self.options.logger, level, "noxu_feeder::server", text);
    }

    /// Tells the host once if that means that nobody can be fed.
    pub(super) fn note_end(&self, end: &End) {
        let End::Failed(error) = end else { return };
        if !error.is_of_log() {
            return;
        }
        let mut broken = self.broken.lock();
        if broken.as_ref() != Some(error) {
            *broken = Some(error.clone());
            drop(broken);
            self.events.push(Kind::LogBroken(error.clone()), None);
        }
    }
}
