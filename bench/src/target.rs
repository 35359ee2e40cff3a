//! A figure against what was aimed at, as a line of text.

use crate::spread::{Spread, number};

/// What was aimed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// `- S1, CPU to echo: 3.83 (3.62–3.86), at most 1.50: missed`, by the median.
pub fn line(what: &str, figures: impl IntoIterator<Item = f64>, digits: usize, bound: Bound) -> String {
    let (word, limit) = match bound {
        Bound::AtMost(limit) => ("at most", limit),
        Bound::AtLeast(limit) => ("at least", limit),
    };
    let Some(spread) = Spread::of(figures).filter(|spread| spread.median.is_finite()) else {
        return format!("- {what}: not measured\n");
    };
    let met = match bound {
        Bound::AtMost(limit) => spread.median <= limit,
        Bound::AtLeast(limit) => spread.median >= limit,
    };
    let verdict = if met { "met" } else { "**missed**" };
    format!("- {what}: {}, {word} {}: {verdict}\n", spread.shown(digits), number(limit, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides() {
        #[rustfmt::skip]
        let cases = [ // figures, bound, line
            (&[1.0, 1.4, 9.0][..], Bound::AtMost(1.5),   "- S: 1.4 (1.0–9.0), at most 1.5: met\n"),
            (&[1.6],               Bound::AtMost(1.5),   "- S: 1.6, at most 1.5: **missed**\n"),
            (&[8.0],               Bound::AtLeast(8.0),  "- S: 8.0, at least 8.0: met\n"),
            (&[7.9],               Bound::AtLeast(8.0),  "- S: 7.9, at least 8.0: **missed**\n"),
            (&[f64::NAN],          Bound::AtLeast(8.0),  "- S: not measured\n"),
            (&[],                  Bound::AtMost(1.0),   "- S: not measured\n"),
        ];
        for (figures, bound, expected) in cases {
            assert_eq!(line("S", figures.iter().copied(), 1, bound), expected);
        }
    }
}
