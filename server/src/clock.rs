//! The only file that reads the time.

use std::sync::atomic::{AtomicI64, Ordering};

use metergate_rules::time::Time;
use rustix::time::{ClockId, clock_gettime};

use crate::faults::clock_off;

/// The time of this node: the wall clock at start plus the boot clock since.
///
/// A wall clock that is set while the program runs does not move it, and time spent suspended counts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Time,
    boot_at_start: i64,
    shift: i64,
    /// How far a hand has moved it on, in microseconds.
    moved: &'static AtomicI64,
}

/// What moves a clock that nothing but itself moves.
static BY_NOBODY: AtomicI64 = AtomicI64::new(0);

/// Moves a clock on, such as that of a demo, which goes through weeks in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Hand(Clock);

impl Hand {
    /// Moves the clock on to a time; one that is past leaves it where it is, since time never runs back.
    pub fn move_to(&self, to: Time) {
        self.0.moved.fetch_add(to.since(self.0.now()).max(0), Ordering::AcqRel);
    }

    /// Moves it on to what the wall clock says.
    pub fn catch_up(&self) {
        self.move_to(wall());
    }
}

impl Clock {
    /// A clock that starts at the wall clock's time.
    pub fn start() -> Self {
        Self { start: wall(), boot_at_start: boot(), shift: 0, moved: &BY_NOBODY }
    }

    /// A clock that starts at a time that is given.
    pub fn starting_at(start: Time) -> Self {
        Self { start, boot_at_start: boot(), shift: start.since(wall()), moved: &BY_NOBODY }
    }

    /// The same with a hand that moves it on. Between its moves it goes as any other. What both share stays as long as the
    /// process: a server has one clock.
    pub fn by_hand(start: Time) -> (Self, Hand) {
        let clock = Self { moved: Box::leak(Box::new(AtomicI64::new(0))), ..Self::starting_at(start) };
        (clock, Hand(clock))
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.start.plus(boot() - self.boot_at_start + self.moved.load(Ordering::Acquire))
    }

    /// How far it was set ahead of the wall clock at the start, in microseconds: 0 unless a time was given. Whoever decides
    /// by another clock than the node's goes by the same.
    pub const fn shift(&self) -> i64 {
        self.shift
    }

    /// How far the wall clock has left this clock since the start, in microseconds.
    pub fn drift(&self) -> i64 {
        wall().since(self.now())
    }
}

/// Microseconds since some instant in the past, going on evenly: for measuring how long something took.
pub fn boot() -> i64 {
    micros(clock_gettime(ClockId::Boottime))
}

/// What the wall clock says.
pub fn wall() -> Time {
    Time::from_micros(micros(clock_gettime(ClockId::Realtime)).saturating_add(clock_off()))
}

const fn micros(spec: rustix::time::Timespec) -> i64 {
    spec.tv_sec.saturating_mul(1_000_000).saturating_add(spec.tv_nsec / 1_000)
}

#[cfg(test)]
mod tests {
    use metergate_rules::time::{DAY, SECOND};

    use super::*;

    #[test]
    fn a_hand_moves_its_own_clock_on_and_never_back() {
        let start: Time = "2026-08-30T00:00:00Z".parse().unwrap();
        let (clock, hand) = Clock::by_hand(start);
        let other = Clock::starting_at(start);
        hand.move_to(start.plus(40 * DAY));
        let moved = clock.now();
        assert!((0..60 * SECOND).contains(&moved.since(start.plus(40 * DAY))), "{moved}");
        hand.move_to(start.plus(DAY));
        assert!(clock.now() >= moved && other.now().since(start) < 60 * SECOND);
        hand.catch_up();
        assert!(clock.drift().abs() < 60 * SECOND || clock.now() > wall(), "{}", clock.drift());
    }
}
