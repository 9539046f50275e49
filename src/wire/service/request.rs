//! What every message of a service has in common.

use super::{Fault, REQUEST_LEN_MAX};
use crate::wire::message::{MESSAGE_PREFIX_LEN, message_len, message_prefix};

/// Reads the message that `bytes` begin with, and says how many bytes it takes with its length; `None` while it is not
/// complete. A length above [`REQUEST_LEN_MAX`] is found as soon as it is there.
pub fn first_message(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Fault> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<MESSAGE_PREFIX_LEN>() else { return Ok(None) };
    let len = message_len(*prefix);
    if len > REQUEST_LEN_MAX {
        return Err(Fault::RequestTooLong { len });
    }
    Ok(rest.get(..len).map(|message| (message, prefix.len() + len)))
}

/// Appends a message with its length.
pub fn append_message(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(&message_prefix(message.len()));
    out.extend_from_slice(message);
}

/// The first 8 bytes of a message's body.
pub(super) fn number(message: &'static str, body: &[u8]) -> Result<[u8; 8], Fault> {
    body.first_chunk().copied().ok_or(Fault::Short { message, len: body.len(), needed: 8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_complete_or_too_long_and_nothing_is_taken_of_what_follows() {
        let mut bytes = Vec::new();
        append_message(&mut bytes, b"abc");
        append_message(&mut bytes, b"");
        assert_eq!(first_message(&bytes), Ok(Some((&b"abc"[..], 7))));
        assert_eq!(first_message(&bytes[7..]), Ok(Some((&b""[..], 4))));
        for short in 0..7 {
            assert_eq!(first_message(&bytes[..short]), Ok(None));
        }
        assert_eq!(first_message(&[0, 16, 0, 0]), Ok(None));
        assert_eq!(first_message(&[1, 16, 0, 0]), Err(Fault::RequestTooLong { len: 4097 }));
    }
}
