//! A stream: one replica's side of the protocol, as a state machine.
//!
//! It has no I/O, no clock and no threads. It is given chunks, says which bytes to send next, and is told how many were
//! sent. It is given the bytes that arrived, and hands out the acks in them. It guarantees that frames leave in the
//! order of the chunks, that the replica's known VLSN never falls, and that no ack is believed for a frame that the
//! replica cannot have.

pub mod outstanding;
pub mod tracker;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use crate::chunk::{Chunk, ChunkLimits};
use crate::error::{Error, Result};
use crate::wire::ack::AckReader;

/// What an ack above the highest VLSN sent means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BeyondSent {
    /// The replica is broken or hostile: the stream ends.
    #[default]
    Error,
    /// Others feed the replica, too: the ack is believed.
    Accept,
}

/// How a stream works.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamOptions {
    /// What an ack above the highest VLSN sent means.
    pub beyond_sent: BeyondSent,
    /// How chunks are filled.
    pub chunk: ChunkLimits,
    /// While this many bytes wait to be sent, no further chunk is wanted.
    pub queue_bytes_max: usize,
}

/// What has passed through a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamCounts {
    /// Frames wholly handed to the transport.
    pub frames: u64,
    /// Bytes handed to the transport, with the length field before each message.
    pub bytes: u64,
    /// Acks received.
    pub acks: u64,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Stream {
    options: StreamOptions,
    /// The VLSN of the first frame; 0 while that is not known.
    start_vlsn: u64,
    /// The lowest VLSN that may be sent next; 0 for "the lowest there is".
    next_vlsn: u64,
    /// The highest VLSN whose frame was wholly handed to the transport.
    sent_vlsn: u64,
    /// The highest VLSN acknowledged.
    known_vlsn: u64,
    queue: VecDeque<Arc<Chunk>>,
    queued_bytes: u64,
    /// How much of the first chunk has been sent, in bytes and in frames.
    front_sent: u64,
    front_frames: usize,
    /// Chunks to fill again.
    spare: Vec<Arc<Chunk>>,
    /// How many bytes make the next chunk full.
    chunk_bytes: usize,
    acks: AckReader,
    counts: StreamCounts,
}

/// How many pieces are offered to a transport at once. Every system takes that many in one call, and that many hold the
/// bytes of several chunks.
pub const PIECES_MAX: usize = 256;

/// How many bytes make the first chunk full after the source had no more. The replica gets something to do soon.
const FIRST_CHUNK_BYTES: usize = 128 * 1024;

/// How many chunks are kept to be filled again.
const SPARE_MAX: usize = 4;

impl Stream {
    /// A stream that begins with VLSN `start_vlsn`; 0 for the lowest that the source has.
    pub fn new(start_vlsn: u64, options: StreamOptions) -> Stream {
        Stream {
            options,
            start_vlsn,
            next_vlsn: start_vlsn,
            sent_vlsn: start_vlsn.saturating_sub(1),
            known_vlsn: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            front_sent: 0,
            front_frames: 0,
            spare: Vec::new(),
            chunk_bytes: FIRST_CHUNK_BYTES,
            acks: AckReader::default(),
            counts: StreamCounts::default(),
        }
    }

    /// The VLSN of the first frame. For a stream that begins with the lowest there is, 0 until that one is known.
    pub fn start_vlsn(&self) -> u64 {
        self.start_vlsn
    }

    /// The VLSN to ask a source for.
    pub fn next_vlsn(&self) -> u64 {
        self.next_vlsn
    }

    /// The highest VLSN whose frame was wholly handed to the transport. Before the first frame, one below its VLSN.
    pub fn sent_vlsn(&self) -> u64 {
        self.sent_vlsn
    }

    /// The highest VLSN acknowledged; 0 at first.
    pub fn known_vlsn(&self) -> u64 {
        self.known_vlsn
    }

    /// What has passed through.
    pub fn counts(&self) -> StreamCounts {
        self.counts
    }

    /// How many bytes wait to be sent.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Whether there is anything to send.
    pub fn has_output(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether it has room for another chunk.
    pub fn wants_chunk(&self) -> bool {
        self.queued_bytes < self.options.queue_bytes_max as u64
    }

    /// A chunk to be filled, empty and owned by the caller alone.
    pub fn empty_chunk(&mut self) -> Arc<Chunk> {
        // The chunk used last is still in a cache. To prefer it also keeps the others small.
        let Some(at) = self.spare.iter_mut().rposition(|chunk| Arc::get_mut(chunk).is_some()) else {
            return Arc::default();
        };
        let mut chunk = self.spare.remove(at);
        Arc::get_mut(&mut chunk).expect("looked at above").clear(&self.options.chunk);
        chunk
    }

    /// When the next chunk is full. Each chunk after a full one may have twice its bytes, up to the limit in the
    /// options.
    pub fn chunk_limits(&self) -> ChunkLimits {
        let limits = &self.options.chunk;
        // Behind a full chunk, bandwidth counts and not latency.
        let send_first = if self.chunk_bytes == FIRST_CHUNK_BYTES { limits.send_first } else { 0 };
        ChunkLimits { bytes: self.chunk_bytes.min(limits.bytes), send_first, ..*limits }
    }

    /// Notes that the source has no more for now.
    pub fn ran_dry(&mut self) {
        self.chunk_bytes = FIRST_CHUNK_BYTES;
    }

    /// Queues a chunk. Its VLSNs continue those of the chunks queued before.
    pub fn push(&mut self, chunk: Arc<Chunk>) {
        let limits = self.chunk_limits();
        if chunk.is_full(&limits) {
            self.chunk_bytes = limits.bytes * 2;
        }
        let Some(last_vlsn) = chunk.last_vlsn() else {
            self.keep(chunk);
            return;
        };
        if self.start_vlsn == 0 {
            self.start_vlsn = chunk.first_vlsn().unwrap_or(0);
        }
        debug_assert!(last_vlsn >= self.next_vlsn, "a chunk must not go back");
        self.next_vlsn = last_vlsn.saturating_add(1);
        self.queued_bytes += chunk.len();
        self.queue.push_back(chunk);
    }

    /// Calls `send` with the bytes to send next, in at most [`PIECES_MAX`] pieces.
    pub fn with_output<T>(&self, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut from = self.front_sent;
        for chunk in &self.queue {
            count += chunk.gather(from, &mut pieces[count..]);
            if count == PIECES_MAX {
                break;
            }
            from = 0;
        }
        send(&pieces[..count])
    }

    /// Notes that the transport took `bytes` of the output.
    pub fn sent(&mut self, mut bytes: u64) {
        self.counts.bytes += bytes;
        self.queued_bytes -= bytes;
        while let Some(front) = self.queue.front() {
            let taken = bytes.min(front.len() - self.front_sent);
            bytes -= taken;
            self.front_sent += taken;
            let (frames, last_vlsn) = front.frames_until(self.front_sent);
            self.counts.frames += (frames - self.front_frames) as u64;
            self.front_frames = frames;
            if let Some(vlsn) = last_vlsn {
                self.sent_vlsn = self.sent_vlsn.max(vlsn);
            }
            if self.front_sent < front.len() {
                break;
            }
            self.front_sent = 0;
            self.front_frames = 0;
            if let Some(done) = self.queue.pop_front() {
                self.keep(done);
            }
        }
        debug_assert_eq!(bytes, 0, "the transport took more than there was");
    }

    fn keep(&mut self, mut chunk: Arc<Chunk>) {
        if let Some(chunk) = Arc::get_mut(&mut chunk) {
            // Cleared now, so that the blocks it refers to are free for reading at once.
            chunk.clear(&self.options.chunk);
        }
        if self.spare.len() < SPARE_MAX {
            self.spare.push(chunk);
        }
    }

    /// Takes bytes that arrived; hands every ack in them to `sink`, in order, after [`known_vlsn`](Self::known_vlsn)
    /// has risen. `raise` is told of every rise before that.
    pub fn received(&mut self, bytes: &[u8], mut raise: impl FnMut(u64), mut sink: impl FnMut(u64)) -> Result<()> {
        let Stream { acks, known_vlsn, sent_vlsn, options, counts, .. } = self;
        acks.push(bytes, |vlsn| {
            if vlsn > *sent_vlsn && options.beyond_sent == BeyondSent::Error {
                return Err(Error::AckBeyondSent { acked: vlsn, sent: *sent_vlsn });
            }
            counts.acks += 1;
            if vlsn > *known_vlsn {
                *known_vlsn = vlsn;
                raise(vlsn);
            }
            sink(vlsn);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Entry, Lsn};

    fn options() -> StreamOptions {
        StreamOptions { queue_bytes_max: 1000, ..StreamOptions::default() }
    }

    fn chunk_of(stream: &mut Stream, vlsns: impl IntoIterator<Item = u64>) -> Arc<Chunk> {
        let mut chunk = stream.empty_chunk();
        let filling = Arc::get_mut(&mut chunk).unwrap();
        for vlsn in vlsns {
            let payload = b"payload";
            let payload_crc = crc32fast::hash(payload);
            let entry = Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload, payload_crc, block: None };
            filling.push(&entry, &ChunkLimits::default()).unwrap();
        }
        chunk
    }

    fn output(stream: &Stream) -> Vec<u8> {
        stream.with_output(|pieces| pieces.iter().flat_map(|piece| piece.to_vec()).collect())
    }

    fn ack(vlsn: u64) -> Vec<u8> {
        [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()
    }

    fn acks_of(stream: &mut Stream, bytes: &[u8]) -> Result<Vec<u64>> {
        let mut acks = Vec::new();
        stream.received(bytes, |_| (), |vlsn| acks.push(vlsn))?;
        Ok(acks)
    }

    #[test]
    fn bytes_leave_in_order_however_little_the_transport_takes() {
        for step in [1, 2, 27, 28, 29, 1000] {
            let mut stream = Stream::new(1, options());
            let chunk = chunk_of(&mut stream, 1..=3);
            stream.push(chunk);
            let chunk = chunk_of(&mut stream, 4..=5);
            stream.push(chunk);
            let whole = output(&stream);
            let mut sent = Vec::new();
            while stream.has_output() {
                let now = output(&stream);
                let taken = now.len().min(step);
                sent.extend_from_slice(&now[..taken]);
                stream.sent(taken as u64);
                assert_eq!(stream.sent_vlsn(), sent.len() as u64 / 28, "28 bytes a frame");
            }
            assert_eq!(sent, whole);
            assert_eq!(stream.counts(), StreamCounts { frames: 5, bytes: whole.len() as u64, acks: 0 });
            assert_eq!((stream.next_vlsn(), stream.queued_bytes()), (6, 0));
        }
    }

    #[test]
    fn chunks_grow_until_the_source_runs_dry() {
        let chunk = ChunkLimits { bytes: 300_000, ..ChunkLimits::default() };
        let mut stream = Stream::new(1, StreamOptions { chunk, ..options() });
        let mut vlsn = 0;
        let mut push = |stream: &mut Stream, is_full: bool| {
            let limits = stream.chunk_limits();
            vlsn += 1;
            let payload = vec![0; if is_full { limits.bytes } else { 1 }];
            let mut chunk = stream.empty_chunk();
            let entry =
                Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload: &payload, payload_crc: 0, block: None };
            Arc::get_mut(&mut chunk).unwrap().push(&entry, &limits).unwrap();
            assert_eq!(chunk.is_full(&limits), is_full);
            stream.push(chunk);
            stream.chunk_limits().bytes
        };
        let sizes = [false, true, false, true, true].map(|is_full| push(&mut stream, is_full));
        let (first, second) = (FIRST_CHUNK_BYTES, 2 * FIRST_CHUNK_BYTES);
        assert_eq!(sizes, [first, second, second, 300_000, 300_000], "each twice the last, up to the limit");
        stream.ran_dry();
        assert_eq!(stream.chunk_limits().bytes, first);
        let few = ChunkLimits { bytes: 1000, ..ChunkLimits::default() };
        assert_eq!(Stream::new(1, StreamOptions { chunk: few, ..options() }).chunk_limits().bytes, 1000);
    }

    #[test]
    fn the_known_vlsn_is_the_highest_ack_and_every_ack_is_handed_out() {
        let mut stream = Stream::new(1, options());
        let chunk = chunk_of(&mut stream, 1..=50);
        let len = chunk.len();
        stream.push(chunk);
        stream.sent(len);
        assert_eq!(stream.known_vlsn(), 0);
        assert_eq!(acks_of(&mut stream, &[ack(42), ack(10), ack(42)].concat()).unwrap(), [42, 10, 42]);
        assert_eq!((stream.known_vlsn(), stream.counts().acks), (42, 3));
    }

    #[test]
    fn the_known_vlsn_has_risen_before_the_sink_is_called() {
        let mut stream = Stream::new(100, options());
        let order = std::cell::RefCell::new(Vec::new());
        let raise = |vlsn| order.borrow_mut().push(("raise", vlsn));
        stream.received(&[ack(42), ack(10)].concat(), raise, |vlsn| order.borrow_mut().push(("sink", vlsn))).unwrap();
        assert_eq!(order.into_inner(), [("raise", 42), ("sink", 42), ("sink", 10)]);
    }

    #[test]
    fn a_short_ack_is_ignored_and_the_stream_goes_on() {
        let mut stream = Stream::new(11, options());
        let short = [&3u32.to_le_bytes()[..], &[1, 2, 3]].concat();
        let empty = 0u32.to_le_bytes();
        assert_eq!(acks_of(&mut stream, &[&short[..], &empty, &ack(7)].concat()).unwrap(), [7]);
    }

    #[test]
    fn an_ack_above_the_highest_sent_is_neither_believed_nor_delivered() {
        let mut stream = Stream::new(10, options());
        assert_eq!(acks_of(&mut stream, &ack(9)).unwrap(), [9], "a resumed replica's repeated ack is fine");
        let chunk = chunk_of(&mut stream, 10..=11);
        stream.push(chunk);
        let error = acks_of(&mut stream, &ack(10)).unwrap_err();
        assert_eq!(error, Error::AckBeyondSent { acked: 10, sent: 9 });
        stream.sent(27);
        assert!(acks_of(&mut stream, &ack(10)).is_err(), "a byte of the frame is missing");
        assert_eq!(stream.known_vlsn(), 9);
        stream.sent(1);
        assert_eq!(acks_of(&mut stream, &ack(10)).unwrap(), [10]);
        assert!(acks_of(&mut stream, &ack(11)).is_err());
    }

    #[test]
    fn a_host_may_have_acks_beyond_what_was_sent_accepted() {
        let mut stream = Stream::new(1, StreamOptions { beyond_sent: BeyondSent::Accept, ..options() });
        assert_eq!(acks_of(&mut stream, &ack(42)).unwrap(), [42]);
        assert_eq!(stream.known_vlsn(), 42);
    }

    #[test]
    fn the_queue_is_bounded_and_chunks_are_used_again() {
        let mut stream = Stream::new(1, options());
        let mut vlsn = 0;
        while stream.wants_chunk() {
            vlsn += 1;
            let chunk = chunk_of(&mut stream, [vlsn]);
            stream.push(chunk);
        }
        assert_eq!(stream.queued_bytes(), 1000u64.div_ceil(28) * 28);
        stream.sent(stream.queued_bytes());
        assert_eq!(stream.spare.len(), SPARE_MAX);
        let last = Arc::as_ptr(&stream.spare[SPARE_MAX - 1]);
        assert_eq!(Arc::as_ptr(&stream.empty_chunk()), last);
    }
}
