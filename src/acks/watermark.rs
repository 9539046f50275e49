//! How far a replica has acknowledged: one number, which only rises.

use crate::sync::atomic::{AtomicU64, Ordering};

/// See the module's comment. One thread raises it, any number read it.
#[derive(Debug)]
pub struct Watermark(AtomicU64);

impl Default for Watermark {
    /// Nothing is acknowledged.
    fn default() -> Watermark {
        Watermark(AtomicU64::new(0))
    }
}

impl Watermark {
    /// The highest VLSN acknowledged; 0 for none.
    pub fn vlsn(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// `vlsn` is acknowledged, which is not below what was.
    #[inline]
    pub fn raise(&self, vlsn: u64) {
        debug_assert!(vlsn >= self.0.load(Ordering::Relaxed), "a known VLSN never falls");
        self.0.store(vlsn, Ordering::Release);
    }
}
