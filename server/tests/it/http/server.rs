//! A real server in its own process, on a folder of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use metergate::clock::wall;
use metergate_rules::time::{HOUR, SECOND};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::client::Client;
use crate::servers::free_port;

/// The administrator's key of every server here.
pub(crate) const ADMIN_KEY: &str = "the-key-of-the-administrator-in-these-tests";

/// No test begins in so many microseconds before a full hour: hours, days and months would begin anew in the middle of it.
const END_OF_HOUR: i64 = 40 * SECOND;

/// A running `metergate serve`. It is killed when this goes.
pub(crate) struct Server {
    process: Child,
    /// Keeps its port while it is down.
    _port: Socket,
    /// Kept open, so that what the server prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
    folder: TempDir,
    settings: Vec<(String, String)>,
    /// Where it answers, such as `http://127.0.0.1:40000`.
    pub(crate) url: String,
}

impl Server {
    /// With the defaults, on a free port.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With settings from the environment.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings: Vec<_> = given.collect();
        wait_for_the_next_hour();
        let (port, address) = held_port();
        let (process, stdout, url) = run(folder.path(), &settings, &address);
        Self { process, _port: port, _stdout: stdout, folder, settings, url }
    }

    /// `kill -9`: nothing is written any more.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM: it answers what is under way and ends.
    #[cfg(feature = "faults")]
    pub(crate) fn stop(&mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), rustix::process::Signal::TERM)
            .unwrap();
        assert!(self.process.wait().unwrap().success(), "a server that is stopped ends well");
    }

    /// Waits until it has died by itself.
    #[cfg(feature = "faults")]
    pub(crate) fn died(&mut self) {
        for _ in 0..3000 {
            if let Some(status) = self.process.try_wait().unwrap() {
                assert!(!status.success(), "it was killed");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it has not died");
    }

    /// After [`Self::kill`]: on the same folder and the same address.
    pub(crate) fn start_again(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.process, self._stdout, self.url) = run(self.folder.path(), &self.settings, &address);
    }

    /// From its next start on with this setting.
    #[cfg(feature = "faults")]
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// A client with the administrator's key.
    pub(crate) fn admin(&self) -> Client {
        self.client(ADMIN_KEY)
    }

    /// A client with this key.
    pub(crate) fn client(&self, key: &str) -> Client {
        Client::new(&self.url, Some(key))
    }

    /// A client without any.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log(self.folder.path())).unwrap()
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder().join("data").join(metergate::store::sqlite::FILE)).unwrap()
    }

    /// Does something in its database behind its back.
    pub(crate) fn sql(&self, sql: &str) {
        self.database().execute_batch(sql).unwrap();
    }

    /// A figure from its database.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Whether a text stands anywhere in the files of a server that has stopped.
    #[cfg(feature = "faults")]
    pub(crate) fn has_anywhere(&self, text: &str) -> bool {
        let data = self.folder().join("data");
        let mut files = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        files.any(|file| fs::read(&file).unwrap().windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// A folder for files of the test; it goes with the server.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(log(self.folder.path())).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "the server's log:\n{log}");
        }
    }
}

/// The condition by which entries of the audit log are of an organization's chain.
pub(crate) fn is_of_chain(id: &str) -> String {
    format!("chain = {}", bytes(&id.replace('-', "")))
}

/// Bytes in SQL, from hexadecimal digits.
pub(crate) fn bytes(hex: &str) -> String {
    format!("x'{hex}'")
}

/// Tells whether something was committed: from when this is made all was.
pub(crate) struct Written(rusqlite::Connection);

impl Written {
    /// Waits until there is nothing left to write: rows follow the journal where nobody calls.
    pub(crate) fn so_far(server: &Server) -> Self {
        let behind = "SELECT (SELECT max(sequence) FROM blocks) > (SELECT CAST(value AS INTEGER) FROM settings WHERE name = 'folded_to')";
        let is_done = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            server.number(behind) == 0
        });
        assert!(is_done, "the rows do not follow the journal");
        Self(server.database())
    }

    /// Changes with every commit.
    pub(crate) fn version(&self) -> i64 {
        self.0.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap()
    }
}

fn log(folder: &Path) -> std::path::PathBuf {
    folder.join("log")
}

/// A process of ours, with nothing of the environment but what `./check` looks for.
pub(crate) fn metergate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command.envs(std::env::var_os("METERGATE_CHECK").map(|mark| ("METERGATE_CHECK", mark)));
    command
}

/// Starts a server and waits until it says where it is.
fn run(folder: &Path, settings: &[(String, String)], address: &str) -> (Child, BufReader<ChildStdout>, String) {
    let log = fs::OpenOptions::new().create(true).append(true).open(log(folder)).unwrap();
    let mut command = metergate(folder);
    command.arg("serve").stdout(Stdio::piped()).stderr(log);
    command.env("METERGATE_LISTEN", address).env("METERGATE_DATA_DIR", folder.join("data"));
    command.env("METERGATE_ADMIN_KEY", ADMIN_KEY).env("METERGATE_CORES", "1").env("METERGATE_LOG", "info");
    command.envs(settings.iter().cloned());
    let mut process = command.spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let Some((_, url)) = line.trim_end().split_once(" at ") else {
        let _ = process.kill();
        let _ = process.wait();
        panic!("the server did not start: {line:?}; its log:\n{}", fs::read_to_string(self::log(folder)).unwrap());
    };
    // Where it has a public address, that is what it says, and leads nowhere here.
    let given = settings.iter().find(|(name, _)| name == "METERGATE_LISTEN");
    let url = given.map_or_else(|| url.to_owned(), |(_, address)| format!("http://{address}"));
    (process, stdout, url)
}

/// An address of this machine that is free.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A port that nobody else is given while the socket lives, and where it is. The socket listens to nothing, and lets those of a
/// server be bound beside it: so a server that is killed finds its port again.
fn held_port() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    (socket, address)
}

fn wait_for_the_next_hour() {
    let now = wall();
    let left = now.floor(HOUR).plus(HOUR).since(now);
    if left < END_OF_HOUR {
        std::thread::sleep(Duration::from_micros(left.unsigned_abs()));
    }
}
