//! Signing in by an identity provider: the browser goes there, and comes back with a code.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::sessions::{as_user, nobody, silent, spent, wish};
use super::{attempt, registration, sign_in_from};
use crate::http::address::Address;
use crate::http::document::Problem;
use crate::http::error::ApiError;
use crate::http::organizations::name;
use crate::http::query::Query;
use crate::http::state::App;
use crate::openid::{Provider, ProviderError, Said, VISIT, Visit};
use crate::people::change::{Joins, PeopleCommand, PeopleRequest};
use crate::people::identity::Proof;
use crate::people::token::{self, hash_of};
use crate::people::{User, UserId};

mod page;

/// Where the provider sends the browser back to.
const CALLBACK: &str = "/auth/oidc/callback";
/// The longest path to go on to, and the longest code and state, in bytes.
const MOST_NEXT: usize = 1024;
const MOST_CODE: usize = 4096;
const MOST_STATE: usize = 255;
/// Seconds after which a provider that cannot be asked may be asked again.
const LATER: u64 = 5;

/// For handlers: that there is a provider. Without one there is nothing here, whatever is asked.
pub struct Configured;

impl FromRequestParts<App> for Configured {
    type Rejection = ApiError;
    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, ApiError> {
        provider(app).map(|_| Self)
    }
}

/// Where to go on to.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StartQuery {
    /// A path of this server, such as `/portal`; `/` without one.
    next: Option<String>,
    /// The token of an invitation: somebody who is new joins that organization instead of having one of their own.
    invitation: Option<String>,
}

/// What the provider sends along. More that it sends says nothing to us.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    /// What is exchanged for the token.
    code: Option<String>,
    /// As it was sent to the provider.
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// The provider's issuer (RFC 9207).
    iss: Option<String>,
}

/// Sends the browser to the identity provider to sign in, with a cookie by which it is known when it comes back. Errors are a
/// page where HTML is asked for.
#[utoipa::path(get, operation_id = "begin_provider_sign_in", path = "/auth/oidc/start", tag = "people", params(StartQuery), security(()),
    responses((status = 303, description = "Go to the provider"), (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no provider"),
        (status = 409, content((Problem = "application/problem+json"), (String = "text/html")), description = "The invitation was used or is over")))]
pub async fn start(
    State(app): State<App>,
    _there_is_one: Configured,
    Address(address): Address,
    headers: HeaderMap,
    Query(query): Query<StartQuery>,
) -> Result<Response<Body>, ApiError> {
    begin(&app, address, query).await.or_else(|error| page::instead(&headers, error))
}

async fn begin(app: &App, address: IpAddr, query: StartQuery) -> Result<Response<Body>, ApiError> {
    let provider = provider(app)?;
    let next = local(query.next.as_deref().unwrap_or("/"))?;
    let invitation = query.invitation.map(|token| hash_of(&token).ok_or_else(spent)).transpose()?;
    sign_in_from(app, address)?;
    let (now, back) = (app.now(), back(app)?);
    let (visit, (state, hash)) = (Visit::new(next, invitation), token::generate());
    let to = provider.address(&visit, &state, &back, now).await.map_err(|error| refused(&error))?;
    let cookie = provider.visits.begin(visit, hash, now).ok_or_else(|| ApiError::unavailable(LATER))?;
    let mut response = see_other(&to)?;
    response.headers_mut().extend(app.shared.cookies.set_visit(Some(&cookie), VISIT).map(|value| (SET_COOKIE, value)));
    Ok(response)
}

/// Where the provider sends the browser back to: signs in whom the provider knows, makes a user with an organization and its
/// trial of who is new, and goes on to where the sign-in was begun for. Errors are a page where HTML is asked for.
///
/// An identity, issuer and subject, is one user's for good. One that is new becomes that of the user with the same address only
/// if the provider says that the address is theirs, and either that is known here, too, or the browser is signed in as that user.
#[utoipa::path(get, operation_id = "end_provider_sign_in", path = "/auth/oidc/callback", tag = "people", params(CallbackQuery), security(()),
    responses((status = 303, description = "Signed in, by a cookie"), (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no provider"),
        (status = 403, content((Problem = "application/problem+json"), (String = "text/html")), description = "The provider has not allowed it, or what it says is not to be believed"),
        (status = 409, content((Problem = "application/problem+json"), (String = "text/html")), description = "Begun in another browser, used already, or too late; or the address is another user's")))]
pub async fn callback(
    State(app): State<App>,
    _there_is_one: Configured,
    Address(address): Address,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<Response<Body>, ApiError> {
    end(&app, address, &headers, query).await.or_else(|error| page::instead(&headers, error))
}

async fn end(
    app: &App,
    address: IpAddr,
    headers: &HeaderMap,
    query: CallbackQuery,
) -> Result<Response<Body>, ApiError> {
    let provider = provider(app)?;
    attempt(app, "", address)?;
    let came_back = CameBack { app, provider, address, headers };
    let error = match came_back.sign_in(query).await {
        Ok((token, next)) => {
            app.shared.attempts.forget("", address);
            return signed_in(app, &token, &next);
        }
        Err(error) => error,
    };
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        app.shared.attempts.forget("", address);
    }
    let command = PeopleCommand::SignInFailed(None, Some(error.code()));
    app.change_people(PeopleRequest::new(nobody(), None, command, silent())).await?;
    Err(error)
}

fn provider(app: &App) -> Result<&Provider, ApiError> {
    app.shared.provider.as_ref().ok_or_else(ApiError::not_found)
}

fn back(app: &App) -> Result<String, ApiError> {
    Ok(format!("{}{CALLBACK}", app.shared.cookies.base()?))
}

/// A path of this server and nothing that a browser could take for another's: it reads `\` as `/`, and `//` begins a host.
fn local(next: &str) -> Result<String, ApiError> {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.len() <= MOST_NEXT;
    if is_path && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Ok(next.to_owned());
    }
    Err(ApiError::invalid("?next", format!("Send a path of this server such as /portal: at most {MOST_NEXT} bytes.")))
}

fn see_other(to: &str) -> Result<Response<Body>, ApiError> {
    let to = HeaderValue::from_str(to).map_err(|_| ApiError::internal("an address that is no header's value"))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, to);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address has a code in it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

fn signed_in(app: &App, token: &str, next: &str) -> Result<Response<Body>, ApiError> {
    let mut response = see_other(next)?;
    let cookies = &app.shared.cookies;
    for cookie in [cookies.set(Some(token)), cookies.set_visit(None, 0)].into_iter().flatten() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

fn refused(error: &ProviderError) -> ApiError {
    match error {
        ProviderError::Unavailable(_) => ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "provider-unavailable",
            "The identity provider cannot be asked now. Try again later, or sign in with a password.",
        )
        .with_retry_after(LATER),
        ProviderError::Refused(_) => {
            denied("provider-refused", "What the identity provider has said is not to be believed.")
        }
    }
}

fn denied(code: &'static str, detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, detail)
}

/// A browser that came back.
struct CameBack<'a> {
    app: &'a App,
    provider: &'a Provider,
    address: IpAddr,
    headers: &'a HeaderMap,
}

impl CameBack<'_> {
    /// The token of the session, and where to go on to.
    async fn sign_in(&self, query: CallbackQuery) -> Result<(String, String), ApiError> {
        let state = query.state.filter(|state| state.len() <= MOST_STATE).unwrap_or_default();
        let now = self.app.now();
        let visit = self.provider.visits.end(self.app.shared.cookies.visit(self.headers), &state, now);
        let visit = visit.ok_or_else(|| {
            let detail = "This sign-in was begun in another browser, was used already, or took too long. Begin again.";
            ApiError::conflict("sign-in-over", detail)
        })?;
        if query.iss.is_some_and(|issuer| issuer != self.provider.issuer()) {
            return Err(denied("provider-refused", "Another identity provider has answered."));
        }
        match query.error.as_deref() {
            None => {}
            Some("access_denied") => {
                return Err(denied("access-denied", "The identity provider was not allowed to sign you in."));
            }
            Some("temporarily_unavailable" | "server_error") => {
                return Err(refused(&ProviderError::Unavailable(String::new())));
            }
            Some(_) => return Err(denied("provider-refused", "The identity provider has refused to sign you in.")),
        }
        let code = query.code.filter(|code| (1..=MOST_CODE).contains(&code.len()));
        let code = code.ok_or_else(|| denied("provider-refused", "The identity provider has sent no code."))?;
        let (next, back) = (visit.next.clone(), back(self.app)?);
        let said = self.provider.exchange(code, visit.clone(), &back, now).await.map_err(|error| {
            tracing::warn!(%error, "a sign-in by the identity provider failed");
            refused(&error)
        })?;
        Ok((self.take_in(&said, &visit).await?, next))
    }

    /// Two who come at a time may find each other's: the second then finds what the first has made.
    async fn take_in(&self, said: &Said, visit: &Visit) -> Result<String, ApiError> {
        match self.once(said, visit).await {
            Err(error) if ["email-taken", "identity-taken", "not-found"].contains(&error.code()) => {
                self.once(said, visit).await
            }
            other => other,
        }
    }

    async fn once(&self, said: &Said, visit: &Visit) -> Result<String, ApiError> {
        let (people, now) = (self.app.shared.store.people(), self.app.now());
        let session = self.app.shared.cookies.token(self.headers);
        let signed_in = session.and_then(|token| people.session(&token, now)).map(|(_, user)| user.id);
        let Said { key, email, is_verified, .. } = said.clone();
        let by_email = email.as_ref().and_then(|email| people.user_by_email(email));
        let known = people.user_by_identity(&key).or(by_email).map(|user| user.id);
        let proof = Arc::new(Proof { key, email, is_verified, signed_in });
        let (token, hash) = token::generate();
        let (user, command) = match known {
            Some(user) => (user, PeopleCommand::SignInBy(user, proof, hash)),
            None => {
                let user = self.new_user(said)?;
                let joins = match visit.invitation {
                    Some(link) => Joins::Invitation(link),
                    None => Joins::New(wish("#", &user.name, None)?),
                };
                (user.id, PeopleCommand::Register(Arc::new(user), joins, hash, Some(proof)))
            }
        };
        let request = PeopleRequest::new(as_user(user), None, command, silent());
        self.app.change_people(request).await?;
        Ok(token)
    }

    fn new_user(&self, said: &Said) -> Result<User, ApiError> {
        let Some(email) = said.email.clone() else {
            return Err(denied(
                "no-email",
                "The identity provider gives no e-mail address of yours that can be taken.",
            ));
        };
        registration(self.app, self.address)?;
        let name = said.name.as_deref().and_then(|text| name(text).ok()).unwrap_or_else(|| email.to_string());
        let now = self.app.now();
        Ok(User { id: UserId::new(now), email, name, password: None, is_administrator: false, created_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_server_is_gone_on_to() {
        for good in ["/", "/portal", "/admin?org=a#usage", "/a//b", "/a:b@c"] {
            assert_eq!(local(good).unwrap(), good);
        }
        let long = format!("/{}", "a".repeat(MOST_NEXT));
        for bad in [
            "",
            "portal",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "/\t/evil.example",
            " /portal",
            "/ä",
            "/a\r\nset-cookie: a=b",
            &long,
        ] {
            assert!(local(bad).is_err(), "{bad:?}");
        }
    }
}
