//! Rollups made again from the records (M12): read beside the writer, compared with the rows at one snapshot, and only where
//! they differ put in their place by the writer.
//!
//! At a snapshot the rows of an organization hold its blocks up to the sequence of its account, so the records up to there
//! must make exactly these rows. Where they do not, all rows of that meter and day go to the writer with the sequence
//! that they hold. It first writes what the rows lack, adds to the new ones what came after them, and replaces: with
//! nothing decided in between, they are then as far as the account is. Each meter and day is replaced in one commit, so a
//! process that ends in the middle leaves some days right and the others as they were. Beyond the cap of dimension sets a
//! day those that came first have rows of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::{Change, Entry, What};
use metergate_rules::time::{DAY, MINUTE, Time};

use super::batch::Failure;
use super::block::Record;
use super::checkpoint::stop_after_disk_failure;
use super::decided::Decided;
use super::error::{EngineError, unreadable};
use super::reader::{ReadError, View, later_blocks, records_between};
use super::rollup::{Day, RollupRow, Slot, day_of, quarter_of};
use super::rows::{MOST_DIMENSIONS, MeterDays, OTHER};
use super::writer::Writer;
use super::{Receipt, StoreError};
use crate::dies_at;

/// Rows that are made at a time, about: more days are made one after the other.
const MOST_ROWS: usize = 20_000;
/// Rows in one commit, about: a meter's day is not torn.
const PIECE: usize = 1000;
/// Blocks that the writer reads for rows that were made before them; where more have come, the reader goes on first.
const MOST_LATER: usize = 256;
/// How far an event may lie ahead of its arrival, in microseconds.
const AHEAD: i64 = 5 * MINUTE;

/// A meter and a day since 1970-01-01.
type MeterDay = (MeterId, i32);

/// Rollups of some days of an organization as its records make them.
#[derive(Clone, Debug)]
pub struct Remade {
    organization: OrganizationId,
    /// The last block that is in them.
    held: u64,
    rows: BTreeMap<MeterDay, BTreeMap<String, Day>>,
    count: usize,
    /// Days whose totals alone are to be made again.
    totals: BTreeSet<MeterDay>,
}

/// What the records say about stored rows.
#[derive(Clone, Debug)]
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

impl Remade {
    const fn of(organization: OrganizationId) -> Self {
        Self { organization, held: 0, rows: BTreeMap::new(), count: 0, totals: BTreeSet::new() }
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.totals.is_empty()
    }

    /// Whose they are.
    pub(super) const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// The last block that is in them.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// All rows of each meter's day.
    pub(super) fn rows(
        &self,
    ) -> impl Iterator<Item = ((OrganizationId, MeterId, i32), &BTreeMap<String, Day>)> + Clone {
        self.rows.iter().map(|((meter, day), sets)| ((self.organization, *meter, *day), sets))
    }

    /// Days of which the totals alone are not what the rows come to.
    fn totals(&self) -> impl Iterator<Item = (OrganizationId, MeterId, i32)> {
        self.totals.iter().map(|(meter, day)| (self.organization, *meter, *day))
    }

    /// Adds a record that came later, where it is of days that are made.
    pub(super) fn add_later(&mut self, record: &Record) {
        self.add(&record.entry, |rows, place| rows.contains_key(&place));
    }

    /// Adds what an entry used on days that are made.
    fn add(&mut self, entry: &Entry, is_made: impl Fn(&BTreeMap<MeterDay, BTreeMap<String, Day>>, MeterDay) -> bool) {
        for used in entry.what.uses() {
            let place = (used.meter, day_of(used.time));
            if !is_made(&self.rows, place) {
                continue;
            }
            let sets = self.rows.entry(place).or_default();
            let own = sets.len() - usize::from(sets.contains_key(OTHER));
            let fits = used.dimensions.is_empty() || (own as i64) < MOST_DIMENSIONS;
            let dimensions = if fits || sets.contains_key(&used.dimensions) { &*used.dimensions } else { OTHER };
            let (quarter, slot) = quarter_of(used);
            if let Some(day) = sets.get_mut(dimensions) {
                day.add(quarter, &slot);
            } else {
                sets.entry(dimensions.to_owned()).or_default().add(quarter, &slot);
                self.count += 1;
            }
        }
    }

    /// Takes away the latest of several days.
    fn without_latest(&mut self, first: i32) -> Option<i32> {
        let latest = self.rows.keys().map(|(_, day)| *day).max().filter(|latest| *latest > first)?;
        self.rows.retain(|(_, day), _| *day < latest);
        self.count = self.rows.values().map(BTreeMap::len).sum();
        Some(latest)
    }

    /// Takes away what fits into one commit.
    pub fn piece(&mut self) -> Self {
        let mut piece = Self { held: self.held, ..Self::of(self.organization) };
        while piece.count < PIECE
            && let Some((place, sets)) = self.rows.pop_first()
        {
            piece.count += sets.len() + 1;
            piece.rows.insert(place, sets);
        }
        while piece.count + piece.totals.len() < PIECE
            && let Some(place) = self.totals.pop_first()
        {
            piece.totals.insert(place);
        }
        piece
    }

    /// Takes back a piece that could not be replaced.
    pub fn put_back(&mut self, piece: Self) {
        self.rows.extend(piece.rows);
        self.totals.extend(piece.totals);
    }
}

impl View<'_> {
    /// Compares an organization's rows of these days with its records. `None` where it is not there any more.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if they cannot be read.
    pub fn compare(
        &self,
        organization: OrganizationId,
        days: &RangeInclusive<i32>,
    ) -> Result<Option<Compared>, ReadError> {
        // The first read makes the snapshot.
        let Some((held, account)) = self.rows().account_row(organization)? else { return Ok(None) };
        let lost = self.has_lost_records(organization)?;
        let (first, mut last, mut next) = (*days.start(), *days.end(), None);
        let (mut whole, mut remade) = (None, Remade { held, ..Remade::of(organization) });
        self.records_between(organization, (0, held), |record| {
            let is_test = account.profile.test;
            let whole = *whole.get_or_insert_with(|| if lost { whole_from(&record.entry, is_test) } else { i32::MIN });
            remade.add(&record.entry, |_, (_, day)| day >= first.max(whole) && day <= last);
            if remade.count > MOST_ROWS
                && let Some(latest) = remade.without_latest(first)
            {
                (last, next) = (latest - 1, Some(latest));
            }
        })?;
        let whole = whole.unwrap_or(if lost { i32::MAX } else { i32::MIN });
        let mut compared = Compared { rows: remade.count as u64, kept: 0, kept_until: None, wrong: remade, next };
        self.leave_wrong(&mut compared, first..=last, whole)?;
        let mut totals = self.wrong_totals(organization, first..=last)?;
        totals.retain(|place| !compared.wrong.rows.contains_key(place));
        compared.wrong.totals = totals;
        Ok(Some(compared))
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
        self.rows().each_row_of_rollups(organization, days, &mut |(meter, day), dimensions, stored| {
            if day < whole {
                compared.kept += 1;
                compared.kept_until = compared.kept_until.max(Some(day));
                return Ok(());
            }
            let made = compared.wrong.rows.get(&(meter, day)).and_then(|sets| sets.get(dimensions));
            let row = RollupRow { organization, meter, day, dimensions };
            let made =
                made.map(|made| row.seal(made)).transpose().map_err(|error| unreadable("a new rollup", error))?;
            if made.is_some_and(|made| made == stored) {
                *equal.entry((meter, day)).or_default() += 1;
            } else {
                wrong.insert((meter, day));
            }
            Ok(())
        })?;
        let rows = &mut compared.wrong.rows;
        rows.retain(|place, sets| wrong.contains(place) || equal.get(place) != Some(&sets.len()));
        // Where there are rows and no records.
        for place in wrong {
            rows.entry(place).or_default();
        }
        Ok(())
    }

    /// Adds what has come since to rows that were made.
    ///
    /// # Errors
    /// [`ReadError::Engine`] if it cannot be read.
    pub fn bring_up(&self, remade: &mut Remade) -> Result<(), ReadError> {
        let newest = self.rows().newest_block(remade.organization)?;
        let between = (remade.held, newest);
        self.records_between(remade.organization, between, |record| {
            remade.add_later(&record);
        })?;
        remade.held = newest.max(remade.held);
        Ok(())
    }
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

impl Writer {
    /// Puts rows made again in the place of those that are stored.
    pub(super) fn replace(&mut self, remade: &Remade) -> Result<Receipt, StoreError> {
        self.try_replace(remade).map_err(|failure| {
            self.tell(&failure, "rollups made again could not be written");
            StoreError::from(&failure)
        })?
    }

    fn try_replace(&mut self, remade: &Remade) -> Result<Result<Receipt, StoreError>, Failure> {
        let organization = remade.organization;
        if self.sqlite.account_sequence(organization)?.is_none() {
            // Deleted since the rows were made again.
            return Ok(Ok(Receipt::Upkeep(0)));
        }
        if later_blocks(&self.recent, organization, remade.held).is_none_or(|blocks| blocks > MOST_LATER) {
            return Ok(Err(StoreError::Changed));
        }
        self.ledger.account(&self.sqlite, organization)?;
        let lacking = self.ledger.dirty.read().get(organization).cloned();
        if let Some(dirty) = lacking {
            let step = self.fold.aside(vec![dirty]);
            self.commit_with(Decided::nothing(self.ledger.last), step)?;
        }
        dies_at!("aggregate-row-written");
        let mut remade = remade.clone();
        let between = (remade.held, self.ledger.sequence);
        records_between(&self.sqlite, &self.recent, organization, between, |record| {
            remade.add_later(&record);
        })?;
        let mut written = 0;
        self.sqlite
            .replace_rollups(remade.rows(), remade.totals(), &mut written)
            .inspect_err(stop_after_disk_failure)?;
        dies_at!("aggregate-replaced");
        self.checkpointer.grown((written + 2) * 2 * 4096);
        Ok(Ok(Receipt::Upkeep(written as u64)))
    }

    /// Lets go every file that has been kept for long enough.
    pub(super) fn retain(&mut self) -> Result<Receipt, StoreError> {
        let mut gone = 0;
        while self.forget_oldest().map_err(|failure| {
            self.tell(&failure, "what has been kept for long enough could not go");
            StoreError::from(&failure)
        })? {
            gone += 1;
        }
        Ok(Receipt::Upkeep(gone))
    }
}
