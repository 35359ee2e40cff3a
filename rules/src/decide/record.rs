//! Recording what has happened (M1–M5): never refused for a limit.

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::{Event, Item};
use crate::grant::{self, Draw};
use crate::limits::Limits;
use crate::meter::Measure;
use crate::outcome::{Outcome, Recorded, Reply, Use, What};
use crate::plan::Plan;
use crate::quantity::Quantity;
use crate::time::{MINUTE, Time};
use crate::window::{Window, WindowSet};

use super::tally::{self, Touch};
use super::{Problem, entry};

/// How far in the future an event may lie, for clocks that run ahead.
const AHEAD: i64 = 5 * MINUTE;

/// Counts an event on every meter of its type.
pub(super) fn record(
    account: &Account,
    event: &Event,
    seen: &[WindowSet],
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let time = event.time.unwrap_or(now);
    if time > now.plus(AHEAD) {
        return Err(Problem::FutureEvent);
    }
    let mut uses = Vec::with_capacity(event.items.len());
    for (i, item) in event.items.iter().enumerate() {
        let seen = seen.get(i).copied().unwrap_or_default();
        uses.push(fact(account, plan, item, seen, catalogue, (time, now))?);
    }
    let event = Event { time: Some(time), items: Vec::new(), ..event.clone() };
    let entries = vec![entry(now, What::Recorded(Recorded { event, uses }))];
    Ok(Outcome { entries, reply: Reply::Recorded, audit: Vec::new() })
}

/// What an event does to one meter: base first, then grants, the rest is overage.
fn fact(
    account: &Account,
    plan: &Plan,
    item: &Item,
    seen: WindowSet,
    catalogue: &Catalogue,
    (time, now): (Time, Time),
) -> Result<Use, Problem> {
    let meter = catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?;
    let used = account.meter(item.meter);
    tally::check_range(used, item.measure)?;
    let touched = tally::touch(account, item.meter, time).windows;
    let limits = Limits::new(account, plan, meter);
    let claim = |window: Window| {
        let standing = touched.has(window).then(|| limits.standing(window, now))??;
        let standing = match item.measure {
            Measure::Level(_) => crate::limits::Standing { used: Quantity::ZERO, ..standing },
            _ => standing,
        };
        Some(standing.claim(tally::added(used, item.measure, window, seen)))
    };
    let claims: Vec<_> = Window::COUNTED.into_iter().filter_map(claim).collect();
    let overage = claims.iter().map(|claim| claim.beyond).max().unwrap_or_default();
    let from_grants = claims.iter().map(|claim| claim.from_grants).max().unwrap_or_default();
    let drawable = if meter.aggregation.draws_grants() { from_grants } else { Quantity::ZERO };
    let draws = grant::draw(&account.grants, item.meter, drawable, now);
    Ok(used_at(account, item, time, seen, draws, overage))
}

fn used_at(account: &Account, item: &Item, time: Time, seen: WindowSet, draws: Vec<Draw>, overage: Quantity) -> Use {
    used(account, item, time, seen, draws, overage, false)
}

/// What is written about one meter's part of a decision or an event.
pub(super) fn used(
    account: &Account,
    item: &Item,
    time: Time,
    seen: WindowSet,
    draws: Vec<Draw>,
    overage: Quantity,
    sliding: bool,
) -> Use {
    let counted = account.meter(item.meter);
    let Touch { windows, ahead } = tally::touch(account, item.meter, time);
    let (windows, ahead, bucket) = match item.measure {
        Measure::Value(_) => (windows.without(seen), ahead, Some(tally::bucket(account, item.meter, time))),
        Measure::Level(_) if counted.and_then(|u| u.level).is_some_and(|level| time < level.time) => {
            (WindowSet::NONE, WindowSet::NONE, None)
        }
        _ => (windows, ahead, None),
    };
    Use {
        meter: item.meter,
        measure: item.measure,
        time,
        windows,
        ahead,
        epochs: tally::epochs(counted),
        sliding: sliding && matches!(item.measure, Measure::Add(_)),
        draws,
        overage,
        dimensions: item.dimensions.clone(),
        bucket,
    }
}
