//! `/api/admin/metrics`: rollups made again, as a timer or an administrator asks for it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::{ErrorText, optional};
use crate::aggregate::{Aggregated, aggregate, date};
use crate::catalogue::key;
use crate::http::body::Raw;
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::state::{App, Operator};
use crate::report::documented::tenant::Bound;

/// The header of the timer.
const HEADER: &str = "x-cron-secret";

/// Which days.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AggregateBody {
    /// The first day, of UTC; everything before `to` without one.
    #[schema(example = "2026-11-01")]
    pub from: Option<String>,
    /// The last day, which is in it; everything after `from` without one.
    #[schema(example = "2026-11-27")]
    pub to: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregateReport {
    /// The first day; `null` where none was asked for.
    pub from: Option<String>,
    /// The last day, likewise.
    pub to: Option<String>,
    /// Organizations that were gone through.
    pub organizations: u64,
    /// Rollups that their records make: one for each meter, day and set of dimension values.
    pub rollups: u64,
    /// Rollups that were written: those of every meter and day on which one was not what the records say.
    pub rebuilt: u64,
    /// What was left as it is, since raw records of its days have gone.
    pub kept: KeptBody,
    /// What the retention took.
    pub retention: RetentionBody,
}

/// What cannot be made again.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptBody {
    /// So many rollups.
    pub rollups: u64,
    /// The last day of them; `null` where there are none.
    pub until: Option<String>,
}

/// What has been kept for long enough.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionBody {
    /// Files of raw records and of ids that went.
    pub files_removed: u64,
}

/// For this handler: the timer by its secret, or an operator.
pub struct Aggregator;

impl FromRequestParts<App> for Aggregator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let given = parts.headers.get(HEADER).map(|value| key::hash(value.to_str().unwrap_or_default()));
        let secret = app.shared.cron_secret;
        if let (Some(given), Some(secret)) = (given, secret)
            && bool::from(given.ct_eq(&secret))
        {
            return Ok(Self);
        }
        match Operator::from_request_parts(parts, app).await {
            Ok(_) => Ok(Self),
            Err(error) if error.status() == StatusCode::UNAUTHORIZED && given.is_some() && secret.is_none() => {
                Err(ApiError::forbidden("No cron secret is set on this server, so only an administrator may do this."))
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes the rollups of some days again from the raw records and applies the retention. Answers when it is done; it goes
/// on where the caller leaves. It may be asked for at any time and any number of times: what is right stays untouched.
/// The timer sends its secret in `x-cron-secret`; an administrator needs none.
#[utoipa::path(post, operation_id = "aggregate", path = "/api/admin/metrics/aggregate", tag = "documented paths", request_body = AggregateBody,
    params(("x-cron-secret" = Option<String>, Header, description = "The setting METERGATE_CRON_SECRET")),
    responses((status = 200, body = AggregateReport), (status = 401, body = ErrorText, description = "The secret is wrong"), (status = 403, body = ErrorText, description = "Neither an administrator, nor is a secret set"), (status = 409, body = ErrorText, description = "It goes on already"), (status = 422, body = ErrorText, description = "Not valid")))]
pub async fn rebuild(State(app): State<App>, _allowed: Aggregator, Raw(body): Raw) -> Result<Response<Body>, ApiError> {
    let days = days(&optional(&body)?)?;
    let alone = Arc::clone(&app.shared.aggregating).try_acquire_owned();
    let alone = alone.map_err(|_| ApiError::conflict("aggregate-running", "It goes on already: wait for its end."))?;
    let range = days.clone();
    // A caller who leaves does not break it off.
    let work = tokio::spawn(async move {
        let _alone = alone;
        aggregate(&app.shared.store, &app.port, range, &app.shared.draining).await
    });
    let done = work.await.map_err(|error| ApiError::internal(format!("an aggregation panicked: {error}")))??;
    Ok(json(StatusCode::OK, &report(&days, done)))
}

fn days(asked: &AggregateBody) -> Result<RangeInclusive<i32>, ApiError> {
    let day = |text: &Option<String>, pointer: &str| {
        let bound = text.as_deref().map(str::parse::<Bound>).transpose();
        let bound = bound.map_err(|error| ApiError::invalid(pointer, format!("{error}.")))?;
        Ok::<_, ApiError>(bound.map(Bound::utc_day))
    };
    let (from, to) = (day(&asked.from, "#/from")?.unwrap_or(i32::MIN), day(&asked.to, "#/to")?.unwrap_or(i32::MAX));
    if from <= to { Ok(from..=to) } else { Err(ApiError::invalid("#/to", "Must not be before from.")) }
}

fn report(days: &RangeInclusive<i32>, done: Aggregated) -> AggregateReport {
    let asked = |day: i32, open: i32| (day != open).then(|| date(day));
    AggregateReport {
        from: asked(*days.start(), i32::MIN),
        to: asked(*days.end(), i32::MAX),
        organizations: done.organizations,
        rollups: done.rows,
        rebuilt: done.rebuilt,
        kept: KeptBody { rollups: done.kept, until: done.kept_until.map(date) },
        retention: RetentionBody { files_removed: done.files },
    }
}
