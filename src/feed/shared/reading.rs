//! A reading: one source, read by whichever member needs it first, and the ring of what was read last.
//!
//! Its lock is held for moments only: not while the source reads, and not while anything else is locked. Who reads takes
//! the source out of the state and brings it back. Members that want the same chunk meanwhile wait for that one look, which
//! takes no longer than their own would; members that want what is in the ring do not wait for it.

use std::sync::Arc;
use std::time::Instant;

use super::super::Portion;
use super::super::pool::ChunkPool;
use super::ring::Ring;
use crate::chunk::fill::{Filled, fill};
use crate::chunk::{Chunk, ChunkLimits};
use crate::error::Error;
use crate::log::Wait;
use crate::source::{Origin, Source, SourceProgress};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// What readings have taken from their sources.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) readings: AtomicU64,
    pub(super) looks: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// Where a reading stands, for those who search for one. It may be elsewhere by the time they come.
#[derive(Debug)]
pub(super) struct Place {
    /// Readings are numbered in the order in which they began.
    pub(super) id: u64,
    first: AtomicU64,
    next: AtomicU64,
    has_lowest: AtomicBool,
    is_closed: AtomicBool,
}

impl Place {
    /// Whether the frames from there on have been read and can still be had. If so, up to which VLSN.
    pub(super) fn covers(&self, at: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_in = match at {
            0 => self.has_lowest.load(Ordering::Relaxed),
            at => (self.first.load(Ordering::Relaxed)..next).contains(&at),
        };
        (is_in && self.is_open()).then_some(next)
    }

    /// Whether it reads on from there.
    pub(super) fn is_at(&self, at: u64) -> bool {
        self.next.load(Ordering::Relaxed) == at && self.is_open()
    }

    fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
    }

    fn show(&self, ring: &Ring) {
        self.first.store(ring.first(), Ordering::Relaxed);
        self.next.store(ring.next(), Ordering::Relaxed);
        self.has_lowest.store(ring.has_lowest(), Ordering::Relaxed);
    }
}

/// How a member asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// From which VLSN on; 0 for the lowest that there is.
    pub(super) at: u64,
    pub(super) now: Instant,
    /// Whether it was told that something has changed, and has looked at nothing since.
    pub(super) distrusts: bool,
    /// Whether it reads if that is needed.
    pub(super) reads: bool,
    /// Whether nobody else reads: then nobody will come for what all its members have.
    pub(super) is_alone: bool,
}

/// What a member is told.
#[derive(Debug)]
pub(super) enum Told {
    /// As a feed tells it; whether the source was looked at with as much distrust as the member has; and what it has done.
    Answer { portion: Option<Portion>, filled: Filled, has_looked: bool, progress: SourceProgress },
    /// It would have to be read.
    WouldRead,
    /// It is not in the ring any more.
    LeftBehind,
}

/// That there was nothing.
#[derive(Clone, Copy, Debug)]
struct Dry {
    pause: Wait,
    /// The origin's epoch before that look.
    epoch: Option<u64>,
}

/// See the module's comment.
pub(super) struct Reading {
    place: Arc<Place>,
    origin: Option<Arc<dyn Origin>>,
    counters: Arc<Counters>,
    state: Mutex<State>,
    /// The source was brought back.
    is_back: Condvar,
}

struct State {
    /// `None` while a member has it.
    source: Option<Box<dyn Source>>,
    ring: Ring,
    pool: ChunkPool,
    /// How often the source was asked, and when for the last time.
    looks: u64,
    looked_last: Option<Instant>,
    /// The source had no more, when it was asked last.
    dry: Option<Dry>,
    /// The source has failed.
    failed: Option<Error>,
    /// The source is still to be told that something has changed; and the epoch in which a member has said so last.
    is_distrusted: bool,
    distrusted_in: Option<u64>,
    /// Whether the notification tells of all that is waited for, as of this epoch. Forgotten with each look.
    notified: Option<(u64, bool)>,
    progress: SourceProgress,
}

impl State {
    /// That there is nothing, if that can still be said: nothing has changed since the look.
    fn dry_now(&self, epoch: Option<u64>, now: Instant) -> Option<Filled> {
        let Dry { pause, epoch: looked_in } = self.dry?;
        let is_so = epoch.is_some()
            && epoch == looked_in
            && !self.is_distrusted
            && pause.look_again.is_none_or(|look_again| now < look_again);
        is_so.then_some(Filled::Dry(pause))
    }

    /// A member was told that something has changed. If another has said so in the same epoch, the look since then, or the
    /// one that is to come, serves both: whatever there is to hear of begins a new one.
    fn distrust(&mut self, epoch: Option<u64>) {
        if epoch.is_none() || self.distrusted_in != epoch {
            self.is_distrusted = true;
            self.distrusted_in = epoch;
        }
    }

    /// Whether it has read all there is, and nobody waits for any of it.
    fn is_at_rest(&self) -> bool {
        self.dry.is_some() && self.ring.behind() == 0
    }

    /// Lets go of what nobody needs. The memory is in `freed` to be given back without the lock.
    fn tidy(&mut self, is_alone: bool, mut freed: Vec<Arc<Chunk>>) -> Vec<Arc<Chunk>> {
        // Another reading may reach what this one has read last, and can then go on with it. At the end both meet anyway.
        if is_alone || self.dry.is_some() {
            self.ring.let_go(&mut freed);
        }
        while !freed.is_empty() && self.pool.has_room() {
            if let Some(chunk) = freed.pop() {
                self.keep(chunk);
            }
        }
        if self.is_at_rest() {
            self.pool.rest();
        }
        freed
    }

    /// Keeps a chunk to be filled again, if nobody else has it. Who has it brings it back later.
    fn keep(&mut self, mut chunk: Arc<Chunk>) {
        if Arc::get_mut(&mut chunk).is_some() {
            self.pool.keep(chunk);
        }
    }
}

impl Reading {
    /// One that begins to read `source` at `from`; with its first member, which stands there.
    pub(super) fn new(
        source: Box<dyn Source>,
        origin: Option<Arc<dyn Origin>>,
        from: u64,
        limits: ChunkLimits,
        ring_bytes_max: usize,
        counters: &Arc<Counters>,
    ) -> Arc<Reading> {
        let id = counters.readings.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            id,
            first: AtomicU64::new(from),
            next: AtomicU64::new(from),
            has_lowest: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        };
        let mut ring = Ring::new(from, ring_bytes_max);
        ring.enter(from);
        Arc::new(Reading {
            place: Arc::new(place),
            origin,
            counters: Arc::clone(counters),
            state: Mutex::new(State {
                progress: source.progress(),
                source: Some(source),
                ring,
                pool: ChunkPool::new(limits),
                looks: 0,
                looked_last: None,
                dry: None,
                failed: None,
                is_distrusted: false,
                distrusted_in: None,
                notified: None,
            }),
            is_back: Condvar::new(),
        })
    }

    /// Where it stands.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// How much memory its ring holds.
    pub(super) fn ring_bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }

    /// A member comes, at this position. False: it cannot be served from there.
    pub(super) fn enter(&self, at: u64) -> bool {
        let mut state = self.state.lock();
        state.failed.is_none() && state.ring.enter(at)
    }

    /// A member goes, from this position.
    pub(super) fn leave(&self, at: u64, is_alone: bool) {
        let mut state = self.state.lock();
        state.ring.leave(at);
        let freed = state.tidy(is_alone, Vec::new());
        self.place.show(&state.ring);
        drop(state);
        drop(freed);
    }

    /// Takes a chunk back that a member has sent.
    pub(super) fn take_back(&self, mut chunk: Arc<Chunk>) {
        // Most often others have it. The last of them, or the ring, sees to it.
        if Arc::get_mut(&mut chunk).is_none() {
            return;
        }
        let mut state = self.state.lock();
        if state.pool.has_room() {
            state.pool.keep(chunk);
            if state.is_at_rest() {
                state.pool.rest();
            }
        }
    }

    /// Tells a member what there is for it. With the frames that it gets, it moves on.
    pub(super) fn ask(&self, asking: Asking) -> Told {
        let Asking { at, now, mut distrusts, reads, is_alone } = asking;
        let mut has_waited = false;
        let mut state = self.state.lock();
        loop {
            if let Some(portion) = state.ring.give(at) {
                let has_all = portion.chunk.last_vlsn().is_some_and(|last| last.saturating_add(1) == state.ring.next());
                let end = if has_all && !distrusts { self.end_of(&state, now) } else { None };
                let has_looked = end.is_some();
                let freed = state.tidy(is_alone, Vec::new());
                self.place.show(&state.ring);
                let progress = state.progress;
                drop(state);
                drop(freed);
                let filled = end.unwrap_or(Filled::Full);
                return Told::Answer { portion: Some(portion), filled, has_looked, progress };
            }
            if at != state.ring.next() {
                return Told::LeftBehind;
            }
            if std::mem::take(&mut distrusts) {
                state.distrust(self.epoch());
            }
            if let Some(end) = self.end_of(&state, now) {
                return Told::Answer { portion: None, filled: end, has_looked: true, progress: state.progress };
            }
            if !reads {
                return Told::WouldRead;
            }
            if state.source.is_some() {
                return self.look(state, asking);
            }
            if has_waited {
                // Somebody looks again, and it may be through much: not to be waited for a second time in one turn.
                let (filled, progress) = (Filled::Busy, state.progress);
                return Told::Answer { portion: None, filled, has_looked: false, progress };
            }
            self.wait(&mut state);
            has_waited = true;
        }
    }

    /// That there is no more, or that there will be none, if that is known without another look.
    fn end_of(&self, state: &State, now: Instant) -> Option<Filled> {
        match &state.failed {
            Some(error) => Some(Filled::Failed(error.clone())),
            None => state.dry.and_then(|_| state.dry_now(self.epoch(), now)),
        }
    }

    fn epoch(&self) -> Option<u64> {
        self.origin.as_ref().and_then(|origin| origin.epoch())
    }

    /// Waits until the look that is under way is over.
    fn wait(&self, state: &mut MutexGuard<'_, State>) {
        let looks = state.looks;
        while state.source.is_none() && state.looks == looks && state.failed.is_none() {
            self.is_back.wait(state);
        }
    }

    /// Fills a chunk, for the member that asks and for all who stand where it stands.
    fn look(&self, mut state: MutexGuard<'_, State>, Asking { at, now, is_alone, .. }: Asking) -> Told {
        // Before the look: what comes during it begins another epoch, and is looked for again.
        let epoch = self.epoch();
        let (mut chunk, limits) = (state.pool.take(), state.pool.limits());
        let is_distrusted = std::mem::take(&mut state.is_distrusted);
        // Another thread may have taken the time later and been here sooner.
        let now = state.looked_last.map_or(now, |last| last.max(now));
        state.looked_last = Some(now);
        let is_kept = state.ring.at_next() > 1 || !is_alone;
        let mut borrowed = Borrowed::from(self, state);
        let source = borrowed.source();
        if is_distrusted {
            source.distrust();
        }
        let filling = Arc::get_mut(&mut chunk).expect("it has one owner");
        let filled = fill(filling, source, at, &limits, now);
        if is_kept {
            filling.shrink();
        }
        let pause = if let Filled::Dry(pause) = &filled { Some(*pause) } else { None };
        source.note_turn(pause.as_ref());
        let progress = source.progress();
        self.counters.looks.fetch_add(1, Ordering::Relaxed);
        self.counters.frames.fetch_add(chunk.frames() as u64, Ordering::Relaxed);
        self.counters.bytes.fetch_add(chunk.len(), Ordering::Relaxed);

        let mut state = borrowed.bring_back();
        state.looks += 1;
        state.progress = progress;
        state.notified = None;
        state.pool.note_filled(&chunk, &limits, pause.is_some());
        state.dry = pause.map(|pause| Dry { pause, epoch });
        if let Filled::Failed(error) = &filled {
            self.fail(&mut state, error.clone());
        }
        let mut freed = Vec::new();
        let portion = if chunk.is_empty() {
            state.keep(chunk);
            None
        } else {
            state.ring.push(&chunk, &mut freed);
            Some(Portion::whole(chunk))
        };
        let freed = state.tidy(is_alone, freed);
        self.place.show(&state.ring);
        drop(state);
        drop(freed);
        self.is_back.notify_all();
        Told::Answer { portion, filled, has_looked: true, progress }
    }

    /// The source gives nothing more.
    fn fail(&self, state: &mut State, error: Error) {
        state.failed = Some(error);
        self.place.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether the notification tells of every change that is waited for: asked once for all members.
    pub(super) fn is_notified(&self) -> bool {
        let mut state = self.state.lock();
        let epoch = self.epoch();
        loop {
            if let Some((known_in, is_notified)) = state.notified
                && epoch == Some(known_in)
            {
                return is_notified;
            }
            if state.failed.is_some() {
                return true;
            }
            if state.source.is_some() {
                break;
            }
            self.wait(&mut state);
        }
        let mut borrowed = Borrowed::from(self, state);
        let is_notified = borrowed.source().is_notified();
        let mut state = borrowed.bring_back();
        state.notified = epoch.map(|epoch| (epoch, is_notified));
        drop(state);
        self.is_back.notify_all();
        is_notified
    }
}

/// The source of a reading, with whoever uses it. If that one panics, nobody waits for it for ever.
struct Borrowed<'a> {
    reading: &'a Reading,
    source: Option<Box<dyn Source>>,
}

impl Borrowed<'_> {
    /// Takes it out of the state, where it is.
    fn from<'a>(reading: &'a Reading, mut state: MutexGuard<'_, State>) -> Borrowed<'a> {
        Borrowed { reading, source: state.source.take() }
    }

    fn source(&mut self) -> &mut dyn Source {
        &mut **self.source.as_mut().expect("brought back only at the end")
    }
}

impl<'a> Borrowed<'a> {
    fn bring_back(mut self) -> MutexGuard<'a, State> {
        let mut state = self.reading.state.lock();
        state.source = self.source.take();
        state
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.source.is_some() {
            let error = Error::Panicked("a reading of the log was left in the middle".into());
            self.reading.fail(&mut self.reading.state.lock(), error);
            self.reading.is_back.notify_all();
        }
    }
}
