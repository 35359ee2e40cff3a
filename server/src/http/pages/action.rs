//! What pages change: each action shows a form, and sends a call of the API. A form that is refused comes back with what was
//! typed and what is wrong; one that is done leads to where the change is seen.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_pages::answers::Problem;
use metergate_pages::form::{Form, FormPage, Shown};
use metergate_pages::frame::{Frame, Place};

use super::api::{Answer, Call};
use super::html;
use super::sent::{Sent, Typed};
use super::trouble::{Trouble, see_other};
use super::visit::Anybody;

mod about;
mod calls;
mod cycle;
mod following;
pub(super) mod of_organization;
pub(super) mod of_own;
pub(super) mod of_team;
mod team_calls;
mod webhook_calls;

/// What follows once it is done.
pub(super) enum Then {
    /// A page, and the word of what was done.
    Go(String, &'static str),
    /// A secret of the answer, by its name there, which is shown once; then a page.
    Show { title: &'static str, intro: &'static str, secret: &'static str, back: String, done: &'static str },
}

/// Shows a form.
pub(super) fn show(visitor: &Anybody, form: Form, place: Place) -> Response<Body> {
    let form = form.once(once());
    let frame = framed(&visitor.frame, &form, place);
    html(&FormPage::new(frame, form))
}

/// A form that shows what will change, with what was chosen and typed before somebody asked to see it.
fn previewed(visitor: &Anybody, form: Form) -> Form {
    match form.has_preview() && visitor.query("preview").is_some() {
        true => form.with(|name| visitor.query(name).map(str::to_owned)),
        false => form,
    }
}

fn framed(frame: &Frame, form: &Form, place: Place) -> Frame {
    let title = form.title().to_owned();
    frame.clone().at(title, place)
}

/// A key under which a form is done once, however often it is sent.
pub(super) fn once() -> String {
    crate::hex::hex(&crate::random::bytes::<16>())
}

/// Sends what was typed.
///
/// # Errors
/// Where nobody is signed in any more, or there is no such thing.
pub(super) async fn send(
    sent: &Sent,
    form: Form,
    call: &Call,
    then: Then,
    place: Place,
) -> Result<Response<Body>, Trouble> {
    let answer = sent.visit.api.ask(call, sent.typed.once()).await?;
    if answer.status.is_success() {
        return Ok(done(&sent.visit.frame, &answer, then, place));
    }
    // What is not found is what was typed: whatever the address names was read just before.
    if answer.status == StatusCode::UNAUTHORIZED {
        return Err(Trouble::refused(answer.status, answer.problem()));
    }
    let form = again(form, &sent.typed, &answer);
    let mut response = html(&FormPage::new(framed(&sent.visit.frame, &form, place), form));
    *response.status_mut() = answer.status;
    Ok(response)
}

/// A form with why it was refused. Where it may have been done all the same, it is sent again under the same key, and so done
/// once; else under another, since what is sent then is something else.
fn again(form: Form, typed: &Typed, answer: &Answer) -> Form {
    let is_open = answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS;
    let key = typed.once().filter(|_| is_open).map_or_else(once, str::to_owned);
    let form = form.with(|name| typed.raw(name).map(str::to_owned)).once(key);
    match answer.status {
        StatusCode::PRECONDITION_FAILED => form.overtaken(),
        _ => form.refused(&answer.problem()),
    }
}

/// The same where the API need not be asked.
fn unsent(frame: &Frame, form: Form, typed: &Typed, problem: &Problem, place: Place) -> Response<Body> {
    let form = form.with(|name| typed.raw(name).map(str::to_owned)).refused(problem).once(once());
    let mut response = html(&FormPage::new(framed(frame, &form, place), form));
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response
}

fn done(frame: &Frame, answer: &Answer, then: Then, place: Place) -> Response<Body> {
    let gone_to = |path: &str, word: &str| {
        let (path, fragment) =
            path.split_once('#').map_or((path, String::new()), |(path, at)| (path, format!("#{at}")));
        let joined = if path.contains('?') { '&' } else { '?' };
        see_other(&format!("{path}{joined}done={word}{fragment}"))
    };
    match then {
        Then::Go(path, word) => gone_to(&path, word),
        Then::Show { title, intro, secret, back, done } => {
            let body: serde_json::Value = answer.read().unwrap_or_default();
            match body[secret].as_str() {
                Some(secret) => {
                    let frame = frame.clone().at(title, place);
                    html(&Shown::new(frame, title, intro, secret.to_owned(), back))
                }
                // It was shown already, or nothing has to be passed on.
                None if answer.status == StatusCode::ACCEPTED => gone_to(&back, "invited"),
                None => gone_to(&back, done),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use axum::http::HeaderMap;

    use super::*;

    #[test]
    fn what_may_have_been_done_is_sent_again_under_its_key_and_nothing_else_is() {
        #[rustfmt::skip]
        let cases = [ // the API's answer, whether the key stays
            (422, false), (409, false), (403, false), (404, false),
            (503, true), (500, true), (429, true),
        ];
        for (status, stays) in cases {
            let typed = Typed::of(&[("once", "the-key"), ("reason", "why")]);
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, headers: HeaderMap::new(), body: bytes::Bytes::new() };
            let form = again(Form::new("Lock", "Lock"), &typed, &answer);
            let page = FormPage::new(Frame::nobody(), form).render().unwrap();
            assert_eq!(page.contains("name=\"once\" value=\"the-key\""), stays, "{status}: {page}");
        }
    }
}
