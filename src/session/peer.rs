//! When it is looked whether the peer's machine is still there: now and then, while something is under way to it.

use std::time::Instant;

use crate::error::Result;
use crate::transport::Transport;

/// See the module's comment.
#[derive(Debug)]
pub(super) struct PeerCheck {
    /// When the transport wants to look, if something is under way then.
    at: Option<Instant>,
    /// Whether there was a time with nothing under way since it has looked last.
    has_rested: bool,
}

impl Default for PeerCheck {
    fn default() -> PeerCheck {
        PeerCheck { at: None, has_rested: true }
    }
}

impl PeerCheck {
    /// Has the transport look when it is time to; says when it will be. An error if the peer is gone.
    pub(super) fn check(
        &mut self,
        is_under_way: bool,
        now: Instant,
        transport: &mut dyn Transport,
    ) -> Result<Option<Instant>> {
        if !is_under_way {
            self.has_rested = true;
            return Ok(None);
        }
        if self.at.is_none_or(|at| now >= at) {
            let anew = std::mem::take(&mut self.has_rested);
            self.at = transport.check_peer(now, anew)?;
        }
        Ok(self.at)
    }
}
