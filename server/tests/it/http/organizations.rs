//! Organizations: made, changed, listed, with entity tags and idempotency keys.

use serde_json::{Value, json};

use super::server::Server;

const DAY: i64 = 86_400;

fn seconds(time: &Value) -> i64 {
    let time: metergate_rules::time::Time = time.as_str().unwrap().parse().unwrap();
    time.micros() / metergate_rules::time::SECOND
}

#[test]
fn an_organization_has_the_documented_members() {
    let server = Server::start();
    let admin = server.admin();
    let body = json!({"key": "acme", "name": "Acme", "plan": "pro", "timeZone": "Europe/Berlin", "metadata": {"crm": [1, "x"]}});
    let answer = admin.post("/v1/organizations", body).is(201);
    assert_eq!(answer.header("location"), Some("/v1/organizations/acme"));
    let made = answer.json();
    let expected = json!({"key": "acme", "name": "Acme", "plan": "pro", "planVersion": 1, "status": "active", "trialEndsAt": null,
        "timeZone": "Europe/Berlin", "locked": false, "locks": [], "metadata": {"crm": [1, "x"]}, "test": false});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!(made["nextResetDate"], made["currentPeriod"]["end"]);
    let length = seconds(&made["currentPeriod"]["end"]) - seconds(&made["currentPeriod"]["start"]);
    // A month in its zone, which may hold a change of the clocks.
    assert!((28 * DAY - 3600..=31 * DAY + 3600).contains(&length), "{length}");
    assert_eq!(made["currentPeriod"]["start"], made["createdAt"]);
    let id = made["id"].as_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    for name in ["acme", id] {
        let read = admin.get(&format!("/v1/organizations/{name}")).is(200);
        assert_eq!((read.json(), read.header("etag")), (made.clone(), answer.header("etag")));
    }
}

#[test]
fn without_a_plan_it_is_free_with_a_trial_of_exactly_30_days() {
    let server = Server::start();
    let admin = server.admin();
    for (key, plan) in [("a", None), ("b", Some("free")), ("c", Some("trial"))] {
        let made = admin.post("/v1/organizations", json!({"key": key, "plan": plan})).is(201).json();
        assert_eq!((&made["plan"], &made["status"]), (&json!(plan.unwrap_or("free")), &json!("trial")));
        assert_eq!((&made["name"], &made["timeZone"]), (&json!(key), &json!("UTC")));
        assert_eq!(seconds(&made["trialEndsAt"]) - seconds(&made["createdAt"]), 30 * DAY);
    }
    admin.post("/v1/organizations", json!({"key": "d", "plan": "nothing"})).expect_problem(404, "unknown-plan");
    // A plan without a trial ends it.
    let moved = admin.put("/v1/organizations/a/plan", json!({"plan": "pro"})).is(200).json();
    assert_eq!((&moved["plan"], &moved["status"]), (&json!("pro"), &json!("active")));
}

#[test]
fn a_key_is_taken_once() {
    let server = Server::start();
    let admin = server.admin();
    admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    admin
        .post("/v1/organizations", json!({"key": "acme", "name": "Another"}))
        .expect_problem(409, "organization-key-taken");
    let other = admin.post("/v1/organizations", json!({"key": "other"})).is(201).json();
    admin.patch("/v1/organizations/other", json!({"key": "acme"})).expect_problem(409, "organization-key-taken");
    // A key that was left is free.
    admin.patch("/v1/organizations/acme", json!({"key": "acme-2"})).is(200);
    admin.get("/v1/organizations/acme").expect_problem(404, "unknown-organization");
    let renamed = admin.patch("/v1/organizations/other", json!({"key": "acme"})).is(200).json();
    assert_eq!((&renamed["id"], &renamed["key"]), (&other["id"], &json!("acme")));
    for bad in ["", "a b", "ä", "01890000-0000-7000-8000-000000000000", &"k".repeat(129)] {
        let problem = admin.post("/v1/organizations", json!({"key": bad})).expect_problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], "#/key", "{bad}");
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin.post("/v1/organizations", json!({"key": "acme", "metadata": {"a": 1}})).is(201).json();
    #[rustfmt::skip]
    let cases = [
        (json!({"name": "New"}),                "name",     json!("New")),
        (json!({"metadata": {"b": 2}}),         "metadata", json!({"b": 2})),
        (json!({"timeZone": "Asia/Tokyo"}),     "timeZone", json!("Asia/Tokyo")),
        (json!({"metadata": null}),             "metadata", json!({})),
        (json!({}),                             "name",     json!("New")),
    ];
    let mut expected = made;
    for (change, member, value) in cases {
        let changed = admin.patch("/v1/organizations/acme", &change).is(200).json();
        expected[member] = value;
        for name in ["id", "key", "name", "metadata", "timeZone", "plan", "status", "createdAt"] {
            assert_eq!(changed[name], expected[name], "{change}: {name}");
        }
        assert_eq!(changed, admin.get("/v1/organizations/acme").json());
    }
}

#[test]
fn a_change_names_the_version_that_it_was_made_for() {
    let server = Server::start();
    let admin = server.admin();
    let made = admin.post("/v1/organizations", json!({"key": "acme"})).is(201);
    let first = made.header("etag").unwrap().to_owned();
    assert!(first.starts_with("\"v") && first.ends_with('"'), "{first}");
    let patch = |tag: &str, name: &str| {
        let call = admin.call("PATCH", "/v1/organizations/acme").header("if-match", tag);
        call.json(json!({"name": name})).send()
    };
    let second = patch(&first, "Two").is(200).header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    for stale in [first.as_str(), "\"v999\"", "\"other\"", "W/\"v1\"", ""] {
        patch(stale, "Lost").expect_problem(412, "precondition-failed");
    }
    assert_eq!(admin.get("/v1/organizations/acme").json()["name"], "Two");
    patch("*", "Any").is(200);
    // Use is no change of the organization.
    let before = admin.get("/v1/organizations/acme").header("etag").unwrap().to_owned();
    admin.post("/v1/consume", json!({"organization": "acme", "meter": "tokens"})).is(200);
    patch(&before, "Three").is(200);
    // Every operator's command moves it, and a call that changes nothing does not.
    let tag = || admin.get("/v1/organizations/acme").is(200).header("etag").unwrap().to_owned();
    let before = tag();
    admin.put("/v1/organizations/acme/extra/tokens", json!({"quantity": 5})).is(200);
    let after = tag();
    assert_ne!(before, after);
    admin.put("/v1/organizations/acme/extra/tokens", json!({"quantity": 5})).is(200);
    admin.patch("/v1/organizations/acme", json!({"name": "Three"})).is(200);
    assert_eq!(tag(), after, "nothing was changed");
}

#[test]
fn a_repeated_idempotency_key_has_the_first_answer_and_another_body_is_422() {
    let server = Server::start();
    let admin = server.admin();
    let send = |method: &str, path: &str, key: &str, body: &Value| {
        admin.call(method, path).header("idempotency-key", key).json(body).send()
    };
    let body = json!({"key": "acme", "plan": "pro"});
    let first = send("POST", "/v1/organizations", "k", &body).is(201);
    let again = send("POST", "/v1/organizations", "\"k\"", &body).is(201);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")));
    assert_eq!(again.header("location"), first.header("location"));
    send("POST", "/v1/organizations", "other", &body).expect_problem(409, "organization-key-taken");

    let grant = json!({"meter": "tokens", "amount": 100, "reason": "sorry"});
    #[rustfmt::skip]
    let cases = [
        ("POST", "/v1/organizations/acme/grants", grant, 201),
        ("PUT", "/v1/organizations/acme/extra/tokens", json!({"quantity": 5}), 200),
        ("PUT", "/v1/organizations/acme/overrides/tokens/day", json!({"max": 5}), 200),
        ("PATCH", "/v1/organizations/acme", json!({"name": "N"}), 200),
        ("PUT", "/v1/organizations/acme/lock", json!({"reason": "r"}), 200),
        ("PUT", "/v1/organizations/acme/plan", json!({"plan": "starter"}), 200),
        ("POST", "/v1/organizations/acme/usage/reset", json!({"reason": "r"}), 200),
    ];
    for (method, path, body, status) in &cases {
        let first = send(method, path, "same", body).is(*status);
        assert_eq!(first.header("idempotent-replayed"), None, "the key is the route's own: {path}");
        // What a plan's name means changes in between: the answer stays.
        admin.put("/v1/plans/starter", json!({"name": format!("After {path}")})).is(200);
        let again = send(method, path, "same", body).is(*status);
        assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, Some("true")), "{path}");
        let mut other = body.clone();
        other["reason"] = json!("another");
        if *path == "/v1/organizations/acme" {
            other = json!({"name": "another"});
        }
        send(method, path, "same", &other).expect_problem(422, "idempotency-mismatch");
    }
    // On another meter of the same route it is another request.
    send("PUT", "/v1/organizations/acme/extra/messages", "same", &json!({"quantity": 5}))
        .expect_problem(422, "idempotency-mismatch");
    let grants = admin.list("/v1/organizations/acme/grants");
    assert_eq!(grants.len(), 1, "{grants:?}");
}

#[test]
fn organizations_are_listed_by_key_in_pages_and_sought() {
    let server = Server::start();
    let admin = server.admin();
    for i in 0..7 {
        let plan = if i % 2 == 0 { "pro" } else { "free" };
        admin
            .post(
                "/v1/organizations",
                json!({"key": format!("org-{i}"), "name": format!("Name {}", 9 - i), "plan": plan}),
            )
            .is(201);
    }
    admin.put("/v1/organizations/org-3/lock", json!({"reason": "r"})).is(200);
    let keys = |query: &str| -> Vec<String> {
        let found = admin.list(&format!("/v1/organizations?{query}"));
        found.iter().map(|one| one["key"].as_str().unwrap().trim_start_matches("org-").to_owned()).collect()
    };
    #[rustfmt::skip]
    let cases = [
        ("", "0123456"), ("limit=1", "0123456"), ("limit=3", "0123456"), ("limit=7", "0123456"), ("plan=pro&limit=2", "0246"),
        ("status=trial", "135"), ("locked=true", "3"), ("lockedBy=operator", "3"), ("lockedBy=trial", ""), ("lockedBy=operator&locked=false", ""), ("locked=false&limit=2", "012456"), ("search=org-2", "2"), ("search=Name%209", "0"),
        ("search=nothing", ""), ("sort=key", "0123456"), ("sort=-createdAt&limit=2", "6543210"), ("sort=-createdAt&plan=free&limit=1", "531"),
    ];
    for (query, expected) in cases {
        assert_eq!(keys(query).concat(), expected, "{query}");
    }
    admin.get("/v1/organizations?sort=name").expect_problem(422, "validation");
    let page = admin.get("/v1/organizations?limit=3&plan=pro").is(200);
    let cursor = page.json()["nextCursor"].as_str().unwrap().to_owned();
    let link = format!("</v1/organizations?limit=3&plan=pro&cursor={cursor}>; rel=\"next\"");
    assert_eq!(page.header("link"), Some(link.as_str()));
    // What is added behind the cursor is found, what is added before it is not repeated.
    admin.post("/v1/organizations", json!({"key": "org-1a", "plan": "pro"})).is(201);
    admin.post("/v1/organizations", json!({"key": "org-7", "plan": "pro"})).is(201);
    let rest = admin.list(&format!("/v1/organizations?limit=3&plan=pro&cursor={cursor}"));
    let rest: Vec<_> = rest.iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(rest, ["org-6", "org-7"]);
}
