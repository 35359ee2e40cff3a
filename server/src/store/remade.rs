//! Rollups made again from the records (M12): read beside the writer, compared with the rows (`compare.rs`), and only where they
//! differ put in their place by the writer.
//!
//! Where they differ all rows of that meter and day go to the writer with the sequence that they hold. It first writes what
//! the rows lack, adds to the new ones what came after them, and replaces: with nothing decided in between, they are then
//! as far as the account is. Each meter and day is replaced in one commit, so a process that ends in the middle leaves some
//! days right and the others as they were. Beyond the cap of dimension sets a day those that came first have rows of their
//! own.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::id::{MeterId, OrganizationId};
use metergate_rules::outcome::Entry;

use super::batch::Failure;
use super::block::Record;
use super::checkpoint::stop_after_disk_failure;
use super::decided::Decided;
use super::reader::{ReadError, View, later_blocks, records_between};
use super::rollup::{Day, each_addition};
use super::rows::{MOST_DIMENSIONS, OTHER};
use super::writer::Writer;
use super::{Receipt, StoreError};
use crate::dies_at;

mod compare;

pub use compare::{Compared, Comparing, Step};

/// Rows in one commit, about: a meter's day is not torn.
const PIECE: usize = 1000;
/// Blocks that the writer reads for rows that were made before them; where more have come, the reader goes on first.
const MOST_LATER: usize = 256;

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

impl Remade {
    const fn of(organization: OrganizationId) -> Self {
        Self { organization, held: 0, rows: BTreeMap::new(), count: 0, totals: BTreeSet::new() }
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.totals.is_empty()
    }

    /// The days that are not right since 1970-01-01, each with the meters whose rows or totals those are.
    pub fn places(&self) -> BTreeMap<i32, BTreeSet<MeterId>> {
        let mut places: BTreeMap<i32, BTreeSet<MeterId>> = BTreeMap::new();
        for (meter, day) in self.rows.keys().chain(&self.totals) {
            places.entry(*day).or_default().insert(*meter);
        }
        places
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
        each_addition(entry, |place, named, quarter, slot| {
            if !is_made(&self.rows, place) {
                return;
            }
            let sets = self.rows.entry(place).or_default();
            let own = sets.len() - usize::from(sets.contains_key(OTHER));
            let fits = named.is_empty() || (own as i64) < MOST_DIMENSIONS;
            let dimensions = if fits || sets.contains_key(named) { named } else { OTHER };
            if let Some(day) = sets.get_mut(dimensions) {
                day.add(quarter, slot);
            } else {
                sets.entry(dimensions.to_owned()).or_default().add(quarter, slot);
                self.count += 1;
            }
        });
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

    /// Puts a single value in the place of what is stored under its name.
    pub(super) fn keep(&mut self, name: &str, value: &str) -> Result<Receipt, StoreError> {
        let kept = self.sqlite.set_setting(name, value).inspect_err(stop_after_disk_failure);
        kept.map_err(Failure::from).map(|()| Receipt::Upkeep(1)).map_err(|failure| {
            self.tell(&failure, "how far the work beside calls is could not be written");
            StoreError::from(&failure)
        })
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
