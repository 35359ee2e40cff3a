//! Meters and plans.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::format::Amount;

/// A meter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meter {
    /// Its key.
    pub key: String,
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) event_type: String,
    pub(crate) aggregation: String,
    pub(crate) decimals: u8,
    pub(crate) value_property: String,
    /// The properties by which its use can be grouped.
    pub dimensions: Vec<String>,
    pub(crate) record: bool,
}

impl Meter {
    /// What it counts, in the singular.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What is known of a meter beside its definition.
    pub(crate) fn known(key: &str, name: &str, unit: &str, aggregation: &str, dimensions: &[String]) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            event_type: String::new(),
            aggregation: aggregation.to_owned(),
            decimals: 0,
            value_property: String::new(),
            dimensions: dimensions.to_vec(),
            record: true,
        }
    }
}

/// A meter's name for people; its key where it is not known.
pub(crate) fn name_of<'a>(meters: &'a [Meter], key: &'a str) -> &'a str {
    meters.iter().find(|meter| meter.key == key).map_or(key, |meter| &meter.name)
}

/// What a meter counts; nothing where it is not known.
pub(crate) fn unit_of<'a>(meters: &'a [Meter], key: &str) -> &'a str {
    meters.iter().find(|meter| meter.key == key).map_or("", |meter| &meter.unit)
}

/// A plan's limit.
#[derive(Clone, Debug, Deserialize)]
pub struct LimitSpec {
    pub(crate) meter: String,
    pub(crate) window: String,
    #[serde(default)]
    pub(crate) max: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) unlimited: bool,
    #[serde(default)]
    pub(crate) enforcement: Option<String>,
}

impl LimitSpec {
    /// The most that may be used; nothing where it is unlimited.
    pub(crate) fn max(&self) -> Option<Amount> {
        self.max.as_deref().filter(|_| !self.unlimited).and_then(|max| Amount::parse(max.get()))
    }
}

/// A plan's trial.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialSpec {
    pub(crate) days: u32,
    pub(crate) on_end: Value,
}

/// A plan in one version.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its key.
    pub key: String,
    pub(crate) version: u32,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) limits: Vec<LimitSpec>,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) trial: Option<TrialSpec>,
    #[serde(default)]
    pub(crate) other_meters: Option<String>,
    #[serde(default)]
    pub(crate) cycle: Option<String>,
    pub(crate) created_at: String,
}

impl Plan {
    /// Its name for people.
    pub(crate) fn title(&self) -> &str {
        self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.key)
    }
}
