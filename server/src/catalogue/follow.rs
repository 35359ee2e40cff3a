//! Organizations follow their plans to the newest versions, as an applied catalogue says (D14).
//!
//! Each by a change of its own, with an entry in its own audit log, some in a commit: so it may be cut off anywhere, and
//! whoever asks again moves those who are left. Overrides stay. One whose plan changes at the end of its period is left to
//! that, and one that somebody else changes at the same moment to them.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::command::Command;
use metergate_rules::id::{OrganizationId, OrganizationRef, PlanId};
use metergate_rules::time::Time;
use tokio::sync::watch;

use super::Snapshot;
use crate::store::error::EngineError;
use crate::store::reader::{ReadError, View};
use crate::store::rows::{Candidates, Listing};
use crate::store::{Answer, Caller, ChangeRequest, Port, Request, Scope, Store, StoreError};

/// Organizations that are looked at in one read.
const STEP: usize = 200;
/// Changes in one call, and so in one commit.
const AT_ONCE: usize = 50;
/// Why, in the audit log.
const REASON: &str = "the catalogue was applied";

/// Some organizations that are behind.
struct Behind {
    /// Each with the changes behind it.
    organizations: Vec<(OrganizationId, u64)>,
    /// The key after which to go on.
    next: Option<String>,
}

/// Moves everybody on a plan, of those with these keys, to its newest version. How many that were.
///
/// # Errors
/// [`StoreError`] where the store cannot be read, takes nothing now or is being stopped. Those who were moved stay moved.
pub async fn follow(
    store: &Store,
    port: &Port,
    actor: &Arc<str>,
    plans: &[String],
    stop: &watch::Receiver<bool>,
) -> Result<u64, StoreError> {
    let mut moved = 0;
    for plan in plans {
        let Some(newest) = store.catalogue().plan_entry(plan).map(|entry| entry.id) else { continue };
        let mut after = Some(String::new());
        while let Some(from) = after {
            let (catalogue, plan, now) = (store.catalogue(), plan.clone(), store.now());
            let read = move |view: &View<'_>| behind(view, &catalogue, (plan.as_str(), newest), &from, now);
            let found = store.reader().read(read).await?;
            for some in found.organizations.chunks(AT_ONCE) {
                if *stop.borrow() {
                    return Err(StoreError::Unavailable);
                }
                let requests = some.iter().map(|behind| to(newest, *behind, actor)).collect();
                for answer in store.execute(port, requests).await? {
                    match answer {
                        Ok(_) => moved += 1,
                        Err(StoreError::Changed | StoreError::UnknownOrganization) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            after = found.next;
        }
    }
    Ok(moved)
}

/// Of the organizations on a plan after one those that are not on its newest version, in the order of their keys.
fn behind(
    view: &View<'_>,
    catalogue: &Snapshot,
    (plan, newest): (&str, PlanId),
    after: &str,
    due: Time,
) -> Result<Behind, ReadError> {
    let asked = Candidates {
        from: Listing::ByKey(after),
        own: None,
        pattern: None,
        status: None,
        locked: None,
        plan: Some(plan),
        due,
    };
    let rows = view.rows().candidates(&asked, STEP)?;
    let next = rows.last().filter(|_| rows.len() == STEP).map(|(_, key)| key.clone());
    let is_behind = |account: &Account| {
        let on = catalogue.plan_by_id(account.plan).is_some_and(|entry| entry.key.as_str() == plan);
        on && account.plan != newest && account.scheduled.is_none()
    };
    let mut organizations = Vec::new();
    for (id, _) in rows {
        match view.account(Scope::Team, &OrganizationRef::Id(id)) {
            Ok(account) if is_behind(&account) => organizations.push((id, account.changes)),
            Ok(_) | Err(ReadError::Store(StoreError::UnknownOrganization)) => {}
            // One that is damaged holds up no other.
            Err(ReadError::Engine(error @ EngineError::Unreadable { .. })) => {
                tracing::error!(%error, organization = %id, "it does not follow its plan: it cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Behind { organizations, next })
}

fn to(plan: PlanId, (organization, changes): (OrganizationId, u64), actor: &Arc<str>) -> Request {
    Request::Change(Box::new(ChangeRequest {
        caller: Caller { scope: Scope::Team, actor: Arc::clone(actor) },
        organization: OrganizationRef::Id(organization),
        reason: REASON.to_owned(),
        receipt: None,
        command: Command::ChangePlan { plan, keep_overrides: true, at_period_end: false },
        only_if_changes: Some(changes),
        respond: Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None }),
    }))
}
