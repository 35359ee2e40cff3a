//! The limits of an organization, where each comes from, and its credit.

use askama::Template;

use super::Head;
use crate::answers::{Grant, Meter, Paged, Quota, QuotaLimit, name_of, unit_of};
use crate::format::Amount;
use crate::forms::window_name;
use crate::frame::{Frame, Place};
use crate::pager::Pager;

/// What the tab shows.
pub struct LimitsParts {
    /// All meters.
    pub meters: Vec<Meter>,
    /// The limits.
    pub quota: Quota,
    /// A page of the credit.
    pub grants: Paged<Grant>,
    /// Whether it is not the first.
    pub is_later: bool,
}

/// The tab.
#[derive(Template)]
#[template(path = "organization/limits.html")]
pub struct LimitsTab {
    frame: Frame,
    head: Head,
    parts: LimitsParts,
    pager: Pager,
}

impl LimitsTab {
    /// The page.
    pub fn new(frame: Frame, head: Head, parts: LimitsParts, place: Place) -> Self {
        let title = format!("{} · Limits and credits", head.organization.name);
        let pager = Pager::of(&parts.grants, &format!("{}/limits", head.base), "", parts.is_later);
        Self { frame: frame.at(title, place), head, parts, pager }
    }

    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        name_of(&self.parts.meters, key)
    }

    /// What the figures of a meter count, unless they or the meter's name say so themselves.
    fn unit(&self, key: &str) -> Option<String> {
        let unit = unit_of(&self.parts.meters, key);
        let counted = crate::format::plural(unit);
        (unit != "byte" && !counted.is_empty() && !counted.eq_ignore_ascii_case(self.name(key))).then_some(counted)
    }

    /// Whether a meter is a level, such as bytes stored: no window brings that back to zero.
    fn is_level(&self, key: &str) -> bool {
        self.parts.meters.iter().any(|meter| meter.key == key && meter.aggregation == "last")
    }

    fn amount(&self, meter: &str, amount: &Amount) -> String {
        let unit = unit_of(&self.parts.meters, meter);
        amount.bare(unit)
    }

    fn optional(&self, meter: &str, amount: &Option<Amount>) -> String {
        amount.as_ref().map_or_else(|| "unlimited".to_owned(), |amount| self.amount(meter, amount))
    }

    fn window<'a>(&self, limit: &'a QuotaLimit) -> &'a str {
        if self.is_level(&limit.meter) { "At any time" } else { window_name(&limit.window) }
    }

    /// When time makes room.
    fn frees_up<'a>(&self, limit: &'a QuotaLimit) -> Option<&'a str> {
        limit.resets_at.as_deref().filter(|_| !self.is_level(&limit.meter))
    }

    fn percent(&self, limit: &QuotaLimit) -> Option<u32> {
        limit.limit.map(|most| limit.used.plus(limit.held).percent_of(most))
    }

    fn state_class(&self, grant: &Grant) -> &'static str {
        match grant.state.as_str() {
            "active" => "is-good",
            "pending" => "is-accent",
            _ => "",
        }
    }

    fn can_void(&self, grant: &Grant) -> bool {
        self.head.is_admin && matches!(grant.state.as_str(), "active" | "pending")
    }
}
