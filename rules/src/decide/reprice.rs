//! What was charged for tokens, corrected after prices have changed: as adjustments of the quarter hours in which it was used
//! (M6, M9). What differs is found by the store, which reads the records.

use crate::account::Account;
use crate::apply;
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::id::MeterId;
use crate::limits::{Claim, Limits, use_in};
use crate::meter::{Measure, Meter};
use crate::outcome::{Change, Correction, PricedAgain, Use, What};
use crate::plan::Plan;
use crate::quantity::{Decimal, Quantity};
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::operate::Told;
use super::tally::{QUARTER, Touch};
use super::{Problem, adjust, entry, record};

/// Quarter hours and dimension sets that one command corrects at most.
pub const MOST_PARTS: usize = 1000;

/// What is to be charged more or less for tokens of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repricing {
    /// The meter of costs.
    pub meter: MeterId,
    /// The time whose tokens were priced again.
    pub from: Time,
    /// Its end.
    pub to: Time,
    /// What differs: [`MOST_PARTS`] at most.
    pub parts: Vec<Repriced>,
    /// By which prices all of the time is charged after it, which a void has to know; none where more of it is to come, or where
    /// no use is charged otherwise than before. Its own time is that of the decision.
    pub priced: Option<PricedAgain>,
}

/// What differs in one quarter hour, under one set of dimension values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repriced {
    /// The start of the quarter hour.
    pub quarter: Time,
    /// The dimension values.
    pub dimensions: String,
    /// So many billionths of a dollar more, or less where it is negative.
    pub units: i64,
    /// What reports hold there, which the store looks up: no more can be taken off.
    pub room: Quantity,
}

/// One change for all parts. What cannot be taken off, since it has been already, is left out. Without parts the sums stay, and
/// single uses are charged otherwise.
pub(super) fn reprice(
    account: &Account,
    asked: &Repricing,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let meter = catalogue.cost_meter().filter(|meter| meter.id == asked.meter).ok_or(Problem::UnknownMeter)?;
    if asked.parts.len() > MOST_PARTS {
        return Err(Problem::Inconsistent("more is to be priced again than one command may"));
    }
    let mut uses = less(account, asked, now)?;
    let stays = adjust::give_back(account, plan, meter, &mut uses, now);
    let mut correction = Correction { repriced: true, ..Correction::of(uses, stays) };
    let mut scratch = account.clone();
    fold(&mut scratch, &correction, now);
    for part in asked.parts.iter().filter(|part| part.units > 0) {
        let used = more(&scratch, plan, meter, part, now)?;
        let one = Correction::of(vec![used.clone()], Vec::new());
        fold(&mut scratch, &one, now);
        correction.uses.push(used);
    }
    let is_change = !correction.uses.is_empty() || (asked.parts.is_empty() && asked.priced.is_some());
    correction.priced = asked.priced.clone().map(|priced| Box::new(PricedAgain { at: now, ..priced }));
    Ok(is_change.then(|| told(account, &scratch, meter, correction, asked, now)))
}

fn fold(account: &mut Account, correction: &Correction, now: Time) {
    apply::apply(account, &entry(now, What::Changed(Box::new(Change::Corrected(correction.clone())))));
}

/// The last moment of a quarter hour that has come.
pub(super) fn moment(quarter: Time, now: Time) -> Time {
    quarter.plus(QUARTER - 1).min(now).max(quarter)
}

fn less(account: &Account, asked: &Repricing, now: Time) -> Result<Vec<Use>, Problem> {
    let mut uses = Vec::new();
    for part in asked.parts.iter().filter(|part| part.units < 0) {
        let taken = part.room.min(Quantity::at_least_zero(part.units.saturating_neg()));
        if !taken.is_zero() {
            let item = item(asked.meter, Measure::Adjust(-taken.units()), part);
            let touch = Touch::new(account, &item, WindowSet::NONE, moment(part.quarter, now))?;
            uses.push(touch.written(Claim::default(), &account.grants, now, false));
        }
    }
    Ok(uses)
}

fn more(account: &Account, plan: &Plan, cost: &Meter, part: &Repriced, now: Time) -> Result<Use, Problem> {
    let item = item(cost.id, Measure::Add(Quantity::new(part.units)?), part);
    let touch = Touch::new(account, &item, WindowSet::NONE, moment(part.quarter, now))?;
    // What all parts together set off is told once, of how it stands after them.
    let fact = record::fact(&Limits::new(account, plan, cost), &touch, now, &mut Vec::new());
    Ok(Use { measure: Measure::Adjust(part.units), ..fact })
}

fn item(meter: MeterId, measure: Measure, part: &Repriced) -> Item {
    Item { meter, measure, dimensions: part.dimensions.clone() }
}

fn told(
    before: &Account,
    after: &Account,
    meter: &Meter,
    correction: Correction,
    asked: &Repricing,
    now: Time,
) -> Told {
    let units = correction.uses.iter().map(|used| match used.measure {
        Measure::Adjust(units) => i128::from(units),
        _ => 0,
    });
    let quantity = Decimal { units: units.sum(), decimals: meter.decimals };
    let described = |account: &Account| {
        let counted = use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
        Fields::default().with("meter", meter.key.as_str()).with("used", counted.display(meter.decimals))
    };
    let parts = i64::try_from(correction.uses.len()).unwrap_or(i64::MAX);
    let after = described(after)
        .with("quantity", quantity)
        .with("from", asked.from)
        .with("to", asked.to)
        .with("parts", parts)
        .with("cause", "prices");
    let change = Change::Corrected(correction);
    Told { change, action: "usage.adjust", category: "usage", before: described(before), after }
}
