//! What would have been refused under other limits (O10).

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::server::Server;

fn clock(admin: &Client, now: &str) {
    admin.put("/v1/organizations/acme/clock", json!({"now": now})).is(200);
}

fn consume(admin: &Client, meter: &str, quantity: i64, id: &str) -> bool {
    let body = json!({"organization": "acme", "meter": meter, "quantity": quantity, "id": id});
    admin.post("/v1/consume", body).is(200).json()["allowed"] == true
}

/// A test organization that used up some of its plan on three days of May.
fn started() -> (Server, Client) {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro", "test": true})).is(201);
    for day in 1..=3 {
        clock(&admin, &format!("2026-05-0{day}T00:00:00Z"));
        clock(&admin, &format!("2026-05-0{day}T12:00:00Z"));
        assert!(consume(&admin, "messages", 40_000, &format!("a{day}")) == (day < 3), "{day}");
        assert!(consume(&admin, "messages", 5_000, &format!("b{day}")), "{day}");
    }
    (server, admin)
}

fn may() -> Value {
    json!({"plan": "pro", "organizations": ["acme"], "from": "2026-05-01T00:00:00Z", "to": "2026-06-01T00:00:00Z"})
}

fn with(mut question: Value, more: &Value) -> Value {
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

fn asked(admin: &Client, question: &Value) -> Answer {
    admin.post("/v1/what-if?wait=25", question)
}

#[test]
fn other_limits_say_who_would_have_been_refused_when_and_how_much() {
    let (_server, admin) = started();
    let lower = json!({"limits": [{"meter": "messages", "window": "billingPeriod", "max": 50000}]});
    let report = asked(&admin, &with(may(), &lower)).is(200).json();
    // The first 45,000 pass, and of the rest what still fits.
    let counts = ["replayed", "refusedOrganizations", "calls", "refused", "refusedBefore", "allowed", "failed"];
    assert_eq!(counts.map(|name| report[name].as_u64().unwrap()), [1, 1, 6, 2, 1, 0, 0], "{report}");
    assert_eq!(report["firstRefusedAt"], "2026-05-02T12:00:00Z");
    assert_eq!(report["lastRefusedAt"], "2026-05-03T12:00:00Z");
    let limit = &report["limits"][0];
    assert_eq!((&limit["meter"], &limit["window"]), (&json!("messages"), &json!("billingPeriod")));
    assert_eq!((&limit["refused"], &limit["refusedQuantity"]), (&json!(2), &json!(45_000)));
    let dates: Vec<_> = report["days"].as_array().unwrap().iter().map(|day| day["date"].clone()).collect();
    assert_eq!(dates, ["2026-05-02", "2026-05-03"]);
    let higher = json!({"limits": [{"meter": "messages", "window": "billingPeriod", "unlimited": true}]});
    let report = asked(&admin, &with(may(), &higher)).is(200).json();
    assert_eq!((&report["refused"], &report["allowed"]), (&json!(0), &json!(1)));
    let same = asked(&admin, &may()).is(200).json();
    assert_eq!((&same["refused"], &same["refusedBefore"], &same["allowed"]), (&json!(0), &json!(1), &json!(0)));
    let id = admin.get("/v1/organizations/acme").is(200).json()["id"].clone();
    let twice = asked(&admin, &with(may(), &json!({"organizations": ["acme", id, "acme"]}))).is(200).json();
    assert_eq!((&twice["replayed"], &twice["refusedBefore"]), (&json!(1), &json!(1)), "{twice}");
    // All of a plan, or another one.
    let whole = json!({"definition": {"otherMeters": "none", "limits": []}});
    let report = asked(&admin, &with(may(), &whole)).is(200).json();
    assert_eq!((&report["refused"], &report["limits"][0]["reason"]), (&json!(5), &json!("not-entitled")), "{report}");
    let free = asked(&admin, &with(may(), &json!({"plan": "free"}))).is(200).json();
    assert_eq!(free["refused"], 5, "{free}");
    // Test organizations are none of those who are on the plan.
    let all = json!({"plan": "pro", "from": "2026-05-01T00:00:00Z"});
    assert_eq!(asked(&admin, &all).is(200).json()["replayed"], 0);
}

#[test]
fn what_refused_calls_cost_is_told_exactly() {
    let (_server, admin) = started();
    for (id, cost) in [("one", "0.2"), ("two", "0.100000001"), ("three", "0.3")] {
        let items = json!([{"meter": "generations", "quantity": 1}, {"meter": "llm_cost", "quantity": cost}]);
        let body = json!({"organization": "acme", "id": id, "together": items});
        assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true);
    }
    let one = json!({"limits": [{"meter": "generations", "window": "day", "max": 1}]});
    let answer = asked(&admin, &with(may(), &one)).is(200);
    assert_eq!(answer.raw("/cost"), "0.400000001");
    let text = admin.post("/v1/what-if?numbers=string&wait=25", with(may(), &one)).is(200).json();
    assert_eq!(text["cost"], "0.400000001");
}

#[test]
fn a_catalogue_is_asked_about_as_it_would_be_applied_and_stays_as_it_is() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    for call in 0..3 {
        assert!(consume(&admin, "messages", 10, &format!("c{call}")));
    }
    let file = "[plans.pro]\nlimits = [{ meter = \"messages\", window = \"day\", max = 15 }]";
    let log = || admin.list("/v1/audit-log").len() + admin.list("/v1/organizations/acme/audit-log").len();
    let (entries, events) = (log(), admin.list("/v1/events?organization=acme").len());
    let report = asked(&admin, &json!({"catalogue": file})).is(200).json();
    assert_eq!((&report["plans"], &report["refused"]), (&json!(["pro"]), &json!(2)), "{report}");
    assert!(report["summary"].as_str().unwrap().contains("2 requests of 1 organization"), "{report}");
    assert_eq!((log(), admin.list("/v1/events?organization=acme").len()), (entries, events), "something was written");
    assert_eq!(admin.get("/v1/plans/pro").is(200).json()["version"], 1);
    let others = asked(&admin, &json!({"catalogue": file.replace("pro", "starter")})).is(200).json();
    assert_eq!((&others["replayed"], &others["refused"]), (&json!(0), &json!(0)));
}

#[test]
fn what_takes_longer_is_a_job_of_who_asked() {
    let (server, admin) = started();
    let answer = admin.post("/v1/what-if?wait=0", may()).is(202);
    let job = answer.json();
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!((&job["kind"], answer.header("location")), (&json!("what-if"), Some(path.as_str())));
    let done = (0..300).find_map(|_| {
        let job = admin.get(&path).is(200).json();
        std::thread::sleep(std::time::Duration::from_millis(50));
        (job["state"] != "running").then_some(job)
    });
    let done = done.expect("it ends");
    assert_eq!(done["result"], asked(&admin, &may()).is(200).json());
    assert_eq!(done["progress"], json!({"done": 1, "total": 1, "unit": "organizations"}));
    let made = admin.post("/v1/api-keys", json!({"name": "other", "scopes": ["admin"]})).is(201).json();
    server.client(made["key"].as_str().unwrap()).get(&path).expect_problem(404, "not-found");
}

#[test]
fn what_makes_no_sense_is_an_error_that_says_where() {
    let (_server, admin) = started();
    let limit = |meter: &str, window: &str| json!({"limits": [{"meter": meter, "window": window, "max": 1}]});
    #[rustfmt::skip]
    let cases = [ // the question, status, code, where
        (json!({}),                                                   422, "validation", "#/plan"),
        (with(may(), &json!({"catalogue": ""})),                      422, "validation", "#/catalogue"),
        (json!({"catalogue": "[plans"}),                              422, "validation", "#/catalogue"),
        (json!({"plan": "a b"}),                                      422, "validation", "#/plan"),
        (json!({"plan": "nothing"}),                                  404, "unknown-plan", ""),
        (with(may(), &json!({"organizations": ["nobody"]})),          404, "unknown-organization", ""),
        (with(may(), &json!({"organizations": []})),                  422, "validation", "#/organizations"),
        (with(may(), &json!({"from": "2026-07-01T00:00:00Z"})),       422, "validation", "#/to"),
        (with(may(), &json!({"from": "May"})),                        422, "validation", "#/from"),
        (with(may(), &json!({"timeZone": "Mars"})),                   422, "validation", "#/timeZone"),
        (with(with(may(), &limit("messages", "day")), &json!({"definition": {}})), 422, "validation", "#/limits"),
        (with(may(), &limit("nothing", "day")),                       422, "invalid-catalogue", "#/limits/0/meter"),
        (with(may(), &json!({"limits": [limit("tokens", "day")["limits"][0], limit("tokens", "day")["limits"][0]]})), 422, "invalid-catalogue", "#/limits/1"),
        (with(may(), &json!({"definition": {"limits": [{"meter": "messages", "window": "day"}]}})), 422, "invalid-catalogue", "#/definition/limits/0"),
        (with(may(), &json!({"withinSeconds": 0})),                   422, "validation", "#/withinSeconds"),
        (with(may(), &json!({"withinSeconds": 3601})),                422, "validation", "#/withinSeconds"),
        (with(may(), &json!({"colour": 1})),                          422, "validation", "#/colour"),
    ];
    for (question, status, code, pointer) in cases {
        let problem = asked(&admin, &question).expect_problem(status, code);
        let found = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(found.starts_with(pointer), "{question}: {problem}");
    }
    admin.post("/v1/what-if?wait=26", may()).expect_problem(422, "validation");
}

#[test]
fn other_prices_are_replayed_and_a_limit_of_dollars_refuses_by_them() {
    let server = Server::start();
    let admin = server.admin();
    let price = json!({"model": "mine", "effectiveFrom": "2020-01-01", "input": "1000", "output": "1000"});
    admin.patch("/v1/prices", json!({"set": [price]})).is(200);
    let limits = json!([{"meter": "llm_cost", "window": "billingPeriod", "max": 4},
        {"meter": "tokens", "window": "billingPeriod", "max": 1_000_000}]);
    admin.put("/v1/plans/priced", json!({"limits": limits})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "priced"})).is(201);
    let said = json!({"model": "mine", "inputTokens": 1000, "outputTokens": 0});
    let use_up = |id: &str| {
        let body = json!({"organization": "acme", "meter": "tokens", "id": id, "properties": said});
        assert_eq!(admin.post("/v1/consume", body).is(200).json()["allowed"], true, "{id}");
    };
    use_up("void");
    let path = "/v1/events/void?organization=acme&source=metergate:consume/tokens";
    admin.call("DELETE", path).json(json!({"reason": "twice"})).send().is(204);
    ["a", "b", "c"].into_iter().for_each(use_up);
    let file = |input: &str| {
        format!(
            "prices = [{{ model = \"mine\", effectiveFrom = \"2020-01-01\", input = \"{input}\", output = \"1\" }}]"
        )
    };
    let ask = |input: &str| asked(&admin, &json!({"catalogue": file(input)})).is(200);
    // Two dollars each: what is void takes its own back, and of the three that stand the last one has no room.
    let dearer = ask("2000");
    let report = dearer.json();
    assert_eq!(["replayed", "refused", "failed"].map(|name| report[name].as_u64().unwrap()), [1, 1, 0], "{report}");
    assert_eq!(dearer.raw("/cost"), "2");
    assert_eq!((dearer.raw("/costBefore"), dearer.raw("/costAfter")), ("3".to_owned(), "4".to_owned()));
    assert!(report["summary"].as_str().unwrap().contains("4 US dollars in all instead of 3."), "{report}");
    let limit = report["limits"].as_array().unwrap().iter().find(|limit| limit["meter"] == "llm_cost").unwrap();
    assert_eq!((&limit["window"], &limit["refused"]), (&json!("billingPeriod"), &json!(1)), "{report}");
    for cheaper in ["1000", "1333"] {
        assert_eq!(ask(cheaper).json()["refused"], 0, "{cheaper}");
    }
    // Nothing is refused, and it would have paid more: it is listed with that.
    let more = ask("1333");
    assert_eq!(more.json()["organizations"][0]["organization"], "acme");
    let costs = ["costBefore", "costAfter"].map(|name| more.raw(&format!("/organizations/0/{name}")));
    assert_eq!(costs, ["3", "3.999"]);
    assert_eq!(ask("1000").json()["organizations"], json!([]));
    assert_eq!(ask("4001").json()["refused"], 4, "also the one that became void");
}

#[test]
fn what_a_refused_reservation_would_have_cost_is_among_what_refused_calls_cost() {
    let server = Server::start();
    let admin = server.admin();
    let price = json!({"model": "mine", "effectiveFrom": "2020-01-01", "input": "1000", "output": "1000"});
    admin.patch("/v1/prices", json!({"set": [price]})).is(200);
    admin.put("/v1/plans/priced", json!({"limits": []})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "priced"})).is(201);
    let hold = json!({"organization": "acme", "meter": "tokens", "quantity": 2000, "ttlSeconds": 60});
    let held = admin.post("/v1/reservations", hold).is(201).json();
    let path = format!("/v1/reservations/{}/commit", held["id"].as_str().unwrap());
    let said = json!({"model": "mine", "inputTokens": 1000, "outputTokens": 500});
    admin.post(&path, json!({"quantity": 1500, "properties": said})).is(200);
    let lower = json!({"plan": "priced", "limits": [{"meter": "tokens", "window": "day", "max": 1000}]});
    let answer = asked(&admin, &lower).is(200);
    assert_eq!(answer.json()["refused"], 1);
    let costs = ["cost", "costBefore", "costAfter"].map(|name| answer.raw(&format!("/{name}")));
    assert_eq!(costs, ["1.5", "1.5", "0"]);
}

/// The plan `pro` with other members.
fn definition(admin: &Client, change: &Value) -> Value {
    let own = admin.get("/v1/plans/pro").is(200).json();
    let names = ["name", "limits", "features", "cycle", "otherMeters", "trial"];
    let kept = names.into_iter().filter(|name| own.get(name).is_some_and(|value| !value.is_null()));
    let kept: serde_json::Map<_, _> = kept.map(|name| (name.to_owned(), own[name].clone())).collect();
    json!({"definition": with(Value::Object(kept), change)})
}

#[test]
fn another_trial_another_cycle_and_other_days_of_grace_are_replayed() {
    let (_server, admin) = started();
    let said = |change: &Value| {
        let report = asked(&admin, &with(may(), &definition(&admin, change))).is(200).json();
        assert_eq!((&report["notReplayed"], &report["failed"]), (&json!([]), &json!(0)), "{report}");
        assert!(!report["summary"].as_str().unwrap().contains("not replayed"), "{report}");
        (report["refused"].as_u64().unwrap(), report["limits"].clone())
    };
    assert_eq!(said(&json!({"graceDays": 3, "fallbackPlan": "starter"})).0, 0);
    // Its clock was set to the first of May when nothing was recorded: as if it had been created then.
    let trial = |days: i64| json!({"trial": {"days": days, "onEnd": "lock"}});
    assert_eq!(said(&trial(30)).0, 0);
    let (refused, limits) = said(&trial(1));
    assert_eq!(refused, 3, "two of the second day and one of the third; the other was refused then, too");
    let expired = limits.as_array().unwrap().iter().any(|limit| limit["reason"] == "trial-expired");
    assert!(expired, "{limits}");
    assert_eq!(said(&json!({"cycle": "firstOfMonth"})).0, 0);
}
