//! What operators and members change (§5): each change writes one audit entry; what changes nothing writes none.

use std::sync::Arc;

use crate::account::{
    Account, Lock, LockCause, MeterUse, OpenWindows, Override, Profile, Scheduled, Status, TrialState,
};
use crate::apply;
use crate::audit::{Draft, Fields};
use crate::catalogue::Catalogue;
use crate::command::{Command, ProfileChange};
use crate::due::status_name;
use crate::id::{MeterId, PlanId};
use crate::meter::Meter;
use crate::outcome::{Change, Outcome, PlanState, Reply, What};
use crate::period::{self, MOST_APART, Zone};
use crate::plan::{Enforcement, Max, TrialEnd};
use crate::quantity::{InvalidQuantity, Quantity};
use crate::time::{DAY, Span, Time};
use crate::window::{Window, WindowSet};

use super::{Problem, adjust, cycle, entry, reprice, subscription};

mod limits;

/// A change and how the audit log tells it.
pub(super) struct Told {
    pub(super) change: Change,
    pub(super) action: &'static str,
    pub(super) category: &'static str,
    pub(super) before: Fields,
    pub(super) after: Fields,
}

pub(super) fn operate(
    account: &Account,
    command: &Command,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Outcome, Problem> {
    let told = match command {
        Command::Update(change) => update(account, change, now),
        Command::ChangePlan { plan, keep_overrides, at_period_end: false } => {
            let overrides = kept(account, *keep_overrides);
            change_plan(account, *plan, overrides, catalogue, now)?
        }
        Command::ChangePlan { plan, keep_overrides, at_period_end: true } => {
            schedule_plan(account, *plan, *keep_overrides, catalogue)?
        }
        Command::MoveCycle { start, by_member } => {
            cycle::move_cycle(account, start.anchor(&account.profile.zone), *by_member, catalogue, now)?
        }
        Command::SetSubscription(news) => subscription::set(account, news, catalogue, now)?,
        Command::LinkSubscription { id, customer } => {
            subscription::link(account, id.as_ref(), customer.as_ref(), catalogue, now)
        }
        Command::SetTrial { ends_at } => cycle::set_trial(account, *ends_at, now)?,
        Command::Adjust(adjustment) => adjust::adjust(account, adjustment, catalogue, now)?,
        Command::Reprice(repricing) => reprice::reprice(account, repricing, catalogue, now)?,
        Command::SetClock(to) => cycle::set_clock(account, *to, catalogue)?,
        Command::SetLimits { plan, limits } => limits::set_limits(account, *plan, limits, catalogue, now)?,
        Command::SetOverride { meter, window, max, enforcement, until } => {
            let new = Override { meter: *meter, window: *window, max: *max, enforcement: *enforcement, until: *until };
            set_override(account, new, catalogue, now)?
        }
        Command::ClearOverride { meter, window } => clear_override(account, *meter, *window, catalogue)?,
        Command::SetExtra(new) => limits::set_extra(account, new, catalogue)?,
        Command::Lock { cause, reason } => lock(account, *cause, reason.as_ref(), now),
        Command::Unlock => unlock(account),
        Command::Delete => Some(delete(account)),
        Command::Reset { meters, windows } => reset(account, meters.as_deref(), *windows, catalogue, now)?,
        _ => return Err(Problem::Inconsistent("not an operator's command")),
    };
    Ok(outcome(told, now))
}

pub(super) fn outcome(told: Option<Told>, now: Time) -> Outcome {
    let Some(Told { change, action, category, before, after }) = told else {
        return Outcome { entries: Vec::new(), reply: Reply::Done, audit: Vec::new() };
    };
    let audit = vec![Draft::new(now, action, category, before, after)];
    Outcome { entries: vec![entry(now, What::Changed(Box::new(change)))], reply: Reply::Done, audit }
}

fn update(account: &Account, change: &ProfileChange, now: Time) -> Option<Told> {
    let old = &*account.profile;
    let new = Profile {
        key: change.key.clone().unwrap_or_else(|| old.key.clone()),
        name: change.name.clone().unwrap_or_else(|| old.name.clone()),
        zone: change.zone.clone().unwrap_or_else(|| old.zone.clone()),
        metadata: change.metadata.clone().unwrap_or_else(|| old.metadata.clone()),
        ..old.clone()
    };
    if new == *old {
        return None;
    }
    let windows = if new.zone == old.zone { account.windows } else { moved(&account.windows, &new.zone, now) };
    let described = |profile: &Profile| {
        Fields::default()
            .with("key", profile.key.as_str())
            .with("name", profile.name.as_str())
            .with("timeZone", profile.zone.name())
            .with("metadata", profile.metadata.as_str())
    };
    let (before, after) = (described(old), described(&new));
    let change = Change::Profile { profile: Arc::new(new), windows };
    Some(Told { change, action: "organization.update", category: "config", before, after })
}

/// Day and month counters are carried over: what they count from stays, and they end where the new zone's do. A month that
/// has begun in the old zone and not yet in the new one is that next month already, so that none is over within hours.
fn moved(open: &OpenWindows, zone: &Zone, now: Time) -> OpenWindows {
    let within = now.max(open.month.start.plus(MOST_APART));
    OpenWindows {
        day: Span { end: period::day(now, zone).end, ..open.day },
        month: Span { end: period::month(within, zone).end, ..open.month },
        ..*open
    }
}

/// Limits follow the new plan at once, counters stay.
fn change_plan(
    account: &Account,
    plan: PlanId,
    overrides: Vec<Override>,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    let state = plan_after(account, plan, overrides, catalogue, now)?;
    if plan == account.plan && are_same(&state.overrides, &account.overrides) && account.scheduled.is_none() {
        return Ok(None);
    }
    let (before, after) = plan_change(account, &state, catalogue);
    let change = Change::Plan(state);
    Ok(Some(Told { change, action: "plan.change", category: "quota", before, after }))
}

/// What comes with a plan. One without trial ends a trial that runs and lifts its lock; one with a trial begins none for an
/// organization that has had one. To one whose trial is over already, the new plan is what says how it goes on: unless that
/// locks too, the lock is lifted. Of one with a subscription that says status and trial; without one nothing is unpaid or canceled
/// any more.
pub(crate) fn plan_after(
    account: &Account,
    plan: PlanId,
    overrides: Vec<Override>,
    catalogue: &Catalogue,
    now: Time,
) -> Result<PlanState, Problem> {
    let new = catalogue.plan(plan).ok_or(Problem::UnknownPlan)?;
    let (mut status, mut trial, mut locks) = (account.status, account.trial, account.locks.clone());
    let is_subscribed = account.is_subscribed();
    let goes_on = match &new.trial {
        None => {
            let ended = |trial: TrialState| TrialState { ends_at: trial.ends_at.min(now), over: true };
            trial = if is_subscribed { trial } else { trial.map(ended) };
            true
        }
        Some(begins) if trial.is_none() && !is_subscribed => {
            trial = Some(TrialState { ends_at: now.plus(i64::from(begins.days) * DAY), over: false });
            status = Status::Trial;
            false
        }
        Some(new) => trial.is_some_and(|trial| trial.over) && new.on_end != TrialEnd::Lock,
    };
    if goes_on {
        status = if status == Status::Trial && !is_subscribed { Status::Active } else { status };
        locks.retain(|lock| lock.cause != LockCause::Trial);
    }
    if !is_subscribed && matches!(status, Status::PastDue | Status::Canceled) {
        // Nothing is left of the subscription that said so.
        status = subscription::of_its_own(trial);
        locks.retain(|lock| lock.cause != LockCause::Billing);
    }
    Ok(PlanState { plan, status, trial, locks, overrides })
}

/// The overrides that stay.
pub(crate) fn kept(account: &Account, keep_overrides: bool) -> Vec<Override> {
    if keep_overrides { account.overrides.clone() } else { Vec::new() }
}

/// How the audit log tells it, before and after.
pub(crate) fn plan_change(account: &Account, state: &PlanState, catalogue: &Catalogue) -> (Fields, Fields) {
    let scheduled = account.scheduled.and_then(|scheduled| catalogue.plan(scheduled.plan));
    let before = plan_fields(account.plan, account.status, account.trial, account.overrides.len(), catalogue);
    let after = plan_fields(state.plan, state.status, state.trial, state.overrides.len(), catalogue);
    let before = before.with("scheduledPlan", scheduled.map(|plan| plan.key.to_string()));
    (before.and(locks_fields(&account.locks)), after.and(locks_fields(&state.locks)))
}

/// The same at the end of the open period.
fn schedule_plan(
    account: &Account,
    plan: PlanId,
    keep_overrides: bool,
    catalogue: &Catalogue,
) -> Result<Option<Told>, Problem> {
    catalogue.plan(plan).ok_or(Problem::UnknownPlan)?;
    let scheduled = Scheduled { plan, keep_overrides, at: account.windows.period.end };
    if account.scheduled == Some(scheduled) {
        return Ok(None);
    }
    let described = |of: Option<Scheduled>| {
        let plan = of.and_then(|of| catalogue.plan(of.plan));
        Fields::default()
            .with("scheduledPlan", plan.map(|plan| plan.key.to_string()))
            .with("scheduledVersion", plan.map(|plan| plan.version))
            .with("scheduledAt", of.map(|of| of.at))
    };
    let (before, after) = (described(account.scheduled), described(Some(scheduled)));
    let change = Change::Scheduled(scheduled);
    Ok(Some(Told { change, action: "plan.change", category: "quota", before, after }))
}

/// Whether these are the same overrides, in whatever order they were set.
fn are_same(some: &[Override], others: &[Override]) -> bool {
    some.len() == others.len() && some.iter().all(|one| others.contains(one))
}

fn plan_fields(
    plan: PlanId,
    status: Status,
    trial: Option<TrialState>,
    overrides: usize,
    catalogue: &Catalogue,
) -> Fields {
    let plan = catalogue.plan(plan);
    Fields::default()
        .with("plan", plan.map(|plan| plan.key.to_string()))
        .with("planVersion", plan.map(|plan| plan.version))
        .with("status", status_name(status))
        .with("trialEndsAt", trial.map(|trial| trial.ends_at))
        .with("overrides", i64::try_from(overrides).unwrap_or(i64::MAX))
}

fn set_override(account: &Account, new: Override, catalogue: &Catalogue, now: Time) -> Result<Option<Told>, Problem> {
    let meter = catalogue.meter(new.meter).ok_or(Problem::UnknownMeter)?;
    if new.window.sliding_length().is_some() && !meter.aggregation.is_rate() {
        return Err(Problem::NotARate);
    } else if new.max == Max::Units(Quantity::ZERO) {
        return Err(InvalidQuantity::Zero.into());
    } else if new.until.is_some_and(|until| until <= now) {
        return Err(Problem::EndsTooEarly);
    }
    let old = account.override_of(new.meter, new.window);
    if old == Some(&new) {
        return Ok(None);
    }
    let before = override_fields(meter, new.window, old);
    let after = override_fields(meter, new.window, Some(&new));
    let change = Change::Override(new);
    Ok(Some(Told { change, action: "limit.change", category: "quota", before, after }))
}

fn clear_override(
    account: &Account,
    meter: MeterId,
    window: Window,
    catalogue: &Catalogue,
) -> Result<Option<Told>, Problem> {
    let Some(old) = account.override_of(meter, window) else { return Ok(None) };
    let known = catalogue.meter(meter).ok_or(Problem::UnknownMeter)?;
    let (before, after) = (override_fields(known, window, Some(old)), override_fields(known, window, None));
    let change = Change::OverrideCleared { meter, window };
    Ok(Some(Told { change, action: "limit.change", category: "quota", before, after }))
}

fn override_fields(meter: &Meter, window: Window, it: Option<&Override>) -> Fields {
    let max = it.and_then(|o| match o.max {
        Max::Units(max) => Some(max.display(meter.decimals)),
        Max::Unlimited => None,
    });
    Fields::default()
        .with("meter", meter.key.as_str())
        .with("window", window.as_str())
        .with("overridden", it.is_some())
        .with("max", max)
        .with("unlimited", it.is_some_and(|o| o.max == Max::Unlimited))
        .with("soft", it.is_some_and(|o| o.enforcement == Enforcement::Soft))
        .with("until", it.and_then(|o| o.until))
}

pub(crate) fn locks_fields(locks: &[Lock]) -> Fields {
    let names = locks.iter().map(|lock| cause_name(lock.cause).to_owned()).collect::<Vec<_>>();
    Fields::default().with("locked", !locks.is_empty()).with("locks", names)
}

/// The name of a lock's cause on the wire.
const fn cause_name(cause: LockCause) -> &'static str {
    match cause {
        LockCause::Operator => "operator",
        LockCause::Trial => "trial",
        LockCause::Billing => "billing",
    }
}

/// A lock that is there already takes another reason, and stays since when it was.
fn lock(account: &Account, cause: LockCause, reason: Option<&String>, now: Time) -> Option<Told> {
    let old = account.lock(cause);
    if old.is_some_and(|old| reason.is_none() || old.reason.as_ref() == reason) {
        return None;
    }
    let new = Lock { cause, reason: reason.cloned(), since: old.map_or(now, |old| old.since) };
    let mut locks = account.locks.clone();
    apply::put_lock(&mut locks, &new);
    let described = |locks: &[Lock], lock: Option<&Lock>| {
        locks_fields(locks).with("lockReason", lock.and_then(|lock| lock.reason.clone()))
    };
    let (before, after) = (described(&account.locks, old), described(&locks, Some(&new)));
    Some(Told { change: Change::Locked(new), action: "billing.lock", category: "billing", before, after })
}

fn unlock(account: &Account) -> Option<Told> {
    if account.locks.is_empty() {
        return None;
    }
    let (before, after) = (locks_fields(&account.locks), locks_fields(&[]));
    Some(Told { change: Change::Unlocked, action: "billing.unlock", category: "billing", before, after })
}

/// What is told of it has nothing personal: it stays when all else is forgotten.
fn delete(account: &Account) -> Told {
    let count = |things: usize| i64::try_from(things).unwrap_or(i64::MAX);
    let before = Fields::default()
        .with("organization", account.id.to_string())
        .with("createdAt", account.profile.created_at)
        .with("grants", count(account.grants.len()))
        .with("reservations", count(account.reservations.len()));
    let (action, category) = ("organization.delete", "config");
    Told { change: Change::Deleted, action, category, before, after: Fields::default() }
}

/// Counters to zero by an entry that says so: levels and what grants have given stay.
fn reset(
    account: &Account,
    meters: Option<&[MeterId]>,
    windows: WindowSet,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    if meters.into_iter().flatten().any(|meter| catalogue.meter(*meter).is_none()) {
        return Err(Problem::UnknownMeter);
    }
    let counting = account.meters.iter().filter(|used| is_reset(used, meters, windows, now));
    let used: Vec<MeterId> = counting.map(|used| used.meter).collect();
    if used.is_empty() {
        return Ok(None);
    }
    let before = reset_fields(account, &used, windows, catalogue, now);
    let change = Change::Reset { meters: meters.map(<[MeterId]>::to_vec), windows };
    let mut reset = account.clone();
    apply::apply(&mut reset, &entry(now, What::Changed(Box::new(change.clone()))));
    let names = windows.iter().map(|window| window.as_str().to_owned()).collect::<Vec<_>>();
    let after = reset_fields(&reset, &used, windows, catalogue, now).with("windows", names);
    Ok(Some(Told { change, action: "usage.reset", category: "usage", before, after }))
}

/// Whether a reset of these meters, or of all, sets a meter's counters to zero: if it has counted something.
pub(crate) fn is_reset(used: &MeterUse, meters: Option<&[MeterId]>, windows: WindowSet, at: Time) -> bool {
    let is_wanted = meters.is_none_or(|meters| meters.contains(&used.meter));
    is_wanted && windows.iter().any(|window| !counted(used, window, at).is_zero())
}

/// What a meter counts in a window. A level is not counted: it stands.
pub(crate) fn counted(used: &MeterUse, window: Window, now: Time) -> Quantity {
    match (window.sliding_length(), used.sliding(window)) {
        (Some(length), Some(sliding)) => sliding.used(length, now),
        _ => used.counter(window).map_or(Quantity::ZERO, |counter| counter.used),
    }
}

fn reset_fields(account: &Account, meters: &[MeterId], windows: WindowSet, catalogue: &Catalogue, now: Time) -> Fields {
    let mut fields = Fields::default();
    for used in account.meters.iter().filter(|used| meters.contains(&used.meter)) {
        let Some(meter) = catalogue.meter(used.meter) else { continue };
        for window in windows.iter() {
            let name = format!("{}.{}", meter.key, window.as_str());
            fields = fields.with(&name, counted(used, window, now).display(meter.decimals));
        }
    }
    fields
}
