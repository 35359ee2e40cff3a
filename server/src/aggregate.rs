//! Rollups made again from the records of all organizations, one after the other, beside everything else (M12).
//!
//! What is right stays untouched, so it may run at any time, be cut off anywhere and begin anew. Values of `uniqueCount`
//! meters, and what all organizations used together, are not made again.

use std::ops::RangeInclusive;

use metergate_rules::id::OrganizationId;
use tokio::sync::watch;

use crate::store::remade::{Compared, Remade};
use crate::store::{Port, Store, StoreError};

/// Organizations that are looked up at once.
const STEP: usize = 200;
/// How often rows are brought up before they are given up: something comes faster than it can be read.
const TRIES: usize = 100;

/// What an aggregation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregated {
    /// Organizations that were gone through.
    pub organizations: u64,
    /// Rows that their records make.
    pub rows: u64,
    /// Rows that were written since what stood there differed, together with those of the same meter and day.
    pub rebuilt: u64,
    /// Rows that were left as they are, since records of their days have gone.
    pub kept: u64,
    /// The last day of those, since 1970-01-01.
    pub kept_until: Option<i32>,
    /// Files that have been kept for long enough, and went.
    pub files: u64,
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
    let mut after = None;
    loop {
        let found = store.reader().read(move |view| view.organizations_after(after, STEP)).await?;
        let Some(last) = found.last() else { return Ok(done) };
        after = Some(*last);
        for organization in found {
            if *stop.borrow() {
                return Err(StoreError::Unavailable);
            }
            one(store, port, organization, days.clone(), &mut done).await?;
        }
    }
}

async fn one(
    store: &Store,
    port: &Port,
    organization: OrganizationId,
    mut days: RangeInclusive<i32>,
    done: &mut Aggregated,
) -> Result<(), StoreError> {
    done.organizations += 1;
    loop {
        let range = days.clone();
        let compared = store.reader().read(move |view| view.compare(organization, &range)).await?;
        let Some(Compared { rows, kept, kept_until, wrong, next }) = compared else { return Ok(()) };
        done.rows += rows;
        done.kept += kept;
        done.kept_until = done.kept_until.max(kept_until);
        if !wrong.is_empty() {
            tracing::warn!(%organization, "rollups were not what the records say; they are made again");
            done.rebuilt += replace(store, port, wrong).await?;
        }
        let Some(next) = next else { return Ok(()) };
        days = next..=*days.end();
    }
}

async fn replace(store: &Store, port: &Port, mut wrong: Remade) -> Result<u64, StoreError> {
    let (mut rebuilt, mut tries) = (0, 0);
    while !wrong.is_empty() {
        let piece = wrong.piece();
        match store.replace(port, piece.clone()).await {
            Ok(rows) => rebuilt += rows,
            Err(StoreError::Changed) if tries < TRIES => {
                tries += 1;
                wrong.put_back(piece);
                wrong = store.reader().read(move |view| view.bring_up(&mut wrong).map(|()| wrong)).await?;
            }
            Err(StoreError::Changed) => return Err(StoreError::Unavailable),
            Err(error) => return Err(error),
        }
    }
    Ok(rebuilt)
}
