//! A store with the meters and plans of the tests and the organization `acme`, and what the suite asks of it. This file is in
//! each engine's suite; [`ENGINE`] says which one that is.

use std::path::Path;
use std::sync::Arc;

use metergate::aggregate::{Aggregated, aggregate};
use metergate::catalogue::change::{TeamCommand, TeamRequest};
use metergate::catalogue::file::CatalogueFile;
use metergate::clock::Clock;
use metergate::config::Secret;
use metergate::store::sqlite;
use metergate::store::{Answer, Answers, DecidedReceipt, Pace, Port, Receipt, Request, Settings, Store, StoreError};
use metergate::sweep::{Daily, Heads, Shift, Swept};
use metergate_rules::time::{DAY, Time};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

use super::ENGINE;
use super::asks::{Ask, CATALOGUE, METERS, Make, Tell, create, meter, tell};
use super::engine::{Database, Engine};

mod looking;
pub(super) use looking::{blob, is_of, named};

/// Fail points are the process's, so a test that sets one is alone with it.
static FAIL_POINTS: RwLock<()> = RwLock::new(());

enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// Days after which no test comes.
pub(super) const LONG: i64 = 36_500;

/// The time at which every test begins: 2026-03-10T08:00:00Z.
pub(super) fn start() -> Time {
    "2026-03-10T08:00:00Z".parse().unwrap()
}

/// A store in a folder of its own. Its time is the test's.
pub(super) struct Kit {
    open: Option<Open>,
    pub(super) runtime: Runtime,
    folder: TempDir,
    database: Option<Database>,
    settings: Settings,
    _turn: Turn,
}

pub(super) struct Open {
    pub(super) store: Arc<Store>,
    pub(super) port: Port,
    receiving: AbortHandle,
}

impl Open {
    fn of(store: Arc<Store>, runtime: &Runtime) -> Self {
        let port = store.port();
        let receiving = runtime.spawn(port.clone().receive()).abort_handle();
        Self { store, port, receiving }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.receiving.abort();
        self.store.close();
    }
}

impl Kit {
    /// With the organization `acme` on the plan `free`.
    pub(super) fn new() -> Self {
        Self::with_rows(Pace::Tenth)
    }

    /// The same, where a first use creates an organization.
    pub(super) fn creating() -> Self {
        Self::with(Self::beside_others(), |settings| settings.create_organizations = true)
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
        let database = (ENGINE == Engine::Postgres).then(Database::new);
        settings.database = database.as_ref().map(Database::secret);
        // Tests count what is stored anew from its records; those of their retention say for how long they are kept.
        settings.keep_records = 3650 * DAY;
        settings.lanes = if ENGINE == Engine::Postgres { 2 } else { 1 };
        change(&mut settings);
        let mut kit = Self { open: None, runtime, folder, database, settings, _turn: turn };
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
        self.change_team_on(self.open(), command)
    }

    /// The same on a node.
    pub(super) fn change_team_on(&self, node: &Open, command: TeamCommand) -> Result<Receipt, StoreError> {
        let request = TeamRequest {
            actor: Arc::from("key:test"),
            reason: String::new(),
            receipt: None,
            command,
            only_if_version: None,
            respond: Arc::new(|_| Answer { status: 200, body: Vec::new(), version: None }),
        };
        self.runtime.block_on(node.store.change_team(&node.port, request))
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

    /// Compares rollups with the records as a server does by itself, on a node, for one shift.
    pub(super) fn compare_on(&self, node: &Open, daily: Daily) -> Shift {
        let (_stop, goes_on) = tokio::sync::watch::channel(false);
        self.runtime.block_on(daily.shift(&node.store, &node.port, &goes_on)).unwrap()
    }

    /// Has the team's chain hold the ends of the others, as after a start.
    pub(super) fn hold_heads(&self) -> usize {
        let Open { store, port, .. } = self.open();
        self.runtime.block_on(Heads::default().hold(store, port)).unwrap()
    }

    pub(super) fn open(&self) -> &Open {
        self.open.as_ref().expect("the store is open")
    }

    /// Its database on the server of the tests.
    pub(super) fn server(&self) -> &Database {
        self.database.as_ref().expect("the suite is about PostgreSQL")
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its database as an operator finds it, of the embedded engine.
    pub(super) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder().join(sqlite::FILE)).unwrap()
    }

    pub(super) fn close(&mut self) {
        drop(self.open.take());
    }

    /// Stops it and starts it again; its clock goes on from `time`.
    pub(super) fn reopen_at(&mut self, time: Time) {
        self.close();
        let store = Store::open(self.settings.clone(), Clock::starting_at(time));
        self.open = Some(Open::of(Arc::new(store.expect("the store opens")), &self.runtime));
    }

    /// From now on a database is its record.
    pub(super) fn go_on_in(&mut self, database: Database, time: Time) {
        self.close();
        self.settings.database = Some(database.secret());
        self.database = Some(database);
        self.reopen_at(time);
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

    /// Another node on the same record, with the same time.
    pub(super) fn another(&self) -> Open {
        self.another_at(self.now())
    }

    /// The same, which decides by so many loops.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "of several nodes alone"))]
    pub(super) fn another_of(&self, lanes: usize) -> Open {
        self.open_at(Settings { lanes, ..self.settings.clone() }, self.now())
    }

    /// The same, which reaches the record by this URL.
    #[cfg_attr(not(feature = "faults"), expect(dead_code, reason = "of poolers alone"))]
    pub(super) fn another_by(&self, url: String) -> Open {
        self.open_at(Settings { database: Some(Secret::new(url)), ..self.settings.clone() }, self.now())
    }

    fn another_at(&self, time: Time) -> Open {
        self.open_at(self.settings.clone(), time)
    }

    fn open_at(&self, settings: Settings, time: Time) -> Open {
        let store = Store::open(settings, Clock::starting_at(time));
        Open::of(Arc::new(store.expect("the store opens")), &self.runtime)
    }

    /// Sends calls at the same time, each with its requests. The answers in the order of the calls.
    pub(super) fn at_once(&self, calls: Vec<Vec<Request>>) -> Vec<Answers> {
        self.at_once_on(&[self.open()], calls)
    }

    /// The same to several nodes, one after the other.
    pub(super) fn at_once_on(&self, nodes: &[&Open], calls: Vec<Vec<Request>>) -> Vec<Answers> {
        let mut answers: Vec<Option<Answers>> = calls.iter().map(|_| None).collect();
        self.runtime.block_on(async {
            let mut under_way = JoinSet::new();
            for (i, requests) in calls.into_iter().enumerate() {
                let Open { store, port, .. } = nodes[i % nodes.len()];
                let (store, port) = (Arc::clone(store), port.clone());
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

/// An event of this number.
pub(super) fn event(number: usize) -> Tell {
    tell("hits", 1, &format!("e{number}"))
}

/// Records so many events in one batch, all of them new.
pub(super) fn record(kit: &Kit, numbers: std::ops::Range<usize>) {
    let events: Vec<Request> = numbers.map(|number| (&event(number)).into()).collect();
    let answers = kit.in_one_batch(events);
    assert!(answers.iter().all(|answer| *answer == Ok(Receipt::Recorded { duplicate: false })), "{answers:?}");
}

/// Waits until so many slices are closed, on the engine that has slices.
pub(super) fn closed(kit: &Kit, slices: u64) {
    if ENGINE == Engine::Postgres {
        return;
    }
    kit.wait_until("the slices are closed", |kit| kit.count("slices") >= slices);
}
