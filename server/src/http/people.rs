//! People on the wire: who is signed in, and what requests about people have in common.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use axum::http::{Response, StatusCode};
use metergate_rules::account::Account;
use metergate_rules::role::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::decision::json as json_answer;
use super::error::ApiError;
use super::state::App;
use crate::people::email::Email;
use crate::people::password::{Busy, Password};
use crate::people::{People, SESSION, User, UserId};
use crate::report::Timestamp;
use crate::store::Caller;
use metergate_rules::time::Time;

pub mod administrators;
pub mod invitations;
pub mod links;
pub mod members;
pub mod notifications;
pub mod portals;
pub mod provider;
pub mod sessions;

/// A user.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBody {
    /// A UUID.
    pub id: String,
    /// The address by which they sign in.
    pub email: String,
    /// Whether it is known that the address is theirs.
    pub email_verified: bool,
    /// Their name.
    pub name: String,
    /// Whether they are a platform administrator.
    pub administrator: bool,
    /// When they were made.
    pub created_at: Timestamp,
}

impl UserBody {
    /// Of a user, among everybody.
    pub fn of(user: &User, people: &People) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email.to_string(),
            email_verified: people.is_verified(user.id),
            name: user.name.clone(),
            administrator: user.is_administrator,
            created_at: Timestamp(user.created_at),
        }
    }
}

/// An organization of a user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MembershipBody {
    /// The organization's id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// What the user may do there.
    pub role: &'static str,
}

impl MembershipBody {
    fn of(account: &Account, role: Role) -> Self {
        let profile = &account.profile;
        let (id, key, name) = (account.id.to_string(), profile.key.to_string(), profile.name.clone());
        Self { id, key, name, role: role.as_str() }
    }
}

/// That somebody is signed in.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// What to send as `Authorization: Bearer`; `null` where a request is repeated, since it is shown once.
    pub token: Option<String>,
    /// From when it is refused.
    pub expires_at: Timestamp,
    /// Who.
    pub user: UserBody,
    /// Where they are active members.
    pub organizations: Vec<MembershipBody>,
}

impl SignedIn {
    fn of(token: Option<String>, user: UserBody, organizations: Vec<MembershipBody>, now: Time) -> Self {
        Self { token, expires_at: Timestamp(now.plus(SESSION)), user, organizations }
    }

    /// With the cookie.
    fn response(&self, app: &App, status: StatusCode) -> Response<Body> {
        let mut response = json_answer(status, self);
        with_cookie(app, &mut response, self.token.as_deref());
        response
    }
}

/// Sets the cookie, or takes it away; nobody is to keep such an answer.
pub(super) fn with_cookie(app: &App, response: &mut Response<Body>, token: Option<&str>) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = app.shared.cookies.set(token) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

/// The organizations of a user in which they are active.
///
/// # Errors
/// 503 where they cannot be read.
pub(super) async fn memberships(app: &App, user: UserId) -> Result<Vec<MembershipBody>, ApiError> {
    let people = app.shared.store.people();
    let mine: Vec<_> = people.memberships(user).filter(|member| member.is_active).copied().collect();
    app.read(move |view| {
        let body = |member: &crate::people::Member| {
            let account = view.account_if_there(member.organization)?;
            Ok(account.map(|account| MembershipBody::of(&account, member.role)))
        };
        mine.iter().filter_map(|member| body(member).transpose()).collect()
    })
    .await
}

fn user_of(people: &People, user: UserId) -> Option<&User> {
    people.user(user).map(|user| &**user)
}

/// An address in the body.
///
/// # Errors
/// 422 where it is none.
fn email(text: &str) -> Result<Email, ApiError> {
    Email::new(text).map_err(|error| ApiError::invalid("#/email", error.to_string()))
}

/// A password in the body.
///
/// # Errors
/// 422 where it is too short or too long.
fn password(text: String) -> Result<Password, ApiError> {
    Password::new(text).map_err(|error| ApiError::invalid("#/password", error.to_string()))
}

impl From<Busy> for ApiError {
    fn from(_: Busy) -> Self {
        Self::unavailable(1)
    }
}

/// What a user may do in an organization, in a body.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Reads.
    Viewer,
    /// Appends to the audit log, too.
    Editor,
    /// Changes members below owner, keys and the billing cycle, too.
    Admin,
    /// Changes owners, too.
    Owner,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// # Errors
/// 429 after too many sign-ins of late, or too many that failed.
fn attempt(app: &App, account: &str, address: IpAddr) -> Result<(), ApiError> {
    let begun = app.shared.attempts.begin(account, address, app.now());
    begun.map_err(|wait| too_many("Too many sign-ins, or too many that have failed. Wait, then try again.", wait))
}

/// # Errors
/// 429 after too many sign-ins from one address, whether they succeed or not.
fn sign_in_from(app: &App, address: IpAddr) -> Result<(), ApiError> {
    let begun = app.shared.attempts.sign_in(address, app.now());
    begun.map_err(|wait| too_many("Too many sign-ins from your address. Wait, then try again.", wait))
}

/// # Errors
/// 429 after too many registrations from one address.
fn registration(app: &App, address: IpAddr) -> Result<(), ApiError> {
    let begun = app.shared.attempts.register(address, app.now());
    begun.map_err(|wait| too_many("Too many registrations from your address. Wait, then try again.", wait))
}

/// # Errors
/// 429 after too many invitations by a member, or to an address, where they are mailed. Operators are free.
fn invitation(app: &App, caller: &Caller, to: &Email) -> Result<(), ApiError> {
    let Some(user) = caller.scope.member().filter(|_| app.shared.mails) else { return Ok(()) };
    let begun = app.shared.attempts.invite(user, to.as_str(), app.now());
    begun.map_err(|wait| too_many("Too many invitations of late. Wait, then go on, or ask an operator.", wait))
}

fn too_many(detail: &'static str, wait: u64) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).with_retry_after(wait)
}

/// A link to a page.
///
/// # Errors
/// 503 before the server listens.
fn link(app: &App, path: &str, token: &str) -> Result<String, ApiError> {
    app.shared.cookies.link(path, token)
}
