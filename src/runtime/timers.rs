//! When each of many is due: a heap in which everyone stands once, and whose entry moves when its time changes.
//!
//! Deadlines are set more often than they come. An entry that is moved leaves nothing behind, so what is dropped need not be
//! woken up for, and there are never more entries than members.

use std::time::Instant;

/// One entry for each member, which is a small number. The first due is at the top.
#[derive(Debug, Default)]
pub struct Timers {
    heap: Vec<(Instant, usize)>,
    /// Where in the heap each member's entry is.
    places: Vec<Option<usize>>,
}

impl Timers {
    /// When the first of all is due.
    #[inline]
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// From now on this one is due at that time and no other; `None`: at none.
    #[inline]
    pub fn set(&mut self, member: usize, at: Option<Instant>) {
        let place = self.places.get(member).copied().flatten();
        match (place, at) {
            (None, None) => {}
            (None, Some(at)) => self.insert(member, at),
            (Some(place), None) => self.remove(place),
            (Some(place), Some(at)) if self.heap[place].0 == at => {}
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
        }
    }

    /// Takes out one that is due by `now`, if any is.
    #[inline]
    pub fn take_due(&mut self, now: Instant) -> Option<usize> {
        let &(at, member) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.remove(0);
        Some(member)
    }

    fn insert(&mut self, member: usize, at: Instant) {
        if self.places.len() <= member {
            self.places.resize(member + 1, None);
        }
        self.heap.push((at, member));
        self.settle(self.heap.len() - 1);
    }

    fn remove(&mut self, place: usize) {
        let (_, member) = self.heap.swap_remove(place);
        self.places[member] = None;
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Moves the entry at `place` up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.exchange(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let below = (2 * place + 1)..(2 * place + 3).min(self.heap.len());
            let Some(first) = below.min_by_key(|&child| self.heap[child].0) else { break };
            if self.heap[place].0 <= self.heap[first].0 {
                break;
            }
            self.exchange(place, first);
            place = first;
        }
        self.places[self.heap[place].1] = Some(place);
    }

    /// Exchanges two entries, and notes where the one that is not being moved is now.
    fn exchange(&mut self, moved: usize, other: usize) {
        self.heap.swap(moved, other);
        self.places[self.heap[moved].1] = Some(moved);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_is_due_once_and_when_it_was_set_last() {
        let begin = Instant::now();
        let at = |seconds| Some(begin + Duration::from_secs(seconds));
        let mut timers = Timers::default();
        assert_eq!((timers.next(), timers.take_due(begin)), (None, None));
        timers.set(3, at(5));
        timers.set(0, at(2));
        timers.set(3, at(1));
        timers.set(7, None);
        assert_eq!(timers.next(), at(1));
        assert_eq!(timers.take_due(begin), None);
        assert_eq!(timers.take_due(at(9).unwrap()), Some(3));
        timers.set(0, None);
        assert_eq!((timers.next(), timers.take_due(at(9).unwrap())), (None, None));
    }

    proptest! {
        #[test]
        fn they_come_in_their_order_whatever_was_set(sets in prop::collection::vec((0usize..20, 0u64..60), 0..200)) {
            let begin = Instant::now();
            let mut timers = Timers::default();
            let mut wanted = [None; 20];
            for (member, seconds) in sets {
                let at = (seconds < 50).then(|| begin + Duration::from_secs(seconds));
                timers.set(member, at);
                wanted[member] = at;
                prop_assert_eq!(timers.next(), wanted.iter().flatten().min().copied());
            }
            let middle = begin + Duration::from_secs(25);
            let mut last = begin;
            while let Some(member) = timers.take_due(middle) {
                let at = wanted[member].take().expect("it was set");
                prop_assert!(last <= at && at <= middle);
                last = at;
            }
            prop_assert_eq!(timers.next(), wanted.iter().flatten().min().copied());
            prop_assert!(timers.next().is_none_or(|at| at > middle));
        }
    }
}
