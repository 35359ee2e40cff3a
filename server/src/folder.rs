//! The data folder: one process at a time, and never one that a restore has not finished.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::sqlite;

/// In the data folder: what a restore makes before it is put in force.
pub const RESTORING: &str = "restoring";
/// In the data folder: held by whoever uses it.
pub const LOCK: &str = "lock";

/// Why a data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("another metergate is using the data folder {0}: stop it first, or choose another with METERGATE_DATA_DIR")]
    InUse(PathBuf),
    /// A restore ended before its end.
    #[error(
        "a restore into {0} did not finish: run it again, or remove {RESTORING} there to begin with an empty store"
    )]
    HalfRestored(PathBuf),
    /// There is nothing in it.
    #[error("there is no store in {0}: name its folder with --data-dir or METERGATE_DATA_DIR")]
    NoStore(PathBuf),
    /// It is a file.
    #[error("{0} is no folder: name one with --data-dir or METERGATE_DATA_DIR")]
    NoFolder(PathBuf),
    /// The operating system refuses.
    #[error("{path} cannot be used")]
    File {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The data folder, had for as long as this lives.
#[derive(Debug)]
pub struct Locked {
    _file: File,
}

impl Locked {
    /// For a server: made where it is not there.
    ///
    /// # Errors
    /// [`FolderError`] unless it is this process's now and whole.
    pub fn to_serve(folder: &Path) -> Result<Self, FolderError> {
        let locked = Self::take(folder)?;
        let restoring = folder.join(RESTORING);
        if restoring.exists() && !folder.join(sqlite::FILE).exists() {
            return Err(FolderError::HalfRestored(folder.to_owned()));
        }
        // The database takes its place last: where it is there, the restore was killed after all that matters.
        match fs::remove_dir_all(&restoring) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FolderError::File { path: restoring, source })
            }
            _ => Ok(locked),
        }
    }

    /// For whoever wants what is in it.
    ///
    /// # Errors
    /// [`FolderError::NoStore`] where nothing is, without making anything.
    pub fn with_store(folder: &Path) -> Result<Self, FolderError> {
        if !folder.join(sqlite::FILE).exists() {
            return Err(FolderError::NoStore(folder.to_owned()));
        }
        Self::to_serve(folder)
    }

    /// Whatever is in it; made where it is not there.
    ///
    /// # Errors
    /// [`FolderError`] unless it is this process's now.
    pub fn take(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(LOCK);
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| FolderError::File { path, source }
        };
        if folder.exists() && !folder.is_dir() {
            return Err(FolderError::NoFolder(folder.to_owned()));
        }
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let file = File::create(&path).map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(&path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_data_folder_and_the_error_says_so_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Locked::take(file.path()).unwrap_err();
        assert!(
            error.to_string().ends_with(" is no folder: name one with --data-dir or METERGATE_DATA_DIR"),
            "{error}"
        );
    }
}
