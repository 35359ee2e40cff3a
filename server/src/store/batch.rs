//! A batch: what waited is decided in order on top of the durable image, then written in one commit.
//!
//! Nothing durable changes here. A batch that cannot be committed is dropped, with its ids and everything decided in it.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashTable;
use metergate_rules::account::Account;
use metergate_rules::audit::Fields;
use metergate_rules::command::{Command, Commit};
use metergate_rules::decide::Problem;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::outcome::{Reply, Verdict, What};
use metergate_rules::time::Time;

use super::audit::{AuditRow, TEAM};
use super::block::Record;
use super::error::EngineError;
use super::known::Id;
use super::ledger::{Head, Ledger, Map};
use super::message::MessageRow;
use super::open::Settings;
use super::refusals::{Refusals, Tally};
use super::rollup::Derived;
use super::rows::Rows;
use super::stripe::StripeRow;
use super::{
    After, Answer, ChangeRequest, ConsumeRequest, DecidedReceipt, KeptAnswer, Receipt, ReceiptKey, RecordRequest,
    Request, StoreError,
};
use crate::faults::planted;
use search::{Search, Spot};

mod complete;
mod correct;
mod entries;
mod keep;
mod search;
mod told;

/// Why a batch cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The disk or the database: nobody in the batch is at fault.
    #[error(transparent)]
    Store(#[from] EngineError),
    /// A defect on the way, which one request brought about.
    #[error("panicked")]
    Panicked,
}

impl Failure {
    /// What a start is told.
    pub(super) fn into_engine(self) -> EngineError {
        match self {
            Self::Store(error) => error,
            Self::Panicked => EngineError::Unusable(self.to_string()),
        }
    }
}

/// What a caller is told.
impl From<&Failure> for StoreError {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Store(error) => error.into(),
            Failure::Panicked => Self::Internal,
        }
    }
}

/// A request's own error, or the batch's.
pub(super) enum Stop {
    Request(StoreError),
    Batch(Failure),
}

impl Stop {
    /// What the only request of a batch is told.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Request(error) => error,
            Self::Batch(failure) => {
                tracing::error!(%failure, "a change could not be decided");
                StoreError::from(&failure)
            }
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Request(error)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Batch(error.into())
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Request(problem.into())
    }
}

/// What a request will be answered once the batch is durable.
pub(super) enum Pending {
    /// This.
    Ready(Result<Receipt, StoreError>),
    /// This, with the place of the record.
    Placed(DecidedReceipt, usize),
}

/// What is decided on top of the durable image.
pub(super) struct Batch<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) rows: &'a dyn Rows,
    pub(super) settings: &'a Settings,
    pub(super) now: Time,
    /// The requests of the call at hand, which are decided one after the other.
    call: &'a [Request],
    /// Accounts as they are after what was decided so far.
    pub(super) working: Map<OrganizationId, Arc<Account>>,
    /// Organizations of which something but use changed.
    pub(super) changed: HashSet<OrganizationId>,
    /// The organization that the request at hand created for its first use, with how many records and audit entries there
    /// were before.
    created: Option<(OrganizationId, usize, usize)>,
    /// Keys that were taken, or left.
    pub(super) keys: Map<OrganizationKey, Option<OrganizationId>>,
    /// What will be in the block.
    pub(super) records: Vec<(OrganizationId, Record)>,
    /// The records that were made under an id, with its hash.
    pub(super) ids: Vec<(usize, u64)>,
    /// The same by hash.
    fresh: HashTable<(u64, usize)>,
    /// Values of `uniqueCount` meters that were seen in this batch.
    pub(super) values: Derived,
    pub(super) audit: Vec<AuditRow>,
    pub(super) heads: Map<[u8; 16], Head>,
    pub(super) receipts: Vec<KeptAnswer>,
    /// Organizations of which something was refused, each as often. A refusal without id stands nowhere else.
    pub(super) refused: Vec<OrganizationId>,
    /// The same by what refused.
    pub(super) tally: Vec<Tally>,
    /// What webhook endpoints are told of it.
    pub(super) messages: Vec<MessageRow>,
    /// What of Stripe's events is to be written.
    pub(super) stripe: Vec<StripeRow>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(ledger: &'a mut Ledger, rows: &'a dyn Rows, settings: &'a Settings, now: Time) -> Self {
        Self {
            ledger,
            rows,
            settings,
            now,
            call: &[],
            working: Map::default(),
            changed: HashSet::new(),
            created: None,
            keys: Map::default(),
            records: Vec::new(),
            ids: Vec::new(),
            fresh: HashTable::new(),
            values: Derived::default(),
            audit: Vec::new(),
            heads: Map::default(),
            receipts: Vec::new(),
            refused: Vec::new(),
            tally: Vec::new(),
            messages: Vec::new(),
            stripe: Vec::new(),
        }
    }

    /// Decides the requests of one call, in order.
    ///
    /// # Errors
    /// [`Failure`] if the batch cannot go on; a request's own errors are answers.
    pub(super) fn decide(&mut self, call: &'a [Request]) -> Result<Vec<Pending>, Failure> {
        self.call = call;
        call.iter().map(|request| self.decide_one(request)).collect()
    }

    fn decide_one(&mut self, request: &Request) -> Result<Pending, Failure> {
        self.created = None;
        let decided = match request {
            Request::Consume(consume) => self.consume(consume),
            Request::Record(record) => self.record(record),
            Request::Change(change) => self.change(change),
        };
        match decided {
            Ok(pending) => Ok(pending),
            Err(Stop::Request(error)) => {
                self.undo_creation();
                Ok(Pending::Ready(Err(error)))
            }
            Err(Stop::Batch(failure)) => Err(failure),
        }
    }

    fn consume(&mut self, request: &ConsumeRequest) -> Result<Pending, Stop> {
        let organization = self.find_or_create(&request.caller, &request.organization)?;
        let search = match &request.key {
            Some(key) => Some(self.search(organization, Id::Key(key))?),
            None => None,
        };
        if let Some(Search::Found(record, spot)) = search {
            return self.repeat(organization, request, &record, spot);
        }
        let command = Command::Consume(request.consume.clone());
        let with_receipt = request.key.is_some() && !planted("refusal-not-recorded");
        let (now, outcome) = self.run(organization, &command, with_receipt)?;
        let Reply::Decided(verdicts) = outcome.reply else { return Err(StoreError::Internal.into()) };
        if verdicts.iter().any(|verdict| verdict.reason.is_some()) {
            self.refused.push(organization);
            Refusals::tally(&mut self.tally, organization, (&verdicts, now), &outcome.entries);
        }
        let first = self.records.len();
        self.keep(organization, outcome.entries, request.key.clone(), request.fingerprint)?;
        if let (Some(Search::New(hash)), true) = (search, self.last_record(first).is_some()) {
            self.remember(hash);
        }
        let organization = self.account(organization)?.profile.key.clone();
        let receipt = DecidedReceipt::new(organization, verdicts, now);
        if let Some(record) = self.last_record(first).filter(|record| self.is_decision(*record)) {
            return Ok(Pending::Placed(receipt, record));
        }
        Ok(Pending::Ready(Ok(Receipt::Decided(receipt))))
    }

    fn is_decision(&self, record: usize) -> bool {
        matches!(self.records[record].1.entry.what, What::Decided(_))
    }

    /// The answer that was given under this id before.
    fn repeat(
        &mut self,
        organization: OrganizationId,
        request: &ConsumeRequest,
        record: &Record,
        spot: Spot,
    ) -> Result<Pending, Stop> {
        if record.fingerprint != request.fingerprint {
            return Err(StoreError::Mismatch.into());
        }
        let (verdicts, degraded) = match &record.entry.what {
            What::Decided(decided) => (decided.verdicts.clone().ok_or(StoreError::Internal)?, false),
            What::Recorded(passed) => {
                let asked = passed.uses.iter().filter(|used| used.follows.is_none());
                (asked.map(|used| Verdict::undecided(used.meter)).collect(), true)
            }
            _ => return Err(StoreError::Internal.into()),
        };
        let organization = self.account(organization)?.profile.key.clone();
        let receipt = DecidedReceipt::new(organization, verdicts, record.entry.at);
        let receipt = DecidedReceipt { replayed: true, degraded, ..receipt };
        Ok(match spot {
            Spot::Batch(index) => Pending::Placed(receipt, index),
            Spot::Journal(place) => {
                Pending::Ready(Ok(Receipt::Decided(DecidedReceipt { place: Some(place), ..receipt })))
            }
        })
    }

    fn record(&mut self, request: &RecordRequest) -> Result<Pending, Stop> {
        let organization = self.find_or_create(&request.caller, &request.organization)?;
        let event = &request.event;
        let under = request.under.as_ref();
        let under = if self.is_taken(organization, under)? { None } else { under };
        let id = under.map_or(Id::Event(&event.source, &event.id), |(key, _)| Id::Key(key));
        if planted("failed-ids-kept") && self.ledger.known.has_in_memory(organization, id) {
            return Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: true })));
        }
        let Search::New(hash) = self.search(organization, id)? else {
            return Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: true })));
        };
        let (_, outcome) = self.run(organization, &Command::Record(event.clone()), false)?;
        let (key, fingerprint) = under.cloned().unzip();
        self.keep(organization, outcome.entries, key, fingerprint.unwrap_or(0))?;
        self.remember(hash);
        Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: false })))
    }

    fn change(&mut self, request: &ChangeRequest) -> Result<Pending, Stop> {
        let existing = match &request.command {
            Command::Reserve(_) => Some(self.find_or_create(&request.caller, &request.organization)?),
            Command::Create(_) => self.resolve(&request.organization)?,
            _ => Some(self.admitted(&request.caller, &request.organization)?),
        };
        let creates = matches!(request.command, Command::Create(_));
        let scope = if creates { TEAM } else { existing.ok_or(StoreError::UnknownOrganization)?.0 };
        if let Some(answer) = self.kept(scope, request.receipt.as_ref())? {
            return Ok(Pending::Ready(Ok(Receipt::Answered { answer, replayed: true })));
        }
        let first = self.audit.len();
        let (organization, reply) = match (&request.command, existing) {
            (Command::Create(_), Some(_)) => return Err(StoreError::OrganizationKeyTaken.into()),
            (Command::Create(new), None) => {
                (self.create(&request.caller, new, &request.reason, Fields::default())?, Reply::Done)
            }
            (command, Some(organization)) => (organization, self.operate(request, organization, command)?),
            (_, None) => return Err(StoreError::UnknownOrganization.into()),
        };
        let account = self.account(organization)?;
        let audit = self.entries_of(organization, &request.command, first)?;
        let after = After {
            account: &account,
            reply: &reply,
            audit: &audit,
            catalogue: &self.ledger.catalogue,
            now: account.own_time(self.now),
        };
        let answer = (request.respond)(&after);
        if let Some(receipt) = &request.receipt {
            let about = creates.then_some(organization);
            self.receipts.push(KeptAnswer { scope, about, key: receipt.clone(), answer: answer.clone() });
        }
        Ok(Pending::Ready(Ok(Receipt::Answered { answer, replayed: false })))
    }

    fn operate(
        &mut self,
        request: &ChangeRequest,
        organization: OrganizationId,
        command: &Command,
    ) -> Result<Reply, Stop> {
        let account = self.account(organization)?;
        if request.only_if_changes.is_some_and(|changes| changes != account.changes) {
            return Err(StoreError::Changed.into());
        }
        if let Command::Update(change) = command
            && let Some(key) = &change.key
            && self.resolve(&OrganizationRef::Key(key.clone()))?.is_some_and(|id| id != organization)
        {
            return Err(StoreError::OrganizationKeyTaken.into());
        }
        self.refuse_if_linked(organization, command)?;
        let command = &*self.informed(organization, command)?;
        let (now, outcome) = match (self.run(organization, command, false), command) {
            (
                Err(Stop::Request(StoreError::Problem(Problem::ReservationOver(None)))),
                Command::Extend { id, .. } | Command::Commit(Commit { id, .. }) | Command::Release(id),
            ) => return Err(Problem::ReservationOver(self.end_of(organization, *id)?).into()),
            (ran, _) => ran?,
        };
        if let Reply::Reserved(reserved) = &outcome.reply {
            let verdicts = std::slice::from_ref(&reserved.verdict);
            Refusals::tally(&mut self.tally, organization, (verdicts, now), &outcome.entries);
        }
        self.write_audit(organization, &outcome.audit, &request.caller.actor, &request.reason)?;
        self.keep(organization, outcome.entries, None, 0)?;
        if matches!(command, Command::LinkSubscription { .. }) {
            self.tell_linked(&account, organization)?;
        }
        let key = self.account(organization)?.profile.key.clone();
        if key != account.profile.key {
            self.keys.insert(account.profile.key.clone(), None);
            self.tell_named(organization, &key);
            self.keys.insert(key, Some(organization));
        }
        Ok(outcome.reply)
    }

    /// A kept answer to the same request.
    pub(super) fn kept(&mut self, scope: [u8; 16], receipt: Option<&ReceiptKey>) -> Result<Option<Answer>, Stop> {
        let Some(receipt) = receipt else { return Ok(None) };
        let same =
            |kept: &&KeptAnswer| kept.scope == scope && kept.key.route == receipt.route && kept.key.key == receipt.key;
        let pending = self.receipts.iter().find(same).map(|kept| (kept.key.fingerprint, kept.answer.clone()));
        let kept = match pending {
            Some(kept) => Some(kept),
            None => self.rows.receipt(scope, receipt, self.now.plus(-self.settings.keep_ids))?,
        };
        match kept {
            Some((fingerprint, _)) if fingerprint != receipt.fingerprint => Err(StoreError::Mismatch.into()),
            kept => Ok(kept.map(|(_, answer)| answer)),
        }
    }
}
