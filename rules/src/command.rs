//! Everything that can be asked of an organization.

use serde::{Deserialize, Serialize};

use crate::account::{ExtraQuota, LockCause, Profile};
pub use crate::decide::adjust::{Adjustment, Room};
pub use crate::decide::charged::Charged;
pub use crate::decide::complete::Completable;
pub use crate::decide::correct::Void;
pub use crate::decide::reprice::{Repriced, Repricing};
use crate::id::{
    CustomerId, DecisionId, EventId, EventSource, EventType, GrantId, MeterId, OrganizationKey, PlanId, ReservationId,
    SubscriptionId,
};
use crate::meter::Measure;
use crate::outcome::VoidedEvent;
use crate::period::{Anchor, Zone};
use crate::plan::{Enforcement, Max};
use crate::price::LlmUse;
use crate::quantity::Quantity;
use crate::subscription::News;
use crate::time::Time;
use crate::timing::Calls;
use crate::window::{Window, WindowSet};

/// One thing to do for one organization, with the time as the only thing missing.
#[derive(Clone, Debug)]
pub enum Command {
    /// Creates the organization.
    Create(NewOrganization),
    /// Changes who it is.
    Update(ProfileChange),
    /// Asks whether so much may be used now of all of these, and uses it if so.
    Consume(Consume),
    /// Records what has happened.
    Record(Event),
    /// Asks whether so much may be used, and holds it if so.
    Reserve(Reserve),
    /// Holds on.
    Extend {
        /// The reservation.
        id: ReservationId,
        /// For how long from now, in microseconds.
        ttl: i64,
    },
    /// Records the true quantity of a reservation and ends it.
    Commit(Commit),
    /// Gives back what a reservation holds.
    Release(ReservationId),
    /// Moves it to a version of a plan.
    ChangePlan {
        /// The version.
        plan: PlanId,
        /// Whether its overrides stay.
        keep_overrides: bool,
        /// Whether it waits for the end of the billing period.
        at_period_end: bool,
    },
    /// Counts billing periods from another date.
    MoveCycle {
        /// From where.
        start: CycleStart,
        /// Whether a member asks, who may not bring the next reset forward as often as wanted.
        by_member: bool,
    },
    /// Lets a trial end at another time.
    SetTrial {
        /// When.
        ends_at: Time,
    },
    /// Sets the own clock of a test organization.
    SetClock(Time),
    /// Sets a limit in place of the plan's.
    SetOverride {
        /// The meter.
        meter: MeterId,
        /// The window.
        window: Window,
        /// The most that may be used.
        max: Max,
        /// What happens beyond it.
        enforcement: Enforcement,
        /// Until when.
        until: Option<Time>,
    },
    /// Takes such a limit away.
    ClearOverride {
        /// The meter.
        meter: MeterId,
        /// The window.
        window: Window,
    },
    /// Sets the period limits of meters, on top of a plan where one is given.
    SetLimits {
        /// The version of a plan to move to, now; the overrides from before go.
        plan: Option<PlanId>,
        /// Each meter once.
        limits: Vec<PeriodLimit>,
    },
    /// Sets the standing additions to meters' period limits: each the whole addition, not an increment; each meter once.
    SetExtra(Vec<ExtraQuota>),
    /// Gives credit.
    Grant(NewGrant),
    /// Gives credit that ends with the billing period that is open.
    GrantForPeriod(NewGrant),
    /// Takes back what is left of a grant.
    VoidGrant(GrantId),
    /// Stops consumption.
    Lock {
        /// In whose name.
        cause: LockCause,
        /// Why, where somebody says so.
        reason: Option<String>,
    },
    /// Lifts every lock.
    Unlock,
    /// Corrects what was counted.
    Adjust(Adjustment),
    /// Takes back what an event counted.
    Void(Voiding),
    /// Says how long something took that has been recorded, and how it ended.
    Complete(Completing),
    /// Corrects what was charged for tokens.
    Reprice(Repricing),
    /// Sets counters to zero.
    Reset {
        /// These meters, or all.
        meters: Option<Vec<MeterId>>,
        /// These windows.
        windows: WindowSet,
    },
    /// Takes in what was told of its subscription.
    SetSubscription(Box<News>),
    /// Links it with a subscription and a customer of Stripe's; with neither it is on its own.
    LinkSubscription {
        /// The subscription.
        id: Option<SubscriptionId>,
        /// The customer.
        customer: Option<CustomerId>,
    },
    /// Deletes it, for good.
    Delete,
    /// Adds an entry of the application's own to the audit log.
    Append(Note),
    /// Marks an entry of the audit log as dealt with.
    Resolve {
        /// Its place in the organization's chain.
        seq: u64,
        /// What became of it.
        note: String,
        /// The note that it has already, which the store looks up.
        before: Option<String>,
    },
    /// Lets what is due take effect, nothing else.
    Touch,
}

/// An event that is to be void.
#[derive(Clone, Debug)]
pub enum Voiding {
    /// The store is to find it: its source and its id as they are shown, and what they name.
    Asked(String, String, EventName),
    /// As the store found it.
    Found(Void),
}

/// A record that is to be completed.
#[derive(Clone, Debug)]
pub enum Completing {
    /// The store is to find it.
    Asked(EventName, Completion),
    /// As the store found it.
    Found(Box<Completable>),
}

/// Which event.
#[derive(Clone, Debug)]
pub enum EventName {
    /// By its source and id.
    Event(EventSource, EventId),
    /// A decision on a meter, by the caller's id.
    Decision(MeterId, DecisionId),
    /// By its place in the journal.
    Place(VoidedEvent),
}

/// From where billing periods are to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleStart {
    /// What the wall clock of the organization's zone shows.
    Civil(Anchor),
    /// An instant.
    Instant(Time),
}

impl CycleStart {
    /// What is kept of it.
    pub fn anchor(self, zone: &Zone) -> Anchor {
        match self {
            Self::Civil(anchor) => anchor,
            Self::Instant(time) => Anchor::at(time, zone),
        }
    }
}

/// An entry of the application's own for the audit log.
#[derive(Clone, Debug)]
pub struct Note {
    /// What was done; none of Metergate's own [actions](crate::audit::actions).
    pub action: String,
    /// To which kind of thing: one of [`CATEGORIES`](crate::audit::actions::CATEGORIES).
    pub category: String,
    /// What stood before: the text of a JSON object.
    pub before: String,
    /// What stands now: the text of a JSON object.
    pub after: String,
    /// What else there is to say: the text of a JSON object.
    pub details: String,
}

impl Command {
    /// Sets the extra quota of one meter.
    pub fn extra(meter: MeterId, quantity: Quantity) -> Self {
        Self::SetExtra(vec![ExtraQuota { meter, quantity }])
    }
}

/// A period limit to set in place of a plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodLimit {
    /// The meter.
    pub meter: MeterId,
    /// The most that may be used; above zero.
    pub max: Max,
}

/// A new organization.
#[derive(Clone, Debug)]
pub struct NewOrganization {
    /// Who it is; `created_at` is set when it is created.
    pub profile: Profile,
    /// The version of its plan.
    pub plan: PlanId,
    /// Of one that a report of its use creates: when that use began. Its billing periods are counted from there, where it lies
    /// in the past.
    pub first_used: Option<Time>,
}

/// What of a profile changes.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// A new key.
    pub key: Option<OrganizationKey>,
    /// A new name.
    pub name: Option<String>,
    /// A new zone: day and month counters are carried over.
    pub zone: Option<Zone>,
    /// New metadata, the text of a JSON object.
    pub metadata: Option<String>,
}

/// A decision asked for: on one meter, or on several together.
#[derive(Clone, Debug)]
pub struct Consume {
    /// What to use of which meters; all or nothing.
    pub items: Vec<Item>,
    /// What the caller said about it: the text of a JSON object, empty without any.
    pub properties: String,
    /// How long it took, in milliseconds, and how it ended.
    pub outcome: Completion,
    /// What it said of a language model's tokens, which are to be priced.
    pub llm: Option<Box<LlmUse>>,
}

/// A reservation asked for.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// What to hold.
    pub item: Item,
    /// For how long, in microseconds: [`SHORTEST`](crate::reservation::SHORTEST) to [`LONGEST`](crate::reservation::LONGEST).
    pub ttl: i64,
    /// What the caller said about it: the text of a JSON object, empty without any.
    pub properties: String,
    /// What it said of a language model's tokens, whose cost is held with them.
    pub llm: Option<Box<LlmUse>>,
}

/// The true quantity of a reservation.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The reservation.
    pub id: ReservationId,
    /// What was used: decimal text, since only the reservation tells the meter.
    pub quantity: Box<str>,
    /// How long it took and how it ended.
    pub outcome: Completion,
    /// The calls that used it, where it was held for several.
    pub calls: Option<Box<Calls>>,
    /// What the caller says of it now, to which the store adds what was said when it was made.
    pub properties: String,
    /// What both say of a language model's tokens, which the store finds in them.
    pub llm: Option<Box<LlmUse>>,
}

/// So much of one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The meter.
    pub meter: MeterId,
    /// What it is told.
    pub measure: Measure,
    /// The values of the meter's dimensions as reports group by them: a JSON object, empty without dimensions.
    pub dimensions: String,
}

/// How long something took and how it ended (M8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Milliseconds.
    pub duration_ms: Option<u32>,
    /// An HTTP status, or 0 and above as the application counts them.
    pub status: Option<u16>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unique within its source.
    pub id: EventId,
    /// Where it comes from.
    pub source: EventSource,
    /// Which meters count it.
    pub event_type: EventType,
    /// When it happened; without one it happens now.
    pub time: Option<Time>,
    /// Its data: the text of a JSON object, empty without any.
    pub data: String,
    /// What it tells each meter.
    pub items: Vec<Item>,
    /// How long it took and how it ended.
    pub outcome: Completion,
    /// The calls that it stands for, where they are several: then it has no outcome of its own.
    pub calls: Option<Box<Calls>>,
    /// What it says of a language model's tokens, until they are priced.
    pub llm: Option<Box<LlmUse>>,
}

/// Credit to give.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// The meter.
    pub meter: MeterId,
    /// How much; above zero.
    pub amount: Quantity,
    /// Lower is drawn first.
    pub priority: i32,
    /// From when; now without one.
    pub starts_at: Option<Time>,
    /// Until when, exclusively.
    pub expires_at: Option<Time>,
    /// Why.
    pub reason: String,
}
