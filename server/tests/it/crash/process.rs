//! The program as a process.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use rustix::process::{Pid, Signal, kill_process};

use super::http::{ADMINISTRATOR, Call, Client};
use crate::http::server::metergate;

/// A process that takes longer to end or to stand still hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server is started with beside its folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// `FAILPOINTS`, such as `commit-begun=3*off->return`.
    pub(super) fail_points: String,
    /// The bug that is planted.
    pub(super) planted: Option<&'static str>,
}

/// A server that runs. It is killed when this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts the program on a run's folder and waits until it answers.
    ///
    /// # Errors
    /// How it ended, if it ended before.
    pub(super) fn start(folder: &Path, faults: &Faults) -> Result<Self, ExitStatus> {
        Self::start_under(&[], folder, faults)
    }

    /// As [`Server::start`], under a program that runs it in its own place, such as `strace -D`.
    ///
    /// # Errors
    /// How it ended, if it ended before it answered.
    pub(super) fn start_under(tool: &[String], folder: &Path, faults: &Faults) -> Result<Self, ExitStatus> {
        Self::start_with(tool, folder, faults, &[])
    }

    /// The same with more settings.
    ///
    /// # Errors
    /// How it ended, if it ended before it answered.
    pub(super) fn start_with(
        tool: &[String],
        folder: &Path,
        faults: &Faults,
        settings: &[(&str, String)],
    ) -> Result<Self, ExitStatus> {
        let log = OpenOptions::new().create(true).append(true).open(folder.join("server.log")).unwrap();
        let mut command = under(tool, program(folder), folder);
        command.arg("serve").stdout(Stdio::piped()).stderr(log).env("METERGATE_LISTEN", "127.0.0.1:0");
        command.env("METERGATE_ADMIN_KEY", ADMINISTRATOR).env("METERGATE_CATALOGUE", folder.join("catalogue.toml"));
        command.env("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true").env("METERGATE_CORES", "2");
        command.env("METERGATE_SLICE_IDS", "50");
        command.env("FAILPOINTS", &faults.fail_points);
        command.envs(faults.planted.map(|bug| ("METERGATE_PLANTED", bug)));
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let Some((_, address)) = first.trim().split_once("http://") else {
            return Err(child.wait().unwrap());
        };
        let mut server = Self { child, address: address.parse().unwrap(), _stdout: stdout };
        let ready = || match Client::connect(server.address).and_then(|mut client| client.call(&Call::get("/readyz"))) {
            Ok(ready) => (ready.status == 200).then_some(true),
            Err(_) => Some(false),
        };
        if until(PATIENCE, ready).expect("a server that has started becomes ready") {
            return Ok(server);
        }
        Err(server.ended().expect("a server that does not answer has ended"))
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address).expect("the server accepts")
    }

    /// Stops all of its threads where they are. Only a signal goes on from there.
    pub(super) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands_still = |task: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            // The name of the thread, in parentheses, may hold anything.
            stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['T', 't']))
        };
        let frozen = until(PATIENCE, || fs::read_dir(&tasks).unwrap().all(stands_still).then_some(()));
        frozen.expect("a process that was sent SIGSTOP stops");
    }

    /// What the system says about its thread of this name.
    pub(super) fn thread(&self, name: &str) -> PathBuf {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let is_it = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name);
        tasks.find(is_it).unwrap_or_else(|| panic!("the server has no thread {name}"))
    }

    /// Waits for its end, for a while. `None` if it still runs.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        until(PATIENCE, || self.child.try_wait().unwrap())
    }

    /// SIGTERM, unless it has ended by itself. How it ended.
    pub(super) fn end(mut self) -> ExitStatus {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.ended().expect("a server that is stopped ends")
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(was_killed(self.child.wait().unwrap()), "the server ended before it was killed");
    }

    /// `kill -9`, unless it has ended by itself. How it ended then.
    pub(super) fn kill_unless_ended(mut self) -> Option<ExitStatus> {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        (!was_killed(status)).then_some(status)
    }

    /// How it ended; `None` if it still runs.
    pub(super) fn died_by_itself(mut self) -> Option<ExitStatus> {
        let alive = Client::connect(self.address).and_then(|mut client| client.call(&Call::get("/livez")));
        alive.is_err().then(|| self.child.wait().unwrap())
    }

    /// How it ended: it must, by itself, once nobody asks for anything.
    pub(super) fn died(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// SIGTERM: it answers what is under way and ends.
    pub(super) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a server that is stopped ends well, not with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, for the `data` below a folder.
pub(super) fn program(folder: &Path) -> Command {
    let mut command = metergate(folder);
    command.env("METERGATE_DATA_DIR", folder.join("data"));
    command
}

/// The same, run by a tool.
fn under(tool: &[String], program: Command, folder: &Path) -> Command {
    let Some((name, arguments)) = tool.split_first() else { return program };
    let mut command = Command::new(name);
    command.args(arguments).arg(program.get_program()).env_clear().current_dir(folder).stdin(Stdio::null());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Asks again and again until there is an answer, for so long.
pub(super) fn until<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let began = boot();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if u128::from((boot() - began).unsigned_abs()) > patience.as_micros() {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process ended as `kill -9` ends it.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
