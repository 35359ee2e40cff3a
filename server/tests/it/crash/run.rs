//! A run: one data folder, its history, and servers that come and go.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::{fs, io, thread};

use metergate_rules::time::Time;
use serde_json::json;
use tempfile::TempDir;

use super::disk::{self, Disk};
use super::history::{Answer, History, Operation};
use super::http::{Call, Client, Response};
use super::process::{Faults, Server};
use super::workload::{CATALOGUE, MOVED, TIMED, Worker, answer, behind, call};
use crate::store::Random;

/// Callers at the same time.
const CALLERS: usize = 4;

pub(super) struct Run {
    /// What the data folder is mounted from; unmounted before the folder goes.
    pub(super) disk: Option<Disk>,
    folder: TempDir,
    pub(super) history: History,
    pub(super) random: Random,
    pub(super) numbers: AtomicUsize,
    /// Where the clock of the test organization began.
    pub(super) began: Time,
    pub(super) rounds: usize,
}

impl Run {
    /// With an empty store, on which the organizations that operators change have been made.
    pub(super) fn new(test: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        Self::in_folder(test, folder, None)
    }

    /// The same on a disk of its own, an image of so many MiB.
    pub(super) fn on_disk_of(megabytes: u64, test: &str) -> Self {
        let folder = disk::folder();
        let disk = Disk::make(folder.path(), megabytes);
        Self::in_folder(test, folder, Some(disk))
    }

    fn in_folder(test: &str, folder: TempDir, disk: Option<Disk>) -> Self {
        let run = Self::to_prepare(test, folder, disk);
        let server = run.start(&Faults::default());
        run.prepare(&server);
        server.kill();
        run
    }

    /// With nothing but a folder and a catalogue.
    pub(super) fn to_prepare(test: &str, folder: TempDir, disk: Option<Disk>) -> Self {
        fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
        let history = History::in_folder(folder.path());
        let (random, began) = (Random::new(test), behind());
        Self { disk, folder, history, random, numbers: AtomicUsize::new(0), began, rounds: 0 }
    }

    /// Makes the organizations that operators change.
    pub(super) fn prepare(&self, server: &Server) {
        for organization in MOVED {
            let made = server.client().call(&Call::json("POST", "/v1/organizations", json!({"key": organization})));
            assert_eq!(made.unwrap().status, 201);
        }
        let timed = json!({"key": TIMED, "test": true});
        let made = server.client().call(&Call::json("POST", "/v1/organizations", timed));
        assert_eq!(made.unwrap().status, 201);
        let path = format!("/v1/organizations/{TIMED}/clock");
        let set = server.client().call(&Call::json("PUT", &path, json!({"now": self.began.to_string()})));
        assert_eq!(set.unwrap().status, 200);
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What its servers have said on standard error.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    pub(super) fn start(&self, faults: &Faults) -> Server {
        Server::start(self.folder(), faults).unwrap_or_else(|status| panic!("the server did not start: {status}"))
    }

    /// Asks for this, and notes the answer.
    ///
    /// # Errors
    /// Without an answer: then nothing is known, and that is noted.
    pub(super) fn ask(&self, client: &mut Client, operation: Operation) -> io::Result<Response> {
        let number = self.history.begin(operation.clone());
        let response = client.call(&call(&operation));
        let answer = response.as_ref().map_or(Answer::Unknown, |response| answer(&operation, response));
        self.history.answer(number, answer);
        response
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
                door: server.client(),
                round: self.rounds,
                numbers: &self.numbers,
                began: self.began,
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
