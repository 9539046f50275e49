//! A session: one replica being fed. Feed, stream and transport, driven in turns that never wait.

mod hastening;
pub mod lag;
pub mod link;
mod pace;
mod patience;
mod peer;
pub mod service;
pub mod standing;

use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::acks::End;
use crate::chunk::fill::Filled;
use crate::diagnostics::Level;
use crate::error::Error;
use crate::feed::Feed;
use crate::log::Wait;
use crate::source::Origin;
use crate::stream::outstanding::Outstanding;
use crate::stream::{Stream, StreamCounts};
use crate::sys::poll::Interest;
use crate::transport::{Transfer, Transport};
use hastening::Hastening;
use link::{Callbacks, Link, Snapshot};
use pace::Pace;
use patience::Patience;
use peer::PeerCheck;
use standing::{Found, Observer, Stall};

/// How a session behaves.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// A replica that takes no byte for so long has failed.
    pub write_timeout: Duration,
    /// A replica that acknowledges nothing for so long, while it has frames to acknowledge, has failed. None: acks may take
    /// as long as they like.
    pub ack_timeout: Option<Duration>,
    /// How long, after the last byte was sent, the replica's remaining acks are waited for.
    pub linger: Duration,
    /// A replica that has caught up is behind when something has waited for so long, to be sent or for its ack. None: it
    /// is never said to be.
    pub behind_after: Option<Duration>,
}

/// Memory that the sessions of one loop use in turn.
pub struct Scratch {
    received: Box<[u8]>,
    acks: Vec<u64>,
}

impl Scratch {
    /// Room to receive so many bytes into, or fewer.
    pub fn received(&mut self, most: usize) -> &mut [u8] {
        let room = most.min(self.received.len());
        &mut self.received[..room]
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { received: vec![0; 64 * 1024].into_boxed_slice(), acks: Vec::with_capacity(64 * 1024 / 12 + 1) }
    }
}

/// What a turn did, and what it wants next.
#[derive(Debug)]
pub enum Turn {
    /// Something moved: another turn may move more.
    Progress,
    /// Nothing can move now.
    Blocked(Wants),
    /// It has ended.
    Ended(End),
}

/// What a session waits for.
#[derive(Clone, Copy, Debug)]
pub struct Wants {
    /// On the transport's descriptor.
    pub interest: Interest,
    /// When it wants a turn, whatever happens until then.
    pub deadline: Option<Instant>,
}

enum Phase {
    Streaming,
    /// The source has failed; what came before is still sent.
    Flushing(Error),
    /// Nothing more is sent; acks are still received until then, and what the transport holds leaves it.
    Lingering {
        end: End,
        until: Instant,
        is_flushed: bool,
    },
}

/// See the module's comment.
pub struct Session {
    stream: Stream,
    transport: Box<dyn Transport>,
    feed: Box<dyn Feed>,
    link: Arc<Link>,
    callbacks: Arc<dyn Callbacks>,
    options: SessionOptions,
    phase: Phase,
    reading: Reading,
    sending: Sending,
    incoming: Incoming,
    unacked: Unacked,
    patience: Patience,
    observer: Observer,
    hastening: Hastening,
    peer_check: PeerCheck,
}

/// What is known of the source.
#[derive(Default)]
struct Reading {
    /// Why it had nothing, when it was asked last.
    pause: Option<Wait>,
    /// Where people were told that the log is stalled.
    stalled: Option<Stall>,
}

/// What keeps it from sending, besides a transport that has no room.
#[derive(Default)]
struct Sending {
    /// Whether its host has paused it, as of the last turn.
    is_paused: bool,
    /// How fast it may send, if that is limited.
    pace: Option<Pace>,
    /// Whether nothing may be sent now of what there is; and until when, if that is for the rate.
    is_held: bool,
    held_until: Option<Instant>,
}

impl Sending {
    #[cold]
    fn set_rate(&mut self, rate: Option<NonZeroU64>, now: Instant) {
        match (&mut self.pace, rate) {
            (Some(pace), Some(rate)) => pace.change(rate, now),
            (pace, rate) => *pace = rate.map(|rate| Pace::new(rate, now)),
        }
    }
}

/// What is known of what the replica sends.
#[derive(Default)]
struct Incoming {
    /// Bytes that came before the session began.
    arrived: Vec<u8>,
    /// That there is nothing was found out a moment ago.
    has_nothing: bool,
}

/// What was sent and is not acknowledged.
struct Unacked {
    outstanding: Outstanding,
    /// How many acks had come when last looked, and when the last of them did; when the run began, before that.
    acks: u64,
    acked_last: Instant,
}

impl Unacked {
    /// Since when an ack has been owed: since the last one came, or the oldest frame was sent that waits for one.
    fn owed_since(&self) -> Option<Instant> {
        self.outstanding.since().map(|since| since.max(self.acked_last))
    }
}

/// How many times a turn receives before it lets the sending go on.
const RECEIVES_PER_TURN: usize = 4;

/// How many times a connection is still received from that is broken, or whose replica has failed: more than a socket's
/// buffer can hold.
const LAST_RECEIVES_MAX: usize = 64;

impl Session {
    /// A session that has not begun.
    pub fn new(
        stream: Stream,
        transport: Box<dyn Transport>,
        mut feed: Box<dyn Feed>,
        link: Arc<Link>,
        callbacks: Arc<dyn Callbacks>,
        options: SessionOptions,
        now: Instant,
    ) -> Session {
        let outstanding = Outstanding::new(stream.start_vlsn());
        feed.feeds(&link.replica_name().to_string_lossy());
        link.set_inherited_fd(transport.inherited_fd());
        Session {
            stream,
            transport,
            feed,
            link,
            callbacks,
            options,
            phase: Phase::Streaming,
            reading: Reading::default(),
            sending: Sending::default(),
            incoming: Incoming::default(),
            unacked: Unacked { outstanding, acks: 0, acked_last: now },
            patience: Patience::new(options.write_timeout, options.ack_timeout, now),
            observer: Observer::new(options.behind_after),
            hastening: Hastening::default(),
            peer_check: PeerCheck::default(),
        }
    }

    /// Tells it that its descriptor has just been found not to be ready: the next turn does not look for acks first.
    pub fn note_nothing_came(&mut self) {
        self.incoming.has_nothing = true;
    }

    /// What to poll for what it wants.
    pub fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        self.transport.wait_on(interest)
    }

    /// What its source reads from, if that tells when there is more.
    pub fn origin(&self) -> Option<Arc<dyn Origin>> {
        self.feed.origin()
    }

    /// Whether the source had nothing when it was asked last.
    pub fn is_dry(&self) -> bool {
        self.reading.pause.is_some()
    }

    /// The VLSN that is read next. It rises with what is read.
    pub fn next_vlsn(&self) -> u64 {
        self.stream.next_vlsn()
    }

    /// Tells the source that something is said to have changed.
    pub fn distrust(&mut self) {
        self.feed.distrust();
    }

    /// Whether the log's notification tells of every change that the source waits for.
    pub fn is_notified(&self) -> bool {
        self.feed.is_notified()
    }

    /// Lets the source be asked again: it may have more.
    pub fn look_again(&mut self) {
        self.reading.pause = None;
    }

    /// Hands over bytes that had arrived before the session began; the first turn takes them.
    pub fn arrived(&mut self, bytes: Vec<u8>) {
        self.incoming.arrived = bytes;
    }

    /// Moves what can be moved without waiting.
    pub fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Turn {
        self.patience.wakes(now);
        let mut turn = self.move_on(now, scratch);
        self.note_acks(now);
        if matches!(self.phase, Phase::Streaming) && !matches!(turn, Turn::Ended(_)) {
            self.note_standing(now);
            if let Turn::Blocked(wants) = &mut turn {
                wants.deadline = [wants.deadline, self.observer.deadline()].into_iter().flatten().min();
            }
        }
        self.patience.sleeps(match &turn {
            Turn::Blocked(wants) => wants.deadline,
            Turn::Progress | Turn::Ended(_) => Some(now),
        });
        turn
    }

    /// Notes how the replica stands, and tells the host if that has changed.
    fn note_standing(&mut self, now: Instant) {
        let is_dry = self.reading.pause.is_some();
        let found = Found {
            is_all_sent: is_dry && !self.stream.has_output() && !self.sending.is_paused,
            stalled: self.reading.stalled,
            sent_vlsn: self.stream.sent_vlsn(),
            acked_vlsn: self.stream.known_vlsn().max(self.stream.start_vlsn().saturating_sub(1)),
            unacked_since: self.unacked.outstanding.since(),
            awake_since: self.patience.awake_since(),
        };
        if let Some(standing) = self.observer.note(&found, now) {
            self.callbacks.stands(standing);
        }
    }

    /// Notes that acks have come, if that is so.
    fn note_acks(&mut self, now: Instant) {
        let acks = self.stream.counts().acks;
        if acks != self.unacked.acks {
            self.unacked.acks = acks;
            self.unacked.acked_last = now;
            self.unacked.outstanding.acked(self.stream.known_vlsn());
        }
    }

    fn move_on(&mut self, now: Instant, scratch: &mut Scratch) -> Turn {
        if let Phase::Lingering { end, until, .. } = &self.phase
            && now >= *until
        {
            return Turn::Ended(end.clone());
        }
        let mut progress = self.drive(now);
        match self.receive(scratch) {
            Ok(received) => progress |= received,
            Err(end) => return Turn::Ended(self.end_of(end)),
        }
        if self.link.is_stopping() && !matches!(self.phase, Phase::Lingering { .. }) {
            let end = self.end_of(End::Stopped);
            self.linger(end, now);
            progress = true;
        }
        self.note_pause(now);
        let is_due = |pause: &mut Wait| pause.look_again.is_some_and(|at| now >= at);
        self.reading.pause.take_if(is_due);
        let may_read = matches!(self.phase, Phase::Streaming) && !self.sending.is_paused;
        if may_read && self.reading.pause.is_none() && self.stream.wants_chunk() {
            progress |= self.fill(now);
        }
        if !matches!(self.phase, Phase::Lingering { .. }) {
            match self.send(now) {
                Ok(sent) => progress |= sent,
                // Nobody is to blame and nothing is broken: what the replica was sent, it may acknowledge.
                Err(end @ End::Failed(Error::NoMemory { .. })) => {
                    let end = self.end_of(end);
                    self.linger(end, now);
                    progress = true;
                }
                Err(end) => {
                    // What the replica acknowledged before the connection broke still counts.
                    for _ in 0..LAST_RECEIVES_MAX {
                        if !matches!(self.receive(scratch), Ok(true)) {
                            break;
                        }
                    }
                    return Turn::Ended(self.end_of(end));
                }
            }
            if let Err(end) = self.check_acks(now, scratch) {
                return Turn::Ended(self.end_of(end));
            }
        }
        if let Phase::Flushing(error) = &self.phase
            && !self.stream.has_output()
        {
            let end = End::Failed(error.clone());
            self.linger(end, now);
            progress = true;
        }
        if let Phase::Lingering { end, is_flushed: true, .. } = &self.phase
            && self.is_all_acked()
        {
            return Turn::Ended(end.clone());
        }
        if progress {
            return Turn::Progress;
        }
        let hasten_at = self.hasten(now);
        let is_under_way = !self.is_all_acked() || self.is_sending();
        match self.peer_check.check(is_under_way, now, &mut *self.transport) {
            Ok(check_at) => {
                let wants = self.wants();
                let deadline = [wants.deadline, hasten_at, check_at].into_iter().flatten().min();
                Turn::Blocked(Wants { deadline, ..wants })
            }
            Err(error) => Turn::Ended(self.end_of(End::Failed(error))),
        }
    }

    /// Notes whether it is paused. Then the log is not waited for, and the replica not for taking bytes.
    fn note_pause(&mut self, now: Instant) {
        let was_paused = std::mem::replace(&mut self.sending.is_paused, self.link.is_paused());
        if self.sending.is_paused {
            self.reading.pause = None;
        }
        if was_paused || self.sending.is_paused {
            self.patience.note_taken(now);
        }
    }

    /// Lets the transport move on by itself. True if more of what it was given counts as sent.
    fn drive(&mut self, now: Instant) -> bool {
        let driven = self.transport.drive();
        if let Phase::Lingering { is_flushed, .. } = &mut self.phase {
            *is_flushed = driven.is_flushed;
        }
        if driven.sent > 0 {
            self.note_sent(driven.sent, now);
        }
        driven.sent > 0
    }

    /// The transport took so many bytes.
    fn note_sent(&mut self, count: usize, now: Instant) {
        let Session { stream, feed, .. } = self;
        stream.sent(count as u64, |chunk| feed.take_back(chunk));
        self.unacked.outstanding.sent(self.stream.sent_vlsn(), self.stream.counts().bytes, now);
        self.patience.note_taken(now);
        if let Some(pace) = &mut self.sending.pace {
            pace.spend(count as u64, now);
        }
    }

    /// An error if the replica owes an ack and has sent none for too long. Whatever has come until now counts: what was
    /// looked at before may have been looked at before the time was over.
    fn check_acks(&mut self, now: Instant, scratch: &mut Scratch) -> Result<(), End> {
        let is_over = |session: &Session| session.ack_deadline().is_some_and(|at| now >= at);
        if !is_over(self) {
            return Ok(());
        }
        for _ in 0..LAST_RECEIVES_MAX {
            if !self.receive(scratch)? {
                break;
            }
        }
        self.note_acks(now);
        if !is_over(self) {
            return Ok(());
        }
        let waited_ms = millis(self.options.ack_timeout.unwrap_or_default());
        Err(End::Failed(Error::AckTimeout { waited_ms, unacked: self.frames_unacked() }))
    }

    fn ack_deadline(&self) -> Option<Instant> {
        self.patience.ack_deadline(self.unacked.owed_since())
    }

    /// How many frames were sent whole and are not acknowledged. Where VLSNs are not dense, it may be less than said.
    fn frames_unacked(&self) -> u64 {
        let before = self.stream.start_vlsn().saturating_sub(1);
        let vlsns = self.stream.sent_vlsn().saturating_sub(self.stream.known_vlsn().max(before));
        vlsns.min(self.stream.counts().frames)
    }

    /// The figures for the host.
    pub fn snapshot(&self) -> Snapshot {
        let start_vlsn = self.stream.start_vlsn();
        Snapshot {
            start_vlsn,
            unacked_bytes: self.stream.queued_bytes() + self.unacked.outstanding.bytes(self.stream.counts().bytes),
            unacked_since: self.unacked.outstanding.since(),
            acked_last: Some(self.unacked.acked_last),
            ended: None,
            is_ending: !matches!(self.phase, Phase::Streaming),
            read_vlsn: self.stream.next_vlsn().saturating_sub(1),
            sent_vlsn: self.stream.sent_vlsn().max(start_vlsn.saturating_sub(1)),
            stream: self.stream.counts(),
            queued_bytes: self.stream.queued_bytes(),
            source: self.feed.progress(),
            pause: self.reading.pause,
            is_paused: self.sending.is_paused,
            standing: self.observer.standing(),
            sleeps: 0,
            is_notified: false,
        }
    }

    /// What it shares with the host.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The host's functions.
    pub fn callbacks(&self) -> &Arc<dyn Callbacks> {
        &self.callbacks
    }

    fn linger(&mut self, end: End, now: Instant) {
        self.transport.finish();
        self.phase = Phase::Lingering { end, until: now + self.options.linger, is_flushed: false };
        self.drive(now);
    }

    /// Whether the replica has acknowledged all that it was sent: there is nothing more to wait for.
    fn is_all_acked(&self) -> bool {
        self.stream.counts().frames == 0 || self.stream.known_vlsn() >= self.stream.sent_vlsn()
    }

    /// How many acks are outstanding: of a replica that acknowledges each frame, and of one that does not each VLSN.
    fn acks_outstanding(&self) -> u64 {
        let StreamCounts { frames, acks, .. } = self.stream.counts();
        let vlsns = self.stream.sent_vlsn().saturating_sub(self.stream.known_vlsn());
        if frames == 0 { 0 } else { vlsns.min(frames.saturating_sub(acks).max(1)) }
    }

    /// Has the replica's answers hastened if nothing else is waited for; or says when it will be time to.
    fn hasten(&mut self, now: Instant) -> Option<Instant> {
        if self.is_sending() && !matches!(self.phase, Phase::Lingering { .. }) {
            return None;
        }
        let outstanding = self.acks_outstanding();
        self.hastening.hasten(outstanding, now, &mut *self.transport)
    }

    /// Whether there is something that may be sent now.
    fn is_sending(&self) -> bool {
        self.stream.has_output() && !self.sending.is_held
    }

    /// A session that is ending anyway, and is then stopped or closed, ends for the reason it had.
    fn end_of(&self, end: End) -> End {
        match &self.phase {
            Phase::Lingering { end, .. } => end.clone(),
            Phase::Flushing(error) => End::Failed(error.clone()),
            Phase::Streaming => end,
        }
    }

    fn wants(&self) -> Wants {
        let read = true;
        match &self.phase {
            Phase::Lingering { until, .. } => {
                Wants { interest: Interest { read, write: false }, deadline: Some(*until) }
            }
            Phase::Streaming | Phase::Flushing(_) => {
                let write = self.is_sending();
                let write_deadline = (write && !self.sending.is_paused).then(|| self.patience.write_deadline());
                let source_deadline = self.reading.pause.and_then(|pause| pause.look_again);
                let rate_deadline = self.sending.held_until;
                let deadlines = [write_deadline, source_deadline, rate_deadline, self.ack_deadline()];
                let deadline = deadlines.into_iter().flatten().min();
                Wants { interest: Interest { read, write }, deadline }
            }
        }
    }

    /// Receives acks. True if bytes came.
    fn receive(&mut self, scratch: &mut Scratch) -> Result<bool, End> {
        let Scratch { received, acks } = scratch;
        if !self.incoming.arrived.is_empty() {
            let arrived = std::mem::take(&mut self.incoming.arrived);
            self.hastening.note_received();
            self.take(&arrived, acks).map_err(End::Failed)?;
        }
        if std::mem::take(&mut self.incoming.has_nothing) {
            return Ok(false);
        }
        for turn in 0..RECEIVES_PER_TURN {
            match self.transport.receive(received) {
                Transfer::Moved(count) => {
                    self.hastening.note_received();
                    self.take(&received[..count], acks).map_err(End::Failed)?;
                    if count < received.len() {
                        return Ok(true);
                    }
                }
                Transfer::Again => return Ok(turn > 0),
                Transfer::Closed(how) => return Err(End::ClosedByPeer(how)),
                Transfer::Failed(error) => return Err(End::Failed(error)),
            }
        }
        Ok(true)
    }

    /// Hands the acks among bytes that arrived to the host.
    fn take(&mut self, bytes: &[u8], acks: &mut Vec<u64>) -> Result<(), Error> {
        let Session { stream, link, callbacks, .. } = self;
        let raise = |vlsn| link.acks.raise(vlsn);
        let result = if callbacks.takes_acks() {
            let before = Instant::now();
            let result = stream.received(bytes, raise, |vlsn| callbacks.acked(vlsn));
            link.note_callback(before.elapsed());
            result
        } else {
            acks.clear();
            let result = stream.received(bytes, raise, |vlsn| acks.push(vlsn));
            link.acks.queue(acks);
            result
        };
        link.acks.announce();
        result
    }

    /// Reads a chunk. True if anything came of it.
    fn fill(&mut self, now: Instant) -> bool {
        let (portion, filled) = self.feed.next(self.stream.next_vlsn(), now);
        let any = portion.is_some();
        if any && !self.stream.has_output() {
            self.patience.note_taken(now);
        }
        if let Some(portion) = portion {
            let is_first = self.stream.start_vlsn() == 0;
            self.stream.push(portion);
            if is_first {
                self.unacked.outstanding = Outstanding::new(self.stream.start_vlsn());
            }
        }
        match filled {
            Filled::Full | Filled::Busy => true,
            Filled::Dry(pause) => {
                self.note_stall(&pause);
                self.reading.pause = Some(pause);
                any
            }
            Filled::Failed(error) => {
                if self.stream.has_output() {
                    let text = format_args!("the log cannot be read on; what was read is still sent: {error}");
                    self.link.say(Level::Warn, text);
                }
                self.phase = Phase::Flushing(error);
                true
            }
        }
    }

    /// Tells people when the log begins to be stalled, and when that is over.
    fn note_stall(&mut self, pause: &Wait) {
        if self.reading.stalled.is_some() == pause.stalled {
            return;
        }
        self.reading.stalled = Stall::of(pause);
        let Wait { reason, at, .. } = *pause;
        let link = &self.link;
        if !pause.stalled {
            link.say(Level::Info, format_args!("the log goes on at {at}"));
            return;
        }
        let state = reason.state();
        match pause.missing_vlsn {
            Some(vlsn) => {
                let text =
                    format_args!("the log is stalled at {at}: VLSN {vlsn} is missing, later ones are there; {state}");
                link.say(Level::Warn, text);
            }
            None => link.say(Level::Warn, format_args!("the log is stalled at {at}: {state}")),
        }
    }

    /// How many bytes may be sent now. A replica whose session is paused has no frame by half: it would hold what is there
    /// of it for as long.
    fn allowance(&mut self, now: Instant) -> u64 {
        let Session { sending, stream, transport, link, .. } = self;
        sending.held_until = None;
        let rate = link.rate();
        if rate != sending.pace.as_ref().map(Pace::rate) {
            sending.set_rate(rate, now);
        }
        if sending.is_paused {
            return stream.whole_frames(0);
        }
        let Some(pace) = &sending.pace else { return u64::MAX };
        match pace.allows(stream.queued_bytes(), now) {
            Ok(bytes) if transport.takes_whole_messages() => stream.whole_frames(bytes),
            Ok(bytes) => bytes,
            Err(until) => {
                sending.held_until = Some(until);
                0
            }
        }
    }

    /// Sends what fits. True if bytes went.
    fn send(&mut self, now: Instant) -> Result<bool, End> {
        if !self.stream.has_output() {
            (self.sending.is_held, self.sending.held_until) = (false, None);
            return Ok(false);
        }
        let was_held = self.sending.is_held;
        let most = self.allowance(now);
        self.sending.is_held = most == 0;
        if was_held || self.sending.is_held {
            self.patience.note_taken(now);
        }
        if self.sending.is_held {
            return Ok(false);
        }
        let Session { stream, transport, .. } = self;
        let transfer = stream.with_some_output(most, |pieces| transport.send(pieces));
        match transfer {
            Transfer::Moved(count) => {
                self.note_sent(count, now);
                Ok(count > 0)
            }
            Transfer::Again => {
                if now >= self.patience.write_deadline() {
                    let waited_ms = millis(self.options.write_timeout);
                    return Err(End::Failed(Error::WriteTimeout { waited_ms }));
                }
                Ok(false)
            }
            Transfer::Closed(how) => Err(End::ClosedByPeer(how)),
            Transfer::Failed(error) => Err(End::Failed(error)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::IoSlice;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::hastening::{HASTEN_EVERY, HASTENED_EACH_MAX};
    use super::standing::{Place, Standing};
    use super::*;
    use crate::chunk::ChunkLimits;
    use crate::error::Result;
    use crate::feed::OwnFeed;
    use crate::log::tail::WaitReason;
    use crate::log::{Entry, Lsn, Next, Now};
    use crate::source::{Source, SourceProgress};
    use crate::stream::StreamOptions;
    use crate::sys::waker::Wakeups;
    use crate::transport::{Closing, Driven};

    /// Takes everything at once, and notes how much that was.
    struct Sink(Arc<Mutex<Vec<usize>>>);

    impl Transport for Sink {
        fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
            let count = pieces.iter().map(|piece| piece.len()).sum();
            self.0.lock().unwrap().push(count);
            Transfer::Moved(count)
        }

        fn receive(&mut self, _: &mut [u8]) -> Transfer {
            Transfer::Again
        }

        fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
            (-1, interest)
        }

        fn finish(&mut self) {}
    }

    /// Entries up to a VLSN that rises.
    struct Growing(Arc<AtomicU64>);

    impl Source for Growing {
        fn next(&mut self, vlsn: u64, _: &Now) -> Result<Next<'_>> {
            if vlsn <= self.0.load(Ordering::Relaxed) {
                let payload = &[7; 10_000];
                return Ok(Next::Entry(Entry {
                    vlsn,
                    lsn: Lsn::NULL,
                    entry_type: 13,
                    payload,
                    payload_crc: 0,
                    block: None,
                }));
            }
            let wait = Wait::new(WaitReason::End, Lsn::NULL, None);
            Ok(Next::Nothing(wait))
        }

        fn progress(&self) -> SourceProgress {
            SourceProgress::default()
        }
    }

    struct Nobody;

    impl Callbacks for Nobody {
        fn takes_acks(&self) -> bool {
            true
        }

        fn acked(&self, _: u64) {}

        fn ended(&self, _: &End) {}
    }

    #[test]
    fn a_replica_that_has_caught_up_is_given_small_chunks_again() {
        let (sends, last) = (Arc::default(), Arc::new(AtomicU64::new(0)));
        let link = Arc::new(Link::new(Wakeups::new().unwrap().waker(), c"r".to_owned(), 1000, 1, None));
        let options = options();
        let chunk = ChunkLimits { bytes: 300_000, ..ChunkLimits::default() };
        let stream = Stream::new(1, StreamOptions { queue_bytes_max: 1, ..StreamOptions::default() });
        let feed = Box::new(OwnFeed::new(Box::new(Growing(Arc::clone(&last))), chunk));
        let transport = Box::new(Sink(Arc::clone(&sends)));
        let now = Instant::now();
        let mut session = Session::new(stream, transport, feed, link, Arc::new(Nobody), options, now);
        let mut scratch = Scratch::default();
        let mut send = |entries: u64| {
            last.fetch_add(entries, Ordering::Relaxed);
            session.look_again();
            while matches!(session.turn(now, &mut scratch), Turn::Progress) {}
            assert!(session.is_dry());
            std::mem::take(&mut *sends.lock().unwrap())
        };
        // A frame has 21 bytes besides its payload. A chunk is full with the frame that reaches its limit.
        let chunks = [128 * 1024, 256 * 1024, 300_000, 300_000].map(|limit: u64| limit.div_ceil(10_021));
        for _ in 0..2 {
            assert_eq!(send(chunks.iter().sum()), chunks.map(|frames| frames as usize * 10_021));
            assert_eq!(send(1), [10_021]);
        }
    }

    /// Always has more to look through, and never an entry.
    struct Searching(Arc<AtomicU64>);

    impl Source for Searching {
        fn next(&mut self, _: u64, _: &Now) -> Result<Next<'_>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Next::Busy)
        }

        fn progress(&self) -> SourceProgress {
            SourceProgress::default()
        }
    }

    #[test]
    fn a_source_that_looks_through_much_is_asked_once_a_turn_and_holds_up_no_stop() {
        let asked = Arc::<AtomicU64>::default();
        let link = Arc::new(Link::new(Wakeups::new().unwrap().waker(), c"r".to_owned(), 1000, 1, None));
        let options = options();
        let stream = Stream::new(1, StreamOptions { queue_bytes_max: 1, ..StreamOptions::default() });
        let feed = Box::new(OwnFeed::new(Box::new(Searching(Arc::clone(&asked))), ChunkLimits::default()));
        let transport = Box::new(Sink(Arc::default()));
        let now = Instant::now();
        let mut session = Session::new(stream, transport, feed, Arc::clone(&link), Arc::new(Nobody), options, now);
        let mut scratch = Scratch::default();
        for turns in 1..=10 {
            assert!(matches!(session.turn(now, &mut scratch), Turn::Progress), "the loop must not sleep");
            assert_eq!(asked.load(Ordering::Relaxed), turns);
        }
        link.stop();
        assert!(matches!(session.turn(now, &mut scratch), Turn::Ended(End::Stopped)));
        assert_eq!(asked.load(Ordering::Relaxed), 10);
    }

    // --- a connection and a source that do what the test says -------------------------------------------------

    #[derive(Default)]
    struct Line {
        /// So many bytes more are taken.
        room: usize,
        /// What a send meets instead of room.
        broken: Option<Closing>,
        /// What is received, one after the other; then nothing.
        incoming: VecDeque<Transferred>,
        /// What can be received only when a send has met the break.
        behind: VecDeque<Transferred>,
        /// How often answers were hastened, and whether the last time was for those that follow, too.
        hastened: (usize, bool),
        cannot_hasten: bool,
        /// Each look at the peer: whether it was anew.
        checks: Vec<bool>,
        can_check: bool,
        is_gone: bool,
        finished: bool,
        takes_messages: bool,
        /// How often it has to be driven before what it holds has left it.
        holds: u32,
    }

    const CHECK_EVERY: Duration = Duration::from_secs(5);

    enum Transferred {
        Bytes(Vec<u8>),
        Closed(Closing),
    }

    #[derive(Default, Clone)]
    struct Scripted(Arc<Mutex<Line>>);

    impl Transport for Scripted {
        fn drive(&mut self) -> Driven {
            let mut line = self.0.lock().unwrap();
            line.holds = line.holds.saturating_sub(u32::from(line.finished));
            Driven { sent: 0, is_flushed: line.holds == 0 }
        }

        fn send(&mut self, pieces: &[IoSlice<'_>]) -> Transfer {
            let mut line = self.0.lock().unwrap();
            if let Some(how) = line.broken {
                let behind = std::mem::take(&mut line.behind);
                line.incoming.extend(behind);
                return Transfer::Closed(how);
            }
            let taken = pieces.iter().map(|piece| piece.len()).sum::<usize>().min(line.room);
            line.room -= taken;
            if taken == 0 { Transfer::Again } else { Transfer::Moved(taken) }
        }

        fn takes_whole_messages(&self) -> bool {
            self.0.lock().unwrap().takes_messages
        }

        fn receive(&mut self, into: &mut [u8]) -> Transfer {
            match self.0.lock().unwrap().incoming.pop_front() {
                None => Transfer::Again,
                Some(Transferred::Closed(how)) => Transfer::Closed(how),
                Some(Transferred::Bytes(bytes)) => {
                    into[..bytes.len()].copy_from_slice(&bytes);
                    Transfer::Moved(bytes.len())
                }
            }
        }

        fn check_peer(&mut self, now: Instant, anew: bool) -> Result<Option<Instant>> {
            let mut line = self.0.lock().unwrap();
            line.checks.push(anew);
            if line.is_gone { Err(Error::ChannelClosed) } else { Ok(line.can_check.then_some(now + CHECK_EVERY)) }
        }

        fn hasten_answers(&mut self, from_now_on: bool) -> bool {
            let mut line = self.0.lock().unwrap();
            line.hastened = (line.hastened.0 + 1, from_now_on);
            !line.cannot_hasten
        }

        fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
            (-1, interest)
        }

        fn finish(&mut self) {
            self.0.lock().unwrap().finished = true;
        }
    }

    #[derive(Default)]
    struct Supply {
        last: u64,
        fails: bool,
        look_again: Option<Instant>,
        is_stalled: bool,
    }

    impl Source for Arc<Mutex<Supply>> {
        fn next(&mut self, vlsn: u64, _: &Now) -> Result<Next<'_>> {
            let supply = self.lock().unwrap();
            if vlsn <= supply.last {
                let (lsn, payload) = (Lsn::NULL, &[7; FRAME - 21]);
                return Ok(Next::Entry(Entry { vlsn, lsn, entry_type: 13, payload, payload_crc: 0, block: None }));
            }
            if supply.fails {
                return Err(log_error());
            }
            let Supply { look_again, is_stalled, .. } = *supply;
            let reason = if is_stalled { WaitReason::Torn } else { WaitReason::End };
            Ok(Next::Nothing(Wait { stalled: is_stalled, ..Wait::new(reason, Lsn::NULL, look_again) }))
        }

        fn progress(&self) -> SourceProgress {
            SourceProgress::default()
        }
    }

    /// The bytes of a frame.
    const FRAME: usize = 121;

    fn log_error() -> Error {
        Error::LogGap { expected: 4, found: 5, at: Lsn::NULL }
    }

    fn ack(vlsn: u64) -> Vec<u8> {
        [&8u32.to_le_bytes()[..], &vlsn.to_le_bytes()].concat()
    }

    const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
    const LINGER: Duration = Duration::from_secs(1);
    const ACK_TIMEOUT: Duration = Duration::from_secs(20);

    fn options() -> SessionOptions {
        SessionOptions { write_timeout: WRITE_TIMEOUT, ack_timeout: None, linger: LINGER, behind_after: None }
    }

    /// What the host was told of how the replica stands.
    #[derive(Default)]
    struct Told(Mutex<Vec<Standing>>);

    impl Callbacks for Told {
        fn takes_acks(&self) -> bool {
            true
        }

        fn acked(&self, _: u64) {}

        fn stands(&self, standing: Standing) {
            self.0.lock().unwrap().push(standing);
        }

        fn ended(&self, _: &End) {}
    }

    struct Played {
        told: Arc<Told>,
        line: Arc<Mutex<Line>>,
        supply: Arc<Mutex<Supply>>,
        session: Session,
        scratch: Scratch,
        now: Instant,
    }

    impl Played {
        /// A session with a connection that has room, over a source of so many entries.
        fn over(entries: u64) -> Played {
            Played::with(entries, options())
        }

        /// The same, with options.
        fn with(entries: u64, options: SessionOptions) -> Played {
            let line = Arc::new(Mutex::new(Line { room: usize::MAX, ..Line::default() }));
            let supply = Arc::new(Mutex::new(Supply { last: entries, ..Supply::default() }));
            let link = Arc::new(Link::new(Wakeups::new().unwrap().waker(), c"r".to_owned(), 1000, 1, None));
            let stream = Stream::new(1, StreamOptions { queue_bytes_max: 1 << 20, ..StreamOptions::default() });
            let transport = Box::new(Scripted(Arc::clone(&line)));
            let feed = Box::new(OwnFeed::new(Box::new(Arc::clone(&supply)), ChunkLimits::default()));
            let now = Instant::now();
            let told = Arc::new(Told::default());
            let host = Arc::clone(&told) as Arc<dyn Callbacks>;
            let session = Session::new(stream, transport, feed, link, host, options, now);
            Played { told, line, supply, session, scratch: Scratch::default(), now }
        }

        fn line(&self) -> std::sync::MutexGuard<'_, Line> {
            self.line.lock().unwrap()
        }

        fn supply(&self) -> std::sync::MutexGuard<'_, Supply> {
            self.supply.lock().unwrap()
        }

        /// Takes turns until nothing moves.
        fn turn(&mut self) -> Turn {
            loop {
                match self.session.turn(self.now, &mut self.scratch) {
                    Turn::Progress => {}
                    turn => return turn,
                }
            }
        }

        /// Takes turns until nothing moves, and says what is waited for.
        fn wants(&mut self) -> Wants {
            match self.turn() {
                Turn::Blocked(wants) => wants,
                turn => panic!("{turn:?}"),
            }
        }

        fn end(&mut self) -> End {
            match self.turn() {
                Turn::Ended(end) => end,
                turn => panic!("{turn:?}"),
            }
        }

        fn append(&mut self, entries: u64) {
            self.supply().last += entries;
            self.session.look_again();
        }

        /// What the host was told since the last time.
        fn told(&self) -> Vec<(Place, bool)> {
            let told = std::mem::take(&mut *self.told.0.lock().unwrap());
            let last = told.last().copied();
            assert!(last.is_none_or(|last| last == self.session.snapshot().standing), "the figures say the same");
            told.iter().map(|standing| (standing.place, standing.stalled.is_some())).collect()
        }

        fn arrives(&self, bytes: Vec<u8>) {
            self.line().incoming.push_back(Transferred::Bytes(bytes));
        }
    }

    #[test]
    fn the_write_timeout_does_not_run_while_there_is_nothing_to_write() {
        let mut played = Played::over(3);
        let idle = played.wants();
        assert_eq!((idle.interest, idle.deadline), (Interest { read: true, write: false }, None));
        played.now += WRITE_TIMEOUT * 10;
        played.line().room = 0;
        played.append(2);
        let blocked = played.wants();
        assert!(blocked.interest.write);
        assert_eq!(blocked.deadline, Some(played.now + WRITE_TIMEOUT), "it begins with what there is to write");
        played.now += WRITE_TIMEOUT - Duration::from_nanos(1);
        assert!(played.wants().interest.write);
        played.line().room = 1;
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT), "and anew with each byte that is taken");
        played.now += WRITE_TIMEOUT;
        assert_eq!(played.end(), End::Failed(Error::WriteTimeout { waited_ms: 30_000 }));
    }

    #[test]
    fn a_host_that_was_frozen_gives_a_replica_that_takes_nothing_its_time_again() {
        let mut played = Played::over(3);
        played.line().room = 0;
        played.wants();
        played.now += WRITE_TIMEOUT * 100;
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT));
        played.now += WRITE_TIMEOUT;
        assert_eq!(played.end(), End::Failed(Error::WriteTimeout { waited_ms: 30_000 }));
    }

    #[test]
    fn a_session_that_is_paused_sends_no_further_frame_reads_nothing_and_takes_acks() {
        let mut played = Played::over(3);
        played.supply().look_again = Some(played.now + LINGER);
        played.line().room = 2 * FRAME - 20;
        played.wants();
        played.session.link().pause();
        played.append(5);
        let (read, sent) = (played.session.snapshot().read_vlsn, played.session.snapshot().sent_vlsn);
        let wants = played.wants();
        assert_eq!(
            (sent, wants.interest.write, wants.deadline),
            (1, true, None),
            "the rest of a frame has no time limit"
        );
        assert!(played.session.snapshot().is_paused);
        played.now += WRITE_TIMEOUT * 3;
        assert!(played.wants().interest.write);
        played.line().room = 3 * FRAME;
        let wants = played.wants();
        assert_eq!((wants.interest, wants.deadline), (Interest { read: true, write: false }, None));
        played.now += WRITE_TIMEOUT * 3;
        played.arrives(ack(2));
        played.append(1);
        assert_eq!(played.wants().deadline, None);
        let now = played.session.snapshot();
        assert_eq!((now.read_vlsn, now.sent_vlsn, now.stream.bytes), (read, 2, 2 * FRAME as u64));
        assert_eq!((played.session.link().acks.known_vlsn(), played.session.is_dry()), (2, false));

        played.session.link().resume();
        played.line().room = 0;
        played.supply().look_again = None;
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT));
        played.line().room = usize::MAX;
        played.wants();
        let now = played.session.snapshot();
        assert_eq!((now.sent_vlsn, now.is_paused), (9, false));
    }

    #[test]
    fn the_write_timeout_begins_anew_when_a_session_is_resumed_and_a_pause_holds_up_no_stop() {
        let mut played = Played::over(3);
        played.line().room = 0;
        played.wants();
        played.session.link().pause();
        played.wants();
        assert_eq!(played.line().checks.len(), 1);
        played.now += WRITE_TIMEOUT * 3;
        played.session.link().resume();
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT));
        played.session.link().pause();
        played.wants();
        played.session.link().stop();
        assert_eq!(played.end(), End::Stopped);
    }

    #[test]
    fn the_ack_timeout_runs_for_what_was_sent_before_a_pause() {
        let mut played = with_ack_timeout(3);
        played.wants();
        played.session.link().pause();
        assert_eq!(played.wants().deadline, Some(played.now + ACK_TIMEOUT));
        played.arrives(ack(3));
        assert_eq!(played.wants().deadline, None);
    }

    /// Six frames in a second: the bucket holds some thirty.
    const RATE: u64 = 6 * FRAME as u64;
    const BUCKET: u64 = 4096;

    #[test]
    fn a_limited_session_sends_in_pieces_and_sleeps_between_them() {
        let mut played = Played::over(200);
        played.session.link().set_rate(NonZeroU64::new(RATE));
        let begin = played.now;
        let wants = played.wants();
        assert_eq!(played.session.snapshot().stream.bytes, BUCKET);
        let piece = Duration::from_nanos((BUCKET * 1_000_000_000).div_ceil(RATE));
        assert_eq!((wants.interest.write, wants.deadline), (false, Some(begin + piece)));
        played.arrives(ack(1));
        played.now += piece / 2;
        assert_eq!(played.wants().deadline, Some(begin + piece), "a wake-up for something else sends nothing");
        assert_eq!(played.session.snapshot().stream.bytes, BUCKET);
        played.now = begin + piece;
        played.line().room = 0;
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT), "the write timeout begins here");
        played.line().room = usize::MAX;
        played.wants();
        assert_eq!(played.session.snapshot().stream.bytes, 2 * BUCKET);
        played.now += WRITE_TIMEOUT * 100;
        played.wants();
        assert_eq!(played.session.snapshot().stream.bytes, 3 * BUCKET, "and no time is made up for");
        played.session.link().set_rate(None);
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.session.snapshot().sent_vlsn, 200);
    }

    #[test]
    fn what_is_appended_now_and_then_is_sent_at_once_at_any_sufficient_rate() {
        let mut played = Played::over(0);
        played.session.link().set_rate(NonZeroU64::new(RATE));
        for vlsn in 1..=100 {
            played.append(1);
            assert_eq!(played.wants().deadline, None);
            assert_eq!(played.session.snapshot().sent_vlsn, vlsn);
            played.now += Duration::from_secs(1);
        }
    }

    #[test]
    fn a_transport_of_messages_is_given_whole_ones_and_the_rate_is_kept_by_what_follows() {
        let mut played = Played::over(200);
        played.line().takes_messages = true;
        played.session.link().set_rate(NonZeroU64::new(RATE));
        let begin = played.now;
        let frames = BUCKET.div_ceil(FRAME as u64);
        let owed = frames * FRAME as u64 - BUCKET;
        let next = begin + Duration::from_nanos(((BUCKET + owed) * 1_000_000_000).div_ceil(RATE));
        let deadline = played.wants().deadline.unwrap();
        assert!(deadline >= next && deadline < next + Duration::from_micros(1));
        assert_eq!(played.session.snapshot().sent_vlsn, frames);
    }

    const BEHIND_AFTER: Duration = Duration::from_secs(10);

    fn observed(entries: u64) -> Played {
        Played::with(entries, SessionOptions { behind_after: Some(BEHIND_AFTER), ..options() })
    }

    #[test]
    fn the_host_is_told_when_the_replica_has_caught_up_and_when_it_falls_behind() {
        let mut played = observed(3);
        assert_eq!(played.wants().deadline, None, "who is catching up has all the time");
        assert_eq!(played.told(), []);
        played.arrives(ack(3));
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.told(), [(Place::CaughtUp, false)]);
        for vlsn in 4..10 {
            played.append(1);
            assert_eq!(played.wants().deadline, Some(played.now + BEHIND_AFTER));
            played.arrives(ack(vlsn));
            assert_eq!(played.wants().deadline, None);
        }
        assert_eq!(played.told(), [], "it has caught up all the time");
        played.append(1);
        played.wants();
        played.now += BEHIND_AFTER;
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.told(), [(Place::Behind, false)]);
        played.arrives(ack(10));
        played.wants();
        assert_eq!(played.told(), [(Place::CaughtUp, false)]);
    }

    #[test]
    fn a_session_that_is_paused_or_limited_for_long_is_behind() {
        let mut played = observed(0);
        played.wants();
        assert_eq!(played.told(), [(Place::CaughtUp, false)], "an empty log is soon had");
        played.session.link().pause();
        assert_eq!(played.wants().deadline, Some(played.now + BEHIND_AFTER));
        played.now += BEHIND_AFTER;
        played.wants();
        assert_eq!(played.told(), [(Place::Behind, false)]);
        played.session.link().resume();
        played.wants();
        assert_eq!(played.told(), [(Place::CaughtUp, false)]);
        played.session.link().set_rate(NonZeroU64::new(1));
        played.append(100);
        assert!(played.wants().deadline.is_some());
        played.arrives(ack(33));
        played.now += BEHIND_AFTER;
        played.wants();
        assert_eq!(played.told(), [(Place::Behind, false)], "also if all that was sent is acknowledged");
    }

    #[test]
    fn the_host_is_told_when_the_log_is_stalled_and_when_it_goes_on() {
        let mut played = observed(3);
        played.supply().is_stalled = true;
        played.wants();
        played.arrives(ack(3));
        played.wants();
        assert_eq!(played.told(), [(Place::CatchingUp, true)]);
        played.supply().is_stalled = false;
        played.append(1);
        played.wants();
        assert_eq!(played.told(), [(Place::CatchingUp, false)]);
        played.arrives(ack(4));
        played.wants();
        assert_eq!(played.told(), [(Place::CaughtUp, false)]);
    }

    #[test]
    fn a_run_that_is_not_to_say_who_is_behind_wants_no_turn_for_it() {
        let mut played = Played::over(3);
        played.wants();
        played.arrives(ack(3));
        played.wants();
        played.append(1);
        assert_eq!(played.wants().deadline, None);
        played.now += BEHIND_AFTER * 100;
        played.wants();
        assert_eq!(played.told(), [(Place::CaughtUp, false)]);
        played.session.link().stop();
        played.wants();
        assert_eq!(played.told(), [], "one that is ending is not told of");
    }

    fn with_ack_timeout(entries: u64) -> Played {
        Played::with(entries, SessionOptions { ack_timeout: Some(ACK_TIMEOUT), ..options() })
    }

    #[test]
    fn a_replica_that_owes_acks_and_sends_none_is_given_up() {
        let mut played = with_ack_timeout(0);
        assert_eq!(played.wants().deadline, None, "it owes none");
        played.now += ACK_TIMEOUT * 10;
        played.append(3);
        assert_eq!(played.wants().deadline, Some(played.now + ACK_TIMEOUT), "it begins with what was sent");
        played.now += ACK_TIMEOUT - Duration::from_nanos(1);
        played.append(1);
        assert_eq!(played.wants().deadline, Some(played.now + Duration::from_nanos(1)), "by the oldest of it");
        played.arrives(ack(1));
        assert_eq!(played.wants().deadline, Some(played.now + ACK_TIMEOUT), "and anew with each ack");
        played.now += ACK_TIMEOUT;
        assert_eq!(played.end(), End::Failed(Error::AckTimeout { waited_ms: 20_000, unacked: 3 }));
    }

    #[test]
    fn acks_that_have_come_by_the_deadline_count_whatever_was_found_before() {
        for (was_told, bytes) in [(false, ack(1)), (true, ack(1)), (true, [ack(2), vec![3, 0, 0, 0, 1, 2, 3]].concat())]
        {
            let mut played = with_ack_timeout(3);
            played.wants();
            played.now += ACK_TIMEOUT;
            if was_told {
                played.session.note_nothing_came();
            }
            played.arrives(bytes);
            assert_eq!(played.wants().deadline, Some(played.now + ACK_TIMEOUT));
        }
        let mut played = with_ack_timeout(3);
        played.wants();
        played.now += ACK_TIMEOUT;
        played.session.note_nothing_came();
        played.arrives(ack(3)[..11].to_vec());
        assert_eq!(played.end(), End::Failed(Error::AckTimeout { waited_ms: 20_000, unacked: 3 }), "it is no ack");
    }

    #[test]
    fn a_host_that_was_frozen_gives_a_replica_that_owes_acks_its_time_again() {
        let mut played = with_ack_timeout(3);
        played.wants();
        played.now += ACK_TIMEOUT * 100;
        assert_eq!(played.wants().deadline, Some(played.now + ACK_TIMEOUT));
        played.arrives(ack(3));
        assert_eq!(played.wants().deadline, None);
    }

    #[test]
    fn acks_are_owed_for_whole_frames_and_also_while_more_is_sent() {
        let mut played = with_ack_timeout(100);
        played.line().room = FRAME - 1;
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT), "no frame is whole");
        played.line().room = 1;
        let begin = played.now;
        played.wants();
        while played.now < begin + ACK_TIMEOUT {
            assert_eq!(played.wants().deadline, Some(begin + ACK_TIMEOUT));
            played.now += ACK_TIMEOUT / 20;
            played.line().room = FRAME;
        }
        assert_eq!(played.end(), End::Failed(Error::AckTimeout { waited_ms: 20_000, unacked: 21 }));
        // The log's own error comes first, and so does a linger's end.
        let mut played = with_ack_timeout(3);
        played.supply().fails = true;
        played.wants();
        played.now += LINGER;
        assert_eq!(played.end(), End::Failed(log_error()));
    }

    #[test]
    fn a_source_is_asked_again_when_it_has_said_so_and_not_later() {
        let mut played = Played::over(3);
        let soon = played.now + Duration::from_millis(7);
        played.supply().look_again = Some(soon);
        assert_eq!(played.wants().deadline, Some(soon));
        // Also while a write waits for longer.
        played.line().room = 0;
        played.append(1);
        assert_eq!(played.wants().deadline, Some(soon));
        let later = played.now + WRITE_TIMEOUT * 2;
        played.supply().look_again = Some(later);
        played.session.look_again();
        assert_eq!(played.wants().deadline, Some(played.now + WRITE_TIMEOUT));
    }

    #[test]
    fn what_is_read_before_the_log_fails_is_sent_and_then_its_acks_are_waited_for() {
        let mut played = Played::over(3);
        played.supply().fails = true;
        played.line().room = FRAME;
        assert!(played.wants().interest.write);
        assert!(!played.line().finished);
        played.line().room = usize::MAX;
        let lingers = played.wants();
        assert_eq!((lingers.interest.write, lingers.deadline), (false, Some(played.now + LINGER)));
        assert!(played.line().finished);
        played.arrives(ack(3));
        assert_eq!(played.end(), End::Failed(log_error()));
    }

    #[test]
    fn a_replica_that_closes_hides_no_error_of_the_log() {
        for how in [Closing::Finished, Closing::Reset] {
            // While what came before the error is still being sent, seen by a receive or by a send; and while acks are
            // waited for.
            for (room, by_send) in [(FRAME, false), (FRAME, true), (usize::MAX, false)] {
                let mut played = Played::over(3);
                played.supply().fails = true;
                played.line().room = room;
                played.wants();
                if by_send {
                    played.line().broken = Some(how);
                } else {
                    played.line().incoming.push_back(Transferred::Closed(how));
                }
                assert_eq!(played.end(), End::Failed(log_error()), "{how:?} {room} {by_send}");
            }
            let mut played = Played::over(3);
            played.wants();
            played.line().incoming.push_back(Transferred::Closed(how));
            assert_eq!(played.end(), End::ClosedByPeer(how), "without one that is the end");
        }
    }

    #[test]
    fn a_stop_counts_even_if_the_replica_closes_while_its_last_acks_are_waited_for() {
        let mut played = Played::over(3);
        played.wants();
        played.session.link().stop();
        assert_eq!(played.wants().deadline, Some(played.now + LINGER));
        played.line().incoming.push_back(Transferred::Closed(Closing::Reset));
        assert_eq!(played.end(), End::Stopped);
    }

    #[test]
    fn the_last_acks_of_a_connection_that_breaks_while_sending_count() {
        let mut played = Played::over(3);
        played.wants();
        {
            let mut line = played.line();
            line.broken = Some(Closing::Reset);
            let acks = [1, 2, 3].map(|vlsn| Transferred::Bytes(ack(vlsn)));
            line.behind.extend(acks.into_iter().chain([Transferred::Closed(Closing::Reset)]));
        }
        played.append(1);
        assert_eq!(played.end(), End::ClosedByPeer(Closing::Reset));
        assert_eq!(played.session.link().acks.known_vlsn(), 3);
        assert_eq!(played.session.snapshot().stream.acks, 3);
    }

    #[test]
    fn acks_that_came_before_a_close_count() {
        let mut played = Played::over(3);
        played.wants();
        played.arrives(ack(2));
        played.line().incoming.push_back(Transferred::Closed(Closing::Finished));
        assert_eq!(played.end(), End::ClosedByPeer(Closing::Finished));
        assert_eq!(played.session.link().acks.known_vlsn(), 2);
    }

    #[test]
    fn the_replicas_answers_are_hastened_once_for_what_arrives_and_only_when_nothing_else_is_waited_for() {
        let mut played = Played::over(2);
        played.wants();
        assert_eq!(played.line().hastened.0, 0, "nothing has arrived");
        played.arrives(ack(1)[..4].to_vec());
        played.wants();
        played.wants();
        assert_eq!(played.line().hastened.0, 1, "the rest of the ack may wait for it");
        played.arrives(ack(1)[4..].to_vec());
        played.wants();
        assert_eq!(played.line().hastened.0, 2, "another ack is to come");
        played.arrives(ack(2));
        played.wants();
        assert_eq!(played.line().hastened.0, 2, "there is no more to come");

        played.line().room = FRAME;
        played.append(2);
        played.arrives(ack(3)[..4].to_vec());
        assert!(played.wants().interest.write);
        assert_eq!(played.line().hastened.0, 2, "more is to be sent");
        played.line().room = FRAME;
        played.wants();
        assert_eq!(played.line().hastened.0, 3);
        played.session.link().stop();
        played.arrives(ack(3)[4..].to_vec());
        played.wants();
        assert_eq!(played.line().hastened.0, 4, "a run that ends waits for acks, too");
    }

    #[test]
    fn the_answers_of_a_replica_that_is_catching_up_are_hastened_now_and_then() {
        let mut played = Played::over(HASTENED_EACH_MAX + 2);
        played.wants();
        played.arrives(ack(1)[..4].to_vec());
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.line().hastened, (1, false), "the first at once");
        played.arrives(ack(1)[4..].to_vec());
        let then = played.now + HASTEN_EVERY;
        assert_eq!(played.wants().deadline, Some(then));
        assert_eq!(played.line().hastened.0, 1, "as many are outstanding as are not hastened one by one");
        played.now = then;
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.line().hastened.0, 2);
        played.arrives(ack(2));
        assert_eq!(played.wants().deadline, None);
        assert_eq!(played.line().hastened, (3, true), "few are outstanding");
    }

    #[test]
    fn a_transport_that_cannot_hasten_answers_is_told_no_more() {
        let mut played = Played::over(9);
        played.line().cannot_hasten = true;
        played.wants();
        for vlsn in 1..5 {
            played.arrives(ack(vlsn));
            played.wants();
        }
        assert_eq!(played.line().hastened.0, 1);
    }

    #[test]
    fn the_peer_is_looked_at_now_and_then_while_something_is_under_way_and_its_loss_ends_the_run() {
        let mut played = Played::over(3);
        played.line().can_check = true;
        let first = played.now + CHECK_EVERY;
        assert_eq!(played.wants().deadline, Some(first));
        assert_eq!(played.line().checks, [true]);
        played.arrives(ack(3));
        assert_eq!(played.wants().deadline, None, "nothing is under way");
        played.append(1);
        assert_eq!(played.wants().deadline, Some(first), "a look at each frame would be too many");
        played.now = first;
        assert_eq!(played.wants().deadline, Some(first + CHECK_EVERY));
        played.now += CHECK_EVERY;
        played.line().room = 0;
        played.append(1);
        played.arrives(ack(4));
        played.wants();
        assert_eq!(played.line().checks, [true, true, false], "what waits to be sent is under way, too");
        played.line().is_gone = true;
        played.now += CHECK_EVERY;
        assert_eq!(played.end(), End::Failed(Error::ChannelClosed));
    }

    #[test]
    fn what_the_transport_holds_leaves_it_before_it_is_let_go_of_or_the_linger_is_over() {
        for is_in_time in [true, false] {
            let mut played = Played::over(3);
            played.line().holds = if is_in_time { 3 } else { u32::MAX };
            played.wants();
            played.arrives(ack(3));
            played.wants();
            played.session.link().stop();
            assert_eq!(played.wants().deadline, Some(played.now + LINGER), "all is acknowledged, and not all has left");
            if !is_in_time {
                played.now += LINGER;
            }
            assert_eq!(played.end(), End::Stopped);
            assert_eq!(played.line().holds == 0, is_in_time);
        }
    }

    #[test]
    fn the_loss_of_the_peer_hides_no_error_of_the_log() {
        let mut played = Played::over(3);
        played.supply().fails = true;
        played.line().room = FRAME;
        played.line().is_gone = true;
        assert_eq!(played.end(), End::Failed(log_error()));
    }
}
