//! Whether the process lives, is ready, and what it counts.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::decision::json;
use super::error::ApiError;
use super::state::App;

/// That it is well.
#[derive(Serialize, ToSchema)]
pub struct HealthBody {
    /// `ok`.
    pub status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "server", security(()), responses((status = 200, body = HealthBody)))]
pub async fn livez() -> Response<Body> {
    json(StatusCode::OK, &HealthBody { status: "ok" })
}

/// Whether it takes requests: the store can be read, and the server is not being stopped.
#[utoipa::path(get, path = "/readyz", tag = "server", security(()), responses((status = 200, body = HealthBody), (status = 503, description = "Not ready")))]
pub async fn readyz(State(app): State<App>) -> Result<Response<Body>, ApiError> {
    if *app.shared.draining.borrow() {
        return Err(ApiError::unavailable(1));
    }
    // It is about to end.
    if let Some(why) = app.shared.store.is_outdated() {
        return Err(ApiError::outdated(why));
    }
    app.read(|view| Ok(view.rows().answers()?)).await?;
    Ok(json(StatusCode::OK, &HealthBody { status: "ok" }))
}

/// Figures in Prometheus' text form. Names no organization.
#[utoipa::path(get, path = "/metrics", tag = "server", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<App>) -> Response<Body> {
    let mut response = Response::new(Body::from(app.shared.metrics.render()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
