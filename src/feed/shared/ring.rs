//! What was read last, for those who have not sent it yet: chunks in VLSN order, with nothing left out between them, and
//! how many members wait for each. A member is known by its position only, the VLSN that it asks for next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::Portion;
use crate::chunk::Chunk;

/// How many chunks a ring holds at most. Where each holds one small entry, a member that is so far behind reads faster
/// for itself, in large chunks.
const CHUNKS_MAX: usize = 1024;

/// What a chunk costs besides the memory that it counts itself.
const OVERHEAD: usize = 256;

struct Held {
    chunk: Arc<Chunk>,
    /// The lowest and the highest position in it. If the source leaves VLSNs out, the lowest may be that of no frame.
    first: u64,
    last: u64,
    bytes: usize,
    /// How many members are in it.
    waiting: usize,
}

/// See the module's comment.
pub(super) struct Ring {
    bytes_max: usize,
    held: VecDeque<Held>,
    bytes: usize,
    /// How many members are in one of the chunks.
    behind: usize,
    /// What is to be read next; 0 for the lowest that there is. And how many members stand there.
    next: u64,
    at_next: usize,
    /// Whether the first chunk begins with the lowest VLSN that there was.
    has_lowest: bool,
}

impl Ring {
    /// An empty one, where reading begins at `from`. It holds `bytes_max` of memory, or one chunk that takes more.
    pub(super) fn new(from: u64, bytes_max: usize) -> Ring {
        Ring { bytes_max, held: VecDeque::new(), bytes: 0, behind: 0, next: from, at_next: 0, has_lowest: false }
    }

    /// What is to be read next; 0 for the lowest that there is.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest position in it. Where it is empty, that is what is to be read next.
    pub(super) fn first(&self) -> u64 {
        self.held.front().map_or(self.next, |held| held.first)
    }

    /// Whether its first frame has the lowest VLSN that there was.
    pub(super) fn has_lowest(&self) -> bool {
        self.has_lowest
    }

    /// How much memory it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many members wait for what is in it.
    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    /// How many members wait for what is to be read next.
    pub(super) fn at_next(&self) -> usize {
        self.at_next
    }

    /// The chunk that a position is in.
    fn index_of(&self, at: u64) -> Option<usize> {
        if at == 0 {
            return self.has_lowest.then_some(0);
        }
        let is_in = (self.first()..self.next).contains(&at);
        is_in.then(|| self.held.partition_point(|held| held.last < at)).filter(|&index| index < self.held.len())
    }

    /// A member comes, at this position. False: neither is that in the ring nor what is to be read next.
    pub(super) fn enter(&mut self, at: u64) -> bool {
        if at == self.next {
            self.at_next += 1;
        } else if let Some(index) = self.index_of(at) {
            self.held[index].waiting += 1;
            self.behind += 1;
        } else {
            return false;
        }
        true
    }

    /// A member goes, from this position.
    pub(super) fn leave(&mut self, at: u64) {
        if at == self.next {
            self.at_next -= 1;
        } else if let Some(index) = self.index_of(at) {
            self.held[index].waiting -= 1;
            self.behind -= 1;
        }
    }

    /// The frames from a member's position on, to the end of their chunk. With them the member moves on.
    pub(super) fn give(&mut self, at: u64) -> Option<Portion> {
        let index = self.index_of(at)?;
        let held = &mut self.held[index];
        held.waiting -= 1;
        let portion = Portion { begin: held.chunk.begin_of(at), chunk: Arc::clone(&held.chunk) };
        match self.held.get_mut(index + 1) {
            Some(following) => following.waiting += 1,
            None => {
                self.at_next += 1;
                self.behind -= 1;
            }
        }
        Some(portion)
    }

    /// Takes what was read next by one of the members that stand there: it has it, and the others wait for it. Chunks for
    /// which there is no more room go into `freed`; who is in one of them has been left behind.
    pub(super) fn push(&mut self, chunk: &Arc<Chunk>, freed: &mut Vec<Arc<Chunk>>) {
        let (Some(first), Some(last)) = (chunk.first_vlsn(), chunk.last_vlsn()) else { return };
        let bytes = chunk.memory() + OVERHEAD;
        let waiting = self.at_next - 1;
        self.has_lowest |= self.next == 0;
        let first = if self.next == 0 { first } else { self.next };
        self.held.push_back(Held { chunk: Arc::clone(chunk), first, last, bytes, waiting });
        self.next = last.saturating_add(1);
        self.behind += waiting;
        self.at_next = 1;
        self.bytes += bytes;
        while self.held.len() > CHUNKS_MAX || self.bytes > self.bytes_max && self.held.len() > 1 {
            self.drop_first(freed);
        }
    }

    /// Lets go of the chunks at its beginning for which no member waits.
    pub(super) fn let_go(&mut self, freed: &mut Vec<Arc<Chunk>>) {
        while self.held.front().is_some_and(|held| held.waiting == 0) {
            self.drop_first(freed);
        }
    }

    fn drop_first(&mut self, freed: &mut Vec<Arc<Chunk>>) {
        if let Some(held) = self.held.pop_front() {
            self.bytes -= held.bytes;
            self.behind -= held.waiting;
            self.has_lowest = false;
            freed.push(held.chunk);
        }
        if self.held.is_empty() {
            // A burst of small chunks does not determine for ever what an empty ring takes.
            self.held = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ChunkLimits;
    use crate::log::{Entry, Lsn};

    fn chunk(vlsns: &[u64]) -> Arc<Chunk> {
        let mut chunk = Chunk::default();
        for &vlsn in vlsns {
            let entry =
                Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload: &[7; 9], payload_crc: 0, block: None };
            chunk.push(&entry, &ChunkLimits::default()).unwrap();
        }
        Arc::new(chunk)
    }

    fn vlsns(portion: Option<Portion>) -> Vec<u64> {
        let Some(Portion { chunk, begin }) = portion else { return Vec::new() };
        let (before, _) = chunk.frames_until(begin);
        (before..chunk.frames()).filter_map(|frame| chunk.vlsn_of(frame)).collect()
    }

    fn pushed(ring: &mut Ring, vlsns: &[u64]) -> usize {
        let mut freed = Vec::new();
        ring.push(&chunk(vlsns), &mut freed);
        freed.len()
    }

    #[test]
    fn each_member_gets_all_from_its_position_on_and_nobody_waits_for_the_slowest() {
        let mut ring = Ring::new(5, 1 << 20);
        assert!(!ring.enter(4) && !ring.enter(6) && !ring.enter(0));
        assert!(ring.enter(5) && ring.enter(5) && ring.enter(5));
        pushed(&mut ring, &[5, 6, 7]);
        pushed(&mut ring, &[8, 9]);
        assert_eq!((ring.first(), ring.next(), ring.behind(), ring.at_next()), (5, 10, 2, 1));
        assert!(ring.enter(6) && ring.enter(9) && !ring.enter(11));
        assert_eq!(vlsns(ring.give(6)), [6, 7], "within a chunk");
        assert_eq!(vlsns(ring.give(8)), [8, 9]);
        assert_eq!(vlsns(ring.give(9)), [9]);
        assert_eq!(vlsns(ring.give(10)), [0; 0]);
        assert_eq!((ring.behind(), ring.at_next()), (2, 3));
        let mut freed = Vec::new();
        assert_eq!(vlsns(ring.give(5)), [5, 6, 7]);
        ring.let_go(&mut freed);
        assert_eq!((freed.len(), ring.behind()), (0, 2), "one has still to send the first");
        ring.leave(5);
        ring.let_go(&mut freed);
        assert_eq!((freed.len(), ring.first(), ring.behind()), (1, 8, 1));
        assert_eq!(vlsns(ring.give(8)), [8, 9]);
        ring.let_go(&mut freed);
        assert_eq!((freed.len(), ring.first(), ring.behind(), ring.at_next(), ring.bytes()), (2, 10, 0, 4, 0));
    }

    #[test]
    fn the_slowest_is_left_behind_when_there_is_no_more_room() {
        let one = chunk(&[1]).memory() + OVERHEAD;
        let mut ring = Ring::new(1, 2 * one);
        assert!(ring.enter(1) && ring.enter(1));
        assert_eq!([1, 2, 3].map(|vlsn| pushed(&mut ring, &[vlsn])), [0, 0, 1]);
        assert_eq!((ring.behind(), ring.bytes(), ring.first()), (0, 2 * one, 2), "who is not in it holds nothing");
        assert!(ring.give(1).is_none() && ring.next() != 1);
        ring.leave(1);
        assert!(!ring.enter(1) && ring.enter(2));
        let mut ring = Ring::new(1, 0);
        assert!(ring.enter(1) && ring.enter(1));
        assert_eq!([1, 2].map(|vlsn| pushed(&mut ring, &[vlsn])), [0, 1], "one chunk there is room for");
        let mut ring = Ring::new(1, usize::MAX);
        assert!(ring.enter(1) && ring.enter(1));
        (1..=1 + CHUNKS_MAX as u64).for_each(|vlsn| _ = pushed(&mut ring, &[vlsn]));
        assert_eq!((ring.first(), ring.behind()), (2, 0));
    }

    #[test]
    fn the_lowest_there_is_can_be_had_while_the_beginning_is_there() {
        let mut ring = Ring::new(0, 1 << 20);
        assert!(!ring.enter(1), "the lowest may be another");
        assert!(ring.enter(0) && ring.enter(0) && ring.enter(0));
        pushed(&mut ring, &[50, 51]);
        assert!(ring.enter(0) && !ring.enter(1) && !ring.enter(49));
        assert_eq!((vlsns(ring.give(0)), vlsns(ring.give(0))), (vec![50, 51], vec![50, 51]));
        pushed(&mut ring, &[52]);
        let mut freed = Vec::new();
        ring.let_go(&mut freed);
        assert_eq!(freed.len(), 0);
        assert_eq!(vlsns(ring.give(0)), [50, 51]);
        ring.let_go(&mut freed);
        assert_eq!((freed.len(), ring.first(), ring.has_lowest()), (1, 52, false));
        assert!(!ring.enter(0) && !ring.enter(51) && ring.enter(52));
    }

    #[test]
    fn a_position_may_be_one_that_the_source_leaves_out() {
        let mut ring = Ring::new(10, 1 << 20);
        assert!(ring.enter(10) && ring.enter(10));
        pushed(&mut ring, &[20, 30]);
        pushed(&mut ring, &[40]);
        let all = [10, 15, 20, 21, 30, 31, 35, 40].map(|at| {
            assert!(ring.enter(at), "{at}");
            vlsns(ring.give(at)).first().copied().unwrap()
        });
        assert_eq!(all, [20, 20, 20, 30, 30, 40, 40, 40]);
        assert!(!ring.enter(9) && ring.enter(41));
    }
}
