//! Backups: a consistent copy of a store, made while it is being written, and what becomes a store again from it.
//!
//! ```text
//! <name>/
//!   metergate.sqlite      the database as it was at one instant
//!   slices/               the closed slices that it names
//!   backup.json           what was copied and counted, with the digest of every file; written last
//! ```
//!
//! A backup is built under another name, examined as `metergate doctor` examines a store, and renamed when all of it is on
//! disk: whatever has its name and its `backup.json` is whole. [`restore`] checks it again before it becomes a store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use metergate_rules::time::{SECOND, Time};

use crate::store::error::EngineError;

mod copy;
mod file;
mod make;
mod manifest;
mod partial;
mod restore;

pub use make::make;
pub use manifest::{FILE as MANIFEST, FileEntry, Manifest};
pub use partial::sweep;
pub use restore::{RestoreError, Restored, restore};

/// In a data folder or a backup: the closed slices.
pub const SLICES: &str = "slices";
/// In a data folder: the backups, unless they go elsewhere.
pub const BACKUPS: &str = "backups";
/// The longest name in bytes.
const MOST_NAME: usize = 64;

/// The name of a backup: letters, digits, `.`, `_` and `-`, the first a letter or digit, so that it names one folder and no
/// other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// The text is no name of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MOST_NAME} letters, digits, '.', '_' or '-', and begin with a letter or digit")]
pub struct InvalidName;

impl Name {
    /// # Errors
    /// [`InvalidName`] where it could name anything but a folder.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_name = begins && text.len() <= MOST_NAME && text.bytes().all(fits);
        if is_name { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }

    /// The name of a backup that is given none: the second in which it began, such as `2026-11-22T21-38-18Z`.
    pub fn at(time: Time) -> Self {
        Self(time.floor(SECOND).to_string().replace(':', "-"))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is told how far a backup is, and may end it.
pub trait Watch {
    /// So many bytes are to be read and written.
    fn total(&self, bytes: u64);
    /// So many more are.
    fn advance(&self, bytes: u64);
    /// Whether to go on.
    fn goes_on(&self) -> bool;
}

/// Nobody.
pub struct Unwatched;

impl Watch for Unwatched {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn goes_on(&self) -> bool {
        true
    }
}

/// Why there is no backup. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Its name is taken.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// Another process makes one of the same name.
    #[error("{0} is being made by another metergate")]
    InProgress(PathBuf),
    /// The path names no folder that could be made.
    #[error("{0} does not name a folder that could be made")]
    NoName(PathBuf),
    /// The server is being stopped.
    #[error("it was stopped before its end")]
    Stopped,
    /// What was copied is not sound, and so the store is not.
    #[error("the store is damaged, so there is no backup of it: {}", .0.join("; "))]
    Damaged(Vec<String>),
    /// The database cannot be read, or its copy not written.
    #[error(transparent)]
    Store(#[from] EngineError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Whether a backup is on the file system of the data: what takes the one, takes both.
pub fn is_beside(data: &Path, backup: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (data.metadata(), backup.metadata()) {
        (Ok(data), Ok(backup)) => data.dev() == backup.dev(),
        _ => false,
    }
}

/// For `map_err`: which file it was.
fn of(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    |source| BackupError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
