//! All there is around a server: what can happen, in which order, and whether what came of it is right.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use noxu_feeder::log::Log;
use noxu_feeder::options::Options;
use noxu_feeder::server::Server;
use noxu_feeder::server::connection::Purpose;
use noxu_feeder::sys::poll::Interest;

use crate::disk::{SimDisk, SimLog, WatchState, Writer};
use crate::driver::SimDriver;
use crate::host::{Host, Told};
use crate::judge::{Met, Seen};
use crate::peer::{Peer, Stream, Want};
use crate::pipe::Pipe;
use crate::rng::Rng;

pub(crate) type Shared = Arc<Mutex<World>>;

/// How long a loop waits at most for a notification that was lost.
const SAFETY_LOOK: Duration = Duration::from_secs(5);

/// How long a replica that is to end is waited for, for its acks or its close.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How much later than that is still in time: a sleep may end late.
const SLACK: Duration = Duration::from_millis(100);

/// No run has so many things happen in it.
const EVENTS_MAX: u64 = 500_000;

/// A loop that asks the disk and the connections so often without going to sleep never will.
const CALLS_AWAKE_MAX: u64 = 100_000;

/// How many of the last events are told of when something is wrong.
const TRACE_MAX: usize = 80;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// See the module's comment.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) base: Instant,
    /// Since the beginning.
    pub(crate) now: Duration,
    /// The log: one.
    pub(crate) logs: Vec<SimLog>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) host: Host,
    pub(crate) limits: Limits,
    /// Whether a VLSN that comes late may count as missing meanwhile.
    pub(crate) can_miss: bool,
    /// After which time what stands still may count as a stall.
    pub(crate) settle: Duration,
    pub(crate) seen: Seen,
    /// Whether anything moved since the loop slept last.
    pub(crate) moved: bool,
    pub(crate) sleeps: u64,
    pub(crate) idle_sleeps: u32,
    pub(crate) freeze_odds: u64,
    meanwhile_odds: u64,
    is_inside: bool,
    /// When all had stood still last.
    pub(crate) froze_at: Duration,
    events: u64,
    calls_awake: u64,
    trace: Vec<String>,
    wrong: Option<String>,
}

/// What a server is set to allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) name: Duration,
    pub(crate) step: Duration,
    pub(crate) write: Duration,
    /// 0: there is none.
    pub(crate) ack: Duration,
    pub(crate) connections: usize,
    pub(crate) greetings: usize,
    pub(crate) replaces: bool,
    pub(crate) elects: bool,
    events: usize,
    restore_rate: u64,
}

impl Limits {
    fn draw(rng: &mut Rng) -> Limits {
        Limits {
            name: Duration::from_secs(rng.pick(&[2, 10])),
            step: Duration::from_secs(rng.pick(&[3, 30])),
            write: rng.pick(&[DAY, Duration::from_secs(20)]),
            ack: Duration::from_secs(rng.pick(&[0, 20])),
            connections: rng.pick(&[1000, 1000, 3]),
            greetings: rng.pick(&[1000, 1000, 2, 1]),
            replaces: rng.one_in(2),
            elects: rng.one_in(2),
            events: rng.pick(&[16, 4096]),
            restore_rate: rng.pick(&[0, 0, 2_000]),
        }
    }

    fn options(&self, rng: &mut Rng, settle: Duration) -> Result<Options, String> {
        let mut options = Options::default();
        let millis = |time: Duration| time.as_millis().to_string();
        let same_name = if self.replaces { "replaces" } else { "refused" };
        let sets = [
            ("server.name_timeout_ms", millis(self.name)),
            ("server.step_timeout_ms", millis(self.step)),
            ("server.ack_timeout_ms", millis(self.ack)),
            ("server.connections_max", self.connections.to_string()),
            ("server.greetings_max", self.greetings.to_string()),
            ("server.same_name", same_name.to_owned()),
            ("server.events_max", self.events.to_string()),
            ("server.restore_bytes_per_s", self.restore_rate.to_string()),
            ("server.shared_bytes_max", rng.pick(&[0, 10_000, 1 << 24]).to_string()),
            ("runner.write_timeout_ms", millis(self.write)),
            ("runner.chunk_bytes", rng.pick(&[4096, 100_000, 1 << 20]).to_string()),
            ("runner.queue_bytes_max", rng.pick(&[4096, 100_000]).to_string()),
            ("runner.share_from_bytes", rng.pick(&[0, 1000, 4096]).to_string()),
            ("log.gap_patience_ms", millis(DAY)),
            ("log.settle_ms", millis(settle)),
        ];
        for (key, value) in sets {
            options.set(key, &value).map_err(|error| error.to_string())?;
        }
        Ok(options)
    }
}

/// A connection: who is at its other end, what is between the two, and what the host does about it.
pub(crate) struct Conn {
    pub(crate) peer: Peer,
    pub(crate) pipe: Pipe,
    pub(crate) told: Told,
    /// When it was taken in.
    pub(crate) adopted_at: Option<Duration>,
    /// There was no room for it, or the server had been stopped.
    pub(crate) is_turned_away: bool,
    /// It has to make room.
    pub(crate) is_crowded: bool,
    /// Since when there has been something to send that the loop was not told of.
    pub(crate) untold_since: Option<Duration>,
    /// Whether anything has happened that may be a reason for a turn.
    pub(crate) is_stirred: bool,
    turns: Turns,
}

/// Whether a connection gets turns for nothing.
#[derive(Default)]
struct Turns {
    /// How many more it may have with no reason.
    left: u32,
    last: Duration,
}

/// So many turns each reason is good for. One turn of a conversation may count as two.
const TURNS_FOR_ONE: u32 = 24;

/// Time alone is a reason for some turns, so often: for looks at a log, and at VLSNs that are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Conn {
    fn draw(rng: &mut Rng, writer: &Writer, mut pipe: Pipe, limits: &Limits, silent_odds: u64) -> Conn {
        let peer = Peer::draw(rng, writer, &mut pipe, limits.elects, silent_odds);
        Conn {
            peer,
            pipe,
            told: Told::draw(rng),
            adopted_at: None,
            is_turned_away: false,
            is_crowded: false,
            untold_since: None,
            is_stirred: true,
            turns: Turns::default(),
        }
    }

    /// Whether the server has it.
    pub(crate) fn is_open(&self) -> bool {
        self.adopted_at.is_some() && !self.is_turned_away && self.pipe.dropped_at.is_none()
    }

    /// Whether it is being fed.
    pub(crate) fn is_fed(&self) -> bool {
        self.is_open() && self.pipe.is_stream()
    }

    /// When it had said what it wants.
    pub(crate) fn greeted_at(&self) -> Option<Duration> {
        self.pipe.received_at(self.peer.opening)
    }

    /// When its time is over, if it has one, and for what.
    fn limit(&self, limits: &Limits, identifies: bool, froze_at: Duration) -> Option<(Duration, &'static str)> {
        let pipe = &self.pipe;
        if let Some(at) = pipe.finished_at {
            return Some((at + LINGER, "its close"));
        }
        if pipe.is_stream() {
            // A session that finds that it stood still waits anew.
            let blocked = pipe.blocked_since?.max(froze_at);
            return Some((blocked + limits.write, "the frames to be taken"));
        }
        let Some(greeted_at) = self.greeted_at() else {
            return Some((self.adopted_at? + limits.name, "its service's name"));
        };
        let named_at = if identifies { self.told.named_at } else { Some(greeted_at) };
        let Some(named_at) = named_at else { return Some((greeted_at + limits.step, "its own name")) };
        let Some(requested_at) = pipe.received_at(self.peer.request) else {
            return Some((named_at.max(greeted_at) + limits.step, "its request"));
        };
        if let Some(blocked) = pipe.blocked_since {
            return Some((blocked + limits.step, "the answer to be taken"));
        }
        match &self.peer.want {
            Want::Syncup(syncup) if syncup.asked.is_empty() && self.peer.is_mute() && !pipe.to_feeder.is_empty() => {
                None
            }
            Want::Syncup(syncup) if syncup.asked.is_empty() && self.peer.is_mute() => {
                Some((pipe.moved_at.max(requested_at).max(named_at) + limits.step, "a question"))
            }
            _ => None,
        }
    }
}

impl World {
    pub(crate) fn wrong(&mut self, text: String) {
        self.note(format!("WRONG: {text}"));
        self.wrong.get_or_insert(text);
        self.give_up();
    }

    /// The run is to end, whatever it was about.
    pub(crate) fn give_up(&mut self) {
        self.host.gives_up = true;
    }

    pub(crate) fn note(&mut self, line: String) {
        if self.trace.len() == TRACE_MAX {
            self.trace.remove(0);
        }
        self.trace.push(format!("{:>12.6} s {line}", self.now.as_secs_f64()));
    }

    /// The library calls: perhaps something else was faster.
    pub(crate) fn called(shared: &Shared) -> MutexGuard<'_, World> {
        let mut world = shared.lock().expect("nobody panics with it");
        world.calls_awake += 1;
        if world.calls_awake == CALLS_AWAKE_MAX || world.events > EVENTS_MAX + CALLS_AWAKE_MAX {
            world.wrong("it never sleeps, or never ends".into());
            drop(world);
            panic!("it never sleeps, or never ends");
        }
        let odds = world.meanwhile_odds;
        if world.is_inside || !world.rng.one_in(odds) {
            return world;
        }
        world.is_inside = true;
        world.seen.note(Met::Meanwhile);
        drop(world);
        World::happen(shared);
        let mut world = shared.lock().expect("nobody panics with it");
        world.is_inside = false;
        world
    }

    /// Something happens.
    pub(crate) fn happen(shared: &Shared) {
        let mut world = shared.lock().expect("nobody panics with it");
        world.calls_awake = 0;
        world.moved = true;
        world.events += 1;
        if world.events == EVENTS_MAX {
            let waits: Vec<usize> = (0..world.conns.len()).filter(|&at| !world.is_done(at)).collect();
            world.wrong(format!("it does not come to an end, for {waits:?}"));
        }
        match world.rng.below(10) {
            0 | 1 => world.write(0),
            2..=7 => {
                let count = world.conns.len();
                let at = world.rng.index(count);
                if world.conns[at].adopted_at.is_some() && !world.conns[at].is_turned_away {
                    world.peer_turn(at);
                }
            }
            _ => {
                drop(world);
                World::host_turn(shared);
            }
        }
    }

    /// Something that may concern all who read this log.
    pub(crate) fn stir(&mut self, _: usize) {
        self.conns.iter_mut().for_each(|conn| conn.is_stirred = true);
    }

    /// The loop gives a connection a turn.
    pub(crate) fn note_turn(shared: &Shared, at: usize) {
        let mut world = World::called(shared);
        let now = world.now;
        let conn = &mut world.conns[at];
        let turns = &mut conn.turns;
        let looks = now.saturating_sub(turns.last).as_millis() / LOOK_EVERY.as_millis();
        turns.left = (turns.left + 4 * u32::try_from(looks).unwrap_or(u32::MAX).min(10)).min(TURNS_FOR_ONE);
        if std::mem::take(&mut conn.is_stirred) {
            turns.left = TURNS_FOR_ONE;
        }
        turns.last = now;
        match turns.left.checked_sub(1) {
            Some(left) => turns.left = left,
            None => world.wrong(format!("connection {at} gets turns, and there is nothing for it")),
        }
    }

    /// Whether the connection is ready for what is waited for.
    pub(crate) fn is_ready(&self, at: usize, interest: Interest) -> bool {
        let pipe = &self.conns[at].pipe;
        interest.read && pipe.can_receive() || interest.write && pipe.can_send()
    }

    /// The loop goes to sleep: `reads` says of which connections it waits for bytes.
    pub(crate) fn judge_waits(&mut self, reads: &dyn Fn(usize) -> bool) {
        for at in 0..self.conns.len() {
            if self.conns[at].is_fed() && !reads(at) {
                self.wrong(format!("it sleeps without waiting for the acks of replica {at}"));
            }
        }
    }

    /// The loop sleeps and nothing wakes it: then there must be nothing that it could do.
    pub(crate) fn judge_rest(&mut self) {
        self.calls_awake = 0;
        self.judge_listing();
        for at in 0..self.conns.len() {
            if self.conns[at].is_open() {
                self.judge_rest_of(at);
            }
        }
    }

    /// Who is listed: nobody who is gone, and not more than there may be.
    fn judge_listing(&mut self) {
        let Some(server) = &self.host.server else { return };
        let listed = server.connections();
        let greeting = listed.iter().filter(|connection| connection.purpose() == Purpose::Unknown).count();
        let of = |peer: &noxu_feeder::server::connection::Peer| Host::conn_of(peer);
        let gone = listed.iter().filter_map(|one| of(&one.peer)).find(|&at| self.conns[at].pipe.dropped_at.is_some());
        if let Some(at) = gone {
            self.wrong(format!("{at} is listed, and has ended"));
        }
        let Limits { connections, greetings, .. } = self.limits;
        if listed.len() > connections || greeting > greetings {
            self.wrong(format!("{} connections, {greeting} of them in their greeting", listed.len()));
        }
    }

    fn judge_rest_of(&mut self, at: usize) {
        let (now, conn) = (self.now, &mut self.conns[at]);
        let has_ended = conn.pipe.finished_at.is_some() || conn.pipe.ended.is_some();
        let is_stopped = self.host.stopped_at.is_some() || conn.told.is_disconnected || conn.is_crowded;
        if is_stopped && !(conn.pipe.is_stream() && has_ended) {
            return self.wrong(format!("it sleeps, and {at} is to end"));
        }
        if let Some((until, what)) = conn.limit(&self.limits, self.host.identifies, self.froze_at)
            && until <= now
        {
            return self.wrong(format!("it sleeps, and {at} had until {until:?} for {what}"));
        }
        let SimLog { writer, watch } = &self.logs[0];
        let Want::Stream(Stream { has, start, .. }) = conn.peer.want else { return };
        let has_something = conn.pipe.is_stream()
            && writer.whole > has
            && writer.whole >= start
            && conn.pipe.is_empty()
            && conn.peer.is_idle();
        if has_ended || !has_something {
            conn.untold_since = None;
            return;
        }
        if watch.event_at.is_some_and(|at| at > now) {
            return;
        }
        let next = has + 1;
        // What may stand before the place where reading began is looked for once in a settle time.
        let may_be_before = writer.is_disorderly() && start > writer.first;
        if watch.is_reliable() && !watch.was_lost && !may_be_before {
            return self.wrong(format!("it sleeps, and VLSN {next} is in the log for {at}"));
        }
        let since = *conn.untold_since.get_or_insert(now);
        let look = if may_be_before { SAFETY_LOOK.max(self.settle) } else { SAFETY_LOOK };
        if now > since + look + SLACK {
            let waited = now - since;
            self.wrong(format!("VLSN {next} is in the log for {at}, and for {waited:?} nobody has looked"));
        }
    }

    /// Whether nothing more will happen on a connection by itself.
    pub(crate) fn is_done(&self, at: usize) -> bool {
        let (conn, writer) = (&self.conns[at], &self.logs[0].writer);
        let (peer, pipe) = (&conn.peer, &conn.pipe);
        if conn.is_turned_away {
            return true;
        }
        if pipe.dropped_at.is_some() {
            return pipe.ended.is_some() || pipe.to_peer.is_empty() || peer.is_deaf();
        }
        let Want::Stream(stream) = &peer.want else { return false };
        let has_all = stream.has >= writer.last_vlsn() && peer.is_idle() && pipe.is_empty();
        let is_stuck = peer.is_deaf() && (pipe.blocked_since.is_none() || self.limits.write == DAY);
        conn.is_fed() && pipe.ended.is_none() && peer.ends_in.is_none() && writer.is_done() && (has_all || is_stuck)
    }
}

/// Runs one seed: what it met, or what went wrong.
pub(crate) fn run(seed: u64) -> Result<Seen, String> {
    let mut rng = Rng::new(seed);
    let limits = Limits::draw(&mut rng);
    let is_flood = rng.one_in(10);
    let count = if is_flood { 20 } else { 1 + rng.index(10) };
    let pipes: Vec<Pipe> = (0..count).map(|_| Pipe::draw(&mut rng)).collect();
    let narrowest = pipes.iter().map(|pipe| pipe.capacity).min().unwrap_or(0);
    let (mut writer, watch) = (Writer::draw(&mut rng, narrowest, 0), WatchState::draw(&mut rng));
    if rng.one_in(3) {
        writer.begin_at(rng.within(1, 9) as u32, rng.within(2, 60), rng.within(1, 20));
    }
    let settle = if rng.one_in(4) { Duration::from_secs(3) } else { DAY };
    let silent_odds = if is_flood { 2 } else { 12 };
    let conns = pipes.into_iter().map(|pipe| Conn::draw(&mut rng, &writer, pipe, &limits, silent_odds)).collect();
    let options = limits.options(&mut rng, settle)?;
    let world = World {
        can_miss: settle < DAY && writer.is_disorderly(),
        settle,
        logs: vec![SimLog { writer, watch }],
        conns,
        host: Host::draw(&mut rng),
        limits,
        base: Instant::now(),
        now: Duration::ZERO,
        seen: Seen::default(),
        moved: true,
        sleeps: 0,
        idle_sleeps: 0,
        freeze_odds: rng.pick(&[0, 0, 0, 200]),
        meanwhile_odds: rng.pick(&[0, 5, 30]),
        is_inside: false,
        froze_at: Duration::ZERO,
        events: 0,
        calls_awake: 0,
        trace: Vec::new(),
        wrong: None,
        rng,
    };
    let shared: Shared = Arc::new(Mutex::new(world));
    let log = Log::over(Arc::new(SimDisk { shared: Arc::clone(&shared), log: 0 }), options.scanner(), None);
    let server = Arc::new(Server::new(log, options.server()));
    World::prepare(&shared, &server).map_err(|error| error.to_string())?;
    let driver = Box::new(SimDriver::new(Arc::clone(&shared)));
    server.run_over(driver, || ()).map_err(|error| error.to_string())?;
    World::host_ends(&shared, &server);
    let mut world = shared.lock().expect("nobody panics with it");
    world.judge_end(&server);
    // What holds the world is in it.
    world.host.server = None;
    match world.wrong.take() {
        None => Ok(world.seen.clone()),
        Some(text) => Err(format!("{text}\n{:?}\n{}", world.limits, world.trace.join("\n"))),
    }
}
