//! Meters of which nothing is recorded, over HTTP.

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::kit::{ask, becomes, server, used};
use crate::http::client::Client;
use crate::http::server::Server;
use crate::servers::redis;

#[test]
fn a_decision_in_redis_has_the_form_of_every_decision() {
    let (_server, admin) = server(&redis(), &[]);
    let began = boot();
    let answer = ask(&admin, "hits", 7).is(200);
    let mut body = answer.json();
    let resets = body["limits"][0].as_object_mut().unwrap().remove("resetsAt").unwrap();
    let limit = json!({"window": "minute", "enforcement": "hard", "limit": 10, "used": 7, "held": 0, "remaining": 3});
    let expected = json!({"allowed": true, "reason": null, "organization": "acme", "meter": "hits", "id": null, "quantity": 7,
        "overage": 0, "limits": [limit]});
    assert!(resets.is_string());
    assert_eq!(body, expected);
    assert_eq!(answer.header("x-ratelimit-remaining-minute"), Some("3"));
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""hits-minute";q=10;w=60"#));
    let refused = ask(&admin, "hits", 4).is(200);
    let (body, wait) = (refused.json(), refused.header("retry-after").unwrap().parse::<i64>().unwrap());
    assert_eq!((&body["allowed"], &body["reason"], used(&body)), (&json!(false), &json!("quota-exceeded"), 7));
    // As long as a minute is away by then.
    let passed = (boot() - began) / SECOND;
    assert!((55 - passed..=61).contains(&wait) && body["retryAfterSeconds"] == wait, "{wait} s");
    let native = json!({"organization": "acme", "meter": "hits", "quantity": 4});
    admin.post("/v1/consume?status=native", native).expect_problem(429, "quota-exceeded");
    assert_eq!(ask(&admin, "hits", 11).json().get("retryAfterSeconds"), None, "waiting does not help");
    ask(&admin, "hits", u64::MAX / 2).expect_problem(422, "invalid-quantity");
}

#[test]
fn it_costs_the_record_nothing_and_other_meters_are_recorded_as_ever() {
    let (_server, admin) = server(&redis(), &[]);
    let item = |meter: &str, id: Option<&str>| json!({"organization": "acme", "meter": meter, "quantity": 1, "id": id});
    let items = json!([
        item("hits", None),
        item("api_calls", None),
        item("polls", Some("p")),
        item("nothing", None),
        item("hits", None)
    ]);
    let data = admin.post("/v1/consume", items).is(200).json()["data"].as_array().unwrap().clone();
    let places = [0, 1, 2, 4].map(|i| used(&data[i]));
    assert_eq!((places, &data[3]["code"]), ([1, 1, 1, 2], &json!("unknown-meter")));
    assert!(data[0]["id"].is_null() && data[1]["id"].is_string() && data[2]["id"] == "p");
    let total = |meter: &str| {
        let usage = admin.get(&format!("/v1/usage?organization=acme&meter={meter}&granularity=total")).is(200).json();
        usage["data"].as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap()).sum::<i64>()
    };
    assert_eq!(["hits", "polls", "api_calls"].map(total), [0, 0, 1]);
    let check =
        |quantity: u64| admin.post("/v1/check", json!({"organization": "acme", "meter": "hits", "quantity": quantity}));
    assert_eq!([8, 9].map(|quantity| check(quantity).is(200).json()["allowed"].clone()), [json!(true), json!(false)]);
    assert_eq!(used(&ask(&admin, "hits", 1).json()), 3, "a check counts nothing");
}

#[test]
fn an_id_counts_once_and_another_body_under_it_is_refused() {
    let (_server, admin) = server(&redis(), &[]);
    let asked = |quantity: u64| json!({"organization": "acme", "meter": "hits", "quantity": quantity, "id": "a"});
    let first = admin.post("/v1/consume", asked(4)).is(200);
    let again = admin.post("/v1/consume", asked(4)).is(200);
    assert_eq!((first.text, again.header("idempotent-replayed")), (again.text.clone(), Some("true")));
    admin.post("/v1/consume", asked(5)).expect_problem(422, "idempotency-mismatch");
    let under_key = || {
        let body = json!({"organization": "acme", "meter": "hits", "quantity": 2});
        admin.call("POST", "/v1/consume").header("idempotency-key", "\"k\"").json(body).send().is(200).json()
    };
    assert_eq!([used(&under_key()), used(&under_key())], [6, 6]);
    assert_eq!(used(&ask(&admin, "hits", 1).json()), 7);
}

#[test]
fn what_is_counted_apart_is_neither_held_nor_decided_together() {
    let (_server, admin) = server(&redis(), &[]);
    let together = json!({"organization": "acme", "together": [{"meter": "api_calls"}, {"meter": "hits"}]});
    let pointer = |problem: &Value| problem["errors"][0]["pointer"].clone();
    assert_eq!(pointer(&admin.post("/v1/consume", together).expect_problem(422, "validation")), "#/together");
    let reserve = |meter: &str| json!({"organization": "acme", "meter": meter, "quantity": 1, "ttlSeconds": 60});
    assert_eq!(pointer(&admin.post("/v1/reservations", reserve("hits")).expect_problem(422, "validation")), "#/meter");
    admin.post("/v1/reservations", reserve("api_calls")).is(201);
    let apart = json!({"organization": "acme", "together": [{"meter": "hits"}]});
    assert_eq!(admin.post("/v1/consume", apart).is(200).json()["allowed"], true);
}

#[test]
fn a_limit_of_a_day_and_an_own_clock_bring_it_into_the_account() {
    let (_server, admin) = server(&redis(), &[]);
    let day = json!({"max": 100, "enforcement": "hard"});
    admin.post("/v1/organizations", json!({"key": "globex", "name": "Globex", "plan": "small"})).is(201);
    admin.put("/v1/organizations/globex/overrides/hits/day", day).is(200);
    let test = json!({"key": "test", "name": "Test", "plan": "small", "test": true});
    admin.post("/v1/organizations", test).is(201);
    admin.put("/v1/organizations/test/clock", json!({"now": "2030-01-01T00:00:00Z"})).is(200);
    for organization in ["globex", "test"] {
        let asked = json!({"organization": organization, "meter": "hits", "quantity": 2});
        assert!(admin.post("/v1/consume", asked).is(200).json()["id"].is_string(), "{organization}: it is recorded");
    }
}

#[test]
fn a_lock_stops_it_within_a_second_and_nobody_else_sees_it() {
    let (server, admin) = server(&redis(), &[]);
    assert_eq!(ask(&admin, "hits", 1).json()["allowed"], true);
    let key =
        admin.post("/v1/api-keys", json!({"name": "k", "scopes": ["consume"], "organization": "acme"})).is(201).json();
    admin.post("/v1/organizations", json!({"key": "globex", "name": "Globex", "plan": "small"})).is(201);
    let bound = server.client(key["key"].as_str().unwrap());
    assert_eq!(ask(&bound, "hits", 1).is(200).json()["allowed"], true);
    let of_another =
        |client: &Client| client.post("/v1/consume", json!({"organization": "globex", "meter": "hits", "quantity": 1}));
    assert_eq!(of_another(&admin).is(200).json()["allowed"], true, "and it is remembered");
    of_another(&bound).expect_problem(404, "unknown-organization");
    admin.put("/v1/organizations/acme/lock", json!({"reason": "abuse"})).is(200);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    // An account that cannot be read at once is believed for longer.
    let locked = becomes("it is stopped", || {
        Some(ask(&admin, "hits", 0).is(200).json()).filter(|answer| answer["reason"] == "organization-locked")
    });
    assert_eq!(used(&locked), 2);
    assert_eq!(ask(&admin, "hits", 1).is(200).json()["allowed"], false);
}

#[test]
fn without_redis_the_account_decides() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/meters/hits", json!({"aggregation": "sum", "record": false})).is(201);
    let limits = json!([{"meter": "hits", "window": "minute", "max": 10}]);
    let wrong = json!({"limits": limits, "degraded": {"hits": {"safe": -1}}});
    admin.put("/v1/plans/small", wrong).is(422);
    admin.put("/v1/plans/small", json!({"limits": limits, "degraded": {"nothing": "allow"}})).is(422);
    let plan = json!({"limits": limits, "degraded": {"hits": {"safe": 5}}});
    let shown = admin.put("/v1/plans/small", plan).is(201).json();
    assert_eq!(shown["degraded"], json!({"hits": {"safe": 5}}));
    admin.post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "small"})).is(201);
    let answers = [6, 5, 4].map(|quantity| ask(&admin, "hits", quantity).is(200).json()["allowed"].clone());
    assert_eq!(answers, [json!(true), json!(false), json!(true)]);
}
