//! A feed with a reading of its own: nobody else is fed by it.

use std::sync::Arc;
use std::time::Instant;

use super::pool::ChunkPool;
use super::{Feed, Portion};
use crate::chunk::fill::{Filled, fill};
use crate::chunk::{Chunk, ChunkLimits};
use crate::source::{Origin, Source, SourceProgress};

/// See the module's comment.
pub struct OwnFeed {
    source: Box<dyn Source>,
    pool: ChunkPool,
}

impl OwnFeed {
    /// Feeds from `source`, in chunks of such a size.
    pub fn new(source: Box<dyn Source>, limits: ChunkLimits) -> OwnFeed {
        OwnFeed { source, pool: ChunkPool::new(limits) }
    }
}

impl Feed for OwnFeed {
    fn next(&mut self, from_vlsn: u64, now: Instant) -> (Option<Portion>, Filled) {
        let (mut chunk, limits) = (self.pool.take(), self.pool.limits());
        let filling = Arc::get_mut(&mut chunk).expect("it has one owner");
        let filled = fill(filling, &mut *self.source, from_vlsn, &limits, now);
        let pause = if let Filled::Dry(pause) = &filled { Some(pause) } else { None };
        self.source.note_turn(pause);
        self.pool.note_filled(&chunk, &limits, pause.is_some());
        if chunk.is_empty() {
            self.pool.keep(chunk);
            return (None, filled);
        }
        (Some(Portion::whole(chunk)), filled)
    }

    fn take_back(&mut self, chunk: Arc<Chunk>) {
        self.pool.keep(chunk);
    }

    fn distrust(&mut self) {
        self.source.distrust();
    }

    fn is_notified(&self) -> bool {
        self.source.is_notified()
    }

    fn feeds(&mut self, replica_name: &str) {
        self.source.feeds(replica_name);
    }

    fn origin(&self) -> Option<Arc<dyn Origin>> {
        self.source.origin()
    }

    fn progress(&self) -> SourceProgress {
        self.source.progress()
    }
}
