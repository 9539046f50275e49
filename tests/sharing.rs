//! What many replicas of one log cost, whose sessions share what is read: one look at the log for all of them.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{CountingDisk, Counts, LogDir};
use noxu_feeder::chunk::fill::Filled;
use noxu_feeder::feed::shared::RING_BYTES;
use noxu_feeder::feed::{Feed, SharedFeed, SharedFeeds};
use noxu_feeder::log::Log;
use noxu_feeder::options::Options;

/// Replicas of a log, and how often the disk was asked.
struct Replicas {
    dir: LogDir,
    log: Arc<Log>,
    counts: Arc<Counts>,
    feeds: Arc<SharedFeeds>,
    members: Vec<(SharedFeed, u64)>,
    now: Instant,
}

impl Replicas {
    fn of(count: usize, entries: i64) -> Replicas {
        let dir = LogDir::with(1..=entries);
        let disk = CountingDisk::over(dir.path());
        let counts = Arc::clone(&disk.counts);
        let options = Options::default();
        let log = Log::over(Arc::new(disk), options.scanner(), None);
        let feeds = SharedFeeds::over(&log, options.chunks(), RING_BYTES);
        let members = (0..count).map(|_| (feeds.feed(1), 1)).collect();
        Replicas { dir, log, counts, feeds, members, now: Instant::now() }
    }

    /// Each gets all there is. How often the disk was asked for anything for that.
    fn look(&mut self) -> u64 {
        let mut is_dry = vec![false; self.members.len()];
        while !is_dry.iter().all(|is_dry| *is_dry) {
            for ((feed, next), is_dry) in self.members.iter_mut().zip(&mut is_dry).filter(|(_, is_dry)| !**is_dry) {
                let (portion, filled) = feed.next(*next, self.now);
                if let Some(portion) = portion {
                    *next = portion.chunk.last_vlsn().unwrap() + 1;
                    feed.take_back(portion.chunk);
                }
                assert!(!matches!(filled, Filled::Failed(_)), "{filled:?}");
                *is_dry = matches!(filled, Filled::Dry(_));
            }
        }
        self.counts.take_calls()
    }

    /// As a loop does it before it sleeps: the notification is armed, and all look once more.
    fn go_to_sleep(&mut self) -> u64 {
        self.log.arm();
        let notified = self.members.iter().filter(|(feed, _)| feed.is_notified()).count();
        assert_eq!(notified, self.members.len());
        self.look()
    }

    /// What an entry costs that is appended while all sleep.
    fn append(&mut self, vlsn: i64) -> u64 {
        self.dir.append(vlsn);
        self.log.note_readable();
        let found = self.look();
        assert!(self.members.iter().all(|(_, next)| *next == vlsn as u64 + 1));
        found + self.go_to_sleep()
    }

    /// What a look costs that believes nothing; and how often the directory was listed for it.
    fn look_for_safety(&mut self) -> (u64, u64) {
        self.now += Duration::from_secs(5);
        self.log.check();
        self.members.iter_mut().for_each(|(feed, _)| feed.distrust());
        let before = self.listings();
        (self.look(), self.listings() - before)
    }

    fn listings(&self) -> u64 {
        self.members.iter().map(|(feed, _)| feed.progress().listings).max().unwrap_or(0)
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no notification")]
fn an_entry_is_looked_for_and_read_once_for_all_replicas() {
    let (mut one, mut many) = (Replicas::of(1, 1000), Replicas::of(64, 1000));
    for replicas in [&mut one, &mut many] {
        replicas.look();
        replicas.go_to_sleep();
    }
    for vlsn in 1001..1010 {
        let (one, many) = (one.append(vlsn), many.append(vlsn));
        assert!(one > 0 && many <= one, "{many} calls for 64 replicas, {one} for one");
    }
    let (one_safe, many_safe) = (one.look_for_safety(), many.look_for_safety());
    assert_eq!(one_safe, many_safe);
    assert_eq!(many_safe.1, 1, "the directory is listed once");
    let (one, many) = (one.feeds.counts(), many.feeds.counts());
    assert_eq!(one, many, "and each entry is laid out once");
    assert_eq!(many.frames, 1009);
}
