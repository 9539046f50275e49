//! ELECTION, for one that is master: whoever proposes an election is told of a better candidate, and that is this node.
//!
//! A node whose elections nobody answers goes on proposing, twice a second, and is nobody's replica; two such nodes that
//! know each other elect one of themselves. One that is answered here takes this node for its master, and dials in as a
//! replica. So this is for hosts that are the only master their replicas will meet: two that answer so are two masters.

use std::time::Instant;

use super::error::ServiceError;
use super::exchange::{Exchange, StepLimit, Turn};
use crate::wire::service::election::{Candidacy, Message};
use crate::wire::service::{Fault, REQUEST_LEN_MAX, Service};

/// The longest name of a node: what names it is a message with other fields.
pub const NAME_LEN_MAX: usize = REQUEST_LEN_MAX / 4;

/// See the module's comment.
#[derive(Debug)]
pub struct Election {
    exchange: Exchange,
    /// The node's name.
    name: String,
    stage: Stage,
    /// Whether the other has accepted this node.
    is_won: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Proposal,
    /// Of the election with this number.
    Result(u64),
    Ends,
}

/// What was sent, with its names out of the bytes it came in.
enum Sent {
    Proposal { vlsn: u64, term: u64, dtvlsn: u64 },
    Result { is_own: bool, term: u64 },
}

const PROPOSAL: &str = "a proposal";
const RESULT: &str = "the result";

impl Election {
    /// A connection whose service was named, with what has arrived behind the name. `name` is what the replicas know this
    /// node by.
    pub fn new(limit: StepLimit, name: &str, arrived: Vec<u8>, now: Instant) -> Election {
        let mut exchange = Exchange::new(Service::Election.name(), limit, arrived);
        exchange.awaits(PROPOSAL, now);
        Election { exchange, name: name.to_owned(), stage: Stage::Proposal, is_won: false }
    }

    /// Its bytes.
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// When it wants a turn, if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.exchange.deadline()
    }

    /// Whether the other has accepted this node as its master.
    pub fn is_won(&self) -> bool {
        self.is_won
    }

    /// Answers what has arrived. `last_vlsn` is the highest VLSN of the log, as far as is known.
    pub fn turn(&mut self, last_vlsn: u64, now: Instant) -> Result<Turn, ServiceError> {
        loop {
            let expected = match self.stage {
                Stage::Ends => {
                    self.exchange.check_time(now)?;
                    return Ok(Turn::Ends);
                }
                Stage::Proposal => "9",
                Stage::Result(_) => "11",
            };
            let own = self.name.as_str();
            let sent = self.exchange.take_message(|message| match Message::decode(message)? {
                Message::Proposal(Candidacy { vlsn, term, dtvlsn, .. }) => Ok(Sent::Proposal { vlsn, term, dtvlsn }),
                Message::Result { master, term } => Ok(Sent::Result { is_own: master == own, term }),
                other => Err(Fault::Kind { kind: other.kind(), expected }),
            })?;
            match (sent, self.stage) {
                (Some(Sent::Proposal { vlsn, term, dtvlsn }), Stage::Proposal) => {
                    // Higher than what was proposed, and of no less than there is: the highest wins.
                    let vlsn = last_vlsn.max(vlsn.saturating_add(1));
                    let dtvlsn = last_vlsn.max(dtvlsn.saturating_add(1));
                    let candidacy = Candidacy { name: &self.name, vlsn, priority: 1, term, dtvlsn };
                    Message::Proposal(candidacy).append_to(self.exchange.outbox(now));
                    self.exchange.awaits(RESULT, now);
                    self.stage = Stage::Result(term);
                }
                (Some(Sent::Result { is_own, term }), Stage::Result(proposed)) => {
                    self.exchange.works();
                    self.is_won = is_own && term == proposed;
                    let vote = Message::Vote { voter: &self.name, granted: self.is_won, term };
                    vote.append_to(self.exchange.outbox(now));
                    self.stage = Stage::Ends;
                }
                (Some(sent), _) => {
                    let kind = if matches!(sent, Sent::Proposal { .. }) { 9 } else { 11 };
                    return Err(self.exchange.fault(Fault::Kind { kind, expected }));
                }
                (None, _) => {
                    self.exchange.check_time(now)?;
                    return Ok(Turn::Waits);
                }
            }
        }
    }

    /// The other has closed its side. It may at any step: others may have answered before.
    pub fn closed(&self) -> Result<(), ServiceError> {
        self.exchange.closed(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(name: &str, vlsn: u64, dtvlsn: u64) -> Message<'_> {
        Message::Proposal(Candidacy { name, vlsn, priority: 1, term: 77, dtvlsn })
    }

    fn bytes(messages: &[Message<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        messages.iter().for_each(|message| message.append_to(&mut out));
        out
    }

    fn machine(arrived: &[Message<'_>], now: Instant) -> Election {
        Election::new(StepLimit::default(), "we", bytes(arrived), now)
    }

    #[test]
    fn the_promise_is_better_than_the_proposal_and_the_accept_is_granted() {
        let now = Instant::now();
        for (proposed, last, promised) in [
            (proposal("n1", 5, 3), 10, proposal("we", 10, 10)),
            (proposal("n1", 5, 3), 4, proposal("we", 6, 4)),
            (proposal("n1", u64::MAX, 0), 4, proposal("we", u64::MAX, 4)),
        ] {
            let result = Message::Result { master: "we", term: 77 };
            let mut machine = machine(&[proposed], now);
            assert_eq!(machine.turn(last, now), Ok(Turn::Waits));
            assert_eq!(machine.exchange().output(), bytes(&[promised]));
            let len = machine.exchange().output().len();
            machine.exchange().note_sent(len, now);
            for byte in bytes(&[result]) {
                assert_eq!(machine.turn(last, now), Ok(Turn::Waits));
                assert!(machine.exchange().wants_bytes());
                machine.exchange().receive(&[byte]).unwrap();
            }
            assert_eq!(machine.turn(last, now), Ok(Turn::Ends));
            assert_eq!(machine.exchange().output(), bytes(&[Message::Vote { voter: "we", granted: true, term: 77 }]));
            assert!(machine.is_won());
        }
    }

    #[test]
    fn another_master_and_another_election_are_not_granted() {
        let now = Instant::now();
        for (master, term) in [("n1", 77), ("we", 78)] {
            let mut machine = machine(&[proposal("n1", 1, 1), Message::Result { master, term }], now);
            assert_eq!(machine.turn(9, now), Ok(Turn::Ends));
            let vote = Message::Vote { voter: "we", granted: false, term };
            assert_eq!(machine.exchange().output(), bytes(&[proposal("we", 9, 9), vote]));
            assert!(!machine.is_won());
        }
    }

    #[test]
    fn what_has_no_place_there_ends_the_connection() {
        let now = Instant::now();
        let vote = Message::Vote { voter: "n1", granted: true, term: 77 };
        let result = Message::Result { master: "we", term: 77 };
        for arrived in
            [&[vote][..], &[result], &[proposal("a", 1, 1), proposal("a", 1, 1)], &[proposal("a", 1, 1), vote]]
        {
            let end = machine(arrived, now).turn(9, now);
            assert!(matches!(end, Err(ServiceError::Fault { fault: Fault::Kind { .. }, .. })), "{end:?}");
        }
        let good = bytes(&[proposal("n1", 5, 3)]);
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let turn = Election::new(StepLimit::default(), "we", bytes, now).turn(9, now);
                assert!(matches!(turn, Ok(Turn::Waits) | Err(ServiceError::Fault { .. })), "{at} {byte}: {turn:?}");
            }
        }
    }

    #[test]
    fn who_names_the_service_and_says_nothing_has_its_time() {
        let now = Instant::now();
        let mut machine = machine(&[], now);
        let over = now + StepLimit::default().0;
        assert_eq!((machine.turn(9, now), machine.deadline()), (Ok(Turn::Waits), Some(over)));
        assert!(machine.closed().is_ok());
        assert!(matches!(machine.turn(9, over), Err(ServiceError::Timeout { step: "a proposal", len: 0, .. })));
    }
}
