//! `/api/admin/usage`.

use serde_json::{Value, json};

use super::{organization, started, used};
use crate::http::client::Client;

/// An event of some days ago, so many hours after that day's midnight in UTC.
fn event(client: &Client, org: &str, kind: &str, time: &str, data: Value) {
    let event = json!({"specversion": "1.0", "id": format!("{org}-{kind}-{time}-{data}"), "source": "/t", "type": kind,
        "subject": org, "time": time, "data": data});
    assert_eq!(client.post("/v1/events", event).is(200).json()["accepted"], 1);
}

fn calls(client: &Client, org: &str, time: &str, quantity: u64) {
    event(client, org, "api_calls", time, json!({"quantity": quantity}));
}

fn day(date: &str, calls: u64, bytes: u64, users: u64) -> Value {
    json!({"date": date, "apiCalls": calls, "storageBytes": bytes, "activeUsers": users})
}

#[test]
fn a_tenants_days_are_all_there_in_its_zone() {
    let (_server, admin) = started();
    admin.post("/v1/organizations", json!({"key": "berlin", "timeZone": "Europe/Berlin"})).is(201);
    for org in ["acme", "berlin"] {
        calls(&admin, org, "2026-01-01T12:00:00Z", 5);
        calls(&admin, org, "2026-01-01T23:30:00Z", 7);
        event(&admin, org, "storage_bytes", "2025-12-20T00:00:00Z", json!({"quantity": 100}));
        event(&admin, org, "storage_bytes", "2026-01-03T10:00:00Z", json!({"quantity": 300}));
        for (user, time) in
            [("u1", "2026-01-01T10:00:00Z"), ("u2", "2026-01-01T11:00:00Z"), ("u1", "2026-01-03T10:00:00Z")]
        {
            event(&admin, org, "active_users", time, json!({"userId": user}));
        }
    }
    let query = "from=2026-01-01&to=2026-01-04";
    let expected = |tenant: &str, first: u64, second: u64| {
        json!({
            "tenantId": tenant,
            "period": {"from": "2026-01-01", "to": "2026-01-04"},
            "totals": {"apiCalls": 12, "storageBytes": 300, "activeUsers": 2},
            "daily": [
                day("2026-01-01", first, 100, 2), day("2026-01-02", second, 100, 0),
                day("2026-01-03", 0, 300, 1), day("2026-01-04", 0, 300, 0),
            ],
        })
    };
    assert_eq!(admin.get(&format!("/api/admin/usage/acme?{query}")).is(200).json(), expected("acme", 12, 0));
    assert_eq!(admin.get(&format!("/api/admin/usage/berlin?{query}")).is(200).json(), expected("berlin", 5, 7));
    let times = "from=2026-01-01T00:00:00.000Z&to=2026-01-04T00:00:00Z";
    assert_eq!(admin.get(&format!("/api/admin/usage/acme?{times}")).is(200).json(), expected("acme", 12, 0));
    let one = admin.get("/api/admin/usage/acme?from=2026-01-02&to=2026-01-02").is(200).json();
    assert_eq!(one["daily"], json!([day("2026-01-02", 0, 100, 0)]));
    // Without bounds: the billing period until today.
    used(&admin, "api_calls", 3);
    let now = admin.get("/api/admin/usage/acme").is(200).json();
    assert_eq!((&now["totals"]["apiCalls"], &now["totals"]["storageBytes"]), (&json!(3), &json!(300)));
    assert_eq!(now["period"]["from"], json!(organization(&admin)["currentPeriod"]["start"].as_str().unwrap()[..10]));
    #[rustfmt::skip]
    let wrong = [
        ("from=2026-02-30",               "from: Send a date such as 2026-11-22, or a time such as 2026-11-22T11:00:00Z."),
        ("from=2026-01-02&to=2026-01-01", "to: must not be before from"),
        ("from=1990-01-01&to=2026-01-01", "to: ask for at most 3660 days at once"),
        ("day=5",                         "day: This is not known here; known: from, to."),
    ];
    for (query, text) in wrong {
        assert_eq!(admin.get(&format!("/api/admin/usage/acme?{query}")).expect_error_text(422), text);
    }
}

#[test]
fn tenants_are_told_by_metric_with_cost_and_errors() {
    let (_server, admin) = started();
    admin.post("/v1/organizations", json!({"key": "beta"})).is(201);
    admin.post("/v1/organizations", json!({"key": "idle"})).is(201);
    calls(&admin, "acme", "2026-01-01T12:00:00Z", 5);
    calls(&admin, "acme", "2026-01-02T12:00:00Z", 6);
    calls(&admin, "beta", "2026-02-01T12:00:00Z", 7);
    for quantity in ["0.000000075", "1.5"] {
        event(&admin, "beta", "llm_cost", "2026-03-05T00:00:00Z", json!({"quantity": quantity}));
    }
    event(&admin, "beta", "errors", "2026-01-05T00:00:00Z", json!({"quantity": 2}));
    let get = |query: &str| admin.get(&format!("/api/admin/usage?{query}")).is(200).json();
    let tenant = |key: &str, calls: u64, errors: u64| json!({"tenantId": key, "totals": {"apiCalls": calls, "tokens": 0}, "cost": 0, "errors": errors});
    let answer = get("metrics=apiCalls,tokens&from=2026-01-01&to=2026-01-31");
    let expected = json!({
        "period": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"},
        "tenants": [tenant("acme", 11, 0), tenant("beta", 0, 2), tenant("idle", 0, 0)],
        "totals": {"apiCalls": 11, "tokens": 0},
        "nextCursor": null,
    });
    assert_eq!(answer, expected);
    // By day and by month.
    let daily = get("tenant=acme&metrics=api_calls&period=daily&from=2026-01-01&to=2026-01-03");
    let days = json!([{"date": "2026-01-01", "apiCalls": 5}, {"date": "2026-01-02", "apiCalls": 6}, {"date": "2026-01-03", "apiCalls": 0}]);
    assert_eq!(daily["tenants"][0]["series"], days);
    let monthly = get("tenant=acme&tenant=beta&metrics=apiCalls&period=monthly&from=2026-01-01&to=2026-02-28");
    assert_eq!(
        monthly["tenants"][1]["series"],
        json!([{"date": "2026-01", "apiCalls": 0}, {"date": "2026-02", "apiCalls": 7}])
    );
    assert_eq!(monthly["totals"], json!({"apiCalls": 18}));
    let cost =
        admin.get("/api/admin/usage?tenant=beta&metrics=llmCost&period=monthly&from=2026-03-01&to=2026-03-31").is(200);
    for at in ["/tenants/0/cost", "/tenants/0/totals/llmCost", "/tenants/0/series/0/llmCost", "/totals/llmCost"] {
        assert_eq!(cost.raw(at), "1.500000075", "{at}");
    }
    // Pages.
    let first = get("metrics=apiCalls&from=2026-01-01&to=2026-01-31&limit=2");
    assert_eq!(first["tenants"].as_array().unwrap().len(), 2);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = get(&format!("metrics=apiCalls&from=2026-01-01&to=2026-01-31&limit=2&cursor={cursor}"));
    assert_eq!((&second["tenants"][0]["tenantId"], &second["nextCursor"]), (&json!("idle"), &Value::Null));
}

#[test]
fn of_a_test_organization_the_time_is_that_of_its_own_clock() {
    let (_server, admin) = started();
    for (key, year) in [("then", "2019"), ("later", "2099")] {
        admin.post("/v1/organizations", json!({"key": key, "plan": "pro", "test": true})).is(201);
        let clock = |day: &str| {
            let now = json!({"now": format!("{year}-{day}T10:00:00Z")});
            admin.put(&format!("/v1/organizations/{key}/clock"), now).is(200);
        };
        clock("05-02");
        let ask = json!({"organization": key, "meter": "api_calls", "quantity": 3});
        assert_eq!(admin.post("/v1/consume", ask).is(200).json()["allowed"], true);
        clock("05-04");
        let series = |period: &str| {
            let path = format!("/api/admin/usage?tenant={key}&metrics=apiCalls&period={period}");
            admin.get(&path).is(200).json()["tenants"][0]["series"].as_array().unwrap().clone()
        };
        let days: Vec<_> = series("daily").iter().map(|day| (day["date"].clone(), day["apiCalls"].clone())).collect();
        let expected = [("05-02", 3), ("05-03", 0), ("05-04", 0)];
        assert_eq!(days, expected.map(|(day, calls)| (json!(format!("{year}-{day}")), json!(calls))));
        assert_eq!(series("monthly").last().unwrap(), &json!({"date": format!("{year}-05"), "apiCalls": 3}));
        // A level lasts until now, and no longer.
        let stored = json!({"organization": key, "meter": "storage_bytes", "quantity": 7});
        assert_eq!(admin.post("/v1/consume", stored).is(200).json()["allowed"], true);
        clock("05-06");
        let span = format!("meter=storage_bytes&granularity=day&from={year}-05-01T00:00:00Z&to={year}-05-31T00:00:00Z");
        for which in [&*format!("organization={key}&"), ""] {
            let rows = admin.list(&format!("/v1/usage?{which}{span}"));
            let mine = rows.iter().filter(|row| row["organization"] == key);
            let days: Vec<_> = mine.map(|row| row["start"].as_str().unwrap()[5..10].to_owned()).collect();
            assert_eq!(days, ["05-04", "05-05", "05-06"], "{which}{span}");
        }
    }
}

#[test]
fn without_bounds_the_period_is_the_current_or_the_one_before() {
    let (_server, admin) = started();
    used(&admin, "api_calls", 4);
    let get = |query: &str| admin.get(&format!("/api/admin/usage?{query}")).is(200).json();
    let current = get("tenant=acme");
    assert_eq!(current["tenants"][0]["totals"]["apiCalls"], 4);
    assert_eq!(current["tenants"][0]["totals"].as_object().unwrap().len(), 11, "all metrics");
    let previous = get("tenant=acme&period=previous");
    assert_eq!(
        (&previous["period"]["to"], &previous["tenants"][0]["totals"]["apiCalls"]),
        (&current["period"]["from"], &json!(0))
    );
    for (told, last) in [("daily", 4), ("monthly", 4)] {
        for tenants in ["", "tenant=acme&"] {
            let answer = get(&format!("{tenants}period={told}"));
            let series = answer["tenants"][0]["series"].as_array().unwrap();
            assert_eq!(series.last().unwrap()["apiCalls"], last, "{told} {tenants}");
        }
    }
    assert_eq!(get("period=monthly")["tenants"][0]["series"].as_array().unwrap().len(), 12);
    #[rustfmt::skip]
    let wrong = [
        ("period=weekly",             "period: Send current, previous, daily or monthly."),
        ("metrics=nothing",           "metrics: there is no nothing; known: activeUsers, apiCalls, chatMessages, conversations, embeddings, errors, generations, llmCost, messages, storageBytes, tokens"),
        ("from=1990-01-01",           "to: ask for at most 3660 days at once"),
        ("from=2026-01-01T00:01:00Z&to=2026-02-01", "from: must be at a quarter hour, such as 2026-01-01T00:00:00Z"),
    ];
    for (query, text) in wrong {
        assert_eq!(admin.get(&format!("/api/admin/usage?{query}")).expect_error_text(422), text);
    }
}
