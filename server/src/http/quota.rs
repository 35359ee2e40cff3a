//! What an organization may use: plan, overrides, extra quota, credits, resets.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_rules::command::{Command, NewGrant};
use metergate_rules::id::{GrantId, MeterId};
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use metergate_rules::window::{Window, WindowSet};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::{OptionalReasonBody, Reason, ReasonBody, answer, nothing, organization_answer, time};
use super::error::ApiError;
use super::json;
use super::number::{Number, QuantityText};
use super::operation::Operation;
use super::reports::Numbers;
use super::state::Operator;
use crate::report::Timestamp;
use crate::report::grants::GrantBody;
use crate::report::organization::OrganizationBody;
use crate::store::Respond;

/// A change of plan.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanChangeBody {
    /// The plan's key.
    pub plan: String,
    /// Its version; the newest without one.
    pub version: Option<u32>,
    /// When: now, or at the end of the billing period.
    #[serde(default)]
    pub at: PlanChangeTime,
    /// Whether the organization's overrides stay.
    #[serde(default)]
    pub keep_overrides: bool,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// When a plan changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum PlanChangeTime {
    /// At once.
    #[default]
    Now,
    /// When the open billing period ends.
    PeriodEnd,
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
    /// Why; kept in the audit log.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// Lower is used first.
    #[serde(default)]
    pub priority: i32,
    /// From when; now without one.
    pub starts_at: Option<String>,
    /// Until when, exclusively; until used without one.
    pub expires_at: Option<String>,
}

/// A reset of counters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetBody {
    /// The meters' keys; all without any.
    pub meters: Option<Vec<String>>,
    /// The windows; `billingPeriod` and `month` without any.
    #[schema(value_type = Option<Vec<String>>)]
    pub windows: Option<Vec<Window>>,
    /// Why; kept in the audit log.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// Moves an organization to a plan, now or at the end of its billing period. Limits follow at once, counters stay.
#[utoipa::path(put, path = "/v1/organizations/{org}/plan", tag = "limits and credits", request_body = PlanChangeBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown organization or plan")))]
pub async fn change_plan(operation: Operation) -> Result<Response<Body>, ApiError> {
    let change: PlanChangeBody = operation.json()?;
    let snapshot = operation.app.snapshot_with(|known| known.plan_entry(&change.plan).is_some()).await;
    let newest = snapshot.plan_entry(&change.plan).ok_or_else(ApiError::unknown_plan)?;
    let plan = match change.version {
        None => newest.id,
        Some(version) => snapshot.rules.plan_version(&newest.key, version).ok_or_else(unknown_version)?.id,
    };
    let at_period_end = change.at == PlanChangeTime::PeriodEnd;
    let command = Command::ChangePlan { plan, keep_overrides: change.keep_overrides, at_period_end };
    operation.run("PUT /v1/organizations/{org}/plan", command, change.reason, organization_answer(200)).await
}

/// Sets a limit in place of the plan's.
#[utoipa::path(put, path = "/v1/organizations/{org}/overrides/{meter}/{window}", tag = "limits and credits", request_body = OverrideBody,
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path), ("window" = String, Path), Numbers),
    responses((status = 200, body = OverrideAnswer), (status = 404, description = "Unknown organization or meter")))]
pub async fn set_override(
    operation: Operation<Operator, (String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let (text, asked) = (operation.text()?, operation.json::<OverrideBody>()?);
    let (_, meter, window) = &operation.named;
    let meter = operation.app.meter(meter).await?;
    let max = match (&asked.max, asked.unlimited) {
        (Some(text), false) => {
            Max::Units(text.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/max", why))?)
        }
        (None, true) => Max::Unlimited,
        _ => return Err(ApiError::invalid("#/max", "Send either max or \"unlimited\": true.")),
    };
    if max == Max::Units(Quantity::ZERO) {
        return Err(ApiError::invalid_quantity("#/max", InvalidQuantity::Zero));
    }
    let until = asked.until.as_deref().map(|text| time("#/until", text)).transpose()?;
    let window = known_window(window)?;
    let command = Command::SetOverride { meter: meter.id, window, max, enforcement: asked.enforcement, until };
    operation
        .run(
            "PUT /v1/organizations/{org}/overrides/{meter}/{window}",
            command,
            asked.reason,
            override_answer(meter.id, window, text),
        )
        .await
        .map_err(|error| error.placed_at("#/until"))
}

/// Takes such a limit away: the plan's holds again.
#[utoipa::path(delete, path = "/v1/organizations/{org}/overrides/{meter}/{window}", tag = "limits and credits", request_body = Option<OptionalReasonBody>,
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path), ("window" = String, Path)),
    responses((status = 204), (status = 404, description = "Unknown organization or meter")))]
pub async fn clear_override(
    operation: Operation<Operator, (String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let (_, meter, window) = &operation.named;
    let command = Command::ClearOverride { meter: operation.app.meter(meter).await?.id, window: known_window(window)? };
    let reason = operation.reason_if_any()?;
    operation.run("DELETE /v1/organizations/{org}/overrides/{meter}/{window}", command, reason, nothing()).await
}

/// Sets the standing addition to a meter's period limit.
#[utoipa::path(put, path = "/v1/organizations/{org}/extra/{meter}", tag = "limits and credits", request_body = ExtraBody,
    params(("org" = String, Path, description = "Id or key"), ("meter" = String, Path), Numbers),
    responses((status = 200, body = ExtraAnswer), (status = 404, description = "Unknown organization or meter")))]
pub async fn set_extra(operation: Operation<Operator, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (text, asked) = (operation.text()?, operation.json::<ExtraBody>()?);
    let meter = operation.app.meter(&operation.named.1).await?;
    let quantity = asked.quantity.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/quantity", why))?;
    operation
        .run(
            "PUT /v1/organizations/{org}/extra/{meter}",
            Command::extra(meter.id, quantity),
            asked.reason,
            extra_answer(meter.id, text),
        )
        .await
}

/// Gives credit.
#[utoipa::path(post, operation_id = "create_grant", path = "/v1/organizations/{org}/grants", tag = "limits and credits", request_body = GrantRequestBody,
    params(("org" = String, Path, description = "Id or key"), Numbers),
    responses((status = 201, body = GrantBody), (status = 404, description = "Unknown organization or meter"), (status = 422, description = "Not valid")))]
pub async fn grant(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (text, asked) = (operation.text()?, operation.json::<GrantRequestBody>()?);
    let (meter, reason) = (operation.app.meter(&asked.meter).await?, String::from(asked.reason));
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
        reason: reason.clone(),
    });
    let respond: Respond = Arc::new(move |after| {
        let made = after.account.grants.last().map(|grant| GrantBody::of(grant, after.catalogue, after.now, text));
        answer(201, after, &made)
    });
    let made = operation.run("POST /v1/organizations/{org}/grants", command, reason, respond).await;
    made.map_err(|error| error.placed_at("#/expiresAt"))
}

/// Takes back what is left of a grant.
#[utoipa::path(delete, path = "/v1/organizations/{org}/grants/{id}", tag = "limits and credits", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key"), ("id" = u32, Path)),
    responses((status = 204), (status = 404, description = "Unknown organization or grant"), (status = 422, description = "No reason is given")))]
pub async fn void_grant(operation: Operation<Operator, (String, String)>) -> Result<Response<Body>, ApiError> {
    let id = GrantId(operation.named.1.parse().map_err(|_| ApiError::not_found())?);
    let reason = operation.reason()?;
    operation.run("DELETE /v1/organizations/{org}/grants/{id}", Command::VoidGrant(id), reason, nothing()).await
}

/// Sets counters to zero, by an entry that says so: nothing is erased.
#[utoipa::path(post, operation_id = "reset_usage", path = "/v1/organizations/{org}/usage/reset", tag = "limits and credits", request_body = ResetBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown organization or meter")))]
pub async fn reset(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: ResetBody = json::parse_or_empty(&operation.body)?;
    let meters = match &asked.meters {
        None => None,
        Some(keys) if keys.is_empty() => {
            return Err(ApiError::invalid("#/meters", "Name a meter, or leave this out for all."));
        }
        Some(keys) => {
            let mut meters = Vec::with_capacity(keys.len());
            for key in keys {
                meters.push(operation.app.meter(key).await?.id);
            }
            Some(meters)
        }
    };
    let windows: WindowSet = match asked.windows {
        None => [Window::BillingPeriod, Window::Month].into_iter().collect(),
        Some(windows) if windows.is_empty() => {
            return Err(ApiError::invalid(
                "#/windows",
                "Name a window, or leave this out for billingPeriod and month.",
            ));
        }
        Some(windows) => windows.into_iter().collect(),
    };
    operation
        .run(
            "POST /v1/organizations/{org}/usage/reset",
            Command::Reset { meters, windows },
            asked.reason.into(),
            organization_answer(200),
        )
        .await
}

fn unknown_version() -> ApiError {
    let detail = "The plan has no such version; GET /v1/plans/{key} shows its newest.";
    ApiError::new(StatusCode::NOT_FOUND, "unknown-plan", detail)
}

fn override_answer(meter: MeterId, window: Window, text: bool) -> Respond {
    Arc::new(move |after| {
        let set = after.account.override_of(meter, window);
        let number = |max| match max {
            Max::Units(max) => Some(number(max, after.catalogue.decimals(meter), text)),
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

fn extra_answer(meter: MeterId, text: bool) -> Respond {
    Arc::new(move |after| {
        let quantity = number(after.account.extra_of(meter), after.catalogue.decimals(meter), text);
        answer(200, after, &ExtraAnswer { meter: after.catalogue.meter_key(meter).to_owned(), quantity })
    })
}

fn number(quantity: Quantity, decimals: u8, text: bool) -> Number {
    Number { units: i128::from(quantity.units()), decimals, text }
}

fn known_window(name: &str) -> Result<Window, ApiError> {
    let detail = "There is no such window; known: minute, hour, day, month, billingPeriod and lifetime.";
    Window::from_name(name).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not-found", detail))
}
