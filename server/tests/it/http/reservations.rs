//! Reservations over HTTP: each is committed, released or lapsed exactly once, whoever races; refusals hold nothing; the
//! answers are kept over a restart (D5).

use std::thread;

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

/// 500 units of `tokens` a billing period for `acme`.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    let limit = json!({"meter": "tokens", "window": "billingPeriod", "max": 500});
    admin.put("/v1/plans/small", json!({"name": "Small", "limits": [limit]})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "small"})).is(201);
    (server, admin)
}

fn reserve(client: &Client, quantity: i64, seconds: u32) -> Answer {
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": quantity, "ttlSeconds": seconds});
    client.post("/v1/reservations", body)
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("it was not refused").to_owned()
}

/// Used, held and remaining of the period limit.
fn standing(client: &Client) -> [i64; 3] {
    let usage = client.get("/v1/organizations/acme/usage").is(200).json();
    let tokens = usage["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "tokens").unwrap();
    ["used", "held", "remaining"].map(|name| tokens[name].as_i64().unwrap())
}

#[test]
fn twenty_callers_at_once_get_exactly_six_of_seventy_five() {
    let (server, admin) = started();
    let answers: Vec<Value> = thread::scope(|scope| {
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let client = server.admin();
                scope.spawn(move || reserve(&client, 75, 60))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).map(|answer| answer.json()).collect()
    });
    let held = answers.iter().filter(|answer| answer["state"] == "held").count();
    let refused = answers.iter().filter(|answer| answer["id"].is_null() && answer["reason"] == "quota-exceeded");
    assert_eq!((held, refused.count()), (6, 14));
    assert_eq!(standing(&admin), [0, 450, 50]);
}

#[test]
fn a_reservation_goes_through_its_life() {
    let (_server, admin) = started();
    let made = reserve(&admin, 300, 60).is(201);
    let body = made.json();
    assert_eq!((&body["allowed"], &body["state"], &body["quantity"]), (&json!(true), &json!("held"), &json!(300)));
    assert_eq!(body["limits"][0]["held"], 300);
    let path = format!("/v1/reservations/{}", id(&made));
    let detail = admin.get(&path).is(200).json();
    assert_eq!(
        (&detail["state"], &detail["committed"], &detail["meter"]),
        (&json!("held"), &Value::Null, &json!("tokens"))
    );
    let extended = admin.post(&format!("{path}/extend"), json!({"ttlSeconds": 600})).is(200).json();
    assert!(extended["expiresAt"].as_str() > body["expiresAt"].as_str());
    let refused = reserve(&admin, 201, 60).is(200).json();
    assert_eq!((&refused["id"], &refused["state"], &refused["allowed"]), (&Value::Null, &Value::Null, &json!(false)));
    let committed = admin.post(&format!("{path}/commit"), json!({"quantity": 120, "durationMs": 40})).is(200).json();
    assert_eq!((&committed["state"], &committed["quantity"]), (&json!("committed"), &json!(120)));
    assert_eq!(standing(&admin), [120, 0, 380]);
    let detail = admin.get(&path).is(200).json();
    assert_eq!(
        (&detail["state"], &detail["committed"], &detail["quantity"]),
        (&json!("committed"), &json!(120), &json!(300))
    );
    let events = admin.list("/v1/events?organization=acme");
    assert_eq!((&events[0]["id"], &events[0]["durationMs"]), (&body["id"], &json!(40)));
    assert_eq!(events[0]["source"], "metergate:consume/tokens");
    for (call, sent) in
        [("commit", json!({"quantity": 1})), ("extend", json!({"ttlSeconds": 1})), ("release", json!({}))]
    {
        admin.post(&format!("{path}/{call}"), sent).expect_problem(409, "reservation-committed");
    }
    let released = format!("/v1/reservations/{}", id(&reserve(&admin, 5, 60)));
    admin.call("POST", &format!("{released}/release")).send().is(200);
    admin.post(&format!("{released}/commit"), json!({"quantity": 5})).expect_problem(409, "reservation-released");
    assert_eq!(standing(&admin), [120, 0, 380]);
}

#[test]
fn it_lapses_by_itself_and_over_a_restart_everything_stays() {
    let (mut server, admin) = started();
    let short = format!("/v1/reservations/{}", id(&reserve(&admin, 200, 1)));
    let long = format!("/v1/reservations/{}", id(&reserve(&admin, 100, 3600)));
    server.kill();
    server.start_again();
    let admin = server.admin();
    let lapsed = (0..1000).any(|_| {
        thread::sleep(std::time::Duration::from_millis(20));
        admin.get(&short).is(200).json()["state"] == "lapsed"
    });
    assert!(lapsed);
    admin.post(&format!("{short}/commit"), json!({"quantity": 5})).expect_problem(409, "reservation-lapsed");
    assert_eq!(standing(&admin), [0, 100, 400]);
    admin.post(&format!("{long}/commit"), json!({"quantity": 150})).is(200);
    assert_eq!(standing(&admin), [150, 0, 350]);
}

#[test]
fn racing_commits_and_releases_end_it_once() {
    let (server, admin) = started();
    for round in 0..20 {
        let path = format!("/v1/reservations/{}", id(&reserve(&admin, 10, 60)));
        let statuses: Vec<u16> = thread::scope(|scope| {
            let racers: Vec<_> = (0..6)
                .map(|number| {
                    let (client, path) = (server.admin(), &path);
                    scope.spawn(move || match number % 2 {
                        0 => client.post(&format!("{path}/commit"), json!({"quantity": 10})).status,
                        _ => client.post(&format!("{path}/release"), json!({})).status,
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "round {round}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    }
    let [used, held, remaining] = standing(&admin);
    assert_eq!((held, used + remaining), (0, 500));
    assert_eq!(used % 10, 0);
}

#[test]
fn a_repeated_call_gets_its_first_answer() {
    let (_server, admin) = started();
    let body = json!({"organization": "acme", "meter": "tokens", "quantity": 100, "ttlSeconds": 60});
    let call =
        |path: &str, key: &str, body: &Value| admin.call("POST", path).header("idempotency-key", key).json(body).send();
    let first = call("/v1/reservations", "a", &body).is(201);
    let again = call("/v1/reservations", "a", &body).is(201);
    assert_eq!((first.json(), again.header("idempotent-replayed")), (again.json(), Some("true")));
    let other = json!({"organization": "acme", "meter": "tokens", "quantity": 101, "ttlSeconds": 60});
    call("/v1/reservations", "a", &other).expect_problem(422, "idempotency-mismatch");
    let commit = format!("/v1/reservations/{}/commit", id(&first));
    let first = call(&commit, "b", &json!({"quantity": 30})).is(200);
    let again = call(&commit, "b", &json!({"quantity": 30})).is(200);
    assert_eq!(first.json(), again.json());
    assert_eq!(standing(&admin), [30, 0, 470]);
}

#[test]
fn wrong_calls_say_what_is_wrong_and_hold_nothing() {
    let (_server, admin) = started();
    let body = |change: Value| {
        let mut body = json!({"organization": "acme", "meter": "tokens", "quantity": 1, "ttlSeconds": 60});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let wrong = [
        (json!({"ttlSeconds": 0}), 422, "validation", "#/ttlSeconds"),
        (json!({"ttlSeconds": 86_401}), 422, "validation", "#/ttlSeconds"),
        (json!({"quantity": "1.5"}), 422, "invalid-quantity", "#/quantity"),
        (json!({"quantity": -1}), 422, "invalid-quantity", "#/quantity"),
        (json!({"meter": "storage_bytes"}), 422, "validation", "#/meter"),
        (json!({"properties": [1]}), 422, "validation", "#/properties"),
        (json!({"unknown": 1}), 422, "validation", "#/unknown"),
    ];
    for (change, status, code, pointer) in wrong {
        let problem = admin.post("/v1/reservations", body(change.clone())).expect_problem(status, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{change}: {problem}");
    }
    admin.post("/v1/reservations", body(json!({"meter": "nothing"}))).expect_problem(404, "unknown-meter");
    admin.post("/v1/reservations", body(json!({"organization": "nobody"}))).expect_problem(404, "unknown-organization");
    let path = format!("/v1/reservations/{}", id(&reserve(&admin, 1, 60)));
    admin.post(&format!("{path}/commit"), json!({"quantity": "x"})).expect_problem(422, "invalid-quantity");
    admin.post(&format!("{path}/release"), json!({"quantity": 1})).expect_problem(422, "validation");
    assert_eq!(standing(&admin), [0, 1, 499]);
}

#[test]
fn to_a_stranger_a_reservation_of_others_is_nothing() {
    let (server, admin) = started();
    admin.post("/v1/organizations", json!({"key": "other", "plan": "small"})).is(201);
    let key = json!({"name": "theirs", "scopes": ["consume"], "organization": "other"});
    let theirs = server.client(admin.post("/v1/api-keys", key).is(201).json()["key"].as_str().unwrap());
    let made = id(&reserve(&admin, 7, 60));
    let nothing = made.replace(".1", ".9");
    let bytes = |client: &Client, method: &str, path: &str| {
        let call = client.call(method, path).header("x-request-id", "same");
        let answer = if path.ends_with("/commit") { call.json(json!({"quantity": 1})) } else { call }.send().is(404);
        answer.text
    };
    for (method, below) in [("GET", ""), ("POST", "/commit"), ("POST", "/release")] {
        let of = |id: &str| bytes(&theirs, method, &format!("/v1/reservations/{id}{below}"));
        assert_eq!(of(&made), of(&nothing), "{method} {below}");
        assert_eq!(of(&made), of("no-id"), "{method} {below}");
    }
    assert_eq!(standing(&admin), [0, 7, 493]);
}

/// Where organizations are created on first use, an error is no use.
#[test]
fn a_wrong_call_creates_no_organization() {
    let server = Server::with(&[("METERGATE_AUTO_CREATE_ORGANIZATIONS", "true")]);
    let admin = server.admin();
    let body = |meter: &str, seconds: u32| json!({"organization": "new", "meter": meter, "ttlSeconds": seconds});
    admin.post("/v1/reservations", body("tokens", 0)).expect_problem(422, "validation");
    admin.post("/v1/reservations", body("storage_bytes", 60)).expect_problem(422, "validation");
    admin.get("/v1/organizations/new").expect_problem(404, "unknown-organization");
    admin.post("/v1/reservations", body("tokens", 60)).is(201);
    admin.get("/v1/organizations/new").is(200);
}

/// Its decimal places stay those in which it was held.
#[test]
fn of_a_meter_that_was_deleted_meanwhile_the_true_quantity_is_recorded() {
    let (_server, admin) = started();
    admin.put("/v1/meters/credits", json!({"aggregation": "sum", "decimals": 3})).is(201);
    let body = json!({"organization": "acme", "meter": "credits", "quantity": 2.5, "ttlSeconds": 60});
    let path = format!("/v1/reservations/{}", id(&admin.post("/v1/reservations", body).is(201)));
    admin.delete("/v1/meters/credits").is(204);
    admin.post(&format!("{path}/commit"), json!({"quantity": 2.25})).is(200);
    assert_eq!(admin.get(&path).is(200).raw("/committed"), "2.25");
}

/// As a decision's: `api_calls` has 5 a minute and 9 a day, and what is held counts as used.
#[test]
fn its_answers_carry_the_rate_headers_of_a_decision() {
    let server = Server::start();
    let admin = server.admin();
    let limits =
        [("minute", 5), ("day", 9)].map(|(window, max)| json!({"meter": "api_calls", "window": window, "max": max}));
    admin.put("/v1/plans/rated", json!({"name": "Rated", "limits": limits})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "rated"})).is(201);
    let hold = |quantity: i64, key: &str| {
        let body = json!({"organization": "acme", "meter": "api_calls", "quantity": quantity, "ttlSeconds": 60});
        admin.call("POST", "/v1/reservations").header("idempotency-key", key).json(body).send()
    };
    let left = |answer: &Answer| {
        let names = ["limit-minute", "remaining-minute", "limit-day", "remaining-day"];
        names.map(|name| answer.header(&format!("x-ratelimit-{name}")).map(str::to_owned)).map(Option::unwrap).join(" ")
    };
    let made = hold(4, "a").is(201);
    assert_eq!(left(&made), "5 1 9 5");
    assert_eq!(made.header("ratelimit-policy"), Some(r#""api_calls-minute";q=5;w=60, "api_calls-day";q=9;w=86400"#));
    assert!(made.header("ratelimit").is_some_and(|left| left.starts_with(r#""api_calls-minute";r=1"#)));
    assert_eq!((made.header("retry-after"), made.header("cache-control")), (None, Some("no-store")));
    let refused = hold(2, "b").is(200);
    assert_eq!((left(&refused).as_str(), refused.json()["allowed"].as_bool()), ("5 1 9 5", Some(false)));
    let wait = refused.json()["retryAfterSeconds"].to_string();
    assert_eq!(refused.header("retry-after"), Some(wait.as_str()));
    let path = format!("/v1/reservations/{}", id(&made));
    assert_eq!(left(&admin.post(&format!("{path}/extend"), json!({"ttlSeconds": 90})).is(200)), "5 1 9 5");
    assert_eq!(left(&admin.post(&format!("{path}/commit"), json!({"quantity": 3})).is(200)), "5 1 9 6");
    let path = format!("/v1/reservations/{}", id(&hold(1, "c").is(201)));
    assert_eq!(left(&admin.post(&format!("{path}/release"), json!({})).is(200)), "5 0 9 6");
    let again = hold(2, "b").is(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("retry-after"), Some(wait.as_str()), "the same wait");
    assert_eq!(
        (again.header("ratelimit"), hold(4, "a").header("retry-after")),
        (None, None),
        "what was left is not left now"
    );
}

#[test]
fn which_rate_headers_a_reservation_carries_is_a_setting() {
    let server = Server::with(&[("METERGATE_RATE_LIMIT_HEADERS", "ietf")]);
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "free"})).is(201);
    let body = json!({"organization": "acme", "meter": "api_calls", "ttlSeconds": 60});
    let made = admin.post("/v1/reservations", body).is(201);
    assert!(made.header("ratelimit").is_some() && made.header("x-ratelimit-limit-minute").is_none());
}

/// Of a client that holds ahead: one settlement stands for all that it decided.
#[test]
fn of_a_meter_that_counts_as_many_are_held_as_are_said() {
    let (_server, admin) = started();
    admin.put("/v1/meters/visits", json!({"aggregation": "count"})).is(201);
    admin
        .put("/v1/organizations/acme/overrides/visits/billingPeriod", json!({"max": 10, "enforcement": "hard"}))
        .is(200);
    let hold = |quantity: Value| {
        let body = json!({"organization": "acme", "meter": "visits", "quantity": quantity, "ttlSeconds": 60});
        admin.post("/v1/reservations", body)
    };
    let body = hold(json!(8)).is(201).json();
    assert_eq!((&body["quantity"], &body["limits"][0]["held"]), (&json!(8), &json!(8)));
    assert_eq!(hold(json!(3)).is(200).json()["reason"], "quota-exceeded");
    assert_eq!(hold(Value::Null).is(201).json()["quantity"], 1);
    hold(json!("1.5")).expect_problem(422, "invalid-quantity");
    let path = format!("/v1/reservations/{}/commit", body["id"].as_str().unwrap());
    let committed = admin.post(&path, json!({"quantity": 7})).is(200).json();
    assert_eq!((&committed["overage"], &committed["limits"][0]["used"]), (&json!(0), &json!(7)));
}

#[test]
fn a_reservation_and_its_commit_are_one_call_in_reports_and_what_was_given_back_is_none() {
    let (_server, admin) = started();
    let commit = |path: &str, said: Value| admin.post(&format!("{path}/commit"), said).is(200);
    let held = || format!("/v1/reservations/{}", id(&reserve(&admin, 10, 60).is(201)));
    let usage = || {
        let query =
            "/v1/usage?organization=acme&meter=tokens&granularity=total&durations=true&from=2026-01-01T00:00:00Z";
        let row = admin.get(query).is(200).json()["data"][0].clone();
        (row["value"].clone(), row["count"].clone(), row["durations"]["count"].clone())
    };
    commit(&held(), json!({"quantity": 7, "durationMs": 40, "status": 200}));
    assert_eq!(usage(), (json!(7), json!(1), json!(1)));
    let path = held();
    let body = commit(&path, json!({"quantity": 12})).json();
    let said = json!({"source": "metergate:consume/tokens", "durationMs": 41, "status": 200});
    admin.patch(&format!("/v1/events/{}?organization=acme", body["id"].as_str().unwrap()), said).is(200);
    assert_eq!(usage(), (json!(19), json!(2), json!(2)), "said later, it is the same call");
    admin.post(&format!("{}/release", held()), json!({})).is(200);
    admin.post(&format!("{}/extend", held()), json!({"ttlSeconds": 61})).is(200);
    assert_eq!(usage(), (json!(19), json!(2), json!(2)));
    admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens", "quantity": 1})).is(200);
    assert_eq!(usage(), (json!(20), json!(3), json!(2)));
}

#[test]
fn a_reservation_that_several_calls_used_counts_as_so_many_with_their_durations() {
    let (mut server, admin) = started();
    let commit = |answer: &Answer, body: Value| admin.post(&format!("/v1/reservations/{}/commit", id(answer)), body);
    let calls = json!({"count": 16, "durations": {"12": 14, "50": 2}, "statuses": {"200": 15, "500": 1}});
    let held = reserve(&admin, 100, 60);
    let said = json!({"quantity": 40, "calls": calls});
    commit(&held, said.clone()).is(200);
    commit(&held, said).is(409);
    // What took longer than its reservation was held is told with the next.
    let late = json!({"quantity": 0, "calls": {"count": 0, "durations": {"900": 1}}});
    commit(&reserve(&admin, 1, 60), late).is(200);
    assert_eq!(standing(&admin), [40, 0, 460]);

    let path = "/v1/usage?organization=acme&meter=tokens&granularity=total&from=2020-01-01T00:00:00Z\
                &to=2100-01-01T00:00:00Z&durations=true";
    let check = |client: &Client| {
        let row = client.get(path).is(200).json()["data"][0].clone();
        assert_eq!((&row["value"], &row["count"], &row["durations"]["count"]), (&json!(40), &json!(16), &json!(17)));
        assert_eq!((&row["durations"]["p50"], &row["durations"]["mean"]), (&json!(12), &json!(68.705)), "{row}");
    };
    check(&admin);
    let listed = admin.get("/v1/events?organization=acme").is(200).json();
    assert_eq!((&listed["data"][1]["calls"], &listed["data"][1]["durationMs"]), (&calls, &Value::Null));
    let event = listed["data"][1]["id"].as_str().unwrap().to_owned();
    let completed = json!({"source": "metergate:consume/tokens", "durationMs": 5});
    admin.patch(&format!("/v1/events/{event}?organization=acme"), completed).expect_problem(409, "already-complete");

    for wrong in [
        json!({"quantity": 1, "durationMs": 5, "calls": {"count": 1}}),
        json!({"quantity": 1, "calls": {"count": 1_000_001}}),
        json!({"quantity": 1, "calls": {"count": 1, "durations": {"1": 999_999, "2": 2}}}),
        json!({"quantity": 1, "calls": {"count": 1, "durations": {"fast": 1}}}),
        json!({"quantity": 1, "calls": {"count": 1, "statuses": {"200": -1}}}),
    ] {
        let status = commit(&reserve(&admin, 1, 60), wrong.clone()).status;
        assert!((400..=422).contains(&status) && status != 409, "{wrong}: {status}");
    }
    server.kill();
    server.start_again();
    check(&server.admin());
}
