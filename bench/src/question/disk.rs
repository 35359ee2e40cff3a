//! Bytes written to the disk, and kept on it, per decision and event.
//!
//! Counted from a quiet server to a quiet server: what follows the journal later is a part of what a decision costs.

use std::time::Duration;

use super::{Answer, bars};
use crate::chart::Series;
use crate::error::BenchError;
use crate::process::QUIET;
use crate::row::Row;
use crate::spread::{Spread, shown, thousands};
use crate::stock::Stores;
use crate::suite::Suite;
use crate::table::Table;

/// Windows of the suite that a row is measured for.
const WINDOWS: u32 = 3;

/// What a row gave once.
struct Cost {
    operations_per_second: f64,
    /// Bytes an operation.
    written: f64,
    stored: f64,
    not_accepted: u64,
}

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let many = suite.stock(1_000_000, 0);
    let rows = [
        Row { connections: 256, ..Row::CONSUME },
        Row { connections: 256, ..Row::CONSUME_WITH_ID },
        Row { name: "consume, many organizations", connections: 256, stock: many, ..Row::CONSUME },
        Row::ARRAY,
        Row::EVENTS,
    ];
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    for number in 1..=suite.few_rounds() {
        let mut round = Vec::new();
        for row in &rows {
            let cost = cost(suite, stores, row).await?;
            eprintln!("  round {number}: {}: {:.0} bytes written, {:.0} kept", row.name, cost.written, cost.stored);
            round.push(cost);
        }
        rounds.push(round);
    }
    Ok(answer(suite, &rows, &rounds))
}

async fn cost(suite: &Suite, stores: &mut Stores, row: &Row) -> Result<Cost, BenchError> {
    let server = suite.serve(stores, row.stock).await?;
    let (written_before, stored_before) = (server.quiet().await?, server.home.stored_bytes());
    // Without a warm-up, since every byte is counted; longer, so that the requests that the end cuts off are few.
    let longer = Suite { warm_up: Duration::ZERO, window: WINDOWS * suite.window, ..suite.clone() };
    let report = row.load_on(&longer, &server).await?;
    let written = server.quiet().await? - written_before;
    let operations = report.operations as f64;
    Ok(Cost {
        operations_per_second: report.operations_per_second,
        written: written as f64 / operations,
        stored: server.home.stored_bytes().saturating_sub(stored_before) as f64 / operations,
        not_accepted: report.not_accepted(),
    })
}

fn answer(suite: &Suite, rows: &[Row], rounds: &[Vec<Cost>]) -> Answer {
    let mut table = Table::new(&[
        "what",
        "connections",
        "batch",
        "organizations",
        "ops/s",
        "bytes written/op",
        "bytes kept/op",
        "not accepted",
    ]);
    let figures = |index: usize, figure: fn(&Cost) -> f64| rounds.iter().map(move |round| figure(&round[index]));
    let written: fn(&Cost) -> f64 = |cost| cost.written;
    let kept: fn(&Cost) -> f64 = |cost| cost.stored;
    for (index, row) in rows.iter().enumerate() {
        table.push(vec![
            row.name.into(),
            row.connections.to_string(),
            thousands(row.batch),
            thousands(row.stock.organizations),
            shown(figures(index, |cost| cost.operations_per_second), 0),
            shown(figures(index, written), 0),
            shown(figures(index, kept), 0),
            thousands(rounds.iter().map(|round| round[index].not_accepted).sum()),
        ]);
    }
    let names: Vec<String> = rows.iter().map(|row| row.name.to_owned()).collect();
    let series = |name: &str, figure| Series {
        name: name.into(),
        points: (0..rows.len()).filter_map(|index| Some((index as f64, Spread::of(figures(index, figure))?))).collect(),
    };
    let panel = bars("bytes per operation", &names, vec![series("written", written), series("kept", kept)]);
    let how = format!(
        "Median (least–most) of {} rounds. `write_bytes` of `/proc/<pid>/io` and the size of all files, from before the first request until the server \
         has written nothing for {} s after the last. The write-ahead file is a part of both.",
        rounds.len(),
        QUIET.as_secs(),
    );
    let table = format!("{}\n{how}\n", table.markdown());
    Answer::new(suite, "Bytes on the disk per decision and event", &table, &[], vec![panel])
}
