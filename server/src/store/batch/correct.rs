//! What commands need to know of the past: what reports hold where something is taken off, the event that is to be void, what
//! was said of a reservation.

use std::collections::BTreeMap;
use std::sync::Arc;

use metergate_rules::command::{Adjustment, Charged, Command, Commit, EventName, Repricing, Room, Void};
use metergate_rules::decide::cost::dimensions_of;
use metergate_rules::decide::{Problem, time_of};
use metergate_rules::id::{DecisionId, MeterId, OrganizationId, ReservationId};
use metergate_rules::outcome::{Hold, Use, VoidedEvent, What};
use metergate_rules::price::{NotAPart, TOKENS};
use metergate_rules::quantity::Quantity;
use metergate_rules::reservation::State;
use metergate_rules::time::{DAY, Span, Time};

use super::search::{Search, Spot};
use super::{Batch, Stop};
use crate::llm;
use crate::report::reservations::ReservationRef;
use crate::reprice::earlier::{Earlier, Priced};
use crate::store::Key;
use crate::store::block::{Place, Record};
use crate::store::error::{EngineError, unreadable};
use crate::store::known::Id;
use crate::store::rollup::{Day, Derived, QUARTER};
use crate::store::rows::{OTHER, RollupRange};

/// Quarter hours that are looked at for room, at most; as many as one correction can take from.
const MOST_ROOM: usize = 10_000;

/// A record, where it stands, and of a decision the meter on which it is named.
type Named = (Place, Record, Option<MeterId>);

/// The sums of quarter hours under their dimension values.
type Sums = BTreeMap<(Time, String), i64>;

impl Batch<'_> {
    /// With what reports hold, from the latest back until there is enough.
    pub(super) fn with_room(&mut self, organization: OrganizationId, asked: &Adjustment) -> Result<Command, Stop> {
        let command = Command::Adjust(asked.clone());
        let account = self.account(organization)?;
        let now = time_of(&account, &command, self.now);
        let within = asked.within(&account, now);
        let sums = self.sums(organization, asked.meter, within, asked.units.saturating_neg())?;
        let room = sums.into_iter().filter(|(_, sum)| *sum > 0).map(|((quarter, dimensions), sum)| Room {
            quarter,
            dimensions,
            sum: Quantity::at_least_zero(sum),
        });
        Ok(Command::Adjust(Adjustment { room: room.collect(), ..asked.clone() }))
    }

    /// With what reports hold in the quarter hours where something is charged less.
    pub(super) fn with_room_of_parts(&self, organization: OrganizationId, asked: &Repricing) -> Result<Command, Stop> {
        let mut asked = asked.clone();
        let less = || asked.parts.iter().filter(|part| part.units < 0).map(|part| part.quarter);
        if let (Some(start), Some(last)) = (less().min(), less().max()) {
            let span = Span { start, end: last.plus(QUARTER) };
            let mut sums = self.sums(organization, asked.meter, span, i64::MAX)?;
            for part in asked.parts.iter_mut().filter(|part| part.units < 0) {
                // Beyond the cap of a day's sets it went into the row for all others.
                let own = (part.quarter, part.dimensions.clone());
                let place = if sums.contains_key(&own) { own } else { (part.quarter, OTHER.to_owned()) };
                let Some(sum) = sums.get_mut(&place) else { continue };
                part.room = Quantity::at_least_zero(*sum);
                *sum = sum.saturating_add(part.units.max(sum.saturating_neg()));
            }
        }
        Ok(Command::Reprice(asked))
    }

    /// With what was said of the reservation when it was made, and what that says of a language model's tokens.
    pub(super) fn with_what_was_said(&mut self, organization: OrganizationId, asked: &Commit) -> Result<Commit, Stop> {
        let before = self.properties_of(organization, asked.id)?;
        let properties = llm::merged(&before, &asked.properties);
        let account = self.account(organization)?;
        let rules = &self.ledger.catalogue.rules;
        let held = account.reservations.iter().find(|held| held.id == asked.id);
        let meter = held.and_then(|held| rules.meter(held.meter)).filter(|meter| llm::is_priced(meter, rules));
        let llm = match meter {
            Some(meter) => {
                let quantity = Quantity::parse(&asked.quantity, 0).ok();
                let said = llm::settled(meter, &properties, quantity, rules);
                said.map_err(|error| error.why.map_or(Problem::TokenKinds(NotAPart), Problem::InvalidQuantity))?
            }
            None => None,
        };
        Ok(Commit { properties, llm, ..asked.clone() })
    }

    /// What reports hold of a meter in the quarter hours that begin in a span, from the latest back until it is `enough`.
    fn sums(&self, organization: OrganizationId, meter: MeterId, span: Span, enough: i64) -> Result<Sums, EngineError> {
        let day = |time: Time| i32::try_from(time.micros().div_euclid(DAY)).unwrap_or(i32::MAX);
        let (first, last) = (day(span.start), day(span.end.plus(-1)));
        let mut sums = Sums::new();
        let add = |sums: &mut Sums, day: i32, dimensions: &str, quarter: u8, sum: i64| {
            let start = Time::from_micros(i64::from(day) * DAY + i64::from(quarter) * QUARTER);
            if span.contains(start) {
                *sums.entry((start, dimensions.to_owned())).or_default() += sum;
            }
        };
        let mut pending = Derived::default();
        for (_, record) in self.records.iter().filter(|(owner, _)| *owner == organization) {
            pending.add(organization, &record.entry);
        }
        let dirty = self.ledger.dirty.read().get(organization).cloned();
        let carried = self.ledger.carried.get(&organization).map(|carried| carried.rollups(organization));
        let lacking = dirty.iter().map(|dirty| &dirty.derived).chain([&pending]).map(|derived| &derived.rollups);
        for (key, slots) in lacking.chain(&carried).flat_map(|rollups| rollups.of(meter, first, last)) {
            slots.slots().for_each(|(quarter, slot)| add(&mut sums, key.day, &key.dimensions, quarter, slot.sum));
        }
        let range = RollupRange { organization, meter, first, last, newest_first: true };
        let mut current = i32::MAX;
        self.rows.each_rollup(&range, &mut |day, dimensions, data| {
            if day < current {
                // All that lies after this day is known now.
                let after = Time::from_micros((i64::from(day) + 1) * DAY);
                let known = sums.range((after, String::new())..).map(|(_, sum)| *sum).filter(|sum| *sum > 0);
                let (count, total) =
                    known.fold((0, 0_i64), |(count, total), sum| (count + 1, total.saturating_add(sum)));
                if total >= enough || count >= MOST_ROOM {
                    return Ok(false);
                }
                current = day;
            }
            let each = |quarter, slot: crate::store::rollup::Slot| add(&mut sums, day, dimensions, quarter, slot.sum);
            Day::each(data, each).map_err(|error| unreadable("a rollup", error))?;
            Ok(true)
        })?;
        Ok(sums)
    }

    /// The record of a name, with the meter on which it is named.
    pub(super) fn named(&mut self, organization: OrganizationId, name: &EventName) -> Result<Named, Stop> {
        let found = match name {
            EventName::Event(source, id) => {
                self.under(organization, Id::Event(source, id))?.map(|found| with(found, None))
            }
            EventName::Decision(meter, id) => {
                self.decision(organization, *meter, id)?.map(|found| with(found, Some(*meter)))
            }
            EventName::Place(event) => {
                let place = Place { sequence: event.sequence, offset: event.offset };
                let record = self.ledger.record(self.rows, organization, place)?;
                record.map(|record| (place, record, event.meter))
            }
        };
        Ok(found.ok_or(Problem::UnknownEvent)?)
    }

    /// The event of a name, as far as it is kept.
    pub(super) fn find_event(
        &mut self,
        organization: OrganizationId,
        source: &str,
        id: &str,
        name: &EventName,
    ) -> Result<Void, Stop> {
        let (place, record, meter) = self.named(organization, name)?;
        let uses = uses_of(&record, meter);
        if uses.is_empty() {
            return Err(Problem::UnknownEvent.into());
        }
        let room = uses.iter().map(|used| self.room(organization, used.meter, used.time, &used.dimensions));
        let room = room.collect::<Result<Vec<Quantity>, EngineError>>()?;
        let charged = self.charged(organization, place, &record, meter)?;
        let (outcome, _) = self.outcome_of(organization, place, &record)?;
        let (recorded_at, calls) = (record.entry.at, record.entry.what.calls().cloned().map(Box::new));
        let event = VoidedEvent { sequence: place.sequence, offset: place.offset, meter, recorded_at };
        Ok(Void { source: source.to_owned(), id: id.to_owned(), event, uses, outcome, calls, room, charged })
    }

    /// What reports hold of a meter in the quarter hour of a time, under these dimension values.
    fn room(
        &self,
        organization: OrganizationId,
        meter: MeterId,
        time: Time,
        dimensions: &str,
    ) -> Result<Quantity, EngineError> {
        let quarter = time.floor(QUARTER);
        let span = Span { start: quarter, end: quarter.plus(QUARTER) };
        let sums = self.sums(organization, meter, span, i64::MAX)?;
        let own = sums.get(&(quarter, dimensions.to_owned())).copied();
        // Beyond the cap of a day's sets it went into the row for all others.
        let other = || sums.get(&(quarter, OTHER.to_owned())).copied();
        Ok(Quantity::at_least_zero(own.or_else(other).unwrap_or(0)))
    }

    /// What an event is charged for its tokens, where they were priced again since it was recorded.
    fn charged(
        &mut self,
        organization: OrganizationId,
        place: Place,
        record: &Record,
        meter: Option<MeterId>,
    ) -> Result<Option<Charged>, Stop> {
        let account = self.account(organization)?;
        let snapshot = Arc::clone(&self.ledger.catalogue);
        let (Some(tokens), Some(cost)) = (snapshot.rules.meter_by_key(TOKENS), snapshot.rules.cost_meter()) else {
            return Ok(None);
        };
        if account.priced_again.is_empty() || meter.is_some_and(|meter| meter != tokens.id) {
            return Ok(None);
        }
        let uses = record.entry.what.uses();
        let used = uses.iter().find(|used| used.meter == tokens.id && used.follows.is_none());
        let said = llm::used(&record.entry.what, tokens, &snapshot.rules);
        let (Some(Use { time, .. }), Some(llm)) = (used, said) else { return Ok(None) };
        let span = Span { start: *time, end: time.plus(1) };
        let earlier = Earlier::of(&account, span, &snapshot, self.rows)?;
        let place = (place.sequence, place.offset);
        let priced = Priced { place, recorded_at: record.entry.at, time: *time, llm: &llm };
        let Some(now) = earlier.cost(priced, &snapshot) else { return Ok(None) };
        let mut dimensions = dimensions_of(&llm, now, &snapshot.rules);
        let mut room = self.room(organization, cost.id, *time, &dimensions)?;
        let first = uses.iter().find(|used| used.meter == cost.id && used.follows == Some(tokens.id));
        if let (true, Some(first)) = (room.is_zero(), first) {
            // The meter had other dimensions when it was priced again.
            dimensions.clone_from(&first.dimensions);
            room = self.room(organization, cost.id, *time, &dimensions)?;
        }
        Ok(Some(Charged { tokens: tokens.id, time: *time, cost: now.charged(), dimensions, room }))
    }

    /// The decision that a caller gave an id, alone or together with others, or that has none and is named by its place.
    fn decision(
        &mut self,
        organization: OrganizationId,
        meter: MeterId,
        id: &DecisionId,
    ) -> Result<Option<(Place, Record)>, Stop> {
        let uses = |found: &(Place, Record)| !uses_of(&found.1, Some(meter)).is_empty();
        let settled = id.as_str().parse::<ReservationRef>().ok().filter(|named| named.organization == organization);
        let settled = settled.map(|named| Key::Ended(named.number));
        for key in [Key::Decision(meter, id.clone()), Key::Together(id.clone())].into_iter().chain(settled) {
            if let Some(found) = self.under(organization, Id::Key(&key))?.filter(uses) {
                return Ok(Some(found));
            }
        }
        let Some(place) = id.as_str().split_once('-').and_then(|(sequence, offset)| {
            Some(Place { sequence: sequence.parse().ok()?, offset: offset.parse().ok()? })
        }) else {
            return Ok(None);
        };
        let is_unnamed = |record: &Record| matches!(record.key, Some(Key::Header(..)) | None);
        // An offset that nobody was told may lead to bytes that are no record.
        let record = self.ledger.record(self.rows, organization, place).ok().flatten().filter(is_unnamed);
        Ok(record.map(|record| (place, record)).filter(uses))
    }

    /// What the caller said when a reservation was made; nothing where that is longer ago than ids are kept.
    pub(super) fn properties_of(&mut self, organization: OrganizationId, id: ReservationId) -> Result<String, Stop> {
        let found = self.find(organization, Id::Key(&Key::Reservation(id)))?;
        let Search::Found(record, _) = found else { return Ok(String::new()) };
        let What::Reservation(hold) = record.entry.what else { return Ok(String::new()) };
        Ok(if let Hold::Made { properties, .. } = *hold { properties } else { String::new() })
    }

    /// How a reservation ended; nothing where that is longer ago than ids are kept. One that was made within that time and of
    /// whose end nothing is known has lapsed.
    pub(super) fn end_of(&mut self, organization: OrganizationId, id: ReservationId) -> Result<Option<State>, Stop> {
        let found = self.find(organization, Id::Key(&Key::Ended(id)))?;
        let Search::Found(record, _) = found else {
            let made = self.find(organization, Id::Key(&Key::Reservation(id)))?;
            return Ok(matches!(made, Search::Found(..)).then_some(State::Lapsed));
        };
        let What::Reservation(hold) = record.entry.what else { return Ok(None) };
        Ok(match *hold {
            Hold::Settled(_) => Some(State::Committed),
            Hold::Released(_) => Some(State::Released),
            Hold::Made { .. } | Hold::Extended { .. } => None,
        })
    }

    /// What is durable under an id.
    fn under(&mut self, organization: OrganizationId, id: Id<'_>) -> Result<Option<(Place, Record)>, Stop> {
        Ok(match self.find(organization, id)? {
            Search::Found(record, Spot::Journal(place)) => Some((place, *record)),
            Search::Found(_, Spot::Batch(_)) | Search::New(_) => None,
        })
    }
}

fn with((place, record): (Place, Record), meter: Option<MeterId>) -> Named {
    (place, record, meter)
}

/// What a record used as an event: of a decision on the one meter, with what that cost, which is not taken back alone.
pub(super) fn uses_of(record: &Record, meter: Option<MeterId>) -> Vec<Use> {
    let is_event = match &record.entry.what {
        What::Recorded(_) | What::Decided(_) => true,
        What::Reservation(hold) => matches!(**hold, Hold::Settled(_)),
        What::Due(_) | What::Changed(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => false,
    };
    let wanted = |used: &&Use| is_event && meter.is_none_or(|meter| used.follows.unwrap_or(used.meter) == meter);
    record.entry.what.uses().iter().filter(wanted).cloned().collect()
}
