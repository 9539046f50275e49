//! Reads entries again that were held back, from new bytes.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::block::Block;
use crate::log::budget::Budget;
use crate::log::files::{Files, NumberedFile};
use crate::log::format::{ENTRY_HEADER_LEN, Lsn};
use crate::log::window::{Look, Window};

/// Held entries stand close together, so reads are large, but not as large as the tail's.
const AGAIN_BYTES: usize = 256 * 1024;

/// See the module's comment.
pub(super) struct Again {
    files: Arc<dyn Files>,
    window: Window,
    file: Option<NumberedFile>,
}

impl Again {
    pub(super) fn new(files: Arc<dyn Files>, budget: Budget) -> Again {
        Again { files, window: Window::new(AGAIN_BYTES, budget), file: None }
    }

    /// The block that the entry of the last look is in.
    #[inline]
    pub(super) fn block(&self) -> &Arc<Block> {
        self.window.block()
    }

    /// Drops what was read, and the file, which may be another one by the next time.
    pub(super) fn forget(&mut self) {
        self.window.forget();
        self.file = None;
    }

    /// What stands at `lsn`, where the entry of `vlsn` was.
    pub(super) fn look(&mut self, lsn: Lsn, vlsn: u64) -> Result<Look> {
        let number = lsn.file();
        let file = match &self.file {
            Some(file) if file.number == number => file,
            _ => {
                self.window.forget();
                let gone = Error::LogFileGone { file: number, expected_vlsn: Some(vlsn), found_vlsn: None };
                self.file.insert(NumberedFile::open(&*self.files, number)?.ok_or(gone)?)
            }
        };
        let offset = u64::from(lsn.offset());
        let look = self.window.look(offset);
        if matches!(look, Look::Entry(_)) {
            return Ok(look);
        }
        // Bytes of an earlier read may be from before this entry was written: only new ones are believed.
        self.window.read(file, offset, ENTRY_HEADER_LEN)?;
        self.window.look_reading(file, offset, ENTRY_HEADER_LEN)
    }

    /// The same, whatever was read before, and nothing of it is kept.
    pub(super) fn look_anew(&mut self, lsn: Lsn, vlsn: u64) -> Result<Look> {
        self.forget();
        let look = self.look(lsn, vlsn);
        self.forget();
        look
    }

    /// Whether damage at `at` is gone: the log was cut there, or a whole entry stands there.
    pub(super) fn is_repaired(&mut self, at: Lsn) -> bool {
        self.forget();
        let is_repaired = match self.look(at, 0) {
            Ok(Look::Entry(_)) => true,
            Ok(Look::Short { .. }) => self.window.from(u64::from(at.offset())).is_empty(),
            _ => false,
        };
        self.forget();
        is_repaired
    }
}
