//! What is estimated from rollups, where raw records are gone.

use std::collections::{BTreeMap, BTreeSet};

use metergate_rules::account::Account;
use metergate_rules::id::MeterId;
use metergate_rules::limits::Limits;
use metergate_rules::meter::Meter;
use metergate_rules::price::TOKENS;
use metergate_rules::quantity::Quantity;
use metergate_rules::time::{DAY, Time};
use metergate_rules::what_if::{Estimate, Terms};

use super::tally::Tally;
use super::{Question, stopped};
use crate::store::StoreError;
use crate::store::error::EngineError;
use crate::store::reader::{ReadError, View};
use crate::store::rollup::{Day, QUARTER, Slot, day_of};
use crate::store::rows::RollupRange;

/// What is estimated, and up to when.
pub(super) struct Guess {
    pub(super) until: Time,
    pub(super) tally: Tally,
    /// Limited meters of which sums say nothing.
    pub(super) left_out: BTreeSet<MeterId>,
}

/// Estimates for an organization, which stood like this at `until`, what lies before.
pub(super) fn guess(
    view: &View<'_>,
    question: &Question,
    stands: &Account,
    until: Time,
    goes_on: &dyn Fn() -> bool,
) -> Result<Guess, ReadError> {
    let terms = Terms { catalogue: &question.catalogue.rules, moved: &question.moved };
    let unknown = || StoreError::Problem(metergate_rules::decide::Problem::UnknownPlan);
    let plan = terms.catalogue.plan(terms.plan(stands.plan)).ok_or_else(unknown)?;
    let mut guess = Guess { until, tally: Tally::default(), left_out: BTreeSet::new() };
    let (mut of_tokens, mut of_cost) = (BTreeMap::new(), BTreeMap::new());
    let cost = terms.catalogue.cost_meter().map(|meter| meter.id);
    let tokens = terms.catalogue.meter_by_key(TOKENS).map(|meter| meter.id);
    for meter in terms.catalogue.meters() {
        if !goes_on() {
            return stopped();
        }
        // A plan need not name what tokens cost: only its limits stop them.
        let is_cost = cost == Some(meter.id);
        let concerns = Limits::new(stands, plan, meter).is_named() || !(plan.other_meters || is_cost);
        if concerns && !meter.aggregation.is_rate() {
            guess.left_out.insert(meter.id);
        } else if concerns {
            let refused = of_meter(view, question, (stands, &terms), meter, &mut guess)?;
            match meter.id {
                id if Some(id) == tokens => of_tokens = refused,
                _ if is_cost => of_cost = refused,
                _ => {}
            }
        }
    }
    // A call that its tokens and its cost would both have had refused is one.
    for (quarter, count) in of_cost {
        let both = of_tokens.get(&quarter).map_or(0, |of_tokens: &u64| count.min(*of_tokens));
        guess.tally.count_once(quarter, both, &question.zone);
    }
    Ok(guess)
}

/// What is estimated of a meter; about how many calls would have been refused in each quarter hour.
fn of_meter(
    view: &View<'_>,
    question: &Question,
    (stands, terms): (&Account, &Terms<'_>),
    meter: &Meter,
    guess: &mut Guess,
) -> Result<BTreeMap<Time, u64>, ReadError> {
    let begin = Estimate::begins(stands, question.from);
    let mut refused = BTreeMap::new();
    let mut estimate = Estimate::new(stands, terms.clone(), meter.id, begin);
    for (quarter, slot) in quarters(view, stands, meter.id, (begin, guess.until))? {
        let sum = Quantity::at_least_zero(slot.sum);
        if quarter < question.from {
            estimate.count(quarter, sum).map_err(StoreError::Problem)?;
        } else {
            let count = u64::try_from(slot.count).unwrap_or(0);
            let found = estimate.take(quarter, sum, count).map_err(StoreError::Problem)?;
            guess.tally.estimate(quarter, meter.id, &found, &question.zone);
            if found.reason.is_some() {
                refused.insert(quarter, found.count);
            }
        }
    }
    Ok(refused)
}

/// What a meter did in the quarter hours that begin in a span, in order.
pub(super) fn quarters(
    view: &View<'_>,
    stands: &Account,
    meter: MeterId,
    (begin, end): (Time, Time),
) -> Result<BTreeMap<Time, Slot>, ReadError> {
    let mut quarters: BTreeMap<Time, Slot> = BTreeMap::new();
    let mut add = |day: i32, quarter: u8, slot: &Slot| {
        let at = Time::from_micros(i64::from(day) * DAY + i64::from(quarter) * QUARTER);
        if begin <= at && at < end {
            quarters.entry(at).or_default().merge(slot);
        }
    };
    let (first, last) = (day_of(begin), day_of(end));
    let range = RollupRange { organization: stands.id, meter, first, last, newest_first: false };
    for (day, _, slots) in view.lacking_rollups(&range)? {
        slots.slots().for_each(|(quarter, slot)| add(day, quarter, slot));
    }
    view.each_rollup(&range, |day, _, data| {
        let read = Day::each(data, |quarter, slot| add(day, quarter, &slot));
        let unreadable = |error: postcard::Error| EngineError::Unreadable {
            what: format!("a rollup of organization {}", stands.id),
            why: error.to_string(),
        };
        Ok(read.map(|()| true).map_err(unreadable)?)
    })?;
    Ok(quarters)
}
