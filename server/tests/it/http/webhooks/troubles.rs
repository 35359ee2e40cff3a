//! Receivers that do not take what is sent, and what becomes of it.

use metergate_rules::time::{DAY, HOUR};
use serde_json::{Value, json};

use super::receiver::{How, wait};
use super::{Endpoint, lock, started, statuses, unlock};

#[test]
fn what_fails_is_tried_again_under_the_same_id_and_signed_anew() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", [How::status(500)]);
    lock(&server);
    let waiting = hooks.tried(1);
    assert_eq!((waiting["state"].as_str(), statuses(&waiting)), (Some("pending"), vec![json!(500)]));
    assert!(hooks.get()["failingSince"].is_string());
    let (first, second) = (receiver.received("/hooks", 0), receiver.received("/hooks", 1));
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    // A busy machine comes to it later.
    assert!((4..=30).contains(&(second.seconds() - first.seconds())), "{} {}", first.seconds(), second.seconds());
    assert_ne!(first.header("webhook-signature"), second.header("webhook-signature"));
    let delivered = hooks.delivered();
    assert_eq!(statuses(&delivered), [json!(500), json!(200)]);
    assert_eq!(delivered["attempts"][0]["response"], "that is 500");
    assert_eq!(hooks.get()["failingSince"], Value::Null);
}

#[test]
fn an_endpoint_that_says_nothing_holds_up_no_other_and_what_was_under_way_at_a_kill_is_sent_again() {
    let (receiver, mut server) = started();
    let [slow, fast] = ["/slow", "/fast"].map(|path| Endpoint::new(&server, &receiver, path));
    receiver.next("/slow", [How::Hang]);
    lock(&server);
    receiver.hung(1);
    for number in 0..3 {
        receiver.received("/fast", number);
        unlock(&server);
        lock(&server);
    }
    fast.delivered();
    assert_eq!(receiver.at("/slow").len(), 1, "one at a time goes to an endpoint");
    server.kill();
    server.start_again();
    receiver.received("/slow", 4);
    let sent: Vec<String> = receiver.at("/slow").iter().map(|received| received.id().to_owned()).collect();
    assert_eq!(sent[0], sent[1], "nobody heard what became of it");
    slow.delivered();
    assert!(slow.deliveries("").iter().all(|delivery| delivery["state"] == "delivered"));
    let fast: Vec<String> = receiver.at("/fast").iter().map(|received| received.id().to_owned()).collect();
    assert_eq!(sent[1..].len(), 4);
    assert!(sent.iter().all(|id| fast.contains(id)), "a message has one id for all: {sent:?} {fast:?}");
}

#[test]
fn eight_endpoints_that_say_nothing_hold_up_no_ninth() {
    let (receiver, server) = started();
    let slow: Vec<String> = (0..8).map(|number| format!("/slow/{number}")).collect();
    for path in &slow {
        Endpoint::new(&server, &receiver, path);
        receiver.next(path, [How::Hang, How::Hang]);
    }
    Endpoint::new(&server, &receiver, "/fast");
    for number in 0..3 {
        lock(&server);
        unlock(&server);
        receiver.received("/fast", number);
    }
    receiver.hung(8);
    assert!(slow.iter().all(|path| receiver.at(path).len() == 1), "all of them are waited for still");
}

#[test]
fn what_is_sent_again_while_a_try_is_under_way_is_tried_anew() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", [How::status(500), How::Hang]);
    lock(&server);
    hooks.tried(1);
    // The last try of its day is under way.
    server.sql(&format!("UPDATE deliveries SET began_at = began_at - {}, due_at = 1", DAY + HOUR));
    receiver.hung(1);
    let pending = hooks.deliveries("").remove(0);
    assert_eq!(hooks.send_again(&pending).is(200).json()["state"], "pending");
    let sent = hooks.delivered();
    assert_eq!(statuses(&sent), [json!(500), Value::Null, json!(200)], "{sent}");
    assert_eq!(receiver.at("/hooks").len(), 3);
}

#[test]
fn what_somebody_waits_for_is_sent_to_an_endpoint_that_rests_and_before_all_that_waits() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", [How::with(429, "retry-after: 3600")]);
    lock(&server);
    hooks.tried(1);
    let rests = || hooks.admin.get(&hooks.path).is(200).json()["restsUntil"].clone();
    assert!(rests().is_string(), "it is said until when");
    unlock(&server);
    lock(&server);
    let test = || hooks.admin.call("POST", &format!("{}/test", hooks.path)).send().is(201).json();
    receiver.next("/hooks", [How::with(429, "retry-after: 3600")]);
    assert_eq!(statuses(&test()), [json!(429)]);
    assert_eq!(receiver.at("/hooks").len(), 2, "nothing else is sent to it");
    assert_eq!(hooks.deliveries("?state=pending").len(), 3);
    // What an operator has enabled again rests no more.
    hooks.admin.patch(&hooks.path, json!({"enabled": false})).is(200);
    hooks.admin.patch(&hooks.path, json!({"enabled": true})).is(200);
    assert_eq!(rests(), Value::Null);
    receiver.received("/hooks", 2);
}

#[test]
fn nothing_of_a_deleted_organization_is_shown_any_more() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    lock(&server);
    let delivery = hooks.delivered();
    server.admin().delete_because("/v1/organizations/acme", "asked for").is(204);
    assert!(hooks.deliveries("").is_empty() && hooks.deliveries("?state=delivered").is_empty());
    hooks.send_again(&delivery).expect_problem(404, "unknown-delivery");
}

#[test]
fn a_repeated_request_has_an_answer_also_when_what_it_sent_has_gone() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    let call = |path: &str| hooks.admin.call("POST", path).header("idempotency-key", "k").send();
    let test = format!("{}/test", hooks.path);
    let tried = call(&test).is(201).json();
    let resend = format!("{}/deliveries/{}/resend", hooks.path, tried["id"].as_str().unwrap());
    call(&resend).is(200);
    hooks.tried(2);
    hooks.admin.delete(&hooks.path).is(204);
    server.sql("DELETE FROM deliveries");
    for (path, status) in [(test, 201), (resend, 200)] {
        let again = call(&path).is(status);
        assert_eq!((again.header("idempotent-replayed"), &again.json()["id"]), (Some("true"), &tried["id"]), "{path}");
    }
}

#[cfg(feature = "faults")]
#[test]
fn what_was_taken_and_not_noted_when_the_process_ended_comes_again_under_its_id() {
    let (receiver, mut server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    server.kill();
    server.set("FAILPOINTS", "webhook-sent=return");
    server.start_again();
    // It may end before it answers.
    let lock = server.admin();
    drop(lock.call("PUT", "/v1/organizations/acme/lock").json(json!({"reason": "unpaid"})).try_send());
    server.died();
    server.set("FAILPOINTS", "");
    server.start_again();
    let (first, second) = (receiver.received("/hooks", 0), receiver.received("/hooks", 1));
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    assert_eq!(hooks.delivered()["attemptCount"], 1, "of the other one nobody heard the end");
    assert_eq!(receiver.at("/hooks").len(), 2);
}

#[test]
fn a_receiver_that_answers_410_is_not_told_any_more_until_it_is_enabled() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", [How::status(410)]);
    lock(&server);
    let gone = hooks.delivery(|newest| newest["state"] == "failed");
    assert_eq!((statuses(&gone), &gone["nextAttemptAt"]), (vec![json!(410)], &Value::Null));
    wait(|| (hooks.get()["enabled"] == false).then_some(())).unwrap();
    let disabled = hooks.get();
    assert_eq!(disabled["disabledReason"], "gone");
    assert!(disabled["disabledAt"].is_string());
    let entry = hooks.admin.list("/v1/audit-log?action=endpoint.change&actor=system").remove(0);
    assert_eq!((&entry["before"]["state"], &entry["after"]["state"]), (&json!("enabled"), &json!("disabled")));
    assert_eq!(entry["after"]["disabledReason"], "gone");
    unlock(&server);
    lock(&server);
    assert_eq!(hooks.deliveries("").len(), 1, "nothing is written for it");
    let enabled = hooks.admin.patch(&hooks.path, json!({"enabled": true})).is(200).json();
    assert_eq!((&enabled["enabled"], &enabled["disabledReason"]), (&json!(true), &Value::Null));
    hooks.send_again(&gone).is(200);
    hooks.delivered();
    assert_eq!(receiver.at("/hooks").len(), 2);
}

#[test]
fn an_endpoint_that_cannot_keep_up_is_left_alone_for_as_long_as_it_asks() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", [How::with(429, "retry-after: 8")]);
    lock(&server);
    hooks.tried(1);
    unlock(&server);
    lock(&server);
    let [first, second, third] = [0, 1, 2].map(|number| receiver.received("/hooks", number));
    let waited = [second, third].map(|later| later.seconds() - first.seconds());
    assert!(waited.iter().all(|seconds| (7..=60).contains(seconds)), "nothing is sent to it meanwhile: {waited:?}");
    let two: Vec<_> = receiver.at("/hooks").iter().map(|received| received.id().to_owned()).collect();
    assert!(two[1..].contains(&two[0]) && two[1] != two[2], "{two:?}");
}

#[test]
fn a_redirection_is_a_failure_and_leads_nowhere() {
    let (receiver, server) = started();
    let redirected = [301, 302, 307, 308].map(|status| {
        let path = format!("/{status}");
        receiver.next(&path, [How::with(status, &format!("location: {}/inside", receiver.url))]);
        (status, Endpoint::new(&server, &receiver, &path))
    });
    lock(&server);
    for (status, endpoint) in redirected {
        let tried = endpoint.delivery(|newest| newest["attemptCount"].as_u64() > Some(0));
        assert_eq!(statuses(&tried)[0], json!(status));
        assert!(tried["attemptCount"] == 2 || tried["state"] == "pending", "{tried}");
    }
    assert!(receiver.at("/inside").is_empty());
}

#[test]
fn of_a_large_answer_the_beginning_is_kept() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    let large = format!("\0{}", "ä".repeat(1 << 20));
    receiver.next("/hooks", [How::Answer(200, String::new(), large)]);
    lock(&server);
    let response = hooks.delivered()["attempts"][0]["response"].as_str().unwrap().to_owned();
    assert!(response.starts_with("\u{fffd}ää") && response.chars().count() < 520, "{} characters", response.len());
}

#[test]
fn an_endpoint_that_took_nothing_for_three_days_is_paused_when_a_delivery_is_given_up() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    receiver.next("/hooks", std::iter::repeat_n(How::status(500), 4));
    lock(&server);
    hooks.tried(1);
    // A day later it is given up; the endpoint has taken nothing for a day.
    let back = |span: i64| {
        server.sql(&format!("UPDATE deliveries SET began_at = began_at - {span}, due_at = 0 WHERE state = 'pending'"));
    };
    back(DAY);
    hooks.delivery(|newest| newest["state"] == "failed");
    assert_eq!(hooks.get()["enabled"], true);
    unlock(&server);
    lock(&server);
    hooks.delivery(|newest| newest["state"] == "pending" && newest["attemptCount"] == 1);
    server.sql(&format!("UPDATE webhook_endpoints SET failing_at = failing_at - {}", 3 * DAY));
    back(DAY + HOUR);
    wait(|| (hooks.get()["enabled"] == false).then_some(())).expect("it is not paused");
    assert_eq!(hooks.get()["disabledReason"], "failing");
    let entry = hooks.admin.list("/v1/audit-log?action=endpoint.change&actor=system").remove(0);
    assert_eq!(entry["after"]["disabledReason"], "failing");
    assert!(server.log().contains("paused"), "{}", server.log());
    let enabled = hooks.admin.patch(&hooks.path, json!({"enabled": true})).is(200).json();
    assert_eq!((&enabled["enabled"], &enabled["failingSince"]), (&json!(true), &Value::Null));
    assert_eq!(hooks.get()["failingSince"], Value::Null);
}

#[test]
fn what_waits_for_a_disabled_endpoint_is_sent_within_the_day_and_canceled_after_it() {
    let receiver = super::Receiver::start();
    let server = super::Server::with(&[super::ALLOWED, ("METERGATE_SWEEP_SECONDS", "1")]);
    server.admin().post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let [first, second] = ["/first", "/second"].map(|path| Endpoint::new(&server, &receiver, path));
    for path in ["/first", "/second"] {
        receiver.next(path, [How::status(500)]);
    }
    lock(&server);
    for endpoint in [&first, &second] {
        endpoint.tried(1);
        endpoint.admin.patch(&endpoint.path, json!({"enabled": false})).is(200);
    }
    first.admin.patch(&first.path, json!({"enabled": true})).is(200);
    assert_eq!(first.delivered()["attemptCount"], 2);
    server.sql(&format!("UPDATE deliveries SET due_at = due_at - {} WHERE state = 'pending'", DAY + HOUR));
    second.delivery(|newest| newest["state"] == "canceled");
    assert_eq!(receiver.at("/second").len(), 1);
}

#[test]
fn what_was_delivered_goes_after_thirty_days_and_what_is_pending_stays() {
    let receiver = super::Receiver::start();
    let server = super::Server::with(&[super::ALLOWED, ("METERGATE_SWEEP_SECONDS", "1")]);
    server.admin().post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    lock(&server);
    hooks.delivered();
    receiver.next("/hooks", [How::with(503, "retry-after: 3600")]);
    unlock(&server);
    lock(&server);
    let pending = hooks.tried(1);
    server.sql(&format!("UPDATE messages SET at = at - {}", 30 * DAY + HOUR));
    let left = wait(|| Some(hooks.deliveries("")).filter(|left| left.len() == 1)).expect("it does not go");
    assert_eq!((&left[0]["id"], &left[0]["state"]), (&pending["id"], &json!("pending")));
    assert_eq!(server.number("SELECT count(*) FROM delivery_attempts"), 1);
    assert_eq!(server.number("SELECT count(*) FROM messages"), 1);
}
