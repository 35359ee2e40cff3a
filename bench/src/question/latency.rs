//! Latency at fixed rates, with the disk's own beside it (S5).

use super::{Answer, curves};
use crate::chart::{Scale, Series};
use crate::error::BenchError;
use crate::row::{Outcome, Pace, Row, Side};
use crate::sheet::{Sheet, millis};
use crate::spread::Spread;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};

const PERCENT: [u64; 3] = [25, 50, 75];

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let paced = PERCENT.iter().flat_map(|&percent| {
        let pace = Pace::Percent(percent);
        [Row { pace, ..Row::ECHO }, Row { pace, ..Row::CONSUME }]
    });
    let rows = std::iter::once(Row { name: "consume, highest rate", ..Row::CONSUME }).chain(paced).collect();
    let sheet = Sheet::measure(suite, stores, rows, suite.rounds).await?;
    let panels = [Side::Metergate, Side::Echo].map(|side| {
        let name = if side == Side::Echo { "echo: ms" } else { "consume: ms" };
        let x = ("% of the highest rate", Scale::Linear);
        curves(x, (name, Scale::Log), quantiles(&sheet, side))
    });
    let targets = targets(&sheet);
    Ok(Answer::new(suite, "Latency at fixed rates, 64 connections", &sheet.markdown(suite), &targets, panels.into()))
}

fn percent(row: &Row) -> Option<f64> {
    match row.pace {
        Pace::Percent(percent) => Some(percent as f64),
        Pace::Closed => None,
    }
}

fn quantiles(sheet: &Sheet, side: Side) -> Vec<Series> {
    let across = |row: &Row| percent(row).filter(|_| row.side == side);
    let mut series = vec![
        sheet.series("p50", across, |outcome| outcome.report.latency_ms.p50),
        sheet.series("p99", across, Outcome::p99),
        sheet.series("p99.9", across, |outcome| outcome.report.latency_ms.p999),
    ];
    if let Some(sync) = Spread::of(sheet.rounds.iter().map(|round| millis(round.sync.p99))) {
        let points = PERCENT.iter().map(|percent| (*percent as f64, sync)).collect();
        series.push(Series { name: "p99 of the disk's fdatasync".into(), points });
    }
    series
}

fn targets(sheet: &Sheet) -> Vec<String> {
    let half = sheet.find(|row| row.side == Side::Metergate && row.pace == Pace::Percent(50));
    let ratios = half
        .into_iter()
        .flat_map(|row| sheet.rounds.iter().map(move |round| round.outcomes[row].p99() / millis(round.sync.p99)));
    vec![line("S5, p99 of consume at half the highest rate to the disk's own p99", ratios, 2, Bound::AtMost(2.0))]
}
