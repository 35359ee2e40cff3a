//! The chains of the audit log: what was changed, dropped, moved, cut off or written anew is named (O7).

use serde_json::{Value, json};

use super::super::client::Client;
use super::super::server::{ADMIN_KEY, Server, bytes, is_of_chain, metergate};
use super::{set_extra, started};

const VERIFY: &str = "/v1/audit-log/verify";

/// An organization with five entries, and its id.
fn changed() -> (Server, Client, String) {
    let (server, admin) = started();
    (1..=4).for_each(|quantity| set_extra(&admin, quantity, ""));
    let id = admin.get("/v1/organizations/acme").is(200).json()["id"].as_str().unwrap().to_owned();
    (server, admin, id)
}

/// The lines of the head: the head itself, then the end of each chain.
fn head(admin: &Client) -> Vec<Value> {
    let answer = admin.get("/v1/audit-log/head?format=jsonl").is(200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The query that compares chains with their ends of then.
fn compared(chains: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ends = chains.iter().map(|end| format!("head={}:{}:{}", text(&end["chain"]), end["seq"], text(&end["hash"])));
    format!("{VERIFY}?{}", ends.collect::<Vec<_>>().join("&"))
}

/// `chain seq problem` of what was found.
fn found(admin: &Client, path: &str) -> Vec<String> {
    let answer = admin.get(path).is(200).json();
    let findings = answer["findings"].as_array().unwrap();
    assert_eq!(answer["well"], findings.is_empty(), "{answer}");
    let told =
        |one: &Value| format!("{} {} {}", one["chain"].as_str().unwrap(), one["seq"], one["problem"].as_str().unwrap());
    findings.iter().map(told).collect()
}

#[test]
fn a_log_as_it_was_written_is_well() {
    let (server, admin, _) = changed();
    let answer = admin.get(VERIFY).is(200).json();
    let entries = server.number("SELECT count(*) FROM audit");
    let expected =
        json!({"well": true, "chains": 2, "entries": entries, "findings": [], "signed": null, "nextCursor": null});
    assert_eq!(answer, expected);
    for bad in ["head=acme:1:00", "head=team:1", "head=team:x:y", "root=00", "chains=1", "cursor=01aa", "format=csv"] {
        admin.get(&format!("{VERIFY}?{bad}")).is(422);
    }
    admin.get("/v1/audit-log/head?format=csv").is(422);
}

#[test]
fn the_first_entry_that_was_changed_dropped_moved_or_cut_off_is_named() {
    let (server, admin, id) = changed();
    let chains = head(&admin).split_off(1);
    assert_eq!(found(&admin, &compared(&chains)), [""; 0]);
    server.sql("CREATE TABLE saved AS SELECT * FROM audit");
    let of_acme = is_of_chain(&id);
    let moved = "UPDATE audit SET sequence = 99 WHERE acme AND sequence = 3;
                 UPDATE audit SET sequence = 3 WHERE acme AND sequence = 4;
                 UPDATE audit SET sequence = 4 WHERE acme AND sequence = 99";
    let another = bytes(&"0123456789abcdef".repeat(4));
    let written_anew = format!("UPDATE audit SET hash = {another} WHERE acme AND sequence = 5");
    // What is done to the log, what is found in it alone, and what beside the head of before.
    let cases: [(&str, Option<&str>, Option<&str>); 9] = [
        ("UPDATE audit SET after = '{}' WHERE acme AND sequence = 3", Some("3 changed"), None),
        ("UPDATE audit SET actor = 'key:x' WHERE acme AND sequence = 1", Some("1 changed"), None),
        ("UPDATE audit SET at = at + 1 WHERE acme AND sequence = 5", Some("5 changed"), None),
        ("DELETE FROM audit WHERE acme AND sequence = 3", Some("3 missing"), None),
        ("DELETE FROM audit WHERE acme AND sequence < 3", Some("1 missing"), None),
        (moved, Some("3 changed"), None),
        ("DELETE FROM audit WHERE acme AND sequence > 3", None, Some("5 cut-off")),
        ("DELETE FROM audit WHERE acme", Some("1 cut-off"), Some("5 cut-off")),
        (&written_anew, Some("5 changed"), Some("5 rewritten")),
    ];
    let named = |what: Option<&str>| what.map(|what| format!("{id} {what}")).into_iter().collect::<Vec<_>>();
    for (sql, alone, beside) in cases {
        server.sql(&sql.replace("acme", &of_acme));
        assert_eq!(found(&admin, VERIFY), named(alone), "{sql}");
        assert_eq!(found(&admin, &compared(&chains)), named(beside), "{sql}");
        server.sql("DELETE FROM audit; INSERT INTO audit SELECT * FROM saved");
    }
    assert_eq!(found(&admin, VERIFY), [""; 0]);
}

#[test]
fn a_head_is_signed_and_still_holds_when_the_log_has_grown() {
    let (mut server, admin, id) = changed();
    let mut lines = head(&admin);
    let chains = lines.split_off(1);
    let head = lines.remove(0);
    let ends: Vec<_> =
        chains.iter().map(|end| (end["chain"].as_str().unwrap(), end["seq"].as_u64().unwrap())).collect();
    assert_eq!((&head["chains"], ends[0].0, ends[1]), (&json!(2), "team", (&*id, 5)));
    assert_eq!(head["team"], chains[0]);
    let short = admin.get("/v1/audit-log/head").is(200).json();
    assert_eq!((&short["root"], &short["team"]), (&head["root"], &head["team"]));
    set_extra(&admin, 9, "");
    assert_ne!(admin.get("/v1/audit-log/head").is(200).json()["root"], head["root"]);
    server.kill();
    server.start_again();
    let admin = server.admin();
    assert_eq!(found(&admin, &compared(&chains)), [""; 0]);
    let signed = |changed: &str, to: &str| {
        let value = |name: &str| head[name].as_str().map_or_else(|| head[name].to_string(), str::to_owned);
        let names = ["time", "chains", "root", "signature"];
        let pairs = names.map(|name| format!("{name}={}", if name == changed { to.to_owned() } else { value(name) }));
        let answer = admin.get(&format!("{VERIFY}?{}", pairs.join("&"))).is(200).json();
        assert_eq!(answer["well"], answer["signed"]);
        answer["signed"].as_bool().unwrap()
    };
    assert!(signed("", ""));
    let other = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    for (name, to) in [("time", "2026-01-01T00:00:00Z"), ("chains", "3"), ("root", other), ("signature", other)] {
        assert!(!signed(name, to), "{name}");
    }
}

#[test]
fn the_command_line_names_what_was_cut_off_since_a_head_was_printed() {
    let (server, _admin, id) = changed();
    let run = |arguments: &[&str]| {
        let mut command = metergate(server.folder());
        command.arg("audit").args(arguments).env("METERGATE_URL", &server.url).env("METERGATE_API_KEY", ADMIN_KEY);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, printed) = run(&["head"]);
    assert_eq!((code, printed.lines().count()), (0, 3));
    std::fs::write(server.folder().join("head.jsonl"), &printed).unwrap();
    let (code, told) = run(&["verify", "--against", "head.jsonl"]);
    assert!(code == 0 && told.contains("every hash is right, and all that head.jsonl names is there"), "{told}");
    assert_eq!(run(&["export", "--organization", "acme"]).1.lines().count(), 5);
    assert_eq!(
        run(&["list", "--organization", "acme", "--action", "limit_change", "--limit", "2"]).1.lines().count(),
        3
    );
    server.sql(&format!("DELETE FROM audit WHERE {} AND sequence > 2", is_of_chain(&id)));
    assert_eq!(run(&["verify"]).0, 0, "the chain alone does not show it");
    let expected = format!("{id}: entry 5 is gone: the chain ends at entry 2, so it was cut off.\n");
    assert_eq!(run(&["verify", "--against", "head.jsonl"]), (1, expected));
    std::fs::write(server.folder().join("head.jsonl"), printed.replace("\"seq\":5", "\"seq\":2")).unwrap();
    assert_eq!(run(&["verify", "--against", "head.jsonl"]).0, 1, "the file was changed");
}
