//! One measurement: connections, a warm-up, a window, figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::Connection;
use crate::error::BenchError;
use crate::open_loop::Schedule;
use crate::proc::cpu_time;
use crate::recorder::{Measured, Recorder};
use crate::report::Report;
use crate::request::{Requests, random_seed};
use crate::workload::{Judge, Workload};

/// How long requests under way may still take when the window has closed.
const GRACE: Duration = Duration::from_secs(5);
/// Pause before a broken connection is opened again, so that a dead server is not hammered.
const BREATH: Duration = Duration::from_millis(10);

/// What to measure, against which server.
#[derive(Clone, Debug)]
pub struct Load {
    /// The servers, on loopback: connections go to them in turn.
    pub targets: Vec<SocketAddr>,
    /// What to ask.
    pub workload: Workload,
    /// Connections kept open.
    pub connections: u64,
    /// Requests a second over all connections; `None` for a closed loop.
    pub rate: Option<u64>,
    /// Left out before the window.
    pub warm_up: Duration,
    /// The window.
    pub window: Duration,
    /// Ends the window early after so many answers.
    pub count: Option<u64>,
    /// The server's process, for its CPU time.
    pub pid: Option<u32>,
}

/// What the connections of a run share.
struct Run {
    recorder: Recorder,
    judge: Judge,
    schedule: Option<Schedule>,
}

/// Makes one measurement. Ends by itself: after the warm-up, the window and at most five seconds more.
///
/// # Errors
/// [`BenchError::NotLoopback`]; [`BenchError::Io`] where the server cannot be reached or has no such process;
/// [`BenchError::Overloaded`] at a rate far too high; [`BenchError::NothingMeasured`].
pub async fn run(load: &Load) -> Result<Report, BenchError> {
    let (mut report, before, after) = run_beside(load, || load.pid.map(cpu_time).transpose()).await?;
    report.cpu_micros = after.zip(before).and_then(|(after, before)| report.micros_each(after.saturating_sub(before)));
    Ok(report)
}

/// Makes one measurement, and looks at something else as the window opens and as it closes.
///
/// # Errors
/// As [`run`], and those of `look`.
pub async fn run_beside<T>(
    load: &Load,
    look: impl Fn() -> Result<T, BenchError>,
) -> Result<(Report, T, T), BenchError> {
    let driving = Driving::start(load).await?;
    let (window, before, after) = watch(load, driving.recorder(), look).await?;
    let (measured, unfinished) = driving.end().await?;
    if measured.requests == 0 && measured.broken == 0 {
        return Err(BenchError::NothingMeasured);
    }
    Ok((Report::new(load, measured, window, unfinished), before, after))
}

/// Connections that ask as a [`Load`] says. Dropping it ends them.
pub struct Driving {
    tasks: JoinSet<Result<(), BenchError>>,
    run: Arc<Run>,
}

impl Driving {
    /// Opens the connections and begins to ask.
    ///
    /// # Errors
    /// [`BenchError::NotLoopback`]; [`BenchError::Io`] where the server cannot be reached.
    pub async fn start(load: &Load) -> Result<Self, BenchError> {
        let clients = open_clients(load).await?;
        let schedule = load.rate.map(|rate| Schedule::new(Instant::now(), rate));
        let Workload { kind, batch, .. } = load.workload;
        let run = Arc::new(Run { recorder: Recorder::new(load.count), judge: Judge::new(kind, batch), schedule });
        let mut tasks = JoinSet::new();
        for (connection, requests) in clients {
            tasks.spawn(drive(connection, requests, run.clone()));
        }
        if run.schedule.is_some() {
            tasks.spawn(pace(run.clone()));
        }
        Ok(Self { tasks, run })
    }

    /// What has been seen.
    pub fn recorder(&self) -> &Recorder {
        &self.run.recorder
    }

    /// After the window has closed: waits a while for what is under way. Gives what was seen since the last lap, and how
    /// many requests that were due had no end.
    ///
    /// # Errors
    /// [`BenchError::Overloaded`] where the server fell far behind the rate.
    pub async fn end(mut self) -> Result<(Measured, u64), BenchError> {
        let ended = timeout(GRACE, join(&mut self.tasks)).await;
        self.tasks.abort_all();
        ended.unwrap_or(Ok(()))?;
        let unfinished = self.run.schedule.as_ref().map_or(0, Schedule::unfinished);
        Ok((self.run.recorder.finish(unfinished, GRACE), unfinished))
    }
}

async fn open_clients(load: &Load) -> Result<Vec<(Connection, Requests)>, BenchError> {
    let seed = random_seed();
    let mut clients = Vec::new();
    for (number, &target) in (0..load.connections).zip(load.targets.iter().cycle()) {
        let connection = Connection::open(target).await?;
        clients.push((connection, Requests::new(&load.workload, target, number, seed)));
    }
    Ok(clients)
}

async fn drive(mut connection: Connection, mut requests: Requests, run: Arc<Run>) -> Result<(), BenchError> {
    match &run.schedule {
        None => {
            while !run.recorder.stopped() {
                exchange(&mut connection, &mut requests, &run, Instant::now()).await;
            }
        }
        Some(schedule) => {
            while let Some(due) = schedule.next_due().await {
                exchange(&mut connection, &mut requests, &run, due).await;
                schedule.finish_one();
            }
        }
    }
    Ok(())
}

async fn pace(run: Arc<Run>) -> Result<(), BenchError> {
    match &run.schedule {
        Some(schedule) => schedule.pace(&run.recorder).await,
        None => Ok(()),
    }
}

async fn exchange(connection: &mut Connection, requests: &mut Requests, run: &Run, start: Instant) {
    match connection.exchange(requests.make()).await {
        Ok(answer) => run.recorder.answered(start, run.judge.verdict(answer), answer.size),
        Err(error) => {
            run.recorder.broke(&error);
            sleep(BREATH).await;
            // Where it fails, the next exchange fails too and comes back here.
            let _ = connection.reopen().await;
        }
    }
}

/// Lets the warm-up pass, then opens and closes the window, with a look at both ends.
async fn watch<T>(
    load: &Load,
    recorder: &Recorder,
    look: impl Fn() -> Result<T, BenchError>,
) -> Result<(Duration, T, T), BenchError> {
    sleep(load.warm_up).await;
    let before = look()?;
    let opened = recorder.open_window();
    // Elapsed is how it usually ends; a count reached or a pacer that gave up ends it early.
    let _ = timeout(load.window, recorder.enough()).await;
    let closed = recorder.close_window();
    let after = look()?;
    Ok((closed.duration_since(opened), before, after))
}

async fn join(tasks: &mut JoinSet<Result<(), BenchError>>) -> Result<(), BenchError> {
    while let Some(ended) = tasks.join_next().await {
        // A task that panicked has printed why; what the others measured stands.
        ended.unwrap_or(Ok(()))?;
    }
    Ok(())
}
