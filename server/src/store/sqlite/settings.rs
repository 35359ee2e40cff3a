//! Single values, each with a checksum behind it: a changed one would move the fold or the hashes of values.

use rusqlite::{Connection, OptionalExtension};

use super::{EngineError, Sqlite, unreadable};

/// Before the checksum.
const SEPARATOR: char = ' ';

impl Sqlite {
    /// A single stored value.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<String>, EngineError> {
        get(&self.connection, name)
    }

    /// Keeps a single value, in a commit of its own.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be written.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<(), EngineError> {
        set(&self.connection, name, value)
    }
}

/// A single stored value.
fn get(connection: &Connection, name: &str) -> Result<Option<String>, EngineError> {
    let mut query = connection.prepare_cached("SELECT value FROM settings WHERE name = ?")?;
    let Some(stored) = query.query_row([name], |row| row.get::<_, String>(0)).optional()? else { return Ok(None) };
    let value = stored.rsplit_once(SEPARATOR).map_or("", |(value, _)| value);
    if with_checksum(name, value) != stored {
        return Err(unreadable(format!("the setting {name}"), "its checksum does not match"));
    }
    Ok(Some(value.to_owned()))
}

/// A single stored value that is a number; without one it is 0.
pub(super) fn number(connection: &Connection, name: &str) -> Result<u64, EngineError> {
    let text = get(connection, name)?.unwrap_or_else(|| "0".to_owned());
    text.parse().map_err(|error| unreadable(format!("the setting {name}"), error))
}

/// Keeps a single value, in the transaction that is open.
pub(super) fn set(connection: &Connection, name: &str, value: &str) -> Result<(), EngineError> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)")?;
    insert.execute((name, with_checksum(name, value)))?;
    Ok(())
}

fn with_checksum(name: &str, value: &str) -> String {
    format!("{value}{SEPARATOR}{:08x}", crc32fast::hash(format!("{name}={value}").as_bytes()))
}
