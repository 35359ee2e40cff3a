//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use metergate_bench::load::Load;
use metergate_bench::question::Question;
use metergate_bench::soak::Soak;
use metergate_bench::suite::Suite;
use metergate_bench::workload::{Kind, Workload};

/// Measures Metergate on this machine, against a bare echo server.
#[derive(Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Action,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Serve the floor: take a decision's request, answer as much as a decision, do nothing
    Echo {
        /// Where to listen, on loopback
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
    },
    /// Measure one workload against a running server
    Load(LoadArguments),
    /// Answer questions: start servers in turn, measure all rows, print a table, draw a chart
    Suite(SuiteArguments),
    /// Load one server evenly for long, and see whether anything grows
    Soak(SoakArguments),
}

#[derive(Args)]
pub(crate) struct LoadArguments {
    /// The server, on loopback
    #[arg(long)]
    target: SocketAddr,
    /// What to ask
    #[arg(long, value_enum, default_value_t = Kind::Consume)]
    workload: Kind,
    /// Connections kept open
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u64).range(1..=4096))]
    connections: u64,
    /// Length of the measured window
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds left out before it
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// End the window early after so many answers
    #[arg(long)]
    count: Option<u64>,
    /// Requests a second: an open loop, latency from the intended start. Without it a closed loop
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Spread over so many organizations: org-00000 and on
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    organizations: u64,
    /// Percent of all operations that go to org-00000 alone; the rest is spread
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u64).range(0..=100))]
    hot: u64,
    /// Give every decision an id that is never used twice (events always have one)
    #[arg(long)]
    ids: bool,
    /// Items in an array of decisions (100) or a batch of events (1,000)
    #[arg(long, value_parser = value_parser!(u64).range(1..=10_000))]
    batch: Option<u64>,
    /// The meter consumed, and the type of events
    #[arg(long, default_value = "api_calls")]
    meter: String,
    /// The bearer key
    #[arg(long, default_value = "")]
    key: String,
    /// The server's process id, for its CPU time
    #[arg(long)]
    pid: Option<u32>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A folder with a README, where results are kept.
pub(crate) type Kept = Option<PathBuf>;

#[derive(Args)]
struct Place {
    /// The metergate binary, a release build
    #[arg(long)]
    metergate: PathBuf,
    /// Folder on the disk to measure; by default the system's for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A further setting for the server's environment, NAME=VALUE; the rest of the environment is not passed on
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Keep table and chart in the README.md and results/ of this folder
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SuiteArguments {
    #[command(flatten)]
    place: Place,
    /// What to answer, repeatable; everything without it
    #[arg(long = "question", value_enum)]
    questions: Vec<Question>,
    /// How often every row is measured, where a row takes long at most 3 times
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=50))]
    rounds: u64,
    /// Length of each measured window
    #[arg(long, default_value_t = 2, value_parser = value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Seconds left out before each
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// To try the harness: so many times fewer organizations (above 10,000) and known ids
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(1..=100_000))]
    shrink: u64,
}

#[derive(Args)]
pub(crate) struct SoakArguments {
    #[command(flatten)]
    place: Place,
    /// How long
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Seconds between two looks
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=60))]
    every: u64,
    /// Decisions a second; without it a part of the highest rate, which is measured first
    #[arg(long, value_parser = value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// That part, in percent
    #[arg(long, default_value_t = 80, value_parser = value_parser!(u64).range(1..=100))]
    percent: u64,
    /// Connections kept open; more than the rate by the latency needs, so that what waits waits in the server
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u64).range(1..=4096))]
    connections: u64,
    /// Organizations, spread over evenly
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    organizations: u64,
    /// Give decisions no ids
    #[arg(long)]
    no_ids: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

impl Place {
    fn suite(self) -> Suite {
        Suite {
            metergate: self.metergate,
            settings: self.settings,
            rounds: 1,
            window: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            parent: self.folder.unwrap_or_else(std::env::temp_dir),
            shrink: 1,
        }
    }
}

impl SuiteArguments {
    pub(crate) fn questions(&self) -> Vec<Question> {
        if self.questions.is_empty() { Question::value_variants().to_vec() } else { self.questions.clone() }
    }

    pub(crate) fn kept(&self) -> Kept {
        self.place.out.clone()
    }
}

impl From<SuiteArguments> for Suite {
    fn from(arguments: SuiteArguments) -> Self {
        Self {
            rounds: arguments.rounds,
            window: Duration::from_secs(arguments.seconds),
            warm_up: Duration::from_secs(arguments.warm_up),
            shrink: arguments.shrink,
            ..arguments.place.suite()
        }
    }
}

impl SoakArguments {
    pub(crate) fn soak(&self) -> Soak {
        Soak {
            length: Duration::from_secs(60 * self.minutes),
            every: Duration::from_secs(self.every),
            rate: self.rate,
            percent: self.percent,
            connections: self.connections,
            organizations: self.organizations,
            ids: !self.no_ids,
        }
    }

    pub(crate) fn kept(&self) -> Kept {
        self.place.out.clone()
    }
}

impl From<SoakArguments> for Suite {
    fn from(arguments: SoakArguments) -> Self {
        arguments.place.suite()
    }
}

impl From<LoadArguments> for Load {
    fn from(arguments: LoadArguments) -> Self {
        let kind = arguments.workload;
        // A single decision is single whatever was asked for.
        let batch = if kind.usual_batch() == 1 { 1 } else { arguments.batch.unwrap_or(kind.usual_batch()) };
        let LoadArguments { organizations, meter, ids, hot, key, .. } = arguments;
        Self {
            targets: vec![arguments.target],
            workload: Workload { kind, batch, organizations, meter, ids, hot, key },
            connections: arguments.connections,
            rate: arguments.rate,
            warm_up: Duration::from_secs(arguments.warm_up),
            window: Duration::from_secs(arguments.seconds),
            count: arguments.count,
            pid: arguments.pid,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_asks_everything_unless_told_otherwise() {
        Arguments::command().debug_assert();
        let questions = |words: &[&str]| {
            let words = ["bench", "suite", "--metergate", "m"].iter().chain(words);
            let Action::Suite(arguments) = Arguments::parse_from(words).command else { panic!("another command") };
            (arguments.questions().len(), Suite::from(arguments).settings)
        };
        assert_eq!(questions(&[]), (12, vec![]));
        let words = ["--question", "ids", "--question", "start-up", "--set", "A=b=c"];
        assert_eq!(questions(&words), (2, vec![("A".into(), "b=c".into())]));
        assert!(Arguments::try_parse_from(["bench", "suite", "--metergate", "m", "--set", "A"]).is_err());
    }
}
