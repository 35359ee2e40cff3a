//! A subscription as Stripe tells of it (P7), and the billing periods that follow from one (P2).

use serde::{Deserialize, Serialize};

use crate::account::{Account, Lock, Scheduled, Status, TrialState};
use crate::id::{CustomerId, InvoiceId, PlanId, PlanKey, PriceId, SubscriptionId};
use crate::period::{Anchor, Grid, MOST_APART, Zone, cut};
use crate::time::{DAY, Span, Time};

/// Ids of subscriptions that have ended, which an organization remembers: none of them comes back.
pub const MOST_ENDED: usize = 16;
/// Subscriptions beside the one that rules that an organization remembers.
pub const MOST_OTHERS: usize = 8;

/// Where Stripe says that a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reported {
    /// In its trial.
    Trialing,
    /// In good standing.
    Active,
    /// A payment failed and is tried again.
    PastDue,
    /// A payment failed for good, and the subscription goes on.
    Unpaid,
    /// Its trial has ended without a way to pay.
    Paused,
    /// It has ended.
    Canceled,
    /// Its first payment failed for good.
    IncompleteExpired,
    /// Its first payment is missing.
    Incomplete,
}

impl Reported {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Trialing,
        Self::Active,
        Self::PastDue,
        Self::Unpaid,
        Self::Paused,
        Self::Canceled,
        Self::IncompleteExpired,
        Self::Incomplete,
    ];

    /// Stripe's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Incomplete => "incomplete",
        }
    }

    /// What Stripe means by a name; `None` for one that was not known when this was written.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether nothing comes after it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Canceled | Self::IncompleteExpired)
    }

    /// Whether the subscription's plan and periods hold; else the fallback plan does.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Trialing | Self::Active | Self::PastDue | Self::Unpaid | Self::Paused)
    }

    /// Whether consumption stops at once.
    pub const fn locks(self) -> bool {
        matches!(self, Self::Unpaid | Self::Paused)
    }

    /// Our status for it.
    pub const fn status(self) -> Status {
        match self {
            Self::Trialing => Status::Trial,
            Self::Active => Status::Active,
            Self::PastDue | Self::Unpaid | Self::Paused => Status::PastDue,
            Self::Canceled | Self::IncompleteExpired | Self::Incomplete => Status::Canceled,
        }
    }
}

/// What is paid for in a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricedItem {
    /// Its price.
    pub price: PriceId,
    /// What is paid for now, where the item says so: since API 2025-03-31.
    pub period: Option<Span>,
}

/// A subscription as it was at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which.
    pub id: SubscriptionId,
    /// Whose.
    pub customer: Option<CustomerId>,
    /// When it was made, which never changes.
    pub created: Time,
    /// Where it stands; `None` for what is not known, which leaves the last.
    pub status: Option<Reported>,
    /// What is paid for.
    pub items: Vec<PricedItem>,
    /// What is paid for now, where the subscription itself says so: before API 2025-03-31.
    pub period: Option<Span>,
    /// When it will end, if that is known.
    pub cancel_at: Option<Time>,
    /// When its trial ends or ended.
    pub trial_end: Option<Time>,
    /// Whether it was asked for and is what holds now. Else it came with an event, and may be older than what is known.
    pub is_current: bool,
}

/// What there is to tell an organization of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// How it was at one time.
    Told(Snapshot),
    /// That it exists, and whose it is: a checkout that came to its end.
    Linked {
        /// Which.
        id: SubscriptionId,
        /// Whose.
        customer: Option<CustomerId>,
    },
    /// An invoice of it was paid, or could not be.
    Invoiced {
        /// Which.
        id: SubscriptionId,
        /// Which invoice.
        invoice: Invoice,
        /// Whether it was paid.
        paid: bool,
    },
}

/// An invoice of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// Which.
    pub id: InvoiceId,
    /// The end of what it looks back on, where it says so: of a renewal the start of the period that is paid for.
    pub until: Option<Time>,
    /// Whether it is for a change within a period, or made by hand: not what a period costs.
    pub is_extra: bool,
}

impl News {
    /// The subscription that it is about.
    pub const fn id(&self) -> &SubscriptionId {
        match self {
            Self::Told(snapshot) => &snapshot.id,
            Self::Linked { id, .. } | Self::Invoiced { id, .. } => id,
        }
    }

    /// Whose it is, where that is told.
    pub const fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::Told(snapshot) => snapshot.customer.as_ref(),
            Self::Linked { customer, .. } => customer.as_ref(),
            Self::Invoiced { .. } => None,
        }
    }
}

/// What an organization knows of its subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Which; none where only the customer is known.
    pub id: Option<SubscriptionId>,
    /// Stripe's customer that the organization is.
    pub customer: Option<CustomerId>,
    /// How it was last, if anything was told of it.
    pub state: Option<State>,
    /// Other subscriptions that hold, as they were told last, by age: at most [`MOST_OTHERS`]. The best takes over where this one ends.
    pub others: Vec<Snapshot>,
    /// Subscriptions that have ended, the last of them last: at most [`MOST_ENDED`].
    pub ended: Vec<SubscriptionId>,
    /// Rises with every change of this, so that whoever asks Stripe sees that somebody else has changed it meanwhile.
    pub revision: u64,
}

/// A subscription as it was last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When it was made.
    pub created: Time,
    /// Where it stands.
    pub status: Reported,
    /// The price that a plan has, else its first.
    pub price: Option<PriceId>,
    /// What is paid for now.
    pub period: Option<Span>,
    /// When it will end, if that is known.
    pub cancel_at: Option<Time>,
    /// When its trial ends or ended.
    pub trial_end: Option<Time>,
    /// The plan that follows from it. An operator may have set another since: it moves the organization only where it changes.
    pub plan: Option<PlanKey>,
    /// When consumption stops unless a payment comes.
    pub grace_ends: Option<Time>,
    /// The last invoice that was paid, where an event told of one: it does not fail any more.
    pub paid: Option<InvoiceId>,
    /// The last invoice that could not be paid, where an event told of one, until the payment comes: no other payment is that.
    pub failed: Option<InvoiceId>,
}

/// An organization as its subscription makes it: the whole new value of all that it rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: Subscription,
    /// The version of the plan.
    pub plan: PlanId,
    /// The status.
    pub status: Status,
    /// The trial.
    pub trial: Option<TrialState>,
    /// The locks.
    pub locks: Vec<Lock>,
    /// From where billing periods are counted where no subscription rules them.
    pub anchor: Anchor,
    /// The open billing period. Its start stays, so that periods tile.
    pub period: Span,
    /// Where it is shown to begin, if not at its start.
    pub shown_start: Option<Time>,
    /// A change of plan that waits.
    pub scheduled: Option<Scheduled>,
}

impl Subscribed {
    /// An organization as it stands.
    pub fn of(account: &Account) -> Self {
        Self {
            subscription: account.subscription.as_deref().cloned().unwrap_or_default(),
            plan: account.plan,
            status: account.status,
            trial: account.trial,
            locks: account.locks.clone(),
            anchor: account.anchor,
            period: account.windows.period,
            shown_start: account.shown_start,
            scheduled: account.scheduled,
        }
    }
}

impl Account {
    /// What is known of its subscription.
    pub fn subscribed_as(&self) -> Option<&State> {
        self.subscription.as_ref()?.state.as_ref()
    }

    /// Whether a subscription says its plan and status.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed_as().is_some_and(|state| state.status.is_live())
    }

    /// The period of the subscription that rules its dates, if one does.
    pub fn ruling_period(&self) -> Option<Span> {
        self.subscribed_as().filter(|state| state.status.is_live())?.period
    }

    /// The end of a billing period that begins at `start`.
    pub fn period_end(&self, start: Time) -> Time {
        match self.ruling_period() {
            Some(subscription) => end_of(subscription, &self.profile.zone, start),
            None => self.grid().end_of(start),
        }
    }

    /// The resets to come as far as is known now, the next one first.
    pub fn resets(&self) -> impl Iterator<Item = Time> {
        let next = move |at: &Time| Some(self.period_end(*at)).filter(|next| *next > *at && *next < Time::MAX);
        std::iter::successors(Some(self.windows.period.end), next)
    }
}

/// Where a billing period ends that begins at `start`, while a subscription rules the dates: with its piece of the
/// subscription's period. Beyond what is paid for, until Stripe tells of a renewal, it goes on as before: by months from the
/// subscription's start, or by its own length where that is shorter. Stripe bills by days at least: what is shorter than one is a
/// stub up to the day of billing, and is not repeated.
pub fn end_of(subscription: Span, zone: &Zone, start: Time) -> Time {
    if start < subscription.start {
        return subscription.start;
    } else if start < subscription.end {
        // A start that a change of zone has left off the grid ends no period of hours.
        let within = start.plus(MOST_APART).min(subscription.end.plus(-1));
        return cut(subscription, zone).containing(within).end;
    }
    let length = subscription.end.since(subscription.start);
    if (DAY..28 * DAY).contains(&length) {
        return start.plus(length);
    }
    Grid { anchor: Anchor::at(subscription.start, zone), zone }.end_of(start)
}

/// The open billing period as a subscription makes it, and where it is shown to begin, if not at its start: only its end moves.
pub fn open_period(account: &Account, subscription: Span, now: Time) -> (Span, Option<Time>) {
    let (zone, open) = (&account.profile.zone, account.windows.period);
    if now < subscription.start {
        return (Span { end: subscription.start, ..open }, None);
    } else if now < subscription.end {
        let piece = cut(subscription, zone).containing(now);
        return (Span { end: piece.end, ..open }, (piece.start != open.start).then_some(piece.start));
    }
    let mut end = end_of(subscription, zone, open.start.max(subscription.end));
    while end <= now && end < Time::MAX {
        end = end_of(subscription, zone, end);
    }
    (Span { end, ..open }, account.shown_start)
}
