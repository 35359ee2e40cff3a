//! What was told late: how much it was, and what of it would have gone beyond the limits of the time in which it had happened.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::account::Account;
use metergate_rules::id::MeterId;
use metergate_rules::meter::Measure;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use metergate_rules::what_if::{Estimate, Late, Terms};
use metergate_rules::window::WindowSet;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::number;
use super::tally::Amount;
use super::{Question, estimated, stopped};
use crate::http::number::Number;
use crate::report::Timestamp;
use crate::store::StoreError;
use crate::store::reader::{ReadError, View};
use crate::store::rollup::QUARTER;

/// Quarter hours that are kept of one organization at most, for all meters: a year of five meters, some 15 MB. What lies beyond is
/// counted, and its meter named as left out.
const MOST_QUARTERS: usize = 200_000;
/// Quarter hours between two looks at whether to go on.
const STRIDE: usize = 1024;

/// One meter of what was told late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfLate {
    /// Facts, and how much they told.
    pub(super) told: Amount,
    /// About so many of them would have gone beyond a limit, and so much.
    pub(super) beyond: Amount,
    /// Whether its quantities add up.
    pub(super) adds_up: bool,
}

/// What was told late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToldLate {
    /// Facts that had happened in the range.
    pub(super) facts: u64,
    /// About so many of them would have gone beyond a limit.
    pub(super) beyond: u64,
    pub(super) meters: BTreeMap<MeterId, OfLate>,
    /// Meters of which it is not estimated what would have been beyond.
    pub(super) left_out: BTreeSet<MeterId>,
    /// Facts that were told in the range and had happened before it.
    pub(super) earlier: u64,
    /// When the first and the last of these had happened.
    pub(super) earlier_span: Option<(Time, Time)>,
}

impl ToldLate {
    /// Whether there is nothing of it.
    pub(super) const fn is_empty(&self) -> bool {
        self.facts == 0 && self.earlier == 0
    }

    /// Adds what was told of another organization.
    pub(super) fn merge(&mut self, other: &Self) {
        self.facts += other.facts;
        self.beyond += other.beyond;
        self.earlier += other.earlier;
        self.left_out.extend(&other.left_out);
        self.earlier_span = spanning(self.earlier_span, other.earlier_span);
        for (meter, found) in &other.meters {
            let known = self.meters.entry(*meter).or_default();
            known.adds_up = found.adds_up;
            known.told.merge(found.told, found.adds_up);
            known.beyond.merge(found.beyond, true);
        }
    }
}

fn spanning(one: Option<(Time, Time)>, other: Option<(Time, Time)>) -> Option<(Time, Time)> {
    match (one, other) {
        (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
        (one, other) => one.or(other),
    }
}

/// The same as it is gathered from the records of one organization.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    found: ToldLate,
    /// Sums and numbers of facts by quarter hour and by the windows that were closed.
    quarters: BTreeMap<(MeterId, Time, WindowSet), (Quantity, u64)>,
}

impl Gathered {
    /// Takes a fact that was told in the range, or after it. What had happened before `known_from` is told by sums, where records are gone.
    pub(super) fn take(&mut self, told: &[Late], known_from: Time, is_told_within: bool, question: &Question) {
        let Some(time) = told.first().map(|late| late.time) else { return };
        if time < question.from {
            if is_told_within {
                self.found.earlier += 1;
                self.found.earlier_span = spanning(self.found.earlier_span, Some((time, time)));
            }
            return;
        }
        if time < known_from || question.to <= time {
            return;
        }
        self.found.facts += 1;
        told.iter().for_each(|late| self.add(late));
    }

    fn add(&mut self, late: &Late) {
        let (quantity, adds_up) = match late.measure {
            Measure::Add(quantity) => (quantity, true),
            Measure::Adjust(units) => (Quantity::at_least_zero(units), true),
            Measure::Value(_) => (Quantity::ONE, true),
            Measure::Peak(quantity) | Measure::Level(quantity) => (quantity, false),
            Measure::Void(_) | Measure::VoidValue(_) => return,
        };
        let meter = self.found.meters.entry(late.meter).or_default();
        meter.adds_up = adds_up;
        meter.told.merge(Amount { count: 1, units: quantity.units().into() }, adds_up);
        let key = (late.meter, late.time.floor(QUARTER), late.closed);
        let has_room = self.quarters.len() < MOST_QUARTERS || self.quarters.contains_key(&key);
        match late.measure {
            Measure::Add(_) | Measure::Adjust(_) if has_room => {
                let (sum, count) = self.quarters.entry(key).or_default();
                (*sum, *count) = (sum.saturating_add(quantity), *count + 1);
            }
            _ => drop(self.found.left_out.insert(late.meter)),
        }
    }

    /// What was found, with an estimate from sums of what would have gone beyond the limits that the organization has as it `stands`:
    /// what was told in time counts first in each quarter hour, then what was told late.
    pub(super) fn judged(
        mut self,
        view: &View<'_>,
        question: &Question,
        stands: &Account,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<ToldLate, ReadError> {
        let meters: BTreeSet<MeterId> = self.quarters.keys().map(|(meter, ..)| *meter).collect();
        for meter in meters {
            let (beyond, taken_off) = self.beyond(view, question, (stands, meter), goes_on)?;
            self.found.beyond += beyond.count;
            let found = self.found.meters.entry(meter).or_default();
            found.beyond = beyond;
            found.told.units -= taken_off;
        }
        self.found.beyond = self.found.beyond.min(self.found.facts);
        Ok(self.found)
    }

    fn of(
        &self,
        meter: MeterId,
        from: Time,
        to: Time,
    ) -> impl DoubleEndedIterator<Item = (Time, WindowSet, Quantity, u64)> {
        let range = (meter, from, WindowSet::NONE)..(meter, to, WindowSet::NONE);
        self.quarters.range(range).map(|((_, quarter, closed), (sum, count))| (*quarter, *closed, *sum, *count))
    }

    /// What would have been beyond; and how much of what was told has been taken off since, by corrections and voids.
    fn beyond(
        &self,
        view: &View<'_>,
        question: &Question,
        (stands, meter): (&Account, MeterId),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(Amount, i128), ReadError> {
        let mut told = self.of(meter, Time::MIN, Time::MAX).map(|(quarter, ..)| quarter);
        let Some(first) = told.next() else { return Ok((Amount::default(), 0)) };
        let end = told.next_back().unwrap_or(first).plus(QUARTER);
        let begin = Estimate::begins(stands, first);
        let terms = Terms { catalogue: &question.catalogue.rules, moved: &question.moved };
        let mut estimate = Estimate::new(stands, terms, meter, begin);
        let sums = estimated::quarters(view, stands, meter, (begin, end))?;
        let all: BTreeSet<Time> =
            sums.keys().copied().chain(self.of(meter, first, end).map(|(quarter, ..)| quarter)).collect();
        let (mut beyond, mut taken_off) = (Amount::default(), 0);
        for (read, quarter) in all.into_iter().enumerate() {
            if read.is_multiple_of(STRIDE) && !goes_on() {
                return stopped();
            }
            // A quarter hour holds no more than its sum, which has what was taken off since.
            let mut left = Quantity::at_least_zero(sums.get(&quarter).map_or(0, |slot| slot.sum));
            let mut late = Vec::new();
            for (_, closed, sum, count) in self.of(meter, quarter, quarter.plus(1)) {
                let stands = sum.min(left);
                left = left.minus(stands);
                taken_off += i128::from(sum.minus(stands).units());
                late.push((closed, stands, count));
            }
            estimate.count(quarter, left).map_err(StoreError::Problem)?;
            for (closed, sum, count) in late {
                let found = estimate.fact(quarter, sum, count, closed).map_err(StoreError::Problem)?;
                beyond.merge(Amount { count: found.count, units: found.overage.units().into() }, true);
            }
        }
        Ok((beyond, taken_off))
    }
}

/// What was told late. Events and corrections take nothing from the limits of windows that are closed when they are told.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLate {
    /// Events and corrections that had happened in the range, on a meter with a limit in a window that was closed when they were told,
    /// be that in the range or after it.
    pub facts: u64,
    /// About so many of them would have gone beyond such a limit, had they been told in time. It is estimated from sums by quarter
    /// hour, with the plan, overrides and extra quota that the organizations have now, and without credit.
    pub beyond: u64,
    /// By meter.
    pub meters: Vec<WhatIfLateMeter>,
    /// Meters of which that is not estimated: peaks, levels, distinct values.
    pub left_out: Vec<String>,
    /// Those that were told in the range and had happened before it: ask about that time.
    pub earlier: u64,
    /// When the first of these had happened.
    pub earliest_at: Option<Timestamp>,
    /// When the last of these had.
    pub latest_at: Option<Timestamp>,
}

/// One meter of what was told late.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLateMeter {
    /// Its key.
    pub meter: String,
    /// Facts.
    pub facts: u64,
    /// How much they told; of a peak or a level the highest.
    pub quantity: Number,
    /// About so many of them would have gone beyond a limit.
    pub beyond: u64,
    /// About so much would have.
    pub beyond_quantity: Number,
}

impl WhatIfLate {
    pub(super) fn of(question: &Question, late: &ToldLate) -> Option<Self> {
        let meter = |(meter, found): (&MeterId, &OfLate)| WhatIfLateMeter {
            meter: question.catalogue.meter_key(*meter).to_owned(),
            facts: found.told.count,
            quantity: number(question, *meter, found.told.units),
            beyond: found.beyond.count,
            beyond_quantity: number(question, *meter, found.beyond.units),
        };
        let mut meters: Vec<_> = late.meters.iter().map(meter).collect();
        meters.sort_by(|a, b| b.facts.cmp(&a.facts).then_with(|| a.meter.cmp(&b.meter)));
        (!late.is_empty()).then(|| Self {
            facts: late.facts,
            beyond: late.beyond,
            meters,
            left_out: late.left_out.iter().map(|meter| question.catalogue.meter_key(*meter).to_owned()).collect(),
            earlier: late.earlier,
            earliest_at: late.earlier_span.map(|(first, _)| Timestamp(first)),
            latest_at: late.earlier_span.map(|(_, last)| Timestamp(last)),
        })
    }
}
