//! Metrics: the meters under the names that callers of the documented paths know.

use metergate_rules::meter::Meter;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::super::super::usage::UsageRow;
use super::super::super::{Report, refuse};
use super::super::number;
use crate::http::number::Number;
use crate::store::reader::ReadError;

/// Values by metric, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics(Vec<(String, Number)>);

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

/// A meter and its metric.
pub(super) struct Metric<'a> {
    pub(super) meter: &'a Meter,
    name: String,
    /// Not only for cost and errors.
    asked: bool,
}

impl Metrics {
    /// What was asked for, of rows of one organization and one bucket; zero where there is none.
    pub(super) fn of(rows: &[UsageRow], metrics: &[Metric<'_>]) -> Self {
        let value = |metric: &Metric<'_>| {
            let row = rows.iter().find(|row| row.meter == metric.meter.key);
            (metric.name.clone(), row.map_or(number(0, metric.meter.decimals), |row| row.value))
        };
        Self(metrics.iter().filter(|metric| metric.asked).map(value).collect())
    }

    /// All of these added up.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>, metrics: &[Metric<'_>]) -> Self {
        all.fold(Self::of(&[], metrics), |mut sum, one| {
            sum.0.iter_mut().zip(&one.0).for_each(|((_, sum), (_, value))| sum.units += value.units);
            sum
        })
    }
}

impl Report<'_> {
    /// The metrics that are asked for, and those of which cost and errors are told.
    pub(super) fn metrics(&self, asked: &[String]) -> Result<Vec<Metric<'_>>, ReadError> {
        let living = |meter: &&Meter| self.catalogue.meter(meter.key.as_str()).is_some_and(|m| m.id == meter.id);
        let meters = self.catalogue.rules.meters().into_iter().map(|meter| &**meter).filter(living);
        let named = |meter: &Meter, name: &str| asked.iter().any(|one| one == meter.key.as_str() || one == name);
        let all: Vec<_> = meters
            .map(|meter| {
                let name = camel(meter.key.as_str());
                Metric { meter, asked: asked.is_empty() || named(meter, &name), name }
            })
            .collect();
        let known = |one: &String| all.iter().any(|metric| one == metric.meter.key.as_str() || *one == metric.name);
        if let Some(unknown) = asked.iter().find(|one| !known(one)) {
            let names: Vec<_> = all.iter().map(|metric| metric.name.as_str()).collect();
            return refuse(format!("metrics: there is no {unknown}; known: {}", names.join(", ")));
        }
        let told = |metric: &Metric<'_>| metric.asked || ["llm_cost", "errors"].contains(&metric.meter.key.as_str());
        Ok(all.into_iter().filter(told).collect())
    }
}

/// `api_calls` as `apiCalls`.
fn camel(key: &str) -> String {
    let mut parts = key.split('_').filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or(key).to_owned();
    parts.fold(first, |name, part| {
        let (initial, rest) = part.split_at(part.chars().next().map_or(0, char::len_utf8));
        name + &initial.to_ascii_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::camel;

    #[test]
    fn metrics_are_named_in_camel_case() {
        for (key, name) in [("api_calls", "apiCalls"), ("tokens", "tokens"), ("_a__b_", "aB"), ("my-meter", "my-meter")]
        {
            assert_eq!(camel(key), name);
        }
    }
}
