//! The documented paths (§7): each answer as existing callers read it, each error, and one audit entry for each change.

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

#[path = "documented/clients.rs"]
mod clients;
#[path = "documented/cycle.rs"]
mod cycle;
#[path = "documented/metrics.rs"]
mod metrics;
#[path = "documented/usage.rs"]
mod usage;

const PLANS: &str = "free, starter, pro, enterprise";

/// An organization `acme` on the free plan.
fn started() -> (Server, Client) {
    started_with(&[])
}

fn started_with(settings: &[(&str, &str)]) -> (Server, Client) {
    let server = Server::with(settings);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    (server, admin)
}

fn used(client: &Client, meter: &str, quantity: u64) {
    let body = json!({"organization": "acme", "meter": meter, "quantity": quantity});
    assert_eq!(client.post("/v1/consume", body).is(200).json()["allowed"], true, "{meter}");
}

fn organization(client: &Client) -> Value {
    client.get("/v1/organizations/acme").is(200).json()
}

/// The audit log, newest first.
fn log(client: &Client) -> Vec<Value> {
    client.get("/internal/org/acme/audit-log").is(200).json()["entries"].as_array().unwrap().clone()
}

/// Runs a call and answers the entry that it wrote. Repeats it: that changes nothing and writes none.
fn logged(client: &Client, call: impl Fn() -> Value) -> (Value, Value) {
    let before = log(client).len();
    let answer = call();
    let entries = log(client);
    assert_eq!(entries.len(), before + 1, "{answer}");
    assert_eq!((call(), log(client).len()), (answer.clone(), before + 1), "the repeat");
    (answer, entries[0].clone())
}

/// What `/internal/org/acme/usage` answers, with conversations and messages used, and what is extra of both.
fn month(client: &Client, used: [u64; 2], extra: [u64; 2], locked: bool) -> Value {
    let org = organization(client);
    json!({
        "orgId": "acme",
        "month": org["currentPeriod"]["start"].as_str().unwrap()[..7],
        "usage": {"conversations": used[0], "messages": used[1]},
        "limits": {
            "maxConversations": 100 + extra[0], "maxMessages": 1000 + extra[1],
            "extraConversationQuota": extra[0], "extraMessageQuota": extra[1],
        },
        "nextResetDate": org["nextResetDate"],
        "locked": locked,
    })
}

#[test]
fn internal_usage_is_shown_reset_and_extended() {
    let (_server, admin) = started();
    let path = |below: &str| format!("/internal/org/acme/{below}");
    used(&admin, "conversations", 3);
    used(&admin, "messages", 40);
    assert_eq!(admin.get(&path("usage")).is(200).json(), month(&admin, [3, 40], [0, 0], false));

    let grant = |body: Value| move |client: &Client| client.post("/internal/org/acme/usage/grant-quota", body.clone());
    let both = grant(json!({"extraConversations": 5, "extraMessages": 70, "reason": "a fair"}));
    let (answer, entry) = logged(&admin, || both(&admin).is(200).json());
    assert_eq!(answer, month(&admin, [3, 40], [5, 70], false));
    let expected = json!({
        "id": 2, "orgId": "acme", "actor": "key:administrator", "action": "quota.grant", "createdAt": entry["createdAt"],
        "details": {
            "before": {"conversations.extra": 0, "messages.extra": 0},
            "after": {"conversations.extra": 5, "messages.extra": 70},
            "reason": "a fair",
        },
    });
    assert_eq!(entry, expected);
    // It is set, not added, and what is absent stays.
    let one = grant(json!({"extraMessages": 7}));
    let (answer, entry) = logged(&admin, || one(&admin).is(200).json());
    assert_eq!(answer, month(&admin, [3, 40], [5, 7], false));
    assert_eq!(entry["details"]["after"], json!({"meter": "messages", "extra": 7}));
    for nothing in [String::new(), "{}".to_owned(), json!({"extraMessages": null}).to_string()] {
        assert_eq!(admin.post(&path("usage/grant-quota"), nothing).is(200).json(), answer);
    }
    assert_eq!(log(&admin).len(), 3);

    let (answer, entry) = logged(&admin, || admin.call("POST", &path("usage/reset")).send().is(200).json());
    assert_eq!(answer, month(&admin, [0, 0], [5, 7], false));
    assert_eq!(entry["action"], "usage.reset");
    assert_eq!(entry["details"]["before"]["messages.billingPeriod"], 40);
    let id = organization(&admin)["id"].as_str().unwrap().to_owned();
    assert_eq!(admin.get(&format!("/internal/org/{id}/usage")).is(200).json(), answer, "by id too");
}

#[test]
fn null_is_unlimited_and_what_a_plan_does_not_allow_is_zero() {
    let (_server, admin) = started();
    let limits = || admin.get("/internal/org/acme/usage").is(200).json()["limits"].clone();
    admin.put("/v1/organizations/acme/plan", json!({"plan": "enterprise"})).is(200);
    assert_eq!((&limits()["maxConversations"], &limits()["maxMessages"]), (&Value::Null, &Value::Null));
    let plan = json!({"limits": [{"meter": "messages", "window": "month", "max": 5}], "otherMeters": "none"});
    admin.put("/v1/plans/narrow", plan).is(201);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "narrow"})).is(200);
    assert_eq!((&limits()["maxConversations"], &limits()["maxMessages"]), (&json!(0), &json!(5)));
}

#[test]
fn internal_billing_is_locked_and_unlocked() {
    let (_server, admin) = started();
    let call = |to: &str, body: &str| admin.post(&format!("/internal/org/acme/billing/{to}"), body).is(200).json();
    for (to, locked) in [("lock", true), ("unlock", false)] {
        let (answer, entry) = logged(&admin, || call(to, r#"{"reason": "unpaid"}"#));
        assert_eq!(answer, json!({"orgId": "acme", "locked": locked}));
        assert_eq!(
            (&entry["action"], &entry["details"]["reason"]),
            (&json!(format!("billing.{to}")), &json!("unpaid"))
        );
        assert_eq!(entry["details"]["after"]["locked"], locked);
        assert_eq!(admin.get("/internal/org/acme/usage").is(200).json()["locked"], locked);
    }
    call("lock", "");
    assert_eq!(call("unlock", r#"{"reason": null}"#)["locked"], false);
}

#[test]
fn the_audit_log_is_newest_first_and_bounded() {
    let (_server, admin) = started();
    for extra in 1..=4 {
        admin.post("/internal/org/acme/usage/grant-quota", json!({"extraMessages": extra})).is(200);
    }
    let ids = |query: &str| -> Vec<Value> {
        let answer = admin.get(&format!("/internal/org/acme/audit-log{query}")).is(200).json();
        answer["entries"].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect()
    };
    assert_eq!(ids(""), [5, 4, 3, 2, 1]);
    assert_eq!(ids("?limit=2"), [5, 4]);
    for wrong in ["?limit=0", "?limit=201", "?limit=x"] {
        let text = admin.get(&format!("/internal/org/acme/audit-log{wrong}")).expect_error_text(422);
        assert_eq!(text, "limit: Send a whole number from 1 to 200.");
    }
}

#[test]
fn the_portal_shows_an_organization_its_status() {
    let (server, admin) = started();
    used(&admin, "messages", 4);
    admin.post("/internal/org/acme/usage/grant-quota", json!({"extraMessages": 6})).is(200);
    let org = organization(&admin);
    let expected = json!({
        "orgId": "acme", "plan": "free", "status": "trial", "locked": false,
        "currentPeriod": org["currentPeriod"],
        "usage": {"conversations": 0, "messages": 4},
        "limits": {"maxConversations": 100, "maxMessages": 1006},
        "nextResetDate": org["nextResetDate"],
        "extraConversationQuota": 0, "extraMessageQuota": 6,
        "trialEndsAt": org["trialEndsAt"],
    });
    let key = |scopes: &[&str], organization: Option<&str>| {
        let body = json!({"name": "k", "scopes": scopes, "organization": organization});
        server.client(admin.post("/v1/api-keys", body).is(201).json()["key"].as_str().unwrap())
    };
    let (bound, unbound) = (key(&["read"], Some("acme")), key(&["read"], None));
    assert_eq!(bound.get("/portal/billing/status").is(200).json(), expected);
    for client in [&bound, &unbound, &admin] {
        assert_eq!(client.get("/portal/billing/status?org=acme").is(200).json(), expected);
    }
    assert_eq!(bound.get("/portal/billing/status?org=nobody").expect_error_text(404), "Organization not found");
    let unnamed = unbound.get("/portal/billing/status").expect_error_text(422);
    assert_eq!(unnamed, "org: Name the organization, such as ?org=acme.");
    let forbidden = key(&["consume"], Some("acme")).get("/portal/billing/status").expect_error_text(403);
    assert_eq!(forbidden, "This needs a key with scope read, or a member with role viewer.");
    server.stranger().get("/portal/billing/status").expect_error_text(401);
}

#[test]
fn an_error_is_exactly_its_text() {
    let (server, admin) = started_with(&[("METERGATE_MAX_BODY_BYTES", "65536")]);
    let (grant, credits) = ("/internal/org/acme/usage/grant-quota", "/api/admin/clients/acme/credits");
    let quota = "/api/admin/clients/acme/quota";
    let whole = "Send a whole number above zero, or null for unlimited.";
    #[rustfmt::skip]
    let cases = [
        ("POST", grant,   "{",                                     400, "The body is not valid JSON: EOF while parsing an object (line 1, column 1).".to_owned()),
        ("POST", grant,   r#"{"extraMessage": 1}"#,                422, "extraMessage: This is not known here; known: one of extraConversations, extraMessages, reason.".to_owned()),
        ("POST", grant,   r#"{"extraMessages": -1}"#,              422, "extraMessages: Not a quantity of this meter: below zero; corrections are made by adjustments.".to_owned()),
        ("POST", grant,   r#"{"extraMessages": true}"#,            422, "extraMessages: Send a decimal number, or a string with one; invalid type: boolean `true`.".to_owned()),
        ("PUT",  quota,   r#"{"plan": "trial"}"#,                  422, format!("plan: Send one of {PLANS}.")),
        ("PUT",  quota,   r#"{"monthlyGenerationLimit": 0}"#,      422, format!("monthlyGenerationLimit: {whole}")),
        ("PUT",  quota,   r#"{"monthlyGenerationLimit": 1.5}"#,    422, format!("monthlyGenerationLimit: {whole}")),
        ("PUT",  quota,   r#"{"storageQuotaMb": -5}"#,             422, format!("storageQuotaMb: {whole}")),
        ("PUT",  quota,   r#"{"storageQuotaMb": 8796093022208}"#,  422, format!("storageQuotaMb: {whole}")),
        ("POST", credits, "",                                      422, "action: This is required.".to_owned()),
        ("POST", credits, r#"{"action": "grant"}"#,                422, "amount: Send an amount above zero.".to_owned()),
        ("POST", credits, r#"{"action": "grant", "amount": 0}"#,   422, "amount: Send an amount above zero.".to_owned()),
        ("POST", credits, r#"{"action": "give"}"#,                 422, "action: Send `grant` or `reset`; unknown variant `give`.".to_owned()),
    ];
    for (method, path, body, status, text) in cases {
        let answer = admin.call(method, path).json(body).send();
        assert_eq!(answer.expect_error_text(status), text, "{method} {path} {body}");
    }
    for (method, path) in [
        ("GET", "/internal/org/nobody/usage"),
        ("POST", "/internal/org/nobody/usage/reset"),
        ("POST", "/internal/org/no%20body/billing/lock"),
        ("GET", "/internal/org/nobody/audit-log"),
        ("GET", "/api/admin/usage?tenant=nobody"),
        ("GET", "/api/admin/usage/nobody"),
        ("PUT", "/api/admin/clients/nobody/quota"),
        ("GET", "/api/admin/clients/nobody/quota"),
    ] {
        assert_eq!(admin.call(method, path).send().expect_error_text(404), "Organization not found", "{method} {path}");
    }
    let unknown = admin.post("/api/admin/clients/nobody/credits", json!({"action": "reset"}));
    assert_eq!(unknown.expect_error_text(404), "Organization not found");
    let long = json!({"reason": "x".repeat(5000)});
    let text = admin.post("/internal/org/acme/billing/lock", long).expect_error_text(422);
    assert_eq!(text, "reason: Send at most 4096 bytes.");
    let stranger = server.stranger().post(grant, "x".repeat(100_000));
    assert_eq!(stranger.header("www-authenticate"), Some("Bearer"));
    stranger.expect_error_text(401);
    // On a connection of its own: it is closed with its body unread.
    let text = server.admin().post(grant, " ".repeat(100_000)).expect_error_text(413);
    assert_eq!(text, "A body has at most 65536 bytes here.");
    assert_eq!(log(&admin).len(), 1, "nothing of that changed anything");
}

#[test]
fn a_repeat_under_an_idempotency_key_gets_the_first_answer() {
    let (_server, admin) = started();
    let id = organization(&admin)["id"].as_str().unwrap().to_owned();
    let send = |org: &str, amount: u64| {
        let body = json!({"action": "grant", "amount": amount});
        let call = admin.call("POST", &format!("/api/admin/clients/{org}/credits"));
        call.header("idempotency-key", "\"k-1\"").json(body).send()
    };
    let first = send("acme", 5).is(200);
    for org in ["acme", &id] {
        let again = send(org, 5).is(200);
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text), "{org}");
    }
    let other = send("acme", 6).expect_error_text(422);
    assert_eq!(other, "This key was used with another request before. Use a new key for a new request.");
    assert_eq!(log(&admin).len(), 2);
}
