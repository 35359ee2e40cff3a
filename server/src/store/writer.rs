//! The writer: one thread that takes what waits, decides it, commits it, and answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use metergate_rules::account::Account;
use metergate_rules::apply;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::{DAY, HOUR, Time};
use parking_lot::{Mutex, RwLock};

use super::batch::{Batch, Failure, Pending};
use super::block::{self, Block, Place, Record};
use super::inbox::{Call, Inbox, Mailbox, Port};
use super::known::Id;
use super::ledger::{Ledger, Map};
use super::reader::{Reader, Recent};
use super::rollup::Derived;
use super::sqlite::{Commit, Sqlite, SqliteError, unreadable};
use super::{Answers, Receipt, Request, StoreError, Work};
use crate::catalogue::Snapshot;
use crate::clock::Clock;
use crate::dies_at;
use crate::faults::planted;

/// Requests in one commit at most.
const MOST_REQUESTS: usize = 16_384;
/// Records that replay folds in one commit.
const REPLAY_STEP: usize = 50_000;

/// What the store needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data folder.
    pub folder: PathBuf,
    /// Whether unknown organizations are created on first use.
    pub create_organizations: bool,
    /// For how long the ids of events and allowed decisions are known, in microseconds.
    pub keep_ids: i64,
    /// For how long the ids of refused decisions are known, in microseconds.
    pub keep_refused: i64,
}

impl Settings {
    /// The defaults, in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), create_organizations: false, keep_ids: 35 * DAY, keep_refused: 24 * HOUR }
    }
}

/// The store. One for a data folder; its methods are the only way to it.
pub struct Store {
    inbox: Arc<Inbox>,
    catalogue: Arc<ArcSwap<Snapshot>>,
    clock: Clock,
    thread: Mutex<Option<JoinHandle<()>>>,
    reader: Reader,
    values_key: [u8; 16],
    last_commit: Time,
}

impl Store {
    /// Opens the data folder, replays what the rows do not hold yet, and starts the writer.
    ///
    /// # Errors
    /// [`SqliteError`] if the folder cannot be used or what is stored cannot be read.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, SqliteError> {
        let mut sqlite = Sqlite::open(&settings.folder)?;
        dies_at!("start-opened");
        let snapshot = Arc::new(snapshot_of(&sqlite)?);
        let values_key = values_key(&sqlite)?;
        replay(&mut sqlite)?;
        dies_at!("start-replayed");
        let recent = Arc::new(RwLock::new(Recent::default()));
        let ledger = read_ids(&sqlite, Arc::clone(&snapshot), &recent)?;
        dies_at!("start-ids-read");
        let last_commit = ledger.last;
        let catalogue = Arc::new(ArcSwap::new(snapshot));
        let reader = Reader::new(&settings.folder, Arc::clone(&recent));
        let inbox = Arc::new(Inbox::default());
        let writer = Writer {
            sqlite,
            ledger,
            settings,
            clock,
            catalogue: Arc::clone(&catalogue),
            recent,
            inbox: Arc::clone(&inbox),
        };
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| SqliteError::Unusable(format!("no thread for the writer: {error}")))?;
        Ok(Self { inbox, catalogue, clock, thread: Mutex::new(Some(thread)), reader, values_key, last_commit })
    }

    /// A door to the store for one core. Its [`Port::receive`] must run there.
    pub fn port(&self) -> Port {
        Port::new(Arc::clone(&self.inbox))
    }

    /// Runs commands. The answers are durable when they arrive.
    pub async fn execute(&self, port: &Port, requests: Vec<Request>) -> Answers {
        port.call(Work::Requests(requests)).await
    }

    /// Changes what is the team's.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn change_team(
        &self,
        port: &Port,
        request: crate::catalogue::TeamRequest,
    ) -> Result<Receipt, StoreError> {
        port.call(Work::Team(Box::new(request))).await?.pop().unwrap_or(Err(StoreError::Internal))
    }

    /// Meters, plans and keys in force.
    pub fn catalogue(&self) -> Arc<Snapshot> {
        self.catalogue.load_full()
    }

    /// Reading, beside the writer.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The time by which the store decides.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The time of the last commit before this start.
    pub const fn last_commit(&self) -> Time {
        self.last_commit
    }

    /// The key under which values of `uniqueCount` meters are hashed in this installation.
    pub const fn values_key(&self) -> &[u8; 16] {
        &self.values_key
    }

    /// Answers what waits, then stops.
    pub fn close(&self) {
        self.inbox.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the writer panicked");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) fn snapshot_of(sqlite: &Sqlite) -> Result<Snapshot, SqliteError> {
    Snapshot::new(sqlite.stored()?).map_err(|error| unreadable("the catalogue", error))
}

/// Made once for an installation, so that a value has the same hash for ever and in no other installation.
fn values_key(sqlite: &Sqlite) -> Result<[u8; 16], SqliteError> {
    if let Some(text) = sqlite.setting("values_key")? {
        let key = u128::from_str_radix(&text, 16).map_err(|error| unreadable("values_key", error))?;
        return Ok(key.to_be_bytes());
    }
    let key: [u8; 16] = crate::random::bytes();
    sqlite.set_setting("values_key", &format!("{:032x}", u128::from_be_bytes(key)))?;
    Ok(key)
}

/// Applies the blocks that the rows do not hold yet, account by account, and writes the rows.
fn replay(sqlite: &mut Sqlite) -> Result<(), SqliteError> {
    let text = sqlite.setting("folded_to")?.unwrap_or_else(|| "0".to_owned());
    let folded_to: u64 = text.parse().map_err(|error| unreadable("folded_to", error))?;
    let mut fold = Fold::default();
    let reading = Sqlite::open_to_read(sqlite.folder())?;
    reading.each_block_after(folded_to, |sequence, at, data| {
        fold.add(sqlite, sequence, data)?;
        fold.last = (sequence, at);
        if fold.records >= REPLAY_STEP { fold.write(sqlite) } else { Ok(()) }
    })?;
    fold.write(sqlite)
}

/// Accounts and what reports read, as blocks make them.
#[derive(Default)]
struct Fold {
    accounts: Map<OrganizationId, (u64, Option<Account>)>,
    derived: Derived,
    records: usize,
    last: (u64, Time),
}

impl Fold {
    fn add(&mut self, sqlite: &Sqlite, sequence: u64, data: &[u8]) -> Result<(), SqliteError> {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let all = Block::read(data).and_then(|block| block.all()).map_err(broken)?;
        for (organization, _, record) in all {
            let (held, account) = match self.accounts.entry(organization) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let row = sqlite.account_row(organization)?;
                    entry.insert(row.map_or((0, None), |(held, account)| (held, Some(account))))
                }
            };
            if *held >= sequence {
                continue;
            }
            match account {
                Some(account) => apply::apply(account, &record.entry),
                None => *account = apply::create(organization, &record.entry),
            }
            self.derived.add(organization, &record.entry);
            self.records += 1;
        }
        Ok(())
    }

    /// Writes what was folded; in one commit, so that a start that dies here begins again from the same place.
    fn write(&mut self, sqlite: &mut Sqlite) -> Result<(), SqliteError> {
        dies_at!("start-replaying");
        let accounts = self.accounts.values().filter_map(|(_, account)| Some((account.as_ref()?, true))).collect();
        let commit = Commit {
            sequence: self.last.0,
            at: self.last.1,
            block: None,
            accounts,
            derived: &self.derived,
            audit: &[],
            receipts: &[],
            team: &[],
        };
        if self.last.0 > 0 {
            sqlite.write(&commit)?;
        }
        *self = Self { last: (0, Time::MIN), ..Self::default() };
        Ok(())
    }
}

/// The ids that the journal holds, and which blocks each organization is in.
fn read_ids(sqlite: &Sqlite, catalogue: Arc<Snapshot>, recent: &RwLock<Recent>) -> Result<Ledger, SqliteError> {
    let (sequence, last) = sqlite.last_block()?;
    let mut ledger = Ledger {
        accounts: Map::default(),
        keys: Map::default(),
        known: super::known::Known::default(),
        heads: Map::default(),
        sequence,
        last,
        catalogue,
    };
    let mut recent = recent.write();
    sqlite.each_block_after(0, |sequence, _, data| {
        let broken = |error| unreadable(format!("block {sequence}"), error);
        let block = Block::read(data).map_err(broken)?;
        recent.add(sequence, block.organizations());
        for (organization, offset, record) in block.all().map_err(broken)? {
            if let Some(id) = Id::of(&record) {
                remember(&mut ledger, sqlite, organization, id, Place { sequence, offset })?;
            }
        }
        Ok::<_, SqliteError>(())
    })?;
    Ok(ledger)
}

/// An id at start: under the first attempt that is free, or that holds the same id from an earlier time.
fn remember(
    ledger: &mut Ledger,
    sqlite: &Sqlite,
    organization: OrganizationId,
    id: Id<'_>,
    place: Place,
) -> Result<(), SqliteError> {
    for attempt in 0.. {
        let Some(taken) = ledger.known.candidate(organization, id, attempt) else {
            ledger.known.insert(organization, id, attempt, place);
            return Ok(());
        };
        let data = sqlite.block(taken.sequence)?.unwrap_or_default();
        let earlier = Block::read(&data).and_then(|block| block.at(taken.offset));
        if earlier.is_ok_and(|(owner, record)| owner == organization && Id::of(&record) == Some(id)) {
            ledger.known.insert(organization, id, attempt, place);
            return Ok(());
        }
    }
    Ok(())
}

pub(super) struct Writer {
    pub(super) sqlite: Sqlite,
    pub(super) ledger: Ledger,
    pub(super) settings: Settings,
    clock: Clock,
    pub(super) catalogue: Arc<ArcSwap<Snapshot>>,
    recent: Arc<RwLock<Recent>>,
    inbox: Arc<Inbox>,
}

impl Writer {
    fn run(mut self) {
        let mut calls = Vec::new();
        while self.inbox.take(&mut calls).is_some() {
            let mut waiting = calls.drain(..).peekable();
            while waiting.peek().is_some() {
                let (team, batch) = next_batch(&mut waiting);
                match team {
                    Some(call) => self.answer_team(&call),
                    None => self.answer(&batch),
                }
            }
        }
    }

    /// One time for the batch, never behind the last commit's.
    pub(super) fn now(&self) -> Time {
        self.clock.now().max(self.ledger.last)
    }

    fn answer_team(&mut self, call: &Call) {
        let Work::Team(request) = &call.work else { return };
        let answer = catch_unwind(AssertUnwindSafe(|| self.change_team(request))).unwrap_or(Err(StoreError::Internal));
        deliver(vec![(call, Ok(vec![answer]))]);
    }

    /// Decides and commits calls together. Where one of them brings the batch down, it is split until that one stands
    /// alone.
    fn answer(&mut self, calls: &[Call]) {
        let attempted = catch_unwind(AssertUnwindSafe(|| self.attempt(calls))).unwrap_or(Err(Failure::Panicked));
        match attempted {
            Ok(answers) => deliver(calls.iter().zip(answers.into_iter().map(Ok)).collect()),
            Err(Failure::Panicked) if calls.len() > 1 => {
                let (first, second) = calls.split_at(calls.len() / 2);
                self.answer(first);
                self.answer(second);
            }
            Err(failure) => {
                tracing::error!(%failure, calls = calls.len(), "a commit failed; nothing of it happened");
                let error =
                    if matches!(failure, Failure::Panicked) { StoreError::Internal } else { StoreError::Unavailable };
                deliver(calls.iter().map(|call| (call, Err(error.clone()))).collect());
            }
        }
    }

    fn attempt(&mut self, calls: &[Call]) -> Result<Vec<Vec<Result<Receipt, StoreError>>>, Failure> {
        let now = self.now();
        let mut batch = Batch::new(&mut self.ledger, &self.sqlite, &self.settings, now);
        let mut pending: Vec<Vec<Pending>> = Vec::with_capacity(calls.len());
        for call in calls {
            let Work::Requests(requests) = &call.work else { continue };
            pending.push(requests.iter().map(|request| batch.decide(request)).collect::<Result<_, _>>()?);
        }
        let decided = Decided::of(batch);
        if planted("answer-before-fsync") {
            let early = pending.iter().map(|call| call.iter().map(early).collect());
            deliver(calls.iter().zip(early.map(Ok)).collect());
            dies_at!("answered-early");
        }
        let offsets = self.commit(decided)?;
        let sequence = self.ledger.sequence;
        dies_at!("commit-unanswered");
        if planted("answer-before-fsync") {
            return Ok(Vec::new());
        }
        let place = |record: usize| Place { sequence, offset: offsets[record] };
        let answer = |pending| match pending {
            Pending::Ready(answer) => answer,
            Pending::Placed(receipt, record) => {
                Ok(Receipt::Decided(super::DecidedReceipt { place: Some(place(record)), ..receipt }))
            }
        };
        Ok(pending.into_iter().map(|call| call.into_iter().map(answer).collect()).collect())
    }

    /// Writes what was decided, and only then makes it the durable image.
    pub(super) fn commit(&mut self, decided: Decided) -> Result<Vec<u32>, Failure> {
        if decided.is_empty() {
            return Ok(Vec::new());
        }
        let has_block = !decided.records.is_empty();
        let sequence = self.ledger.sequence + u64::from(has_block);
        let (data, offsets) = block::pack(&decided.records).map_err(|e| unreadable("a new block", e))?;
        let accounts = decided.working.values().map(|a| (&**a, decided.changed.contains(&a.id))).collect();
        if planted("failed-ids-kept") {
            decided.remember(&mut self.ledger, sequence, &offsets);
        }
        let commit = Commit {
            sequence,
            at: decided.now,
            block: has_block.then_some(&*data),
            accounts,
            derived: &decided.derived,
            audit: &decided.audit,
            receipts: &decided.receipts,
            team: &decided.team,
        };
        self.sqlite.write(&commit)?;
        decided.remember(&mut self.ledger, sequence, &offsets);
        if has_block {
            self.recent.write().add(sequence, decided.records.iter().map(|(organization, _)| *organization));
        }
        decided.become_durable(&mut self.ledger, sequence);
        Ok(offsets)
    }
}

/// What a batch decided, apart from the durable image that it was decided on.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) now: Time,
    working: Map<OrganizationId, Arc<Account>>,
    changed: std::collections::HashSet<OrganizationId>,
    keys: Map<metergate_rules::id::OrganizationKey, Option<OrganizationId>>,
    records: Vec<(OrganizationId, Record)>,
    ids: Vec<(usize, u32)>,
    derived: Derived,
    pub(super) audit: Vec<super::audit::AuditRow>,
    pub(super) heads: Map<[u8; 16], super::ledger::Head>,
    pub(super) receipts: Vec<([u8; 16], super::ReceiptKey, super::Answer)>,
    pub(super) team: Vec<crate::catalogue::change::TeamRow>,
}

impl Decided {
    pub(super) fn of(batch: Batch<'_>) -> Self {
        let Batch { now, working, changed, keys, records, ids, derived, audit, heads, receipts, .. } = batch;
        Self { now, working, changed, keys, records, ids, derived, audit, heads, receipts, team: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.audit.is_empty() && self.receipts.is_empty() && self.team.is_empty()
    }

    fn remember(&self, ledger: &mut Ledger, sequence: u64, offsets: &[u32]) {
        for (index, attempt) in &self.ids {
            let (organization, record) = &self.records[*index];
            if let Some(id) = Id::of(record) {
                let place = Place { sequence, offset: offsets[*index] };
                ledger.known.insert(*organization, id, *attempt, place);
            }
        }
    }

    fn become_durable(self, ledger: &mut Ledger, sequence: u64) {
        ledger.sequence = sequence;
        ledger.last = self.now;
        ledger.accounts.extend(self.working);
        ledger.heads.extend(self.heads);
        for (key, organization) in self.keys {
            match organization {
                Some(organization) => ledger.keys.insert(key, organization),
                None => ledger.keys.remove(&key),
            };
        }
    }
}

fn early(pending: &Pending) -> Result<Receipt, StoreError> {
    match pending {
        Pending::Ready(answer) => answer.clone(),
        Pending::Placed(receipt, _) => Ok(Receipt::Decided(receipt.clone())),
    }
}

/// The next calls that are decided together; what is the team's stands alone.
fn next_batch(waiting: &mut std::iter::Peekable<impl Iterator<Item = Call>>) -> (Option<Call>, Vec<Call>) {
    let (mut batch, mut requests) = (Vec::new(), 0);
    while let Some(call) = waiting.peek() {
        match &call.work {
            Work::Team(_) if batch.is_empty() => return (waiting.next(), batch),
            Work::Requests(more) if requests < MOST_REQUESTS => requests += more.len(),
            _ => break,
        }
        batch.extend(waiting.next());
    }
    (None, batch)
}

/// Answers for one port, by slot.
type Letters = Vec<(usize, Answers)>;

/// Hands each port its answers as one vector with one wake-up.
fn deliver(answers: Vec<(&Call, Answers)>) {
    let mut ports: Vec<(&Arc<Mailbox>, Letters)> = Vec::new();
    for (call, answer) in answers {
        let (mailbox, slot) = call.address();
        match ports.iter_mut().find(|(port, _)| Arc::ptr_eq(port, mailbox)) {
            Some((_, answers)) => answers.push((slot, answer)),
            None => ports.push((mailbox, vec![(slot, answer)])),
        }
    }
    for (mailbox, mut answers) in ports {
        mailbox.deliver(&mut answers);
    }
}
