//! API keys: shown once, bound, rotated, revoked, expired.

use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::server::Server;

#[path = "keys/own.rs"]
mod own;

#[test]
fn a_secret_is_shown_once_and_never_again() {
    let server = Server::start();
    let admin = server.admin();
    let body = json!({"name": "app", "scopes": ["read", "consume", "read"]});
    let create = || admin.call("POST", "/v1/api-keys").header("idempotency-key", "k").json(&body).send();
    let made = create().is(201);
    let secret = made.json()["key"].as_str().unwrap().to_owned();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("mg_") && secret.len() == 36, "the form of a key");
    assert_eq!(made.json()["scopes"], json!(["consume", "read"]));
    assert_eq!((made.json()["organization"].clone(), made.json()["revokedAt"].clone()), (json!(null), json!(null)));
    let again = create().is(201);
    assert_eq!((again.header("idempotent-replayed"), again.json()["id"].as_str()), (Some("true"), Some(id.as_str())));
    let client = server.client(&secret);
    let rotated = admin.post(&format!("/v1/api-keys/{id}/rotate"), "").is(201);
    let others = [
        again.text.clone(),
        admin.get("/v1/api-keys").is(200).text,
        client.get("/v1/me").is(200).text,
        rotated.text,
        client.get("/metrics").text,
    ];
    for text in others {
        assert!(!text.contains(&secret), "{text}");
    }
    assert_eq!(again.json().get("key"), Some(&json!(null)), "a repetition says that it does not show it");
    let me = client.get("/v1/me").is(200).json();
    assert_eq!(
        me,
        json!({"name": "app", "keyId": id, "scopes": ["consume", "read"], "organization": null, "operator": false, "user": null, "organizations": []})
    );
    let me = admin.get("/v1/me").is(200).json();
    assert_eq!((&me["operator"], &me["keyId"]), (&json!(true), &json!(null)));
}

#[test]
fn a_rotated_key_goes_on_beside_its_successor_which_has_its_rights() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    let made = admin
        .post("/v1/api-keys", json!({"name": "app", "scopes": ["consume"], "organization": "acme"}))
        .is(201)
        .json();
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    admin.post(&format!("{path}/rotate"), "junk{").expect_problem(400, "malformed-body");
    let unknown = admin.post(&format!("{path}/rotate"), json!({"zz": 1})).expect_problem(422, "validation");
    assert_eq!(unknown["errors"][0]["pointer"], "#/zz");
    let successor = admin.post(&format!("{path}/rotate"), "").is(201).json();
    assert_ne!((&successor["id"], &successor["key"]), (&made["id"], &made["key"]));
    for name in ["name", "scopes", "organization"] {
        assert_eq!(successor[name], made[name], "{name}");
    }
    for key in [&made["key"], &successor["key"]] {
        let client = server.client(key.as_str().unwrap());
        client.post("/v1/consume", json!({"organization": "acme", "meter": "tokens"})).is(200);
        assert_eq!(client.get("/v1/me").is(200).json()["organization"], made["organization"]);
    }
    let listed = admin.list("/v1/api-keys");
    let old = listed.iter().find(|one| one["id"] == made["id"]).unwrap();
    assert!(old["expiresAt"].is_string(), "the old one has an end now: {old}");
    admin.delete(&path).is(204);
    server.client(made["key"].as_str().unwrap()).get("/v1/me").expect_problem(401, "unauthorized");
    server.client(successor["key"].as_str().unwrap()).get("/v1/me").is(200);
    admin.post(&format!("{path}/rotate"), "").expect_problem(404, "unknown-key");
}

#[test]
fn a_key_is_rotated_again_only_once_the_one_before_it_has_ended() {
    let mut server = Server::start();
    let admin = server.admin();
    let first = admin.post("/v1/api-keys", json!({"name": "app", "scopes": ["read"]})).is(201).json();
    let (key, rotate) = (|key: &Value| format!("/v1/api-keys/{}", key["id"].as_str().unwrap()), "/rotate");
    let second = admin.post(&format!("{}{rotate}", key(&first)), "").is(201).json();
    assert_eq!((&first["replaces"], &second["replaces"]), (&json!(null), &first["id"]));
    // What each took the place of is known after a crash.
    server.kill();
    server.start_again();
    let admin = server.admin();
    let refused = |of: &Value, code: &str, other: &Value| {
        let problem = admin.post(&format!("{}{rotate}", key(of)), "").expect_problem(409, code);
        assert!(problem["detail"].as_str().unwrap().contains(other["id"].as_str().unwrap()), "{problem}");
    };
    refused(&first, "already-rotated", &second);
    refused(&second, "rotation-under-way", &first);
    assert_eq!(admin.list("/v1/api-keys").len(), 2);
    admin.delete(&key(&first)).is(204);
    let third = admin.post(&format!("{}{rotate}", key(&second)), "").is(201).json();
    assert_eq!((&third["replaces"], &third["expiresAt"]), (&second["id"], &json!(null)), "with no end of its own");
    server.client(third["key"].as_str().unwrap()).get("/v1/me").is(200);
}

#[test]
fn a_revoked_key_is_refused_at_once_and_after_a_restart() {
    let mut server = Server::with(&[("METERGATE_CORES", "2")]);
    let admin = server.admin();
    let made = admin.post("/v1/api-keys", json!({"name": "app", "scopes": ["read"]})).is(201).json();
    let key = made["key"].as_str().unwrap().to_owned();
    server.client(&key).get("/v1/me").is(200);
    let path = format!("/v1/api-keys/{}", made["id"].as_str().unwrap());
    admin.delete(&path).is(204);
    // New connections come to either core.
    for _ in 0..8 {
        server.client(&key).get("/v1/me").expect_problem(401, "unauthorized");
    }
    admin.delete(&path).is(204);
    admin.delete("/v1/api-keys/0000000000").expect_problem(404, "unknown-key");
    assert!(admin.list("/v1/api-keys")[0]["revokedAt"].is_string());
    server.kill();
    server.start_again();
    server.client(&key).get("/v1/me").expect_problem(401, "unauthorized");
}

#[test]
fn a_key_ends_at_its_expiry() {
    let server = Server::start();
    let admin = server.admin();
    let create = |ends: &str| admin.post("/v1/api-keys", json!({"name": "app", "scopes": ["read"], "expiresAt": ends}));
    let over = create("2020-01-01T00:00:00Z").expect_problem(422, "validation");
    assert_eq!(over["errors"][0]["pointer"], "#/expiresAt");
    let problem = create("tomorrow").expect_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "#/expiresAt");
    create("2099-01-01T00:00:00Z").is(201);
    // One that is about to end: asked until it has ended, which the clock alone decides.
    let soon = metergate::clock::wall().plus(4 * SECOND);
    let made = create(&soon.to_string()).is(201).json();
    let client = server.client(made["key"].as_str().unwrap());
    let refused = loop {
        let answer = client.get("/v1/me");
        let now = metergate::clock::wall();
        if answer.status != 200 {
            assert!(now.since(soon) > -SECOND / 10, "refused at {now}, before {soon}");
            break answer;
        }
        assert!(now.since(soon) < 10 * SECOND, "still taken at {now}, after {soon}");
    };
    refused.expect_problem(401, "unauthorized");
}

#[test]
fn keys_are_bound_to_organizations_that_exist_and_listed_in_pages() {
    let server = Server::start();
    let admin = server.admin();
    let organization = admin.post("/v1/organizations", json!({"key": "acme"})).is(201).json()["id"].clone();
    let create = |name: &str, organization: &str| {
        admin.post("/v1/api-keys", json!({"name": name, "scopes": ["read"], "organization": organization}))
    };
    for name in ["acme", organization.as_str().unwrap()] {
        assert_eq!(create("k", name).is(201).json()["organization"], organization);
    }
    create("k", "nobody").expect_problem(404, "unknown-organization");
    create("k", "01890000-0000-7000-8000-000000000000").expect_problem(404, "unknown-organization");
    create("", "acme").expect_problem(422, "validation");
    let ids: Vec<_> = admin.list("/v1/api-keys?limit=1").iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    let all: Vec<_> = admin.list("/v1/api-keys").iter().map(|one| one["id"].clone()).collect();
    assert_eq!(all, ids);
}
