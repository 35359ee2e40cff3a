//! What a subscription makes of an organization (P7): status, plan, periods, the lock of a payment that does not come.
//!
//! Events come more than once and in any order. So what is told is a whole state, never a step; nothing revives a
//! subscription that has ended; and of an event, which may be late, an older period is not taken.

use std::sync::Arc;

use crate::account::{Account, Lock, LockCause, Scheduled, Status, TrialState};
use crate::apply;
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::due::status_name;
use crate::id::{CustomerId, PlanKey, SubscriptionId};
use crate::outcome::Change;
use crate::period::Anchor;
use crate::plan::Plan;
use crate::subscription::{
    Invoice, MOST_ENDED, News, PricedItem, Reported, Snapshot, State, Subscribed, Subscription, open_period,
};
use crate::time::{DAY, Span, Time};

mod others;

use super::Problem;
use super::operate::{Told, kept, locks_fields, plan_after};

/// Why a subscription that is not paid locks.
const REASON: &str = "the subscription is not paid";

/// Takes in what was told of a subscription.
pub(super) fn set(account: &Account, news: &News, catalogue: &Catalogue, now: Time) -> Result<Option<Told>, Problem> {
    let after = match news {
        News::Told(snapshot) if takes(account, snapshot, catalogue) => taken(account, snapshot, catalogue, now)?,
        News::Told(snapshot) => {
            let mut after = Subscribed::of(account);
            if snapshot.status.is_some_and(Reported::is_over) {
                remember_end(&mut after.subscription, &snapshot.id);
            } else {
                others::remember(&mut after.subscription, snapshot);
            }
            after
        }
        News::Linked { id, customer } => linked(account, id, customer.as_ref()),
        News::Invoiced { id, invoice, paid } => {
            let Some(snapshot) = invoiced(account, (id, invoice), *paid) else { return Ok(None) };
            let mut after = taken(account, &snapshot, catalogue, now)?;
            if let Some(state) = &mut after.subscription.state {
                note_invoice(state, invoice, *paid);
            }
            after
        }
    };
    Ok(changed(account, after, ("webhook.state_change", "webhook"), catalogue))
}

/// The organization as a subscription makes it that counts. Where another one takes its place that one is remembered while it
/// holds, and takes over where this one ends.
fn taken(account: &Account, snapshot: &Snapshot, catalogue: &Catalogue, now: Time) -> Result<Subscribed, Problem> {
    let known = account.subscription.as_deref();
    let rules = known.is_some_and(|known| known.id.as_ref() == Some(&snapshot.id));
    let ends = snapshot.status.is_some_and(Reported::is_over);
    if let Some(next) = known.and_then(|known| others::best(known, catalogue)).filter(|_| rules && ends) {
        let mut after = told(account, &next, catalogue, now)?;
        after.subscription.others.retain(|other| other.id != next.id);
        remember_end(&mut after.subscription, &snapshot.id);
        return Ok(after);
    }
    let mut after = told(account, snapshot, catalogue, now)?;
    after.subscription.others.retain(|other| other.id != snapshot.id);
    if let Some(before) = known.filter(|_| !rules).and_then(others::ruling) {
        others::remember(&mut after.subscription, &before);
    }
    Ok(after)
}

/// Links an organization with a subscription, a customer, or neither.
pub(super) fn link(
    account: &Account,
    id: Option<&SubscriptionId>,
    customer: Option<&CustomerId>,
    catalogue: &Catalogue,
    now: Time,
) -> Option<Told> {
    let mut after = Subscribed::of(account);
    if after.subscription.id.as_ref() != id {
        after.subscription.state = None;
        // Whoever links it by hand has chosen.
        after.subscription.others.clear();
        end_rule(account, &mut after);
        if account.subscribed_as().is_some() || matches!(after.status, Status::PastDue | Status::Canceled) {
            // What is not paid there does not concern it any more.
            after.trial = trial(after.trial, None, Reported::Active, account.subscribed_as(), now);
            after.status = of_its_own(after.trial);
            after.locks.retain(|lock| lock.cause != LockCause::Billing);
        }
    }
    after.subscription.id = id.cloned();
    after.subscription.customer = customer.cloned();
    // Whoever links it again wants to see how it stands.
    after.subscription.ended.retain(|ended| Some(ended) != id);
    changed(account, after, ("subscription.link", "billing"), catalogue)
}

/// The change with its entry in the audit log; none where all stays as it is.
fn changed(
    account: &Account,
    mut after: Subscribed,
    (action, category): (&'static str, &'static str),
    catalogue: &Catalogue,
) -> Option<Told> {
    let before = Subscribed::of(account);
    if before == after {
        return None;
    }
    after.subscription.revision += 1;
    let (old, new) = (fields(&before, catalogue), fields(&after, catalogue));
    Some(Told { change: Change::Subscribed(Box::new(after)), action, category, before: old, after: new })
}

/// The status of an organization that no subscription rules.
pub(crate) fn of_its_own(trial: Option<TrialState>) -> Status {
    if trial.is_some_and(|trial| !trial.over) { Status::Trial } else { Status::Active }
}

/// Whether what is told counts: not of a subscription that has ended, nor of an older period, nor of another subscription
/// than the one that the organization has while that holds and this one would not be better. The first that is told of a
/// subscription which nobody has linked counts only while that is live: its end, or a payment that was never made, takes
/// nothing from an organization that never had it.
fn takes(account: &Account, snapshot: &Snapshot, catalogue: &Catalogue) -> bool {
    let may_begin = snapshot.status.is_none_or(Reported::is_live);
    let Some(known) = account.subscription.as_deref() else { return may_begin };
    if known.ended.contains(&snapshot.id) {
        return false;
    }
    match (&known.id, &known.state) {
        (None, _) => may_begin,
        (Some(id), None) => *id == snapshot.id && snapshot.status != Some(Reported::Incomplete),
        (Some(id), Some(state)) if *id == snapshot.id => {
            let (_, period) = paid_for(snapshot, catalogue);
            let is_older = match (period, state.period) {
                (Some(told), Some(known)) => told.start < known.start,
                _ => false,
            };
            // Its end is the last that there is to tell of it, whenever that comes.
            let is_over = snapshot.status.is_some_and(Reported::is_over);
            !state.status.is_over() && (snapshot.is_current || is_over || !is_older)
        }
        (Some(id), Some(state)) => {
            let is_live = snapshot.status.is_some_and(Reported::is_live);
            let has_plan = paid_for(snapshot, catalogue).0.is_some_and(|item| plan_of(item, catalogue).is_some());
            let had_plan = state.price.as_ref().is_some_and(|price| catalogue.plan_of_price(price.as_str()).is_some());
            let old = (state.status.is_live(), had_plan, state.created, id);
            is_live && (true, has_plan, snapshot.created, &snapshot.id) > old
        }
    }
}

fn plan_of<'c>(item: &PricedItem, catalogue: &'c Catalogue) -> Option<&'c Arc<Plan>> {
    catalogue.plan_of_price(item.price.as_str())
}

/// The item whose price a plan has, else the first; and the period that is paid for: that item's where a plan has it, else the
/// one that ends first, else the subscription's own.
fn paid_for<'s>(snapshot: &'s Snapshot, catalogue: &Catalogue) -> (Option<&'s PricedItem>, Option<Span>) {
    let of_plan = snapshot.items.iter().find(|item| plan_of(item, catalogue).is_some());
    let earliest = snapshot.items.iter().filter_map(|item| item.period).min_by_key(|period| period.end);
    let period = of_plan.and_then(|item| item.period).or(if of_plan.is_none() { earliest } else { None });
    let is_one = |period: &Span| period.start < period.end;
    (of_plan.or(snapshot.items.first()), period.or(snapshot.period).filter(is_one))
}

/// The organization as a subscription makes it.
fn told(account: &Account, snapshot: &Snapshot, catalogue: &Catalogue, now: Time) -> Result<Subscribed, Problem> {
    let mut after = Subscribed::of(account);
    let known = after.subscription.state.take().filter(|_| after.subscription.id.as_ref() == Some(&snapshot.id));
    let before = account.subscribed_as();
    after.subscription.id = Some(snapshot.id.clone());
    after.subscription.customer = snapshot.customer.clone().or(after.subscription.customer);
    let Some(status) = snapshot.status.or(known.as_ref().map(|known| known.status)) else { return Ok(after) };
    let (item, period) = paid_for(snapshot, catalogue);
    let wanted = wanted(account, item, status, known.as_ref(), catalogue);
    if let Some(plan) = new_plan(account, wanted.as_ref(), catalogue) {
        let state = plan_after(account, plan.id, kept(account, true), catalogue, now)?;
        (after.plan, after.locks, after.scheduled) = (state.plan, state.locks, None);
        after.trial = account.trial.and(state.trial);
    }
    after.status = status.status();
    after.trial = trial(after.trial, snapshot.trial_end, status, known.as_ref(), now);
    let is_new = known.as_ref().is_none_or(|known| known.status != status);
    let grace = catalogue.plan(after.plan).map_or(0, |plan| plan.grace_days);
    let grace_ends = match (status, is_new) {
        (Reported::PastDue, true) => Some(now.plus(i64::from(grace) * DAY)).filter(|ends| *ends > now),
        (Reported::PastDue, false) => known.as_ref().and_then(|known| known.grace_ends),
        _ => None,
    };
    let stops = status.locks() || (status == Reported::PastDue && grace_ends.is_none());
    set_lock(&mut after.locks, (stops, is_new), now);
    if status.is_live() && !stops {
        end_own_trial(&mut after, (status, snapshot.trial_end), now);
    }
    after.subscription.state = Some(State {
        created: snapshot.created,
        status,
        price: item.map(|item| item.price.clone()),
        period: period.or(known.as_ref().and_then(|known| known.period)),
        cancel_at: snapshot.cancel_at,
        trial_end: snapshot.trial_end,
        plan: wanted.or(before.and_then(|before| before.plan.clone())),
        grace_ends,
        paid: known.as_ref().and_then(|known| known.paid.clone()),
        failed: known.and_then(|known| known.failed).filter(|_| is_missing_payment(status)),
    });
    set_dates(account, &mut after, status, now);
    if status.is_over() {
        remember_end(&mut after.subscription, &snapshot.id);
    }
    Ok(after)
}

/// A subscription that has ended does not come back, whatever is told of it later.
fn remember_end(of: &mut Subscription, id: &SubscriptionId) {
    of.others.retain(|other| other.id != *id);
    if !of.ended.contains(id) {
        of.ended.push(id.clone());
        let over = of.ended.len().saturating_sub(MOST_ENDED);
        of.ended.drain(..over);
    }
}

/// Whether a payment would make it good.
const fn is_missing_payment(status: Reported) -> bool {
    matches!(status, Reported::PastDue | Reported::Unpaid | Reported::Incomplete)
}

fn note_invoice(state: &mut State, invoice: &Invoice, paid: bool) {
    if paid {
        state.paid = Some(invoice.id.clone());
        state.failed = state.failed.take().filter(|failed| *failed != invoice.id);
    } else if is_missing_payment(state.status) {
        state.failed = Some(invoice.id.clone());
    }
}

/// The plan that follows: the one of the price while the subscription holds, then that one's fallback. `None` leaves it.
fn wanted(
    account: &Account,
    item: Option<&PricedItem>,
    status: Reported,
    known: Option<&State>,
    catalogue: &Catalogue,
) -> Option<PlanKey> {
    let priced = item.and_then(|item| plan_of(item, catalogue));
    if status.is_live() {
        return priced.map(|plan| plan.key.clone());
    }
    match (priced, known) {
        // It has fallen back already, and from where is not known any more.
        (None, Some(known)) if !known.status.is_live() => known.plan.clone(),
        (Some(plan), _) => Some(plan.fallback.clone()),
        (None, _) => catalogue.plan(account.plan).map(|plan| plan.fallback.clone()),
    }
}

/// The version to move to, where the plan that follows is another one than before, and not the one that it is on.
fn new_plan<'c>(account: &Account, wanted: Option<&PlanKey>, catalogue: &'c Catalogue) -> Option<&'c Arc<Plan>> {
    let wanted = wanted?;
    let before = account.subscribed_as().and_then(|before| before.plan.as_ref());
    let is_on = catalogue.plan(account.plan).is_some_and(|plan| plan.key == *wanted);
    if before == Some(wanted) || is_on { None } else { catalogue.newest_plan(wanted.as_str()) }
}

/// The subscription's own trial while it is in it; one that was the subscription's ends with it.
fn trial(
    old: Option<TrialState>,
    ends_at: Option<Time>,
    status: Reported,
    known: Option<&State>,
    now: Time,
) -> Option<TrialState> {
    match (status, ends_at) {
        (Reported::Trialing, Some(ends_at)) => Some(TrialState { ends_at, over: ends_at <= now }),
        (Reported::Trialing, None) => old,
        _ if known.is_some_and(|known| known.status == Reported::Trialing) => {
            old.map(|trial| TrialState { ends_at: trial.ends_at.min(now), over: true })
        }
        _ => old,
    }
}

/// Billing's lock is put when a state begins that locks, and lifted by one that does not; the others stay.
pub(crate) fn set_lock(locks: &mut Vec<Lock>, (stops, is_new): (bool, bool), now: Time) {
    let has = locks.iter().any(|lock| lock.cause == LockCause::Billing);
    if stops && is_new && !has {
        apply::put_lock(locks, &unpaid(now));
    } else if !stops {
        locks.retain(|lock| lock.cause != LockCause::Billing);
    }
}

/// Who has a subscription that holds is past a trial of Metergate's own, and its lock, whichever of the two came first.
pub(crate) fn end_own_trial(after: &mut Subscribed, (status, end): (Reported, Option<Time>), now: Time) {
    after.locks.retain(|lock| lock.cause != LockCause::Trial);
    if status != Reported::Trialing || end.is_none() {
        let ended = |trial: TrialState| TrialState { ends_at: trial.ends_at.min(now), over: true };
        after.trial = after.trial.map(|trial| if trial.over { trial } else { ended(trial) });
    }
}

/// The lock of a subscription that is not paid.
pub(crate) fn unpaid(since: Time) -> Lock {
    Lock { cause: LockCause::Billing, reason: Some(REASON.to_owned()), since }
}

/// While it holds, periods are the subscription's. After it the open one runs to its end, then months from there.
fn set_dates(account: &Account, after: &mut Subscribed, status: Reported, now: Time) {
    let period = after.subscription.state.as_ref().and_then(|state| state.period);
    match period.filter(|_| status.is_live()) {
        Some(period) => {
            after.anchor = Anchor::at(period.start, &account.profile.zone);
            (after.period, after.shown_start) = open_period(account, period, now);
            after.scheduled = after.scheduled.map(|scheduled| Scheduled { at: after.period.end, ..scheduled });
        }
        None => end_rule(account, after),
    }
}

fn end_rule(account: &Account, after: &mut Subscribed) {
    if account.ruling_period().is_some() {
        after.anchor = Anchor::at(account.windows.period.end, &account.profile.zone);
    }
}

/// What a checkout tells: whose subscription it is, where nothing is known yet.
fn linked(account: &Account, id: &SubscriptionId, customer: Option<&CustomerId>) -> Subscribed {
    let mut after = Subscribed::of(account);
    let Subscription { id: known, customer: whose, state, ended, .. } = &mut after.subscription;
    let is_free = known.is_none() || state.as_ref().is_some_and(|state| state.status.is_over());
    if is_free && !ended.contains(id) {
        *known = Some(id.clone());
        *state = None;
    }
    if known.as_ref() == Some(id) {
        *whose = customer.cloned().or(whose.take());
    }
    after
}

/// The subscription as it is known, after an invoice: paid, a missing payment has come; not paid, one is missing.
/// `None` where that tells nothing: an invoice that was paid does not fail any more, and one of an older period is late.
fn invoiced(account: &Account, (id, invoice): (&SubscriptionId, &Invoice), paid: bool) -> Option<Snapshot> {
    let known = account.subscription.as_deref().filter(|known| known.id.as_ref() == Some(id))?;
    let state = known.state.as_ref().filter(|state| !state.status.is_over())?;
    let is_older = invoice.until.zip(state.period).is_some_and(|(until, period)| until < period.start);
    if is_older || (!paid && state.paid.as_ref() == Some(&invoice.id)) {
        return None;
    }
    // Where nobody knows which invoice is open, one of what the period costs.
    let is_it = state.failed.as_ref().map_or(!invoice.is_extra, |failed| *failed == invoice.id);
    let status = match (state.status, paid) {
        (status, true) if is_missing_payment(status) && is_it => Reported::Active,
        (Reported::Active, false) => Reported::PastDue,
        (status, _) => status,
    };
    Some(Snapshot { status: Some(status), ..others::snapshot(known, id, state) })
}

/// How the audit log tells it, before and after.
fn fields(of: &Subscribed, catalogue: &Catalogue) -> Fields {
    let plan = catalogue.plan(of.plan);
    let state = of.subscription.state.as_ref();
    let text = |text: Option<&str>| text.map(str::to_owned);
    Fields::default()
        .with("subscription", text(of.subscription.id.as_ref().map(SubscriptionId::as_str)))
        .with("customer", text(of.subscription.customer.as_ref().map(CustomerId::as_str)))
        .with("subscriptionStatus", text(state.map(|state| state.status.as_str())))
        .with("price", state.and_then(|state| state.price.as_ref()).map(ToString::to_string))
        .with("planOfPrice", state.and_then(|state| state.plan.as_ref()).map(ToString::to_string))
        .with("paidFrom", state.and_then(|state| state.period).map(|period| period.start))
        .with("paidUntil", state.and_then(|state| state.period).map(|period| period.end))
        .with("trialEnd", state.and_then(|state| state.trial_end))
        .with("cancelAt", state.and_then(|state| state.cancel_at))
        .with("graceEndsAt", state.and_then(|state| state.grace_ends))
        .with("paidInvoice", state.and_then(|state| state.paid.as_ref()).map(ToString::to_string))
        .with("failedInvoice", state.and_then(|state| state.failed.as_ref()).map(ToString::to_string))
        .with("endedSubscription", of.subscription.ended.last().map(ToString::to_string))
        .and(others::fields(&of.subscription))
        .with("status", status_name(of.status))
        .with("plan", plan.map(|plan| plan.key.to_string()))
        .with("planVersion", plan.map(|plan| plan.version))
        .with("trialEndsAt", of.trial.map(|trial| trial.ends_at))
        .with("periodStart", of.shown_start.unwrap_or(of.period.start))
        .with("nextResetDate", of.period.end)
        .and(locks_fields(&of.locks))
}
