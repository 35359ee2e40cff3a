//! Trials, billing periods, days of grace and the plan after a subscription as other terms have them.
//!
//! What time brings about then follows from these terms, not from the entries that say what it brought about. What operators,
//! members and Stripe did is done again by the same rules, on the organization as it would have stood. Beside it runs the
//! organization as it was, which says what an entry has changed.

use crate::account::{Account, LockCause, Scheduled};
use crate::apply::apply;
use crate::command::{Command, ProfileChange};
use crate::decide::subscription::{end_own_trial, of_its_own, set_lock};
use crate::decide::{Problem, cycle, decide, plan_after};
use crate::id::PlanId;
use crate::outcome::{Change, Correction, Effect, Entry, PlanState, VoidedEvent, What};
use crate::subscription::{Reported, Subscribed};
use crate::time::{DAY, Span, Time};
use crate::window::Window;

use super::{Replay, Terms};

impl<'a> Replay<'a> {
    /// The same where trials, billing periods, days of grace and the plan after a subscription are those of these terms. It
    /// begins at a time: where a period of other terms begins ([`Terms::begins`]), else anywhere.
    pub fn in_course(account: Account, terms: Terms<'a>, voided: &[VoidedEvent], at: Time) -> Self {
        let at = at.max(account.time);
        let was = Box::new(account.clone());
        let mut begun = account.clone();
        let has_other_periods = terms.begin_anew(&mut begun, at);
        let mut replay = Self::new(account, terms, voided);
        let scheduled =
            replay.account.scheduled.map(|scheduled| Scheduled { at: begun.windows.period.end, ..scheduled });
        replay.account = Account { scheduled, ..begun };
        replay.was = Some(was);
        replay.values.follow_periods(has_other_periods);
        replay
    }

    /// The organization as it was, where that is followed; else as it would stand.
    pub fn into_was(self) -> Account {
        self.was.map_or(self.account, |was| *was)
    }

    /// Whether periods are not those that were.
    fn has_other_periods(&self) -> bool {
        self.was.as_ref().is_some_and(|was| was.windows.period != self.account.windows.period)
    }

    /// What time has brought about by then.
    pub(super) fn settle(&mut self, at: Time) -> Result<(), Problem> {
        if at < self.account.next_due() {
            return Ok(());
        }
        let settled = self.account.at(self.terms.catalogue, at)?.account.into_owned();
        self.account = settled;
        self.values.forget_before(&self.account);
        Ok(())
    }

    /// What time brought about happens by itself; which version a trial led to is said by the entry.
    pub(super) fn due_in_course(&mut self, effect: &Effect) {
        if let Effect::TrialEnded { plan: Some(led_to), .. } = effect {
            let key = |plan: PlanId| self.terms.of(plan).map(|plan| &plan.key);
            let is_there = self.account.trial.is_some_and(|trial| trial.over) && key(*led_to) == key(self.account.plan);
            if is_there {
                self.account.plan = self.terms.plan(*led_to);
            }
        }
    }

    /// A change is made again. What its rule does not admit on the organization as it would stand is left out.
    pub(super) fn change_in_course(&mut self, entry: &Entry, change: &Change) -> Result<(), Problem> {
        let at = entry.at;
        let changed = match change {
            Change::Plan(state) => self.moved_to(state, at)?,
            Change::Scheduled(scheduled) => {
                let at = self.account.windows.period.end;
                Change::Scheduled(Scheduled { plan: self.terms.plan(scheduled.plan), at, ..*scheduled })
            }
            Change::Subscribed(after) => Change::Subscribed(Box::new(self.subscribed(after, at)?)),
            Change::Cycle { anchor, brought_forward, .. } => {
                let Ok(cycle::Moved { period, shown_start }) = cycle::moved(&self.account, *anchor, at) else {
                    return Ok(());
                };
                Change::Cycle { anchor: *anchor, period, shown_start, brought_forward: *brought_forward }
            }
            Change::Trial { trial, .. } => return self.again(&Command::SetTrial { ends_at: trial.ends_at }, at),
            Change::Profile { profile, .. } => {
                let change = ProfileChange {
                    key: Some(profile.key.clone()),
                    name: Some(profile.name.clone()),
                    zone: Some(profile.zone.clone()),
                    metadata: Some(profile.metadata.clone()),
                };
                return self.again(&Command::Update(change), at);
            }
            Change::Corrected(correction) => {
                let correction = self.placed(correction);
                return self.corrected(entry, &correction);
            }
            other => other.clone(),
        };
        apply(&mut self.account, &Entry { at, what: What::Changed(Box::new(changed)) });
        Ok(())
    }

    fn again(&mut self, command: &Command, at: Time) -> Result<(), Problem> {
        match decide(&self.account, command, &[], false, self.terms.catalogue, at) {
            Ok(outcome) => self.fold(&outcome.entries),
            Err(Problem::NoTrial | Problem::EndsTooEarly) => {}
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    /// A correction touches the billing period that would have been open.
    fn placed(&self, correction: &Correction) -> Correction {
        let mut correction = correction.clone();
        if self.has_other_periods() {
            for used in &mut correction.uses {
                let others = used.windows.without([Window::BillingPeriod].into_iter().collect());
                let is_open = self.account.windows.period.contains(used.time);
                used.windows = if is_open { others.with(Window::BillingPeriod) } else { others };
            }
        }
        correction
    }

    /// A move to a plan, by the rule of moves. To another version of the plan that it was on nobody moves who would not have been on
    /// that, or would have been on the version of these terms all the time.
    fn moved_to(&self, state: &PlanState, at: Time) -> Result<Change, Problem> {
        let key = |plan: PlanId| self.terms.of(plan).map(|plan| &plan.key);
        let was = self.was.as_ref().map_or(self.account.plan, |was| was.plan);
        let plan = self.terms.plan(state.plan);
        let is_elsewhere = key(was) == key(state.plan) && key(self.account.plan) != key(was);
        let is_version = is_elsewhere || (plan == self.account.plan && was != state.plan);
        if is_version && self.account.scheduled.is_none() {
            return Ok(Change::Overrides(state.overrides.clone()));
        }
        let plan = if is_version { self.account.plan } else { plan };
        Ok(Change::Plan(plan_after(&self.account, plan, state.overrides.clone(), self.terms.catalogue, at)?))
    }

    /// What was told of a subscription: its own words as they were, and what these terms make of them.
    fn subscribed(&self, told: &Subscribed, at: Time) -> Result<Subscribed, Problem> {
        let was = self.was.as_deref().map(Subscribed::of);
        let (was, own) = (was.unwrap_or_else(|| told.clone()), Subscribed::of(&self.account));
        let mut after = Subscribed { subscription: told.subscription.clone(), ..own.clone() };
        let state = told.subscription.state.as_ref();
        let is_live = state.is_some_and(|state| state.status.is_live());
        if let Some(plan) = self.plan_of_subscription(told, &was) {
            let overrides = self.account.overrides.clone();
            let moved = plan_after(&self.account, plan, overrides, self.terms.catalogue, at)?;
            (after.plan, after.locks, after.scheduled) = (moved.plan, moved.locks, None);
            after.trial = own.trial.and(moved.trial);
        }
        after.status = if is_live || told.status != was.status { told.status } else { own.status };
        after.trial = if told.trial == was.trial { after.trial } else { told.trial };
        if !is_live && state.is_none() && told.status != was.status {
            after.status = of_its_own(after.trial);
        }
        if (told.anchor, told.period, told.shown_start) != (was.anchor, was.period, was.shown_start) {
            (after.anchor, after.shown_start) = (told.anchor, told.shown_start);
            after.period = Span { end: told.period.end.max(own.period.start.plus(1)), ..own.period };
        }
        after.scheduled = after.scheduled.map(|change| Scheduled { at: after.period.end, ..change });
        self.bill(&mut after, told, &was, at);
        Ok(after)
    }

    /// The plan to which a subscription moves it, where it does.
    fn plan_of_subscription(&self, told: &Subscribed, was: &Subscribed) -> Option<PlanId> {
        if told.plan == was.plan {
            return None;
        }
        let ended = told.subscription.state.as_ref().filter(|state| !state.status.is_live());
        let fallback = ended.and_then(|state| self.terms.other_fallback(state));
        let plan = fallback.unwrap_or_else(|| self.terms.plan(told.plan));
        (plan != self.account.plan).then_some(plan)
    }

    /// Days of grace, and the lock of a payment that does not come.
    fn bill(&self, after: &mut Subscribed, told: &Subscribed, was: &Subscribed, at: Time) {
        let id = after.subscription.id.clone();
        let grace = self.terms.of(after.plan).map_or(0, |plan| plan.grace_days);
        let own = self.account.subscription.as_deref().filter(|own| own.id == id).and_then(|own| own.state.as_ref());
        let Some(state) = &mut after.subscription.state else {
            if told.locks.iter().all(|lock| lock.cause != LockCause::Billing) {
                after.locks.retain(|lock| lock.cause != LockCause::Billing);
            }
            return;
        };
        if told.subscription.state == was.subscription.state {
            state.grace_ends = own.and_then(|own| own.grace_ends);
            return;
        }
        let is_new = own.is_none_or(|own| own.status != state.status);
        state.grace_ends = match (state.status, is_new) {
            (Reported::PastDue, true) => Some(at.plus(i64::from(grace) * DAY)).filter(|ends| *ends > at),
            (Reported::PastDue, false) => own.and_then(|own| own.grace_ends),
            _ => None,
        };
        let stops = state.status.locks() || (state.status == Reported::PastDue && state.grace_ends.is_none());
        let (status, end) = (state.status, state.trial_end);
        set_lock(&mut after.locks, (stops, is_new), at);
        if status.is_live() && !stops {
            end_own_trial(after, (status, end), at);
        }
    }
}
