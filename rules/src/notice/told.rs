//! What others are told of an entry of the journal: the one place that says so.

use super::{Figures, Kind, Notice, Topic};
use crate::account::{Account, Lock, LockCause, MeterUse, Status, TrialState};
use crate::catalogue::Catalogue;
use crate::decide;
use crate::grant::Grant;
use crate::id::{MeterId, PlanId};
use crate::limits::Limits;
use crate::outcome::{Change, Effect, Entry, What};
use crate::quantity::Quantity;
use crate::time::{Span, Time};
use crate::window::{Window, WindowSet};

/// From which percentage on a threshold is told by mail: early enough to act before something is refused, and seldom.
const MAILED_FROM: u8 = 80;

/// Something that others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What use has set off, or what comes before a time.
    Noticed(Notice),
    /// Counters were set to zero: what each had counted.
    Reset(Vec<(MeterId, Window, Quantity)>),
    /// A trial is over: when it was.
    TrialEnded(Time),
    /// Plan, status or billing cycle changed.
    Subscription {
        /// From this.
        before: Terms,
        /// To this.
        after: Terms,
    },
    /// A lock was put.
    Locked(Lock),
    /// These locks were lifted.
    Unlocked(Vec<Lock>),
    /// Credit was given.
    Granted(Grant),
    /// A billing period began.
    PeriodStarted(Span),
}

/// On what terms an organization is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The version of its plan.
    pub plan: PlanId,
    /// Where it stands with its subscription.
    pub status: Status,
    /// The open billing period as it is shown.
    pub period: Span,
}

impl Told {
    /// What kind of thing it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Noticed(Notice::Threshold { .. }) => Kind::UsageThreshold,
            Self::Noticed(Notice::Overage { .. }) => Kind::UsageOverage,
            Self::Noticed(Notice::Refused { .. } | Notice::RefusedInHour { .. }) => Kind::UsageRefused,
            Self::Noticed(Notice::GrantExhausted(_)) => Kind::GrantExhausted,
            Self::Noticed(Notice::GrantExpiring { .. }) => Kind::GrantExpiring,
            Self::Noticed(Notice::TrialEnding { .. }) => Kind::TrialEnding,
            Self::Reset(_) => Kind::UsageReset,
            Self::TrialEnded(_) => Kind::TrialEnded,
            Self::Subscription { .. } => Kind::SubscriptionChanged,
            Self::Locked(_) => Kind::OrganizationLocked,
            Self::Unlocked(_) => Kind::OrganizationUnlocked,
            Self::Granted(_) => Kind::GrantCreated,
            Self::PeriodStarted(_) => Kind::PeriodStarted,
        }
    }
}

impl Told {
    /// To what it belongs of which members are told by mail, too (N5), as each wants; `None` where nobody is. Of a limit it is that
    /// much or all is used, where it does not begin anew every day, and of thresholds that one use passes together the last one.
    /// The lock after a trial is told with the end of that; of the subscription, that a payment is due.
    pub fn topic(&self, account: &Account, catalogue: &Catalogue) -> Option<Topic> {
        let is_other = |lock: &Lock| lock.cause != LockCause::Trial;
        let (percent, is_mailed) = match self {
            Self::Noticed(Notice::Threshold { percent, figures, .. }) => {
                let is_last = || !higher(*percent, figures, account, catalogue);
                let is_mailed = *percent >= MAILED_FROM && Window::PERIOD.contains(&figures.window) && is_last();
                (Some(*percent), is_mailed)
            }
            Self::Locked(lock) => (None, is_other(lock)),
            Self::Unlocked(lifted) => (None, account.locks.is_empty() && lifted.iter().any(is_other)),
            Self::Subscription { before, after } => {
                (None, after.status == Status::PastDue && before.status != Status::PastDue)
            }
            _ => (None, true),
        };
        Topic::of(self.kind(), percent).filter(|_| is_mailed)
    }
}

/// Whether a higher threshold of the limit is reached as well.
fn higher(percent: u8, figures: &Figures, account: &Account, catalogue: &Catalogue) -> bool {
    let Some((plan, meter)) = catalogue.plan(account.plan).zip(catalogue.meter(figures.meter)) else { return false };
    let limits = Limits::new(account, plan, meter);
    let counted = i128::from(figures.used.units()) + i128::from(figures.held.units());
    let is_reached = |other: &u8| counted * 100 >= i128::from(figures.limit.units()) * i128::from(*other);
    limits.thresholds(figures.window).iter().any(|other| *other > percent && is_reached(other))
}

/// Whether something can be told of an entry; of use alone nothing is.
pub fn may_tell(what: &What) -> bool {
    match what {
        What::Decided(_) | What::Recorded(_) | What::Completed(_) | What::Reservation(_) | What::Image(_) => false,
        What::Noticed(_) => true,
        What::Due(effect) => !matches!(
            effect,
            Effect::DayBegan(_)
                | Effect::MonthBegan(_)
                | Effect::OverrideEnded { .. }
                | Effect::GrantExpired { .. }
                | Effect::ReservationLapsed(_)
        ),
        // A test organization whose clock is set for the first time is as if it had been created then.
        What::Changed(change) => {
            !matches!(**change, Change::Created { .. } | Change::Deleted | Change::Clock { .. } | Change::Corrected(_))
        }
    }
}

/// What others are told of an entry, in order, given the account before and after it.
///
/// Of a change of terms it does not matter who made it, nor by which entry: what is told is what became of the account.
pub fn told(entry: &Entry, before: &Account, after: &Account) -> Vec<Told> {
    if !may_tell(&entry.what) {
        return Vec::new();
    }
    match &entry.what {
        // They were told of it when it was refused.
        What::Noticed(Notice::RefusedInHour { count: ..=1, .. }) => return Vec::new(),
        What::Noticed(notice) => return vec![Told::Noticed(notice.clone())],
        _ => {}
    }
    let mut told = Vec::new();
    if let What::Changed(change) = &entry.what {
        match &**change {
            Change::Reset { meters, windows } => {
                told.push(Told::Reset(counted(before, meters.as_deref(), *windows, entry.at)));
            }
            Change::Granted(grant) => told.push(Told::Granted(grant.clone())),
            _ => {}
        }
    }
    let is_over = |trial: &TrialState| trial.over && before.trial.is_some_and(|before| !before.over);
    told.extend(after.trial.filter(is_over).map(|trial| Told::TrialEnded(trial.ends_at)));
    if before.windows.period.start != after.windows.period.start {
        told.push(Told::PeriodStarted(after.windows.period));
    }
    if have_changed(before, after) {
        told.push(Told::Subscription { before: terms(before), after: terms(after) });
    }
    told.extend(locks(after, before).map(Told::Locked));
    let lifted: Vec<Lock> = locks(before, after).collect();
    if !lifted.is_empty() {
        told.push(Told::Unlocked(lifted));
    }
    told
}

const fn terms(account: &Account) -> Terms {
    let start = match account.shown_start {
        Some(start) => start,
        None => account.windows.period.start,
    };
    let period = Span { start, end: account.windows.period.end };
    Terms { plan: account.plan, status: account.status, period }
}

/// Whether the terms did, beside that a period began.
fn have_changed(before: &Account, after: &Account) -> bool {
    let (open, now) = (before.windows.period, after.windows.period);
    let is_moved = before.anchor != after.anchor || (open.start == now.start && terms(before) != terms(after));
    (before.plan, before.status) != (after.plan, after.status) || is_moved
}

/// The locks of one that the other does not have.
fn locks<'a>(of: &'a Account, but: &'a Account) -> impl Iterator<Item = Lock> + 'a {
    of.locks.iter().filter(move |lock| but.lock(lock.cause).is_none()).cloned()
}

/// What counters had counted that a reset sets to zero.
fn counted(
    account: &Account,
    meters: Option<&[MeterId]>,
    windows: WindowSet,
    at: Time,
) -> Vec<(MeterId, Window, Quantity)> {
    let used = account.meters.iter().filter(|used| decide::is_reset(used, meters, windows, at));
    let of = |used: &MeterUse, window| (used.meter, window, decide::counted(used, window, at));
    let all = used.flat_map(|used| windows.iter().map(move |window| of(used, window)));
    all.filter(|(.., quantity)| !quantity.is_zero()).collect()
}
