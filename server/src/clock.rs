//! The only file that reads the time.

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
}

impl Clock {
    /// A clock that starts at the wall clock's time.
    pub fn start() -> Self {
        Self { start: wall(), boot_at_start: boot(), shift: 0 }
    }

    /// A clock that starts at a time that is given.
    pub fn starting_at(start: Time) -> Self {
        Self { start, boot_at_start: boot(), shift: start.since(wall()) }
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.start.plus(boot() - self.boot_at_start)
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
