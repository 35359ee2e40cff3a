//! What an entry of the journal adds to rollups.

use metergate_rules::id::MeterId;
use metergate_rules::meter::Measure;
use metergate_rules::outcome::{Entry, Use};
use metergate_rules::time::{DAY, Time};
use metergate_rules::timing::{Bin, Calls, Timed};

use super::{QUARTER, Slot};
use crate::faults::planted;

/// The UTC day of a time, in days since 1970-01-01.
pub fn day_of(time: Time) -> i32 {
    i32::try_from(time.micros().div_euclid(DAY)).unwrap_or(i32::MAX)
}

/// The meter under which the durations of a meter are kept: a row for each bin, named by its shortest in milliseconds, in which
/// `count` is how many there were, and `sum` their milliseconds.
pub const fn durations_of(meter: MeterId) -> MeterId {
    MeterId(meter.0 | 1 << 30)
}

/// What an entry adds to rollups: to which meter and day, under which dimension values, to which quarter hour, and what.
pub(in crate::store) fn each_addition(entry: &Entry, mut each: impl FnMut((MeterId, i32), &str, u8, &Slot)) {
    let gone = entry.what.calls_gone().filter(|_| !planted("void-keeps-duration")).map(|calls| (calls, -1));
    let calls = entry.what.calls().map(|calls| (calls, 1)).or(gone);
    for used in entry.what.uses() {
        let mut slot = slot(used);
        if let (Some((calls, sign)), None) = (calls, used.follows) {
            slot.count = sign * i64::from(calls.count);
            each_of_calls((calls, sign), used, &mut each);
        }
        each((used.meter, day_of(used.time)), &used.dimensions, quarter_of(used.time), &slot);
    }
    let (more, less) = entry.what.timed();
    let less = less.filter(|_| !planted("void-keeps-duration"));
    for (timed, count) in [(more, 1), (less, -1)] {
        let Some(Timed { duration_ms, of }) = timed else { continue };
        let (bin, sum) = (Bin::of(duration_ms).low.to_string(), count * i64::from(duration_ms));
        for (meter, time) in of {
            let slot = Slot { count, sum, ..Slot::default() };
            each((durations_of(meter), day_of(time)), &bin, quarter_of(time), &slot);
        }
    }
}

/// What the durations of calls add, or with the sign of what is void take away, as of the time of their use.
fn each_of_calls((calls, sign): (&Calls, i64), used: &Use, each: &mut impl FnMut((MeterId, i32), &str, u8, &Slot)) {
    let place = (durations_of(used.meter), day_of(used.time));
    for (duration_ms, number) in &calls.durations {
        let count = sign * i64::from(*number);
        let slot = Slot { count, sum: count * i64::from(*duration_ms), ..Slot::default() };
        each(place, &Bin::of(*duration_ms).low.to_string(), quarter_of(used.time), &slot);
    }
}

/// The quarter hour of a time among those of its day.
fn quarter_of(time: Time) -> u8 {
    u8::try_from(time.micros().rem_euclid(DAY) / QUARTER).unwrap_or(95)
}

/// What one use adds to its quarter hour.
fn slot(used: &Use) -> Slot {
    let one = Slot { count: 1, ..Slot::default() };
    match used.measure {
        Measure::Add(quantity) => Slot { sum: quantity.units(), ..one },
        Measure::Peak(peak) => Slot { max: peak.units(), ..one },
        Measure::Level(level) => Slot { last: Some((used.time, level.units())), ..one },
        Measure::Value(_) => one,
        Measure::Adjust(units) => Slot { sum: units, ..Slot::default() },
        Measure::Void(quantity) => Slot { count: -1, sum: -quantity.units(), ..Slot::default() },
        Measure::VoidValue(_) => Slot { count: -1, ..Slot::default() },
    }
}
