//! Billing periods and calendar windows, counted in an organization's time zone.
//!
//! All of them are made the same way: a civil date-time has one instant (in a gap of the zone the instant after it by
//! the offset before, in an overlap the first, as RFC 5545 has it), those instants are the boundaries, and a span
//! reaches from the last boundary not after a time to the next one. So spans are half-open and never empty, and they
//! tile from [`Time::MIN`] to [`Time::MAX`]. [`Time::MAX`] itself is put into the last span.
//!
//! The zone data is the release compiled in with `jiff`; what is installed on the machine is never read.

mod anchor;
mod calendar;
mod zone;

use jiff::civil::DateTime;

use crate::time::{DAY, HOUR, Span, Time};

pub use anchor::{Anchor, InvalidAnchor};
pub use calendar::{date_of, day, hour, month, start_of_date};
pub use jiff::civil::Date;
pub use zone::{InvalidZone, Zone};

/// The last instant that a span can contain.
const LAST: Time = Time::from_micros(Time::MAX.micros() - 1);

/// How far apart two zones can show the same date and time: from 14 hours ahead of UTC to 12 behind.
pub const MOST_APART: i64 = 26 * HOUR;

/// The billing boundaries of one anchor in one zone.
///
/// Two neighbours are at least 28 civil days apart and no offset reaches 26 hours, so they are never out of order.
///
/// ```
/// # use metergate_rules::period::{Anchor, Grid, Zone};
/// let (anchor, zone) = ("2025-01-31".parse::<Anchor>()?, Zone::new("Europe/Berlin")?);
/// let grid = Grid { anchor, zone: &zone };
/// assert_eq!(grid.boundary(1).to_string(), "2025-02-27T23:00:00Z"); // 28 February
/// assert_eq!(grid.boundary(2).to_string(), "2025-03-30T22:00:00Z"); // 31 March, in summer time
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// What boundary 0 is.
    pub anchor: Anchor,
    /// Where months are counted.
    pub zone: &'a Zone,
}

impl<'a> Grid<'a> {
    /// The anchor and `k` calendar months, at most the month's last day, kept between [`Time::MIN`] and [`Time::MAX`].
    pub fn boundary(&self, k: i64) -> Time {
        let moved = jiff::Span::new().try_months(k).and_then(|months| self.anchor.0.checked_add(months));
        match moved {
            Ok(civil) => self.zone.instant(civil),
            Err(_) if k < 0 => Time::MIN,
            Err(_) => Time::MAX,
        }
    }

    /// The number of the last boundary that is not after `t`.
    pub fn index_at(&self, t: Time) -> i64 {
        let t = t.min(LAST);
        let month = |civil: DateTime| i64::from(civil.year()) * 12 + i64::from(civil.month());
        // One more than the wall shows: a clock set back over midnight has passed a boundary of the next month.
        let mut k = month(self.zone.wall(t)) - month(self.anchor.0) + 1;
        while self.boundary(k) > t {
            k -= 1;
        }
        k
    }

    /// The period that contains `t`.
    pub fn containing(&self, t: Time) -> Span {
        let k = self.index_at(t);
        Span { start: self.boundary(k), end: self.boundary(k + 1) }
    }

    /// The first boundary after `t`: the next reset.
    pub fn after(&self, t: Time) -> Time {
        self.containing(t).end
    }

    /// The end of a period that begins at `start`.
    ///
    /// A stored start is not on the grid where the zone has changed since it was stored: the same date and time is then a
    /// boundary up to 26 hours away, and if it lies after the start it would end a period of hours. So the end is the first
    /// boundary beyond those 26 hours. Nothing is skipped on the grid itself, whose boundaries are weeks apart.
    pub fn end_of(&self, start: Time) -> Time {
        self.after(start.plus(MOST_APART))
    }

    /// The resets after one that is at `start`, in order: where the periods will end that follow each other from there.
    pub fn resets_after(self, start: Time) -> impl Iterator<Item = Time> + use<'a> {
        self.following(start.plus(MOST_APART))
    }

    /// All boundaries after `t` and before [`Time::MAX`], in order.
    pub fn following(self, t: Time) -> impl Iterator<Item = Time> + use<'a> {
        let next = self.index_at(t) + 1;
        (next..).map(move |k| self.boundary(k)).take_while(|boundary| *boundary < Time::MAX)
    }
}

/// A subscription's period as the periods that usage is counted in; made by [`cut`].
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    subscription: Span,
    months: Option<Grid<'a>>,
}

/// Cuts a subscription's period that is longer than 32 days into months counted from its start. The last piece ends
/// with the subscription's period, so it can be shorter than a month.
pub fn cut(subscription: Span, zone: &Zone) -> Cut<'_> {
    let long = subscription.end.since(subscription.start) > 32 * DAY;
    let months = long.then(|| Grid { anchor: Anchor::at(subscription.start, zone), zone });
    Cut { subscription, months }
}

impl Cut<'_> {
    /// The piece that contains `t`; the first before the subscription's period, the last from its end on.
    pub fn containing(&self, t: Time) -> Span {
        let Span { start, end } = self.subscription;
        let Some(months) = self.months else { return self.subscription };
        let month = months.containing(t.clamp(start, end.plus(-1)));
        Span { start: month.start.max(start), end: month.end.min(end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn boundaries_are_counted_from_the_anchor_and_clamped_to_the_months_end() {
        #[rustfmt::skip]
        let cases = [ // anchor, k, boundary in UTC
            ("2025-01-31",          0, "2025-01-31T00:00:00Z"),
            ("2025-01-31",          1, "2025-02-28T00:00:00Z"),
            ("2025-01-31",          2, "2025-03-31T00:00:00Z"), // back on the 31st
            ("2025-01-31",          3, "2025-04-30T00:00:00Z"),
            ("2025-01-31",         37, "2028-02-29T00:00:00Z"),
            ("2025-01-31",         -2, "2024-11-30T00:00:00Z"),
            ("2025-01-30",          1, "2025-02-28T00:00:00Z"),
            ("2025-01-30",          2, "2025-03-30T00:00:00Z"),
            ("2025-01-29",          1, "2025-02-28T00:00:00Z"),
            ("2023-12-29",          2, "2024-02-29T00:00:00Z"),
            ("2024-02-29",         12, "2025-02-28T00:00:00Z"),
            ("2024-02-29",         48, "2028-02-29T00:00:00Z"),
            ("2024-02-29",        912, "2100-02-28T00:00:00Z"), // 2100 has no leap day
            ("2024-02-29T23:59:59.999999", 1, "2024-03-29T23:59:59.999999Z"),
        ];
        for (anchor, k, boundary) in cases {
            let grid = Grid { anchor: anchor.parse().unwrap(), zone: &Zone::utc() };
            assert_eq!(grid.boundary(k), time(boundary), "{anchor} and {k} months");
        }
    }

    #[test]
    fn a_boundary_in_a_gap_goes_by_the_offset_before_and_in_an_overlap_is_the_first() {
        #[rustfmt::skip]
        let cases = [ // zone, anchor, k, boundary
            ("Europe/Berlin",       "2024-01-31T02:30", 2, "2024-03-31T01:30:00Z"), // 02:30 is skipped: 03:30
            ("Europe/Berlin",       "2024-09-27T02:30", 1, "2024-10-27T00:30:00Z"), // 02:30 comes twice
            ("Europe/Berlin",       "2024-09-27T03:00", 1, "2024-10-27T02:00:00Z"), // just after
            ("Australia/Lord_Howe", "2024-09-06T02:15", 1, "2024-10-05T15:45:00Z"), // half an hour is skipped
            ("Australia/Lord_Howe", "2024-03-07T01:45", 1, "2024-04-06T14:45:00Z"), // half an hour comes twice
            ("Pacific/Apia",        "2011-11-30T09:00", 1, "2011-12-30T19:00:00Z"), // a day is skipped
            ("Pacific/Apia",        "2011-10-31",       2, "2011-12-30T10:00:00Z"), // the day after it
            ("America/St_Johns",    "2010-10-07",       1, "2010-11-07T02:30:00Z"), // midnight comes twice
            ("America/Havana",      "2024-02-10",       1, "2024-03-10T05:00:00Z"), // midnight is skipped
            ("Asia/Beirut",         "2024-02-29",       1, "2024-03-28T22:00:00Z"),
            ("Asia/Beirut",         "2024-01-31",       2, "2024-03-30T22:00:00Z"), // midnight is skipped
        ];
        for (name, anchor, k, boundary) in cases {
            let grid = Grid { anchor: anchor.parse().unwrap(), zone: &zone(name) };
            assert_eq!(grid.boundary(k), time(boundary), "{anchor} in {name} and {k} months");
        }
    }

    #[test]
    fn a_period_contains_its_start_but_not_its_end() {
        #[rustfmt::skip]
        let cases = [ // zone, anchor, time, index, start, end
            ("UTC", "2025-01-31", "2025-02-27T23:59:59.999999Z", 0, "2025-01-31T00:00:00Z", "2025-02-28T00:00:00Z"),
            ("UTC", "2025-01-31", "2025-02-28T00:00:00Z",        1, "2025-02-28T00:00:00Z", "2025-03-31T00:00:00Z"),
            ("UTC", "2025-01-31", "2025-01-30T23:59:59Z",       -1, "2024-12-31T00:00:00Z", "2025-01-31T00:00:00Z"),
            // The wall shows 6 November again, yet the 7th has begun.
            ("America/St_Johns", "2010-10-07", "2010-11-07T03:00:00Z", 1, "2010-11-07T02:30:00Z", "2010-12-07T03:30:00Z"),
            // The wall shows January, yet the boundary of December falls in the skipped day and is still to come.
            ("Pacific/Kiritimati", "1994-10-31T15:00", "1994-12-31T15:00:00Z", 1, "1994-12-01T01:00:00Z", "1995-01-01T01:00:00Z"),
        ];
        for (name, anchor, t, index, start, end) in cases {
            let grid = Grid { anchor: anchor.parse().unwrap(), zone: &zone(name) };
            let span = Span { start: time(start), end: time(end) };
            assert_eq!((grid.index_at(time(t)), grid.containing(time(t))), (index, span), "{anchor} in {name} at {t}");
            assert_eq!((grid.after(time(t)), grid.following(time(t)).next()), (span.end, Some(span.end)));
        }
    }

    #[test]
    fn an_anchor_taken_in_the_second_pass_of_an_overlap_stands_for_the_first() {
        let berlin = zone("Europe/Berlin");
        let anchor = Anchor::at(time("2024-10-27T01:30:00Z"), &berlin);
        assert_eq!(anchor.to_string(), "2024-10-27T02:30:00");
        let grid = Grid { anchor, zone: &berlin };
        assert_eq!(grid.boundary(0), time("2024-10-27T00:30:00Z"));
        assert_eq!(grid.after(time("2024-10-27T01:30:00Z")), time("2024-11-27T01:30:00Z"));
    }

    #[test]
    fn the_coming_resets_can_be_foreseen() {
        let grid = Grid { anchor: "2025-01-31".parse().unwrap(), zone: &Zone::utc() };
        let resets: Vec<_> = grid.following(time("2025-01-31T00:00:00Z")).take(3).map(|t| t.to_string()).collect();
        assert_eq!(resets, ["2025-02-28T00:00:00Z", "2025-03-31T00:00:00Z", "2025-04-30T00:00:00Z"]);
        assert_eq!(grid.following(time("2199-12-30T00:00:00Z")).count(), 1);
        assert_eq!(grid.following(Time::MAX).next(), None);
    }

    #[test]
    fn only_subscriptions_longer_than_32_days_are_cut() {
        let berlin = zone("Europe/Berlin");
        #[rustfmt::skip]
        let cases = [ // subscription, time, piece
            ("2025-01-31T00:00:00Z/2025-03-04T00:00:00Z", "2025-03-01T00:00:00Z", "2025-01-31T00:00:00Z/2025-03-04T00:00:00Z"),
            ("2025-01-31T00:00:00Z/2025-03-04T00:00:01Z", "2025-03-01T00:00:00Z", "2025-02-28T00:00:00Z/2025-03-04T00:00:01Z"),
            ("2025-01-31T00:00:00Z/2026-01-31T00:00:00Z", "2025-03-31T00:00:00Z", "2025-03-30T23:00:00Z/2025-04-29T23:00:00Z"),
            ("2025-01-31T00:00:00Z/2026-01-31T00:00:00Z", "2026-01-30T23:59:59Z", "2025-12-31T00:00:00Z/2026-01-31T00:00:00Z"),
            // Before and after the subscription: its first and last piece.
            ("2025-01-31T00:00:00Z/2026-01-31T00:00:00Z", "2024-06-01T00:00:00Z", "2025-01-31T00:00:00Z/2025-02-28T00:00:00Z"),
            ("2025-01-31T00:00:00Z/2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z", "2025-12-31T00:00:00Z/2026-01-31T00:00:00Z"),
            // From the second 02:30 of an overlap.
            ("2024-10-27T01:30:00Z/2025-10-27T01:30:00Z", "2024-10-27T01:30:00Z", "2024-10-27T01:30:00Z/2024-11-27T01:30:00Z"),
            // Nothing to cut.
            ("2025-01-31T00:00:00Z/2025-01-31T00:00:00Z", "2025-03-01T00:00:00Z", "2025-01-31T00:00:00Z/2025-01-31T00:00:00Z"),
        ];
        let span = |text: &str| text.split_once('/').map(|(a, b)| Span { start: time(a), end: time(b) }).unwrap();
        for (subscription, t, piece) in cases {
            assert_eq!(cut(span(subscription), &berlin).containing(time(t)), span(piece), "{subscription} at {t}");
        }
    }

    #[test]
    fn periods_are_kept_between_the_ends_of_time() {
        for name in ["UTC", "Pacific/Apia", "Pacific/Kiritimati", "America/St_Johns"] {
            let zone = zone(name);
            for anchor in ["1899-12-31", "1970-01-31", "2200-01-02"] {
                let grid = Grid { anchor: anchor.parse().unwrap(), zone: &zone };
                assert_eq!((grid.boundary(i64::MIN), grid.boundary(i64::MAX)), (Time::MIN, Time::MAX));
                assert_eq!((grid.boundary(-100_000), grid.boundary(100_000)), (Time::MIN, Time::MAX));
                assert!(grid.containing(Time::MIN).contains(Time::MIN));
                assert!(grid.containing(LAST).contains(LAST));
                assert_eq!((grid.containing(Time::MAX), grid.after(LAST)), (grid.containing(LAST), Time::MAX));
            }
            for window in [hour, day, month] {
                assert!(window(Time::MIN, &zone).contains(Time::MIN), "{name}");
                assert!(window(LAST, &zone).contains(LAST), "{name}");
                assert_eq!(window(Time::MAX, &zone), window(LAST, &zone), "{name}");
            }
        }
    }
}
