//! What mails say of what happened to an organization (N5).

use metergate_pages::format::{Amount, Zone, date, moment};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Choices, Words, named, plain};
use crate::people::email::Email;

/// What messages do not say: what people call that which they name by its key, and how the organization and the team want things said.
pub(in crate::mail) struct Called<'a> {
    /// A meter's name, and its unit in the singular.
    pub(in crate::mail) meter: &'a dyn Fn(&str) -> Option<(String, String)>,
    /// A plan's name.
    pub(in crate::mail) plan: &'a dyn Fn(&str) -> Option<String>,
    /// The organization's zone.
    pub(in crate::mail) zone: Zone,
    /// Whom customers of the team ask.
    pub(in crate::mail) contact: Option<String>,
}

impl Called<'_> {
    /// Of a meter that is gone only the key is known.
    fn meter(&self, key: &str) -> (String, String) {
        let (name, unit) = (self.meter)(key).unwrap_or_else(|| (key.to_owned(), String::new()));
        (plain(&name), plain(&unit))
    }

    fn plan(&self, key: &str) -> String {
        plain(&(self.plan)(key).unwrap_or_else(|| key.to_owned()))
    }

    /// The day that a time falls in, for a subject.
    fn day(&self, time: &str) -> String {
        date(time, &self.zone)
    }

    /// A time, with its zone.
    fn moment(&self, time: &str) -> String {
        format!("{} ({})", moment(time, &self.zone), self.zone.name())
    }

    /// A sentence that says whom to ask; nothing where the team has not said it.
    fn contact(&self, why: &str) -> String {
        let contact = self.contact.as_deref().map(str::trim).filter(|contact| !contact.is_empty());
        contact.map_or_else(String::new, |contact| format!(" Contact {contact} {why}."))
    }
}

impl Words {
    /// What happened to an organization, by the message that says so; nothing of what is not told by mail.
    pub(in crate::mail) fn notice(
        to: Email,
        team: Option<String>,
        (url, choices): (String, Choices),
        message: &str,
        called: &Called<'_>,
    ) -> Option<Self> {
        let Notice { r#type: kind, data } = serde_json::from_str(message).ok()?;
        let (team, organization) = (named(team), plain(&data.organization.name));
        let of = [organization.as_str(), team.as_str()];
        let (subject, lead) = match kind.as_str() {
            "usage.threshold" => threshold(&data, of, called)?,
            "trial.ending" | "trial.ended" => trial(&data, of, called)?,
            "organization.locked" => locked(&data, of, called)?,
            "organization.unlocked" => (
                format!("{organization}: unlocked"),
                format!("{organization} on {team} is locked no more: it can be used as before."),
            ),
            "subscription.changed" => (
                format!("{organization}: a payment is due"),
                format!(
                    "A payment for {organization} on {team} has failed or is due. Unless it is paid, {organization} is locked."
                ),
            ),
            "grant.expiring" | "grant.exhausted" => credit(&data, of, called)?,
            _ => return None,
        };
        let rest = "You get this mail as a member of the organization.";
        Some(Self { to, team, subject, lead, action: "See the usage", url, rest, choices: Some(choices) })
    }
}

/// Subject and lead of a mail about a limit.
fn threshold(data: &NoticeData, [organization, team]: [&str; 2], called: &Called<'_>) -> Option<(String, String)> {
    let (meter, unit) = called.meter(data.meter.as_deref()?);
    let (limit, soft) = (data.limit.as_ref()?.0.in_unit(&unit), data.enforcement.as_deref() == Some("soft"));
    // What is reserved may be given back.
    let used = if data.held.as_ref().is_some_and(|held| !held.0.is_zero()) { "used or reserved" } else { "used" };
    let ends = data.resets_at.as_deref().map(|time| called.moment(time));
    let beyond = "What goes beyond it is counted as overage.".to_owned();
    if let Some(percent) = data.threshold.filter(|percent| *percent < 100) {
        let goes_on = match ends {
            _ if soft => beyond,
            Some(end) => format!("Beyond it more is refused until {end}."),
            None => "Beyond it more is refused.".to_owned(),
        };
        let lead =
            format!("{organization} has {used} {percent} % or more of its {meter} on {team}, of {limit}. {goes_on}");
        return Some((format!("{organization}: {percent} % of {meter} is {used}"), lead));
    }
    let goes_on = match ends {
        _ if soft => beyond,
        Some(end) => format!("More is refused until {end}."),
        None => "More is refused.".to_owned(),
    };
    let lead = format!("{organization} has {used} all of its {meter} on {team}: {limit}. {goes_on}");
    Some((format!("{organization}: all of {meter} is {used}"), lead))
}

/// The same about a trial, which says whether it is locked where it is over.
fn trial(data: &NoticeData, [organization, team]: [&str; 2], called: &Called<'_>) -> Option<(String, String)> {
    let Some(is_locked) = data.locked else {
        let end = data.trial_ends_at.as_deref()?;
        let lead = format!("The trial of {organization} on {team} ends on {}.", called.moment(end));
        return Some((format!("{organization}: the trial ends on {}", called.day(end)), lead));
    };
    let after = match &data.plan {
        _ if is_locked => format!("It is locked until it has another plan.{}", called.contact("to get one")),
        Some(plan) => format!("It is on the plan {} now.", called.plan(plan)),
        None => String::new(),
    };
    let lead = format!("The trial of {organization} on {team} is over. {after}");
    Some((format!("{organization}: the trial is over"), lead))
}

/// The same about a lock. Why an operator put it is for the operator to say.
fn locked(data: &NoticeData, [organization, team]: [&str; 2], called: &Called<'_>) -> Option<(String, String)> {
    let until = match data.lock.as_ref()?.cause.as_str() {
        "billing" => "it is paid for",
        _ => "whoever runs it unlocks it",
    };
    let contact = called.contact("to have it unlocked");
    let lead =
        format!("{organization} on {team} is locked: everything that it would use is refused until {until}.{contact}");
    Some((format!("{organization}: locked"), lead))
}

/// The same about credit, which says how many days it has where it ends.
fn credit(data: &NoticeData, [organization, team]: [&str; 2], called: &Called<'_>) -> Option<(String, String)> {
    let grant = data.grant.as_ref()?;
    let (meter, unit) = called.meter(&grant.meter);
    if data.days_left.is_none() {
        let amount = grant.amount.0.in_unit(&unit);
        let lead = format!("{organization} has used all of its credit for {meter} on {team}: {amount}.");
        return Some((format!("{organization}: credit of {meter} is used up"), lead));
    }
    let end = grant.expires_at.as_deref()?;
    let (day, end) = (called.day(end), called.moment(end));
    let left = grant.remaining.0.in_unit(&unit);
    let lead = format!("Credit of {organization} for {meter} on {team} expires on {end}: {left} are left of it.");
    Some((format!("{organization}: credit of {meter} expires on {day}"), lead))
}

/// What of a message is said in a mail.
#[derive(Deserialize)]
struct Notice {
    r#type: String,
    data: NoticeData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NoticeData {
    organization: NoticeOrganization,
    meter: Option<String>,
    threshold: Option<u8>,
    enforcement: Option<String>,
    limit: Option<Exact>,
    held: Option<Exact>,
    resets_at: Option<String>,
    trial_ends_at: Option<String>,
    plan: Option<String>,
    locked: Option<bool>,
    lock: Option<NoticeLock>,
    grant: Option<NoticeGrant>,
    days_left: Option<i64>,
}

/// A quantity of a message, where it is a JSON number: read by its digits.
struct Exact(Amount);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Box::<RawValue>::deserialize(deserializer)?;
        Amount::parse(digits.get()).map(Self).ok_or_else(|| D::Error::custom("no quantity"))
    }
}

#[derive(Deserialize)]
struct NoticeOrganization {
    name: String,
}

#[derive(Deserialize)]
struct NoticeLock {
    cause: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NoticeGrant {
    meter: String,
    amount: Exact,
    remaining: Exact,
    expires_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::Button;
    use super::*;

    fn of_message(message: &str) -> Option<Words> {
        let to = Email::new("ann@example.com").unwrap();
        let meter = |key: &str| match key {
            "tokens" => Some(("Tokens".to_owned(), "token".to_owned())),
            "storage" => Some(("Storage".to_owned(), "byte".to_owned())),
            _ => None,
        };
        let plan = |key: &str| (key == "free-2").then(|| "Free".to_owned());
        let (zone, contact) = (Zone::new("Europe/Berlin"), Some("help@grace.example".to_owned()));
        let called = Called { meter: &meter, plan: &plan, zone, contact };
        let (settings, refuse) = ("https://x/portal/notifications".to_owned(), "https://x/unsubscribe?t".to_owned());
        let choices = Choices { settings, refuse, button: Button::OneClick };
        Words::notice(to, Some("Grace".to_owned()), ("https://x/portal".to_owned(), choices), message, &called)
    }

    const ORGANIZATION: &str = r#""organization": {"id": "1", "key": "acme", "name": "Acme\nInc"}"#;

    /// Types of messages with what these say, and what the mail says then.
    fn check(cases: &[(&str, String, &str)]) {
        for (kind, data, lead) in cases {
            let message = format!(r#"{{"type": "{kind}", "timestamp": "", "data": {{{ORGANIZATION}, {data}}}}}"#);
            let words = of_message(&message).unwrap_or_else(|| panic!("{message}"));
            assert_eq!((words.lead.as_str(), words.subject.starts_with("Acme Inc: ")), (*lead, true));
        }
    }

    #[test]
    fn a_notice_of_a_limit_says_what_its_message_tells() {
        let limit = r#""meter": "tokens", "limit": 1000.5, "resetsAt": "2026-12-22T23:00:00Z", "enforcement": "#;
        let cases = [
            (
                "usage.threshold",
                format!(r#""threshold": 100, {limit} "hard""#),
                "Acme Inc has used all of its Tokens on Grace: 1,000.5 tokens. More is refused until Dec 23, 2026, 00:00 (Europe/Berlin).",
            ),
            (
                "usage.threshold",
                format!(r#"{limit} "soft""#),
                "Acme Inc has used all of its Tokens on Grace: 1,000.5 tokens. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""held": 0.5, {limit} "soft""#),
                "Acme Inc has used or reserved all of its Tokens on Grace: 1,000.5 tokens. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""held": 0.0, {limit} "soft""#),
                "Acme Inc has used all of its Tokens on Grace: 1,000.5 tokens. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""threshold": 80, {limit} "hard""#),
                "Acme Inc has used 80 % or more of its Tokens on Grace, of 1,000.5 tokens. Beyond it more is refused until Dec 23, 2026, 00:00 (Europe/Berlin).",
            ),
            (
                "usage.threshold",
                format!(r#""threshold": 95, "held": 3, {limit} "soft""#),
                "Acme Inc has used or reserved 95 % or more of its Tokens on Grace, of 1,000.5 tokens. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                r#""meter": "storage", "limit": 524288000, "threshold": 80, "enforcement": "hard""#.to_owned(),
                "Acme Inc has used 80 % or more of its Storage on Grace, of 500 MB. Beyond it more is refused.",
            ),
            (
                "usage.threshold",
                r#""meter": "gone", "limit": 5, "enforcement": "hard""#.to_owned(),
                "Acme Inc has used all of its gone on Grace: 5. More is refused.",
            ),
        ];
        check(&cases);
    }

    #[test]
    fn a_notice_of_anything_else_says_what_its_message_tells_and_nothing_is_said_of_other_messages() {
        let grant = r#""meter": "tokens", "amount": 50.5, "remaining": 20, "expiresAt": "2026-12-22T23:00:00Z""#;
        let cases = [
            (
                "trial.ending",
                r#""trialEndsAt": "2026-12-22T23:00:00Z""#.to_owned(),
                "The trial of Acme Inc on Grace ends on Dec 23, 2026, 00:00 (Europe/Berlin).",
            ),
            (
                "trial.ended",
                r#""plan": "free-2", "locked": false"#.to_owned(),
                "The trial of Acme Inc on Grace is over. It is on the plan Free now.",
            ),
            (
                "trial.ended",
                r#""plan": "gone", "locked": false"#.to_owned(),
                "The trial of Acme Inc on Grace is over. It is on the plan gone now.",
            ),
            (
                "trial.ended",
                r#""plan": "trial", "locked": true"#.to_owned(),
                "The trial of Acme Inc on Grace is over. It is locked until it has another plan. Contact help@grace.example to get one.",
            ),
            (
                "organization.locked",
                r#""lock": {"cause": "billing", "reason": "secret", "since": ""}"#.to_owned(),
                "Acme Inc on Grace is locked: everything that it would use is refused until it is paid for. Contact help@grace.example to have it unlocked.",
            ),
            (
                "organization.locked",
                r#""lock": {"cause": "operator", "reason": "secret", "since": ""}"#.to_owned(),
                "Acme Inc on Grace is locked: everything that it would use is refused until whoever runs it unlocks it. Contact help@grace.example to have it unlocked.",
            ),
            (
                "organization.unlocked",
                r#""locked": false, "locks": []"#.to_owned(),
                "Acme Inc on Grace is locked no more: it can be used as before.",
            ),
            (
                "subscription.changed",
                r#""before": {}, "after": {}"#.to_owned(),
                "A payment for Acme Inc on Grace has failed or is due. Unless it is paid, Acme Inc is locked.",
            ),
            (
                "grant.exhausted",
                format!(r#""grant": {{"id": 1, {grant}}}"#),
                "Acme Inc has used all of its credit for Tokens on Grace: 50.5 tokens.",
            ),
            (
                "grant.expiring",
                format!(r#""daysLeft": 7, "grant": {{{grant}}}"#),
                "Credit of Acme Inc for Tokens on Grace expires on Dec 23, 2026, 00:00 (Europe/Berlin): 20 tokens are left of it.",
            ),
        ];
        check(&cases);
        let other = format!(r#"{{"type": "usage.reset", "timestamp": "", "data": {{{ORGANIZATION}}}}}"#);
        assert!(of_message(&other).is_none() && of_message("{}").is_none());
    }
}
