//! From the words of a call to the request that the store decides.

use std::sync::Arc;

use metergate_rules::command::{Completion, Consume, Item};
use metergate_rules::id::{DecisionId, OrganizationRef};
use metergate_rules::meter::{Measure, Meter};
use metergate_rules::price::LlmUse;
use metergate_rules::quantity::Quantity;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::super::error::ApiError;
use super::super::json as json_body;
use super::super::measure::{self, Properties, Unmeasured};
use super::super::number::decimal_text;
use super::{Asking, ConsumeBody, HeaderKey, MOST_PROPERTIES, MOST_TOGETHER, Mode};
use crate::llm;
use crate::store::{ConsumeRequest, Key};

/// The route in the key of a decision that is repeated by header.
const ROUTE: &str = "POST /v1/consume";

impl<'s> Asking<'s> {
    /// The request that a body makes.
    pub(super) fn prepare(
        &self,
        asked: &ConsumeBody<'_>,
        header: Option<HeaderKey>,
    ) -> Result<ConsumeRequest, ApiError> {
        let organization: OrganizationRef = asked.organization.parse().map_err(|_| ApiError::unknown_organization())?;
        let (mut items, mut meters) = (Vec::new(), Vec::new());
        match (&asked.together, &asked.meter) {
            (None, Some(meter)) => {
                let (meter, item) = self.item(meter, asked.quantity, asked.properties, "#")?;
                items.push(item);
                meters.push(meter);
            }
            (Some(together), None) if (1..=MOST_TOGETHER).contains(&together.len()) => {
                for (i, one) in together.iter().enumerate() {
                    let at = format!("#/together/{i}");
                    let (meter, item) = self.item(&one.meter, one.quantity, one.properties, &at)?;
                    items.push(item);
                    meters.push(meter);
                }
            }
            (Some(_), None) => return Err(ApiError::invalid("#/together", "Send 1 to 100 meters.")),
            _ => return Err(ApiError::invalid("#/meter", "Send either meter or together.")),
        }
        let key = self.key(asked, &meters, header)?;
        let fingerprint = if key.is_some() { fingerprint(asked, &items) } else { 0 };
        let outcome = Completion { duration_ms: asked.duration_ms, status: asked.status };
        let llm = self.llm(asked, &meters)?;
        let mut properties = properties_of(asked)?;
        if llm.is_some() {
            properties = self.with_tokens(properties, asked, &meters)?;
        }
        let consume = Consume { items, properties, outcome, llm };
        Ok(ConsumeRequest { caller: self.caller.clone(), organization, key, fingerprint, consume })
    }

    fn item(
        &self,
        key: &str,
        quantity: Option<&RawValue>,
        properties: Option<&RawValue>,
        at: &str,
    ) -> Result<(&'s Arc<Meter>, Item), ApiError> {
        let meter = self.snapshot.meter(key).ok_or_else(ApiError::unknown_meter)?;
        let text = match quantity {
            None => None,
            Some(token) => Some(decimal_text(token).ok_or_else(|| {
                ApiError::invalid_quantity(
                    format!("{at}/quantity"),
                    metergate_rules::quantity::InvalidQuantity::NotANumber,
                )
            })?),
        };
        let wrong = |why: Unmeasured| unmeasured(at, why);
        let picked = Properties::pick(properties, std::iter::once(&**meter)).map_err(wrong)?;
        let values_key = self.app.shared.store.values_key();
        let item = measure::item(meter, text.as_deref(), &picked, values_key).map_err(wrong)?;
        Ok((meter, item))
    }

    /// What is said of a language model's tokens, where it is asked for some.
    fn llm(&self, asked: &ConsumeBody<'_>, meters: &[&Arc<Meter>]) -> Result<Option<Box<LlmUse>>, ApiError> {
        let rules = &self.snapshot.rules;
        let Some(i) = meters.iter().position(|meter| llm::is_priced(meter, rules)) else { return Ok(None) };
        let (properties, at) = match &asked.together {
            Some(together) => (together[i].properties, format!("#/together/{i}")),
            None => (asked.properties, "#".to_owned()),
        };
        llm::said(meters[i], properties, rules).map_err(|why| unmeasured(&at, why))
    }

    /// What is said of tokens among several meters is kept too: by that they can be priced again.
    fn with_tokens(
        &self,
        properties: String,
        asked: &ConsumeBody<'_>,
        meters: &[&Arc<Meter>],
    ) -> Result<String, ApiError> {
        let rules = &self.snapshot.rules;
        let Some(i) = meters.iter().position(|meter| llm::is_priced(meter, rules)) else { return Ok(properties) };
        let Some(said) = asked.together.as_ref().and_then(|together| together[i].properties) else {
            return Ok(properties);
        };
        let all = llm::merged(&properties, said.get());
        if all.len() > MOST_PROPERTIES {
            return Err(ApiError::invalid(format!("#/together/{i}/properties"), "At most 16 KiB."));
        }
        Ok(all)
    }

    fn key(
        &self,
        asked: &ConsumeBody<'_>,
        meters: &[&Arc<Meter>],
        header: Option<HeaderKey>,
    ) -> Result<Option<Key>, ApiError> {
        let id = asked.id.as_deref().map(DecisionId::new).transpose();
        let id = id.map_err(|error| ApiError::invalid("#/id", error.to_string()))?;
        if self.mode == Mode::Check {
            return Ok(None);
        }
        let Some(id) = id else {
            let route =
                |index: Option<usize>| index.map_or_else(|| ROUTE.to_owned(), |index| format!("{ROUTE} {index}"));
            return Ok(header.map(|(key, index)| Key::Header(route(index).into(), key)));
        };
        match (&asked.together, meters) {
            (None, [meter, ..]) => Ok(Some(Key::Decision(meter.id, id))),
            _ => Ok(Some(Key::Together(id))),
        }
    }
}

/// What was asked for, as the answer shows it.
pub(super) const fn quantity_of(item: &Item) -> Quantity {
    match item.measure {
        Measure::Add(quantity) | Measure::Peak(quantity) | Measure::Level(quantity) => quantity,
        Measure::Value(_) => Quantity::ONE,
        Measure::Adjust(units) => Quantity::at_least_zero(units),
        Measure::Void(_) | Measure::VoidValue(_) => Quantity::ZERO,
    }
}

/// An error of a measure, at its place in the body.
pub(in crate::http) fn unmeasured(at: &str, why: Unmeasured) -> ApiError {
    let own = why.property == "quantity";
    let properties = format!("{at}/properties");
    let pointer = match why.property.as_str() {
        _ if own => format!("{at}/quantity"),
        "" => properties,
        name => json_body::child(&properties, name),
    };
    match why.why {
        Some(quantity) => ApiError::invalid_quantity(pointer, quantity),
        None => ApiError::invalid(pointer, why.detail),
    }
}

pub(super) fn properties_of(asked: &ConsumeBody<'_>) -> Result<String, ApiError> {
    let text = asked.properties.map_or("", RawValue::get);
    if text.len() > MOST_PROPERTIES {
        return Err(ApiError::invalid("#/properties", "At most 16 KiB."));
    }
    Ok(text.to_owned())
}

/// The same request has the same; over what is asked, not over how it was written.
pub(super) fn fingerprint(asked: &ConsumeBody<'_>, items: &[Item]) -> u64 {
    let mut hash = Sha256::new();
    hash.update([u8::from(asked.together.is_some())]);
    for (i, item) in items.iter().enumerate() {
        hash.update(item.meter.0.to_be_bytes());
        hash.update(quantity_of(item).units().to_be_bytes());
        update(&mut hash, asked.together.as_ref().and_then(|together| together[i].properties));
    }
    update(&mut hash, asked.properties);
    hash.update(format!("{:?} {:?}", asked.duration_ms, asked.status));
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// White space and the order of members say nothing.
fn update(hash: &mut Sha256, properties: Option<&RawValue>) {
    let text = properties.map_or("", RawValue::get);
    let text =
        serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string());
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}
