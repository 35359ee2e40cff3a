//! Kinds of values: how each is read from text, and shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::network::Networks;
use crate::mail::{Sender, Server};
use crate::redis::address::Address;

/// A text that must not be seen: it has neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for whoever must compare or send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Which rate headers decisions carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateHeaders {
    /// Both families.
    Both,
    /// `RateLimit` and `RateLimit-Policy`.
    Ietf,
    /// `X-RateLimit-…`.
    X,
    /// None.
    None,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// A kind of value that is one of a few words.
pub(super) trait Choice: Sized + Copy + PartialEq + 'static {
    const CHOICES: &'static [(&'static str, Self)];
}

impl Choice for RateHeaders {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("both", Self::Both), ("ietf", Self::Ietf), ("x", Self::X), ("none", Self::None)];
}

impl Choice for LogFormat {
    const CHOICES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Choice for bool {
    const CHOICES: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}

pub(super) fn choice<T: Choice>(text: &str) -> Result<T, String> {
    let words: Vec<&str> = T::CHOICES.iter().map(|(word, _)| *word).collect();
    let found = T::CHOICES.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("must be one of {}", words.join(", ")))
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    choice(text)
}

/// An empty text is no value.
pub(super) fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') { Err("must be a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}?#".contains(c));
    match rest {
        Some(host) if plain && !host.is_empty() && !host.starts_with('/') => Ok(text.to_owned()),
        _ => Err("must be an address such as https://usage.example.com, without query or fragment".to_owned()),
    }
}

/// Where a PostgreSQL database is.
pub(super) fn database(text: &str) -> Result<Secret, String> {
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(Secret::new(text.to_owned()));
    }
    Err("must be an address such as postgresql://user:password@host/database".to_owned())
}

/// The address of a provider, exactly as it stands in its tokens. What it says is believed, so nobody may change it on the way.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let issuer = url(text)?;
    let rest = issuer.strip_prefix("http://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(host, _)| host);
    if issuer.starts_with("https://") || ["127.0.0.1", "localhost", "[::1]"].contains(&host) {
        Ok(issuer)
    } else {
        Err("must be an https address; http is taken of this machine alone".to_owned())
    }
}

pub(super) fn printable(text: &str) -> Result<String, String> {
    let fits = text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("must have at most 255 printable ASCII characters, no spaces".to_owned())
    }
}

/// Where mail is handed over, which may hold a password.
pub(super) fn smtp(text: &str) -> Result<Secret, String> {
    Server::read(text).map(|_| Secret::new(text.to_owned())).map_err(|error| error.to_string())
}

/// An address to which people can answer, with a name or without.
pub(super) fn mailbox(text: &str) -> Result<String, String> {
    Sender::read(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// The address of a Redis, which may hold a password.
pub(super) fn redis(text: &str) -> Result<Secret, String> {
    Address::parse(text).map(|_| Secret::new(text.to_owned()))
}

/// What keys begin with. Braces would take the organization's place.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let rule = || "must be 1 to 64 letters, digits, hyphens, dots and underscores".to_owned();
    if fits { Ok(text.to_owned()) } else { Err(rule()) }
}

pub(super) fn long_secret(text: &str) -> Result<Secret, String> {
    secret_of(text, 32)
}

/// One that others chose, and that opens little.
pub(super) fn short_secret(text: &str) -> Result<Secret, String> {
    secret_of(text, 8)
}

/// Several that others chose, separated by commas.
pub(super) fn secrets(text: &str) -> Result<Secret, String> {
    text.split(',').try_for_each(|one| short_secret(one).map(drop))?;
    Ok(Secret::new(text.to_owned()))
}

fn secret_of(text: &str, least: usize) -> Result<Secret, String> {
    let fits = (least..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let rule = || format!("must have {least} to 255 printable ASCII characters, no spaces");
    if fits { Ok(Secret::new(text.to_owned())) } else { Err(rule()) }
}

/// A whole number in decimal digits, within bounds that are both allowed.
pub(super) fn whole<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u64>().ok().filter(|n| digits && (least..=most).contains(n));
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

pub(super) fn whole_or<T: TryFrom<u64>>(text: &str, least: u64, most: u64, or: impl Fn() -> T) -> Result<T, String> {
    if text.is_empty() { Ok(or()) } else { whole(text, least, most) }
}

pub(super) fn seconds(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    whole(text, least, most).map(Duration::from_secs)
}

pub(super) fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be error, warn, info, debug, trace, or a filter such as info,metergate=debug".to_owned()),
    }
}

/// How a value is shown to people; a secret only says whether it is there.
pub(super) trait Show {
    fn show(&self) -> String;
}

macro_rules! shown {
    ($($type:ty: $show:expr),+ $(,)?) => {
        $(impl Show for $type {
            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }
        })+
    };
}

fn word<T: Choice>(value: &T) -> String {
    T::CHOICES.iter().find(|(_, other)| other == value).map_or_else(String::new, |(word, _)| (*word).to_owned())
}

shown! {
    SocketAddr: ToString::to_string,
    PathBuf: |path| path.display().to_string(),
    String: Clone::clone,
    u32: ToString::to_string,
    u64: ToString::to_string,
    usize: ToString::to_string,
    bool: word,
    RateHeaders: word,
    LogFormat: word,
    Networks: ToString::to_string,
    Duration: |duration| duration.as_secs().to_string(),
    Secret: |_| "(set)".to_owned(),
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "(not set)".to_owned(), Show::show)
    }
}
