//! The error of every subcommand: one plain line that names the file, the VLSN or the option concerned.

use std::fmt::{self, Display};
use std::path::Path;

/// A failure, as one line of plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this text; line breaks in it become spaces.
    pub fn new(text: impl Display) -> Self {
        let text = text.to_string();
        Self(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// An error about a file or directory.
    pub fn at(path: &Path, reason: impl Display) -> Self {
        Self::new(format_args!("{}: {reason}", path.display()))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
