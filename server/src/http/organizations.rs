//! Organizations: creating them, who they are, locks.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::header::{HeaderValue, LOCATION};
use metergate_rules::account::{LockCause, Profile};
use metergate_rules::command::{Command, NewOrganization, ProfileChange};
use metergate_rules::id::{OrganizationKey, OrganizationRef};
use metergate_rules::period::Zone;
use metergate_rules::role::Right;
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Credential;
use super::change::{OptionalReasonBody, ReasonBody, if_match, nothing, organization_answer, run, written};
use super::error::ApiError;
use super::json;
use super::operation::Operation;
use super::reports::organization;
use super::state::Operator;
use crate::catalogue::SIGN_UP_PLAN;
use crate::report::organization::OrganizationBody;
use crate::store::{Answer, ChangeRequest};

/// A new organization.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOrganizationBody {
    /// The key that the team chooses: 1 to 128 of `A-Z a-z 0-9 . _ : @ -`, not a UUID.
    pub key: String,
    /// Its name for people; the key without one.
    pub name: Option<String>,
    /// Its plan's key; `free` without one.
    pub plan: Option<String>,
    /// The IANA name of its time zone; `UTC` without one.
    pub time_zone: Option<String>,
    /// What the team keeps with it, a JSON object of at most 16 KiB.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Whether it is a test organization, for good.
    #[serde(default)]
    pub test: bool,
}

/// What of an organization changes; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrganizationChangeBody {
    /// A new key.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String)]
    pub key: Option<String>,
    /// A new name.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String)]
    pub name: Option<String>,
    /// A new time zone: day and month counters are carried over.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = String)]
    pub time_zone: Option<String>,
    /// New metadata in place of the old; `null` takes it away.
    #[serde(default, deserialize_with = "json::present")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
}

/// Creates an organization. Its trial and its first billing period begin now.
#[utoipa::path(post, operation_id = "create_organization", path = "/v1/organizations", tag = "organizations", request_body = NewOrganizationBody,
    responses((status = 201, body = OrganizationBody), (status = 409, description = "The key is taken"), (status = 422, description = "Not valid")))]
pub async fn create(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let new: NewOrganizationBody = operation.json()?;
    let key = organization_key(&new.key)?;
    let plan = new.plan.as_deref().unwrap_or(SIGN_UP_PLAN);
    let snapshot = operation.app.snapshot_with(|known| known.plan_entry(plan).is_some()).await;
    let plan = snapshot.plan_entry(plan).ok_or_else(ApiError::unknown_plan)?;
    let profile = Profile {
        key: key.clone(),
        name: name(new.name.as_deref().unwrap_or(&new.key))?,
        zone: zone(new.time_zone.as_deref().unwrap_or("UTC"))?,
        test: new.test,
        metadata: metadata(new.metadata.as_ref())?,
        created_at: operation.app.now(),
    };
    let request = ChangeRequest {
        receipt: operation.receipt("POST /v1/organizations", &[&operation.body])?,
        caller: operation.by.caller,
        organization: OrganizationRef::Key(key),
        reason: String::new(),
        command: Command::Create(NewOrganization { profile, plan: plan.id, first_used: None }),
        only_if_changes: None,
        respond: organization_answer(201),
    };
    let mut response = run(&operation.app, request).await?;
    if let Ok(location) = HeaderValue::from_str(&format!("/v1/organizations/{}", new.key)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Changes who an organization is. Its own administrators change name and time zone.
#[utoipa::path(patch, operation_id = "update_organization", path = "/v1/organizations/{org}", tag = "organizations", request_body = OrganizationChangeBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown"), (status = 409, description = "The key is taken"), (status = 412, description = "Changed since")))]
pub async fn update(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Administer).await?;
    let change: OrganizationChangeBody = operation.json()?;
    if change.key.is_some() || change.metadata.is_some() {
        operation.by.may(Right::Operate)?;
    }
    let change = ProfileChange {
        key: change.key.as_deref().map(organization_key).transpose()?,
        name: change.name.as_deref().map(name).transpose()?,
        zone: change.time_zone.as_deref().map(zone).transpose()?,
        metadata: change.metadata.as_ref().map(|it| metadata(it.as_ref())).transpose()?,
    };
    operation
        .run_for(
            caller,
            "PATCH /v1/organizations/{org}",
            Command::Update(change),
            String::new(),
            organization_answer(200),
        )
        .await
}

/// Deletes an organization with everything of it, for good. Its key is free again. Who was in no other organization is gone
/// too. Its audit log still verifies, and says `redacted`.
#[utoipa::path(delete, operation_id = "delete_organization", path = "/v1/organizations/{org}", tag = "organizations", request_body = Option<OptionalReasonBody>,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 204), (status = 404, description = "Unknown"), (status = 412, description = "Changed since")))]
pub async fn delete(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Delete).await?;
    let reason = operation.reason_if_any()?;
    // Which organization is part of the request: the key's scope is the team, since nothing is left of the organization.
    let route = "DELETE /v1/organizations/{org}";
    let request = ChangeRequest {
        caller,
        organization: organization(&operation.named)?,
        reason,
        receipt: operation.receipt(route, &[operation.named.as_bytes(), &operation.body])?,
        command: Command::Delete,
        only_if_changes: if_match(&operation.headers)?,
        respond: Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None }),
    };
    let (answer, replayed) = operation.app.delete(request).await?;
    Ok(written(answer, replayed))
}

/// Stops consumption. Reading, and recording what has happened, go on.
#[utoipa::path(put, operation_id = "lock_organization", path = "/v1/organizations/{org}/lock", tag = "organizations", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 200, body = OrganizationBody), (status = 404, description = "Unknown")))]
pub async fn lock(operation: Operation) -> Result<Response<Body>, ApiError> {
    let reason = operation.reason()?;
    let command = Command::Lock { cause: LockCause::Operator, reason: Some(reason.clone()) };
    operation.run("PUT /v1/organizations/{org}/lock", command, reason, organization_answer(200)).await
}

/// Lifts every lock.
#[utoipa::path(delete, operation_id = "unlock_organization", path = "/v1/organizations/{org}/lock", tag = "organizations", request_body = ReasonBody,
    params(("org" = String, Path, description = "Id or key")), responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn unlock(operation: Operation) -> Result<Response<Body>, ApiError> {
    let reason = operation.reason()?;
    operation.run("DELETE /v1/organizations/{org}/lock", Command::Unlock, reason, nothing()).await
}

pub(super) fn organization_key(text: &str) -> Result<OrganizationKey, ApiError> {
    OrganizationKey::new(text).map_err(|error| ApiError::invalid("#/key", error.to_string()))
}

pub(super) fn name(text: &str) -> Result<String, ApiError> {
    if text.trim().is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(ApiError::invalid("#/name", "Send 1 to 255 bytes without control characters."));
    }
    Ok(text.to_owned())
}

fn zone(text: &str) -> Result<Zone, ApiError> {
    Zone::new(text).map_err(|error| ApiError::invalid("#/timeZone", error.to_string()))
}

fn metadata(object: Option<&serde_json::Map<String, serde_json::Value>>) -> Result<String, ApiError> {
    let text = object.map_or_else(|| Ok("{}".to_owned()), serde_json::to_string);
    match text {
        Ok(text) if text.len() <= 16 * 1024 => Ok(text),
        _ => Err(ApiError::invalid("#/metadata", "At most 16 KiB.")),
    }
}
