//! What operators change about an organization's limits, what that does to decisions, and that `explain` adds up (D6, D11,
//! O2–O5, P6).

use serde_json::{Value, json};

use super::client::Client;
use super::consume::{ask, small_limits};
use super::server::Server;

fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    small_limits(&admin);
    (server, admin)
}

/// Limit, used and remaining of the meter's first limit in a check of nothing.
fn state(client: &Client, meter: &str) -> [i64; 3] {
    let answer =
        client.post("/v1/check", json!({"organization": "acme", "meter": meter, "quantity": 0})).is(200).json();
    ["limit", "used", "remaining"].map(|name| answer["limits"][0][name].as_i64().unwrap())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// Recomputes every limit and remainder of `explain` from its own parts (D6), and compares with what else is shown.
fn adds_up(client: &Client) -> usize {
    let explained = client.get("/v1/organizations/acme/explain").is(200).json();
    let quota = client.get("/v1/organizations/acme/quota").is(200).json();
    let mut checked = 0;
    for meter in explained["meters"].as_array().unwrap() {
        let now = explained["at"].as_str().unwrap();
        let open = meter["grants"].as_array().unwrap().iter().filter(|grant| {
            let before = |name: &str| grant[name].as_str().is_none_or(|time| time <= now);
            before("startsAt") && grant["expiresAt"].as_str().is_none_or(|end| now < end) && grant["voidedAt"].is_null()
        });
        let available: i64 = open.map(|grant| number(&grant["remaining"])).sum();
        for window in meter["windows"].as_array().unwrap().iter().filter(|window| !window["max"].is_null()) {
            let lifted = window["lifted"].as_bool().unwrap();
            let (extra, available) = if lifted { (number(&meter["extra"]), available) } else { (0, 0) };
            let (used, drawn) = (number(&window["used"]), number(&window["fromGrants"]));
            let base = number(&window["max"]) + extra;
            let remaining = (base - (used - drawn) - (number(&window["held"]) - number(&window["heldFromGrants"])))
                .max(0)
                + available;
            let limit = base + drawn + number(&window["heldFromGrants"]) + available;
            let name = format!("{} {}", meter["meter"], window["window"]);
            assert_eq!(
                (number(&window["remaining"]), number(&window["limit"])),
                (remaining, limit),
                "{name}: {window}"
            );
            let shown = quota["limits"].as_array().unwrap().iter();
            let shown: Vec<_> =
                shown.filter(|one| one["meter"] == meter["meter"] && one["window"] == window["window"]).collect();
            assert_eq!(shown.len(), 1, "{name}");
            assert_eq!(
                (&shown[0]["remaining"], &shown[0]["limit"]),
                (&window["remaining"], &window["limit"]),
                "{name}"
            );
            checked += 1;
        }
    }
    checked
}

#[test]
fn every_change_shows_in_decisions_at_once_and_explain_adds_up() {
    let (_server, admin) = started();
    let at = |path: &str| format!("/v1/organizations/acme/{path}");
    assert_eq!(state(&admin, "tokens"), [1000, 0, 1000]);
    ask(&admin, "tokens", 400).is(200);
    let mut checked = adds_up(&admin);

    // An override takes the place of the plan's limit; extra and grants come on top of it.
    let set = admin.put(&at("overrides/tokens/billingPeriod"), json!({"max": 500, "reason": "r"})).is(200).json();
    let expected = json!({"meter": "tokens", "window": "billingPeriod", "max": 500, "unlimited": false, "enforcement": "hard", "until": null});
    assert_eq!(set, expected);
    assert_eq!(state(&admin, "tokens"), [500, 400, 100]);
    let extra = admin.put(&at("extra/tokens"), json!({"quantity": 50})).is(200).json();
    assert_eq!(extra, json!({"meter": "tokens", "quantity": 50}));
    assert_eq!(state(&admin, "tokens"), [550, 400, 150]);
    admin.put(&at("extra/tokens"), json!({"quantity": 20})).is(200);
    assert_eq!(state(&admin, "tokens"), [520, 400, 120], "extra is set, not added");
    let granted = admin.post(&at("grants"), json!({"meter": "tokens", "amount": 30, "reason": "sorry"})).is(201).json();
    for (name, value) in [("amount", 30), ("used", 0), ("held", 0), ("remaining", 30), ("priority", 0)] {
        assert_eq!(granted[name], value, "{name}");
    }
    assert_eq!(state(&admin, "tokens"), [550, 400, 150]);
    checked += adds_up(&admin);

    // Use goes to the base first, then to the grant.
    ask(&admin, "tokens", 130).is(200);
    assert_eq!(state(&admin, "tokens"), [550, 530, 20]);
    let grants = admin.list(&at("grants"));
    assert_eq!((&grants[0]["used"], &grants[0]["remaining"]), (&json!(10), &json!(20)));
    checked += adds_up(&admin);
    let id = &grants[0]["id"];
    admin.delete_because(&at(&format!("grants/{id}")), "mistake").is(204);
    assert_eq!(state(&admin, "tokens"), [530, 530, 0], "what a voided grant gave stays used");
    assert!(!admin.list(&at("grants"))[0]["voidedAt"].is_null());
    admin.delete_because(&at("grants/999"), "mistake").expect_problem(404, "not-found");
    checked += adds_up(&admin);

    // Without the override the plan's limit holds again; below what is used nothing is negative.
    admin.put(&at("overrides/tokens/billingPeriod"), json!({"max": 1})).is(200);
    assert_eq!(state(&admin, "tokens"), [31, 530, 0]);
    checked += adds_up(&admin);
    admin.delete(&at("overrides/tokens/billingPeriod")).is(204);
    assert_eq!(state(&admin, "tokens"), [1030, 530, 500]);
    admin.put(&at("overrides/tokens/billingPeriod"), json!({"unlimited": true})).is(200);
    let unlimited = ask(&admin, "tokens", 5000).is(200).json();
    assert_eq!((&unlimited["allowed"], &unlimited["limits"]), (&json!(true), &json!([])));
    checked += adds_up(&admin);
    assert!(checked > 20, "{checked}");
}

#[test]
fn grants_are_drawn_by_priority_then_expiry_then_age() {
    let (_server, admin) = started();
    let grant = |amount: u64, priority: i64, expires: Option<&str>, reason: &str| {
        let body =
            json!({"meter": "tokens", "amount": amount, "priority": priority, "expiresAt": expires, "reason": reason});
        admin.post("/v1/organizations/acme/grants", body).is(201);
    };
    ask(&admin, "tokens", 1000).is(200);
    grant(10, 1, None, "fourth");
    grant(10, 0, None, "third");
    grant(10, 0, Some("2099-01-01T00:00:00Z"), "second");
    grant(10, -1, None, "first");
    for (used, expected) in [(5, "first"), (15, "second"), (25, "third"), (35, "fourth")] {
        ask(&admin, "tokens", if used == 5 { 5 } else { 10 }).is(200);
        let grants = admin.list("/v1/organizations/acme/grants");
        let drawn = grants.iter().filter(|one| one["used"] != 0 && one["remaining"] != 0);
        let drawn: Vec<_> = drawn.map(|one| one["reason"].as_str().unwrap()).collect();
        assert_eq!(drawn, [expected], "after {used}");
        adds_up(&admin);
    }
    let past = json!({"meter": "tokens", "amount": 1, "reason": "r", "expiresAt": "2020-01-01T00:00:00Z"});
    admin.post("/v1/organizations/acme/grants", past).is(422);
    let future = json!({"meter": "tokens", "amount": 7, "reason": "r", "startsAt": "2099-01-01T00:00:00Z"});
    admin.post("/v1/organizations/acme/grants", future).is(201);
    assert_eq!(state(&admin, "tokens"), [1040, 1035, 5], "one that has not begun gives nothing");
    for meter in ["active_users", "storage_bytes"] {
        let body = json!({"meter": meter, "amount": 1, "reason": "r"});
        assert!([201, 422].contains(&admin.post("/v1/organizations/acme/grants", body).status), "{meter}");
    }
}

#[test]
fn a_reset_sets_counters_to_zero_and_reports_keep_the_truth() {
    let (_server, admin) = started();
    ask(&admin, "tokens", 700).is(200);
    ask(&admin, "conversations", 3).is(200);
    ask(&admin, "api_calls", 7).is(200);
    admin.post("/v1/organizations/acme/usage/reset", json!({"meters": ["tokens"], "reason": "r"})).is(200);
    assert_eq!(state(&admin, "tokens"), [1000, 0, 1000]);
    assert_eq!(state(&admin, "conversations"), [3, 3, 0]);
    admin.post("/v1/organizations/acme/usage/reset", json!({"reason": "r"})).is(200);
    assert_eq!(state(&admin, "conversations"), [3, 0, 3]);
    assert_eq!(state(&admin, "api_calls"), [10, 7, 3], "only billing periods and months unless others are named");
    admin.post("/v1/organizations/acme/usage/reset", json!({"windows": ["minute", "day"], "reason": "r"})).is(200);
    assert_eq!(state(&admin, "api_calls"), [10, 0, 10]);
    let usage = admin.get("/v1/usage?organization=acme&meter=tokens&meter=conversations").is(200).json();
    let values: Vec<_> = usage["data"].as_array().unwrap().iter().map(|row| row["value"].clone()).collect();
    assert_eq!(values, [3, 700]);
    adds_up(&admin);
    admin
        .post("/v1/organizations/acme/usage/reset", json!({"meters": ["nothing"], "reason": "r"}))
        .expect_problem(404, "unknown-meter");
}

#[test]
fn a_plan_change_brings_its_limits_and_keeps_the_counters() {
    let (_server, admin) = started();
    ask(&admin, "tokens", 700).is(200);
    admin.put("/v1/organizations/acme/overrides/conversations/billingPeriod", json!({"max": 9})).is(200);
    let change = |body: Value| admin.put("/v1/organizations/acme/plan", body);
    change(json!({"plan": "pro", "keepOverrides": true})).is(200);
    assert_eq!((state(&admin, "tokens"), state(&admin, "conversations")), ([500_000, 700, 499_300], [9, 0, 9]));
    change(json!({"plan": "small"})).is(200);
    assert_eq!((state(&admin, "tokens"), state(&admin, "conversations")), ([1000, 700, 300], [3, 0, 3]));
    change(json!({"plan": "nothing"})).expect_problem(404, "unknown-plan");
    change(json!({"plan": "small", "version": 2})).expect_problem(404, "unknown-plan");
    admin.put("/v1/organizations/nobody/plan", json!({"plan": "pro"})).expect_problem(404, "unknown-organization");
    adds_up(&admin);
}

#[test]
fn an_override_ends_at_its_date_and_knows_its_window() {
    let (_server, admin) = started();
    let at = |path: &str| format!("/v1/organizations/acme/overrides/{path}");
    let set = admin
        .put(&at("tokens/day"), json!({"max": "5", "enforcement": "soft", "until": "2099-01-01T00:00:00Z"}))
        .is(200);
    let body = set.json();
    assert_eq!(
        (&body["max"], &body["enforcement"], &body["until"]),
        (&json!(5), &json!("soft"), &json!("2099-01-01T00:00:00Z"))
    );
    assert!(set.header("etag").is_some());
    let overrun = ask(&admin, "tokens", 6).is(200).json();
    assert_eq!((&overrun["allowed"], &overrun["overage"]), (&json!(true), &json!(1)));
    let quota = admin.get("/v1/organizations/acme/quota").is(200).json();
    let shown =
        quota["limits"].as_array().unwrap().iter().find(|one| one["meter"] == "tokens" && one["window"] == "day");
    assert_eq!(
        shown.map(|one| (&one["source"], &one["until"])),
        Some((&json!("override"), &json!("2099-01-01T00:00:00Z")))
    );
    admin.put(&at("tokens/year"), json!({"max": 5})).is(404);
    admin.put(&at("nothing/day"), json!({"max": 5})).expect_problem(404, "unknown-meter");
    admin.put(&at("storage_bytes/minute"), json!({"max": 5})).is(422);
    admin.put(&at("tokens/day"), json!({"max": 5, "unlimited": true})).expect_problem(422, "validation");
    let over = admin.put(&at("tokens/day"), json!({"max": 5, "until": "2020-01-01T00:00:00Z"}));
    assert_eq!(over.expect_problem(422, "validation")["errors"][0]["pointer"], "#/until");
    let none = admin.put(&at("tokens/day"), json!({"max": 0})).expect_problem(422, "invalid-quantity");
    assert_eq!(none["errors"][0]["pointer"], "#/max");
    admin.delete(&at("tokens/day")).is(204);
    // One that is gone already, or never was: nothing changes.
    admin.delete(&at("tokens/day")).is(204);
}

#[test]
fn what_is_wrong_with_a_grant_a_trial_a_plan_or_a_reset_is_said_where_it_stands() {
    let (_server, admin) = started();
    admin.post("/v1/organizations", json!({"key": "trying", "plan": "free"})).is(201);
    let past = "2020-01-01T00:00:00Z";
    #[rustfmt::skip]
    let cases = [
        ("POST", "acme/grants", json!({"meter": "tokens", "amount": 1, "reason": "r", "expiresAt": past}), "#/expiresAt"),
        ("POST", "acme/grants", json!({"meter": "tokens", "amount": 1, "reason": " "}), "#/reason"),
        ("PUT", "trying/trial", json!({"endsAt": past, "reason": "r"}), "#/endsAt"),
        ("POST", "acme/usage/reset", json!({"meters": [], "reason": "r"}), "#/meters"),
        ("POST", "acme/usage/reset", json!({"windows": [], "reason": "r"}), "#/windows"),
    ];
    for (method, path, body, pointer) in cases {
        let answer = admin.call(method, &format!("/v1/organizations/{path}")).json(&body).send();
        let problem = answer.expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{path} {body}");
        assert!(problem["detail"].as_str().unwrap().starts_with(pointer), "{problem}");
    }
    let version = json!({"plan": "pro", "version": 99});
    let problem = admin.put("/v1/organizations/acme/plan", version).expect_problem(404, "unknown-plan");
    assert!(problem["detail"].as_str().unwrap().contains("no such version"), "{problem}");
}

#[test]
fn what_needs_a_reason_is_refused_without_one_and_its_documented_twin_is_not() {
    let (_server, admin) = started();
    let at = |path: &str| format!("/v1/organizations/acme/{path}");
    ask(&admin, "tokens", 5).is(200);
    admin.post(&at("grants"), json!({"meter": "tokens", "amount": 5, "reason": "sorry"})).is(201);
    let log = || admin.list(&at("audit-log")).len();
    let before = log();
    #[rustfmt::skip]
    let cases = [
        ("PUT",    "lock",        json!({})),
        ("DELETE", "lock",        json!({})),
        ("POST",   "usage/reset", json!({})),
        ("PUT",    "trial",       json!({"endsAt": "2199-01-01T00:00:00Z"})),
        ("DELETE", "grants/1",    json!({})),
        ("POST",   "grants",      json!({"meter": "tokens", "amount": 1})),
        ("POST",   "adjustments", json!({"meter": "tokens", "quantity": 1})),
    ];
    for (method, path, mut body) in cases {
        let send = |body: &Value| admin.call(method, &at(path)).json(body).send();
        let refused = |body: &Value| {
            let problem = send(body).expect_problem(422, "validation");
            assert_eq!(problem["errors"][0]["pointer"], "#/reason", "{method} {path}: {problem}");
            problem["errors"][0]["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(refused(&body), "This is required.", "{method} {path}");
        for (reason, told) in [(" \n".to_owned(), "Say why."), ("x".repeat(4097), "Send at most 4096 bytes.")] {
            body["reason"] = json!(reason);
            assert_eq!(refused(&body), told, "{method} {path}");
        }
    }
    // An absent body is no reason either.
    for (method, path) in [("PUT", "lock"), ("DELETE", "lock"), ("POST", "usage/reset"), ("DELETE", "grants/1")] {
        let problem = admin.call(method, &at(path)).send().expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/reason", "{method} {path}");
    }
    assert_eq!(log(), before, "nothing was changed");
    admin.call("POST", "/internal/org/acme/usage/reset").send().is(200);
    admin.call("POST", "/internal/org/acme/billing/lock").send().is(200);
    assert_eq!(log(), before + 2);
}

#[test]
fn explain_names_the_audit_entries_behind_the_figures() {
    let (_server, admin) = started();
    let actions = || -> Vec<String> {
        let explained = admin.get("/v1/organizations/acme/explain").is(200).json();
        explained["audit"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["action"].as_str().unwrap().to_owned())
            .collect()
    };
    admin.put("/v1/organizations/acme/extra/tokens", json!({"quantity": 5, "reason": "why"})).is(200);
    admin.post("/v1/organizations/acme/grants", json!({"meter": "tokens", "amount": 5, "reason": "sorry"})).is(201);
    admin.put("/v1/organizations/acme/overrides/tokens/day", json!({"max": 5})).is(200);
    let seen = actions();
    for action in ["quota.grant", "credit.grant", "limit.change"] {
        assert_eq!(seen.iter().filter(|one| *one == action).count(), 1, "{action} in {seen:?}");
    }
    // Calls that change nothing write none.
    admin.put("/v1/organizations/acme/extra/tokens", json!({"quantity": 5})).is(200);
    admin.put("/v1/organizations/acme/overrides/tokens/day", json!({"max": 5})).is(200);
    assert_eq!(actions(), seen);
}

#[test]
fn entitlements_show_features_and_limits_and_are_cached_by_their_tag() {
    let (_server, admin) = started();
    let plan = json!({"features": {"sso": true, "seats": 5, "support": "gold"}, "limits": [{"meter": "tokens", "window": "billingPeriod", "max": 10}]});
    admin.put("/v1/plans/featured", plan).is(201);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "featured"})).is(200);
    let path = "/v1/organizations/acme/entitlements";
    let first = admin.get(path).is(200);
    assert_eq!(first.json()["features"], json!({"sso": true, "seats": 5, "support": "gold"}));
    assert_eq!(first.json()["limits"][0]["remaining"], 10);
    let tag = first.header("etag").unwrap().to_owned();
    let again = |tag: &str| admin.call("GET", path).header("if-none-match", tag).send();
    let unchanged = again(&tag).is(304);
    assert_eq!((unchanged.text.as_str(), unchanged.header("etag")), ("", Some(tag.as_str())));
    ask(&admin, "tokens", 1).is(200);
    assert_eq!(again(&tag).is(200).json()["limits"][0]["remaining"], 9);
}
