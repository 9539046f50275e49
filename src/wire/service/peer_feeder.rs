//! PEER_FEEDER: the replica says from which VLSN on it wants the stream, and the feeder answers with one byte, whether
//! it has that.

use super::Fault;
use super::request::{append_message, number};

/// What a replica asks with: a message of 8 bytes, the VLSN. Bytes behind these are ignored. 0 stands for the beginning.
pub fn decode_start(message: &[u8]) -> Result<u64, Fault> {
    number("a start VLSN", message).map(u64::from_le_bytes)
}

/// Appends the message that asks for the stream from `vlsn` on.
pub fn append_start(out: &mut Vec<u8>, vlsn: u64) {
    append_message(out, &vlsn.to_le_bytes());
}

/// The feeder's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The frames follow.
    Serves,
    /// The log does not hold what the replica needs: it is to fetch all files. A real replica does that into the
    /// directory of its own open environment.
    NeedsRestore,
}

impl Answer {
    const SERVES: u8 = 0;
    const NEEDS_RESTORE: u8 = 1;

    /// Appends the message of one byte.
    pub fn append_to(self, out: &mut Vec<u8>) {
        append_message(out, &[if self == Answer::Serves { Answer::SERVES } else { Answer::NEEDS_RESTORE }]);
    }

    /// Takes an answer apart, as a replica does: only the first byte counts.
    pub fn decode(message: &[u8]) -> Result<Answer, Fault> {
        match message.first() {
            Some(&Answer::SERVES) => Ok(Answer::Serves),
            Some(&Answer::NEEDS_RESTORE) => Ok(Answer::NeedsRestore),
            Some(&kind) => Err(Fault::Kind { kind, expected: "0 or 1" }),
            None => Err(Fault::Empty("0 or 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_and_its_answers_have_these_bytes() {
        let mut out = Vec::new();
        append_start(&mut out, 0x0102_0304_0506_0708);
        Answer::Serves.append_to(&mut out);
        Answer::NeedsRestore.append_to(&mut out);
        assert_eq!(out, [8, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(decode_start(&out[4..12]), Ok(0x0102_0304_0506_0708));
        assert_eq!(decode_start(&[1, 0, 0, 0, 0, 0, 0, 0, 99]), Ok(1));
        for short in 0..8 {
            let expected = Fault::Short { message: "a start VLSN", len: short, needed: 8 };
            assert_eq!(decode_start(&out[4..4 + short]), Err(expected));
        }
        assert_eq!(Answer::decode(&[0, 7]), Ok(Answer::Serves));
        assert_eq!(Answer::decode(&[1]), Ok(Answer::NeedsRestore));
        assert_eq!(Answer::decode(&[2]), Err(Fault::Kind { kind: 2, expected: "0 or 1" }));
        assert_eq!(Answer::decode(&[]), Err(Fault::Empty("0 or 1")));
    }
}
