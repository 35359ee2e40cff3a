//! Instants as text, in a zone.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::span::count;
use super::{Markup, escape};

/// A time zone by its name, as an organization has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// The zone of this IANA name, such as `Europe/Berlin`. An unknown name gives UTC, which [`Self::name`] then says: every
    /// page that shows times names their zone.
    pub fn new(name: &str) -> Self {
        Self(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// UTC.
    pub const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The year that an instant falls in, for [`super::days`]; zero where the text is no time.
    pub fn year(&self, time: &str) -> i16 {
        instant(time).map_or(0, |time| self.at(time).year())
    }

    pub(crate) fn at(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.0.clone())
    }

    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.0
    }
}

/// The instant of an RFC 3339 text.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// "November 15, 2026".
pub fn date(time: &str, zone: &Zone) -> String {
    shown(time, zone, "%B %-d, %Y")
}

/// "Nov 15, 2026, 14:05".
pub fn moment(time: &str, zone: &Zone) -> String {
    shown(time, zone, "%b %-d, %Y, %H:%M")
}

/// "Nov 15".
pub(crate) fn short_date(day: &Zoned) -> String {
    day.strftime("%b %-d").to_string()
}

fn shown(time: &str, zone: &Zone, form: &str) -> String {
    instant(time).map_or_else(|| time.to_owned(), |time| zone.at(time).strftime(form).to_string())
}

/// How far an instant is from now: "in 3 days", "5 minutes ago", "now" within 45 seconds.
///
/// Rounded down, so that what is due "in 3 days" is not due earlier; a month counts 30 days and a year 365.
pub fn relative(time: &str, now: &str) -> String {
    let Some((time, now)) = instant(time).zip(instant(now)) else { return time.to_owned() };
    let seconds = time.as_second() - now.as_second();
    let away = seconds.unsigned_abs();
    let distance = match away {
        0..=45 => return "now".to_owned(),
        46..3_600 => count((away / 60).max(1), "minute"),
        3_600..172_800 => count(away / 3_600, "hour"),
        172_800..5_184_000 => count(away / 86_400, "day"),
        5_184_000..63_072_000 => count(away / 2_592_000, "month"),
        _ => count(away / 31_536_000, "year"),
    };
    if seconds < 0 { format!("{distance} ago") } else { format!("in {distance}") }
}

/// [`date`] as a `<time>` whose title is the whole moment with its zone.
pub fn date_tag(time: &str, zone: &Zone) -> Markup {
    tag(time, zone, &date(time, zone))
}

/// [`moment`] as a `<time>`.
pub fn moment_tag(time: &str, zone: &Zone) -> Markup {
    tag(time, zone, &moment(time, zone))
}

/// [`relative`] as a `<time>`.
pub fn relative_tag(time: &str, now: &str, zone: &Zone) -> Markup {
    tag(time, zone, &relative(time, now))
}

fn tag(text: &str, zone: &Zone, shown: &str) -> Markup {
    let shown = escape(shown);
    let Some(time) = instant(text) else { return Markup::of(shown) };
    let at = zone.at(time);
    let full = at.strftime("%A, %B %-d, %Y, %H:%M:%S");
    let offset = at.strftime("%:z");
    let zone = escape(zone.name());
    Markup::of(format!(r#"<time datetime="{time}" title="{full} ({zone}, UTC{offset})">{shown}</time>"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_their_zone() {
        let berlin = Zone::new("Europe/Berlin");
        assert_eq!(berlin.name(), "Europe/Berlin");
        assert_eq!(date("2026-11-14T23:30:00Z", &berlin), "November 15, 2026");
        assert_eq!(moment("2026-11-14T23:30:00Z", &berlin), "Nov 15, 2026, 00:30");
        assert_eq!(moment("2026-07-01T12:00:00+02:00", &berlin), "Jul 1, 2026, 12:00");
        assert_eq!(berlin.year("2026-12-31T23:00:00Z"), 2027);
        assert_eq!(date("soon", &berlin), "soon");
    }

    #[test]
    fn an_unknown_zone_is_utc_and_says_so() {
        let zone = Zone::new("Mars/Olympus");
        assert_eq!((zone.name(), zone.clone()), ("UTC", Zone::utc()));
    }

    #[test]
    fn distances_are_rounded_down() {
        let now = "2026-11-15T12:00:00Z";
        #[rustfmt::skip]
        let cases = [
            ("2026-11-15T12:00:45Z", "now"), ("2026-11-15T11:59:30Z", "now"),
            ("2026-11-15T12:00:50Z", "in 1 minute"), ("2026-11-15T11:55:00Z", "5 minutes ago"),
            ("2026-11-15T13:00:00Z", "in 1 hour"), ("2026-11-17T11:59:59Z", "in 47 hours"),
            ("2026-11-18T12:00:00Z", "in 3 days"), ("2026-11-19T11:59:59Z", "in 3 days"),
            ("2026-08-01T00:00:00Z", "3 months ago"), ("2029-11-15T12:00:00Z", "in 3 years"), ("later", "later"),
        ];
        for (time, expected) in cases {
            assert_eq!(relative(time, now), expected, "{time}");
        }
    }

    #[test]
    fn tags_carry_the_instant_and_the_whole_moment() {
        assert_eq!(
            date_tag("2026-11-14T23:30:09Z", &Zone::new("Europe/Berlin")).as_str(),
            "<time datetime=\"2026-11-14T23:30:09Z\" title=\"Sunday, November 15, 2026, 00:30:09 (Europe/Berlin, UTC+01:00)\">\
             November 15, 2026</time>"
        );
        assert_eq!(
            relative_tag("2026-11-18T12:00:00Z", "2026-11-15T12:00:00Z", &Zone::utc()).as_str(),
            "<time datetime=\"2026-11-18T12:00:00Z\" title=\"Wednesday, November 18, 2026, 12:00:00 (UTC, UTC+00:00)\">in 3 \
             days</time>"
        );
        assert_eq!(moment_tag("<b>", &Zone::utc()).as_str(), "&lt;b&gt;");
    }
}
