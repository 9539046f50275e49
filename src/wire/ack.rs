//! Acks: what a replica has, on its way from the replica. An ack is one message of 8 bytes, the VLSN. Bytes behind these 8
//! are ignored, and so is a shorter message.
//!
//! [`AckReader`] takes acks out of a byte stream, whatever the pieces in which the bytes arrive.
//! It never allocates, whatever a peer sends: it keeps only the first eight bytes of a message.

use super::message::{MESSAGE_PREFIX_LEN, check_message_len, message_len, message_prefix};
use crate::error::Result;

/// Length of an ack.
pub const ACK_LEN: usize = 8;

/// The ack of a VLSN, as a message (without its length).
pub fn ack(vlsn: u64) -> [u8; ACK_LEN] {
    vlsn.to_le_bytes()
}

/// The VLSN of an ack message (without its length field). `None` if the message is too short to be an ack: ignore it.
#[inline]
pub fn ack_vlsn(message: &[u8]) -> Option<u64> {
    message.first_chunk::<ACK_LEN>().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The reader's state between two pieces.
#[derive(Debug, Default)]
pub struct AckReader {
    /// What has come of the length field, and then of the message's first bytes.
    kept: [u8; MESSAGE_PREFIX_LEN + ACK_LEN],
    kept_len: usize,
    /// How many bytes of the current message are still to come and will be ignored.
    skip: usize,
}

impl AckReader {
    /// Hands the VLSN of every ack that `bytes` completes to `each`, in order. Passes over messages shorter than an
    /// ack. Ends with the error of `each`, or if a length is above the protocol's limit.
    #[inline]
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(u64) -> Result<()>) -> Result<()> {
        loop {
            // The usual case: whole acks, one behind the other.
            while self.kept_len == 0
                && self.skip == 0
                && let Some((ack, rest)) = bytes.split_first_chunk::<{ MESSAGE_PREFIX_LEN + ACK_LEN }>()
                && ack[..MESSAGE_PREFIX_LEN] == message_prefix(ACK_LEN)
            {
                bytes = rest;
                if let Some(vlsn) = ack_vlsn(&ack[MESSAGE_PREFIX_LEN..]) {
                    each(vlsn)?;
                }
            }
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = self.push_piece(bytes, &mut each)?;
        }
    }

    /// Takes at most one message from the front of `bytes`. Returns the bytes behind it.
    #[cold]
    fn push_piece<'a>(&mut self, bytes: &'a [u8], each: &mut impl FnMut(u64) -> Result<()>) -> Result<&'a [u8]> {
        if self.skip > 0 {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            return Ok(&bytes[skipped..]);
        }
        let bytes = self.keep(bytes, MESSAGE_PREFIX_LEN);
        let Some(prefix) = self.kept[..self.kept_len].first_chunk::<MESSAGE_PREFIX_LEN>() else {
            return Ok(bytes);
        };
        let message_len = message_len(*prefix);
        check_message_len(message_len)?;
        let wanted = MESSAGE_PREFIX_LEN + message_len.min(ACK_LEN);
        let bytes = self.keep(bytes, wanted);
        if self.kept_len == wanted {
            self.skip = message_len.saturating_sub(ACK_LEN);
            self.kept_len = 0;
            if let Some(vlsn) = ack_vlsn(&self.kept[MESSAGE_PREFIX_LEN..wanted]) {
                each(vlsn)?;
            }
        }
        Ok(bytes)
    }

    /// Keeps bytes until `wanted` are kept. Returns the rest.
    fn keep<'a>(&mut self, bytes: &'a [u8], wanted: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(wanted.saturating_sub(self.kept_len)));
        self.kept[self.kept_len..self.kept_len + taken.len()].copy_from_slice(taken);
        self.kept_len += taken.len();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::MESSAGE_LEN_MAX;
    use super::*;
    use crate::error::Error;
    use proptest::prelude::*;

    fn message(bytes: &[u8]) -> Vec<u8> {
        let mut out = (bytes.len() as u32).to_le_bytes().to_vec();
        out.extend_from_slice(bytes);
        out
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<u64>> {
        let mut reader = AckReader::default();
        let mut acks = Vec::new();
        for piece in pieces {
            reader.push(piece, |vlsn| {
                acks.push(vlsn);
                Ok(())
            })?;
        }
        Ok(acks)
    }

    proptest! {
        #[test]
        fn the_same_acks_come_out_however_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30),
            cuts in prop::collection::vec(1usize..30, 1..50),
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| message(m)).collect();
            let expected: Vec<u64> = messages.iter().filter_map(|m| ack_vlsn(m)).collect();
            let mut rest = stream.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(read(&pieces).unwrap(), expected.clone());
            prop_assert_eq!(read(&[&stream]).unwrap(), expected);
        }
    }

    /// Random bytes hardly ever look like acks.
    #[test]
    fn what_follows_in_a_long_ack_is_none_whatever_it_looks_like() {
        let looks_like_acks = [message(&99u64.to_le_bytes()), message(&98u64.to_le_bytes())].concat();
        let long = message(&[&7u64.to_le_bytes()[..], &looks_like_acks].concat());
        let stream = [&long[..], &message(&8u64.to_le_bytes()), &long].concat();
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            assert_eq!(read(&[first, second]).unwrap(), [7, 8, 7], "cut at {cut}");
        }
        for step in 1..=long.len() {
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            assert_eq!(read(&pieces).unwrap(), [7, 8, 7], "in pieces of {step}");
        }
    }

    #[test]
    fn a_length_above_the_limit_is_an_error_before_anything_else_is_read() {
        let prefix = (MESSAGE_LEN_MAX as u32 + 1).to_le_bytes();
        let expected = Error::MessageTooLong { len: MESSAGE_LEN_MAX as u64 + 1, max: MESSAGE_LEN_MAX as u64 };
        assert_eq!(read(&[&prefix[..3], &prefix[3..]]).unwrap_err(), expected);
        assert!(read(&[&(MESSAGE_LEN_MAX as u32).to_le_bytes()]).is_ok());
    }

    #[test]
    fn what_the_receiver_of_an_ack_refuses_ends_the_reading() {
        let stream = [message(&[1; 8]), message(&[2; 8])].concat();
        let mut seen = 0;
        let result = AckReader::default().push(&stream, |_| {
            seen += 1;
            Err(Error::ChannelClosed)
        });
        assert_eq!((result, seen), (Err(Error::ChannelClosed), 1));
    }

    #[test]
    fn an_ack_is_its_first_eight_bytes() {
        assert_eq!(ack(1), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ack_vlsn(&ack(1)), Some(1));
        assert_eq!(ack_vlsn(&[2, 1, 0, 0, 0, 0, 0, 0, 99]), Some(258));
        assert_eq!(ack_vlsn(&[1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(ack_vlsn(&[]), None);
    }
}
