//! Going through the rows that figures are read from: accounts, rollups, values, use of all organizations together.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use metergate_rules::id::{MeterId, OrganizationId};

use super::{Examination, Halt};
use crate::store::rollup::{Slot, ValueKey};
use crate::store::totals::Totals;

/// Tells two sets apart in whatever order they come: the sum of the hashes of what is in them.
#[derive(Default, PartialEq, Eq)]
struct Print(u64);

impl Print {
    fn add(&mut self, key: &ValueKey) {
        let columns = (key.organization.0, key.meter.0, key.value.0, key.bucket.micros());
        self.0 = self.0.wrapping_add(foldhash::quality::FixedState::default().hash_one(columns));
    }

    fn add_total(&mut self, ((organization, meter, day), total): (&(OrganizationId, MeterId, i32), &Slot)) {
        let last = total.last.map(|(time, _)| time.micros());
        let columns = (organization.0, meter.0, day, total.count, total.sum, total.max, last);
        self.0 = self.0.wrapping_add(foldhash::quality::FixedState::default().hash_one(columns));
    }
}

impl Examination<'_> {
    /// Whether use of all organizations together is what their rollups add up to.
    pub(super) fn usage(&mut self) -> Result<(), Halt> {
        let (sqlite, mut broken) = (self.sqlite, 0_u64);
        let added = sqlite.added_up(|row| {
            self.go_on()?;
            broken += u64::from(self.is_broken(row));
            Ok::<_, Halt>(())
        })?;
        let mut stored = Totals::default();
        sqlite.each_total(|row| {
            broken += u64::from(self.is_broken(row.map(|(of, slot)| stored.add(of, &slot))));
            Ok(())
        })?;
        // What is missing from what was read tells nothing more.
        if broken == 0 {
            self.compare(&stored, &added, sqlite.deleted()? > 0);
        }
        Ok(())
    }

    /// Whether the totals of days are what their rollups come to.
    pub(super) fn day_totals(&mut self) -> Result<(), Halt> {
        let (sqlite, mut broken) = (self.sqlite, 0_u64);
        let mut totals: BTreeMap<(OrganizationId, MeterId, i32), Slot> = BTreeMap::new();
        let (mut of_rollups, mut stored) = (Print::default(), Print::default());
        sqlite.each_stored_rollup(|row| {
            self.go_on()?;
            // Those that cannot be read were told of.
            if let Ok((place, total)) = row {
                if totals.last_key_value().is_some_and(|(last, _)| *last != place) {
                    std::mem::take(&mut totals).iter().for_each(|of| of_rollups.add_total(of));
                }
                totals.entry(place).or_default().merge(&total);
            } else {
                broken += 1;
            }
            Ok::<_, Halt>(())
        })?;
        totals.iter().for_each(|of| of_rollups.add_total(of));
        sqlite.each_stored_day_total(|row| {
            self.go_on()?;
            let row = row.map(|(place, total)| stored.add_total((&place, &total)));
            broken += u64::from(self.is_broken(row));
            Ok::<_, Halt>(())
        })?;
        if broken == 0 && of_rollups != stored {
            self.find("the totals of days are not what their rollups come to".to_owned());
        }
        Ok(())
    }

    /// What deleted organizations used stays in what all used together.
    fn compare(&mut self, stored: &Totals, added: &Totals, some_deleted: bool) {
        let days: BTreeSet<_> = stored.iter().chain(added.iter()).map(|(of, _)| of).collect();
        for (meter, day) in days {
            let (stored, added) = (stored.get((meter, day)).count, added.get((meter, day)).count);
            if stored < added || (stored > added && !some_deleted) {
                self.find(format!(
                    "all organizations together used meter {} {stored} times on day {day}, by their rollups {added}",
                    meter.0
                ));
            }
        }
    }

    /// The checksum of every value, and whether the index by time has the same ones.
    pub(super) fn values(&mut self) -> Result<(), Halt> {
        let (sqlite, mut rows, mut by_time, mut broken) = (self.sqlite, Print::default(), Print::default(), 0_u64);
        sqlite.each_value_row(|row| {
            self.go_on()?;
            broken += u64::from(self.is_broken(row.map(|key| rows.add(&key))));
            Ok::<_, Halt>(())
        })?;
        sqlite.each_value_by_time(|key| {
            by_time.add(&key);
            self.go_on()
        })?;
        if broken == 0 && rows != by_time {
            self.find("the index of distinct values by time does not hold the same values as their rows".to_owned());
        }
        Ok(())
    }

    /// Notes why a row cannot be read.
    fn is_broken(&mut self, row: Result<(), crate::store::error::EngineError>) -> bool {
        row.map_err(|error| self.find(error.to_string())).is_err()
    }
}
