//! All organizations together.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::format::Amount;

/// The first of an order, and how many there are.
#[derive(Clone, Debug, Deserialize)]
pub struct Leading<T> {
    pub(crate) total: u64,
    pub(crate) data: Vec<T>,
}

/// One organization in a list of the fleet.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InFleet {
    pub(crate) organization: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) meter: String,
    #[serde(default)]
    pub(crate) window: String,
    #[serde(default)]
    pub(crate) remaining: Amount,
    #[serde(default)]
    pub(crate) percent: Amount,
    #[serde(default)]
    pub(crate) since: String,
    #[serde(default)]
    pub(crate) ends_at: String,
    #[serde(default)]
    pub(crate) refused: u64,
    #[serde(default)]
    pub(crate) used: Amount,
}

/// Who was refused most often.
#[derive(Clone, Debug, Deserialize)]
pub struct RefusedMost {
    pub(crate) since: String,
    #[serde(flatten)]
    pub(crate) leading: Leading<InFleet>,
}

/// What all used of a meter on a day.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetDay {
    pub(crate) date: String,
    pub(crate) count: i64,
    pub(crate) value: Option<Amount>,
}

/// A meter over all organizations.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetMeter {
    pub(crate) meter: String,
    pub(crate) organizations: Leading<InFleet>,
    pub(crate) days: Vec<FleetDay>,
}

/// All organizations together.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    pub(crate) as_of: String,
    pub(crate) complete: bool,
    pub(crate) organizations: u64,
    pub(crate) test_organizations: u64,
    pub(crate) unreadable: u64,
    pub(crate) by_status: BTreeMap<String, u64>,
    pub(crate) by_plan: BTreeMap<String, u64>,
    pub(crate) by_lock_cause: BTreeMap<String, u64>,
    pub(crate) close_to_limit: Leading<InFleet>,
    pub(crate) locked: Leading<InFleet>,
    pub(crate) in_trial: Leading<InFleet>,
    pub(crate) refused_most: RefusedMost,
    pub(crate) meters: Vec<FleetMeter>,
}
