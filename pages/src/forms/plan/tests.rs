//! A plan goes through its form, and comes out as it was.

use super::*;
use crate::form::Form;

const PRO: &str = r#"{"key": "pro", "version": 3, "name": "Pro", "createdAt": "2026-11-01T00:00:00Z",
    "limits": [{"meter": "tokens", "window": "billingPeriod", "max": 123456789012345678.5, "enforcement": "soft"},
               {"meter": "api_calls", "window": "day", "unlimited": true, "enforcement": "hard", "status": 402, "thresholds": [50, 90]}],
    "features": {"sso": true, "seats": 25, "tier": "gold", "code": "25", "empty": "", "regions": ["eu", "us"]},
    "trial": {"days": 30, "onEnd": {"plan": "free"}}, "cycle": "firstOfMonth", "otherMeters": "none", "graceDays": 7,
    "degraded": {"tokens": "allow"}, "stripePrices": ["price_1", "price_2"], "fallbackPlan": null}"#;

/// What a browser sends of a form that nobody touched.
fn sent(form: &Form) -> Vec<(String, String)> {
    let rows = form.sections.iter().flat_map(|section| &section.rows).flat_map(|row| &row.fields);
    let sent = form.fields.iter().chain(rows).filter(|field| !field.is_check() || !field.value.is_empty());
    // A select without its value sends the first of its choices.
    let value = |field: &Field| match field.choices() {
        [] => field.value.clone(),
        choices if choices.iter().any(|choice| choice.value == field.value) => field.value.clone(),
        choices => choices[0].value.clone(),
    };
    sent.map(|field| (field.name.clone(), value(field))).collect()
}

#[test]
fn a_plan_that_nobody_touches_stays_as_it_is() {
    let draft = PlanDraft::of(PRO);
    let again = PlanDraft::typed(&sent(&draft.form(Some("pro"), &[], &[])));
    let expected = json!({
        "name": "Pro", "cycle": "firstOfMonth", "otherMeters": "none", "graceDays": 7,
        "limits": [{"meter": "tokens", "window": "billingPeriod", "max": "123456789012345678.5", "enforcement": "soft"},
                   {"meter": "api_calls", "window": "day", "unlimited": true, "enforcement": "hard", "status": 402, "thresholds": [50, 90]}],
        "features": {"sso": true, "seats": 25, "tier": "gold", "code": "25", "empty": "", "regions": ["eu", "us"]},
        "trial": {"days": 30, "onEnd": {"plan": "free"}}, "degraded": {"tokens": "allow"}, "stripePrices": ["price_1", "price_2"],
    });
    assert_eq!(again.definition(), expected);
    assert_eq!(PlanDraft { key: String::new(), ..again }, draft);
}

#[test]
fn rows_without_a_meter_are_left_out_and_a_row_is_added_at_the_end() {
    let typed = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        PlanDraft::typed(&pairs)
    };
    let all = typed(&[
        ("name", "Team"),
        ("limits.0.meter", ""),
        ("limits.0.max", "5"),
        ("limits.7.meter", "tokens"),
        ("limits.7.window", "day"),
        ("limits.7.max", "many"),
        ("limits.7.thresholds", "50 %, soon"),
        ("features.1.name", ""),
        ("features.2.name", "sso"),
        ("features.2.value", "true"),
        ("trial.days", "a month"),
    ]);
    assert_eq!((all.limits.len(), all.features.len()), (2, 2));
    let draft = all.compact();
    let definition = draft.definition();
    assert_eq!(
        definition["limits"],
        json!([{"meter": "tokens", "window": "day", "enforcement": "", "max": "many", "thresholds": [50, "soon"]}])
    );
    assert_eq!((&definition["features"], &definition["trial"]["days"]), (&json!({"sso": true}), &json!("a month")));
    let form = draft.with_row("limits").form(None, &[], &[]);
    let legends: Vec<_> = form.sections[0].rows.iter().map(|row| row.legend.as_str()).collect();
    assert_eq!(legends, ["Limit 1", "Limit 2"]);
    assert_eq!(form.sections[0].rows[0].fields[2].value, "many", "what is wrong comes back as it was");
}

#[test]
fn what_differs_is_told_limit_by_limit() {
    let there = PlanDraft::of(PRO);
    let mut here = there.clone();
    here.limits[0].max = "5".to_owned();
    here.limits.remove(1);
    here.name = "Professional".to_owned();
    let told: Vec<_> = here.differences(&there, &[]).into_iter().map(|one| [one.what, one.before, one.after]).collect();
    let expected = [
        ["Limit: api_calls, day", "unlimited hard, 402, told at 50, 90 %", "nothing"],
        ["Limit: tokens, billing period", "123456789012345678.5 soft", "5 soft"],
        ["Name", "Pro", "Professional"],
    ];
    assert_eq!(told, expected);
    assert!(there.differences(&there, &[]).is_empty());
}
