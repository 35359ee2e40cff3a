//! `metergate what-if`, and the same before a catalogue is applied.

use serde_json::{Value, json};

use super::{printed, run_line};
use crate::cli::Ending;
use crate::cli::fake::{Fake, Paper};

fn report(refused: u64) -> Value {
    let limit = json!({"meter": "api_calls", "window": "minute", "reason": "quota-exceeded", "refused": refused, "refusedQuantity": 9,
        "refusedBefore": 0, "allowed": 0});
    let one = json!({"organization": "acme", "plan": "pro", "refused": refused, "refusedBefore": 0, "allowed": 0, "refusedEstimated": 0,
        "firstRefusedAt": "2026-11-01T00:00:00Z", "lastRefusedAt": null});
    json!({"summary": format!("This would have refused {refused} requests."), "replayed": 2, "calls": 40, "facts": 3, "refused": refused,
        "limits": [limit], "organizations": [one], "moreOrganizations": 0, "estimate": null})
}

#[test]
fn limits_are_replayed_and_the_answer_printed() {
    let fake = Fake::start();
    fake.answer("POST /v1/what-if", 200, &report(3));
    let line = "what-if --plan pro --limit api_calls/minute=30 --limit tokens/billingPeriod=5:soft --limit messages/day=unlimited --organization acme --from 2026-11-01T00:00:00Z";
    let text = printed(&fake, line);
    assert!(text.starts_with("This would have refused 3 requests.\n\nMETER"), "{text}");
    assert!(text.contains("acme") && text.ends_with("40 calls and 3 facts of 2 organizations were replayed"), "{text}");
    let sent: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    let limits = json!([{"meter": "api_calls", "window": "minute", "max": "30", "enforcement": "hard"},
        {"meter": "tokens", "window": "billingPeriod", "max": "5", "enforcement": "soft"},
        {"meter": "messages", "window": "day", "unlimited": true, "enforcement": "hard"}]);
    let expected = json!({"plan": "pro", "limits": limits, "organizations": ["acme"], "from": "2026-11-01T00:00:00Z"});
    assert_eq!(sent, expected);
    assert_eq!(serde_json::from_str::<Value>(&printed(&fake, "what-if --plan pro --json")).unwrap(), report(3));
    for wrong in [
        "what-if",
        "what-if --plan pro --limit x=1",
        "what-if --plan pro --limit api_calls/minute",
        "what-if --plan a --catalogue b",
    ] {
        assert!(run_line(&fake, wrong, &Paper::default()).is_err(), "{wrong}");
    }
}

#[test]
fn what_it_would_have_cost_and_what_came_too_late_for_a_limit_are_told() {
    let fake = Fake::start();
    let mut answer = report(1);
    let costs = json!({"cost": 1.25, "costBefore": 2.75, "costAfter": 1.5, "lateFacts": 9, "lateBeyond": 7});
    answer["organizations"][0].as_object_mut().unwrap().extend(costs.as_object().unwrap().clone());
    answer.as_object_mut().unwrap().extend(costs.as_object().unwrap().clone());
    let tokens = json!({"meter": "tokens", "facts": 9, "quantity": 1450, "beyond": 7, "beyondQuantity": 1150});
    answer["late"] = json!({"facts": 9, "beyond": 7, "meters": [tokens], "leftOut": [], "earlier": 0});
    fake.answer("POST /v1/what-if", 200, &answer);
    let text = printed(&fake, "what-if --plan pro --within 9");
    let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(cells.contains(&vec!["tokens", "9", "1450", "7", "1150"]), "{text}");
    let heading = "ORGANIZATION PLAN REFUSED REFUSED BEFORE ALLOWED ESTIMATED LATE BEYOND DOLLARS REFUSED DOLLARS CHARGED DOLLARS THEN FIRST LAST";
    assert!(cells.contains(&heading.split(' ').collect()), "{text}");
    let acme = "acme pro 1 0 0 0 7 1.25 2.75 1.5 2026-11-01T00:00:00Z –";
    assert!(cells.contains(&acme.split(' ').collect()), "{text}");
    assert!(text.contains("2.75 dollars charged, 1.5 would have been; the refused calls cost 1.25"), "{text}");
    let sent: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!(sent, json!({"plan": "pro", "withinSeconds": 9}));
    fake.answer("POST /v1/what-if", 200, &report(1));
    assert!(!printed(&fake, "what-if --plan pro").to_lowercase().contains("dollars"), "nothing was priced");
}

#[test]
fn what_is_not_said_of_everybody_is_not_known() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[plans]").unwrap();
    let pro = json!({"key": "pro", "change": "changed", "fromVersion": 1, "toVersion": 2, "organizations": 100_000, "details": []});
    fake.answer("POST /v1/catalog/diff", 200, &json!({"meters": [], "plans": [pro], "applied": false}));
    fake.answer("POST /v1/catalog/apply", 200, &json!({"meters": [], "plans": [], "applied": true}));
    let mut partly = report(0);
    partly["unreplayed"] = json!(88_000);
    fake.answer("POST /v1/what-if", 200, &partly);
    let paper = Paper::saying(true);
    let apply = format!("catalog apply {}", file.display());
    assert_eq!(run_line(&fake, &apply, &paper).unwrap(), Ending::Done);
    assert!(paper.notes().contains("is not known. Apply these changes all the same?"), "{}", paper.notes());
    printed(&fake, &format!("{apply} --yes"));
    let state = fake.state();
    let asked = state.requests.iter().filter(|(what, _)| what.contains("what-if"));
    let within: Vec<Value> =
        asked.map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["withinSeconds"].clone()).collect();
    assert_eq!(within, [json!(300), json!(60)], "how long it may take");
}

#[test]
fn a_job_is_waited_for() {
    let fake = Fake::start();
    fake.answer("POST /v1/what-if", 202, &json!({"id": "j-1", "kind": "what-if", "state": "running"}));
    fake.answer(
        "GET /v1/jobs/j-1",
        200,
        &json!({"id": "j-1", "kind": "what-if", "state": "done", "result": report(1)}),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[plans]").unwrap();
    let text = printed(&fake, &format!("what-if --catalogue {} --json", file.display()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), report(1));
    let sent: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!(sent, json!({"catalogue": "[plans]"}));
    fake.answer("GET /v1/jobs/j-1", 200, &json!({"id": "j-1", "state": "failed", "error": "the store cannot be read"}));
    let error = run_line(&fake, "what-if --plan pro", &Paper::default()).unwrap_err().to_string();
    assert_eq!(error, "it cannot be said: the store cannot be read");
}

#[test]
fn before_a_catalogue_is_applied_it_is_said_what_it_would_have_refused() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[plans]").unwrap();
    let pro =
        json!({"key": "pro", "change": "changed", "fromVersion": 1, "toVersion": 2, "organizations": 7, "details": []});
    fake.answer("POST /v1/catalog/diff", 200, &json!({"meters": [], "plans": [pro], "applied": false}));
    fake.answer("POST /v1/catalog/apply", 200, &json!({"meters": [], "plans": [], "applied": true}));
    fake.answer("POST /v1/what-if", 200, &report(214));
    let apply = format!("catalog apply {}", file.display());
    let nobody = Paper::default();
    assert_eq!(run_line(&fake, &apply, &nobody).unwrap(), Ending::Unconfirmed);
    let notes = nobody.notes();
    assert!(notes.contains("This would have refused 214 requests."), "{notes}");
    assert!(notes.contains("Apply these changes all the same?") && notes.contains("--yes"), "{notes}");
    assert_eq!(fake.count("POST /v1/catalog/apply"), 0);
    assert!(printed(&fake, &format!("{apply} --yes")).ends_with("applied"));
    let paper = Paper::default();
    assert_eq!(run_line(&fake, &format!("catalog diff {}", file.display()), &paper).unwrap(), Ending::Done);
    assert!(paper.notes().contains("214 requests"));
    // What refuses nothing is asked about as ever; who is kept on the old version is not replayed.
    fake.answer("POST /v1/what-if", 200, &report(0));
    let paper = Paper::saying(true);
    assert_eq!(run_line(&fake, &apply, &paper).unwrap(), Ending::Done);
    assert!(paper.notes().ends_with("\nApply these changes?"), "{}", paper.notes());
    fake.fail("POST /v1/what-if", 0, crate::cli::fake::Fault::Status(409));
    let paper = Paper::saying(true);
    assert_eq!(run_line(&fake, &apply, &paper).unwrap(), Ending::Done);
    assert!(paper.notes().contains("cannot be said"), "{}", paper.notes());
    assert!(paper.notes().ends_with("is not known. Apply these changes all the same?"), "{}", paper.notes());
    // Nor is it known where the records of some cannot be read.
    let mut failed = report(0);
    failed["failed"] = json!(1);
    fake.answer("POST /v1/what-if", 200, &failed);
    let (paper, applied) = (Paper::default(), fake.count("POST /v1/catalog/apply"));
    assert_eq!(run_line(&fake, &apply, &paper).unwrap(), Ending::Unconfirmed);
    assert!(paper.notes().contains("is not known. Apply these changes all the same?"), "{}", paper.notes());
    assert_eq!(fake.count("POST /v1/catalog/apply"), applied);
    let asked = fake.count("POST /v1/what-if");
    fake.answer("POST /v1/catalog/apply?keep=true", 200, &json!({"meters": [], "plans": [], "applied": true}));
    printed(&fake, &format!("{apply} --keep --yes"));
    assert_eq!(fake.count("POST /v1/what-if"), asked);
}
