//! The whole table: every row measured once a round, echo and Metergate in turn, each on a fresh server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{SyncTimes, measure_sync};
use crate::error::BenchError;
use crate::load::{self, Load};
use crate::process::{Program, ServerProcess};
use crate::report::Report;
use crate::setup::{METER, prepare};
use crate::workload::{Kind, Workload};

/// What the suite measures and where.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The server under test.
    pub metergate: PathBuf,
    /// Further settings for its environment.
    pub settings: Vec<(String, String)>,
    /// How often every row is measured.
    pub rounds: u64,
    /// The measured window of each.
    pub window: Duration,
    /// Left out before each.
    pub warm_up: Duration,
    /// Organizations created and asked about.
    pub organizations: u64,
    /// Where the servers' folders are made: the disk that is measured.
    pub parent: PathBuf,
}

/// Which server a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The floor.
    Echo,
    /// The server under test.
    Metergate,
}

/// How fast a row asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each connection asks again once answered: for the highest rate.
    Closed,
    /// At half of the highest rate that a single consume reached in the same round: for the latency.
    HalfOfBest,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// Which server it measures.
    pub side: Side,
    /// What it asks.
    pub kind: Kind,
    /// Whether decisions carry ids.
    pub ids: bool,
    /// Over how many connections.
    pub connections: u64,
    /// How fast.
    pub pace: Pace,
}

impl Row {
    /// Whether `self` is the floor that `row` is compared with: as many connections at the same pace.
    pub fn is_floor_of(&self, row: &Self) -> bool {
        let single = row.kind == Kind::Consume && row.side == Side::Metergate;
        single && self.side == Side::Echo && self.connections == row.connections && self.pace == row.pace
    }
}

const fn row(name: &'static str, side: Side, kind: Kind, ids: bool, connections: u64, pace: Pace) -> Row {
    Row { name, side, kind, ids, connections, pace }
}

/// The rows, in the order of every round.
#[rustfmt::skip]
pub const ROWS: [Row; 10] = [
    row("echo",                           Side::Echo,      Kind::Consume,      false, 64,  Pace::Closed),
    row("consume",                        Side::Metergate, Kind::Consume,      false, 64,  Pace::Closed),
    row("consume with id",                Side::Metergate, Kind::Consume,      true,  64,  Pace::Closed),
    row("echo",                           Side::Echo,      Kind::Consume,      false, 256, Pace::Closed),
    row("consume",                        Side::Metergate, Kind::Consume,      false, 256, Pace::Closed),
    row("consume with id",                Side::Metergate, Kind::Consume,      true,  256, Pace::Closed),
    row("events, batches of 1,000",       Side::Metergate, Kind::Events,       true,  16,  Pace::Closed),
    row("consume, arrays of 100",         Side::Metergate, Kind::ConsumeArray, false, 16,  Pace::Closed),
    row("echo at half the best rate",     Side::Echo,      Kind::Consume,      false, 64,  Pace::HalfOfBest),
    row("consume at half the best rate",  Side::Metergate, Kind::Consume,      false, 64,  Pace::HalfOfBest),
];

/// What one measurement of a row gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub report: Report,
    /// What the server had stored at its end, in bytes.
    pub stored: u64,
}

/// Every row once, and the disk of the same minute.
#[derive(Clone, Debug)]
pub struct Round {
    /// In the order of [`ROWS`].
    pub outcomes: Vec<Outcome>,
    /// What the disk alone took.
    pub sync: SyncTimes,
}

/// Measures all rounds, telling each figure on stderr as it comes.
///
/// # Errors
/// Where a server does not start, is not prepared, or answers nothing: the suite then has no table.
pub async fn run(suite: &Suite) -> Result<Vec<Round>, BenchError> {
    let mut rounds = Vec::new();
    for number in 1..=suite.rounds {
        eprintln!("round {number} of {}", suite.rounds);
        rounds.push(run_round(suite).await?);
    }
    Ok(rounds)
}

async fn run_round(suite: &Suite) -> Result<Round, BenchError> {
    let sync = measure_sync(&suite.parent)?;
    eprintln!("  fdatasync p50 {:?} p99 {:?}", sync.p50, sync.p99);
    let mut outcomes = Vec::new();
    for row in &ROWS {
        let outcome = measure(suite, row, best_rate(&outcomes)).await?;
        eprintln!("  {}: {}", row.name, outcome.report);
        outcomes.push(outcome);
    }
    Ok(Round { outcomes, sync })
}

/// The highest rate of a single consume among the rows measured so far.
fn best_rate(outcomes: &[Outcome]) -> f64 {
    let single = |row: &Row| row.side == Side::Metergate && row.kind == Kind::Consume && row.pace == Pace::Closed;
    let measured = ROWS.iter().zip(outcomes).filter(|(row, _)| single(row));
    measured.map(|(_, outcome)| outcome.report.operations_per_second).fold(0.0, f64::max)
}

async fn measure(suite: &Suite, row: &Row, best: f64) -> Result<Outcome, BenchError> {
    let server = ServerProcess::start(&suite.program(row.side), &suite.parent).await?;
    if row.side == Side::Metergate {
        prepare(server.address, &server.key, suite.organizations).await?;
    }
    let report = load::run(&suite.load(row, &server, best)).await?;
    Ok(Outcome { report, stored: server.stored_bytes() })
}

impl Suite {
    /// A suite's parent folder must exist before its first server.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it does not, or the binary does not.
    pub fn check(&self) -> Result<(), BenchError> {
        for path in [&self.metergate, &self.parent] {
            Path::metadata(path).map_err(BenchError::io(path.display().to_string()))?;
        }
        Ok(())
    }

    fn program(&self, side: Side) -> Program {
        match side {
            Side::Echo => Program::Echo,
            Side::Metergate => Program::Metergate { binary: self.metergate.clone(), settings: self.settings.clone() },
        }
    }

    fn load(&self, row: &Row, server: &ServerProcess, best: f64) -> Load {
        Load {
            target: server.address,
            workload: Workload {
                kind: row.kind,
                batch: row.kind.usual_batch(),
                organizations: self.organizations,
                meter: METER.into(),
                ids: row.ids,
                key: server.key.clone(),
            },
            connections: row.connections,
            rate: (row.pace == Pace::HalfOfBest).then_some(((best / 2.0) as u64).max(1)),
            warm_up: self.warm_up,
            window: self.window,
            count: None,
            pid: Some(server.pid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_single_consume_has_one_floor_and_nothing_else_has_any() {
        for row in &ROWS {
            let floors = ROWS.iter().filter(|other| other.is_floor_of(row)).count();
            let expected = usize::from(row.side == Side::Metergate && row.kind == Kind::Consume);
            assert_eq!(floors, expected, "{row:?}");
        }
    }
}
