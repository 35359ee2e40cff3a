//! What passed undecided while the record could not be reached (D13): kept on this node's disk until it is recorded.
//!
//! A node has one file in [`FOLDER`] of the data folder, which it locks, and takes over those that others have left. An entry is
//! on disk before its caller is answered; those who wait at the same time share one sync. A thread records what waits as soon as
//! the record can be reached, and cuts the file to nothing once all of it is durable there, or to those that cannot be recorded
//! until somebody restores their organization. What if the node ends in between?
//! Then the file is read again, and each entry counts once all the same: by the caller's id, else by one of its own.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::command::Event;
use metergate_rules::decide::Problem;
use metergate_rules::id::{EventId, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::time::{MINUTE, Time};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::clock::boot;
use crate::dies_at;
use crate::faults::planted;
use crate::hex::hex;
use crate::random;
use crate::store::{Caller, Key, Port, Receipt, RecordRequest, Request, Scope, Store, StoreError};

mod file;

pub use file::SpoolError;
use file::{Entry, File};

/// The folder of the files, in the data folder.
pub const FOLDER: &str = "spool";
/// Entries that are recorded in one call at most.
const AT_ONCE: usize = 100;
/// How long nothing is tried after the record could not be reached.
const PAUSE: Duration = Duration::from_millis(250);
/// How often those are tried again of which the record is damaged, in microseconds.
const HELD_AGAIN: i64 = MINUTE;

/// Something that passed undecided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Whose use it is.
    pub organization: OrganizationId,
    /// The organization's key at that time.
    pub name: OrganizationKey,
    /// The caller's id, and a hash of what was asked.
    pub under: Option<(Key, u64)>,
    /// What is recorded. Its id is the entry's own where the caller gave none.
    pub event: Event,
}

impl Passed {
    /// When it passed.
    pub fn at(&self) -> Time {
        self.event.time.unwrap_or(Time::MIN)
    }

    fn is_of(&self, named: &OrganizationRef) -> bool {
        match named {
            OrganizationRef::Id(id) => *id == self.organization,
            OrganizationRef::Key(key) => *key == self.name,
        }
    }

    fn request(&self) -> Request {
        if planted("spool-counts-anew") {
            let id = EventId::new(&hex(&random::bytes::<16>())).unwrap_or_else(|_| self.event.id.clone());
            let anew = Self { under: None, event: Event { id, ..self.event.clone() }, ..self.clone() };
            return anew.recording();
        }
        self.recording()
    }

    fn recording(&self) -> Request {
        Request::Record(Box::new(RecordRequest {
            caller: Caller { scope: Scope::Team, actor: Arc::from("system") },
            organization: OrganizationRef::Id(self.organization),
            event: self.event.clone(),
            under: self.under.clone(),
        }))
    }
}

/// What passed and is not recorded yet.
pub struct Spool {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    file: File,
    waiting: Mutex<Waiting>,
    ready: Notify,
}

/// What is on disk and not recorded.
#[derive(Default)]
struct Waiting {
    /// In the order in which it passed.
    entries: VecDeque<Arc<Passed>>,
    /// Of organizations of which the record is damaged: these hold up nobody else.
    held: Vec<Arc<Passed>>,
    /// Those with an id of the caller's, by that.
    by_key: HashMap<Key, Vec<Arc<Passed>>>,
}

impl Waiting {
    fn push(&mut self, passed: Passed) {
        let passed = Arc::new(passed);
        if let Some((key, _)) = &passed.under {
            self.by_key.entry(key.clone()).or_default().push(Arc::clone(&passed));
        }
        self.entries.push_back(passed);
        self.tell();
    }

    /// Notes what came of the first entries.
    fn settle(&mut self, fates: &[Fate]) {
        let tried: Vec<_> = self.entries.drain(..fates.len().min(self.entries.len())).collect();
        for (passed, fate) in tried.into_iter().zip(fates).rev() {
            match fate {
                Fate::Done => self.forget(&passed),
                Fate::Later => self.entries.push_front(passed),
                Fate::Held => self.held.push(passed),
            }
        }
        self.tell();
    }

    fn forget(&mut self, passed: &Arc<Passed>) {
        if let Some((key, _)) = &passed.under
            && let Some(same) = self.by_key.get_mut(key)
        {
            same.retain(|other| !Arc::ptr_eq(other, passed));
            if same.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    fn try_held_again(&mut self) {
        self.entries.extend(self.held.drain(..));
    }

    /// What is still needed of the file once nothing else waits; `None` while something does.
    fn held(&self) -> Option<Vec<Passed>> {
        self.entries.is_empty().then(|| self.held.iter().map(|passed| (**passed).clone()).collect())
    }

    fn tell(&self) {
        metrics::gauge!("metergate_spool_entries").set((self.entries.len() + self.held.len()) as f64);
        metrics::gauge!("metergate_spool_held_entries").set(self.held.len() as f64);
    }
}

impl Spool {
    /// Opens the spool of a data folder, which may hold so many bytes, and begins to record what waits there.
    ///
    /// # Errors
    /// Where its files cannot be read or there can be no thread.
    pub fn start(folder: &Path, most: u64, store: Arc<Store>) -> std::io::Result<Self> {
        let (file, left) = File::open(&folder.join(FOLDER), most)?;
        if !left.is_empty() {
            tracing::info!(entries = left.len(), "what passed undecided before this start is being recorded");
        }
        let mut waiting = Waiting::default();
        left.into_iter().for_each(|passed| waiting.push(passed));
        let shared = Arc::new(Shared { file, waiting: Mutex::new(waiting), ready: Notify::new() });
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let recording = Arc::clone(&shared);
        let run = move || runtime.block_on(record(&recording, &store, stopped));
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(run)?;
        Ok(Self { shared, stop, thread: Mutex::new(Some(thread)) })
    }

    /// What passed under this id and is not recorded yet.
    pub fn passed(&self, named: &OrganizationRef, key: &Key) -> Option<Arc<Passed>> {
        let waiting = self.shared.waiting.lock();
        waiting.by_key.get(key)?.iter().find(|passed| passed.is_of(named)).cloned()
    }

    /// Keeps what is about to pass; it is on disk when this returns. Called on a thread that may wait.
    ///
    /// # Errors
    /// [`SpoolError`]: then it must not pass.
    pub fn keep(&self, passed: Passed) -> Result<(), SpoolError> {
        if planted("pass-unspooled") {
            return Ok(());
        }
        let entry = Entry::new(passed)?;
        self.shared.file.append(entry, |written| {
            let mut waiting = self.shared.waiting.lock();
            written.into_iter().for_each(|passed| waiting.push(passed));
        })?;
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Records no more. What waits is recorded after the next start.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the spool's thread panicked");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is durable in the record, or can never be.
    Done,
    /// The record cannot take it now.
    Later,
    /// What the record has of its organization is damaged.
    Held,
}

/// Records what waits until it is told to stop.
async fn record(shared: &Shared, store: &Store, mut stopped: watch::Receiver<bool>) {
    let port = store.port();
    tokio::spawn(port.clone().receive());
    let mut again_at = boot() + HELD_AGAIN;
    while !*stopped.borrow() {
        if boot() >= again_at {
            again_at = boot() + HELD_AGAIN;
            shared.waiting.lock().try_held_again();
        }
        let some: Vec<_> = shared.waiting.lock().entries.iter().take(AT_ONCE).cloned().collect();
        if some.is_empty() {
            tokio::select! {
                () = shared.ready.notified() => {}
                () = tokio::time::sleep(Duration::from_micros(HELD_AGAIN.unsigned_abs())) => {}
                _ = stopped.changed() => {}
            }
            continue;
        }
        let fates = tokio::select! {
            fates = recorded(store, &port, &some) => fates,
            _ = stopped.changed() => Vec::new(),
        };
        if fates.contains(&Fate::Done) {
            dies_at!("spool-recorded");
        }
        let is_empty = {
            let mut waiting = shared.waiting.lock();
            waiting.settle(&fates);
            waiting.entries.is_empty()
        };
        if is_empty {
            shared.file.clear(|| shared.waiting.lock().held());
        }
        if is_empty && shared.waiting.lock().held.is_empty() {
            tracing::info!("all that passed undecided is recorded");
        }
        if fates.len() < some.len() || fates.contains(&Fate::Later) {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stopped.changed() => {}
            }
        }
    }
}

/// What came of each of these, together or, where one of them brings down all, one by one.
async fn recorded(store: &Store, port: &Port, some: &[Arc<Passed>]) -> Vec<Fate> {
    match store.execute(port, some.iter().map(|passed| passed.request()).collect()).await {
        Ok(answers) => some.iter().zip(answers).map(|(passed, answer)| fate(passed, answer)).collect(),
        Err(StoreError::Damaged | StoreError::Internal) => one_by_one(store, port, some).await,
        Err(_) => vec![Fate::Later; some.len()],
    }
}

async fn one_by_one(store: &Store, port: &Port, some: &[Arc<Passed>]) -> Vec<Fate> {
    let mut fates = Vec::with_capacity(some.len());
    for passed in some {
        let fate = match store.execute(port, vec![passed.request()]).await {
            Ok(answers) => answers.into_iter().next().map_or(Fate::Later, |answer| fate(passed, answer)),
            Err(error @ (StoreError::Damaged | StoreError::Internal)) => held(passed, &error),
            Err(_) => Fate::Later,
        };
        fates.push(fate);
        if fate == Fate::Later {
            break;
        }
    }
    fates.resize(some.len(), Fate::Later);
    fates
}

fn fate(passed: &Passed, answer: Result<Receipt, StoreError>) -> Fate {
    match answer {
        Ok(_) => Fate::Done,
        Err(StoreError::Unavailable | StoreError::Unreached | StoreError::DiskFull) => Fate::Later,
        // A PostgreSQL that took over has a clock that is behind: it comes to that time.
        Err(StoreError::Problem(Problem::FutureEvent)) => Fate::Later,
        Err(error @ StoreError::Damaged) => held(passed, &error),
        Err(error) => {
            let Passed { organization, event, .. } = passed;
            metrics::counter!("metergate_spool_lost_total").increment(1);
            let id = event.id.as_str();
            tracing::error!(%error, %organization, id, "what passed undecided cannot be recorded");
            Fate::Done
        }
    }
}

fn held(passed: &Passed, error: &StoreError) -> Fate {
    let Passed { organization, event, .. } = passed;
    let id = event.id.as_str();
    let told = "what passed undecided is kept: it cannot be recorded until its organization is restored";
    tracing::error!(%error, %organization, id, "{told}");
    Fate::Held
}
