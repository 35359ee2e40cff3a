//! A server compares rollups with the records by itself, and says where an operator looks what was wrong.

use std::time::Duration;

use metergate_rules::time::DAY;
use serde_json::json;

use super::server::Server;

/// How often is looked, 50 ms apart, for what comes by itself.
const LOOKS: usize = 600;

/// Looks until something is there.
fn looked_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let found = (0..LOOKS).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        look()
    });
    found.unwrap_or_else(|| panic!("after {LOOKS} looks it is not there: {what}"))
}

/// A figure of `/metrics`, once it is there.
fn figure(server: &Server, name: &str) -> f64 {
    let text = server.stranger().get("/metrics").is(200).text;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).map(str::to_owned);
    line.map_or(f64::NAN, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Quarter hours of a day.
const QUARTERS: usize = 96;

const COMPARED: &str = "metergate_rollups_compared_timestamp_seconds";
const WRONG: &str = "metergate_rollups_wrong_total";

#[test]
fn a_row_that_was_lost_is_back_and_the_log_and_the_figures_say_so() {
    let mut server = Server::with(&[("METERGATE_SWEEP_SECONDS", "1")]);
    let admin = server.admin();
    let acme = admin.post("/v1/organizations", json!({"key": "acme", "plan": "pro"})).is(201).json();
    let yesterday = metergate::clock::wall().plus(-DAY).to_string();
    let since = &yesterday[..10];
    // In each quarter hour of the day, which is more than the row of an account carries.
    let event = |quarter: usize| {
        let time = format!("{since}T{:02}:{:02}:00Z", quarter / 4, quarter % 4 * 15);
        json!({"specversion": "1.0", "id": format!("e{quarter}"), "source": "/tests", "type": "tokens", "subject": "acme",
            "time": time, "data": {"quantity": 1}})
    };
    let events: Vec<_> = (0..QUARTERS).map(event).collect();
    let events = json!(events).to_string();
    admin.call("POST", "/v1/events").body("application/cloudevents-batch+json", events).send().is(200);
    let used = |server: &Server| {
        let path = format!("/v1/usage?organization=acme&meter=tokens&granularity=hour&from={since}T00:00:00Z");
        let rows = server.admin().list(&path);
        rows.iter().map(|row| row["value"].as_i64().unwrap()).sum::<i64>()
    };
    assert_eq!(used(&server), QUARTERS as i64);
    let is_there = |what: &str| (server.number(&format!("SELECT count(*) FROM {what}")) == 1).then_some(());
    looked_for("the row", || is_there("rollups"));
    looked_for("the first pass", || is_there("settings WHERE name = 'rollups_compared'"));
    assert_eq!(figure(&server, WRONG), 0.0, "it is shown from the start on");

    server.kill();
    // As if it had been lost a day after the last pass.
    server.sql("DELETE FROM rollups; DELETE FROM settings WHERE name = 'rollups_compared'");
    server.start_again();
    looked_for("that a day was wrong", || (figure(&server, WRONG) == 1.0).then_some(()));
    let ended = looked_for("when the pass ended", || Some(figure(&server, COMPARED)).filter(|at| at.is_finite()));
    assert!(ended >= 1.7e9, "a time: {ended}");
    assert_eq!(used(&server), QUARTERS as i64);
    let log = server.log();
    let told = log.lines().find(|line| line.contains("ERROR") && line.contains("rollups"));
    let told = told.unwrap_or_else(|| panic!("the log does not say it:\n{log}"));
    assert!(told.contains(acme["id"].as_str().unwrap()) && told.contains(since), "{told}");
}
