//! `ANY /gateway/authorize`: a proxy asks, before it passes a request on, whether its organization may (F8). For nginx's
//! `auth_request`, for the forward-auth of Traefik and Caddy, for Envoy's `ext_authz`.
//!
//! It makes the command of `POST /v1/consume`, or of `/v1/check`, and has no rule of its own. What is asked for stands in
//! parameters that the operator writes; a header is read only where one of them names it, since what a client sends must
//! not choose whom it counts for, or how much.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use metergate_rules::role::Right;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::IntoParams;

use super::consume::Mode;
use super::consume::apart::{self, Asked, Decided, Deciding};
use super::error::{ApiError, Fault};
use super::query::Pairs;
use super::request_id::RequestId;
use super::state::App;
use crate::catalogue::Snapshot;
use crate::clock::boot;
use crate::faults::planted;
use noted::Noted;

mod nginx;
mod noted;

/// The path, below which Envoy appends that of the request.
const PATH: &str = "/gateway/authorize";
/// Where the parameters stand in a call whose path and query are the client's own.
const PARAMETERS: HeaderName = HeaderName::from_static("x-quota-authorize");
/// A credential beside `Authorization`, which may be the client's own.
const KEY: HeaderName = HeaderName::from_static("x-metergate-key");
/// What is allowed without having been decided says so.
pub(super) const DEGRADED: HeaderName = HeaderName::from_static("x-quota-degraded");
/// The meter where none is named.
const METER: &str = "api_calls";
/// The longest value of a dimension in bytes: a longer path is cut, since it must refuse nobody.
const MOST_DIMENSION_BYTES: usize = 256;

/// What each parameter is called; each may be `…Header` instead, and then names the header that has it.
const NAMED: [&str; 5] = ["organization", "meter", "quantity", "id", "value"];
const KNOWN: [&str; 12] = [
    "organization",
    "organizationHeader",
    "meter",
    "meterHeader",
    "quantity",
    "quantityHeader",
    "id",
    "idHeader",
    "value",
    "valueHeader",
    "mode",
    "status",
];

/// What a gateway asks for. Each of `organization`, `meter`, `quantity`, `id` and `value` is given itself, or by the name of
/// the header that has it; a header that no parameter names is not read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct AuthorizeQuery {
    /// The organization's id or key. This or `organizationHeader` is required.
    pub organization: Option<String>,
    /// The header with the organization's id or key, such as `X-Quota-Organization`: one that the gateway sets, not the client.
    pub organization_header: Option<String>,
    /// The meter's key; `api_calls` without one.
    pub meter: Option<String>,
    /// The header with the meter's key.
    pub meter_header: Option<String>,
    /// How much; 1 without one.
    pub quantity: Option<String>,
    /// The header with the quantity.
    pub quantity_header: Option<String>,
    /// A name for the decision: repeated with it, it gets its first answer and counts once. One that the gateway makes.
    pub id: Option<String>,
    /// The header with the id.
    pub id_header: Option<String>,
    /// Of a `uniqueCount` meter the value that is counted once.
    pub value: Option<String>,
    /// The header with the value.
    pub value_header: Option<String>,
    /// `consume` (the default) records the use, `check` only asks.
    pub mode: Option<String>,
    /// `native` (the default) answers a refusal with 402, 403 or 429; `nginx` with 403 and the true status in `X-Quota-Status`.
    pub status: Option<String>,
}

/// Whether a request to this path is a gateway's: its body is the client's, if it comes at all, and is not read.
pub(super) fn covers(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the organization of a request may use so much, for a proxy that passes the request on only then.
///
/// Takes any method, and reads no body. 200 without a body allows; it carries the rate headers of `POST /v1/consume`. A refusal
/// is a problem with its own status. With `status=nginx` it is 403 with `X-Quota-Status`, `X-Quota-Retry-After` and
/// `X-Quota-Problem`, and what is wrong with the call itself is never 401 or 403. `X-Metergate-Key` stands in for
/// `Authorization` where that is the client's. Below this path, where Envoy appends the request's own, the same parameters
/// stand in the header `X-Quota-Authorize`, and the query is not looked at.
#[utoipa::path(get, operation_id = "authorize", path = "/gateway/authorize", tag = "deciding",
    params(AuthorizeQuery, ("X-Metergate-Key" = Option<String>, Header, description = "The API key, where `Authorization` is the client's own; it comes before that"),
        ("X-Quota-Authorize" = Option<String>, Header, description = "The same parameters as a query, where path and query are the client's own: below this path")),
    responses((status = 200, description = "Allowed", headers(("X-Quota-Degraded" = bool, description = "`true`: passed by the plan's policy, since it could not be decided"))),
        (status = 402, description = "The trial or the subscription is over, or the limit says so"),
        (status = 403, description = "Locked, not in the plan, or any refusal with `status=nginx`; a credential without the right",
            headers(("X-Quota-Status" = u16, description = "With `status=nginx`: the status that the refusal truly has"),
                ("X-Quota-Retry-After" = u32, description = "With `status=nginx`: in how many seconds to ask again"),
                ("X-Quota-Problem" = String, description = "With `status=nginx`: the problem document on one line"))),
        (status = 404, description = "Unknown organization or meter"), (status = 429, description = "The quota is used"),
        (status = 500, description = "With `status=nginx`: no credential, or none with the right"),
        (status = 422, description = "Not valid, such as no organization named"), (status = 503, description = "It cannot be decided now")))]
pub async fn authorize(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    // Unreadable parameters are answered natively: whichever proxy it is, no such answer lets anything pass.
    let (parameters, is_nginx) = match parameters(&uri, &headers).and_then(|read| Ok((is_nginx(&read)?, read))) {
        Ok((is_nginx, parameters)) => (Ok(parameters), is_nginx),
        Err(error) => (Err(error), false),
    };
    let decided = match parameters {
        Ok(parameters) => Call { app: &app, headers: &headers, parameters: &parameters }.decide(&request).await,
        Err(error) => Err(error),
    };
    let mut response = match &decided {
        Ok(Decided { refusal: None, .. }) => Response::new(Body::empty()),
        Err(_) if planted("gateway-fails-open") => Response::new(Body::empty()),
        Ok(Decided { refusal: Some(refusal), headers, .. }) if is_nginx => nginx::refused(refusal, headers, &request),
        Ok(Decided { refusal: Some(refusal), .. }) => refusal.response(Some(&request)),
        Err(error) => {
            note(error, &request);
            if is_nginx { nginx::failed(error, &request) } else { error.response(Some(&request)) }
        }
    };
    if let Ok(decided) = &decided {
        finish(response.headers_mut(), decided);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn finish(headers: &mut HeaderMap, decided: &Decided) {
    headers.extend(decided.headers.clone());
    if decided.degraded {
        headers.insert(DEGRADED, HeaderValue::from_static("true"));
    }
    if decided.replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
}

/// What is wrong with a gateway's own call stands in the log, since most proxies show it to nobody: of each kind the first, and
/// then one a second with how many there were, since clients may bring it about. What failed here is logged where it failed.
fn note(error: &ApiError, request: &RequestId) {
    static NOTED: Mutex<Noted> = Mutex::new(Noted::new());
    if error.status().is_client_error()
        && let Some(others) = NOTED.lock().others(error.code(), boot())
    {
        let (code, detail) = (error.code(), error.detail());
        tracing::warn!(%request, code, detail, others, "a gateway asked for what cannot be decided, and lets nothing pass");
    }
}

/// The parameters: of the exact path its query; below it, where path and query are the client's, a header of the gateway's.
fn parameters(uri: &Uri, headers: &HeaderMap) -> Result<Pairs, ApiError> {
    if uri.path() == PATH {
        return Pairs::of(uri, &KNOWN);
    }
    let said = one_header(headers, &PARAMETERS)?.ok_or_else(|| {
        let detail = "Below /gateway/authorize the gateway sends its parameters in this header, such as \
                      organizationHeader=X-Tenant&meter=api_calls.";
        ApiError::invalid(PARAMETERS.as_str(), detail)
    })?;
    if said.contains('#') {
        return Err(ApiError::invalid(
            PARAMETERS.as_str(),
            "What stands behind a # would not be read: write it as %23.",
        ));
    }
    let uri = format!("/?{said}").parse::<Uri>();
    let uri = uri.map_err(|error| ApiError::invalid(PARAMETERS.as_str(), format!("Not a query: {error}.")))?;
    Pairs::of(&uri, &KNOWN)
}

fn is_nginx(parameters: &Pairs) -> Result<bool, ApiError> {
    match parameters.one("status")? {
        None | Some("native") => Ok(false),
        Some("nginx") => Ok(true),
        Some(_) => Err(ApiError::invalid("?status", "Send native or nginx.")),
    }
}

/// The only value of a header. An empty one is none: so proxies write what they do not have.
fn one_header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let wrong = |detail: &str| ApiError::invalid(name.as_str(), detail);
    let mut values = headers.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(wrong("This header came several times: have the gateway replace the client's.")),
        (value, None) => value.map(HeaderValue::to_str).transpose(),
    };
    let value = value.map_err(|_| wrong("This header must be plain text."))?;
    Ok(value.map(str::trim).filter(|value| !value.is_empty()))
}

/// A call of a gateway.
struct Call<'a> {
    app: &'a App,
    headers: &'a HeaderMap,
    parameters: &'a Pairs,
}

impl Call<'_> {
    async fn decide(&self, request: &RequestId) -> Result<Decided, ApiError> {
        let caller = self.app.identify(&self.credential()?, &Method::POST).await?.may(Right::Consume)?;
        let mode = match self.parameters.one("mode")? {
            None | Some("consume") => Mode::Consume,
            Some("check") => Mode::Check,
            Some(_) => return Err(ApiError::invalid("?mode", "Send consume or check.")),
        };
        let [organization, meter, quantity, id, value] = self.named()?;
        let organization = organization.ok_or_else(|| {
            let detail =
                "Name the organization: organization=<key>, or organizationHeader=<a header that the gateway sets>.";
            ApiError::invalid("?organization", detail)
        })?;
        let meter = meter.unwrap_or(Cow::Borrowed(METER));
        let snapshot = self.app.snapshot_with(|known| known.meter(&meter).is_some()).await;
        let properties = self.properties(&snapshot, &meter, value.as_deref())?;
        let asked = Asked {
            organization: &organization,
            meter: &meter,
            quantity: quantity.as_deref(),
            id: id.as_deref(),
            properties: properties.as_deref(),
        };
        let (app, request) = (self.app, request.clone());
        apart::decide(Deciding { app, snapshot: &snapshot, caller, mode, request }, asked).await.map_err(of_query)
    }

    /// The credential alone: no cookie of a browser counts, whose requests come through here.
    fn credential(&self) -> Result<HeaderMap, ApiError> {
        let mut headers = HeaderMap::new();
        let key = one_header(self.headers, &KEY)?;
        let key = key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose();
        match (key.map_err(|_| ApiError::unauthorized())?, self.headers.get(AUTHORIZATION)) {
            (Some(key), _) => headers.insert(AUTHORIZATION, key),
            (None, Some(given)) => headers.insert(AUTHORIZATION, given.clone()),
            (None, None) => return Err(ApiError::unauthorized()),
        };
        Ok(headers)
    }

    /// What is named, in the order of [`NAMED`].
    fn named(&self) -> Result<[Option<Cow<'_, str>>; 5], ApiError> {
        let mut named = [const { None }; 5];
        for (name, found) in NAMED.into_iter().zip(&mut named) {
            *found = self.value(name)?;
        }
        Ok(named)
    }

    /// A parameter itself, or what stands in the header that it names. Where that is absent nothing is guessed: the gateway
    /// was to send it.
    fn value(&self, name: &str) -> Result<Option<Cow<'_, str>>, ApiError> {
        let by_header = format!("{name}Header");
        let (itself, header) = (self.parameters.one(name)?, self.parameters.one(&by_header)?);
        let Some(header) = header else {
            // A variable of the gateway's that is empty is no value, and nothing is guessed in its place.
            return match itself {
                Some("") => Err(ApiError::invalid(format!("?{name}"), "This is empty: have the gateway give a value.")),
                itself => Ok(itself.map(Cow::Borrowed)),
            };
        };
        if itself.is_some() {
            return Err(ApiError::invalid(format!("?{name}"), format!("Send {name} or {by_header}, not both.")));
        }
        let wrong = |detail: String| ApiError::invalid(format!("?{by_header}"), detail);
        let name = HeaderName::try_from(header).map_err(|_| wrong("This is no name of a header.".to_owned()))?;
        match one_header(self.headers, &name)? {
            Some(value) => Ok(Some(Cow::Borrowed(value))),
            None => Err(wrong(format!("The request has no header {name}: have the gateway set it."))),
        }
    }

    /// What a meter counts once, and the method and path of the request where the meter has such dimensions.
    fn properties(
        &self,
        snapshot: &Snapshot,
        meter: &str,
        value: Option<&str>,
    ) -> Result<Option<Box<RawValue>>, ApiError> {
        let mut properties = serde_json::Map::new();
        properties.extend(value.map(|value| ("value".to_owned(), value.into())));
        let dimensions = snapshot.meter(meter).map(|meter| meter.dimensions.as_slice()).unwrap_or_default();
        let forwarded =
            [("method", ["x-forwarded-method", "x-original-method"]), ("path", ["x-forwarded-uri", "x-original-uri"])];
        for (name, headers) in forwarded.into_iter().filter(|(name, _)| dimensions.iter().any(|known| known == name)) {
            let said = headers.into_iter().find_map(|header| self.headers.get(header)?.to_str().ok());
            properties.extend(said.map(|said| (name.to_owned(), dimension(said).into())));
        }
        let text = (!properties.is_empty()).then(|| serde_json::value::to_raw_value(&properties)).transpose();
        text.map_err(ApiError::internal)
    }
}

/// Without the query, and no longer than a dimension may be.
fn dimension(said: &str) -> &str {
    let path = said.split(['?', '#']).next().unwrap_or(said);
    // What `to_str` gives is ASCII, so any place is between two characters.
    path.get(..MOST_DIMENSION_BYTES).unwrap_or(path)
}

/// What is said of a body is said of the parameters.
fn of_query(error: ApiError) -> ApiError {
    if error.faults().is_empty() {
        return error;
    }
    let moved = ApiError::new(error.status(), error.code(), said(error.detail()));
    let faults = error.faults().iter().map(|fault| Fault::new(said(&fault.pointer), fault.detail.clone()));
    faults.fold(moved, ApiError::with_fault)
}

/// Of properties a call has method and path, and whatever the meter calls it, the value that it counts once.
fn said(text: &str) -> String {
    let Some((before, named)) = text.split_once("#/properties/") else { return text.replace("#/", "?") };
    let end = named.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(named.len());
    let (name, after) = named.split_at(end);
    let name = if matches!(name, "method" | "path") { name } else { "value" };
    format!("{before}?{name}{after}")
}

/// Whether an answer to nginx would be read as a refusal of the client's.
const fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_gateways_only_at_or_below_its_own() {
        for (path, is) in [
            ("/gateway/authorize", true),
            ("/gateway/authorize/", true),
            ("/gateway/authorize/orders/1", true),
            ("/gateway/authorized", false),
            ("/gateway", false),
            ("/", false),
        ] {
            assert_eq!(covers(path), is, "{path}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_is_refused_and_an_empty_one_is_none() {
        let name = HeaderName::from_static("x-tenant");
        let mut headers = HeaderMap::new();
        assert!(one_header(&headers, &name).unwrap().is_none());
        headers.append(&name, HeaderValue::from_static(" "));
        assert!(one_header(&headers, &name).unwrap().is_none());
        headers.insert(&name, HeaderValue::from_static(" acme"));
        assert_eq!(one_header(&headers, &name).unwrap(), Some("acme"));
        headers.append(&name, HeaderValue::from_static("globex"));
        assert!(one_header(&headers, &name).is_err());
    }

    #[test]
    fn a_dimension_has_no_query_and_is_cut_where_it_is_too_long() {
        assert_eq!(dimension("/orders/1?token=secret"), "/orders/1");
        assert_eq!(dimension(&"x".repeat(300)).len(), MOST_DIMENSION_BYTES);
    }
}
