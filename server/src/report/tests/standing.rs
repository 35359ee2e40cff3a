use metergate_rules::account::LockCause;
use metergate_rules::command::NewGrant;
use metergate_rules::plan::{Enforcement, Max};
use metergate_rules::time::{DAY, MINUTE};
use metergate_rules::window::Window;

use super::*;

fn q(units: i64) -> Quantity {
    Quantity::new(units).unwrap()
}

pub(super) fn grant(kit: &Kit, meter: &str, amount: i64, expires_at: Option<Time>) {
    let meter = kit.meter(meter);
    let (priority, starts_at, reason) = (0, None, "sorry".to_owned());
    let new = NewGrant { meter, amount: q(amount), priority, starts_at, expires_at, reason };
    kit.change("acme", Command::Grant(new));
}

pub(super) fn set_extra(kit: &Kit, meter: &str, units: i64) {
    kit.change("acme", Command::extra(kit.meter(meter), q(units)));
}

pub(super) fn set_override(kit: &Kit, meter: &str, window: Window, max: Max, until: Option<Time>) {
    let (meter, enforcement) = (kit.meter(meter), Enforcement::Hard);
    kit.change("acme", Command::SetOverride { meter, window, max, enforcement, until });
}

/// One meter of the standing at a time.
fn meter_at(kit: &Kit, now: Time, meter: &str) -> Value {
    let standing = json(&kit.report_at(now, |report| report.standing(&organization("acme"))).unwrap());
    let found = standing["meters"].as_array().unwrap().iter().find(|it| it["meter"] == meter);
    found.unwrap_or_else(|| panic!("no {meter} in {standing}")).clone()
}

#[test]
fn the_limit_is_base_extra_and_credit_and_what_remains_follows() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let now = kit.store.now();
    let figures = |now| {
        let it = meter_at(&kit, now, "tokens");
        let figure = |name: &str| it[name].as_i64().unwrap();
        ["base", "extra", "granted", "limit", "used", "held", "remaining", "overage"].map(figure)
    };
    assert_eq!(figures(now), [100, 0, 0, 100, 0, 0, 100, 0]);
    kit.consume("acme", &[("tokens", 90)], None);
    set_extra(&kit, "tokens", 5);
    grant(&kit, "tokens", 20, Some(now.plus(DAY)));
    grant(&kit, "tokens", 3, None);
    assert_eq!(figures(kit.store.now()), [100, 5, 23, 128, 90, 0, 38, 0]);
    kit.consume("acme", &[("tokens", 25)], None);
    assert_eq!(figures(kit.store.now()), [100, 5, 23, 128, 115, 0, 13, 0]);
    assert_eq!(figures(now.plus(2 * DAY)), [100, 5, 13, 118, 115, 0, 3, 0], "10 of 20 expired unused");
    kit.record("acme", 0, &[Happened { time: kit.store.now(), ..happened("tokens", "2025-01-01T00:00:00Z", 40) }]);
    assert_eq!(figures(kit.store.now()), [100, 5, 23, 128, 155, 0, 0, 27], "a fact beyond the limit is overage");
    let later = kit.report(|report| Ok(report.current(&organization("acme"))?.account.windows.period.end)).unwrap();
    assert_eq!(figures(later), [100, 5, 0, 105, 0, 0, 105, 0], "a new period begins without anybody writing");
    let mut grants = kit.report(|report| report.grants(&organization("acme"), 1, None)).unwrap();
    assert_eq!(json(&grants.data[0])["remaining"], 0);
    grants = kit.report(move |report| report.grants(&organization("acme"), 1, grants.next.as_deref())).unwrap();
    assert_eq!((json(&grants.data[0])["id"].clone(), grants.next), (1.into(), None));
}

#[test]
fn levels_decimals_and_meters_without_limits_are_shown_as_what_they_are() {
    let kit = Kit::new();
    kit.create("acme", "free", "Europe/Berlin");
    let now = kit.store.now();
    let at = |meter, units| Happened { time: now.plus(-MINUTE), ..happened(meter, "2025-01-01T00:00:00Z", units) };
    kit.consume("acme", &[("level", 30)], None);
    kit.record("acme", 0, &[at("cost", 1_700_000_000), at("hits", 1), at("users", 1), at("users", 1)]);
    let standing = kit.report(|report| report.standing(&organization("acme"))).unwrap();
    let exact = serde_json::to_string(&standing).unwrap();
    let body = json(&standing);
    let meter = |name: &str| body["meters"].as_array().unwrap().iter().find(|it| it["meter"] == name).unwrap().clone();
    let named = (&meter("cost")["name"], &meter("cost")["aggregation"], &meter("cost")["dimensions"]);
    assert_eq!(named, (&"cost".into(), &"sum".into(), &serde_json::json!([])));
    let cost = r#""window":"month","used":1.7,"held":0,"limit":1.5,"remaining":0,"overage":0.2,"#;
    assert!(exact.contains(cost), "{exact}");
    assert_eq!((meter("level")["used"].clone(), meter("level")["remaining"].clone()), (30.into(), 20.into()));
    assert_eq!(meter("hits")["unlimited"], true, "nothing limits what the plan does not name");
    assert_eq!((&meter("hits")["limit"], &meter("hits")["remaining"]), (&Value::Null, &Value::Null));
    let calls = meter("calls");
    // Its limits are those of a minute and a day: nothing limits it over the period.
    assert_eq!((&calls["limit"], &calls["unlimited"], &calls["entitled"]), (&Value::Null, &true.into(), &true.into()));
    let names: Vec<&str> = body["meters"].as_array().unwrap().iter().map(|it| it["meter"].as_str().unwrap()).collect();
    assert_eq!(names, ["calls", "cost", "hits", "level", "tokens", "users"], "peak is neither named nor used");
    assert_eq!(body["nextResetDate"], body["currentPeriod"]["end"]);
    let text = kit.report(|report| Report { text: true, ..*report }.standing(&organization("acme"))).unwrap();
    assert_eq!(json(&text)["meters"][3]["limit"], "50");
}

#[test]
fn quota_shows_where_each_limit_comes_from_and_entitlements_what_may_be_used() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let until = kit.store.now().plus(DAY);
    set_override(&kit, "tokens", Window::BillingPeriod, Max::Units(q(7)), Some(until));
    set_override(&kit, "hits", Window::Day, Max::Unlimited, None);
    set_extra(&kit, "peak", 4);
    kit.consume("acme", &[("tokens", 2), ("calls", 3)], None);
    let quota = json(&kit.report(|report| report.quota(&organization("acme"))).unwrap());
    let lines = |quota: &Value| {
        let line =
            |it: &Value| format!("{} {} {} {} {}", it["meter"], it["window"], it["source"], it["limit"], it["used"]);
        quota["limits"].as_array().unwrap().iter().map(|it| line(it).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&quota),
        [
            "calls minute plan 100 3",
            "calls day plan 1000 3",
            "cost month plan 1.5 0",
            "hits day override null 0",
            "level billingPeriod plan 50 0",
            "tokens billingPeriod override 7 2",
        ]
    );
    assert_eq!(quota["limits"][5]["until"], until.to_string());
    assert_eq!(
        quota["extra"],
        serde_json::json!([{"meter": "peak", "quantity": 4}]),
        "also where it lifts nothing yet"
    );
    let later = json(&kit.report_at(until, |report| report.quota(&organization("acme"))).unwrap());
    assert_eq!(lines(&later)[5], "tokens billingPeriod plan 100 2", "an override ends at its time");
    let entitlements = |now| kit.report_at(now, |report| report.entitlements(&organization("acme"))).unwrap();
    let (first, again) = (entitlements(kit.store.now()), entitlements(kit.store.now()));
    assert_eq!(first.entity_tag(), again.entity_tag());
    assert_ne!(first.entity_tag(), entitlements(until).entity_tag());
    let body = json(&first);
    assert_eq!(body["features"], serde_json::json!({"sso": false, "seats": 3}));
    assert_eq!((&body["limits"][5]["remaining"], &body["limits"][3]["unlimited"]), (&5.into(), &true.into()));
}

#[test]
fn an_organization_is_shown_as_it_is_now_though_nothing_was_written_since() {
    let kit = Kit::new();
    kit.create("acme", "trial", "Europe/Berlin");
    let body = |now| {
        let found = kit.report_at(now, |report| report.organization(&organization("acme"))).unwrap();
        (json(&found.0), found.1)
    };
    let (before, version) = body(kit.store.now());
    assert_eq!((&before["status"], &before["locked"], version), (&"trial".into(), &false.into(), 1));
    assert_eq!(before["metadata"], serde_json::json!({"crm": 7}));
    let end: Time = before["trialEndsAt"].as_str().unwrap().parse().unwrap();
    let (after, version) = body(end);
    assert_eq!((&after["locked"], &after["locks"][0]["cause"], version), (&true.into(), &"trial".into(), 2));
    kit.change("acme", Command::Lock { cause: LockCause::Operator, reason: None });
    let (locked, _) = body(kit.store.now());
    assert_eq!(locked["locks"][0]["cause"], "operator");
    assert_eq!((&locked["plan"], &locked["planVersion"]), (&"trial".into(), &1.into()));
}

#[test]
fn a_meter_that_the_plan_keeps_closed_is_not_entitled() {
    let kit = Kit::new();
    kit.create("acme", "closed", "UTC");
    let now = kit.store.now();
    kit.record("acme", 0, &[Happened { time: now, ..happened("hits", "2025-01-01T00:00:00Z", 1) }]);
    let (hits, tokens) = (meter_at(&kit, now, "hits"), meter_at(&kit, now, "tokens"));
    assert_eq!((&hits["entitled"], &hits["unlimited"], &hits["used"]), (&false.into(), &false.into(), &1.into()));
    assert_eq!((&tokens["entitled"], &tokens["unlimited"]), (&true.into(), &true.into()));
}
