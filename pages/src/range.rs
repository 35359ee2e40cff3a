//! Whole days and months of a zone, half-open, as reports are asked for them.

use jiff::civil::Date;
use jiff::{Span, Timestamp, Zoned};

use crate::format::Zone;

fn at(zone: &Zone, time: &str) -> Zoned {
    zone.at(time.parse().unwrap_or(Timestamp::UNIX_EPOCH))
}

fn begins(zone: &Zone, date: Date) -> String {
    date.to_zoned(zone.time_zone().clone())
        .map_or_else(|_| format!("{date}T00:00:00Z"), |day| day.timestamp().to_string())
}

/// So many days, today's the last.
pub(crate) fn last_days(zone: &Zone, now: &str, days: i64) -> (String, String) {
    let today = at(zone, now).date();
    let from = today.saturating_sub(Span::new().days(days - 1));
    (begins(zone, from), begins(zone, today.saturating_add(Span::new().days(1))))
}

/// So many months, this one the last.
pub(crate) fn last_months(zone: &Zone, now: &str, months: i64) -> (String, String) {
    let this = at(zone, now).date().first_of_month();
    let from = this.saturating_sub(Span::new().months(months - 1));
    (begins(zone, from), begins(zone, this.saturating_add(Span::new().months(1))))
}

/// The days that a span touches.
pub(crate) fn whole_days(zone: &Zone, start: &str, end: &str) -> (String, String) {
    let (start, end) = (at(zone, start), at(zone, end));
    let midnight = begins(zone, end.date());
    let is_midnight = midnight == end.timestamp().to_string();
    let end = if is_midnight { midnight } else { begins(zone, end.date().saturating_add(Span::new().days(1))) };
    (begins(zone, start.date()), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_days_of_the_zone() {
        let berlin = Zone::new("Europe/Berlin");
        let now = "2026-11-27T23:30:00Z"; // the 28th there
        let expected = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(last_days(&berlin, now, 2), expected("2026-11-26T23:00:00Z", "2026-11-28T23:00:00Z"));
        assert_eq!(last_months(&berlin, now, 2), expected("2026-09-30T22:00:00Z", "2026-11-30T23:00:00Z"));
        let period = whole_days(&berlin, "2026-11-15T10:00:00Z", "2026-12-15T10:00:00Z");
        assert_eq!(period, expected("2026-11-14T23:00:00Z", "2026-12-15T23:00:00Z"));
        let aligned = whole_days(&berlin, "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z");
        assert_eq!(aligned, expected("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"));
    }
}
