//! What is measured, where, and how long: the same for all questions of a run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::BenchError;
use crate::process::{Program, ServerProcess};
use crate::row::Side;
use crate::setup::WINDOWS;
use crate::stock::{Stock, Stores};

/// A store of so many organizations or fewer is small: it is never scaled down.
const SMALL: u64 = 10_000;

/// What is measured and where.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The server under test.
    pub metergate: PathBuf,
    /// Further settings for its environment.
    pub settings: Vec<(String, String)>,
    /// How often every row is measured.
    pub rounds: u64,
    /// The measured window of each.
    pub window: Duration,
    /// Left out before each.
    pub warm_up: Duration,
    /// Where the servers' folders are made: the disk that is measured.
    pub parent: PathBuf,
    /// By how much large stocks are made smaller, to try the harness: 1 leaves them as they are.
    pub shrink: u64,
}

impl Suite {
    /// A suite's parent folder must exist before its first server.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it does not, or the binary does not.
    pub fn check(&self) -> Result<(), BenchError> {
        for path in [&self.metergate, &self.parent] {
            Path::metadata(path).map_err(BenchError::io(path.display().to_string()))?;
        }
        Ok(())
    }

    /// What to start on a side.
    pub fn program(&self, side: Side) -> Program {
        match side {
            Side::Echo => Program::Echo,
            Side::Metergate => Program::Metergate { binary: self.metergate.clone(), settings: self.settings.clone() },
        }
    }

    /// Rounds of a question whose rows take long.
    pub fn few_rounds(&self) -> u64 {
        self.rounds.min(3)
    }

    /// Where stocks for this suite are prepared.
    pub fn stores(&self) -> Stores {
        Stores::new(self.metergate.clone(), &self.settings, self.parent.clone())
    }

    /// So many organizations and known ids, or fewer where the harness is only tried.
    pub fn stock(&self, organizations: u64, ids: u64) -> Stock {
        let least = organizations.min(SMALL);
        Stock { organizations: (organizations / self.shrink).max(least), ids: ids / self.shrink }
    }

    /// Starts a Metergate on a stock.
    ///
    /// # Errors
    /// Where it cannot be prepared or started.
    pub async fn serve(&self, stores: &mut Stores, stock: Stock) -> Result<ServerProcess, BenchError> {
        ServerProcess::start(&self.program(Side::Metergate), stores.open(stock).await?).await
    }

    /// The conditions under which every figure of the run holds.
    pub fn conditions(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let settings = match self.settings.as_slice() {
            [] => "as shipped".into(),
            some => some.iter().map(|(name, value)| format!("`{name}={value}`")).collect::<Vec<_>>().join(", "),
        };
        format!(
            "{cores} cores shared with the generator, loopback; plan with hard limits over {} windows ({}) of one meter, none \
             reached; settings {settings}: every answer comes after its commit is on the disk (`FULL`).",
            WINDOWS.len(),
            WINDOWS.join(", "),
        )
    }
}

/// The commit measured, marked where the tree differs from it.
pub fn commit() -> String {
    let describe = Command::new("git").args(["describe", "--always", "--dirty", "--exclude", "*"]).output();
    let text = describe.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    let name = String::from_utf8_lossy(&text).trim().to_owned();
    if name.is_empty() { "unknown".into() } else { name }
}

/// The date and commit, for titles.
pub fn when() -> String {
    format!("{}, commit {}", jiff::Zoned::now().date(), commit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_stocks_shrink() {
        let suite = Suite {
            metergate: "m".into(),
            settings: vec![("A".into(), "1".into())],
            rounds: 5,
            window: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            parent: "p".into(),
            shrink: 100,
        };
        #[rustfmt::skip]
        let cases = [ // organizations, ids, becomes
            (1_000,     0,          (1_000, 0)),
            (10_000,    50_000_000, (10_000, 500_000)),
            (100_000,   0,          (10_000, 0)),
            (2_000_000, 0,          (20_000, 0)),
        ];
        for (organizations, ids, expected) in cases {
            let stock = suite.stock(organizations, ids);
            assert_eq!((stock.organizations, stock.ids), expected);
        }
        assert!(suite.conditions().contains("`A=1`"));
    }
}
