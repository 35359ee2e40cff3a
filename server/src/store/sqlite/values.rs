//! The values that `uniqueCount` meters saw: a row for each value and bucket of time, with a checksum over its columns, and
//! the index by time, which leads to the rows.
//!
//! A row whose key has changed on the disk still stands where it was, and so does an entry of the index. Who looks for values
//! therefore also looks at what stands on both sides of those that were found, as with rollups.

use std::collections::BTreeMap;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::ValueHash;
use metergate_rules::time::{Span, Time};
use rusqlite::{Params, Row, Transaction};

use super::{EngineError, Sqlite, unreadable};
use crate::faults::planted;
use crate::store::block::Unreadable;
use crate::store::rollup::ValueKey;
use crate::store::seal::checksum;

/// The rows, in the order of their keys.
macro_rules! rows {
    ($rest:literal) => {
        concat!("SELECT organization, meter, value, bucket, count, checksum FROM unique_values ", $rest)
    };
}

/// The entries of the index by time with the rows that they lead to; where there is none, its columns are null.
macro_rules! by_time {
    ($rest:literal) => {
        concat!(
            "SELECT entry.organization, entry.meter, entry.value, entry.bucket, held.count, held.checksum
             FROM unique_values AS entry INDEXED BY unique_values_by_time
             LEFT JOIN unique_values AS held ON held.organization = entry.organization AND held.meter = entry.meter
             AND held.value = entry.value AND held.bucket = entry.bucket ",
            $rest
        )
    };
}

/// What stands beside a place: the row before it, the one at it or after it, the one after it.
const BEFORE: &str = rows!(
    "WHERE (organization, meter, value, bucket) < (?, ?, ?, ?)
     ORDER BY organization DESC, meter DESC, value DESC, bucket DESC LIMIT 1"
);
const FROM: &str = rows!(
    "WHERE (organization, meter, value, bucket) >= (?, ?, ?, ?) ORDER BY organization, meter, value, bucket LIMIT 1"
);
const AFTER: &str = rows!(
    "WHERE (organization, meter, value, bucket) > (?, ?, ?, ?) ORDER BY organization, meter, value, bucket LIMIT 1"
);

/// The same by time.
const BEFORE_TIME: &str = by_time!(
    "WHERE (entry.organization, entry.meter, entry.bucket) < (?, ?, ?)
     ORDER BY entry.organization DESC, entry.meter DESC, entry.bucket DESC, entry.value DESC LIMIT 1"
);
const FROM_TIME: &str = by_time!(
    "WHERE (entry.organization, entry.meter, entry.bucket) >= (?, ?, ?)
     ORDER BY entry.organization, entry.meter, entry.bucket, entry.value LIMIT 1"
);
const AFTER_TIME: &str = by_time!(
    "WHERE (entry.organization, entry.meter, entry.bucket, entry.value) > (?, ?, ?, ?)
     ORDER BY entry.organization, entry.meter, entry.bucket, entry.value LIMIT 1"
);

/// What stands in the column `checksum`.
fn checksum_of(key: &ValueKey, count: i64) -> u32 {
    let (meter, bucket) = (key.meter.0.to_le_bytes(), key.bucket.micros().to_le_bytes());
    checksum(&[key.organization.bytes(), &meter, &key.value.0, &bucket], &count.to_le_bytes())
}

/// The columns by which a row is found.
const fn place(key: &ValueKey) -> ([u8; 16], u32, [u8; 16], i64) {
    (key.organization.0, key.meter.0, key.value.0, key.bucket.micros())
}

/// All columns of a row.
fn columns(key: &ValueKey, count: i64) -> ([u8; 16], u32, [u8; 16], i64, i64, u32) {
    let (organization, meter, value, bucket) = place(key);
    (organization, meter, value, bucket, count, checksum_of(key, count))
}

fn key(row: &Row<'_>) -> Result<ValueKey, EngineError> {
    Ok(ValueKey {
        organization: OrganizationId(row.get(0)?),
        meter: MeterId(row.get(1)?),
        value: ValueHash(row.get(2)?),
        bucket: Time::from_micros(row.get(3)?),
    })
}

/// A row with its count.
fn checked(row: &Row<'_>) -> Result<(ValueKey, i64), EngineError> {
    let key = key(row)?;
    let count: Option<i64> = row.get(4)?;
    let Some(count) = count else { return Err(broken(&key, &"its row is not there")) };
    if row.get::<_, u32>(5)? == checksum_of(&key, count) || planted("checksums-ignored") {
        return Ok((key, count));
    }
    Err(broken(&key, &Unreadable::Checksum))
}

fn broken(key: &ValueKey, why: &dyn std::fmt::Display) -> EngineError {
    unreadable(format!("a value of organization {}", key.organization), why)
}

/// Adds to the rows.
pub(super) fn write_values(transaction: &Transaction<'_>, more: &BTreeMap<ValueKey, i64>) -> Result<(), EngineError> {
    let sql = "INSERT INTO unique_values (organization, meter, value, bucket, count, checksum)
               VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let mut insert = transaction.prepare_cached(sql)?;
    for (key, count) in more {
        if insert.execute(columns(key, *count))? == 0 {
            add(transaction, key, *count)?;
        }
    }
    Ok(())
}

/// Adds to a row that is there.
fn add(transaction: &Transaction<'_>, key: &ValueKey, more: i64) -> Result<(), EngineError> {
    let sql = rows!("WHERE organization = ? AND meter = ? AND value = ? AND bucket = ?");
    let (_, count) = transaction.prepare_cached(sql)?.query_row(place(key), |row| Ok(checked(row)))??;
    update(transaction, key, count + more)
}

fn update(transaction: &Transaction<'_>, key: &ValueKey, count: i64) -> Result<(), EngineError> {
    let sql = "UPDATE unique_values SET count = ?5, checksum = ?6
               WHERE organization = ?1 AND meter = ?2 AND value = ?3 AND bucket = ?4";
    transaction.prepare_cached(sql)?.execute(columns(key, count))?;
    Ok(())
}

/// Gives the rows of a store from before them their checksums.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    let sql = rows!(
        "WHERE (organization, meter, value, bucket) > (?, ?, ?, ?)
         ORDER BY organization, meter, value, bucket LIMIT 1000"
    );
    let mut select = transaction.prepare(sql)?;
    let (organization, value) = (OrganizationId([0; 16]), ValueHash([0; 16]));
    let mut last = ValueKey { organization, meter: MeterId(0), value, bucket: Time::MIN };
    loop {
        let mut rows = select.query(place(&last))?;
        let mut some = Vec::new();
        while let Some(row) = rows.next()? {
            some.push((key(row)?, row.get(4)?));
        }
        for (key, count) in &some {
            update(transaction, key, *count)?;
        }
        let Some((key, _)) = some.pop() else { return Ok(()) };
        last = key;
    }
}

impl Sqlite {
    /// Whether a value was seen in `[from, to)`, with how often it was beside what the rows say, by bucket.
    pub(in crate::store) fn is_seen(
        &self,
        from: ValueKey,
        to: Time,
        beside: impl IntoIterator<Item = (Time, i64)>,
    ) -> Result<bool, EngineError> {
        let mut counts: BTreeMap<Time, i64> = BTreeMap::new();
        beside.into_iter().for_each(|(bucket, count)| *counts.entry(bucket).or_default() += count);
        if counts.values().any(|count| *count > 0) {
            return Ok(true);
        }
        // As with rollups: the columns are compared one by one.
        let sql =
            rows!("WHERE organization = ? AND meter = ? AND value = ? AND bucket >= ? AND bucket < ? ORDER BY bucket");
        let (organization, meter, value, first) = place(&from);
        let mut query = self.connection.prepare_cached(sql)?;
        let (mut rows, mut last) = (query.query((organization, meter, value, first, to.micros()))?, None);
        while let Some(row) = rows.next()? {
            let (key, count) = checked(row)?;
            if count + counts.get(&key.bucket).copied().unwrap_or(0) > 0 {
                return Ok(true);
            }
            last = Some(key);
        }
        self.look_at(BEFORE, place(&from))?;
        self.look_at(if last.is_some() { AFTER } else { FROM }, place(&last.unwrap_or(from)))?;
        Ok(false)
    }

    /// The values that a meter saw in a span and how often, in order of bucket and value.
    pub(in crate::store) fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        mut each: impl FnMut(Time, [u8; 16], i64),
    ) -> Result<(), EngineError> {
        let start = (organization.0, meter.0, span.start.micros());
        self.look_at(BEFORE_TIME, start)?;
        let sql = by_time!(
            "WHERE entry.organization = ? AND entry.meter = ? AND entry.bucket >= ? AND entry.bucket < ?
             ORDER BY entry.bucket, entry.value"
        );
        let mut query = self.connection.prepare_cached(sql)?;
        let (mut rows, mut last) = (query.query((start.0, start.1, start.2, span.end.micros()))?, None);
        while let Some(row) = rows.next()? {
            let (key, count) = checked(row)?;
            // An entry that has changed may lead to another's row.
            if last.replace(key).is_some_and(|last| (last.bucket, last.value) >= (key.bucket, key.value)) {
                return Err(broken(&key, &"the index by time is out of order"));
            }
            each(key.bucket, key.value.0, count);
        }
        match last {
            Some(key) => self.look_at(AFTER_TIME, (start.0, start.1, key.bucket.micros(), key.value.0)),
            None => self.look_at(FROM_TIME, start),
        }
    }

    /// Looks at the row that a statement finds, if there is one.
    fn look_at(&self, sql: &str, place: impl Params) -> Result<(), EngineError> {
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query(place)?;
        rows.next()?.map_or(Ok(()), |row| checked(row).map(drop))
    }

    /// Goes through all rows; of those that cannot be read it says why.
    pub(in crate::store) fn each_value_row<E: From<EngineError>>(
        &self,
        mut each: impl FnMut(Result<ValueKey, EngineError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut query = self.connection.prepare(rows!("")).map_err(EngineError::from)?;
        let mut rows = query.query([]).map_err(EngineError::from)?;
        while let Some(row) = rows.next().map_err(EngineError::from)? {
            each(checked(row).map(|(key, _)| key))?;
        }
        Ok(())
    }

    /// Goes through all entries of the index by time.
    pub(in crate::store) fn each_value_by_time<E: From<EngineError>>(
        &self,
        mut each: impl FnMut(ValueKey) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT organization, meter, value, bucket FROM unique_values INDEXED BY unique_values_by_time
                   ORDER BY organization, meter, bucket, value";
        let mut query = self.connection.prepare(sql).map_err(EngineError::from)?;
        let mut rows = query.query([]).map_err(EngineError::from)?;
        while let Some(row) = rows.next().map_err(EngineError::from)? {
            each(key(row)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
