//! When limits will be reached (O11), by the clock of a test organization.

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

fn clock(admin: &Client, now: &str) {
    admin.put("/v1/organizations/acme/clock", json!({"now": now})).is(200);
}

fn foreseen(admin: &Client) -> Value {
    let mut body = admin.get("/v1/organizations/acme/forecast?meter=tokens").is(200).json();
    assert_eq!(body["meters"].as_array().unwrap().len(), 1);
    body["meters"][0].take()
}

#[test]
fn a_limit_is_foreseen_from_a_weeks_use_and_moves_with_credit_and_resets() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro", "test": true})).is(201);
    for day in 1..=10 {
        clock(&admin, &format!("2026-05-{day:02}T00:00:00Z"));
        clock(&admin, &format!("2026-05-{day:02}T12:00:00Z"));
        let body = json!({"organization": "acme", "meter": "tokens", "quantity": 1000});
        assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true);
    }
    clock(&admin, "2026-05-11T00:00:00Z");
    let it = foreseen(&admin);
    let pace = json!({"from": "2026-05-04T00:00:00Z", "to": "2026-05-11T00:00:00Z", "quantity": 7000, "perDay": 1000});
    assert_eq!(it["pace"], pace);
    let window = &it["windows"][0];
    assert_eq!((&window["start"], &window["end"]), (&"2026-05-01T00:00:00Z".into(), &"2026-06-01T00:00:00Z".into()));
    assert_eq!(
        (&window["used"], &window["projected"], &window["reachesAt"]),
        (&10_000.into(), &31_000.into(), &Value::Null)
    );
    let points: Vec<i64> = window["points"].as_array().unwrap().iter().map(|it| it["used"].as_i64().unwrap()).collect();
    assert_eq!(points, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000, 10_000]);
    assert_eq!(window["points"][3], json!({"at": "2026-05-04T00:00:00Z", "used": 3000}));

    admin.put("/v1/organizations/acme/overrides/tokens/billingPeriod", json!({"max": 15_000})).is(200);
    assert_eq!(foreseen(&admin)["windows"][0]["reachesAt"], "2026-05-16T00:00:00Z");
    admin.post("/v1/organizations/acme/grants", json!({"meter": "tokens", "amount": 2000, "reason": "r"})).is(201);
    assert_eq!(foreseen(&admin)["windows"][0]["reachesAt"], "2026-05-18T00:00:00Z");
    let held = json!({"organization": "acme", "meter": "tokens", "quantity": 1000, "ttlSeconds": 3600});
    admin.post("/v1/reservations", held).is(201);
    let it = foreseen(&admin);
    assert_eq!(
        (&it["windows"][0]["held"], &it["windows"][0]["reachesAt"]),
        (&1000.into(), &"2026-05-17T00:00:00Z".into())
    );
    admin.post("/v1/organizations/acme/usage/reset", json!({"meters": ["tokens"], "reason": "r"})).is(200);
    let it = foreseen(&admin);
    assert_eq!(
        (&it["pace"]["perDay"], &it["windows"][0]["used"]),
        (&1000.into(), &0.into()),
        "a pace outlives a reset"
    );
    assert_eq!(it["windows"][0]["reachesAt"], "2026-05-27T00:00:00Z");
}

#[test]
fn forecasts_are_of_what_there_is_and_refuse_what_they_do_not_know() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    admin.get("/v1/organizations/acme/forecast?meter=nothing").expect_problem(404, "unknown-meter");
    admin.get("/v1/organizations/nobody/forecast").expect_problem(404, "unknown-organization");
    admin.get("/v1/organizations/acme/forecast?until=tomorrow").expect_problem(422, "validation");
    let body = admin.get("/v1/organizations/acme/forecast").is(200).json();
    let tokens = body["meters"].as_array().unwrap().iter().find(|it| it["meter"] == "tokens").unwrap();
    assert_eq!((&tokens["noPace"], &tokens["windows"][0]["limit"]), (&"tooYoung".into(), &500_000.into()));
    let text = admin.get("/v1/organizations/acme/forecast?meter=tokens&numbers=string").is(200).json();
    assert_eq!(text["meters"][0]["windows"][0]["limit"], "500000");
}
