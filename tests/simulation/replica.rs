//! A replica at the other end of a stream, and the transport between: it takes bytes in pieces of any size, decodes
//! frames with a decoder of its own, and acknowledges in odd pieces, short messages and too long ones among them.
//!
//! Checked: what the replica holds is what the reader yielded, to the byte; the watermarks of what was sent and what
//! is known are right at each step; every ack is handed out once, in order; one beyond what was sent is refused.

use std::collections::VecDeque;
use std::sync::Arc;

use noxu_feeder::chunk::fill::{Filled, fill};
use noxu_feeder::chunk::{Chunk, ChunkLimits};
use noxu_feeder::error::Error;
use noxu_feeder::feed::Portion;
use noxu_feeder::stream::{Stream, StreamOptions};

use crate::rng::Rng;
use crate::subject::Subject;

/// Frame without its payload, with the message's length before it.
const PREFIX_LEN: usize = 21;

/// A connection with a replica.
pub(crate) struct Link {
    rng: Rng,
    limits: ChunkLimits,
    stream: Stream,
    /// Frames yielded and not received whole yet: VLSN, type, payload.
    under_way: VecDeque<(u64, u8, Arc<[u8]>)>,
    arrived: Vec<u8>,
    /// The highest VLSN whose frame was taken whole.
    sent: u64,
    /// The highest VLSN that the replica holds.
    pub(crate) last: u64,
    pub(crate) received: u64,
    /// Bytes of acks on their way back, and the acks in them that are to be handed out.
    acks: VecDeque<u8>,
    acks_expected: VecDeque<u64>,
    known: u64,
    /// An ack that must be refused is under way.
    lies: Option<u64>,
    pub(crate) is_closed: bool,
    /// The source said so last: it is to be asked again.
    is_busy: bool,
}

impl Link {
    pub(crate) fn new(start_vlsn: u64, mut rng: Rng) -> Link {
        let limits = ChunkLimits {
            bytes: rng.pick(&[1, 100, 1000, 100_000]),
            frames_max: rng.pick(&[1, 3, 1000]),
            share_from: rng.pick(&[0, 10, 100, usize::MAX]),
            ..ChunkLimits::default()
        };
        let options = StreamOptions { queue_bytes_max: rng.pick(&[1, 500, 50_000]), ..StreamOptions::default() };
        Link {
            rng,
            limits,
            stream: Stream::new(start_vlsn, options),
            under_way: VecDeque::new(),
            arrived: Vec::new(),
            sent: start_vlsn.saturating_sub(1),
            last: start_vlsn.saturating_sub(1),
            received: 0,
            acks: VecDeque::new(),
            acks_expected: VecDeque::new(),
            known: 0,
            lies: None,
            is_closed: false,
            is_busy: false,
        }
    }

    /// Moves something. True if anything moved.
    pub(crate) fn pump(&mut self, subject: &mut Subject) -> Result<bool, String> {
        let mut moved = false;
        while self.stream.wants_chunk() && subject.failed.is_none() && !self.rng.one_in(6) {
            let mut chunk = Chunk::default();
            let filled = self.fill(&mut chunk, subject)?;
            moved |= !chunk.is_empty();
            self.is_busy = matches!(filled, Filled::Busy);
            if !chunk.is_empty() {
                self.stream.push(Portion::whole(Arc::new(chunk)));
            }
            if !matches!(filled, Filled::Full | Filled::Busy) {
                break;
            }
        }
        for _ in 0..self.rng.within(1, 6) {
            moved |= self.send()?;
            moved |= self.deliver_acks()?;
        }
        Ok(moved || self.is_busy && subject.failed.is_none())
    }

    fn fill(&mut self, chunk: &mut Chunk, subject: &mut Subject) -> Result<Filled, String> {
        let from = match self.stream.next_vlsn() {
            0 => subject.from,
            next => next,
        };
        let now = subject.now();
        let filled = fill(chunk, subject, from, &self.limits, now);
        let yielded = std::mem::take(&mut subject.yielded);
        if chunk.frames() != yielded.len() {
            return Err(format!("a chunk has {} frames of {} entries", chunk.frames(), yielded.len()));
        }
        self.under_way.extend(yielded);
        Ok(filled)
    }

    /// The transport takes some bytes.
    fn send(&mut self) -> Result<bool, String> {
        let most = match self.rng.below(4) {
            0 => self.rng.below(4),
            1 => self.rng.below(60),
            _ => self.rng.below(5000),
        } as usize;
        let mut taken = Vec::new();
        self.stream.with_output(|pieces| {
            for piece in pieces {
                let room = most - taken.len();
                taken.extend_from_slice(&piece[..piece.len().min(room)]);
            }
        });
        self.stream.sent(taken.len() as u64, |_| ());
        self.arrived.extend_from_slice(&taken);
        while self.decode()? {}
        if self.stream.sent_vlsn() != self.sent {
            return Err(format!("the stream says VLSN {} was sent, it was {}", self.stream.sent_vlsn(), self.sent));
        }
        Ok(!taken.is_empty())
    }

    /// Takes one frame from what arrived.
    fn decode(&mut self) -> Result<bool, String> {
        let bytes = &self.arrived;
        if bytes.len() < PREFIX_LEN {
            return Ok(false);
        }
        let le = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let payload_len = le(13) as usize;
        if le(0) as usize != payload_len + PREFIX_LEN - 4 {
            return Err("a message's length is not its frame's".into());
        }
        if bytes.len() < PREFIX_LEN + payload_len {
            return Ok(false);
        }
        let payload = &bytes[PREFIX_LEN..PREFIX_LEN + payload_len];
        if crc32fast::hash(payload) != le(17) {
            return Err("a frame's checksum fails".into());
        }
        let vlsn = u64::from_le_bytes(bytes[4..12].try_into().expect("eight bytes"));
        let (expected_vlsn, entry_type, expected) =
            self.under_way.pop_front().ok_or("a frame came that nobody yielded")?;
        if vlsn != expected_vlsn || bytes[12] != entry_type || *payload != *expected {
            return Err(format!("the frame of VLSN {vlsn} is not that of {expected_vlsn} as it was read"));
        }
        self.arrived.drain(..PREFIX_LEN + payload_len);
        self.sent = self.sent.max(vlsn);
        self.last = vlsn;
        self.received += 1;
        self.acknowledge();
        Ok(true)
    }

    fn acknowledge(&mut self) {
        match self.rng.below(20) {
            0 => self.acks.extend([2, 0, 0, 0, 9, 9]),
            1 => self.acks.extend([0, 0, 0, 0]),
            2 => {
                self.ack(self.last, 13);
            }
            3 => {
                let lower = self.rng.within(0, self.last);
                self.ack(lower, 8);
            }
            4..=8 => {}
            _ => self.ack(self.last, 8),
        }
        if self.rng.one_in(300) && self.lies.is_none() {
            let lie = self.last + 1_000_000;
            let expected = std::mem::take(&mut self.acks_expected);
            self.ack(lie, 8);
            self.acks_expected = expected;
            self.lies = Some(lie);
        }
    }

    fn ack(&mut self, vlsn: u64, message_len: u32) {
        self.acks.extend(message_len.to_le_bytes());
        self.acks.extend(vlsn.to_le_bytes());
        self.acks.extend((8..message_len).map(|_| 0xab));
        if self.lies.is_none() {
            self.acks_expected.push_back(vlsn);
        }
    }

    fn deliver_acks(&mut self) -> Result<bool, String> {
        let count = self.rng.index(self.acks.len().min(50) + 1);
        self.deliver_ack_bytes(count)
    }

    fn deliver_ack_bytes(&mut self, count: usize) -> Result<bool, String> {
        if count == 0 || self.is_closed {
            return Ok(false);
        }
        let piece: Vec<u8> = self.acks.drain(..count).collect();
        let (mut raised, mut handed) = (0, Vec::new());
        let result = self.stream.received(&piece, |vlsn| raised = vlsn, |vlsn| handed.push(vlsn));
        for vlsn in handed {
            if self.acks_expected.pop_front() != Some(vlsn) {
                return Err(format!("an ack of VLSN {vlsn} was handed out of turn"));
            }
            self.known = self.known.max(vlsn);
        }
        if raised > self.known || self.stream.known_vlsn() != self.known {
            return Err(format!("the known VLSN is {} and should be {}", self.stream.known_vlsn(), self.known));
        }
        match (result, self.lies) {
            (Ok(()), _) => {}
            (Err(Error::AckBeyondSent { acked, sent }), Some(lie))
                if acked == lie && sent == self.sent && self.acks_expected.is_empty() =>
            {
                self.is_closed = true;
            }
            (Err(error), _) => return Err(format!("acks: {error}")),
        }
        Ok(true)
    }

    /// All is sent and acknowledged: nothing may be left.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        while self.stream.has_output() {
            self.send()?;
        }
        while !self.acks.is_empty() && !self.is_closed {
            let count = self.acks.len().min(7);
            self.deliver_ack_bytes(count)?;
        }
        if !self.under_way.is_empty() || !self.arrived.is_empty() {
            return Err(format!("{} frames never arrived whole", self.under_way.len()));
        }
        if self.lies.is_some() && !self.is_closed {
            return Err("an ack beyond what was sent was taken".into());
        }
        if !self.is_closed && !self.acks_expected.is_empty() {
            return Err("acks were not handed out".into());
        }
        let counts = self.stream.counts();
        if counts.frames != self.received {
            return Err(format!("{} frames counted, {} received", counts.frames, self.received));
        }
        Ok(())
    }
}
