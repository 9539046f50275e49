//! The hand-over of sessions to a loop that runs: whatever was taken is told of its end, and the loop ends when it was told to.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use noxu_feeder_models::acks::End;
use noxu_feeder_models::runtime::inbox::{Handle, Refused};
use noxu_feeder_models::runtime::reactor::{Reactor, ReactorOptions};
use noxu_feeder_models::runtime::task::Stillborn;
use noxu_feeder_models::session::link::{Callbacks, Link};
use noxu_feeder_models::sys::waker::Wakeups;

use super::in_every_order;
use super::runner::Sleeper;

/// Counts those who were told.
#[derive(Default)]
struct Told(AtomicU32);

impl Callbacks for Told {
    fn takes_acks(&self) -> bool {
        false
    }

    fn acked(&self, _: u64) {}

    fn ended(&self, _: &End) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A loop without tasks on a thread of its own, which takes `room` tasks at once; how many it had told when it was
/// over. Who drops it tells the others.
fn running(room: usize, told: &Arc<Told>) -> (thread::JoinHandle<u32>, Handle) {
    let (far, wakeups) = (Duration::from_secs(3600), Wakeups::new().unwrap());
    let options = ReactorOptions { safety_look: far, unnotified_look: far };
    let mut reactor = Reactor::new(Box::new(Sleeper::new()), wakeups, options);
    let handle = reactor.open(room);
    let told = Arc::clone(told);
    let run = move || {
        reactor.run();
        told.0.load(Ordering::Relaxed)
    };
    (thread::spawn(run), handle)
}

/// Something that is to be told of its end, and nothing else.
fn task(handle: &Handle, told: &Arc<Told>) -> Box<Stillborn> {
    let link = Arc::new(Link::new(handle.waker(), c"replica".to_owned(), 1, 1, None));
    Box::new(Stillborn { link, callbacks: Arc::clone(told) as Arc<dyn Callbacks>, end: End::Stopped })
}

#[test]
fn what_a_loop_takes_is_told_also_if_it_is_closed_at_that_moment() {
    in_every_order(Some(3), || {
        let told = Arc::new(Told::default());
        let (running, handle) = running(1, &told);
        let adding = {
            let (handle, told) = (handle.clone(), Arc::clone(&told));
            thread::spawn(move || handle.add(task(&handle, &told)).is_ok())
        };
        handle.close();
        let is_taken = adding.join().unwrap();
        assert_eq!(running.join().unwrap(), u32::from(is_taken));
    });
}

#[test]
fn two_who_hand_over_wake_the_loop_and_a_full_inbox_gives_back() {
    in_every_order(Some(2), || {
        let told = Arc::new(Told::default());
        let (running, handle) = running(1, &told);
        let adding = {
            let (handle, told) = (handle.clone(), Arc::clone(&told));
            thread::spawn(move || handle.add(task(&handle, &told)).is_ok())
        };
        let taken = match handle.add(task(&handle, &told)) {
            Ok(()) => 1,
            Err(Refused::Full(_)) => 0,
            Err(Refused::Closed(_)) => panic!("nobody has closed it"),
        };
        let taken = taken + u32::from(adding.join().unwrap());
        assert!(taken > 0, "there was room for one");
        // The loop sleeps when it has told all: who wakes it then is the close.
        handle.close();
        assert_eq!(running.join().unwrap(), taken);
    });
}

#[test]
fn a_loop_that_sleeps_takes_what_comes() {
    in_every_order(Some(2), || {
        let told = Arc::new(Told::default());
        let (running, handle) = running(1, &told);
        assert!(handle.add(task(&handle, &told)).is_ok());
        // No close wakes it up before it has told.
        while told.0.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        handle.close();
        running.join().unwrap();
    });
}
