//! What the API answers, as far as pages show it. Quantities are decimal text (`?numbers=string`), times RFC 3339.

use serde::Deserialize;

mod audit;
mod catalog;
mod explain;
mod fleet;
mod forecast;
mod notifications;
mod organization;
mod people;
mod prices;
mod subscription;
mod webhooks;
mod what_if;

pub use audit::{AuditEntry, Finding, Head, Resolution, Verification};
pub use catalog::{LimitSpec, Meter, Plan, TrialSpec};
pub(crate) use catalog::{name_of, unit_of};
pub use explain::{Explanation, MeterExplanation, WindowExplanation};
pub use fleet::{Fleet, FleetDay, FleetMeter, InFleet, Leading, RefusedMost};
pub use forecast::{Forecast, MeterForecast, Point, WindowForecast};
pub use notifications::Notifications;
pub use organization::{
    Cycle, Extra, Grant, Lock, MeterStanding, Organization, Period, Quota, QuotaLimit, ScheduledPlan, Standings,
    UsageRow,
};
pub use people::{Administrator, Invitation};
pub(crate) use prices::dollars;
pub use prices::{Price, Prices, Repriced, RepricedModel, RepricedOrganization, UnpricedRow};
pub use subscription::{Offer, StripeEvent, Subscription};
pub use webhooks::{WebhookAttempt, WebhookDelivery, WebhookEndpoint};
pub use what_if::{
    Job, JobProgress, WhatIf, WhatIfDay, WhatIfEstimate, WhatIfLate, WhatIfLateMeter, WhatIfLimit, WhatIfMeter,
    WhatIfOrganization,
};

/// A list, and from where it goes on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paged<T> {
    /// This page of it.
    pub data: Vec<T>,
    /// What asks for the next page; none at the end.
    pub next_cursor: Option<String>,
}

/// Why the API did not do what was asked (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    /// What is wrong, and what to do.
    #[serde(default)]
    pub detail: String,
    /// The kind of error, for programs.
    #[serde(default)]
    pub code: String,
    /// What is wrong where.
    #[serde(default)]
    pub errors: Vec<Fault>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    /// What to do about it.
    pub detail: String,
    /// Where: `#/` and the names on the way to it.
    pub pointer: String,
}

/// Who looks.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The name of the user, or `portal`.
    pub name: String,
    /// The id of the only organization that they reach.
    pub organization: Option<String>,
    /// Whether they may do what operators do.
    pub operator: bool,
    /// The user; none in a portal.
    pub user: Option<User>,
    /// Where that user is an active member.
    #[serde(default)]
    pub organizations: Vec<Membership>,
}

impl Me {
    /// Nobody.
    pub const fn nobody() -> Self {
        Self { name: String::new(), organization: None, operator: false, user: None, organizations: Vec::new() }
    }

    /// The address by which the user signs in; nothing in a portal.
    pub fn email(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.email)
    }
}

/// A user.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    pub(crate) created_at: String,
}

/// An organization of a user, and what they may do there.
#[derive(Clone, Debug, Deserialize)]
pub struct Membership {
    /// The organization's id.
    pub id: String,
    /// Its key.
    pub key: String,
    pub(crate) name: String,
    /// `viewer`, `editor`, `admin` or `owner`.
    pub role: String,
}

/// The team's settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub(crate) team_name: Option<String>,
    pub(crate) logo_url: Option<String>,
    pub(crate) color: Option<String>,
    pub(crate) contact: Option<String>,
    pub(crate) bring_forward_months: u32,
}

/// A member of an organization.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) active: bool,
    pub(crate) created_at: String,
}

/// An API key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) organization: Option<String>,
    pub(crate) created_at: String,
    pub(crate) created_by: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) revoked_at: Option<String>,
    pub(crate) replaces: Option<String>,
    /// The key itself, where it was just made.
    pub key: Option<String>,
}

impl Key {
    /// The id of the organization that it is bound to.
    pub fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    /// Who made it, as the audit log names them.
    pub fn maker(&self) -> Option<&str> {
        self.created_by.as_deref()
    }
}
