//! When a limit is reached if use goes on at its present pace (O11).
//!
//! The pace is what the last seven times 24 hours came to: every hour of every day of the week is in it once, so that neither
//! nights nor weekends bend it, whatever the time of the question. A pace since the counter began would say on a Monday what
//! a weekend was like, and on the first day of a period nothing at all.

use crate::quantity::Quantity;
use crate::time::{DAY, HOUR, Time};

/// Over how long a pace is taken where there is so much, in microseconds.
pub const PACE_SPAN: i64 = 7 * DAY;
/// From less than this no pace is told, in microseconds: minutes say nothing about weeks.
pub const LEAST_SPAN: i64 = HOUR;

/// So much in so long: the slope by which use goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    units: i64,
    micros: i64,
}

impl Pace {
    /// `units` of the meter's smallest unit in `micros` microseconds; below zero where a level fell. `None` over less than
    /// [`LEAST_SPAN`].
    pub const fn new(units: i64, micros: i64) -> Option<Self> {
        if micros < LEAST_SPAN { None } else { Some(Self { units, micros }) }
    }

    /// What it comes to in `micros` microseconds, cut to whole units.
    pub fn over(&self, micros: i64) -> i128 {
        i128::from(self.units) * i128::from(micros) / i128::from(self.micros)
    }

    /// What it comes to in 24 hours, cut to whole units.
    pub fn a_day(&self) -> i128 {
        self.over(DAY)
    }

    /// What will have been used at `end`, if nothing refuses it; at least nothing.
    pub fn projected(&self, used: Quantity, now: Time, end: Time) -> i128 {
        (i128::from(used.units()) + self.over(end.since(now).max(0))).max(0)
    }

    /// When `remaining` is used, if that is before `end`: rounded up, so that then it is. `now` where nothing remains.
    pub fn reaches(&self, remaining: Quantity, now: Time, end: Time) -> Option<Time> {
        if remaining.is_zero() {
            return Some(now);
        } else if self.units <= 0 {
            return None;
        }
        // Below 2^63 units in fewer than 2^54 microseconds: no product passes an i128.
        let (remaining, units) = (i128::from(remaining.units()), i128::from(self.units));
        let wait = (remaining * i128::from(self.micros) + units - 1) / units;
        // Kept at the end of time, this is never before an end.
        let at = i64::try_from(wait).map_or(Time::MAX, |wait| now.plus(wait));
        (at < end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(units: i64) -> Quantity {
        Quantity::new(units).unwrap()
    }

    fn at(days: i64) -> Time {
        Time::from_micros(days * DAY)
    }

    #[test]
    fn a_limit_is_reached_when_what_remains_is_used_at_the_pace() {
        #[rustfmt::skip]
        let cases = [ // used in a week, remaining, end of the window in days, when in microseconds after now
            (700,          100, 2,   Some(DAY)),
            (700,          100, 1,   None),                            // at the end it begins anew
            (700,          99,  1,   Some(99 * DAY / 100)),
            (700,          0,   1,   Some(0)),                         // reached already
            (0,            0,   1,   Some(0)),
            (0,            1,   100, None),
            (-700,         1,   100, None),                            // a level that falls
            (3,            1,   100, Some((7 * DAY + 2) / 3)),         // rounded up
            (1,            i64::MAX, 80_000, None),                    // beyond the end of time
            (i64::MAX,     i64::MAX, 8, Some(7 * DAY)),
        ];
        for (units, remaining, end, reached) in cases {
            let pace = Pace::new(units, PACE_SPAN).unwrap();
            let reaches = pace.reaches(q(remaining), at(0), at(end)).map(Time::micros);
            assert_eq!(reaches, reached, "{units} a week, {remaining} left, {end} days");
        }
    }

    #[test]
    fn what_will_have_been_used_follows_the_pace_and_is_never_below_nothing() {
        #[rustfmt::skip]
        let cases = [ // used in a week, used so far, days to the end, used at the end
            (700,      50,       3,  350),
            (0,        50,       3,  50),
            (3,        0,        1,  0),                               // cut to whole units
            (5,        0,        3,  2),
            (-700,     150,      1,  50),
            (-700,     150,      9,  0),
            (700,      50,       -1, 50),
            (i64::MAX, i64::MAX, 7,  2 * i128::from(i64::MAX)),
        ];
        for (units, used, days, projected) in cases {
            let pace = Pace::new(units, PACE_SPAN).unwrap();
            assert_eq!(pace.projected(q(used), at(0), at(days)), projected, "{units} a week, {used}, {days} days");
        }
        assert_eq!(Pace::new(700, PACE_SPAN).unwrap().a_day(), 100);
    }

    #[test]
    fn minutes_make_no_pace() {
        assert_eq!(Pace::new(5, LEAST_SPAN - 1), None);
        assert_eq!(Pace::new(5, LEAST_SPAN).unwrap().a_day(), 120);
    }
}
