//! One server under an even load for long: what grows, and what does not.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::error::BenchError;
use crate::load::{self, Driving, Load};
use crate::proc::{cpu_time, memory};
use crate::process::ServerProcess;
use crate::recorder::Measured;
use crate::row::Row;
use crate::setup::METER;
use crate::stock::{Stock, Stores};
use crate::suite::Suite;
use crate::workload::Workload;

pub mod verdict;

/// How long the highest rate is looked for, where no rate is given, after how long a warm-up.
const SOUGHT_FOR: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// Left out before the first sample.
const WARM_UP: Duration = Duration::from_secs(10);

/// What to ask for how long.
#[derive(Clone, Debug)]
pub struct Soak {
    /// From the first sample to the last.
    pub length: Duration,
    /// From one sample to the next.
    pub every: Duration,
    /// Requests a second; without it `percent` of the highest rate.
    pub rate: Option<u64>,
    /// Of the highest rate.
    pub percent: u64,
    /// Connections kept open.
    pub connections: u64,
    /// Organizations, spread over evenly.
    pub organizations: u64,
    /// Whether every decision has an id.
    pub ids: bool,
}

/// What was seen between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Since the first sample began.
    pub at: Duration,
    /// Decisions a second.
    pub rate: f64,
    /// Decisions since the first sample began.
    pub operations: u64,
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p99: f64,
    /// CPU time of the server for a decision, in microseconds.
    pub cpu: f64,
    /// Memory of the server, in bytes.
    pub resident: u64,
    /// All files of the store, in bytes.
    pub stored: u64,
    /// Decisions that did not end as asked.
    pub not_accepted: u64,
}

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Soaked {
    /// What was asked.
    pub soak: Soak,
    /// Requests a second that were due.
    pub rate: u64,
    /// The samples, in order.
    pub samples: Vec<Sample>,
}

/// Loads a server and looks at it again and again.
///
/// # Errors
/// Where the server does not start or answers nothing; [`BenchError::Overloaded`] where it falls far behind.
pub async fn run(suite: &Suite, stores: &mut Stores, soak: Soak) -> Result<Soaked, BenchError> {
    let rate = match soak.rate {
        Some(rate) => rate,
        None => (highest_rate(suite, stores, &soak).await? * soak.percent as f64 / 100.0) as u64,
    };
    eprintln!("  {rate} decisions a second for {:?}", soak.length);
    let server = suite.serve(stores, Stock::of(soak.organizations)).await?;
    let driving = Driving::start(&soak.load(&server, Some(rate))).await?;
    tokio::time::sleep(WARM_UP.min(soak.length)).await;
    let samples = samples(&soak, &server, &driving).await?;
    driving.recorder().close_window();
    driving.end().await?;
    Ok(Soaked { soak, rate, samples })
}

async fn highest_rate(suite: &Suite, stores: &mut Stores, soak: &Soak) -> Result<f64, BenchError> {
    let server = suite.serve(stores, Stock::of(soak.organizations)).await?;
    let (window, warm_up) = SOUGHT_FOR;
    let report = load::run(&Load { window, warm_up, ..soak.load(&server, None) }).await?;
    eprintln!("  highest rate: {report}");
    Ok(report.operations_per_second)
}

async fn samples(soak: &Soak, server: &ServerProcess, driving: &Driving) -> Result<Vec<Sample>, BenchError> {
    let recorder = driving.recorder();
    let began = recorder.open_window();
    let (mut from, mut cpu, mut samples) = (began, cpu_time(server.pid())?, Vec::new());
    let mut operations = 0;
    while began.elapsed() < soak.length {
        // The pacer gives up where the server falls far behind; why is told when the driving ends.
        if timeout(soak.every, recorder.enough()).await.is_ok() {
            break;
        }
        let (measured, now, cpu_now) = (recorder.lap(), Instant::now(), cpu_time(server.pid())?);
        operations += measured.accepted;
        let sample = Sample {
            at: now.duration_since(began),
            operations,
            resident: memory(server.pid())?.resident,
            stored: server.home.stored_bytes(),
            ..Sample::of(&measured, now.duration_since(from), cpu_now.saturating_sub(cpu))
        };
        sample.tell();
        samples.push(sample);
        (from, cpu) = (now, cpu_now);
    }
    Ok(samples)
}

impl Soak {
    fn load(&self, server: &ServerProcess, rate: Option<u64>) -> Load {
        let Row { kind, batch, .. } = Row::CONSUME;
        let organizations = self.organizations;
        Load {
            targets: vec![server.address],
            workload: Workload {
                kind,
                batch,
                organizations,
                meter: METER.into(),
                ids: self.ids,
                hot: 0,
                key: server.key.clone(),
            },
            connections: self.connections,
            rate,
            warm_up: Duration::ZERO,
            window: self.length,
            count: None,
            pid: Some(server.pid()),
        }
    }
}

impl Sample {
    /// What the connections saw in `window`, in which the server used `cpu`.
    fn of(measured: &Measured, window: Duration, cpu: Duration) -> Self {
        let quantile = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e6;
        Self {
            at: window,
            rate: measured.accepted as f64 / window.as_secs_f64(),
            operations: measured.accepted,
            p50: quantile(0.5),
            p99: quantile(0.99),
            cpu: cpu.as_secs_f64() * 1e6 / measured.accepted.max(1) as f64,
            resident: 0,
            stored: 0,
            not_accepted: measured.refused + measured.failed + measured.broken,
        }
    }

    fn tell(&self) {
        let Self { at, rate, p50, p99, cpu, resident, stored, .. } = self;
        eprintln!(
            "  {:5.0} s: {rate:.0}/s, p50 {p50:.2} p99 {p99:.2} ms, {cpu:.1} µs, {} MB in memory, {} MB stored",
            at.as_secs_f64(),
            resident / 1_000_000,
            stored / 1_000_000
        );
    }
}
