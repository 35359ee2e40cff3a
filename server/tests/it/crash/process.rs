//! The program as a process.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::http::{ADMINISTRATOR, Call, Client};
use crate::http::server::metergate;

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
        let log = OpenOptions::new().create(true).append(true).open(folder.join("server.log")).unwrap();
        let mut command = program(folder);
        command.arg("serve").stdout(Stdio::piped()).stderr(log).env("METERGATE_LISTEN", "127.0.0.1:0");
        command.env("METERGATE_ADMIN_KEY", ADMINISTRATOR).env("METERGATE_CATALOGUE", folder.join("catalogue.toml"));
        command.env("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true").env("METERGATE_CORES", "2");
        command.env("METERGATE_SLICE_IDS", "50");
        command.env("FAILPOINTS", &faults.fail_points);
        command.envs(faults.planted.map(|bug| ("METERGATE_PLANTED", bug)));
        let mut child = command.spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let Some((_, address)) = first.trim().split_once("http://") else {
            return Err(child.wait().unwrap());
        };
        let server = Self { child, address: address.parse().unwrap(), _stdout: stdout };
        assert_eq!(server.client().call(&Call::get("/readyz")).unwrap().status, 200);
        Ok(server)
    }

    pub(super) fn client(&self) -> Client {
        Client::connect(self.address).expect("the server accepts")
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        assert!(was_killed(self.child.wait().unwrap()), "the server ended before it was killed");
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

/// Whether a process ended as `kill -9` ends it.
pub(super) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}
