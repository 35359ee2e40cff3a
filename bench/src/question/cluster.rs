//! Nodes that share a PostgreSQL, beside what that PostgreSQL does by itself (S8), and what a Redis beside it spares it and carries.

use super::{Answer, curves};
use crate::chart::{Scale, Series};
use crate::disk::{SyncTimes, measure_sync};
use crate::error::BenchError;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::sheet::millis;
use crate::spread::{Spread, shown, thousands};
use crate::stock::Stores;
use crate::suite::Suite;
use crate::table::{NONE, Table};
use crate::target::{Bound, line};
use nodes::{Decisions, Nodes};

mod function;
mod nodes;

/// Organizations on the plan; callers of the nodes, all of them together.
const ORGANIZATIONS: u64 = 1000;
const CALLERS: u64 = 256;
/// Percent of a hot organization's share.
const HOT: u64 = 90;
/// Clients of `pgbench`, among which its best number is sought; as many of a hot organization as do best on a spread load.
const CLIENTS: [u64; 4] = [8, 16, 32, 64];
const CLIENTS_OF_HOT: u64 = 16;
const NODES: [usize; 3] = [1, 2, 3];
/// What one node has to do, in times of the function.
const TIMES: f64 = 3.0;

/// One row of the table.
#[derive(Clone, Copy)]
enum Row {
    /// PostgreSQL's own, with so many clients.
    Function { clients: u64, hot: bool },
    /// Asked of nodes.
    Decisions(Decisions),
}

/// What a row gave once.
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of CPU for an operation: all nodes, PostgreSQL, Redis. Not a number where there is none of it.
    cpu: [f64; 3],
    /// Operations that did not end as they should.
    amiss: u64,
}

type Figure = fn(&Figures) -> f64;

/// What was measured: the rows of each round, and the disk beside them.
struct Measured {
    rows: Vec<Row>,
    rounds: Vec<(SyncTimes, Vec<Figures>)>,
    version: String,
}

pub(super) async fn ask(suite: &Suite, _stores: &mut Stores) -> Result<Answer, BenchError> {
    let postgres = Postgres::start(&suite.parent).await?;
    let redis = Redis::start(&suite.parent).await?;
    let nodes = Nodes { suite, postgres: &postgres, redis: redis.as_ref(), key: crate::process::new_key() };
    function::prepare(&postgres).await?;
    nodes.prepare().await?;
    let mut measured = Measured { rows: rows(redis.is_some()), rounds: Vec::new(), version: postgres.version() };
    for number in 1..=suite.rounds {
        eprintln!("  round {number} of {}", suite.rounds);
        let sync = measure_sync(&suite.parent)?;
        let mut round = Vec::new();
        for row in &measured.rows {
            // So that no row pays for the pages that another has left to be written.
            postgres.tell("postgres", "CHECKPOINT").await?;
            let figures = match row {
                Row::Function { clients, hot } => function::measure(suite, &postgres, *clients, *hot).await?,
                Row::Decisions(decisions) => nodes.measure(decisions).await?,
            };
            figures.tell(row);
            round.push(figures);
        }
        measured.rounds.push((sync, round));
    }
    Ok(measured.answer(suite))
}

fn rows(with_redis: bool) -> Vec<Row> {
    let function = CLIENTS.map(|clients| Row::Function { clients, hot: false });
    let mut rows = Vec::from(function);
    rows.push(Row::Function { clients: CLIENTS_OF_HOT, hot: true });
    for nodes in NODES {
        let spread = Decisions { nodes, ..Decisions::CONSUME };
        rows.push(Row::Decisions(spread));
        rows.push(Row::Decisions(Decisions { name: "consume, hot", hot: HOT, ..spread }));
    }
    rows.push(Row::Decisions(Decisions::REFUSED));
    if with_redis {
        for nodes in [1, 2] {
            let early = Decisions { name: "refused early, by Redis", nodes, redis: true, ..Decisions::REFUSED };
            rows.push(Row::Decisions(early));
            rows.push(Row::Decisions(Decisions { nodes, ..Decisions::COUNTED_IN_REDIS }));
        }
    }
    rows
}

impl Row {
    fn name(&self) -> String {
        match self {
            Self::Function { hot: false, .. } => "PostgreSQL's function".into(),
            Self::Function { hot: true, .. } => "PostgreSQL's function, hot".into(),
            Self::Decisions(decisions) => decisions.name.into(),
        }
    }

    /// With how many there were of whoever asked.
    fn label(&self) -> String {
        match self {
            Self::Function { clients, .. } => format!("{}, {clients} clients", self.name()),
            Self::Decisions(Decisions { nodes: 1, .. }) => format!("{}, 1 node", self.name()),
            Self::Decisions(Decisions { nodes, .. }) => format!("{}, {nodes} nodes", self.name()),
        }
    }
}

impl Figures {
    fn tell(&self, row: &Row) {
        let Self { rate, p50, p99, cpu: [nodes, postgres, redis], amiss } = self;
        eprintln!(
            "    {}: {rate:.0}/s, p50 {p50:.2} p99 {p99:.2} ms, CPU µs {nodes:.1} {postgres:.1} {redis:.1}, amiss {amiss}",
            row.label()
        );
    }
}

impl Measured {
    fn of(&self, row: usize, figure: Figure) -> impl Iterator<Item = f64> {
        self.rounds.iter().map(move |(_, round)| figure(&round[row]))
    }

    fn answer(&self, suite: &Suite) -> Answer {
        let mut table = Table::new(&[
            "what",
            "nodes",
            "callers",
            "ops/s",
            "p50 ms",
            "p99 ms",
            "CPU µs/op, nodes",
            "PostgreSQL",
            "Redis",
            "not as asked",
        ]);
        for index in 0..self.rows.len() {
            table.push(self.cells(index));
        }
        let text = format!("{}\n{}", table.markdown(), self.below(suite));
        let x = || ("nodes", Scale::Linear);
        let panels = vec![
            curves(x(), ("operations/s", Scale::Linear), self.series(|figures| figures.rate)),
            curves(x(), ("CPU µs of PostgreSQL for each", Scale::Linear), self.series(|figures| figures.cpu[1])),
        ];
        Answer::new(suite, "Nodes that share a PostgreSQL", &text, &self.targets(), panels)
    }

    /// A curve over the number of nodes for each name; the function at its best stands beside each number.
    fn series(&self, figure: Figure) -> Vec<Series> {
        let mut series: Vec<Series> = Vec::new();
        for (index, row) in self.rows.iter().enumerate() {
            let Row::Decisions(Decisions { name, nodes, .. }) = row else { continue };
            let Some(spread) = Spread::of(self.of(index, figure)) else { continue };
            let point = (*nodes as f64, spread);
            match series.iter_mut().find(|one| one.name == *name) {
                Some(known) => known.points.push(point),
                None => series.push(Series { name: (*name).into(), points: vec![point] }),
            }
        }
        let best = self.rounds.iter().filter_map(|(_, round)| self.best_of_function(round)).map(figure);
        let best = Spread::of(best).map(|best| NODES.map(|nodes| (nodes as f64, best)).to_vec());
        series.push(Series { name: "PostgreSQL's function".into(), points: best.unwrap_or_default() });
        series
    }

    fn cells(&self, index: usize) -> Vec<String> {
        let (nodes, callers) = match &self.rows[index] {
            Row::Function { clients, .. } => (NONE.to_owned(), *clients),
            Row::Decisions(decisions) => (decisions.nodes.to_string(), CALLERS),
        };
        let figures = |figure: Figure, digits| shown(self.of(index, figure), digits);
        let amiss = self.rounds.iter().map(|(_, round)| round[index].amiss).sum();
        vec![
            self.rows[index].name(),
            nodes,
            callers.to_string(),
            figures(|figures| figures.rate, 0),
            figures(|figures| figures.p50, 2),
            figures(|figures| figures.p99, 2),
            figures(|figures| figures.cpu[0], 1),
            figures(|figures| figures.cpu[1], 1),
            figures(|figures| figures.cpu[2], 1),
            thousands(amiss),
        ]
    }

    fn below(&self, suite: &Suite) -> String {
        let sync = |time: fn(&SyncTimes) -> f64| shown(self.rounds.iter().map(|(sync, _)| time(sync)), 2);
        let redis =
            if self.rows.len() == rows(true).len() { "" } else { " No Redis is installed: its rows are missing." };
        format!(
            "Median (least–most) of {} interleaved rounds with windows of {} s after {} s, over {} organizations; hot: {HOT} % on one. One \
             PostgreSQL {} with its own settings on the same disk and cores, a checkpoint before each row, nodes started anew for each. The \
             function locks and checks a month and a day (one window fewer than a decision of Metergate) and inserts an event, called by \
             `pgbench` with prepared statements; the CPU for its connections is counted with it. Refused: every organization is over its \
             limit. Redis writes nothing to the disk. The disk alone, 4 KiB appended and fdatasync, ms: p50 {}, p99 {}.{redis}\n",
            self.rounds.len(),
            suite.window.as_secs_f64(),
            suite.warm_up.as_secs_f64(),
            thousands(ORGANIZATIONS),
            self.version,
            sync(|sync| millis(sync.p50)),
            sync(|sync| millis(sync.p99)),
        )
    }

    fn targets(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for nodes in NODES {
            let find = |hot: u64| {
                let is = |one: &Decisions| one.is_consume() && one.nodes == nodes && one.hot == hot;
                self.rows.iter().position(|row| matches!(row, Row::Decisions(one) if is(one)))
            };
            let (Some(spread), Some(hot)) = (find(0), find(HOT)) else { continue };
            let what =
                format!("S8, decisions/s, nodes: {nodes}, to the PostgreSQL function at its best number of clients");
            let rounds = self.rounds.iter().map(|(_, round)| round);
            let best = |round: &[Figures]| self.best_of_function(round).map_or(f64::NAN, |best| best.rate);
            let times = rounds.clone().map(|round: &Vec<Figures>| round[spread].rate / best(round));
            lines.push(line(&what, times, 2, Bound::AtLeast(TIMES)));
            let what = format!("S8, decisions/s, nodes: {nodes}, hot to spread");
            lines.push(line(&what, rounds.map(|round| round[hot].rate / round[spread].rate), 2, Bound::AtLeast(1.0)));
        }
        lines
    }

    fn best_of_function<'a>(&self, round: &'a [Figures]) -> Option<&'a Figures> {
        let rows = self.rows.iter().zip(round);
        let spread = rows.filter(|(row, _)| matches!(row, Row::Function { hot: false, .. }));
        spread.map(|(_, figures)| figures).max_by(|one, other| one.rate.total_cmp(&other.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_held_against_the_function_at_its_best_and_a_hot_load_against_a_spread_one() {
        let mut measured = Measured { rows: rows(false), rounds: Vec::new(), version: "15".into() };
        let sync = SyncTimes { p50: std::time::Duration::ZERO, p99: std::time::Duration::ZERO };
        let rate = |row: &Row| match row {
            Row::Function { clients, hot } => {
                if *hot {
                    1e9
                } else {
                    1000.0 + *clients as f64 % 60.0
                }
            }
            Row::Decisions(decisions) => {
                if decisions.hot > 0 {
                    2016.0
                } else {
                    4032.0
                }
            }
        };
        let figures = |row| Figures { rate: rate(row), p50: 1.0, p99: 1.0, cpu: [f64::NAN; 3], amiss: 0 };
        let round = measured.rows.iter().map(figures).collect();
        measured.rounds.push((sync, round));
        let lines = measured.targets();
        assert_eq!(lines.len(), 2 * NODES.len());
        assert!(lines[0].ends_with("number of clients: 3.91, at least 3.00: met\n"), "{}", lines[0]);
        assert!(lines[1].ends_with("hot to spread: 0.50, at least 1.00: **missed**\n"), "{}", lines[1]);
        let names: Vec<String> = measured.series(|figures| figures.rate).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["consume", "consume, hot", "refused by PostgreSQL", "PostgreSQL's function"]);
        assert_eq!(rows(true).len(), rows(false).len() + 4);
    }
}
