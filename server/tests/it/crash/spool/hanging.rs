//! `degraded` where PostgreSQL is there and does not answer: whoever was not begun with gets what the policy says, within the
//! deadline, and counts once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use metergate::clock::boot;
use metergate_rules::time::SECOND;
use serde_json::{Value, json};

use super::{Node, passed};
use crate::http::client::Answer;
use crate::proxy::Way;
use crate::store::Stranger;

/// How long a caller waits at most, in microseconds: the deadline of five seconds, and what a busy machine needs.
const DEADLINE: i64 = 8 * SECOND;
/// For how long PostgreSQL says nothing: longer than it takes whoever asks first to give up.
const SILENT: Duration = Duration::from_secs(7);
const CALLERS: usize = 6;

/// The answer, which came in time.
fn in_time(ask: impl FnOnce() -> Answer) -> Answer {
    let began = boot();
    let answer = ask();
    assert!(boot() - began <= DEADLINE, "{} µs", boot() - began);
    answer
}

/// Asks for one under this id.
fn poll(node: &Node, id: &str) -> Answer {
    in_time(|| node.ask("polls", 1, Some(id)))
}

#[test]
fn who_is_put_off_until_the_deadline_gets_what_the_policy_says_and_counts_once() {
    let node = Node::start(&[]);
    let stranger = Stranger::come(node.database.url());
    stranger.does(
        "BEGIN; SELECT 1 FROM metergate.accounts JOIN metergate.organizations USING (organization)
         WHERE key = 'acme' FOR UPDATE OF accounts",
    );
    // Who is being tried at the deadline may have counted, is told so, and asks again.
    let insist = |id: &str| {
        let mut answer = poll(&node, id);
        while answer.status == 503 {
            answer = poll(&node, id);
        }
        passed(answer);
    };
    thread::scope(|scope| {
        for id in ["a", "b", "c", "d"] {
            let insist = &insist;
            scope.spawn(move || insist(id));
        }
        scope.spawn(|| in_time(|| node.ask("calls", 1, None)).expect_problem(503, "unavailable"));
    });
    stranger.does("COMMIT");
    node.becomes("polls", (4, 0));
    node.becomes("calls", (1, 0));
    for id in ["a", "b", "c", "d"] {
        passed(poll(&node, id));
    }
    assert_eq!(node.used("polls"), Some((4, 0)));
}

/// What came of a run.
#[derive(Debug)]
struct Reached {
    answered: usize,
    undecided: usize,
}

/// PostgreSQL says nothing for a while, or hears nothing, with callers at work all the while; whoever is told that it is not known
/// asks again. What was admitted, decided or not, counts once.
fn silent(ways: &[Way]) -> Reached {
    let node = Node::start(&[]);
    // Nothing is refused: a refusal whose answer was lost would pass when it is asked for again.
    let unlimited = json!({"max": 1_000_000, "reason": "test"});
    let given = node.admin.put("/v1/organizations/acme/overrides/polls/billingPeriod", unlimited);
    assert!(given.status < 300, "{}", given.text);
    let over = AtomicBool::new(false);
    let [answered, undecided, admitted] = [0; 3].map(AtomicUsize::new);
    let call = |id: &str| {
        let mut answer = poll(&node, id);
        while answer.status != 200 {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text);
            answer = poll(&node, id);
        }
        let body = answer.json();
        answered.fetch_add(1, Ordering::Relaxed);
        undecided.fetch_add(usize::from(body["degraded"] == true), Ordering::Relaxed);
        admitted.fetch_add(usize::from(body["allowed"] == true), Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (call, over) = (&call, &over);
            scope.spawn(move || {
                for number in 0.. {
                    call(&format!("{caller}-{number}"));
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        ways.iter().for_each(|way| node.proxy.hold_one_way(*way));
        thread::sleep(SILENT);
        node.proxy.heal();
        thread::sleep(Duration::from_millis(1500));
        over.store(true, Ordering::Relaxed);
    });
    node.until("nothing waits", || node.spooled() == 0);
    let used = node.used("polls").map(|(used, _)| used);
    assert_eq!(used, i64::try_from(admitted.into_inner()).ok(), "what was admitted counts once");
    Reached { answered: answered.into_inner(), undecided: undecided.into_inner() }
}

#[test]
fn a_postgresql_that_says_nothing_lets_pass_what_was_not_begun_and_loses_and_doubles_nothing() {
    for ways in [&[Way::ToServer, Way::ToClient][..], &[Way::ToClient]] {
        let reached = silent(ways);
        let Reached { answered, undecided } = reached;
        assert!(undecided > CALLERS && undecided < answered, "the run proves nothing: {reached:?}");
    }
}

#[test]
fn a_check_is_answered_as_its_decision_would_be_and_takes_and_keeps_nothing() {
    let node = Node::start(&[]);
    let asked = |meter: &str, quantity: i64| json!({"organization": "acme", "meter": meter, "quantity": quantity});
    let check = |meter: &str, quantity: i64| node.admin.post("/v1/check", asked(meter, quantity));
    let pings = |quantities: [i64; 3]| quantities.map(|quantity| check("pings", quantity).status);
    node.cut_off();
    passed(check("polls", 50));
    assert_eq!(pings([3, 3, 4]), [200, 200, 503], "three a minute, and none is taken");
    passed(node.ask("pings", 2, None));
    assert_eq!(pings([1, 1, 2]), [200, 200, 503], "what is left");
    let denied = check("calls", 1);
    assert_eq!(denied.header("retry-after"), Some("1"));
    denied.expect_problem(503, "unavailable");
    let several = json!([asked("polls", 1), asked("calls", 1), asked("pings", 1)]);
    let several = node.admin.post("/v1/check", several).is(200).json();
    let told = |item: usize, member: &str| several["data"][item][member].clone();
    assert_eq!([0, 2].map(|item| told(item, "degraded")), [json!(true), json!(true)]);
    assert_eq!(told(1, "code"), json!("unavailable"));
    node.admin.post("/v1/check", json!([asked("calls", 1), asked("calls", 2)])).expect_problem(503, "unavailable");
    let unseen = json!({"organization": "nobody", "meter": "polls", "quantity": 1});
    node.admin.post("/v1/check", unseen).expect_problem(503, "unavailable");
    node.proxy.heal();
    node.becomes("pings", (2, 0));
    assert_eq!((node.used("polls"), node.used("calls")), (Some((0, 0)), Some((1, 0))));
    let decided = check("polls", 11).is(200).json();
    assert_eq!((&decided["allowed"], &decided["degraded"]), (&json!(false), &Value::Null), "the record decides again");
}
