//! Records that are completed by their id, and how long things took (M8).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

const RANGE: &str = "from=2020-01-01T00:00:00Z&to=2190-01-01T00:00:00Z";

fn started(settings: &[(&str, &str)]) -> (Server, Client) {
    let server = Server::with(settings);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    (server, admin)
}

fn event(id: &str, source: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": source, "type": "tokens", "subject": "acme", "data": data})
}

/// What the answer to events says: accepted, duplicates, completed, and why others were rejected.
fn record(client: &Client, events: &[Value]) -> (i64, i64, i64, Vec<String>) {
    let body = json!(events).to_string();
    let answer =
        client.call("POST", "/v1/events").body("application/cloudevents-batch+json", body).send().is(200).json();
    let number = |name: &str| answer[name].as_i64().unwrap();
    let rejected = answer["rejected"].as_array().unwrap().iter();
    let rejected = rejected.map(|one| format!("{} {}", one["index"], one["reason"].as_str().unwrap())).collect();
    (number("accepted"), number("duplicates"), number("completed"), rejected)
}

fn consume(client: &Client, body: Value) -> Value {
    client.post("/v1/consume", body).is(200).json()
}

fn complete(client: &Client, id: &str, source: &str, said: Value) -> Answer {
    let mut body = said;
    body["source"] = source.into();
    client.patch(&format!("/v1/events/{id}?organization=acme"), body)
}

/// What reports say of a meter: value, count, and the durations.
fn reported(client: &Client, meter: &str) -> (Value, Value, Value) {
    let row = client.get(&format!("/v1/usage?organization=acme&meter={meter}&{RANGE}&durations=true")).is(200).json();
    let row = row["data"][0].clone();
    (row["value"].clone(), row["count"].clone(), row["durations"].clone())
}

/// What the list says of each: id, duration and status.
fn listed(client: &Client) -> Vec<(Value, Value, Value)> {
    let events = client.list("/v1/events?organization=acme&limit=1").into_iter();
    events.map(|one| (one["id"].clone(), one["durationMs"].clone(), one["status"].clone())).collect()
}

#[cfg(feature = "faults")]
#[test]
fn a_record_that_is_completed_anew_and_a_void_that_keeps_its_duration_are_found_out() {
    let once = std::panic::catch_unwind(|| completed_once(&[("METERGATE_PLANTED", "completed-anew")]));
    assert!(once.is_err(), "the planted bug was not seen");
    let follow = std::panic::catch_unwind(|| voids_are_followed(&[("METERGATE_PLANTED", "void-keeps-duration")]));
    assert!(follow.is_err(), "the planted bug was not seen");
}

#[test]
fn a_decision_is_completed_by_its_id_once_and_counts_nothing_twice_also_after_a_kill() {
    completed_once(&[]);
}

fn completed_once(settings: &[(&str, &str)]) {
    let (mut server, admin) = started(settings);
    consume(&admin, json!({"organization": "acme", "meter": "api_calls", "id": "r-1"}));
    let place =
        consume(&admin, json!({"organization": "acme", "meter": "api_calls"}))["id"].as_str().unwrap().to_owned();
    let source = "metergate:consume/api_calls";
    assert_eq!(reported(&admin, "api_calls"), (json!(2), json!(2), Value::Null));
    let done = complete(&admin, "r-1", source, json!({"durationMs": 120})).is(200).json();
    assert_eq!(done, json!({"id": "r-1", "source": source, "durationMs": 120, "status": null}));
    // The rest may come later; what is known is never changed.
    let done = complete(&admin, "r-1", source, json!({"status": 201})).is(200).json();
    assert_eq!((&done["durationMs"], &done["status"]), (&json!(120), &json!(201)));
    complete(&admin, "r-1", source, json!({"durationMs": 120, "status": 201})).is(200);
    complete(&admin, "r-1", source, json!({"durationMs": 121})).expect_problem(409, "already-complete");
    complete(&admin, "r-1", source, json!({"status": 500})).expect_problem(409, "already-complete");
    complete(&admin, &place, source, json!({"durationMs": 40, "status": 503})).is(200);
    let check = |client: &Client| {
        let (value, count, durations) = reported(client, "api_calls");
        assert_eq!(
            (value, count, &durations["count"], &durations["mean"]),
            (json!(2), json!(2), &json!(2), &json!(80))
        );
        assert_eq!(
            (&durations["p50"], &durations["p99"]),
            (&json!(40), &json!(119)),
            "118 to 120 are one bin: {durations}"
        );
        let expected = [(json!(place), json!(40), json!(503)), (json!("r-1"), json!(120), json!(201))];
        assert_eq!(listed(client), expected);
    };
    check(&admin);
    server.kill();
    server.start_again();
    check(&admin);
    complete(&admin, "r-1", source, json!({"durationMs": 120})).is(200);
    complete(&admin, "r-1", source, json!({"durationMs": 5})).expect_problem(409, "already-complete");
    check(&admin);
    let usage = admin.get("/v1/organizations/acme/usage").is(200).json();
    let calls = usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == "api_calls").unwrap();
    assert_eq!(calls["used"], 2);
}

#[test]
fn a_batch_of_events_completes_earlier_decisions_and_events_by_their_ids() {
    let (_server, admin) = started(&[]);
    let source = "metergate:consume/tokens";
    for i in 0..50 {
        consume(&admin, json!({"organization": "acme", "meter": "tokens", "quantity": 10, "id": format!("d-{i}")}));
    }
    assert_eq!(record(&admin, &[event("e-1", "/api", &json!({"quantity": 7}))]), (1, 0, 0, vec![]));
    let mut batch: Vec<Value> =
        (0..50).map(|i| event(&format!("d-{i}"), source, &json!({"durationMs": i + 1, "status": 200}))).collect();
    batch.push(event("e-1", "/api", &json!({"quantity": 7, "durationMs": 51})));
    batch.push(event("e-2", "/api", &json!({"quantity": 5, "durationMs": 52})));
    batch.push(event("d-99", source, &json!({"durationMs": 1})));
    batch.push(event("d-1", source, &json!({"quantity": 1000})));
    batch.push(event("d-1", "metergate:consume/nothing", &json!({"durationMs": 1})));
    let rejected = ["52 unknown-event", "53 reserved-source", "54 unknown-event"].map(str::to_owned).to_vec();
    assert_eq!(record(&admin, &batch), (1, 0, 51, rejected.clone()));
    // Sent again, as a client does that has not heard the answer.
    assert_eq!(record(&admin, &batch), (0, 52, 0, rejected));
    let (value, count, durations) = reported(&admin, "tokens");
    assert_eq!((value, count), (json!(512), json!(52)));
    assert_eq!((&durations["count"], &durations["mean"], &durations["p50"]), (&json!(52), &json!(26.5), &json!(26)));
    assert_eq!(durations["p99"], json!(52.5), "52 and 53 ms are one bin, whose middle stands for both");
    // One event in one body, told twice: the second completes the first.
    let twice =
        [event("e-3", "/api", &json!({"quantity": 1})), event("e-3", "/api", &json!({"quantity": 1, "status": 500}))];
    assert_eq!(record(&admin, &twice), (1, 0, 1, vec![]));
    assert_eq!(listed(&admin)[0], (json!("e-3"), Value::Null, json!(500)));
}

#[test]
fn percentiles_are_at_most_a_hundredth_off_and_follow_voids_and_the_rebuilding_of_rollups() {
    voids_are_followed(&[]);
}

fn voids_are_followed(settings: &[(&str, &str)]) {
    let (server, admin) = started(settings);
    let (mut durations, mut state) = (Vec::new(), 11_u64);
    for _ in 0..40 {
        let mut batch = Vec::new();
        for _ in 0..50 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // From a millisecond to an hour, about as many in each power of two.
            let duration = (state >> 40) % (1_u64 << ((state >> 20) % 22 + 1));
            batch.push(event(
                &format!("e-{}", durations.len()),
                "/api",
                &json!({"quantity": 1, "durationMs": duration}),
            ));
            durations.push(duration);
        }
        assert_eq!(record(&admin, &batch).0, 50);
    }
    durations.sort_unstable();
    let check = |told: &Value, durations: &[u64]| {
        assert_eq!(told["count"], durations.len());
        let mean = durations.iter().sum::<u64>() as f64 / durations.len() as f64;
        assert!((told["mean"].as_f64().unwrap() - mean).abs() <= 0.001, "{told} {mean}");
        for (name, percent) in [("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99)] {
            let exact = durations[(durations.len() * percent).div_ceil(100) - 1] as f64;
            let told = told[name].as_f64().unwrap();
            assert!((told - exact).abs() <= exact / 100.0, "{name}: {told} for {exact}");
        }
    };
    check(&reported(&admin, "tokens").2, &durations);
    let rebuilt = admin.post("/api/admin/metrics/aggregate", "{}").is(200).json();
    assert_eq!(rebuilt["rebuilt"], 0, "{rebuilt}");
    check(&reported(&admin, "tokens").2, &durations);

    // What was completed later goes with its record.
    assert_eq!(record(&admin, &[event("late", "/api", &json!({"quantity": 3}))]).0, 1);
    complete(&admin, "late", "/api", json!({"durationMs": 3_000_000})).is(200);
    assert_eq!(reported(&admin, "tokens").2["count"], 2001);
    admin.delete_because("/v1/events/late?organization=acme&source=/api", "never was").is(204);
    complete(&admin, "late", "/api", json!({"status": 200})).expect_problem(409, "already-void");
    check(&reported(&admin, "tokens").2, &durations);
    let rebuilt = admin.post("/api/admin/metrics/aggregate", "{}").is(200).json();
    assert_eq!(rebuilt["rebuilt"], 0, "{rebuilt}");
    check(&reported(&admin, "tokens").2, &durations);
    drop(server);
}

#[test]
fn the_record_that_a_completion_names_must_be_there_and_what_it_says_must_make_sense() {
    let (server, admin) = started(&[]);
    consume(&admin, json!({"organization": "acme", "meter": "tokens", "id": "r-1", "durationMs": 5}));
    admin.post("/v1/organizations", json!({"key": "globex", "plan": "pro"})).is(201);
    let source = "metergate:consume/tokens";
    complete(&admin, "r-2", source, json!({"durationMs": 5})).expect_problem(404, "not-found");
    complete(&admin, "r-1", "metergate:consume/api_calls", json!({"status": 5})).expect_problem(404, "not-found");
    complete(&admin, "r-1", "/api", json!({"status": 5})).expect_problem(404, "not-found");
    complete(&admin, "r-1", source, json!({})).expect_problem(422, "validation");
    complete(&admin, "r-1", source, json!({"durationMs": -1})).expect_problem(422, "validation");
    complete(&admin, "r-1", source, json!({"duration": 1})).expect_problem(422, "validation");
    let body = json!({"source": source, "status": 200});
    admin.patch("/v1/events/r-1?organization=globex", &body).expect_problem(404, "not-found");
    admin.patch("/v1/events/r-1?organization=nobody", &body).expect_problem(404, "unknown-organization");
    admin.patch("/v1/events/r-1", &body).expect_problem(422, "validation");
    server.stranger().patch("/v1/events/r-1?organization=acme", &body).expect_problem(401, "unauthorized");
    // What the decision said itself stands.
    complete(&admin, "r-1", source, json!({"durationMs": 6})).expect_problem(409, "already-complete");
    complete(&admin, "r-1", source, json!({"durationMs": 5, "status": 200})).is(200);
    assert_eq!(listed(&admin), [(json!("r-1"), json!(5), json!(200))]);
    assert_eq!(reported(&admin, "tokens").2["count"], 1);
    let path = format!("/v1/usage?organization=acme&meter=tokens&{RANGE}&durations=true");
    admin.get(&format!("{path}&groupBy=model")).expect_problem(422, "invalid-query");
    admin.get(&format!("{path}&format=csv")).expect_problem(422, "validation");
    assert!(admin.get(&path.replace("&durations=true", "")).is(200).json()["data"][0].get("durations").is_none());
}

#[test]
fn a_refusal_is_answered_by_check_and_consume_alike_with_the_status_that_it_has_natively() {
    let (_server, admin) = started(&[]);
    admin.put("/v1/organizations/acme/overrides/tokens/minute", json!({"max": 1})).is(200);
    let ask = |path: &str, organization: &str| {
        let body = json!({"organization": organization, "meter": "tokens", "quantity": 2});
        admin.post(&format!("/v1/{path}?status=native"), body)
    };
    admin.post("/v1/organizations", json!({"key": "old", "plan": "trial", "test": true})).is(201);
    consume(&admin, json!({"organization": "old", "meter": "tokens"}));
    admin.put("/v1/organizations/old/clock", json!({"now": "2199-01-01T00:00:00Z"})).is(200);
    for path in ["consume", "check"] {
        ask(path, "acme").expect_problem(429, "quota-exceeded");
        ask(path, "old").expect_problem(402, "trial-expired");
    }
    admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
    for path in ["consume", "check"] {
        let problem = ask(path, "acme").expect_problem(403, "organization-locked");
        assert_eq!(problem["decision"]["allowed"], false);
    }
}

#[test]
fn of_a_decision_together_a_void_on_one_meter_leaves_the_others_to_be_completed() {
    let (_server, admin) = started(&[]);
    let together = json!([{"meter": "tokens", "quantity": 2}, {"meter": "api_calls", "quantity": 1}]);
    consume(&admin, json!({"organization": "acme", "id": "t-1", "together": together}));
    admin.delete_because("/v1/events/t-1?organization=acme&source=metergate:consume/api_calls", "never was").is(204);
    complete(&admin, "t-1", "metergate:consume/api_calls", json!({"status": 200})).expect_problem(409, "already-void");
    let done = complete(&admin, "t-1", "metergate:consume/tokens", json!({"durationMs": 30})).is(200).json();
    assert_eq!(done["durationMs"], 30);
    assert_eq!(record(&admin, &[event("t-1", "metergate:consume/tokens", &json!({"status": 200}))]), (0, 0, 1, vec![]));
    assert_eq!(reported(&admin, "tokens").2["count"], 1);
    assert_eq!(reported(&admin, "api_calls").2, Value::Null, "of what is void no duration counts");
    admin.delete_because("/v1/events/t-1?organization=acme&source=metergate:consume/tokens", "never was").is(204);
    assert_eq!(reported(&admin, "tokens").2, Value::Null);
    complete(&admin, "t-1", "metergate:consume/tokens", json!({"status": 200})).expect_problem(409, "already-void");
    let rebuilt = admin.post("/api/admin/metrics/aggregate", "{}").is(200).json();
    assert_eq!(rebuilt["rebuilt"], 0, "{rebuilt}");
}

#[test]
fn under_an_idempotency_key_a_completion_is_answered_alike_and_another_one_is_a_mismatch() {
    let (_server, admin) = started(&[]);
    consume(&admin, json!({"organization": "acme", "meter": "tokens", "id": "r-1"}));
    let ask = |key: &str, said: Value| {
        let mut body = said;
        body["source"] = "metergate:consume/tokens".into();
        let call = admin.call("PATCH", "/v1/events/r-1?organization=acme").header("idempotency-key", key);
        call.json(body).send()
    };
    let first = ask("k", json!({"durationMs": 10})).is(200);
    assert_eq!(first.header("idempotent-replayed"), None);
    ask("other", json!({"status": 201})).is(200);
    let again = ask("k", json!({"durationMs": 10})).is(200);
    assert_eq!((again.json(), again.header("idempotent-replayed")), (first.json(), Some("true")));
    ask("k", json!({"status": 200})).expect_problem(422, "idempotency-mismatch");
    assert_eq!(ask(&"k".repeat(256), json!({"status": 201})).status, 422);
    assert_eq!(listed(&admin), [(json!("r-1"), json!(10), json!(201))]);
}
