//! What members are told by mail: the portal's page on which they choose, and the page behind a mail's link.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{Method, Response};
use metergate_pages::alone::{AloneForm, DonePage};
use metergate_pages::answers::Notifications;
use metergate_pages::form::Form;
use metergate_pages::forms::notifications as form;
use metergate_pages::frame::Place;
use serde_json::{Map, Value, json};

use super::action::{self, Then};
use super::api::Call;
use super::html;
use super::portal::seen;
use super::sent::Sent;
use super::trouble::Trouble;
use super::visit::{Anybody, Pages, Visit, in_path};
use crate::http::body;

type Page = Result<Response<Body>, Trouble>;

/// The form, the call's path, and where it leads back to.
async fn choosing(visit: &mut Visit) -> Result<(Form, String, String), Trouble> {
    let key = in_path(&seen(visit).await?.key);
    let path = format!("/v1/organizations/{key}/members/me/notifications");
    let found: Notifications = visit.api.get(&path).await?;
    let back = format!("/portal?org={key}");
    Ok((form::choose(&found).back(back.clone()), path, back))
}

pub(super) async fn show(mut visit: Visit) -> Page {
    let (form, ..) = choosing(&mut visit).await?;
    Ok(action::show(&visit, form, Place::Notifications))
}

pub(super) async fn sent(mut sent: Sent) -> Page {
    let (form, path, back) = choosing(&mut sent.visit).await?;
    let wanted = |name: &str| (name.to_owned(), Value::Bool(sent.typed.is_checked(name)));
    let body: Map<String, Value> = form::NAMES.into_iter().map(wanted).collect();
    let call = Call::new(Method::PATCH, path, Value::Object(body));
    action::send(&sent, form, &call, Then::Go(back, "profile"), Place::Notifications).await
}

/// The page behind a mail's link. It only asks: programs that look through mail follow every link.
pub(super) async fn unsubscribe(visitor: Anybody) -> Page {
    let token = visitor.query("token").ok_or_else(Trouble::not_found)?;
    let form = form::unsubscribe(&in_path(token));
    let frame = visitor.frame.clone().at(form.title().to_owned(), Place::None);
    Ok(html(&AloneForm::new(frame, form, None)))
}

/// Its button, or that of a mail program, which sends `List-Unsubscribe=One-Click` to the link as it is, from wherever it is, with
/// no cookie, and as a form of either kind (RFC 8058). So the link alone counts, and nothing that is sent along.
pub(super) async fn unsubscribed(State(pages): State<Pages>, request: Request) -> Page {
    let (mut parts, body) = request.into_parts();
    let visitor = Anybody::from_request_parts(&mut parts, &pages).await?;
    body::read(body).await.map_err(|_| Trouble::too_large())?;
    let token = visitor.query("token").ok_or_else(Trouble::not_found)?;
    let call = Call::new(Method::POST, "/v1/notifications/unsubscribe", json!({"token": token}));
    let answer = visitor.api.ask(&call, None).await?;
    if !answer.status.is_success() {
        return Err(Trouble::refused(answer.status, answer.problem()));
    }
    let frame = visitor.frame.clone().at("No more mails", Place::None);
    let detail = "Nothing more is mailed to you about this organization. In its portal you can choose at any time what you are told.";
    Ok(html(&DonePage::new(frame, detail)))
}
