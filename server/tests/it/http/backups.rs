//! Backups over HTTP: a job, seen by who began it.

use std::path::Path;
use std::time::Duration;

use metergate::backup::Manifest;
use metergate::store::audit::TEAM;
use metergate::store::sqlite::Sqlite;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

/// The job that an answer began, once it has ended.
fn ended(client: &Client, begun: &Answer) -> Value {
    let path = begun.header("location").expect("a job").to_owned();
    for _ in 0..600 {
        let job = client.get(&path).is(200).json();
        if job["state"] != "running" {
            return job;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{path} does not end");
}

#[test]
fn a_backup_is_a_job_that_says_where_it_is_and_what_is_in_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let begun = admin.post("/v1/backups", json!({"name": "first"})).is(202);
    let body = begun.json();
    assert_eq!((&body["kind"], &body["state"]), (&json!("backup"), &json!("running")));
    assert_eq!(body["progress"], json!({"done": 0, "total": 0, "unit": "bytes"}));
    assert_eq!(begun.header("location").unwrap(), format!("/v1/jobs/{}", body["id"].as_str().unwrap()));
    let job = ended(&admin, &begun);
    assert_eq!(
        (&job["id"], &job["createdAt"], &job["state"]),
        (&body["id"], &body["createdAt"], &json!("done")),
        "{job}"
    );
    assert!(
        job["progress"]["total"].as_u64().unwrap() > 100_000 && job["progress"]["done"] == job["progress"]["total"]
    );
    let made = &job["result"];
    let folder = server.folder().join("data/backups/first");
    assert_eq!((&made["name"], made["folder"].as_str()), (&json!("first"), folder.to_str()));
    assert_eq!((&made["organizations"], &made["besideTheData"]), (&json!(1), &json!(true)));
    let manifest = Manifest::read(&folder).unwrap();
    assert_eq!(manifest.bytes(), made["bytes"].as_u64().unwrap());
    // Without a name, and without a body, it is named after the time.
    let job = ended(&admin, &admin.post("/v1/backups", "").is(202));
    let name = job["result"]["name"].as_str().unwrap().to_owned();
    assert!(
        body["createdAt"].as_str().unwrap()[..10] == name[..10] && name.ends_with('Z') && !name.contains(':'),
        "{name}"
    );
}

#[test]
fn backups_go_below_the_folder_that_is_configured_and_nowhere_else() {
    let elsewhere = tempfile::tempdir().unwrap();
    let below = elsewhere.path().join("on/another/disk");
    let server = Server::with(&[("METERGATE_BACKUP_DIR", below.to_str().unwrap())]);
    let admin = server.admin();
    for name in ["../x", "/tmp/x", "", ".", "..", "a/b", ".hidden"] {
        let problem = admin.post("/v1/backups", json!({"name": name})).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/name", "{name:?}");
    }
    admin.post("/v1/backups", json!({"to": "/tmp"})).expect_problem(422, "validation");
    assert!(!below.exists(), "nothing was begun");
    let job = ended(&admin, &admin.post("/v1/backups", json!({"name": "b"})).is(202));
    assert_eq!(job["result"]["folder"].as_str(), below.join("b").to_str());
}

#[test]
fn a_taken_name_is_409_but_a_repeated_call_has_its_first_answer() {
    let server = Server::start();
    let admin = server.admin();
    let call = |name: &str, key: &str| {
        admin.call("POST", "/v1/backups").header("idempotency-key", key).json(json!({"name": name})).send()
    };
    let begun = call("a", "k").is(202);
    ended(&admin, &begun);
    admin.post("/v1/backups", json!({"name": "a"})).expect_problem(409, "backup-exists");
    let again = call("a", "k").is(202);
    assert_eq!((&again.text, again.header("location")), (&begun.text, begun.header("location")));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    call("b", "k").expect_problem(422, "idempotency-mismatch");
    // What was refused began nothing and is no entry of the audit log; what was repeated is one.
    ended(&admin, &call("b", "l").is(202));
    let told = |folder: &Path| {
        let mut rows = Sqlite::open_to_read(folder).unwrap().audit_before(TEAM, u64::MAX, 50).unwrap();
        rows.retain(|row| row.action == "backup.create");
        rows.iter().rev().map(|row| (row.actor.clone(), row.category.clone(), row.after.clone())).collect::<Vec<_>>()
    };
    let entry = |name: &str| ("key:administrator".to_owned(), "config".to_owned(), json!({"name": name}).to_string());
    assert_eq!(told(&server.folder().join("data")), [entry("a"), entry("b")]);
    assert_eq!(told(&server.folder().join("data/backups/b")), [entry("a"), entry("b")], "it tells of itself");
}

#[test]
fn a_job_exists_for_the_key_that_began_it_alone() {
    let server = Server::start();
    let admin = server.admin();
    let key = |scopes: Value| {
        let made = admin.post("/v1/api-keys", json!({"name": "operator", "scopes": scopes})).is(201).json();
        server.client(made["key"].as_str().unwrap())
    };
    let (starter, namesake, reader) = (key(json!(["admin"])), key(json!(["admin"])), key(json!(["read"])));
    let begun = starter.post("/v1/backups", "").is(202);
    assert_eq!(ended(&starter, &begun)["state"], "done");
    let path = begun.header("location").unwrap();
    for other in [&admin, &namesake, &reader] {
        let call = |path: &str| other.call("GET", path).header("x-request-id", "asked").send().is(404).text;
        assert_eq!(call(path), call("/v1/jobs/00000000-0000-4000-8000-000000000000"));
    }
}

#[cfg(feature = "faults")]
#[test]
fn there_is_one_backup_at_a_time_and_a_server_that_stops_leaves_none_half_done() {
    let mut server = Server::with(&[("FAILPOINTS", "backup-step=sleep(3000)")]);
    let admin = server.admin();
    let call =
        |key: &str| admin.call("POST", "/v1/backups").header("idempotency-key", key).json(json!({"name": "a"})).send();
    let begun = call("k").is(202);
    admin.post("/v1/backups", json!({"name": "b"})).expect_problem(409, "backup-running");
    let again = call("k").is(202);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&begun.text, Some("true")));
    server.stop();
    let left: Vec<_> = std::fs::read_dir(server.folder().join("data/backups")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    // The next server no longer knows of it, and what it was called is free.
    server.start_again();
    admin.get(begun.header("location").unwrap()).expect_problem(404, "not-found");
    assert_eq!(ended(&admin, &admin.post("/v1/backups", json!({"name": "a"})).is(202))["state"], "done");
}

#[test]
fn a_backup_that_cannot_be_written_fails_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let server = Server::with(&[("METERGATE_BACKUP_DIR", file.join("below").to_str().unwrap())]);
    let job = ended(&server.admin(), &server.admin().post("/v1/backups", "").is(202));
    assert_eq!((&job["state"], job.get("result")), (&json!("failed"), None));
    assert!(job["error"].as_str().unwrap().contains("a-file"), "{job}");
}
