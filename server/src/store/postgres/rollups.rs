//! The rows that reports are made of: reading them, and what a commit makes of those that it adds to.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use metergate_rules::id::{MeterId, OrganizationId};
use tokio_postgres::Row;

use super::lock::opened;
use super::remade::INSERT;
use super::{Of, Owned, Postgres, Value, at, uuid};
use crate::store::error::{EngineError, unreadable};
use crate::store::rollup::{Day, RollupKey, RollupRow, Rollups};
use crate::store::rows::{EachRollup, EachRow, MOST_DIMENSIONS, OTHER, RollupRange};

macro_rules! rows {
    ($order:literal) => {
        concat!(
            "SELECT day, dimensions, data FROM rollups
             WHERE organization = $1 AND meter = $2 AND day BETWEEN $3 AND $4 ORDER BY ",
            $order
        )
    };
}

const OLDEST_FIRST: &str = rows!("day, dimensions");
const NEWEST_FIRST: &str = rows!("day DESC, dimensions DESC");

const SETS: &str = "SELECT count(*) FROM rollups
    WHERE organization = $1 AND meter = $2 AND day = $3 AND dimensions <> 'other'";
const ONE: &str = "SELECT data FROM rollups WHERE organization = $1 AND meter = $2 AND day = $3 AND dimensions = $4";

/// The rows of several rollups; for those that have none how many sets their day has, as far as that counts.
const SEVERAL: &str = "
    SELECT r.data, CASE WHEN r.data IS NULL AND k.dimensions <> '' THEN
               (SELECT count(*) FROM (SELECT 1 FROM rollups c WHERE c.organization = k.organization AND c.meter = k.meter
                AND c.day = k.day AND c.dimensions <> 'other' LIMIT 1000) AS sets) END
    FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[]) WITH ORDINALITY AS k(organization, meter, day, dimensions, i)
    LEFT JOIN rollups r ON r.organization = k.organization AND r.meter = k.meter AND r.day = k.day
    AND r.dimensions = k.dimensions ORDER BY k.i";

/// The columns of rows that a commit writes.
#[derive(Clone, Default)]
pub(super) struct Written {
    pub(super) organizations: Vec<uuid::Uuid>,
    pub(super) meters: Vec<i64>,
    pub(super) days: Vec<i32>,
    pub(super) dimensions: Vec<String>,
    pub(super) data: Vec<Vec<u8>>,
}

impl Written {
    pub(super) fn push(&mut self, row: &RollupRow<'_>, day: &Day) -> Result<(), EngineError> {
        self.data.push(row.seal(day).map_err(|error| unreadable("a new rollup", error))?);
        self.organizations.push(uuid(row.organization));
        self.meters.push(i64::from(row.meter.0));
        self.days.push(row.day);
        self.dimensions.push(row.dimensions.to_owned());
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    pub(super) fn into_values(self) -> Vec<Owned> {
        let Self { organizations, meters, days, dimensions, data } = self;
        let columns: [Owned; 5] =
            [Box::new(organizations), Box::new(meters), Box::new(days), Box::new(dimensions), Box::new(data)];
        columns.into()
    }

    pub(super) fn values(&self) -> Vec<Value<'_>> {
        vec![&self.organizations, &self.meters, &self.days, &self.dimensions, &self.data]
    }
}

fn stored<'d>(row: &RollupRow<'_>, data: &'d [u8]) -> Result<&'d [u8], EngineError> {
    let broken = |error| unreadable(format!("a rollup of organization {}", row.organization), error);
    row.unseal(data).map_err(broken)
}

impl Postgres {
    pub(super) fn each_rollup_of(&self, range: &RollupRange, each: EachRollup<'_>) -> Result<(), EngineError> {
        let sql = if range.newest_first { NEWEST_FIRST } else { OLDEST_FIRST };
        let (id, number) = (uuid(range.organization), i64::from(range.meter.0));
        for row in self.rows(Of::One(range.organization), sql, &[&id, &number, &range.first, &range.last])? {
            let (day, dimensions): (i32, &str) = (at(&row, 0)?, at(&row, 1)?);
            let key = RollupRow { organization: range.organization, meter: range.meter, day, dimensions };
            if !each(day, dimensions, stored(&key, at(&row, 2)?)?)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn rollup_of<'k>(
        &self,
        key: &'k RollupKey,
        more: i64,
    ) -> Result<(&'k str, Option<Vec<u8>>), EngineError> {
        let (id, number) = (uuid(key.organization), i64::from(key.meter.0));
        let read = |dimensions: &str| {
            let row = self.row(Of::One(key.organization), ONE, &[&id, &number, &key.day, &dimensions])?;
            row.map(|row| at::<Vec<u8>>(&row, 0)).transpose()
        };
        let own = read(&key.dimensions)?;
        if own.is_some() || key.dimensions.is_empty() {
            return Ok((&key.dimensions, own));
        }
        let sets = self.row(Of::One(key.organization), SETS, &[&id, &number, &key.day])?;
        if sets.map_or(Ok(0), |row| at::<i64>(&row, 0))? + more < MOST_DIMENSIONS {
            return Ok((&key.dimensions, None));
        }
        Ok((OTHER, read(OTHER)?))
    }

    pub(super) fn each_stored_rollup(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
        each: EachRow<'_>,
    ) -> Result<(), EngineError> {
        let sql = "SELECT meter, day, dimensions, data FROM rollups WHERE organization = $1 AND day BETWEEN $2 AND $3";
        let mut carried = self.carried_by(organization)?.sorted();
        carried.retain(|key, _| days.contains(&key.day));
        let values: [Value<'_>; 3] = [&uuid(organization), days.start(), days.end()];
        for row in self.rows(Of::One(organization), sql, &values)? {
            let meter = MeterId(u32::try_from(at::<i64>(&row, 0)?).unwrap_or(u32::MAX));
            let (day, dimensions, data): (i32, &str, &[u8]) = (at(&row, 1)?, at(&row, 2)?, at(&row, 3)?);
            let key = RollupKey { organization, meter, day, dimensions: dimensions.to_owned() };
            let more = carried.remove(&key);
            // A row that is damaged is shown as it is.
            let whole = more.and_then(|more| with_more(&place_of(&key), data, &more).ok());
            each((meter, day), dimensions, whole.as_deref().unwrap_or(data))?;
        }
        for (key, day) in &carried {
            let data = place_of(key).seal(day).map_err(|error| unreadable("a new rollup", error))?;
            each((key.meter, key.day), &key.dimensions, &data)?;
        }
        Ok(())
    }

    /// What the row of an account carries.
    pub(super) fn carried_by(&self, organization: OrganizationId) -> Result<Rollups, EngineError> {
        let sql = "SELECT version, data FROM accounts WHERE organization = $1";
        let Some(row) = self.row(Of::One(organization), sql, &[&uuid(organization)])? else {
            return Ok(Rollups::default());
        };
        Ok(opened(organization, at(&row, 0)?, at(&row, 1)?)?.1.rollups(organization))
    }

    /// Adds to the rows of an account that is locked and has this version, in the transaction that is open.
    pub(in crate::store) fn add_to_rollups(
        &self,
        organization: OrganizationId,
        version: i64,
        more: Rollups,
    ) -> Result<(), EngineError> {
        let written = self.grown(&more.sorted(), &HashMap::from([(organization, version)]))?;
        self.kept.borrow_mut().forget(organization);
        self.together(&[(INSERT, written.values())]).map(drop)
    }

    /// The rows as they are with what a commit adds, where the accounts are held and have these versions. Beyond the cap of a
    /// day's sets it goes into the one for all others.
    pub(super) fn grown(
        &self,
        more: &BTreeMap<RollupKey, Day>,
        locked: &HashMap<OrganizationId, i64>,
    ) -> Result<Written, EngineError> {
        let mut written = Written::default();
        let more = self.added_to_kept(more, locked, &mut written)?;
        if more.is_empty() {
            return Ok(written);
        }
        let rows = self.rows_of(&more)?;
        let mut new: HashMap<(OrganizationId, MeterId, i32), i64> = HashMap::new();
        let mut beyond: BTreeMap<RollupKey, Day> = BTreeMap::new();
        for (row, (key, day)) in rows.iter().zip(&more) {
            let place = place_of(key);
            if let Some(data) = at::<Option<&[u8]>>(row, 0)? {
                let mut merged = read(&place, data)?;
                merged.merge(day);
                written.push(&place, &merged)?;
                continue;
            }
            let sets = new.entry((key.organization, key.meter, key.day)).or_default();
            if key.dimensions.is_empty() || at::<Option<i64>>(row, 1)?.unwrap_or(0) + *sets < MOST_DIMENSIONS {
                *sets += 1;
                written.push(&place, day)?;
                continue;
            }
            let other = RollupKey { dimensions: OTHER.to_owned(), ..(*key).clone() };
            let mut day = (*day).clone();
            match beyond.remove(&other) {
                Some(others) => day.merge(&others),
                None => {
                    let stored = self.rollup_of(&other, 0)?.1;
                    let row = RollupRow { dimensions: OTHER, ..place_of(&other) };
                    if let Some(data) = stored {
                        day.merge(&read(&row, &data)?);
                    }
                }
            }
            beyond.insert(other, day);
        }
        beyond.iter().try_for_each(|(key, day)| written.push(&place_of(key), day))?;
        Ok(written)
    }

    /// Adds to the rows that are known. What is left is added to others.
    pub(super) fn added_to_kept<'m>(
        &self,
        more: &'m BTreeMap<RollupKey, Day>,
        locked: &HashMap<OrganizationId, i64>,
        written: &mut Written,
    ) -> Result<Vec<(&'m RollupKey, &'m Day)>, EngineError> {
        let (kept, mut rest) = (self.kept.borrow(), Vec::new());
        for (key, day) in more {
            let known = locked.get(&key.organization).and_then(|version| kept.find(key, *version));
            let Some(data) = known else {
                rest.push((key, day));
                continue;
            };
            let place = place_of(key);
            let mut merged = read(&place, data)?;
            merged.merge(day);
            written.push(&place, &merged)?;
        }
        Ok(rest)
    }

    fn rows_of(&self, keys: &[(&RollupKey, &Day)]) -> Result<Vec<Row>, EngineError> {
        let ids: Vec<_> = keys.iter().map(|(key, _)| uuid(key.organization)).collect();
        let meters: Vec<i64> = keys.iter().map(|(key, _)| i64::from(key.meter.0)).collect();
        let days: Vec<i32> = keys.iter().map(|(key, _)| key.day).collect();
        let dimensions: Vec<&str> = keys.iter().map(|(key, _)| &*key.dimensions).collect();
        let rows = self.together(&[(SEVERAL, vec![&ids, &meters, &days, &dimensions])])?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

fn place_of(key: &RollupKey) -> RollupRow<'_> {
    RollupRow { organization: key.organization, meter: key.meter, day: key.day, dimensions: &key.dimensions }
}

/// The data of a row that holds as much more.
fn with_more(row: &RollupRow<'_>, data: &[u8], more: &Day) -> Result<Vec<u8>, EngineError> {
    let mut day = read(row, data)?;
    day.merge(more);
    row.seal(&day).map_err(|error| unreadable("a new rollup", error))
}

fn read(row: &RollupRow<'_>, data: &[u8]) -> Result<Day, EngineError> {
    Day::read(stored(row, data)?).map_err(|error| unreadable("a rollup", error))
}
