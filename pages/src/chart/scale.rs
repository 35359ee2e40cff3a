//! The vertical axis.

use crate::format::Amount;

/// Pixels from the lowest to the highest tick.
pub(super) const HEIGHT: i128 = 200;
/// Pixels above the highest tick, so that half a label fits.
pub(super) const TOP: i128 = 8;
/// The most ticks: more are noise.
const MOST_TICKS: i128 = 5;
/// One unit in billionths, as amounts have them.
const ONE: i128 = 1_000_000_000;

/// From which to which value a chart goes, in steps of 1, 2 or 5 times a power of ten; in those of KB, MB, … for bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scale {
    low: i128,
    high: i128,
    step: i128,
}

impl Scale {
    /// One on which all these values, and zero, have their place.
    pub(super) fn over(values: impl Iterator<Item = Amount> + Clone, unit: &str) -> Self {
        let billionths = values.map(Amount::billionths);
        let low = billionths.clone().min().unwrap_or(0).min(0);
        let high = billionths.clone().max().unwrap_or(0).max(0);
        let high = if low == high { ONE } else { high };
        let is_whole = billionths.clone().all(|value| value % ONE == 0);
        let finest = match unit {
            "byte" | "bytes" => step_of_bytes(high.max(-low)),
            _ if is_whole => ONE,
            _ => 1,
        };
        let step = nice_step(low, high, finest);
        Self { low: low.div_euclid(step) * step, high: -(-high).div_euclid(step) * step, step }
    }

    /// The values of the ticks, the highest first.
    pub(super) fn ticks(&self) -> Vec<Amount> {
        let many = (self.high - self.low) / self.step;
        (0..=many).map(|at| Amount::of_billionths(self.high - at * self.step)).collect()
    }

    /// Pixels from the top of the drawing to a value, rounded.
    pub(super) fn y(&self, value: Amount) -> i128 {
        let (below_top, range) = (self.high - value.billionths().clamp(self.low, self.high), self.high - self.low);
        TOP + (below_top * HEIGHT * 2 + range) / (range * 2)
    }

    /// Where zero is.
    pub(super) fn zero(&self) -> i128 {
        self.y(Amount::ZERO)
    }
}

/// The smallest step of 1, 2 or 5 times a power of ten of `finest` that makes few enough ticks.
fn nice_step(low: i128, high: i128, finest: i128) -> i128 {
    let mut power = finest;
    loop {
        for factor in [1, 2, 5] {
            let step = power * factor;
            let intervals = -(-high).div_euclid(step) - low.div_euclid(step);
            if intervals < MOST_TICKS {
                return step;
            }
        }
        power *= 10;
    }
}

/// The byte, KB, MB, … in which a range is written, in billionths of a byte. Like `format::bytes`: MB up to 99,999 of them.
fn step_of_bytes(range: i128) -> i128 {
    let mut size = ONE;
    for most in [1_023, 1_023, 99_999, 99_999, 99_999] {
        if range / size <= most {
            break;
        }
        size *= 1_024;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[&str], unit: &str) -> String {
        let values: Vec<_> = values.iter().map(|text| Amount::parse(text).unwrap()).collect();
        let ticks = Scale::over(values.iter().copied(), unit).ticks();
        ticks.iter().rev().map(|tick| tick.compact(unit)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ticks_are_few_and_round() {
        #[rustfmt::skip]
        let cases: [(&[&str], &str, &str); 14] = [
            (&[], "call", "0 1"),
            (&["0"], "call", "0 1"),
            (&["1"], "call", "0 1"),
            (&["3"], "call", "0 1 2 3"),
            (&["4"], "call", "0 1 2 3 4"),
            (&["5"], "call", "0 2 4 6"),
            (&["1234"], "call", "0 500 1K 1.5K"),
            (&["10000"], "call", "0 5K 10K"),
            (&["0.07"], "USD", "0 0.02 0.04 0.06 0.08"),
            (&["1.5"], "USD", "0 0.5 1 1.5"),
            (&["900", "-120"], "call", "\u{2212}500 0 500 1K"),
            (&["-7"], "call", "\u{2212}8 \u{2212}6 \u{2212}4 \u{2212}2 0"),
            (&["734003200"], "byte", "0 bytes 200 MB 400 MB 600 MB 800 MB"),
            (&["1800000000"], "byte", "0 bytes 500 MB 1,000 MB 1,500 MB 2,000 MB"),
        ];
        for (values, unit, expected) in cases {
            assert_eq!(ticks(values, unit), expected, "{values:?}");
        }
    }

    #[test]
    fn every_value_is_on_the_scale_and_five_ticks_are_the_most() {
        let mut seed = 20_261_127_u64;
        for round in 0..20_000 {
            let mut random = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let spread = (seed >> 58) % 62;
                i128::from((seed >> 1) >> spread) * if seed & 1 == 0 { 1 } else { -1 }
            };
            let values = [random(), random(), random()].map(|value| Amount::of_billionths(value * ONE / 1_000));
            let scale = Scale::over(values.iter().copied(), if round % 2 == 0 { "call" } else { "byte" });
            let ticks = scale.ticks();
            assert!((2..=5).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks.contains(&Amount::ZERO), "{values:?}: {ticks:?}");
            for value in values {
                let exact = (ticks[0].billionths() - value.billionths()) * HEIGHT;
                let range = ticks[0].billionths() - ticks[ticks.len() - 1].billionths();
                let off = (scale.y(value) - TOP) * range - exact;
                assert!(off.abs() * 2 <= range, "{values:?}: more than half a pixel off");
                assert!((TOP..=TOP + HEIGHT).contains(&scale.y(value)), "{values:?}");
            }
        }
    }
}
