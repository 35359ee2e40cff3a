//! `/internal/org/{key}`: what the application itself asks and sets.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::account::{ExtraQuota, LockCause};
use metergate_rules::command::Command;
use metergate_rules::window::Window;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ErrorText, WhyBody, answered, why};
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::number::QuantityText;
use crate::http::operation::Operation;
use crate::http::path::Path;
use crate::http::query::Pairs;
use crate::http::reports::{organization, report_to};
use crate::http::state::{App, Operator};
use crate::report::documented::audit::OrgAuditLog;
use crate::report::documented::{LockState, MonthUsage};

/// Extra quota; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantQuotaBody {
    /// The whole addition to the limit of conversations: set, not added.
    pub extra_conversations: Option<QuantityText>,
    /// The whole addition to the limit of messages: set, not added.
    pub extra_messages: Option<QuantityText>,
    /// Why; kept in the audit log.
    pub reason: Option<String>,
}

/// Conversations and messages of an organization in its billing period.
#[utoipa::path(get, operation_id = "internal_usage", path = "/internal/org/{org}/usage", tag = "documented paths",
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = MonthUsage), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn usage(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
) -> Result<Response<Body>, ApiError> {
    let org = organization(&org)?;
    let body = report_to(&app, operator.caller.scope, false, move |report| report.month_usage(&org)).await?;
    Ok(json(StatusCode::OK, &body))
}

/// Sets the counters of the billing period and of the month to zero, of all meters.
#[utoipa::path(post, operation_id = "internal_reset_usage", path = "/internal/org/{org}/usage/reset", tag = "documented paths", request_body = WhyBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = MonthUsage), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn reset(operation: Operation) -> Result<Response<Body>, ApiError> {
    let windows = [Window::BillingPeriod, Window::Month].into_iter().collect();
    let command = Command::Reset { meters: None, windows };
    let reason = why(&operation.body)?;
    operation.run("POST /internal/org/{org}/usage/reset", command, reason, answered(MonthUsage::of)).await
}

/// Sets the extra quota of conversations and messages.
#[utoipa::path(post, operation_id = "internal_grant_quota", path = "/internal/org/{org}/usage/grant-quota", tag = "documented paths", request_body = GrantQuotaBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = MonthUsage), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "Not valid")))]
pub async fn grant_quota(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: GrantQuotaBody = operation.json_or_default()?;
    let given = [
        ("conversations", "#/extraConversations", &asked.extra_conversations),
        ("messages", "#/extraMessages", &asked.extra_messages),
    ];
    let mut new = Vec::new();
    for (key, pointer, quantity) in given {
        let Some(quantity) = quantity else { continue };
        let meter = operation.app.meter(key).await?;
        let quantity = quantity.parse(meter.decimals).map_err(|why| ApiError::invalid_quantity(pointer, why))?;
        new.push(ExtraQuota { meter: meter.id, quantity });
    }
    let reason = asked.reason.unwrap_or_default();
    operation
        .run("POST /internal/org/{org}/usage/grant-quota", Command::SetExtra(new), reason, answered(MonthUsage::of))
        .await
}

/// Stops consumption.
#[utoipa::path(post, operation_id = "internal_lock", path = "/internal/org/{org}/billing/lock", tag = "documented paths", request_body = WhyBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = LockState), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn lock(operation: Operation) -> Result<Response<Body>, ApiError> {
    let reason = why(&operation.body)?;
    let command =
        Command::Lock { cause: LockCause::Operator, reason: Some(reason.clone()).filter(|it| !it.is_empty()) };
    operation.run("POST /internal/org/{org}/billing/lock", command, reason, answered(LockState::of)).await
}

/// Lifts every lock.
#[utoipa::path(post, operation_id = "internal_unlock", path = "/internal/org/{org}/billing/unlock", tag = "documented paths", request_body = WhyBody,
    params(("org" = String, Path, description = "Key or id")),
    responses((status = 200, body = LockState), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn unlock(operation: Operation) -> Result<Response<Body>, ApiError> {
    let reason = why(&operation.body)?;
    operation.run("POST /internal/org/{org}/billing/unlock", Command::Unlock, reason, answered(LockState::of)).await
}

/// The last entries of an organization's audit log, newest first.
#[utoipa::path(get, operation_id = "internal_audit_log", path = "/internal/org/{org}/audit-log", tag = "documented paths",
    params(("org" = String, Path, description = "Key or id"), ("limit" = Option<u32>, Query, description = "1 to 200; 50 without")),
    responses((status = 200, body = OrgAuditLog), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn audit_log(
    State(app): State<App>,
    Path(org): Path<String>,
    operator: Operator,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let (org, limit) = (organization(&org)?, Pairs::of(&uri, &["limit"])?.page()?.limit);
    let body = report_to(&app, operator.caller.scope, false, move |report| report.org_audit_log(&org, limit)).await?;
    Ok(json(StatusCode::OK, &body))
}
