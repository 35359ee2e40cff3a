//! A server started for one measurement, and stopped by its process id.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::home::Home;
use crate::proc::written;
use crate::request::{json_request, random_seed};
use crate::setup::Target;

/// A start with tens of millions of ids may have much to read.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// A stop may have much to write.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
/// How exactly a start is timed.
const POLL: Duration = Duration::from_millis(2);

/// The setting that gives the administrator's key.
pub const ADMIN_KEY: &str = "METERGATE_ADMIN_KEY";

/// A server that has written nothing for so long is quiet.
pub const QUIET: Duration = Duration::from_secs(1);
/// It is waited for no longer than this.
const QUIET_WITHIN: Duration = Duration::from_secs(120);

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

/// A running server. Dropping it ends the process; its home goes with the last that holds it.
pub struct ServerProcess {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// The administrator's key that it was given.
    pub key: String,
    /// From starting the process to its first answer that it is ready.
    pub ready_after: Duration,
    /// Its folder.
    pub home: Rc<Home>,
}

impl ServerProcess {
    /// Starts `program` on a free port with its data in `home`, and waits until it is ready.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it cannot be started, [`BenchError::NotReady`] where it ends or takes too long.
    pub async fn start(program: &Program, home: Rc<Home>) -> Result<Self, BenchError> {
        let what = || format!("starting {}", program.name());
        let address = free_port().map_err(BenchError::io("finding a free port"))?;
        let key = program.admin_key().unwrap_or_else(new_key);
        let mut command = program.command(address, &key, &home).map_err(BenchError::io(what()))?;
        let started = Instant::now();
        let child = command.spawn().map_err(BenchError::io(what()))?;
        let mut server = Self { child, address, key, ready_after: Duration::ZERO, home };
        server.wait_until_ready(program, started).await?;
        Ok(server)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it is reached.
    pub fn target(&self) -> Target {
        Target { address: self.address, key: self.key.clone() }
    }

    /// Waits until it writes nothing more, so that what it does after its answers is done; the bytes that it has had
    /// written until then.
    ///
    /// # Errors
    /// [`BenchError::Io`] where there is no such process.
    pub async fn quiet(&self) -> Result<u64, BenchError> {
        let began = Instant::now();
        let (mut last, mut since) = (written(self.pid())?, began);
        while since.elapsed() < QUIET && began.elapsed() < QUIET_WITHIN {
            sleep(QUIET / 10).await;
            let now = written(self.pid())?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(last)
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    /// [`BenchError::Io`] where that is not possible.
    pub fn kill(mut self) -> Result<Rc<Home>, BenchError> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map_err(BenchError::io(format!("killing process {}", self.child.id())))?;
        Ok(self.home.clone())
    }

    async fn wait_until_ready(&mut self, program: &Program, started: Instant) -> Result<(), BenchError> {
        while !self.is_ready().await {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > READY_WITHIN {
                let why = ended.map_or_else(|| "it took too long".into(), |status| format!("it ended: {status}"));
                return Err(BenchError::NotReady { program: program.name(), why, log: self.home.end_of_log() });
            }
            sleep(POLL).await;
        }
        self.ready_after = started.elapsed();
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.address).await else { return false };
        let request = json_request("GET", "/readyz", self.address, &self.key, "");
        connection.exchange(&request).await.is_ok_and(|answer| answer.status == 200)
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
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
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

    /// The administrator's key that the settings give: several nodes have the same.
    fn admin_key(&self) -> Option<String> {
        let Self::Metergate { settings, .. } = self else { return None };
        settings.iter().find(|(name, _)| name == ADMIN_KEY).map(|(_, key)| key.clone())
    }

    /// The environment is emptied: a database address or a quota of the shell must not change what is measured.
    fn command(&self, address: SocketAddr, key: &str, home: &Home) -> std::io::Result<Command> {
        let mut command = match self {
            Self::Echo => Command::new(std::env::current_exe()?),
            Self::Metergate { binary, .. } => Command::new(binary),
        };
        command.env_clear();
        match self {
            Self::Echo => command.args(["echo", "--listen", &address.to_string()]),
            Self::Metergate { settings, .. } => {
                command.arg("serve").env("METERGATE_LISTEN", address.to_string());
                command.env("METERGATE_DATA_DIR", home.data()).env(ADMIN_KEY, key);
                command.envs(settings.iter().map(|(name, value)| (name, value)))
            }
        };
        let log = home.new_log()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

/// An administrator's key that nobody has used.
pub fn new_key() -> String {
    format!("{:020}{:020}", random_seed(), random_seed())
}

/// A port that nothing listens on now. Another program could take it before the server does; then it is not ready.
pub(crate) fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
