//! `metergate-bench echo | load | suite | soak`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a load generator prints what it saw")]

use std::process::ExitCode;

use clap::Parser;
use metergate_bench::error::BenchError;
use metergate_bench::load::{self, Load};
use metergate_bench::question::Question;
use metergate_bench::soak::{self, Soak};
use metergate_bench::suite::Suite;
use metergate_bench::{echo, page};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Action, Arguments, Kept, LoadArguments};

mod arguments;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
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
        Action::Load(arguments) => one_thread()?.block_on(print_load(arguments)),
        Action::Suite(arguments) => {
            let (questions, kept) = (arguments.questions(), arguments.kept());
            let suite = Suite::from(arguments);
            one_thread()?.block_on(unless_interrupted(answer(&suite, &questions, &kept)))
        }
        Action::Soak(arguments) => {
            let (kept, soak) = (arguments.kept(), arguments.soak());
            let suite = Suite::from(arguments);
            one_thread()?.block_on(unless_interrupted(soak_and_tell(&suite, soak, &kept)))
        }
    }
}

async fn print_load(arguments: LoadArguments) -> Result<(), BenchError> {
    let json = arguments.json;
    let report = load::run(&Load::from(arguments)).await?;
    if json {
        println!("{}", serde_json::json!(report));
    } else {
        println!("{report}");
    }
    Ok(())
}

async fn answer(suite: &Suite, questions: &[Question], kept: &Kept) -> Result<(), BenchError> {
    suite.check()?;
    let mut stores = suite.stores();
    let mut unanswered = Vec::new();
    for question in questions {
        let name = question.name();
        eprintln!("{name}");
        match question.ask(suite, &mut stores).await {
            Ok(answer) => {
                println!("{}\n", answer.markdown);
                if let Some(folder) = kept {
                    page::keep(folder, &name, &answer.chart, &answer.markdown)?;
                }
            }
            // The others took long enough to be worth their answers.
            Err(error) => {
                eprintln!("{name}: {error}");
                unanswered.push(name);
            }
        }
    }
    if unanswered.is_empty() { Ok(()) } else { Err(BenchError::Unanswered(unanswered.join(", "))) }
}

async fn soak_and_tell(suite: &Suite, soak: Soak, kept: &Kept) -> Result<(), BenchError> {
    suite.check()?;
    let soaked = soak::run(suite, &mut suite.stores(), soak).await?;
    let markdown = soaked.markdown(suite);
    println!("{markdown}");
    match kept {
        Some(folder) => page::keep(folder, "soak", &soaked.chart(), &markdown),
        None => Ok(()),
    }
}

/// A signal drops the work where it stands, and with it the server that it started.
async fn unless_interrupted(work: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    let listen = |kind| signal(kind).map_err(BenchError::io("listening for signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
    }
}

/// One thread for the generator: the other core is the server's.
fn one_thread() -> Result<Runtime, BenchError> {
    runtime(&mut Builder::new_current_thread())
}

fn runtime(builder: &mut Builder) -> Result<Runtime, BenchError> {
    builder.enable_all().build().map_err(BenchError::io("starting the runtime"))
}
