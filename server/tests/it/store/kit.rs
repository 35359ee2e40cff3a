//! A store with the meters and plans of the tests and the organization `acme`, and what the suite asks of it. Another
//! engine needs another of this file alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metergate::aggregate::{Aggregated, aggregate};
use metergate::catalogue::Snapshot;
use metergate::catalogue::change::{TeamCommand, TeamRequest};
use metergate::catalogue::file::CatalogueFile;
use metergate::clock::Clock;
use metergate::store::audit::{AuditRow, chain_of};
use metergate::store::reader::{ReadError, View};
use metergate::store::rollup::{Day, Slot};
use metergate::store::sqlite::{self, RollupRange, Sqlite};
use metergate::store::totals::Totals;
use metergate::store::{
    Answer, Answers, DecidedReceipt, Pace, Port, Receipt, Request, Scope, Settings, Store, StoreError,
};
use metergate::sweep::{Heads, Swept};
use metergate_rules::account::Account;
use metergate_rules::time::{DAY, Time};
use metergate_rules::window::Window;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use super::asks::{Ask, CATALOGUE, METERS, Make, Tell, create, meter, organization};
use crate::invariant::{Held, Journal, stored};

/// Fail points are the process's, so a test that sets one is alone with it.
static FAIL_POINTS: RwLock<()> = RwLock::new(());

enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// How often a test looks, every 10 ms, whether the store has done something.
const PATIENCE: u32 = 3000;

/// The time at which every test begins: 2026-03-10T08:00:00Z.
pub(super) fn start() -> Time {
    "2026-03-10T08:00:00Z".parse().unwrap()
}

/// A store in a folder of its own. Its time is the test's.
pub(super) struct Kit {
    open: Option<Open>,
    pub(super) runtime: Runtime,
    folder: TempDir,
    settings: Settings,
    _turn: Turn,
}

pub(super) struct Open {
    pub(super) store: Arc<Store>,
    pub(super) port: Port,
    receiving: AbortHandle,
}

impl Kit {
    /// With the organization `acme` on the plan `free`.
    pub(super) fn new() -> Self {
        Self::with_rows(Pace::Tenth)
    }

    /// The same, with rows that follow the journal at this pace.
    pub(super) fn with_rows(pace: Pace) -> Self {
        Self::with(Self::beside_others(), |settings| settings.pace = pace)
    }

    /// The same, with slices that are closed at so many ids, and records that are kept for so many days.
    pub(super) fn with_slices(slice_ids: u64, days: i64) -> Self {
        Self::with(Self::beside_others(), |settings| {
            (settings.slice_ids, settings.keep_records) = (slice_ids, days * DAY);
        })
    }

    /// Alone in this process, so that it may set fail points. Slices are closed at so many ids.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "only tests with fail points ask for it"))]
    pub(super) fn alone_with_slices(slice_ids: u64) -> Self {
        Self::with(Turn::Alone { _guard: FAIL_POINTS.write() }, |settings| settings.slice_ids = slice_ids)
    }

    /// Alone in this process, so that it may set fail points.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "only tests with fail points ask for it"))]
    pub(super) fn alone() -> Self {
        Self::with(Turn::Alone { _guard: FAIL_POINTS.write() }, |_| ())
    }

    fn beside_others() -> Turn {
        Turn::Shared { _guard: FAIL_POINTS.read_recursive() }
    }

    fn with(turn: Turn, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_folder(folder.path());
        change(&mut settings);
        let mut kit = Self { open: None, runtime, folder, settings, _turn: turn };
        kit.reopen_at(start());
        kit.apply_catalogue().unwrap();
        kit.made(&create("acme"));
        kit
    }

    pub(super) fn apply_catalogue(&self) -> Result<Receipt, StoreError> {
        let command = TeamCommand::Apply(CatalogueFile::parse(CATALOGUE).unwrap());
        let applied = self.change_team(command);
        for (key, aggregation) in METERS {
            let known = self.open().store.catalogue().meter(key).map(|known| (known.id, known.aggregation));
            assert!(applied.is_err() || known == Some((meter(key), aggregation)), "{key} is {known:?}");
        }
        applied
    }

    pub(super) fn change_team(&self, command: TeamCommand) -> Result<Receipt, StoreError> {
        let request = TeamRequest {
            actor: Arc::from("key:test"),
            reason: String::new(),
            receipt: None,
            command,
            only_if_version: None,
            respond: Arc::new(|_| Answer { status: 200, body: Vec::new(), version: None }),
        };
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(store.change_team(port, request))
    }

    /// Deletes an organization.
    pub(super) fn delete(&self, make: &Make) -> Result<Receipt, StoreError> {
        let Request::Change(request) = make.into() else { panic!("a change") };
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(store.delete(port, *request))
    }

    /// Goes once through what has fallen due where nobody calls.
    pub(super) fn sweep(&self) -> Swept {
        let (_stop, goes_on) = tokio::sync::watch::channel(false);
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(metergate::sweep::pass(store, port, &goes_on)).unwrap()
    }

    /// Makes the rollups of all days again.
    pub(super) fn aggregate(&self) -> Aggregated {
        self.aggregate_beside(Vec::new)
    }

    /// The same beside such calls, one after the other.
    pub(super) fn aggregate_beside(&self, mut requests: impl FnMut() -> Vec<Request>) -> Aggregated {
        let (_stop, goes_on) = tokio::sync::watch::channel(false);
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(async {
            let mut done = std::pin::pin!(aggregate(store, port, i32::MIN..=i32::MAX, &goes_on));
            loop {
                tokio::select! {
                    answers = store.execute(port, requests()) => {
                        assert!(answers.unwrap().iter().all(Result::is_ok));
                        tokio::task::yield_now().await;
                    }
                    done = &mut done => return done.unwrap(),
                }
            }
        })
    }

    /// Has the team's chain hold the ends of the others, as after a start.
    pub(super) fn hold_heads(&self) -> usize {
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(Heads::default().hold(store, port)).unwrap()
    }

    pub(super) fn open(&self) -> &Open {
        self.open.as_ref().expect("the store is open")
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its database as an operator finds it.
    pub(super) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder().join(sqlite::FILE)).unwrap()
    }

    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.receiving.abort();
            open.store.close();
        }
    }

    /// Stops it and starts it again; its clock goes on from `time`.
    pub(super) fn reopen_at(&mut self, time: Time) {
        self.close();
        let store = Store::open(self.settings.clone(), Clock::starting_at(time));
        let store = Arc::new(store.expect("the store opens"));
        let port = store.port();
        let receiving = self.runtime.spawn(port.clone().receive()).abort_handle();
        self.open = Some(Open { store, port, receiving });
    }

    /// From its next start on rows follow the journal at this pace.
    pub(super) const fn set_pace(&mut self, pace: Pace) {
        self.settings.pace = pace;
    }

    /// Stops it and starts it again.
    pub(super) fn reopen(&mut self) {
        self.reopen_at(self.now());
    }

    pub(super) fn now(&self) -> Time {
        self.open().store.now()
    }

    /// Sends calls at the same time, each with its requests. The answers in the order of the calls.
    pub(super) fn at_once(&self, calls: Vec<Vec<Request>>) -> Vec<Answers> {
        let mut answers: Vec<Option<Answers>> = calls.iter().map(|_| None).collect();
        self.runtime.block_on(async {
            let mut under_way = JoinSet::new();
            for (i, requests) in calls.into_iter().enumerate() {
                let (store, port) = (Arc::clone(&self.open().store), self.open().port.clone());
                under_way.spawn(async move { (i, store.execute(&port, requests).await) });
            }
            while let Some(done) = under_way.join_next().await {
                let (i, answer) = done.unwrap();
                answers[i] = Some(answer);
            }
        });
        answers.into_iter().map(Option::unwrap).collect()
    }

    /// One call of each of these at the same time: the writer makes of them as many batches as it likes.
    pub(super) fn each_alone<R>(&self, requests: impl IntoIterator<Item = R>) -> Vec<Result<Receipt, StoreError>>
    where
        R: Into<Request>,
    {
        let answers = self.at_once(requests.into_iter().map(|request| vec![request.into()]).collect());
        answers.into_iter().map(|answer| answer.and_then(|mut answers| answers.pop().unwrap())).collect()
    }

    /// All of these in one call, and so in one commit.
    pub(super) fn in_one_batch(&self, requests: Vec<Request>) -> Vec<Result<Receipt, StoreError>> {
        self.at_once(vec![requests]).pop().unwrap().expect("the call is answered")
    }

    pub(super) fn send(&self, request: impl Into<Request>) -> Result<Receipt, StoreError> {
        self.at_once(vec![vec![request.into()]]).pop().unwrap()?.pop().unwrap()
    }

    pub(super) fn decide(&self, ask: &Ask) -> Result<DecidedReceipt, StoreError> {
        self.send(ask).map(decided)
    }

    pub(super) fn allows(&self, ask: &Ask) -> bool {
        self.decide(ask).unwrap().verdicts.iter().all(|verdict| verdict.reason.is_none())
    }

    /// Whether the event was recorded now, not before.
    pub(super) fn records(&self, tell: &Tell) -> bool {
        match self.send(tell).unwrap() {
            Receipt::Recorded { duplicate } => !duplicate,
            other => panic!("{other:?}"),
        }
    }

    /// The answer to a change, and whether it was made before.
    pub(super) fn made(&self, make: &Make) -> (String, bool) {
        match self.send(make).unwrap() {
            Receipt::Answered { answer, replayed } => (String::from_utf8(answer.body).unwrap(), replayed),
            other => panic!("{other:?}"),
        }
    }

    /// The account as readers see it.
    pub(super) fn account(&self, key: &str) -> Account {
        let key = organization(key);
        let read = self.open().store.reader().read(move |view| view.account(Scope::Team, &key));
        self.runtime.block_on(read).expect("the organization can be read")
    }

    pub(super) fn exists(&self, key: &str) -> bool {
        let key = organization(key);
        let read = self.open().store.reader().read(move |view| view.account(Scope::Team, &key));
        match self.runtime.block_on(read) {
            Ok(_) => true,
            Err(StoreError::UnknownOrganization) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// What is counted in a window.
    pub(super) fn used(&self, key: &str, name: &str, window: Window) -> i64 {
        let account = self.account(key);
        account.meter(meter(name)).and_then(|used| used.counter(window)).map_or(0, |counter| counter.used.units())
    }

    /// What reports say of a meter over all time.
    pub(super) fn reported(&self, key: &str, name: &str) -> Slot {
        let (id, number) = (self.account(key).id, meter(name));
        let read = move |view: &metergate::store::reader::View<'_>| {
            let mut total = Slot::default();
            let (first, last) = (i32::MIN, i32::MAX);
            let range = RollupRange { organization: id, meter: number, first, last, newest_first: false };
            view.each_rollup(&range, |_, _, data| {
                total.merge(&Day::total(data).unwrap());
                Ok(true)
            })?;
            for (_, _, day) in view.lacking_rollups(&range)? {
                day.slots().for_each(|(_, slot)| total.merge(slot));
            }
            Ok(total)
        };
        self.runtime.block_on(self.open().store.reader().read(read)).unwrap()
    }

    /// Reads what is stored as readers do.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>, &Snapshot) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = &self.open().store;
        let catalogue = store.catalogue();
        self.runtime.block_on(store.reader().read(move |view| read(view, &catalogue)))
    }

    /// What all organizations together used, as the fleet view says it.
    pub(super) fn used_by_all(&self) -> Totals {
        self.open().store.reader().totals().unwrap()
    }

    /// How many rows a table has.
    pub(super) fn count(&self, table: &str) -> u64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.database().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    }

    /// The journal's newest block, which stays when the slices have taken the others.
    pub(super) fn last_block(&self) -> u64 {
        let newest = "SELECT max(sequence) FROM blocks";
        self.database().query_row(newest, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    }

    /// Waits until it is so: the store does some things beside what it is asked.
    pub(super) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("after {PATIENCE} looks it still is not so: {what}");
    }

    /// An organization's entries in the audit log, oldest first.
    pub(super) fn audit(&self, key: &str) -> Vec<AuditRow> {
        let chain = chain_of(self.account(key).id);
        let mut rows = Sqlite::open_to_read(self.folder()).unwrap().audit_before(chain, u64::MAX, usize::MAX).unwrap();
        rows.reverse();
        rows
    }

    pub(super) fn journal(&self) -> Journal {
        Journal::of(self.folder())
    }

    /// The invariants that can be seen in what is stored.
    pub(super) fn check(&self) -> Held {
        stored(self.folder())
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) fn decided(receipt: Receipt) -> DecidedReceipt {
    match receipt {
        Receipt::Decided(decided) => decided,
        other => panic!("{other:?}"),
    }
}

/// How many of these were allowed.
pub(super) fn allowed(receipts: &[Result<Receipt, StoreError>]) -> usize {
    let is_allowed = |receipt: &&Result<Receipt, StoreError>| match receipt {
        Ok(Receipt::Decided(decided)) => decided.verdicts.iter().all(|verdict| verdict.reason.is_none()),
        other => panic!("{other:?}"),
    };
    receipts.iter().filter(is_allowed).count()
}
