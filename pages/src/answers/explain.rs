//! How figures came about.

use serde::Deserialize;

use super::{AuditEntry, Grant};
use crate::format::Amount;
use crate::who::Names;

/// One window of a meter, and what its figures are made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowExplanation {
    pub(crate) window: String,
    pub(crate) start: Option<String>,
    pub(crate) reset_at: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) enforcement: Option<String>,
    pub(crate) unlimited: bool,
    pub(crate) max: Option<Amount>,
    pub(crate) lifted: bool,
    pub(crate) extra: Amount,
    pub(crate) used: Amount,
    pub(crate) from_grants: Amount,
    pub(crate) held: Amount,
    pub(crate) held_from_grants: Amount,
    pub(crate) limit: Option<Amount>,
    pub(crate) remaining: Option<Amount>,
    pub(crate) overage: Amount,
}

/// One meter, explained.
#[derive(Clone, Debug, Deserialize)]
pub struct MeterExplanation {
    pub(crate) meter: String,
    pub(crate) entitled: bool,
    pub(crate) grants: Vec<Grant>,
    pub(crate) windows: Vec<WindowExplanation>,
}

/// How an organization's figures came about.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub(crate) at: String,
    pub(crate) plan: String,
    pub(crate) plan_name: String,
    pub(crate) plan_version: u32,
    pub(crate) status: String,
    pub(crate) locked: bool,
    pub(crate) meters: Vec<MeterExplanation>,
    pub(crate) audit: Vec<AuditEntry>,
}

impl Explanation {
    /// Everybody whom the entries behind it name.
    pub fn actors(&self) -> impl Iterator<Item = String> {
        self.audit.iter().flat_map(AuditEntry::actors)
    }

    /// With what the plans are called that it names.
    pub fn naming(&self, names: Names) -> Names {
        names.with_plans_of(&self.audit).with_plan(&self.plan, &self.plan_name)
    }
}
