//! Providers that run in a process of node.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::super::client::Client;

/// A running provider. It is killed when this goes.
pub(super) struct Node {
    process: Child,
    /// Kept open, so that what it prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
    /// The provider's issuer.
    pub(super) issuer: String,
}

fn folder() -> PathBuf {
    PathBuf::from("tests/oidc")
}

impl Node {
    /// npm's `oidc-provider`, which sends browsers back to this address.
    pub(super) fn provider(back: &str) -> Self {
        let packages = std::env::var("METERGATE_OIDC_NODE").expect(
            "METERGATE_OIDC_NODE is not set: it names the folder with the node packages of server/tests/oidc, which ./check installs",
        );
        Self::run(
            Command::new("node").arg(folder().join("provider.mjs")).arg(back).env("METERGATE_OIDC_NODE", packages),
        )
    }

    /// One that says what it is told.
    pub(super) fn fake() -> Self {
        Self::fake_on("0")
    }

    /// The same, on a port.
    pub(super) fn fake_on(port: &str) -> Self {
        Self::run(Command::new("node").arg(folder().join("fake.mjs")).arg(port))
    }

    fn run(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("node is not here: install nodejs, as ./check does");
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut issuer = String::new();
        stdout.read_line(&mut issuer).unwrap();
        let issuer = issuer.trim_end().to_owned();
        let node = Self { process, _stdout: stdout, issuer };
        assert!(node.issuer.starts_with("http://127.0.0.1:"), "the provider did not start: {:?}", node.issuer);
        node
    }

    /// Tells the fake one what to do.
    pub(super) fn told(&self, path: &str, what: &Value) {
        Client::new(&self.issuer, None).post(path, what).is(200);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
