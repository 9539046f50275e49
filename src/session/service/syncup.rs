//! REP_SYNCUP: tells a replica what this log holds, for as many questions as it has.
//!
//! | question | answer |
//! | --- | --- |
//! | 0 and less, or below the first VLSN | 3 |
//! | held | 2 |
//! | not held, and the first question of this connection, and there is a sync point | 4, with the last one |
//! | not held otherwise | 3 |
//!
//! StartStream has no answer, and ends it; RestoreRequest is answered with RestoreResponse, and ends it.

use std::time::Instant;

use super::error::ServiceError;
use super::exchange::{Exchange, StepLimit, Turn};
use crate::log::budget::{Halt, Searched};
use crate::log::lookup::{self, Known, Lookup};
use crate::wire::service::syncup::{Message, Record, fingerprint};
use crate::wire::service::{Fault, Service};

/// What it asks of the log.
pub trait LogRecords {
    /// From now on, about `bytes` are read before a look is interrupted.
    fn allow(&mut self, bytes: u64);

    /// See [`Lookup::record`].
    fn record(&mut self, vlsn: u64, now: Instant) -> Searched<Known<Option<lookup::Record>>>;

    /// See [`Lookup::known_range`].
    fn known_range(&self) -> Option<(u64, u64)>;

    /// See [`Lookup::last_sync`].
    fn last_sync(&mut self, now: Instant) -> Searched<Known<Option<lookup::Record>>>;
}

impl LogRecords for Lookup {
    fn allow(&mut self, bytes: u64) {
        Lookup::allow(self, bytes);
    }

    fn record(&mut self, vlsn: u64, now: Instant) -> Searched<Known<Option<lookup::Record>>> {
        Lookup::record(self, vlsn, now)
    }

    fn known_range(&self) -> Option<(u64, u64)> {
        Lookup::known_range(self)
    }

    fn last_sync(&mut self, now: Instant) -> Searched<Known<Option<lookup::Record>>> {
        Lookup::last_sync(self, now)
    }
}

/// How the exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreed {
    /// The replica wants the stream to begin here. A real one then asks for another start, on another connection.
    Start(i64),
    /// The replica found no common point.
    Nothing,
}

/// How many bytes of answers are put together before they are sent.
const ANSWERS_MAX: usize = 16 * 1024;

/// See the module's comment.
#[derive(Debug)]
pub struct Syncup {
    exchange: Exchange,
    /// The question that is being looked into.
    asked: Option<i64>,
    /// How many questions were answered.
    answered: u64,
    agreed: Option<Agreed>,
    look_again: Option<Instant>,
}

const STEP: &str = "a question";

impl Syncup {
    /// A connection whose service was named, with what has arrived behind the name.
    pub fn new(limit: StepLimit, arrived: Vec<u8>, now: Instant) -> Syncup {
        let mut exchange = Exchange::new(Service::RepSyncup.name(), limit, arrived);
        exchange.awaits(STEP, now);
        Syncup { exchange, asked: None, answered: 0, agreed: None, look_again: None }
    }

    /// Its bytes.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// When it wants a turn, if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.exchange.deadline().into_iter().chain(self.look_again).min()
    }

    /// How many questions were answered.
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How it ended, once it has.
    pub fn agreed(&self) -> Option<Agreed> {
        self.agreed
    }

    /// Answers the questions that have arrived, as many as the log can within what it was allowed.
    pub fn turn(&mut self, log: &mut impl LogRecords, now: Instant) -> Result<Turn, ServiceError> {
        self.look_again = None;
        while self.exchange.output().len() < ANSWERS_MAX {
            if let Some(vlsn) = self.asked {
                let answer = match answer(log, vlsn, self.answered == 0, now) {
                    Ok(Known::Yes(answer)) => answer,
                    Ok(Known::NotYet { look_again }) => {
                        self.look_again = Some(look_again);
                        return Ok(Turn::Waits);
                    }
                    Err(Halt::Busy) => return Ok(Turn::Busy),
                    Err(Halt::Failed(error)) => return Err(self.exchange.log_failed(error)),
                };
                answer.append_to(self.exchange.outbox(now));
                self.asked = None;
                self.answered += 1;
                self.exchange.awaits(STEP, now);
            }
            if self.agreed.is_some() {
                self.exchange.check_time(now)?;
                return Ok(Turn::Ends);
            }
            match self.exchange.take_message(Message::decode)? {
                Some(Message::EntryRequest { vlsn }) => {
                    self.exchange.works();
                    self.asked = Some(vlsn);
                }
                Some(Message::StartStream { vlsn }) => self.end(Agreed::Start(vlsn)),
                Some(Message::RestoreRequest { .. }) => {
                    Message::RestoreResponse.append_to(self.exchange.outbox(now));
                    self.end(Agreed::Nothing);
                }
                Some(other) => {
                    return Err(self.exchange.fault(Fault::Kind { kind: other.kind(), expected: "1, 5 or 6" }));
                }
                None => break,
            }
        }
        self.exchange.check_time(now)?;
        Ok(Turn::Waits)
    }

    fn end(&mut self, agreed: Agreed) {
        self.exchange.works();
        self.agreed = Some(agreed);
    }

    /// The replica has closed its side. Between two questions it may, but tells nothing then.
    pub fn closed(&self) -> Result<(), ServiceError> {
        self.exchange.closed(self.asked.is_none())
    }
}

fn answer(log: &mut impl LogRecords, vlsn: i64, is_first: bool, now: Instant) -> Searched<Known<Message>> {
    let Some(asked) = u64::try_from(vlsn).ok().filter(|&vlsn| vlsn > 0) else {
        return Ok(Known::Yes(Message::EntryNotFound));
    };
    let found = match log.record(asked, now)? {
        Known::Yes(found) => found,
        Known::NotYet { look_again } => return Ok(Known::NotYet { look_again }),
    };
    if let Some(found) = found {
        return Ok(Known::Yes(Message::Entry(record(&found))));
    }
    if !is_first || log.known_range().is_some_and(|(first, _)| asked < first) {
        return Ok(Known::Yes(Message::EntryNotFound));
    }
    Ok(match log.last_sync(now)? {
        Known::Yes(Some(point)) => Known::Yes(Message::AlternateMatchpoint(record(&point))),
        Known::Yes(None) => Known::Yes(Message::EntryNotFound),
        Known::NotYet { look_again } => Known::NotYet { look_again },
    })
}

fn record(found: &lookup::Record) -> Record {
    Record {
        vlsn: i64::try_from(found.vlsn).unwrap_or(i64::MAX),
        lsn: found.lsn.0,
        fingerprint: fingerprint(found.payload_crc, found.entry_type),
        is_sync_point: found.is_sync_point(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lsn::Lsn;

    /// VLSNs from `first` to `last`, each third a commit.
    struct Played {
        first: u64,
        last: u64,
        /// How often it is busy before it answers.
        busy: u32,
        not_yet: Option<Instant>,
    }

    impl Played {
        fn of(first: u64, last: u64) -> Played {
            Played { first, last, busy: 0, not_yet: None }
        }

        fn at(vlsn: u64) -> lookup::Record {
            let entry_type = if vlsn.is_multiple_of(3) { 30 } else { 13 };
            lookup::Record { vlsn, lsn: Lsn::new(1, vlsn as u32), entry_type, payload_crc: 0x1000 + vlsn as u32 }
        }

        fn answer<T>(&mut self, answer: T) -> Searched<Known<T>> {
            if self.busy > 0 {
                self.busy -= 1;
                return Err(Halt::Busy);
            }
            Ok(self.not_yet.take().map_or(Known::Yes(answer), |look_again| Known::NotYet { look_again }))
        }
    }

    impl LogRecords for Played {
        fn allow(&mut self, _: u64) {}

        fn record(&mut self, vlsn: u64, _: Instant) -> Searched<Known<Option<lookup::Record>>> {
            let record = (self.first..=self.last).contains(&vlsn).then(|| Played::at(vlsn));
            self.answer(record)
        }

        fn known_range(&self) -> Option<(u64, u64)> {
            (self.first <= self.last).then_some((self.first, self.last))
        }

        fn last_sync(&mut self, _: Instant) -> Searched<Known<Option<lookup::Record>>> {
            let last = (self.first..=self.last).rev().find(|vlsn| vlsn.is_multiple_of(3)).map(Played::at);
            self.answer(last)
        }
    }

    fn bytes(messages: &[Message]) -> Vec<u8> {
        let mut out = Vec::new();
        messages.iter().for_each(|message| message.append_to(&mut out));
        out
    }

    fn ask(vlsn: i64) -> Message {
        Message::EntryRequest { vlsn }
    }

    fn at(vlsn: u64) -> Record {
        record(&Played::at(vlsn))
    }

    /// What is answered to these messages, and how it goes on.
    fn answers(log: &mut Played, messages: &[Message]) -> (Vec<u8>, Result<Turn, ServiceError>) {
        let now = Instant::now();
        let mut machine = Syncup::new(StepLimit::default(), bytes(messages), now);
        let turn = machine.turn(log, now);
        (machine.exchange().output().to_vec(), turn)
    }

    #[test]
    fn each_question_has_its_answer() {
        use Message::{AlternateMatchpoint, Entry, EntryNotFound};
        let cases: [(Played, &[Message], &[Message]); 12] = [
            (Played::of(1, 10), &[ask(1), ask(9), ask(10)], &[Entry(at(1)), Entry(at(9)), Entry(at(10))]),
            (Played::of(1, 10), &[ask(11)], &[AlternateMatchpoint(at(9))]),
            (Played::of(1, 10), &[ask(11), ask(11)], &[AlternateMatchpoint(at(9)), EntryNotFound]),
            (Played::of(1, 10), &[ask(5), ask(11)], &[Entry(at(5)), EntryNotFound]),
            (Played::of(1, 10), &[ask(0), ask(11)], &[EntryNotFound, EntryNotFound]),
            (Played::of(1, 10), &[ask(-1)], &[EntryNotFound]),
            (Played::of(1, 10), &[ask(i64::MIN)], &[EntryNotFound]),
            (Played::of(1, 10), &[ask(i64::MAX)], &[AlternateMatchpoint(at(9))]),
            (Played::of(5, 10), &[ask(4), ask(5)], &[EntryNotFound, Entry(at(5))]),
            (Played::of(1, 2), &[ask(3)], &[EntryNotFound]),
            (Played::of(1, 0), &[ask(1), ask(2)], &[EntryNotFound, EntryNotFound]),
            (Played::of(1, 10), &[], &[]),
        ];
        for (mut log, questions, expected) in cases {
            let (out, turn) = answers(&mut log, questions);
            assert_eq!((out, turn), (bytes(expected), Ok(Turn::Waits)), "{questions:?}");
            for (end, answer) in [
                (Message::StartStream { vlsn: 1 }, &[][..]),
                (Message::RestoreRequest { vlsn: -1 }, &[Message::RestoreResponse][..]),
            ] {
                let (out, turn) = answers(&mut log, &[questions, &[end]].concat());
                assert_eq!(
                    (out, turn),
                    (bytes(&[expected, answer].concat()), Ok(Turn::Ends)),
                    "{questions:?}, {end:?}"
                );
            }
        }
    }

    #[test]
    fn how_it_ended_is_known() {
        let now = Instant::now();
        let ended = |message| {
            let mut machine = Syncup::new(StepLimit::default(), bytes(&[message]), now);
            assert_eq!(machine.agreed(), None);
            machine.turn(&mut Played::of(1, 1), now).unwrap();
            machine.agreed()
        };
        assert_eq!(ended(Message::StartStream { vlsn: 8 }), Some(Agreed::Start(8)));
        assert_eq!(ended(Message::RestoreRequest { vlsn: -1 }), Some(Agreed::Nothing));
    }

    #[test]
    fn questions_may_come_a_byte_at_a_time() {
        let now = Instant::now();
        let questions = bytes(&[ask(11), ask(3), Message::RestoreRequest { vlsn: -1 }]);
        let mut machine = Syncup::new(StepLimit::default(), Vec::new(), now);
        let (mut log, mut out) = (Played::of(1, 10), Vec::new());
        for (at, byte) in questions.iter().enumerate() {
            assert!(machine.exchange().wants_bytes());
            machine.exchange().receive(&[*byte]).unwrap();
            let turn = machine.turn(&mut log, now).unwrap();
            assert_eq!(turn, if at + 1 == questions.len() { Turn::Ends } else { Turn::Waits });
            let output = machine.exchange().output().to_vec();
            out.extend_from_slice(&output);
            machine.exchange().note_sent(output.len(), now);
        }
        let expected = [Message::AlternateMatchpoint(at(9)), Message::Entry(at(3)), Message::RestoreResponse];
        assert_eq!(out, bytes(&expected));
        assert_eq!(machine.answered(), 2);
    }

    #[test]
    fn a_log_that_is_busy_or_waits_is_asked_again_and_the_answer_is_the_same() {
        let now = Instant::now();
        let later = now + Duration::from_millis(20);
        let mut log = Played { busy: 3, not_yet: Some(later), ..Played::of(1, 10) };
        let mut machine = Syncup::new(StepLimit::default(), bytes(&[ask(11), ask(1)]), now);
        for _ in 0..3 {
            assert_eq!(machine.turn(&mut log, now), Ok(Turn::Busy));
        }
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Waits));
        assert_eq!(machine.deadline(), Some(later), "and not the replica's, which has asked");
        assert!(!machine.exchange().wants_bytes());
        assert_eq!(machine.turn(&mut log, later), Ok(Turn::Waits));
        assert_eq!(machine.exchange().output(), bytes(&[Message::AlternateMatchpoint(at(9)), Message::Entry(at(1))]));
    }

    /// Whatever stands there: the connection goes on or ends, and what comes out is made of messages.
    #[test]
    fn garbage_at_every_byte_is_a_fault_or_another_question() {
        let now = Instant::now();
        let good = bytes(&[ask(3), ask(2)]);
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let mut machine = Syncup::new(StepLimit::default(), bytes, now);
                match machine.turn(&mut Played::of(1, 10), now) {
                    Ok(Turn::Waits | Turn::Ends) | Err(ServiceError::Fault { .. }) => {}
                    other => panic!("byte {at} as {byte}: {other:?}"),
                }
                let mut output = machine.exchange().output();
                while let Some((message, len)) = crate::wire::service::first_message(output).unwrap() {
                    Message::decode(message).unwrap();
                    output = &output[len..];
                }
                assert!(output.is_empty());
            }
        }
    }

    #[test]
    fn what_only_a_feeder_says_ends_the_connection() {
        for message in [
            Message::Entry(at(1)),
            Message::EntryNotFound,
            Message::AlternateMatchpoint(at(1)),
            Message::RestoreResponse,
        ] {
            let (out, end) = answers(&mut Played::of(1, 10), &[ask(1), message]);
            assert_eq!(out, bytes(&[Message::Entry(at(1))]));
            assert!(matches!(end, Err(ServiceError::Fault { fault: Fault::Kind { .. }, .. })), "{end:?}");
        }
    }

    #[test]
    fn each_question_has_its_time_which_begins_when_the_answer_is_taken() {
        let (began, limit) = (Instant::now(), StepLimit::default().0);
        let mut machine = Syncup::new(StepLimit::default(), Vec::new(), began);
        let mut log = Played::of(1, 10);
        assert_eq!((machine.turn(&mut log, began), machine.deadline()), (Ok(Turn::Waits), Some(began + limit)));
        let asked = began + limit - Duration::from_secs(1);
        machine.exchange().receive(&bytes(&[ask(1)])).unwrap();
        assert_eq!((machine.turn(&mut log, asked), machine.deadline()), (Ok(Turn::Waits), Some(asked + limit)));
        let taken = asked + Duration::from_secs(20);
        machine.exchange().note_sent(30, taken);
        assert_eq!((machine.turn(&mut log, taken), machine.deadline()), (Ok(Turn::Waits), Some(taken + limit)));
        assert!(machine.closed().is_ok());
        machine.exchange().receive(&[9]).unwrap();
        assert!(machine.closed().is_err());
        let end = machine.turn(&mut log, taken + limit);
        assert!(matches!(end, Err(ServiceError::Timeout { step: "a question", len: 1, .. })), "{end:?}");
    }

    /// A peer that asks without taking answers is not answered further.
    #[test]
    fn answers_that_are_not_taken_are_bounded() {
        let now = Instant::now();
        let questions = vec![ask(1); 10_000];
        let mut machine = Syncup::new(StepLimit::default(), bytes(&questions), now);
        let mut log = Played::of(1, 10);
        let mut out = 0;
        while machine.answered() < 10_000 {
            assert_eq!(machine.turn(&mut log, now), Ok(Turn::Waits));
            let len = machine.exchange().output().len();
            assert!((1..ANSWERS_MAX + 64).contains(&len));
            machine.exchange().note_sent(len, now);
            out += len;
        }
        assert_eq!(out, 30 * 10_000);
    }
}
