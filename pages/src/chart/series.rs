//! Rows of a report as series over the parts of a span.

use std::collections::BTreeMap;

use super::axis::Bucket;
use crate::format::{Amount, instant};

/// How many series have a colour of their own.
pub(super) const COLOURS: usize = 8;
/// What the rest is called, and what the API calls that for which it keeps no groups.
pub(super) const OTHER: &str = "other";

/// One figure of a report.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// When its hour, day or month begins, RFC 3339.
    pub start: &'a str,
    /// The value of the dimension by which the report is grouped; empty without one.
    pub group: &'a str,
    /// The use; below zero where adjustments took back more than was used.
    pub value: Amount,
}

/// The values of one group, one for each bucket.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<Amount>,
}

impl Series {
    /// The sum over all buckets.
    pub(super) fn total(&self) -> Amount {
        self.values.iter().copied().sum()
    }

    /// By which series are ranked.
    fn weight(&self) -> Amount {
        self.values.iter().map(|value| value.magnitude()).sum()
    }
}

/// The rows by group and bucket: the largest eight groups, largest first, and then what is left as "other".
///
/// Where values do not add up (peaks, levels, distinct values), several of one bucket give their largest, and groups beyond
/// eight are left out, since they have no sum.
pub(super) fn series(rows: &[Row<'_>], buckets: &[Bucket], additive: bool) -> Vec<Series> {
    let mut groups: BTreeMap<&str, Vec<Option<Amount>>> = BTreeMap::new();
    for row in rows {
        let Some(at) = bucket_of(row.start, buckets) else { continue };
        let values = groups.entry(row.group).or_insert_with(|| vec![None; buckets.len()]);
        values[at] = Some(joined(values[at], row.value, additive));
    }
    let mut all: Vec<_> = groups.into_iter().map(|(name, values)| named(name, values)).collect();
    let others = all.iter().position(|series| series.name == OTHER).map(|at| all.remove(at));
    // The sort is stable, so groups of the same size are in the order of their names.
    all.sort_by_key(|series| std::cmp::Reverse(series.weight()));
    let rest = all.split_off(all.len().min(COLOURS));
    if additive {
        all.extend(others.into_iter().chain(rest).reduce(added).map(|rest| Series { name: OTHER.to_owned(), ..rest }));
    } else {
        all.extend(others);
    }
    all
}

fn joined(before: Option<Amount>, value: Amount, additive: bool) -> Amount {
    match before {
        None => value,
        Some(before) if additive => before.plus(value),
        Some(before) => before.max(value),
    }
}

fn named(name: &str, values: Vec<Option<Amount>>) -> Series {
    Series { name: name.to_owned(), values: values.into_iter().map(Option::unwrap_or_default).collect() }
}

fn added(mut sum: Series, next: Series) -> Series {
    for (value, more) in sum.values.iter_mut().zip(next.values) {
        *value = value.plus(more);
    }
    sum
}

/// In which bucket a row is. A report's parts may begin before the span does, so what is earlier is in the first.
fn bucket_of(start: &str, buckets: &[Bucket]) -> Option<usize> {
    let start = instant(start)?;
    let last = buckets.last()?;
    (start < last.end).then(|| buckets.partition_point(|bucket| bucket.start <= start).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Frame;
    use crate::chart::axis::{Step, buckets};
    use crate::format::Zone;

    fn days() -> Vec<Bucket> {
        let (start, end) = ("2026-11-15T06:00:00Z", "2026-11-18T00:00:00Z");
        let frame = Frame { id: "c", title: "", start, end, zone: &Zone::utc(), now: end, unit: "call" };
        buckets(&frame, Step::Day)
    }

    fn row(start: &'static str, group: &'static str, value: i64) -> Row<'static> {
        Row { start, group, value: Amount::whole(value) }
    }

    fn shown(series: &[Series]) -> Vec<String> {
        let values = |series: &Series| series.values.iter().map(|v| v.plain()).collect::<Vec<_>>().join(" ");
        series.iter().map(|series| format!("{}: {}", series.name, values(series))).collect()
    }

    #[test]
    fn rows_find_their_bucket_and_add_up() {
        let rows = [
            row("2026-11-15T00:00:00Z", "a", 1), // its day began before the span
            row("2026-11-16T00:00:00Z", "b", 20),
            row("2026-11-16T12:00:00Z", "b", 5),
            row("2026-11-17T23:59:59Z", "a", -3),
            row("2026-11-18T00:00:00Z", "a", 100), // after the span
            row("tomorrow", "a", 100),
        ];
        assert_eq!(shown(&series(&rows, &days(), true)), ["b: 0 25 0", "a: 1 0 -3"]);
        assert_eq!(shown(&series(&rows, &days(), false)), ["b: 0 20 0", "a: 1 0 -3"], "peaks do not add up");
        assert!(series(&rows, &[], true).is_empty());
    }

    #[test]
    fn beyond_eight_is_other() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "other"];
        let rows: Vec<_> =
            names.iter().zip(1..).map(|(name, value)| row("2026-11-15T06:00:00Z", name, value)).collect();
        let all = series(&rows, &days(), true);
        assert_eq!(
            all.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
            ["j", "i", "h", "g", "f", "e", "d", "c", "other"]
        );
        assert_eq!(all[8].values[0], Amount::whole(1 + 2 + 11), "a, b and what the API called other");
        let peaks = series(&rows, &days(), false);
        assert_eq!(peaks[8].values[0], Amount::whole(11), "peaks of several groups have no sum");
    }
}
