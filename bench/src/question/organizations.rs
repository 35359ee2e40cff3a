//! Decisions a second, and CPU per decision, against the number of organizations (S6).
//!
//! Twice: as a server meets them after a start, where most of a million are loaded on their first use within the window,
//! and with every organization used once since the start.

use super::{Answer, curves};
use crate::chart::Scale;
use crate::error::BenchError;
use crate::row::{Outcome, Row, Side};
use crate::sheet::Sheet;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};

const ORGANIZATIONS: [u64; 4] = [1000, 10_000, 100_000, 1_000_000];
const CONNECTIONS: u64 = 256;

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let base = Row { connections: CONNECTIONS, ..Row::CONSUME };
    let mut rows = vec![Row { side: Side::Echo, name: Row::ECHO.name, ..base }];
    for organizations in ORGANIZATIONS {
        let stock = suite.stock(organizations, 0);
        rows.push(Row { name: "consume, all in use", stock, in_use: true, ..base });
        rows.push(Row { name: "consume, after a start", stock, ..base });
    }
    let sheet = Sheet::measure(suite, stores, rows, suite.few_rounds()).await?;
    let across = |row: &Row| (row.side == Side::Metergate).then_some(row.stock.organizations as f64);
    let x = || ("organizations", Scale::Log);
    let panels = vec![
        curves(x(), ("decisions/s", Scale::Linear), sheet.by_name(across, Outcome::rate)),
        curves(x(), ("CPU µs per decision", Scale::Linear), sheet.by_name(across, Outcome::cpu)),
    ];
    let title = "Decisions against organizations, 256 connections";
    Ok(Answer::new(suite, title, &sheet.markdown(suite), &targets(&sheet), panels))
}

/// The most organizations against the fewest.
fn targets(sheet: &Sheet) -> Vec<String> {
    let of = |in_use: bool| {
        let rows: Vec<usize> = (0..sheet.rows.len())
            .filter(|index| sheet.rows[*index].side == Side::Metergate && sheet.rows[*index].in_use == in_use)
            .collect();
        let ends = rows.first().zip(rows.last());
        ends.into_iter().flat_map(|(few, many)| sheet.ratio(*many, *few, Outcome::cpu)).collect::<Vec<_>>()
    };
    [(true, "all in use"), (false, "after a start")]
        .map(|(in_use, how)| {
            let what = format!("S6, CPU per decision, most organizations to fewest, {how}");
            line(&what, of(in_use), 2, Bound::AtMost(1.15))
        })
        .into()
}
