//! The slicer: a thread that makes the files of slices beside the writer, one at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::paced::yield_to_others;

use super::make::{Maker, Unmade};
use super::{Extent, IdFile, IdTable, Records};

/// How long it waits before it tries again what failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be made.
pub(in crate::store) enum Job {
    /// The files of a slice that closes.
    Close(Extent, Arc<IdTable>),
    /// One file of the ids of two that follow each other.
    Merge(Arc<IdFile>, Arc<IdFile>),
}

/// What has been made, and counts once its row has been committed.
pub(in crate::store) enum Made {
    /// The files of a slice; of the ids only where it has any.
    Closed(Records, Option<IdFile>),
    /// The ids of two files.
    Merged(IdFile),
}

/// The writer's side of the slicer.
pub(in crate::store) struct Slicer {
    jobs: Option<Sender<Job>>,
    made: Receiver<Made>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
}

impl Slicer {
    /// Starts the thread. It calls `wake` when something has been made.
    ///
    /// # Errors
    /// If there is no thread.
    pub(in crate::store) fn start(folder: &Path, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let (done, made) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (folder, stopped) = (folder.to_owned(), Arc::clone(&stop));
        let work = move || {
            yield_to_others();
            work(&Maker { folder: &folder, stop: &stopped }, &waiting, &done, &wake);
        };
        let thread = std::thread::Builder::new().name("slicer".to_owned()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), made, stop, thread: Some(thread), busy: false })
    }

    /// Whether it has something to do.
    pub(in crate::store) const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Gives it the next job. It must not be busy.
    pub(in crate::store) fn give(&mut self, job: Job) {
        self.busy = true;
        if let Some(jobs) = &self.jobs {
            // Where the thread has panicked, `take` says so; then it is busy for ever.
            let _ = jobs.send(job);
        }
    }

    /// What it has made, if it is done.
    pub(in crate::store) fn take(&mut self) -> Option<Made> {
        match self.made.try_recv() {
            Ok(made) => {
                self.busy = false;
                Some(made)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                if self.jobs.take().is_some() {
                    tracing::error!("the slicer panicked: ids stay in memory until the next start");
                }
                None
            }
        }
    }
}

impl Drop for Slicer {
    /// Ends the thread; what it is making is left, and removed at the next start.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the slicer panicked");
        }
    }
}

fn work(maker: &Maker<'_>, jobs: &Receiver<Job>, done: &Sender<Made>, wake: &dyn Fn()) {
    while let Ok(job) = jobs.recv() {
        let made = loop {
            match make(maker, &job) {
                Ok(made) => break made,
                Err(Unmade::Stopped) => return,
                Err(error) => tracing::error!(%error, "a slice cannot be made; it is tried again"),
            }
            // Nobody gives a second job before this one is done: only an end of the store cuts the wait short.
            if !matches!(jobs.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        };
        if done.send(made).is_err() {
            return;
        }
        wake();
    }
}

fn make(maker: &Maker<'_>, job: &Job) -> Result<Made, Unmade> {
    Ok(match job {
        Job::Close(extent, ids) => {
            let (records, ids) = maker.close(*extent, ids)?;
            Made::Closed(records, ids)
        }
        Job::Merge(older, newer) => Made::Merged(maker.merge(older, newer)?),
    })
}
