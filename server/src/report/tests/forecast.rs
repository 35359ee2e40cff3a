use metergate_rules::plan::Max;
use metergate_rules::time::{DAY, HOUR, MINUTE};
use metergate_rules::window::Window;

use super::standing::{grant, set_extra, set_override};
use super::*;
use crate::store::rollup::QUARTER;

/// The forecast of one meter at a time.
fn foreseen(kit: &Kit, now: Time, meter: &str) -> Value {
    let key = metergate_rules::id::MeterKey::new(meter).unwrap();
    let body = json(&kit.report_at(now, move |report| report.forecast(&organization("acme"), Some(&key))).unwrap());
    assert_eq!(body["asOf"], now.to_string());
    body["meters"][0].clone()
}

fn past(meter: &'static str, time: Time, units: i64) -> Happened {
    Happened { time, ..happened(meter, "2025-01-01T00:00:00Z", units) }
}

/// When `remaining` is used, where `units` were used from `from` to `now`.
fn reached(now: Time, from: &Value, units: i128, remaining: i128) -> String {
    let from: Time = from.as_str().unwrap().parse().unwrap();
    let wait = (remaining * i128::from(now.since(from)) + units - 1) / units;
    now.plus(i64::try_from(wait).unwrap()).to_string()
}

#[test]
fn the_pace_is_that_of_a_week_whatever_the_period_and_leads_to_the_limit_with_credit() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let before = kit.store.now();
    // Before the period began, so nothing of it is in the counter.
    let week: Vec<_> = (1..=7).map(|day| past("tokens", before.plus(MINUTE - day * DAY), 10)).collect();
    kit.record("acme", 0, &week);
    kit.consume("acme", &[("tokens", 30)], None);
    let now = kit.store.now();
    let it = foreseen(&kit, now, "tokens");
    assert_eq!((&it["pace"]["quantity"], &it["noPace"]), (&100.into(), &Value::Null));
    assert_eq!(it["pace"]["from"], now.plus(-7 * DAY).floor(QUARTER).to_string());
    assert_eq!(it["pace"]["perDay"], 14, "100 in a week and less than a quarter hour");
    let window = &it["windows"][0];
    assert_eq!(
        (&window["window"], &window["limit"], &window["used"]),
        (&"billingPeriod".into(), &100.into(), &30.into())
    );
    assert_eq!(window["reachesAt"], reached(now, &it["pace"]["from"], 100, 70));
    let points = window["points"].as_array().unwrap();
    assert_eq!((&points[0]["used"], &points.last().unwrap()["used"]), (&0.into(), &30.into()));
    assert_eq!((&points[0]["at"], &points.last().unwrap()["at"]), (&window["start"], &now.to_string().into()));

    set_extra(&kit, "tokens", 5);
    grant(&kit, "tokens", 20, None);
    let now = kit.store.now();
    let it = foreseen(&kit, now, "tokens");
    assert_eq!((&it["windows"][0]["limit"], &it["windows"][0]["remaining"]), (&125.into(), &95.into()));
    assert_eq!(it["windows"][0]["reachesAt"], reached(now, &it["pace"]["from"], 100, 95));
    kit.record("acme", 100, &[past("tokens", kit.store.now(), 200)]);
    let now = kit.store.now();
    let it = foreseen(&kit, now, "tokens");
    assert_eq!((&it["windows"][0]["remaining"], &it["windows"][0]["reachesAt"]), (&0.into(), &now.to_string().into()));
    set_override(&kit, "tokens", Window::BillingPeriod, Max::Unlimited, None);
    let it = foreseen(&kit, kit.store.now(), "tokens");
    let window = &it["windows"][0];
    assert_eq!(
        (&window["unlimited"], &window["limit"], &window["reachesAt"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
    assert!(window["projected"].as_i64().unwrap() > 230, "{window}");
}

#[test]
fn a_young_organization_has_a_pace_after_an_hour_and_a_day_has_its_own_end() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    kit.consume("acme", &[("calls", 60)], None);
    let now = kit.store.now();
    let created: Time = {
        let found = kit.report(|report| report.organization(&organization("acme"))).unwrap();
        json(&found.0)["createdAt"].as_str().unwrap().parse().unwrap()
    };
    let it = foreseen(&kit, now, "calls");
    assert_eq!((&it["pace"], &it["noPace"]), (&Value::Null, &"tooYoung".into()));
    assert_eq!((&it["windows"][0]["projected"], &it["windows"][0]["reachesAt"]), (&Value::Null, &Value::Null));
    let names: Vec<_> = it["windows"].as_array().unwrap().iter().map(|it| it["window"].clone()).collect();
    assert_eq!(names, ["day"], "a minute's limit has no forecast");
    let later = created.plus(2 * HOUR);
    let it = foreseen(&kit, later, "calls");
    // In the bucket of an hour in which it was created, and perhaps in the day before the report's.
    assert_eq!((&it["pace"]["quantity"], &it["pace"]["perDay"]), (&60.into(), &720.into()));
    assert_eq!(it["pace"]["from"], created.to_string());
    let day = &it["windows"][0];
    let end: Time = day["end"].as_str().unwrap().parse().unwrap();
    let used = day["used"].as_i64().unwrap();
    let projected = i128::from(used) + 60 * i128::from(end.since(later)) / i128::from(2 * HOUR);
    assert_eq!(i128::from(day["projected"].as_i64().unwrap()), projected);
    let wait = i128::from(1000 - used) * i128::from(2 * HOUR) / 60;
    assert_eq!(day["reachesAt"].is_null(), wait >= i128::from(end.since(later)), "{day}");
}

#[test]
fn a_level_goes_on_as_it_rose_and_a_peak_is_not_foreseen() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    let before = kit.store.now();
    kit.record("acme", 0, &[past("level", before.plus(-30 * DAY), 10), past("level", before.plus(-3 * DAY), 20)]);
    kit.consume("acme", &[("level", 24)], None);
    let now = kit.store.now();
    let it = foreseen(&kit, now, "level");
    assert_eq!(it["pace"]["quantity"], 14, "from 10 a week ago to 24");
    let window = &it["windows"][0];
    assert_eq!(window["reachesAt"], reached(now, &it["pace"]["from"], 14, 50 - 24));
    assert_eq!(window["points"].as_array().unwrap().last().unwrap()["used"], 24);
    kit.consume("acme", &[("level", 3)], None);
    let it = foreseen(&kit, kit.store.now(), "level");
    assert_eq!((&it["pace"]["quantity"], &it["windows"][0]["reachesAt"]), (&(-7).into(), &Value::Null));
    assert_eq!(it["windows"][0]["projected"], 0, "no level is below nothing");

    set_override(&kit, "peak", Window::BillingPeriod, Max::Units(Quantity::new(9).unwrap()), None);
    set_override(&kit, "users", Window::BillingPeriod, Max::Units(Quantity::new(2).unwrap()), None);
    let at = |meter, units| past(meter, kit.store.now().plus(-MINUTE), units);
    kit.consume("acme", &[("peak", 5), ("users", 1)], None);
    kit.consume("acme", &[("users", 1)], None);
    kit.record("acme", 10, &[at("peak", 4)]);
    let now = kit.store.now();
    let (peak, users) = (foreseen(&kit, now, "peak"), foreseen(&kit, now, "users"));
    assert_eq!((&peak["pace"], &peak["noPace"], &users["noPace"]), (&Value::Null, &"peak".into(), &"distinct".into()));
    let last = |it: &Value| it["windows"][0]["points"].as_array().unwrap().last().unwrap()["used"].clone();
    assert_eq!((last(&peak), last(&users), &users["windows"][0]["reachesAt"]), (5.into(), 1.into(), &Value::Null));
    kit.consume("acme", &[("users", 2)], None);
    let now = kit.store.now();
    let users = foreseen(&kit, now, "users");
    assert_eq!((last(&users), &users["windows"][0]["reachesAt"]), (2.into(), &now.to_string().into()));
}

#[test]
fn all_meters_with_such_a_limit_are_foreseen_and_no_others() {
    let kit = Kit::new();
    kit.create("acme", "free", "Asia/Kathmandu");
    kit.record("acme", 0, &[past("hits", kit.store.now(), 1), past("cost", kit.store.now(), 500_000_001)]);
    let found = kit.report(|report| report.forecast(&organization("acme"), None)).unwrap();
    let exact = serde_json::to_string(&found).unwrap();
    assert!(exact.contains(r#""used":0.500000001"#), "{exact}");
    let body = json(&found);
    assert_eq!(body["timeZone"], "Asia/Kathmandu");
    let names: Vec<_> = body["meters"].as_array().unwrap().iter().map(|it| it["meter"].clone()).collect();
    assert_eq!(names, ["calls", "cost", "level", "tokens"]);
    let text = kit.report(|report| Report { text: true, ..*report }.forecast(&organization("acme"), None)).unwrap();
    assert_eq!(json(&text)["meters"][3]["windows"][0]["limit"], "100");
}
