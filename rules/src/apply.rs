//! The fold: an entry makes the account what it is after it. Reads no plan, price or zone, and cannot fail.

use std::sync::Arc;

use crate::account::{Account, Counter, ExtraQuota, Level, Lock, MOST_PRICED_AGAIN, MeterUse, Scheduled, TrialState};
use crate::decide::{self, correct::OLDEST_VOID};
use crate::grant::{Draw, Ended};
use crate::id::{GrantId, MeterId, OrganizationId, ReservationId};
use crate::meter::Measure;
use crate::notice;
use crate::outcome::{Change, Effect, Entry, Hold, PlanState, PricedAgain, Rebased, Use, What};
use crate::quantity::Quantity;
use crate::reservation::Reservation;
use crate::subscription::Subscribed;
use crate::time::{HOUR, MINUTE, Span, Time};
use crate::window::{Sliding, Window, WindowSet};

/// The account that an organization's first entry makes; `None` if that entry did not create it.
pub fn create(id: OrganizationId, entry: &Entry) -> Option<Account> {
    let What::Changed(change) = &entry.what else { return None };
    let Change::Created { profile, plan, status, trial, anchor, windows } = &**change else { return None };
    Some(Account {
        id,
        profile: Arc::clone(profile),
        plan: *plan,
        status: *status,
        trial: *trial,
        locks: Vec::new(),
        subscription: None,
        anchor: *anchor,
        windows: *windows,
        shown_start: None,
        brought_forward: None,
        scheduled: None,
        clock: None,
        meters: Vec::new(),
        grants: Vec::new(),
        overrides: Vec::new(),
        extra: Vec::new(),
        reservations: Vec::new(),
        reserved: 0,
        voided: Arc::default(),
        priced_again: Arc::default(),
        maxima: Vec::new(),
        refusals: Vec::new(),
        trial_told: None,
        time: entry.at,
        changes: 1,
    })
}

/// Makes the account what it is after `entry`.
pub fn apply(account: &mut Account, entry: &Entry) {
    account.time = account.time.max(entry.at);
    match &entry.what {
        What::Due(effect) => due(account, effect, entry.at),
        What::Decided(_) | What::Recorded(_) => entry.what.uses().iter().for_each(|used| count(account, used)),
        What::Reservation(hold) => reservation(account, hold, entry.at),
        What::Changed(changed) => {
            account.changes += 1;
            change(account, changed, entry.at);
        }
        What::Noticed(noticed) => notice::note(account, noticed, entry.at),
        What::Image(_) | What::Completed(_) => {}
    }
}

fn due(account: &mut Account, effect: &Effect, at: Time) {
    match effect {
        Effect::DayBegan(day) => {
            begin(account, Window::Day, account.windows.day, *day);
            account.windows.day = *day;
        }
        Effect::MonthBegan(month) => {
            begin(account, Window::Month, account.windows.month, *month);
            account.windows.month = *month;
        }
        Effect::PeriodBegan(period) => {
            begin(account, Window::BillingPeriod, account.windows.period, *period);
            account.windows.period = *period;
            account.shown_start = None;
        }
        Effect::TrialEnded { status, lock, plan } => {
            account.changes += 1;
            account.status = *status;
            account.plan = plan.unwrap_or(account.plan);
            account.trial = account.trial.map(|trial| TrialState { over: true, ..trial });
            account.locks.extend(lock.clone());
        }
        Effect::OverrideEnded { meter, window } => {
            account.changes += 1;
            clear_override(account, *meter, *window);
        }
        Effect::GrantExpired { grant, .. } => end_grant(account, *grant, Ended::Expired(at)),
        Effect::PlanChanged(state) => {
            account.changes += 1;
            set_plan(account, state);
        }
        Effect::GraceEnded(lock) => {
            account.changes += 1;
            account.locks.extend(lock.clone());
            if let Some(state) = account.subscription.as_mut().and_then(|known| known.state.as_mut()) {
                state.grace_ends = None;
            }
        }
        Effect::ReservationLapsed(id) => end_hold(account, *id, &[], at),
    }
}

fn reservation(account: &mut Account, hold: &Hold, at: Time) {
    match hold {
        Hold::Made { reservation: made, .. } => {
            add_held(account, made, Quantity::saturating_add);
            account.reserved = made.id.0;
            account.reservations.push(made.clone());
        }
        Hold::Extended { id, ends_at } => {
            if let Some(held) = account.reservations.iter_mut().find(|held| held.id == *id) {
                held.hold_until(*ends_at);
            }
        }
        Hold::Settled(settled) => {
            end_hold(account, settled.id, &settled.uses, at);
            settled.uses.iter().for_each(|used| count(account, used));
        }
        Hold::Released(id) => end_hold(account, *id, &[], at),
    }
}

/// Ends a hold of which this was used. In minutes and hours it counts until their length after its end.
fn end_hold(account: &mut Account, id: ReservationId, uses: &[Use], at: Time) {
    let Some(held) = forget(account, id) else { return };
    for part in held.parts() {
        let used = uses.iter().find_map(|used| match used.measure {
            Measure::Add(quantity) if used.meter == part.meter => Some(quantity),
            _ => None,
        });
        slide(account.meter_mut(part.meter), at, part.quantity.max(used.unwrap_or_default()));
    }
}

/// Takes a reservation away as if it had not been made.
pub(crate) fn forget(account: &mut Account, id: ReservationId) -> Option<Reservation> {
    let place = account.reservations.iter().position(|held| held.id == id)?;
    let held = account.reservations.remove(place);
    add_held(account, &held, Quantity::minus);
    Some(held)
}

fn add_held(account: &mut Account, held: &Reservation, add: fn(Quantity, Quantity) -> Quantity) {
    for draw in held.parts().flat_map(|part| &part.draws) {
        if let Some(grant) = account.grants.iter_mut().find(|grant| grant.id == draw.grant) {
            grant.held = add(grant.held, draw.quantity);
        }
    }
}

/// Counters of a new window start at zero, or with what came early for it.
fn begin(account: &mut Account, window: Window, old: Span, new: Span) {
    for used in &mut account.meters {
        let Some(counter) = Arc::make_mut(used).counter_mut(window) else { continue };
        let carried = if new.start == old.end { counter.ahead } else { Quantity::ZERO };
        *counter = Counter { used: carried, epoch: counter.epoch.wrapping_add(1), ..Counter::default() };
    }
}

/// Counts what one decision or event did to one meter.
fn count(account: &mut Account, used: &Use) {
    let add = if used.measure.is_less() { Quantity::minus } else { Quantity::saturating_add };
    for draw in &used.draws {
        if let Some(grant) = account.grants.iter_mut().find(|grant| grant.id == draw.grant) {
            grant.used = add(grant.used, draw.quantity);
        }
    }
    let meter = account.meter_mut(used.meter);
    if let Measure::Level(value) = used.measure {
        if !used.windows.is_empty() {
            meter.level = Some(Level { value, time: used.time });
        }
        return;
    }
    for window in used.windows.iter() {
        if let Some(counter) = meter.counter_mut(window) {
            counter.used = after(counter.used, used);
            used.draws.iter().for_each(|draw| note_draw(&mut counter.draws, *draw, add));
            bound(counter);
        }
    }
    for window in used.ahead.iter() {
        if let Some(counter) = meter.counter_mut(window) {
            counter.ahead = after(counter.ahead, used);
        }
    }
    if let (true, Measure::Add(quantity)) = (used.sliding, used.measure) {
        slide(meter, used.time, quantity);
    }
}

/// Counts what came from a grant, or returns to it.
fn note_draw(draws: &mut Vec<Draw>, of: Draw, add: fn(Quantity, Quantity) -> Quantity) {
    match draws.iter_mut().find(|draw| draw.grant == of.grant) {
        Some(draw) => draw.quantity = add(draw.quantity, of.quantity),
        None => draws.push(Draw { quantity: add(Quantity::ZERO, of.quantity), ..of }),
    }
    draws.retain(|draw| !draw.quantity.is_zero());
}

/// No more came from grants than was used: what was drawn last goes first.
fn bound(counter: &mut Counter) {
    let mut over = counter.drawn().minus(counter.used);
    for draw in counter.draws.iter_mut().rev() {
        let less = over.min(draw.quantity);
        (draw.quantity, over) = (draw.quantity.minus(less), over.minus(less));
    }
    counter.draws.retain(|draw| !draw.quantity.is_zero());
}

/// What came from grants that have ended leaves the counters that a correction touches, and returns to none.
fn leave(account: &mut Account, uses: &[Use], stays: &[Draw]) {
    for draw in stays {
        let Some(meter) = account.grants.iter().find(|grant| grant.id == draw.grant).map(|grant| grant.meter) else {
            continue;
        };
        let touched = uses.iter().filter(|used| used.meter == meter);
        let windows: WindowSet = touched.flat_map(|used| used.windows.iter()).collect();
        for window in windows.iter() {
            if let Some(counter) = account.meter_mut(meter).counter_mut(window) {
                note_draw(&mut counter.draws, *draw, Quantity::minus);
            }
        }
    }
}

fn slide(meter: &mut MeterUse, at: Time, quantity: Quantity) {
    meter.minute.add(MINUTE, at, quantity);
    meter.hour.add(HOUR, at, quantity);
}

fn after(counted: Quantity, used: &Use) -> Quantity {
    match used.measure {
        Measure::Add(quantity) => counted.saturating_add(quantity),
        Measure::Peak(quantity) => counted.max(quantity),
        Measure::Value(_) => counted.saturating_add(Quantity::ONE),
        Measure::Adjust(units) if units < 0 => counted.minus(Quantity::at_least_zero(units.saturating_neg())),
        Measure::Adjust(units) => counted.saturating_add(Quantity::at_least_zero(units)),
        Measure::Void(quantity) => counted.minus(quantity),
        Measure::VoidValue(_) => counted.minus(Quantity::ONE),
        Measure::Level(_) => counted,
    }
}

fn change(account: &mut Account, change: &Change, at: Time) {
    match change {
        // What is left of an account is the store's to throw away.
        Change::Created { .. } | Change::Deleted => {}
        Change::Profile { profile, windows } => {
            account.profile = Arc::clone(profile);
            account.windows = *windows;
        }
        Change::Plan(state) => set_plan(account, state),
        Change::Scheduled(scheduled) => account.scheduled = Some(*scheduled),
        Change::Cycle { anchor, period, shown_start, brought_forward } => {
            account.anchor = *anchor;
            account.windows.period = *period;
            account.shown_start = *shown_start;
            account.brought_forward = *brought_forward;
            account.scheduled = account.scheduled.map(|scheduled| Scheduled { at: period.end, ..scheduled });
        }
        Change::Trial { status, trial, locks } => {
            account.status = *status;
            account.trial = Some(*trial);
            account.locks.clone_from(locks);
        }
        Change::Clock { to, rebased } => set_clock(account, *to, rebased.as_deref()),
        Change::Override(new) => {
            clear_override(account, new.meter, new.window);
            account.overrides.push(new.clone());
        }
        Change::OverrideCleared { meter, window } => clear_override(account, *meter, *window),
        Change::Extra { meter, quantity } => set_extra(account, ExtraQuota { meter: *meter, quantity: *quantity }),
        Change::Extras(new) => new.iter().for_each(|extra| set_extra(account, *extra)),
        Change::Overrides(all) => account.overrides.clone_from(all),
        Change::Granted(grant) => account.grants.push(grant.clone()),
        Change::GrantVoided(grant) => end_grant(account, *grant, Ended::Voided(at)),
        Change::Corrected(correction) => {
            correction.uses.iter().for_each(|used| count(account, used));
            leave(account, &correction.uses, &correction.stays);
            if let Some(event) = correction.voided {
                let voided = Arc::make_mut(&mut account.voided);
                voided.retain(|old| at < old.recorded_at.plus(OLDEST_VOID));
                voided.push(event);
            }
            if let Some(priced) = &correction.priced {
                note_prices(Arc::make_mut(&mut account.priced_again), priced);
            }
        }
        Change::Subscribed(after) => subscribe(account, after),
        Change::Locked(lock) => put_lock(&mut account.locks, lock),
        Change::Unlocked => account.locks.clear(),
        Change::Reset { meters, windows } => {
            for used in &mut account.meters {
                if decide::is_reset(used, meters.as_deref(), *windows, at) {
                    reset(Arc::make_mut(used), *windows, at);
                }
            }
        }
    }
}

/// By the newest is charged what it has; an earlier one counts where it has more, as long as something of it can be void.
fn note_prices(all: &mut Vec<PricedAgain>, new: &PricedAgain) {
    all.retain(|old| !new.replaces(old) && new.at < old.at.plus(OLDEST_VOID));
    let over = (all.len() + 1).saturating_sub(MOST_PRICED_AGAIN);
    all.drain(..over);
    all.push(new.clone());
}

fn set_plan(account: &mut Account, state: &PlanState) {
    account.plan = state.plan;
    account.status = state.status;
    account.trial = state.trial;
    account.locks.clone_from(&state.locks);
    account.overrides.clone_from(&state.overrides);
    account.scheduled = None;
}

fn subscribe(account: &mut Account, after: &Subscribed) {
    account.subscription = Some(Box::new(after.subscription.clone()));
    account.plan = after.plan;
    account.status = after.status;
    account.trial = after.trial;
    account.locks.clone_from(&after.locks);
    account.anchor = after.anchor;
    account.windows.period = after.period;
    account.shown_start = after.shown_start;
    account.scheduled = after.scheduled;
}

/// The only thing that can bring an organization's time back: nothing has happened in it yet.
fn set_clock(account: &mut Account, to: Time, rebased: Option<&Rebased>) {
    account.clock = Some(to);
    account.time = if rebased.is_some() { to } else { account.time.max(to) };
    if let Some(rebased) = rebased {
        account.profile = Arc::clone(&rebased.profile);
        account.status = rebased.status;
        account.trial = rebased.trial;
        account.anchor = rebased.anchor;
        account.windows = rebased.windows;
        account.locks.clone_from(&rebased.locks);
        account.shown_start = rebased.shown_start;
        let end = rebased.windows.period.end;
        account.scheduled = account.scheduled.map(|scheduled| Scheduled { at: end, ..scheduled });
    }
}

/// There is one lock of each cause at most.
pub(crate) fn put_lock(locks: &mut Vec<Lock>, new: &Lock) {
    match locks.iter_mut().find(|lock| lock.cause == new.cause) {
        Some(lock) => lock.clone_from(new),
        None => locks.push(new.clone()),
    }
}

fn set_extra(account: &mut Account, new: ExtraQuota) {
    account.extra.retain(|extra| extra.meter != new.meter);
    account.extra.push(new);
}

fn clear_override(account: &mut Account, meter: MeterId, window: Window) {
    account.overrides.retain(|o| o.meter != meter || o.window != window);
}

fn end_grant(account: &mut Account, id: GrantId, ended: Ended) {
    if let Some(grant) = account.grants.iter_mut().find(|grant| grant.id == id) {
        grant.ended = Some(ended);
    }
}

fn reset(meter: &mut MeterUse, windows: WindowSet, at: Time) {
    for window in windows.iter() {
        if let Some(counter) = meter.counter_mut(window) {
            let epoch = counter.epoch.wrapping_add(1);
            *counter = Counter { epoch, reset_at: Some(at), ahead: counter.ahead, ..Counter::default() };
        }
        match window {
            Window::Minute => meter.minute = Sliding::default(),
            Window::Hour => meter.hour = Sliding::default(),
            _ => {}
        }
    }
}
