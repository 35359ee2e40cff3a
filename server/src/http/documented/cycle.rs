//! `PATCH /api/organizations/{id}/billing-cycle`: the billing cycle as the organization's settings move it (P3).

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_rules::command::{Command, CycleStart};
use metergate_rules::period::{Anchor, Grid, Zone};
use metergate_rules::role::Right;
use metergate_rules::time::{DAY, SECOND, Span, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ErrorText;
use crate::http::auth::Credential;
use crate::http::change::answer;
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::store::{After, Respond};

const REQUIRED: &str = "billingCycleStartDate is required (ISO string)";
const FORBIDDEN: &str = "Only platform administrators or organization admin/owner can update billing cycle";

/// From where billing periods are to be counted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CycleStartBody {
    /// An instant; midnight `Z` is that date in the organization's zone.
    #[schema(value_type = Option<String>, example = "2024-11-01T00:00:00.000Z")]
    pub billing_cycle_start_date: Option<serde_json::Value>,
    /// Why; kept in the audit log.
    pub reason: Option<String>,
}

/// That the cycle was moved.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CycleMoved {
    /// For people.
    pub message: &'static str,
    /// What it is now.
    pub billing_cycle: MovedCycle,
}

/// The bounds of a period, and who moved them.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovedCycle {
    /// After a past start where the period begins that contains now, after a future one that start.
    #[schema(format = DateTime)]
    pub last_reset: String,
    /// Where that period ends.
    #[schema(format = DateTime)]
    pub next_reset: String,
    /// When it was moved.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// By whom.
    pub updated_by: String,
}

/// Counts billing periods from another date; the quota counters keep their values.
#[utoipa::path(patch, operation_id = "documented_billing_cycle", path = "/api/organizations/{org}/billing-cycle", tag = "documented paths", request_body = CycleStartBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = CycleMoved), (status = 400, body = ErrorText, description = "Without a start that can be read"),
        (status = 403, body = ErrorText, description = "Not an administrator"), (status = 404, body = ErrorText, description = "Unknown")))]
pub async fn update(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Administer).await.map_err(|error| match error.code() {
        "forbidden" => ApiError::forbidden(FORBIDDEN),
        _ => error,
    })?;
    let asked: CycleStartBody = operation.json_or_default()?;
    let sent = asked.billing_cycle_start_date.as_ref().and_then(serde_json::Value::as_str);
    let start = sent.and_then(start);
    let start = start.ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "malformed-body", REQUIRED))?;
    let updated_by = operation.by.shown();
    let respond: Respond = Arc::new(move |after| answer(200, after, &moved(after, &updated_by)));
    let command = Command::MoveCycle { start, by_member: caller.is_member() };
    operation
        .run_for(
            caller,
            "PATCH /api/organizations/{org}/billing-cycle",
            command,
            asked.reason.unwrap_or_default(),
            respond,
        )
        .await
}

fn start(text: &str) -> Option<CycleStart> {
    if let Ok(anchor) = text.parse::<Anchor>() {
        return Some(CycleStart::Civil(anchor));
    }
    let instant: Time = text.parse().ok()?;
    let is_midnight = instant.floor(DAY) == instant;
    Some(if is_midnight { CycleStart::Civil(Anchor::at(instant, &Zone::utc())) } else { CycleStart::Instant(instant) })
}

fn moved(after: &After<'_>, updated_by: &str) -> CycleMoved {
    let account = after.account;
    let grid = Grid { anchor: account.anchor, zone: &account.profile.zone };
    let ahead = Span { start: grid.boundary(0), end: grid.boundary(1) };
    let shown = if ahead.start > after.now { ahead } else { account.shown_period() };
    CycleMoved {
        message: "Billing cycle updated successfully",
        billing_cycle: MovedCycle {
            last_reset: millis(shown.start),
            next_reset: millis(shown.end),
            updated_at: millis(after.now),
            updated_by: updated_by.to_owned(),
        },
    }
}

/// With three decimal places always, as JavaScript writes it.
fn millis(time: Time) -> String {
    let second = time.floor(SECOND);
    let text = second.to_string();
    format!("{}.{:03}Z", text.trim_end_matches('Z'), time.since(second) / 1000)
}
