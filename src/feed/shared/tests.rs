use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Result};
use crate::feed::OwnFeed;
use crate::log::{Entry, Next, Now, Wait, WaitReason};
use crate::sys::waker::Waker;

/// The lowest VLSN there is.
const LOWEST: u64 = 3;

const LIMITS: ChunkLimits = ChunkLimits { bytes: 2000, frames_max: 8, send_first: 0, share_from: 4096 };

/// More than a chunk of that size holds.
const CHUNK_MEMORY_MAX: usize = 8000;

type Meanwhile = Box<dyn FnOnce() + Send>;

/// What all sources read from.
struct Shelf {
    last: AtomicU64,
    epoch: AtomicU64,
    /// At this VLSN it fails.
    fails_at: AtomicU64,
    /// Every so many calls are busy; 0: none.
    busy_every: u64,
    calls: AtomicU64,
    distrusts: AtomicU64,
    notices: AtomicU64,
    /// When it has nothing, whether a later look may have more, as time alone decides.
    look_again: Option<Instant>,
    /// What runs when a VLSN is asked for.
    meanwhile: Mutex<Option<(u64, Meanwhile)>>,
}

impl Shelf {
    fn up_to(last: u64) -> Shelf {
        Shelf {
            last: AtomicU64::new(last),
            epoch: AtomicU64::new(0),
            fails_at: AtomicU64::new(u64::MAX),
            busy_every: 0,
            calls: AtomicU64::new(0),
            distrusts: AtomicU64::new(0),
            notices: AtomicU64::new(0),
            look_again: None,
            meanwhile: Mutex::new(None),
        }
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    fn append(&self, count: u64) {
        self.last.fetch_add(count, Ordering::Relaxed);
        self.notify();
    }

    fn feeds(self: Shelf, ring_bytes_max: usize) -> (Arc<Shelf>, Arc<SharedFeeds>) {
        let shelf = Arc::new(self);
        let (of_source, origin) = (Arc::clone(&shelf), Arc::clone(&shelf) as Arc<dyn Origin>);
        let make = move || Box::new(Reader(Arc::clone(&of_source))) as Box<dyn Source>;
        (shelf, SharedFeeds::new(Box::new(make), Some(origin), LIMITS, ring_bytes_max))
    }

    fn own_feed(self: &Arc<Shelf>) -> OwnFeed {
        OwnFeed::new(Box::new(Reader(Arc::clone(self))), LIMITS)
    }
}

static BYTES: [u8; 1000] = {
    let mut bytes = [0; 1000];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at * 7 + at / 256) as u8;
        at += 1;
    }
    bytes
};

fn payload(vlsn: u64) -> &'static [u8] {
    &BYTES[vlsn as usize % 251..][..(vlsn * 7919 % 601) as usize]
}

struct Reader(Arc<Shelf>);

impl Source for Reader {
    fn next(&mut self, from_vlsn: u64, _: &Now) -> Result<Next<'_>> {
        let Reader(shelf) = self;
        let vlsn = if from_vlsn == 0 { LOWEST } else { from_vlsn };
        let calls = shelf.calls.fetch_add(1, Ordering::Relaxed);
        let meanwhile = shelf.meanwhile.lock().take_if(|(at, _)| *at == vlsn);
        if let Some((_, meanwhile)) = meanwhile {
            meanwhile();
        }
        if shelf.busy_every > 0 && calls.is_multiple_of(shelf.busy_every) {
            return Ok(Next::Busy);
        }
        if vlsn == shelf.fails_at.load(Ordering::Relaxed) {
            return Err(gap());
        }
        if vlsn > shelf.last() {
            return Ok(Next::Nothing(Wait::new(WaitReason::End, Lsn::NULL, shelf.look_again)));
        }
        let (lsn, payload) = (Lsn::new(0, 36), payload(vlsn));
        Ok(Next::Entry(Entry { vlsn, lsn, entry_type: 13, payload, payload_crc: 0, block: None }))
    }

    fn distrust(&mut self) {
        self.0.distrusts.fetch_add(1, Ordering::Relaxed);
    }

    fn is_notified(&self) -> bool {
        self.0.notices.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress { listings: self.0.calls.load(Ordering::Relaxed), ..SourceProgress::default() }
    }
}

impl Origin for Shelf {
    fn register(&self, _: &Arc<Waker>) {}

    fn notify(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    fn arm(&self) -> bool {
        true
    }

    fn watch_fd(&self) -> Option<RawFd> {
        None
    }

    fn take_events(&self, _: &Waker) {}

    fn check(&self) {}

    fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Relaxed))
    }

    fn last_vlsn(&self) -> u64 {
        0
    }

    fn bytes_from(&self, _: Lsn) -> u64 {
        0
    }
}

fn gap() -> Error {
    Error::LogGap { expected: 1, found: 2, at: Lsn::NULL }
}

fn bytes_of(Portion { chunk, begin }: &Portion) -> Vec<u8> {
    let mut pieces = [IoSlice::new(&[]); 64];
    let count = chunk.gather(*begin, &mut pieces);
    pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect()
}

/// A session, as far as its feed sees it.
struct Member<F> {
    feed: F,
    next: u64,
    got: Vec<u8>,
    sending: VecDeque<Arc<Chunk>>,
}

impl Member<SharedFeed> {
    fn of(feeds: &Arc<SharedFeeds>, start: u64) -> Member<SharedFeed> {
        Member::new(feeds.feed(start), start)
    }
}

impl<F: Feed> Member<F> {
    fn new(feed: F, start: u64) -> Member<F> {
        Member { feed, next: start, got: Vec::new(), sending: VecDeque::new() }
    }

    fn ask(&mut self, now: Instant) -> Filled {
        let (portion, filled) = self.feed.next(self.next, now);
        if let Some(portion) = portion {
            self.got.extend(bytes_of(&portion));
            self.next = portion.chunk.last_vlsn().unwrap() + 1;
            self.sending.push_back(portion.chunk);
        }
        filled
    }

    fn send(&mut self) {
        if let Some(chunk) = self.sending.pop_front() {
            self.feed.take_back(chunk);
        }
    }

    /// Gets and sends all there is.
    fn catch_up(&mut self, now: Instant) -> Filled {
        loop {
            let filled = self.ask(now);
            while !self.sending.is_empty() {
                self.send();
            }
            if matches!(filled, Filled::Dry(_) | Filled::Failed(_)) {
                return filled;
            }
        }
    }
}

/// What a feed of its own gives from there on.
fn reference(shelf: &Arc<Shelf>, start: u64, now: Instant) -> Vec<u8> {
    let mut member = Member::new(shelf.own_feed(), start);
    member.catch_up(now);
    member.got
}

#[test]
fn what_one_has_read_the_others_have_from_the_ring() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(1 << 20);
    let now = Instant::now();
    let mut members: Vec<_> = (0..64).map(|_| Member::of(&feeds, LOWEST)).collect();
    let mut ring_bytes_max = 0;
    while !members.iter_mut().all(|member| matches!(member.ask(now), Filled::Dry(_))) {
        ring_bytes_max = ring_bytes_max.max(feeds.ring_bytes());
        members.iter_mut().for_each(Member::send);
    }
    let expected = reference(&shelf, LOWEST, now);
    assert!(members.iter().all(|member| member.got == expected));
    let counts = feeds.counts();
    assert_eq!((counts.readings, counts.frames, counts.bytes), (1, 998, expected.len() as u64));
    assert!(ring_bytes_max > 0);
    assert_eq!((feeds.ring_bytes(), feeds.readings()), (0, 1), "all have all");
    drop(members);
    assert_eq!(feeds.readings(), 0);
}

#[test]
fn at_the_end_one_looks_for_all_until_something_may_have_changed() {
    let later = Instant::now() + Duration::from_secs(5);
    let (shelf, feeds) = Shelf { look_again: Some(later), ..Shelf::up_to(100) }.feeds(1 << 20);
    let now = Instant::now();
    let mut members: Vec<_> = (0..64).map(|_| Member::of(&feeds, 50)).collect();
    let looks_of = |members: &mut Vec<Member<SharedFeed>>, now| {
        let before = feeds.counts().looks;
        members.iter_mut().for_each(|member| drop(member.catch_up(now)));
        feeds.counts().looks - before
    };
    looks_of(&mut members, now);
    assert_eq!(looks_of(&mut members, now), 0, "nothing has changed");
    shelf.notify();
    assert_eq!(looks_of(&mut members, now), 1);
    assert_eq!(looks_of(&mut members, later), 64, "time alone changes the answer, and it is still the same time");
    shelf.append(1);
    assert_eq!(looks_of(&mut members, now), 1, "what there is, and that there is no more");
    assert!(members.iter().all(|member| member.next == 102));
    assert_eq!(shelf.distrusts.load(Ordering::Relaxed), 0);
    for _ in 0..2 {
        shelf.notify();
        members.iter_mut().for_each(|member| member.feed.distrust());
        assert_eq!(looks_of(&mut members, now), 1);
    }
    assert_eq!(shelf.distrusts.load(Ordering::Relaxed), 2, "once for all of them");
    members.iter_mut().for_each(|member| member.feed.distrust());
    assert_eq!(looks_of(&mut members, now), 0, "nothing can have been said since");
    shelf.notify();
    assert_eq!(looks_of(&mut members, now), 1);
    members.iter_mut().for_each(|member| member.feed.distrust());
    assert_eq!(looks_of(&mut members, now), 1, "that look has believed what this one does not");
    assert_eq!(shelf.distrusts.load(Ordering::Relaxed), 3);
    shelf.notify();
    let notified = members.iter().all(|member| member.feed.is_notified());
    assert!(notified && shelf.notices.load(Ordering::Relaxed) == 1);
}

#[test]
fn a_source_that_does_not_count_is_asked_by_everybody() {
    let shelf = Arc::new(Shelf::up_to(10));
    let of_source = Arc::clone(&shelf);
    let make = move || Box::new(Reader(Arc::clone(&of_source))) as Box<dyn Source>;
    let feeds = SharedFeeds::new(Box::new(make), None, LIMITS, 1 << 20);
    let mut members = [1, 2, 3].map(|_| Member::of(&feeds, 5));
    let now = Instant::now();
    members.iter_mut().for_each(|member| drop(member.catch_up(now)));
    let before = feeds.counts().looks;
    members.iter_mut().for_each(|member| drop(member.catch_up(now)));
    assert_eq!(feeds.counts().looks, before + 3);
    assert_eq!(feeds.readings(), 1);
}

#[test]
fn distrust_goes_with_a_member_that_joins_another_reading() {
    let (shelf, feeds) = Shelf::up_to(100).feeds(1 << 20);
    let now = Instant::now();
    let mut first = Member::of(&feeds, 100);
    first.catch_up(now);
    let mut second = Member::of(&feeds, 50);
    second.ask(now);
    second.feed.distrust();
    while second.next < 101 {
        second.ask(now);
    }
    assert_eq!(feeds.readings(), 2);
    assert_eq!(shelf.distrusts.load(Ordering::Relaxed), 1, "in its own");
    second.feed.distrust();
    shelf.notify();
    second.ask(now);
    assert_eq!((feeds.readings(), shelf.distrusts.load(Ordering::Relaxed)), (1, 2), "in the one that it joined");
}

#[test]
fn who_falls_out_of_the_ring_reads_for_itself_and_meets_the_others_again() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(3 * CHUNK_MEMORY_MAX);
    let now = Instant::now();
    let (mut fast, mut slow) = (Member::of(&feeds, LOWEST), Member::of(&feeds, LOWEST));
    fast.ask(now);
    slow.ask(now);
    fast.catch_up(now);
    assert_eq!((feeds.readings(), feeds.ring_bytes()), (1, 0), "for who is left behind nothing is kept");
    slow.ask(now);
    assert_eq!(feeds.readings(), 2);
    slow.catch_up(now);
    assert_eq!((feeds.readings(), feeds.ring_bytes()), (1, 0), "at the end there is one");
    let expected = reference(&shelf, LOWEST, now);
    assert!(fast.got == expected && slow.got == expected);
}

#[test]
fn who_comes_upon_what_another_has_read_goes_on_with_that() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(1 << 20);
    let now = Instant::now();
    let (mut first, mut second) = (Member::of(&feeds, 501), Member::of(&feeds, 300));
    second.ask(now);
    for _ in 0..5 {
        first.ask(now);
    }
    assert_eq!(feeds.readings(), 2);
    let before = feeds.counts().frames;
    while second.next < first.next {
        second.ask(now);
    }
    assert_eq!(feeds.readings(), 1);
    assert!(feeds.counts().frames - before <= 501 - 300 + 16, "what the other had read was not read again");
    second.catch_up(now);
    first.catch_up(now);
    assert!(first.got == reference(&shelf, 501, now) && second.got == reference(&shelf, 300, now));
}

#[test]
fn who_comes_later_joins_within_a_chunk_or_at_its_edge() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(1 << 20);
    let now = Instant::now();
    let (mut first, mut slow) = (Member::of(&feeds, LOWEST), Member::of(&feeds, LOWEST));
    slow.ask(now);
    // It asks no further, so all from there on is kept.
    first.catch_up(now);
    let looks = feeds.counts().looks;
    for start in [20, 21, 22, 23, 24, 25, 26, 27, 1000, 1001] {
        let mut late = Member::of(&feeds, start);
        assert!(matches!(late.catch_up(now), Filled::Dry(_)));
        assert_eq!(late.got, reference(&shelf, start, now), "from {start}");
    }
    assert_eq!((feeds.counts().looks, feeds.readings()), (looks, 1), "nothing was read for them");
    let mut late = Member::of(&feeds, 0);
    late.catch_up(now);
    assert_eq!(late.got, reference(&shelf, 0, now), "the beginning is not kept any more");
}

#[test]
fn an_error_is_told_to_all_who_come_to_it_and_joined_by_nobody() {
    let (shelf, feeds) = Shelf::up_to(100).feeds(1 << 20);
    shelf.fails_at.store(50, Ordering::Relaxed);
    let now = Instant::now();
    let mut members = [1, 2, 3].map(|_| Member::of(&feeds, LOWEST));
    for member in &mut members {
        assert!(matches!(member.catch_up(now), Filled::Failed(error) if error == gap()));
        assert_eq!(member.next, 50);
    }
    shelf.fails_at.store(u64::MAX, Ordering::Relaxed);
    for member in &mut members {
        assert!(matches!(member.ask(now), Filled::Failed(_)), "it is final");
    }
    let mut other = Member::of(&feeds, 50);
    assert!(matches!(other.catch_up(now), Filled::Dry(_)));
    assert_eq!((other.next, feeds.readings()), (101, 2));
}

#[test]
fn memory_is_given_back_at_rest() {
    let (_shelf, feeds) = Shelf::up_to(2000).feeds(1 << 20);
    let now = Instant::now();
    let mut members = [1, 2, 3].map(|_| Member::of(&feeds, LOWEST));
    members[0].catch_up(now);
    let mut portions = Vec::new();
    for member in &mut members[1..] {
        member.ask(now);
        portions.extend(member.sending.iter().map(Arc::downgrade));
    }
    assert!(feeds.ring_bytes() > 0);
    members.iter_mut().for_each(|member| drop(member.catch_up(now)));
    assert_eq!(feeds.ring_bytes(), 0);
    assert!(portions.iter().filter(|chunk| chunk.strong_count() > 0).count() <= 4, "but for a few to be filled again");
}

/// Lets a thread stop within a source, and go on when it is told to.
fn stopped_at(shelf: &Shelf, vlsn: u64) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (is_there, there) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let stop = move || {
        is_there.send(()).unwrap();
        let _ = goes_on.recv();
    };
    *shelf.meanwhile.lock() = Some((vlsn, Box::new(stop)));
    (there, go_on)
}

#[test]
fn while_one_reads_another_has_what_was_read_and_a_third_waits_for_the_same() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(1 << 20);
    let now = Instant::now();
    let mut members = [1, 2, 3].map(|_| Member::of(&feeds, LOWEST));
    members.iter_mut().for_each(|member| drop(member.ask(now)));
    members.iter_mut().for_each(|member| drop(member.ask(now)));
    members[0].ask(now);
    members[2].ask(now);
    let (next, looks) = (members[0].next, feeds.counts().looks);
    assert_eq!((members[2].next, feeds.readings()), (next, 1));
    let (there, go_on) = stopped_at(&shelf, next);
    let [reader, behind, waiting] = &mut members;
    thread::scope(|scope| {
        scope.spawn(|| reader.ask(now));
        there.recv().unwrap();
        assert!(matches!(behind.ask(now), Filled::Full));
        assert_eq!(behind.next, next);
        let (has_it, it) = mpsc::channel();
        scope.spawn(move || {
            waiting.ask(now);
            has_it.send(waiting.next).unwrap();
        });
        assert!(it.try_recv().is_err());
        go_on.send(()).unwrap();
        assert!(it.recv().unwrap() > next);
    });
    assert_eq!(feeds.counts().looks, looks + 1, "it was read once");
}

#[test]
fn a_panic_while_it_is_read_is_an_error_for_the_others() {
    let (shelf, feeds) = Shelf::up_to(1000).feeds(1 << 20);
    let now = Instant::now();
    let mut members = [1, 2].map(|_| Member::of(&feeds, LOWEST));
    members.iter_mut().for_each(|member| drop(member.ask(now)));
    let next = members[0].next;
    let (is_there, there) = mpsc::channel();
    let panics = move || {
        is_there.send(()).unwrap();
        std::panic::resume_unwind(Box::new("planted"));
    };
    *shelf.meanwhile.lock() = Some((next, Box::new(panics)));
    let [reader, waiting] = &mut members;
    thread::scope(|scope| {
        let reader = scope.spawn(|| reader.ask(now));
        there.recv().unwrap();
        assert!(matches!(waiting.catch_up(now), Filled::Failed(Error::Panicked(_))));
        assert!(reader.join().is_err());
    });
    assert!(matches!(Member::of(&feeds, next).catch_up(now), Filled::Dry(_)), "a new one reads anew");
}

#[test]
fn threads_share_readings_while_the_log_grows() {
    const LAST: u64 = if cfg!(miri) { 60 } else { 20_000 };
    const THREADS: usize = 4;
    let (shelf, feeds) = Shelf { busy_every: 50, ..Shelf::up_to(20) }.feeds(4 * CHUNK_MEMORY_MAX);
    let (done, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let now = Instant::now();
    let got = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (feeds, done, is_over) = (&feeds, &done, &is_over);
                scope.spawn(move || {
                    let starts = [LOWEST, 10 + thread as u64, 0];
                    let mut members = starts.map(|start| Member::of(feeds, start));
                    while !members.iter().all(|member| member.next == LAST + 1) {
                        for (at, member) in members.iter_mut().enumerate() {
                            member.ask(now);
                            // Some send at once, others when they have much.
                            (0..(member.sending.len() / (at + 1)).min(3)).for_each(|_| member.send());
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    while !is_over.load(Ordering::Relaxed) {
                        members.iter_mut().for_each(|member| drop(member.catch_up(now)));
                        thread::yield_now();
                    }
                    members.map(|member| member.got)
                })
            })
            .collect();
        while shelf.last() < LAST {
            shelf.append((LAST - shelf.last()).min(7));
            assert!(feeds.ring_bytes() <= 4 * CHUNK_MEMORY_MAX * THREADS * 3);
            thread::yield_now();
        }
        while done.load(Ordering::Relaxed) < THREADS {
            thread::yield_now();
        }
        shelf.notify();
        while feeds.readings() > 1 {
            shelf.notify();
            thread::yield_now();
        }
        assert_eq!(feeds.ring_bytes(), 0);
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (thread, members) in got.into_iter().enumerate() {
        for (got, start) in members.into_iter().zip([LOWEST, 10 + thread as u64, 0]) {
            assert!(got == reference(&shelf, start, now), "thread {thread}, from {start}");
        }
    }
    assert_eq!(feeds.readings(), 0);
}

#[derive(Clone, Debug)]
enum Act {
    Append(u64),
    /// A member comes, at this part of what there is; 0: with the lowest.
    Join(u64),
    Leave(usize),
    Ask(usize, usize),
    Send(usize),
    Distrust(usize),
    Notify,
}

fn act() -> impl Strategy<Value = Act> {
    let member = 0..8usize;
    prop_oneof![
        3 => (1..60u64).prop_map(Act::Append),
        2 => (0..100u64).prop_map(Act::Join),
        1 => member.clone().prop_map(Act::Leave),
        12 => (member.clone(), 1..12usize).prop_map(|(member, times)| Act::Ask(member, times)),
        6 => member.clone().prop_map(Act::Send),
        1 => member.prop_map(Act::Distrust),
        1 => Just(Act::Notify),
    ]
}

/// Of those that there are, if there is one.
fn member_at(members: &mut [(u64, Member<SharedFeed>)], at: usize) -> Option<&mut Member<SharedFeed>> {
    let count = members.len().max(1);
    members.get_mut(at % count).map(|(_, member)| member)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 300 }, ..ProptestConfig::default() })]

    #[test]
    fn each_member_gets_what_a_feed_of_its_own_would_give(
        acts in proptest::collection::vec(act(), 1..150),
        ring in prop::sample::select(vec![0, 10_000, 50_000]),
        busy_every in 0..20u64,
    ) {
        // With every call busy there would be no end.
        let busy_every = if busy_every == 1 { 0 } else { busy_every };
        let (shelf, feeds) = Shelf { busy_every, ..Shelf::up_to(LOWEST) }.feeds(ring);
        let now = Instant::now();
        let mut members: Vec<(u64, Member<SharedFeed>)> = Vec::new();
        for act in acts {
            let count = members.len();
            match act {
                Act::Append(count) => shelf.append(count),
                Act::Join(part) => {
                    let start = if part == 0 { 0 } else { LOWEST + (shelf.last() - LOWEST) * part / 99 };
                    members.push((start, Member::of(&feeds, start)));
                }
                Act::Leave(at) if count > 0 => drop(members.swap_remove(at % count)),
                Act::Leave(_) => {}
                Act::Ask(at, times) => member_at(&mut members, at).into_iter().for_each(|member| {
                    (0..times).for_each(|_| drop(member.ask(now)));
                }),
                Act::Send(at) => member_at(&mut members, at).into_iter().for_each(Member::send),
                Act::Distrust(at) => member_at(&mut members, at).into_iter().for_each(|member| member.feed.distrust()),
                Act::Notify => shelf.notify(),
            }
            prop_assert!(feeds.ring_bytes() <= feeds.readings() * ring.max(CHUNK_MEMORY_MAX));
            prop_assert!(feeds.readings() <= members.len());
        }
        // All come to the end, and then look once more.
        for _ in 0..2 {
            shelf.notify();
            members.iter_mut().for_each(|(_, member)| drop(member.catch_up(now)));
        }
        prop_assert_eq!((feeds.ring_bytes(), feeds.readings()), (0, members.len().min(1)));
        for (start, member) in &members {
            prop_assert!(member.got == reference(&shelf, *start, now), "from {}", start);
        }
    }
}
