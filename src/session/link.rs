//! What a session shares with the host's threads: the request to stop, the acks, the statistics, the callbacks.

use std::ffi::{CStr, CString};
use std::fmt::Arguments;
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use super::standing::Standing;
use crate::acks::{Acks, End};
use crate::diagnostics::{Level, Logger, Replica, say};
use crate::log::Wait;
use crate::source::SourceProgress;
use crate::stream::StreamCounts;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use crate::sys::waker::Waker;

/// The host's functions. Called on the loop's thread, with no lock held.
pub trait Callbacks: Send + Sync {
    /// Whether acks go to [`acked`](Self::acked); else they queue for poll.
    fn takes_acks(&self) -> bool;
    /// The replica acknowledged `vlsn`.
    fn acked(&self, vlsn: u64);
    /// The replica stands otherwise than before. It begins as one that is catching up, which is not told.
    fn stands(&self, standing: Standing) {
        let _ = standing;
    }
    /// The run has ended; nothing is called after this.
    fn ended(&self, end: &End);
}

/// A run's figures, as of the loop's last turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// The highest VLSN read from the source and queued or sent; one below the first before that.
    pub read_vlsn: u64,
    /// The highest VLSN whose frame was wholly handed to the transport.
    pub sent_vlsn: u64,
    /// What passed through the stream.
    pub stream: StreamCounts,
    /// Bytes read from the source that wait to be sent.
    pub queued_bytes: u64,
    /// What the source did.
    pub source: SourceProgress,
    /// Why the source has nothing more, if that is so.
    pub pause: Option<Wait>,
    /// How often the loop went to sleep.
    pub sleeps: u64,
    /// The VLSN that the run begins with; 0 while that is not known.
    pub start_vlsn: u64,
    /// How many bytes of frames were read from the source and are not acknowledged.
    pub unacked_bytes: u64,
    /// When the oldest frame that is not acknowledged was sent.
    pub unacked_since: Option<Instant>,
    /// When an ack came last, or the run began.
    pub acked_last: Option<Instant>,
    /// When it ended.
    pub ended: Option<Instant>,
    /// Whether it is known how it will end, and only what was read is still sent, or acks are taken.
    pub is_ending: bool,
    /// Whether it sends no further frames, because its host has paused it.
    pub is_paused: bool,
    /// How the replica stands.
    pub standing: Standing,
    /// Whether the log's changes are noticed by the kernel's notification; else it is looked at now and then.
    pub is_notified: bool,
}

/// See the module's comment.
pub struct Link {
    /// Wakes the loop for this session.
    pub waker: Waker,
    /// Acks and the end, on their way to the host.
    pub acks: Acks,
    replica_name: CString,
    /// Whom to tell what people may want to know.
    logger: Logger,
    stop: AtomicBool,
    paused: AtomicBool,
    /// How many bytes a second it may send; 0 for as many as the replica takes.
    rate: AtomicU64,
    /// The connection's descriptor while the session lives, for a forked child to close; -1 for none.
    inherited_fd: AtomicI32,
    callback_longest_ns: AtomicU64,
    snapshot: Mutex<Snapshot>,
}

impl Link {
    /// A link to the loop that `waker` wakes.
    pub fn new(waker: Waker, replica_name: CString, ack_queue_max: usize, start_vlsn: u64, logger: Logger) -> Link {
        let before = start_vlsn.saturating_sub(1);
        let snapshot = Snapshot { start_vlsn, read_vlsn: before, sent_vlsn: before, ..Snapshot::default() };
        Link {
            waker,
            acks: Acks::new(ack_queue_max),
            replica_name,
            logger,
            stop: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            inherited_fd: AtomicI32::new(-1),
            callback_longest_ns: AtomicU64::new(0),
            snapshot: Mutex::new(snapshot),
        }
    }

    /// The replica's name, as the host gave it.
    pub fn replica_name(&self) -> &CStr {
        &self.replica_name
    }

    /// Says something about this run to people, with the replica's name.
    pub fn say(&self, level: Level, text: Arguments<'_>) {
        let name = self.replica_name.to_string_lossy();
        say(&self.logger, level, "noxu_feeder::runner", format_args!("{}: {text}", Replica(&name)));
    }

    /// Notes the connection's descriptor, or that it is gone.
    pub fn set_inherited_fd(&self, fd: Option<RawFd>) {
        self.inherited_fd.store(fd.unwrap_or(-1), Ordering::Release);
    }

    /// In a forked child: closes the descriptor that the child has of the connection, with no lock taken and no byte sent.
    /// What else there is stays as it is: the threads that own it do not exist here.
    pub fn close_in_child(&self) {
        let connection = self.inherited_fd.swap(-1, Ordering::AcqRel);
        crate::sys::fork::close_inherited([connection]);
    }

    /// Asks the session to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the session was asked to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Has the session send no further frame until [`resume`](Self::resume). A frame of which a part was sent is finished,
    /// and acks are taken. Nothing is read on its behalf meanwhile, and the replica is not slow for taking nothing.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Lets the session send again.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the session is to send nothing.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Limits how many bytes a second the session sends, from now on; `None` for as many as the replica takes.
    pub fn set_rate(&self, bytes_per_second: Option<NonZeroU64>) {
        self.rate.store(bytes_per_second.map_or(0, NonZeroU64::get), Ordering::Release);
        self.waker.wake();
    }

    /// How many bytes a second the session may send, if that is limited.
    pub fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.rate.load(Ordering::Acquire))
    }

    /// Notes how long the host took for one delivery of acks.
    pub fn note_callback(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.callback_longest_ns.fetch_max(nanos, Ordering::Relaxed);
    }

    /// The longest time that the host took for one delivery of acks: one callback, or several in a row.
    pub fn callback_longest(&self) -> Duration {
        Duration::from_nanos(self.callback_longest_ns.load(Ordering::Relaxed))
    }

    /// The figures as of the loop's last turn.
    pub fn snapshot(&self) -> Snapshot {
        let sleeps = self.waker.wakeups().sleeps();
        Snapshot { sleeps, ..*self.snapshot.lock() }
    }

    /// Notes that the run has ended: nothing is waited for any more, and times stand still.
    pub fn note_ended(&self, now: Instant) {
        let mut last = self.snapshot.lock();
        let standing_still = Snapshot { pause: None, is_notified: false, is_ending: false, is_paused: false, ..*last };
        *last = Snapshot { ended: Some(now), ..standing_still };
    }

    /// Puts the figures down.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.lock() = snapshot;
    }
}
