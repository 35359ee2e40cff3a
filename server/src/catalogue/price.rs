//! Prices of language models' tokens as they are written: in a request, in the catalogue file, in the store (M9).

use std::collections::BTreeSet;

use metergate_rules::price::{PLACES, Pattern, Price, PriceTable};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use metergate_rules::time::Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spec::{Invalid, invalid};
use crate::http::number::QuantityText;

mod list;

pub use list::PriceList;

/// Prices in the table at most.
pub const MOST_PRICES: usize = 2000;
/// The longest name of a provider in bytes.
const MOST_PROVIDER_BYTES: usize = 64;
/// The longest note on where a price comes from, in bytes.
const MOST_SOURCE_BYTES: usize = 500;

/// The price of a language model's tokens from a time on, in US dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceSpec {
    /// The model; with a trailing `*` all whose names begin so. The name comes before families, a longer beginning before a
    /// shorter one.
    #[schema(example = "gpt-4o")]
    pub model: String,
    /// Whose: it holds for uses that name this provider, or none. Without one it holds for whoever has the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// From when: an instant, or a date of UTC. It holds until a later one of the same model and provider.
    #[schema(example = "2024-10-02")]
    pub effective_from: String,
    /// Only where the input is more than so many tokens; the whole use has this price then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_above: Option<i64>,
    /// For input, at most nine decimal places.
    #[schema(value_type = f64)]
    pub input: QuantityText,
    /// For input that is read from the cache; as input without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub cached_input: Option<QuantityText>,
    /// For input that is written to the cache; as input without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub cache_write: Option<QuantityText>,
    /// For output; a model without one has no output, as embeddings have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub output: Option<QuantityText>,
    /// Where it comes from, and when that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// What tells one price from another: model, provider, from when, above which input.
type Identity = (Pattern, String, Time, Quantity);

/// The whole table as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredPrices {
    /// From 1; 0 as long as there was none.
    pub version: u64,
    /// The prices, in the order in which they are shown.
    pub prices: PriceList,
    /// When this version was put in force.
    pub changed_at: Option<Time>,
}

impl PriceSpec {
    /// The price that this defines. `pointer` is its place.
    ///
    /// # Errors
    /// [`Invalid`] where a member is out of its bounds.
    pub fn price(&self, pointer: &str) -> Result<Price, Invalid> {
        let at = |name: &str| format!("{pointer}/{name}");
        let Some(model) = Pattern::new(&self.model) else {
            return invalid(
                at("model"),
                "must be a model's name, or the beginning of names and *: 1 to 256 characters",
            );
        };
        let provider = self.provider.as_deref().unwrap_or_default();
        let is_name = provider.bytes().all(|byte| byte.is_ascii_graphic()) && provider.len() <= MOST_PROVIDER_BYTES;
        if !is_name || self.provider.as_deref() == Some("") {
            return invalid(at("provider"), "must be a provider's name of 1 to 64 characters; leave it out for any");
        }
        if self.source.as_ref().is_some_and(|source| source.len() > MOST_SOURCE_BYTES) {
            return invalid(at("source"), "at most 500 bytes");
        }
        let Some(effective_from) = instant(&self.effective_from) else {
            return invalid(at("effectiveFrom"), "must be an instant such as 2026-11-01T00:00:00Z, or a date of UTC");
        };
        let kind = |name: &str, text: &QuantityText| match text.parse(PLACES) {
            Ok(price) => Ok(price),
            Err(InvalidQuantity::TooFine(_)) => invalid(at(name), "at most nine decimal places"),
            Err(error) => invalid(at(name), error.to_string()),
        };
        let optional = |name, text: &Option<QuantityText>| text.as_ref().map(|text| kind(name, text)).transpose();
        let input_above = self.input_above.unwrap_or_default();
        Ok(Price {
            model,
            provider: provider.to_ascii_lowercase(),
            input_above: Quantity::new(input_above).or_else(|error| invalid(at("inputAbove"), error.to_string()))?,
            effective_from,
            input: kind("input", &self.input)?,
            cached_input: optional("cachedInput", &self.cached_input)?,
            cache_write: optional("cacheWrite", &self.cache_write)?,
            output: optional("output", &self.output)?,
        })
    }

    /// Whether it is for the same models, provider and input from the same time, so that one takes the other's place.
    pub fn names_the_same(&self, other: &Self) -> bool {
        if self.model != other.model {
            return false;
        }
        match (self.price("#"), other.price("#")) {
            (Ok(one), Ok(other)) => identity(&one) == identity(&other),
            _ => false,
        }
    }

    /// What it is for, for people.
    pub fn label(&self) -> String {
        let provider = self.provider.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let above = self.input_above.map(|tokens| format!(" above {tokens} input tokens")).unwrap_or_default();
        format!("{}{provider} from {}{above}", self.model, self.effective_from)
    }

    /// One line about it, for people.
    pub fn line(&self) -> String {
        let kinds = [
            ("input", Some(&self.input)),
            ("cachedInput", self.cached_input.as_ref()),
            ("cacheWrite", self.cache_write.as_ref()),
            ("output", self.output.as_ref()),
        ];
        let kinds = kinds.iter().filter_map(|(name, price)| Some(format!("{name} {}", (*price)?.as_str())));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        format!("{}: {kinds}", self.label())
    }
}

/// An instant, or the beginning of a date of UTC.
fn instant(text: &str) -> Option<Time> {
    if text.len() == 10 { format!("{text}T00:00:00Z").parse().ok() } else { text.parse().ok() }
}

fn identity(price: &Price) -> Identity {
    (price.model.clone(), price.provider.clone(), price.effective_from, price.input_above)
}

/// The table of these prices.
///
/// # Errors
/// [`Invalid`] where one is out of its bounds, or stands there twice, or where uses with less input have no price from then on.
pub fn table(prices: &[PriceSpec]) -> Result<PriceTable, Invalid> {
    let made = checked(prices)?;
    let any_input: BTreeSet<Identity> = made.iter().map(identity).filter(|of| of.3 == Quantity::ZERO).collect();
    for (i, price) in made.iter().enumerate() {
        let (model, provider, from, _) = identity(price);
        if !any_input.contains(&(model, provider, from, Quantity::ZERO)) {
            let detail = format!(
                "{}: from then on uses with less input would have no price; add one without inputAbove from the same time",
                prices[i].label()
            );
            return invalid(format!("#/prices/{i}/inputAbove"), detail);
        }
    }
    Ok(PriceTable::new(made))
}

/// These prices, which can be a part of a table.
///
/// # Errors
/// [`Invalid`] where one is out of its bounds, or stands there twice.
pub fn checked(prices: &[PriceSpec]) -> Result<Vec<Price>, Invalid> {
    if prices.len() > MOST_PRICES {
        return invalid("#/prices", format!("at most {MOST_PRICES} prices"));
    }
    let (mut known, mut made) = (BTreeSet::new(), Vec::with_capacity(prices.len()));
    for (i, spec) in prices.iter().enumerate() {
        let pointer = format!("#/prices/{i}");
        let price = spec.price(&pointer)?;
        if !known.insert(identity(&price)) {
            return invalid(pointer, format!("there is another price of {} from the same time", spec.model));
        }
        made.push(price);
    }
    Ok(made)
}

/// These prices with `more`, each in the place of the one that it changes.
///
/// # Errors
/// [`Invalid`] where one of them is out of its bounds.
pub fn merged(prices: &[PriceSpec], more: &[PriceSpec]) -> Result<Vec<PriceSpec>, Invalid> {
    let mut all = prices.to_vec();
    let mut places = Vec::with_capacity(prices.len());
    for (i, spec) in prices.iter().enumerate() {
        places.push(identity(&spec.price(&format!("#/prices/{i}"))?));
    }
    for (i, spec) in more.iter().enumerate() {
        let identity = identity(&spec.price(&format!("#/prices/{i}"))?);
        match places.iter().position(|known| *known == identity) {
            Some(place) => all[place] = spec.clone(),
            None => {
                places.push(identity);
                all.push(spec.clone());
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> PriceSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_price_that_is_out_of_its_bounds_is_refused_with_its_place() {
        let cases = [
            (r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 1}"#, None),
            (r#"{"model": "m*", "effectiveFrom": "2026-01-01T10:00:00Z", "input": "0.000000001"}"#, None),
            (r#"{"model": "*", "effectiveFrom": "2026-01-01", "input": 1}"#, Some("#/prices/0/model")),
            (r#"{"model": "m", "effectiveFrom": "yesterday", "input": 1}"#, Some("#/prices/0/effectiveFrom")),
            (r#"{"model": "m", "effectiveFrom": "2026-02-30", "input": 1}"#, Some("#/prices/0/effectiveFrom")),
            (r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": -1}"#, Some("#/prices/0/input")),
            (r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 0.0000000001}"#, Some("#/prices/0/input")),
            (r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 1, "output": "x"}"#, Some("#/prices/0/output")),
            (
                r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 1, "provider": ""}"#,
                Some("#/prices/0/provider"),
            ),
            (
                r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 1, "inputAbove": -1}"#,
                Some("#/prices/0/inputAbove"),
            ),
        ];
        for (json, pointer) in cases {
            let refused = table(&[spec(json)]).err().map(|error| error.pointer);
            assert_eq!(refused.as_deref(), pointer, "{json}");
        }
    }

    #[test]
    fn two_prices_of_the_same_time_are_refused_and_one_takes_the_place_of_the_other_where_they_are_merged() {
        let old = spec(r#"{"model": "m", "provider": "OpenAI", "effectiveFrom": "2026-01-01", "input": 1}"#);
        let same =
            spec(r#"{"model": "m", "provider": "openai", "effectiveFrom": "2026-01-01T00:00:00Z", "input": "2"}"#);
        let later = spec(r#"{"model": "m", "provider": "openai", "effectiveFrom": "2026-01-02", "input": 3}"#);
        let twice = table(&[old.clone(), later.clone(), same.clone()]).unwrap_err();
        assert_eq!(twice.pointer, "#/prices/2");
        let all = merged(&[old, later.clone()], std::slice::from_ref(&same)).unwrap();
        assert_eq!(all, [same, later]);
    }

    #[test]
    fn a_price_for_long_input_stands_beside_one_for_any_from_the_same_time() {
        let any = spec(r#"{"model": "m", "effectiveFrom": "2026-01-01", "input": 1}"#);
        let long = spec(r#"{"model": "m", "effectiveFrom": "2026-01-01T00:00:00Z", "inputAbove": 1000, "input": 2}"#);
        let later = spec(r#"{"model": "m", "effectiveFrom": "2026-01-02", "inputAbove": 1000, "input": 3}"#);
        table(&[any.clone(), long.clone()]).unwrap();
        let alone = table(&[any, long, later.clone()]).unwrap_err();
        assert_eq!(alone.pointer, "#/prices/2/inputAbove");
        checked(&[later]).unwrap();
    }
}
