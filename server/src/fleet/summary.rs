//! One organization in little memory: some hundred bytes, and 16 for each meter that it uses.

use std::sync::Arc;

use metergate_rules::account::{Account, LockCause, Status};
use metergate_rules::id::{MeterId, PlanId};
use metergate_rules::limits::{Limits, Standing, use_in};
use metergate_rules::meter::Meter;
use metergate_rules::plan::{Enforcement, Plan};
use metergate_rules::quantity::Quantity;
use metergate_rules::time::Time;
use metergate_rules::window::Window;

use crate::catalogue::Snapshot;
use crate::store::StoreError;

/// What the fleet view keeps of an organization.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Whether it is for tests: then it stands in no list.
    pub test: bool,
    /// Where it stands with its subscription.
    pub status: Status,
    /// The version of its plan.
    pub plan: PlanId,
    /// The end of the trial that it is in.
    pub trial_ends: Option<Time>,
    /// The causes of its locks, each a bit.
    causes: u8,
    /// Since when a lock holds.
    pub locked_since: Option<Time>,
    /// The hard limit of which it has used most.
    pub tight: Option<Tight>,
    /// What each meter used in the open billing period, where that is more than nothing.
    pub used: Box<[(MeterId, Quantity)]>,
    /// When it may look otherwise, though nobody changes it.
    pub due: Time,
}

/// Where an organization stands against a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tight {
    /// Of which meter.
    pub meter: MeterId,
    /// In which window.
    pub window: Window,
    /// The limit with extra quota and credit.
    pub limit: Quantity,
    /// What of it may still be used.
    pub remaining: Quantity,
}

impl Tight {
    fn of(meter: MeterId, standing: &Standing) -> Option<Self> {
        let (limit, remaining) = (standing.limit(), standing.remaining());
        let refuses = standing.enforcement == Enforcement::Hard && !limit.is_zero();
        refuses.then_some(Self { meter, window: standing.window, limit, remaining })
    }

    /// What of the limit is used or held, in hundredths of a percent.
    pub fn share(&self) -> u32 {
        let (limit, remaining) = (i128::from(self.limit.units()), i128::from(self.remaining.units()));
        u32::try_from(((limit - remaining) * 10_000).checked_div(limit).unwrap_or(0)).unwrap_or(0)
    }
}

const CAUSES: [LockCause; 3] = [LockCause::Operator, LockCause::Trial, LockCause::Billing];

impl Summary {
    /// Of an account at `now`, with everything applied that has fallen due.
    ///
    /// # Errors
    /// [`StoreError::Problem`] where that cannot be applied.
    pub fn of(account: &Account, catalogue: &Snapshot, now: Time) -> Result<Self, StoreError> {
        let now = account.own_time(now);
        let settled = account.at(&catalogue.rules, now)?;
        let account = &*settled.account;
        let plan = catalogue.rules.plan(account.plan).ok_or(metergate_rules::decide::Problem::UnknownPlan)?;
        let causes = CAUSES.iter().enumerate().filter(|(_, cause)| account.lock(**cause).is_some());
        let trial = account.trial.filter(|trial| account.status == Status::Trial && !trial.over);
        Ok(Self {
            test: account.profile.test,
            status: account.status,
            plan: account.plan,
            trial_ends: trial.map(|trial| trial.ends_at),
            causes: causes.fold(0, |bits, (place, _)| bits | 1 << place),
            locked_since: account.locks.iter().map(|lock| lock.since).min(),
            tight: tightest(account, plan, catalogue, now),
            used: used(account, catalogue, now),
            due: if account.clock.is_some() { Time::MAX } else { account.next_due() },
        })
    }

    /// The causes of its locks.
    pub fn causes(&self) -> impl Iterator<Item = LockCause> {
        CAUSES.into_iter().enumerate().filter(|(place, _)| self.causes & 1 << place != 0).map(|(_, cause)| cause)
    }
}

/// Meters that have not been deleted, by key.
pub(super) fn living(catalogue: &Snapshot) -> impl Iterator<Item = &Arc<Meter>> {
    let living = |meter: &&Arc<Meter>| catalogue.meter(meter.key.as_str()).is_some_and(|m| m.id == meter.id);
    catalogue.rules.meters().into_iter().filter(living)
}

/// Of the hard limits of windows that begin and end the one of which most is used; the first by key and window of several.
fn tightest(account: &Account, plan: &Plan, catalogue: &Snapshot, now: Time) -> Option<Tight> {
    let mut tightest: Option<Tight> = None;
    for meter in living(catalogue) {
        let limits = Limits::new(account, plan, meter);
        let standings = Window::COUNTED.into_iter().filter_map(|window| limits.standing(window, now));
        for tight in standings.filter_map(|standing| Tight::of(meter.id, &standing)) {
            if tightest.is_none_or(|other| other.share() < tight.share()) {
                tightest = Some(tight);
            }
        }
    }
    tightest
}

fn used(account: &Account, catalogue: &Snapshot, now: Time) -> Box<[(MeterId, Quantity)]> {
    let of = |meter: &Arc<Meter>| {
        let used = use_in(account.meter(meter.id), meter, Window::BillingPeriod, now);
        (!used.is_zero()).then_some((meter.id, used))
    };
    living(catalogue).filter_map(of).collect()
}
