//! What is done to an organization, and to its billing.

use super::{Body, Told, from_to, joined};
use crate::format::{self, Zone};
use crate::organizations::{cause_name, status_name};

pub(super) fn create(told: &Told<'_>) -> String {
    let name = told.is.text("name").map_or_else(String::new, |name| format!(" “{name}”"));
    let plan = told.is.text("plan").map_or_else(String::new, |plan| format!(", on plan {}", told.names.plan(plan)));
    let trial = told.until("trialEndsAt");
    let trial = if trial.is_empty() { trial } else { format!(", in a trial{trial}") };
    format!("created the organization{name}{plan}{trial}")
}

pub(super) fn update(told: &Told<'_>) -> String {
    let mut parts = Vec::new();
    for (name, called) in [("name", "name"), ("key", "key"), ("timeZone", "time zone")] {
        let quoted = |text: &str| if name == "name" { format!("“{text}”") } else { text.to_owned() };
        let shown = |body: Body<'_>| body.text(name).map(quoted);
        if told.was.get(name) != told.is.get(name) {
            parts.push(format!("{called}{}", from_to(shown(told.was), shown(told.is))));
        }
    }
    if told.was.get("metadata") != told.is.get("metadata") {
        parts.push("metadata".to_owned());
    }
    if parts.is_empty() { "changed the organization".to_owned() } else { format!("changed its {}", joined(&parts)) }
}

pub(super) fn delete(told: &Told<'_>) -> String {
    let counted = |name: &str, noun| told.was.number(name).map(|number| format::count(number, noun));
    let parts: Vec<String> = [counted("members", "member"), counted("apiKeys", "key")].into_iter().flatten().collect();
    match parts.is_empty() {
        true => "deleted the organization".to_owned(),
        false => format!("deleted the organization with {}", joined(&parts)),
    }
}

pub(super) fn start_trial(told: &Told<'_>) -> String {
    format!("started a trial{}", told.until("trialEndsAt"))
}

pub(super) fn move_trial(told: &Told<'_>) -> String {
    format!("moved the end of the trial{}{}", told.moved("trialEndsAt"), told.unlocks())
}

pub(super) fn end_trial(told: &Told<'_>) -> String {
    let on = match (told.was.text("plan"), told.is.text("plan")) {
        (Some(was), Some(plan)) if was != plan => format!(": it goes on with plan {}", told.names.plan(plan)),
        _ if told.is.is("locked") => ": the organization is locked".to_owned(),
        (_, Some(_)) => ": the organization goes on".to_owned(),
        _ => String::new(),
    };
    format!("ended the trial{on}")
}

pub(super) fn lock(told: &Told<'_>) -> String {
    let (were, are) = (told.was.list("locks"), told.is.list("locks"));
    if told.was.is("locked") && were == are {
        return "gave the lock another reason".to_owned();
    }
    let why = match are.into_iter().find(|cause| !were.contains(cause)) {
        Some("billing") => ", since a payment is missing",
        Some("trial") => ", since its trial is over",
        _ => "",
    };
    format!("locked the organization{why}")
}

pub(super) fn unlock(told: &Told<'_>) -> String {
    let causes: Vec<String> = told.was.list("locks").into_iter().map(|cause| cause_name(cause).to_owned()).collect();
    match causes.is_empty() {
        true => "unlocked the organization".to_owned(),
        false => format!("unlocked the organization, which was locked by {}", joined(&causes)),
    }
}

/// By the days of the month where those differ, as people name them; else in full.
pub(super) fn cycle(told: &Told<'_>) -> String {
    let (was, is) = (told.was.text("billingCycleStartDate"), told.is.text("billingCycleStartDate"));
    let days = was.and_then(day_of_month).zip(is.and_then(day_of_month));
    let moved = match days.filter(|(was, is)| was != is) {
        Some((was, is)) => from_to(Some(ordinal(was)), Some(ordinal(is))),
        None => from_to(was.map(start), is.map(start)),
    };
    let next = told.is.text("nextResetDate");
    let next = next.map_or_else(String::new, |next| format!("; the next reset is {}", told.moment(next)));
    format!("moved the billing cycle{moved}{next}")
}

/// The day of the month of `2026-11-15`, or of a civil time.
fn day_of_month(date: &str) -> Option<u8> {
    date.get(8..10)?.parse().ok().filter(|day| (1..=31).contains(day))
}

/// "the 1st", "the 22nd", "the 13th".
fn ordinal(day: u8) -> String {
    let end = match (day / 10, day % 10) {
        (1, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("the {day}{end}")
}

/// A civil day or time of an anchor: "November 15, 2026", "Nov 15, 2026, 10:30".
fn start(anchor: &str) -> String {
    match anchor.contains("T00:00:00") || !anchor.contains('T') {
        true => format::date(&format!("{}T00:00:00Z", anchor.get(..10).unwrap_or(anchor)), &Zone::utc()),
        false => format::moment(&format!("{anchor}Z"), &Zone::utc()),
    }
}

/// What Stripe told is told by what came of it.
pub(super) fn state(told: &Told<'_>) -> String {
    let parts = subscribed(told);
    let what = if parts.is_empty() { String::new() } else { format!(": {}", joined(&parts)) };
    format!("brought the subscription up to date{what}{}", told.unlocks())
}

pub(super) fn link(told: &Told<'_>) -> String {
    let linked = |body: Body<'_>| {
        let subscription = body.text("subscription").map(|id| format!("subscription {id}"));
        subscription.or_else(|| body.text("customer").map(|id| format!("customer {id}")))
    };
    let link = match (linked(told.was), linked(told.is)) {
        (_, Some(is)) => format!("linked the organization with {is}"),
        (Some(was), None) => format!("took the organization off {was}"),
        (None, None) => "changed the link with a subscription".to_owned(),
    };
    format!("{link}{}", told.unlocks())
}

/// What differs of a subscription, the gravest first.
fn subscribed(told: &Told<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    let mut differs = |name: &str, called: &str, shown: &dyn Fn(&str) -> String| {
        let text = |body: Body<'_>| body.text(name).map(shown);
        if told.was.get(name) != told.is.get(name) {
            parts.push(format!("{called}{}", from_to(text(told.was), text(told.is))));
        }
    };
    differs("subscriptionStatus", "it went", &|status| status.replace('_', " "));
    differs("plan", "plan", &|plan| told.names.plan(plan).to_owned());
    differs("status", "the organization", &|status| status_name(status).to_lowercase());
    for (name, called) in [
        ("graceEndsAt", "grace time until"),
        ("cancelAt", "to end at"),
        ("trialEnd", "in a trial until"),
        ("paidUntil", "paid until"),
    ] {
        let end = told.is.text(name).filter(|_| told.was.get(name) != told.is.get(name));
        parts.extend(end.map(|end| format!("{called} {}", told.moment(end))));
    }
    if told.is.is("locked") && !told.was.is("locked") {
        parts.push("locked".to_owned());
    }
    parts
}

pub(super) fn clock(told: &Told<'_>) -> String {
    format!("moved the organization's clock{}", told.moved("clock"))
}
