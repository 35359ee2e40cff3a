//! The catalogue file: meters, plans and prices as TOML.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::price::PriceSpec;
use super::spec::{MeterSpec, PlanSpec};

/// The file that is shipped, in force from the first start.
pub const SHIPPED: &str = include_str!("../../../catalogue.toml");

/// Meters and plans by key, and prices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    /// Meters by key.
    #[serde(default)]
    pub meters: BTreeMap<String, MeterSpec>,
    /// Plans by key.
    #[serde(default)]
    pub plans: BTreeMap<String, PlanSpec>,
    /// Prices of language models' tokens: those that it does not name stay.
    #[serde(default)]
    pub prices: Vec<PriceSpec>,
}

/// Why a text is not a catalogue: what, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue cannot be read: {0}")]
pub struct Unreadable(String);

impl CatalogueFile {
    /// Reads a catalogue file.
    ///
    /// # Errors
    /// [`Unreadable`] with the place and the reason.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| Unreadable(e.to_string()))?;
        refuse_floats("", &toml::Value::Table(table.clone()))?;
        // Through JSON text, so that requests and files share one form and one set of messages.
        let json = serde_json::to_string(&table).map_err(|e| Unreadable(e.to_string()))?;
        serde_json::from_str(&json).map_err(|e| Unreadable(e.to_string()))
    }
}

/// A float has lost what was written; decimals are written as text.
fn refuse_floats(path: &str, value: &toml::Value) -> Result<(), Unreadable> {
    match value {
        toml::Value::Float(float) => {
            Err(Unreadable(format!("{path}: write decimals as text, such as \"{float}\", so that they stay exact")))
        }
        toml::Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| refuse_floats(&format!("{path}[{i}]"), item))
        }
        toml::Value::Table(table) => {
            table.iter().try_for_each(|(name, item)| refuse_floats(&format!("{path}.{name}"), item))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_read() {
        let file = CatalogueFile::parse(SHIPPED).unwrap();
        assert_eq!(file.meters.len(), 11);
        assert_eq!(file.plans.keys().collect::<Vec<_>>(), ["enterprise", "free", "pro", "starter", "trial"]);
        let named = |model: &str| file.prices.iter().filter(|price| price.model == model).count();
        assert_eq!((named("gpt-4o"), named("claude-haiku-5-5"), named("gemini-2.5-pro")), (2, 2, 2));
        let current =
            ["gpt-6.2-sol", "gpt-6.1-terra", "gpt-6-luna", "claude-fable-5-2", "gemini-4-argon", "gpt-4-turbo"];
        assert_eq!(current.map(named), [2, 2, 2, 1, 2, 1]);
        super::super::price::table(&file.prices).unwrap();
        assert!(file.prices.iter().all(|price| price.source.is_some()), "each says where it comes from");
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_reason() {
        let cases = [
            ("[meters", "TOML"),
            ("[meters.a]\naggregation = \"sum\"\ncolour = 1", "unknown field `colour`"),
            ("[plans.a]\nlimits = [{ meter = \"a\", window = \"week\", max = 1 }]", "unknown variant `week`"),
            ("[plans.a]\nlimits = [{ meter = \"a\", window = \"day\", max = 1.5 }]", "write decimals as text"),
            ("[other]", "unknown field `other`"),
        ];
        for (text, reason) in cases {
            let error = CatalogueFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?} gave {error:?}, not {reason:?}");
        }
    }
}
