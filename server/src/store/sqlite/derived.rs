//! The rows that reports are made of: where a rollup's row is, reading rollups.

use metergate_rules::id::{MeterId, OrganizationId};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::{EngineError, Sqlite, unreadable};
use crate::store::rollup::{RollupKey, RollupRow};
use crate::store::rows::{MOST_DIMENSIONS, OTHER, RollupRange};

/// The rows.
macro_rules! rows {
    ($rest:literal) => {
        concat!("SELECT organization, meter, day, dimensions, data FROM rollups ", $rest)
    };
}

/// A way through the rows of a range: these, the one before its beginning, the one at its beginning or further on, the one
/// after another row.
struct Way {
    range: &'static str,
    before: &'static str,
    from: &'static str,
    after: &'static str,
}

const BEFORE: &str = rows!(
    "WHERE (organization, meter, day, dimensions) < (?, ?, ?, ?)
     ORDER BY organization DESC, meter DESC, day DESC, dimensions DESC LIMIT 1"
);
const AFTER: &str = rows!(
    "WHERE (organization, meter, day, dimensions) > (?, ?, ?, ?) ORDER BY organization, meter, day, dimensions LIMIT 1"
);

const OLDEST_FIRST: Way = Way {
    range: rows!("WHERE organization = ? AND meter = ? AND day BETWEEN ? AND ? ORDER BY day, dimensions"),
    before: rows!(
        "WHERE (organization, meter, day) < (?, ?, ?)
         ORDER BY organization DESC, meter DESC, day DESC, dimensions DESC LIMIT 1"
    ),
    from: rows!("WHERE (organization, meter, day) >= (?, ?, ?) ORDER BY organization, meter, day, dimensions LIMIT 1"),
    after: AFTER,
};
const NEWEST_FIRST: Way = Way {
    range: rows!("WHERE organization = ? AND meter = ? AND day BETWEEN ? AND ? ORDER BY day DESC, dimensions DESC"),
    before: rows!("WHERE (organization, meter, day) > (?, ?, ?) ORDER BY organization, meter, day, dimensions LIMIT 1"),
    from: rows!(
        "WHERE (organization, meter, day) <= (?, ?, ?)
         ORDER BY organization DESC, meter DESC, day DESC, dimensions DESC LIMIT 1"
    ),
    after: BEFORE,
};

/// The row that a rollup goes into: its own, or beyond the cap the one for all others. `more` is how many sets of the
/// day are on their way beside those that have a row.
pub(super) fn find_rollup<'k>(
    connection: &Connection,
    key: &'k RollupKey,
    more: i64,
) -> Result<(&'k str, Option<Vec<u8>>), EngineError> {
    let (organization, meter): (&[u8; 16], u32) = (key.organization.bytes(), key.meter.0);
    let sql = "SELECT data FROM rollups WHERE organization = ? AND meter = ? AND day = ? AND dimensions = ?";
    let mut select = connection.prepare_cached(sql)?;
    let mut read = |dimensions: &str| {
        select.query_row((organization, meter, key.day, dimensions), |row| row.get::<_, Vec<u8>>(0)).optional()
    };
    let own = read(&key.dimensions)?;
    if own.is_none() {
        let place = (organization, meter, key.day, &*key.dimensions);
        look_at(connection, BEFORE, place)?;
        look_at(connection, AFTER, place)?;
    }
    if own.is_some() || key.dimensions.is_empty() || sets_of(connection, key)? + more < MOST_DIMENSIONS {
        return Ok((&key.dimensions, own));
    }
    Ok((OTHER, read(OTHER)?))
}

fn sets_of(connection: &Connection, key: &RollupKey) -> Result<i64, EngineError> {
    let sql = "SELECT count(*) FROM rollups WHERE organization = ? AND meter = ? AND day = ? AND dimensions <> 'other'";
    let mut count = connection.prepare_cached(sql)?;
    Ok(count.query_row((key.organization.bytes(), key.meter.0, key.day), |row| row.get(0))?)
}

/// Looks at the row that a statement finds, if there is one.
fn look_at(connection: &Connection, sql: &str, place: impl Params) -> Result<(), EngineError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(place)?;
    rows.next()?.map_or(Ok(()), |row| unsealed(row).map(drop))
}

/// A row with its stored day.
fn unsealed<'r>(row: &'r Row<'_>) -> Result<(RollupRow<'r>, &'r [u8]), EngineError> {
    let dimensions = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let (organization, meter) = (OrganizationId(row.get(0)?), MeterId(row.get(1)?));
    let key = RollupRow { organization, meter, day: row.get(2)?, dimensions };
    let data = key.unseal(row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?);
    Ok((key, data.map_err(|error| unreadable(format!("a rollup of organization {organization}"), error))?))
}

/// Goes through all rows, each with its stored day; of those that cannot be read it says why.
pub(super) fn each_stored<E: From<EngineError>>(
    connection: &Connection,
    mut each: impl FnMut(Result<(RollupRow<'_>, &[u8]), EngineError>) -> Result<(), E>,
) -> Result<(), E> {
    let mut query =
        connection.prepare(rows!("ORDER BY organization, meter, day, dimensions")).map_err(EngineError::from)?;
    let mut rows = query.query([]).map_err(EngineError::from)?;
    while let Some(row) = rows.next().map_err(EngineError::from)? {
        each(unsealed(row))?;
    }
    Ok(())
}

impl Sqlite {
    /// Goes through the rows of a range, each with its day, its dimension values and its stored day, until `each` has
    /// enough.
    ///
    /// A row whose key has changed on the disk still stands where it was: a search or a range that it misleads ends beside
    /// it. So the rows on both sides of those that were found are looked at, too. (A range that compares several columns
    /// at once would compare them in each row again, and pass over such a row; equal ones and one that has bounds do not.)
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] if one of them is not what was written; what `each` fails with.
    pub(in crate::store) fn each_rollup<E: From<EngineError>>(
        &self,
        range: &RollupRange,
        mut each: impl FnMut(i32, &str, &[u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        let (start, way) = if range.newest_first { (range.last, NEWEST_FIRST) } else { (range.first, OLDEST_FIRST) };
        let start = (range.organization.bytes(), range.meter.0, start);
        look_at(&self.connection, way.before, start)?;
        let mut query = self.connection.prepare_cached(way.range).map_err(EngineError::from)?;
        let mut rows = query.query((start.0, start.1, range.first, range.last)).map_err(EngineError::from)?;
        let mut end = None;
        while let Some(row) = rows.next().map_err(EngineError::from)? {
            let (row, data) = unsealed(row)?;
            if !each(row.day, row.dimensions, data)? {
                return Ok(());
            }
            end = Some((row.day, row.dimensions.to_owned()));
        }
        match end {
            Some((day, dimensions)) => {
                let end = (start.0, start.1, day, dimensions);
                Ok(look_at(&self.connection, way.after, end)?)
            }
            None => Ok(look_at(&self.connection, way.from, start)?),
        }
    }
}

#[cfg(test)]
mod tests;
