//! `metergate-budget FILE [--write]`: counts the instructions of the hot operations and holds them against their budgets.
//!
//! Each operation is run by `valgrind --tool=callgrind` in a process of its own, once so many times and once twice as many:
//! the difference is what the operations take, without start and end. The server is in that process, down to its HTTP,
//! with connections that have no sockets, and its clock begins at a fixed time.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells what it counted")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use clap::{Parser, ValueEnum};
use metergate_bench::budgets::{Counts, read, total, verdict, written};
use metergate_bench::error::BenchError;
use tempfile::TempDir;

use operation::Operation;

mod operation;
mod plug;
mod run;
mod wire;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs under valgrind at a time.
const AT_A_TIME: usize = 2;
/// How often it is counted again where something takes more than it may. What a server does by itself, once a minute, falls into
/// some runs and not into others, and adds to what it falls into: the least that is counted is nearest to what is asked.
const AGAIN: usize = 2;

/// Counts instructions and holds them against a file of budgets.
#[derive(Parser)]
struct Arguments {
    /// The budgets
    file: Option<PathBuf>,
    /// Write the file anew
    #[arg(long)]
    write: bool,
    /// Only run this operation, to be counted from outside
    #[arg(long, value_enum, requires = "rounds")]
    run: Option<Operation>,
    /// In so many rounds
    #[arg(long)]
    rounds: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.run, arguments.rounds, &arguments.file) {
        (Some(operation), Some(rounds), _) => run::run(operation, rounds).map(|()| true),
        (_, _, Some(file)) => judge(file, arguments.write),
        _ => Err(BenchError::io("the file of budgets")(io::ErrorKind::NotFound.into())),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(file: &Path, write: bool) -> Result<bool, BenchError> {
    let mut counts = count_all()?;
    for _ in 0..if write { 0 } else { AGAIN } {
        if compare(file, &counts, false)? {
            return Ok(true);
        }
        println!("counted again");
        for (operation, count) in count_all()? {
            let least = counts.entry(operation).or_insert(count);
            *least = count.min(*least);
        }
    }
    compare(file, &counts, write)
}

fn compare(file: &Path, counts: &Counts, write: bool) -> Result<bool, BenchError> {
    let io = || BenchError::io(file.display().to_string());
    let tools = tools();
    if write {
        fs::write(file, written(counts, &tools)).map_err(io())?;
    }
    let text = fs::read_to_string(file).map_err(io())?;
    let budgets = read(&text).map_err(|line| io()(io::Error::other(line)))?;
    let (told, within) = verdict(&budgets, counts);
    print!("{told}");
    if !within && !text.contains(&tools) {
        println!("The budgets were counted with other tools than {tools}, which may be all that changed.");
    }
    Ok(within)
}

/// What the counts depend on beside the sources.
fn tools() -> String {
    let version = |command: &str| {
        let output = Command::new(command).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).split(" (").next().unwrap_or_default().trim().to_owned()
    };
    format!("{}, {}", version("rustc"), version("valgrind"))
}

/// Instructions an operation takes, of each.
fn count_all() -> Result<Counts, BenchError> {
    let folder = TempDir::new().map_err(BenchError::io("making a folder"))?;
    let runs: Vec<(Operation, usize)> =
        Operation::value_variants().iter().flat_map(|o| [(*o, o.rounds()), (*o, 2 * o.rounds())]).collect();
    let mut totals = Vec::new();
    for some in runs.chunks(AT_A_TIME) {
        let counted: Vec<_> = thread::scope(|scope| {
            let run = |(operation, rounds)| {
                scope.spawn({
                    let folder = folder.path();
                    move || count(operation, rounds, folder)
                })
            };
            let threads: Vec<_> = some.iter().copied().map(run).collect();
            threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        for one in counted {
            totals.push(one.map_err(|_| BenchError::io("counting")(io::Error::other("a thread panicked")))??);
        }
    }
    let each = |(operation, totals): (&Operation, &[u64])| {
        let operations = (operation.rounds() * operation.clients()) as u64;
        (operation.name(), totals[1].saturating_sub(totals[0]) / operations)
    };
    Ok(Operation::value_variants().iter().zip(totals.chunks(2)).map(each).collect())
}

/// Instructions of a whole process that runs an operation in so many rounds.
fn count(operation: Operation, rounds: usize, folder: &Path) -> Result<u64, BenchError> {
    let what = format!("counting {} with valgrind", operation.name());
    let own = std::env::current_exe().map_err(BenchError::io(what.as_str()))?;
    let file = folder.join(format!("{}-{rounds}", operation.name()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", file.display()));
    command.arg(own).args(["--run", &operation.name(), "--rounds", &rounds.to_string()]);
    let output = command.output().map_err(BenchError::io(what.as_str()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::io(what)(io::Error::other(said)));
    }
    let counted = fs::read_to_string(&file).map_err(BenchError::io(what.as_str()))?;
    total(&counted).ok_or_else(|| BenchError::io(what)(io::ErrorKind::InvalidData.into()))
}
