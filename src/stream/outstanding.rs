//! The frames that a replica was sent and has not acknowledged: how many bytes they have, and how old the oldest is.
//!
//! All frames sent within one step of time share a mark. The number of marks is bounded: instead of more marks, the
//! step grows. So the age is never understated, and overstated by one step at most. A step is at most a 32nd of the
//! longest age since all was acknowledged last. The number of bytes is exact at the end of a mark, and in between in
//! proportion to the VLSNs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many marks are kept at most.
const MARKS_MAX: usize = 64;

/// The smallest step. Statistics have no finer unit.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Frames that were sent in a row.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// The VLSN of the last.
    vlsn: u64,
    /// How many bytes had been sent in all, up to its end.
    bytes: u64,
    /// When the first was sent.
    since: Instant,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Outstanding {
    /// The marks of frames that are not acknowledged, the oldest first.
    marks: VecDeque<Mark>,
    /// A frame sent within this time after the first frame of a mark belongs to that mark.
    step: Duration,
    /// The last VLSN before the first mark, and the bytes sent up to it.
    before: (u64, u64),
    /// The highest VLSN sent, and the highest acknowledged.
    sent_vlsn: u64,
    acked_vlsn: u64,
}

impl Outstanding {
    /// Nothing was sent yet. `first_vlsn` will be the first.
    pub fn new(first_vlsn: u64) -> Outstanding {
        let before = first_vlsn.saturating_sub(1);
        let marks = VecDeque::with_capacity(MARKS_MAX);
        Outstanding { marks, step: STEP_MIN, before: (before, 0), sent_vlsn: before, acked_vlsn: 0 }
    }

    /// Notes that the frame of `vlsn` was sent, and that `bytes` were sent in all by now.
    pub fn sent(&mut self, vlsn: u64, bytes: u64, now: Instant) {
        if vlsn <= self.sent_vlsn {
            return;
        }
        self.sent_vlsn = vlsn;
        match self.marks.back_mut() {
            Some(last) if now.saturating_duration_since(last.since) < self.step => {
                (last.vlsn, last.bytes) = (vlsn, bytes);
            }
            Some(_) => {
                if self.marks.len() == MARKS_MAX {
                    self.merge(now);
                }
                self.marks.push_back(Mark { vlsn, bytes, since: now });
            }
            None => {
                self.step = STEP_MIN;
                self.marks.push_back(Mark { vlsn, bytes, since: now });
            }
        }
        // If the host accepts acks beyond what was sent, the frame may be acknowledged already.
        self.acked(self.acked_vlsn);
    }

    /// Makes room by a larger step, with which half of the marks suffice.
    #[cold]
    fn merge(&mut self, now: Instant) {
        let Some(oldest) = self.since() else { return };
        self.step = now.saturating_duration_since(oldest) / (MARKS_MAX as u32 / 2);
        let mut kept = 0;
        for at in 1..self.marks.len() {
            let mark = self.marks[at];
            if mark.since.saturating_duration_since(self.marks[kept].since) < self.step {
                (self.marks[kept].vlsn, self.marks[kept].bytes) = (mark.vlsn, mark.bytes);
            } else {
                kept += 1;
                self.marks[kept] = mark;
            }
        }
        self.marks.truncate(kept + 1);
    }

    /// Notes that `vlsn` was acknowledged, and all below it.
    pub fn acked(&mut self, vlsn: u64) {
        self.acked_vlsn = self.acked_vlsn.max(vlsn);
        while let Some(first) = self.marks.front().filter(|first| first.vlsn <= self.acked_vlsn) {
            self.before = (first.vlsn, first.bytes);
            self.marks.pop_front();
        }
    }

    /// When the oldest frame that is not acknowledged was sent.
    pub fn since(&self) -> Option<Instant> {
        self.marks.front().map(|first| first.since)
    }

    /// How many of the bytes sent are not acknowledged, if there are `sent` in all.
    pub fn bytes(&self, sent: u64) -> u64 {
        let (vlsn, bytes) = self.before;
        let of_first = self.marks.front().map_or(0, |first| {
            let acked = u128::from(self.acked_vlsn.saturating_sub(vlsn)) * u128::from(first.bytes - bytes);
            // Not all of the mark's VLSNs are acknowledged, so this is less than its bytes.
            u64::try_from(acked / u128::from(first.vlsn - vlsn)).unwrap_or(0)
        });
        sent.saturating_sub(bytes + of_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames of 100 bytes, from VLSN 1 on.
    const FRAME: u64 = 100;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_oldest_frame_that_is_not_acknowledged_counts() {
        let begin = Instant::now();
        let mut outstanding = Outstanding::new(11);
        assert_eq!((outstanding.since(), outstanding.bytes(0)), (None, 0));
        outstanding.sent(20, 10 * FRAME, begin);
        outstanding.sent(30, 20 * FRAME, begin + ms(5));
        assert_eq!((outstanding.since(), outstanding.bytes(20 * FRAME)), (Some(begin), 20 * FRAME));
        outstanding.acked(13);
        assert_eq!((outstanding.since(), outstanding.bytes(20 * FRAME)), (Some(begin), 17 * FRAME));
        outstanding.acked(20);
        assert_eq!((outstanding.since(), outstanding.bytes(20 * FRAME)), (Some(begin + ms(5)), 10 * FRAME));
        outstanding.acked(19);
        assert_eq!(outstanding.since(), Some(begin + ms(5)), "an ack that repeats takes nothing back");
        outstanding.acked(30);
        assert_eq!((outstanding.since(), outstanding.bytes(20 * FRAME)), (None, 0));
        assert_eq!(outstanding.bytes(20 * FRAME + 7), 7, "a part of the next");
        outstanding.sent(31, 21 * FRAME, begin + ms(9));
        assert_eq!((outstanding.since(), outstanding.bytes(21 * FRAME)), (Some(begin + ms(9)), FRAME));
    }

    #[test]
    fn what_was_acknowledged_before_it_was_sent_is_not_outstanding() {
        let begin = Instant::now();
        let mut outstanding = Outstanding::new(1);
        outstanding.acked(15);
        outstanding.sent(10, 10 * FRAME, begin);
        assert_eq!((outstanding.since(), outstanding.bytes(10 * FRAME)), (None, 0));
        outstanding.sent(20, 20 * FRAME, begin + ms(3));
        assert_eq!((outstanding.since(), outstanding.bytes(20 * FRAME)), (Some(begin + ms(3)), 5 * FRAME));
    }

    #[test]
    fn the_age_is_overstated_by_a_small_part_of_the_time_that_is_outstanding() {
        let begin = Instant::now();
        let mut outstanding = Outstanding::new(1);
        let all = 10_000;
        for vlsn in 1..=all {
            outstanding.sent(vlsn, vlsn * FRAME, begin + ms(vlsn));
        }
        for acked in 0..all {
            outstanding.acked(acked);
            let (told, right) = (outstanding.since().unwrap(), begin + ms(acked + 1));
            assert!(told <= right && right - told <= ms(all) / (MARKS_MAX as u32 / 2), "{acked}: {:?}", right - told);
        }
    }

    proptest! {
        /// Holds for any amount outstanding, and any age.
        #[test]
        fn memory_is_bounded_and_the_age_is_never_understated(
            steps in prop::collection::vec((1u64..50, 0u64..20, 0u64..50), 1..2000),
        ) {
            let begin = Instant::now();
            let mut outstanding = Outstanding::new(1);
            let (mut now, mut sent, mut acked) = (begin, 0, 0);
            let mut sent_at: Vec<Instant> = Vec::new();
            for (frames, pause, acks) in steps {
                now += ms(pause);
                sent += frames;
                sent_at.resize(sent as usize, now);
                outstanding.sent(sent, sent * FRAME, now);
                acked = (acked + acks).min(sent);
                outstanding.acked(acked);
                prop_assert!(outstanding.marks.len() <= MARKS_MAX);
                prop_assert_eq!(outstanding.bytes(sent * FRAME), (sent - acked) * FRAME);
                match sent_at.get(acked as usize) {
                    None => prop_assert_eq!(outstanding.since(), None),
                    Some(&oldest) => {
                        let since = outstanding.since().unwrap();
                        prop_assert!(since <= oldest);
                    }
                }
            }
        }
    }
}
