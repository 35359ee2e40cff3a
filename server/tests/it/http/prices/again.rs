//! What was used is priced again, and prices that long input has of its own.

use serde_json::{Value, json};

use super::*;

/// A server on which one model was used three times at a price, and another once without one; with a time before all of it.
fn used_at_two_prices() -> (Server, Client, String) {
    let (server, admin) = started("100");
    let (from, at) = (hours_ago(&admin, 3), hours_ago(&admin, 2));
    patch(&admin, &json!([price("mine", "2020-01-01", "1000", "1000")])).is(200);
    let said = json!({"model": "mine", "inputTokens": 600, "outputTokens": 400});
    record(&admin, &[event("e-1", &at, &said), event("e-2", &at, &said)]);
    consume(&admin, "d-1", &said);
    let late = json!({"model": "later", "inputTokens": 1000});
    record(&admin, &[event("e-3", &at, &late)]);
    (server, admin, from)
}

/// Of each model of the first organization: how often it was used, and by how much its cost changes.
fn models(told: &Value) -> Vec<(&str, u64, String)> {
    let models = told["organizations"][0]["models"].as_array().unwrap().iter();
    let shown = |model: &'_ Value| (model["uses"].as_u64().unwrap(), model["difference"].to_string());
    models.map(|model| (model["model"].as_str().unwrap(), shown(model).0, shown(model).1)).collect()
}

#[test]
fn tokens_that_were_asked_for_together_with_others_are_priced_again_too() {
    let (_server, admin) = started("100");
    patch(&admin, &json!([price("mine", "2020-01-01", "1", "1")])).is(200);
    let said = json!({"model": "mine", "inputTokens": 1000, "outputTokens": 0});
    let together = json!({"organization": "acme", "id": "t-1", "properties": {"model": "of nothing", "note": "n"},
        "together": [{"meter": "tokens", "properties": said}]});
    admin.post("/v1/consume", together).is(200);
    assert_eq!(used(&admin, "llm_cost"), "0.001");
    patch(&admin, &json!([price("mine", "2020-01-01", "3", "1")])).is(200);
    let asked = json!({"from": hours_ago(&admin, 1), "dryRun": false, "reason": "wrong price"});
    let told = recompute(&admin, &asked).is(200);
    assert_eq!((told.json()["models"][0]["uses"].clone(), told.raw("/difference")), (json!(1), "0.002".to_owned()));
    assert_eq!(used(&admin, "llm_cost"), "0.003");
    assert_eq!(recompute(&admin, &asked).is(200).json()["differing"], 0);
}

#[test]
fn a_price_for_long_input_needs_one_for_any_input_from_the_same_time() {
    let (_server, admin) = started("100");
    let long =
        |from: &str| json!({"model": "mine", "effectiveFrom": from, "inputAbove": 1000, "input": "2", "output": "2"});
    let alone = patch(&admin, &json!([long("2026-01-01")])).expect_problem(422, "invalid-catalogue");
    assert_eq!(alone["errors"][0]["pointer"], "#/set/0/inputAbove");
    patch(&admin, &json!([price("mine", "2026-01-01", "1", "1"), long("2026-01-01")])).is(200);
    let named = json!({"model": "mine", "effectiveFrom": "2026-01-01"});
    let left = admin.patch("/v1/prices", json!({"remove": [named]})).expect_problem(422, "invalid-catalogue");
    assert_eq!(left["errors"][0]["pointer"], "#/remove");
    let cost = |id: &str, input: i64| {
        consume(&admin, id, &json!({"model": "mine", "inputTokens": input, "outputTokens": 0})).raw("/cost")
    };
    assert_eq!((cost("d-1", 1000), cost("d-2", 1001)), ("0.001".to_owned(), "0.002002".to_owned()));
}

#[test]
fn the_past_is_priced_again_once_and_first_only_said() {
    let (mut server, admin, from) = used_at_two_prices();
    let charged = |client: &Client| reported(client, "meter=llm_cost");
    assert_eq!(
        (charged(&admin), used(&admin, "llm_cost")),
        ("3".to_owned(), "1".to_owned()),
        "some is from before the period"
    );

    // Too dear by half, and one model had no price.
    patch(&admin, &json!([price("mine", "2020-01-01", "500", "500"), price("later", "2020-01-01", "250", "1")]))
        .is(200);
    assert_eq!(charged(&admin), "3", "what was charged stays");
    let asked = json!({"from": from});
    let dry = recompute(&admin, &asked).is(200);
    let told = dry.json();
    assert_eq!((&told["dryRun"], &told["differing"], &told["completeFrom"]), (&json!(true), &json!(1), &Value::Null));
    assert_eq!(["/before", "/after", "/difference"].map(|at| dry.raw(at)), ["3", "1.75", "-1.25"]);
    assert_eq!(models(&told), [("later", 1, "0.25".to_owned()), ("mine", 3, "-1.5".to_owned())]);
    assert_eq!(charged(&admin), "3", "a dry run changes nothing");

    let earnest = json!({"from": from, "dryRun": false});
    recompute(&admin, &earnest).expect_problem(422, "validation");
    let earnest = json!({"from": from, "dryRun": false, "reason": "wrong price"});
    let one_model = json!({"from": from, "dryRun": false, "reason": "wrong price", "models": ["lat*"]});
    assert_eq!(recompute(&admin, &one_model).is(200).raw("/difference"), "0.25");
    assert_eq!(charged(&admin), "3.25");
    assert_eq!(recompute(&admin, &earnest).is(200).raw("/difference"), "-1.5");
    assert_eq!((charged(&admin), used(&admin, "llm_cost")), ("1.75".to_owned(), "0.5".to_owned()));
    let log = admin.list("/v1/organizations/acme/audit-log");
    assert_eq!(
        (&log[0]["action"], &log[0]["reason"], &log[0]["after"]["cause"]),
        (&json!("usage.adjust"), &json!("wrong price"), &json!("prices"))
    );
    let of_team = admin.list("/v1/audit-log");
    assert!(of_team.iter().any(|entry| entry["action"] == "price.change" && entry["after"]["recompute"] == true));

    let entries = log.len();
    for _ in 0..2 {
        let again = recompute(&server.admin(), &earnest).is(200).json();
        assert_eq!((&again["differing"], &again["difference"]), (&json!(0), &json!(0)), "nothing is corrected twice");
        server.kill();
        server.start_again();
    }
    let admin = server.admin();
    assert_eq!((charged(&admin), admin.list("/v1/organizations/acme/audit-log").len()), ("1.75".to_owned(), entries));

    // What is void since takes back what it was charged first; the next run takes its corrections along.
    let path = "/v1/events/e-1?organization=acme&source=/api";
    admin.call("DELETE", path).json(json!({"reason": "twice"})).send().is(204);
    recompute(&admin, &earnest).is(200);
    assert_eq!(reported(&admin, "meter=llm_cost"), "1.25");
    assert_eq!(recompute(&admin, &earnest).is(200).json()["differing"], 0);
}

#[test]
fn what_is_priced_again_has_the_markup_of_the_plan_it_was_used_on() {
    let (_server, admin) = started("100");
    patch(&admin, &json!([price("mine", "2020-01-01", "1000", "1000")])).is(200);
    let said = json!({"model": "mine", "inputTokens": 1000});
    consume(&admin, "plain", &said);
    admin.put("/v1/plans/dear", json!({"llmMarkup": 50})).is(201);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "dear"})).is(200);
    assert_eq!(consume(&admin, "dear", &said).raw("/cost"), "1.5");
    admin.put("/v1/organizations/acme/plan", json!({"plan": "priced"})).is(200);
    let from = hours_ago(&admin, 1);
    let dry = recompute(&admin, &json!({"from": from})).is(200);
    assert_eq!((dry.raw("/before"), dry.raw("/difference")), ("2.5".to_owned(), "0".to_owned()));
    patch(&admin, &json!([price("mine", "2020-01-01", "2000", "1000")])).is(200);
    let dry = recompute(&admin, &json!({"from": from})).is(200);
    assert_eq!((dry.raw("/after"), dry.raw("/difference")), ("5".to_owned(), "2.5".to_owned()));
    admin.put("/v1/plans/dear", json!({"llmMarkup": "0.00001"})).expect_problem(422, "invalid-catalogue");
}

#[test]
fn what_cannot_be_priced_again_says_why() {
    let (_server, admin) = started("1");
    let from = "2026-01-01T00:00:00Z";
    #[rustfmt::skip]
    let cases = [
        (json!({"from": "yesterday"}), 422, "validation", "#/from"),
        (json!({"from": from, "to": from}), 422, "validation", "#/to"),
        (json!({"from": from, "models": []}), 422, "validation", "#/models"),
        (json!({"from": from, "models": ["a b"]}), 422, "validation", "#/models/0"),
        (json!({"from": from, "organizations": []}), 422, "validation", "#/organizations"),
        (json!({"from": from, "dryRun": false, "reason": " "}), 422, "validation", "#/reason"),
    ];
    for (body, status, code, pointer) in cases {
        assert_eq!(recompute(&admin, &body).expect_problem(status, code)["errors"][0]["pointer"], pointer, "{body}");
    }
    recompute(&admin, &json!({"from": from, "organizations": ["nobody"]})).expect_problem(404, "unknown-organization");
}
