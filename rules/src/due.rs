//! What falls due by time alone: no job has to run for it.

use std::borrow::Cow;

use crate::account::{Account, Lock, LockCause, Status};
use crate::apply::apply;
use crate::audit::{Draft, Fields};
use crate::catalogue::Catalogue;
use crate::decide::subscription::unpaid;
use crate::decide::{Problem, kept, locks_fields, plan_after, plan_change};
use crate::notice::{Notice, ahead};
use crate::outcome::{Effect, Entry, What};
use crate::period;
use crate::plan::TrialEnd;
use crate::quantity::Quantity;
use crate::time::{Span, Time};

/// An account as it is at a time, and the entries that made it so.
#[derive(Clone, Debug)]
pub struct Settled<'a> {
    /// The account at that time.
    pub account: Cow<'a, Account>,
    /// What fell due since its last entry, in order of due time.
    pub entries: Vec<Entry>,
    /// What the audit log keeps of it.
    pub audit: Vec<Draft>,
}

/// More periods than there are between [`Time::MIN`] and [`Time::MAX`].
const STEPS: usize = 4096;

impl Account {
    /// The earliest time at which something falls due.
    pub fn next_due(&self) -> Time {
        let windows = self.windows.day.end.min(self.windows.month.end);
        windows.min(self.next_notable())
    }

    /// The earliest time at which something falls due that others may want to hear of: all but days and months.
    pub fn next_notable(&self) -> Time {
        let trial = self.trial.filter(|trial| !trial.over).map(|trial| trial.ends_at);
        let overrides = self.overrides.iter().filter_map(|o| o.until);
        let open = self.grants.iter().filter(|grant| grant.ended.is_none() && grant.used < grant.amount);
        let lapses = self.reservations.iter().map(|held| held.ends_at);
        let scheduled = self.scheduled.map(|scheduled| scheduled.at);
        let told = ahead::earliest(self);
        let times = overrides.chain(open.filter_map(|grant| grant.expires_at)).chain(trial).chain(lapses);
        let grace = self.subscribed_as().and_then(|state| state.grace_ends);
        let times = times.chain(scheduled).chain(grace);
        times.fold(self.windows.period.end.min(told), Time::min)
    }

    /// When something asked for at `now` happens: never before the last entry, and never in the instant at which the
    /// last windows end with time itself.
    pub(crate) fn moment(&self, now: Time) -> Time {
        now.max(self.time).min(Time::MAX.plus(-1))
    }

    /// This account at `now`, with everything that has fallen due applied in order of due time. A time before the
    /// account's last entry counts as that entry's: time never runs back.
    ///
    /// # Errors
    /// [`Problem::UnknownPlan`] if its plan is not in the catalogue, [`Problem::TooMuchDue`] if a clock is moved over more periods
    /// than one step can take, [`Problem::Inconsistent`] if what is due has no end.
    pub fn at(&self, catalogue: &Catalogue, now: Time) -> Result<Settled<'_>, Problem> {
        let now = self.moment(now);
        let many = self.overrides.len() + 3 * self.grants.len() + self.reservations.len();
        let most = STEPS + many + self.refusals.len();
        let mut settled = Settled { account: Cow::Borrowed(self), entries: Vec::new(), audit: Vec::new() };
        while settled.account.next_due() <= now {
            if settled.entries.len() >= most {
                let is_moved = self.profile.test;
                return Err(if is_moved {
                    Problem::TooMuchDue
                } else {
                    Problem::Inconsistent("what is due has no end")
                });
            }
            let entry = next_effect(&settled.account, catalogue, now)?;
            settled.audit.extend(draft(&settled.account, &entry, catalogue));
            apply(settled.account.to_mut(), &entry);
            settled.entries.push(entry);
        }
        Ok(settled)
    }
}

/// The effect with the earliest due time. Days and months in which nothing happened are skipped; periods are not.
fn next_effect(account: &Account, catalogue: &Catalogue, now: Time) -> Result<Entry, Problem> {
    let zone = &account.profile.zone;
    let mut due: Vec<(Time, Effect)> = Vec::new();
    if account.windows.day.end <= now {
        let day = period::day(now, zone);
        due.push((day.start, Effect::DayBegan(day)));
    }
    if account.windows.month.end <= now {
        let month = period::month(now, zone);
        due.push((month.start, Effect::MonthBegan(month)));
    }
    if account.windows.period.end <= now {
        let start = account.windows.period.end;
        let end = account.period_end(start);
        due.push((start, Effect::PeriodBegan(Span { start, end })));
    }
    if let Some(trial) = account.trial.filter(|trial| !trial.over && trial.ends_at <= now) {
        due.push((trial.ends_at, trial_end(account, catalogue, trial.ends_at)?));
    }
    if let Some(scheduled) = account.scheduled.filter(|scheduled| scheduled.at <= now) {
        let state =
            plan_after(account, scheduled.plan, kept(account, scheduled.keep_overrides), catalogue, scheduled.at)?;
        due.push((scheduled.at, Effect::PlanChanged(state)));
    }
    if let Some(ends) = account.subscribed_as().and_then(|state| state.grace_ends).filter(|ends| *ends <= now) {
        let lock = account.lock(LockCause::Billing).is_none().then(|| unpaid(ends));
        due.push((ends, Effect::GraceEnded(lock)));
    }
    due.extend(ended_overrides(account, now));
    due.extend(expired_grants(account, now));
    let lapsed = account.reservations.iter().filter(|held| held.ends_at <= now);
    due.extend(lapsed.map(|held| (held.ends_at, Effect::ReservationLapsed(held.id))));
    let mut due: Vec<(Time, What)> = due.into_iter().map(|(at, effect)| (at, What::Due(effect))).collect();
    due.extend(notices(account, now).map(|(at, notice)| (at, What::Noticed(notice))));
    let earliest = due.into_iter().min_by_key(|(at, _)| *at);
    let (at, what) = earliest.ok_or(Problem::Inconsistent("something is due, but nothing is"))?;
    Ok(Entry { at, what })
}

/// What others are told before something ends, and of an hour that is over.
fn notices(account: &Account, now: Time) -> impl Iterator<Item = (Time, Notice)> {
    let of_grants = account.grants.iter().filter_map(|grant| ahead::of_grant(account, grant));
    let of_refusals = account.refusals.iter().map(ahead::of_refusal);
    let all = ahead::of_trial(account).into_iter().chain(of_grants).chain(of_refusals);
    all.filter(move |(at, _)| *at <= now)
}

fn ended_overrides(account: &Account, now: Time) -> impl Iterator<Item = (Time, Effect)> {
    let up = account.overrides.iter().filter_map(move |o| Some((o, o.until.filter(|until| *until <= now)?)));
    up.map(|(o, until)| (until, Effect::OverrideEnded { meter: o.meter, window: o.window }))
}

fn expired_grants(account: &Account, now: Time) -> impl Iterator<Item = (Time, Effect)> {
    let open = account.grants.iter().filter(|grant| grant.ended.is_none() && grant.used < grant.amount);
    let up = open.filter_map(move |grant| Some((grant, grant.expires_at.filter(|end| *end <= now)?)));
    up.map(|(grant, end)| {
        let lost: Quantity = grant.left();
        (end, Effect::GrantExpired { grant: grant.id, lost })
    })
}

fn trial_end(account: &Account, catalogue: &Catalogue, end: Time) -> Result<Effect, Problem> {
    let plan = catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?;
    let over = if account.status == Status::Trial { Status::Active } else { account.status };
    // How a subscribed organization goes on, its subscription says.
    let on_end = plan.trial.as_ref().map(|trial| &trial.on_end).filter(|_| !account.is_subscribed());
    let (status, lock, plan) = match on_end {
        None | Some(TrialEnd::Continue) => (over, None, None),
        Some(TrialEnd::Lock) => {
            let new = Lock { cause: LockCause::Trial, reason: None, since: end };
            (account.status, account.lock(LockCause::Trial).is_none().then_some(new), None)
        }
        Some(TrialEnd::Plan(key)) => {
            (over, None, Some(catalogue.newest_plan(key.as_str()).ok_or(Problem::UnknownPlan)?.id))
        }
    };
    Ok(Effect::TrialEnded { status, lock, plan })
}

/// Of what time brings about only the end of a trial, a change of plan and the lock after the grace time are entries of the
/// audit log.
fn draft(account: &Account, entry: &Entry, catalogue: &Catalogue) -> Option<Draft> {
    if let What::Due(Effect::PlanChanged(state)) = &entry.what {
        let (before, after) = plan_change(account, state, catalogue);
        return Some(Draft { by_system: true, ..Draft::new(entry.at, "plan.change", "quota", before, after) });
    }
    if let What::Due(Effect::GraceEnded(lock)) = &entry.what {
        let locks: Vec<Lock> = account.locks.iter().chain(lock).cloned().collect();
        let before = locks_fields(&account.locks).with("lockReason", None::<String>);
        let after = locks_fields(&locks).with("lockReason", lock.as_ref().and_then(|lock| lock.reason.clone()));
        let locked = Draft { by_system: true, ..Draft::new(entry.at, "billing.lock", "billing", before, after) };
        return lock.is_some().then_some(locked);
    }
    let What::Due(Effect::TrialEnded { status, lock, plan }) = &entry.what else { return None };
    let name = |plan| catalogue.plan(plan).map(|plan| plan.key.to_string());
    let before = Fields::default().with("status", status_name(account.status)).with("plan", name(account.plan));
    let after = Fields::default()
        .with("status", status_name(*status))
        .with("plan", name(plan.unwrap_or(account.plan)))
        .with("locked", lock.is_some() || !account.locks.is_empty());
    Some(Draft { by_system: true, ..Draft::new(entry.at, "trial.end", "trial", before, after) })
}

/// The name of a status on the wire.
pub const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Trial => "trial",
        Status::Active => "active",
        Status::PastDue => "past_due",
        Status::Canceled => "canceled",
    }
}
