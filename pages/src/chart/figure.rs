//! What all charts have around their drawing: figure, heading, axes, points, table.

use super::Frame;
use super::axis::{Bucket, Label, Pace, Step, share};
use super::scale::{HEIGHT, Scale, TOP};
use crate::format::{Markup, escape};

/// Pixels from the top of the drawing to the baseline of the labels below it, and to its end.
const LABELS_AT: i128 = TOP + HEIGHT + 19;
const FULL_HEIGHT: i128 = TOP + HEIGHT + 26;
/// Per cent of the drawing that half a label takes on a screen of 360 pixels.
const ROOM: i128 = 8;

/// The parts of a chart, each HTML already.
#[derive(Default)]
pub(super) struct Parts {
    /// What stands in large figures beside the title.
    pub(super) figure: String,
    pub(super) legend: String,
    pub(super) drawing: String,
    pub(super) words: String,
    pub(super) table: String,
}

impl Frame<'_> {
    /// The whole chart.
    pub(super) fn figure(&self, parts: &Parts) -> Markup {
        let id = escape(self.id);
        let figure = optional("p", "chart-figure", &parts.figure);
        let words = optional("p", "chart-words", &parts.words);
        Markup::of(format!(
            r#"<figure class="chart" id="{id}"><figcaption class="chart-head"><span class="chart-title" id="{id}-title">{}</span> <span class="chart-dates">{}</span></figcaption>{figure}{words}{}{}{}</figure>"#,
            escape(self.title),
            self.dates_in_zone(),
            parts.legend,
            parts.drawing,
            parts.table,
        ))
    }

    /// The chart of a span in which nothing is.
    pub(super) fn empty(&self) -> Markup {
        let what = if self.unit.is_empty() { "use".to_owned() } else { crate::format::plural(self.unit) };
        let drawing = format!(r#"<p class="chart-empty">No {} in these days.</p>"#, escape(&what));
        self.figure(&Parts { drawing, ..Parts::default() })
    }

    fn dates_in_zone(&self) -> String {
        let (dates, zone) = (escape(&self.dates()), escape(self.zone.name()));
        format!(r#"{dates} <span class="chart-zone">{zone}</span>"#)
    }

    /// The labels of the ticks, and beside them the drawing with its grid, weekends, labels and what is given.
    pub(super) fn drawing(&self, scale: &Scale, buckets: &[Bucket], step: Step, inside: &str) -> String {
        let ticks = scale.ticks();
        let labels: String =
            ticks.iter().map(|tick| format!("<span>{}</span>", escape(&tick.compact(self.unit)))).collect();
        let lines: String = ticks
            .iter()
            .map(|tick| {
                let (class, y) = (if tick.is_zero() { "axis" } else { "grid" }, scale.y(*tick));
                format!(r#"<line class="{class}" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#)
            })
            .collect();
        format!(
            r#"<div class="chart-body"><div class="chart-scale" aria-hidden="true">{labels}</div><svg class="chart-plot" role="group" aria-labelledby="{}-title" width="100%" height="{FULL_HEIGHT}" data-points>{}{lines}{}{inside}</svg></div>"#,
            escape(self.id),
            weekends(buckets),
            marks(buckets, step),
        )
    }
}

fn optional(tag: &str, class: &str, html: &str) -> String {
    if html.is_empty() { String::new() } else { format!(r#"<{tag} class="{class}">{html}</{tag}>"#) }
}

fn weekends(buckets: &[Bucket]) -> String {
    let width = share(1, whole(buckets));
    let all = (0..).zip(buckets).filter(|(_, bucket)| bucket.is_weekend);
    all.map(|(at, _)| {
        let x = share(at, whole(buckets));
        format!(r#"<rect class="weekend" x="{x}" y="{TOP}" width="{width}" height="{HEIGHT}"/>"#)
    })
    .collect()
}

fn marks(buckets: &[Bucket], step: Step) -> String {
    let pace = Pace::of(buckets.len(), step);
    let mut marks = String::new();
    for ((at, position), bucket) in (0..).zip(0_i128..).zip(buckets) {
        let class = match pace.label(at) {
            Some(Label::Always) => "mark",
            Some(Label::WhenWide) => "mark when-wide",
            None => continue,
        };
        // In the middle of its bucket, but for one that would leave the drawing: that ends where the drawing does.
        let (middle, all) = (position * 2 + 1, whole(buckets) * 2);
        let is_last = (all - middle) * 100 < all * ROOM;
        let (x, anchor) = if is_last { (share(all, all), "end") } else { (share(middle, all), "middle") };
        let mark = escape(&bucket.mark);
        marks.push_str(&format!(
            r#"<text class="{class}" x="{x}" y="{LABELS_AT}" text-anchor="{anchor}" aria-hidden="true">{mark}</text>"#
        ));
    }
    marks
}

/// How many buckets, as a whole of which shares are taken.
pub(super) fn whole(buckets: &[Bucket]) -> i128 {
    i128::try_from(buckets.len()).unwrap_or(1).max(1)
}

/// One place of a chart that can be pointed at and focused: its label is what a screen reader says, and `shapes` what is
/// drawn. Only the first is reached by the tabulator; `chart.js` moves on from there by the arrow keys.
pub(super) fn point(at: usize, buckets: &[Bucket], label: &str, shapes: &str) -> String {
    let (tabindex, label) = (if at == 0 { 0 } else { -1 }, escape(label));
    let (x, width) = (share(i128::try_from(at).unwrap_or(0), whole(buckets)), share(1, whole(buckets)));
    let height = TOP + HEIGHT;
    format!(
        r#"<g class="chart-point" data-point role="img" tabindex="{tabindex}" aria-label="{label}"><title>{label}</title><rect class="hit" x="{x}" y="0" width="{width}" height="{height}"/>{shapes}</g>"#
    )
}

/// The table behind a chart.
pub(super) struct Table {
    /// The headings of the columns, the first of them that of the rows' names.
    pub(super) columns: Vec<String>,
    /// Name and cells of each row.
    pub(super) rows: Vec<(String, Vec<String>)>,
    /// The last row, set apart, if there is one.
    pub(super) foot: Option<(String, Vec<String>)>,
}

impl Table {
    pub(super) fn html(&self, frame: &Frame<'_>) -> String {
        let head: String =
            self.columns.iter().map(|name| format!(r#"<th scope="col">{}</th>"#, escape(name))).collect();
        let body: String = self.rows.iter().map(|(name, cells)| row(name, cells)).collect();
        let foot =
            self.foot.iter().map(|(name, cells)| format!("<tfoot>{}</tfoot>", row(name, cells))).collect::<String>();
        let (id, title, dates) = (escape(frame.id), escape(frame.title), escape(&frame.dates()));
        format!(
            r#"<details class="chart-table"><summary>Table</summary><div class="chart-scroll" role="region" tabindex="0" aria-labelledby="{id}-caption"><table><caption id="{id}-caption">{title}, {dates}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div></details>"#
        )
    }
}

fn row(name: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    format!(r#"<tr><th scope="row">{}</th>{cells}</tr>"#, escape(name))
}
