//! The outbox of webhooks: messages with whom they are to be sent to, how each try went, and how endpoints fare. A message is
//! written in the commit of what it tells; what came of sending it stands alone in its commit and in no audit log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use metergate_rules::id::OrganizationId;
use metergate_rules::time::Time;

use super::batch::Failure;
use super::checkpoint::stop_after_disk_failure;
use super::error::{EngineError, unreadable};
use super::inbox::Port;
use super::message::MessageId;
use super::open::upkept;
use super::postgres::{BEGIN, Postgres};
use super::seal::{seal, unseal};
use super::writer::Writer;
use super::{Receipt, Store, StoreError, Work};
use crate::catalogue::endpoint::{EndpointEntry, EndpointId};

/// About how many bytes a commit of the outbox adds to the write-ahead file: some pages.
const BYTES: usize = 16 * 4096;
/// Whose messages the team's own are, such as those that try an endpoint.
pub const OF_TEAM: OrganizationId = OrganizationId([0; 16]);
/// When a delivery is due that somebody waits for: a test, or one that is sent again. It comes before all others.
pub const URGENT: Time = Time::from_micros(0);
/// Messages, or deliveries, that one commit forgets or cancels at most.
pub const AT_ONCE: usize = 200;
/// Tries of one delivery that are shown: the last ones. Who has it sent again and again makes any number.
pub const MOST_ATTEMPTS: usize = 50;

/// Which delivery: a message to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    /// Whose the message is.
    pub organization: OrganizationId,
    /// Which message.
    pub message: MessageId,
    /// To which endpoint.
    pub endpoint: EndpointId,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is yet to be sent, or to be tried again.
    Pending,
    /// The endpoint has taken it.
    Delivered,
    /// It was given up.
    Failed,
    /// Its endpoint has gone, or was disabled for too long.
    Canceled,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Canceled];

    /// As it is written and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// There is no such state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Send pending, delivered, failed or canceled")]
pub struct UnknownState;

impl FromStr for DeliveryState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How often something was tried, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// In all.
    pub all: u32,
    /// Since it was to be sent, or sent again.
    pub lately: u32,
    /// When the first of those was.
    pub began_at: Option<Time>,
}

/// A delivery, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Which.
    pub key: DeliveryKey,
    /// The message's type.
    pub kind: String,
    /// When the message was written.
    pub at: Time,
    /// What is sent.
    pub body: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is tried next, while it is pending.
    pub due_at: Time,
    /// How often it was tried.
    pub tries: Tries,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// From 1 on.
    pub number: u32,
    /// When it began.
    pub at: Time,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// Why there is none.
    pub error: Option<String>,
    /// Milliseconds until the answer, or until it was given up.
    pub duration_ms: u64,
    /// The beginning of the answer's body, without characters that PostgreSQL does not take.
    pub response: String,
}

/// How an endpoint fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When something was sent to it last.
    pub last_at: Option<Time>,
    /// When it last took something.
    pub delivered_at: Option<Time>,
    /// Since when it has taken nothing; none where it took the last.
    pub failing_at: Option<Time>,
    /// Until when it is left alone, since it could not keep up.
    pub rests_until: Option<Time>,
}

/// Which deliveries of an endpoint, newest first.
#[derive(Clone, Debug)]
pub struct DeliveriesAsked {
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// Where they stand.
    pub state: Option<DeliveryState>,
    /// Of messages older than this one.
    pub before: Option<MessageId>,
    /// This message alone.
    pub message: Option<MessageId>,
}

impl DeliveriesAsked {
    /// The ids of messages that are meant: from the first, and before the second.
    pub(super) fn range(&self) -> ([u8; 16], [u8; 16]) {
        match self.message {
            Some(MessageId(id)) => (id, u128::from_be_bytes(id).saturating_add(1).to_be_bytes()),
            None => ([0; 16], self.before.map_or([u8::MAX; 16], |before| before.0)),
        }
    }
}

/// Reading the outbox. Each method fails with [`EngineError`] where it cannot be read, or is not what was written.
pub trait OutboxRows {
    /// Of each endpoint the delivery that has been due for the longest of those that are by a time of its own, in any order.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn due_deliveries(&self, endpoints: &[(EndpointId, Time)]) -> Result<Vec<DeliveryRow>, EngineError>;

    /// Some deliveries that are due and go to people by mail, those first that have been due for the longest.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn due_mails(&self, now: Time, most: usize) -> Result<Vec<DeliveryRow>, EngineError>;

    /// So many deliveries of an endpoint, newest first; none of an organization that is deleted.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn deliveries(&self, asked: &DeliveriesAsked, most: usize) -> Result<Vec<DeliveryRow>, EngineError>;

    /// The last tries of a delivery, oldest first.
    ///
    /// # Errors
    /// [`EngineError`] if they cannot be read.
    fn attempts(&self, key: &DeliveryKey) -> Result<Vec<AttemptRow>, EngineError>;

    /// How endpoints fare.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be read.
    fn endpoint_health(&self) -> Result<BTreeMap<EndpointId, Health>, EngineError>;
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Of which delivery.
    pub key: DeliveryKey,
    /// The try.
    pub attempt: AttemptRow,
    /// Where the delivery stands after it.
    pub state: DeliveryState,
    /// When it is tried next, while it is pending.
    pub due_at: Time,
    /// How often it was tried since it was to be sent, this time included.
    pub lately: u32,
    /// When the first of those was.
    pub began_at: Time,
    /// Until when the endpoint is left alone after it, where it could not keep up.
    pub rests_until: Option<Time>,
}

/// What the outbox writes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxWork {
    /// What came of some tries. Written twice each counts once. Of a delivery that was sent again meanwhile only the try is
    /// noted, unless it was taken.
    Note(Vec<Noted>),
    /// Deliveries that have waited since before a time for endpoints that are not among these are canceled: some of them.
    Cancel {
        /// Endpoints to which something is sent.
        enabled: Vec<EndpointId>,
        /// Since before this.
        before: Time,
    },
    /// Messages from before a time of which no delivery is pending go with all that is known of them: some of them.
    Forget {
        /// From before this.
        before: Time,
    },
}

impl Store {
    /// Writes something of the outbox. How many rows it was about.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn keep_outbox(&self, port: &Port, work: OutboxWork) -> Result<u64, StoreError> {
        upkept(port.call(Work::Outbox(Box::new(work))).await)
    }
}

impl Writer {
    /// Writes something of the outbox, in a commit of its own.
    pub(super) fn keep_outbox(&mut self, work: &OutboxWork) -> Result<Receipt, StoreError> {
        let written = self.sqlite.write_outbox(work).inspect_err(stop_after_disk_failure);
        self.checkpointer.grown(BYTES);
        written.map_err(Failure::from).map(Receipt::Upkeep).map_err(|failure| {
            self.tell(&failure, "the outbox could not be written");
            StoreError::from(&failure)
        })
    }
}

/// The same of PostgreSQL.
pub(super) fn keep_outbox(session: &Postgres, work: &OutboxWork) -> Result<Receipt, Failure> {
    session.begin(BEGIN);
    let written = session.write_outbox(work)?;
    session.commit()?;
    Ok(Receipt::Upkeep(written))
}

/// An endpoint as its row holds it.
pub(super) fn sealed(endpoint: &EndpointEntry) -> Result<Vec<u8>, EngineError> {
    let content = serde_json::to_vec(endpoint).map_err(|error| unreadable("a webhook endpoint", error))?;
    Ok(seal(&[endpoint.id.as_str().as_bytes()], &content))
}

/// The endpoint in a row.
pub(super) fn opened(id: &str, data: &[u8]) -> Result<EndpointEntry, EngineError> {
    // What it holds is not told: there are secrets in it.
    let broken = |why: &dyn fmt::Display| unreadable(format!("webhook endpoint {id}"), why);
    let content = unseal(&[id.as_bytes()], data).map_err(|error| broken(&error))?;
    let entry: EndpointEntry =
        serde_json::from_slice(content).map_err(|_| broken(&"its row is of another form than this program writes"))?;
    if entry.id.as_str() == id { Ok(entry) } else { Err(broken(&"the row stands under another id")) }
}

/// A text as both engines take it.
pub fn storable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}
