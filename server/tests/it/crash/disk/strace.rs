//! System calls on a store's files that fail or take long, and the record of those that were made.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use metergate::store::sqlite::FILE;

use crate::crash::process::{Faults, Server, until};
use crate::crash::run::Run;

/// A server under strace, which looks at the files of its store alone. The index of the write-ahead file is left out: it
/// is shared memory, and made afresh by every start.
pub(super) struct Strace {
    folder: PathBuf,
    log: PathBuf,
    words: Vec<String>,
    fail_points: String,
    planted: Option<&'static str>,
}

/// strace beside one thread of a server. It ends with the server, once it has told all; where it does not, it is ended.
pub(super) struct Attached {
    strace: Child,
}

impl Drop for Attached {
    fn drop(&mut self) {
        if until(PATIENCE, || self.strace.try_wait().transpose()).is_none() {
            let _ = self.strace.kill();
            let _ = self.strace.wait();
        }
    }
}

/// A system call as strace tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Syscall {
    /// The thread's name.
    pub(super) thread: String,
    pub(super) name: String,
    /// `main`, `wal`, `journal`, `index`, `slice`, the folder of `slices`, or another `folder`.
    pub(super) file: &'static str,
    /// Whether it was made to fail.
    pub(super) failed: bool,
}

impl Strace {
    pub(super) fn of(run: &Run) -> Self {
        Self::of_files(run, &["", "-wal", "-journal"])
    }

    /// Looks at every file: for a thread that has no others than slices.
    pub(super) fn of_slices(run: &Run) -> Self {
        Self::of_files(run, &[])
    }

    /// Looks at the index of the write-ahead file instead.
    pub(super) fn of_index(run: &Run) -> Self {
        Self::of_files(run, &["-shm"])
    }

    fn of_files(run: &Run, endings: &[&str]) -> Self {
        let (folder, log) = (run.folder().to_owned(), run.folder().join("strace.log"));
        // `-Y`, `-y`: names of threads and files.
        let words = ["strace", "-Y", "-y", "-s", "0", "-e", "trace=fsync,fdatasync,write,pwrite64"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.extend(["-o".to_owned(), log.display().to_string()]);
        for ending in endings {
            words.extend(["-P".to_owned(), run.data().join(format!("{FILE}{ending}")).display().to_string()]);
        }
        Self { folder, log, words, fail_points: String::new(), planted: None }
    }

    /// Looks at the data folder, too: its sync keeps the names of the files.
    pub(super) fn with_folder(mut self) -> Self {
        self.words.extend(["-P".to_owned(), self.folder.join("data").display().to_string()]);
        self
    }

    /// Of each of these calls, the nth in every thread fails, counted from 1.
    pub(super) fn failing(mut self, calls: &str, error: &str, nth: usize) -> Self {
        self.words.extend(["-e".to_owned(), format!("inject={calls}:error={error}:when={nth}")]);
        self
    }

    /// Each of these calls begins so much later.
    pub(super) fn slow(mut self, calls: &str, by: Duration) -> Self {
        self.words.extend(["-e".to_owned(), format!("inject={calls}:delay_enter={}", by.as_micros())]);
        self
    }

    /// Sets fail points in the server, too.
    pub(super) fn with_fail_points(self, fail_points: &str) -> Self {
        Self { fail_points: fail_points.to_owned(), ..self }
    }

    /// Plants a bug in the server, too.
    pub(super) fn with_bug(self, bug: &'static str) -> Self {
        Self { planted: Some(bug), ..self }
    }

    fn faults(&self) -> Faults {
        Faults { fail_points: self.fail_points.clone(), planted: self.planted }
    }

    pub(super) fn start(&self, run: &Run) -> Server {
        self.try_start().unwrap_or_else(|status| panic!("the server did not start: {status}; it said: {}", run.log()))
    }

    /// # Errors
    /// How the server ended, if it did before it answered.
    pub(super) fn try_start(&self) -> Result<Server, ExitStatus> {
        let _ = fs::remove_file(&self.log);
        // `-D`: strace stands aside, and the server is our own child. `-f`: all threads.
        let words = [&self.words[..], &["-D", "-f", "--seccomp-bpf"].map(str::to_owned)].concat();
        Server::start_under(&words, &self.folder, &self.faults())
    }

    /// A server that has started already, of which only the thread of this name is looked at.
    pub(super) fn start_beside(&self, run: &Run, thread: &str) -> (Server, Attached) {
        let _ = fs::remove_file(&self.log);
        let server = run.start(&self.faults());
        let task = server.thread(thread);
        let id = task.file_name().and_then(|id| id.to_str()).expect("a number").to_owned();
        let strace =
            Command::new(&self.words[0]).args(&self.words[1..]).args(["-p", &id]).spawn().expect("strace runs");
        let is_traced = || {
            let status = fs::read_to_string(task.join("status")).unwrap();
            (!status.contains("TracerPid:\t0\n")).then_some(())
        };
        until(PATIENCE, is_traced).expect(NEEDS);
        (server, Attached { strace })
    }

    /// What the server called, in order, once it has ended.
    ///
    /// # Panics
    /// If strace could not trace it.
    pub(super) fn calls(&self) -> Vec<Syscall> {
        let ended = || fs::read_to_string(&self.log).ok().filter(|log| log.lines().any(is_end));
        parse(&until(PATIENCE, ended).expect(NEEDS))
    }
}

const NEEDS: &str =
    "strace looks at the server. It needs the right to do so: root, or --cap-add SYS_PTRACE in a container";
const PATIENCE: Duration = Duration::from_secs(60);

/// `12<metergate> +++ exited with 0 +++`: the first thread bears the name of the program, and its end is told last. Of a
/// thread that is looked at alone only the second half is told.
fn is_end(line: &str) -> bool {
    let end = line.strip_prefix("+++ ").or_else(|| line.split_once("<metergate> +++ ").map(|(_, end)| end));
    end.is_some_and(|end| end.starts_with("exited with ") || end.starts_with("killed by "))
}

/// Lines such as `12<writer> fsync(9</run/data/metergate.sqlite-wal>) = -1 EIO (Input/output error) (INJECTED)`. A call
/// that another thread comes between is told in two lines.
fn parse(log: &str) -> Vec<Syscall> {
    let (mut calls, mut unfinished) = (Vec::new(), BTreeMap::new());
    for line in log.lines() {
        let (thread, rest) = line.split_once("> ").filter(|(thread, _)| is_thread(thread)).unwrap_or(("", line));
        let failed = line.ends_with("(INJECTED)");
        if rest.starts_with("<... ") {
            let place = unfinished.remove(thread).expect("a call that goes on has begun");
            let call: &mut Syscall = &mut calls[place];
            call.failed = failed;
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        let Some(path) = arguments.split_once('<').and_then(|(_, path)| path.split_once('>')) else { continue };
        if line.ends_with("<unfinished ...>") {
            unfinished.insert(thread.to_owned(), calls.len());
        }
        let thread = thread.split_once('<').map_or("", |(_, name)| name).to_owned();
        calls.push(Syscall { thread, name: name.to_owned(), file: file(path.0), failed });
    }
    calls
}

/// `12<writer`
fn is_thread(text: &str) -> bool {
    text.split_once('<').is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

fn file(path: &str) -> &'static str {
    match path.rsplit_once(FILE) {
        Some((_, "")) => "main",
        Some((_, "-wal")) => "wal",
        Some((_, "-journal")) => "journal",
        Some((_, "-shm")) => "index",
        _ if path.contains("/slices/") => "slice",
        _ if path.ends_with("/slices") => "slices",
        _ => "folder",
    }
}
