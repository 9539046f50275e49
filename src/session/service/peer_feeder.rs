//! PEER_FEEDER: answers where a replica wants to begin, and becomes the stream.
//!
//! | start | answer |
//! | --- | --- |
//! | 0 | as 1 |
//! | from the first VLSN to the one behind the last | 0, and the stream, which waits if it has nothing yet |
//! | below the first | 1 |
//! | above that | none: the connection is closed |
//! | 1, of an empty log | 0 |
//! | above 1, of an empty log | waits for the log to have something |
//!
//! 1 makes a real replica fetch the whole log into the directory of its own open environment. So it is not said while
//! anything about the log is not known yet, and not to a replica that is ahead: after the restore, that one would be fed
//! from the beginning, and what it acknowledges then would be lost.

use std::time::{Duration, Instant};

use super::error::ServiceError;
use super::exchange::{Exchange, StepLimit, Turn};
use crate::log::budget::{Halt, Searched};
use crate::log::lookup::{Known, Lookup};
use crate::wire::service::Service;
use crate::wire::service::peer_feeder::{Answer, decode_start};

/// What it asks of the log.
pub trait LogRange {
    /// From now on, about `bytes` are read before a look is interrupted.
    fn allow(&mut self, bytes: u64);

    /// See [`Lookup::range`]. It may be as it was a moment ago, if the start lies within that or follows it.
    fn range(&mut self, start: u64, now: Instant) -> Searched<Known<Option<(u64, u64)>>>;
}

impl LogRange for Lookup {
    fn allow(&mut self, bytes: u64) {
        Lookup::allow(self, bytes);
    }

    fn range(&mut self, _: u64, now: Instant) -> Searched<Known<Option<(u64, u64)>>> {
        Lookup::range(self, now)
    }
}

/// How often an empty log is looked at.
const EMPTY_LOOK: Duration = Duration::from_millis(100);

/// See the module's comment.
#[derive(Debug)]
pub struct PeerFeeder {
    exchange: Exchange,
    limit: Duration,
    stage: Stage,
    look_again: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    /// The start is known, and since when.
    Range(u64, Instant),
    Streams(u64),
    Ends,
}

const STEP: &str = "the start VLSN";

impl PeerFeeder {
    /// A connection whose service was named, with what has arrived behind the name.
    pub fn new(limit: StepLimit, arrived: Vec<u8>, now: Instant) -> PeerFeeder {
        let mut exchange = Exchange::new(Service::PeerFeeder.name(), limit, arrived);
        exchange.awaits(STEP, now);
        PeerFeeder { exchange, limit: limit.0, stage: Stage::Start, look_again: None }
    }

    /// Its bytes.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// When it wants a turn, if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.exchange.deadline().into_iter().chain(self.look_again).min()
    }

    /// Looks at the log within what `log` was allowed.
    pub fn turn(&mut self, log: &mut impl LogRange, now: Instant) -> Result<Turn, ServiceError> {
        loop {
            match self.stage {
                Stage::Start => match self.exchange.take_message(decode_start)? {
                    Some(start) => {
                        self.exchange.works();
                        self.stage = Stage::Range(start.max(1), now);
                    }
                    None => {
                        self.exchange.check_time(now)?;
                        return Ok(Turn::Waits);
                    }
                },
                Stage::Range(start, since) => {
                    self.look_again = None;
                    let range = match log.range(start, now) {
                        Ok(Known::Yes(range)) => range,
                        Ok(Known::NotYet { look_again }) => {
                            self.look_again = Some(look_again);
                            return Ok(Turn::Waits);
                        }
                        Err(Halt::Busy) => return Ok(Turn::Busy),
                        Err(Halt::Failed(error)) => return Err(self.exchange.log_failed(error)),
                    };
                    match range {
                        Some((first, _)) if start < first => self.answer(Answer::NeedsRestore, Stage::Ends, now),
                        Some((_, last)) if start > last.saturating_add(1) => {
                            return Err(ServiceError::AheadOfLog { start, last });
                        }
                        None if start > 1 => {
                            // The replica waits as long for its answer.
                            if now >= since + self.limit {
                                return Err(ServiceError::AheadOfLog { start, last: 0 });
                            }
                            self.look_again = Some((now + EMPTY_LOOK).min(since + self.limit));
                            return Ok(Turn::Waits);
                        }
                        _ => self.answer(Answer::Serves, Stage::Streams(start), now),
                    }
                }
                Stage::Streams(start) => return Ok(Turn::Streams(start)),
                Stage::Ends => {
                    self.exchange.check_time(now)?;
                    return Ok(Turn::Ends);
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer, stage: Stage, now: Instant) {
        answer.append_to(self.exchange.outbox(now));
        self.stage = stage;
    }

    /// The replica has closed its side: it gets no answer, whatever it has asked.
    pub fn closed(&self) -> Result<(), ServiceError> {
        self.exchange.closed(matches!(self.stage, Stage::Ends))
    }

    /// For the stream: what is left to send before the frames, and what has arrived of the replica's acks.
    pub fn into_rest(self) -> (Vec<u8>, Vec<u8>) {
        self.exchange.into_rest()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::error::Error;
    use crate::wire::service::Fault;
    use crate::wire::service::peer_feeder::append_start;

    /// A log that answers as it is told, one after the other, and the last for ever.
    struct Told(VecDeque<Answered>);

    type Answered = Searched<Known<Option<(u64, u64)>>>;

    impl LogRange for Told {
        fn allow(&mut self, _: u64) {}

        fn range(&mut self, _: u64, _: Instant) -> Answered {
            if self.0.len() > 1 { self.0.pop_front().unwrap() } else { self.0[0].clone() }
        }
    }

    fn told(range: Option<(u64, u64)>) -> Told {
        Told([Ok(Known::Yes(range))].into())
    }

    fn asked(start: u64) -> Vec<u8> {
        let mut out = Vec::new();
        append_start(&mut out, start);
        out
    }

    fn machine(start: u64, now: Instant) -> PeerFeeder {
        PeerFeeder::new(StepLimit::default(), asked(start), now)
    }

    #[test]
    fn each_start_has_its_answer() {
        let now = Instant::now();
        let (serves, restore): (&[u8], &[u8]) = (&[1, 0, 0, 0, 0], &[1, 0, 0, 0, 1]);
        for (start, range, answer, turn) in [
            (0, Some((1, 10)), serves, Turn::Streams(1)),
            (1, Some((1, 10)), serves, Turn::Streams(1)),
            (10, Some((1, 10)), serves, Turn::Streams(10)),
            (11, Some((1, 10)), serves, Turn::Streams(11)),
            (5, Some((5, 10)), serves, Turn::Streams(5)),
            (4, Some((5, 10)), restore, Turn::Ends),
            (0, Some((5, 10)), restore, Turn::Ends),
            (0, None, serves, Turn::Streams(1)),
            (1, None, serves, Turn::Streams(1)),
            (u64::MAX, Some((1, u64::MAX)), serves, Turn::Streams(u64::MAX)),
        ] {
            let mut machine = machine(start, now);
            assert_eq!(machine.turn(&mut told(range), now), Ok(turn), "{start} of {range:?}");
            assert_eq!(machine.exchange().output(), answer, "{start} of {range:?}");
            assert_eq!(machine.turn(&mut told(range), now), Ok(turn), "once answered, it stays so");
            assert_eq!(machine.into_rest().0, answer);
        }
        let ahead = machine(12, now).turn(&mut told(Some((1, 10))), now);
        assert_eq!(ahead, Err(ServiceError::AheadOfLog { start: 12, last: 10 }));
    }

    #[test]
    fn nothing_is_answered_while_the_log_is_not_known() {
        let now = Instant::now();
        let later = now + Duration::from_millis(7);
        let mut log =
            Told([Err(Halt::Busy), Ok(Known::NotYet { look_again: later }), Ok(Known::Yes(Some((1, 10))))].into());
        let mut machine = machine(3, now);
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Busy));
        assert_eq!(machine.turn(&mut log, now), Ok(Turn::Waits));
        assert!(machine.exchange().output().is_empty() && !machine.exchange().wants_bytes());
        assert_eq!(machine.deadline(), Some(later));
        assert_eq!(machine.turn(&mut log, later), Ok(Turn::Streams(3)));
    }

    #[test]
    fn an_empty_log_is_waited_for_and_never_answered_with_a_restore() {
        let mut now = Instant::now();
        let began = now;
        let mut waiting = machine(7, now);
        while waiting.turn(&mut told(None), now) == Ok(Turn::Waits) {
            assert!(waiting.exchange().output().is_empty());
            now = waiting.deadline().unwrap();
        }
        assert_eq!(now, began + StepLimit::default().0);
        assert_eq!(waiting.turn(&mut told(None), now), Err(ServiceError::AheadOfLog { start: 7, last: 0 }));
        let mut waiting = machine(7, began);
        assert_eq!(waiting.turn(&mut told(None), began), Ok(Turn::Waits));
        assert_eq!(waiting.turn(&mut told(Some((1, 9))), began), Ok(Turn::Streams(7)));
    }

    #[test]
    fn a_start_may_come_a_byte_at_a_time_and_has_its_time_in_all() {
        let began = Instant::now();
        let mut machine = PeerFeeder::new(StepLimit::default(), Vec::new(), began);
        let bytes = asked(0);
        for (second, byte) in bytes[..11].iter().enumerate() {
            let now = began + Duration::from_secs(second as u64);
            assert!(machine.exchange().wants_bytes());
            machine.exchange().receive(&[*byte]).unwrap();
            assert_eq!(machine.turn(&mut told(None), now), Ok(Turn::Waits));
            assert_eq!(machine.deadline(), Some(began + StepLimit::default().0));
        }
        let over = began + StepLimit::default().0;
        assert!(matches!(
            machine.turn(&mut told(None), over),
            Err(ServiceError::Timeout { waited_ms: 30_000, len: 11, .. })
        ));
        machine.exchange().receive(&[&bytes[11..], b"acks"].concat()).unwrap();
        assert_eq!(machine.turn(&mut told(None), over), Ok(Turn::Streams(1)));
        assert_eq!(machine.into_rest(), (vec![1, 0, 0, 0, 0], b"acks".to_vec()));
    }

    #[test]
    fn a_start_that_is_none_ends_the_connection() {
        let now = Instant::now();
        let end = |bytes: &[u8]| {
            PeerFeeder::new(StepLimit::default(), bytes.to_vec(), now).turn(&mut told(None), now).unwrap_err()
        };
        for len in 0..8u8 {
            let bytes = [&[len, 0, 0, 0][..], &vec![7; usize::from(len)]].concat();
            assert!(matches!(end(&bytes), ServiceError::Fault { fault: Fault::Short { .. }, .. }));
        }
        let too_long = end(&[1, 16, 0, 0]);
        assert!(matches!(too_long, ServiceError::Fault { fault: Fault::RequestTooLong { len: 4097 }, .. }));
        assert!(too_long.to_string().contains("PEER_FEEDER, waiting for the start VLSN"), "{too_long}");
    }

    #[test]
    fn a_log_that_fails_ends_the_connection_with_its_error() {
        let now = Instant::now();
        let error = Error::LogFileGone { file: 1, expected_vlsn: None, found_vlsn: None };
        let failed = machine(0, now).turn(&mut Told([Err(Halt::Failed(error.clone()))].into()), now);
        assert_eq!(failed, Err(ServiceError::Log { service: "PEER_FEEDER", error }));
    }

    #[test]
    fn an_answer_that_nobody_takes_has_its_time() {
        let now = Instant::now();
        let mut machine = machine(0, now);
        assert_eq!(machine.turn(&mut told(Some((5, 9))), now), Ok(Turn::Ends));
        assert!(machine.closed().is_ok());
        machine.exchange().note_sent(2, now + Duration::from_secs(10));
        let over = now + Duration::from_secs(40);
        assert_eq!(machine.deadline(), Some(over));
        assert!(matches!(machine.turn(&mut told(None), over), Err(ServiceError::NotTaken { len: 3, .. })));
        machine.exchange().note_sent(3, over);
        assert_eq!((machine.turn(&mut told(None), over), machine.deadline()), (Ok(Turn::Ends), None));
    }
}
