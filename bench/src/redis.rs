//! A Redis started for one question, if it is installed.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::error::BenchError;
use crate::home::last_lines;
use crate::proc::cpu_time;
use crate::process::free_port;

/// One that takes longer to start hangs.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A running Redis that writes nothing to the disk. Dropping it ends it.
pub struct Redis {
    server: Child,
    port: u16,
    home: TempDir,
}

impl Redis {
    /// Starts an empty one on a free port of loopback; `None` where none is installed.
    ///
    /// # Errors
    /// [`BenchError::NotReady`] where it does not start.
    pub async fn start(parent: &Path) -> Result<Option<Self>, BenchError> {
        if !is_installed() {
            return Ok(None);
        }
        let what = "starting a Redis";
        let home = TempDir::with_prefix_in("metergate-bench-redis-", parent).map_err(BenchError::io(what))?;
        let port = free_port().map_err(BenchError::io("finding a free port"))?.port();
        let log = File::create(home.path().join("log")).map_err(BenchError::io(what))?;
        let errors = log.try_clone().map_err(BenchError::io(what))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=TERM", "redis-server", "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(home.path()).args(["--port", &port.to_string()]);
        let server = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().map_err(BenchError::io(what))?;
        let mut started = Self { server, port, home };
        started.wait_until_ready().await?;
        Ok(Some(started))
    }

    async fn wait_until_ready(&mut self) -> Result<(), BenchError> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if !matches!(self.server.try_wait(), Ok(None)) || began.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
                let why = "nothing listens".to_owned();
                return Err(BenchError::NotReady { program: "Redis".into(), why, log: last_lines(&log) });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Where it is, as a setting says it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// User and system time of it so far.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it does not run.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        cpu_time(self.server.id())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn is_installed() -> bool {
    let asked = Command::new("redis-server").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    !matches!(asked, Err(error) if error.kind() == io::ErrorKind::NotFound)
}
