//! One measurement's figures.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::load::Load;
use crate::recorder::Measured;
use crate::workload::Kind;

/// One measurement's figures, with the conditions without which they say nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The kind of request.
    pub workload: Kind,
    /// Connections kept open.
    pub connections: u64,
    /// Requests a second, where the rate was fixed; otherwise each connection asked again once answered.
    pub rate: Option<u64>,
    /// Decisions or events in a request.
    pub batch: u64,
    /// Organizations over which requests were spread.
    pub organizations: u64,
    /// Whether each operation had an id of its own.
    pub ids: bool,
    /// Length of the measured window.
    pub seconds: f64,
    /// Requests answered in it.
    pub requests: u64,
    /// Operations (decisions, events) answered in it: accepted and refused.
    pub operations: u64,
    /// Operations a second.
    pub operations_per_second: f64,
    /// Latency of a request.
    pub latency_ms: LatencyMs,
    /// CPU time of the server for an operation in microseconds, where its process id was given.
    pub cpu_micros: Option<f64>,
    /// Decisions refused; events that were duplicates or rejected.
    pub refused: u64,
    /// Operations not answered.
    pub failed: u64,
    /// Answers with a status other than 2xx.
    pub non_2xx: u64,
    /// Exchanges that broke, and requests due that never ended.
    pub broken: u64,
    /// What the first broken exchange died of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_break: Option<String>,
    /// Bytes of an answer with its head, on average.
    pub answer_bytes: f64,
}

/// Quantiles of the latency in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyMs {
    /// The median.
    pub p50: f64,
    /// Nine of ten are faster.
    pub p90: f64,
    /// 99 of a hundred are faster.
    pub p99: f64,
    /// 999 of a thousand are faster.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Report {
    /// The figures of `measured` in a window of `window`, without CPU time.
    pub fn new(load: &Load, measured: Measured, window: Duration, unfinished: u64) -> Self {
        let operations = measured.accepted + measured.refused;
        let seconds = window.as_secs_f64();
        Self {
            workload: load.workload.kind,
            connections: load.connections,
            rate: load.rate,
            batch: load.workload.batch,
            organizations: load.workload.organizations,
            ids: load.workload.ids || load.workload.kind == Kind::Events,
            seconds,
            requests: measured.requests,
            operations,
            operations_per_second: operations as f64 / seconds,
            latency_ms: LatencyMs::of(&measured),
            cpu_micros: None,
            refused: measured.refused,
            failed: measured.failed,
            non_2xx: measured.non_2xx,
            broken: measured.broken + unfinished,
            first_break: measured.first_break,
            answer_bytes: measured.bytes as f64 / measured.requests.max(1) as f64,
        }
    }

    /// What each operation took of a time, in microseconds; nothing where there was none.
    pub fn micros_each(&self, time: Duration) -> Option<f64> {
        (self.operations > 0).then(|| time.as_secs_f64() * 1e6 / self.operations as f64)
    }

    /// Operations that did not end as asked. With any, a throughput or a latency is not what it seems.
    pub const fn not_accepted(&self) -> u64 {
        self.refused + self.failed + self.broken
    }
}

impl LatencyMs {
    fn of(measured: &Measured) -> Self {
        let at = |quantile| measured.latency.value_at_quantile(quantile) as f64 / 1e6;
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: measured.latency.max() as f64 / 1e6 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LatencyMs { p50, p90, p99, p999, max } = self.latency_ms;
        write!(f, "{:?}", self.workload)?;
        match self.rate {
            Some(rate) => write!(f, " at {rate}/s")?,
            None => write!(f, " closed loop")?,
        }
        write!(f, " c={} batch={} ids={}: ", self.connections, self.batch, self.ids)?;
        write!(f, "{:.0} ops/s, p50 {p50:.3} p90 {p90:.3} p99 {p99:.3} ", self.operations_per_second)?;
        write!(f, "p99.9 {p999:.3} max {max:.3} ms, ")?;
        if let Some(cpu) = self.cpu_micros {
            write!(f, "cpu {cpu:.2} µs/op, ")?;
        }
        write!(f, "answer {:.0} B; refused {} failed {} ", self.answer_bytes, self.refused, self.failed)?;
        write!(f, "non-2xx {} broken {}", self.non_2xx, self.broken)?;
        self.first_break.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}
