//! The rows that reports are made of: where a rollup's row is, and reading values.

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::time::{Span, Time};
use rusqlite::{Connection, OptionalExtension};

use super::{Sqlite, SqliteError, unreadable};
use crate::store::rollup::{RollupKey, RollupRow, ValueKey};

/// Sets of dimension values of one organization and meter on one day at most; the rest goes into [`OTHER`].
const MOST_DIMENSIONS: i64 = 1000;
/// What stands for dimension values beyond the cap. No JSON object is written like it.
pub(in crate::store) const OTHER: &str = "other";

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

impl Sqlite {
    /// Looks at the rows before and behind a range of days of a meter. A row of the range whose key has changed on the disk
    /// still stands where it was: it ends the range, and is one of the two.
    ///
    /// # Errors
    /// [`SqliteError::Unreadable`] if one of them is not what was written.
    pub(in crate::store) fn rollups_end_right(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        (first, last): (i32, i32),
    ) -> Result<(), SqliteError> {
        let columns = "SELECT organization, meter, day, dimensions, data FROM rollups";
        let before = "WHERE (organization, meter, day) < (?, ?, ?)
                      ORDER BY organization DESC, meter DESC, day DESC, dimensions DESC LIMIT 1";
        let behind = "WHERE (organization, meter, day) > (?, ?, ?)
                      ORDER BY organization, meter, day, dimensions LIMIT 1";
        for (condition, day) in [(before, first), (behind, last)] {
            let mut query = self.connection.prepare_cached(&format!("{columns} {condition}"))?;
            let mut rows = query.query((organization.bytes(), meter.0, day))?;
            let Some(row) = rows.next()? else { continue };
            let (organization, meter) = (OrganizationId(row.get(0)?), MeterId(row.get(1)?));
            let dimensions = row.get::<_, String>(3)?;
            let found = RollupRow { organization, meter, day: row.get(2)?, dimensions: &dimensions };
            let unsealed = found.unseal(row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?).map(|_| ());
            unsealed.map_err(|error| unreadable(format!("a rollup of organization {organization}"), error))?;
        }
        Ok(())
    }

    pub(in crate::store) fn has_value(&self, from: ValueKey, to: Time) -> Result<bool, SqliteError> {
        let mut query = self.connection.prepare_cached(
            "SELECT 1 FROM unique_values WHERE organization = ? AND meter = ? AND value = ? AND bucket >= ? AND bucket < ? LIMIT 1",
        )?;
        let key = (from.organization.bytes(), from.meter.0, from.value.0, from.bucket.micros(), to.micros());
        Ok(query.exists(key)?)
    }

    /// The values that a meter saw in a span, in order of bucket and value.
    pub(in crate::store) fn each_value(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        span: Span,
        mut each: impl FnMut(Time, [u8; 16]),
    ) -> Result<(), SqliteError> {
        let mut query = self.connection.prepare_cached(
            "SELECT bucket, value FROM unique_values
             WHERE organization = ? AND meter = ? AND bucket >= ? AND bucket < ? AND count > 0 ORDER BY bucket, value",
        )?;
        let mut rows = query.query((organization.bytes(), meter.0, span.start.micros(), span.end.micros()))?;
        while let Some(row) = rows.next()? {
            each(Time::from_micros(row.get(0)?), row.get(1)?);
        }
        Ok(())
    }
}
