//! Groups: the values of some dimensions.

use std::sync::Arc;

use metergate_rules::meter::Meter;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::super::refuse;
use super::can_be_grouped;
use crate::store::reader::ReadError;

/// What stands in the rollups in place of the dimension sets beyond the cap.
const OTHER: &str = "other";

/// By which dimensions a report groups.
pub(super) struct Grouping {
    names: Arc<[String]>,
    none: Arc<GroupBody>,
}

impl Grouping {
    /// # Errors
    /// If one of the meters cannot be grouped so.
    pub(super) fn new(names: &[String], meters: &[&Meter]) -> Result<Self, ReadError> {
        let mut known: Vec<String> = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            if let Some(meter) = meters.iter().find(|meter| !meter.dimensions.contains(name)) {
                return refuse(format!(
                    "groupBy: {name} is no dimension of meter {}: choose meters that have it",
                    meter.key
                ));
            } else if let Some(meter) = meters.iter().find(|meter| !can_be_grouped(meter)) {
                return refuse(format!(
                    "groupBy: meter {} counts distinct values, and those are kept without dimensions; leave it out",
                    meter.key
                ));
            }
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
        let none = Arc::new(GroupBody { names: Arc::default(), values: Vec::new() });
        Ok(Self { names: known.into(), none })
    }

    pub(super) fn is_none(&self) -> bool {
        self.names.is_empty()
    }

    /// The group of a rollup's dimensions.
    pub(super) fn group(&self, dimensions: &str) -> Group {
        if self.is_none() {
            return Group::default();
        } else if dimensions == OTHER {
            return Group { other: true, values: self.names.iter().map(|_| "\"other\"".to_owned()).collect() };
        }
        let mut values = vec!["null".to_owned(); self.names.len()];
        // What is stored was written by the events' reader; were it no object, its use would stand under null.
        let _ = serde_json::Deserializer::from_str(dimensions).deserialize_map(Pick(&self.names, &mut values));
        Group { other: false, values }
    }
}

/// Takes the values of some names out of a JSON object, as they are written.
struct Pick<'a>(&'a [String], &'a mut Vec<String>);

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object of dimensions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry::<String, Box<RawValue>>()? {
            if let Some(at) = self.0.iter().position(|wanted| *wanted == name) {
                value.get().clone_into(&mut self.1[at]);
            }
        }
        Ok(())
    }
}

/// The values of the dimensions, as JSON texts in the order of the grouping. The marked rest comes last.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Group {
    other: bool,
    values: Vec<String>,
}

impl Group {
    pub(super) const fn is_other(&self) -> bool {
        self.other
    }

    pub(super) fn body(&self, grouping: &Grouping) -> Arc<GroupBody> {
        if self.values.is_empty() {
            return Arc::clone(&grouping.none);
        }
        Arc::new(GroupBody { names: Arc::clone(&grouping.names), values: self.values.clone() })
    }
}

/// A group as it goes out: `{"model": "gpt-4o"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBody {
    names: Arc<[String]>,
    values: Vec<String>,
}

impl GroupBody {
    /// The value of a dimension as plain text; empty where there is none.
    pub(super) fn text(&self, name: &str) -> String {
        let value = self.names.iter().position(|known| known == name).and_then(|at| self.values.get(at));
        let Some(json) = value.filter(|json| *json != "null") else { return String::new() };
        serde_json::from_str(json).unwrap_or_else(|_| json.clone())
    }
}

impl Serialize for GroupBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in self.names.iter().zip(&self.values) {
            let value = RawValue::from_string(value.clone()).unwrap_or_default();
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}
