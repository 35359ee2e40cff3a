//! Locks that somebody else holds in PostgreSQL: whoever needs one hears within the deadline that it cannot be had, nobody else
//! waits for it, and once it is free everything goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::json;

use super::super::http::{Call, Client, Response};
use super::super::process::Server;
use super::nodes::{DEADLINE, Node};
use super::{Cluster, within};
use crate::proxy::Way;
use crate::store::{Database, Stranger};

/// Whoever needs no lock that is held is answered in so many microseconds: whoever waits for one waits until the deadline.
const UNTOUCHED: i64 = 3 * SECOND;
/// Rounds in which two transactions may come to wait for each other, before it is looked whether they have, and how often.
const ROUNDS: usize = 6;
const BATCHES: usize = 5;

/// A node on a database of its own, with these organizations.
fn node(test: &str, organizations: &[&str]) -> (Database, Cluster) {
    several(1, test, organizations)
}

fn several(count: usize, test: &str, organizations: &[&str]) -> (Database, Cluster) {
    let database = Database::new();
    // With one loop all organizations are in the way of each other.
    let cluster = Cluster::of_lanes(1, test, count, database.url(), None);
    let mut client = cluster.nodes.all[0].with(Server::client);
    for organization in organizations {
        assert_eq!(client.call(&consume(organization, "first")).unwrap().status, 200);
    }
    (database, cluster)
}

fn consume(organization: &str, id: &str) -> Call {
    let body = json!({"organization": organization, "meter": "calls", "quantity": 1, "id": id});
    Call::json("POST", "/v1/consume", body)
}

/// The answer, and after how many microseconds it came.
fn timed(client: &mut Client, call: &Call) -> (Response, i64) {
    let began = boot();
    let response = client.call(call).expect("the node answers");
    (response, boot() - began)
}

/// 503 with `Retry-After`, within the deadline.
#[track_caller]
pub(super) fn is_put_off(client: &mut Client, call: &Call) {
    let (response, took) = timed(client, call);
    assert_eq!(response.status, 503, "{call:?}: {response:?}");
    assert!(response.retry_after.is_some(), "{response:?}");
    assert!(took <= DEADLINE, "{call:?}: {took} µs");
}

/// Asks again until it is answered so, which happens soon. It may have happened when it was told that it is not known.
#[track_caller]
fn goes_on(client: &mut Client, call: &Call, status: u16) {
    let mut told = None;
    let answered = within(20, || {
        told = client.call(call).ok();
        told.as_ref().is_some_and(|told| told.status == status)
    });
    assert!(answered, "{call:?}: {told:?}");
}

fn seats() -> Call {
    Call::json("PUT", "/v1/meters/seats", json!({"aggregation": "sum"}))
}

fn used(client: &mut Client, organization: &str) -> i64 {
    super::super::final_phase::counter(client, &(organization.to_owned(), "calls"))
}

/// How long callers of another organization waited at most, and how many calls were answered, while `meanwhile` goes on.
fn others(node: &Node, organization: &str, meanwhile: impl FnOnce()) -> (i64, i64) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let (mut client, mut longest, mut calls) = (node.with(Server::client), 0, 0);
            while !over.load(Ordering::Relaxed) {
                let (response, took) = timed(&mut client, &consume(organization, &format!("other-{calls}")));
                assert_eq!(response.status, 200, "{response:?}");
                (longest, calls) = (took.max(longest), calls + 1);
                thread::sleep(Duration::from_millis(5));
            }
            (longest, calls)
        });
        meanwhile();
        over.store(true, Ordering::Relaxed);
        calling.join().unwrap()
    })
}

const ROW_OF_ACME: &str = "BEGIN; SELECT 1 FROM metergate.accounts JOIN metergate.organizations USING (organization)
                           WHERE key = 'acme' FOR UPDATE OF accounts";

#[test]
fn a_row_that_a_stranger_holds_puts_off_those_alone_who_need_it() {
    let (database, cluster) = node("a_row_that_a_stranger_holds_puts_off_those_alone_who_need_it", &["acme", "globex"]);
    let node = &cluster.nodes.all[0];
    let stranger = Stranger::come(database.url());
    stranger.does(ROW_OF_ACME);
    let (longest, calls) = others(node, "globex", || {
        thread::scope(|scope| {
            for caller in 0..4 {
                let mut client = node.with(Server::client);
                scope.spawn(move || is_put_off(&mut client, &consume("acme", &format!("held-{caller}"))));
            }
        });
    });
    println!("{calls} calls of others meanwhile, of which the longest took {longest} µs");
    assert!(longest < UNTOUCHED, "callers of another organization waited for {longest} µs");
    stranger.does("COMMIT");
    let mut client = node.with(Server::client);
    (0..4).for_each(|caller| goes_on(&mut client, &consume("acme", &format!("held-{caller}")), 200));
    assert_eq!((used(&mut client, "acme"), used(&mut client, "globex")), (5, 1 + calls));
}

/// Attempts to cut a node off while it holds a lock, which lasts for milliseconds.
const ATTEMPTS: usize = 10;

#[test]
fn a_node_that_is_cut_off_in_the_middle_of_a_transaction_loses_its_locks_to_the_others() {
    let test = "a_node_that_is_cut_off_in_the_middle_of_a_transaction_loses_its_locks_to_the_others";
    let (database, cluster) = several(2, test, &["acme"]);
    let [cut_off, other] = &cluster.nodes.all[..] else { panic!("there are two") };
    let watcher = Stranger::come(database.url());
    let free =
        "SELECT count(*) FROM (SELECT 1 FROM metergate.accounts JOIN metergate.organizations USING (organization)
                WHERE key = 'acme' FOR UPDATE OF accounts SKIP LOCKED) AS free";
    thread::scope(|scope| {
        let mut is_held = false;
        for attempt in 0..ATTEMPTS {
            cut_off.heal();
            // It meets the other one, so that it locks rows.
            goes_on(&mut other.with(Server::client), &consume("acme", &format!("other-{attempt}")), 200);
            goes_on(&mut cut_off.with(Server::client), &consume("acme", &format!("before-{attempt}")), 200);
            // It asks, and hears nothing.
            cut_off.postgres.hold_one_way(Way::ToClient);
            let mut client = cut_off.with(Server::client);
            scope.spawn(move || client.call(&consume("acme", "cut-off")).expect("the node answers"));
            is_held = within(1, || watcher.sees(free) == 0);
            if is_held {
                break;
            }
        }
        assert!(is_held, "it was never cut off while it held the row");
        // Nor does PostgreSQL hear that it gives up.
        cut_off.postgres.hold();
        let began = boot();
        goes_on(&mut other.with(Server::client), &consume("acme", "other"), 200);
        println!("the other node had the row after {} µs", boot() - began);
        cut_off.heal();
    });
    let mut client = cut_off.with(Server::client);
    goes_on(&mut client, &consume("acme", "cut-off"), 200);
    assert_eq!(used(&mut client, "acme"), used(&mut other.with(Server::client), "acme"), "both nodes say the same");
}

#[test]
fn the_row_of_the_team_that_a_stranger_holds_puts_off_changes_of_the_team_alone() {
    let (database, cluster) =
        node("the_row_of_the_team_that_a_stranger_holds_puts_off_changes_of_the_team_alone", &["acme"]);
    let node = &cluster.nodes.all[0];
    let stranger = Stranger::come(database.url());
    stranger.does("BEGIN; SELECT 1 FROM metergate.team FOR UPDATE");
    let meter = Call { idempotency_key: Some("seats".to_owned()), ..seats() };
    let (longest, calls) = others(node, "acme", || is_put_off(&mut node.with(Server::client), &meter));
    println!("{calls} calls meanwhile, of which the longest took {longest} µs");
    assert!(longest < UNTOUCHED, "who needs nothing of the team's waited for {longest} µs");
    stranger.does("COMMIT");
    let mut client = node.with(Server::client);
    goes_on(&mut client, &meter, 201);
    assert_eq!(used(&mut client, "acme"), 1 + calls);
}

#[test]
fn a_table_that_a_stranger_locks_puts_off_everybody_within_the_deadline() {
    let (database, cluster) = node("a_table_that_a_stranger_locks_puts_off_everybody_within_the_deadline", &["acme"]);
    let node = &cluster.nodes.all[0];
    let stranger = Stranger::come(database.url());
    stranger.does("BEGIN; LOCK TABLE metergate.accounts IN ACCESS EXCLUSIVE MODE");
    thread::scope(|scope| {
        let calls = [consume("acme", "a"), consume("acme", "b"), consume("new", "c")];
        // A check reads.
        let check = Call::json("POST", "/v1/check", json!({"organization": "acme", "meter": "calls"}));
        for call in calls.into_iter().chain([check]) {
            let mut client = node.with(Server::client);
            scope.spawn(move || is_put_off(&mut client, &call));
        }
    });
    stranger.does("COMMIT");
    let mut client = node.with(Server::client);
    for (organization, id) in [("acme", "a"), ("acme", "b"), ("new", "c")] {
        goes_on(&mut client, &consume(organization, id), 200);
    }
    assert_eq!((used(&mut client, "acme"), used(&mut client, "new")), (3, 1));
}

/// Two organizations are made in one batch. A stranger makes the second before and then wants the first: each waits for the
/// other, and PostgreSQL ends the node's transaction, since that looks sooner whether it waits in a circle.
#[test]
fn whoever_loses_a_deadlock_tries_again_and_counts_once() {
    let (database, cluster) = node("whoever_loses_a_deadlock_tries_again_and_counts_once", &["acme"]);
    let node = &cluster.nodes.all[0];
    let name = database.url().rsplit('/').next().unwrap();
    database.run(&format!("ALTER DATABASE {name} SET deadlock_timeout = '100ms'"));
    // Connections that are made anew know it; those that end tell what they have seen.
    let all_end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'metergate'
                   AND datname = current_database()";
    database.number(all_end);
    let mut client = node.with(Server::client);
    goes_on(&mut client, &consume("acme", "again"), 200);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let mut rounds = 0;
    let is_seen = (0..BATCHES).any(|_| {
        (rounds..rounds + ROUNDS).for_each(|round| deadlock(&database, node, &format!("round-{round}")));
        rounds += ROUNDS;
        database.number(all_end);
        within(5, || database.number(deadlocks) > 0)
    });
    assert!(is_seen, "there was no deadlock in {rounds} rounds");
    goes_on(&mut client, &consume("acme", "and again"), 200);
    for (round, organization) in (0..rounds).flat_map(|round| [(round, "a"), (round, "b")]) {
        assert_eq!(used(&mut client, &format!("round-{round}-{organization}")), 1);
    }
}

fn deadlock(database: &Database, node: &Node, round: &str) {
    let make = |which: &str| {
        let row = format!("gen_random_uuid(), '{round}-{which}', '', 1, 'active', false, 0");
        format!("INSERT INTO metergate.organizations VALUES ({row})")
    };
    let [stranger, watcher] = [(); 2].map(|()| Stranger::come(database.url()));
    stranger.does(&format!("SET deadlock_timeout = '10s'; BEGIN; {}", make("b")));
    thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let both = ["a", "b"].map(|which| consume(&format!("{round}-{which}"), round).body);
            let call = Call::json("POST", "/v1/consume", format!("[{}]", both.join(",")));
            let mut client = node.with(Server::client);
            within(20, || client.call(&call).is_ok_and(|told| told.status == 200))
        });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                     AND application_name = 'metergate'";
        let began = boot();
        while watcher.sees(waits) == 0 && boot() - began < DEADLINE {}
        // The node has made the first and waits for the second.
        let _ = stranger.try_to_do(&make("a"));
        let _ = stranger.try_to_do("ROLLBACK");
        assert!(calling.join().unwrap(), "it was not answered");
    });
}
