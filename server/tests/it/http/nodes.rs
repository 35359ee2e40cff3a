//! Two nodes on one PostgreSQL, from outside.

use serde_json::json;

use super::administrators::{made, path};
use super::client::Client;
use super::server::Server;
use super::streams::{Following, record};
use super::webhooks::{How, Receiver};
use crate::store::Database;

const PASSWORD: &str = "correct horse battery";

/// Whether it becomes so within ten seconds.
fn soon(holds: impl Fn() -> bool) -> bool {
    (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        holds()
    })
}

fn token(client: &Client, path: &str, email: &str) -> String {
    let mut form = json!({"email": email, "password": PASSWORD});
    if path.ends_with("register") {
        form["name"] = json!("N");
        form["organizationName"] = json!(email);
    }
    let answer = client.post(path, form);
    assert!(answer.status < 300, "{}", answer.text);
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_hears_of_people_what_has_changed_and_reads_the_others_no_more() {
    let database = Database::new();
    let url = database.secret();
    let settings = [("METERGATE_DATABASE_URL", url.expose())];
    let nodes = [Server::with(&settings), Server::with(&settings)];
    let knows = |token: &str| nodes[1].client(token).get("/v1/me").status == 200;
    let (stranger, register) = (nodes[0].stranger(), "/api/auth/register");
    let ann = token(&stranger, register, "ann@example.com");
    assert!(soon(|| knows(&ann)));
    // Whoever read all of them would find that hers cannot be read.
    database.run("UPDATE metergate.people SET data = decode('00', 'hex') WHERE kind = 'user'");
    let bob = token(&stranger, register, "bob@example.com");
    assert!(soon(|| knows(&bob)), "{}", nodes[1].log());
    let again = token(&stranger, "/api/auth/login", "bob@example.com");
    assert!(soon(|| knows(&again)) && knows(&ann));
    nodes[0].client(&bob).call("POST", "/api/auth/logout").send();
    assert!(soon(|| !knows(&bob)), "what goes is heard of");
    assert!(knows(&again) && knows(&ann));
}

#[test]
fn what_was_made_or_taken_away_on_one_node_is_so_on_the_other_when_the_answer_is_there() {
    let database = Database::new();
    let url = database.secret();
    let settings = [("METERGATE_DATABASE_URL", url.expose())];
    let nodes = [Server::with(&settings), Server::with(&settings)];
    let (here, there) = (nodes[0].admin(), nodes[1].admin());
    here.post("/v1/organizations", json!({"key": "acme", "plan": "enterprise"})).is(201);
    for round in 0..5 {
        let names = ["single", "array", "event", "held", "shown"].map(|name| format!("{name}_{round}"));
        let asked = |meter: &str| json!({"organization": "acme", "meter": meter, "quantity": 1});
        let make = |meter: &str| {
            here.put(&format!("/v1/meters/{meter}"), json!({"aggregation": "count", "eventType": meter})).is(201)
        };
        let [single, array, event, held, shown] = &names;
        make(single);
        assert_eq!(there.post("/v1/consume", asked(single)).is(200).json()["allowed"], true);
        make(array);
        let answers = there.post("/v1/consume", json!([asked(single), asked(array)])).is(200).json();
        assert_eq!((&answers["data"][0]["allowed"], &answers["data"][1]["allowed"]), (&json!(true), &json!(true)));
        make(event);
        let told = json!([{"specversion": "1.0", "id": event, "source": "test", "type": event, "subject": "acme"}]);
        let sent = there.call("POST", "/v1/events").body("application/cloudevents-batch+json", told.to_string()).send();
        assert_eq!(sent.is(200).json()["accepted"], 1);
        make(held);
        there
            .post("/v1/reservations", json!({"organization": "acme", "meter": held, "quantity": 1, "ttlSeconds": 60}))
            .is(201);
        make(shown);
        there.get(&format!("/v1/meters/{shown}")).is(200);
        let plan = json!({"name": "P", "limits": [{"meter": shown, "window": "day", "max": 5, "enforcement": "hard"}]});
        here.put(&format!("/v1/plans/{shown}"), plan).is(201);
        there.put("/v1/organizations/acme/plan", json!({"plan": shown, "reason": "r"})).is(200);
        here.put("/v1/organizations/acme/plan", json!({"plan": "enterprise", "reason": "r"})).is(200);
        here.delete(&format!("/v1/meters/{single}")).is(204);
        there.post("/v1/consume", asked(single)).expect_problem(404, "unknown-meter");
        let key =
            here.post("/v1/api-keys", json!({"name": format!("k-{round}"), "scopes": ["consume"]})).is(201).json();
        let own = nodes[1].client(key["key"].as_str().unwrap());
        own.post("/v1/consume", asked(array)).is(200);
        let token = token(&nodes[0].stranger(), "/api/auth/register", &format!("u-{round}@example.com"));
        nodes[1].client(&token).get("/v1/me").is(200);
    }
}

#[test]
fn one_node_sends_webhooks_at_a_time_also_after_its_turn_was_taken_from_it() {
    let database = Database::new();
    let url = database.secret();
    let settings = [("METERGATE_DATABASE_URL", url.expose()), ("METERGATE_WEBHOOK_ALLOW", "127.0.0.0/8")];
    let nodes = [Server::with(&settings), Server::with(&settings)];
    let (here, there) = (nodes[0].admin(), nodes[1].admin());
    let receiver = Receiver::start();
    here.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    // One that says nothing keeps the node that sends in its turn.
    receiver.next("/slow", [How::Hang]);
    for path in ["/slow", "/hooks"] {
        let body = json!({"url": format!("{}{path}", receiver.url), "types": ["organization.locked"]});
        here.post("/v1/webhook-endpoints", body).is(201);
    }
    let lock = |admin: &Client| {
        admin.put("/v1/organizations/acme/lock", json!({"reason": "r"})).is(200);
        admin.delete_because("/v1/organizations/acme/lock", "r").is(204);
    };
    lock(&here);
    receiver.received("/hooks", 0);
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 28007 AND objid = 4",
    );
    // It looks every five seconds whether it still is its turn.
    std::thread::sleep(std::time::Duration::from_secs(8));
    for number in 1..9 {
        lock(if number % 2 == 0 { &here } else { &there });
        receiver.received("/hooks", number);
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let sent = receiver.at("/hooks");
    let ids: std::collections::BTreeSet<&str> = sent.iter().map(|received| received.id()).collect();
    assert_eq!((sent.len(), ids.len()), (9, 9), "each is sent once");
}

#[test]
fn what_one_node_records_is_told_to_those_who_follow_on_another() {
    let database = Database::new();
    let url = database.secret();
    let settings = [("METERGATE_DATABASE_URL", url.expose())];
    let nodes = [Server::with(&settings), Server::with(&settings)];
    let (here, there) = (nodes[0].admin(), nodes[1].admin());
    here.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    let mut streams = ["", "?organization=acme"].map(|query| Following::of(&here, query));
    for i in 0..20 {
        record(if i % 2 == 0 { &here } else { &there }, "acme", &format!("e-{i}"));
    }
    for stream in &mut streams {
        for i in 0..20 {
            assert_eq!(stream.event().data.unwrap()["id"], format!("e-{i}"));
        }
    }
}

#[test]
fn of_two_administrators_whom_two_nodes_remove_at_once_one_stays() {
    let database = Database::new();
    let url = database.secret();
    let settings = [("METERGATE_DATABASE_URL", url.expose())];
    let nodes = [Server::with(&settings), Server::with(&settings)];
    let admin = nodes[0].admin();
    let mut last = made(&admin, "root@example.com");
    for round in 0..8 {
        let other = made(&admin, &format!("root-{round}@example.com"));
        let pair = [&last, &other];
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let remove = |at: usize| nodes[at].admin().delete(&path(pair[at])).status;
            let running = [0, 1].map(|at| scope.spawn(move || remove(at)));
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let stays = statuses.iter().position(|status| *status == 409);
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "round {round}: {statuses:?}");
        last = pair[stays.unwrap_or_else(|| panic!("round {round}: {statuses:?}"))].clone();
        for node in &nodes {
            let left = || node.admin().list("/v1/administrators");
            assert!(soon(|| left().len() == 1 && left()[0]["id"] == last), "round {round}: {:?}", left());
        }
    }
}
