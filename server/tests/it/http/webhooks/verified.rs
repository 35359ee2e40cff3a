//! Deliveries of a running server, verified by what receivers use: the packages of Standard Webhooks from npm and PyPI.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::receiver::Received;
use super::{Endpoint, lock, started, unlock};

/// What both packages say, which must be the same.
fn verified(secret: &str, received: &Received) -> Value {
    let asked = json!({"secret": secret, "headers": received.headers, "body": received.body}).to_string();
    let folder = Path::new("tests/webhooks");
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: ./check says what it names and installs it"))
    };
    variable("METERGATE_WEBHOOKS_NODE");
    let by = |program: &str, script: &str| {
        let mut command = Command::new(program);
        command.arg(folder.join(script)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        process.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{script} failed");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let said = [by("node", "verify.mjs"), by(&variable("METERGATE_WEBHOOKS_PYTHON"), "verify.py")];
    assert_eq!(said[0]["verified"], said[1]["verified"], "{said:?}");
    said[0].clone()
}

#[test]
fn the_packages_of_standard_webhooks_verify_what_is_sent_and_refuse_what_was_changed() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    lock(&server);
    let received = receiver.received("/hooks", 0);
    assert_eq!(verified(&hooks.secret, &received)["verified"], received.json());
    let changed = Received { body: received.body.replace("acme", "evil"), ..received.clone() };
    let mut renamed = received.clone();
    renamed.headers.insert("webhook-id".to_owned(), "msg_of_somebody_else".to_owned());
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    for (secret, received) in [(hooks.secret.as_str(), &changed), (&hooks.secret, &renamed), (other, &received)] {
        assert!(verified(secret, received)["refused"].is_string(), "{received:?}");
    }
    // While one secret follows the other, a receiver may have either.
    let path = format!("{}/rotate-secret", hooks.path);
    let rotated = hooks.admin.call("POST", &path).send().is(200).json();
    let newest = rotated["secret"].as_str().unwrap();
    assert_ne!(newest, hooks.secret);
    unlock(&server);
    lock(&server);
    let received = receiver.received("/hooks", 1);
    assert_eq!(received.header("webhook-signature").split(' ').count(), 2);
    for secret in [newest, &hooks.secret] {
        assert_eq!(verified(secret, &received)["verified"], received.json());
    }
    hooks.admin.post(&path, json!({})).expect_problem(409, "rotation-under-way");
    let last = hooks.admin.post(&path, json!({"oldEndsInSeconds": 0})).is(200).json();
    assert_eq!(last["oldSecretEndsAt"], Value::Null);
    unlock(&server);
    lock(&server);
    let received = receiver.received("/hooks", 2);
    assert_eq!(verified(last["secret"].as_str().unwrap(), &received)["verified"], received.json());
    for secret in [newest, &hooks.secret] {
        assert!(verified(secret, &received)["refused"].is_string(), "it has ended");
    }
}
