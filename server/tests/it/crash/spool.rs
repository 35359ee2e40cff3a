//! `degraded` on meters that are recorded: while PostgreSQL cannot be reached each does exactly what its policy says, and what
//! passed is recorded once, whatever happens to the node in between.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::http::client::{Answer, Client};
use crate::http::server::Server;
use crate::invariant::{Held, holds};
use crate::proxy::Proxy;
use crate::store::Database;

mod damaged;
mod hanging;

/// A node whose way to its PostgreSQL can be cut. `acme` has 10 a billing period of each meter: of `calls` nothing passes undecided, of
/// `polls` everything, of `pings` three a minute.
struct Node {
    server: Server,
    admin: Client,
    proxy: Proxy,
    database: Database,
}

impl Node {
    fn start(more: &[(&str, &str)]) -> Self {
        let database = Database::new();
        let (proxy, url) = before(&database);
        let server = Server::with(&[&[("METERGATE_DATABASE_URL", url.as_str())], more].concat());
        let admin = server.admin();
        let meters = ["calls", "polls", "pings"];
        for meter in meters {
            admin.put(&format!("/v1/meters/{meter}"), json!({"aggregation": "sum"})).is(201);
        }
        let limits = meters.map(|meter| json!({"meter": meter, "window": "billingPeriod", "max": 10}));
        let plan = json!({"limits": limits, "degraded": {"polls": "allow", "pings": {"safe": 3}}});
        admin.put("/v1/plans/small", plan).is(201);
        admin.post("/v1/organizations", json!({"key": "acme", "name": "Acme", "plan": "small"})).is(201);
        let node = Self { server, admin, proxy, database };
        assert_eq!(node.ask("calls", 1, None).is(200).json()["allowed"], true, "the node has seen the organization");
        node
    }

    fn ask(&self, meter: &str, quantity: i64, id: Option<&str>) -> Answer {
        let asked = json!({"organization": "acme", "meter": meter, "quantity": quantity, "id": id});
        self.admin.post("/v1/consume", asked)
    }

    /// PostgreSQL cannot be reached, and the node knows.
    fn cut_off(&self) {
        self.proxy.refuse();
        self.proxy.cut();
        self.until("the node knows", || self.ask("calls", 0, None).status == 503);
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..3000 {
            if holds() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{what}: not within a minute");
    }

    /// What the record says was used, with what went beyond the limit.
    fn used(&self, meter: &str) -> Option<(i64, i64)> {
        let usage = self.admin.get("/v1/organizations/acme/usage");
        let usage = (usage.status == 200).then(|| usage.json())?;
        let of_meter = usage["meters"].as_array()?.iter().find(|one| one["meter"] == meter)?.clone();
        Some((of_meter["used"].as_i64()?, of_meter["overage"].as_i64()?))
    }

    fn becomes(&self, meter: &str, expected: (i64, i64)) {
        self.until(&format!("{meter} is {expected:?}"), || self.used(meter) == Some(expected));
        // And stays so: nothing counts twice.
        std::thread::sleep(std::time::Duration::from_millis(600));
        assert_eq!(self.used(meter), Some(expected), "{meter}");
    }

    fn spool(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.server.folder().join("data").join("spool")).unwrap();
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "spool"))
            .collect()
    }

    fn spooled(&self) -> u64 {
        self.spool().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    }
}

fn before(database: &Database) -> (Proxy, String) {
    let secret = database.secret();
    let (_, rest) = secret.expose().split_once('@').expect("a user");
    let (host, _) = rest.split_once('/').expect("a database");
    let proxy = Proxy::before(host);
    let url = secret.expose().replace(host, &proxy.address());
    (proxy, url)
}

fn passed(answer: Answer) -> Value {
    let body = answer.is(200).json();
    assert_eq!(
        (&body["allowed"], &body["degraded"], &body["limits"]),
        (&json!(true), &json!(true), &json!([])),
        "{body}"
    );
    body
}

#[test]
fn each_meter_does_what_its_policy_says_and_what_passed_is_recorded_once() {
    let node = Node::start(&[]);
    node.cut_off();
    let denied = node.ask("calls", 1, None);
    assert_eq!(denied.header("retry-after"), Some("1"));
    denied.expect_problem(503, "unavailable");
    passed(node.ask("polls", 50, None));
    let pings = [2, 2, 1, 1].map(|quantity| node.ask("pings", quantity, None).status);
    assert_eq!(pings, [200, 503, 200, 503], "three a minute");
    // An id has its first answer, here and once it stands in the record.
    let first = passed(node.ask("polls", 5, Some("a")));
    let again = node.ask("polls", 5, Some("a"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(passed(again), first);
    node.ask("polls", 6, Some("a")).expect_problem(422, "idempotency-mismatch");
    let item = |meter: &str| json!({"organization": "acme", "meter": meter, "quantity": 1});
    let items = node.admin.post("/v1/consume", json!([item("polls"), item("calls")])).is(200).json();
    assert_eq!((&items["data"][0]["degraded"], &items["data"][1]["code"]), (&json!(true), &json!("unavailable")));
    node.admin.post("/v1/consume", json!([item("calls"), item("calls")])).expect_problem(503, "unavailable");
    let together = |meters: [&str; 2]| {
        let items = meters.map(|meter| json!({"meter": meter, "quantity": 1}));
        node.admin.post("/v1/consume", json!({"organization": "acme", "together": items}))
    };
    together(["polls", "calls"]).expect_problem(503, "unavailable");
    assert!(node.spooled() > 0);

    node.proxy.heal();
    node.becomes("polls", (56, 46));
    node.becomes("pings", (3, 0));
    node.becomes("calls", (1, 0));
    node.until("nothing waits", || node.spooled() == 0);
    let stored = node.ask("polls", 5, Some("a"));
    assert_eq!(stored.header("idempotent-replayed"), Some("true"));
    assert_eq!(passed(stored), first, "the first answer");
    node.ask("polls", 6, Some("a")).expect_problem(422, "idempotency-mismatch");
    assert_eq!(node.ask("polls", 1, None).is(200).json()["reason"], "quota-exceeded", "nothing more is admitted");
    assert_eq!(node.used("polls"), Some((56, 46)));
    let metrics = node.admin.get("/metrics").is(200).text;
    assert!(metrics.contains("metergate_degraded_decisions_total{answer=\"allowed\"}"), "{metrics}");
    // It is taken back as any decision is.
    let events = node.admin.list("/v1/events?organization=acme&meter=polls");
    assert!(
        events.iter().any(|event| event["id"] == "a" && event["source"] == "metergate:consume/polls"),
        "{events:?}"
    );
    node.admin.delete_because("/v1/events/a?organization=acme&source=metergate:consume/polls", "test").is(204);
    assert_eq!(node.used("polls").map(|(used, _)| used), Some(51));
}

#[test]
fn a_lock_and_a_stranger_are_refused_all_the_same() {
    let node = Node::start(&[]);
    node.admin.post("/v1/organizations", json!({"key": "globex", "name": "Globex", "plan": "small"})).is(201);
    let key = json!({"name": "k", "scopes": ["consume"], "organization": "globex"});
    let key = node.admin.post("/v1/api-keys", key).is(201).json();
    node.admin.put("/v1/organizations/acme/lock", json!({"reason": "test"})).is(200);
    node.cut_off();
    let refused = node.ask("polls", 1, None).is(200).json();
    assert_eq!((&refused["allowed"], &refused["reason"]), (&json!(false), &json!("organization-locked")));
    assert_eq!(refused["degraded"], true);
    let theirs = node.server.client(key["key"].as_str().unwrap());
    let asked = json!({"organization": "acme", "meter": "polls", "quantity": 1});
    theirs.post("/v1/consume", asked).expect_problem(404, "unknown-organization");
    let unseen = json!({"organization": "nobody", "meter": "polls", "quantity": 1});
    node.admin.post("/v1/consume", unseen).expect_problem(503, "unavailable");
    assert_eq!(node.spooled(), 0);
}

/// What was answered before the node was killed is recorded by its next start, under the same ids.
fn killed(planted: Option<&str>) -> Held {
    let bug: Vec<_> = planted.map(|bug| ("METERGATE_PLANTED", bug)).into_iter().collect();
    let mut node = Node::start(&bug);
    node.cut_off();
    for i in 0..20 {
        passed(node.ask("polls", 1, (i % 2 == 0).then(|| format!("id-{i}")).as_deref()));
    }
    node.server.kill();
    node.proxy.heal();
    node.server.start_again();
    node.until("nothing waits", || node.spooled() == 0);
    let used = node.used("polls");
    holds("degraded", used == Some((20, 10)), || format!("{used:?} after 20 of 10 have passed"))?;
    for i in (0..20).step_by(2) {
        passed(node.ask("polls", 1, Some(&format!("id-{i}"))));
    }
    assert_eq!(node.used("polls"), Some((20, 10)));
    assert_eq!(node.spool().len(), 1, "what is recorded is gone");
    Ok(())
}

#[test]
fn what_passed_is_recorded_once_by_the_next_start_of_a_node_that_was_killed() {
    killed(None).unwrap_or_else(|violation| panic!("{violation}"));
}

/// The node dies when all is recorded, and before that is noted.
fn died(planted: Option<&str>) -> Held {
    let bug: Vec<_> = planted.map(|bug| ("METERGATE_PLANTED", bug)).into_iter().collect();
    let mut node = Node::start(&bug);
    node.server.kill();
    node.server.set("FAILPOINTS", "spool-recorded=return");
    node.server.start_again();
    assert_eq!(node.ask("calls", 1, None).is(200).json()["allowed"], true, "the node has seen the organization");
    node.cut_off();
    for i in 0..10 {
        passed(node.ask("polls", 1, (i % 2 == 0).then(|| format!("id-{i}")).as_deref()));
    }
    node.proxy.heal();
    node.server.died();
    assert!(node.spooled() > 0, "it still stands there");
    node.server.set("FAILPOINTS", "");
    node.server.start_again();
    node.until("nothing waits", || node.spooled() == 0);
    let used = node.used("polls");
    holds("degraded", used == Some((10, 0)), || format!("{used:?} after 10 have passed"))
}

#[test]
fn a_node_that_dies_when_it_is_recorded_and_before_that_is_noted_counts_nothing_twice() {
    died(None).unwrap_or_else(|violation| panic!("{violation}"));
}

#[test]
fn planted_bugs_of_the_spool_are_seen() {
    assert!(killed(Some("pass-unspooled")).is_err(), "what passes without being kept is missed");
    assert!(died(Some("spool-counts-anew")).is_err(), "what is recorded under other ids counts twice");
}

#[test]
fn a_torn_end_loses_nothing_that_was_answered() {
    let mut node = Node::start(&[]);
    node.cut_off();
    (0..5).for_each(|_| _ = passed(node.ask("polls", 1, None)));
    node.server.kill();
    let file = node.spool().pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let torn = bytes[..bytes.len() / 2 + 3].to_vec();
    bytes.extend_from_slice(&torn[..20]);
    fs::write(&file, &bytes).unwrap();
    node.proxy.heal();
    node.server.start_again();
    node.becomes("polls", (5, 0));
    assert!(node.server.log().contains("no entry"), "{}", node.server.log());
}

#[test]
fn a_full_spool_says_so_and_lets_nothing_pass() {
    let node = Node::start(&[("METERGATE_SPOOL_BYTES", "65536")]);
    node.cut_off();
    let large =
        json!({"organization": "acme", "meter": "polls", "quantity": 1, "properties": {"text": "x".repeat(8000)}});
    let mut passed_so_far = 0;
    let full = loop {
        let answer = node.admin.post("/v1/consume", &large);
        if answer.status != 200 {
            break answer;
        }
        passed_so_far += 1;
        assert!(passed_so_far < 100, "it is never full");
    };
    full.expect_problem(503, "spool-full");
    assert!(passed_so_far > 3 && node.spooled() <= 65536);
    node.proxy.heal();
    node.becomes("polls", (passed_so_far, 0));
    assert_eq!(node.ask("polls", 1, None).is(200).json()["allowed"], passed_so_far < 10, "the record decides again");
}
