//! Notices: what webhook endpoints are told is written with what it tells, and once.

use metergate::catalogue::change::{EndpointCommand, NewEndpoint, TeamCommand};
use metergate::catalogue::endpoint::EndpointId;
use metergate::store::Request;
use metergate::store::outbox::{DeliveriesAsked, DeliveryRow, DeliveryState};
use metergate_rules::account::LockCause;
use metergate_rules::command::{Command, NewGrant};
use metergate_rules::time::{DAY, HOUR, MINUTE, Time};
use metergate_rules::window::{Window, WindowSet};
use serde_json::{Value, json};

use super::ENGINE;
use super::asks::{LARGE, ask, create, make, meter, quantity, tell};
use super::engine::Engine;
use super::kit::{Kit, Open, allowed};

/// An endpoint that wants to be told of these, or of everything.
fn endpoint(kit: &Kit, types: &[&str]) -> EndpointId {
    let known: Vec<EndpointId> = kit.open().store.catalogue().stored.endpoints.keys().cloned().collect();
    let types = types.iter().map(|kind| (*kind).to_owned()).collect();
    let new = NewEndpoint { url: "https://example.com/hook".to_owned(), types, description: String::new() };
    kit.change_team(TeamCommand::Endpoint(EndpointCommand::Create(new))).unwrap();
    let catalogue = kit.open().store.catalogue();
    catalogue.stored.endpoints.keys().find(|id| !known.contains(id)).unwrap().clone()
}

/// What it is told, oldest first.
fn told(kit: &Kit, endpoint: &EndpointId) -> Vec<DeliveryRow> {
    let asked = DeliveriesAsked { endpoint: endpoint.clone(), state: None, before: None, message: None };
    let mut rows = kit.read(move |view, _| Ok(view.rows().deliveries(&asked, 10_000)?)).unwrap();
    rows.reverse();
    rows
}

fn kinds(kit: &Kit, endpoint: &EndpointId) -> String {
    told(kit, endpoint).into_iter().map(|row| row.kind).collect::<Vec<_>>().join(" ")
}

fn body(row: &DeliveryRow) -> Value {
    serde_json::from_str(&row.body).unwrap()
}

fn reset() -> Command {
    Command::Reset { meters: None, windows: WindowSet::NONE.with(Window::BillingPeriod) }
}

fn grant(amount: i64, expires_at: Option<Time>) -> Command {
    let (meter, amount) = (meter("calls"), quantity(amount));
    Command::Grant(NewGrant { meter, amount, priority: 0, starts_at: None, expires_at, reason: "sorry".to_owned() })
}

#[test]
fn what_use_comes_to_is_told_once_and_not_again_after_a_start() {
    let mut kit = Kit::new();
    let all = endpoint(&kit, &[]);
    assert!(kit.allows(&ask("calls", 7)) && kinds(&kit, &all).is_empty());
    assert!(kit.allows(&ask("calls", 1).id("eighth")));
    assert_eq!(kinds(&kit, &all), "usage.threshold");
    kit.reopen();
    assert!(kit.allows(&ask("calls", 1).id("eighth")) && kit.allows(&ask("calls", 1)), "one is repeated, one is new");
    assert_eq!(kinds(&kit, &all), "usage.threshold");
    assert!(
        kit.allows(&ask("calls", 1)) && !kit.allows(&ask("calls", 1)) && !kit.allows(&ask("calls", 2).id("twelfth"))
    );
    assert_eq!(kinds(&kit, &all), "usage.threshold usage.threshold usage.refused");
    kit.reopen();
    assert!(!kit.allows(&ask("calls", 1)) && !kit.allows(&ask("calls", 2).id("twelfth")));
    assert_eq!(kinds(&kit, &all), "usage.threshold usage.threshold usage.refused");
    kit.made(&make(reset()));
    assert!(kit.allows(&ask("calls", 8)));
    let all_of_it = "usage.threshold usage.threshold usage.refused usage.reset usage.threshold";
    assert_eq!(kinds(&kit, &all), all_of_it);
    kit.reopen();
    assert_eq!(kinds(&kit, &all), all_of_it);
    kit.check().unwrap();
}

#[test]
fn a_message_says_exactly_what_it_tells() {
    let kit = Kit::new();
    let all = endpoint(&kit, &[]);
    let account = kit.account("acme");
    kit.allows(&ask("calls", 8));
    assert!(kit.records(&tell("credits", 5_500, "e")));
    assert!(!kit.allows(&ask("calls", 3)));
    let told = told(&kit, &all);
    let organization = json!({"id": account.id.to_string(), "key": "acme", "name": "acme", "test": false});
    let period = account.windows.period;
    let threshold = json!({
        "organization": organization, "threshold": 80, "meter": "calls", "window": "billingPeriod", "enforcement": "hard",
        "limit": 10, "used": 8, "held": 0, "remaining": 2, "overage": 0, "resetsAt": period.end.to_string(),
        "period": {"start": period.start.to_string(), "end": period.end.to_string()},
    });
    let [first, .., refused] = &told[..] else { panic!("{told:?}") };
    assert_eq!(body(first)["data"], threshold);
    assert_eq!(
        (&body(first)["type"], first.state, first.tries.all),
        (&json!("usage.threshold"), DeliveryState::Pending, 0)
    );
    let at: Time = body(first)["timestamp"].as_str().unwrap().parse().unwrap();
    // What PostgreSQL's clock says is known as of the last that a loop has heard of it.
    assert!(at <= first.at && first.at <= kit.now().plus(MINUTE) && first.due_at == first.at, "{first:?}");
    let kinds: Vec<&str> = told.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["usage.threshold", "usage.threshold", "usage.threshold", "usage.overage", "usage.refused"]);
    // Quantities of a meter with decimals are exact, and numbers.
    let overage = &told[3].body;
    for part in ["\"limit\":5,", "\"used\":5.5,", "\"overage\":0.5,", "\"period\":null", "\"resetsAt\":null"] {
        assert!(overage.contains(part), "{part} in {overage}");
    }
    let refusal = &body(refused)["data"];
    assert_eq!(
        [&refusal["reason"], &refusal["count"], &refusal["used"]],
        [&json!("quota-exceeded"), &json!(1), &json!(8)]
    );
}

#[test]
fn changes_are_told_with_them_to_who_wants_to_be_told_and_nothing_where_nothing_changes() {
    let kit = Kit::new();
    let (all, some) = (endpoint(&kit, &[]), endpoint(&kit, &["organization.locked", "usage.reset"]));
    let lock = || make(Command::Lock { cause: LockCause::Operator, reason: Some("unpaid".to_owned()) });
    kit.made(&lock());
    kit.made(&lock());
    assert!(!kit.allows(&ask("calls", 1)));
    kit.made(&make(Command::Unlock));
    kit.made(&make(Command::Unlock));
    kit.made(&make(reset()));
    kit.made(&make(grant(3, None)));
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }).under("k"));
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }).under("k"));
    let expected = "organization.locked usage.refused organization.unlocked grant.created subscription.changed";
    assert_eq!(kinds(&kit, &all), expected);
    assert_eq!(kinds(&kit, &some), "organization.locked");
    let told = told(&kit, &all);
    let lock = &body(&told[0])["data"]["lock"];
    assert_eq!((&lock["cause"], &lock["reason"]), (&json!("operator"), &json!("unpaid")));
    let refused = &body(&told[1])["data"];
    assert_eq!((&refused["reason"], &refused["meter"]), (&json!("organization-locked"), &json!("calls")));
    let grant = &body(&told[3])["data"]["grant"];
    assert_eq!((&grant["amount"], &grant["remaining"], &grant["reason"]), (&json!(3), &json!(3), &json!("sorry")));
    let plans = &body(&told[4])["data"];
    assert_eq!((&plans["before"]["plan"], &plans["after"]["plan"]), (&json!("free"), &json!("large")));
    assert_eq!(kit.count("messages"), 5, "one message, however many it goes to");
    assert_eq!(kit.count("deliveries"), 6);
}

#[test]
fn what_nobody_wanted_to_hear_is_told_to_nobody_later() {
    let kit = Kit::new();
    assert!(kit.allows(&ask("calls", 8)) && !kit.allows(&ask("calls", 3)));
    let all = endpoint(&kit, &[]);
    assert!(kit.allows(&ask("calls", 1)) && !kit.allows(&ask("calls", 3)));
    assert_eq!((kinds(&kit, &all), kit.count("messages")), (String::new(), 0));
    kit.check().unwrap();
}

#[test]
fn a_refusal_is_told_once_an_hour_with_how_many_there_were() {
    let kit = Kit::new();
    let all = endpoint(&kit, &["usage.refused"]);
    kit.made(&create("clocked").test());
    let clock = |hours: i64| {
        let to = Time::from_micros(1_700_000_000_000_000).floor(HOUR).plus(hours * HOUR);
        kit.made(&make(Command::SetClock(to)).of("clocked"));
    };
    let refused = || ask("calls", 11).of("clocked");
    clock(0);
    let batch: Vec<Request> = vec![(&refused()).into(), (&refused().id("a")).into(), (&refused()).into()];
    assert_eq!(allowed(&kit.in_one_batch(batch)), 0);
    assert!(!kit.allows(&refused()) && !kit.allows(&refused().id("a")), "one is new, one is repeated");
    clock(1);
    assert!(!kit.allows(&refused()));
    assert!(!kit.allows(&refused()) && !kit.allows(&ask("tokens", 21).of("clocked")));
    kit.sweep();
    clock(3);
    assert!(!kit.allows(&refused()));
    let of_hour = |row: &DeliveryRow| {
        let data = body(row)["data"].clone();
        let start: Time = data["hour"]["start"].as_str().unwrap().parse().unwrap();
        let hour = (start.micros() - 1_700_000_000_000_000).div_euclid(HOUR) + 1;
        let meter = data["meter"].as_str().unwrap().to_owned();
        assert_eq!(data["window"], if meter == "calls" { "billingPeriod" } else { "minute" });
        (meter, hour, data["count"].as_u64().unwrap(), data["complete"].as_bool().unwrap())
    };
    let hours: Vec<_> = told(&kit, &all).iter().map(of_hour).collect();
    let expected = [
        ("calls", 0, 1, false),
        ("calls", 1, 1, false),
        ("tokens", 1, 1, false),
        // One refusal of tokens was told when it was.
        ("calls", 0, 4, true),
        ("calls", 1, 2, true),
        ("calls", 3, 1, false),
    ];
    assert_eq!(hours, expected.map(|(meter, hour, count, complete)| (meter.to_owned(), hour, count, complete)));
    let is_test = |row: &DeliveryRow| body(row)["data"]["organization"]["test"] == true;
    assert!(told(&kit, &all).iter().all(is_test), "whoever hears of a test organization is told that it is one");
    kit.check().unwrap();
}

#[test]
fn whichever_node_tells_of_a_refusal_counts_those_of_all_nodes() {
    let mut kit = Kit::new();
    let all = endpoint(&kit, &["usage.refused"]);
    kit.made(&create("clocked").test());
    let clock = |kit: &Kit, hours: i64| {
        let to = Time::from_micros(1_700_000_000_000_000).floor(HOUR).plus(hours * HOUR);
        kit.made(&make(Command::SetClock(to)).of("clocked"));
    };
    let refuse = |kit: &Kit, node: &Open, times: usize| {
        let calls = (0..times).map(|_| vec![(&ask("calls", 11).of("clocked")).into()]).collect();
        let answers: Vec<_> = kit.at_once_on(&[node], calls).into_iter().flat_map(Result::unwrap).collect();
        assert_eq!((answers.len(), allowed(&answers)), (times, 0));
    };
    clock(&kit, 0);
    refuse(&kit, kit.open(), 5);
    let other = (ENGINE == Engine::Postgres).then(|| kit.another());
    let mut untold = 4;
    if let Some(other) = &other {
        refuse(&kit, other, 30);
        untold += 30;
        let handed = "SELECT coalesce(sum(count), 0)::bigint FROM refusals";
        kit.wait_until("both have handed over", |kit| kit.server().number(handed) == untold);
        // What a start forgot here stands there.
        kit.reopen();
    }
    clock(&kit, 1);
    refuse(&kit, other.as_ref().unwrap_or_else(|| kit.open()), 1);
    clock(&kit, 2);
    refuse(&kit, kit.open(), 1);
    let told = told(&kit, &all);
    let of = |row: &DeliveryRow| (body(row)["data"]["complete"] == true, body(row)["data"]["count"].as_i64().unwrap());
    let mut counts: Vec<(bool, i64)> = told.iter().map(of).collect();
    // Clocks of nodes differ a little, so that messages of several are not in order.
    counts.sort_unstable();
    let first = (false, 1);
    assert_eq!(counts, [first, first, first, (true, untold + 1)], "in the second hour there was one");
    kit.check().unwrap();
}

/// At a full hour all who are exhausted may be told in one batch.
#[test]
fn each_of_many_who_are_told_in_one_batch_hears_of_its_own_refusals() {
    let mut kit = Kit::new();
    let all = endpoint(&kit, &["usage.refused"]);
    let keys = ["a", "b", "c", "d", "e"];
    let clock = |kit: &Kit, hours: i64| {
        for key in keys {
            let to = Time::from_micros(1_700_000_000_000_000).floor(HOUR).plus(hours * HOUR);
            kit.made(&make(Command::SetClock(to)).of(key));
        }
    };
    keys.iter().for_each(|key| _ = kit.made(&create(key).test()));
    clock(&kit, 0);
    for (untold, key) in keys.iter().enumerate() {
        (0..=untold).for_each(|_| assert!(!kit.allows(&ask("calls", 11).of(key))));
    }
    if ENGINE == Engine::Postgres {
        let handed = "SELECT coalesce(sum(count), 0)::bigint FROM refusals";
        kit.wait_until("they are handed over", |kit| kit.server().number(handed) == 1 + 2 + 3 + 4);
        kit.reopen();
    }
    clock(&kit, 1);
    let before = told(&kit, &all).len();
    // Of each one is told, and one is counted behind it.
    let again = || keys.iter().chain(&keys).map(|key| (&ask("calls", 11).of(key)).into()).collect::<Vec<Request>>();
    assert_eq!(allowed(&kit.in_one_batch(again())), 0);
    clock(&kit, 3);
    assert_eq!(allowed(&kit.in_one_batch(again())), 0);
    assert_eq!(before, keys.len(), "an hour is told some seconds after it is over");
    let mut counts: Vec<(String, bool, u64)> = told(&kit, &all)
        .iter()
        .map(|row| body(row)["data"].clone())
        .map(|data| {
            let key = data["organization"]["key"].as_str().unwrap().to_owned();
            (key, data["complete"].as_bool().unwrap(), data["count"].as_u64().unwrap())
        })
        .collect();
    counts.sort_unstable();
    let of_key = |(count, key): (u64, &str)| {
        // The first of three hours, then how many there were in the first, where there were more, and in the second.
        let mut of_key: Vec<_> = [(false, 1); 3].into_iter().chain([(true, count), (true, 2)]).collect();
        of_key.retain(|told| *told != (true, 1));
        of_key.sort_unstable();
        of_key.into_iter().map(|(complete, count)| (key.to_owned(), complete, count)).collect::<Vec<_>>()
    };
    let expected: Vec<_> = (1..).zip(keys).flat_map(of_key).collect();
    assert_eq!(counts, expected);
    if ENGINE == Engine::Postgres {
        // What is counted since is handed over; of what was told nothing is left.
        let handed = "SELECT coalesce(sum(count), 0)::bigint * 100 + count(*) FROM refusals";
        kit.wait_until("what was told is taken", |kit| kit.server().number(handed) == 505);
    }
    kit.check().unwrap();
}

#[test]
fn what_comes_before_a_time_is_told_once_where_nobody_asks() {
    let mut kit = Kit::new();
    let all = endpoint(&kit, &["grant.expiring"]);
    let begun = kit.now();
    kit.made(&make(grant(3, Some(begun.plus(10 * DAY)))));
    kit.sweep();
    assert!(told(&kit, &all).is_empty());
    for (days, expected) in [(2, 0), (4, 1), (4, 1), (9, 2), (11, 2)] {
        kit.reopen_at(begun.plus(days * DAY + HOUR));
        kit.sweep();
        kit.sweep();
        assert_eq!(told(&kit, &all).len(), expected, "after {days} days");
    }
    let left: Vec<Value> = told(&kit, &all).iter().map(|row| body(row)["data"]["daysLeft"].clone()).collect();
    assert_eq!(left, [7, 1]);
    kit.check().unwrap();
}

#[test]
fn what_many_calls_on_all_nodes_come_to_at_once_is_told_once() {
    let kit = Kit::new();
    let all = endpoint(&kit, &[]);
    kit.made(&make(Command::ChangePlan { plan: LARGE, keep_overrides: false, at_period_end: false }));
    let others: Vec<_> = if ENGINE == Engine::Postgres { vec![kit.another(), kit.another()] } else { Vec::new() };
    let nodes: Vec<_> = others.iter().chain([kit.open()]).collect();
    let calls: Vec<Vec<Request>> = (0..1100).map(|_| vec![(&ask("calls", 1)).into()]).collect();
    let answers: Vec<_> = kit.at_once_on(&nodes, calls).into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(allowed(&answers), 1000);
    let told = told(&kit, &all);
    let thresholds: Vec<Value> = told.iter().map(|row| body(row)["data"]["threshold"].clone()).collect();
    assert_eq!(thresholds, [Value::Null, json!(80), json!(100), Value::Null]);
    assert_eq!(kinds(&kit, &all), "subscription.changed usage.threshold usage.threshold usage.refused");
    kit.check().unwrap();
}

#[test]
fn what_is_told_of_a_deleted_organization_goes_with_it() {
    let kit = Kit::new();
    let all = endpoint(&kit, &[]);
    kit.made(&create("other"));
    kit.made(&make(grant(3, None)));
    kit.made(&make(grant(3, None)).of("other"));
    kit.sql(
        "INSERT INTO delivery_attempts (organization, message, endpoint, number, at, duration_ms, response)
         SELECT organization, message, endpoint, 1, 0, 7, '' FROM deliveries",
    );
    let id = kit.account("acme").id;
    kit.delete(&make(Command::Delete)).unwrap();
    assert_eq!(told(&kit, &all).len(), 1, "what waited is not sent any more");
    kit.wait_until("what was left of it is gone", |kit| kit.count("deletions") == 0);
    for table in ["messages", "deliveries", "delivery_attempts"] {
        assert_eq!((kit.count_of(table, id), kit.count(table)), (0, 1), "{table}");
    }
}

#[cfg(feature = "faults")]
#[test]
fn a_commit_that_fails_tells_nothing_and_its_retry_tells_once() {
    let mut kit = Kit::alone();
    let all = endpoint(&kit, &[]);
    fail::cfg("commit-fails", "return").unwrap();
    for _ in 0..3 {
        assert!(kit.send(&ask("calls", 8).id("a")).is_err() && kit.send(&ask("calls", 11)).is_err());
        assert!(kit.send(&make(grant(3, None)).under("k")).is_err());
    }
    fail::remove("commit-fails");
    assert_eq!((kinds(&kit, &all), kit.count("messages")), (String::new(), 0));
    for _ in 0..2 {
        assert!(kit.allows(&ask("calls", 8).id("a")) && !kit.allows(&ask("calls", 11)));
        kit.made(&make(grant(3, None)).under("k"));
        assert_eq!(kinds(&kit, &all), "usage.threshold usage.refused grant.created");
        kit.reopen();
    }
    kit.check().unwrap();
}
