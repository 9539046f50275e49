//! What a loop needs of its surroundings: the time, and a way to wait for descriptors. The system has both; a simulation has
//! its own.
//!
//! What is waited for is noted once, and changed when it changes: to sleep costs a loop what is ready, and not all there is.

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use super::slots::SlotKey;
use crate::sys::poll::Interest;

/// Whom something is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The loop's bell.
    Bell,
    /// A log's notification.
    Log(SlotKey),
    /// A task.
    Task(SlotKey),
    /// What other threads hand over to the loop.
    Inbox,
}

impl Key {
    /// As a number: two bits for what it is, and those of the place.
    pub fn to_bits(self) -> u64 {
        match self {
            Key::Bell => 0,
            Key::Log(slot) => 1 << 62 | slot.to_bits(),
            Key::Task(slot) => 2 << 62 | slot.to_bits(),
            Key::Inbox => 3 << 62,
        }
    }

    /// The key with this number.
    pub fn from_bits(bits: u64) -> Key {
        match bits >> 62 {
            0 => Key::Bell,
            1 => Key::Log(SlotKey::from_bits(bits)),
            2 => Key::Task(SlotKey::from_bits(bits)),
            _ => Key::Inbox,
        }
    }
}

/// A clock, and a wait. One thread at a time.
pub trait Driver: Send {
    /// The time. Never goes back.
    fn now(&mut self) -> Instant;

    /// From now on waits for `fd`, too, in the name of `key`; or for something else on it than before. The descriptor stays
    /// open, and the same for this key, until it is forgotten.
    fn wait_on(&mut self, key: Key, fd: RawFd, interest: Interest) -> io::Result<()>;

    /// Does not wait in the name of `key` any more.
    fn forget(&mut self, key: Key);

    /// Appends the keys of what is ready now to `ready`, without waiting. An error or a hang-up counts as ready, and what
    /// is ready is told of each time. Where it is much, some of it may be told of the next time.
    fn look(&mut self, ready: &mut Vec<Key>) -> io::Result<()>;

    /// The same, but waits until there is something or `deadline` has come. It may end early, with nothing.
    fn sleep(&mut self, deadline: Option<Instant>, ready: &mut Vec<Key>) -> io::Result<()>;

    /// The descriptor that it has of its own, if it has one, for a forked child to close.
    fn inherited_fd(&self) -> Option<RawFd> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_number() {
        let slot = Slots::default().insert(());
        for key in [Key::Bell, Key::Log(slot), Key::Task(slot), Key::Inbox] {
            assert_eq!(Key::from_bits(key.to_bits()), key);
        }
    }
}
