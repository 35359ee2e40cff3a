//! Which prices are looked for.

use super::{State, provider};
use crate::answers::Price;

/// How a price that holds for whoever has the model is asked for: it names no provider.
const NOBODY: &str = "*";

/// What is looked for, as the address says it.
#[derive(Clone, Debug, Default)]
pub struct PriceFilter {
    /// What is in the name of the model, or a model's whole name: then prices of names that begin as it does are found, too.
    pub search: String,
    /// A provider, `*` for prices that name none, or any.
    pub provider: String,
    /// `now`, `before`, `to-come`, or any.
    pub state: String,
}

impl PriceFilter {
    /// When prices hold that are looked for: what stands in the address, and what people read.
    pub(super) const STATES: [(&'static str, &'static str); 4] =
        [("", "Any"), ("now", "In force"), ("to-come", "To come"), ("before", "Before")];

    pub(super) fn is_all(&self) -> bool {
        [&self.search, &self.provider, &self.state].into_iter().all(String::is_empty)
    }

    /// What stands in the address for a provider.
    pub(super) fn named(provider: &str) -> &str {
        if provider.is_empty() { NOBODY } else { provider }
    }

    pub(super) fn finds(&self, price: &Price, state: State) -> bool {
        let is_of = self.provider.is_empty() || self.provider == Self::named(provider(price));
        let is_then = match self.state.as_str() {
            "now" => state == State::Now,
            "to-come" => state == State::ToCome,
            "before" => state == State::Before,
            _ => true,
        };
        is_of && is_then && (self.is_in(&price.model) || self.is_covered_by(&price.model))
    }

    /// Whether what is looked for is in a name.
    pub(super) fn is_in(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.search.trim().to_lowercase())
    }

    /// Whether it begins as all names do for which this price holds.
    fn is_covered_by(&self, model: &str) -> bool {
        model
            .strip_suffix('*')
            .is_some_and(|begin| self.search.trim().to_lowercase().starts_with(&begin.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_found_by_a_part_of_its_model_by_what_it_covers_by_its_provider_and_by_when_it_holds() {
        let price = |model: &str, provider: Option<&str>| -> Price {
            let text =
                serde_json::json!({"model": model, "provider": provider, "effectiveFrom": "2026-01-01", "input": "1"});
            serde_json::from_str(&text.to_string()).unwrap()
        };
        #[rustfmt::skip]
        let cases = [ // search, provider, state; model, whose; found in force, found before
            ("", "", "",                             "gpt-4o", Some("openai"),           [true, true]),
            (" GPT-4 ", "", "",                      "gpt-4o", Some("openai"),           [true, true]),
            ("4o", "", "now",                        "gpt-4o", Some("openai"),           [true, false]),
            ("4o", "", "before",                     "gpt-4o", Some("openai"),           [false, true]),
            ("4o", "", "to-come",                    "gpt-4o", Some("openai"),           [false, false]),
            ("4o", "azure", "",                      "gpt-4o", Some("openai"),           [false, false]),
            ("4o", "openai", "",                     "gpt-4o", Some("openai"),           [true, true]),
            ("4o", "*", "",                          "gpt-4o", None,                     [true, true]),
            ("", "*", "",                            "gpt-4o", Some("openai"),           [false, false]),
            ("claude", "", "",                       "gpt-4o", Some("openai"),           [false, false]),
            ("gpt-4o-mini-2024-07-18", "", "",       "gpt-4o-mini-20*", Some("openai"),  [true, true]),
            ("gpt-4o-mini-2024-07-18", "", "",       "gpt-4o-mini", Some("openai"),      [false, false]),
            ("gpt-4o-mini", "", "",                  "gpt-4o-mini-20*", Some("openai"),  [true, true]),
        ];
        for (search, provider, state, model, whose, found) in cases {
            let [search, provider, state] = [search, provider, state].map(str::to_owned);
            let filter = PriceFilter { search, provider, state };
            let price = price(model, whose);
            let finds = [State::Now, State::Before].map(|state| filter.finds(&price, state));
            assert_eq!(finds, found, "{filter:?} {model} {whose:?}");
        }
        assert!(PriceFilter::default().is_all());
    }
}
