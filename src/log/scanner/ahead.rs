//! A start above all of the log: the VLSN to begin with may be further up than the log reaches.

use std::sync::Arc;

use super::ScannerOptions;
use crate::log::budget::{Budget, Halt, Searched};
use crate::log::files::Files;
use crate::log::last::LastVlsn;
use crate::log::order::Order;

/// What is known of how far up the log reaches.
pub(super) enum Ahead {
    /// Nothing but what was read.
    Unknown,
    /// Its last VLSN is being looked for.
    Seeking(Box<LastVlsn>),
    /// It was looked for when this VLSN was to be the first.
    SoughtFor(u64),
}

impl Ahead {
    /// Looks whether the log reaches up to the VLSN to begin with somewhere else than at its end, and notes what it finds
    /// in `order`. In doubt it does.
    #[cold]
    pub(super) fn look(
        &mut self,
        order: &mut Order,
        files: &Arc<dyn Files>,
        options: &ScannerOptions,
        budget: &Budget,
    ) -> Searched<()> {
        let start = order.next();
        let mut search = match std::mem::replace(self, Ahead::Unknown) {
            Ahead::Seeking(search) => search,
            Ahead::SoughtFor(sought) if sought == start => {
                *self = Ahead::SoughtFor(start);
                return Ok(());
            }
            _ => {
                let (read_bytes, bytes_max) = (options.tail.read_bytes, options.tail.proof_bytes_max);
                Box::new(LastVlsn::new(Arc::clone(files), read_bytes, bytes_max, budget.clone())?)
            }
        };
        let last = match search.search(start - 1) {
            Err(Halt::Busy) => {
                *self = Ahead::Seeking(search);
                return Err(Halt::Busy);
            }
            last => last?.unwrap_or(start).min(start - 1),
        };
        *self = Ahead::SoughtFor(start);
        order.note(last);
        Ok(())
    }
}
