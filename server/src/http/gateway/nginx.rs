//! What nginx's `auth_request` understands: 2xx allows, 401 and 403 deny, anything else is a failure. So every refusal is 403,
//! with what it really is in headers from which `error_page` makes it again (`docs/nginx.md`).

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::is_refusal;
use crate::http::error::ApiError;
use crate::http::request_id::RequestId;

const STATUS: HeaderName = HeaderName::from_static("x-quota-status");
const RETRY: HeaderName = HeaderName::from_static("x-quota-retry-after");
const PROBLEM: HeaderName = HeaderName::from_static("x-quota-problem");

/// A refused decision: 403 with the status that it has natively, the seconds to wait, and the problem on one line.
pub(super) fn refused(refusal: &ApiError, rate: &HeaderMap, request: &RequestId) -> Response<Body> {
    with_headers(refusal, StatusCode::FORBIDDEN, rate.get(RETRY_AFTER), request)
}

/// A call that is itself in error: neither 401 nor 403, which the client would take for its own refusal.
pub(super) fn failed(error: &ApiError, request: &RequestId) -> Response<Body> {
    let status = if is_refusal(error.status()) { StatusCode::INTERNAL_SERVER_ERROR } else { error.status() };
    let written = error.response(Some(request));
    let mut response = with_headers(error, status, written.headers().get(RETRY_AFTER), request);
    let headers = written.headers().iter().filter(|(name, _)| **name != WWW_AUTHENTICATE);
    response.headers_mut().extend(headers.map(|(name, value)| (name.clone(), value.clone())));
    *response.body_mut() = written.into_body();
    response
}

fn with_headers(
    error: &ApiError,
    status: StatusCode,
    retry: Option<&HeaderValue>,
    request: &RequestId,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(error.status().as_u16()));
    headers.extend(retry.map(|seconds| (RETRY, seconds.clone())));
    headers.extend(line(error.to_value(Some(request))).map(|problem| (PROBLEM, problem)));
    response
}

/// The problem as a header's value: the decision in it is left out, since proxies bound what headers may have.
fn line(mut problem: Value) -> Option<HeaderValue> {
    if let Value::Object(members) = &mut problem {
        members.remove("decision");
    }
    HeaderValue::try_from(ascii(&problem.to_string())).ok()
}

/// JSON says the same with escapes in place of what is no ASCII.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for one in json.chars() {
        match one {
            ' '..='~' => text.push(one),
            _ => {
                for unit in one.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stands_on_one_line_of_ascii_without_the_decision() {
        let error = ApiError::forbidden("nicht für 🙂\n").with_member("decision", &"much");
        let value = line(error.to_value(None)).unwrap();
        let read: Value = serde_json::from_str(value.to_str().unwrap()).unwrap();
        assert_eq!((&read["detail"], &read["code"]), (&"nicht für 🙂\n".into(), &"forbidden".into()));
        assert!(read.get("decision").is_none());
    }
}
