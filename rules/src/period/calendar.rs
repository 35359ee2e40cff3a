//! Calendar windows: hours, days and months of a zone.

use jiff::civil::{Date, DateTime, Time as Clock};

use super::{Anchor, Grid, LAST, Zone};
use crate::time::{DAY, HOUR, Span, Time};

/// The first instant of `date`: its midnight, kept between [`Time::MIN`] and [`Time::MAX`]. A date that the zone
/// skipped begins with the next one.
pub fn start_of_date(date: Date, zone: &Zone) -> Time {
    zone.instant(date.to_datetime(Clock::midnight()))
}

/// The date of the [`day`] that contains `t`: the latest one that has begun.
///
/// Where a clock was set back over midnight (St. John's until 2011, from 00:01 to 23:01) the wall shows the old date
/// once more, and this stays with the new one.
pub fn date_of(t: Time, zone: &Zone) -> Date {
    let t = t.min(LAST);
    let wall = zone.wall(t).date();
    let mut date = wall.tomorrow().unwrap_or(wall);
    while start_of_date(date, zone) > t {
        date = date.yesterday().unwrap_or(Date::MIN);
    }
    date
}

/// The calendar day that contains `t`. No zone skips more than 24 hours, so days are never out of order; a skipped
/// date has no day.
pub fn day(t: Time, zone: &Zone) -> Span {
    if zone.is_utc() {
        let start = t.min(LAST).floor(DAY);
        return Span { start, end: start.plus(DAY) };
    }
    let date = date_of(t, zone);
    let next = date.tomorrow().unwrap_or(Date::MAX);
    Span { start: start_of_date(date, zone), end: start_of_date(next, zone) }
}

/// The calendar month that contains `t`: from the first instant of a month's first day to that of the next.
pub fn month(t: Time, zone: &Zone) -> Span {
    Grid { anchor: Anchor(DateTime::constant(1970, 1, 1, 0, 0, 0, 0)), zone }.containing(t)
}

/// The clock hour that contains `t`: from one instant at which the wall shows a full hour to the next.
///
/// It is longer than 60 minutes where the shift is no full hour (90 minutes on Lord Howe). Its bounds are quarter
/// hours of UTC wherever the offsets are: everywhere since 1995.
pub fn hour(t: Time, zone: &Zone) -> Span {
    let t = t.min(LAST);
    // No zone changes its offset twice in four hours.
    let (before, after) = (zone.offset(t.plus(-2 * HOUR)), zone.offset(t.plus(2 * HOUR)));
    if before == after {
        return Span { start: full_hour(t, before, 0), end: full_hour(t, before, 1) };
    }
    let near = |offset| (-1..=2).map(move |hours| (offset, full_hour(t, offset, hours)));
    let shown = near(before).chain(near(after)).filter(|(offset, at)| zone.offset(*at) == *offset).map(|(_, at)| at);
    let start = shown.clone().filter(|at| *at <= t).max();
    let end = shown.filter(|at| *at > t).min();
    Span { start: start.unwrap_or(full_hour(t, before, 0)), end: end.unwrap_or(full_hour(t, after, 1)) }
}

/// The last full hour by `offset` not after `t`, and so many hours later.
fn full_hour(t: Time, offset: i64, later: i64) -> Time {
    let hours = (t.micros() + offset).div_euclid(HOUR) + later;
    Time::from_micros(hours * HOUR - offset)
}
