//! A session: one replica being fed. Source, stream and transport, driven in turns that never wait.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::{Callbacks, Link, Snapshot};
use crate::acks::End;
use crate::chunk::fill::{Filled, fill};
use crate::diagnostics::Level;
use crate::error::Error;
use crate::log::tail::Wait;
use crate::log::{Log, Pause, Source};
use crate::stream::Stream;
use crate::sys::poll::Interest;
use crate::transport::{Transfer, Transport};

/// How a session behaves.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// A replica that takes no byte for so long has failed.
    pub write_timeout: Duration,
    /// How long, after the last byte was sent, the replica's remaining acks are waited for.
    pub linger: Duration,
}

/// Memory that the sessions of one loop use in turn.
pub struct Scratch {
    received: Box<[u8]>,
    acks: Vec<u64>,
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
    /// When time alone will let it go on.
    pub wake_at: Option<Instant>,
}

enum Phase {
    Streaming,
    /// The source has failed; what came before is still sent.
    Flushing(Error),
    /// Nothing more is sent; acks are still received until then.
    Lingering {
        end: End,
        until: Instant,
    },
}

/// See the module's comment.
pub struct Session {
    stream: Stream,
    transport: Box<dyn Transport>,
    source: Box<dyn Source>,
    link: Arc<Link>,
    callbacks: Arc<dyn Callbacks>,
    options: SessionOptions,
    phase: Phase,
    /// Bytes that came before the session began.
    arrived: Vec<u8>,
    /// Why the source had nothing, when it was asked last.
    pause: Option<Pause>,
    /// Whether people were told that the log is stalled.
    is_stalled: bool,
    /// When the transport last took a byte, or had nothing to take.
    last_taken: Instant,
    /// That nothing has arrived was found out a moment ago.
    has_nothing: bool,
}

/// How many times a turn receives before it lets the sending go on.
const RECEIVES_PER_TURN: usize = 4;

/// How many times a broken connection is still received from: more than a socket's buffer can hold.
const LAST_RECEIVES_MAX: usize = 64;

impl Session {
    /// A session that has not begun.
    pub fn new(
        stream: Stream,
        transport: Box<dyn Transport>,
        mut source: Box<dyn Source>,
        link: Arc<Link>,
        callbacks: Arc<dyn Callbacks>,
        options: SessionOptions,
        now: Instant,
    ) -> Session {
        source.feeds(&link.replica_name().to_string_lossy());
        link.set_inherited_fd(transport.inherited_fd());
        Session {
            stream,
            transport,
            source,
            link,
            callbacks,
            options,
            phase: Phase::Streaming,
            arrived: Vec::new(),
            pause: None,
            is_stalled: false,
            last_taken: now,
            has_nothing: false,
        }
    }

    /// Tells it what a poll for it has found: where that is nothing, the next turn does not look for acks first.
    pub fn was_polled(&mut self, is_ready: bool) {
        self.has_nothing = !is_ready;
    }

    /// What to poll for what it wants.
    pub fn wait_on(&self, interest: Interest) -> (RawFd, Interest) {
        self.transport.wait_on(interest)
    }

    /// The log it reads, if it reads one.
    pub fn log(&self) -> Option<&Arc<Log>> {
        self.source.log()
    }

    /// Whether the source had nothing when it was asked last.
    pub fn is_dry(&self) -> bool {
        self.pause.is_some()
    }

    /// Lets the source be asked again: it may have more.
    pub fn look_again(&mut self) {
        self.pause = None;
    }

    /// Hands over bytes that had arrived before the session began; the first turn takes them.
    pub fn arrived(&mut self, bytes: Vec<u8>) {
        self.arrived = bytes;
    }

    /// Moves what can be moved without waiting.
    pub fn turn(&mut self, now: Instant, scratch: &mut Scratch) -> Turn {
        if let Phase::Lingering { end, until } = &self.phase
            && now >= *until
        {
            return Turn::Ended(end.clone());
        }
        let told = self.transport.told();
        let mut progress = told > 0;
        if progress {
            self.stream.sent(told as u64);
            self.last_taken = now;
        }
        match self.receive(scratch) {
            Ok(received) => progress |= received,
            Err(end) => return Turn::Ended(self.end_of(end)),
        }
        if self.link.is_stopping() && !matches!(self.phase, Phase::Lingering { .. }) {
            let end = self.end_of(End::Stopped);
            self.linger(end, now);
            progress = true;
        }
        if matches!(self.phase, Phase::Streaming) && self.pause.is_none() && self.stream.wants_chunk() {
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
        }
        if let Phase::Flushing(error) = &self.phase
            && !self.stream.has_output()
        {
            let end = End::Failed(error.clone());
            self.linger(end, now);
            progress = true;
        }
        if let Phase::Lingering { end, .. } = &self.phase
            && self.is_all_acked()
        {
            return Turn::Ended(end.clone());
        }
        if progress {
            return Turn::Progress;
        }
        Turn::Blocked(self.wants())
    }

    /// The figures for the host.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            read_vlsn: self.stream.next_vlsn().saturating_sub(1),
            sent_vlsn: self.stream.sent_vlsn(),
            stream: self.stream.counts(),
            queued_bytes: self.stream.queued_bytes(),
            source: self.source.progress(),
            pause: self.pause,
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
        self.phase = Phase::Lingering { end, until: now + self.options.linger };
    }

    /// Whether the replica has acknowledged all that it was sent: there is nothing more to wait for.
    fn is_all_acked(&self) -> bool {
        self.stream.counts().frames == 0 || self.stream.known_vlsn() >= self.stream.sent_vlsn()
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
                Wants { interest: Interest { read, write: false }, wake_at: Some(*until) }
            }
            Phase::Streaming | Phase::Flushing(_) => {
                let write = self.stream.has_output();
                let write_deadline = write.then(|| self.last_taken + self.options.write_timeout);
                let source_deadline = self.pause.and_then(|pause| pause.look_again);
                let wake_at = [write_deadline, source_deadline].into_iter().flatten().min();
                Wants { interest: Interest { read, write }, wake_at }
            }
        }
    }

    /// Receives acks. True if bytes came.
    fn receive(&mut self, scratch: &mut Scratch) -> Result<bool, End> {
        let Scratch { received, acks } = scratch;
        if !self.arrived.is_empty() {
            let arrived = std::mem::take(&mut self.arrived);
            self.take(&arrived, acks).map_err(End::Failed)?;
        }
        if std::mem::take(&mut self.has_nothing) {
            return Ok(false);
        }
        for turn in 0..RECEIVES_PER_TURN {
            match self.transport.receive(received) {
                Transfer::Moved(count) => {
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
        let mut chunk = self.stream.empty_chunk();
        let filling = Arc::get_mut(&mut chunk).expect("an empty chunk has one owner");
        let from_vlsn = self.stream.next_vlsn();
        let filled = fill(filling, &mut *self.source, from_vlsn, &self.stream.chunk_limits(), now);
        let any = !chunk.is_empty();
        if any && !self.stream.has_output() {
            self.last_taken = now;
        }
        self.stream.push(chunk);
        match filled {
            Filled::Full | Filled::Busy => true,
            Filled::Dry(pause) => {
                self.stream.ran_dry();
                self.note_stall(&pause);
                self.pause = Some(pause);
                any
            }
            Filled::Failed(error) => {
                self.phase = Phase::Flushing(error);
                true
            }
        }
    }

    /// Tells people when the log begins to be stalled, and when that is over.
    fn note_stall(&mut self, pause: &Pause) {
        if self.is_stalled == pause.stalled {
            return;
        }
        self.is_stalled = pause.stalled;
        let Wait { reason, at, .. } = pause.wait;
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

    /// Sends what fits. True if bytes went.
    fn send(&mut self, now: Instant) -> Result<bool, End> {
        if !self.stream.has_output() {
            return Ok(false);
        }
        let Session { stream, transport, .. } = self;
        let transfer = stream.with_output(|pieces| transport.send(pieces));
        match transfer {
            Transfer::Moved(count) => {
                self.stream.sent(count as u64);
                self.last_taken = now;
                Ok(count > 0)
            }
            Transfer::Again => {
                if now >= self.last_taken + self.options.write_timeout {
                    let waited_ms = u64::try_from(self.options.write_timeout.as_millis()).unwrap_or(u64::MAX);
                    return Err(End::Failed(Error::WriteTimeout { waited_ms }));
                }
                Ok(false)
            }
            Transfer::Closed(how) => Err(End::ClosedByPeer(how)),
            Transfer::Failed(error) => Err(End::Failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::chunk::ChunkLimits;
    use crate::error::Result;
    use crate::log::tail::WaitReason;
    use crate::log::{Entry, Lsn, Next, Now, SourceProgress};
    use crate::stream::StreamOptions;
    use crate::sys::bell::Bell;

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
            let wait = Wait { reason: WaitReason::End, at: Lsn::NULL, stalled: false, look_again: None };
            Ok(Next::Nothing(Pause { wait, missing_vlsn: None, look_again: None, stalled: false }))
        }

        fn log(&self) -> Option<&Arc<Log>> {
            None
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
        let link = Arc::new(Link::new(Arc::new(Bell::new().unwrap()), c"r".to_owned(), 1000, 1, None));
        let options = SessionOptions { write_timeout: Duration::from_secs(60), linger: Duration::from_secs(1) };
        let chunk = ChunkLimits { bytes: 300_000, ..ChunkLimits::default() };
        let stream = Stream::new(1, StreamOptions { chunk, queue_bytes_max: 1, ..StreamOptions::default() });
        let source = Box::new(Growing(Arc::clone(&last)));
        let transport = Box::new(Sink(Arc::clone(&sends)));
        let now = Instant::now();
        let mut session = Session::new(stream, transport, source, link, Arc::new(Nobody), options, now);
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

        fn log(&self) -> Option<&Arc<Log>> {
            None
        }

        fn progress(&self) -> SourceProgress {
            SourceProgress::default()
        }
    }

    #[test]
    fn a_source_that_looks_through_much_is_asked_once_a_turn_and_holds_up_no_stop() {
        let asked = Arc::<AtomicU64>::default();
        let link = Arc::new(Link::new(Arc::new(Bell::new().unwrap()), c"r".to_owned(), 1000, 1, None));
        let options = SessionOptions { write_timeout: Duration::from_secs(60), linger: Duration::from_secs(1) };
        let stream = Stream::new(1, StreamOptions { queue_bytes_max: 1, ..StreamOptions::default() });
        let source = Box::new(Searching(Arc::clone(&asked)));
        let transport = Box::new(Sink(Arc::default()));
        let now = Instant::now();
        let mut session = Session::new(stream, transport, source, Arc::clone(&link), Arc::new(Nobody), options, now);
        let mut scratch = Scratch::default();
        for turns in 1..=10 {
            assert!(matches!(session.turn(now, &mut scratch), Turn::Progress), "the loop must not sleep");
            assert_eq!(asked.load(Ordering::Relaxed), turns);
        }
        link.stop();
        assert!(matches!(session.turn(now, &mut scratch), Turn::Ended(End::Stopped)));
        assert_eq!(asked.load(Ordering::Relaxed), 10);
    }
}
