//! Stripe (P7): its webhooks, what it told, and an organization's subscription.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use metergate_rules::command::Command;
use metergate_rules::id::{CustomerId, InvalidId, SubscriptionId};
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Credential;
use super::body::Raw;
use super::change::{answer, written};
use super::decision::json;
use super::error::ApiError;
use super::operation::Operation;
use super::page::{PageQuery, Paged, bad_cursor};
use super::path::Path;
use super::query::Pairs;
use super::reports::{organization, report};
use super::state::{App, Operator};
use super::team;
use crate::report::subscription::SubscriptionBody;
use crate::report::{Timestamp, text_of};
use crate::store::Respond;
use crate::store::stripe::{Again, EventList, EventRow, EventState, StripeRow, StripeWork};
use crate::stripe::{Stripe, event, signature};

pub mod paying;

/// The largest webhook in bytes. Stripe's own are far smaller, and larger than what other strangers may send.
pub(super) const MOST_BYTES: u64 = 1 << 20;

/// Whether a request can be one of Stripe's webhooks. Who sends it only its signature tells, which is over the whole body.
pub(super) fn may_send(app: &App, parts: &Parts) -> bool {
    let takes = app.shared.stripe.as_ref().is_some_and(|stripe| !stripe.secrets.is_empty());
    takes && parts.uri.path() == "/webhooks/stripe" && parts.headers.contains_key("stripe-signature")
}

/// That a webhook was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    /// Always so.
    pub received: bool,
}

/// With which subscription and customer of Stripe's an organization is linked: both are set.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkBody {
    /// Stripe's id of the subscription; none takes the link away.
    #[serde(default)]
    #[schema(example = "sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    pub subscription: Option<String>,
    /// Stripe's id of the customer; none where it is not known.
    #[serde(default)]
    #[schema(example = "cus_Na6dX7aXxi11N4")]
    pub customer: Option<String>,
    /// Why; kept in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// What Stripe told, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StripeEventBody {
    /// Stripe's id.
    pub id: String,
    /// Its type, such as `customer.subscription.updated`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `waiting`, `unmatched` (no organization is known that it is about), `failed`, `done` or `ignored`.
    pub state: &'static str,
    /// The subscription that it is about.
    pub subscription: Option<String>,
    /// The customer that it is about.
    pub customer: Option<String>,
    /// The organization that its metadata names, as long as it is not done.
    pub names: Option<String>,
    /// The id of the organization to which it was applied.
    pub organization: Option<String>,
    /// What became of it, in words.
    pub note: String,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried next, while it waits or is unmatched.
    pub due_at: Option<Timestamp>,
    /// When it arrived.
    pub received_at: Timestamp,
}

impl From<EventRow> for StripeEventBody {
    fn from(row: EventRow) -> Self {
        let waits = matches!(row.state, EventState::Waiting | EventState::Unmatched);
        Self {
            id: row.id,
            kind: row.kind,
            state: row.state.as_str(),
            subscription: row.subject.subscription,
            customer: row.subject.customer,
            names: row.subject.hint,
            organization: row.organization.map(|id| id.to_string()),
            note: row.note,
            attempts: row.attempts,
            due_at: waits.then_some(Timestamp(row.due_at)),
            received_at: Timestamp(row.received_at),
        }
    }
}

fn not_configured() -> ApiError {
    let detail =
        "Stripe is not configured on this server: set METERGATE_STRIPE_WEBHOOK_SECRET and METERGATE_STRIPE_API_KEY.";
    ApiError::new(StatusCode::NOT_FOUND, "stripe-not-configured", detail)
}

/// What is configured of Stripe.
fn configured(app: &App) -> Result<&Arc<Stripe>, ApiError> {
    app.shared.stripe.as_ref().ok_or_else(not_configured)
}

/// Takes one of Stripe's webhooks: once for each event, whenever and however often it comes. It is durable before the answer, and
/// applied within a second.
#[utoipa::path(post, operation_id = "receive_stripe_webhook", path = "/webhooks/stripe", tag = "subscriptions", security(()), request_body(content = String, content_type = "application/json", description = "An event of Stripe's"),
    params(("stripe-signature" = String, Header, description = "As Stripe makes it")),
    responses((status = 200, body = Received), (status = 400, description = "Not signed by the configured secret, not now, or no event"), (status = 404, description = "No secret is configured"), (status = 413, description = "More than 1 MiB")))]
pub async fn webhook(State(app): State<App>, headers: HeaderMap, Raw(body): Raw) -> Result<Response<Body>, ApiError> {
    let stripe =
        app.shared.stripe.as_ref().filter(|stripe| !stripe.secrets.is_empty()).ok_or_else(ApiError::not_found)?;
    if body.len() as u64 > MOST_BYTES {
        return Err(ApiError::payload_too_large(format!("A webhook has at most {MOST_BYTES} bytes.")));
    }
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |why: String| ApiError::new(StatusCode::BAD_REQUEST, "invalid-signature", why);
    signature::verify(header, &body, &stripe.secrets, app.now()).map_err(|why| refused(why.to_string()))?;
    let text = std::str::from_utf8(&body).map_err(|_| ApiError::malformed("An event of Stripe's is UTF-8."))?;
    let taken =
        event::event(text).map_err(|why| ApiError::malformed(format!("This is no event of Stripe's: {why}.")))?;
    app.shared.store.stripe(&app.port, StripeWork::Take(vec![taken])).await?;
    stripe.wake.notify_one();
    Ok(json(StatusCode::OK, &Received { received: true }))
}

/// An organization's subscription: what it is linked with, how that stands, and what follows from it.
#[utoipa::path(get, operation_id = "get_subscription", path = "/v1/organizations/{org}/subscription", tag = "subscriptions",
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = SubscriptionBody), (status = 404, description = "Unknown")))]
pub async fn get(
    State(app): State<App>,
    Path(org): Path<String>,
    credential: Credential,
) -> Result<Response<Body>, ApiError> {
    let (org, asks) = (organization(&org)?, asks(&app));
    let body = report(&app, &credential, false, move |report| report.subscription(&org, asks)).await?;
    Ok(json(StatusCode::OK, &body))
}

fn asks(app: &App) -> bool {
    app.shared.stripe.as_ref().is_some_and(|stripe| stripe.api.is_some())
}

/// Links an organization with a subscription and a customer of Stripe's, or with none. What Stripe has told of them already, and
/// nobody could be found for, is applied now; where there is an API key Stripe is asked how the subscription stands.
#[utoipa::path(put, operation_id = "link_subscription", path = "/v1/organizations/{org}/subscription", tag = "subscriptions", request_body = LinkBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 200, body = SubscriptionBody), (status = 404, description = "Unknown"), (status = 409, description = "Another organization has the subscription"), (status = 422, description = "Not valid")))]
pub async fn link(operation: Operation) -> Result<Response<Body>, ApiError> {
    let asked: LinkBody = operation.json()?;
    let wrong = |pointer: &'static str| move |why: InvalidId| ApiError::invalid(pointer, why.to_string());
    let id = asked.subscription.as_deref().map(SubscriptionId::new).transpose().map_err(wrong("#/subscription"))?;
    let customer = asked.customer.as_deref().map(CustomerId::new).transpose().map_err(wrong("#/customer"))?;
    let (app, asks) = (operation.app.clone(), asks(&operation.app));
    let respond: Respond =
        Arc::new(move |after| answer(200, after, &SubscriptionBody::of(after.account, after.catalogue, asks)));
    let command = Command::LinkSubscription { id: id.clone(), customer };
    let route = "PUT /v1/organizations/{org}/subscription";
    let done = operation.run(route, command, asked.reason, respond).await?;
    if let (Some(id), true) = (id, asks) {
        let sync = StripeRow::Event(Box::new(EventRow::sync(id.as_str(), app.now())));
        app.shared.store.stripe(&app.port, StripeWork::Note(vec![sync])).await?;
    }
    if let Some(stripe) = &app.shared.stripe {
        stripe.wake.notify_one();
    }
    Ok(done)
}

/// What Stripe told, the newest first. Of what is done nothing is left but what it was about.
#[utoipa::path(get, operation_id = "list_stripe_events", path = "/v1/stripe-events", tag = "subscriptions",
    params(PageQuery, ("state" = Option<Vec<String>>, Query, description = "waiting, unmatched, failed, done or ignored; repeatable, all without one")),
    responses((status = 200, body = Paged<StripeEventBody>), (status = 422, description = "Not valid")))]
pub async fn events(State(app): State<App>, _by: Operator, uri: Uri) -> Result<Response<Body>, ApiError> {
    let pairs = Pairs::of(&uri, &["limit", "cursor", "state"])?;
    let page = pairs.page()?;
    let state = |name: &String| {
        let detail = "Send waiting, unmatched, failed, done or ignored.";
        EventState::from_name(name).ok_or_else(|| ApiError::invalid("?state", detail))
    };
    let states = pairs.all("state").iter().map(state).collect::<Result<Vec<_>, _>>()?;
    let before = page.after.as_deref().map(|key| place(key).ok_or_else(bad_cursor)).transpose()?;
    let (list, most) = (EventList { states, before }, page.limit + 1);
    let found = app.read(move |view| Ok(view.rows().stripe_events(&list, most)?)).await?;
    let bodies = found.into_iter().map(StripeEventBody::from).collect();
    let key = |body: &StripeEventBody| {
        let Timestamp(at) = body.received_at;
        [&at.micros().to_be_bytes()[..], body.id.as_bytes()].concat()
    };
    Ok(Paged::cut(bodies, &page, key).response(&uri))
}

fn place(key: &[u8]) -> Option<(Time, String)> {
    let (at, id) = key.split_first_chunk()?;
    Some((Time::from_micros(i64::from_be_bytes(*at)), text_of(id)?.to_owned()))
}

/// Has an event tried again that failed, or for which no organization was found.
#[utoipa::path(post, operation_id = "retry_stripe_event", path = "/v1/stripe-events/{id}/retry", tag = "subscriptions", params(("id" = String, Path)),
    responses((status = 200, body = StripeEventBody), (status = 404, description = "Unknown"), (status = 409, description = "It is done")))]
pub async fn retry(operation: Operation) -> Result<Response<Body>, ApiError> {
    let (app, id) = (&operation.app, operation.named.clone());
    let receipt = operation.receipt("POST /v1/stripe-events/{id}/retry", &[id.as_bytes()])?;
    let respond = |event: EventRow| team::answer(200, &StripeEventBody::from(event), None);
    let (answer, replayed) = app.shared.store.stripe_again(&app.port, Again { id, receipt, respond }).await?;
    if let Some(stripe) = &app.shared.stripe {
        stripe.wake.notify_one();
    }
    Ok(written(answer, replayed))
}
