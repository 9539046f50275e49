//! The connection and the replica at its other end: buffers that hold little, acks in any pieces, ends of any kind.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use noxu_feeder::Result;
use noxu_feeder::error::Error;
use noxu_feeder::sys::poll::Interest;
use noxu_feeder::sys::thread::Threads;
use noxu_feeder::transport::{Channel, Closing, Driven, Received, Transfer, Transport};
use noxu_feeder::wire::frame::Frame;

use crate::driver::SOCKET_FD;
use crate::judge::Met;
use crate::rng::Rng;
use crate::world::{Shared, World};

/// What is between the two.
#[derive(Debug)]
pub(crate) struct Link {
    to_replica: VecDeque<u8>,
    to_feeder: VecDeque<u8>,
    capacity: usize,
    /// The feeder has said that it sends no more.
    pub(crate) is_finished: bool,
    pub(crate) finished_at: Duration,
    /// The feeder has let go of the connection.
    pub(crate) is_dropped: bool,
    pub(crate) dropped_at: Duration,
    /// The replica has ended it.
    pub(crate) ended: Option<Closing>,
    /// What the feeder has received, message by message.
    arrived: Vec<u8>,
    /// The acks that it has received whole, and that its host has to hear of, in this order.
    pub(crate) acks: VecDeque<u64>,
    /// The highest of all of them.
    pub(crate) acked: u64,
    one_byte_odds: u64,
    pub(crate) sent: Sent,
    /// When the last ack was received, or the run began.
    pub(crate) acked_at: Duration,
    /// When the feeder last looked for acks, and there were none.
    pub(crate) found_nothing_at: Option<Duration>,
}

/// What the feeder has sent, frame by frame.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// When each whole frame was.
    at: Vec<Duration>,
    /// The length of the frame that is begun, as far as that was sent, and how many bytes it still has to come.
    len: Vec<u8>,
    left: usize,
}

impl Sent {
    /// Bytes were sent. Says whether they go on behind the end of the frame that was begun, if any was.
    fn note(&mut self, bytes: impl Iterator<Item = u8>, now: Duration) -> bool {
        let mut begins_another = false;
        for byte in bytes {
            if self.left > 0 {
                self.left -= 1;
            } else {
                begins_another |= self.len.is_empty();
                self.len.push(byte);
                let Some(len) = self.len.first_chunk() else { continue };
                self.left = u32::from_le_bytes(*len) as usize;
            }
            if self.left == 0 {
                self.at.push(now);
                self.len.clear();
            }
        }
        begins_another
    }
}

impl Link {
    pub(crate) fn draw(rng: &mut Rng) -> Link {
        Link {
            to_replica: VecDeque::new(),
            to_feeder: VecDeque::new(),
            capacity: rng.pick(&[13, 100, 3000, 1 << 20]),
            is_finished: false,
            finished_at: Duration::ZERO,
            is_dropped: false,
            dropped_at: Duration::ZERO,
            ended: None,
            arrived: Vec::new(),
            acks: VecDeque::new(),
            acked: 0,
            one_byte_odds: rng.pick(&[0, 3]),
            sent: Sent::default(),
            acked_at: Duration::ZERO,
            found_nothing_at: None,
        }
    }

    /// Since when the replica has owed an ack.
    pub(crate) fn owed_since(&self) -> Option<Duration> {
        self.sent.at.get(self.acked as usize).map(|sent_at| self.acked_at.max(*sent_at))
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.to_replica.len())
    }

    pub(crate) fn can_send(&self) -> bool {
        self.room() > 0 || self.ended.is_some()
    }

    pub(crate) fn can_receive(&self) -> bool {
        !self.to_feeder.is_empty() || self.ended.is_some()
    }

    /// Whether anything is under way, in either direction.
    pub(crate) fn is_empty(&self) -> bool {
        self.to_replica.is_empty() && self.to_feeder.is_empty()
    }

    /// Whether the feeder has received all that there was.
    pub(crate) fn is_drained(&self) -> bool {
        self.to_feeder.is_empty()
    }

    /// Bytes of acks reached the feeder: what they say is worked out here once more, by another hand. An ack is its first
    /// eight bytes; what a longer message has besides is nothing.
    fn receive(&mut self, bytes: &[u8], now: Duration) {
        for &byte in bytes {
            self.arrived.push(byte);
            let message = self.arrived.split_first_chunk::<4>();
            let Some((len, body)) = message.map(|(len, body)| (u32::from_le_bytes(*len) as usize, body)) else {
                continue;
            };
            if let Ok(vlsn) = body.try_into().map(u64::from_le_bytes)
                && len >= 8
            {
                self.acked_at = now;
                self.acks.push_back(vlsn);
                self.acked = self.acked.max(vlsn);
            }
            if body.len() == len {
                self.arrived.clear();
            }
        }
    }
}

/// The replica.
#[derive(Debug)]
pub(crate) struct Replica {
    bytes: Vec<u8>,
    /// The last VLSN that it has whole.
    pub(crate) has: u64,
    /// Bytes of acks that are still to go into the connection.
    acks: VecDeque<u8>,
    /// In how many of its turns it does nothing.
    lazy_odds: u64,
    odd_acks_odds: u64,
    /// Behind which VLSN it ends the connection, and how.
    ends_behind: Option<(u64, Closing)>,
}

impl Replica {
    pub(crate) fn draw(rng: &mut Rng) -> Replica {
        let closing = rng.pick(&[Closing::Finished, Closing::Reset]);
        Replica {
            bytes: Vec::new(),
            has: 0,
            acks: VecDeque::new(),
            lazy_odds: rng.pick(&[0, 2]),
            odd_acks_odds: rng.pick(&[0, 5]),
            ends_behind: rng.one_in(5).then(|| (rng.below(40), closing)),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.acks.is_empty()
    }
}

impl World {
    /// The replica of feed number `feed` takes some bytes, and answers.
    pub(crate) fn replicate(&mut self, feed: usize) {
        self.feeds[feed].is_stirred = true;
        let log = self.feeds[feed].log;
        if self.feeds[feed].link.ended.is_some() || self.rng.one_in(self.feeds[feed].replica.lazy_odds) {
            return;
        }
        // Like the real one: while its acks find no room it reads nothing.
        let room = self.feeds[feed].link.capacity.saturating_sub(self.feeds[feed].link.to_feeder.len());
        let count = room.min(self.feeds[feed].replica.acks.len()).min(1 + self.rng.index(64));
        if count > 0 {
            let piece: Vec<u8> = self.feeds[feed].replica.acks.drain(..count).collect();
            if !self.feeds[feed].replica.acks.is_empty() {
                self.seen.note(Met::AckSplit);
            }
            self.feeds[feed].link.to_feeder.extend(piece);
            return;
        }
        if !self.feeds[feed].replica.acks.is_empty() {
            if self.feeds[feed].link.room() == 0 {
                self.seen.note(Met::FullBothWays);
            }
            return;
        }
        if let Some((vlsn, closing)) = self.feeds[feed].replica.ends_behind
            && self.feeds[feed].replica.has >= vlsn
        {
            self.feeds[feed].link.ended = Some(closing);
            if closing == Closing::Reset {
                self.feeds[feed].link.to_feeder.clear();
            }
            self.seen.note(match closing {
                Closing::Finished => Met::FinishedByReplica,
                Closing::Reset => Met::ResetByReplica,
            });
            self.note(format!("replica: {closing:?} behind VLSN {}", self.feeds[feed].replica.has));
            return;
        }
        if self.feeds[feed].link.to_replica.is_empty() {
            if self.feeds[feed].link.is_finished {
                self.feeds[feed].link.ended = Some(Closing::Finished);
                self.note("replica: has all, and closes".into());
            }
            return;
        }
        let count = self.feeds[feed].link.to_replica.len().min(1 + self.rng.index(self.feeds[feed].link.capacity));
        let taken = self.feeds[feed].link.to_replica.drain(..count).collect::<Vec<_>>();
        self.feeds[feed].replica.bytes.extend(taken);
        while let Some(len) =
            self.feeds[feed].replica.bytes.first_chunk::<4>().map(|len| u32::from_le_bytes(*len) as usize)
        {
            let Some(message) = self.feeds[feed].replica.bytes.get(4..4 + len) else { break };
            let expected = self.feeds[feed].replica.has + 1;
            match Frame::decode(message) {
                Ok(frame) if frame.vlsn == expected && frame.payload == self.logs[log].writer.payload_of(expected) => {}
                frame => {
                    let text = format!("the replica wanted VLSN {expected} and got {frame:?}");
                    self.wrong(text);
                }
            }
            self.feeds[feed].replica.bytes.drain(..4 + len);
            self.feeds[feed].replica.has = expected;
            self.acknowledge(feed);
        }
    }

    fn acknowledge(&mut self, feed: usize) {
        let log = self.feeds[feed].log;
        let vlsn = self.feeds[feed].replica.has;
        let odds = self.feeds[feed].replica.odd_acks_odds;
        let acks = &mut self.feeds[feed].replica.acks;
        let mut message = |len: u32, vlsn: u64| {
            acks.extend(len.to_le_bytes());
            let bytes = vlsn.to_le_bytes().into_iter().chain(std::iter::repeat(0xee));
            acks.extend(bytes.take(len as usize));
        };
        if self.rng.one_in(odds) {
            match self.rng.below(4) {
                0 => {
                    message(3, vlsn);
                    self.seen.note(Met::AckShort);
                }
                1 => {
                    message(21, vlsn);
                    self.seen.note(Met::AckLong);
                }
                2 => {
                    message(8, self.rng.within(0, vlsn));
                    self.seen.note(Met::AckLower);
                }
                _ => {}
            }
        } else {
            message(8, vlsn);
        }
        // At the end it says what it has.
        if vlsn == self.logs[log].writer.last_vlsn() {
            message(8, vlsn);
        }
    }
}

/// The connection, before a runner takes it over.
pub(crate) struct SimChannel(pub(crate) SimTransport);

impl Channel for SimChannel {
    fn send(&self, _: &[u8]) -> Result<()> {
        Err(Error::ChannelClosed)
    }

    fn receive(&self, _: &mut [u8], _: Option<Instant>) -> Result<Received> {
        Ok(Received::Closed)
    }

    fn close(&self) {}

    fn is_open(&self) -> bool {
        true
    }

    fn into_transport(self: Box<Self>, _: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        Ok((Box::new(self.0), Vec::new()))
    }
}

/// The connection, as the loop drives it.
pub(crate) struct SimTransport {
    pub(crate) shared: Shared,
    pub(crate) feed: usize,
}

impl Transport for SimTransport {
    /// Every turn begins with it.
    fn drive(&mut self) -> Driven {
        World::note_turn(&self.shared, self.feed);
        Driven::default()
    }

    fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
        let mut world = World::called(&self.shared);
        if world.feeds[self.feed].link.is_finished {
            world.wrong("it sends behind its end".into());
        }
        if world.feeds[self.feed].link.ended.is_some() {
            world.moved = true;
            return Transfer::Closed(Closing::Reset);
        }
        let room = world.feeds[self.feed].link.room();
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        if room == 0 {
            world.seen.note(Met::ConnectionFull);
            return Transfer::Again;
        }
        let odds = world.feeds[self.feed].link.one_byte_odds;
        let mut count = room.min(offered);
        if world.rng.one_in(odds) {
            count = 1;
            world.seen.note(Met::OneByteTaken);
        }
        let bytes = || pieces.iter().flat_map(|piece| piece.iter().copied()).take(count);
        world.feeds[self.feed].link.to_replica.extend(bytes());
        let now = world.now;
        let begins_another = world.feeds[self.feed].link.sent.note(bytes(), now);
        if let Err(text) = world.feeds[self.feed].holding.note_sent(count as u64, begins_another, now) {
            world.wrong(text);
        }
        world.moved = true;
        world.feeds[self.feed].is_stirred = true;
        // It has looked.
        world.feeds[self.feed].untold_since = None;
        Transfer::Moved(count)
    }

    fn receive(&mut self, into: &mut [u8]) -> Transfer {
        let mut world = World::called(&self.shared);
        if world.feeds[self.feed].link.to_feeder.is_empty() {
            return match world.feeds[self.feed].link.ended {
                Some(closing) => {
                    world.moved = true;
                    Transfer::Closed(closing)
                }
                None => {
                    let now = world.now;
                    world.feeds[self.feed].link.found_nothing_at = Some(now);
                    Transfer::Again
                }
            };
        }
        let count = into.len().min(1 + world.rng.index(40)).min(world.feeds[self.feed].link.to_feeder.len());
        let bytes: Vec<u8> = world.feeds[self.feed].link.to_feeder.drain(..count).collect();
        into[..count].copy_from_slice(&bytes);
        let now = world.now;
        world.feeds[self.feed].link.receive(&bytes, now);
        world.feeds[self.feed].is_stirred = true;
        world.moved = true;
        Transfer::Moved(count)
    }

    fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        (SOCKET_FD + self.feed as RawFd, interest)
    }

    fn finish(&mut self) {
        let mut world = World::called(&self.shared);
        world.feeds[self.feed].link.is_finished = true;
        world.feeds[self.feed].link.finished_at = world.now;
        world.moved = true;
        world.note("feeder: sends no more".into());
    }
}

impl Drop for SimTransport {
    fn drop(&mut self) {
        let mut world = World::called(&self.shared);
        let now = world.now;
        let link = &mut world.feeds[self.feed].link;
        (link.is_dropped, link.dropped_at) = (true, now);
    }
}
