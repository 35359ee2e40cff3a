//! The embedded store: one SQLite database in the data folder, opened by one writer.
//!
//! WAL with `synchronous=FULL`: a commit is on disk when it returns. Both are read back at every open, since SQLite
//! ignores a pragma that it cannot honour.

use std::path::Path;

use metergate_rules::account::Account;
use metergate_rules::audit::Hash;
use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::time::Time;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::ledger::Head;
use super::{Answer, ReceiptKey};
use crate::faults::planted;

mod derived;
mod durable;
mod error;
mod migrate;
mod rows;
mod wal;
mod write;

pub(super) use derived::find_rollup;
pub use error::SqliteError;
pub(super) use write::Commit;

/// The name of the database in the data folder.
pub const FILE: &str = "metergate.sqlite";
/// The format of the `accounts.data` that is written.
const ACCOUNT_VERSION: u8 = 1;

pub(super) fn unreadable(what: impl Into<String>, why: impl std::fmt::Display) -> SqliteError {
    SqliteError::Unreadable { what: what.into(), why: why.to_string() }
}

/// A connection to the database.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the database to write, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`SqliteError::Unusable`] if it cannot be made durable or a later program wrote it.
    pub fn open(folder: &Path) -> Result<Self, SqliteError> {
        let mut connection = Connection::open(folder.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        // A thread of its own copies the write-ahead file into the database (`store/checkpoint.rs`).
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        connection.set_prepared_statement_cache_capacity(64);
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
    /// [`SqliteError`] if it cannot be opened, or would not be durable.
    pub(super) fn open_to_checkpoint(folder: &Path) -> Result<Self, SqliteError> {
        let connection = Connection::open_with_flags(folder.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        assert_durable(&connection)?;
        Ok(Self { connection })
    }

    /// Copies what it can of the write-ahead file into the database without waiting for anybody.
    ///
    /// # Errors
    /// [`SqliteError`] if the disk fails.
    pub(super) fn checkpoint(&self) -> Result<(), SqliteError> {
        Ok(self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
    }

    /// Opens the database to read beside the writer.
    ///
    /// # Errors
    /// [`SqliteError::Sqlite`] if it cannot be opened.
    pub fn open_to_read(folder: &Path) -> Result<Self, SqliteError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Self { connection })
    }

    /// The connection, for reports.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// An organization's account.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be read.
    pub fn account(&self, id: OrganizationId) -> Result<Option<Account>, SqliteError> {
        Ok(self.account_row(id)?.map(|(_, account)| account))
    }

    /// An organization's account with the last block that is in it.
    pub(super) fn account_row(&self, id: OrganizationId) -> Result<Option<(u64, Account)>, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT sequence, data FROM accounts WHERE id = ?")?;
        let found = query.query_row([id.bytes()], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))).optional()?;
        let decode = |(sequence, data): (i64, Vec<u8>)| match data.split_first() {
            Some((&ACCOUNT_VERSION, rest)) => match postcard::from_bytes(rest) {
                Ok(account) => Ok((sequence.unsigned_abs(), account)),
                Err(error) => Err(unreadable(format!("the account of organization {id}"), error)),
            },
            _ => Err(unreadable(format!("the account of organization {id}"), "unknown format")),
        };
        found.map(decode).transpose()
    }

    /// The last block that is in an organization's row.
    pub(super) fn account_sequence(&self, id: OrganizationId) -> Result<Option<u64>, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT sequence FROM accounts WHERE id = ?")?;
        Ok(query.query_row([id.bytes()], |row| row.get::<_, i64>(0)).optional()?.map(i64::unsigned_abs))
    }

    /// The organization of a key.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be read.
    pub fn organization_id(&self, key: &OrganizationKey) -> Result<Option<OrganizationId>, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT id FROM organizations WHERE key = ?")?;
        Ok(query.query_row([key.as_str()], |row| row.get(0)).optional()?.map(OrganizationId))
    }

    pub(super) fn audit_head(&self, chain: [u8; 16]) -> Result<Head, SqliteError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT sequence, hash FROM audit WHERE chain = ? ORDER BY sequence DESC LIMIT 1")?;
        let head = query.query_row([&chain], |row: &Row<'_>| {
            Ok(Head { sequence: row.get::<_, i64>(0)?.unsigned_abs(), hash: row.get::<_, Hash>(1)? })
        });
        Ok(head.optional()?.unwrap_or(Head::EMPTY))
    }

    /// A kept answer with the fingerprint of its request.
    pub(super) fn receipt(
        &self,
        scope: [u8; 16],
        receipt: &ReceiptKey,
        since: Time,
    ) -> Result<Option<(u64, Answer)>, SqliteError> {
        let mut query = self.connection.prepare_cached(
            "SELECT fingerprint, status, body FROM receipts WHERE scope = ? AND route = ? AND key = ? AND at >= ?",
        )?;
        let read = |row: &Row<'_>| {
            let answer = Answer { status: row.get(1)?, body: row.get(2)?, version: None };
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), answer))
        };
        Ok(query.query_row((&scope, receipt.route, receipt.key.as_str(), since.micros()), read).optional()?)
    }

    /// A stored block.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be read.
    pub fn block(&self, sequence: u64) -> Result<Option<Vec<u8>>, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT data FROM blocks WHERE sequence = ?")?;
        Ok(query.query_row([sequence.cast_signed()], |row| row.get(0)).optional()?)
    }

    /// The last block and the time of its commit.
    pub(super) fn last_block(&self) -> Result<(u64, Time), SqliteError> {
        let mut query = self.connection.prepare("SELECT sequence, at FROM blocks ORDER BY sequence DESC LIMIT 1")?;
        let last =
            query.query_row([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), Time::from_micros(row.get(1)?))));
        Ok(last.optional()?.unwrap_or((0, Time::MIN)))
    }

    /// Goes through the blocks after `sequence`, in order.
    pub(super) fn each_block_after<E: From<SqliteError>>(
        &self,
        sequence: u64,
        mut each: impl FnMut(u64, Time, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT sequence, at, data FROM blocks WHERE sequence > ? ORDER BY sequence";
        let mut query = self.connection.prepare(sql).map_err(SqliteError::from)?;
        let mut rows = query.query([sequence.cast_signed()]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            let sequence: i64 = row.get(0).map_err(SqliteError::from)?;
            let at = Time::from_micros(row.get(1).map_err(SqliteError::from)?);
            let data: &[u8] =
                row.get_ref(2).and_then(|data| data.as_blob().map_err(Into::into)).map_err(SqliteError::from)?;
            each(sequence.unsigned_abs(), at, data)?;
        }
        Ok(())
    }

    /// A single stored value.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT value FROM settings WHERE name = ?")?;
        Ok(query.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Keeps a single value, in a commit of its own.
    ///
    /// # Errors
    /// [`SqliteError`] if it cannot be written.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<(), SqliteError> {
        self.connection.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))?;
        Ok(())
    }
}

/// # Errors
/// [`SqliteError::Unusable`] unless every commit will be on disk before it returns.
fn assert_durable(connection: &Connection) -> Result<(), SqliteError> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode == "wal" && synchronous == 2 {
        return Ok(());
    }
    let why = format!(
        "the database cannot be made durable here: journal_mode is {mode} (must be wal), synchronous is {synchronous} \
         (must be 2). Is the data folder on a network file system, or does its disk fail?"
    );
    Err(SqliteError::Unusable(why))
}
