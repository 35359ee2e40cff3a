//! A server that is told to stop by a signal, whatever those who started it do about signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::Client;
use super::server::{ADMIN_KEY, free_address};

/// A server that was started by `env`, which says what its process does at signals.
struct Started {
    process: Child,
    _stdout: BufReader<ChildStdout>,
    _folder: TempDir,
    admin: Client,
}

impl Started {
    fn with(option: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("/usr/bin/env");
        command.args([option, env!("CARGO_BIN_EXE_metergate"), "serve"]).env_clear().current_dir(folder.path());
        command.envs(std::env::var_os("METERGATE_CHECK").map(|mark| ("METERGATE_CHECK", mark)));
        command.env("METERGATE_LISTEN", free_address()).env("METERGATE_ADMIN_KEY", ADMIN_KEY);
        command.env("METERGATE_CORES", "1").env("METERGATE_DATA_DIR", folder.path().join("data"));
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stdout, mut line) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        stdout.read_line(&mut line).unwrap();
        let url = line.trim_end().split_once(" at ").map(|(_, url)| url.to_owned()).unwrap();
        let admin = Client::new(&url, Some(ADMIN_KEY));
        admin.get("/v1/me").is(200);
        Self { process, _stdout: stdout, _folder: folder, admin }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// How it ended, within some seconds.
    fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        for _ in 0..within.as_millis() / 20 {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn whichever_signal_stops_a_server_it_ends_well() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut server = Started::with("--default-signal=TERM,INT,HUP,QUIT");
        server.signal(signal);
        let ended = server.ended(Duration::from_secs(30));
        assert!(ended.is_some_and(|status| status.success()), "{signal:?}: {ended:?}");
    }
}

#[test]
fn a_server_that_was_started_to_go_on_without_its_terminal_does() {
    let mut server = Started::with("--ignore-signal=HUP");
    server.signal(Signal::HUP);
    assert_eq!(server.ended(Duration::from_secs(1)), None);
    server.admin.get("/v1/me").is(200);
    server.signal(Signal::TERM);
    assert!(server.ended(Duration::from_secs(30)).is_some_and(|status| status.success()));
}
