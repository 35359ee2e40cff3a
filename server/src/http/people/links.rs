//! Links for another password, and by which an address is shown to be its user's: those that operators make and pass on, and
//! those that are sent to the address.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::invitations::{AcceptBody, open_as};
use super::sessions::{nobody, silent};
use super::{UserBody, attempt, email, link};
use crate::http::address::Address;
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::change::written;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::operation::Operation;
use crate::http::state::{App, Operator};
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond};
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

/// Nothing is told.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NothingBody {}

/// Sends the user who has this address a link with which they choose another password. The answer is the same, and as fast,
/// whether there is such a user or not.
#[utoipa::path(post, operation_id = "ask_password_reset", path = "/v1/password-resets/request", tag = "people", request_body = ForUserBody,
    responses((status = 202, description = "If there is such a user, a mail is sent"), (status = 409, description = "No mail is sent here"),
        (status = 422, description = "Not valid"), (status = 429, description = "Too many requests of late")))]
pub async fn ask_reset(
    State(app): State<App>,
    Address(address): Address,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    app.shared.cookies.refuse_sign_in_elsewhere(&headers)?;
    let asked: ForUserBody = json::parse(&body)?;
    let email = email(&asked.email)?;
    sends_mail(&app)?;
    // Apart from sign-ins, so that nobody keeps another from signing in by this.
    attempt(&app, &format!("reset {email}"), address)?;
    let command = PeopleCommand::AskReset(email);
    // Behind the answer: how long it takes tells who is there.
    tokio::spawn(async move {
        let request = PeopleRequest::new(nobody(), None, command, silent());
        if let Err(error) = app.change_people(request).await {
            tracing::warn!(code = error.code(), "a mail for another password could not be written");
        }
    });
    Ok(accepted())
}

/// Sends the user who is signed in a link by which they show that their address is theirs, as it was when they registered.
#[utoipa::path(post, operation_id = "ask_email_verification", path = "/v1/email-verifications/request", tag = "people", request_body = NothingBody,
    responses((status = 202, description = "A mail is sent"), (status = 409, description = "It is known already, or no mail is sent here"),
        (status = 429, description = "Too many requests of late")))]
pub async fn ask_verification(
    Address(address): Address,
    operation: Operation<Credential, ()>,
) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Person)?;
    let user = operation.by.user().ok_or_else(ApiError::unauthorized)?;
    let NothingBody {} = operation.json_or_default()?;
    sends_mail(&operation.app)?;
    attempt(&operation.app, &format!("verify {}", user.email), address)?;
    let (command, route) = (PeopleCommand::AskVerification(user.id), "POST /v1/email-verifications/request");
    let receipt = operation.receipt(route, &[&user.id.0, &operation.body])?;
    operation.app.change_people(PeopleRequest::new(caller, receipt, command, silent())).await?;
    Ok(accepted())
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn sends_mail(app: &App) -> Result<(), ApiError> {
    if app.shared.mails {
        return Ok(());
    }
    Err(ApiError::conflict("no-mail", "No mail is sent here. Ask an operator, who can make a link."))
}
