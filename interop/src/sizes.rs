//! Sizes as they are written on the command line: bytes with an optional K, M or G, and ranges of them.

use std::str::FromStr;

use crate::{Error, Result};

/// Reads `4096`, `64K`, `10M` or `1G`; the letters are powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| not_a_size(text))?;
    number.checked_mul(1 << shift).ok_or_else(|| not_a_size(text))
}

fn not_a_size(text: &str) -> Error {
    Error::new(format_args!("'{text}' is not a size: give bytes, such as 4096, 64K or 10M"))
}

/// A payload size: one number, or a range whose ends both belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSize {
    min: usize,
    max: usize,
}

impl PayloadSize {
    /// From `min` to `max` bytes, both included; `min` must not be above `max`.
    pub const fn between(min: usize, max: usize) -> Self {
        assert!(min <= max);
        Self { min, max }
    }

    /// The largest payload of this size.
    pub fn max(self) -> usize {
        self.max
    }

    /// The size that `random` picks out of the range.
    pub fn pick(self, random: u64) -> usize {
        let choices = (self.max - self.min) as u64 + 1;
        self.min + usize::try_from(random % choices).expect("less than a usize")
    }
}

impl FromStr for PayloadSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let size = |part: &str| {
            let bytes = parse_bytes(part)?;
            usize::try_from(bytes).map_err(|_| not_a_size(part))
        };
        let (min, max) = match text.split_once("..") {
            Some((min, max)) => (size(min)?, size(max)?),
            None => (size(text)?, size(text)?),
        };
        if min > max {
            return Err(Error::new(format_args!("'{text}' is an empty range of sizes")));
        }
        Ok(Self { min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_an_optional_letter() {
        assert_eq!(parse_bytes("100"), Ok(100));
        assert_eq!(parse_bytes("64K"), Ok(65_536));
        assert_eq!(parse_bytes("2m"), Ok(2 << 20));
        assert!(parse_bytes("").is_err());
        assert!(parse_bytes("12X").is_err());
        assert!(parse_bytes("99999999999G").is_err());
    }

    #[test]
    fn a_range_keeps_both_its_ends() {
        let range: PayloadSize = "100..102".parse().unwrap();
        let picked: Vec<usize> = (0..3).map(|random| range.pick(random)).collect();
        assert_eq!(picked, [100, 101, 102]);
        assert!("5..4".parse::<PayloadSize>().is_err());
    }
}
