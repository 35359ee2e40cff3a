//! Rounds as a markdown table: medians with their spread, and the conditions they hold under.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use crate::setup::WINDOWS;
use crate::suite::{Outcome, Pace, ROWS, Round, Row, Side, Suite};

const HEADER: &str = "\
| what | connections | ops/s | p50 ms | p99 ms | CPU µs/op | CPU to echo | ops/s to echo | stored MB | not accepted |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// A median, and how far the rounds lay apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, least, most })
    }

    fn shown(self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{} ({}–{})", number(median, digits), number(least, digits), number(most, digits))
    }
}

/// The whole text: conditions, the table, the disk.
pub fn markdown(suite: &Suite, rounds: &[Round]) -> String {
    let mut text = conditions(suite, rounds);
    text.push_str("\n\n");
    text.push_str(HEADER);
    for index in 0..ROWS.len() {
        text.push_str(&line(index, rounds));
    }
    text.push('\n');
    text.push_str(&disk(rounds));
    text
}

fn conditions(suite: &Suite, rounds: &[Round]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let settings = match suite.settings.as_slice() {
        [] => "as shipped".into(),
        some => some.iter().map(|(name, value)| format!("`{name}={value}`")).collect::<Vec<_>>().join(", "),
    };
    let mut text = format!(
        "Commit {}; {cores} cores shared with the generator, loopback. {} interleaved rounds of {:?} after {:?} of warm-up, \
         a fresh server each time: median (least–most).\n{} organizations on one plan, hard limits over {} windows ({}) \
         of one meter, none reached. Settings: {settings}; every answer comes after the server's commit, the echo stores \
         nothing. One operation is one decision or one event; latency is a request's.",
        commit(),
        rounds.len(),
        suite.window,
        suite.warm_up,
        thousands(suite.organizations),
        WINDOWS.len(),
        WINDOWS.join(", "),
    );
    let answers = |side| Spread::of(reports_of(side, rounds).map(|outcome| outcome.report.answer_bytes));
    if let (Some(echo), Some(metergate)) = (answers(Side::Echo), answers(Side::Metergate)) {
        let _ = write!(text, " Bytes of a single answer: echo {:.0}, Metergate {:.0}.", echo.median, metergate.median);
    }
    text
}

/// Single decisions, whose answers must be as large on both sides for the ratio to mean anything.
fn reports_of(side: Side, rounds: &[Round]) -> impl Iterator<Item = &Outcome> {
    let single = move |(row, outcome): (&Row, _)| (row.side == side && row.kind.usual_batch() == 1).then_some(outcome);
    rounds.iter().flat_map(move |round| ROWS.iter().zip(&round.outcomes).filter_map(single))
}

fn line(index: usize, rounds: &[Round]) -> String {
    let row = &ROWS[index];
    let shown = |digits, figure: fn(&Outcome) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round.outcomes[index]))).map_or("–".into(), |s| s.shown(digits))
    };
    let not_accepted: u64 = rounds.iter().map(|round| round.outcomes[index].report.not_accepted()).sum();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        row.name,
        row.connections,
        shown(0, |o| o.report.operations_per_second),
        shown(2, |o| o.report.latency_ms.p50),
        shown(2, |o| o.report.latency_ms.p99),
        shown(2, cpu),
        to_floor(index, rounds, cpu),
        // At a fixed rate both sides do the same number, so that ratio would say nothing.
        if row.pace == Pace::Closed {
            to_floor(index, rounds, |o| o.report.operations_per_second)
        } else {
            "–".into()
        },
        shown(1, |o| o.stored as f64 / 1e6),
        thousands(not_accepted),
    )
}

fn cpu(outcome: &Outcome) -> f64 {
    outcome.report.cpu_micros.unwrap_or(f64::NAN)
}

/// A figure against the echo's of the same round, round by round: what slows the machine for a while slows both.
fn to_floor(index: usize, rounds: &[Round], figure: fn(&Outcome) -> f64) -> String {
    let Some(floor) = ROWS.iter().position(|row| row.is_floor_of(&ROWS[index])) else { return "–".into() };
    let ratio = |round: &Round| figure(&round.outcomes[index]) / figure(&round.outcomes[floor]);
    Spread::of(rounds.iter().map(ratio)).map_or("–".into(), |spread| spread.shown(2))
}

fn disk(rounds: &[Round]) -> String {
    let of = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure)).map_or("–".into(), |s| s.shown(2));
    let last = ROWS.len() - 1;
    let ratio = |round: &Round| round.outcomes[last].report.latency_ms.p99 / millis(round.sync.p99);
    let tail = Spread::of(rounds.iter().map(ratio)).map_or("–".into(), |spread| spread.shown(2));
    format!(
        "The disk alone, 4 KiB appended and fdatasync, ms: p50 {}, p99 {}. p99 of {} against the disk's p99 of the same \
         round: {tail}.{}\n",
        of(|round| millis(round.sync.p50)),
        of(|round| millis(round.sync.p99)),
        ROWS[last].name,
        if rounds.iter().any(|round| round.sync.p50 < IN_MEMORY) {
            " **The folder seems to be in memory: nothing here was durable.**"
        } else {
            ""
        },
    )
}

/// No disk syncs faster than this; a tmpfs does.
const IN_MEMORY: Duration = Duration::from_micros(10);

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The commit measured, marked where the tree differs from it.
fn commit() -> String {
    let describe = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let text = describe.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let name = String::from_utf8_lossy(&text).trim().to_owned();
    if name.is_empty() { "unknown".into() } else { name }
}

/// A whole number with separators, or one with decimals.
fn number(figure: f64, digits: usize) -> String {
    if digits == 0 && figure.is_finite() { thousands(figure.round() as u64) } else { format!("{figure:.digits$}") }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_lies_between_the_middle_two() {
        let of = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn numbers_read_well() {
        let shown: Vec<String> = [0, 999, 1_000, 81_234, 1_000_000].map(thousands).to_vec();
        assert_eq!(shown, ["0", "999", "1,000", "81,234", "1,000,000"]);
        assert_eq!(number(12_345.6, 0), "12,346");
        assert_eq!(number(12.345, 2), "12.35");
    }
}
