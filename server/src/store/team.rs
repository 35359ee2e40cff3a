//! Changes of what is the team's: alone in their commit, then in force everywhere.

use std::sync::Arc;

use metergate_rules::id::OrganizationRef;

use super::audit::{TEAM, chain_of};
use super::batch::{Batch, Stop};
use super::decided::Decided;
use super::ledger::Ledger;
use super::writer::Writer;
use super::{Answer, Caller, KeptAnswer, Receipt, StoreError};
use crate::catalogue::change::{NewKey, TeamAfter, TeamCommand, TeamOutcome, TeamReply, TeamRequest, decide};
use crate::catalogue::{Snapshot, Stored};

impl Writer {
    /// Decides a change of the team's, writes it, and puts it in force.
    pub(super) fn change_team(&mut self, request: &TeamRequest) -> Result<Receipt, StoreError> {
        let now = self.now();
        let (stored, answer, mut decided) = {
            let mut batch = Batch::new(&mut self.ledger, &self.sqlite, &self.settings, now);
            let (chain, command) = resolved(&mut batch, request)?;
            if let Some(answer) = batch.kept(chain, request.receipt.as_ref()).map_err(Stop::into_error)? {
                return Ok(Receipt::Answered { answer, replayed: true });
            }
            check_version(&batch.ledger.catalogue, request)?;
            let outcome = decide(&batch.ledger.catalogue, &command, &request.actor, now)?;
            let answer = batch.take_in(chain, request, &outcome)?;
            let mut decided = Decided::of(batch);
            decided.team = outcome.rows;
            (outcome.stored, answer, decided)
        };
        decided.now = now;
        self.commit(decided).map_err(|failure| {
            self.tell(&failure, "a change of the catalogue could not be written");
            StoreError::from(&failure)
        })?;
        self.put_in_force(stored)?;
        Ok(Receipt::Answered { answer, replayed: false })
    }

    pub(super) fn put_in_force(&mut self, stored: Stored) -> Result<(), StoreError> {
        let snapshot = Arc::new(Snapshot::new(stored).map_err(|_| StoreError::Internal)?);
        self.ledger.catalogue = Arc::clone(&snapshot);
        self.catalogue.store(snapshot);
        Ok(())
    }
}

/// The command with the organization by its id, and the chain of the audit log in which it is noted.
fn resolved(batch: &mut Batch<'_>, request: &TeamRequest) -> Result<([u8; 16], TeamCommand), StoreError> {
    match &request.command {
        TeamCommand::OfOrganization(scope, organization, command) => {
            let caller = Caller { scope: *scope, actor: Arc::clone(&request.actor) };
            let id = batch.admitted(&caller, organization).map_err(Stop::into_error)?;
            let command = TeamCommand::OfOrganization(*scope, OrganizationRef::Id(id), command.clone());
            Ok((chain_of(id), command))
        }
        TeamCommand::CreateKey(new @ NewKey { organization: Some(organization), .. }) => {
            let id = batch.resolve(organization).map_err(|error| StoreError::from(&error))?;
            let organization = Some(OrganizationRef::Id(id.ok_or(StoreError::UnknownOrganization)?));
            Ok((TEAM, TeamCommand::CreateKey(NewKey { organization, ..new.clone() })))
        }
        // Who asks has looked through all organizations; those that have changed since are in memory.
        TeamCommand::DeletePlan(key, is_used) => {
            let Ledger { accounts, catalogue, .. } = &*batch.ledger;
            let is_used = *is_used || accounts.values().any(|account| catalogue.leads_to(account, key));
            Ok((TEAM, TeamCommand::DeletePlan(key.clone(), is_used)))
        }
        command => Ok((TEAM, command.clone())),
    }
}

fn check_version(snapshot: &Snapshot, request: &TeamRequest) -> Result<(), StoreError> {
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
    fn take_in(&mut self, chain: [u8; 16], request: &TeamRequest, outcome: &TeamOutcome) -> Result<Answer, StoreError> {
        if let Some(draft) = &outcome.audit {
            let appended = self.append_audit(chain, draft, &request.actor, &request.reason);
            appended.map_err(|_| StoreError::Unavailable)?;
        }
        let snapshot = Snapshot::new(outcome.stored.clone()).map_err(|_| StoreError::Internal)?;
        let answer = (request.respond)(&TeamAfter { snapshot: &snapshot, reply: &outcome.reply });
        if let Some(receipt) = &request.receipt {
            let reply = without_secret(&outcome.reply);
            let kept = (request.respond)(&TeamAfter { snapshot: &snapshot, reply: &reply });
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
        other => other.clone(),
    }
}
