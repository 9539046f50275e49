//! One reading of a log for many replicas: what several of them need is read, checked and laid out once.
//!
//! Each session has a [`SharedFeed`], with a position of its own. Those that are near each other are members of one
//! [`Reading`](reading::Reading): whoever comes first to where nothing was read yet reads a chunk, and the others find it
//! in the ring. The ring is bounded, so the slowest holds up nobody: who falls out of it begins another reading, at its own
//! place. When that one comes to what another has read, its members join the other, so in the end all are in one again.
//!
//! What members hold: a ring has `ring_bytes_max` at most, or one chunk that takes more. There are never more readings than
//! members, and a reading is dropped with its last one. A ring holds nothing for which no member waits, as long as there
//! is no other reading that may come upon it, and nothing at the end of the log, when all have sent everything.
//!
//! **Locks.** There are two kinds: that of the list of readings, and one in each reading. Nobody who has one of them takes
//! another, and nobody has one while a source reads or calls a function of the host's. A member may wait for another that
//! reads on its behalf. That one is in a source, which must not wait for a feed in turn: a log's source waits for the disk,
//! and for the host's log function where it has something to say.

mod reading;
mod ring;

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Feed, Portion};
use crate::chunk::fill::Filled;
use crate::chunk::{Chunk, ChunkLimits};
use crate::log::{Log, Lsn};
use crate::source::{LogSource, Origin, Source, SourceProgress};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use reading::{Asking, Counters, Place, Reading, Told};

/// How much memory a ring holds at most, unless somebody says otherwise. While all replicas keep up nothing of it is
/// needed; with so much, one may be behind the fastest by some chunks of the largest size.
pub const RING_BYTES: usize = 16 * 1024 * 1024;

/// How often a member moves to another reading before it gets an answer. Readings go on meanwhile, and may be elsewhere by
/// the time it comes.
const MOVES_MAX: u32 = 4;

type MakeSource = dyn Fn() -> Box<dyn Source> + Send + Sync;

/// What was taken from sources, for all members.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SharedCounts {
    /// Readings begun.
    pub readings: u64,
    /// How often a source was asked for a chunk.
    pub looks: u64,
    /// Frames laid out, and how many bytes they have.
    pub frames: u64,
    /// See `frames`.
    pub bytes: u64,
}

/// Makes the feeds of sessions that are to share readings. Any thread.
pub struct SharedFeeds {
    make_source: Box<MakeSource>,
    origin: Option<Arc<dyn Origin>>,
    limits: ChunkLimits,
    ring_bytes_max: usize,
    counters: Arc<Counters>,
    readings: Mutex<Vec<Listed>>,
    /// How many there are in the list.
    listed: AtomicUsize,
}

struct Listed {
    place: Arc<Place>,
    reading: Weak<Reading>,
}

impl SharedFeeds {
    /// Feeds from a log.
    pub fn over(log: &Arc<Log>, limits: ChunkLimits, ring_bytes_max: usize) -> Arc<SharedFeeds> {
        let origin = Arc::clone(log) as Arc<dyn Origin>;
        let log = Arc::clone(log);
        let make_source = move || Box::new(LogSource::new(Arc::clone(&log), Lsn::NULL)) as Box<dyn Source>;
        SharedFeeds::new(Box::new(make_source), Some(origin), limits, ring_bytes_max)
    }

    /// Feeds from the sources that `make_source` makes, each of which gives the same entries; all read from `origin`.
    /// Chunks are of such a size, and a ring holds `ring_bytes_max` bytes of memory, or one chunk that takes more.
    pub fn new(
        make_source: Box<MakeSource>,
        origin: Option<Arc<dyn Origin>>,
        limits: ChunkLimits,
        ring_bytes_max: usize,
    ) -> Arc<SharedFeeds> {
        Arc::new(SharedFeeds {
            make_source,
            origin,
            limits,
            ring_bytes_max,
            counters: Arc::default(),
            readings: Mutex::new(Vec::new()),
            listed: AtomicUsize::new(0),
        })
    }

    /// A feed for one session, which begins with `from_vlsn`; 0: with the lowest that there is. What is read from now on is
    /// kept for it: sessions that begin together share the first chunk, too.
    pub fn feed(self: &Arc<Self>, from_vlsn: u64) -> SharedFeed {
        let member = Some(Member { reading: self.join(from_vlsn), at: from_vlsn });
        SharedFeed { hub: Arc::clone(self), member, distrusts: false, progress: SourceProgress::default() }
    }

    /// What was taken from sources so far.
    pub fn counts(&self) -> SharedCounts {
        let Counters { readings, looks, frames, bytes } = &*self.counters;
        let [readings, looks, frames, bytes] =
            [readings, looks, frames, bytes].map(|count| count.load(Ordering::Relaxed));
        SharedCounts { readings, looks, frames, bytes }
    }

    /// How many readings there are now.
    pub fn readings(&self) -> usize {
        self.listed.load(Ordering::Relaxed)
    }

    /// How many bytes of memory the rings of all readings hold.
    pub fn ring_bytes(&self) -> usize {
        let readings: Vec<Arc<Reading>> = self.readings.lock().iter().filter_map(|one| one.reading.upgrade()).collect();
        let bytes = readings.iter().map(|reading| reading.ring_bytes()).sum();
        drop(readings);
        // One of them may have been left by its last member meanwhile.
        self.forget();
        bytes
    }

    fn is_alone(&self) -> bool {
        self.readings() <= 1
    }

    /// A reading that `at` is in, or that reads on from there; of a member of `own` another than that. Of two that read on
    /// from the same place the one that began later is given up: they are not exchanged for each other.
    fn find(&self, at: u64, own: Option<u64>) -> Option<Arc<Reading>> {
        Self::find_in(&self.readings.lock(), at, own)
    }

    fn find_in(readings: &[Listed], at: u64, own: Option<u64>) -> Option<Arc<Reading>> {
        let others = || readings.iter().filter(|one| Some(one.place.id) != own);
        let ahead = others().filter_map(|one| Some((one.place.covers(at)?, one))).max_by_key(|(next, _)| *next);
        let found = ahead.map(|(_, one)| one).or_else(|| {
            let beside = others().filter(|one| one.place.is_at(at) && own.is_none_or(|own| one.place.id < own));
            beside.min_by_key(|one| one.place.id)
        });
        found.and_then(|one| one.reading.upgrade())
    }

    /// A reading for a member at `at` that has none: it is counted in there.
    fn join(&self, at: u64) -> Arc<Reading> {
        let mut tries = 0;
        let mut made: Option<Arc<Reading>> = None;
        loop {
            let mut readings = self.readings.lock();
            let found = if tries < MOVES_MAX { Self::find_in(&readings, at, None) } else { None };
            match (found, made.take()) {
                (Some(other), unused) => {
                    drop(readings);
                    made = unused;
                    tries += 1;
                    if other.enter(at) {
                        return other;
                    }
                    self.drop_reading(other);
                }
                // Looked for once more with the list locked: of two who begin at one place at once, one joins the other.
                (None, Some(reading)) => {
                    let (place, weak) = (Arc::clone(reading.place()), Arc::downgrade(&reading));
                    readings.push(Listed { place, reading: weak });
                    self.listed.store(readings.len(), Ordering::Relaxed);
                    return reading;
                }
                (None, None) => {
                    drop(readings);
                    let (origin, limits) = (self.origin.clone(), self.limits);
                    let source = (self.make_source)();
                    made = Some(Reading::new(source, origin, at, limits, self.ring_bytes_max, &self.counters));
                }
            }
        }
    }

    /// Lets go of a reading, which may have been its last use.
    fn drop_reading(&self, reading: Arc<Reading>) {
        drop(reading);
        self.forget();
    }

    /// Forgets readings that have no member any more.
    fn forget(&self) {
        let mut readings = self.readings.lock();
        readings.retain(|one| one.reading.strong_count() > 0);
        self.listed.store(readings.len(), Ordering::Relaxed);
    }
}

struct Member {
    reading: Arc<Reading>,
    /// What it asks for next.
    at: u64,
}

/// The feed of one session: see the module's comment.
pub struct SharedFeed {
    hub: Arc<SharedFeeds>,
    member: Option<Member>,
    /// It was told that something has changed, and has had no answer since that takes that into account.
    distrusts: bool,
    progress: SourceProgress,
}

impl SharedFeed {
    /// Leaves its reading, if it has one.
    fn leave(&mut self) {
        if let Some(Member { reading, at }) = self.member.take() {
            reading.leave(at, self.hub.is_alone());
            self.hub.drop_reading(reading);
        }
    }

    /// Goes on in another reading, unless that has gone too far meanwhile.
    fn move_to(&mut self, other: Arc<Reading>, at: u64) {
        if other.enter(at) {
            self.leave();
            self.member = Some(Member { reading: other, at });
        } else {
            self.hub.drop_reading(other);
        }
    }

    /// The reading in which it stands at `at`.
    fn reading_at(&mut self, at: u64) -> &Reading {
        if self.member.as_ref().is_some_and(|member| member.at != at) {
            self.leave();
        }
        &self.member.get_or_insert_with(|| Member { reading: self.hub.join(at), at }).reading
    }
}

impl Feed for SharedFeed {
    fn next(&mut self, from_vlsn: u64, now: Instant) -> (Option<Portion>, Filled) {
        let mut moves = 0;
        let mut reads = false;
        loop {
            let is_alone = self.hub.is_alone();
            let asking = Asking { at: from_vlsn, now, distrusts: self.distrusts, reads: reads || is_alone, is_alone };
            let reading = self.reading_at(from_vlsn);
            let id = reading.place().id;
            match reading.ask(asking) {
                Told::Answer { portion, filled, has_looked, progress } => {
                    self.distrusts &= !has_looked;
                    self.progress = progress;
                    if let (Some(portion), Some(member)) = (&portion, &mut self.member) {
                        member.at = portion.chunk.last_vlsn().map_or(from_vlsn, |last| last.saturating_add(1));
                    }
                    return (portion, filled);
                }
                Told::LeftBehind => self.leave(),
                Told::WouldRead => {
                    let other = if moves < MOVES_MAX { self.hub.find(from_vlsn, Some(id)) } else { None };
                    moves += 1;
                    reads = other.is_none();
                    if let Some(other) = other {
                        self.move_to(other, from_vlsn);
                    }
                }
            }
        }
    }

    fn take_back(&mut self, chunk: Arc<Chunk>) {
        if let Some(Member { reading, .. }) = &self.member {
            reading.take_back(chunk);
        }
    }

    fn distrust(&mut self) {
        self.distrusts = true;
    }

    fn is_notified(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.reading.is_notified())
    }

    fn origin(&self) -> Option<Arc<dyn Origin>> {
        self.hub.origin.clone()
    }

    /// What was read for it and for others, by the reading in which it is now.
    fn progress(&self) -> SourceProgress {
        self.progress
    }
}

impl Drop for SharedFeed {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
