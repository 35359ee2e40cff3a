//! Members of an organization.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use metergate_rules::id::{OrganizationId, OrganizationRef};
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invitations::{InvitationBody, invited};
use super::{RoleName, email, link};
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::change::written;
use crate::http::decision::json as json_answer;
use crate::http::error::ApiError;
use crate::http::page::{PageQuery, Paged, bad_cursor};
use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::reports::{organization, report_to};
use crate::http::state::App;
use crate::http::team::answer;
use crate::http::{idempotency, json};
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond};
use crate::people::{Member, User, UserId, token};
use crate::report::Timestamp;
use crate::store::Answer;

/// A new member.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMemberBody {
    /// The address by which they sign in.
    pub email: String,
    /// What they may do.
    pub role: RoleName,
}

/// What of a member changes; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberChangeBody {
    /// What they may do from now on.
    pub role: Option<RoleName>,
    /// Whether they may do it.
    pub active: Option<bool>,
}

/// A member.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberBody {
    /// The id of the user.
    pub id: String,
    /// The address by which they sign in.
    pub email: String,
    /// Their name.
    pub name: String,
    /// `viewer`, `editor`, `admin` or `owner`.
    pub role: &'static str,
    /// Whether they may do it now.
    pub active: bool,
    /// Since when they are a member.
    pub created_at: Timestamp,
}

impl MemberBody {
    fn of(member: &Member, user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.to_string(),
            name: user.name.clone(),
            role: member.role.as_str(),
            active: member.is_active,
            created_at: Timestamp(member.created_at),
        }
    }
}

/// Answers with a member.
fn member_answer(status: u16, after: &PeopleAfter<'_>) -> Answer {
    let found = match (after.reply, after.account) {
        (PeopleReply::User(id, _), Some(account)) => after.people.member(account.id, *id).zip(after.people.user(*id)),
        _ => None,
    };
    answer(status, &found.map(|(member, user)| MemberBody::of(member, user)), None)
}

/// The organization's id, for a caller who has a right there.
pub(crate) async fn admitted(
    app: &App,
    credential: &Credential,
    right: Right,
    org: &str,
) -> Result<OrganizationId, ApiError> {
    let caller = app.admit(credential, right, org).await?;
    let (org, scope) = (organization(org)?, caller.scope);
    report_to(app, scope, false, move |report| Ok(report.view.account(report.scope, &org)?.id)).await
}

/// The members of an organization.
#[utoipa::path(get, operation_id = "list_members", path = "/v1/organizations/{org}/members", tag = "people",
    params(("org" = String, Path, description = "Id or key"), PageQuery), responses((status = 200, body = Paged<MemberBody>), (status = 404, description = "Unknown")))]
pub async fn list(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Result<Response<Body>, ApiError> {
    let organization = admitted(&app, &credential, Right::ReadMembers, &org).await?;
    let (people, page) = (app.shared.store.people(), query.page()?);
    let after =
        page.after.as_deref().map(|bytes| bytes.try_into().map(UserId).map_err(|_| bad_cursor())).transpose()?;
    let rest = people.members_after(organization, after).take(page.limit + 1);
    let data = rest.map(|(member, user)| MemberBody::of(member, user)).collect();
    let key = |body: &MemberBody| UserId::parse(&body.id).map_or_else(Vec::new, |id| id.0.to_vec());
    Ok(Paged::cut(data, &page, key).response(&uri))
}

/// A member.
#[utoipa::path(get, operation_id = "get_member", path = "/v1/organizations/{org}/members/{id}", tag = "people",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id")),
    responses((status = 200, body = MemberBody), (status = 404, description = "Unknown")))]
pub async fn get(
    State(app): State<App>,
    Path((org, id)): Path<(String, String)>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let organization = admitted(&app, &credential, Right::ReadMembers, &org).await?;
    let (people, user) = (app.shared.store.people(), user_id(&id)?);
    let found = people.member(organization, user).zip(people.user(user)).ok_or_else(ApiError::not_found)?;
    Ok(json_answer(StatusCode::OK, &MemberBody::of(found.0, found.1)))
}

/// Makes a user a member whose address is known to be theirs. Anybody else is invited instead: the link in the answer is for
/// them to accept, within 7 days.
#[utoipa::path(post, operation_id = "add_member", path = "/v1/organizations/{org}/members", tag = "people", request_body = NewMemberBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = MemberBody), (status = 202, body = InvitationBody, description = "They are invited: who has the address is not known"),
        (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "They are a member already")))]
pub async fn add(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let call = Call::admitted(&app, &credential, &org, &headers).await?;
    let asked: NewMemberBody = json::parse(&body)?;
    let (token, hash) = token::generate();
    let url = link(&app, "/join", &token)?;
    let command = PeopleCommand::AddMember(call.organization.clone(), email(&asked.email)?, asked.role.into(), hash);
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| match after.reply {
        PeopleReply::Link(_) => invited(202, after, &token, &url),
        _ => member_answer(201, after),
    });
    call.run("POST /v1/organizations/{org}/members", &[&body], command, respond).await
}

/// Changes what a member may do, at once.
#[utoipa::path(patch, operation_id = "update_member", path = "/v1/organizations/{org}/members/{id}", tag = "people", request_body = MemberChangeBody,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id")),
    responses((status = 200, body = MemberBody), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "The last owner")))]
pub async fn update(
    State(app): State<App>,
    Path((org, id)): Path<(String, String)>,
    credential: Credential,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    let call = Call::admitted(&app, &credential, &org, &headers).await?;
    let asked: MemberChangeBody = json::parse(&body)?;
    let (user, role) = (user_id(&id)?, asked.role.map(Into::into));
    let command = PeopleCommand::ChangeMember(call.organization.clone(), user, role, asked.active);
    let respond: PeopleRespond = Arc::new(|after: &PeopleAfter<'_>| member_answer(200, after));
    let route = "PATCH /v1/organizations/{org}/members/{id}";
    call.run(route, &[id.as_bytes(), &body], command, respond).await
}

/// Ends a membership, at once.
#[utoipa::path(delete, operation_id = "remove_member", path = "/v1/organizations/{org}/members/{id}", tag = "people",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id")),
    responses((status = 204), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "The last owner")))]
pub async fn remove(
    State(app): State<App>,
    Path((org, id)): Path<(String, String)>,
    credential: Credential,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let call = Call::admitted(&app, &credential, &org, &headers).await?;
    let command = PeopleCommand::RemoveMember(call.organization.clone(), user_id(&id)?);
    let nothing: PeopleRespond = Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None });
    call.run("DELETE /v1/organizations/{org}/members/{id}", &[id.as_bytes()], command, nothing).await
}

/// A change of an organization's people, by somebody who may.
pub(super) struct Call<'a> {
    app: &'a App,
    caller: crate::store::Caller,
    headers: &'a HeaderMap,
    pub(super) organization: OrganizationRef,
}

impl<'a> Call<'a> {
    pub(super) async fn admitted(
        app: &'a App,
        credential: &Credential,
        org: &str,
        headers: &'a HeaderMap,
    ) -> Result<Self, ApiError> {
        Self::with(app, credential, Right::Administer, org, headers).await
    }

    pub(super) async fn with(
        app: &'a App,
        credential: &Credential,
        right: Right,
        org: &str,
        headers: &'a HeaderMap,
    ) -> Result<Self, ApiError> {
        let caller = app.admit(credential, right, org).await?;
        Ok(Self { app, caller, headers, organization: organization(org)? })
    }

    pub(super) async fn run(
        self,
        route: &'static str,
        parts: &[&[u8]],
        command: PeopleCommand,
        respond: PeopleRespond,
    ) -> Result<Response<Body>, ApiError> {
        let receipt = idempotency::receipt(self.headers, route, parts)?;
        let request = PeopleRequest { caller: self.caller, receipt, command, respond };
        let (answer, replayed) = self.app.change_people(request).await?;
        Ok(written(answer, replayed))
    }
}

pub(super) fn user_id(text: &str) -> Result<UserId, ApiError> {
    UserId::parse(text).ok_or_else(ApiError::not_found)
}
