//! Signing in and up, the first set-up, and links that are opened.
//!
//! A link is opened by a button, not by being looked at: programs that look through mail follow every link.

use axum::body::Body;
use axum::http::header::SET_COOKIE;
use axum::http::{Method, Response, StatusCode};
use metergate_pages::alone::AloneForm;
use metergate_pages::answers::{Fault, Me, Problem};
use metergate_pages::form::Form;
use metergate_pages::forms::entry;
use metergate_pages::frame::Place;
use serde_json::json;

use super::action::once;
use super::api::{Answer, Api, Call};
use super::html;
use super::sent::{Sent, SentByAnybody, Typed};
use super::trouble::{Trouble, see_other};
use super::visit::{Anybody, Visit, in_path, own_path, unless};
use crate::http::state::App;

type Page = Result<Response<Body>, Trouble>;

/// A form on a page of its own.
fn alone(visitor: &Anybody, form: Form) -> Response<Body> {
    with_provider(visitor, form, None)
}

/// The same where one can also sign in by the identity provider: by what is asked of it, such as where to go on to.
fn with_provider(visitor: &Anybody, form: Form, asked: Option<String>) -> Response<Body> {
    let asked = asked.filter(|_| visitor.app.shared.provider.is_some());
    let provider = asked.map(|asked| format!("/auth/oidc/start?{asked}"));
    let frame = visitor.frame.clone().at(form.title().to_owned(), Place::None);
    html(&AloneForm::new(frame, form.once_unless_set(once()), provider))
}

/// A form that was refused, with what was typed.
fn again(visitor: &Anybody, form: Form, typed: &Typed, status: StatusCode, problem: &Problem) -> Response<Body> {
    // What may have been done all the same is sent again under the same key.
    let is_open = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let key = typed.once().filter(|_| is_open).unwrap_or_default();
    let form = form.with(|name| typed.raw(name).map(str::to_owned)).refused(problem).once(key);
    let mut response = alone(visitor, form);
    *response.status_mut() = status;
    response
}

/// Goes on with the cookie that the API has set, or taken away.
fn go_on(answer: &Answer, to: &str) -> Response<Body> {
    let mut response = see_other(to);
    for cookie in answer.headers.get_all(SET_COOKIE) {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    response
}

/// Asks for a change, and shows the form again where it is refused.
async fn ask(visitor: &Anybody, api: &Api, call: &Call, form: Form, typed: &Typed, to: &str) -> Page {
    let answer = api.ask(call, typed.once()).await?;
    if answer.status.is_success() {
        return Ok(go_on(&answer, to));
    }
    Ok(again(visitor, form, typed, answer.status, &answer.problem()))
}

fn post(path: &str, body: serde_json::Value) -> Call {
    Call::new(Method::POST, path, body)
}

fn has_administrator(app: &App) -> bool {
    app.shared.store.people().users_after(None).any(|user| user.is_administrator)
}

/// `/`: leads to what whoever comes has to do with.
pub(super) async fn start(visitor: Anybody) -> Page {
    let me = visitor.api.get::<Me>("/v1/me").await;
    Ok(see_other(match me {
        Ok(me) if me.operator => "/admin",
        Ok(_) => "/portal",
        Err(Trouble::SignIn(_)) if !has_administrator(&visitor.app) => "/setup",
        Err(Trouble::SignIn(_)) => "/sign-in",
        Err(trouble) => return Err(trouble),
    }))
}

pub(super) async fn sign_in(visitor: Anybody) -> Page {
    if let Some(token) = visitor.query("token") {
        return Ok(alone(&visitor, entry::sign_in_link(token).to("/sign-in")));
    }
    let next = own_path(visitor.query("next")).unwrap_or_default();
    let to = if next.is_empty() { "/" } else { next };
    Ok(with_provider(&visitor, entry::sign_in(next).to("/sign-in"), Some(format!("next={}", in_path(to)))))
}

pub(super) async fn sign_in_sent(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    let next = own_path(typed.text("next")).unwrap_or("/");
    let (call, form) = match typed.text("token") {
        Some(token) => {
            let password = typed.raw("password").filter(|password| !password.is_empty());
            let body = password
                .map_or_else(|| json!({"token": token}), |password| json!({"token": token, "password": password}));
            (post("/v1/sessions", body), entry::sign_in_link(token).to("/sign-in"))
        }
        None => {
            let body = json!({"email": typed.word("email"), "password": typed.raw("password").unwrap_or_default()});
            (post("/api/auth/login", body), entry::sign_in(typed.text("next").unwrap_or_default()).to("/sign-in"))
        }
    };
    ask(&visitor, &visitor.api, &call, form, &typed, next).await
}

pub(super) async fn sign_up(visitor: Anybody) -> Page {
    Ok(with_provider(&visitor, entry::sign_up().to("/sign-up"), Some("next=%2Fportal".to_owned())))
}

pub(super) async fn sign_up_sent(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    let body = json!({"email": typed.word("email"), "password": typed.raw("password").unwrap_or_default(),
        "name": typed.word("name"), "organizationName": typed.word("organizationName")});
    let call = post("/api/auth/register", body);
    ask(&visitor, &visitor.api, &call, entry::sign_up().to("/sign-up"), &typed, "/portal").await
}

/// For who is in no organization.
pub(super) async fn nowhere(visit: Visit) -> Page {
    let form = Form::new("You are in no organization", "Sign out")
        .say("Ask somebody who is in one to invite you, or sign out and create one of your own.")
        .to("/sign-out");
    Ok(alone(&visit, form))
}

/// Ends the session.
pub(super) async fn sign_out(sent: Sent) -> Page {
    if sent.visit.me().user.is_none() {
        // A portal's session ends by itself; the browser forgets it at once.
        let mut response = see_other("/sign-in");
        response.headers_mut().extend(sent.visit.app.shared.cookies.set(None).map(|gone| (SET_COOKIE, gone)));
        return Ok(response);
    }
    let answer = sent.visit.api.ask(&post("/api/auth/logout", serde_json::Value::Null), None).await?;
    if answer.status.is_success() {
        Ok(go_on(&answer, "/sign-in"))
    } else {
        Err(Trouble::refused(answer.status, answer.problem()))
    }
}

pub(super) async fn setup(visitor: Anybody) -> Page {
    if has_administrator(&visitor.app) {
        return Ok(see_other("/sign-in"));
    }
    Ok(alone(&visitor, entry::setup().to("/setup")))
}

pub(super) async fn setup_sent(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    if has_administrator(&visitor.app) {
        return Ok(see_other("/sign-in"));
    }
    let form = || entry::setup().to("/setup");
    let wrong = |detail: &str| {
        let fault = Fault { detail: detail.to_owned(), pointer: "#/key".to_owned() };
        Problem { errors: vec![fault], ..Problem::default() }
    };
    let (email, password) = (typed.word("email"), typed.raw("password").unwrap_or_default());
    let Some(api) = visitor.api.with_key(&typed.word("key")) else {
        return Ok(again(&visitor, form(), &typed, StatusCode::UNPROCESSABLE_ENTITY, &wrong("This is no key.")));
    };
    let body = json!({"email": email, "name": typed.word("name"), "password": password});
    let answer = api.ask(&post("/v1/administrators", body), typed.once()).await?;
    match answer.status.as_u16() {
        200..300 => {
            let call = post("/api/auth/login", json!({"email": email, "password": password}));
            ask(&visitor, &visitor.api, &call, entry::sign_in("").to("/sign-in"), &typed, "/admin").await
        }
        401 | 403 => Ok(again(&visitor, form(), &typed, answer.status, &wrong("This is not the administrator key."))),
        _ => Ok(again(&visitor, form(), &typed, answer.status, &answer.problem())),
    }
}

pub(super) async fn reset(visitor: Anybody) -> Page {
    let form = visitor.query("token").map_or_else(entry::forgot, entry::reset);
    Ok(alone(&visitor, form.to("/reset")))
}

pub(super) async fn reset_sent(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    if let Some(token) = typed.text("token") {
        let body = json!({"token": token, "password": typed.raw("password").unwrap_or_default()});
        let form = entry::reset(token).to("/reset");
        return ask(&visitor, &visitor.api, &post("/v1/sessions", body), form, &typed, "/").await;
    }
    let call = post("/v1/password-resets/request", json!({"email": typed.word("email")}));
    ask(&visitor, &visitor.api, &call, entry::forgot().to("/reset"), &typed, "/sign-in?done=reset-sent").await
}

async fn signed_in(visitor: &Anybody) -> Result<Option<Me>, Trouble> {
    let me = match visitor.api.get::<Me>("/v1/me").await {
        Err(Trouble::SignIn(_)) => None,
        me => unless(StatusCode::FORBIDDEN, me)?,
    };
    Ok(me.filter(|me| me.user.is_some()))
}

pub(super) async fn join(visitor: Anybody) -> Page {
    let token = visitor.query("token").ok_or_else(Trouble::not_found)?;
    Ok(match signed_in(&visitor).await? {
        Some(me) => alone(&visitor, entry::join(token, me.email()).to("/join")),
        None => {
            let asked = format!("invitation={}&next=%2Fportal", in_path(token));
            with_provider(&visitor, entry::join_new(token).to("/join"), Some(asked))
        }
    })
}

pub(super) async fn join_sent(SentByAnybody { visitor, typed }: SentByAnybody) -> Page {
    let token = typed.word("token");
    let (call, form) = match signed_in(&visitor).await? {
        Some(me) => (post("/v1/invitations/accept", json!({"token": token})), entry::join(&token, me.email())),
        None => {
            let body = json!({"email": typed.word("email"), "password": typed.raw("password").unwrap_or_default(),
                "name": typed.word("name"), "invitation": token});
            (post("/api/auth/register", body), entry::join_new(&token))
        }
    };
    ask(&visitor, &visitor.api, &call, form.to("/join"), &typed, "/portal?done=joined").await
}

pub(super) async fn verify(visit: Visit) -> Page {
    let token = visit.query("token").ok_or_else(Trouble::not_found)?;
    Ok(alone(&visit, entry::verify(token).to("/verify")))
}

pub(super) async fn verify_sent(sent: Sent) -> Page {
    let token = sent.typed.word("token");
    let call = post("/v1/email-verifications/confirm", json!({"token": token}));
    let form = entry::verify(&token).to("/verify");
    ask(&sent.visit, &sent.visit.api, &call, form, &sent.typed, "/portal?done=verified").await
}
