//! Corrections over HTTP: counters and reports follow, and the audit log says who and why (M6).

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "quantity": 100})).is(200);
    (server, admin)
}

fn used(client: &Client) -> i64 {
    let usage = client.get("/v1/organizations/acme/usage").is(200).json();
    let meter = usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == "tokens").unwrap();
    meter["used"].as_i64().unwrap()
}

/// Sum and count of all time.
fn reported(client: &Client) -> (i64, i64) {
    let path = "/v1/usage?organization=acme&meter=tokens&from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";
    let row = client.get(path).is(200).json()["data"][0].clone();
    (row["value"].as_i64().unwrap(), row["count"].as_i64().unwrap())
}

fn adjust(client: &Client, body: &Value) -> super::client::Answer {
    client.post("/v1/organizations/acme/adjustments", body)
}

#[test]
fn counters_reports_and_the_audit_log_follow_also_after_a_restart() {
    let (mut server, admin) = started();
    let made = adjust(&admin, &json!({"meter": "tokens", "quantity": -30, "reason": "counted twice"})).is(201).json();
    assert_eq!((&made["quantity"], &made["reason"]), (&json!(-30), &json!("counted twice")));
    adjust(&admin, &json!({"meter": "tokens", "quantity": 5, "reason": "lost"})).is(201);
    assert_eq!((used(&admin), reported(&admin)), (75, (75, 1)), "a correction is no event");
    let told = admin.get("/v1/organizations/acme/explain?meter=tokens").is(200).json()["audit"][1].clone();
    assert_eq!((&told["action"], &told["reason"]), (&json!("usage.adjust"), &json!("counted twice")));
    assert_eq!((&told["before"]["used"], &told["after"]["quantity"]), (&json!(100), &json!(-30)));
    server.kill();
    server.start_again();
    let admin = server.admin();
    assert_eq!((used(&admin), reported(&admin)), (75, (75, 1)));
}

/// Of a meter that counts events, and below zero nothing falls: neither a quarter hour nor a set of dimension values.
#[test]
fn what_is_taken_off_is_taken_where_it_was_counted() {
    let (_server, admin) = started();
    let range = "from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";
    let rows = |query: &str| {
        let body = admin.get(&format!("/v1/usage?organization=acme&{range}&{query}")).is(200).json();
        let values = body["data"].as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap());
        values.collect::<Vec<_>>()
    };
    for days in [1, 2] {
        let created = admin.get("/v1/organizations/acme").is(200).json()["createdAt"].clone();
        let time: metergate_rules::time::Time = created.as_str().unwrap().parse().unwrap();
        let time = time.plus(-days * metergate_rules::time::DAY).to_string();
        adjust(&admin, &json!({"meter": "messages", "quantity": 10, "time": time, "reason": "late"})).is(201);
    }
    adjust(&admin, &json!({"meter": "messages", "quantity": -15, "reason": "too much"})).is(201);
    let mut days = rows("meter=messages&granularity=day");
    days.retain(|value| *value != 0);
    assert_eq!(days, [5], "yesterday's ten went, and five of the day before");
    let problem =
        adjust(&admin, &json!({"meter": "messages", "quantity": -6, "reason": "r"})).expect_problem(422, "validation");
    assert_eq!(problem["errors"][0]["pointer"], "#/quantity");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("at most 5 "), "{problem}");
    admin.put("/v1/meters/lines", json!({"aggregation": "count", "dimensions": ["model"]})).is(201);
    for (id, model) in [("l-1", "a"), ("l-2", "b"), ("l-3", "b")] {
        let event = json!({"specversion": "1.0", "id": id, "source": "/api", "type": "lines", "subject": "acme", "data": {"model": model}});
        admin.call("POST", "/v1/events").body("application/cloudevents+json", event.to_string()).send().is(200);
    }
    adjust(&admin, &json!({"meter": "lines", "quantity": -2, "reason": "r"})).is(201);
    assert_eq!((rows("meter=lines"), rows("meter=lines&groupBy=model")), (vec![1], vec![0, 1]));
}

#[test]
fn one_of_a_closed_period_does_not_touch_the_open_one() {
    let (_server, admin) = started();
    adjust(&admin, &json!({"meter": "tokens", "quantity": 40, "time": "2026-01-05T00:00:00Z", "reason": "late"}))
        .is(201);
    assert_eq!((used(&admin), reported(&admin).0), (100, 140));
}

#[test]
fn wrong_ones_say_what_is_wrong_and_change_nothing() {
    let (_server, admin) = started();
    let wrong = [
        (json!({"quantity": -101}), "validation", "#/quantity"),
        (json!({"quantity": 0}), "invalid-quantity", "#/quantity"),
        (json!({"quantity": "0.5"}), "invalid-quantity", "#/quantity"),
        (json!({"quantity": "--1"}), "invalid-quantity", "#/quantity"),
        (json!({"reason": " "}), "validation", "#/reason"),
        (json!({"meter": "active_users"}), "validation", "#/meter"),
        (json!({"time": "2190-01-01T00:00:00Z"}), "validation", "#/time"),
        (json!({"until": 1}), "validation", "#/until"),
    ];
    for (change, code, pointer) in wrong {
        let mut body = json!({"meter": "tokens", "quantity": 1, "reason": "r"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = adjust(&admin, &body).expect_problem(422, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let said = |meter: &str, quantity: i64| {
        let problem = adjust(&admin, &json!({"meter": meter, "quantity": quantity, "reason": "r"}));
        problem.expect_problem(422, "invalid-quantity")["errors"][0]["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(said("tokens", 0), "Send an amount above or below zero.");
    assert!(said("storage_bytes", -5).starts_with("A level is set, not added to"));
    assert_eq!((used(&admin), reported(&admin)), (100, (100, 1)));
}
