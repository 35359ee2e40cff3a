//! Commands against a fake server.

use serde_json::{Value, json};

use super::fake::{Fake, Fault, Paper};
use super::*;

mod audit;
mod what_if;

/// Runs a command line against the fake.
fn run_line(fake: &Fake, line: &str, paper: &Paper) -> anyhow::Result<Ending> {
    let words = std::iter::once("metergate").chain(line.split(' '));
    let words = words.chain(["--url", &fake.url, "--api-key", "key"]);
    run(Arguments::try_parse_from(words)?.command, paper)
}

/// What a command prints.
fn printed(fake: &Fake, line: &str) -> String {
    let paper = Paper::default();
    assert_eq!(run_line(fake, line, &paper).unwrap(), Ending::Done);
    paper.text()
}

#[test]
fn the_command_line_is_sound() {
    <Arguments as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn a_key_is_created_listed_and_revoked() {
    let fake = Fake::start();
    let key =
        json!({"id": "k1", "key": "mg_secret", "name": "app", "scopes": ["consume", "read"], "organization": "acme"});
    fake.answer("POST /v1/api-keys", 201, &key);
    fake.answer("DELETE /v1/api-keys/k1", 204, &Value::Null);
    fake.answer("GET /v1/api-keys?limit=200", 200, &json!({"data": [key], "nextCursor": null}));
    let created =
        printed(&fake, "key create --name app --scopes consume,read --organization acme --expires-in-days 30");
    assert_eq!(created, "mg_secret");
    let body: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!((&body["scopes"], &body["organization"]), (&json!(["consume", "read"]), &json!("acme")));
    assert!(body["expiresAt"].as_str().unwrap().ends_with('Z'));
    assert!(printed(&fake, "key list").ends_with("k1  app   consume,read  acme          –          –"));
    printed(&fake, "key revoke k1 --reason leaked");
    assert_eq!(fake.state().requests.last().unwrap().1, r#"{"reason":"leaked"}"#);
    let own = "GET /v1/organizations/acme/api-keys?limit=200";
    fake.answer(own, 200, &json!({"data": [{"id": "k2"}], "nextCursor": null}));
    assert_eq!(printed(&fake, "key list --organization acme --json"), r#"{"data":[{"id":"k2"}]}"#);
}

#[test]
fn administrators_are_listed_and_removed_and_invitations_listed_sent_again_and_withdrawn() {
    let fake = Fake::start();
    let eve = json!({"id": "u1", "email": "eve@x.org", "name": "Eve", "canSignIn": false, "createdAt": "T"});
    fake.answer("GET /v1/administrators?limit=200", 200, &json!({"data": [eve], "nextCursor": null}));
    fake.answer("DELETE /v1/administrators/u1", 204, &Value::Null);
    assert!(printed(&fake, "admin list").ends_with("u1  eve@x.org  Eve   false      T"));
    printed(&fake, "admin remove u1 --reason left");
    assert_eq!(fake.state().requests.last().unwrap().1, r#"{"reason":"left"}"#);
    let at = "/v1/organizations/acme/invitations";
    let open = json!({"id": "i1", "email": "bob@x.org", "role": "viewer", "invitedBy": "key:a", "invitedAt": "T", "expiresAt": "U"});
    fake.answer(&format!("GET {at}?limit=200"), 200, &json!({"data": [open], "nextCursor": null}));
    let sent = json!({"id": "i1", "email": "bob@x.org", "expiresAt": "U", "url": "http://x/join?token=mgs_2"});
    fake.answer(&format!("POST {at}/i1/resend"), 201, &sent);
    fake.answer(&format!("DELETE {at}/i1"), 204, &Value::Null);
    assert!(printed(&fake, "org invitations acme").ends_with("i1  bob@x.org  viewer  key:a      T          U"));
    assert_eq!(printed(&fake, "org invite-again acme i1").lines().last(), Some("http://x/join?token=mgs_2"));
    printed(&fake, "org withdraw acme i1 --reason hired");
    assert_eq!(fake.state().requests.last().unwrap().1, r#"{"reason":"hired"}"#);
}

#[test]
fn an_administrator_is_made_and_their_link_printed() {
    let fake = Fake::start();
    let url = "http://127.0.0.1:8080/sign-in?token=mgs_1";
    let made = json!({"id": "u", "email": "root@example.com", "signInUrl": url});
    fake.answer("POST /v1/administrators", 201, &made);
    let text = printed(&fake, "admin create --email root@example.com --name Root");
    assert_eq!(text.lines().last(), Some(url));
    let body: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!(body, json!({"email": "root@example.com", "name": "Root"}));
    let text = printed(&fake, "admin create --email root@example.com --json");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), made);
    for (command, path) in [("reset", "/v1/password-resets"), ("verify", "/v1/email-verifications")] {
        let url = format!("http://127.0.0.1:8080/{command}?token=mgs_1");
        fake.answer(&format!("POST {path}"), 201, &json!({"email": "ada@example.com", "url": url}));
        let text = printed(&fake, &format!("admin {command} --email ada@example.com"));
        assert_eq!(text.lines().last(), Some(url.as_str()));
    }
    let missing = Arguments::try_parse_from(["metergate", "admin", "create"]);
    assert!(missing.is_err(), "an administrator without an address");
}

#[test]
fn what_an_aggregation_did_is_printed() {
    let fake = Fake::start();
    let path = "POST /api/admin/metrics/aggregate";
    let report = json!({"from": "2026-11-01", "to": null, "organizations": 3, "rollups": 40, "rebuilt": 2,
        "kept": {"rollups": 7, "until": "2026-08-20"}, "retention": {"filesRemoved": 1}});
    fake.answer(path, 200, &report);
    let text = printed(&fake, "aggregate --from 2026-11-01");
    let figures: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(figures, ["3", "40", "2", "7", "2026-08-20", "1"], "{text}");
    let body: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!(body, json!({"from": "2026-11-01"}));
    assert_eq!(serde_json::from_str::<Value>(&printed(&fake, "aggregate --json")).unwrap(), report);
    fake.answer(path, 422, &json!({"error": "to: Must not be before from."}));
    let error = run_line(&fake, "aggregate --from 2026-11-02 --to 2026-11-01", &Paper::default()).unwrap_err();
    assert!(error.to_string().contains("to: Must not be before from."), "{error}");
    assert!(!error.to_string().contains('{'), "{error}");
}

#[test]
fn an_organization_is_deleted_only_by_who_says_yes() {
    let fake = Fake::start();
    fake.answer("DELETE /v1/organizations/acme", 204, &Value::Null);
    let error = run_line(&fake, "org delete acme", &Paper::default()).unwrap_err().to_string();
    assert!(error.contains("acme") && error.contains("--yes"), "{error}");
    assert!(fake.state().requests.is_empty());
    assert_eq!(printed(&fake, "org delete acme --yes --reason asked"), "acme is deleted");
    let body: Value = serde_json::from_str(&fake.state().requests[0].1).unwrap();
    assert_eq!(body, json!({"reason": "asked"}));
}

#[test]
fn lists_are_read_to_their_last_page() {
    let fake = Fake::start();
    fake.answer("GET /v1/organizations?limit=200", 200, &json!({"data": [{"key": "a"}], "nextCursor": "c/1"}));
    fake.answer(
        "GET /v1/organizations?limit=200&cursor=c%2F1",
        200,
        &json!({"data": [{"key": "b"}], "nextCursor": null}),
    );
    assert_eq!(printed(&fake, "org list --json"), r#"{"data":[{"key":"a"},{"key":"b"}]}"#);
}

#[test]
fn usage_of_one_organization_is_its_current_period_and_else_a_report() {
    let fake = Fake::start();
    let meters = json!([{"meter": "tokens", "used": 5, "limit": null, "remaining": null, "unlimited": true}]);
    fake.answer(
        "GET /v1/organizations/acme/usage",
        200,
        &json!({"nextResetDate": "2026-12-01T00:00:00Z", "meters": meters}),
    );
    let now = printed(&fake, "usage --organization acme");
    assert!(now.starts_with("next reset 2026-12-01T00:00:00Z\n"), "{now}");
    assert!(now.lines().last().unwrap().split_whitespace().eq([
        "tokens",
        "5",
        "–",
        "unlimited",
        "unlimited",
        "–",
        "–",
        "–"
    ]));
    let page = r#"{"data": [{"organization": "acme", "meter": "llm_cost", "start": "2026-11-01T00:00:00Z",
        "end": "2026-11-02T00:00:00Z", "value": 0.100000000000000001, "count": 2, "group": {"model": "=a,b"}}]}"#;
    let request = "GET /v1/usage?organization=acme&groupBy=model&granularity=day&limit=200";
    fake.state().answers.insert(request.to_owned(), (200, page.to_owned()));
    let csv = printed(&fake, "usage --organization acme --granularity day --group-by model --csv");
    assert_eq!(
        csv,
        "organization,meter,start,end,model,value,count\n\
         acme,llm_cost,2026-11-01T00:00:00Z,2026-11-02T00:00:00Z,\"'=a,b\",0.100000000000000001,2"
    );
}

#[test]
fn a_catalogue_is_applied_after_its_difference_was_shown_and_confirmed() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[plans]").unwrap();
    let pro = json!({"key": "pro", "change": "changed", "fromVersion": 1, "toVersion": 2, "organizations": 7,
                     "details": ["limits.api_calls.minute: 60 → 120"]});
    let meters = json!([{"key": "tokens", "change": "unchanged", "details": []}, {"key": "jobs", "change": "added"}]);
    fake.answer("POST /v1/catalog/diff", 200, &json!({"meters": meters, "plans": [pro], "applied": false}));
    fake.answer("POST /v1/catalog/apply?keep=true", 200, &json!({"meters": [], "plans": [], "applied": true}));
    let apply = format!("catalog apply {} --keep", file.display());
    let nobody = Paper::default();
    assert_eq!(run_line(&fake, &apply, &nobody).unwrap(), Ending::Unconfirmed);
    assert_eq!(
        nobody.text(),
        "+ meter jobs\n~ plan pro, version 1 → 2, 7 organizations on an older one\n    limits.api_calls.minute: 60 → 120"
    );
    assert_eq!(run_line(&fake, &apply, &Paper::saying(false)).unwrap(), Ending::Unconfirmed);
    assert_eq!(fake.count("POST /v1/catalog/apply"), 0);
    assert_eq!(run_line(&fake, &apply, &Paper::saying(true)).unwrap(), Ending::Done);
    assert!(printed(&fake, &format!("{apply} --yes")).ends_with("applied"));
    fake.answer("POST /v1/catalog/diff", 200, &json!({"meters": [], "plans": [], "applied": false}));
    assert_eq!(printed(&fake, &apply), "nothing differs");
    let behind = json!({"key": "pro", "change": "unchanged", "fromVersion": 2, "toVersion": 2, "organizations": 1});
    fake.answer("POST /v1/catalog/diff", 200, &json!({"meters": [], "plans": [behind], "applied": false}));
    assert_eq!(printed(&fake, &apply), "nothing differs", "they are kept");
    let paper = Paper::default();
    let all = format!("catalog apply {}", file.display());
    assert_eq!(run_line(&fake, &all, &paper).unwrap(), Ending::Unconfirmed);
    assert_eq!(paper.text(), "= plan pro, version 2, 1 organization on an older one");
}

#[test]
fn a_busy_server_is_asked_again_but_nothing_is_created_twice() {
    let fake = Fake::start();
    fake.answer("GET /v1/organizations?limit=200", 200, &json!({"data": []}));
    fake.answer("POST /v1/organizations", 201, &json!({"key": "acme"}));
    fake.fail("GET", 0, Fault::Status(503));
    fake.fail("GET", 0, Fault::Status(429));
    assert_eq!(printed(&fake, "org list --json"), r#"{"data":[]}"#);
    fake.fail("POST", 0, Fault::Status(503));
    let error = run_line(&fake, "org create acme", &Paper::default()).unwrap_err().to_string();
    assert!(error.starts_with("Planned (503)"));
    assert_eq!(fake.count("POST"), 1);
}

#[test]
fn without_a_server_or_a_key_the_error_says_what_to_do() {
    let fake = Fake::start();
    fake.answer("GET /v1/organizations?limit=200", 401, &json!({"title": "Unauthorized", "status": 401}));
    let error = run_line(&fake, "org list", &Paper::default()).unwrap_err().to_string();
    assert!(error.contains("METERGATE_API_KEY"), "{error}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut nowhere = Fake::start();
    nowhere.url = format!("http://{closed}");
    let error = run_line(&nowhere, "org list", &Paper::default()).unwrap_err().to_string();
    assert!(error.contains("connection refused") && error.contains("metergate serve"), "{error}");
    nowhere.url = "ftp://example.com".to_owned();
    assert!(run_line(&nowhere, "org list", &Paper::default()).is_err());
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let paper = Paper::default();
    let words = ["metergate", "config", "--json", "--cores", "3", "--auto-create-organizations"];
    run(Arguments::try_parse_from(words).unwrap().command, &paper).unwrap();
    let shown: Value = serde_json::from_str(&paper.text()).unwrap();
    let find = |name: &str| shown["data"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!((&find("cores")["value"], &find("cores")["source"]), (&json!("3"), &json!("flag")));
    assert_eq!(find("auto_create_organizations")["value"], "true");
    let secret = Arguments::try_parse_from(["metergate", "serve", "--admin-key", "x"]);
    assert!(secret.is_err(), "a secret has no flag");
}

#[test]
fn a_backup_is_waited_for_and_its_folder_printed() {
    let fake = Fake::start();
    let begun = json!({"id": "j-1", "kind": "backup", "state": "running", "progress": {"done": 0, "total": 0, "unit": "bytes"}});
    let made = json!({"name": "b", "folder": "/backups/b", "besideTheData": true});
    let done =
        json!({"id": "j-1", "state": "done", "progress": {"done": 9, "total": 9, "unit": "bytes"}, "result": made});
    fake.answer("POST /v1/backups", 202, &begun);
    fake.answer("GET /v1/jobs/j-1", 200, &done);
    fake.fail("GET", 0, Fault::Status(503));
    let paper = Paper::default();
    assert_eq!(run_line(&fake, "backup --name b", &paper).unwrap(), Ending::Done);
    assert_eq!(paper.text(), "/backups/b");
    assert_eq!(paper.notes(), "it is on the file system of the data: copy it to another disk or machine");
    assert_eq!(fake.state().requests[0].1, r#"{"name":"b"}"#);
    let json: Value = serde_json::from_str(&printed(&fake, "backup --json")).unwrap();
    assert_eq!(json, done);
}

#[test]
fn a_backup_that_failed_or_is_forgotten_says_so() {
    let fake = Fake::start();
    fake.answer("POST /v1/backups", 202, &json!({"id": "j-1", "state": "running"}));
    let lost = run_line(&fake, "backup", &Paper::default()).unwrap_err().to_string();
    assert!(lost.contains("there is none"), "{lost}");
    fake.answer("GET /v1/jobs/j-1", 200, &json!({"id": "j-1", "state": "failed", "error": "the disk is full"}));
    let failed = run_line(&fake, "backup", &Paper::default()).unwrap_err().to_string();
    assert_eq!(failed, "there is no backup: the disk is full");
    assert_eq!(run_line(&fake, "backup --json", &Paper::default()).unwrap(), Ending::Failed);
    for line in ["backup --offline", "backup --to x", "backup --offline --to x --name y", "restore", "doctor --from x"]
    {
        let words = std::iter::once("metergate").chain(line.split(' '));
        assert!(Arguments::try_parse_from(words).is_err(), "{line}");
    }
}

/// Runs a command on a data folder.
fn run_on(folder: &std::path::Path, line: &str, paper: &Paper) -> anyhow::Result<Ending> {
    let data = folder.join("data");
    let words = std::iter::once("metergate").chain(line.split(' '));
    let words: Vec<String> = words.map(|word| word.replace("{}", folder.to_str().unwrap())).collect();
    let flags = ["--data-dir".to_owned(), data.to_str().unwrap().to_owned()];
    run(Arguments::try_parse_from(words.into_iter().chain(flags))?.command, paper)
}

#[test]
fn a_folder_that_no_server_uses_is_backed_up_restored_and_gone_through() {
    let place = tempfile::tempdir().unwrap();
    let (folder, data) = (place.path(), place.path().join("data"));
    let said = |line: &str, ending: Ending| {
        let paper = Paper::default();
        assert_eq!(run_on(folder, line, &paper).unwrap(), ending, "{line}");
        (paper.text(), paper.notes())
    };
    let refused = |line: &str| run_on(folder, line, &Paper::default()).unwrap_err().to_string();
    for line in ["doctor", "backup --offline --to {}/b"] {
        assert!(refused(line).contains("there is no store in"), "{line}");
    }
    assert!(!data.exists(), "looking makes nothing");
    std::fs::create_dir(&data).unwrap();
    let settings = crate::store::Settings::in_folder(&data);
    drop(crate::store::Store::open(settings, crate::clock::Clock::start()).unwrap());
    assert_eq!(said("backup --offline --to {}/b", Ending::Done).0, folder.join("b").to_str().unwrap());
    assert!(refused("backup --offline --to {}/b").ends_with("is there already"));
    assert!(refused("restore --from {}/b").contains("is not empty"));
    let well = said("doctor", Ending::Done).0;
    assert!(well.contains("is well") && well.contains("0 blocks without a gap"), "{well}");
    let server = crate::folder::Locked::to_serve(&data).unwrap();
    for line in ["doctor", "backup --offline --to {}/c"] {
        assert!(refused(line).contains("another metergate is using"), "{line}");
    }
    drop(server);
    std::fs::remove_dir_all(&data).unwrap();
    let restored = said("restore --from {}/b", Ending::Done).0;
    assert!(restored.contains("as it was at") && restored.contains("every hash verified"), "{restored}");
    let json: Value = serde_json::from_str(&said("doctor --json", Ending::Done).0).unwrap();
    assert_eq!((&json["well"], &json["counts"]["lastBlock"]), (&json!(true), &json!(0)));
    let database = rusqlite::Connection::open(data.join(crate::store::sqlite::FILE)).unwrap();
    database.execute("INSERT INTO blocks VALUES (2, 0, x'01')", []).unwrap();
    drop(database);
    let (found, advice) = said("doctor", Ending::Failed);
    assert_eq!(found, "block 1 is missing: block 2 stands in its place\nblock 2: it is cut short");
    assert!(advice.contains("restore the newest backup"), "{advice}");
    assert_eq!(
        refused("restore --from {}/nowhere").split(": ").last(),
        Some("this is no backup, or not the whole of one")
    );
}
