//! Several sessions over several logs in one loop: each is handed over to it at some moment, and goes at another.

use std::sync::Arc;
use std::time::Duration;

use noxu_feeder::acks::End;
use noxu_feeder::feed::{Feed as Frames, OwnFeed, SharedFeeds};
use noxu_feeder::log::{Log, Lsn};
use noxu_feeder::options::Options;
use noxu_feeder::runtime::driver::Driver;
use noxu_feeder::runtime::inbox::{Handle, Refused};
use noxu_feeder::runtime::reactor::Reactor;
use noxu_feeder::session::link::{Callbacks, Link as HostLink};
use noxu_feeder::session::standing::Standing;
use noxu_feeder::session::{Session, SessionOptions};
use noxu_feeder::source::LogSource;
use noxu_feeder::stream::Stream;
use noxu_feeder::sys::waker::Wakeups;

use crate::disk::{SimLog, WatchState, Writer};
use crate::driver::SimDriver;
use crate::judge::Met;
use crate::link::{Link, Replica, SimTransport};
use crate::rng::Rng;
use crate::world::{Control, Feed, HostDraw, Shared, World};

/// What the host has of a loop that runs.
pub(crate) struct Many {
    handle: Handle,
    logs: Vec<Arc<Log>>,
    /// Of each log, where its sessions share what is read.
    shared: Option<Vec<Arc<SharedFeeds>>>,
    options: Options,
}

/// After how long a replica is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(10);

struct HostFunctions {
    shared: Shared,
    feed: usize,
    takes_acks: bool,
}

impl Callbacks for HostFunctions {
    fn takes_acks(&self) -> bool {
        self.takes_acks
    }

    fn acked(&self, vlsn: u64) {
        World::acked(&self.shared, self.feed, vlsn);
    }

    fn stands(&self, standing: Standing) {
        World::stands(&self.shared, self.feed, standing);
    }

    /// Now and then a function of the host hands the next session over.
    fn ended(&self, _: &End) {
        World::ended(&self.shared, self.feed);
        let mut world = self.shared.lock().expect("nobody panics with it");
        let next = world.feeds.iter().position(|feed| !feed.has_begun()).filter(|_| world.rng.one_in(2));
        drop(world);
        if let Some(next) = next {
            Many::join(&self.shared, next);
        }
    }
}

impl Many {
    /// One to three logs, and one to six who read them.
    pub(crate) fn draw(rng: &mut Rng) -> (Vec<SimLog>, Vec<Feed>) {
        let logs = 1 + rng.index(3);
        let feeds: Vec<Feed> = (0..1 + rng.index(6))
            .map(|_| {
                let (log, host) = (rng.index(logs), HostDraw::draw(rng));
                Feed::new(log, Link::draw(rng), Replica::draw(rng), host)
            })
            .collect();
        let logs = (0..logs)
            .map(|log| {
                let readers = feeds.iter().filter(|feed| feed.log == log);
                let narrowest = readers.map(|feed| feed.link.capacity()).min().unwrap_or(0);
                SimLog { writer: Writer::draw(rng, narrowest, log), watch: WatchState::draw(rng) }
            })
            .collect();
        (logs, feeds)
    }

    /// How much memory a ring holds, in a seed in which sessions share what is read of a log.
    pub(crate) fn ring_bytes(seed: u64) -> Option<usize> {
        let mut rng = Rng::new(seed.rotate_left(32));
        rng.one_in(2).then(|| rng.pick(&[0, 10_000, 1 << 24]))
    }

    /// Runs the loop until all have come and gone; says how each has ended.
    pub(crate) fn run(shared: &Shared, options: Options, logs: Vec<Arc<Log>>, ring_bytes: Option<usize>) -> Vec<End> {
        let feeds = |max| logs.iter().map(|log| SharedFeeds::over(log, options.chunks(), max)).collect();
        let feeds = ring_bytes.map(feeds);
        let wakeups = Wakeups::new().expect("there are descriptors");
        let driver = Box::new(SimDriver::new(Arc::clone(shared)));
        let mut reactor = Reactor::new(driver, wakeups, options.reactor());
        let (count, begin) = {
            let mut world = shared.lock().expect("nobody panics with it");
            let room = 1 + world.rng.index(2);
            let handle = reactor.open(room);
            world.host.many = Some(Many { handle, logs, shared: feeds, options });
            let count = world.feeds.len();
            if count > 1 {
                world.seen.note(Met::ManySessions);
            }
            (count, world.rng.index(count + 1))
        };
        (0..begin).for_each(|feed| Many::join(shared, feed));
        reactor.run();
        let world = shared.lock().expect("nobody panics with it");
        let ended = |feed: usize| world.feeds[feed].ended().unwrap_or(End::Stopped);
        (0..count).map(ended).collect()
    }

    /// The host hands that session over, if it is one that it still has. With the last of them, it says that no more come.
    pub(crate) fn join(shared: &Shared, at: usize) {
        let mut world = shared.lock().expect("nobody panics with it");
        let Some(Many { handle, logs, shared: feeds, options }) = &world.host.many else { return };
        let (handle, feeds, options) = (handle.clone(), feeds.clone(), options.clone());
        let feed = &world.feeds[at];
        if feed.has_begun() {
            return;
        }
        let (log, takes_acks) = (Arc::clone(&logs[feed.log]), feed.takes_acks());
        let feeds = feeds.map(|feeds| Arc::clone(&feeds[feed.log]));
        let now = SimDriver::new(Arc::clone(shared));
        let link = Arc::new(HostLink::new(handle.waker(), c"replica".to_owned(), options.ack_queue_max(), 1, None));
        // It counts as begun before the loop can have it.
        world.begin(at, Control::Session(Arc::clone(&link)));
        world.note(format!("host: hands {at} over"));
        drop(world);
        let frames: Box<dyn Frames> = match feeds {
            Some(feeds) => {
                let others = feeds.readings();
                let feed = feeds.feed(1);
                if others > 0 {
                    shared.lock().expect("nobody panics with it").seen.note(Met::Shared);
                }
                Box::new(feed)
            }
            None => Box::new(OwnFeed::new(Box::new(LogSource::new(log, Lsn::NULL)), options.chunks())),
        };
        let mut clock = now;
        let session = Session::new(
            Stream::new(1, options.stream()),
            Box::new(SimTransport { shared: Arc::clone(shared), feed: at }),
            frames,
            link,
            Arc::new(HostFunctions { shared: Arc::clone(shared), feed: at, takes_acks }),
            SessionOptions { behind_after: Some(BEHIND_AFTER), ..options.session() },
            clock.now(),
        );
        let refused = handle.add(Box::new(session)).err();
        let mut world = shared.lock().expect("nobody panics with it");
        match refused {
            None => world.seen.note(Met::Joined),
            Some(Refused::Full(back)) => {
                world.seen.note(Met::InboxFull);
                world.take_back(at);
                // It lets go of its connection.
                drop(world);
                drop(back);
                world = shared.lock().expect("nobody panics with it");
                world.feeds[at].link.is_dropped = false;
            }
            Some(Refused::Closed(_)) => world.wrong("the loop is closed before all have come".into()),
        }
        if world.feeds.iter().all(Feed::has_begun) {
            drop(world);
            handle.close();
        }
    }
}
