//! Taking back an event that never was (M6).

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use metergate_rules::command::{Command, EventName, Voiding};
use metergate_rules::decide::Problem;
use metergate_rules::id::{DecisionId, EventId, EventSource, OrganizationRef};
use metergate_rules::outcome::VoidedEvent;

use super::change::{ReasonBody, nothing, written};
use super::error::ApiError;
use super::operation::Operation;
use super::query::Pairs;
use super::state::App;
use crate::catalogue::Snapshot;
use crate::report::Report;
use crate::report::events::DECISION_SOURCE;
use crate::store::{Caller, ChangeRequest, Receipt, ReceiptKey, Request, Scope, StoreError};

/// Takes back what an event or a decision counted. Reports, open counters and grants follow; the event stays in the list as
/// void, and its id stays known. One that stands for several calls goes with all of them.
#[utoipa::path(delete, operation_id = "void_event", path = "/v1/events/{id}", tag = "events", request_body = ReasonBody,
    params(("id" = String, Path, description = "As the list of events shows it"), ("organization" = String, Query, description = "Id or key"),
        ("source" = String, Query, description = "As the list of events shows it; of a decision metergate:consume/<meter>")),
    responses((status = 204), (status = 404, description = "Unknown organization, or no such event that is kept"),
        (status = 409, description = "It is void already, or on a max or last meter"), (status = 422, description = "Not valid")))]
pub async fn void(operation: Operation) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&operation.uri, &["organization", "source"])?;
    let required = |name: &str| {
        let missing = || ApiError::invalid(format!("?{name}"), "This is required.");
        pairs.one(name)?.map(str::to_owned).ok_or_else(missing)
    };
    let (organization, source) = (required("organization")?, required("source")?);
    let organization = organization.parse().map_err(|_| ApiError::unknown_organization())?;
    let reason = operation.reason()?;
    let name = named(&operation.app, &source, &operation.named).await?;
    let parts: [&[u8]; 3] = [operation.named.as_bytes(), source.as_bytes(), &operation.body];
    let receipt = operation.receipt("DELETE /v1/events/{id}", &parts)?;
    let Operation { app, named: id, by, .. } = operation;
    Asking { app: &app, caller: by.caller, organization, receipt, reason, source, id }.run(name).await
}

/// What a source and an id name.
pub(super) async fn named(app: &App, source: &str, id: &str) -> Result<EventName, ApiError> {
    let snapshot = app.snapshot_with(|known| name(known, source, id).is_ok()).await;
    name(&snapshot, source, id)
}

/// The same by these meters.
pub(super) fn name(snapshot: &Snapshot, source: &str, id: &str) -> Result<EventName, ApiError> {
    let unknown = |_| ApiError::not_found();
    Ok(match source.strip_prefix(DECISION_SOURCE) {
        Some(key) => {
            let meter = snapshot.meter(key).map(|meter| meter.id).ok_or_else(ApiError::not_found)?;
            EventName::Decision(meter, DecisionId::new(id).map_err(unknown)?)
        }
        None => EventName::Event(EventSource::new(source).map_err(unknown)?, EventId::new(id).map_err(unknown)?),
    })
}

/// Where a record stands that is not found by its id any more: records are kept for longer than ids. For that those are gone through
/// that are older, so it is not done in an organization that is too young to have such, and, of those who are no operators, for one at a time.
///
/// # Errors
/// 404 where there is none, 503 while another is looked for.
pub(super) async fn place_of(
    app: &App,
    scope: Scope,
    (organization, source, id): (OrganizationRef, String, String),
    is_operator: bool,
) -> Result<VoidedEvent, ApiError> {
    let (catalogue, now) = (app.snapshot(), app.now());
    let (kept, named, of) = (now.plus(-app.shared.keep_ids), organization.clone(), Arc::clone(&catalogue));
    let is_old = app.read(move |view| Report { view, catalogue: &of, scope, now, text: false }.has_older(&named, kept));
    if !is_old.await? {
        return Err(ApiError::not_found());
    }
    let alone = (!is_operator).then(|| Arc::clone(&app.shared.looking).try_acquire_owned()).transpose();
    let alone = alone.map_err(|_| ApiError::unavailable(1))?;
    let place = app.read(move |view| {
        let _alone = alone;
        Report { view, catalogue: &catalogue, scope, now, text: false }.place_of(&organization, kept, (&source, &id))
    });
    place.await?.ok_or_else(ApiError::not_found)
}

/// A void on its way.
struct Asking<'a> {
    app: &'a App,
    caller: Caller,
    organization: OrganizationRef,
    receipt: Option<ReceiptKey>,
    reason: String,
    source: String,
    id: String,
}

impl Asking<'_> {
    /// By its id, as long as ids are kept; then by going through the records.
    async fn run(self, name: EventName) -> Result<Response<Body>, ApiError> {
        match self.ask(name).await? {
            Err(StoreError::Problem(Problem::UnknownEvent)) => {}
            answered => return Ok(answered?),
        }
        let named = (self.organization.clone(), self.source.clone(), self.id.clone());
        let place = place_of(self.app, self.caller.scope, named, true).await?;
        Ok(self.ask(EventName::Place(place)).await??)
    }

    async fn ask(&self, name: EventName) -> Result<Result<Response<Body>, StoreError>, ApiError> {
        let request = ChangeRequest {
            caller: self.caller.clone(),
            organization: self.organization.clone(),
            reason: self.reason.clone(),
            receipt: self.receipt.clone(),
            command: Command::Void(Voiding::Asked(self.source.clone(), self.id.clone(), name)),
            only_if_changes: None,
            respond: nothing(),
        };
        let answers = self.app.execute(vec![Request::Change(Box::new(request))]).await?;
        match answers.into_iter().next() {
            Some(Ok(Receipt::Answered { answer, replayed })) => Ok(Ok(written(answer, replayed))),
            Some(Err(error)) => Ok(Err(error)),
            _ => Err(ApiError::internal("a void was answered with something else")),
        }
    }
}
