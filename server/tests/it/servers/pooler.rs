//! A PgBouncer before the PostgreSQL of the tests.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use tempfile::TempDir;

use super::own::{as_postgres, log, soon};
use super::{address_in, free_port, through};

/// Where Debian has it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// It is killed when this goes.
pub(crate) struct OwnPooler {
    process: Option<Child>,
    port: u16,
    folder: TempDir,
    server: String,
}

impl OwnPooler {
    /// One that takes everybody to the server of this URL, and lends its sessions by the `session`, the `transaction` or the
    /// `statement`. With these settings, one a line.
    pub(crate) fn start(url: &str, lends_by: &str, settings: &str) -> Self {
        let folder = TempDir::new().unwrap();
        // Whoever it runs as must be able to go through.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let mut pooler = Self { process: None, port: free_port(), folder, server: address_in(url).to_owned() };
        pooler.lends_by(lends_by, settings);
        pooler
    }

    /// At the same address, with everybody sent away: from now on it lends so.
    pub(crate) fn lends_by(&mut self, lends_by: &str, settings: &str) {
        self.kill();
        let (host, port) = self.server.rsplit_once(':').expect("host and port");
        let text = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = any\ndefault_pool_size = 40\npool_mode = {lends_by}\n{settings}\n",
            self.port
        );
        let file = self.folder.path().join("pgbouncer.ini");
        fs::write(&file, text).unwrap();
        let mut program = as_postgres(self.folder.path(), Path::new(PROGRAM), "KILL");
        self.process = Some(program.arg(file).spawn().expect("setpriv is there: ./check installs it"));
        let answers = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        assert!(soon(answers), "{PROGRAM}, which ./check installs, did not start: {}", log(self.folder.path()));
    }

    /// The URL of the same database through it.
    pub(crate) fn url(&self, direct: &str) -> String {
        through(direct, &format!("127.0.0.1:{}", self.port))
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for OwnPooler {
    fn drop(&mut self) {
        self.kill();
    }
}
