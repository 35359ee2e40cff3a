//! Organizations: creating them and changing what they may use.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use axum::http::{HeaderMap, Response, StatusCode};
use metergate_rules::account::{LockCause, Profile};
use metergate_rules::command::{Command, NewGrant, NewOrganization, ProfileChange};
use metergate_rules::id::{GrantId, MeterId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::Meter;
use metergate_rules::period::Zone;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use metergate_rules::window::{Window, WindowSet};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Raw;
use super::error::ApiError;
use super::number::{Number, QuantityText};
use super::path::Path;
use super::state::{App, Operator};
use super::{idempotency, json};
use crate::report::Timestamp;
use crate::report::grants::GrantBody;
use crate::report::organization::OrganizationBody;
use crate::store::{After, Answer, ChangeRequest, Receipt, Request, Respond};

/// A new organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOrganizationBody {
    /// The key that the team chooses: 1 to 128 of `A-Z a-z 0-9 . _ : @ -`, not a UUID.
    pub key: String,
    /// Its name for people; the key without one.
    pub name: Option<String>,
    /// Its plan's key; `free` without one.
    pub plan: Option<String>,
    /// The IANA name of its time zone; `UTC` without one.
    pub time_zone: Option<String>,
    /// What the team keeps with it, a JSON object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether it is a test organization, for good.
    #[serde(default)]
    pub test: bool,
}

/// What of an organization changes; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrganizationChangeBody {
    /// A new key.
    pub key: Option<String>,
    /// A new name.
    pub name: Option<String>,
    /// A new time zone: day and month counters are carried over.
    pub time_zone: Option<String>,
    /// New metadata in place of the old.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReasonBody {
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// A change of plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanChangeBody {
    /// The plan's key.
    pub plan: String,
    /// Its version; the newest without one.
    pub version: Option<u32>,
    /// Whether the organization's overrides stay.
    #[serde(default)]
    pub keep_overrides: bool,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// A limit for one organization in place of its plan's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideBody {
    /// The most that may be used; needed unless `unlimited`.
    pub max: Option<QuantityText>,
    /// Never refuses, still counts.
    #[serde(default)]
    pub unlimited: bool,
    /// `hard` or `soft`.
    #[serde(default)]
    #[schema(value_type = String, example = "hard")]
    pub enforcement: Enforcement,
    /// Until when, exclusively.
    pub until: Option<String>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// Extra quota.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraBody {
    /// The whole addition to the meter's period limit: set, not added.
    pub quantity: QuantityText,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// A limit that was set in place of the plan's.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideAnswer {
    /// The meter's key.
    pub meter: String,
    /// Its window.
    #[schema(value_type = String)]
    pub window: Window,
    /// The most that may be used; `null` if unlimited.
    pub max: Option<Number>,
    /// Never refuses, still counts.
    pub unlimited: bool,
    /// `hard` or `soft`.
    #[schema(value_type = String)]
    pub enforcement: Enforcement,
    /// Until when, exclusively.
    pub until: Option<Timestamp>,
}

/// Extra quota that was set.
#[derive(Serialize, ToSchema)]
pub struct ExtraAnswer {
    /// The meter's key.
    pub meter: String,
    /// The whole addition to the meter's period limit.
    pub quantity: Number,
}

/// Credit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRequestBody {
    /// The meter's key.
    pub meter: String,
    /// How much; above zero.
    pub amount: QuantityText,
    /// Why.
    pub reason: String,
    /// Lower is used first.
    #[serde(default)]
    pub priority: i32,
    /// From when; now without one.
    pub starts_at: Option<String>,
    /// Until when, exclusively; until used without one.
    pub expires_at: Option<String>,
}

/// A reset of counters.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetBody {
    /// The meters' keys; all without any.
    pub meters: Option<Vec<String>>,
    /// The windows; `billingPeriod` and `month` without any.
    #[schema(value_type = Option<Vec<String>>)]
    pub windows: Option<Vec<Window>>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// Creates an organization. Its trial and its first billing period begin now.
#[utoipa::path(post, operation_id = "create_organization", path = "/v1/organizations", tag = "organizations", request_body = NewOrganizationBody,
    responses((status = 201, body = OrganizationBody), (status = 409, description = "The key is taken"), (status = 422, description = "Not valid")))]
pub async fn create(
    State(app): State<App>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let new: NewOrganizationBody = json::parse(&body)?;
    let key = organization_key(&new.key)?;
    let snapshot = app.snapshot();
    let plan = snapshot.plan_entry(new.plan.as_deref().unwrap_or("free")).ok_or_else(ApiError::unknown_plan)?;
    let profile = Profile {
        key: key.clone(),
        name: name(new.name.as_deref().unwrap_or(&new.key))?,
        zone: zone(new.time_zone.as_deref().unwrap_or("UTC"))?,
        test: new.test,
        metadata: metadata(new.metadata.as_ref())?,
        created_at: app.now(),
    };
    let request = ChangeRequest {
        caller: operator.caller,
        organization: OrganizationRef::Key(key),
        reason: String::new(),
        receipt: idempotency::receipt(&headers, "POST /v1/organizations", &[&body])?,
        command: Command::Create(NewOrganization { profile, plan: plan.id }),
        only_if_changes: None,
        respond: organization_answer(201),
    };
    let mut response = run(&app, request).await?;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/organizations/{}", new.key)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Changes who an organization is.
#[utoipa::path(patch, operation_id = "update_organization", path = "/v1/organizations/{org}", tag = "organizations", request_body = OrganizationChangeBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown"), (status = 409, description = "The key is taken"), (status = 412, description = "Changed since")))]
pub async fn update(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let change: OrganizationChangeBody = json::parse(&body)?;
    let change = ProfileChange {
        key: change.key.as_deref().map(organization_key).transpose()?,
        name: change.name.as_deref().map(name).transpose()?,
        zone: change.time_zone.as_deref().map(zone).transpose()?,
        metadata: change.metadata.as_ref().map(|it| metadata(Some(it))).transpose()?,
    };
    let operation =
        Operation { app: &app, org: &org, headers: &headers, body: &body, route: "PATCH /v1/organizations/{org}" };
    operation.run(operator, Command::Update(change), String::new(), organization_answer(200)).await
}

/// Moves an organization to a plan, now. Limits follow at once, counters stay.
#[utoipa::path(put, path = "/v1/organizations/{org}/plan", tag = "limits and credits", request_body = PlanChangeBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown organization or plan")))]
pub async fn change_plan(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let change: PlanChangeBody = json::parse(&body)?;
    let snapshot = app.snapshot();
    let newest = snapshot.plan_entry(&change.plan).ok_or_else(ApiError::unknown_plan)?;
    let plan = match change.version {
        None => newest.id,
        Some(version) => snapshot.rules.plan_version(&newest.key, version).ok_or_else(ApiError::unknown_plan)?.id,
    };
    let operation =
        Operation { app: &app, org: &org, headers: &headers, body: &body, route: "PUT /v1/organizations/{org}/plan" };
    let command = Command::ChangePlan { plan, keep_overrides: change.keep_overrides };
    operation.run(operator, command, change.reason, organization_answer(200)).await
}

/// Sets a limit in place of the plan's.
#[utoipa::path(put, path = "/v1/organizations/{org}/overrides/{meter}/{window}", tag = "limits and credits", request_body = OverrideBody,
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path), ("window" = String, Path)),
    responses((status = 200, body = OverrideAnswer), (status = 404, description = "Unknown organization or meter")))]
pub async fn set_override(
    State(app): State<App>,
    Path((org, meter, window)): Path<(String, String, String)>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let asked: OverrideBody = json::parse(&body)?;
    let meter = known_meter(&app, &meter)?;
    let max = match (&asked.max, asked.unlimited) {
        (Some(text), false) => {
            Max::Units(text.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/max", why))?)
        }
        (None, true) => Max::Unlimited,
        _ => return Err(ApiError::invalid("#/max", "Send either max or \"unlimited\": true.")),
    };
    let until = asked.until.as_deref().map(|text| time("#/until", text)).transpose()?;
    let window = known_window(&window)?;
    let command = Command::SetOverride { meter: meter.id, window, max, enforcement: asked.enforcement, until };
    let route = "PUT /v1/organizations/{org}/overrides/{meter}/{window}";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    operation.run(operator, command, asked.reason, override_answer(meter.id, window)).await
}

/// Takes such a limit away: the plan's holds again.
#[utoipa::path(delete, path = "/v1/organizations/{org}/overrides/{meter}/{window}", tag = "limits and credits",
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path), ("window" = String, Path)),
    responses((status = 204), (status = 404, description = "Unknown organization or meter")))]
pub async fn clear_override(
    State(app): State<App>,
    Path((org, meter, window)): Path<(String, String, String)>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let command = Command::ClearOverride { meter: known_meter(&app, &meter)?.id, window: known_window(&window)? };
    let route = "DELETE /v1/organizations/{org}/overrides/{meter}/{window}";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    operation.run(operator, command, reason(&body)?, nothing()).await
}

/// Sets the standing addition to a meter's period limit.
#[utoipa::path(put, path = "/v1/organizations/{org}/extra/{meter}", tag = "limits and credits", request_body = ExtraBody,
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path)),
    responses((status = 200, body = ExtraAnswer), (status = 404, description = "Unknown organization or meter")))]
pub async fn set_extra(
    State(app): State<App>,
    Path((org, meter)): Path<(String, String)>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let asked: ExtraBody = json::parse(&body)?;
    let meter = known_meter(&app, &meter)?;
    let quantity = asked.quantity.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/quantity", why))?;
    let route = "PUT /v1/organizations/{org}/extra/{meter}";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    operation.run(operator, Command::SetExtra { meter: meter.id, quantity }, asked.reason, extra_answer(meter.id)).await
}

/// Gives credit.
#[utoipa::path(post, operation_id = "create_grant", path = "/v1/organizations/{org}/grants", tag = "limits and credits", request_body = GrantRequestBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = GrantBody), (status = 404, description = "Unknown organization or meter"), (status = 422, description = "Not valid")))]
pub async fn grant(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let asked: GrantRequestBody = json::parse(&body)?;
    let meter = known_meter(&app, &asked.meter)?;
    let amount = asked.amount.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/amount", why))?;
    if amount.is_zero() {
        return Err(ApiError::invalid("#/amount", "Send an amount above zero."));
    }
    let command = Command::Grant(NewGrant {
        meter: meter.id,
        amount,
        priority: asked.priority,
        starts_at: asked.starts_at.as_deref().map(|text| time("#/startsAt", text)).transpose()?,
        expires_at: asked.expires_at.as_deref().map(|text| time("#/expiresAt", text)).transpose()?,
        reason: asked.reason.clone(),
    });
    let route = "POST /v1/organizations/{org}/grants";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    let respond: Respond = Arc::new(|after| {
        let made = after.account.grants.last().map(|grant| GrantBody::of(grant, after.catalogue, after.now, false));
        answer(201, after, &made)
    });
    operation.run(operator, command, asked.reason, respond).await
}

/// Takes back what is left of a grant.
#[utoipa::path(delete, path = "/v1/organizations/{org}/grants/{id}", tag = "limits and credits", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key"), ("id" = u32, Path)),
    responses((status = 204), (status = 404, description = "Unknown organization or grant")))]
pub async fn void_grant(
    State(app): State<App>,
    Path((org, id)): Path<(String, String)>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let id = GrantId(id.parse().map_err(|_| ApiError::not_found())?);
    let route = "DELETE /v1/organizations/{org}/grants/{id}";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    operation.run(operator, Command::VoidGrant(id), reason(&body)?, nothing()).await
}

/// Stops consumption. Reading, and recording what has happened, go on.
#[utoipa::path(put, operation_id = "lock_organization", path = "/v1/organizations/{org}/lock", tag = "organizations", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown")))]
pub async fn lock(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let operation =
        Operation { app: &app, org: &org, headers: &headers, body: &body, route: "PUT /v1/organizations/{org}/lock" };
    operation.run(operator, Command::Lock(LockCause::Operator), reason(&body)?, organization_answer(200)).await
}

/// Lifts every lock.
#[utoipa::path(delete, operation_id = "unlock_organization", path = "/v1/organizations/{org}/lock", tag = "organizations", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn unlock(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let operation = Operation {
        app: &app,
        org: &org,
        headers: &headers,
        body: &body,
        route: "DELETE /v1/organizations/{org}/lock",
    };
    operation.run(operator, Command::Unlock, reason(&body)?, nothing()).await
}

/// Sets counters to zero, by an entry that says so: nothing is erased.
#[utoipa::path(post, operation_id = "reset_usage", path = "/v1/organizations/{org}/usage/reset", tag = "limits and credits", request_body = ResetBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown organization or meter")))]
pub async fn reset(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let asked: ResetBody = if body.is_empty() { ResetBody::default() } else { json::parse(&body)? };
    let meters = match &asked.meters {
        None => None,
        Some(keys) => {
            Some(keys.iter().map(|key| Ok(known_meter(&app, key)?.id)).collect::<Result<Vec<_>, ApiError>>()?)
        }
    };
    let windows: WindowSet = match asked.windows {
        None => [Window::BillingPeriod, Window::Month].into_iter().collect(),
        Some(windows) => windows.into_iter().collect(),
    };
    let route = "POST /v1/organizations/{org}/usage/reset";
    let operation = Operation { app: &app, org: &org, headers: &headers, body: &body, route };
    operation.run(operator, Command::Reset { meters, windows }, asked.reason, organization_answer(200)).await
}

/// An operator's command on one organization, as it came in.
struct Operation<'a> {
    app: &'a App,
    org: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
    route: &'static str,
}

impl Operation<'_> {
    async fn run(
        self,
        operator: Operator,
        command: Command,
        reason: String,
        respond: Respond,
    ) -> Result<Response<Body>, ApiError> {
        let Operator { caller, path } = operator;
        let organization = self.org.parse().map_err(|_| ApiError::unknown_organization())?;
        // The path is part of the request: the route's template alone does not tell meter, window or grant. The command is
        // not: what a plan's key means may change between a call and its repetition.
        let receipt = idempotency::receipt(self.headers, self.route, &[path.as_bytes(), self.body])?;
        let only_if_changes = if_match(self.headers)?;
        let request = ChangeRequest { caller, organization, reason, receipt, command, only_if_changes, respond };
        run(self.app, request).await
    }
}

async fn run(app: &App, request: ChangeRequest) -> Result<Response<Body>, ApiError> {
    match app.execute_one(Request::Change(Box::new(request))).await? {
        Receipt::Answered { answer, replayed } => Ok(written(answer, replayed)),
        _ => Err(ApiError::internal("a change was answered with something else")),
    }
}

/// An answer to a change on the wire.
pub fn written(answer: Answer, replayed: bool) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    if answer.status != 204 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(Ok(tag)) = answer.version.map(|version| HeaderValue::from_str(&format!("\"v{version}\""))) {
        headers.insert(ETAG, tag);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// The version in `If-Match: "v<n>"`.
///
/// # Errors
/// 412 where it names no version of ours.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("if-match") else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"')).and_then(|n| n.parse().ok());
    version.map(Some).ok_or_else(ApiError::precondition_failed)
}

fn answer(status: u16, after: &After<'_>, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).unwrap_or_default();
    Answer { status, body, version: Some(after.account.changes) }
}

fn organization_answer(status: u16) -> Respond {
    Arc::new(move |after| answer(status, after, &OrganizationBody::of(after.account, after.catalogue)))
}

fn override_answer(meter: MeterId, window: Window) -> Respond {
    Arc::new(move |after| {
        let set = after.account.override_of(meter, window);
        let number = |max| match max {
            Max::Units(max) => Some(number(max, after.catalogue.decimals(meter))),
            Max::Unlimited => None,
        };
        let body = set.map(|set| OverrideAnswer {
            meter: after.catalogue.meter_key(meter).to_owned(),
            window,
            max: number(set.max),
            unlimited: set.max == Max::Unlimited,
            enforcement: set.enforcement,
            until: set.until.map(Timestamp),
        });
        answer(200, after, &body)
    })
}

fn extra_answer(meter: MeterId) -> Respond {
    Arc::new(move |after| {
        let quantity = number(after.account.extra_of(meter), after.catalogue.decimals(meter));
        answer(200, after, &ExtraAnswer { meter: after.catalogue.meter_key(meter).to_owned(), quantity })
    })
}

fn number(quantity: Quantity, decimals: u8) -> Number {
    Number { units: i128::from(quantity.units()), decimals, text: false }
}

fn nothing() -> Respond {
    Arc::new(|after| Answer { status: 204, body: Vec::new(), version: Some(after.account.changes) })
}

fn reason(body: &[u8]) -> Result<String, ApiError> {
    if body.is_empty() {
        return Ok(String::new());
    }
    Ok(json::parse::<ReasonBody>(body)?.reason)
}

fn known_meter(app: &App, key: &str) -> Result<Arc<Meter>, ApiError> {
    app.snapshot().meter(key).cloned().ok_or_else(ApiError::unknown_meter)
}

fn known_window(name: &str) -> Result<Window, ApiError> {
    Window::from_name(name).ok_or_else(ApiError::not_found)
}

/// An RFC 3339 time at a place in the body.
///
/// # Errors
/// 422 where it is none.
pub fn time(pointer: &str, text: &str) -> Result<Time, ApiError> {
    text.parse().map_err(|error: metergate_rules::time::InvalidTime| ApiError::invalid(pointer, error.to_string()))
}

fn organization_key(text: &str) -> Result<OrganizationKey, ApiError> {
    OrganizationKey::new(text).map_err(|error| ApiError::invalid("#/key", error.to_string()))
}

fn name(text: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(ApiError::invalid("#/name", "Send 1 to 255 bytes without control characters."));
    }
    Ok(text.to_owned())
}

fn zone(text: &str) -> Result<Zone, ApiError> {
    Zone::new(text).map_err(|error| ApiError::invalid("#/timeZone", error.to_string()))
}

fn metadata(object: Option<&serde_json::Map<String, serde_json::Value>>) -> Result<String, ApiError> {
    let text = object.map_or_else(|| Ok("{}".to_owned()), serde_json::to_string);
    match text {
        Ok(text) if text.len() <= 16 * 1024 => Ok(text),
        _ => Err(ApiError::invalid("#/metadata", "At most 16 KiB.")),
    }
}
