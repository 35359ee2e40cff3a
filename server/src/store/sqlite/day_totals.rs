//! Totals of whole days, packed by 32 days: what reports read where no day is cut.
//!
//! A row grows in the commit that writes the rollups which it is the sum of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use metergate_rules::id::{MeterId, OrganizationId};
use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::derived::each_stored;
use super::{EngineError, Sqlite, unreadable};
use crate::store::rollup::{Day, RollupKey, RollupRow, Slot};
use crate::store::rows::{EachDayTotal, MeterDays};
use crate::store::seal::{seal, unseal};

/// Days in a row.
const DAYS: i32 = 32;

/// The rows.
macro_rules! rows {
    ($rest:literal) => {
        concat!("SELECT organization, span, meter, data FROM day_totals ", $rest)
    };
}

/// The columns by which a row is found; they are in its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    organization: OrganizationId,
    span: i32,
    meter: MeterId,
}

impl Place {
    /// The row of a day, and which of its days that is.
    fn of(organization: OrganizationId, meter: MeterId, day: i32) -> (Self, u8) {
        (Self { organization, span: day.div_euclid(DAYS), meter }, day.rem_euclid(DAYS) as u8)
    }

    fn columns(&self) -> (&[u8; 16], i32, u32) {
        (self.organization.bytes(), self.span, self.meter.0)
    }

    fn with<T>(&self, with: impl FnOnce(&[&[u8]]) -> T) -> T {
        with(&[self.organization.bytes(), &self.span.to_le_bytes(), &self.meter.0.to_le_bytes()])
    }

    fn broken(&self, why: impl std::fmt::Display) -> EngineError {
        unreadable(format!("the days' totals of organization {}", self.organization), why)
    }

    fn unseal<'d>(&self, data: &'d [u8]) -> Result<&'d [u8], EngineError> {
        self.with(|columns| unseal(columns, data)).map_err(|error| self.broken(error))
    }

    fn read(&self, connection: &Connection) -> Result<Day, EngineError> {
        let mut select = connection.prepare_cached(rows!("WHERE organization = ? AND span = ? AND meter = ?"))?;
        let stored = select.query_row(self.columns(), |row| row.get::<_, Vec<u8>>(3)).optional()?;
        let Some(data) = stored else {
            look_at(connection, BEFORE, self)?;
            look_at(connection, AFTER, self)?;
            return Ok(Day::default());
        };
        Day::read(self.unseal(&data)?).map_err(|error| self.broken(error))
    }

    fn write(&self, connection: &Connection, days: &Day) -> Result<(), EngineError> {
        let content = days.write().map_err(|error| self.broken(error))?;
        let data = self.with(|columns| seal(columns, &content));
        let (organization, span, meter) = self.columns();
        let sql = "INSERT OR REPLACE INTO day_totals (organization, span, meter, data) VALUES (?, ?, ?, ?)";
        connection.prepare_cached(sql)?.execute((organization, span, meter, data))?;
        Ok(())
    }
}

const BEFORE: &str =
    rows!("WHERE (organization, span, meter) < (?, ?, ?) ORDER BY organization DESC, span DESC, meter DESC LIMIT 1");
const AFTER: &str = rows!("WHERE (organization, span, meter) > (?, ?, ?) ORDER BY organization, span, meter LIMIT 1");
const FROM: &str = rows!("WHERE (organization, span, meter) >= (?, ?, ?) ORDER BY organization, span, meter LIMIT 1");
/// Of one span: a range over several columns would compare them in each row again, and pass over one whose key has changed.
const RANGE: &str =
    rows!("WHERE organization = ? AND span = ? AND meter BETWEEN ? AND ? ORDER BY organization, span, meter");

/// A row with its stored days.
fn unsealed<'r>(row: &'r Row<'_>) -> Result<(Place, &'r [u8]), EngineError> {
    let place = Place { organization: OrganizationId(row.get(0)?), span: row.get(1)?, meter: MeterId(row.get(2)?) };
    let data = place.unseal(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?)?;
    Ok((place, data))
}

/// Looks at the row that a statement finds at or beside a place, if there is one: a row whose key has changed on the disk
/// still stands where it was.
fn look_at(connection: &Connection, sql: &str, place: &Place) -> Result<Option<Place>, EngineError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(place.columns())?;
    rows.next()?.map(|row| unsealed(row).map(|(place, _)| place)).transpose()
}

/// Adds what rollups came to.
pub(super) fn add(transaction: &Transaction<'_>, rollups: &BTreeMap<RollupKey, Day>) -> Result<(), EngineError> {
    let mut more: BTreeMap<Place, Day> = BTreeMap::new();
    for (key, slots) in rollups {
        let (place, day) = Place::of(key.organization, key.meter, key.day);
        more.entry(place).or_default().add(day, &slots.all());
    }
    more.iter().try_for_each(|(place, more)| grow(transaction, place, more))
}

fn grow(transaction: &Transaction<'_>, place: &Place, more: &Day) -> Result<(), EngineError> {
    let mut days = place.read(transaction)?;
    days.merge(more);
    place.write(transaction, &days)
}

/// Makes the rows anew that hold these days, from their rollups.
pub(super) fn remake(
    transaction: &Transaction<'_>,
    days: impl Iterator<Item = (OrganizationId, MeterId, i32)>,
) -> Result<(), EngineError> {
    let places: BTreeSet<Place> =
        days.map(|(organization, meter, day)| Place::of(organization, meter, day).0).collect();
    for place in places {
        let (first, mut days) = (place.span * DAYS, Day::default());
        let sql =
            "SELECT day, dimensions, data FROM rollups WHERE organization = ? AND meter = ? AND day BETWEEN ? AND ?";
        let mut select = transaction.prepare_cached(sql)?;
        let mut rows = select.query((place.organization.bytes(), place.meter.0, first, first + DAYS - 1))?;
        while let Some(row) = rows.next()? {
            let (day, dimensions) = (row.get(0)?, row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
            let found = RollupRow { organization: place.organization, meter: place.meter, day, dimensions };
            let data = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            let data = found.unseal(data).map_err(|error| unreadable("a rollup", error))?;
            let total = Day::total(data).map_err(|error| unreadable("a rollup", error))?;
            days.add(Place::of(place.organization, place.meter, day).1, &total);
        }
        let sql = "DELETE FROM day_totals WHERE organization = ? AND span = ? AND meter = ?";
        transaction.prepare_cached(sql)?.execute(place.columns())?;
        if !days.is_empty() {
            place.write(transaction, &days)?;
        }
    }
    Ok(())
}

/// Makes the rows from the rollups that there are.
pub(super) fn fill(transaction: &Transaction<'_>) -> Result<(), EngineError> {
    let mut open: Option<(Place, Day)> = None;
    each_stored(transaction, |row| {
        let (row, data) = row?;
        let total = Day::total(data).map_err(|error| unreadable("a rollup", error))?;
        let (place, day) = Place::of(row.organization, row.meter, row.day);
        if let Some((done, days)) = open.take_if(|(open, _)| *open != place) {
            grow(transaction, &done, &days)?;
        }
        open.get_or_insert_with(|| (place, Day::default())).1.add(day, &total);
        Ok::<_, EngineError>(())
    })?;
    open.iter().try_for_each(|(place, days)| grow(transaction, place, days))
}

impl Sqlite {
    /// Goes through what meters' days came to: all spans of days in order, in each all meters in order.
    pub(in crate::store) fn each_day_total(
        &self,
        asked: &MeterDays,
        each: EachDayTotal<'_>,
    ) -> Result<(), EngineError> {
        let MeterDays { organization, meters: (least, most), days } = asked;
        let place = |span| Place { organization: *organization, span, meter: *least };
        let (mut span, last) = (days.start().div_euclid(DAYS), days.end().div_euclid(DAYS));
        look_at(&self.connection, BEFORE, &place(span))?;
        while let Some(next) = look_at(&self.connection, FROM, &place(span))?
            && next.organization == *organization
            && next.span <= last
        {
            if next.span > span {
                span = next.span;
                continue;
            }
            let mut query = self.connection.prepare_cached(RANGE)?;
            let mut rows = query.query((organization.bytes(), span, least.0, most.0))?;
            let mut end = None;
            while let Some(row) = rows.next()? {
                let (place, data) = unsealed(row)?;
                each_of(&place, data, days, each)?;
                end = Some(place);
            }
            end.map(|end| look_at(&self.connection, AFTER, &end)).transpose()?;
            span += 1;
        }
        Ok(())
    }

    /// Goes through what each stored rollup comes to, in the order of organization, meter, day and dimensions; of one that
    /// cannot be read it says why.
    pub(in crate::store) fn each_stored_rollup<E: From<EngineError>>(
        &self,
        mut each: impl FnMut(Result<((OrganizationId, MeterId, i32), Slot), EngineError>) -> Result<(), E>,
    ) -> Result<(), E> {
        each_stored(&self.connection, |row| {
            each(row.and_then(|(row, data)| {
                let total = Day::total(data).map_err(|error| unreadable("a rollup", error))?;
                Ok(((row.organization, row.meter, row.day), total))
            }))
        })
    }

    /// Goes through all of them; of a row that cannot be read it says why.
    pub(in crate::store) fn each_stored_day_total<E: From<EngineError>>(
        &self,
        mut each: impl FnMut(Result<((OrganizationId, MeterId, i32), Slot), EngineError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut query = self.connection.prepare(rows!("")).map_err(EngineError::from)?;
        let mut rows = query.query([]).map_err(EngineError::from)?;
        while let Some(row) = rows.next().map_err(EngineError::from)? {
            let mut found = Vec::new();
            let read = unsealed(row).and_then(|(place, data)| {
                each_of(&place, data, &(i32::MIN..=i32::MAX), &mut |meter, day, total| {
                    found.push(((place.organization, meter, day), total));
                })
            });
            found.into_iter().try_for_each(|total| each(Ok(total)))?;
            read.map_or_else(|error| each(Err(error)), Ok)?;
        }
        Ok(())
    }
}

fn each_of(place: &Place, data: &[u8], days: &RangeInclusive<i32>, each: EachDayTotal<'_>) -> Result<(), EngineError> {
    let first = place.span * DAYS;
    let read = Day::each(data, |day, total| {
        let day = first + i32::from(day);
        if days.contains(&day) {
            each(place.meter, day, total);
        }
    });
    read.map_err(|error| place.broken(error))
}
