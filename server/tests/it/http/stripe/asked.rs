//! With an API key: Stripe is asked, and what it says now is taken, whatever events said and whether they came.

use serde_json::json;

use super::fake::{How, Stripe};
use super::{
    DAY, Server, comes_to_stand, create, entries, now, seen, send, stands, state_of, subscription, told, until,
    with_plans, without_metadata,
};
use crate::store::Database;

#[test]
fn with_a_key_stripe_is_asked_and_one_that_does_not_answer_holds_up_no_other() {
    let stripe = Stripe::start();
    let server = with_plans(Server::with(&stripe.settings()));
    let period = (now() - DAY, now() + 29 * DAY);
    for key in ["hangs", "waits", "fails", "acme"] {
        create(&server, key);
        stripe.put(&subscription(key, "active", "gold", period));
    }
    stripe.next("sub_hangs", [How::Hang]);
    stripe.next("sub_waits", [How::Refuse(429, 2), How::Refuse(500, 0)]);
    let began = now();
    stripe.next("sub_fails", [How::Refuse(503, 0)]);
    for key in ["hangs", "waits", "fails", "acme"] {
        // What the event says is old: what Stripe says now is taken.
        told(
            &server,
            &format!("evt_{key}"),
            "customer.subscription.updated",
            &subscription(key, "incomplete", "silver", period),
        );
    }
    comes_to_stand(&server, "acme", "active active gold false");
    assert_eq!(stands(&server, "hangs"), "- trial free false");
    // Nobody asks before the time that Stripe wants.
    let waits = stands(&server, "waits");
    assert!(waits == "- trial free false" || now() - began >= 2, "{waits}");
    until("it comes when it is asked again", 5000, || stands(&server, "fails") == "active active gold false");
    until("it comes after the wait", 9000, || stands(&server, "waits") == "active active gold false");
    let asked = stripe.asked("/v1/subscriptions/sub%5Fwaits").len();
    assert_eq!(asked, 3, "after each refusal once");
    assert_eq!(entries(&server, "acme", "webhook.state_change").len(), 1);
    // What Stripe does not know fails, is shown, and is tried again when an operator says so.
    stripe.put(&subscription("acme", "past_due", "gold", period));
    let known = stripe.is("sub_acme");
    stripe.forget("sub_acme");
    told(&server, "evt_gone", "customer.subscription.updated", &known);
    until("it fails", 2000, || state_of(&server, "evt_gone") == "failed");
    stripe.put(&known);
    let again = |id: &str| {
        let path = format!("/v1/stripe-events/{id}/retry");
        server.admin().call("POST", &path).header("idempotency-key", "again-1").send()
    };
    let first = again("evt_gone").is(200);
    assert_eq!((&first.json()["state"], first.header("idempotent-replayed")), (&json!("waiting"), None));
    comes_to_stand(&server, "acme", "past_due past_due gold false");
    // Under its key it is the same call, also once it is done; under another key, or of another event, it is none.
    let replayed = again("evt_gone").is(200);
    assert_eq!((&replayed.text, replayed.header("idempotent-replayed")), (&first.text, Some("true")));
    again("evt_unknown").expect_problem(422, "idempotency-mismatch");
    server.admin().call("POST", "/v1/stripe-events/evt_gone/retry").send().expect_problem(409, "event-done");
    server.admin().call("POST", "/v1/stripe-events/evt_unknown/retry").send().expect_problem(404, "not-found");
}

#[test]
fn a_link_asks_stripe_at_once_and_a_look_finds_what_no_event_told() {
    let stripe = Stripe::start();
    let settings = [&stripe.settings()[..], &[("METERGATE_STRIPE_LOOK_SECONDS", "1")]].concat();
    let server = with_plans(Server::with(&settings));
    create(&server, "acme");
    let period = (now() - DAY, now() + 29 * DAY);
    stripe.put(&without_metadata(subscription("acme", "trialing", "silver", period)));
    server.admin().put("/v1/organizations/acme/subscription", json!({"subscription": "sub_acme"})).is(200);
    comes_to_stand(&server, "acme", "trialing trial silver false");
    assert_eq!(seen(&server, "acme")["customer"], "cus_acme");
    stripe.put(&without_metadata(subscription("acme", "unpaid", "gold", period)));
    until("the next look sees it", 4000, || stands(&server, "acme") == "unpaid past_due gold true");
    assert!(server.admin().list("/v1/stripe-events").iter().all(|event| event["state"] != "done"), "no event was told");
}

#[test]
fn what_was_missed_while_the_server_was_down_or_killed_is_caught_up_on() {
    let stripe = Stripe::start();
    let mut server = with_plans(Server::with(&stripe.settings()));
    for key in ["acme", "late", "taken"] {
        create(&server, key);
    }
    let period = (now() - DAY, now() + 29 * DAY);
    let change = |key: &str, status: &str, plan: &str| {
        let changed = subscription(key, status, plan, period);
        stripe.put(&changed);
        stripe.event("customer.subscription.updated", now(), &changed)
    };
    send(&server.stranger(), &change("acme", "active", "silver")).is(200);
    comes_to_stand(&server, "acme", "active active silver false");
    // Taken and acknowledged, but Stripe does not answer before the server is killed.
    stripe.next("sub_taken", [How::Hang]);
    send(&server.stranger(), &change("taken", "active", "gold")).is(200);
    until("Stripe is asked", 4000, || !stripe.asked("/v1/subscriptions/sub%5Ftaken").is_empty());
    // Of a test clock of Stripe's, far ahead: what is missed is none the less looked for since now.
    let ahead =
        stripe.event("customer.subscription.updated", now() + 400 * DAY, &subscription("x", "active", "gold", period));
    send(&server.stranger(), &ahead).is(200);
    server.kill();
    change("acme", "past_due", "silver");
    for status in ["trialing", "active", "past_due", "unpaid"] {
        (0..3).for_each(|_| drop(change("late", status, "gold")));
    }
    server.start_again();
    until("what was taken is applied", 4000, || stands(&server, "taken") == "active active gold false");
    until("what was missed is there", 4000, || stands(&server, "acme") == "past_due past_due silver false");
    until("of one that nobody knew, too", 4000, || stands(&server, "late") == "unpaid past_due gold true");
    assert!(stripe.asked("/v1/events?").len() > 1, "over several pages");
}

#[test]
fn an_answer_that_may_be_older_than_what_is_known_is_asked_for_again() {
    let stripe = Stripe::start();
    let server = with_plans(Server::with(&stripe.settings()));
    create(&server, "acme");
    let period = (now() - DAY, now() + 29 * DAY);
    let known = without_metadata(subscription("acme", "active", "silver", period));
    stripe.put(&known);
    server.admin().put("/v1/organizations/acme/subscription", json!({"customer": "cus_acme"})).is(200);
    // Stripe answers what held when it was asked, a while later.
    stripe.next("sub_acme", [How::Delay(4000)]);
    told(&server, "evt_1", "customer.subscription.updated", &known);
    until("Stripe is asked", 4000, || !stripe.asked("/v1/subscriptions/").is_empty());
    stripe.put(&without_metadata(subscription("acme", "past_due", "gold", period)));
    let link = json!({"subscription": "sub_acme", "customer": "cus_acme"});
    server.admin().put("/v1/organizations/acme/subscription", link).is(200);
    until("the newer one wins", 6000, || stands(&server, "acme") == "past_due past_due gold false");
    assert_eq!(entries(&server, "acme", "webhook.state_change").len(), 1, "the older one was never taken");
}

#[test]
fn nodes_look_together_once_and_one_that_starts_does_not_look_anew() {
    let (stripe, database) = (Stripe::start(), Database::new());
    let url = database.secret();
    let of_nodes = [("METERGATE_STRIPE_LOOK_SECONDS", "3"), ("METERGATE_DATABASE_URL", url.expose())];
    let settings = [&stripe.settings()[..], &of_nodes].concat();
    let first = with_plans(Server::with(&settings));
    create(&first, "acme");
    let period = (now() - DAY, now() + 29 * DAY);
    stripe.put(&without_metadata(subscription("acme", "active", "silver", period)));
    first.admin().put("/v1/organizations/acme/subscription", json!({"subscription": "sub_acme"})).is(200);
    comes_to_stand(&first, "acme", "active active silver false");
    let others = [Server::with(&settings), Server::with(&settings)];
    let began = now();
    let before = stripe.asked("/v1/subscriptions/").len();
    std::thread::sleep(std::time::Duration::from_secs(13));
    let looked = stripe.asked("/v1/subscriptions/").len() - before;
    let most = usize::try_from((now() - began) / 3).unwrap() + 2;
    assert!((2..=most).contains(&looked), "{looked} looks, {most} at most");
    stripe.put(&without_metadata(subscription("acme", "past_due", "silver", period)));
    until("a look sees it", 8000, || stands(&others[1], "acme") == "past_due past_due silver false");
}
