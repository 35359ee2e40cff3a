//! What mails say, as plain text and as HTML that loads nothing.

use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::hex::hex;
use crate::http::docs::escape;
use crate::people::email::Email;

/// The longest name in a mail, in characters.
const MOST_NAME: usize = 100;
/// The same where whoever registers has chosen it, and somebody else reads it.
const MOST_FOREIGN_NAME: usize = 60;
/// It has no width, and no line breaks at it.
const WORD_JOINER: char = '\u{2060}';
/// Who writes, where the team has no name.
const NAMELESS: &str = "Metergate";

/// What a mail says.
#[derive(Clone, Debug)]
pub(super) struct Words {
    to: Email,
    team: String,
    subject: String,
    /// Why it was sent.
    lead: String,
    /// What the link does.
    action: &'static str,
    url: String,
    /// For how long it opens something, and what to do who did not ask.
    rest: &'static str,
}

impl Words {
    pub(super) fn reset(to: Email, team: Option<String>, url: String) -> Self {
        let team = named(team);
        let subject = format!("Choose another password for {team}");
        let lead = format!("Somebody, you we hope, asked for another password for {team}.");
        let rest = "The link works once, within a day. If it was not you, do nothing: your password stays as it is.";
        Self { to, team, subject, lead, action: "Choose another password", url, rest }
    }

    pub(super) fn verification(to: Email, team: Option<String>, url: String) -> Self {
        let team = named(team);
        let subject = format!("Confirm your e-mail address for {team}");
        let lead = format!("An account of {team} has this address. Sign in and confirm that it is yours.");
        let rest = "The link works once, within a day. If you have no such account, do nothing.";
        Self { to, team, subject, lead, action: "Confirm the address", url, rest }
    }

    pub(super) fn invitation(to: Email, team: Option<String>, url: String, organization: &str) -> Self {
        let (team, organization) = (named(team), foreign(organization));
        let subject = format!("{team}: you are invited to {organization}");
        let lead = format!("You are invited to join {organization} on {team}.");
        let rest =
            "The link works once, within 7 days, for this e-mail address. If you expect no invitation, do nothing.";
        Self { to, team, subject, lead, action: "Join", url, rest }
    }

    /// What happened to an organization, by the message that says so; nothing of what is not told by mail. `name` knows what meters
    /// are called.
    pub(super) fn notice(
        to: Email,
        team: Option<String>,
        url: String,
        message: &str,
        name: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let Notice { r#type: kind, data } = serde_json::from_str(message).ok()?;
        let (team, organization) = (named(team), plain(&data.organization.name));
        let (subject, lead) = match kind.as_str() {
            "usage.threshold" => threshold(&data, [&organization, &team], name)?,
            "trial.ending" => {
                let end = day(data.trial_ends_at.as_deref()?);
                (
                    format!("{organization}: the trial ends on {end}"),
                    format!("The trial of {organization} on {team} ends on {end}."),
                )
            }
            "trial.ended" => {
                let after = match data.plan {
                    _ if data.locked == Some(true) => "It is locked until it has another plan.".to_owned(),
                    Some(plan) => format!("It is on the plan {} now.", plain(&plan)),
                    None => String::new(),
                };
                (
                    format!("{organization}: the trial is over"),
                    format!("The trial of {organization} on {team} is over. {after}"),
                )
            }
            _ => return None,
        };
        let rest = "This mail goes to the owners and admins of the organization.";
        Some(Self { to, team, subject, lead, action: "See the usage", url, rest })
    }

    fn text(&self) -> String {
        let Self { lead, action, url, rest, team, .. } = self;
        format!("{lead}\n\n{action}:\n{url}\n\n{rest}\n\n{team}\n")
    }

    fn html(&self) -> String {
        let [lead, url, team] = [&self.lead, &self.url, &self.team].map(|text| escape(text));
        let Self { action, rest, .. } = self;
        format!(
            "<!doctype html>\n<html lang=\"en\"><body style=\"font-family: sans-serif; line-height: 1.5; max-width: 34em\">\n\
             <p>{lead}</p>\n<p><a href=\"{url}\">{action}</a></p>\n<p style=\"color: #555\">{rest}</p>\n<p>{team}</p>\n\
             </body></html>\n"
        )
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
}

#[derive(Deserialize)]
struct NoticeOrganization {
    name: String,
}

/// The day of a time, and that it is UTC.
fn day(time: &str) -> String {
    format!("{} (UTC)", time.split('T').next().unwrap_or(time))
}

/// The mail.
///
/// # Errors
/// Where the address is none by the rules of mail.
pub(super) fn written(from: &Mailbox, words: &Words) -> Result<Message, lettre::error::Error> {
    let to: Address = words.to.as_str().parse().map_err(|_| lettre::error::Error::MissingTo)?;
    let name = from.name.clone().unwrap_or_else(|| words.team.clone());
    let id = format!("<{}@{}>", hex(&crate::random::bytes::<16>()), from.email.domain());
    Message::builder()
        .from(Mailbox::new(Some(name), from.email.clone()))
        .to(Mailbox::new(None, to))
        .subject(words.subject.clone())
        .message_id(Some(id))
        .multipart(MultiPart::alternative_plain_html(words.text(), words.html()))
}

fn named(team: Option<String>) -> String {
    team.map(|name| plain(&name)).filter(|name| !name.is_empty()).unwrap_or_else(|| NAMELESS.to_owned())
}

/// A name in one line, and not too long: it may stand in a header.
fn plain(name: &str) -> String {
    let line: String = name.chars().map(|c| if c.is_control() || is_separator(c) { ' ' } else { c }).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_NAME).collect()
}

/// The name of an organization for those who may not know it, who chose which nobody has looked at: it ends before what looks like
/// a link, and mail programs find nothing in it of which to make one.
fn foreign(name: &str) -> String {
    let name = plain(name);
    let words: Vec<&str> = name.split(' ').take_while(|word| !is_link(word)).collect();
    let name: String = words.join(" ").chars().take(MOST_FOREIGN_NAME).collect();
    if name.is_empty() {
        return "an organization".to_owned();
    }
    let (mut apart, mut rest) = (String::new(), name.chars().peekable());
    while let Some(c) = rest.next() {
        apart.push(c);
        // A dot within a word, as in booking.com.
        if c == '.' && rest.peek().is_some_and(|next| !next.is_whitespace()) {
            apart.push(WORD_JOINER);
        }
    }
    apart
}

fn is_link(word: &str) -> bool {
    let word = word.to_lowercase();
    word.contains("://") || word.contains("www.") || (word.contains('.') && word.contains(['/', '@']))
}

/// What ends a line, or turns the direction of one.
const fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(words: &Words) -> String {
        String::from_utf8(written(&"usage@example.com".parse().unwrap(), words).unwrap().formatted()).unwrap()
    }

    #[test]
    fn no_name_adds_a_header_or_markup() {
        let team = "Evil\r\nBcc: eve@example.com\r\n\r\n<script>";
        let organization = "A <b>&\u{2028}\"B\"\nX-Evil: 1";
        let words = Words::invitation(
            Email::new("ann@example.com").unwrap(),
            Some(team.to_owned()),
            "https://usage.example.com/join?token=mgs_1&a=<".to_owned(),
            organization,
        );
        let text = message(&words);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split_once(':').map_or(line, |(name, _)| name))
            .collect();
        for name in ["Bcc", "X-Evil"] {
            assert!(!names.contains(&name), "{head}");
        }
        for name in ["From", "To", "Subject", "Message-ID", "Date", "MIME-Version", "Content-Type"] {
            assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name} in {head}");
        }
        assert!(!words.html().contains("<script>") && !words.html().contains("<b>"), "{}", words.html());
        assert!(
            words.html().contains("href=\"https://usage.example.com/join?token=mgs_1&amp;a=&lt;\""),
            "{}",
            words.html()
        );
        assert!(body.contains("multipart") || head.contains("multipart/alternative"), "{head}");
    }

    #[test]
    fn names_are_short_and_a_team_without_one_has_ours() {
        assert_eq!(plain(&"x".repeat(500)).len(), MOST_NAME);
        assert_eq!(named(Some(" \n ".to_owned())), "Metergate");
        let words = Words::reset(Email::new("ann@example.com").unwrap(), None, "https://x/reset?token=t".to_owned());
        assert_eq!(words.subject, "Choose another password for Metergate");
        assert!(words.text().contains("\nhttps://x/reset?token=t\n"), "{}", words.text());
    }

    #[test]
    fn the_name_of_an_organization_that_invites_carries_no_link_and_is_short() {
        let long = "x".repeat(500);
        let cases = [
            ("Acme Inc.", "Acme Inc."),
            ("You won! visit http://evil.example now", "You won! visit"),
            ("Look at WWW.evil.example", "Look at"),
            ("evil.example/prize", "an organization"),
            ("Write to eve@evil.example", "Write to"),
            ("https://evil.example", "an organization"),
            ("Booking.com B.V.", "Booking.\u{2060}com B.\u{2060}V."),
            (" \n ", "an organization"),
            (&long[..], &long[..60]),
        ];
        for (name, expected) in cases {
            assert_eq!(foreign(name), expected, "{name}");
            let to = Email::new("ann@example.com").unwrap();
            let words = Words::invitation(to, None, "https://x/join?token=t".to_owned(), name);
            assert_eq!(words.subject, format!("Metergate: you are invited to {expected}"));
            assert_eq!(words.text().matches("://").count(), 1, "{}", words.text());
        }
    }

    fn of_message(message: &str) -> Option<Words> {
        let to = Email::new("ann@example.com").unwrap();
        let name = |key: &str| (key == "tokens").then(|| "Tokens".to_owned());
        Words::notice(to, Some("Grace".to_owned()), "https://x/portal".to_owned(), message, name)
    }

    #[test]
    fn a_notice_says_what_its_message_tells_and_nothing_is_said_of_other_messages() {
        let organization = r#""organization": {"id": "1", "key": "acme", "name": "Acme\nInc"}"#;
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
        ];
        for (kind, data, lead) in cases {
            let message = format!(r#"{{"type": "{kind}", "timestamp": "", "data": {{{organization}, {data}}}}}"#);
            let words = of_message(&message).unwrap_or_else(|| panic!("{message}"));
            assert_eq!((words.lead.as_str(), words.subject.starts_with("Acme Inc: ")), (lead, true));
        }
        let other = format!(r#"{{"type": "usage.reset", "timestamp": "", "data": {{{organization}}}}}"#);
        assert!(of_message(&other).is_none() && of_message("{}").is_none());
    }
}
