//! Signing up, in and out; the documented paths and those below `/v1` share it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    MembershipBody, SignedIn, UserBody, attempt, email, memberships, password, registration, user_of, with_cookie,
};
use crate::http::address::Address;
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::change::written;
use crate::http::error::ApiError;
use crate::http::organizations::name;
use crate::http::state::App;
use crate::http::team::answer;
use crate::http::{idempotency, json};
use crate::people::change::{
    Joins, PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond, Wish, WishedKey,
};
use crate::people::password::Password;
use crate::people::token::{self, TokenHash, hash_of};
use crate::people::{User, UserId};
use crate::store::{Answer, Caller, Scope};

/// The longest key that is made from a name.
const MOST_STEM: usize = 40;

/// Somebody who signs up.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterBody {
    /// The address by which they will sign in.
    pub email: String,
    /// 8 to 1,024 bytes.
    pub password: String,
    /// Their name.
    pub name: String,
    /// The name of their organization, which is made with a trial; not with an invitation.
    pub organization_name: Option<String>,
    /// The token of an invitation, instead.
    pub invitation: Option<String>,
}

/// Somebody who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
}

/// A sign-in link that is opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkBody {
    /// The token in the link.
    pub token: String,
    /// A password from now on: 8 to 1,024 bytes. A link for another password asks for it.
    pub password: Option<String>,
}

/// Somebody who has no credential yet.
pub(crate) fn nobody() -> Caller {
    Caller { scope: Scope::Team, actor: "anonymous".into() }
}

pub(crate) fn as_user(user: UserId) -> Caller {
    Caller { scope: Scope::Team, actor: user.actor() }
}

/// The wish for an organization of this name, with a key made from it unless one is given.
pub(crate) fn wish(pointer: &str, organization: &str, key: Option<WishedKey>) -> Result<Wish, ApiError> {
    let refused = |_| ApiError::invalid(pointer, "Send 1 to 255 bytes without control characters.");
    let name = name(organization).map_err(refused)?;
    let mut stem = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            stem.push(c);
        } else if !stem.is_empty() && !stem.ends_with('-') {
            stem.push('-');
        }
    }
    stem.truncate(MOST_STEM);
    let stem = stem.trim_matches('-');
    let stem = if stem.is_empty() { "organization" } else { stem };
    Ok(Wish { name, key: key.unwrap_or_else(|| WishedKey::Like(stem.to_owned())) })
}

/// Makes a user with an organization and its trial, or with the membership they were invited to, and signs them in.
pub(crate) async fn sign_up(
    app: &App,
    address: IpAddr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    app.shared.cookies.refuse_sign_in_elsewhere(headers)?;
    let asked: RegisterBody = json::parse_or_empty(body)?;
    let (email, name) = (email(&asked.email)?, name(&asked.name)?);
    let joins = match (&asked.organization_name, &asked.invitation) {
        (Some(organization), None) => Joins::New(wish("#/organizationName", organization, None)?),
        (None, Some(token)) => Joins::Invitation(hash_of(token).ok_or_else(spent)?),
        _ => return Err(ApiError::invalid("#/organizationName", "Send a name for the organization.")),
    };
    // Without the password: what is kept must not help to guess it.
    let told = [&asked.organization_name, &asked.invitation].map(|text| text.as_deref().unwrap_or("").as_bytes());
    let parts = [email.as_str().as_bytes(), name.as_bytes(), told[0], told[1]];
    let receipt = idempotency::receipt(headers, "POST /api/auth/register", &parts)?;
    let password = password(asked.password)?;
    attempt(app, "", address)?;
    registration(app, address)?;
    let password = app.shared.passwords.hash(password).await?;
    let now = app.now();
    let id = UserId::new(now);
    let user = User { id, email, name, password: Some(password), is_administrator: false, created_at: now };
    let (token, hash) = token::generate();
    let command = PeopleCommand::Register(Arc::new(user), joins, hash, None);
    let shown = token.clone();
    let respond: PeopleRespond = Arc::new(move |after| registered(after, &shown));
    let (answer, replayed) = app.change_people(PeopleRequest::new(as_user(id), receipt, command, respond)).await?;
    app.shared.attempts.forget("", address);
    let mut response = written(answer, replayed);
    if !replayed {
        with_cookie(app, &mut response, Some(&token));
    }
    Ok(response)
}

fn registered(after: &PeopleAfter<'_>, token: &str) -> Answer {
    let PeopleReply::User(id, _) = after.reply else { return Answer { status: 500, body: Vec::new(), version: None } };
    let role = after.account.and_then(|account| after.people.role(account.id, *id));
    let organizations = after.account.zip(role).map(|(account, role)| MembershipBody::of(account, role));
    let token = after.shows_secrets.then(|| token.to_owned());
    let user = user_of(after.people, *id).map(|user| UserBody::of(user, after.people));
    let body = user.map(|user| SignedIn::of(token, user, organizations.into_iter().collect(), after.now));
    answer(201, &body, None)
}

/// Signs somebody in. An unknown address and a wrong password are the same, and take the same time.
pub(crate) async fn sign_in(
    app: &App,
    address: IpAddr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, ApiError> {
    app.shared.cookies.refuse_sign_in_elsewhere(headers)?;
    let asked: LoginBody = json::parse_or_empty(body)?;
    let (email, password) = (email(&asked.email)?, Password::tried(asked.password));
    attempt(app, email.as_str(), address)?;
    let user = app.shared.store.people().user_by_email(&email).cloned();
    let known = user.as_ref().and_then(|user| user.password.clone());
    let right = app.shared.passwords.is_of(known.clone(), password).await?;
    let (Some(user), Some(known), true) = (&user, known, right) else {
        let command = PeopleCommand::SignInFailed(user.map(|user| user.id), None);
        app.change_people(PeopleRequest::new(nobody(), None, command, silent())).await?;
        return Err(wrong());
    };
    let (token, hash) = token::generate();
    let command = PeopleCommand::SignIn(user.id, known, hash);
    let request = PeopleRequest::new(as_user(user.id), None, command, silent());
    app.change_people(request).await.map_err(|error| match error.code() {
        // The user is gone, or has another password by now.
        "not-found" | "password-changed" => wrong(),
        _ => error,
    })?;
    app.shared.attempts.forget(email.as_str(), address);
    signed_in(app, hash, token).await
}

async fn signed_in(app: &App, hash: TokenHash, token: String) -> Result<Response<Body>, ApiError> {
    let people = app.shared.store.people();
    let (session, user) = people.session(&hash, app.now()).ok_or_else(ApiError::unauthorized)?;
    let organizations = memberships(app, user.id).await?;
    let user = UserBody::of(user, &people);
    Ok(SignedIn::of(Some(token), user, organizations, session.created_at).response(app, StatusCode::OK))
}

/// Ends the session that asks.
pub(crate) async fn sign_out(app: &App, credential: &Credential) -> Result<Response<Body>, ApiError> {
    let caller = credential.may(metergate_rules::role::Right::Person)?;
    let session = credential.session().ok_or_else(ApiError::unauthorized)?;
    let command = PeopleCommand::SignOut(session);
    let (answer, replayed) = app.change_people(PeopleRequest::new(caller, None, command, silent())).await?;
    let mut response = written(answer, replayed);
    with_cookie(app, &mut response, None);
    Ok(response)
}

/// Signs in by a link, which opens once. With a password, that is the user's from now on, and their other sessions end.
#[utoipa::path(post, operation_id = "use_sign_in_link", path = "/v1/sessions", tag = "people", request_body = LinkBody,
    responses((status = 200, body = SignedIn), (status = 409, description = "The link was used or is over"), (status = 422, description = "Not valid")))]
pub async fn use_link(
    State(app): State<App>,
    Address(address): Address,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    app.shared.cookies.refuse_sign_in_elsewhere(&headers)?;
    let asked: LinkBody = json::parse(&body)?;
    let link = hash_of(&asked.token).ok_or_else(spent)?;
    let new = asked.password.map(password).transpose()?;
    attempt(&app, "", address)?;
    if app.shared.store.people().link(&link, app.now()).is_none() {
        return Err(spent());
    }
    let new = match new {
        Some(new) => Some(app.shared.passwords.hash(new).await?),
        None => None,
    };
    let (token, hash) = token::generate();
    let command = PeopleCommand::UseLink(link, new, hash);
    app.change_people(PeopleRequest::new(nobody(), None, command, silent())).await?;
    app.shared.attempts.forget("", address);
    signed_in(&app, hash, token).await
}

/// 204.
pub(crate) fn silent() -> PeopleRespond {
    Arc::new(|_| Answer { status: 204, body: Vec::new(), version: None })
}

fn wrong() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "E-mail address or password is wrong.")
}

pub(crate) fn spent() -> ApiError {
    ApiError::conflict("link-spent", "This link was used already, or is over. Ask for another one.")
}
