//! `/portal`: what an organization's own people see.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use metergate_rules::role::Right;

use super::ErrorText;
use crate::http::auth::Credential;
use crate::http::decision::json;
use crate::http::error::ApiError;
use crate::http::query::Pairs;
use crate::http::reports::{organization, report};
use crate::http::state::App;
use crate::report::documented::BillingStatus;

/// An organization's plan, its billing period, and what it used and may use in it.
#[utoipa::path(get, operation_id = "portal_billing_status", path = "/portal/billing/status", tag = "documented paths",
    params(("org" = Option<String>, Query, description = "Key or id; a credential that is bound to an organization may leave it out")),
    responses((status = 200, body = BillingStatus), (status = 404, body = ErrorText, description = "Unknown"), (status = 422, body = ErrorText, description = "No organization is named")))]
pub async fn billing_status(
    State(app): State<App>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    credential.may(Right::Read)?;
    let pairs = Pairs::of(&uri, &["org"])?;
    let org = match (pairs.one("org")?, credential.organization()) {
        (Some(text), _) => organization(text)?,
        (None, Some(own)) => own,
        (None, None) => return Err(ApiError::invalid("?org", "Name the organization, such as ?org=acme.")),
    };
    let body = report(&app, &credential, false, move |report| report.billing_status(&org)).await?;
    Ok(json(StatusCode::OK, &body))
}
