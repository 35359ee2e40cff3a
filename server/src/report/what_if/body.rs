//! The answer on the wire.

use metergate_rules::id::MeterId;
use metergate_rules::period::date_of;
use metergate_rules::time::Time;
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::late::WhatIfLate;
use super::replayed::Looked;
use super::summary::summary;
use super::tally::{Amount, Counts, Tally};
use super::{AsItWas, COST, Found, Question};
use crate::http::number::Number;
use crate::report::Timestamp;
use crate::report::organization::plan_of;

/// What would have been refused, and what was.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfReport {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// The zone of the days.
    pub time_zone: String,
    /// The plans that were changed for it.
    pub plans: Vec<String>,
    /// The answer in a sentence or two.
    pub summary: String,
    /// In what the changed plans differ although it is not replayed, but happens as it did: `trial`, `cycle`, `graceDays`,
    /// `fallbackPlan`.
    pub not_replayed: Vec<AsItWas>,
    /// Organizations that were replayed.
    pub replayed: u64,
    /// Those of which something would have been refused that was allowed, or is estimated to.
    pub refused_organizations: u64,
    /// Organizations of which it cannot be said, since their records cannot be read.
    pub failed: u64,
    /// Organizations that were not replayed, about, since `withinSeconds` were over: so much more may have been.
    pub unreplayed: u64,
    /// Decisions and reservations that were asked again, as far as they are recorded: a refusal without an id is not.
    pub calls: u64,
    /// Events and true quantities of reservations, which are never refused.
    pub facts: u64,
    /// Calls that were allowed, and would have been refused.
    pub refused: u64,
    /// Calls that were refused.
    pub refused_before: u64,
    /// Calls that were refused, and would have been allowed.
    pub allowed: u64,
    /// Facts that would have gone beyond a limit.
    pub beyond: u64,
    /// Facts that did.
    pub beyond_before: u64,
    /// What the calls that would have been refused cost, in US dollars, as far as they were priced; `null` without the meter
    /// `llm_cost`.
    pub cost: Option<Number>,
    /// What was charged for all calls of language models in the range, with what was corrected, in US dollars.
    pub cost_before: Option<Number>,
    /// What would have been.
    pub cost_after: Option<Number>,
    /// The first call that would have been refused.
    pub first_refused_at: Option<Timestamp>,
    /// The last one.
    pub last_refused_at: Option<Timestamp>,
    /// By meter.
    pub meters: Vec<WhatIfMeter>,
    /// By limit, or by what else refuses. A call that passes several limits stands under each of them.
    pub limits: Vec<WhatIfLimit>,
    /// By day; those on which nothing was or would have been refused are left out.
    pub days: Vec<WhatIfDay>,
    /// What is estimated beside all this, where raw records are gone; `null` where they are not.
    pub estimate: Option<WhatIfEstimate>,
    /// What was told only after windows in which it had happened were closed, as an import tells it: no limit was asked about it, and
    /// none of the figures above has it. `null` where nothing was.
    pub late: Option<WhatIfLate>,
    /// Organizations by what would have been refused, the most first.
    pub organizations: Vec<WhatIfOrganization>,
    /// How many more there are.
    pub more_organizations: u64,
}

/// One meter.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfMeter {
    /// Its key.
    pub meter: String,
    /// Calls on it that were allowed, and would have been refused.
    pub refused: u64,
    /// How much they asked for; of a peak or a level the highest.
    pub refused_quantity: Number,
    /// Calls on it that were refused.
    pub refused_before: u64,
    /// How much they asked for.
    pub refused_quantity_before: Number,
    /// Calls that were refused, and would have been allowed.
    pub allowed: u64,
    /// How much they asked for.
    pub allowed_quantity: Number,
    /// What would have gone beyond a limit: beyond soft ones, and facts.
    pub overage: Number,
    /// What did.
    pub overage_before: Number,
}

/// One limit, or what else refuses.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfLimit {
    /// The meter's key.
    pub meter: String,
    /// The limit's window; `null` where no limit refuses.
    #[schema(value_type = Option<String>, example = "billingPeriod")]
    pub window: Option<Window>,
    /// Why it refuses.
    #[schema(value_type = String, example = "quota-exceeded")]
    pub reason: &'static str,
    /// Calls that were allowed, and that it would have refused.
    pub refused: u64,
    /// How much they asked for.
    pub refused_quantity: Number,
    /// Calls that it refused.
    pub refused_before: u64,
    /// How much they asked for.
    pub refused_quantity_before: Number,
    /// Calls that it refused, and that would have been allowed.
    pub allowed: u64,
    /// How much they asked for.
    pub allowed_quantity: Number,
}

/// One day.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfDay {
    /// The date in the zone.
    #[schema(example = "2026-11-27")]
    pub date: String,
    /// When it begins.
    pub start: Timestamp,
    /// Calls that were allowed, and would have been refused.
    pub refused: u64,
    /// Calls that were refused.
    pub refused_before: u64,
    /// Calls that were refused, and would have been allowed.
    pub allowed: u64,
}

/// What is estimated from sums by quarter hour, as if all that was used had been asked for bit by bit.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfEstimate {
    /// From then on nothing is estimated, of no organization.
    pub until: Timestamp,
    /// Calls that would have been refused, about.
    pub refused: u64,
    /// By meter; `refused*` and `overage` alone.
    pub meters: Vec<WhatIfMeter>,
    /// By limit, likewise.
    pub limits: Vec<WhatIfLimit>,
    /// By day, likewise.
    pub days: Vec<WhatIfDay>,
    /// Limited meters that cannot be estimated: peaks, levels, distinct values.
    pub left_out: Vec<String>,
}

/// One organization.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfOrganization {
    /// Its key.
    pub organization: String,
    /// Its name for people.
    pub name: String,
    /// The key of its plan, as it is now.
    pub plan: String,
    /// Calls that were allowed, and would have been refused.
    pub refused: u64,
    /// Calls that were refused.
    pub refused_before: u64,
    /// Calls that were refused, and would have been allowed.
    pub allowed: u64,
    /// Facts that would have gone beyond a limit.
    pub beyond: u64,
    /// Facts that did.
    pub beyond_before: u64,
    /// What the calls that would have been refused cost, in US dollars; `null` without the meter `llm_cost`.
    pub cost: Option<Number>,
    /// What was charged for all its calls of language models in the range.
    pub cost_before: Option<Number>,
    /// What would have been.
    pub cost_after: Option<Number>,
    /// The first call that would have been refused.
    pub first_refused_at: Option<Timestamp>,
    /// The last one.
    pub last_refused_at: Option<Timestamp>,
    /// By limit.
    pub limits: Vec<WhatIfLimit>,
    /// From when on its records tell; `null` where they tell all of the range. What lies before is estimated.
    pub estimated_until: Option<Timestamp>,
    /// Calls that would have been refused before that, about.
    pub refused_estimated: u64,
    /// Facts that were told late.
    pub late_facts: u64,
    /// About so many of them would have gone beyond a limit.
    pub late_beyond: u64,
}

impl WhatIfOrganization {
    pub(super) fn of(question: &Question, looked: &Looked) -> Self {
        let Looked { account, exact, guess, late, .. } = looked;
        let (plan, _) = plan_of(account, &question.catalogue);
        Self {
            organization: account.profile.key.to_string(),
            name: account.profile.name.clone(),
            plan,
            refused: exact.counts.refused,
            refused_before: exact.counts.refused_before,
            allowed: exact.counts.allowed,
            beyond: exact.beyond,
            beyond_before: exact.beyond_before,
            cost: cost(question, exact),
            cost_before: dollars(question, exact.charged.was),
            cost_after: dollars(question, exact.charged.is),
            first_refused_at: exact.span.map(|(first, _)| Timestamp(first)),
            last_refused_at: exact.span.map(|(_, last)| Timestamp(last)),
            limits: limits(question, exact),
            estimated_until: guess.as_ref().map(|guess| Timestamp(guess.until)),
            refused_estimated: guess.as_ref().map_or(0, |guess| guess.tally.counts.refused),
            late_facts: late.facts,
            late_beyond: late.beyond,
        }
    }

    /// By what those are in order of whom most would have been refused.
    pub(super) fn weight(&self) -> (u64, u64, u64, u128) {
        let units = |cost: Option<Number>| cost.map_or(0, |cost| cost.units);
        (
            self.refused.saturating_add(self.refused_estimated),
            self.beyond.saturating_sub(self.beyond_before).saturating_add(self.late_beyond),
            self.allowed,
            units(self.cost_before).abs_diff(units(self.cost_after)),
        )
    }
}

impl WhatIfReport {
    pub(super) fn of(question: &Question, found: Found) -> Self {
        let tally = &found.exact;
        let estimate = found.until.map(|until| WhatIfEstimate {
            until: Timestamp(until),
            refused: found.guessed.counts.refused,
            meters: meters(question, &found.guessed),
            limits: limits(question, &found.guessed),
            days: days(question, &found.guessed),
            left_out: found.left_out.iter().map(|meter| question.catalogue.meter_key(*meter).to_owned()).collect(),
        });
        Self {
            from: Timestamp(question.from),
            to: Timestamp(question.to),
            time_zone: question.zone.name().to_owned(),
            plans: question.plans.clone(),
            summary: summary(question, &found),
            not_replayed: found.as_it_was.iter().copied().collect(),
            replayed: found.replayed,
            refused_organizations: found.refusing,
            failed: found.failed,
            unreplayed: found.unreplayed,
            calls: tally.calls,
            facts: tally.facts,
            refused: tally.counts.refused,
            refused_before: tally.counts.refused_before,
            allowed: tally.counts.allowed,
            beyond: tally.beyond,
            beyond_before: tally.beyond_before,
            cost: cost(question, tally),
            cost_before: dollars(question, tally.charged.was),
            cost_after: dollars(question, tally.charged.is),
            first_refused_at: tally.span.map(|(first, _)| Timestamp(first)),
            last_refused_at: tally.span.map(|(_, last)| Timestamp(last)),
            meters: meters(question, tally),
            limits: limits(question, tally),
            days: days(question, tally),
            estimate,
            late: WhatIfLate::of(question, &found.late),
            organizations: found.listed,
            more_organizations: found.unlisted,
        }
    }
}

pub(super) fn number(question: &Question, meter: MeterId, units: i128) -> Number {
    Number { units, decimals: question.catalogue.decimals(meter), text: question.text }
}

fn cost(question: &Question, tally: &Tally) -> Option<Number> {
    let meter = question.catalogue.meter(COST)?.id;
    Some(number(question, meter, tally.refused_of(meter)))
}

pub(super) fn dollars(question: &Question, units: i128) -> Option<Number> {
    Some(number(question, question.catalogue.meter(COST)?.id, units))
}

fn meters(question: &Question, tally: &Tally) -> Vec<WhatIfMeter> {
    let meter = |(meter, found): (&MeterId, &super::tally::OfMeter)| {
        let quantity = |amount: Amount| number(question, *meter, amount.units);
        let Counts { refused, refused_before, allowed } = found.counts;
        WhatIfMeter {
            meter: question.catalogue.meter_key(*meter).to_owned(),
            refused: refused.count,
            refused_quantity: quantity(refused),
            refused_before: refused_before.count,
            refused_quantity_before: quantity(refused_before),
            allowed: allowed.count,
            allowed_quantity: quantity(allowed),
            overage: number(question, *meter, found.overage),
            overage_before: number(question, *meter, found.overage_before),
        }
    };
    let mut meters: Vec<_> = tally.meters.iter().map(meter).collect();
    meters.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.meter.cmp(&b.meter)));
    meters
}

fn limits(question: &Question, tally: &Tally) -> Vec<WhatIfLimit> {
    let limit = |(limit, found): (&super::tally::Limit, &Counts<Amount>)| {
        let (meter, window, reason) = *limit;
        let quantity = |amount: Amount| number(question, meter, amount.units);
        WhatIfLimit {
            meter: question.catalogue.meter_key(meter).to_owned(),
            window,
            reason: reason.as_str(),
            refused: found.refused.count,
            refused_quantity: quantity(found.refused),
            refused_before: found.refused_before.count,
            refused_quantity_before: quantity(found.refused_before),
            allowed: found.allowed.count,
            allowed_quantity: quantity(found.allowed),
        }
    };
    let mut limits: Vec<_> = tally.limits.iter().map(limit).collect();
    limits.sort_by(|a, b| {
        let rest = |limit: &WhatIfLimit| (limit.meter.clone(), limit.window, limit.reason);
        b.refused.cmp(&a.refused).then_with(|| rest(a).cmp(&rest(b)))
    });
    limits
}

fn days(question: &Question, tally: &Tally) -> Vec<WhatIfDay> {
    let day = |(start, found): (&Time, &Counts<u64>)| WhatIfDay {
        date: date_of(*start, &question.zone).to_string(),
        start: Timestamp(*start),
        refused: found.refused,
        refused_before: found.refused_before,
        allowed: found.allowed,
    };
    tally.days.iter().map(day).collect()
}
