//! A run: one data folder, its history, and servers that come and go.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::{fs, thread};

use serde_json::json;
use tempfile::TempDir;

use super::history::History;
use super::http::Call;
use super::process::{Faults, Server};
use super::workload::{CATALOGUE, MOVED, Worker};
use crate::store::Random;

/// Callers at the same time.
const CALLERS: usize = 4;

pub(super) struct Run {
    folder: TempDir,
    pub(super) history: History,
    pub(super) random: Random,
    numbers: AtomicUsize,
    rounds: usize,
}

impl Run {
    /// With an empty store, on which the organizations that operators change have been made.
    pub(super) fn new(test: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
        let history = History::in_folder(folder.path());
        let run = Self { folder, history, random: Random::new(test), numbers: AtomicUsize::new(0), rounds: 0 };
        let server = run.start(&Faults::default());
        for organization in MOVED {
            let made = server.client().call(&Call::json("POST", "/v1/organizations", json!({"key": organization})));
            assert_eq!(made.unwrap().status, 201);
        }
        server.kill();
        run
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn start(&self, faults: &Faults) -> Server {
        Server::start(self.folder(), faults).unwrap_or_else(|status| panic!("the server did not start: {status}"))
    }

    /// Has the callers work until they have `most` answers, or the server is gone. Then `end` ends it.
    /// Answers how many answers there were.
    pub(super) fn work(&mut self, server: Server, most: usize, end: impl FnOnce(Server)) -> usize {
        self.work_watched(server, most, |_, server| end(server))
    }

    /// The same, where `end` looks at the history, too, while the callers go on.
    pub(super) fn work_watched(&mut self, server: Server, most: usize, end: impl FnOnce(&History, Server)) -> usize {
        self.rounds += 1;
        let (answered, answers) = mpsc::channel();
        let workers: Vec<_> = (0..CALLERS)
            .map(|_| Worker {
                history: &self.history,
                random: Random::from_seed(self.random.next()),
                client: server.client(),
                round: self.rounds,
                numbers: &self.numbers,
                answered: answered.clone(),
            })
            .collect();
        drop(answered);
        thread::scope(|scope| {
            for worker in workers {
                scope.spawn(|| worker.work());
            }
            let count = answers.iter().take(most).count();
            end(&self.history, server);
            count
        })
    }
}

impl Drop for Run {
    /// A run that failed can be looked at.
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            println!("history, log and data of the run: {}", self.folder.path().display());
        }
    }
}
