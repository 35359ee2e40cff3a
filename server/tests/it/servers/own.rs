//! A PostgreSQL that a test may treat as it likes.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::store::Stranger;

/// Where Debian has the programs of each version.
const INSTALLED: &str = "/usr/lib/postgresql";
/// One that takes longer to start or to end hangs: so many looks, and how long is rested in between.
const LOOKS: usize = 3000;
const REST: Duration = Duration::from_millis(10);

/// It is ended when this goes.
pub(crate) struct OwnPostgres {
    process: Option<Child>,
    port: u16,
    folder: TempDir,
    options: Vec<String>,
}

impl OwnPostgres {
    /// An empty one with these settings, such as `max_connections=20`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let mut made = Self::made(settings, &[]);
        made.start_again();
        made
    }

    /// One that shows this certificate, and lets nobody in without TLS.
    pub(crate) fn with_tls(shown: &Certificate) -> Self {
        let files = [
            ("server.crt", shown.certificate.as_str()),
            ("server.key", &shown.key),
            ("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n"),
        ];
        let mut made = Self::made(&["ssl=on"], &files);
        made.run();
        let is_ready = || log(made.folder.path()).contains("ready to accept connections");
        assert!(soon(is_ready), "PostgreSQL did not start: {}", log(made.folder.path()));
        made
    }

    /// One with these files in its data.
    fn made(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        // Whoever it runs as must be able to go through.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let own = folder.path().join("own");
        fs::create_dir(&own).unwrap();
        give(&own);
        let mut initdb = program(folder.path(), "initdb");
        initdb.arg("--pgdata").arg(own.join("data"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let made = initdb.status().expect("setpriv is there: ./check installs it");
        assert!(made.success(), "initdb failed: {}", log(folder.path()));
        for (name, text) in files {
            let path = own.join("data").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            give(&path);
        }
        let options = settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect();
        Self { process: None, port: super::free_port(), folder, options }
    }

    /// Where it is, as a setting says it, as a superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The same with these parameters, by the address or the name of this machine.
    pub(crate) fn urls_with(&self, parameters: &str) -> [String; 2] {
        let url = format!("{}?{parameters}", self.url());
        [url.clone(), url.replace("127.0.0.1", "localhost")]
    }

    /// After it was stopped: at the same address, once it takes connections.
    pub(crate) fn start_again(&mut self) {
        self.run();
        let comes = || Stranger::try_to_come(&self.url()).is_some();
        assert!(soon(comes), "PostgreSQL did not start: {}", log(self.folder.path()));
    }

    fn run(&mut self) {
        let own = self.folder.path().join("own");
        let mut postgres = program(self.folder.path(), "postgres");
        postgres.arg("-D").arg(own.join("data")).arg("-k").arg(&own).args(["-p", &self.port.to_string()]);
        postgres.args(["-c", "listen_addresses=127.0.0.1"]).args(&self.options);
        self.process = Some(postgres.spawn().expect("setpriv is there: ./check installs it"));
    }

    /// As `pg_ctl stop -m fast`: everybody is sent away, and what was committed is put in its place.
    pub(crate) fn stop_fast(&mut self) {
        self.stop(Signal::INT);
    }

    /// As `pg_ctl stop -m immediate`: as if it had crashed.
    pub(crate) fn stop_at_once(&mut self) {
        self.stop(Signal::QUIT);
    }

    fn stop(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { return };
        kill_process(Pid::from_child(&process), signal).unwrap();
        assert!(soon(|| process.try_wait().unwrap().is_some()), "PostgreSQL did not stop: {}", log(self.folder.path()));
    }

    /// From now on it reads alone, as a standby does, until somebody promotes it.
    pub(crate) fn becomes_a_standby(&mut self) {
        self.stop_fast();
        let signal = self.folder.path().join("own/data/standby.signal");
        fs::write(&signal, "").unwrap();
        give(&signal);
        self.start_again();
    }

    /// All of its processes stand still.
    pub(crate) fn freeze(&self) {
        // The first makes the others, so it must not make any more.
        let first = self.process.as_ref().expect("it runs").id();
        self.signal(first, Signal::STOP);
        children(first).into_iter().for_each(|child| self.signal(child, Signal::STOP));
    }

    /// After [`Self::freeze`]: they go on.
    pub(crate) fn thaw(&self) {
        let first = self.process.as_ref().expect("it runs").id();
        children(first).into_iter().for_each(|child| self.signal(child, Signal::CONT));
        self.signal(first, Signal::CONT);
    }

    /// One of its processes may have ended by itself.
    fn signal(&self, process: u32, signal: Signal) {
        let _ = kill_process(Pid::from_raw(process.cast_signed()).expect("a process"), signal);
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let all = children(process.id());
        all.iter().chain([&process.id()]).for_each(|one| self.signal(*one, Signal::CONT));
        let _ = kill_process(Pid::from_child(&process), Signal::QUIT);
        if !soon(|| !matches!(process.try_wait(), Ok(None))) {
            all.into_iter().for_each(|one| self.signal(one, Signal::KILL));
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Gives a file or folder to the user as whom PostgreSQL runs.
pub(super) fn give(path: &Path) {
    if getuid().is_root() {
        let given = Command::new("chown").arg("postgres").arg(path).status().expect("chown is there");
        assert!(given.success(), "there is no user postgres, as which PostgreSQL could run: ./check installs it");
    }
}

/// One of the newest version's programs, as the user as whom it runs. It ends with this process, however that ends.
fn program(folder: &Path, name: &str) -> Command {
    as_postgres(folder, &programs().join(name), "INT")
}

/// A program that does not run as root, which gets this signal when this process ends. It says what it does in the folder.
pub(super) fn as_postgres(folder: &Path, path: &Path, last: &str) -> Command {
    let mut command = Command::new("setpriv");
    if getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg(format!("--pdeathsig={last}")).arg(path).current_dir(folder);
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

fn programs() -> PathBuf {
    let versions = fs::read_dir(INSTALLED).into_iter().flatten().map(|entry| entry.unwrap().path().join("bin"));
    let number = |path: &PathBuf| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|path| path.join("postgres").exists()).max_by_key(number);
    newest.unwrap_or_else(|| panic!("PostgreSQL is not below {INSTALLED}: ./check installs it"))
}

fn children(process: u32) -> Vec<u32> {
    let listed = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    listed.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

pub(super) fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

pub(super) fn soon(mut holds: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(REST);
        }
        held
    })
}
