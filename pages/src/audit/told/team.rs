//! What is done to what all organizations have in common, and to the audit log itself.

use serde_json::{Map, Value};

use super::{Body, Told, from_to, joined, words};
use crate::format::count;

/// A key by its name; that it was bound or what it may is in the details.
fn key(told: &Told<'_>) -> String {
    let name = told.is.text("name").or_else(|| told.was.text("name"));
    name.map_or_else(|| "an API key".to_owned(), |name| format!("the API key “{name}”"))
}

pub(super) fn make_key(told: &Told<'_>) -> String {
    let may = told.is.list("scopes").into_iter().map(str::to_owned).collect::<Vec<_>>();
    let may = if may.is_empty() { String::new() } else { format!(", which may {}", joined(&may)) };
    format!("made {}{may}{}", key(told), told.until("expiresAt"))
}

pub(super) fn rotate_key(told: &Told<'_>) -> String {
    format!("made another key in place of {}", key(told))
}

pub(super) fn revoke_key(told: &Told<'_>) -> String {
    format!("revoked {}", key(told))
}

/// One plan, or what a file named.
pub(super) fn catalogue(told: &Told<'_>) -> String {
    if let Some(plan) = told.is.text("key").or_else(|| told.was.text("key")) {
        return defined(told, &format!("plan {}", told.names.plan(plan)));
    }
    let counted = |name: &str, noun| match told.is.list(name).len() {
        0 => None,
        many => Some(count(u64::try_from(many).unwrap_or(u64::MAX), noun)),
    };
    let parts = [counted("plans", "plan"), counted("meters", "meter"), counted("prices", "price")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let with = if parts.is_empty() { String::new() } else { format!(" with {}", joined(&parts)) };
    format!("applied a catalogue file{with}")
}

pub(super) fn meter(told: &Told<'_>) -> String {
    let name = told.is.text("key").or_else(|| told.was.text("key"));
    defined(told, &name.map_or_else(|| "a meter".to_owned(), |key| format!("the meter {}", told.names.meter(key))))
}

/// That something was made, deleted, or which parts of its definition have changed.
fn defined(told: &Told<'_>, what: &str) -> String {
    let (was, is) = (told.was.text("definition"), told.is.text("definition"));
    let parsed = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    match (was, is) {
        (None, Some(_)) => format!("made {what}"),
        (Some(_), None) => format!("deleted {what}"),
        (Some(was), Some(is)) => {
            let (was, is) = (parsed(was), parsed(is));
            let names = was.keys().chain(is.keys().filter(|name| !was.contains_key(*name)));
            let changed: Vec<String> =
                names.filter(|name| was.get(*name) != is.get(*name)).map(|it| words(it)).collect();
            let of = if changed.is_empty() { String::new() } else { format!(" ({})", joined(&changed)) };
            format!("changed {what}{of}")
        }
        (None, None) => format!("changed {what}"),
    }
}

pub(super) fn prices(told: &Told<'_>) -> String {
    if told.is.is("recompute") {
        let (from, to) = (told.is.text("from"), told.is.text("to"));
        let span = from_to(from.map(|from| told.moment(from)), to.map(|to| told.moment(to)));
        return format!("began to price past usage again{span}");
    }
    match (&told.was.list("prices")[..], &told.is.list("prices")[..]) {
        ([], [one]) => format!("added the price {one}"),
        ([one], []) => format!("removed the price {one}"),
        ([_], [one]) => format!("changed a price, which is now {one}"),
        ([], []) => "changed the prices".to_owned(),
        (gone, new) => {
            let counted = |prices: &[&str]| count(u64::try_from(prices.len()).unwrap_or(u64::MAX), "price");
            format!("changed the table of prices: {} set, {} replaced or removed", counted(new), gone.len())
        }
    }
}

pub(super) fn endpoint(told: &Told<'_>) -> String {
    let body = if told.is.text("url").is_some() { told.is } else { told.was };
    let described = body.text("description").or_else(|| body.text("url"));
    let id = told.is.text("id").or_else(|| told.was.text("id"));
    let name = described.map(str::to_owned).or_else(|| id.map(|id| told.names.endpoint(id).to_owned()));
    let what = name.map_or_else(|| "a webhook endpoint".to_owned(), |name| format!("the webhook endpoint “{name}”"));
    if told.is.get("tested").is_some() {
        return format!("sent a test to {what}");
    } else if told.is.get("sentAgain").is_some() {
        return format!("sent a message again to {what}");
    } else if told.is.get("secret").is_some() {
        let until = told.is.text("oldSecretEndsAt");
        let until = until.map_or_else(String::new, |end| format!("; the old one holds until {}", told.moment(end)));
        return format!("made another secret for {what}{until}");
    }
    match (told.was.text("url"), told.is.text("url"), told.is.text("state")) {
        (None, Some(url), _) if told.is.text("description").is_some() => format!("made {what}, at {url}"),
        (None, Some(_), _) => format!("made {what}"),
        (Some(_), None, _) => format!("deleted {what}"),
        (_, _, Some("disabled")) if told.was.text("state") != Some("disabled") => {
            let why = match told.is.text("disabledReason") {
                Some("operator") | None => String::new(),
                Some(why) => format!(": {}", why.replace(['-', '_'], " ")),
            };
            format!("disabled {what}{why}")
        }
        (_, _, Some("enabled")) if told.was.text("state") == Some("disabled") => format!("enabled {what}"),
        _ => format!(
            "changed {what}{}",
            differing(told, &[("url", "address"), ("types", "events"), ("description", "name")])
        ),
    }
}

/// " (address, events)": what of these differs.
fn differing(told: &Told<'_>, names: &[(&str, &str)]) -> String {
    let differs = names.iter().filter(|(name, _)| told.was.get(name) != told.is.get(name));
    let parts: Vec<String> = differs.map(|(_, called)| (*called).to_owned()).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", joined(&parts)) }
}

pub(super) fn settings(told: &Told<'_>) -> String {
    let mut parts = Vec::new();
    for (name, called) in [
        ("teamName", "the team's name"),
        ("contact", "the contact"),
        ("color", "the colour"),
        ("logoUrl", "the logo"),
        ("bringForwardMonths", "the months between early resets"),
    ] {
        if told.was.get(name) == told.is.get(name) {
            continue;
        }
        // A logo is an image as text.
        let is_long = name == "logoUrl";
        let shown = |body: Body<'_>| match body.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        parts.push(if is_long {
            called.to_owned()
        } else {
            format!("{called}{}", from_to(shown(told.was), shown(told.is)))
        });
    }
    if parts.is_empty() { "changed the settings".to_owned() } else { format!("changed {}", joined(&parts)) }
}

pub(super) fn backup(told: &Told<'_>) -> String {
    let name = told.is.text("name").map_or_else(String::new, |name| format!(" “{name}”"));
    format!("began a backup{name}")
}

pub(super) fn resolve(told: &Told<'_>) -> String {
    let seq = told.entry.details.get("seq").and_then(Value::as_u64);
    let which = seq.map_or_else(|| "an entry".to_owned(), |seq| format!("entry {seq}"));
    let note = told.is.text("note").map_or_else(String::new, |note| format!(": “{note}”"));
    format!("marked {which} as resolved{note}")
}

/// The ends of all chains, held in the team's own; or what was exported and dropped.
pub(super) fn checkpoint(told: &Told<'_>) -> String {
    let chains = told.is.number("chains").map(|chains| count(chains, "chain"));
    let until = told.is.text("until").map(|until| told.moment(until));
    if let Some(begins) = told.is.number("begins") {
        return format!("dropped older entries, which were exported: this log begins with entry {begins}");
    }
    match (told.is.text("file"), told.is.number("entries"), until) {
        (Some(file), Some(entries), Some(until)) => {
            format!("exported {} from before {until} into {file}", count(entries, "older entry"))
        }
        _ => format!("sealed the ends of {}", chains.unwrap_or_else(|| "all chains".to_owned())),
    }
}
