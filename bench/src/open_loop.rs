//! Requests at a fixed rate, whatever the server does: latency counts from when a request should have started.
//!
//! A closed loop sends nothing while the server stalls, and so hardly notices the stall (coordinated omission). Here a
//! request that is due while all connections are busy waits, and its wait is part of its latency.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

use crate::error::BenchError;
use crate::recorder::Recorder;

/// The runtime's own timers are a millisecond coarse, longer than a decision takes; a timerfd is exact. Requests go out
/// at most this much late, and that counts against the server.
const SHORTEST_TICK: Duration = Duration::from_micros(50);
/// Further behind than this, the figures of the run would mean nothing.
const MOST_OWED: u64 = 1_000_000;

/// When each request is due, and which have been taken by a connection.
pub struct Schedule {
    start: Instant,
    rate: u64,
    permits: Semaphore,
    issued: AtomicU64,
    taken: AtomicU64,
    finished: AtomicU64,
}

impl Schedule {
    /// `rate` requests a second from `start` on.
    pub fn new(start: Instant, rate: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Self { start, rate, permits: Semaphore::new(0), issued: zero(), taken: zero(), finished: zero() }
    }

    /// Waits for the next request that is due, and gives the instant at which it should start. `None` when the run is
    /// over and every request that was due has been taken.
    pub async fn next_due(&self) -> Option<Instant> {
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.issued.load(Ordering::Relaxed)).then(|| self.due_at(number))
    }

    /// Marks one taken request as answered or lost.
    pub fn finish_one(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that were due and have had no end.
    pub fn unfinished(&self) -> u64 {
        self.issued.load(Ordering::Relaxed).saturating_sub(self.finished.load(Ordering::Relaxed))
    }

    /// Makes requests due until the recorder stops.
    ///
    /// # Errors
    /// [`BenchError::Overloaded`] when the server falls far behind; [`BenchError::Io`] without a timer.
    pub async fn pace(&self, recorder: &Recorder) -> Result<(), BenchError> {
        let paced = self.issue_until_stopped(recorder).await;
        self.permits.close();
        if paced.is_err() {
            recorder.give_up();
        }
        paced
    }

    async fn issue_until_stopped(&self, recorder: &Recorder) -> Result<(), BenchError> {
        let tick = Duration::from_nanos(1_000_000_000 / self.rate).max(SHORTEST_TICK);
        let ticker = Ticker::every(tick).map_err(BenchError::io("setting a timer"))?;
        while !recorder.stopped() {
            ticker.tick().await.map_err(BenchError::io("waiting for a timer"))?;
            self.issue(self.due_after(self.start.elapsed()));
            let owed = self.permits.available_permits() as u64;
            if owed > MOST_OWED {
                return Err(BenchError::Overloaded(owed));
            }
        }
        Ok(())
    }

    /// Raises the number of requests issued to `due`.
    fn issue(&self, due: u64) {
        let before = self.issued.fetch_max(due, Ordering::Relaxed);
        self.permits.add_permits(due.saturating_sub(before) as usize);
    }

    fn due_at(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos((u128::from(number) * 1_000_000_000 / u128::from(self.rate)) as u64)
    }

    fn due_after(&self, elapsed: Duration) -> u64 {
        (elapsed.as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64
    }
}

/// A periodic kernel timer.
struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    #[expect(deprecated, reason = "sound for an OwnedFd; its replacement is unsafe, which this workspace forbids")]
    fn every(period: Duration) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let period = Timespec { tv_sec: period.as_secs() as i64, tv_nsec: period.subsec_nanos().into() };
        let setting = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    async fn tick(&self) -> std::io::Result<()> {
        let read = |timer: &OwnedFd| rustix::io::read(timer, &mut [0; 8]).map_err(Into::into);
        self.0.async_io(Interest::READABLE, read).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_rate_and_taken_in_order() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 4);
        assert_eq!(schedule.due_at(6), start + Duration::from_millis(1500));
        assert_eq!(schedule.due_after(Duration::from_millis(1499)), 5);
        assert_eq!(schedule.due_after(Duration::from_millis(1500)), 6);
    }

    #[tokio::test]
    async fn what_was_due_is_still_taken_after_the_end_and_no_more() {
        let schedule = Schedule::new(Instant::now(), 1000);
        schedule.issue(2);
        schedule.permits.close();
        assert!(schedule.next_due().await.is_some());
        schedule.finish_one();
        assert!(schedule.next_due().await.is_some());
        assert!(schedule.next_due().await.is_none());
        assert_eq!(schedule.unfinished(), 1);
    }
}
