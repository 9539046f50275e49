//! Chunks that were sent, to be filled again; and how large the next one may become.

use std::sync::Arc;

use crate::chunk::{Chunk, ChunkLimits};

/// How many bytes make the first chunk full after the source had no more. The replica gets something to do soon.
pub(super) const FIRST_CHUNK_BYTES: usize = 128 * 1024;

/// How much memory a chunk may hold that is kept while its source has no more: what is just being committed finds room.
const AT_REST_BYTES: usize = 2 * FIRST_CHUNK_BYTES;

/// How many chunks are kept to be filled again.
const SPARE_MAX: usize = 4;

/// See the module's comment.
#[derive(Debug)]
pub(super) struct ChunkPool {
    limits: ChunkLimits,
    spare: Vec<Arc<Chunk>>,
    /// How many bytes make the next chunk full.
    next_bytes: usize,
}

impl ChunkPool {
    pub(super) fn new(limits: ChunkLimits) -> ChunkPool {
        ChunkPool { limits, spare: Vec::new(), next_bytes: FIRST_CHUNK_BYTES }
    }

    /// A chunk to be filled, empty and owned by the caller alone.
    pub(super) fn take(&mut self) -> Arc<Chunk> {
        // The chunk used last is still in a cache. To prefer it also keeps the others small.
        let Some(at) = self.spare.iter_mut().rposition(|chunk| Arc::get_mut(chunk).is_some()) else {
            return Arc::default();
        };
        let mut chunk = self.spare.remove(at);
        Arc::get_mut(&mut chunk).expect("looked at above").clear(&self.limits);
        chunk
    }

    /// Whether it keeps another chunk.
    pub(super) fn has_room(&self) -> bool {
        self.spare.len() < SPARE_MAX
    }

    /// Takes a chunk back, which others may still send.
    pub(super) fn keep(&mut self, mut chunk: Arc<Chunk>) {
        if let Some(chunk) = Arc::get_mut(&mut chunk) {
            // Cleared now, so that the blocks it refers to are free for reading at once.
            chunk.clear(&self.limits);
        }
        if self.has_room() {
            self.spare.push(chunk);
        }
    }

    /// The source has no more, and everything was sent: lets go of the large ones.
    pub(super) fn rest(&mut self) {
        self.spare.retain(|chunk| chunk.memory() <= AT_REST_BYTES);
    }

    /// When the next chunk is full. Each chunk after a full one may have twice its bytes, up to the limit in the options.
    pub(super) fn limits(&self) -> ChunkLimits {
        // Behind a full chunk, bandwidth counts and not latency.
        let send_first = if self.next_bytes == FIRST_CHUNK_BYTES { self.limits.send_first } else { 0 };
        ChunkLimits { bytes: self.next_bytes.min(self.limits.bytes), send_first, ..self.limits }
    }

    /// Notes a chunk that was filled within these limits, and whether the source has no more for now.
    pub(super) fn note_filled(&mut self, chunk: &Chunk, limits: &ChunkLimits, is_dry: bool) {
        if is_dry {
            self.next_bytes = FIRST_CHUNK_BYTES;
        } else if chunk.is_full(limits) {
            self.next_bytes = limits.bytes * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Entry, Lsn};

    const LIMITS: ChunkLimits = ChunkLimits { bytes: 300_000, frames_max: 1000, send_first: 64, share_from: 4096 };

    /// Fills a chunk, or puts a little into it.
    fn filled(pool: &mut ChunkPool, is_full: bool, is_dry: bool) -> (Arc<Chunk>, ChunkLimits) {
        let (mut chunk, limits) = (pool.take(), pool.limits());
        let payload = vec![0; if is_full { limits.bytes } else { 1 }];
        let lsn = Lsn::new(0, 36);
        let entry = Entry { vlsn: 1, lsn, entry_type: 13, payload: &payload, payload_crc: 0, block: None };
        Arc::get_mut(&mut chunk).unwrap().push(&entry, &limits).unwrap();
        pool.note_filled(&chunk, &limits, is_dry);
        (chunk, limits)
    }

    #[test]
    fn chunks_grow_until_the_source_runs_dry() {
        let mut pool = ChunkPool::new(LIMITS);
        let sizes = [(false, false), (true, false), (false, false), (true, false), (true, false), (true, true)];
        let sizes = sizes.map(|(is_full, is_dry)| {
            let (chunk, limits) = filled(&mut pool, is_full, is_dry);
            pool.keep(chunk);
            (limits.bytes, limits.send_first)
        });
        let (first, second) = (FIRST_CHUNK_BYTES, 2 * FIRST_CHUNK_BYTES);
        let expected = [(first, 64), (first, 64), (second, 0), (second, 0), (300_000, 0), (300_000, 0)];
        assert_eq!(sizes, expected, "each twice the last full one, up to the limit");
        assert_eq!((pool.limits().bytes, pool.limits().send_first), (first, 64), "dry");
        assert_eq!(ChunkPool::new(ChunkLimits { bytes: 1000, ..LIMITS }).limits().bytes, 1000);
    }

    #[test]
    fn at_rest_only_small_chunks_are_kept() {
        let mut pool = ChunkPool::new(LIMITS);
        let limits = ChunkLimits { bytes: 2 * AT_REST_BYTES, ..LIMITS };
        let payload = vec![0; AT_REST_BYTES];
        let entry =
            Entry { vlsn: 1, lsn: Lsn::new(0, 36), entry_type: 13, payload: &payload, payload_crc: 0, block: None };
        let mut large = Chunk::default();
        large.push(&entry, &limits).unwrap();
        let small = filled(&mut pool, false, true).0;
        pool.keep(Arc::new(large));
        pool.keep(small);
        assert_eq!(pool.spare.len(), 2);
        pool.rest();
        assert_eq!(pool.spare.len(), 1);
    }

    #[test]
    fn the_chunk_used_last_is_filled_again_unless_somebody_still_sends_it() {
        let mut pool = ChunkPool::new(LIMITS);
        let chunks = [(); SPARE_MAX + 1].map(|()| filled(&mut pool, false, false).0);
        let ([first, .., last, _], shared) = (&chunks.each_ref().map(Arc::as_ptr), Arc::clone(&chunks[SPARE_MAX - 1]));
        let (first, last) = (*first, *last);
        chunks.into_iter().for_each(|chunk| pool.keep(chunk));
        assert_eq!(pool.spare.len(), SPARE_MAX);
        let other = pool.take();
        assert!(other.is_empty() && Arc::as_ptr(&other) != last);
        assert!(!shared.is_empty(), "it is being sent");
        drop(shared);
        let again = pool.take();
        assert!(again.is_empty() && Arc::as_ptr(&again) == last);
        pool.take();
        assert_eq!(Arc::as_ptr(&pool.take()), first);
        assert!(pool.take().is_empty(), "a new one");
    }
}
