//! The clock. No other file reads the time.

use metergate_rules::time::{InvalidTime, Time};

/// The wall clock's time, cut to whole microseconds.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn wall() -> Time {
    let read: Result<Time, InvalidTime> = jiff::Timestamp::now().try_into();
    read.unwrap_or(Time::MAX)
}
