//! The program that has the server in it: it takes connections in, names replicas, hears what happens, and ends some or all.

use std::ffi::CString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use noxu_feeder::acks::{Deadline, End};
use noxu_feeder::error::Error;
use noxu_feeder::server::Server;
use noxu_feeder::server::connection::{Peer as Address, Purpose};
use noxu_feeder::server::events::{Event, Kind, Polled};
use noxu_feeder::server::refusal::Refusal;
use noxu_feeder::session::service::ServiceError;
use noxu_feeder::transport::{Closing, Transport};

use crate::judge::Met;
use crate::peer::Want;
use crate::pipe::SimTransport;
use crate::rng::Rng;
use crate::world::{Conn, DAY, Shared, World};

/// The port of the first peer.
const PORT: u16 = 1000;

/// After so many of its turns in which all are done, the host stops the server.
const IDLE_TURNS: u64 = 5;

/// See the module's comment.
pub(crate) struct Host {
    pub(crate) server: Option<Arc<Server>>,
    pub(crate) identifies: bool,
    hears: Hears,
    /// How seldom it has its functions called, notifies, and disconnects somebody.
    call_odds: u64,
    ring_odds: u64,
    disconnect_odds: u64,
    /// In how many of its turns it stops the server.
    stops_in: Option<u64>,
    idle_turns: u64,
    pub(crate) stopped_at: Option<Duration>,
    pub(crate) gives_up: bool,
    lost: u64,
}

/// How it hears what has happened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hears {
    ByPolling,
    ByFunction,
    /// It does not ask before the end.
    AtTheEnd,
}

/// What the host knows of a connection, and has been told of it.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its name, if the host gives it one; `None` turns it away.
    name: Option<CString>,
    /// When it was asked for that.
    pub(crate) named_at: Option<Duration>,
    pub(crate) is_disconnected: bool,
    joined: u32,
    acked: Option<u64>,
    is_caught_up: bool,
    is_stalled: bool,
    needs_restore: u32,
    restoring: u32,
    restored: Option<u64>,
    refused: Option<Refusal>,
    ended: Option<End>,
}

impl Told {
    pub(crate) fn draw(rng: &mut Rng) -> Told {
        let name = rng.pick(&["a", "a", "b", "c", "d", "e", "f", ""]);
        Told {
            name: CString::new(name).ok().filter(|name| !name.is_empty()),
            named_at: None,
            is_disconnected: false,
            joined: 0,
            acked: None,
            is_caught_up: false,
            is_stalled: false,
            needs_restore: 0,
            restoring: 0,
            restored: None,
            refused: None,
            ended: None,
        }
    }
}

impl Host {
    pub(crate) fn draw(rng: &mut Rng) -> Host {
        Host {
            server: None,
            identifies: rng.one_in(2),
            hears: rng.pick(&[Hears::ByPolling, Hears::ByPolling, Hears::ByFunction, Hears::AtTheEnd]),
            call_odds: rng.pick(&[1, 2, 20]),
            ring_odds: rng.pick(&[0, 0, 5]),
            disconnect_odds: rng.pick(&[0, 30]),
            stops_in: rng.one_in(4).then(|| rng.below(60)),
            idle_turns: 0,
            stopped_at: None,
            gives_up: false,
            lost: 0,
        }
    }

    fn address(at: usize) -> Address {
        Address::new(Some(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), PORT + at as u16))))
    }

    /// Which connection is from there.
    pub(crate) fn conn_of(peer: &Address) -> Option<usize> {
        peer.address.map(|address| usize::from(address.port() - PORT))
    }
}

impl World {
    /// Before the server begins.
    pub(crate) fn prepare(shared: &Shared, server: &Arc<Server>) -> noxu_feeder::Result<()> {
        let mut world = shared.lock().expect("nobody panics with it");
        world.host.server = Some(Arc::clone(server));
        let (identifies, hears, elects) = (world.host.identifies, world.host.hears, world.limits.elects);
        drop(world);
        if elects {
            server.answer_elections("master")?;
        }
        server.set_functions("test", |functions| {
            if identifies {
                let named = Arc::clone(shared);
                functions.identify = Some(Box::new(move |peer, purpose| Ok(World::identify(&named, peer, purpose))));
            }
            if hears == Hears::ByFunction {
                let heard = Arc::clone(shared);
                functions.event = Some(Box::new(move |event| {
                    let mut world = heard.lock().expect("nobody panics with it");
                    world.seen.note(Met::EventsCalled);
                    world.hear(event);
                }));
            }
        })
    }

    fn identify(shared: &Shared, peer: &Address, purpose: Purpose) -> Option<CString> {
        let mut world = shared.lock().expect("nobody panics with it");
        let at = Host::conn_of(peer)?;
        let now = world.now;
        let conn = &mut world.conns[at];
        let (greeted_at, name) = (conn.greeted_at(), conn.told.name.clone());
        let is_right = match (&conn.peer.want, purpose) {
            (Want::Stream(_), Purpose::Stream)
            | (Want::Restore { is_framed: true, .. }, Purpose::Restore)
            | (Want::Restore { is_framed: false, .. }, Purpose::RawRestore)
            | (Want::Syncup(_), Purpose::Syncup)
            | (Want::Election { .. }, Purpose::Election) => true,
            (Want::Garbage, purpose) => purpose != Purpose::Unknown,
            _ => false,
        };
        let is_again = conn.told.named_at.replace(now).is_some();
        conn.is_stirred = true;
        if !is_right || is_again || greeted_at.is_none() {
            world.wrong(format!("the host was asked who {at} is, which wants {purpose:?}"));
        }
        world.seen.note(if greeted_at == Some(now) { Met::NamedAtOnce } else { Met::Named });
        world.note(format!("host: {at} is {name:?}"));
        name
    }

    /// The host does something. Its calls are made with no lock held, as from another thread.
    pub(crate) fn host_turn(shared: &Shared) {
        let mut world = shared.lock().expect("nobody panics with it");
        let Some(server) = world.host.server.clone() else { return };
        let coming: Vec<usize> = (0..world.conns.len()).filter(|&at| world.conns[at].adopted_at.is_none()).collect();
        let comes = if coming.is_empty() || world.rng.one_in(2) { None } else { Some(world.rng.index(coming.len())) };
        if let Some(at) = comes.map(|at| coming[at]) {
            drop(world);
            World::adopt(shared, &server, at);
            world = shared.lock().expect("nobody panics with it");
        }
        let World { host, rng, .. } = &mut *world;
        let calls = rng.one_in(host.call_odds);
        let rings = rng.one_in(host.ring_odds);
        let disconnects = rng.one_in(host.disconnect_odds);
        let room = 1 + rng.index(8);
        let hears = host.hears;
        if rings {
            world.stir(0);
        }
        drop(world);
        if calls {
            server.call_functions(Deadline::from_millis(0));
        }
        if rings {
            server.log().notify();
        }
        if hears == Hears::ByPolling {
            World::poll(shared, &server, room);
        }
        if disconnects {
            World::disconnect(shared, &server);
        }
        World::perhaps_stop(shared, &server);
    }

    /// Somebody comes.
    fn adopt(shared: &Shared, server: &Server, at: usize) {
        let listed = server.connections();
        let mut world = shared.lock().expect("nobody panics with it");
        let now = world.now;
        let crowd: Vec<usize> = listed
            .iter()
            .filter(|connection| connection.purpose() == Purpose::Unknown)
            .filter_map(|connection| Host::conn_of(&connection.peer))
            .collect();
        let is_stopped = world.host.stopped_at.is_some();
        let victim = crowd.first().copied().filter(|_| crowd.len() >= world.limits.greetings);
        let is_full = listed.len() - usize::from(victim.is_some()) >= world.limits.connections;
        if let Some(victim) = victim.filter(|_| !is_stopped) {
            world.conns[victim].is_crowded = true;
            world.conns[victim].is_stirred = true;
        }
        world.conns[at].adopted_at = Some(now);
        (world.conns[at].pipe.moved_at, world.conns[at].pipe.acked_at) = (now, now);
        let comes = format!("host: {at} comes, for {:?}", world.conns[at].peer.want);
        world.note(comes);
        let base = world.base;
        drop(world);
        let transport: Box<dyn Transport> = Box::new(SimTransport { shared: Arc::clone(shared), at });
        let taken = server.adopt_transport(transport, Host::address(at), base + now);
        let refused = taken.map_err(|(transport, error)| {
            drop(transport);
            error
        });
        let mut world = shared.lock().expect("nobody panics with it");
        match refused {
            Ok(()) if !is_full && !is_stopped => {}
            Err(Error::TooManyConnections { .. }) if is_full && !is_stopped => {
                world.seen.note(Met::TooMany);
                world.conns[at].is_turned_away = true;
            }
            Err(Error::WrongState { .. }) if is_stopped => {
                world.seen.note(Met::CameAfterStop);
                world.conns[at].is_turned_away = true;
            }
            other => world.wrong(format!("{at} came to {} others, and {other:?}", listed.len())),
        }
    }

    fn disconnect(shared: &Shared, server: &Server) {
        let world = &mut *shared.lock().expect("nobody panics with it");
        let names = [c"a", c"b", c"c"];
        let name: CString = if world.host.identifies {
            world.rng.pick(&names).to_owned()
        } else {
            let count = world.conns.len();
            Host::address(world.rng.index(count)).text
        };
        world.note(format!("host: disconnects {name:?}"));
        // Nothing can come in between: it is told under the lock that the host has asked for it.
        let found = server.replica(&name);
        let at = found.as_ref().and_then(|connection| Host::conn_of(&connection.peer));
        if server.disconnect(&name) != found.is_some() {
            world.wrong(format!("{name:?} is connected: {}", found.is_some()));
        }
        if let Some(at) = at {
            world.seen.note(Met::Disconnected);
            world.conns[at].told.is_disconnected = true;
            world.conns[at].is_stirred = true;
        }
    }

    fn perhaps_stop(shared: &Shared, server: &Server) {
        let mut world = shared.lock().expect("nobody panics with it");
        let all_done = (0..world.conns.len()).all(|at| world.is_done(at));
        let host = &mut world.host;
        host.idle_turns = if all_done { host.idle_turns + 1 } else { 0 };
        let is_time = match &mut host.stops_in {
            Some(0) => true,
            Some(turns) => {
                *turns -= 1;
                false
            }
            None => false,
        };
        let stops = is_time || host.idle_turns > IDLE_TURNS || host.gives_up;
        if !stops || host.stopped_at.is_some() {
            return;
        }
        let now = world.now;
        world.host.stopped_at = Some(now);
        world.note("host: stops".into());
        let World { conns, seen, .. } = &mut *world;
        let open = conns.iter().filter(|conn| conn.is_open()).count();
        if open > 2 {
            seen.note(Met::StoppedAmongMany);
        }
        if conns.iter().any(|conn| conn.is_open() && conn.greeted_at().is_none()) {
            seen.note(Met::StoppedInGreeting);
        }
        if conns.iter().any(|conn| conn.is_fed() && !conn.pipe.is_empty()) {
            seen.note(Met::StoppedWhileStreaming);
        }
        world.stir(0);
        drop(world);
        if server.stop(Deadline::from_millis(0)).is_err() {
            shared.lock().expect("nobody panics with it").wrong("it cannot be stopped".into());
        }
    }

    fn poll(shared: &Shared, server: &Server, most: usize) -> Polled {
        let mut events = Vec::new();
        let polled = server.events().poll(&mut events, most, Deadline::At(Instant::now()));
        let mut world = shared.lock().expect("nobody panics with it");
        events.iter().for_each(|event| world.hear(event));
        polled
    }

    /// The server has ended: the host hears what it has not heard yet.
    pub(crate) fn host_ends(shared: &Shared, server: &Server) {
        let mut world = shared.lock().expect("nobody panics with it");
        if world.host.stopped_at.is_none() {
            world.wrong("the loop has ended, and nobody has stopped it".into());
        }
        if world.host.hears == Hears::AtTheEnd {
            world.seen.note(Met::EventsPolledAtTheEnd);
        }
        let is_told = world.host.hears == Hears::ByFunction;
        drop(world);
        if is_told {
            while server.call_functions(Deadline::from_millis(0)) {}
        }
        while matches!(World::poll(shared, server, 8), Polled::Events(_)) {}
        let polled = World::poll(shared, server, 8);
        if polled != Polled::Ended {
            shared
                .lock()
                .expect("nobody panics with it")
                .wrong(format!("the server has ended, and a poll says {polled:?}"));
        }
    }

    // --- what the host hears ----------------------------------------------------------------------------------------

    fn hear(&mut self, event: &Event) {
        let at = event.connection.as_ref().and_then(|connection| Host::conn_of(&connection.peer));
        self.note(format!("told: {at:?} {:?}", event.kind));
        let Some(at) = at else {
            match event.kind {
                Kind::Lost(count) => {
                    self.host.lost += count;
                    self.seen.note(Met::EventsLost);
                }
                _ => self.wrong(format!("{:?} is told of nobody", event.kind)),
            }
            return;
        };
        if let Some(text) = self.what_is_wrong_with(at, &event.kind) {
            self.wrong(format!("{:?} of {at}: {text}", event.kind));
        }
    }

    fn what_is_wrong_with(&mut self, at: usize, kind: &Kind) -> Option<&'static str> {
        let has_lost = self.host.server.as_ref().is_some_and(|server| server.events().lost_in_all() > 0);
        let is_right = match kind {
            Kind::Refused(refusal) => self.is_right_refusal(at, refusal),
            Kind::Ended(end, why) => self.is_right_end(at, end, why.as_ref()),
            _ => true,
        };
        let acked = self.conns[at].pipe.acked;
        let conn = &mut self.conns[at];
        let told = &mut conn.told;
        if told.ended.is_some() || told.refused.is_some() {
            return Some("after its end");
        }
        match kind {
            Kind::Joined(start) => {
                told.joined += 1;
                let Want::Stream(stream) = &conn.peer.want else { return Some("it has not asked for it") };
                if told.joined > 1 || told.acked.is_some() || *start != stream.start.max(1) || !conn.pipe.is_stream() {
                    return Some("it cannot be");
                }
            }
            Kind::Acked(vlsn) => {
                let is_unexpected = told.joined == 0 && !has_lost;
                if is_unexpected || *vlsn > acked || told.acked.is_some_and(|before| before > *vlsn) {
                    return Some("it cannot be");
                }
                told.acked = Some(*vlsn);
                self.seen.note(Met::AcksTold);
            }
            Kind::CaughtUp | Kind::FellBehind => {
                let is_caught_up = *kind == Kind::CaughtUp;
                let was_caught_up = std::mem::replace(&mut told.is_caught_up, is_caught_up);
                self.seen.note(if is_caught_up { Met::CaughtUp } else { Met::FellBehind });
                if !has_lost && (was_caught_up == is_caught_up || told.joined == 0) {
                    return Some("it was told so before");
                }
            }
            Kind::Stalled(_) | Kind::GoesOn => {
                let is_stalled = *kind != Kind::GoesOn;
                let was_stalled = std::mem::replace(&mut told.is_stalled, is_stalled);
                self.seen.note(Met::Stalled);
                let is_possible = if is_stalled { self.settle < DAY } else { was_stalled || has_lost };
                if !is_possible || told.joined == 0 && !has_lost {
                    return Some("it cannot be");
                }
            }
            Kind::NeedsRestore => {
                told.needs_restore += 1;
                if told.needs_restore > 1 || conn.pipe.head != [1, 0, 0, 0, 1] {
                    return Some("it was not told so");
                }
            }
            Kind::Restoring => {
                told.restoring += 1;
                if told.restoring > 1 || !matches!(conn.peer.want, Want::Restore { .. }) {
                    return Some("it has not asked for it");
                }
            }
            Kind::Restored(bytes) => {
                let is_again = told.restored.replace(*bytes).is_some();
                if is_again || told.restoring == 0 && !has_lost || *bytes > conn.pipe.sent as u64 {
                    return Some("it cannot be");
                }
            }
            Kind::Refused(refusal) => {
                told.refused = Some(refusal.clone());
                if !is_right || told.joined > 0 {
                    return Some("there is no reason");
                }
                self.note_refusal(refusal);
            }
            Kind::Ended(end, _) => {
                told.ended = Some(end.clone());
                if !is_right || told.joined == 0 && !has_lost {
                    return Some("there is no reason");
                }
                self.note_end(end, kind);
            }
            Kind::LogBroken(_) | Kind::Lost(_) => return Some("it cannot be"),
        }
        None
    }

    fn note_refusal(&mut self, refusal: &Refusal) {
        self.seen.note(match refusal {
            Refusal::ByHost => Met::TurnedAwayByHost,
            Refusal::NameTaken => Met::NameTaken,
            Refusal::Crowded => Met::Crowded,
            Refusal::NotNamed => Met::NotNamed,
            Refusal::Service(ServiceError::Timeout { service: "a connection", .. }) => Met::SilentInName,
            Refusal::Service(ServiceError::Timeout { .. }) => Met::SilentInStep,
            Refusal::Service(ServiceError::NotTaken { .. }) => Met::NotTaken,
            Refusal::Service(ServiceError::Closed { .. }) => Met::ClosedInStep,
            Refusal::Service(ServiceError::Fault { .. }) => Met::Garbage,
            Refusal::Service(ServiceError::NotOffered { .. }) => Met::NotOffered,
            Refusal::Service(ServiceError::AheadOfLog { last: 0, .. }) => Met::AheadOfEmpty,
            Refusal::Service(ServiceError::AheadOfLog { .. }) => Met::Ahead,
            _ => return,
        });
    }

    fn note_end(&mut self, end: &End, kind: &Kind) {
        self.seen.note(match (end, kind) {
            (End::Failed(Error::AckBeyondSent { .. }), _) => Met::Liar,
            (End::Failed(Error::WriteTimeout { .. }), _) => Met::WriteTimeout,
            (End::Failed(Error::AckTimeout { .. }), _) => Met::AckTimeout,
            (_, Kind::Ended(_, Some(Refusal::Replaced))) => Met::Replaced,
            _ => return,
        });
    }

    /// Whether another of its name came.
    fn has_namesake(&self, at: usize) -> bool {
        let wants = |at: usize| self.host.identifies.then(|| self.conns[at].told.name.as_deref()).flatten();
        let is_one = |other: usize| {
            let Conn { peer, pipe, .. } = &self.conns[other];
            let has_asked = matches!(peer.want, Want::Stream(_)) && pipe.received_at(peer.request).is_some();
            other != at && has_asked && wants(other).is_some() && wants(other) == wants(at)
        };
        (0..self.conns.len()).any(is_one)
    }

    /// When that connection ended, for who hears that it has.
    fn ended_at(&self, at: usize) -> Duration {
        self.conns[at].pipe.dropped_at.unwrap_or(self.now)
    }

    fn is_right_refusal(&self, at: usize, refusal: &Refusal) -> bool {
        let (conn, ended_at, limits) = (&self.conns[at], self.ended_at(at), &self.limits);
        let pipe = &conn.pipe;
        let millis = |waited_ms: u64| Duration::from_millis(waited_ms);
        let service = match refusal {
            Refusal::ByHost => {
                return conn.told.is_disconnected || conn.told.named_at.is_some() && conn.told.name.is_none();
            }
            // Before it was answered.
            Refusal::Replaced => return limits.replaces && self.has_namesake(at) && !pipe.is_stream(),
            Refusal::NameTaken => return !limits.replaces && self.has_namesake(at),
            Refusal::Crowded => return conn.is_crowded,
            Refusal::NotNamed => {
                return self.host.identifies && conn.greeted_at().is_some_and(|at| ended_at >= at + limits.step);
            }
            Refusal::Stopped | Refusal::TooMany | Refusal::Failed(_) => return false,
            Refusal::Service(service) => service,
        };
        match service {
            ServiceError::Timeout { service: "a connection", waited_ms, .. } => {
                let since = conn.adopted_at.unwrap_or(self.now);
                millis(*waited_ms) >= limits.name && ended_at >= since + limits.name && conn.greeted_at().is_none()
            }
            ServiceError::Timeout { waited_ms, .. } => {
                let has_asked = pipe.received_at(conn.peer.request).is_some();
                let is_open = matches!(conn.peer.want, Want::Syncup(_) | Want::Election { .. });
                let since = conn.greeted_at().unwrap_or(self.now);
                millis(*waited_ms) >= limits.step && ended_at >= since + limits.step && (!has_asked || is_open)
            }
            ServiceError::NotTaken { waited_ms, .. } => {
                let is_full = pipe.blocked_since.is_some();
                is_full && millis(*waited_ms) >= limits.step && ended_at >= pipe.moved_at + limits.step
            }
            // Who closes without a word has only looked whether the port is open.
            ServiceError::Closed { .. } => pipe.ended.is_some() && pipe.received > 0,
            ServiceError::Fault { .. } | ServiceError::NotOffered { .. } => matches!(conn.peer.want, Want::Garbage),
            ServiceError::AheadOfLog { start, last } => {
                let Want::Stream(stream) = &conn.peer.want else { return false };
                let writer = &self.logs[0].writer;
                let is_known = *last == 0 && ended_at >= conn.greeted_at().unwrap_or(self.now) + limits.step
                    || *last >= writer.first && *last <= writer.highest();
                *start == stream.start && *start > *last + 1 && is_known
            }
            ServiceError::TooLarge { .. } | ServiceError::Log { .. } => false,
        }
    }

    fn is_right_end(&self, at: usize, end: &End, why: Option<&Refusal>) -> bool {
        let conn = &self.conns[at];
        let is_why = match why {
            None => true,
            Some(Refusal::ByHost) => conn.told.is_disconnected,
            Some(Refusal::Replaced) => self.limits.replaces && self.has_namesake(at),
            Some(Refusal::Stopped) => self.host.stopped_at.is_some(),
            Some(_) => false,
        };
        let Want::Stream(stream) = &conn.peer.want else { return false };
        is_why
            && match end {
                End::Stopped => why.is_some(),
                // A connection that the replica has closed in order may still break off what is sent.
                End::ClosedByPeer(Closing::Reset) => conn.pipe.ended.is_some(),
                End::ClosedByPeer(Closing::Finished) => conn.pipe.ended == Some(Closing::Finished),
                End::Failed(Error::AckBeyondSent { .. }) => stream.lies_behind.is_some(),
                End::Failed(Error::WriteTimeout { .. }) => self.ended_at(at) >= conn.pipe.moved_at + self.limits.write,
                End::Failed(Error::AckTimeout { .. }) => {
                    let limit = self.limits.ack;
                    limit > Duration::ZERO && self.ended_at(at) >= conn.pipe.acked_at + limit
                }
                End::Failed(_) => false,
            }
    }

    /// All is over.
    pub(crate) fn judge_end(&mut self, server: &Server) {
        let (lost, lost_in_all) = (self.host.lost, server.events().lost_in_all());
        let mut wrong = Vec::new();
        if lost != lost_in_all {
            wrong.push(format!("{lost} events were told to be lost, of {lost_in_all}"));
        }
        if !server.connections().is_empty() {
            wrong.push(format!("{} connections are left", server.connections().len()));
        }
        let (mut joined, mut refused, mut ended) = (0, 0, 0);
        for at in 0..self.conns.len() {
            let conn = &self.conns[at];
            let (told, pipe) = (&conn.told, &conn.pipe);
            if conn.adopted_at.is_none() {
                continue;
            }
            if pipe.dropped_at.is_none() {
                wrong.push(format!("{at} is not let go of"));
            }
            joined += u64::from(told.joined);
            refused += u64::from(told.refused.is_some());
            ended += u64::from(told.ended.is_some());
            let is_lying = pipe.acked > self.logs[0].writer.last_vlsn();
            if told.joined > 0 && told.acked.unwrap_or(0) != pipe.acked && !is_lying {
                wrong.push(format!("{at} has acknowledged {}, and {:?} was told last", pipe.acked, told.acked));
            }
            if lost > 0 {
                continue;
            }
            if matches!(conn.peer.want, Want::Probe) && pipe.ended.is_some() && told.refused.is_none() {
                self.seen.note(Met::Probed);
            }
            let is_fed = pipe.is_stream() && pipe.sent > pipe.head.len();
            if told.joined != u32::from(told.ended.is_some()) || is_fed && told.joined == 0 {
                wrong.push(format!("{at} has got {} bytes, and the host was told {told:?}", pipe.sent));
            }
            let is_restored = matches!(conn.peer.want, Want::Restore { .. }) && pipe.finished_at.is_some();
            if is_restored != told.restored.is_some() {
                wrong.push(format!("{at} has fetched all: {is_restored}, and the host was told {told:?}"));
            }
            if (pipe.head == [1, 0, 0, 0, 1]) != (told.needs_restore > 0) {
                wrong.push(format!("{at} was answered {:?}, and the host was told {told:?}", pipe.head));
            }
        }
        let figures = server.figures();
        let counted = (figures.joined(), figures.refused(), figures.ended());
        let told = (joined, refused, ended);
        if lost == 0 && counted != told {
            wrong.push(format!("joined, refused and ended were {counted:?}, and told {told:?}"));
        }
        wrong.into_iter().for_each(|text| self.wrong(text));
    }
}
