//! Quantities in JSON: exact decimals out, exact text in, never a float between.

use std::borrow::Cow;
use std::fmt;

use metergate_rules::quantity::{Decimal, InvalidQuantity, Quantity};
use serde::de::{Error as _, Unexpected};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{RefOr, schema::OneOfBuilder};
use utoipa::{PartialSchema, ToSchema};

/// An exact decimal on its way out: `{ units: 1250, decimals: 3 }` is `1.25`.
///
/// For `serde_json`'s writers; in a `serde_json::Value` a fraction would become a float, so none is made there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// How many of the meter's smallest unit; negative for adjustments.
    pub units: i128,
    /// Decimal places of the meter, 0 to 9.
    pub decimals: u8,
    /// As a JSON string: what `?numbers=string` asks for.
    pub text: bool,
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal { units: self.units, decimals: self.decimals }.fmt(f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.units) {
            _ if self.text => serializer.collect_str(self),
            Ok(units) if self.decimals == 0 => serializer.serialize_i64(units),
            _ => RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(serializer),
        }
    }
}

impl ToSchema for Number {}
impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        let description = "An exact decimal with the meter's places; a string where ?numbers=string asks for it.";
        ObjectBuilder::new().schema_type(Type::Number).description(Some(description)).into()
    }
}

/// The text of a quantity as it stands in a body: of a JSON number its digits, of a string its content.
///
/// Whether that is a quantity depends on the meter: [`QuantityText::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityText(Box<str>);

impl From<String> for QuantityText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl QuantityText {
    /// The text, unchecked.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The quantity of a meter with so many decimal places.
    ///
    /// # Errors
    /// As [`Quantity::parse`].
    pub fn parse(&self, decimals: u8) -> Result<Quantity, InvalidQuantity> {
        Quantity::parse(&self.0, decimals)
    }
}

/// What a JSON token says as decimal text: a number as it is written, a string's content, nothing for all else.
pub fn decimal_text(token: &RawValue) -> Option<Cow<'_, str>> {
    let text = token.get();
    match text.as_bytes().first()? {
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(text)),
        b'"' if !text.contains('\\') => text.get(1..text.len() - 1).map(Cow::Borrowed),
        b'"' => serde_json::from_str(text).ok().map(Cow::Owned),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for QuantityText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = Box::<RawValue>::deserialize(deserializer)?;
        match decimal_text(&token) {
            Some(text) => Ok(Self(text.into())),
            None => Err(D::Error::invalid_type(kind_of(token.get()), &"a decimal number, or a string with one")),
        }
    }
}

/// As a JSON number where it is one, else as the text that it is.
impl Serialize for QuantityText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(&self.0) {
            Ok(token) if !self.0.starts_with(['"', '[', '{', 't', 'f', 'n']) => token.serialize(serializer),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

fn kind_of(token: &str) -> Unexpected<'_> {
    match token {
        "true" => Unexpected::Bool(true),
        "false" => Unexpected::Bool(false),
        "null" => Unexpected::Other("null"),
        _ if token.starts_with('[') => Unexpected::Seq,
        _ => Unexpected::Map,
    }
}

impl ToSchema for QuantityText {}
impl PartialSchema for QuantityText {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Number));
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(r"^\d+(\.\d+)?$"));
        let description = "An exact decimal with at most the meter's places, as a number or as a string.";
        OneOfBuilder::new().item(number).item(text).description(Some(description)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_exactly_as_json_numbers_or_strings() {
        #[rustfmt::skip]
        let cases = [ // units, decimals, as a number
            (1250,                 3, "1.25"),
            (0,                    0, "0"),
            (-1500,                3, "-1.5"),
            (7_000,                3, "7"),
            (i128::from(i64::MAX), 0, "9223372036854775807"),
            (i128::from(i64::MAX), 9, "9223372036.854775807"),
            (i128::MAX,            0, "170141183460469231731687303715884105727"),
            (i128::MIN,            9, "-170141183460469231731687303715.884105728"),
        ];
        for (units, decimals, expected) in cases {
            let json = |text| serde_json::to_string(&[Number { units, decimals, text }]).unwrap();
            assert_eq!(json(false), format!("[{expected}]"));
            assert_eq!(json(true), format!("[\"{expected}\"]"));
        }
    }

    #[test]
    fn quantities_are_taken_as_the_text_that_stands_in_the_body() {
        #[derive(Debug, Deserialize)]
        struct Body {
            quantity: QuantityText,
        }
        let long = "0.1000000000000000055511151231257827";
        for (json, text) in
            [("1", "1"), ("-0.50", "-0.50"), ("1e400", "1e400"), (long, long), ("\"1.5\"", "1.5"), (r#""\u0031""#, "1")]
        {
            let body: Body = super::super::json::parse(format!("{{\"quantity\": {json}}}").as_bytes()).unwrap();
            assert_eq!(body.quantity.as_str(), text);
        }
        for json in ["true", "null", "[1]", "{}"] {
            let error = super::super::json::parse::<Body>(format!("{{\"quantity\": {json}}}").as_bytes()).unwrap_err();
            let fault = &error.to_value(None)["errors"][0];
            assert_eq!(fault["pointer"], "#/quantity");
            assert!(
                fault["detail"].as_str().unwrap().starts_with("Send a decimal number, or a string with one;"),
                "{fault}"
            );
        }
        let quantity: QuantityText = serde_json::from_value(serde_json::json!("0.25")).unwrap();
        assert_eq!(quantity.parse(2).map(Quantity::units), Ok(25));
        assert_eq!(quantity.parse(1), Err(InvalidQuantity::TooFine(1)));
    }

    #[test]
    fn the_schema_says_number() {
        let json = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap();
        assert_eq!(json(Number::schema())["type"], "number");
        assert_eq!(json(QuantityText::schema())["oneOf"][0]["type"], "number");
        assert_eq!((Number::name(), QuantityText::name()), ("Number".into(), "QuantityText".into()));
    }
}
