//! The thread that applies what Stripe has told, one node at a time. Subscriptions are settled beside each other, each by
//! itself: one of which Stripe does not answer holds up no other.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::id::OrganizationRef;
use metergate_rules::subscription::News;
use metergate_rules::time::{DAY, HOUR, SECOND, Time};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::CallError;
use super::{Api, Stripe, event};
use crate::clock::boot;
use crate::faults::planted;
use crate::store::stripe::{
    Applied, EventRow, EventState, Outcome, SYNC, StripeRow, StripeWork, Subject, revision, unmatched,
};
use crate::store::{Job, Port, Scope, Store, StoreError};

mod looks;

use looks::{Looks, Missed};

/// How often it is looked whether something is due, where nothing wakes the thread.
const EVERY: Duration = Duration::from_millis(500);
/// The same while something goes on.
const BUSY: Duration = Duration::from_millis(100);
/// Subscriptions that are settled at a time.
const AT_ONCE: usize = 8;
/// Events that are read at a time.
const MOST_DUE: usize = 500;
/// How often a subscription is asked for again at once, where it has changed meanwhile.
const TRIES: u32 = 5;
/// What failed is tried again after so long, and each time after twice that, up to an hour, for three days.
const FIRST_RETRY: i64 = SECOND;
const MOST_DOUBLINGS: u32 = 12;
const GIVE_UP: i64 = 3 * DAY;
/// What nobody was found for, or failed, is kept for so long; how often it is looked for what is older.
const KEPT: i64 = 30 * DAY;
const FADES_EVERY: i64 = HOUR;
/// After Stripe has said that it is asked too much, at least so long only what it told of is asked for.
const QUIET: i64 = 2 * SECOND;
/// How long is waited at the end for what goes on, in microseconds.
const FAREWELL: i64 = 2 * SECOND;

/// The thread.
pub struct Syncing(JoinHandle<()>);

impl Syncing {
    /// Starts it. `every` is how often each linked subscription is looked at, where there is an API key.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn start(
        store: Arc<Store>,
        stripe: Arc<Stripe>,
        every: Duration,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let missed = Mutex::new(stripe.newest.lock().map(Missed::since));
            let port = store.port();
            let worker =
                Worker { port, store, stripe, missed, quiet_until: AtomicI64::new(0), newest: Mutex::default() };
            runtime.block_on(Arc::new(worker).keep(every, stop));
            // A call that nobody answers holds up no end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("stripe".to_owned()).spawn(run).map(Self)
    }

    /// Waits for it a moment, once it has been told to stop.
    pub fn stop(self) {
        let began = boot();
        while !self.0.is_finished() && boot() - began < FAREWELL {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What settling takes.
pub(super) struct Worker {
    store: Arc<Store>,
    port: Port,
    stripe: Arc<Stripe>,
    /// What may have been missed, until it was asked for.
    missed: Mutex<Option<Missed>>,
    /// Until when, since boot, nobody looks at what nobody told of: Stripe has said that it is asked too much.
    quiet_until: AtomicI64,
    /// When the newest event of a subscription was made: only for a bug that is planted, which orders by that.
    newest: Mutex<HashMap<String, Time>>,
}

impl Worker {
    async fn keep(self: Arc<Self>, every: Duration, mut stop: watch::Receiver<bool>) {
        let receiving = tokio::spawn(self.port.clone().receive());
        let mut looks = Looks::new(self.stripe.api.is_some().then_some(every));
        let mut fades_at = boot();
        while !*stop.borrow() {
            if fades_at <= boot() {
                fades_at = boot() + FADES_EVERY;
                if let Err(error) = self.note(vec![StripeRow::Fade(self.store.now().plus(-KEPT))]).await {
                    tracing::warn!(%error, "old events of Stripe's could not be dropped; it is tried again");
                }
            }
            if looks.is_due() || self.is_due().await {
                // While another node does it, this one only looks again.
                if let Ok(Some(_turn)) = self.store.turn(Job::Stripe).await {
                    tokio::select! {
                        () = Arc::clone(&self).work(&mut looks) => {}
                        _ = stop.changed() => break,
                    }
                }
            }
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { break },
                () = self.stripe.wake.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        receiving.abort();
    }

    async fn is_due(&self) -> bool {
        self.due(1).await.is_ok_and(|due| !due.is_empty())
    }

    async fn due(&self, most: usize) -> Result<Vec<EventRow>, StoreError> {
        let now = self.store.now();
        self.store.reader().read(move |view| Ok(view.rows().stripe_due(now, most)?)).await
    }

    /// Settles what is due until nothing is.
    async fn work(self: Arc<Self>, looks: &mut Looks) {
        let (mut tasks, mut busy) = (JoinSet::new(), HashSet::<String>::new());
        loop {
            if let Err(error) = looks.go_on(&self, &mut tasks).await {
                tracing::warn!(%error, "linked subscriptions could not be looked at; it is tried again");
            }
            match self.due(MOST_DUE).await {
                Ok(due) => {
                    for (subject, events) in grouped(due) {
                        if tasks.len() < AT_ONCE && busy.insert(subject.clone()) {
                            tasks.spawn(Arc::clone(&self).settle(subject, events));
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "what Stripe told could not be read; it is tried again"),
            }
            if tasks.is_empty() {
                return;
            }
            tokio::select! {
                done = tasks.join_next() => match done {
                    Some(Ok(subject)) => { busy.remove(&subject); }
                    Some(Err(error)) => {
                        tracing::error!(%error, "settling a subscription panicked");
                        tokio::time::sleep(EVERY).await;
                    }
                    None => {}
                },
                () = tokio::time::sleep(BUSY) => {}
            }
            if tasks.is_empty() {
                busy.clear();
            }
        }
    }

    /// Applies what some events of one subscription have told. Answers whose they were.
    async fn settle(self: Arc<Self>, subject: String, events: Vec<EventRow>) -> String {
        let events = self.without_late(&subject, events).await;
        let settled = match (&self.stripe.api, events.first().and_then(|event| event.subject.subscription.clone())) {
            (_, _) if events.is_empty() => Ok(()),
            (Some(_), _) if self.is_nobodys(&events).await => {
                let now = self.store.now();
                self.note(events.iter().map(|event| unmatched(event, now)).collect()).await
            }
            (Some(api), Some(subscription)) => self.ask(api, &subscription, &events).await,
            _ => self.apply_payloads(&events).await,
        };
        if let Err(error) = settled {
            tracing::warn!(%error, subject, "what Stripe told could not be applied; it is tried again");
            tokio::time::sleep(EVERY).await;
        }
        subject
    }

    /// Takes a subscription as Stripe says that it is now.
    async fn ask(&self, api: &Api, subscription: &str, events: &[EventRow]) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            // Before Stripe is asked: what changes meanwhile may be newer than its answer.
            let seen = self.seen(subscription).await?;
            let (asking, id) = (api.clone(), subscription.to_owned());
            let answer = tokio::task::spawn_blocking(move || asking.subscription(&id)).await;
            let object = match answer.unwrap_or_else(|error| Err(CallError::Later(error.to_string(), None))) {
                Ok(object) => object,
                Err(error) => return self.put_off(events, &error).await,
            };
            let snapshot = match event::snapshot(&object, true) {
                Ok(snapshot) => snapshot,
                Err(error) => return self.put_off(events, &CallError::Never(error.to_string())).await,
            };
            if let Some(remark) = event::remark(&object) {
                tracing::warn!(subscription, remark, "Stripe told of something that is not known");
            }
            let named = events.iter().find_map(|event| event.subject.hint.clone());
            let applied = Applied {
                events: events.iter().map(|event| event.id.clone()).collect(),
                kind: events.last().map(|event| event.kind.clone()).unwrap_or_default(),
                hint: event::hint(&object).or(named),
                news: News::Told(snapshot),
                seen: Some(seen),
            };
            if self.apply(applied).await? != Outcome::Stale {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether nobody was found for any of these, and nobody is named by one still. Whatever Stripe says of it now, it tells of
    /// a change that would name somebody.
    async fn is_nobodys(&self, events: &[EventRow]) -> bool {
        if events.iter().any(|event| event.state != EventState::Unmatched) {
            return false;
        }
        let subjects: Vec<Subject> = events.iter().map(|event| event.subject.clone()).collect();
        let read = self.store.reader().read(move |view| {
            for subject in subjects {
                let (rows, Subject { subscription, customer, hint }) = (view.rows(), subject);
                let has_subscription = subscription.map(|id| rows.organization_of_subscription(&id)).transpose()?;
                let has_customer = customer.map(|id| rows.organizations_of_customer(&id)).transpose()?;
                let named = hint.and_then(|hint| hint.parse::<OrganizationRef>().ok());
                let is_named = named.is_some_and(|named| view.account(Scope::Team, &named).is_ok());
                if is_named || has_subscription.flatten().is_some() || has_customer.is_some_and(|all| all.len() == 1) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        // Who cannot read it asks.
        read.await.unwrap_or(false)
    }

    /// How often what is known of a subscription has changed.
    async fn seen(&self, subscription: &str) -> Result<u64, StoreError> {
        let subscription = subscription.to_owned();
        let read = self.store.reader().read(move |view| {
            let Some(id) = view.rows().organization_of_subscription(&subscription)? else { return Ok(0) };
            let account = view.account(Scope::Team, &OrganizationRef::Id(id))?;
            Ok(revision(&account, &subscription))
        });
        read.await
    }

    async fn apply_payloads(&self, events: &[EventRow]) -> Result<(), StoreError> {
        for event in events {
            if event.id.starts_with(SYNC) {
                // Nobody can be asked any more.
                self.note(vec![StripeRow::Gone(event.id.clone())]).await?;
                continue;
            }
            let news = match event::news(&event.payload) {
                Ok(Some(news)) => news,
                Ok(None) => {
                    let note = "it needs an API key, or tells nothing that is followed".to_owned();
                    self.note(vec![over(event, EventState::Ignored, note)]).await?;
                    continue;
                }
                Err(error) => {
                    self.put_off(std::slice::from_ref(event), &CallError::Never(error.to_string())).await?;
                    continue;
                }
            };
            if let News::Told(snapshot) = &news
                && snapshot.status.is_none()
            {
                tracing::warn!(subscription = %snapshot.id, "Stripe told of a status that is not known: the last one stays");
            }
            let applied = Applied {
                events: vec![event.id.clone()],
                kind: event.kind.clone(),
                news,
                hint: event.subject.hint.clone(),
                seen: None,
            };
            self.apply(applied).await?;
        }
        Ok(())
    }

    async fn apply(&self, applied: Applied) -> Result<Outcome, StoreError> {
        self.store.stripe(&self.port, StripeWork::Apply(Box::new(applied))).await
    }

    async fn note(&self, rows: Vec<StripeRow>) -> Result<(), StoreError> {
        self.store.stripe(&self.port, StripeWork::Note(rows)).await.map(drop)
    }

    /// After a call that Stripe refused since there are too many.
    pub(super) fn be_quiet(&self, error: &CallError) {
        if let CallError::Later(_, Some(wanted)) = error {
            let wanted = i64::try_from(wanted.as_micros()).unwrap_or(HOUR).max(QUIET);
            self.quiet_until.fetch_max(boot().saturating_add(wanted), Ordering::Relaxed);
        }
    }

    /// Events of which Stripe did not say enough: tried again later, or not at all.
    async fn put_off(&self, events: &[EventRow], error: &CallError) -> Result<(), StoreError> {
        let now = self.store.now();
        self.be_quiet(error);
        let rows = events.iter().map(|event| {
            let wait = FIRST_RETRY << event.attempts.min(MOST_DOUBLINGS);
            let is_late = now.since(event.received_at) > GIVE_UP;
            let (wait, is_final) = match error {
                CallError::Later(_, wanted) => {
                    let wanted = wanted.map_or(0, |wanted| i64::try_from(wanted.as_micros()).unwrap_or(HOUR));
                    (wait.min(HOUR).max(wanted), is_late && event.attempts >= MOST_DOUBLINGS)
                }
                CallError::Missing | CallError::Never(_) => (0, true),
            };
            let state = if is_final { EventState::Failed } else { event.state };
            StripeRow::Later { id: event.id.clone(), state, due_at: now.plus(wait), note: error.to_string() }
        });
        tracing::warn!(%error, "a subscription could not be asked for");
        self.note(rows.collect()).await
    }

    /// All of them, unless a bug is planted: one that takes the time at which an event was made for its place in the order.
    async fn without_late(&self, subject: &str, events: Vec<EventRow>) -> Vec<EventRow> {
        if !planted("webhook-by-created") {
            return events;
        }
        let (kept, late): (Vec<_>, Vec<_>) = {
            let mut newest = self.newest.lock();
            let known = newest.entry(subject.to_owned()).or_insert(Time::MIN);
            let is_newer = |event: &EventRow| {
                let is_newer = event.created_at >= *known;
                *known = event.created_at.max(*known);
                is_newer
            };
            events.into_iter().partition(is_newer)
        };
        let late = late.iter().map(|event| over(event, EventState::Done, "late".to_owned())).collect();
        let _ = self.note(late).await;
        kept
    }
}

fn over(event: &EventRow, state: EventState, note: String) -> StripeRow {
    StripeRow::Over { id: event.id.clone(), state, organization: None, note }
}

/// Events by what they are about, in order of their arrival.
fn grouped(due: Vec<EventRow>) -> Vec<(String, Vec<EventRow>)> {
    let mut groups: Vec<(String, Vec<EventRow>)> = Vec::new();
    for event in due {
        let subject = event.subject.subscription.clone().unwrap_or_else(|| event.id.clone());
        match groups.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, events)) => events.push(event),
            None => groups.push((subject, vec![event])),
        }
    }
    // Those that nobody was found for come behind the others, but of one subscription in their order.
    groups
        .iter_mut()
        .for_each(|(_, events)| events.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id))));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_subscription_stay_in_order_although_nobody_was_found_for_some() {
        let event = |id: &str, subscription: &str, at: i64| EventRow {
            id: id.to_owned(),
            ..EventRow::sync(subscription, Time::from_micros(at))
        };
        let due = vec![event("evt_3", "sub_1", 3), event("evt_4", "sub_2", 4), event("evt_1", "sub_1", 1)];
        let groups = grouped(due)
            .into_iter()
            .map(|(subject, events)| (subject, events.into_iter().map(|event| event.id).collect::<Vec<_>>().join(" ")));
        let expected = [("sub_1", "evt_1 evt_3"), ("sub_2", "evt_4")];
        assert_eq!(groups.collect::<Vec<_>>(), expected.map(|(subject, ids)| (subject.to_owned(), ids.to_owned())));
    }
}
