//! What mails say, as plain text and as HTML that loads nothing.

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use crate::hex::hex;
use crate::http::docs::escape;
use crate::people::email::Email;

mod told;

pub(super) use told::Called;

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
    /// Where they want something else, where they need not be sent it.
    choices: Option<Choices>,
}

/// Where whoever gets a notice chooses what they are told, or wants no more of it.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    /// The page on which they choose, signed in.
    pub(super) settings: String,
    /// The link by which they get no more.
    pub(super) refuse: String,
    /// What mail programs are told of that link.
    pub(super) button: Button,
}

/// Whether mail programs show a button that opens the link by which somebody gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Button {
    /// They do not, since they may not reach this server.
    None,
    /// They lead to the page (RFC 2369).
    Page,
    /// They send what it takes themselves (RFC 8058), which only goes over https.
    OneClick,
}

impl Words {
    pub(super) fn reset(to: Email, team: Option<String>, url: String) -> Self {
        let team = named(team);
        let subject = format!("Choose another password for {team}");
        let lead = format!("Somebody, you we hope, asked for another password for {team}.");
        let rest = "The link works once, within a day. If it was not you, do nothing: your password stays as it is.";
        Self { to, team, subject, lead, action: "Choose another password", url, rest, choices: None }
    }

    pub(super) fn verification(to: Email, team: Option<String>, url: String) -> Self {
        let team = named(team);
        let subject = format!("Confirm your e-mail address for {team}");
        let lead = format!("An account of {team} has this address. Sign in and confirm that it is yours.");
        let rest = "The link works once, within a day. If you have no such account, do nothing.";
        Self { to, team, subject, lead, action: "Confirm the address", url, rest, choices: None }
    }

    pub(super) fn invitation(to: Email, team: Option<String>, url: String, organization: &str) -> Self {
        let (team, organization) = (named(team), foreign(organization));
        let subject = format!("{team}: you are invited to {organization}");
        let lead = format!("You are invited to join {organization} on {team}.");
        let rest =
            "The link works once, within 7 days, for this e-mail address. If you expect no invitation, do nothing.";
        Self { to, team, subject, lead, action: "Join", url, rest, choices: None }
    }

    fn text(&self) -> String {
        let Self { lead, action, url, rest, team, .. } = self;
        let choices = self.choices.as_ref().map_or_else(String::new, |Choices { settings, refuse, .. }| {
            format!("\nChoose which mails you get:\n{settings}\n\nGet no more of them:\n{refuse}\n")
        });
        format!("{lead}\n\n{action}:\n{url}\n\n{rest}\n{choices}\n{team}\n")
    }

    fn html(&self) -> String {
        let [lead, url, team] = [&self.lead, &self.url, &self.team].map(|text| escape(text));
        let Self { action, rest, .. } = self;
        let choices = self.choices.as_ref().map_or_else(String::new, |Choices { settings, refuse, .. }| {
            let [settings, refuse] = [settings, refuse].map(|url| escape(url));
            format!(
                " <a href=\"{settings}\">Choose which mails you get</a>, or <a href=\"{refuse}\">get no more of them</a>."
            )
        });
        format!(
            "<!doctype html>\n<html lang=\"en\"><body style=\"font-family: sans-serif; line-height: 1.5; max-width: 34em\">\n\
             <p>{lead}</p>\n<p><a href=\"{url}\">{action}</a></p>\n<p style=\"color: #555\">{rest}{choices}</p>\n<p>{team}</p>\n\
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
    let mut message = Message::builder()
        .from(Mailbox::new(Some(name), from.email.clone()))
        .to(Mailbox::new(None, to))
        .subject(words.subject.clone())
        .message_id(Some(id))
        .multipart(MultiPart::alternative_plain_html(words.text(), words.html()))?;
    if let Some(choices) = words.choices.as_ref().filter(|choices| choices.button != Button::None) {
        let mut set = |name, value| message.headers_mut().insert_raw(HeaderValue::new(name, value));
        set(HeaderName::new_from_ascii_str("List-Unsubscribe"), format!("<{}>", choices.refuse));
        if choices.button == Button::OneClick {
            let one_click = "List-Unsubscribe=One-Click".to_owned();
            set(HeaderName::new_from_ascii_str("List-Unsubscribe-Post"), one_click);
        }
    }
    Ok(message)
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

    #[test]
    fn mail_programs_are_told_how_to_get_no_more_where_they_reach_this_server() {
        let mut words = Words::reset(Email::new("ann@example.com").unwrap(), None, "https://x/portal".to_owned());
        let refuse = format!("https://usage.example.com/unsubscribe?token=mgu_{}", "0".repeat(144));
        for (button, is_named, is_one_click) in
            [(Button::None, false, false), (Button::Page, true, false), (Button::OneClick, true, true)]
        {
            let settings = "https://usage.example.com/portal/notifications?org=acme&a=<".to_owned();
            words.choices = Some(Choices { settings, refuse: refuse.clone(), button });
            let text = message(&words);
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let head = head.replace("\r\n ", " ");
            let said = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            assert_eq!(said("List-Unsubscribe:"), is_named.then_some(&*format!("<{refuse}>")), "{button:?}: {head}");
            assert_eq!(said("List-Unsubscribe-Post:"), is_one_click.then_some("List-Unsubscribe=One-Click"), "{head}");
            assert!(words.text().contains(&format!("\n{refuse}\n")), "{}", words.text());
            assert!(words.html().contains("acme&amp;a=&lt;"), "{}", words.html());
        }
        words.choices = None;
        assert!(!message(&words).contains("unsubscribe"), "a letter that was asked for");
    }
}
