//! One organization's records, newest first: what was charged for tokens, and what they cost by today's table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use metergate_rules::command::Repriced;
use metergate_rules::decide::cost::dimensions_of;
use metergate_rules::id::{MeterId, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::meter::{Measure, Meter};
use metergate_rules::outcome::{Change, Correction, Hold, Use, VoidedEvent, What};
use metergate_rules::price::{Cost, LlmUse, Pattern, TOKENS};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{MINUTE, Span, Time};

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

/// What came of the uses of a model. Costs are in billionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many there were.
    pub uses: u64,
    /// Those of which nobody knows what they cost.
    pub unpriced: u64,
    /// What was charged, with earlier corrections of this kind.
    pub before: i128,
    /// What they cost by today's table.
    pub after: i128,
    /// Whether it differs in some quarter hour, though it may come to the same.
    pub moved: bool,
}

impl Figures {
    /// How much more is charged, or less.
    pub const fn difference(&self) -> i128 {
        self.after - self.before
    }

    /// Whether anything of it is to be corrected.
    pub const fn differs(&self) -> bool {
        self.moved
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.uses += other.uses;
        self.unpriced += other.unpriced;
        self.before += other.before;
        self.after += other.after;
        self.moved |= other.moved;
    }
}

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
    /// What voids have given back of what was charged for an event, in billionths: some of it may have gone already.
    returned: HashMap<(u64, u32), i128>,
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
            What::Decided(decided) => {
                self.take_use(place, Some(self.tokens), &decided.uses, |meter, rules| {
                    llm::stored(meter, &decided.properties, rules)
                });
            }
            What::Recorded(recorded) => {
                self.take_use(place, None, &recorded.uses, |meter, rules| {
                    llm::stored(meter, &recorded.event.data, rules)
                });
            }
            What::Reservation(hold) => {
                if let Hold::Settled(settled) = &**hold {
                    self.take_use(place, Some(self.tokens), &settled.uses, |meter, rules| {
                        llm::settled(meter, &settled.properties, settled.quantity(), rules).unwrap_or(None)
                    });
                }
            }
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

    /// A use of tokens that stands, with what was charged for it. Where the caller said the cost, that stands.
    fn take_use(
        &mut self,
        place: (u64, u32),
        voided_as: Option<MeterId>,
        uses: &[Use],
        said: impl FnOnce(&Meter, &metergate_rules::catalogue::Catalogue) -> Option<Box<LlmUse>>,
    ) {
        let of = |meter: MeterId, follows| uses.iter().find(|used| used.meter == meter && used.follows == follows);
        let Some(tokens) = of(self.tokens, None).filter(|used| self.span.contains(used.time)) else { return };
        if of(self.cost, None).is_some() {
            return;
        }
        let is_it = |event: &VoidedEvent| (event.sequence, event.offset) == place && event.meter == voided_as;
        let is_void = self.voided.iter().any(is_it);
        let snapshot = Arc::clone(&self.snapshot);
        let Some(meter) = snapshot.rules.meter(self.tokens) else { return };
        let Some(llm) = said(meter, &snapshot.rules).filter(|llm| self.is_wanted(&llm.model)) else { return };
        let markup = self.plans.markup(place, &snapshot);
        // A cost that is out of range could not have been recorded.
        let Ok(cost) = snapshot.rules.prices().cost(&llm, tokens.time, markup) else { return };
        let charged = of(self.cost, Some(self.tokens));
        let before = charged.map_or(0, |used| match used.measure {
            Measure::Add(quantity) => i128::from(quantity.units()),
            _ => 0,
        });
        // Of what is void nothing is to be charged: what its void has left is taken off, and what it took too much comes back.
        let returned = if is_void { self.returned.get(&place).copied().unwrap_or(before) } else { 0 };
        let (before, cost) = (before - returned, if is_void { Cost::Priced(Quantity::ZERO) } else { cost });
        if is_void && before == 0 {
            return;
        }
        let quarter = tokens.time.floor(QUARTER);
        if let Some(used) = charged {
            self.charges.entry((quarter, used.dimensions.clone())).or_default().before += before;
        }
        let after = i128::from(cost.charged().units());
        if after != 0 {
            let dimensions = dimensions_of(&llm, cost, &snapshot.rules);
            self.charges.entry((quarter, dimensions)).or_default().after += after;
        }
        let figures = self.figures.entry((quarter, llm.model)).or_default();
        figures.uses += u64::from(!is_void);
        figures.unpriced += u64::from(matches!(cost, Cost::Unpriced(_)));
        figures.before += before;
        figures.after += after;
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

    /// What a void has given back of what tokens cost: at most what was left there, and never more than was charged at first.
    fn take_void(&mut self, correction: &Correction) {
        let (Some(event), of) = (correction.voided, (self.cost, Some(self.tokens))) else { return };
        if event.meter.is_some_and(|meter| meter != self.tokens) {
            return;
        }
        let Some(used) = correction.uses.iter().find(|used| (used.meter, used.follows) == of) else { return };
        if let Measure::Void(quantity) = used.measure {
            self.returned.insert((event.sequence, event.offset), i128::from(quantity.units()));
        }
    }

    fn is_wanted(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|pattern| pattern.matches(model)))
    }
}

/// The model among dimension values; empty where it is not among them.
fn model_of(dimensions: &str) -> String {
    let values: Option<BTreeMap<String, String>> = serde_json::from_str(dimensions).ok();
    values.and_then(|mut values| values.remove("model")).unwrap_or_default()
}
