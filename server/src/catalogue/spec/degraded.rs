//! What callers get where a meter cannot be decided (D13), as a plan says it.

use std::fmt;

use metergate_rules::meter::Meter;
use metergate_rules::plan::Degraded;
use metergate_rules::quantity::Quantity;
use serde::de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Invalid, invalid};
use crate::http::number::QuantityText;

/// What callers get where a meter cannot be decided: `deny`, `allow`, or `{"safe": <quantity>}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DegradedSpec {
    /// 503 with `Retry-After`.
    Deny,
    /// 200 with `degraded: true`.
    Allow,
    /// So much for each node, organization and minute as `allow`, the rest as `deny`.
    Safe(QuantityText),
}

impl DegradedSpec {
    pub(super) fn policy(&self, meter: &Meter, pointer: &str) -> Result<Degraded, Invalid> {
        match self {
            Self::Deny => Ok(Degraded::Deny),
            Self::Allow => Ok(Degraded::Allow),
            Self::Safe(text) => match Quantity::parse(text.as_str(), meter.decimals) {
                Ok(most) => Ok(Degraded::Safe(most)),
                Err(error) => invalid(format!("{pointer}/safe"), error.to_string()),
            },
        }
    }
}

/// Read by hand, so that who writes it otherwise hears all three forms.
impl<'de> Deserialize<'de> for DegradedSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = DegradedSpec;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#""deny", "allow" or {"safe": <quantity>}"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DegradedSpec, E> {
        match text {
            "deny" => Ok(DegradedSpec::Deny),
            "allow" => Ok(DegradedSpec::Allow),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DegradedSpec, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("safe") {
            return Err(A::Error::invalid_value(Unexpected::Map, &self));
        }
        let most = map.next_value()?;
        match map.next_key::<IgnoredAny>()? {
            None => Ok(DegradedSpec::Safe(most)),
            Some(_) => Err(A::Error::invalid_value(Unexpected::Map, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_read_and_all_others_hear_of_them() {
        for text in [r#""deny""#, r#""allow""#, r#"{"safe":5}"#, r#"{"safe":0.25}"#] {
            let read: DegradedSpec = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        for wrong in [r#""safe""#, r#""safe(2)""#, "{}", r#"{"deny":1}"#, r#"{"safe":1,"safe":2}"#, "[]", "5", "null"] {
            let error = serde_json::from_str::<DegradedSpec>(wrong).unwrap_err().to_string();
            assert!(error.contains(r#", expected "deny", "allow" or {"safe": <quantity>}"#), "{wrong}: {error}");
        }
        let no_quantity = serde_json::from_str::<DegradedSpec>(r#"{"safe":true}"#).unwrap_err().to_string();
        assert!(no_quantity.contains("a decimal number"), "{no_quantity}");
    }
}
