//! A PostgreSQL started for one question from Debian's packages, and PostgreSQL's own load generator on it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::error::BenchError;
use crate::home::last_lines;
use crate::proc::cpu_time_with_children;
use crate::process::free_port;
use pgbench::Transactions;

pub mod pgbench;

/// Where Debian has the programs of each version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// As whom it runs, since it refuses to run as root.
const OWNER: &str = "postgres";
/// A program that takes longer to start, to end or to do its work hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// A running PostgreSQL with the settings that it comes with. Dropping it ends it and removes its folder.
pub struct Postgres {
    server: Child,
    port: u16,
    programs: Programs,
}

impl Postgres {
    /// Makes an empty one in `parent` and starts it on a free port of loopback.
    ///
    /// # Errors
    /// [`BenchError::Missing`] where it is not installed, [`BenchError::Failed`] or [`BenchError::NotReady`] where it does not
    /// start.
    pub async fn start(parent: &Path) -> Result<Self, BenchError> {
        let programs = Programs::find(parent)?;
        let data = programs.owned().join("data");
        let mut initdb = programs.command("initdb", true);
        initdb.arg("--pgdata").arg(&data).arg(format!("--username={OWNER}"));
        initdb.args(["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]);
        programs.run(initdb, "initdb", PATIENCE).await?;
        let port = free_port().map_err(BenchError::io("finding a free port"))?.port();
        let mut server = programs.command("postgres", true);
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        let log = programs.new_file("log")?;
        let errors = log.try_clone().map_err(BenchError::io("the log of PostgreSQL"))?;
        let server = server.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let server = server.map_err(BenchError::io("starting PostgreSQL"))?;
        let mut started = Self { server, port, programs };
        started.wait_until_ready().await?;
        Ok(started)
    }

    async fn wait_until_ready(&mut self) -> Result<(), BenchError> {
        let began = Instant::now();
        while let Err(why) = self.tell("postgres", "SELECT 1").await {
            let ended = self.server.try_wait().ok().flatten();
            if ended.is_some() || began.elapsed() > PATIENCE {
                let log = last_lines(&self.programs.said("log"));
                return Err(BenchError::NotReady { program: "PostgreSQL".into(), why: why.to_string(), log });
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Which version it is, as Debian names it: `15`.
    pub fn version(&self) -> String {
        let version = self.programs.binaries.parent().and_then(Path::file_name);
        version.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Where one of its databases is, as a setting says it, as a superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Has a database do some statements: one transaction.
    ///
    /// # Errors
    /// [`BenchError::Failed`] where one fails.
    pub async fn tell(&self, database: &str, statements: &str) -> Result<(), BenchError> {
        let mut psql = self.programs.command("psql", false);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements]).args(self.at(database));
        self.programs.run(psql, "psql", PATIENCE).await.map(drop)
    }

    /// User and system time of all its processes so far.
    ///
    /// # Errors
    /// [`BenchError::Io`] where it does not run.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        cpu_time_with_children(self.server.id())
    }

    /// Has `pgbench` run a script in a database with so many clients for so many whole seconds.
    ///
    /// # Errors
    /// [`BenchError::Failed`] where it fails, or says what is not understood.
    pub async fn pgbench(
        &self,
        database: &str,
        script: &str,
        clients: u64,
        seconds: u64,
    ) -> Result<Transactions, BenchError> {
        let home = self.programs.home.path();
        let file = home.join("script");
        fs::write(&file, script).map_err(BenchError::io("the script of pgbench"))?;
        let latencies = pgbench::Latencies::new(home)?;
        let mut pgbench = self.programs.command("pgbench", false);
        pgbench.args(["--no-vacuum", "--protocol=prepared"]).arg("--file").arg(&file);
        pgbench.arg(format!("--client={clients}")).arg(format!("--jobs={}", clients.min(pgbench::THREADS)));
        pgbench.arg(format!("--time={seconds}")).args(latencies.arguments()).args(self.at(database));
        let before = self.cpu_time()?;
        let said = self.programs.run(pgbench, "pgbench", Duration::from_secs(seconds) + PATIENCE).await?;
        let cpu = self.cpu_time()?.saturating_sub(before);
        Transactions::read(&said, &latencies.read()?, cpu)
    }

    /// How a program of its own comes to a database.
    fn at(&self, database: &str) -> [String; 7] {
        ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", OWNER, database].map(str::to_owned)
    }
}

impl Drop for Postgres {
    /// As `pg_ctl stop -m fast`, and not so friendly where that does not end it.
    fn drop(&mut self) {
        if !matches!(self.server.try_wait(), Ok(None)) {
            return;
        }
        for (signal, patience) in [(Signal::INT, PATIENCE), (Signal::QUIT, PATIENCE / 6)] {
            let _ = kill_process(Pid::from_child(&self.server), signal);
            let asked = Instant::now();
            while asked.elapsed() < patience {
                if !matches!(self.server.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(POLL);
            }
        }
        eprintln!("process {} did not end when asked, and is killed", self.server.id());
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// PostgreSQL's programs, and a folder for them to work in.
struct Programs {
    binaries: PathBuf,
    home: TempDir,
}

impl Programs {
    /// The newest version's.
    fn find(parent: &Path) -> Result<Self, BenchError> {
        let versions = fs::read_dir(INSTALLED).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
        let number = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = versions.filter(|path| path.join("postgres").exists()).max_by_key(number);
        let binaries = newest.ok_or(BenchError::Missing("PostgreSQL (Debian's package `postgresql`)"))?;
        let what = || format!("making a folder in {}", parent.display());
        let parent = std::path::absolute(parent).map_err(BenchError::io(what()))?;
        let home = TempDir::with_prefix_in("metergate-bench-postgres-", parent).map_err(BenchError::io(what()))?;
        // Whoever it runs as must be able to go through.
        fs::set_permissions(home.path(), Permissions::from_mode(0o711)).map_err(BenchError::io(what()))?;
        let programs = Self { binaries, home };
        fs::create_dir(programs.owned()).map_err(BenchError::io(what()))?;
        programs.give_away()?;
        Ok(programs)
    }

    /// The part of the folder that is its own.
    fn owned(&self) -> PathBuf {
        self.home.path().join("own")
    }

    fn give_away(&self) -> Result<(), BenchError> {
        if !getuid().is_root() {
            return Ok(());
        }
        let given = Command::new("chown").arg(OWNER).arg(self.owned()).status().map_err(BenchError::io("chown"))?;
        if given.success() {
            return Ok(());
        }
        let said = format!("there is no user {OWNER}, as whom PostgreSQL could run");
        Err(BenchError::Failed { program: "chown".into(), how: given.to_string(), said })
    }

    /// A program that ends with this one, however that ends, as the owner of the data or as whoever runs this. The
    /// environment is emptied, so that none of its settings come from a shell.
    fn command(&self, name: &str, as_owner: bool) -> Command {
        let mut command = Command::new("setpriv");
        command.env_clear().env("LC_ALL", "C").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if as_owner && getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg("--pdeathsig=INT").arg(self.binaries.join(name)).current_dir(self.home.path());
        command
    }

    /// Runs a program to its end, and gives what it said.
    async fn run(&self, mut command: Command, name: &str, patience: Duration) -> Result<String, BenchError> {
        let output = self.new_file(name)?;
        let errors = output.try_clone().map_err(BenchError::io(name))?;
        let program = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let ended = Running(program.map_err(BenchError::io(name))?).end(patience).await;
        let said = self.said(name);
        match ended {
            Some(status) if status.success() => Ok(said),
            Some(status) => {
                let (program, said) = (name.to_owned(), last_lines(&said));
                Err(BenchError::Failed { program, how: status.to_string(), said })
            }
            None => Err(BenchError::TooSlow(name.to_owned())),
        }
    }

    fn new_file(&self, name: &str) -> Result<File, BenchError> {
        File::create(self.home.path().join(name)).map_err(BenchError::io(name))
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap_or_default()
    }
}

/// A program under way. It is killed where nobody waits for it any more.
struct Running(Child);

impl Running {
    async fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < patience {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => sleep(POLL).await,
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
