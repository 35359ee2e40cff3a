//! Webhooks (N1, N4): endpoints, and what is sent to a receiver that takes it, refuses it, redirects, or says nothing.

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

#[path = "webhooks/endpoints.rs"]
mod endpoints;
#[path = "webhooks/receiver.rs"]
mod receiver;
#[path = "webhooks/troubles.rs"]
mod troubles;
#[path = "webhooks/verified.rs"]
mod verified;

use receiver::wait;
pub(super) use receiver::{How, Receiver};

/// A receiver that answers 410 to what comes first.
pub(super) fn gone() -> Receiver {
    let receiver = Receiver::start();
    receiver.next("/", [How::status(410)]);
    receiver
}

const ENDPOINTS: &str = "/v1/webhook-endpoints";
/// Receivers of the tests are on this machine.
const ALLOWED: (&str, &str) = ("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8");

/// An endpoint at a path of a receiver that hears of locks alone.
struct Endpoint {
    admin: Client,
    path: String,
    secret: String,
}

impl Endpoint {
    fn new(server: &Server, receiver: &Receiver, path: &str) -> Self {
        let admin = server.admin();
        let body = json!({"url": format!("{}{path}", receiver.url), "types": ["organization.locked"]});
        let made = admin.post(ENDPOINTS, body).is(201).json();
        let secret = made["secret"].as_str().unwrap().to_owned();
        Self { admin, path: format!("{ENDPOINTS}/{}", made["id"].as_str().unwrap()), secret }
    }

    fn get(&self) -> Value {
        self.admin.get(&self.path).is(200).json()
    }

    fn deliveries(&self, query: &str) -> Vec<Value> {
        self.admin.list(&format!("{}/deliveries{query}", self.path))
    }

    /// The newest delivery, once it is so.
    fn delivery(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let look = || self.deliveries("").into_iter().next().filter(|newest| holds(newest));
        wait(look).unwrap_or_else(|| panic!("it does not become so: {:#?}", self.deliveries("")))
    }

    fn delivered(&self) -> Value {
        self.delivery(|newest| newest["state"] == "delivered")
    }

    fn tried(&self, times: u64) -> Value {
        self.delivery(|newest| newest["attemptCount"] == times)
    }

    fn send_again(&self, delivery: &Value) -> super::client::Answer {
        let id = delivery["id"].as_str().unwrap();
        self.admin.call("POST", &format!("{}/deliveries/{id}/resend", self.path)).send()
    }
}

fn started() -> (Receiver, Server) {
    let receiver = Receiver::start();
    let server = Server::with(&[ALLOWED]);
    server.admin().post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "pro"})).is(201);
    (receiver, server)
}

/// What tells every endpoint of these tests something.
fn lock(server: &Server) {
    server.admin().put("/v1/organizations/acme/lock", json!({"reason": "unpaid"})).is(200);
}

fn unlock(server: &Server) {
    server.admin().delete_because("/v1/organizations/acme/lock", "paid").is(204);
}

fn statuses(delivery: &Value) -> Vec<Value> {
    delivery["attempts"].as_array().unwrap().iter().map(|attempt| attempt["status"].clone()).collect()
}

#[test]
fn what_happens_is_sent_once_to_each_endpoint_that_wants_to_hear_of_it() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    let others = json!({"url": format!("{}/others", receiver.url), "types": ["grant.created"]});
    server.admin().post(ENDPOINTS, others).is(201);
    lock(&server);
    let received = receiver.received("/hooks", 0);
    assert_eq!(received.kind(), "organization.locked");
    assert_eq!(received.json()["data"]["organization"]["key"], "acme", "{}", received.body);
    assert_eq!(received.header("content-type"), "application/json");
    assert!(received.header("user-agent").starts_with("Metergate/"));
    let delivery = hooks.delivered();
    assert_eq!((delivery["id"].as_str(), &delivery["body"]), (Some(received.id()), &received.json()));
    assert_eq!((&delivery["type"], &delivery["attemptCount"]), (&json!("organization.locked"), &json!(1)));
    assert_eq!(delivery["organization"], received.json()["data"]["organization"]["id"]);
    assert_eq!((&delivery["nextAttemptAt"], statuses(&delivery)), (&Value::Null, vec![json!(200)]));
    assert_eq!(delivery["attempts"][0]["response"], "that is 200");
    let health = hooks.get();
    assert!(health["lastAttemptAt"].is_string() && health["lastDeliveredAt"] == health["lastAttemptAt"], "{health}");
    assert_eq!(health["failingSince"], Value::Null);
    assert!(receiver.at("/others").is_empty(), "it did not want to hear of this");
    unlock(&server);
    lock(&server);
    receiver.received("/hooks", 1);
    hooks.delivered();
    assert_eq!(receiver.at("/hooks").len(), 2, "each is sent once");
}

#[test]
fn deliveries_are_listed_newest_first_in_pages_and_by_state_and_type() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    for _ in 0..3 {
        lock(&server);
        unlock(&server);
    }
    receiver.received("/hooks", 2);
    let is_done = || hooks.deliveries("").iter().all(|delivery| delivery["state"] == "delivered").then_some(());
    wait(is_done).unwrap();
    let ids = |query: &str| -> Vec<String> {
        hooks.deliveries(query).iter().map(|delivery| delivery["id"].as_str().unwrap().to_owned()).collect()
    };
    let sent: Vec<String> = receiver.at("/hooks").iter().rev().map(|received| received.id().to_owned()).collect();
    assert_eq!(ids(""), sent);
    assert_eq!(ids("?limit=1"), sent, "page after page");
    assert_eq!(ids("?state=delivered&type=organization.locked"), sent);
    for none in ["?state=pending", "?state=failed", "?type=usage.reset"] {
        assert!(ids(none).is_empty(), "{none}");
    }
    for (query, pointer) in [("?state=lost", "?state"), ("?cursor=01aa", "?cursor"), ("?limit=0", "?limit")] {
        let problem = hooks.admin.get(&format!("{}/deliveries{query}", hooks.path)).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    hooks.admin.get(&format!("{ENDPOINTS}/ep_none/deliveries")).expect_problem(404, "unknown-endpoint");
}

#[test]
fn a_message_can_be_sent_again_under_its_id() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    lock(&server);
    let delivery = hooks.delivered();
    let again = hooks.send_again(&delivery).is(200).json();
    assert_eq!((&again["id"], &again["body"]), (&delivery["id"], &delivery["body"]));
    let (first, second) = (receiver.received("/hooks", 0), receiver.received("/hooks", 1));
    assert_eq!((first.id(), &first.body), (second.id(), &second.body));
    let both = hooks.tried(2);
    assert_eq!((both["state"].as_str(), statuses(&both)), (Some("delivered"), vec![json!(200), json!(200)]));
    let path = format!("{}/deliveries/{}/resend", hooks.path, delivery["id"].as_str().unwrap());
    let once = || hooks.admin.call("POST", &path).header("idempotency-key", "again").send().is(200);
    once();
    hooks.tried(3);
    assert_eq!(once().header("idempotent-replayed"), Some("true"));
    for unknown in ["msg_00000000000000000000000000000000", "1"] {
        let path = format!("{}/deliveries/{unknown}/resend", hooks.path);
        hooks.admin.call("POST", &path).send().expect_problem(404, "unknown-delivery");
    }
    hooks.admin.patch(&hooks.path, json!({"enabled": false})).is(200);
    hooks.send_again(&delivery).expect_problem(409, "endpoint-disabled");
    assert_eq!(receiver.at("/hooks").len(), 3);
}

#[test]
fn an_endpoint_is_tried_at_once_and_the_answer_says_what_it_said() {
    let (receiver, server) = started();
    let hooks = Endpoint::new(&server, &receiver, "/hooks");
    let test =
        |key: &str| hooks.admin.call("POST", &format!("{}/test", hooks.path)).header("idempotency-key", key).send();
    let tried = test("a").is(201).json();
    let received = receiver.received("/hooks", 0);
    assert_eq!((received.kind().as_str(), Some(received.id())), ("webhook.test", tried["id"].as_str()));
    assert_eq!((&tried["state"], &tried["type"]), (&json!("delivered"), &json!("webhook.test")));
    assert_eq!((&tried["organization"], statuses(&tried)), (&Value::Null, vec![json!(200)]));
    let again = test("a").is(201);
    assert_eq!((again.header("idempotent-replayed"), &again.json()), (Some("true"), &tried));
    receiver.next("/hooks", [How::status(500)]);
    let failed = test("b").is(201).json();
    assert_eq!((failed["state"].as_str(), statuses(&failed)), (Some("pending"), vec![json!(500)]));
    assert!(failed["nextAttemptAt"].is_string());
    assert_eq!(receiver.at("/hooks").len(), 2, "what is repeated under its key is sent once");
    hooks.admin.patch(&hooks.path, json!({"enabled": false})).is(200);
    test("c").expect_problem(409, "endpoint-disabled");
    let entries = hooks.admin.list("/v1/audit-log?action=endpoint.change");
    assert_eq!(entries.iter().filter(|entry| entry["after"]["tested"].is_string()).count(), 2);
}
