//! Decisions a second, and CPU per decision, against connections (S1, S2).

use super::{Answer, curves};
use crate::chart::Scale;
use crate::error::BenchError;
use crate::row::{Outcome, Row};
use crate::sheet::Sheet;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};

const CONNECTIONS: [u64; 4] = [16, 64, 256, 512];

/// What users would otherwise run, as shares of the echo's rate measured beside them on one machine (76,636/s at 64
/// connections): Express with Redis and PostgreSQL 6,416/s, a PostgreSQL function with 64 clients 7,801/s.
const STACK_TO_ECHO: f64 = 6_416.0 / 76_636.0;
const FUNCTION_TO_ECHO: f64 = 7_801.0 / 76_636.0;
/// A disk that takes longer to sync needs more callers a commit for the same rate, in milliseconds.
const SLOW_DISK: f64 = 0.3;

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let rows = CONNECTIONS
        .iter()
        .flat_map(|&connections| [Row::ECHO, Row::CONSUME, Row::CONSUME_WITH_ID].map(|row| Row { connections, ..row }));
    let sheet = Sheet::measure(suite, stores, rows.collect(), suite.rounds).await?;
    let across = |row: &Row| Some(row.connections as f64);
    let x = || ("connections", Scale::Log);
    let panels = vec![
        curves(x(), ("decisions/s", Scale::Linear), sheet.by_name(across, Outcome::rate)),
        curves(x(), ("CPU µs per decision", Scale::Linear), sheet.by_name(across, Outcome::cpu)),
    ];
    Ok(Answer::new(
        suite,
        "Decisions per second and CPU per decision",
        &sheet.markdown(suite),
        &targets(&sheet),
        panels,
    ))
}

fn targets(sheet: &Sheet) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, row) in sheet.rows.iter().enumerate() {
        let Some(floor) = sheet.floor_of(index).filter(|_| [64, 256].contains(&row.connections)) else { continue };
        let what = format!("S1, CPU to echo, {} at {} connections", row.name, row.connections);
        lines.push(line(&what, sheet.ratio(index, floor, Outcome::cpu), 2, Bound::AtMost(1.5)));
    }
    let slow = sheet.rounds.iter().filter(|round| crate::sheet::millis(round.sync.p50) > SLOW_DISK).count();
    let connections = if 2 * slow > sheet.rounds.len() { 512 } else { 64 };
    let row = sheet.find(|row| row.name == Row::CONSUME.name && row.connections == connections);
    let echo = sheet.find(|row| row.name == Row::ECHO.name && row.connections == 64);
    if let Some((row, echo)) = row.zip(echo) {
        for (what, share, times) in
            [("stack of Express", STACK_TO_ECHO, 8.0), ("PostgreSQL function", FUNCTION_TO_ECHO, 4.0)]
        {
            let what = format!("S2, decisions/s at {connections} connections to the {what} (by way of the echo at 64)");
            let ratios = sheet.ratio(row, echo, Outcome::rate).map(|ratio| ratio / share);
            lines.push(line(&what, ratios, 1, Bound::AtLeast(times)));
        }
    }
    lines
}
