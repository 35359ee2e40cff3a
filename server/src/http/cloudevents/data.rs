//! Named properties of an event's data, as the JSON text that stands there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::element::Name;

/// The data is JSON, but no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("data must be a JSON object")]
pub struct NotAnObject;

/// Finds the values of the `wanted` members of `data` and writes each into `found` at the same place, `None` where
/// there is none. Of a repeated member the last stands. Values stay text, so no number passes through a float.
///
/// # Errors
/// [`NotAnObject`]; `found` is all `None` then.
pub fn pick<'a>(data: &'a RawValue, wanted: &[&str], found: &mut [Option<&'a RawValue>]) -> Result<(), NotAnObject> {
    found.fill(None);
    let mut json = serde_json::Deserializer::from_str(data.get());
    Pick { wanted, found }.deserialize(&mut json).map_err(|_| NotAnObject)
}

struct Pick<'w, 'f, 'a> {
    wanted: &'w [&'w str],
    found: &'f mut [Option<&'a RawValue>],
}

impl<'de> DeserializeSeed<'de> for Pick<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let place = self.wanted.iter().position(|wanted| *wanted == name.0);
            match place.and_then(|place| self.found.get_mut(place)) {
                Some(found) => *found = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
