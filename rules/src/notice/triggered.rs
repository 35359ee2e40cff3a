//! What a use, a hold or a refusal sets off. Where nothing is set off, nothing is allocated or looked up.

use super::{Figures, Notice, OfCounter, OfRefusal, RefusedBy, told_under};
use crate::account::{Account, MeterUse};
use crate::grant::{Draw, Grant};
use crate::id::MeterId;
use crate::limits::{Limits, Standing};
use crate::meter::{Aggregation, Meter};
use crate::outcome::{LimitState, Reason, Use, Verdict};
use crate::plan::Plan;
use crate::time::{HOUR, Time};
use crate::window::{Window, WindowSet};

/// What one limit sets off that stands so after a use, a hold or a refusal: each percentage once while its counter counts on and
/// its maximum is the same, and once that use lies beyond it. Minutes and hours slide, and would come to their limit again and
/// again: nothing is told of them.
pub(crate) fn of_limit(limits: &Limits<'_>, used: Option<&MeterUse>, after: &Standing, notices: &mut Vec<Notice>) {
    if after.window.sliding_length().is_some() {
        return;
    }
    let told = used.and_then(|used| used.counter(after.window)).map(|counter| counter.told).unwrap_or_default();
    // Of most counters nothing was told: then the maximum is not looked up.
    let under = || told_under(limits.account(), limits.meter().id, after.window, limits.max(after.window));
    let mut told = if told == OfCounter::default() { told } else { under() };
    let counted = i128::from(after.used.units()) + i128::from(after.held.units());
    let limit = i128::from(after.limit().units());
    for percent in limits.thresholds(after.window).iter().copied() {
        if percent <= told.percent {
            continue;
        } else if counted == 0 || counted * 100 < limit * i128::from(percent) {
            break;
        }
        told.percent = percent;
        let max = limits.max(after.window);
        notices.push(Notice::Threshold { percent, max, figures: figures(limits, after) });
    }
    if !told.overage && !after.overage().is_zero() {
        notices.push(Notice::Overage { max: limits.max(after.window), figures: figures(limits, after) });
    }
}

fn figures(limits: &Limits<'_>, after: &Standing) -> Figures {
    let (meter, window) = (limits.meter(), after.window);
    // A level stays, and a lifetime lasts.
    let is_freed = meter.aggregation != Aggregation::Last && window != Window::Lifetime;
    Figures::of(meter.id, after, is_freed.then(|| limits.account().windows.get(window).end))
}

/// What some limits of a meter set off, as they stand in an account that is after a use.
pub(crate) fn of_meter(
    after: &Account,
    plan: &Plan,
    meter: &Meter,
    windows: WindowSet,
    now: Time,
    notices: &mut Vec<Notice>,
) {
    let (limits, used) = (Limits::new(after, plan, meter), after.meter(meter.id));
    for standing in windows.iter().filter_map(|window| limits.standing(window, now)) {
        of_limit(&limits, used, &standing, notices);
    }
}

/// Of which grants these draws take the last.
pub(crate) fn of_draws(grants: &[Grant], draws: &[Draw], notices: &mut Vec<Notice>) {
    for draw in draws {
        let Some(grant) = grants.iter().find(|grant| grant.id == draw.grant) else { continue };
        let is_new = grant.ended.is_none() && !grant.told.exhausted;
        if is_new && grant.used.saturating_add(draw.quantity) >= grant.amount {
            notices.push(Notice::GrantExhausted(grant.id));
        }
    }
}

/// Which grants are used up in an account that is after these uses, of those that they drew from.
pub(crate) fn of_drawn(after: &Account, uses: &[&Use], notices: &mut Vec<Notice>) {
    for grant in &after.grants {
        let is_drawn = uses.iter().flat_map(|used| &used.draws).any(|draw| draw.grant == grant.id);
        let is_new = grant.ended.is_none() && !grant.told.exhausted;
        if is_drawn && is_new && grant.used >= grant.amount {
            notices.push(Notice::GrantExhausted(grant.id));
        }
    }
}

/// What refused according to an answer, of which meter: every limit that would have been passed, also one on what it would have
/// cost, or what stands before all limits.
pub fn refusals(verdict: &Verdict) -> impl Iterator<Item = (MeterId, RefusedBy, Option<&LimitState>)> {
    let by_limits = verdict.reason == Some(Reason::QuotaExceeded);
    let of_cost = verdict.cost.iter().flat_map(|cost| cost.limits.iter().map(move |state| (cost.meter, state)));
    let limits = verdict.limits.iter().map(move |state| (verdict.meter, state)).chain(of_cost);
    let violated = limits.filter(move |(_, state)| by_limits && state.violated);
    let before = verdict.reason.filter(|_| !by_limits).map(|reason| (verdict.meter, RefusedBy::Before(reason), None));
    violated.map(|(meter, state)| (meter, RefusedBy::Limit(state.window), Some(state))).chain(before)
}

/// What refusals set off: each limit, and each other reason, once an hour.
pub(crate) fn of_refusals(account: &Account, verdicts: &[Verdict], now: Time, notices: &mut Vec<Notice>) {
    let hour = now.floor(HOUR);
    for (meter, by, state) in verdicts.iter().flat_map(refusals) {
        let is_told = |told: &OfRefusal| told.hour == hour && (told.meter, told.by) == (meter, by);
        let is_noticed = |notice: &Notice| matches!(notice, Notice::Refused { meter: of, by: why, .. } if (*of, *why) == (meter, by));
        if !account.refusals.iter().any(is_told) && !notices.iter().any(is_noticed) {
            let figures = state.map(|state| Figures::answered(meter, state));
            notices.push(Notice::Refused { meter, by, figures });
        }
    }
}
