//! What language models' tokens cost, and what was charged priced again (M9).

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::written;
use super::error::ApiError;
use super::operation::Operation;
use super::query::Pairs;
use super::state::{App, Operator};
use super::team::answer;
use crate::catalogue::change::{TeamAfter, TeamCommand};
use crate::catalogue::price::{PriceSpec, StoredPrices};
use crate::store::Answer;

pub mod recompute;

/// The table of prices.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PricesBody {
    /// The prices.
    pub prices: Vec<PriceSpec>,
    /// From 1, one more with each change; 0 where there is none yet.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Option<String>,
}

impl From<&StoredPrices> for PricesBody {
    fn from(stored: &StoredPrices) -> Self {
        let StoredPrices { version, prices, changed_at } = stored;
        Self { prices: prices.to_vec(), version: *version, changed_at: changed_at.map(|at| at.to_string()) }
    }
}

/// A table that takes the place of the one in force.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutPricesBody {
    /// All prices: those that are not here are gone.
    pub prices: Vec<PriceSpec>,
    /// The version that was read, as `If-Match` says it.
    #[serde(default)]
    pub version: Option<u64>,
    /// As it was read; it says nothing.
    #[serde(default)]
    #[allow(dead_code, reason = "so that what was read can be sent back as it is")]
    pub changed_at: Option<String>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// What names a price among others.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceNameBody {
    /// The model, or how names begin and `*`, as the price says it.
    pub model: String,
    /// Whose, as the price says it.
    #[serde(default)]
    pub provider: Option<String>,
    /// From when.
    pub effective_from: String,
    /// Above which input, as the price says it.
    #[serde(default)]
    pub input_above: Option<i64>,
}

/// What of the table changes; all else stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchPricesBody {
    /// Prices to be added, each in the place of one of the same model, provider, `effectiveFrom` and `inputAbove`.
    #[serde(default)]
    pub set: Vec<PriceSpec>,
    /// Prices to be taken away.
    #[serde(default)]
    pub remove: Vec<PriceNameBody>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

impl From<PriceNameBody> for PriceSpec {
    /// A price of that name; what it costs says nothing.
    fn from(name: PriceNameBody) -> Self {
        let PriceNameBody { model, provider, effective_from, input_above } = name;
        let input = String::from("0").into();
        let (cached_input, cache_write, output, source) = (None, None, None, None);
        Self { model, provider, effective_from, input_above, input, cached_input, cache_write, output, source }
    }
}

/// The prices of language models' tokens, as `PUT` takes them back.
#[utoipa::path(get, operation_id = "get_prices", path = "/v1/prices", tag = "meters and plans",
    responses((status = 200, body = PricesBody)))]
pub async fn get(State(app): State<App>, credential: Credential, uri: Uri) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Catalogue)?;
    Pairs::of(&uri, &[])?;
    Ok(written(table(&app.snapshot().stored.prices), false))
}

/// Puts a table of prices in the place of the one in force. Each price holds from its `effectiveFrom` on; what was charged
/// before stays until it is priced again by `POST /v1/prices/recompute`.
#[utoipa::path(put, operation_id = "put_prices", path = "/v1/prices", tag = "meters and plans", request_body = PutPricesBody,
    responses((status = 200, body = PricesBody), (status = 412, description = "Changed since"), (status = 422, description = "Not valid")))]
pub async fn put(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let body: PutPricesBody = operation.json()?;
    let respond = |after: &TeamAfter<'_>| table(&after.snapshot.stored.prices);
    let parts = [&operation.body[..]];
    let command = TeamCommand::PutPrices(body.prices, body.version);
    operation.change_team_because(body.reason, "PUT /v1/prices", &parts, command, respond).await
}

/// Adds, changes and removes single prices. All of it, or nothing.
#[utoipa::path(patch, operation_id = "update_prices", path = "/v1/prices", tag = "meters and plans", request_body = PatchPricesBody,
    responses((status = 200, body = PricesBody), (status = 404, description = "There is no such price to remove"), (status = 412, description = "Changed since"), (status = 422, description = "Not valid")))]
pub async fn update(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let body: PatchPricesBody = operation.json()?;
    let respond = |after: &TeamAfter<'_>| table(&after.snapshot.stored.prices);
    let parts = [&operation.body[..]];
    let command = TeamCommand::PatchPrices { set: body.set, remove: body.remove.into_iter().map(Into::into).collect() };
    operation.change_team_because(body.reason, "PATCH /v1/prices", &parts, command, respond).await
}

fn table(stored: &StoredPrices) -> Answer {
    answer(StatusCode::OK.as_u16(), &PricesBody::from(stored), Some(stored.version))
}
