//! Corrections by an amount (M6): signed, with a reason, and nothing that happened is erased.
//!
//! What is taken off is taken from what was counted, so that no figure falls below zero: from the quarter hours of the time
//! that is asked about, the latest first. Each part counts as of its quarter hour, for counters as for reports.

use crate::account::Account;
use crate::apply;
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::command::Item;
use crate::grant::{self, Draw};
use crate::id::MeterId;
use crate::limits::{Claim, Limits, use_in};
use crate::meter::{Aggregation, Measure, Meter};
use crate::outcome::{Change, Correction, Use, What};
use crate::period;
use crate::plan::Plan;
use crate::quantity::{Decimal, InvalidQuantity, Quantity};
use crate::time::{Span, Time};
use crate::window::{Window, WindowSet};

use super::correct::Returning;
use super::operate::Told;
use super::tally::{QUARTER, Touch};
use super::{Problem, entry, record};

/// Quarter hours that one correction takes from at most.
const MOST_PARTS: usize = 10_000;

/// What is corrected: so much more or less, or on a level the level.
#[derive(Clone, Debug)]
pub struct Adjustment {
    /// The meter.
    pub meter: MeterId,
    /// In the meter's smallest unit.
    pub units: i64,
    /// When it should have counted; now without one.
    pub time: Option<Time>,
    /// Where something can be taken from: what reports hold in the [span](Adjustment::within), which the store looks up.
    pub room: Vec<Room>,
}

/// What a meter counted in a quarter hour, under one set of dimension values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The start of the quarter hour.
    pub quarter: Time,
    /// The dimension values.
    pub dimensions: String,
    /// The sum.
    pub sum: Quantity,
}

impl Adjustment {
    /// Where something is taken from: of a time from its day in the organization's zone, without one from all; in either case
    /// from what begins by now.
    pub fn within(&self, account: &Account, now: Time) -> Span {
        let end = now.plus(1);
        match self.time {
            Some(time) => {
                let day = period::day(time, &account.profile.zone);
                Span { end: day.end.min(end), ..day }
            }
            None => Span { start: Time::MIN, end },
        }
    }

    /// The room in the order in which it is taken: backwards from the time that is asked about, then what lies after it.
    fn in_order(&self, time: Time) -> Vec<&Room> {
        let mut room: Vec<&Room> = self.room.iter().filter(|room| !room.sum.is_zero()).collect();
        room.sort_by_key(|room| (room.quarter > time, std::cmp::Reverse(room.quarter), room.dimensions.as_str()));
        room.truncate(MOST_PARTS);
        room
    }
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
    let mut correction = Correction::of(Vec::new(), Vec::new());
    match meter.aggregation {
        Aggregation::Sum | Aggregation::Count if asked.units == 0 => return Err(InvalidQuantity::Zero.into()),
        Aggregation::Sum | Aggregation::Count if asked.units > 0 => {
            let item = item(asked, Measure::Add(size), "");
            let touch = Touch::new(account, &item, WindowSet::NONE, time)?;
            let fact = record::fact(&Limits::new(account, plan, meter), &touch, now, &mut Vec::new());
            correction.uses.push(Use { measure: Measure::Adjust(asked.units), ..fact });
        }
        Aggregation::Sum | Aggregation::Count => correction = less(account, plan, meter, asked, now)?,
        Aggregation::Last if asked.units >= 0 => {
            let stands = account.meter(meter.id).and_then(|used| used.level);
            if stands.is_some_and(|level| level.value == size && level.time <= time) {
                return Ok(None);
            }
            let item = item(asked, Measure::Level(size), "");
            let touch = Touch::new(account, &item, WindowSet::NONE, time)?;
            correction.uses.push(touch.written(Claim::default(), &account.grants, now, false));
        }
        Aggregation::Last => return Err(InvalidQuantity::Negative.into()),
        Aggregation::Max | Aggregation::UniqueCount => return Err(Problem::NotAdjustable),
    }
    Ok(Some(told(account, meter, correction, asked, now)))
}

fn item(asked: &Adjustment, measure: Measure, dimensions: &str) -> Item {
    Item { meter: asked.meter, measure, dimensions: dimensions.to_owned() }
}

/// Takes so much off, part by part. Grants get back first what they gave last to the counter that they lift.
fn less(account: &Account, plan: &Plan, meter: &Meter, asked: &Adjustment, now: Time) -> Result<Correction, Problem> {
    let size = Quantity::new(asked.units.saturating_neg())?;
    let time = asked.time.unwrap_or(now);
    let (mut uses, mut left) = (Vec::new(), size);
    for room in asked.in_order(time) {
        let taken = room.sum.min(left);
        if taken.is_zero() {
            break;
        }
        left = left.minus(taken);
        let quarter = Span { start: room.quarter, end: room.quarter.plus(QUARTER) };
        let at = if quarter.contains(time) { time } else { quarter.end.plus(-1).min(now) };
        let item = item(asked, Measure::Adjust(-taken.units()), &room.dimensions);
        let touch = Touch::new(account, &item, WindowSet::NONE, at)?;
        uses.push(touch.written(Claim::default(), &account.grants, now, false));
    }
    if !left.is_zero() {
        return Err(Problem::AdjustsTooMuch(size.minus(left).display(meter.decimals)));
    }
    let stays = give_back(account, plan, meter, &mut uses, now);
    Ok(Correction::of(uses, stays))
}

/// Has what these corrections take off return to the grants that gave it, with the first of them that touches the counter that
/// grants lift. Answers what came from grants that have ended.
pub(crate) fn give_back(account: &Account, plan: &Plan, meter: &Meter, uses: &mut [Use], now: Time) -> Vec<Draw> {
    let limits = Limits::new(account, plan, meter);
    let lifted = limits.period_window().and_then(|window| Some((window, limits.standing(window, now)?)));
    let (mut returning, mut first) = (Returning::default(), None);
    if let Some((window, standing)) = lifted {
        let touching = |used: &&Use| used.windows.has(window);
        let taken = uses.iter().filter(touching).fold(Quantity::ZERO, |sum, used| match used.measure {
            Measure::Adjust(units) => sum.saturating_add(Quantity::at_least_zero(units.saturating_neg())),
            Measure::Void(quantity) => sum.saturating_add(quantity),
            _ => sum,
        });
        first = uses.iter().position(|used| used.windows.has(window));
        // What went beyond the limit was taken last.
        let most = taken.min(standing.used).minus(standing.overage());
        let counter = account.meter(meter.id).and_then(|used| used.counter(window));
        let drawn = counter.map_or(&[][..], |counter| &counter.draws);
        returning = Returning::of(account, grant::last_of(&account.grants, drawn, most), now);
    }
    if let Some(first) = first {
        uses[first].draws = returning.returned;
    }
    returning.stays
}

fn told(account: &Account, meter: &Meter, correction: Correction, asked: &Adjustment, now: Time) -> Told {
    let decimals = meter.decimals;
    let quantity = Decimal { units: i128::from(asked.units), decimals };
    let change = Change::Corrected(correction);
    let mut corrected = account.clone();
    apply::apply(&mut corrected, &entry(now, What::Changed(Box::new(change.clone()))));
    let described = |account: &Account| {
        let counted = use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
        Fields::default().with("meter", meter.key.as_str()).with("used", counted.display(decimals))
    };
    let before = described(account);
    let after = described(&corrected).with("quantity", quantity).with("time", asked.time.unwrap_or(now));
    Told { change, action: "usage.adjust", category: "usage", before, after }
}
