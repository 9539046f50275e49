//! Whether a search gets on: the measure that each detour moves, as [`search`](super::search) argues.

use std::cmp::Reverse;

use crate::log::format::Lsn;

/// How far a search is, part by part as [`search`](super::search) names them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Measure {
    pub(super) next_vlsn: u64,
    pub(super) has_begun_anew: bool,
    /// Before which place nobody has looked; the log's beginning is the lowest.
    pub(super) behind: Reverse<Option<Lsn>>,
    pub(super) front: Option<Lsn>,
    pub(super) unread: Reverse<u64>,
    pub(super) held: Reverse<usize>,
}

/// How many detours for one VLSN may bring nothing. Where the log stands still none does. But it may change between the
/// look that shows an entry and the read that is to bring it.
const IN_VAIN_MAX: u32 = 16;

/// See the module's comment.
#[derive(Default)]
pub(super) struct Progress {
    last: Option<Measure>,
    in_vain: u32,
}

impl Progress {
    /// A detour begins. False: they lead round in a circle.
    pub(super) fn gets_on(&mut self, measure: Measure) -> bool {
        match self.last.replace(measure) {
            Some(last) if last.next_vlsn == measure.next_vlsn => self.in_vain += u32::from(measure <= last),
            _ => self.in_vain = 0,
        }
        self.in_vain <= IN_VAIN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure {
        next_vlsn: 7,
        has_begun_anew: false,
        behind: Reverse(Some(Lsn(500))),
        front: Some(Lsn(1000)),
        unread: Reverse(100),
        held: Reverse(10),
    };

    #[test]
    fn each_step_counts_more_than_all_that_stand_behind_it() {
        let steps = [
            Measure { held: Reverse(9), ..MEASURE },
            Measure { unread: Reverse(99), held: Reverse(99), ..MEASURE },
            Measure { front: Some(Lsn(1001)), unread: Reverse(999), ..MEASURE },
            Measure { behind: Reverse(Some(Lsn(499))), front: None, ..MEASURE },
            Measure { behind: Reverse(None), ..MEASURE },
            Measure { has_begun_anew: true, behind: Reverse(Some(Lsn(501))), ..MEASURE },
            Measure { next_vlsn: 8, ..MEASURE },
        ];
        assert!(MEASURE < steps[0] && steps.is_sorted_by(|before, after| before < after));
        let mut progress = Progress::default();
        assert!(std::iter::once(&MEASURE).chain(&steps).all(|&measure| progress.gets_on(measure)));
        assert_eq!(progress.in_vain, 0);
    }

    #[test]
    fn a_circle_is_seen_whether_it_moves_or_stands_still() {
        for other in [MEASURE, Measure { unread: Reverse(50), ..MEASURE }] {
            let mut progress = Progress::default();
            let mut around = std::iter::repeat([MEASURE, other]).flatten();
            assert!(around.by_ref().take(100).any(|measure| !progress.gets_on(measure)));
            assert!(progress.gets_on(Measure { next_vlsn: 8, ..MEASURE }), "another VLSN is another search");
        }
    }
}
