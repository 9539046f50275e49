//! A log as a source: a scanner over a shared [`Log`].

use std::os::fd::RawFd;
use std::sync::Arc;

use super::{Origin, Source, SourceProgress};
use crate::error::Result;
use crate::log::tail::WaitReason;
use crate::log::{Log, Next, Now, Scanner, Wait};
use crate::lsn::Lsn;
use crate::sys::waker::Waker;

/// A scanner over a shared log.
pub struct LogSource {
    log: Arc<Log>,
    scanner: Scanner,
    /// The highest VLSN that was known to be in the log when it was allowed to read last.
    known_before: u64,
}

impl LogSource {
    /// A source of all entries of `log` from `start` on.
    pub fn new(log: Arc<Log>, start: Lsn) -> LogSource {
        let scanner = log.scanner(start);
        LogSource { log, scanner, known_before: 0 }
    }
}

impl Source for LogSource {
    #[inline]
    fn next(&mut self, from_vlsn: u64, now: &Now) -> Result<Next<'_>> {
        self.scanner.next(from_vlsn, self.log.send_limit(), now)
    }

    fn allow(&mut self, bytes: u64) {
        self.known_before = self.log.last_vlsn();
        self.scanner.allow(bytes);
    }

    /// Tells all who read this log how far it goes, as far as that is known now.
    fn note_turn(&mut self, pause: Option<&Wait>) {
        let last = self.scanner.order().last();
        self.log.note_vlsn(last);
        let is_at_end = pause.is_some_and(|pause| pause.reason == WaitReason::End);
        // Who has read nothing has come to the end all the same, and does not know what is before it.
        if is_at_end && last > 0 {
            self.log.note_end(last, self.known_before);
        }
    }

    #[inline]
    fn has_more_at_hand(&self) -> bool {
        self.scanner.has_more_at_hand()
    }

    fn feeds(&mut self, replica_name: &str) {
        self.scanner.set_replica_name(replica_name);
    }

    fn distrust(&mut self) {
        self.scanner.distrust();
    }

    fn is_notified(&self) -> bool {
        !self.scanner.tail().is_behind_a_link()
    }

    fn origin(&self) -> Option<Arc<dyn Origin>> {
        Some(Arc::clone(&self.log) as Arc<dyn Origin>)
    }

    fn progress(&self) -> SourceProgress {
        SourceProgress {
            counts: self.scanner.counts(),
            held: self.scanner.order().held() as u64,
            holes_crossed: self.scanner.tail().holes_crossed(),
            listings: self.scanner.tail().listing().listings(),
            last_vlsn: self.scanner.order().last(),
            position: self.scanner.tail().front(),
            held_bytes: self.scanner.order().held_bytes(),
        }
    }
}

impl Origin for Log {
    fn register(&self, waker: &Arc<Waker>) {
        Log::register(self, waker);
    }

    fn notify(&self) {
        Log::notify(self);
    }

    fn arm(&self) -> bool {
        Log::arm(self)
    }

    fn watch_fd(&self) -> Option<RawFd> {
        Log::watch_fd(self)
    }

    fn take_events(&self, own: &Waker) {
        Log::take_events(self, own);
    }

    fn check(&self) {
        Log::check(self);
    }

    fn note_readable(&self) {
        Log::note_readable(self);
    }

    fn epoch(&self) -> Option<u64> {
        Some(Log::epoch(self))
    }

    fn last_vlsn(&self) -> u64 {
        Log::last_vlsn(self)
    }

    fn bytes_from(&self, position: Lsn) -> u64 {
        Log::bytes_from(self, position)
    }
}
