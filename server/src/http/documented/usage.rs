//! `/api/admin/usage`: what organizations used, over time.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::ErrorText;
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::page::{PageQuery, encode};
use crate::http::path::Path;
use crate::http::query::Pairs;
use crate::http::reports::{organization, report_to};
use crate::http::state::{App, Operator};
use crate::report::documented::tenant::{Bound, TenantUsage};
use crate::report::documented::tenants::{Bounds, Metrics, TenantTotals, TenantsQuery, Told};

/// What organizations used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantsBody {
    /// When.
    pub period: Bounds,
    /// Each organization, by key.
    pub tenants: Vec<TenantTotals>,
    /// Those of this page together, by metric.
    #[schema(value_type = Object)]
    pub totals: Metrics,
    /// What to send as `cursor` for the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

/// What organizations used of every metric: in the current period, the one before, by day or by month.
#[utoipa::path(get, operation_id = "admin_usage", path = "/api/admin/usage", tag = "documented paths",
    params(("tenant" = Option<Vec<String>>, Query, description = "Keys or ids, repeatable; all without one"),
        ("period" = Option<String>, Query, description = "current (without one), previous, daily or monthly: of one tenant by its billing periods, of several, since those differ, by the calendar month in UTC"),
        ("metrics" = Option<Vec<String>>, Query, description = "Such as apiCalls,tokens; all without one"),
        ("from" = Option<String>, Query, description = "A date or a time"), ("to" = Option<String>, Query, description = "A date, which is in it, or a time"), PageQuery),
    responses((status = 200, body = TenantsBody), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "Not valid, or too much")))]
pub async fn all(State(app): State<App>, operator: Operator, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["tenant", "period", "metrics", "from", "to", "limit", "cursor"])?;
    let query = tenants_query(&pairs)?;
    let found = report_to(&app, operator.caller.scope, false, move |report| report.tenants_usage(&query)).await?;
    let next_cursor = found.next.as_deref().map(encode);
    let body = TenantsBody { period: found.period, tenants: found.tenants, totals: found.totals, next_cursor };
    Ok(json(StatusCode::OK, &body))
}

fn tenants_query(pairs: &Pairs) -> Result<TenantsQuery, ApiError> {
    let page = pairs.page()?;
    let metrics = pairs.all("metrics");
    let metrics = metrics.iter().flat_map(|some| some.split(',')).map(str::trim).filter(|one| !one.is_empty());
    Ok(TenantsQuery {
        tenants: pairs.all("tenant").iter().map(|text| organization(text)).collect::<Result<_, _>>()?,
        told: pairs.parsed::<Told>("period")?.unwrap_or_default(),
        metrics: metrics.map(str::to_owned).collect(),
        from: pairs.parsed::<Bound>("from")?,
        to: pairs.parsed::<Bound>("to")?,
        limit: page.limit,
        after: page.after,
    })
}

/// Calls, storage and active users of an organization, day by day in its zone.
#[utoipa::path(get, operation_id = "admin_tenant_usage", path = "/api/admin/usage/{org}", tag = "documented paths",
    params(("org" = String, Path, description = "Key or id"), ("from" = Option<String>, Query, description = "The first day; where the billing period began without one"),
        ("to" = Option<String>, Query, description = "The last day; today without one")),
    responses((status = 200, body = TenantUsage), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "Not valid, or too much")))]
pub async fn one(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["from", "to"])?;
    let (org, from, to) = (organization(&org)?, pairs.parsed::<Bound>("from")?, pairs.parsed::<Bound>("to")?);
    let made = report_to(&app, operator.caller.scope, false, move |report| report.tenant_usage(&org, from, to));
    Ok(json(StatusCode::OK, &made.await?))
}
