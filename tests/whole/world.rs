//! All there is around a run: what can happen, in which order, and whether what came of it is right.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use noxu_feeder::acks::{Ack, Deadline, End, Polled};
use noxu_feeder::log::{Log, LogSource, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runner::Runner;
use noxu_feeder::transport::Closing;

use crate::disk::{SimDisk, WatchState, Writer};
use crate::driver::SimDriver;
use crate::judge::{Met, Seen};
use crate::link::{Link, Replica, SimChannel};
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
    pub(crate) writer: Writer,
    pub(crate) watch: WatchState,
    pub(crate) link: Link,
    pub(crate) replica: Replica,
    host: Host,
    pub(crate) seen: Seen,
    /// Whether anything moved since the loop slept last.
    pub(crate) moved: bool,
    /// Whether bytes were sent since then.
    pub(crate) was_sent: bool,
    pub(crate) sleeps: u64,
    pub(crate) idle_sleeps: u32,
    pub(crate) freeze_odds: u64,
    meanwhile_odds: u64,
    is_inside: bool,
    events: u64,
    calls_awake: u64,
    /// Since when there has been something to send that the loop was not told of.
    untold_since: Option<Duration>,
    trace: Vec<String>,
    wrong: Option<String>,
}

/// The program that has the library in it.
struct Host {
    runner: Option<Arc<Runner>>,
    log: Option<Arc<Log>>,
    takes_acks: bool,
    ring_odds: u64,
    /// In how many of its turns it stops the run.
    stops_in: Option<u64>,
    /// How many turns it has waited since all was done.
    idle_turns: u64,
    has_stopped: bool,
    gives_up: bool,
    ends: u32,
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
            world.wrong("it does not come to an end".into());
        }
        match world.rng.below(10) {
            0..=3 => world.write(),
            4..=7 => world.replicate(),
            _ => {
                drop(world);
                World::host_turn(shared);
            }
        }
    }

    fn is_all_done(&self) -> bool {
        self.writer.is_done()
            && self.replica.has == self.writer.last_vlsn()
            && self.replica.is_idle()
            && self.link.is_empty()
    }

    /// The host does something. Its calls are made with no lock held, as from another thread.
    fn host_turn(shared: &Shared) {
        let mut world = shared.lock().expect("nobody panics with it");
        let (Some(runner), Some(log)) = (world.host.runner.clone(), world.host.log.clone()) else { return };
        let odds = world.host.ring_odds;
        let rings = world.rng.one_in(odds);
        if world.is_all_done() && world.host.idle_turns == 0 {
            world.seen.note(Met::CaughtUp);
        }
        world.host.idle_turns = if world.is_all_done() { world.host.idle_turns + 1 } else { 0 };
        let is_time = match &mut world.host.stops_in {
            Some(0) => true,
            Some(turns) => {
                *turns -= 1;
                false
            }
            None => false,
        };
        let stops = (is_time || world.host.idle_turns > 5 || world.host.gives_up) && !world.host.has_stopped;
        if stops {
            world.host.has_stopped = true;
            let met = if world.is_all_done() { Met::StoppedWhileIdle } else { Met::StoppedWhileSending };
            world.seen.note(met);
            world.note("host: stops".into());
        }
        let polls = !world.host.takes_acks && world.rng.one_in(2);
        let room = 1 + world.rng.index(4);
        if rings {
            world.seen.note(Met::HostRang);
        }
        drop(world);
        if rings {
            log.notify();
        }
        if stops {
            runner.stop(Deadline::from_millis(0)).expect("it does not wait");
        }
        if polls {
            World::poll_acks(shared, &runner, room);
        }
        let snapshot = runner.snapshot();
        let acked = runner.acks().known_vlsn();
        let mut world = shared.lock().expect("nobody panics with it");
        if acked > world.link.acked || acked > snapshot.sent_vlsn.max(acked) || snapshot.sent_vlsn > snapshot.read_vlsn
        {
            world.wrong(format!("figures that cannot be: acked {acked}, {snapshot:?}"));
        }
    }

    fn poll_acks(shared: &Shared, runner: &Runner, room: usize) -> bool {
        let mut acks = vec![Ack { vlsn: 0, merged: 0 }; room];
        let Polled::Acks(count) = runner.acks().poll(&mut acks, Deadline::from_millis(0)) else { return false };
        let mut world = shared.lock().expect("nobody panics with it");
        for ack in &acks[..count] {
            let merged: Vec<u64> = (0..=ack.merged).map_while(|_| world.link.acks.pop_front()).collect();
            world.seen.note(if ack.merged > 0 { Met::AcksMerged } else { Met::AckPolled });
            if merged.len() as u64 != ack.merged + 1 || merged.iter().max() != Some(&ack.vlsn) {
                world.wrong(format!("{ack:?} was polled where {merged:?} came"));
            }
        }
        true
    }

    fn acked(shared: &Shared, vlsn: u64) {
        let mut world = shared.lock().expect("nobody panics with it");
        world.seen.note(Met::AckCallback);
        let expected = world.link.acks.pop_front();
        if expected != Some(vlsn) || world.host.ends > 0 {
            world.wrong(format!("an ack of VLSN {vlsn} was delivered where {expected:?} was due"));
        }
    }

    /// The loop sleeps and nothing wakes it: then there must be nothing that it could send.
    pub(crate) fn judge_rest(&mut self) {
        self.calls_awake = 0;
        if self.host.has_stopped && !self.link.is_finished && self.link.ended.is_none() {
            self.wrong("it sleeps, and the host has stopped it".into());
        }
        let is_over = self.link.is_finished || self.link.ended.is_some() || self.host.has_stopped;
        let has_something = self.writer.whole > self.replica.has && self.link.is_empty() && self.replica.is_idle();
        if is_over || !has_something {
            self.untold_since = None;
            return;
        }
        if self.watch.event_at.is_some_and(|at| at > self.now) {
            return;
        }
        let next = self.replica.has + 1;
        if self.watch.is_reliable() && !self.watch.was_lost {
            self.wrong(format!("it sleeps, and VLSN {next} is in the log"));
            return;
        }
        let now = self.now;
        let since = *self.untold_since.get_or_insert(now);
        if now > since + SAFETY_LOOK + SLACK {
            self.wrong(format!("VLSN {next} is in the log, and for {:?} nobody has looked", now - since));
        }
    }
}

/// Runs one seed: what it met, or what went wrong.
pub(crate) fn run(seed: u64) -> Result<Seen, String> {
    let mut rng = Rng::new(seed);
    let mut options = Options::default();
    let day = (24 * 3600 * 1000).to_string();
    let mut sets = vec![
        ("runner.write_timeout_ms", day.clone()),
        ("log.gap_patience_ms", day),
        ("runner.chunk_bytes", rng.pick(&[4096, 100_000, 1 << 20]).to_string()),
        ("runner.queue_bytes_max", rng.pick(&[4096, 100_000]).to_string()),
        ("runner.share_from_bytes", rng.pick(&[0, 1000, 4096]).to_string()),
        ("ack.queue_max", rng.pick(&[1, 3, 65_536]).to_string()),
    ];
    for (key, value) in sets.drain(..) {
        options.set(key, &value).map_err(|error| error.to_string())?;
    }
    let takes_acks = rng.one_in(2);
    let host = Host {
        runner: None,
        log: None,
        takes_acks,
        ring_odds: rng.pick(&[0, 0, 3]),
        stops_in: rng.one_in(4).then(|| rng.below(40)),
        idle_turns: 0,
        has_stopped: false,
        gives_up: false,
        ends: 0,
    };
    let link = Link::draw(&mut rng);
    let world = World {
        writer: Writer::draw(&mut rng, link.capacity()),
        watch: WatchState::draw(&mut rng),
        link,
        replica: Replica::draw(&mut rng),
        host,
        base: Instant::now(),
        now: Duration::ZERO,
        seen: Seen::default(),
        moved: true,
        was_sent: false,
        sleeps: 0,
        idle_sleeps: 0,
        freeze_odds: rng.pick(&[0, 0, 0, 200]),
        meanwhile_odds: rng.pick(&[0, 5, 30]),
        is_inside: false,
        events: 0,
        calls_awake: 0,
        untold_since: None,
        trace: Vec::new(),
        wrong: None,
        rng,
    };
    let absent = world.watch.is_absent;
    let shared: Shared = Arc::new(Mutex::new(world));
    let log = Log::over(Arc::new(SimDisk(Arc::clone(&shared))), options.scanner(), None);
    let runner = Runner::new(Box::new(SimChannel(Arc::clone(&shared))), c"replica".to_owned(), 1, options)
        .map_err(|(_, error)| error.to_string())?;
    let runner = Arc::new(runner);
    if takes_acks {
        let heard = Arc::clone(&shared);
        runner.set_ack_function(Box::new(move |_, vlsn| World::acked(&heard, vlsn))).expect("it has not begun");
    }
    let is_told = Arc::new(AtomicBool::new(false));
    let (heard, told) = (Arc::clone(&shared), Arc::clone(&is_told));
    let end_function = move |_: &std::ffi::CStr, _: &End| {
        told.store(true, Ordering::Relaxed);
        heard.lock().expect("nobody panics with it").host.ends += 1;
    };
    runner.set_end_function(Box::new(end_function)).expect("it has not begun");
    {
        let mut world = shared.lock().expect("nobody panics with it");
        world.host.runner = Some(Arc::clone(&runner));
        world.host.log = Some(Arc::clone(&log));
        if absent {
            world.seen.note(Met::UnwatchedLog);
        }
    }
    let source = Box::new(LogSource::new(Arc::clone(&log), Lsn::NULL));
    drop(log);
    let end = runner
        .run_over(source, Box::new(SimDriver::new(Arc::clone(&shared))))
        .map_err(|(_, error)| error.to_string())?;
    while !takes_acks && World::poll_acks(&shared, &runner, 8) {}
    judge_end(&shared, &runner, &end);
    let mut world = shared.lock().expect("nobody panics with it");
    world.host.runner = None;
    world.host.log = None;
    match world.wrong.take() {
        None => Ok(world.seen.clone()),
        Some(text) => Err(format!("{text}\nended: {end:?}\n{}", world.trace.join("\n"))),
    }
}

fn judge_end(shared: &Shared, runner: &Runner, end: &End) {
    let (known, sent) = (runner.acks().known_vlsn(), runner.snapshot().sent_vlsn);
    let mut world = shared.lock().expect("nobody panics with it");
    let right = match (end, world.link.ended) {
        (End::Stopped, _) => world.host.has_stopped,
        // A connection that the replica has closed in order may still break off what is sent.
        (End::ClosedByPeer(Closing::Reset), closing) => closing.is_some(),
        (End::ClosedByPeer(Closing::Finished), closing) => closing == Some(Closing::Finished),
        (End::Failed(_), _) => false,
    };
    if !right {
        let text = format!("it ended as {end:?}, with the connection {:?}", world.link.ended);
        world.wrong(text);
    }
    if *end == End::Stopped && world.link.ended.is_none() && known < sent {
        world.seen.note(Met::Lingered);
        let lingered = world.now - world.link.finished_at;
        if lingered < LINGER {
            world.wrong(format!("VLSN {sent} was sent, {known} acknowledged, and it lingered for {lingered:?}"));
        }
    }
    let left = world.link.acks.len();
    if left > 0 {
        world.wrong(format!("{left} acks were received and never delivered"));
    }
    if known != world.link.acked {
        let text = format!("it knows of VLSN {known}, and {} was acknowledged", world.link.acked);
        world.wrong(text);
    }
    // A run that is stopped ends when all that was sent is acknowledged, and after its linger in any case.
    let is_owed = *end != End::Stopped && world.link.acked < world.replica.has;
    if world.link.ended == Some(Closing::Finished) && !world.link.is_drained() && is_owed {
        world.wrong("acks that had arrived before the replica closed were not received".into());
    }
    if !world.link.is_dropped || world.host.ends != 1 {
        let ends = world.host.ends;
        world.wrong(format!("the connection is not let go of, or the host was told {ends} times"));
    }
}
