//! Use that adds up over a period, against its limit.

use jiff::Timestamp;

use super::Frame;
use super::axis::{Bucket, Step, buckets, share};
use super::figure::{Parts, Table, point};
use super::scale::{HEIGHT, Scale, TOP};
use super::series::{Row, series};
use crate::format::{Amount, Markup, count, escape, instant, short_date};

/// How fine the line is across: the width of its own coordinates.
const ACROSS: i128 = 10_000;

/// Where use will go at the present pace.
#[derive(Clone, Copy, Debug)]
pub struct Forecast<'a> {
    /// What will have been used at the end of the period.
    pub at_end: Amount,
    /// When the limit will be reached, RFC 3339, if that is before the end.
    pub reached_at: Option<&'a str>,
}

/// The line of what was used since the period began, by day, with its limit and its forecast.
#[derive(Clone, Copy, Debug)]
pub struct Cumulative<'a> {
    /// Title, period and unit. The start is that of the counter, so that the line ends at what the limit counts.
    pub frame: Frame<'a>,
    /// The use of each day.
    pub rows: &'a [Row<'a>],
    /// The limit with all that adds to it; `None` where nothing limits the period.
    pub limit: Option<Amount>,
    /// Where it goes, if that can be told.
    pub forecast: Option<Forecast<'a>>,
    /// What is said where it cannot.
    pub without: &'a str,
}

impl Cumulative<'_> {
    /// The chart.
    pub fn markup(&self) -> Markup {
        let Some(line) = Line::of(self) else { return self.frame.empty() };
        let words = self.words(&line);
        self.frame.figure(&Parts {
            figure: self.standing(&line),
            legend: self.legend(),
            drawing: self.drawing(&line),
            words: escape(&words),
            table: self.table(&line).html(&self.frame),
        })
    }

    /// "8,200 of 10,000 messages".
    fn standing(&self, line: &Line) -> String {
        let unit = self.frame.unit;
        escape(&match self.limit {
            Some(limit) => format!("{} of {}", line.total().bare(unit), limit.in_unit(unit)),
            None => line.total().in_unit(unit),
        })
    }

    /// What a person wants to know of it in one sentence, and a screen reader before the figures.
    fn words(&self, line: &Line) -> String {
        let unit = self.frame.unit;
        if self.limit.is_some_and(|limit| line.total() >= limit) {
            return "The limit is reached.".to_owned();
        }
        let Some(forecast) = self.forecast else {
            return self.without.to_owned();
        };
        let last_day = line.buckets.last().map_or("", |bucket| &bucket.name);
        match (self.limit, self.reached(line, forecast)) {
            (Some(limit), Some((_, at))) => {
                let day = self.frame.zone.at(at).strftime("%B %-d");
                let left = line.buckets.iter().filter(|bucket| bucket.start > at).count();
                let early = match u64::try_from(left).unwrap_or(0) {
                    0 => "on the last day of the period".to_owned(),
                    days => format!("{} before the period ends", count(days, "day")),
                };
                format!("At the present pace the limit of {} will be reached on {day}, {early}.", limit.in_unit(unit))
            }
            (Some(limit), None) => {
                let at_end = forecast.at_end.bare(unit);
                format!("At the present pace {at_end} of {} will be used by {last_day}.", limit.in_unit(unit))
            }
            (None, _) => format!("At the present pace {} will be used by {last_day}.", forecast.at_end.in_unit(unit)),
        }
    }

    /// How far across and when the limit will be reached, where that is still to come and within the period.
    fn reached(&self, line: &Line, forecast: Forecast<'_>) -> Option<(i128, Timestamp)> {
        let at = instant(forecast.reached_at?).filter(|_| self.limit.is_none_or(|limit| line.total() < limit))?;
        (line.start < at && at < line.end).then(|| (line.across(at), at))
    }

    fn legend(&self) -> String {
        let mut items = legend_item("line", "Used");
        if self.limit.is_some() {
            items.push_str(&legend_item("limit", "Limit"));
        }
        if self.forecast.is_some() {
            items.push_str(&legend_item("forecast", "At the present pace"));
        }
        format!(r#"<ul class="chart-legend">{items}</ul>"#)
    }

    fn drawing(&self, line: &Line) -> String {
        let ends = line.sums.iter().copied().chain(self.limit).chain(self.forecast.map(|forecast| forecast.at_end));
        let scale = Scale::over(ends, self.frame.unit);
        let mut inside = line.path(&scale);
        if let Some(limit) = self.limit {
            inside.push_str(&limit_line(&scale, limit, self.frame.unit));
        }
        if let Some(forecast) = self.forecast {
            inside.push_str(&self.forecast_line(line, forecast, &scale));
        }
        for (at, sum) in line.sums.iter().enumerate() {
            let (x, y) = (share(line.ends[at], ACROSS), scale.y(*sum));
            let dot = format!(r#"<circle class="dot" cx="{x}" cy="{y}" r="4"/>"#);
            inside.push_str(&point(at, &line.buckets, &self.label(line, at), &dot));
        }
        self.frame.drawing(&scale, &line.buckets, Step::Day, &inside)
    }

    fn forecast_line(&self, line: &Line, forecast: Forecast<'_>, scale: &Scale) -> String {
        let (from, y) = (share(line.now, ACROSS), scale.y(line.total()));
        let end = scale.y(forecast.at_end);
        let mut html = format!(r#"<line class="forecast" x1="{from}" y1="{y}" x2="100%" y2="{end}"/>"#);
        if let Some(((x, at), limit)) = self.reached(line, forecast).zip(self.limit) {
            let (top, bottom) = (scale.y(limit), scale.zero());
            let (anchor, dx) = if x * 2 > ACROSS { ("end", -6) } else { ("start", 6) };
            let (x, day) = (share(x, ACROSS), short_date(&self.frame.zone.at(at)));
            html.push_str(&format!(
                r#"<line class="reached" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/><circle class="reached-dot" cx="{x}" cy="{top}" r="4"/><text class="reached-mark" x="{x}" dx="{dx}" y="{}" text-anchor="{anchor}" aria-hidden="true">{day}</text>"#,
                bottom - 7
            ));
        }
        html
    }

    /// "November 15: 1,234 calls, 8,200 in all".
    fn label(&self, line: &Line, at: usize) -> String {
        let (name, unit) = (&line.buckets[at].name, self.frame.unit);
        format!("{name}: {}, {} in all", line.values[at].in_unit(unit), line.sums[at].bare(unit))
    }

    fn table(&self, line: &Line) -> Table {
        let unit = self.frame.unit;
        let cells = |used: Option<Amount>, sum: Amount| {
            let mut cells = vec![used.map_or_else(String::new, |used| used.bare(unit)), sum.bare(unit)];
            cells.extend(self.limit.map(|limit| format!("{}%", sum.percent_of(limit))));
            cells
        };
        let mut columns = vec!["Day".to_owned(), "Used".to_owned(), "In all".to_owned()];
        columns.extend(self.limit.map(|_| "Of the limit".to_owned()));
        let rows = line.buckets.iter().zip(&line.values).zip(&line.sums);
        let end = line.buckets.last().map_or("", |bucket| &bucket.name);
        Table {
            columns,
            rows: rows.map(|((bucket, used), sum)| (bucket.name.clone(), cells(Some(*used), *sum))).collect(),
            foot: self.forecast.map(|forecast| (format!("{end}, at the present pace"), cells(None, forecast.at_end))),
        }
    }
}

fn legend_item(class: &str, name: &str) -> String {
    format!(
        r#"<li><svg class="swatch" width="18" height="12" aria-hidden="true"><line class="{class}" x1="0" x2="18" y1="6" y2="6"/></svg><span>{name}</span></li>"#
    )
}

/// The line itself, and its value at the left, where use is lowest: above it, or below where there is no room.
fn limit_line(scale: &Scale, limit: Amount, unit: &str) -> String {
    let y = scale.y(limit);
    let text_y = if y < TOP + 16 { y + 15 } else { y - 6 };
    let text = escape(&limit.compact(unit));
    format!(
        r#"<line class="limit" x1="0" x2="100%" y1="{y}" y2="{y}"/><text class="limit-mark" x="0" dx="4" y="{text_y}" aria-hidden="true">Limit {text}</text>"#
    )
}

/// What was used by the end of each day that has begun.
struct Line {
    buckets: Vec<Bucket>,
    start: Timestamp,
    end: Timestamp,
    values: Vec<Amount>,
    sums: Vec<Amount>,
    /// How far across each day ends, of [`ACROSS`]; the present day at the present time.
    ends: Vec<i128>,
    now: i128,
}

impl Line {
    /// `None` where there is nothing to draw.
    fn of(chart: &Cumulative<'_>) -> Option<Self> {
        let buckets = buckets(&chart.frame, Step::Day);
        let (start, end) = (buckets.first()?.start, buckets.last()?.end);
        let now = instant(chart.frame.now).unwrap_or(end).clamp(start, end);
        let begun = buckets.partition_point(|bucket| bucket.start < now);
        let mut values = vec![Amount::ZERO; buckets.len()];
        for group in series(chart.rows, &buckets, true) {
            for (value, more) in values.iter_mut().zip(group.values) {
                *value = value.plus(more);
            }
        }
        values.truncate(begun);
        if values.iter().all(|value| value.is_zero()) {
            return None;
        }
        let sums = values.iter().scan(Amount::ZERO, |sum, value| {
            *sum = sum.plus(*value);
            Some(*sum)
        });
        let sums = sums.collect();
        let mut line = Self { buckets, start, end, values, sums, ends: Vec::new(), now: 0 };
        line.now = line.across(now);
        line.ends = line.buckets[..begun].iter().map(|bucket| line.across(bucket.end.min(now))).collect();
        Some(line)
    }

    fn total(&self) -> Amount {
        self.sums.last().copied().unwrap_or_default()
    }

    /// How far across an instant is.
    fn across(&self, at: Timestamp) -> i128 {
        let span = self.end.as_nanosecond() - self.start.as_nanosecond();
        (at.as_nanosecond() - self.start.as_nanosecond()) * ACROSS / span.max(1)
    }

    /// The line and the area under it, in coordinates of their own that are stretched to the drawing's width; strokes are not.
    fn path(&self, scale: &Scale) -> String {
        let zero = scale.zero();
        let places: String =
            self.ends.iter().zip(&self.sums).map(|(x, sum)| format!("L{x} {}", scale.y(*sum))).collect();
        let height = TOP + HEIGHT;
        format!(
            r#"<svg width="100%" height="{height}" viewBox="0 0 {ACROSS} {height}" preserveAspectRatio="none" aria-hidden="true"><path class="area" d="M0 {zero}{places}V{zero}Z"/><path class="line" d="M0 {zero}{places}" vector-effect="non-scaling-stroke"/></svg>"#
        )
    }
}
