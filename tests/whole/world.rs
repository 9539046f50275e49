//! All there is around a run: what can happen, in which order, and whether what came of it is right.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use noxu_feeder::acks::{Ack, Acks, Deadline, End, Polled};
use noxu_feeder::error::Error;
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::session::link::Snapshot;
use noxu_feeder::session::standing::{Place, Standing};
use noxu_feeder::source::LogSource;
use noxu_feeder::sys::poll::Interest;
use noxu_feeder::transport::Closing;

use crate::disk::{SimDisk, SimLog, WatchState, Writer};
use crate::driver::SimDriver;
use crate::holding::Holding;
use crate::judge::{Met, Seen};
use crate::link::{Link, Replica, SimChannel, SimTransport};
use crate::many::Many;
use crate::rng::Rng;

pub(crate) type Shared = Arc<Mutex<World>>;

/// How long a run waits at most for a notification that was lost.
const SAFETY_LOOK: Duration = Duration::from_secs(5);

/// How long a run that is stopped waits for acks.
const LINGER: Duration = Duration::from_secs(1);

/// How much later than that is still in time: a sleep may end late.
const SLACK: Duration = Duration::from_millis(100);

/// No run has so many things happen in it.
const EVENTS_MAX: u64 = 500_000;

/// A loop that asks the disk and the connection so often without going to sleep never will.
const CALLS_AWAKE_MAX: u64 = 100_000;

/// How many of the last events are told of when something is wrong.
const TRACE_MAX: usize = 60;

/// See the module's comment.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) base: Instant,
    /// Since the beginning.
    pub(crate) now: Duration,
    pub(crate) logs: Vec<SimLog>,
    pub(crate) feeds: Vec<Feed>,
    pub(crate) host: Host,
    pub(crate) seen: Seen,
    /// Whether anything moved since the loop slept last.
    pub(crate) moved: bool,
    pub(crate) sleeps: u64,
    pub(crate) idle_sleeps: u32,
    pub(crate) freeze_odds: u64,
    /// When all had stood still last.
    pub(crate) froze_at: Duration,
    /// How long no ack may come, if that is limited.
    ack_timeout: Option<Duration>,
    meanwhile_odds: u64,
    is_inside: bool,
    events: u64,
    calls_awake: u64,
    trace: Vec<String>,
    wrong: Option<String>,
}

/// The program that has the library in it.
#[derive(Default)]
pub(crate) struct Host {
    logs: Vec<Arc<Log>>,
    gives_up: bool,
    /// The sessions that are still to be handed over, where there are many.
    pub(crate) many: Option<Many>,
}

/// One replica and how it is fed: the connection, and what the host does about it.
pub(crate) struct Feed {
    pub(crate) log: usize,
    pub(crate) link: Link,
    pub(crate) replica: Replica,
    control: Option<Control>,
    takes_acks: bool,
    ring_odds: u64,
    /// In how many of its turns the host stops it.
    stops_in: Option<u64>,
    /// How many turns the host has waited since all was done.
    idle_turns: u64,
    has_stopped: bool,
    ends: u32,
    /// Since when there has been something to send that the loop was not told of.
    pub(crate) untold_since: Option<Duration>,
    /// Whether anything has happened that may be a reason for a turn.
    pub(crate) is_stirred: bool,
    pub(crate) holding: Holding,
    /// How its replica stands, as the host was told.
    standing: Standing,
    turns: Turns,
}

/// Whether a session gets turns for nothing.
#[derive(Default)]
struct Turns {
    /// How many more it may have with no reason.
    left: u32,
    last: Duration,
    read_vlsn: u64,
}

/// So many turns each reason is good for: one in which it is found that there is no more, one when the log was armed, and
/// the same once more where something comes in between.
const TURNS_FOR_ONE: u32 = 8;

/// Time alone is a reason for some turns, so often: where nobody notifies, a log is looked at ten times a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How the host gets at a run.
#[derive(Clone)]
pub(crate) enum Control {
    Runner(Arc<Runner>),
    Session(Arc<noxu_feeder::session::link::Link>),
}

impl Control {
    fn stop(&self) {
        match self {
            Control::Runner(runner) => drop(runner.stop(Deadline::from_millis(0)).expect("it does not wait")),
            Control::Session(link) => link.stop(),
        }
    }

    fn acks(&self) -> &Acks {
        match self {
            Control::Runner(runner) => runner.acks(),
            Control::Session(link) => &link.acks,
        }
    }

    fn snapshot(&self) -> Snapshot {
        match self {
            Control::Runner(runner) => runner.snapshot(),
            Control::Session(link) => link.snapshot(),
        }
    }
}

impl Feed {
    pub(crate) fn new(log: usize, link: Link, replica: Replica, host: HostDraw) -> Feed {
        Feed {
            log,
            link,
            replica,
            control: None,
            takes_acks: host.takes_acks,
            ring_odds: host.ring_odds,
            stops_in: host.stops_in,
            idle_turns: 0,
            has_stopped: false,
            ends: 0,
            untold_since: None,
            is_stirred: true,
            holding: host.holding,
            standing: Standing::default(),
            turns: Turns::default(),
        }
    }

    /// Whether the loop has it: it was handed over, and has not ended.
    pub(crate) fn is_fed(&self) -> bool {
        self.control.is_some() && !self.link.is_dropped
    }

    /// Whether the host has handed it over.
    pub(crate) fn has_begun(&self) -> bool {
        self.control.is_some()
    }

    /// How its run has ended, if it has.
    pub(crate) fn ended(&self) -> Option<End> {
        self.control.as_ref()?.acks().ended()
    }

    pub(crate) fn takes_acks(&self) -> bool {
        self.takes_acks
    }
}

/// How a host treats a replica.
pub(crate) struct HostDraw {
    takes_acks: bool,
    ring_odds: u64,
    stops_in: Option<u64>,
    holding: Holding,
}

impl HostDraw {
    pub(crate) fn draw(rng: &mut Rng) -> HostDraw {
        HostDraw {
            takes_acks: rng.one_in(2),
            ring_odds: rng.pick(&[0, 0, 3]),
            stops_in: rng.one_in(4).then(|| rng.below(40)),
            holding: Holding::draw(rng),
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

    /// One of `count`: where there is one only, nothing is drawn.
    fn one_of(&mut self, count: usize) -> usize {
        if count > 1 { self.rng.index(count) } else { 0 }
    }

    /// Something happens.
    pub(crate) fn happen(shared: &Shared) {
        let mut world = shared.lock().expect("nobody panics with it");
        world.calls_awake = 0;
        world.moved = true;
        world.events += 1;
        if world.events == EVENTS_MAX {
            world.wrong("it does not come to an end".into());
        }
        let (logs, feeds) = (world.logs.len(), world.feeds.len());
        match world.rng.below(10) {
            0..=3 => {
                let log = world.one_of(logs);
                world.write(log);
            }
            4..=7 => {
                let feed = world.one_of(feeds);
                if world.feeds[feed].control.is_some() {
                    world.replicate(feed);
                }
            }
            _ => {
                let feed = world.one_of(feeds);
                let is_begun = world.feeds[feed].control.is_some();
                drop(world);
                if is_begun {
                    World::host_turn(shared, feed);
                } else {
                    Many::join(shared, feed);
                }
            }
        }
    }

    /// Something that may concern all who read this log.
    pub(crate) fn stir(&mut self, log: usize) {
        self.feeds.iter_mut().filter(|feed| feed.log == log).for_each(|feed| feed.is_stirred = true);
    }

    /// The loop gives a session a turn.
    pub(crate) fn note_turn(shared: &Shared, feed: usize) {
        let mut world = World::called(shared);
        let now = world.now;
        let one = &mut world.feeds[feed];
        let read_vlsn = one.control.as_ref().map_or(0, |control| control.snapshot().read_vlsn);
        let turns = &mut one.turns;
        let looks = now.saturating_sub(turns.last).as_millis() / LOOK_EVERY.as_millis();
        turns.left = (turns.left + 4 * u32::try_from(looks).unwrap_or(u32::MAX).min(10)).min(TURNS_FOR_ONE);
        if std::mem::take(&mut one.is_stirred) || read_vlsn > turns.read_vlsn {
            turns.left = TURNS_FOR_ONE;
        }
        (turns.last, turns.read_vlsn) = (now, read_vlsn);
        match turns.left.checked_sub(1) {
            Some(left) => turns.left = left,
            None => world.wrong(format!("session {feed} gets turns, and there is nothing for it")),
        }
    }

    fn is_all_done(&self, feed: usize) -> bool {
        let Feed { log, link, replica, .. } = &self.feeds[feed];
        let writer = &self.logs[*log].writer;
        writer.is_done() && replica.has == writer.last_vlsn() && replica.is_idle() && link.is_empty()
    }

    /// The host does something about a replica. Its calls are made with no lock held, as from another thread.
    fn host_turn(shared: &Shared, at: usize) {
        let mut world = shared.lock().expect("nobody panics with it");
        let Some(control) = world.feeds[at].control.clone() else { return };
        let log = Arc::clone(&world.host.logs[world.feeds[at].log]);
        let odds = world.feeds[at].ring_odds;
        let rings = world.rng.one_in(odds);
        let is_all_done = world.is_all_done(at);
        if is_all_done && world.feeds[at].idle_turns == 0 {
            world.seen.note(Met::CaughtUp);
        }
        let gives_up = world.host.gives_up;
        let feed = &mut world.feeds[at];
        feed.idle_turns = if is_all_done { feed.idle_turns + 1 } else { 0 };
        let is_time = match &mut feed.stops_in {
            Some(0) => true,
            Some(turns) => {
                *turns -= 1;
                false
            }
            None => false,
        };
        let stops = (is_time || feed.idle_turns > 5 || gives_up) && !feed.has_stopped;
        let takes_acks = feed.takes_acks;
        if stops {
            feed.has_stopped = true;
            feed.is_stirred = true;
            world.seen.note(if is_all_done { Met::StoppedWhileIdle } else { Met::StoppedWhileSending });
            world.note(format!("host: stops {at}"));
        }
        if let Control::Session(link) = &control {
            let World { rng, feeds, seen, now, .. } = &mut *world;
            if let Some(met) = feeds[at].holding.change(rng, *now) {
                seen.note(met);
            }
            let (is_paused, rate) = feeds[at].holding.wanted();
            if (is_paused, rate) != (link.is_paused(), link.rate().map(NonZeroU64::get)) {
                feeds[at].is_stirred = true;
                world.note(format!("host: {at} is paused: {is_paused}, and its rate {rate:?}"));
                drop(world);
                Holding::tell(is_paused, rate, link);
                world = shared.lock().expect("nobody panics with it");
            }
        }
        let polls = !takes_acks && world.rng.one_in(2);
        let room = 1 + world.rng.index(4);
        if rings {
            world.seen.note(Met::HostRang);
            let log = world.feeds[at].log;
            world.stir(log);
        }
        drop(world);
        if rings {
            log.notify();
        }
        if stops {
            control.stop();
        }
        if polls {
            World::poll_acks(shared, at, &control, room);
        }
        let snapshot = control.snapshot();
        let acked = control.acks().known_vlsn();
        let mut world = shared.lock().expect("nobody panics with it");
        if acked > world.feeds[at].link.acked
            || acked > snapshot.sent_vlsn.max(acked)
            || snapshot.sent_vlsn > snapshot.read_vlsn
        {
            world.wrong(format!("figures that cannot be: acked {acked}, {snapshot:?}"));
        }
    }

    fn poll_acks(shared: &Shared, feed: usize, control: &Control, room: usize) -> bool {
        let mut acks = vec![Ack { vlsn: 0, merged: 0 }; room];
        let Polled::Acks(count) = control.acks().poll(&mut acks, Deadline::from_millis(0)) else { return false };
        let mut world = shared.lock().expect("nobody panics with it");
        for ack in &acks[..count] {
            let due = &mut world.feeds[feed].link.acks;
            let merged: Vec<u64> = (0..=ack.merged).map_while(|_| due.pop_front()).collect();
            world.seen.note(if ack.merged > 0 { Met::AcksMerged } else { Met::AckPolled });
            if merged.len() as u64 != ack.merged + 1 || merged.iter().max() != Some(&ack.vlsn) {
                world.wrong(format!("{ack:?} was polled where {merged:?} came"));
            }
        }
        true
    }

    /// The host hears of an ack.
    pub(crate) fn acked(shared: &Shared, at: usize, vlsn: u64) {
        let mut world = shared.lock().expect("nobody panics with it");
        world.seen.note(Met::AckCallback);
        let feed = &mut world.feeds[at];
        let expected = feed.link.acks.pop_front();
        if expected != Some(vlsn) || feed.ends > 0 {
            world.wrong(format!("an ack of VLSN {vlsn} was delivered where {expected:?} was due"));
        }
    }

    /// The host hears how a replica stands.
    pub(crate) fn stands(shared: &Shared, at: usize, standing: Standing) {
        let mut world = shared.lock().expect("nobody panics with it");
        let before = std::mem::replace(&mut world.feeds[at].standing, standing);
        let is_right = match (before.place, standing.place) {
            (Place::CatchingUp | Place::Behind, Place::CaughtUp) | (Place::CaughtUp, Place::Behind) => true,
            (place, same) => place == same && before.stalled != standing.stalled,
        };
        if !is_right || world.feeds[at].ends > 0 {
            world.wrong(format!("the host was told of {at} that it stands {standing:?}, and {before:?} before"));
        }
        if standing.place == Place::Behind {
            world.seen.note(Met::FellBehind);
        }
    }

    /// The host hears that a run has ended.
    pub(crate) fn ended(shared: &Shared, feed: usize) {
        let mut world = shared.lock().expect("nobody panics with it");
        world.feeds[feed].ends += 1;
        if world.feeds.iter().filter(|feed| feed.is_fed()).count() > 1 {
            world.seen.note(Met::EndedAmongOthers);
        }
        world.note(format!("host: {feed} has ended"));
    }

    /// A run begins, and the host gets at it by `control`.
    pub(crate) fn begin(&mut self, feed: usize, control: Control) {
        self.feeds[feed].control = Some(control);
        self.feeds[feed].link.acked_at = self.now;
        self.feeds[feed].is_stirred = true;
    }

    /// It was not taken: the host has it again.
    pub(crate) fn take_back(&mut self, feed: usize) {
        self.feeds[feed].control = None;
    }

    /// Whether the connection of that feed is ready for what is waited for.
    pub(crate) fn is_ready(&self, feed: usize, interest: Interest) -> bool {
        let link = &self.feeds[feed].link;
        interest.read && link.can_receive() || interest.write && link.can_send()
    }

    /// The loop goes to sleep: `reads` says of which connections it waits for bytes.
    pub(crate) fn judge_waits(&mut self, reads: &dyn Fn(usize) -> bool) {
        for feed in 0..self.feeds.len() {
            if self.feeds[feed].is_fed() && !reads(feed) {
                self.wrong(format!("it sleeps without waiting for the acks of replica {feed}"));
            }
        }
    }

    /// The loop sleeps and nothing wakes it: then there must be nothing that it could send.
    pub(crate) fn judge_rest(&mut self) {
        self.calls_awake = 0;
        for feed in 0..self.feeds.len() {
            if self.feeds[feed].is_fed() {
                self.judge_rest_of(feed);
            }
        }
    }

    fn judge_rest_of(&mut self, at: usize) {
        let (now, feed) = (self.now, &mut self.feeds[at]);
        let SimLog { writer, watch } = &self.logs[feed.log];
        if feed.has_stopped && !feed.link.is_finished && feed.link.ended.is_none() {
            return self.wrong(format!("it sleeps, and the host has stopped {at}"));
        }
        let is_over = feed.link.is_finished || feed.link.ended.is_some() || feed.has_stopped;
        if let (Some(limit), Some(since)) = (self.ack_timeout, feed.link.owed_since())
            && !is_over
            && now > since.max(self.froze_at) + limit + SLACK
        {
            return self.wrong(format!("it sleeps, and {at} has owed an ack since {since:?}"));
        }
        let has_something = writer.whole > feed.replica.has && feed.link.is_empty() && feed.replica.is_idle();
        if is_over || !has_something || feed.holding.holds(now, SLACK) {
            feed.untold_since = None;
            return;
        }
        if watch.event_at.is_some_and(|at| at > now) {
            return;
        }
        let next = feed.replica.has + 1;
        if watch.is_reliable() && !watch.was_lost {
            let figures = feed.control.as_ref().map(Control::snapshot);
            return self.wrong(format!("it sleeps, and VLSN {next} is in the log of {at}: {figures:?}"));
        }
        let since = *feed.untold_since.get_or_insert(now);
        if now > since + SAFETY_LOOK + SLACK {
            let waited = now - since;
            self.wrong(format!("VLSN {next} is in the log of {at}, and for {waited:?} nobody has looked"));
        }
    }
}

/// What a run is set to do.
pub(crate) fn draw_options(rng: &mut Rng) -> Result<Options, String> {
    let mut options = Options::default();
    let day = (24 * 3600 * 1000).to_string();
    let sets = [
        ("runner.write_timeout_ms", day.clone()),
        ("log.gap_patience_ms", day),
        ("runner.chunk_bytes", rng.pick(&[4096, 100_000, 1 << 20]).to_string()),
        ("runner.queue_bytes_max", rng.pick(&[4096, 100_000]).to_string()),
        ("runner.share_from_bytes", rng.pick(&[0, 1000, 4096]).to_string()),
        ("ack.queue_max", rng.pick(&[1, 3, 65_536]).to_string()),
    ];
    for (key, value) in sets {
        options.set(key, &value).map_err(|error| error.to_string())?;
    }
    Ok(options)
}

/// Whether a seed has several sessions: it says so besides whatever else it determines.
fn has_many(seed: u64) -> bool {
    Rng::new(!seed).one_in(3)
}

/// How long no ack may come: a seed says so besides whatever else it determines.
fn ack_timeout(seed: u64) -> Option<Duration> {
    let mut rng = Rng::new(seed.rotate_left(16));
    rng.one_in(3).then(|| Duration::from_secs(rng.pick(&[5, 30, 500])))
}

/// Runs one seed: what it met, or what went wrong.
pub(crate) fn run(seed: u64) -> Result<Seen, String> {
    let mut rng = Rng::new(seed);
    let mut options = draw_options(&mut rng)?;
    let ack_timeout = ack_timeout(seed);
    if let Some(limit) = ack_timeout {
        let limit = limit.as_millis().to_string();
        options.set("runner.ack_timeout_ms", &limit).map_err(|error| error.to_string())?;
    }
    let many = has_many(seed);
    let (logs, feeds) = if many { Many::draw(&mut rng) } else { draw_one(&mut rng) };
    let world = World {
        logs,
        feeds,
        host: Host::default(),
        base: Instant::now(),
        now: Duration::ZERO,
        seen: Seen::default(),
        moved: true,
        sleeps: 0,
        idle_sleeps: 0,
        freeze_odds: rng.pick(&[0, 0, 0, 200]),
        froze_at: Duration::ZERO,
        ack_timeout,
        meanwhile_odds: rng.pick(&[0, 5, 30]),
        is_inside: false,
        events: 0,
        calls_awake: 0,
        trace: Vec::new(),
        wrong: None,
        rng,
    };
    let absent = world.logs.iter().any(|log| log.watch.is_absent);
    let count = world.logs.len();
    let shared: Shared = Arc::new(Mutex::new(world));
    let over = |log| Log::over(Arc::new(SimDisk { shared: Arc::clone(&shared), log }), options.scanner(), None);
    let opened: Vec<Arc<Log>> = (0..count).map(over).collect();
    {
        let mut world = shared.lock().expect("nobody panics with it");
        world.host.logs = opened.clone();
        if absent {
            world.seen.note(Met::UnwatchedLog);
        }
    }
    let ends = if many {
        Many::run(&shared, options, opened, Many::ring_bytes(seed))
    } else {
        vec![run_one(&shared, options, &opened[0])?]
    };
    for (feed, end) in ends.iter().enumerate() {
        let Some(control) = shared.lock().expect("nobody panics with it").feeds[feed].control.clone() else {
            return Err(format!("session {feed} never began"));
        };
        let polls = !shared.lock().expect("nobody panics with it").feeds[feed].takes_acks;
        while polls && World::poll_acks(&shared, feed, &control, 8) {}
        shared.lock().expect("nobody panics with it").judge_end(feed, &control, end);
    }
    let mut world = shared.lock().expect("nobody panics with it");
    // What holds the world is in it.
    world.host = Host::default();
    world.feeds.iter_mut().for_each(|feed| feed.control = None);
    match world.wrong.take() {
        None => Ok(world.seen.clone()),
        Some(text) => Err(format!("{text}\nended: {ends:?}\n{}", world.trace.join("\n"))),
    }
}

/// One log, and one who reads it.
fn draw_one(rng: &mut Rng) -> (Vec<SimLog>, Vec<Feed>) {
    let host = HostDraw::draw(rng);
    let link = Link::draw(rng);
    let (writer, watch) = (Writer::draw(rng, link.capacity(), 0), WatchState::draw(rng));
    let feed = Feed::new(0, link, Replica::draw(rng), host);
    (vec![SimLog { writer, watch }], vec![feed])
}

fn run_one(shared: &Shared, options: Options, log: &Arc<Log>) -> Result<End, String> {
    let channel = Box::new(SimChannel(SimTransport { shared: Arc::clone(shared), feed: 0 }));
    let runner = Runner::new(channel, c"replica".to_owned(), 1, options).map_err(|(_, error)| error.to_string())?;
    let runner = Arc::new(runner);
    if shared.lock().expect("nobody panics with it").feeds[0].takes_acks {
        let heard = Arc::clone(shared);
        runner.set_ack_function(Box::new(move |_, vlsn| World::acked(&heard, 0, vlsn))).expect("it has not begun");
    }
    let heard = Arc::clone(shared);
    runner.set_end_function(Box::new(move |_, _| World::ended(&heard, 0))).expect("it has not begun");
    shared.lock().expect("nobody panics with it").begin(0, Control::Runner(Arc::clone(&runner)));
    let source = Box::new(LogSource::new(Arc::clone(log), Lsn::NULL));
    let driver = Box::new(SimDriver::new(Arc::clone(shared)));
    runner.run_over(source, driver).map_err(|(_, error)| error.to_string())
}

impl World {
    fn judge_end(&mut self, at: usize, control: &Control, end: &End) {
        let (known, sent) = (control.acks().known_vlsn(), control.snapshot().sent_vlsn);
        let (now, Feed { link, replica, has_stopped, ends, .. }) = (self.now, &self.feeds[at]);
        let right = match (end, link.ended) {
            (End::Stopped, _) => *has_stopped,
            // A connection that the replica has closed in order may still break off what is sent.
            (End::ClosedByPeer(Closing::Reset), closing) => closing.is_some(),
            (End::ClosedByPeer(Closing::Finished), closing) => closing == Some(Closing::Finished),
            // What had come by then was received.
            (End::Failed(Error::AckTimeout { .. }), _) => {
                let over_at = link.owed_since().zip(self.ack_timeout).map(|(since, limit)| since + limit);
                let has_looked = link.found_nothing_at == Some(link.dropped_at);
                has_looked && over_at.is_some_and(|at| link.dropped_at >= at)
            }
            (End::Failed(_), _) => false,
        };
        let mut wrong = Vec::new();
        if !right {
            wrong.push(format!("it ended as {end:?}, with the connection {:?}", link.ended));
        }
        let lingers = *end == End::Stopped && link.ended.is_none() && known < sent;
        let lingered = link.dropped_at.saturating_sub(link.finished_at);
        if lingers && lingered < LINGER {
            wrong.push(format!("VLSN {sent} was sent, {known} acknowledged, and it lingered for {lingered:?}"));
        }
        if !link.acks.is_empty() {
            wrong.push(format!("{} acks were received and never delivered", link.acks.len()));
        }
        if known != link.acked {
            wrong.push(format!("it knows of VLSN {known}, and {} was acknowledged", link.acked));
        }
        // A run that is stopped ends when all that was sent is acknowledged, and after its linger in any case.
        let is_owed = matches!(end, End::ClosedByPeer(_)) && link.acked < replica.has;
        if link.ended == Some(Closing::Finished) && !link.is_drained() && is_owed {
            wrong.push("acks that had arrived before the replica closed were not received".into());
        }
        if !link.is_dropped || *ends != 1 {
            wrong.push(format!("the connection is not let go of, or the host was told {ends} times at {now:?}"));
        }
        if lingers {
            self.seen.note(Met::Lingered);
        }
        if matches!(end, End::Failed(Error::AckTimeout { .. })) {
            self.seen.note(Met::AckTimeout);
        }
        for text in wrong {
            self.wrong(format!("session {at}: {text}"));
        }
    }
}
