//! `POST /v1/consume` and `POST /v1/check` (D1, D2).

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

pub(super) fn started() -> (Server, Client) {
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
        "cost": 0.00045,
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
    admin.post("/v1/consume", items(1001)).expect_problem(413, "payload-too-large");
    let answer = admin.post("/v1/consume", items(1000)).is(200).json();
    assert_eq!(answer["data"].as_array().unwrap().len(), 1000);
    let used = admin.get("/v1/organizations/acme/usage").json();
    let of = used["meters"].as_array().unwrap().iter().find(|m| m["meter"] == "generations").unwrap().clone();
    assert_eq!(of["used"], 1000, "the array above the cap counted nothing");
    admin.post("/v1/consume", "[{]").expect_problem(400, "malformed-body");
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
        admin.post("/v1/consume", body).expect_problem(status, code);
    }
    let usage = admin.get("/v1/organizations/acme/usage").is(200).json();
    assert!(usage["meters"].as_array().unwrap().iter().all(|meter| meter["used"] == 0), "{usage}");
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
            let problem = admin.post(path, body).expect_problem(*status, code);
            assert_eq!(problem["errors"][0]["pointer"].as_str(), *pointer, "{path} {body}");
        }
        admin
            .post(&format!("{path}?status=other"), json!({"organization": "acme", "meter": "tokens"}))
            .expect_problem(422, "validation");
        admin.post(path, "{\"organization\": ").expect_problem(400, "malformed-body");
    }
    assert_eq!(ask(&admin, "tokens", 1).json()["limits"][0]["used"], 1, "nothing of that counted");
}

#[test]
fn unknown_organizations_are_made_on_first_use_where_the_setting_allows_it() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    let body = json!({"organization": "newcomer", "meter": "tokens", "quantity": 3});
    let checked = admin.post("/v1/check", &body).is(200).json();
    assert_eq!((&checked["allowed"], &checked["limits"][0]["remaining"]), (&json!(true), &json!(9_997)));
    admin.get("/v1/organizations/newcomer").expect_problem(404, "unknown-organization");
    let too_much = json!({"organization": "newcomer", "meter": "tokens", "quantity": 10_001});
    assert_eq!(admin.post("/v1/check", too_much).is(200).json()["reason"], "quota-exceeded");
    assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true);
    let made = admin.get("/v1/organizations/newcomer").is(200).json();
    assert_eq!((&made["plan"], &made["status"]), (&json!("free"), &json!("trial")));
    // An id cannot be made up.
    let by_id = json!({"organization": "01890000-0000-7000-8000-000000000000", "meter": "tokens"});
    admin.post("/v1/consume", &by_id).expect_problem(404, "unknown-organization");
    admin.post("/v1/check", by_id).expect_problem(404, "unknown-organization");
    let key = json!({"name": "theirs", "scopes": ["consume"], "organization": "newcomer"});
    let theirs = server.client(admin.post("/v1/api-keys", key).is(201).json()["key"].as_str().unwrap());
    let other = json!({"organization": "another", "meter": "tokens"});
    theirs.post("/v1/check", other).expect_problem(404, "unknown-organization");
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
