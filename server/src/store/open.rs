//! The store as the rest of the program has it: opened on a folder, asked through ports, closed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use metergate_rules::id::OrganizationId;
use metergate_rules::time::{DAY, HOUR, Time};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::audit::Cut;
use super::batch::Failure;
use super::checkpoint::Checkpointer;
use super::error::{EngineError, unreadable};
use super::feed::Feed;
use super::fold::{Fold, Pace};
use super::inbox::{Inbox, Port};
use super::known::IdHasher;
use super::postgres::pool::Pool;
use super::reader::{Reader, Recent};
use super::remade::Remade;
use super::replay::{Replayed, replay};
use super::shared::Remembered;
use super::shared::news::News;
use super::slice::Files;
use super::slice::slicer::Slicer;
use super::slicing::Slicing;
use super::sqlite::Sqlite;
use super::totals::Totals;
use super::writer::Writer;
use super::{Answers, ChangeRequest, Receipt, Request, StoreError, Work};
use crate::catalogue::{Snapshot, TeamRequest};
use crate::clock::Clock;
use crate::config::Secret;
use crate::dies_at;
use crate::people::People;
use crate::people::change::PeopleRequest;

/// What the store needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Where PostgreSQL is, if that is the record and not the data folder.
    pub database: Option<Secret>,
    /// How many loops decide side by side over PostgreSQL, each on a connection of its own.
    pub lanes: usize,
    /// The data folder.
    pub folder: PathBuf,
    /// Whether unknown organizations are created on first use.
    pub create_organizations: bool,
    /// For how long the ids of events and allowed decisions are known, in microseconds.
    pub keep_ids: i64,
    /// For how long the ids of refused decisions are known, in microseconds.
    pub keep_refused: i64,
    /// For how long records are kept at least, in microseconds.
    pub keep_records: i64,
    /// Ids that are kept in memory before the slice that they are in is closed.
    pub slice_ids: u64,
    /// How far the rows may stay behind the journal, or over PostgreSQL those of rollups behind the rows of accounts.
    pub pace: Pace,
    /// Whether mail is sent: else none is written.
    pub mails: bool,
}

impl Settings {
    /// The defaults, in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            database: None,
            lanes: 1,
            folder: folder.to_owned(),
            create_organizations: false,
            keep_ids: 35 * DAY,
            keep_refused: 24 * HOUR,
            keep_records: 90 * DAY,
            slice_ids: 5_000_000,
            pace: Pace::Tenth,
            mails: false,
        }
    }

    /// For how long any id is known, in microseconds.
    pub(super) fn keeps_ids(&self) -> i64 {
        self.keep_ids.max(self.keep_refused)
    }
}

/// The store. One for a data folder; its methods are the only way to it.
pub struct Store {
    pub(super) inbox: Arc<Inbox>,
    pub(super) catalogue: Arc<ArcSwap<Snapshot>>,
    pub(super) people: Arc<ArcSwap<People>>,
    pub(super) clock: Clock,
    /// How far the time by which the store decides is ahead of the node's clock, in microseconds.
    pub(super) ahead: Arc<AtomicI64>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
    pub(super) reader: Reader,
    pub(super) feed: Arc<Feed>,
    pub(super) values_key: [u8; 16],
    pub(super) audit_key: [u8; 16],
    pub(super) last_commit: Time,
    pub(super) engine: Engine,
    pub(super) given: Arc<Given>,
    /// Accounts as each loop saw them last, where others may have changed them since.
    pub(super) remembered: Vec<Arc<Mutex<Remembered>>>,
    /// Of a folder there are none: what was changed is shown.
    pub(super) news: Option<News>,
    /// Never of a folder, which nobody else can change meanwhile.
    pub(super) outdated: Outdated,
}

/// Whether this program must not use the database any more, and why: a newer one has changed it so, or a pooler came in between.
pub(super) type Outdated = watch::Receiver<Option<String>>;
/// Where that is said.
pub(super) type Outdating = watch::Sender<Option<String>>;

/// Who is told, after each commit and before its answers leave, of an organization to which it may have given more, with the
/// version of its account from which on that holds.
pub(super) type Given = OnceLock<Box<dyn Fn(OrganizationId, u64) + Send + Sync>>;

/// What keeps the record.
pub(super) enum Engine {
    /// SQLite in this folder.
    Embedded(PathBuf),
    /// PostgreSQL.
    Postgres(Arc<Pool>),
}

impl Store {
    /// Opens the store and starts the writer.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be used or what is stored cannot be read.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, EngineError> {
        match settings.database.clone() {
            Some(url) => Self::open_shared(&url, settings, clock),
            None => Self::open_embedded(settings, clock),
        }
    }

    /// Opens the data folder, and replays what the rows do not hold yet.
    fn open_embedded(settings: Settings, clock: Clock) -> Result<Self, EngineError> {
        let engine = Engine::Embedded(settings.folder.clone());
        let sqlite = Sqlite::open_first(&settings.folder)?;
        dies_at!("start-opened");
        let snapshot = Arc::new(snapshot_of(&sqlite)?);
        let everybody = Arc::new(sqlite.people()?);
        let key = |name| installation_key(&sqlite, name);
        let (values_key, audit_key, hasher) = (key("values_key")?, key("audit_key")?, IdHasher::new(&key("ids_key")?));
        let files = Files::open(&settings.folder, &sqlite)?;
        dies_at!("start-slices-opened");
        let recent = Arc::new(RwLock::new(Recent::after(files.records.clone())));
        let Replayed { mut ledger, folded_to, oldest, open } =
            replay(&sqlite, Arc::clone(&snapshot), hasher, files, &recent)?;
        ledger.people = Arc::clone(&everybody);
        ledger.dirty.write().begin_totals(used_by_all(&sqlite));
        let feed = Arc::new(Feed::new(clock.now()));
        ledger.feed = Arc::clone(&feed);
        dies_at!("start-replayed");
        let last_commit = ledger.last;
        let (catalogue, people) = (Arc::new(ArcSwap::new(snapshot)), Arc::new(ArcSwap::new(everybody)));
        let reader = Reader::new(&settings.folder, Arc::clone(&recent), Arc::clone(&ledger.dirty), Arc::clone(&people));
        let checkpointer = Checkpointer::start(&settings.folder)?;
        let inbox = Arc::new(Inbox::new());
        let mut writer = Writer {
            fold: Fold::new(settings.pace, folded_to, ledger.sequence),
            slicing: Slicing::new(slicer(&settings.folder, &inbox)?, oldest, open),
            checkpointer,
            sqlite,
            ledger,
            settings,
            clock,
            catalogue: Arc::clone(&catalogue),
            people: Arc::clone(&people),
            recent,
            inbox: Arc::clone(&inbox),
            disk_full: false,
            forgot: 0,
            answers_due: 0,
        };
        writer.write_listings().map_err(Failure::into_engine)?;
        let threads = Mutex::new(vec![spawned(move || writer.run())?]);
        Ok(Self {
            inbox,
            catalogue,
            people,
            clock,
            ahead: Arc::default(),
            threads,
            reader,
            feed,
            values_key,
            audit_key,
            last_commit,
            engine,
            given: Arc::default(),
            remembered: Vec::new(),
            news: None,
            outdated: watch::channel(None).1,
        })
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
    pub async fn change_team(&self, port: &Port, request: TeamRequest) -> Result<Receipt, StoreError> {
        port.call(Work::Team(Box::new(request))).await?.pop().unwrap_or(Err(StoreError::Internal))
    }

    /// Changes people.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn change_people(&self, port: &Port, request: PeopleRequest) -> Result<Receipt, StoreError> {
        port.call(Work::People(Box::new(request))).await?.pop().unwrap_or(Err(StoreError::Internal))
    }

    /// Puts rows made again in the place of those that are stored. How many they are.
    ///
    /// # Errors
    /// [`StoreError::Changed`] where too much has happened since they were made.
    pub async fn replace(&self, port: &Port, remade: Remade) -> Result<u64, StoreError> {
        upkept(port.call(Work::Replace(Box::new(remade))).await)
    }

    /// Puts a single value in the place of the one that is stored.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn put_setting(&self, port: &Port, name: &'static str, value: String) -> Result<(), StoreError> {
        upkept(port.call(Work::Keep(name, value)).await).map(drop)
    }

    /// Deletes an organization.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn delete(&self, port: &Port, request: ChangeRequest) -> Result<Receipt, StoreError> {
        port.call(Work::Deletion(Box::new(request))).await?.pop().unwrap_or(Err(StoreError::Internal))
    }

    /// Has chains of the audit log begin later. How many of them do.
    ///
    /// # Errors
    /// As [`StoreError`] says.
    pub async fn cut(&self, port: &Port, cuts: Vec<Cut>) -> Result<u64, StoreError> {
        upkept(port.call(Work::Cut(cuts)).await)
    }

    /// Everybody.
    pub fn people(&self) -> Arc<People> {
        self.people.load_full()
    }

    /// Meters, plans and keys in force.
    pub fn catalogue(&self) -> Arc<Snapshot> {
        self.catalogue.load_full()
    }

    /// Waits until what others have changed of meters, plans, keys and people by now is in force here, if that is soon.
    pub async fn catch_up(&self) {
        if let Some(news) = &self.news {
            news.hear().await;
        }
    }

    /// Reading, beside the writer.
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the fleet view is told.
    pub const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Has somebody told of each organization to which a commit of this node may have given more: a grant, a reset, a release.
    /// Only of a store that several nodes share; once.
    pub fn tell_given(&self, tell: impl Fn(OrganizationId, u64) + Send + Sync + 'static) {
        let _ = self.given.set(Box::new(tell));
    }

    /// The time by which the store decides.
    pub fn now(&self) -> Time {
        self.clock.now().plus(self.ahead.load(Ordering::Relaxed))
    }

    /// Why this program must not use the database any more: a newer one has changed it so, or a pooler came in between.
    pub fn is_outdated(&self) -> Option<String> {
        self.outdated.borrow().clone()
    }

    /// Waits until that is so, which may be never.
    pub async fn outdated(&self) -> String {
        let mut outdated = self.outdated.clone();
        let why = outdated.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            // Nobody is there any more who would say so.
            None => std::future::pending().await,
        }
    }

    /// The time of the last commit before this start; the earliest of all where a clock of its own keeps the time.
    pub const fn last_commit(&self) -> Time {
        self.last_commit
    }

    /// The key under which values of `uniqueCount` meters are hashed in this installation.
    pub const fn values_key(&self) -> &[u8; 16] {
        &self.values_key
    }

    /// The key by which this installation signs the ends of its audit chains.
    pub const fn audit_key(&self) -> &[u8; 16] {
        &self.audit_key
    }

    /// Answers what waits, then stops.
    pub fn close(&self) {
        // The writer is the last to close the database, since only it can copy and remove the write-ahead file.
        self.reader.close();
        self.inbox.close();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("the writer panicked");
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

pub(super) fn upkept(answers: Answers) -> Result<u64, StoreError> {
    match answers?.pop() {
        Some(Ok(Receipt::Upkeep(done))) => Ok(done),
        Some(Err(error)) => Err(error),
        _ => Err(StoreError::Internal),
    }
}

/// The loop's thread.
pub(super) fn spawned(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EngineError> {
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(run);
    thread.map_err(|error| EngineError::Unusable(format!("no thread for the writer: {error}")))
}

/// The thread that makes slices, which wakes the writer.
fn slicer(folder: &Path, inbox: &Arc<Inbox>) -> Result<Slicer, EngineError> {
    let waking = Arc::clone(inbox);
    let slicer = Slicer::start(folder, move || waking.wake());
    slicer.map_err(|error| EngineError::Unusable(format!("no thread for slices: {error}")))
}

/// What the rows say that all used together; nothing where they cannot be read.
fn used_by_all(sqlite: &Sqlite) -> Option<Totals> {
    let told = |error: &EngineError| tracing::error!(%error, "the fleet view cannot say what all used together");
    sqlite.totals().inspect_err(told).ok()
}

fn snapshot_of(sqlite: &Sqlite) -> Result<Snapshot, EngineError> {
    Snapshot::new(sqlite.stored()?).map_err(|error| unreadable("the catalogue", error))
}

/// A key made once for an installation: under it a value, an id or a root has the same hash for ever, and in no other
/// installation.
fn installation_key(sqlite: &Sqlite, name: &str) -> Result<[u8; 16], EngineError> {
    if let Some(text) = sqlite.setting(name)? {
        let key = u128::from_str_radix(&text, 16).map_err(|error| unreadable(name, error))?;
        return Ok(key.to_be_bytes());
    }
    // Under another key nothing that is known would be known again.
    if sqlite.last_block()?.0 > 0 {
        return Err(unreadable(format!("the setting {name}"), "it is missing, though there is a journal"));
    }
    let key: [u8; 16] = crate::random::bytes();
    sqlite.set_setting(name, &format!("{:032x}", u128::from_be_bytes(key)))?;
    Ok(key)
}
