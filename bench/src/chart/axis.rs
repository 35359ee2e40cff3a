//! Where a figure stands on an axis, and which ticks it has.

use super::{Axis, Scale};
use crate::spread::thousands;

/// More ticks than these crowd an axis.
const MOST_TICKS: usize = 8;

/// An axis with the figures that it must hold.
pub(super) struct Range<'a> {
    axis: &'a Axis,
    least: f64,
    most: f64,
    /// The figures at which it is labelled.
    pub(super) ticks: Vec<f64>,
}

impl<'a> Range<'a> {
    /// Up: round ticks, from 0 unless it grows by factors.
    pub(super) fn round(axis: &'a Axis, figures: &[f64]) -> Self {
        let (least, most) = bounds(figures, axis.scale == Scale::Log);
        let ticks = if axis.scale == Scale::Log { factors(least, most) } else { steps(most) };
        let (least, most) = (ticks.first().copied().unwrap_or(0.0), ticks.last().copied().unwrap_or(1.0));
        Self { axis, least, most, ticks }
    }

    /// Across: labelled where something was measured, if that is in few places.
    pub(super) fn at(axis: &'a Axis, figures: &[f64]) -> Self {
        if let Scale::Names(names) = &axis.scale {
            let ticks = (0..names.len()).map(|place| place as f64).collect();
            return Self { axis, least: -0.5, most: names.len() as f64 - 0.5, ticks };
        }
        let mut ticks: Vec<f64> = figures.iter().copied().filter(|figure| figure.is_finite()).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        if ticks.is_empty() || ticks.len() > MOST_TICKS {
            return Self::round(axis, figures);
        }
        let (least, most) = bounds(&ticks, axis.scale == Scale::Log);
        Self { axis, least, most, ticks }
    }

    /// From 0 at one end to 1 at the other.
    pub(super) fn place(&self, figure: f64) -> f64 {
        let along =
            |figure: f64| if self.axis.scale == Scale::Log { figure.max(f64::MIN_POSITIVE).ln() } else { figure };
        let (least, most) = (along(self.least), along(self.most));
        if most > least { ((along(figure) - least) / (most - least)).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// What stands at a tick.
    pub(super) fn label(&self, tick: f64) -> String {
        match &self.axis.scale {
            Scale::Names(names) => names.get(tick.max(0.0) as usize).cloned().unwrap_or_default(),
            Scale::Linear | Scale::Log => short(tick),
        }
    }
}

/// The least (0 on an even axis) and the most, never the same.
fn bounds(figures: &[f64], log: bool) -> (f64, f64) {
    let usable = figures.iter().copied().filter(|figure| figure.is_finite() && (!log || *figure > 0.0));
    let (least, most) = usable.fold((f64::INFINITY, 0.0_f64), |(least, most), f| (least.min(f), most.max(f)));
    match (least.is_finite() && most > 0.0, log) {
        (false, _) => (if log { 0.1 } else { 0.0 }, 1.0),
        (true, true) if most > least => (least, most),
        (true, true) => (least / 2.0, most * 2.0),
        (true, false) => (0.0, most),
    }
}

/// From 0 to at least `most` in at most six round steps.
fn steps(most: f64) -> Vec<f64> {
    let magnitude = 10_f64.powf((most / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|factor| factor * magnitude).find(|step| most / step <= 6.0);
    let step = step.unwrap_or(most);
    (0..=(most / step - 1e-9).ceil().max(1.0) as usize).map(|number| number as f64 * step).collect()
}

/// 1, 2, 5, 10 … that hold `least` and `most`; of many only the powers of ten.
fn factors(least: f64, most: f64) -> Vec<f64> {
    let powers = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let of = |factors: &[f64]| {
        let all: Vec<f64> = powers.clone().flat_map(|p| factors.iter().map(move |f| f * 10_f64.powi(p))).collect();
        let first = all.iter().rposition(|tick| *tick <= least * (1.0 + 1e-9)).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= most * (1.0 - 1e-9)).unwrap_or(all.len() - 1);
        all[first..=last].to_vec()
    };
    let fine = of(&[1.0, 2.0, 5.0]);
    if fine.len() <= MOST_TICKS { fine } else { of(&[1.0]) }
}

/// A number on an axis: `0.5`, `20`, `4,000`, `60k`, `1 M`.
fn short(figure: f64) -> String {
    let whole = figure.round();
    if (figure - whole).abs() > 1e-9 * figure.abs() {
        let digits = if figure.abs() < 0.1 { 3 } else { 2 };
        return format!("{figure:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let number = whole.max(0.0) as u64;
    match number {
        1_000_000.. if number.is_multiple_of(100_000) => {
            format!("{} M", short(number as f64 / 1e6))
        }
        10_000.. if number.is_multiple_of(1000) => format!("{}k", thousands(number / 1000)),
        _ => thousands(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_figures() {
        let even = Axis::new("", Scale::Linear);
        let log = Axis::new("", Scale::Log);
        #[rustfmt::skip]
        let cases = [ // axis, figures, ticks
            (&even, &[81_234.0, 3.0][..],    "0 20k 40k 60k 80k 100k"),
            (&even, &[12.1],                 "0 5 10 15"),
            (&even, &[0.6],                  "0 0.1 0.2 0.3 0.4 0.5 0.6"),
            (&even, &[],                     "0 0.2 0.4 0.6 0.8 1"),
            (&log,  &[0.3, 4.0],             "0.2 0.5 1 2 5"),
            (&log,  &[0.3, 4_000.0],         "0.1 1 10 100 1,000 10k"),
            (&log,  &[f64::NAN],             "0.1 0.2 0.5 1"),
        ];
        for (axis, figures, ticks) in cases {
            let range = Range::round(axis, figures);
            let labels: Vec<String> = range.ticks.iter().map(|tick| range.label(*tick)).collect();
            assert_eq!(labels.join(" "), ticks, "{figures:?}");
        }
    }

    #[test]
    fn an_axis_across_is_labelled_where_something_was_measured() {
        let log = Axis::new("", Scale::Log);
        let range = Range::at(&log, &[1_000_000.0, 1000.0, 10_000.0, 1000.0]);
        let labels: Vec<String> = range.ticks.iter().map(|tick| range.label(*tick)).collect();
        assert_eq!(labels.join(" "), "1,000 10k 1 M");
        let places: Vec<f64> = range.ticks.iter().map(|tick| (range.place(*tick) * 30.0).round() / 30.0).collect();
        assert_eq!(places, [0.0, 10.0 / 30.0, 1.0]);
        let names = Axis::new("", Scale::Names(vec!["a".into(), "b".into()]));
        let range = Range::at(&names, &[0.0]);
        assert_eq!((range.label(1.0), range.place(0.5)), ("b".into(), 0.5));
    }
}
