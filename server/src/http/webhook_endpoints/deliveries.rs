//! What was sent to a webhook endpoint, try after try; what is sent again, or for a try.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::change::written;
use super::super::error::ApiError;
use super::super::operation::Operation;
use super::super::page::{PageQuery, Paged, bad_cursor, encode};
use super::super::path::Path;
use super::super::query::Pairs;
use super::super::state::{App, Operator};
use super::super::team::{answer, nothing};
use super::unknown;
use crate::catalogue::change::{EndpointCommand, TeamAfter, TeamCommand, TeamReply, TeamRequest};
use crate::catalogue::endpoint::EndpointId;
use crate::store::Answer;
use crate::store::message::MessageId;
use crate::store::outbox::{AttemptRow, DeliveriesAsked, DeliveryKey, DeliveryRow, DeliveryState, OF_TEAM, URGENT};
use crate::store::reader::{ReadError, View};

/// How long whoever tries an endpoint waits for what it answers, a little at a time: longer than a try may take.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_millis(100);
/// Deliveries that are looked at for one page of a type at most, and at once.
const MOST_LOOKED: usize = 5_000;
const STEP: usize = 200;

/// One try.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptBody {
    /// From 1 on.
    pub number: u32,
    /// When it began.
    pub at: String,
    /// The HTTP status of the answer: 2xx is success, and nothing else.
    pub status: Option<u16>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Milliseconds until the answer, or until it was given up.
    pub duration_ms: u64,
    /// The first 1,024 bytes of the answer's body.
    pub response: String,
}

impl From<AttemptRow> for AttemptBody {
    fn from(row: AttemptRow) -> Self {
        let AttemptRow { number, at, status, error, duration_ms, response } = row;
        Self { number, at: at.to_string(), status, error, duration_ms, response }
    }
}

/// A message to a webhook endpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryBody {
    /// The message's id, which the header `webhook-id` has: the same at every try, and for every endpoint.
    pub id: String,
    /// The endpoint.
    pub endpoint: String,
    /// The message's type.
    pub r#type: String,
    /// The id of the organization that it is about; `null` for one that tries the endpoint.
    pub organization: Option<String>,
    /// `pending`, `delivered`, `failed` (it was given up) or `canceled` (the endpoint was disabled for a day, or deleted).
    pub state: &'static str,
    /// When the message was written.
    pub created_at: String,
    /// When it is tried next; `null` unless it is pending.
    pub next_attempt_at: Option<String>,
    /// How often it was tried.
    pub attempt_count: u32,
    /// The last 50 tries, oldest first.
    pub attempts: Vec<AttemptBody>,
    /// What is sent.
    #[schema(value_type = Object)]
    pub body: Option<Box<RawValue>>,
}

impl DeliveryBody {
    fn of(view: &View<'_>, row: DeliveryRow, now: Time) -> Result<Self, ReadError> {
        let attempts = view.rows().attempts(&row.key)?;
        let is_pending = row.state == DeliveryState::Pending;
        Ok(Self {
            id: row.key.message.to_string(),
            endpoint: row.key.endpoint.to_string(),
            r#type: row.kind,
            organization: Some(row.key.organization).filter(|id| *id != OF_TEAM).map(|id| id.to_string()),
            state: row.state.as_str(),
            created_at: row.at.to_string(),
            next_attempt_at: is_pending.then(|| if row.due_at == URGENT { now } else { row.due_at }.to_string()),
            attempt_count: row.tries.all,
            attempts: attempts.into_iter().map(AttemptBody::from).collect(),
            body: RawValue::from_string(row.body).ok(),
        })
    }
}

/// What was sent to a webhook endpoint, or is to be, newest first; of a type, a page may be short, or empty, though there is a next one. A message that was delivered or given up is kept for 30 days.
#[utoipa::path(get, operation_id = "list_webhook_deliveries", path = "/v1/webhook-endpoints/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), ("state" = Option<String>, Query, description = "`pending`, `delivered`, `failed` or `canceled`"),
        ("type" = Option<String>, Query, description = "Such as `usage.threshold`"), PageQuery),
    responses((status = 200, body = Paged<DeliveryBody>), (status = 404, description = "Unknown")))]
pub async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    _operator: Operator,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let endpoint = known(&app, &id)?;
    let pairs = Pairs::of(&uri, &["state", "type", "limit", "cursor"])?;
    let page = pairs.page()?;
    let before = page.after.as_deref().map(|bytes| bytes.try_into().map(MessageId).map_err(|_| bad_cursor()));
    let asked = DeliveriesAsked { endpoint, state: pairs.parsed("state")?, before: before.transpose()?, message: None };
    let (kind, now) = (pairs.one("type")?.map(str::to_owned), app.now());
    let read = app.read(move |view| {
        let (rows, next) = found(view, asked, kind.as_deref(), page.limit)?;
        let data = rows.into_iter().map(|row| DeliveryBody::of(view, row, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(Paged { data, next_cursor: next.map(|next| encode(&next.0)) })
    });
    Ok(read.await?.response(&uri))
}

/// So many deliveries of a type, and the message after which to go on. A page may be short, or empty, though there is a next one: no
/// more than so many are looked at for one.
fn found(
    view: &View<'_>,
    mut asked: DeliveriesAsked,
    kind: Option<&str>,
    limit: usize,
) -> Result<(Vec<DeliveryRow>, Option<MessageId>), ReadError> {
    let step = if kind.is_some() { STEP } else { limit + 1 };
    let (mut found, mut looked) = (Vec::new(), 0);
    loop {
        let rows = view.rows().deliveries(&asked, step)?;
        let is_last = rows.len() < step;
        looked += rows.len();
        asked.before = rows.last().map(|row| row.key.message);
        found.extend(rows.into_iter().filter(|row| kind.is_none_or(|kind| row.kind == kind)));
        if found.len() > limit {
            found.truncate(limit);
            let next = found.last().map(|row| row.key.message);
            return Ok((found, next));
        } else if is_last || looked >= MOST_LOOKED {
            return Ok((found, asked.before.filter(|_| !is_last)));
        }
    }
}

/// # Errors
/// 404 where there is no such endpoint.
fn known(app: &App, id: &str) -> Result<EndpointId, ApiError> {
    let snapshot = app.snapshot();
    snapshot.stored.endpoints.get(id).map(|entry| entry.id.clone()).ok_or_else(unknown)
}

async fn delivery(app: &App, endpoint: &EndpointId, message: MessageId) -> Result<Option<DeliveryRow>, ApiError> {
    let asked = DeliveriesAsked { endpoint: endpoint.clone(), state: None, before: None, message: Some(message) };
    Ok(app.read(move |view| Ok(view.rows().deliveries(&asked, 1)?)).await?.pop())
}

/// An answer with a delivery as it is now.
async fn shown(app: &App, row: DeliveryRow, (status, replayed): (u16, bool)) -> Result<Response<Body>, ApiError> {
    let now = app.now();
    let body = app.read(move |view| DeliveryBody::of(view, row, now)).await?;
    Ok(written(answer(status, &body, None), replayed))
}

fn unknown_delivery() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown-delivery", "There is no such delivery to this webhook endpoint.")
}

/// Sends a message to a webhook endpoint again, under the same id, whatever became of it before; it is tried for a day anew.
#[utoipa::path(post, operation_id = "resend_webhook_delivery", path = "/v1/webhook-endpoints/{id}/deliveries/{delivery}/resend", tag = "webhooks",
    params(("id" = String, Path), ("delivery" = String, Path, description = "The message's id")),
    responses((status = 200, body = DeliveryBody), (status = 404, description = "Unknown"), (status = 409, description = "The endpoint is disabled")))]
pub async fn resend(operation: Operation<Operator, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (app, (id, message)) = (&operation.app, &operation.named);
    operation.json_or_default::<Nothing>()?;
    let endpoint = EndpointId::named(id);
    let message: MessageId = message.parse().map_err(|_| unknown_delivery())?;
    // Where it has gone meanwhile, a repeated request still has its answer.
    let row = delivery(app, &endpoint, message).await?;
    let (is_there, organization) = (row.is_some(), row.map_or(OF_TEAM, |row| row.key.organization));
    let key = DeliveryKey { organization, message, endpoint: endpoint.clone() };
    let route = "POST /v1/webhook-endpoints/{id}/deliveries/{delivery}/resend";
    let parts = [id.as_bytes(), &message.0];
    let begun = begun(&operation, route, &parts, (200, EndpointCommand::Resend(key, is_there))).await?;
    match delivery(app, &endpoint, message).await? {
        Some(row) => shown(app, row, (200, begun.replayed)).await,
        None => Ok(written(begun.answer, begun.replayed)),
    }
}

/// Sends a message of type `webhook.test` to a webhook endpoint at once, and answers with what became of it: its first try, unless
/// that takes longer than 20 seconds.
#[utoipa::path(post, operation_id = "test_webhook_endpoint", path = "/v1/webhook-endpoints/{id}/test", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 201, body = DeliveryBody), (status = 404, description = "Unknown"), (status = 409, description = "The endpoint is disabled")))]
pub async fn test(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (app, id) = (&operation.app, &operation.named);
    operation.json_or_default::<Nothing>()?;
    let endpoint = EndpointId::named(id);
    let command = (201, EndpointCommand::Test(endpoint.clone()));
    let begun = begun(&operation, "POST /v1/webhook-endpoints/{id}/test", &[id.as_bytes()], command).await?;
    let mut looks = 0;
    loop {
        let Some(row) = delivery(app, &endpoint, begun.message).await? else {
            return Ok(written(begun.answer, begun.replayed));
        };
        if row.tries.all > 0 || looks == LOOKS || *app.shared.draining.borrow() {
            return shown(app, row, (201, begun.replayed)).await;
        }
        looks += 1;
        tokio::time::sleep(LOOK).await;
    }
}

/// Nothing has to be said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// What is kept of a message that is to be sent.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
}

/// What is to be sent.
struct Begun {
    message: MessageId,
    /// What is kept of the answer.
    answer: Answer,
    /// Whether it was begun before, under the same key.
    replayed: bool,
}

/// Has something sent.
async fn begun<Named>(
    operation: &Operation<Operator, Named>,
    route: &'static str,
    parts: &[&[u8]],
    (status, command): (u16, EndpointCommand),
) -> Result<Begun, ApiError> {
    let respond = move |after: &TeamAfter<'_>| match after.reply {
        TeamReply::Delivery(key) => answer(status, &Kept { id: key.message.to_string() }, None),
        _ => nothing(after),
    };
    let request = TeamRequest {
        actor: Arc::clone(&operation.by.caller.actor),
        reason: String::new(),
        receipt: operation.receipt(route, parts)?,
        command: TeamCommand::Endpoint(command),
        only_if_version: None,
        respond: Arc::new(respond),
    };
    let (answer, replayed) = operation.app.change_team(request).await?;
    let kept: Kept = serde_json::from_slice(&answer.body).map_err(ApiError::internal)?;
    Ok(Begun { message: kept.id.parse().map_err(ApiError::internal)?, answer, replayed })
}
