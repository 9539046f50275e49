//! A runner: feeds one replica over one channel, on a thread of its own or on the caller's.

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::acks::{Acks, Deadline, End, Waited};
use crate::diagnostics::Level;
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::feed::OwnFeed;
use crate::options::Options;
use crate::runtime::driver::Driver;
use crate::runtime::reactor::Reactor;
use crate::runtime::system;
use crate::runtime::task::Stillborn;
use crate::session::Session;
use crate::session::link::{Callbacks, Link, Snapshot};
use crate::source::{Origin, Source};
use crate::states;
use crate::stream::Stream;
use crate::sync::Mutex;
use crate::sync::thread::JoinHandle;
use crate::sys::thread::{Threads, is_inside, panic_text, spawn_quiet, while_inside};
use crate::sys::waker::Wakeups;
use crate::transport::{Channel, Closing, Transport};

/// Called for every ack, with the replica's name and the VLSN.
pub type AckFunction = Box<dyn Fn(&CStr, u64) + Send + Sync>;
/// Called once, when the run has ended.
pub type EndFunction = Box<dyn Fn(&CStr, &End) + Send + Sync>;

/// The host's functions, as they were set before the start.
struct Functions {
    replica_name: CString,
    ack: Option<AckFunction>,
    end: Option<EndFunction>,
}

impl Callbacks for Functions {
    fn takes_acks(&self) -> bool {
        self.ack.is_some()
    }

    #[inline]
    fn acked(&self, vlsn: u64) {
        if let Some(ack) = &self.ack {
            ack(&self.replica_name, vlsn);
        }
    }

    fn ended(&self, end: &End) {
        if let Some(function) = &self.end {
            function(&self.replica_name, end);
        }
    }
}

/// What a runner has before it starts.
struct Setup {
    channel: Box<dyn Channel>,
    functions: Functions,
}

enum State {
    New(Setup),
    /// Running or ended.
    Started {
        thread: Option<JoinHandle<()>>,
    },
}

/// See the module's comment. Any thread may use it.
pub struct Runner {
    start_vlsn: u64,
    options: Options,
    link: Arc<Link>,
    state: Mutex<State>,
    origin: OnceLock<Arc<dyn Origin>>,
}

impl Runner {
    /// A runner that will feed `replica_name` over `channel` from `start_vlsn` on; 0 for the lowest VLSN that the
    /// source holds without a hole.
    pub fn new(
        channel: Box<dyn Channel>,
        replica_name: CString,
        start_vlsn: u64,
        options: Options,
    ) -> Result<Runner, (Box<dyn Channel>, Error)> {
        let wakeups = match Wakeups::new() {
            Ok(wakeups) => wakeups,
            Err(error) => return Err((channel, Error::os("make", "a wake-up descriptor", error))),
        };
        if !channel.is_open() {
            return Err((channel, Error::ChannelClosed));
        }
        let (name, logger) = (replica_name.clone(), options.logger.clone());
        let link = Arc::new(Link::new(wakeups.waker(), name, options.ack_queue_max(), start_vlsn, logger));
        let functions = Functions { replica_name, ack: None, end: None };
        let state = Mutex::new(State::New(Setup { channel, functions }));
        Ok(Runner { start_vlsn, options, link, state, origin: OnceLock::new() })
    }

    /// Has every ack handed to `function` instead of queued. Before the start only.
    pub fn set_ack_function(&self, function: AckFunction) -> Result<()> {
        let before = self.set_up("set_ack_callback", |functions| functions.ack.replace(function))?;
        self.calling_the_host(|| drop(before));
        Ok(())
    }

    /// Has `function` called when the run has ended. Before the start only.
    pub fn set_end_function(&self, function: EndFunction) -> Result<()> {
        let before = self.set_up("set_end_callback", |functions| functions.end.replace(function))?;
        self.calling_the_host(|| drop(before));
        Ok(())
    }

    /// Whether functions can still be set.
    pub fn check_can_set(&self, call: &'static str) -> Result<()> {
        self.set_up(call, |_| ())
    }

    fn set_up<T>(&self, call: &'static str, change: impl FnOnce(&mut Functions) -> T) -> Result<T> {
        match &mut *self.state.lock() {
            State::New(setup) => Ok(change(&mut setup.functions)),
            State::Started { .. } => Err(Error::WrongState { call, reason: "the runner has been started" }),
        }
    }

    /// Feeds the replica from `source` on a thread of its own. On an error `source` comes back, and the runner can
    /// still be started.
    pub fn start(&self, source: Box<dyn Source>) -> Result<(), (Box<dyn Source>, Error)> {
        let mut state = self.state.lock();
        let source = self.check_can_begin(&state, "start", source)?;
        // The thread first, and its work afterwards: so nothing is lost when there is no thread to be had.
        let (work, to_do) = std::sync::mpsc::sync_channel::<(Reactor, Weak<dyn Callbacks>)>(1);
        let link = Arc::clone(&self.link);
        let body = move || {
            if let Ok((reactor, callbacks)) = to_do.recv() {
                drive(reactor, &callbacks, &link);
            }
        };
        let thread = match spawn_quiet("nxf-runner", self.threads().stack_bytes, body) {
            Ok(thread) => thread,
            Err(error) => return Err((source, Error::os("start", "a thread", error))),
        };
        let setup = begin(&mut state, Some(thread));
        drop(state);
        let prepared = self.prepare(setup, source, system::for_few());
        work.send(prepared).expect("the thread waits for its work");
        Ok(())
    }

    /// Feeds the replica from `source` on the caller's thread, until the run ends. On an error before it begins
    /// `source` comes back.
    pub fn run(&self, source: Box<dyn Source>) -> Result<End, (Box<dyn Source>, Error)> {
        self.run_over(source, system::for_few())
    }

    /// The same, with a clock and a sleep of its own.
    pub fn run_over(&self, source: Box<dyn Source>, driver: Box<dyn Driver>) -> Result<End, (Box<dyn Source>, Error)> {
        let mut state = self.state.lock();
        let source = self.check_can_begin(&state, "run", source)?;
        let setup = begin(&mut state, None);
        drop(state);
        let (reactor, callbacks) = self.prepare(setup, source, driver);
        let link = Arc::clone(&self.link);
        drive(reactor, &callbacks, &link);
        Ok(link.acks.ended().unwrap_or(End::Stopped))
    }

    fn check_can_begin(
        &self,
        state: &State,
        call: &'static str,
        source: Box<dyn Source>,
    ) -> Result<Box<dyn Source>, (Box<dyn Source>, Error)> {
        let reason = match state {
            _ if self.link.is_stopping() => "the runner has been stopped",
            State::Started { .. } => "the runner has been started before",
            State::New(_) => return Ok(source),
        };
        Err((source, Error::WrongState { call, reason }))
    }

    /// A loop with this runner's session in it, and what it tells the host. Calls the host: its channel is asked whether
    /// it is open, and what comes to nothing is closed and dropped.
    fn prepare(
        &self,
        setup: Setup,
        source: Box<dyn Source>,
        driver: Box<dyn Driver>,
    ) -> (Reactor, Weak<dyn Callbacks>) {
        let unprepared = Unprepared(&self.link);
        let prepared = self.calling_the_host(|| self.put_together(setup, source, driver));
        std::mem::forget(unprepared);
        prepared
    }

    fn put_together(
        &self,
        Setup { channel, functions }: Setup,
        source: Box<dyn Source>,
        mut driver: Box<dyn Driver>,
    ) -> (Reactor, Weak<dyn Callbacks>) {
        failpoint("prepare");
        let functions: Arc<dyn Callbacks> = Arc::new(functions);
        let told = Arc::downgrade(&functions);
        if let Some(origin) = source.origin() {
            self.origin.get_or_init(|| origin);
        }
        let now = driver.now();
        let wakeups = Arc::clone(self.link.waker.wakeups());
        let mut reactor = Reactor::new(driver, wakeups, self.options.reactor());
        match channel.into_transport(self.threads()) {
            Ok((transport, arrived)) => {
                let mut session = self.session(transport, source, functions, now);
                session.arrived(arrived);
                reactor.add(Box::new(session));
            }
            Err(error) => {
                let end = match error {
                    Error::ChannelClosed => End::ClosedByPeer(Closing::Finished),
                    other => End::Failed(other),
                };
                reactor.add(Box::new(Stillborn { link: Arc::clone(&self.link), callbacks: functions, end }));
            }
        }
        (reactor, told)
    }

    fn threads(&self) -> Threads {
        self.options.threads(Arc::as_ptr(&self.link).addr())
    }

    /// Does what may call a function of the host on this runner's behalf: with no lock held, so that it can ask for
    /// everything, and from inside the run, so that it cannot wait for what waits for it.
    fn calling_the_host<T>(&self, body: impl FnOnce() -> T) -> T {
        while_inside(Arc::as_ptr(&self.link).addr(), body)
    }

    fn session(
        &self,
        transport: Box<dyn Transport>,
        source: Box<dyn Source>,
        functions: Arc<dyn Callbacks>,
        now: Instant,
    ) -> Session {
        Session::new(
            Stream::new(self.start_vlsn, self.options.stream()),
            transport,
            Box::new(OwnFeed::new(source, self.options.chunks())),
            Arc::clone(&self.link),
            functions,
            self.options.session(),
            now,
        )
    }

    /// The acks, and how the run ended.
    pub fn acks(&self) -> &Acks {
        &self.link.acks
    }

    /// Waits until the replica has acknowledged `vlsn` or more. An error for a VLSN below the start: the run will
    /// never send it.
    pub fn wait_acked(&self, vlsn: u64, deadline: Deadline) -> Result<Waited> {
        if vlsn < self.start_vlsn.max(1) {
            let reason = format!("{vlsn} is below {}, where the run starts", self.start_vlsn.max(1));
            return Err(Error::invalid("vlsn", reason));
        }
        self.refuse_waiting_inside("wait_acked", deadline)?;
        Ok(self.link.acks.wait_acked(vlsn, deadline))
    }

    /// Says that the log has more. Never blocks.
    pub fn notify(&self) {
        match self.origin.get() {
            Some(origin) => origin.notify(),
            None => self.link.waker.wake(),
        }
    }

    /// What is read from, once the run has begun to read something that tells when there is more: a log.
    pub fn origin(&self) -> Option<&dyn Origin> {
        self.origin.get().map(|origin| &**origin)
    }

    /// The replica's name.
    pub fn replica_name(&self) -> &CStr {
        self.link.replica_name()
    }

    /// What the run is doing.
    pub fn state(&self) -> states::State {
        match self.link.acks.ended() {
            Some(end) => end.state(),
            None if self.is_started() => states::run::RUNNING,
            None => states::run::NEW,
        }
    }

    /// The figures.
    pub fn snapshot(&self) -> Snapshot {
        self.link.snapshot()
    }

    /// The longest time that the host took for one delivery of acks.
    pub fn callback_longest(&self) -> Duration {
        self.link.callback_longest()
    }

    /// Whether the run has begun.
    pub fn is_started(&self) -> bool {
        matches!(*self.state.lock(), State::Started { .. })
    }

    /// Ends the run, and waits until no function of the host is called any more. False: not in time; it is still
    /// ending. An error from inside a function of the host, which would wait for itself.
    pub fn stop(&self, deadline: Deadline) -> Result<bool> {
        self.refuse_waiting_inside("stop", deadline)?;
        self.begin_to_stop();
        Ok(self.link.acks.wait_finished(deadline))
    }

    /// The same for many at once: all are told to end before any is waited for. An error, with the name of the replica
    /// and no run ended, from inside a function that one of them has called.
    pub fn stop_all(runners: &[Arc<Runner>], deadline: Deadline) -> Result<bool, (CString, Error)> {
        for runner in runners {
            let allowed = runner.refuse_waiting_inside("stop_all", deadline);
            allowed.map_err(|error| (runner.replica_name().to_owned(), error))?;
        }
        runners.iter().for_each(|runner| runner.begin_to_stop());
        Ok(runners.iter().all(|runner| runner.link.acks.wait_finished(deadline)))
    }

    fn begin_to_stop(&self) {
        let state = self.state.lock();
        self.link.stop();
        if matches!(*state, State::New(_)) {
            // There will be no run: whoever waits for it is told.
            self.link.acks.end(End::Stopped);
            self.link.acks.finish();
        }
    }

    /// Refuses a call from a function of the host that would wait for that function to return.
    pub fn refuse_waiting_inside(&self, call: &'static str, deadline: Deadline) -> Result<()> {
        let waits = deadline.instant().is_none_or(|at| at > Instant::now());
        if waits { self.refuse_inside(call) } else { Ok(()) }
    }

    fn refuse_inside(&self, call: &'static str) -> Result<()> {
        if is_inside(Arc::as_ptr(&self.link).addr()) { Err(Error::InsideCallback { call }) } else { Ok(()) }
    }

    /// In a forked child: closes the descriptors that the child has of this run, and does nothing else.
    pub fn close_in_child(&self) {
        self.link.close_in_child();
        crate::sys::fork::close_inherited([self.link.waker.wakeups().inherited_fd()]);
    }

    /// Ends the run and lets go of everything. When this returns OK, the functions' contexts are gone.
    pub fn dispose(&self) -> Result<()> {
        self.refuse_inside("free")?;
        self.stop(Deadline::Never)?;
        let state = std::mem::replace(&mut *self.state.lock(), State::Started { thread: None });
        match state {
            State::New(setup) => self.calling_the_host(|| drop(setup)),
            State::Started { thread: Some(thread) } => {
                // Its body catches every panic.
                let _ = thread.join();
            }
            State::Started { thread: None } => {}
        }
        Ok(())
    }
}

/// From now on the run has begun, on `thread` if that is its own.
fn begin(state: &mut State, thread: Option<JoinHandle<()>>) -> Setup {
    match std::mem::replace(state, State::Started { thread }) {
        State::New(setup) => setup,
        State::Started { .. } => unreachable!("checked before"),
    }
}

/// A run that is being put together. If that fails by a panic there will be no loop to end it, and who waits for the
/// end must not wait forever.
struct Unprepared<'a>(&'a Link);

impl Drop for Unprepared<'_> {
    fn drop(&mut self) {
        self.0.acks.end(End::Failed(Error::Panicked("the run could not begin".into())));
        self.0.acks.finish();
    }
}

/// Runs the loop. A panic in it ends the run as an error, like any other failure.
fn drive(mut reactor: Reactor, callbacks: &Weak<dyn Callbacks>, link: &Arc<Link>) {
    let inside = Arc::as_ptr(link).addr();
    let run = || while_inside(inside, || reactor.run());
    let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return };
    let error = Error::Panicked(panic_text(&*panic));
    let end = End::Failed(error.clone());
    // What the loop held may be half-changed: the host is told, and then it is only dropped.
    let say_it = || link.say(Level::Error, format_args!("the run failed: {error}"));
    let _ = catch_unwind(AssertUnwindSafe(|| while_inside(inside, say_it)));
    link.note_ended(Instant::now());
    link.acks.end(end.clone());
    let tell = || while_inside(inside, || callbacks.upgrade().inspect(|callbacks| callbacks.ended(&end)));
    let told = catch_unwind(AssertUnwindSafe(tell));
    // A child that is forked from now on must not close what has the connection's number by then.
    link.set_inherited_fd(None);
    // Inside, too: closing the channel and dropping the source calls the host.
    let _ = catch_unwind(AssertUnwindSafe(|| while_inside(inside, || drop((told, reactor)))));
    link.acks.finish();
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::source::host::{Supplied, SuppliedSource, Supply};
    use crate::transport::Received;
    use crate::transport::local::{LocalChannel, LocalOptions, local_pair};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn generous() -> Deadline {
        Deadline::At(Instant::now() + PATIENCE)
    }

    fn at_once() -> Deadline {
        Deadline::At(Instant::now())
    }

    /// Has VLSNs up to one, and then nothing yet; says when it is dropped.
    struct UpTo(u64, #[expect(dead_code, reason = "whoever listens learns that it is dropped")] Option<LastWord>);

    struct LastWord(std::sync::mpsc::Sender<()>);

    impl Drop for LastWord {
        fn drop(&mut self) {
            // Who asked may not listen any more.
            let _ = self.0.send(());
        }
    }

    impl Supply for UpTo {
        fn supply(&mut self, from_vlsn: u64) -> Result<Option<Supplied<'_>>> {
            let vlsn = from_vlsn.max(1);
            Ok((vlsn <= self.0).then_some(Supplied { vlsn, lsn: 0, entry_type: 13, payload: b"payload" }))
        }
    }

    fn source(last: u64) -> Box<dyn Source> {
        Box::new(SuppliedSource::new(UpTo(last, None), true))
    }

    fn source_with_a_last_word() -> (Box<dyn Source>, Receiver<()>) {
        let (said, is_said) = channel();
        (Box::new(SuppliedSource::new(UpTo(0, Some(LastWord(said))), true)), is_said)
    }

    fn runner(start_vlsn: u64) -> (Arc<Runner>, LocalChannel) {
        let (ours, theirs) = local_pair(LocalOptions { queue_bytes_max: 1 << 20, write_timeout: PATIENCE });
        let runner = Runner::new(Box::new(ours), c"r".to_owned(), start_vlsn, Options::default());
        (Arc::new(runner.map_err(|(_, error)| error).unwrap()), theirs)
    }

    fn reason<T>(refused: Result<T, (Box<dyn Source>, Error)>) -> &'static str {
        match refused.map(|_| ()).map_err(|(_, error)| error) {
            Err(Error::WrongState { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Takes frames and acknowledges them, up to `last`.
    fn acknowledge(replica: &LocalChannel, last: u64) {
        let mut buffer = [0; 1000];
        for vlsn in 1..=last {
            let received = replica.receive(&mut buffer, Some(Instant::now() + PATIENCE)).unwrap();
            assert!(matches!(received, Received::Message(_)), "{received:?} instead of VLSN {vlsn}");
            replica.send(&vlsn.to_le_bytes()).unwrap();
        }
    }

    #[test]
    fn it_runs_once_and_whoever_is_refused_keeps_the_source() {
        let (runner, replica) = runner(1);
        assert_eq!((runner.state(), runner.is_started()), (states::run::NEW, false));
        runner.start(source(3)).map_err(|(_, error)| error).unwrap();
        assert_eq!(reason(runner.start(source(3))), "the runner has been started before");
        assert_eq!(reason(runner.run(source(3))), "the runner has been started before");
        acknowledge(&replica, 3);
        assert_eq!(runner.wait_acked(3, generous()), Ok(Waited::Acked));
        assert_eq!(runner.state(), states::run::RUNNING);
        assert_eq!(runner.stop(generous()), Ok(true));
        assert_eq!(runner.state(), states::run::STOPPED);
        assert_eq!(runner.wait_acked(4, generous()), Ok(Waited::Ended(End::Stopped)));
        let (source, is_dropped) = source_with_a_last_word();
        let Err((kept, _)) = runner.start(source) else { panic!("it runs again") };
        assert!(is_dropped.try_recv().is_err(), "it was not the runner's to drop");
        drop(kept);
    }

    #[test]
    fn one_that_was_stopped_before_it_began_never_begins_and_nobody_waits_for_it() {
        let (runner, replica) = runner(1);
        let waiting = {
            let runner = Arc::clone(&runner);
            std::thread::spawn(move || runner.wait_acked(1, generous()))
        };
        assert_eq!(runner.stop(Deadline::Never), Ok(true));
        assert_eq!(waiting.join().unwrap(), Ok(Waited::Ended(End::Stopped)));
        assert_eq!(reason(runner.start(source(1))), "the runner has been stopped");
        assert_eq!(reason(runner.run(source(1))), "the runner has been stopped");
        assert_eq!(runner.dispose(), Ok(()));
        assert!(!replica.is_open(), "its channel went with it");
    }

    #[test]
    fn a_peer_that_closed_before_it_began_is_how_it_ends_and_what_it_had_is_let_go_of() {
        let (runner, replica) = runner(1);
        let (ended, is_ended) = channel();
        runner
            .set_end_function(Box::new(move |name, end| ended.send((name.to_owned(), end.clone())).unwrap()))
            .unwrap();
        replica.close();
        let (source, is_dropped) = source_with_a_last_word();
        runner.start(source).map_err(|(_, error)| error).unwrap();
        let end = End::ClosedByPeer(Closing::Finished);
        assert_eq!(is_ended.recv_timeout(PATIENCE), Ok((c"r".to_owned(), end.clone())));
        assert_eq!(runner.wait_acked(1, generous()), Ok(Waited::Ended(end)));
        assert_eq!(is_dropped.recv_timeout(PATIENCE), Ok(()));
        let closed = Runner::new(Box::new(replica), c"r".to_owned(), 1, Options::default());
        assert_eq!(closed.err().map(|(_, error)| error), Some(Error::ChannelClosed));
    }

    #[test]
    fn functions_are_set_before_it_begins_or_not_at_all() {
        let (runner, replica) = runner(1);
        let (acked, is_acked) = channel();
        let unused: AckFunction = Box::new(|_, _| panic!("it was replaced"));
        runner.set_ack_function(unused).unwrap();
        runner.set_ack_function(Box::new(move |_, vlsn| acked.send(vlsn).unwrap())).unwrap();
        runner.start(source(2)).map_err(|(_, error)| error).unwrap();
        for refused in [
            runner.check_can_set("set"),
            runner.set_ack_function(Box::new(|_, _| ())),
            runner.set_end_function(Box::new(|_, _| ())),
        ] {
            assert!(matches!(refused, Err(Error::WrongState { .. })), "{refused:?}");
        }
        acknowledge(&replica, 2);
        assert_eq!([is_acked.recv_timeout(PATIENCE), is_acked.recv_timeout(PATIENCE)], [Ok(1), Ok(2)]);
        assert_eq!(runner.stop(generous()), Ok(true));
    }

    #[test]
    fn an_ack_for_what_will_never_be_sent_is_not_waited_for() {
        for (start, below) in [(0, 0), (1, 0), (5, 4)] {
            let (runner, _replica) = runner(start);
            let refused = runner.wait_acked(below, Deadline::Never).unwrap_err();
            assert!(matches!(&refused, Error::InvalidArgument { parameter: "vlsn", .. }), "{refused}");
            assert_eq!(runner.wait_acked(start.max(1), at_once()), Ok(Waited::TimedOut));
        }
    }

    #[test]
    fn what_would_wait_for_its_own_function_is_refused_and_what_only_looks_is_not() {
        let (runner, replica) = runner(1);
        let (asked, is_asked) = channel();
        let inside = Arc::downgrade(&runner);
        let function = move |_: &CStr, _: u64| {
            let runner = inside.upgrade().unwrap();
            let waits = [runner.stop(Deadline::Never), runner.wait_acked(9, generous()).map(|_| true)];
            let tries = runner.wait_acked(9, at_once());
            let all = Runner::stop_all(&[Arc::clone(&runner)], Deadline::Never);
            asked.send((waits, tries, all, runner.dispose())).unwrap();
        };
        runner.set_ack_function(Box::new(function)).unwrap();
        runner.start(source(1)).map_err(|(_, error)| error).unwrap();
        acknowledge(&replica, 1);
        let (waits, tries, all, disposed) = is_asked.recv_timeout(PATIENCE).unwrap();
        let refused = |call| Error::InsideCallback { call };
        assert_eq!(waits, [Err(refused("stop")), Err(refused("wait_acked"))]);
        assert_eq!(tries, Ok(Waited::TimedOut));
        assert_eq!(all, Err((c"r".to_owned(), refused("stop_all"))));
        assert_eq!(disposed, Err(refused("free")));
        assert_eq!(runner.state(), states::run::RUNNING, "and nothing came of it");
        assert_eq!(runner.dispose(), Ok(()));
    }

    #[test]
    fn a_panic_in_a_source_is_how_the_run_ends_also_for_those_who_wait() {
        struct Panics;
        impl Supply for Panics {
            fn supply(&mut self, _: u64) -> Result<Option<Supplied<'_>>> {
                panic!("on purpose")
            }
        }
        let (runner, replica) = runner(1);
        let (ended, is_ended) = channel();
        runner.set_end_function(Box::new(move |_, end| ended.send(end.clone()).unwrap())).unwrap();
        runner.start(Box::new(SuppliedSource::new(Panics, true))).map_err(|(_, error)| error).unwrap();
        let end = is_ended.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(&end, End::Failed(Error::Panicked(text)) if text.contains("on purpose")), "{end:?}");
        assert_eq!(runner.wait_acked(1, generous()), Ok(Waited::Ended(end)));
        assert!(runner.acks().wait_finished(generous()));
        assert!(!replica.is_open());
        assert_eq!(runner.stop(generous()), Ok(true), "it has ended already");
    }
}
