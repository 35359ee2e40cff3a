//! Meters, plans and the catalogue file: what is the team's.

use serde_json::{Value, json};

use super::client::Client;
use super::server::Server;

/// How many entries the team's audit chain has.
fn audit_entries(server: &Server) -> usize {
    server.admin().list("/v1/audit-log").len()
}

fn tokens_limit(client: &Client, organization: &str) -> Value {
    let answer = client.post("/v1/check", json!({"organization": organization, "meter": "tokens"})).is(200).json();
    answer["limits"][0]["limit"].clone()
}

fn plan(max: u64) -> Value {
    json!({"name": "Mine", "limits": [{"meter": "tokens", "window": "billingPeriod", "max": max, "enforcement": "hard"}],
        "features": {"sso": true}, "trial": {"days": 30, "onEnd": "continue"}})
}

#[test]
fn a_plan_that_differs_is_a_new_version_and_the_same_one_changes_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin.put("/v1/plans/mine", plan(10)).is(201);
    let body = made.json();
    for (name, value) in
        [("key", json!("mine")), ("version", json!(1)), ("name", json!("Mine")), ("features", json!({"sso": true}))]
    {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(body["trial"], json!({"days": 30, "onEnd": "continue"}));
    assert_eq!(body["limits"][0]["max"], 10);
    assert_eq!(made.header("etag"), Some("\"v1\""));

    let entries = audit_entries(&server);
    let same = admin.put("/v1/plans/mine", plan(10)).is(200);
    assert_eq!((same.json(), audit_entries(&server)), (body, entries), "no new version and no entry");
    let changed = admin.put("/v1/plans/mine", plan(20)).is(200);
    assert_eq!((changed.json()["version"].clone(), changed.header("etag")), (json!(2), Some("\"v2\"")));
    assert_eq!(audit_entries(&server), entries + 1);
    assert_eq!(admin.get("/v1/plans/mine").is(200).json(), changed.json());
    assert_eq!(admin.get("/v1/plans/mine?version=1").is(200).json()["limits"][0]["max"], 10);
    admin.get("/v1/plans/mine?version=3").expect_problem(404, "unknown-plan");
    admin.get("/v1/plans/nothing").expect_problem(404, "unknown-plan");

    let stale = admin.call("PUT", "/v1/plans/mine").header("if-match", "\"v1\"").json(plan(30)).send();
    stale.expect_problem(412, "precondition-failed");
    let fresh = admin.call("PUT", "/v1/plans/mine").header("if-match", "\"v2\"").json(plan(30)).send();
    assert_eq!(fresh.is(200).json()["version"], 3);
}

#[test]
fn organizations_stay_on_their_version_until_they_are_moved() {
    let server = Server::start();
    let admin = server.admin();
    admin.put("/v1/plans/mine", plan(10)).is(201);
    admin.post("/v1/organizations", json!({"key": "old", "plan": "mine"})).is(201);
    admin.put("/v1/plans/mine", plan(20)).is(200);
    admin.post("/v1/organizations", json!({"key": "new", "plan": "mine"})).is(201);
    assert_eq!((tokens_limit(&admin, "old"), tokens_limit(&admin, "new")), (json!(10), json!(20)));
    assert_eq!(admin.get("/v1/organizations/old").json()["planVersion"], 1);
    let moved = admin.put("/v1/organizations/old/plan", json!({"plan": "mine"})).is(200).json();
    assert_eq!((&moved["planVersion"], tokens_limit(&admin, "old")), (&json!(2), json!(20)));
    admin.put("/v1/organizations/old/plan", json!({"plan": "mine", "version": 1})).is(200);
    assert_eq!(tokens_limit(&admin, "old"), 10);
    // It stays while there is one on any version of it; a deleted plan takes no new one.
    for organization in ["old", "new"] {
        admin.delete("/v1/plans/mine").expect_problem(409, "plan-in-use");
        admin.put(&format!("/v1/organizations/{organization}/plan"), json!({"plan": "pro"})).is(200);
    }
    admin.delete("/v1/plans/mine").is(204);
    admin.post("/v1/organizations", json!({"key": "late", "plan": "mine"})).expect_problem(404, "unknown-plan");
    admin.delete("/v1/plans/mine").expect_problem(404, "unknown-plan");
}

#[test]
fn a_plan_that_somebody_needs_stays() {
    let mut server = Server::start();
    let admin = server.admin();
    for key in ["target", "later", "last"] {
        admin.put(&format!("/v1/plans/{key}"), json!({})).is(201);
    }
    let leading = json!({"trial": {"days": 1, "onEnd": {"plan": "target"}}, "fallbackPlan": "last"});
    admin.put("/v1/plans/source", leading).is(201);
    admin.post("/v1/organizations", json!({"key": "in-trial", "plan": "source"})).is(201);
    admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "later", "at": "periodEnd"})).is(200);
    let stays = |key: &str| drop(admin.delete(&format!("/v1/plans/{key}")).expect_problem(409, "plan-in-use"));
    let goes = |key: &str| drop(admin.delete(&format!("/v1/plans/{key}")).is(204));
    ["free", "target", "last", "later", "source", "pro"].into_iter().for_each(stays);
    // Of a version that is the newest no more only what an organization is on counts, and no start forgets that.
    admin.put("/v1/plans/source", json!({})).is(200);
    goes("last");
    server.kill();
    server.start_again();
    ["target", "later", "source"].into_iter().for_each(stays);
    admin.put("/v1/organizations/in-trial/plan", json!({"plan": "pro"})).is(200);
    admin.put("/v1/organizations/acme/plan", json!({"plan": "pro"})).is(200);
    ["target", "later", "source"].into_iter().for_each(goes);
    // Nobody minds what deleted plans name.
    admin.put("/v1/plans/other", json!({})).is(201);
    admin.post("/v1/organizations", json!({"key": "new"})).is(201);
}

#[test]
fn a_meter_is_defined_changed_and_deleted_but_never_counts_otherwise() {
    let mut server = Server::start();
    let admin = server.admin();
    let body = json!({"name": "Credits", "unit": "credit", "eventType": "credit.used", "aggregation": "sum", "decimals": 3,
        "valueProperty": "amount", "dimensions": ["model"], "record": true});
    let made = admin.put("/v1/meters/credits", &body).is(201).json();
    assert_eq!(made["key"], "credits");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let entries = audit_entries(&server);
    assert_eq!(admin.put("/v1/meters/credits", &body).is(200).json(), made);
    assert_eq!(audit_entries(&server), entries);
    let renamed = json!({"name": "Coins", "aggregation": "sum", "decimals": 3});
    assert_eq!(admin.put("/v1/meters/credits", &renamed).is(200).json()["name"], "Coins");
    assert_eq!(audit_entries(&server), entries + 1);
    for fixed in [json!({"aggregation": "max", "decimals": 3}), json!({"aggregation": "sum", "decimals": 2})] {
        admin.put("/v1/meters/credits", fixed).expect_problem(409, "meter-fixed");
    }
    admin.put("/v1/meters/a%20b", json!({"aggregation": "sum"})).is(422);
    admin.put("/v1/plans/mine", json!({"limits": [{"meter": "credits", "window": "day", "max": 1}]})).is(201);
    admin.delete("/v1/meters/credits").expect_problem(409, "meter-in-use");
    admin.put("/v1/plans/mine", json!({})).is(200);
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    let own = |below: &str| format!("/v1/organizations/acme/{below}");
    let stays = || drop(admin.delete("/v1/meters/credits").expect_problem(409, "meter-in-use"));
    admin.put(&own("overrides/credits/month"), json!({"max": 5})).is(200);
    stays();
    admin.put(&own("extra/credits"), json!({"quantity": 1.5})).is(200);
    admin.delete(&own("overrides/credits/month")).is(204);
    stays();
    let grant = json!({"meter": "credits", "amount": 3, "reason": "r"});
    let grant = admin.post(&own("grants"), grant).is(201).json()["id"].clone();
    admin.put(&own("extra/credits"), json!({"quantity": 0})).is(200);
    // No start forgets it.
    server.kill();
    server.start_again();
    stays();
    admin.delete_because(&own(&format!("grants/{grant}")), "r").is(204);
    admin.delete("/v1/meters/credits").is(204);
    admin.get("/v1/meters/credits").expect_problem(404, "unknown-meter");
    admin.delete("/v1/meters/credits").expect_problem(404, "unknown-meter");
}

#[test]
fn meters_and_plans_are_listed_by_key_in_pages() {
    let server = Server::start();
    let admin = server.admin();
    for (path, expected) in [
        (
            "/v1/meters",
            "active_users api_calls chat_messages conversations embeddings errors generations llm_cost messages storage_bytes tokens",
        ),
        ("/v1/plans", "enterprise free pro starter trial"),
    ] {
        for limit in [1, 2, 50] {
            let found = admin.list(&format!("{path}?limit={limit}"));
            let keys: Vec<_> = found.iter().map(|one| one["key"].as_str().unwrap()).collect();
            assert_eq!(keys.join(" "), expected, "{path} by {limit}");
        }
    }
}

#[test]
fn the_shipped_plans_have_their_figures() {
    let server = Server::start();
    let admin = server.admin();
    let max = |plan: &str, meter: &str, window: &str| {
        let plan = admin.get(&format!("/v1/plans/{plan}")).is(200).json();
        let limits = plan["limits"].as_array().unwrap().clone();
        let limit = limits.into_iter().find(|limit| limit["meter"] == meter && limit["window"] == window);
        let limit = limit.unwrap_or_else(|| panic!("{plan} has no limit on {meter} a {window}"));
        if limit["unlimited"] == true { -1 } else { limit["max"].as_i64().unwrap() }
    };
    const MB: i64 = 1_048_576;
    #[rustfmt::skip]
    let figures = [
        ("api_calls",     "minute",        [60,       60,       120,       300,        1_000]),
        ("api_calls",     "day",           [5_000,    5_000,    20_000,    50_000,     500_000]),
        ("conversations", "billingPeriod", [100,      100,      1_000,     10_000,     -1]),
        ("messages",      "billingPeriod", [1_000,    1_000,    10_000,    100_000,    -1]),
        ("tokens",        "billingPeriod", [10_000,   10_000,   100_000,   500_000,    -1]),
        ("generations",   "billingPeriod", [50,       50,       500,       5_000,      -1]),
        ("storage_bytes", "billingPeriod", [100 * MB, 500 * MB, 5_000 * MB, 50_000 * MB, -1]),
    ];
    for (meter, window, expected) in figures {
        let found = ["trial", "free", "starter", "pro", "enterprise"].map(|plan| max(plan, meter, window));
        assert_eq!(found, expected, "{meter} a {window}");
    }
    for (plan, end) in [("trial", "lock"), ("free", "continue")] {
        let trial = admin.get(&format!("/v1/plans/{plan}")).json()["trial"].clone();
        assert_eq!(trial, json!({"days": 30, "onEnd": end}), "{plan}");
    }
}

#[test]
fn the_quotas_of_the_environment_are_in_force_at_start() {
    let mut server = Server::with(&[("QUOTA_FREE_PER_MINUTE", "7"), ("QUOTA_PRO_PER_DAY", "9")]);
    let limits = |server: &Server, plan: &str| {
        let admin = server.admin();
        admin.post("/v1/organizations", json!({"key": plan, "plan": plan}));
        let limits =
            admin.post("/v1/check", json!({"organization": plan, "meter": "api_calls"})).is(200).json()["limits"]
                .clone();
        [0, 1].map(|i| limits[i]["limit"].as_i64().unwrap())
    };
    assert_eq!((limits(&server, "free"), limits(&server, "pro")), ([7, 5_000], [300, 9]));
    let version = server.admin().get("/v1/plans/free").json()["version"].clone();
    server.kill();
    server.start_again();
    assert_eq!(server.admin().get("/v1/plans/free").json()["version"], version, "a second start changes nothing");
}

#[test]
fn a_catalogue_is_compared_then_applied_as_a_whole_or_not_at_all() {
    let server = Server::start();
    let admin = server.admin();
    let file = "[meters.pages]\nname = \"Pages\"\naggregation = \"sum\"\n\n[plans.reader]\nname = \"Reader\"\n\
        limits = [{ meter = \"pages\", window = \"day\", max = 5 }]\n";
    let send = |path: &str, text: &str| admin.call("POST", path).body("application/toml", text).send();
    let diff = send("/v1/catalog/diff", file).is(200).json();
    assert_eq!(
        (&diff["applied"], &diff["meters"][0]["change"], &diff["plans"][0]["change"]),
        (&json!(false), &json!("added"), &json!("added"))
    );
    admin.get("/v1/plans/reader").is(404);
    assert_eq!(send("/v1/catalog/apply", file).is(200).json()["applied"], true);
    assert_eq!(admin.get("/v1/plans/reader").is(200).json()["version"], 1);
    let entries = audit_entries(&server);
    let again = send("/v1/catalog/apply", file).is(200).json();
    assert_eq!(
        (&again["meters"][0]["change"], &again["plans"][0]["change"]),
        (&json!("unchanged"), &json!("unchanged"))
    );
    assert_eq!((admin.get("/v1/plans/reader").json()["version"].clone(), audit_entries(&server)), (json!(1), entries));
    let changed = file.replace("max = 5", "max = 6");
    let diff = send("/v1/catalog/diff", &changed).is(200).json();
    assert_eq!((&diff["plans"][0]["fromVersion"], &diff["plans"][0]["toVersion"]), (&json!(1), &json!(2)));
    assert!(
        diff["plans"][0]["details"][0].as_str().is_some_and(|detail| detail.contains('5') && detail.contains('6')),
        "{diff}"
    );

    let bad_plan = format!(
        "{}\n[plans.bad]\nlimits = [{{ meter = \"nothing\", window = \"day\", max = 1 }}]\n",
        file.replace("max = 5", "max = 7")
    );
    for bad in [
        bad_plan.as_str(),
        "[meters",
        "plans = 5",
        "[plans.x]\nlimit = []\n",
        "[meters.tokens]\naggregation = \"max\"\n",
    ] {
        for path in ["/v1/catalog/diff", "/v1/catalog/apply"] {
            let status = send(path, bad).status;
            assert!([409, 422].contains(&status), "{path}: {status}: {bad}");
        }
    }
    assert_eq!(admin.get("/v1/plans/reader").json()["limits"][0]["max"], 5, "the last good one stays");
    let not_utf8 = admin.call("POST", "/v1/catalog/apply").body("application/toml", b"\xff".to_vec()).send();
    not_utf8.expect_problem(400, "malformed-body");
}

#[test]
fn organizations_follow_an_applied_catalogue_unless_they_are_kept() {
    let server = Server::start();
    let admin = server.admin();
    let send = |path: &str, max: u64| {
        let limit = format!("{{ meter = \"tokens\", window = \"billingPeriod\", max = {max} }}");
        let file = format!("[plans.mine]\nname = \"Mine\"\nlimits = [{limit}]\n");
        admin.call("POST", path).body("application/toml", file).send().is(200).json()["plans"][0].clone()
    };
    send("/v1/catalog/apply", 10);
    for (key, plan) in [("one", "mine"), ("two", "mine"), ("waits", "mine"), ("other", "pro")] {
        admin.post("/v1/organizations", json!({"key": key, "plan": plan})).is(201);
    }
    admin.put("/v1/organizations/two/overrides/tokens/day", json!({"max": 3})).is(200);
    admin.put("/v1/organizations/waits/plan", json!({"plan": "pro", "at": "periodEnd"})).is(200);
    let versions = || {
        let version = |key: &str| admin.get(&format!("/v1/organizations/{key}")).is(200).json()["planVersion"].clone();
        ["one", "two", "waits", "other"].map(version)
    };
    let entries = |key: &str| admin.list(&format!("/v1/organizations/{key}/audit-log"));
    send("/v1/catalog/apply?keep=true", 20);
    assert_eq!(versions(), [1, 1, 1, 1].map(|version| json!(version)));
    let diff = send("/v1/catalog/diff", 20);
    assert_eq!((&diff["change"], &diff["organizations"]), (&json!("unchanged"), &json!(3)));

    send("/v1/catalog/apply", 20);
    assert_eq!(versions(), [2, 2, 1, 1].map(|version| json!(version)), "what waits for the period's end stays");
    assert_eq!(tokens_limit(&admin, "one"), 20);
    let quota = admin.get("/v1/organizations/two/quota").is(200).json();
    assert!(quota["limits"].as_array().unwrap().iter().any(|limit| limit["window"] == "day" && limit["limit"] == 3));
    let newest = entries("two")[0].clone();
    assert_eq!((&newest["action"], &newest["actor"]), (&json!("plan.change"), &json!("key:administrator")));
    let told = entries("one").len();
    assert_eq!(send("/v1/catalog/apply", 20)["organizations"], 1, "the one that waits");
    assert_eq!(entries("one").len(), told, "nobody is moved twice");
    send("/v1/catalog/apply", 30);
    assert_eq!((versions()[0].clone(), tokens_limit(&admin, "two")), (json!(3), json!(3)), "its own limit stays");
}

#[test]
fn a_repeated_idempotency_key_on_the_teams_things_changes_them_once() {
    let server = Server::start();
    let admin = server.admin();
    let put =
        |key: &str, max: u64| admin.call("PUT", "/v1/plans/mine").header("idempotency-key", key).json(plan(max)).send();
    let first = put("k", 10).is(201);
    put("l", 20).is(200);
    let again = put("k", 10).is(201);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")));
    assert_eq!(
        admin.get("/v1/plans/mine").json()["limits"][0]["max"],
        20,
        "the repetition did not bring the old plan back"
    );
    put("k", 30).expect_problem(422, "idempotency-mismatch");
}
