//! Rollups made again from the records of all organizations, one after the other, beside everything else (M12).
//!
//! What is right stays untouched, so it may run at any time, be cut off anywhere and begin anew. Values of `uniqueCount`
//! meters, and what all organizations used together, are not made again.

use std::ops::RangeInclusive;
use std::time::Duration;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::{DAY, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::boot;
use crate::store::remade::{Compared, Remade, Step};
use crate::store::{Port, Store, StoreError};

/// Organizations that are looked up at once.
pub(crate) const STEP: usize = 200;
/// How often rows are brought up before they are given up: something comes faster than it can be read.
const TRIES: usize = 100;
/// The longest rest after one step.
const REST: Duration = Duration::from_millis(250);
/// Days that the log names of one organization.
const NAMED: usize = 20;
/// Meters' days whose rows or totals were not what the records say.
const WRONG: &str = "metergate_rollups_wrong_total";

/// What an aggregation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregated {
    /// Organizations that were gone through.
    pub organizations: u64,
    /// Rows that their records make.
    pub rows: u64,
    /// Meters' days that were not right: a row of them, or what their rows come to.
    pub wrong: u64,
    /// Rows that were written since what stood there differed, together with those of the same meter and day.
    pub rebuilt: u64,
    /// Rows that were left as they are, since records of their days have gone.
    pub kept: u64,
    /// The last day of those, since 1970-01-01.
    pub kept_until: Option<i32>,
    /// Files that have been kept for long enough, and went.
    pub files: u64,
}

/// How much is done at a time, and how long is rested after it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long records are read at one snapshot, in microseconds.
    pub micros: i64,
    /// How many times as long as a step took it rests after it, a quarter of a second at most.
    pub rests: u32,
}

impl Pace {
    /// Somebody waits for it.
    pub const CALLED: Self = Self { micros: 100_000, rests: 0 };
    /// Nobody does: it takes a fifth of a core at most, and of the disk.
    pub const BY_ITSELF: Self = Self { micros: 20_000, rests: 4 };
}

/// Which days, and how.
pub struct Aggregation<'a> {
    /// Whose rollups.
    pub store: &'a Store,
    /// The door by which rows are written.
    pub port: &'a Port,
    /// Days of UTC since 1970-01-01.
    pub days: RangeInclusive<i32>,
    /// How much at a time.
    pub pace: Pace,
    /// Whether the server stops.
    pub stop: &'a watch::Receiver<bool>,
}

/// Applies the retention, then makes the rollups of these days again. Days are of UTC, since 1970-01-01.
///
/// # Errors
/// [`StoreError`] where the store cannot be read, takes nothing now or is being stopped. What was done before stays done.
pub async fn aggregate(
    store: &Store,
    port: &Port,
    days: RangeInclusive<i32>,
    stop: &watch::Receiver<bool>,
) -> Result<Aggregated, StoreError> {
    let mut done = Aggregated { files: store.retain(port).await?, ..Aggregated::default() };
    let aggregation = Aggregation { store, port, days, pace: Pace::CALLED, stop };
    let mut after = None;
    loop {
        let found = store.reader().read(move |view| view.organizations_after(after, STEP)).await?;
        let Some(last) = found.last() else { return Ok(done) };
        after = Some(*last);
        for organization in found {
            aggregation.of(organization, &mut done).await?;
        }
    }
}

impl Aggregation<'_> {
    /// Makes the rollups of one organization again, and adds what that was to `done`.
    ///
    /// # Errors
    /// As [`aggregate`] says.
    pub async fn of(&self, organization: OrganizationId, done: &mut Aggregated) -> Result<(), StoreError> {
        done.organizations += 1;
        let mut days = self.days.clone();
        loop {
            let compared = self.compared(organization, &days).await?;
            let Some(Compared { rows, kept, kept_until, wrong, next }) = compared else { return Ok(()) };
            done.rows += rows;
            done.kept += kept;
            done.kept_until = done.kept_until.max(kept_until);
            if !wrong.is_empty() {
                done.wrong += told(organization, &wrong);
                done.rebuilt += self.replace(wrong).await?;
            }
            let Some(next) = next else { return Ok(()) };
            days = next..=*days.end();
        }
    }

    /// What the records say about the rows, read step by step. `None` where the organization is not there any more.
    async fn compared(
        &self,
        organization: OrganizationId,
        days: &RangeInclusive<i32>,
    ) -> Result<Option<Compared>, StoreError> {
        let mut so_far = None;
        loop {
            if *self.stop.borrow() {
                return Err(StoreError::Unavailable);
            }
            let (began, days, micros) = (boot(), days.clone(), self.pace.micros);
            let read = self.store.reader().read(move |view| view.compare(organization, &days, so_far, micros));
            let step = read.await?;
            self.rest(began).await;
            match step {
                Step::More(read) => so_far = read,
                Step::Done(compared) => return Ok(Some(compared)),
                Step::Gone => return Ok(None),
            }
        }
    }

    async fn rest(&self, began: i64) {
        let took = Duration::from_micros((boot() - began).unsigned_abs());
        if self.pace.rests > 0 {
            tokio::time::sleep((self.pace.rests * took).min(REST)).await;
        }
    }

    async fn replace(&self, mut wrong: Remade) -> Result<u64, StoreError> {
        let (mut rebuilt, mut tries) = (0, 0);
        while !wrong.is_empty() {
            let (began, piece) = (boot(), wrong.piece());
            match self.store.replace(self.port, piece.clone()).await {
                Ok(rows) => rebuilt += rows,
                Err(StoreError::Changed) if tries < TRIES => {
                    tries += 1;
                    wrong.put_back(piece);
                    let up = self.store.reader().read(move |view| view.bring_up(&mut wrong).map(|()| wrong));
                    wrong = up.await?;
                }
                Err(StoreError::Changed) => return Err(StoreError::Unavailable),
                Err(error) => return Err(error),
            }
            self.rest(began).await;
        }
        Ok(rebuilt)
    }
}

/// Says it loudly: rows follow from the records, so a defect or a damaged store has made them differ. How many meters' days.
fn told(organization: OrganizationId, wrong: &Remade) -> u64 {
    let places = wrong.places();
    let meters: usize = places.values().map(|meters| meters.len()).sum();
    let named: Vec<String> = places.keys().take(NAMED).map(|day| date(*day)).collect();
    let (days, others) = (named.join(", "), places.len() - named.len());
    tracing::error!(
        %organization, days, others, meters,
        "rollups were not what the records say, for a defect or since what is stored was damaged; they are made again"
    );
    metrics::counter!(WRONG).increment(meters as u64);
    meters as u64
}

/// Has the figures of aggregations shown from the start on, also while they are zero.
pub fn show_figures() {
    metrics::counter!(WRONG).increment(0);
}

/// A day since 1970-01-01, such as `2026-11-27`.
pub fn date(day: i32) -> String {
    Time::from_micros(i64::from(day).saturating_mul(DAY)).to_string().chars().take(10).collect()
}
