//! Acks on their way to the host: watermark, queue, descriptor, waiters, end.

use std::sync::Arc;
use std::time::Instant;

use loom::thread;
use noxu_feeder_models::acks::{Ack, Acks, Deadline, End, Polled, Waited};
use noxu_feeder_models::sys::signal_fd::sleep_on;

use super::in_every_order;

const NEVER: Deadline = Deadline::Never;

/// What a loop does with acks that have come, one by one, and no callback to take them.
fn deliver(acks: &Acks, vlsns: &[u64]) {
    for &vlsn in vlsns {
        acks.raise(vlsn);
        acks.queue(&[vlsn]);
        acks.announce();
    }
}

fn end(acks: &Acks) {
    acks.end(End::Stopped);
    acks.finish();
}

fn on_a_thread<T: 'static>(acks: &Arc<Acks>, body: impl FnOnce(&Acks) -> T + 'static) -> thread::JoinHandle<T> {
    let acks = Arc::clone(acks);
    thread::spawn(move || body(&acks))
}

fn poll(acks: &Acks, deadline: Deadline) -> (Polled, Ack) {
    let mut into = [Ack { vlsn: 0, merged: 0 }];
    (acks.poll(&mut into, deadline), into[0])
}

/// Polls until the end; returns the acks. What was polled is part of the watermark.
fn poll_all(acks: &Acks) -> Vec<Ack> {
    let mut all = Vec::new();
    loop {
        match poll(acks, NEVER) {
            (Polled::Acks(1), ack) => {
                assert!(acks.known_vlsn() >= ack.vlsn, "polled before it is known");
                all.push(ack);
            }
            (Polled::Ended, _) => return all,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_ack_falls_between_a_waiters_look_and_its_sleep() {
    in_every_order(None, || {
        let acks = Arc::new(Acks::new(1));
        let waiting = on_a_thread(&acks, |acks| acks.wait_acked(1, NEVER));
        // As with a callback: nothing is queued.
        acks.raise(1);
        acks.announce();
        assert_eq!(waiting.join().unwrap(), Waited::Acked);
    });
}

#[test]
fn waiters_for_different_vlsns_are_all_woken() {
    in_every_order(Some(2), || {
        let acks = Arc::new(Acks::new(1));
        let waiting = [1, 2].map(|vlsn| on_a_thread(&acks, move |acks| acks.wait_acked(vlsn, NEVER)));
        for vlsn in [1, 2] {
            acks.raise(vlsn);
            acks.announce();
        }
        waiting.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), Waited::Acked));
    });
}

#[test]
fn the_end_is_told_after_every_ack() {
    in_every_order(Some(4), || {
        let acks = Arc::new(Acks::new(2));
        let polling = on_a_thread(&acks, poll_all);
        deliver(&acks, &[1, 2]);
        end(&acks);
        let expected = [1, 2].map(|vlsn| Ack { vlsn, merged: 0 });
        assert_eq!(polling.join().unwrap(), expected);
    });
}

#[test]
fn acks_that_are_merged_lose_no_position_and_no_count() {
    in_every_order(Some(4), || {
        let acks = Arc::new(Acks::new(1));
        let polling = on_a_thread(&acks, poll_all);
        deliver(&acks, &[1, 2]);
        end(&acks);
        let polled = polling.join().unwrap();
        assert_eq!(polled.last().map(|ack| ack.vlsn), Some(2));
        assert_eq!(polled.iter().map(|ack| 1 + ack.merged).sum::<u64>(), 2);
        assert_eq!(polled.iter().map(|ack| ack.merged).sum::<u64>(), acks.merged());
    });
}

#[test]
fn two_who_poll_share_the_acks_and_both_hear_of_the_end() {
    in_every_order(Some(2), || {
        let acks = Arc::new(Acks::new(2));
        let polling = [(); 2].map(|()| on_a_thread(&acks, poll_all));
        deliver(&acks, &[1, 2]);
        end(&acks);
        let mut polled: Vec<u64> =
            polling.into_iter().flat_map(|thread| thread.join().unwrap()).map(|ack| ack.vlsn).collect();
        polled.sort_unstable();
        assert_eq!(polled, [1, 2]);
    });
}

/// An event loop sleeps only on the descriptor, which it asks for at any moment.
#[test]
fn the_descriptor_is_up_while_there_is_something_to_poll() {
    in_every_order(Some(4), || {
        let acks = Arc::new(Acks::new(2));
        let looping = on_a_thread(&acks, |acks| {
            let fd = acks.event_fd().unwrap();
            let mut polled = Vec::new();
            loop {
                sleep_on(fd);
                match poll(acks, Deadline::At(Instant::now())) {
                    (Polled::Acks(_), ack) => polled.push(ack.vlsn),
                    (Polled::Ended, _) => return polled,
                    (Polled::TimedOut, _) => panic!("it was up for nothing"),
                }
            }
        });
        deliver(&acks, &[1]);
        deliver(&acks, &[2]);
        end(&acks);
        assert_eq!(looping.join().unwrap(), [1, 2]);
    });
}

#[test]
fn an_end_wakes_everybody_and_is_told_before_the_run_is_finished() {
    in_every_order(Some(4), || {
        let acks = Arc::new(Acks::new(1));
        let waiting = on_a_thread(&acks, |acks| acks.wait_acked(1, NEVER));
        let stopping = on_a_thread(&acks, |acks| {
            assert!(acks.wait_finished(NEVER));
            acks.ended()
        });
        acks.end(End::Stopped);
        assert_eq!(waiting.join().unwrap(), Waited::Ended(End::Stopped));
        acks.finish();
        assert_eq!(stopping.join().unwrap(), Some(End::Stopped));
    });
}
