//! The configuration file: TOML, one key a setting.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{ConfigError, Origin, Text};
use super::{SETTINGS, Setting};

/// The settings that a file gives, each with the line it stands on.
pub(super) fn read(file: &str, content: &str) -> Result<Vec<(&'static str, Text)>, ConfigError> {
    let refuse =
        |at: usize, reason: String| ConfigError::File { file: file.to_owned(), line: line(content, at), reason };
    let table = DeTable::parse(content)
        .map_err(|error| refuse(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let mut texts: Vec<(&'static str, Text)> = Vec::new();
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let at = key.span().start;
        let setting = find(key.get_ref()).ok_or_else(|| refuse(at, unknown(key.get_ref())))?;
        if texts.iter().any(|(name, _)| *name == setting.name) {
            return Err(refuse(at, format!("{} is set twice", setting.name)));
        }
        let text = text(value).map_err(|reason| refuse(at, format!("{} {reason}", setting.name)))?;
        let origin = Origin::File { file: file.to_owned(), line: line(content, at) };
        texts.push((setting.name, Text { text, origin }));
    }
    Ok(texts)
}

fn find(key: &str) -> Option<&'static Setting> {
    let name = key.replace('-', "_");
    SETTINGS.iter().find(|setting| setting.name == name)
}

fn unknown(key: &str) -> String {
    let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    format!("unknown key {key:?}; known keys are {}", names.join(", "))
}

/// A text, a whole number or a truth value, as its text.
fn text(value: &Spanned<DeValue<'_>>) -> Result<String, &'static str> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Integer(digits) if digits.radix() == 10 => Ok(digits.as_str().replace('_', "")),
        _ => Err("must be a text, a whole number, true or false"),
    }
}

/// The line, counted from 1, on which the byte at `at` stands.
fn line(content: &str, at: usize) -> usize {
    content.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}
