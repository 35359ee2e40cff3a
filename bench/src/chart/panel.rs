//! One pair of axes with what was measured.

use super::axis::Range;
use super::{LETTER, Marks, Panel, Series, class, line, listed, mark, text};
use crate::spread::Spread;

/// Room beside the field: left for labels, right, above, below for labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const ABOVE: f64 = 30.0;
const BELOW: f64 = 60.0;
/// From one line of a label to the next.
const LINE: f64 = 14.0;

/// The part of a panel in which figures stand.
struct Field<'a> {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Range<'a>,
    y: Range<'a>,
}

impl Field<'_> {
    fn point(&self, x: f64, y: f64) -> (f64, f64) {
        (self.left + self.x.place(x) * self.width, self.top + (1.0 - self.y.place(y)) * self.height)
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

impl Panel {
    /// Its part of the picture: `corner` is its upper left. A series has the colour and mark of its place in `names`.
    pub(super) fn svg(&self, corner: (f64, f64), size: (f64, f64), names: &[&str]) -> String {
        let points = || self.series.iter().flat_map(measured);
        let xs: Vec<f64> = points().map(|(x, _)| x).collect();
        let ys: Vec<f64> = points().flat_map(|(_, y)| [y.least, y.most]).collect();
        let field = Field {
            left: corner.0 + LEFT,
            top: corner.1 + ABOVE,
            width: size.0 - LEFT - RIGHT,
            height: size.1 - ABOVE - BELOW,
            x: Range::at(&self.x, &xs),
            y: Range::round(&self.y, &ys),
        };
        let mut svg = self.axes(&field, corner);
        for (place, series) in self.series.iter().enumerate() {
            let index = names.iter().position(|name| *name == series.name).unwrap_or(0);
            match self.marks {
                Marks::Bars => svg.push_str(&bars(series, &field, index, (place, self.series.len()))),
                Marks::Line => svg.push_str(&path(series, &field, index)),
                Marks::Points => svg.push_str(&(path(series, &field, index) + &marks(series, &field, index))),
            }
        }
        svg
    }

    fn axes(&self, field: &Field<'_>, corner: (f64, f64)) -> String {
        let mut svg = text("small", corner.0 + 4.0, corner.1 + 16.0, "start", &self.y.label);
        let right = field.left + field.width;
        for tick in &field.y.ticks {
            let (_, y) = field.point(0.0, *tick);
            svg.push_str(&line("grid", (field.left, y), (right, y)));
            svg.push_str(&text("small", field.left - 6.0, y + 4.0, "end", &field.y.label(*tick)));
        }
        svg.push_str(&line("axis", (field.left, field.bottom()), (right, field.bottom())));
        let letters = (field.width / field.x.ticks.len().max(1) as f64 / LETTER) as usize;
        for tick in &field.x.ticks {
            let (x, _) = field.point(*tick, 0.0);
            svg.push_str(&line("axis", (x, field.bottom()), (x, field.bottom() + 4.0)));
            for (line, part) in wrapped(&field.x.label(*tick), letters).iter().enumerate() {
                svg.push_str(&text("small", x, field.bottom() + 18.0 + LINE * line as f64, "middle", part));
            }
        }
        if self.x.label.is_empty() {
            return svg;
        }
        let middle = field.left + field.width / 2.0;
        svg.push_str(&text("small", middle, field.bottom() + 38.0, "middle", &self.x.label));
        svg
    }
}

/// In lines of about so many letters, where words allow.
fn wrapped(label: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn measured(series: &Series) -> impl Iterator<Item = (f64, Spread)> {
    series.points.iter().copied().filter(|(x, y)| x.is_finite() && y.median.is_finite())
}

fn path(series: &Series, field: &Field<'_>, index: usize) -> String {
    let points: Vec<(f64, f64)> = measured(series).map(|(x, y)| field.point(x, y.median)).collect();
    format!("<polyline class=\"{} path\" points=\"{}\"/>\n", class(index), listed(&points))
}

fn marks(series: &Series, field: &Field<'_>, index: usize) -> String {
    let one = |(x, spread): (f64, Spread)| {
        let (across, up) = field.point(x, spread.median);
        whisker(field, index, x, across, spread) + &mark(index, across, up)
    };
    measured(series).map(one).collect()
}

/// From the least to the most of the rounds.
fn whisker(field: &Field<'_>, index: usize, x: f64, across: f64, spread: Spread) -> String {
    let at = |figure| (across, field.point(x, figure).1);
    line(&class(index), at(spread.least), at(spread.most))
}

/// Beside the bars of the other series: `place` is which of how many.
fn bars(series: &Series, field: &Field<'_>, index: usize, place: (usize, usize)) -> String {
    let room = 0.7 * field.width / field.x.ticks.len().max(1) as f64;
    let width = room / place.1.max(1) as f64;
    let one = |(x, spread): (f64, Spread)| {
        let (middle, top) = field.point(x, spread.median);
        let left = middle - room / 2.0 + width * place.0 as f64;
        let height = (field.bottom() - top).max(1.0);
        let bar = format!(
            "<rect class=\"{} full\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" opacity=\"0.8\"/>\n",
            class(index),
            field.bottom() - height,
            (width - 2.0).max(1.0),
        );
        bar + &whisker(field, index, x, left + width / 2.0 - 1.0, spread)
    };
    measured(series).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_break_between_words() {
        #[rustfmt::skip]
        let cases = [ // label, letters, lines
            ("consume",                      10, "consume"),
            ("one organization, use now",    17, "one organization,|use now"),
            ("one organization, use now",    12, "one|organization,|use now"),
            ("10k",                          1,  "10k"),
            ("",                             5,  ""),
        ];
        for (label, letters, lines) in cases {
            assert_eq!(wrapped(label, letters).join("|"), lines);
        }
    }
}
