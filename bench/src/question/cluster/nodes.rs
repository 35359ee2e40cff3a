//! Nodes on one PostgreSQL, started anew for each measurement.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::{CALLERS, Figures, ORGANIZATIONS};
use crate::error::BenchError;
use crate::home::Home;
use crate::load::{Load, run_beside};
use crate::postgres::Postgres;
use crate::proc::cpu_time;
use crate::process::{ADMIN_KEY, Program, ServerProcess};
use crate::redis::Redis;
use crate::setup::{METER, Target, WINDOWS};
use crate::suite::Suite;
use crate::workload::{Kind, Workload};

const DATABASE: &str = "metergate";
/// A meter of which every organization has used all that it may.
const SPENT: &str = "messages";
/// A meter of which nothing is recorded.
const UNRECORDED: &str = "pings";
/// Decisions in an array while preparing: each creates an organization, and all of them have seconds.
const AT_ONCE: u64 = 100;

/// What is asked of how many nodes.
#[derive(Clone, Copy)]
pub(super) struct Decisions {
    pub(super) name: &'static str,
    pub(super) nodes: usize,
    pub(super) meter: &'static str,
    /// Percent that go to one organization.
    pub(super) hot: u64,
    /// Whether the nodes have a Redis.
    pub(super) redis: bool,
}

impl Decisions {
    /// Over three windows, none of which is ever full.
    pub(super) const CONSUME: Self = Self { name: "consume", nodes: 1, meter: METER, hot: 0, redis: false };
    /// Each organization is over its limit, and PostgreSQL says so.
    pub(super) const REFUSED: Self = Self { name: "refused by PostgreSQL", meter: SPENT, ..Self::CONSUME };
    /// Over a minute, in Redis alone.
    pub(super) const COUNTED_IN_REDIS: Self =
        Self { name: "counted in Redis", meter: UNRECORDED, redis: true, ..Self::CONSUME };

    pub(super) fn is_consume(&self) -> bool {
        self.meter == METER
    }
}

/// Where nodes are started.
pub(super) struct Nodes<'a> {
    pub(super) suite: &'a Suite,
    pub(super) postgres: &'a Postgres,
    pub(super) redis: Option<&'a Redis>,
    /// The administrator's key of all of them.
    pub(super) key: String,
}

impl Nodes<'_> {
    /// Makes the database: plan and meters, every organization used once, and all of their one message spent.
    pub(super) async fn prepare(&self) -> Result<(), BenchError> {
        self.postgres.tell("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        let node = self.start(false, &[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]).await?;
        let target = Target { address: node.address, key: self.key.clone() };
        let unrecorded = json!({"aggregation": "sum", "record": false});
        target.call("PUT", &format!("/v1/meters/{UNRECORDED}"), &unrecorded).await?;
        let limit = |meter: &str, window: &str, max: u64| json!({"meter": meter, "window": window, "max": max, "enforcement": "hard"});
        let mut limits: Vec<_> = WINDOWS.iter().map(|window| limit(METER, window, 1_000_000_000)).collect();
        limits.push(limit(SPENT, "billingPeriod", 1));
        limits.push(limit(UNRECORDED, "minute", 1_000_000_000));
        target.call("PUT", "/v1/plans/free", &json!({"name": "Bench", "limits": limits})).await?;
        target.use_meter(METER, ORGANIZATIONS, AT_ONCE).await?;
        target.use_meter(SPENT, ORGANIZATIONS, AT_ONCE).await
    }

    async fn start(&self, with_redis: bool, more: &[(&str, &str)]) -> Result<ServerProcess, BenchError> {
        let database = self.postgres.url(DATABASE);
        let redis = self.redis.filter(|_| with_redis).map(Redis::url);
        let mut settings = self.suite.settings.clone();
        let own = [("METERGATE_DATABASE_URL", database.as_str()), (ADMIN_KEY, self.key.as_str())];
        let redis = redis.as_deref().map(|url| ("METERGATE_REDIS_URL", url));
        let all = own.iter().chain(more).copied().chain(redis);
        settings.extend(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let program = Program::Metergate { binary: self.suite.metergate.clone(), settings };
        ServerProcess::start(&program, Rc::new(Home::new(&self.suite.parent)?)).await
    }

    /// Measures once, on nodes of its own.
    pub(super) async fn measure(&self, asked: &Decisions) -> Result<Figures, BenchError> {
        let mut nodes = Vec::new();
        for _ in 0..asked.nodes {
            nodes.push(self.start(asked.redis, &[]).await?);
        }
        let load = Load {
            targets: nodes.iter().map(|node| node.address).collect(),
            workload: Workload {
                kind: Kind::Consume,
                batch: 1,
                organizations: ORGANIZATIONS,
                meter: asked.meter.into(),
                ids: false,
                hot: asked.hot,
                key: self.key.clone(),
            },
            connections: CALLERS,
            rate: None,
            warm_up: self.suite.warm_up,
            window: self.suite.window,
            count: None,
            pid: None,
        };
        let (report, before, after) = run_beside(&load, || self.cpu_times(&nodes, asked.redis)).await?;
        let cpu = std::array::from_fn(|part| {
            let used = after[part].zip(before[part]).map(|(after, before)| after.saturating_sub(before));
            used.and_then(|used| report.micros_each(used)).unwrap_or(f64::NAN)
        });
        let (p50, p99) = (report.latency_ms.p50, report.latency_ms.p99);
        let allowed = report.operations - report.refused;
        let unwanted = if asked.meter == SPENT { allowed } else { report.refused };
        let amiss = unwanted + report.failed + report.broken;
        Ok(Figures { rate: report.operations_per_second, p50, p99, cpu, amiss })
    }

    /// Of the nodes, of PostgreSQL, and of the Redis where they have one.
    fn cpu_times(&self, nodes: &[ServerProcess], with_redis: bool) -> Result<[Option<Duration>; 3], BenchError> {
        let of_nodes = nodes.iter().map(|node| cpu_time(node.pid())).sum::<Result<Duration, _>>()?;
        let redis = self.redis.filter(|_| with_redis).map(Redis::cpu_time).transpose()?;
        Ok([Some(of_nodes), Some(self.postgres.cpu_time()?), redis])
    }
}
