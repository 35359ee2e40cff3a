//! What each core serves: the hot routes by a thin function, everything else by the router.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use metrics::{Histogram, SharedString};
use tower::ServiceExt;

use super::body::{self, Limited, Limits};
use super::consume::{self, Call, Mode};
use super::documented;
use super::error::{ApiError, with_instance};
use super::events;
use super::gateway;
use super::linger;
use super::request_id::{RequestId, RequestIds, X_REQUEST_ID};
use super::state::App;
use super::stripe;
use crate::clock;

/// A body that is read before it is known who sends it, in bytes.
const SMALL_BODY: u64 = 64 * 1024;
/// Where nobody needs a credential: who sends more is told so, and not to sign in.
const OF_STRANGERS: [&str; 5] =
    ["/api/auth/register", "/api/auth/login", "/v1/sessions", "/v1/portal-sessions", "/v1/password-resets/request"];

/// Of a body that is refused so much is read behind the answer, in bytes: whoever sends no more than that hears why.
const MOST_LEFT: u64 = 64 * 1024 * 1024;
/// The same of a stranger's.
const MOST_OF_STRANGERS: u64 = 1024 * 1024;

/// One core's service.
#[derive(Clone)]
pub struct Service {
    app: App,
    router: Router,
    ids: Rc<RequestIds>,
    timings: Rc<Timings>,
}

impl Service {
    /// Serves with this core's share of the app; `router` has every route.
    pub fn new(app: App, router: Router) -> Self {
        let prefix = u64::from_be_bytes(crate::random::bytes());
        Self { app, router, ids: Rc::new(RequestIds::new(prefix)), timings: Rc::default() }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let (id, begun) = (self.ids.of(request.headers()), clock::boot());
        let took = || Duration::from_micros((clock::boot() - begun).unsigned_abs());
        let mut response = if let Some(hot) = hot_route(request.method(), request.uri().path()) {
            let response = self.hot(hot, request, &id).await;
            self.timings.of(hot, response.status()).record(took());
            response
        } else {
            let method = request.method().clone();
            let response = self.routed(request, &id).await;
            let route = response.extensions().get::<Route>().map_or("unknown", |route| route.0.as_str()).to_owned();
            timing(&method, route, response.status()).record(took());
            response
        };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(X_REQUEST_ID, value);
        }
        response
    }

    async fn hot(&self, hot: Hot, request: Request<Incoming>, id: &RequestId) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let body = match self.body(&parts, incoming).await {
            Ok(body) => body,
            Err(refused) => return refused.answer(|error| error.response(Some(id))),
        };
        let answered = async {
            let (headers, query, request) = (&parts.headers, parts.uri.query(), id.clone());
            match hot {
                Hot::Consume => {
                    consume::consume(&self.app, Mode::Consume, Call { headers, query, body: &body, request }).await
                }
                Hot::Check => {
                    consume::consume(&self.app, Mode::Check, Call { headers, query, body: &body, request }).await
                }
                Hot::Events => events::ingest(&self.app, headers, &body).await,
            }
        };
        answered.await.unwrap_or_else(|error| error.response(Some(id)))
    }

    async fn routed(&self, request: Request<Incoming>, id: &RequestId) -> Response<Body> {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(id.clone());
        if gateway::covers(parts.uri.path()) {
            return self.unread(parts, incoming, id).await;
        }
        let is_documented = documented::covers(parts.uri.path());
        // Before anybody answers: a connection with a body that was left unread is closed, under the next request on it.
        let body = match self.body(&parts, incoming).await {
            Ok(body) => Body::from(body),
            Err(refused) if is_documented => return refused.answer(|error| documented::refusal(error, id)),
            Err(refused) => return refused.answer(|error| error.response(Some(id))),
        };
        match self.router.clone().oneshot(Request::from_parts(parts, body)).await {
            Ok(response) if is_documented => documented::with_error_text(response, id),
            Ok(response) => with_instance(response, id),
            Err(never) => match never {},
        }
    }

    /// Of a request whose body is somebody else's, and perhaps only announced: it is not waited for, and the connection ends.
    async fn unread(&self, parts: Parts, incoming: Incoming, id: &RequestId) -> Response<Body> {
        let (router, request) = (self.router.clone(), Request::from_parts(parts, Body::empty()));
        let response = match router.oneshot(request).await {
            Ok(response) => with_instance(response, id),
            Err(never) => match never {},
        };
        if incoming.is_end_stream() { response } else { linger::closing(response, incoming, MOST_OF_STRANGERS) }
    }

    /// The body, which is read from those alone who may send it.
    async fn body(&self, parts: &Parts, mut incoming: Incoming) -> Result<Bytes, Refused> {
        match self.of_stranger(parts, &mut incoming).await {
            Ok(Some(body)) => return plain(parts, body),
            Ok(None) => {}
            Err(error) => return Err(Refused { error, left: Some((incoming, MOST_OF_STRANGERS)) }),
        }
        match body::read(Limited::new(&mut incoming, self.limits())).await {
            Ok(body) => plain(parts, body),
            Err(error) => {
                // Who is too slow is not waited for any longer.
                let is_late = error.status() != StatusCode::PAYLOAD_TOO_LARGE;
                Err(Refused { error, left: (!is_late).then_some((incoming, MOST_LEFT)) })
            }
        }
    }

    /// A stranger's body is not read beyond what every request may have. Of one that does not say its length so much is
    /// read here, since only its end tells; `None` where the body may be read like any other.
    async fn of_stranger(&self, parts: &Parts, body: &mut Incoming) -> Result<Option<Bytes>, ApiError> {
        let announced = body.size_hint().upper();
        if announced.is_some_and(|bytes| bytes <= SMALL_BODY) {
            return Ok(None);
        }
        if stripe::may_send(&self.app, parts) {
            let limits = Limits { bytes: stripe::MOST_BYTES, ..self.limits() };
            return body::read(Limited::new(body, limits)).await.map(Some);
        }
        let Err(error) = self.app.known(&parts.headers, &parts.method).await else { return Ok(None) };
        let too_large = || ApiError::payload_too_large(format!("A body has at most {SMALL_BODY} bytes here."));
        let error = if OF_STRANGERS.contains(&parts.uri.path()) { too_large() } else { error };
        if announced.is_some() {
            return Err(error);
        }
        let limits = Limits { bytes: SMALL_BODY, ..self.limits() };
        // Too long or too slow: it is refused as if it had said so.
        body::read(Limited::new(body, limits)).await.map(Some).map_err(|_| error)
    }

    fn limits(&self) -> Limits {
        Limits { bytes: self.app.shared.max_body_bytes as u64, timeout: self.app.shared.body_timeout }
    }
}

/// A body as it came: none is decoded here, and read as if it were plain it would only be called invalid.
fn plain(parts: &Parts, body: Bytes) -> Result<Bytes, Refused> {
    let coding = parts.headers.get(CONTENT_ENCODING).map_or(&b"identity"[..], HeaderValue::as_bytes);
    if body.is_empty() || coding.eq_ignore_ascii_case(b"identity") {
        return Ok(body);
    }
    let error = ApiError::unsupported_media_type("Send the body as it is, without Content-Encoding.");
    Err(Refused { error, left: None })
}

/// A request that is refused before its body is read, to the end of it, or once it is there.
struct Refused {
    error: ApiError,
    /// What is left of the body, and how much of it is read behind the answer.
    left: Option<(Incoming, u64)>,
}

impl Refused {
    fn answer(self, written: impl Fn(&ApiError) -> Response<Body>) -> Response<Body> {
        let response = written(&self.error);
        match self.left {
            Some((left, most)) => linger::closing(response, left, most),
            None => response,
        }
    }
}

/// A route that is answered without the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hot {
    Consume,
    Check,
    Events,
}

impl Hot {
    const fn path(self) -> &'static str {
        match self {
            Self::Consume => "/v1/consume",
            Self::Check => "/v1/check",
            Self::Events => "/v1/events",
        }
    }
}

fn hot_route(method: &Method, path: &str) -> Option<Hot> {
    if method != Method::POST {
        return None;
    }
    [Hot::Consume, Hot::Check, Hot::Events].into_iter().find(|hot| hot.path() == path)
}

/// The template of the route that answered, left by the router for the metrics.
#[derive(Clone, Debug)]
pub struct Route(pub axum::extract::MatchedPath);

/// How long the answers of a route with a status took.
fn timing(method: &Method, route: impl Into<SharedString>, status: StatusCode) -> Histogram {
    let labels = [
        ("method", SharedString::from(method_name(method))),
        ("route", route.into()),
        ("status", SharedString::from(status_name(status.as_u16()))),
    ];
    metrics::histogram!("http_server_request_duration_seconds", &labels)
}

/// The hot routes' timings, found without looking them up by name.
#[derive(Default)]
struct Timings(RefCell<Vec<((Hot, StatusCode), Histogram)>>);

impl Timings {
    fn of(&self, hot: Hot, status: StatusCode) -> Histogram {
        let mut known = self.0.borrow_mut();
        if let Some((_, histogram)) = known.iter().find(|(of, _)| *of == (hot, status)) {
            return histogram.clone();
        }
        let histogram = timing(&Method::POST, hot.path(), status);
        known.push(((hot, status), histogram.clone()));
        histogram
    }
}

/// Any other method is one name, so that a stranger cannot make series.
fn method_name(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}

const fn status_name(status: u16) -> &'static str {
    match status {
        200 => "200",
        201 => "201",
        202 => "202",
        204 => "204",
        303 => "303",
        304 => "304",
        400 => "400",
        401 => "401",
        402 => "402",
        403 => "403",
        404 => "404",
        405 => "405",
        408 => "408",
        409 => "409",
        412 => "412",
        413 => "413",
        415 => "415",
        422 => "422",
        429 => "429",
        500 => "500",
        503 => "503",
        _ => "other",
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

/// Answers for paths that are no route.
pub async fn not_found() -> ApiError {
    ApiError::not_found()
}
