//! Use by quarter hour, packed by UTC day: what reports are made of (M3).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::{Measure, ValueHash};
use metergate_rules::outcome::{self, Use};
use metergate_rules::time::{MINUTE, Time};
use serde::{Deserialize, Serialize};

use super::block::Unreadable;
use super::seal::{seal, unseal};

mod addition;
pub(super) mod carried;

pub(super) use addition::each_addition;
pub use addition::{day_of, durations_of};
pub use carried::Carried;

/// A quarter hour in microseconds.
pub const QUARTER: i64 = 15 * MINUTE;

/// Rollups among which the next addition most likely falls.
const LATEST: usize = 8;

/// What one meter did in one quarter hour, for one set of dimension values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Events and decisions, less those that are void.
    pub count: i64,
    /// The sum of what they added.
    pub sum: i64,
    /// The highest peak.
    pub max: i64,
    /// The latest level with its time, of a meter that has levels.
    pub last: Option<(Time, i64)>,
}

impl Slot {
    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        // A later arrival with the same time wins, as in the account.
        self.last = self.last.into_iter().chain(other.last).max_by_key(|(time, _)| *time);
    }

    /// Whether both come to the same. Which of two levels is the latest is open where both were set at the same time under
    /// different dimensions.
    pub fn is_like(&self, other: &Self) -> bool {
        let parts = |slot: &Self| (slot.count, slot.sum, slot.max, slot.last.map(|(time, _)| time));
        parts(self) == parts(other)
    }
}

/// The 96 quarter hours of a UTC day, in order; those in which nothing happened are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(Vec<(u8, Slot)>);

impl Day {
    /// Reads a stored day.
    ///
    /// # Errors
    /// If it is not one.
    pub fn read(data: &[u8]) -> Result<Self, postcard::Error> {
        Ok(postcard::from_bytes::<(Slot, Self)>(data)?.1)
    }

    /// All of a stored day together.
    ///
    /// # Errors
    /// If it is not one.
    pub fn total(data: &[u8]) -> Result<Slot, postcard::Error> {
        Ok(postcard::take_from_bytes(data)?.0)
    }

    /// Goes through a stored day without keeping it: each quarter hour with what it holds, in order.
    ///
    /// # Errors
    /// If it is not one.
    pub fn each(data: &[u8], each: impl FnMut(u8, Slot)) -> Result<(), postcard::Error> {
        let (_, slots) = postcard::take_from_bytes::<Slot>(data)?;
        serde::Deserializer::deserialize_seq(&mut postcard::Deserializer::from_bytes(slots), EachSlot(each))
    }

    /// The form that is stored: all of the day together, then the quarter hours. A year by day reads the first alone.
    ///
    /// # Errors
    /// None that is known.
    pub fn write(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(&(self.all(), self))
    }

    /// All of the day together.
    pub fn all(&self) -> Slot {
        let mut all = Slot::default();
        self.slots().for_each(|(_, slot)| all.merge(slot));
        all
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        other.slots().for_each(|(quarter, slot)| self.add(quarter, slot));
    }

    /// Adds to one quarter hour.
    pub fn add(&mut self, quarter: u8, slot: &Slot) {
        match self.0.binary_search_by_key(&quarter, |(quarter, _)| *quarter) {
            Ok(at) => self.0[at].1.merge(slot),
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (quarter, *slot));
            }
        }
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The quarter hours in which something happened, in order.
    pub fn slots(&self) -> impl Iterator<Item = (u8, &Slot)> {
        self.0.iter().map(|(quarter, slot)| (*quarter, slot))
    }
}

/// The columns by which a row of rollups is found; they are in its checksum.
#[derive(Clone, Copy, Debug)]
pub struct RollupRow<'a> {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which meter.
    pub meter: MeterId,
    /// Days since 1970-01-01.
    pub day: i32,
    /// The dimension values as the row has them.
    pub dimensions: &'a str,
}

impl RollupRow<'_> {
    fn with<T>(&self, with: impl FnOnce(&[&[u8]]) -> T) -> T {
        let (meter, day) = (self.meter.0.to_le_bytes(), self.day.to_le_bytes());
        with(&[self.organization.bytes(), &meter, &day, self.dimensions.as_bytes()])
    }

    /// The data of the row that holds this day.
    ///
    /// # Errors
    /// None that is known.
    pub fn seal(&self, day: &Day) -> Result<Vec<u8>, Unreadable> {
        let content = day.write()?;
        Ok(self.with(|columns| seal(columns, &content)))
    }

    /// The stored day in the data of the row.
    ///
    /// # Errors
    /// [`Unreadable`] where it is not what was written for this row.
    pub fn unseal<'d>(&self, data: &'d [u8]) -> Result<&'d [u8], Unreadable> {
        self.with(|columns| unseal(columns, data))
    }
}

struct EachSlot<F>(F);

impl<'de, F: FnMut(u8, Slot)> serde::de::Visitor<'de> for EachSlot<F> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the quarter hours of a day")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(mut self, mut slots: A) -> Result<(), A::Error> {
        while let Some((quarter, slot)) = slots.next_element()? {
            (self.0)(quarter, slot);
        }
        Ok(())
    }
}

/// One row of rollups.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupKey {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which meter.
    pub meter: MeterId,
    /// Days since 1970-01-01.
    pub day: i32,
    /// The dimension values, a JSON object; empty without dimensions.
    pub dimensions: String,
}

/// One value of a `uniqueCount` meter in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueKey {
    /// Whose.
    pub organization: OrganizationId,
    /// Of which meter.
    pub meter: MeterId,
    /// The value.
    pub value: ValueHash,
    /// The start of the bucket.
    pub bucket: Time,
}

/// What entries add to rollups, in little memory: most accounts are waiting with one day of one meter. What was added is
/// put in order only when it would outgrow its memory, so that adding is cheap however many days and sets there are.
#[derive(Clone, Debug, Default)]
pub struct Rollups(Vec<(RollupKey, Day)>);

impl Rollups {
    /// Adds to one quarter hour of a rollup.
    pub fn add(&mut self, key: RollupKey, quarter: u8, slot: &Slot) {
        if let Some((_, day)) = self.0.iter_mut().rev().take(LATEST).find(|(known, _)| *known == key) {
            return day.add(quarter, slot);
        }
        if self.0.len() == self.0.capacity() {
            self.0 = std::mem::take(self).sorted().into_iter().collect();
        }
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        let mut day = Day::default();
        day.add(quarter, slot);
        self.0.push((key, day));
    }

    /// Adds what others hold.
    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// What was added, in no order, a rollup perhaps several times.
    pub(super) fn each(&self) -> impl Iterator<Item = &(RollupKey, Day)> {
        self.0.iter()
    }

    /// How many rows this is, about.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each rollup once, in the order of the rows.
    pub fn sorted(self) -> BTreeMap<RollupKey, Day> {
        let mut sorted: BTreeMap<RollupKey, Day> = BTreeMap::new();
        for (key, day) in self.0 {
            match sorted.entry(key) {
                Entry::Vacant(new) => drop(new.insert(day)),
                Entry::Occupied(mut known) => known.get_mut().merge(&day),
            }
        }
        sorted
    }

    /// Those of one meter on the days from `first` to `last`, each once, in order.
    pub fn of(&self, meter: MeterId, first: i32, last: i32) -> BTreeMap<RollupKey, Day> {
        let asked = |(key, _): &&(RollupKey, Day)| key.meter == meter && first <= key.day && key.day <= last;
        Self(self.0.iter().filter(asked).cloned().collect()).sorted()
    }
}

/// What entries add to the rows that reports read.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// To rollups.
    pub rollups: Rollups,
    /// To values: how often each was seen.
    pub values: BTreeMap<ValueKey, i64>,
}

impl Derived {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rollups.is_empty() && self.values.is_empty()
    }

    /// Adds what an entry says.
    pub fn add(&mut self, organization: OrganizationId, entry: &outcome::Entry) {
        for used in entry.what.uses() {
            self.add_value(organization, used);
        }
        each_addition(entry, |(meter, day), dimensions, quarter, slot| {
            let key = RollupKey { organization, meter, day, dimensions: dimensions.to_owned() };
            self.rollups.add(key, quarter, slot);
        });
    }

    /// Adds only the values that an entry says were seen.
    pub fn add_values(&mut self, organization: OrganizationId, entry: &outcome::Entry) {
        entry.what.uses().iter().for_each(|used| self.add_value(organization, used));
    }

    fn add_value(&mut self, organization: OrganizationId, used: &Use) {
        let (value, more) = match used.measure {
            Measure::Value(value) => (value, 1),
            Measure::VoidValue(value) => (value, -1),
            _ => return,
        };
        if let Some(bucket) = used.bucket {
            *self.values.entry(ValueKey { organization, meter: used.meter, value, bucket }).or_default() += more;
        }
    }

    /// How often a value was seen in the buckets of `[from, to)` by what has not been written yet; below zero where events
    /// that have been written are void.
    pub fn counts(&self, from: ValueKey, to: Time) -> impl Iterator<Item = (Time, i64)> {
        let end = ValueKey { bucket: to.max(from.bucket), ..from };
        self.values.range(from..end).map(|(key, count)| (key.bucket, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_add_up_keep_the_peak_and_the_latest_level() {
        let at = Time::from_micros;
        let mut slot = Slot { count: 1, sum: 2, max: 5, last: Some((at(9), 1)) };
        slot.merge(&Slot { count: 2, sum: 3, max: 4, last: Some((at(8), 2)) });
        assert_eq!(slot, Slot { count: 3, sum: 5, max: 5, last: Some((at(9), 1)) });
        slot.merge(&Slot { last: Some((at(9), 7)), ..Slot::default() });
        assert_eq!(slot.last, Some((at(9), 7)), "of two at the same time the later arrival");
    }

    #[test]
    fn additions_in_any_order_make_each_rollup_once() {
        let (mut rollups, mut expected) = (Rollups::default(), BTreeMap::<RollupKey, Day>::new());
        for i in 0..5_000_i32 {
            let (organization, meter) = (OrganizationId([7; 16]), MeterId((i % 3).unsigned_abs()));
            let key = RollupKey { organization, meter, day: i * 37 % 50, dimensions: (i % 2).to_string() };
            let quarter = u8::try_from(i % 96).unwrap();
            let level = Some((Time::from_micros(1), i64::from(i)));
            let slot = Slot { count: 1, sum: i64::from(i), max: i64::from(i), last: level };
            expected.entry(key.clone()).or_default().add(quarter, &slot);
            rollups.add(key, quarter, &slot);
        }
        assert!(rollups.len() <= 2 * expected.len(), "{} for {}", rollups.len(), expected.len());
        let of_one: Vec<_> = expected.iter().filter(|(key, _)| key.meter == MeterId(1) && key.day <= 9).collect();
        assert_eq!(rollups.of(MeterId(1), 0, 9).iter().collect::<Vec<_>>(), of_one);
        assert_eq!(rollups.sorted(), expected);
    }

    #[test]
    fn a_stored_day_is_read_back() {
        let slot = |count, sum, max| Slot { count, sum, max, last: None };
        let day = Day([(3, slot(2, 0, 9)), (95, slot(1, i64::MAX, 0))].into());
        let stored = day.write().unwrap();
        assert_eq!(Day::read(&stored).unwrap(), day);
        assert_eq!(Day::total(&stored).unwrap(), slot(3, i64::MAX, 9));
        let mut slots = Vec::new();
        Day::each(&stored, |quarter, slot| slots.push((quarter, slot))).unwrap();
        assert_eq!(Day(slots), day);
        assert!(Day::each(&stored[..2], |_, _| ()).is_err(), "a day that is cut short");
    }
}
