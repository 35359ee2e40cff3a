//! The one door: everything that changes an organization goes through [`Store::execute`], which replays a known id, has
//! the account, asks the rules, makes the outcome durable, and only then answers.
//!
//! - `inbox`: calls in, answers out. `batch`: what waits is decided together and committed once.
//! - [`block`]: what a commit writes. [`known`]: which ids have been seen. [`rollup`]: what reports read.
//! - [`dirty`]: what the rows lack, since they follow the journal. `fold`: when they follow.
//! - [`mod@slice`]: the journal in files, once it is closed. `slicing`: when it closes, is merged and goes.
//! - [`totals`], [`feed`]: what the fleet view is told.
//! - [`rows`]: what is read from an engine. [`sqlite`], [`postgres`]: loading and writing. [`reader`]: reading, beside the writer.
//!   [`examine`]: is everything there?

use std::sync::Arc;

use metergate_rules::account::Account;
use metergate_rules::command::{Command, Consume, Event};
use metergate_rules::decide::Problem;
use metergate_rules::id::{IdempotencyKey, OrganizationId, OrganizationRef};
use metergate_rules::outcome::Reply;
use metergate_rules::time::Time;

use crate::catalogue::{Snapshot, TeamRequest};
use crate::people::change::PeopleRequest;

mod alone;
mod answers;
pub mod audit;
mod batch;
pub mod block;
mod checkpoint;
mod cutting;
mod decided;
mod decision;
mod deletion;
pub mod dirty;
mod engine;
pub mod error;
pub mod examine;
pub mod feed;
mod fold;
mod folding;
mod inbox;
mod job;
pub mod known;
mod ledger;
pub mod message;
pub mod moving;
mod open;
pub mod outbox;
mod people;
pub mod postgres;
pub mod reader;
mod receipt;
mod refusals;
pub mod remade;
mod replay;
pub mod rollup;
pub mod rows;
mod scope;
mod seal;
mod shared;
pub mod slice;
mod slicing;
pub mod sqlite;
pub mod stripe;
mod team;
pub mod totals;
pub mod unread;
mod writer;

pub use block::{Key, Place};
pub use decision::{DecidedReceipt, Seen};
pub use fold::{MOST_UNFOLDED, Pace};
pub use inbox::Port;
pub use job::{Job, Turn};
pub use open::{Settings, Store};
pub use scope::{Caller, Scope};

/// The exit code after a failure of the disk: `EX_IOERR` of `sysexits.h`.
pub const DISK_FAILED: u8 = 74;

/// Work for the writer: requests that are answered together, or one change of the team's own things, or of people, or the
/// end of an organization.
pub enum Work {
    /// Each is decided on its own, in order.
    Requests(Vec<Request>),
    /// Plans, meters, keys, import records.
    Team(Box<TeamRequest>),
    /// Users, members, sessions.
    People(Box<PeopleRequest>),
    /// Rows made again.
    Replace(Box<remade::Remade>),
    /// What has been kept for long enough goes now.
    Retain,
    /// A single value takes the place of what is stored under its name.
    Keep(&'static str, String),
    /// An organization and everything of it goes.
    Deletion(Box<ChangeRequest>),
    /// Older entries of the audit log, which were exported, go.
    Cut(Vec<audit::Cut>),
    /// What came of sending webhooks; old ones go.
    Outbox(Box<outbox::OutboxWork>),
    /// What Stripe tells.
    Stripe(Box<stripe::StripeWork>),
}

impl Work {
    /// Requests in it.
    const fn requests(&self) -> usize {
        match self {
            Self::Requests(requests) => requests.len(),
            _ => 0,
        }
    }
}

/// One command on one organization.
pub enum Request {
    /// Asks and uses.
    Consume(Box<ConsumeRequest>),
    /// Records what happened.
    Record(Box<RecordRequest>),
    /// Changes the organization.
    Change(Box<ChangeRequest>),
}

impl Request {
    /// The organization that it names.
    const fn organization(&self) -> &OrganizationRef {
        match self {
            Self::Consume(request) => &request.organization,
            Self::Record(request) => &request.organization,
            Self::Change(request) => &request.organization,
        }
    }

    /// About how many bytes it adds to a commit.
    fn bytes(&self) -> usize {
        match self {
            Self::Consume(request) => request.consume.properties.len(),
            Self::Record(request) => request.event.data.len(),
            Self::Change(request) => match &request.command {
                Command::Append(note) => note.before.len() + note.after.len() + note.details.len(),
                _ => 0,
            },
        }
    }
}

/// A decision that is asked for.
#[derive(Clone)]
pub struct ConsumeRequest {
    /// Who asks.
    pub caller: Caller,
    /// Whose use.
    pub organization: OrganizationRef,
    /// The caller's id for it.
    pub key: Option<Key>,
    /// A hash of what is asked, to tell another request under the same id.
    pub fingerprint: u64,
    /// What is asked.
    pub consume: Consume,
}

/// An event to record.
pub struct RecordRequest {
    /// Who reports it.
    pub caller: Caller,
    /// Whose use.
    pub organization: OrganizationRef,
    /// What happened.
    pub event: Event,
    /// Of a decision that passed undecided: the caller's id, and a hash of what was asked. It is found under that, as other
    /// decisions are.
    pub under: Option<(Key, u64)>,
}

impl RecordRequest {
    /// Under what it counts once.
    fn id(&self) -> known::Id<'_> {
        let event = known::Id::Event(&self.event.source, &self.event.id);
        self.under.as_ref().map_or(event, |(key, _)| known::Id::Key(key))
    }
}

/// A change of an organization.
pub struct ChangeRequest {
    /// Who asks.
    pub caller: Caller,
    /// Which organization. For a creation its new key.
    pub organization: OrganizationRef,
    /// Why; empty without a reason.
    pub reason: String,
    /// The key under which it may be repeated.
    pub receipt: Option<ReceiptKey>,
    /// What to change.
    pub command: Command,
    /// Only if the organization still has this many changes behind it: `If-Match`.
    pub only_if_changes: Option<u64>,
    /// Makes the answer from the organization as it is after the change. Kept under the receipt key.
    pub respond: Respond,
}

/// An idempotency key and what it was used for.
#[derive(Clone, Debug)]
pub struct ReceiptKey {
    /// Method and path template.
    pub route: &'static str,
    /// The caller's key.
    pub key: IdempotencyKey,
    /// A hash of the request, to tell another one under the same key.
    pub fingerprint: u64,
}

/// An answer that is kept under an idempotency key.
#[derive(Clone, Debug)]
struct KeptAnswer {
    /// The organization that the call named, else sixteen zero bytes.
    scope: [u8; 16],
    /// The organization that an answer of the team's names: with that it goes.
    about: Option<OrganizationId>,
    key: ReceiptKey,
    answer: Answer,
}

/// An organization after a change.
pub struct After<'a> {
    /// The organization.
    pub account: &'a Account,
    /// What the rules answered.
    pub reply: &'a Reply,
    /// The entry of the audit log that it wrote; of one that was dealt with that one, then the one that says so.
    pub audit: &'a [audit::AuditRow],
    /// Meters and plans.
    pub catalogue: &'a Snapshot,
    /// When it was decided.
    pub now: Time,
}

/// Makes the answer to a change.
pub type Respond = Arc<dyn Fn(&After<'_>) -> Answer + Send + Sync>;

/// An answer to a change as the caller gets it, and gets it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON; empty for 204.
    pub body: Vec<u8>,
    /// The `v<n>` of the entity tag.
    pub version: Option<u64>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was decided.
    Decided(DecidedReceipt),
    /// The event counts, or counted already.
    Recorded {
        /// It counted already.
        duplicate: bool,
    },
    /// The change is made.
    Answered {
        /// The answer.
        answer: Answer,
        /// Whether it was made before, under the same key.
        replayed: bool,
    },
    /// So many rows were made again, so many files have gone, so many chains begin later, or so many values are kept.
    Upkeep(u64),
}

/// Why a request could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now: the store cannot write, or is busy. Nothing happened, or it cannot be known: the same id tells.
    #[error("the store cannot take it now")]
    Unavailable,
    /// The record cannot be reached. Nothing happened, nor will.
    #[error("the record cannot be reached")]
    Unreached,
    /// There is no room on the disk. Nothing happened; the same id may pass once there is some.
    #[error("the disk is full")]
    DiskFull,
    /// What is stored is not what was written. It stays so until an operator restores it.
    #[error("what is stored is damaged")]
    Damaged,
    /// There is no such organization for this caller.
    #[error("there is no such organization")]
    UnknownOrganization,
    /// The caller's role in the organization does not suffice.
    #[error("the role does not suffice")]
    Forbidden,
    /// The key is another organization's.
    #[error("another organization has this key")]
    OrganizationKeyTaken,
    /// The subscription is another organization's.
    #[error("another organization has this subscription")]
    SubscriptionTaken,
    /// The id or key was used for another request.
    #[error("this id was used for a different request")]
    Mismatch,
    /// The organization has changed since.
    #[error("it has changed since it was read")]
    Changed,
    /// The rules cannot make sense of it.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// What is asked of the catalogue is wrong, and what to do.
    #[error("{detail}")]
    Catalogue {
        /// A stable code, such as `meter-in-use`.
        code: &'static str,
        /// The HTTP status that fits.
        status: u16,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A defect; it has been logged.
    #[error("internal error")]
    Internal,
}

/// The answers to a call, one for each of its requests.
pub type Answers = Result<Vec<Result<Receipt, StoreError>>, StoreError>;
