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

use crate::chunk::Chunk;
use crate::error::{Error, Result};
use crate::feed::Portion;
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

/// A chunk that is being sent, or will be.
#[derive(Debug)]
struct Queued {
    chunk: Arc<Chunk>,
    /// Up to which of its bytes it was sent, or is not to be; and how many of its frames end there or before.
    sent: u64,
    frames: usize,
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
    queue: VecDeque<Queued>,
    queued_bytes: u64,
    acks: AckReader,
    counts: StreamCounts,
}

/// How many pieces are offered to a transport at once. Every system takes that many in one call, and that many hold the
/// bytes of several chunks.
pub const PIECES_MAX: usize = 256;

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

    /// Queues frames. Their VLSNs continue those of the frames queued before.
    pub fn push(&mut self, Portion { chunk, begin }: Portion) {
        let (frames, _) = chunk.frames_until(begin);
        let (Some(first_vlsn), Some(last_vlsn)) = (chunk.vlsn_of(frames), chunk.last_vlsn()) else {
            debug_assert!(false, "a portion has a frame");
            return;
        };
        if self.start_vlsn == 0 {
            self.start_vlsn = first_vlsn;
        }
        debug_assert!(first_vlsn >= self.next_vlsn, "a portion must not go back");
        self.next_vlsn = last_vlsn.saturating_add(1);
        self.queued_bytes += chunk.len() - begin;
        self.queue.push_back(Queued { chunk, sent: begin, frames });
    }

    /// Calls `send` with the bytes to send next, in at most [`PIECES_MAX`] pieces.
    pub fn with_output<T>(&self, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        self.with_some_output(u64::MAX, send)
    }

    /// The same with `most` bytes at most.
    pub fn with_some_output<T>(&self, most: u64, send: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let (mut count, mut left) = (0, most);
        for queued in &self.queue {
            count += queued.chunk.gather_some(queued.sent, left, &mut pieces[count..]);
            left = left.saturating_sub(queued.chunk.len() - queued.sent);
            if count == PIECES_MAX || left == 0 {
                break;
            }
        }
        send(&pieces[..count])
    }

    /// How many bytes of the output are whole frames, if they are to be `bytes` at least or all there are. The rest of a
    /// frame of which a part was sent counts as one: for no bytes at least, it is as many as that has.
    pub fn whole_frames(&self, bytes: u64) -> u64 {
        let mut before = 0;
        for Queued { chunk, sent, .. } in &self.queue {
            let to = sent + (bytes - before);
            if to <= chunk.len() {
                return before + chunk.frame_end(to) - sent;
            }
            before += chunk.len() - sent;
        }
        before
    }

    /// Notes that the transport took `bytes` of the output. Calls `done` with each chunk of which all was sent.
    pub fn sent(&mut self, mut bytes: u64, mut done: impl FnMut(Arc<Chunk>)) {
        self.counts.bytes += bytes;
        self.queued_bytes -= bytes;
        while let Some(front) = self.queue.front_mut() {
            let taken = bytes.min(front.chunk.len() - front.sent);
            bytes -= taken;
            front.sent += taken;
            let (frames, last_vlsn) = front.chunk.frames_until(front.sent);
            self.counts.frames += (frames - front.frames) as u64;
            front.frames = frames;
            if let Some(vlsn) = last_vlsn {
                self.sent_vlsn = self.sent_vlsn.max(vlsn);
            }
            if front.sent < front.chunk.len() {
                break;
            }
            if let Some(Queued { chunk, .. }) = self.queue.pop_front() {
                done(chunk);
            }
        }
        debug_assert_eq!(bytes, 0, "the transport took more than there was");
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
    use crate::chunk::ChunkLimits;
    use crate::log::{Entry, Lsn};

    fn options() -> StreamOptions {
        StreamOptions { queue_bytes_max: 1000, ..StreamOptions::default() }
    }

    fn portion(vlsns: impl IntoIterator<Item = u64>) -> Portion {
        let mut chunk = Chunk::default();
        for vlsn in vlsns {
            let payload = b"payload";
            let payload_crc = crc32fast::hash(payload);
            let entry = Entry { vlsn, lsn: Lsn::new(0, 36), entry_type: 13, payload, payload_crc, block: None };
            chunk.push(&entry, &ChunkLimits::default()).unwrap();
        }
        Portion::whole(Arc::new(chunk))
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
            stream.push(portion(1..=3));
            stream.push(portion(4..=5));
            let whole = output(&stream);
            let mut sent = Vec::new();
            while stream.has_output() {
                let now = output(&stream);
                let taken = now.len().min(step);
                sent.extend_from_slice(&now[..taken]);
                stream.sent(taken as u64, |_| ());
                assert_eq!(stream.sent_vlsn(), sent.len() as u64 / 28, "28 bytes a frame");
            }
            assert_eq!(sent, whole);
            assert_eq!(stream.counts(), StreamCounts { frames: 5, bytes: whole.len() as u64, acks: 0 });
            assert_eq!((stream.next_vlsn(), stream.queued_bytes()), (6, 0));
        }
    }

    #[test]
    fn output_can_be_limited_to_bytes_or_to_whole_frames() {
        let mut stream = Stream::new(1, options());
        assert_eq!((stream.whole_frames(0), stream.whole_frames(1000)), (0, 0));
        stream.push(portion(1..=3));
        stream.push(portion(4..=5));
        let whole = output(&stream);
        for sent in 0..=whole.len() {
            for most in [0, 1, 27, 28, 29, 84, 85, 112, 200] {
                let some: Vec<u8> = stream.with_some_output(most as u64, |pieces| {
                    assert!(pieces.iter().all(|piece| !piece.is_empty()));
                    pieces.iter().flat_map(|piece| piece.to_vec()).collect()
                });
                assert_eq!(some, whole[sent..(sent + most).min(whole.len())]);
                let end = (sent + most).next_multiple_of(28).min(whole.len());
                assert_eq!(stream.whole_frames(most as u64), (end - sent) as u64, "{most} behind {sent}");
            }
            if stream.has_output() {
                stream.sent(1, |_| ());
            }
        }
    }

    #[test]
    fn a_portion_begins_with_any_frame_of_its_chunk() {
        let whole = portion(5..=9);
        let mut stream = Stream::new(7, options());
        stream.push(Portion { begin: 2 * 28, ..whole.clone() });
        assert_eq!((stream.next_vlsn(), stream.sent_vlsn(), stream.queued_bytes()), (10, 6, 3 * 28));
        let mut all = Stream::new(5, options());
        all.push(whole.clone());
        assert_eq!(output(&stream), output(&all)[2 * 28..]);
        stream.sent(28, |_| panic!("two frames are left"));
        assert_eq!((stream.sent_vlsn(), stream.counts().frames), (7, 1));
        let mut done = 0;
        stream.sent(2 * 28, |chunk| done += chunk.frames());
        assert_eq!((stream.sent_vlsn(), stream.counts().frames, done), (9, 3, 5));
        let mut from_lowest = Stream::new(0, options());
        from_lowest.push(Portion { begin: 28, ..whole });
        assert_eq!(from_lowest.start_vlsn(), 6);
    }

    #[test]
    fn the_known_vlsn_is_the_highest_ack_and_every_ack_is_handed_out() {
        let mut stream = Stream::new(1, options());
        stream.push(portion(1..=50));
        stream.sent(stream.queued_bytes(), |_| ());
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
        stream.push(portion(10..=11));
        let error = acks_of(&mut stream, &ack(10)).unwrap_err();
        assert_eq!(error, Error::AckBeyondSent { acked: 10, sent: 9 });
        stream.sent(27, |_| ());
        assert!(acks_of(&mut stream, &ack(10)).is_err(), "a byte of the frame is missing");
        assert_eq!(stream.known_vlsn(), 9);
        stream.sent(1, |_| ());
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
    fn the_queue_is_bounded_and_chunks_come_back_when_they_were_sent() {
        let mut stream = Stream::new(1, options());
        let mut vlsn = 0;
        while stream.wants_chunk() {
            vlsn += 1;
            stream.push(portion([vlsn]));
        }
        assert_eq!(stream.queued_bytes(), 1000u64.div_ceil(28) * 28);
        let mut back = Vec::new();
        stream.sent(3 * 28 - 1, |chunk| back.push(chunk.last_vlsn()));
        assert_eq!(back, [Some(1), Some(2)]);
        stream.sent(stream.queued_bytes(), |chunk| back.push(chunk.last_vlsn()));
        assert_eq!((back.len() as u64, stream.has_output()), (vlsn, false));
    }
}
