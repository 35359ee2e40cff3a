//! Prices of language models' tokens. What they are stands here as the API writes it: exact decimal text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON number, or a string, as it is read by people.
fn shown(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

/// The price of a model from a time on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The model, or how names begin and `*`.
    pub model: String,
    /// Whose.
    #[serde(default)]
    pub provider: Option<String>,
    /// From when.
    pub effective_from: String,
    #[serde(default)]
    pub(crate) input_above: Option<u64>,
    pub(crate) input: Box<RawValue>,
    #[serde(default)]
    pub(crate) cached_input: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) cache_write: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) output: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) source: Option<String>,
}

impl Price {
    /// Whether it is the one of this name; an empty part is none.
    pub fn is_named(&self, model: &str, provider: &str, from: &str, above: &str) -> bool {
        let own_above = self.input_above.map(|tokens| tokens.to_string()).unwrap_or_default();
        (self.model.as_str(), self.provider.as_deref().unwrap_or_default()) == (model, provider)
            && (self.effective_from.as_str(), own_above.as_str()) == (from, above)
    }

    /// The prices of the kinds of tokens in their order, empty where there is none.
    pub(crate) fn kinds(&self) -> [&str; 4] {
        [Some(&self.input), self.cached_input.as_ref(), self.cache_write.as_ref(), self.output.as_ref()]
            .map(|raw| raw.map_or("", |raw| shown(raw)))
    }
}

/// The table of prices.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prices {
    /// The prices.
    pub prices: Vec<Price>,
    pub(crate) version: u64,
    pub(crate) changed_at: Option<String>,
}

/// How often a model was used for which there was no price.
#[derive(Clone, Debug, Deserialize)]
pub struct UnpricedRow {
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) group: BTreeMap<String, Option<String>>,
}

/// What pricing again would change, or has changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repriced {
    pub(crate) dry_run: bool,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) checked: u64,
    /// Organizations of which something differs.
    pub differing: u64,
    pub(crate) failed: u64,
    pub(crate) complete_from: Option<String>,
    pub(crate) before: Box<RawValue>,
    pub(crate) after: Box<RawValue>,
    pub(crate) difference: Box<RawValue>,
    pub(crate) organizations: Vec<RepricedOrganization>,
}

impl Repriced {
    /// Whether it was only said.
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// The same of one organization.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepricedOrganization {
    pub(crate) organization: String,
    pub(crate) models: Vec<RepricedModel>,
}

/// The same of one model.
#[derive(Clone, Debug, Deserialize)]
pub struct RepricedModel {
    pub(crate) model: Option<String>,
    pub(crate) uses: u64,
    pub(crate) unpriced: u64,
    pub(crate) before: Box<RawValue>,
    pub(crate) after: Box<RawValue>,
    pub(crate) difference: Box<RawValue>,
}

/// Dollars as people read them.
pub(crate) fn dollars(raw: &RawValue) -> String {
    let text = shown(raw);
    match text.strip_prefix('-') {
        Some(less) => format!("−${less}"),
        None => format!("${text}"),
    }
}
