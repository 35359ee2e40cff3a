//! Times as people type them: civil, in the zone of the organization. Numbers: see [`number`].

use jiff::civil::{DateTime, DateTimeRound};
use jiff::tz::TimeZone;
use jiff::{RoundMode, Timestamp, Unit};

pub mod number;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// The instant of a civil time such as `2026-11-27T10:00` in a zone, as the API takes it. In the gap of a change of clocks it is
/// the instant after it by the offset before, in an overlap the first. What is no civil time stays as it is, for the API to
/// refuse.
pub fn instant(text: &str, zone_name: &str) -> String {
    let civil: Option<DateTime> = text.parse().ok();
    let zoned = civil.and_then(|civil| civil.to_zoned(zone(zone_name)).ok());
    zoned.map_or_else(|| text.to_owned(), |zoned| zoned.timestamp().to_string())
}

/// An instant as a field for a civil time shows it: the second that it is in, as it stands in all else on the page; nothing where it
/// is none.
pub fn civil(time: &str, zone_name: &str) -> String {
    let time: Option<Timestamp> = time.parse().ok();
    let second = DateTimeRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    let shown = time.and_then(|time| time.to_zoned(zone(zone_name)).datetime().round(second).ok());
    shown.map_or_else(String::new, |shown| shown.to_string())
}

/// The same to the day.
pub fn civil_date(time: &str, zone_name: &str) -> String {
    let time: Option<Timestamp> = time.parse().ok();
    time.map_or_else(String::new, |time| time.to_zoned(zone(zone_name)).date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_civil_in_the_organizations_zone() {
        #[rustfmt::skip]
        let cases = [
            ("2026-11-27T10:00",    "Europe/Berlin", "2026-11-27T09:00:00Z"),
            ("2026-11-27",          "Europe/Berlin", "2026-11-26T23:00:00Z"),
            ("2026-03-29T02:30",    "Europe/Berlin", "2026-03-29T01:30:00Z"), // not there: an hour later by the clock
            ("2026-10-25T02:30",    "Europe/Berlin", "2026-10-25T00:30:00Z"), // twice: the first
            ("2026-11-27T10:00:05", "Nowhere/None",  "2026-11-27T10:00:05Z"),
            ("next week",           "UTC",           "next week"),
        ];
        for (typed, zone, expected) in cases {
            assert_eq!(instant(typed, zone), expected, "{typed} {zone}");
        }
        assert_eq!(civil("2026-11-27T09:00:00.250Z", "Europe/Berlin"), "2026-11-27T10:00:00");
        assert_eq!(civil("2026-11-27T09:59:59.750Z", "Europe/Berlin"), "2026-11-27T10:59:59");
        assert_eq!(
            (civil("?", "UTC"), civil_date("2026-11-27T23:30:00Z", "Europe/Berlin")),
            (String::new(), "2026-11-28".to_owned())
        );
    }
}
