//! Reading: what is stored, as callers see it.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use metergate_rules::account::{LockCause, Status};
use metergate_rules::id::{MeterKey, OrganizationRef, PlanKey};
use metergate_rules::period::Zone;
use metergate_rules::role::Right;
use metergate_rules::time::Time;
use serde::Serialize;
use utoipa::IntoParams;

use super::auth::Credential;
use super::decision::json;
use super::download::saved_as;
use super::error::ApiError;
use super::page::{Page, PageQuery, Paged, encode};
use super::path::Path;
use super::query::Pairs;
use super::state::App;
use crate::faults::planted;
use crate::report::entitlements::Entitlements;
use crate::report::events::{EventBody, EventFilter};
use crate::report::explain::Explanation;
use crate::report::forecast::Forecast;
use crate::report::grants::GrantBody;
use crate::report::organization::OrganizationBody;
use crate::report::organizations::{OrganizationFilter, Sort};
use crate::report::quota::Quota;
use crate::report::standing::Standing;
use crate::report::usage::csv as write_csv;
use crate::report::usage::{Granularity, UsageQuery, UsageRow};
use crate::report::{Listed, Report};
use crate::store::Scope;
use crate::store::reader::ReadError;

/// Runs a report on one snapshot, with what the caller may see.
pub(super) async fn report<T: Send + 'static>(
    app: &App,
    credential: &Credential,
    text: bool,
    make: impl FnOnce(&Report<'_>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ApiError> {
    let caller = credential.may(Right::Read)?;
    let scope = if planted("report-without-organization") { Scope::Team } else { caller.scope };
    report_to(app, scope, text, make).await
}

/// The same for a caller whose right to it has been checked.
pub(super) async fn report_to<T: Send + 'static>(
    app: &App,
    scope: Scope,
    text: bool,
    make: impl FnOnce(&Report<'_>) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ApiError> {
    let (catalogue, now) = (app.snapshot(), app.now());
    app.read(move |view| make(&Report { view, catalogue: &catalogue, scope, now, text })).await
}

pub(super) fn organization(text: &str) -> Result<OrganizationRef, ApiError> {
    text.parse().map_err(|_| ApiError::unknown_organization())
}

fn listed<T: Serialize>(listed: Listed<T>, uri: &Uri) -> Response<Body> {
    let next_cursor = listed.next.as_deref().map(encode);
    Paged { data: listed.data, next_cursor }.response(uri)
}

/// How quantities are written.
#[derive(Debug, serde::Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Numbers {
    /// `string` writes quantities as strings.
    pub numbers: Option<String>,
}

/// Organizations by key, or the newest first.
#[utoipa::path(get, operation_id = "list_organizations", path = "/v1/organizations", tag = "organizations",
    params(PageQuery, ("status" = Option<String>, Query, description = "trial, active, past_due or canceled"), ("plan" = Option<String>, Query),
        ("locked" = Option<bool>, Query), ("lockedBy" = Option<String>, Query, description = "Of the causes of a lock: operator, trial or billing"), ("search" = Option<String>, Query, description = "What key or name begins with"),
        ("sort" = Option<String>, Query, description = "key, or -createdAt for the newest first")),
    responses((status = 200, body = Paged<OrganizationBody>)))]
pub async fn list(State(app): State<App>, credential: Credential, uri: Uri) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Operate)?;
    let pairs = Pairs::of(&uri, &["limit", "cursor", "status", "plan", "locked", "lockedBy", "search", "sort"])?;
    let page = pairs.page()?;
    let status = |text: &str| match text {
        "trial" => Ok(Status::Trial),
        "active" => Ok(Status::Active),
        "past_due" => Ok(Status::PastDue),
        "canceled" => Ok(Status::Canceled),
        _ => Err(ApiError::invalid("?status", "Send trial, active, past_due or canceled.")),
    };
    let cause = |text: &str| match text {
        "operator" => Ok(LockCause::Operator),
        "trial" => Ok(LockCause::Trial),
        "billing" => Ok(LockCause::Billing),
        _ => Err(ApiError::invalid("?lockedBy", "Send operator, trial or billing.")),
    };
    let sort = match pairs.one("sort")? {
        None | Some("key") => Sort::Key,
        Some("-createdAt") => Sort::NewestFirst,
        Some(_) => return Err(ApiError::invalid("?sort", "Send key or -createdAt.")),
    };
    let filter = OrganizationFilter {
        status: pairs.one("status")?.map(status).transpose()?,
        plan: pairs.parsed::<PlanKey>("plan")?,
        locked: pairs.parsed("locked")?,
        locked_by: pairs.one("lockedBy")?.map(cause).transpose()?,
        search: pairs.one("search")?.map(str::to_owned),
    };
    let found = report(&app, &credential, false, move |report| {
        report.organizations(&filter, sort, page.limit, page.after.as_deref())
    });
    Ok(listed(found.await?, &uri))
}

/// One organization.
#[utoipa::path(get, operation_id = "get_organization", path = "/v1/organizations/{org}", tag = "organizations", params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown")))]
pub async fn get(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let org = organization(&org)?;
    let (body, changes) = report(&app, &credential, false, move |report| report.organization(&org)).await?;
    Ok(tagged(json(StatusCode::OK, &body), &format!("\"v{changes}\"")))
}

fn tagged(mut response: Response<Body>, tag: &str) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// What an organization used of every meter in the present period, and what is left.
#[utoipa::path(get, operation_id = "get_organization_usage", path = "/v1/organizations/{org}/usage", tag = "usage", params(("org" = String, Path, description = "Id or key"), Numbers),
    responses((status = 200, body = Standing), (status = 404, description = "Unknown")))]
pub async fn standing(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let (org, text) = (organization(&org)?, Pairs::of(&uri, &["numbers"])?.text()?);
    let body = report(&app, &credential, text, move |report| report.standing(&org)).await?;
    Ok(json(StatusCode::OK, &body))
}

/// Every limit in force, and where it comes from.
#[utoipa::path(get, operation_id = "get_quota", path = "/v1/organizations/{org}/quota", tag = "limits and credits", params(("org" = String, Path, description = "Id or key"), Numbers),
    responses((status = 200, body = Quota), (status = 404, description = "Unknown")))]
pub async fn quota(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let (org, text) = (organization(&org)?, Pairs::of(&uri, &["numbers"])?.text()?);
    let body = report(&app, &credential, text, move |report| report.quota(&org)).await?;
    Ok(json(StatusCode::OK, &body))
}

/// Credits, newest first.
#[utoipa::path(get, operation_id = "list_grants", path = "/v1/organizations/{org}/grants", tag = "limits and credits", params(("org" = String, Path, description = "Id or key"), PageQuery, Numbers),
    responses((status = 200, body = Paged<GrantBody>), (status = 404, description = "Unknown")))]
pub async fn grants(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["limit", "cursor", "numbers"])?;
    let (org, text, page) = (organization(&org)?, pairs.text()?, pairs.page()?);
    let found = report(&app, &credential, text, move |report| report.grants(&org, page.limit, page.after.as_deref()));
    Ok(listed(found.await?, &uri))
}

/// How the figures of an organization came about. Its numbers add up: what remains can be recomputed from it alone.
#[utoipa::path(get, path = "/v1/organizations/{org}/explain", tag = "usage",
    params(("org" = String, Path, description = "Id or key"), ("meter" = Option<String>, Query, description = "All meters without one"), ("at" = Option<String>, Query), Numbers),
    responses((status = 200, body = Explanation), (status = 404, description = "Unknown organization or meter")))]
pub async fn explain(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["meter", "at", "numbers"])?;
    let (org, text, at) = (organization(&org)?, pairs.text()?, pairs.parsed::<Time>("at")?);
    let meter = pairs.one("meter")?.map(|key| MeterKey::new(key).map_err(|_| ApiError::unknown_meter())).transpose()?;
    let found = report(&app, &credential, text, move |report| report.explain(&org, meter.as_ref(), at));
    Ok(json(StatusCode::OK, &found.await?))
}

/// When each limit on a day, a month, a billing period or the lifetime will be reached at the present pace, and the line of
/// what was used so far.
#[utoipa::path(get, operation_id = "get_forecast", path = "/v1/organizations/{org}/forecast", tag = "usage",
    params(("org" = String, Path, description = "Id or key"), ("meter" = Option<String>, Query, description = "All that have such a limit without one"), Numbers),
    responses((status = 200, body = Forecast), (status = 404, description = "Unknown organization or meter")))]
pub async fn forecast(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["meter", "numbers"])?;
    let (org, text) = (organization(&org)?, pairs.text()?);
    let meter = pairs.one("meter")?.map(|key| MeterKey::new(key).map_err(|_| ApiError::unknown_meter())).transpose()?;
    let found = report(&app, &credential, text, move |report| report.forecast(&org, meter.as_ref()));
    Ok(json(StatusCode::OK, &found.await?))
}

/// What an organization's plan lets it do: features, and limits with their use.
#[utoipa::path(get, operation_id = "get_entitlements", path = "/v1/organizations/{org}/entitlements", tag = "usage", params(("org" = String, Path, description = "Id or key"), Numbers),
    responses((status = 200, body = Entitlements), (status = 304, description = "As it was at If-None-Match"), (status = 404, description = "Unknown")))]
pub async fn entitlements(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let (org, text) = (organization(&org)?, Pairs::of(&uri, &["numbers"])?.text()?);
    let made = report(&app, &credential, text, move |report| {
        let body = report.entitlements(&org)?;
        let tag = body.entity_tag()?;
        Ok((body, tag))
    });
    let (body, tag) = made.await?;
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    if known.split(',').any(|known| known.trim() == tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(tagged(response, &tag));
    }
    Ok(tagged(json(StatusCode::OK, &body), &tag))
}

/// Recent events of an organization, newest first. A decision is an event too.
#[utoipa::path(get, operation_id = "list_events", path = "/v1/events", tag = "events",
    params(("organization" = String, Query), ("meter" = Option<String>, Query), ("type" = Option<String>, Query), ("source" = Option<String>, Query),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query), PageQuery, Numbers),
    responses((status = 200, body = Paged<EventBody>), (status = 404, description = "Unknown organization")))]
pub async fn events(State(app): State<App>, credential: Credential, uri: Uri) -> Result<Response<Body>, ApiError> {
    let names = ["organization", "meter", "type", "source", "from", "to", "limit", "cursor", "numbers"];
    let pairs = Pairs::of(&uri, &names)?;
    let (text, page) = (pairs.text()?, pairs.page()?);
    let org = match (pairs.one("organization")?, credential.organization()) {
        (Some(text), _) => organization(text)?,
        (None, Some(own)) => own,
        (None, None) => return Err(ApiError::invalid("?organization", "This is required.")),
    };
    let meter = app.meter_if_any(pairs.one("meter")?).await?;
    let filter = EventFilter {
        meter,
        event_type: pairs.one("type")?.map(str::to_owned),
        source: pairs.one("source")?.map(str::to_owned),
        from: pairs.parsed("from")?,
        to: pairs.parsed("to")?,
    };
    let found =
        report(&app, &credential, text, move |report| report.events(&org, &filter, page.limit, page.after.as_deref()));
    Ok(listed(found.await?, &uri))
}

/// Usage by organization, meter, time and dimension, from what was acknowledged. As JSON, or as CSV with `Accept: text/csv`
/// or `?format=csv`; there a text that a spreadsheet would take for a formula has a `'` before it.
#[utoipa::path(get, operation_id = "query_usage", path = "/v1/usage", tag = "usage",
    params(("organization" = Option<Vec<String>>, Query, description = "Ids or keys, repeatable; all without one"), ("meter" = Option<Vec<String>>, Query, description = "Keys, repeatable; all without one"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query), ("granularity" = Option<String>, Query, description = "hour, day, month or total"),
        ("groupBy" = Option<Vec<String>>, Query, description = "Dimensions, repeatable"), ("timeZone" = Option<String>, Query),
        ("dense" = Option<bool>, Query), ("durations" = Option<bool>, Query, description = "Also how long things took: number, mean, percentiles; not with groupBy, nor as CSV"),
        ("format" = Option<String>, Query, description = "json or csv"), PageQuery, Numbers),
    responses((status = 200, body = Paged<UsageRow>), (status = 404, description = "Unknown organization or meter"), (status = 422, description = "Not valid, or too many rows")))]
pub async fn usage(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let names = [
        "organization",
        "meter",
        "from",
        "to",
        "granularity",
        "groupBy",
        "timeZone",
        "dense",
        "durations",
        "format",
        "limit",
        "cursor",
        "numbers",
    ];
    let pairs = Pairs::of(&uri, &names)?;
    let (query, text) = (usage_query(&pairs)?, pairs.text()?);
    let as_csv = match pairs.one("format")? {
        Some("csv") => true,
        Some("json") => false,
        Some(_) => return Err(ApiError::invalid("?format", "Send json or csv.")),
        None => headers.get("accept").is_some_and(|value| value.as_bytes().starts_with(b"text/csv")),
    };
    if as_csv && query.durations {
        return Err(ApiError::invalid("?durations", "Ask for them as JSON: the table has no columns for them."));
    }
    let group_by = query.group_by.clone();
    let whose = match query.organizations.as_deref() {
        Some([one]) => Some(one.clone()),
        _ => None,
    };
    let found = report(&app, &credential, text, move |report| {
        let found = report.usage(&query)?;
        let table = if as_csv { Some(write_csv(&found.data, &group_by)?) } else { None };
        Ok((found, table))
    });
    match found.await? {
        (found, None) => Ok(listed(found, &uri)),
        (_, Some(table)) => Ok(saved_as(csv_answer(table), whose.as_ref(), ("usage", "csv"), app.now())),
    }
}

fn usage_query(pairs: &Pairs) -> Result<UsageQuery, ApiError> {
    let organizations = pairs.all("organization");
    let organizations = organizations.iter().map(|text| organization(text)).collect::<Result<Vec<_>, _>>()?;
    let meters = pairs.all("meter");
    let meters = meters.iter().map(|key| MeterKey::new(key).map_err(|_| ApiError::unknown_meter()));
    let meters = meters.collect::<Result<Vec<_>, _>>()?;
    let page: Page = pairs.page()?;
    Ok(UsageQuery {
        organizations: (!organizations.is_empty()).then_some(organizations),
        meters: (!meters.is_empty()).then_some(meters),
        from: pairs.parsed("from")?,
        to: pairs.parsed("to")?,
        granularity: pairs.parsed::<Granularity>("granularity")?.unwrap_or_default(),
        group_by: pairs.all("groupBy"),
        zone: pairs.parsed::<Zone>("timeZone")?,
        dense: pairs.parsed("dense")?.unwrap_or(false),
        durations: pairs.parsed("durations")?.unwrap_or(false),
        limit: page.limit,
        after: page.after,
    })
}

fn csv_answer(table: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(table));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv"));
    response
}
