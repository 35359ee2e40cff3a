//! Every route in one table, and the OpenAPI document that is made from it.

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use axum::middleware::{Next, from_fn};
use axum::routing::{any, get};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::documented::{self, clients, internal, metrics, portal, usage};
use super::error::ApiError;
use super::path::Path;
use super::people::{administrators, invitations, links, members, notifications, portals, provider, sessions};
use super::service::{Route, not_found};
use super::state::App;
use super::{
    adjustments, audit, backups, catalog, completions, cycle, docs, document, export, fleet, gateway, health, hot,
    jobs, keys, organizations, prices, quota, reports, reservations, settings, stream, stripe, team, voids,
    webhook_endpoints, what_if,
};

/// Every route of the API, in the order in which they are shown.
fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(hot::consume))
        .routes(routes!(hot::check))
        .merge(of_gateways())
        .routes(routes!(reservations::create))
        .routes(routes!(reservations::get))
        .routes(routes!(reservations::extend))
        .routes(routes!(reservations::commit))
        .routes(routes!(reservations::release))
        .routes(routes!(hot::ingest, reports::events))
        .routes(routes!(stream::stream))
        .routes(routes!(voids::void, completions::complete))
        .routes(routes!(reports::usage))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::stream))
        .routes(routes!(keys::get_import, keys::put_import))
        .routes(routes!(organizations::create, reports::list))
        .routes(routes!(organizations::update, organizations::delete, reports::get))
        .routes(routes!(reports::standing))
        .routes(routes!(reports::entitlements))
        .routes(routes!(reports::explain))
        .routes(routes!(reports::forecast))
        .routes(routes!(reports::quota))
        .routes(routes!(cycle::get, cycle::update))
        .merge(subscriptions())
        .routes(routes!(cycle::trial))
        .routes(routes!(cycle::clock))
        .routes(routes!(organizations::lock, organizations::unlock))
        .routes(routes!(quota::change_plan))
        .routes(routes!(quota::set_override, quota::clear_override))
        .routes(routes!(quota::set_extra))
        .routes(routes!(quota::grant, reports::grants))
        .routes(routes!(quota::void_grant))
        .routes(routes!(quota::reset))
        .routes(routes!(adjustments::create))
        .routes(routes!(audit::append, audit::list))
        .routes(routes!(audit::resolve))
        .routes(routes!(audit::list_of_team))
        .routes(routes!(audit::verify::verify))
        .routes(routes!(audit::verify::head))
        .routes(routes!(audit::prune::prune))
        .routes(routes!(team::list_meters))
        .routes(routes!(team::get_meter, team::put_meter, team::delete_meter))
        .routes(routes!(team::list_plans))
        .routes(routes!(team::get_plan, team::put_plan, team::delete_plan))
        .routes(routes!(prices::get, prices::put, prices::update))
        .routes(routes!(prices::recompute::recompute))
        .routes(routes!(catalog::diff))
        .routes(routes!(catalog::apply))
        .routes(routes!(what_if::what_if))
        .merge(of_keys())
        .merge(webhooks())
        .routes(routes!(backups::create))
        .routes(routes!(export::export))
        .merge(people())
        .merge(documented_paths())
        .merge(of_server())
}

/// What gateways ask. They pass the method of the request on: any is taken, and one is documented; Envoy appends the path.
fn of_gateways() -> OpenApiRouter<App> {
    let (schemas, paths, _): UtoipaMethodRouter<App> = routes!(gateway::authorize);
    OpenApiRouter::new()
        .routes((schemas, paths, any(gateway::authorize)))
        .route("/gateway/authorize/", any(gateway::authorize))
        .route("/gateway/authorize/{*path}", any(gateway::authorize))
}

/// The server itself: long work, its bounds, who asks, and what probes and collectors want to know.
fn of_server() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(jobs::get))
        .routes(routes!(keys::caps))
        .routes(routes!(keys::me))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// Subscriptions, and what Stripe tells of them.
fn subscriptions() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(stripe::get, stripe::link))
        .routes(routes!(stripe::paying::portal))
        .routes(routes!(stripe::paying::checkout))
        .routes(routes!(stripe::events))
        .routes(routes!(stripe::retry))
        .routes(routes!(stripe::webhook))
}

/// API keys, the team's and those of organizations.
fn of_keys() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::own::create, keys::own::list))
        .routes(routes!(keys::own::revoke))
        .routes(routes!(keys::own::rotate))
}

/// Webhook endpoints, and what is sent to them.
fn webhooks() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(webhook_endpoints::create, webhook_endpoints::list))
        .routes(routes!(webhook_endpoints::get, webhook_endpoints::update, webhook_endpoints::delete))
        .routes(routes!(webhook_endpoints::rotate))
        .routes(routes!(webhook_endpoints::deliveries::list))
        .routes(routes!(webhook_endpoints::deliveries::resend))
        .routes(routes!(webhook_endpoints::deliveries::test))
}

/// Users, members, sessions; the team's settings.
fn people() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(settings::get, settings::update))
        .routes(routes!(members::add, members::list))
        .routes(routes!(members::get, members::update, members::remove))
        .routes(routes!(notifications::get, notifications::update))
        .routes(routes!(notifications::unsubscribe))
        .routes(routes!(invitations::create, invitations::list))
        .routes(routes!(invitations::withdraw))
        .routes(routes!(invitations::resend))
        .routes(routes!(invitations::accept))
        .routes(routes!(sessions::use_link))
        .routes(routes!(provider::start))
        .routes(routes!(provider::callback))
        .routes(routes!(links::reset))
        .routes(routes!(links::ask_reset))
        .routes(routes!(links::verification))
        .routes(routes!(links::ask_verification))
        .routes(routes!(links::confirm))
        .routes(routes!(portals::create))
        .routes(routes!(portals::revoke))
        .routes(routes!(portals::open))
        .routes(routes!(administrators::add, administrators::list))
        .routes(routes!(administrators::remove))
}

/// The paths that must work as written (§7).
fn documented_paths() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(internal::usage))
        .routes(routes!(internal::reset))
        .routes(routes!(internal::grant_quota))
        .routes(routes!(internal::lock))
        .routes(routes!(internal::unlock))
        .routes(routes!(internal::audit_log))
        .routes(routes!(documented::auth::register))
        .routes(routes!(documented::auth::login))
        .routes(routes!(documented::auth::logout))
        .routes(routes!(documented::auth::organization))
        .routes(routes!(documented::cycle::update))
        .routes(routes!(portal::billing_status))
        .routes(routes!(usage::all))
        .routes(routes!(usage::one))
        .routes(routes!(metrics::rebuild))
        .routes(routes!(clients::set_quota, clients::quota))
        .routes(routes!(clients::credits))
}

/// The document at `/openapi.json`.
pub fn openapi() -> OpenApi {
    document::completed(api().into_openapi())
}

/// The router with every route, for one core.
pub fn router(app: App) -> Router {
    let (api, _) = api().split_for_parts();
    let pages = super::pages::router(app.clone(), api.clone().with_state(app.clone()));
    api.route("/openapi.json", get(written))
        .route("/docs", get(async || reader("")))
        .route("/docs/style.css", get(async || docs::style()))
        .route("/docs/{*page}", get(async |Path(page): Path<String>| reader(&page)))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .merge(pages)
        .layer(from_fn(note_route))
}

/// Leaves the template of the route that answered for the metrics.
async fn note_route(request: Request, next: Next) -> Response<Body> {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "This path does not take this method; /docs shows those it takes.",
    )
}

/// A page of the reader for the document, which loads nothing from elsewhere.
fn reader(page: &str) -> Result<Response<Body>, ApiError> {
    let document = serde_json::to_value(openapi()).unwrap_or_default();
    docs::render(&document, page).map(docs::page).ok_or_else(ApiError::not_found)
}

async fn written(State(_): State<App>) -> Response<Body> {
    let mut response = Response::new(Body::from(openapi().to_json().unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}
