//! What a request asks for beside its body: it is done, or refused in words; nothing is passed over in silence.

use serde_json::{Value, json};

use super::server::Server;

#[test]
fn whatever_answers_a_quantity_answers_it_as_a_string_where_that_is_asked_for() {
    let server = Server::with(&[]);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let cases = [
        ("POST", "adjustments", json!({"meter": "messages", "quantity": 7, "reason": "r"}), "/quantity", "7"),
        ("PUT", "overrides/messages/month", json!({"max": 9_007_199_254_740_993_i64}), "/max", "9007199254740993"),
        ("PUT", "extra/messages", json!({"quantity": 5}), "/quantity", "5"),
        ("POST", "grants", json!({"meter": "messages", "amount": 3, "reason": "r"}), "/remaining", "3"),
    ];
    for (method, below, body, pointer, figure) in cases {
        let path = format!("/v1/organizations/acme/{below}");
        let asked = |query: &str| admin.call(method, &format!("{path}{query}")).json(&body).send();
        for query in ["?numbers=float", "?numbers=string&numbers=string", "?number=string"] {
            asked(query).expect_problem(422, "validation");
        }
        assert_eq!(asked("?numbers=string").raw(pointer), format!("{figure:?}"), "{method} {below}");
        assert_eq!(asked("").raw(pointer), figure, "{method} {below}");
    }
    let standing = admin.get("/v1/organizations/acme/usage").is(200).json();
    let of = |key: &str| standing["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == key).cloned();
    assert_eq!(of("messages").unwrap()["used"], 14, "what was refused changed nothing: {standing}");
    // Definitions are answered as they are taken, so there it is refused.
    for path in ["/v1/prices", "/v1/plans", "/v1/plans/pro"] {
        let problem = admin.get(&format!("{path}?numbers=string")).expect_problem(422, "validation");
        let fault = &problem["errors"][0];
        assert_eq!(fault["pointer"], "?numbers", "{path}");
        assert!(fault["detail"].as_str().unwrap().starts_with("This is not known here; known: "), "{path}: {fault}");
    }
}

#[test]
fn what_is_wrong_with_a_query_is_said_once() {
    let server = Server::start();
    let admin = server.admin();
    let problem = admin.get("/v1/usage?granularity=week").expect_problem(422, "validation");
    assert_eq!(problem["detail"], "?granularity: must be hour, day, month or total.");
    let lists = ["plans", "meters", "api-keys", "administrators", "webhook-endpoints"];
    for list in lists {
        for (query, detail) in [
            ("bogus=1", "?bogus: This is not known here; known: limit, cursor"),
            ("limit=1&limit=2", "?limit: Send this once."),
        ] {
            let problem = admin.get(&format!("/v1/{list}?{query}")).expect_problem(422, "validation");
            assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{list}?{query}: {problem}");
        }
    }
}

#[test]
fn a_body_that_is_encoded_is_415_and_says_so() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let event =
        json!([{"specversion": "1.0", "id": "a", "source": "s", "type": "tokens", "subject": "acme"}]).to_string();
    let consume = json!({"organization": "acme", "meter": "tokens"}).to_string();
    let cases = [
        ("POST", "/v1/events", "application/cloudevents-batch+json", event),
        ("POST", "/v1/consume", "application/json", consume),
        ("PATCH", "/v1/organizations/acme", "application/json", json!({"name": "A"}).to_string()),
    ];
    for (method, path, kind, body) in cases {
        let sent =
            |coding: &str| admin.call(method, path).header("content-encoding", coding).body(kind, body.clone()).send();
        for coding in ["gzip", "br", "identity, gzip"] {
            let problem = sent(coding).expect_problem(415, "unsupported-media-type");
            assert!(problem["detail"].as_str().unwrap().contains("without Content-Encoding"), "{problem}");
        }
        sent("Identity").is(200);
    }
    admin.call("GET", "/v1/me").header("content-encoding", "gzip").send().is(200);
    let used = admin.get("/v1/organizations/acme/usage").is(200).json();
    let tokens = used["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "tokens").cloned();
    assert_eq!(tokens.unwrap()["used"], 2, "{used}");
}

#[test]
fn what_can_be_no_name_and_no_policy_is_told_what_it_may_be() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    for subject in ["new o", &"x".repeat(129)] {
        let event = json!({"specversion": "1.0", "id": "a", "source": "s", "type": "tokens", "subject": subject});
        let call = admin.call("POST", "/v1/events").body("application/cloudevents+json", event.to_string());
        let rejected = call.send().is(200).json()["rejected"][0].clone();
        assert_eq!(rejected["reason"], "unknown-organization");
        assert!(rejected["detail"].as_str().unwrap().contains("it must be"), "{rejected}");
    }
    for policy in [json!("safe"), json!("safe(2)"), json!({"deny": 1}), Value::Null] {
        let problem =
            admin.put("/v1/plans/mine", json!({"degraded": {"tokens": policy}})).expect_problem(422, "validation");
        let fault = &problem["errors"][0];
        assert_eq!(fault["pointer"], "#/degraded/tokens");
        let detail = fault["detail"].as_str().unwrap();
        assert!(detail.starts_with(r#"Send "deny", "allow" or {"safe": <quantity>};"#), "{fault}");
    }
    let plan = json!({"degraded": {"tokens": {"safe": 2}, "messages": "allow"}});
    assert_eq!(admin.put("/v1/plans/mine", &plan).is(201).json()["degraded"], plan["degraded"]);
}
