//! What time brings about, moved: the billing cycle, the end of a trial, a test organization's clock.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::command::{Command, CycleStart};
use metergate_rules::role::Right;
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::{Reason, answer, organization_answer, time};
use super::decision::json as json_answer;
use super::error::ApiError;
use super::operation::Operation;
use super::path::Path;
use super::query::Pairs;
use super::reports::{organization, report};
use super::state::App;
use crate::report::cycle::BillingCycle;
use crate::report::organization::OrganizationBody;
use crate::store::Respond;

/// From where billing periods are to be counted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CycleBody {
    /// A date such as `2026-11-01` (midnight in the organization's zone), a date-time without offset, or an instant.
    #[schema(example = "2026-11-01")]
    pub billing_cycle_start_date: String,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// When a trial is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrialBody {
    /// In the future.
    pub ends_at: String,
    /// Why; kept in the audit log.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// What a test organization's clock is to show.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockBody {
    /// Any time while nothing is recorded, a later one than now after that.
    pub now: String,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// The billing cycle with its next twelve resets; with `billingCycleStartDate` as a move to that date would make it.
#[utoipa::path(get, operation_id = "get_billing_cycle", path = "/v1/organizations/{org}/billing-cycle", tag = "organizations",
    params(("org" = String, Path, description = "Id or key"), ("billingCycleStartDate" = Option<String>, Query, description = "Shows what this move would do")),
    responses((status = 200, body = BillingCycle), (status = 404, description = "Unknown"), (status = 422, description = "Not a date, or more than a year ahead")))]
pub async fn get(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let org = organization(&org)?;
    let pairs = Pairs::of(&uri, &["billingCycleStartDate"])?;
    let start =
        pairs.one("billingCycleStartDate")?.map(|text| cycle_start("?billingCycleStartDate", text)).transpose()?;
    let cycle = report(&app, &credential, false, move |report| report.billing_cycle(&org, start)).await?;
    Ok(json_answer(StatusCode::OK, &cycle))
}

/// Counts billing periods from another date. Only dates move: counters keep their values, and the open period its stored start.
/// A past date makes the open period end with the new grid's, a future one at that date.
#[utoipa::path(patch, operation_id = "update_billing_cycle", path = "/v1/organizations/{org}/billing-cycle", tag = "organizations", request_body = CycleBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = BillingCycle), (status = 404, description = "Unknown"),
        (status = 422, description = "Not valid")))]
pub async fn update(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Administer).await?;
    let asked: CycleBody = operation.json()?;
    let start = cycle_start("#/billingCycleStartDate", &asked.billing_cycle_start_date)?;
    let respond: Respond = Arc::new(|after| answer(200, after, &BillingCycle::of(after.account)));
    let command = Command::MoveCycle { start, by_member: caller.is_member() };
    operation.run_for(caller, "PATCH /v1/organizations/{org}/billing-cycle", command, asked.reason, respond).await
}

/// Lets a trial end at another time; one that is over goes on until then, and its lock is lifted.
#[utoipa::path(put, operation_id = "update_trial", path = "/v1/organizations/{org}/trial", tag = "organizations", request_body = TrialBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown"), (status = 409, description = "It has never had a trial"), (status = 422, description = "Not valid")))]
pub async fn trial(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: TrialBody = operation.json()?;
    let ends_at = time("#/endsAt", &asked.ends_at)?;
    operation
        .run(
            "PUT /v1/organizations/{org}/trial",
            Command::SetTrial { ends_at },
            asked.reason.into(),
            organization_answer(200),
        )
        .await
        .map_err(|error| error.placed_at("#/endsAt"))
}

/// Sets the clock of a test organization. Everything that falls due on the way takes effect, each at its own time.
#[utoipa::path(put, operation_id = "set_clock", path = "/v1/organizations/{org}/clock", tag = "organizations", request_body = ClockBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown"), (status = 409, description = "Not a test organization, or the clock would run back"), (status = 422, description = "Not valid")))]
pub async fn clock(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: ClockBody = operation.json()?;
    let to = time("#/now", &asked.now)?;
    operation
        .run("PUT /v1/organizations/{org}/clock", Command::SetClock(to), asked.reason, organization_answer(200))
        .await
}

/// A date or date-time of the organization's zone, or an instant.
///
/// # Errors
/// 422 where it is neither.
pub(super) fn cycle_start(pointer: &str, text: &str) -> Result<CycleStart, ApiError> {
    let instant = || text.parse().map(CycleStart::Instant).ok();
    let civil = text.parse().map(CycleStart::Civil).ok();
    civil.or_else(instant).ok_or_else(|| {
        ApiError::invalid(
            pointer,
            "Send a date such as 2026-11-01, a date-time, or an instant such as 2026-11-01T08:30:00Z.",
        )
    })
}
