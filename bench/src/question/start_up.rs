//! Time from the start of the process to its first answer that it is ready (S6), also after a kill.

use std::rc::Rc;
use std::time::Duration;

use super::ids::IDS;
use super::{Answer, bars};
use crate::chart::Series;
use crate::error::BenchError;
use crate::home::Home;
use crate::load::{self, Load};
use crate::process::ServerProcess;
use crate::row::{Row, Side};
use crate::setup::METER;
use crate::spread::{Spread, bytes, shown, thousands};
use crate::stock::{Stock, Stores};
use crate::suite::Suite;
use crate::table::{NONE, Table};
use crate::target::{Bound, line};
use crate::workload::Workload;

/// Decisions before the kill, evenly over all organizations: as many as the rows may be behind the journal.
const BEFORE_KILL: u64 = 5_000_000;
/// Where they take longer, the kill comes then.
const KILLED_AFTER: Duration = Duration::from_secs(60);

/// A folder that a server is started on.
struct Case {
    name: String,
    stock: Stock,
    /// Decisions since which nothing was stopped in order.
    behind: u64,
    /// The folder of a server that was killed; it is copied for each start, which would mend it.
    killed: Option<Rc<Home>>,
}

/// What one start took, and what it started on.
struct Start {
    warm: Duration,
    cold: Duration,
    stored: u64,
}

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let mut cases = Vec::new();
    let (many, ids) = (suite.stock(1_000_000, 0), IDS.map(|ids| suite.stock(10_000, ids)));
    for stock in [ids[0], many, ids[1], ids[2]] {
        let name = if stock.ids > 0 { format!("{} ids", thousands(stock.ids)) } else { organizations(stock) };
        cases.push(Case { name, stock, behind: 0, killed: None });
    }
    let (home, behind) = killed(suite, stores, many).await?;
    cases.push(Case { name: format!("{}, killed", organizations(many)), stock: many, behind, killed: Some(home) });
    let mut rounds: Vec<Vec<Start>> = Vec::new();
    for number in 1..=suite.few_rounds() {
        let mut round = Vec::new();
        for case in &cases {
            let start = Start::of(case, suite, stores).await?;
            eprintln!("  round {number}: {}: warm {:?}, cold {:?}", case.name, start.warm, start.cold);
            round.push(start);
        }
        rounds.push(round);
    }
    Ok(answer(suite, &cases, &rounds))
}

fn organizations(stock: Stock) -> String {
    format!("{} organizations", thousands(stock.organizations))
}

/// The folder of a server that was killed amid decisions over all its organizations, and how many it had taken.
async fn killed(suite: &Suite, stores: &mut Stores, stock: Stock) -> Result<(Rc<Home>, u64), BenchError> {
    let home = Rc::new(stores.prepared(stock).await?.copy(&suite.parent)?);
    let server = ServerProcess::start(&suite.program(Side::Metergate), home).await?;
    let Row { kind, batch, connections, ids, .. } = Row::ARRAY;
    let organizations = stock.organizations;
    let load = Load {
        targets: vec![server.address],
        workload: Workload { kind, batch, organizations, meter: METER.into(), ids, hot: 0, key: server.key.clone() },
        connections,
        rate: None,
        warm_up: Duration::ZERO,
        window: KILLED_AFTER,
        count: Some(BEFORE_KILL / suite.shrink / batch),
        pid: Some(server.pid()),
    };
    let report = load::run(&load).await?;
    eprintln!("  before the kill: {report}");
    Ok((server.kill()?, report.operations))
}

impl Start {
    /// A start with the store in the page cache, and one without.
    async fn of(case: &Case, suite: &Suite, stores: &mut Stores) -> Result<Self, BenchError> {
        let mut took = [Duration::ZERO; 2];
        let mut stored = 0;
        for (took, is_cold) in took.iter_mut().zip([false, true]) {
            let home = match &case.killed {
                Some(home) => Rc::new(home.copy(&suite.parent)?),
                None => stores.open(case.stock).await?,
            };
            stored = home.stored_bytes();
            if is_cold {
                home.forget_cached()?;
            }
            *took = ServerProcess::start(&suite.program(Side::Metergate), home).await?.ready_after;
        }
        Ok(Self { warm: took[0], cold: took[1], stored })
    }
}

fn answer(suite: &Suite, cases: &[Case], rounds: &[Vec<Start>]) -> Answer {
    let names = ["organizations", "known ids", "decisions before the kill", "stored", "warm s", "cold s"];
    let mut table = Table::new(&names);
    let figures = |index: usize, figure: fn(&Start) -> Duration| {
        rounds.iter().map(move |round| figure(&round[index]).as_secs_f64())
    };
    let warm: fn(&Start) -> Duration = |start| start.warm;
    let cold: fn(&Start) -> Duration = |start| start.cold;
    let mut targets = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        table.push(vec![
            thousands(case.stock.organizations),
            thousands(case.stock.ids),
            if case.killed.is_some() { thousands(case.behind) } else { NONE.into() },
            rounds.first().map_or(NONE.into(), |round| bytes(round[index].stored)),
            shown(figures(index, warm), 2),
            shown(figures(index, cold), 2),
        ]);
        let what = format!("S6, seconds until ready, {}", case.name);
        targets.push(line(&what, figures(index, warm), 2, Bound::AtMost(5.0)));
    }
    let series = |name: &str, figure| Series {
        name: name.into(),
        points: (0..cases.len())
            .filter_map(|index| Some((index as f64, Spread::of(figures(index, figure))?)))
            .collect(),
    };
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    let series = vec![series("store in the page cache", warm), series("store not in the page cache", cold)];
    let how = format!(
        "Median (least–most) of {} rounds. From starting the process to its first 200 of `/readyz`, asked every 2 ms. Cold: the kernel was asked to \
         forget the files first. Killed: `kill -9` under arrays of decisions over all organizations; each start on a copy.",
        rounds.len()
    );
    let table = format!("{}\n{how}\n", table.markdown());
    Answer::new(suite, "Seconds until ready", &table, &targets, vec![bars("seconds", &names, series)])
}
