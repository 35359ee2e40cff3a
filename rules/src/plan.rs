//! Plans and limits.

use serde::{Deserialize, Serialize};

use crate::id::{MeterId, PlanId, PlanKey, PriceId};
use crate::price::Markup;
use crate::quantity::Quantity;
use crate::window::Window;

/// What happens to use beyond a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Hard,
    /// It is allowed and counted as overage.
    Soft,
}

/// A maximum, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Max {
    /// At most so much.
    Units(Quantity),
    /// Never refuses, still counts.
    Unlimited,
}

/// The status that gateways give a refusal by a limit: 429, or 402 where paying helps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalStatus {
    /// 429 Too Many Requests.
    #[default]
    TooManyRequests,
    /// 402 Payment Required.
    PaymentRequired,
}

/// A limit on one meter in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The most that may be used in the window.
    pub max: Max,
    /// What happens beyond it.
    pub enforcement: Enforcement,
    /// How gateways answer a refusal by it.
    pub status: RefusalStatus,
    /// Percentages of the limit at which a notification fires, ascending.
    pub thresholds: Vec<u8>,
}

/// The limits of one meter, by window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterLimits {
    /// The meter.
    pub meter: MeterId,
    limits: [Option<Limit>; 6],
}

impl MeterLimits {
    /// No limits yet: the meter is named, so it is entitled.
    pub const fn new(meter: MeterId) -> Self {
        Self { meter, limits: [const { None }; 6] }
    }

    /// Sets the limit of a window.
    pub fn set(&mut self, window: Window, limit: Limit) {
        self.limits[window as usize] = Some(limit);
    }

    /// The limit of a window.
    pub const fn get(&self, window: Window) -> Option<&Limit> {
        self.limits[window as usize].as_ref()
    }
}

/// What a trial does when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrialEnd {
    /// The organization goes on, active.
    Continue,
    /// It is locked with cause `trial`.
    Lock,
    /// It moves to the newest version of another plan.
    Plan(PlanKey),
}

/// The trial that a new organization on a plan begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its length in days of exactly 24 hours.
    pub days: u16,
    /// What happens at its end.
    pub on_end: TrialEnd,
}

/// Where an organization's billing periods begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cycle {
    /// At sign-up.
    #[default]
    SignUp,
    /// On the first day of the month.
    FirstOfMonth,
}

/// What callers get where it cannot be decided, since the place where a meter's use is counted cannot be asked (D13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Degraded {
    /// An error that says when to ask again.
    #[default]
    Deny,
    /// It is allowed, and said that it was not decided.
    Allow,
    /// So much of it is allowed, for each node, organization and minute; beyond that, as [`Self::Deny`].
    Safe(Quantity),
}

/// One immutable version of a plan, as the rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The store's number of this version.
    pub id: PlanId,
    /// The plan's key.
    pub key: PlanKey,
    /// Counted from 1.
    pub version: u32,
    /// Limits of the meters that it names, by meter.
    pub meters: Vec<MeterLimits>,
    /// Whether meters that it does not name may be used, without limit.
    pub other_meters: bool,
    /// The trial of a new organization.
    pub trial: Option<Trial>,
    /// Where billing periods begin.
    pub cycle: Cycle,
    /// What callers get where a meter cannot be decided; of one that is not here [`Degraded::Deny`].
    pub degraded: Vec<(MeterId, Degraded)>,
    /// What is added to the price of a language model's tokens.
    pub llm_markup: Markup,
    /// Days of 24 hours in which a missing payment stops nothing; 7 unless the plan says otherwise.
    pub grace_days: u16,
    /// The prices of Stripe's that stand for it.
    pub stripe_prices: Vec<PriceId>,
    /// The plan that follows the end of a subscription to this one; `free` unless the plan says otherwise.
    pub fallback: PlanKey,
}

impl Plan {
    /// What callers get where a meter cannot be decided.
    pub fn degraded(&self, meter: MeterId) -> Degraded {
        self.degraded.iter().find(|(of, _)| *of == meter).map_or_else(Degraded::default, |(_, policy)| *policy)
    }

    /// The limits of a meter, where the plan names it.
    pub fn meter(&self, meter: MeterId) -> Option<&MeterLimits> {
        self.meters.iter().find(|limits| limits.meter == meter)
    }
}
