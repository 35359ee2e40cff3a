//! Recent events of an organization, decisions among them (M11).

use std::collections::HashMap;
use std::sync::Arc;

use metergate_rules::command::Completion;
use metergate_rules::grant;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationRef};
use metergate_rules::meter::Measure;
use metergate_rules::outcome::{Completed, Decided, Hold, Recorded, Settled, Use, VoidedEvent, What};
use metergate_rules::time::{MINUTE, Time};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::reservations::ReservationRef;
use super::{Listed, Report, Timestamp, bad_cursor, stored_object};
use crate::http::calls::CallsBody;
use crate::http::number::Number;
use crate::store::Key;
use crate::store::block::Record;
use crate::store::reader::ReadError;

/// What the source of a decision begins with; the meter's key follows.
pub const DECISION_SOURCE: &str = "metergate:consume/";

/// Blocks that are read for a page at most.
const MOST_BLOCKS: usize = 500;
/// Records that are looked at for a page at most.
const MOST_RECORDS: usize = 50_000;
/// In so many blocks after a record it is looked for what completes it, where a page begins at the record.
const COMPLETED_WITHIN: u64 = 250;
/// No event lies further ahead of its arrival (M5).
const AHEAD: i64 = 5 * MINUTE;

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Counted by this meter.
    pub meter: Option<MeterId>,
    /// Of this type.
    pub event_type: Option<String>,
    /// From this source.
    pub source: Option<String>,
    /// That happened then or later.
    pub from: Option<Time>,
    /// That happened before.
    pub to: Option<Time>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventBody {
    /// Unique within its source; of a decision the caller's id, else its place in the journal.
    pub id: String,
    /// Where it comes from; of a decision `metergate:consume/<meter>`.
    pub source: String,
    /// Which meters count it.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When it happened.
    pub time: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its data, or the properties of a decision.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u32>,
    /// How it ended.
    pub status: Option<u16>,
    /// The calls that it stands for, where they are several: of a reservation that was held for them, or of an event that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<CallsBody>,
    /// Whether it was taken back: nothing of it counts.
    pub voided: bool,
    /// What it did to each meter.
    pub uses: Vec<UseBody>,
}

/// What an event did to one meter.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UseBody {
    /// The meter's key.
    pub meter: String,
    /// What it added, its peak or its level; absent on `uniqueCount`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Number>,
    /// On `uniqueCount`: the keyed hash by which its value is told from others, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What went beyond a limit.
    pub overage: Number,
    /// What came from grants.
    pub from_grants: Number,
}

/// Where an item stands in the list: block, offset in it, and its number among the items of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    sequence: u64,
    offset: u32,
    item: u16,
}

impl Position {
    fn write(self) -> Vec<u8> {
        let (sequence, offset) = (self.sequence.to_be_bytes(), self.offset.to_be_bytes());
        [&sequence[..], &offset, &self.item.to_be_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let item = u16::from_be_bytes(rest.try_into().ok()?);
        Some(Self { sequence: u64::from_be_bytes(*sequence), offset: u32::from_be_bytes(*offset), item })
    }

    /// Whether an item at `other` stands after this one in the list: newest records first, items in their order.
    fn is_before(self, other: Self) -> bool {
        let record = |position: Self| (position.sequence, position.offset);
        record(other) < record(self) || (record(other) == record(self) && other.item > self.item)
    }
}

/// A page that is being filled.
struct Filling<'a> {
    report: &'a Report<'a>,
    organization: OrganizationId,
    voided: Arc<Vec<VoidedEvent>>,
    /// What was said later of records that stand before.
    completed: HashMap<(u64, u32), Completion>,
    filter: &'a EventFilter,
    limit: usize,
    after: Option<Position>,
    data: Vec<EventBody>,
    last: Option<Position>,
    blocks: usize,
    records: usize,
    block: u64,
    more: bool,
}

impl Report<'_> {
    /// `GET /v1/events`: newest arrival first. A page may hold fewer entries than `limit`, or none, where many had to be
    /// looked at; it is the last only without `next`.
    ///
    /// # Errors
    /// [`ReadError::Store`] where there is no such organization for this caller, or `after` is no cursor of this list.
    pub fn events(
        &self,
        organization: &OrganizationRef,
        filter: &EventFilter,
        limit: usize,
        after: Option<&[u8]>,
    ) -> Result<Listed<EventBody>, ReadError> {
        let account = self.view.account(self.scope, organization)?;
        let after = match after.map(Position::read) {
            None => None,
            Some(Some(position)) => Some(position),
            Some(None) => return bad_cursor(),
        };
        let mut filling = Filling::new(self, (account.id, &account.voided), filter, (limit, after));
        let newest = after.map_or(u64::MAX, |position| position.sequence.saturating_add(COMPLETED_WITHIN));
        self.view.records(account.id, newest, |sequence, offset, record| filling.take(sequence, offset, &record))?;
        let next = filling.last.filter(|_| filling.more).map(Position::write);
        Ok(Listed { data: filling.data, next })
    }

    /// What one record has for the list, in the order of its items.
    pub(crate) fn events_in(
        &self,
        of: (OrganizationId, &Arc<Vec<VoidedEvent>>),
        (sequence, offset): (u64, u32),
        record: &Record,
    ) -> Vec<EventBody> {
        let all = EventFilter::default();
        let mut filling = Filling::new(self, of, &all, (usize::MAX, None));
        filling.take(sequence, offset, record);
        filling.data
    }

    fn use_body(&self, used: &Use) -> UseBody {
        let (quantity, value) = match used.measure {
            Measure::Add(quantity) | Measure::Peak(quantity) | Measure::Level(quantity) => (Some(quantity), None),
            Measure::Adjust(_) | Measure::Void(_) | Measure::VoidValue(_) => (None, None),
            Measure::Value(hash) => (None, Some(format!("{:032x}", u128::from_be_bytes(hash.0)))),
        };
        UseBody {
            meter: self.catalogue.meter_key(used.meter).to_owned(),
            quantity: quantity.map(|quantity| self.number(used.meter, quantity)),
            value,
            overage: self.number(used.meter, used.overage),
            from_grants: self.number(used.meter, grant::total(&used.draws)),
        }
    }
}

/// A use of a decision, with what it cost.
fn with_cost<'u>(used: &'u Use, all: &'u [Use]) -> Vec<&'u Use> {
    std::iter::once(used).chain(all.iter().filter(|other| other.follows == Some(used.meter))).collect()
}

fn meters(uses: &[&Use]) -> Vec<MeterId> {
    uses.iter().map(|used| used.meter).collect()
}

impl<'a> Filling<'a> {
    fn new(
        report: &'a Report<'a>,
        (organization, voided): (OrganizationId, &Arc<Vec<VoidedEvent>>),
        filter: &'a EventFilter,
        (limit, after): (usize, Option<Position>),
    ) -> Self {
        let (voided, data) = (Arc::clone(voided), Vec::new());
        let (last, blocks, records, block, more) = (None, 0, 0, 0, false);
        let completed = HashMap::new();
        Self { report, organization, voided, completed, filter, limit, after, data, last, blocks, records, block, more }
    }

    /// Takes what a record has for the list. Whether it can take more.
    fn take(&mut self, sequence: u64, offset: u32, record: &Record) -> bool {
        if self.after.is_some_and(|after| !after.is_before(Position { sequence, offset, item: u16::MAX })) {
            if let What::Completed(completed) = &record.entry.what {
                self.note(completed);
            }
            return true;
        }
        if sequence != self.block {
            (self.block, self.blocks) = (sequence, self.blocks + 1);
        }
        if self.is_past(record) {
            return false;
        } else if self.blocks > MOST_BLOCKS || self.records >= MOST_RECORDS {
            self.more = true;
            return false;
        }
        self.records += 1;
        match &record.entry.what {
            What::Decided(decided) => self.take_decided(sequence, offset, record, decided),
            What::Recorded(recorded) => self.take_recorded(sequence, offset, record, recorded),
            What::Reservation(hold) => match &**hold {
                Hold::Settled(settled) => self.take_settled(sequence, offset, record, settled),
                Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => {
                    self.pass(Position { sequence, offset, item: u16::MAX })
                }
            },
            What::Completed(completed) => {
                let outcome = completed.outcome;
                self.completed.entry((completed.sequence, completed.offset)).or_insert(outcome);
                self.pass(Position { sequence, offset, item: u16::MAX })
            }
            What::Due(_) | What::Changed(_) | What::Image(_) | What::Noticed(_) => {
                self.pass(Position { sequence, offset, item: u16::MAX })
            }
        }
    }

    /// Notes what was said later of a record; of several that which was said last, which comes first and has it all.
    fn note(&mut self, completed: &Completed) {
        self.completed.entry((completed.sequence, completed.offset)).or_insert(completed.outcome);
    }

    /// Notes that everything up to a position has been looked at.
    fn pass(&mut self, position: Position) -> bool {
        if self.after.is_none_or(|after| after.is_before(position)) {
            self.last = Some(position);
        }
        true
    }

    /// Whether this and all older records, whose times never run back, arrived too early to hold anything of the time asked for.
    fn is_past(&self, record: &Record) -> bool {
        self.filter.from.is_some_and(|from| record.entry.at.plus(AHEAD) < from)
    }

    /// An allowed decision is an event on each of its meters; a refusal is none.
    fn take_decided(&mut self, sequence: u64, offset: u32, record: &Record, decided: &Decided) -> bool {
        for (item, used) in (0..).zip(decided.uses.iter().filter(|used| used.follows.is_none())) {
            let id = match &record.key {
                Some(Key::Decision(_, id) | Key::Together(id)) => id.to_string(),
                Some(Key::Header(..) | Key::Reservation(_) | Key::Ended(_) | Key::Completed(..)) | None => {
                    format!("{sequence}-{offset}")
                }
            };
            let uses = with_cost(used, &decided.uses);
            let mut event = self.decision(id, record, &uses, &decided.properties, decided.outcome);
            event.voided = self.is_void(sequence, offset, Some(used.meter));
            if !self.put(Position { sequence, offset, item }, &meters(&uses), event) {
                return false;
            }
        }
        true
    }

    /// What a reservation came to is one, under the reservation's id.
    fn take_settled(&mut self, sequence: u64, offset: u32, record: &Record, settled: &Settled) -> bool {
        let id = ReservationRef { organization: self.organization, number: settled.id }.to_string();
        let Some(used) = settled.uses.first() else { return true };
        let uses = with_cost(used, &settled.uses);
        let mut event = self.decision(id, record, &uses, &settled.properties, settled.outcome);
        event.voided = self.is_void(sequence, offset, Some(used.meter));
        self.put(Position { sequence, offset, item: 0 }, &meters(&uses), event)
    }

    /// What the first of these uses says, and after it what that cost.
    fn decision(&self, id: String, record: &Record, uses: &[&Use], properties: &str, outcome: Completion) -> EventBody {
        let first = uses.first().map_or(MeterId(0), |used| used.meter);
        let meter = self.report.catalogue.rules.meter(first);
        let meter_key = self.report.catalogue.meter_key(first);
        EventBody {
            id,
            source: format!("{DECISION_SOURCE}{meter_key}"),
            event_type: meter.map_or(meter_key, |meter| meter.event_type.as_str()).to_owned(),
            time: Timestamp(uses.first().map_or(record.entry.at, |used| used.time)),
            recorded_at: Timestamp(record.entry.at),
            data: stored_object(properties),
            duration_ms: outcome.duration_ms,
            status: outcome.status,
            calls: record.entry.what.calls().map(CallsBody::from),
            voided: false,
            uses: uses.iter().map(|used| self.report.use_body(used)).collect(),
        }
    }

    fn take_recorded(&mut self, sequence: u64, offset: u32, record: &Record, recorded: &Recorded) -> bool {
        let event = &recorded.event;
        let meters: Vec<MeterId> = recorded.uses.iter().map(|used| used.meter).collect();
        let body = EventBody {
            id: event.id.to_string(),
            source: event.source.to_string(),
            event_type: event.event_type.to_string(),
            time: Timestamp(event.time.unwrap_or(record.entry.at)),
            recorded_at: Timestamp(record.entry.at),
            data: stored_object(&event.data),
            duration_ms: event.outcome.duration_ms,
            status: event.outcome.status,
            calls: record.entry.what.calls().map(CallsBody::from),
            voided: self.is_void(sequence, offset, None),
            uses: recorded.uses.iter().map(|used| self.report.use_body(used)).collect(),
        };
        self.put(Position { sequence, offset, item: 0 }, &meters, body)
    }

    fn is_void(&self, sequence: u64, offset: u32, meter: Option<MeterId>) -> bool {
        self.voided.iter().any(|event| (event.sequence, event.offset, event.meter) == (sequence, offset, meter))
    }

    /// Puts an event on the page if it belongs there. Whether there was room for it.
    fn put(&mut self, position: Position, meters: &[MeterId], mut event: EventBody) -> bool {
        if let Some(outcome) = self.completed.get(&(position.sequence, position.offset)) {
            (event.duration_ms, event.status) = (outcome.duration_ms, outcome.status);
        }
        let is_new = self.after.is_none_or(|after| after.is_before(position));
        if is_new && self.wants(meters, &event) {
            if self.data.len() >= self.limit {
                self.more = true;
                return false;
            }
            self.data.push(event);
        }
        self.pass(position)
    }

    fn wants(&self, meters: &[MeterId], event: &EventBody) -> bool {
        let EventFilter { meter, event_type, source, from, to } = self.filter;
        meter.is_none_or(|meter| meters.contains(&meter))
            && event_type.as_ref().is_none_or(|wanted| *wanted == event.event_type)
            && source.as_ref().is_none_or(|wanted| *wanted == event.source)
            && from.is_none_or(|from| from <= event.time.0)
            && to.is_none_or(|to| event.time.0 < to)
    }
}
