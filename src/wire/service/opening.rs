//! How a connection begins.

use super::request::append_message;
use super::{Fault, NAME_LEN_MAX, restore};
use crate::wire::message::{MESSAGE_PREFIX_LEN, message_len};

/// How a connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening<'a> {
    /// With the name of a service. Whether that is known is not looked at.
    Name(&'a str),
    /// With the magic number of RESTORE: everything that follows is without messages around it.
    RawRestore,
}

impl<'a> Opening<'a> {
    /// Reads the beginning of a connection, and says how many bytes it takes; `None` while it is not complete. What is
    /// wrong is found with the first four bytes, or with the last of the name.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Opening<'a>, usize)>, Fault> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<MESSAGE_PREFIX_LEN>() else { return Ok(None) };
        if *prefix == restore::MAGIC {
            return Ok(Some((Opening::RawRestore, prefix.len())));
        }
        if prefix.starts_with(&TLS_HANDSHAKE) {
            return Err(Fault::Tls);
        }
        let len = message_len(*prefix);
        if !(1..=NAME_LEN_MAX).contains(&len) {
            return Err(Fault::NameLen(len));
        }
        let Some(name) = rest.get(..len) else { return Ok(None) };
        let name = std::str::from_utf8(name).map_err(|_| Fault::NameNotText)?;
        Ok(Some((Opening::Name(name), prefix.len() + len)))
    }

    /// Appends its bytes, as a replica would send them.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Opening::Name(name) => append_message(out, name.as_bytes()),
            Opening::RawRestore => out.extend_from_slice(&restore::MAGIC),
        }
    }
}

/// The first bytes of a TLS connection, whatever its version: a handshake record.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_begins_with_these_bytes() {
        let cases: [(Opening<'_>, &[u8]); 3] = [
            (Opening::Name("PEER_FEEDER"), b"\x0b\0\0\0PEER_FEEDER"),
            (Opening::Name("REP_SYNCUP"), b"\x0a\0\0\0REP_SYNCUP"),
            (Opening::RawRestore, b"\x54\x53\x52\x4e"),
        ];
        for (opening, bytes) in cases {
            let mut out = Vec::new();
            opening.append_to(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(Opening::parse(bytes), Ok(Some((opening, bytes.len()))));
            assert_eq!(Opening::parse(&[bytes, b"more"].concat()), Ok(Some((opening, bytes.len()))));
            for short in 0..bytes.len() {
                assert_eq!(Opening::parse(&bytes[..short]), Ok(None), "{short} bytes of {opening:?}");
            }
        }
    }

    #[test]
    fn what_is_no_beginning_is_found_with_its_first_four_bytes() {
        assert_eq!(Opening::parse(&[0, 0, 0, 0]), Err(Fault::NameLen(0)));
        assert_eq!(Opening::parse(&[1, 1, 0, 0]), Err(Fault::NameLen(257)));
        assert_eq!(Opening::parse(&[0xff; 4]), Err(Fault::NameLen(0xffff_ffff)));
        assert_eq!(Opening::parse(b"\x16\x03\x01\x02"), Err(Fault::Tls));
        assert_eq!(Opening::parse(b"GET "), Err(Fault::NameLen(0x2054_4547)));
        assert_eq!(Opening::parse(b"\x02\0\0\0\xff\xfe"), Err(Fault::NameNotText));
        let longest = [&[0, 1, 0, 0][..], &[b'x'; 256]].concat();
        assert!(matches!(Opening::parse(&longest), Ok(Some((Opening::Name(name), 260))) if name.len() == 256));
    }
}
