//! From a caller's words to what a meter is told.

use std::borrow::Cow;

use metergate_rules::command::{Completion, Item};
use metergate_rules::meter::{Aggregation, Measure, Meter, ValueHash};
use metergate_rules::quantity::{InvalidQuantity, Quantity};
use metergate_rules::timing::Calls;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::calls::CallsBody;
use super::cloudevents::pick;
use super::number::decimal_text;

/// The longest value of a dimension in bytes.
const MOST_DIMENSION_BYTES: usize = 256;
/// The longest value that is counted once, in bytes.
const MOST_VALUE_BYTES: usize = 1024;

/// Why a meter cannot make sense of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmeasured {
    /// The stable code: `invalid-quantity` or `invalid-property`.
    pub code: &'static str,
    /// The property that is wrong.
    pub property: String,
    /// What to do.
    pub detail: String,
    /// What is wrong with the quantity, where it is that.
    pub why: Option<InvalidQuantity>,
}

/// A property that is wrong, with what to do.
pub fn wrong(property: &str, detail: &str) -> Unmeasured {
    let (property, detail) = (property.to_owned(), detail.to_owned());
    Unmeasured { code: "invalid-property", property, detail, why: None }
}

/// A property that is no quantity.
pub fn not_a_quantity(property: &str, why: InvalidQuantity) -> Unmeasured {
    let detail = format!("Not a quantity of this meter: {why}.");
    Unmeasured { code: "invalid-quantity", property: property.to_owned(), detail, why: Some(why) }
}

/// Some properties of an event's data or a decision's `properties`, as JSON text.
#[derive(Debug, Default)]
pub struct Properties<'n, 'a> {
    names: Vec<&'n str>,
    values: Vec<Option<&'a RawValue>>,
}

impl<'n, 'a> Properties<'n, 'a> {
    /// Picks what `meters` may ask for.
    ///
    /// # Errors
    /// [`Unmeasured`] if `data` is no object.
    pub fn pick(data: Option<&'a RawValue>, meters: impl Iterator<Item = &'n Meter>) -> Result<Self, Unmeasured> {
        let Some(data) = data else { return Ok(Self::default()) };
        let mut names = Vec::with_capacity(8);
        names.extend(["durationMs", "status", "calls", "value", "inputTokens", "outputTokens"]);
        for meter in meters {
            names.push(&meter.value_property);
            names.extend(meter.dimensions.iter().map(String::as_str));
        }
        let mut values = vec![None; names.len()];
        match pick(data, &names, &mut values) {
            Ok(()) => Ok(Self { names, values }),
            Err(error) => Err(wrong("", &error.to_string())),
        }
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        // They are few, and a name that stands there twice has its value at the first place.
        let value = self.values[self.names.iter().position(|known| *known == name)?];
        value.filter(|token| token.get() != "null")
    }

    /// How long it took and how it ended. What is no number in its range is left out: it must not lose the usage.
    pub fn completion(&self) -> Completion {
        Completion { duration_ms: self.whole("durationMs"), status: self.whole("status") }
    }

    /// The calls that used it together, where it says so. What is not said so well that they can be counted is left out likewise.
    pub fn calls(&self) -> Option<Box<Calls>> {
        let said: CallsBody = serde_json::from_str(self.get("calls")?.get()).ok()?;
        said.read().ok()
    }

    fn whole<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.get().split('.').next()?.parse().ok()
    }
}

/// What is said to one meter: by a quantity given apart, or by the property that the meter reads.
///
/// # Errors
/// [`Unmeasured`] where the meter cannot make sense of it.
pub fn item(
    meter: &Meter,
    quantity: Option<&str>,
    properties: &Properties<'_, '_>,
    values_key: &[u8; 16],
) -> Result<Item, Unmeasured> {
    let measure = match meter.aggregation {
        Aggregation::Count => Measure::Add(Quantity::ONE),
        Aggregation::UniqueCount => Measure::Value(value(meter, properties, values_key)?),
        Aggregation::Sum => Measure::Add(amount(meter, quantity, properties)?),
        Aggregation::Max => Measure::Peak(amount(meter, quantity, properties)?),
        Aggregation::Last => Measure::Level(amount(meter, quantity, properties)?),
    };
    Ok(Item { meter: meter.id, measure, dimensions: dimensions(meter, properties)? })
}

/// What a reservation holds, or an event of several calls tells: the same, but of a meter that counts as many as are said. It may be
/// held for several that are yet to come, and its commit says how many came.
///
/// # Errors
/// As [`item`].
pub fn held(
    meter: &Meter,
    quantity: Option<&str>,
    properties: &Properties<'_, '_>,
    values_key: &[u8; 16],
) -> Result<Item, Unmeasured> {
    let item = item(meter, quantity, properties, values_key)?;
    let Some(text) = quantity.filter(|_| meter.aggregation == Aggregation::Count) else { return Ok(item) };
    let quantity = Quantity::parse(text, meter.decimals).map_err(|why| not_a_quantity("quantity", why))?;
    Ok(Item { measure: Measure::Add(quantity), ..item })
}

/// The quantity: as given, else the meter's property, else of tokens input and output, else one.
fn amount(meter: &Meter, given: Option<&str>, properties: &Properties<'_, '_>) -> Result<Quantity, Unmeasured> {
    let parse = |name: &str, text: &str| Quantity::parse(text, meter.decimals).map_err(|why| not_a_quantity(name, why));
    if let Some(text) = given {
        return parse("quantity", text);
    }
    if let Some(token) = properties.get(&meter.value_property) {
        let text =
            decimal_text(token).ok_or_else(|| not_a_quantity(&meter.value_property, InvalidQuantity::NotANumber))?;
        return parse(&meter.value_property, &text);
    }
    if meter.key.as_str() == "tokens" {
        let parts = ["inputTokens", "outputTokens"].map(|name| (name, properties.get(name)));
        if parts.iter().any(|(_, token)| token.is_some()) {
            return parts.into_iter().try_fold(Quantity::ZERO, |sum, (name, token)| {
                let Some(token) = token else { return Ok(sum) };
                let text = decimal_text(token).ok_or_else(|| not_a_quantity(name, InvalidQuantity::NotANumber))?;
                sum.checked_add(parse(name, &text)?).ok_or_else(|| not_a_quantity(name, InvalidQuantity::TooLarge))
            });
        }
    }
    parse("quantity", "1")
}

fn value(meter: &Meter, properties: &Properties<'_, '_>, key: &[u8; 16]) -> Result<ValueHash, Unmeasured> {
    let token = properties.get(&meter.value_property).or_else(|| properties.get("value"));
    let Some(text) = token.and_then(scalar) else {
        return Err(wrong(&meter.value_property, "is required: the value to count once, a string or a number"));
    };
    if text.is_empty() || text.len() > MOST_VALUE_BYTES {
        return Err(wrong(&meter.value_property, "must have 1 to 1024 bytes"));
    }
    let digest = Sha256::new().chain_update(key).chain_update(text.as_bytes()).finalize();
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    Ok(ValueHash(hash))
}

/// The text of a string, a number, true or false.
pub fn scalar(token: &RawValue) -> Option<Cow<'_, str>> {
    match token.get() {
        text @ ("true" | "false") => Some(Cow::Borrowed(text)),
        _ => decimal_text(token),
    }
}

/// The values of the meter's dimensions as a JSON object with sorted names; empty where none is given.
fn dimensions(meter: &Meter, properties: &Properties<'_, '_>) -> Result<String, Unmeasured> {
    dimensions_of(meter.dimensions.iter(), |name| properties.get(name))
}

/// The values of these dimensions, which are sorted, as a JSON object; empty where none is given.
///
/// # Errors
/// [`Unmeasured`] of a value that is none for a dimension.
pub fn dimensions_of<'n, 'a>(
    names: impl Iterator<Item = &'n String>,
    get: impl Fn(&str) -> Option<&'a RawValue>,
) -> Result<String, Unmeasured> {
    let mut object = String::new();
    for name in names {
        let Some(token) = get(name) else { continue };
        let Some(text) = scalar(token).filter(|text| text.len() <= MOST_DIMENSION_BYTES) else {
            let detail = "must be a string of at most 256 bytes, a number, true or false: it is a dimension";
            return Err(wrong(name, detail));
        };
        object.push(if object.is_empty() { '{' } else { ',' });
        let pair = serde_json::to_string(name).and_then(|name| Ok((name, serde_json::to_string(&text)?)));
        let Ok((name, text)) = pair else { return Err(wrong(name, "cannot be written as JSON")) };
        object.push_str(&name);
        object.push(':');
        object.push_str(&text);
    }
    if !object.is_empty() {
        object.push('}');
    }
    Ok(object)
}
