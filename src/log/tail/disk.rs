//! The log's files: by name, and looks into them elsewhere than at the cursor.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::judge::{Name, Standing, judge_name};
use crate::error::{Error, Result};
use crate::log::files::{FileIdentity, Files, Listing, LogFile};
use crate::log::format::{FILE_HEADER_LEN_V3, FileHeader, HeaderFault, ParsedFileHeader};
use crate::log::probe::Probe;

/// An open file, and what was read of its header.
pub(super) struct Opened {
    pub(super) number: u32,
    pub(super) file: Arc<dyn LogFile>,
    pub(super) header: Result<FileHeader, HeaderFault>,
}

/// See the module's comment.
pub(super) struct Disk {
    pub(super) files: Arc<dyn Files>,
    pub(super) listing: Listing,
    pub(super) probe: Probe,
}

impl Disk {
    /// Brings the listing up to date.
    pub(super) fn refresh(&mut self, now: Instant) -> Result<()> {
        self.listing.refresh(&*self.files, now).map_err(|error| Error::LogDirectory {
            path: self.files.path().map(std::path::Path::to_path_buf).unwrap_or_default(),
            os: error.into(),
        })
    }

    /// Opens a file and reads its header; `None` if it is not there.
    pub(super) fn open(&mut self, number: u32) -> Result<Option<Opened>> {
        let file = match self.files.open(number) {
            Ok(file) => file,
            Err(absent) if absent.kind() == io::ErrorKind::NotFound => {
                self.listing.outdate();
                return Ok(None);
            }
            Err(error) => return Err(open_error(number, error)),
        };
        let failed = |error| open_error(number, error);
        let mut bytes = [0; FILE_HEADER_LEN_V3];
        let read = file.read_at(&mut bytes, 0).map_err(failed)?;
        let header = match FileHeader::parse(&bytes[..read], number) {
            ParsedFileHeader::Header(header) => Ok(header),
            ParsedFileHeader::Fault(fault) => Err(fault),
            ParsedFileHeader::Short => Err(HeaderFault::Short(file.len().map_err(failed)?)),
        };
        Ok(Some(Opened { number, file, header }))
    }

    /// What the name of a file that was opened stands for now. Only the directory knows: a file that was deleted or moved
    /// aside may have another name, elsewhere.
    pub(super) fn name_of(&self, number: u32, identity: FileIdentity) -> Result<Name> {
        let named = self.files.identity(number).map_err(|error| open_error(number, error))?;
        Ok(match named {
            Some(named) if named == identity => Name::Its,
            Some(_) => Name::Anothers,
            None => Name::Free,
        })
    }

    /// What a file that was opened is to the log now; one system call where it has its name.
    pub(super) fn standing(
        &mut self,
        number: u32,
        identity: FileIdentity,
        was_read: bool,
        now: Instant,
    ) -> Result<Standing> {
        let name = self.name_of(number, identity)?;
        if name == Name::Free {
            // Which file is the highest now?
            self.listing.outdate();
            self.refresh(now)?;
        }
        let is_highest = self.listing.newest().is_none_or(|newest| newest <= number);
        Ok(judge_name(name, is_highest, was_read))
    }

    pub(super) fn is_newest(&self, number: u32) -> bool {
        self.listing.newest() == Some(number)
    }
}

pub(super) fn open_error(file: u32, error: io::Error) -> Error {
    Error::log_read(file, 0, error)
}
