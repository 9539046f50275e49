//! A start above all of the log: the VLSN to begin with may be further up than the log reaches.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    Seeking(Box<LastVlsn>, Option<Doubt>),
    /// It was looked for when this VLSN was to be the first.
    SoughtFor(u64),
    /// It was looked for, and something that cannot be read, or is just being written, may hide it.
    InDoubt(Doubt),
}

/// Since when it has been in doubt whether the log reaches up to a VLSN.
#[derive(Clone, Copy)]
pub(super) struct Doubt {
    start: u64,
    since: Instant,
    again_at: Instant,
}

/// After how long it is looked again at the latest, where it is in doubt: that reads many bytes.
const DOUBT_MAX: Duration = Duration::from_secs(60);

impl Ahead {
    /// Looks whether the log reaches up to the VLSN to begin with somewhere else than at its end, and notes what it finds
    /// in `order`. Some: that cannot be told now, and is looked for again then. Until then it may.
    #[cold]
    pub(super) fn look(
        &mut self,
        order: &mut Order,
        files: &Arc<dyn Files>,
        options: &ScannerOptions,
        budget: &Budget,
        now: Instant,
    ) -> Searched<Option<Instant>> {
        let start = order.next();
        let (mut search, doubt) = match std::mem::replace(self, Ahead::Unknown) {
            Ahead::Seeking(search, doubt) => (search, doubt),
            Ahead::SoughtFor(sought) if sought == start => {
                *self = Ahead::SoughtFor(start);
                return Ok(None);
            }
            Ahead::InDoubt(doubt) if doubt.start == start && now < doubt.again_at => {
                *self = Ahead::InDoubt(doubt);
                return Ok(Some(doubt.again_at));
            }
            before => {
                let (read_bytes, bytes_max) = (options.tail.read_bytes, options.tail.proof_bytes_max);
                let search = LastVlsn::new(Arc::clone(files), read_bytes, bytes_max, budget.clone())?;
                (Box::new(search), if let Ahead::InDoubt(doubt) = before { Some(doubt) } else { None })
            }
        };
        let doubt = doubt.filter(|doubt| doubt.start == start);
        match search.search(start - 1) {
            Err(Halt::Busy) => {
                *self = Ahead::Seeking(search, doubt);
                Err(Halt::Busy)
            }
            Err(halt) => Err(halt),
            Ok(Some(last)) => {
                *self = Ahead::SoughtFor(start);
                order.note(last.min(start - 1));
                Ok(None)
            }
            Ok(None) => {
                let since = doubt.map_or(now, |doubt| doubt.since);
                // What is being written is whole soon. What is damaged stays so.
                let again_at = now + (now - since).clamp(options.tail.settle, DOUBT_MAX.max(options.tail.settle));
                *self = Ahead::InDoubt(Doubt { start, since, again_at });
                Ok(Some(again_at))
            }
        }
    }
}
