//! Objects from the API, their numbers kept as the text that came.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object of an answer.
pub(super) type Row = BTreeMap<String, Box<RawValue>>;

/// One page of a list.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) data: Vec<Box<RawValue>>,
    #[serde(rename = "nextCursor", default)]
    pub(super) next_cursor: Option<String>,
}

/// A field as people read it: a text without quotes, a number exactly, what is not there or null as a dash.
pub(super) fn cell(row: &Row, field: &str) -> String {
    row.get(field).map_or_else(|| "–".to_owned(), |raw| shown(raw))
}

/// A value as people read it.
pub(super) fn shown(raw: &RawValue) -> String {
    match raw.get() {
        "null" => "–".to_owned(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        text if text.starts_with('[') => list(raw).map_or_else(|| text.to_owned(), |items| items.join(",")),
        text => text.to_owned(),
    }
}

/// The items of an array, each as people read it.
pub(super) fn list(raw: &RawValue) -> Option<Vec<String>> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).ok()?;
    Some(items.iter().map(|item| shown(item)).collect())
}

/// A field that is a text.
pub(super) fn text(row: &Row, field: &str) -> Option<String> {
    serde_json::from_str(row.get(field)?.get()).ok()
}

/// A field that is an array of objects; empty where it is not.
pub(super) fn rows(row: &Row, field: &str) -> Vec<Row> {
    row.get(field).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A field that is an object.
pub(super) fn object(row: &Row, field: &str) -> Option<Row> {
    serde_json::from_str(row.get(field)?.get()).ok()
}

/// A request's body: the fields that have a value.
pub(super) fn body<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_exactly() {
        let row: Row = serde_json::from_str(
            r#"{"text": "a\"b", "number": 0.100000000000000000001, "none": null, "list": ["a", 2], "yes": true}"#,
        )
        .unwrap();
        let cases = [
            ("text", "a\"b"),
            ("number", "0.100000000000000000001"),
            ("none", "–"),
            ("missing", "–"),
            ("list", "a,2"),
            ("yes", "true"),
        ];
        for (field, expected) in cases {
            assert_eq!(cell(&row, field), expected);
        }
    }
}
