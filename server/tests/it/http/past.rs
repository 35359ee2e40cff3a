//! `explain` at a past time: what stood then, with the entries of the audit log until then (D11).

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

/// A test organization whose clock shows 1 May.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro", "test": true})).is(201);
    clock(&admin, "2026-05-01T00:00:00Z");
    (server, admin)
}

fn clock(client: &Client, now: &str) {
    client.put("/v1/organizations/acme/clock", json!({"now": now})).is(200);
}

fn consume(client: &Client, quantity: i64) {
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": quantity});
    assert_eq!(client.post("/v1/consume", body).is(200).json()["allowed"], true);
}

/// Without the time of the answer itself.
fn explained(client: &Client, query: &str) -> Value {
    let mut body = client.get(&format!("/v1/organizations/acme/explain?meter=tokens{query}")).is(200).json();
    body.as_object_mut().unwrap().remove("at");
    body
}

#[test]
fn what_is_explained_of_then_is_what_was_explained_then() {
    let (mut server, admin) = started();
    let mut stands: Vec<(String, Value)> = Vec::new();
    let mut note = |client: &Client, at: &str| {
        clock(client, at);
        stands.push((at.to_owned(), explained(client, "")));
        // What follows happens later.
        clock(client, &at.replace("T00:", "T01:"));
    };
    consume(&admin, 10);
    note(&admin, "2026-05-03T00:00:00Z");
    admin.post("/v1/organizations/acme/grants", json!({"meter": "tokens", "amount": 50, "reason": "gift"})).is(201);
    consume(&admin, 20);
    note(&admin, "2026-05-05T00:00:00Z");
    admin.put("/v1/organizations/acme/plan", json!({"plan": "starter"})).is(200);
    admin.put("/v1/organizations/acme/lock", json!({"reason": "unpaid"})).is(200);
    note(&admin, "2026-06-02T00:00:00Z");
    admin.delete_because("/v1/organizations/acme/lock", "r").is(204);
    consume(&admin, 5);
    note(&admin, "2026-06-10T00:00:00Z");
    consume(&admin, 1);
    server.kill();
    server.start_again();
    let admin = server.admin();
    for (at, stood) in &stands {
        assert_eq!(explained(&admin, &format!("&at={at}")), *stood, "{at}");
    }
    let used = |at: &str| {
        let windows = explained(&admin, &format!("&at={at}"))["meters"][0]["windows"].as_array().unwrap().clone();
        windows.iter().find(|window| window["window"] == "billingPeriod").unwrap()["used"].clone()
    };
    assert_eq!([used("2026-05-04T00:00:00Z"), used("2026-05-31T23:59:59Z"), used("2026-06-01T00:00:00Z")], [30, 30, 0]);
}

#[test]
fn a_time_that_cannot_be_explained_is_refused() {
    let (_server, admin) = started();
    for at in ["2190-01-01T00:00:00Z", "2001-01-01T00:00:00Z"] {
        let path = format!("/v1/organizations/acme/explain?at={at}");
        assert_eq!(admin.get(&path).expect_problem(422, "invalid-query")["errors"][0]["pointer"], "?at");
    }
    admin.get("/v1/organizations/acme/explain?at=then").expect_problem(422, "validation");
}

/// A clock that is set for the first time makes the organization begin then, with all that led there.
#[test]
fn after_the_first_setting_of_a_clock_it_is_explained_from_then_on() {
    let (_server, admin) = started();
    let at = |at: &str| admin.get(&format!("/v1/organizations/acme/explain?meter=tokens&at={at}"));
    let actions = |body: &Value| {
        let entries =
            body["audit"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned());
        entries.collect::<Vec<_>>()
    };
    let body = at("2026-05-01T00:00:00Z").is(200).json();
    assert_eq!(
        (actions(&body), &body["currentPeriod"]["start"]),
        (vec!["organization.create".to_owned()], &json!("2026-05-01T00:00:00Z"))
    );
    clock(&admin, "2026-05-03T00:00:00Z");
    admin.post("/v1/organizations/acme/grants", json!({"meter": "tokens", "amount": 50, "reason": "gift"})).is(201);
    clock(&admin, "2026-05-05T00:00:00Z");
    assert_eq!(actions(&at("2026-05-02T00:00:00Z").is(200).json()), ["organization.create"]);
    assert_eq!(actions(&at("2026-05-04T00:00:00Z").is(200).json()), ["credit.grant", "organization.create"]);
    at("2026-04-30T00:00:00Z").expect_problem(422, "invalid-query");
    // Into the future: between the true creation and that there was nothing.
    admin.post("/v1/organizations", json!({"key": "later", "plan": "pro", "test": true})).is(201);
    admin.put("/v1/organizations/later/clock", json!({"now": "2099-01-01T00:00:00Z"})).is(200);
    admin.get("/v1/organizations/later/explain?at=2098-01-01T00:00:00Z").expect_problem(422, "invalid-query");
}

#[test]
fn the_entries_of_then_are_shown_however_many_came_later() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201).json();
    let created = made["createdAt"].as_str().unwrap();
    let entry = json!({"action": "document.upload", "category": "chat"});
    for _ in 0..260 {
        admin.post("/v1/organizations/acme/audit-log", &entry).is(201);
    }
    let body = admin.get(&format!("/v1/organizations/acme/explain?at={created}")).is(200).json();
    assert_eq!(body["audit"].as_array().unwrap().len(), 1, "{body}");
    assert_eq!(body["audit"][0]["action"], "organization.create");
}
