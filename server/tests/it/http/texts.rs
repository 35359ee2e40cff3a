//! Texts that no store should get: they are refused where they come in, on either engine, and cost nobody else anything.

use serde_json::{Value, json};

use super::server::Server;

#[test]
fn no_text_with_a_zero_in_it_is_taken_and_none_costs_a_commit() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let below = |path: &str| format!("/v1/organizations/acme/{path}");
    let (zero, note) = ("a\0b", json!({"action": "x", "category": "chat"}));
    let noted = |member: &str, value: Value| {
        let mut note = note.clone();
        note[member] = value;
        note
    };
    let bodies = [
        ("PUT", below("lock"), json!({"reason": zero}), "#/reason"),
        ("PUT", below("extra/messages"), json!({"quantity": 3, "reason": zero}), "#/reason"),
        ("POST", below("grants"), json!({"meter": "messages", "amount": 5, "reason": zero}), "#/reason"),
        ("POST", below("adjustments"), json!({"meter": "messages", "quantity": 5, "reason": zero}), "#/reason"),
        ("POST", below("audit-log"), noted("reason", json!(zero)), "#/reason"),
        ("POST", below("audit-log"), noted("details", json!({"a": [zero]})), "#/details/a/0"),
        ("POST", below("audit-log"), noted("after", json!({zero: 1})), "#/after"),
        ("PATCH", "/v1/organizations/acme".to_owned(), json!({"metadata": {"a": zero}}), "#/metadata/a"),
        ("PATCH", "/v1/settings".to_owned(), json!({"contact": zero}), "#/contact"),
        ("POST", "/v1/api-keys".to_owned(), json!({"name": zero, "scopes": ["read"]}), "#/name"),
    ];
    for (method, path, body, pointer) in bodies {
        let problem = admin.call(method, &path).json(&body).send().expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{method} {path} {body}");
    }
    let after_a_zero = "010061";
    let named = [
        ("GET", "/v1/organizations?search=%00".to_owned(), 422),
        ("GET", format!("/v1/organizations?cursor={after_a_zero}"), 422),
        ("GET", format!("/v1/usage?cursor={after_a_zero}"), 422),
        ("GET", "/v1/audit-log?actor=%00".to_owned(), 422),
        ("GET", "/v1/organizations/%00".to_owned(), 404),
        ("PUT", "/v1/imports/a%00b".to_owned(), 404),
        ("POST", "/v1/stripe-events/%00/retry".to_owned(), 404),
    ];
    for (method, path, status) in named {
        let answer = admin.call(method, &path).json(json!({"rowsDone": 1, "digest": "00"})).send();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
    assert_eq!(admin.list(&below("audit-log")).len(), 1, "nothing of it was written");
    let log = server.log();
    assert!(!log.contains("a commit failed") && !log.contains("a read failed"), "{log}");
    // A backslash before a `u` is none.
    admin.post(&below("audit-log"), noted("reason", json!("a\\u0000b"))).is(201);
}

#[test]
fn what_is_out_of_bounds_is_refused_with_its_bounds() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    for seconds in [-1, 0, 86_401, i64::MAX, i64::MIN] {
        let body = json!({"organization": "acme", "meter": "tokens", "ttlSeconds": seconds});
        let problem = admin.post("/v1/reservations", body).expect_problem(422, "validation");
        let fault = &problem["errors"][0];
        assert_eq!(fault["pointer"], "#/ttlSeconds", "{seconds}");
        assert!(fault["detail"].as_str().unwrap().contains("1 second to 24 hours"), "{fault}");
    }
    let path = "/v1/organizations/acme/overrides/messages/year";
    let problem = admin.put(path, json!({"max": 5})).expect_problem(404, "not-found");
    assert!(problem["detail"].as_str().unwrap().contains("month, billingPeriod"), "{problem}");
}

#[test]
fn who_needs_no_credential_is_told_that_a_body_is_too_large_and_not_to_sign_in() {
    let server = Server::start();
    let large = "x".repeat(70_000);
    let form = json!({"email": "ada@example.com", "password": large, "name": "Ada", "organizationName": "Ada"});
    for path in ["/api/auth/register", "/api/auth/login"] {
        server.stranger().post(path, &form).expect_error_text(413);
    }
    server.stranger().post("/v1/sessions", json!({"token": large})).expect_problem(413, "payload-too-large");
    server.stranger().post("/v1/organizations", json!({"key": large})).expect_problem(401, "unauthorized");
}
