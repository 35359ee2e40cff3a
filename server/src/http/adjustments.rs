//! Corrections by an amount (M6).

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_rules::command::{Adjustment, Command};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::{Reason, answer, time};
use super::error::{ApiError, Fault};
use super::number::{Number, QuantityText};
use super::operation::Operation;
use super::reports::Numbers;
use crate::report::Timestamp;
use crate::store::Respond;

/// What is to be corrected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdjustmentBody {
    /// The meter's key: one that adds up, or a level.
    pub meter: String,
    /// So much more, or less where it is negative; of a level the level.
    #[schema(value_type = f64)]
    pub quantity: QuantityText,
    /// The time of what is corrected; now without one.
    pub time: Option<String>,
    /// Why; kept in the audit log.
    #[schema(value_type = String)]
    pub reason: Reason,
}

/// A correction that was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdjustmentAnswer {
    /// The meter's key.
    pub meter: String,
    /// What was added, or taken off where it is negative.
    pub quantity: Number,
    /// Of when.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Corrects what was counted. Reports and open counters follow, never below zero; what was recorded stays.
#[utoipa::path(post, operation_id = "create_adjustment", path = "/v1/organizations/{org}/adjustments", tag = "usage", request_body = AdjustmentBody,
    params(("org" = String, Path, description = "Id or key"), Numbers),
    responses((status = 201, body = AdjustmentAnswer), (status = 404, description = "Unknown organization or meter"), (status = 422, description = "Not valid, or more than was counted there")))]
pub async fn create(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (text, asked) = (operation.text()?, operation.json::<AdjustmentBody>()?);
    let meter = operation.app.meter(&asked.meter).await?;
    let units = signed(&meter, asked.quantity.as_str())?;
    match meter.aggregation {
        Aggregation::Sum | Aggregation::Count if units == 0 => {
            return Err(wrong_amount("Send an amount above or below zero."));
        }
        Aggregation::Last if units < 0 => {
            return Err(wrong_amount("A level is set, not added to: send the level itself, which is not below zero."));
        }
        _ => {}
    }
    let time = asked.time.as_deref().map(|text| time("#/time", text)).transpose()?;
    let command = Command::Adjust(Adjustment { meter: meter.id, units, time, room: Vec::new() });
    let (reason, key) = (String::from(asked.reason), meter.key.to_string());
    let why = reason.clone();
    let respond: Respond = Arc::new(move |after| {
        let quantity = Number { units: i128::from(units), decimals: after.catalogue.decimals(meter.id), text };
        let (meter, reason, now) = (key.clone(), why.clone(), Timestamp(after.now));
        let made = AdjustmentAnswer { meter, quantity, time: time.map_or(now, Timestamp), reason, created_at: now };
        answer(201, after, &made)
    });
    operation.run("POST /v1/organizations/{org}/adjustments", command, reason, respond).await
}

/// A quantity of this meter that is no correction of it.
fn wrong_amount(detail: &'static str) -> ApiError {
    let fault = Fault::new("#/quantity", detail);
    let detail = format!("{}: {detail}", fault.pointer);
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-quantity", detail).with_fault(fault)
}

fn signed(meter: &Meter, text: &str) -> Result<i64, ApiError> {
    let wrong = |why: InvalidQuantity| ApiError::invalid_quantity("#/quantity", why);
    match text.strip_prefix('-') {
        Some(rest) => Ok(-Quantity::parse(rest, meter.decimals).map_err(wrong)?.units()),
        None => Ok(Quantity::parse(text, meter.decimals).map_err(wrong)?.units()),
    }
}
