//! The actions on webhook endpoints: which form each shows, and which call of the API it becomes.

use axum::http::Method;
use metergate_pages::answers::WebhookEndpoint;
use metergate_pages::form::Form;
use metergate_pages::forms::webhooks;
use metergate_pages::frame::Place;
use serde_json::{Value, json};

use super::super::api::Call;
use super::super::sent::Typed;
use super::super::trouble::Trouble;
use super::super::visit::{Visit, in_path};
use super::Then;
use super::team_calls::{Action, action, part};

const PLACE: Place = Place::Webhooks;
const BACK: &str = "/admin/webhooks";

pub(super) const ACTIONS: [Action; 8] = [
    action("new-webhook", BACK, PLACE, "webhook-saved", |typed| {
        Ok(Call::new(Method::POST, "/v1/webhook-endpoints", body(typed)))
    }),
    action("webhook", BACK, PLACE, "webhook-saved", |typed| Ok(Call::new(Method::PATCH, path(typed, ""), body(typed)))),
    action("enable-webhook", BACK, PLACE, "webhook-enabled", |typed| {
        Ok(Call::new(Method::PATCH, path(typed, ""), json!({"enabled": true})))
    }),
    action("disable-webhook", BACK, PLACE, "webhook-disabled", |typed| {
        Ok(Call::new(Method::PATCH, path(typed, ""), json!({"enabled": false, "reason": typed.word("reason")})))
    }),
    action("delete-webhook", BACK, PLACE, "webhook-deleted", |typed| {
        Ok(Call::new(Method::DELETE, path(typed, ""), json!({"reason": typed.word("reason")})))
    }),
    action("rotate-webhook", BACK, PLACE, "webhook-saved", |typed| {
        let body = if typed.is_checked("atOnce") { json!({"oldEndsInSeconds": 0}) } else { json!({}) };
        Ok(Call::new(Method::POST, path(typed, "/rotate-secret"), body))
    }),
    action("test-webhook", BACK, PLACE, "webhook-tested", |typed| {
        Ok(Call::new(Method::POST, path(typed, "/test"), json!({})))
    }),
    action("resend-webhook", BACK, PLACE, "webhook-resent", |typed| {
        let below = format!("/deliveries/{}/resend", part(typed, "delivery"));
        Ok(Call::new(Method::POST, path(typed, &below), json!({})))
    }),
];

fn path(typed: &Typed, below: &str) -> String {
    format!("/v1/webhook-endpoints/{}{below}", part(typed, "endpoint"))
}

fn body(typed: &Typed) -> Value {
    json!({"url": typed.word("url"), "description": typed.word("description"), "types": typed.chosen("type.")})
}

/// What follows once it is done: a new secret is shown, and what was sent is seen among the deliveries.
pub(super) fn then(action: &Action, typed: &Typed) -> Then {
    let page = format!("{BACK}/{}", part(typed, "endpoint"));
    let shows = |back: String| Then::Show {
        title: "The endpoint's secret",
        intro: "Give it to your receiver and to nobody else. The endpoint's page shows it again.",
        secret: "secret",
        back,
        done: action.done,
    };
    match action.word {
        "new-webhook" => shows(BACK.to_owned()),
        "rotate-webhook" => shows(page),
        "delete-webhook" => Then::Go(BACK.to_owned(), action.done),
        _ => Then::Go(page, action.done),
    }
}

/// The form of an action, with what is there already.
pub(super) async fn form(visit: &Visit, action: &Action, typed: &Typed) -> Result<Form, Trouble> {
    if action.word == "new-webhook" {
        return Ok(webhooks::endpoint(None));
    }
    let named = |name: &str| typed.text(name).or_else(|| visit.query(name)).unwrap_or("-").to_owned();
    let path = format!("/v1/webhook-endpoints/{}", in_path(&named("endpoint")));
    let endpoint: WebhookEndpoint = visit.api.get(&path).await?;
    Ok(match action.word {
        "webhook" => webhooks::endpoint(Some(&endpoint)),
        "enable-webhook" => webhooks::switch(&endpoint, true),
        "disable-webhook" => webhooks::switch(&endpoint, false),
        "delete-webhook" => webhooks::delete(&endpoint),
        "rotate-webhook" => webhooks::rotate(&endpoint),
        "test-webhook" => webhooks::test(&endpoint),
        _ => webhooks::resend(&endpoint, &named("delivery")),
    })
}
