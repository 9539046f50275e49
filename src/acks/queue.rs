//! Acks that wait to be polled. Their number has a bound: what comes when it is reached, or when there is no memory for more,
//! is merged into the last, which then carries the maximum and says how many it stands for.

use std::collections::VecDeque;

use crate::memory;

/// An ack, or several merged into one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Ack {
    /// The VLSN; of several, the highest.
    pub vlsn: u64,
    /// How many more it stands for.
    pub merged: u64,
}

/// See the module's comment.
#[derive(Debug)]
pub(super) struct AckQueue {
    acks: VecDeque<Ack>,
    max: usize,
}

impl AckQueue {
    /// An empty one, for at most `max` acks, and at least one.
    pub(super) fn new(max: usize) -> AckQueue {
        // With room for the one that others can be merged into.
        AckQueue { acks: VecDeque::with_capacity(1), max: max.max(1) }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }

    /// Appends an ack. True if it was merged into the last one.
    pub(super) fn push(&mut self, vlsn: u64) -> bool {
        if self.acks.len() < self.max && memory::reserve_queue(&mut self.acks, 1).is_ok() {
            self.acks.push_back(Ack { vlsn, merged: 0 });
            return false;
        }
        if let Some(last) = self.acks.back_mut() {
            last.vlsn = last.vlsn.max(vlsn);
            last.merged += 1;
        }
        true
    }

    /// Takes out as many as there are and `into` has room for; says how many.
    pub(super) fn take(&mut self, into: &mut [Ack]) -> usize {
        let count = into.len().min(self.acks.len());
        for (place, ack) in into.iter_mut().zip(self.acks.drain(..count)) {
            *place = ack;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_merged_into_the_last() {
        let mut queue = AckQueue::new(0);
        assert_eq!([5, 9, 7].map(|vlsn| queue.push(vlsn)), [false, true, true]);
        let mut taken = [Ack { vlsn: 0, merged: 0 }; 2];
        assert_eq!((queue.take(&mut taken), taken[0]), (1, Ack { vlsn: 9, merged: 2 }));
        assert!(queue.is_empty() && queue.take(&mut taken) == 0);
        assert!(!queue.push(3), "there is room again");
    }
}
