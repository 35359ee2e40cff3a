//! The paths that must work as written (§7): documented interfaces that existing callers use. Each runs the same command
//! or report as its counterpart below `/v1`; here are only their forms.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::answer;
use super::error::ApiError;
use super::json;
use super::request_id::RequestId;
use crate::catalogue::Snapshot;
use crate::report::Current;
use crate::store::{Answer, Respond};

pub mod auth;
pub mod clients;
pub mod cycle;
pub mod internal;
pub mod metrics;
pub mod portal;
#[cfg(test)]
mod tests;
pub mod usage;

/// Where the documented paths begin.
const PREFIXES: [&str; 5] = ["/internal/", "/portal/", "/api/admin/", "/api/auth/", "/api/organizations"];

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WhyBody {
    /// Why; kept in the audit log.
    pub reason: Option<String>,
}

/// The body of every error of these paths.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorText {
    /// What is wrong, and what to do.
    #[schema(example = "Organization not found")]
    pub error: String,
}

impl ErrorText {
    fn of(error: &ApiError) -> Self {
        let fault = |pointer: &str, detail: &str| match pointer.trim_start_matches(['#', '/', '?']) {
            "" => detail.to_owned(),
            name => format!("{name}: {detail}"),
        };
        let faults: Vec<_> = error.faults().iter().map(|one| fault(&one.pointer, &one.detail)).collect();
        let error = match (error.code(), faults.is_empty()) {
            ("unknown-organization", _) => "Organization not found".to_owned(),
            (_, true) => error.detail().to_owned(),
            (_, false) => faults.join(" "),
        };
        Self { error }
    }
}

/// Whether the errors of this path are written as [`ErrorText`].
pub fn covers(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// An error as these paths answer it.
pub fn refusal(error: &ApiError, id: &RequestId) -> Response<Body> {
    written(error.response(Some(id)), error)
}

/// Writes the error that a handler answered with as these paths do; other responses stay.
pub fn with_error_text(mut response: Response<Body>, id: &RequestId) -> Response<Body> {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    // Logs the cause; what layers added to the response stays.
    drop(error.response(Some(id)));
    written(response, &error)
}

fn written(mut response: Response<Body>, error: &ApiError) -> Response<Body> {
    *response.body_mut() = Body::from(serde_json::to_vec(&ErrorText::of(error)).unwrap_or_default());
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A body that may be absent.
fn optional<'a, T: Deserialize<'a> + Default>(body: &'a [u8]) -> Result<T, ApiError> {
    if body.is_empty() { Ok(T::default()) } else { json::parse(body) }
}

fn why(body: &[u8]) -> Result<String, ApiError> {
    Ok(optional::<WhyBody>(body)?.reason.unwrap_or_default())
}

fn failed(error: &ApiError) -> Answer {
    let body = serde_json::to_vec(&ErrorText::of(error)).unwrap_or_default();
    Answer { status: error.status().as_u16(), body, version: None }
}

/// Answers a change with the organization as it is after it.
fn answered<T: Serialize>(make: impl Fn(&Current<'_>, &Snapshot) -> T + Send + Sync + 'static) -> Respond {
    Arc::new(move |after| match Current::of(after.account.clone(), after.catalogue, after.now) {
        Ok(current) => answer(200, after, &make(&current, after.catalogue)),
        // The plan was there when the change was decided.
        Err(error) => failed(&error.into()),
    })
}
