//! What all services have in common: what has arrived and was not taken, what is to be sent and was not taken, and how long
//! the replica has for its next step.

use std::time::{Duration, Instant};

use super::error::ServiceError;
use crate::error::Error;
use crate::memory;
use crate::wire::service::{Fault, first_message};

/// What a machine did in its turn, and what it wants next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// There is more to do at once. Others may have their turns before.
    Busy,
    /// It waits for bytes, for its own to be taken, or for its deadline.
    Waits,
    /// All is said. What is left to send goes out, and the connection is closed.
    Ends,
    /// What is left to send goes out, and the stream follows, beginning with this VLSN.
    Streams(u64),
}

/// How long a replica has for a step: to send a message in all, or to take any byte.
#[derive(Clone, Copy, Debug)]
pub struct StepLimit(pub Duration);

impl Default for StepLimit {
    /// As long as real replicas and masters wait for each other.
    fn default() -> StepLimit {
        StepLimit(Duration::from_secs(30))
    }
}

/// See the module's comment.
#[derive(Debug)]
pub struct Exchange {
    service: &'static str,
    limit: Duration,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// How many bytes of `outbox` were taken.
    sent: usize,
    /// What the replica is to send, and since when that is waited for.
    awaited: Option<(&'static str, Instant)>,
    /// Since when it has taken nothing, if there is something.
    not_taken: Option<Instant>,
}

impl Exchange {
    /// An exchange for `service` that begins with the bytes that have already arrived.
    pub fn new(service: &'static str, limit: StepLimit, arrived: Vec<u8>) -> Exchange {
        Exchange {
            service,
            limit: limit.0,
            inbox: arrived,
            outbox: Vec::new(),
            sent: 0,
            awaited: None,
            not_taken: None,
        }
    }

    /// Whether more bytes are of use now: a whole message waits for no other, and no answer is given before the last is
    /// taken. Who hands over a piece at a time, and asks before each, bounds what is kept.
    pub fn wants_bytes(&self) -> bool {
        self.awaited.is_some() && self.output().is_empty() && matches!(first_message(&self.inbox), Ok(None))
    }

    /// Takes bytes that have arrived.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ServiceError> {
        let reserved = memory::reserve(&mut self.inbox, bytes.len());
        reserved.map_err(|none| self.log_failed(Error::no_memory(none, "a request", None, None)))?;
        self.inbox.extend_from_slice(bytes);
        Ok(())
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.outbox[self.sent..]
    }

    /// The connection has taken so many bytes of it.
    pub fn note_sent(&mut self, bytes: usize, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.sent += bytes.min(self.outbox.len() - self.sent);
        self.not_taken = Some(now);
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
            self.not_taken = None;
            // It cannot have begun with its next step before.
            self.awaited = self.awaited.map(|(step, _)| (step, now));
        }
    }

    /// The bytes to be sent, for a machine to append to.
    pub(super) fn outbox(&mut self, now: Instant) -> &mut Vec<u8> {
        self.not_taken.get_or_insert(now);
        &mut self.outbox
    }

    /// From now on, this is waited for.
    pub(super) fn awaits(&mut self, step: &'static str, now: Instant) {
        if self.awaited.is_none_or(|(awaited, _)| awaited != step) {
            self.awaited = Some((step, now));
        }
    }

    /// It is the feeder's turn: the replica is waited for no longer.
    pub(super) fn works(&mut self) {
        self.awaited = None;
    }

    /// The message that has arrived, if it is whole; it is taken.
    pub(super) fn take_message<T>(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Option<T>, ServiceError> {
        let decoded = first_message(&self.inbox)
            .and_then(|found| found.map(|(message, len)| decode(message).map(|decoded| (decoded, len))).transpose());
        let Some((decoded, len)) = decoded.map_err(|fault| self.fault(fault))? else { return Ok(None) };
        self.inbox.drain(..len);
        Ok(Some(decoded))
    }

    /// When the replica's time is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let awaited = self.awaited.filter(|_| self.output().is_empty()).map(|(_, since)| since + self.limit);
        let taken = self.not_taken.filter(|_| !self.output().is_empty()).map(|since| since + self.limit);
        awaited.or(taken)
    }

    /// An error if the replica's time is over.
    pub(super) fn check_time(&self, now: Instant) -> Result<(), ServiceError> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let (service, len) = (self.service, self.output().len());
        let waited =
            |since: Instant| u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        Err(match (self.awaited, self.not_taken) {
            (Some((step, since)), _) if len == 0 => {
                ServiceError::Timeout { service, step, waited_ms: waited(since), len: self.inbox.len() }
            }
            (_, since) => ServiceError::NotTaken { service, waited_ms: waited(since.unwrap_or(now)), len },
        })
    }

    /// The replica has closed its side. An error, if anything was still to come of it.
    pub(super) fn closed(&self, may_end: bool) -> Result<(), ServiceError> {
        if may_end && self.inbox.is_empty() {
            return Ok(());
        }
        let step = self.awaited.map_or("the end of the answer", |(step, _)| step);
        Err(ServiceError::Closed { service: self.service, step, len: self.inbox.len() })
    }

    /// Something is wrong with what the replica sent.
    pub(super) fn fault(&self, fault: Fault) -> ServiceError {
        let step = self.awaited.map_or("nothing", |(step, _)| step);
        ServiceError::Fault { service: self.service, step, fault }
    }

    /// Something is wrong with the log.
    pub(super) fn log_failed(&self, error: Error) -> ServiceError {
        ServiceError::Log { service: self.service, error }
    }

    /// What was not sent, and what was not taken of what has arrived.
    pub(super) fn into_rest(mut self) -> (Vec<u8>, Vec<u8>) {
        self.outbox.drain(..self.sent);
        (self.outbox, self.inbox)
    }
}
