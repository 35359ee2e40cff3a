//! `explain` at a past time, when what happened first is no longer kept (D11).

use metergate::report::Report;
use metergate::store::{Scope, StoreError};
use metergate_rules::time::{DAY, Time};
use serde_json::Value;

use super::asks::{ask, organization};
use super::kit::{Kit, closed, record, start};

fn explained(kit: &Kit, at: Option<Time>) -> Result<Value, StoreError> {
    let now = kit.now();
    kit.read(move |view, catalogue| {
        let report = Report { view, catalogue, scope: Scope::Team, now, text: false };
        let explained = report.explain(&organization("acme"), None, at)?;
        Ok(serde_json::from_str(&serde_json::to_string(&explained).unwrap()).unwrap())
    })
}

/// What of `calls` was used in the billing period.
fn used(explained: &Value) -> i64 {
    let calls = explained["meters"].as_array().unwrap().iter().find(|meter| meter["meter"] == "calls").unwrap();
    let windows = calls["windows"].as_array().unwrap();
    windows.iter().find(|window| window["window"] == "billingPeriod").unwrap()["used"].as_i64().unwrap()
}

/// Of what the records tell first.
fn tells_from(kit: &Kit) -> Time {
    let id = kit.account("acme").id;
    let oldest = kit.read(move |view, _| {
        let mut oldest = Time::MIN;
        view.records(id, u64::MAX, |_, _, record| {
            oldest = record.entry.at;
            true
        })?;
        Ok(oldest)
    });
    oldest.unwrap()
}

#[test]
fn the_past_is_told_as_far_back_as_a_period_is_kept_whole() {
    let mut kit = Kit::with_slices(10, 40);
    let mut stood = Vec::new();
    for month in 0..5 {
        kit.reopen_at(start().plus(month * 32 * DAY));
        assert!(kit.allows(&ask("calls", 1 + month)));
        let then = explained(&kit, None).unwrap();
        let at: Time = then["at"].as_str().unwrap().parse().unwrap();
        stood.push((at, then));
        // What follows happens later.
        kit.wait_until("time goes on", |kit| kit.now() > at);
        assert!(kit.allows(&ask("calls", 2)));
        let first = usize::try_from(month).unwrap() * 12;
        record(&kit, first..first + 12);
        closed(&kit, 1);
    }
    kit.wait_until("the records of three months have gone", |kit| tells_from(kit) > start().plus(63 * DAY));
    let again = |at: Time| explained(&kit, Some(at));
    for (at, then) in &stood[3..] {
        assert_eq!(again(*at).unwrap(), *then, "{at}");
    }
    // Of the third month nothing is left but how it ended.
    assert_eq!(used(&again(start().plus(70 * DAY)).unwrap()), 5);
    assert_eq!(used(&again(start().plus(93 * DAY)).unwrap()), 0, "the fourth period has begun, and nothing in it");
    for (at, _) in &stood[..2] {
        assert!(matches!(again(*at), Err(StoreError::Catalogue { status: 422, .. })), "{at}");
    }
    let now = kit.now();
    assert_eq!(used(&again(now).unwrap()), 7);
}
