//! `POST /v1/events`: recording what has happened (M1–M5).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use metergate_rules::command::{Completion, Event, EventName, Item};
use metergate_rules::decide::Problem;
use metergate_rules::id::{EventId, EventSource, EventType, OrganizationRef};
use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::price::LlmUse;
use metergate_rules::role::Right;
use metergate_rules::timing::Calls;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::cloudevents::{self, IncomingEvent, Rejected};
use super::completions::{self, Came};
use super::decision::json;
use super::error::ApiError;
use super::measure::{self, Properties};
use super::number::decimal_text;
use super::state::App;
use super::voids;
use crate::catalogue::Snapshot;
use crate::llm;
use crate::report::events::DECISION_SOURCE;
use crate::store::{Caller, Receipt, RecordRequest, Request, StoreError};

/// What became of the events in a body.
#[derive(Serialize, ToSchema)]
pub struct IngestBody {
    /// Events that count now.
    pub accepted: usize,
    /// Events that counted already.
    pub duplicates: usize,
    /// Records of earlier events and decisions that say now how long it took or how it ended.
    pub completed: usize,
    /// Events that were not taken, each with the reason.
    pub rejected: Vec<RejectedBody>,
}

/// An event that was not taken.
#[derive(Serialize, ToSchema)]
pub struct RejectedBody {
    /// Its place in the body, from 0.
    pub index: usize,
    /// Its id where it has one.
    pub id: Option<String>,
    /// A stable code, such as `unknown-meter`.
    pub reason: &'static str,
    /// What to do about it.
    pub detail: String,
}

impl From<Rejected> for RejectedBody {
    fn from(rejected: Rejected) -> Self {
        let Rejected { index, id, reason, detail } = rejected;
        Self { index, id, reason, detail: detail.into_owned() }
    }
}

/// Records the events of a body. The answer comes after they are durable.
///
/// # Errors
/// 400, 413, 415 where the body cannot be read as a whole; 503 where nothing can be written.
pub async fn ingest(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<Response<Body>, ApiError> {
    let caller = app.identify(headers, &Method::POST).await?.may(Right::Record)?;
    let events = cloudevents::parse(headers, body)?;
    let snapshot = app.snapshot_with(|known| events.iter().flatten().all(|event| is_known(known, event))).await;
    let (mut requests, mut places, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let mut completions = Vec::new();
    let reading = Reading { app, snapshot: &snapshot, caller };
    for (index, element) in events.into_iter().enumerate() {
        let request = element.map_err(RejectedBody::from).and_then(|event| {
            let refuse = |(reason, detail)| RejectedBody { index, id: Some(event.id.to_string()), reason, detail };
            let read = if event.source.starts_with(DECISION_SOURCE) {
                Read::Completion(reading.completion(&event).map_err(refuse)?)
            } else {
                Read::Event(Box::new(reading.request(&event).map_err(refuse)?))
            };
            Ok((read, event.id))
        });
        match request {
            Ok((Read::Event(request), id)) => {
                places.push((index, id, Completing::of(&request)));
                requests.push(Request::Record(request));
            }
            Ok((Read::Completion(completing), id)) => completions.push((index, id, completing)),
            Err(refused) => rejected.push(refused),
        }
    }
    let mut answer = IngestBody { accepted: 0, duplicates: 0, completed: 0, rejected };
    if !requests.is_empty() {
        let receipts = app.execute(requests).await?;
        for ((index, id, completing), receipt) in places.into_iter().zip(receipts) {
            match (receipt, completing) {
                // It may say more than the record that it repeats.
                (Ok(Receipt::Recorded { duplicate: true }), Some(completing)) => {
                    completions.push((index, id, completing));
                }
                (receipt, _) => answer.count(index, &id, receipt)?,
            }
        }
    }
    answer.complete(&reading, completions).await?;
    answer.rejected.sort_by_key(|rejected| rejected.index);
    Ok(json(StatusCode::OK, &answer))
}

/// Whether the meters are there to which it is said; what completes a record names none.
fn is_known(snapshot: &Snapshot, event: &IncomingEvent<'_>) -> bool {
    event.source.starts_with(DECISION_SOURCE) || Said::of(snapshot, event).is_ok()
}

impl IngestBody {
    fn count(&mut self, index: usize, id: &str, receipt: Result<Receipt, StoreError>) -> Result<(), ApiError> {
        let (reason, detail) = match receipt {
            Ok(Receipt::Recorded { duplicate: false }) => {
                self.accepted += 1;
                return Ok(());
            }
            Ok(_) => {
                self.duplicates += 1;
                return Ok(());
            }
            Err(StoreError::UnknownOrganization) => {
                ("unknown-organization", "There is no such organization: subject must be its key or id.".to_owned())
            }
            Err(StoreError::Problem(Problem::InvalidQuantity(why))) => ("invalid-quantity", why.to_string()),
            Err(StoreError::Problem(Problem::FutureEvent)) => ("future-event", Problem::FutureEvent.to_string()),
            Err(other) => return Err(other.into()),
        };
        self.rejected.push(RejectedBody { index, id: Some(id.to_owned()), reason, detail });
        Ok(())
    }

    /// Completes records that stand before what was just recorded.
    async fn complete(
        &mut self,
        reading: &Reading<'_>,
        asked: Vec<(usize, Cow<'_, str>, Completing)>,
    ) -> Result<(), ApiError> {
        if asked.is_empty() {
            return Ok(());
        }
        let (mut requests, mut places) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
        for (index, id, Completing { organization, name, said }) in asked {
            requests.push(completions::request(reading.caller.clone(), organization, name, said, None));
            places.push((index, id));
        }
        for ((index, id), receipt) in places.into_iter().zip(reading.app.execute(requests).await?) {
            let (reason, detail) = match completions::came(receipt) {
                Ok(Came::Completed) => {
                    self.completed += 1;
                    continue;
                }
                Ok(Came::Known) => {
                    self.duplicates += 1;
                    continue;
                }
                Ok(Came::Unknown) => {
                    ("unknown-event", "There is no such decision that is kept, or it is void.".to_owned())
                }
                Err(StoreError::UnknownOrganization) => {
                    ("unknown-organization", "There is no such organization: subject must be its key or id.".to_owned())
                }
                Err(error) => return Err(error.into()),
            };
            self.rejected.push(RejectedBody { index, id: Some(id.to_string()), reason, detail });
        }
        Ok(())
    }
}

/// What one element of a body asks for.
enum Read {
    /// To record it.
    Event(Box<RecordRequest>),
    /// To complete a decision.
    Completion(Completing),
}

/// A record that is to be completed.
struct Completing {
    organization: OrganizationRef,
    name: EventName,
    said: Completion,
}

impl Completing {
    /// That of the event before, should this be its repetition, where it says anything to complete.
    fn of(request: &RecordRequest) -> Option<Self> {
        let (event, organization) = (&request.event, request.organization.clone());
        let name = EventName::Event(event.source.clone(), event.id.clone());
        (event.outcome != Completion::default()).then_some(Self { organization, name, said: event.outcome })
    }
}

/// Turns events into requests.
struct Reading<'a> {
    app: &'a App,
    snapshot: &'a Arc<Snapshot>,
    caller: Caller,
}

type Refused = (&'static str, String);

/// What the sources of Metergate's own clients begin with.
const CLIENTS: &str = "@metergate/";

/// The types of their events that are told of one meter alone, as a decision or the commit of a reservation is: before its key.
const OF_DECISION: &str = "metergate:consume/";
const OF_COMMIT: &str = "metergate:commit/";

/// To which meters an event is said.
enum Said<'a> {
    /// To all that count its type.
    Type(&'a [Arc<Meter>]),
    /// To one alone, as a decision would be; where it is of a commit, with the quantity that this would say.
    Only(&'a Arc<Meter>, bool),
}

impl<'a> Said<'a> {
    /// To which meters: to those of its type. What a client tells late of a decision or a commit counts where that would have: on
    /// its meter alone, whatever this counts else, and whatever else counts that type.
    fn of(snapshot: &'a Snapshot, event: &IncomingEvent<'_>) -> Result<Self, Refused> {
        let of = |prefix: &str| event.kind.strip_prefix(prefix).filter(|_| event.source.starts_with(CLIENTS));
        let named = of(OF_DECISION).map(|key| (key, false)).or_else(|| of(OF_COMMIT).map(|key| (key, true)));
        if let Some((key, is_commit)) = named {
            let unknown = || ("unknown-meter", format!("There is no meter {key:?}; GET /v1/meters lists them."));
            return Ok(Said::Only(snapshot.meter(key).ok_or_else(unknown)?, is_commit));
        }
        let meters = snapshot.rules.meters_of_type(&event.kind);
        if meters.is_empty() {
            let detail = format!("No meter counts events of type {:?}; GET /v1/meters lists them.", event.kind);
            return Err(("unknown-meter", detail));
        }
        Ok(Said::Type(meters))
    }

    fn meters(&self) -> &'a [Arc<Meter>] {
        match self {
            Self::Type(meters) => meters,
            Self::Only(meter, _) => std::slice::from_ref(meter),
        }
    }
}

/// What an event says to its meters, and of itself.
struct Told {
    items: Vec<Item>,
    outcome: Completion,
    calls: Option<Box<Calls>>,
    llm: Option<Box<LlmUse>>,
}

fn organization(subject: &str) -> Result<OrganizationRef, Refused> {
    let unknown = |why: metergate_rules::id::InvalidId| {
        ("unknown-organization", format!("There is no such organization: subject is its key or id, and this is {why}."))
    };
    subject.parse().map_err(unknown)
}

/// The quantity in an event's data, whichever property its meter reads.
fn quantity(data: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let mut values = [None];
    cloudevents::pick(data?, &["quantity"], &mut values).ok()?;
    values[0].and_then(decimal_text)
}

impl Reading<'_> {
    /// What is said of a decision. Nothing is counted by it.
    fn completion(&self, event: &IncomingEvent<'_>) -> Result<Completing, Refused> {
        let properties = Properties::pick(event.data, std::iter::empty());
        let said = properties.map_err(|why| (why.code, why.detail))?.completion();
        if said == Completion::default() {
            let detail = "An event with the source of a decision completes its record: send data.durationMs, data.status or both.";
            return Err(("reserved-source", detail.to_owned()));
        }
        let unknown =
            |_| ("unknown-event", "There is no such decision: source is metergate:consume/<meter>.".to_owned());
        let name = voids::name(self.snapshot, &event.source, &event.id).map_err(unknown)?;
        Ok(Completing { organization: organization(&event.subject)?, name, said })
    }

    fn request(&self, event: &IncomingEvent<'_>) -> Result<RecordRequest, Refused> {
        let said = Said::of(self.snapshot, event)?;
        let Told { items, outcome, calls, llm } = self.told(event, &said)?;
        let invalid = |error: metergate_rules::id::InvalidId| ("invalid-event", error.to_string());
        let recorded = Event {
            id: EventId::new(&event.id).map_err(invalid)?,
            source: EventSource::new(&event.source).map_err(invalid)?,
            event_type: match said {
                Said::Only(meter, _) => meter.event_type.clone(),
                Said::Type(_) => EventType::new(&event.kind).map_err(invalid)?,
            },
            time: event.time,
            data: event.data.map_or("", RawValue::get).to_owned(),
            items,
            outcome,
            calls,
            llm,
        };
        let organization = organization(&event.subject)?;
        Ok(RecordRequest { caller: self.caller.clone(), organization, event: recorded, under: None })
    }

    fn told(&self, event: &IncomingEvent<'_>, said: &Said<'_>) -> Result<Told, Refused> {
        let (data, meters) = (event.data, said.meters());
        let refuse = |why: measure::Unmeasured| match why.property.is_empty() {
            true => (why.code, why.detail),
            false => (why.code, format!("data.{}: {}", why.property, why.detail)),
        };
        let properties = Properties::pick(data, meters.iter().map(|meter| &**meter)).map_err(refuse)?;
        let values_key = self.app.shared.store.values_key();
        // In anybody else's event it is a property like others.
        let is_clients = event.source.starts_with(CLIENTS);
        let is_commit = matches!(said, Said::Only(_, true));
        let calls = properties.calls().filter(|calls| is_clients && (calls.count > 0 || is_commit));
        let count = calls.as_ref().map(|calls| calls.count.to_string());
        let apart = if matches!(said, Said::Only(..)) { quantity(data) } else { None };
        let item = |meter: &Arc<Meter>| match (said, &count, meter.aggregation) {
            (Said::Only(_, true), ..) => measure::held(meter, apart.as_deref(), &properties, values_key),
            (_, Some(count), Aggregation::Count) => measure::held(meter, Some(count), &properties, values_key),
            _ => measure::item(meter, apart.as_deref(), &properties, values_key),
        };
        let items = meters.iter().map(item).collect::<Result<_, _>>().map_err(refuse)?;
        let rules = &self.snapshot.rules;
        let llm = match meters.iter().find(|meter| llm::is_priced(meter, rules)) {
            Some(meter) => llm::said(meter, data, rules).map_err(refuse)?,
            None => None,
        };
        // How each of several calls went is said with them.
        let outcome = if calls.is_some() { Completion::default() } else { properties.completion() };
        Ok(Told { items, outcome, calls, llm })
    }
}
