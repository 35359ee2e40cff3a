//! The tests of these tests: with a bug planted the check of its invariant must turn red. And single moments, without a seed.

use std::thread;

use serde_json::json;

use super::super::checks::hard_limit;
use super::super::history::{Act, Operation};
use super::super::http::Call;
use super::super::planted::{ask, is_red};
use super::super::process::Server;
use super::super::workload::{MOVING, answer, call};
use super::Cluster;
use super::disturbances::COMMITS;
use super::nodes::Node;
use crate::invariant::{Held, holds};
use crate::store::Database;

/// Callers at one limit, and how often each asks.
const CALLERS: usize = 6;
const TIMES: usize = 25;
/// Storms in which a planted bug is seen at last.
const STORMS: usize = 5;
/// Organizations, enough that every loop has some.
const SEVERAL: usize = 8;
/// How often a commit is disturbed until it is a caller's.
const ATTEMPTS: usize = 10;

fn consume(id: &str, meter: &'static str, quantity: i64) -> Operation {
    let act = Act::Consume { meter, quantity };
    Operation { organization: "storm".to_owned(), act, id: Some(id.to_owned()), answers: Vec::new() }
}

/// Callers on two nodes use up a limit, and count on a meter without one.
fn at_one_limit(bug: Option<&'static str>) -> Held {
    let database = Database::new();
    let cluster = Cluster::new("at_one_limit", 2, database.url(), bug);
    cluster.nodes.all[0].with(|server| ask(&cluster.run, server, [consume("first", "calls", 1)]));
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let node = &cluster.nodes.all[caller % 2];
            let one = move |i| {
                let meter = if i % 2 == 0 { "tight" } else { "calls" };
                consume(&format!("{caller}-{i}"), meter, 1)
            };
            let run = &cluster.run;
            scope.spawn(move || node.with(|server| ask(run, server, (0..TIMES).map(one))));
        }
    });
    let counted = cluster.nodes.all[1].with(|server| cluster.run.read(server));
    hard_limit(&cluster.run.history.all(), &counted)?;
    cluster.run.check(&counted)
}

#[test]
fn callers_on_two_nodes_are_admitted_to_one_limit_exactly() {
    at_one_limit(None).unwrap_or_else(|violation| panic!("{violation}"));
}

/// Two callers must come between each other for it: that takes another storm now and then.
fn some_storm(bug: &'static str) -> Held {
    (0..STORMS).map(|_| at_one_limit(Some(bug))).find(Result::is_err).unwrap_or(Ok(()))
}

#[test]
fn hard_limit_sees_a_lock_that_is_not_taken() {
    is_red(some_storm("lock-not-taken"), "hard_limit", "tight of storm: told ");
}

#[test]
fn hard_limit_sees_an_account_that_is_used_whatever_its_version() {
    is_red(some_storm("version-ignored"), "hard_limit", "tight of storm: told ");
}

/// A node refuses, another gives more, and the first is asked again.
fn after_more_was_given_elsewhere(bug: Option<&'static str>) -> Held {
    let database = Database::new();
    let cluster = Cluster::new("after_more_was_given_elsewhere", 2, database.url(), bug);
    let [first, second] = &cluster.nodes.all[..] else { unreachable!() };
    let told = |node: &Node, operation| node.with(Server::client).call(&call(&operation)).expect("the node answers");
    // A refusal without an id writes nothing.
    let nameless = |quantity| Operation { id: None, ..consume("", "moving", quantity) };
    let allows = |quantity| told(first, nameless(quantity)).value()["allowed"] == json!(true);
    let act = Act::Extra { meter: "moving", quantity: 10 };
    let extra = Operation { organization: "storm".to_owned(), act, id: Some("extra".to_owned()), answers: Vec::new() };
    assert_eq!([allows(MOVING), allows(1)], [true, false]);
    assert!(matches!(told(second, extra).status, 200 | 201));
    holds("durable_ack", allows(1), || "what was given is not there".to_owned())
}

#[test]
fn durable_ack_sees_a_refusal_on_an_account_that_is_not_as_it_was_any_more() {
    after_more_was_given_elsewhere(None).unwrap_or_else(|violation| panic!("{violation}"));
    is_red(after_more_was_given_elsewhere(Some("trusted-unseen")), "durable_ack", "what was given is not there");
}

/// A node knows several organizations, another node is given an endpoint, and the first does at once what that is to be told.
fn after_an_endpoint_was_made_elsewhere(bug: Option<&'static str>) -> Held {
    let database = Database::new();
    let cluster = Cluster::new("after_an_endpoint_was_made_elsewhere", 2, database.url(), bug);
    let [first, second] = &cluster.nodes.all[..] else { unreachable!() };
    let ask = |node: &Node, call: &Call| node.with(Server::client).call(call).expect("the node answers");
    // They are of all loops, and only the first is told of changes before it asks.
    let uses = |quantity: i64| {
        for one in 0..SEVERAL {
            let of = json!({"organization": format!("storm-{one}"), "meter": "moving", "quantity": quantity});
            assert_eq!(ask(first, &Call::json("POST", "/v1/consume", of)).value()["allowed"], json!(true));
        }
    };
    uses(1);
    uses(1);
    let endpoint = json!({"url": "https://hooks.example.com/usage", "types": ["usage.threshold"]});
    let made = ask(second, &Call::json("POST", "/v1/webhook-endpoints", endpoint));
    assert_eq!(made.status, 201, "{}", made.body);
    uses(MOVING - 2);
    let deliveries = format!("/v1/webhook-endpoints/{}/deliveries?limit=100", made.value()["id"].as_str().unwrap());
    let told = ask(second, &Call::get(&deliveries)).value()["data"].as_array().expect("there are deliveries").len();
    // Of 80 % and of 100 %.
    holds("durable_ack", told == 2 * SEVERAL, || format!("an endpoint that was made is told of {told} thresholds"))
}

#[test]
fn durable_ack_sees_a_decision_on_what_the_team_has_changed() {
    after_an_endpoint_was_made_elsewhere(None).unwrap_or_else(|violation| panic!("{violation}"));
    let red = (0..STORMS).map(|_| after_an_endpoint_was_made_elsewhere(Some("epochs-unseen"))).find(Result::is_err);
    is_red(red.unwrap_or(Ok(())), "durable_ack", "an endpoint that was made is told of ");
}

#[test]
fn what_looks_like_damage_on_an_account_that_is_not_as_it_was_is_looked_at_again() {
    let database = Database::new();
    let test = "what_looks_like_damage_on_an_account_that_is_not_as_it_was_is_looked_at_again";
    // With one loop whoever knows the account is who is asked.
    let cluster = Cluster::of_lanes(1, test, 2, database.url(), None);
    let [first, second] = &cluster.nodes.all[..] else { unreachable!() };
    first.with(|server| ask(&cluster.run, server, [consume("a", "calls", 1)]));
    let organization = first.with(Server::client).call(&Call::get("/v1/organizations/storm")).unwrap().value();
    let path = format!("/v1/organizations/{}", organization["id"].as_str().unwrap());
    let rename = Call::json("PATCH", &path, json!({"key": "renamed"}));
    // When the first node is asked the listing says another key than the account as that node knows it.
    for node in [second, first] {
        let renamed = node.with(Server::client).call(&rename).unwrap();
        assert_eq!((renamed.status, &renamed.value()["key"]), (200, &json!("renamed")), "{renamed:?}");
    }
}

/// Somebody asks while `disturb` has been done to the line, and again once that is well; with an id or without one, as which it is
/// written by one call.
fn while_a_commit_is_disturbed(bug: Option<&'static str>, disturb: Disturb, with_id: bool) -> Held {
    let database = Database::new();
    let cluster = Cluster::new("while_a_commit_is_disturbed", 1, database.url(), bug);
    let node = &cluster.nodes.all[0];
    let nameless = |quantity| Operation { id: None, ..consume("", "calls", quantity) };
    for attempt in 0..ATTEMPTS {
        // From the second on the account is known, and so is the time.
        node.with(|server| ask(&cluster.run, server, [nameless(1), nameless(1)]));
        let named = || consume(&format!("b-{attempt}"), "calls", 5);
        let operation = if with_id { named() } else { nameless(5) };
        let number = cluster.run.history.begin(operation.clone());
        disturb(node, if with_id { &COMMITS } else { &COMMITS[1..] });
        let told = node.with(Server::client).call(&call(&operation)).expect("the node answers");
        // What is not known is told so: a retry under the same id tells.
        let is_told = matches!(told.status, 200 | 503);
        holds("durable_ack", is_told, || format!("it is told as if it were known: {told:?}"))?;
        cluster.run.history.answer(number, answer(&operation, &told));
        cluster.run.check(&node.with(|server| cluster.run.read(server)))?;
        // Else something that the node does by itself was disturbed in its place.
        if told.status == 503 {
            break;
        }
    }
    assert!(cluster.run.history.all().iter().any(Operation::is_unknown), "no commit of a caller's was disturbed");
    cluster.serve()?;
    if with_id {
        node.with(|server| cluster.run.repeat(server, Operation::is_unknown));
        let is_known = !cluster.run.history.all().iter().any(Operation::is_unknown);
        holds("liveness", is_known, || "it is still unknown".to_owned())?;
    }
    cluster.run.check(&node.with(|server| cluster.run.read(server)))
}

#[test]
fn a_commit_that_is_lost_or_whose_reply_is_lost_is_told_by_its_id() {
    for disturb in [lose_commit, lose_reply] {
        while_a_commit_is_disturbed(None, disturb, true).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn a_call_that_is_lost_or_whose_reply_is_lost_counts_once_at_most() {
    for disturb in [lose_commit, lose_reply] {
        while_a_commit_is_disturbed(None, disturb, false).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

type Disturb = fn(&Node, &[&[u8]]);

fn lose_commit(node: &Node, commits: &[&[u8]]) {
    node.postgres.lose(commits);
}

fn lose_reply(node: &Node, commits: &[&[u8]]) {
    node.postgres.lose_reply_of(commits);
}

#[test]
fn durable_ack_sees_answers_that_do_not_wait_for_the_commit() {
    for with_id in [true, false] {
        let held = while_a_commit_is_disturbed(Some("answer-before-commit"), lose_commit, with_id);
        is_red(held, "durable_ack", "calls of storm: acknowledged ");
    }
}

#[test]
fn durable_ack_sees_an_unknown_end_that_is_told_as_a_failure() {
    let held = while_a_commit_is_disturbed(Some("unknown-told-as-failed"), lose_reply, true);
    is_red(held, "durable_ack", "it is told as if it were known");
}
