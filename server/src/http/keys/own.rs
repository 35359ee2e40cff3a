//! The keys that are bound to one organization, for its own admins: the team made them there, or they did.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use metergate_rules::id::OrganizationRef;
use metergate_rules::role::Right;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{KeyBody, ROTATION, RotateBody, key_answer, listed, new_key};
use crate::catalogue::change::{TeamAfter, TeamCommand};
use crate::catalogue::key::KeyScope;
use crate::http::auth::Credential;
use crate::http::change::OptionalReasonBody;
use crate::http::error::ApiError;
use crate::http::operation::{OfOrganization, Operation};
use crate::http::page::{Paged, SearchQuery};
use crate::http::path::Path;
use crate::http::people::members::admitted;
use crate::http::query::Query;
use crate::http::reports::organization;
use crate::http::state::App;
use crate::http::team::{Change, nothing};
use crate::store::{Answer, Caller};

/// A new API key of an organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOwnKeyBody {
    /// Its name for people and the audit log.
    pub name: String,
    /// What it may be used for: `ingest`, `consume`, `read`.
    #[schema(value_type = Vec<String>, example = json!(["read"]))]
    pub scopes: Vec<KeyScope>,
    /// From when it is refused.
    pub expires_at: Option<String>,
}

/// The API keys that are bound to an organization, without their secrets.
#[utoipa::path(get, operation_id = "list_own_api_keys", path = "/v1/organizations/{org}/api-keys", tag = "API keys",
    params(("org" = String, Path, description = "Id or key"), SearchQuery), responses((status = 200, body = Paged<KeyBody>), (status = 404, description = "Unknown")))]
pub async fn list(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
    Query(query): Query<SearchQuery>,
) -> Result<Response<Body>, ApiError> {
    let own = admitted(&app, &credential, Right::ReadKeys, &org).await?;
    listed(&app.snapshot(), &uri, &query, |key| key.organization == Some(own))
}

/// Makes an API key that is bound to the organization. The answer shows it once. It stays when its maker goes.
#[utoipa::path(post, operation_id = "create_own_api_key", path = "/v1/organizations/{org}/api-keys", tag = "API keys", request_body = NewOwnKeyBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = KeyBody), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "Too many keys"), (status = 422, description = "Not valid")))]
pub async fn create(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let call = Call::admitted(&operation).await?;
    let new: NewOwnKeyBody = operation.json()?;
    if new.scopes.contains(&KeyScope::Admin) {
        return Err(ApiError::invalid("#/scopes", "A key of one organization cannot have scope admin."));
    }
    let command = TeamCommand::CreateKey(new_key(new.name, new.scopes, new.expires_at.as_deref())?);
    let route = "POST /v1/organizations/{org}/api-keys";
    call.run(route, &[&operation.body], command, key_answer).await
}

/// Ends an API key that is bound to the organization, at once.
#[utoipa::path(delete, operation_id = "revoke_own_api_key", path = "/v1/organizations/{org}/api-keys/{id}", tag = "API keys",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path)), request_body = Option<OptionalReasonBody>,
    responses((status = 204), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown")))]
pub async fn revoke(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (call, id) = (Call::admitted(&operation).await?, &operation.named.1);
    let (route, reason) = ("DELETE /v1/organizations/{org}/api-keys/{id}", operation.reason_if_any()?);
    let parts = [id.as_bytes(), &operation.body[..]];
    call.because(reason).run(route, &parts, TeamCommand::RevokeKey(id.clone()), nothing).await
}

/// Makes a key in place of this one, which goes on for 24 hours. Until it has ended or is revoked, neither can be rotated.
#[utoipa::path(post, operation_id = "rotate_own_api_key", path = "/v1/organizations/{org}/api-keys/{id}/rotate", tag = "API keys",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path)),
    responses((status = 201, body = KeyBody), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown or ended"), (status = 409, description = "It was rotated already, the key whose place it took still works, or there are too many keys")))]
pub async fn rotate(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (call, id) = (Call::admitted(&operation).await?, &operation.named.1);
    operation.json_or_default::<RotateBody>()?;
    let command = TeamCommand::RotateKey(id.clone(), operation.app.now().plus(ROTATION));
    call.run("POST /v1/organizations/{org}/api-keys/{id}/rotate", &[id.as_bytes()], command, key_answer).await
}

/// A change of an organization's keys, by somebody who may.
struct Call<'a, Named> {
    operation: &'a Operation<Credential, Named>,
    caller: Caller,
    reason: String,
    organization: OrganizationRef,
}

impl<'a, Named: OfOrganization> Call<'a, Named> {
    async fn admitted(operation: &'a Operation<Credential, Named>) -> Result<Self, ApiError> {
        let caller = operation.admit(Right::Administer).await?;
        let organization = organization(operation.named.organization())?;
        Ok(Self { operation, caller, reason: String::new(), organization })
    }

    fn because(self, reason: String) -> Self {
        Self { reason, ..self }
    }

    async fn run(
        self,
        route: &'static str,
        parts: &[&[u8]],
        command: TeamCommand,
        respond: impl Fn(&TeamAfter<'_>) -> Answer + Send + Sync + 'static,
    ) -> Result<Response<Body>, ApiError> {
        let command = TeamCommand::OfOrganization(self.caller.scope, self.organization, Box::new(command));
        let change = Change { app: &self.operation.app, headers: &self.operation.headers, route, parts };
        change.run_as(self.caller.actor, self.reason, command, respond).await
    }
}
