//! Members of an organization.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::id::OrganizationId;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invitations::{InvitationBody, invited};
use super::{RoleName, email, invitation, link};
use crate::http::auth::Credential;
use crate::http::change::OptionalReasonBody;
use crate::http::decision::json as json_answer;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::operation::Operation;
use crate::http::page::{Paged, SearchQuery, bad_cursor};
use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::reports::{organization, report_to};
use crate::http::state::App;
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRespond};
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
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = RoleName)]
    pub role: Option<RoleName>,
    /// Whether they may do it.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
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

/// The members of an organization, in the order of their ids.
#[utoipa::path(get, operation_id = "list_members", path = "/v1/organizations/{org}/members", tag = "people",
    params(("org" = String, Path, description = "Id or key"), SearchQuery), responses((status = 200, body = Paged<MemberBody>), (status = 404, description = "Unknown")))]
pub async fn list(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
    uri: Uri,
    Query(query): Query<SearchQuery>,
) -> Result<Response<Body>, ApiError> {
    let organization = admitted(&app, &credential, Right::ReadMembers, &org).await?;
    let (people, page) = (app.shared.store.people(), query.page()?);
    let after =
        page.after.as_deref().map(|bytes| bytes.try_into().map(UserId).map_err(|_| bad_cursor())).transpose()?;
    let finds = query.finder();
    let rest = people.members_after(organization, after).filter(|(_, user)| finds(&[&user.name, user.email.as_str()]));
    let data = rest.take(page.limit + 1).map(|(member, user)| MemberBody::of(member, user)).collect();
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
        (status = 403, description = "The role does not suffice, the organization is locked, or mail is sent and the member's own address is not known to be theirs"),
        (status = 404, description = "Unknown"), (status = 409, description = "They are a member already, or as many are invited as may be"), (status = 429, description = "Too many invitations of late")))]
pub async fn add(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Administer).await?;
    let asked: NewMemberBody = operation.json()?;
    let (token, hash) = token::generate();
    let url = link(&operation.app, "/join", &token)?;
    let to = email(&asked.email)?;
    invitation(&operation.app, &caller, &to)?;
    let command = PeopleCommand::AddMember(operation.organization()?, to, asked.role.into(), hash);
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| match after.reply {
        PeopleReply::Link(_) => invited(202, after, &token, &url),
        _ => member_answer(201, after),
    });
    let route = "POST /v1/organizations/{org}/members";
    operation.change_people(caller, route, &[&operation.body], command, respond).await
}

/// Changes what a member may do, at once.
#[utoipa::path(patch, operation_id = "update_member", path = "/v1/organizations/{org}/members/{id}", tag = "people", request_body = MemberChangeBody,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id")),
    responses((status = 200, body = MemberBody), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "The last owner")))]
pub async fn update(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.admit(Right::Administer).await?, &operation.named.1);
    let asked: MemberChangeBody = operation.json()?;
    let (user, role) = (user_id(id)?, asked.role.map(Into::into));
    let command = PeopleCommand::ChangeMember(operation.organization()?, user, role, asked.active);
    let respond: PeopleRespond = Arc::new(|after: &PeopleAfter<'_>| member_answer(200, after));
    let route = "PATCH /v1/organizations/{org}/members/{id}";
    operation.change_people(caller, route, &[id.as_bytes(), &operation.body], command, respond).await
}

/// Ends a membership, at once.
#[utoipa::path(delete, operation_id = "remove_member", path = "/v1/organizations/{org}/members/{id}", tag = "people", request_body = Option<OptionalReasonBody>,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id")),
    responses((status = 204), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown"), (status = 409, description = "The last owner")))]
pub async fn remove(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.admit(Right::Administer).await?, &operation.named.1);
    let command = PeopleCommand::RemoveMember(operation.organization()?, user_id(id)?);
    operation.remove_people(caller, "DELETE /v1/organizations/{org}/members/{id}", id, command).await
}

pub(super) fn user_id(text: &str) -> Result<UserId, ApiError> {
    UserId::parse(text).ok_or_else(ApiError::not_found)
}
