//! A batch: what waited is decided in order on top of the durable image, then written in one commit.
//!
//! Nothing durable changes here. A batch that cannot be committed is dropped, with its ids and everything decided in it.

use std::collections::HashSet;
use std::sync::Arc;

use metergate_rules::account::{Account, Profile};
use metergate_rules::apply::{self, apply};
use metergate_rules::command::{Command, NewOrganization};
use metergate_rules::decide::{Question, create, decide, questions};
use metergate_rules::due::Settled;
use metergate_rules::id::{OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::outcome::{Change, Effect, Entry, Outcome, Reply, What};
use metergate_rules::period::Zone;
use metergate_rules::time::Time;
use metergate_rules::window::WindowSet;

use super::audit::AuditRow;
use super::block::{Place, Record};
use super::known::Id;
use super::ledger::{Head, Ledger, Map};
use super::rollup::{Derived, ValueKey};
use super::sqlite::{Sqlite, SqliteError, unreadable};
use super::writer::Settings;
use super::{
    After, Answer, Caller, ChangeRequest, ConsumeRequest, DecidedReceipt, Key, Receipt, ReceiptKey, RecordRequest,
    Request, StoreError,
};
use crate::faults::planted;

/// Why a batch cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The disk or the database: nobody in the batch is at fault.
    #[error(transparent)]
    Store(#[from] SqliteError),
    /// A defect on the way, which one request brought about.
    #[error("panicked")]
    Panicked,
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
                StoreError::Unavailable
            }
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Request(error)
    }
}

impl From<SqliteError> for Stop {
    fn from(error: SqliteError) -> Self {
        Self::Batch(error.into())
    }
}

impl From<metergate_rules::decide::Problem> for Stop {
    fn from(problem: metergate_rules::decide::Problem) -> Self {
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
    pub(super) sqlite: &'a Sqlite,
    pub(super) settings: &'a Settings,
    pub(super) now: Time,
    /// Accounts as they are after what was decided so far.
    pub(super) working: Map<OrganizationId, Arc<Account>>,
    /// Organizations of which something but use changed.
    pub(super) changed: HashSet<OrganizationId>,
    /// Keys that were taken, or left.
    pub(super) keys: Map<OrganizationKey, Option<OrganizationId>>,
    /// What will be in the block.
    pub(super) records: Vec<(OrganizationId, Record)>,
    /// The records that were made under an id, with the attempt under which it will be known.
    pub(super) ids: Vec<(usize, u32)>,
    fresh: Map<(OrganizationId, u64), usize>,
    pub(super) derived: Derived,
    pub(super) audit: Vec<AuditRow>,
    pub(super) heads: Map<[u8; 16], Head>,
    pub(super) receipts: Vec<([u8; 16], ReceiptKey, Answer)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(ledger: &'a mut Ledger, sqlite: &'a Sqlite, settings: &'a Settings, now: Time) -> Self {
        Self {
            ledger,
            sqlite,
            settings,
            now,
            working: Map::default(),
            changed: HashSet::new(),
            keys: Map::default(),
            records: Vec::new(),
            ids: Vec::new(),
            fresh: Map::default(),
            derived: Derived::default(),
            audit: Vec::new(),
            heads: Map::default(),
            receipts: Vec::new(),
        }
    }

    /// Decides one request.
    ///
    /// # Errors
    /// [`Failure`] if the batch cannot go on; the request's own errors are answers.
    pub(super) fn decide(&mut self, request: &Request) -> Result<Pending, Failure> {
        let decided = match request {
            Request::Consume(consume) => self.consume(consume),
            Request::Record(record) => self.record(record),
            Request::Change(change) => self.change(change),
        };
        match decided {
            Ok(pending) => Ok(pending),
            Err(Stop::Request(error)) => Ok(Pending::Ready(Err(error))),
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
        let first = self.records.len();
        self.keep(organization, outcome.entries, request.key.clone(), request.fingerprint)?;
        if let (Some(Search::New(attempt)), true) = (search, self.records.len() > first) {
            self.remember(organization, self.records.len() - 1, attempt);
        }
        let organization = self.account(organization)?.profile.key.clone();
        let recorded = self.records[first..].last().is_some_and(|(_, r)| matches!(r.entry.what, What::Decided(_)));
        let receipt = DecidedReceipt { organization, verdicts, place: None, replayed: false, at: now };
        if recorded {
            return Ok(Pending::Placed(receipt, self.records.len() - 1));
        }
        Ok(Pending::Ready(Ok(Receipt::Decided(receipt))))
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
        let What::Decided(decided) = &record.entry.what else { return Err(StoreError::Internal.into()) };
        let verdicts = decided.verdicts.clone().ok_or(StoreError::Internal)?;
        let organization = self.account(organization)?.profile.key.clone();
        let at = record.entry.at;
        let receipt = DecidedReceipt { organization, verdicts, place: None, replayed: true, at };
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
        let id = Id::Event(&event.source, &event.id);
        if planted("failed-ids-kept") && self.ledger.known.candidate(organization, id, 0).is_some() {
            return Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: true })));
        }
        let attempt = match self.search(organization, id)? {
            Search::Found(..) => return Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: true }))),
            Search::New(attempt) => attempt,
        };
        let (_, outcome) = self.run(organization, &Command::Record(event.clone()), false)?;
        self.keep(organization, outcome.entries, None, 0)?;
        self.remember(organization, self.records.len() - 1, attempt);
        Ok(Pending::Ready(Ok(Receipt::Recorded { duplicate: false })))
    }

    fn change(&mut self, request: &ChangeRequest) -> Result<Pending, Stop> {
        let existing = self.resolve(&request.organization)?.filter(|id| request.caller.scope.reaches(*id));
        let creates = matches!(request.command, Command::Create(_));
        let scope = if creates { super::audit::TEAM } else { existing.ok_or(StoreError::UnknownOrganization)?.0 };
        if let Some(answer) = self.kept(scope, request.receipt.as_ref())? {
            return Ok(Pending::Ready(Ok(Receipt::Answered { answer, replayed: true })));
        }
        let (organization, reply) = match (&request.command, existing) {
            (Command::Create(_), Some(_)) => return Err(StoreError::OrganizationKeyTaken.into()),
            (Command::Create(new), None) => (self.create(&request.caller, new, &request.reason)?, Reply::Done),
            (command, Some(organization)) => (organization, self.operate(request, organization, command)?),
            (_, None) => return Err(StoreError::UnknownOrganization.into()),
        };
        let account = self.account(organization)?;
        let after = After {
            account: &account,
            reply: &reply,
            catalogue: &self.ledger.catalogue,
            now: self.now.max(account.time),
        };
        let answer = (request.respond)(&after);
        if let Some(receipt) = &request.receipt {
            self.receipts.push((scope, receipt.clone(), answer.clone()));
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
        let (_, outcome) = self.run(organization, command, false)?;
        self.write_audit(organization, &outcome.audit, &request.caller.actor, &request.reason)?;
        self.keep(organization, outcome.entries, None, 0)?;
        let key = self.account(organization)?.profile.key.clone();
        if key != account.profile.key {
            self.keys.insert(account.profile.key.clone(), None);
            self.keys.insert(key, Some(organization));
        }
        Ok(outcome.reply)
    }

    /// A kept answer to the same request.
    pub(super) fn kept(&mut self, scope: [u8; 16], receipt: Option<&ReceiptKey>) -> Result<Option<Answer>, Stop> {
        let Some(receipt) = receipt else { return Ok(None) };
        let same = |(s, r, _): &&([u8; 16], ReceiptKey, Answer)| {
            *s == scope && r.route == receipt.route && r.key == receipt.key
        };
        let pending = self.receipts.iter().find(same).map(|(_, r, answer)| (r.fingerprint, answer.clone()));
        let kept = match pending {
            Some(kept) => Some(kept),
            None => self.sqlite.receipt(scope, receipt, self.now.plus(-self.settings.keep_ids))?,
        };
        match kept {
            Some((fingerprint, _)) if fingerprint != receipt.fingerprint => Err(StoreError::Mismatch.into()),
            kept => Ok(kept.map(|(_, answer)| answer)),
        }
    }

    /// Settles the account, asks the rules, and takes what fell due into the outcome.
    fn run(
        &mut self,
        organization: OrganizationId,
        command: &Command,
        with_receipt: bool,
    ) -> Result<(Time, Outcome), Stop> {
        let account = if planted("check-then-increment") {
            self.ledger.account(self.sqlite, organization)?.map_or_else(|| self.account(organization), Ok)?
        } else {
            self.account(organization)?
        };
        let now = self.now.max(account.time);
        let catalogue = Arc::clone(&self.ledger.catalogue);
        let Settled { account, entries, audit } = account.at(&catalogue.rules, now)?;
        let seen = self.seen(&account, questions(&account, command))?;
        let mut outcome = decide(&account, command, &seen, with_receipt, &catalogue.rules, now)?;
        self.write_audit(organization, &audit, "system", "")?;
        outcome.entries.splice(0..0, entries);
        Ok((now, outcome))
    }

    /// In which windows the command's values have been seen.
    fn seen(&self, account: &Account, questions: Vec<Question>) -> Result<Vec<WindowSet>, SqliteError> {
        let mut seen = Vec::new();
        for Question { item, meter, value, spans } in questions {
            seen.resize(item + 1, WindowSet::NONE);
            for (window, span) in spans {
                let from = ValueKey { organization: account.id, meter, value, bucket: span.start };
                if self.derived.has_value(from, span.end) || self.sqlite.has_value(from, span.end)? {
                    seen[item] = seen[item].with(window);
                }
            }
        }
        Ok(seen)
    }

    /// Makes entries happen: in the account, in what reports read, in the block.
    fn keep(
        &mut self,
        organization: OrganizationId,
        entries: Vec<Entry>,
        key: Option<Key>,
        fingerprint: u64,
    ) -> Result<(), Stop> {
        if entries.is_empty() {
            return Ok(());
        }
        let account = self.account(organization)?;
        let working = self.working.entry(organization).or_insert(account);
        let account = Arc::make_mut(working);
        for entry in entries {
            apply(account, &entry);
            self.derived.add(organization, &entry);
            if is_change(&entry) {
                self.changed.insert(organization);
            }
            let decided = matches!(entry.what, What::Decided(_));
            let (key, fingerprint) = if decided { (key.clone(), fingerprint) } else { (None, 0) };
            self.records.push((organization, Record { key, fingerprint, entry }));
        }
        Ok(())
    }

    /// The account as it is after what was decided so far.
    fn account(&mut self, organization: OrganizationId) -> Result<Arc<Account>, Stop> {
        if let Some(account) = self.working.get(&organization) {
            return Ok(Arc::clone(account));
        }
        let account = self.ledger.account(self.sqlite, organization)?;
        account.ok_or_else(|| StoreError::UnknownOrganization.into())
    }

    /// The organization of a reference, whether or not the caller may reach it.
    pub(super) fn resolve(&mut self, organization: &OrganizationRef) -> Result<Option<OrganizationId>, SqliteError> {
        if let OrganizationRef::Key(key) = organization
            && let Some(known) = self.keys.get(key)
        {
            return Ok(*known);
        }
        if let OrganizationRef::Id(id) = organization
            && self.working.contains_key(id)
        {
            return Ok(Some(*id));
        }
        self.ledger.resolve(self.sqlite, organization)
    }

    /// The organization of a use; created where it is unknown and the setting allows it.
    fn find_or_create(&mut self, caller: &Caller, organization: &OrganizationRef) -> Result<OrganizationId, Stop> {
        match (self.resolve(organization)?, organization) {
            (Some(id), _) if caller.scope.reaches(id) => Ok(id),
            (None, OrganizationRef::Key(key))
                if self.settings.create_organizations && caller.scope == super::Scope::Team =>
            {
                let plan = self.ledger.catalogue.rules.newest_plan("free");
                let plan = plan.ok_or(metergate_rules::decide::Problem::UnknownPlan)?.id;
                let profile = Profile {
                    key: key.clone(),
                    name: key.to_string(),
                    zone: Zone::utc(),
                    test: false,
                    metadata: "{}".to_owned(),
                    created_at: self.now,
                };
                self.create(caller, &NewOrganization { profile, plan }, "first use")
            }
            _ => Err(StoreError::UnknownOrganization.into()),
        }
    }

    fn create(&mut self, caller: &Caller, new: &NewOrganization, reason: &str) -> Result<OrganizationId, Stop> {
        let organization = new_organization_id(self.now);
        let catalogue = Arc::clone(&self.ledger.catalogue);
        let outcome = create(new, &catalogue.rules, self.now)?;
        self.write_audit(organization, &outcome.audit, &caller.actor, reason)?;
        let created = outcome.entries.first().and_then(|entry| apply::create(organization, entry));
        self.working.insert(organization, Arc::new(created.ok_or(StoreError::Internal)?));
        self.changed.insert(organization);
        self.keys.insert(new.profile.key.clone(), Some(organization));
        let made = outcome.entries.into_iter().map(|entry| (organization, Record { key: None, fingerprint: 0, entry }));
        self.records.extend(made);
        Ok(organization)
    }

    fn write_audit(
        &mut self,
        organization: OrganizationId,
        drafts: &[metergate_rules::audit::Draft],
        actor: &str,
        reason: &str,
    ) -> Result<(), SqliteError> {
        for draft in drafts {
            self.append_audit(super::audit::chain_of(organization), draft, actor, reason)?;
        }
        Ok(())
    }

    /// Appends an entry to a chain.
    pub(super) fn append_audit(
        &mut self,
        chain: [u8; 16],
        draft: &metergate_rules::audit::Draft,
        actor: &str,
        reason: &str,
    ) -> Result<(), SqliteError> {
        let head = match self.heads.get(&chain) {
            Some(head) => *head,
            None => self.ledger.head(self.sqlite, chain)?,
        };
        let row = AuditRow::after(head, chain, draft, actor, reason);
        self.heads.insert(chain, row.head());
        self.audit.push(row);
        Ok(())
    }

    /// Looks an id up in this batch and in the journal.
    fn search(&self, organization: OrganizationId, id: Id<'_>) -> Result<Search, Stop> {
        for attempt in 0.. {
            if let Some(&index) = self.fresh.get(&(organization, self.ledger.known.hash(organization, id, attempt))) {
                let record = &self.records[index].1;
                if Id::of(record) == Some(id) {
                    return Ok(Search::Found(Box::new(record.clone()), Spot::Batch(index)));
                }
                continue;
            }
            let Some(place) = self.ledger.known.candidate(organization, id, attempt) else {
                return Ok(Search::New(attempt));
            };
            let Some((owner, record)) = self.read(place)? else { return Ok(Search::New(attempt)) };
            if owner == organization && Id::of(&record) == Some(id) {
                let gone = self.is_forgotten(&record);
                return Ok(if gone {
                    Search::New(attempt)
                } else {
                    Search::Found(Box::new(record), Spot::Journal(place))
                });
            }
        }
        Err(StoreError::Internal.into())
    }

    fn read(&self, place: Place) -> Result<Option<(OrganizationId, Record)>, SqliteError> {
        let Some(data) = self.sqlite.block(place.sequence)? else { return Ok(None) };
        let block = super::block::Block::read(&data);
        let record = block.and_then(|block| block.at(place.offset));
        record.map(Some).map_err(|error| unreadable(format!("block {}", place.sequence), error))
    }

    /// Whether an id has been kept for long enough.
    fn is_forgotten(&self, record: &Record) -> bool {
        let refused = matches!(&record.entry.what, What::Decided(decided) if decided.uses.is_empty());
        let kept = if refused { self.settings.keep_refused } else { self.settings.keep_ids };
        record.entry.at.plus(kept) <= self.now
    }

    fn remember(&mut self, organization: OrganizationId, index: usize, attempt: u32) {
        let Some(id) = Id::of(&self.records[index].1) else { return };
        self.fresh.insert((organization, self.ledger.known.hash(organization, id, attempt)), index);
        self.ids.push((index, attempt));
    }
}

/// Where a record is found.
enum Spot {
    /// Among the batch's records, at this index: it has no place yet.
    Batch(usize),
    /// In the journal.
    Journal(Place),
}

enum Search {
    /// Something was made under this id.
    Found(Box<Record>, Spot),
    /// The id is new, and will be known on this attempt.
    New(u32),
}

/// Whether an entry changes what organizations are listed by.
fn is_change(entry: &Entry) -> bool {
    match &entry.what {
        What::Changed(change) => !matches!(**change, Change::Extra { .. } | Change::Granted(_) | Change::Reset { .. }),
        What::Due(effect) => matches!(effect, Effect::TrialEnded { .. }),
        What::Decided(_) | What::Recorded(_) => false,
    }
}

/// A UUID of version 7.
fn new_organization_id(now: Time) -> OrganizationId {
    let millis = u64::try_from(now.micros() / 1000).unwrap_or_default();
    OrganizationId(uuid::Builder::from_unix_timestamp_millis(millis, &crate::random::bytes()).into_uuid().into_bytes())
}
