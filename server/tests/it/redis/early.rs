//! Nodes that share a PostgreSQL and a Redis: what was refused a moment ago costs PostgreSQL nothing, and nobody is refused who
//! would not be.

use std::time::Duration;

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::kit::becomes;
use crate::http::client::Client;
use crate::http::server::Server;
use crate::invariant::{Held, holds};
use crate::proxy::Proxy;
use crate::servers::{OwnRedis, prefix, redis};
use crate::store::Database;

/// Nodes, and a client of each.
struct Nodes {
    nodes: Vec<Server>,
    clients: Vec<Client>,
    database: Database,
}

impl Nodes {
    /// So many nodes. `acme` has ten `calls` a billing period.
    fn start(redis: &str, count: usize) -> Self {
        Self::with(redis, count, &[])
    }

    fn with(redis: &str, count: usize, more: &[(&str, &str)]) -> Self {
        let (database, prefix) = (Database::new(), prefix());
        let url = database.secret();
        let settings = [
            ("METERGATE_DATABASE_URL", url.expose()),
            ("METERGATE_REDIS_URL", redis),
            ("METERGATE_REDIS_PREFIX", &prefix),
        ];
        let nodes: Vec<_> = (0..count).map(|_| Server::with(&[&settings, more].concat())).collect();
        let clients: Vec<_> = nodes.iter().map(Server::admin).collect();
        clients[0].put("/v1/meters/calls", json!({"aggregation": "sum"})).is(201);
        let limits = json!([{"meter": "calls", "window": "billingPeriod", "max": 10}]);
        clients[0].put("/v1/plans/small", json!({ "limits": limits })).is(201);
        let acme = json!({"key": "acme", "name": "Acme", "plan": "small"});
        clients[0].post("/v1/organizations", acme).is(201);
        for client in &clients {
            let asked = json!({"organization": "acme", "meter": "calls", "quantity": 0});
            becomes("the node knows the meter", || (client.post("/v1/consume", &asked).status == 200).then_some(()));
        }
        Self { nodes, clients, database }
    }

    /// The reason of a refusal by a node; nothing where it was allowed.
    fn reason(&self, node: usize, quantity: i64) -> Option<String> {
        ask(&self.clients[node], quantity)["reason"].as_str().map(str::to_owned)
    }

    fn allows(&self, node: usize, quantity: i64) -> bool {
        self.reason(node, quantity).is_none()
    }

    /// Uses all ten, and has all nodes know that one more is refused.
    fn exhaust(&self) {
        assert!(self.allows(0, 10));
        self.refuse_on_all();
    }

    fn refuse_on_all(&self) {
        for node in 0..self.nodes.len() {
            assert_eq!(self.reason(node, 1).as_deref(), Some("quota-exceeded"));
        }
    }

    /// How often this node has refused early.
    fn early(&self, node: usize) -> u64 {
        let metrics = self.clients[node].get("/metrics").is(200).text;
        let line = metrics.lines().find_map(|line| line.strip_prefix("metergate_early_refusals_total "));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// Transactions of the database so far, as its statistics have them.
    fn transactions(&self) -> i64 {
        self.database
            .number("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
    }

    /// Refuses on this node until a mark did.
    fn refused_early(&self, node: usize) {
        becomes("a mark refuses", || {
            let before = self.early(node);
            assert!(!self.allows(node, 1));
            (self.early(node) > before).then_some(())
        });
    }
}

fn ask(client: &Client, quantity: i64) -> Value {
    client.post("/v1/consume", json!({"organization": "acme", "meter": "calls", "quantity": quantity})).is(200).json()
}

#[test]
fn a_flood_on_an_exhausted_organization_hardly_touches_postgresql() {
    let nodes = Nodes::start(&redis(), 2);
    nodes.exhaust();
    let (before, began) = (nodes.transactions(), boot());
    let recorded = ask(&nodes.clients[0], 1);
    for i in 0..400 {
        let answer = ask(&nodes.clients[i % 2], 1);
        assert_eq!((&answer["limits"], &answer["reason"]), (&recorded["limits"], &recorded["reason"]));
        let wait = |answer: &Value| answer["retryAfterSeconds"].as_i64().unwrap();
        assert!((0..=60).contains(&(wait(&recorded) - wait(&answer))), "{answer} after {recorded}");
    }
    let early = nodes.early(0) + nodes.early(1);
    // Those that are repeated under an id are never refused early. What the same connections did before is counted with them.
    for i in 0..100 {
        let asked = json!({"organization": "acme", "meter": "calls", "quantity": 1, "id": format!("{i}")});
        assert_eq!(nodes.clients[i % 2].post("/v1/consume", asked).is(200).json()["allowed"], false);
    }
    assert_eq!(nodes.early(0) + nodes.early(1), early);
    let after = becomes("the statistics are there", || Some(nodes.transactions()).filter(|now| *now >= before + 100));
    assert!(early > 300, "{early} of 400 were refused early");
    // What nodes do by themselves is counted with them: a few in a second.
    let most = before + 400 + 14 * (boot() - began) / SECOND;
    assert!(after < most, "{} transactions for 400 refusals and 100 under ids", after - before);
    becomes("whoever is refused early is refused all the same, as the fleet view shows", || {
        let fleet = nodes.clients[0].get("/v1/fleet").is(200).json();
        fleet["refusedMost"]["data"][0]["refused"].as_u64().filter(|refused| *refused > 150)
    });
}

/// A grant is seen at once on the node that gave it.
pub(super) fn a_grant_is_seen(planted: Option<&str>) -> Held {
    let bug: Vec<_> = planted.map(|bug| ("METERGATE_PLANTED", bug)).into_iter().collect();
    let nodes = Nodes::with(&redis(), 1, &bug);
    nodes.exhaust();
    for round in 0..10 {
        nodes.refused_early(0);
        let grant = json!({"meter": "calls", "amount": 1, "reason": "r"});
        nodes.clients[0].post("/v1/organizations/acme/grants", grant).is(201);
        let reason = nodes.reason(0, 1);
        holds("early_refusal", reason.is_none(), || format!("{reason:?} after grant {round}"))?;
    }
    Ok(())
}

#[test]
fn whatever_gives_more_is_seen_at_once_where_it_is_done_and_within_a_second_elsewhere() {
    let nodes = Nodes::start(&redis(), 2);
    let admin = &nodes.clients[0];
    let large = json!({"limits": [{"meter": "calls", "window": "billingPeriod", "max": 40}]});
    admin.put("/v1/plans/large", large).is(201);
    let hold = json!({"organization": "acme", "meter": "calls", "quantity": 3, "ttlSeconds": 600});
    let held = admin.post("/v1/reservations", hold).is(201).json()["id"].as_str().unwrap().to_owned();
    let of_acme = |path: &str| format!("/v1/organizations/acme/{path}");
    let steps = [
        ("POST", format!("/v1/reservations/{held}/release"), json!({})),
        ("POST", of_acme("grants"), json!({"meter": "calls", "amount": 3, "reason": "r"})),
        ("POST", of_acme("adjustments"), json!({"meter": "calls", "quantity": -3, "reason": "r"})),
        ("PUT", of_acme("plan"), json!({"plan": "large", "reason": "r"})),
        ("PUT", of_acme("extra/calls"), json!({"quantity": 5, "reason": "r"})),
        ("POST", of_acme("usage/reset"), json!({"reason": "r"})),
        ("PUT", of_acme("overrides/calls/billingPeriod"), json!({"max": 100, "reason": "r"})),
    ];
    for (method, path, body) in steps {
        assert!((0..200).any(|_| !nodes.allows(0, 1)), "all of it is used");
        nodes.refused_early(0);
        nodes.refused_early(1);
        let answer = admin.call(method, &path).json(&body).send();
        assert!(answer.status < 300, "{path}: {}", answer.text);
        let given = boot();
        assert!(nodes.allows(0, 1), "{path}: at once on the node that did it");
        becomes(&path, || nodes.allows(1, 1).then_some(()));
        let took = boot() - given;
        assert!(took < 5 * SECOND, "{path}: {took} µs on the other node");
    }
}

#[test]
fn a_lock_an_id_and_meters_together_are_answered_by_the_record() {
    let nodes = Nodes::start(&redis(), 2);
    nodes.exhaust();
    let admin = &nodes.clients[0];
    nodes.refused_early(1);
    admin.put("/v1/organizations/acme/lock", json!({"reason": "test"})).is(200);
    becomes("the lock is the reason", || (nodes.reason(1, 1).as_deref() == Some("organization-locked")).then_some(()));
    for _ in 0..3 {
        assert_eq!(nodes.reason(0, 1).as_deref(), Some("organization-locked"), "and leaves no mark");
    }
    admin.delete_because("/v1/organizations/acme/lock", "test").is(204);
    assert_eq!(nodes.reason(0, 1).as_deref(), Some("quota-exceeded"), "at once where it was lifted");
    nodes.refused_early(0);
    let early = nodes.early(0);
    let one = |id: Option<&str>| json!({"organization": "acme", "meter": "calls", "quantity": 1, "id": id});
    admin.post("/v1/consume", one(Some("a"))).is(200);
    let both = admin.post("/v1/consume", json!([one(Some("b")), one(Some("c"))])).is(200).json();
    assert_eq!(both["data"][0]["allowed"], false);
    let together = json!({"organization": "acme", "together": [{"meter": "calls"}, {"meter": "api_calls"}]});
    assert_eq!(admin.post("/v1/consume", together).is(200).json()["allowed"], false);
    assert_eq!(admin.post("/v1/check", one(None)).is(200).json()["allowed"], false);
    assert_eq!(nodes.early(0), early);
}

#[test]
fn an_array_is_refused_early_item_by_item_and_leaves_marks_itself() {
    let nodes = Nodes::start(&redis(), 1);
    let admin = &nodes.clients[0];
    for organization in ["globex", "initech"] {
        admin.post("/v1/organizations", json!({"key": organization, "name": "Other", "plan": "small"})).is(201);
    }
    let item = |organization: &str, quantity: i64, id: Option<&str>| json!({"organization": organization, "meter": "calls", "quantity": quantity, "id": id});
    let ask = |items: &[Value]| {
        let data = admin.post("/v1/consume", json!(items)).is(200).json()["data"].as_array().unwrap().clone();
        data.iter().map(|one| one["allowed"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    nodes.exhaust();
    // Of one in which all but the second and the last are refused, and of which each is asked for what it was refused.
    let items = |id: u64| {
        let repeated = format!("r-{id}");
        [
            item("acme", 1, None),
            item("globex", 1, None),
            item("acme", 1, Some(&repeated)),
            item("acme", 1, None),
            item("acme", 0, None),
        ]
    };
    let early = becomes("two of them are refused early", || {
        let before = nodes.early(0);
        // What another organization uses in the same array is counted.
        admin.post("/v1/organizations/globex/usage/reset", json!({"reason": "test"})).is(200);
        assert_eq!(ask(&items(before)), [false, true, false, false, true]);
        (nodes.early(0) == before + 2).then_some(before + 2)
    });
    let used = |organization: &str| {
        let usage = admin.get(&format!("/v1/organizations/{organization}/usage")).is(200).json();
        let meters = usage["meters"].as_array().unwrap().clone();
        meters.iter().find(|one| one["meter"] == "calls").unwrap()["used"].as_i64().unwrap()
    };
    assert_eq!((used("globex"), used("acme"), nodes.early(0)), (1, 10, early));
    // An array leaves one mark for an organization, which stands for the less that was asked for, too.
    assert_eq!(
        ask(&[item("initech", 10, None), item("initech", 2, None), item("initech", 3, None)]),
        [true, false, false]
    );
    becomes("its mark refuses", || {
        let before = nodes.early(0);
        assert_eq!(ask(&[item("initech", 2, None), item("initech", 3, None)]), [false, false]);
        (nodes.early(0) == before + 2).then_some(())
    });
    let grant = json!({"meter": "calls", "amount": 2, "reason": "test"});
    admin.post("/v1/organizations/initech/grants", grant).is(201);
    assert_eq!(
        ask(&[item("initech", 3, None), item("initech", 2, None), item("initech", 1, None)]),
        [false, true, false]
    );
}

#[test]
fn marks_are_each_organizations_and_a_stranger_sees_none() {
    let nodes = Nodes::start(&redis(), 1);
    nodes.exhaust();
    let admin = &nodes.clients[0];
    nodes.refused_early(0);
    admin.post("/v1/organizations", json!({"key": "globex", "name": "Globex", "plan": "small"})).is(201);
    let of = |client: &Client, organization: &str| {
        client.post("/v1/consume", json!({"organization": organization, "meter": "calls", "quantity": 1}))
    };
    assert_eq!(of(admin, "globex").is(200).json()["allowed"], true);
    let key = json!({"name": "k", "scopes": ["consume"], "organization": "globex"});
    let key = admin.post("/v1/api-keys", key).is(201).json();
    let theirs = nodes.nodes[0].client(key["key"].as_str().unwrap_or_else(|| panic!("no key in {key}")));
    nodes.refused_early(0);
    of(&theirs, "acme").expect_problem(404, "unknown-organization");
    // Another one takes the key that the exhausted one leaves.
    nodes.refused_early(0);
    admin.patch("/v1/organizations/acme", json!({"key": "acme-old"})).is(200);
    admin.patch("/v1/organizations/globex", json!({"key": "acme"})).is(200);
    assert_eq!(of(admin, "acme").is(200).json()["allowed"], true);
    for _ in 0..3 {
        assert_eq!(of(admin, "acme-old").is(200).json()["allowed"], false);
    }
    // Nor is anything said of one that is deleted.
    admin.delete_because("/v1/organizations/acme-old", "test").is(204);
    of(admin, "acme-old").expect_problem(404, "unknown-organization");
}

#[test]
fn a_redis_that_is_slow_flushed_or_gone_changes_nothing_but_the_cost() {
    let mut own = OwnRedis::start();
    let proxy = Proxy::before(own.url().strip_prefix("redis://").unwrap());
    let nodes = Nodes::start(&format!("redis://{}", proxy.address()), 1);
    nodes.exhaust();
    nodes.refused_early(0);
    own.ask(&["FLUSHALL"]);
    let grant = |amount: i64| {
        let body = json!({"meter": "calls", "amount": amount, "reason": "test"});
        nodes.clients[0].post("/v1/organizations/acme/grants", body).is(201);
    };
    let exact = |what: &str| {
        grant(3);
        let allowed = (0..6).filter(|_| nodes.allows(0, 1)).count();
        assert_eq!(allowed, 3, "{what}");
    };
    exact("flushed");
    proxy.delay(Duration::from_millis(60));
    exact("slow");
    proxy.delay(Duration::ZERO);
    proxy.hold();
    let began = boot();
    exact("hung");
    assert!(boot() - began < 10 * SECOND, "nobody waits long");
    proxy.heal();
    own.kill();
    exact("gone");
    own.start_again();
    nodes.refused_early(0);
    exact("back");
}
