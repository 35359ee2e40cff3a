//! What is done to limits, credit and use.

use serde::Deserialize;
use serde_json::Value;

use super::{Body, Told, from_to, joined};
use crate::format::{Amount, count, plural};

/// How a window stands after what is counted in it.
fn per(window: &str) -> &str {
    match window {
        "billingPeriod" => "per billing period",
        "month" => "per calendar month",
        "lifetime" => "in all",
        "day" => "per day",
        "hour" => "per hour",
        "minute" => "per minute",
        other => other,
    }
}

pub(super) fn plan(told: &Told<'_>) -> String {
    let named = |body: Body<'_>, name: &str| body.text(name).map(|plan| told.names.plan(plan).to_owned());
    let coming = (named(told.was, "scheduledPlan"), named(told.is, "scheduledPlan"));
    let said = match (named(told.was, "plan"), named(told.is, "plan"), coming) {
        (Some(was), Some(is), _) if was != is => format!("changed the plan from {was} to {is}"),
        (_, Some(is), _) if told.was.get("planVersion") != told.is.get("planVersion") => {
            let version = told.is.number("planVersion").map(|version| format!("version {version} of "));
            format!("moved the organization to {}plan {is}", version.unwrap_or_default())
        }
        (_, Some(is), (Some(coming), _)) => format!("kept plan {is}, in place of the move to {coming}"),
        (_, Some(is), _) => format!("set plan {is} anew"),
        (_, None, (_, Some(coming))) => {
            let at = told.is.text("scheduledAt").map_or_else(String::new, |at| format!(" at {}", told.moment(at)));
            format!("planned the move to plan {coming}{at}")
        }
        _ => "changed the plan".to_owned(),
    };
    let overrides = |body: Body<'_>| body.number("overrides").unwrap_or(0);
    let without = match overrides(told.was).saturating_sub(overrides(told.is)) {
        left if left > 0 && told.is.get("plan").is_some() => {
            format!(", without {} of its own", count(left, "override"))
        }
        _ => String::new(),
    };
    format!("{said}{without}{}", told.unlocks())
}

pub(super) fn limit(told: &Told<'_>) -> String {
    let Some(meter) = told.is.text("meter").or_else(|| told.was.text("meter")) else {
        let changed = by_window(told);
        return if changed.is_empty() {
            "changed limits".to_owned()
        } else {
            format!("set limits: {}", joined(&changed))
        };
    };
    // A level stands, in no window.
    let window = told.is.text("window").filter(|_| !told.names.is_level(meter));
    let window = window.map_or_else(String::new, |window| format!(" {}", per(window)));
    let what = format!("the limit of {}{window}", told.names.meter(meter));
    let shown = |body: Body<'_>| {
        let max = if body.is("unlimited") { "unlimited".to_owned() } else { told.amount(meter, body.get("max")) };
        body.is("overridden").then_some(max)
    };
    match (shown(told.was), shown(told.is)) {
        (was, Some(is)) => {
            let soft = if told.is.is("soft") { ", beyond which use is counted as overage" } else { "" };
            format!("set {what}{}{}{soft}", from_to(was, Some(is)), told.until("until"))
        }
        (Some(was), None) => format!("set {what} from {was} back to what the plan says"),
        (None, None) => format!("set {what} back to what the plan says"),
    }
}

/// What is told by `meter.window` and differs: "Messages per billing period from 1,000 to 2,000 messages".
fn by_window(told: &Told<'_>) -> Vec<String> {
    let shown = |meter: &str, value: &Value| match value {
        Value::Null => "unlimited".to_owned(),
        value => told.amount(meter, Some(value)),
    };
    let mut changed = Vec::new();
    for (name, is) in told.is.fields().into_iter().flatten() {
        let Some((meter, window)) = name.split_once('.') else { continue };
        let was = told.was.0.get(name.as_str());
        if was != Some(is) {
            let window = if window == "extra" { String::new() } else { format!(" {}", per(window)) };
            let moved = from_to(was.map(|was| shown(meter, was)), Some(shown(meter, is)));
            changed.push(format!("{}{window}{moved}", told.names.meter(meter)));
        }
    }
    changed
}

pub(super) fn extra(told: &Told<'_>) -> String {
    let Some(meter) = told.is.text("meter") else {
        let changed = by_window(told);
        return if changed.is_empty() {
            "set extra quota".to_owned()
        } else {
            format!("set extra quota: {}", joined(&changed))
        };
    };
    let shown = |body: Body<'_>| body.get("extra").map(|extra| told.amount(meter, Some(extra)));
    format!("set the extra quota of {}{}", told.names.meter(meter), from_to(shown(told.was), shown(told.is)))
}

pub(super) fn credit(told: &Told<'_>) -> String {
    let Some(meter) = told.is.text("meter") else { return "granted credit".to_owned() };
    format!("granted credit of {}{}", of_meter(told, meter, told.is.get("amount")), told.until("expiresAt"))
}

pub(super) fn void_credit(told: &Told<'_>) -> String {
    let Some(meter) = told.was.text("meter") else { return "took back credit".to_owned() };
    let left = told.amount(meter, told.was.get("remaining"));
    format!("took back credit of {}, of which {left} were left", of_meter(told, meter, told.was.get("amount")))
}

/// A quantity with the meter that it is of, where its unit does not say that: "500 messages", "20 USD (LLM cost)".
fn of_meter(told: &Told<'_>, meter: &str, value: Option<&Value>) -> String {
    let (amount, name) = (told.amount(meter, value), told.names.meter(meter));
    if name.eq_ignore_ascii_case(&plural(told.names.unit(meter))) { amount } else { format!("{amount} ({name})") }
}

pub(super) fn reset(told: &Told<'_>) -> String {
    let mut parts = Vec::new();
    for (name, used) in told.was.fields().into_iter().flatten() {
        let is_counted = used.as_u64() != Some(0) && used.as_str() != Some("0");
        if let Some((meter, window)) = name.split_once('.').filter(|_| is_counted) {
            parts.push(format!("{} {} ({})", told.names.meter(meter), per(window), told.amount(meter, Some(used))));
        }
    }
    if parts.is_empty() { "reset usage".to_owned() } else { format!("reset the use of {}", joined(&parts)) }
}

pub(super) fn adjust(told: &Told<'_>) -> String {
    let Some(meter) = told.is.text("meter") else { return "corrected usage".to_owned() };
    let name = told.names.meter(meter);
    if told.is.text("cause") == Some("prices") {
        return format!("priced past usage again: {name} {}", signed(told, meter));
    } else if told.names.is_level(meter) {
        return format!("set {name} to {}", told.amount(meter, told.is.get("quantity")));
    }
    let used = |body: Body<'_>| body.get("used").map(|used| told.amount(meter, Some(used)));
    let counted = match (used(told.was), used(told.is)) {
        (Some(was), Some(is)) if was != is => format!(", in the billing period from {was} to {is}"),
        _ => String::new(),
    };
    format!("corrected {name} by {}{counted}", signed(told, meter))
}

/// What was added or taken away, with its sign.
fn signed(told: &Told<'_>, meter: &str) -> String {
    let quantity = told.is.get("quantity");
    let is_more = quantity.and_then(|it| Amount::deserialize(it).ok()).is_some_and(|it| !it.is_negative());
    format!("{}{}", if is_more { "+" } else { "" }, told.amount(meter, quantity))
}

pub(super) fn void(told: &Told<'_>) -> String {
    let event = told.is.text("id").map_or_else(|| "an event".to_owned(), |id| format!("event {id}"));
    let source = told.is.text("source").map_or_else(String::new, |source| format!(" of {source}"));
    let at = told.is.text("time").map_or_else(String::new, |time| format!(" from {}", told.moment(time)));
    let counted = told.is.text("meter").map_or_else(String::new, |meter| {
        let used = |body: Body<'_>| body.get("used").map(|used| told.amount(meter, Some(used)));
        match (used(told.was), used(told.is)) {
            (Some(was), Some(is)) if was != is => format!(": {} from {was} to {is}", told.names.meter(meter)),
            _ => format!(": {}", told.names.meter(meter)),
        }
    });
    format!("voided {event}{source}{at}{counted}")
}
