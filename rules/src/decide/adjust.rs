//! Corrections by an amount (M6): signed, with a reason, and nothing that happened is erased.

use crate::account::Account;
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::grant::{self, Draw};
use crate::id::MeterId;
use crate::limits::{Claim, Limits, use_in};
use crate::meter::{Aggregation, Measure, Meter};
use crate::outcome::{Change, Use};
use crate::plan::Plan;
use crate::quantity::{Decimal, InvalidQuantity, Quantity};
use crate::time::Time;
use crate::window::{Window, WindowSet};

use super::operate::Told;
use super::tally::Touch;
use super::{Problem, record};

/// What is corrected: so much more or less, or on a level the level.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The meter.
    pub meter: MeterId,
    /// In the meter's smallest unit.
    pub units: i64,
    /// When it should have counted; now without one.
    pub time: Option<Time>,
}

pub(super) fn adjust(
    account: &Account,
    asked: &Adjustment,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let meter = catalogue.meter(asked.meter).ok_or(Problem::UnknownMeter)?;
    let time = asked.time.unwrap_or(now);
    if time > now {
        return Err(Problem::FutureAdjustment);
    }
    let size = Quantity::new(asked.units.saturating_abs())?;
    let used = match meter.aggregation {
        Aggregation::Sum | Aggregation::Count if asked.units == 0 => return Err(InvalidQuantity::Zero.into()),
        Aggregation::Sum | Aggregation::Count if asked.units > 0 => {
            let item = item(asked, Measure::Add(size));
            let touch = Touch::new(account, &item, WindowSet::NONE, time)?;
            let fact = record::fact(account, plan, &item, &touch, catalogue, now)?;
            Use { measure: Measure::Adjust(asked.units), ..fact }
        }
        Aggregation::Sum | Aggregation::Count => less(account, plan, meter, asked, time, now)?,
        Aggregation::Last if asked.units >= 0 => {
            let item = item(asked, Measure::Level(size));
            let touch = Touch::new(account, &item, WindowSet::NONE, time)?;
            touch.written(Claim::default(), &account.grants, now, false)
        }
        Aggregation::Last => return Err(InvalidQuantity::Negative.into()),
        Aggregation::Max | Aggregation::UniqueCount => return Err(Problem::NotAdjustable),
    };
    Ok(Some(told(account, meter, used, asked.units, now)))
}

fn item(asked: &Adjustment, measure: Measure) -> Item {
    Item { meter: asked.meter, measure, dimensions: String::new() }
}

/// Takes so much off the open counters that count its time. Grants get back first what they gave last.
fn less(
    account: &Account,
    plan: &Plan,
    meter: &Meter,
    asked: &Adjustment,
    time: Time,
    now: Time,
) -> Result<Use, Problem> {
    let size = Quantity::new(asked.units.saturating_neg())?;
    let counted = account.meter(meter.id).and_then(|used| used.counter(Window::Lifetime)).map(|counter| counter.used);
    if size > counted.unwrap_or_default() {
        return Err(Problem::AdjustsTooMuch);
    }
    let item = item(asked, Measure::Add(Quantity::ZERO));
    let touch = Touch::new(account, &item, WindowSet::NONE, time)?;
    let lifted = Limits::new(account, plan, meter).period_window().filter(|window| touch.has(*window));
    let standing = lifted.and_then(|window| Limits::new(account, plan, meter).standing(window, now));
    // What went beyond the limit was taken last.
    let most = standing.map_or(Quantity::ZERO, |standing| size.minus(standing.overage()).min(standing.drawn));
    let draws = returned(account, meter.id, most, now);
    let touched = touch.written(Claim::default(), &account.grants, now, false);
    Ok(Use { measure: Measure::Adjust(asked.units), draws, ..touched })
}

/// What returns to which grants, in the reverse of the order in which they are drawn. To one that has ended nothing does.
fn returned(account: &Account, meter: MeterId, most: Quantity, now: Time) -> Vec<Draw> {
    let (mut left, mut returned) = (most, Vec::new());
    for given in grant::given(&account.grants, meter, now) {
        let quantity = given.quantity.min(left);
        left = left.minus(quantity);
        if !quantity.is_zero() {
            returned.push(Draw { quantity, ..given });
        }
    }
    returned
}

fn told(account: &Account, meter: &Meter, used: Use, units: i64, now: Time) -> Told {
    let decimals = meter.decimals;
    let counted = use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
    let quantity = Decimal { units: i128::from(units), decimals };
    let fields = Fields::default().with("meter", meter.key.as_str());
    let before = fields.clone().with("used", counted.display(decimals));
    let after = fields.with("quantity", quantity).with("time", used.time);
    let change = Change::Adjusted(used);
    Told { change, action: "usage.adjust", category: "usage", before, after }
}
