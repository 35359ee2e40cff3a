//! All organizations together.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};

use super::decision::json;
use super::error::ApiError;
use super::query::Pairs;
use super::reports::{Numbers, report_to};
use super::state::{App, Operator};
use crate::fleet::MOST_LISTED;
use crate::report::fleet::{FleetBody, FleetQuery};
use crate::store::Scope;

/// Organizations in each list where nobody says how many.
const LISTED: usize = 10;

/// All organizations at one time, at most 5 s ago: how many, by status, plan and lock; those close to a limit, locked, in
/// trial, refused and using most; what all used by UTC day. The first question after some minutes begins to go through
/// them all: until `complete` the answer says how far it has come.
#[utoipa::path(get, operation_id = "fleet", path = "/v1/fleet", tag = "usage",
    params(("limit" = Option<u32>, Query, description = "Organizations in each list, 1 to 100; 10 without it"),
        ("meter" = Option<String>, Query, description = "Use of this meter alone"), Numbers),
    responses((status = 200, body = FleetBody), (status = 404, description = "Unknown meter"), (status = 422, description = "Not valid")))]
pub async fn fleet(State(app): State<App>, _operator: Operator, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["limit", "meter", "numbers"])?;
    let limit = pairs.parsed::<usize>("limit")?.unwrap_or(LISTED);
    if limit == 0 || limit > MOST_LISTED {
        return Err(ApiError::invalid("?limit", "Send a number from 1 to 100."));
    }
    let meter = pairs.one("meter")?;
    let known = |key: &str| app.snapshot().meter(key).map(|meter| meter.id).ok_or_else(ApiError::unknown_meter);
    let query = FleetQuery { limit, meter: meter.map(known).transpose()? };
    let shared = &app.shared;
    let overview = shared.fleet.overview(&shared.store, shared.draining.clone()).await?;
    let body = report_to(&app, Scope::Team, pairs.text()?, move |report| report.fleet(&overview, query)).await?;
    Ok(json(StatusCode::OK, &body))
}
