//! A connection before it is a stream, or which never becomes one: finds out what it is for and who it is, and drives the
//! service's machine.

use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Peer, Purpose};
use super::dispatcher::Inquiry;
use super::events::Kind;
use super::feeding;
use super::refusal::Refusal;
use super::shared::Shared;
use crate::acks::End;
use crate::log::copy::Copy;
use crate::runtime::task::{Step, Task};
use crate::session::service::greeting::Greeted;
use crate::session::service::machine::Machine;
use crate::session::service::{Election, Greeting, PeerFeeder, Restore, ServiceError, Syncup, Turn};
use crate::session::{Scratch, Wants};
use crate::sys::poll::Interest;
use crate::sys::waker::Waker;
use crate::transport::socket::transport;
use crate::transport::{Transfer, Transport};
use crate::wire::service::Service;

/// How many bytes are received ahead of what a machine wants.
const AHEAD_MAX: usize = 4096;

/// How often it goes on within a turn, before others have theirs.
const ROUNDS_MAX: usize = 16;

enum Stage {
    Greeting(Greeting),
    /// The host is asked who it is.
    Asking {
        greeted: Greeted,
        inquiry: Arc<Inquiry>,
        until: Instant,
    },
    Serving(Box<dyn Machine>),
    /// All is said. What was sent last is not to be lost by a reset, so the replica is given the time to close first.
    Closing {
        until: Instant,
    },
}

/// How it ended.
enum Over {
    /// As it should, or nothing came of it.
    Well,
    /// Not as it should.
    Refused(Refusal),
}

impl From<ServiceError> for Over {
    fn from(error: ServiceError) -> Over {
        Over::Refused(Refusal::Service(error))
    }
}

/// What came of a round.
enum Round {
    /// It may go on at once.
    Moved,
    /// The same, when others have had their turns: as much of the log was read as may be in one.
    Busy,
    /// Nothing can move now.
    Waits,
    /// The stream follows, from there on.
    Streams(u64),
}

/// See the module's comment.
pub(super) struct Conversation {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    waker: Arc<Waker>,
    /// None when the stream has it.
    transport: Option<Box<dyn Transport>>,
    stage: Stage,
    /// What has arrived and is not wanted yet.
    ahead: Vec<u8>,
    /// The replica sends nothing more.
    is_closed: bool,
    /// It is known under its name as one that is fed.
    has_joined: bool,
    refusal: Option<Refusal>,
}

/// Takes in a connection that was made by the other side. If nothing comes of it, its socket comes back.
pub(super) fn take_in(
    shared: &Arc<Shared>,
    socket: OwnedFd,
    peer: Peer,
    now: Instant,
) -> Result<(), (OwnedFd, Refusal)> {
    if let Err(error) = shared.options.socket.prepare(socket.as_fd()) {
        return Err((socket, Refusal::Failed(error)));
    }
    let options = shared.options.socket;
    take_in_over(shared, socket, peer, now, |socket| transport(socket, options))
}

/// The same for whatever becomes a transport.
pub(super) fn take_in_over<T>(
    shared: &Arc<Shared>,
    made: T,
    peer: Peer,
    now: Instant,
    transport: impl FnOnce(T) -> Box<dyn Transport>,
) -> Result<(), (T, Refusal)> {
    let Some((at, handle)) = shared.some_loop() else { return Err((made, Refusal::Stopped)) };
    let connection = match shared.register.admit(peer, at, now) {
        Ok(connection) => connection,
        Err(refusal) => return Err((made, refusal)),
    };
    let waker = Arc::new(handle.waker());
    connection.set_waker(Arc::clone(&waker));
    let transport = transport(made);
    connection.socket.set(transport.inherited_fd());
    let conversation = Conversation::new(shared, connection, waker, transport, now);
    shared.hand_over(handle, Box::new(conversation), now);
    Ok(())
}

impl Conversation {
    /// With whoever has just connected.
    fn new(
        shared: &Arc<Shared>,
        connection: Arc<Connection>,
        waker: Arc<Waker>,
        transport: Box<dyn Transport>,
        now: Instant,
    ) -> Conversation {
        let greeting = Greeting::new(shared.offers(), shared.options.name_limit, now);
        Conversation {
            shared: Arc::clone(shared),
            connection,
            waker,
            transport: Some(transport),
            stage: Stage::Greeting(greeting),
            ahead: Vec::new(),
            is_closed: false,
            has_joined: false,
            refusal: None,
        }
    }

    fn move_on(&mut self, now: Instant, scratch: &mut Scratch) -> Result<Round, Over> {
        for _ in 0..ROUNDS_MAX {
            if self.connection.is_ending() {
                return Err(self.connection.ends_for().map_or(Over::Well, Over::Refused));
            }
            self.receive(scratch)?;
            let round = match &mut self.stage {
                Stage::Greeting(_) => self.greet(now)?,
                Stage::Asking { .. } => self.ask(now)?,
                Stage::Serving(_) => self.serve(now)?,
                Stage::Closing { until } => {
                    self.ahead.clear();
                    if self.is_closed || now >= *until {
                        return Err(Over::Well);
                    }
                    Round::Waits
                }
            };
            if !matches!(round, Round::Moved) {
                return Ok(round);
            }
        }
        Ok(Round::Moved)
    }

    fn transport(&mut self) -> &mut dyn Transport {
        &mut **self.transport.as_mut().expect("the stream has it only when this is over")
    }

    /// Receives what is there, as far as there is room for it.
    fn receive(&mut self, scratch: &mut Scratch) -> Result<(), Over> {
        self.transport().drive();
        while !self.is_closed && self.ahead.len() < AHEAD_MAX {
            let room = AHEAD_MAX - self.ahead.len();
            let into = scratch.received(room);
            match self.transport.as_mut().map(|transport| transport.receive(into)) {
                Some(Transfer::Moved(count)) => self.ahead.extend_from_slice(&into[..count]),
                Some(Transfer::Closed(_)) => self.is_closed = true,
                Some(Transfer::Failed(error)) => return Err(Over::Refused(Refusal::Failed(error))),
                Some(Transfer::Again) | None => break,
            }
        }
        Ok(())
    }

    fn greet(&mut self, now: Instant) -> Result<Round, Over> {
        let Stage::Greeting(greeting) = &mut self.stage else { return Ok(Round::Waits) };
        let arrived = std::mem::take(&mut self.ahead);
        let Some(greeted) = greeting.turn(&arrived, now)? else {
            if self.is_closed {
                greeting.closed()?;
                return Err(Over::Well);
            }
            return Ok(Round::Waits);
        };
        let purpose = purpose_of(greeted);
        self.connection.set_purpose(purpose);
        self.shared.register.note_greeted(&self.connection);
        let greeting = std::mem::replace(&mut self.stage, Stage::Closing { until: now });
        if let Stage::Greeting(greeting) = greeting {
            self.ahead = greeting.into_rest();
        }
        if self.shared.dispatcher.identifies() {
            let inquiry = self.shared.dispatcher.ask(&self.connection, purpose);
            let until = now + self.shared.options.step_limit.0;
            self.stage = Stage::Asking { greeted, inquiry, until };
        } else {
            let name = match self.connection.peer.address {
                Some(_) => self.connection.peer.text.clone(),
                None => CString::new(format!("local-{}", self.connection.id)).unwrap_or_default(),
            };
            self.begin(greeted, name, now);
        }
        Ok(Round::Moved)
    }

    fn ask(&mut self, now: Instant) -> Result<Round, Over> {
        let Stage::Asking { greeted, inquiry, until } = &self.stage else { return Ok(Round::Waits) };
        let (greeted, until) = (*greeted, *until);
        match inquiry.take_answer() {
            Some(Ok(Some(name))) => {
                self.begin(greeted, name, now);
                Ok(Round::Moved)
            }
            Some(Ok(None)) => Err(Over::Refused(Refusal::ByHost)),
            Some(Err(error)) => Err(Over::Refused(Refusal::Failed(error))),
            None if now >= until => Err(Over::Refused(Refusal::NotNamed)),
            // It may have said all that it wants to say.
            None => Ok(Round::Waits),
        }
    }

    /// It is known what it wants and who it is.
    fn begin(&mut self, greeted: Greeted, name: CString, now: Instant) {
        self.connection.set_name(name);
        let (log, options) = (&self.shared.log, &self.shared.options);
        let (limit, rate) = (options.step_limit, options.restore_rate);
        let arrived = std::mem::take(&mut self.ahead);
        let copy = || Copy::new(Arc::clone(log));
        let machine: Box<dyn Machine> = match greeted {
            Greeted::Service(Service::PeerFeeder) => {
                Box::new((PeerFeeder::new(limit, arrived, now), self.shared.range()))
            }
            Greeted::Service(Service::RepSyncup) => Box::new((Syncup::new(limit, arrived, now), self.shared.lookup())),
            Greeted::Service(Service::Restore) => Box::new((Restore::framed(limit, rate, arrived, now), copy())),
            Greeted::RawRestore => Box::new((Restore::raw(limit, rate), copy())),
            Greeted::Service(Service::Election) => {
                let name = self.shared.master_name();
                Box::new((Election::new(limit, &name, arrived, now), Arc::clone(log)))
            }
        };
        self.stage = Stage::Serving(machine);
    }

    fn serve(&mut self, now: Instant) -> Result<Round, Over> {
        // What has moved meanwhile counts before the time does: the loop may be late.
        let mut moved = false;
        self.send(now, &mut moved)?;
        self.give(&mut moved)?;
        let Stage::Serving(machine) = &mut self.stage else { return Ok(Round::Waits) };
        let turn = match machine.turn(now) {
            Ok(turn) => turn,
            Err(error) => {
                // What was answered before that is right all the same. It is little, so the system has room for it.
                let answered = machine.exchange().output();
                if !answered.is_empty()
                    && !matches!(error, ServiceError::NotTaken { .. })
                    && let Some(transport) = &mut self.transport
                {
                    transport.send(&[IoSlice::new(answered)]);
                }
                return Err(error.into());
            }
        };
        if let Some(progress) = machine.progress() {
            let is_first = self.connection.restored().files == 0 && progress.files > 0;
            self.connection.note_restored(progress);
            if is_first {
                self.shared.tell(Kind::Restoring, &self.connection);
            }
        }
        if matches!(turn, Turn::Streams(_)) && !self.has_joined {
            // Before the answer: who is told that it is served has its name.
            self.shared.register.join(&self.connection).map_err(Over::Refused)?;
            self.has_joined = true;
        }
        if self.send(now, &mut moved)? {
            match turn {
                Turn::Streams(start) => return Ok(Round::Streams(start)),
                Turn::Ends => {
                    self.say_how_it_ended();
                    self.transport().finish();
                    self.stage = Stage::Closing { until: now + self.shared.options.session.linger };
                    return Ok(Round::Moved);
                }
                Turn::Busy | Turn::Waits => {}
            }
            self.give(&mut moved)?;
        }
        Ok(match turn {
            Turn::Busy => Round::Busy,
            _ if moved => Round::Moved,
            _ => Round::Waits,
        })
    }

    /// Sends what the machine has to say. True: all of it is taken.
    fn send(&mut self, now: Instant, moved: &mut bool) -> Result<bool, Over> {
        let (Stage::Serving(machine), Some(transport)) = (&mut self.stage, &mut self.transport) else {
            return Ok(false);
        };
        while !machine.exchange().output().is_empty() {
            match transport.send(&[IoSlice::new(machine.exchange().output())]) {
                Transfer::Moved(count) => {
                    machine.exchange().note_sent(count, now);
                    *moved = true;
                }
                Transfer::Again => return Ok(false),
                Transfer::Closed(_) => {
                    machine.closed()?;
                    return Err(Over::Well);
                }
                Transfer::Failed(error) => return Err(Over::Refused(Refusal::Failed(error))),
            }
        }
        Ok(true)
    }

    /// Gives the machine what has arrived, if it wants that.
    fn give(&mut self, moved: &mut bool) -> Result<(), Over> {
        let Stage::Serving(machine) = &mut self.stage else { return Ok(()) };
        if machine.exchange().wants_bytes() {
            if !self.ahead.is_empty() {
                machine.exchange().receive(&self.ahead)?;
                self.ahead.clear();
                *moved = true;
            } else if self.is_closed {
                machine.closed()?;
                return Err(Over::Well);
            }
        }
        Ok(())
    }

    /// A service has said all that it had to say.
    fn say_how_it_ended(&self) {
        match self.connection.purpose() {
            // It does not end when it is served.
            Purpose::Stream => self.shared.tell(Kind::NeedsRestore, &self.connection),
            Purpose::Restore | Purpose::RawRestore => {
                let progress = self.connection.restored();
                if progress.files == 0 {
                    // Of a log without files it was not told that they are fetched: nothing showed that they were known.
                    self.shared.tell(Kind::Restoring, &self.connection);
                }
                self.shared.tell(Kind::Restored(progress.bytes_read), &self.connection);
            }
            Purpose::Unknown | Purpose::Syncup | Purpose::Election => {}
        }
    }

    /// The stream begins.
    fn become_a_stream(&mut self, start: u64, now: Instant) -> Step {
        let Stage::Serving(machine) = std::mem::replace(&mut self.stage, Stage::Closing { until: now }) else {
            return Step::Progress;
        };
        let mut arrived = machine.into_rest();
        arrived.append(&mut self.ahead);
        let transport = self.transport.take().expect("it is taken once");
        self.connection.socket.set(None);
        let mut session = feeding::session(&self.shared, &self.connection, transport, start, now);
        session.arrived(arrived);
        Step::Becomes(Box::new(session))
    }

    fn over(&mut self, over: Over) -> Step {
        if let Over::Refused(refusal) = over {
            self.refusal = Some(refusal);
        }
        Step::Ended(End::Stopped)
    }

    fn wants(&mut self) -> Wants {
        let read = !self.is_closed && self.ahead.len() < AHEAD_MAX;
        let (write, deadline) = match &mut self.stage {
            Stage::Greeting(greeting) => (false, Some(greeting.deadline())),
            Stage::Asking { until, .. } | Stage::Closing { until } => (false, Some(*until)),
            Stage::Serving(machine) => (!machine.exchange().output().is_empty(), machine.deadline()),
        };
        Wants { interest: Interest { read, write }, deadline }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Before the socket is closed, which comes next.
        self.connection.socket.set(None);
    }
}

fn purpose_of(greeted: Greeted) -> Purpose {
    match greeted {
        Greeted::Service(Service::PeerFeeder) => Purpose::Stream,
        Greeted::Service(Service::RepSyncup) => Purpose::Syncup,
        Greeted::Service(Service::Restore) => Purpose::Restore,
        Greeted::Service(Service::Election) => Purpose::Election,
        Greeted::RawRestore => Purpose::RawRestore,
    }
}

impl Task for Conversation {
    fn waker(&self) -> &Waker {
        &self.waker
    }

    fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Step {
        match self.move_on(now, scratch) {
            Ok(Round::Moved | Round::Busy) => Step::Progress,
            Ok(Round::Streams(start)) => self.become_a_stream(start, now),
            Ok(Round::Waits) => {
                let wants = self.wants();
                if wants.interest.read {
                    // A real replica writes a request in pieces, and holds the next one back until this one is confirmed.
                    self.transport().hasten_answers(false);
                }
                Step::Blocked(wants)
            }
            Err(over) => self.over(over),
        }
    }

    fn wait_on(&self, interest: Interest) -> Option<(RawFd, Interest)> {
        // A connection that was reset is ready for ever, and not to be asked while nothing is wanted of it.
        let is_wanted = interest.read || interest.write;
        self.transport.as_ref().filter(|_| is_wanted).map(|transport| transport.wait_on(interest))
    }

    fn end(self: Box<Self>, end: End, _: Instant) {
        let refusal = match end {
            End::Failed(error) => Some(Refusal::Failed(error)),
            _ => self.refusal.clone().filter(|refusal| *refusal != Refusal::Stopped),
        };
        self.shared.register.leave(&self.connection);
        if let Some(refusal) = refusal {
            self.shared.note_refused(refusal, &self.connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::Log;
    use crate::options::Options;
    use crate::session::service::exchange::{Exchange, StepLimit};
    use crate::session::service::restore::Progress;
    use crate::transport::Closing;

    /// Has read as much as it may each time, and counts its turns.
    struct Reading(Exchange, Arc<std::sync::atomic::AtomicU64>);

    impl Machine for Reading {
        fn exchange(&mut self) -> &mut Exchange {
            &mut self.0
        }

        fn turn(&mut self, _: Instant) -> Result<Turn, ServiceError> {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Turn::Busy)
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn closed(&self) -> Result<(), ServiceError> {
            Ok(())
        }

        fn progress(&self) -> Option<Progress> {
            None
        }

        fn into_rest(self: Box<Self>) -> Vec<u8> {
            Vec::new()
        }
    }

    /// A connection on which nothing happens.
    struct Quiet;

    impl Transport for Quiet {
        fn send(&mut self, _: &[IoSlice<'_>]) -> Transfer {
            Transfer::Closed(Closing::Finished)
        }

        fn receive(&mut self, _: &mut [u8]) -> Transfer {
            Transfer::Again
        }

        fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
            (7, interest)
        }

        fn finish(&mut self) {}
    }

    #[test]
    fn what_may_be_read_in_a_turn_is_read_once_in_it() {
        let (dir, options, now) = (tempfile::tempdir().unwrap(), Options::default(), Instant::now());
        let log = Log::open(dir.path(), options.scanner(), None).unwrap();
        let shared = Arc::new(Shared::new(log, options.server()));
        let connection = Arc::new(Connection::new(1, Peer::of_tests("192.0.2.1:1000"), 0, now));
        let waker = Arc::new(crate::sys::waker::Wakeups::new().unwrap().waker());
        let mut conversation = Conversation::new(&shared, connection, waker, Box::new(Quiet), now);
        let turns = Arc::default();
        let exchange = Exchange::new("a service", StepLimit(Duration::from_secs(1)), Vec::new());
        conversation.stage = Stage::Serving(Box::new(Reading(exchange, Arc::clone(&turns))));
        for turn in 1..=3 {
            let step = conversation.turn(now, &mut Scratch::default());
            assert!(matches!(step, Step::Progress), "it has more to do");
            assert_eq!(turns.load(std::sync::atomic::Ordering::Relaxed), turn);
        }
    }
}
