//! Members and API keys.

use askama::Template;

use crate::answers::{Invitation, Key, Member, Paged};
use crate::format::{self, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::organization::Head;
use crate::organizations::in_query;
use crate::pager::Pager;
use crate::who::Names;

/// What of a list is looked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Part of a name, an address, an id.
    pub search: String,
    /// Whether this is not the list's beginning.
    pub is_later: bool,
}

impl Search {
    /// As a query, for the API and for an address that shows the same; empty without one.
    pub fn query(&self) -> String {
        if self.search.is_empty() { String::new() } else { format!("search={}", in_query(&self.search)) }
    }
}

/// The field above a list by which one looks for something in it.
#[derive(Template)]
#[template(path = "search.html")]
struct Searching {
    address: String,
    looked_for: &'static str,
    search: String,
    /// Whether there is enough to look through.
    is_long: bool,
}

impl Searching {
    fn of<T>(page: &Paged<T>, address: &str, looked_for: &'static str, search: &Search) -> Self {
        let is_long =
            page.next_cursor.is_some() || search.is_later || !search.search.is_empty() || page.data.len() > FEW;
        Self { address: address.to_owned(), looked_for, search: search.search.clone(), is_long }
    }
}

/// So many are seen at a glance.
const FEW: usize = 10;

/// Invitations of an organization that are open.
#[derive(Default)]
pub struct Invited {
    /// They, or the first of them.
    pub invitations: Vec<Invitation>,
    /// Whether there are more, to be looked for.
    pub is_more: bool,
    /// Those who sent them, as far as whoever looks may know.
    pub names: Names,
}

/// The members of an organization, and who is invited to be one.
#[derive(Template)]
#[template(path = "organization/members.html")]
pub struct MembersTab {
    frame: Frame,
    head: Head,
    members: Vec<Member>,
    invited: Invited,
    searching: Searching,
    pager: Pager,
}

impl MembersTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, page: Paged<Member>, invited: Invited, search: &Search, place: Place) -> Self {
        let title = format!("{} · Members", head.organization.name);
        let address = format!("{}/members", head.base);
        let mut searching = Searching::of(&page, &address, "Name or e-mail address", search);
        searching.is_long |= invited.is_more;
        let pager = Pager::of(&page, &address, &search.query(), search.is_later);
        Self { frame: frame.at(title, place), head, members: page.data, invited, searching, pager }
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

/// A page of a list of keys.
pub struct FoundKeys {
    /// The keys.
    pub page: Paged<Key>,
    /// Those who made them, as far as whoever looks may know.
    pub names: Names,
}

/// Keys as a table.
#[derive(Template)]
#[template(path = "key_table.html")]
struct KeyTable {
    keys: Vec<Key>,
    names: Names,
    searching: Searching,
    pager: Pager,
    /// What an action's address begins with.
    actions: String,
    /// Whether they are those of all organizations, and not of one.
    is_of_all: bool,
    now: String,
    zone: Zone,
}

impl KeyTable {
    fn new(found: FoundKeys, address: &str, actions: String, now: String, zone: Zone, search: &Search) -> Self {
        let FoundKeys { page, names } = found;
        let searching = Searching::of(&page, address, "Name or id", search);
        let pager = Pager::of(&page, address, &search.query(), search.is_later);
        let is_of_all = actions == "/admin";
        Self { keys: page.data, names, searching, pager, actions, is_of_all, now, zone }
    }

    /// Whether there is none at all.
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.searching.search.is_empty() && self.pager.is_all()
    }

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
    pub fn new(frame: Frame, head: Head, found: FoundKeys, search: &Search, place: Place) -> Self {
        let title = format!("{} · API keys", head.organization.name);
        let (address, base) = (format!("{}/keys", head.base), head.base.clone());
        let table = KeyTable::new(found, &address, base, frame.now.clone(), head.zone(), search);
        Self { frame: frame.at(title, place), head, table }
    }
}

impl Keys {
    /// The page.
    pub fn new(frame: Frame, found: FoundKeys, search: &Search) -> Self {
        let table = KeyTable::new(found, "/admin/keys", "/admin".to_owned(), frame.now.clone(), Zone::utc(), search);
        Self { frame: frame.at("API keys", Place::Keys), table }
    }
}
