//! Instants and half-open spans of time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An instant: microseconds since 1970-01-01T00:00:00Z. Every rule takes it as a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

/// One second in microseconds, the unit of [`Time`].
pub const SECOND: i64 = 1_000_000;
/// One minute in microseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in microseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// Twenty-four hours in microseconds. Not a calendar day: those come from [`crate::period`].
pub const DAY: i64 = 24 * HOUR;

/// The text is not an RFC 3339 time between 1900 and 2200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time between 1900 and 2200, such as 2026-11-22T11:06:00Z")]
pub struct InvalidTime;

impl Time {
    /// The earliest instant that Metergate accepts: 1900-01-01T00:00:00Z.
    pub const MIN: Self = Self(-2_208_988_800 * SECOND);
    /// The latest instant that Metergate accepts: 2200-01-01T00:00:00Z.
    pub const MAX: Self = Self(7_258_118_400 * SECOND);

    /// The instant so many microseconds after 1970-01-01T00:00:00Z, kept between [`Time::MIN`] and [`Time::MAX`].
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `micros`, kept between [`Time::MIN`] and [`Time::MAX`].
    #[must_use]
    pub const fn plus(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this instant; negative if it is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Whole seconds from `now` to this instant, rounded up, at least 0: the unit of `Retry-After`.
    pub const fn seconds_from(self, now: Self) -> i64 {
        let micros = self.since(now);
        if micros <= 0 { 0 } else { (micros - 1) / SECOND + 1 }
    }

    /// The same instant as a `jiff` timestamp.
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The last instant that is a multiple of `step` microseconds and not after this one.
    #[must_use]
    pub const fn floor(self, step: i64) -> Self {
        Self(self.0.div_euclid(step) * step)
    }
}

impl TryFrom<Timestamp> for Time {
    type Error = InvalidTime;

    /// Cuts what is finer than a microsecond.
    ///
    /// # Errors
    /// [`InvalidTime`] outside [`Time::MIN`]..=[`Time::MAX`].
    fn try_from(timestamp: Timestamp) -> Result<Self, InvalidTime> {
        let micros = i64::try_from(timestamp.as_nanosecond().div_euclid(1000)).map_err(|_| InvalidTime)?;
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTime) }
    }
}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        text.parse::<Timestamp>().map_err(|_| InvalidTime)?.try_into()
    }
}

/// RFC 3339 in UTC with `Z`, as every time on the wire.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timestamp().fmt(f)
    }
}

/// A half-open span of time: `start` is in it, `end` is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first instant in the span.
    pub start: Time,
    /// The first instant after the span.
    pub end: Time,
}

impl Span {
    /// Whether `time` lies in `[start, end)`.
    pub fn contains(&self, time: Time) -> bool {
        self.start <= time && time < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_rfc_3339_in_utc() {
        let cases = [
            ("2026-11-22T11:06:00Z", "2026-11-22T11:06:00Z"),
            ("2026-11-22T12:06:00.1239999+01:00", "2026-11-22T11:06:00.123999Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
        ];
        for (text, written) in cases {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), written);
        }
        for bad in ["", "2026-11-22", "1899-12-31T23:59:59Z", "2200-01-01T00:00:01Z", "yesterday"] {
            assert_eq!(bad.parse::<Time>(), Err(InvalidTime), "{bad}");
        }
    }

    #[test]
    fn waiting_times_are_rounded_up_to_whole_seconds() {
        let now = Time::from_micros(0);
        for (micros, seconds) in [(-5, 0), (0, 0), (1, 1), (SECOND, 1), (SECOND + 1, 2)] {
            assert_eq!(Time::from_micros(micros).seconds_from(now), seconds);
        }
    }
}
