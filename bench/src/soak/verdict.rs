//! Whether a soak stayed flat: the second half against the first, and the store against what its beginning foretold.

use super::{Sample, Soaked};
use crate::chart::{Axis, Chart, Marks, Panel, Scale, Series};
use crate::spread::{Spread, bytes, number, thousands};
use crate::suite::{Suite, when};
use crate::table::Table;
use crate::target::{Bound, line};

/// Rows of the table.
const PARTS: usize = 10;
/// The part of the time from which the store's growth is foretold: a tenth, in which no slice closes yet. What it takes
/// afterwards is the database as large as it was then, whose pages are used again, and the slices.
const FORETOLD_FROM: usize = 10;

/// Bounds on the second half's median to the first's.
const RATE: f64 = 0.98;
const P50: f64 = 1.25;
const P99: f64 = 1.5;
const MEMORY: f64 = 1.1;
/// Memory that a known id may take, in bytes, beyond that.
const PER_ID: f64 = 2.0;
/// The store's last size to what was foretold, either way.
const STORE: (f64, f64) = (0.9, 1.1);

impl Soaked {
    /// The table, and each bound with what was seen.
    pub fn markdown(&self, suite: &Suite) -> String {
        let soak = &self.soak;
        let head = format!(
            "{}; {} {} decisions a second ({} with ids of their own), {} organizations, {} connections, open loop, for {:.0} \
             minutes; a look every {:?}, medians of each tenth.",
            when(),
            suite.conditions(),
            thousands(self.rate),
            if soak.ids { "all" } else { "none" },
            thousands(soak.organizations),
            soak.connections,
            soak.length.as_secs_f64() / 60.0,
            soak.every,
        );
        format!("{head}\n\n{}\n{}", self.table().markdown(), self.verdict().concat())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "minute",
            "decisions/s",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "resident MB",
            "stored",
            "not accepted",
        ]);
        for part in parts(&self.samples, PARTS) {
            let median = |figure: fn(&Sample) -> f64, digits| number(median(part, figure), digits);
            let Some(last) = part.last() else { continue };
            table.push(vec![
                format!("{:.1}", last.at.as_secs_f64() / 60.0),
                median(|sample| sample.rate, 0),
                median(|sample| sample.p50, 2),
                median(|sample| sample.p99, 2),
                median(|sample| sample.cpu, 1),
                median(|sample| sample.resident as f64 / 1e6, 0),
                bytes(last.stored),
                thousands(part.iter().map(|sample| sample.not_accepted).sum()),
            ]);
        }
        table
    }

    /// Each bound with what was seen.
    pub fn verdict(&self) -> Vec<String> {
        let (first, second) = self.samples.split_at(self.samples.len() / 2);
        let medians = |figure: fn(&Sample) -> f64| (median(first, figure), median(second, figure));
        let ratio = |figure| {
            let (first, second) = medians(figure);
            [second / first]
        };
        let (resident, rate) = (medians(|sample| sample.resident as f64), median(&self.samples, |sample| sample.rate));
        let ids = median(second, |sample| sample.operations as f64) - median(first, |sample| sample.operations as f64);
        let for_ids = if self.soak.ids { PER_ID * ids } else { 0.0 };
        let not_accepted: u64 = self.samples.iter().map(|sample| sample.not_accepted).sum();
        let stored = self.samples.last().map_or(f64::NAN, |sample| sample.stored as f64);
        let store = stored / self.foretold();
        vec![
            line("decisions/s to the rate asked", [rate / self.rate as f64], 3, Bound::AtLeast(RATE)),
            line("p50, second half to first", ratio(|sample| sample.p50), 2, Bound::AtMost(P50)),
            line("p99, second half to first", ratio(|sample| sample.p99), 2, Bound::AtMost(P99)),
            line(
                &format!("memory, second half to first, less {PER_ID} bytes for each id that came between"),
                [(resident.1 - for_ids) / resident.0],
                3,
                Bound::AtMost(MEMORY),
            ),
            line("store to what its first tenth foretold", [store], 3, Bound::AtMost(STORE.1)),
            line("store to what its first tenth foretold", [store], 3, Bound::AtLeast(STORE.0)),
            line("decisions not accepted", [not_accepted as f64], 0, Bound::AtMost(0.0)),
        ]
    }

    /// Bytes that a decision adds to the store, by the first tenth of the samples.
    fn bytes_per_decision(&self) -> f64 {
        let beginning = &self.samples[..self.samples.len().div_ceil(FORETOLD_FROM)];
        match (beginning.first(), beginning.last()) {
            (Some(first), Some(last)) if last.operations > first.operations => {
                (last.stored as f64 - first.stored as f64) / (last.operations - first.operations) as f64
            }
            _ => f64::NAN,
        }
    }

    /// What the store should hold at the end, in bytes.
    fn foretold(&self) -> f64 {
        self.foretold_at(self.samples.last())
    }

    fn foretold_at(&self, sample: Option<&Sample>) -> f64 {
        let Some((first, sample)) = self.samples.first().zip(sample) else { return f64::NAN };
        first.stored as f64 + self.bytes_per_decision() * (sample.operations - first.operations) as f64
    }

    /// Decisions, latency, memory and store over time.
    pub fn chart(&self) -> Chart {
        let curve = |name: &str, figure: &dyn Fn(&Sample) -> f64| {
            let point = |sample: &Sample| {
                let y = figure(sample);
                (sample.at.as_secs_f64() / 60.0, Spread { median: y, least: y, most: y })
            };
            Series { name: name.into(), points: self.samples.iter().map(point).collect() }
        };
        let panel = |y: &str, scale: Scale, series| Panel {
            x: Axis::new("minutes", Scale::Linear),
            y: Axis::new(y, scale),
            marks: Marks::Line,
            series,
        };
        let latency = vec![curve("p50", &|sample| sample.p50), curve("p99", &|sample| sample.p99)];
        let foretold = |sample: &Sample| self.foretold_at(Some(sample)) / 1e6;
        let store = vec![
            curve("measured", &|sample| sample.stored as f64 / 1e6),
            curve("foretold by the first tenth", &foretold),
        ];
        Chart {
            title: format!(
                "{:.0} minutes at {} decisions a second",
                self.soak.length.as_secs_f64() / 60.0,
                thousands(self.rate)
            ),
            subtitle: when(),
            panels: vec![
                panel("decisions/s", Scale::Linear, vec![curve("measured", &|sample| sample.rate)]),
                panel("ms", Scale::Log, latency),
                panel("MB in memory", Scale::Linear, vec![curve("measured", &|sample| sample.resident as f64 / 1e6)]),
                panel("MB stored", Scale::Linear, store),
            ],
        }
    }
}

fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    Spread::of(samples.iter().map(figure)).map_or(f64::NAN, |spread| spread.median)
}

/// Cuts into at most `count` parts that differ by no more than one sample.
fn parts(samples: &[Sample], count: usize) -> Vec<&[Sample]> {
    let count = count.min(samples.len()).max(1);
    (0..count).map(|part| &samples[part * samples.len() / count..(part + 1) * samples.len() / count]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::soak::Soak;

    /// A hundred samples of a second at 1,000 decisions a second, 1 MB at first and 100 bytes a decision, changed by
    /// `change`.
    fn soaked(change: impl Fn(u64, &mut Sample)) -> Soaked {
        let soak = Soak {
            length: Duration::from_secs(100),
            every: Duration::from_secs(1),
            rate: None,
            percent: 80,
            connections: 1,
            organizations: 10,
            ids: true,
        };
        let sample = |second: u64| {
            let mut sample = Sample {
                at: Duration::from_secs(second),
                rate: 1000.0,
                operations: 1000 * second,
                p50: 1.0,
                p99: 2.0,
                cpu: 15.0,
                resident: 50_000_000,
                stored: 1_000_000 + 100_000 * second,
                not_accepted: 0,
            };
            change(second, &mut sample);
            sample
        };
        Soaked { soak, rate: 1000, samples: (1..=100).map(sample).collect() }
    }

    #[test]
    fn whatever_grows_is_seen_and_a_flat_soak_passes() {
        type Change = fn(u64, &mut Sample);
        let missed = |change: Change| -> String {
            let verdict = soaked(change).verdict();
            verdict.iter().filter(|line| !line.ends_with(": met\n")).map(String::as_str).collect()
        };
        assert_eq!(missed(|_, _| ()), "");
        #[rustfmt::skip]
        let cases: [(Change, &str); 7] = [
            (|second, sample| if second > 40 { sample.rate = 970.0; },       "decisions/s"),
            (|second, sample| sample.p50 += second as f64 / 100.0,           "p50"),
            (|second, sample| sample.p99 += second as f64 / 30.0,            "p99"),
            (|second, sample| sample.resident += second * 200_000,           "memory"),
            (|second, sample| sample.stored += second * second * 200,        "store"),
            (|second, sample| if second > 30 { sample.stored = 3_000_000; }, "store"),
            (|second, sample| sample.not_accepted = u64::from(second == 9),  "decisions not accepted"),
        ];
        for (change, name) in cases {
            let missed = missed(change);
            assert_eq!(missed.lines().count(), 1, "{name}: {missed}");
            assert!(missed.starts_with(&format!("- {name}")), "{name}: {missed}");
        }
    }

    #[test]
    fn memory_may_grow_with_the_ids_that_are_known() {
        // 50,000 ids come between the middles of the halves.
        let grown =
            |soak: Soaked| soak.verdict().iter().any(|line| line.starts_with("- memory") && line.contains("missed"));
        let much = soaked(|second, sample| sample.resident = 100_000 + 1000 * second * 2);
        let none = Soaked { soak: Soak { ids: false, ..much.soak.clone() }, ..much.clone() };
        assert!(!grown(much));
        assert!(grown(none));
    }

    #[test]
    fn a_soak_is_told_in_tenths_and_four_panels() {
        let soaked = soaked(|_, _| ());
        assert_eq!(soaked.table().markdown().lines().count(), 2 + PARTS);
        assert_eq!(soaked.chart().panels.len(), 4);
        assert_eq!(parts(&soaked.samples[..3], PARTS).len(), 3);
        let none = Soaked { samples: Vec::new(), ..soaked };
        assert_eq!(none.verdict().iter().filter(|line| line.contains("not measured")).count(), 6);
        assert!(none.chart().svg().starts_with("<svg"));
    }
}
