//! The fleet view: it says of all organizations together what each says of itself, and writes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use metergate_rules::time::Time;
use serde_json::{Value, json};

use super::server::{Server, Written};
use crate::store::Random;

const METERS: [&str; 3] = ["tokens", "calls", "messages"];
const PLANS: &str = r#"{"plans": {"small": {"limits": [
    {"meter": "tokens", "window": "billingPeriod", "max": 100}, {"meter": "calls", "window": "day", "max": 40}]},
    "large": {"limits": [{"meter": "tokens", "window": "month", "max": 500, "enforcement": "soft"}]},
    "tried": {"trial": {"days": 14, "onEnd": "lock"}, "limits": [{"meter": "tokens", "window": "billingPeriod", "max": 50}]}}}"#;

/// How often is looked, 50 ms apart, for what comes by itself.
const ASKED: usize = 600;

/// The view as of a time that is not before this question was asked, and whole.
fn fleet(server: &Server, query: &str) -> Value {
    let asked = metergate::clock::wall();
    let mut shown = Value::Null;
    for _ in 0..ASKED {
        let body = server.admin().get(&format!("/v1/fleet{query}")).is(200).json();
        let as_of: Time = body["asOf"].as_str().unwrap().parse().unwrap();
        if body["complete"] == true && as_of >= asked {
            return body;
        }
        shown = body;
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the view does not come up to date: {shown}");
}

fn made() -> Server {
    // What is done by itself once a day may be done at any moment.
    let server = Server::with(&[("METERGATE_ROLLUP_CHECK_HOURS", "0")]);
    let admin = server.admin();
    for meter in METERS {
        admin.put(&format!("/v1/meters/{meter}"), json!({"aggregation": "sum"}));
    }
    let plans: Value = serde_json::from_str(PLANS).unwrap();
    for (key, plan) in plans["plans"].as_object().unwrap() {
        assert!(admin.put(&format!("/v1/plans/{key}"), plan).status < 300);
    }
    server
}

/// Whatever may happen to organizations.
fn work(server: &Server, random: &mut Random, organizations: &mut Vec<String>, steps: u64) -> BTreeMap<String, u64> {
    // Ids that no other round has: a refusal that is told again is none.
    let (admin, round, mut refused) = (server.admin(), random.below(1 << 40), BTreeMap::new());
    for step in 0..steps {
        if organizations.is_empty() || random.below(5) == 0 {
            let (key, plan) = (format!("org-{}", organizations.len()), *random.one_of(&["small", "large", "tried"]));
            let new = json!({"key": key, "plan": plan, "name": "A name", "test": random.below(8) == 0});
            admin.post("/v1/organizations", new).is(201);
            organizations.push(key);
        }
        let org = random.one_of(organizations);
        let path = |below: &str| format!("/v1/organizations/{org}/{below}");
        match random.below(9) {
            0 => drop(admin.put(&path("lock"), json!({"reason": "late"})).is(200)),
            1 => drop(admin.delete_because(&path("lock"), "paid").is(204)),
            2 => drop(admin.put(&path("plan"), json!({"plan": random.one_of(&["small", "large"])})).is(200)),
            3 => drop(admin.post(&path("grants"), json!({"meter": "tokens", "amount": 9, "reason": "gift"})).is(201)),
            _ => {
                let meter = random.one_of(&METERS);
                let ask = json!({"organization": org, "meter": meter, "quantity": 1 + random.below(30), "id": format!("{round}-{step}")});
                if admin.post("/v1/consume", ask).json()["allowed"] == false {
                    *refused.entry(org.clone()).or_default() += 1;
                }
            }
        }
    }
    refused
}

/// What the organizations say of themselves.
fn compare(server: &Server, whole: &Value) {
    let admin = server.admin();
    let all = admin.list("/v1/organizations?limit=100");
    let real: Vec<&Value> = all.iter().filter(|one| one["test"] != true).collect();
    assert_eq!(whole["organizations"], json!(all.len()));
    assert_eq!(whole["testOrganizations"], json!(all.len() - real.len()));
    let count = |name: &str| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        real.iter().for_each(|one| *counts.entry(one[name].as_str().unwrap().to_owned()).or_default() += 1);
        json!(counts)
    };
    assert_eq!((&whole["byStatus"], &whole["byPlan"]), (&count("status"), &count("plan")));
    let locked = real.iter().filter(|one| one["locked"] == true).count();
    assert_eq!(whole["locked"]["total"], json!(locked));
    assert_eq!(whole["inTrial"]["total"], json!(real.iter().filter(|one| one["status"] == "trial").count()));
    let (mut close, mut used) = (Vec::new(), BTreeMap::<&str, Vec<(i64, String)>>::new());
    for one in &real {
        let key = one["key"].as_str().unwrap();
        let quota = admin.get(&format!("/v1/organizations/{key}/quota")).is(200).json();
        let shares = quota["limits"].as_array().unwrap().iter().filter_map(|limit| {
            let (max, left) = (limit["limit"].as_i64()?, limit["remaining"].as_i64()?);
            (limit["enforcement"] == "hard" && max > 0).then(|| (max - left) * 10_000 / max)
        });
        close.extend(shares.max().filter(|share| *share >= 8_000));
        let standing = admin.get(&format!("/v1/organizations/{key}/usage")).is(200).json();
        for meter in standing["meters"].as_array().unwrap() {
            let name = METERS.iter().find(|name| meter["meter"] == **name);
            if let (Some(name), Some(units @ 1..)) = (name, meter["used"].as_i64()) {
                used.entry(name).or_default().push((units, key.to_owned()));
            }
        }
    }
    close.sort_by(|a, b| b.cmp(a));
    let shown = whole["closeToLimit"]["data"].as_array().unwrap();
    let figure = |one: &Value, name: &str| one[name].as_i64().unwrap();
    let share = |one| (figure(one, "limit") - figure(one, "remaining")) * 10_000 / figure(one, "limit");
    let shown: Vec<i64> = shown.iter().map(share).collect();
    assert_eq!(shown, close);
    for meter in whole["meters"].as_array().unwrap() {
        let of_meter = used.remove(meter["meter"].as_str().unwrap()).unwrap_or_default();
        let shown = meter["organizations"]["data"].as_array().unwrap();
        let shown =
            shown.iter().map(|one| (one["used"].as_i64().unwrap(), one["organization"].as_str().unwrap().to_owned()));
        let mut shown: Vec<_> = shown.collect();
        assert!(shown.is_sorted_by(|a, b| a.0 >= b.0), "who used most comes first: {shown:?}");
        let mut expected = of_meter;
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
        days(server, meter, &real);
    }
}

/// Use by day is the sum of what each organization's report says.
fn days(server: &Server, meter: &Value, real: &[&Value]) {
    let mut days: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for one in real {
        let path = format!(
            "/v1/usage?organization={}&meter={}&granularity=day",
            one["key"].as_str().unwrap(),
            meter["meter"].as_str().unwrap()
        );
        for row in server.admin().list(&path) {
            let day = days.entry(row["start"].as_str().unwrap()[..10].to_owned()).or_default();
            *day = (day.0 + row["count"].as_i64().unwrap(), day.1 + row["value"].as_i64().unwrap());
        }
    }
    let shown = meter["days"].as_array().unwrap().iter();
    let shown = shown.map(|day| {
        (day["date"].as_str().unwrap().to_owned(), (day["count"].as_i64().unwrap(), day["value"].as_i64().unwrap()))
    });
    assert_eq!(shown.collect::<BTreeMap<_, _>>(), days, "{}", meter["meter"]);
}

#[test]
fn the_view_says_of_all_what_each_says_of_itself() {
    let mut random = Random::new("the_view_says_of_all_what_each_says_of_itself");
    let (mut server, mut organizations) = (made(), Vec::new());
    for _ in 0..3 {
        let refused = work(&server, &mut random, &mut organizations, 80);
        let whole = fleet(&server, "?limit=100");
        compare(&server, &whole);
        let is_test = |key: &&String| server.admin().get(&format!("/v1/organizations/{key}")).json()["test"] == true;
        let refused: BTreeMap<_, _> = refused.iter().filter(|(key, _)| !is_test(key)).collect();
        let shown: u64 =
            whole["refusedMost"]["data"].as_array().unwrap().iter().map(|one| one["refused"].as_u64().unwrap()).sum();
        assert_eq!(shown, refused.values().copied().sum::<u64>(), "since the start of the server: {refused:?}");
        // The rows may be behind the journal then, and the view is made anew.
        server.kill();
        server.start_again();
        compare(&server, &fleet(&server, "?limit=100"));
    }
}

#[test]
fn lists_are_bounded_and_questions_checked() {
    let server = made();
    let admin = server.admin();
    for number in 0..12 {
        let key = format!("org-{number}");
        admin.post("/v1/organizations", json!({"key": key, "plan": "large"})).is(201);
        admin.post("/v1/consume", json!({"organization": key, "meter": "tokens", "quantity": 5})).is(200);
    }
    let meter = &fleet(&server, "?limit=3&meter=tokens")["meters"];
    assert_eq!(meter.as_array().unwrap().len(), 1);
    assert_eq!(meter[0]["organizations"]["total"], 12);
    assert_eq!(meter[0]["organizations"]["data"].as_array().unwrap().len(), 3);
    assert_eq!(
        meter[0]["organizations"],
        fleet(&server, "?limit=3&meter=tokens")["meters"][0]["organizations"],
        "of equals the same"
    );
    assert_eq!(
        fleet(&server, "")["meters"][0]["organizations"]["data"].as_array().map(Vec::len).filter(|len| *len > 10),
        None
    );
    assert_eq!(fleet(&server, "?numbers=string&meter=tokens")["meters"][0]["days"][0]["value"], "60");
    for query in ["limit=0", "limit=101", "limit=x", "top=3", "numbers=float"] {
        admin.get(&format!("/v1/fleet?{query}")).expect_problem(422, "validation");
    }
    admin.get("/v1/fleet?meter=nope").is(404);
}

#[test]
fn a_deleted_organization_leaves_the_view_and_is_not_damaged() {
    let server = made();
    let admin = server.admin();
    for key in ["stays", "goes", "goes-too"] {
        admin.post("/v1/organizations", json!({"key": key, "plan": "small", "name": "A name"})).is(201);
        admin.post("/v1/consume", json!({"organization": key, "meter": "tokens", "quantity": 90})).is(200);
    }
    admin.put("/v1/organizations/goes/lock", json!({"reason": "late"})).is(200);
    assert_eq!(fleet(&server, "")["organizations"], 3);
    for key in ["goes", "goes-too"] {
        admin.delete_because(&format!("/v1/organizations/{key}"), "it was asked for").is(204);
    }
    let whole = fleet(&server, "");
    let counted = ["organizations", "unreadable"].map(|name| whole[name].as_u64().unwrap());
    assert_eq!(counted, [1, 0], "{whole}");
    // What all used by day stays: it says nothing of anybody.
    assert_eq!(whole["closeToLimit"]["total"], 1);
    assert_eq!(whole["locked"]["total"], 0);
    let log = server.log();
    assert!(!log.contains("is not in the fleet view"), "{log}");
}

#[test]
fn a_question_writes_nothing() {
    let mut random = Random::new("a_question_writes_nothing");
    let server = made();
    work(&server, &mut random, &mut Vec::new(), 60);
    let written = Written::so_far(&server);
    let before = written.version();
    fleet(&server, "");
    fleet(&server, "?limit=100");
    assert_eq!(written.version(), before, "nothing was committed");
    server.admin().post("/v1/organizations", json!({"key": "one-more", "plan": "small"})).is(201);
    assert_ne!(written.version(), before, "a commit shows");
}
