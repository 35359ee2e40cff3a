//! Reservations: quantity held before the true quantity is known (D5).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};
use metergate_rules::command::{Command, Commit, Completion, Reserve};
use metergate_rules::decide::Problem;
use metergate_rules::id::{OrganizationRef, ReservationId};
use metergate_rules::outcome::Reply;
use metergate_rules::role::Right;
use metergate_rules::time::SECOND;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::Credential;
use super::calls::CallsBody;
use super::change::written;
use super::consume::{MOST_PROPERTIES, refuse_elsewhere, unmeasured};
use super::decision::{Answered, DecisionBody, DecisionRef, json as json_answer};
use super::error::ApiError;
use super::measure::{self, Properties};
use super::number::QuantityText;
use super::operation::Operation;
use super::path::Path;
use super::query::Pairs;
use super::rate::Sent;
use super::state::App;
use crate::catalogue::Snapshot;
use crate::llm;
use crate::report::reservations::{ReservationDetail, ReservationRef};
use crate::report::{Report, Timestamp};
use crate::store::{After, Answer, Caller, ChangeRequest, Receipt, ReceiptKey, Request, Respond, StoreError};

mod array;

const ROUTE: &str = "POST /v1/reservations";

/// What to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReserveBody {
    /// Whose: id or key.
    pub organization: String,
    /// The meter's key; of one that adds up.
    pub meter: String,
    /// How much; 1 without one. Of a meter that counts, how many that are yet to come.
    pub quantity: Option<QuantityText>,
    /// For how long: 1 to 86,400 seconds.
    #[schema(value_type = u32, minimum = 1, maximum = 86400)]
    pub ttl_seconds: i64,
    /// What the caller wants to remember of it, and the meter's dimensions.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Box<RawValue>>,
}

/// For how much longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtendBody {
    /// From now on: 1 to 86,400 seconds.
    #[schema(value_type = u32, minimum = 1, maximum = 86400)]
    pub ttl_seconds: i64,
}

/// What was used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommitBody {
    /// The true quantity, less or more than what is held.
    pub quantity: QuantityText,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// How it ended, such as an HTTP status.
    pub status: Option<u16>,
    /// Instead of both, where several calls used it: how many, and how they went. Reports then count so many.
    pub calls: Option<CallsBody>,
    /// What there is to say of it, beside what was said when it was made: of `tokens` how many of which kind, so that they can
    /// be priced.
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Box<RawValue>>,
}

/// Nothing more has to be said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {}

/// A reservation, and the decision about it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationBody<'a> {
    /// The decision; its `id` is the reservation's, `null` where it was refused.
    #[serde(flatten)]
    pub decision: DecisionBody<'a>,
    /// `held`, `committed` or `released`; `null` where it was refused.
    pub state: Option<&'static str>,
    /// When it lapses, or would have; `null` where it was refused.
    pub expires_at: Option<Timestamp>,
}

/// Holds so much if every limit has it. What is held counts as used until it is committed, released, or lapses by itself. Of
/// `tokens` that say their model and kinds what they are to cost is held on `llm_cost` with them; others are refused while a hard
/// limit of `llm_cost` has nothing left. An array of up to 1,000 is answered with 200 and, item by item, as `{"data": [...]}`, without
/// rate headers; under an `Idempotency-Key` each item is known by its place. An item may also end a reservation:
/// `{"id", "commit": {...}}`, with what `…/commit` takes, or `{"id", "release": {}}`.
#[utoipa::path(post, operation_id = "create_reservation", path = "/v1/reservations", tag = "reservations", request_body = ReserveBody,
    responses((status = 201, body = ReservationBody), (status = 200, description = "Refused: nothing is held, `id` is null", body = ReservationBody),
        (status = 404, description = "Unknown organization or meter"), (status = 409, description = "Too many are open"), (status = 413, description = "More than 1,000 at once, or the body is too large"), (status = 422, description = "Not valid")))]
pub async fn create(operation: Operation<Credential, ()>) -> Result<Response<Body>, ApiError> {
    if operation.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return array::each(&operation).await;
    }
    let (app, caller) = (&operation.app, operation.by.may(Right::Consume)?);
    let (text, asked) = (numbers(&operation.uri)?, operation.json::<ReserveBody>()?);
    let snapshot = app.snapshot_with(|known| known.meter(&asked.meter).is_some()).await;
    let (organization, command) = asked.command(app, &snapshot, &caller).await?;
    let receipt = operation.receipt(ROUTE, &[&operation.body])?;
    run(app, caller, receipt, organization, command, text).await.map_err(ApiError::from)
}

impl ReserveBody {
    /// What it asks for, and of whom.
    async fn command(
        &self,
        app: &App,
        snapshot: &Arc<Snapshot>,
        caller: &Caller,
    ) -> Result<(OrganizationRef, Command), ApiError> {
        let organization = self.organization.parse().map_err(|_| ApiError::unknown_organization())?;
        let meter = snapshot.meter(&self.meter).ok_or_else(ApiError::unknown_meter)?;
        let properties = self.properties.as_deref();
        if properties.is_some_and(|properties| properties.get().len() > MOST_PROPERTIES) {
            return Err(ApiError::invalid("#/properties", "At most 16 KiB."));
        }
        let wrong = |why| unmeasured("#", why);
        let picked = Properties::pick(properties, std::iter::once(&**meter)).map_err(wrong)?;
        let quantity = self.quantity.as_ref().map(QuantityText::as_str);
        let item = measure::held(meter, quantity, &picked, app.shared.store.values_key()).map_err(wrong)?;
        let llm = llm::said(meter, properties, &snapshot.rules).map_err(wrong)?;
        let properties = properties.map_or_else(String::new, |properties| properties.get().to_owned());
        let reserve = Reserve { item, ttl: self.ttl_seconds.saturating_mul(SECOND), properties, llm };
        // Before it gets to the store, which may create the organization for it.
        reserve.check()?;
        refuse_elsewhere(app, snapshot, caller, &organization, &reserve.item).await?;
        Ok((organization, Command::Reserve(reserve)))
    }
}

/// Where a reservation stands, also once it is over.
#[utoipa::path(get, operation_id = "get_reservation", path = "/v1/reservations/{id}", tag = "reservations", params(("id" = String, Path)),
    responses((status = 200, body = ReservationDetail), (status = 404, description = "Unknown")))]
pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    credential: Credential,
    uri: Uri,
) -> Result<Response<Body>, ApiError> {
    let caller = credential.may(Right::Consume)?;
    let detail = find(&app, &caller, reference(&id)?, numbers(&uri)?).await?;
    Ok(json_answer(StatusCode::OK, &detail))
}

/// Holds on for so long from now, and no shorter than before.
#[utoipa::path(post, operation_id = "extend_reservation", path = "/v1/reservations/{id}/extend", tag = "reservations", request_body = ExtendBody,
    params(("id" = String, Path)),
    responses((status = 200, body = ReservationBody), (status = 404, description = "Unknown"), (status = 409, description = "It is over: `reservation-lapsed`, `-committed`, `-released`"), (status = 422, description = "Not valid")))]
pub async fn extend(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Consume)?;
    let (id, asked) = (reference(&operation.named)?, operation.json::<ExtendBody>()?);
    let command = Command::Extend { id: id.number, ttl: asked.ttl_seconds.saturating_mul(SECOND) };
    on(&operation, caller, id, "POST /v1/reservations/{id}/extend", command).await
}

/// Records the true quantity and ends the reservation. What exceeds the hold takes what is free, the rest is overage; of a window
/// that is over by then it takes nothing, and is no overage there.
#[utoipa::path(post, operation_id = "commit_reservation", path = "/v1/reservations/{id}/commit", tag = "reservations", request_body = CommitBody,
    params(("id" = String, Path)),
    responses((status = 200, body = ReservationBody), (status = 404, description = "Unknown"), (status = 409, description = "It is over: `reservation-lapsed`, `-committed`, `-released`"), (status = 422, description = "Not valid")))]
pub async fn commit(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Consume)?;
    let (id, asked) = (reference(&operation.named)?, operation.json::<CommitBody>()?);
    let command = asked.command(id.number)?;
    on(&operation, caller, id, "POST /v1/reservations/{id}/commit", command).await
}

impl CommitBody {
    /// What it asks of the reservation with this number.
    fn command(self, id: ReservationId) -> Result<Command, ApiError> {
        // A repeated call is answered from what is kept of the first, also when nothing else is known of the reservation.
        let properties = self.properties.as_deref().map_or("", RawValue::get);
        if properties.len() > MOST_PROPERTIES {
            return Err(ApiError::invalid("#/properties", "At most 16 KiB."));
        } else if !properties.is_empty() && !properties.starts_with('{') {
            return Err(ApiError::invalid("#/properties", "Send a JSON object."));
        }
        let (quantity, properties) = (self.quantity.as_str().into(), properties.to_owned());
        let outcome = Completion { duration_ms: self.duration_ms, status: self.status };
        if self.calls.is_some() && outcome != Completion::default() {
            return Err(ApiError::invalid("#/calls", "Send either calls or the durationMs and status of one."));
        }
        let calls = self.calls.map(CallsBody::read).transpose()?;
        Ok(Command::Commit(Commit { id, quantity, outcome, calls, properties, llm: None }))
    }
}

/// Gives back what is held.
#[utoipa::path(post, operation_id = "release_reservation", path = "/v1/reservations/{id}/release", tag = "reservations",
    params(("id" = String, Path)),
    responses((status = 200, body = ReservationBody), (status = 404, description = "Unknown"), (status = 409, description = "It is over: `reservation-lapsed`, `-committed`, `-released`")))]
pub async fn release(operation: Operation<Credential>) -> Result<Response<Body>, ApiError> {
    let caller = operation.by.may(Right::Consume)?;
    let id = reference(&operation.named)?;
    operation.json_or_default::<ReleaseBody>()?;
    on(&operation, caller, id, "POST /v1/reservations/{id}/release", Command::Release(id.number)).await
}

/// Runs a command on a reservation that there is.
async fn on(
    operation: &Operation<Credential>,
    caller: Caller,
    id: ReservationRef,
    route: &'static str,
    command: Command,
) -> Result<Response<Body>, ApiError> {
    let (app, text) = (&operation.app, numbers(&operation.uri)?);
    let receipt = operation.receipt(route, &[id.to_string().as_bytes(), &operation.body])?;
    let organization = OrganizationRef::Id(id.organization);
    match run(app, caller.clone(), receipt, organization, command, text).await {
        Err(error) => Err(ended(app, &caller, id, error).await),
        Ok(answered) => Ok(answered),
    }
}

/// What the store says of a reservation that there is, or was.
async fn ended(app: &App, caller: &Caller, id: ReservationRef, error: StoreError) -> ApiError {
    match error {
        StoreError::UnknownOrganization => ApiError::not_found(),
        StoreError::Problem(Problem::ReservationOver(Some(ended))) => over(ended.as_str()),
        // One of which ids tell nothing any more.
        StoreError::Problem(Problem::ReservationOver(None)) => {
            over(find(app, caller, id, false).await.map_or("lapsed", |detail| detail.state))
        }
        error => error.into(),
    }
}

/// Runs a command about reservations. The answer carries the rate headers of a decision (D10). What is kept of it under an
/// idempotency key is its body, and by the time of a repetition the headers would say what is no longer so: of them only how long
/// to wait is said again.
async fn run(
    app: &App,
    caller: Caller,
    receipt: Option<ReceiptKey>,
    organization: OrganizationRef,
    command: Command,
    text: bool,
) -> Result<Response<Body>, StoreError> {
    let (sent, carried) = (app.shared.rate_headers, Arc::new(Mutex::new(HeaderMap::new())));
    let writes = Arc::clone(&carried);
    let respond: Respond = Arc::new(move |after| {
        let (answer, headers) = answer(after, text, sent);
        *writes.lock() = headers;
        answer
    });
    let (reason, only_if_changes) = (String::new(), None);
    let request = ChangeRequest { caller, organization, reason, receipt, command, only_if_changes, respond };
    let answers = app.shared.store.execute(&app.port, vec![Request::Change(Box::new(request))]).await?;
    match answers.into_iter().next() {
        Some(Ok(Receipt::Answered { answer, replayed })) => {
            let headers = if replayed { waiting(&answer) } else { std::mem::take(&mut *carried.lock()) };
            let mut response = written(answer, replayed);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response.headers_mut().extend(headers);
            Ok(response)
        }
        Some(Err(error)) => Err(error),
        _ => Err(StoreError::Internal),
    }
}

/// What a kept answer says of how long to wait.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    retry_after_seconds: Option<i64>,
}

fn waiting(answer: &Answer) -> HeaderMap {
    let said = serde_json::from_slice::<Waiting>(&answer.body).ok().and_then(|waiting| waiting.retry_after_seconds);
    said.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))).into_iter().collect()
}

/// The answer, and its rate headers.
fn answer(after: &After<'_>, text: bool, sent: Sent) -> (Answer, HeaderMap) {
    let mut headers = HeaderMap::new();
    let Reply::Reserved(reserved) = after.reply else {
        return (Answer { status: 500, body: Vec::new(), version: None }, headers);
    };
    let held = reserved.reservation.as_ref();
    let id = held.map(|held| ReservationRef { organization: after.account.id, number: held.id }.to_string());
    let meter = reserved.verdict.meter;
    let answered = Answered {
        organization: after.account.profile.key.as_str(),
        meter: after.catalogue.meter_key(meter),
        decimals: after.catalogue.decimals(meter),
        id: id.as_deref().map_or(DecisionRef::Nowhere, DecisionRef::Given),
        quantity: reserved.quantity.units(),
        verdict: &reserved.verdict,
        at: after.now,
        allowed: held.is_some(),
        degraded: false,
    };
    let body = ReservationBody {
        decision: answered.body(text),
        state: held.map(|_| reserved.state.as_str()),
        expires_at: held.map(|held| Timestamp(held.ends_at)),
    };
    let status = if reserved.is_made { 201 } else { 200 };
    answered.write_headers(&mut headers, sent);
    (Answer { status, body: serde_json::to_vec(&body).unwrap_or_default(), version: None }, headers)
}

async fn find(app: &App, caller: &Caller, id: ReservationRef, text: bool) -> Result<ReservationDetail, ApiError> {
    let (catalogue, now, scope) = (app.snapshot(), app.now(), caller.scope);
    app.read(move |view| Report { view, catalogue: &catalogue, scope, now, text }.reservation(id)).await.map_err(
        |error| if error.code() == ApiError::unknown_organization().code() { ApiError::not_found() } else { error },
    )
}

fn over(state: &str) -> ApiError {
    let (code, detail) = match state {
        "committed" => ("reservation-committed", "The reservation was committed before: its quantity counts."),
        "released" => ("reservation-released", "The reservation was released before: nothing of it counts."),
        _ => (
            "reservation-lapsed",
            "The reservation's time was up, and nothing of it counts. Record what was used as an event.",
        ),
    };
    ApiError::conflict(code, detail)
}

fn reference(text: &str) -> Result<ReservationRef, ApiError> {
    text.parse().map_err(|_| ApiError::not_found())
}

fn numbers(uri: &Uri) -> Result<bool, ApiError> {
    Pairs::of(uri, &["numbers"])?.text()
}
