//! A source of the host's own: entries that it supplies, held to the same rules as those of a log.

use super::{Source, SourceProgress};
use crate::error::{Error, Result};
use crate::log::scanner::ScannerCounts;
use crate::log::{Entry, Lsn, Next, Now, Wait, WaitReason};

/// What a host implements.
pub trait Supply: Send {
    /// The next entry whose VLSN is at least `from_vlsn`, or none yet. Must not wait.
    fn supply(&mut self, from_vlsn: u64) -> Result<Option<Supplied<'_>>>;
}

/// An entry as a host supplies it.
#[derive(Clone, Copy, Debug)]
pub struct Supplied<'a> {
    /// Its VLSN.
    pub vlsn: u64,
    /// Where it stands, for messages; any number if the host has no such thing.
    pub lsn: u64,
    /// Its type.
    pub entry_type: u8,
    /// Its payload, valid until the next call.
    pub payload: &'a [u8],
}

/// Entries that a host supplies, checked for their order.
pub struct SuppliedSource<S> {
    supply: S,
    is_dense: bool,
    /// The next VLSN, if one was supplied or asked for already.
    next: Option<u64>,
    returned: u64,
    failed: Option<Error>,
}

impl<S: Supply> SuppliedSource<S> {
    /// A source over `supply`. `is_dense`: a VLSN left out is a gap, as in a log; else VLSNs need only rise.
    pub fn new(supply: S, is_dense: bool) -> SuppliedSource<S> {
        SuppliedSource { supply, is_dense, next: None, returned: 0, failed: None }
    }
}

fn check(found: &Supplied<'_>, expected: Option<u64>, is_dense: bool) -> Result<()> {
    let at = Lsn(found.lsn);
    match expected {
        _ if found.vlsn == 0 || found.vlsn > i64::MAX.unsigned_abs() => {
            Err(Error::SourceOrder { found: found.vlsn, expected: expected.unwrap_or(1) })
        }
        Some(expected) if found.vlsn < expected => Err(Error::SourceOrder { found: found.vlsn, expected }),
        Some(expected) if is_dense && found.vlsn > expected => Err(Error::LogGap { expected, found: found.vlsn, at }),
        _ => Ok(()),
    }
}

impl<S: Supply> Source for SuppliedSource<S> {
    fn next(&mut self, from_vlsn: u64, _: &Now) -> Result<Next<'_>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // From 0 any first VLSN will do.
        let asked = Some(from_vlsn).filter(|&vlsn| vlsn > 0);
        let expected = self.next.max(asked);
        let supplied = match self.supply.supply(expected.unwrap_or(0)) {
            Ok(Some(found)) => check(&found, expected, self.is_dense).map(|()| Some(found)),
            other => other,
        };
        match supplied {
            Ok(Some(Supplied { vlsn, lsn, entry_type, payload })) => {
                self.next = Some(vlsn + 1);
                self.returned += 1;
                let payload_crc = crc32fast::hash(payload);
                Ok(Next::Entry(Entry { vlsn, lsn: Lsn(lsn), entry_type, payload, payload_crc, block: None }))
            }
            Ok(None) => {
                let wait = Wait::new(WaitReason::End, Lsn::NULL, None);
                Ok(Next::Nothing(wait))
            }
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn is_dense(&self) -> bool {
        self.is_dense
    }

    fn progress(&self) -> SourceProgress {
        let counts = ScannerCounts { returned: self.returned, ..ScannerCounts::default() };
        let last_vlsn = if self.returned > 0 { self.next.map_or(0, |next| next - 1) } else { 0 };
        SourceProgress { counts, last_vlsn, ..SourceProgress::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(Vec<u64>);

    impl Supply for Numbers {
        fn supply(&mut self, from_vlsn: u64) -> Result<Option<Supplied<'_>>> {
            let at = self.0.iter().position(|&vlsn| vlsn >= from_vlsn);
            let Some(at) = at else { return Ok(None) };
            Ok(Some(Supplied { vlsn: self.0.remove(at), lsn: 7, entry_type: 13, payload: b"payload" }))
        }
    }

    fn read(vlsns: &[u64], is_dense: bool, from: u64) -> (Vec<u64>, Option<Error>) {
        let mut source = SuppliedSource::new(Numbers(vlsns.to_vec()), is_dense);
        let mut read = Vec::new();
        let mut from = from;
        loop {
            match source.next(from, &Now::default()) {
                Ok(Next::Entry(entry)) => {
                    assert_eq!(entry.payload_crc, crc32fast::hash(entry.payload));
                    read.push(entry.vlsn);
                    from = entry.vlsn + 1;
                }
                Ok(Next::Nothing(_) | Next::Busy) => return (read, None),
                Err(error) => {
                    assert_eq!(source.next(from, &Now::default()).unwrap_err(), error, "it stays");
                    return (read, Some(error));
                }
            }
        }
    }

    #[test]
    fn dense_vlsns_are_expected_as_of_a_log() {
        assert_eq!(read(&[5, 6, 7], true, 0), (vec![5, 6, 7], None));
        assert_eq!(read(&[5, 6, 7], true, 6), (vec![6, 7], None));
        let gap = |expected, found| Some(Error::LogGap { expected, found, at: Lsn(7) });
        assert_eq!(read(&[5, 6, 8], true, 0), (vec![5, 6], gap(7, 8)));
        assert_eq!(read(&[5, 6], true, 2), (vec![], gap(2, 5)));
    }

    #[test]
    fn an_option_lets_them_only_rise() {
        assert_eq!(read(&[5, 8, 20], false, 2), (vec![5, 8, 20], None));
    }

    #[test]
    fn a_vlsn_that_is_none_or_below_what_was_asked_for_is_an_error() {
        struct Always(u64);
        impl Supply for Always {
            fn supply(&mut self, _: u64) -> Result<Option<Supplied<'_>>> {
                Ok(Some(Supplied { vlsn: self.0, lsn: 0, entry_type: 13, payload: b"" }))
            }
        }
        for vlsn in [0, 9, u64::MAX] {
            let mut source = SuppliedSource::new(Always(vlsn), false);
            let error = source.next(10, &Now::default()).unwrap_err();
            assert_eq!(error, Error::SourceOrder { found: vlsn, expected: 10 });
        }
    }
}
