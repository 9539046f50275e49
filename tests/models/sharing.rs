//! Feeds of one reading: nobody waits for ever for a chunk that another reads, each gets all, and an answer that one look
//! gives to all lets nobody sleep through an append.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use noxu_feeder_models::Result;
use noxu_feeder_models::chunk::ChunkLimits;
use noxu_feeder_models::chunk::fill::Filled;
use noxu_feeder_models::feed::{Feed, SharedFeed, SharedFeeds};
use noxu_feeder_models::log::{Entry, Lsn, Next, Now, Wait, WaitReason};
use noxu_feeder_models::source::{Origin, Source, SourceProgress};
use noxu_feeder_models::sys::waker::Waker;

use super::in_every_order;

/// What the kernel has of a log: how far it is written, and a watch for one event.
#[derive(Default)]
struct Kernel {
    last: u64,
    is_armed: bool,
    has_event: bool,
}

/// A log, with an epoch that counts as that of a real one.
struct Shelf {
    kernel: Mutex<Kernel>,
    epoch: AtomicU64,
}

impl Shelf {
    fn with(last: u64) -> Arc<Shelf> {
        Arc::new(Shelf { kernel: Mutex::new(Kernel { last, ..Kernel::default() }), epoch: AtomicU64::new(0) })
    }

    fn append(&self) {
        let mut kernel = self.kernel.lock().unwrap();
        kernel.last += 1;
        kernel.has_event |= std::mem::take(&mut kernel.is_armed);
    }

    fn feeds(self: &Arc<Shelf>) -> Arc<SharedFeeds> {
        let (of_source, origin) = (Arc::clone(self), Arc::clone(self) as Arc<dyn Origin>);
        let make = move || Box::new(Reader(Arc::clone(&of_source))) as Box<dyn Source>;
        // One entry makes a chunk full.
        SharedFeeds::new(Box::new(make), Some(origin), ChunkLimits { frames_max: 1, ..ChunkLimits::default() }, 1 << 20)
    }
}

struct Reader(Arc<Shelf>);

impl Source for Reader {
    fn next(&mut self, vlsn: u64, _: &Now) -> Result<Next<'_>> {
        if self.0.kernel.lock().unwrap().last < vlsn {
            return Ok(Next::Nothing(Wait::new(WaitReason::End, Lsn::NULL, None)));
        }
        let (lsn, payload) = (Lsn::NULL, &[7; 9]);
        Ok(Next::Entry(Entry { vlsn, lsn, entry_type: 13, payload, payload_crc: 0, block: None }))
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress::default()
    }
}

impl Origin for Shelf {
    fn register(&self, _: &Arc<Waker>) {}

    fn notify(&self) {}

    fn arm(&self) -> bool {
        self.kernel.lock().unwrap().is_armed = true;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        true
    }

    fn watch_fd(&self) -> Option<RawFd> {
        None
    }

    fn take_events(&self, _: &Waker) {}

    fn note_readable(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire))
    }

    fn check(&self) {}

    fn last_vlsn(&self) -> u64 {
        0
    }

    fn bytes_from(&self, _: Lsn) -> u64 {
        0
    }
}

struct Member {
    feed: SharedFeed,
    next: u64,
}

impl Member {
    fn of(feeds: &Arc<SharedFeeds>) -> Member {
        Member { feed: feeds.feed(1), next: 1 }
    }

    /// Gets what there is. True if there was anything.
    fn catch_up(&mut self, now: Instant) -> bool {
        let before = self.next;
        loop {
            let (portion, filled) = self.feed.next(self.next, now);
            if let Some(portion) = portion {
                assert_eq!(portion.chunk.first_vlsn(), Some(self.next));
                self.next = portion.chunk.last_vlsn().unwrap() + 1;
                self.feed.take_back(portion.chunk);
            }
            match filled {
                Filled::Dry(_) => return self.next > before,
                Filled::Full | Filled::Busy => {}
                Filled::Failed(error) => panic!("{error}"),
            }
        }
    }

    /// As a loop does when there was no more: arms the notification, and sleeps if there still is none then.
    fn fall_asleep(&mut self, origin: &Shelf, now: Instant) {
        origin.arm();
        while self.catch_up(now) {
            origin.arm();
        }
    }
}

#[test]
fn each_gets_all_from_whoever_reads_it() {
    in_every_order(Some(2), || {
        let feeds = Shelf::with(2).feeds();
        let now = Instant::now();
        let (mut first, mut second) = (Member::of(&feeds), Member::of(&feeds));
        let other = thread::spawn(move || {
            second.catch_up(now);
            second.next
        });
        first.catch_up(now);
        assert_eq!((first.next, other.join().unwrap()), (3, 3));
        drop(first);
        assert_eq!((feeds.ring_bytes(), feeds.readings()), (0, 0));
    });
}

#[test]
fn no_append_is_slept_through() {
    in_every_order(Some(3), || {
        let shelf = Shelf::with(0);
        let feeds = shelf.feeds();
        let now = Instant::now();
        let (mut first, mut second) = (Member::of(&feeds), Member::of(&feeds));
        // One knows already that there is no more. Then somebody says, for nothing, that there is.
        second.catch_up(now);
        shelf.note_readable();
        let other = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || {
                second.fall_asleep(&shelf, now);
                second
            })
        };
        let writer = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || shelf.append())
        };
        first.catch_up(now);
        first.fall_asleep(&shelf, now);
        let mut second = other.join().unwrap();
        writer.join().unwrap();
        let is_woken = shelf.kernel.lock().unwrap().has_event;
        for member in [&mut first, &mut second] {
            assert!(member.next == 2 || is_woken, "it sleeps, and there is more");
            shelf.note_readable();
            member.catch_up(now);
            assert_eq!(member.next, 2);
        }
    });
}
