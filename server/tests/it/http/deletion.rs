//! An organization is deleted: who may, what is left for whom, and that nothing personal is on the disk (O8).

use serde_json::json;

use super::client::{Answer, Client, comparable};
use super::isolation::NOBODY;
use super::people::{Person, join, sign_up};
use super::portals::opened;
use super::server::Server;

const ACME: &str = "/v1/organizations/acme";

/// Organization `acme` with two members, of whom the second is in no other.
fn started() -> (Server, Person, Person, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "name": "Analytical Engines", "plan": "pro"})).is(201);
    let [owner, admin_of] =
        [("owner", "ada@elsewhere.example"), ("admin", "grace@elsewhere.example")].map(|(role, email)| {
            let person = sign_up(&server, email);
            join(&admin, "acme", &person, role);
            person
        });
    let made = json!({"name": "app", "scopes": ["consume", "read"], "organization": "acme"});
    let key = admin.post("/v1/api-keys", made).is(201).json()["key"].as_str().unwrap().to_owned();
    let client = server.client(&key);
    let ask = json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "d"});
    assert_eq!(client.post("/v1/consume", ask).is(200).json()["allowed"], true);
    (server, owner, admin_of, client)
}

/// Under one id for all, so that equal answers have equal bytes.
fn asked(client: &Client, method: &str, path: &str) -> Answer {
    client.call(method, path).header("x-request-id", "asked").send()
}

#[test]
fn an_owner_deletes_it_an_administrator_does_not_and_for_strangers_it_never_was() {
    let (mut server, owner, admin_of, key) = started();
    let stranger = sign_up(&server, "eve@elsewhere.example").client;
    admin_of.client.delete(ACME).expect_problem(403, "forbidden");
    key.delete(ACME).expect_problem(403, "forbidden");
    server.stranger().delete(ACME).expect_problem(401, "unauthorized");
    let nobody = format!("/v1/organizations/{NOBODY}");
    let (other, nothing) = (asked(&stranger, "DELETE", ACME), asked(&stranger, "DELETE", &nobody));
    assert_eq!((other.status, comparable(&other)), (404, comparable(&nothing)));
    let id = owner.client.get(ACME).is(200).json()["id"].as_str().unwrap().to_owned();
    owner.client.delete(ACME).is(204);
    for restarted in [false, true] {
        if restarted {
            server.kill();
            server.start_again();
        }
        // Nothing is there, for nobody, by its key or its id.
        for client in [&owner.client, &admin_of.client, &stranger, &server.admin()] {
            for name in ["acme", &id] {
                for below in ["", "/usage", "/quota", "/members", "/grants", "/audit-log"] {
                    let path = |name: &str| format!("/v1/organizations/{name}{below}");
                    if below == "/audit-log" && name == id {
                        continue;
                    }
                    let (gone, nothing) = (asked(client, "GET", &path(name)), asked(client, "GET", &path(NOBODY)));
                    assert_eq!(comparable(&gone), comparable(&nothing), "{}", path(name));
                }
            }
            client.delete(ACME).expect_problem(404, "unknown-organization");
        }
        key.get("/v1/me").expect_problem(401, "unauthorized");
        // Who is in other organizations stays signed in there.
        let me = owner.client.get("/v1/me").is(200).json();
        assert_eq!(me["organizations"].as_array().unwrap().len(), 1);
        assert_eq!(owner.client.get("/v1/usage").is(200).status, 200);
        let event = json!({"specversion": "1.0", "id": "late", "source": "/s", "type": "tokens", "subject": id});
        let late = server.admin().post("/v1/events", event);
        assert!(late.text.contains("unknown-organization"), "{}", late.text);
    }
}

#[test]
fn its_key_is_free_again_and_a_repetition_never_hits_the_new_one() {
    let (server, owner, ..) = started();
    let admin = server.admin();
    let call =
        || admin.call("DELETE", ACME).header("idempotency-key", "k").json(json!({"reason": "it was asked for"})).send();
    let old = admin.get(ACME).is(200).json()["id"].clone();
    admin.call("DELETE", ACME).header("if-match", "\"v99\"").send().expect_problem(412, "precondition-failed");
    admin.call("DELETE", ACME).json(json!({"why": "unknown field"})).send().expect_problem(422, "validation");
    call().is(204);
    assert_eq!(call().is(204).header("idempotent-replayed"), Some("true"));
    admin.delete(ACME).expect_problem(404, "unknown-organization");
    let new = admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201).json();
    assert_ne!(new["id"], old);
    call().expect_problem(422, "idempotency-mismatch");
    assert_eq!(admin.get(ACME).is(200).json()["id"], new["id"]);
    owner.client.get(ACME).expect_problem(404, "unknown-organization");
    let ask = json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "d"});
    assert_eq!(admin.post("/v1/consume", ask).is(200).header("idempotent-replayed"), None);
    let tombstone =
        admin.list("/v1/audit-log").into_iter().find(|entry| entry["action"] == "organization.delete").unwrap();
    assert_eq!((&tombstone["before"]["organization"], &tombstone["before"]["members"]), (&old, &json!(2)));
    assert_eq!((&tombstone["before"]["apiKeys"], &tombstone["reason"]), (&json!(1), &json!("it was asked for")));
    assert!(!tombstone.to_string().contains("acme"), "{tombstone}");
}

#[test]
fn its_log_is_read_by_operators_alone_and_says_redacted() {
    let (server, owner, ..) = started();
    let admin = server.admin();
    let id = admin.get(ACME).is(200).json()["id"].as_str().unwrap().to_owned();
    let before = admin.list(&format!("{ACME}/audit-log"));
    owner.client.delete(ACME).is(204);
    let path = format!("/v1/audit-log?organization={id}");
    let after = admin.list(&path);
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (&before["hash"], &before["action"], &before["time"]),
            (&after["hash"], &after["action"], &after["time"])
        );
        assert_eq!((&after["redacted"], &after["actor"]), (&json!(true), &json!("redacted")));
        assert_eq!((&after["before"], &after["after"], &after["details"]), (&json!({}), &json!({}), &json!({})));
    }
    owner.client.get(&path).expect_problem(403, "forbidden");
    owner.client.get(&format!("/v1/organizations/{id}/audit-log")).expect_problem(404, "unknown-organization");
    let verified = admin.get("/v1/audit-log/verify").is(200).json();
    assert_eq!(verified["findings"], json!([]), "{verified}");
}

#[test]
fn its_portals_are_closed_and_its_keys_are_listed_no_more() {
    let (mut server, owner, ..) = started();
    let admin = server.admin();
    let revoked = admin.post("/v1/api-keys", json!({"name": "old", "scopes": ["read"], "organization": "acme"}));
    admin.delete(&format!("/v1/api-keys/{}", revoked.is(201).json()["id"].as_str().unwrap())).is(204);
    admin.post("/v1/api-keys", json!({"name": "the team's", "scopes": ["read"]})).is(201);
    let portals = [opened(&server, "acme", None), opened(&server, "acme", Some(&owner.id))];
    portals.iter().for_each(|portal| drop(portal.get("/v1/me").is(200)));
    owner.client.delete(ACME).is(204);
    for restarted in [false, true] {
        if restarted {
            server.kill();
            server.start_again();
        }
        portals.iter().for_each(|portal| drop(portal.get("/v1/me").expect_problem(401, "unauthorized")));
        let keys = admin.list("/v1/api-keys");
        assert_eq!(keys.iter().map(|key| &key["name"]).collect::<Vec<_>>(), ["the team's"]);
        let export = admin.get("/v1/export").is(200).text;
        let keys: Vec<&str> = export.lines().filter(|line| line.starts_with(r#"{"kind":"key""#)).collect();
        assert!(keys.len() == 1 && keys[0].contains("the team's"), "{keys:?}");
    }
}

#[cfg(feature = "faults")]
#[test]
fn nothing_of_a_member_is_stored_afterwards() {
    let mut server = Server::start();
    let form = json!({"email": "charles@nowhere.example", "password": "correct horse battery", "name": "Charles Babbage",
        "organizationName": "Difference"});
    let call = server.stranger();
    let made = call.call("POST", "/api/auth/register").header("idempotency-key", "k").json(form).send().is(201).json();
    let client = server.client(made["token"].as_str().unwrap());
    let path = format!("/v1/organizations/{}", made["organizations"][0]["key"].as_str().unwrap());
    let invited = json!({"email": "invited@nowhere.example", "role": "viewer"});
    client.post(&format!("{path}/invitations"), invited).is(201);
    let added = json!({"email": "added@nowhere.example", "role": "admin"});
    client.post(&format!("{path}/members"), added).is(202);
    for links in ["/v1/password-resets", "/v1/email-verifications"] {
        server.admin().post(links, json!({"email": "charles@nowhere.example"})).is(201);
    }
    let texts = ["charles@nowhere.example", "Charles Babbage", "invited@nowhere.example", "added@nowhere.example"];
    server.stop();
    assert!(texts.iter().all(|text| server.has_anywhere(text)));
    server.start_again();
    client.delete(&path).is(204);
    client.get("/v1/me").expect_problem(401, "unauthorized");
    let again = json!({"email": "charles@nowhere.example", "password": "correct horse battery"});
    server.stranger().post("/api/auth/login", again).expect_error_text(401);
    let left = || server.number("SELECT count(*) FROM deletions");
    for _ in 0..1000 {
        if left() == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(left(), 0);
    server.stop();
    for text in texts {
        assert!(!server.has_anywhere(text), "{text} is still there");
    }
}
