//! A figure over several rounds, and numbers as text.

use serde::Serialize;

/// A median, and how far the rounds lay apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median: of an even number of rounds between the middle two.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of all figures; `None` of none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, least, most })
    }

    /// As text: `12.3 (11.9–12.8)`; one figure alone without its spread.
    pub fn shown(self, digits: usize) -> String {
        let Self { median, least, most } = self;
        let all = [median, least, most].map(|figure| number(figure, digits));
        if all[1] == all[2] { all[0].clone() } else { format!("{} ({}–{})", all[0], all[1], all[2]) }
    }
}

/// Of a figure in every round, as text; a dash where there is none.
pub fn shown(figures: impl IntoIterator<Item = f64>, digits: usize) -> String {
    let spread = Spread::of(figures).filter(|spread| spread.median.is_finite());
    spread.map_or("–".into(), |spread| spread.shown(digits))
}

/// A whole number with separators, or one with decimals.
pub fn number(figure: f64, digits: usize) -> String {
    if digits == 0 && figure.is_finite() && figure >= 0.0 {
        thousands(figure.round() as u64)
    } else {
        format!("{figure:.digits$}")
    }
}

/// A whole number with separators.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there are at least ten.
pub fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    let fits = units.into_iter().find(|(size, _)| bytes >= 10 * size);
    fits.map_or_else(|| format!("{bytes} B"), |(size, unit)| format!("{} {unit}", thousands(bytes / size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_middle_two() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_spread_is_shown_unless_all_rounds_look_alike() {
        #[rustfmt::skip]
        let cases = [ // figures, digits, text
            (&[1.04, 2.0, 9.0][..],  1, "2.0 (1.0–9.0)"),
            (&[1.04, 1.01],          1, "1.0"),
            (&[81_234.4],            0, "81,234"),
            (&[f64::NAN],            1, "–"),
            (&[],                    1, "–"),
        ];
        for (figures, digits, text) in cases {
            assert_eq!(shown(figures.iter().copied(), digits), text);
        }
    }

    #[test]
    fn numbers_read_well() {
        let whole: Vec<String> = [0, 999, 1_000, 81_234, 1_000_000].map(thousands).to_vec();
        assert_eq!(whole, ["0", "999", "1,000", "81,234", "1,000,000"]);
        assert_eq!(number(12_345.6, 0), "12,346");
        assert_eq!(number(12.345, 2), "12.35");
        assert_eq!(
            [12, 9_999, 10_000, 12_345_678, 3_000_000_000].map(bytes),
            ["12 B", "9999 B", "10 kB", "12 MB", "3,000 MB"]
        );
    }
}
