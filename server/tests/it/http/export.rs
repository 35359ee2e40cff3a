//! A copy of everything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::server::{ADMIN_KEY, Server, metergate};

/// Organizations with something of every kind.
fn made() -> Server {
    let server = Server::start();
    let admin = server.admin();
    for key in ["acme", "zeta"] {
        admin.post("/v1/organizations", json!({"key": key, "plan": "pro"})).is(201);
        let grant = json!({"meter": "tokens", "amount": 7, "reason": "welcome"});
        admin.post(&format!("/v1/organizations/{key}/grants"), grant).is(201);
        for (id, model) in [("1", "m"), ("2", "n"), ("3", "m")] {
            let properties = json!({"model": model});
            let ask =
                json!({"organization": key, "meter": "tokens", "quantity": 5, "id": id, "properties": properties});
            assert_eq!(admin.post("/v1/consume", ask).is(200).json()["allowed"], true);
        }
        let correction = json!({"meter": "tokens", "quantity": -2, "reason": "twice"});
        admin.post(&format!("/v1/organizations/{key}/adjustments"), correction).is(201);
    }
    admin.patch("/v1/settings", json!({"teamName": "Acme's makers", "contact": "help@example.com"})).is(200);
    admin.post("/v1/api-keys", json!({"name": "reader", "scopes": ["read"]})).is(201);
    server
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'l>(lines: &'l [Value], kind: &str, organization: &str) -> Vec<&'l Value> {
    let named = |line: &&Value| line["kind"] == kind && line["organization"].as_str().unwrap_or("") == organization;
    lines.iter().filter(named).map(|line| &line["data"]).collect()
}

#[test]
fn everything_is_exported_and_its_use_adds_up() {
    let server = made();
    let answer = server.admin().get("/v1/export?events=true").is(200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines = lines(&answer.text);
    assert_eq!((&lines[0]["kind"], &lines[0]["data"]["events"]), (&json!("begin"), &json!(true)));
    let last = lines.last().unwrap();
    assert_eq!((&last["kind"], &last["data"]["lines"]), (&json!("end"), &json!(lines.len() - 1)));
    assert_eq!(of(&lines, "settings", ""), [&server.admin().get("/v1/settings").is(200).json()]);
    assert_eq!(of(&lines, "settings", "")[0]["teamName"], "Acme's makers");
    assert!(of(&lines, "meter", "").iter().any(|meter| meter["key"] == "tokens"));
    assert!(of(&lines, "plan", "").iter().any(|plan| plan["key"] == "pro"));
    assert_eq!(of(&lines, "prices", ""), [&server.admin().get("/v1/prices").is(200).json()]);
    let keys = of(&lines, "key", "");
    assert_eq!((keys.len(), &keys[0]["name"], keys[0].get("key")), (1, &json!("reader"), None));
    assert!(of(&lines, "audit", "").iter().any(|entry| entry["action"] == "key.create"));
    for key in ["acme", "zeta"] {
        let path = |below: &str| format!("/v1/organizations/{key}{below}");
        assert_eq!(of(&lines, "organization", key), [&server.admin().get(&path("")).is(200).json()]);
        assert_eq!(of(&lines, "grant", key).len(), 1);
        let quota = of(&lines, "quota", key)[0]["limits"].as_array().unwrap().clone();
        assert!(quota.iter().any(|limit| limit["meter"] == "tokens" && limit["used"] == 13));
        let mut by_model: BTreeMap<String, i64> = BTreeMap::new();
        for day in of(&lines, "usage", key).into_iter().filter(|day| day["meter"] == "tokens") {
            let sums = day["quarters"].as_array().unwrap().iter().map(|quarter| quarter["sum"].as_i64().unwrap());
            *by_model.entry(day["dimensions"]["model"].to_string()).or_default() += sums.sum::<i64>();
        }
        let expected = [("\"m\"", 8), ("\"n\"", 5)].map(|(model, sum)| (model.to_owned(), sum));
        assert_eq!(by_model, expected.into());
        let audit = server.admin().get(&path("/audit-log")).is(200).json();
        assert_eq!(json!(of(&lines, "audit", key)), audit["data"]);
        assert_eq!(
            of(&lines, "event", key).iter().filter(|event| event["source"] == "metergate:consume/tokens").count(),
            3
        );
    }
}

#[test]
fn events_are_left_out_where_nobody_asks_for_them() {
    let server = made();
    let lines = lines(&server.admin().get("/v1/export").is(200).text);
    assert!(lines.iter().all(|line| line["kind"] != "event"));
    server.admin().get("/v1/export?events=maybe").expect_problem(422, "validation");
    server.admin().get("/v1/export?event=true").expect_problem(422, "validation");
}

#[test]
fn the_command_writes_a_file_only_once_it_is_whole() {
    let server = made();
    let run = |key: &str, file: &str| {
        let mut command = metergate(server.folder());
        command.env("METERGATE_URL", &server.url).env("METERGATE_API_KEY", key);
        command.args(["export", "--events", "--output", file]).output().unwrap()
    };
    let output = run(ADMIN_KEY, "copy.jsonl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = server.folder().join("copy.jsonl");
    let lines = lines(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(lines.last().unwrap()["kind"], "end");
    assert_eq!(of(&lines, "organization", "zeta").len(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(run("mg_wrong", "other.jsonl").status.code(), Some(1));
    let names = std::fs::read_dir(server.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let copies: Vec<_> = names.filter(|name| name.to_string_lossy().contains("jsonl")).collect();
    assert_eq!(copies, ["copy.jsonl"]);
}
