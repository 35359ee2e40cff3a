//! Webhooks that npm's `stripe`, Stripe's own package, has signed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::json;

use super::fake::{SECRET, event, signed};
use super::{Server, now};

/// A process of node that signs. It is killed when this goes.
struct Signer {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Signer {
    fn start() -> Self {
        let packages = std::env::var("METERGATE_STRIPE_NODE").expect(
            "METERGATE_STRIPE_NODE is not set: it names the folder with the node packages of server/tests/stripe, which ./check installs",
        );
        let script = Path::new("tests/stripe/sign.mjs");
        let mut command = Command::new("node");
        command.arg(script).env("METERGATE_STRIPE_NODE", packages).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("node is not here: install nodejs, as ./check does");
        let (stdin, stdout) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, stdin, stdout }
    }

    fn sign(&mut self, payload: &str, secret: &str, timestamp: i64) -> String {
        writeln!(self.stdin, "{}", json!({"payload": payload, "secret": secret, "timestamp": timestamp})).unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_stripes_own_package_signs_is_taken() {
    let mut signer = Signer::start();
    let server = Server::with(&[("METERGATE_STRIPE_WEBHOOK_SECRET", SECRET)]);
    let long = json!({"text": "Grüße, \"quoted\" \u{1F600}".repeat(1000)});
    for (at, object) in [(0, json!({})), (-200, json!({"nested": [1, 2.5, null]})), (200, long)] {
        let body = event(&format!("evt_{at}"), "charge.succeeded", now(), &object).to_string();
        let signature = signer.sign(&body, SECRET, now() + at);
        assert!(signature.starts_with("t="), "{signature}");
        let stranger = server.stranger();
        let call = stranger.call("POST", "/webhooks/stripe").header("stripe-signature", &signature);
        call.body("application/json", body.as_bytes()).send().is(200);
        // The tests' own signatures are the same.
        let stamp = signature[2..].split(',').next().unwrap().parse().unwrap();
        assert_eq!(signed(&body, SECRET, stamp), signature);
        let wrong = signer.sign(&body, "whsec_of_another", now());
        let call = stranger.call("POST", "/webhooks/stripe").header("stripe-signature", &wrong);
        call.body("application/json", body.as_bytes()).send().expect_problem(400, "invalid-signature");
    }
}
