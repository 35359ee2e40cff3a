//! The rows that reports are made of: where a rollup's row is, reading rollups and values.

use std::collections::BTreeMap;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::time::{Span, Time};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{Sqlite, SqliteError, unreadable};
use crate::store::rollup::{RollupKey, RollupRow, ValueKey};

/// Sets of dimension values of one organization and meter on one day at most; the rest goes into [`OTHER`].
pub(in crate::store) const MOST_DIMENSIONS: i64 = 1000;
/// What stands for dimension values beyond the cap. No JSON object is written like it.
pub(in crate::store) const OTHER: &str = "other";

const COLUMNS: &str = "SELECT organization, meter, day, dimensions, data FROM rollups";

/// The days of one meter of one organization that are read.
#[derive(Clone, Copy, Debug)]
pub struct RollupRange {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which meter.
    pub meter: MeterId,
    /// The first day, in days since 1970-01-01.
    pub first: i32,
    /// The last one, which is read too.
    pub last: i32,
    /// Which way.
    pub newest_first: bool,
}

/// A way through the rows: how they come, how against it; what is further on than a place, from it on, and back.
struct Way {
    order: &'static str,
    against: &'static str,
    on: &'static str,
    from: &'static str,
    back: &'static str,
}

const OLDEST_FIRST: Way = Way { order: "ASC", against: "DESC", on: ">", from: ">=", back: "<" };
const NEWEST_FIRST: Way = Way { order: "DESC", against: "ASC", on: "<", from: "<=", back: ">" };

const BY_DAY: (&str, &str) = ("(organization, meter, day)", "(?, ?, ?)");
const BY_DIMENSIONS: (&str, &str) = ("(organization, meter, day, dimensions)", "(?, ?, ?, ?)");

/// The row that a rollup goes into: its own, or beyond the cap the one for all others. `more` is how many sets of the
/// day are on their way beside those that have a row.
pub(in crate::store) fn find_rollup<'k>(
    connection: &Connection,
    key: &'k RollupKey,
    more: i64,
) -> Result<(&'k str, Option<Vec<u8>>), SqliteError> {
    let (organization, meter): (&[u8; 16], u32) = (key.organization.bytes(), key.meter.0);
    let sql = "SELECT data FROM rollups WHERE organization = ? AND meter = ? AND day = ? AND dimensions = ?";
    let mut select = connection.prepare_cached(sql)?;
    let mut read = |dimensions: &str| {
        select.query_row((organization, meter, key.day, dimensions), |row| row.get::<_, Vec<u8>>(0)).optional()
    };
    let own = read(&key.dimensions)?;
    if own.is_none() {
        let place = (organization, meter, key.day, &*key.dimensions);
        neighbour(connection, (BY_DIMENSIONS, "<"), "DESC", place)?;
        neighbour(connection, (BY_DIMENSIONS, ">"), "ASC", place)?;
    }
    if own.is_some() || key.dimensions.is_empty() || sets_of(connection, key)? + more < MOST_DIMENSIONS {
        return Ok((&key.dimensions, own));
    }
    Ok((OTHER, read(OTHER)?))
}

fn sets_of(connection: &Connection, key: &RollupKey) -> Result<i64, SqliteError> {
    let sql = "SELECT count(*) FROM rollups WHERE organization = ? AND meter = ? AND day = ? AND dimensions <> 'other'";
    let mut count = connection.prepare_cached(sql)?;
    Ok(count.query_row((key.organization.bytes(), key.meter.0, key.day), |row| row.get(0))?)
}

/// Looks at the row that stands next to a place in some order, if there is one.
fn neighbour(
    connection: &Connection,
    (key, comparison): ((&str, &str), &str),
    order: &str,
    place: impl Params,
) -> Result<(), SqliteError> {
    let (columns, parameters) = key;
    let sql = format!(
        "{COLUMNS} WHERE {columns} {comparison} {parameters}
         ORDER BY organization {order}, meter {order}, day {order}, dimensions {order} LIMIT 1"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(place)?;
    rows.next()?.map_or(Ok(()), |row| unsealed(row).map(|_| ()))
}

/// A row of [`COLUMNS`] with the stored day in it.
fn unsealed<'r>(row: &'r Row<'_>) -> Result<(RollupRow<'r>, &'r [u8]), SqliteError> {
    let dimensions = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let (organization, meter) = (OrganizationId(row.get(0)?), MeterId(row.get(1)?));
    let key = RollupRow { organization, meter, day: row.get(2)?, dimensions };
    let data = key.unseal(row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?);
    Ok((key, data.map_err(|error| unreadable(format!("a rollup of organization {organization}"), error))?))
}

/// Goes through all rows, each with its stored day.
pub(super) fn each_stored(
    connection: &Connection,
    mut each: impl FnMut(&RollupRow<'_>, &[u8]) -> Result<(), SqliteError>,
) -> Result<(), SqliteError> {
    let mut query = connection.prepare(COLUMNS)?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (row, data) = unsealed(row)?;
        each(&row, data)?;
    }
    Ok(())
}

impl Sqlite {
    /// Goes through the rows of a range, each with its day, its dimension values and its stored day, until `each` has
    /// enough.
    ///
    /// A row whose key has changed on the disk still stands where it was: a search or a range that it misleads ends beside
    /// it. So the rows on both sides of those that were found are looked at, too.
    ///
    /// # Errors
    /// [`SqliteError::Unreadable`] if one of them is not what was written; what `each` fails with.
    pub(in crate::store) fn each_rollup<E: From<SqliteError>>(
        &self,
        range: &RollupRange,
        mut each: impl FnMut(i32, &str, &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (start, way) = if range.newest_first { (range.last, NEWEST_FIRST) } else { (range.first, OLDEST_FIRST) };
        let start = (range.organization.bytes(), range.meter.0, start);
        neighbour(&self.connection, (BY_DAY, way.back), way.against, start)?;
        let condition = "organization = ? AND meter = ? AND day BETWEEN ? AND ?";
        let sql = format!("{COLUMNS} WHERE {condition} ORDER BY day {way}, dimensions {way}", way = way.order);
        let mut query = self.connection.prepare_cached(&sql).map_err(SqliteError::from)?;
        let mut rows = query.query((start.0, start.1, range.first, range.last)).map_err(SqliteError::from)?;
        let mut end = None;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            let (row, data) = unsealed(row)?;
            if !each(row.day, row.dimensions, data)? {
                return Ok(());
            }
            end = Some((row.day, row.dimensions.to_owned()));
        }
        match end {
            Some((day, dimensions)) => {
                let end = (start.0, start.1, day, dimensions);
                Ok(neighbour(&self.connection, (BY_DIMENSIONS, way.on), way.order, end)?)
            }
            None => Ok(neighbour(&self.connection, (BY_DAY, way.from), way.order, start)?),
        }
    }

    /// Whether a value was seen in `[from, to)`, with how often it was beside what the rows say, by bucket.
    pub(in crate::store) fn is_seen(
        &self,
        from: ValueKey,
        to: Time,
        beside: impl IntoIterator<Item = (Time, i64)>,
    ) -> Result<bool, SqliteError> {
        let mut counts: BTreeMap<Time, i64> = BTreeMap::new();
        beside.into_iter().for_each(|(bucket, count)| *counts.entry(bucket).or_default() += count);
        if counts.values().any(|count| *count > 0) {
            return Ok(true);
        }
        let mut query = self.connection.prepare_cached(
            "SELECT bucket, count FROM unique_values
             WHERE organization = ? AND meter = ? AND value = ? AND bucket >= ? AND bucket < ? AND count > 0",
        )?;
        let key = (from.organization.bytes(), from.meter.0, from.value.0, from.bucket.micros(), to.micros());
        let mut rows = query.query(key)?;
        while let Some(row) = rows.next()? {
            let (bucket, count) = (Time::from_micros(row.get(0)?), row.get::<_, i64>(1)?);
            if count + counts.get(&bucket).copied().unwrap_or(0) > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The values that a meter saw in a span and how often, in order of bucket and value.
    pub(in crate::store) fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        mut each: impl FnMut(Time, [u8; 16], i64),
    ) -> Result<(), SqliteError> {
        let mut query = self.connection.prepare_cached(
            "SELECT bucket, value, count FROM unique_values
             WHERE organization = ? AND meter = ? AND bucket >= ? AND bucket < ? AND count > 0 ORDER BY bucket, value",
        )?;
        let mut rows = query.query((organization.bytes(), meter.0, span.start.micros(), span.end.micros()))?;
        while let Some(row) = rows.next()? {
            each(Time::from_micros(row.get(0)?), row.get(1)?, row.get(2)?);
        }
        Ok(())
    }
}
