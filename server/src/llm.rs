//! What callers say of a language model's tokens, from the properties of a decision or the data of an event (M9).

use metergate_rules::catalogue::Catalogue;
use metergate_rules::id::MeterId;
use metergate_rules::meter::Meter;
use metergate_rules::outcome::{Hold, What};
use metergate_rules::price::{LlmUse, MOST_MODEL_BYTES, TOKENS, Tokens, UNPRICED};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use serde_json::value::RawValue;

use crate::http::cloudevents::pick;
use crate::http::measure::{Unmeasured, dimensions_of, not_a_quantity, scalar, wrong};
use crate::http::number::decimal_text;

/// What is looked for beside the dimensions of the meter of costs.
const NAMES: [&str; 6] = ["model", "provider", "inputTokens", "outputTokens", "cachedInputTokens", "cacheWriteTokens"];

/// Whether what is said of a meter's use is priced.
pub fn is_priced(meter: &Meter, catalogue: &Catalogue) -> bool {
    meter.key.as_str() == TOKENS && catalogue.cost_meter().is_some()
}

/// What `properties` say of the tokens that `meter` counts; `None` where they say nothing of a model or of kinds of tokens, or
/// where nothing counts what those cost.
///
/// # Errors
/// [`Unmeasured`] where it makes no sense: a kind that is no whole number, more from the cache than went in.
pub fn said(
    meter: &Meter,
    properties: Option<&RawValue>,
    catalogue: &Catalogue,
) -> Result<Option<Box<LlmUse>>, Unmeasured> {
    let Some(properties) = properties.filter(|_| meter.key.as_str() == TOKENS) else { return Ok(None) };
    let Some(cost) = catalogue.cost_meter() else { return Ok(None) };
    let mut names = NAMES.to_vec();
    names.extend(cost.dimensions.iter().map(String::as_str).filter(|name| !NAMES.contains(name)));
    let mut found = vec![None; names.len()];
    if let Err(error) = pick(properties, &names, &mut found) {
        return Err(wrong("", &error.to_string()));
    }
    let get = |name: &str| {
        let at = names.iter().position(|known| *known == name)?;
        found.get(at).copied().flatten().filter(|token: &&RawValue| token.get() != "null")
    };
    if NAMES.into_iter().all(|name| name == "provider" || get(name).is_none()) {
        return Ok(None);
    }
    let dimensions = cost.dimensions.iter().filter(|name| *name != UNPRICED);
    Ok(Some(Box::new(LlmUse {
        meter: meter.id,
        model: name("model", get("model"))?,
        provider: name("provider", get("provider"))?.to_ascii_lowercase(),
        tokens: tokens(get)?,
        dimensions: dimensions_of(dimensions, get)?,
        charged: None,
    })))
}

/// The same of properties that are stored as text; nothing where they make no sense, as is accepted of other meters.
pub fn stored(meter: &Meter, properties: &str, catalogue: &Catalogue) -> Option<Box<LlmUse>> {
    let properties = serde_json::from_str::<&RawValue>(properties).ok()?;
    said(meter, Some(properties), catalogue).unwrap_or(None)
}

/// What is said of a reservation that is settled, at its beginning and at its end together. How many tokens of which kind counts
/// only where they come to what was used: else that was an estimate.
///
/// # Errors
/// As [`said`].
pub fn settled(
    meter: &Meter,
    properties: &str,
    quantity: Option<Quantity>,
    catalogue: &Catalogue,
) -> Result<Option<Box<LlmUse>>, Unmeasured> {
    let Ok(properties) = serde_json::from_str::<&RawValue>(properties) else { return Ok(None) };
    let Some(mut said) = said(meter, Some(properties), catalogue)? else { return Ok(None) };
    said.tokens = said.tokens.filter(|kinds| kinds.input.checked_add(kinds.output) == quantity);
    Ok(Some(said))
}

/// What a record says of the tokens that it used; `None` where it used none, where it says nothing of a model, or where the caller
/// said what they cost, which stands.
pub fn used(what: &What, meter: &Meter, catalogue: &Catalogue) -> Option<Box<LlmUse>> {
    let cost = catalogue.cost_meter()?;
    let is_used = |meter: MeterId| what.uses().iter().any(|used| used.meter == meter && used.follows.is_none());
    if !is_used(meter.id) || is_used(cost.id) {
        return None;
    }
    match what {
        What::Decided(decided) => stored(meter, &decided.properties, catalogue),
        What::Recorded(recorded) => stored(meter, &recorded.event.data, catalogue),
        What::Reservation(hold) => match &**hold {
            Hold::Settled(done) => settled(meter, &done.properties, done.quantity(), catalogue).unwrap_or(None),
            Hold::Made { .. } | Hold::Extended { .. } | Hold::Released(_) => None,
        },
        What::Due(_) | What::Changed(_) | What::Image(_) | What::Completed(_) | What::Noticed(_) => None,
    }
}

/// One JSON object of two: what the second says stands.
pub fn merged(before: &str, now: &str) -> String {
    type Members<'a> = std::collections::BTreeMap<String, &'a RawValue>;
    let read = |text| serde_json::from_str::<Members<'_>>(text).ok();
    if now.is_empty() {
        return before.to_owned();
    }
    match (read(before), read(now)) {
        (Some(mut all), Some(more)) => {
            all.extend(more);
            serde_json::to_string(&all).unwrap_or_else(|_| now.to_owned())
        }
        (_, Some(_)) => now.to_owned(),
        _ => before.to_owned(),
    }
}

fn name(property: &str, token: Option<&RawValue>) -> Result<String, Unmeasured> {
    let Some(token) = token else { return Ok(String::new()) };
    match scalar(token).filter(|text| text.len() <= MOST_MODEL_BYTES) {
        Some(text) => Ok(text.into_owned()),
        None => Err(wrong(property, "must be a string of at most 256 bytes")),
    }
}

fn tokens<'a>(get: impl Fn(&str) -> Option<&'a RawValue>) -> Result<Option<Tokens>, Unmeasured> {
    if get("inputTokens").is_none() && get("outputTokens").is_none() {
        return Ok(None);
    }
    let kind = |name: &str| {
        let Some(token) = get(name) else { return Ok(Quantity::ZERO) };
        let text = decimal_text(token).ok_or_else(|| not_a_quantity(name, InvalidQuantity::NotANumber))?;
        Quantity::parse(&text, 0).map_err(|why| not_a_quantity(name, why))
    };
    let tokens = Tokens {
        input: kind("inputTokens")?,
        cached_input: kind("cachedInputTokens")?,
        cache_write: kind("cacheWriteTokens")?,
        output: kind("outputTokens")?,
    };
    tokens.checked().map(Some).map_err(|why| wrong("cachedInputTokens", &why.to_string()))
}

#[cfg(test)]
mod tests {
    use metergate_rules::meter::Aggregation;

    use super::*;

    fn meter(id: u32, key: &str, decimals: u8, dimensions: &[&str]) -> Meter {
        Meter {
            id: MeterId(id),
            key: key.parse().unwrap(),
            name: key.to_owned(),
            unit: String::new(),
            event_type: key.parse().unwrap(),
            aggregation: Aggregation::Sum,
            decimals,
            value_property: "quantity".to_owned(),
            dimensions: dimensions.iter().map(|name| (*name).to_owned()).collect(),
            record: true,
        }
    }

    fn catalogue() -> Catalogue {
        let cost = meter(2, "llm_cost", 9, &["model", "team", "unpriced"]);
        Catalogue::new(vec![meter(1, "tokens", 0, &["model"]), cost], Vec::new())
    }

    fn read(text: &str) -> Result<Option<Box<LlmUse>>, Unmeasured> {
        let catalogue = catalogue();
        let tokens = catalogue.meter_by_key(TOKENS).unwrap();
        said(tokens, Some(serde_json::from_str(text).unwrap()), &catalogue)
    }

    #[test]
    fn model_kinds_and_dimensions_are_read() {
        let it = read(
            r#"{"model": "m", "provider": "OpenAI", "inputTokens": 10, "cachedInputTokens": "4", "team": "x", "unpriced": "no"}"#,
        );
        let it = it.unwrap().unwrap();
        assert_eq!((&*it.model, &*it.provider, &*it.dimensions), ("m", "openai", r#"{"model":"m","team":"x"}"#));
        let kinds = it.tokens.unwrap();
        assert_eq!([kinds.input, kinds.cached_input, kinds.output].map(Quantity::units), [10, 4, 0]);
        assert!(read(r#"{"model": "m"}"#).unwrap().unwrap().tokens.is_none(), "no kind is said");
        assert_eq!(read(r#"{"outputTokens": 3}"#).unwrap().unwrap().model, "");
        for nothing in ["{}", r#"{"team": "x"}"#, r#"{"provider": "openai"}"#, r#"{"model": null}"#] {
            assert_eq!(read(nothing), Ok(None), "{nothing}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_name() {
        let cases = [
            (r#"{"inputTokens": 3, "cachedInputTokens": 4}"#, "cachedInputTokens"),
            (r#"{"inputTokens": 3, "cachedInputTokens": 2, "cacheWriteTokens": 2}"#, "cachedInputTokens"),
            (r#"{"inputTokens": 1.5}"#, "inputTokens"),
            (r#"{"inputTokens": -1}"#, "inputTokens"),
            (r#"{"outputTokens": {}}"#, "outputTokens"),
            (r#"{"model": []}"#, "model"),
        ];
        for (text, property) in cases {
            assert_eq!(read(text).unwrap_err().property, property, "{text}");
        }
    }

    #[test]
    fn kinds_count_at_the_end_of_a_reservation_only_where_they_come_to_what_was_used() {
        let catalogue = catalogue();
        let tokens = catalogue.meter_by_key(TOKENS).unwrap();
        let made = r#"{"model": "m", "inputTokens": 60, "outputTokens": 40}"#;
        let cases = [
            ("", 100, Some((60, 40))),
            ("", 99, None),
            (r#"{"inputTokens": 50, "outputTokens": 7}"#, 57, Some((50, 7))),
            (r#"{"outputTokens": 7}"#, 67, Some((60, 7))),
            (r#"{"outputTokens": 7}"#, 7, None),
            (r#"{"model": "other"}"#, 99, None),
        ];
        for (now, quantity, kinds) in cases {
            let it = settled(tokens, &merged(made, now), Quantity::new(quantity).ok(), &catalogue).unwrap().unwrap();
            assert_eq!(it.tokens.map(|t| (t.input.units(), t.output.units())), kinds, "{now}");
            assert_eq!(it.model, if now.contains("other") { "other" } else { "m" });
        }
    }
}
