//! What passed undecided while the record could not be reached (D13): kept on this node's disk until it is recorded.
//!
//! A node has one file in [`FOLDER`] of the data folder, which it locks, and takes over those that others have left. An entry is
//! on disk before its caller is answered; those who wait at the same time share one sync. A thread records what waits as soon as
//! the record can be reached, and cuts the file to nothing once all of it is durable there. What if the node ends in between?
//! Then the file is read again, and each entry counts once all the same: by the caller's id, else by one of its own.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use metergate_rules::command::Event;
use metergate_rules::decide::Problem;
use metergate_rules::id::{EventId, OrganizationId, OrganizationKey, OrganizationRef};
use metergate_rules::time::Time;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

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
        metrics::gauge!("metergate_spool_entries").set(self.entries.len() as f64);
    }

    fn pop(&mut self) {
        let Some(passed) = self.entries.pop_front() else { return };
        if let Some((key, _)) = &passed.under
            && let Some(same) = self.by_key.get_mut(key)
        {
            same.retain(|other| !Arc::ptr_eq(other, &passed));
            if same.is_empty() {
                self.by_key.remove(key);
            }
        }
        metrics::gauge!("metergate_spool_entries").set(self.entries.len() as f64);
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

/// Records what waits until it is told to stop.
async fn record(shared: &Shared, store: &Store, mut stopped: watch::Receiver<bool>) {
    let port = store.port();
    tokio::spawn(port.clone().receive());
    while !*stopped.borrow() {
        let some: Vec<_> = shared.waiting.lock().entries.iter().take(AT_ONCE).cloned().collect();
        if some.is_empty() {
            tokio::select! {
                () = shared.ready.notified() => {}
                _ = stopped.changed() => {}
            }
            continue;
        }
        let done = tokio::select! {
            done = recorded(store, &port, &some) => done,
            _ = stopped.changed() => 0,
        };
        if done > 0 {
            dies_at!("spool-recorded");
        }
        let is_empty = {
            let mut waiting = shared.waiting.lock();
            (0..done).for_each(|_| waiting.pop());
            waiting.entries.is_empty()
        };
        if is_empty {
            shared.file.clear(|| shared.waiting.lock().entries.is_empty());
            tracing::info!("all that passed undecided is recorded");
        }
        if done < some.len() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stopped.changed() => {}
            }
        }
    }
}

/// How many of these, from the first on, are durable in the record or can never be.
async fn recorded(store: &Store, port: &Port, some: &[Arc<Passed>]) -> usize {
    let Ok(answers) = store.execute(port, some.iter().map(|passed| passed.request()).collect()).await else { return 0 };
    let is_done = |(passed, answer): &(&Arc<Passed>, Result<Receipt, StoreError>)| match answer {
        Ok(_) => true,
        Err(StoreError::Unavailable | StoreError::Unreached | StoreError::DiskFull | StoreError::Damaged) => false,
        // A PostgreSQL that took over has a clock that is behind: it comes to that time.
        Err(StoreError::Problem(Problem::FutureEvent)) => false,
        Err(error) => {
            let Passed { organization, event, .. } = &***passed;
            metrics::counter!("metergate_spool_lost_total").increment(1);
            let id = event.id.as_str();
            tracing::error!(%error, %organization, id, "what passed undecided cannot be recorded");
            true
        }
    };
    some.iter().zip(answers).take_while(is_done).count()
}
