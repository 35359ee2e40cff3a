//! A line small enough for a row of a list.

use crate::format::{Amount, Markup, escape};

/// Size in pixels, and how much of it is left free for the stroke.
const WIDTH: i128 = 96;
const HEIGHT: i128 = 24;
const EDGE: i128 = 2;

/// The course of some values beside the text that says what matters of it. The line itself is hidden from screen readers.
#[derive(Clone, Copy, Debug)]
pub struct Sparkline<'a> {
    /// Evenly spaced, oldest first.
    pub values: &'a [Amount],
    /// Such as "12,345 calls".
    pub text: &'a str,
}

impl Sparkline<'_> {
    /// The line and its text.
    pub fn markup(&self) -> Markup {
        let (line, text) = (self.drawing(), escape(self.text));
        Markup::of(format!(
            r#"<span class="sparkline"><svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">{line}</svg><span class="sparkline-text">{text}</span></span>"#
        ))
    }

    fn drawing(&self) -> String {
        let values = || self.values.iter().map(|value| value.billionths());
        let (low, high) = (values().min().unwrap_or(0).min(0), values().max().unwrap_or(0).max(0));
        let (range, steps) = ((high - low).max(1), i128::try_from(self.values.len()).unwrap_or(1) - 1);
        let y = |value: i128| EDGE + (high - value) * (HEIGHT - 2 * EDGE) / range;
        let x = |at: i128| if steps < 1 { WIDTH / 2 } else { EDGE + at * (WIDTH - 2 * EDGE) / steps };
        let zero = if low == high { HEIGHT - EDGE } else { y(0) };
        let base = format!(r#"<line class="axis" x1="0" x2="{WIDTH}" y1="{zero}" y2="{zero}"/>"#);
        if low == high {
            return base;
        }
        let places: Vec<_> = (0..).zip(values()).map(|(at, value)| (x(at), y(value))).collect();
        let path = places.iter().map(|(x, y)| format!("{x} {y}")).collect::<Vec<_>>().join("L");
        let last = places.last().map(|(x, y)| format!(r#"<circle class="spark-end" cx="{x}" cy="{y}" r="2"/>"#));
        format!(r#"{base}<path class="line" d="M{path}"/>{}"#, last.unwrap_or_default())
    }
}
