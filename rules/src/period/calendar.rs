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

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn span(text: &str) -> Span {
        text.split_once('/').map(|(start, end)| Span { start: time(start), end: time(end) }).unwrap()
    }

    #[test]
    fn a_day_begins_at_the_first_instant_of_its_midnight() {
        #[rustfmt::skip]
        let cases = [ // zone, time, date, day
            ("UTC",                 "1969-12-31T23:59:59Z", "1969-12-31", "1969-12-31T00:00:00Z/1970-01-01T00:00:00Z"),
            ("Etc/UTC",             "2024-02-29T00:00:00Z", "2024-02-29", "2024-02-29T00:00:00Z/2024-03-01T00:00:00Z"),
            ("Europe/Berlin",       "2024-03-31T12:00:00Z", "2024-03-31", "2024-03-30T23:00:00Z/2024-03-31T22:00:00Z"), // 23 hours
            ("Europe/Berlin",       "2024-10-27T22:59:59Z", "2024-10-27", "2024-10-26T22:00:00Z/2024-10-27T23:00:00Z"), // 25 hours
            ("Australia/Lord_Howe", "2024-10-05T15:30:00Z", "2024-10-06", "2024-10-05T13:30:00Z/2024-10-06T13:00:00Z"), // 23.5 hours
            ("Pacific/Apia",        "2011-12-30T09:59:59Z", "2011-12-29", "2011-12-29T10:00:00Z/2011-12-30T10:00:00Z"),
            ("Pacific/Apia",        "2011-12-30T10:00:00Z", "2011-12-31", "2011-12-30T10:00:00Z/2011-12-31T10:00:00Z"), // no 30th
            ("America/St_Johns",    "2010-11-07T02:29:59Z", "2010-11-06", "2010-11-06T02:30:00Z/2010-11-07T02:30:00Z"),
            ("America/St_Johns",    "2010-11-07T03:00:00Z", "2010-11-07", "2010-11-07T02:30:00Z/2010-11-08T03:30:00Z"), // wall: the 6th
            ("America/Sao_Paulo",   "2018-11-04T03:00:00Z", "2018-11-04", "2018-11-04T03:00:00Z/2018-11-05T02:00:00Z"), // begins at 01:00
            ("America/Sao_Paulo",   "2018-02-18T02:59:59Z", "2018-02-17", "2018-02-17T02:00:00Z/2018-02-18T03:00:00Z"),
            ("Asia/Beirut",         "2024-03-30T22:00:00Z", "2024-03-31", "2024-03-30T22:00:00Z/2024-03-31T21:00:00Z"),
            ("America/Havana",      "2024-11-03T05:30:00Z", "2024-11-03", "2024-11-03T04:00:00Z/2024-11-04T05:00:00Z"), // midnight twice
        ];
        for (name, t, date, expected) in cases {
            let zone: Zone = name.parse().unwrap();
            assert_eq!(day(time(t), &zone), span(expected), "{name} {t}");
            assert_eq!(date_of(time(t), &zone).to_string(), date, "{name} {t}");
            assert_eq!(start_of_date(date.parse().unwrap(), &zone), span(expected).start, "{name} {date}");
        }
    }

    #[test]
    fn a_skipped_date_begins_with_the_next_one() {
        let apia: Zone = "Pacific/Apia".parse().unwrap();
        let starts = ["2011-12-30", "2011-12-31"].map(|date| start_of_date(date.parse().unwrap(), &apia));
        assert_eq!(starts, [time("2011-12-30T10:00:00Z"); 2]);
    }

    #[test]
    fn a_month_begins_with_its_first_day() {
        #[rustfmt::skip]
        let cases = [ // zone, time, month
            ("UTC",                "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z/2024-03-01T00:00:00Z"),
            ("Europe/Berlin",      "2024-03-31T22:00:00Z", "2024-03-31T22:00:00Z/2024-04-30T22:00:00Z"),
            ("Pacific/Kiritimati", "1994-12-31T10:00:00Z", "1994-12-31T10:00:00Z/1995-01-31T10:00:00Z"),
            // Set back at 00:01 on 1 November: the wall shows October once more.
            ("America/St_Johns",   "2009-11-01T03:00:00Z", "2009-11-01T02:30:00Z/2009-12-01T03:30:00Z"),
        ];
        for (name, t, expected) in cases {
            assert_eq!(month(time(t), &name.parse().unwrap()), span(expected), "{name} {t}");
        }
    }

    #[test]
    fn an_hour_lasts_from_one_full_hour_on_the_wall_to_the_next() {
        #[rustfmt::skip]
        let cases = [ // zone, time, hour
            ("UTC",                 "1969-12-31T23:59:59Z", "1969-12-31T23:00:00Z/1970-01-01T00:00:00Z"),
            ("Asia/Kathmandu",      "2024-01-01T00:14:59Z", "2023-12-31T23:15:00Z/2024-01-01T00:15:00Z"),
            ("Europe/Berlin",       "2024-03-31T00:59:59Z", "2024-03-31T00:00:00Z/2024-03-31T01:00:00Z"), // 01, then 03
            ("Europe/Berlin",       "2024-03-31T01:00:00Z", "2024-03-31T01:00:00Z/2024-03-31T02:00:00Z"),
            ("Europe/Berlin",       "2024-10-27T01:00:00Z", "2024-10-27T01:00:00Z/2024-10-27T02:00:00Z"), // 02 again
            ("Australia/Lord_Howe", "2024-10-05T15:30:00Z", "2024-10-05T14:30:00Z/2024-10-05T16:00:00Z"), // 01:00 to 03:00
            ("Australia/Lord_Howe", "2024-10-05T14:30:00Z", "2024-10-05T14:30:00Z/2024-10-05T16:00:00Z"),
            ("Australia/Lord_Howe", "2024-10-05T16:00:00Z", "2024-10-05T16:00:00Z/2024-10-05T17:00:00Z"),
            ("Australia/Lord_Howe", "2024-04-06T15:00:00Z", "2024-04-06T14:00:00Z/2024-04-06T15:30:00Z"), // 01:00 to 02:00
            ("America/St_Johns",    "2010-11-07T02:45:00Z", "2010-11-07T02:30:00Z/2010-11-07T03:30:00Z"), // 00:00, set back at 00:01
        ];
        for (name, t, expected) in cases {
            assert_eq!(hour(time(t), &name.parse().unwrap()), span(expected), "{name} {t}");
        }
    }
}
