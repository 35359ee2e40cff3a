//! The servers that `./check` starts, and what of them is one test's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::certificates::Certificate;
use crate::http::server::free_address;

/// The superuser's address of the PostgreSQL.
const POSTGRES: &str = "METERGATE_TEST_POSTGRES";
/// Another, whose settings a test changes.
const POSTGRES_TO_CHANGE: &str = "METERGATE_TEST_POSTGRES_TO_CHANGE";
/// A Redis that no test may disturb.
const REDIS: &str = "METERGATE_TEST_REDIS";
/// The one behind Sentinels.
const SENTINEL: &str = "METERGATE_TEST_REDIS_SENTINEL";
/// The cluster.
const CLUSTER: &str = "METERGATE_TEST_REDIS_CLUSTER";

/// # Panics
/// Where the tests were not started by `./check`: a missing server fails a test, and never skips it.
fn address(variable: &str) -> String {
    let advice = "run tests by ./check, or a few of them by ./check servers cargo nextest run …";
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: {advice}"))
}

/// The PostgreSQL that all tests share, as a superuser.
pub(crate) fn postgres() -> String {
    address(POSTGRES)
}

/// A PostgreSQL of which one test may change the settings, as a superuser.
pub(crate) fn postgres_to_change() -> String {
    address(POSTGRES_TO_CHANGE)
}

/// The Redis that all tests share.
pub(crate) fn redis() -> String {
    address(REDIS)
}

/// The master that Sentinels watch.
pub(crate) fn sentinel() -> String {
    address(SENTINEL)
}

/// The cluster of three masters.
pub(crate) fn cluster() -> String {
    address(CLUSTER)
}

/// What a test's own keys begin with.
pub(crate) fn prefix() -> String {
    format!("test-{}", random())
}

fn random() -> String {
    metergate::hex::hex(&metergate::random::bytes::<8>())
}

/// A Redis that a test may treat as it likes. It is killed when this goes.
pub(crate) struct OwnRedis {
    process: Child,
    address: String,
    folder: TempDir,
    options: Vec<String>,
}

impl OwnRedis {
    /// An empty one.
    pub(crate) fn start() -> Self {
        let address = free_address();
        let port = address.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap();
        Self::with(address, vec!["--port".to_owned(), port])
    }

    /// One at this address, with these options.
    pub(crate) fn with(address: String, options: Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let process = Self::run(&folder, &options);
        let own = Self { process, address, folder, options };
        own.wait();
        own
    }

    fn run(folder: &TempDir, options: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path()).args(options);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log).spawn().expect("redis-server is there: ./check installs it")
    }

    fn wait(&self) {
        for _ in 0..500 {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("a Redis did not start: {}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    /// Where it is, as a setting says it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// After [`Self::kill`]: an empty one at the same address.
    pub(crate) fn start_again(&mut self) {
        self.process = Self::run(&self.folder, &self.options);
        self.wait();
    }

    /// What it answers to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> String {
        redis_cli(&self.address, command)
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A PostgreSQL of a test's own, with TLS. It is ended when this goes.
pub(crate) struct OwnPostgres {
    process: Child,
    address: String,
    folder: TempDir,
}

impl OwnPostgres {
    /// One that shows this certificate, and lets nobody in without TLS.
    pub(crate) fn with_tls(shown: &Certificate) -> Self {
        let (folder, address) = (TempDir::new().unwrap(), free_address());
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        owned_by_postgres(&data);
        let initdb = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
        let made = postgres_program("initdb").args(initdb).arg("-D").arg(&data).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let texts = [
            ("server.crt", shown.certificate.as_str()),
            ("server.key", &shown.key),
            ("pg_hba.conf", "hostssl all all 127.0.0.1/32 trust\n"),
        ];
        for (name, text) in texts {
            std::fs::write(data.join(name), text).unwrap();
            std::fs::set_permissions(data.join(name), Permissions::from_mode(0o600)).unwrap();
            owned_by_postgres(&data.join(name));
        }
        let port = address.rsplit_once(':').map(|(_, port)| port.to_owned()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = postgres_program("postgres");
        command.arg("-D").arg(&data).args(["-p", &port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let own = Self { process, address, folder };
        own.wait();
        own
    }

    fn wait(&self) {
        for _ in 0..3000 {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            if log.contains("ready to accept connections") {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("a PostgreSQL did not start: {}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    /// Its URL with these parameters.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("postgresql://postgres@{}/postgres?{parameters}", self.address)
    }

    /// The same by the name of this machine in place of its address.
    pub(crate) fn url_by_name(&self, parameters: &str) -> String {
        self.url(parameters).replace("127.0.0.1", "localhost")
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        let process = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(process, rustix::process::Signal::QUIT);
        let _ = self.process.wait();
    }
}

/// A program of the newest PostgreSQL, as the user who may run it.
fn postgres_program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is there: ./check installs it");
    let version = |path: &std::path::PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.unwrap().path()).max_by_key(version).expect("PostgreSQL is there");
    let program = newest.join("bin").join(name);
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=QUIT");
    if rustix::process::getuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

/// PostgreSQL refuses to run as root, and to read keys of others.
fn owned_by_postgres(path: &std::path::Path) {
    if rustix::process::getuid().is_root() {
        let owned = Command::new("chown").arg("postgres:postgres").arg(path).status().unwrap();
        assert!(owned.success(), "there is a user postgres: ./check installs PostgreSQL");
    }
}

/// What the Redis at an address answers to a command.
pub(crate) fn redis_cli(address: &str, command: &[&str]) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let output = Command::new("redis-cli").args(["-h", host, "-p", port]).args(command).output();
    let output = output.expect("redis-cli is there: ./check installs it");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
