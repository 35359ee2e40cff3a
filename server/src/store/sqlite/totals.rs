//! The rows of use of all organizations together.

use std::collections::HashSet;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId};
use rusqlite::{OptionalExtension, Row, Transaction};

use super::derived::each_stored;
use super::{Sqlite, SqliteError, unreadable};
use crate::store::rollup::{Day, Slot};
use crate::store::seal::{seal, unseal};
use crate::store::totals::{OfDay, Totals};

fn sealed((meter, day): OfDay, slot: &Slot) -> Result<Vec<u8>, SqliteError> {
    let content = postcard::to_allocvec(slot).map_err(|error| unreadable("use of all organizations", error))?;
    Ok(seal(&[&meter.0.to_le_bytes(), &day.to_le_bytes()], &content))
}

fn unsealed((meter, day): OfDay, data: &[u8]) -> Result<Slot, SqliteError> {
    let broken = |why: &dyn std::fmt::Display| unreadable("use of all organizations together", why);
    let content = unseal(&[&meter.0.to_le_bytes(), &day.to_le_bytes()], data).map_err(|error| broken(&error))?;
    postcard::from_bytes(content).map_err(|error| broken(&error))
}

/// Adds to the rows. One that is damaged stays as it is, and is found at the next start: an overview holds up no commit.
pub(super) fn write_totals(transaction: &Transaction<'_>, more: &Totals) -> Result<(), SqliteError> {
    for (of, slot) in more.iter() {
        let key = (of.0.0, of.1);
        let mut read = transaction.prepare_cached("SELECT data FROM fleet_usage WHERE meter = ? AND day = ?")?;
        let stored = read.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?;
        let mut all = match stored.map(|data| unsealed(of, &data)).transpose() {
            Ok(stored) => stored.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "a row is left as it is");
                continue;
            }
        };
        all.merge(slot);
        let sql = "INSERT OR REPLACE INTO fleet_usage (meter, day, data) VALUES (?, ?, ?)";
        transaction.prepare_cached(sql)?.execute((key.0, key.1, sealed(of, &all)?))?;
    }
    Ok(())
}

/// Makes the rows from the rollups of all organizations.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    let (mut tests, mut totals) = (HashSet::new(), Totals::default());
    let mut accounts = transaction.prepare("SELECT id, sequence, data FROM accounts")?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        let (id, sequence, data) = (row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?);
        let broken = |why: &dyn std::fmt::Display| unreadable("an account", why);
        let content = unseal(&[&id, &sequence.to_le_bytes()], &data).map_err(|error| broken(&error))?;
        let account: Account = postcard::from_bytes(content).map_err(|error| broken(&error))?;
        if account.profile.test {
            tests.insert(OrganizationId(id));
        }
    }
    each_stored(transaction, |row, data| {
        if !tests.contains(&row.organization) {
            let total = Day::total(data).map_err(|error| unreadable("a rollup", error))?;
            totals.add((row.meter, row.day), &total);
        }
        Ok(())
    })?;
    write_totals(transaction, &totals)
}

impl Sqlite {
    /// Use of all organizations together, as far as the rows of accounts go.
    ///
    /// # Errors
    /// [`SqliteError::Unreadable`] if a row is not what was written.
    pub fn totals(&self) -> Result<Totals, SqliteError> {
        let mut query = self.connection.prepare_cached("SELECT meter, day, data FROM fleet_usage")?;
        let read = |row: &Row<'_>| Ok(((MeterId(row.get(0)?), row.get(1)?), row.get::<_, Vec<u8>>(2)?));
        let mut totals = Totals::default();
        for row in query.query_map([], read)? {
            let (of, data) = row?;
            totals.add(of, &unsealed(of, &data)?);
        }
        Ok(totals)
    }
}
