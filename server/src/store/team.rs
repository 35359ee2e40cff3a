//! Changes of what is the team's: alone in their commit, then in force everywhere.

use std::sync::Arc;

use metergate_rules::id::OrganizationRef;

use super::alone::{Alone, Force};
use super::audit::{TEAM, chain_of};
use super::batch::{Batch, Stop};
use super::decided::Decided;
use super::ledger::Ledger;
use super::{Answer, Caller, KeptAnswer, StoreError};
use crate::catalogue::Snapshot;
use crate::catalogue::change::{NewKey, TeamAfter, TeamCommand, TeamOutcome, TeamReply, TeamRequest, decide};

/// Decides a change of the team's.
pub(super) fn decide_team(mut batch: Batch<'_>, request: &TeamRequest) -> Result<Alone, Stop> {
    let (chain, command) = resolved(&mut batch, request)?;
    if let Some(answer) = batch.kept(chain, request.receipt.as_ref())? {
        return Ok(Alone::Before(answer));
    }
    check_version(&batch.ledger.catalogue, request)?;
    let outcome = decide(&batch.ledger.catalogue, &command, &request.actor, batch.now)?;
    let snapshot = Snapshot::new(outcome.stored.clone()).map_err(|_| StoreError::Internal)?;
    let answer = batch.take_in(chain, request, &outcome, &snapshot)?;
    let mut decided = Decided::of(batch);
    decided.team = outcome.rows;
    Ok(Alone::now(decided, Force { catalogue: Some(snapshot), ..Force::default() }, answer))
}

/// The command with the organization by its id, and the chain of the audit log in which it is noted.
fn resolved(batch: &mut Batch<'_>, request: &TeamRequest) -> Result<([u8; 16], TeamCommand), Stop> {
    match &request.command {
        TeamCommand::OfOrganization(scope, organization, command) => {
            let caller = Caller { scope: *scope, actor: Arc::clone(&request.actor) };
            let id = batch.admitted(&caller, organization)?;
            let command = TeamCommand::OfOrganization(*scope, OrganizationRef::Id(id), command.clone());
            Ok((chain_of(id), command))
        }
        TeamCommand::CreateKey(new @ NewKey { organization: Some(organization), .. }) => {
            let id = batch.resolve(organization)?;
            let organization = Some(OrganizationRef::Id(id.ok_or(StoreError::UnknownOrganization)?));
            Ok((TEAM, TeamCommand::CreateKey(NewKey { organization, ..new.clone() })))
        }
        // Who asks has looked through all organizations; those that have changed since are in memory.
        TeamCommand::DeletePlan(key, is_used) => {
            let Ledger { accounts, catalogue, .. } = &*batch.ledger;
            let is_used = *is_used || accounts.values().any(|account| catalogue.leads_to(account, key));
            Ok((TEAM, TeamCommand::DeletePlan(key.clone(), is_used)))
        }
        TeamCommand::DeleteMeter(key, is_used) => {
            let (Ledger { accounts, catalogue, .. }, now) = (&*batch.ledger, batch.now);
            let meter = catalogue.meter(key.as_str()).map(|meter| meter.id);
            let has_own = |meter| accounts.values().any(|account| account.has_own(meter, now));
            Ok((TEAM, TeamCommand::DeleteMeter(key.clone(), *is_used || meter.is_some_and(has_own))))
        }
        command => Ok((TEAM, command.clone())),
    }
}

fn check_version(snapshot: &Snapshot, request: &TeamRequest) -> Result<(), StoreError> {
    if let (TeamCommand::PutPrices(..) | TeamCommand::PatchPrices { .. }, Some(version)) =
        (&request.command, request.only_if_version)
    {
        let current = snapshot.stored.prices.version;
        return if current == version { Ok(()) } else { Err(StoreError::Changed) };
    }
    let (TeamCommand::PutPlan(key, _) | TeamCommand::DeletePlan(key, _), Some(version)) =
        (&request.command, request.only_if_version)
    else {
        return Ok(());
    };
    let current = snapshot.plan_entry(key.as_str()).map(|plan| u64::from(plan.version));
    if current == Some(version) { Ok(()) } else { Err(StoreError::Changed) }
}

impl Batch<'_> {
    /// Makes the answer and the audit entry part of the batch.
    fn take_in(
        &mut self,
        chain: [u8; 16],
        request: &TeamRequest,
        outcome: &TeamOutcome,
        snapshot: &Snapshot,
    ) -> Result<Answer, Stop> {
        self.messages.extend(outcome.messages.iter().cloned());
        if let Some(draft) = &outcome.audit {
            self.append_audit(chain, draft, &request.actor, &request.reason)?;
        }
        let answer = (request.respond)(&TeamAfter { snapshot, reply: &outcome.reply });
        if let Some(receipt) = &request.receipt {
            let reply = without_secret(&outcome.reply);
            let kept = (request.respond)(&TeamAfter { snapshot, reply: &reply });
            let about = match &outcome.reply {
                TeamReply::Key(id, _) if chain == TEAM => outcome.stored.keys.get(id).and_then(|key| key.organization),
                _ => None,
            };
            self.receipts.push(KeptAnswer { scope: chain, about, key: receipt.clone(), answer: kept });
        }
        Ok(answer)
    }
}

/// A key's secret is shown once, also under an idempotency key.
fn without_secret(reply: &TeamReply) -> TeamReply {
    match reply {
        TeamReply::Key(id, _) => TeamReply::Key(id.clone(), None),
        TeamReply::Endpoint(id, _) => TeamReply::Endpoint(id.clone(), false),
        other => other.clone(),
    }
}
