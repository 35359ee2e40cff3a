//! Spans of days, durations and counts as text.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::quantity::plural;
use super::time::{Zone, instant};

/// The days of a half-open span: "November 15 – December 14" for what ends at midnight of December 15.
///
/// The last day is that of the last instant within: of an end that is not midnight, the end's own. Years stand where they
/// differ from each other, and once where both are another than `this_year`.
pub fn days(start: &str, end: &str, zone: &Zone, this_year: i16) -> String {
    match instant(start).zip(instant(end)) {
        Some((start, end)) => days_between(start, end, zone, this_year),
        None => format!("{start} – {end}"),
    }
}

fn days_between(start: Timestamp, end: Timestamp, zone: &Zone, this_year: i16) -> String {
    let first = zone.at(start).date();
    let last_instant = end.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(end);
    let last = zone.at(last_instant).date().max(first);
    let day = |day: Date| day.strftime("%B %-d").to_string();
    let with_year = |date: Date| format!("{}, {}", day(date), date.year());
    let end = if last.year() == this_year && first.year() == this_year { day(last) } else { with_year(last) };
    if first == last {
        return end;
    }
    let start = if first.year() == last.year() { day(first) } else { with_year(first) };
    format!("{start} – {end}")
}

/// So many of a thing named in the singular: "1 day", "2 days", "1,200 events".
pub fn count(number: u64, noun: &str) -> String {
    let number_text = super::exact(super::Amount::of_billionths(i128::from(number) * 1_000_000_000));
    format!("{number_text} {}", if number == 1 { noun.to_owned() } else { plural(noun) })
}

/// A duration from milliseconds in at most two steps: "350 ms", "1.2 s", "3 min 20 s", "2 h 5 min", "3 days 4 h".
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => steps(format!("{} min", seconds / 60), seconds % 60, "s"),
        3_600_000..86_400_000 => steps(format!("{} h", seconds / 3_600), seconds % 3_600 / 60, "min"),
        _ => steps(count(seconds / 86_400, "day"), seconds % 86_400 / 3_600, "h"),
    }
}

fn steps(large: String, small: u64, unit: &str) -> String {
    if small == 0 { large } else { format!("{large} {small} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_names_its_first_and_its_last_day() {
        #[rustfmt::skip]
        let cases = [ // start, end, zone, text in 2026
            ("2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z", "UTC", "November 15 – December 14"),
            ("2026-11-14T23:00:00Z", "2026-12-14T23:00:00Z", "Europe/Berlin", "November 15 – December 14"),
            ("2026-11-15T10:30:00Z", "2026-12-15T10:30:00Z", "UTC", "November 15 – December 15"),
            ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "UTC", "November 1 – November 30"),
            ("2026-11-15T00:00:00Z", "2026-11-16T00:00:00Z", "UTC", "November 15"),
            ("2026-11-15T00:00:00Z", "2026-11-15T00:00:00Z", "UTC", "November 15"),
            ("2026-12-15T00:00:00Z", "2027-01-15T00:00:00Z", "UTC", "December 15, 2026 – January 14, 2027"),
            ("2025-12-15T00:00:00Z", "2026-01-01T00:00:00Z", "UTC", "December 15 – December 31, 2025"),
            ("2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "UTC", "February 29, 2024"),
            // The day that this zone began at 01:00, and on which a period ended.
            ("2018-10-04T03:00:00Z", "2018-11-04T03:00:00Z", "America/Sao_Paulo", "October 4 – November 3, 2018"),
            ("then", "now", "UTC", "then – now"),
        ];
        for (start, end, zone, expected) in cases {
            assert_eq!(days(start, end, &Zone::new(zone), 2026), expected, "{start} to {end} in {zone}");
        }
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(count(1, "day"), "1 day");
        assert_eq!(count(0, "day"), "0 days");
        assert_eq!(count(1_200, "entry"), "1,200 entries");
    }

    #[test]
    fn durations_have_two_steps_at_most() {
        #[rustfmt::skip]
        let cases = [
            (0, "0 ms"), (350, "350 ms"), (1_299, "1.2 s"), (59_999, "59 s"), (60_000, "1 min"), (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"), (86_400_000, "1 day"), (273_600_000, "3 days 4 h"),
        ];
        for (milliseconds, expected) in cases {
            assert_eq!(duration(milliseconds), expected, "{milliseconds}");
        }
    }
}
