//! What mails say of what happened to an organization (N5).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Choices, Words, named, plain};
use crate::people::email::Email;

impl Words {
    /// What happened to an organization, by the message that says so; nothing of what is not told by mail. `name` knows what meters
    /// are called.
    pub(in crate::mail) fn notice(
        to: Email,
        team: Option<String>,
        (url, choices): (String, Choices),
        message: &str,
        name: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let Notice { r#type: kind, data } = serde_json::from_str(message).ok()?;
        let (team, organization) = (named(team), plain(&data.organization.name));
        let of = [organization.as_str(), team.as_str()];
        let (subject, lead) = match kind.as_str() {
            "usage.threshold" => threshold(&data, of, name)?,
            "trial.ending" | "trial.ended" => trial(&data, of)?,
            "organization.locked" => locked(&data, of)?,
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
            "grant.expiring" | "grant.exhausted" => credit(&data, of, name)?,
            _ => return None,
        };
        let rest = "You get this mail as a member of the organization.";
        Some(Self { to, team, subject, lead, action: "See the usage", url, rest, choices: Some(choices) })
    }
}

/// Subject and lead of a mail about a limit.
fn threshold(
    data: &NoticeData,
    [organization, team]: [&str; 2],
    name: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let key = data.meter.as_deref()?;
    let meter = plain(&name(key).unwrap_or_else(|| key.to_owned()));
    let (limit, soft) = (data.limit.as_ref()?.get(), data.enforcement.as_deref() == Some("soft"));
    // What is reserved may be given back.
    let is_some = |held: &RawValue| held.get().bytes().any(|digit| matches!(digit, b'1'..=b'9'));
    let used = if data.held.as_deref().is_some_and(is_some) { "used or reserved" } else { "used" };
    let ends = data.resets_at.as_deref().map(day);
    let beyond = "What goes beyond it is counted as overage.".to_owned();
    if let Some(percent) = data.threshold.filter(|percent| *percent < 100) {
        let goes_on = match ends {
            _ if soft => beyond,
            Some(day) => format!("Beyond it more is refused until {day}."),
            None => "Beyond it more is refused.".to_owned(),
        };
        let lead =
            format!("{organization} has {used} {percent} % or more of its {meter} on {team}, of {limit}. {goes_on}");
        return Some((format!("{organization}: {percent} % of {meter} is {used}"), lead));
    }
    let goes_on = match ends {
        _ if soft => beyond,
        Some(day) => format!("More is refused until {day}."),
        None => "More is refused.".to_owned(),
    };
    let lead = format!("{organization} has {used} all of its {meter} on {team}: {limit}. {goes_on}");
    Some((format!("{organization}: all of {meter} is {used}"), lead))
}

/// The same about a trial, which says whether it is locked where it is over.
fn trial(data: &NoticeData, [organization, team]: [&str; 2]) -> Option<(String, String)> {
    let Some(is_locked) = data.locked else {
        let end = day(data.trial_ends_at.as_deref()?);
        let lead = format!("The trial of {organization} on {team} ends on {end}.");
        return Some((format!("{organization}: the trial ends on {end}"), lead));
    };
    let after = match &data.plan {
        _ if is_locked => "It is locked until it has another plan.".to_owned(),
        Some(plan) => format!("It is on the plan {} now.", plain(plan)),
        None => String::new(),
    };
    let lead = format!("The trial of {organization} on {team} is over. {after}");
    Some((format!("{organization}: the trial is over"), lead))
}

/// The same about a lock. Why an operator put it is for the operator to say.
fn locked(data: &NoticeData, [organization, team]: [&str; 2]) -> Option<(String, String)> {
    let until = match data.lock.as_ref()?.cause.as_str() {
        "billing" => "it is paid for",
        _ => "whoever runs it unlocks it",
    };
    let lead = format!("{organization} on {team} is locked: everything that it would use is refused until {until}.");
    Some((format!("{organization}: locked"), lead))
}

/// The same about credit, which says how many days it has where it ends.
fn credit(
    data: &NoticeData,
    [organization, team]: [&str; 2],
    name: impl Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let grant = data.grant.as_ref()?;
    let meter = plain(&name(&grant.meter).unwrap_or_else(|| grant.meter.clone()));
    if data.days_left.is_none() {
        let lead = format!("{organization} has used all of its credit of {} {meter} on {team}.", grant.amount.get());
        return Some((format!("{organization}: credit of {meter} is used up"), lead));
    }
    let end = day(grant.expires_at.as_deref()?);
    let lead = format!(
        "Credit of {organization} on {team} expires on {end}: {} {meter} are left of it.",
        grant.remaining.get()
    );
    Some((format!("{organization}: credit of {meter} expires on {end}"), lead))
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
    limit: Option<Box<RawValue>>,
    held: Option<Box<RawValue>>,
    resets_at: Option<String>,
    trial_ends_at: Option<String>,
    plan: Option<String>,
    locked: Option<bool>,
    lock: Option<NoticeLock>,
    grant: Option<NoticeGrant>,
    days_left: Option<i64>,
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
    amount: Box<RawValue>,
    remaining: Box<RawValue>,
    expires_at: Option<String>,
}

/// The day of a time, and that it is UTC.
fn day(time: &str) -> String {
    format!("{} (UTC)", time.split('T').next().unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::super::Button;
    use super::*;

    fn of_message(message: &str) -> Option<Words> {
        let to = Email::new("ann@example.com").unwrap();
        let name = |key: &str| (key == "tokens").then(|| "Tokens".to_owned());
        let (settings, refuse) = ("https://x/portal/notifications".to_owned(), "https://x/unsubscribe?t".to_owned());
        let choices = Choices { settings, refuse, button: Button::OneClick };
        Words::notice(to, Some("Grace".to_owned()), ("https://x/portal".to_owned(), choices), message, name)
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
        let limit = r#""meter": "tokens", "limit": 1000.5, "resetsAt": "2026-12-22T11:06:00Z", "enforcement": "#;
        let cases = [
            (
                "usage.threshold",
                format!(r#""threshold": 100, {limit} "hard""#),
                "Acme Inc has used all of its Tokens on Grace: 1000.5. More is refused until 2026-12-22 (UTC).",
            ),
            (
                "usage.threshold",
                format!(r#"{limit} "soft""#),
                "Acme Inc has used all of its Tokens on Grace: 1000.5. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""held": 0.5, {limit} "soft""#),
                "Acme Inc has used or reserved all of its Tokens on Grace: 1000.5. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""held": 0.0, {limit} "soft""#),
                "Acme Inc has used all of its Tokens on Grace: 1000.5. What goes beyond it is counted as overage.",
            ),
            (
                "usage.threshold",
                format!(r#""threshold": 80, {limit} "hard""#),
                "Acme Inc has used 80 % or more of its Tokens on Grace, of 1000.5. Beyond it more is refused until 2026-12-22 (UTC).",
            ),
            (
                "usage.threshold",
                format!(r#""threshold": 95, "held": 3, {limit} "soft""#),
                "Acme Inc has used or reserved 95 % or more of its Tokens on Grace, of 1000.5. What goes beyond it is counted as overage.",
            ),
        ];
        check(&cases);
    }

    #[test]
    fn a_notice_of_anything_else_says_what_its_message_tells_and_nothing_is_said_of_other_messages() {
        let grant = r#""meter": "tokens", "amount": 50.5, "remaining": 20, "expiresAt": "2026-12-22T11:06:00Z""#;
        let cases = [
            (
                "trial.ending",
                r#""trialEndsAt": "2026-12-22T11:06:00Z""#.to_owned(),
                "The trial of Acme Inc on Grace ends on 2026-12-22 (UTC).",
            ),
            (
                "trial.ended",
                r#""plan": "free", "locked": false"#.to_owned(),
                "The trial of Acme Inc on Grace is over. It is on the plan free now.",
            ),
            (
                "trial.ended",
                r#""plan": "trial", "locked": true"#.to_owned(),
                "The trial of Acme Inc on Grace is over. It is locked until it has another plan.",
            ),
            (
                "organization.locked",
                r#""lock": {"cause": "billing", "reason": "secret", "since": ""}"#.to_owned(),
                "Acme Inc on Grace is locked: everything that it would use is refused until it is paid for.",
            ),
            (
                "organization.locked",
                r#""lock": {"cause": "operator", "reason": "secret", "since": ""}"#.to_owned(),
                "Acme Inc on Grace is locked: everything that it would use is refused until whoever runs it unlocks it.",
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
                "Acme Inc has used all of its credit of 50.5 Tokens on Grace.",
            ),
            (
                "grant.expiring",
                format!(r#""daysLeft": 7, "grant": {{{grant}}}"#),
                "Credit of Acme Inc on Grace expires on 2026-12-22 (UTC): 20 Tokens are left of it.",
            ),
        ];
        check(&cases);
        let other = format!(r#"{{"type": "usage.reset", "timestamp": "", "data": {{{ORGANIZATION}}}}}"#);
        assert!(of_message(&other).is_none() && of_message("{}").is_none());
    }
}
