//! `/api/auth` and `POST /api/organizations`: signing up, in and out (P4, P8).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use metergate_rules::role::Right;
use serde::Deserialize;
use utoipa::ToSchema;

use super::ErrorText;
use crate::http::address::Address;
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::operation::Operation;
use crate::http::organizations::organization_key;
use crate::http::people::SignedIn;
use crate::http::people::sessions::{self, LoginBody, RegisterBody, wish};
use crate::http::state::App;
use crate::http::team::answer;
use crate::people::change::{PeopleCommand, PeopleRespond, WishedKey};
use crate::report::organization::OrganizationBody;

/// An organization of one's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnOrganizationBody {
    /// Its name.
    pub name: String,
    /// Its key; made from the name without one.
    pub key: Option<String>,
}

/// Signs up: user, organization and trial are made together.
#[utoipa::path(post, operation_id = "register", path = "/api/auth/register", tag = "documented paths", request_body = RegisterBody,
    responses((status = 201, body = SignedIn), (status = 409, body = ErrorText, description = "The address is taken"), (status = 422, body = ErrorText, description = "Not valid"), (status = 429, body = ErrorText, description = "Too many attempts")))]
pub async fn register(
    State(app): State<App>,
    Address(address): Address,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    sessions::sign_up(&app, address, &headers, &body).await
}

/// Signs in. The token is taken as Bearer everywhere, and stands in a cookie.
#[utoipa::path(post, operation_id = "login", path = "/api/auth/login", tag = "documented paths", request_body = LoginBody,
    responses((status = 200, body = SignedIn), (status = 401, body = ErrorText, description = "Address or password is wrong"), (status = 429, body = ErrorText, description = "Too many attempts")))]
pub async fn login(
    State(app): State<App>,
    Address(address): Address,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    sessions::sign_in(&app, address, &headers, &body).await
}

/// Ends the session.
#[utoipa::path(post, operation_id = "logout", path = "/api/auth/logout", tag = "documented paths",
    responses((status = 204), (status = 401, body = ErrorText, description = "Nobody is signed in")))]
pub async fn logout(State(app): State<App>, credential: Credential) -> Result<Response<Body>, ApiError> {
    sessions::sign_out(&app, &credential).await
}

/// Makes an organization, with a trial, of which the user who is signed in is the owner.
#[utoipa::path(post, operation_id = "create_own_organization", path = "/api/organizations", tag = "documented paths", request_body = OwnOrganizationBody,
    responses((status = 201, body = OrganizationBody), (status = 403, body = ErrorText, description = "Nobody is signed in"), (status = 409, body = ErrorText, description = "The key is taken"), (status = 422, body = ErrorText, description = "Not valid")))]
pub async fn organization(operation: Operation<Credential, ()>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Person)?;
    let user = operation.by.user().ok_or_else(ApiError::unauthorized)?.id;
    let asked: OwnOrganizationBody = json::parse_or_empty(&operation.body)?;
    let key = asked.key.as_deref().map(organization_key).transpose()?.map(WishedKey::Exactly);
    let wish = wish("#/name", &asked.name, key)?;
    let respond: PeopleRespond = Arc::new(|after| {
        answer(201, &after.account.map(|account| OrganizationBody::of(account, after.catalogue)), None)
    });
    let parts: [&[u8]; 2] = [&user.0, &operation.body];
    operation.change_people(caller, "POST /api/organizations", &parts, PeopleCommand::Found(user, wish), respond).await
}
