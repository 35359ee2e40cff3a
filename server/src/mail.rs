//! Mail to people (N5): a thread that sends the letters which wait ([`crate::people::letter`]), one node at a time.
//!
//! Notices about an organization are mails, too; they wait among the deliveries of messages (`notices.rs`).
//!
//! No request waits for it. A letter's link is made when it is sent; what fails is tried again for a day, ever more seldom. A
//! letter whose sending nobody heard the end of is sent again, with another link.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{SmtpTransport, Transport};
use tokio::sync::watch;

use crate::clock::boot;
use crate::http::auth::cookie::Cookies;
use crate::people::change::{PeopleAfter, PeopleCommand, PeopleRequest};
use crate::people::letter::LetterId;
use crate::people::token;
use crate::people::{Link, Opens};
use crate::store::{Answer, Caller, Job, Port, Scope, Store, StoreError};

mod notices;
mod written;

use written::{Words, written};

/// How often it is looked whether a letter is due.
const EVERY: Duration = Duration::from_millis(500);
/// How long the mail server may take for each thing it is told.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a failure that is the server's and no letter's, none is tried for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long is waited at the end for a letter that is being sent, in microseconds.
const FAREWELL: i64 = 2_000_000;

/// A setting about mail cannot be used. It is not shown: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSetting {
    /// Not an address of a mail server.
    #[error("must be smtp://user:password@host:587?tls=required, smtps://user:password@host:465 or smtp://host:25")]
    Server,
    /// A password would be sent for everybody to read.
    #[error("must have ?tls=required or begin with smtps:// where a password is sent to another machine")]
    Open,
    /// Not an address to send from.
    #[error("must be an address such as usage@example.com or \"Usage <usage@example.com>\"")]
    Sender,
}

/// The mail server that takes letters.
#[derive(Clone)]
pub struct Server(SmtpTransport);

impl Server {
    /// Reads its address.
    ///
    /// # Errors
    /// [`InvalidSetting`] where it is none, or a password would be sent for everybody to read.
    pub fn read(url: &str) -> Result<Self, InvalidSetting> {
        let rest =
            url.strip_prefix("smtp://").or_else(|| url.strip_prefix("smtps://")).ok_or(InvalidSetting::Server)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (has_password, place) = authority.rsplit_once('@').map_or((false, authority), |(_, place)| (true, place));
        let host = place.trim_end_matches('/');
        let host = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(host, _)| host);
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !is_plain || !["", "tls=required", "tls=opportunistic"].contains(&query) {
            return Err(InvalidSetting::Server);
        }
        let is_secret = url.starts_with("smtps://") || query == "tls=required";
        if has_password && !is_secret && !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
            return Err(InvalidSetting::Open);
        }
        let transport = SmtpTransport::from_url(url).map_err(|_| InvalidSetting::Server)?;
        Ok(Self(transport.timeout(Some(PATIENCE)).build()))
    }
}

/// Whom mail is from.
#[derive(Clone, Debug)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads an address, with a name or without.
    ///
    /// # Errors
    /// [`InvalidSetting::Sender`] where it is none.
    pub fn read(text: &str) -> Result<Self, InvalidSetting> {
        let plain = !text.chars().any(char::is_control) && text.len() <= 320;
        text.parse().ok().filter(|_| plain).map(Self).ok_or(InvalidSetting::Sender)
    }
}

/// The thread.
pub struct Mailing(JoinHandle<()>);

impl Mailing {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn start(
        store: Arc<Store>,
        links: Cookies,
        server: Server,
        sender: Sender,
        stop: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let post = Post { port: store.port(), store, links, server, sender };
            runtime.block_on(post.keep(stop));
            // A letter that is on its way to a server that does not answer holds up no end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("mail".to_owned()).spawn(run).map(Self)
    }

    /// Waits for it a moment, once it has been told to stop.
    pub fn stop(self) {
        let began = boot();
        while !self.0.is_finished() && boot() - began < FAREWELL {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What sending takes.
struct Post {
    store: Arc<Store>,
    port: Port,
    links: Cookies,
    server: Server,
    sender: Sender,
}

/// What became of a letter.
enum Sent {
    /// It was handed over, or nobody needs it any more.
    Done,
    /// No try would be another: the server refuses this letter.
    Never(String),
    /// A later try may be.
    Later(String),
}

impl Post {
    async fn keep(&self, mut stop: watch::Receiver<bool>) {
        let receiving = tokio::spawn(self.port.clone().receive());
        while !*stop.borrow() {
            let mut rest = EVERY;
            if self.due().is_some() || self.notices().await.is_ok_and(|due| !due.is_empty()) {
                // While another node sends, this one only looks again.
                if let Ok(Some(_turn)) = self.store.turn(Job::Mail).await {
                    tokio::select! {
                        failed = self.send_due() => if failed { rest = AFTER_FAILURE },
                        _ = stop.changed() => break,
                    }
                }
            }
            if let Ok(Err(_)) = tokio::time::timeout(rest, stop.changed()).await {
                break;
            }
        }
        receiving.abort();
    }

    /// The letter that has waited longest of those that are due.
    fn due(&self) -> Option<LetterId> {
        let (people, now) = (self.store.people(), self.store.now());
        let due = people.letters().filter(|letter| letter.due_at <= now);
        due.min_by_key(|letter| letter.due_at).map(|letter| letter.id)
    }

    /// Sends what is due, until the server fails. Whether it did. Somebody waits for a letter, so each goes before all notices,
    /// also before those that were due when it was asked for.
    async fn send_due(&self) -> bool {
        loop {
            if self.send_all().await || self.send_notices().await {
                return true;
            } else if self.due().is_none() {
                return false;
            }
        }
    }

    /// Sends the letters that are due, until the server fails. Whether it did.
    async fn send_all(&self) -> bool {
        while let Some(letter) = self.due() {
            match self.send(letter).await {
                Ok(Sent::Done) => {}
                Ok(Sent::Never(why)) => tracing::warn!(why, "a mail was refused for good, and is not sent"),
                Ok(Sent::Later(why)) => {
                    tracing::warn!(why, "a mail could not be sent; it is tried again");
                    return true;
                }
                Err(error) => {
                    tracing::warn!(%error, "a mail could not be prepared; it is tried again");
                    return true;
                }
            }
        }
        false
    }

    async fn send(&self, letter: LetterId) -> Result<Sent, StoreError> {
        let (token, hash) = token::generate();
        self.change(PeopleCommand::BeginLetter(letter, hash)).await?;
        let Some(link) = self.store.people().link(&hash, self.store.now()).cloned() else { return Ok(Sent::Done) };
        let Some(words) = self.words(&link, &token).await? else { return Ok(Sent::Done) };
        let sent = self.hand_over(&words).await?;
        if !matches!(sent, Sent::Later(_)) {
            self.change(PeopleCommand::EndLetter(letter)).await?;
        }
        Ok(sent)
    }

    /// Hands a mail over to the server.
    async fn hand_over(&self, words: &Words) -> Result<Sent, StoreError> {
        let message = match written(&self.sender.0, words) {
            Ok(message) => message,
            Err(error) => return Ok(Sent::Never(error.to_string())),
        };
        let server = self.server.0.clone();
        match tokio::task::spawn_blocking(move || server.send(&message)).await {
            Ok(Ok(_)) => Ok(Sent::Done),
            Ok(Err(error)) if is_final(&error) => Ok(Sent::Never(shown(&error))),
            Ok(Err(error)) => Ok(Sent::Later(shown(&error))),
            Err(_) => Err(StoreError::Internal),
        }
    }

    /// What the mail with a link says, and to whom.
    async fn words(&self, link: &Link, token: &str) -> Result<Option<Words>, StoreError> {
        let (people, catalogue) = (self.store.people(), self.store.catalogue());
        let url = |page: &str| self.links.link(page, token).map_err(|_| StoreError::Unavailable);
        let team = catalogue.stored.settings.team_name.clone();
        let address = |user| people.user(user).map(|user| user.email.clone());
        Ok(match &link.opens {
            Opens::Reset(user) => match address(*user) {
                Some(to) => Some(Words::reset(to, team, url("/reset")?)),
                None => None,
            },
            Opens::Verify(_, to) => Some(Words::verification(to.clone(), team, url("/verify")?)),
            Opens::Invitation { organization, email, .. } => {
                let id = metergate_rules::id::OrganizationRef::Id(*organization);
                let read = self.store.reader().read(move |view| view.account(Scope::Team, &id));
                let name = read.await?.profile.name.clone();
                Some(Words::invitation(email.clone(), team, url("/join")?, &name))
            }
            Opens::SignIn(_) => None,
        })
    }

    async fn change(&self, command: PeopleCommand) -> Result<(), StoreError> {
        let caller = Caller { scope: Scope::Team, actor: Arc::from("system") };
        let respond = Arc::new(|_: &PeopleAfter<'_>| Answer { status: 204, body: Vec::new(), version: None });
        let request = PeopleRequest::new(caller, None, command, respond);
        self.store.change_people(&self.port, request).await.map(drop)
    }
}

/// Whether the server refuses the letter itself. What it says of who sends it (530 to 538) an operator can mend.
fn is_final(error: &lettre::transport::smtp::Error) -> bool {
    let of_sender = error.status().is_some_and(|code| (530..540).contains(&u16::from(code)));
    error.is_permanent() && !of_sender
}

/// Without what a server may have said of the address.
fn shown(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {}", u16::from(code)),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_only_where_nobody_else_can_read_it() {
        let cases = [
            ("smtp://127.0.0.1:2525", Ok(())),
            ("smtp://user:secret@127.0.0.1:2525", Ok(())),
            ("smtp://user:secret@[::1]:2525", Ok(())),
            ("smtp://mail.example.com:25", Ok(())),
            ("smtps://user:secret@mail.example.com:465", Ok(())),
            ("smtp://user:s%40cret@mail.example.com:587?tls=required", Ok(())),
            ("smtp://user:secret@mail.example.com:587", Err(InvalidSetting::Open)),
            ("smtp://user:secret@mail.example.com:587?tls=opportunistic", Err(InvalidSetting::Open)),
            ("smtp://user:secret@mail.example.com:587?tls=none", Err(InvalidSetting::Server)),
            ("smtp://", Err(InvalidSetting::Server)),
            ("mail.example.com", Err(InvalidSetting::Server)),
            ("smtp://mail example.com", Err(InvalidSetting::Server)),
            ("http://mail.example.com", Err(InvalidSetting::Server)),
        ];
        for (url, expected) in cases {
            assert_eq!(Server::read(url).map(drop), expected, "{url}");
        }
    }

    #[test]
    fn a_sender_is_an_address_with_a_name_or_without() {
        for good in ["usage@example.com", "Usage <usage@example.com>"] {
            assert!(Sender::read(good).is_ok(), "{good}");
        }
        for bad in ["", "usage", "Usage <usage>", "usage@example.com\r\nBcc: eve@example.com"] {
            assert!(Sender::read(bad).is_err(), "{bad:?}");
        }
    }
}
