//! The horizontal axis: hours, days or months in a zone.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, Zoned};

use super::Frame;
use crate::format::{Zone, instant, short_date};

/// How many parts of time a chart draws at most.
pub(super) const MOST_BUCKETS: usize = 400;

/// What one bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day in the zone, of 23 to 25 hours.
    Day,
    /// A month of the calendar in the zone.
    Month,
}

impl Step {
    /// Its name in the heading of a table.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hour => "Hour",
            Self::Day => "Day",
            Self::Month => "Month",
        }
    }

    /// After how many a label may come, so that labels fall on even places.
    const fn paces(self) -> &'static [usize] {
        match self {
            Self::Hour => &[1, 2, 3, 6, 12, 24, 48, 96, 168],
            Self::Day => &[1, 2, 5, 7, 10, 14, 28, 56],
            Self::Month => &[1, 2, 3, 6, 12, 24, 48],
        }
    }
}

/// One part of the span.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// For tables and screen readers: "November 15".
    pub(super) name: String,
    /// For the axis: "Nov 15".
    pub(super) mark: String,
    pub(super) is_weekend: bool,
}

/// The parts of the frame's span; none where its ends are no times. The first and the last may be shorter than the others.
pub(super) fn buckets(frame: &Frame<'_>, step: Step) -> Vec<Bucket> {
    let Some((start, end)) = instant(frame.start).zip(instant(frame.end)) else { return Vec::new() };
    let years = (frame.zone.year(frame.start), frame.zone.year(frame.end), frame.zone.year(frame.now));
    let with_year = years.0 != years.1 || years.0 != years.2;
    let mut buckets = Vec::new();
    let mut from = start;
    while from < end && buckets.len() < MOST_BUCKETS {
        let at = frame.zone.at(from);
        let Some(next) = following(&at, step, frame.zone).filter(|next| *next > from) else { break };
        buckets.push(Bucket {
            start: from,
            end: next.min(end),
            name: name(&at, step, with_year),
            mark: mark(&at, step, buckets.is_empty()),
            is_weekend: step == Step::Day && matches!(at.weekday(), Weekday::Saturday | Weekday::Sunday),
        });
        from = next;
    }
    buckets
}

/// Where the next part begins.
fn following(at: &Zoned, step: Step, zone: &Zone) -> Option<Timestamp> {
    let midnight = |date: Date| Some(date.to_zoned(zone.time_zone().clone()).ok()?.timestamp());
    match step {
        Step::Hour => {
            let into_hour = i64::from(at.minute()) * 60 + i64::from(at.second());
            Timestamp::from_second(at.timestamp().as_second() - into_hour + 3_600).ok()
        }
        Step::Day => midnight(at.date().tomorrow().ok()?),
        Step::Month => midnight(at.date().last_of_month().tomorrow().ok()?),
    }
}

fn name(at: &Zoned, step: Step, with_year: bool) -> String {
    let form = match (step, with_year) {
        (Step::Hour, false) => "%B %-d, %H:%M",
        (Step::Hour, true) => "%B %-d, %Y, %H:%M",
        (Step::Day, false) => "%B %-d",
        (Step::Day, true) => "%B %-d, %Y",
        (Step::Month, _) => "%B %Y",
    };
    at.strftime(form).to_string()
}

fn mark(at: &Zoned, step: Step, is_first: bool) -> String {
    match step {
        Step::Hour if at.hour() == 0 => short_date(at),
        Step::Hour => at.strftime("%H:%M").to_string(),
        Step::Day => short_date(at),
        Step::Month if is_first || at.month() == 1 => at.strftime("%b %Y").to_string(),
        Step::Month => at.strftime("%b").to_string(),
    }
}

/// Which buckets have a label.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Every how many on a wide screen.
    wide: usize,
    /// Every how many on a narrow one: a multiple of `wide`.
    narrow: usize,
}

/// How a bucket's label shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// On every screen.
    Always,
    /// Where there is room for it.
    WhenWide,
}

impl Pace {
    /// At most ten labels (twelve months) on a wide screen, and five on one of 360 pixels.
    pub(super) fn of(buckets: usize, step: Step) -> Self {
        let most = if step == Step::Month { 12 } else { 10 };
        let labels = |every: usize| buckets.div_ceil(every);
        let fits = |every: &usize, most: usize| labels(*every) <= most;
        let wide =
            step.paces().iter().copied().find(|every| fits(every, most)).unwrap_or(buckets.div_ceil(most).max(1));
        let narrow = (1..).map(|times| times * wide).find(|every| fits(every, 5)).unwrap_or(wide);
        Self { wide, narrow }
    }

    /// The label of the bucket with this number, if it has one.
    pub(super) fn label(&self, bucket: usize) -> Option<Label> {
        match bucket {
            _ if bucket.is_multiple_of(self.narrow) => Some(Label::Always),
            _ if bucket.is_multiple_of(self.wide) => Some(Label::WhenWide),
            _ => None,
        }
    }
}

/// A part of a whole as per cent with three decimals at most, such as "3.226%": how far across the drawing something is.
pub(crate) fn share(part: i128, whole: i128) -> String {
    let thousandths = (part * 200_000 + whole) / (whole * 2);
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(start: &'a str, end: &'a str, zone: &'a Zone) -> Frame<'a> {
        Frame { id: "c", title: "Calls", start, end, zone, now: "2026-11-27T00:00:00Z", unit: "call" }
    }

    fn names(start: &str, end: &str, zone: &str, step: Step) -> Vec<String> {
        let zone = Zone::new(zone);
        buckets(&frame(start, end, &zone), step).into_iter().map(|bucket| bucket.name).collect()
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let days = names("2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", "Europe/Berlin", Step::Day);
        assert_eq!(days, ["October 24", "October 25", "October 26"], "the 25th has 25 hours");
        let days = names("2026-11-15T10:30:00Z", "2026-11-17T10:30:00Z", "UTC", Step::Day);
        assert_eq!(days, ["November 15", "November 16", "November 17"], "the first and the last are parts of days");
        let days = names("2018-11-03T03:00:00Z", "2018-11-05T02:00:00Z", "America/Sao_Paulo", Step::Day);
        assert_eq!(days, ["November 3, 2018", "November 4, 2018"], "the 4th began at 01:00");
    }

    #[test]
    fn hours_and_months_are_those_of_the_zone() {
        let hours = names("2026-11-15T10:30:00Z", "2026-11-15T13:00:00Z", "Asia/Kathmandu", Step::Hour);
        assert_eq!(hours, ["November 15, 16:15", "November 15, 17:00", "November 15, 18:00"]);
        let months = names("2026-11-14T23:00:00Z", "2027-01-31T23:00:00Z", "Europe/Berlin", Step::Month);
        assert_eq!(months, ["November 2026", "December 2026", "January 2027"]);
    }

    #[test]
    fn parts_tile_the_span() {
        for (zone, step) in
            [("Europe/Berlin", Step::Day), ("Asia/Kathmandu", Step::Hour), ("America/New_York", Step::Month)]
        {
            let zone = Zone::new(zone);
            let all = buckets(&frame("2026-03-01T07:11:13Z", "2026-03-16T01:02:03Z", &zone), step);
            assert_eq!(all[0].start.to_string(), "2026-03-01T07:11:13Z");
            assert_eq!(all[all.len() - 1].end.to_string(), "2026-03-16T01:02:03Z");
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start), "{step:?}");
        }
    }

    #[test]
    fn no_span_is_endless() {
        assert_eq!(names("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "UTC", Step::Hour).len(), MOST_BUCKETS);
        assert!(names("then", "now", "UTC", Step::Day).is_empty());
        assert!(names("2026-11-15T00:00:00Z", "2026-11-15T00:00:00Z", "UTC", Step::Day).is_empty());
    }

    #[test]
    fn labels_thin_out_where_it_is_narrow() {
        #[rustfmt::skip]
        let cases = [ // buckets, step, wide, narrow
            (31, Step::Day, 5, 10), (30, Step::Day, 5, 10), (7, Step::Day, 1, 2), (92, Step::Day, 10, 20),
            (24, Step::Hour, 3, 6), (12, Step::Month, 1, 3), (1, Step::Day, 1, 1), (400, Step::Day, 56, 112),
        ];
        for (buckets, step, wide, narrow) in cases {
            let pace = Pace::of(buckets, step);
            assert_eq!(pace, Pace { wide, narrow }, "{buckets} {step:?}");
            let shown = (0..buckets).filter(|at| pace.label(*at) == Some(Label::Always)).count();
            assert!((1..=5).contains(&shown), "{buckets} {step:?}");
        }
    }

    #[test]
    fn shares_are_rounded_to_three_places() {
        assert_eq!([share(0, 31), share(1, 31), share(31, 31), share(1, 4)], ["0%", "3.226%", "100%", "25%"]);
    }
}
