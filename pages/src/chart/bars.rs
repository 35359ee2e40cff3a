//! Bars by hour, day or month, stacked by the values of a dimension.

use super::Frame;
use super::axis::{Bucket, Step, buckets, share};
use super::figure::{Parts, Table, point, whole};
use super::scale::Scale;
use super::series::{COLOURS, OTHER, Row, Series, series};
use crate::format::{Amount, Markup, escape, instant};

mod texture;

/// Of a bucket's width, in hundredths: where its bars begin, and how wide they are together.
const MARGIN: i128 = 14;
const WIDTH: i128 = 72;

/// A bar for each part of a span.
#[derive(Clone, Copy, Debug)]
pub struct Bars<'a> {
    /// Title, span and unit.
    pub frame: Frame<'a>,
    /// What one bar stands for.
    pub step: Step,
    /// Whether values add up over time and over groups, as sums and counts do. Peaks, levels and distinct values do not: their
    /// groups stand beside each other, and nothing is totalled.
    pub additive: bool,
    /// The figures, in any order. Groups beyond the largest eight become "other".
    pub rows: &'a [Row<'a>],
}

impl Bars<'_> {
    /// The chart.
    pub fn markup(&self) -> Markup {
        let buckets = buckets(&self.frame, self.step);
        let series = series(self.rows, &buckets, self.additive);
        if series.iter().all(|series| series.values.iter().all(|value| value.is_zero())) {
            return self.frame.empty();
        }
        let drawn = Drawn { bars: self, buckets, series };
        self.frame.figure(&Parts {
            figure: if self.additive { escape(&drawn.total().in_unit(self.frame.unit)) } else { String::new() },
            legend: drawn.legend(),
            drawing: drawn.drawing(),
            words: String::new(),
            table: drawn.table().html(&self.frame),
        })
    }
}

/// A chart that has something to show.
struct Drawn<'a> {
    bars: &'a Bars<'a>,
    buckets: Vec<Bucket>,
    series: Vec<Series>,
}

impl Drawn<'_> {
    fn is_grouped(&self) -> bool {
        self.series.len() > 1 || self.series.iter().any(|series| !series.name.is_empty())
    }

    fn total(&self) -> Amount {
        self.series.iter().map(Series::total).sum()
    }

    fn total_at(&self, bucket: usize) -> Amount {
        self.series.iter().map(|series| series.values[bucket]).sum()
    }

    fn unit(&self) -> &str {
        self.bars.frame.unit
    }

    /// How many buckets have begun: the later ones have no figures yet.
    fn begun(&self) -> usize {
        match instant(self.bars.frame.now) {
            Some(now) => self.buckets.partition_point(|bucket| bucket.start <= now),
            None => self.buckets.len(),
        }
    }

    fn legend(&self) -> String {
        if !self.is_grouped() {
            return String::new();
        }
        let item = |(at, series): (usize, &Series)| {
            let figure = if self.bars.additive { series.total().bare(self.unit()) } else { String::new() };
            let (name, figure) = (escape(name_of(series)), escape(&figure));
            format!(
                r#"<li><svg class="swatch" width="12" height="12" aria-hidden="true"><rect width="12" height="12" {}/></svg><span>{name}</span> <span class="chart-value">{figure}</span></li>"#,
                self.paint(at)
            )
        };
        let items: String = self.series.iter().enumerate().map(item).collect();
        format!(r#"<ul class="chart-legend">{items}</ul>"#)
    }

    /// How the shapes of a series are filled: one alone by its class, several by textures too.
    fn paint(&self, series: usize) -> String {
        if self.series.len() == 1 {
            return r#"class="series-1""#.to_owned();
        }
        format!(r#"fill="url(#{}-{})""#, escape(self.bars.frame.id), self.colour(series))
    }

    /// The name of a series' colour.
    fn colour(&self, series: usize) -> String {
        let is_other = series >= COLOURS || self.series[series].name == OTHER;
        if is_other { "series-other".to_owned() } else { format!("series-{}", series + 1) }
    }

    fn drawing(&self) -> String {
        let mut inside = String::new();
        if self.series.len() > 1 {
            let colours = (0..self.series.len()).map(|at| self.colour(at));
            inside.push_str(&texture::definitions(&escape(self.bars.frame.id), colours));
        }
        let scale = self.scale();
        for bucket in 0..self.begun() {
            let shapes =
                if self.bars.additive { self.stack(bucket, &scale) } else { self.side_by_side(bucket, &scale) };
            inside.push_str(&point(bucket, &self.buckets, &self.label(bucket), &shapes));
        }
        self.bars.frame.drawing(&scale, &self.buckets, self.bars.step, &inside)
    }

    fn scale(&self) -> Scale {
        let one_sided = |bucket: usize, negative: bool| {
            let values = self.series.iter().map(move |series| series.values[bucket]);
            values.filter(|value| value.is_negative() == negative).sum::<Amount>()
        };
        let ends: Vec<_> = if self.bars.additive {
            (0..self.buckets.len()).flat_map(|bucket| [one_sided(bucket, false), one_sided(bucket, true)]).collect()
        } else {
            self.series.iter().flat_map(|series| series.values.iter().copied()).collect()
        };
        Scale::over(ends.iter().copied(), self.unit())
    }

    /// What is above zero upwards from it, what is below downwards.
    fn stack(&self, bucket: usize, scale: &Scale) -> String {
        let (mut above, mut below) = (Amount::ZERO, Amount::ZERO);
        let mut shapes = String::new();
        for (at, series) in self.series.iter().enumerate() {
            let value = series.values[bucket];
            let end = if value.is_negative() { &mut below } else { &mut above };
            let from = *end;
            *end = end.plus(value);
            shapes.push_str(&self.bar(at, bucket, (0, 1), scale.y(from), scale.y(*end)));
        }
        if shapes.is_empty() && self.series.iter().any(|series| !series.values[bucket].is_zero()) {
            // Too small for a pixel, and yet not nothing.
            shapes = self.bar(0, bucket, (0, 1), scale.zero(), scale.zero() - 1);
        }
        shapes
    }

    fn side_by_side(&self, bucket: usize, scale: &Scale) -> String {
        let many = i128::try_from(self.series.len()).unwrap_or(1);
        let mut shapes = String::new();
        for ((at, place), series) in (0..).zip(0_i128..).zip(&self.series) {
            shapes.push_str(&self.bar(at, bucket, (place, many), scale.zero(), scale.y(series.values[bucket])));
        }
        shapes
    }

    /// One rectangle between two heights, in one of several places of its bucket. Nothing where it has no height.
    fn bar(&self, series: usize, bucket: usize, (place, places): (i128, i128), from: i128, to: i128) -> String {
        let (y, height) = (from.min(to), (from - to).abs());
        if height == 0 {
            return String::new();
        }
        let all = whole(&self.buckets) * 100 * places;
        let x = share(i128::try_from(bucket).unwrap_or(0) * 100 * places + MARGIN * places + place * WIDTH, all);
        let (width, paint) = (share(WIDTH, all), self.paint(series));
        format!(r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" {paint}/>"#)
    }

    /// "November 15: 1,234 calls (gpt-4o 1,000; other 234)".
    fn label(&self, bucket: usize) -> String {
        let (name, unit) = (&self.buckets[bucket].name, self.unit());
        let value = |series: &Series| series.values[bucket];
        if !self.is_grouped() {
            return format!("{name}: {}", value(&self.series[0]).in_unit(unit));
        }
        let used = self.series.iter().filter(|series| !value(series).is_zero());
        let groups: Vec<_> = used.map(|series| format!("{} {}", name_of(series), value(series).bare(unit))).collect();
        match (self.bars.additive, groups.is_empty()) {
            (_, true) => format!("{name}: {}", Amount::ZERO.in_unit(unit)),
            (true, false) => format!("{name}: {} ({})", self.total_at(bucket).in_unit(unit), groups.join("; ")),
            (false, false) => format!("{name}: {}", groups.join("; ")),
        }
    }

    fn table(&self) -> Table {
        let (unit, grouped) = (self.unit(), self.is_grouped());
        let totalled = self.bars.additive && grouped;
        let mut columns = vec![self.bars.step.name().to_owned()];
        if grouped {
            columns.extend(self.series.iter().map(|series| name_of(series).to_owned()));
        }
        if totalled || !grouped {
            columns.push(if totalled { "Total".to_owned() } else { "Used".to_owned() });
        }
        let cells = |of: &dyn Fn(&Series) -> Amount| {
            let values: Vec<_> = self.series.iter().map(of).collect();
            let total = totalled.then(|| values.iter().copied().sum::<Amount>());
            values.iter().copied().chain(total).map(|value| value.bare(unit)).collect::<Vec<_>>()
        };
        let rows = self.buckets.iter().take(self.begun()).enumerate();
        Table {
            columns,
            rows: rows.map(|(at, bucket)| (bucket.name.clone(), cells(&|series| series.values[at]))).collect(),
            foot: self.bars.additive.then(|| ("Total".to_owned(), cells(&Series::total))),
        }
    }
}

fn name_of(series: &Series) -> &str {
    if series.name.is_empty() { "without" } else { &series.name }
}
