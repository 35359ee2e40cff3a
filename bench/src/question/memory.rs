//! Memory per organization and per known id (S6): differences of what the process holds between two stocks.

use super::ids::IDS;
use super::{Answer, bars};
use crate::chart::Series;
use crate::error::BenchError;
use crate::proc::{Memory, memory};
use crate::process::QUIET;
use crate::spread::{Spread, shown, thousands};
use crate::stock::{Stock, Stores};
use crate::suite::Suite;
use crate::table::{NONE, Table};
use crate::target::{Bound, line};

/// A state of which the memory is read.
struct Case {
    stock: Stock,
    /// Whether every organization has been used since the start.
    in_use: bool,
    /// The case before it from which it differs by organizations or ids alone.
    base: Option<usize>,
}

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let (few, many) = (Stock::of(1000), suite.stock(1_000_000, 0));
    let stocks = IDS.map(|ids| suite.stock(10_000, ids));
    let case = |stock, in_use, base| Case { stock, in_use, base };
    let cases = [
        case(few, false, None),
        case(many, false, Some(0)),
        case(few, true, None),
        case(many, true, Some(2)),
        case(stocks[0], false, None),
        case(stocks[1], false, Some(4)),
        case(stocks[2], false, Some(5)),
    ];
    let mut rounds: Vec<Vec<Held>> = Vec::new();
    for number in 1..=suite.few_rounds() {
        let mut round = Vec::new();
        for case in &cases {
            let held = held(suite, stores, case).await?;
            eprintln!("  round {number}: {:?} {}: {held:?}", case.stock, in_use(case));
            round.push(held);
        }
        rounds.push(round);
    }
    Ok(answer(suite, &cases, &rounds))
}

/// What a server held once.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: Memory,
    stored: u64,
}

impl Held {
    const fn resident(&self) -> f64 {
        self.memory.resident as f64
    }
}

async fn held(suite: &Suite, stores: &mut Stores, case: &Case) -> Result<Held, BenchError> {
    let server = suite.serve(stores, case.stock).await?;
    if case.in_use {
        server.target().use_each(case.stock.organizations).await?;
    }
    server.quiet().await?;
    Ok(Held { memory: memory(server.pid())?, stored: server.home.stored_bytes() })
}

const fn in_use(case: &Case) -> &'static str {
    if case.in_use { "each used since the start" } else { "after a start" }
}

/// What one organization or id more takes, in bytes, in every round.
fn each(cases: &[Case], rounds: &[Vec<Held>], index: usize) -> Option<(bool, Vec<f64>)> {
    let (stock, base) = (cases[index].stock, cases[index].base?);
    let by_organization = stock.organizations > cases[base].stock.organizations;
    let more = if by_organization {
        stock.organizations - cases[base].stock.organizations
    } else {
        stock.ids - cases[base].stock.ids
    };
    let of = |round: &Vec<Held>| (round[index].resident() - round[base].resident()) / more as f64;
    Some((by_organization, rounds.iter().map(of).collect()))
}

fn answer(suite: &Suite, cases: &[Case], rounds: &[Vec<Held>]) -> Answer {
    let mut table = Table::new(&[
        "state",
        "organizations",
        "known ids",
        "stored MB",
        "resident MB",
        "anonymous MB",
        "bytes per organization",
        "bytes per known id",
    ]);
    let (mut targets, mut per) = (Vec::new(), [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())]);
    for (index, case) in cases.iter().enumerate() {
        let megabytes = |figure: fn(&Held) -> u64| shown(rounds.iter().map(|r| figure(&r[index]) as f64 / 1e6), 1);
        let each = each(cases, rounds, index);
        let cell = |organizations: bool| {
            let fits = each.as_ref().filter(|(by_organization, _)| *by_organization == organizations);
            fits.map_or(NONE.into(), |(_, bytes)| shown(bytes.iter().copied(), 1))
        };
        table.push(vec![
            in_use(case).into(),
            thousands(case.stock.organizations),
            thousands(case.stock.ids),
            megabytes(|held| held.stored),
            megabytes(|held| held.memory.resident),
            megabytes(|held| held.memory.anonymous),
            cell(true),
            cell(false),
        ]);
        if let Some((by_organization, figures)) = each {
            let (name, bound) = if by_organization {
                (in_use(case).to_owned(), 1024.0)
            } else {
                let base = case.base.map_or(0, |base| cases[base].stock.ids);
                (format!("{} to {} ids", thousands(base), thousands(case.stock.ids)), 2.0)
            };
            let what = if by_organization { "S6, bytes per organization" } else { "bytes per known id" };
            targets.push(line(&format!("{what}, {name}"), figures.iter().copied(), 1, Bound::AtMost(bound)));
            let (names, points) = &mut per[usize::from(!by_organization)];
            points.extend(Spread::of(figures).map(|spread| (names.len() as f64, spread)));
            names.push(name);
        }
    }
    let [organizations, ids] = per;
    let panel =
        |y: &str, (names, points): (Vec<String>, _)| bars(y, &names, vec![Series { name: "bytes".into(), points }]);
    let panels = vec![panel("bytes per organization", organizations), panel("bytes per known id", ids)];
    let how = format!(
        "Median (least–most) of {} rounds, a server started on each stock, read once it had written nothing for {} s, from `/proc/<pid>/status`: `VmRSS` \
         and `RssAnon`. What one more takes is the difference in `VmRSS` to the row with fewer.",
        rounds.len(),
        QUIET.as_secs(),
    );
    let table = format!("{}\n{how}\n", table.markdown());
    Answer::new(suite, "Memory per organization and per known id", &table, &targets, panels)
}
