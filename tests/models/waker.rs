//! Wakers: a bell, and a list of those for whom it was rung.

use std::os::fd::RawFd;
use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use noxu_feeder_models::sys::signal_fd::sleep_on;
use noxu_feeder_models::sys::waker::{Waker, Wakeups};

use super::in_every_order;

/// Something that a loop looks at when it hears of it.
struct Place {
    waker: Waker,
    written: AtomicU32,
}

impl Place {
    fn new(wakeups: &Arc<Wakeups>) -> Arc<Place> {
        Arc::new(Place { waker: wakeups.waker(), written: AtomicU32::new(0) })
    }

    /// Writes to it and wakes the loop, on a thread.
    fn writes(self: &Arc<Place>) -> thread::JoinHandle<()> {
        let place = Arc::clone(self);
        thread::spawn(move || {
            place.written.fetch_add(1, Ordering::Relaxed);
            place.waker.wake();
        })
    }
}

/// Sleeps and hears, as a loop does, until each place was seen to hold what is wanted.
fn hear_until(wakeups: &Wakeups, places: &[Arc<Place>], wanted: &[u32]) {
    let fd: RawFd = wakeups.inherited_fd();
    let (mut seen, mut tokens) = (vec![0; places.len()], Vec::new());
    while seen != wanted {
        let is_asleep = wakeups.bell().fall_asleep();
        if is_asleep {
            sleep_on(fd);
        }
        assert!(wakeups.bell().wake_up(is_asleep));
        wakeups.take(&mut tokens);
        for token in tokens.drain(..) {
            let at = usize::try_from(token).unwrap();
            places[at].waker.hear();
            seen[at] = places[at].written.load(Ordering::Relaxed);
        }
    }
}

#[test]
fn what_two_threads_write_to_one_place_is_seen() {
    in_every_order(Some(3), || {
        let wakeups = Wakeups::new().unwrap();
        let place = Place::new(&wakeups);
        place.waker.introduce(0);
        let writing = [place.writes(), place.writes()];
        hear_until(&wakeups, &[place], &[2]);
        writing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_is_written_to_two_places_is_seen() {
    in_every_order(Some(3), || {
        let wakeups = Wakeups::new().unwrap();
        let places = [0, 1].map(|token| {
            let place = Place::new(&wakeups);
            place.waker.introduce(token);
            place
        });
        let writing = places.each_ref().map(Place::writes);
        hear_until(&wakeups, &places, &[1, 1]);
        writing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn what_is_written_while_the_loop_comes_to_know_the_place_is_seen() {
    in_every_order(None, || {
        let wakeups = Wakeups::new().unwrap();
        let place = Place::new(&wakeups);
        let writing = place.writes();
        place.waker.introduce(0);
        hear_until(&wakeups, &[place], &[1]);
        writing.join().unwrap();
    });
}
