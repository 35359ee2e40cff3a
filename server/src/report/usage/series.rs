//! What one meter of one organization did, bucket by bucket: folded from its rollups.

use std::collections::{BTreeMap, HashMap, HashSet};

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::time::{DAY, Time};

use super::buckets::Buckets;
use super::group::{Group, Grouping};
use super::{MOST_ROWS, too_many};
use crate::store::error::EngineError;
use crate::store::reader::{DayTotals, ReadError, View};
use crate::store::rollup::{Day, QUARTER, Slot};
use crate::store::rows::{MeterDays, RollupRange};

/// What happened in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) count: i64,
    sum: i128,
    max: i64,
    level: Option<(Time, i64)>,
    distinct: u64,
}

impl Point {
    fn add(&mut self, slot: &Slot) {
        self.count += slot.count;
        self.sum += i128::from(slot.sum);
        self.max = self.max.max(slot.max);
        self.level = later(self.level, slot.last);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.level = later(self.level, other.level);
    }

    /// The figure of the bucket.
    pub(super) fn value(&self, aggregation: Aggregation) -> i128 {
        match aggregation {
            // Of events that each count one the sum is their number, corrected.
            Aggregation::Sum | Aggregation::Count => self.sum,
            Aggregation::Max => i128::from(self.max),
            Aggregation::Last => self.level.map_or(0, |(_, level)| i128::from(level)),
            Aggregation::UniqueCount => i128::from(self.distinct),
        }
    }
}

fn later(a: Option<(Time, i64)>, b: Option<(Time, i64)>) -> Option<(Time, i64)> {
    a.into_iter().chain(b).max_by_key(|(time, _)| *time)
}

/// The points of every group.
#[derive(Default)]
pub(super) struct Series {
    groups: Vec<Group>,
    /// By group and bucket.
    points: BTreeMap<(usize, usize), Point>,
    /// The level before the first bucket, by group.
    before: HashMap<usize, (Time, i64)>,
}

/// What whole days came to, where that spares reading the rows of each.
pub(super) struct Whole {
    totals: DayTotals,
    /// Days of which the rows are read all the same.
    cut: Vec<i32>,
}

impl Whole {
    /// Reads it for meters of an organization. `None` where the rows of every day are to be read: use is told apart by
    /// dimensions or most days are cut.
    pub(super) fn read(
        view: &View<'_>,
        organization: OrganizationId,
        meters: &[&Meter],
        (grouping, buckets): (&Grouping, &Buckets),
    ) -> Result<Option<Self>, ReadError> {
        let ((first, last), cut) = (buckets.days(), buckets.cut_days());
        let ids = || meters.iter().map(|meter| meter.id);
        let (Some(least), Some(most)) = (ids().min(), ids().max()) else { return Ok(None) };
        if !grouping.is_none() || cut.len() * 2 > usize::try_from(last - first).unwrap_or(0) {
            return Ok(None);
        }
        let totals = view.day_totals(&MeterDays { organization, meters: (least, most), days: first..=last })?;
        Ok(totals.map(|totals| Self { totals, cut }))
    }
}

/// Reads what a series is made of.
pub(super) fn read(
    view: &View<'_>,
    organization: OrganizationId,
    meter: &Meter,
    (grouping, buckets): (&Grouping, &Buckets),
    whole: Option<&Whole>,
) -> Result<Series, ReadError> {
    let (known, groups, series) = (HashMap::new(), HashMap::new(), Series::default());
    let mut reading = Reading { view, organization, meter: meter.id, grouping, known, groups, series };
    match whole {
        Some(whole) => reading.add_whole(whole, buckets)?,
        None => reading.add_rows(buckets.days(), buckets)?,
    }
    reading.add_lacking(buckets)?;
    match meter.aggregation {
        Aggregation::Last => reading.look_back(buckets.all().start)?,
        Aggregation::UniqueCount => reading.count_distinct(buckets)?,
        Aggregation::Sum | Aggregation::Count | Aggregation::Max => {}
    }
    let mut groups: Vec<(Group, usize)> = reading.groups.into_iter().collect();
    groups.sort_unstable_by_key(|(_, index)| *index);
    Ok(Series { groups: groups.into_iter().map(|(group, _)| group).collect(), ..reading.series })
}

struct Reading<'a> {
    view: &'a View<'a>,
    organization: OrganizationId,
    meter: MeterId,
    grouping: &'a Grouping,
    /// The groups of the dimension sets seen so far.
    known: HashMap<String, usize>,
    groups: HashMap<Group, usize>,
    series: Series,
}

impl Reading<'_> {
    fn group(&mut self, dimensions: &str) -> usize {
        let dimensions = if self.grouping.is_none() { "" } else { dimensions };
        if let Some(&known) = self.known.get(dimensions) {
            return known;
        }
        let next = self.groups.len();
        let group = *self.groups.entry(self.grouping.group(dimensions)).or_insert(next);
        self.known.insert(dimensions.to_owned(), group);
        group
    }

    fn range(&self, (first, last): (i32, i32), newest_first: bool) -> RollupRange {
        RollupRange { organization: self.organization, meter: self.meter, first, last, newest_first }
    }

    /// Adds up what whole days came to, and the rollups of those that are cut.
    fn add_whole(&mut self, whole: &Whole, buckets: &Buckets) -> Result<(), ReadError> {
        let days = whole.totals.get(&self.meter).map_or(&[][..], |days| days);
        let uncut = days.iter().filter(|(day, _)| whole.cut.binary_search(day).is_err());
        let (mut bucket, mut group) = (0, None);
        for (day, total) in uncut {
            let group = *group.get_or_insert_with(|| self.group(""));
            bucket = buckets.find(start_of(*day), bucket);
            let mut point = Point::default();
            point.add(total);
            self.series.put(group, bucket, &point);
        }
        // A day on which nothing happened has no rows either.
        let cut = whole.cut.iter().filter(|cut| days.binary_search_by_key(cut, |(day, _)| day).is_ok());
        cut.copied().try_for_each(|day| self.add_rows((day, day), buckets))
    }

    /// Adds up the rollups of some days, in one range of rows.
    fn add_rows(&mut self, days: (i32, i32), buckets: &Buckets) -> Result<(), ReadError> {
        let (view, range) = (self.view, self.range(days, false));
        view.each_rollup(&range, |day, dimensions, data| {
            let group = self.group(dimensions);
            self.series.add_day(group, &Slots::new(day, Held::Row(data)), buckets)?;
            if self.series.points.len() > MOST_ROWS { too_many("more") } else { Ok(true) }
        })
    }

    /// Adds up what the rows lack.
    fn add_lacking(&mut self, buckets: &Buckets) -> Result<(), ReadError> {
        let (view, range) = (self.view, self.range(buckets.days(), false));
        for (day, dimensions, slots) in view.lacking_rollups(&range)? {
            let group = self.group(&dimensions);
            self.series.add_day(group, &Slots::new(day, Held::Lacking(&slots)), buckets)?;
        }
        Ok(())
    }

    /// Finds the last level before `start`: of each group, or of all. The latest day that has a level has the latest
    /// one, so that without groups reading ends there; of groups each may have been set at any time.
    fn look_back(&mut self, start: Time) -> Result<(), ReadError> {
        let last = i32::try_from(start.micros().div_euclid(DAY)).unwrap_or(i32::MAX);
        let (view, range) = (self.view, self.range((i32::MIN, last), true));
        view.each_rollup(&range, |day, dimensions, data| {
            let slots = Slots::new(day, Held::Row(data));
            let found = self.series.before.values().map(|(time, _)| *time).max();
            if self.grouping.is_none() && found.is_some_and(|time| slots.start.plus(DAY) <= time) {
                return Ok(false);
            }
            let group = self.group(dimensions);
            self.series.set_before(group, &slots, start)?;
            Ok(true)
        })?;
        for (day, dimensions, slots) in view.lacking_rollups(&range)? {
            let group = self.group(&dimensions);
            self.series.set_before(group, &Slots::new(day, Held::Lacking(&slots)), start)?;
        }
        Ok(())
    }

    /// Counts each value once a bucket. Values come in order of time, so that those of one bucket are held at a time.
    fn count_distinct(&mut self, buckets: &Buckets) -> Result<(), ReadError> {
        let (group, mut bucket, mut seen) = (self.group(""), 0, HashSet::<[u8; 16]>::new());
        self.view.values(self.organization, self.meter, buckets.all(), |time, value| {
            let found = buckets.find(time, bucket);
            if found != bucket {
                bucket = found;
                seen.clear();
            }
            if seen.insert(value) {
                self.series.points.entry((group, bucket)).or_default().distinct += 1;
            }
        })
    }
}

impl Series {
    /// Adds a rollup: the slots of one bucket together, then once to the bucket.
    fn add_day(&mut self, group: usize, slots: &Slots<'_>, buckets: &Buckets) -> Result<(), ReadError> {
        let asked = buckets.all();
        let mut bucket = buckets.begun(slots.start).saturating_sub(1);
        let mut together = Point::default();
        let end = slots.start.plus(DAY);
        if let (Held::Row(data), true) = (&slots.held, asked.start <= slots.start && end <= buckets.span(bucket).end) {
            together.add(&Day::total(data).map_err(unreadable)?);
            self.put(group, bucket, &together);
            return Ok(());
        }
        slots.each(|time, slot| {
            if !asked.contains(time) {
                return;
            }
            let found = buckets.find(time, bucket);
            if found != bucket {
                self.put(group, bucket, &std::mem::take(&mut together));
                bucket = found;
            }
            together.add(&slot);
        })?;
        self.put(group, bucket, &together);
        Ok(())
    }

    /// Finds the last level before `start` in a rollup.
    fn set_before(&mut self, group: usize, slots: &Slots<'_>, start: Time) -> Result<(), ReadError> {
        let mut level = self.before.get(&group).copied();
        slots.each(|time, slot| {
            if time < start {
                level = later(level, slot.last);
            }
        })?;
        self.before.extend(level.map(|level| (group, level)));
        Ok(())
    }

    fn put(&mut self, group: usize, bucket: usize, point: &Point) {
        if *point != Point::default() {
            self.points.entry((group, bucket)).or_default().merge(point);
        }
    }

    /// The points in order of bucket and group; `dense` adds the empty ones where nothing is grouped.
    ///
    /// # Errors
    /// If there are more levels than [`MOST_ROWS`].
    pub(super) fn points(
        &self,
        meter: &Meter,
        grouping: &Grouping,
        buckets: &Buckets,
        dense: bool,
        now: Time,
    ) -> Result<Vec<(usize, Group, Point)>, ReadError> {
        let dense = dense && grouping.is_none();
        let mut points = Vec::new();
        if meter.aggregation == Aggregation::Last {
            if self.groups.len().saturating_mul(buckets.len()) > MOST_ROWS {
                return too_many("more");
            }
            let until = if dense { buckets.len() } else { buckets.begun(now) };
            for group in 0..self.groups.len() {
                points.extend(self.levels(group, buckets.len(), until).map(|(bucket, point)| (bucket, group, point)));
            }
        } else {
            // What was taken back whole is nothing, whether its row has that already or not.
            let something = self.points.iter().filter(|(_, point)| **point != Point::default());
            points.extend(something.map(|((group, bucket), point)| (*bucket, *group, *point)));
        }
        points.sort_by(|a, b| (a.0, self.groups.get(a.1)).cmp(&(b.0, self.groups.get(b.1))));
        let points = if dense { filled(points, buckets.len()) } else { points };
        let named = |(bucket, group, point)| (bucket, self.groups.get(group).cloned().unwrap_or_default(), point);
        Ok(points.into_iter().map(named).collect())
    }

    /// The levels of a group, carried on from its first one: up to bucket `until`, then only where something happened.
    fn levels(&self, group: usize, buckets: usize, until: usize) -> impl Iterator<Item = (usize, Point)> {
        let mut level = self.before.get(&group).copied();
        let own = move |bucket: usize| {
            let happened = self.points.get(&(group, bucket)).copied();
            level = later(level, happened.and_then(|point| point.level));
            let shown = happened.is_some() || (level.is_some() && bucket < until);
            shown.then(|| (bucket, Point { level, ..happened.unwrap_or_default() }))
        };
        (0..buckets).filter_map(own)
    }
}

/// The same points with an empty one in each bucket that has none.
fn filled(points: Vec<(usize, usize, Point)>, buckets: usize) -> Vec<(usize, usize, Point)> {
    let mut points = points.into_iter().peekable();
    (0..buckets)
        .map(|bucket| points.next_if(|point| point.0 == bucket).unwrap_or((bucket, 0, Point::default())))
        .collect()
}

fn unreadable(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unreadable { what: "a rollup".to_owned(), why: error.to_string() }
}

fn start_of(day: i32) -> Time {
    Time::from_micros(i64::from(day) * DAY)
}

/// The quarter hours of one rollup.
pub(super) struct Slots<'a> {
    pub(super) start: Time,
    held: Held<'a>,
}

/// Where they are.
pub(super) enum Held<'a> {
    /// In a row.
    Row(&'a [u8]),
    /// In memory: the row lacks them, and they come after it.
    Lacking(&'a Day),
}

impl<'a> Slots<'a> {
    pub(super) fn new(day: i32, held: Held<'a>) -> Self {
        Self { start: start_of(day), held }
    }

    /// Goes through them, each with its start.
    pub(super) fn each(&self, mut each: impl FnMut(Time, Slot)) -> Result<(), ReadError> {
        let mut at = |quarter: u8, slot| each(self.start.plus(i64::from(quarter) * QUARTER), slot);
        match self.held {
            Held::Lacking(day) => day.slots().for_each(|(quarter, slot)| at(quarter, *slot)),
            Held::Row(data) => Day::each(data, at).map_err(unreadable)?,
        }
        Ok(())
    }
}
