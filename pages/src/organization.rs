//! One organization: for operators, and for its own members.

use crate::answers::Organization;
use crate::format::{self, Markup, Zone};
use crate::frame::Frame;

mod explain;
mod forecast;
mod limits;
mod usage;

pub use explain::Explain;
pub use forecast::forecasts;
pub use limits::{LimitsParts, LimitsTab};
pub(crate) use usage::RANGES;
pub use usage::{Choice, UsageParts, UsageTab, on_dates};

/// What stands above every tab.
#[derive(Clone, Debug)]
pub struct Head {
    /// The organization.
    pub organization: Organization,
    /// The address of its page.
    pub base: String,
    tab: &'static str,
    pub(crate) is_admin: bool,
    pub(crate) can_change: bool,
    pub(crate) contact: Option<String>,
    now: String,
}

impl Head {
    /// Above a tab of the page at an address. `role` is what whoever looks may do in it, where they are a member.
    pub fn new(frame: &Frame, organization: Organization, base: String, role: Option<&str>, tab: &'static str) -> Self {
        let is_operator = frame.is_operator();
        Self {
            is_admin: base.starts_with("/admin"),
            can_change: is_operator || matches!(role, Some("admin" | "owner")),
            contact: frame.team.contact.clone(),
            now: frame.now.clone(),
            organization,
            base,
            tab,
        }
    }

    /// The zone of its days and periods.
    pub(crate) fn zone(&self) -> Zone {
        Zone::new(&self.organization.time_zone)
    }

    /// Whether the page is the portal's, which names the organization in the query.
    pub(crate) fn is_portal(&self) -> bool {
        self.base == "/portal"
    }

    /// The time by its own clock.
    pub(crate) fn now(&self) -> &str {
        self.organization.clock.as_deref().unwrap_or(&self.now)
    }

    /// Whether the team keeps something with it.
    pub(crate) fn has_metadata(&self) -> bool {
        self.organization.metadata.as_object().is_some_and(|metadata| !metadata.is_empty())
    }

    /// The days of its open billing period.
    pub(crate) fn period(&self) -> String {
        let period = &self.organization.current_period;
        format::days(&period.start, &period.end, &self.zone(), self.zone().year(self.now()))
    }

    pub(crate) fn moment(&self, time: &str) -> Markup {
        format::moment_tag(time, &self.zone())
    }

    pub(crate) fn date(&self, time: &str) -> Markup {
        format::date_tag(time, &self.zone())
    }

    pub(crate) fn relative(&self, time: &str) -> Markup {
        format::relative_tag(time, self.now(), &self.zone())
    }

    /// The tabs: address, name, whether it is this one.
    pub(crate) fn tabs(&self) -> Vec<(String, &'static str, bool)> {
        let all = [
            ("", "Usage", true),
            ("limits", "Limits and credits", true),
            ("cycle", "Billing cycle", true),
            ("subscription", "Subscription", true),
            ("members", "Members", true),
            ("keys", "API keys", self.can_change),
            ("audit", "Audit log", self.can_change),
        ];
        let tab = |(tab, name, _): (&'static str, &'static str, bool)| {
            let href = if tab.is_empty() { self.base.clone() } else { format!("{}/{tab}", self.base) };
            (href, name, tab == self.tab)
        };
        all.into_iter().filter(|(.., is_shown)| *is_shown).map(tab).collect()
    }
}
