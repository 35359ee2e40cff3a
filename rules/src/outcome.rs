//! What was decided: the entries that the journal keeps and that the account is the fold of.
//!
//! An entry holds all that [`crate::apply`] needs, so that replaying it years later under another catalogue gives the
//! same account.

use serde::{Deserialize, Serialize};

use crate::account::{Account, Lock, Status};
use crate::audit::Draft;
use crate::command::{Completion, Event, Item};
use crate::grant::Draw;
use crate::id::{GrantId, MeterId, PlanId, ReservationId};
use crate::meter::Measure;
use crate::notice::Notice;
use crate::plan::{Enforcement, RefusalStatus};
use crate::price::Cost;
use crate::quantity::Quantity;
use crate::reservation::{Reservation, State};
use crate::time::{Span, Time};
use crate::timing::{Calls, Timed};
use crate::window::{Window, WindowSet};

mod change;

pub use change::{Change, Correction, PlanState, PricedAgain, Rebased, VoidedEvent};

/// One thing that happened to an organization, at its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When: of an effect that fell due, its due time; else the time of the decision.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What can happen to an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Time brought something about.
    Due(Effect),
    /// A decision, allowed or, under an id, refused.
    Decided(Decided),
    /// An event was recorded.
    Recorded(Recorded),
    /// An operator or a member changed something.
    Changed(Box<Change>),
    /// A reservation was made, or went on in its life.
    Reservation(Box<Hold>),
    /// Nothing: the account as it stood. From here on the past can be told when what went before is no longer kept.
    Image(Box<Account>),
    /// It was said how something ended that had been recorded.
    Completed(Box<Completed>),
    /// Others are told something that follows from use or from time: from now on they have been.
    Noticed(Notice),
}

impl What {
    /// What it used.
    pub fn uses(&self) -> &[Use] {
        match self {
            Self::Decided(decided) => &decided.uses,
            Self::Recorded(recorded) => &recorded.uses,
            Self::Reservation(hold) => match &**hold {
                Hold::Settled(settled) => &settled.uses,
                Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => &[],
            },
            Self::Changed(change) => match &**change {
                Change::Corrected(correction) => &correction.uses,
                _ => &[],
            },
            Self::Due(_) | Self::Image(_) | Self::Completed(_) | Self::Noticed(_) => &[],
        }
    }

    /// Whether a billing period begins with it.
    pub const fn begins_period(&self) -> bool {
        matches!(self, Self::Due(Effect::PeriodBegan(_)))
    }

    /// Whether nothing is left of the organization after it.
    pub fn deletes(&self) -> bool {
        matches!(self, Self::Changed(change) if **change == Change::Deleted)
    }
}

/// What time brings about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A calendar day began.
    DayBegan(Span),
    /// A calendar month began.
    MonthBegan(Span),
    /// A billing period began.
    PeriodBegan(Span),
    /// The trial ended; the status after it, the lock or the plan that follows.
    TrialEnded {
        /// The status from now on.
        status: Status,
        /// The lock that begins.
        lock: Option<Lock>,
        /// The plan that follows.
        plan: Option<PlanId>,
    },
    /// An override's time was up.
    OverrideEnded {
        /// The meter.
        meter: MeterId,
        /// The window.
        window: Window,
    },
    /// A grant's time was up.
    GrantExpired {
        /// The grant.
        grant: GrantId,
        /// What was left of it and is gone.
        lost: Quantity,
    },
    /// A reservation's time was up.
    ReservationLapsed(ReservationId),
    /// A change of plan that had waited.
    PlanChanged(PlanState),
    /// The time was up in which a missing payment could come; the lock that begins, unless there is one of billing's.
    GraceEnded(Option<Lock>),
}

/// What one decision or event did to one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The meter.
    pub meter: MeterId,
    /// What it was told.
    pub measure: Measure,
    /// The event's own time.
    pub time: Time,
    /// The counters that it touched. Of a distinct value, only those in which it is new.
    pub windows: WindowSet,
    /// The counters of the next window that it touched.
    pub ahead: WindowSet,
    /// Epochs of day, month, period and lifetime counters when it touched them.
    pub epochs: [u32; 4],
    /// Whether it counts in minutes and hours: decisions do, events do not.
    pub sliding: bool,
    /// What came from grants.
    pub draws: Vec<Draw>,
    /// What went beyond a limit.
    pub overage: Quantity,
    /// The values of the meter's dimensions.
    pub dimensions: String,
    /// Of a distinct value: the start of the bucket in which it is remembered.
    pub bucket: Option<Time>,
    /// Of what something cost: the meter whose use brought it about, with which it stands and is taken back.
    pub follows: Option<MeterId>,
}

/// An answered decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// What was used; empty for a refusal.
    pub uses: Vec<Use>,
    /// What was asked for and refused, so that it can be decided anew under other terms; empty where it was allowed.
    pub refused: Vec<Asked>,
    /// The answer, kept where the caller gave an id, so that repeating it gets the same.
    pub verdicts: Option<Vec<Verdict>>,
    /// What the caller said about it.
    pub properties: String,
    /// How long it took and how it ended.
    pub outcome: Completion,
}

/// What was asked for of one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The meter, and what it was told.
    pub item: Item,
    /// Of a value that counts once: the windows in which it had been seen.
    pub seen: WindowSet,
    /// Of what it would have cost: the meter whose use that follows.
    pub follows: Option<MeterId>,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The event as it arrived; its `items` are moved into `uses`.
    pub event: Event,
    /// What it did.
    pub uses: Vec<Use>,
}

/// How something ended that had been recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The block of the journal in which that stands.
    pub sequence: u64,
    /// Its place in the block.
    pub offset: u32,
    /// How often that was completed before.
    pub step: u8,
    /// All that is known now.
    pub outcome: Completion,
    /// The duration, where it had not been known.
    pub timed: Option<Timed>,
}

/// A step in the life of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    /// It holds from now on.
    Made {
        /// What it holds.
        reservation: Reservation,
        /// What the caller said about it: the text of a JSON object, empty without any. It is large, so the account has it not.
        properties: String,
    },
    /// It holds on.
    Extended {
        /// Which.
        id: ReservationId,
        /// Until when.
        ends_at: Time,
    },
    /// The true quantity was recorded.
    Settled(Settled),
    /// It was given back.
    Released(ReservationId),
}

/// The true quantity of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which.
    pub id: ReservationId,
    /// What it used, in the windows in which it was held; after it what that cost.
    pub uses: Vec<Use>,
    /// What the caller said about it.
    pub properties: String,
    /// How long it took and how it ended.
    pub outcome: Completion,
    /// The calls that used it, where it was held for several.
    pub calls: Option<Box<Calls>>,
}

impl Settled {
    /// What of the meter was used that was reserved.
    pub fn quantity(&self) -> Option<Quantity> {
        match self.uses.first()?.measure {
            Measure::Add(quantity) => Some(quantity),
            _ => None,
        }
    }
}

/// Why a decision was a refusal, in the order in which they take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An operator locked the organization.
    OrganizationLocked,
    /// Its trial is over.
    TrialExpired,
    /// Its subscription is not paid.
    SubscriptionInactive,
    /// Its plan does not have the meter.
    NotEntitled,
    /// A limit would be passed.
    QuotaExceeded,
}

impl Reason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrganizationLocked => "organization-locked",
            Self::TrialExpired => "trial-expired",
            Self::SubscriptionInactive => "subscription-inactive",
            Self::NotEntitled => "not-entitled",
            Self::QuotaExceeded => "quota-exceeded",
        }
    }
}

/// The state of one limit in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitState {
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
    /// When more becomes free, if time frees any.
    pub resets_at: Option<Time>,
    /// Whether this limit would have been passed.
    pub violated: bool,
}

/// The answer about one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The meter.
    pub meter: MeterId,
    /// Why not; `None` if allowed.
    pub reason: Option<Reason>,
    /// What went or would go beyond a soft limit.
    pub overage: Quantity,
    /// Its limits, shortest window first; unlimited ones are left out.
    pub limits: Vec<LimitState>,
    /// When to ask again; `None` where waiting cannot help.
    pub retry_at: Option<Time>,
    /// The status for gateways where the reason is a limit.
    pub status: RefusalStatus,
    /// What its tokens cost, or would.
    pub cost: Option<Box<CostVerdict>>,
}

/// What the tokens of a decision cost, and how the limits of the meter stand that counts it. Where one of them is passed, that
/// is the decision's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostVerdict {
    /// The meter that counts it.
    pub meter: MeterId,
    /// The cost.
    pub cost: Cost,
    /// What of it went or would go beyond a soft limit.
    pub overage: Quantity,
    /// The meter's limits, shortest window first; unlimited ones are left out.
    pub limits: Vec<LimitState>,
}

impl Verdict {
    /// That of a decision which nobody made: it passes, and of what is left nothing is known.
    pub const fn undecided(meter: MeterId) -> Self {
        let (overage, status) = (Quantity::ZERO, RefusalStatus::TooManyRequests);
        Self { meter, reason: None, overage, limits: Vec::new(), retry_at: None, status, cost: None }
    }
}

/// What deciding a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened, in order: first what fell due, then what the command did. Empty for a refusal without an id.
    pub entries: Vec<Entry>,
    /// The answer to the caller.
    pub reply: Reply,
    /// What the audit log keeps of it: one entry for a command that changed something, and those that time wrote.
    pub audit: Vec<Draft>,
}

/// The answer to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// About each meter that was asked for.
    Decided(Vec<Verdict>),
    /// The event counts.
    Recorded,
    /// The record has what was said; all that is known of how it ended, and whether something of it is new.
    Completed {
        /// All that is known.
        outcome: Completion,
        /// Whether something of it is new.
        is_new: bool,
    },
    /// The change is made, or was already so.
    Done,
    /// The grant was given this number.
    Granted(GrantId),
    /// About a reservation.
    Reserved(Box<Reserved>),
}

/// A reservation after what was asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// As it is, or as it was last; `None` where it was refused.
    pub reservation: Option<Reservation>,
    /// Whether it was made by this.
    pub is_made: bool,
    /// Where it is in its life.
    pub state: State,
    /// What is held, or was committed.
    pub quantity: Quantity,
    /// About its meter.
    pub verdict: Verdict,
}
