//! The servers that `./check` starts, and what of them is one test's own.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parking_lot::Mutex;
#[cfg(feature = "faults")]
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::server::free_address;

#[cfg(feature = "faults")]
mod cluster;
#[cfg(feature = "faults")]
mod own;
#[cfg(feature = "faults")]
mod pooler;

#[cfg(feature = "faults")]
pub(crate) use cluster::OwnCluster;
#[cfg(feature = "faults")]
pub(crate) use own::OwnPostgres;
#[cfg(feature = "faults")]
pub(crate) use pooler::OwnPooler;

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

/// Each port that a test has is held by a name of its own, which ends with this process: no other test takes it after a stop.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

fn is_held(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("metergate-test-port-{port}")).unwrap();
    UnixListener::bind_addr(&name).map(|held| HELD.lock().push(held)).is_ok()
}

/// One below those that the system gives to connections that go out, so that it is still free after a stop.
pub(crate) fn free_port() -> u16 {
    let some = || 10_000 + u16::from_le_bytes(metergate::random::bytes()) % 20_000;
    let mut ports = std::iter::repeat_with(some).take(1000);
    ports
        .find(|port| is_held(*port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of a thousand ports is free")
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
        for _ in 0..3000 {
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
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

    /// It stands still: it is there, and says nothing.
    #[cfg(feature = "faults")]
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.process), Signal::STOP).unwrap();
    }

    /// After [`Self::freeze`]: it goes on.
    #[cfg(feature = "faults")]
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.process), Signal::CONT).unwrap();
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

/// Whether the only replica of the master at an address has all that this has.
pub(crate) fn replica_has_all(master: &str) -> bool {
    let role = redis_cli(master, &["ROLE"]);
    let lines: Vec<&str> = role.lines().collect();
    // `master`, how far it is, and of each replica host, port and how far it is.
    matches!(lines[..], ["master", ours, _, _, theirs] if ours == theirs)
}

/// What the Redis at an address answers to a command.
pub(crate) fn redis_cli(address: &str, command: &[&str]) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let output = Command::new("redis-cli").args(["-h", host, "-p", port]).args(command).output();
    let output = output.expect("redis-cli is there: ./check installs it");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The URL of the same database through a proxy, such as one that stands at `127.0.0.1:4000`.
#[cfg(feature = "faults")]
pub(crate) fn through(url: &str, proxy: &str) -> String {
    url.replacen(address_in(url), proxy, 1)
}

/// Host and port in a URL.
#[cfg(feature = "faults")]
pub(crate) fn address_in(url: &str) -> &str {
    let (_, rest) = url.split_once("://").expect("a URL");
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default()
}
