//! What pages load: it is in the program, and browsers keep it for an hour.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use metergate_pages::assets;

use super::trouble::Trouble;
use super::visit::Pages;
use crate::catalogue::logo::Logo;

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

/// The team's logo, where a picture of it is kept: nothing that can do anything, whatever it holds.
pub(super) async fn logo(State(pages): State<Pages>, headers: HeaderMap) -> Response<Body> {
    let snapshot = pages.app.snapshot();
    let Some(Logo::Picture(picture)) = &snapshot.stored.settings.logo else {
        return Trouble::not_found().into_response();
    };
    let tag = HeaderValue::from_str(&format!("\"{}\"", picture.digest()));
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| tag.as_ref().is_ok_and(|tag| tag == known));
    let mut response = match is_known {
        true => served(picture.kind(), Body::empty(), HOUR),
        false => served(picture.kind(), picture.data(), HOUR),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let alone = HeaderValue::from_static("default-src 'none'; sandbox");
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, alone);
    response.headers_mut().extend(tag.ok().map(|tag| (ETAG, tag)));
    response
}
