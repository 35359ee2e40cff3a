//! Older entries are exported and dropped (O6): over HTTP and from the command line.

use metergate::clock::wall;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::server::{ADMIN_KEY, Server, metergate};
use super::{LOG, set_extra, started, told};

const PRUNE: &str = "/v1/audit-log/prune";
const VERIFY: &str = "/v1/audit-log/verify";

/// An organization with three entries, and one of the past; a time behind them, and one entry behind that.
fn changed() -> (Server, Client, String) {
    let (server, admin) = started();
    (1..=2).for_each(|quantity| set_extra(&admin, quantity, ""));
    // A test organization's own times say nothing of how long ago something was.
    admin.post("/v1/organizations", json!({"key": "past", "test": true})).is(201);
    admin.put("/v1/organizations/past/clock", json!({"now": "2020-01-01T00:00:00Z"})).is(200);
    admin.put("/v1/organizations/past/extra/tokens", json!({"quantity": 1})).is(200);
    let until = now();
    set_extra(&admin, 9, "");
    (server, admin, until)
}

/// A time behind everything that was answered before and before all that is asked later. The store's clock goes on from the
/// wall clock's time at its start, so both have the same microseconds or nearly.
fn now() -> String {
    std::thread::sleep(std::time::Duration::from_millis(20));
    let now = wall();
    std::thread::sleep(std::time::Duration::from_millis(20));
    now.to_string()
}

fn run(server: &Server, arguments: &[&str]) -> (i32, String) {
    let mut command = metergate(server.folder());
    command.arg("audit").args(arguments).env("METERGATE_URL", &server.url).env("METERGATE_API_KEY", ADMIN_KEY);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_log_begins_at_a_checkpoint_and_says_so_wherever_it_is_read() {
    let (server, admin, until) = changed();
    let head = admin.get("/v1/audit-log/head?format=jsonl").is(200).text;
    std::fs::write(server.folder().join("head.jsonl"), head).unwrap();
    let body = json!({"until": until, "reason": "the law"});
    let ask = || admin.call("POST", PRUNE).json(&body).header("idempotency-key", "p-1").send().is(200);
    let first = ask();
    let done = first.json();
    assert_eq!((&done["until"], &done["chains"], &done["broken"]), (&json!(until), &json!(2), &json!([])));
    let again = ask();
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));

    let of_test = admin.get("/v1/organizations/past/audit-log").is(200).json();
    assert!(of_test["begins"].is_null() && of_test["data"].as_array().unwrap().len() == 3, "{of_test}");
    let listed = admin.get(LOG).is(200).json();
    assert_eq!(told(listed["data"].as_array().unwrap()), ["5 audit.checkpoint", "4 quota.grant"]);
    let begins = &listed["begins"];
    assert_eq!((&begins["seq"], &begins["until"], &begins["file"]), (&json!(4), &json!(until), &done["sha256"]));
    assert_eq!(admin.get(&format!("{LOG}?format=csv")).is(200).text.lines().count(), 3);
    let of_team = admin.list("/v1/audit-log");
    let noted = of_team.iter().find(|entry| entry["after"]["sha256"] == done["sha256"]).unwrap();
    assert_eq!((&noted["actor"], &noted["reason"]), (&json!("key:administrator"), &json!("the law")));
    assert_eq!(noted["after"]["entries"], done["entries"]);

    let verified = admin.get(VERIFY).is(200).json();
    assert_eq!(
        (&verified["well"], &verified["checkpoints"], &verified["dropped"]),
        (&json!(true), &json!(2), &done["entries"])
    );
    let explain = |at: &str| admin.get(&format!("/v1/organizations/acme/explain?meter=tokens{at}"));
    assert_eq!(explain("").is(200).json()["audit"].as_array().unwrap().len(), 1);
    let created = admin.get("/v1/organizations/acme").is(200).json()["createdAt"].as_str().unwrap().to_owned();
    let refused = explain(&format!("&at={created}")).expect_problem(422, "invalid-query");
    assert!(refused.to_string().contains("exported and dropped"), "{refused:?}");
    explain(&format!("&at={}", now())).is(200);

    let (code, text) = run(&server, &["verify", "--against", "head.jsonl"]);
    assert!(code == 0 && text.contains("2 of them begin at a checkpoint, behind which"), "{text}");
    assert!(text.contains("1 of the noted ends are older than that"), "the team's: {text}");
}

#[test]
fn what_was_dropped_is_in_a_file_that_verifies_without_a_server() {
    let (mut server, _admin, until) = changed();
    let (code, text) = run(&server, &["prune", "--until", &until, "--json"]);
    let done: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    server.kill();
    let file = done["file"].as_str().unwrap();
    let file = if file.starts_with('/') { file.into() } else { server.folder().join(file) };
    let kept = std::fs::read_to_string(&file).unwrap();
    let verify = |text: &str| {
        std::fs::write(server.folder().join("older.jsonl"), text).unwrap();
        run(&server, &["verify", "--archive", "older.jsonl"])
    };
    let (code, told) = verify(&kept);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(&format!("2 chains with {} entries: every hash is right", done["entries"])), "{told}");
    assert!(told.contains(done["sha256"].as_str().unwrap()), "{told}");
    let lines: Vec<_> = kept.lines().collect();
    let without = |gone: usize| {
        lines.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let last = lines.len() - 1;
    assert_ne!(verify(&kept.replacen("key:administrator", "key:nobody", 1)).0, 0);
    for gone in [1, last - 1, last] {
        assert_ne!(verify(&without(gone)).0, 0, "without line {gone}");
    }
}

#[test]
fn what_cannot_be_dropped_is_refused_with_a_pointer() {
    let (_server, admin, until) = changed();
    let future = "2190-01-01T00:00:00Z";
    let long = "x".repeat(5000);
    for body in [
        json!({}),
        json!({"until": "then"}),
        json!({"until": future}),
        json!({"until": until, "more": 1}),
        json!({"until": until, "reason": long}),
    ] {
        admin.post(PRUNE, body).expect_problem(422, "validation");
    }
    let nothing = admin.post(PRUNE, json!({"until": "2020-01-01T00:00:00Z"})).is(200).json();
    let expected =
        json!({"until": "2020-01-01T00:00:00Z", "chains": 0, "entries": 0, "file": null, "sha256": null, "broken": []});
    assert_eq!(nothing, expected);
    assert_eq!(admin.list(LOG).len(), 4, "nothing is noted where nothing was dropped");
}
