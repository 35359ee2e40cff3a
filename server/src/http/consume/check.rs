//! `POST /v1/check`: the same rules on what is durable, with nothing recorded.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::command::Command;
use metergate_rules::decide::{create, decide, questions};
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::outcome::Reply;
use metergate_rules::time::Time;
use metergate_rules::window::WindowSet;

use super::Asking;
use crate::catalogue::Snapshot;
use crate::catalogue::first_use::first_use;
use crate::store::reader::{ReadError, View};
use crate::store::rollup::ValueKey;
use crate::store::{Answers, ConsumeRequest, DecidedReceipt, Receipt, Scope, StoreError};

impl Asking<'_> {
    /// The same rules on what is durable; nothing is recorded.
    pub(super) async fn check(&self, requests: Vec<ConsumeRequest>) -> Answers {
        let (snapshot, now, creates) =
            (Arc::clone(self.snapshot), self.app.now(), self.app.shared.creates_organizations);
        let checked = move |view: &View<'_>| {
            let check = |request: &ConsumeRequest| check_one(view, &snapshot, request, (creates, now));
            Ok(requests.iter().map(check).collect::<Vec<_>>())
        };
        let receipts = self.app.shared.store.reader().read(checked).await?;
        Ok(receipts.into_iter().map(|receipt| receipt.map(Receipt::Decided)).collect())
    }
}

fn check_one(
    view: &View<'_>,
    snapshot: &Snapshot,
    request: &ConsumeRequest,
    (creates, now): (bool, Time),
) -> Result<DecidedReceipt, StoreError> {
    let found = view.account(request.caller.scope, &request.organization).map_err(ReadError::told);
    let account = match (found, &request.organization) {
        (Err(StoreError::UnknownOrganization), OrganizationRef::Key(key))
            if creates && request.caller.scope == Scope::Team =>
        {
            unborn(key, snapshot, now)?
        }
        (found, _) => found?,
    };
    let at = account.own_time(now);
    let account = account.at(&snapshot.rules, at)?.account;
    let command = Command::Consume(request.consume.clone());
    let mut seen = Vec::new();
    for question in questions(&account, &command) {
        seen.resize(question.item + 1, WindowSet::NONE);
        for (window, span) in question.spans {
            let (organization, meter, value) = (account.id, question.meter, question.value);
            let from = ValueKey { organization, meter, value, bucket: span.start };
            if view.has_value(from, span.end).map_err(ReadError::told)? {
                seen[question.item] = seen[question.item].with(window);
            }
        }
    }
    let outcome = decide(&account, &command, &seen, false, &snapshot.rules, at)?;
    let Reply::Decided(verdicts) = outcome.reply else { return Err(StoreError::Internal) };
    let organization = account.profile.key.clone();
    Ok(DecidedReceipt::new(organization, verdicts, at))
}

/// The organization as its first use would create it.
fn unborn(key: &OrganizationKey, snapshot: &Snapshot, now: Time) -> Result<Account, StoreError> {
    let created = create(&first_use(key, snapshot, None)?, &snapshot.rules, now)?;
    let account = created.entries.first().and_then(|entry| apply::create(OrganizationId([0; 16]), entry));
    account.ok_or(StoreError::Internal)
}
