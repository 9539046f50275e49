//! ELECTION: who is to be master. One message for each step, of one byte that says its kind, and a body; a name is
//! `[length: u32][UTF-8]`.
//!
//! | kind | message | body |
//! | ---: | --- | --- |
//! | 9 | proposal, and promise | name, VLSN (u64), priority (u32), term (u64), DTVLSN (u64) |
//! | 10 | vote | name of who votes, granted (u8), term (u64) |
//! | 11 | result | name of the master, term (u64) |
//!
//! The one who proposes sends 9, and gets 9 or 10; then it sends 11, and gets 10.

use super::Fault;
use super::request::append_message;

/// A step of an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// I propose an election; or, as an answer, I promise to keep to it, and this is what I would be as master.
    Proposal(Candidacy<'a>),
    /// I grant what was asked for, or not.
    Vote {
        /// Who votes.
        voter: &'a str,
        /// Whether it is granted.
        granted: bool,
        /// Of which election.
        term: u64,
    },
    /// This is the master.
    Result {
        /// Its name.
        master: &'a str,
        /// Of which election.
        term: u64,
    },
}

/// What a node says of itself in an election. The highest wins, by DTVLSN, VLSN, priority and name, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidacy<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The last VLSN that it has.
    pub vlsn: u64,
    /// 0 for one that is not to be master.
    pub priority: u32,
    /// The number of the election: milliseconds since 1970, rising.
    pub term: u64,
    /// The last VLSN that it knows a majority to have.
    pub dtvlsn: u64,
}

const PROPOSAL: u8 = 9;
const VOTE: u8 = 10;
const RESULT: u8 = 11;

impl<'a> Message<'a> {
    /// Takes a message (without its length) apart. Bytes behind the last field are ignored.
    pub fn decode(message: &'a [u8]) -> Result<Message<'a>, Fault> {
        let Some((&kind, rest)) = message.split_first() else { return Err(Fault::Empty("a kind of message")) };
        Ok(match kind {
            PROPOSAL => {
                let mut fields = Fields { message: "a proposal", rest };
                Message::Proposal(Candidacy {
                    name: fields.name()?,
                    vlsn: u64::from_le_bytes(fields.bytes()?),
                    priority: u32::from_le_bytes(fields.bytes()?),
                    term: u64::from_le_bytes(fields.bytes()?),
                    dtvlsn: u64::from_le_bytes(fields.bytes()?),
                })
            }
            VOTE => {
                let mut fields = Fields { message: "a vote", rest };
                let voter = fields.name()?;
                let [granted] = fields.bytes()?;
                Message::Vote { voter, granted: granted != 0, term: u64::from_le_bytes(fields.bytes()?) }
            }
            RESULT => {
                let mut fields = Fields { message: "a result", rest };
                Message::Result { master: fields.name()?, term: u64::from_le_bytes(fields.bytes()?) }
            }
            kind => return Err(Fault::Kind { kind, expected: "9 to 11" }),
        })
    }

    /// Appends the message, with its length.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let mut bytes = vec![self.kind()];
        match self {
            Message::Proposal(Candidacy { name, vlsn, priority, term, dtvlsn }) => {
                append_name(&mut bytes, name);
                bytes.extend_from_slice(&vlsn.to_le_bytes());
                bytes.extend_from_slice(&priority.to_le_bytes());
                bytes.extend_from_slice(&term.to_le_bytes());
                bytes.extend_from_slice(&dtvlsn.to_le_bytes());
            }
            Message::Vote { voter, granted, term } => {
                append_name(&mut bytes, voter);
                bytes.push(u8::from(*granted));
                bytes.extend_from_slice(&term.to_le_bytes());
            }
            Message::Result { master, term } => {
                append_name(&mut bytes, master);
                bytes.extend_from_slice(&term.to_le_bytes());
            }
        }
        append_message(out, &bytes);
    }

    /// The byte that says which message it is.
    pub const fn kind(&self) -> u8 {
        match self {
            Message::Proposal(_) => PROPOSAL,
            Message::Vote { .. } => VOTE,
            Message::Result { .. } => RESULT,
        }
    }
}

fn append_name(out: &mut Vec<u8>, name: &str) {
    append_message(out, name.as_bytes());
}

/// The fields of a message that were not read yet.
struct Fields<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let short = Fault::Short { message: self.message, len: self.rest.len(), needed: N };
        let (field, rest) = self.rest.split_first_chunk().ok_or(short)?;
        self.rest = rest;
        Ok(*field)
    }

    fn name(&mut self) -> Result<&'a str, Fault> {
        let len = u32::from_le_bytes(self.bytes()?) as usize;
        let short = Fault::Short { message: self.message, len: self.rest.len(), needed: len };
        let (name, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        std::str::from_utf8(name).map_err(|_| Fault::NotText(self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_these_bytes_and_is_read_back() {
        let candidacy = Candidacy { name: "n1", vlsn: 7, priority: 1, term: 0x0102, dtvlsn: 6 };
        let cases: [(Message<'_>, &[u8]); 3] = [
            (
                Message::Proposal(candidacy),
                b"\x23\0\0\0\x09\x02\0\0\0n1\x07\0\0\0\0\0\0\0\x01\0\0\0\x02\x01\0\0\0\0\0\0\x06\0\0\0\0\0\0\0",
            ),
            (
                Message::Vote { voter: "n1", granted: true, term: 3 },
                b"\x10\0\0\0\x0a\x02\0\0\0n1\x01\x03\0\0\0\0\0\0\0",
            ),
            (Message::Result { master: "n2", term: 3 }, b"\x0f\0\0\0\x0b\x02\0\0\0n2\x03\0\0\0\0\0\0\0"),
        ];
        for (message, bytes) in cases {
            let mut out = Vec::new();
            message.append_to(&mut out);
            assert_eq!(out, bytes, "{message:?}");
            assert_eq!(Message::decode(&out[4..]), Ok(message));
            assert_eq!(Message::decode(&[&out[4..], b"more"].concat()), Ok(message));
            for short in 5..out.len() {
                assert!(matches!(Message::decode(&out[4..short]), Err(Fault::Short { .. })), "{message:?} {short}");
            }
        }
    }

    #[test]
    fn what_is_no_message_is_a_fault_that_names_it() {
        assert_eq!(Message::decode(&[]), Err(Fault::Empty("a kind of message")));
        for kind in (0..=u8::MAX).filter(|kind| !(9..=11).contains(kind)) {
            assert_eq!(Message::decode(&[kind; 40]), Err(Fault::Kind { kind, expected: "9 to 11" }));
        }
        assert_eq!(Message::decode(b"\x0b\x01\0\0\0\xff\0\0\0\0\0\0\0\0"), Err(Fault::NotText("a result")));
        let announced = Message::decode(b"\x0b\xff\xff\xff\xffname");
        assert_eq!(announced, Err(Fault::Short { message: "a result", len: 4, needed: 0xffff_ffff }));
    }
}
