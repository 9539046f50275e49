//! A server: replicas dial in, say what they want, and are served, all of them over one log and by a few threads.
//!
//! Who comes is a [conversation](conversation) until it is known what it wants and who it is. What asks for the stream then
//! becomes a session. Both are tasks of one of the server's loops, and stay with the loop that they came to. What happens is
//! told by [`Events`](events::Events), which a host polls or has its function called with, on a thread of its own.

pub mod connection;
mod conversation;
mod dialer;
mod dialing;
pub mod dispatcher;
pub mod events;
mod feeding;
pub mod figures;
mod guarded;
mod listener;
pub mod metrics;
pub mod options;
pub mod refusal;
pub mod register;
mod shared;

use std::ffi::CStr;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::acks::Deadline;
use crate::diagnostics::Level;
use crate::error::{Error, Result};
use crate::feed::shared::SharedCounts;
use crate::log::Log;
use crate::runtime::driver::Driver;
use crate::runtime::inbox::Handle;
use crate::runtime::reactor::Reactor;
use crate::runtime::system;
use crate::session::link::Link;
use crate::sync::atomic::Ordering;
use crate::sync::thread::JoinHandle;
use crate::sync::{Condvar, Mutex};
use crate::sys::fork::Inherited;
use crate::sys::socket;
use crate::sys::thread::{is_inside, panic_text, spawn_quiet, while_inside};
use crate::sys::waker::Wakeups;
use crate::transport::Transport;
use crate::transport::connect::look_up;
use connection::{Connection, Peer};
use conversation::{take_in, take_in_over};
use dialer::Dialer;
use dialing::Dialing;
use dispatcher::Functions;
use events::Events;
use figures::Figures;
use listener::Listener;
pub use options::ServerOptions;
use refusal::Refusal;
use shared::Shared;

enum State {
    New(Functions),
    Started(Vec<JoinHandle<()>>),
    Stopped(Vec<JoinHandle<()>>),
}

/// See the module's comment. Any thread may use it.
pub struct Server {
    shared: Arc<Shared>,
    state: Mutex<State>,
    threads: Arc<Threads>,
}

/// How many of the threads have not ended.
#[derive(Default)]
struct Threads {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Threads {
    fn note_ended(&self) -> usize {
        let mut running = self.running.lock();
        *running -= 1;
        let left = *running;
        drop(running);
        self.changed.notify_all();
        left
    }

    fn wait(&self, deadline: Deadline) -> bool {
        let mut running = self.running.lock();
        while *running > 0 {
            match deadline {
                Deadline::Never => self.changed.wait(&mut running),
                Deadline::At(at) => {
                    if self.changed.wait_until(&mut running, at).timed_out() {
                        return *running == 0;
                    }
                }
            }
        }
        true
    }
}

impl Server {
    /// A server over `log`, which does nothing yet.
    pub fn new(log: Arc<Log>, options: ServerOptions) -> Server {
        Server {
            shared: Arc::new(Shared::new(log, options)),
            state: Mutex::new(State::New(Functions::default())),
            threads: Arc::default(),
        }
    }

    /// Changes the host's functions. Before the server begins only. What is replaced is to be dropped by
    /// [`calling_the_host`](Server::calling_the_host).
    pub fn set_functions<T>(&self, call: &'static str, change: impl FnOnce(&mut Functions) -> T) -> Result<T> {
        match &mut *self.state.lock() {
            State::New(functions) => {
                let changed = change(functions);
                self.shared.dispatcher.note_functions(functions);
                Ok(changed)
            }
            State::Started(_) | State::Stopped(_) => {
                Err(Error::WrongState { call, reason: "the server has begun to serve" })
            }
        }
    }

    /// From now on elections are answered as by the master of this name: whoever holds one becomes its replica.
    pub fn answer_elections(&self, name: &str) -> Result<()> {
        self.set_functions("answer_elections", |_| ())?;
        if name.is_empty() {
            return Err(Error::invalid("name", "it is empty"));
        }
        let _ = self.shared.master_name.set(name.to_owned());
        Ok(())
    }

    /// Listens at an address of this machine, by name or number, and port; 0 for any. Gives the address that it is.
    pub fn listen(&self, host: &str, port: u16) -> Result<SocketAddr> {
        let (listener, address) = listener::bind(host, port)?;
        self.begin("listen")?;
        let Some((_, handle)) = self.shared.some_loop() else { return Err(stopped("listen")) };
        let task = Listener::new(&self.shared, listener, self.shared.other(handle));
        self.calling_the_host(|| {
            self.shared.hand_over(handle, Box::new(task), Instant::now());
            self.shared.say(Level::Info, format_args!("replicas can connect to {address}"));
        });
        Ok(address)
    }

    /// Takes in a connected stream socket, on which the other side has yet to say what it wants. On an error it comes back.
    pub fn adopt(&self, socket: OwnedFd) -> Result<(), (OwnedFd, Error)> {
        let peer = match self.begin("adopt").and_then(|()| check_socket(&socket)) {
            Ok(peer) => peer,
            Err(error) => return Err((socket, error)),
        };
        self.calling_the_host(|| take_in(&self.shared, socket, peer, Instant::now()))
            .map_err(|(socket, refusal)| (socket, self.not_taken_in("adopt", refusal)))
    }

    /// Takes in a connection whose bytes move otherwise than over a socket. `now` is the time of the loop that is to have
    /// it, which need not be the system's: see [`run_over`](Self::run_over). On an error it comes back.
    pub fn adopt_transport(
        &self,
        transport: Box<dyn Transport>,
        peer: Peer,
        now: Instant,
    ) -> Result<(), (Box<dyn Transport>, Error)> {
        if let Err(error) = self.begin("adopt") {
            return Err((transport, error));
        }
        take_in_over(&self.shared, transport, peer, now, |transport| transport)
            .map_err(|(transport, refusal)| (transport, self.not_taken_in("adopt", refusal)))
    }

    fn not_taken_in(&self, call: &'static str, refusal: Refusal) -> Error {
        match refusal {
            Refusal::TooMany => Error::TooManyConnections { max: self.shared.options.limits.connections },
            Refusal::Failed(error) => error,
            _ => stopped(call),
        }
    }

    /// Dials out to a replica that listens, and feeds it from `start` on; again and again, until it is cancelled. The name of
    /// the host is looked up once, now.
    pub fn dial(&self, host: &str, port: u16, name: &CStr, start: u64) -> Result<()> {
        let addresses = look_up(host, port)?;
        if addresses.is_empty() {
            return Err(Error::invalid("host", "the name has no address"));
        }
        self.begin("dial")?;
        let Some((at, handle)) = self.shared.some_loop() else { return Err(stopped("dial")) };
        let dialing = Arc::new(Dialing::new(name.to_owned(), addresses, start));
        let mut dialings = self.shared.dialings.lock();
        if dialings.iter().any(|other| other.name == dialing.name) {
            return Err(Error::invalid("replica_name", "a replica of that name is being dialled"));
        }
        dialings.push(Arc::clone(&dialing));
        drop(dialings);
        self.calling_the_host(|| Dialer::start(&self.shared, dialing, at, handle));
        Ok(())
    }

    /// What has happened.
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Whether the host's function takes the events, so that there are none to poll.
    pub fn tells_events(&self) -> bool {
        self.shared.dispatcher.takes_events()
    }

    /// Who is connected, in the order in which they came.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.shared.register.all()
    }

    /// Who is fed under this name.
    pub fn replica(&self, name: &CStr) -> Option<Arc<Connection>> {
        self.shared.register.stream(name)
    }

    /// Ends the stream to the replica of this name, and dials it no more. False: it is neither fed nor dialled.
    pub fn disconnect(&self, name: &CStr) -> bool {
        let mut dialings = self.shared.dialings.lock();
        let at = dialings.iter().position(|dialing| *dialing.name == *name);
        let dialing = at.map(|at| dialings.swap_remove(at));
        drop(dialings);
        if let Some(dialing) = &dialing {
            dialing.cancel();
        }
        let connection = self.replica(name);
        if let Some(connection) = &connection {
            connection.end(Some(Refusal::ByHost));
        }
        dialing.is_some() || connection.is_some()
    }

    /// Sends nothing to the replica of this name until it is resumed; its acks are still taken. False: it is not fed.
    pub fn pause(&self, name: &CStr) -> bool {
        self.with_link(name, Link::pause)
    }

    /// Sends to it again.
    pub fn resume(&self, name: &CStr) -> bool {
        self.with_link(name, Link::resume)
    }

    /// Sends to it no more than so many bytes in a second; `None` for as many as it takes.
    pub fn set_rate(&self, name: &CStr, bytes_per_second: Option<NonZeroU64>) -> bool {
        self.with_link(name, |link| link.set_rate(bytes_per_second))
    }

    fn with_link(&self, name: &CStr, change: impl FnOnce(&Link)) -> bool {
        let connection = self.replica(name);
        connection.as_ref().and_then(|connection| connection.link()).map(|link| change(link)).is_some()
    }

    /// What was read of the log, for all replicas together.
    pub fn read_counts(&self) -> SharedCounts {
        self.shared.feeds.counts()
    }

    /// What has happened how often.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// All figures, as text.
    pub fn metrics(&self, format: metrics::Format) -> String {
        metrics::text(&self.shared, format, Instant::now())
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.shared.log
    }

    /// Has the threads run, if they do not yet.
    fn begin(&self, call: &'static str) -> Result<()> {
        let mut state = self.state.lock();
        let functions = match &mut *state {
            State::New(functions) => functions,
            State::Started(_) => return Ok(()),
            State::Stopped(_) => return Err(stopped(call)),
        };
        let options = &self.shared.options;
        let (mut reactors, mut handles, mut drivers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.threads.max(1) {
            let driver = system::for_many().map_err(|error| Error::os("make", "an epoll descriptor", error))?;
            let inherited = Inherited::default();
            inherited.set(driver.inherited_fd());
            drivers.push(inherited);
            let (reactor, handle) = self.new_loop(driver)?;
            handles.push(handle);
            reactors.push(reactor);
        }
        let mut running = Vec::new();
        // The threads first, and their work afterwards: so nothing is half begun when there is no thread to be had.
        let (mut senders, mut failed) = (Vec::new(), None);
        for at in 0..reactors.len() {
            let (work, to_do) = std::sync::mpsc::sync_channel::<Reactor>(1);
            let (shared, threads) = (Arc::clone(&self.shared), Arc::clone(&self.threads));
            let body = move || {
                if let Ok(reactor) = to_do.recv() {
                    run_loop(at, reactor, &shared, &threads);
                }
            };
            match spawn_quiet(&format!("nxf-server-{at}"), options.stack_bytes, body) {
                Ok(thread) => running.push(thread),
                Err(error) => failed = Some(error),
            }
            senders.push(work);
        }
        let (call_host, to_do) = std::sync::mpsc::sync_channel::<()>(1);
        if self.shared.dispatcher.has_any() && failed.is_none() {
            let (shared, threads) = (Arc::clone(&self.shared), Arc::clone(&self.threads));
            let body = move || {
                if to_do.recv().is_ok() {
                    let inside = Arc::as_ptr(&shared).addr();
                    while_inside(inside, || shared.dispatcher.run(&shared.events));
                    threads.note_ended();
                }
            };
            match spawn_quiet("nxf-server-calls", options.stack_bytes, body) {
                Ok(thread) => running.push(thread),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            // Those that there are find no work, and end.
            return Err(Error::os("start", "a thread", error));
        }
        *self.threads.running.lock() = running.len();
        let _ = self.shared.loops.set(handles);
        let _ = self.shared.drivers.set(drivers);
        self.shared.dispatcher.set_functions(std::mem::take(functions));
        for (work, reactor) in senders.into_iter().zip(reactors) {
            work.send(reactor).expect("the thread waits for its work");
        }
        let _ = call_host.send(());
        *state = State::Started(running);
        Ok(())
    }

    fn new_loop(&self, driver: Box<dyn Driver>) -> Result<(Reactor, Handle)> {
        let wakeups = Wakeups::new().map_err(|error| Error::os("make", "a wake-up descriptor", error))?;
        let mut reactor = Reactor::new(driver, wakeups, self.shared.options.reactor);
        // What waits to be taken in are connections, each once, and what listens and dials.
        let room = self.shared.options.limits.connections.saturating_mul(2).saturating_add(1024);
        let handle = reactor.open(room);
        Ok((reactor, handle))
    }

    /// Serves on this thread, in one loop that waits by `driver`, until it is stopped; `begun` is called once before that,
    /// when connections can be taken in. The server makes no threads then: the host's functions are called by
    /// [`call_functions`](Self::call_functions) alone. An error if it has begun already, as with the first connection.
    pub fn run_over(&self, driver: Box<dyn Driver>, begun: impl FnOnce()) -> Result<()> {
        let mut state = self.state.lock();
        let State::New(functions) = &mut *state else {
            return Err(Error::WrongState { call: "run_over", reason: "the server has begun to serve" });
        };
        let inherited = Inherited::default();
        inherited.set(driver.inherited_fd());
        let (reactor, handle) = self.new_loop(driver)?;
        let _ = self.shared.drivers.set(vec![inherited]);
        self.shared.dispatcher.set_functions(std::mem::take(functions));
        *self.threads.running.lock() = 1;
        let _ = self.shared.loops.set(vec![handle]);
        *state = State::Started(Vec::new());
        drop(state);
        begun();
        run_loop(0, reactor, &self.shared, &self.threads);
        Ok(())
    }

    /// Calls the host's functions for what there is now, where no thread of the server's does: see
    /// [`run_over`](Self::run_over). Waits for something until `deadline`. False: the server has ended, and all is told. By
    /// one thread at a time.
    pub fn call_functions(&self, deadline: Deadline) -> bool {
        let inside = Arc::as_ptr(&self.shared).addr();
        while_inside(inside, || self.shared.dispatcher.call(&self.shared.events, &mut Vec::new(), deadline))
    }

    /// Ends all, and waits until no function of the host is called any more. All replicas linger at the same time. False: not
    /// in time; it is still ending. An error from inside a function of the host.
    pub fn stop(&self, deadline: Deadline) -> Result<bool> {
        self.refuse_waiting_inside("stop", deadline)?;
        let mut state = self.state.lock();
        let threads = match &mut *state {
            State::New(_) => {
                self.shared.events.close();
                self.shared.dispatcher.close();
                Vec::new()
            }
            State::Started(threads) | State::Stopped(threads) => std::mem::take(threads),
        };
        let before = std::mem::replace(&mut *state, State::Stopped(threads));
        drop(state);
        self.shared.stop();
        self.calling_the_host(|| drop(before));
        Ok(self.threads.wait(deadline))
    }

    /// Refuses a call from a function of the host that would wait for that function to return.
    pub fn refuse_waiting_inside(&self, call: &'static str, deadline: Deadline) -> Result<()> {
        let waits = deadline.instant().is_none_or(|at| at > Instant::now());
        if waits { self.refuse_inside(call) } else { Ok(()) }
    }

    fn refuse_inside(&self, call: &'static str) -> Result<()> {
        let inside = Arc::as_ptr(&self.shared).addr();
        if is_inside(inside) { Err(Error::InsideCallback { call }) } else { Ok(()) }
    }

    /// Does what may call a function of the host on this server's behalf: with no lock held, and from inside the server, so
    /// that it cannot wait for what waits for it.
    pub fn calling_the_host<T>(&self, body: impl FnOnce() -> T) -> T {
        while_inside(Arc::as_ptr(&self.shared).addr(), body)
    }

    /// In a forked child: closes the descriptors that the child has of this server, and does nothing else.
    pub fn close_in_child(&self) {
        self.shared.close_in_child();
    }

    /// Ends all and lets go of everything. When this returns OK, the functions' contexts are gone.
    pub fn dispose(&self) -> Result<()> {
        self.refuse_inside("free")?;
        self.stop(Deadline::Never)?;
        let state = std::mem::replace(&mut *self.state.lock(), State::Stopped(Vec::new()));
        if let State::Started(threads) | State::Stopped(threads) = state {
            for thread in threads {
                let _ = thread.join();
            }
        }
        // Those that no thread of the server's has called.
        self.calling_the_host(|| self.shared.dispatcher.drop_functions());
        Ok(())
    }
}

/// Drives a loop to its end. With the last loop, nothing more happens, and whoever tells the host ends, too.
fn run_loop(at: usize, mut reactor: Reactor, shared: &Shared, threads: &Threads) {
    let inside = std::ptr::from_ref(shared).addr();
    let ran = catch_unwind(AssertUnwindSafe(|| while_inside(inside, || reactor.run())));
    if let Err(panic) = ran {
        shared.say(Level::Error, format_args!("a loop has ended: {}", Error::Panicked(panic_text(&*panic))));
    }
    if let Some(driver) = shared.drivers.get().and_then(|drivers| drivers.get(at)) {
        driver.set(None);
    }
    let _ = catch_unwind(AssertUnwindSafe(|| while_inside(inside, || drop(reactor))));
    let loops = shared.loops.get().map_or(1, Vec::len);
    if shared.figures.loops_ended.fetch_add(1, Ordering::AcqRel) + 1 == loops as u64 {
        shared.events.close();
        shared.dispatcher.close();
    }
    threads.note_ended();
}

fn check_socket(socket: &OwnedFd) -> Result<Peer> {
    match socket::is_connected_stream(socket.as_fd()) {
        Ok(true) => Ok(Peer::new(socket::peer_address(socket.as_fd()))),
        Ok(false) => Err(Error::invalid("fd", "it is no connected stream socket")),
        Err(error) => Err(Error::os("use", "the descriptor", error)),
    }
}

fn stopped(call: &'static str) -> Error {
    Error::WrongState { call, reason: "the server has been stopped" }
}
