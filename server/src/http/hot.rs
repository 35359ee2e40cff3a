//! The hot routes as the router and the OpenAPI document know them. Each core answers them before the router is asked.

use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::Raw;
use super::consume::{self, Call, Mode};
use super::decision::DecisionBody;
use super::error::ApiError;
use super::events::{self, IngestBody};
use super::number::QuantityText;
use super::request_id::RequestId;
use super::state::App;

/// How the answer is written.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MannerQuery {
    /// `native` answers a refusal with its own status (403, 402 or 429) and a problem that contains the decision.
    pub status: Option<String>,
    /// `string` writes quantities as strings.
    pub numbers: Option<String>,
}

/// A decision that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRequest {
    /// The organization's id or key.
    #[schema(example = "acme")]
    pub organization: String,
    /// The meter's key; or `together`.
    #[schema(example = "tokens")]
    pub meter: Option<String>,
    /// How much; 1 without one. Of `tokens` the sum of `inputTokens` and `outputTokens`.
    pub quantity: Option<QuantityText>,
    /// A name for the decision: repeated with it, it gets its first answer and counts once.
    pub id: Option<String>,
    /// What reports can group by, and the `value` of a `uniqueCount` meter.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<serde_json::Value>,
    /// Up to 100 meters, all or nothing.
    pub together: Option<Vec<TogetherRequest>>,
    /// How long the work took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// How it ended, such as an HTTP status.
    pub status: Option<u16>,
}

/// So much of one of several meters.
#[derive(Debug, Deserialize, ToSchema)]
pub struct TogetherRequest {
    /// The meter's key.
    pub meter: String,
    /// How much; 1 without one.
    pub quantity: Option<QuantityText>,
    /// As in a single decision.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<serde_json::Value>,
}

/// Asks whether an organization may use so much now, and records the use if so.
///
/// Every limit of the meter is checked at once. The answer is 200 whether allowed or refused, and durable when it
/// arrives. An array of up to 1,000 is answered item by item as `{"data": [...]}`.
#[utoipa::path(post, path = "/v1/consume", tag = "deciding", params(MannerQuery), request_body = DecisionRequest,
    responses((status = 200, body = DecisionBody<'static>), (status = 404, description = "Unknown organization or meter"),
        (status = 422, description = "Not valid, or the id was used for another request"), (status = 503, description = "Not now; repeat with the same id")))]
pub async fn consume(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let call = Call { headers: &headers, query: query.as_deref(), body: &body, request };
    consume::consume(&app, Mode::Consume, call).await
}

/// The same answer as `POST /v1/consume`, with nothing recorded.
#[utoipa::path(post, path = "/v1/check", tag = "deciding", params(MannerQuery), request_body = DecisionRequest,
    responses((status = 200, body = DecisionBody<'static>), (status = 404, description = "Unknown organization or meter"), (status = 422, description = "Not valid")))]
pub async fn check(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let call = Call { headers: &headers, query: query.as_deref(), body: &body, request };
    consume::consume(&app, Mode::Check, call).await
}

/// Records what has happened: CloudEvents 1.0, structured, batched, binary or as lines.
///
/// `subject` is the organization, `type` the event type of the meters, `data` the value and dimensions. Each event counts
/// once for its source and id. The answer comes after the events are durable; one bad event never loses the others. What is told of
/// a period or another window that is over stands in reports: it draws no grants there, and is no overage. What several calls used
/// together can be one event, of a source that begins with `@metergate/`, whose data has `calls` as the commit of a reservation has
/// it: it counts as so many. Of such a source the type `metergate:consume/<meter>` is what a decision on that meter would have recorded, and
/// `metergate:commit/<meter>` what the commit of a reservation would: it counts on that meter alone, whatever its own event type is.
#[utoipa::path(post, operation_id = "record_events", path = "/v1/events", tag = "events",
    request_body(content((Object = "application/cloudevents+json"), (Vec<Object> = "application/cloudevents-batch+json"), (String = "application/x-ndjson"))),
    responses((status = 200, body = IngestBody), (status = 400, description = "The body cannot be read"), (status = 413, description = "Too large"), (status = 415, description = "Another content type")))]
pub async fn ingest(State(app): State<App>, headers: HeaderMap, Raw(body): Raw) -> Result<Response<Body>, ApiError> {
    events::ingest(&app, &headers, &body).await
}
