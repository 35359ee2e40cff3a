//! Refusals that nobody was told of yet: what nodes have counted stands in rows, from which whoever tells next takes it.
//!
//! Nobody holds a lock on them but while rows are written, in their order. What is handed over while another node tells is
//! neither lost nor counted twice: it is added to what stands there, and only what was read is taken from it.

use std::collections::{BTreeSet, HashMap};

use metergate_rules::id::OrganizationId;
use metergate_rules::notice::OfRefusal;
use uuid::Uuid;

use super::{Owned, Postgres, at, number_at, organization_at, uuid};
use crate::store::error::EngineError;
use crate::store::refusals::{Refused, Tally, name_of, row_of};

/// What was handed over to those on whom a transaction decides. It is read once for all of them, when the first is told: at a
/// full hour that may be every organization of a batch.
#[derive(Default)]
pub(super) struct HandedOver {
    held: BTreeSet<OrganizationId>,
    read: BTreeSet<OrganizationId>,
    counts: HashMap<(OrganizationId, i64, String, i64), u64>,
}

impl HandedOver {
    /// A transaction begins.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// It decides on these from now on.
    pub(super) fn hold(&mut self, organizations: impl Iterator<Item = OrganizationId>) {
        self.held.extend(organizations);
    }
}

/// Rows as columns.
type Columns = (Vec<Uuid>, Vec<i64>, Vec<&'static str>, Vec<i64>, Vec<i64>);

fn columns(rows: &[(Refused, u64)]) -> Columns {
    let organizations = rows.iter().map(|((organization, _), _)| uuid(*organization)).collect();
    let meters = rows.iter().map(|((_, of), _)| i64::from(of.meter.0)).collect();
    let names = rows.iter().map(|((_, of), _)| name_of(of.by)).collect();
    let hours = rows.iter().map(|((_, of), _)| of.hour.micros()).collect();
    (organizations, meters, names, hours, rows.iter().map(|(_, count)| count.cast_signed()).collect())
}

impl Postgres {
    /// How many were handed over and not told.
    pub(super) fn handed_over(&self, organization: OrganizationId, of: &OfRefusal) -> Result<u64, EngineError> {
        let is_read = self.handed.borrow().read.contains(&organization);
        if !is_read {
            self.read_handed_over(organization)?;
        }
        let key = (organization, i64::from(of.meter.0), name_of(of.by).to_owned(), of.hour.micros());
        Ok(self.handed.borrow().counts.get(&key).copied().unwrap_or(0))
    }

    /// Reads what was handed over to this organization, and to all that are held.
    fn read_handed_over(&self, organization: OrganizationId) -> Result<(), EngineError> {
        let all: BTreeSet<_> = self.handed.borrow().held.iter().copied().chain([organization]).collect();
        self.name(all.iter().copied());
        let ids: Vec<Uuid> = all.iter().map(|id| uuid(*id)).collect();
        let sql = "SELECT organization, meter, refused_by, hour, count FROM refusals WHERE organization = ANY($1)";
        let rows = self.together(&[(sql, vec![&ids])])?.pop().unwrap_or_default();
        let mut handed = self.handed.borrow_mut();
        for row in &rows {
            let key = (organization_at(row, 0)?, at(row, 1)?, at(row, 2)?, at(row, 3)?);
            handed.counts.insert(key, number_at(row, 4)?);
        }
        handed.read.extend(all);
        Ok(())
    }

    /// Takes those that are told with what a batch decided: it goes out with what is written next. Rows are locked in their
    /// order, as by whoever hands over. What was handed over too late of earlier hours goes with them: these were told already.
    pub(in crate::store) fn take_refusals(&self, tally: &[Tally]) {
        let mut taken: Vec<(Refused, u64)> = tally.iter().filter_map(Tally::taken).collect();
        if taken.is_empty() {
            return;
        }
        taken.sort_unstable_by_key(|(of, _)| row_of(of));
        self.name(taken.iter().map(|((organization, _), _)| *organization));
        let (organizations, meters, names, hours, counts) = columns(&taken);
        let less = "WITH taken AS (
                        SELECT r.organization, r.meter, r.refused_by, r.hour, k.count
                        FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
                            AS k(organization, meter, refused_by, hour, count)
                        JOIN refusals r ON r.organization = k.organization AND r.meter = k.meter
                            AND r.refused_by = k.refused_by COLLATE \"C\" AND r.hour = k.hour
                        ORDER BY r.organization, r.meter, r.refused_by, r.hour FOR UPDATE OF r)
                    UPDATE refusals r SET count = r.count - t.count FROM taken t
                    WHERE r.organization = t.organization AND r.meter = t.meter AND r.refused_by = t.refused_by
                        AND r.hour = t.hour";
        let keys = || -> [Owned; 4] {
            [
                Box::new(organizations.clone()),
                Box::new(meters.clone()),
                Box::new(names.clone()),
                Box::new(hours.clone()),
            ]
        };
        self.later(less, keys().into_iter().chain([Box::new(counts) as Owned]).collect());
        let gone = "DELETE FROM refusals r USING unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[])
                        AS k(organization, meter, refused_by, hour)
                    WHERE r.organization = k.organization AND r.meter = k.meter
                        AND r.refused_by = k.refused_by COLLATE \"C\"
                        AND (r.hour < k.hour OR (r.hour = k.hour AND r.count <= 0))";
        self.later(gone, keys().into());
    }

    /// Adds what a node has counted, in order. Of an organization that is not there any more nobody is told.
    pub(in crate::store) fn hand_over(&self, counted: &[(Refused, u64)]) -> Result<(), EngineError> {
        self.name(counted.iter().map(|((organization, _), _)| *organization));
        let (organizations, meters, names, hours, counts) = columns(counted);
        let sql = "INSERT INTO refusals (organization, meter, refused_by, hour, count)
                   SELECT k.organization, k.meter, k.refused_by, k.hour, k.count
                   FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[])
                       AS k(organization, meter, refused_by, hour, count)
                   WHERE EXISTS (SELECT 1 FROM accounts a WHERE a.organization = k.organization)
                   ORDER BY k.organization, k.meter, k.refused_by COLLATE \"C\", k.hour
                   ON CONFLICT (organization, meter, refused_by, hour)
                       DO UPDATE SET count = refusals.count + excluded.count";
        self.together(&[(sql, vec![&organizations, &meters, &names, &hours, &counts])]).map(drop)
    }
}
