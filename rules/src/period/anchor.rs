//! What billing periods are counted from.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::zone::Zone;
use crate::time::Time;

/// A civil date-time that billing periods are counted from, exact to the microsecond. It has no zone of its own, so
/// that an organization that moves keeps its day of the month.
///
/// Text such as `2024-01-31T00:00:00` in formats for people, microseconds since the civil 1970-01-01T00:00 in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Anchor(pub(super) DateTime);

/// The text is not a civil date or date-time between 1900 and 2200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date or date-time without offset between 1900 and 2200, such as 2024-11-01 or 2024-11-01T08:30:00")]
pub struct InvalidAnchor;

impl Anchor {
    /// A day more than the range of [`Time`] on either side, since no zone is further from UTC.
    const RANGE: (DateTime, DateTime) =
        (DateTime::constant(1899, 12, 31, 0, 0, 0, 0), DateTime::constant(2200, 1, 2, 0, 0, 0, 0));

    /// What the wall clock of `zone` shows at `t`. In an overlap this forgets which of the two it was, so that
    /// [`Grid::boundary`](super::Grid::boundary) 0 is the first.
    pub fn at(t: Time, zone: &Zone) -> Self {
        Self(zone.wall(t))
    }

    /// Midnight of `date`, kept between 1899-12-31 and 2200-01-02.
    pub fn date(date: Date) -> Self {
        Self(date.to_datetime(jiff::civil::Time::midnight()).clamp(Self::RANGE.0, Self::RANGE.1))
    }

    /// The civil date-time.
    pub const fn civil(&self) -> DateTime {
        self.0
    }

    fn from_micros(micros: i64) -> Result<Self, InvalidAnchor> {
        let timestamp = Timestamp::from_microsecond(micros).map_err(|_| InvalidAnchor)?;
        Self::in_range(TimeZone::UTC.to_datetime(timestamp))
    }

    fn micros(self) -> i64 {
        TimeZone::UTC.to_timestamp(self.0).map_or(0, Timestamp::as_microsecond)
    }

    fn in_range(civil: DateTime) -> Result<Self, InvalidAnchor> {
        if (Self::RANGE.0..=Self::RANGE.1).contains(&civil) { Ok(Self(civil)) } else { Err(InvalidAnchor) }
    }
}

impl FromStr for Anchor {
    type Err = InvalidAnchor;

    /// Reads `2024-11-01` (midnight) and `2024-11-01T08:30:00.5`; what is finer than a microsecond is cut. A text with
    /// an offset is an instant: read it as a [`Time`], then [`Anchor::at`].
    fn from_str(text: &str) -> Result<Self, InvalidAnchor> {
        let time = text.split_once('T').map_or("", |(_, time)| time);
        if !text.bytes().all(|b| b.is_ascii_digit() || b"-:.T".contains(&b)) || time.contains('-') {
            return Err(InvalidAnchor);
        }
        let civil = text.parse::<DateTime>().map_err(|_| InvalidAnchor)?;
        let micros = civil.subsec_nanosecond() / 1000 * 1000;
        Self::in_range(civil.with().subsec_nanosecond(micros).build().map_err(|_| InvalidAnchor)?)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Anchor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.micros())
        }
    }
}

impl<'de> Deserialize<'de> for Anchor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let anchor = match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?.parse(),
            false => Self::from_micros(i64::deserialize(deserializer)?),
        };
        anchor.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_read_from_civil_text_only() {
        #[rustfmt::skip]
        let cases = [
            ("2024-11-01",                    Ok("2024-11-01T00:00:00")),
            ("2024-11-01T08:30",              Ok("2024-11-01T08:30:00")),
            ("2024-11-01T08:30:00.123456789", Ok("2024-11-01T08:30:00.123456")),
            ("2024-11-01T08:30:00Z",          Err(InvalidAnchor)),
            ("2024-11-01T08:30:00+01:00",     Err(InvalidAnchor)),
            ("2024-11-01T08:30:00-01:00",     Err(InvalidAnchor)),
            ("2024-11-01T08:30:00[UTC]",      Err(InvalidAnchor)),
            ("2023-02-29",                    Err(InvalidAnchor)),
            ("1899-12-30",                    Err(InvalidAnchor)),
            ("2200-01-03",                    Err(InvalidAnchor)),
            ("",                              Err(InvalidAnchor)),
        ];
        for (text, anchor) in cases {
            assert_eq!(text.parse().map(|anchor: Anchor| anchor.to_string()), anchor.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn anchors_are_text_in_json_and_one_number_in_compact_formats() {
        for text in ["2024-01-31T00:00:00", "1970-01-01T00:00:00", "1899-12-31T00:00:00", "2199-12-31T23:59:59.999999"]
        {
            let anchor: Anchor = text.parse().unwrap();
            let json = serde_json::to_string(&anchor).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Anchor>(&json).unwrap(), anchor);
            let bytes = postcard::to_stdvec(&anchor).unwrap();
            assert!(bytes.len() <= 9, "{text} takes {} bytes", bytes.len());
            assert_eq!(postcard::from_bytes::<Anchor>(&bytes).unwrap(), anchor);
        }
        for micros in [i64::MIN, i64::MAX] {
            assert!(postcard::from_bytes::<Anchor>(&postcard::to_stdvec(&micros).unwrap()).is_err());
        }
    }

    #[test]
    fn an_anchor_is_what_the_wall_shows() {
        let cases =
            [("Pacific/Kiritimati", "2024-02-01T00:00:00.000001"), ("America/St_Johns", "2024-01-31T06:30:00.000001")];
        for (zone, wall) in cases {
            let anchor = Anchor::at("2024-01-31T10:00:00.000001Z".parse().unwrap(), &zone.parse().unwrap());
            assert_eq!(anchor.to_string(), wall, "{zone}");
        }
        for (date, kept) in [("2024-02-29", "2024-02-29"), ("0001-01-01", "1899-12-31"), ("9999-12-31", "2200-01-02")] {
            assert_eq!(Anchor::date(date.parse().unwrap()).to_string(), format!("{kept}T00:00:00"));
        }
    }
}
