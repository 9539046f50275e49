//! Messages: both directions of a byte stream carry them, as `[length: u32][bytes]`.
//!
//! [`MessageBuffer`] puts messages together, whatever the pieces in which the bytes arrive.
//! A byte that arrived is never lost, whatever interrupts the receiving. Memory grows with the bytes that have come,
//! never with a length that a peer only announces.

use crate::error::{Error, Result};
use crate::memory::{self, NoMemory};

/// Size of the length field before every message on a byte stream.
pub const MESSAGE_PREFIX_LEN: usize = 4;
/// The longest message that either side accepts.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024 * 1024;

/// The length field of a message of `len` bytes, which is at most [`MESSAGE_LEN_MAX`].
#[inline]
pub const fn message_prefix(len: usize) -> [u8; MESSAGE_PREFIX_LEN] {
    (len as u32).to_le_bytes()
}

/// The length that a length field announces. It may be above [`MESSAGE_LEN_MAX`].
#[inline]
pub const fn message_len(prefix: [u8; MESSAGE_PREFIX_LEN]) -> usize {
    u32::from_le_bytes(prefix) as usize
}

/// An error if no message is this long.
pub fn check_message_len(len: usize) -> Result<()> {
    if len <= MESSAGE_LEN_MAX {
        Ok(())
    } else {
        Err(Error::MessageTooLong { len: len as u64, max: MESSAGE_LEN_MAX as u64 })
    }
}

/// Bytes that arrived and were not taken yet.
#[derive(Debug, Default)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    /// Where the next message's length begins.
    begin: usize,
}

/// How many bytes of memory are kept when no bytes are in it.
const KEPT_BYTES: usize = 64 * 1024;

impl MessageBuffer {
    /// Makes room for this many more bytes, before they are taken from a connection: without memory they would be lost.
    pub fn make_room(&mut self, bytes: usize) -> Result<(), NoMemory> {
        if self.begin > 0 && self.begin >= self.bytes.len() / 2 {
            self.bytes.drain(..self.begin);
            self.begin = 0;
        }
        memory::reserve(&mut self.bytes, bytes)
    }

    /// Adds bytes that arrived. At most as many as room was made for.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is complete. It stays until [`take`](Self::take). An error if its length is above
    /// the protocol's limit.
    pub fn peek(&self) -> Result<Option<&[u8]>> {
        let waiting = &self.bytes[self.begin..];
        let Some((prefix, rest)) = waiting.split_first_chunk::<MESSAGE_PREFIX_LEN>() else {
            return Ok(None);
        };
        let len = message_len(*prefix);
        check_message_len(len)?;
        Ok(rest.get(..len))
    }

    /// Whether it is empty: there is not even the beginning of a message.
    pub fn is_empty(&self) -> bool {
        self.begin == self.bytes.len()
    }

    /// Drops the next message.
    pub fn take(&mut self) {
        if let Ok(Some(message)) = self.peek() {
            self.begin += MESSAGE_PREFIX_LEN + message.len();
        }
        if self.begin == self.bytes.len() {
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
            self.begin = 0;
        }
    }

    /// All bytes that were not taken.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.drain(..self.begin);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_bytes_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            step in 1usize..30,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend_from_slice(&(message.len() as u32).to_le_bytes());
                stream.extend_from_slice(message);
            }
            let mut buffer = MessageBuffer::default();
            let mut out = Vec::new();
            for piece in stream.chunks(step) {
                buffer.push(piece);
                while let Some(message) = buffer.peek().unwrap() {
                    out.push(message.to_vec());
                    buffer.take();
                }
            }
            prop_assert_eq!(out, messages);
            prop_assert!(buffer.into_rest().is_empty());
        }
    }

    #[test]
    fn what_was_not_taken_is_handed_on() {
        let mut buffer = MessageBuffer::default();
        buffer.push(&[1, 0, 0, 0, 7, 2, 0, 0, 0, 8]);
        assert_eq!(buffer.peek().unwrap(), Some(&[7][..]));
        buffer.take();
        assert_eq!(buffer.peek().unwrap(), None);
        assert_eq!(buffer.into_rest(), [2, 0, 0, 0, 8]);
    }

    #[test]
    fn memory_grows_with_what_has_come_and_not_with_what_is_announced() {
        let mut buffer = MessageBuffer::default();
        let announced = u32::try_from(MESSAGE_LEN_MAX).unwrap().to_le_bytes();
        buffer.make_room(100).unwrap();
        buffer.push(&announced);
        for _ in 0..50 {
            buffer.make_room(100).unwrap();
            buffer.push(&[7; 100]);
            assert_eq!(buffer.peek().unwrap(), None);
            assert!(buffer.bytes.capacity() <= 2 * (buffer.bytes.len() + 100), "{} bytes", buffer.bytes.capacity());
        }
    }

    #[test]
    fn what_a_large_message_took_is_given_back() {
        let mut buffer = MessageBuffer::default();
        let message = vec![7; 2 * KEPT_BYTES];
        let bytes = [&u32::try_from(message.len()).unwrap().to_le_bytes()[..], &message].concat();
        buffer.make_room(bytes.len()).unwrap();
        buffer.push(&bytes);
        assert_eq!(buffer.peek().unwrap(), Some(&message[..]));
        buffer.take();
        assert!(buffer.is_empty() && buffer.bytes.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn room_is_made_where_messages_were_taken_before_more_memory_is() {
        let mut buffer = MessageBuffer::default();
        buffer.make_room(64).unwrap();
        let capacity = buffer.bytes.capacity();
        for round in 0..100u8 {
            buffer.make_room(20).unwrap();
            buffer.push(&[&[16, 0, 0, 0][..], &[round; 16]].concat());
            // One is always left, so that it is never empty.
            if round > 0 {
                assert_eq!(buffer.peek().unwrap(), Some(&[round - 1; 16][..]));
                buffer.take();
            }
        }
        assert_eq!(buffer.bytes.capacity(), capacity);
    }

    #[test]
    fn a_length_above_the_limit_is_an_error_with_nothing_allocated_for_it() {
        let mut buffer = MessageBuffer::default();
        buffer.push(&u32::MAX.to_le_bytes());
        assert!(matches!(buffer.peek(), Err(Error::MessageTooLong { .. })));
        assert!(buffer.bytes.capacity() < 100);
    }
}
