//! The drivers of the system: its clock, and its waits for descriptors.

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod epoll;
mod poll;

use std::io;

use super::driver::Driver;
pub use poll::Poll;

/// For a loop with one task, or a few. It has no descriptor of its own, and needs no call when a connection is full and
/// is waited for to be written to, which `epoll` does: a runner's loop sleeps with one system call, and changes nothing else.
pub fn for_few() -> Box<dyn Driver> {
    Box::new(Poll::default())
}

/// For a loop with many tasks.
pub fn for_many() -> io::Result<Box<dyn Driver>> {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    return Ok(Box::new(epoll::Epoll::new()?));
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
    Ok(for_few())
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::super::slots::Slots;
    use super::*;
    use crate::runtime::driver::Key;
    use crate::sys::poll::Interest;

    const READ: Interest = Interest { read: true, write: false };
    const BOTH: Interest = Interest { read: true, write: true };

    fn each() -> [Box<dyn Driver>; 2] {
        [for_few(), for_many().unwrap()]
    }

    fn keys<const N: usize>() -> [Key; N] {
        let mut slots = Slots::default();
        [(); N].map(|()| Key::Task(slots.insert(())))
    }

    fn ready(driver: &mut dyn Driver) -> Vec<Key> {
        let mut ready = Vec::new();
        driver.look(&mut ready).unwrap();
        ready.sort_by_key(|key| key.to_bits());
        let mut slept = Vec::new();
        driver.sleep(Some(Instant::now()), &mut slept).unwrap();
        slept.sort_by_key(|key| key.to_bits());
        assert_eq!(ready, slept, "what is ready is told of each time");
        ready
    }

    #[test]
    fn what_is_ready_is_told_of_and_nothing_else() {
        for mut driver in each() {
            let [a, b, c] = keys();
            let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
            for (key, (ours, _)) in [a, b, c].into_iter().zip(&pairs) {
                driver.wait_on(key, ours.as_raw_fd(), READ).unwrap();
            }
            assert_eq!(ready(&mut *driver), []);
            (&pairs[1].1).write_all(b"x").unwrap();
            assert_eq!(ready(&mut *driver), [b]);
            driver.wait_on(c, pairs[2].0.as_raw_fd(), BOTH).unwrap();
            assert_eq!(ready(&mut *driver), [b, c]);
            driver.wait_on(c, pairs[2].0.as_raw_fd(), READ).unwrap();
            (&pairs[1].0).read_exact(&mut [0]).unwrap();
            assert_eq!(ready(&mut *driver), []);
            let [(ours, theirs), ..] = pairs;
            drop(theirs);
            assert_eq!(ready(&mut *driver), [a], "a hang-up");
            driver.forget(a);
            drop(ours);
            assert_eq!(ready(&mut *driver), []);
            driver.forget(a);
        }
    }

    #[test]
    fn a_sleep_ends_with_what_is_ready_or_at_its_deadline() {
        for mut driver in each() {
            let [key] = keys();
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            driver.wait_on(key, ours.as_raw_fd(), READ).unwrap();
            let (before, deadline) = (Instant::now(), Instant::now() + Duration::from_millis(5));
            let mut told = Vec::new();
            // A signal may end it early.
            while told.is_empty() && Instant::now() < deadline {
                driver.sleep(Some(deadline), &mut told).unwrap();
            }
            assert_eq!(told, []);
            assert!(before.elapsed() >= Duration::from_millis(5));
            theirs.write_all(b"x").unwrap();
            while told.is_empty() {
                driver.sleep(None, &mut told).unwrap();
            }
            assert_eq!(told, [key]);
        }
    }
}
