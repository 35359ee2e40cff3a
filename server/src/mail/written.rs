//! What mails say, as plain text and as HTML that loads nothing.

use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use crate::hex::hex;
use crate::http::docs::escape;
use crate::people::email::Email;

/// The longest name in a mail, in characters.
const MOST_NAME: usize = 100;
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
        let (team, organization) = (named(team), plain(organization));
        let subject = format!("{team}: you are invited to {organization}");
        let lead = format!("You are invited to join {organization} on {team}.");
        let rest =
            "The link works once, within 7 days, for this e-mail address. If you expect no invitation, do nothing.";
        Self { to, team, subject, lead, action: "Join", url, rest }
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
}
