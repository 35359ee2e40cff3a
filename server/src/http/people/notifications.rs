//! What a member is told by mail, as they choose it, and the link by which who got a mail wants no more.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use metergate_rules::notice::Topic;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::{admitted, user_id};
use super::sessions::{nobody, silent};
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::decision::json as json_answer;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::operation::Operation;
use crate::http::path::Path;
use crate::http::state::App;
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond};
use crate::people::choice::Membership;
use crate::people::{Member, People, UserId};
use crate::store::Answer;

/// Who asks, in place of a member's id.
const MYSELF: &str = "me";

/// What a member is told of an organization by mail.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationsBody {
    /// The id of the member.
    pub member: String,
    /// Where the mails go.
    pub email: String,
    /// Whether they come there: the server sends mail, the member is active and no viewer, and it is known that the address is
    /// theirs.
    pub delivered: bool,
    /// That 80 % or more of a limit is used, but not all: of limits over a billing period, a month or for good.
    pub limit_near: bool,
    /// That all of such a limit is used.
    pub limit_reached: bool,
    /// That the trial ends in 7 days or in one, and that it is over.
    pub trial: bool,
    /// That the organization was locked, and that it is locked no more.
    pub lock: bool,
    /// That a payment is due.
    pub payment: bool,
    /// That credit expires in 7 days or in one, and that it is used up.
    pub credit: bool,
}

impl NotificationsBody {
    fn of(member: &Member, people: &People, mails: bool) -> Self {
        let wants = |topic| people.wants(member, topic);
        Self {
            member: member.user.to_string(),
            email: people.user(member.user).map_or_else(String::new, |user| user.email.to_string()),
            delivered: mails && people.is_reached(member),
            limit_near: wants(Topic::LimitNear),
            limit_reached: wants(Topic::LimitReached),
            trial: wants(Topic::Trial),
            lock: wants(Topic::Lock),
            payment: wants(Topic::Payment),
            credit: wants(Topic::Credit),
        }
    }
}

/// What of it changes; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotificationsChangeBody {
    /// Whether a limit comes close.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub limit_near: Option<bool>,
    /// Whether all of a limit is used.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub limit_reached: Option<bool>,
    /// Whether a trial ends.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub trial: Option<bool>,
    /// Whether the organization is locked.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub lock: Option<bool>,
    /// Whether a payment is due.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub payment: Option<bool>,
    /// Whether credit ends.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = bool)]
    pub credit: Option<bool>,
}

impl NotificationsChangeBody {
    fn chosen(&self) -> Vec<(Topic, bool)> {
        let all = [
            (Topic::LimitNear, self.limit_near),
            (Topic::LimitReached, self.limit_reached),
            (Topic::Trial, self.trial),
            (Topic::Lock, self.lock),
            (Topic::Payment, self.payment),
            (Topic::Credit, self.credit),
        ];
        all.into_iter().filter_map(|(topic, wanted)| Some((topic, wanted?))).collect()
    }
}

/// The token of a mail's link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnsubscribeBody {
    /// As it stands in the link.
    pub token: String,
}

/// Whom a path means by an id, or by `me`.
fn meant(credential: &Credential, caller_is: Option<UserId>, id: &str) -> Result<UserId, ApiError> {
    if id != MYSELF {
        return user_id(id);
    }
    caller_is.or_else(|| credential.user().map(|user| user.id)).ok_or_else(ApiError::not_found)
}

/// What a member is told by mail. Members see their own alone.
#[utoipa::path(get, operation_id = "get_notifications", path = "/v1/organizations/{org}/members/{id}/notifications", tag = "people",
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id, or `me`")),
    responses((status = 200, body = NotificationsBody), (status = 403, description = "They are another member's"), (status = 404, description = "Unknown, or no member")))]
pub async fn get(
    State(app): State<App>,
    Path((org, id)): Path<(String, String)>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let organization = admitted(&app, &credential, Right::ReadMembers, &org).await?;
    let caller_is = credential.may(Right::ReadMembers)?.scope.member();
    let (people, user) = (app.shared.store.people(), meant(&credential, caller_is, &id)?);
    let member = people.member(organization, user).ok_or_else(ApiError::not_found)?;
    if !credential.is_operator() && caller_is != Some(user) {
        return Err(ApiError::forbidden("What somebody is told by mail they alone see."));
    }
    Ok(json_answer(StatusCode::OK, &NotificationsBody::of(member, &people, app.shared.mails)))
}

/// Chooses what a member is told by mail: members for themselves, from role editor on, and operators for anybody.
#[utoipa::path(patch, operation_id = "update_notifications", path = "/v1/organizations/{org}/members/{id}/notifications", tag = "people", request_body = NotificationsChangeBody,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path, description = "A user's id, or `me`")),
    responses((status = 200, body = NotificationsBody), (status = 403, description = "They are another member's, the role does not suffice, or the organization is locked"),
        (status = 404, description = "Unknown, or no member"), (status = 422, description = "Not valid")))]
pub async fn update(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.admit(Right::Notify).await?, &operation.named.1);
    let asked: NotificationsChangeBody = operation.json()?;
    let user = meant(&operation.by, caller.scope.member(), id)?;
    let command = PeopleCommand::ChooseMails(operation.organization()?, user, asked.chosen());
    let mails = operation.app.shared.mails;
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| chosen(after, mails));
    let route = "PATCH /v1/organizations/{org}/members/{id}/notifications";
    operation.change_people(caller, route, &[&user.0, &operation.body], command, respond).await
}

fn chosen(after: &PeopleAfter<'_>, mails: bool) -> Answer {
    let member = match (after.reply, after.account) {
        (PeopleReply::User(id, _), Some(account)) => after.people.member(account.id, *id),
        _ => None,
    };
    answer(200, &member.map(|member| NotificationsBody::of(member, after.people, mails)), None)
}

/// No more mails about an organization go to whom a mail's link was made for. Nobody has to be signed in: it is for who opens the
/// link, and for mail programs with a button for it (RFC 8058). What is told can be chosen again later.
#[utoipa::path(post, operation_id = "unsubscribe", path = "/v1/notifications/unsubscribe", tag = "people", request_body = UnsubscribeBody,
    responses((status = 204, description = "Nothing more is sent, or was no more already"), (status = 404, description = "No mail had this link"), (status = 422, description = "Not valid")))]
pub async fn unsubscribe(State(app): State<App>, Raw(body): Raw) -> Result<Response<Body>, ApiError> {
    let asked: UnsubscribeBody = json::parse(&body)?;
    let membership = Membership::read(app.shared.store.audit_key(), &asked.token).ok_or_else(ApiError::not_found)?;
    // Whoever has the link may open it as often as they like: what is so already costs those who decide nothing.
    if !app.shared.store.people().gets_no_mail(&membership) {
        let command = PeopleCommand::RefuseMails(membership);
        app.change_people(PeopleRequest::new(nobody(), None, command, silent())).await?;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
