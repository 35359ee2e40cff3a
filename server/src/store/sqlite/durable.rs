//! A start makes sure that what it found is on disk.

use std::fs::File;
use std::path::Path;

use super::{EngineError, FILE, Sqlite, wal};
use crate::faults::planted;

impl Sqlite {
    /// Opens the database to write, as the first of this process, and puts what is in it on the disk.
    ///
    /// The last process may have died between writing a commit and syncing it, or because syncing failed. What it wrote can
    /// then be read back from memory, although the disk may never have had it, and no later sync need write it. So nothing
    /// that stands in the write-ahead file is taken for durable: its pages are written into the database file once
    /// more, and that is synced. Only then may a known id be answered, or a commit be appended.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] if acknowledged commits cannot be read any more; else as [`Sqlite::open`].
    pub(in crate::store) fn open_first(folder: &Path) -> Result<Self, EngineError> {
        if !planted("damaged-write-ahead-file-read") {
            wal::check(&folder.join(format!("{FILE}-wal")))?;
        }
        let sqlite = Self::open(folder)?;
        if !planted("write-ahead-file-trusted") {
            sqlite.move_write_ahead_file()?;
        }
        // SQLite syncs the folder when it makes a file, but does not look whether that succeeded.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(EngineError::FolderFailed)?;
        Ok(sqlite)
    }

    /// Moves the content of the write-ahead file into the database file and empties it.
    fn move_write_ahead_file(&self) -> Result<(), EngineError> {
        let counts = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let (frames, moved) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], counts)?;
        if frames == moved {
            return Ok(());
        }
        let why =
            "another program is reading the database, so that the write-ahead file cannot be emptied: end it first";
        Err(EngineError::Unusable(why.to_owned()))
    }
}
