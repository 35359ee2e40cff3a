//! Events a second against the size of a batch (S4).

use super::{Answer, curves};
use crate::chart::Scale;
use crate::error::BenchError;
use crate::row::{Outcome, Row};
use crate::sheet::Sheet;
use crate::stock::Stores;
use crate::suite::Suite;
use crate::target::{Bound, line};

/// Sizes of a batch, with connections: 16 with the largest would hold more events than a window answers.
const BATCHES: [(u64, u64); 5] = [(1, 16), (10, 16), (100, 16), (1000, 16), (10_000, 4)];

pub(super) async fn ask(suite: &Suite, stores: &mut Stores) -> Result<Answer, BenchError> {
    let rows = BATCHES.iter().map(|&(batch, connections)| Row { batch, connections, ..Row::EVENTS }).collect();
    let sheet = Sheet::measure(suite, stores, rows, suite.rounds).await?;
    let across = |row: &Row| Some(row.batch as f64);
    let x = || ("events in a batch", Scale::Log);
    let panels = vec![
        curves(x(), ("events/s", Scale::Linear), sheet.by_name(across, Outcome::rate)),
        curves(x(), ("CPU µs per event", Scale::Log), sheet.by_name(across, Outcome::cpu)),
    ];
    let thousand = sheet.find(|row| row.batch == 1000);
    let rate = thousand.into_iter().flat_map(|row| sheet.of(row, Outcome::rate));
    let target = line("S4, events/s in batches of 1,000", rate, 0, Bound::AtLeast(300_000.0));
    Ok(Answer::new(suite, "Events per second and CPU per event", &sheet.markdown(suite), &[target], panels))
}
