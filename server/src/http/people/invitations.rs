//! Invitations to an organization: a link for one address, which opens once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::admitted;
use super::sessions::{silent, spent};
use super::{MembershipBody, RoleName, email, invitation as invitation_of, link, memberships};
use crate::http::auth::Credential;
use crate::http::change::{OptionalReasonBody, written};
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::http::page::{Paged, SearchQuery, bad_cursor};
use crate::http::path::Path;
use crate::http::query::Query;
use crate::http::state::App;
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond};
use crate::people::token::{self, TokenHash, hash_of};
use crate::people::{InvitationId, Link, Opens, UserId};
use crate::report::Timestamp;
use crate::store::Answer;

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitationBody {
    /// Their address.
    pub email: String,
    /// What they will be able to do.
    pub role: RoleName,
}

/// An invitation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationBody {
    /// Its id.
    pub id: String,
    /// The address that it is for.
    pub email: String,
    /// What they will be able to do.
    pub role: &'static str,
    /// From when it opens nothing.
    pub expires_at: Timestamp,
    /// What accepts it, once; `null` where a request is repeated.
    pub token: Option<String>,
    /// The link to pass on; `null` where a request is repeated.
    pub url: Option<String>,
}

/// Nothing has to be said about sending it again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResendBody {}

/// An invitation that is open: neither accepted, withdrawn nor over.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenInvitationBody {
    /// Its id; the same after it is sent again.
    pub id: String,
    /// The address that it is for.
    pub email: String,
    /// What they will be able to do.
    pub role: &'static str,
    /// Who invited them, or did so again last, as the audit log names them.
    pub invited_by: String,
    /// When that was.
    pub invited_at: Timestamp,
    /// From when it opens nothing.
    pub expires_at: Timestamp,
}

impl OpenInvitationBody {
    fn of(link: &Link) -> Option<Self> {
        let Opens::Invitation { id, email, role, .. } = &link.opens else { return None };
        Some(Self {
            id: id.to_string(),
            email: email.to_string(),
            role: role.as_str(),
            invited_by: link.made_by.to_string(),
            invited_at: Timestamp(link.made_at),
            expires_at: Timestamp(link.expires_at),
        })
    }
}

/// The token of a link that is for the user who is signed in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptBody {
    /// As it stands in the link.
    pub token: String,
}

/// Invites somebody: the link in the answer is accepted once within 7 days, by who registers or is signed in with that
/// address. A further one takes its place.
#[utoipa::path(post, operation_id = "invite", path = "/v1/organizations/{org}/invitations", tag = "people", request_body = NewInvitationBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = InvitationBody), (status = 403, description = "The role does not suffice, the organization is locked, or mail is sent and the member's own address is not known to be theirs"),
        (status = 404, description = "Unknown"), (status = 409, description = "They are a member already, or as many are invited as may be"), (status = 429, description = "Too many invitations of late")))]
pub async fn create(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Administer).await?;
    let asked: NewInvitationBody = operation.json()?;
    let (token, hash) = token::generate();
    let url = link(&operation.app, "/join", &token)?;
    let to = email(&asked.email)?;
    invitation_of(&operation.app, &caller, &to)?;
    let command = PeopleCommand::Invite(operation.organization()?, to, asked.role.into(), hash);
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| invited(201, after, &token, &url));
    let route = "POST /v1/organizations/{org}/invitations";
    operation.change_people(caller, route, &[&operation.body], command, respond).await
}

/// Answers with an invitation, and with its token where it may be shown.
pub(super) fn invited(status: u16, after: &PeopleAfter<'_>, token: &str, url: &str) -> Answer {
    let secrets = after.shows_secrets.then(|| (token.to_owned(), url.to_owned())).unzip();
    let body = match after.reply {
        PeopleReply::Link(link) => invitation(link, secrets),
        _ => None,
    };
    answer(status, &body, None)
}

fn invitation(link: &Link, (token, url): (Option<String>, Option<String>)) -> Option<InvitationBody> {
    let Opens::Invitation { id, email, role, .. } = &link.opens else { return None };
    let (id, email, expires_at) = (id.to_string(), email.to_string(), Timestamp(link.expires_at));
    Some(InvitationBody { id, email, role: role.as_str(), expires_at, token, url })
}

/// Who is invited and has not come yet, in the order in which they were.
#[utoipa::path(get, operation_id = "list_invitations", path = "/v1/organizations/{org}/invitations", tag = "people",
    params(("org" = String, Path, description = "Id or key"), SearchQuery), responses((status = 200, body = Paged<OpenInvitationBody>), (status = 404, description = "Unknown")))]
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
        page.after.as_deref().map(|bytes| bytes.try_into().map(InvitationId).map_err(|_| bad_cursor())).transpose()?;
    let finds = query.finder();
    let open = people.invitations_after(organization, after, app.now()).filter_map(|link| OpenInvitationBody::of(link));
    let data = open.filter(|body| finds(&[&body.email, &body.id])).take(page.limit + 1).collect();
    let key = |body: &OpenInvitationBody| InvitationId::parse(&body.id).map_or_else(Vec::new, |id| id.0.to_vec());
    Ok(Paged::cut(data, &page, key).response(&uri))
}

/// An invitation of a path. What is no id is unknown, but only to whom the organization is known.
fn named(id: &str) -> InvitationId {
    InvitationId::parse(id).unwrap_or(InvitationId([0; 16]))
}

/// Invites somebody again who has not come: by another link, which is accepted once within 7 days, and is mailed where mail is sent.
/// The one before opens nothing any more.
#[utoipa::path(post, operation_id = "resend_invitation", path = "/v1/organizations/{org}/invitations/{id}/resend", tag = "people",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path)),
    responses((status = 201, body = InvitationBody), (status = 403, description = "The role does not suffice, the organization is locked, or mail is sent and the member's own address is not known to be theirs"),
        (status = 404, description = "Unknown, accepted, withdrawn or over"), (status = 409, description = "As many are invited as may be"), (status = 429, description = "Too many invitations of late")))]
pub async fn resend(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, app, (org, id)) = (operation.admit(Right::Administer).await?, &operation.app, &operation.named);
    operation.json_or_default::<ResendBody>()?;
    let organization = admitted(app, &operation.by, Right::Administer, org).await?;
    if let Some(open) = app.shared.store.people().invitation(organization, named(id), app.now())
        && let Opens::Invitation { email, .. } = &open.opens
    {
        invitation_of(app, &caller, email)?;
    }
    let (token, hash) = token::generate();
    let url = link(app, "/join", &token)?;
    let command = PeopleCommand::InviteAgain(operation.organization()?, named(id), hash);
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| invited(201, after, &token, &url));
    let route = "POST /v1/organizations/{org}/invitations/{id}/resend";
    operation.change_people(caller, route, &[id.as_bytes()], command, respond).await
}

/// Withdraws an invitation, at once: its link opens nothing any more.
#[utoipa::path(delete, operation_id = "withdraw_invitation", path = "/v1/organizations/{org}/invitations/{id}", tag = "people", request_body = Option<OptionalReasonBody>,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path)),
    responses((status = 204), (status = 403, description = "The role does not suffice, or the organization is locked"), (status = 404, description = "Unknown, accepted, withdrawn or over")))]
pub async fn withdraw(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.admit(Right::Administer).await?, &operation.named.1);
    let command = PeopleCommand::Withdraw(operation.organization()?, named(id));
    operation.remove_people(caller, "DELETE /v1/organizations/{org}/invitations/{id}", id, command).await
}

/// Where a user is a member now.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    /// All organizations in which they are active.
    pub organizations: Vec<MembershipBody>,
}

/// Accepts an invitation, for the user who is signed in and has its address.
#[utoipa::path(post, operation_id = "accept_invitation", path = "/v1/invitations/accept", tag = "people", request_body = AcceptBody,
    responses((status = 200, body = Accepted), (status = 403, description = "It is for another address, or the organization is locked"), (status = 409, description = "The link was used or is over")))]
pub async fn accept(operation: Operation<Credential, ()>) -> Result<Response<Body>, ApiError> {
    let (user, replayed) = open_as(&operation, "POST /v1/invitations/accept", PeopleCommand::Accept).await?;
    let accepted = Accepted { organizations: memberships(&operation.app, user).await? };
    Ok(written(answer(200, &accepted, None), replayed))
}

/// Opens a link that is for the user who is signed in; answers who that is, and whether it was opened before under the same key.
///
/// # Errors
/// 403 for anybody else, 409 where the link opens nothing.
pub(super) async fn open_as(
    operation: &Operation<Credential, ()>,
    route: &'static str,
    command: fn(TokenHash, UserId) -> PeopleCommand,
) -> Result<(UserId, bool), ApiError> {
    let caller = operation.by.may(Right::Person)?;
    let user = operation.by.user().ok_or_else(ApiError::unauthorized)?.id;
    let asked: AcceptBody = operation.json()?;
    let command = command(hash_of(&asked.token).ok_or_else(spent)?, user);
    let receipt = operation.receipt(route, &[&user.0, &operation.body])?;
    let request = PeopleRequest::new(caller, receipt, command, silent());
    let (_, replayed) = operation.app.change_people(request).await?;
    Ok((user, replayed))
}
