//! `metergate audit` against a fake server.

use serde_json::{Value, json};

use super::super::Ending;
use super::super::fake::{Fake, Paper};
use super::{printed, run_line};

const OF_ACME: &str = "GET /v1/organizations/acme/audit-log?";

fn entry(seq: u64, resolved: &Value) -> Value {
    json!({"seq": seq, "time": "2026-11-01T00:00:00Z", "actor": "key:ops", "action": "quota.grant", "category": "quota",
           "before": {}, "after": {"extra": 5}, "details": {}, "reason": null, "resolved": resolved, "hash": "ab"})
}

#[test]
fn entries_are_listed_up_to_the_number_asked_for_and_exported_to_the_last() {
    let fake = Fake::start();
    let resolved = json!({"at": "2026-11-02T00:00:00Z", "by": "key:ops", "note": "=a, b"});
    let pages = [
        (format!("{OF_ACME}action=plan_change&limit=200"), vec![], Value::from("c1")),
        (format!("{OF_ACME}action=plan_change&limit=200&cursor=c1"), vec![entry(3, &resolved)], Value::from("c2")),
        (format!("{OF_ACME}action=plan_change&limit=200&cursor=c2"), vec![entry(2, &Value::Null)], Value::Null),
    ];
    for (request, data, next) in &pages {
        fake.answer(request, 200, &json!({"data": data, "nextCursor": next}));
    }
    let of_acme = "--organization acme --action plan_change";
    let listed = printed(&fake, &format!("audit list {of_acme} --limit 1"));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().nth(1).unwrap().trim_start().starts_with("3  2026-11-01T00:00:00Z  key:ops  quota.grant"));
    assert_eq!(fake.count("GET"), 2, "no page more than needed");
    let json: Value = serde_json::from_str(&printed(&fake, &format!("audit list {of_acme} --json"))).unwrap();
    assert_eq!(json["data"].as_array().unwrap().len(), 2);
    let lines = printed(&fake, &format!("audit export {of_acme}"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [entry(3, &resolved), entry(2, &Value::Null)]);
    assert_eq!(
        printed(&fake, &format!("audit export {of_acme} --format csv")),
        "seq,time,actor,action,category,before,after,details,reason,resolvedAt,resolvedBy,resolvedNote,hash\n\
         3,2026-11-01T00:00:00Z,key:ops,quota.grant,quota,{},\"{\"\"extra\"\":5}\",{},,2026-11-02T00:00:00Z,key:ops,\"'=a, b\",ab\n\
         2,2026-11-01T00:00:00Z,key:ops,quota.grant,quota,{},\"{\"\"extra\"\":5}\",{},,,,,ab"
    );
    fake.answer("GET /v1/audit-log?limit=200", 200, &json!({"data": [entry(1, &Value::Null)], "nextCursor": null}));
    assert_eq!(printed(&fake, "audit export").lines().count(), 1, "without an organization it is the team's");
}

fn part(entries: u64, findings: &[Value], signed: &Value, next: &Value) -> Value {
    json!({"well": findings.is_empty(), "chains": 1, "entries": entries, "findings": findings, "signed": signed, "nextCursor": next})
}

#[test]
fn every_part_of_the_log_is_verified_and_what_is_wrong_is_named() {
    let fake = Fake::start();
    let verify = "GET /v1/audit-log/verify";
    fake.answer(verify, 200, &part(10_000, &[], &Value::Null, &json!("c1")));
    fake.answer(&format!("{verify}?cursor=c1"), 200, &part(5, &[], &Value::Null, &Value::Null));
    assert_eq!(printed(&fake, "audit verify"), "2 chains with 10005 entries: every hash is right");
    let finding = json!({"chain": "team", "seq": 3, "problem": "missing", "detail": "entry 3 is missing."});
    fake.answer(
        &format!("{verify}?cursor=c1"),
        200,
        &part(5, std::slice::from_ref(&finding), &Value::Null, &Value::Null),
    );
    let paper = Paper::default();
    assert_eq!(run_line(&fake, "audit verify", &paper).unwrap(), Ending::Failed);
    assert_eq!(paper.text(), "team: entry 3 is missing.");
    assert!(paper.notes().contains("not all are as they were written"), "{}", paper.notes());
    let paper = Paper::default();
    assert_eq!(run_line(&fake, "audit verify --json", &paper).unwrap(), Ending::Failed);
    let told: Value = serde_json::from_str(&paper.text()).unwrap();
    assert_eq!((&told["well"], &told["findings"]), (&json!(false), &json!([finding])));
}

#[test]
fn a_head_that_was_changed_or_is_of_another_server_is_refused() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("head.jsonl");
    let line = format!("audit verify --against {}", file.display());
    let verify = "GET /v1/audit-log/verify";
    fake.answer(verify, 200, &part(1, &[], &Value::Null, &Value::Null));
    let error = run_line(&fake, &line, &Paper::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read"), "{error}");
    std::fs::write(&file, "{}").unwrap();
    let error = run_line(&fake, &line, &Paper::default()).unwrap_err().to_string();
    assert!(error.ends_with("is not what `metergate audit head` prints"), "{error}");

    let end = json!({"chain": "team", "seq": 1, "hash": "ab".repeat(32)});
    let head = json!({"time": "2026-11-01T00:00:00Z", "chains": 1, "team": end, "root": "cd", "signature": "ef"});
    std::fs::write(&file, format!("{head}\n{end}\n")).unwrap();
    let error = run_line(&fake, &line, &Paper::default()).unwrap_err().to_string();
    assert!(error.contains("do not give its root"), "{error}");

    // Without its chains a head still names the end of the team's.
    std::fs::write(&file, head.to_string()).unwrap();
    let signed = format!("{verify}?time=2026-11-01T00%3A00%3A00Z&chains=1&root=cd&signature=ef");
    fake.answer(&signed, 200, &part(0, &[], &json!(false), &Value::Null));
    let of_team = format!("{verify}?head=team%3A1%3A{}", "ab".repeat(32));
    fake.answer(&of_team, 200, &part(1, &[], &Value::Null, &Value::Null));
    let paper = Paper::default();
    assert_eq!(run_line(&fake, &line, &paper).unwrap(), Ending::Failed);
    assert!(paper.text().contains("is not this server's"), "{}", paper.text());
    fake.answer(&signed, 200, &part(0, &[], &json!(true), &Value::Null));
    assert!(printed(&fake, &line).contains("every hash is right, and all that"));
}
