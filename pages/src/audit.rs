//! The audit log: of the team, of an organization, and the check of its chains.

use askama::Template;

use crate::answers::{AuditEntry, Head as Signed, Paged, Verification};
use crate::format::{self, Markup, Zone, escape};
use crate::frame::{Frame, Place};
use crate::organization::Head;
use crate::organizations::{in_query, sentence};
use crate::who::Names;

mod told;

pub use told::label;

/// The categories of entries.
const CATEGORIES: [&str; 11] =
    ["quota", "usage", "billing", "trial", "config", "auth", "webhook", "knowledge_base", "chat", "error", "portal"];

/// An entry, as it is shown.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) entry: AuditEntry,
    zone: Zone,
}

impl Entry {
    pub(crate) const fn new(entry: AuditEntry, zone: Zone) -> Self {
        Self { entry, zone }
    }

    pub(crate) fn time(&self) -> Markup {
        format::moment_tag(&self.entry.time, &self.zone)
    }

    /// Who did what, as a sentence; of an action that is not Metergate's own, its name.
    pub(crate) fn told(&self, names: &Names) -> Markup {
        let subject = self.entry.subject();
        let who = format!(r#"<strong title="{}">{}</strong>"#, escape(&subject), escape(&names.name(&subject)));
        Markup::of(match told::said(&self.entry, names, &self.zone) {
            Some(said) => format!("{who} {}", escape(&said)),
            None => format!(r#"{who}: <span class="mono">{}</span>"#, escape(&self.entry.action)),
        })
    }

    /// What more there is to say of who did it, such as their address.
    pub(crate) fn whose(&self, names: &Names) -> String {
        names.words(&self.entry.subject()).1
    }

    /// Its category, as people read it.
    pub(crate) fn category(&self) -> String {
        sentence(&self.entry.category)
    }

    pub(crate) fn at(&self, time: &str) -> Markup {
        format::moment_tag(time, &self.zone)
    }

    /// What it says in JSON, with its names: before, after, details.
    pub(crate) fn bodies(&self) -> Vec<(&'static str, String)> {
        let bodies = [("before", &self.entry.before), ("after", &self.entry.after), ("details", &self.entry.details)];
        let said = bodies.into_iter().filter(|(_, body)| body.as_object().is_some_and(|object| !object.is_empty()));
        said.map(|(name, body)| (name, serde_json::to_string_pretty(body).unwrap_or_default())).collect()
    }

    /// The first of the hash: enough to compare by eye.
    pub(crate) fn hash(&self) -> &str {
        self.entry.hash.get(..12).unwrap_or(&self.entry.hash)
    }
}

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// An organization's key; the team's own log where it is empty.
    pub organization: String,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// Of which kind.
    pub category: String,
    /// From this day on.
    pub from: String,
    /// Up to this day, with it.
    pub to: String,
    /// Whether this is not the list's beginning.
    pub is_later: bool,
}

impl AuditFilter {
    fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("organization", &self.organization),
            ("actor", &self.actor),
            ("action", &self.action),
            ("category", &self.category),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }

    /// As a query for a page.
    pub fn query(&self) -> String {
        let given = self.pairs().into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={}", in_query(value))).collect::<Vec<_>>().join("&")
    }

    /// As a query for the API: days are those of a zone.
    pub fn asked(&self, zone: &Zone) -> String {
        let mut asked = Vec::new();
        for (name, value) in self.pairs().into_iter().filter(|(_, value)| !value.is_empty()) {
            let value = match name {
                "organization" => continue,
                "from" => crate::typed::instant(value, zone.name()),
                "to" => crate::range::last_days(zone, &crate::typed::instant(value, zone.name()), 1).1,
                _ => value.to_owned(),
            };
            asked.push(format!("{name}={}", in_query(&value)));
        }
        asked.join("&")
    }

    fn is_all(&self) -> bool {
        self.query().is_empty()
    }
}

/// A page of a log, or nothing and why.
pub struct Found {
    /// The entries.
    pub page: Paged<AuditEntry>,
    /// Those who made them, as far as whoever looks may know.
    pub names: Names,
    /// Why nothing could be looked for.
    pub error: Option<String>,
}

/// What a log's page shows.
struct Log {
    entries: Vec<Entry>,
    names: Names,
    filter: AuditFilter,
    next: Option<String>,
    /// The address of the page.
    address: String,
    /// Where the same is had as a file, without the format.
    export: String,
    /// Why nothing could be looked for.
    error: Option<String>,
}

impl Log {
    fn new(found: Found, filter: AuditFilter, zone: &Zone, address: String, api: &str) -> Self {
        let Found { page, names, error } = found;
        let entries = page.data.into_iter().map(|entry| Entry::new(entry, zone.clone())).collect();
        let (query, asked) = (filter.query(), filter.asked(zone));
        let joined = |query: &str| if query.is_empty() { String::new() } else { format!("{query}&") };
        let next = page.next_cursor.map(|cursor| format!("{address}?{}cursor={}", joined(&query), in_query(&cursor)));
        Self {
            entries,
            names,
            filter,
            next,
            export: format!("{api}?limit=200&{}format=", joined(&asked)),
            address,
            error,
        }
    }

    /// The actions to choose from, each with what it is called: Metergate's own, and others of the entries that are shown.
    fn actions(&self) -> Vec<(&str, &str)> {
        let shown: std::collections::BTreeSet<_> = self.entries.iter().map(|one| one.entry.action.as_str()).collect();
        let mut actions: Vec<(&str, &str)> = told::labels().collect();
        actions.extend(shown.into_iter().filter(|action| label(action).is_none()).map(|action| (action, "")));
        actions
    }

    fn categories(&self) -> [(&'static str, String); 11] {
        CATEGORIES.map(|category| (category, sentence(category)))
    }
}

/// The log of an organization, as a tab.
#[derive(Template)]
#[template(path = "organization/audit.html")]
pub struct AuditTab {
    frame: Frame,
    head: Head,
    log: Log,
    resolves: Option<String>,
}

impl AuditTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, found: Found, filter: AuditFilter, place: Place) -> Self {
        let frame = frame.at(format!("{} · Audit log", head.organization.name), place);
        let api = format!("/v1/organizations/{}/audit-log", head.organization.key);
        let log = Log::new(found, filter, &head.zone(), format!("{}/audit", head.base), &api);
        let resolves = frame.is_operator().then(|| format!("{}/do/resolve?entry=", head.base));
        Self { frame, head, log, resolves }
    }

    fn entries(&self) -> &[Entry] {
        &self.log.entries
    }

    const fn names(&self) -> &Names {
        &self.log.names
    }

    fn resolves(&self) -> Option<&str> {
        self.resolves.as_deref()
    }
}

/// The team's log, or that of the organization that is looked for.
#[derive(Template)]
#[template(path = "audit.html")]
pub struct Audit {
    frame: Frame,
    log: Log,
    resolves: Option<String>,
}

impl Audit {
    /// The page.
    pub fn new(frame: Frame, found: Found, filter: AuditFilter) -> Self {
        let frame = frame.at("Audit log", Place::Audit);
        let (api, resolves) = match filter.organization.as_str() {
            "" => ("/v1/audit-log".to_owned(), None),
            key => {
                let resolves = format!("/admin/do/resolve?organization={}&entry=", in_query(key));
                (format!("/v1/organizations/{}/audit-log", in_query(key)), Some(resolves))
            }
        };
        let log = Log::new(found, filter, &Zone::utc(), "/admin/audit".to_owned(), &api);
        Self { frame, log, resolves }
    }

    fn entries(&self) -> &[Entry] {
        &self.log.entries
    }

    const fn names(&self) -> &Names {
        &self.log.names
    }

    fn resolves(&self) -> Option<&str> {
        self.resolves.as_deref()
    }
}

/// What the check of all chains found.
#[derive(Template)]
#[template(path = "verify.html")]
pub struct Verify {
    frame: Frame,
    verification: Verification,
    head: Signed,
}

impl Verify {
    /// The page.
    pub fn new(frame: Frame, verification: Verification, head: Signed) -> Self {
        Self { frame: frame.at("Verification of the audit log", Place::Audit), verification, head }
    }

    fn time(&self, time: &str) -> Markup {
        format::moment_tag(time, &Zone::utc())
    }
}
