//! The log's files: by name, and looks into them elsewhere than at the cursor.

use std::sync::Arc;
use std::time::Instant;

use super::ask::TailOptions;
use super::judge::{Name, judge_name};
use crate::error::{Error, Result};
use crate::log::files::{FileIdentity, Files, Listing, NumberedFile, list_error};
use crate::log::format::{FileHeader, HeaderFault};
use crate::log::probe::Probe;

/// An open file, and what was read of its header.
pub(super) struct Opened {
    pub(super) file: NumberedFile,
    pub(super) header: Result<FileHeader, HeaderFault>,
}

/// See the module's comment.
pub(super) struct Disk {
    pub(super) options: TailOptions,
    pub(super) files: Arc<dyn Files>,
    pub(super) listing: Listing,
    pub(super) probe: Probe,
}

impl Disk {
    /// Brings the listing up to date.
    pub(super) fn refresh(&mut self, now: Instant) -> Result<()> {
        self.listing.refresh(&*self.files, now).map_err(|error| list_error(&*self.files, error))
    }

    /// Opens a file and reads its header; `None` if it is not there.
    pub(super) fn open(&mut self, number: u32) -> Result<Option<Opened>> {
        let Some(file) = NumberedFile::open(&*self.files, number)? else {
            self.listing.outdate();
            return Ok(None);
        };
        let header = file.header()?;
        Ok(Some(Opened { file, header }))
    }

    /// What the name of a file that was opened stands for now. Only the directory knows: a file that was deleted or moved
    /// aside may have another name, elsewhere.
    pub(super) fn name_of(&self, number: u32, identity: FileIdentity) -> Result<Name> {
        let named = self.files.identity(number).map_err(|error| Error::log_read(number, 0, error))?;
        Ok(match named {
            Some(named) if named == identity => Name::Its,
            Some(_) => Name::Anothers,
            None => Name::Free,
        })
    }

    /// Whether a file that was opened is a part of the log now; one system call where it has its name.
    pub(super) fn has(&mut self, number: u32, identity: FileIdentity, now: Instant) -> Result<bool> {
        let name = self.name_of(number, identity)?;
        if name == Name::Free {
            // Which file is the highest now?
            self.listing.outdate();
            self.refresh(now)?;
        }
        Ok(judge_name(name, self.listing.newest().is_none_or(|newest| newest <= number)))
    }

    /// How long the file of this name is; `None` if there is none.
    pub(super) fn len_of(&self, number: u32) -> Result<Option<u64>> {
        self.files.len_of(number).map_err(|error| Error::log_read(number, 0, error))
    }

    pub(super) fn is_newest(&self, number: u32) -> bool {
        self.listing.newest() == Some(number)
    }
}
