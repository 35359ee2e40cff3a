//! The command line: the real program against a real server.

use std::process::Output;

use serde_json::{Value, json};

use super::server::{ADMIN_KEY, Server, metergate};

fn run(server: &Server, key: &str, words: &[&str]) -> Output {
    let mut command = metergate(server.folder());
    command.env("METERGATE_URL", &server.url).env("METERGATE_API_KEY", key).args(words);
    command.output().unwrap()
}

/// What a command prints that goes well.
fn printed(server: &Server, line: &str) -> String {
    // `\\_` stands for the space within an argument.
    let words: Vec<_> = line.split(' ').map(|word| word.replace("\\_", " ")).collect();
    let output = run(server, ADMIN_KEY, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn json_of(server: &Server, line: &str) -> Value {
    serde_json::from_str(&printed(server, &format!("{line} --json"))).unwrap()
}

fn started() -> Server {
    let server = Server::start();
    printed(&server, "org create acme --plan pro --time-zone Europe/Berlin");
    server
}

/// The row of a table whose first cells are these.
fn row(table: &str, first: &[&str]) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let found = rows.into_iter().find(|row| row.iter().zip(first).filter(|(a, b)| a == b).count() == first.len());
    found.unwrap_or_else(|| panic!("no row {first:?} in\n{table}"))
}

#[test]
fn what_operators_do_is_done_and_shown_on_the_command_line() {
    let server = started();
    assert_eq!(printed(&server, "grant add acme tokens 250 --reason sorry"), "grant 1: 250 of tokens for acme");
    assert_eq!(row(&printed(&server, "grant list acme"), &["1", "tokens"])[2..7], ["250", "0", "0", "250", "active"]);
    printed(&server, "grant void acme 1 --reason mistaken");
    assert_eq!(json_of(&server, "grant list acme")["data"][0]["state"], "voided");

    assert_eq!(json_of(&server, "lock acme --reason unpaid\\_bill")["locks"][0]["reason"], "unpaid bill");
    assert!(printed(&server, "org show acme").contains("locked by       operator unpaid bill"));
    assert_eq!(json_of(&server, "unlock acme --reason paid")["locked"], false);
    assert!(printed(&server, "unlock acme --reason again").starts_with("no lock was lifted"));
    printed(&server, "lock acme --reason unpaid");
    assert!(printed(&server, "unlock acme --reason paid").starts_with("locks lifted: operator"));

    let told = printed(&server, "override set acme tokens billingPeriod 7 --soft");
    assert_eq!(told, "tokens billingPeriod of acme: 7, soft");
    printed(&server, "extra acme tokens 5");
    let limits = printed(&server, "override list acme");
    assert_eq!(row(&limits, &["tokens", "billingPeriod"])[2..9], ["override", "7", "5", "0", "12", "0", "12"]);
    printed(&server, "override clear acme tokens billingPeriod");
    assert_eq!(row(&printed(&server, "override list acme"), &["tokens", "billingPeriod"])[2..4], ["plan", "500000"]);

    assert_eq!(row(&printed(&server, "plan list"), &["pro"])[1], "1");
    assert_eq!(row(&printed(&server, "plan show enterprise"), &["tokens", "billingPeriod"])[2], "unlimited");
    assert_eq!(json_of(&server, "plan set acme starter --at periodEnd")["plan"], "pro");
    assert!(printed(&server, "plan set acme starter --at periodEnd").contains("scheduled plan  starter version 1 at "));
    assert_eq!(json_of(&server, "plan set acme starter --reason smaller")["plan"], "starter");
    assert_eq!(json_of(&server, "org update acme --name Acme\\_Works")["name"], "Acme Works");
}

#[test]
fn usage_is_reset_and_adjusted_on_the_command_line() {
    let server = started();
    let used = || {
        let usage = json_of(&server, "usage --organization acme");
        usage["meters"].as_array().unwrap().iter().find(|it| it["meter"] == "tokens").unwrap()["used"].clone()
    };
    server.admin().post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "quantity": 9})).is(200);
    let told = printed(&server, "adjust acme tokens -4 --reason counted\\_twice");
    assert!(told.starts_with("-4 of tokens for acme at "), "{told}");
    assert_eq!(used(), 5);
    printed(&server, "reset acme --meter messages --reason other");
    assert_eq!(used(), 5);
    printed(&server, "reset acme --meter tokens --window billingPeriod --window month --reason goodwill");
    assert_eq!(used(), 0);
}

#[test]
fn an_event_is_void_and_a_trial_and_a_clock_are_moved_on_the_command_line() {
    let server = started();
    let used = || {
        let usage = json_of(&server, "usage --organization acme");
        usage["meters"].as_array().unwrap().iter().find(|it| it["meter"] == "tokens").unwrap()["used"].clone()
    };
    let ask = json!({"organization": "acme", "meter": "tokens", "quantity": 9, "id": "a/b"});
    server.admin().post("/v1/consume", ask).is(200);
    assert_eq!(used(), 9);
    printed(&server, "void acme metergate:consume/tokens a/b --reason mistaken");
    assert_eq!(used(), 0);
    let log = server.admin().list("/v1/organizations/acme/audit-log?action=usage.void");
    assert_eq!((log.len(), &log[0]["reason"]), (1, &json!("mistaken")));

    printed(&server, "org create trying --plan trial --test");
    let moved = json_of(&server, "org clock trying 2026-03-01T00:00:00Z");
    assert_eq!(
        (&moved["clock"], &moved["trialEndsAt"]),
        (&json!("2026-03-01T00:00:00Z"), &json!("2026-03-31T00:00:00Z"))
    );
    let shown = printed(&server, "org clock trying 2026-04-01T00:00:00Z --reason ahead");
    assert!(shown.contains("locked by       trial") && shown.contains("clock           2026-04-01"), "{shown}");
    let longer = json_of(&server, "org trial trying 2026-04-09T00:00:00Z --reason asked");
    assert_eq!((&longer["locked"], &longer["trialEndsAt"]), (&json!(false), &json!("2026-04-09T00:00:00Z")));
    assert!(!printed(&server, "org show acme").contains("clock"));
}

#[test]
fn somebody_is_invited_by_a_link_that_the_command_line_prints() {
    let server = started();
    let url = printed(&server, "org invite acme ada@example.com --role owner");
    let token = url.strip_prefix(&format!("{}/join?token=", server.url)).unwrap();
    let form =
        json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada", "invitation": token});
    server.stranger().post("/api/auth/register", form).is(201);
    let members = json_of(&server, "org members acme")["data"].clone();
    let id = members[0]["id"].as_str().unwrap();
    assert_eq!(row(&printed(&server, "org members acme"), &[id])[1..5], ["ada@example.com", "Ada", "owner", "true"]);
}

#[test]
fn reports_are_made_again_on_the_command_line() {
    let server = started();
    let told = printed(&server, "aggregate --from 2020-01-01 --to 2020-12-31");
    assert_eq!(row(&told, &["organizations"])[1], "1");
    assert_eq!(row(&told, &["rollups"])[1], "0");
    let output = run(&server, ADMIN_KEY, &["aggregate", "--from", "2020-02-01", "--to", "2020-01-01"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("Must not be before from."), "{said}");
}

#[test]
fn a_cycle_is_previewed_before_it_is_moved() {
    let server = started();
    let before = printed(&server, "cycle show acme");
    assert_eq!(before.lines().filter(|line| line.starts_with("reset ")).count(), 12, "{before}");
    let preview = printed(&server, "cycle set acme 2026-01-05 --preview");
    assert!(preview.contains("counted from    2026-01-05") && preview != before, "{preview}");
    assert_eq!(printed(&server, "cycle show acme"), before, "a preview changes nothing");
    printed(&server, "cycle set acme 2026-01-05 --reason asked");
    assert_eq!(printed(&server, "cycle show acme"), preview);
}

#[test]
fn what_cannot_be_done_ends_with_an_error_that_says_why() {
    let server = started();
    let reader = server.admin().post("/v1/api-keys", json!({"name": "r", "scopes": ["read"]})).is(201).json();
    let reader = reader["key"].as_str().unwrap();
    #[rustfmt::skip]
    let cases: [(&str, &str, i32, &str); 7] = [
        (ADMIN_KEY, "org show nobody",                                   1, "unknown-organization"),
        (ADMIN_KEY, "grant add acme tokens 0 --reason r",                1, "#/amount"),
        (ADMIN_KEY, "grant add acme tokens 1",                           2, "--reason"),
        (ADMIN_KEY, "override set acme tokens billingPeriod",            2, "<MAX>"),
        (ADMIN_KEY, "override set acme tokens billingPeriod 5 --unlimited", 2, "cannot be used with"),
        (ADMIN_KEY, "plan set acme none",                                1, "unknown-plan"),
        (reader,    "lock acme --reason r",                              1, "forbidden"),
    ];
    for (key, line, code, says) in cases {
        let output = run(&server, key, &line.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}
