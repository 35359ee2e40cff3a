//! A decision that is asked for without a body: what a gateway names in the address or in headers, decided like any other.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::value::{RawValue, to_raw_value};

use super::{Answered, ApiError, App, Asking, ConsumeBody, Manner, Mode, RequestId, Snapshot};
use crate::http::rate::Sent;
use crate::store::Caller;

/// What is asked for.
pub(in crate::http) struct Asked<'a> {
    /// The organization's id or key.
    pub organization: &'a str,
    /// The meter's key.
    pub meter: &'a str,
    /// How much, as decimal text; 1 without one.
    pub quantity: Option<&'a str>,
    /// A name for the decision, under which it counts once.
    pub id: Option<&'a str>,
    /// What reports can group by: the text of a JSON object.
    pub properties: Option<&'a RawValue>,
}

/// For whom, and whether it is recorded.
pub(in crate::http) struct Deciding<'a> {
    /// What all handlers have at hand.
    pub app: &'a App,
    /// Meters, plans and keys in force.
    pub snapshot: &'a Arc<Snapshot>,
    /// Who asks.
    pub caller: Caller,
    /// Whether it is recorded.
    pub mode: Mode,
    /// The id of the request, for problems.
    pub request: RequestId,
}

/// An answered decision: an allowed one has headers alone, a refused one is a problem.
pub(in crate::http) struct Decided {
    /// The refusal with the status that D9 gives it; `None` if allowed.
    pub refusal: Option<ApiError>,
    /// The rate headers (D10), and `Retry-After` of a refusal that waiting cures.
    pub headers: HeaderMap,
    /// Whether this is the answer that was given under the id before.
    pub replayed: bool,
    /// Whether it could not be decided, and the plan let it pass.
    pub degraded: bool,
}

/// Decides it.
///
/// # Errors
/// Those of `POST /v1/consume` and `/v1/check`; what they say of members of the body is of what was asked here.
pub(in crate::http) async fn decide(deciding: Deciding<'_>, asked: Asked<'_>) -> Result<Decided, ApiError> {
    let Deciding { app, snapshot, caller, mode, request } = deciding;
    let quantity = asked.quantity.map(to_raw_value).transpose().map_err(ApiError::internal)?;
    let body = ConsumeBody {
        organization: Cow::Borrowed(asked.organization),
        meter: Some(Cow::Borrowed(asked.meter)),
        quantity: quantity.as_deref(),
        id: asked.id.map(Cow::Borrowed),
        properties: asked.properties,
        together: None,
        duration_ms: None,
        status: None,
    };
    let asking = Asking { app, mode, snapshot, caller, manner: Manner::default(), request };
    asking.outright(&body, app.shared.rate_headers).await
}

impl Asking<'_> {
    async fn outright(&self, asked: &ConsumeBody<'_>, sent: Sent) -> Result<Decided, ApiError> {
        let request = self.prepare(asked, None)?;
        let items = request.consume.items.clone();
        let ruled = self.one(request).await?;
        let answered: Option<Answered<'_>> = self.answered(asked, &ruled, &items).pop();
        let answered = answered.ok_or_else(|| ApiError::internal("a decision without a verdict"))?;
        let mut headers = HeaderMap::new();
        answered.write_headers(&mut headers, sent);
        let refusal = (!answered.allowed).then(|| answered.problem(false));
        Ok(Decided { refusal, headers, replayed: ruled.receipt.replayed, degraded: ruled.degraded })
    }
}
