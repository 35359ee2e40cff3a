//! What a refusal says, by its body, its status and its headers (D7, D9, D10).

use serde_json::{Value, json};

use super::client::Answer;
use super::consume::{ask, small_limits, started};
use super::server::Server;

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
        let problem = native.clone().expect_problem(status, code);
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
    let problem = admin.post("/v1/consume?status=native", both).expect_problem(402, "quota-exceeded");
    assert_eq!(problem["decision"]["data"].as_array().unwrap().len(), 2);
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
    let explained = admin.get("/v1/organizations/acme/explain").is(200).json();
    let entry = explained["audit"].as_array().unwrap().iter().find(|entry| entry["action"] == "billing.lock").unwrap();
    assert_eq!(entry["reason"], "fraud");
    let refused = ask(&admin, "tokens", 1).is(200).json();
    assert_eq!(refused["reason"], "organization-locked");
    // The lock comes before everything else that is in the way.
    assert_eq!(ask(&admin, "errors", 1).json()["reason"], "organization-locked");
    assert_eq!(ask(&admin, "tokens", 1001).json()["reason"], "organization-locked");
    admin.delete_because("/v1/organizations/acme/lock", "r").is(204);
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

/// Whoever asks for what cannot be has used nothing: no organization is made for it.
#[test]
fn what_is_refused_creates_no_organization() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    let event = |id: &str, time: &str| {
        json!({"specversion": "1.0", "id": id, "source": "/api", "type": "tokens", "subject": "new", "time": time,
            "data": {"quantity": 1}})
    };
    let twice = json!([{"meter": "tokens", "quantity": 1}, {"meter": "tokens", "quantity": 1}]);
    admin.post("/v1/consume", json!({"organization": "new", "together": twice})).expect_problem(422, "validation");
    let sent = admin
        .call("POST", "/v1/events")
        .body("application/cloudevents+json", event("e-1", "2190-01-01T00:00:00Z").to_string());
    assert_eq!(sent.send().is(200).json()["rejected"].as_array().unwrap().len(), 1);
    admin.post("/v1/consume", json!({"organization": "new", "meter": "nothing"})).expect_problem(404, "unknown-meter");
    admin.get("/v1/organizations/new").expect_problem(404, "unknown-organization");
    let both = json!([event("e-1", "2190-01-01T00:00:00Z"), event("e-2", "2026-01-01T00:00:00Z")]).to_string();
    let sent = admin.call("POST", "/v1/events").body("application/cloudevents-batch+json", both).send().is(200).json();
    assert_eq!((&sent["accepted"], sent["rejected"].as_array().unwrap().len()), (&json!(1), 1));
    admin.get("/v1/organizations/new").is(200);
    let log = admin.list("/v1/organizations/new/audit-log");
    assert_eq!(log.iter().filter(|entry| entry["action"] == "organization.create").count(), 1);
}
