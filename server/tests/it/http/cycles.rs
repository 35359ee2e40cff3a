//! Cycles, trials, plans at the period's end and test clocks over HTTP (P3–P6, P9, P10).

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

/// A test organization `acme` on the shipped `plan`, whose clock shows `now`.
fn started(plan: &str, now: &str) -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin
        .post("/v1/organizations", json!({"key": "acme", "plan": plan, "timeZone": "Europe/Berlin", "test": true}))
        .is(201);
    let made = admin.put("/v1/organizations/acme/clock", json!({"now": now})).is(200).json();
    assert_eq!((&made["clock"], &made["createdAt"]), (&json!(now), &json!(now)));
    (server, admin)
}

fn used(client: &Client, meter: &str) -> Value {
    let usage = client.get("/v1/organizations/acme/usage").is(200).json();
    usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == meter).unwrap()["used"].clone()
}

fn consume(client: &Client, meter: &str, quantity: i64) -> Value {
    client.post("/v1/consume", json!({"organization": "acme", "meter": meter, "quantity": quantity})).is(200).json()
}

fn clock(client: &Client, now: &str) -> Value {
    client.put("/v1/organizations/acme/clock", json!({"now": now})).is(200).json()
}

#[test]
fn seconds_to_wait_follow_the_organizations_own_clock_in_body_and_headers_alike() {
    let (_server, admin) = started("pro", "2025-01-31T00:00:00Z");
    consume(&admin, "tokens", 500_000);
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 1});
    for path in ["/v1/consume", "/v1/check", "/v1/consume?status=native"] {
        let refused = admin.post(path, &body);
        let told = refused.json();
        let decision = if told["decision"].is_object() { &told["decision"] } else { &told };
        // 31 January to 28 February in Berlin.
        assert_eq!(decision["retryAfterSeconds"], 28 * 86_400, "{path}: {told}");
        assert_eq!(refused.header("retry-after"), Some("2419200"), "{path}");
        assert_eq!(refused.header("ratelimit"), Some(r#""tokens-billingPeriod";r=0;t=2419200"#), "{path}");
    }
}

#[test]
fn moving_the_cycle_moves_dates_and_the_preview_says_which() {
    let (_server, admin) = started("pro", "2026-11-22T11:06:00Z");
    consume(&admin, "tokens", 40);
    let path = "/v1/organizations/acme/billing-cycle";
    let before = admin.get(path).is(200).json();
    assert_eq!(before["resets"].as_array().unwrap().len(), 12);
    assert_eq!(
        (&before["resets"][0], &before["nextResetDate"]),
        (&json!("2026-12-22T11:06:00Z"), &json!("2026-12-22T11:06:00Z"))
    );
    let preview = admin.get(&format!("{path}?billingCycleStartDate=2026-11-01")).is(200).json();
    assert_eq!(admin.get(path).is(200).json(), before, "a preview changes nothing");
    let moved = admin.patch(path, json!({"billingCycleStartDate": "2026-11-01", "reason": "asked"})).is(200).json();
    assert_eq!(moved, preview);
    assert_eq!(moved["currentPeriod"], json!({"start": "2026-10-31T23:00:00Z", "end": "2026-11-30T23:00:00Z"}));
    assert_eq!(moved["lastReset"], "2026-10-31T23:00:00Z", "midnight in Berlin");
    let shown = admin.get("/v1/organizations/acme").is(200).json();
    assert_eq!(shown["currentPeriod"], moved["currentPeriod"]);
    assert_eq!(shown["nextResetDate"], moved["nextResetDate"]);
    assert_eq!(used(&admin, "tokens"), 40);
    clock(&admin, "2026-11-30T23:00:00Z");
    assert_eq!(used(&admin, "tokens"), 0);
    let wrong = [json!({"billingCycleStartDate": "soon"}), json!({"billingCycleStartDate": "2029-01-01"})];
    for body in wrong {
        let problem = admin.patch(path, body).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/billingCycleStartDate");
    }
}

/// The boundary that the new zone has within hours of the stored end is none, in the preview and when it comes.
#[test]
fn after_a_change_of_zone_the_resets_come_as_they_were_shown() {
    let (_server, admin) = started("pro", "2026-11-22T11:06:00Z");
    consume(&admin, "tokens", 40);
    admin.patch("/v1/organizations/acme", json!({"timeZone": "America/New_York"})).is(200);
    let path = "/v1/organizations/acme/billing-cycle";
    let resets = admin.get(path).is(200).json()["resets"].clone();
    assert_eq!(resets[0], "2026-12-22T11:06:00Z", "the open period keeps its end");
    assert_eq!(resets[1], "2027-01-22T17:06:00Z", "12:06 in New York, as it was in Berlin");
    for (reset, next) in resets.as_array().unwrap().iter().zip(&resets.as_array().unwrap()[1..]) {
        let moved = clock(&admin, reset.as_str().unwrap());
        assert_eq!(moved["currentPeriod"], json!({"start": reset, "end": next}));
    }
}

#[test]
fn a_lock_says_why() {
    let (_server, admin) = started("pro", "2026-11-22T11:06:00Z");
    admin.put("/v1/organizations/acme/lock", json!({"reason": "unpaid"})).is(200);
    let locked = admin.get("/v1/organizations/acme").is(200).json();
    assert_eq!((&locked["locks"][0]["cause"], &locked["locks"][0]["reason"]), (&json!("operator"), &json!("unpaid")));
}

#[test]
fn a_test_clock_goes_through_a_trial_a_reset_and_a_plan_at_the_periods_end() {
    let (_server, admin) = started("trial", "2026-01-31T08:00:00Z");
    assert_eq!(admin.get("/v1/organizations/acme").is(200).json()["trialEndsAt"], "2026-03-02T08:00:00Z");
    assert_eq!(consume(&admin, "tokens", 10)["allowed"], true);
    assert_eq!(clock(&admin, "2026-02-28T08:00:00Z")["currentPeriod"]["start"], "2026-02-28T08:00:00Z");
    assert_eq!(used(&admin, "tokens"), 0);
    assert_eq!(clock(&admin, "2026-03-02T08:00:00Z")["locks"][0]["cause"], "trial");
    assert_eq!(consume(&admin, "tokens", 10)["reason"], "trial-expired");
    let extended = json!({"endsAt": "2026-03-10T00:00:00Z", "reason": "they asked"});
    let body = admin.put("/v1/organizations/acme/trial", extended).is(200).json();
    assert_eq!((&body["status"], &body["locked"]), (&json!("trial"), &json!(false)));
    assert_eq!(consume(&admin, "tokens", 10)["allowed"], true);
    let later = admin.put("/v1/organizations/acme/plan", json!({"plan": "pro", "at": "periodEnd"})).is(200).json();
    assert_eq!((&later["plan"], &later["scheduledPlan"]["plan"]), (&json!("trial"), &json!("pro")));
    assert_eq!(later["scheduledPlan"]["at"], later["nextResetDate"]);
    let moved = clock(&admin, "2026-03-31T09:00:00Z");
    assert_eq!(
        (&moved["plan"], &moved["scheduledPlan"], &moved["locked"]),
        (&json!("pro"), &Value::Null, &json!(false))
    );
    admin
        .put("/v1/organizations/acme/clock", json!({"now": "2026-03-01T00:00:00Z"}))
        .expect_problem(409, "clock-runs-back");
    admin.post("/v1/organizations", json!({"key": "live", "plan": "free"})).is(201);
    admin
        .put("/v1/organizations/live/clock", json!({"now": "2026-03-01T00:00:00Z"}))
        .expect_problem(409, "not-a-test-organization");
    let live = consume_of(&admin, "live");
    assert_eq!(live["allowed"], true, "a live organization shares the server and not the clock");
}

fn consume_of(client: &Client, organization: &str) -> Value {
    client.post("/v1/consume", json!({"organization": organization, "meter": "tokens"})).is(200).json()
}

/// Deduplication follows wall time: to an organization that lives long ago an event still counts once.
#[test]
fn events_of_the_past_count_once_in_an_organization_of_the_past() {
    let (mut server, admin) = started("pro", "2019-05-01T00:00:00Z");
    let event = json!({"specversion": "1.0", "id": "e-1", "source": "/then", "type": "tokens", "subject": "acme", "data": {"quantity": 5}});
    let record = |client: &Client| {
        client.call("POST", "/v1/events").body("application/cloudevents+json", event.to_string()).send().is(200).json()
    };
    assert_eq!(record(&admin)["accepted"], 1);
    assert_eq!(record(&admin)["duplicates"], 1);
    server.kill();
    server.start_again();
    let admin = server.admin();
    assert_eq!(record(&admin)["duplicates"], 1);
    assert_eq!(used(&admin, "tokens"), 5);
    let events = admin.list("/v1/events?organization=acme");
    assert_eq!((events.len(), &events[0]["time"]), (1, &json!("2019-05-01T00:00:00Z")));
}

#[test]
fn a_trial_ends_in_the_audit_log_though_nobody_calls() {
    let server = Server::with(&[("METERGATE_SWEEP_SECONDS", "1")]);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "free"})).is(201);
    let soon = metergate::clock::wall().plus(4 * metergate_rules::time::SECOND).to_string();
    admin.put("/v1/organizations/acme/trial", json!({"endsAt": soon, "reason": "r"})).is(200);
    // The audit log shows what is written, not what would be: only a command writes it.
    for _ in 0..600 {
        let ended = admin.get("/v1/organizations/acme/audit-log?action=trial.end").is(200).json();
        if let [entry] = ended["data"].as_array().unwrap().as_slice() {
            assert_eq!((&entry["actor"], &entry["time"]), (&json!("system"), &json!(soon)));
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the end of the trial was never written");
}

#[test]
fn the_next_reset_stands_everywhere_that_use_is_shown() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let next = admin.get("/v1/organizations/acme").is(200).json()["nextResetDate"].clone();
    assert!(next.is_string());
    #[rustfmt::skip]
    let cases = [
        ("/v1/organizations/acme/usage",         "/nextResetDate"),
        ("/v1/organizations/acme/quota",         "/nextResetDate"),
        ("/v1/organizations/acme/entitlements",  "/nextResetDate"),
        ("/v1/organizations/acme/explain",       "/nextResetDate"),
        ("/v1/organizations/acme/billing-cycle", "/nextResetDate"),
        ("/internal/org/acme/usage",             "/nextResetDate"),
        ("/portal/billing/status?org=acme",      "/nextResetDate"),
        ("/api/admin/clients/acme/quota",        "/quota/nextResetDate"),
    ];
    for (path, pointer) in cases {
        assert_eq!(admin.get(path).is(200).json().pointer(pointer), Some(&next), "{path}");
    }
}
