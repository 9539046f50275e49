//! The loop's clock and sleep: while it sleeps, the world goes on.

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use noxu_feeder::runtime::driver::{Driver, Key};
use noxu_feeder::sys::poll::{Interest, wait_for};

use crate::disk::WATCH_FD;
use crate::judge::Met;
use crate::world::{Shared, World};

/// The number that stands for the first connection's descriptor; those of the others follow.
pub(crate) const SOCKET_FD: RawFd = 2_000_000;

/// So many sleeps in a row that end without anything having happened are a loop that never sleeps.
const IDLE_SLEEPS_MAX: u32 = 10;

/// See the module's comment.
pub(crate) struct SimDriver {
    shared: Shared,
    waits: Vec<(Key, RawFd, Interest)>,
}

impl SimDriver {
    pub(crate) fn new(shared: Shared) -> SimDriver {
        SimDriver { shared, waits: Vec::new() }
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.shared.lock().expect("nobody panics with it")
    }

    /// Appends the keys of what is ready.
    fn note_ready(&self, ready: &mut Vec<Key>) {
        for &(key, fd, interest) in &self.waits {
            let is_ready = match fd {
                SOCKET_FD.. => self.world().is_ready((fd - SOCKET_FD) as usize, interest),
                WATCH_FD.. => {
                    let mut world = self.world();
                    let (log, now) = ((fd - WATCH_FD) as usize, world.now);
                    let is_ready = world.logs[log].watch.event_at.is_some_and(|at| at <= now);
                    if is_ready {
                        world.stir(log);
                    }
                    is_ready
                }
                bell => wait_for(bell, interest, Some(Instant::now())).expect("the bell can be polled"),
            };
            if is_ready {
                ready.push(key);
            }
        }
    }
}

impl Driver for SimDriver {
    fn now(&mut self) -> Instant {
        let world = self.world();
        world.base + world.now
    }

    fn wait_on(&mut self, key: Key, fd: RawFd, interest: Interest) -> io::Result<()> {
        self.forget(key);
        self.waits.push((key, fd, interest));
        Ok(())
    }

    fn forget(&mut self, key: Key) {
        self.waits.retain(|(known, ..)| *known != key);
    }

    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()> {
        self.note_ready(ready);
        Ok(())
    }

    fn sleep(&mut self, deadline: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()> {
        let deadline = {
            let mut world = self.world();
            world.note_sleep();
            let reads = |connection| {
                let fd = SOCKET_FD + connection as RawFd;
                self.waits.iter().any(|(_, waited, interest)| *waited == fd && interest.read)
            };
            world.judge_waits(&reads);
            deadline.map(|at| at.saturating_duration_since(world.base))
        };
        loop {
            self.note_ready(ready);
            if !ready.is_empty() {
                return Ok(());
            }
            let mut world = self.world();
            // Now and then it wakes for nothing: a signal.
            if world.rng.one_in(30) {
                return Ok(());
            }
            if deadline.is_some_and(|deadline| deadline <= world.now) {
                world.moved = true;
                world.seen.note(Met::SafetyLook);
                return Ok(());
            }
            world.let_time_pass(deadline);
            // Now and then much happens before the loop is given the processor.
            let events = world.rng.pick(&[1, 1, 1, 30]);
            drop(world);
            (0..events).for_each(|_| World::happen(&self.shared));
        }
    }
}

impl World {
    /// The loop goes to sleep.
    fn note_sleep(&mut self) {
        self.sleeps += 1;
        if std::mem::take(&mut self.moved) {
            self.idle_sleeps = 0;
        } else {
            self.idle_sleeps += 1;
        }
        if self.idle_sleeps > IDLE_SLEEPS_MAX {
            self.wrong(format!("it went to sleep {} times in a row and nothing happened", self.idle_sleeps));
            // Not for ever.
            self.give_up();
        }
    }

    /// Nothing is ready: time goes on to the next thing that happens, or to the loop's deadline.
    fn let_time_pass(&mut self, deadline: Option<Duration>) {
        self.judge_rest();
        let mut step = Duration::from_micros(self.rng.pick(&[0, 0, 100, 5_000, 700_000, 6_000_000]));
        if self.rng.one_in(self.freeze_odds) {
            step = Duration::from_secs(self.rng.within(100, 10_000));
            self.seen.note(Met::Froze);
            self.note(format!("all stand still for {step:?}"));
            self.now += step;
            self.froze_at = self.now;
            return;
        }
        if let Some(deadline) = deadline {
            // A sleep may end late.
            let late = Duration::from_millis(self.rng.pick(&[0, 0, 1, 40]));
            step = step.min((deadline + late).saturating_sub(self.now));
        }
        // What is there already wakes nobody: then nobody waits for that log.
        for at in self.logs.iter().filter_map(|log| log.watch.event_at).filter(|at| *at > self.now) {
            step = step.min(at - self.now);
        }
        self.now += step;
    }
}
