//! Copying the write-ahead file into the database, on a thread of its own, so that no commit waits for it.
//!
//! The file can begin anew only when all of it is copied and nobody writes meanwhile. So the thread copies nearly
//! everything beside the writer, and the writer copies the little that came in the meantime, between two commits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::DISK_FAILED;
use super::error::EngineError;
use super::sqlite::Sqlite;
use crate::dies_at;
use crate::faults::planted;

/// Bytes in the write-ahead file at which they are copied, about.
const FULL: usize = 16 * 1024 * 1024;

/// The writer's end.
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    copied: Arc<AtomicBool>,
    bytes: usize,
}

impl Checkpointer {
    /// Starts the thread; it ends with the writer.
    ///
    /// # Errors
    /// [`EngineError`] if the database cannot be opened.
    pub(super) fn start(folder: &Path) -> Result<Self, EngineError> {
        let (wake, woken) = sync_channel(1);
        let copied = Arc::new(AtomicBool::new(false));
        let (sqlite, done) = (Sqlite::open_to_checkpoint(folder)?, Arc::clone(&copied));
        let thread =
            std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run(&sqlite, &woken, &done));
        let thread = thread.map_err(|error| EngineError::Unusable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { wake: Some(wake), thread: Some(thread), copied, bytes: 0 })
    }

    /// So many bytes more are in the write-ahead file.
    pub(super) fn grown(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes > full() && self.wake.as_ref().is_some_and(|wake| wake.try_send(()).is_ok()) {
            self.bytes = 0;
        }
    }

    /// Between two commits: copies the rest, so that the file begins anew with the next.
    pub(super) fn finish(&self, sqlite: &Sqlite) {
        if self.copied.swap(false, Ordering::AcqRel) {
            copy(sqlite);
            dies_at!("checkpoint-finished");
        }
    }

    /// Ends the thread and makes the last copy. SQLite makes one by itself when the last connection is closed, and removes
    /// the file, but does not tell whether that succeeded.
    pub(super) fn close(&mut self, sqlite: &Sqlite) {
        self.wake = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for checkpoints panicked");
        }
        copy(sqlite);
    }
}

/// [`FULL`], unless a test wants checkpoints earlier.
fn full() -> usize {
    fail::fail_point!("checkpoint-at", |bytes| bytes.and_then(|text| text.parse().ok()).unwrap_or(FULL));
    FULL
}

fn run(sqlite: &Sqlite, woken: &Receiver<()>, copied: &AtomicBool) {
    while woken.recv().is_ok() {
        dies_at!("checkpoint-woken");
        copy(sqlite);
        dies_at!("checkpoint-copied");
        copied.store(true, Ordering::Release);
    }
}

fn copy(sqlite: &Sqlite) {
    if let Err(error) = sqlite.checkpoint() {
        tracing::error!(%error, "the write-ahead file could not be copied into the database");
        stop_after_disk_failure(&error);
    }
}

/// After a failed write or sync nobody knows what is on disk: the pages are marked clean and read back from memory, and
/// SQLite would go on. The process ends instead; the next start reads what there is.
pub(super) fn stop_after_disk_failure(error: &EngineError) {
    if error.is_disk_failure() && !planted("goes-on-after-failed-sync") {
        tracing::error!(%error, "stopping, since what was written last is unknown until the next start");
        std::process::exit(i32::from(DISK_FAILED));
    }
}
