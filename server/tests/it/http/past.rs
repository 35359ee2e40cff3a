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
    admin.delete("/v1/organizations/acme/lock").is(204);
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
        admin.get(&format!("/v1/organizations/acme/explain?at={at}")).expect_problem(422, "invalid-query");
    }
    admin.get("/v1/organizations/acme/explain?at=then").expect_problem(422, "validation");
}
