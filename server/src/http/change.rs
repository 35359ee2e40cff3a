//! A change of an organization: from a request to the store, and the answer back.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use metergate_rules::command::Command;
use metergate_rules::time::Time;
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::state::{App, Operator};
use super::{idempotency, json};
use crate::report::organization::OrganizationBody;
use crate::store::{After, Answer, Caller, ChangeRequest, Receipt, Request, Respond};

/// The longest reason in bytes.
pub(super) const MOST_REASON: usize = 4096;

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReasonBody {
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// An operator's command on one organization, as it came in.
pub(super) struct Operation<'a> {
    pub(super) app: &'a App,
    pub(super) org: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) route: &'static str,
}

impl Operation<'_> {
    pub(super) async fn run(
        self,
        operator: Operator,
        command: Command,
        reason: String,
        respond: Respond,
    ) -> Result<Response<Body>, ApiError> {
        let Operator { caller, path, .. } = operator;
        self.run_for(caller, &path, command, reason, respond).await
    }

    /// The same for somebody who need not be an operator, of whom it is known that they may.
    pub(super) async fn run_for(
        self,
        caller: Caller,
        path: &str,
        command: Command,
        reason: String,
        respond: Respond,
    ) -> Result<Response<Body>, ApiError> {
        if reason.len() > MOST_REASON {
            return Err(ApiError::invalid("#/reason", format!("Send at most {MOST_REASON} bytes.")));
        }
        let organization = self.org.parse().map_err(|_| ApiError::unknown_organization())?;
        // The path is part of the request: the route's template alone does not tell meter, window or grant. The command is
        // not: what a plan's key means may change between a call and its repetition.
        // Nor is how the organization was named: the key's scope is the organization.
        let below = below_organization(self.route, path);
        let receipt = idempotency::receipt(self.headers, self.route, &[below.as_bytes(), self.body])?;
        let only_if_changes = if_match(self.headers)?;
        let request = ChangeRequest { caller, organization, reason, receipt, command, only_if_changes, respond };
        run(self.app, request).await
    }
}

/// What stands in a path after the organization, which is the first thing that its route's template names.
fn below_organization<'p>(route: &str, path: &'p str) -> &'p str {
    let before = route.split_once(' ').map_or(route, |(_, template)| template);
    let before = before.split('{').next().unwrap_or(before);
    path.strip_prefix(before).and_then(|rest| rest.split_once('/')).map_or("", |(_, below)| below)
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

pub(super) fn reason(body: &[u8]) -> Result<String, ApiError> {
    if body.is_empty() {
        return Ok(String::new());
    }
    Ok(json::parse::<ReasonBody>(body)?.reason)
}

/// An RFC 3339 time at a place in the body.
///
/// # Errors
/// 422 where it is none.
pub(super) fn time(pointer: &str, text: &str) -> Result<Time, ApiError> {
    text.parse().map_err(|error: metergate_rules::time::InvalidTime| ApiError::invalid(pointer, error.to_string()))
}
