//! Time zones, always from the data compiled in.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{SECOND, Time};

/// A time zone of the IANA database, such as `Europe/Berlin`. Cloning is cheap; two are equal when their names are.
#[derive(Clone)]
pub struct Zone(TimeZone);

/// The text is not the name of a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an IANA time zone, such as Europe/Berlin")]
pub struct InvalidZone;

impl Zone {
    /// The zone of that name, in any case; [`Zone::name`] has the database's.
    ///
    /// # Errors
    /// [`InvalidZone`] where the compiled-in database has no such name.
    pub fn new(name: &str) -> Result<Self, InvalidZone> {
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| InvalidZone)?;
        if zone.is_unknown() || zone.iana_name().is_none() { Err(InvalidZone) } else { Ok(Self(zone)) }
    }

    /// Coordinated Universal Time, the zone of organizations that chose none.
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Whether every day of this zone is one of UTC's.
    pub(super) fn is_utc(&self) -> bool {
        self.0 == TimeZone::UTC
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// What a clock on the wall shows at `t`.
    pub(super) fn wall(&self, t: Time) -> DateTime {
        self.0.to_datetime(t.timestamp())
    }

    /// Microseconds that the wall clock is ahead of UTC at `t`.
    pub(super) fn offset(&self, t: Time) -> i64 {
        i64::from(self.0.to_offset(t.timestamp()).seconds()) * SECOND
    }

    /// The one instant of a civil date-time, kept between [`Time::MIN`] and [`Time::MAX`].
    pub(super) fn instant(&self, civil: DateTime) -> Time {
        match self.0.to_timestamp(civil) {
            Ok(timestamp) => Time::from_micros(timestamp.as_microsecond()),
            Err(_) if civil.year() < 0 => Time::MIN,
            Err(_) => Time::MAX,
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::utc()
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name()).finish()
    }
}

impl FromStr for Zone {
    type Err = InvalidZone;

    fn from_str(name: &str) -> Result<Self, InvalidZone> {
        Self::new(name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_as_in_the_iana_database() {
        for (text, name) in [("Europe/Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("utc", "UTC")] {
            assert_eq!(Zone::new(text).map(|zone| zone.to_string()), Ok(name.to_owned()));
        }
        for bad in ["", "Mars/Olympus", "Etc/Unknown", "+01:00", "EST5EDT,M3.2.0,M11.1.0", "../UTC", "Europe/Berlin\0"]
        {
            assert_eq!(Zone::new(bad), Err(InvalidZone), "{bad:?}");
        }
        assert_eq!(Zone::default(), Zone::new("UTC").unwrap());
        assert_ne!(Zone::utc(), Zone::new("Europe/London").unwrap());
    }

    #[test]
    fn zones_are_kept_by_name_in_every_format() {
        let zone = Zone::new("Australia/Lord_Howe").unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), r#""Australia/Lord_Howe""#);
        assert_eq!(serde_json::from_str::<Zone>(r#""Australia/Lord_Howe""#).unwrap(), zone);
        assert!(serde_json::from_str::<Zone>(r#""Mars/Olympus""#).is_err());
        let bytes = postcard::to_stdvec(&zone).unwrap();
        assert_eq!(bytes.len(), 1 + zone.name().len());
        assert_eq!(postcard::from_bytes::<Zone>(&bytes).unwrap(), zone);
    }
}
