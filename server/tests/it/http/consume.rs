//! `POST /v1/consume` and `POST /v1/check` (D1, D2, D4, D7, D9).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

/// Plans with small limits, and an organization on the first, `acme`.
pub(super) fn small_limits(admin: &Client) {
    let limit = |meter: &str, window: &str, max: u64| json!({"meter": meter, "window": window, "max": max});
    let plan = json!({
        "name": "Small",
        "limits": [
            limit("api_calls", "minute", 10),
            limit("api_calls", "day", 20),
            limit("tokens", "billingPeriod", 1000),
            limit("embeddings", "lifetime", 5),
            {"meter": "conversations", "window": "billingPeriod", "max": 3, "status": 402},
            {"meter": "messages", "window": "billingPeriod", "max": 5, "enforcement": "soft"},
            {"meter": "generations", "window": "billingPeriod", "unlimited": true},
        ],
        "otherMeters": "none",
    });
    admin.put("/v1/plans/small", plan).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "small"})).is(201);
}

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    small_limits(&admin);
    (server, admin)
}

pub(super) fn ask(client: &Client, meter: &str, quantity: u64) -> Answer {
    client.post("/v1/consume", json!({"organization": "acme", "meter": meter, "quantity": quantity}))
}

#[test]
fn a_decision_has_the_documented_members_and_values() {
    let (_server, admin) = started();
    let ends = admin.get("/v1/organizations/acme").is(200).json()["nextResetDate"].clone();
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 120, "id": "req-1",
        "properties": {"model": "gpt-4o", "inputTokens": 100, "outputTokens": 20}});
    let answer = admin.post("/v1/consume", &body).is(200);
    let expected = json!({
        "allowed": true, "reason": null, "organization": "acme", "meter": "tokens", "id": "req-1", "quantity": 120, "overage": 0,
        "limits": [{"window": "billingPeriod", "enforcement": "hard", "limit": 1000, "used": 120, "held": 0, "remaining": 880, "resetsAt": ends}],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    // By the organization's id as by its key.
    let id = admin.get("/v1/organizations/acme").json()["id"].clone();
    let by_id = admin.post("/v1/consume", json!({"organization": id, "meter": "tokens"})).is(200).json();
    assert_eq!((&by_id["organization"], &by_id["limits"][0]["used"]), (&json!("acme"), &json!(121)));
}

#[test]
fn a_refusal_is_200_says_why_and_uses_nothing() {
    let (_server, admin) = started();
    ask(&admin, "tokens", 990).is(200);
    let refused = ask(&admin, "tokens", 11).is(200);
    let body = refused.json();
    assert_eq!((&body["allowed"], &body["reason"]), (&json!(false), &json!("quota-exceeded")));
    assert_eq!((&body["limits"][0]["used"], &body["limits"][0]["remaining"]), (&json!(990), &json!(10)));
    let after = body["retryAfterSeconds"].as_i64().unwrap();
    assert!((after - refused.header("retry-after").unwrap().parse::<i64>().unwrap()).abs() <= 1);
    assert!(after > 27 * 86_400 && after <= 31 * 86_400, "{after}");
    // Exactly what is left is admitted, and then nothing more is.
    assert_eq!(ask(&admin, "tokens", 10).json()["allowed"], true);
    assert_eq!(ask(&admin, "tokens", 1).json()["allowed"], false);
}

#[test]
fn waiting_is_advised_only_where_it_helps() {
    let (_server, admin) = started();
    ask(&admin, "api_calls", 10).is(200);
    ask(&admin, "embeddings", 5).is(200);
    admin.post("/v1/organizations", json!({"key": "locked", "plan": "small"})).is(201);
    admin.put("/v1/organizations/locked/lock", json!({"reason": "test"})).is(200);
    #[rustfmt::skip]
    let cases = [
        ("acme",   "api_calls",     1,    "quota-exceeded",      true,  "a minute passes"),
        ("acme",   "api_calls",     11,   "quota-exceeded",      false, "above the limit itself"),
        ("acme",   "tokens",        1001, "quota-exceeded",      false, "above the limit itself"),
        ("acme",   "embeddings",    1,    "quota-exceeded",      false, "a lifetime does not end"),
        ("acme",   "errors",        1,    "not-entitled",        false, "the plan does not have it"),
        ("locked", "tokens",        1,    "organization-locked", false, "only an operator ends it"),
    ];
    for (organization, meter, quantity, reason, waits, why) in cases {
        for path in ["/v1/consume", "/v1/check", "/v1/consume?status=native"] {
            let body = json!({"organization": organization, "meter": meter, "quantity": quantity});
            let answer = admin.post(path, body);
            let decision = decision_of(&answer);
            assert_eq!(decision["reason"], reason, "{path} {meter}: {why}");
            assert_eq!(decision.get("retryAfterSeconds").is_some(), waits, "{path} {meter}: {why}: {decision}");
            assert_eq!(answer.header("retry-after").is_some(), waits, "{path} {meter}: {why}");
        }
    }
}

/// The decision in an answer, whether it is 200 or a problem.
fn decision_of(answer: &Answer) -> Value {
    let body = answer.json();
    if answer.status == 200 { body } else { body["decision"].clone() }
}

#[test]
fn native_statuses_are_problems_that_contain_the_decision() {
    let (_server, admin) = started();
    ask(&admin, "conversations", 3).is(200);
    ask(&admin, "api_calls", 10).is(200);
    admin.post("/v1/organizations", json!({"key": "locked", "plan": "small"})).is(201);
    admin.put("/v1/organizations/locked/lock", json!({"reason": "test"})).is(200);
    let quota = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    #[rustfmt::skip]
    let cases = [
        ("acme",   "api_calls",     429, "quota-exceeded",      quota,         json!(["api_calls-minute"])),
        ("acme",   "conversations", 402, "quota-exceeded",      quota,         json!(["conversations-billingPeriod"])),
        ("acme",   "errors",        403, "not-entitled",        "about:blank", json!(null)),
        ("locked", "api_calls",     403, "organization-locked", "about:blank", json!(null)),
    ];
    for (organization, meter, status, code, kind, policies) in cases {
        let body = json!({"organization": organization, "meter": meter});
        let plain = admin.post("/v1/consume", &body).is(200);
        let native = admin.post("/v1/consume?status=native", &body);
        let problem = native.clone().is_problem(status, code);
        assert_eq!(problem["type"], kind, "{meter}");
        assert_eq!(problem["violated-policies"], policies, "{meter}");
        let (mut inside, mut outside) = (problem["decision"].clone(), plain.json());
        for decision in [&mut inside, &mut outside] {
            // What is free when, moves on between two calls.
            decision.as_object_mut().unwrap().remove("retryAfterSeconds");
        }
        assert_eq!(inside, outside, "{meter}");
        assert_eq!(native.header("ratelimit-policy"), plain.header("ratelimit-policy"), "{meter}");
        assert_eq!(native.header("x-ratelimit-limit-day"), plain.header("x-ratelimit-limit-day"), "{meter}");
        assert_eq!(native.header("cache-control"), (status == 429).then_some("no-store"), "{meter}");
    }
    // An allowed one is 200 all the same.
    let allowed = admin.post("/v1/consume?status=native", json!({"organization": "acme", "meter": "tokens"}));
    assert_eq!(allowed.is(200).json()["allowed"], true);
    let both = json!({"organization": "acme", "together": [{"meter": "tokens"}, {"meter": "conversations"}]});
    let problem = admin.post("/v1/consume?status=native", both).is_problem(402, "quota-exceeded");
    assert_eq!(problem["decision"]["data"].as_array().unwrap().len(), 2);
}

#[test]
fn an_array_is_answered_item_by_item_with_errors_in_their_place() {
    let (_server, admin) = started();
    let item = |quantity: Value| json!({"organization": "acme", "meter": "tokens", "quantity": quantity});
    let items = json!([
        item(json!(400)),
        item(json!(-1)),
        {"organization": "acme", "meter": "nothing"},
        {"organization": "nobody", "meter": "tokens"},
        item(json!(601)),
        {"organization": "acme", "meter": "tokens", "qantity": 5},
        {"organization": "acme", "meter": 7},
        "nonsense",
        {"organization": "acme", "together": [{"meter": "tokens"}]},
        item(json!(600)),
    ]);
    let answer = admin.post("/v1/consume", items).is(200);
    let data = answer.json()["data"].as_array().unwrap().clone();
    #[rustfmt::skip]
    let expected = [
        Ok(true), Err((422, "invalid-quantity")), Err((404, "unknown-meter")), Err((404, "unknown-organization")), Ok(false),
        Err((422, "validation")), Err((422, "validation")), Err((422, "validation")), Err((422, "validation")), Ok(true),
    ];
    assert_eq!(data.len(), expected.len());
    for (i, (one, expected)) in data.iter().zip(expected).enumerate() {
        match expected {
            Ok(allowed) => assert_eq!(one["allowed"], allowed, "item {i}: {one}"),
            Err((status, code)) => {
                assert_eq!((&one["status"], &one["code"]), (&json!(status), &json!(code)), "item {i}: {one}");
            }
        }
    }
    assert_eq!(data[9]["limits"][0]["remaining"], 0);
    let pointers: Vec<_> = [1, 5, 6].map(|i| data[i]["errors"][0]["pointer"].clone()).into();
    assert_eq!(pointers, ["#/1/quantity", "#/5/qantity", "#/6/meter"], "a pointer leads into the body that was sent");
}

#[test]
fn an_array_holds_1000_items_at_most_and_may_be_empty() {
    let (_server, admin) = started();
    let items = |n: usize| Value::from(vec![json!({"organization": "acme", "meter": "generations"}); n]);
    assert_eq!(admin.post("/v1/consume", items(0)).is(200).json(), json!({"data": []}));
    admin.post("/v1/consume", items(1001)).is_problem(413, "payload-too-large");
    let answer = admin.post("/v1/consume", items(1000)).is(200).json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 1000);
    let used = admin.get("/v1/organizations/acme/usage").json();
    let of = used["meters"].as_array().unwrap().iter().find(|m| m["meter"] == "generations").unwrap().clone();
    assert_eq!(of["used"], 1000, "the array above the cap counted nothing");
    admin.post("/v1/consume", "[{]").is_problem(400, "malformed-body");
}

#[test]
fn together_is_all_or_nothing() {
    let (_server, admin) = started();
    let both = |tokens: u64, calls: u64| {
        json!({"organization": "acme",
            "together": [{"meter": "tokens", "quantity": tokens}, {"meter": "api_calls", "quantity": calls}]})
    };
    let answer = admin.post("/v1/consume", both(100, 4)).is(200).json();
    assert_eq!((&answer["allowed"], &answer["reason"]), (&json!(true), &json!(null)));
    let used = |answer: &Value| [0, 1].map(|i| answer["data"][i]["limits"][0]["used"].as_i64().unwrap());
    assert_eq!(used(&answer), [100, 4]);

    let refused = admin.post("/v1/consume", both(100, 7)).is(200).json();
    assert_eq!((&refused["allowed"], &refused["reason"]), (&json!(false), &json!("quota-exceeded")));
    assert_eq!(used(&refused), [100, 4], "of a refused call nothing is used");
    let reasons = [0, 1].map(|i| refused["data"][i]["reason"].clone());
    assert_eq!(reasons, [json!(null), json!("quota-exceeded")]);
    assert!((0..2).all(|i| refused["data"][i]["allowed"] == false));

    // The first reason of D9 wins, in whichever order the meters stand.
    let mixed =
        json!({"organization": "acme", "together": [{"meter": "api_calls", "quantity": 7}, {"meter": "errors"}]});
    assert_eq!(admin.post("/v1/consume", mixed).is(200).json()["reason"], "not-entitled");
}

#[test]
fn what_is_wrong_with_together_is_422_and_records_nothing() {
    let (_server, admin) = started();
    let together = |items: Value| json!({"organization": "acme", "together": items});
    let many = Value::from(vec![json!({"meter": "tokens"}); 101]);
    let cases = [
        (together(json!([])), 422, "validation"),
        (together(many), 422, "validation"),
        (together(json!([{"meter": "tokens"}, {"meter": "tokens"}])), 422, "validation"),
        (together(json!([{"meter": "tokens"}, {"meter": "nothing"}])), 404, "unknown-meter"),
        (together(json!([{"meter": "tokens"}, {"meter": "api_calls", "quantity": -1}])), 422, "invalid-quantity"),
        (together(json!([{"meter": "tokens", "id": "a"}])), 422, "validation"),
        (json!({"organization": "acme", "meter": "tokens", "together": [{"meter": "tokens"}]}), 422, "validation"),
        (json!({"organization": "acme"}), 422, "validation"),
    ];
    for (body, status, code) in cases {
        admin.post("/v1/consume", body).is_problem(status, code);
    }
    let usage = admin.get("/v1/organizations/acme/usage").is(200).json();
    assert!(usage["meters"].as_array().unwrap().iter().all(|meter| meter["used"] == 0), "{usage}");
}

#[test]
fn a_repeated_id_has_its_first_answer_and_counts_once() {
    let (_server, admin) = started();
    ask(&admin, "api_calls", 9).is(200);
    #[rustfmt::skip]
    let cases = [
        json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "allowed"}),
        json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "refused"}),
        json!({"organization": "acme", "meter": "api_calls", "quantity": 2, "id": "allowed"}),
        json!({"organization": "acme", "together": [{"meter": "embeddings", "quantity": 2}, {"meter": "messages"}], "id": "allowed"}),
        json!({"organization": "acme", "together": [{"meter": "embeddings", "quantity": 4}, {"meter": "messages"}], "id": "refused"}),
    ];
    let first: Vec<_> = cases.iter().map(|body| admin.post("/v1/consume", body).is(200)).collect();
    let allowed: Vec<_> = first.iter().map(|answer| answer.json()["allowed"].as_bool().unwrap()).collect();
    assert_eq!(allowed, [true, false, false, true, false], "equal ids on other meters and together are apart");
    // Room is made: a refused id stays refused all the same.
    admin.post("/v1/organizations/acme/usage/reset", json!({"reason": "test"})).is(200);
    for (body, first) in cases.iter().zip(&first) {
        assert_eq!(first.header("idempotent-replayed"), None);
        let again = admin.post("/v1/consume", body).is(200);
        assert_eq!(again.text, first.text);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{body}");
    }
    let other = json!({"organization": "acme", "meter": "tokens", "quantity": 600, "id": "another"});
    assert_eq!(admin.post("/v1/consume", other).json()["limits"][0]["used"], 600);
}

#[test]
fn another_body_under_a_known_id_is_422() {
    let (_server, admin) = started();
    let with = |changes: Value| {
        let mut body =
            json!({"organization": "acme", "meter": "tokens", "quantity": 5, "id": "a", "properties": {"model": "m"}});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        body
    };
    admin.post("/v1/consume", with(json!({}))).is(200);
    for changes in [json!({"quantity": 6}), json!({"properties": {"model": "n"}}), json!({"properties": null})] {
        admin.post("/v1/consume", with(changes)).is_problem(422, "idempotency-mismatch");
    }
    // In an array it is that item's problem only.
    let items = json!([with(json!({"quantity": 6})), with(json!({})), with(json!({"id": "b"}))]);
    let data = admin.post("/v1/consume", items).is(200).json()["data"].clone();
    assert_eq!((&data[0]["code"], &data[1]["limits"][0]["used"]), (&json!("idempotency-mismatch"), &json!(5)));
    assert_eq!(data[2]["limits"][0]["used"], 10);
    // The same number, otherwise written, is the same request.
    assert_eq!(
        admin.post("/v1/consume", with(json!({"quantity": "5"}))).is(200).header("idempotent-replayed"),
        Some("true")
    );
    // Another organization's equal id is its own.
    admin.post("/v1/organizations", json!({"key": "other", "plan": "small"})).is(201);
    let other = admin.post("/v1/consume", with(json!({"organization": "other", "quantity": 7}))).is(200);
    assert_eq!(other.json()["limits"][0]["used"], 7);
}

#[test]
fn an_idempotency_key_counts_where_the_body_has_no_id() {
    let (_server, admin) = started();
    let send =
        |key: &str, body: &Value| admin.call("POST", "/v1/consume").header("idempotency-key", key).json(body).send();
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 10});
    let first = send("\"k-1\"", &body).is(200);
    let again = send("k-1", &body).is(200);
    assert_eq!((again.text.as_str(), again.header("idempotent-replayed")), (first.text.as_str(), Some("true")));
    send("k-1", &json!({"organization": "acme", "meter": "tokens", "quantity": 11}))
        .is_problem(422, "idempotency-mismatch");
    send("k-1", &json!({"organization": "acme", "meter": "messages", "quantity": 10}))
        .is_problem(422, "idempotency-mismatch");
    // With an id of its own the body goes by that.
    let named = json!({"organization": "acme", "meter": "tokens", "quantity": 10, "id": "k-1"});
    assert_eq!(send("k-1", &named).is(200).json()["limits"][0]["used"], 20);
    send("", &body).is_problem(422, "validation");
    send(&"k".repeat(256), &body).is_problem(422, "validation");
}

#[test]
fn a_check_answers_alike_and_records_nothing() {
    let (_server, admin) = started();
    ask(&admin, "tokens", 900).is(200);
    for quantity in [100, 101] {
        let body = json!({"organization": "acme", "meter": "tokens", "quantity": quantity, "id": "c"});
        let checked = admin.post("/v1/check", &body).is(200);
        let checked_again = admin.post("/v1/check", &body).is(200);
        assert_eq!(checked_again.header("idempotent-replayed"), None);
        let allowed = quantity == 100;
        assert_eq!(checked.json()["allowed"], allowed);
        assert_eq!(checked.json()["limits"], checked_again.json()["limits"]);
    }
    let together =
        json!({"organization": "acme", "together": [{"meter": "tokens", "quantity": 100}, {"meter": "messages"}]});
    assert_eq!(admin.post("/v1/check", together).is(200).json()["allowed"], true);
    let array = json!([{"organization": "acme", "meter": "tokens", "quantity": 100}]);
    assert_eq!(admin.post("/v1/check", array).is(200).json()["data"][0]["allowed"], true);
    // The id was not taken, and nothing is used: all that is left still is.
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 100, "id": "c"});
    let consumed = admin.post("/v1/consume", body).is(200);
    assert_eq!((consumed.json()["allowed"].clone(), consumed.header("idempotent-replayed")), (json!(true), None));
    assert_eq!(admin.get("/v1/events?organization=acme").json()["data"].as_array().unwrap().len(), 2);
}

#[test]
fn unknown_things_are_404_and_wrong_bodies_say_where() {
    let (_server, admin) = started();
    #[rustfmt::skip]
    let cases = [
        (json!({"organization": "nobody", "meter": "tokens"}),                            404, "unknown-organization", None),
        (json!({"organization": "01890000-0000-7000-8000-000000000000", "meter": "tokens"}), 404, "unknown-organization", None),
        (json!({"organization": "", "meter": "tokens"}),                                  404, "unknown-organization", None),
        (json!({"organization": "acme", "meter": "nothing"}),                             404, "unknown-meter", None),
        (json!({"organization": "acme", "meter": "tokens", "qantity": 1}),                422, "validation", Some("#/qantity")),
        (json!({"meter": "tokens"}),                                                      422, "validation", Some("#/organization")),
        (json!({"organization": "acme", "meter": "tokens", "id": ""}),                    422, "validation", Some("#/id")),
        (json!({"organization": "acme", "meter": "tokens", "id": "x".repeat(256)}),       422, "validation", Some("#/id")),
        (json!({"organization": "acme", "meter": "tokens", "properties": [1]}),           422, "validation", Some("#/properties")),
        (json!({"organization": "acme", "meter": "tokens", "properties": {"model": {}}}), 422, "validation", Some("#/properties/model")),
        (json!({"organization": "acme", "meter": "tokens", "properties": {"x": "y".repeat(16 * 1024)}}), 422, "validation", Some("#/properties")),
        (json!({"organization": "acme", "meter": "tokens", "durationMs": -1}),            422, "validation", Some("#/durationMs")),
    ];
    for path in ["/v1/consume", "/v1/check"] {
        for (body, status, code, pointer) in &cases {
            let problem = admin.post(path, body).is_problem(*status, code);
            assert_eq!(problem["errors"][0]["pointer"].as_str(), *pointer, "{path} {body}");
        }
        admin
            .post(&format!("{path}?status=other"), json!({"organization": "acme", "meter": "tokens"}))
            .is_problem(422, "validation");
        admin.post(path, "{\"organization\": ").is_problem(400, "malformed-body");
    }
    assert_eq!(ask(&admin, "tokens", 1).json()["limits"][0]["used"], 1, "nothing of that counted");
}

#[test]
fn unknown_organizations_are_made_on_first_use_where_the_setting_allows_it() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    let body = json!({"organization": "newcomer", "meter": "tokens", "quantity": 3});
    assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true);
    let made = admin.get("/v1/organizations/newcomer").is(200).json();
    assert_eq!((&made["plan"], &made["status"]), (&json!("free"), &json!("trial")));
    // An id cannot be made up.
    let by_id = json!({"organization": "01890000-0000-7000-8000-000000000000", "meter": "tokens"});
    admin.post("/v1/consume", by_id).is_problem(404, "unknown-organization");
}

#[test]
fn soft_limits_count_overage_and_unlimited_ones_are_not_shown() {
    let (_server, admin) = started();
    ask(&admin, "messages", 4).is(200);
    let beyond = ask(&admin, "messages", 3).is(200).json();
    assert_eq!((&beyond["allowed"], &beyond["overage"]), (&json!(true), &json!(2)));
    let limit = &beyond["limits"][0];
    assert_eq!((&limit["enforcement"], &limit["used"], &limit["remaining"]), (&json!("soft"), &json!(7), &json!(0)));
    assert_eq!(ask(&admin, "messages", 1).json()["overage"], 1);
    let unlimited = ask(&admin, "generations", 1_000_000).is(200).json();
    assert_eq!((&unlimited["allowed"], &unlimited["limits"]), (&json!(true), &json!([])));
    let usage = admin.get("/v1/organizations/acme/usage").json();
    let of = |key: &str| usage["meters"].as_array().unwrap().iter().find(|m| m["meter"] == key).unwrap().clone();
    assert_eq!((&of("messages")["used"], &of("messages")["overage"]), (&json!(8), &json!(3)));
    let generations = of("generations");
    assert_eq!((&generations["used"], &generations["limit"]), (&json!(1_000_000), &json!(null)));
    assert_eq!(generations["unlimited"], true);
}

#[test]
fn a_lock_stops_consumption_and_an_unlock_lifts_it() {
    let (_server, admin) = started();
    let locked = admin.put("/v1/organizations/acme/lock", json!({"reason": "fraud"})).is(200).json();
    assert_eq!((&locked["locked"], &locked["locks"][0]["cause"]), (&json!(true), &json!("operator")));
    assert_eq!(locked["locks"][0]["reason"], "fraud");
    let refused = ask(&admin, "tokens", 1).is(200).json();
    assert_eq!(refused["reason"], "organization-locked");
    // The lock comes before everything else that is in the way.
    assert_eq!(ask(&admin, "errors", 1).json()["reason"], "organization-locked");
    assert_eq!(ask(&admin, "tokens", 1001).json()["reason"], "organization-locked");
    admin.delete("/v1/organizations/acme/lock").is(204);
    assert_eq!(ask(&admin, "tokens", 1).json()["limits"][0]["used"], 1);
}

#[test]
fn the_rate_headers_are_those_of_the_body() {
    let (_server, admin) = started();
    let mut hit_exactly = false;
    for quantity in [1, 4, 5, 1] {
        let answer = ask(&admin, "api_calls", quantity).is(200);
        let body = answer.json();
        let of = |window: &str| {
            body["limits"].as_array().unwrap().iter().find(|limit| limit["window"] == window).unwrap().clone()
        };
        let (minute, day) = (of("minute"), of("day"));
        #[rustfmt::skip]
        let expected = [
            ("x-ratelimit-limit-minute", &minute["limit"]), ("x-ratelimit-remaining-minute", &minute["remaining"]),
            ("x-ratelimit-limit-day", &day["limit"]), ("x-ratelimit-remaining-day", &day["remaining"]),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), Some(value.to_string().as_str()), "{name}");
        }
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"api_calls-minute\";q=10;w=60, \"api_calls-day\";q=20;w=86400")
        );
        let rates: Vec<_> = answer.header("ratelimit").unwrap().split(", ").collect();
        for (rate, limit) in rates.iter().zip([&minute, &day]) {
            let expected = format!("\"api_calls-{}\";r={}", limit["window"].as_str().unwrap(), limit["remaining"]);
            assert!(rate.starts_with(&expected), "{rate}, should begin with {expected}");
            let seconds: i64 = rate.rsplit_once(";t=").unwrap().1.parse().unwrap();
            assert!((0..=86_400).contains(&seconds), "{rate}");
        }
        hit_exactly |= minute["remaining"] == 0;
        assert_eq!(answer.header("retry-after").is_some(), body["allowed"] == false);
    }
    assert!(hit_exactly, "the limit was never hit exactly");
    // A month or period has no constant length, and no `X-` header.
    let tokens = ask(&admin, "tokens", 1).is(200);
    assert_eq!(tokens.header("ratelimit-policy"), Some("\"tokens-billingPeriod\";q=1000"));
    assert!(["x-ratelimit-limit-minute", "x-ratelimit-limit-day"].iter().all(|name| tokens.header(name).is_none()));
    // Of an array: the item with least left.
    let items =
        json!([{"organization": "acme", "meter": "tokens"}, {"organization": "acme", "meter": "conversations"}]);
    let array = admin.post("/v1/consume", items).is(200);
    assert_eq!(array.header("ratelimit-policy"), Some("\"conversations-billingPeriod\";q=3"));
}

#[test]
fn the_setting_chooses_which_rate_headers_there_are() {
    for (setting, ietf, x) in [("both", true, true), ("ietf", true, false), ("x", false, true), ("none", false, false)]
    {
        let server = Server::with(&[("METERGATE_RATE_LIMIT_HEADERS", setting)]);
        let admin = server.admin();
        small_limits(&admin);
        let answer = ask(&admin, "api_calls", 10).is(200);
        assert_eq!(
            (answer.header("ratelimit").is_some(), answer.header("ratelimit-policy").is_some()),
            (ietf, ietf),
            "{setting}"
        );
        assert_eq!(answer.header("x-ratelimit-limit-minute").is_some(), x, "{setting}");
        assert!(ask(&admin, "api_calls", 1).header("retry-after").is_some(), "{setting}");
    }
}

#[test]
fn an_allowed_decision_without_an_id_is_named_by_its_place_in_the_journal() {
    let (_server, admin) = started();
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 3, "properties": {"model": "m", "other": [1]},
        "durationMs": 12, "status": 200});
    let id = admin.post("/v1/consume", body).is(200).json()["id"].clone();
    assert!(id.as_str().is_some_and(|id| id.split('-').all(|part| part.parse::<u64>().is_ok())), "{id}");
    let events = admin.get("/v1/events?organization=acme").is(200).json();
    let event = &events["data"][0];
    assert_eq!(
        (&event["id"], &event["source"], &event["type"]),
        (&id, &json!("metergate:consume/tokens"), &json!("tokens"))
    );
    assert_eq!(event["data"], json!({"model": "m", "other": [1]}));
    assert_eq!((&event["durationMs"], &event["status"]), (&json!(12), &json!(200)));
    assert_eq!((&event["uses"][0]["meter"], &event["uses"][0]["quantity"]), (&json!("tokens"), &json!(3)));
    let refused = ask(&admin, "tokens", 1001).json();
    assert_eq!(refused["id"], json!(null), "a refusal has no place");
}
