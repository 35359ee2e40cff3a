//! Webhooks (N1): a thread that sends the messages which wait to the team's endpoints, one node at a time.
//!
//! No request waits for it. Each endpoint has a queue of its own, and one message of it is under way at a time, so that a slow
//! endpoint holds up no other. What fails is tried again for a day, ever more seldom, always under the same `webhook-id`. A try of
//! which nobody heard the end, since the process ended, is made again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::time::{DAY, SECOND, Time};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::catalogue::change::{EndpointCommand, TeamCommand, TeamRequest};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId, Stopped};
use crate::clock::boot;
use crate::dies_at;
use crate::store::outbox::{AttemptRow, DeliveryRow, DeliveryState, Noted, OutboxWork, URGENT};
use crate::store::{Answer as Reply, Job, Port, Store, StoreError, Turn};

pub mod address;
pub mod backoff;
mod send;
mod tend;

use backoff::Next;
use send::Answer;
pub use send::Sender;
pub use tend::tend;

/// How often it is looked whether a message is due.
const EVERY: Duration = Duration::from_millis(500);
/// While another node sends, this one looks again after so long.
const PASSED: Duration = Duration::from_secs(2);
/// How often it is looked whether it still is this node's turn, in microseconds: PostgreSQL may have given it to another one.
const LOOKS: i64 = 5 * SECOND;
/// After a failure of the store nothing is written for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long is waited at the end for what is under way, in microseconds.
const FAREWELL: i64 = 2_000_000;
/// An endpoint that has taken nothing for so long is paused when a delivery to it is given up, in microseconds.
pub const PAUSED_AFTER: i64 = 3 * DAY;

/// The thread.
pub struct Outbox(JoinHandle<()>);

impl Outbox {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn start(store: Arc<Store>, sender: Sender, stop: watch::Receiver<bool>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let worker =
                Worker { port: store.port(), store, sender, stop, busy: HashSet::new(), resting: HashMap::new() };
            runtime.block_on(worker.keep());
            // A request to a server that does not answer holds up no end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("webhooks".to_owned()).spawn(run).map(Self)
    }

    /// Waits for it a moment, once it has been told to stop.
    pub fn stop(self) {
        let began = boot();
        while !self.0.is_finished() && boot() - began < FAREWELL {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What sending takes.
struct Worker {
    store: Arc<Store>,
    port: Port,
    sender: Sender,
    stop: watch::Receiver<bool>,
    /// Endpoints to which something is under way.
    busy: HashSet<EndpointId>,
    /// Endpoints that cannot keep up.
    resting: HashMap<EndpointId, Rest>,
}

/// How an endpoint rests that cannot keep up.
struct Rest {
    /// For how long, in microseconds, so that it is longer the next time.
    span: i64,
    until: Time,
    /// When the endpoint began: where an operator has enabled it again, or moved it, it rests no more.
    began_at: Time,
}

/// What came of a try.
struct Tried {
    row: DeliveryRow,
    /// When the endpoint began.
    began_at: Time,
    at: Time,
    took: i64,
    answer: Result<Answer, String>,
}

impl Worker {
    async fn keep(mut self) {
        let receiving = tokio::spawn(self.port.clone().receive());
        while !self.is_over() {
            if !self.due().await.is_empty() {
                match self.store.turn(Job::Outbox).await {
                    Ok(Some(turn)) => self.send_all(turn).await,
                    // Another node sends. What this one commits meanwhile is no reason to ask more often.
                    Ok(None) | Err(_) => _ = tokio::time::timeout(PASSED, self.stop.changed()).await,
                }
            }
            self.rest().await;
        }
        receiving.abort();
    }

    /// Whether this was told to stop, or whoever could tell has gone.
    fn is_over(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Waits until there may be something to send, or this is to end.
    async fn rest(&mut self) {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = self.store.feed().messages() => {}
            _ = self.stop.changed() => {}
        }
    }

    /// What is due, of each endpoint that is not busy and does not rest the first; what has waited longest comes first.
    async fn due(&self) -> Vec<DeliveryRow> {
        let now = self.store.now();
        let is_free = |entry: &&EndpointEntry| entry.is_enabled() && !self.busy.contains(&entry.id);
        let catalogue = self.store.catalogue();
        let free = catalogue.stored.endpoints.values().filter(is_free);
        let free: Vec<_> =
            free.map(|entry| (entry.id.clone(), if self.rests(entry, now) { URGENT } else { now })).collect();
        if free.is_empty() {
            return Vec::new();
        }
        let read = self.store.reader().read(move |view| Ok(view.rows().due_deliveries(&free)?));
        // Why it cannot be read is in the log already.
        let mut due = read.await.unwrap_or_default();
        due.sort_by_key(|row| row.due_at);
        due
    }

    /// Whether an endpoint rests: then only what somebody waits for is sent to it.
    fn rests(&self, entry: &EndpointEntry, now: Time) -> bool {
        self.rest_of(&entry.id, entry.began_at).is_some_and(|rest| now < rest.until)
    }

    /// Sends what is due, until nothing is and nothing is under way, or the turn is another node's.
    async fn send_all(&mut self, turn: Turn) {
        let (mut sending, mut turn, mut looked) = (JoinSet::new(), Some(turn), boot());
        loop {
            if boot() - looked > LOOKS
                && let Some(held) = turn.take()
            {
                (turn, looked) = (held.still().await, boot());
            }
            let is_over = self.is_over() || turn.is_none();
            if !is_over {
                // As many may be under way as there are endpoints: so none waits for another.
                for row in self.due().await {
                    self.begin(row, &mut sending);
                }
            }
            if sending.is_empty() {
                return;
            }
            tokio::select! {
                Some(tried) = sending.join_next() => {
                    let mut ended: Vec<Tried> = tried.into_iter().collect();
                    while let Some(more) = sending.try_join_next() {
                        ended.extend(more);
                    }
                    self.end(ended).await;
                }
                () = tokio::time::sleep(EVERY), if !is_over => {}
                () = self.store.feed().messages(), if !is_over => {}
                _ = self.stop.changed(), if !is_over => {}
            }
        }
    }

    /// Begins a try on a thread that may wait.
    fn begin(&mut self, row: DeliveryRow, sending: &mut JoinSet<Tried>) {
        let catalogue = self.store.catalogue();
        let Some(endpoint) = catalogue.stored.endpoints.get(&row.key.endpoint).cloned() else { return };
        self.busy.insert(endpoint.id.clone());
        let (sender, at) = (self.sender.clone(), self.store.now());
        sending.spawn_blocking(move || {
            let began = boot();
            let began_at = endpoint.began_at;
            let sent = catch_unwind(AssertUnwindSafe(|| sender.send(&endpoint, &row, at)));
            let answer =
                sent.unwrap_or_else(|_| Err("it could not be sent, for a defect; the log says more".to_owned()));
            Tried { row, began_at, at, took: boot() - began, answer }
        });
    }

    /// Notes what came of tries, all in one commit, and what follows for their endpoints.
    async fn end(&mut self, ended: Vec<Tried>) {
        dies_at!("webhook-sent");
        let now = self.store.now();
        ended.iter().for_each(|tried| self.pace(tried, now));
        let note = |tried: &Tried| Noted {
            rests_until: self.rest_of(&tried.row.key.endpoint, tried.began_at).map(|rest| rest.until),
            ..noted(tried, now, u64::from_le_bytes(crate::random::bytes()))
        };
        let all: Vec<Noted> = ended.iter().map(note).collect();
        self.note(all.clone()).await;
        for (tried, noted) in ended.iter().zip(all) {
            let endpoint = &tried.row.key.endpoint;
            count(noted.state);
            self.busy.remove(endpoint);
            if tried.answer.as_ref().is_ok_and(Answer::is_gone) {
                tracing::warn!(%endpoint, "a webhook endpoint answered 410 and is disabled");
                self.disable(endpoint, Stopped::Gone).await;
            } else if noted.state == DeliveryState::Failed && self.is_failing(endpoint, now).await {
                tracing::warn!(%endpoint, "a webhook endpoint has taken nothing for three days and is paused");
                self.disable(endpoint, Stopped::Failing).await;
            }
        }
    }

    /// How an endpoint rests that began then.
    fn rest_of(&self, endpoint: &EndpointId, began_at: Time) -> Option<&Rest> {
        self.resting.get(endpoint).filter(|rest| rest.began_at == began_at)
    }

    /// An endpoint that cannot keep up rests; one that took something does not.
    fn pace(&mut self, tried: &Tried, now: Time) {
        let (endpoint, began_at) = (&tried.row.key.endpoint, tried.began_at);
        match &tried.answer {
            Ok(answer) if answer.is_overloaded() => {
                let before = self.rest_of(endpoint, began_at);
                let span = backoff::rest(before.map(|rest| rest.span), answer.retry_after);
                self.resting.insert(endpoint.clone(), Rest { span, until: now.plus(span), began_at });
            }
            Ok(answer) if answer.is_taken() => _ = self.resting.remove(endpoint),
            Ok(_) | Err(_) => {}
        }
    }

    /// Writes what came of tries, as soon as the store takes it: else they would be made again at once.
    async fn note(&self, noted: Vec<Noted>) {
        while let Err(error) = self.store.keep_outbox(&self.port, OutboxWork::Note(noted.clone())).await {
            tracing::warn!(%error, "what came of a webhook could not be written; it is tried again");
            tokio::time::sleep(AFTER_FAILURE).await;
            if self.is_over() {
                return;
            }
        }
    }

    /// Whether an endpoint has taken nothing for so long that it is paused.
    async fn is_failing(&self, endpoint: &EndpointId, now: Time) -> bool {
        let read = self.store.reader().read(|view| Ok(view.rows().endpoint_health()?));
        let health = read.await.unwrap_or_default();
        let failing = health.get(endpoint).and_then(|health| health.failing_at);
        failing.is_some_and(|since| now.since(since) >= PAUSED_AFTER)
    }

    async fn disable(&self, endpoint: &EndpointId, why: Stopped) {
        let request = TeamRequest {
            actor: Arc::from("system"),
            reason: String::new(),
            receipt: None,
            command: TeamCommand::Endpoint(EndpointCommand::Stop(endpoint.clone(), why)),
            only_if_version: None,
            respond: Arc::new(|_| Reply { status: 204, body: Vec::new(), version: None }),
        };
        match self.store.change_team(&self.port, request).await {
            // Somebody has taken it away meanwhile.
            Ok(_) | Err(StoreError::Catalogue { .. }) => {}
            Err(error) => tracing::warn!(%error, %endpoint, "a webhook endpoint could not be disabled"),
        }
    }
}

/// What is written of a try that ended at `now`. `luck` is any number.
fn noted(tried: &Tried, now: Time, luck: u64) -> Noted {
    let Tried { row, at, took, answer, .. } = tried;
    let asked = answer.as_ref().ok().and_then(|answer| answer.retry_after);
    let (state, due_at) = match answer {
        Ok(answer) if answer.is_taken() => (DeliveryState::Delivered, row.due_at),
        Ok(answer) if answer.is_gone() => (DeliveryState::Failed, row.due_at),
        _ => match backoff::next(row.tries, *at, now, asked, luck) {
            Next::Again(due) => (DeliveryState::Pending, due),
            Next::GivenUp => (DeliveryState::Failed, row.due_at),
        },
    };
    let attempt = AttemptRow {
        number: row.tries.all.saturating_add(1),
        at: *at,
        status: answer.as_ref().ok().map(|answer| answer.status),
        error: answer.as_ref().err().cloned(),
        duration_ms: (took / 1000).unsigned_abs(),
        response: answer.as_ref().map_or_else(|_| String::new(), |answer| answer.body.clone()),
    };
    let (lately, began_at) = (row.tries.lately.saturating_add(1), row.tries.began_at.unwrap_or(*at));
    Noted { key: row.key.clone(), attempt, state, due_at, lately, began_at, rests_until: None }
}

fn count(state: DeliveryState) {
    let outcome = match state {
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed | DeliveryState::Canceled => "given_up",
        DeliveryState::Pending => "failed",
    };
    metrics::counter!("metergate_webhook_attempts_total", "outcome" => outcome).increment(1);
}
