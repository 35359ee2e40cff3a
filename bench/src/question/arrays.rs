//! Decisions a second against the size of an array (S3).

use super::{Answer, curves};
use crate::chart::Scale;
use crate::error::BenchError;
use crate::row::{Outcome, Row};
use crate::sheet::Sheet;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};

const SIZES: [u64; 4] = [1, 10, 100, 1000];

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let rows = SIZES.iter().flat_map(|&batch| {
        let array = Row { batch, ..Row::ARRAY };
        [array, Row { name: "consume with id, arrays", ids: true, ..array }]
    });
    let sheet = Sheet::measure(suite, stores, rows.collect(), suite.rounds).await?;
    let across = |row: &Row| Some(row.batch as f64);
    let x = || ("decisions in an array", Scale::Log);
    let panels = vec![
        curves(x(), ("decisions/s", Scale::Linear), sheet.by_name(across, Outcome::rate)),
        curves(x(), ("CPU µs per decision", Scale::Log), sheet.by_name(across, Outcome::cpu)),
    ];
    let hundred = sheet.find(|row| row.batch == 100 && !row.ids);
    let rate = hundred.into_iter().flat_map(|row| sheet.of(row, Outcome::rate));
    let target = line("S3, decisions/s in arrays of 100", rate, 0, Bound::AtLeast(400_000.0));
    Ok(Answer::new(suite, "Decisions per second in arrays, 16 connections", &sheet.markdown(suite), &[target], panels))
}
