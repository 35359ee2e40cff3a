//! Links that operators make for a user and pass on, since no mail is sent: for another password, and by which an address is
//! shown to be theirs.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invitations::{AcceptBody, open_as};
use super::{UserBody, email, link};
use crate::http::auth::Credential;
use crate::http::change::written;
use crate::http::error::ApiError;
use crate::http::operation::Operation;
use crate::http::state::Operator;
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRespond};
use crate::people::email::Email;
use crate::people::token::{self, TokenHash};
use crate::report::Timestamp;

/// For whom a link is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForUserBody {
    /// The address by which they sign in.
    pub email: String,
}

/// A link to pass on to the address, and to nobody else: who opens it is taken for whom it belongs to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassedOnBody {
    /// For whom it is.
    pub email: String,
    /// From when it opens nothing.
    pub expires_at: Timestamp,
    /// What opens it, once; `null` where a request is repeated.
    pub token: Option<String>,
    /// The link; `null` where a request is repeated.
    pub url: Option<String>,
}

/// Makes a link with which a user chooses another password (`POST /v1/sessions`), once, within a day. Their sessions end then;
/// where their address was not known to be theirs, so do the API keys and portal sessions that were made with the account.
#[utoipa::path(post, operation_id = "make_password_reset", path = "/v1/password-resets", tag = "people", request_body = ForUserBody,
    responses((status = 201, body = PassedOnBody), (status = 404, description = "There is no such user"), (status = 422, description = "Not valid")))]
pub async fn reset(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    pass_on(&operation, "POST /v1/password-resets", "/reset", PeopleCommand::MakeReset).await
}

/// Makes a link by which a user shows that their address is theirs, once, within a day: signed in, they open it by
/// `POST /v1/email-verifications/confirm`.
#[utoipa::path(post, operation_id = "make_email_verification", path = "/v1/email-verifications", tag = "people", request_body = ForUserBody,
    responses((status = 201, body = PassedOnBody), (status = 404, description = "There is no such user"), (status = 409, description = "It is known already"), (status = 422, description = "Not valid")))]
pub async fn verification(operation: Operation<Operator, ()>) -> Result<Response<Body>, ApiError> {
    pass_on(&operation, "POST /v1/email-verifications", "/verify", PeopleCommand::MakeVerification).await
}

async fn pass_on(
    operation: &Operation<Operator, ()>,
    route: &'static str,
    page: &str,
    command: fn(Email, TokenHash) -> PeopleCommand,
) -> Result<Response<Body>, ApiError> {
    let asked: ForUserBody = operation.json()?;
    let email = email(&asked.email)?;
    let (token, hash) = token::generate();
    let (url, to) = (link(&operation.app, page, &token)?, email.to_string());
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| {
        let PeopleReply::Link(link) = after.reply else { return answer(500, &(), None) };
        let (token, url) = after.shows_secrets.then(|| (token.clone(), url.clone())).unzip();
        answer(201, &PassedOnBody { email: to.clone(), expires_at: Timestamp(link.expires_at), token, url }, None)
    });
    let caller = operation.by.caller.clone();
    operation.change_people(caller, route, &[&operation.body], command(email, hash), respond).await
}

/// Opens the link by which a user shows that their address is theirs. Only they themselves can, signed in.
#[utoipa::path(post, operation_id = "confirm_email", path = "/v1/email-verifications/confirm", tag = "people", request_body = AcceptBody,
    responses((status = 200, body = UserBody), (status = 403, description = "It is for another user"), (status = 409, description = "The link was used or is over")))]
pub async fn confirm(operation: Operation<Credential, ()>) -> Result<Response<Body>, ApiError> {
    let (user, replayed) = open_as(&operation, "POST /v1/email-verifications/confirm", PeopleCommand::Verify).await?;
    let people = operation.app.shared.store.people();
    let user = people.user(user).ok_or_else(ApiError::unauthorized)?;
    Ok(written(answer(200, &UserBody::of(user, &people), None), replayed))
}
