//! Who comes: what each wants, what it says in which pieces, and what it makes of what it hears.

use std::collections::{BTreeMap, VecDeque};

use noxu_feeder::lsn::{FileName, Lsn};
use noxu_feeder::transport::Closing;
use noxu_feeder::wire::frame::Frame;
use noxu_feeder::wire::service::peer_feeder::{Answer, append_start};
use noxu_feeder::wire::service::restore::{append_request, decode};
use noxu_feeder::wire::service::syncup::{Message, Record, fingerprint, is_sync_point};
use noxu_feeder::wire::service::{Opening, append_message, election};

use crate::disk::Writer;
use crate::judge::Met;
use crate::pipe::Pipe;
use crate::rng::Rng;
use crate::world::World;

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) want: Want,
    /// What it has still to say, and how much it has said.
    pub(crate) out: VecDeque<u8>,
    said: usize,
    /// How long the name of its service is, and its first request with that.
    pub(crate) opening: usize,
    pub(crate) request: usize,
    /// What it has heard and not made anything of, and how much it has heard.
    bytes: Vec<u8>,
    heard: usize,
    /// In how many of its turns it does nothing.
    lazy_odds: u64,
    /// After how many bytes it says or hears nothing more.
    pub(crate) mute_after: usize,
    deaf_after: usize,
    /// In how many of its turns it ends the connection, and how.
    pub(crate) ends_in: Option<(u64, Closing)>,
}

/// What it came for.
#[derive(Debug)]
pub(crate) enum Want {
    /// To be fed.
    Stream(Stream),
    /// To fetch all files.
    Restore {
        is_framed: bool,
        /// How much of each file was whole when it had asked.
        floor: Option<BTreeMap<u32, usize>>,
    },
    /// To find a common point.
    Syncup(Syncup),
    /// To be elected.
    Election { heard: u32 },
    /// To see whether the port is open.
    Probe,
    /// Something else.
    Garbage,
}

/// A replica.
#[derive(Debug)]
pub(crate) struct Stream {
    /// As it asks for it.
    pub(crate) start: u64,
    pub(crate) answer: Option<Answer>,
    /// The last VLSN that it has.
    pub(crate) has: u64,
    odd_acks_odds: u64,
    /// Behind which VLSN it acknowledges what it does not have.
    pub(crate) lies_behind: Option<u64>,
}

/// A replica that asks what the log holds.
#[derive(Debug)]
pub(crate) struct Syncup {
    questions: u64,
    /// How many questions it has out at once.
    ahead: usize,
    pub(crate) asked: VecDeque<Asked>,
    has_asked: bool,
    ending: Ending,
    /// It has said how it ends.
    is_ending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Start,
    Restore,
    Close,
}

/// A question, and what was true when it was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    vlsn: i64,
    is_first: bool,
    is_held: bool,
    /// The last sync point below which nothing was missing.
    sync: Option<u64>,
}

impl Peer {
    /// `is_offered`: whether elections are answered. `silent_odds`: how seldom one falls silent in what it has to say first.
    pub(crate) fn draw(rng: &mut Rng, writer: &Writer, pipe: &mut Pipe, is_offered: bool, silent_odds: u64) -> Peer {
        let (mut out, mut opening) = (Vec::new(), 0);
        let mut name = |out: &mut Vec<u8>, name: &str| {
            Opening::Name(name).append_to(out);
            opening = out.len();
        };
        let want = match rng.below(13) {
            0..=4 => {
                name(&mut out, "PEER_FEEDER");
                let (first, last) = (writer.first, writer.last_vlsn());
                let start = match rng.below(8) {
                    0 => 0,
                    1 | 2 => first,
                    3 | 4 => rng.within(first, last + 1),
                    5 => 1,
                    6 => rng.below(first),
                    _ => last + 1 + rng.below(50),
                };
                append_start(&mut out, start);
                pipe.acks_from = out.len();
                let lies_behind = rng.one_in(12).then(|| rng.below(20));
                let odd_acks_odds = rng.pick(&[0, 5]);
                let has = start.max(1) - 1;
                Want::Stream(Stream { start, answer: None, has, odd_acks_odds, lies_behind })
            }
            5 | 6 => {
                let is_framed = rng.one_in(2);
                if is_framed {
                    name(&mut out, "RESTORE");
                    append_request(&mut out);
                } else {
                    Opening::RawRestore.append_to(&mut out);
                }
                Want::Restore { is_framed, floor: None }
            }
            7 | 8 => {
                name(&mut out, "REP_SYNCUP");
                Want::Syncup(Syncup {
                    questions: rng.below(12),
                    ahead: rng.pick(&[1, 1, 4]),
                    asked: VecDeque::new(),
                    has_asked: false,
                    ending: rng.pick(&[Ending::Start, Ending::Restore, Ending::Close]),
                    is_ending: false,
                })
            }
            9 if is_offered => {
                name(&mut out, "ELECTION");
                let candidacy = election::Candidacy {
                    name: "b",
                    vlsn: rng.below(100),
                    priority: 1,
                    term: 7,
                    dtvlsn: rng.below(100),
                };
                election::Message::Proposal(candidacy).append_to(&mut out);
                Want::Election { heard: 0 }
            }
            9 => {
                name(&mut out, "ELECTION");
                Want::Garbage
            }
            10 => Want::Probe,
            _ => {
                match rng.below(8) {
                    0 => {
                        let len = 4 + rng.index(40);
                        out = rng.bytes(len);
                        // No length of a name, whatever the rest.
                        out[3] |= 1;
                    }
                    1 => out = vec![0x16, 3, 1, 0, 200, 1, 2, 3],
                    2 => name(&mut out, "peer_feeder"),
                    3 => {
                        name(&mut out, "PEER_FEEDER");
                        out.extend([0, 0, 1, 0]);
                    }
                    4 => {
                        name(&mut out, "RESTORE");
                        append_message(&mut out, b"RSTN");
                    }
                    5 => {
                        name(&mut out, "REP_SYNCUP");
                        append_message(&mut out, &[99, 0]);
                    }
                    6 => append_message(&mut out, &[0xff, 0xfe, 0xfd]),
                    _ => {
                        name(&mut out, "PEER_FEEDER");
                        append_message(&mut out, &[1, 2, 3]);
                    }
                }
                Want::Garbage
            }
        };
        let (is_probe, is_syncup) = (matches!(want, Want::Probe), matches!(want, Want::Syncup(_)));
        if opening == 0 {
            opening = if is_probe { usize::MAX } else { out.len() };
        }
        // A question of a syncup, or how it ends, has 13 bytes.
        let request = if is_probe { usize::MAX } else { out.len() + if is_syncup { 13 } else { 0 } };
        let closing = rng.pick(&[Closing::Finished, Closing::Reset]);
        let is_silent = rng.one_in(silent_odds);
        pipe.marks = vec![(opening, None), (request, None)];
        pipe.marks.dedup();
        Peer {
            mute_after: if is_silent && !is_probe {
                rng.index(request)
            } else if rng.one_in(20) {
                rng.index(400)
            } else {
                usize::MAX
            },
            deaf_after: if rng.one_in(8) { rng.index(3000) } else { usize::MAX },
            ends_in: (rng.one_in(6) || is_probe && rng.one_in(2)).then(|| (rng.below(40), closing)),
            want,
            out: out.into(),
            said: 0,
            opening,
            request,
            bytes: Vec::new(),
            heard: 0,
            lazy_odds: rng.pick(&[0, 0, 2]),
        }
    }

    /// Whether it says nothing more, whatever it wants to say.
    pub(crate) fn is_mute(&self) -> bool {
        self.said >= self.mute_after
    }

    /// Whether it hears nothing more.
    pub(crate) fn is_deaf(&self) -> bool {
        self.heard >= self.deaf_after
    }

    /// Whether it has nothing to say for now.
    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_empty() || self.is_mute()
    }

    /// The message that has been heard whole; it is taken.
    fn take_message(&mut self) -> Option<Vec<u8>> {
        let len = u32::from_le_bytes(*self.bytes.first_chunk()?) as usize;
        let message = self.bytes.get(4..4 + len)?.to_vec();
        self.bytes.drain(..4 + len);
        Some(message)
    }
}

impl World {
    /// The peer says something, or hears something and makes of it what it can.
    pub(crate) fn peer_turn(&mut self, at: usize) {
        let World { conns, rng, .. } = self;
        let conn = &mut conns[at];
        conn.is_stirred = true;
        let (peer, pipe) = (&mut conn.peer, &mut conn.pipe);
        if pipe.ended.is_some() || rng.one_in(peer.lazy_odds) {
            return;
        }
        match &mut peer.ends_in {
            Some((0, closing)) => {
                let closing = *closing;
                return self.end_by_peer(at, closing);
            }
            Some((turns, _)) => *turns -= 1,
            None => {}
        }
        let is_gone = pipe.dropped_at.is_some();
        let count = pipe.room_to_feeder().min(peer.out.len()).min(peer.mute_after - peer.said).min(1 + rng.index(64));
        if !is_gone && count > 0 {
            pipe.to_feeder.extend(peer.out.drain(..count));
            peer.said += count;
            return self.said(at);
        }
        if !is_gone && !peer.is_idle() {
            // Like a real one: while what it has to say finds no room it reads nothing.
            return;
        }
        if pipe.to_peer.is_empty() {
            if pipe.finished_at.is_some() || is_gone {
                self.hear_end(at);
            } else {
                self.ask(at);
            }
            return;
        }
        let count = pipe.to_peer.len().min(1 + rng.index(pipe.capacity)).min(peer.deaf_after - peer.heard);
        peer.heard += count;
        peer.bytes.extend(pipe.to_peer.drain(..count));
        if count > 0 {
            self.hear_bytes(at);
        }
    }

    fn end_by_peer(&mut self, at: usize, closing: Closing) {
        self.note(format!("{at}: {closing:?}"));
        self.seen.note(match closing {
            Closing::Finished => Met::FinishedByPeer,
            Closing::Reset => Met::ResetByPeer,
        });
        let pipe = &mut self.conns[at].pipe;
        pipe.ended = Some(closing);
        if closing == Closing::Reset {
            pipe.to_feeder.clear();
        }
    }

    /// It has said some more.
    fn said(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        if let Want::Restore { floor: floor @ None, .. } = &mut conn.peer.want
            && conn.peer.out.is_empty()
        {
            *floor = Some(self.logs[0].writer.whole_lens());
        }
    }

    fn hear_bytes(&mut self, at: usize) {
        if matches!(self.conns[at].peer.want, Want::Restore { .. }) {
            return;
        }
        while let Some(message) = self.conns[at].peer.take_message() {
            match &self.conns[at].peer.want {
                Want::Stream(Stream { answer: None, .. }) => self.hear_answer(at, &message),
                Want::Stream(_) => self.hear_frame(at, &message),
                Want::Syncup(_) => self.hear_record(at, &message),
                Want::Election { .. } => self.hear_vote(at, &message),
                Want::Restore { .. } | Want::Probe | Want::Garbage => {
                    self.wrong(format!("{at} has asked for nothing, and got {message:?}"));
                }
            }
        }
    }

    // --- who wants to be fed ------------------------------------------------------------------------------------

    fn hear_answer(&mut self, at: usize, message: &[u8]) {
        let Want::Stream(stream) = &mut self.conns[at].peer.want else { return };
        let writer = &self.logs[0].writer;
        let (start, highest) = (stream.start.max(1), writer.highest());
        match Answer::decode(message) {
            Ok(answer) => stream.answer = Some(answer),
            Err(fault) => return self.wrong(format!("{at} asked for VLSN {start}, and the answer is {fault}")),
        }
        match stream.answer {
            Some(Answer::Serves) => {
                self.seen.note(Met::Served);
                if start > highest + 1 || start < writer.first {
                    let first = writer.first;
                    self.wrong(format!("{at} is fed from {start} on, and the log has {first} to {highest}"));
                }
            }
            _ => {
                self.seen.note(Met::NeedsRestore);
                if start >= writer.first && !self.can_miss {
                    let first = writer.first;
                    self.wrong(format!(
                        "{at} is to restore: it asked for {start}, and the log has {first} to {highest}"
                    ));
                }
            }
        }
    }

    fn hear_frame(&mut self, at: usize, message: &[u8]) {
        let Want::Stream(stream) = &mut self.conns[at].peer.want else { return };
        let expected = stream.has + 1;
        let is_served = stream.answer == Some(Answer::Serves);
        let payload = self.logs[0].writer.payload_of(expected);
        match Frame::decode(message) {
            Ok(frame)
                if is_served
                    && (frame.vlsn, frame.entry_type, frame.payload)
                        == (expected, Writer::entry_type(expected), &payload[..]) => {}
            frame => {
                let text = format!("replica {at} wanted VLSN {expected} and got {frame:?}");
                return self.wrong(text);
            }
        }
        stream.has = expected;
        self.acknowledge(at, expected);
    }

    fn acknowledge(&mut self, at: usize, vlsn: u64) {
        let last = self.logs[0].writer.last_vlsn();
        let World { conns, rng, .. } = self;
        let Peer { want, out, .. } = &mut conns[at].peer;
        let Want::Stream(stream) = want else { return };
        let mut message = |len: u32, vlsn: u64| {
            out.extend(len.to_le_bytes());
            out.extend(vlsn.to_le_bytes().into_iter().chain(std::iter::repeat(0xee)).take(len as usize));
        };
        match stream.lies_behind {
            Some(behind) if vlsn > behind => message(8, vlsn + 1000),
            _ if rng.one_in(stream.odd_acks_odds) => match rng.below(4) {
                0 => message(3, vlsn),
                1 => message(21, vlsn),
                2 => message(8, rng.within(0, vlsn)),
                _ => {}
            },
            _ => message(8, vlsn),
        }
        // At the end it says what it has.
        if vlsn == last {
            message(8, vlsn);
        }
    }

    // --- who wants to find a common point ---------------------------------------------------------------------------

    /// It asks the next question, if it has one, and may.
    fn ask(&mut self, at: usize) {
        let World { conns, rng, logs, .. } = self;
        let Peer { want, out, .. } = &mut conns[at].peer;
        let Want::Syncup(syncup) = want else { return };
        let writer = &logs[0].writer;
        if syncup.is_ending || syncup.asked.len() >= syncup.ahead {
            return;
        }
        let mut bytes = Vec::new();
        if syncup.questions > 0 {
            syncup.questions -= 1;
            let vlsn = match rng.below(5) {
                0 => -(rng.below(3) as i64),
                1 => (writer.last_vlsn() + rng.below(20)) as i64,
                2 => rng.below(writer.first) as i64,
                _ => rng.within(writer.first, writer.last_vlsn().max(writer.first)) as i64,
            };
            // What stands above a VLSN that is still to come is above the end.
            let is_held = u64::try_from(vlsn).is_ok_and(|vlsn| (writer.first..=writer.whole).contains(&vlsn));
            let sync = (writer.first..=writer.whole).rev().find(|&vlsn| is_sync_point(Writer::entry_type(vlsn)));
            let is_first = !std::mem::replace(&mut syncup.has_asked, true);
            syncup.asked.push_back(Asked { vlsn, is_first, is_held, sync });
            Message::EntryRequest { vlsn }.append_to(&mut bytes);
        } else if syncup.asked.is_empty() {
            syncup.is_ending = true;
            match syncup.ending {
                Ending::Start => Message::StartStream { vlsn: 5 }.append_to(&mut bytes),
                Ending::Restore => Message::RestoreRequest { vlsn: -1 }.append_to(&mut bytes),
                Ending::Close => return self.end_by_peer(at, Closing::Finished),
            }
        }
        out.extend(bytes);
    }

    fn hear_record(&mut self, at: usize, message: &[u8]) {
        let can_miss = self.can_miss;
        let Want::Syncup(syncup) = &mut self.conns[at].peer.want else { return };
        let message = Message::decode(message);
        let Some(asked) = syncup.asked.pop_front() else {
            let is_due = syncup.ending == Ending::Restore && syncup.is_ending;
            if !is_due || message != Ok(Message::RestoreResponse) {
                self.wrong(format!("{at} asked nothing, and got {message:?}"));
            }
            return;
        };
        let writer = &self.logs[0].writer;
        let (first, vlsn) = (writer.first, u64::try_from(asked.vlsn).unwrap_or(0));
        let (is_right, met) = match message {
            Ok(Message::Entry(record)) => (vlsn > 0 && is_true(writer, vlsn, &record), Met::Found),
            Ok(Message::EntryNotFound) => {
                let has_point = asked.is_first && vlsn >= first && asked.sync.is_some();
                (can_miss || !asked.is_held && !has_point, Met::NotFound)
            }
            Ok(Message::AlternateMatchpoint(record)) => {
                let point = record.vlsn as u64;
                let is_last = asked.sync.is_none_or(|sync| point >= sync) || can_miss;
                let is_due = asked.is_first && (!asked.is_held || can_miss) && vlsn >= first;
                (is_due && is_last && record.is_sync_point && is_true(writer, point, &record), Met::Alternate)
            }
            _ => (false, Met::NotFound),
        };
        self.seen.note(met);
        if !is_right {
            self.wrong(format!("{at} got {message:?} for {asked:?}"));
        }
    }

    fn hear_vote(&mut self, at: usize, message: &[u8]) {
        let Peer { want, out, .. } = &mut self.conns[at].peer;
        let Want::Election { heard } = want else { return };
        *heard += 1;
        match (*heard, election::Message::decode(message)) {
            (1, Ok(election::Message::Proposal(_) | election::Message::Vote { .. })) => {
                let mut bytes = Vec::new();
                election::Message::Result { master: "b", term: 7 }.append_to(&mut bytes);
                out.extend(bytes);
            }
            (2, Ok(election::Message::Vote { .. })) => self.seen.note(Met::Elected),
            (heard, message) => {
                let text = format!("{at} held an election, and the answer number {heard} is {message:?}");
                self.wrong(text);
            }
        }
    }

    // --- the end ----------------------------------------------------------------------------------------------------

    /// Nothing more comes from the server.
    fn hear_end(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        let is_whole = conn.pipe.finished_at.is_some() && !conn.peer.is_deaf() && !conn.pipe.was_reset;
        conn.pipe.ended = Some(Closing::Finished);
        let is_unsaid = !conn.peer.out.is_empty();
        match &conn.peer.want {
            Want::Restore { is_framed, floor } if is_whole => {
                let checked = match floor {
                    Some(floor) => check_copy(&self.logs[0].writer, *is_framed, floor, &conn.peer.bytes),
                    None => Err("it had not asked for it".into()),
                };
                match checked {
                    Ok(is_partial) => {
                        let met = if *is_framed { Met::RestoredFramed } else { Met::RestoredRaw };
                        self.seen.note(met);
                        if is_partial {
                            self.seen.note(Met::RestoredWhileWritten);
                        }
                    }
                    Err(text) => self.wrong(format!("what {at} has restored is wrong: {text}")),
                }
            }
            Want::Syncup(syncup) if is_whole => {
                self.seen.note(Met::SyncupEnded);
                if !syncup.asked.is_empty() || !syncup.is_ending || is_unsaid {
                    let text = format!("the server has finished, and {at} has not: {syncup:?}");
                    self.wrong(text);
                }
            }
            _ => {}
        }
    }
}

/// Whether a record says what the log holds.
fn is_true(writer: &Writer, vlsn: u64, record: &Record) -> bool {
    let Some((file, offset)) = writer.place_of(vlsn) else { return false };
    let entry_type = Writer::entry_type(vlsn);
    record.vlsn as u64 == vlsn
        && record.lsn == Lsn::new(file, offset).0
        && record.fingerprint == fingerprint(crc32fast::hash(&writer.payload_of(vlsn)), entry_type)
        && record.is_sync_point == is_sync_point(entry_type)
}

/// Whether that is a consistent copy of the log: nothing but what was written, all that was whole when it was asked for, and
/// not the beginning of an entry. `Ok`: whether the log has grown since.
fn check_copy(writer: &Writer, is_framed: bool, floor: &BTreeMap<u32, usize>, bytes: &[u8]) -> Result<bool, String> {
    let bytes = if is_framed {
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or("it has no length")?;
        if u32::from_le_bytes(*len) as usize != rest.len() {
            return Err(format!("a message of {len:?} has {} bytes", rest.len()));
        }
        rest
    } else {
        bytes
    };
    let (files, rest) = decode(bytes).map_err(|fault| fault.to_string())?;
    if rest > 0 {
        return Err(format!("{rest} bytes follow"));
    }
    let mut copied: BTreeMap<u32, &[u8]> = BTreeMap::new();
    for file in &files {
        let number = writer.files.keys().copied().find(|number| FileName(*number).to_string() == file.name);
        let number = number.ok_or_else(|| format!("there is no file {}", file.name))?;
        if copied.last_key_value().is_some_and(|(last, _)| *last >= number) {
            return Err(format!("file {number} comes late"));
        }
        if !writer.files[&number].starts_with(file.bytes) {
            return Err(format!("file {number} holds something else"));
        }
        copied.insert(number, file.bytes);
    }
    // The newest file may be left out while nothing whole is in it.
    for (number, &len) in floor {
        let copied = copied.get(number).map_or(0, |bytes| bytes.len());
        let has_entries = writer.has_entry_below(*number, len);
        if copied < len && (has_entries || copied > 0) {
            return Err(format!("of file {number} {len} bytes were whole, and {copied} are copied"));
        }
    }
    let mut files = copied.iter().rev();
    if let Some((number, bytes)) = files.next()
        && !writer.is_whole_to(*number, bytes.len())
    {
        return Err(format!("file {number} ends within an entry, behind {} bytes", bytes.len()));
    }
    for (number, bytes) in files {
        if bytes.len() != writer.files[number].len() {
            return Err(format!("file {number} is not copied to its end"));
        }
    }
    let newest = copied.last_key_value().map(|(number, bytes)| (*number, bytes.len()));
    let written = writer.files.last_key_value().map(|(number, file)| (*number, file.len()));
    Ok(newest != written)
}
