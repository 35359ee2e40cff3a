//! API keys, import records, and what a caller may know about itself.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::role::Right;
use metergate_rules::time::DAY;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::{OptionalReasonBody, time};
use super::decision::json as json_answer;
use super::error::ApiError;
use super::operation::Operation;
use super::page::{Paged, SearchQuery};
use super::path::Path;
use super::people::{MembershipBody, UserBody, memberships};
use super::query::Query;
use super::state::{App, Operator};
use super::team::{answer, nothing};
use super::{cloudevents, consume, page};
use crate::catalogue::Snapshot;
use crate::catalogue::change::{ImportRecord, NewKey, TeamAfter, TeamCommand, TeamReply};
use crate::catalogue::endpoint::MOST_ENDPOINTS;
use crate::catalogue::key::{ApiKey, KeyScope};
use crate::live;
use crate::store::Answer;

pub mod own;

/// For how long a key goes on beside the one that takes its place, in microseconds.
const ROTATION: i64 = DAY;
/// The longest name of a key or an import in bytes.
const MOST_NAME: usize = 255;
/// The longest digest of an import in bytes.
const MOST_DIGEST: usize = 128;

/// A new API key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKeyBody {
    /// Its name for people and the audit log.
    pub name: String,
    /// What it may be used for: `ingest`, `consume`, `read`, `admin`.
    #[schema(value_type = Vec<String>, example = json!(["read"]))]
    pub scopes: Vec<KeyScope>,
    /// The only organization that it reaches, by id or key.
    pub organization: Option<String>,
    /// From when it is refused.
    pub expires_at: Option<String>,
}

/// An API key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyBody {
    /// The part of the key that is no secret.
    pub id: String,
    /// The whole key: shown once, when it is made. `null` where that request is repeated; no list has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<Option<String>>,
    /// Its name.
    pub name: String,
    /// What it may be used for: `ingest`, `consume`, `read`, `admin`.
    #[schema(value_type = Vec<String>, example = json!(["read"]))]
    pub scopes: Vec<KeyScope>,
    /// The id of the only organization that it reaches.
    pub organization: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// Who made it, as the audit log names them; `null` for one from before this was noted.
    pub created_by: Option<String>,
    /// The id of the key in whose place it was made.
    pub replaces: Option<String>,
    /// From when it is refused.
    pub expires_at: Option<String>,
    /// Since when it is refused.
    pub revoked_at: Option<String>,
}

impl KeyBody {
    pub(super) fn of(entry: &ApiKey, secret: Option<Option<String>>) -> Self {
        Self {
            id: entry.id.clone(),
            key: secret,
            name: entry.name.clone(),
            scopes: entry.scopes.clone(),
            organization: entry.organization.map(|id| id.to_string()),
            created_at: entry.created_at.to_string(),
            created_by: entry.created_by.clone(),
            replaces: entry.replaces.clone(),
            expires_at: entry.expires_at.map(|at| at.to_string()),
            revoked_at: entry.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// Makes an API key. The answer shows it once.
#[utoipa::path(post, operation_id = "create_api_key", path = "/v1/api-keys", tag = "API keys", request_body = NewKeyBody,
    responses((status = 201, body = KeyBody), (status = 404, description = "Unknown organization"), (status = 422, description = "Not valid")))]
pub async fn create(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let new: NewKeyBody = operation.json()?;
    if new.organization.is_some() && new.scopes.contains(&KeyScope::Admin) {
        return Err(ApiError::invalid("#/scopes", "A key of one organization cannot have scope admin."));
    }
    let organization = new.organization.as_deref().map(str::parse).transpose();
    let key = new_key(new.name, new.scopes, new.expires_at.as_deref())?;
    let organization = organization.map_err(|_| ApiError::unknown_organization())?;
    let command = TeamCommand::CreateKey(NewKey { organization, ..key });
    operation.change_team("POST /v1/api-keys", &[&operation.body], command, key_answer).await
}

/// A key to be made, bound to no organization yet.
fn new_key(name: String, mut scopes: Vec<KeyScope>, expires_at: Option<&str>) -> Result<NewKey, ApiError> {
    if name.trim().is_empty() || name.len() > MOST_NAME || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("#/name", "Send 1 to 255 bytes without control characters."));
    }
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(ApiError::invalid("#/scopes", "Send at least one of ingest, consume, read and admin."));
    }
    let expires_at = expires_at.map(|text| time("#/expiresAt", text)).transpose()?;
    Ok(NewKey { name, scopes, organization: None, expires_at })
}

fn key_answer(after: &TeamAfter<'_>) -> Answer {
    let TeamReply::Key(id, secret) = after.reply else { return nothing(after) };
    let body = after.snapshot.stored.keys.get(id).map(|entry| KeyBody::of(entry, Some(secret.clone())));
    answer(201, &body, None)
}

/// All API keys, without their secrets.
#[utoipa::path(get, operation_id = "list_api_keys", path = "/v1/api-keys", tag = "API keys", params(SearchQuery), responses((status = 200, body = Paged<KeyBody>)))]
pub async fn list(
    State(app): State<App>,
    _operator: Operator,
    uri: Uri,
    Query(query): Query<SearchQuery>,
) -> Result<Response<Body>, ApiError> {
    listed(&app.snapshot(), &uri, &query, |_| true)
}

fn listed(
    snapshot: &Snapshot,
    uri: &Uri,
    query: &SearchQuery,
    is_shown: impl Fn(&ApiKey) -> bool,
) -> Result<Response<Body>, ApiError> {
    let page = query.page()?;
    let after = match &page.after {
        Some(bytes) => std::str::from_utf8(bytes).map_err(|_| page::bad_cursor())?,
        None => "",
    };
    let rest = snapshot.stored.keys.range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
    let finds = query.finder();
    let shown = rest.filter(|(_, entry)| is_shown(entry) && finds(&[&entry.name, &entry.id]));
    let data = shown.map(|(_, entry)| KeyBody::of(entry, None)).take(page.limit + 1).collect();
    Ok(Paged::cut(data, &page, |body| body.id.clone().into_bytes()).response(uri))
}

/// Ends an API key, at once.
#[utoipa::path(delete, operation_id = "revoke_api_key", path = "/v1/api-keys/{id}", tag = "API keys", params(("id" = String, Path)), request_body = Option<OptionalReasonBody>,
    responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn revoke(operation: Operation) -> Result<Response<Body>, ApiError> {
    let command = TeamCommand::RevokeKey(operation.named.clone());
    operation.delete_of_team("DELETE /v1/api-keys/{id}", command).await
}

/// Nothing has to be said about a rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateBody {}

/// Makes a key in place of this one, which goes on for 24 hours. Until it has ended or is revoked, neither can be rotated.
#[utoipa::path(post, operation_id = "rotate_api_key", path = "/v1/api-keys/{id}/rotate", tag = "API keys", params(("id" = String, Path)),
    responses((status = 201, body = KeyBody), (status = 404, description = "Unknown or ended"), (status = 409, description = "It was rotated already, or the key whose place it took still works")))]
pub async fn rotate(operation: Operation) -> Result<Response<Body>, ApiError> {
    let id = &operation.named;
    operation.json_or_default::<RotateBody>()?;
    let command = TeamCommand::RotateKey(id.clone(), operation.app.now().plus(ROTATION));
    operation.change_team("POST /v1/api-keys/{id}/rotate", &[id.as_bytes()], command, key_answer).await
}

/// How far a file has been imported.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportChange {
    /// Rows that are recorded.
    pub rows_done: u64,
    /// The digest of those rows.
    pub digest: String,
}

/// The record of an import.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportBody {
    /// The import's name.
    pub source: String,
    /// Rows that are recorded.
    pub rows_done: u64,
    /// The digest of those rows.
    pub digest: String,
}

impl From<&ImportRecord> for ImportBody {
    fn from(record: &ImportRecord) -> Self {
        let ImportRecord { source, rows_done, digest } = record.clone();
        Self { source, rows_done, digest }
    }
}

/// How far a file has been imported.
#[utoipa::path(get, path = "/v1/imports/{source}", tag = "events", params(("source" = String, Path)),
    responses((status = 200, body = ImportBody), (status = 404, description = "Nothing was imported under this name")))]
pub async fn get_import(
    State(app): State<App>,
    Path(source): Path<String>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let source = own_name(&credential, source)?;
    let record = app.read(move |view| Ok(view.rows().import(&source)?)).await?;
    let record = record.ok_or_else(ApiError::not_found)?;
    Ok(json_answer(StatusCode::OK, &ImportBody::from(&record)))
}

/// Notes how far a file has been imported.
#[utoipa::path(put, path = "/v1/imports/{source}", tag = "events", params(("source" = String, Path)), request_body = ImportChange,
    responses((status = 200, body = ImportBody)))]
pub async fn put_import(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let asked: ImportChange = operation.json()?;
    if i64::try_from(asked.rows_done).is_err() {
        return Err(ApiError::invalid("#/rowsDone", format!("Send at most {}.", i64::MAX)));
    } else if asked.digest.len() > MOST_DIGEST {
        return Err(ApiError::invalid("#/digest", format!("Send at most {MOST_DIGEST} bytes.")));
    }
    let source = own_name(&operation.by, operation.named.clone())?;
    let receipt = operation.receipt("PUT /v1/imports/{source}", &[source.as_bytes(), &operation.body])?;
    let record = ImportRecord { source, rows_done: asked.rows_done, digest: asked.digest };
    let request = crate::catalogue::change::TeamRequest {
        actor: operation.by.may(Right::Record)?.actor,
        reason: String::new(),
        receipt,
        command: TeamCommand::PutImport(record),
        only_if_version: None,
        respond: std::sync::Arc::new(|after| match after.reply {
            TeamReply::Import(record) => answer(200, &ImportBody::from(record), None),
            _ => nothing(after),
        }),
    };
    let (answer, replayed) = operation.app.change_team(request).await?;
    Ok(super::change::written(answer, replayed))
}

/// An import's name; a credential of one organization has names of its own.
fn own_name(credential: &Credential, source: String) -> Result<String, ApiError> {
    credential.may(Right::Record)?;
    if source.is_empty() || source.len() > MOST_NAME {
        return Err(ApiError::invalid("{source}", "Send 1 to 255 bytes."));
    }
    Ok(match credential.organization() {
        Some(metergate_rules::id::OrganizationRef::Id(id)) => format!("{id}/{source}"),
        _ => source,
    })
}

/// The caps of this server.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapsBody {
    /// The largest request body in bytes.
    pub body_bytes: usize,
    /// Events in one body at most.
    pub events: usize,
    /// The largest event in bytes.
    pub event_bytes: usize,
    /// Decisions in one array at most.
    pub decisions: usize,
    /// Meters in one decision together at most.
    pub together: usize,
    /// Entries in one page at most.
    pub page: usize,
    /// Requests a second of one key at most; `null` without a bound.
    pub requests_per_second: Option<u32>,
    /// More than so many sets of dimension values a day, organization and meter are reported as `other`.
    pub dimension_sets: usize,
    /// Streams of events open at a time at most.
    pub event_streams: usize,
    /// The same of one credential.
    pub event_streams_per_credential: usize,
    /// Webhook endpoints at most.
    pub webhook_endpoints: usize,
}

/// The caps of this server.
#[utoipa::path(get, operation_id = "get_limits", path = "/v1/limits", tag = "server", responses((status = 200, body = CapsBody)))]
pub async fn caps(State(app): State<App>, _credential: Credential) -> Response<Body> {
    let body = CapsBody {
        body_bytes: app.shared.max_body_bytes,
        events: cloudevents::MAX_EVENTS,
        event_bytes: cloudevents::MAX_EVENT_BYTES,
        decisions: consume::MOST_ITEMS,
        together: consume::MOST_TOGETHER,
        page: page::MAX_LIMIT,
        requests_per_second: app.shared.key_rate_per_second,
        dimension_sets: 1000,
        event_streams: live::MOST_OF_ALL,
        event_streams_per_credential: live::MOST_OF_ONE,
        webhook_endpoints: MOST_ENDPOINTS,
    };
    json_answer(StatusCode::OK, &body)
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeBody {
    /// The name of the key, or of the user.
    pub name: String,
    /// The id of the key; `null` for the administrator's.
    pub key_id: Option<String>,
    /// What it may be used for.
    pub scopes: Vec<&'static str>,
    /// The id of the only organization that it reaches.
    pub organization: Option<String>,
    /// Whether it may do what operators do.
    pub operator: bool,
    /// The user who is signed in; `null` for a key.
    pub user: Option<UserBody>,
    /// Where that user is an active member.
    pub organizations: Vec<MembershipBody>,
}

/// Who the caller is, with which rights.
#[utoipa::path(get, operation_id = "get_me", path = "/v1/me", tag = "server", responses((status = 200, body = MeBody)))]
pub async fn me(State(app): State<App>, credential: Credential) -> Result<Response<Body>, ApiError> {
    let organization = credential.organization().map(|organization| match organization {
        metergate_rules::id::OrganizationRef::Id(id) => id.to_string(),
        metergate_rules::id::OrganizationRef::Key(key) => key.to_string(),
    });
    let body = MeBody {
        name: credential.name.to_string(),
        key_id: credential.key_id.as_deref().map(str::to_owned),
        scopes: credential.scope_names(),
        organization,
        operator: credential.is_operator(),
        user: credential.user().map(|user| UserBody::of(user, &app.shared.store.people())),
        organizations: match credential.user() {
            Some(user) => memberships(&app, user.id).await?,
            None => Vec::new(),
        },
    };
    Ok(json_answer(StatusCode::OK, &body))
}
