//! An organization as it would have stood at the beginning under other terms: its trial, its billing period, its days of grace, its
//! plan after a subscription.

use crate::account::{Account, LockCause, Status, TrialState};
use crate::apply::apply;
use crate::id::{PlanId, PlanKey};
use crate::outcome::{Effect, Entry, What};
use crate::period::{self, Anchor, Grid};
use crate::plan::{Cycle, Plan, TrialEnd};
use crate::subscription::{Reported, State};
use crate::time::{DAY, HOUR, Span, Time};

use super::{Moved, Terms};

/// How long before its creation what created an organization may have been used, from which its periods are counted then.
const BEFORE_CREATION: i64 = HOUR;

/// From when on entries are needed at the latest to say how an organization would have stood at a time, whatever cycle it had.
pub fn needed_from(account: &Account, at: Time) -> Time {
    let of = |cycle| Grid { anchor: anchor_of(account, cycle), zone: &account.profile.zone }.containing(at).start;
    of(Cycle::SignUp).min(of(Cycle::FirstOfMonth)).min(at)
}

/// From where a plan has periods counted of an organization that was created on it.
fn anchor_of(account: &Account, cycle: Cycle) -> Anchor {
    let (created, zone) = (account.profile.created_at, &account.profile.zone);
    match cycle {
        Cycle::SignUp if begins_with(account, cycle) => account.anchor,
        Cycle::SignUp => Anchor::at(created, zone),
        Cycle::FirstOfMonth => Anchor::date(period::date_of(created, zone).first_of_month()),
    }
}

/// Whether its periods are counted as by a plan, and nobody has moved them.
fn begins_with(account: &Account, cycle: Cycle) -> bool {
    let (created, zone) = (account.profile.created_at, &account.profile.zone);
    match cycle {
        Cycle::SignUp => {
            let begins = Grid { anchor: account.anchor, zone }.boundary(0);
            account.anchor == Anchor::at(created, zone) || (created.plus(-BEFORE_CREATION)..=created).contains(&begins)
        }
        Cycle::FirstOfMonth => account.anchor == Anchor::date(period::date_of(created, zone).first_of_month()),
    }
}

impl<'a> Terms<'a> {
    pub(super) fn of(&self, plan: PlanId) -> Option<&'a Plan> {
        self.catalogue.plan(plan).map(|plan| &**plan)
    }

    /// From where periods would be counted, where that is another place. Not while a subscription rules them, nor where they
    /// were moved.
    fn other_anchor(&self, account: &Account) -> Option<Anchor> {
        let (was, is) = (self.of(account.plan)?, self.of(self.plan(account.plan))?);
        let is_own = account.ruling_period().is_none() && begins_with(account, was.cycle);
        (was.cycle != is.cycle && is_own).then(|| anchor_of(account, is.cycle))
    }

    /// When a replay of what happens from `from` on has to begin, of an organization as it stood: where its periods are others,
    /// with the one that would be open then.
    pub fn begins(&self, account: &Account, from: Time) -> Time {
        let zone = &account.profile.zone;
        self.other_anchor(account).map_or(from, |anchor| Grid { anchor, zone }.containing(from).start.min(from))
    }

    /// Whether a plan is one that is changed.
    fn has(&self, plan: &Plan) -> bool {
        matches!(self.moved, Moved::Followers(plans) if plans.contains_key(&plan.key))
    }

    /// The plan after a subscription for a price, where these terms have another one than followed.
    pub(super) fn other_fallback(&self, state: &State) -> Option<PlanId> {
        let priced = self.catalogue.plan_of_price(state.price.as_ref()?.as_str())?;
        let is_other = self.has(priced) && state.plan.as_ref() != Some(&priced.fallback);
        let fallback = self.catalogue.newest_plan(priced.fallback.as_str()).filter(|_| is_other)?;
        Some(self.plan(fallback.id))
    }

    /// The organization as it would stand at a time, made of how it stood. Whether its periods are counted from elsewhere.
    pub(super) fn begin_anew(&self, account: &mut Account, at: Time) -> bool {
        let anchor = self.other_anchor(account);
        let (was, is) = (self.of(account.plan), self.of(self.plan(account.plan)));
        if let (Some(was), Some(is)) = (was, is) {
            begin_trial(account, was, is, at);
            begin_grace(account, was, is, at);
        }
        if let Some(anchor) = anchor {
            begin_period(account, anchor, at);
        }
        account.plan = self.plan(account.plan);
        if let Some(state) = account.subscribed_as().filter(|state| state.status.is_over()) {
            // It has fallen back, and nobody has moved it since.
            let is_there = state.plan.as_ref() == self.of(account.plan).map(|plan| &plan.key);
            let other = self.other_fallback(state).filter(|_| is_there);
            account.plan = other.unwrap_or(account.plan);
        }
        anchor.is_some()
    }
}

/// A trial that came with the plan has the length and the end that it would have. One that somebody has extended, that began with
/// a move to the plan, or that is a subscription's stays as it is; an organization that had none has none, unless it begins now.
fn begin_trial(account: &mut Account, was: &Plan, is: &Plan, at: Time) {
    if was.trial == is.trial || account.is_subscribed() {
        return;
    }
    let created = account.profile.created_at;
    let end = |plan: &Plan| plan.trial.as_ref().map(|trial| created.plus(i64::from(trial.days) * DAY));
    let is_plans = match account.trial {
        Some(trial) => end(was) == Some(trial.ends_at),
        None => was.trial.is_none() && account.time == created,
    };
    let on_end = |plan: &Plan| plan.trial.as_ref().map(|trial| trial.on_end.clone());
    let was_over = account.trial.is_some_and(|trial| trial.over);
    if !is_plans {
        return;
    }
    match end(is) {
        None => {
            account.trial = account.trial.map(|trial| TrialState { ends_at: trial.ends_at.min(at), over: true });
            go_on(account, Status::Active);
        }
        Some(ends_at) if was_over && ends_at <= at && on_end(was) == on_end(is) => {
            account.trial = Some(TrialState { ends_at, over: true });
        }
        // What follows where it is over by then follows as time goes by.
        Some(ends_at) => {
            account.trial = Some(TrialState { ends_at, over: false });
            go_on(account, Status::Trial);
        }
    }
}

fn go_on(account: &mut Account, status: Status) {
    if matches!(account.status, Status::Trial | Status::Active) {
        account.status = status;
    }
    account.locks.retain(|lock| lock.cause != LockCause::Trial);
}

/// A missing payment has the days of grace that it would have.
fn begin_grace(account: &mut Account, was: &Plan, is: &Plan, at: Time) {
    if was.grace_days == is.grace_days || account.subscribed_as().is_none_or(|known| known.status != Reported::PastDue)
    {
        return;
    }
    let days = |plan: &Plan| i64::from(plan.grace_days) * DAY;
    let lock = account.lock(LockCause::Billing).map(|lock| lock.since);
    let Some(ended) = account.subscribed_as().and_then(|known| known.grace_ends).or(lock) else { return };
    let ends = ended.plus(days(is) - days(was));
    if lock.is_some() && ends <= at {
        return;
    }
    account.locks.retain(|lock| lock.cause != LockCause::Billing);
    if let Some(state) = account.subscription.as_mut().and_then(|known| known.state.as_mut()) {
        state.grace_ends = Some(ends);
    }
}

/// The period of another grid that is open at a time. Where that begins then, nothing is counted in it; else what was counted in
/// the one that was open stays.
fn begin_period(account: &mut Account, anchor: Anchor, at: Time) {
    let open = Grid { anchor, zone: &account.profile.zone }.containing(at);
    let is_created = account.profile.created_at == account.time;
    (account.anchor, account.shown_start) = (anchor, None);
    if open.start == at && !is_created {
        let begins = What::Due(Effect::PeriodBegan(open));
        apply(account, &Entry { at: account.time, what: begins });
    } else {
        let start = if is_created { open.start } else { account.windows.period.start };
        account.windows.period = Span { start, end: open.end };
    }
    if let Some(scheduled) = &mut account.scheduled {
        scheduled.at = account.windows.period.end;
    }
}

/// Whether organizations that were on a plan may be on another one since, by these differences alone: those have to be looked at too.
pub fn led_to(was: &Plan, is: &Plan, mut each: impl FnMut(&PlanKey)) {
    if was.trial != is.trial
        && let Some(TrialEnd::Plan(key)) = was.trial.as_ref().map(|trial| &trial.on_end)
    {
        each(key);
    }
    if was.fallback != is.fallback {
        each(&was.fallback);
    }
}
