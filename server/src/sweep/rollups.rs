//! Once a day rollups are compared with the records by themselves (M12). What differs is made right, and said loudly, since it
//! means a defect or a damaged store.
//!
//! A pass goes over whole days: up to yesterday, since today's are looked at tomorrow with all that still comes; and from as
//! long ago as raw records are kept, since nothing could be said of what is older. What comes late for a day before that is
//! left to who asks for an aggregation. The retention needs no help: the store lets go by itself what is old enough.
//!
//! It works in shifts of a minute, in each of which this node alone does it, and keeps behind each how far it has come: so a
//! start, or another node, goes on from there, and nobody begins anew what was done an hour ago. What falls due does not
//! wait for it, since that is another turn. An organization that a stop cuts off begins anew.

use std::time::Duration;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::{MINUTE, SECOND, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::aggregate::{Aggregated, Aggregation, Pace, STEP, show_figures};
use crate::clock::boot;
use crate::store::rollup::day_of;
use crate::store::{Job, Port, Store, StoreError};

/// The setting that says how far it has come.
const PROGRESS: &str = "rollups_compared";
/// When a pass has ended last.
const COMPARED: &str = "metergate_rollups_compared_timestamp_seconds";

/// How often and over what.
#[derive(Clone, Copy, Debug)]
pub struct Daily {
    /// How long after the end of a pass the next one begins, in microseconds.
    pub every: i64,
    /// For how long raw records are kept, in microseconds.
    pub keep_records: i64,
    /// How much is done at a time.
    pub pace: Pace,
    /// How long one node goes on before it says how far it has come, in microseconds.
    pub shift: i64,
}

/// What came of a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Another node has the turn.
    Elsewhere,
    /// There is nothing to do before then.
    Rests(Time),
    /// There is more to do.
    GoesOn,
    /// A pass has ended: what all its shifts did, and of how many organizations the records or rows cannot be read.
    Ended(Aggregated, u64),
}

/// How far a pass has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Progress {
    began: Time,
    /// The last organization that is done.
    after: Option<OrganizationId>,
    ended: Option<Time>,
    done: Aggregated,
    failed: u64,
}

impl Daily {
    /// The usual pace.
    pub const fn new(every: i64, keep_records: i64) -> Self {
        Self { every, keep_records, pace: Pace::BY_ITSELF, shift: MINUTE }
    }

    /// Does it again and again until it is told to stop, and looks every so often whether it is due.
    pub async fn go_on(&self, store: &Store, look: Duration, mut stop: watch::Receiver<bool>) {
        let port = store.port();
        let receiving = tokio::spawn(port.clone().receive());
        show_figures();
        let (mut due, mut rests) = (Time::MIN, look);
        // Not at once: a start has enough to do.
        while tokio::time::timeout(rests, stop.changed()).await.is_err() && !*stop.borrow() {
            if store.now() < due {
                continue;
            }
            rests = look;
            match self.shift(store, &port, &stop).await {
                Ok(Shift::GoesOn) => rests = Duration::ZERO,
                Ok(Shift::Rests(until)) => due = until,
                Ok(Shift::Elsewhere | Shift::Ended(..)) => {}
                Err(_) if *stop.borrow() => {}
                Err(error) => tracing::warn!(%error, "comparing rollups was broken off; it goes on later"),
            }
        }
        receiving.abort();
    }

    /// Goes on with a pass where it is under way or due, for one shift.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read, takes nothing now or is being stopped. The next shift goes on.
    pub async fn shift(&self, store: &Store, port: &Port, stop: &watch::Receiver<bool>) -> Result<Shift, StoreError> {
        let Some(_turn) = store.turn(Job::Rollups).await? else { return Ok(Shift::Elsewhere) };
        let (stored, now) = (stored(store).await?, store.now());
        let mut progress = match stored {
            Some(Progress { ended: Some(ended), .. }) if self.rests(ended, now) => {
                show(ended);
                return Ok(Shift::Rests(ended.plus(self.every)));
            }
            Some(progress) if progress.ended.is_none() => progress,
            _ => Progress { began: now, after: None, ended: None, done: Aggregated::default(), failed: 0 },
        };
        let gone_on = self.work(store, port, &mut progress, stop).await;
        let text = serde_json::to_string(&progress).map_err(|_| StoreError::Internal)?;
        store.put_setting(port, PROGRESS, text).await?;
        gone_on?;
        let Some(ended) = progress.ended else { return Ok(Shift::GoesOn) };
        show(ended);
        let Progress { done, failed, .. } = progress;
        let Aggregated { organizations, rows, wrong, rebuilt, kept, .. } = done;
        tracing::info!(organizations, rows, wrong, rebuilt, kept, failed, "rollups were compared with the records");
        Ok(Shift::Ended(done, failed))
    }

    /// Whether a pass that has ended then is recent enough. One that a wrong clock has put far ahead is not.
    const fn rests(&self, ended: Time, now: Time) -> bool {
        now.since(ended).saturating_abs() < self.every
    }

    async fn work(
        &self,
        store: &Store,
        port: &Port,
        progress: &mut Progress,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), StoreError> {
        let (first, today) = (progress.began.plus(-self.keep_records), progress.began);
        let days = day_of(first)..=day_of(today) - 1;
        let aggregation = Aggregation { store, port, days, pace: self.pace, stop };
        let until = boot() + self.shift;
        loop {
            let after = progress.after;
            let found = store.reader().read(move |view| view.organizations_after(after, STEP)).await?;
            if found.is_empty() {
                progress.ended = Some(store.now());
                return Ok(());
            }
            for organization in found {
                let mut done = progress.done;
                match aggregation.of(organization, &mut done).await {
                    Ok(()) => {}
                    // It was said already, and holds up no other.
                    Err(StoreError::Damaged | StoreError::Internal) => progress.failed += 1,
                    Err(error) => return Err(error),
                }
                (progress.done, progress.after) = (done, Some(organization));
                if boot() >= until {
                    return Ok(());
                }
            }
        }
    }
}

/// How far it had come; nothing where that cannot be read any more.
async fn stored(store: &Store) -> Result<Option<Progress>, StoreError> {
    match store.reader().read(|view| Ok(view.rows().setting(PROGRESS)?)).await {
        Ok(text) => Ok(text.and_then(|text| serde_json::from_str(&text).ok())),
        Err(StoreError::Damaged) => Ok(None),
        Err(error) => Err(error),
    }
}

/// For `/metrics`.
fn show(ended: Time) {
    metrics::gauge!(COMPARED).set((ended.micros() / SECOND) as f64);
}
