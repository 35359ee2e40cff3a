//! The rows of use of all organizations together.

use std::collections::HashSet;

use metergate_rules::account::Account;
use metergate_rules::id::{MeterId, OrganizationId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::derived::each_stored;
use super::{EngineError, Sqlite, unreadable};
use crate::store::rollup::{Day, Slot};
use crate::store::seal::{seal, unseal};
use crate::store::totals::{OfDay, Totals};

fn sealed((meter, day): OfDay, slot: &Slot) -> Result<Vec<u8>, EngineError> {
    let content = postcard::to_allocvec(slot).map_err(|error| unreadable("use of all organizations", error))?;
    Ok(seal(&[&meter.0.to_le_bytes(), &day.to_le_bytes()], &content))
}

fn unsealed((meter, day): OfDay, data: &[u8]) -> Result<Slot, EngineError> {
    let what = || format!("use of meter {} by all organizations together on day {day}", meter.0);
    let broken = |why: &dyn std::fmt::Display| unreadable(what(), why);
    let content = unseal(&[&meter.0.to_le_bytes(), &day.to_le_bytes()], data).map_err(|error| broken(&error))?;
    postcard::from_bytes(content).map_err(|error| broken(&error))
}

/// Adds to the rows. One that is damaged stays as it is, and is found at the next start: an overview holds up no commit.
pub(super) fn write_totals(transaction: &Transaction<'_>, more: &Totals) -> Result<(), EngineError> {
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
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    write_totals(transaction, &added_up(transaction, |row| row)?)
}

/// What the rollups of all organizations that are there, but those for tests, come to. `seen` hears of every account and
/// every rollup, and of those that cannot be read why.
fn added_up<E: From<EngineError>>(
    connection: &Connection,
    mut seen: impl FnMut(Result<(), EngineError>) -> Result<(), E>,
) -> Result<Totals, E> {
    let (mut real, mut totals) = (HashSet::new(), Totals::default());
    let sql = "SELECT id, sequence, data FROM accounts";
    let mut accounts = connection.prepare(sql).map_err(EngineError::from)?;
    let mut rows = accounts.query([]).map_err(EngineError::from)?;
    while let Some(row) = rows.next().map_err(EngineError::from)? {
        let account = account(row);
        real.extend(account.as_ref().ok().filter(|account| !account.profile.test).map(|account| account.id));
        seen(account.map(drop))?;
    }
    each_stored(connection, |row| {
        seen(row.and_then(|(row, data)| {
            let total = Day::total(data).map_err(|error| unreadable("a rollup", error))?;
            if real.contains(&row.organization) {
                totals.add((row.meter, row.day), &total);
            }
            Ok(())
        }))
    })?;
    Ok(totals)
}

fn account(row: &Row<'_>) -> Result<Account, EngineError> {
    let (id, sequence, data) = (row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, Vec<u8>>(2)?);
    let broken =
        |why: &dyn std::fmt::Display| unreadable(format!("the account of organization {}", OrganizationId(id)), why);
    let content = unseal(&[&id, &sequence.to_le_bytes()], &data).map_err(|error| broken(&error))?;
    postcard::from_bytes(content).map_err(|error| broken(&error))
}

impl Sqlite {
    /// Use of all organizations together, as far as the rows of accounts go.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] if a row is not what was written.
    pub fn totals(&self) -> Result<Totals, EngineError> {
        let mut totals = Totals::default();
        self.each_total(|row| row.map(|(of, slot)| totals.add(of, &slot)))?;
        Ok(totals)
    }

    /// The same row by row; of those that cannot be read it says why.
    pub(in crate::store) fn each_total(
        &self,
        mut each: impl FnMut(Result<(OfDay, Slot), EngineError>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut query = self.connection.prepare_cached("SELECT meter, day, data FROM fleet_usage")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let of = (MeterId(row.get(0)?), row.get(1)?);
            let slot = unsealed(of, row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?);
            each(slot.map(|slot| (of, slot)))?;
        }
        Ok(())
    }

    /// What [`Self::totals`] is where nothing has been deleted, added up from the rollups. `seen` hears of every account and
    /// every rollup, and of those that cannot be read why.
    pub(in crate::store) fn added_up<E: From<EngineError>>(
        &self,
        seen: impl FnMut(Result<(), EngineError>) -> Result<(), E>,
    ) -> Result<Totals, E> {
        added_up(&self.connection, seen)
    }
}
