//! A change of an organization: from a request to the store, and the answer back.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use metergate_rules::time::Time;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::state::App;
use crate::report::organization::OrganizationBody;
use crate::store::{After, Answer, ChangeRequest, Receipt, Request, Respond};

/// The longest reason in bytes.
pub(super) const MOST_REASON: usize = 4096;

/// Why something is done, where it has to be said: 1 to 4,096 bytes, and not blanks alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Reason(String);

/// The text is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    /// It says nothing.
    #[error("Say why")]
    Blank,
    /// It has too many bytes.
    #[error("Send at most {most} bytes", most = MOST_REASON)]
    TooLong,
}

impl TryFrom<String> for Reason {
    type Error = InvalidReason;

    fn try_from(text: String) -> Result<Self, InvalidReason> {
        match text.len() {
            _ if text.trim().is_empty() => Err(InvalidReason::Blank),
            0..=MOST_REASON => Ok(Self(text)),
            _ => Err(InvalidReason::TooLong),
        }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// Why something is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    /// Why; kept in the audit log.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// Why something is done, by whom that may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionalReasonBody {
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

pub(super) async fn run(app: &App, request: ChangeRequest) -> Result<Response<Body>, ApiError> {
    match app.execute_one(Request::Change(Box::new(request))).await? {
        Receipt::Answered { answer, replayed } => Ok(written(answer, replayed)),
        _ => Err(ApiError::internal("a change was answered with something else")),
    }
}

/// An answer to a change on the wire.
pub(super) fn written(answer: Answer, replayed: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    if answer.status != 204 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(Ok(tag)) = answer.version.map(|version| HeaderValue::from_str(&format!("\"v{version}\""))) {
        headers.insert(ETAG, tag);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The version in `If-Match: "v<n>"`.
///
/// # Errors
/// 412 where it names no version of ours.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("if-match") else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"')).and_then(|n| n.parse().ok());
    version.map(Some).ok_or_else(ApiError::precondition_failed)
}

pub(super) fn answer(status: u16, after: &After<'_>, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).unwrap_or_default();
    Answer { status, body, version: Some(after.account.changes) }
}

pub(super) fn organization_answer(status: u16) -> Respond {
    Arc::new(move |after| answer(status, after, &OrganizationBody::of(after.account, after.catalogue)))
}

pub(super) fn nothing() -> Respond {
    Arc::new(|after| Answer { status: 204, body: Vec::new(), version: Some(after.account.changes) })
}

/// An RFC 3339 time at a place in the body.
///
/// # Errors
/// 422 where it is none.
pub(super) fn time(pointer: &str, text: &str) -> Result<Time, ApiError> {
    text.parse().map_err(|error: metergate_rules::time::InvalidTime| ApiError::invalid(pointer, error.to_string()))
}
