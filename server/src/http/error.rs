//! Errors on the wire: RFC 9457 problem details, one problem a response.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use metergate_rules::quantity::InvalidQuantity;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::request_id::RequestId;

/// Exactly this, without parameters: OpenMeter's client compares the whole string.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// Why a request was not answered as asked, in words for the caller.
///
/// What must not leave the house (the cause of a 500) is kept apart and only logged. The details of every 404 are
/// constant, so that a stranger's answer has the same bytes whatever was asked for.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    kind: &'static str,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    violated_policies: Vec<String>,
    members: Vec<(&'static str, Box<RawValue>)>,
    headers: HeaderMap,
    cause: Option<String>,
}

/// One thing that is wrong with a request's body or query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// What to do about it.
    pub detail: String,
    /// Where: a JSON pointer into the body as a URI fragment, such as `#/3/data/tokens`; `?limit` for a query parameter.
    pub pointer: String,
}

impl Fault {
    /// Something wrong at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), pointer: pointer.into() }
    }
}

/// The body of a problem, in the order of RFC 9457. Its own members are JSON text, so that quantities in them stay exact.
struct Problem<'a> {
    inner: &'a Inner,
    instance: Option<String>,
}

impl Serialize for Problem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = self.inner;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", inner.kind)?;
        map.serialize_entry("title", inner.status.canonical_reason().unwrap_or("Error"))?;
        map.serialize_entry("status", &inner.status.as_u16())?;
        map.serialize_entry("detail", &inner.detail)?;
        if let Some(instance) = &self.instance {
            map.serialize_entry("instance", instance)?;
        }
        map.serialize_entry("code", inner.code)?;
        if !inner.faults.is_empty() {
            map.serialize_entry("errors", &inner.faults)?;
        }
        if !inner.violated_policies.is_empty() {
            map.serialize_entry("violated-policies", &inner.violated_policies)?;
        }
        inner.members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// What others add to an error.
impl ApiError {
    /// A problem with a stable kebab-case `code` and words for the caller.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut headers = HeaderMap::new();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        let (kind, detail) = ("about:blank", detail.into());
        let (faults, violated_policies, members) = (Vec::new(), Vec::new(), Vec::new());
        Self(Box::new(Inner { status, code, kind, detail, faults, violated_policies, members, headers, cause: None }))
    }

    /// With one more entry in `errors`.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.0.faults.push(fault);
        self
    }

    /// The same of one element of an array: what points into the element, points into the whole body.
    #[must_use]
    pub fn in_element(self, index: usize) -> Self {
        self.in_member(&index.to_string())
    }

    /// The same of the value of a member of an object.
    #[must_use]
    pub fn in_member(mut self, name: &str) -> Self {
        let inner = &mut *self.0;
        for fault in &mut inner.faults {
            let Some(rest) = fault.pointer.strip_prefix('#') else { continue };
            let pointer = format!("#/{name}{rest}");
            if let Some(rest) = inner.detail.strip_prefix(&fault.pointer) {
                inner.detail = format!("{pointer}{rest}").into();
            }
            fault.pointer = pointer;
        }
        self
    }

    /// The same of a fault in the whole body that is one of the member at `pointer`.
    #[must_use]
    pub fn placed_at(mut self, pointer: &str) -> Self {
        let inner = &mut *self.0;
        for fault in inner.faults.iter_mut().filter(|fault| fault.pointer == "#") {
            pointer.clone_into(&mut fault.pointer);
            inner.detail = format!("{pointer}: {}", fault.detail).into();
        }
        self
    }

    /// With a member of its own, such as the refused decision.
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: &impl Serialize) -> Self {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.0.members.retain(|(known, _)| *known != name);
            self.0.members.push((name, value));
        }
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// With `Retry-After`: whole seconds, rounded up by the caller.
    #[must_use]
    pub fn with_retry_after(self, seconds: u64) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable kebab-case name of the problem.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The words for the caller.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is wrong with the request, thing by thing.
    pub fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    /// The problem as JSON, for an item of an array that is in error.
    pub fn to_value(&self, instance: Option<&RequestId>) -> Value {
        serde_json::to_value(self.problem(instance)).unwrap_or_default()
    }

    /// The whole answer, naming the request in `instance`. Logs the cause of a 500.
    pub fn response(&self, instance: Option<&RequestId>) -> Response<Body> {
        if let Some(cause) = &self.0.cause {
            let request = instance.map(ToString::to_string).unwrap_or_default();
            tracing::error!(request, code = self.0.code, cause, "request failed");
        }
        self.written(instance)
    }

    fn written(&self, instance: Option<&RequestId>) -> Response<Body> {
        let body = serde_json::to_vec(&self.problem(instance)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers.clone();
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        response
    }

    fn problem(&self, instance: Option<&RequestId>) -> Problem<'_> {
        Problem { inner: &self.0, instance: instance.map(|id| format!("urn:request:{id}")) }
    }
}

/// The problems there are.
impl ApiError {
    /// 401: no credential, or none that is in force.
    pub fn unauthorized() -> Self {
        let detail = "Send an API key or a session token that is in force: Authorization: Bearer …";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: known to the caller, but not theirs to do; `detail` says which right is missing.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404 for whatever is not there or not for this caller to know of.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing here.")
    }

    /// 404: no such organization, or one of others.
    pub fn unknown_organization() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-organization", "There is no such organization.")
    }

    /// 404: no such meter.
    pub fn unknown_meter() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-meter", "There is no such meter; GET /v1/meters lists them.")
    }

    /// 404: no such plan.
    pub fn unknown_plan() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-plan", "There is no such plan; GET /v1/plans lists them.")
    }

    /// 405; `allow` lists the methods that the path has, such as `GET, POST`.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This path takes {allow}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// 408: the body did not arrive in time. The connection is closed.
    pub fn request_timeout() -> Self {
        let detail = "The body did not arrive in time. Send it again, faster or in smaller parts.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail)
            .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 409 with a code of its own, such as `key-taken`.
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: `If-Match` names another version than the present one.
    pub fn precondition_failed() -> Self {
        let detail = "This was changed meanwhile. Read it again, then repeat the change with the new ETag.";
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail)
    }

    /// 413; `detail` says what the bound is.
    pub fn payload_too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", detail)
    }

    /// 415; `detail` lists what is taken.
    pub fn unsupported_media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    }

    /// 400: the body cannot be read at all.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-body", detail)
    }

    /// 422: readable, but one thing in it is wrong.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::validation(vec![Fault::new(pointer, detail)])
    }

    /// 422: readable, but these things in it are wrong.
    pub fn validation(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [one] => format!("{}: {}", one.pointer, one.detail).into(),
            _ => Cow::Borrowed("Several values are not valid; errors names each."),
        };
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", detail);
        error.0.faults = faults;
        error
    }

    /// 422: the quantity at `pointer` is not one of this meter.
    pub fn invalid_quantity(pointer: impl Into<String>, why: InvalidQuantity) -> Self {
        let fault = Fault::new(pointer, format!("Not a quantity of this meter: {why}."));
        let detail = format!("{}: {}", fault.pointer, fault.detail);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-quantity", detail).with_fault(fault)
    }

    /// 422: the idempotency key or id came with another payload before.
    pub fn idempotency_mismatch() -> Self {
        let detail = "This key was used with another request before. Use a new key for a new request.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-mismatch", detail)
    }

    /// 429: the credential's own request rate (R6), not an organization's quota.
    pub fn too_many_requests(retry_after: u64) -> Self {
        let detail = "This key sends more requests than it may. Wait, then go on more slowly.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).with_retry_after(retry_after)
    }

    /// A refused decision as an error: 429, or 402 where the limit says so, with the names of the policies in the way.
    pub fn quota_exceeded(status: StatusCode, violated_policies: Vec<String>) -> Self {
        let mut error = Self::new(status, "quota-exceeded", "The organization has used what it may of this meter.");
        error.0.kind = QUOTA_EXCEEDED;
        error.0.violated_policies = violated_policies;
        error
    }

    /// 503: the limit cannot be decided now, and its meter says to refuse then.
    pub fn reduced_capacity(violated_policies: Vec<String>, retry_after: u64) -> Self {
        let mut error = Self::unavailable(retry_after);
        error.0.kind = REDUCED_CAPACITY;
        error.0.violated_policies = violated_policies;
        error
    }

    /// 503: nothing was changed, the same request may pass later. Retry with the same id.
    pub fn unavailable(retry_after: u64) -> Self {
        let detail = "Not available now. Repeat the request; what has an id or an Idempotency-Key counts once.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).with_retry_after(retry_after)
    }

    /// 503: there is no room on the disk, and only the operator can make some.
    pub fn disk_full() -> Self {
        let detail = "The server's disk is full, so nothing was recorded. Once its operator has freed space on the disk of \
                      the data folder, or made it larger, repeat the request with the same id; it counts once.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk-full", detail).with_retry_after(10)
    }

    /// 503: so much has passed undecided that no more can be kept.
    pub fn spool_full() -> Self {
        let detail = "The record cannot be reached, and so much has passed undecided meanwhile that no more can be kept: nothing \
                      of this was recorded. Repeat the request with the same id; it counts once.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "spool-full", detail).with_retry_after(10)
    }

    /// 503: a newer release has changed the database, and this one is about to end.
    pub fn outdated(why: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "outdated", why).with_retry_after(1)
    }

    /// 500: what is stored about it is not what was written.
    pub fn damaged() -> Self {
        let detail = "What is stored about this is damaged, and nothing is answered rather than something wrong. The \
                      server's log says what it is; its operator has to restore a backup.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", detail)
    }

    /// 500. The cause goes to the log only.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let detail = "Something failed here. The request's id stands in the server's log.";
        let mut error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        error.0.cause = Some(cause.to_string());
        error
    }
}

/// For handlers: the answer without `instance`, which [`with_instance`] adds when the response leaves.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let mut response = self.written(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem that a handler answered with once more, naming the request; what layers added to it stays, and so do
/// other responses.
pub fn with_instance(mut response: Response<Body>, id: &RequestId) -> Response<Body> {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        *response.body_mut() = error.response(Some(id)).into_body();
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

#[cfg(test)]
mod tests;
