//! What is done by itself, on a thread: what falls due by time alone, where nobody calls, the hourly root of the audit log, the
//! end of its entries that are kept for long enough, and, beside that, rollups compared with the records (`rollups.rs`).
//!
//! A call, or a read, sees everything that has fallen due without this; but the end of a trial also has to stand in the audit
//! log of an organization that nobody asks about. So a pass may be slow, and is: it goes through the accounts in the order of
//! their ids, some at a time, and sends an empty command to those of which something is due on their own clock.

use std::sync::Arc;
use std::time::Duration;

use metergate_rules::command::{Command, ProfileChange};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use tokio::sync::watch;

use crate::outbox;
use crate::retention::Retention;
use crate::store::{Answer, Caller, ChangeRequest, Job, Port, Request, Scope, Store, StoreError};

mod heads;
mod rollups;

pub use heads::Heads;
pub use rollups::{Daily, Shift};

/// Accounts that are looked at in one read.
const STEP: usize = 1000;
/// Empty commands in one call, and so in one commit: those who wait for the writer wait for so many at most.
const AT_ONCE: usize = 50;
/// How long a pass rests after each step.
const REST: Duration = Duration::from_millis(20);

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Organizations on which something had fallen due.
    pub settled: u64,
    /// Those on which it could not be applied.
    pub failed: u64,
}

/// Sweeps again and again until it is told to stop, `every` so long. Webhooks are kept for so many microseconds.
pub async fn sweep(
    store: &Store,
    every: Duration,
    (retention, webhooks_kept): (Option<&Retention>, i64),
    mut stop: watch::Receiver<bool>,
) {
    let port = store.port();
    let (mut heads, mut pruned) = (Heads::default(), None);
    let receiving = tokio::spawn(port.clone().receive());
    while !*stop.borrow() {
        // While another node does it, this one only looks again.
        let Ok(Some(_turn)) = store.turn(Job::Sweep).await else {
            match tokio::time::timeout(every, stop.changed()).await {
                Ok(Err(_)) => break,
                _ => continue,
            }
        };
        if let Err(error) = heads.hold(store, &port).await {
            tracing::warn!(%error, "the ends of the audit log's chains could not be held; the next sweep tries again");
        }
        if let Some(retention) = retention
            && let Err(error) = retention.apply(store, &port, &mut pruned, &stop).await
        {
            tracing::warn!(%error, "older entries of the audit log could not be dropped; the next sweep tries again");
        }
        match pass(store, &port, &stop).await {
            Ok(Swept { failed: 0, .. }) => {}
            Ok(swept) => tracing::error!(?swept, "what has fallen due could not be applied everywhere"),
            Err(error) => tracing::warn!(%error, "a sweep was broken off; the next one begins anew"),
        }
        if let Err(error) = outbox::tend(store, &port, webhooks_kept, &stop).await {
            tracing::warn!(%error, "old webhooks could not be dropped; the next sweep tries again");
        }
        // Whoever could tell has gone when this fails, and so has the server.
        if let Ok(Err(_)) = tokio::time::timeout(every, stop.changed()).await {
            break;
        }
    }
    receiving.abort();
}

/// Goes through all accounts once.
///
/// # Errors
/// [`StoreError`] where the store cannot be read or takes nothing now. What was done before that stays done.
pub async fn pass(store: &Store, port: &Port, stop: &watch::Receiver<bool>) -> Result<Swept, StoreError> {
    let (mut swept, mut after) = (Swept::default(), None);
    while !*stop.borrow() {
        let now = store.now();
        let due = store.reader().read(move |view| view.due(after, STEP, now)).await?;
        swept.failed += due.unreadable;
        for some in due.organizations.chunks(AT_ONCE) {
            let answers = store.execute(port, some.iter().map(|id| settle(*id)).collect()).await?;
            // One that was deleted meanwhile has nothing that could fall due.
            let is_failure = |answer: &&Result<_, _>| !matches!(answer, Ok(_) | Err(StoreError::UnknownOrganization));
            let failed = answers.iter().filter(is_failure).count() as u64;
            swept.failed += failed;
            swept.settled += answers.len() as u64 - failed;
        }
        if due.next.is_none() {
            break;
        }
        after = due.next;
        tokio::time::sleep(REST).await;
    }
    Ok(swept)
}

/// A command that changes nothing: before it is decided, what has fallen due is applied.
fn settle(organization: OrganizationId) -> Request {
    Request::Change(Box::new(ChangeRequest {
        caller: Caller { scope: Scope::Team, actor: Arc::from("system") },
        organization: OrganizationRef::Id(organization),
        reason: String::new(),
        receipt: None,
        command: Command::Update(ProfileChange::default()),
        only_if_changes: None,
        respond: Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None }),
    }))
}
