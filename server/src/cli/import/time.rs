//! Times as CSV files write them.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use metergate_rules::time::{SECOND, Time};

/// Why a cell is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2023-11-16 18:15:46.68, 2023-11-16T18:15:46+01:00 or 2023-11-16")]
pub(super) struct InvalidTime;

/// Reads `YYYY-MM-DD HH:MM[:SS[.fff…]][zone]`, with a space or `T` between date and time, or a date alone, which is its midnight.
/// Without a zone it is UTC. What is finer than a microsecond is cut.
pub(super) fn parse(cell: &str) -> Result<Time, InvalidTime> {
    let cell = to_the_second(cell.trim());
    let (civil, rest) = cell.split_at_checked(19).ok_or(InvalidTime)?;
    let civil: DateTime = in_shape(civil).then(|| civil.parse().ok()).flatten().ok_or(InvalidTime)?;
    let (micros, zone) = fraction(rest)?;
    let instant = civil.to_zoned(TimeZone::UTC).map_err(|_| InvalidTime)?.timestamp();
    let micros = instant.as_second() * SECOND + micros - offset_seconds(zone)? * SECOND;
    let within = (Time::MIN.micros()..=Time::MAX.micros()).contains(&micros);
    if within { Ok(Time::from_micros(micros)) } else { Err(InvalidTime) }
}

/// With the seconds, and the time of day, that it leaves out.
fn to_the_second(cell: &str) -> Cow<'_, str> {
    if cell.len() == 10 && in_shape(cell) {
        return format!("{cell} 00:00:00").into();
    }
    match cell.split_at_checked(16) {
        Some((minute, zone)) if in_shape(minute) && !zone.starts_with([':', '.']) => {
            format!("{minute}:00{zone}").into()
        }
        _ => cell.into(),
    }
}

/// `dddd-dd-dd dd:dd:dd`, or the beginning of it; nothing else that a parser of dates might take.
fn in_shape(text: &str) -> bool {
    text.bytes().zip(b"0000-00-00 00:00:00").all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b' ' => matches!(byte, b' ' | b'T' | b't'),
        other => byte == *other,
    })
}

/// The microseconds of a fraction, and what stands after it.
fn fraction(rest: &str) -> Result<(i64, &str), InvalidTime> {
    let Some(digits) = rest.strip_prefix('.') else { return Ok((0, rest)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, zone) = digits.split_at(end);
    if digits.is_empty() {
        return Err(InvalidTime);
    }
    let micros = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
    Ok((micros.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), zone))
}

/// Seconds east of UTC: nothing, `Z`, `UTC`, `+01`, `+0100` or `+01:00`.
fn offset_seconds(zone: &str) -> Result<i64, InvalidTime> {
    let zone = zone.trim_start();
    if matches!(zone, "" | "Z" | "z" | "UTC") {
        return Ok(0);
    }
    let (sign, digits) = match zone.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return Err(InvalidTime),
    };
    let digits = match digits {
        [h1, h2] => [*h1, *h2, b'0', b'0'],
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => [*h1, *h2, *m1, *m2],
        _ => return Err(InvalidTime),
    };
    let [h1, h2, m1, m2] = digits.map(|digit| char::from(digit).to_digit(10).map(i64::from));
    let pair = |high: Option<i64>, low: Option<i64>| Some(high? * 10 + low?);
    match (pair(h1, h2), pair(m1, m2)) {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(sign * (hours * 3600 + minutes * 60)),
        _ => Err(InvalidTime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_zone_are_utc_and_cut_to_microseconds() {
        let cases = [
            ("2023-11-16 18:15:46.6805900", "2023-11-16T18:15:46.68059Z"),
            ("2023-11-16T18:15:46", "2023-11-16T18:15:46Z"),
            (" 2023-11-16 18:15:46.1234569 ", "2023-11-16T18:15:46.123456Z"),
            ("2023-11-16 18:15:46.5Z", "2023-11-16T18:15:46.5Z"),
            ("2023-11-16 18:15:46 UTC", "2023-11-16T18:15:46Z"),
            ("2023-11-16T18:15:46+01:00", "2023-11-16T17:15:46Z"),
            ("2023-11-16T18:15:46.25-0530", "2023-11-16T23:45:46.25Z"),
            ("2024-02-29 00:00:00+14", "2024-02-28T10:00:00Z"),
            ("1969-12-31 23:59:59.9999999", "1969-12-31T23:59:59.999999Z"),
            ("2023-11-16", "2023-11-16T00:00:00Z"),
            ("2023-11-16 18:15", "2023-11-16T18:15:00Z"),
            ("2023-11-16T18:15+01:00", "2023-11-16T17:15:00Z"),
        ];
        for (cell, expected) in cases {
            assert_eq!(parse(cell).unwrap().to_string(), expected, "{cell}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let cells = [
            "",
            "yesterday",
            "2023-11",
            "2023-11-16 18",
            "2023-11-16 18:15.5",
            "2023-11-16 24:00",
            "16.11.2023",
            "2023-02-30",
            "2023-02-29 00:00:00",
            "2023-11-16 24:00:00",
            "2023-11-16 18:15:46.",
            "2023-11-16 18:15:46,5",
            "2023-11-16 18:15:46 CET",
            "2023-11-16 18:15:46+25:00",
            "2023-11-16 18:15:46+1:00",
            "16.11.2023 18:15:46",
            "1700158546",
            "1850-01-01 00:00:00",
            "9999-12-31 23:59:59",
            "2023-11-16 18:15:4é",
            "2023-11-16_18:15:46",
            "2023-11-16 18:15:46[Europe/Berlin]",
        ];
        for cell in cells {
            assert_eq!(parse(cell), Err(InvalidTime), "{cell:?}");
        }
    }
}
