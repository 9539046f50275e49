//! When a replica's answers are hastened: once for whatever has arrived, while nothing but answers is waited for.

use std::time::{Duration, Instant};

use crate::transport::Transport;

/// With no more acks outstanding than this, each one is hastened.
pub(super) const HASTENED_EACH_MAX: u64 = 32;

/// With more, that is done so often. Each time the replica's system sends what acks there are, however few: all at once
/// they cost a replica that is catching up a third of its speed, and so almost nothing.
pub(super) const HASTEN_EVERY: Duration = Duration::from_millis(1);

/// See the module's comment.
#[derive(Debug)]
pub(super) struct Hastening {
    /// Whether there is any use in telling the transport.
    is_useful: bool,
    /// Whether anything has arrived since it was told.
    has_received: bool,
    /// When it was told last.
    told: Option<Instant>,
}

impl Default for Hastening {
    fn default() -> Hastening {
        Hastening { is_useful: true, has_received: false, told: None }
    }
}

impl Hastening {
    /// Bytes have arrived.
    pub(super) fn note_received(&mut self) {
        self.has_received = true;
    }

    /// Tells the transport that there is nothing but answers to wait for, `outstanding` of them; or says when it will be
    /// time to. A replica that still has much to acknowledge is catching up, and is not told each time.
    pub(super) fn hasten(&mut self, outstanding: u64, now: Instant, transport: &mut dyn Transport) -> Option<Instant> {
        if !self.is_useful || !self.has_received || outstanding == 0 {
            return None;
        }
        let each = outstanding <= HASTENED_EACH_MAX;
        if let Some(next) = self.told.map(|last| last + HASTEN_EVERY).filter(|next| !each && now < *next) {
            return Some(next);
        }
        self.has_received = false;
        self.told = Some(now);
        self.is_useful = transport.hasten_answers(each);
        None
    }
}
