//! Subscriptions by Stripe (P7): its webhooks with an API key and without, what follows from them, and ways to pay.

use std::time::Duration;

use metergate::clock::Clock;
use metergate_rules::time::{SECOND, Time};
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::people::{join, sign_up};
use super::server::{Server, free_address};

#[path = "stripe/asked.rs"]
mod asked;
#[path = "stripe/converges.rs"]
mod converges;
#[path = "stripe/fake.rs"]
mod fake;
#[path = "stripe/official.rs"]
mod official;
#[path = "stripe/paying.rs"]
mod paying;

use fake::{SECRET, event, signed};

/// A day in seconds.
const DAY: i64 = 86_400;
/// How many times as long as a quiet machine a busy one takes.
const BUSY: u64 = 6;

/// Seconds since 1970.
fn now() -> i64 {
    Clock::start().now().micros() / SECOND
}

/// A server that takes webhooks and asks nobody, with two plans that cost something.
fn without_key() -> Server {
    with_plans(Server::with(&[("METERGATE_STRIPE_WEBHOOK_SECRET", SECRET)]))
}

fn with_plans(server: Server) -> Server {
    for (plan, max) in [("silver", 500), ("gold", 5000)] {
        let limits = json!([{"meter": "messages", "window": "billingPeriod", "max": max}]);
        let body = json!({"limits": limits, "stripePrices": [format!("price_{plan}")]});
        server.admin().put(&format!("/v1/plans/{plan}"), body).is(201);
    }
    server
}

/// A subscription of an organization as Stripe has it since API 2025-03-31.
fn subscription(organization: &str, status: &str, plan: &str, (start, end): (i64, i64)) -> Value {
    json!({"id": format!("sub_{organization}"), "object": "subscription", "customer": format!("cus_{organization}"),
        "created": start, "status": status, "cancel_at": null, "cancel_at_period_end": false, "trial_end": null,
        "items": {"object": "list", "data": [{"price": {"id": format!("price_{plan}")},
            "current_period_start": start, "current_period_end": end}]},
        "metadata": {"organization": organization}})
}

fn without_metadata(mut subscription: Value) -> Value {
    subscription["metadata"] = json!({});
    subscription
}

/// Sends it as Stripe does.
fn send(client: &Client, event: &Value) -> Answer {
    let body = event.to_string();
    let call = client.call("POST", "/webhooks/stripe").header("stripe-signature", &signed(&body, SECRET, now()));
    call.body("application/json", body).send()
}

fn told(server: &Server, id: &str, kind: &str, object: &Value) {
    let answer = send(&server.stranger(), &event(id, kind, now(), object)).is(200);
    assert_eq!(answer.json(), json!({"received": true}));
}

/// Waits until something is so. On a busy machine that takes several times as long.
#[track_caller]
fn until(what: &str, millis: u64, is_so: impl Fn() -> bool) {
    let came = (0..BUSY * millis / 20).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        is_so()
    });
    assert!(came, "{what}: not within {BUSY} times {millis} ms");
}

fn create(server: &Server, key: &str) -> Value {
    server.admin().post("/v1/organizations", json!({"key": key})).is(201).json()
}

fn seen(server: &Server, key: &str) -> Value {
    server.admin().get(&format!("/v1/organizations/{key}/subscription")).is(200).json()
}

/// Where it stands: Stripe's status, ours, the plan, whether it is locked.
fn stands(server: &Server, key: &str) -> String {
    let seen = seen(server, key);
    let text = |name: &str| seen[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {}", text("subscriptionStatus"), text("status"), text("plan"), seen["locked"])
}

#[track_caller]
fn comes_to_stand(server: &Server, key: &str, expected: &str) {
    let came = (0..BUSY * 50).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        stands(server, key) == expected
    });
    assert!(came, "{key} stands at {}, should at {expected}", stands(server, key));
}

fn entries(server: &Server, key: &str, action: &str) -> Vec<Value> {
    server.admin().list(&format!("/v1/organizations/{key}/audit-log?action={action}"))
}

fn state_of(server: &Server, id: &str) -> String {
    let events = server.admin().list("/v1/stripe-events");
    events
        .iter()
        .find(|event| event["id"] == id)
        .map_or_else(String::new, |event| event["state"].as_str().unwrap().to_owned())
}

#[test]
fn only_what_stripe_has_signed_now_is_taken_and_nothing_without_a_secret() {
    let server = Server::with(&[("METERGATE_STRIPE_WEBHOOK_SECRET", &format!("whsec_the_next_one,{SECRET}"))]);
    let stranger = server.stranger();
    let body = event("evt_1", "charge.succeeded", now(), &json!({})).to_string();
    let post = |signature: &str, body: &str| {
        let call = stranger.call("POST", "/webhooks/stripe").header("stripe-signature", signature);
        call.body("application/json", body.as_bytes()).send()
    };
    for (signature, sent) in [
        (String::new(), body.as_str()),
        (signed(&body, "whsec_of_another", now()), &body),
        (signed(&body, SECRET, now() - 301), &body),
        (signed(&body, SECRET, now() + 302), &body),
        (signed(&body, SECRET, now()), "{}"),
    ] {
        post(&signature, sent).expect_problem(400, "invalid-signature");
    }
    for secret in [SECRET, "whsec_the_next_one"] {
        assert_eq!(post(&signed(&body, secret, now()), &body).is(200).json(), json!({"received": true}), "and again");
    }
    assert_eq!(server.admin().list("/v1/stripe-events").len(), 1, "an event is taken once");
    for bad in ["[]", "{}", "{", r#"{"id": "evt_2", "type": "customer.subscription.updated", "data": {"object": {}}}"#]
    {
        post(&signed(bad, SECRET, now()), bad).expect_problem(400, "malformed-body");
    }
    let large = event("evt_large", "charge.succeeded", now(), &json!({"text": "x".repeat(500_000)})).to_string();
    post(&signed(&large, SECRET, now()), &large).is(200);
    let long = format!("{}{body}", " ".repeat(1 << 20));
    post(&signed(&long, SECRET, now()), &long).is(413);
    Server::start().stranger().post("/webhooks/stripe", &body).expect_problem(404, "not-found");
}

#[test]
fn a_subscription_rules_status_plan_and_periods_soon_and_everywhere() {
    let server = without_key();
    create(&server, "acme");
    let (start, end) = (now() - 5 * DAY, now() + 25 * DAY);
    told(&server, "evt_1", "customer.subscription.created", &subscription("acme", "active", "silver", (start, end)));
    comes_to_stand(&server, "acme", "active active silver false");
    let told_once = entries(&server, "acme", "webhook.state_change");
    assert_eq!(told_once.len(), 1);
    let entry = &told_once[0];
    assert_eq!((&entry["actor"], &entry["category"]), (&json!("stripe"), &json!("webhook")));
    assert_eq!((&entry["before"]["status"], &entry["after"]["status"]), (&json!("trial"), &json!("active")));
    assert_eq!((&entry["before"]["plan"], &entry["after"]["plan"]), (&json!("free"), &json!("silver")));
    assert_eq!(entry["before"]["subscription"], Value::Null);
    assert_eq!(entry["after"]["subscription"], "sub_acme");
    assert_eq!(entry["details"]["events"], json!(["evt_1"]));
    // The dates are the subscription's, wherever they are shown.
    let ends = Time::from_micros(end * SECOND).to_string();
    let admin = server.admin();
    for path in [
        "/v1/organizations/acme",
        "/v1/organizations/acme/usage",
        "/portal/billing/status?org=acme",
        "/v1/organizations/acme/billing-cycle",
        "/v1/organizations/acme/subscription",
    ] {
        assert_eq!(admin.get(path).is(200).json()["nextResetDate"], ends, "{path}");
    }
    assert_eq!(admin.get("/portal/billing/status?org=acme").json()["status"], "active");
    assert_eq!(admin.get("/v1/organizations/acme/billing-cycle").json()["resets"][0], ends);
    let moved = json!({"billingCycleStartDate": "2026-01-01"});
    admin.patch("/v1/organizations/acme/billing-cycle", &moved).expect_problem(409, "cycle-owned-by-subscription");
    let text = admin.patch("/api/organizations/acme/billing-cycle", &moved).expect_error_text(409);
    assert!(text.contains("subscription"), "{text}");
    // What is told again changes nothing, under whatever id.
    told(&server, "evt_2", "customer.subscription.updated", &subscription("acme", "active", "silver", (start, end)));
    until("the second event is done", 2000, || state_of(&server, "evt_2") == "done");
    assert_eq!(entries(&server, "acme", "webhook.state_change").len(), 1);
    told(&server, "evt_3", "customer.subscription.deleted", &subscription("acme", "canceled", "silver", (start, end)));
    comes_to_stand(&server, "acme", "canceled canceled free false");
    assert_eq!(seen(&server, "acme")["nextResetDate"], ends, "the open period runs to its end");
    admin.patch("/v1/organizations/acme/billing-cycle", &moved).is(200);
}

#[test]
fn a_missing_payment_locks_after_its_grace_time_and_a_payment_unlocks() {
    let server = without_key();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "test": true})).is(201);
    let clock = |time: &str| admin.put("/v1/organizations/acme/clock", json!({"now": time})).is(200);
    clock("2026-03-10T00:00:00Z");
    let seconds = |text: &str| text.parse::<Time>().unwrap().micros() / SECOND;
    let march = (seconds("2026-03-05T00:00:00Z"), seconds("2026-04-05T00:00:00Z"));
    let is = |status: &str| subscription("acme", status, "gold", march);
    told(&server, "evt_1", "customer.subscription.created", &is("active"));
    comes_to_stand(&server, "acme", "active active gold false");
    told(&server, "evt_2", "customer.subscription.updated", &is("past_due"));
    comes_to_stand(&server, "acme", "past_due past_due gold false");
    assert_eq!(seen(&server, "acme")["graceEndsAt"], "2026-03-17T00:00:00Z");
    let ask = || {
        admin.post("/v1/consume", json!({"organization": "acme", "meter": "messages", "quantity": 1})).is(200).json()
    };
    clock("2026-03-16T23:59:59Z");
    assert_eq!(ask()["allowed"], true);
    clock("2026-03-17T00:00:00Z");
    assert_eq!((&ask()["allowed"], &ask()["reason"]), (&json!(false), &json!("subscription-inactive")));
    let locks = entries(&server, "acme", "billing.lock");
    assert_eq!((locks.len(), &locks[0]["actor"]), (1, &json!("system")));
    assert_eq!(locks[0]["time"], "2026-03-17T00:00:00Z");
    // An operator's lock stays when billing's is lifted.
    admin.put("/v1/organizations/acme/lock", json!({"reason": "abuse"})).is(200);
    let invoice =
        json!({"id": "in_1", "object": "invoice", "parent": {"subscription_details": {"subscription": "sub_acme"}}});
    told(&server, "evt_3", "invoice.paid", &invoice);
    comes_to_stand(&server, "acme", "active active gold true");
    assert_eq!(ask()["reason"], "organization-locked");
    admin.call("DELETE", "/v1/organizations/acme/lock").json(json!({"reason": "r"})).send().is(204);
    assert_eq!(ask()["allowed"], true);
}

#[test]
fn what_nobody_is_found_for_is_kept_shown_and_applied_once_it_is_linked() {
    let server = without_key();
    let admin = server.admin();
    create(&server, "acme");
    create(&server, "other");
    let period = (now() - DAY, now() + 29 * DAY);
    let subscribed = without_metadata(subscription("acme", "active", "silver", period));
    told(&server, "evt_1", "customer.subscription.created", &subscribed);
    until("it is shown as unmatched", 2000, || state_of(&server, "evt_1") == "unmatched");
    let shown = admin.get("/v1/stripe-events?state=unmatched&state=failed").is(200).json();
    assert_eq!(shown["data"][0]["subscription"], "sub_acme");
    assert_eq!(stands(&server, "acme"), "- trial free false");
    let link = json!({"customer": "cus_acme", "reason": "by hand"});
    admin.put("/v1/organizations/acme/subscription", &link).is(200);
    comes_to_stand(&server, "acme", "active active silver false");
    assert_eq!(state_of(&server, "evt_1"), "done");
    let linked = entries(&server, "acme", "subscription.link");
    assert_eq!(
        (linked.len(), &linked[0]["reason"], &linked[0]["after"]["customer"]),
        (1, &json!("by hand"), &json!("cus_acme"))
    );
    // One organization has a subscription, and what changes nothing is not noted.
    let taken = json!({"subscription": "sub_acme"});
    admin.put("/v1/organizations/other/subscription", &taken).expect_problem(409, "subscription-taken");
    let same = json!({"subscription": "sub_acme", "customer": "cus_acme"});
    admin.put("/v1/organizations/acme/subscription", &same).is(200);
    assert_eq!(entries(&server, "acme", "subscription.link").len(), 1);
    // Taken away from the one, the other may have it.
    admin.put("/v1/organizations/acme/subscription", json!({})).is(200);
    admin.put("/v1/organizations/other/subscription", &taken).is(200);
    told(&server, "evt_2", "customer.subscription.updated", &subscribed);
    comes_to_stand(&server, "other", "active active silver false");
    assert_eq!(seen(&server, "acme")["subscription"], Value::Null);
    admin.put("/v1/organizations/nobody/subscription", &taken).expect_problem(404, "unknown-organization");
    admin.put("/v1/organizations/acme/subscription", json!({"subscription": ""})).is(422);
}

/// Who pays first and signs up then, on this server.
fn pays_before_they_sign_up(server: &Server) {
    let period = (now() - DAY, now() + 29 * DAY);
    let waits = |id: &str, key: &str| {
        told(server, id, "customer.subscription.created", &subscription(key, "active", "silver", period));
        until("it is unmatched", 2000, || state_of(server, id) == "unmatched");
    };
    waits("evt_new", "new");
    waits("evt_renamed", "renamed");
    waits("evt_other", "nobody");
    create(server, "new");
    comes_to_stand(server, "new", "active active silver false");
    create(server, "old");
    server.admin().patch("/v1/organizations/old", json!({"key": "renamed"})).is(200);
    comes_to_stand(server, "renamed", "active active silver false");
    assert_eq!(["evt_new", "evt_renamed"].map(|id| state_of(server, id)), ["done", "done"]);
    assert_eq!(state_of(server, "evt_other"), "unmatched");
}

#[test]
fn what_names_an_organization_is_applied_once_one_is_created_or_renamed_so() {
    pays_before_they_sign_up(&without_key());
    let database = crate::store::Database::new();
    let url = database.secret();
    let settings = [("METERGATE_STRIPE_WEBHOOK_SECRET", SECRET), ("METERGATE_DATABASE_URL", url.expose())];
    pays_before_they_sign_up(&with_plans(Server::with(&settings)));
}

#[test]
fn an_organization_is_found_by_the_subscription_then_the_customer_then_the_metadata() {
    let server = without_key();
    for key in ["by-customer", "by-metadata", "acme"] {
        create(&server, key);
    }
    let period = (now() - DAY, now() + 29 * DAY);
    server.admin().put("/v1/organizations/by-customer/subscription", json!({"customer": "cus_acme"})).is(200);
    // The metadata names another one than the customer: the customer counts.
    let both = subscription("acme", "active", "silver", period);
    told(&server, "evt_1", "customer.subscription.created", &both);
    comes_to_stand(&server, "by-customer", "active active silver false");
    assert_eq!(stands(&server, "acme"), "- trial free false");
    // From now on the subscription counts, whatever else it says.
    let mut moved = subscription("acme", "past_due", "silver", period);
    (moved["customer"], moved["metadata"]) = (json!("cus_another"), json!({"organization": "by-metadata"}));
    told(&server, "evt_2", "customer.subscription.updated", &moved);
    comes_to_stand(&server, "by-customer", "past_due past_due silver false");
    let named = subscription("by-metadata", "active", "gold", period);
    told(&server, "evt_3", "customer.subscription.created", &named);
    comes_to_stand(&server, "by-metadata", "active active gold false");
}

#[test]
fn a_customer_of_two_organizations_is_found_by_its_subscriptions_until_one_of_them_lets_go() {
    let server = without_key();
    let admin = server.admin();
    let link = |key: &str, body: Value| admin.put(&format!("/v1/organizations/{key}/subscription"), body).is(200);
    ["acme", "other"].iter().for_each(|key| drop(create(&server, key)));
    let period = (now() - DAY, now() + 29 * DAY);
    link("acme", json!({"customer": "cus_acme"}));
    let first = |status: &str| without_metadata(subscription("acme", status, "silver", period));
    told(&server, "evt_1", "customer.subscription.created", &first("active"));
    comes_to_stand(&server, "acme", "active active silver false");
    // Somebody pays for two: each has a subscription of its own.
    link("other", json!({"customer": "cus_acme"}));
    told(&server, "evt_2", "customer.subscription.updated", &first("past_due"));
    comes_to_stand(&server, "acme", "past_due past_due silver false");
    assert_eq!(stands(&server, "other"), "- trial free false", "the first one's subscription is not its own");
    let mut second = without_metadata(subscription("second", "active", "gold", period));
    second["customer"] = json!("cus_acme");
    told(&server, "evt_3", "customer.subscription.created", &second);
    until("it may be either's", 2000, || state_of(&server, "evt_3") == "unmatched");
    assert_eq!(stands(&server, "acme"), "past_due past_due silver false");
    // The customer moves: the first one lets go, and what waited is the other's at once.
    link("acme", json!({}));
    comes_to_stand(&server, "other", "active active gold false");
    assert_eq!(state_of(&server, "evt_3"), "done");
    assert_eq!(stands(&server, "acme"), "- active silver false");
}

#[test]
fn a_deleted_organization_leaves_nothing_of_its_subscription() {
    let server = without_key();
    create(&server, "acme");
    let period = (now() - DAY, now() + 29 * DAY);
    told(&server, "evt_1", "customer.subscription.created", &subscription("acme", "active", "silver", period));
    comes_to_stand(&server, "acme", "active active silver false");
    // Events of its customer that nobody could be found for, since another organization has the customer, too.
    create(&server, "second");
    server.admin().put("/v1/organizations/second/subscription", json!({"customer": "cus_acme"})).is(200);
    let mut open = without_metadata(subscription("open", "active", "silver", period));
    open["customer"] = json!("cus_acme");
    told(&server, "evt_2", "customer.subscription.created", &open);
    until("it is unmatched", 2000, || state_of(&server, "evt_2") == "unmatched");
    server.admin().call("DELETE", "/v1/organizations/second").json(json!({"reason": "r"})).send().is(204);
    assert_eq!(state_of(&server, "evt_2"), "unmatched", "it may be about the other one");
    server.admin().call("DELETE", "/v1/organizations/acme").json(json!({"reason": "r"})).send().is(204);
    let left = server.admin().get("/v1/stripe-events").is(200);
    assert!(!left.text.contains("acme") && !left.text.contains("open"), "{}", left.text);
    assert_eq!(state_of(&server, "evt_2"), "ignored");
    // It is known for good that the event was there.
    told(&server, "evt_1", "customer.subscription.created", &subscription("acme", "active", "silver", period));
    assert_eq!(state_of(&server, "evt_1"), "done");
}

#[test]
fn members_see_their_subscription_and_operators_alone_link_it() {
    let server = without_key();
    create(&server, "acme");
    let ada = sign_up(&server, "ada@example.com");
    join(&server.admin(), "acme", &ada, "owner");
    ada.client.get("/v1/organizations/acme/subscription").is(200);
    ada.client.put("/v1/organizations/acme/subscription", json!({})).expect_problem(403, "forbidden");
    ada.client.get("/v1/stripe-events").expect_problem(403, "forbidden");
}
