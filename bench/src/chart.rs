//! Charts as SVG, written by hand: few elements, readable in light and dark, each curve told by colour and by mark.

use std::fmt::Write;

use crate::spread::Spread;

mod axis;
mod panel;

/// Pixels of a panel with its labels, of the margin, and of what stands above the panels.
const PANEL: (f64, f64) = (430.0, 332.0);
const MARGIN: f64 = 16.0;
const HEAD: f64 = 84.0;
/// A lone panel is wider.
const LONE: f64 = 760.0;
/// About how wide a letter is, in pixels, to place the legend.
const LETTER: f64 = 6.6;

/// One picture: some panels under a title, with one legend.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it answers.
    pub title: String,
    /// When it was measured, and which commit.
    pub subtitle: String,
    /// Side by side, two in a row.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is across, with its unit.
    pub x: Axis,
    /// What is up, with its unit.
    pub y: Axis,
    /// How figures are drawn.
    pub marks: Marks,
    /// One for each name in the legend.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Its label, with the unit.
    pub label: String,
    /// How it grows.
    pub scale: Scale,
}

/// How an axis grows.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By factors.
    Log,
    /// A place for each name: 0, 1, 2 …
    Names(Vec<String>),
}

/// How figures are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Marks joined by lines, with whiskers over the rounds.
    Points,
    /// A line alone: there are too many figures for marks.
    Line,
    /// Bars from 0, with whiskers over the rounds.
    Bars,
}

/// The figures under one name.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend; series of one name have one colour in all panels.
    pub name: String,
    /// Where across, and how much. What is not finite is left out.
    pub points: Vec<(f64, Spread)>,
}

impl Axis {
    /// An axis that grows as `scale` says.
    pub fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale }
    }
}

impl Chart {
    /// The picture.
    pub fn svg(&self) -> String {
        let columns = self.panels.len().clamp(1, 2);
        let rows = self.panels.len().div_ceil(columns);
        let panel_width = if columns == 1 { LONE } else { PANEL.0 };
        let width = 2.0 * MARGIN + panel_width * columns as f64;
        let height = HEAD + PANEL.1 * rows as f64 + MARGIN;
        let names = self.names();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{}</title>\n{STYLE}\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n",
            escaped(&self.title)
        );
        svg.push_str(&text("title", MARGIN, 28.0, "start", &self.title));
        svg.push_str(&text("small", MARGIN, 46.0, "start", &self.subtitle));
        svg.push_str(&legend(&names));
        for (index, panel) in self.panels.iter().enumerate() {
            let (column, row) = ((index % columns) as f64, (index / columns) as f64);
            let corner = (MARGIN + column * panel_width, HEAD + row * PANEL.1);
            svg.push_str(&panel.svg(corner, (panel_width, PANEL.1), &names));
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// The names of all series, each once, in the order in which they come.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if !names.contains(&series.name.as_str()) {
                names.push(&series.name);
            }
        }
        names
    }
}

fn legend(names: &[&str]) -> String {
    let (mut svg, mut x, y) = (String::new(), MARGIN + 6.0, 64.0);
    if let [_] = names {
        return svg;
    }
    for (index, name) in names.iter().enumerate() {
        svg.push_str(&mark(index, x, y - 4.0));
        svg.push_str(&text("small", x + 10.0, y, "start", name));
        x += 34.0 + LETTER * name.chars().count() as f64;
    }
    svg
}

/// The mark of the series at `index`: a shape of its own, so that colour is not all that tells them apart.
fn mark(index: usize, x: f64, y: f64) -> String {
    let class = class(index);
    match index % 4 {
        0 => format!("<circle class=\"{class} full\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>\n"),
        1 => format!(
            "<rect class=\"{class} full\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>\n",
            x - 3.5,
            y - 3.5
        ),
        shape => {
            let (up, side) = if shape == 2 { (-5.0, 4.0) } else { (5.0, -4.0) };
            let points = [(x - 5.0, y + side), (x + 5.0, y + side), (x, y + up)];
            format!("<polygon class=\"{class} full\" points=\"{}\"/>\n", listed(&points))
        }
    }
}

fn listed(points: &[(f64, f64)]) -> String {
    points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

fn class(index: usize) -> String {
    format!("s{}", index % COLOURS)
}

fn text(class: &str, x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(text))
}

fn line(class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    format!("<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n")
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, letter| {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => {
                let _ = out.write_char(other);
            }
        }
        out
    })
}

/// Colours that stay apart for the colour-blind, one set on white and one on near black.
const COLOURS: usize = 5;
const STYLE: &str = "<style>\n\
text{font-family:system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}.small{font-size:12px}\
.page{fill:#ffffff}.grid{stroke:#d8dee4}.axis{stroke:#59636e}.path{fill:none;stroke-width:2}.full{stroke:none}\n\
.s0{stroke:#0550ae;fill:#0550ae}.s1{stroke:#bc4c00;fill:#bc4c00}.s2{stroke:#1a7f37;fill:#1a7f37}\
.s3{stroke:#8250df;fill:#8250df}.s4{stroke:#6e7781;fill:#6e7781}.path{fill:none}\n\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117}.grid{stroke:#30363d}.axis{stroke:#8b949e}\n\
.s0{stroke:#58a6ff;fill:#58a6ff}.s1{stroke:#f0883e;fill:#f0883e}.s2{stroke:#3fb950;fill:#3fb950}\
.s3{stroke:#bc8cff;fill:#bc8cff}.s4{stroke:#9198a1;fill:#9198a1}.path{fill:none}}\n\
</style>\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(figure: f64) -> Spread {
        Spread { median: figure, least: figure * 0.9, most: figure * 1.1 }
    }

    fn chart(marks: Marks, x: Scale, panels: usize) -> Chart {
        let series = |name: &str, factor: f64| Series {
            name: name.into(),
            points: [1.0, 10.0, 100.0].iter().map(|x| (*x, spread(x * factor))).collect(),
        };
        let panel = Panel {
            x: Axis::new("connections", x),
            y: Axis::new("decisions/s", Scale::Linear),
            marks,
            series: vec![series("echo & more", 900.0), series("consume", 700.0)],
        };
        Chart { title: "Speed < light".into(), subtitle: "2026, abc".into(), panels: vec![panel; panels] }
    }

    /// Whether every element that opens also closes, in order.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for part in svg.split('<').skip(1) {
            let Some((tag, _)) = part.split_once('>') else { return false };
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return false;
                }
            } else if !tag.ends_with('/') {
                open.extend(tag.split_ascii_whitespace().next());
            }
        }
        open.is_empty()
    }

    #[test]
    fn a_chart_is_well_formed_and_names_what_it_shows() {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let cases =
            [(Marks::Points, Scale::Log, 1), (Marks::Line, Scale::Linear, 4), (Marks::Bars, Scale::Names(names), 2)];
        for (marks, scale, panels) in cases {
            let svg = chart(marks, scale, panels).svg();
            assert!(is_well_formed(&svg), "{svg}");
            for word in ["Speed &lt; light", "2026, abc", "echo &amp; more", "connections", "decisions/s"] {
                assert!(svg.contains(word), "{word}");
            }
            assert!(svg.contains("prefers-color-scheme:dark"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let mut chart = chart(Marks::Points, Scale::Log, 1);
        chart.panels[0].series[1].points = vec![(1.0, spread(f64::NAN))];
        chart.panels[0].series[0].points.clear();
        let svg = chart.svg();
        assert!(is_well_formed(&svg) && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn one_series_needs_no_legend() {
        let mut chart = chart(Marks::Points, Scale::Log, 1);
        chart.panels[0].series.pop();
        assert!(!chart.svg().contains("echo &amp; more"));
    }
}
