//! Webhook endpoints: where the team wants to be told, of what, and by which secrets what is told is signed (N1).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::notice::Kind;
use metergate_rules::time::{SECOND, Time};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::change::OptionalReasonBody;
use super::decision::json as json_answer;
use super::error::ApiError;
use super::json;
use super::operation::Operation;
use super::page::{PageQuery, Paged, bad_cursor};
use super::path::Path;
use super::query::Query;
use super::state::{App, Operator};
use super::team::{answer, nothing};
use crate::catalogue::change::{EndpointChange, EndpointCommand, NewEndpoint, TeamAfter, TeamCommand, TeamReply};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId, EndpointState};
use crate::outbox::address::Target;
use crate::store::Answer;
use crate::store::outbox::Health;

pub mod deliveries;

/// The longest description in bytes.
const MOST_DESCRIPTION: usize = 255;
/// How long an endpoint's host is looked for while somebody waits who writes it down.
const LOOKS: Duration = Duration::from_secs(3);
/// For how long the secret before the newest is in force unless somebody says otherwise, and at most, in seconds.
const ROTATION: i64 = 24 * 60 * 60;
const LONGEST_ROTATION: i64 = 7 * ROTATION;

/// A new webhook endpoint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewEndpointBody {
    /// Where it is: https, and a host with global addresses.
    #[schema(example = "https://example.com/webhooks")]
    pub url: String,
    /// Of what it is told, such as `usage.threshold`; of everything where there is none.
    #[serde(default)]
    pub types: Vec<String>,
    /// What the team calls it.
    #[serde(default)]
    pub description: String,
}

/// What of a webhook endpoint changes: what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointChangeBody {
    /// Where it is.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false)]
    pub url: Option<String>,
    /// Of what it is told; `[]` for everything.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = Vec<String>, required = false)]
    pub types: Option<Vec<String>>,
    /// What the team calls it.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String, required = false)]
    pub description: Option<String>,
    /// Whether it is told anything. What waits for a disabled one is sent if it is enabled within a day.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool, required = false)]
    pub enabled: Option<bool>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// How long the secret before goes on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateSecretBody {
    /// For so many seconds messages are signed by both, 0 to 604,800; 86,400 without it.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 604_800)]
    pub old_ends_in_seconds: Option<i64>,
}

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointBody {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// Of what it is told; of everything where there is none.
    pub types: Vec<String>,
    /// What the team calls it.
    pub description: String,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Why not: `operator`, `gone` (it answered 410) or `failing` (for days it took nothing).
    pub disabled_reason: Option<&'static str>,
    /// Since when not.
    pub disabled_at: Option<String>,
    /// The secret by which messages are signed: when it is made, and where `secret=true` asks for it. `null` where a request that
    /// made it is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub secret: Option<Option<String>>,
    /// The secret before it, where that still signs, too: where `secret=true` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_secret: Option<String>,
    /// Until when messages are signed by the secret before the newest, too.
    pub old_secret_ends_at: Option<String>,
    /// When something was sent to it last.
    pub last_attempt_at: Option<String>,
    /// When it last took something.
    pub last_delivered_at: Option<String>,
    /// Since when it has taken nothing; `null` where it took the last.
    pub failing_since: Option<String>,
    /// Until when it is left alone since it could not keep up: it answered 429, 502 or 504. Tests and what is sent again go out all
    /// the same. `null` where it is not.
    pub rests_until: Option<String>,
    /// When it was made.
    pub created_at: String,
}

/// Of what of an endpoint's secrets is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// Nothing.
    Nothing,
    /// That there is one which was shown already.
    Shown,
    /// The newest.
    Newest,
    /// All that are in force.
    All,
}

impl EndpointBody {
    /// An endpoint as it stands in a copy of everything, which does not say how it fares.
    pub(super) fn without_secret(entry: &EndpointEntry, now: Time) -> Self {
        Self::of(entry, Health::default(), Shows::Nothing, now)
    }

    fn of(entry: &EndpointEntry, health: Health, shows: Shows, now: Time) -> Self {
        let (disabled_reason, disabled_at) = match entry.state {
            EndpointState::Enabled => (None, None),
            EndpointState::Disabled { since, why } => (Some(why.as_str()), Some(since.to_string())),
        };
        let older = entry.secrets.older(now);
        Self {
            id: entry.id.to_string(),
            url: entry.url.clone(),
            types: entry.types.clone(),
            description: entry.description.clone(),
            enabled: entry.is_enabled(),
            disabled_reason,
            disabled_at,
            secret: match shows {
                Shows::Nothing => None,
                Shows::Shown => Some(None),
                Shows::Newest | Shows::All => Some(Some(entry.secrets.newest.shown())),
            },
            old_secret: older.filter(|_| shows == Shows::All).map(|(secret, _)| secret.shown()),
            old_secret_ends_at: older.map(|(_, end)| end.to_string()),
            last_attempt_at: health.last_at.map(|at| at.to_string()),
            last_delivered_at: health.delivered_at.map(|at| at.to_string()),
            failing_since: health.failing_at.map(|at| at.to_string()),
            rests_until: health.rests_until.filter(|until| *until > now).map(|until| until.to_string()),
            created_at: entry.created_at.to_string(),
        }
    }
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown-endpoint", "There is no such webhook endpoint.")
}

/// How endpoints fare.
async fn health(app: &App) -> Result<BTreeMap<EndpointId, Health>, ApiError> {
    app.read(|view| Ok(view.rows().endpoint_health()?)).await
}

async fn health_of(app: &App, id: &str) -> Result<Health, ApiError> {
    Ok(health(app).await?.get(id).copied().unwrap_or_default())
}

/// Answers with the endpoint, with its secret where that was made now.
fn endpoint_answer(
    status: u16,
    health: Health,
    app: &App,
    makes_secret: bool,
) -> impl Fn(&TeamAfter<'_>) -> Answer + Send + Sync + use<> {
    let app = app.clone();
    move |after| {
        let TeamReply::Endpoint(id, is_new) = after.reply else { return nothing(after) };
        let shows = match (makes_secret, is_new) {
            (false, _) => Shows::Nothing,
            (true, true) => Shows::Newest,
            (true, false) => Shows::Shown,
        };
        let entry = after.snapshot.stored.endpoints.get(id);
        answer(status, &entry.map(|entry| EndpointBody::of(entry, health, shows, app.now())), None)
    }
}

/// An address at which an endpoint can be, looked up once so that whoever writes one down that leads to a private network hears
/// of it at once.
async fn checked_url(app: &App, text: String) -> Result<String, ApiError> {
    let invalid = |why: &dyn std::fmt::Display| ApiError::invalid("#/url", format!("{why}."));
    let guard = app.shared.webhooks.clone();
    let target = Target::read(&text, &guard).map_err(|error| invalid(&error))?;
    let looked = tokio::task::spawn_blocking(move || target.look_up(&guard, LOOKS)).await;
    looked.map_err(ApiError::internal)?.map_err(|error| invalid(&error))?;
    Ok(text)
}

fn checked_types(mut types: Vec<String>) -> Result<Vec<String>, ApiError> {
    for (i, kind) in types.iter().enumerate() {
        if !Kind::ALL.iter().any(|known| known.as_str() == kind) {
            let known = Kind::ALL.map(Kind::as_str).join(", ");
            return Err(ApiError::invalid(format!("#/types/{i}"), format!("There is no such type; known: {known}.")));
        }
    }
    types.sort_unstable();
    types.dedup();
    Ok(types)
}

fn checked_description(text: String) -> Result<String, ApiError> {
    if text.len() > MOST_DESCRIPTION || text.chars().any(char::is_control) {
        let detail = format!("Send at most {MOST_DESCRIPTION} bytes without control characters.");
        return Err(ApiError::invalid("#/description", detail));
    }
    Ok(text)
}

/// Makes a webhook endpoint. The answer shows its secret, by which a receiver verifies that a message is ours.
#[utoipa::path(post, operation_id = "create_webhook_endpoint", path = "/v1/webhook-endpoints", tag = "webhooks", request_body = NewEndpointBody,
    responses((status = 201, body = EndpointBody), (status = 409, description = "There are as many as there may be"), (status = 422, description = "Not valid, or the address leads to a network that is not global")))]
pub async fn create(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let NewEndpointBody { url, types, description } = operation.json()?;
    let (types, description) = (checked_types(types)?, checked_description(description)?);
    let url = checked_url(&operation.app, url).await?;
    let command = TeamCommand::Endpoint(EndpointCommand::Create(NewEndpoint { url, types, description }));
    let respond = endpoint_answer(201, Health::default(), &operation.app, true);
    operation.change_team("POST /v1/webhook-endpoints", &[&operation.body], command, respond).await
}

/// All webhook endpoints, and how they fare.
#[utoipa::path(get, operation_id = "list_webhook_endpoints", path = "/v1/webhook-endpoints", tag = "webhooks", params(PageQuery), responses((status = 200, body = Paged<EndpointBody>)))]
pub async fn list(
    State(app): State<App>,
    _operator: Operator,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Result<Response<Body>, ApiError> {
    let page = query.page()?;
    let after = match &page.after {
        Some(bytes) => std::str::from_utf8(bytes).map_err(|_| bad_cursor())?,
        None => "",
    };
    let (snapshot, health, now) = (app.snapshot(), health(&app).await?, app.now());
    let rest = snapshot.stored.endpoints.range::<str, _>((Bound::Excluded(after), Bound::Unbounded));
    let body = |(id, entry): (&EndpointId, &EndpointEntry)| {
        EndpointBody::of(entry, health.get(id).copied().unwrap_or_default(), Shows::Nothing, now)
    };
    let data = rest.map(body).take(page.limit + 1).collect();
    Ok(Paged::cut(data, &page, |body| body.id.clone().into_bytes()).response(&uri))
}

/// Whether secrets are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecretQuery {
    /// Whether the secrets in force are shown, too.
    secret: Option<bool>,
}

/// A webhook endpoint; with `secret=true` also the secrets by which what is sent to it is signed.
#[utoipa::path(get, operation_id = "get_webhook_endpoint", path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path), SecretQuery),
    responses((status = 200, body = EndpointBody), (status = 404, description = "Unknown")))]
pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    _operator: Operator,
    Query(query): Query<SecretQuery>,
) -> Result<Response<Body>, ApiError> {
    let snapshot = app.snapshot();
    let entry = snapshot.stored.endpoints.get(id.as_str()).ok_or_else(unknown)?;
    let shows = if query.secret == Some(true) { Shows::All } else { Shows::Nothing };
    let body = EndpointBody::of(entry, health_of(&app, &id).await?, shows, app.now());
    Ok(json_answer(StatusCode::OK, &body))
}

/// Changes a webhook endpoint, disables it or enables it again.
#[utoipa::path(patch, operation_id = "update_webhook_endpoint", path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = EndpointChangeBody,
    responses((status = 200, body = EndpointBody), (status = 404, description = "Unknown"), (status = 422, description = "Not valid")))]
pub async fn update(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: EndpointChangeBody = operation.json()?;
    let (app, id) = (&operation.app, &operation.named);
    let change = EndpointChange {
        types: asked.types.map(checked_types).transpose()?,
        description: asked.description.map(checked_description).transpose()?,
        url: match asked.url {
            Some(url) => Some(checked_url(app, url).await?),
            None => None,
        },
        enabled: asked.enabled,
    };
    // What is enabled again begins anew.
    let failing =
        |health: Health| if change.enabled == Some(true) { Health { failing_at: None, ..health } } else { health };
    let respond = endpoint_answer(200, failing(health_of(app, id).await?), app, false);
    let command = TeamCommand::Endpoint(EndpointCommand::Change(EndpointId::named(id), change));
    let parts = [id.as_bytes(), &operation.body[..]];
    let route = "PATCH /v1/webhook-endpoints/{id}";
    operation.change_team_because(asked.reason, route, &parts, command, respond).await
}

/// Deletes a webhook endpoint. What waits for it is not sent any more.
#[utoipa::path(delete, operation_id = "delete_webhook_endpoint", path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)), request_body = Option<OptionalReasonBody>,
    responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn delete(operation: Operation) -> Result<Response<Body>, ApiError> {
    let command = TeamCommand::Endpoint(EndpointCommand::Delete(EndpointId::named(&operation.named)));
    operation.delete_of_team("DELETE /v1/webhook-endpoints/{id}", command).await
}

/// Makes another secret, which the answer shows. For a day messages are signed by the one before it, too, so that receivers can
/// go over to the new one in their own time.
#[utoipa::path(post, operation_id = "rotate_webhook_secret", path = "/v1/webhook-endpoints/{id}/rotate-secret", tag = "webhooks", params(("id" = String, Path)), request_body = RotateSecretBody,
    responses((status = 200, body = EndpointBody), (status = 404, description = "Unknown"), (status = 409, description = "The secret before this one is still in force"), (status = 422, description = "Not valid")))]
pub async fn rotate(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (app, id) = (&operation.app, &operation.named);
    let RotateSecretBody { old_ends_in_seconds } = operation.json_or_default()?;
    let seconds = old_ends_in_seconds.unwrap_or(ROTATION);
    if !(0..=LONGEST_ROTATION).contains(&seconds) {
        let detail = format!("Send a whole number of seconds from 0 to {LONGEST_ROTATION}.");
        return Err(ApiError::invalid("#/oldEndsInSeconds", detail));
    }
    let respond = endpoint_answer(200, health_of(app, id).await?, app, true);
    let command = EndpointCommand::Rotate(EndpointId::named(id), seconds * SECOND);
    let parts = [id.as_bytes(), &operation.body[..]];
    let route = "POST /v1/webhook-endpoints/{id}/rotate-secret";
    operation.change_team(route, &parts, TeamCommand::Endpoint(command), respond).await
}
