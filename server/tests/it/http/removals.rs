//! What is taken away: the reason that may be said stands in the audit log.

use serde_json::{Value, json};

use super::client::Client;
use super::people::{join, sign_up};
use super::server::Server;

/// The entries of an action, the newest first.
fn entries(admin: &Client, log: &str, action: &str) -> Vec<Value> {
    admin.list(&format!("{log}?action={action}"))
}

/// Things to be deleted: where each is, in which log with which action that stands.
fn things(server: &Server, round: &str) -> Vec<(String, String, &'static str)> {
    let (admin, team) = (server.admin(), "/v1/audit-log".to_owned());
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    admin.put(&format!("/v1/meters/m-{round}"), json!({"aggregation": "sum"})).is(201);
    admin.put(&format!("/v1/plans/p-{round}"), json!({})).is(201);
    let key = admin.post("/v1/api-keys", json!({"name": "k", "scopes": ["read"]})).is(201).json();
    let url = format!("https://127.0.0.1:8443/{round}");
    let endpoint = admin.post("/v1/webhook-endpoints", json!({"url": url})).is(201).json();
    let root = json!({"email": format!("root-{round}@example.com"), "password": "correct horse battery"});
    let root = admin.post("/v1/administrators", root).is(201).json();
    let (ada, eve) = (sign_up(server, &format!("ada-{round}@x.org")), sign_up(server, &format!("eve-{round}@x.org")));
    join(&ada.client, &ada.organization, &eve, "viewer");
    let of_ada = format!("/v1/organizations/{}", ada.organization);
    let own = admin.post(&format!("{of_ada}/api-keys"), json!({"name": "k", "scopes": ["read"]})).is(201).json();
    let portal = admin.post(&format!("{of_ada}/portal-sessions"), json!({})).is(201).json();
    let log = format!("{of_ada}/audit-log");
    vec![
        (format!("/v1/meters/m-{round}"), team.clone(), "meter.change"),
        (format!("/v1/plans/p-{round}"), team.clone(), "catalog.apply"),
        (format!("/v1/api-keys/{}", id(&key)), team.clone(), "key.revoke"),
        (format!("/v1/webhook-endpoints/{}", id(&endpoint)), team.clone(), "endpoint.change"),
        (format!("/v1/administrators/{}", id(&root)), team, "member.remove"),
        (format!("{of_ada}/api-keys/{}", id(&own)), log.clone(), "key.revoke"),
        (format!("{of_ada}/members/{}", eve.id), log.clone(), "member.remove"),
        (format!("{of_ada}/portal-sessions/{}", id(&portal)), log, "portal.link"),
    ]
}

#[test]
fn what_is_deleted_is_deleted_with_the_reason_that_was_said_or_without_one() {
    let server = Server::with(&[("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8")]);
    let admin = server.admin();
    let stays = json!({"email": "stays@example.com", "password": "correct horse battery"});
    admin.post("/v1/administrators", stays).is(201);
    for (path, log, action) in things(&server, "one") {
        for body in [json!({"reason": 1}), json!({"why": "x"}), json!({"reason": "x".repeat(4097)})] {
            let refused = admin.call("DELETE", &path).json(&body).send().expect_problem(422, "validation");
            let pointer = if body.get("why").is_some() { "#/why" } else { "#/reason" };
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{path} {body}: {refused}");
        }
        let before = admin.list(&log).len();
        let call = || {
            let call = admin.call("DELETE", &path).header("idempotency-key", "k");
            call.json(json!({"reason": "no longer needed"})).send()
        };
        call().is(204);
        let entry = entries(&admin, &log, action)[0].clone();
        assert_eq!(entry["reason"], "no longer needed", "{path}: {entry}");
        assert_eq!(admin.list(&log).len(), before + 1, "{path}: one change is one entry");
        let count = entries(&admin, &log, action).len();
        assert_eq!(call().is(204).header("idempotent-replayed"), Some("true"), "{path}");
        let other = admin.call("DELETE", &path).header("idempotency-key", "k").json(json!({"reason": "another"}));
        other.send().expect_problem(422, "idempotency-mismatch");
        assert_eq!(entries(&admin, &log, action).len(), count, "{path}");
    }
    for (path, log, action) in things(&server, "two") {
        admin.delete(&path).is(204);
        assert_eq!(entries(&admin, &log, action)[0]["reason"], Value::Null, "{path}");
    }
}

#[test]
fn prices_and_endpoints_are_changed_with_the_reason_that_was_said() {
    let server = Server::with(&[("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8")]);
    let admin = server.admin();
    let price = json!({"model": "m-1", "effectiveFrom": "2026-01-02", "input": "1"});
    let name = json!({"model": "m-1", "effectiveFrom": "2026-01-02"});
    admin.patch("/v1/prices", json!({"set": [price], "reason": "a new contract"})).is(200);
    admin.patch("/v1/prices", json!({"remove": [name], "reason": "it has ended"})).is(200);
    let reasons: Vec<_> =
        entries(&admin, "/v1/audit-log", "price.change").iter().map(|one| one["reason"].clone()).collect();
    assert_eq!(reasons[..2], [json!("it has ended"), json!("a new contract")]);
    let long = json!({"set": [], "reason": "x".repeat(4097)});
    admin.patch("/v1/prices", long).expect_problem(422, "validation");
    let endpoint = admin.post("/v1/webhook-endpoints", json!({"url": "https://127.0.0.1:8443/"})).is(201).json();
    let path = format!("/v1/webhook-endpoints/{}", endpoint["id"].as_str().unwrap());
    admin.patch(&path, json!({"enabled": false, "reason": "their server moves"})).is(200);
    assert_eq!(entries(&admin, "/v1/audit-log", "endpoint.change")[0]["reason"], "their server moves");
}
