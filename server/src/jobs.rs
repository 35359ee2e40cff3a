//! Long work beside the requests: begun by a call, watched by `GET /v1/jobs/{id}`, done on a thread of its own.
//!
//! Jobs are kept in memory: what one has made stands for itself, and one that a stop cut off has made nothing.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use metergate_rules::time::Time;
use parking_lot::Mutex;
use serde_json::Value;

use crate::backup::Watch;

/// Jobs that are kept; the oldest that has ended goes first.
const KEPT: usize = 100;
/// How far a job stands back where cores are short: half-way to the least that the operating system knows.
const NICE: i32 = 10;

/// A piece of long work.
pub struct Job {
    /// Its id, which nobody can guess.
    pub id: String,
    /// What it does, such as `backup`.
    pub kind: &'static str,
    /// When it was begun.
    pub created_at: Time,
    /// The id of the key that began it; none for the administrator's.
    starter: Option<Arc<str>>,
    total: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    ending: Mutex<Option<Ending>>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has made this.
    Done(Value),
    /// It has made this: JSON with numbers that a value would not keep exactly.
    Written(Arc<str>),
    /// It has made nothing, for this reason.
    Failed(String),
}

impl Job {
    /// Done so far, and to be done as far as that is known.
    pub fn progress(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        (self.done.load(Ordering::Relaxed).min(total), total)
    }

    /// How it ended; nothing while it goes on.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.lock().clone()
    }
}

impl Watch for Job {
    fn total(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// The jobs of a server.
#[derive(Default)]
pub struct Jobs {
    jobs: Mutex<VecDeque<Arc<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Jobs {
    /// A job of this kind, if none is going on. It begins with [`Begun::run`].
    pub fn begin(self: &Arc<Self>, kind: &'static str, starter: Option<Arc<str>>, now: Time) -> Option<Begun> {
        self.begin_among(1, kind, starter, now)
    }

    /// The same, if fewer than so many are going on.
    pub fn begin_among(
        self: &Arc<Self>,
        most: usize,
        kind: &'static str,
        starter: Option<Arc<str>>,
        now: Time,
    ) -> Option<Begun> {
        let mut jobs = self.jobs.lock();
        if jobs.iter().filter(|job| job.kind == kind && job.ending.lock().is_none()).count() >= most {
            return None;
        }
        while jobs.len() >= KEPT {
            let oldest = jobs.iter().position(|job| job.ending.lock().is_some())?;
            jobs.remove(oldest);
        }
        let job = Arc::new(Job {
            id: uuid::Builder::from_random_bytes(crate::random::bytes()).into_uuid().to_string(),
            kind,
            created_at: now,
            starter,
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            ending: Mutex::new(None),
        });
        jobs.push_back(Arc::clone(&job));
        Some(Begun { jobs: Arc::clone(self), job, runs: false })
    }

    /// The job of this id, if this key began it.
    pub fn find(&self, id: &str, key: Option<&str>) -> Option<Arc<Job>> {
        let jobs = self.jobs.lock();
        jobs.iter().find(|job| job.id == id && job.starter.as_deref() == key).cloned()
    }

    /// Has every job end, and waits until it has.
    pub fn stop(&self) {
        self.jobs.lock().iter().for_each(|job| job.stop.store(true, Ordering::Relaxed));
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // Its panics are caught, and what they were is the job's ending.
            let _ = thread.join();
        }
    }
}

/// A job that has its place, but does not run yet: gone with this if it never does.
pub struct Begun {
    jobs: Arc<Jobs>,
    /// The job.
    pub job: Arc<Job>,
    runs: bool,
}

impl Begun {
    /// Runs it. A text says why it failed.
    pub fn run(self, work: impl FnOnce(&Job) -> Result<Value, String> + Send + 'static) {
        self.run_to(|job| work(job).map(Ending::Done), || ());
    }

    /// Runs what makes JSON with exact numbers; `then` runs once it has ended.
    pub fn write_then(
        self,
        work: impl FnOnce(&Job) -> Result<String, String> + Send + 'static,
        then: impl FnOnce() + Send + 'static,
    ) {
        self.run_to(|job| work(job).map(|made| Ending::Written(made.into())), then);
    }

    fn run_to(
        mut self,
        work: impl FnOnce(&Job) -> Result<Ending, String> + Send + 'static,
        then: impl FnOnce() + Send + 'static,
    ) {
        let job = Arc::clone(&self.job);
        let attempt = move || {
            let _ = rustix::process::nice(NICE);
            let result = catch_unwind(AssertUnwindSafe(|| work(&job)));
            let result =
                result.unwrap_or_else(|_| Err("it failed for a defect; the server's log says more".to_owned()));
            if let Err(reason) = &result {
                tracing::error!(job = job.id, kind = job.kind, reason, "a job failed");
            }
            *job.ending.lock() = Some(result.unwrap_or_else(Ending::Failed));
            then();
        };
        match std::thread::Builder::new().name(self.job.kind.to_owned()).spawn(attempt) {
            Ok(thread) => {
                let mut threads = self.jobs.threads.lock();
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            Err(error) => *self.job.ending.lock() = Some(Ending::Failed(format!("there is no thread for it: {error}"))),
        }
        self.runs = true;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.runs {
            self.jobs.jobs.lock().retain(|job| !Arc::ptr_eq(job, &self.job));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(jobs: &Jobs, id: &str) -> Option<Ending> {
        jobs.stop();
        jobs.find(id, Some("k")).and_then(|job| job.ending())
    }

    #[test]
    fn one_job_of_a_kind_goes_on_at_a_time_and_only_its_starter_sees_it() {
        let jobs = Arc::new(Jobs::default());
        let begin = |kind| jobs.begin(kind, Some("k".into()), Time::MIN);
        let begun = begin("backup").unwrap();
        assert!(begin("backup").is_none() && begin("other").is_some());
        let id = begun.job.id.clone();
        for (key, seen) in [(Some("k"), true), (Some("l"), false), (None, false)] {
            assert_eq!(jobs.find(&id, key).is_some(), seen, "{key:?}");
        }
        begun.run(|job| {
            job.total(3);
            job.advance(5);
            Ok(Value::from(7))
        });
        assert_eq!(ended(&jobs, &id), Some(Ending::Done(Value::from(7))));
        assert_eq!(jobs.find(&id, Some("k")).unwrap().progress(), (3, 3), "never more than there is to do");
        assert!(begin("backup").is_some(), "it has ended");
    }

    #[test]
    fn a_job_that_is_not_run_is_gone_and_one_that_fails_says_why() {
        let jobs = Arc::new(Jobs::default());
        let begin = || jobs.begin("backup", Some("k".into()), Time::MIN);
        drop(begin());
        let begun = begin().unwrap();
        let id = begun.job.id.clone();
        begun.run(|_| Err("no room".to_owned()));
        assert_eq!(ended(&jobs, &id), Some(Ending::Failed("no room".to_owned())));
        let begun = begin().unwrap();
        let id = begun.job.id.clone();
        begun.run(|_| panic!("as a defect would"));
        assert!(matches!(ended(&jobs, &id), Some(Ending::Failed(reason)) if reason.contains("defect")));
    }

    #[test]
    fn a_job_that_is_stopped_hears_of_it() {
        let jobs = Arc::new(Jobs::default());
        let begun = jobs.begin("backup", Some("k".into()), Time::MIN).unwrap();
        let id = begun.job.id.clone();
        begun.run(|job| {
            while job.goes_on() {
                std::thread::yield_now();
            }
            Err("stopped".to_owned())
        });
        assert_eq!(ended(&jobs, &id), Some(Ending::Failed("stopped".to_owned())));
    }

    #[test]
    fn only_the_last_jobs_are_kept() {
        let jobs = Arc::new(Jobs::default());
        for number in 0..=KEPT {
            jobs.begin("backup", None, Time::MIN).unwrap().run(move |_| Ok(number.into()));
            jobs.stop();
        }
        let kept: Vec<_> = jobs.jobs.lock().iter().map(|job| job.ending()).collect();
        assert_eq!((kept.len(), kept[0].clone()), (KEPT, Some(Ending::Done(1.into()))));
    }
}
