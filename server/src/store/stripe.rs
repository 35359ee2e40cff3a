//! What Stripe tells (P7): each event once for good, waiting in a queue until it is applied. Taking one in, and applying what
//! came of some, each stands alone in its commit, with the change of the organization and its entry in the audit log.

use metergate_rules::id::{OrganizationId, OrganizationKey};
use metergate_rules::subscription::News;
use metergate_rules::time::Time;

use super::error::EngineError;
use super::{Answer, Port, Receipt, ReceiptKey, Store, StoreError, Work};

mod apply;

pub(super) use apply::decide_stripe;
pub use apply::{revision, unmatched};

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// It waits to be applied.
    Waiting,
    /// No organization is known that it is about. It is tried again for three days, ever more seldom, and at once where one is
    /// linked, or comes to be called as the event says.
    Unmatched,
    /// It cannot be applied until an operator has it tried again.
    Failed,
    /// It is applied.
    Done,
    /// It is about nothing that Metergate follows.
    Ignored,
}

impl EventState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Unmatched, Self::Failed, Self::Done, Self::Ignored];

    /// Its name, in rows and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Unmatched => "unmatched",
            Self::Failed => "failed",
            Self::Done => "done",
            Self::Ignored => "ignored",
        }
    }

    /// The state of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Whom an event is about, as far as it says so itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The subscription.
    pub subscription: Option<String>,
    /// The customer.
    pub customer: Option<String>,
    /// The organization that its metadata names, by key or id.
    pub hint: Option<String>,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Stripe's id; of what nobody told `sync:` and the subscription.
    pub id: String,
    /// Its type, such as `customer.subscription.updated`.
    pub kind: String,
    /// When it was made by Stripe's clock. It orders nothing.
    pub created_at: Time,
    /// When it arrived.
    pub received_at: Time,
    /// Whom it is about.
    pub subject: Subject,
    /// Where it stands.
    pub state: EventState,
    /// When it is tried next.
    pub due_at: Time,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// To which organization it was applied.
    pub organization: Option<OrganizationId>,
    /// What became of it, for operators.
    pub note: String,
    /// The event as it came; empty once it is done.
    pub payload: String,
}

/// What is noted of an event that is kept no longer.
pub(super) const FADED: &str = "kept for thirty days: nobody was found for it, or it failed and was not tried again";

/// With what the id of an event begins that nobody told.
pub const SYNC: &str = "sync:";

impl EventRow {
    /// What has a subscription asked for, where nobody told of it: there is one of them at a time.
    pub fn sync(subscription: &str, now: Time) -> Self {
        let subject = Subject { subscription: Some(subscription.to_owned()), ..Subject::default() };
        Self {
            id: format!("{SYNC}{subscription}"),
            kind: "metergate.sync".to_owned(),
            created_at: Time::MIN,
            received_at: now,
            subject,
            state: EventState::Waiting,
            due_at: now,
            attempts: 0,
            organization: None,
            note: String::new(),
            payload: String::new(),
        }
    }
}

/// A row that a commit writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeRow {
    /// An event, in the place of one of this id.
    Event(Box<EventRow>),
    /// It is over with this event: nothing is left of it but what it was about.
    Over {
        /// Which.
        id: String,
        /// Done or ignored.
        state: EventState,
        /// To which organization it was applied.
        organization: Option<OrganizationId>,
        /// What became of it.
        note: String,
    },
    /// It is tried again later, or not at all.
    Later {
        /// Which.
        id: String,
        /// Where it stands.
        state: EventState,
        /// When.
        due_at: Time,
        /// Why.
        note: String,
    },
    /// An operator has it tried again, unless it is over with it.
    Again {
        /// Which.
        id: String,
        /// When that is.
        now: Time,
    },
    /// Those that nobody was found for, or that failed, and that arrived before this, are over: their payloads go.
    Fade(Time),
    /// It goes.
    Gone(String),
    /// Those that waited for an organization with this subscription or customer are tried now.
    Matched {
        /// The subscription.
        subscription: Option<String>,
        /// The customer.
        customer: Option<String>,
        /// When that is.
        now: Time,
    },
    /// Those that name an organization which is new, or has another key, are tried now.
    Named {
        /// Its id.
        organization: OrganizationId,
        /// Its key.
        key: OrganizationKey,
        /// When that is.
        now: Time,
    },
}

/// Work on what Stripe tells.
pub enum StripeWork {
    /// Keeps events that are not known yet.
    Take(Vec<EventRow>),
    /// Applies what came of some of them.
    Apply(Box<Applied>),
    /// Notes what else became of some.
    Note(Vec<StripeRow>),
    /// Has one tried again.
    Again(Again),
}

/// That an operator has an event tried again.
pub struct Again {
    /// Which.
    pub id: String,
    /// The key under which it may be repeated.
    pub receipt: Option<ReceiptKey>,
    /// Makes the answer of the event as it stands then.
    pub respond: fn(EventRow) -> Answer,
}

/// What came of events, or of a look at a subscription.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The events that it answers, in order of arrival.
    pub events: Vec<String>,
    /// The type of the last of them, for the audit log.
    pub kind: String,
    /// What there is to tell.
    pub news: News,
    /// The organization that the metadata names.
    pub hint: Option<String>,
    /// Of a subscription that was asked for: how often what is known of it had changed before, by [`revision`]. Where
    /// somebody else has changed it meanwhile, this may be older, and is asked for again.
    pub seen: Option<u64>,
}

/// What became of what was to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The organization has changed.
    Changed,
    /// It was so already, or is not to be believed.
    Unchanged,
    /// No organization is known that it is about.
    Unmatched,
    /// Somebody else has changed it meanwhile.
    Stale,
}

impl Outcome {
    /// As the status of an answer.
    const fn status(self) -> u16 {
        match self {
            Self::Changed => 200,
            Self::Unchanged => 204,
            Self::Unmatched => 404,
            Self::Stale => 409,
        }
    }
}

/// Which events are listed: the newest first.
#[derive(Clone, Debug, Default)]
pub struct EventList {
    /// In these states; in all where there is none.
    pub states: Vec<EventState>,
    /// Those that arrived before this one.
    pub before: Option<(Time, String)>,
}

/// What is read of what Stripe told, whichever the engine is.
pub trait StripeRows {
    /// An event.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn stripe_event(&self, id: &str) -> Result<Option<EventRow>, EngineError>;

    /// So many events that are due, in order of their arrival: those for which nobody was found after the others.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn stripe_due(&self, now: Time, most: usize) -> Result<Vec<EventRow>, EngineError>;

    /// So many events of a list.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn stripe_events(&self, list: &EventList, most: usize) -> Result<Vec<EventRow>, EngineError>;

    /// When the newest event was made, by Stripe's clock, of those that were made by now: a test clock may lie far ahead.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn stripe_newest(&self, now: Time) -> Result<Option<Time>, EngineError>;

    /// The organization with a subscription.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn organization_of_subscription(&self, subscription: &str) -> Result<Option<OrganizationId>, EngineError>;

    /// The organizations with a customer: two at most.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn organizations_of_customer(&self, customer: &str) -> Result<Vec<OrganizationId>, EngineError>;

    /// So many subscriptions of organizations after one, in order.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn subscriptions_after(&self, after: &str, most: usize) -> Result<Vec<String>, EngineError>;
}

impl Store {
    /// Does work on what Stripe tells.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn stripe(&self, port: &Port, work: StripeWork) -> Result<Outcome, StoreError> {
        let (answer, _) = self.ask_stripe(port, work).await?;
        let outcomes = [Outcome::Changed, Outcome::Unchanged, Outcome::Unmatched, Outcome::Stale];
        outcomes.into_iter().find(|outcome| outcome.status() == answer.status).ok_or(StoreError::Internal)
    }
    /// Has an event tried again: the answer, and whether it was given before under the same key.
    ///
    /// # Errors
    /// As [`StoreError`] says: also where there is no such event, or it is over with it.
    pub async fn stripe_again(&self, port: &Port, again: Again) -> Result<(Answer, bool), StoreError> {
        self.ask_stripe(port, StripeWork::Again(again)).await
    }

    async fn ask_stripe(&self, port: &Port, work: StripeWork) -> Result<(Answer, bool), StoreError> {
        match port.call(Work::Stripe(Box::new(work))).await?.pop().unwrap_or(Err(StoreError::Internal))? {
            Receipt::Answered { answer, replayed } => Ok((answer, replayed)),
            _ => Err(StoreError::Internal),
        }
    }
}
