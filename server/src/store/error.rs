//! What can go wrong with an engine, told apart by what can be done about it.

use rusqlite::{Error, ErrorCode, ffi};

use super::StoreError;
use crate::faults::planted;

/// What can go wrong with an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There was no room. Nothing was written, and the same may succeed once there is some.
    #[error("the disk of the data folder is full: free space on it or make it larger ({0})")]
    Full(Error),
    /// The disk failed. What was written last may or may not be there, and only a new start can tell.
    #[error("the disk of the data folder failed: {0}")]
    DiskFailed(Error),
    /// The disk failed to keep the names of the files in the data folder.
    #[error("the disk of the data folder failed: {0}")]
    FolderFailed(std::io::Error),
    /// The file is not what was written.
    #[error("the database is damaged: restore a backup ({0})")]
    Damaged(Error),
    /// The database refused.
    #[error("the database: {0}")]
    Sqlite(Error),
    /// PostgreSQL refused.
    #[error("PostgreSQL: {0}")]
    Postgres(String),
    /// PostgreSQL has no room.
    #[error("PostgreSQL has no room on its disk: {0}")]
    ServerFull(String),
    /// PostgreSQL found its own data damaged, or has a defect.
    #[error("PostgreSQL cannot read what it stored: {0}")]
    ServerDamaged(String),
    /// PostgreSQL does not answer, or is being stopped. Nothing of the transaction has happened.
    #[error("PostgreSQL cannot be asked now: {0}")]
    Unreachable(String),
    /// The connection was lost while a commit was under way: whether it has happened, only the same ids can tell.
    #[error("whether a commit has happened is not known: {0}")]
    Unknown(String),
    /// Another node was in the way. The same may succeed at once.
    #[error("another node was in the way: {0}")]
    Contended(String),
    /// What was decided on is not what the team's row says any more. The same may succeed at once.
    #[error("what is the team's has changed meanwhile")]
    Outrun,
    /// A value that cannot be stored: the fault of whoever sent it.
    #[error("PostgreSQL does not take a value: {0}")]
    Refused(String),
    /// What is stored cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A connection to PostgreSQL is not one session.
    #[error(
        "a pooler between Metergate and PostgreSQL lends sessions by the transaction or by the statement, and so gives to others \
         what Metergate sets for a session (role, durability of commits, time limits, locks, prepared statements). Let it lend \
         each for as long as the connection lasts (PgBouncer: pool_mode = session), or connect to PostgreSQL itself"
    )]
    Pooled,
    /// The database is not what this program can use.
    #[error("{0}")]
    Unusable(String),
}

impl EngineError {
    /// Whether the disk itself failed. What was written last may or may not be there, and only a new start can tell.
    pub const fn is_disk_failure(&self) -> bool {
        matches!(self, Self::DiskFailed(_) | Self::FolderFailed(_))
    }
}

/// A full disk comes as `SQLITE_FULL`, where a file of the database could not grow, and as an I/O error of its own, where
/// the index of the write-ahead file could not. Both are harmless: what did not fit was not committed, and all that
/// was synced before stays so. `SQLITE_FULL` is never the answer of a sync: those fail as I/O errors.
impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match (error.sqlite_error_code(), extended) {
            (Some(ErrorCode::DiskFull), _) | (_, Some(ffi::SQLITE_IOERR_SHMSIZE)) => Self::Full(error),
            (Some(ErrorCode::SystemIoFailure), _) => Self::DiskFailed(error),
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => Self::Damaged(error),
            _ if is_not_ours(&error) => Self::Damaged(error),
            _ => Self::Sqlite(error),
        }
    }
}

/// Whether a stored value is not of its column's type, or the schema does not fit the program's own statements. Nothing that
/// was written is like that.
const fn is_not_ours(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
            | Error::SqlInputError { .. }
    )
}

/// What a caller is told.
impl From<&EngineError> for StoreError {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Full(_) | EngineError::ServerFull(_) => Self::DiskFull,
            EngineError::Damaged(_) | EngineError::ServerDamaged(_) | EngineError::Unreadable { .. } => Self::Damaged,
            EngineError::Refused(_) => Self::Internal,
            EngineError::Unreachable(_) => Self::Unreached,
            EngineError::Unknown(_) if planted("unknown-told-as-failed") => Self::Internal,
            EngineError::DiskFailed(_)
            | EngineError::FolderFailed(_)
            | EngineError::Sqlite(_)
            | EngineError::Postgres(_)
            | EngineError::Unknown(_)
            | EngineError::Contended(_)
            | EngineError::Outrun
            | EngineError::Pooled
            | EngineError::Unusable(_) => Self::Unavailable,
        }
    }
}

pub(crate) fn unreadable(what: impl Into<String>, why: impl std::fmt::Display) -> EngineError {
    EngineError::Unreadable { what: what.into(), why: why.to_string() }
}
