//! `metergate migrate-store`: what a server had in a folder another has in a PostgreSQL.

use serde_json::json;

use super::client::Client;
use super::server::{Server, metergate};
use crate::store::Database;

/// The ends of the chains of all organizations.
fn heads(admin: &Client) -> Vec<String> {
    let heads = admin.get("/v1/audit-log/head?format=jsonl").is(200).text;
    heads.lines().skip(1).filter(|line| !line.contains("\"team\"")).map(str::to_owned).collect()
}

#[test]
fn a_server_on_postgresql_goes_on_where_one_on_a_folder_was_stopped() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "free"})).is(201);
    let asked = json!({"organization": "acme", "meter": "api_calls", "quantity": 2, "id": "a"});
    let first = admin.post("/v1/consume", &asked).is(200).json();
    let sign_up = json!({"email": "ann@example.com", "password": "correct horse battery", "name": "Ann", "organizationName": "Ann's"});
    admin.post("/api/auth/register", sign_up).is(201);
    let heads_before = heads(&admin);
    server.kill();
    let database = Database::new();
    let run = || {
        let url = database.secret();
        let mut command = metergate(server.folder());
        command.env("METERGATE_DATABASE_URL", url.expose()).env("METERGATE_DATA_DIR", server.folder().join("data"));
        command.arg("migrate-store").output().unwrap()
    };
    let done = run();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success() && told.contains("organizations  2"),
        "{told}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let again = run();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("already"));

    let moved = Server::with(&[("METERGATE_DATABASE_URL", database.secret().expose())]);
    let admin = moved.admin();
    let after = heads(&admin);
    assert!(
        heads_before.len() > 1 && heads_before.iter().all(|head| after.contains(head)),
        "{heads_before:?}, {after:?}"
    );
    let replayed = admin.post("/v1/consume", &asked).is(200);
    assert_eq!((replayed.header("idempotent-replayed"), replayed.json()), (Some("true"), first));
    let sign_in = json!({"email": "ann@example.com", "password": "correct horse battery"});
    moved.stranger().post("/api/auth/login", sign_in).is(200);
    let usage = admin.get("/v1/usage?organization=acme&meter=api_calls&granularity=total").is(200).json();
    assert_eq!(usage["data"][0]["value"], 2);
}
