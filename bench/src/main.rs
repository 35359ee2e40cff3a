//! `metergate-bench echo | load | suite`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a load generator prints what it saw")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};
use metergate_bench::error::BenchError;
use metergate_bench::load::{self, Load};
use metergate_bench::suite::{self, Suite};
use metergate_bench::workload::{Kind, Workload};
use metergate_bench::{echo, table};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// Measures Metergate on this machine, against a bare echo server.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve the floor: take a decision's request, answer as much as a decision, do nothing
    Echo {
        /// Where to listen, on loopback
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
    },
    /// Measure one workload against a running server
    Load(LoadArgs),
    /// Start servers in turn, measure all rows, print a table
    Suite(SuiteArgs),
}

#[derive(Args)]
struct LoadArgs {
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
    json: bool,
}

#[derive(Args)]
struct SuiteArgs {
    /// The metergate binary, a release build
    #[arg(long)]
    metergate: PathBuf,
    /// How often every row is measured
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=50))]
    rounds: u64,
    /// Length of each measured window
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Seconds left out before each
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(0..=60))]
    warm_up: u64,
    /// Organizations to create
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=10_000_000))]
    organizations: u64,
    /// Folder on the disk to measure; by default the system's for temporary files
    #[arg(long)]
    folder: Option<PathBuf>,
    /// A further setting for the server's environment, NAME=VALUE; the rest of the environment is not passed on
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Action) -> Result<(), BenchError> {
    match command {
        Action::Echo { listen } => {
            runtime(Builder::new_multi_thread().worker_threads(2))?.block_on(echo::serve(listen))
        }
        Action::Load(args) => one_thread()?.block_on(print_load(args)),
        Action::Suite(args) => one_thread()?.block_on(print_suite(args.into())),
    }
}

async fn print_load(args: LoadArgs) -> Result<(), BenchError> {
    let json = args.json;
    let report = load::run(&args.into()).await?;
    if json {
        println!("{}", serde_json::json!(report));
    } else {
        println!("{report}");
    }
    Ok(())
}

/// A signal drops the suite where it stands, and with it the server that it started.
async fn print_suite(suite: Suite) -> Result<(), BenchError> {
    suite.check()?;
    let rounds = tokio::select! {
        rounds = suite::run(&suite) => rounds?,
        interrupted = interrupted() => return interrupted,
    };
    println!("{}", table::markdown(&suite, &rounds));
    Ok(())
}

async fn interrupted() -> Result<(), BenchError> {
    let listen = |kind| signal(kind).map_err(BenchError::io("listening for signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! { _ = interrupt.recv() => (), _ = terminate.recv() => () }
    Err(BenchError::Interrupted)
}

/// One thread for the generator: the other core is the server's.
fn one_thread() -> Result<Runtime, BenchError> {
    runtime(&mut Builder::new_current_thread())
}

fn runtime(builder: &mut Builder) -> Result<Runtime, BenchError> {
    builder.enable_all().build().map_err(BenchError::io("starting the runtime"))
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

impl From<LoadArgs> for Load {
    fn from(args: LoadArgs) -> Self {
        let kind = args.workload;
        // A single decision is single whatever was asked for.
        let batch = if kind.usual_batch() == 1 { 1 } else { args.batch.unwrap_or(kind.usual_batch()) };
        let LoadArgs { organizations, meter, ids, key, .. } = args;
        Self {
            target: args.target,
            workload: Workload { kind, batch, organizations, meter, ids, key },
            connections: args.connections,
            rate: args.rate,
            warm_up: Duration::from_secs(args.warm_up),
            window: Duration::from_secs(args.seconds),
            count: args.count,
            pid: args.pid,
        }
    }
}

impl From<SuiteArgs> for Suite {
    fn from(args: SuiteArgs) -> Self {
        Self {
            metergate: args.metergate,
            settings: args.settings,
            rounds: args.rounds,
            window: Duration::from_secs(args.seconds),
            warm_up: Duration::from_secs(args.warm_up),
            organizations: args.organizations,
            parent: args.folder.unwrap_or_else(std::env::temp_dir),
        }
    }
}
