//! Recording what has happened (M1–M5): never refused for a limit.

use crate::account::Account;
use crate::catalogue::Catalogue;
use crate::command::Event;
use crate::limits::{Claim, Limits};
use crate::notice::{Notice, triggered};
use crate::outcome::{Outcome, Recorded, Reply, Use, What};
use crate::time::{MINUTE, Time};
use crate::window::{Window, WindowSet};

use super::cost::Costed;
use super::tally::Touch;
use super::{Problem, entry, noticed, refuse_meter_twice};

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
    let (mut uses, mut notices) = (Vec::with_capacity(event.items.len()), Vec::new());
    for (i, item) in event.items.iter().enumerate() {
        let touch = Touch::new(account, item, seen.get(i).copied().unwrap_or_default(), time)?;
        let limits = Limits::new(account, plan, catalogue.meter(item.meter).ok_or(Problem::UnknownMeter)?);
        uses.push(fact(&limits, &touch, now, &mut notices));
    }
    if let Some(costed) = Costed::of(event.llm.as_deref(), &event.items, plan, catalogue, time)? {
        uses.push(costed.fact(account, plan, catalogue, (time, now), &mut notices)?);
    }
    let event = Event { time: Some(time), items: Vec::new(), llm: None, ..event.clone() };
    let mut entries = vec![entry(now, What::Recorded(Recorded { event, uses }))];
    entries.extend(noticed(notices, now));
    Ok(Outcome { entries, reply: Reply::Recorded, audit: Vec::new() })
}

/// What an event does to one meter: base first, then grants, the rest is overage. And what that sets off.
pub(super) fn fact(limits: &Limits<'_>, touch: &Touch<'_>, now: Time, notices: &mut Vec<Notice>) -> Use {
    let account = limits.account();
    let used = account.meter(limits.meter().id);
    let mut largest = Claim::default();
    for window in Window::COUNTED.into_iter().filter(|window| touch.has(*window)) {
        let Some(standing) = limits.standing(window, now) else { continue };
        let claim = touch.claim(&standing);
        largest = Claim::largest([largest, claim]);
        triggered::of_limit(limits, used, &touch.standing_after(&standing, claim), notices);
    }
    let written = touch.written(largest, &account.grants, now, false);
    triggered::of_draws(&account.grants, &written.draws, notices);
    written
}
