//! Redis gone, forgetful, slow, read-only, cut off: what it decides is answered as the plan says, within the deadline, and goes on
//! by itself.

mod cluster;

use std::time::Duration;

use metergate::clock;
use metergate_rules::time::SECOND;
use serde_json::json;

use super::early::a_grant_is_seen;
use super::hard_limit::replies_are_lost;
use super::kit::{ask, decided_again, server, used};
use crate::http::client::{Answer, Client};
use crate::proxy::{Proxy, Way};
use crate::servers::{OwnRedis, redis};

/// Answers that came in time: the deadline of a tenth of a second, and what a busy machine needs. Now and then that is more, but
/// never for more than a few of them.
#[derive(Default)]
struct InTime {
    took: Vec<i64>,
}

impl InTime {
    const USUALLY: i64 = 7 * SECOND / 10;
    const AT_MOST: i64 = 3 * SECOND;

    fn ask(&mut self, client: &Client, meter: &str, quantity: u64) -> Answer {
        let began = clock::boot();
        let answer = ask(client, meter, quantity);
        let took = clock::boot() - began;
        assert!(took < Self::AT_MOST, "{meter}: {took} µs");
        self.took.push(took);
        answer
    }
}

impl Drop for InTime {
    fn drop(&mut self) {
        let late = self.took.iter().filter(|took| **took >= Self::USUALLY).count();
        let is_usual = !self.took.is_empty() && late <= 1.max(self.took.len() / 4);
        assert!(std::thread::panicking() || is_usual, "{:?} µs", self.took);
    }
}

/// `degraded`: each meter does exactly what its policy says.
fn is_degraded(client: &Client) {
    let mut in_time = InTime::default();
    for _ in 0..2 {
        let denied = in_time.ask(client, "hits", 1);
        assert_eq!(denied.header("retry-after"), Some("1"));
        let problem = denied.expect_problem(503, "unavailable");
        assert_eq!(problem["violated-policies"], json!(["hits-minute"]));
    }
    let allowed = in_time.ask(client, "polls", 50).is(200);
    assert_eq!(allowed.header("ratelimit"), None, "nothing is known of what is left");
    let expected = json!({"allowed": true, "reason": null, "organization": "acme", "meter": "polls", "id": null, "quantity": 50,
        "overage": 0, "limits": [], "degraded": true});
    assert_eq!(allowed.json(), expected);
    let safe = [2, 2, 1, 1].map(|quantity| in_time.ask(client, "pings", quantity).status);
    assert_eq!(safe, [200, 503, 200, 503], "three a minute");
    assert_eq!(in_time.ask(client, "api_calls", 1).is(200).json().get("degraded"), None, "what is recorded is decided");
}

#[test]
fn each_meter_does_what_its_policy_says_while_redis_is_gone_and_goes_on_by_itself() {
    let mut own = OwnRedis::start();
    let (server, admin) = server(&own.url(), &[]);
    assert_eq!(used(&ask(&admin, "hits", 4).is(200).json()), 4);
    own.kill();
    is_degraded(&admin);
    let check = admin.post("/v1/check", json!({"organization": "acme", "meter": "polls", "quantity": 1}));
    assert_eq!(check.is(200).json()["degraded"], true);
    admin.post("/v1/check", json!({"organization": "acme", "meter": "hits"})).expect_problem(503, "unavailable");
    own.start_again();
    assert_eq!(used(&decided_again(&admin, "hits")), 1, "it has forgotten what was used");
    let metrics = server.stranger().get("/metrics").text;
    let counted = |answer: &str| {
        let name = format!("metergate_degraded_decisions_total{{answer=\"{answer}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(counted("allowed") >= 4 && counted("denied") >= 5, "{metrics}");
    let log = server.log();
    // On a busy machine one more call may not be answered in time.
    let told = ["Redis cannot be used", "Redis answers"].map(|words| log.matches(words).count());
    assert!((1..4).contains(&told[0]) && told[1] == told[0] + 1, "once for each change:\n{log}");
}

#[test]
fn a_server_starts_without_redis_and_finds_it_later() {
    let mut own = OwnRedis::start();
    own.kill();
    let (_server, admin) = server(&own.url(), &[]);
    is_degraded(&admin);
    own.start_again();
    assert_eq!(used(&decided_again(&admin, "hits")), 1);
}

#[test]
fn what_redis_forgets_is_counted_anew_and_nothing_else_happens() {
    let own = OwnRedis::start();
    let (_server, admin) = server(&own.url(), &[]);
    let uses = |quantity| used(&ask(&admin, "hits", quantity).is(200).json());
    assert_eq!(uses(4), 4);
    assert_eq!(own.ask(&["SCRIPT", "FLUSH"]), "OK");
    assert_eq!(uses(4), 8);
    assert_eq!(own.ask(&["FLUSHALL"]), "OK");
    assert_eq!(uses(4), 4, "up to the limit more in that minute");
}

#[test]
fn a_redis_that_hangs_or_can_only_be_read_is_as_good_as_none_until_it_is_well() {
    let own = OwnRedis::start();
    let (_server, admin) = server(&own.url(), &[]);
    assert_eq!(used(&ask(&admin, "hits", 1).is(200).json()), 1);
    own.freeze();
    is_degraded(&admin);
    own.thaw();
    // One before, one now, and between them the one who waited for it: all others were told at once.
    let counted = used(&decided_again(&admin, "hits"));
    assert!(counted <= 3, "what waited meanwhile may count, once: {counted}");
    let mut in_time = InTime::default();
    assert_eq!(own.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert_eq!(in_time.ask(&admin, "polls", 1).is(200).json()["degraded"], true);
    assert_eq!(own.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    decided_again(&admin, "hits");
    assert_eq!(own.ask(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    assert_eq!(in_time.ask(&admin, "polls", 1).is(200).json()["degraded"], true);
    assert_eq!(own.ask(&["REPLICAOF", "NO", "ONE"]), "OK");
    decided_again(&admin, "hits");
}

#[test]
fn a_node_that_is_cut_off_from_redis_answers_as_the_plan_says_and_goes_on_by_itself() {
    let proxy = Proxy::before(redis().strip_prefix("redis://").unwrap());
    let (_server, admin) = server(&format!("redis://{}", proxy.address()), &[]);
    assert_eq!(used(&ask(&admin, "hits", 1).is(200).json()), 1);
    let disturb: [&dyn Fn(); 6] = [
        &|| proxy.delay(Duration::from_millis(400)),
        &|| proxy.hold(),
        &|| proxy.hold_one_way(Way::ToServer),
        &|| proxy.hold_one_way(Way::ToClient),
        &|| {
            proxy.refuse();
            proxy.cut();
        },
        &|| proxy.cut_after(10),
    ];
    let mut in_time = InTime::default();
    for (i, disturb) in disturb.iter().enumerate() {
        disturb();
        for _ in 0..3 {
            let answer = in_time.ask(&admin, "polls", 1).is(200).json();
            assert_eq!(answer["degraded"], true, "disturbance {i}");
        }
        proxy.heal();
        decided_again(&admin, "polls");
    }
    proxy.flap(4, Duration::from_millis(60));
    decided_again(&admin, "polls");
}

#[test]
fn hard_limit_sees_a_redis_client_that_retries() {
    let violation = replies_are_lost(Some("redis-client-retries")).expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, "hard_limit", "{violation}");
    assert!(violation.detail.contains("attempted 9"), "{violation}");
}

#[test]
fn degraded_sees_a_meter_that_passes_though_its_plan_denies_it() {
    let mut own = OwnRedis::start();
    let (_server, admin) = server(&own.url(), &[("METERGATE_PLANTED", "fail-open")]);
    own.kill();
    let check = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| is_degraded(&admin)));
    assert!(check.is_err(), "the planted bug was not seen");
}

#[test]
fn early_refusals_that_outlive_a_grant_are_seen() {
    a_grant_is_seen(None).unwrap_or_else(|violation| panic!("{violation}"));
    let violation = a_grant_is_seen(Some("marks-outlive-grants")).expect_err("the planted bug was not seen");
    assert_eq!(violation.invariant, "early_refusal", "{violation}");
}
