//! Platform administrators.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::user_id;
use super::{UserBody, email, link, password};
use crate::http::change::OptionalReasonBody;
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::http::organizations::name;
use crate::http::page::{PageQuery, Paged, bad_cursor};
use crate::http::query::Query;
use crate::http::state::{App, Operator};
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRespond};
use crate::people::{Link, People, User, UserId, token};
use crate::report::Timestamp;

/// A platform administrator to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdministratorBody {
    /// The address by which they sign in.
    pub email: String,
    /// 8 to 1,024 bytes, for somebody new; without one the answer has a link that signs them in once.
    pub password: Option<String>,
    /// Their name; the address without one.
    pub name: Option<String>,
}

/// A platform administrator who was made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdministratorBody {
    /// Who.
    #[serde(flatten)]
    pub user: UserBody,
    /// A link that signs them in once, within a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in_url: Option<String>,
}

/// A platform administrator, and whether they have come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedAdministratorBody {
    /// Who.
    #[serde(flatten)]
    pub user: UserBody,
    /// Whether they can sign in: they have a password, or an identity provider knows them. Where not, they wait for the link, or
    /// need another one.
    pub can_sign_in: bool,
    /// The link by which they can sign in now; `null` without one.
    pub sign_in_link: Option<SignInLinkBody>,
}

/// A link by which somebody can sign in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInLinkBody {
    /// Who made it, as the audit log names them.
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
    /// From when it opens nothing.
    pub expires_at: Timestamp,
}

impl ListedAdministratorBody {
    fn of(user: &User, people: &People, link: Option<&Link>) -> Self {
        let link = link.map(|link| SignInLinkBody {
            made_by: link.made_by.to_string(),
            made_at: Timestamp(link.made_at),
            expires_at: Timestamp(link.expires_at),
        });
        Self { user: UserBody::of(user, people), can_sign_in: people.can_sign_in(user.id), sign_in_link: link }
    }
}

/// Platform administrators, also those who are invited and have not come yet.
#[utoipa::path(get, operation_id = "list_administrators", path = "/v1/administrators", tag = "people", params(PageQuery), responses((status = 200, body = Paged<ListedAdministratorBody>)))]
pub async fn list(
    State(app): State<App>,
    _operator: Operator,
    uri: Uri,
    Query(query): Query<PageQuery>,
) -> Result<Response<Body>, ApiError> {
    let (people, page) = (app.shared.store.people(), query.page()?);
    let after =
        page.after.as_deref().map(|bytes| bytes.try_into().map(UserId).map_err(|_| bad_cursor())).transpose()?;
    let administrators = people.users_after(after).filter(|user| user.is_administrator);
    let (few, links) = (administrators.take(page.limit + 1), people.sign_in_links(app.now()));
    let link = |user: &User| links.get(&user.id).map(|link| &***link);
    let data = few.map(|user| ListedAdministratorBody::of(user, &people, link(user))).collect();
    let key = |body: &ListedAdministratorBody| UserId::parse(&body.user.id).map_or_else(Vec::new, |id| id.0.to_vec());
    Ok(Paged::cut(data, &page, key).response(&uri))
}

/// Makes somebody a platform administrator. A user who has the address already signs in anew, by the link alone: their sessions
/// and their password end, and where the address was not known to be theirs, API keys and portal sessions made with the account.
#[utoipa::path(post, operation_id = "add_administrator", path = "/v1/administrators", tag = "people", request_body = NewAdministratorBody,
    responses((status = 201, body = AdministratorBody), (status = 409, description = "They are one already, or a password is given for a user who is there"), (status = 422, description = "Not valid")))]
pub async fn add(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    let (app, asked) = (&operation.app, operation.json::<NewAdministratorBody>()?);
    let email = email(&asked.email)?;
    let name = name(asked.name.as_deref().unwrap_or(email.as_str()))?;
    let (as_email, as_name) = (email.to_string(), name.clone());
    let password = match asked.password.map(password).transpose()? {
        Some(password) => Some(app.shared.passwords.hash(password).await?),
        None => None,
    };
    let now = app.now();
    let user = User { id: UserId::new(now), email, name, password, is_administrator: true, created_at: now };
    let (token, hash) = token::generate();
    let url = link(app, "/sign-in", &token)?;
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| {
        let PeopleReply::User(id, linked) = after.reply else { return answer(500, &(), None) };
        let sign_in_url = (*linked && after.shows_secrets).then(|| url.clone());
        let user = after.people.user(*id).map(|user| UserBody::of(user, after.people));
        answer(201, &user.map(|user| AdministratorBody { user, sign_in_url }), None)
    });
    let command = PeopleCommand::AddAdministrator(Arc::new(user), hash);
    // Without the password: what is kept must not help to guess it.
    let (caller, parts) = (operation.by.caller.clone(), [as_email.as_bytes(), as_name.as_bytes()]);
    operation.change_people(caller, "POST /v1/administrators", &parts, command, respond).await
}

/// Ends somebody's being a platform administrator, and their sessions. Who is in no organization goes altogether. One who can
/// sign in stays.
#[utoipa::path(delete, operation_id = "remove_administrator", path = "/v1/administrators/{id}", tag = "people", params(("id" = String, Path, description = "A user's id")),
    request_body = Option<OptionalReasonBody>, responses((status = 204), (status = 404, description = "Unknown"), (status = 409, description = "The last one who can sign in")))]
pub async fn remove(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.by.caller.clone(), &operation.named);
    let command = PeopleCommand::RemoveAdministrator(user_id(id)?);
    operation.remove_people(caller, "DELETE /v1/administrators/{id}", id, command).await
}
