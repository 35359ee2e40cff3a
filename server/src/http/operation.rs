//! A change as it comes in: what it names, who asks for it, under which key, and the body.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, Response, Uri};
use bytes::Bytes;
use metergate_rules::command::Command;
use metergate_rules::id::OrganizationRef;
use metergate_rules::role::Right;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::auth::Credential;
use super::change::{self, MOST_REASON, OptionalReasonBody, ReasonBody, if_match, written};
use super::error::ApiError;
use super::path::Path;
use super::people::sessions::silent;
use super::query::Pairs;
use super::reports::organization;
use super::state::{App, Operator};
use super::team::{Change, nothing};
use super::{body, idempotency, json};
use crate::catalogue::change::{TeamAfter, TeamCommand};
use crate::people::change::{PeopleCommand, PeopleRequest, PeopleRespond};
use crate::store::{Answer, Caller, ChangeRequest, ReceiptKey, Respond};

/// For handlers: a change that somebody asks for. What the path names is looked at first, then who asks, and only then the body.
pub struct Operation<By = Operator, Named = String> {
    /// What all handlers have at hand.
    pub app: App,
    /// What the path names; an organization comes first.
    pub named: Named,
    /// Who asks.
    pub by: By,
    /// The address that was called.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl<By, Named> FromRequest<App> for Operation<By, Named>
where
    By: FromRequestParts<App, Rejection = ApiError> + Send,
    Named: DeserializeOwned + Send,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Path(named) = Path::from_request_parts(&mut parts, app).await?;
        let by = By::from_request_parts(&mut parts, app).await?;
        let body = body::read(body).await?;
        Ok(Self { app: app.clone(), named, by, uri: parts.uri, headers: parts.headers, body })
    }
}

/// What a path names that begins with an organization.
pub trait OfOrganization {
    /// Its key or id.
    fn organization(&self) -> &str;
}

impl OfOrganization for String {
    fn organization(&self) -> &str {
        self
    }
}

impl OfOrganization for (String, String) {
    fn organization(&self) -> &str {
        &self.0
    }
}

impl OfOrganization for (String, String, String) {
    fn organization(&self) -> &str {
        &self.0
    }
}

impl<By, Named> Operation<By, Named> {
    /// The body.
    ///
    /// # Errors
    /// 400 or 422 where it is not of this form.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        json::parse(&self.body)
    }

    /// The same of a body that may be absent.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub fn json_or_default<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, ApiError> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// Why it is asked for, where the body says nothing else.
    ///
    /// # Errors
    /// As [`Self::json`]; 422 also where it is not said.
    pub fn reason(&self) -> Result<String, ApiError> {
        Ok(json::parse_or_empty::<ReasonBody>(&self.body)?.reason.into())
    }

    /// The same where it may be left out, and the body with it.
    ///
    /// # Errors
    /// As [`Self::json`]; 422 also where it is too long.
    pub fn reason_if_any(&self) -> Result<String, ApiError> {
        checked_reason(self.json_or_default::<OptionalReasonBody>()?.reason)
    }

    /// Whether quantities are answered as strings: `?numbers=string`, which alone the query may say.
    ///
    /// # Errors
    /// 422 for any other query.
    pub fn text(&self) -> Result<bool, ApiError> {
        Pairs::of(&self.uri, &["numbers"])?.text()
    }

    /// The key under which it may be repeated. `parts` tell one request from another.
    ///
    /// # Errors
    /// 422 where the header is no key.
    pub fn receipt(&self, route: &'static str, parts: &[&[u8]]) -> Result<Option<ReceiptKey>, ApiError> {
        idempotency::receipt(&self.headers, route, parts)
    }
}

impl<By, Named> Operation<By, Named> {
    /// Runs a change of people for somebody of whom it is known that they may. `parts` tell one request from another.
    ///
    /// # Errors
    /// The command's own.
    pub async fn change_people(
        &self,
        caller: Caller,
        route: &'static str,
        parts: &[&[u8]],
        command: PeopleCommand,
        respond: PeopleRespond,
    ) -> Result<Response<Body>, ApiError> {
        let request = PeopleRequest::new(caller, self.receipt(route, parts)?, command, respond);
        let (answer, replayed) = self.app.change_people(request).await?;
        Ok(written(answer, replayed))
    }

    /// The same for what takes somebody or something away: the body may say why, and nothing is answered.
    ///
    /// # Errors
    /// As [`Self::reason_if_any`], and the command's own.
    pub async fn remove_people(
        &self,
        caller: Caller,
        route: &'static str,
        id: &str,
        command: PeopleCommand,
    ) -> Result<Response<Body>, ApiError> {
        let reason = self.reason_if_any()?;
        let receipt = self.receipt(route, &[id.as_bytes(), &self.body])?;
        let request = PeopleRequest::new(caller, receipt, command, silent()).because(reason);
        let (answer, replayed) = self.app.change_people(request).await?;
        Ok(written(answer, replayed))
    }
}

impl<By, Named: OfOrganization> Operation<By, Named> {
    /// The organization.
    ///
    /// # Errors
    /// 404 where this can be the key or id of none.
    pub fn organization(&self) -> Result<OrganizationRef, ApiError> {
        organization(self.named.organization())
    }

    /// Runs a command on the organization for somebody of whom it is known that they may.
    ///
    /// # Errors
    /// The command's own.
    pub async fn run_for(
        self,
        caller: Caller,
        route: &'static str,
        command: Command,
        reason: String,
        respond: Respond,
    ) -> Result<Response<Body>, ApiError> {
        let (reason, organization) = (checked_reason(reason)?, self.organization()?);
        // The path is part of the request: the route's template alone does not tell meter, window or grant. The command is
        // not: what a plan's key means may change between a call and its repetition.
        // Nor is how the organization was named: the key's scope is the organization.
        let below = below_organization(route, self.uri.path());
        let receipt = self.receipt(route, &[below.as_bytes(), &self.body])?;
        let only_if_changes = if_match(&self.headers)?;
        let request = ChangeRequest { caller, organization, reason, receipt, command, only_if_changes, respond };
        change::run(&self.app, request).await
    }
}

impl<Named: OfOrganization> Operation<Operator, Named> {
    /// Runs an operator's command on the organization.
    ///
    /// # Errors
    /// The command's own.
    pub async fn run(
        self,
        route: &'static str,
        command: Command,
        reason: String,
        respond: Respond,
    ) -> Result<Response<Body>, ApiError> {
        let caller = self.by.caller.clone();
        self.run_for(caller, route, command, reason, respond).await
    }
}

impl<Named: OfOrganization> Operation<Credential, Named> {
    /// Lets the caller to the organization.
    ///
    /// # Errors
    /// As [`App::admit`].
    pub async fn admit(&self, right: Right) -> Result<Caller, ApiError> {
        self.app.admit(&self.by, right, self.named.organization()).await
    }
}

impl<Named> Operation<Operator, Named> {
    /// Runs a change of what is the team's. `parts` tell one request from another.
    ///
    /// # Errors
    /// The command's own.
    pub async fn change_team(
        &self,
        route: &'static str,
        parts: &[&[u8]],
        command: TeamCommand,
        respond: impl Fn(&TeamAfter<'_>) -> Answer + Send + Sync + 'static,
    ) -> Result<Response<Body>, ApiError> {
        self.change_team_because(String::new(), route, parts, command, respond).await
    }

    /// The same where it is said why.
    ///
    /// # Errors
    /// 422 where the reason is too long, and the command's own.
    pub async fn change_team_because(
        &self,
        reason: String,
        route: &'static str,
        parts: &[&[u8]],
        command: TeamCommand,
        respond: impl Fn(&TeamAfter<'_>) -> Answer + Send + Sync + 'static,
    ) -> Result<Response<Body>, ApiError> {
        let reason = checked_reason(reason)?;
        let change = Change { app: &self.app, headers: &self.headers, route, parts };
        change.run_as(Arc::clone(&self.by.caller.actor), reason, command, respond).await
    }
}

impl Operation<Operator, String> {
    /// Deletes what is the team's and is named in the path; the body may say why.
    ///
    /// # Errors
    /// As [`Operation::reason_if_any`], and the command's own.
    pub async fn delete_of_team(&self, route: &'static str, command: TeamCommand) -> Result<Response<Body>, ApiError> {
        let parts = [self.named.as_bytes(), &self.body[..]];
        self.change_team_because(self.reason_if_any()?, route, &parts, command, nothing).await
    }
}

/// # Errors
/// 422 where it is too long to be kept.
pub(super) fn checked_reason(reason: String) -> Result<String, ApiError> {
    if reason.len() > MOST_REASON {
        return Err(ApiError::invalid("#/reason", format!("Send at most {MOST_REASON} bytes.")));
    }
    Ok(reason)
}

/// What stands in a path after the organization, which is the first thing that its route's template names.
fn below_organization<'p>(route: &str, path: &'p str) -> &'p str {
    let before = route.split_once(' ').map_or(route, |(_, template)| template);
    let before = before.split('{').next().unwrap_or(before);
    path.strip_prefix(before).and_then(|rest| rest.split_once('/')).map_or("", |(_, below)| below)
}
