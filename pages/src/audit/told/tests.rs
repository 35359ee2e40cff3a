//! Every action of Metergate's own as people read it.

use serde_json::{Value, json};

use super::*;
use crate::answers::{Member, Meter, User};

fn entry(action: &str, before: &Value, after: &Value, details: &Value) -> AuditEntry {
    let entry = json!({
        "seq": 7, "time": "2026-11-28T10:00:00Z", "actor": "user:u1", "action": action, "category": "config", "reason": null,
        "before": before, "after": after, "details": details, "hash": "00", "resolved": null,
    });
    serde_json::from_value(entry).unwrap()
}

#[rustfmt::skip]
fn names() -> Names {
    let user = |id: &str, name: &str| {
        let user = json!({"id": id, "email": format!("{id}@x.example"), "emailVerified": true, "name": name, "createdAt": ""});
        serde_json::from_value::<User>(user).unwrap()
    };
    let member = json!({"id": "u2", "email": "bo@x.example", "name": "Bo", "role": "viewer", "active": true, "createdAt": ""});
    let meters = [("messages", "Messages", "message", "sum"), ("storage_bytes", "Storage", "byte", "last"), ("llm_cost", "LLM cost", "USD", "sum")];
    let meters = meters.map(|(key, name, unit, aggregation)| Meter::known(key, name, unit, aggregation, &[]));
    Names::default()
        .with_users(&[user("u1", "Anna")])
        .with_member(&serde_json::from_value::<Member>(member).unwrap())
        .with_meters(meters.into())
        .with_plan("starter", "Starter")
        .with_plan("pro", "Pro")
}

fn said_of(action: &str, before: &Value, after: &Value, details: &Value) -> String {
    let said = said(&entry(action, before, after, details), &names(), &Zone::new("Europe/Berlin"));
    said.unwrap_or_else(|| panic!("{action} is told by its name alone"))
}

/// One that is told for every action, and others where it can have happened in several ways.
fn cases() -> Vec<Case> {
    let none = json!({});
    [of_organizations(&none), of_quota(&none), of_people(&none), of_the_team(&none)].concat()
}

/// An action, what stood before, what stands now, and how it is told.
type Case = (&'static str, Value, Value, &'static str);

#[rustfmt::skip]
fn of_organizations(none: &Value) -> Vec<Case> {
    let none = || none.clone();
    vec![
        ("organization.create", none(), json!({"key": "acme", "name": "Acme", "plan": "starter", "planVersion": 1, "status": "active", "trialEndsAt": null, "timeZone": "UTC"}),
            "created the organization “Acme”, on plan Starter"),
        ("organization.create", none(), json!({"name": "Acme", "plan": "pro", "trialEndsAt": "2026-12-28T09:00:00Z"}),
            "created the organization “Acme”, on plan Pro, in a trial until Dec 28, 2026, 10:00"),
        ("organization.update", json!({"key": "a", "name": "Acme", "timeZone": "UTC", "metadata": "{}"}), json!({"key": "a", "name": "Acme II", "timeZone": "Europe/Berlin", "metadata": "{}"}),
            "changed its name from “Acme” to “Acme II” and time zone from UTC to Europe/Berlin"),
        ("organization.delete", json!({"organization": "id", "grants": 1, "reservations": 0, "members": 3, "apiKeys": 1}), none(),
            "deleted the organization with 3 members and 1 key"),
        ("trial.start", none(), json!({"trialEndsAt": "2026-12-28T09:00:00Z"}), "started a trial until Dec 28, 2026, 10:00"),
        ("trial.extend", json!({"status": "trial", "trialEndsAt": "2026-12-01T09:00:00Z", "locked": true, "locks": ["trial"]}), json!({"status": "trial", "trialEndsAt": "2026-12-28T09:00:00Z", "locked": false, "locks": []}),
            "moved the end of the trial from Dec 1, 2026, 10:00 to Dec 28, 2026, 10:00, which lifted the lock"),
        ("trial.end", json!({"status": "trial", "plan": "starter"}), json!({"status": "trial", "plan": "starter", "locked": true}), "ended the trial: the organization is locked"),
        ("trial.end", json!({"status": "trial", "plan": "starter"}), json!({"status": "active", "plan": "pro", "locked": false}), "ended the trial: it goes on with plan Pro"),
        ("billing.lock", json!({"locked": false, "locks": [], "lockReason": null}), json!({"locked": true, "locks": ["operator"], "lockReason": "Fraud"}), "locked the organization"),
        ("billing.lock", json!({"locked": false, "locks": []}), json!({"locked": true, "locks": ["billing"]}), "locked the organization, since a payment is missing"),
        ("billing.lock", json!({"locked": true, "locks": ["operator"], "lockReason": "a"}), json!({"locked": true, "locks": ["operator"], "lockReason": "b"}), "gave the lock another reason"),
        ("billing.unlock", json!({"locked": true, "locks": ["operator", "billing"]}), json!({"locked": false, "locks": []}), "unlocked the organization, which was locked by the operator and billing"),
        ("billing.cycle", json!({"billingCycleStartDate": "2026-11-01", "nextResetDate": "2026-11-30T23:00:00Z"}), json!({"billingCycleStartDate": "2026-11-15", "nextResetDate": "2026-12-14T23:00:00Z"}),
            "moved the billing cycle from the 1st to the 15th; the next reset is Dec 15, 2026, 00:00"),
        ("billing.cycle", json!({"billingCycleStartDate": "2026-10-22T10:46:10"}), json!({"billingCycleStartDate": "2026-11-22"}), "moved the billing cycle from Oct 22, 2026, 10:46 to November 22, 2026"),
        ("webhook.state_change", json!({"subscriptionStatus": "active", "plan": "pro", "status": "active", "locked": false}), json!({"subscriptionStatus": "past_due", "plan": "pro", "status": "past_due", "graceEndsAt": "2026-12-01T09:00:00Z", "locked": false}),
            "brought the subscription up to date: it went from active to past due, the organization from active to past due and grace time until Dec 1, 2026, 10:00"),
        ("subscription.link", json!({"subscription": null, "customer": null}), json!({"subscription": "sub_1", "customer": "cus_1"}), "linked the organization with subscription sub_1"),
        ("subscription.link", json!({"subscription": "sub_1"}), json!({"subscription": null}), "took the organization off subscription sub_1"),
        ("clock.move", json!({"clock": null}), json!({"clock": "2027-01-01T00:00:00Z"}), "moved the organization's clock to Jan 1, 2027, 01:00"),
    ]
}

#[rustfmt::skip]
fn of_quota(none: &Value) -> Vec<Case> {
    let none = || none.clone();
    vec![
        ("plan.change", json!({"plan": "starter", "planVersion": 1, "overrides": 2, "locked": true}), json!({"plan": "pro", "planVersion": 3, "overrides": 0, "locked": false}),
            "changed the plan from Starter to Pro, without 2 overrides of its own, which lifted the lock"),
        ("plan.change", json!({"plan": "pro", "planVersion": 1}), json!({"plan": "pro", "planVersion": 2}), "moved the organization to version 2 of plan Pro"),
        ("plan.change", json!({"scheduledPlan": null}), json!({"scheduledPlan": "gold", "scheduledVersion": 1, "scheduledAt": "2026-12-01T09:00:00Z"}), "planned the move to plan gold at Dec 1, 2026, 10:00"),
        ("plan.change", json!({"plan": "pro", "planVersion": 2, "scheduledPlan": "starter"}), json!({"plan": "pro", "planVersion": 2}), "kept plan Pro, in place of the move to Starter"),
        ("limit.change", json!({"meter": "messages", "window": "billingPeriod", "overridden": false, "max": null}), json!({"meter": "messages", "window": "billingPeriod", "overridden": true, "max": 5000, "unlimited": false, "soft": true, "until": "2026-12-01T09:00:00Z"}),
            "set the limit of Messages per billing period to 5,000 messages until Dec 1, 2026, 10:00, beyond which use is counted as overage"),
        ("limit.change", json!({"meter": "storage_bytes", "window": "billingPeriod", "overridden": true, "max": 10_737_418_240_i64}), json!({"meter": "storage_bytes", "window": "billingPeriod", "overridden": true, "unlimited": true}),
            "set the limit of Storage from 10 GB to unlimited"),
        ("limit.change", json!({"meter": "messages", "window": "day", "overridden": true, "max": 5}), json!({"meter": "messages", "window": "day", "overridden": false}), "set the limit of Messages per day from 5 messages back to what the plan says"),
        ("limit.change", json!({"messages.billingPeriod": 1000, "overridden": []}), json!({"messages.billingPeriod": 2000, "overridden": ["messages.billingPeriod"]}), "set limits: Messages per billing period from 1,000 messages to 2,000 messages"),
        ("quota.grant", json!({"meter": "messages", "extra": 0}), json!({"meter": "messages", "extra": 2000}), "set the extra quota of Messages from 0 messages to 2,000 messages"),
        ("quota.grant", json!({"messages.extra": 0, "llm_cost.extra": "0"}), json!({"messages.extra": 5, "llm_cost.extra": "1.5"}), "set extra quota: LLM cost from 0 USD to 1.5 USD and Messages from 0 messages to 5 messages"),
        ("credit.grant", none(), json!({"grant": 1, "meter": "messages", "amount": 500, "expiresAt": null}), "granted credit of 500 messages"),
        ("credit.grant", none(), json!({"grant": 1, "meter": "llm_cost", "amount": "20", "expiresAt": "2026-12-01T09:00:00Z"}), "granted credit of 20 USD (LLM cost) until Dec 1, 2026, 10:00"),
        ("credit.void", json!({"grant": 1, "meter": "messages", "amount": 500, "remaining": 350}), json!({"grant": 1, "meter": "messages", "amount": 500, "remaining": 0}), "took back credit of 500 messages, of which 350 messages were left"),
        ("usage.reset", json!({"messages.billingPeriod": 8400, "messages.month": 0, "llm_cost.month": "0"}), json!({"messages.billingPeriod": 0, "windows": ["billingPeriod"]}), "reset the use of Messages per billing period (8,400 messages)"),
        ("usage.adjust", json!({"meter": "messages", "used": 100}), json!({"meter": "messages", "used": 80, "quantity": -20}), "corrected Messages by \u{2212}20 messages, in the billing period from 100 messages to 80 messages"),
        ("usage.adjust", json!({"meter": "storage_bytes", "used": 0}), json!({"meter": "storage_bytes", "used": 0, "quantity": 1_048_576}), "set Storage to 1 MB"),
        ("usage.adjust", json!({"meter": "llm_cost", "used": "1"}), json!({"meter": "llm_cost", "used": "1.5", "quantity": "0.5", "cause": "prices"}), "priced past usage again: LLM cost +0.5 USD"),
        ("usage.void", json!({"source": "app", "id": "e1", "time": "2026-11-28T09:00:00Z", "meter": "messages", "used": 5}), json!({"source": "app", "id": "e1", "time": "2026-11-28T09:00:00Z", "meter": "messages", "used": 4}),
            "voided event e1 of app from Nov 28, 2026, 10:00: Messages from 5 messages to 4 messages"),
    ]
}

#[rustfmt::skip]
fn of_people(none: &Value) -> Vec<Case> {
    let none = || none.clone();
    let bo = |role: &str, active: bool| json!({"user": "u2", "email": "bo@x.example", "name": "Bo", "role": role, "active": active});
    vec![
        ("member.add", none(), bo("editor", true), "added Bo as an editor"),
        ("member.add", none(), json!({"user": "u1", "email": "a@x", "name": "Anna", "role": "viewer", "active": true}), "joined as a viewer"),
        ("member.add", none(), bo("administrator", true), "made Bo a platform administrator"),
        ("member.change", bo("viewer", true), bo("editor", true), "changed the role of Bo from viewer to editor"),
        ("member.change", bo("viewer", true), bo("viewer", false), "suspended Bo"),
        ("member.change", bo("viewer", false), bo("viewer", true), "let Bo in again"),
        ("member.change", none(), json!({"user": "u1", "emailVerified": true}), "confirmed their e-mail address"),
        ("member.remove", bo("owner", true), none(), "removed Bo, who was an owner"),
        ("member.remove", bo("administrator", true), none(), "took the platform administration from Bo"),
        ("member.invite", none(), json!({"email": "cy@x.example", "role": "admin", "expiresAt": "2026-12-01T09:00:00Z"}), "invited cy@x.example as an admin"),
        ("member.invite", none(), json!({"email": "cy@x.example", "role": "admin", "again": true}), "invited cy@x.example as an admin once more"),
        ("member.invite", json!({"email": "cy@x.example", "role": "viewer"}), none(), "withdrew the invitation of cy@x.example as a viewer"),
        ("member.change", json!({"user": "u1", "mails": ["lock", "limitNear"]}), json!({"user": "u1", "mails": ["limitNear"]}), "chose to get mails about limits that come close"),
        ("member.change", json!({"user": "u2", "mails": ["a"]}), json!({"user": "u2", "mails": [], "by": "link"}), "opened the link of a mail: Bo gets no more mails about the organization"),
        ("member.invite", none(), json!({"user": "u2", "link": "password-reset", "expiresAt": "2026-12-01T09:00:00Z"}), "made a link to choose another password for Bo"),
        ("member.invite", none(), json!({"user": "u1", "link": "email-verification", "by": "mail"}), "asked for a link to confirm the e-mail address"),
        ("session.sign_in", none(), json!({"user": "u1"}), "signed in"),
        ("session.sign_in", none(), json!({"user": "u1", "by": "provider", "issuer": "https://id.example", "linked": true}), "signed in by the provider https://id.example for the first time"),
        ("session.sign_in", none(), json!({"portalSession": "ps_1", "member": null}), "opened the portal by a link"),
        ("session.sign_in_failed", none(), json!({"user": "u2"}), "could not sign in as Bo"),
        ("session.sign_in_failed", none(), json!({"user": null}), "could not sign in with an address that nobody has"),
        ("session.sign_out", none(), json!({"user": "u1"}), "signed out"),
        ("portal.link", none(), json!({"portalSession": "ps_1", "member": "u2", "expiresAt": "2026-12-01T09:00:00Z"}), "made a link into the portal for Bo, open until Dec 1, 2026, 10:00"),
        ("portal.link", json!({"portalSession": "ps_1", "member": null}), none(), "took back the link into the portal"),
    ]
}

#[rustfmt::skip]
fn of_the_team(none: &Value) -> Vec<Case> {
    let none = || none.clone();
    let hook = |state: &str, why: Value| json!({"id": "we_1", "url": "https://x.example/h", "types": [], "description": "Billing", "state": state, "disabledReason": why});
    vec![
        ("key.create", none(), json!({"id": "k", "name": "App", "scopes": ["consume", "read"], "expiresAt": null}), "made the API key “App”, which may consume and read"),
        ("key.rotate", json!({"id": "k", "name": "App"}), json!({"id": "k2", "name": "App"}), "made another key in place of the API key “App”"),
        ("key.revoke", json!({"id": "k", "name": "App"}), json!({"id": "k", "name": "App", "revokedAt": "2026-12-01T09:00:00Z"}), "revoked the API key “App”"),
        ("catalog.apply", none(), json!({"meters": ["a", "b"], "plans": ["p"], "prices": ["x"]}), "applied a catalogue file with 1 plan, 2 meters and 1 price"),
        ("catalog.apply", json!({"key": "pro", "definition": null}), json!({"key": "pro", "definition": "{}"}), "made plan Pro"),
        ("catalog.apply", json!({"key": "pro", "definition": "{\"name\":\"Pro\",\"otherMeters\":\"none\"}"}), json!({"key": "pro", "definition": "{\"name\":\"Pro\",\"limits\":[]}"}), "changed plan Pro (other meters and limits)"),
        ("catalog.apply", json!({"key": "pro", "definition": "{}"}), json!({"key": "pro", "definition": null}), "deleted plan Pro"),
        ("meter.change", json!({"key": "messages", "definition": "{\"unit\":\"m\"}"}), json!({"key": "messages", "definition": "{\"unit\":\"n\"}"}), "changed the meter Messages (unit)"),
        ("price.change", json!({"version": 1, "prices": []}), json!({"version": 2, "prices": ["gpt from 2026-11-01: input 1, output 2"]}), "added the price gpt from 2026-11-01: input 1, output 2"),
        ("price.change", none(), json!({"recompute": true, "from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}), "began to price past usage again from Nov 1, 2026, 01:00 to Nov 2, 2026, 01:00"),
        ("price.change", json!({"prices": ["a", "b"]}), json!({"prices": ["c", "d", "e"]}), "changed the table of prices: 3 prices set, 2 replaced or removed"),
        ("endpoint.change", none(), hook("enabled", Value::Null), "made the webhook endpoint “Billing”, at https://x.example/h"),
        ("endpoint.change", hook("enabled", Value::Null), hook("disabled", json!("operator")), "disabled the webhook endpoint “Billing”"),
        ("endpoint.change", hook("disabled", json!("operator")), hook("enabled", Value::Null), "enabled the webhook endpoint “Billing”"),
        ("endpoint.change", hook("enabled", Value::Null), json!({"id": "we_1"}), "deleted the webhook endpoint “Billing”"),
        ("endpoint.change", none(), json!({"id": "we_1", "tested": "msg_1"}), "sent a test to the webhook endpoint “we_1”"),
        ("setting.change", json!({"contact": "a@x", "logoUrl": null}), json!({"contact": "b@x", "logoUrl": "data:image/png;base64,AA"}), "changed the contact from a@x to b@x and the logo"),
        ("backup.create", none(), json!({"name": "nightly"}), "began a backup “nightly”"),
        ("audit.resolve", json!({"note": null}), json!({"note": "seen"}), "marked entry 13 as resolved: “seen”"),
        ("audit.checkpoint", none(), json!({"chains": 12, "root": "00"}), "sealed the ends of 12 chains"),
        ("audit.checkpoint", none(), json!({"until": "2026-11-01T00:00:00Z", "chains": 2, "entries": 120, "file": "audit-1.jsonl"}), "exported 120 older entries from before Nov 1, 2026, 01:00 into audit-1.jsonl"),
        ("audit.checkpoint", none(), json!({"begins": 121}), "dropped older entries, which were exported: this log begins with entry 121"),
    ]
}

#[test]
fn every_action_is_told_as_a_sentence_with_names_and_values() {
    for (action, before, after, expected) in cases() {
        assert_eq!(said_of(action, &before, &after, &json!({"seq": 13})), expected, "{action}");
    }
    let told: std::collections::BTreeSet<_> = cases().into_iter().map(|(action, ..)| action).collect();
    let known: std::collections::BTreeSet<_> = labels().map(|(action, _)| action).collect();
    assert_eq!(told, known, "each has a case here");
}

#[test]
fn what_is_forgotten_or_missing_leaves_a_whole_sentence() {
    for (action, _) in labels() {
        for body in [json!({}), Value::Null, json!({"meter": null, "plan": null, "user": null})] {
            let said = said_of(action, &body, &body, &Value::Null);
            let is_whole = !said.is_empty() && !said.contains("  ") && !said.contains("null") && !said.contains("“”");
            let ends = said.ends_with([' ', ':', ',', '('])
                || said.ends_with(" to")
                || said.ends_with(" from")
                || said.ends_with(" of");
            assert!(is_whole && !ends, "{action}: {said:?}");
        }
    }
}

#[test]
fn an_action_of_the_applications_own_is_told_by_its_name() {
    let own = entry("document.upload", &json!({}), &json!({}), &json!({}));
    assert_eq!((said(&own, &names(), &Zone::utc()), label("document.upload")), (None, None));
    let shown = crate::audit::Entry::new(own, Zone::utc()).told(&names());
    assert_eq!(shown.as_str(), r#"<strong title="user:u1">Anna</strong>: <span class="mono">document.upload</span>"#);
}

#[test]
fn whoever_signs_in_is_the_one_who_did_it_and_nothing_escapes_its_place() {
    let mut signed = entry("session.sign_in", &json!({}), &json!({"user": "u2"}), &json!({}));
    signed.actor = "anonymous".to_owned();
    let shown = crate::audit::Entry::new(signed.clone(), Zone::utc()).told(&names());
    assert_eq!(shown.as_str(), r#"<strong title="user:u2">Bo</strong> signed in"#);
    signed.action = "session.sign_in_failed".to_owned();
    let shown = crate::audit::Entry::new(signed, Zone::utc()).told(&names());
    assert_eq!(shown.as_str(), r#"<strong title="anonymous">Somebody</strong> could not sign in as Bo"#);
    let named = entry("organization.create", &json!({}), &json!({"name": "<b>", "plan": "pro"}), &json!({}));
    let shown = crate::audit::Entry::new(named, Zone::utc()).told(&names());
    assert!(shown.as_str().contains("“&lt;b&gt;”"), "{}", shown.as_str());
}

#[test]
fn days_of_a_month_are_ordinal_and_of_many_parts_a_few_are_named() {
    let parts = |many: usize| (1..=many).map(|at| at.to_string()).collect::<Vec<_>>();
    let expected = ["", "1", "1 and 2", "1, 2 and 3", "1, 2, 3 and 4", "1, 2, 3 and 2 more", "1, 2, 3, 4 and 2 more"];
    for (many, expected) in expected.into_iter().enumerate() {
        assert_eq!(joined(&parts(many)), expected);
    }
    for (day, expected) in [
        (1, "the 1st"),
        (2, "the 2nd"),
        (3, "the 3rd"),
        (4, "the 4th"),
        (11, "the 11th"),
        (13, "the 13th"),
        (21, "the 21st"),
        (31, "the 31st"),
    ] {
        let moved = |day: i32| json!({"billingCycleStartDate": format!("2026-11-{day:02}")});
        let said = said_of("billing.cycle", &moved(28), &moved(day), &json!({}));
        assert_eq!(said, format!("moved the billing cycle from the 28th to {expected}"));
    }
}

#[test]
fn of_a_link_to_another_password_nobody_knows_who_asked_for_it() {
    let after = json!({"user": "u2", "link": "password-reset", "by": "mail"});
    let mut asked = entry("member.invite", &json!({}), &after, &json!({}));
    asked.actor = "anonymous".to_owned();
    let shown = crate::audit::Entry::new(asked, Zone::utc()).told(&names());
    let expected = r#"<strong title="anonymous">Somebody</strong> asked for a link to choose another password for Bo"#;
    assert_eq!(shown.as_str(), expected);
}

#[test]
fn whom_an_entry_names_is_looked_up_where_it_is_metergates_own_and_names_a_user() {
    let id = "01a2227b-dfd7-7cf7-8b53-5dd61e02d89b";
    #[rustfmt::skip]
    let cases = [ // action, id, who is looked up
        ("member.change",   id,   &["user:u1", "user:01a2227b-dfd7-7cf7-8b53-5dd61e02d89b"][..]),
        ("document.upload", id,   &["user:u1"]),
        ("member.change",   "42", &["user:u1"]),
    ];
    for (action, id, expected) in cases {
        let named = entry(action, &json!({}), &json!({"user": id}), &json!({}));
        assert_eq!(named.actors().collect::<Vec<_>>(), expected, "{action} {id}");
    }
}
