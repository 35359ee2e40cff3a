//! Moving what time brings about: the billing cycle (P3), the end of a trial (P5), a test organization's clock (P10).

use std::sync::Arc;

use crate::account::{Account, LockCause, OpenWindows, Profile, Status, TrialState};
use crate::audit::Fields;
use crate::catalogue::Catalogue;
use crate::due::status_name;
use crate::outcome::{Change, Rebased};
use crate::period::{self, Anchor, Grid, Zone};
use crate::plan::Plan;
use crate::time::{DAY, Span, Time};

use super::Problem;
use super::create::first_period;
use super::operate::{Told, locks_fields};

/// How far ahead a cycle may begin, in calendar months.
const FURTHEST: u32 = 12;

/// The open period as a move makes it: counters keep their values, and only dates move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The open period. Its start stays, so that periods tile.
    pub period: Span,
    /// Where it is shown to begin, if not at its start: where a period of the new grid does.
    pub shown_start: Option<Time>,
}

/// What a move of the cycle to `anchor` would make of the open period.
///
/// # Errors
/// [`Problem::CycleTooFar`] where it would begin more than a year ahead, [`Problem::CycleOwnedBySubscription`] while a
/// subscription rules the dates.
pub fn moved(account: &Account, anchor: Anchor, now: Time) -> Result<Moved, Problem> {
    if account.ruling_period().is_some() {
        return Err(Problem::CycleOwnedBySubscription);
    }
    let (grid, open) = (Grid { anchor, zone: &account.profile.zone }, account.windows.period);
    let start = grid.boundary(0);
    if start > later(now, FURTHEST, grid.zone) {
        return Err(Problem::CycleTooFar);
    } else if start > now {
        return Ok(Moved { period: Span { end: start, ..open }, shown_start: None });
    }
    let of_grid = grid.containing(now);
    let shown_start = (of_grid.start != open.start).then_some(of_grid.start);
    Ok(Moved { period: Span { end: of_grid.end, ..open }, shown_start })
}

/// So many calendar months after a time.
fn later(time: Time, months: u32, zone: &Zone) -> Time {
    Grid { anchor: Anchor::at(time, zone), zone }.boundary(i64::from(months))
}

pub(super) fn move_cycle(
    account: &Account,
    anchor: Anchor,
    by_member: bool,
    catalogue: &Catalogue,
    now: Time,
) -> Result<Option<Told>, Problem> {
    if by_member && !account.locks.is_empty() {
        return Err(Problem::Locked);
    }
    let Moved { period, shown_start } = moved(account, anchor, now)?;
    if (anchor, period, shown_start) == (account.anchor, account.windows.period, account.shown_start) {
        return Ok(None);
    }
    let forward = by_member && period.end < account.windows.period.end;
    let months = catalogue.bring_forward_months();
    if forward && account.brought_forward.is_some_and(|last| now < later(last, months, &account.profile.zone)) {
        return Err(Problem::CycleMovedRecently(months));
    }
    let brought_forward = if forward { Some(now) } else { account.brought_forward };
    let described = |anchor: Anchor, start: Time, end: Time| {
        let fields = Fields::default().with("billingCycleStartDate", anchor.to_string());
        fields.with("periodStart", start).with("nextResetDate", end)
    };
    let shown = account.shown_period();
    let before = described(account.anchor, shown.start, shown.end);
    let after = described(anchor, shown_start.unwrap_or(period.start), period.end);
    let change = Change::Cycle { anchor, period, shown_start, brought_forward };
    Ok(Some(Told { change, action: "billing.cycle", category: "billing", before, after }))
}

/// A new end of the trial that it is in or was: it goes on until then, and its lock is lifted.
pub(super) fn set_trial(account: &Account, ends_at: Time, now: Time) -> Result<Option<Told>, Problem> {
    let Some(old) = account.trial else { return Err(Problem::NoTrial) };
    if ends_at <= now {
        return Err(Problem::EndsTooEarly);
    }
    let trial = TrialState { ends_at, over: false };
    if trial == old {
        return Ok(None);
    }
    let status = if account.status == Status::Active { Status::Trial } else { account.status };
    let mut locks = account.locks.clone();
    locks.retain(|lock| lock.cause != LockCause::Trial);
    let described = |status, trial: TrialState| {
        Fields::default().with("status", status_name(status)).with("trialEndsAt", trial.ends_at)
    };
    let before = described(account.status, old).and(locks_fields(&account.locks));
    let after = described(status, trial).and(locks_fields(&locks));
    let change = Change::Trial { status, trial, locks };
    Ok(Some(Told { change, action: "trial.extend", category: "trial", before, after }))
}

/// Sets a test organization's own clock: to any time while nothing is recorded, as if it had been created then, and from
/// then on only forward. What falls due on the way has happened before this is asked.
pub(super) fn set_clock(account: &Account, to: Time, catalogue: &Catalogue) -> Result<Option<Told>, Problem> {
    if !account.profile.test {
        return Err(Problem::NotATest);
    } else if account.clock == Some(to) {
        return Ok(None);
    }
    let rebased = match (account.goes_forward(to), account.is_untouched()) {
        (true, _) => None,
        (false, true) => Some(rebased(account, catalogue.plan(account.plan).ok_or(Problem::UnknownPlan)?, to)),
        (false, false) => return Err(Problem::ClockRunsBack),
    };
    let described = |clock: Option<Time>| Fields::default().with("clock", clock);
    let (before, after) = (described(account.clock), described(Some(to)));
    let change = Change::Clock { to, rebased: rebased.map(Box::new) };
    Ok(Some(Told { change, action: "clock.move", category: "config", before, after }))
}

/// What its plan would have begun with.
fn rebased(account: &Account, plan: &Plan, to: Time) -> Rebased {
    let trial = plan.trial.as_ref().map(|t| TrialState { ends_at: to.plus(i64::from(t.days) * DAY), over: false });
    let status = match (trial, account.status) {
        (Some(_), Status::Trial | Status::Active) => Status::Trial,
        (None, Status::Trial) => Status::Active,
        (_, status) => status,
    };
    let locks = account.locks.iter().filter(|lock| lock.cause != LockCause::Trial).cloned().collect();
    let profile = Profile { created_at: to, ..(*account.profile).clone() };
    let (anchor, period, shown_start) = cycle_from(account, plan, &profile, to);
    let (day, month) = (period::day(to, &profile.zone), period::month(to, &profile.zone));
    let windows = OpenWindows { day, month, period };
    Rebased { profile: Arc::new(profile), status, trial, locks, anchor, windows, shown_start }
}

/// The cycle that its plan begins with then, or where it was moved the one that it was moved to.
fn cycle_from(account: &Account, plan: &Plan, profile: &Profile, to: Time) -> (Anchor, Span, Option<Time>) {
    let (first, period) = first_period(plan, profile, to, to);
    let date = period::date_of(account.profile.created_at, &profile.zone).first_of_month();
    let begun = [Anchor::at(account.profile.created_at, &profile.zone), Anchor::date(date)];
    if begun.contains(&account.anchor) {
        return (first, period, None);
    }
    let of_grid = Grid { anchor: account.anchor, zone: &profile.zone }.containing(to);
    let shown_start = (of_grid.start != to).then_some(of_grid.start);
    (account.anchor, Span { start: to, end: of_grid.end }, shown_start)
}
