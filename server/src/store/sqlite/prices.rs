//! The versions of the table of prices, each with a checksum of its own: they are many and large, and a change of the catalogue
//! reads none of those before it.

use metergate_rules::time::Time;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::rows::write_catalogue_checksum;
use super::{EngineError, Sqlite, unreadable};
use crate::catalogue::price::StoredPrices;
use crate::store::seal::checksum;

/// What is read of a version, and its checksum.
type Version = (i64, String, i64, i64);

/// What stands in the column `checksum`.
fn checksum_of(version: i64, prices: &str, changed_at: i64) -> i64 {
    i64::from(checksum(&[&version.to_le_bytes(), &changed_at.to_le_bytes()], prices.as_bytes()))
}

/// Writes a version, in the transaction that is open.
pub(super) fn write_prices(transaction: &Transaction<'_>, table: &StoredPrices, at: Time) -> Result<(), EngineError> {
    let text = serde_json::to_string(&*table.prices).map_err(|error| unreadable("a definition", error))?;
    let (version, changed) = (table.version.cast_signed(), table.changed_at.unwrap_or(at).micros());
    let sql = "INSERT INTO prices (version, prices, changed_at, checksum) VALUES (?, ?, ?, ?)";
    let sum = checksum_of(version, &text, changed);
    transaction.prepare_cached(sql)?.execute((version, text, changed, sum))?;
    Ok(())
}

/// Gives the versions of a store from before them their checksums, and the catalogue one that does without them.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    let versions = versions(transaction)?;
    for (version, prices, changed_at, _) in &versions {
        let sum = checksum_of(*version, prices, *changed_at);
        transaction.execute("UPDATE prices SET checksum = ?2 WHERE version = ?1", (version, sum))?;
    }
    if versions.is_empty() { Ok(()) } else { write_catalogue_checksum(transaction) }
}

fn versions(connection: &Connection) -> Result<Vec<Version>, EngineError> {
    let mut query =
        connection.prepare_cached("SELECT version, prices, changed_at, checksum FROM prices ORDER BY version")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The `nth` of all, none of which ever goes.
fn read(nth: u64, (version, text, changed_at, sum): Version) -> Result<StoredPrices, EngineError> {
    let follows = u64::try_from(version) == Ok(nth);
    if !follows || sum != checksum_of(version, &text, changed_at) {
        let why = "its checksum does not match, or one before it is missing: the stored bytes have changed";
        return Err(unreadable(format!("version {version} of the prices"), why));
    }
    let prices = serde_json::from_str(&text).map_err(|error| unreadable("the table of prices", error))?;
    Ok(StoredPrices { version: nth, prices, changed_at: Some(Time::from_micros(changed_at)) })
}

impl Sqlite {
    /// A version of the table of prices.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read, or is not what was written.
    pub(super) fn price_version(&self, version: u64) -> Result<Option<StoredPrices>, EngineError> {
        let sql = "SELECT version, prices, changed_at, checksum FROM prices WHERE version = ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let row =
            query.query_row([version.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        row.optional()?.map(|found| read(version, found)).transpose()
    }

    /// All versions of the table of prices, the oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read, or are not what was written.
    pub(in crate::store) fn price_versions(&self) -> Result<Vec<StoredPrices>, EngineError> {
        (1..).zip(versions(&self.connection)?).map(|(nth, version)| read(nth, version)).collect()
    }
}
