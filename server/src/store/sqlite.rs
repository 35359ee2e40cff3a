//! The embedded store: one SQLite database in the data folder, opened by one writer.
//!
//! WAL with `synchronous=FULL`: a commit is on disk when it returns. Both are read back at every open, since SQLite
//! ignores a pragma that it cannot honour.

use std::ops::RangeInclusive;
use std::path::Path;

use metergate_rules::account::Account;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::error::{EngineError, unreadable};
use super::seal::unseal;
use crate::faults::planted;

mod audit;
mod cut;
mod day_totals;
mod deletion;
mod derived;
mod durable;
mod find;
mod messages;
mod migrate;
mod outbox;
#[cfg(test)]
mod pages;
mod people;
mod prices;
mod reading;
mod remade;
mod rows;
mod settings;
mod slices;
mod stripe;
mod totals;
mod values;
mod wal;
mod write;

use derived::find_rollup;
pub use migrate::VERSION as SCHEMA;
pub(super) use slices::SliceChange;
pub(super) use write::Commit;

/// The name of the database in the data folder.
pub const FILE: &str = "metergate.sqlite";

/// Statements are prepared once. Without the guarantee that plans stay the same whatever is bound, SQLite prepares some anew
/// at every use: those of reports, which compare integers and order by what follows.
fn keep_prepared(connection: &Connection) -> Result<(), EngineError> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// A connection to the database.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the database to write, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`EngineError::Unusable`] if it cannot be made durable or a later program wrote it.
    pub fn open(folder: &Path) -> Result<Self, EngineError> {
        let mut connection = Connection::open(folder.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        // A thread of its own copies the write-ahead file into the database (`store/checkpoint.rs`).
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        // A page that was damaged is then found when it is read, not when something on it is missed.
        connection.pragma_update(None, "cell_size_check", true)?;
        // What is deleted is overwritten where its page is written anyway; `deletion.rs` also overwrites whole pages.
        connection.execute_batch("PRAGMA secure_delete = FAST")?;
        keep_prepared(&connection)?;
        assert_durable(&connection)?;
        for level in ["off", "normal"] {
            if planted(&format!("synchronous-{level}")) {
                connection.pragma_update(None, "synchronous", level)?;
            }
        }
        migrate::migrate(&mut connection, folder)?;
        Ok(Self { connection })
    }

    /// Opens the database to copy its write-ahead file into it, beside the writer.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be opened, or would not be durable.
    pub(super) fn open_to_checkpoint(folder: &Path) -> Result<Self, EngineError> {
        let connection = Connection::open_with_flags(folder.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        assert_durable(&connection)?;
        Ok(Self { connection })
    }

    /// Copies what it can of the write-ahead file into the database without waiting for anybody.
    ///
    /// # Errors
    /// [`EngineError`] if the disk fails.
    pub(super) fn checkpoint(&self) -> Result<(), EngineError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }

    /// Opens the database to read beside the writer.
    ///
    /// # Errors
    /// [`EngineError::Sqlite`] if it cannot be opened.
    pub fn open_to_read(folder: &Path) -> Result<Self, EngineError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        keep_prepared(&connection)?;
        Ok(Self { connection })
    }

    /// The connection, for reports.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// An organization's account.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn account(&self, id: OrganizationId) -> Result<Option<Account>, EngineError> {
        Ok(self.account_row(id)?.map(|(_, account)| account))
    }

    /// An organization's account with the last block that is in it.
    pub(super) fn account_row(&self, id: OrganizationId) -> Result<Option<(u64, Account)>, EngineError> {
        let broken = |why: &dyn std::fmt::Display| unreadable(format!("the account of organization {id}"), why);
        let mut query = self.connection.prepare_cached("SELECT sequence, data FROM accounts WHERE id = ?")?;
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
        let Some((sequence, data)) = query.query_row([id.bytes()], read).optional()? else {
            let mut listed = self.connection.prepare_cached("SELECT 1 FROM organizations WHERE id = ?")?;
            return if listed.exists([id.bytes()])? { Err(broken(&"it is not there")) } else { Ok(None) };
        };
        let content = unseal(&[id.bytes(), &sequence.to_le_bytes()], &data).map_err(|error| broken(&error))?;
        let account = postcard::from_bytes(content).map_err(|error| broken(&error))?;
        Ok(Some((sequence.unsigned_abs(), account)))
    }

    /// The last block that is in an organization's row.
    pub(super) fn account_sequence(&self, id: OrganizationId) -> Result<Option<u64>, EngineError> {
        let mut query = self.connection.prepare_cached("SELECT sequence FROM accounts WHERE id = ?")?;
        Ok(query.query_row([id.bytes()], |row| row.get::<_, i64>(0)).optional()?.map(i64::unsigned_abs))
    }

    /// A stored block.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn block(&self, sequence: u64) -> Result<Option<Vec<u8>>, EngineError> {
        let mut query = self.connection.prepare_cached("SELECT data FROM blocks WHERE sequence = ?")?;
        Ok(query.query_row([sequence.cast_signed()], |row| row.get(0)).optional()?)
    }

    /// The last block and the time of its commit.
    pub(super) fn last_block(&self) -> Result<(u64, Time), EngineError> {
        let mut query = self.connection.prepare("SELECT sequence, at FROM blocks ORDER BY sequence DESC LIMIT 1")?;
        let last =
            query.query_row([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), Time::from_micros(row.get(1)?))));
        Ok(last.optional()?.unwrap_or((0, Time::MIN)))
    }

    /// The oldest block that is here and not only in a slice.
    pub(super) fn first_block(&self) -> Result<Option<u64>, EngineError> {
        let first =
            self.connection.query_row("SELECT min(sequence) FROM blocks", [], |row| row.get::<_, Option<i64>>(0));
        Ok(first?.map(i64::unsigned_abs))
    }

    /// As many of these blocks, from the first on, as have about so many bytes: at least the first.
    pub(super) fn first_of(&self, blocks: RangeInclusive<u64>, bytes: u64) -> Result<RangeInclusive<u64>, EngineError> {
        let sql = "SELECT sequence, length(data) FROM blocks WHERE sequence BETWEEN ? AND ? ORDER BY sequence";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query((blocks.start().cast_signed(), blocks.end().cast_signed()))?;
        let (mut last, mut sum) = (*blocks.start(), 0);
        while sum < bytes
            && let Some(row) = rows.next()?
        {
            last = row.get::<_, i64>(0)?.unsigned_abs();
            sum += row.get::<_, i64>(1)?.unsigned_abs();
        }
        Ok(*blocks.start()..=last)
    }

    /// Goes through the blocks after `sequence`, in order.
    pub(super) fn each_block_after<E: From<EngineError>>(
        &self,
        sequence: u64,
        each: impl FnMut(u64, Time, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_block_in(sequence + 1..=i64::MAX.unsigned_abs(), each)
    }

    /// Goes through the blocks of a range, in order.
    pub(super) fn each_block_in<E: From<EngineError>>(
        &self,
        range: RangeInclusive<u64>,
        mut each: impl FnMut(u64, Time, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT sequence, at, data FROM blocks WHERE sequence BETWEEN ? AND ? ORDER BY sequence";
        let mut query = self.connection.prepare(sql).map_err(EngineError::from)?;
        let bounds = (range.start().cast_signed(), range.end().cast_signed());
        let mut rows = query.query(bounds).map_err(EngineError::from)?;
        let mut before = None;
        while let Some(row) = rows.next().map_err(EngineError::from)? {
            let sequence: i64 = row.get(0).map_err(EngineError::from)?;
            let at = Time::from_micros(row.get(1).map_err(EngineError::from)?);
            let data: &[u8] =
                row.get_ref(2).and_then(|data| data.as_blob().map_err(Into::into)).map_err(EngineError::from)?;
            if before.is_some_and(|before| sequence != before + 1) {
                return Err(unreadable(format!("the block before block {sequence}"), "it is not there").into());
            }
            before = Some(sequence);
            each(sequence.unsigned_abs(), at, data)?;
        }
        Ok(())
    }
}

/// # Errors
/// [`EngineError::Unusable`] unless every commit will be on disk before it returns.
fn assert_durable(connection: &Connection) -> Result<(), EngineError> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode == "wal" && synchronous == 2 {
        return Ok(());
    }
    let why = format!(
        "the database cannot be made durable here: journal_mode is {mode} (must be wal), synchronous is {synchronous} \
         (must be 2). Is the data folder on a network file system, or does its disk fail?"
    );
    Err(EngineError::Unusable(why))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_prepared_once_however_often_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Sqlite::open(folder.path()).unwrap();
        let reader = Sqlite::open_to_read(folder.path()).unwrap();
        for connection in [writer.connection(), reader.connection()] {
            for day in 0..4 {
                let sql = "SELECT data FROM rollups WHERE organization = ? AND meter = ? AND day BETWEEN ? AND ? ORDER BY day";
                let mut query = connection.prepare_cached(sql).unwrap();
                assert!(!query.exists(([0_u8; 16], 1, day, day + 1)).unwrap());
                assert_eq!(query.get_status(StatementStatus::RePrepare), 0);
            }
        }
    }
}
