//! Charts: inline SVG made here, which needs no script and no inline style.
//!
//! A chart is a `<figure>` with its title and dates, a legend, the drawing, words where something is to be said, and a table
//! with the same figures. The drawing has no `viewBox`: across it is measured in per cent, down in pixels, so text, strokes
//! and textures keep their size on every screen, and `chart.css` only thins the labels where it is narrow. All geometry is
//! made of integers. `chart.js` adds the arrow keys and what is shown on hover.
//!
//! For screen readers the drawing is a group of labelled images, one for each day, and everything else in it is hidden: axis
//! and grid say nothing that the labels and the table do not say better.

mod axis;
mod bars;
mod cumulative;
mod figure;
mod scale;
mod series;
mod sparkline;

pub use axis::Step;
pub use bars::Bars;
pub use cumulative::{Cumulative, Forecast};
pub use series::Row;
pub use sparkline::Sparkline;

pub(crate) use axis::share;

use crate::format::{Zone, days};

/// What every chart over a span has.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// An id that no other element of the page has: letters, digits and hyphens.
    pub id: &'a str,
    /// What is shown: "Tokens by model".
    pub title: &'a str,
    /// The first instant, RFC 3339.
    pub start: &'a str,
    /// The first instant after it.
    pub end: &'a str,
    /// Where days begin.
    pub zone: &'a Zone,
    /// The time now: what is later is not drawn as zero, and dates of this year go without it.
    pub now: &'a str,
    /// The meter's unit, in the singular.
    pub unit: &'a str,
}

impl Frame<'_> {
    /// "November 15 – December 14".
    pub(crate) fn dates(&self) -> String {
        days(self.start, self.end, self.zone, self.zone.year(self.now))
    }
}

#[cfg(test)]
mod tests;
