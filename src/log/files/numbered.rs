//! An open log file with its number: what fails there is an error that says where.

use std::io;
use std::sync::Arc;

use super::{FileIdentity, Files, LogFile, if_there};
use crate::error::{Error, HeaderFault, Result};
use crate::log::format::{FILE_HEADER_LEN_V3, FileHeader};

/// See the module's comment.
#[derive(Clone)]
pub struct NumberedFile {
    /// What it is called by.
    pub number: u32,
    file: Arc<dyn LogFile>,
}

#[allow(clippy::len_without_is_empty, reason = "as for `LogFile`")]
impl NumberedFile {
    /// Opens file `number`; `None` if there is no such file.
    pub fn open(files: &dyn Files, number: u32) -> Result<Option<NumberedFile>> {
        let file = if_there(files.open(number)).map_err(|error| Error::log_read(number, 0, error))?;
        Ok(file.map(|file| NumberedFile { number, file }))
    }

    /// Its header, or what is wrong with it.
    pub fn header(&self) -> Result<Result<FileHeader, HeaderFault>> {
        let mut bytes = [0; FILE_HEADER_LEN_V3];
        let read = self.read_at(&mut bytes, 0)?;
        Ok(FileHeader::parse(&bytes[..read], self.number))
    }

    /// As [`LogFile::read_at`].
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.read_some_at(into, offset, usize::MAX)
    }

    /// As [`LogFile::read_some_at`].
    pub fn read_some_at(&self, into: &mut [u8], offset: u64, least: usize) -> Result<usize> {
        self.file.read_some_at(into, offset, least).map_err(|error| self.failed_at(offset, error))
    }

    /// As [`LogFile::len`].
    pub fn len(&self) -> Result<u64> {
        self.file.len().map_err(|error| self.failed_at(0, error))
    }

    /// As [`LogFile::identity`].
    pub fn identity(&self) -> Result<FileIdentity> {
        self.file.identity().map_err(|error| self.failed_at(0, error))
    }

    /// That something at `offset` failed.
    pub fn failed_at(&self, offset: u64, error: impl Into<io::Error>) -> Error {
        Error::log_read(self.number, offset, error.into())
    }

    #[cfg(test)]
    pub(crate) fn of(file: Arc<dyn LogFile>) -> NumberedFile {
        NumberedFile { number: 0, file }
    }
}
