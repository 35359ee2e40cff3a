//! The demo: its server has gone through months by its own clock, and everything stands as it would after them.

use std::process::Command;

use metergate_rules::time::{DAY, HOUR, Time};
use serde_json::{Value, json};

use super::server::Server;

/// Runs a demo on the server's folder, and the server again after it.
fn demo(server: &mut Server) {
    server.kill();
    let data = server.folder().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
    let made = command.env_clear().args(["demo", "--once", "--data-dir"]).arg(&data).output().unwrap();
    let (said, noted) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(made.status.success(), "{said}{noted}");
    assert!(said.contains("Dashboard http") && noted.contains("12 organizations"), "{said}{noted}");
    server.start_again();
}

fn emptied() -> Server {
    let mut server = Server::start();
    server.kill();
    std::fs::remove_dir_all(server.folder().join("data")).unwrap();
    server
}

fn time(value: &Value) -> Time {
    value.as_str().unwrap_or_else(|| panic!("no time: {value}")).parse().unwrap()
}

/// Days since a time; below zero of one that is to come.
fn days_ago(value: &Value) -> i64 {
    metergate::clock::wall().since(time(value)).div_euclid(DAY)
}

#[test]
fn a_demo_stands_as_after_months_and_counts_nothing_twice_when_it_is_started_again() {
    let mut server = emptied();
    demo(&mut server);
    let admin = server.admin();
    let organization = |key: &str| admin.get(&format!("/v1/organizations/{key}")).is(200).json();
    let standing = |key: &str, meter: &str| {
        let usage = admin.get(&format!("/v1/organizations/{key}/usage")).is(200).json();
        usage["meters"].as_array().unwrap().iter().find(|one| one["meter"] == meter).unwrap().clone()
    };
    let share = |key: &str, meter: &str| {
        let one = standing(key, meter);
        100 * one["used"].as_i64().unwrap() / one["limit"].as_i64().unwrap()
    };
    #[rustfmt::skip]
    let cases = [ // organization, days since it signed up, days of the open period that have gone
        ("northwind", 80, 17..23),
        ("pixelpress", 56, 24..30),
        ("bluebird", 27, 26..29),
    ];
    for (key, since, gone) in cases {
        let found = organization(key);
        assert_eq!(days_ago(&found["createdAt"]), since, "{key}");
        assert!(gone.contains(&days_ago(&found["currentPeriod"]["start"])), "{key}: {}", found["currentPeriod"]);
    }
    let (bluebird, quarry, orchard) = (organization("bluebird"), organization("quarry"), organization("orchard"));
    assert_eq!((&bluebird["status"], days_ago(&bluebird["trialEndsAt"])), (&json!("trial"), -3), "{bluebird}");
    assert_eq!(
        (&quarry["locks"][0]["cause"], days_ago(&quarry["locks"][0]["since"])),
        (&json!("trial"), 4),
        "{quarry}"
    );
    assert_eq!((&orchard["locks"][0]["cause"], days_ago(&orchard["locks"][0]["since"])), (&json!("operator"), 2));
    assert_eq!(
        (&organization("kestrel")["plan"], &organization("kestrel")["status"]),
        (&json!("starter"), &json!("active"))
    );
    assert!((20..75).contains(&share("northwind", "tokens")), "{}", standing("northwind", "tokens"));
    assert!((80..100).contains(&share("pixelpress", "tokens")), "{}", standing("pixelpress", "tokens"));
    for (key, meter) in [("saltmarsh", "tokens"), ("tandem", "conversations")] {
        assert!(standing(key, meter)["overage"].as_i64().unwrap() > 0, "{key}: {}", standing(key, meter));
    }
    let grants = admin.get("/v1/organizations/lumen/grants").is(200).json();
    assert!(grants["data"][0]["used"].as_i64().unwrap() > 0, "credit is drawn on: {grants}");
    let audit = admin.get("/v1/organizations/saltmarsh/audit-log").is(200).json();
    let entries: Vec<_> =
        audit["data"].as_array().unwrap().iter().map(|one| (one["action"].clone(), days_ago(&one["time"]))).collect();
    assert!(
        entries.contains(&(json!("billing.lock"), 70)) && entries.contains(&(json!("billing.unlock"), 69)),
        "{entries:?}"
    );
    assert_eq!(admin.list("/v1/organizations/northwind/members").len(), 3);
    let (fleet, before) = (admin.get("/v1/fleet").is(200).json(), recorded(&server));
    assert_eq!(fleet["testOrganizations"], 0, "{fleet}");
    demo(&mut server);
    assert_eq!(recorded(&server), before);
}

/// What all used in whole days of the past month, each by itself.
fn recorded(server: &Server) -> Value {
    let today = metergate::clock::wall().floor(DAY);
    let (from, to) = (today.plus(-30 * DAY), today.plus(-24 * HOUR));
    let path =
        format!("/v1/usage?meter=api_calls&meter=tokens&from={from}&to={to}&granularity=total&timeZone=UTC&limit=200");
    server.admin().get(&path).is(200).json()["data"].clone()
}

#[test]
fn a_store_that_the_demo_did_not_make_is_left_as_it_is() {
    let mut server = Server::start();
    server.admin().post("/v1/organizations", json!({"key": "real", "plan": "pro"})).is(201);
    server.kill();
    let mut command = Command::new(env!("CARGO_BIN_EXE_metergate"));
    command.env_clear().args(["demo", "--once", "--days", "1", "--data-dir"]).arg(server.folder().join("data"));
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("holds what the demo did not make"), "{said}");
    server.start_again();
    let admin = server.admin();
    assert_eq!(admin.list("/v1/organizations").len(), 1);
    assert_eq!(admin.get("/v1/settings").is(200).json()["teamName"], Value::Null);
}
