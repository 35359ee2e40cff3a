//! Decisions that the record cannot make, since it cannot be reached (D13): each meter's policy answers, and what passes is kept
//! until it can be recorded.

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::command::{Event, Item};
use metergate_rules::decide::Problem;
use metergate_rules::decide::undecided::Undecided;
use metergate_rules::id::{EventId, EventSource, MeterId};
use metergate_rules::outcome::Verdict;
use metergate_rules::plan::Degraded;
use metergate_rules::time::Time;

use super::elsewhere::{ASK_AGAIN, Ruled};
use super::{Asking, Mode, quantity_of};
use crate::hex::hex;
use crate::http::error::ApiError;
use crate::random;
use crate::report::events::DECISION_SOURCE;
use crate::spool::{Passed, Spool, SpoolError};
use crate::store::{ConsumeRequest, DecidedReceipt, Key, StoreError};

impl Asking<'_> {
    /// What may pass undecided, should the record not be reached: only what some plan lets pass is worth a copy.
    pub(super) fn passable(&self, request: &ConsumeRequest) -> Option<ConsumeRequest> {
        let may_pass = |item: &Item| self.snapshot.may_pass(item.meter);
        let passes = self.app.shared.spool.is_some();
        (passes && request.consume.items.iter().all(may_pass)).then(|| request.clone())
    }

    /// The answer that was given under an id while the record could not be reached, and does not stand there yet.
    pub(super) fn passed_before(&self, request: &ConsumeRequest) -> Option<Result<Ruled, ApiError>> {
        let (spool, key) = (self.app.shared.spool.as_ref()?, request.key.as_ref()?);
        let passed = spool.passed(&request.organization, key)?;
        request.caller.scope.admits(passed.organization, &self.app.shared.store.people()).ok()?;
        Some(match &passed.under {
            Some((_, fingerprint)) if *fingerprint == request.fingerprint => {
                let meters = passed.event.items.iter().map(|item| item.meter);
                let verdicts = meters.map(Verdict::undecided).collect();
                let receipt = DecidedReceipt::new(passed.name.clone(), verdicts, passed.at());
                Ok(DecidedReceipt { replayed: true, degraded: true, ..receipt }.into())
            }
            _ => Err(ApiError::idempotency_mismatch()),
        })
    }

    /// The answer where the record cannot be reached, by the account as it was last seen. A check keeps nothing.
    pub(super) async fn undecided(&self, request: Option<ConsumeRequest>) -> Result<Ruled, ApiError> {
        let shared = &self.app.shared;
        let account = request.as_ref().and_then(|request| shared.store.last_seen(&request.organization));
        let (Some(spool), Some(account), Some(request)) = (&shared.spool, account, request) else {
            shared.degradation.denies();
            return Err(StoreError::Unavailable.into());
        };
        request.caller.scope.admits(account.id, &shared.store.people())?;
        let now = account.own_time(self.app.now());
        let settled = account.at(&self.snapshot.rules, now)?.account;
        let found = Undecided::of(&settled, &request.consume, &self.snapshot.rules)?;
        let is_refused = found.is_refused();
        let Undecided { policies, verdicts } = found;
        let receipt = DecidedReceipt::new(settled.profile.key.clone(), verdicts, now);
        if !is_refused {
            self.pass(&settled, &policies, &request)?;
            if self.mode == Mode::Consume {
                keep(spool, self.passed(&settled, request, now)?).await?;
            }
        }
        Ok(DecidedReceipt { degraded: true, ..receipt }.into())
    }

    /// Takes what is asked of what may pass.
    fn pass(
        &self,
        account: &Account,
        policies: &[(MeterId, Degraded)],
        request: &ConsumeRequest,
    ) -> Result<(), ApiError> {
        let takes = |((meter, policy), item): (&(MeterId, Degraded), &Item)| {
            self.passes(account.id, *meter, *policy, quantity_of(item))
        };
        let all = policies.iter().zip(&request.consume.items).all(takes);
        all.then_some(()).ok_or_else(|| ApiError::unavailable(ASK_AGAIN))
    }

    /// What is to be recorded: an event under the caller's id, else under one of its own.
    fn passed(&self, account: &Account, request: ConsumeRequest, now: Time) -> Result<Passed, ApiError> {
        let ConsumeRequest { key, fingerprint, consume, .. } = request;
        let first = consume.items.first().and_then(|item| self.snapshot.rules.meter(item.meter));
        let meter = first.ok_or(Problem::UnknownMeter)?;
        let id = match &key {
            Some(Key::Decision(_, id) | Key::Together(id)) => id.as_str().to_owned(),
            _ => hex(&random::bytes::<16>()),
        };
        let source = format!("{DECISION_SOURCE}{}", meter.key);
        let event = Event {
            id: EventId::new(&id).map_err(Problem::from)?,
            source: EventSource::new(&source).map_err(Problem::from)?,
            event_type: meter.event_type.clone(),
            time: Some(now),
            data: consume.properties,
            items: consume.items,
            outcome: consume.outcome,
            calls: None,
            llm: consume.llm,
        };
        let (organization, name) = (account.id, account.profile.key.clone());
        Ok(Passed { organization, name, under: key.map(|key| (key, fingerprint)), event })
    }
}

/// Keeps what passes, on a thread that may wait for the disk.
async fn keep(spool: &Arc<Spool>, passed: Passed) -> Result<(), ApiError> {
    let spool = Arc::clone(spool);
    match tokio::task::spawn_blocking(move || spool.keep(passed)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(SpoolError::Full)) => Err(ApiError::spool_full()),
        Ok(Err(SpoolError::Failed)) => Err(ApiError::unavailable(ASK_AGAIN)),
        Ok(Err(error @ SpoolError::Encoded(_))) => Err(ApiError::internal(error)),
        Err(error) => Err(ApiError::internal(error)),
    }
}
