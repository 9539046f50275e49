//! How much a reader may read before whoever asked it gets an answer.
//!
//! A log can hold any amount of what is for no replica: entries without a VLSN, zeros, files before the place to begin
//! at. Whoever drives a connection beside reading must not wait for the end of that. So a turn has a budget of bytes;
//! when it is spent, the reader says [`Halt::Busy`], and goes on at the next call where it was.
//!
//! The windows of one reader share its budget, and charge it for each read. A turn may overdraw it by its last read, or
//! by the few that a search needs to get on at all: so every turn gets on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;

/// The bytes left to read in this turn. Without an allowance, that is without end.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicU64>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Budget {
    /// Begins a turn in which `bytes` may be read.
    pub fn renew(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Notes that `bytes` were read. One reader reads at a time, so nothing is lost between load and store.
    pub fn spend(&self, bytes: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Busy, when nothing is left. To be asked where the search has noted how far it got.
    pub fn check(&self) -> Searched<()> {
        if self.is_spent() { Err(Halt::Busy) } else { Ok(()) }
    }
}

/// Why a search stopped before it came to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Halt {
    /// The budget is spent. The search goes on where it was when it is asked again.
    Busy,
    /// It failed.
    Failed(Error),
}

/// What a search found, or why it stopped.
pub type Searched<T> = Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Halt {
        Halt::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_all_who_share_it_until_it_is_renewed() {
        let budget = Budget::default();
        let other = budget.clone();
        other.spend(u64::MAX - 1);
        assert!(!budget.is_spent());
        budget.renew(100);
        other.spend(99);
        assert_eq!(budget.check(), Ok(()));
        other.spend(70);
        assert!(budget.is_spent());
        assert_eq!(other.check(), Err(Halt::Busy));
        budget.renew(1);
        assert!(!other.is_spent());
    }
}
