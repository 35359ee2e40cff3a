//! Ways to Stripe's pages, for the owners and admins of an organization.

use serde_json::json;

use super::Client;
use super::fake::{How, Stripe};
use super::free_address;
use super::{DAY, Server, comes_to_stand, create, join, now, sign_up, subscription, told, with_plans, without_key};

#[test]
fn owners_and_admins_are_sent_to_pay_also_while_their_organization_is_locked() {
    let stripe = Stripe::start();
    let address = free_address();
    let public = [("METERGATE_PUBLIC_URL", "https://usage.example.com"), ("METERGATE_LISTEN", address.as_str())];
    let settings = [&stripe.settings()[..], &public].concat();
    let server = with_plans(Server::with(&settings));
    let id = create(&server, "acme")["id"].as_str().unwrap().to_owned();
    let (portal, checkout) =
        ("/v1/organizations/acme/subscription/portal", "/v1/organizations/acme/subscription/checkout");
    let people = ["viewer", "editor", "admin", "owner"].map(|role| {
        let person = sign_up(&server, &format!("{role}@example.com"));
        join(&server.admin(), "acme", &person, role);
        person.client
    });
    let [viewer, editor, admin, owner] = &people;
    for below in [viewer, editor] {
        below.post(portal, "").expect_problem(403, "forbidden");
        below.post(checkout, json!({"plan": "gold"})).expect_problem(403, "forbidden");
    }
    admin.call("POST", portal).send().expect_problem(409, "no-customer");
    let offers = viewer.get("/v1/organizations/acme/subscription").is(200).json()["offers"].clone();
    assert_eq!(offers[0], json!({"plan": "gold", "name": "gold", "price": "price_gold"}));
    let made = admin.post(checkout, json!({"plan": "gold"})).is(201).json();
    assert_eq!(made["url"], "https://checkout.stripe.com/c/pay/1");
    let (_, form) = stripe.asked("/v1/checkout/sessions").remove(0);
    let form = percent_encoding::percent_decode_str(&form).decode_utf8().unwrap().into_owned();
    for part in [
        "mode=subscription",
        "line_items[0][price]=price_gold",
        &format!("client_reference_id={id}"),
        &format!("subscription_data[metadata][organization]={id}"),
        "success_url=https://usage.example.com/portal/billing",
    ] {
        assert!(form.split('&').any(|pair| pair == part), "{part} in {form}");
    }
    for bad in ["free", "unknown"] {
        admin.post(checkout, json!({ "plan": bad })).expect_problem(422, "validation");
    }
    // What the checkout led to.
    let period = (now() - DAY, now() + 29 * DAY);
    stripe.put(&subscription("acme", "unpaid", "gold", period));
    let session = json!({"id": "cs_1", "object": "checkout.session", "mode": "subscription", "metadata": {"organization": id},
        "customer": "cus_acme", "subscription": "sub_acme"});
    told(&server, "evt_1", "checkout.session.completed", &session);
    comes_to_stand(&server, "acme", "unpaid past_due gold true");
    // Nobody pays twice, although the page that offers it may be an old one.
    let made_before = stripe.asked("/v1/checkout/sessions").len();
    admin.post(checkout, json!({"plan": "gold"})).expect_problem(409, "already-subscribed");
    assert_eq!(stripe.asked("/v1/checkout/sessions").len(), made_before);
    let made = owner.call("POST", portal).send().is(201).json();
    assert_eq!(made["url"], "https://billing.stripe.com/p/session/1");
    let (_, form) = stripe.asked("/v1/billing_portal/sessions").remove(0);
    assert!(form.contains("customer=cus%5Facme") && form.contains("return%5Furl=https"), "{form}");
    refusals_are_told(&stripe, owner, portal);
}

/// What Stripe says no to, or cannot answer twice.
fn refusals_are_told(stripe: &Stripe, owner: &Client, portal: &str) {
    let twice = |status| vec![How::Refuse(status, 0), How::Refuse(status, 0)];
    let waits = vec![How::Refuse(429, 3)];
    for (how, status, code) in [
        (twice(503), 503, "unavailable"),
        (waits, 503, "unavailable"),
        (vec![How::Refuse(400, 0)], 502, "stripe-refused"),
    ] {
        stripe.next("sessions", how);
        owner.call("POST", portal).send().expect_problem(status, code);
    }
}

#[test]
fn a_page_is_asked_for_once_more_under_the_same_key_and_a_repeated_call_gets_the_same_page() {
    let stripe = Stripe::start();
    let server = with_plans(Server::with(&stripe.settings()));
    create(&server, "acme");
    create(&server, "other");
    let admin = server.admin();
    let path = |key: &str| format!("/v1/organizations/{key}/subscription/checkout");
    let wanted = |key: &str, once: &str| {
        let call = admin.call("POST", &path(key)).header("idempotency-key", once).json(json!({"plan": "gold"}));
        call.send().is(201).json()["url"].clone()
    };
    // Stripe made the page, but its answer was lost: the second call gets the page of the first.
    stripe.next("sessions", [How::Refuse(500, 0)]);
    admin.post(&path("acme"), json!({"plan": "gold"})).is(201);
    let keys = stripe.keys();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{keys:?}");
    assert!(keys[0].len() >= 32, "{keys:?}");
    admin.post(&path("acme"), json!({"plan": "gold"})).is(201);
    assert_ne!(stripe.keys()[2], keys[0], "another call is another page");
    // A caller that repeats its own call, as one whose connection broke.
    let first = wanted("acme", "order-1");
    assert_eq!(wanted("acme", "order-1"), first);
    assert_ne!(wanted("acme", "order-2"), first);
    assert_ne!(wanted("other", "order-1"), first, "a key is one organization's");
}

#[test]
fn without_a_key_nobody_is_sent_anywhere() {
    let server = without_key();
    create(&server, "acme");
    let admin = server.admin();
    admin
        .call("POST", "/v1/organizations/acme/subscription/portal")
        .send()
        .expect_problem(404, "stripe-not-configured");
    let checkout = admin.post("/v1/organizations/acme/subscription/checkout", json!({"plan": "gold"}));
    checkout.expect_problem(404, "stripe-not-configured");
    let shown = admin.get("/v1/organizations/acme/subscription").is(200).json();
    assert_eq!((&shown["manageable"], &shown["offers"]), (&json!(false), &json!([])));
}

/// A page as somebody sees it who is signed in by a browser.
fn page(server: &Server, token: &str, path: &str) -> String {
    let stranger = server.stranger();
    let call = stranger.call("GET", path).header("cookie", &format!("metergate_session={token}"));
    call.header("accept", "text/html").header("sec-fetch-site", "same-origin").send().is(200).text
}

/// What stands between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split(after).next().unwrap()
}

fn sent(server: &Server, token: &str, path: &str, fields: &[(&str, &str)]) -> super::Answer {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let stranger = server.stranger();
    let call = stranger.call("POST", path).body("application/x-www-form-urlencoded", pairs.join("&"));
    let call = call.header("cookie", &format!("metergate_session={token}")).header("origin", &server.url);
    call.header("sec-fetch-site", "same-origin").header("accept", "text/html").send()
}

#[test]
fn the_portal_leads_to_stripe_and_the_dashboard_links_and_tries_again() {
    let stripe = Stripe::start();
    let server = with_plans(Server::with(&stripe.settings()));
    create(&server, "acme");
    let (ada, viewer) = (sign_up(&server, "ada@example.com"), sign_up(&server, "bob@example.com"));
    join(&server.admin(), "acme", &ada, "admin");
    join(&server.admin(), "acme", &viewer, "viewer");
    let billing = page(&server, ada.token(), "/portal/billing?org=acme");
    assert!(billing.contains("Upgrade to gold") && !billing.contains("Manage billing"), "{billing}");
    assert!(!page(&server, viewer.token(), "/portal/billing?org=acme").contains("Upgrade to"));
    let csrf = between(&billing, "name=\"csrf\" value=\"", "\"").to_owned();
    let led = sent(&server, ada.token(), "/portal/billing/upgrade?org=acme", &[("csrf", &csrf), ("plan", "gold")]);
    assert_eq!(led.is(303).header("location"), Some("https://checkout.stripe.com/c/pay/1"));
    let period = (now() - DAY, now() + 29 * DAY);
    stripe.put(&subscription("acme", "active", "gold", period));
    // An operator links it, and sees how it stands.
    let operator = json!({"email": "ops@example.com", "password": "correct horse"});
    server.admin().post("/v1/administrators", &operator).is(201);
    let ops = server.stranger().post("/api/auth/login", &operator).is(200).json()["token"].as_str().unwrap().to_owned();
    let tab = page(&server, &ops, "/admin/organizations/acme/subscription");
    assert!(tab.contains("No subscription") && tab.contains("do/link-subscription"), "{tab}");
    let form = page(&server, &ops, "/admin/organizations/acme/do/link-subscription");
    let (csrf_ops, once) =
        (between(&form, "name=\"csrf\" value=\"", "\""), between(&form, "name=\"once\" value=\"", "\""));
    let typed =
        [("csrf", csrf_ops), ("once", once), ("subscription", "sub_acme"), ("customer", ""), ("reason", "bought")];
    let done = sent(&server, &ops, "/admin/organizations/acme/do/link-subscription", &typed).is(303);
    assert!(
        done.header("location").unwrap().ends_with("/admin/organizations/acme/subscription?done=linked"),
        "{done:?}"
    );
    comes_to_stand(&server, "acme", "active active gold false");
    let tab = page(&server, &ops, "/admin/organizations/acme/subscription");
    assert!(tab.contains("sub_acme") && tab.contains("Paid: the plan holds."), "{tab}");
    let billing = page(&server, ada.token(), "/portal/billing?org=acme");
    assert!(billing.contains("Manage billing") && !billing.contains("Upgrade to"), "{billing}");
    let led = sent(&server, ada.token(), "/portal/billing/manage?org=acme", &[("csrf", &csrf)]);
    assert_eq!(led.is(303).header("location"), Some("https://billing.stripe.com/p/session/1"));
    assert!(page(&server, ada.token(), "/organizations/acme/settings/subscription").contains("sub_acme"));
    // What nobody is found for.
    stripe.put(&super::without_metadata(subscription("nobody", "active", "gold", period)));
    told(&server, "evt_1", "customer.subscription.created", &stripe.is("sub_nobody"));
    super::until("it is unmatched", 2000, || super::state_of(&server, "evt_1") == "unmatched");
    let events = page(&server, &ops, "/admin/stripe");
    assert!(events.contains("sub_nobody") && events.contains("unmatched"), "{events}");
    let form = page(&server, &ops, "/admin/do/retry-stripe-event?event=evt_1");
    let (csrf_ops, once) =
        (between(&form, "name=\"csrf\" value=\"", "\""), between(&form, "name=\"once\" value=\"", "\""));
    let typed = [("csrf", csrf_ops), ("once", once), ("event", "evt_1")];
    sent(&server, &ops, "/admin/do/retry-stripe-event?event=evt_1", &typed).is(303);
    assert!(page(&server, &ops, "/admin/stripe?all=true").contains("evt_1"));
    assert!(page(&server, &ops, "/admin/settings").contains("/admin/stripe"));
}
