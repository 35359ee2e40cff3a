//! The list of organizations.

use std::collections::BTreeMap;

use askama::Template;

use crate::answers::{Meter, Organization, Paged, Plan, UsageRow};
use crate::chart::Sparkline;
use crate::format::{self, Amount, Markup, Zone};
use crate::frame::{Frame, Place};
use crate::pager::Pager;
use crate::range;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What key or name begins with.
    pub search: String,
    /// `trial`, `active`, `past_due`, `canceled`, or any.
    pub status: String,
    /// A plan's key, or any.
    pub plan: String,
    /// `true`, `false`, the cause of a lock, or whatever.
    pub locked: String,
    /// In which order.
    pub sort: String,
    /// The meter of which use is shown.
    pub meter: String,
    /// Whether this is not the list's beginning.
    pub is_later: bool,
}

impl Filter {
    /// As a query for the API, which knows nothing of what is shown beside.
    pub fn asked(&self) -> String {
        let asked = Self { meter: String::new(), ..self.clone() };
        // The API asks for that a lock is there, and for its cause, under two names.
        let by = if matches!(self.locked.as_str(), "" | "true" | "false") { "locked" } else { "lockedBy" };
        asked.pairs(by)
    }

    /// As a query, for an address that shows the same.
    pub fn query(&self) -> String {
        self.pairs("locked")
    }

    fn pairs(&self, locked: &str) -> String {
        let pairs = [
            ("search", &self.search),
            ("status", &self.status),
            ("plan", &self.plan),
            (locked, &self.locked),
            ("sort", &self.sort),
            ("meter", &self.meter),
        ];
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={}", in_query(value))).collect::<Vec<_>>().join("&")
    }

    fn is_all(&self) -> bool {
        [&self.search, &self.status, &self.plan, &self.locked].into_iter().all(String::is_empty)
    }
}

/// A text in a query.
pub fn in_query(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => written.push(char::from(byte)),
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

/// Days of use that the list shows.
const DAYS: i64 = 14;

/// What the organizations of a page used of one meter lately.
pub struct Lately {
    meters: Vec<Meter>,
    meter: Option<Meter>,
    from: String,
    to: String,
    use_of: BTreeMap<String, Vec<Amount>>,
}

impl Lately {
    /// Of the meter that is asked for, else of API calls, else of the first that adds up.
    pub fn new(meters: Vec<Meter>, asked: &str, now: &str) -> Self {
        let adds_up = |meter: &&Meter| matches!(meter.aggregation.as_str(), "sum" | "count");
        let named = |key: &str| meters.iter().filter(adds_up).find(|meter| meter.key == key);
        let meter = named(asked).or_else(|| named("api_calls")).or_else(|| meters.iter().find(adds_up)).cloned();
        let (from, to) = range::last_days(&Zone::utc(), now, DAYS);
        Self {
            meters: meters.into_iter().filter(|meter| adds_up(&meter)).collect(),
            meter,
            from,
            to,
            use_of: BTreeMap::new(),
        }
    }

    /// What to ask the API for; nothing where there is nobody, or no meter.
    pub fn query(&self, page: &Paged<Organization>) -> Option<String> {
        let meter = in_query(&self.meter.as_ref().filter(|_| !page.data.is_empty())?.key);
        let keys = page.data.iter().map(|one| format!("organization={}&", in_query(&one.key))).collect::<String>();
        let (from, to) = (in_query(&self.from), in_query(&self.to));
        let span = format!("from={from}&to={to}&granularity=day&timeZone=UTC&dense=true");
        Some(format!("/v1/usage?{keys}meter={meter}&{span}&numbers=string"))
    }

    /// With what was answered.
    #[must_use]
    pub fn with(mut self, rows: Vec<UsageRow>) -> Self {
        for row in rows {
            self.use_of.entry(row.organization).or_default().push(row.value);
        }
        self
    }

    /// The line of one organization.
    fn line(&self, organization: &Organization) -> Markup {
        let (Some(values), Some(meter)) = (self.use_of.get(&organization.key), &self.meter) else {
            return Markup::default();
        };
        let total: Amount = values.iter().copied().sum();
        Sparkline { values, text: &total.compact(&meter.unit) }.markup()
    }

    fn is_meter(&self, key: &str) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.key == key)
    }

    fn name(&self) -> &str {
        self.meter.as_ref().map_or("", |meter| &meter.name)
    }
}

/// The list.
#[derive(Template)]
#[template(path = "organizations.html")]
pub struct Organizations {
    frame: Frame,
    page: Paged<Organization>,
    plans: Vec<Plan>,
    filter: Filter,
    lately: Lately,
    error: Option<String>,
    pager: Pager,
}

impl Organizations {
    /// The page; `error` is why nothing could be looked for.
    pub fn new(
        frame: Frame,
        page: Paged<Organization>,
        plans: Vec<Plan>,
        filter: Filter,
        lately: Lately,
        error: Option<String>,
    ) -> Self {
        let pager = Pager::of(&page, "/admin/organizations", &filter.query(), filter.is_later);
        Self { frame: frame.at("Organizations", Place::Organizations), page, plans, filter, lately, error, pager }
    }

    fn statuses(&self) -> [(&'static str, &'static str); 5] {
        [("", "Any"), ("trial", "Trial"), ("active", "Active"), ("past_due", "Past due"), ("canceled", "Canceled")]
    }

    fn locks(&self) -> [(&'static str, &'static str); 6] {
        [
            ("", "Either"),
            ("true", "Locked"),
            ("false", "Not locked"),
            ("operator", "By the operator"),
            ("trial", "By the end of the trial"),
            ("billing", "By billing"),
        ]
    }

    fn sorts(&self) -> [(&'static str, &'static str); 2] {
        [("", "By key"), ("-createdAt", "Newest first")]
    }

    fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, &self.frame.now, &Zone::utc())
    }
}

/// What a status is called.
pub(crate) fn status_name(status: &str) -> &str {
    match status {
        "trial" => "Trial",
        "active" => "Active",
        "past_due" => "Past due",
        "canceled" => "Canceled",
        other => other,
    }
}

/// A word of the API as a badge has it: "Past due" of `past_due`.
pub(crate) fn sentence(word: &str) -> String {
    let words = word.replace('_', " ");
    let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}", first.to_uppercase())
}

/// Who or what has locked an organization, as a sentence goes on after "locked by".
pub(crate) fn cause_name(cause: &str) -> &str {
    match cause {
        "operator" => "the operator",
        "trial" => "the end of the trial",
        "billing" => "billing",
        other => other,
    }
}

/// The class that colours it.
pub(crate) fn status_class(status: &str) -> &'static str {
    match status {
        "active" => "is-good",
        "trial" => "is-accent",
        "past_due" => "is-warn",
        _ => "",
    }
}
