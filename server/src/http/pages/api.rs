//! The API, asked within the process as whoever sent a request to a page.

use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ETAG, HOST, HeaderName, HeaderValue, IF_MATCH, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use metergate_pages::answers::{Paged, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use super::trouble::Trouble;
use crate::http::error::ApiError;
use crate::http::listen::Peer;

/// What of a browser's request the API looks at: who it is, whether a page of this server sent it, and from where.
const PASSED_ON: [HeaderName; 5] = [COOKIE, HOST, ORIGIN, FETCH_SITE, HeaderName::from_static("x-forwarded-for")];
/// Whose page has led to the request, as browsers say.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Pages of a list that are put together where all of it is shown.
const MOST_PAGES: usize = 20;

/// The API as somebody sees it.
#[derive(Clone)]
pub(super) struct Api {
    router: Router,
    headers: HeaderMap,
    peer: Option<Peer>,
}

/// A change that is asked of the API.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Value,
    /// The version of what it changes, where it may change that alone.
    only_if: Option<String>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>, body: Value) -> Self {
        Self { method, path: path.into(), body, only_if: None }
    }

    /// Only if what it changes still has the version that its form was shown with.
    pub(super) fn only_if(mut self, version: String) -> Self {
        self.only_if = Some(version);
        self
    }
}

/// What the API answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body, read.
    ///
    /// # Errors
    /// Where it has another form.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        serde_json::from_slice(&self.body).map_err(|error| {
            tracing::error!(%error, "the API answered in a form that pages do not know");
            Trouble::broken()
        })
    }

    /// The version of what was read, as it stands in the entity tag.
    pub(super) fn version(&self) -> Option<String> {
        let tag = self.headers.get(ETAG)?.to_str().ok()?;
        Some(tag.trim_matches('"').to_owned())
    }

    /// The body's text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Why it was refused.
    pub(super) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Api {
    /// As whoever sent a request.
    pub(super) fn of(parts: &Parts, router: &Router) -> Self {
        let mut headers = HeaderMap::new();
        for name in PASSED_ON {
            // Every line of it: a proxy that is trusted may have added its own behind a client's.
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Self { router: router.clone(), headers, peer: parts.extensions.get::<Peer>().copied() }
    }

    /// As whoever holds a key, instead.
    pub(super) fn with_key(&self, key: &str) -> Option<Self> {
        let mut other = self.clone();
        other.headers.remove(COOKIE);
        other.headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).ok()?);
        Some(other)
    }

    /// As whoever has opened an address of their own accord, from a bookmark or a message, and not from another site's page: what
    /// such an address asks is asked as by a page of this server. For what changes nothing.
    pub(super) fn opened(&self) -> Self {
        let mut other = self.clone();
        if other.headers.get(FETCH_SITE).is_some_and(|site| site == "none") {
            other.headers.insert(FETCH_SITE, HeaderValue::from_static("same-origin"));
        }
        other
    }

    /// Asks.
    ///
    /// # Errors
    /// Where the answer breaks off.
    pub(super) async fn ask(&self, call: &Call, key: Option<&str>) -> Result<Answer, Trouble> {
        let body = if call.body.is_null() { Body::empty() } else { Body::from(call.body.to_string()) };
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.path.parse().map_err(|_| Trouble::not_found())?;
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key.and_then(|key| HeaderValue::from_str(key).ok()) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        if let Some(version) = &call.only_if {
            let tag = HeaderValue::from_str(&format!("\"{version}\"")).map_err(|_| Trouble::unreadable())?;
            request.headers_mut().insert(IF_MATCH, tag);
        }
        request.extensions_mut().extend(self.extensions());
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        answered(response).await
    }

    fn extensions(&self) -> axum::http::Extensions {
        let mut extensions = axum::http::Extensions::new();
        if let Some(peer) = self.peer {
            extensions.insert(peer);
        }
        extensions
    }

    /// Reads.
    ///
    /// # Errors
    /// What the API refuses.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.answer(path).await?.read()
    }

    /// The same with what stands around the body.
    ///
    /// # Errors
    /// What the API refuses.
    pub(super) async fn answer(&self, path: &str) -> Result<Answer, Trouble> {
        let answer = self.ask(&Call::new(Method::GET, path, Value::Null), None).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(Trouble::refused(answer.status, answer.problem())) }
    }

    /// Reads all of a list; of one with more pages than anybody looks through its beginning.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Trouble> {
        let (mut all, mut next) = (Vec::new(), None::<String>);
        let joined = if path.contains('?') { '&' } else { '?' };
        for _ in 0..MOST_PAGES {
            let cursor = next.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let page: Paged<T> = self.get(&format!("{path}{joined}limit=200{cursor}")).await?;
            all.extend(page.data);
            next = page.next_cursor;
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }
}

async fn answered(mut response: Response<Body>) -> Result<Answer, Trouble> {
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        // Its body, and the cause in the log: outside this process the service does that.
        response = error.response(None);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Trouble::broken())?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_header_is_passed_on_and_no_key() {
        let request = Request::builder()
            .header("x-forwarded-for", "198.51.100.7")
            .header("x-forwarded-for", "203.0.113.9")
            .header("authorization", "Bearer of-a-page")
            .header("cookie", "a=b");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let api = Api::of(&parts, &Router::new());
        let said: Vec<_> = api.headers.get_all("x-forwarded-for").iter().collect();
        assert_eq!(said, ["198.51.100.7", "203.0.113.9"], "the proxy's line is the last");
        assert!(!api.headers.contains_key("authorization"), "pages know browsers by their cookie alone");
        let by_key = api.with_key("secret").unwrap();
        assert_eq!(by_key.headers.get("authorization").unwrap(), "Bearer secret");
        assert!(!by_key.headers.contains_key("cookie"));
        assert!(api.with_key("two\r\nlines").is_none());
    }

    #[test]
    fn an_address_that_somebody_opens_is_no_other_sites() {
        for (site, expected) in [("none", "same-origin"), ("same-origin", "same-origin"), ("cross-site", "cross-site")]
        {
            let (parts, ()) = Request::builder().header("sec-fetch-site", site).body(()).unwrap().into_parts();
            let opened = Api::of(&parts, &Router::new()).opened();
            assert_eq!(opened.headers.get("sec-fetch-site").unwrap(), expected, "{site}");
        }
    }
}
