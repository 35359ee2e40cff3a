//! Portal sessions: the application mints a link for somebody it knows, who opens it once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE};
use axum::http::{HeaderMap, Response, StatusCode};
use metergate_rules::role::Right;
use metergate_rules::time::SECOND;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sessions::{nobody, silent, spent};
use super::{MembershipBody, attempt, link};
use crate::http::address::Address;
use crate::http::auth::Credential;
use crate::http::body::Raw;
use crate::http::change::OptionalReasonBody;
use crate::http::decision::json as json_answer;
use crate::http::error::ApiError;
use crate::http::json;
use crate::http::operation::Operation;
use crate::http::settings::TeamFace;
use crate::http::state::App;
use crate::http::team::answer;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleReply, PeopleRequest, PeopleRespond};
use crate::people::portal::{MOST_PORTAL_LINK, PORTAL_SESSION, Portal, PortalId, Stage};
use crate::people::{UserId, token};
use crate::report::Timestamp;
use crate::store::Scope;
use metergate_rules::id::{OrganizationId, OrganizationRef};

/// A link into the portal that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPortalBody {
    /// The id of the member for whom it is: it has their rights, but for an owner's. Without one it only reads.
    pub member: Option<String>,
    /// For how long the link can be opened: 1 to 900 seconds, 900 where it is absent. The session then lasts an hour.
    pub expires_in_seconds: Option<i64>,
}

/// A link into the portal.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortalBody {
    /// By which it can be revoked, also once it was opened.
    pub id: String,
    /// Where to send the browser; opens once. `null` where the request is repeated, since it is shown once.
    pub url: Option<String>,
    /// From when the link opens nothing.
    pub expires_at: Timestamp,
}

/// A link into the portal that is opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalTokenBody {
    /// The token in the link.
    pub token: String,
}

/// That a portal is open.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedPortalBody {
    /// What to send as `Authorization: Bearer`; the cookie has it, too.
    pub token: String,
    /// From when it is refused.
    pub expires_at: Timestamp,
    /// Where it leads, and what it allows there.
    pub organization: MembershipBody,
    /// Whose portal it is.
    pub team: TeamFace,
}

/// Mints a link into the portal of an organization. It opens once.
#[utoipa::path(post, operation_id = "create_portal_session", path = "/v1/organizations/{org}/portal-sessions", tag = "people", request_body = NewPortalBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = PortalBody), (status = 404, description = "Unknown"), (status = 409, description = "Too many are open"), (status = 422, description = "Not valid, or no active member")))]
pub async fn create(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.admit(Right::Link).await?;
    let asked: NewPortalBody = operation.json()?;
    let member = match &asked.member {
        Some(text) => {
            Some(UserId::parse(text).ok_or_else(|| ApiError::invalid("#/member", "Send the id of a member."))?)
        }
        None => None,
    };
    let lasts = match asked.expires_in_seconds {
        None => MOST_PORTAL_LINK,
        Some(seconds) if (1..=MOST_PORTAL_LINK / SECOND).contains(&seconds) => seconds * SECOND,
        Some(_) => return Err(ApiError::invalid("#/expiresInSeconds", "Send 1 to 900.")),
    };
    let (token, hash) = token::generate();
    let url = link(&operation.app, "/portal", &token)?;
    let now = operation.app.now();
    let portal = Portal {
        id: PortalId::new(now),
        token: hash,
        // The writer puts in that of the path.
        organization: OrganizationId([0; 16]),
        member,
        stage: Stage::Link,
        created_at: now,
        expires_at: now.plus(lasts),
    };
    let respond: PeopleRespond = Arc::new(move |after: &PeopleAfter<'_>| {
        let PeopleReply::Portal(portal) = after.reply else { return answer(500, &(), None) };
        let (id, url) = (portal.id.to_string(), after.shows_secrets.then(|| url.clone()));
        answer(201, &PortalBody { id, url, expires_at: Timestamp(portal.expires_at) }, None)
    });
    let command = PeopleCommand::MakePortal(operation.organization()?, portal);
    let route = "POST /v1/organizations/{org}/portal-sessions";
    let mut response = operation.change_people(caller, route, &[&operation.body], command, respond).await?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Revokes a link into the portal, or the session that came of it, at once.
#[utoipa::path(delete, operation_id = "revoke_portal_session", path = "/v1/organizations/{org}/portal-sessions/{id}", tag = "people", request_body = Option<OptionalReasonBody>,
    params(("org" = String, Path, description = "Id or key"), ("id" = String, Path)),
    responses((status = 204), (status = 404, description = "Unknown")))]
pub async fn revoke(operation: Operation<Credential, (String, String)>) -> Result<Response<Body>, ApiError> {
    let (caller, id) = (operation.admit(Right::Link).await?, &operation.named.1);
    // What is no id is unknown, but only to whom the organization is known.
    let portal = PortalId::parse(id).unwrap_or(PortalId([0; 16]));
    let command = PeopleCommand::ClosePortal(operation.organization()?, portal);
    operation.remove_people(caller, "DELETE /v1/organizations/{org}/portal-sessions/{id}", id, command).await
}

/// Opens a link into the portal, once: for a session of an hour in that one organization.
#[utoipa::path(post, operation_id = "open_portal_session", path = "/v1/portal-sessions", tag = "people", request_body = PortalTokenBody,
    responses((status = 200, body = OpenedPortalBody), (status = 409, description = "The link was used, revoked or is over"), (status = 422, description = "Not valid")))]
pub async fn open(
    State(app): State<App>,
    Address(address): Address,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response<Body>, ApiError> {
    app.shared.cookies.refuse_sign_in_elsewhere(&headers)?;
    let asked: PortalTokenBody = json::parse(&body)?;
    let link = token::hash_of(&asked.token).ok_or_else(spent)?;
    attempt(&app, "", address)?;
    let (token, session) = token::generate();
    let command = PeopleCommand::OpenPortal(link, session);
    app.change_people(PeopleRequest::new(nobody(), None, command, silent())).await?;
    app.shared.attempts.forget("", address);
    let people = app.shared.store.people();
    // It may have been revoked meanwhile.
    let (portal, role) = people.portal(&session, Stage::Session, app.now()).ok_or_else(spent)?;
    let organization = OrganizationRef::Id(portal.organization);
    let account = app.read(move |view| view.account(Scope::Team, &organization)).await?;
    let expires_at = Timestamp(portal.expires_at);
    let organization = MembershipBody::of(&account, role);
    let team = TeamFace::of(&app.snapshot().stored.settings, &app.shared.cookies.base()?);
    let cookie = app.shared.cookies.set_for(Some(&token), PORTAL_SESSION);
    let mut response = json_answer(StatusCode::OK, &OpenedPortalBody { token, expires_at, organization, team });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
