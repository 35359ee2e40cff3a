//! An array of reservations (D5): each element holds, or ends what is held, for itself, and all of them take one call and one
//! commit. For clients that hold for many organizations.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use metergate_rules::command::Command;
use metergate_rules::id::{IdempotencyKey, OrganizationRef};
use metergate_rules::role::Right;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::consume::MOST_ITEMS;
use super::super::decision::json as json_answer;
use super::super::error::ApiError;
use super::super::operation::Operation;
use super::super::state::App;
use super::super::{idempotency, json};
use super::{CommitBody, Credential, ReleaseBody, ReserveBody, answer, ended, numbers, reference};
use crate::catalogue::Snapshot;
use crate::report::reservations::ReservationRef;
use crate::store::{Answer, Caller, ChangeRequest, Receipt, ReceiptKey, Request, Respond, StoreError};

/// The route in what is kept of an element under the key of its array.
const ROUTE: &str = "POST /v1/reservations []";
/// The longest key of an array: the place of each element comes before it.
const LONGEST_KEY: usize = 250;

/// By this it is known whether an element is about a reservation that there is.
#[derive(Deserialize)]
struct Named<'a> {
    id: Option<IgnoredAny>,
    #[serde(borrow, default)]
    meter: Option<Cow<'a, str>>,
}

/// What is to be done with one that there is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndBody {
    id: String,
    commit: Option<CommitBody>,
    release: Option<ReleaseBody>,
}

/// What an element asks.
struct Asked {
    organization: OrganizationRef,
    command: Command,
    /// The reservation that it ends.
    of: Option<ReservationRef>,
}

/// An element on its way: what it asks of which reservation, or why it cannot be asked.
type Sent = Result<Option<ReservationRef>, ApiError>;

#[derive(Serialize)]
struct ArrayBody {
    data: Vec<Box<RawValue>>,
}

/// Answers each element in its place; one in error with its problem.
///
/// # Errors
/// What is wrong with the call as a whole.
pub(super) async fn each(operation: &Operation<Credential, ()>) -> Result<Response<Body>, ApiError> {
    let (app, caller) = (&operation.app, operation.by.may(Right::Consume)?);
    let (text, elements) = (numbers(&operation.uri)?, json::elements(&operation.body)?);
    if elements.len() > MOST_ITEMS {
        return Err(ApiError::payload_too_large(format!("An array has at most {MOST_ITEMS} elements. Send several.")));
    }
    let key = idempotency::key(&operation.headers)?;
    let (mut sent, mut requests) = (Vec::<Sent>::with_capacity(elements.len()), Vec::new());
    let named: Vec<_> = elements.iter().map(|element| json::parse::<Named<'_>>(element.get().as_bytes())).collect();
    let mut meters = named.iter().flatten().filter_map(|named| named.meter.as_deref());
    let snapshot = app.snapshot_with(|known| meters.all(|meter| known.meter(meter).is_some())).await;
    for (index, (element, named)) in elements.iter().zip(named).enumerate() {
        let receipt = key.as_ref().map(|key| receipt(key, index, element)).transpose()?;
        sent.push(match asked(app, &snapshot, &caller, (element.get(), named)).await {
            Ok(Asked { organization, command, of }) => {
                requests.push(request(app, caller.clone(), receipt, (organization, command), text));
                Ok(of)
            }
            Err(error) => Err(error),
        });
    }
    let answers = if requests.is_empty() { Vec::new() } else { app.shared.store.execute(&app.port, requests).await? };
    let data = answered(app, &caller, sent, answers).await;
    Ok(json_answer(StatusCode::OK, &ArrayBody { data }))
}

/// An element's own key is that of the array with its place.
fn receipt(key: &IdempotencyKey, index: usize, element: &RawValue) -> Result<ReceiptKey, ApiError> {
    let own = Some(key.as_str()).filter(|key| key.len() <= LONGEST_KEY).map(|key| format!("{index} {key}"));
    let own = own.and_then(|own| IdempotencyKey::new(&own).ok()).ok_or_else(|| {
        ApiError::invalid("Idempotency-Key", format!("Send 1 to {LONGEST_KEY} characters with an array."))
    })?;
    Ok(idempotency::receipt_of(own, ROUTE, &[element.get().as_bytes()]))
}

async fn asked(
    app: &App,
    snapshot: &Arc<Snapshot>,
    caller: &Caller,
    (element, named): (&str, Result<Named<'_>, ApiError>),
) -> Result<Asked, ApiError> {
    if named?.id.is_none() {
        let asked = json::parse::<ReserveBody>(element.as_bytes())?;
        let (organization, command) = asked.command(app, snapshot, caller).await?;
        return Ok(Asked { organization, command, of: None });
    }
    let EndBody { id, commit, release } = json::parse(element.as_bytes())?;
    let of = reference(&id)?;
    let command = match (commit, release) {
        (Some(commit), None) => commit.command(of.number).map_err(|error| error.in_member("commit"))?,
        (None, Some(ReleaseBody {})) => Command::Release(of.number),
        _ => return Err(ApiError::invalid("#", "Send either commit or release with an id.")),
    };
    Ok(Asked { organization: OrganizationRef::Id(of.organization), command, of: Some(of) })
}

fn request(
    app: &App,
    caller: Caller,
    receipt: Option<ReceiptKey>,
    (organization, command): (OrganizationRef, Command),
    text: bool,
) -> Request {
    let (headers, reason, only_if_changes) = (app.shared.rate_headers, String::new(), None);
    let respond: Respond = Arc::new(move |after| answer(after, text, headers).0);
    Request::Change(Box::new(ChangeRequest {
        caller,
        organization,
        reason,
        receipt,
        command,
        only_if_changes,
        respond,
    }))
}

/// The answers in their places, those of the store between those that never came to it.
async fn answered(
    app: &App,
    caller: &Caller,
    sent: Vec<Sent>,
    answers: Vec<Result<Receipt, StoreError>>,
) -> Vec<Box<RawValue>> {
    let (mut answers, mut data) = (answers.into_iter(), Vec::with_capacity(sent.len()));
    for (index, sent) in sent.into_iter().enumerate() {
        let one = match sent {
            Ok(of) => one(app, caller, of, answers.next()).await,
            Err(error) => Err(error),
        };
        data.push(one.unwrap_or_else(|error| raw(&error.in_element(index).to_value(None))));
    }
    data
}

async fn one(
    app: &App,
    caller: &Caller,
    of: Option<ReservationRef>,
    answer: Option<Result<Receipt, StoreError>>,
) -> Result<Box<RawValue>, ApiError> {
    match (answer, of) {
        (Some(Ok(Receipt::Answered { answer: Answer { body, .. }, .. })), _) => {
            serde_json::from_slice(&body).map_err(|error| ApiError::internal(error.to_string()))
        }
        // Whatever is wrong with what it says is wrong with its commit: a release says nothing.
        (Some(Err(error)), Some(of)) => Err(ended(app, caller, of, error).await.in_member("commit")),
        (Some(Err(error)), None) => Err(error.into()),
        _ => Err(ApiError::internal("no answer")),
    }
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
