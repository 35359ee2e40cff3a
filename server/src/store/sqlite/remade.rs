//! Rows of rollups that were made again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use metergate_rules::id::{MeterId, OrganizationId};
use rusqlite::TransactionBehavior;

use super::{EngineError, Sqlite, day_totals, unreadable};
use crate::dies_at;
use crate::store::rollup::{Day, RollupRow};

impl Sqlite {
    /// Goes through an organization's rows of some days: meter and day, dimension values, and the data as it is stored,
    /// which may be damaged.
    pub(in crate::store) fn each_row_of_rollups(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
        mut each: impl FnMut((MeterId, i32), &str, &[u8]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let sql = "SELECT meter, day, dimensions, data FROM rollups WHERE organization = ? AND day BETWEEN ? AND ?";
        let mut query = self.connection.prepare_cached(sql)?;
        let mut rows = query.query((organization.bytes(), days.start(), days.end()))?;
        while let Some(row) = rows.next()? {
            let dimensions = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
            let data = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
            each((MeterId(row.get(0)?), row.get(1)?), dimensions, data)?;
        }
        Ok(())
    }

    /// Commits all rows of some meters' days in the place of those that are there, and makes the totals of these and of other
    /// days anew. On disk when it returns; nothing of it is there when it fails.
    pub(in crate::store) fn replace_rollups<'r>(
        &mut self,
        days: impl Iterator<Item = ((OrganizationId, MeterId, i32), &'r BTreeMap<String, Day>)> + Clone,
        totals: impl Iterator<Item = (OrganizationId, MeterId, i32)>,
        written: &mut usize,
    ) -> Result<(), EngineError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for ((organization, meter, day), sets) in days.clone() {
            let sql = "DELETE FROM rollups WHERE organization = ? AND meter = ? AND day = ?";
            transaction.prepare_cached(sql)?.execute((organization.bytes(), meter.0, day))?;
            for (dimensions, slots) in sets {
                let row = RollupRow { organization, meter, day, dimensions };
                let data = row.seal(slots).map_err(|error| unreadable("a new rollup", error))?;
                let sql = "INSERT INTO rollups (organization, meter, day, dimensions, data) VALUES (?, ?, ?, ?, ?)";
                transaction.prepare_cached(sql)?.execute((organization.bytes(), meter.0, day, dimensions, data))?;
                *written += 1;
            }
        }
        day_totals::remake(&transaction, totals.chain(days.map(|(place, _)| place)))?;
        dies_at!("aggregate-half-replaced");
        Ok(transaction.commit()?)
    }
}
