//! `/api/admin/clients`: plan, generations, storage and credit of an organization.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use metergate_rules::command::{Command, NewGrant, PeriodLimit};
use metergate_rules::id::PlanId;
use metergate_rules::plan::Max;
use metergate_rules::quantity::Quantity;
use metergate_rules::window::Window;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ErrorText, answered};
use crate::http::decision;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::number::QuantityText;
use crate::http::operation::Operation;
use crate::http::path::Path;
use crate::http::reports::{organization, report_to};
use crate::http::state::{App, Operator};
use crate::report::documented::clients::{ClientBody, ClientQuota, CreditState, MEGABYTE};

/// The plans that a client can be moved to here.
const PLANS: [&str; 4] = ["free", "starter", "pro", "enterprise"];
const GENERATIONS: &str = "generations";

/// A client's plan and limits; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientQuotaBody {
    /// `free`, `starter`, `pro` or `enterprise`: its limits take the place of all that were set before.
    pub plan: Option<String>,
    /// Generations in a billing period, a whole number above zero; `null` is unlimited.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<u64>)]
    pub monthly_generation_limit: Option<Option<QuantityText>>,
    /// What may be stored in 1,048,576 bytes, a whole number above zero; `null` is unlimited.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<u64>)]
    pub storage_quota_mb: Option<Option<QuantityText>>,
    /// Why; kept in the audit log.
    pub reason: Option<String>,
}

/// What becomes of a client's generations.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CreditAction {
    /// Credit is given until the billing period ends.
    Grant,
    /// What was used in the billing period is set to zero.
    Reset,
}

/// Credit for a client.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditsBody {
    /// What to do.
    pub action: CreditAction,
    /// How many generations to grant; above zero.
    pub amount: Option<QuantityText>,
    /// Why; kept in the audit log.
    pub reason: Option<String>,
}

/// Sets a client's plan, its generations and its storage.
#[utoipa::path(put, operation_id = "admin_set_client_quota", path = "/api/admin/clients/{org}/quota", tag = "documented paths", request_body = ClientQuotaBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = ClientQuota), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "Not valid")))]
pub async fn set_quota(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: ClientQuotaBody = operation.json_or_default()?;
    let plan = match asked.plan.as_deref() {
        Some(key) => Some(known_plan(&operation.app, key).await?),
        None => None,
    };
    let given = [
        (GENERATIONS, "#/monthlyGenerationLimit", 1, &asked.monthly_generation_limit),
        ("storage_bytes", "#/storageQuotaMb", MEGABYTE, &asked.storage_quota_mb),
    ];
    let mut limits = Vec::new();
    for (key, pointer, times, max) in given {
        let Some(max) = max else { continue };
        limits.push(period_limit(&operation.app, key, pointer, times, max.as_ref()).await?);
    }
    let reason = asked.reason.unwrap_or_default();
    operation
        .run(
            "PUT /api/admin/clients/{org}/quota",
            Command::SetLimits { plan, limits },
            reason,
            answered(ClientQuota::of),
        )
        .await
}

async fn known_plan(app: &App, key: &str) -> Result<PlanId, ApiError> {
    if !PLANS.contains(&key) {
        return Err(ApiError::invalid("#/plan", format!("Send one of {}.", PLANS.join(", "))));
    }
    let snapshot = app.snapshot_with(|known| known.plan_entry(key).is_some()).await;
    Ok(snapshot.plan_entry(key).ok_or_else(ApiError::unknown_plan)?.id)
}

async fn period_limit(
    app: &App,
    key: &str,
    pointer: &str,
    times: i64,
    max: Option<&QuantityText>,
) -> Result<PeriodLimit, ApiError> {
    let meter = app.meter(key).await?;
    let wrong = || ApiError::invalid(pointer, "Send a whole number above zero, or null for unlimited.");
    let max = match max {
        None => Max::Unlimited,
        Some(text) => Max::Units(whole(text, times, meter.decimals).ok_or_else(wrong)?),
    };
    Ok(PeriodLimit { meter: meter.id, max })
}

/// A whole number above zero, times so much, as a quantity of a meter with so many places.
fn whole(text: &QuantityText, times: i64, decimals: u8) -> Option<Quantity> {
    let scale = 10_i64.checked_pow(u32::from(decimals))?;
    let units = text.parse(0).ok()?.units().checked_mul(times)?.checked_mul(scale)?;
    Quantity::new(units).ok().filter(|quantity| !quantity.is_zero())
}

/// A client's quota, its use, and the last entries of its audit log.
#[utoipa::path(get, operation_id = "admin_client_quota", path = "/api/admin/clients/{org}/quota", tag = "documented paths",
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = ClientBody), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn quota(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
) -> Result<Response<Body>, ApiError> {
    let org = organization(&org)?;
    let body = report_to(&app, operator.caller.scope, false, move |report| report.client(&org)).await?;
    Ok(decision::json(StatusCode::OK, &body))
}

/// Gives credit on generations that ends with the billing period, or sets what was used of them to zero.
#[utoipa::path(post, operation_id = "admin_client_credits", path = "/api/admin/clients/{org}/credits", tag = "documented paths", request_body = CreditsBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = CreditState), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "Not valid")))]
pub async fn credits(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: CreditsBody = json::parse(if operation.body.is_empty() { b"{}" } else { &operation.body })?;
    let reason = asked.reason.clone().unwrap_or_default();
    let command = credit_command(&operation.app, &asked, &reason).await?;
    operation.run("POST /api/admin/clients/{org}/credits", command, reason, answered(CreditState::of)).await
}

async fn credit_command(app: &App, asked: &CreditsBody, reason: &str) -> Result<Command, ApiError> {
    let meter = app.meter(GENERATIONS).await?;
    if let CreditAction::Reset = asked.action {
        let windows = [Window::BillingPeriod, Window::Month].into_iter().collect();
        return Ok(Command::Reset { meters: Some(vec![meter.id]), windows });
    }
    let wrong = || ApiError::invalid("#/amount", "Send an amount above zero.");
    let amount = asked.amount.as_ref().ok_or_else(wrong)?;
    let amount = amount.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity("#/amount", why))?;
    if amount.is_zero() {
        return Err(wrong());
    }
    Ok(Command::GrantForPeriod(NewGrant {
        meter: meter.id,
        amount,
        priority: 0,
        starts_at: None,
        expires_at: None,
        reason: reason.to_owned(),
    }))
}
