//! Rows compared with what the records make of them.
//!
//! At a snapshot the rows of an organization hold its blocks up to the sequence of its account, so the records up to there
//! must make exactly these rows. Records never change, so they are read some at a time, each time at a snapshot of its own,
//! and only the last step, which reads what is left and then the rows, is one instant: none is held for long, however many
//! records an organization has. Where records have gone for their age before they were read, it begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::{Change, Entry, What};
use metergate_rules::time::{DAY, MINUTE, Time};

use super::{MeterDay, Remade};
use crate::clock::boot;
use crate::store::block::Record;
use crate::store::error::{EngineError, unreadable};
use crate::store::reader::{ReadError, View};
use crate::store::rollup::{Day, RollupRow, Slot, day_of};
use crate::store::rows::{MeterDays, OTHER};

/// Rows that are made at a time, about: more days are made one after the other.
const MOST_ROWS: usize = 20_000;
/// How far an event may lie ahead of its arrival, in microseconds.
const AHEAD: i64 = 5 * MINUTE;

/// How far a comparison is.
#[derive(Debug)]
pub enum Step {
    /// There is more to read. Without anything, since it begins anew: records have gone before they were read.
    More(Option<Comparing>),
    /// All is compared.
    Done(Compared),
    /// The organization is not there any more.
    Gone,
}

/// Rollups of some days of an organization as far as its records were read.
#[derive(Debug)]
pub struct Comparing {
    days: RangeInclusive<i32>,
    is_test: bool,
    /// The first block that was there when the first was read.
    first: u64,
    /// The first day of which every record is there, once a record was read.
    whole: Option<i32>,
    made: Remade,
    next: Option<i32>,
}

/// What the records say about stored rows.
#[derive(Debug)]
pub struct Compared {
    /// Rows that the records make.
    pub rows: u64,
    /// Rows that are left as they are, since records of their days have gone.
    pub kept: u64,
    /// The last day of those, since 1970-01-01.
    pub kept_until: Option<i32>,
    /// Meters' days whose rows differ, as they should be.
    pub wrong: Remade,
    /// The day on which to go on: there was too much to do it at once.
    pub next: Option<i32>,
}

impl Comparing {
    /// Whether records have gone for their age that may have been the organization's.
    const fn has_lost(&self) -> bool {
        self.first > 1
    }

    /// Adds the records of the next block.
    fn take(&mut self, block: u64, records: &[(u32, Record)]) {
        let (first, has_lost, is_test) = (*self.days.start(), self.has_lost(), self.is_test);
        for (_, Record { entry, .. }) in records {
            let whole = *self.whole.get_or_insert_with(|| if has_lost { whole_from(entry, is_test) } else { i32::MIN });
            let last = *self.days.end();
            self.made.add(entry, |_, (_, day)| day >= first.max(whole) && day <= last);
            if self.made.count > MOST_ROWS
                && let Some(latest) = self.made.without_latest(first)
            {
                (self.days, self.next) = (first..=latest - 1, Some(latest));
            }
        }
        self.made.held = block;
    }
}

impl View<'_> {
    /// Compares an organization's rows of these days with its records, of which it reads about so many microseconds long, and
    /// at least the next block. `so_far` is what the last step came to.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn compare(
        &self,
        organization: OrganizationId,
        days: &RangeInclusive<i32>,
        so_far: Option<Comparing>,
        micros: i64,
    ) -> Result<Step, ReadError> {
        let began = boot();
        // The first read makes the snapshot.
        let Some(held) = self.rows().account_sequence(organization)? else { return Ok(Step::Gone) };
        let mut comparing = match so_far {
            Some(comparing) => comparing,
            None => match self.begun(organization, days.clone())? {
                Some(comparing) => comparing,
                None => return Ok(Step::Gone),
            },
        };
        let after = comparing.made.held;
        let is_all = self.blocks_between(organization, (after, held), |block, records| {
            comparing.take(block, &records);
            boot() - began < micros
        })?;
        // What the snapshot has may have gone all the same: files have no snapshots.
        if self.first_kept(organization)? > comparing.first.max(after.saturating_add(1)) {
            return Ok(Step::More(None));
        }
        if !is_all {
            return Ok(Step::More(Some(comparing)));
        }
        comparing.made.held = held;
        self.compared(comparing).map(Step::Done)
    }

    fn begun(&self, organization: OrganizationId, days: RangeInclusive<i32>) -> Result<Option<Comparing>, ReadError> {
        let Some((_, account)) = self.rows().account_row(organization)? else { return Ok(None) };
        let (is_test, first) = (account.profile.test, self.first_kept(organization)?);
        Ok(Some(Comparing { days, is_test, first, whole: None, made: Remade::of(organization), next: None }))
    }

    /// Compares with the rows what all records up to there make.
    fn compared(&self, comparing: Comparing) -> Result<Compared, ReadError> {
        let has_lost = comparing.has_lost();
        let Comparing { days, whole, made, next, .. } = comparing;
        let (organization, rows) = (made.organization, made.count as u64);
        // Without any record left there is nothing that could be made again.
        let whole = whole.unwrap_or(if has_lost { i32::MAX } else { i32::MIN });
        let mut compared = Compared { rows, kept: 0, kept_until: None, wrong: made, next };
        self.leave_wrong(&mut compared, days.clone(), whole)?;
        let mut totals = self.wrong_totals(organization, days)?;
        totals.retain(|place| !compared.wrong.rows.contains_key(place));
        compared.wrong.totals = totals;
        Ok(compared)
    }

    /// The days whose totals are not what their rows come to. A row that is damaged is put right by itself.
    fn wrong_totals(
        &self,
        organization: OrganizationId,
        days: RangeInclusive<i32>,
    ) -> Result<BTreeSet<MeterDay>, ReadError> {
        let mut totals: BTreeMap<MeterDay, Slot> = BTreeMap::new();
        self.rows().each_row_of_rollups(organization, days.clone(), &mut |(meter, day), dimensions, stored| {
            let total = RollupRow { organization, meter, day, dimensions }.unseal(stored).ok().map(Day::total);
            if let Some(Ok(total)) = total {
                totals.entry((meter, day)).or_default().merge(&total);
            }
            Ok(())
        })?;
        let (mut wrong, all) = (BTreeSet::new(), (MeterId(0), MeterId(u32::MAX)));
        let asked = MeterDays { organization, meters: all, days };
        let read = self.rows().each_day_total(&asked, &mut |meter, day, stored| {
            if totals.remove(&(meter, day)).is_none_or(|total| !total.is_like(&stored)) {
                wrong.insert((meter, day));
            }
        });
        match read {
            Ok(false) => return Ok(BTreeSet::new()),
            Ok(true) => {}
            Err(EngineError::Unreadable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        wrong.extend(totals.into_keys());
        Ok(wrong)
    }

    /// Leaves only meters' days whose rows are not what the records make.
    fn leave_wrong(&self, compared: &mut Compared, days: RangeInclusive<i32>, whole: i32) -> Result<(), ReadError> {
        let organization = compared.wrong.organization;
        let (mut wrong, mut equal) = (BTreeSet::new(), BTreeMap::<MeterDay, usize>::new());
        let mut beyond: BTreeMap<MeterDay, Day> = BTreeMap::new();
        self.rows().each_row_of_rollups(organization, days, &mut |(meter, day), dimensions, stored| {
            if day < whole {
                compared.kept += 1;
                compared.kept_until = compared.kept_until.max(Some(day));
                return Ok(());
            }
            let row = RollupRow { organization, meter, day, dimensions };
            let sets = compared.wrong.rows.get(&(meter, day));
            if sets.is_some_and(|sets| sets.contains_key(OTHER)) {
                match row.unseal(stored).ok().and_then(|content| Day::read(content).ok()) {
                    Some(found) => beyond.entry((meter, day)).or_default().merge(&found),
                    None => {
                        wrong.insert((meter, day));
                    }
                }
                return Ok(());
            }
            let made = sets.and_then(|sets| sets.get(dimensions)).map(|made| row.seal(made)).transpose();
            if made.map_err(|error| unreadable("a new rollup", error))?.is_some_and(|made| made == stored) {
                *equal.entry((meter, day)).or_default() += 1;
            } else {
                wrong.insert((meter, day));
            }
            Ok(())
        })?;
        let rows = &mut compared.wrong.rows;
        let is_right = |place: &MeterDay, sets: &BTreeMap<String, Day>| {
            equal.get(place) == Some(&sets.len()) || beyond.get(place).is_some_and(|found| come_to(sets, found))
        };
        rows.retain(|place, sets| wrong.contains(place) || !is_right(place, sets));
        // Where there are rows and no records.
        for place in wrong {
            rows.entry(place).or_default();
        }
        Ok(())
    }
}

/// Whether these sets together come to this. Beyond the cap that is all that can be said: which of them have rows of their own
/// depends on which stood in the commits that came first, and not on the records alone.
fn come_to(sets: &BTreeMap<String, Day>, found: &Day) -> bool {
    let mut made = Day::default();
    sets.values().for_each(|day| made.merge(day));
    let alike = |((quarter, made), (other, found)): ((u8, &Slot), (u8, &Slot))| quarter == other && made.is_like(found);
    made.slots().count() == found.slots().count() && made.slots().zip(found.slots()).all(alike)
}

/// The first day of which every record is still there, where the oldest that an organization has is this: what has gone came
/// before, and so has a time at most a little after.
fn whole_from(oldest: &Entry, is_test: bool) -> i32 {
    let begins = matches!(&oldest.what, What::Changed(change) if matches!(**change, Change::Created { .. }));
    match (begins, is_test) {
        (true, _) => i32::MIN,
        // Before anything is recorded its own clock may be set to any time.
        (false, true) => i32::MAX,
        (false, false) => day_of(Time::from_micros(oldest.at.micros().saturating_add(AHEAD + DAY))),
    }
}
