//! Rows measured in turn, round after round, and the table that comes of it.

use std::time::Duration;

use crate::chart::Series;
use crate::disk::{SyncTimes, measure_sync};
use crate::error::BenchError;
use crate::row::{Outcome, Pace, Row, Side};
use crate::spread::{self, Spread, shown, thousands};
use crate::stock::Stores;
use crate::suite::Suite;
use crate::table::Table;
use crate::workload::Kind;

/// No disk syncs faster than this; a tmpfs does.
const IN_MEMORY: Duration = Duration::from_micros(10);

/// Every row once, and the disk of the same minute.
#[derive(Clone, Debug)]
pub struct Round {
    /// In the order of the rows.
    pub outcomes: Vec<Outcome>,
    /// What the disk alone took.
    pub sync: SyncTimes,
}

/// What all rows gave in all rounds.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The rows, in the order of every round.
    pub rows: Vec<Row>,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// A figure of an outcome.
pub type Figure = fn(&Outcome) -> f64;

impl Sheet {
    /// Measures all rows in so many rounds, telling each figure on stderr as it comes.
    ///
    /// # Errors
    /// Where a server does not start, is not prepared, or answers nothing: there is no table then.
    pub async fn measure(suite: &Suite, stores: &mut Stores, rows: Vec<Row>, rounds: u64) -> Result<Self, BenchError> {
        for row in rows.iter().filter(|row| row.side == Side::Metergate) {
            stores.prepared(row.stock).await?;
        }
        let mut sheet = Self { rows, rounds: Vec::new() };
        for number in 1..=rounds {
            eprintln!("  round {number} of {rounds}");
            let round = sheet.run_round(suite, stores).await?;
            sheet.rounds.push(round);
        }
        Ok(sheet)
    }

    async fn run_round(&self, suite: &Suite, stores: &mut Stores) -> Result<Round, BenchError> {
        let sync = measure_sync(&suite.parent)?;
        eprintln!("    fdatasync p50 {:?} p99 {:?}", sync.p50, sync.p99);
        let mut outcomes: Vec<Outcome> = Vec::new();
        for row in &self.rows {
            let so_far = self.rows.iter().zip(&outcomes).filter(|(row, _)| row.is_for_best());
            let best = so_far.map(|(_, outcome)| outcome.rate()).fold(0.0, f64::max);
            let outcome = row.measure(suite, stores, best).await?;
            eprintln!("    {}: {}", row.name, outcome.report);
            outcomes.push(outcome);
        }
        Ok(Round { outcomes, sync })
    }

    /// A figure of the row at `index` in every round.
    pub fn of(&self, index: usize, figure: Figure) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |round| figure(&round.outcomes[index]))
    }

    /// A figure of one row against another's of the same round: what slows the machine for a while slows both.
    pub fn ratio(&self, index: usize, base: usize, figure: Figure) -> impl Iterator<Item = f64> {
        let ratio = move |round: &Round| figure(&round.outcomes[index]) / figure(&round.outcomes[base]);
        self.rounds.iter().map(ratio)
    }

    /// The floor of the row at `index`.
    pub fn floor_of(&self, index: usize) -> Option<usize> {
        self.rows.iter().position(|row| row.is_floor_of(&self.rows[index]))
    }

    /// The first row that is as asked.
    pub fn find(&self, is: impl Fn(&Row) -> bool) -> Option<usize> {
        self.rows.iter().position(is)
    }

    /// A curve over the rows for which `across` gives a place.
    pub fn series(&self, name: &str, across: impl Fn(&Row) -> Option<f64>, figure: Figure) -> Series {
        let point = |(index, row): (usize, &Row)| Some((across(row)?, Spread::of(self.of(index, figure))?));
        Series { name: name.to_owned(), points: self.rows.iter().enumerate().filter_map(point).collect() }
    }

    /// A curve for each name among the rows that `across` places.
    pub fn by_name(&self, across: impl Fn(&Row) -> Option<f64>, figure: Figure) -> Vec<Series> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| across(row).is_some()) {
            if !names.contains(&row.name) {
                names.push(row.name);
            }
        }
        let of = |name: &&str| self.series(name, |row| (row.name == *name).then(|| across(row)).flatten(), figure);
        names.iter().map(of).collect()
    }

    /// The table, with the disk below it.
    pub fn markdown(&self, suite: &Suite) -> String {
        let mut table = Table::new(&[
            "what",
            "connections",
            "batch",
            "organizations",
            "known ids",
            "asked/s",
            "ops/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "CPU µs/op",
            "CPU to echo",
            "ops/s to echo",
            "stored MB",
            "not accepted",
        ]);
        for index in 0..self.rows.len() {
            table.push(self.cells(index));
        }
        format!("{}\n{}", table.markdown(), self.below(suite))
    }

    fn cells(&self, index: usize) -> Vec<String> {
        let row = &self.rows[index];
        let all = |figure: Figure, digits| shown(self.of(index, figure), digits);
        let to_floor =
            |figure: Figure| self.floor_of(index).map_or("–".into(), |f| shown(self.ratio(index, f, figure), 2));
        let stocked = row.side == Side::Metergate;
        let stock = |number: u64| if stocked { thousands(number) } else { "–".into() };
        let not_accepted = self.rounds.iter().map(|round| round.outcomes[index].report.not_accepted()).sum();
        let latency_only = row.pace != Pace::Closed;
        vec![
            row.name.into(),
            row.connections.to_string(),
            thousands(row.batch),
            stock(row.stock.organizations),
            stock(row.stock.ids),
            all(|o| o.report.rate.map_or(f64::NAN, |rate| rate as f64), 0),
            all(Outcome::rate, 0),
            all(|o| o.report.latency_ms.p50, 2),
            all(Outcome::p99, 2),
            all(|o| o.report.latency_ms.p999, 2),
            all(Outcome::cpu, 2),
            to_floor(Outcome::cpu),
            // At a fixed rate both sides answer as many: a ratio would say nothing.
            if latency_only { "–".into() } else { to_floor(Outcome::rate) },
            if stocked { all(|o| o.stored as f64 / 1e6, 1) } else { "–".into() },
            thousands(not_accepted),
        ]
    }

    /// How it was measured, what the disk alone took, and the sizes of answers, which must be alike for a ratio to mean anything.
    fn below(&self, suite: &Suite) -> String {
        let sync = |figure: fn(&SyncTimes) -> Duration| shown(self.rounds.iter().map(|r| millis(figure(&r.sync))), 2);
        let mut text = format!(
            "Median (least–most) of {} interleaved rounds with windows of {} s after {} s. The disk alone, 4 KiB appended and fdatasync, ms: p50 {}, p99 {}.",
            self.rounds.len(),
            suite.window.as_secs_f64(),
            suite.warm_up.as_secs_f64(),
            sync(|sync| sync.p50),
            sync(|sync| sync.p99),
        );
        let size = |side| {
            let index = self.find(|row| row.side == side && row.kind == Kind::Consume)?;
            Some(spread::shown(self.of(index, |outcome| outcome.report.answer_bytes.round()), 0))
        };
        if let (Some(echo), Some(metergate)) = (size(Side::Echo), size(Side::Metergate)) {
            text.push_str(&format!(" Bytes of an answer: echo {echo}, Metergate {metergate}."));
        }
        if self.rounds.iter().any(|round| round.sync.p50 < IN_MEMORY) {
            text.push_str(" **The folder seems to be in memory: nothing here was durable.**");
        }
        text + "\n"
    }
}

/// As a number of milliseconds.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
