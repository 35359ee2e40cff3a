//! Platform administrators.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::user_id;
use super::sessions::silent;
use super::{UserBody, email, link, password};
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::http::organizations::name;
use crate::http::page::{PageQuery, Paged, bad_cursor};
use crate::http::query::Query;
use crate::http::state::{App, Operator};
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRespond};
use crate::people::{User, UserId, token};

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

/// Platform administrators.
#[utoipa::path(get, operation_id = "list_administrators", path = "/v1/administrators", tag = "people", params(PageQuery), responses((status = 200, body = Paged<UserBody>)))]
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
    let data = administrators.map(|user| UserBody::of(user, &people)).take(page.limit + 1).collect();
    let key = |body: &UserBody| UserId::parse(&body.id).map_or_else(Vec::new, |id| id.0.to_vec());
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

/// Ends somebody's being a platform administrator, and their sessions. Who is in no organization goes altogether.
#[utoipa::path(delete, operation_id = "remove_administrator", path = "/v1/administrators/{id}", tag = "people", params(("id" = String, Path, description = "A user's id")),
    responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn remove(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.by.caller.clone(), &operation.named);
    let command = PeopleCommand::RemoveAdministrator(user_id(id)?);
    operation.change_people(caller, "DELETE /v1/administrators/{id}", &[id.as_bytes()], command, silent()).await
}
