//! One organization as the rules see it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::grant::{self, Draw, Grant};
use crate::id::{GrantId, MeterId, OrganizationId, OrganizationKey, PlanId};
use crate::notice::{OfCounter, OfMaximum, OfRefusal, OfTrial};
use crate::outcome::{PricedAgain, VoidedEvent};
use crate::period::{Anchor, Grid, Zone};
use crate::plan::{Enforcement, Max};
use crate::quantity::Quantity;
use crate::reservation::Reservation;
use crate::subscription::Subscription;
use crate::time::{Span, Time};
use crate::window::{Sliding, Window};

/// Times that were priced again and are known at most: of one before them a void gives back what was charged at first.
pub const MOST_PRICED_AGAIN: usize = 64;

/// Who the organization is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The key that the team chose.
    pub key: OrganizationKey,
    /// Its name for people.
    pub name: String,
    /// The zone of its days, months and billing periods.
    pub zone: Zone,
    /// Whether it is a test organization, for good.
    pub test: bool,
    /// What the team keeps with it: the text of a JSON object.
    pub metadata: String,
    /// When it was created.
    pub created_at: Time,
}

/// Where the organization stands with its subscription. Locks are apart from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In its trial.
    Trial,
    /// In good standing.
    Active,
    /// A payment is missing.
    PastDue,
    /// Its subscription has ended.
    Canceled,
}

/// A trial that an organization is in, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialState {
    /// Its end.
    pub ends_at: Time,
    /// Whether the end has taken effect.
    pub over: bool,
}

/// Who put a lock on an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LockCause {
    /// An operator.
    Operator,
    /// The end of a trial.
    Trial,
    /// A subscription that is not paid.
    Billing,
}

/// A stop on an organization's consumption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Who put it.
    pub cause: LockCause,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// Since when.
    pub since: Time,
}

/// A limit for one organization in place of its plan's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The meter.
    pub meter: MeterId,
    /// The window.
    pub window: Window,
    /// The most that may be used.
    pub max: Max,
    /// What happens beyond it.
    pub enforcement: Enforcement,
    /// Until when, exclusively; without one until it is cleared.
    pub until: Option<Time>,
}

/// A standing addition to one meter's period limit. *Set*, never added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraQuota {
    /// The meter.
    pub meter: MeterId,
    /// How much.
    pub quantity: Quantity,
}

/// The bounds of the windows that are open now, stored when they open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindows {
    /// The calendar day.
    pub day: Span,
    /// The calendar month.
    pub month: Span,
    /// The billing period.
    pub period: Span,
}

impl OpenWindows {
    /// The bounds of a counted window. A lifetime is bounded by what a [`Time`] can be.
    pub const fn get(&self, window: Window) -> Span {
        match window {
            Window::Day => self.day,
            Window::Month => self.month,
            Window::BillingPeriod => self.period,
            Window::Minute | Window::Hour | Window::Lifetime => Span { start: Time::MIN, end: Time::MAX },
        }
    }
}

/// What one meter used in one window that begins and ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// All use since the counter began, from the base and from grants.
    pub used: Quantity,
    /// The part of `used` that came from grants, each once: a correction returns to a grant no more than this.
    pub draws: Vec<Draw>,
    /// Use by events whose time lies in the next window already (M5 takes them five minutes ahead).
    pub ahead: Quantity,
    /// Counts its beginnings, by a new window or a reset; an entry names it, so that a void finds its counter.
    pub epoch: u32,
    /// Its last reset in this window: events from before it do not touch it.
    pub reset_at: Option<Time>,
    /// What others were told of it since it began.
    pub told: OfCounter,
}

impl Counter {
    /// The part of its use that came from grants.
    pub fn drawn(&self) -> Quantity {
        grant::total(&self.draws)
    }

    /// The part that came from this grant.
    pub fn drawn_from(&self, id: GrantId) -> Quantity {
        self.draws.iter().find(|draw| draw.grant == id).map_or(Quantity::ZERO, |draw| draw.quantity)
    }
}

/// A level, with the time of the event that set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The level.
    pub value: Quantity,
    /// The latest event wins, not the latest arrival.
    pub time: Time,
}

/// All use of one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterUse {
    /// The meter.
    pub meter: MeterId,
    /// Decisions of the last minute.
    pub minute: Sliding,
    /// Decisions of the last hour.
    pub hour: Sliding,
    /// Day, month, billing period and lifetime, as in [`Window::COUNTED`].
    pub counters: [Counter; 4],
    /// The level of a `last` meter, in every window.
    pub level: Option<Level>,
}

impl MeterUse {
    /// Nothing used yet.
    pub fn new(meter: MeterId) -> Self {
        Self {
            meter,
            minute: Sliding::default(),
            hour: Sliding::default(),
            counters: std::array::from_fn(|_| Counter::default()),
            level: None,
        }
    }

    /// Which beginning each counter is at, as in [`Window::COUNTED`].
    pub fn epochs(&self) -> [u32; 4] {
        self.counters.each_ref().map(|counter| counter.epoch)
    }

    /// The counter of a window; the sliding ones have none.
    pub fn counter(&self, window: Window) -> Option<&Counter> {
        self.counters.get((window as usize).checked_sub(Window::Day as usize)?)
    }

    /// The counter of a window; the sliding ones have none.
    pub fn counter_mut(&mut self, window: Window) -> Option<&mut Counter> {
        self.counters.get_mut((window as usize).checked_sub(Window::Day as usize)?)
    }

    /// The sliding use of a minute or an hour.
    pub const fn sliding(&self, window: Window) -> Option<&Sliding> {
        match window {
            Window::Minute => Some(&self.minute),
            Window::Hour => Some(&self.hour),
            _ => None,
        }
    }
}

/// A change of plan that is yet to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// The version.
    pub plan: PlanId,
    /// Whether the overrides stay.
    pub keep_overrides: bool,
    /// When: the end of a billing period.
    pub at: Time,
}

/// The state of one organization: the fold of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The organization.
    pub id: OrganizationId,
    /// Who it is.
    pub profile: Arc<Profile>,
    /// The version of the plan that it is on.
    pub plan: PlanId,
    /// Where it stands with its subscription.
    pub status: Status,
    /// Its trial, also after it.
    pub trial: Option<TrialState>,
    /// The locks on it, at most one of each cause.
    pub locks: Vec<Lock>,
    /// What is known of its subscription, if it ever had one.
    pub subscription: Option<Box<Subscription>>,
    /// From where its billing periods are counted.
    pub anchor: Anchor,
    /// The windows that are open.
    pub windows: OpenWindows,
    /// Where the open billing period is shown to begin, if not at its start: after a move of the cycle.
    pub shown_start: Option<Time>,
    /// When a member last brought the next reset forward.
    pub brought_forward: Option<Time>,
    /// A change of plan that waits for the end of the period.
    pub scheduled: Option<Scheduled>,
    /// Its own time, of a test organization that has one.
    pub clock: Option<Time>,
    /// Use by meter, in order of meter.
    pub meters: Vec<Arc<MeterUse>>,
    /// All grants, in order of creation.
    pub grants: Vec<Grant>,
    /// Limits in place of the plan's.
    pub overrides: Vec<Override>,
    /// Additions to period limits.
    pub extra: Vec<ExtraQuota>,
    /// The reservations that hold, in order of creation.
    pub reservations: Vec<Reservation>,
    /// How many reservations there have been.
    pub reserved: u32,
    /// Events that are void, as long as another void of them is conceivable.
    pub voided: Arc<Vec<VoidedEvent>>,
    /// By which prices which times were priced again, in order: by the last that has a use this is charged. As long as a void of
    /// it is conceivable, the newest [`MOST_PRICED_AGAIN`].
    pub priced_again: Arc<Vec<PricedAgain>>,
    /// What others were told of limits under maxima that these had before in the same window.
    pub maxima: Vec<OfMaximum>,
    /// The refusals that others were told, each until its hour is over and they were told how many there were in it.
    pub refusals: Vec<OfRefusal>,
    /// What others were told of the end of its trial.
    pub trial_told: Option<OfTrial>,
    /// The time of its last entry: an organization's time never runs back.
    pub time: Time,
    /// How often something but its use changed: the `v<n>` of its entity tag.
    pub changes: u64,
}

impl Account {
    /// What a meter has used; `None` if nothing ever.
    pub fn meter(&self, meter: MeterId) -> Option<&MeterUse> {
        self.meters.binary_search_by_key(&meter, |used| used.meter).ok().map(|i| &*self.meters[i])
    }

    /// What a meter has used, for counting more.
    pub fn meter_mut(&mut self, meter: MeterId) -> &mut MeterUse {
        let at = match self.meters.binary_search_by_key(&meter, |used| used.meter) {
            Ok(at) => at,
            Err(at) => {
                self.meters.insert(at, Arc::new(MeterUse::new(meter)));
                at
            }
        };
        Arc::make_mut(&mut self.meters[at])
    }

    /// The boundaries of its billing periods to come.
    pub fn grid(&self) -> Grid<'_> {
        Grid { anchor: self.anchor, zone: &self.profile.zone }
    }

    /// The open billing period as it is shown.
    pub fn shown_period(&self) -> Span {
        Span { start: self.shown_start.unwrap_or(self.windows.period.start), ..self.windows.period }
    }

    /// Whether nothing was recorded and nothing given, so that it could have been created at any time.
    pub fn is_untouched(&self) -> bool {
        let used = !self.meters.is_empty() || self.reserved > 0;
        !used && self.grants.is_empty() && self.overrides.is_empty() && self.subscription.is_none()
    }

    /// Whether setting its clock to this lets time pass. The first setting of one that is untouched does not: it is as if it
    /// had been created then.
    pub fn goes_forward(&self, to: Time) -> bool {
        self.clock.map_or_else(|| !self.is_untouched() && self.time <= to, |clock| clock <= to)
    }

    /// The time at which something happens to it that happens at `now`: its own clock's, where it has one.
    pub fn own_time(&self, now: Time) -> Time {
        self.clock.unwrap_or(now).max(self.time)
    }

    /// The lock of a cause.
    pub fn lock(&self, cause: LockCause) -> Option<&Lock> {
        self.locks.iter().find(|lock| lock.cause == cause)
    }

    /// The override of a meter's limit in a window. One whose time is up is taken away by [`crate::due`].
    pub fn override_of(&self, meter: MeterId, window: Window) -> Option<&Override> {
        self.overrides.iter().find(|o| o.meter == meter && o.window == window)
    }

    /// Whether it was given something of its own on a meter that is still in force or yet to come at `now`: an override, extra
    /// quota, or credit.
    pub fn has_own(&self, meter: MeterId, now: Time) -> bool {
        let in_force = |own: &Override| own.meter == meter && own.until.is_none_or(|end| now < end);
        let left = |grant: &Grant| grant.meter == meter && !grant.is_over(now) && !grant.left().is_zero();
        self.overrides.iter().any(in_force) || !self.extra_of(meter).is_zero() || self.grants.iter().any(left)
    }

    /// The reservations that hold something of a meter in a window: those that were made in it, in the sliding ones all.
    pub fn held_in(&self, meter: MeterId, window: Window) -> impl Iterator<Item = &Reservation> {
        let open = self.windows.get(window);
        let made = self.reservations.iter().filter(move |held| open.contains(held.at));
        made.filter_map(move |held| held.on(meter))
    }

    /// The extra quota of a meter, zero without one.
    pub fn extra_of(&self, meter: MeterId) -> Quantity {
        self.extra.iter().find(|extra| extra.meter == meter).map_or(Quantity::ZERO, |extra| extra.quantity)
    }
}
