//! The connection: buffers that hold little, and ends of any kind.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::time::Duration;

use noxu_feeder::sys::poll::Interest;
use noxu_feeder::transport::{Closing, Driven, Transfer, Transport};

use crate::driver::SOCKET_FD;
use crate::judge::Met;
use crate::rng::Rng;
use crate::world::{Shared, World};

/// How many of the first bytes that were sent are kept: the answer to a replica that wants to be fed.
const HEAD_LEN: usize = 5;

/// What is between a peer and the server, and what has passed through it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) to_peer: VecDeque<u8>,
    pub(crate) to_feeder: VecDeque<u8>,
    pub(crate) capacity: usize,
    one_byte_odds: u64,
    /// The first bytes that the server has sent, how many it has sent in all, and how many it has received.
    pub(crate) head: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// When the peer took anything last; and since when the server wants to send and cannot.
    pub(crate) moved_at: Duration,
    pub(crate) blocked_since: Option<Duration>,
    /// When the server had received its first bytes, so many.
    pub(crate) marks: Vec<(usize, Option<Duration>)>,
    /// The server has said that it sends no more, and has let go of the connection.
    pub(crate) finished_at: Option<Duration>,
    pub(crate) dropped_at: Option<Duration>,
    /// What the peer had not read was lost by that.
    pub(crate) was_reset: bool,
    /// The peer has ended it.
    pub(crate) ended: Option<Closing>,
    /// How many bytes stand before the first ack, what of one has been received, and the highest received whole.
    pub(crate) acks_from: usize,
    ack: Vec<u8>,
    pub(crate) acked: u64,
    /// When one was received last; when the connection was made, before that.
    pub(crate) acked_at: Duration,
}

impl Pipe {
    pub(crate) fn draw(rng: &mut Rng) -> Pipe {
        Pipe {
            to_peer: VecDeque::new(),
            to_feeder: VecDeque::new(),
            capacity: rng.pick(&[13, 100, 3000, 1 << 20]),
            one_byte_odds: rng.pick(&[0, 3]),
            head: Vec::new(),
            sent: 0,
            received: 0,
            moved_at: Duration::ZERO,
            blocked_since: None,
            marks: Vec::new(),
            finished_at: None,
            dropped_at: None,
            was_reset: false,
            ended: None,
            acks_from: usize::MAX,
            ack: Vec::new(),
            acked: 0,
            acked_at: Duration::ZERO,
        }
    }

    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.to_peer.len())
    }

    pub(crate) fn room_to_feeder(&self) -> usize {
        self.capacity.saturating_sub(self.to_feeder.len())
    }

    pub(crate) fn can_send(&self) -> bool {
        self.room() > 0 || self.ended.is_some()
    }

    pub(crate) fn can_receive(&self) -> bool {
        !self.to_feeder.is_empty() || self.ended.is_some()
    }

    /// Whether anything is under way, in either direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_peer.is_empty() && self.to_feeder.is_empty()
    }

    /// Whether the server has said that the frames follow.
    pub(crate) fn is_stream(&self) -> bool {
        self.acks_from < usize::MAX && self.head == [1, 0, 0, 0, 0]
    }

    /// When the server had received so many bytes; `None` if it has not.
    pub(crate) fn received_at(&self, bytes: usize) -> Option<Duration> {
        self.marks.iter().find(|(mark, _)| *mark == bytes).and_then(|(_, at)| *at)
    }

    fn note_received(&mut self, bytes: &[u8], now: Duration) {
        for &byte in bytes {
            self.received += 1;
            let received = self.received;
            self.marks.iter_mut().filter(|(mark, _)| *mark == received).for_each(|(_, at)| *at = Some(now));
            if received > self.acks_from {
                self.note_ack_byte(byte, now);
            }
        }
    }

    /// What an ack says is worked out here once more, by another hand: its first eight bytes, once these are there.
    fn note_ack_byte(&mut self, byte: u8, now: Duration) {
        self.ack.push(byte);
        let Some((len, body)) = self.ack.split_first_chunk::<4>() else { return };
        let len = u32::from_le_bytes(*len) as usize;
        if let Ok(vlsn) = body.try_into().map(u64::from_le_bytes)
            && len >= 8
        {
            self.acked = self.acked.max(vlsn);
            self.acked_at = now;
        }
        if body.len() == len {
            self.ack.clear();
        }
    }
}

/// The connection, as the loop drives it.
pub(crate) struct SimTransport {
    pub(crate) shared: Shared,
    pub(crate) at: usize,
}

impl Transport for SimTransport {
    /// Every turn begins with it.
    fn drive(&mut self) -> Driven {
        World::note_turn(&self.shared, self.at);
        Driven::default()
    }

    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        let mut world = World::called(&self.shared);
        let World { conns, rng, now, seen, .. } = &mut *world;
        let conn = &mut conns[self.at];
        let pipe = &mut conn.pipe;
        if pipe.finished_at.is_some() {
            let text = format!("it sends behind its end to {}", self.at);
            world.wrong(text);
            return Transfer::Again;
        }
        if pipe.ended.is_some() {
            world.moved = true;
            return Transfer::Closed(Closing::Reset);
        }
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut count = pipe.room().min(offered);
        if count == 0 {
            seen.note(Met::ConnectionFull);
            pipe.blocked_since.get_or_insert(*now);
            return Transfer::Again;
        }
        if rng.one_in(pipe.one_byte_odds) {
            count = 1;
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).take(count).collect();
        let room = HEAD_LEN - pipe.head.len();
        pipe.head.extend(bytes.iter().take(room));
        pipe.to_peer.extend(bytes);
        pipe.sent += count;
        (pipe.moved_at, pipe.blocked_since) = (*now, None);
        (conn.is_stirred, conn.untold_since) = (true, None);
        world.moved = true;
        Transfer::Moved(count)
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        let mut world = World::called(&self.shared);
        let World { conns, rng, now, .. } = &mut *world;
        let conn = &mut conns[self.at];
        let pipe = &mut conn.pipe;
        if pipe.to_feeder.is_empty() {
            let Some(closing) = pipe.ended else { return Transfer::Again };
            world.moved = true;
            return Transfer::Closed(closing);
        }
        let count = into.len().min(1 + rng.index(40)).min(pipe.to_feeder.len());
        let bytes: Vec<u8> = pipe.to_feeder.drain(..count).collect();
        into[..count].copy_from_slice(&bytes);
        pipe.note_received(&bytes, *now);
        conn.is_stirred = true;
        world.moved = true;
        Transfer::Moved(count)
    }

    fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        (SOCKET_FD + self.at as RawFd, interest)
    }

    fn finish(&mut self) {
        let mut world = World::called(&self.shared);
        let now = world.now;
        world.conns[self.at].pipe.finished_at.get_or_insert(now);
        world.moved = true;
        world.note(format!("server: sends no more to {}", self.at));
    }
}

impl Drop for SimTransport {
    /// A connection that is closed with bytes unread in it is reset: what the peer has not read is lost.
    fn drop(&mut self) {
        let mut world = World::called(&self.shared);
        let World { conns, now, seen, .. } = &mut *world;
        let pipe = &mut conns[self.at].pipe;
        pipe.dropped_at = Some(*now);
        if !pipe.to_feeder.is_empty() && pipe.ended.is_none() {
            pipe.to_peer.clear();
            pipe.was_reset = true;
            seen.note(Met::ResetByServer);
        }
        world.moved = true;
        world.note(format!("server: lets go of {}", self.at));
    }
}
