//! A master of a cluster is lost: whose slots it had are answered as their plan says, what is recorded stays exact, and all others
//! go on; once its replica has taken its place, or it has come again, it counts as ever.

use serde_json::json;

use super::super::kit::{becomes, server, used};
use crate::http::client::{Answer, Client};
use crate::http::server::Server;
use crate::servers::{OwnCluster, prefix};

/// Organizations of which one at least is on each master, but for one run of ten thousand million.
const MANY: usize = 60;
/// Calls by which it is seen that something goes on.
const CALLS: i64 = 10;

/// A server, an organization whose slot the first master has, and another.
struct Node {
    server: Server,
    admin: Client,
    lost: String,
    other: String,
}

impl Node {
    fn start(cluster: &OwnCluster) -> Self {
        // The first key by which the node sees whether Redis can be written is on the one that is lost, too.
        let prefix = std::iter::repeat_with(prefix).find(|prefix| cluster.master_of(&format!("{prefix}:probe:0")) == 0);
        let prefix = prefix.expect("there is no end of them");
        let (server, admin) = server(&cluster.url(), &[("METERGATE_REDIS_PREFIX", &prefix)]);
        let limit = |meter: &str| json!({"meter": meter, "window": "minute", "max": 1000});
        let limits = ["hits", "polls", "pings", "api_calls"].map(limit);
        let plan = json!({
            "limits": limits,
            "degraded": {"polls": "allow", "pings": {"safe": 3}, "hits": "deny"},
        });
        admin.put("/v1/plans/wide", plan).is(201);
        let (mut lost, mut other) = (None, None);
        for number in 0..MANY {
            let key = format!("o-{number}");
            let made = admin.post("/v1/organizations", json!({"key": key, "name": "O", "plan": "wide"})).is(201).json();
            let tag = format!("{{{}}}", made["id"].as_str().unwrap());
            let place = if cluster.master_of(&tag) == 0 { &mut lost } else { &mut other };
            place.get_or_insert(key);
            if lost.is_some() && other.is_some() {
                break;
            }
        }
        let (lost, other) = (lost.expect("one has it"), other.expect("another has it"));
        Self { server, admin, lost, other }
    }

    fn ask(&self, organization: &str, meter: &str, quantity: u64) -> Answer {
        let asked = json!({"organization": organization, "meter": meter, "quantity": quantity});
        self.admin.post("/v1/consume", asked)
    }

    /// What was used after one more, where Redis has decided.
    fn counted(&self, organization: &str) -> Option<i64> {
        let answer = self.ask(organization, "hits", 1);
        let is_decided = answer.status == 200 && answer.json().get("degraded").is_none();
        is_decided.then(|| used(&answer.json()))
    }

    /// Each of some calls is decided by Redis, and counts once.
    fn goes_on(&self, organization: &str) {
        let first = becomes("Redis decides", || self.counted(organization));
        let told: Vec<Option<i64>> = (1..=CALLS).map(|_| self.counted(organization)).collect();
        // On a busy machine one may not be answered in time, and count or not.
        let answered: Vec<i64> = told.iter().copied().flatten().collect();
        assert!(answered.len() * 10 >= told.len() * 8, "{organization} goes on: {told:?} after {first}");
        let rises = answered.iter().zip(answered.iter().skip(1)).all(|(one, next)| one < next);
        assert!(rises && *answered.last().unwrap() <= first + CALLS, "{told:?} after {first}");
    }

    /// `degraded`: each meter of whose slot the master had does exactly what its policy says; what is recorded is exact.
    fn is_degraded(&self, recorded: i64) {
        for _ in 0..2 {
            let denied = self.ask(&self.lost, "hits", 1);
            assert_eq!(denied.header("retry-after"), Some("1"));
            let problem = denied.expect_problem(503, "unavailable");
            assert_eq!(problem["violated-policies"], json!(["hits-minute"]));
        }
        let allowed = self.ask(&self.lost, "polls", 50).is(200).json();
        assert_eq!((&allowed["degraded"], &allowed["limits"]), (&json!(true), &json!([])));
        let safe = [2, 2, 1, 1].map(|quantity| self.ask(&self.lost, "pings", quantity).status);
        assert_eq!(safe, [200, 503, 200, 503], "three a minute");
        let decided = self.ask(&self.lost, "api_calls", 1).is(200).json();
        assert_eq!((decided.get("degraded"), used(&decided)), (None, recorded));
    }

    /// What is recorded of the organization that lost its server.
    fn recorded(&self) -> i64 {
        let path = format!("/v1/usage?organization={}&meter=api_calls&granularity=total", self.lost);
        let usage = self.admin.get(&path).is(200).json();
        usage["data"].as_array().unwrap().iter().map(|row| row["value"].as_i64().unwrap()).sum()
    }

    /// The log has never said that there is no Redis, and the same process has answered all the while.
    fn has_gone_on(&self) {
        let log = self.server.log();
        assert!(!log.contains("Redis cannot be used"), "{log}");
        self.server.stranger().get("/readyz").is(200);
    }
}

#[test]
fn slots_of_a_lost_master_are_degraded_alone_until_its_replica_counts_them() {
    // Nobody takes the place of it by itself meanwhile.
    let mut cluster = OwnCluster::start(true, 120_000);
    let node = Node::start(&cluster);
    [&node.other, &node.lost].into_iter().for_each(|organization| node.goes_on(organization));
    let before = becomes("Redis decides", || node.counted(&node.lost));
    assert_eq!(used(&node.ask(&node.lost, "api_calls", 1).is(200).json()), 1);
    cluster.is_replicated();
    cluster.kill_first();
    node.is_degraded(2);
    node.goes_on(&node.other);
    assert_eq!(node.ask(&node.lost, "hits", 1).status, 503, "and still");
    cluster.promote();
    let counted = becomes("the replica counts", || node.counted(&node.lost));
    assert!(counted > before, "what was used is there: {counted} after {before}");
    node.goes_on(&node.lost);
    node.goes_on(&node.other);
    assert_eq!(node.recorded(), 2);
    node.has_gone_on();
}

#[test]
fn slots_of_a_lost_master_without_a_replica_are_degraded_alone_until_it_comes_again() {
    let mut cluster = OwnCluster::start(false, 1000);
    let node = Node::start(&cluster);
    node.goes_on(&node.lost);
    assert_eq!(used(&node.ask(&node.lost, "api_calls", 1).is(200).json()), 1);
    let id = cluster.first().ask(&["CLUSTER", "MYID"]);
    cluster.kill_first();
    node.is_degraded(2);
    // Also once the other masters know.
    cluster.misses_first(&id);
    node.goes_on(&node.other);
    node.ask(&node.lost, "hits", 1).expect_problem(503, "unavailable");
    cluster.start_first_again();
    let counted = becomes("it counts again", || node.counted(&node.lost));
    assert!(counted <= CALLS, "it has forgotten what was used: {counted}");
    node.goes_on(&node.lost);
    node.goes_on(&node.other);
    assert_eq!(node.recorded(), 2);
    node.has_gone_on();
}
