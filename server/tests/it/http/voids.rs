//! Voids over HTTP: an event gives back what it used, is shown as void, and stays known (M6).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    (server, admin)
}

fn record(client: &Client, id: &str, kind: &str, data: &Value) -> Value {
    let event =
        json!({"specversion": "1.0", "id": id, "source": "/api", "type": kind, "subject": "acme", "data": data});
    client.call("POST", "/v1/events").body("application/cloudevents+json", event.to_string()).send().is(200).json()
}

fn consume(client: &Client, body: &Value) -> Value {
    client.post("/v1/consume", body).is(200).json()
}

fn void(client: &Client, id: &str, source: &str) -> Answer {
    let path = format!("/v1/events/{id}?organization=acme&source={source}");
    client.call("DELETE", &path).json(json!({"reason": "counted twice"}).to_string()).send()
}

/// What the open period has used and what reports hold, sum and count.
fn counted(client: &Client, meter: &str) -> (i64, i64, i64) {
    let usage = client.get("/v1/organizations/acme/usage").is(200).json();
    let found = usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == meter).unwrap().clone();
    let range = "from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";
    let row = client.get(&format!("/v1/usage?organization=acme&meter={meter}&{range}")).is(200).json();
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    (number(&found["used"]), number(&row["data"][0]["value"]), number(&row["data"][0]["count"]))
}

#[test]
fn an_event_is_void_once_and_everywhere_also_after_a_kill() {
    let (mut server, admin) = started();
    record(&admin, "e-1", "tokens", &json!({"quantity": 30}));
    record(&admin, "e-2", "tokens", &json!({"quantity": 12}));
    assert_eq!(counted(&admin, "tokens"), (42, 42, 2));
    void(&admin, "e-1", "/api").is(204);
    let check = |client: &Client| {
        assert_eq!(counted(client, "tokens"), (12, 12, 1));
        void(client, "e-1", "/api").expect_problem(409, "already-void");
        assert_eq!(record(client, "e-1", "tokens", &json!({"quantity": 30}))["duplicates"], 1, "its id stays known");
        let events = client.list("/v1/events?organization=acme");
        let shown: Vec<_> = events.iter().map(|event| (event["id"].clone(), event["voided"].clone())).collect();
        assert_eq!(shown, [(json!("e-2"), json!(false)), (json!("e-1"), json!(true))]);
    };
    check(&admin);
    let explained = admin.get("/v1/organizations/acme/explain?meter=tokens").is(200).json();
    let told = &explained["audit"][0];
    assert_eq!((&told["action"], &told["reason"]), (&json!("usage.void"), &json!("counted twice")));
    assert_eq!((&told["before"]["used"], &told["after"]["used"]), (&json!(42), &json!(12)));
    assert_eq!((&told["before"]["id"], &told["before"]["source"]), (&json!("e-1"), &json!("/api")));
    server.kill();
    server.start_again();
    check(&server.admin());
}

#[test]
fn decisions_are_named_by_their_id_or_their_place() {
    let (mut server, admin) = started();
    let source = "metergate:consume/tokens";
    consume(&admin, &json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "d-1"}));
    let placed = consume(&admin, &json!({"organization": "acme", "meter": "tokens", "quantity": 7}))["id"].clone();
    let together = json!([{"meter": "tokens", "quantity": 11}, {"meter": "messages", "quantity": 2}]);
    consume(&admin, &json!({"organization": "acme", "id": "t-1", "together": together}));
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 13, "ttlSeconds": 60});
    let held = admin.post("/v1/reservations", body).is(201).json()["id"].clone();
    let held = held.as_str().unwrap();
    admin.post(&format!("/v1/reservations/{held}/commit"), json!({"quantity": 17})).is(200);
    assert_eq!(counted(&admin, "tokens"), (40, 40, 4));
    void(&admin, "d-1", source).is(204);
    assert_eq!(counted(&admin, "tokens"), (35, 35, 3));
    server.kill();
    server.start_again();
    let admin = server.admin();
    void(&admin, placed.as_str().unwrap(), source).is(204);
    assert_eq!(counted(&admin, "tokens"), (28, 28, 2));
    void(&admin, "t-1", source).is(204);
    assert_eq!((counted(&admin, "tokens"), counted(&admin, "messages")), ((17, 17, 1), (2, 2, 1)), "one meter of two");
    void(&admin, held, source).is(204);
    assert_eq!(counted(&admin, "tokens").0, 0);
    for (id, source) in [("d-1", source), ("t-1", source), (held, source), (placed.as_str().unwrap(), source)] {
        void(&admin, id, source).expect_problem(409, "already-void");
    }
    let answer = consume(&admin, &json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "d-1"}));
    assert_eq!((&answer["allowed"], counted(&admin, "tokens").0), (&json!(true), 0), "the answer stays as it was");
}

/// One event counts on all meters of its type, under its dimension values; a value that another event has stays.
#[test]
fn every_figure_of_it_follows() {
    let (_server, admin) = started();
    for id in ["u-1", "u-2"] {
        record(&admin, id, "active_users", &json!({"userId": "ada"}));
    }
    void(&admin, "u-1", "/api").is(204);
    assert_eq!(counted(&admin, "active_users"), (1, 1, 1), "somebody else has brought the value");
    void(&admin, "u-2", "/api").is(204);
    assert_eq!(counted(&admin, "active_users").0, 0);
    record(&admin, "u-3", "active_users", &json!({"userId": "ada"}));
    assert_eq!(counted(&admin, "active_users").0, 1, "it is new again");
    admin.put("/v1/meters/lines", json!({"aggregation": "sum", "dimensions": ["model"]})).is(201);
    record(&admin, "l-1", "lines", &json!({"quantity": 3, "model": "a"}));
    record(&admin, "l-2", "lines", &json!({"quantity": 4, "model": "b"}));
    // Where nobody calls the rows follow: then they have the event, and lack the void.
    std::thread::sleep(std::time::Duration::from_millis(300));
    void(&admin, "l-1", "/api").is(204);
    let range = "from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z&groupBy=model";
    let rows = admin.get(&format!("/v1/usage?organization=acme&meter=lines&{range}")).is(200).json();
    let rows: Vec<_> =
        rows["data"].as_array().unwrap().iter().map(|row| (&row["group"]["model"], &row["value"])).collect();
    assert_eq!(rows, [(&json!("b"), &json!(4))], "nothing is left of what was void");
    record(&admin, "s-1", "storage_bytes", &json!({"quantity": 9}));
    void(&admin, "s-1", "/api").expect_problem(409, "not-voidable");
}

#[test]
fn credit_that_it_drew_returns() {
    let (_server, admin) = started();
    admin
        .put("/v1/organizations/acme/overrides/tokens/billingPeriod", json!({"max": 10, "enforcement": "hard"}))
        .is(200);
    admin.post("/v1/organizations/acme/grants", json!({"meter": "tokens", "amount": 5, "reason": "gift"})).is(201);
    record(&admin, "e-1", "tokens", &json!({"quantity": 10}));
    record(&admin, "e-2", "tokens", &json!({"quantity": 4}));
    void(&admin, "e-2", "/api").is(204);
    let grants = admin.list("/v1/organizations/acme/grants");
    assert_eq!((&grants[0]["used"], &grants[0]["remaining"]), (&json!(0), &json!(5)));
}

#[test]
fn what_is_no_event_is_not_found_and_what_is_wrong_is_said() {
    let (_server, admin) = started();
    record(&admin, "e-1", "tokens", &json!({"quantity": 3}));
    for (id, source) in [
        ("e-2", "/api"),
        ("e-1", "/other"),
        ("e-1", "metergate:consume/tokens"),
        ("1-99999", "metergate:consume/tokens"),
        ("e-1", "metergate:consume/nothing"),
    ] {
        void(&admin, id, source).expect_problem(404, "not-found");
    }
    let at = |query: &str, body: Value| {
        let path = format!("/v1/events/e-1{query}");
        admin.call("DELETE", &path).json(body.to_string()).send()
    };
    let fine = "?organization=acme&source=/api";
    at("?source=/api", json!({"reason": "r"})).expect_problem(422, "validation");
    at("?organization=acme", json!({"reason": "r"})).expect_problem(422, "validation");
    at("?organization=acme&source=/api&x=1", json!({"reason": "r"})).expect_problem(422, "validation");
    at(fine, json!({"reason": " "})).expect_problem(422, "validation");
    at(fine, json!({"reason": "r", "more": 1})).expect_problem(422, "validation");
    at("?organization=nobody&source=/api", json!({"reason": "r"})).expect_problem(404, "unknown-organization");
    assert_eq!(counted(&admin, "tokens"), (3, 3, 1));
    // Repeated under a key it is the same answer, not that it is void already.
    for _ in 0..2 {
        let path = format!("/v1/events/e-1{fine}");
        let call = admin.call("DELETE", &path).header("idempotency-key", "k-1");
        call.json(json!({"reason": "r"}).to_string()).send().is(204);
    }
}

/// What each of them used nobody knows, so none goes alone. What another settlement has told of its time stays.
#[test]
fn what_several_calls_used_of_a_reservation_goes_whole_with_all_of_them() {
    let (mut server, admin) = started();
    let settle = |said: Value| {
        let body = json!({"organization": "acme", "meter": "tokens", "quantity": 100, "ttlSeconds": 60});
        let held = admin.post("/v1/reservations", body).is(201).json()["id"].as_str().unwrap().to_owned();
        admin.post(&format!("/v1/reservations/{held}/commit"), said).is(200);
        held
    };
    let calls = json!({"count": 16, "durations": {"12": 14, "50": 2}, "statuses": {"200": 15, "500": 1}});
    let held = settle(json!({"quantity": 40, "calls": calls}));
    settle(json!({"quantity": 2, "calls": {"count": 1, "durations": {"900": 1}}}));
    let durations = |client: &Client| {
        let range = "granularity=total&from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z&durations=true";
        let rows = client.get(&format!("/v1/usage?organization=acme&meter=tokens&{range}")).is(200).json();
        let row = &rows["data"][0]["durations"];
        (row["count"].as_i64(), row["mean"].as_f64().map(f64::round))
    };
    assert_eq!((counted(&admin, "tokens"), durations(&admin)), ((42, 42, 17), (Some(17), Some(69.0))));
    let source = "metergate:consume/tokens";
    void(&admin, &held, source).is(204);
    let check = |client: &Client| {
        assert_eq!((counted(client, "tokens"), durations(client)), ((2, 2, 1), (Some(1), Some(900.0))));
        void(client, &held, source).expect_problem(409, "already-void");
    };
    check(&admin);
    assert_eq!(admin.post("/api/admin/metrics/aggregate", json!({})).is(200).json()["rebuilt"], 0);
    server.kill();
    server.start_again();
    check(&server.admin());
}
