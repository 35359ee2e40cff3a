//! Several nodes on one PostgreSQL and one Redis, killed, cut off, slowed down and with wrong clocks, or their PostgreSQL
//! stopped under them: they decide as one, and lose and double nothing that was acknowledged.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::json;

use super::history::History;
use super::run::Run;
use super::workload::Worker;
use crate::store::Random;
use elsewhere::Elsewhere;
use locks::Locks;
use nodes::Nodes;

mod disturbances;
mod durable;
mod elsewhere;
mod healed;
mod listening;
mod locked;
mod locks;
mod migrating;
mod nodes;
mod older;
mod planted;
mod postgres;
mod random;
mod standby;

/// Callers at the same time.
const CALLERS: usize = 5;

/// A run with nodes in the place of the one server.
struct Cluster {
    /// They end before their folders go.
    nodes: Nodes,
    elsewhere: Elsewhere,
    locks: Locks,
    run: Run,
    /// The superuser's address of the database, without a proxy.
    database: String,
}

impl Cluster {
    /// So many nodes on an empty database, on which the organizations that operators change have been made.
    fn new(test: &str, count: usize, database: &str, bug: Option<&'static str>) -> Self {
        Self::of_lanes(2, test, count, database, bug)
    }

    /// Whose nodes decide by so many loops.
    fn of_lanes(lanes: usize, test: &str, count: usize, database: &str, bug: Option<&'static str>) -> Self {
        let run = Run::to_prepare(test, tempfile::tempdir().unwrap(), None);
        fs::write(run.folder().join("catalogue.toml"), elsewhere::catalogue()).unwrap();
        run.history.note(&json!({"test": test, "seed": run.random.seed()}));
        let (nodes, elsewhere) =
            (Nodes::new(count, run.folder(), database, lanes, bug), Elsewhere::in_folder(run.folder()));
        let locks = Locks::in_folder(run.folder());
        let cluster = Self { nodes, elsewhere, locks, run, database: database.to_owned() };
        cluster.nodes.all.iter().for_each(|node| node.start(0));
        cluster.nodes.all[0].with(|server| cluster.run.prepare(server));
        cluster
    }

    /// Has callers work while `disturb` goes on.
    fn work(&mut self, disturb: impl FnOnce(&Nodes, &History, &mut Random)) {
        self.run.rounds += 1;
        self.nodes.over.store(false, Ordering::Relaxed);
        let mut random = Random::from_seed(self.run.random.next());
        // Nobody waits for a number of answers here.
        let (answered, _) = mpsc::channel();
        let workers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let mut random = Random::from_seed(random.next());
                let door = self.nodes.door(&mut random);
                let Run { history, numbers, began, rounds: round, .. } = &self.run;
                Worker { history, random, door, round: *round, numbers, began: *began, answered: answered.clone() }
            })
            .collect();
        let [elsewhere, locks] = [(); 2].map(|()| Random::from_seed(random.next()));
        thread::scope(|scope| {
            let _over = Over(&self.nodes);
            scope.spawn(|| self.elsewhere.work(&self.nodes, elsewhere));
            scope.spawn(|| self.locks.work(&self.nodes, locks));
            for worker in workers {
                scope.spawn(|| worker.work());
            }
            disturb(&self.nodes, &self.run.history, &mut random);
        });
    }
}

impl Drop for Cluster {
    /// Of a run that failed what the nodes said is kept, too.
    fn drop(&mut self) {
        if thread::panicking() {
            for node in &self.nodes.all {
                let log = node.log();
                println!("the end of a node's log:\n{}", &log[log.len().saturating_sub(2000)..]);
            }
        }
    }
}

/// Callers stop when this goes, also where a test fails.
struct Over<'a>(&'a Nodes);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Whether it becomes so within so many seconds.
fn within(seconds: i64, mut holds: impl FnMut() -> bool) -> bool {
    let began = boot();
    loop {
        if holds() {
            return true;
        }
        if boot() - began > seconds * SECOND {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
