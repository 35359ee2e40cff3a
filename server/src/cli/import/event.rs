//! A row as an event.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::screen::plain;
use super::rows::Row;
use super::{Options, time};
use crate::hex::hex;

/// Headings that an error lists, and characters of each.
const MOST_SHOWN: usize = 40;

/// `name=Column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    name: String,
    column: String,
}

/// Reads `name=Column`.
pub(super) fn property(text: &str) -> Result<Property, String> {
    match text.split_once('=') {
        Some((name, column)) if !name.is_empty() && !column.is_empty() => {
            Ok(Property { name: name.to_owned(), column: column.to_owned() })
        }
        _ => Err("must be NAME=COLUMN, such as inputTokens=ContextTokens".to_owned()),
    }
}

/// `name=value`, the same of every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    name: String,
    value: String,
}

/// Reads `name=value`.
pub(super) fn constant(text: &str) -> Result<Constant, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok(Constant { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err("must be NAME=VALUE, such as model=gpt-4o".to_owned()),
    }
}

/// Which column holds what, and what is the same of every row.
pub(super) struct Columns {
    time: (String, usize),
    properties: Vec<(Property, usize)>,
    constants: Vec<Constant>,
}

impl Columns {
    /// Finds the columns that the options name among the headings.
    pub(super) fn find(headings: &[String], options: &Options, value_property: &str) -> anyhow::Result<Self> {
        let quantity = options.quantity_column.iter();
        let quantity = quantity.map(|column| Property { name: value_property.to_owned(), column: column.clone() });
        let wanted: Vec<Property> = options.properties.iter().cloned().chain(quantity).collect();
        let names: Vec<&str> = wanted.iter().map(|property| property.name.as_str()).collect();
        let names: Vec<&str> = options.constants.iter().map(|set| set.name.as_str()).chain(names).collect();
        for (i, name) in names.iter().enumerate() {
            anyhow::ensure!(!names[..i].contains(name), "the property {name} is given twice");
        }
        let time = place(headings, &options.time_column)?;
        let found = |property: Property| Ok((place(headings, &property.column)?, property));
        let properties: Vec<_> = wanted.into_iter().map(found).collect::<anyhow::Result<_>>()?;
        let properties = properties.into_iter().map(|(place, property)| (property, place)).collect();
        Ok(Self { time: (options.time_column.clone(), time), properties, constants: options.constants.clone() })
    }
}

fn place(headings: &[String], column: &str) -> anyhow::Result<usize> {
    let mut places = headings.iter().enumerate().filter(|(_, heading)| *heading == column).map(|(place, _)| place);
    match (places.next(), places.next()) {
        (Some(place), None) => Ok(place),
        (Some(_), Some(_)) => anyhow::bail!("the file has two columns {column:?}"),
        (None, _) => anyhow::bail!("the file has no column {column:?}; it has {}", listed(headings)),
    }
}

/// The first of them, as a terminal may show them: a file that is no CSV has anything in its first line.
fn listed(headings: &[String]) -> String {
    let shown = headings.iter().take(MOST_SHOWN).map(|heading| plain(heading).chars().take(MOST_SHOWN).collect());
    let shown: Vec<String> = shown.collect();
    let more = if headings.len() > MOST_SHOWN { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// What all events of an import have in common.
pub(super) struct Template<'a> {
    pub(super) source: &'a str,
    pub(super) kind: &'a str,
    pub(super) organization: &'a str,
    pub(super) columns: &'a Columns,
}

/// A CloudEvent 1.0.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    subject: &'a str,
    time: String,
    data: BTreeMap<&'a str, Box<RawValue>>,
}

/// The largest event in bytes; a larger one would make the server refuse the whole batch.
const LARGEST_EVENT: usize = 64 << 10;

impl Template<'_> {
    /// The row's event as JSON, or why it is none.
    pub(super) fn event(&self, row: &Row<'_>) -> Result<Vec<u8>, String> {
        let (time_column, place) = &self.columns.time;
        let time = time::parse(cell(row, time_column, *place)?).map_err(|error| format!("{time_column}: {error}"))?;
        let event = Event {
            specversion: "1.0",
            id: format!("{}-{}", row.number, hex(&row.hash[..16])),
            source: self.source,
            kind: self.kind,
            subject: self.organization,
            time: time.to_string(),
            data: self.data(row)?,
        };
        let bytes = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
        if bytes.len() <= LARGEST_EVENT { Ok(bytes) } else { Err("larger than 64 KiB".to_owned()) }
    }

    /// The properties; an empty cell is none.
    fn data(&self, row: &Row<'_>) -> Result<BTreeMap<&str, Box<RawValue>>, String> {
        let mut data = BTreeMap::new();
        for Constant { name, value: text } in &self.columns.constants {
            data.insert(name.as_str(), value(text)?);
        }
        for (Property { name, column }, place) in &self.columns.properties {
            let text = cell(row, column, *place)?;
            if !text.is_empty() {
                data.insert(name.as_str(), value(text)?);
            }
        }
        Ok(data)
    }
}

fn cell<'a>(row: &Row<'a>, column: &str, place: usize) -> Result<&'a str, String> {
    let bytes = row.cells.get(place).ok_or_else(|| format!("no column {column}"))?;
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| format!("{column} is not UTF-8 text"))
}

/// A number as the text that stands there, anything else as a string.
fn value(text: &str) -> Result<Box<RawValue>, String> {
    let json = if is_number(text) { text.to_owned() } else { serde_json::Value::from(text).to_string() };
    RawValue::from_string(json).map_err(|error| error.to_string())
}

/// Whether a text is a number as JSON writes it: `007`, `+1`, `.5` and `1.` are not.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    all_digits(whole) && all_digits(fraction) && all_digits(exponent) && !leading_zero
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text_and_everything_else_is_a_string() {
        let cases = [
            ("374", "374"),
            ("-0.10", "-0.10"),
            ("1e400", "1e400"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0", "0"),
            ("007", "\"007\""),
            ("+1", "\"+1\""),
            (".5", "\".5\""),
            ("1.", "\"1.\""),
            ("1e", "\"1e\""),
            ("NaN", "\"NaN\""),
            ("true", "\"true\""),
            ("gpt-4o \"mini\"", "\"gpt-4o \\\"mini\\\"\""),
        ];
        for (text, json) in cases {
            assert_eq!(value(text).unwrap().get(), json);
        }
    }

    #[test]
    fn a_property_is_a_name_and_a_column() {
        let both = Property { name: "a".to_owned(), column: "B=c".to_owned() };
        assert_eq!(property("a=B=c"), Ok(both));
        let same = Constant { name: "a".to_owned(), value: "B=c".to_owned() };
        assert_eq!(constant("a=B=c"), Ok(same));
        for bad in ["", "a", "=b", "a="] {
            assert!(property(bad).is_err() && constant(bad).is_err());
        }
    }
}
