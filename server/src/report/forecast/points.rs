//! The line of what was used so far, as a page draws it.

use std::collections::HashSet;

use metergate_rules::meter::{Aggregation, Meter};
use metergate_rules::time::Span;
use metergate_rules::window::Window;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::figures::Figures;
use super::super::usage::{Granularity, UsageRow};
use super::super::{Current, Report, Timestamp};
use crate::http::number::Number;
use crate::store::reader::ReadError;
use crate::store::rollup::QUARTER;

/// What had been used by a time.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct PointBody {
    /// When.
    pub at: Timestamp,
    /// All use since the window or the last reset began.
    pub used: Number,
}

/// What the windows' meters did by day, of a day by hour.
pub(super) struct Lines(Vec<(Window, Vec<UsageRow>)>);

impl Lines {
    fn of(&self, window: Window, meter: &Meter) -> Vec<&UsageRow> {
        let rows = self.0.iter().filter(|(of, _)| *of == window).flat_map(|(_, rows)| rows);
        rows.filter(|row| row.meter == meter.key).collect()
    }
}

impl Report<'_> {
    /// Reads each window once for all meters that have a limit on it.
    pub(super) fn lines(&self, current: &Current<'_>, limited: &[(&Meter, Vec<Figures>)]) -> Result<Lines, ReadError> {
        let mut lines = Vec::new();
        for window in Window::COUNTED {
            let of_window = limited.iter().filter(|(_, all)| all.iter().any(|figures| figures.window == window));
            let meters: Vec<&Meter> = of_window.map(|(meter, _)| *meter).collect();
            let by = if window == Window::Day { Granularity::Hour } else { Granularity::Day };
            let from = shown(current, window).start.floor(QUARTER);
            lines.push((window, self.rows_since(current, &meters, from, (by, true))?));
        }
        Ok(Lines(lines))
    }

    /// The line of one meter in one window.
    pub(super) fn points(
        &self,
        current: &Current<'_>,
        meter: &Meter,
        figures: &Figures,
        lines: &Lines,
    ) -> Result<Vec<PointBody>, ReadError> {
        let rows = lines.of(figures.window, meter);
        let (used, is_lifetime) = (i128::from(figures.used.units()), figures.window == Window::Lifetime);
        let (first, mut values) = match meter.aggregation {
            Aggregation::Sum | Aggregation::Count => {
                // From the end back: so the line ends in what is used, whatever a reset has taken off it.
                let (mut left, mut values) = (used, Vec::with_capacity(rows.len()));
                for row in rows.iter().rev() {
                    values.push(left.max(0));
                    left -= row.value.units;
                }
                values.reverse();
                (Some(if is_lifetime { left.max(0) } else { 0 }), values)
            }
            Aggregation::Last => (None, rows.iter().map(|row| row.value.units).collect()),
            Aggregation::Max | Aggregation::UniqueCount if is_lifetime => return Ok(Vec::new()),
            Aggregation::Max => {
                let is_counted = |row: &UsageRow| figures.reset_at.is_none_or(|reset| reset < row.end.0);
                let mut peak = 0;
                let peaks = rows.iter().map(|row| {
                    peak = if is_counted(row) { row.value.units.min(used).max(peak) } else { 0 };
                    peak
                });
                (Some(0), peaks.collect())
            }
            Aggregation::UniqueCount => (Some(0), self.distinct(current, meter, figures, &rows)?),
        };
        if let Some(last) = values.last_mut() {
            *last = used;
        }
        let start = Timestamp(shown(current, figures.window).start);
        let number = |units| Number { units, ..self.number(meter.id, figures.used) };
        let at = |row: &&UsageRow| Timestamp(row.end.0.min(current.now));
        let first = first.map(|units| PointBody { at: start, used: number(units) });
        let rest = rows.iter().zip(values).map(|(row, units)| PointBody { at: at(row), used: number(units) });
        Ok(first.into_iter().chain(rest).collect())
    }

    /// How many distinct values there had been by the end of each row.
    fn distinct(
        &self,
        current: &Current<'_>,
        meter: &Meter,
        figures: &Figures,
        rows: &[&UsageRow],
    ) -> Result<Vec<i128>, ReadError> {
        let Some(last) = rows.last() else { return Ok(Vec::new()) };
        let span = Span { start: figures.reset_at.unwrap_or(figures.span.start), end: last.end.0 };
        let (mut seen, mut row, mut counts) = (HashSet::new(), 0, vec![0_i128; rows.len()]);
        self.view.values(current.account.id, meter.id, span, |time, value| {
            while row + 1 < rows.len() && rows[row].end.0 <= time {
                row += 1;
            }
            counts[row] += i128::from(seen.insert(value));
        })?;
        let mut all = 0;
        counts.iter_mut().for_each(|count| {
            all += *count;
            *count = all;
        });
        Ok(counts)
    }
}

/// The part of a window that is shown.
fn shown(current: &Current<'_>, window: Window) -> Span {
    let windows = &current.account.windows;
    windows.get(if window == Window::Lifetime { Window::BillingPeriod } else { window })
}
