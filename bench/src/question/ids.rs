//! Decisions and events a second against the number of ids that are known (S4).

use super::{Answer, curves};
use crate::chart::Scale;
use crate::error::BenchError;
use crate::row::{Outcome, Row};
use crate::sheet::Sheet;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};
use crate::workload::Kind;

pub(super) const IDS: [u64; 3] = [0, 10_000_000, 50_000_000];

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let rows = IDS.iter().flat_map(|&ids| {
        let stock = suite.stock(10_000, ids);
        [Row { stock, connections: 256, ..Row::CONSUME_WITH_ID }, Row { stock, ..Row::EVENTS }]
    });
    let sheet = Sheet::measure(suite, stores, rows.collect(), suite.few_rounds()).await?;
    let across = |row: &Row| Some(row.stock.ids as f64);
    let x = || ("known ids", Scale::Linear);
    let panels = vec![
        curves(x(), ("operations/s", Scale::Linear), sheet.by_name(across, Outcome::rate)),
        curves(x(), ("CPU µs per operation", Scale::Linear), sheet.by_name(across, Outcome::cpu)),
    ];
    let title = "Decisions and events against known ids";
    Ok(Answer::new(suite, title, &sheet.markdown(suite), &targets(&sheet), panels))
}

/// The most ids against none.
fn targets(sheet: &Sheet) -> Vec<String> {
    [(Kind::Events, "events/s"), (Kind::Consume, "decisions/s with id")]
        .map(|(kind, what)| {
            let of: Vec<usize> = (0..sheet.rows.len()).filter(|index| sheet.rows[*index].kind == kind).collect();
            let ends = of.first().zip(of.last());
            let ratios = ends.into_iter().flat_map(|(none, most)| sheet.ratio(*most, *none, Outcome::rate));
            line(&format!("S4, {what}, most known ids to none"), ratios, 2, Bound::AtLeast(0.8))
        })
        .into()
}
