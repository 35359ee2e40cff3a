//! Pages: the dashboard, an organization's settings, the portal.
//!
//! A page asks the API, within the process and with the cookie of the browser that wants it, and shows the answers; a form that is
//! sent becomes a call of the API. So a page shows and does what the API would to the same person, and no rule, right or check
//! stands here.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::routing::get;

use super::state::App;

mod action;
mod admin;
mod api;
mod assets;
mod measured;
mod multipart;
mod notifications;
mod organization;
mod portal;
mod prices;
mod sent;
mod signing;
mod team;
mod trouble;
mod visit;
mod webhooks;
mod what_if;
mod who;

use action::{of_organization, of_own, of_team};
use visit::Pages;

/// Nothing from elsewhere, nothing inline, in nobody's frame. Forms lead on to Stripe's own pages, where customers pay.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self' https://billing.stripe.com https://checkout.stripe.com; base-uri 'none'; frame-ancestors 'none'";

/// All pages; `api` has every route of the API.
pub(super) fn router(app: App, api: Router) -> Router {
    let pages = Router::new()
        .route("/", get(signing::start))
        .route("/sign-in", get(signing::sign_in).post(signing::sign_in_sent))
        .route("/sign-up", get(signing::sign_up).post(signing::sign_up_sent))
        .route("/sign-out", axum::routing::post(signing::sign_out))
        .route("/nowhere", get(signing::nowhere))
        .route("/setup", get(signing::setup).post(signing::setup_sent))
        .route("/reset", get(signing::reset).post(signing::reset_sent))
        .route("/join", get(signing::join).post(signing::join_sent))
        .route("/verify", get(signing::verify).post(signing::verify_sent))
        .route("/admin", get(admin::overview))
        .route("/admin/organizations", get(admin::organizations))
        .route("/admin/organizations/{org}", get(organization::usage))
        .route("/admin/organizations/{org}/{tab}", get(organization::tab))
        .route("/admin/organizations/{org}/do/{action}", get(of_organization::show).post(of_organization::sent))
        .route("/admin/plans", get(team::plans))
        .route("/admin/plans/{key}", get(team::plan))
        .route("/admin/meters", get(team::meters))
        .route("/admin/prices", get(prices::prices))
        .route("/admin/prices/recompute", get(prices::show).post(prices::sent))
        .route("/admin/what-if", get(what_if::show).post(what_if::sent))
        .route("/admin/webhooks", get(webhooks::all))
        .route("/admin/webhooks/{id}", get(webhooks::one))
        .route("/admin/webhooks/{id}/secret", get(webhooks::secret))
        .route("/admin/audit", get(admin::audit))
        .route("/admin/audit/verify", get(admin::verify))
        .route("/admin/keys", get(team::keys))
        .route("/admin/settings", get(team::settings))
        .route("/admin/stripe", get(team::stripe))
        .route("/admin/do/{action}", get(of_team::show).post(of_team::sent))
        .route("/dashboard/settings", get(organization::dashboard_settings))
        .route("/organizations/{org}/settings", get(organization::own_usage))
        .route("/organizations/{org}/settings/{tab}", get(organization::own_tab))
        .route("/organizations/{org}/settings/do/{action}", get(of_own::show).post(of_own::sent))
        .route("/portal", get(portal::usage).post(portal::open))
        .route("/portal/billing", get(portal::billing))
        .route("/portal/notifications", get(notifications::show).post(notifications::sent))
        .route("/unsubscribe", get(notifications::unsubscribe).post(notifications::unsubscribed))
        .route("/portal/billing/manage", axum::routing::post(portal::manage))
        .route("/portal/billing/upgrade", axum::routing::post(portal::upgrade))
        .route("/admin/{*rest}", get(nowhere))
        .route("/portal/{*rest}", get(nowhere))
        .route("/organizations/{org}/{*rest}", get(nowhere))
        .layer(from_fn(guarded));
    let assets = Router::new()
        .route("/assets/metergate.css", get(async || assets::style()))
        .route("/assets/metergate.js", get(async || assets::script()))
        .route("/assets/chart.js", get(async || assets::charts()))
        .route("/assets/icons.svg", get(async || assets::icons()))
        .route("/assets/icon.svg", get(async || assets::icon()))
        .route("/assets/logo", get(assets::logo))
        .route("/assets/team.css", get(assets::team));
    pages.merge(assets).with_state(Pages { app, api })
}

/// A page that does not exist, below the addresses of pages.
async fn nowhere() -> trouble::Trouble {
    trouble::Trouble::not_found()
}

/// What holds for every page.
async fn guarded(request: Request, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // An address may have a token in it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// A page that was made.
fn html(page: &impl askama::Template) -> Response<Body> {
    let made = page.render();
    let is_made = made.is_ok();
    let text = made.unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be made");
        "This page could not be made; the log says why.".to_owned()
    });
    let mut response = Response::new(Body::from(text));
    if !is_made {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
