//! Where an organization stands against its limits (D6).

use serde::{Deserialize, Serialize};

use crate::account::{Account, MeterUse};
use crate::grant;
use crate::meter::{Aggregation, Meter};
use crate::notice::THRESHOLDS;
use crate::plan::{Enforcement, Limit, Max, MeterLimits, Plan, RefusalStatus};
use crate::quantity::Quantity;
use crate::reservation::Reservation;
use crate::time::Time;
use crate::window::Window;

/// A limit in force: the override's, else the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The most that may be used, before extra quota.
    pub max: Max,
    /// What happens beyond it.
    pub enforcement: Enforcement,
    /// How gateways answer a refusal by it.
    pub status: RefusalStatus,
    /// Whether an override set it.
    pub overridden: bool,
}

/// The limits in force on one meter of one organization.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    account: &'a Account,
    meter: &'a Meter,
    of_plan: Option<&'a MeterLimits>,
}

impl<'a> Limits<'a> {
    /// The limits of a meter under the plan and the overrides.
    pub fn new(account: &'a Account, plan: &'a Plan, meter: &'a Meter) -> Self {
        Self { account, meter, of_plan: plan.meter(meter.id) }
    }

    /// The meter.
    pub const fn meter(&self) -> &'a Meter {
        self.meter
    }

    /// The account that they are the limits of.
    pub(crate) const fn account(&self) -> &'a Account {
        self.account
    }

    /// The percentages of a window's limit at which others are told: the plan's, also where an override is in its place.
    pub(crate) fn thresholds(&self, window: Window) -> &'a [u8] {
        self.of_plan.and_then(|limits| limits.get(window)).map_or(&THRESHOLDS, |limit| &limit.thresholds)
    }

    /// Whether plan or override names the meter.
    pub fn is_named(&self) -> bool {
        self.of_plan.is_some() || self.account.overrides.iter().any(|o| o.meter == self.meter.id)
    }

    /// The limit of a window. Only what adds up slides: other meters have no minutes and hours.
    pub fn in_force(&self, window: Window) -> Option<InForce> {
        if window.sliding_length().is_some() && !self.meter.aggregation.is_rate() {
            return None;
        }
        let planned = self.of_plan.and_then(|limits| limits.get(window));
        match self.account.override_of(self.meter.id, window) {
            Some(o) => Some(InForce {
                max: o.max,
                enforcement: o.enforcement,
                status: planned.map_or_else(RefusalStatus::default, |limit| limit.status),
                overridden: true,
            }),
            None => planned.map(of_plan),
        }
    }

    /// The maximum of a window by plan or override, without extra quota and credit; zero where nothing limits it.
    pub(crate) fn max(&self, window: Window) -> Quantity {
        match self.in_force(window).map(|in_force| in_force.max) {
            Some(Max::Units(max)) => max,
            Some(Max::Unlimited) | None => Quantity::ZERO,
        }
    }

    /// The window of the period limit: billing period, else month, else lifetime, whichever has a limit first.
    pub fn period_window(&self) -> Option<Window> {
        Window::PERIOD.into_iter().find(|window| self.in_force(*window).is_some())
    }

    /// Where the meter stands in a window at `now`; `None` where nothing limits it.
    pub fn standing(&self, window: Window, now: Time) -> Option<Standing> {
        let in_force = self.in_force(window)?;
        let Max::Units(max) = in_force.max else { return None };
        let used = self.account.meter(self.meter.id);
        let standing = Standing {
            window,
            enforcement: in_force.enforcement,
            status: in_force.status,
            base: max,
            used: use_in(used, self.meter, window, now),
            drawn: Quantity::ZERO,
            held: self.held(window, |held| held.quantity),
            held_drawn: Quantity::ZERO,
            available: Quantity::ZERO,
        };
        Some(if self.period_window() == Some(window) { self.lifted(standing, used, now) } else { standing })
    }

    fn lifted(&self, standing: Standing, used: Option<&MeterUse>, now: Time) -> Standing {
        Standing {
            base: standing.base.saturating_add(self.account.extra_of(self.meter.id)),
            drawn: used.and_then(|u| u.counter(standing.window)).map_or(Quantity::ZERO, crate::account::Counter::drawn),
            held_drawn: self.held(standing.window, Reservation::from_grants),
            available: self.credit(now),
            ..standing
        }
    }

    /// What reservations hold in a window, or a part of each.
    pub fn held(&self, window: Window, part: impl Fn(&Reservation) -> Quantity) -> Quantity {
        let held = self.account.held_in(self.meter.id, window);
        held.fold(Quantity::ZERO, |sum, held| sum.saturating_add(part(held)))
    }

    fn credit(&self, now: Time) -> Quantity {
        match self.meter.aggregation.draws_grants() {
            true => grant::available(&self.account.grants, self.meter.id, now),
            false => Quantity::ZERO,
        }
    }
}

fn of_plan(limit: &Limit) -> InForce {
    InForce { max: limit.max, enforcement: limit.enforcement, status: limit.status, overridden: false }
}

/// What counts as used in a window at `now`.
pub fn use_in(used: Option<&MeterUse>, meter: &Meter, window: Window, now: Time) -> Quantity {
    let Some(used) = used else { return Quantity::ZERO };
    if meter.aggregation == Aggregation::Last {
        return used.level.map_or(Quantity::ZERO, |level| level.value);
    }
    match (window.sliding_length(), used.sliding(window)) {
        (Some(length), Some(sliding)) => sliding.used(length, now),
        _ => used.counter(window).map_or(Quantity::ZERO, |counter| counter.used),
    }
}

/// Where a meter stands against one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit's window.
    pub window: Window,
    /// Whether it refuses.
    pub enforcement: Enforcement,
    /// How gateways answer a refusal by it.
    pub status: RefusalStatus,
    /// Override or plan, plus extra quota.
    pub base: Quantity,
    /// All use in the window.
    pub used: Quantity,
    /// The part of it that came from grants.
    pub drawn: Quantity,
    /// What reservations hold.
    pub held: Quantity,
    /// The part of it that grants hold.
    pub held_drawn: Quantity,
    /// What grants can still give.
    pub available: Quantity,
}

/// What a use would take from a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// From grants, once the base is used.
    pub from_grants: Quantity,
    /// Beyond the limit.
    pub beyond: Quantity,
}

impl Claim {
    /// What is taken in all: only the period limit draws grants, and what is beyond several limits is counted once.
    pub fn largest(claims: impl IntoIterator<Item = Self>) -> Self {
        claims.into_iter().fold(Self::default(), |largest, claim| Self {
            from_grants: largest.from_grants.max(claim.from_grants),
            beyond: largest.beyond.max(claim.beyond),
        })
    }
}

impl Standing {
    /// What of the base is left.
    pub const fn free_base(&self) -> Quantity {
        self.base.minus(self.used.minus(self.drawn)).minus(self.held.minus(self.held_drawn))
    }

    /// What may still be used: limit − used − held, unless the base is overdrawn; then what grants can give.
    pub const fn remaining(&self) -> Quantity {
        let from_base = self.used.minus(self.drawn).saturating_add(self.held.minus(self.held_drawn));
        let is_overdrawn = from_base.units() > self.base.units();
        if is_overdrawn { self.available } else { self.limit().minus(self.used).minus(self.held) }
    }

    /// The limit to show: base, what grants gave since the counter began, hold, and can still give.
    pub const fn limit(&self) -> Quantity {
        self.base.saturating_add(self.drawn).saturating_add(self.held_drawn).saturating_add(self.available)
    }

    /// What lies beyond the limit already.
    pub const fn overage(&self) -> Quantity {
        self.used.minus(self.drawn).minus(self.base)
    }

    /// Takes `more` from the base first, then from grants; the rest lies beyond.
    pub fn claim(&self, more: Quantity) -> Claim {
        let beyond_base = more.minus(self.free_base());
        let from_grants = beyond_base.min(self.available);
        Claim { from_grants, beyond: beyond_base.minus(from_grants) }
    }
}
