//! What each core serves: the hot routes by a thin function, everything else by the router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use axum::Router;
use axum::body::Body;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use tower::ServiceExt;

use super::auth;
use super::body::{self, Limited, Limits};
use super::consume::{self, Call, Mode};
use super::error::{ApiError, with_instance};
use super::events;
use super::request_id::{RequestId, RequestIds, X_REQUEST_ID};
use super::state::App;
use crate::clock;

/// A body that is read before it is known who sends it, in bytes.
const SMALL_BODY: u64 = 64 * 1024;

/// One core's service.
#[derive(Clone)]
pub struct Service {
    app: App,
    router: Router,
    ids: Rc<RequestIds>,
}

impl Service {
    /// Serves with this core's share of the app; `router` has every route.
    pub fn new(app: App, router: Router) -> Self {
        let prefix = u64::from_be_bytes(crate::random::bytes());
        Self { app, router, ids: Rc::new(RequestIds::new(prefix)) }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let (id, begun, method) = (self.ids.of(request.headers()), clock::boot(), request.method().clone());
        let hot = hot_route(request.method(), request.uri().path());
        let (mut response, route) = match hot {
            Some(hot) => (self.hot(hot, request, &id).await, hot.path()),
            None => (self.routed(request, &id).await, ""),
        };
        measured(&method, route, &response, clock::boot() - begun);
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(X_REQUEST_ID, value);
        }
        response
    }

    async fn hot(&self, hot: Hot, request: Request<Incoming>, id: &RequestId) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let answered = async {
            self.refuse_large_of_strangers(&parts, &incoming)?;
            let body = body::read(Limited::new(incoming, self.limits())).await?;
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
        if let Err(error) = self.refuse_large_of_strangers(&parts, &incoming) {
            return error.response(Some(id));
        }
        // Before anybody answers: a connection with a body that was left unread is closed, under the next request on it.
        let body = match body::read(Limited::new(incoming, self.limits())).await {
            Ok(body) => Body::from(body),
            Err(error) => return error.response(Some(id)),
        };
        match self.router.clone().oneshot(Request::from_parts(parts, body)).await {
            Ok(response) => with_instance(response, id),
            Err(never) => match never {},
        }
    }

    /// A stranger's body is not read beyond what every request may have.
    fn refuse_large_of_strangers(&self, parts: &Parts, body: &Incoming) -> Result<(), ApiError> {
        if body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY) {
            return Ok(());
        }
        let (shared, now) = (&self.app.shared, self.app.now());
        auth::authenticate(&parts.headers, &shared.admin_key, &shared.store.catalogue(), now).map(|_| ())
    }

    fn limits(&self) -> Limits {
        Limits { bytes: self.app.shared.max_body_bytes as u64, timeout: self.app.shared.body_timeout }
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

fn measured(method: &Method, route: &'static str, response: &Response<Body>, micros: i64) {
    let matched = response.extensions().get::<Route>().map(|route| route.0.as_str().to_owned());
    let route = if route.is_empty() { matched.unwrap_or_else(|| "unknown".to_owned()) } else { route.to_owned() };
    let labels = [
        ("method", metrics::SharedString::from(method_name(method))),
        ("route", metrics::SharedString::from(route)),
        ("status", metrics::SharedString::from(status_name(response.status().as_u16()))),
    ];
    let seconds = std::time::Duration::from_micros(micros.unsigned_abs());
    metrics::histogram!("http_server_request_duration_seconds", &labels).record(seconds);
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
        204 => "204",
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
