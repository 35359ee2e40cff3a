//! Ways to where an organization's own people pay: Stripe's Customer Portal and Checkout. They may be gone while the
//! organization is locked, since paying is what unlocks it.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_rules::id::PriceId;
use metergate_rules::role::Right;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::configured;
use crate::hex::hex;
use crate::http::auth::Credential;
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::idempotency;
use crate::http::operation::Operation;
use crate::http::reports::report_to;
use crate::http::state::App;
use crate::random;
use crate::stripe::Api;
use crate::stripe::api::{CallError, Checkout};

/// Where the portal shows what is paid for: where people come back.
const BACK: &str = "/portal/billing";

/// Where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayingBody {
    /// A page of Stripe's. It opens for a short time.
    pub url: String,
}

/// What somebody wants to pay for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    /// The key of a plan that has a price, as `GET …/subscription` offers them.
    #[schema(example = "pro")]
    pub plan: String,
}

/// The organization as Stripe is to know it.
struct Payer {
    id: String,
    customer: Option<String>,
    /// Whether it pays for a subscription already.
    is_subscribed: bool,
}

async fn payer(operation: &Operation<Credential>) -> Result<(Api, Payer), ApiError> {
    let caller = operation.by.may(Right::Pay)?;
    let (app, org) = (&operation.app, operation.organization()?);
    let found = report_to(app, caller.scope, false, move |report| {
        let account = report.current(&org)?.account;
        let known = account.subscription.as_deref().and_then(|known| known.customer.as_ref());
        let (id, customer) = (account.id.to_string(), known.map(ToString::to_string));
        Ok(Payer { id, customer, is_subscribed: account.is_subscribed() })
    });
    let payer = found.await?;
    let api = configured(app)?.api.clone().ok_or_else(super::not_configured)?;
    Ok((api, payer))
}

/// A link to Stripe's Customer Portal, where the organization's owners and admins see invoices and change how they pay.
#[utoipa::path(post, operation_id = "create_billing_portal_link", path = "/v1/organizations/{org}/subscription/portal", tag = "subscriptions",
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = PayingBody), (status = 404, description = "Unknown, or no API key of Stripe's is configured"), (status = 409, description = "No customer of Stripe's is linked"), (status = 502, description = "Stripe refuses it"), (status = 503, description = "Stripe cannot be asked")))]
pub async fn portal(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let (api, payer) = payer(&operation).await?;
    let Some(customer) = payer.customer else {
        let detail = "The organization is no customer of Stripe's yet: it becomes one by a checkout, or by a link.";
        return Err(ApiError::conflict("no-customer", detail));
    };
    let (back, key) = (back(&operation.app)?, once(&operation, &payer.id)?);
    made(move || api.portal(&customer, &back, &key)).await
}

/// A link to Stripe's Checkout, where the organization's owners and admins subscribe to a plan.
#[utoipa::path(post, operation_id = "create_checkout_link", path = "/v1/organizations/{org}/subscription/checkout", tag = "subscriptions", request_body = CheckoutBody,
    params(("org" = String, Path, description = "Id or key")),
    responses((status = 201, body = PayingBody), (status = 404, description = "Unknown, or no API key of Stripe's is configured"), (status = 409, description = "It has a subscription already"), (status = 422, description = "Not a plan that has a price"), (status = 502, description = "Stripe refuses it"), (status = 503, description = "Stripe cannot be asked")))]
pub async fn checkout(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let (api, payer) = payer(&operation).await?;
    let asked: CheckoutBody = operation.json()?;
    let snapshot = operation.app.snapshot();
    let price = snapshot.plan_entry(&asked.plan).and_then(|plan| plan.spec.stripe_prices.first());
    let price = price.and_then(|price| PriceId::new(price).ok());
    let Some(price) = price else {
        return Err(ApiError::invalid("#/plan", "Name a plan that has a price of Stripe's."));
    };
    if payer.is_subscribed {
        let detail = "The organization has a subscription already: change it by POST …/subscription/portal.";
        return Err(ApiError::conflict("already-subscribed", detail));
    }
    let (back, key) = (back(&operation.app)?, once(&operation, &payer.id)?);
    made(move || {
        let (organization, customer) = (payer.id.as_str(), payer.customer.as_deref());
        api.checkout(&Checkout { organization, customer, price: price.as_str(), back: &back }, &key)
    })
    .await
}

/// The key under which Stripe makes a page once: of this call, or of all that have the same key of the caller's, path and body.
fn once(operation: &Operation<Credential>, organization: &str) -> Result<String, ApiError> {
    let Some(key) = idempotency::key(&operation.headers)? else { return Ok(hex(&random::bytes::<16>())) };
    let mut hash = Sha256::new();
    for part in [organization.as_bytes(), key.as_str().as_bytes(), operation.uri.path().as_bytes(), &operation.body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Ok(hex(&hash.finalize()))
}

fn back(app: &App) -> Result<String, ApiError> {
    Ok(format!("{}{BACK}", app.shared.cookies.base()?))
}

async fn made(ask: impl FnOnce() -> Result<String, CallError> + Send + 'static) -> Result<Response<Body>, ApiError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    match asked.map_err(ApiError::internal)? {
        Ok(url) => Ok(json(StatusCode::CREATED, &PayingBody { url })),
        Err(error @ CallError::Later(..)) => {
            tracing::warn!(%error, "a page of Stripe's could not be had");
            Err(ApiError::unavailable(5))
        }
        Err(error) => {
            tracing::warn!(%error, "a page of Stripe's was refused");
            let detail = "Stripe refuses it; the log of this server says why.";
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "stripe-refused", detail))
        }
    }
}
