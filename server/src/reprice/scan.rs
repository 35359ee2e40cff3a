//! One organization's records, newest first: what was charged for tokens, and what they cost by today's table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use metergate_rules::command::Repriced;
use metergate_rules::decide::cost::dimensions_of;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::{Measure, Meter};
use metergate_rules::outcome::{Change, Correction, Entry, PricedAgain, Use, VoidedEvent, What};
use metergate_rules::price::{Cost, Pattern, TOKENS};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{MINUTE, Span, Time};

use super::earlier::{Earlier, Priced};
use super::figures::{Figures, model_of};
use super::plans::Plans;
use super::{Asked, OfOrganization, QUARTER};
use crate::catalogue::Snapshot;
use crate::llm;
use crate::store::block::Record;
use crate::store::reader::{ReadError, View};
use crate::store::{Scope, StoreError};

/// Records that are read at one snapshot, about.
const MOST_RECORDS: u64 = 20_000;
/// No event lies further ahead of its arrival (M5).
pub(super) const AHEAD: i64 = 5 * MINUTE;

/// What was charged and is to be charged in a quarter hour, under one set of dimension values.
#[derive(Clone, Copy, Debug, Default)]
struct Charge {
    before: i128,
    after: i128,
}

/// Reading an organization's records, step by step.
pub struct Scan {
    snapshot: Arc<Snapshot>,
    span: Span,
    models: Option<Vec<Pattern>>,
    organization: OrganizationId,
    key: OrganizationKey,
    changes: u64,
    voided: Arc<Vec<VoidedEvent>>,
    /// What voids have given back of what was charged for an event, in billionths, and under which dimension values: some of it may
    /// have gone already.
    returned: HashMap<(u64, u32), Vec<(String, i128)>>,
    /// How it was priced again before.
    earlier: Earlier,
    /// The newest quarter hour of a use that is charged otherwise from now on.
    moved: Option<Time>,
    tokens: MeterId,
    cost: MeterId,
    plans: Plans,
    charges: BTreeMap<(Time, String), Charge>,
    /// By quarter hour and model.
    figures: BTreeMap<(Time, String), Figures>,
    /// From when on it is known on which plan the organization was, where that is not so of the whole time.
    told_from: Option<Time>,
    /// The newest block that is not read.
    next: u64,
    block: u64,
    records: u64,
    is_done: bool,
    /// Whether the records of the whole time were there.
    is_whole: bool,
    oldest: Option<Time>,
    /// What is kept at most.
    most_kept: usize,
    /// From when on quarter hours are kept, where there were too many: those before are another scan's.
    kept_from: Option<Time>,
}

impl Scan {
    /// The beginning: the account as it is now. Whatever comes after it is priced by the same table already, or changes the
    /// account or the table, so that the corrections do not count.
    pub(super) fn begin(
        view: &View<'_>,
        organization: OrganizationId,
        snapshot: Arc<Snapshot>,
        asked: &Asked,
        span: Span,
    ) -> Result<Self, ReadError> {
        let account = view.account(Scope::Team, &OrganizationRef::Id(organization))?;
        let rules = &snapshot.rules;
        let meter = |found: Option<&Arc<Meter>>| found.map(|meter| meter.id).ok_or(StoreError::Internal);
        let (tokens, cost) = (meter(rules.meter_by_key(TOKENS))?, meter(rules.cost_meter())?);
        let is_done = account.meter(tokens).is_none();
        let (plans, told_from) =
            if is_done { (Plans::one(account.plan), None) } else { Plans::of(view, &account, &snapshot, span)? };
        Ok(Self {
            span,
            models: asked.models.clone(),
            organization,
            key: account.profile.key.clone(),
            changes: account.changes,
            voided: Arc::clone(&account.voided),
            returned: HashMap::new(),
            earlier: Earlier::of(&account, span, &snapshot, view.rows())?,
            moved: None,
            tokens,
            cost,
            plans,
            charges: BTreeMap::new(),
            figures: BTreeMap::new(),
            told_from,
            next: u64::MAX,
            block: u64::MAX,
            records: 0,
            is_done,
            is_whole: is_done,
            oldest: None,
            most_kept: asked.most_kept,
            kept_from: None,
            snapshot,
        })
    }

    /// Reads on.
    pub(super) fn step(mut self, view: &View<'_>) -> Result<Self, ReadError> {
        self.records = 0;
        let (organization, next) = (self.organization, self.next);
        let mut goes_on = false;
        view.records(organization, next, |sequence, offset, record| {
            if self.records >= MOST_RECORDS && sequence != self.block {
                (self.next, goes_on) = (sequence, true);
                return false;
            }
            self.block = sequence;
            self.records += 1;
            let may_be_older = self.take((sequence, offset), &record);
            self.forget_oldest();
            may_be_older
        })?;
        self.is_done = !goes_on;
        Ok(self)
    }

    /// Where there is too much to keep, the older half of the quarter hours goes: another scan is made of the time before them.
    /// Of a single quarter hour all is kept.
    fn forget_oldest(&mut self) {
        if self.charges.len() + self.figures.len() <= self.most_kept {
            return;
        }
        let mut quarters: Vec<Time> = self.charges.keys().chain(self.figures.keys()).map(|(at, _)| *at).collect();
        quarters.sort_unstable();
        let (Some(first), Some(last)) = (quarters.first(), quarters.last()) else { return };
        let from = quarters.get(quarters.len() / 2).filter(|from| *from > first).unwrap_or(last);
        if from > first {
            let at = (*from, String::new());
            (self.charges, self.figures) = (self.charges.split_off(&at), self.figures.split_off(&at));
            (self.span.start, self.kept_from) = (*from, Some(*from));
        } else {
            self.most_kept = self.most_kept.saturating_mul(2);
        }
    }

    /// The time that is left to another scan.
    pub(super) fn rest(&self, asked: Span) -> Option<Span> {
        self.kept_from.map(|end| Span { start: asked.start, end })
    }

    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) const fn organization(&self) -> OrganizationId {
        self.organization
    }

    pub(super) const fn meter(&self) -> MeterId {
        self.cost
    }

    /// The version of the table by which it is priced.
    pub(super) fn table(&self) -> u64 {
        self.snapshot.stored.prices.version
    }

    /// From which quarter hour on all is known; what was used before stays as it is, with its corrections.
    fn known_from(&self) -> Time {
        let after = |at: Time| if at.floor(QUARTER) == at { at } else { at.floor(QUARTER).plus(QUARTER) };
        let kept = if self.is_whole { self.span.start } else { self.oldest.map_or(self.span.end, after) };
        self.told_from.map_or(kept, |told| kept.max(after(told))).max(self.span.start)
    }

    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// What is to be corrected, in order of time.
    pub(super) fn parts(&self) -> Vec<Repriced> {
        let units = |charge: &Charge| i64::try_from(charge.after - charge.before).unwrap_or(0);
        let part = |((quarter, dimensions), charge): (&(Time, String), &Charge)| Repriced {
            quarter: *quarter,
            dimensions: dimensions.clone(),
            units: units(charge),
            room: Quantity::ZERO,
        };
        let from = self.known_from();
        self.charges.iter().map(part).filter(|part| part.units != 0 && part.quarter >= from).collect()
    }

    /// By which prices all of the time is charged once it is corrected; `None` where no use is charged otherwise than it was.
    pub(super) fn priced(&self) -> Option<PricedAgain> {
        let start = self.known_from();
        self.moved.filter(|newest| start <= *newest)?;
        let (markup, markups) = self.plans.markups(&self.snapshot)?;
        let (at, span) = (Time::MIN, Span { start, end: self.span.end });
        Some(PricedAgain { at, span, models: self.models.clone(), table: self.table(), markup, markups })
    }

    /// What was found.
    pub(super) fn found(&self) -> OfOrganization {
        let from = self.known_from();
        let mut models: BTreeMap<String, Figures> = BTreeMap::new();
        for ((quarter, model), figures) in &self.figures {
            if *quarter >= from {
                models.entry(model.clone()).or_default().add(figures);
            }
        }
        for part in self.parts() {
            models.entry(model_of(&part.dimensions)).or_default().moved = true;
        }
        let complete_from = if self.is_whole && self.told_from.is_none() { None } else { Some(from) };
        OfOrganization { id: self.organization, key: self.key.clone(), models, complete_from }
    }

    /// Whether older ones can be of the time.
    fn take(&mut self, place: (u64, u32), record: &Record) -> bool {
        let at = record.entry.at;
        self.oldest = Some(at);
        if at.plus(AHEAD) < self.span.start {
            self.is_whole = true;
            return false;
        }
        match &record.entry.what {
            What::Decided(_) | What::Reservation(_) => self.take_use(place, Some(self.tokens), &record.entry),
            What::Recorded(_) => self.take_use(place, None, &record.entry),
            What::Changed(change) => match &**change {
                Change::Corrected(correction) if correction.repriced => {
                    correction.uses.iter().for_each(|used| self.take_correction(used));
                }
                Change::Corrected(correction) => self.take_void(correction),
                Change::Created { .. } => self.is_whole = true,
                _ => {}
            },
            _ => {}
        }
        true
    }

    /// A use of tokens, with what was charged for it. Where the caller said the cost, that stands.
    fn take_use(&mut self, place: (u64, u32), voided_as: Option<MeterId>, entry: &Entry) {
        let of = |meter: MeterId, follows| {
            entry.what.uses().iter().find(|used| used.meter == meter && used.follows == follows)
        };
        let Some(time) = of(self.tokens, None).map(|used| used.time).filter(|time| self.span.contains(*time)) else {
            return;
        };
        let snapshot = Arc::clone(&self.snapshot);
        let Some(meter) = snapshot.rules.meter(self.tokens) else { return };
        let Some(llm) = llm::used(&entry.what, meter, &snapshot.rules).filter(|llm| self.is_wanted(&llm.model)) else {
            return;
        };
        let charged = of(self.cost, Some(self.tokens)).map(|used| (used.dimensions.as_str(), charged(used)));
        let is_it = |event: &VoidedEvent| (event.sequence, event.offset) == place && event.meter == voided_as;
        if self.voided.iter().any(is_it) {
            self.take_voided(place, time, &llm.model, charged);
        } else {
            let priced = Priced { place, recorded_at: entry.at, time, llm: &llm };
            self.take_standing(priced, charged);
        }
    }

    /// One that stands: it is charged by the table.
    fn take_standing(&mut self, of: Priced<'_>, charged: Option<(&str, i128)>) {
        let snapshot = Arc::clone(&self.snapshot);
        // A cost that is out of range could not have been recorded.
        let Ok(cost) = snapshot.rules.prices().cost(of.llm, of.time, self.plans.markup(of.place, &snapshot)) else {
            return;
        };
        let (quarter, before) = (of.time.floor(QUARTER), charged.map_or(0, |(_, units)| units));
        if let Some((dimensions, units)) = charged {
            self.charges.entry((quarter, dimensions.to_owned())).or_default().before += units;
        }
        let (after, dimensions) = (units(cost), dimensions_of(of.llm, cost, &snapshot.rules));
        let stands = match self.earlier.cost(of, &snapshot) {
            Some(cost) => (dimensions_of(of.llm, cost, &snapshot.rules), units(cost)),
            None => charged.map(|(dimensions, units)| (dimensions.to_owned(), units)).unwrap_or_default(),
        };
        if stands.1 != after || (after != 0 && stands.0 != dimensions) {
            self.moved = self.moved.max(Some(quarter));
        }
        if after != 0 {
            self.charges.entry((quarter, dimensions)).or_default().after += after;
        }
        let figures = self.figures.entry((quarter, of.llm.model.clone())).or_default();
        figures.uses += 1;
        figures.unpriced += u64::from(matches!(cost, Cost::Unpriced(_)));
        figures.before += before;
        figures.after += after;
    }

    /// One that is void: nothing is to be charged for it. What its void has left is taken off, and what it took too much comes back.
    fn take_voided(&mut self, place: (u64, u32), time: Time, model: &str, charged: Option<(&str, i128)>) {
        let Some(returned) = self.returned.remove(&place) else { return };
        let charged = charged.map(|(dimensions, units)| (dimensions.to_owned(), units));
        let less = returned.into_iter().map(|(dimensions, units)| (dimensions, -units));
        let mut left: BTreeMap<String, i128> = BTreeMap::new();
        charged.into_iter().chain(less).for_each(|(dimensions, units)| *left.entry(dimensions).or_default() += units);
        left.retain(|_, units| *units != 0);
        let quarter = time.floor(QUARTER);
        for (dimensions, units) in left {
            self.charges.entry((quarter, dimensions)).or_default().before += units;
            self.figures.entry((quarter, model.to_owned())).or_default().before += units;
        }
    }

    /// What an earlier run has corrected.
    fn take_correction(&mut self, used: &Use) {
        let Measure::Adjust(units) = used.measure else { return };
        let model = model_of(&used.dimensions);
        if used.meter != self.cost || !self.span.contains(used.time) || !self.is_wanted(&model) {
            return;
        }
        let quarter = used.time.floor(QUARTER);
        self.charges.entry((quarter, used.dimensions.clone())).or_default().before += i128::from(units);
        self.figures.entry((quarter, model)).or_default().before += i128::from(units);
    }

    /// What a void has given back of what tokens cost: at most what was left there.
    fn take_void(&mut self, correction: &Correction) {
        let (Some(event), of) = (correction.voided, (self.cost, Some(self.tokens))) else { return };
        if event.meter.is_some_and(|meter| meter != self.tokens) {
            return;
        }
        let cost = correction.uses.iter().filter(|used| (used.meter, used.follows) == of);
        let returned = cost.filter_map(|used| match used.measure {
            Measure::Void(quantity) => Some((used.dimensions.clone(), i128::from(quantity.units()))),
            Measure::Adjust(units) => Some((used.dimensions.clone(), -i128::from(units))),
            _ => None,
        });
        let returned: Vec<_> = returned.collect();
        if !returned.is_empty() {
            self.returned.insert((event.sequence, event.offset), returned);
        }
    }

    fn is_wanted(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

fn units(cost: Cost) -> i128 {
    i128::from(cost.charged().units())
}

/// What was charged at first.
fn charged(used: &Use) -> i128 {
    match used.measure {
        Measure::Add(quantity) => i128::from(quantity.units()),
        _ => 0,
    }
}
