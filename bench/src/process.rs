//! A server started for one measurement, with a folder of its own, and stopped by its process id.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::request::{json_request, random_seed};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// How much of a log is shown when its server did not start.
const LOG_LINES: usize = 20;

/// What to start.
#[derive(Clone, Debug)]
pub enum Program {
    /// This program's own echo server.
    Echo,
    /// A built `metergate`, with further settings for its environment.
    Metergate {
        /// The binary.
        binary: PathBuf,
        /// Names and values.
        settings: Vec<(String, String)>,
    },
}

/// A running server. Dropping it ends the process and removes its folder.
pub struct ServerProcess {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// The administrator's key that it was given.
    pub key: String,
    folder: TempDir,
}

impl ServerProcess {
    /// Starts `program` on a free port with a new folder in `parent`, and waits until it is ready.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it cannot be started, [`BenchError::NotReady`] where it ends or takes too long.
    pub async fn start(program: &Program, parent: &Path) -> Result<Self, BenchError> {
        let what = || format!("starting {}", program.name());
        let folder = TempDir::with_prefix_in("metergate-bench-", parent).map_err(BenchError::io(what()))?;
        let address = free_port().map_err(BenchError::io("finding a free port"))?;
        let key = format!("{:020}{:020}", random_seed(), random_seed());
        let mut command = program.command(address, &key, folder.path()).map_err(BenchError::io(what()))?;
        let child = command.spawn().map_err(BenchError::io(what()))?;
        let mut server = Self { child, address, key, folder };
        server.wait_until_ready(program).await?;
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of the files that it keeps.
    pub fn stored_bytes(&self) -> u64 {
        size_of_files(&data_folder(self.folder.path()))
    }

    async fn wait_until_ready(&mut self, program: &Program) -> Result<(), BenchError> {
        let started = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > READY_WITHIN {
                let why = ended.map_or_else(|| "it took too long".into(), |status| format!("it ended: {status}"));
                return Err(BenchError::NotReady { program: program.name(), why, log: self.end_of_log() });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.address).await else { return false };
        let request = json_request("GET", "/readyz", self.address, &self.key, "");
        connection.exchange(&request).await.is_ok_and(|answer| answer.status == 200)
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn has_ended_within(&mut self, patience: Duration) -> bool {
        let asked = Instant::now();
        while asked.elapsed() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(POLL);
        }
        false
    }
}

impl Drop for ServerProcess {
    /// Asks the process to end, and kills it only where it does not: its own shutdown is part of what is measured next.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if !self.has_ended_within(STOPPED_WITHIN) {
            eprintln!("process {} did not end when asked, and is killed", self.child.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Program {
    fn name(&self) -> String {
        match self {
            Self::Echo => "the echo server".into(),
            Self::Metergate { binary, .. } => binary.display().to_string(),
        }
    }

    /// The environment is emptied: a database address or a quota of the shell must not change what is measured.
    fn command(&self, address: SocketAddr, key: &str, folder: &Path) -> std::io::Result<Command> {
        let mut command = match self {
            Self::Echo => Command::new(std::env::current_exe()?),
            Self::Metergate { binary, .. } => Command::new(binary),
        };
        command.env_clear();
        match self {
            Self::Echo => command.args(["echo", "--listen", &address.to_string()]),
            Self::Metergate { settings, .. } => {
                let data = data_folder(folder);
                fs::create_dir(&data)?;
                command.arg("serve").env("METERGATE_LISTEN", address.to_string()).env("METERGATE_DATA_DIR", data);
                command.env("METERGATE_ADMIN_KEY", key).envs(settings.iter().map(|(name, value)| (name, value)))
            }
        };
        let log = File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

fn data_folder(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Bytes of all files in `folder` and below; what vanishes meanwhile is not counted.
fn size_of_files(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of_files(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// A port that nothing listens on now. Another program could take it before the server does; then it is not ready.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
