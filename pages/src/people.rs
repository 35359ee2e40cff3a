//! Members and API keys.

use askama::Template;

use crate::answers::{Key, Member};
use crate::format::{self, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organization::Head;

/// The members of an organization.
#[derive(Template)]
#[template(path = "organization/members.html")]
pub struct MembersTab {
    frame: Frame,
    head: Head,
    members: Vec<Member>,
}

impl MembersTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, members: Vec<Member>, place: Place) -> Self {
        let title = format!("{} · Members", head.organization.name);
        Self { frame: frame.at(title, place), head, members }
    }
}

/// The keys of an organization.
#[derive(Template)]
#[template(path = "organization/keys.html")]
pub struct KeysTab {
    frame: Frame,
    head: Head,
    table: KeyTable,
}

/// The keys of the team, and all others.
#[derive(Template)]
#[template(path = "keys.html")]
pub struct Keys {
    frame: Frame,
    table: KeyTable,
}

/// Keys as a table.
#[derive(Template)]
#[template(path = "key_table.html")]
struct KeyTable {
    keys: Vec<Key>,
    /// What an action's address begins with.
    actions: String,
    now: String,
    zone: Zone,
}

impl KeyTable {
    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.now, &self.zone)
    }

    fn date(&self, time: &str) -> Markup {
        format::date_tag(time, &self.zone)
    }

    fn is_over(&self, key: &Key) -> bool {
        let now: Option<jiff::Timestamp> = self.now.parse().ok();
        let ends = key.expires_at.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        ends.zip(now).is_some_and(|(ends, now)| ends <= now)
    }
}

impl KeysTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, keys: Vec<Key>, place: Place) -> Self {
        let title = format!("{} · API keys", head.organization.name);
        let table = KeyTable { keys, actions: head.base.clone(), now: frame.now.clone(), zone: head.zone() };
        Self { frame: frame.at(title, place), head, table }
    }
}

impl Keys {
    /// The page.
    pub fn new(frame: Frame, keys: Vec<Key>) -> Self {
        let table = KeyTable { keys, actions: "/admin".to_owned(), now: frame.now.clone(), zone: Zone::utc() };
        Self { frame: frame.at("API keys", Place::Keys), table }
    }
}
