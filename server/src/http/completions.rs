//! `PATCH /v1/events/{id}`: how long something took that has been recorded, and how it ended (M8).

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use metergate_rules::command::{Command, Completing, Completion, EventName};
use metergate_rules::decide::Problem;
use metergate_rules::id::OrganizationRef;
use metergate_rules::outcome::Reply;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::answer;
use super::decision::json;
use super::error::ApiError;
use super::operation::Operation;
use super::query::Pairs;
use super::voids;
use crate::store::{Caller, ChangeRequest, Receipt, ReceiptKey, Request, StoreError};

/// Something of what was said is new.
const NEW: u16 = 200;
/// All of it was known.
const KNOWN: u16 = 208;

/// What is known only after it was recorded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompletionBody {
    /// As the list of events shows it; of a decision `metergate:consume/<meter>`.
    #[schema(example = "metergate:consume/api_calls")]
    pub source: String,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// How it ended, such as an HTTP status.
    pub status: Option<u16>,
}

/// A record that is complete, as far as anybody said.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompletedBody {
    /// Its id.
    pub id: String,
    /// Its source.
    pub source: String,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// How it ended.
    pub status: Option<u16>,
}

/// Completes the record of an event or a decision: says how long it took and how it ended, where that was not known. Nothing
/// is counted. Repeated it changes nothing; what was known is never changed. `POST /v1/events` completes many at once.
#[utoipa::path(patch, operation_id = "complete_event", path = "/v1/events/{id}", tag = "events", request_body = CompletionBody,
    params(("id" = String, Path, description = "As the list of events shows it"), ("organization" = String, Query, description = "Id or key")),
    responses((status = 200, body = CompletedBody), (status = 404, description = "Unknown organization, or no such event that is kept"),
        (status = 409, description = "It says already how long it took or how it ended, and something else; or it is void"), (status = 422, description = "Not valid")))]
pub async fn complete(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Record)?;
    let pairs = Pairs::of(&operation.uri, &["organization"])?;
    let missing = || ApiError::invalid("?organization", "This is required.");
    let organization = pairs.one("organization")?.ok_or_else(missing)?;
    let organization: OrganizationRef = organization.parse().map_err(|_| ApiError::unknown_organization())?;
    let asked: CompletionBody = operation.json()?;
    let said = Completion { duration_ms: asked.duration_ms, status: asked.status };
    if said == Completion::default() {
        return Err(ApiError::invalid("#", "Send durationMs, status or both."));
    }
    let kept = operation.receipt("PATCH /v1/events/{id}", &[operation.named.as_bytes(), &operation.body])?;
    let Operation { app, named: id, .. } = operation;
    let name = voids::named(&app, &asked.source, &id).await?;
    let receipt = app.execute_one(request(caller.clone(), organization.clone(), name, said, kept.clone()));
    let receipt = match receipt.await {
        // By its id, as long as ids are kept; then by going through the records.
        Err(error) if error.status() == StatusCode::NOT_FOUND && error.code() == "not-found" => {
            let named = (organization.clone(), asked.source.clone(), id.clone());
            let place = voids::place_of(&app, caller.scope, named, false).await?;
            app.execute_one(request(caller, organization, EventName::Place(place), said, kept)).await?
        }
        receipt => receipt?,
    };
    let Receipt::Answered { answer, replayed } = receipt else {
        return Err(ApiError::internal("a completion was answered with something else"));
    };
    let known: Known = serde_json::from_slice(&answer.body).map_err(ApiError::internal)?;
    let Known { duration_ms, status } = known;
    let mut response = json(StatusCode::OK, &CompletedBody { id, source: asked.source, duration_ms, status });
    if replayed {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// All that is known of how a record ended.
#[derive(Default, Serialize, Deserialize)]
struct Known {
    duration_ms: Option<u32>,
    status: Option<u16>,
}

/// What is asked of the store.
pub(super) fn request(
    caller: Caller,
    organization: OrganizationRef,
    name: EventName,
    said: Completion,
    receipt: Option<ReceiptKey>,
) -> Request {
    Request::Change(Box::new(ChangeRequest {
        caller,
        organization,
        reason: String::new(),
        receipt,
        command: Command::Complete(Completing::Asked(name, said)),
        only_if_changes: None,
        respond: Arc::new(|after| {
            let (known, is_new) = match after.reply {
                Reply::Completed { outcome, is_new } => {
                    (Known { duration_ms: outcome.duration_ms, status: outcome.status }, *is_new)
                }
                _ => (Known::default(), false),
            };
            answer(if is_new { NEW } else { KNOWN }, after, &known)
        }),
    }))
}

/// What came of one completion among events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The record says more than before.
    Completed,
    /// It said so already, or something else, which stays.
    Known,
    /// There is no such record, or it is void.
    Unknown,
}

/// What came of it.
///
/// # Errors
/// What is wrong with the store rather than with the completion.
pub(super) fn came(receipt: Result<Receipt, StoreError>) -> Result<Came, StoreError> {
    match receipt {
        Ok(Receipt::Answered { answer, .. }) if answer.status == NEW => Ok(Came::Completed),
        Ok(_) | Err(StoreError::Problem(Problem::AlreadyComplete)) => Ok(Came::Known),
        Err(StoreError::Problem(Problem::UnknownEvent | Problem::AlreadyVoid)) => Ok(Came::Unknown),
        Err(error) => Err(error),
    }
}
