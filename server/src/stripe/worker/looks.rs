//! Looking at Stripe without being told: events that were missed while nobody listened, and each linked subscription every hour.
//!
//! Where a look is, is a setting: so all nodes together look once, whichever has the turn for the next step, and a node that
//! starts does not begin anew what was done a while ago.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metergate_rules::id::OrganizationRef;
use metergate_rules::subscription::Reported;
use metergate_rules::time::{HOUR, SECOND, Time};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::Worker;
use crate::clock::boot;
use crate::store::stripe::{EventRow, StripeRow, StripeWork};
use crate::store::{Scope, StoreError};
use crate::stripe::api::CallError;
use crate::stripe::event::{self, FOLLOWED};

/// Subscriptions that one step asks for. The next ones wait until these are settled.
const STEP: usize = 20;
/// How long is waited from one step to the next, in microseconds: the merchant's own calls count against the same limit.
const PACE: i64 = SECOND;
/// Events may be listed so much later than they were made, in microseconds.
const OVERLAP: i64 = HOUR;
/// Pages of events that are read at most: of a hundred each.
const MOST_PAGES: usize = 300;
/// After a failure nobody asks for events again for so long, in microseconds.
const REST: i64 = 30 * SECOND;
/// So long where Stripe itself says how long, at least. And so often it is asked again before the next look.
const LEAST_REST: Duration = Duration::from_millis(200);
const TRIES: u32 = 5;

/// The setting that says where the look is.
const PROGRESS: &str = "stripe_look";

/// Where a look is, whichever node goes on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Progress {
    began: Time,
    /// The last subscription that was asked for, while it goes on.
    after: Option<String>,
    /// When its next step is.
    step_at: Time,
}

/// When this node looks whether there is something to look at.
pub(super) struct Looks {
    /// How often each subscription is looked at, in microseconds; `None` where Stripe cannot be asked.
    every: Option<i64>,
    /// When that is next, since boot.
    next: i64,
    /// When this node has asked for missed events, since boot.
    caught_up: Option<i64>,
}

/// What may have been missed.
#[derive(Clone)]
pub(super) struct Missed {
    /// Since when.
    since: Time,
    /// The last event that was read, where there are more than are read at a time.
    after: Option<String>,
}

impl Missed {
    /// What was made since the newest that was known, and a while before.
    pub(super) fn since(newest: Time) -> Self {
        Self { since: newest.plus(-OVERLAP), after: None }
    }
}

impl Looks {
    /// What was missed is asked for at once: nobody listened before.
    pub(super) fn new(every: Option<Duration>) -> Self {
        let every = every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX));
        Self { every, next: boot(), caught_up: None }
    }

    pub(super) fn is_due(&self) -> bool {
        self.every.is_some() && self.next <= boot()
    }

    /// A step of a look, where nothing else goes on.
    pub(super) async fn go_on(&mut self, worker: &Arc<Worker>, tasks: &mut JoinSet<String>) -> Result<(), StoreError> {
        let Some(every) = self.every.filter(|_| self.is_due()) else { return Ok(()) };
        if self.caught_up.is_none() {
            self.catch_up(worker, tasks);
        }
        if !tasks.is_empty() || worker.quiet_until.load(Ordering::Relaxed) > boot() {
            return Ok(());
        }
        let now = worker.store.now();
        match worker.progress().await? {
            Some(found) if rest(&found, now, every) > 0 => {
                self.next = boot().saturating_add(rest(&found, now, every));
                Ok(())
            }
            Some(found) if found.after.is_some() => self.step(worker, found, every).await,
            _ => {
                if self.caught_up.is_some_and(|caught_up| boot() - caught_up > every / 2) {
                    self.catch_up(worker, tasks);
                }
                worker.keep_progress(&Progress { began: now, after: Some(String::new()), step_at: now }).await
            }
        }
    }

    fn catch_up(&mut self, worker: &Arc<Worker>, tasks: &mut JoinSet<String>) {
        self.caught_up = Some(boot());
        let missed = Arc::clone(worker);
        tasks.spawn(async move { missed.catch_up().await });
    }

    async fn step(&mut self, worker: &Worker, found: Progress, every: i64) -> Result<(), StoreError> {
        let (after, now) = (found.after.unwrap_or_default(), worker.store.now());
        let read = worker.store.reader().read(move |view| {
            let some = view.rows().subscriptions_after(&after, STEP)?;
            let (last, mut lasting) = (some.last().cloned(), Vec::new());
            for id in some {
                let Some(organization) = view.rows().organization_of_subscription(&id)? else { continue };
                let account = view.account(Scope::Team, &OrganizationRef::Id(organization));
                let state = account.ok().and_then(|account| account.subscribed_as().map(|state| state.status));
                // Nothing comes after its end.
                if !state.is_some_and(Reported::is_over) {
                    lasting.push(id);
                }
            }
            Ok((last, lasting))
        });
        let (after, some) = read.await?;
        let rows: Vec<_> = some.iter().map(|id| StripeRow::Event(Box::new(EventRow::sync(id, now)))).collect();
        if !rows.is_empty() {
            worker.note(rows).await?;
        }
        let kept = Progress { began: found.began, after, step_at: now.plus(PACE.min(every / 10)) };
        worker.keep_progress(&kept).await?;
        self.next = boot().saturating_add(rest(&kept, now, every));
        Ok(())
    }
}

/// How long is waited until the next step, or the next look, in microseconds. What a wrong clock has put far ahead is not waited
/// for.
fn rest(found: &Progress, now: Time, every: i64) -> i64 {
    let wait = if found.after.is_some() { found.step_at.since(now) } else { every - now.since(found.began) };
    if wait > every { 0 } else { wait.max(0) }
}

impl Worker {
    /// Where the look is; nothing where none ever was, or that cannot be read any more.
    async fn progress(&self) -> Result<Option<Progress>, StoreError> {
        match self.store.reader().read(|view| Ok(view.rows().setting(PROGRESS)?)).await {
            Ok(text) => Ok(text.and_then(|text| serde_json::from_str(&text).ok())),
            Err(StoreError::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn keep_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let text = serde_json::to_string(progress).map_err(|_| StoreError::Internal)?;
        self.store.put_setting(&self.port, PROGRESS, text).await
    }

    /// Takes in the events that Stripe has made since the newest that is known.
    async fn catch_up(&self) -> String {
        for _ in 0..TRIES {
            match self.missed().await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, "missed events could not be asked for");
                    self.be_quiet(&error);
                    let wanted = if let CallError::Later(_, wanted) = error { wanted } else { None };
                    let rest = Duration::from_micros(REST.unsigned_abs());
                    tokio::time::sleep(wanted.unwrap_or(rest).max(LEAST_REST)).await;
                }
            }
        }
        // Nobody is about whom this is.
        String::new()
    }

    async fn missed(&self) -> Result<(), CallError> {
        let Some(api) = self.stripe.api.clone() else { return Ok(()) };
        let later = |error: StoreError| CallError::Later(error.to_string(), None);
        let now = self.store.now();
        let newest = self.store.reader().read(move |view| Ok(view.rows().stripe_newest(now)?)).await.map_err(later)?;
        let Some(newest) = newest else { return Ok(()) };
        // What came since a look that failed does not move its beginning.
        let begins = || Missed::since(newest);
        let Missed { since, mut after } = self.missed.lock().get_or_insert_with(begins).clone();
        for _ in 0..MOST_PAGES {
            let (api, from) = (api.clone(), after.take());
            let asked = move || api.events(&FOLLOWED, since, from.as_deref());
            let page = tokio::task::spawn_blocking(asked).await;
            let page = page.map_err(|error| CallError::Later(error.to_string(), None))??;
            let events: Vec<EventRow> = page.payloads.iter().filter_map(|payload| event::event(payload).ok()).collect();
            if !events.is_empty() {
                self.store.stripe(&self.port, StripeWork::Take(events)).await.map_err(later)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            // Where a later page cannot be had it goes on from here.
            *self.missed.lock() = Some(Missed { since, after: after.clone() });
        }
        if after.is_some() {
            tracing::warn!("Stripe has more events than are read at a time: the next look goes on with the older ones");
        }
        if after.is_none() {
            *self.missed.lock() = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_begins_once_in_its_time_and_a_wrong_clock_puts_none_off_for_long() {
        let at = Time::from_micros;
        let cases = [
            // It is over: the next one begins `every` after its beginning.
            (0, None, 0, 50, 50),
            (0, None, 0, 100, 0),
            (0, None, 0, 170, 0),
            // It goes on: the next step has a time of its own, although the next look would be due.
            (0, Some("sub_1"), 60, 50, 10),
            (0, Some("sub_1"), 60, 60, 0),
            (0, Some("sub_1"), 160, 150, 10),
            // Begun by a clock that was ahead.
            (1000, None, 0, 50, 0),
            (0, Some("sub_1"), 1000, 50, 0),
        ];
        for (began, after, step_at, now, expected) in cases {
            let found = Progress { began: at(began), after: after.map(str::to_owned), step_at: at(step_at) };
            assert_eq!(rest(&found, at(now), 100), expected, "{found:?} at {now}");
        }
    }
}
