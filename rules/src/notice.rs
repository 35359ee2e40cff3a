//! What others are told (N2, N3): that use has come to something, that a time comes near, and what somebody changed.
//!
//! What use sets off, and what comes before a time, is an entry of the journal, [`What::Noticed`](crate::outcome::What): by it
//! the account keeps what was told, so that it is told once, whoever decides, and also after a start. What is told of a
//! change follows from that change's own entry. [`told`] says of each entry what others are told.

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::id::{GrantId, MeterId};
use crate::limits::Standing;
use crate::outcome::{LimitState, Reason};
use crate::plan::Enforcement;
use crate::quantity::Quantity;
use crate::time::{HOUR, SECOND, Time};
use crate::window::Window;

pub(crate) mod ahead;
mod told;
mod topic;
pub(crate) mod triggered;

pub use told::{Terms, Told, may_tell, told};
pub use topic::Topic;
pub use triggered::refusals;

/// Percentages at which is told of a limit for which its plan names none.
pub const THRESHOLDS: [u8; 2] = [80, 100];

/// What kind of thing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// So many percent of a limit are used or held.
    UsageThreshold,
    /// Something was refused.
    UsageRefused,
    /// Use went beyond a limit.
    UsageOverage,
    /// Counters were set to zero.
    UsageReset,
    /// A trial comes to its end.
    TrialEnding,
    /// A trial is over.
    TrialEnded,
    /// Plan, status or billing cycle changed.
    SubscriptionChanged,
    /// A lock was put.
    OrganizationLocked,
    /// Locks were lifted.
    OrganizationUnlocked,
    /// Credit was given.
    GrantCreated,
    /// Credit comes to its end.
    GrantExpiring,
    /// Credit is used up.
    GrantExhausted,
    /// A billing period began.
    PeriodStarted,
}

impl Kind {
    /// Every kind, as they are documented.
    pub const ALL: [Self; 13] = [
        Self::UsageThreshold,
        Self::UsageRefused,
        Self::UsageOverage,
        Self::UsageReset,
        Self::TrialEnding,
        Self::TrialEnded,
        Self::SubscriptionChanged,
        Self::OrganizationLocked,
        Self::OrganizationUnlocked,
        Self::GrantCreated,
        Self::GrantExpiring,
        Self::GrantExhausted,
        Self::PeriodStarted,
    ];

    /// The type on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsageThreshold => "usage.threshold",
            Self::UsageRefused => "usage.refused",
            Self::UsageOverage => "usage.overage",
            Self::UsageReset => "usage.reset",
            Self::TrialEnding => "trial.ending",
            Self::TrialEnded => "trial.ended",
            Self::SubscriptionChanged => "subscription.changed",
            Self::OrganizationLocked => "organization.locked",
            Self::OrganizationUnlocked => "organization.unlocked",
            Self::GrantCreated => "grant.created",
            Self::GrantExpiring => "grant.expiring",
            Self::GrantExhausted => "grant.exhausted",
            Self::PeriodStarted => "period.started",
        }
    }

    /// The kind of that type on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What is told once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// So many percent of a limit are used or held.
    Threshold {
        /// How many, 1 to 100.
        percent: u8,
        /// What plan or override allow, without extra quota and credit.
        max: Quantity,
        /// Where the limit stands.
        figures: Figures,
    },
    /// Use went beyond a limit.
    Overage {
        /// What plan or override allow, without extra quota and credit.
        max: Quantity,
        /// Where the limit stands.
        figures: Figures,
    },
    /// Something was refused, for the first time in an hour.
    Refused {
        /// Of which meter.
        meter: MeterId,
        /// By what.
        by: RefusedBy,
        /// Where the limit stands, where one refused.
        figures: Option<Figures>,
    },
    /// An hour is over in which something was refused.
    RefusedInHour {
        /// What, by what, and in which hour.
        of: OfRefusal,
        /// How often: the node that decides knows it, else 1.
        count: u64,
    },
    /// All of a grant is used.
    GrantExhausted(GrantId),
    /// A grant will expire in so many days.
    GrantExpiring {
        /// Which.
        grant: GrantId,
        /// Of exactly 24 hours.
        days: u8,
    },
    /// The trial will end in so many days, or sooner.
    TrialEnding {
        /// When.
        ends_at: Time,
        /// Of exactly 24 hours.
        days: u8,
    },
}

/// Where a limit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Its meter.
    pub meter: MeterId,
    /// Its window.
    pub window: Window,
    /// Whether it refuses.
    pub enforcement: Enforcement,
    /// The limit with extra quota and credits (D6).
    pub limit: Quantity,
    /// All use in the window.
    pub used: Quantity,
    /// What reservations hold.
    pub held: Quantity,
    /// What is left.
    pub remaining: Quantity,
    /// What is used beyond it.
    pub overage: Quantity,
    /// When more becomes free, if time frees any.
    pub resets_at: Option<Time>,
}

impl Figures {
    pub(crate) const fn of(meter: MeterId, standing: &Standing, resets_at: Option<Time>) -> Self {
        Self {
            meter,
            window: standing.window,
            enforcement: standing.enforcement,
            limit: standing.limit(),
            used: standing.used,
            held: standing.held,
            remaining: standing.remaining(),
            overage: standing.overage(),
            resets_at,
        }
    }

    const fn answered(meter: MeterId, state: &LimitState) -> Self {
        Self {
            meter,
            window: state.window,
            enforcement: state.enforcement,
            limit: state.limit,
            used: state.used,
            held: state.held,
            remaining: state.remaining,
            overage: state.used.minus(state.limit),
            resets_at: state.resets_at,
        }
    }
}

/// What refused: one of a meter's limits, or what stands before all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusedBy {
    /// The limit of this window.
    Limit(Window),
    /// This; never [`Reason::QuotaExceeded`].
    Before(Reason),
}

impl RefusedBy {
    /// The reason in the answer.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Limit(_) => Reason::QuotaExceeded,
            Self::Before(reason) => reason,
        }
    }
}

/// What was told of a counter since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfCounter {
    /// The highest percentage; 0 without any.
    pub percent: u8,
    /// Whether that use went beyond the limit.
    pub overage: bool,
    /// What plan or override allowed then, without extra quota and credit; zero where nothing was told.
    pub max: Quantity,
}

/// What was told of a counter under a maximum that its limit had before, since it began: it may have that again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfMaximum {
    /// Of which meter.
    pub meter: MeterId,
    /// In which window.
    pub window: Window,
    /// Since which beginning of the counter; of another one it says nothing.
    pub epoch: u32,
    /// What was told.
    pub told: OfCounter,
}

/// Other maxima of a counter that are remembered at most. Of further ones nothing is told until it begins anew.
const MOST_MAXIMA: usize = 32;

impl OfCounter {
    /// As if all had been told that can be.
    const fn all(max: Quantity) -> Self {
        Self { percent: 100, overage: true, max }
    }
}

/// What was told of a counter while its limit had this maximum: another one is another limit, until it comes back.
pub(crate) fn told_under(account: &Account, meter: MeterId, window: Window, max: Quantity) -> OfCounter {
    let nothing = OfCounter { max, ..OfCounter::default() };
    let Some(counter) = account.meter(meter).and_then(|used| used.counter(window)) else { return nothing };
    if counter.told.max == max || counter.told == OfCounter::default() {
        return OfCounter { max, ..counter.told };
    }
    let is_of = |of: &&OfMaximum| (of.meter, of.window, of.epoch) == (meter, window, counter.epoch);
    let others: Vec<&OfMaximum> = account.maxima.iter().filter(is_of).collect();
    let known = others.iter().find(|of| of.told.max == max).map(|of| of.told);
    known.unwrap_or(if others.len() < MOST_MAXIMA { nothing } else { OfCounter::all(max) })
}

/// What was told of a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfGrant {
    /// How many days before its end last, if at all.
    pub expiring: Option<u8>,
    /// Whether that it is used up.
    pub exhausted: bool,
}

/// How many days before its end was told of a trial last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTrial {
    /// The end that was meant: of another one it is told anew.
    pub ends_at: Time,
    /// How many days before.
    pub days: u8,
}

/// A refusal that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OfRefusal {
    /// Of which meter.
    pub meter: MeterId,
    /// By what.
    pub by: RefusedBy,
    /// The beginning of the hour, UTC, in which it was told.
    pub hour: Time,
}

/// How long after an hour others are told how often something was refused in it, in microseconds: by then each node has said what
/// it has counted.
const SETTLING: i64 = 10 * SECOND;

impl OfRefusal {
    /// When others are told how often it was refused in its hour.
    pub(crate) const fn told_at(&self) -> Time {
        self.hour.plus(HOUR + SETTLING)
    }
}

/// Keeps that something was told.
pub(crate) fn note(account: &mut Account, notice: &Notice, at: Time) {
    match notice {
        Notice::Threshold { percent, max, figures } => {
            of_counter(account, figures, *max, |told| told.percent = told.percent.max(*percent));
        }
        Notice::Overage { max, figures } => of_counter(account, figures, *max, |told| told.overage = true),
        Notice::Refused { meter, by, .. } => {
            let new = OfRefusal { meter: *meter, by: *by, hour: at.floor(HOUR) };
            account.refusals.retain(|told| *told != new);
            account.refusals.push(new);
        }
        Notice::RefusedInHour { of, .. } => account.refusals.retain(|told| told != of),
        Notice::GrantExhausted(id) => of_grant(account, *id, |told| told.exhausted = true),
        Notice::GrantExpiring { grant, days } => of_grant(account, *grant, |told| told.expiring = Some(*days)),
        Notice::TrialEnding { ends_at, days } => {
            account.trial_told = Some(OfTrial { ends_at: *ends_at, days: *days });
        }
    }
}

fn of_counter(account: &mut Account, figures: &Figures, max: Quantity, note: impl FnOnce(&mut OfCounter)) {
    let (meter, window) = (figures.meter, figures.window);
    let mut told = told_under(account, meter, window, max);
    note(&mut told);
    let Some(counter) = account.meter_mut(meter).counter_mut(window) else { return };
    let (before, epoch) = (std::mem::replace(&mut counter.told, told), counter.epoch);
    if before.max == max || before == OfCounter::default() {
        return;
    }
    // Those of windows that are over say nothing any more, and this maximum is the counter's own now.
    account.maxima.retain(|of| (of.meter, of.window) != (meter, window) || (of.epoch == epoch && of.told.max != max));
    account.maxima.push(OfMaximum { meter, window, epoch, told: before });
}

fn of_grant(account: &mut Account, id: GrantId, note: impl FnOnce(&mut OfGrant)) {
    if let Some(grant) = account.grants.iter_mut().find(|grant| grant.id == id) {
        note(&mut grant.told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_on_the_wire() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name("usage.unheard"), None);
    }
}
