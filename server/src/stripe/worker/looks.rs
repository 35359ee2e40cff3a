//! Looking at Stripe without being told: events that were missed while nobody listened, and each linked subscription every hour.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metergate_rules::id::OrganizationRef;
use metergate_rules::subscription::Reported;
use metergate_rules::time::{HOUR, SECOND, Time};
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

/// When it is looked again, and where a look is.
pub(super) struct Looks {
    /// How often, in microseconds; `None` where Stripe cannot be asked.
    every: Option<i64>,
    /// When the next one begins, since boot.
    next: i64,
    /// The last subscription that was asked for, while a look goes on.
    after: Option<String>,
    /// When its next step is, since boot.
    step_at: i64,
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
    /// The first one begins at once: nobody listened before.
    pub(super) fn new(every: Option<Duration>) -> Self {
        let every = every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX));
        Self { every, next: boot(), after: None, step_at: 0 }
    }

    pub(super) fn is_due(&self) -> bool {
        let is_step = self.after.is_some() && self.step_at <= boot();
        self.every.is_some() && (is_step || (self.after.is_none() && self.next <= boot()))
    }

    /// A step of a look, where nothing else goes on.
    pub(super) async fn go_on(&mut self, worker: &Arc<Worker>, tasks: &mut JoinSet<String>) -> Result<(), StoreError> {
        let Some(every) = self.every else { return Ok(()) };
        if self.after.is_none() && self.next <= boot() {
            self.next = boot().saturating_add(every);
            self.after = Some(String::new());
            let missed = Arc::clone(worker);
            tasks.spawn(async move { missed.catch_up().await });
        }
        let is_quiet = self.step_at.max(worker.quiet_until.load(Ordering::Relaxed)) > boot();
        let Some(after) = self.after.clone().filter(|_| tasks.is_empty() && !is_quiet) else { return Ok(()) };
        self.step_at = boot() + PACE.min(every / 10);
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
        let (last, some) = read.await?;
        self.after = last;
        let now = worker.store.now();
        let rows: Vec<_> = some.iter().map(|id| StripeRow::Event(Box::new(EventRow::sync(id, now)))).collect();
        if rows.is_empty() { Ok(()) } else { worker.note(rows).await }
    }
}

impl Worker {
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
        let newest = self.store.reader().read(|view| Ok(view.rows().stripe_newest()?)).await.map_err(later)?;
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
