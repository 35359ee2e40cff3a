//! What was seen, and whether it was within the measured window.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Notify;

use crate::error::BenchError;
use crate::workload::Verdict;

/// The longest latency told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(120);

/// Counts and latencies of the measured window.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Nanoseconds from the (intended) start to the whole answer, of requests that started in the window.
    pub latency: Histogram<u64>,
    /// Answers that came in the window; so for the counts that follow.
    pub requests: u64,
    /// Operations allowed or accepted.
    pub accepted: u64,
    /// Decisions refused; events that were duplicates or rejected.
    pub refused: u64,
    /// Operations not answered.
    pub failed: u64,
    /// Answers with a status other than 2xx.
    pub non_2xx: u64,
    /// Exchanges that broke: connections lost, answers not understood.
    pub broken: u64,
    /// Bytes of all answers, with heads.
    pub bytes: u64,
    /// What the first broken exchange died of.
    pub first_break: Option<String>,
}

struct State {
    since: Option<Instant>,
    until: Option<Instant>,
    measured: Measured,
}

/// Shared by all connections of a run. The generator has one thread, so the lock is always free.
pub struct Recorder {
    stopped: AtomicBool,
    enough: Notify,
    count: Option<u64>,
    state: Mutex<State>,
}

impl Recorder {
    /// Nothing seen yet, and no window open; `count` answers in the window are [`Self::enough`].
    pub fn new(count: Option<u64>) -> Self {
        let state = State { since: None, until: None, measured: Measured::new() };
        Self { stopped: AtomicBool::new(false), enough: Notify::new(), count, state: Mutex::new(state) }
    }

    /// Opens the window: the warm-up is over.
    pub fn open_window(&self) -> Instant {
        let now = Instant::now();
        self.state().since = Some(now);
        now
    }

    /// Closes the window and asks all connections to end.
    pub fn close_window(&self) -> Instant {
        let now = Instant::now();
        self.state().until = Some(now);
        self.stopped.store(true, Ordering::Relaxed);
        now
    }

    /// Whether connections should end.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Waits until the asked-for count has been answered, or [`Self::give_up`].
    pub async fn enough(&self) {
        self.enough.notified().await;
    }

    /// Ends the wait for [`Self::enough`].
    pub fn give_up(&self) {
        self.enough.notify_one();
    }

    /// Records an answer of `size` bytes that just came, to a request that started, or should have, at `start`.
    pub fn answered(&self, start: Instant, verdict: Verdict, size: usize) {
        let now = Instant::now();
        let mut state = self.state();
        if state.started_within(start) {
            state.measured.latency.saturating_record(nanos(now.saturating_duration_since(start)));
        }
        if state.is_open() {
            state.measured.add(verdict, size);
            if self.count.is_some_and(|count| state.measured.requests >= count) {
                self.enough.notify_one();
            }
        }
    }

    /// Records an exchange that broke.
    pub fn broke(&self, error: &BenchError) {
        let mut state = self.state();
        if state.is_open() {
            state.measured.broken += 1;
            state.measured.first_break.get_or_insert_with(|| error.to_string());
        }
    }

    /// What the window held since it was opened or since the last lap; the next lap begins.
    pub fn lap(&self) -> Measured {
        std::mem::replace(&mut self.state().measured, Measured::new())
    }

    /// What the window held since the last lap, with `unfinished` requests that had waited for at least `waited` when the run was given up.
    pub fn finish(&self, unfinished: u64, waited: Duration) -> Measured {
        let mut measured = self.state().measured.clone();
        if unfinished > 0 {
            measured.latency.saturating_record_n(nanos(waited), unfinished);
        }
        measured
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn is_open(&self) -> bool {
        self.since.is_some() && self.until.is_none()
    }

    /// A request that started in the window counts by its latency however late its answer: leaving out the slow ones
    /// at the end would flatter the tail.
    fn started_within(&self, start: Instant) -> bool {
        self.since.is_some_and(|since| start >= since) && self.until.is_none_or(|until| start <= until)
    }
}

impl Measured {
    #[expect(clippy::expect_used, reason = "constant bounds that the histogram takes")]
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1_000, nanos(LONGEST), 3).expect("1 µs to 120 s in 3 digits");
        Self {
            latency,
            requests: 0,
            accepted: 0,
            refused: 0,
            failed: 0,
            non_2xx: 0,
            broken: 0,
            bytes: 0,
            first_break: None,
        }
    }

    fn add(&mut self, verdict: Verdict, size: usize) {
        self.requests += 1;
        self.accepted += verdict.accepted;
        self.refused += verdict.refused;
        self.failed += verdict.failed;
        self.non_2xx += u64::from(!verdict.success);
        self.bytes += size as u64;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Verdict = Verdict { accepted: 1, refused: 0, failed: 0, success: true };

    #[test]
    fn the_warm_up_is_left_out_and_the_last_slow_answer_is_not() {
        let recorder = Recorder::new(None);
        let before = Instant::now();
        recorder.answered(before, ALLOWED, 10);
        let opened = recorder.open_window();
        recorder.answered(before, ALLOWED, 10); // started in the warm-up: counted, its latency not
        recorder.answered(opened, ALLOWED, 10);
        let closed = recorder.close_window();
        recorder.answered(opened, ALLOWED, 10); // came after the window: its latency counts
        recorder.answered(closed + Duration::from_nanos(1), ALLOWED, 10);
        let measured = recorder.finish(3, Duration::from_secs(5));
        assert_eq!((measured.requests, measured.accepted, measured.bytes), (2, 2, 20));
        assert_eq!(measured.latency.len(), 2 + 3);
        assert!(measured.latency.max() >= 5_000_000_000);
    }

    #[test]
    fn each_lap_holds_what_came_in_it() {
        let recorder = Recorder::new(None);
        let opened = recorder.open_window();
        let laps = [3, 0, 2].map(|answers| {
            (0..answers).for_each(|_| recorder.answered(opened, ALLOWED, 10));
            recorder.lap()
        });
        assert_eq!(laps.map(|lap| (lap.requests, lap.latency.len())), [(3, 3), (0, 0), (2, 2)]);
    }
}
