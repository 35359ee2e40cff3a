//! What readers are told agrees with what was counted, and adds up.

use metergate_rules::time::{DAY, HOUR};
use serde_json::Value;

use super::checks::Counted;
use super::http::{Call, Client};
use super::process::Server;
use crate::invariant::{Held, equal, holds};

const NAME: &str = "conservation";

/// Reports, standings and explanations of every organization and meter against the counters.
pub(super) fn agree(server: &Server, counted: &Counted) -> Held {
    let mut client = server.client();
    for ((organization, meter), counted) in counted.iter().filter(|(_, counted)| **counted > 0) {
        let what = format!("{meter} of {organization}");
        equal(NAME, format!("GET /v1/usage of {what}"), &total(&mut client, organization, meter), counted)?;
        let path = format!("/v1/organizations/{organization}/explain?meter={meter}");
        let explained = get(&mut client, &path);
        let of_meter = &explained["meters"][0];
        let lifetime = windows(of_meter).find(|window| window["window"] == "lifetime").expect("the lifetime");
        equal(NAME, format!("explained lifetime of {what}"), &int(&lifetime["used"]), counted)?;
        windows(of_meter).try_for_each(|window| adds_up(of_meter, window, &what))?;
        credit_adds_up(of_meter, &what)?;
        stands(&mut client, organization, meter, &path)?;
    }
    Ok(())
}

fn get(client: &mut Client, path: &str) -> Value {
    let response = client.call(&Call::get(path)).unwrap();
    assert_eq!(response.status, 200, "{path} is answered {response:?}");
    response.value()
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"))
}

/// The events of this run are at most four days old.
fn total(client: &mut Client, organization: &str, meter: &str) -> i64 {
    let [all, hours] = usage_paths(organization, meter).map(|path| {
        let found = get(client, &path);
        found["data"].as_array().unwrap().iter().map(|row| int(&row["value"])).sum::<i64>()
    });
    assert_eq!(all, hours, "{meter} of {organization}, in total and by hour");
    all
}

/// Where the use of this run's days is told: in total, which whole days are added up for, and by hour, from the rows of rollups.
pub(super) fn usage_paths(organization: &str, meter: &str) -> [String; 2] {
    let now = metergate::clock::wall().floor(HOUR);
    let (from, to) = (now.plus(-5 * DAY), now.plus(2 * HOUR));
    let asked = format!("/v1/usage?organization={organization}&meter={meter}&from={from}&to={to}&granularity");
    [format!("{asked}=total"), format!("{asked}=hour")]
}

fn windows(meter: &Value) -> impl Iterator<Item = &Value> {
    meter["windows"].as_array().expect("windows").iter()
}

/// D6, recomputed from the explanation alone.
fn adds_up(meter: &Value, window: &Value, what: &str) -> Held {
    if window["limit"].is_null() {
        return Ok(());
    }
    let grants = meter["grants"].as_array().unwrap().iter();
    let active = grants.filter(|grant| grant["state"] == "active").map(|grant| int(&grant["remaining"]));
    let credit: i64 = if window["lifted"] == true { active.sum() } else { 0 };
    let [max, extra, used, from_grants, held] =
        ["max", "extra", "used", "fromGrants", "held"].map(|name| int(&window[name]));
    let should = [
        ("remaining", (max + extra - (used - from_grants) - held).max(0) + credit),
        ("limit", max + extra + from_grants + credit),
        ("overage", (used - from_grants - max - extra).max(0)),
    ];
    for (name, should) in should {
        equal(NAME, format!("{name} in {window} of {what}"), &int(&window[name]), &should)?;
    }
    Ok(())
}

/// Granted = used + what is left + what is lost.
fn credit_adds_up(meter: &Value, what: &str) -> Held {
    for grant in meter["grants"].as_array().unwrap() {
        let [amount, used, remaining, lost] = ["amount", "used", "remaining", "lost"].map(|name| int(&grant[name]));
        holds(NAME, amount == used + remaining + lost, || format!("{grant} of {what}"))?;
    }
    Ok(())
}

/// `GET …/usage` says of the period what the explanation says.
fn stands(client: &mut Client, organization: &str, meter: &str, explained: &str) -> Held {
    let (period, row) = loop {
        let before = period(client, explained);
        let standing = get(client, &format!("/v1/organizations/{organization}/usage"));
        // A reservation may have lapsed from one answer to the next.
        if before == period(client, explained) {
            break (before, standing["meters"].as_array().unwrap().iter().find(|row| row["meter"] == meter).cloned());
        }
    };
    let Some(row) = row else {
        return holds(NAME, false, || format!("GET /v1/organizations/{organization}/usage does not name {meter}"));
    };
    let Some(period) = period else { return Ok(()) };
    for name in ["used", "limit", "remaining"] {
        let what = format!("{name} of {meter} in GET /v1/organizations/{organization}/usage");
        equal(NAME, what, &row[name], &period[name])?;
    }
    Ok(())
}

/// The window of the billing period in an explanation.
fn period(client: &mut Client, explained: &str) -> Option<Value> {
    windows(&get(client, explained)["meters"][0]).find(|window| window["lifted"] == true).cloned()
}
