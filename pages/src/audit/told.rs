//! Entries of the audit log as sentences: what somebody did, with names in place of keys, and with quantities and times as people
//! write them. One table says how each action is told; an action that is not in it, as the application's own, is told by its name.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answers::AuditEntry;
use crate::format::{self, Amount, Zone};
use crate::who::Names;

mod organization;
mod people;
mod quota;
mod team;

/// What follows the name of whoever did it: "locked the organization".
type Say = fn(&Told<'_>) -> String;

/// Every action of Metergate's own: what it is called where entries are looked for, and how one is told.
const ACTIONS: [(&str, &str, Say); 39] = [
    ("organization.create", "Organization created", organization::create),
    ("organization.update", "Organization changed", organization::update),
    ("organization.delete", "Organization deleted", organization::delete),
    ("trial.start", "Trial started", organization::start_trial),
    ("trial.extend", "End of the trial moved", organization::move_trial),
    ("trial.end", "Trial ended", organization::end_trial),
    ("plan.change", "Plan changed", quota::plan),
    ("limit.change", "Limit changed", quota::limit),
    ("quota.grant", "Extra quota set", quota::extra),
    ("credit.grant", "Credit granted", quota::credit),
    ("credit.void", "Credit taken back", quota::void_credit),
    ("usage.reset", "Usage reset", quota::reset),
    ("usage.adjust", "Usage corrected", quota::adjust),
    ("usage.void", "Event voided", quota::void),
    ("billing.lock", "Organization locked", organization::lock),
    ("billing.unlock", "Organization unlocked", organization::unlock),
    ("billing.cycle", "Billing cycle moved", organization::cycle),
    ("webhook.state_change", "Told by Stripe", organization::state),
    ("subscription.link", "Subscription linked", organization::link),
    ("member.add", "Member added", people::add),
    ("member.change", "Member changed", people::change),
    ("member.remove", "Member removed", people::remove),
    ("member.invite", "Invited, or sent a link", people::invite),
    ("session.sign_in", "Signed in", people::sign_in),
    ("session.sign_in_failed", "Sign-in failed", people::sign_in_failed),
    ("session.sign_out", "Signed out", people::sign_out),
    ("key.create", "API key made", team::make_key),
    ("key.rotate", "API key rotated", team::rotate_key),
    ("key.revoke", "API key revoked", team::revoke_key),
    ("portal.link", "Portal link", people::portal),
    ("catalog.apply", "Plans or catalogue changed", team::catalogue),
    ("meter.change", "Meter changed", team::meter),
    ("price.change", "Prices changed", team::prices),
    ("endpoint.change", "Webhook endpoint changed", team::endpoint),
    ("setting.change", "Settings changed", team::settings),
    ("clock.move", "Clock moved", organization::clock),
    ("backup.create", "Backup begun", team::backup),
    ("audit.resolve", "Entry resolved", team::resolve),
    ("audit.checkpoint", "Audit log sealed or cut", team::checkpoint),
];

/// What an action of Metergate's own is called; nothing for another.
pub fn label(action: &str) -> Option<&'static str> {
    ACTIONS.iter().find(|(own, ..)| *own == action).map(|(_, label, _)| *label)
}

/// Every action of Metergate's own with what it is called.
pub(super) fn labels() -> impl Iterator<Item = (&'static str, &'static str)> {
    ACTIONS.iter().map(|(action, label, _)| (*action, *label))
}

/// What an entry says that somebody did; nothing where its action is none of Metergate's own.
pub(super) fn said(entry: &AuditEntry, names: &Names, zone: &Zone) -> Option<String> {
    let say = ACTIONS.iter().find(|(own, ..)| *own == entry.action)?.2;
    let (was, is) = (Body(&entry.before), Body(&entry.after));
    Some(say(&Told { entry, was, is, names, zone }))
}

/// An entry that is to be told.
struct Told<'a> {
    entry: &'a AuditEntry,
    /// What stood before.
    was: Body<'a>,
    /// What stands now.
    is: Body<'a>,
    names: &'a Names,
    zone: &'a Zone,
}

impl Told<'_> {
    fn moment(&self, time: &str) -> String {
        format::moment(time, self.zone)
    }

    /// "from Nov 28, 2026, 10:00 to Dec 1, 2026, 10:00", of a time of this name before and after.
    fn moved(&self, name: &str) -> String {
        let shown = |body: Body<'_>| body.text(name).map(|time| self.moment(time));
        from_to(shown(self.was), shown(self.is))
    }

    /// " until Nov 28, 2026, 10:00", where a time of this name stands now.
    fn until(&self, name: &str) -> String {
        self.is.text(name).map_or_else(String::new, |time| format!(" until {}", self.moment(time)))
    }

    /// A quantity of a meter with its unit; a dash where it is none.
    fn amount(&self, meter: &str, value: Option<&Value>) -> String {
        let amount = value.and_then(|value| Amount::deserialize(value).ok());
        amount.map_or_else(|| "–".to_owned(), |amount| amount.in_unit(self.names.unit(meter)))
    }

    /// The lock that this lifts, as the sentence goes on.
    fn unlocks(&self) -> &'static str {
        if self.was.is("locked") && self.is.get("locked").is_some() && !self.is.is("locked") {
            ", which lifted the lock"
        } else {
            ""
        }
    }
}

/// What an entry says of one side, by name. What is null is not there.
#[derive(Clone, Copy)]
struct Body<'a>(&'a Value);

impl<'a> Body<'a> {
    fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    fn number(self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// Whether a flag is set.
    fn is(self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == &Value::Bool(true))
    }

    fn list(self, name: &str) -> Vec<&'a str> {
        let list = self.get(name).and_then(Value::as_array);
        list.map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect())
    }

    fn fields(self) -> Option<&'a Map<String, Value>> {
        self.0.as_object()
    }

    fn is_empty(self) -> bool {
        self.fields().is_none_or(Map::is_empty)
    }
}

/// "from a to b", "to b" where nothing stood before, and nothing where nothing stands now.
fn from_to(was: Option<String>, is: Option<String>) -> String {
    match (was, is) {
        (Some(was), Some(is)) if was != is => format!(" from {was} to {is}"),
        (_, Some(is)) => format!(" to {is}"),
        (Some(was), None) => format!(" from {was} to nothing"),
        (None, None) => String::new(),
    }
}

/// The name of a field in words: `otherMeters` is "other meters".
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// "a, b and c"; of many the first, and how many more there are.
fn joined(parts: &[String]) -> String {
    /// Parts that a sentence still names.
    const MOST: usize = 4;
    let more = parts.len().saturating_sub(MOST);
    let mut named: Vec<String> = parts.iter().take(if more == 1 { MOST - 1 } else { MOST }).cloned().collect();
    let left = parts.len() - named.len();
    if left > 0 {
        named.push(format!("{left} more"));
    }
    match named.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;
