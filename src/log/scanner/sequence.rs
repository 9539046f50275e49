//! The VLSNs to return: what was seen to choose the first from, or their order from the first on.

use crate::error::{Error, Result};
use crate::log::order::{Beginning, Held, Order, WindowLimits};
use crate::memory::NoMemory;

/// See the module's comment.
pub(super) enum Sequence {
    /// It is not known with which VLSN to begin.
    Beginning(Beginning),
    /// It is known.
    Going(Order),
}

impl Sequence {
    pub(super) fn new(limits: WindowLimits) -> Sequence {
        Sequence::Beginning(Beginning::new(limits))
    }

    #[inline]
    pub(super) fn order(&self) -> Option<&Order> {
        match self {
            Sequence::Going(order) => Some(order),
            Sequence::Beginning(_) => None,
        }
    }

    #[inline]
    pub(super) fn order_mut(&mut self) -> Option<&mut Order> {
        match self {
            Sequence::Going(order) => Some(order),
            Sequence::Beginning(_) => None,
        }
    }

    /// The next VLSN to return; 0 while it is not known with which to begin.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.order().map_or(0, Order::next)
    }

    /// The next entry, if it was held back.
    #[inline]
    pub(super) fn ready(&self) -> Option<Held> {
        self.order().and_then(Order::ready)
    }

    /// How many entries are held back.
    pub(super) fn held(&self) -> usize {
        self.order().map_or(0, Order::held)
    }

    /// Begins with the lowest VLSN that was seen; `complete` as for [`Beginning::choose`]. False: none was seen, or it has
    /// begun. An error leaves all as it was.
    pub(super) fn begin(&mut self, complete: bool) -> Result<bool> {
        let Sequence::Beginning(beginning) = self else { return Ok(false) };
        if beginning.is_empty() {
            return Ok(false);
        }
        let order = beginning.choose(complete);
        *self = Sequence::Going(order.map_err(|none| Error::no_memory(none, "entries out of order", None, None))?);
        Ok(true)
    }

    /// Begins at `vlsn`, with what was seen held back.
    #[cold]
    pub(super) fn begin_at(&mut self, vlsn: u64) -> Result<()> {
        self.begin(true)?;
        match self {
            Sequence::Going(order) => order.skip_to(vlsn),
            Sequence::Beginning(beginning) => *self = Sequence::Going(Order::new(vlsn, beginning.limits())),
        }
        Ok(())
    }

    /// A rollback took the entry of `vlsn` back, which was held. If it was chosen to be the first, another is to be.
    #[cold]
    pub(super) fn take_back(&mut self, vlsn: u64) -> Result<()> {
        let Sequence::Going(order) = self else { return Ok(()) };
        order.forget(vlsn);
        let anew = order.chosen_anew().map_err(|none| Error::no_memory(none, "entries out of order", None, None))?;
        if let Some(beginning) = anew {
            *self = Sequence::Beginning(beginning);
        }
        Ok(())
    }

    /// Holds an entry back, or notes it for the choice of the first. True: enough was seen to choose.
    pub(super) fn hold(&mut self, vlsn: u64, held: Held) -> Result<bool, NoMemory> {
        match self {
            Sequence::Going(order) => order.note_held(vlsn, held, crate::log::Lsn::NULL).map(|_| false),
            Sequence::Beginning(beginning) => beginning.note(vlsn, held),
        }
    }
}
