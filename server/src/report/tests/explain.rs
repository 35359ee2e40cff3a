use metergate_rules::command::ProfileChange;
use metergate_rules::id::{GrantId, MeterKey};
use metergate_rules::plan::Max;
use metergate_rules::time::DAY;
use metergate_rules::window::Window;

use super::standing::{grant, set_extra, set_override};
use super::*;

/// Recomputes limit, remaining and overage of every window from the answer alone, by the documented formula.
fn recompute(explanation: &Value) -> usize {
    let mut limits = 0;
    let number = |it: &Value| Quantity::parse(&it.to_string(), 9).unwrap().units();
    for meter in explanation["meters"].as_array().unwrap() {
        let grants = meter["grants"].as_array().unwrap();
        let active = grants.iter().filter(|grant| grant["state"] == "active");
        let credit: i64 = active.map(|grant| number(&grant["remaining"])).sum();
        for grant in grants {
            let parts = ["used", "held", "remaining", "lost"].map(|part| number(&grant[part]));
            assert_eq!(number(&grant["amount"]), parts.iter().sum::<i64>(), "{grant}");
        }
        for window in meter["windows"].as_array().unwrap() {
            let figure = |name: &str| number(&window[name]);
            if window["max"].is_null() {
                assert!(window["limit"].is_null() && window["remaining"].is_null(), "{window}");
                continue;
            }
            limits += 1;
            let credit = if window["lifted"] == true { credit } else { 0 };
            let base = figure("max") + figure("extra");
            let from_base = figure("used") - figure("fromGrants");
            assert_eq!(figure("remaining"), (base - from_base - figure("held")).max(0) + credit, "{window}");
            assert_eq!(figure("limit"), base + figure("fromGrants") + credit, "{window}");
            assert_eq!(figure("overage"), (from_base - base).max(0), "{window}");
        }
    }
    limits
}

#[test]
fn what_remains_can_be_recomputed_from_an_explanation_alone() {
    let kit = Kit::new();
    kit.create("acme", "free", "America/New_York");
    let seed = 0x5eed_0003;
    grant(&kit, "tokens", 1, None);
    let (mut random, mut limits, mut overdrawn) = (Random(seed), 0, 0);
    for step in 0..200 {
        let units = 1 + random.below(30);
        match random.below(9) {
            0 => grant(&kit, "tokens", units, None),
            1 => grant(&kit, "tokens", units, Some(kit.store.now().plus(DAY))),
            2 => set_extra(&kit, "tokens", units),
            3 => {
                let max = if units == 7 { Max::Unlimited } else { Max::Units(Quantity::new(units * 3).unwrap()) };
                let window = [Window::BillingPeriod, Window::Month, Window::Day][step % 3];
                set_override(&kit, "tokens", window, max, Some(kit.store.now().plus(2 * DAY)));
            }
            4 if step % 3 == 0 => {
                let windows = [Window::BillingPeriod, Window::Month].into_iter().collect();
                kit.change("acme", Command::Reset { meters: None, windows });
            }
            5 => kit.change("acme", Command::VoidGrant(GrantId(1))),
            6 => {
                let time = kit.store.now();
                kit.record("acme", step, &[Happened { time, ..happened("tokens", "2025-01-01T00:00:00Z", units) }]);
            }
            _ => drop(kit.consume("acme", &[("tokens", units), ("calls", 1)], None)),
        }
        for later in [0, 2 * DAY, 40 * DAY] {
            let now = kit.store.now().plus(later);
            let explained = kit.report_at(now, |report| report.explain(&organization("acme"), None, None)).unwrap();
            let body = json(&explained);
            limits += recompute(&body);
            overdrawn += body.to_string().matches("\"remaining\":0").count();
        }
    }
    assert!(limits > 1_000 && overdrawn > 10, "{limits} limits, {overdrawn} used up");
}

#[test]
fn an_explanation_names_the_entries_behind_it_and_no_others() {
    let kit = Kit::new();
    kit.create("acme", "free", "UTC");
    set_extra(&kit, "tokens", 5);
    set_extra(&kit, "calls", 5);
    grant(&kit, "tokens", 9, None);
    kit.change("acme", Command::Update(ProfileChange { name: Some("New".to_owned()), ..ProfileChange::default() }));
    let actions = |meter: Option<&'static str>| {
        let explained = kit.report(move |report| {
            let meter = meter.map(|key| MeterKey::new(key).unwrap());
            report.explain(&organization("acme"), meter.as_ref(), None)
        });
        let body = json(&explained.unwrap());
        let entries = body["audit"].as_array().unwrap().clone();
        entries.iter().map(|entry| format!("{} {}", entry["seq"], entry["action"]).replace('"', "")).collect::<Vec<_>>()
    };
    let all = ["5 organization.update", "4 credit.grant", "3 quota.grant", "2 quota.grant", "1 organization.create"];
    assert_eq!(actions(None), all);
    assert_eq!(actions(Some("calls")), [all[0], all[2], all[4]]);
    let past = kit.report(|report| report.explain(&organization("acme"), None, Some(report.now.plus(DAY))));
    assert!(refusal(past).contains("in the future"));
    let explained =
        kit.report(|report| report.explain(&organization("acme"), Some(&MeterKey::new("users").unwrap()), None));
    let body = json(&explained.unwrap());
    let windows: Vec<&str> =
        body["meters"][0]["windows"].as_array().unwrap().iter().map(|it| it["window"].as_str().unwrap()).collect();
    assert_eq!(windows, ["day", "month", "billingPeriod", "lifetime"], "distinct values do not slide");
}
