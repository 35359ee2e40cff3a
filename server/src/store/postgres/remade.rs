//! Rows of rollups that were made again.

use std::collections::BTreeMap;

use metergate_rules::id::{MeterId, OrganizationId};

use super::rollups::Written;
use super::{Postgres, uuid};
use crate::store::error::EngineError;
use crate::store::rollup::{Day, RollupRow};

/// Rows of an organization's rollups.
pub(super) const INSERT: &str = "
    INSERT INTO rollups (organization, meter, day, dimensions, data)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::bytea[])
    ON CONFLICT (organization, meter, day, dimensions) DO UPDATE SET data = excluded.data";

impl Postgres {
    /// All rows of some meters' days in the place of those that are there, in the transaction that is open and names the
    /// organization. How many.
    pub(in crate::store) fn replace_rollups<'r>(
        &self,
        days: impl Iterator<Item = ((OrganizationId, MeterId, i32), &'r BTreeMap<String, Day>)>,
    ) -> Result<usize, EngineError> {
        let mut written = Written::default();
        for ((organization, meter, day), sets) in days {
            self.kept.borrow_mut().forget(organization);
            let sql = "DELETE FROM rollups WHERE organization = $1 AND meter = $2 AND day = $3";
            self.together(&[(sql, vec![&uuid(organization), &i64::from(meter.0), &day])])?;
            for (dimensions, slots) in sets {
                written.push(&RollupRow { organization, meter, day, dimensions }, slots)?;
            }
        }
        self.together(&[(INSERT, written.values())])?;
        Ok(written.data.len())
    }
}
