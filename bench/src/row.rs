//! One row of a table: what is asked of which server, and what came of it.

use std::rc::Rc;

use crate::error::BenchError;
use crate::home::Home;
use crate::load::{self, Load};
use crate::process::ServerProcess;
use crate::report::Report;
use crate::setup::METER;
use crate::stock::{Stock, Stores};
use crate::suite::Suite;
use crate::workload::{Kind, Workload};

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
    /// At so many percent of the highest rate that a single consume has reached in the same round: for the latency.
    Percent(u64),
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called, in the table and in the legend of a chart.
    pub name: &'static str,
    /// Which server it measures.
    pub side: Side,
    /// What it asks.
    pub kind: Kind,
    /// Whether decisions carry ids.
    pub ids: bool,
    /// Decisions or events in a request.
    pub batch: u64,
    /// Over how many connections.
    pub connections: u64,
    /// How fast.
    pub pace: Pace,
    /// What the server has stored.
    pub stock: Stock,
    /// Whether every organization is used once more before the measurement, so that none is met for the first time.
    pub in_use: bool,
}

impl Row {
    /// Single decisions over 64 connections, 10,000 organizations.
    pub const CONSUME: Self = Self {
        name: "consume",
        side: Side::Metergate,
        kind: Kind::Consume,
        ids: false,
        batch: 1,
        connections: 64,
        pace: Pace::Closed,
        stock: Stock::of(10_000),
        in_use: false,
    };
    /// The same, each with an id.
    pub const CONSUME_WITH_ID: Self = Self { name: "consume with id", ids: true, ..Self::CONSUME };
    /// The floor.
    pub const ECHO: Self = Self { name: "echo", side: Side::Echo, ..Self::CONSUME };
    /// Batches of events over 16 connections.
    pub const EVENTS: Self =
        Self { name: "events", kind: Kind::Events, ids: true, batch: 1000, connections: 16, ..Self::CONSUME };
    /// Arrays of decisions over 16 connections.
    pub const ARRAY: Self =
        Self { name: "consume, arrays", kind: Kind::ConsumeArray, batch: 100, connections: 16, ..Self::CONSUME };

    /// Whether `self` is the floor that `row` is compared with: as many connections at the same pace.
    pub fn is_floor_of(&self, row: &Self) -> bool {
        let single = row.kind == Kind::Consume && row.side == Side::Metergate;
        single && self.side == Side::Echo && self.connections == row.connections && self.pace == row.pace
    }

    /// Whether it is single decisions as fast as they go: the highest rate.
    pub fn is_for_best(&self) -> bool {
        self.side == Side::Metergate && self.kind == Kind::Consume && self.pace == Pace::Closed
    }

    fn load(&self, suite: &Suite, server: &ServerProcess, best: f64) -> Load {
        let rate = match self.pace {
            Pace::Closed => None,
            Pace::Percent(percent) => Some(((best * percent as f64 / 100.0) as u64).max(1)),
        };
        Load {
            targets: vec![server.address],
            workload: Workload {
                kind: self.kind,
                batch: self.batch,
                organizations: self.stock.organizations,
                meter: METER.into(),
                ids: self.ids,
                hot: 0,
                key: server.key.clone(),
            },
            connections: self.connections,
            rate,
            warm_up: suite.warm_up,
            window: suite.window,
            count: None,
            pid: Some(server.pid()),
        }
    }

    /// Measures it once on a running server, as fast as it goes.
    ///
    /// # Errors
    /// Where the server answers nothing.
    pub async fn load_on(&self, suite: &Suite, server: &ServerProcess) -> Result<Report, BenchError> {
        load::run(&self.load(suite, server, f64::NAN)).await
    }

    /// Measures it once on a server of its own. `best` is the highest rate so far.
    ///
    /// # Errors
    /// Where the server does not start, is not prepared, or answers nothing.
    pub async fn measure(&self, suite: &Suite, stores: &mut Stores, best: f64) -> Result<Outcome, BenchError> {
        let server = match self.side {
            Side::Echo => ServerProcess::start(&suite.program(Side::Echo), Rc::new(Home::new(&suite.parent)?)).await?,
            Side::Metergate => suite.serve(stores, self.stock).await?,
        };
        if self.in_use {
            server.target().use_each(self.stock.organizations).await?;
        }
        let report = load::run(&self.load(suite, &server, best)).await?;
        Ok(Outcome { report, stored: server.home.stored_bytes() })
    }
}

/// What one measurement of a row gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub report: Report,
    /// What the server had stored at its end, in bytes.
    pub stored: u64,
}

impl Outcome {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.report.operations_per_second
    }

    /// CPU time of the server for an operation, in microseconds.
    pub fn cpu(&self) -> f64 {
        self.report.cpu_micros.unwrap_or(f64::NAN)
    }

    /// The 99th percentile of a request's latency, in milliseconds.
    pub fn p99(&self) -> f64 {
        self.report.latency_ms.p99
    }
}
