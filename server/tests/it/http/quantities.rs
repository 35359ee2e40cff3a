//! Quantities over HTTP: exact in and out, and by each aggregation's own rule (M7, §1).

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

/// Meters of every aggregation with a limit on each, and an organization on that plan, `acme`.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    let meter = |key: &str, aggregation: &str, decimals: u8| {
        admin.put(&format!("/v1/meters/{key}"), json!({"aggregation": aggregation, "decimals": decimals})).is(201);
    };
    meter("cost", "sum", 9);
    meter("calls", "count", 0);
    meter("peak", "max", 2);
    meter("level", "last", 0);
    meter("visitors", "uniqueCount", 0);
    let plan = r#"{"limits": [
        {"meter": "cost", "window": "billingPeriod", "max": 9223372036.854775806},
        {"meter": "tokens", "window": "billingPeriod", "max": 9223372036854775806},
        {"meter": "calls", "window": "billingPeriod", "max": 2},
        {"meter": "peak", "window": "billingPeriod", "max": 10.5},
        {"meter": "level", "window": "billingPeriod", "max": 100},
        {"meter": "visitors", "window": "billingPeriod", "max": 2},
        {"meter": "active_users", "window": "day", "max": 1}]}"#;
    admin.put("/v1/plans/exact", plan).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "exact"})).is(201);
    (server, admin)
}

fn body(meter: &str, quantity: &str) -> String {
    format!(r#"{{"organization": "acme", "meter": "{meter}", "quantity": {quantity}}}"#)
}

#[test]
fn decimals_and_large_numbers_are_exact_both_ways() {
    let (_server, admin) = started();
    #[rustfmt::skip]
    let cases = [
        // meter, sent, quantity, used, remaining
        ("cost",   "0.123456789",             "0.123456789",          "0.123456789",          "9223372036.731319017"),
        ("cost",   "\"0.1\"",                 "0.1",                  "0.223456789",          "9223372036.631319017"),
        ("cost",   "1e-9",                    "0.000000001",          "0.22345679",           "9223372036.631319016"),
        ("cost",   "9223372036.631319016",    "9223372036.631319016", "9223372036.854775806", "0"),
        ("tokens", "9007199254740993",        "9007199254740993",     "9007199254740993",     "9214364837600034813"),
        ("tokens", "\"9214364837600034812\"", "9214364837600034812",  "9223372036854775805",  "1"),
        ("tokens", "1.0",                     "1",                    "9223372036854775806",  "0"),
    ];
    for (meter, sent, quantity, used, remaining) in cases {
        let answer = admin.post("/v1/consume", body(meter, sent)).is(200);
        assert_eq!(answer.raw("/allowed"), "true", "{meter} {sent}");
        for (pointer, expected) in
            [("/quantity", quantity), ("/limits/0/used", used), ("/limits/0/remaining", remaining)]
        {
            assert_eq!(answer.raw(pointer), expected, "{meter} {sent} {pointer}");
        }
    }
    // Near the largest number that there is, one more is refused, and beyond that number is no quantity: nothing wraps.
    for (meter, least, beyond) in [("cost", "0.000000001", "0.000000002"), ("tokens", "1", "2")] {
        admin.post("/v1/consume", body(meter, beyond)).expect_problem(422, "invalid-quantity");
        let answer = admin.post("/v1/consume", body(meter, least)).is(200);
        assert_eq!((answer.raw("/allowed"), answer.raw("/limits/0/remaining")), ("false".to_owned(), "0".to_owned()));
        let problem = admin.post("/v1/consume?status=native", body(meter, least)).is(429);
        assert_eq!(problem.raw("/decision/limits/0/used"), answer.raw("/limits/0/used"), "{meter}");
    }
}

#[test]
fn numbers_are_strings_where_that_is_asked_for() {
    let (_server, admin) = started();
    let answer = admin.post("/v1/consume?numbers=string", body("cost", "0.10")).is(200);
    for (pointer, expected) in [
        ("/quantity", "\"0.1\""),
        ("/overage", "\"0\""),
        ("/limits/0/limit", "\"9223372036.854775806\""),
        ("/limits/0/used", "\"0.1\""),
    ] {
        assert_eq!(answer.raw(pointer), expected, "{pointer}");
    }
    let usage = admin.get("/v1/usage?organization=acme&meter=cost&numbers=string").is(200);
    assert_eq!(usage.raw("/data/0/value"), "\"0.1\"");
    let both = admin.post("/v1/consume?numbers=string&status=native", body("peak", "11")).is(429);
    assert_eq!(both.raw("/decision/quantity"), "\"11\"");
    for path in ["usage", "quota", "entitlements", "explain", "grants"] {
        admin.get(&format!("/v1/organizations/acme/{path}?numbers=string")).is(200);
        admin.get(&format!("/v1/organizations/acme/{path}?numbers=float")).expect_problem(422, "validation");
    }
}

#[test]
fn what_is_no_quantity_of_the_meter_is_422_and_counts_nothing() {
    let (_server, admin) = started();
    #[rustfmt::skip]
    let cases = [
        ("tokens", "-1"), ("tokens", "0.5"), ("tokens", "1e400"), ("tokens", "1e-1"), ("tokens", "9223372036854775808"),
        ("tokens", "18446744073709551615"), ("tokens", "18446744073709551617"), ("tokens", "1e19"), ("tokens", "\"NaN\""),
        ("tokens", "\"Infinity\""), ("tokens", "\"-Infinity\""), ("tokens", "\"\""), ("tokens", "\" 1\""), ("tokens", "\"+1\""),
        ("tokens", "\"0x10\""), ("tokens", "\"1_000\""), ("tokens", "\"1,5\""), ("tokens", "\"\u{0661}\""), ("tokens", "true"),
        ("tokens", "[]"), ("tokens", "{}"), ("cost", "0.0000000001"), ("cost", "9223372036.854775808"), ("cost", "-0.000000001"),
        ("cost", "1e-10"), ("cost", "1e999999999999"), ("peak", "0.001"), ("level", "-5"),
    ];
    for (meter, quantity) in cases {
        for path in ["/v1/consume", "/v1/check"] {
            let problem = admin.post(path, body(meter, quantity)).expect_problem(422, "invalid-quantity");
            assert_eq!(problem["errors"][0]["pointer"], "#/quantity", "{meter} {quantity}");
        }
    }
    let usage = admin.get("/v1/organizations/acme/usage").is(200).json();
    assert!(usage["meters"].as_array().unwrap().iter().all(|meter| meter["used"] == 0), "{usage}");
    // Numbers that are no JSON do not even get that far.
    for quantity in ["NaN", "Infinity", "+1", "01", ".5", "1."] {
        admin.post("/v1/consume", body("tokens", quantity)).expect_problem(400, "malformed-body");
    }
    // Zero is a quantity, and `-0` is zero.
    for quantity in ["0", "-0", "0.000", "0e400"] {
        assert_eq!(
            admin.post("/v1/consume", body("tokens", quantity)).is(200).raw("/limits/0/used"),
            "0",
            "{quantity}"
        );
    }
}

#[test]
fn tokens_without_quantity_take_input_and_output() {
    let (_server, admin) = started();
    #[rustfmt::skip]
    let cases = [
        (json!({"inputTokens": 1000, "outputTokens": 200}), 1200),
        (json!({"inputTokens": 7}), 7),
        (json!({"model": "m"}), 1),
        (json!({"quantity": 5, "inputTokens": 100}), 5),
    ];
    for (properties, expected) in cases {
        let answer =
            admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "properties": properties}));
        assert_eq!(answer.is(200).json()["quantity"], expected, "{properties}");
    }
    let wrong = json!({"organization": "acme", "meter": "tokens", "properties": {"inputTokens": 9223372036854775807u64, "outputTokens": 1}});
    admin.post("/v1/consume", wrong).expect_problem(422, "invalid-quantity");
}

#[test]
fn a_count_counts_one_whatever_the_quantity() {
    let (_server, admin) = started();
    for (used, allowed) in [(1, true), (2, true), (2, false)] {
        let answer = admin.post("/v1/consume", body("calls", "50")).is(200).json();
        assert_eq!((&answer["allowed"], &answer["limits"][0]["used"]), (&json!(allowed), &json!(used)));
        assert_eq!(answer["quantity"], 1);
    }
}

#[test]
fn a_peak_is_refused_above_the_limit_and_a_lower_one_changes_nothing() {
    let (_server, admin) = started();
    for (peak, allowed, used) in
        [("5", true, "5"), ("10.5", true, "10.5"), ("10.51", false, "10.5"), ("0.01", true, "10.5")]
    {
        let answer = admin.post("/v1/consume", body("peak", peak)).is(200);
        assert_eq!(
            (answer.raw("/allowed"), answer.raw("/limits/0/used")),
            (allowed.to_string(), used.to_owned()),
            "{peak}"
        );
    }
}

#[test]
fn a_level_is_set_up_and_down_and_refused_above_the_limit() {
    let (_server, admin) = started();
    for (level, allowed, used) in [(60, true, 60), (101, false, 60), (100, true, 100), (20, true, 20), (80, true, 80)] {
        let answer = admin.post("/v1/consume", body("level", &level.to_string())).is(200).json();
        assert_eq!((&answer["allowed"], &answer["limits"][0]["used"]), (&json!(allowed), &json!(used)), "{level}");
    }
}

#[test]
fn a_value_counts_once_in_its_window() {
    let (_server, admin) = started();
    let visit = |value: Value| {
        admin.post("/v1/consume", json!({"organization": "acme", "meter": "visitors", "properties": value}))
    };
    #[rustfmt::skip]
    let cases = [
        (json!({"value": "a"}), true, 1), (json!({"value": "a"}), true, 1), (json!({"value": 7}), true, 2),
        (json!({"value": "c"}), false, 2), (json!({"value": "7"}), true, 2), (json!({"value": "a"}), true, 2),
    ];
    for (value, allowed, used) in cases {
        let answer = visit(value.clone()).is(200).json();
        assert_eq!((&answer["allowed"], &answer["limits"][0]["used"]), (&json!(allowed), &json!(used)), "{value}");
    }
    for wrong in [
        json!({}),
        json!({"value": null}),
        json!({"value": ""}),
        json!({"value": {}}),
        json!({"value": "x".repeat(1025)}),
    ] {
        let problem = visit(wrong.clone()).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/properties/value", "{wrong}");
    }
    // Active users are named by userId, or by value.
    for (properties, allowed) in
        [(json!({"userId": "u"}), true), (json!({"value": "u"}), true), (json!({"userId": "v"}), false)]
    {
        let answer = admin
            .post("/v1/consume", json!({"organization": "acme", "meter": "active_users", "properties": properties}));
        assert_eq!(answer.is(200).json()["allowed"], allowed, "{properties}");
    }
}
