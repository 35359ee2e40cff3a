//! The dashboard's pages about webhook endpoints, and what was sent to them.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use metergate_pages::answers::{Paged, WebhookDelivery, WebhookEndpoint};
use metergate_pages::form::Shown;
use metergate_pages::frame::Place;
use metergate_pages::organizations::in_query;
use metergate_pages::webhooks::{Waiting, WebhookPage, Webhooks};

use super::html;
use super::trouble::Trouble;
use super::visit::{AtDashboard, in_path};

type Page = Result<Response<Body>, Trouble>;

/// Deliveries in a page of the list.
const ROWS: u32 = 25;
/// Deliveries that are looked through for the next that is due.
const MOST: u32 = 200;

pub(super) async fn all(AtDashboard(visit): AtDashboard) -> Page {
    Ok(html(&Webhooks::new(visit.frame.clone(), visit.api.all("/v1/webhook-endpoints").await?)))
}

pub(super) async fn one(AtDashboard(visit): AtDashboard, Path(id): Path<String>) -> Page {
    let path = format!("/v1/webhook-endpoints/{}", in_path(&id));
    let endpoint: WebhookEndpoint = visit.api.get(&path).await?;
    let pending: Paged<WebhookDelivery> =
        visit.api.get(&format!("{path}/deliveries?state=pending&limit={MOST}")).await?;
    let asked = |name: &str| visit.query(name).filter(|value| !value.is_empty());
    let narrowed = |name: &str| asked(name).map_or_else(String::new, |value| format!("&{name}={}", in_query(value)));
    let path = format!("{path}/deliveries?limit={ROWS}{}{}", narrowed("state"), narrowed("cursor"));
    // A state that is none has no deliveries.
    let found: Result<Paged<WebhookDelivery>, Trouble> = visit.api.get(&path).await;
    let page = match found {
        Err(Trouble::Refused(StatusCode::UNPROCESSABLE_ENTITY, _)) => Paged { data: Vec::new(), next_cursor: None },
        other => other?,
    };
    let state = asked("state").unwrap_or_default();
    Ok(html(&WebhookPage::new(
        visit.frame.clone(),
        (endpoint, Waiting::of(&pending)),
        page,
        state,
        asked("cursor").is_some(),
    )))
}

pub(super) async fn secret(AtDashboard(visit): AtDashboard, Path(id): Path<String>) -> Page {
    let path = format!("/v1/webhook-endpoints/{}?secret=true", in_path(&id));
    let endpoint: WebhookEndpoint = visit.api.get(&path).await?;
    let title = format!("Secret of {}", endpoint.name());
    let intro = "Give it to your receiver and to nobody else.";
    let back = format!("/admin/webhooks/{}", endpoint.id);
    let frame = visit.frame.clone().at(title.clone(), Place::Webhooks);
    Ok(html(&Shown::new(frame, title, intro, endpoint.secret.unwrap_or_default(), back)))
}
