//! What pages load: it is in the program, and browsers keep it for an hour.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use metergate_pages::assets;

use super::visit::Pages;

fn served(kind: &'static str, text: impl Into<Body>, keep: &'static str) -> Response<Body> {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

const HOUR: &str = "public, max-age=3600";

pub(super) fn style() -> Response<Body> {
    served("text/css; charset=utf-8", assets::STYLE, HOUR)
}

pub(super) fn script() -> Response<Body> {
    served("text/javascript; charset=utf-8", assets::SCRIPT, HOUR)
}

pub(super) fn charts() -> Response<Body> {
    served("text/javascript; charset=utf-8", assets::CHARTS, HOUR)
}

pub(super) fn icons() -> Response<Body> {
    served("image/svg+xml", assets::ICONS, HOUR)
}

pub(super) fn icon() -> Response<Body> {
    served("image/svg+xml", assets::ICON, HOUR)
}

/// The team's colour, which no page may have inline. The settings take six hexadecimal digits and nothing else.
pub(super) async fn team(State(pages): State<Pages>) -> Response<Body> {
    let color = pages.app.snapshot().stored.settings.color.clone();
    let text = color.map_or_else(String::new, |color| format!(":root {{ --team: {color}; }}\n"));
    served("text/css; charset=utf-8", text, "no-cache")
}
