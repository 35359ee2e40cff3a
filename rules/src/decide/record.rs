//! Recording what has happened (M1–M5): never refused for a limit.

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::{Event, Item};
use crate::limits::{Claim, Limits};
use crate::outcome::{Outcome, Recorded, Reply, Use, What};
use crate::plan::Plan;
use crate::time::{MINUTE, Time};
use crate::window::{Window, WindowSet};

use super::tally::Touch;
use super::{Problem, entry, refuse_meter_twice};

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
    refuse_meter_twice(&event.items)?;
    let time = event.time.unwrap_or(now);
    if time > now.plus(AHEAD) {
        return Err(Problem::FutureEvent);
    }
    let mut uses = Vec::with_capacity(event.items.len());
    for (i, item) in event.items.iter().enumerate() {
        let touch = Touch::new(account, item, seen.get(i).copied().unwrap_or_default(), time)?;
        uses.push(fact(account, plan, item, &touch, catalogue, now)?);
    }
    let event = Event { time: Some(time), items: Vec::new(), ..event.clone() };
    let entries = vec![entry(now, What::Recorded(Recorded { event, uses }))];
    Ok(Outcome { entries, reply: Reply::Recorded, audit: Vec::new() })
}

/// What an event does to one meter: base first, then grants, the rest is overage.
pub(super) fn fact(
    account: &Account,
    plan: &Plan,
    item: &Item,
    touch: &Touch<'_>,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Use, Problem> {
    let meter = catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?;
    let limits = Limits::new(account, plan, meter);
    let touched = Window::COUNTED.into_iter().filter(|window| touch.has(*window));
    let claims = touched.filter_map(|window| Some(touch.claim(&limits.standing(window, now)?)));
    Ok(touch.written(Claim::largest(claims), &account.grants, now, false))
}
