//! What PostgreSQL's `pgbench` says of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::BenchError;
use crate::home::last_lines;

/// Threads of its own, unless there are fewer clients.
pub(super) const THREADS: u64 = 2;
/// Of how many transactions the latency is written down: a part, since writing costs the machine that is measured.
const SAMPLED: f64 = 0.1;
/// What the files of latencies are called, before a number.
const PREFIX: &str = "latencies";

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub struct Transactions {
    /// Transactions a second, once all clients were connected.
    pub rate: f64,
    /// The median of their latency, in milliseconds.
    pub p50: f64,
    /// 99 of a hundred are faster.
    pub p99: f64,
    /// CPU time of all of PostgreSQL for each, in microseconds, that for connecting included.
    pub cpu: f64,
    /// How many failed.
    pub failed: u64,
}

impl Transactions {
    /// Reads what a run said. `latencies` are in microseconds.
    pub(super) fn read(said: &str, latencies: &[u64], cpu: Duration) -> Result<Self, BenchError> {
        let not_understood =
            || BenchError::Failed { program: "pgbench".into(), how: "not understood".into(), said: last_lines(said) };
        let rate = number_after(said, "tps = ").ok_or_else(not_understood)?;
        let done = number_after(said, "number of transactions actually processed: ").ok_or_else(not_understood)?;
        let failed = number_after(said, "number of failed transactions: ").unwrap_or(0.0);
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        let at = |hundredth: usize| {
            let place = sorted.len() * hundredth / 100;
            sorted.get(place).map_or(f64::NAN, |micros| *micros as f64 / 1e3)
        };
        let cpu = cpu.as_secs_f64() * 1e6 / done.max(1.0);
        Ok(Self { rate, p50: at(50), p99: at(99), cpu, failed: failed as u64 })
    }
}

/// The files in which a run writes how long its transactions took.
pub(super) struct Latencies<'a>(&'a Path);

impl<'a> Latencies<'a> {
    /// In this folder, without those of an earlier run.
    pub(super) fn new(folder: &'a Path) -> Result<Self, BenchError> {
        let files = Self(folder);
        for file in files.files()? {
            fs::remove_file(&file).map_err(BenchError::io(file.display().to_string()))?;
        }
        Ok(files)
    }

    pub(super) fn arguments(&self) -> [String; 3] {
        let prefix = format!("--log-prefix={}", self.0.join(PREFIX).display());
        ["--log".into(), prefix, format!("--sampling-rate={SAMPLED}")]
    }

    /// All of them, in microseconds.
    pub(super) fn read(&self) -> Result<Vec<u64>, BenchError> {
        let mut latencies = Vec::new();
        for file in self.files()? {
            let text = fs::read_to_string(&file).map_err(BenchError::io(file.display().to_string()))?;
            latencies.extend(text.lines().filter_map(latency_in));
        }
        Ok(latencies)
    }

    fn files(&self) -> Result<Vec<PathBuf>, BenchError> {
        let entries = fs::read_dir(self.0).map_err(BenchError::io(self.0.display().to_string()))?;
        let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        Ok(entries.flatten().map(|entry| entry.path()).filter(is_one).collect())
    }
}

/// A line is: client, number of the transaction, latency in µs, script, and when it ended.
fn latency_in(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(2)?.parse().ok()
}

/// The number right after the first `words`.
fn number_after(text: &str, words: &str) -> Option<f64> {
    let (_, rest) = text.split_once(words)?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: script
scaling factor: 1
query mode: prepared
number of clients: 16
number of threads: 2
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 20000
number of failed transactions: 3 (0.015%)
latency average = 1.588 ms
initial connection time = 21.201 ms
tps = 10077.361943 (without initial connection time)
";

    #[test]
    fn a_run_is_told_by_its_rate_its_latencies_and_what_they_cost() {
        let latencies: Vec<u64> = (0..1000).rev().collect();
        let read = Transactions::read(SAID, &latencies, Duration::from_secs(3)).unwrap();
        assert_eq!((read.p50, read.p99, read.cpu, read.failed), (0.5, 0.99, 150.0, 3));
        assert!((read.rate - 10_077.361_943).abs() < 1e-6, "{read:?}");
        assert!(Transactions::read(SAID, &[], Duration::ZERO).unwrap().p50.is_nan());
        assert!(Transactions::read("pgbench: error: connection refused", &[], Duration::ZERO).is_err());
    }

    #[test]
    fn latencies_are_of_the_last_run_and_of_all_its_threads() {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("latencies.1"), "0 1 5 0 1 2\n").unwrap();
        let latencies = Latencies::new(folder.path()).unwrap();
        std::fs::write(folder.path().join("latencies.7"), "0 199 2241 0 1175850568 995598\n3 1 7 0 1 2\n").unwrap();
        std::fs::write(folder.path().join("latencies.7.1"), "1 2 9 0 1 2\nhalf a li").unwrap();
        let mut read = latencies.read().unwrap();
        read.sort_unstable();
        assert_eq!(read, [7, 9, 2241]);
    }
}
